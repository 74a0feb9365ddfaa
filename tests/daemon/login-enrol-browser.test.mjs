/* SPDX-License-Identifier: Apache-2.0
 * First enrolment on the hosted page in a real browser: keys made by virtual authenticators, the QR code, what a browser
 * without WebAuthn sees, and the look of the pages that end something. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { assert, test, before, after, Daemon, client, grant, user } from './lib/kit.mjs';
import { CALLBACK, MULTI_FACTOR, PASSWORD, authorizeUrl } from './lib/login.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
const PLATFORM = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
const USB = { ...PLATFORM, transport: 'usb', hasResidentKey: false };
const RULED = 'read:me:factors';
const KEYS = ['passkey', 'webauthn-platform', 'webauthn-roaming'];
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus'];
const TENANT = { friendly_name: 'Example' };

let d;
let browser;
before(async () => {
  if (skip) return;
  d = await Daemon.start({ state: { factors: Object.fromEntries(KEYS.map((k) => [k, true])) } });
  d.apply({
    tenant: TENANT,
    clients: [client('spa'), client('keyed')],
    client_grants: [grant(d.base, 'spa'), grant(d.base, 'keyed')],
    policies: [{ client_id: 'keyed', scope: [RULED], require: ['webauthn-roaming'], max_age: 900 }],
    users: names.map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  await d?.stop();
});

const url = (over = {}, who = 'spa') => d.base + authorizeUrl(over, who);
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const heading = (page, name) => page.getByRole('heading', { name, exact: true, level: 1 }).waitFor();
const audit = (who) => d.audit(`auth0|${who}`).map((l) => JSON.parse(l));
const quiet = (page) => assert.deepEqual(page.complaints, [], 'errors in the console');

async function open(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.complaints = [];
  page.on('console', (m) => { if (m.type() === 'error') page.complaints.push(m.text()); });
  page.on('pageerror', (e) => page.complaints.push(`uncaught: ${e}`));
  /* The application is nowhere: what it would be sent is seen here. */
  await page.route(`${new URL(CALLBACK).origin}/**`, (r) => r.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,"><title>Application</title>' }));
  return page;
}
async function plug(page, options) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options });
  return { cdp, authenticatorId, credentials: async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials };
}
async function password(page, name) {
  await page.getByLabel('Email address').fill(`${name}@example.com`);
  await page.getByLabel('Password').fill(PASSWORD);
  await press(page, 'Continue');
}
async function keep(page) {
  await heading(page, 'Your recovery code');
  d.secrets.add('recovery_code', await page.locator('#recovery-code').textContent());
  await press(page, 'I have kept it');
}
async function arrived(page) {
  await page.waitForURL(`${CALLBACK}**`);
  const { code, error } = Object.fromEntries(new URL(page.url()).searchParams);
  assert.equal(error, undefined, page.url());
  assert.match(code, /^[\w-]{43}$/);
  d.secrets.add('code', code);
}

test('a rule that wants a security key leads through enrolling one', { skip }, async (t) => {
  const page = await open(t);
  const key = await plug(page, USB);
  const asked = { audience: `${d.base}/me/`, scope: `openid ${RULED}` };
  await page.goto(url(asked, 'keyed'));
  await password(page, 'ann');
  await heading(page, 'Protect your account');
  assert.deepEqual(await page.getByRole('button').allTextContents(), ['Add a security key', 'Use another account'], 'nothing that does not help');
  await press(page, 'Add a security key');
  await heading(page, 'Add a security key');
  assert.deepEqual(audit('ann').map((r) => r.type), ['mfar', 'gd_start_enroll'], 'not signed in yet');
  await press(page, 'Continue');
  await keep(page);
  await arrived(page);
  assert.equal((await key.credentials()).length, 1);
  const [row] = audit('ann').filter((r) => r.type === 's');
  assert.deepEqual(row.details.prompts, [{ performed_amr: ['pwd', 'hwk', 'mfa'] }]);
  const [done] = audit('ann').filter((r) => r.type === 'gd_enrollment_complete');
  assert.equal(done.details.authenticator.type, 'webauthn-roaming');
  assert.deepEqual((await d.as('auth0|ann').list('webauthn-roaming')).map((m) => m.confirmed), [true]);
  await t.test('and the next time through showing it', async () => {
    await page.goto(url({ ...asked, prompt: 'login' }, 'keyed'));
    await password(page, 'ann');
    await heading(page, 'Confirm that it is you');
    await press(page, 'Continue');
    await arrived(page);
  });
  quiet(page);
});

test('only keys are switched on, and a second factor is a must', { skip }, async (t) => {
  d.apply({ tenant: { ...TENANT, mfa_policy: 'always' }, factors: { totp: false, email: false, phone: false } });
  t.after(() => d.apply({ tenant: { ...TENANT, mfa_policy: 'never' }, factors: { totp: true, email: true, phone: true } }));
  for (const [name, type, button, title] of [['ben', 'passkey', 'Create a passkey', 'Create a passkey'],
    ['cid', 'webauthn-platform', 'Use this device: fingerprint, face or PIN', 'Use this device']])
    await t.test(type, async (t2) => {
      const page = await open(t2);
      await plug(page, PLATFORM);
      await page.goto(url({ scope: 'openid' }));
      await password(page, name);
      await heading(page, 'Protect your account');
      await press(page, button);
      await heading(page, title);
      await press(page, 'Continue');
      await keep(page);
      await arrived(page);
      assert.equal((await d.as(`auth0|${name}`).list(type)).length, 1);
      quiet(page);
    });
  await t.test('this device is offered only where it can', async (t2) => {
    const page = await open(t2);
    await plug(page, USB);
    await page.goto(url({ scope: 'openid' }));
    await password(page, 'dee');
    await heading(page, 'Protect your account');
    await page.getByRole('button', { name: 'Add a security key' }).waitFor();
    assert.equal(await page.getByRole('button', { name: /^Use this device/ }).count(), 0);
  });
  await t.test('what was made for another challenge is not stored', async (t2) => {
    const page = await open(t2);
    await plug(page, USB);
    await page.goto(url({ scope: 'openid' }));
    await password(page, 'dee');
    await press(page, 'Add a security key');
    await heading(page, 'Add a security key');
    await page.locator('form[data-creation]').evaluate((f) => {
      const o = JSON.parse(f.dataset.creation);
      o.authn_params_public_key.challenge = 'A'.repeat(43);
      f.dataset.creation = JSON.stringify(o);
    });
    await press(page, 'Continue');
    await page.getByRole('alert').waitFor();
    assert.match(await page.getByRole('alert').textContent(), /key was not accepted/);
    await heading(page, 'Protect your account');
    assert.deepEqual((await d.as('auth0|dee').list('webauthn-roaming')).filter((m) => m.confirmed), []);
    assert.equal(audit('dee').filter((r) => r.type === 'gd_webauthn_enrollment_failed').length, 1);
  });
  await t.test('a browser without WebAuthn is told', async (t2) => {
    const page = await open(t2);
    await page.addInitScript(() => { delete window.PublicKeyCredential; });
    await page.goto(url({ scope: 'openid' }));
    await password(page, 'eve');
    await page.getByText('This browser cannot use passkeys and security keys').waitFor();
    assert.deepEqual(await page.getByRole('button').allTextContents(), ['Use another account']);
    quiet(page);
  });
  await t.test('and one without JavaScript', async (t2) => {
    const page = await open(t2, { javaScriptEnabled: false });
    await page.goto(url({ scope: 'openid' }));
    await password(page, 'eve');
    await page.getByText('JavaScript is switched off').waitFor();
    assert.deepEqual(await page.getByRole('button').allTextContents(), ['Use another account']);
  });
});

test('a browser without WebAuthn is led from the key to the other methods', { skip }, async (t) => {
  const s = d.as('auth0|fay');
  const totp = await s.addTotp();
  const setup = await open(t);
  await plug(setup, USB);
  await setup.goto(url({ audience: `${d.base}/me/`, scope: `openid ${RULED}` }, 'keyed'));
  await password(setup, 'fay');
  await setup.getByLabel('Code').fill(s.code(totp.secret, 1));
  await press(setup, 'Continue');
  await press(setup, 'Add a security key');
  await press(setup, 'Continue');
  await keep(setup);
  await arrived(setup);
  const page = await open(t, { colorScheme: 'dark' });
  await page.addInitScript(() => { delete window.PublicKeyCredential; });
  await page.goto(url({ acr_values: MULTI_FACTOR }));
  await password(page, 'fay');
  await heading(page, 'Confirm that it is you');
  const key = page.getByRole('button', { name: 'Security key' });
  if (await key.count()) await key.click();
  await page.getByText('This browser cannot use passkeys and security keys').waitFor();
  assert.equal(await page.getByText('Have your key').isVisible(), false);
  const others = await page.getByRole('button').allTextContents();
  assert.equal(others.indexOf('Recovery code'), others.length - 2, `the recovery code comes last: ${others}`);
  quiet(page);
});

test('the QR code of an authenticator app', { skip }, async (t) => {
  const shots = fs.mkdtempSync(path.join(d.dir, 'qr-'));
  for (const colorScheme of ['light', 'dark'])
    await t.test(colorScheme, async (t2) => {
      const page = await open(t2, { colorScheme });
      await page.goto(url({ acr_values: MULTI_FACTOR }));
      await password(page, 'gus');
      await press(page, 'Set up an authenticator app');
      const uri = await page.getByRole('link', { name: 'open the app on this device' }).getAttribute('href');
      assert.match(uri, /^otpauth:\/\/totp\/Example:/);
      const shown = page.getByRole('img', { name: /^QR code/ });
      assert.ok((await shown.boundingBox()).width >= 150);
      const file = path.join(shots, `${colorScheme}.png`);
      await page.screenshot({ path: file, fullPage: true });
      d.secrets.add('manual_input_code', new URL(uri).searchParams.get('secret'));
      assert.equal(execFileSync('zbarimg', ['--raw', '-q', file], { encoding: 'utf8' }).trim(), uri);
      fs.rmSync(file);
      quiet(page);
    });
});

test('a page that ends something has the look of the others, and a way on', { skip }, async (t) => {
  const seen = new Set();
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, { colorScheme });
    await page.goto(url());
    await password(page, 'eve');
    await arrived(page);
    await page.goto(`${d.base}/v2/logout?client_id=spa&returnTo=https://evil.example/`);
    await heading(page, 'This sign-out request is not valid');
    seen.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  }
  assert.deepEqual([...seen], ['rgb(243, 244, 246)', 'rgb(16, 18, 22)']);
  const page = await open(t);
  await page.goto(url());
  const login = page.url();
  await password(page, 'eve');
  await arrived(page);
  await page.goto(login);
  await heading(page, 'This sign-in is over');
  await page.getByRole('link', { name: 'Go to spa' }).click();
  await page.waitForURL(`${new URL(CALLBACK).origin}/`);
  assert.deepEqual(page.complaints.filter((c) => !/status of 400/.test(c)), []);
});

/* Whatever the browser says of platform authenticators: phones and password managers hold passkeys too. */
test('passkeys are among the suggestions wherever the browser can', { skip }, async (t) => {
  for (const able of [true, false])
    await t.test(able ? 'it can' : 'it cannot', async (t2) => {
      const page = await open(t2);
      await page.addInitScript((yes) => {
        window.asked = [];
        navigator.credentials.get = (o) => { window.asked.push(o.mediation); return new Promise(() => {}); };
        PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable = async () => false;
        PublicKeyCredential.isConditionalMediationAvailable = async () => yes;
      }, able);
      await page.goto(url());
      await page.getByRole('button', { name: 'Use a passkey' }).waitFor();
      if (able) await page.waitForFunction(() => window.asked.length > 0);
      assert.deepEqual(await page.evaluate(() => window.asked), able ? ['conditional'] : []);
      assert.equal(await page.getByLabel('Email address').getAttribute('autocomplete'), able ? 'username webauthn' : 'username');
      quiet(page);
    });
});

/* SPDX-License-Identifier: Apache-2.0
 * The account page in headless Chromium: every view and action, in both languages, at two sizes, light and dark, with a
 * virtual authenticator, the spool for codes, and axe-core. A complaint in the console fails the test. Pictures of every
 * view are kept in MA_SHOTS, where that names a directory. */
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { assert, test, before, after, client, eventually, grant, user } from './lib/kit.mjs';
import { CA_SCOPES, connectDaemon, connection, stopAll } from './lib/connect.mjs';
import { Upstream } from './lib/upstream.mjs';
import { Browser, CALLBACK, PASSWORD } from './lib/login.mjs';
import { Device } from './lib/device.mjs';
import { totp } from './lib/otp.mjs';
import { SCOPES } from './lib/tokens.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'];
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = process.env.MA_SHOTS;
const PLATFORM = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
const USB = { ...PLATFORM, transport: 'usb' };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme: 'dark', locale: 'de-DE' };
const DESKTOP = { viewport: { width: 1280, height: 900 }, colorScheme: 'light', locale: 'en-GB' };
const VIEWS = ['overview', 'methods', 'profile', 'devices', 'activity', 'connections', 'apps', 'data'];
const EXTRA = ['read:me:consents', 'delete:me:consents', 'read:me:sessions', 'delete:me:sessions', 'read:me:activity', 'read:me:profile', 'update:me:profile', 'create:me:exports', 'read:me:exports', 'delete:me:account'];
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal', 'ida', 'jon', 'kim'];

let d;
let acme;
let browser;
before(async () => {
  if (skip) return;
  acme = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))],
    state: { factors: { passkey: true, 'webauthn-roaming': true, 'webauthn-platform': true, 'push-notification': true } } });
  d.apply({
    clients: [client('account', { name: 'Your account', callbacks: [`${d.base}/account`], allowed_logout_urls: [`${d.base}/account`], grant_types: ['authorization_code', 'refresh_token'], require_dpop: true }),
      client('third', { name: 'Third party', is_first_party: false, callbacks: [CALLBACK] })],
    client_grants: [grant(d.base, 'account', [...new Set([...SCOPES, ...CA_SCOPES, ...EXTRA])])],
    users: names.map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, email_verified: true, name: `${n[0].toUpperCase()}${n.slice(1)} Example`, password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  if (d) await stopAll(d, acme);
});

/* A fresh profile. `complaints` are errors of the console, among them every breach of the policy. */
async function open(t, options = DESKTOP) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.complaints = [];
  const watch = (p) => {
    p.on('console', (m) => { if (m.type() === 'error' && !/status of 40[0-9]/.test(m.text())) page.complaints.push(m.text()); });
    p.on('pageerror', (e) => page.complaints.push(`uncaught: ${e}`));
  };
  watch(page);
  context.on('page', watch);
  return page;
}
async function signIn(page, name, secret = PASSWORD) {
  await page.locator('#username').fill(`${name}@example.com`);
  await page.locator('#password').fill(secret);
  await page.locator('form button[type=submit], form button:not([type])').first().click();
}
const ready = (page) => page.locator('main:not([aria-busy]) h1').waitFor();
async function visit(t, name, options) {
  const page = await open(t, options);
  await page.goto(`${d.base}/account`);
  await signIn(page, name);
  await page.waitForURL(`${d.base}/account`);
  await ready(page);
  return page;
}
async function go(page, view) {
  await page.locator(`#nav a[href="#${view}"]`).click();
  await page.locator(`#nav a[href="#${view}"][aria-current]`).waitFor();
  await ready(page);
  assert.equal(await page.locator('main > .alert').count(), 0, await page.locator('main').innerText());
}
const button = (page, name) => page.getByRole('button', { name, exact: true });
const press = (page, name) => button(page, name).click();
const label = (page, name) => page.getByLabel(name, { exact: true });
const dialogOf = (page) => page.getByRole('dialog');
const within = (page, name) => dialogOf(page).getByRole('button', { name, exact: true }).click();
const gone = (page) => dialogOf(page).waitFor({ state: 'detached' });
const toasted = (page, text) => page.locator('.toast', { hasText: text }).first().waitFor();
const quiet = (page) => assert.deepEqual(page.complaints, [], 'errors in the console');

async function accessible(page, what) {
  /* added through the debugger, where the page's policy does not apply */
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), [], what);
}
async function shot(page, name) {
  if (!SHOTS) return;
  fs.mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
}

for (const [size, options] of [['desktop', DESKTOP], ['phone', PHONE]]) {
  test(`every view at ${size} size is accessible and fits`, { skip }, async (t) => {
    const page = await open(t, options);
    const refused = [];
    page.on('response', (r) => { if (r.status() >= 400) refused.push(`${r.status()} ${r.url()}`); });
    await page.goto(`${d.base}/account`);
    await signIn(page, 'ann');
    await page.waitForURL(`${d.base}/account`);
    await ready(page);
    assert.equal(await page.evaluate(() => document.documentElement.lang), options.locale.slice(0, 2));
    for (const view of VIEWS) await t.test(view, async () => {
      await go(page, view);
      await accessible(page, view);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${wide} pixels too wide`);
      await shot(page, `${view}-${size}`);
    });
    await t.test('no request was refused', () => assert.deepEqual(refused, []));
    await t.test('tokens are nowhere a script of another visit would find them', async () => {
      const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
      assert.doesNotMatch(kept, /eyJ|v1\.|verifier/);
    });
    quiet(page);
  });
}

test('at 200 % zoom nothing is cut off', { skip }, async (t) => {
  const page = await visit(t, 'ann', { ...DESKTOP, viewport: { width: 640, height: 450 } });
  for (const view of VIEWS) {
    await go(page, view);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), view);
  }
});

test('enrolling, renaming and deleting', { skip }, async (t) => {
  const page = await visit(t, 'ben');
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options: PLATFORM });
  await go(page, 'methods');
  await t.test('an authenticator app', async () => {
    await press(page, 'Add: Authenticator app');
    await page.locator('dialog img.qr').waitFor();
    await accessible(page, 'the dialog');
    await shot(page, 'totp');
    await page.getByText('Cannot scan?').click();
    const secret = (await page.locator('dialog code.secret').innerText()).replaceAll(' ', '');
    d.secrets.add('seed', secret);
    await label(page, 'Code').fill('000000');
    await within(page, 'Confirm');
    await page.getByText('That code is not right').waitFor();
    await label(page, 'Code').fill(totp(secret, d.now()));
    await within(page, 'Confirm');
    await toasted(page, 'Added: Authenticator app');
  });
  await t.test('its name', async () => {
    await press(page, 'Rename: Authenticator app');
    await label(page, 'Name').fill('My phone');
    await within(page, 'Save');
    await page.getByText('My phone').waitFor();
  });
  await t.test('its details', async () => {
    await press(page, 'Details: My phone');
    await page.getByText('Last used', { exact: true }).waitFor();
    await within(page, 'Close');
    await gone(page);
  });
  await t.test('a passkey, and the advice that asked for it is gone', async () => {
    await go(page, 'overview');
    await page.getByText('Add a passkey').waitFor();
    await press(page, 'Add: Passkey');
    await within(page, 'Continue');
    await toasted(page, 'Added: Passkey');
    await page.getByText('Add a passkey').waitFor({ state: 'detached' });
  });
  await t.test('an e-mail address', async () => {
    await go(page, 'methods');
    await press(page, 'Add: E-mail');
    await label(page, 'E-mail address').fill('ben@work.example');
    await within(page, 'Send code');
    const m = await d.spool.take({ channel: 'email', to: 'ben@work.example' });
    await label(page, 'Code').fill(m.code);
    await within(page, 'Confirm');
    await toasted(page, 'Added: E-mail');
  });
  await t.test('a phone, by call', async () => {
    await press(page, 'Add: Phone');
    await label(page, 'Phone number').fill('12');
    await within(page, 'Send code');
    await page.locator('dialog .error:not([hidden])').waitFor();
    await label(page, 'Phone number').fill('+1 555 123 0077');
    await label(page, 'How should codes come?').selectOption('voice');
    await within(page, 'Send code');
    const m = await d.spool.take({ channel: 'voice', to: '+15551230077' });
    await label(page, 'Code').fill(m.code);
    await within(page, 'Confirm');
    await toasted(page, 'Added: Phone');
  });
  await t.test('a recovery code, shown once and kept first', async () => {
    await press(page, 'Add: Recovery code');
    const code = await page.locator('#recovery-code').innerText();
    assert.match(code, /^[A-Z0-9]{24}$/);
    d.secrets.add('recovery code', code);
    await within(page, 'Done');
    await page.getByText('Keep the code first').waitFor();
    await page.getByLabel('I have kept the code').check();
    await within(page, 'Done');
    await toasted(page, 'Added: Recovery code');
  });
  await t.test('a platform key', async () => {
    await press(page, 'Add: This device');
    await within(page, 'Continue');
    await toasted(page, 'Added: This device');
  });
  await t.test('deleting says what will happen, and can be called off', async () => {
    await press(page, 'Delete: My phone');
    await page.getByText('The codes of this app do not work any more').waitFor();
    await accessible(page, 'the question');
    await within(page, 'Cancel');
    await gone(page);
    await press(page, 'Delete: My phone');
    await within(page, 'Delete');
    await toasted(page, 'Deleted: My phone');
    assert.equal(await button(page, 'Delete: My phone').count(), 0);
  });
  await t.test('a passkey that is deleted, which the browser hears of, and of no other', async () => {
    await page.evaluate(() => {
      globalThis.told = [];
      PublicKeyCredential.signalAllAcceptedCredentials = async (x) => { globalThis.told.push(x); };
    });
    const platform = (await d.as('auth0|ben').list()).find((m) => m.type === 'webauthn-platform');
    const passkey = (await d.as('auth0|ben').list()).find((m) => m.type === 'passkey');
    await page.getByRole('button', { name: /^Delete: Passkey/ }).click();
    await within(page, 'Delete');
    await toasted(page, 'Deleted: Passkey');
    assert.deepEqual(await page.evaluate(() => globalThis.told), [{ rpId: passkey.relying_party_id, userId: passkey.user_handle, allAcceptedCredentialIds: [platform.key_id] }]);
  });
  await t.test('the password', async () => {
    await press(page, 'Change password');
    await page.getByText('At least 8 characters').waitFor();
    await label(page, 'New password').fill('Zq7-another-horse');
    await label(page, 'Repeat it').fill('Zq7-another-house');
    await within(page, 'Change password');
    await page.getByText('The two are not the same').waitFor();
    await label(page, 'Repeat it').fill('Zq7-another-horse');
    d.secrets.add('password', 'Zq7-another-horse');
    await within(page, 'Change password');
    await gone(page);
  });
  quiet(page);
});

test('by keyboard', { skip }, async (t) => {
  const page = await visit(t, 'ann');
  await go(page, 'methods');
  await button(page, 'Add: Authenticator app').focus();
  await page.keyboard.press('Enter');
  await page.locator('dialog img.qr').waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.closest('dialog') !== null), 'the focus is in the dialog');
  await page.keyboard.press('Escape');
  await gone(page);
  await page.keyboard.press('Tab');
  assert.ok(await page.evaluate(() => document.activeElement !== document.body), 'and goes on where it was');
  quiet(page);
});

test('the profile', { skip }, async (t) => {
  const page = await visit(t, 'cid');
  await go(page, 'profile');
  await label(page, 'Given name').fill('Cidney');
  assert.ok(await label(page, 'E-mail address').getAttribute('readonly') !== null);
  await press(page, 'Save');
  await toasted(page, 'Saved');
  await go(page, 'overview');
  await page.getByText('Hello Cidney').waitFor();
  await go(page, 'profile');
  await label(page, 'Address of a picture').fill('javascript:alert(1)');
  await press(page, 'Save');
  await page.locator('.error:not([hidden])').waitFor();
  await accessible(page, 'an error');
  quiet(page);
});

test('devices: another one is signed out, and refused at its next call', { skip }, async (t) => {
  const here = await visit(t, 'dee');
  const there = await visit(t, 'dee', PHONE);
  await go(here, 'devices');
  await here.getByText('this device').first().waitFor();
  await press(here, 'Sign out all others');
  await within(here, 'Sign out all others');
  await toasted(here, 'All others are signed out');
  await there.locator('#nav a[href="#methods"]').click();
  await there.locator('#username').waitFor();
  await go(here, 'methods');
  quiet(here);
});

test('activity', { skip }, async (t) => {
  const page = await visit(t, 'dee');
  await go(page, 'activity');
  await page.getByText('Sign-in', { exact: true }).nth(1).waitFor();
  await label(page, 'Show').selectOption('password_changed');
  await page.getByText('Nothing yet').waitFor();
  quiet(page);
});

test('connected accounts', { skip }, async (t) => {
  const page = await visit(t, 'eve');
  await go(page, 'connections');
  await t.test('connect in a window of its own', async () => {
    const [window] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect: acme')]);
    await window.waitForURL(`${acme.issuer}/interaction/**`);
    await window.getByRole('button', { name: 'user eve', exact: true }).click().catch(() => window.getByRole('button', { name: 'user ann', exact: true }).click());
    await window.getByRole('button', { name: 'consent yes', exact: true }).click();
    await toasted(page, 'Connected: acme');
    await button(page, 'Disconnect: acme').waitFor();
    await shot(page, 'connected');
  });
  await t.test('called off, on either side', async () => {
    const [window] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect: acme')]);
    await within(page, 'Cancel');
    await gone(page);
    await window.close(); /* where the provider's page has cut the tie, its user does that */
    const [other] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect: acme')]);
    await other.close();
    await within(page, 'Cancel');
    await gone(page);
  });
  await t.test('disconnect', async () => {
    await press(page, 'Disconnect: acme');
    await within(page, 'Disconnect');
    await page.getByText('No account is connected').waitFor();
  });
  quiet(page);
});

test('a recent factor is asked for in place', { skip }, async (t) => {
  const s = d.as('auth0|fay');
  const key = await s.addTotp();
  const guest = d.as('auth0|gus');
  const guestKey = await guest.addTotp();
  const page = await visit(t, 'fay');
  d.apply({ api: { default_policy: { require_2fa: true } } });
  t.after(() => d.apply({ api: { default_policy: { require_2fa: false } } }));
  await page.locator('#nav a[href="#profile"]').click();
  await page.getByRole('dialog', { name: 'Please confirm that it is you' }).waitFor();
  await t.test('somebody else does not do', async () => {
    await page.context().clearCookies();
    const [other] = await Promise.all([page.waitForEvent('popup'), within(page, 'Confirm')]);
    await signIn(other, 'gus');
    await label(other, 'Code').fill(guest.code(guestKey.secret, 1));
    await other.locator('form button').first().click();
    await dialogOf(page).getByText('Somebody else signed in there').waitFor();
    await page.context().clearCookies();
  });
  const [window] = await Promise.all([page.waitForEvent('popup'), within(page, 'Confirm')]);
  await signIn(window, 'fay');
  await label(window, 'Code').fill(s.code(key.secret, 1));
  await window.locator('form button').first().click();
  await gone(page);
  await label(page, 'Given name').waitFor();
  quiet(page);
});

test('a device that approves, and a security key', { skip }, async (t) => {
  const page = await visit(t, 'jon');
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options: USB });
  await go(page, 'methods');
  await t.test('the device scans and enrols, then the page goes on', async () => {
    const begun = page.waitForResponse((r) => r.request().method() === 'POST' && r.url().endsWith('/authentication-methods'));
    await press(page, 'Add: Approval in an app');
    const { barcode_uri } = await (await begun).json();
    await page.locator('dialog img.qr').waitFor();
    const device = new Device(d);
    await device.enrol(barcode_uri);
    await within(page, 'Continue');
    await toasted(page, 'Added: Approval in an app');
  });
  await t.test('the key', async () => {
    await press(page, 'Add: Security key');
    await within(page, 'Continue');
    await toasted(page, 'Added: Security key');
  });
  await t.test('a recovery code is replaced by another', async () => {
    const make = async (name) => {
      await press(page, name);
      const code = await page.locator('#recovery-code').innerText();
      d.secrets.add('recovery code', code);
      await page.getByLabel('I have kept the code').check();
      await within(page, 'Done');
      await gone(page);
      return code;
    };
    assert.notEqual(await make('Add: Recovery code'), await make('Replace'));
  });
  await t.test('the device goes with its codes', async () => {
    await page.getByRole('button', { name: /^Delete: .*(Approval|phone)/ }).first().click();
    await within(page, 'Delete');
    await gone(page);
    await page.getByText('Authenticator app', { exact: true }).nth(1).waitFor({ state: 'detached' });
  });
  quiet(page);
});

test('applications: what was allowed is withdrawn', { skip }, async (t) => {
  const browser = new Browser(d);
  let p = await browser.login(await browser.authorize({ scope: 'openid profile offline_access' }, 'third'), 'kim@example.com');
  if (p.title === 'Give access?') p = await browser.submit(p, 'allow');
  assert.ok(p.params?.code, p.away ?? `${p.title}: ${p.text}`);
  d.secrets.add('code', p.params.code);
  const page = await visit(t, 'kim');
  await go(page, 'apps');
  await press(page, 'Withdraw access: third');
  await accessible(page, 'the question');
  await within(page, 'Withdraw');
  await page.getByText('None has asked for your consent').waitFor();
  quiet(page);
});

test('one device is signed out', { skip }, async (t) => {
  const there = await visit(t, 'kim', PHONE);
  const here = await visit(t, 'kim');
  await go(here, 'devices');
  const before = await here.locator('main li').count();
  await here.locator('main li').filter({ hasNotText: 'this device' }).first().getByRole('button').click();
  await toasted(here, 'Signed out');
  await eventually(async () => await here.locator('main li').count() < before, 'a shorter list');
  await there.close();
  quiet(here);
});

test('a copy of the data', { skip }, async (t) => {
  const page = await visit(t, 'ida');
  await go(page, 'data');
  await press(page, 'Make a copy');
  await page.getByText('The copy is ready').waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download' }).click()]);
  const copy = JSON.parse(fs.readFileSync(await download.path(), 'utf8'));
  assert.ok(JSON.stringify(copy).includes('ida@example.com'));
  assert.doesNotMatch(JSON.stringify(copy), /argon2|hal@example\.com/);
  quiet(page);
});

test('leaving, and coming back by signing in', { skip }, async (t) => {
  const page = await visit(t, 'hal');
  await go(page, 'data');
  await press(page, 'Delete my account');
  await page.getByRole('dialog', { name: 'Delete your account' }).getByRole('button', { name: 'Delete my account' }).click();
  await t.test('a recent second factor is asked for', async () => {
    const ask = page.getByRole('dialog', { name: 'Please confirm that it is you' });
    const [window] = await Promise.all([page.waitForEvent('popup'), ask.getByRole('button', { name: 'Confirm' }).click()]);
    await press(window, 'Send a code');
    const m = await d.spool.take({ channel: 'email', to: 'hal@example.com' });
    await label(window, 'Code').fill(m.code);
    await window.locator('form button').first().click();
  });
  await page.getByRole('dialog', { name: 'Your account is locked' }).waitFor();
  await within(page, 'Close');
  await page.getByText('You are signed out').waitFor();
  await press(page, 'Sign in');
  await signIn(page, 'hal');
  await page.getByRole('heading', { name: 'Keep your account?' }).waitFor();
  await accessible(page, 'the way back');
  await page.locator('form button').first().click();
  await page.waitForURL(`${d.base}/account`);
  await ready(page);
  await page.getByText('Hello Hal').waitFor();
  quiet(page);
});

test('signing out, and in again', { skip }, async (t) => {
  const page = await visit(t, 'ann');
  await press(page, 'Sign out');
  await page.getByText('You are signed out').waitFor();
  await accessible(page, 'signed out');
  await press(page, 'Sign in');
  await page.locator('#username').waitFor();
  quiet(page);
});

test('another language is kept', { skip }, async (t) => {
  const page = await visit(t, 'ann');
  await label(page, 'Language').selectOption('de');
  await page.getByRole('heading', { name: 'Übersicht' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Übersicht' }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
  quiet(page);
});

test('an answer to a sign-in that this page did not begin', { skip }, async (t) => {
  const page = await open(t);
  await page.goto(`${d.base}/account?code=abc&state=def`);
  await page.getByRole('alert').waitFor();
  assert.match(await page.getByRole('alert').innerText(), /does not belong to this page/);
  assert.equal(await page.evaluate(() => location.search), '');
});

test('names that every object has are neither views nor languages', { skip }, async (t) => {
  const page = await visit(t, 'ann');
  await page.goto(`${d.base}/account#constructor`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.goto(`${d.base}/account?ui_locales=constructor#toString`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.equal(await page.locator('main').getByText('[object').count(), 0);
  quiet(page);
});

test('signing out with a profile that makes a long id_token', { skip }, async (t) => {
  const long = '\u4e2d'.repeat(300); /* three bytes each */
  const first = await visit(t, 'cid');
  await go(first, 'profile');
  for (const name of ['Name', 'Given name', 'Family name', 'Nickname']) await label(first, name).fill(long);
  await label(first, 'Address of a picture').fill(`https://pictures.example/${'p'.repeat(2023)}`);
  await press(first, 'Save');
  await toasted(first, 'Saved');
  const page = await visit(t, 'cid');
  await press(page, 'Sign out');
  await press(page, 'Sign out'); /* the hosted page asks */
  await page.getByText('You are signed out').waitFor();
  quiet(page);
});

/* SPDX-License-Identifier: Apache-2.0
 * The hosted login in a real browser: headless Chromium, an application of another origin, virtual authenticators. */
import fs from 'node:fs';
import http from 'node:http';
import { chromium } from 'playwright-core';
import { assert, test, before, after, Daemon, METHODS, client, grant, user, methodPath } from './lib/kit.mjs';
import { Credential, create } from './lib/authenticator.mjs';
import { MULTI_FACTOR, PASSWORD, authorizeUrl } from './lib/login.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
const PLATFORM = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
  automaticPresenceSimulation: true };
const USB = { ...PLATFORM, transport: 'usb', hasResidentKey: false };
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal'];

let d;
let app;
let browser;

let elsewhere;

/* An application: its page shows what it was sent, by query, fragment, form or message. */
async function application() {
  const html = (posted) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Application</title>
    <output id="posted">${posted.replace(/[<&]/g, '')}</output>
    <script>addEventListener('message', (e) => { (window.heard ??= []).push({ origin: e.origin, data: e.data }); });</script>`;
  const server = http.createServer((req, res) => {
    let body = '';
    req.on('data', (c) => { body += c; });
    req.on('end', () => (req.url.startsWith('/hop') ? res.writeHead(303, { location: `${elsewhere.origin}/landed` }).end() : null)
      ?? res.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(html(body)));
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  server.origin = `http://localhost:${server.address().port}`;
  return server;
}

before(async () => {
  if (skip) return;
  app = await application();
  elsewhere = await application();
  d = await Daemon.start({ state: { factors: { passkey: true, 'webauthn-roaming': true, 'webauthn-platform': true } } });
  d.apply({
    clients: [client('spa', { callbacks: [`${app.origin}/callback`, app.origin], allowed_origins: [app.origin], web_origins: [app.origin] }),
      client('hop', { callbacks: [`${app.origin}/hop`], allowed_logout_urls: [`${app.origin}/hop`] }),
      client('third', { is_first_party: false, callbacks: [`${app.origin}/callback`] })],
    client_grants: [grant(d.base, 'spa')],
    users: names.map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  for (const a of [app, elsewhere]) {
    a?.closeAllConnections();
    await new Promise((r) => (a ? a.close(r) : r()));
  }
  await d?.stop();
});

/* A fresh profile. `complaints` are the console's errors: a broken policy shows there. */
async function open(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.complaints = [];
  page.on('console', (m) => { if (m.type() === 'error') page.complaints.push(m.text()); });
  page.on('pageerror', (e) => page.complaints.push(`uncaught: ${e}`));
  return page;
}
const url = (over = {}, who = 'spa') => d.base + authorizeUrl({ redirect_uri: `${app.origin}/callback`, ...over }, who);
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

async function arrived(page, mark = '?') {
  await page.waitForURL(`${app.origin}/callback**`);
  const params = Object.fromEntries(new URL(page.url().replace('#', '?')).searchParams);
  assert.ok(page.url().includes(`/callback${mark}`), page.url());
  assert.match(params.code ?? '', /^[\w-]{43}$/, page.url());
  assert.equal(params.state, 'st4te');
  assert.equal(params.iss, `${d.base}/`);
  d.secrets.add('code', params.code);
}
async function password(page, name, secret = PASSWORD) {
  await page.getByLabel('Email address').fill(`${name}@example.com`);
  await page.getByLabel('Password').fill(secret);
  await press(page, 'Continue');
}
const quiet = (page) => assert.deepEqual(page.complaints, [], 'errors in the console');

test('a password and an authenticator app', { skip }, async (t) => {
  const s = d.as('auth0|ann');
  const totp = await s.addTotp();
  const page = await open(t);
  await page.goto(url({ acr_values: MULTI_FACTOR }));
  await password(page, 'ann', 'Zq7-not-this-one');
  await page.getByRole('alert').waitFor();
  assert.equal(await page.getByLabel('Email address').inputValue(), 'ann@example.com');
  await password(page, 'ann');
  await page.getByLabel('Code').fill(s.code(totp.secret, 1));
  await press(page, 'Continue');
  await arrived(page);
  await t.test('the cookies, one of the browser and one of the session, are out of reach of scripts', async () => {
    const cookies = await page.context().cookies(d.base);
    assert.deepEqual(cookies.map((c) => [c.name, c.httpOnly, c.sameSite]).sort(),
      [['myaccount-login', true, 'Lax'], ['myaccount-session', true, 'Lax']]);
  });
  await t.test('and signs in without a question', async () => {
    await page.goto(url({ response_mode: 'fragment' }));
    await arrived(page, '#');
  });
  quiet(page);
});

/* Chromium holds redirects after a form against form-action, those of the application included. */
test('an application that sends the browser on to another origin', { skip }, async (t) => {
  for (const response_mode of ['query', 'form_post']) await t.test(response_mode, async (t2) => {
    const page = await open(t2);
    await page.goto(url({ redirect_uri: `${app.origin}/hop`, response_mode }, 'hop'));
    await password(page, 'hal');
    await page.waitForURL(`${elsewhere.origin}/landed`);
    quiet(page);
    await page.goto(`${d.base}/oidc/logout?client_id=hop&post_logout_redirect_uri=${encodeURIComponent(`${app.origin}/hop`)}`);
    await press(page, 'Sign out');
    await page.waitForURL(`${elsewhere.origin}/landed`);
    quiet(page);
  });
});

test('by keyboard alone', { skip }, async (t) => {
  const page = await open(t);
  await page.goto(url({}, 'third'));
  const type = async (text) => { await page.keyboard.type(text); await page.keyboard.press('Tab'); };
  assert.equal(await page.evaluate(() => document.activeElement.id), 'username', 'the first field has the focus');
  await type('ben@example.com');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Give access?' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Allow');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, 'none', 'the focus shows');
  await page.keyboard.press('Enter');
  await arrived(page);
  quiet(page);
});

test('without JavaScript', { skip }, async (t) => {
  const s = d.as('auth0|cid');
  const totp = await s.addTotp();
  const page = await open(t, { javaScriptEnabled: false, colorScheme: 'dark' });
  await page.goto(url({ acr_values: MULTI_FACTOR }));
  assert.equal(await page.getByRole('button').count(), 1, 'no button that needs a script');
  await password(page, 'cid');
  await page.getByLabel('Code').fill(s.code(totp.secret, 1));
  await press(page, 'Continue');
  await arrived(page);
  await page.goto(url({ response_mode: 'form_post' }));
  await press(page, 'Continue');
  await page.waitForURL(`${app.origin}/callback`);
  assert.match(await page.locator('#posted').textContent(), /code=/);
});

test('what the application hears', { skip }, async (t) => {
  const page = await open(t);
  await page.goto(url({ response_mode: 'form_post' }));
  await password(page, 'dee');
  await page.waitForURL(`${app.origin}/callback`);
  assert.match(await page.locator('#posted').textContent(), /^code=[\w-]{43}.*state=st4te.*iss=/);
  const target = url({ redirect_uri: app.origin, response_mode: 'web_message', prompt: 'none' });
  const heard = async () => {
    await page.waitForFunction(() => window.heard?.length);
    const [{ origin, data }] = await page.evaluate(() => window.heard);
    assert.equal(origin, d.base);
    assert.equal(data.type, 'authorization_response');
    return data.response;
  };
  await t.test('from a frame', async () => {
    await page.evaluate((src) => { document.body.append(Object.assign(document.createElement('iframe'), { src })); }, target);
    const r = await heard();
    assert.match(r.code, /^[\w-]{43}$/);
    assert.equal(r.state, 'st4te');
  });
  await t.test('from a window', async () => {
    await page.goto(`${app.origin}/`);
    await page.evaluate((src) => { window.open(src); }, target);
    assert.match((await heard()).code, /^[\w-]{43}$/);
  });
  await t.test('that nobody is signed in', async () => {
    await page.context().clearCookies();
    await page.goto(`${app.origin}/`);
    await page.evaluate((src) => { document.body.append(Object.assign(document.createElement('iframe'), { src })); }, target);
    assert.deepEqual(await heard(), { error: 'login_required', error_description: 'Login required', state: 'st4te', iss: `${d.base}/` });
  });
  quiet(page);
  await t.test('and the login page is not to be framed', async () => {
    await page.goto(`${app.origin}/`);
    await page.evaluate((src) => { document.body.append(Object.assign(document.createElement('iframe'), { src })); }, url());
    await assert.doesNotReject(async () => {
      for (let i = 0; i < 300 && !page.complaints.some((c) => /frame-ancestors|frame/i.test(c)); i++) await new Promise((r) => setTimeout(r, 20));
    });
    assert.ok(page.complaints.some((c) => /frame/i.test(c)), page.complaints.join('\n'));
  });
});

/* A passkey or security key that the daemon knows, put into a virtual authenticator of the page. */
async function plug(page, s, type, authenticator) {
  const credential = new Credential();
  let options;
  let path;
  let auth_session;
  if (type === 'passkey') {
    const r = await s.want(202, 'POST', METHODS, { type });
    [options, auth_session, path] = [r.json.authn_params_public_key, r.json.auth_session, `${METHODS}/passkey%7Cnew`];
  } else {
    const e = await s.enrol({ type });
    [options, auth_session, path] = [e.authn_params_public_key, e.auth_session, methodPath(e.id)];
  }
  await s.want(201, 'POST', `${path}/verify`, { auth_session, authn_response: create(options, d.base, { transports: [authenticator.transport] }, credential) });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options: authenticator });
  const pkcs8 = credential.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
  await cdp.send('WebAuthn.addCredential', { authenticatorId, credential: { credentialId: credential.id.toString('base64'),
    isResidentCredential: authenticator.hasResidentKey, rpId: options.rp.id, privateKey: pkcs8, signCount: 0,
    ...(authenticator.hasResidentKey ? { userHandle: Buffer.from(options.user.id, 'base64url').toString('base64') } : {}) } });
  return { cdp, authenticatorId };
}

test('a passkey', { skip }, async (t) => {
  const s = d.as('auth0|eve');
  const page = await open(t);
  const { cdp, authenticatorId } = await plug(page, s, 'passkey', { ...PLATFORM, automaticPresenceSimulation: false });
  await page.goto(url());
  await page.getByRole('button', { name: 'Use a passkey' }).waitFor();
  await cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await press(page, 'Use a passkey');
  await arrived(page);
  await t.test('that verified its user is two factors', async () => {
    await page.goto(url({ acr_values: MULTI_FACTOR, prompt: 'none' }));
    await arrived(page);
  });
  await t.test('of somebody else is not accepted', async (t2) => {
    const other = await open(t2);
    const stray = await other.context().newCDPSession(other);
    await stray.send('WebAuthn.enable', { enableUI: false });
    const key = await stray.send('WebAuthn.addVirtualAuthenticator', { options: { ...PLATFORM, automaticPresenceSimulation: false } });
    await stray.send('WebAuthn.addCredential', { authenticatorId: key.authenticatorId, credential: { credentialId: Buffer.from('unknown-credential').toString('base64'),
      isResidentCredential: true, rpId: 'localhost', privateKey: new Credential().privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
      signCount: 0, userHandle: Buffer.from('unknown').toString('base64') } });
    await other.goto(url());
    await other.getByRole('button', { name: 'Use a passkey' }).waitFor();
    await stray.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId: key.authenticatorId, enabled: true });
    await press(other, 'Use a passkey');
    await other.getByRole('alert').waitFor();
    assert.match(await other.getByRole('alert').textContent(), /passkey was not accepted/);
    quiet(other);
  });
  quiet(page);
});

test('a passkey among the suggestions', { skip }, async (t) => {
  const s = d.as('auth0|fay');
  const page = await open(t);
  await plug(page, s, 'passkey', PLATFORM);
  await page.goto(url());
  await arrived(page); /* a virtual authenticator picks the only one by itself */
  quiet(page);
});

test('a security key as second factor', { skip }, async (t) => {
  const s = d.as('auth0|gus');
  const page = await open(t);
  await plug(page, s, 'webauthn-roaming', USB);
  await page.goto(url({ acr_values: MULTI_FACTOR }));
  await password(page, 'gus');
  await page.getByRole('heading', { name: 'Confirm that it is you' }).waitFor();
  await press(page, 'Continue');
  await arrived(page);
  quiet(page);
});

test('a passkey as second factor after a password', { skip }, async (t) => {
  const s = d.as('auth0|hal');
  const page = await open(t);
  const { cdp, authenticatorId } = await plug(page, s, 'passkey', { ...PLATFORM, automaticPresenceSimulation: false });
  await page.goto(url({ acr_values: MULTI_FACTOR }));
  await password(page, 'hal');
  await page.getByRole('heading', { name: 'Confirm that it is you' }).waitFor();
  await cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await press(page, 'Continue');
  await arrived(page);
  quiet(page);
});

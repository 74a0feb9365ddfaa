/* SPDX-License-Identifier: Apache-2.0
 * The hosted vendor's JavaScript SDK, unchanged, in headless Chromium against the daemon: sign in, get tokens, look after
 * methods, connect an account, step up; with and without DPoP. */
import fs from 'node:fs';
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { assert, test, before, after, client, grant, user, totp as codeOf } from './lib/kit.mjs';
import { connectDaemon, connection, stopAll } from './lib/connect.mjs';
import { Upstream } from './lib/upstream.mjs';
import { PASSWORD } from './lib/login.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'];
const SCOPE = ['read:me:factors', 'read:me:authentication_methods', 'create:me:authentication_methods', 'update:me:authentication_methods',
  'delete:me:authentication_methods', 'create:me:connected_accounts', 'read:me:connected_accounts', 'delete:me:connected_accounts'];
const PLATFORM = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
  automaticPresenceSimulation: true };
const html = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Application</title><script src="/spa.js"></script>';

let d;
let acme;
let app;
let browser;

async function bundle() {
  const out = await build({ entryPoints: [fileURLToPath(new URL('page/spa.js', import.meta.url))], bundle: true, write: false, format: 'iife', target: 'es2020', logLevel: 'silent' });
  return out.outputFiles[0].text;
}

before(async () => {
  if (skip) return;
  const script = await bundle();
  app = http.createServer((req, res) => {
    const js = req.url.startsWith('/spa.js');
    res.writeHead(200, { 'content-type': js ? 'text/javascript' : 'text/html', 'cache-control': 'no-store' }).end(js ? script : html);
  });
  await new Promise((r) => app.listen(0, '127.0.0.1', r));
  app.origin = `http://localhost:${app.address().port}`;
  acme = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))],
    state: { factors: { passkey: true },
      clients: [client('spa', { callbacks: [app.origin, `${app.origin}/cb`], allowed_origins: [app.origin], web_origins: [app.origin], allowed_logout_urls: [app.origin] }), client('native')] } });
  d.apply({ client_grants: [grant(d.base, 'spa', SCOPE)],
    users: ['bearer', 'dpop', 'popup'].map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD })) });
  d.secrets.add('password', PASSWORD);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  app?.closeAllConnections();
  await new Promise((r) => (app ? app.close(r) : r()));
  if (d) await stopAll(d, acme);
});

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

/* The SDK's client in a page; its cache survives the redirects. */
async function start(page, useDpop) {
  await page.evaluate((o) => window.start(o), { domain: d.base, clientId: 'spa', useRefreshTokens: true, useMrrt: true, useDpop,
    cacheLocation: 'localstorage', authorizationParams: { redirect_uri: app.origin } });
}
/* Calls sdk.<path>(args) in the page; an error comes back with what the SDK knows of it. */
const call = (page, path, ...args) => page.evaluate(async ([p, a]) => {
  const names = p.split('.');
  const target = names.slice(0, -1).reduce((o, n) => o[n], window.sdk);
  try {
    return { value: await target[names.at(-1)](...a) };
  } catch (e) {
    return { error: { name: e.name, error: e.error, message: e.message, detail: e.detail, status: e.status, mfa_token: e.mfa_token, requirements: e.mfa_requirements } };
  }
}, [path, args]);
const good = async (page, path, ...args) => {
  const r = await call(page, path, ...args);
  assert.equal(r.error, undefined, `${path}: ${JSON.stringify(r.error)}`);
  return r.value;
};
const ask = (more = {}) => ({ authorizationParams: { audience: `${d.base}/me/`, scope: SCOPE.join(' ') }, ...more });

async function signIn(page, name, useDpop) {
  await page.goto(`${app.origin}/`);
  await start(page, useDpop);
  await Promise.all([page.waitForURL(`${d.base}/u/login**`), page.evaluate(() => { window.sdk.loginWithRedirect({ authorizationParams: { scope: 'openid profile email offline_access' } }); })]);
  await page.getByLabel('Email address').fill(`${name}@example.com`);
  await page.getByLabel('Password').fill(PASSWORD);
  await press(page, 'Continue');
  await page.waitForURL(`${app.origin}/?code=**`);
  await start(page, useDpop);
  await good(page, 'handleRedirectCallback');
  assert.equal((await good(page, 'getUser')).sub, `auth0|${name}`);
}

async function enrol(page, body, proof) {
  const begun = await good(page, 'myAccount.enrollmentChallenge', body);
  const done = await good(page, 'myAccount.enrollmentVerify', { location: begun.location, auth_session: begun.auth_session, type: body.type, ...await proof(begun) });
  assert.equal(done.type, body.type);
  return { begun, done };
}
const lastCode = async (channel) => (await d.spool.take({ channel })).code;

/* The other way to use it: nothing is kept but the browser's session here. */
test('the SDK without refresh tokens', { skip }, async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  const begin = () => page.evaluate((o) => window.start(o), { domain: d.base, clientId: 'spa', useFormData: false, authorizationParams: { redirect_uri: app.origin } });
  await page.goto(`${app.origin}/`);
  await begin();
  await t.test('signs in in a popup', async () => {
    const [popup] = await Promise.all([context.waitForEvent('page'), page.evaluate(() => { window.done = window.sdk.loginWithPopup(); })]);
    await popup.getByLabel('Email address').fill('popup@example.com');
    await popup.getByLabel('Password').fill(PASSWORD);
    await press(popup, 'Continue');
    await page.evaluate(() => window.done);
    assert.equal((await good(page, 'getUser')).sub, 'auth0|popup');
  });
  await t.test('gets further tokens in a hidden frame', async () => {
    const token = await good(page, 'getTokenSilently', ask({ cacheMode: 'off' }));
    assert.ok([JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).aud].flat().includes(`${d.base}/me/`));
  });
  await t.test('signs out', async () => {
    await Promise.all([page.waitForURL((u) => u.origin === app.origin && u.pathname === '/'),
      page.evaluate((u) => window.sdk.logout({ logoutParams: { returnTo: u } }), app.origin)]);
    await page.waitForFunction(() => window.start);
    await begin();
    assert.equal((await call(page, 'getTokenSilently', ask({ cacheMode: 'off' }))).error?.error, 'login_required');
  });
});

for (const useDpop of [false, true]) {
  const name = useDpop ? 'dpop' : 'bearer';
  test(`the SDK with ${useDpop ? 'DPoP' : 'bearer tokens'}`, { skip }, async (t) => {
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    await page.clock.setFixedTime(new Date(d.now())); /* proofs carry the time, and the daemon's moves on */
    let totp;
    await t.test('signs in through the hosted page', () => signIn(page, name, useDpop));
    await t.test('gets a token for this API by refresh', async () => {
      const token = await good(page, 'getTokenSilently', ask());
      const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
      assert.ok([claims.aud].flat().includes(`${d.base}/me/`));
      assert.equal(Boolean(claims.cnf), useDpop);
    });
    await t.test('lists factors and methods', async () => {
      assert.ok((await good(page, 'myAccount.getFactors')).some((f) => f.type === 'totp'));
      assert.deepEqual((await good(page, 'myAccount.getAuthenticationMethods')).map((m) => m.type), ['password']);
    });
    await t.test('enrols an authenticator app', async () => {
      totp = (await enrol(page, { type: 'totp' }, (b) => ({ otp_code: codeOf(b.manual_input_code, d.now()) }))).begun.manual_input_code;
    });
    await t.test('enrols a phone', async () => {
      const { done } = await enrol(page, { type: 'phone', phone_number: useDpop ? '+15557770002' : '+15557770001', preferred_authentication_method: 'sms' }, async () => ({ otp_code: await lastCode('sms') }));
      assert.equal((await good(page, 'myAccount.updateAuthenticationMethod', done.id, { name: 'Work phone' })).name, 'Work phone');
      assert.equal((await good(page, 'myAccount.getAuthenticationMethod', done.id)).name, 'Work phone');
      await good(page, 'myAccount.deleteAuthenticationMethod', done.id);
    });
    await t.test('enrols an e-mail address', () => enrol(page, { type: 'email', email: `${name}@work.example` }, async () => ({ otp_code: await lastCode('email') })));
    await t.test('enrols a recovery code', () => enrol(page, { type: 'recovery-code' }, async () => ({})));
    await t.test('enrols a passkey', async () => {
      const cdp = await context.newCDPSession(page);
      await cdp.send('WebAuthn.enable');
      await cdp.send('WebAuthn.addVirtualAuthenticator', { options: PLATFORM });
      const { done } = await enrol(page, { type: 'passkey' }, async (b) => ({ authn_response: await page.evaluate(async (o) => {
        const made = await navigator.credentials.create({ publicKey: window.PublicKeyCredential.parseCreationOptionsFromJSON(o) });
        return made.toJSON();
      }, b.authn_params_public_key) }));
      assert.equal(done.relying_party_id, 'localhost');
    });
    await t.test('connects an account', async () => {
      await Promise.all([page.waitForURL(`${acme.issuer}/interaction/**`),
        page.evaluate((u) => { window.sdk.connectAccountWithRedirect({ connection: 'acme', redirectUri: u, appState: { from: 'here' } }); }, `${app.origin}/cb`)]);
      await press(page, useDpop ? 'user ben' : 'user ann');
      await press(page, 'consent yes');
      await page.waitForURL(`${app.origin}/cb?connect_code=**`);
      await start(page, useDpop);
      const r = await good(page, 'handleRedirectCallback');
      assert.equal(r.connection, 'acme');
      assert.equal(r.response_type, 'connect_code');
      assert.deepEqual(r.appState, { from: 'here' });
      assert.match(r.id, /^cac_/);
    });
    await t.test('must step up once the window has passed, and then goes on', async () => {
      d.apply({ api: { default_policy: { require_2fa: true } } });
      t.after(() => d.apply({ api: { default_policy: { require_2fa: false } } }));
      d.advance(901000);
      await page.clock.setFixedTime(new Date(d.now()));
      const r = await call(page, 'getTokenSilently', ask({ cacheMode: 'off' }));
      assert.equal(r.error?.error, 'mfa_required', JSON.stringify(r));
      assert.ok(r.error.requirements.challenge.some((c) => c.type === 'otp'));
      await Promise.all([page.waitForURL(`${d.base}/u/login**`), page.evaluate((a) => { window.sdk.loginWithRedirect(a); }, ask())]);
      const chooser = page.getByRole('button', { name: /app/i });
      if (!await page.getByLabel('Code').isVisible()) await chooser.first().click();
      await page.getByLabel('Code').fill(codeOf(totp, d.now()));
      await press(page, 'Continue');
      await page.waitForURL(`${app.origin}/?code=**`);
      await start(page, useDpop);
      await good(page, 'handleRedirectCallback');
      const token = await good(page, 'getTokenSilently', ask());
      const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
      assert.ok(claims.amr.includes('mfa'));
      await good(page, 'myAccount.getFactors');
    });
  });
}

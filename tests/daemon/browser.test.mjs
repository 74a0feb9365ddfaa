/* SPDX-License-Identifier: Apache-2.0
 * Passkeys and security keys in a real browser: headless Chromium with virtual authenticators, on pages of other
 * origins than the daemon's. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { chromium } from 'playwright-core';
import { assert, test, before, after, Daemon, METHODS, DB, client, grant, isProblem, pointers } from './lib/kit.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
const AUTHENTICATOR = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
  isUserVerified: true, automaticPresenceSimulation: true };
const USB = { ...AUTHENTICATOR, transport: 'usb', hasResidentKey: false };
/* Chromium reports every answer of 400 and above, and every refusal of CORS, as an error of the console. */
const FAILED = /^Failed to load resource: /;
const REFUSED = /has been blocked by CORS policy|^Failed to load resource: net::ERR_FAILED/;

const script = fs.readFileSync(new URL('page/app.js', import.meta.url));
const html = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Account</title><script src="/app.js"></script>';

/* A web server with the page: an origin of its own on localhost. */
class Site {
  async start() {
    this.server = http.createServer((req, res) => {
      const found = { '/': ['text/html', html], '/app.js': ['text/javascript', script] }[req.url];
      res.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain', 'cache-control': 'no-store' });
      res.end(found?.[1]);
    });
    await new Promise((r) => this.server.listen(0, '127.0.0.1', r));
    this.origin = `http://localhost:${this.server.address().port}`;
    return this;
  }
  stop() {
    this.server?.closeAllConnections();
    return new Promise((r) => (this.server ? this.server.close(r) : r()));
  }
}

let d;
let browser;
let app; /* the page of the client `spa` */
let other; /* of another client of the same daemon */
let stranger; /* of nobody */

const FACTORS_ON = { passkey: true, 'webauthn-roaming': true, 'webauthn-platform': true };

before(async () => {
  if (skip) {
    console.error(`SKIPPED browser tests: ${skip}. Install Debian's package chromium (make test-deps).`);
    return;
  }
  [app, other, stranger] = await Promise.all([new Site().start(), new Site().start(), new Site().start()]);
  d = await Daemon.start({ state: { factors: FACTORS_ON } });
  d.apply({
    clients: [client('spa', { allowed_origins: [app.origin], web_origins: [], callbacks: [] }),
      client('other', { allowed_origins: [other.origin], web_origins: [], callbacks: [] })],
    client_grants: [grant(d.base, 'spa'), grant(d.base, 'other')],
  });
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});

after(async () => {
  await browser?.close();
  await Promise.all([app, other, stranger].map((s) => s?.stop()));
  await d?.stop();
});

/* A fresh profile with the page and an authenticator. `errors` are the console's. */
class Tab {
  static async open(t, site, authenticator = AUTHENTICATOR) {
    const tab = new Tab();
    tab.errors = [];
    const context = await browser.newContext();
    t.after(() => context.close());
    tab.page = await context.newPage();
    tab.page.setDefaultTimeout(30000);
    tab.page.on('console', (m) => { if (m.type() === 'error') tab.errors.push(m.text()); });
    tab.page.on('pageerror', (e) => tab.errors.push(`uncaught: ${e}`));
    tab.cdp = await context.newCDPSession(tab.page);
    await tab.cdp.send('WebAuthn.enable', { enableUI: false });
    await tab.plug(authenticator);
    await tab.page.goto(`${site.origin}/`);
    return tab;
  }
  async plug(authenticator) {
    if (this.authenticatorId) await this.cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId: this.authenticatorId });
    ({ authenticatorId: this.authenticatorId } = await this.cdp.send('WebAuthn.addVirtualAuthenticator', { options: authenticator }));
  }
  async credentials() {
    return (await this.cdp.send('WebAuthn.getCredentials', { authenticatorId: this.authenticatorId })).credentials;
  }
  /* Runs a method of the page's Account; what it throws comes back as {name}. */
  async run(session, name, ...args) {
    const call = { base: d.base, token: session.token, name, args, options: session.page ?? {} };
    const out = await this.page.evaluate((c) => new window.Account(c.base, c.token, c.options)[c.name](...c.args)
      .catch((e) => ({ error: { name: e.name, message: e.message } })), call);
    for (const r of [out, out?.started]) if (r?.json?.auth_session) d.secrets.add('auth_session', r.json.auth_session);
    return out;
  }
  async enrol(session, body) {
    const out = await this.run(session, 'enrol', body);
    assert.equal(out.verified?.status, 201, JSON.stringify(out));
    return out;
  }
  quiet() { assert.deepEqual(this.errors, [], 'errors in the console'); }
  /* Only such errors, and at least one of them. */
  complained(what) {
    assert.ok(this.errors.length > 0, 'the console is empty');
    assert.deepEqual(this.errors.filter((e) => !what.test(e)), [], 'other errors in the console');
  }
}

/* The members of the authenticator's own key are byte strings of the COSE key (RFC 9053 §7, RFC 8230 §4). */
function sameKey(publicKey, credential, kty) {
  const jwk = crypto.createPrivateKey({ key: Buffer.from(credential.privateKey, 'base64'), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' });
  const cose = Buffer.from(publicKey, 'base64');
  assert.equal(cose.toString('base64'), publicKey);
  assert.equal(jwk.kty, kty);
  for (const k of { OKP: ['x'], EC: ['x', 'y'], RSA: ['n', 'e'] }[kty])
    assert.ok(cose.includes(Buffer.from(jwk[k], 'base64url')), `${k} of public_key is not the authenticator's`);
}
const url64 = (standard) => Buffer.from(standard, 'base64').toString('base64url');

test('a passkey: enrol, list, rename, delete', { skip }, async (t) => {
  for (const byHand of [false, true])
    await t.test(byHand ? 'members decoded by hand' : 'members decoded by the browser', async (t) => {
      const s = d.session();
      s.page = { byHand };
      assert.equal((await s.changePassword('Zq7-before-the-passkey')).status, 201);
      const tab = await Tab.open(t, app);
      const { started, authn_response, verified } = await tab.enrol(s, { type: 'passkey', connection: DB });
      assert.equal(started.location, `${d.base}${METHODS}/passkey%7Cnew`);
      assert.equal(started.json.authn_params_public_key.rp.id, 'localhost');
      assert.ok(Number(started.limit) > 0, 'X-RateLimit-Limit is not readable');

      const m = verified.json;
      const [stored, ...more] = await tab.credentials();
      assert.deepEqual(more, []);
      assert.equal(verified.location, `${d.base}${METHODS}/${encodeURIComponent(m.id)}`);
      assert.match(m.id, /^passkey\|dev_[A-Za-z0-9]{16}$/);
      assert.equal(stored.isResidentCredential, true);
      assert.equal(stored.rpId, 'localhost');
      assert.equal(m.relying_party_id, 'localhost');
      assert.equal(m.key_id, authn_response.id);
      assert.equal(m.key_id, url64(stored.credentialId));
      assert.equal(m.user_handle, url64(stored.userHandle));
      assert.equal(m.user_handle, started.json.authn_params_public_key.user.id);
      sameKey(m.public_key, stored, 'OKP');
      assert.match(m.aaguid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.match(m.user_agent, /^Chrome \d+\.0\.0 \/ Linux$/);
      assert.deepEqual([m.credential_device_type, m.credential_backed_up], ['single_device', false]);
      assert.deepEqual(m.transports, byHand ? undefined : ['internal']);

      const path = verified.location;
      const listed = await tab.run(s, 'call', 'GET', `${METHODS}?type=passkey`);
      assert.deepEqual(listed.json.authentication_methods, [m]);
      const named = await tab.run(s, 'call', 'PATCH', path, { name: 'Laptop ✓' });
      assert.equal(named.status, 200);
      assert.deepEqual(named.json, { ...m, name: 'Laptop ✓' });
      assert.deepEqual(await s.list('passkey'), [named.json]);
      assert.equal((await tab.run(s, 'call', 'DELETE', path)).status, 204);
      assert.deepEqual((await tab.run(s, 'call', 'GET', METHODS)).json.authentication_methods.map((v) => v.type), ['password']);
      tab.quiet();
    });
});

test('security keys and platform authenticators as second factors', { skip }, async (t) => {
  for (const [type, authenticator, transport] of [['webauthn-roaming', USB, 'usb'], ['webauthn-platform', AUTHENTICATOR, 'internal']])
    await t.test(type, async (t) => {
      const s = d.session();
      const tab = await Tab.open(t, app, authenticator);
      const { started, authn_response, verified } = await tab.enrol(s, { type });
      const m = verified.json;
      assert.equal(started.location, `${d.base}${METHODS}/${encodeURIComponent(started.json.id)}`);
      assert.deepEqual([m.id, m.type, m.confirmed], [started.json.id, type, true]);
      assert.deepEqual(authn_response.response.transports, [transport]);
      const [stored] = await tab.credentials();
      assert.equal(m.key_id, url64(stored.credentialId));
      sameKey(m.public_key, stored, 'OKP');
      assert.equal((await tab.run(s, 'call', 'PATCH', started.location, { name: 'Key' })).json.name, 'Key');
      assert.deepEqual((await s.list(type)).map((v) => [v.id, v.name]), [[m.id, 'Key']]);
      assert.equal((await tab.run(s, 'call', 'DELETE', started.location)).status, 204);
      assert.deepEqual(await s.list(), []);
      tab.quiet();
    });
});

test('every algorithm on offer', { skip }, async (t) => {
  for (const [alg, kty] of [[-8, 'OKP'], [-7, 'EC'], [-257, 'RSA']])
    await t.test(String(alg), async (t) => {
      const s = d.session();
      s.page = { algorithm: alg };
      const tab = await Tab.open(t, app);
      const { started, authn_response, verified } = await tab.enrol(s, { type: 'passkey' });
      assert.ok(started.json.authn_params_public_key.pubKeyCredParams.some((p) => p.alg === alg));
      assert.equal(authn_response.response.publicKeyAlgorithm, alg);
      sameKey(verified.json.public_key, (await tab.credentials())[0], kty);
      tab.quiet();
    });
});

test('the browser refuses a second passkey on the same authenticator', { skip }, async (t) => {
  const s = d.session();
  const tab = await Tab.open(t, app);
  const first = await tab.enrol(s, { type: 'passkey' });
  assert.equal('excludeCredentials' in first.started.json.authn_params_public_key, false);
  for (const byHand of [false, true]) {
    s.page = { byHand };
    const again = await tab.run(s, 'enrol', { type: 'passkey', use_exclude_credentials: true });
    assert.equal(again.error?.name, 'InvalidStateError', JSON.stringify(again));
  }
  await tab.plug(AUTHENTICATOR);
  const elsewhere = await tab.enrol(s, { type: 'passkey', use_exclude_credentials: true });
  assert.deepEqual(elsewhere.started.json.authn_params_public_key.excludeCredentials,
    [{ id: first.verified.json.key_id, type: 'public-key', transports: ['internal'] }]);
  assert.equal(elsewhere.verified.json.user_handle, first.verified.json.user_handle);
  assert.equal((await s.list('passkey')).length, 2);
  tab.quiet();
});

test('errors can be read across origins', { skip }, async (t) => {
  const s = d.session();
  const tab = await Tab.open(t, app);
  const { started, authn_response, verified } = await tab.enrol(s, { type: 'passkey' });
  tab.quiet();
  isProblem(await tab.run(s, 'call', 'DELETE', verified.location), 409, 'A0E-409-0001', /last method/);
  const verify = (auth_session) => tab.run(s, 'call', 'POST', `${started.location}/verify`, { auth_session, authn_response });
  isProblem(await verify(started.json.auth_session), 400, 'A0E-400-0001', /session/);
  const next = await tab.run(s, 'start', { type: 'passkey' });
  const stale = await verify(next.json.auth_session);
  isProblem(stale, 400, 'A0E-400-0003');
  assert.deepEqual(pointers(stale), ['/authn_response/response/clientDataJSON'], 'the challenge is another one');
  assert.equal((await s.list()).length, 1);
  tab.complained(FAILED);
});

test('a page of an origin that the client does not list cannot call', { skip }, async (t) => {
  for (const [name, site] of [['listed by nobody', () => stranger], ['listed by another client', () => other]])
    await t.test(name, async (t) => {
      const s = d.session();
      const tab = await Tab.open(t, site());
      for (const args of [['start', { type: 'passkey' }], ['call', 'GET', METHODS]]) {
        const out = await tab.run(s, ...args);
        assert.equal(out.error?.name, 'TypeError', JSON.stringify(out));
      }
      assert.deepEqual(await s.list(), []);
      tab.complained(REFUSED);
    });
});

/* Such a page can still run the ceremony, and somebody may carry what it made to the daemon. */
test('a credential made on a page of another origin is refused', { skip }, async (t) => {
  for (const [name, site] of [['listed by nobody', () => stranger], ['listed by another client', () => other]])
    await t.test(name, async (t) => {
      const s = d.session();
      const tab = await Tab.open(t, site());
      const { auth_session, authn_params_public_key } = await s.enrol({ type: 'passkey' });
      const authn_response = await tab.run(s, 'create', authn_params_public_key);
      assert.equal(authn_response.type, 'public-key', JSON.stringify(authn_response));
      const r = await s.verifyAny('passkey|new', { auth_session, authn_response });
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), ['/authn_response/response/clientDataJSON']);
      assert.match(r.text, /origin/i);
      assert.deepEqual(await s.list(), []);
      tab.quiet();
    });
});

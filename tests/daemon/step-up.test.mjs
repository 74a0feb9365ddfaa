/* SPDX-License-Identifier: Apache-2.0
 * What a token takes: the tenant's policy, the Default Policy of the API at login and at refresh, the rules above both,
 * and how long a token may live because of them. */
import { assert, test, before, after, Daemon, FACTORS, client, grant, methodPath, user } from './lib/kit.mjs';
import { Browser, MULTI_FACTOR, PASSWORD } from './lib/login.mjs';
import { App, GRANT, claims, isIssued, isRefused } from './lib/oauth.mjs';

const SECOND = 1000;
const WINDOW = 900 * SECOND;
const ORDERS = 'https://orders.example/api';
const SCOPE = 'openid offline_access read:me:factors';
const UNMET = 'The authentication requirements for this API cannot be met. Log in again.';
const people = Array.from({ length: 24 }, (_, i) => `p${String(i).padStart(2, '0')}`);
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;

let d;
let me;
let app;
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  const embedded = { app_type: 'native', grant_types: ['password', 'refresh_token', 'authorization_code'], refresh_token: { rotation_type: 'non-rotating' } };
  const clients = ['app', 'skipper', 'ruled', 'timeless'];
  d.apply({
    clients: [client('spa'), ...clients.map((c) => client(c, embedded))],
    client_grants: [...['spa', ...clients].map((c) => grant(d.base, c)), ...clients.map((c) => ({ client_id: c, audience: ORDERS, subject_type: 'user', scope: ['read:orders'] }))],
    policies: [{ client_id: 'skipper', scope: ['read:me:factors'], skip: true }, { client_id: 'ruled', scope: ['delete:me:authentication_methods'], require: ['otp'], max_age: 60 },
      { client_id: 'timeless', scope: ['read:me:factors'], require: ['otp', 'email'] }],
    users: [...people.map((n) => user(id(n), { email: mail(n), password: PASSWORD })), user(id('vic'), { email: mail('vic'), email_verified: true, password: PASSWORD })],
  });
  d.secrets.add('password', PASSWORD);
  app = new App(d, 'app');
});
after(() => d.stop());

const policy = (require_2fa) => d.apply({ api: { default_policy: { require_2fa } } });
const tenant = (mfa_policy) => d.apply({ tenant: { mfa_policy } });
let next = 0;
/* Somebody new; with an authenticator app if asked for. */
async function someone({ totp } = {}) {
  const name = people[next++];
  assert.ok(name, 'the people are used up');
  const p = { name, mail: mail(name), id: id(name) };
  if (totp) {
    p.session = d.as(p.id, { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });
    p.totp = await p.session.addTotp();
  }
  return p;
}
/* A code that was not used before. */
function code(p) {
  d.advance(30 * SECOND);
  return p.session.code(p.totp.secret);
}
const login = (p, a = app, over = {}) => a.password(p.mail, { audience: me, scope: SCOPE, ...over });
function required(res, requirements) {
  assert.equal(res.status, 403, res.text);
  const { mfa_token, ...rest } = res.json;
  assert.match(mfa_token, /^[\w-]{43}$/);
  assert.deepEqual(rest, { error: 'mfa_required', error_description: 'Multifactor authentication required', mfa_requirements: requirements });
  assert.equal(res.headers['cache-control'], 'no-store');
  return mfa_token;
}
const OTP = { challenge: [{ type: 'otp' }] };
const prove = async (p, mfa_token, a = app) => isIssued(await a.token({ grant_type: GRANT.otp, mfa_token, otp: code(p) }));
const around = (n, want) => assert.ok(n <= want && n > want - 20, `${n}, not ${want}`);

test('without any policy', async () => {
  const p = await someone({ totp: true });
  const json = isIssued(await login(p));
  assert.equal(json.expires_in, 86400);
  d.advance(2 * WINDOW);
  assert.equal(isIssued(await app.refresh(json.refresh_token)).expires_in, 86400);
});

test('the Default Policy', async (t) => {
  const plain = await someone();
  const p = await someone({ totp: true });
  policy(true);
  t.after(() => policy(false));
  await t.test('with a factor: a challenge at login', async () => { required(await login(p), OTP); });
  await t.test('without: none, and the login counts', async (u) => {
    const json = isIssued(await login(plain));
    around(json.expires_in, 900);
    assert.equal((await d.bearer(json.access_token).get(FACTORS)).status, 200);
    d.advance(WINDOW - 10 * SECOND);
    const at = isIssued(await app.refresh(json.refresh_token));
    around(at.expires_in, 10);
    assert.equal((await d.bearer(at.access_token).get(FACTORS)).status, 200);
    d.advance(11 * SECOND);
    await u.test('until the window has passed', async () => isRefused(await app.refresh(json.refresh_token), 403, 'unmet_authentication_requirements', UNMET));
    await u.test('also for what it gave', async () => assert.ok([401, 403].includes((await d.bearer(at.access_token).get(FACTORS)).status)));
    await u.test('the refresh token is good for other audiences', async () => {
      isIssued(await app.refresh(json.refresh_token, { audience: ORDERS, scope: 'read:orders' }));
      isRefused(await app.refresh(json.refresh_token), 403, 'unmet_authentication_requirements');
    });
    await u.test('and a new login is enough', async () => isIssued(await login(plain)));
  });
  await t.test('for this API only', async () => {
    const other = isIssued(await login(p, app, { audience: ORDERS, scope: 'openid offline_access read:orders' }));
    assert.equal(other.expires_in, 86400);
    const none = isIssued(await login(p, app, { audience: undefined, scope: 'openid offline_access' }));
    required(await app.refresh(none.refresh_token, { audience: me, scope: SCOPE }), OTP);
    isIssued(await app.refresh(none.refresh_token));
    const up = await prove(p, required(await app.refresh(other.refresh_token, { audience: me, scope: 'read:me:factors' }), OTP));
    assert.equal(up.scope, 'read:me:factors', 'what was asked for before the challenge');
    assert.equal(claims(up.access_token).aud, me);
    around(up.expires_in, 900);
    isIssued(await app.refresh(up.refresh_token ?? other.refresh_token, { audience: me, scope: 'read:me:factors' }));
  });
  await t.test('the window is counted from the second factor', async () => {
    const mfa = required(await login(p), OTP);
    d.advance(200 * SECOND);
    const json = await prove(p, mfa);
    const first = claims(json.id_token);
    assert.deepEqual(first.amr, ['pwd', 'otp', 'mfa']);
    assert.equal(first.acr, MULTI_FACTOR);
    around(json.expires_in, 900);
    d.advance(WINDOW - 20 * SECOND);
    const again = isIssued(await app.refresh(json.refresh_token));
    around(again.expires_in, 20);
    assert.equal(claims(again.id_token).auth_time, first.auth_time, 'a refresh is no authentication');
    d.advance(21 * SECOND);
    const up = await prove(p, required(await app.refresh(json.refresh_token), OTP));
    assert.ok(claims(up.id_token).auth_time > first.auth_time);
    around(up.expires_in, 900);
    isIssued(await app.refresh(up.refresh_token));
  });
  await t.test('a factor that came later is asked for at once after the window', async () => {
    const q = await someone();
    const json = isIssued(await login(q));
    q.session = d.as(q.id, { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });
    q.totp = await q.session.addTotp();
    const res = await app.refresh(json.refresh_token);
    required(res, OTP);
    await prove(q, res.json.mfa_token);
  });
  await t.test('a factor that is gone', async () => {
    const q = await someone({ totp: true });
    const json = await prove(q, required(await login(q), OTP));
    await q.session.want(204, 'DELETE', methodPath(q.totp.id));
    isIssued(await app.refresh(json.refresh_token));
    d.advance(WINDOW);
    isRefused(await app.refresh(json.refresh_token), 403, 'unmet_authentication_requirements', UNMET);
  });
  await t.test('a verified address is a factor while e-mail is one', async () => {
    const vic = { mail: mail('vic') };
    required(await login(vic), { challenge: [{ type: 'email' }] });
    d.apply({ factors: { email: false } });
    isIssued(await login(vic));
    d.apply({ factors: { email: true } });
    required(await login(vic), { challenge: [{ type: 'email' }] });
  });
  await t.test('on the hosted page, and at the refresh of what it gave', async () => {
    const spa = new App(d, 'spa');
    const b = new Browser(d);
    const page = await b.login(await b.authorize({ audience: me, scope: SCOPE }), p.mail);
    const out = await b.submit(page, 'code', { code: code(p) });
    const json = isIssued(await spa.exchange(out.params.code));
    around(json.expires_in, 900);
    assert.deepEqual(claims(json.id_token).amr, ['pwd', 'otp', 'mfa']);
    d.advance(WINDOW - 30 * SECOND);
    const again = isIssued(await spa.refresh(json.refresh_token));
    d.advance(31 * SECOND);
    const mfa = required(await spa.refresh(again.refresh_token), OTP);
    const up = await prove(p, mfa, spa);
    assert.notEqual(up.refresh_token, again.refresh_token);
    assert.equal(up.scope, SCOPE);
    isIssued(await spa.refresh(up.refresh_token));
  });
  await t.test('a code that waits while the window passes is worth nothing', async () => {
    const spa = new App(d, 'spa');
    const b = new Browser(d);
    const page = await b.login(await b.authorize({ audience: me, scope: SCOPE }), p.mail);
    await b.submit(page, 'code', { code: code(p) });
    d.advance(WINDOW - 20 * SECOND);
    const silent = await b.authorize({ audience: me, scope: SCOPE, prompt: 'none' });
    d.advance(30 * SECOND);
    const res = await spa.exchange(silent.params.code);
    isRefused(res, 403, 'invalid_grant', 'The sign-in no longer meets the policy; sign in again.');
  });
  await t.test('a window of the operator\'s', async () => {
    const o = await Daemon.start({ config: { policy: { step_up_window: 60 } }, state: { api: { default_policy: { require_2fa: true } } } });
    try {
      o.apply({ clients: [client('app', { app_type: 'native', grant_types: ['password', 'refresh_token'] })], client_grants: [grant(o.base, 'app')], users: [user('auth0|ann', { email: mail('ann'), password: PASSWORD })] });
      const a = new App(o, 'app');
      const json = isIssued(await a.password(mail('ann'), { audience: `${o.base}/me/`, scope: SCOPE }));
      around(json.expires_in, 60);
      o.advance(61 * SECOND);
      isRefused(await a.refresh(json.refresh_token), 403, 'unmet_authentication_requirements');
    } finally { await o.stop(); }
  });
});

test('the policy of the tenant', async (t) => {
  const plain = await someone();
  const p = await someone({ totp: true });
  const before = isIssued(await login(p, app, { audience: undefined, scope: 'openid offline_access' }));
  const plainBefore = isIssued(await login(plain, app, { audience: undefined, scope: 'openid offline_access' }));
  tenant('always');
  t.after(() => tenant('never'));
  await t.test('asks at every login, whatever for', async () => {
    for (const audience of [undefined, ORDERS, me]) required(await login(p, app, { audience, scope: 'openid' }), OTP);
  });
  await t.test('asks who has none to enrol one', async () => {
    const { json } = await login(plain);
    assert.equal(json.error, 'mfa_required');
    assert.deepEqual(Object.keys(json.mfa_requirements), ['enroll']);
    for (const type of ['otp', 'phone', 'email']) assert.ok(json.mfa_requirements.enroll.some((x) => x.type === type), type);
  });
  await t.test('once; there is no window', async () => {
    const json = await prove(p, required(await login(p), OTP));
    assert.equal(json.expires_in, 86400);
    d.advance(10 * WINDOW);
    isIssued(await app.refresh(json.refresh_token));
  });
  await t.test('counts for sessions that began before', async () => {
    await prove(p, required(await app.refresh(before.refresh_token), OTP));
    isIssued(await app.refresh(before.refresh_token));
    isRefused(await app.refresh(plainBefore.refresh_token), 403, 'unmet_authentication_requirements', UNMET);
  });
  await t.test('and beside the Default Policy', async () => {
    const json = await prove(p, required(await login(p), OTP));
    policy(true);
    d.advance(2 * WINDOW);
    required(await app.refresh(json.refresh_token), OTP);
    isIssued(await app.refresh(json.refresh_token, { audience: ORDERS, scope: 'read:orders' }));
    policy(false);
  });
});

test('rules', async (t) => {
  const plain = await someone();
  const p = await someone({ totp: true });
  const DELETE = 'openid offline_access delete:me:authentication_methods';
  policy(true);
  tenant('always');
  t.after(() => {
    policy(false);
    tenant('never');
  });
  await t.test('skip both', async () => {
    const a = new App(d, 'skipper');
    const json = isIssued(await login(p, a));
    assert.equal(json.expires_in, 86400, 'no bound either');
    d.advance(2 * WINDOW);
    isIssued(await a.refresh(json.refresh_token));
    isIssued(await login(plain, a));
  });
  await t.test('for the scopes they name', async () => {
    const a = new App(d, 'skipper');
    required(await login(p, a, { scope: 'openid update:me:authentication_methods' }), OTP);
    required(await login(p, a, { audience: undefined, scope: 'openid' }), OTP);
    required(await login(p, app), OTP);
  });
  await t.test('not for scopes that are not granted', async () => {
    d.apply({ client_grants: [grant(d.base, 'skipper', ['update:me:authentication_methods'])] });
    required(await login(p, new App(d, 'skipper'), { scope: 'openid read:me:factors update:me:authentication_methods' }), OTP);
    d.apply({ client_grants: [grant(d.base, 'skipper')] });
  });
  policy(false);
  tenant('never');
  await t.test('require a factor within an age', async () => {
    const a = new App(d, 'ruled');
    const easy = isIssued(await login(p, a));
    assert.equal(easy.expires_in, 86400);
    const json = await prove(p, required(await login(p, a, { scope: DELETE }), OTP), a);
    around(json.expires_in, 60);
    d.advance(40 * SECOND);
    around(isIssued(await a.refresh(json.refresh_token)).expires_in, 20);
    d.advance(21 * SECOND);
    const mfa = required(await a.refresh(json.refresh_token), OTP);
    around((await prove(p, mfa, a)).expires_in, 60);
    isIssued(await a.refresh(easy.refresh_token));
  });
  await t.test('of who has none: to enrol it at login, unmet later', async () => {
    const a = new App(d, 'ruled');
    required(await login(plain, a, { scope: DELETE }), { enroll: [{ type: 'otp' }] });
    const json = isIssued(await login(plain, a, { audience: undefined, scope: 'openid offline_access' }));
    isRefused(await a.refresh(json.refresh_token, { audience: me, scope: DELETE }), 403, 'unmet_authentication_requirements', UNMET);
    isIssued(await a.refresh(json.refresh_token, { audience: me, scope: 'read:me:factors' }));
  });
  await t.test('require a factor of any age', async () => {
    const a = new App(d, 'timeless');
    const json = await prove(p, required(await login(p, a), OTP), a);
    assert.equal(json.expires_in, 86400);
    d.advance(20 * WINDOW);
    isIssued(await a.refresh(json.refresh_token));
    policy(true);
    isIssued(await a.refresh(json.refresh_token));
    policy(false);
  });
  await t.test('a rule that comes later', async () => {
    const json = isIssued(await login(p));
    d.apply({ policies: [{ client_id: 'app', scope: ['read:me:factors'], require: ['otp'], max_age: 600 }] });
    await prove(p, required(await app.refresh(json.refresh_token), OTP));
    d.apply({ policies: [{ client_id: 'app', scope: ['update:me:authentication_methods'], require: ['otp'], max_age: 600 }] });
    isIssued(await app.refresh(json.refresh_token));
  });
});

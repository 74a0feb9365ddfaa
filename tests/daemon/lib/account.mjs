/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the account's own operations share: scopes, a daemon with users who can sign in, checks that every
 * operation goes through. */
import { assert, Daemon, ORIGIN, SCOPES, client, grant, isProblem, user } from './kit.mjs';
import { Browser, PASSWORD } from './login.mjs';
import { App, Prover, isIssued } from './oauth.mjs';

export const ACCOUNT = ['read:me:sessions', 'delete:me:sessions', 'read:me:activity', 'read:me:profile', 'update:me:profile', 'read:me:consents', 'delete:me:consents',
  'create:me:exports', 'read:me:exports', 'delete:me:account'];
export const EVERY = [...SCOPES, ...ACCOUNT];
export const WANTED = `openid profile offline_access ${EVERY.join(' ')}`;
export const CHROME = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
export const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0';
export const id = (n) => `auth0|${n}`;
export const mail = (n) => `${n}@example.com`;

/* names: users with a password. The clients spa and app (native, by password) may do everything. */
export async function start(names, { config = {}, state = {}, ...opts } = {}) {
  const d = await Daemon.start({ config, ...opts });
  const clients = [client('spa', { name: 'The page' }), client('app', { name: 'The app', app_type: 'native', grant_types: ['password', 'refresh_token', 'authorization_code'] }),
    client('third', { name: 'Somebody else' }), client('bound', { require_dpop: true })];
  d.apply({ clients, client_grants: ['spa', 'app', 'third', 'bound'].map((c) => grant(d.base, c, EVERY)),
    users: names.map((n) => user(id(n), { email: mail(n), password: PASSWORD })), ...state });
  d.secrets.add('password', PASSWORD);
  d.me = `${d.base}/me/`;
  return d;
}
/* Signed in by the hosted page: the tokens, the browser, and a session of this kit that uses the access token. */
export async function byPage(d, who, { client_id = 'spa', agent = CHROME, scope = WANTED, browser = new Browser(d) } = {}) {
  const raw = browser.raw.bind(browser);
  browser.raw = (method, url, o = {}) => raw(method, url, { ...o, headers: { 'user-agent': agent, ...o.headers } });
  const app = new App(d, client_id);
  const tokens = isIssued(await app.exchange(await app.code(mail(who), { audience: d.me, scope }, browser), {}, { headers: { 'user-agent': agent } }));
  return { app, browser, tokens, api: d.bearer(tokens.access_token) };
}
/* By password, without a browser. */
export async function byApp(d, who, { agent = 'Zq-App/1.0', scope = WANTED } = {}) {
  const app = new App(d, 'app');
  const tokens = isIssued(await app.password(mail(who), { audience: d.me, scope }, { headers: { 'user-agent': agent } }));
  return { app, tokens, api: d.bearer(tokens.access_token) };
}

/* What holds for every operation: token, scope, unknown users, CORS, DPoP, methods. */
export async function everyOperation(t, d, who, { method, path, scope, body, ok = 200, allow }) {
  const call = (s, opts = {}) => s.request(method, path, body, opts);
  const other = EVERY.filter((x) => x !== scope).join(' ');
  await t.test('no token', async () => isProblem(await call(d.anonymous()), 401, 'A0E-401-0002'));
  await t.test('another scope', async () => {
    const res = await call(d.as(id(who), { scope: other }));
    isProblem(res, 403, 'A0E-403-0002', new RegExp(scope));
    assert.match(res.headers['www-authenticate'], new RegExp(`insufficient_scope.*${scope}`));
  });
  await t.test('nobody known', async () => assert.equal((await call(d.as('auth0|nobody-at-all', { scope }))).status, 403));
  await t.test('cross-origin', async () => {
    const good = await call(d.as(id(who), { scope }), { headers: { origin: ORIGIN } });
    assert.equal(good.status, ok, good.text);
    assert.equal(good.headers['access-control-allow-origin'], ORIGIN);
    const bad = await call(d.as(id(who), { scope }), { headers: { origin: 'https://evil.example' } });
    isProblem(bad, 403, 'A0E-403-0001');
    assert.equal(bad.headers['access-control-allow-origin'], undefined);
    const pre = await d.anonymous().request('OPTIONS', path, undefined, { headers: { origin: ORIGIN, 'access-control-request-method': method } });
    assert.equal(pre.headers['access-control-allow-origin'], ORIGIN);
    assert.deepEqual(pre.headers.allow.split(', ').sort(), allow);
  });
  await t.test('DPoP', async () => {
    const prover = new Prover(d);
    const token = d.idp.token(id(who), { scope, cnf: { jkt: prover.jkt } });
    const send = (proof) => call(d.bearer(token), { headers: { authorization: `DPoP ${token}`, ...(proof ? { dpop: proof } : {}) } });
    assert.equal((await send()).status, 401);
    const first = await send(prover.proof(method, `${d.base}${path.split('?')[0]}`, { token }));
    prover.nonce = first.headers['dpop-nonce'] ?? prover.nonce;
    const res = first.status === 401 ? await send(prover.proof(method, `${d.base}${path.split('?')[0]}`, { token })) : first;
    assert.equal(res.status, ok, res.text);
    assert.equal((await send(prover.proof('PUT', `${d.base}${path.split('?')[0]}`, { token }))).status, 401, 'a proof of another method');
  });
  await t.test('another method', async () => {
    const res = await d.as(id(who), { scope }).request('PUT', path, undefined, { lax: true });
    assert.equal(res.status, 405);
    assert.deepEqual(res.headers.allow.split(', ').sort(), allow);
  });
}

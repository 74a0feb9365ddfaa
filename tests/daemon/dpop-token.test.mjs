/* SPDX-License-Identifier: Apache-2.0
 * DPoP at the token service (RFC 9449): nonces, bound tokens and refresh tokens, dpop_jkt, and who must use it. */
import { assert, test, before, after, Daemon, FACTORS, Key, ORIGIN, client, grant, user } from './lib/kit.mjs';
import { Browser, CALLBACK, PASSWORD } from './lib/login.mjs';
import { App, Prover, claims, isIssued, isRefused } from './lib/oauth.mjs';

const SECOND = 1000;
const SECRET = 'Zq7-web-secret-of-the-proofs';
const ORDERS = 'https://orders.example/api';
const NONCE = 'Authorization server requires nonce in DPoP proof';
const SCOPE = 'openid offline_access read:me:factors';
const names = ['ann', 'ben', 'cid', 'dee', 'eve'];
const mail = (n) => `${n}@example.com`;

let d;
let me;
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  const embedded = { app_type: 'native', grant_types: ['password', 'refresh_token', 'authorization_code'] };
  d.apply({
    clients: [client('spa'), client('app', embedded), client('strict', { ...embedded, require_dpop: true }),
      client('web', { ...embedded, app_type: 'regular_web', client_secret: SECRET })],
    client_grants: [...['spa', 'app', 'strict', 'web'].map((c) => grant(d.base, c)), { client_id: 'app', audience: ORDERS, subject_type: 'user', scope: ['read:orders'] }],
    users: names.map((n) => user(`auth0|${n}`, { email: mail(n), password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
});
after(() => d.stop());

/* An application with a key whose first nonce is already known. */
async function bound(client_id, how = {}, alg = 'ES256') {
  const a = new App(d, client_id, { dpop: new Prover(d, alg), ...how });
  await a.refresh('x');
  assert.match(a.dpop.nonce, /^[\w-]{43}$/);
  return a;
}
const login = (app, over = {}, opts = {}, who = 'ann') => app.password(mail(who), { audience: me, scope: SCOPE, ...over }, opts);
const api = (json, prover, path = FACTORS, over = {}) => d.http({ path, headers: { authorization: `DPoP ${json.access_token}`,
  dpop: prover.proof('GET', `${d.base}${path}`, { token: json.access_token, nonce: undefined, ...over }) } });
function wantsNonce(res) {
  isRefused(res, 400, 'use_dpop_nonce', NONCE);
  assert.match(res.headers['dpop-nonce'], /^[\w-]{43}$/);
}

test('the first nonce', async (t) => {
  const a = new App(d, 'spa', { dpop: new Prover(d) });
  const code = await a.code(mail('ann'), { audience: me, scope: SCOPE });
  const res = await a.exchange(code, {}, { headers: { origin: ORIGIN } });
  wantsNonce(res);
  assert.match(res.headers['access-control-expose-headers'], /dpop-nonce/i);
  assert.equal(res.headers['access-control-allow-origin'], ORIGIN);
  let json;
  await t.test('and the code is still good', async () => {
    const ok = await a.exchange(code);
    json = isIssued(ok, 'DPoP');
    assert.match(ok.headers['dpop-nonce'], /^[\w-]{43}$/, 'the next one');
  });
  await t.test('the token is bound', async () => {
    assert.deepEqual(claims(json.access_token).cnf, { jkt: a.dpop.jkt });
    assert.equal('cnf' in claims(json.id_token), false);
    assert.equal((await api(json, a.dpop)).status, 200);
    assert.equal((await d.http({ path: FACTORS, headers: { authorization: `Bearer ${json.access_token}` } })).status, 401);
    assert.equal((await api(json, new Prover(d))).status, 401);
  });
  await t.test('no proof, no nonce', async () => {
    const plain = await new App(d, 'spa').refresh('x');
    assert.equal(plain.headers['dpop-nonce'], undefined);
  });
});

test('nonces lapse', async () => {
  const a = await bound('app');
  const { nonce } = a.dpop;
  d.advance(299 * SECOND);
  isIssued(await login(a, {}, { proof: { nonce } }), 'DPoP');
  d.advance(302 * SECOND);
  wantsNonce(await login(a, {}, { proof: { nonce } }));
  isIssued(await login(a), 'DPoP');
  wantsNonce(await login(a, {}, { proof: { nonce: 'x'.repeat(43) } }));
  wantsNonce(await login(a, {}, { proof: { nonce: '' } }));
  wantsNonce(await login(a, {}, { proof: { nonce: undefined } }));
});

test('every algorithm', async (t) => {
  for (const alg of ['ES256', 'RS256', 'ES384', 'PS256', 'EdDSA'])
    await t.test(alg, async () => {
      const a = await bound('app', {}, alg);
      const json = isIssued(await login(a), 'DPoP');
      assert.equal(claims(json.access_token).cnf.jkt, a.dpop.jkt);
      assert.equal((await api(json, a.dpop)).status, 200);
    });
});

test('proofs that do not do', async (t) => {
  const a = await bound('app');
  const now = () => Math.floor(d.now() / 1000);
  const rows = {
    'another method': { htm: 'GET' }, 'another path': { htu: `${d.base}/oauth/revoke` }, 'another host': { htu: 'https://else.example/oauth/token' }, 'another scheme': { htu: `${d.base.replace('http', 'https')}/oauth/token` },
    'no method': { htm: undefined }, 'no URL': { htu: undefined }, 'no jti': { jti: undefined }, 'an empty jti': { jti: '' }, 'no iat': { iat: undefined }, 'too old': { iat: now() - 330 }, 'of tomorrow': { iat: now() + 60 },
    'another typ': { header: { typ: 'JWT' } }, 'no key': { header: { jwk: undefined } }, 'no algorithm': { header: { alg: 'none' } }, 'a symmetric one': { header: { alg: 'HS256' } },
    'a private key': { header: { jwk: a.dpop.key.privateKey.export({ format: 'jwk' }) } }, 'somebody else\'s signature': { key: new Key('ES256') }, 'an extension': { header: { crit: ['x'], x: 1 } },
  };
  for (const [what, proof] of Object.entries(rows)) await t.test(what, async () => isRefused(await login(a, {}, { proof }), 400, 'invalid_dpop_proof'));
  for (const raw of ['x', 'a.b.c', '', 'x'.repeat(5000)]) {
    const res = await new App(d, 'app').password(mail('ann'), { audience: me, scope: SCOPE }, { headers: { dpop: raw } });
    assert.equal(res.status, 400, raw.slice(0, 9));
    assert.equal(res.json.error, 'invalid_dpop_proof');
  }
  await t.test('the query does not matter', async () => { isIssued(await login(a, {}, { proof: { htu: `${d.base}/oauth/token?x=1#y` } }), 'DPoP'); });
  await t.test('nor does an ath', async () => { isIssued(await login(a, {}, { proof: { token: 'x' } }), 'DPoP'); });
  await t.test('one that was used', async () => {
    const jti = 'the-same';
    const many = await Promise.all(Array.from({ length: 6 }, () => login(a, {}, { proof: { jti } })));
    assert.equal(many.filter((r) => r.status === 200).length, 1);
    for (const r of many.filter((x) => x.status !== 200)) isRefused(r, 400, 'invalid_dpop_proof', /used before/);
    isRefused(await a.refresh('x', {}, { proof: { jti } }), 400, 'invalid_dpop_proof', /used before/);
    const other = await bound('app');
    isIssued(await login(other, {}, { proof: { jti } }), 'DPoP');
  });
});

test('refresh tokens of public clients are bound', async (t) => {
  const a = await bound('app');
  let json = isIssued(await login(a, {}, {}, 'ben'), 'DPoP');
  const other = await bound('app');
  await t.test('without the key they are nothing', async () => {
    isRefused(await a.refresh(json.refresh_token, {}, { dpop: false }), 403, 'invalid_grant', 'The refresh token is bound to another DPoP key.');
    isRefused(await other.refresh(json.refresh_token), 403, 'invalid_grant', 'The refresh token is bound to another DPoP key.');
  });
  await t.test('with it they go on, however often', async () => {
    for (let i = 0; i < 3; i++) {
      json = isIssued(await a.refresh(json.refresh_token), 'DPoP');
      assert.equal(claims(json.access_token).cnf.jkt, a.dpop.jkt);
      assert.ok(json.id_token);
    }
  });
  await t.test('a refused proof uses nothing up', async () => {
    wantsNonce(await a.refresh(json.refresh_token, {}, { proof: { nonce: undefined } }));
    isRefused(await a.refresh(json.refresh_token, {}, { proof: { htm: 'GET' } }), 400, 'invalid_dpop_proof');
    json = isIssued(await a.refresh(json.refresh_token), 'DPoP');
  });
  await t.test('for another audience too', async () => {
    json = isIssued(await a.refresh(json.refresh_token, { audience: ORDERS, scope: 'read:orders' }), 'DPoP');
    assert.deepEqual([claims(json.access_token).aud, claims(json.access_token).cnf.jkt], [ORDERS, a.dpop.jkt]);
  });
  await t.test('one that was not stays free; its tokens may be bound', async () => {
    const plain = isIssued(await login(new App(d, 'app')));
    const next = isIssued(await a.refresh(plain.refresh_token), 'DPoP');
    assert.equal(claims(next.access_token).cnf.jkt, a.dpop.jkt);
    const last = isIssued(await a.refresh(next.refresh_token, {}, { dpop: false }));
    assert.equal('cnf' in claims(last.access_token), false);
  });
});

test('confidential clients', async () => {
  const a = new App(d, 'web', { secret: SECRET, dpop: new Prover(d) });
  const json = isIssued(await login(a), 'DPoP');
  assert.equal(claims(json.access_token).cnf.jkt, a.dpop.jkt, 'without a nonce');
  wantsNonce(await login(a, {}, { proof: { nonce: 'x'.repeat(43) } }));
  const free = isIssued(await a.refresh(json.refresh_token, {}, { dpop: false }));
  assert.equal('cnf' in claims(free.access_token), false, 'their secret binds the refresh token');
  const other = new Prover(d);
  const again = isIssued(await a.refresh(free.refresh_token, {}, { dpop: other }), 'DPoP');
  assert.equal(claims(again.access_token).cnf.jkt, other.jkt);
  const seen = await a.send('/oauth/introspect', { token: again.access_token }, { dpop: false });
  assert.deepEqual([seen.json.active, seen.json.token_type, seen.json.cnf], [true, 'DPoP', { jkt: other.jkt }]);
});

test('dpop_jkt binds the code', async (t) => {
  const a = await bound('spa');
  const b = new Browser(d);
  await b.signIn(mail('cid'));
  const code = async (dpop_jkt) => (await b.authorize({ dpop_jkt, scope: 'openid' })).params;
  const { code: one } = await code(a.dpop.jkt);
  const other = await bound('spa');
  const why = 'The authorization code is bound to another DPoP key.';
  isRefused(await a.exchange(one, {}, { dpop: false }), 403, 'invalid_grant', why);
  isRefused(await other.exchange(one), 403, 'invalid_grant', why);
  isIssued(await a.exchange(one), 'DPoP');
  await t.test('one that is none', async () => {
    for (const bad of ['x', 'x'.repeat(42), `${'x'.repeat(42)}!`]) assert.equal((await code(bad)).error, 'invalid_request');
  });
  await t.test('also when the user signs in first', async () => {
    const c = await a.code(mail('dee'), { dpop_jkt: a.dpop.jkt, redirect_uri: CALLBACK, scope: 'openid' });
    isRefused(await a.exchange(c, {}, { dpop: false }), 403, 'invalid_grant', why);
    isIssued(await a.exchange(c), 'DPoP');
  });
});

test('a client that must', async () => {
  const why = 'A DPoP proof is required.';
  const plain = new App(d, 'strict');
  isRefused(await login(plain), 400, 'invalid_dpop_proof', why);
  isRefused(await login(plain, { audience: undefined, scope: 'openid' }), 400, 'invalid_dpop_proof', why);
  const code = await plain.code(mail('eve'), { scope: 'openid offline_access' });
  isRefused(await plain.exchange(code), 400, 'invalid_dpop_proof', why);
  const a = await bound('strict');
  const json = isIssued(await a.exchange(code), 'DPoP');
  isIssued(await a.refresh(json.refresh_token), 'DPoP');
});

test('an API that must', async (t) => {
  const why = 'A DPoP proof is required.';
  const plain = new App(d, 'app');
  const before = isIssued(await login(plain));
  const code = await plain.code(mail('eve'), { audience: me, scope: SCOPE });
  d.apply({ api: { require_dpop: true } });
  t.after(() => d.apply({ api: { require_dpop: false } }));
  isRefused(await login(plain), 400, 'invalid_dpop_proof', why);
  isRefused(await plain.exchange(code), 400, 'invalid_dpop_proof', why);
  isRefused(await plain.refresh(before.refresh_token), 400, 'invalid_dpop_proof', why);
  assert.equal((await d.http({ path: FACTORS, headers: { authorization: `Bearer ${before.access_token}` } })).status, 401);
  isIssued(await login(plain, { audience: undefined, scope: 'openid' }), 'Bearer');
  const other = isIssued(await plain.refresh(before.refresh_token, { audience: ORDERS, scope: 'read:orders' }));
  const a = await bound('app');
  isIssued(await a.exchange(code), 'DPoP');
  const json = isIssued(await a.refresh(other.refresh_token), 'DPoP');
  assert.equal((await api(json, a.dpop)).status, 200);
});

test('userinfo', async () => {
  const a = await bound('app');
  const json = isIssued(await login(a, { audience: undefined, scope: 'openid email' }), 'DPoP');
  const ok = await api(json, a.dpop, '/userinfo');
  assert.deepEqual([ok.status, ok.json?.email], [200, mail('ann')], ok.text);
  const bad = { 'another key': [new Prover(d)], 'another token': [a.dpop, { token: 'x' }], 'no ath': [a.dpop, { token: undefined }], 'another method': [a.dpop, { htm: 'POST' }], 'another URL': [a.dpop, { htu: `${d.base}/oauth/token` }] };
  for (const [what, [prover, over]] of Object.entries(bad)) {
    const res = await api(json, prover, '/userinfo', over);
    assert.equal(res.status, 401, what);
    assert.match(res.headers['www-authenticate'], /^DPoP error="/);
  }
  for (const headers of [{ authorization: `Bearer ${json.access_token}` }, { authorization: `DPoP ${json.access_token}` }]) assert.equal((await d.http({ path: '/userinfo', headers })).status, 401);
  const plain = isIssued(await login(new App(d, 'app'), { audience: undefined, scope: 'openid' }));
  assert.equal((await api(plain, a.dpop, '/userinfo')).status, 401, 'a token that is not bound');
});

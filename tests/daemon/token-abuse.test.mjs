/* SPDX-License-Identifier: Apache-2.0
 * The token service against those who guess, replay and flood: by address, by client, across a restart. */
import { assert, test, after, Daemon, FACTORS, Key, ORIGIN, client, grant, user } from './lib/kit.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, Prover, isIssued, isRefused } from './lib/oauth.mjs';

const SECRET = 'Zq7-secret-that-is-guessed-at';
const SCOPE = 'openid offline_access read:me:factors';
const EMBEDDED = { app_type: 'native', grant_types: ['password', 'refresh_token', 'authorization_code'] };
const key = new Key('ES256');
const all = [];
after(async () => { for (const w of all) await w.d.stop(); });

async function start(rate = {}) {
  const d = await Daemon.start({ config: { trusted_proxies: ['127.0.0.1/32'], rate_limit: { enabled: true, ...rate } } });
  d.apply({
    clients: [client('app', EMBEDDED), client('other', { ...EMBEDDED, callbacks: ['https://other.example/cb'], allowed_origins: ['https://other.example'], web_origins: [] }),
      client('web', { ...EMBEDDED, app_type: 'regular_web', client_secret: SECRET }),
      client('server', { ...EMBEDDED, app_type: 'regular_web', client_secret: SECRET, is_token_endpoint_ip_header_trusted: true }),
      client('jwt', { ...EMBEDDED, app_type: 'regular_web', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [key.jwk()] } })],
    client_grants: ['app', 'other', 'web', 'server', 'jwt'].map((c) => grant(d.base, c)),
    users: ['ann', 'ben'].map((n) => user(`auth0|${n}`, { password: PASSWORD })),
  });
  const w = { d, me: `${d.base}/me/`, app: new App(d, 'app'), web: new App(d, 'web', { secret: SECRET }),
    server: new App(d, 'server', { secret: SECRET }), jwt: new App(d, 'jwt', { auth: 'jwt', key }) };
  d.secrets.add('password', PASSWORD);
  all.push(w);
  return w;
}
const from = (address) => ({ headers: { 'x-forwarded-for': address } });
const rows = (d, type) => d.audit().map((l) => JSON.parse(l)).filter((r) => r.type === type);
function isTooMany(r) {
  assert.deepEqual([r.status, r.json?.error], [429, 'too_many_requests'], r.text);
  assert.ok(Number(r.headers['retry-after']) >= 1);
}

test('an address that fails too often is held up, and only that one', async (t) => {
  const { d, me, app, web } = await start({ address_failures: 5 });
  const held = from('203.0.113.1');
  const good = isIssued(await app.password('ann@example.com', { audience: me, scope: SCOPE }, from('203.0.113.9')));
  for (let i = 0; i < 5; i++) {
    const r = await app.refresh('junk', {}, held);
    isRefused(r, 403, 'invalid_grant');
    assert.deepEqual([r.headers['x-ratelimit-limit'], r.headers['x-ratelimit-remaining']], ['5', String(4 - i)]);
  }
  isTooMany(await app.refresh('junk', {}, held));
  await t.test('at every endpoint', async () => {
    for (const path of ['/oauth/revoke', '/mfa/challenge', '/passkey/challenge', '/mfa/associate']) isTooMany(await app.send(path, { token: 'x', mfa_token: 'x' }, held));
    isTooMany(await app.get('/mfa/authenticators', 'Bearer x', held.headers));
  });
  await t.test('mfa tokens are guessed at just as often', async () => {
    for (let i = 0; i < 5; i++) assert.equal((await app.get('/mfa/authenticators', 'Bearer x', from('203.0.113.2').headers)).status, 401);
    isTooMany(await app.get('/mfa/authenticators', 'Bearer x', from('203.0.113.2').headers));
  });
  await t.test('others go on', async () => {
    isIssued(await app.refresh(good.refresh_token, {}, from('203.0.113.3')));
    isRefused(await web.refresh('junk', {}, held), 403, 'invalid_grant'); /* a client that authenticates */
    for (let i = 0; i < 10; i++) isRefused(await web.refresh('junk', {}, held), 403, 'invalid_grant');
    assert.equal((await d.session().get(FACTORS, held)).status, 200);
  });
  d.advance(61000);
  isRefused(await app.refresh('junk', {}, held), 403, 'invalid_grant');
});

test('proofs that brought nothing take no place', async (t) => {
  const { d, me, app } = await start({ address_failures: 0 });
  const p = new Prover(d);
  await app.refresh('x', {}, { dpop: p });
  const proof = p.proof('POST', `${d.base}/oauth/token`);
  const shown = (send) => send({ dpop: false, headers: { dpop: proof } });
  for (let i = 0; i < 3; i++) isRefused(await shown((o) => app.refresh('junk', {}, o)), 403, 'invalid_grant');
  isIssued(await shown((o) => app.password('ann@example.com', { audience: me, scope: SCOPE }, o)), 'DPoP');
  await t.test('one that brought tokens is used up', async () => {
    isRefused(await shown((o) => app.password('ann@example.com', { audience: me, scope: SCOPE }, o)), 400, 'invalid_dpop_proof', /used before/);
    isRefused(await shown((o) => app.refresh('junk', {}, o)), 400, 'invalid_dpop_proof', /used before/);
  });
  await t.test('of requests side by side one gets them', async () => {
    const same = p.proof('POST', `${d.base}/oauth/token`);
    const rs = await Promise.all(Array.from({ length: 4 }, () => app.password('ann@example.com', { audience: me, scope: SCOPE }, { dpop: false, headers: { dpop: same } })));
    assert.equal(rs.filter((r) => r.status === 200).length, 1);
    for (const r of rs.filter((x) => x.status !== 200)) isRefused(r, 400, 'invalid_dpop_proof', /used before/);
  });
});

test('the secret of a client is guessed at only so often', async (t) => {
  const { d, web } = await start({ login_failures_per_minute: 5 });
  const guess = (i, over = {}) => new App(d, 'web', { secret: `guess-${i}` }).refresh('x', {}, { ...from('203.0.113.1'), ...over });
  for (let i = 0; i < 5; i++) isRefused(await guess(i), 401, 'invalid_client');
  for (let i = 0; i < 5; i++) isTooMany(await guess(i));
  isTooMany(await web.refresh('x', {}, from('203.0.113.1'))); /* nor does the right one tell itself apart */
  await t.test('the client goes on elsewhere', async () => isRefused(await web.refresh('x', {}, from('203.0.113.2')), 403, 'invalid_grant'));
  await t.test('the trail and the log tell once a minute', async () => {
    isRefused(await guess(9, from('203.0.113.3')), 401, 'invalid_client');
    assert.deepEqual(rows(d, 'feccft').map((r) => r.client_id), ['web']);
    assert.equal(d.logLines().filter((l) => l.event === 'client.refused').length, 1);
    d.advance(61000);
    isRefused(await guess(0), 401, 'invalid_client');
    assert.equal(rows(d, 'feccft').length, 2);
  });
});

test("the address of a server's user", async (t) => {
  const { d, me, server, web, app } = await start({ address_failures: 3 });
  const at = (ip) => ({ headers: { 'auth0-forwarded-for': ip } });
  const login = (a, ip, over = {}) => a.password('ann@example.com', { audience: me, scope: SCOPE, ...over }, at(ip));
  isIssued(await login(server, '198.51.100.7'));
  await t.test('is in the trail', () => assert.equal(rows(d, 's').at(-1).ip, '198.51.100.7'));
  await t.test('counts', async () => {
    for (let i = 0; i < 3; i++) isRefused(await login(server, '198.51.100.8', { password: 'wrong' }), 403, 'invalid_grant');
    assert.equal((await login(server, '198.51.100.8')).status, 429);
    isIssued(await login(server, '198.51.100.9'));
  });
  await t.test('is believed of nobody else', async () => {
    for (const a of [web, app]) {
      isIssued(await login(a, '198.51.100.77'));
      assert.equal(rows(d, 's').at(-1).ip, '127.0.0.1');
    }
    isRefused(await new App(d, 'server', { secret: 'wrong' }).refresh('x', {}, at('198.51.100.78')), 401, 'invalid_client');
    assert.equal(rows(d, 'feccft').at(-1).ip, '127.0.0.1');
  });
  await t.test('nor nonsense', async () => {
    for (const text of ['nonsense', '1.2.3.4, 5.6.7.8', '']) {
      isIssued(await login(server, text));
      assert.equal(rows(d, 's').at(-1).ip, '127.0.0.1');
    }
  });
});

test('userinfo', async (t) => {
  const { d, me, app } = await start({ user_reads: 4 });
  const { access_token } = isIssued(await app.password('ann@example.com', { audience: me, scope: SCOPE }));
  const ask = (headers) => app.get('/userinfo', `Bearer ${access_token}`, headers);
  await t.test('answers origins of its own client only', async () => {
    const ok = await ask({ origin: ORIGIN });
    assert.deepEqual([ok.status, ok.headers['access-control-allow-origin']], [200, ORIGIN]);
    const no = await ask({ origin: 'https://other.example' });
    assert.deepEqual([no.status, no.headers['access-control-allow-origin'], no.json?.sub], [403, undefined, undefined], no.text);
  });
  await t.test('says how often it may be asked', async () => {
    const r = await ask();
    assert.deepEqual([r.headers['x-ratelimit-limit'], r.headers['x-ratelimit-remaining']], ['4', '2']);
    await ask();
    await ask();
    assert.equal((await ask()).status, 429);
  });
  assert.ok(d);
});

test('what was shown before a restart', async (t) => {
  const { d, me, jwt, app } = await start();
  const url = `${d.base}/me/v1/factors`;
  const p = new Prover(d);
  await app.refresh('x', {}, { dpop: p });
  const { access_token } = isIssued(await app.password('ann@example.com', { audience: me, scope: SCOPE }, { dpop: p }), 'DPoP');
  const api = (proof) => d.http({ path: FACTORS, headers: { authorization: `DPoP ${access_token}`, dpop: proof } });
  const old = p.proof('GET', url, { token: access_token, nonce: undefined });
  const assertion = jwt.assertion(), undated = jwt.assertion({ iat: undefined });
  const shown = (client_assertion) => jwt.refresh('junk', { client_assertion });
  assert.equal((await api(old)).status, 200);
  isRefused(await shown(assertion), 403, 'invalid_grant');
  isRefused(await shown(undated), 403, 'invalid_grant');
  d.advance(2000);
  await d.end();
  await d.run();
  await t.test('a proof is told to fetch a nonce', async () => {
    const r = await api(old);
    assert.equal(r.status, 401, r.text);
    assert.match(r.headers['www-authenticate'], /use_dpop_nonce/);
    const nonce = r.headers['dpop-nonce'];
    assert.equal((await api(p.proof('GET', url, { token: access_token, nonce, iat: Math.floor(d.now() / 1000) - 5 }))).status, 200);
  });
  await t.test('an assertion is refused', async () => {
    for (const a of [assertion, undated]) isRefused(await shown(a), 401, 'invalid_client', /older than/);
    isRefused(await shown(jwt.assertion()), 403, 'invalid_grant');
    isRefused(await shown(jwt.assertion({ iat: undefined })), 403, 'invalid_grant');
  });
});

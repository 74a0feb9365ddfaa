/* SPDX-License-Identifier: Apache-2.0
 * Cross-origin rules: preflights ask whether any client lends the origin, requests ask the token's client. */
import { assert, test, before, after, Daemon, ORIGIN, METHODS, FACTORS, methodPath, client, grant } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

const pre = (path, origin, method = 'POST') => d.anonymous().request('OPTIONS', path, undefined,
  { headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization,content-type' } });
const EXPOSED = ['location', 'dpop-nonce', 'www-authenticate', 'retry-after', 'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'x-auth0-error-kind'];
const list = (v) => (v ?? '').toLowerCase().split(/, */);

test('preflight from a listed origin', async (t) => {
  for (const path of [FACTORS, METHODS, methodPath('totp|dev_aaaaaaaaaaaaaaaa'), `${methodPath('passkey|new')}/verify`, `${METHODS}/passkey|new/verify`])
    await t.test(path, async () => {
      const r = await pre(path, ORIGIN);
      assert.equal(r.status, 204);
      assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
      assert.match(r.headers.vary, /origin/i);
      for (const m of ['get', 'post', 'patch', 'delete', 'options']) assert.ok(list(r.headers['access-control-allow-methods']).includes(m), m);
      for (const h of ['authorization', 'content-type', 'dpop', 'auth0-client']) assert.ok(list(r.headers['access-control-allow-headers']).includes(h), h);
      assert.equal(r.headers['access-control-max-age'], '600');
      assert.equal(r.headers['access-control-allow-credentials'], undefined);
    });
});

test('preflight from an origin that no client lends', async (t) => {
  for (const origin of ['https://evil.example', 'null', 'http://localhost:3001', 'https://localhost:3000', 'https://third.example', 'http://localhost:3000.evil.example', 'http://localhost:3000/'])
    await t.test(origin, async () => {
      const r = await pre(METHODS, origin);
      assert.equal(r.status, 204);
      assert.equal(r.headers['access-control-allow-origin'], undefined);
      assert.match(r.headers.vary, /origin/i);
    });
});

test('a request from an origin of the token\'s client', async () => {
  const s = d.session();
  const r = await s.get(FACTORS, { headers: { origin: ORIGIN } });
  assert.equal(r.status, 200);
  assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
  assert.match(r.headers.vary, /origin/i);
  for (const h of EXPOSED) assert.ok(list(r.headers['access-control-expose-headers']).includes(h), h);
});

test('a request from an origin that the token\'s client does not list is 403 without CORS headers', async (t) => {
  const s = d.session();
  for (const origin of ['https://evil.example', 'https://reader.example', 'null'])
    await t.test(origin, async () => {
      const r = await s.get(FACTORS, { headers: { origin } });
      assert.equal(r.status, 403, r.text);
      assert.equal(r.headers['access-control-allow-origin'], undefined);
      assert.match(r.headers.vary, /origin/i);
    });
  const e = await s.post(METHODS, { type: 'totp' }, { headers: { origin: 'https://evil.example' } });
  assert.equal(e.status, 403);
  assert.deepEqual(await s.list(), [], 'the refused request changed something');
});

test('answers vary by origin also without one', async () => {
  assert.match((await d.session().get(FACTORS)).headers.vary ?? '', /origin/i);
});

test('errors carry CORS headers', async (t) => {
  const s = d.session();
  const h = { headers: { origin: ORIGIN } };
  const cases = {
    401: () => d.anonymous().get(FACTORS, h), 400: () => s.post(METHODS, { type: 'nope' }, h), 403: () => d.session({ scope: '' }).get(FACTORS, h),
    404: () => s.get('/me/v1/nope', h), 405: () => s.request('PUT', FACTORS, {}, h),
    415: () => s.request('POST', METHODS, 'x', { raw: true, headers: { origin: ORIGIN, 'content-type': 'text/plain' } }),
    413: () => s.request('POST', METHODS, 'x'.repeat(70000), { raw: true, ...h }),
  };
  for (const [status, call] of Object.entries(cases))
    await t.test(status, async () => {
      const r = await call();
      assert.equal(r.status, Number(status), r.text);
      assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
      assert.ok(list(r.headers['access-control-expose-headers']).includes('www-authenticate'));
    });
});

test('wildcards, callbacks and switched-off clients', async (t) => {
  d.apply({
    clients: [client('wild', { allowed_origins: ['https://*.apps.example'], web_origins: ['https://web.example'], callbacks: ['https://cb.example/a/b?c'] }),
      client('off', { cross_origin_authentication: false, allowed_origins: ['https://off.example'], web_origins: [], callbacks: [] })],
    client_grants: [grant(d.base, 'wild'), grant(d.base, 'off')],
  });
  const allowed = async (origin) => (await pre(FACTORS, origin, 'GET')).headers['access-control-allow-origin'] === origin;
  await t.test('a label below a wildcard', async () => assert.ok(await allowed('https://one.apps.example')));
  await t.test('the wildcard\'s own domain', async () => assert.ok(!await allowed('https://apps.example')));
  await t.test('a look-alike', async () => assert.ok(!await allowed('https://oneapps.example')));
  await t.test('another scheme', async () => assert.ok(!await allowed('http://one.apps.example')));
  await t.test('another port', async () => assert.ok(!await allowed('https://one.apps.example:8443')));
  await t.test('a web origin', async () => assert.ok(await allowed('https://web.example')));
  await t.test('the origin of a callback', async () => assert.ok(await allowed('https://cb.example')));
  await t.test('cross_origin_authentication false lends nothing', async () => {
    assert.ok(!await allowed('https://off.example'));
    const r = await d.session({ azp: 'off' }).get(FACTORS, { headers: { origin: 'https://off.example' } });
    assert.equal(r.status, 403);
  });
  await t.test('and works without an origin', async () => assert.equal((await d.session({ azp: 'off' }).get(FACTORS)).status, 200));
});

test('further request headers can be allowed', async () => {
  const o = await Daemon.start({ config: { cors: { allow_headers: ['X-Datadog-Origin'] } } });
  const r = await o.anonymous().request('OPTIONS', FACTORS, undefined, { headers: { origin: ORIGIN, 'access-control-request-method': 'GET' } });
  assert.ok(list(r.headers['access-control-allow-headers']).includes('x-datadog-origin'));
  await o.stop();
});

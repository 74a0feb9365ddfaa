/* SPDX-License-Identifier: Apache-2.0
 * Behind proxies: what trusted_proxies changes in the audit, the limits, the log and the public origin, and what strangers
 * cannot change. Over TCP and over a UNIX socket. */
import path from 'node:path';
import { assert, test, after, Daemon, eventually, request, sockets, FACTORS, METHODS } from './lib/kit.mjs';

const DOM = 'https://id.custom.example';
const NETS = ['127.0.0.0/8', '10.0.0.0/8', '2001:db8:1::/48'];
const running = [];
after(async () => { for (const d of running) await d.stop(); });

async function start({ local, trusted, more = {} }) {
  const d = await Daemon.start({ start: false });
  d.configure({ custom_domains: [DOM], trusted_proxies: trusted, rate_limit: { enabled: true, address_failures: 3 }, ...more,
    ...(local ? { listen: `unix:${path.join(d.dir, 'proxy.sock')}` } : {}) });
  if (local) sockets.set(d.port, path.join(d.dir, 'proxy.sock'));
  await d.run();
  running.push(d);
  return d;
}

/* The address in the audit row of an enrolment that carried these headers; the access line has to agree. */
async function seen(d, headers) {
  const s = d.session();
  const r = await s.post(METHODS, { type: 'totp' }, { headers, lax: true });
  assert.equal(r.status, 202, r.text);
  const row = await eventually(() => d.audit(s.user).map((l) => JSON.parse(l))[0], 'an audit row');
  const ip = row.ip ?? row.address;
  const line = await eventually(() => d.logLines().findLast((l) => l.event === 'request' && l.status === 202), 'an access line');
  assert.equal(line.address, ip, 'access log and audit');
  return ip;
}
const bad = (d, headers) => request({ port: d.port, host: d.host, path: FACTORS, headers: { authorization: 'Bearer x', ...headers } });
const issuer = async (d, headers) => (await request({ port: d.port, host: d.host, path: '/.well-known/openid-configuration', headers })).json.issuer;

const CASES = {
  'no header': [{}, 'peer'],
  'X-Forwarded-For': [{ 'x-forwarded-for': '192.0.2.1' }, '192.0.2.1'],
  'Forwarded': [{ forwarded: 'for=192.0.2.1;proto=https' }, '192.0.2.1'],
  'both families, agreeing': [{ forwarded: 'for=192.0.2.1', 'x-forwarded-for': '192.0.2.1' }, '192.0.2.1'],
  'both families, disagreeing': [{ forwarded: 'for=192.0.2.1', 'x-forwarded-for': '192.0.2.2' }, 'peer'],
  'IPv6': [{ 'x-forwarded-for': '2001:db8:2::7' }, '2001:db8:2::7'],
  'IPv6 in Forwarded, with a port': [{ forwarded: 'for="[2001:db8:2::7]:4711"' }, '2001:db8:2::7'],
  'a chain over three trusted networks': [{ 'x-forwarded-for': '192.0.2.1, 2001:db8:1::5, 10.1.2.3' }, '192.0.2.1'],
  'a chain in Forwarded': [{ forwarded: 'for=192.0.2.1, for="[2001:db8:1::5]", for=10.1.2.3' }, '192.0.2.1'],
  'a claim in front of the chain': [{ 'x-forwarded-for': '203.0.113.9, 192.0.2.1, 10.1.2.3' }, '192.0.2.1'],
  'a neighbour of the trusted network': [{ 'x-forwarded-for': '192.0.2.1, 2001:db8:2::5' }, '2001:db8:2::5'],
  'rubbish': [{ 'x-forwarded-for': 'rubbish' }, 'peer'],
  'rubbish in front of a good hop': [{ 'x-forwarded-for': 'rubbish, 192.0.2.1' }, '192.0.2.1'],
  'an obfuscated node': [{ forwarded: 'for=_hidden' }, 'peer'],
  'an open quote': [{ forwarded: 'for="192.0.2.1' }, 'peer'],
};

for (const local of [false, true]) {
  const peer = local ? 'unix' : '127.0.0.1';
  test(`${local ? 'UNIX socket' : 'TCP'}: a trusted proxy`, async (t) => {
    const d = await start({ local, trusted: NETS });
    for (const [name, [headers, want]] of Object.entries(CASES))
      await t.test(name, async () => assert.equal(await seen(d, headers), want === 'peer' ? peer : want));
    await t.test('failures count for the client, whatever it claims to be', async () => {
      const as = (client, n) => bad(d, { 'x-forwarded-for': `198.51.100.${n}, ${client}` });
      for (let i = 0; i < 3; i++) assert.equal((await as('192.0.2.50', i)).status, 401);
      assert.equal((await as('192.0.2.50', 9)).status, 429);
      assert.equal((await as('192.0.2.51', 9)).status, 401, 'another client');
    });
    await t.test('the public origin follows the proxy', async () => {
      assert.equal(await issuer(d, {}), `${d.base}/`);
      assert.equal(await issuer(d, { 'x-forwarded-host': 'id.custom.example', 'x-forwarded-proto': 'https' }), `${DOM}/`);
      assert.equal(await issuer(d, { forwarded: 'for=192.0.2.1;host=id.custom.example;proto=https' }), `${DOM}/`);
      assert.equal(await issuer(d, { 'x-forwarded-host': 'id.custom.example', 'x-forwarded-proto': 'http' }), `${d.base}/`);
      assert.equal(await issuer(d, { 'x-forwarded-host': 'id.custom.example', forwarded: 'host=evil.example' }), `${d.base}/`);
      assert.equal(await issuer(d, { 'x-forwarded-host': 'evil.example' }), `${d.base}/`);
    });
  });

  test(`${local ? 'UNIX socket' : 'TCP'}: nobody is trusted`, async (t) => {
    const d = await start({ local, trusted: local ? [] : ['192.0.2.0/24'] });
    for (const [name, [headers]] of Object.entries(CASES)) await t.test(name, async () => assert.equal(await seen(d, headers), peer));
    await t.test('failures count for the peer', async () => {
      for (let i = 0; i < 3; i++) assert.equal((await bad(d, { 'x-forwarded-for': `192.0.2.${i}`, forwarded: `for=192.0.2.${i}` })).status, 401);
      assert.equal((await bad(d, { 'x-forwarded-for': '192.0.2.77' })).status, 429);
    });
    await t.test('the public origin is not theirs to choose', async () => {
      assert.equal(await issuer(d, { 'x-forwarded-host': 'id.custom.example', 'x-forwarded-proto': 'https' }), `${d.base}/`);
      assert.equal(await issuer(d, { forwarded: 'for=192.0.2.1;host=id.custom.example;proto=https' }), `${d.base}/`);
    });
  });
}

test('trusted_proxies changes at SIGHUP', async () => {
  const d = await start({ local: false, trusted: [] });
  const h = { 'x-forwarded-for': '192.0.2.1' };
  assert.equal(await seen(d, h), '127.0.0.1');
  d.configure({ trusted_proxies: NETS });
  d.process.kill('SIGHUP');
  await eventually(() => d.logLines().some((l) => l.event === 'reloaded'), 'reload');
  assert.equal(await seen(d, h), '192.0.2.1');
});

test('a mapped IPv4 peer on an IPv6 socket is its IPv4 proxy', async (t) => {
  const d = await Daemon.start({ start: false });
  d.configure({ listen: `[::ffff:127.0.0.1]:${d.port}`, trusted_proxies: ['127.0.0.0/8'] });
  try {
    await d.run();
  } catch (e) {
    if (!/address family|cannot assign/i.test(d.logText())) throw e;
    d.expectExit = true;
    await d.stop();
    return t.skip('no IPv6 here');
  }
  running.push(d);
  assert.equal(await seen(d, { 'x-forwarded-for': '192.0.2.1' }), '192.0.2.1');
  assert.equal(await seen(d, {}), '127.0.0.1');
});

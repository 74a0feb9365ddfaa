/* SPDX-License-Identifier: Apache-2.0
 * Push on its way to the devices: FCM, APNs, a gateway, the spool; what they refuse, what they put off, and what
 * happens to everybody else meanwhile. */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { assert, test, BIN, Daemon, eventually, freePort } from './lib/kit.mjs';
import { certificate } from './lib/certs.mjs';
import { Apns, Fcm, apns, gcm, put, signIn, PROJECT, TEAM } from './lib/push.mjs';

const dead = (d) => d.ok('outbox', 'list').split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));
const events = (d, name) => d.logLines().filter((l) => l.event === name);
const MINUTE = 60000;

/* Runs fn(d, fcm, apns) with a daemon that is set up for both services and not running yet. how: fcm, apns (options of
 * the services, or null for none), delivery and network over the rest. */
async function withServices(how, fn) {
  const d = await Daemon.start({ start: false, config: { metrics_listen: `127.0.0.1:${await freePort()}` } });
  const services = [];
  try {
    const make = async (Class, opts) => {
      if (opts === null) return null;
      services.push(await Class.start(d, opts));
      return services.at(-1);
    };
    const f = await make(Fcm, how.fcm);
    const a = await make(Apns, how.apns);
    const ca = path.join(d.dir, 'authorities.pem');
    fs.writeFileSync(ca, how.trust?.(d) ?? services.map((s) => s.cert.pem).join(''));
    const settings = (over = {}) => ({ ...(services.length ? { ca_file: ca } : {}), ...(f ? { fcm_credentials: f.file(), fcm_url: f.url } : {}), ...(a ? a.settings() : {}), ...how.delivery, ...over });
    d.set = (over) => d.configure({ metrics_listen: d.config.metrics_listen, network: { allow_private: true, ...how.network }, delivery: settings(over), ...how.config });
    d.set();
    await fn(d, f, a);
    for (const s of services) assert.deepEqual(s.faults, []);
  } finally {
    await d.stop();
    for (const s of services) await s.stop();
  }
}

const settled = (d, n) => eventually(() => events(d, 'delivery.sent').length >= n, `${n} deliveries`, 60000);

test('a message to each service, as the service and the app want it', () => withServices({}, async (d, f, a) => {
  const [android, iphone] = [gcm(), apns()];
  const data = signIn(d, { bm: '42' });
  const written = d.now();
  put(d, [[`GCM:${android}`, data], [`APNS:${iphone}`, data]]);
  await d.run();
  const toAndroid = await f.call(android);
  assert.deepEqual(toAndroid.message.data, data, 'strings, as they are');
  const ttl = Number(toAndroid.message.android.ttl.slice(0, -1));
  assert.ok(ttl > 60 && ttl <= 300, toAndroid.message.android.ttl);
  assert.equal(f.grants.length, 1);
  assert.ok(f.grants[0].good, JSON.stringify(f.grants[0]));
  assert.equal(f.grants[0].head.typ, 'JWT');
  const toIphone = await a.call(iphone);
  assert.deepEqual(toIphone.payload, {
    aps: { alert: { body: 'Approve or deny a sign-in' }, category: 'com.auth0.notification.authentication', sound: 'default', 'mutable-content': 1 },
    mfa: { ...data, s: JSON.parse(data.s), l: JSON.parse(data.l) },
  });
  const expires = Number(toIphone.headers['apns-expiration']) - Math.floor(written / 1000);
  assert.ok(expires >= 299 && expires <= 301, `${expires}`);
  await settled(d, 2);
  const sent = events(d, 'delivery.sent').map((l) => l.to).sort();
  assert.deepEqual(sent, ['APNS:***', 'GCM:***']);
  assert.equal(toIphone.headers['apns-id'].replaceAll('-', ''), events(d, 'delivery.sent').find((l) => l.to === 'APNS:***').id);
  assert.deepEqual(dead(d), []);
}));

test('tokens and connections are used again, and renewed in time', () => withServices({}, async (d, f, a) => {
  const early = [gcm(), gcm(), gcm()];
  const phones = [apns(), apns(), apns()];
  put(d, [...early.map((t) => [`GCM:${t}`]), ...phones.map((t) => [`APNS:${t}`])]);
  const [mid, midPhone, late, latePhone] = [gcm(), apns(), gcm(), apns()];
  put(d, [[`GCM:${mid}`], [`APNS:${midPhone}`]], { at: 40 * MINUTE });
  put(d, [[`GCM:${late}`], [`APNS:${latePhone}`]], { at: 100 * MINUTE });
  await d.run();
  await settled(d, 6);
  assert.equal(f.grants.length, 1);
  assert.equal(a.jwts.length, 1);
  assert.equal(a.sessions, 1, 'one connection');
  d.advance(41 * MINUTE);
  await f.call(mid);
  await a.call(midPhone);
  assert.equal(f.grants.length, 1, 'good for an hour');
  assert.equal(a.jwts.length, 1, 'Apple wants no new one so soon');
  d.advance(60 * MINUTE);
  await f.call(late);
  await a.call(latePhone);
  assert.equal(f.grants.length, 2);
  assert.equal(a.jwts.length, 2);
  assert.equal(f.unauthenticated, undefined, 'never one that has run out');
  assert.equal(a.unauthenticated, undefined);
  assert.ok(f.grants.every((g) => g.good));
}));

test('a credential that is taken back is renewed once', () => withServices({}, async (d, f, a) => {
  put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
  const [android, iphone] = [gcm(), apns()];
  put(d, [[`GCM:${android}`], [`APNS:${iphone}`]], { at: 2 * MINUTE });
  await d.run();
  await settled(d, 2);
  f.revoke();
  a.expireBefore = Math.floor(d.now() / 1000) + 30;
  d.advance(2 * MINUTE + 1000);
  await f.call(android);
  await a.call(iphone);
  await settled(d, 4);
  assert.deepEqual([f.unauthenticated, f.grants.length, a.unauthenticated, a.jwts.length], [1, 2, 1, 2]);
  assert.deepEqual(events(d, 'delivery.failed'), []);
}));

test('connections that the services have closed meanwhile cost nothing', () => withServices({}, async (d, f, a) => {
  put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
  const [android, iphone] = [gcm(), apns()];
  put(d, [[`GCM:${android}`], [`APNS:${iphone}`]], { at: 2 * MINUTE });
  await d.run();
  await settled(d, 2);
  for (const s of [...f.sockets, ...a.sockets]) s.destroy();
  await eventually(() => f.sockets.size + a.sockets.size === 0, 'closed connections');
  d.advance(2 * MINUTE + 1000);
  await f.call(android);
  await a.call(iphone);
  await settled(d, 4);
  assert.equal(a.sessions, 2);
  assert.deepEqual(events(d, 'delivery.failed'), []);
}));

test('a service that takes no credential is asked once per message', () => withServices({}, async (d, f, a) => {
  a.expireBefore = Math.floor(d.now() / 1000) + 86400;
  f.ttl = -1; /* what it issues has run out already */
  put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
  await d.run();
  await eventually(() => events(d, 'delivery.failed').length >= 2, 'two failures', 60000);
  const reasons = events(d, 'delivery.failed').map((l) => l.reason).slice(0, 2).sort();
  assert.deepEqual(reasons, ['APNs answered 403 ExpiredProviderToken', 'FCM answered 401 UNAUTHENTICATED']);
  assert.deepEqual(dead(d), []);
  f.ttl = 3600;
  a.expireBefore = 0;
  await settled(d, 2);
}));

/* label, answer, and what is remembered of the dead letter */
const FCM_REFUSALS = [
  ['UNREGISTERED', Fcm.error(404, 'NOT_FOUND', 'UNREGISTERED'), 'FCM answered 404 UNREGISTERED'],
  ['NOT_FOUND', Fcm.error(404, 'NOT_FOUND'), 'FCM answered 404 NOT_FOUND'],
  ['INVALID_ARGUMENT', Fcm.error(400, 'INVALID_ARGUMENT', 'INVALID_ARGUMENT'), 'FCM answered 400 INVALID_ARGUMENT'],
  ['SENDER_ID_MISMATCH', Fcm.error(403, 'PERMISSION_DENIED', 'SENDER_ID_MISMATCH'), 'FCM answered 403 SENDER_ID_MISMATCH'],
];
const reason = (status, word, headers) => ({ status, headers, body: { reason: word, timestamp: 1764000000000 } });
const APNS_REFUSALS = [
  ['Unregistered', reason(410, 'Unregistered'), 'APNs answered 410 Unregistered'],
  ['BadDeviceToken', reason(400, 'BadDeviceToken'), 'APNs answered 400 BadDeviceToken'],
  ['DeviceTokenNotForTopic', reason(400, 'DeviceTokenNotForTopic'), 'APNs answered 400 DeviceTokenNotForTopic'],
  ['PayloadTooLarge', reason(413, 'PayloadTooLarge'), 'APNs answered 413 PayloadTooLarge'],
];

test('refused for good: a dead letter each, and the next message goes out', () => withServices({}, async (d, f, a) => {
  const rows = [];
  const want = [];
  for (const [, answer, text] of FCM_REFUSALS) {
    const token = gcm();
    f.answer(token, answer);
    rows.push([`GCM:${token}`]);
    want.push(text);
  }
  for (const [, answer, text] of APNS_REFUSALS) {
    const token = apns();
    a.answer(token, answer);
    rows.push([`APNS:${token}`]);
    want.push(text);
  }
  const [android, iphone] = [gcm(), apns()];
  put(d, [...rows, [`GCM:${android}`], [`APNS:${iphone}`]]);
  await d.run();
  await settled(d, 2);
  await eventually(() => dead(d).length === want.length, 'dead letters', 60000);
  assert.deepEqual(dead(d).map((r) => r.last_error).sort(), want.sort());
  assert.ok(dead(d).every((r) => r.attempts === 1 && r.channel === 'push'));
  assert.equal(f.calls.length + a.calls.length, want.length + 2, 'nobody was asked twice');
  assert.deepEqual(events(d, 'delivery.failed'), []);
}));

test('addresses and payloads that no service would take are not sent at all', () => withServices({}, async (d, f, a) => {
  const long = 'x'.repeat(4200);
  put(d, [['APNS:../../etc/passwd'], ['APNS:'], ['GCM:'], [`APNS:${apns()}`, signIn(d, { c: long })], [`GCM:${gcm()}`, signIn(d, { c: long })]]);
  await d.run();
  await eventually(() => dead(d).length === 5, 'dead letters', 60000);
  assert.deepEqual([f.calls.length, f.grants.length, a.calls.length], [0, 0, 0]);
  assert.deepEqual([...new Set(dead(d).map((r) => r.last_error))].sort(), ['the message has no data, or more than FCM takes', 'the message has no device token',
    'the message has no usable device token', 'the payload is larger than APNs takes']);
}));

/* What passes: the message waits, then it is delivered. */
const PASSING = [
  ['FCM 429', Fcm.error(429, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED'), null, 'FCM answered 429 QUOTA_EXCEEDED'],
  ['FCM 500', Fcm.error(500, 'INTERNAL', 'INTERNAL'), null, 'FCM answered 500 INTERNAL'],
  ['FCM 503', Fcm.error(503, 'UNAVAILABLE', 'UNAVAILABLE'), null, 'FCM answered 503 UNAVAILABLE'],
  ['FCM without the permission', Fcm.error(403, 'PERMISSION_DENIED'), null, 'FCM answered 403 PERMISSION_DENIED'],
  ['FCM behind a wrong address', { status: 404, body: '<html>' }, null, 'FCM answered 404 '],
  ['APNs 429', null, reason(429, 'TooManyRequests'), 'APNs answered 429 TooManyRequests'],
  ['APNs 500', null, reason(500, 'InternalServerError'), 'APNs answered 500 InternalServerError'],
  ['APNs 503', null, reason(503, 'Shutdown'), 'APNs answered 503 Shutdown'],
  ['APNs with a wrong topic', null, reason(400, 'TopicDisallowed'), 'APNs answered 400 TopicDisallowed'],
];
test('what passes is waited for', () => withServices({}, async (d, f, a) => {
  const tokens = PASSING.map(([, forFcm, forApns]) => {
    const token = forFcm ? gcm() : apns();
    (forFcm ? f : a).answer(token, forFcm ?? forApns);
    return token;
  });
  put(d, PASSING.map(([, forFcm], i) => [`${forFcm ? 'GCM' : 'APNS'}:${tokens[i]}`]));
  await d.run();
  let done = 0;
  await eventually(() => {
    if (events(d, 'delivery.sent').length === PASSING.length) return true;
    const failed = events(d, 'delivery.failed').length;
    if (failed > done && d.offset < 4 * MINUTE) d.advance(2000); /* instead of waiting for the growing intervals */
    done = failed;
    return false;
  }, 'all deliveries', 90000);
  const reasons = new Set(events(d, 'delivery.failed').map((l) => l.reason));
  for (const [label, , , text] of PASSING) assert.ok(reasons.has(text), `${label}: ${[...reasons].join(', ')}`);
  assert.deepEqual(dead(d), []);
}));

test('Retry-After holds the service that said it, and no other', () => withServices({}, async (d, f, a) => {
  const [first, second] = [gcm(), gcm()];
  f.answer(first, Fcm.error(503, 'UNAVAILABLE', 'UNAVAILABLE', { 'retry-after': '120' }));
  put(d, [[`GCM:${first}`]]);
  put(d, [[`GCM:${second}`]], { at: 60 * 1000 });
  const iphone = apns();
  put(d, [[`APNS:${iphone}`]], { at: 90 * 1000 });
  await d.run();
  await eventually(() => events(d, 'delivery.failed').length === 1, 'the failure', 60000);
  d.advance(100 * 1000);
  await a.call(iphone); /* due after the second one, so that one was looked at */
  assert.equal(f.calls.length, 1);
  d.advance(60 * 1000);
  await f.call(second);
  await f.call(first, 2);
  assert.deepEqual(dead(d), []);
}));

test('the token endpoint says no', () => withServices({ apns: null }, async (d, f) => {
  const token = gcm();
  f.refuse = () => ({ status: 400, body: { error: 'invalid_grant', error_description: `Invalid grant: account ${f.email} not found` } });
  put(d, [[`GCM:${token}`]]);
  await d.run();
  await eventually(() => events(d, 'delivery.failed').length > 0, 'a failure', 60000);
  assert.equal(events(d, 'delivery.failed')[0].reason, 'the token endpoint answered 400 invalid_grant');
  assert.equal(f.calls.length, 0);
  f.refuse = null;
  await f.call(token);
}));

test('a server with a certificate that nobody vouches for gets nothing', async (t) => {
  const strangers = (d) => certificate(d.dir, 'other').pem;
  await t.test('signed by an unknown authority', () => withServices({ trust: strangers }, async (d, f, a) => {
    put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
    await d.run();
    await eventually(() => events(d, 'delivery.failed').length >= 2, 'two failures', 60000);
    assert.deepEqual([f.calls.length, f.grants.length, a.calls.length, a.jwts.length], [0, 0, 0, 0]);
    assert.ok(events(d, 'delivery.failed').every((l) => /certificate/i.test(l.reason)), JSON.stringify(events(d, 'delivery.failed')));
  }));
  await t.test('for another name', async () => {
    const d0 = await Daemon.start({ start: false });
    const cert = certificate(d0.dir, 'elsewhere', { names: 'DNS:push.example' });
    await withServices({ fcm: { cert }, apns: { cert } }, async (d, f, a) => {
      put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
      await d.run();
      await eventually(() => events(d, 'delivery.failed').length >= 2, 'two failures', 60000);
      assert.deepEqual([f.calls.length, f.grants.length, a.calls.length, a.jwts.length], [0, 0, 0, 0]);
    });
    await d0.stop();
  });
});

test('addresses inside are closed unless the configuration opens them', () => withServices({ network: { allow_private: false } }, async (d, f, a) => {
  put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]]);
  await d.run();
  await eventually(() => events(d, 'delivery.failed').length >= 2, 'two failures', 60000);
  assert.ok(events(d, 'delivery.failed').every((l) => /^address .* is not allowed$/.test(l.reason)), JSON.stringify(events(d, 'delivery.failed')));
  assert.equal(f.sockets.size + a.sockets.size, 0);
}));

test('APNs without HTTP/2 is no APNs', () => withServices({ fcm: null, apns: { http1: true } }, async (d, f, a) => {
  put(d, [[`APNS:${apns()}`]]);
  await d.run();
  await eventually(() => events(d, 'delivery.failed').length > 0, 'a failure', 60000);
  assert.equal(events(d, 'delivery.failed')[0].reason, 'the server does not speak HTTP/2');
  assert.deepEqual(events(d, 'delivery.sent'), []);
  assert.ok(a.faults.every((x) => x === 'HTTP/1.1'));
  a.faults = [];
}));

test('a sign-in that has lapsed is not pushed any more', () => withServices({}, async (d, f, a) => {
  put(d, [[`GCM:${gcm()}`], [`APNS:${apns()}`]], { at: -6 * MINUTE });
  await d.run();
  await eventually(() => dead(d).length === 2, 'dead letters', 60000);
  assert.ok(dead(d).every((r) => r.last_error === 'the sign-in lapsed before its push could be delivered'));
  assert.equal(f.calls.length + a.calls.length, 0);
}));

test('a service that hangs holds up neither the other one, nor mail, nor the end', () => withServices({}, async (d, f, a) => {
  const stuck = Array.from({ length: 40 }, () => gcm());
  const phones = Array.from({ length: 12 }, apns);
  for (const t of stuck) f.answer(t, ...Array.from({ length: 20 }, () => 'never'));
  put(d, stuck.map((t) => [`GCM:${t}`]), { at: -1000 });
  put(d, phones.map((t) => [`APNS:${t}`]));
  await d.run();
  await eventually(() => f.calls.length > 0, 'a message that hangs', 60000);
  const s = d.session();
  await s.startEmail('inbox@mail.example'); /* waits for the mail in the spool */
  for (const t of phones) await a.call(t);
  assert.ok(events(d, 'delivery.sent').every((l) => l.to !== 'GCM:***'));
  assert.deepEqual(await d.end(), { code: 0, signal: null });
  d.expectExit = true;
}));

/* A push gateway on 127.0.0.1. */
async function gateway(answer) {
  const g = { calls: [] };
  g.server = http.createServer((req, res) => {
    let body = '';
    req.on('data', (c) => { body += c; });
    req.on('end', () => {
      g.calls.push({ method: req.method, path: req.url, headers: req.headers, body: JSON.parse(body) });
      answer(res, g.calls.length);
    });
  });
  await new Promise((resolve) => g.server.listen(0, '127.0.0.1', resolve));
  g.url = `http://127.0.0.1:${g.server.address().port}/push`;
  g.stop = () => new Promise((resolve) => { g.server.closeAllConnections(); g.server.close(resolve); });
  return g;
}

test('a gateway for devices that no service is set up for', async () => {
  const g = await gateway((res, n) => res.writeHead(n === 1 ? 503 : 202, n === 1 ? { 'retry-after': '1' } : {}).end());
  await withServices({ apns: null, network: { allow_http_loopback: true } }, async (d, f) => {
    const file = path.join(d.dir, 'gateway-token');
    fs.writeFileSync(file, 'gateway-t0ken-71\n', { mode: 0o600 });
    d.secrets.add('gateway token', 'gateway-t0ken-71');
    d.set({ push: g.url, push_token: `file:${file}` });
    const [android, iphone] = [gcm(), apns()];
    const data = signIn(d);
    put(d, [[`APNS:${iphone}`, data], [`GCM:${android}`, data]]);
    await d.run();
    await f.call(android);
    await settled(d, 2);
    assert.equal(g.calls.length, 2);
    const [once, again] = g.calls;
    assert.deepEqual([again.method, again.path, again.headers.authorization, again.headers['content-type']], ['POST', '/push', 'Bearer gateway-t0ken-71', 'application/json']);
    assert.match(again.headers['idempotency-key'], /^[0-9a-f]{32}$/);
    assert.equal(once.headers['idempotency-key'], again.headers['idempotency-key']);
    const { created_at, ...rest } = again.body;
    assert.deepEqual(rest, { channel: 'push', to: `APNS:${iphone}`, data, user_id: d.pushUser });
    assert.ok(Math.abs(Date.parse(created_at) - d.now()) < 120000);
  });
  await g.stop();
});

test('the spool for devices that no service is set up for', () => withServices({ fcm: null, apns: null }, async (d) => {
  const data = signIn(d);
  put(d, [['GCM:abc', data], ['device-1', data]]);
  await d.run();
  await settled(d, 2);
  const all = d.spool.all().sort((x, y) => x.to < y.to ? -1 : 1);
  assert.deepEqual(all.map((m) => [m.channel, m.to]), [['push', 'GCM:abc'], ['push', 'device-1']]);
  assert.deepEqual(all[0].data, data);
}));

test('no transport at all: dead, and said aloud', () => withServices({ apns: null, delivery: { push: '' } }, async (d) => {
  put(d, [[`APNS:${apns()}`]]);
  await d.run();
  const [line] = await eventually(() => events(d, 'delivery.dead').length > 0 && events(d, 'delivery.dead'), 'the log line', 60000);
  assert.equal(line.reason, 'no transport is configured for the service of this device: set delivery.apns_key or delivery.push');
  assert.equal(line.level ?? 'error', 'error');
  assert.equal(dead(d).length, 1);
  const metrics = await (await fetch(`http://${d.config.metrics_listen}/metrics`)).text();
  assert.match(metrics, /myaccountd_deliveries_total\{channel="push",outcome="dead"\} 1\n/);
}));

test('SIGHUP takes rotated keys, and keeps the old ones where the new are not good', () => withServices({}, async (d, f, a) => {
  const round = (n) => ({ android: gcm(), iphone: apns(), at: n * 10 * MINUTE });
  const rounds = [0, 1, 2].map(round);
  for (const r of rounds) put(d, [[`GCM:${r.android}`], [`APNS:${r.iphone}`]], { at: r.at });
  const arrive = async (r) => {
    await f.call(r.android);
    await a.call(r.iphone);
  };
  await d.run();
  await arrive(rounds[0]);
  const before = { jwt: a.jwts.at(-1), key: { publicKey: f.publicKey, pem: f.pem, kid: f.kid } };
  fs.writeFileSync(path.join(d.dir, 'apns.p8'), 'not a key', { mode: 0o600 });
  d.process.kill('SIGHUP');
  await eventually(() => events(d, 'delivery.reload_failed').length === 1, 'the refusal', 30000);
  assert.equal(events(d, 'delivery.reload_failed')[0].reason, 'delivery.apns_key: holds no private key in PEM that signs ES256');
  d.advance(11 * MINUTE);
  await arrive(rounds[1]);
  assert.equal(a.jwts.at(-1), before.jwt);
  f.rotate();
  a.rotate();
  d.set();
  d.process.kill('SIGHUP');
  await eventually(() => events(d, 'reloaded').length === 2, 'the reload', 30000);
  d.advance(10 * MINUTE);
  await arrive(rounds[2]);
  assert.equal(f.grants.at(-1).head.kid, f.kid);
  assert.notEqual(f.kid, before.key.kid);
  assert.ok(f.grants.at(-1).good);
  assert.equal(f.unauthenticated ?? 0, 0);
  assert.equal(a.unauthenticated ?? 0, 0);
}));

test('what --check says', () => withServices({}, async (d, f) => {
  const { spawnSync } = await import('node:child_process');
  const check = () => {
    const r = spawnSync(path.join(BIN, 'myaccountd'), ['--config', d.files.conf, '--check'], { ...d.spawnOptions(), encoding: 'utf8' });
    return `${r.status} ${r.stderr.replaceAll(d.dir, 'DIR').trim()}`;
  };
  assert.equal(check(), '0 ');
  const file = path.join(d.dir, 'fcm.json');
  const conf = 'DIR/myaccountd.conf';
  const bad = (text) => {
    f.file();
    if (typeof text === 'string') fs.writeFileSync(file, text);
    else if (typeof text === 'number') fs.chmodSync(file, text);
    else fs.writeFileSync(file, JSON.stringify(f.account(text)));
    const said = check();
    fs.chmodSync(file, 0o600);
    f.file();
    return said;
  };
  assert.match(bad(0o644), /^78 DIR\/myaccountd\.conf: delivery\.fcm_credentials: DIR\/fcm\.json: .*mode/);
  assert.equal(bad('{'), `78 ${conf}: delivery.fcm_credentials: is not JSON`);
  assert.match(bad('{}'), /^78 DIR\/myaccountd\.conf: delivery\.fcm_credentials: .*type/);
  assert.equal(bad({ type: 'authorized_user' }), `78 ${conf}: delivery.fcm_credentials: is not the key file of a service account`);
  assert.equal(bad({ project_id: '../x' }), `78 ${conf}: delivery.fcm_credentials: has an unusable project_id`);
  assert.equal(bad({ token_uri: 'file:///etc/passwd' }), `78 ${conf}: delivery.fcm_credentials: has an unusable token_uri`);
  assert.equal(bad({ private_key: 'MII' }), `78 ${conf}: delivery.fcm_credentials: holds no private key in PEM that signs RS256`);
  const p8 = path.join(d.dir, 'apns.p8');
  const good = fs.readFileSync(p8);
  fs.writeFileSync(p8, f.pem);
  assert.equal(check(), `78 ${conf}: delivery.apns_key: holds no private key in PEM that signs ES256`);
  fs.rmSync(p8);
  assert.match(check(), /^78 DIR\/myaccountd\.conf: delivery\.apns_key: DIR\/apns\.p8: No such file/);
  fs.writeFileSync(p8, good, { mode: 0o600 });
  const ca = d.config.delivery.ca_file;
  const pem = fs.readFileSync(ca);
  fs.writeFileSync(ca, 'hello');
  assert.equal(check(), `78 ${conf}: delivery.ca_file: holds no certificate in PEM`);
  fs.writeFileSync(ca, pem);
  assert.equal(check(), '0 ');
}));

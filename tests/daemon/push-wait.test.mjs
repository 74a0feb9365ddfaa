/* SPDX-License-Identifier: Apache-2.0
 * Confirmations that wait for a device: they hold no thread, end when it comes, when their time is up and when the daemon
 * stops, and are bounded. */
import { assert, test, before, after, Daemon, eventually, isProblem, methodPath, request } from './lib/kit.mjs';
import { Device, isDeviceError } from './lib/device.mjs';

const LONG = 50;
const config = { enrollment: { push_wait: LONG }, http_threads: 2, notifications: { changes_per_hour: 0 } };
const state = { factors: { 'push-notification': true } };

let d;
before(async () => { d = await Daemon.start({ config: { ...config, metrics_listen: '127.0.0.1:0' }, state }); });
after(() => d.stop());

async function begun(daemon = d, s = daemon.session()) {
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(daemon);
  device.scan(e.barcode_uri);
  return { s, e, device, verify: () => s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session }) };
}
/* How many wait: the log says nothing of a request before it is answered. */
const others = new Map();
function served(daemon = d) {
  if (!others.has(daemon)) others.set(daemon, daemon.session());
  return others.get(daemon).factors();
}
async function settled(promises) {
  let n = 0;
  for (const p of promises) p.then(() => { n++; }, () => { n++; });
  for (let i = 0; i < 20; i++) await served();
  return n;
}

test('it ends when the device comes', async () => {
  const b = await begun();
  const waiting = b.verify();
  assert.equal(await settled([waiting]), 0, 'it waits');
  assert.equal((await b.device.tryEnrol()).status, 200);
  const res = await waiting;
  assert.equal(res.status, 201, res.text);
  assert.deepEqual([res.json.id, res.json.confirmed], [b.e.id, true]);
});

test('two that wait for one device: one is told, the other that the session is over', async () => {
  const b = await begun();
  const waiting = [b.verify(), b.verify()];
  assert.equal(await settled(waiting), 0);
  await b.device.tryEnrol();
  assert.deepEqual((await Promise.all(waiting)).map((r) => r.status).sort(), [201, 400]);
});

test('many that wait hold no thread', async () => {
  const many = await Promise.all(Array.from({ length: 40 }, () => begun()));
  const waiting = many.map((b) => b.verify());
  assert.equal(await settled(waiting), 0);
  await Promise.all(many.map((b) => b.device.tryEnrol()));
  assert.deepEqual((await Promise.all(waiting)).map((r) => r.status), many.map(() => 201));
});

test('one user has three at most: more hear it at once', async () => {
  const s = d.session();
  const b = await begun(d, s);
  const three = Array.from({ length: 3 }, () => b.verify());
  assert.equal(await settled(three), 0);
  isProblem(await b.verify(), 400, 'A0E-400-0001', 'authorization_pending');
  const other = await begun();
  const theirs = other.verify();
  assert.equal(await settled([theirs]), 0, 'others are not held up');
  await other.device.tryEnrol();
  assert.equal((await theirs).status, 201);
  await b.device.tryEnrol();
  assert.equal((await Promise.all(three)).filter((r) => r.status === 201).length, 1);
});

test('the enrolment is given up while it is waited for', async () => {
  const b = await begun();
  const waiting = b.verify();
  assert.equal(await settled([waiting]), 0);
  await b.s.want(204, 'DELETE', methodPath(b.e.id));
  isProblem(await waiting, 404, 'A0E-404-0002');
  isDeviceError(await b.device.tryEnrol(), 404, 'enrollment_transaction_not_found');
});

test('its time is up, and the enrolment goes on', async (t) => {
  const short = await Daemon.start({ config: { ...config, enrollment: { push_wait: 1 } }, state });
  t.after(() => short.stop());
  const b = await begun(short);
  isProblem(await b.verify(), 400, 'A0E-400-0001', 'authorization_pending');
  await b.device.tryEnrol();
  assert.equal((await b.verify()).status, 201);
});

test('a reload changes nothing for those who wait', async () => {
  const b = await begun();
  const waiting = b.verify();
  assert.equal(await settled([waiting]), 0);
  d.process.kill('SIGHUP');
  await eventually(() => d.logLines().some((l) => /reload/.test(l.event ?? '')), 'the reload');
  assert.equal(await settled([waiting]), 0);
  await b.device.tryEnrol();
  assert.equal((await waiting).status, 201);
});

test('the daemon stops: all are answered', async () => {
  const going = await Daemon.start({ config, state });
  const many = await Promise.all(Array.from({ length: 10 }, () => begun(going)));
  const waiting = many.map((b) => b.verify());
  let n = 0;
  for (const p of waiting) p.then(() => { n++; });
  for (let i = 0; i < 20; i++) await served(going);
  assert.equal(n, 0);
  const end = going.end();
  for (const res of await Promise.all(waiting)) isProblem(res, 400, 'A0E-400-0001', 'authorization_pending');
  assert.deepEqual(await end, { code: 0, signal: null });
  await going.stop();
});

test('a client that goes away while it waits', async () => {
  const b = await begun();
  await assert.rejects(request({ port: d.port, host: d.host, ca: d.cert?.ca, method: 'POST', path: `${methodPath(b.e.id)}/verify`, timeout: 300,
    headers: { authorization: `Bearer ${b.s.token}`, 'content-type': 'application/json' }, body: JSON.stringify({ auth_session: b.e.auth_session }) }), /no answer/);
  await b.device.tryEnrol();
  await eventually(async () => (await b.s.list('push-notification'))[0]?.confirmed, 'the device');
  await served();
});

/* SPDX-License-Identifier: Apache-2.0
 * Rate limits: headers, 429, separate buckets, failures, messages. */
import { assert, test, after, Daemon, METHODS, FACTORS, methodPath, isProblem, wrongCode, totp, request, freePort } from './lib/kit.mjs';

const all = [];
after(async () => { for (const d of all) await d.stop(); });
async function start(config) {
  const d = await Daemon.start({ config: { rate_limit: { enabled: true, ...config } } });
  all.push(d);
  return d;
}
const rate = (r) => ['limit', 'remaining', 'reset'].map((k) => Number(r.headers[`x-ratelimit-${k}`]));

test('headers count down', async () => {
  const d = await start({ user_reads: 10, user_writes: 5 });
  const s = d.session();
  const a = rate(await s.want(200, 'GET', FACTORS));
  const b = rate(await s.want(200, 'GET', METHODS));
  assert.deepEqual([a[0], a[1], b[0], b[1]], [10, 9, 10, 8]);
  assert.ok(Math.abs(a[2] - d.now() / 1000) < 62, `reset ${a[2]}`);
  const w = rate(await s.post(METHODS, { type: 'totp' }));
  assert.deepEqual([w[0], w[1]], [5, 4]);
});

test('an empty bucket is 429, and fills again', async (t) => {
  const d = await start({ user_reads: 3, user_writes: 2 });
  const s = d.session();
  for (let i = 0; i < 3; i++) await s.want(200, 'GET', FACTORS);
  const r = await s.get(FACTORS);
  await t.test('the answer', () => {
    isProblem(r, 429, 'A0E-429-0003', 'The endpoint request limit has been exceeded.');
    assert.equal(r.json.title, 'Endpoint Rate Limit Exceeded');
    assert.deepEqual(rate(r).slice(0, 2), [3, 0]);
    assert.ok(Number(r.headers['retry-after']) >= 1 && Number(r.headers['retry-after']) <= 20, r.headers['retry-after']);
    assert.equal(r.headers['x-auth0-error-kind'], undefined);
  });
  await t.test('writes have their own', async () => {
    await s.want(202, 'POST', METHODS, { type: 'totp' });
    await s.want(202, 'POST', METHODS, { type: 'totp' });
    assert.equal((await s.post(METHODS, { type: 'totp' })).status, 429);
    assert.equal((await s.patch(methodPath('totp|dev_aaaaaaaaaaaaaaaa'), {})).status, 429);
    assert.equal((await s.del(methodPath('totp|dev_aaaaaaaaaaaaaaaa'))).status, 429);
  });
  await t.test('another client of the user shares it', async () => assert.equal((await d.as(s.user, { azp: 'native' }).get(FACTORS)).status, 429));
  await t.test('another user does not', async () => assert.equal((await d.session().get(FACTORS)).status, 200));
});

test('0 switches a bucket off', async () => {
  const d = await start({ user_reads: 0, user_writes: 0 });
  const s = d.session();
  for (let i = 0; i < 200; i++) await s.want(200, 'GET', FACTORS);
});

test('the whole tenant', async () => {
  const d = await start({ user_reads: 0, tenant_reads_per_second: 5 });
  const rs = await Promise.all(Array.from({ length: 30 }, () => d.session().get(FACTORS)));
  const over = rs.filter((r) => r.status === 429);
  assert.ok(over.length > 0, 'none of 30 at once was over 5 a second');
  for (const r of over) assert.equal(r.headers['x-auth0-error-kind'], 'global-rate-limit');
});

test('requests that fail authentication spend nobody\'s bucket, but the address\'s', async () => {
  const d = await start({ user_reads: 3, address_failures: 10 });
  const s = d.session();
  const forged = d.bearer(`${s.token.slice(0, -8)}AAAAAAAA`);
  for (let i = 0; i < 5; i++) assert.equal((await forged.get(FACTORS)).status, 401);
  await s.want(200, 'GET', FACTORS);
  let status;
  for (let i = 0; i < 10; i++) status = (await forged.get(FACTORS)).status;
  assert.equal(status, 429);
});

test('wrong codes: ten an hour for one user', async () => {
  const d = await start({ user_writes: 0, otp_failures_per_hour: 10 });
  const s = d.session();
  let last;
  let e;
  for (let i = 0; i < 10; i++) {
    if (i % 4 === 0) e = await s.enrol({ type: 'totp' });
    const w = wrongCode(...[-2, -1, 0, 1, 2].map((n) => totp(e.manual_input_code, d.now(), n)));
    last = await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: w });
    isProblem(last, 400, 'A0E-400-0001', 'invalid_code');
  }
  e = await s.enrol({ type: 'totp' });
  const r = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
  isProblem(r, 429, 'A0E-429-0001');
  assert.ok(Number(r.headers['retry-after']) <= 360, r.headers['retry-after']);
  d.advance(361000);
  const f = await s.enrol({ type: 'totp' });
  await s.verify(f.id, { auth_session: f.auth_session, otp_code: s.code(f.manual_input_code) });
});

test('the bucket of failures outlives a restart and rate_limit.enabled', async () => {
  const d = await start({ enabled: false, otp_failures_per_hour: 2 });
  const s = d.session();
  const e = await s.enrol({ type: 'totp' });
  const w = wrongCode(...[-2, -1, 0, 1, 2].map((n) => totp(e.manual_input_code, d.now(), n)));
  for (let i = 0; i < 2; i++) await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: w });
  await d.end('SIGTERM');
  await d.run();
  const f = await s.enrol({ type: 'totp' });
  assert.equal((await s.verifyAny(f.id, { auth_session: f.auth_session, otp_code: s.code(f.manual_input_code) })).status, 429);
});

test('messages to one user', async (t) => {
  const d = await start({ user_writes: 0, sms_per_hour: 3, email_per_hour: 2 });
  const s = d.session();
  for (let i = 0; i < 3; i++) await s.startPhone(`+1555600000${i}`, i === 2 ? 'voice' : 'sms');
  const r = await s.post(METHODS, { type: 'phone', phone_number: '+15556000009' });
  await t.test('SMS and calls share one', () => {
    assert.equal(r.status, 429, r.text);
    assert.ok(Number(r.headers['retry-after']) <= 1200, r.headers['retry-after']);
  });
  await t.test('nothing was left behind', async () => {
    assert.equal((await s.list('phone')).length, 3);
    assert.equal(d.spool.names().length, 3);
  });
  await t.test('e-mail has its own', async () => {
    for (let i = 0; i < 2; i++) await s.startEmail(`l${i}@mail.example`);
    assert.equal((await s.post(METHODS, { type: 'email', email: 'l9@mail.example' })).status, 429);
  });
  await t.test('another user has all of his', async () => d.session().startPhone('+15556000010'));
  await t.test('they come back', async () => {
    d.advance(1201000);
    await s.startPhone('+15556000011');
  });
});

test('health and published keys are not limited', async () => {
  const port = await freePort();
  const d = await Daemon.start({ config: { metrics_listen: `127.0.0.1:${port}`, rate_limit: { enabled: true, user_reads: 1, address_failures: 1 } } });
  all.push(d);
  for (let i = 0; i < 20; i++) {
    assert.equal((await request({ port, path: '/health/live' })).status, 200);
    assert.equal((await request({ port: d.port, path: '/.well-known/jwks.json' })).status, 200);
  }
});

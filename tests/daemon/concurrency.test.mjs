/* SPDX-License-Identifier: Apache-2.0
 * Many at once: exactly one wins, nothing is lost, nothing is doubled. */
import { assert, test, before, after, Daemon, METHODS, methodPath, totp, wrongCode } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 0, sms_per_hour: 0, email_per_hour: 0 } } }); });
after(() => d.stop());

const times = (n, fn) => Promise.all(Array.from({ length: n }, (_, i) => fn(i)));
const count = (rs, status) => rs.filter((r) => r.status === status).length;

test('twenty parallel verifies of a TOTP: exactly one 201', async () => {
  for (let round = 0; round < 3; round++) {
    const s = d.session();
    const e = await s.enrol({ type: 'totp' });
    const body = { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) };
    const rs = await times(20, () => s.verifyAny(e.id, body));
    /* A repeat with the same session right after success may be answered 201 again, with the same object. */
    const won = rs.filter((r) => r.status === 201);
    assert.ok(won.length >= 1, rs.map((r) => r.status).join(' '));
    assert.equal(new Set(won.map((r) => r.text)).size, 1);
    assert.equal(won.length, 1, `${won.length} answers of 201`);
    assert.equal((await s.list()).filter((m) => m.confirmed).length, 1);
    assert.equal(d.audit(s.user).filter((l) => l.includes('verify') && l.includes('succeeded')).length, 1);
  }
});

test('twenty parallel verifies of a code: exactly one 201', async () => {
  const s = d.session();
  const e = await s.startEmail('race@mail.example');
  const rs = await times(20, () => s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: e.code }));
  assert.equal(count(rs, 201), 1, rs.map((r) => r.status).join(' '));
});

test('wrong tries in parallel are all counted', async () => {
  const s = d.session();
  const e = await s.enrol({ type: 'totp' });
  const near = [-2, -1, 0, 1, 2].map((n) => totp(e.manual_input_code, d.now(), n));
  const rs = await times(20, (i) => s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: wrongCode(...near, ...Array.from({ length: i }, (_, k) => String(k * 7919).padStart(6, '0'))) }));
  assert.equal(count(rs, 201), 0);
  assert.ok(rs.filter((r) => r.json.detail === 'invalid_code').length <= 5, 'more than five tries were taken');
  const r = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
  assert.ok([400, 404].includes(r.status));
});

test('parallel enrolments never pass the limit of five', async () => {
  const s = d.session();
  const started = (await times(8, () => s.post(METHODS, { type: 'totp' }))).filter((r) => r.status === 202).map((r) => r.json);
  await Promise.all(started.map((e) => s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) })));
  const confirmed = (await s.list('totp')).filter((m) => m.confirmed).length;
  assert.ok(confirmed >= 1 && confirmed <= 5, `${confirmed} confirmed`);
});

test('parallel enrolments of one address end in one method', async () => {
  const s = d.session();
  const rs = await times(8, () => s.post(METHODS, { type: 'phone', phone_number: '+15557000001' }));
  for (const r of rs) assert.equal(r.status, 202, r.text);
  assert.equal((await s.list('phone')).length, 1);
});

test('parallel recovery codes end in one', async () => {
  const s = d.session();
  const es = (await times(6, () => s.enrol({ type: 'recovery-code' })));
  await Promise.all(es.map((e) => s.verifyAny(e.id, { auth_session: e.auth_session })));
  assert.equal((await s.list('recovery-code')).filter((m) => m.confirmed).length, 1);
});

test('parallel deletes: one 204', async () => {
  const s = d.session();
  const m = await s.addTotp();
  const rs = await times(10, () => s.del(methodPath(m.id)));
  assert.equal(count(rs, 204), 1);
  assert.equal(count(rs, 404), 9);
});

test('parallel renames all answer, the last one stays', async () => {
  const s = d.session();
  const m = await s.addTotp();
  const rs = await times(10, (i) => s.patch(methodPath(m.id), { name: `name ${i}` }));
  assert.equal(count(rs, 200), 10);
  assert.match((await s.list())[0].name, /^name \d$/);
});

test('thirty users at once, each sees only what is his', async () => {
  const all = await times(30, async (i) => {
    const s = d.session();
    const m = await s.addTotp();
    await s.want(200, 'PATCH', methodPath(m.id), { name: `of ${i}` });
    const list = await s.list();
    assert.deepEqual(list.map((x) => [x.id, x.name]), [[m.id, `of ${i}`]]);
    return m.id;
  });
  assert.equal(new Set(all).size, 30);
});

test('a full queue answers 503 with Retry-After and loses nothing', async () => {
  const c = await Daemon.start({ config: { limits: { queue: 2, write_batch: 1 }, rate_limit: { otp_failures_per_hour: 0 } } });
  const s = c.session();
  const rs = await times(64, () => s.post(METHODS, { type: 'recovery-code' }));
  for (const r of rs) assert.ok([202, 503].includes(r.status), r.text);
  assert.ok(count(rs, 202) >= 1);
  await s.want(202, 'POST', METHODS, { type: 'totp' });
  await c.stop();
});

/* SPDX-License-Identifier: Apache-2.0
 * Recovery codes: shown once, replaced atomically. */
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

test('enrolment shows the code once', async (t) => {
  const s = d.session();
  const e = await s.enrol({ type: 'recovery-code' });
  await t.test('the answer', () => {
    assert.deepEqual(Object.keys(e).sort(), ['auth_session', 'id', 'recovery_code']);
    assert.match(e.recovery_code, /^[A-Z0-9]{24}$/);
  });
  await t.test('confirmed without a code', async () => {
    const m = await s.verify(e.id, { auth_session: e.auth_session });
    assert.deepEqual(Object.keys(m).sort(), ['confirmed', 'created_at', 'id', 'type', 'usage']);
  });
  await t.test('never again', async () => {
    for (const r of [await s.get(METHODS), await s.get(methodPath(e.id))]) assert.ok(!r.text.includes(e.recovery_code));
  });
  await t.test('verify takes no other member', async () => {
    const f = await s.enrol({ type: 'recovery-code' });
    isProblem(await s.post(`${methodPath(f.id)}/verify`, { auth_session: f.auth_session, otp_code: '123456' }), 400, 'A0E-400-0003');
  });
});

test('a new code replaces the old one when it is confirmed', async () => {
  const s = d.session();
  const a = await s.addRecovery();
  const b = await s.enrol({ type: 'recovery-code' });
  assert.ok((await s.list()).some((m) => m.id === a.id && m.confirmed), 'the old one holds until then');
  await s.verify(b.id, { auth_session: b.auth_session });
  assert.deepEqual((await s.list('recovery-code')).map((m) => [m.id, m.confirmed]), [[b.id, true]]);
  assert.equal((await s.get(methodPath(a.id))).status, 404);
});

test('two pending ones: the later replaces the earlier, and one stays', async () => {
  const s = d.session();
  const a = await s.enrol({ type: 'recovery-code' });
  const b = await s.enrol({ type: 'recovery-code' });
  const [ra, rb] = await Promise.all([s.verifyAny(a.id, { auth_session: a.auth_session }), s.verifyAny(b.id, { auth_session: b.auth_session })]);
  assert.ok([ra.status, rb.status].includes(201), `${ra.text} ${rb.text}`);
  assert.equal((await s.list('recovery-code')).filter((m) => m.confirmed).length, 1);
});

test('codes differ', async () => {
  const s = d.session();
  const seen = new Set();
  for (let i = 0; i < 10; i++) seen.add((await s.enrol({ type: 'recovery-code' })).recovery_code);
  assert.equal(seen.size, 10);
});

test('recovery_requires_factor', async () => {
  const c = await Daemon.start({ config: { enrollment: { recovery_requires_factor: true } } });
  const s = c.session();
  assert.equal((await s.post(METHODS, { type: 'recovery-code' })).status, 400);
  await s.addTotp();
  await s.addRecovery();
  await c.stop();
});

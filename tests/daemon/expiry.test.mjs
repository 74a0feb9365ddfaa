/* SPDX-License-Identifier: Apache-2.0
 * Pending enrolments lapse, with the test clock. */
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

const gone = (r) => {
  assert.ok([400, 404].includes(r.status), r.text);
  if (r.status === 400) isProblem(r, 400, 'A0E-400-0001', 'Invalid or expired session');
};
/* Sessions made anew after each jump: tokens of the test live for an hour. */
const TYPES = {
  totp: { start: (s) => s.enrol({ type: 'totp' }), body: (s, e) => ({ auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) }), ttl: 300 },
  email: { start: (s) => s.startEmail('expiry@mail.example'), body: (s, e) => ({ auth_session: e.auth_session, otp_code: e.code }), ttl: 300 },
  phone: { start: (s) => s.startPhone('+15558000001'), body: (s, e) => ({ auth_session: e.auth_session, otp_code: e.code }), ttl: 300 },
  'recovery-code': { start: (s) => s.enrol({ type: 'recovery-code' }), body: (s, e) => ({ auth_session: e.auth_session }), ttl: 300 },
  password: { start: (s) => s.enrol({ type: 'password' }), body: (s, e) => ({ auth_session: e.auth_session, new_password: 'Zq7-expiry-kW' }), ttl: 600 },
};

for (const [type, { start, body, ttl }] of Object.entries(TYPES)) {
  test(`${type}: ${ttl - 20} seconds are in time`, async () => {
    const s = d.session();
    const e = await start(s);
    d.advance((ttl - 20) * 1000);
    const r = await s.verifyAny(e.id, body(s, e));
    assert.equal(r.status, 201, r.text);
  });
  test(`${type}: ${ttl + 1} seconds are too late`, async () => {
    const s = d.session();
    const e = await start(s);
    d.advance((ttl + 1) * 1000);
    assert.deepEqual(await s.list(), [], 'a lapsed enrolment is not listed');
    if (type !== 'password') assert.equal((await s.get(methodPath(e.id))).status, 404);
    gone(await s.verifyAny(e.id, body(s, e)));
    assert.deepEqual(await s.list(), []);
  });
}

test('lapsed enrolments do not count against the limit', async () => {
  const user = d.fresh();
  let s = d.as(user);
  for (let i = 0; i < 6; i++) await s.post(METHODS, { type: 'totp' });
  d.advance(301000);
  s = d.as(user);
  for (let i = 0; i < 5; i++) {
    await s.addTotp();
    d.advance(30000);
  }
  assert.equal((await s.list()).length, 5);
});

test('lifetimes can be configured', async () => {
  const c = await Daemon.start({ config: { enrollment: { totp_ttl: 10 } } });
  const s = c.session();
  const e = await s.enrol({ type: 'totp' });
  c.advance(11000);
  gone(await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) }));
  await c.stop();
});

test('one TOTP step is accepted once, also for a second enrolment with the same session', async () => {
  const s = d.session();
  const m = await s.addTotp();
  d.advance(30000);
  const again = await s.verifyAny(m.id, { auth_session: m.auth_session, otp_code: s.code(m.secret) });
  assert.ok([201, 400].includes(again.status));
  assert.equal((await s.list()).length, 1);
});

test('dates follow the clock', async () => {
  const s = d.session();
  const m = await s.addTotp();
  assert.ok(Math.abs(Date.parse(m.created_at) - d.now()) < 10000, `${m.created_at} is not near ${new Date(d.now()).toISOString()}`);
});

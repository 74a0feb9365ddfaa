/* SPDX-License-Identifier: Apache-2.0
 * TOTP: enrolment, confirmation, replay, wrong codes, sessions. */
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem, pointers, base32, totp, wrongCode } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 1000 } } }); });
after(() => d.stop());

test('enrolment', async (t) => {
  const s = d.session();
  const r = await s.want(202, 'POST', METHODS, { type: 'totp' });
  const e = r.json;
  await t.test('has the members of the contract and no others', () => assert.deepEqual(Object.keys(e).sort(), ['auth_session', 'barcode_uri', 'id', 'manual_input_code']));
  await t.test('session of 64 base64url characters', () => assert.match(e.auth_session, /^[A-Za-z0-9_-]{64}$/));
  await t.test('a 20-byte seed in Base32', () => {
    assert.match(e.manual_input_code, /^[A-Z2-7]{32}$/);
    assert.equal(base32(e.manual_input_code).length, 20);
  });
  await t.test('the barcode', () => {
    assert.ok(e.barcode_uri.startsWith('otpauth://totp/Example:'), e.barcode_uri);
    const u = new URL(e.barcode_uri);
    assert.deepEqual(Object.fromEntries(u.searchParams), { secret: e.manual_input_code, issuer: 'Example', algorithm: 'SHA1', digits: '6', period: '30' });
    assert.ok(e.barcode_uri.includes('Example:auth0%7C'), e.barcode_uri);
  });
  await t.test('is listed unconfirmed', async () => {
    const [m] = await s.list();
    assert.equal(m.id, e.id);
    assert.equal(m.confirmed, false);
  });
  await t.test('and confirmed by a code', async () => {
    const m = await s.verify(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
    assert.deepEqual(Object.keys(m).sort(), ['confirmed', 'created_at', 'id', 'type', 'usage']);
    assert.equal(m.confirmed, true);
    assert.deepEqual(await s.list(), [m]);
    assert.deepEqual((await s.want(200, 'GET', methodPath(m.id))).json, m);
  });
  await t.test('verifying again is refused or repeats the answer', async () => {
    const again = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
    assert.ok(again.status === 201 || again.json?.detail === 'Invalid or expired session', again.text);
    assert.equal((await s.list()).length, 1);
  });
});

test('steps around now', async (t) => {
  for (const [step, ok] of [[-2, false], [-1, true], [0, true], [1, true], [2, false]])
    await t.test(`step ${step}`, async () => {
      const s = d.session();
      const e = await s.enrol({ type: 'totp' });
      /* Stay clear of the edge of a step, so that the daemon and the test count the same one. */
      const late = 30000 - (d.now() % 30000);
      if (late < 5000) d.advance(late + 500);
      const r = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code, step) });
      if (ok) assert.equal(r.status, 201, r.text);
      else isProblem(r, 400, 'A0E-400-0001', 'invalid_code');
    });
});

test('wrong codes', async (t) => {
  const s = d.session();
  const e = await s.enrol({ type: 'totp' });
  const right = [-1, 0, 1, 2].map((i) => totp(e.manual_input_code, d.now(), i));
  for (const code of [wrongCode(...right), '12345', '1234567', 'abcdef', '', '１２３４５６'])
    await t.test(JSON.stringify(code), async () => {
      const fresh = d.session();
      const f = await fresh.enrol({ type: 'totp' });
      const r = await fresh.post(`${methodPath(f.id)}/verify`, { auth_session: f.auth_session, otp_code: code });
      assert.equal(r.status, 400, r.text);
    });
  await t.test('is 400 invalid_code with the title Bad Request', async () => {
    const r = await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: wrongCode(...right) });
    isProblem(r, 400, 'A0E-400-0001', 'invalid_code');
    assert.equal(r.json.title, 'Bad Request');
  });
  await t.test('the session stays good', async () => {
    assert.equal((await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) })).status, 201);
  });
  await t.test('five of them end it', async () => {
    const u = d.session();
    const f = await u.enrol({ type: 'totp' });
    for (let i = 0; i < 5; i++) {
      const w = wrongCode(...[-1, 0, 1, 2].map((n) => totp(f.manual_input_code, d.now(), n)));
      assert.equal((await u.post(`${methodPath(f.id)}/verify`, { auth_session: f.auth_session, otp_code: w })).status, 400);
    }
    const r = await u.verifyAny(f.id, { auth_session: f.auth_session, otp_code: u.code(f.manual_input_code) });
    assert.ok([400, 404].includes(r.status), r.text);
    assert.deepEqual(await u.list(), [], 'the pending method is gone');
  });
});

test('bodies of verify', async (t) => {
  const s = d.session();
  const e = await s.enrol({ type: 'totp' });
  const v = (body) => s.post(`${methodPath(e.id)}/verify`, body);
  await t.test('no session', async () => isProblem(await v({ otp_code: '123456' }), 400, 'A0E-400-0003'));
  await t.test('no code', async () => isProblem(await v({ auth_session: e.auth_session }), 400, 'A0E-400-0003'));
  await t.test('a number as code', async () => assert.deepEqual(pointers(await v({ auth_session: e.auth_session, otp_code: 123456 })), ['/otp_code']));
  await t.test('an unknown member', async () => assert.deepEqual(pointers(await v({ auth_session: e.auth_session, otp_code: '123456', nope: 1 })), ['/nope']));
  await t.test('id, type and location are tolerated', async () => {
    const r = await s.verifyAny(e.id, { id: e.id, type: 'totp', location: 'x', auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
    assert.equal(r.status, 201, r.text);
  });
});

test('sessions are bound to user, method, type and client', async (t) => {
  const a = d.session();
  const b = d.session();
  const ea = await a.enrol({ type: 'totp' });
  const eb = await b.enrol({ type: 'totp' });
  const gone = (r) => isProblem(r, 400, 'A0E-400-0001', 'Invalid or expired session');
  const code = (s, e) => s.code(e.manual_input_code);
  await t.test('a made-up session', async () => gone(await a.verifyAny(ea.id, { auth_session: 'x'.repeat(64), otp_code: code(a, ea) })));
  await t.test('another user\'s session on the own method', async () => gone(await a.verifyAny(ea.id, { auth_session: eb.auth_session, otp_code: code(a, ea) })));
  await t.test('another user\'s method', async () => {
    const r = await b.verifyAny(ea.id, { auth_session: ea.auth_session, otp_code: code(a, ea) });
    assert.ok([400, 404].includes(r.status), r.text);
  });
  await t.test('the session of another method', async () => {
    const e2 = await a.enrol({ type: 'totp' });
    gone(await a.verifyAny(ea.id, { auth_session: e2.auth_session, otp_code: code(a, ea) }));
    gone(await a.verifyAny(e2.id, { auth_session: ea.auth_session, otp_code: code(a, e2) }));
  });
  await t.test('the session of another type', async () => {
    const rc = await a.enrol({ type: 'recovery-code' });
    gone(await a.verifyAny(ea.id, { auth_session: rc.auth_session, otp_code: code(a, ea) }));
  });
  await t.test('the same user through another client', async () => {
    gone(await d.as(a.user, { azp: 'native' }).verifyAny(ea.id, { auth_session: ea.auth_session, otp_code: code(a, ea) }));
  });
  await t.test('none of that spoiled it', async () => assert.equal((await a.verifyAny(ea.id, { auth_session: ea.auth_session, otp_code: code(a, ea) })).status, 201));
});

test('at most five', async () => {
  const s = d.session();
  for (let i = 0; i < 5; i++) await s.addTotp();
  const r = await s.post(METHODS, { type: 'totp' });
  if (r.status === 202) {
    const v = await s.verifyAny(r.json.id, { auth_session: r.json.auth_session, otp_code: s.code(r.json.manual_input_code) });
    isProblem(v, 400, 'A0E-400-0001', 'too_many_entities');
  } else isProblem(r, 400, 'A0E-400-0001', 'too_many_entities');
  assert.equal((await s.list('totp')).filter((m) => m.confirmed).length, 5);
});

test('seeds differ', async () => {
  const s = d.session();
  const seeds = new Set();
  for (let i = 0; i < 10; i++) seeds.add((await s.enrol({ type: 'totp' })).manual_input_code);
  assert.equal(seeds.size, 10);
});

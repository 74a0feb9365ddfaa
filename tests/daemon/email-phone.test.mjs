/* SPDX-License-Identifier: Apache-2.0
 * E-mail and phone: addresses, codes through the spool, duplicates, the automatic e-mail factor. */
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem, pointers, wrongCode } from './lib/kit.mjs';

let d;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 1000, sms_per_hour: 1000, email_per_hour: 1000 } } });
});
after(() => d.stop());

let serial = 0;
const number = () => `+1555${String(2000000 + serial++)}`;
const address = () => `box${serial++}@mail.example`;
const gone = (r) => isProblem(r, 400, 'A0E-400-0001', 'Invalid or expired session');

test('e-mail', async (t) => {
  const s = d.session();
  const email = address();
  const r = await s.want(202, 'POST', METHODS, { type: 'email', email });
  const e = r.json;
  await t.test('the answer', () => assert.deepEqual(Object.keys(e).sort(), ['auth_session', 'id']));
  const mail = await d.spool.take({ to: email });
  d.secrets.add('code', mail.code);
  await t.test('the message', () => {
    assert.match(mail.file, /^\d{20}-email\.json$/);
    assert.equal(mail.channel, 'email');
    assert.match(mail.code, /^\d{6}$/);
    assert.ok(mail.subject.length > 0);
    assert.ok(mail.text.includes(mail.code));
    assert.equal(mail.user_id, s.user);
    assert.match(mail.created_at, /^\d{4}-\d\d-\d\dT/);
  });
  await t.test('listed unconfirmed', async () => assert.deepEqual((await s.list()).map((m) => [m.id, m.confirmed, m.email]), [[e.id, false, email]]));
  await t.test('a wrong code', async () => isProblem(await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: wrongCode(mail.code) }), 400, 'A0E-400-0001', 'invalid_code'));
  await t.test('the code', async () => {
    const m = await s.verify(e.id, { auth_session: e.auth_session, otp_code: mail.code });
    assert.deepEqual(Object.keys(m).sort(), ['confirmed', 'created_at', 'email', 'id', 'type', 'usage']);
    assert.equal(m.email, email);
    assert.equal(m.confirmed, true);
  });
  await t.test('is used up', async () => {
    const again = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: mail.code });
    assert.ok(again.status === 201 || again.json.detail === 'Invalid or expired session', again.text);
  });
});

test('addresses', async (t) => {
  for (const [given, kept] of [['Some.One@MAIL.Example', 'Some.One@mail.example'], ['a+b@mail.example', 'a+b@mail.example']])
    await t.test(given, async () => {
      const s = d.session();
      await s.enrol({ type: 'email', email: given });
      const mail = await d.spool.take({ to: kept });
      d.secrets.add('code', mail.code);
      assert.equal((await s.list())[0].email, kept);
    });
  for (const bad of ['', 'nobody', '@mail.example', 'a@', 'a@b@c', 'a b@mail.example', 'a\n@mail.example', 'a@mail.example\r\nBcc: x@y.example', `${'x'.repeat(250)}@mail.example`])
    await t.test(JSON.stringify(bad.slice(0, 30)), async () => {
      const r = await d.session().post(METHODS, { type: 'email', email: bad });
      assert.equal(r.status, 400, r.text);
    });
});

test('phone', async (t) => {
  const s = d.session();
  const n = number();
  const e = await s.enrol({ type: 'phone', phone_number: n });
  const sms = await d.spool.take({ to: n });
  d.secrets.add('code', sms.code);
  await t.test('by SMS unless asked otherwise', () => {
    assert.equal(sms.channel, 'sms');
    assert.match(sms.file, /^\d{20}-sms\.json$/);
    assert.ok(sms.text.includes(sms.code));
  });
  await t.test('confirmed', async () => {
    const m = await s.verify(e.id, { auth_session: e.auth_session, otp_code: sms.code });
    assert.deepEqual(Object.keys(m).sort(), ['confirmed', 'created_at', 'id', 'phone_number', 'preferred_authentication_method', 'type', 'usage']);
    assert.equal(m.phone_number, n);
    assert.equal(m.preferred_authentication_method, 'sms');
  });
  await t.test('by voice', async () => {
    const v = await d.session().addPhone(number(), 'voice');
    assert.equal(v.preferred_authentication_method, 'voice');
  });
  await t.test('another way is a validation error', async () => {
    const r = await s.post(METHODS, { type: 'phone', phone_number: number(), preferred_authentication_method: 'pigeon' });
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), ['/preferred_authentication_method']);
  });
  await t.test('no number', async () => isProblem(await s.post(METHODS, { type: 'phone' }), 400, 'A0E-400-0003'));
});

test('numbers', async (t) => {
  for (const given of ['+1 (555) 300-0001', '+1.555.300.0002', '+44 20 7946 0018'])
    await t.test(given, async () => {
      const s = d.session();
      await s.enrol({ type: 'phone', phone_number: given });
      const kept = given.replace(/[^+\d]/g, '');
      d.secrets.add('code', (await d.spool.take({ to: kept })).code);
      assert.equal((await s.list())[0].phone_number, kept);
    });
  for (const bad of ['', '5551230001', '+0123456789', '+', '+1', '+12345678901234567', '+1555123000x', '+1555+1230001', 'tel:+15551230001'].filter((x) => x !== '+1'))
    await t.test(JSON.stringify(bad), async () => isProblem(await d.session().post(METHODS, { type: 'phone', phone_number: bad }), 400, 'A0E-400-0001', 'invalid_phone_number'));
});

test('a new enrolment of the same address replaces the pending one', async () => {
  const s = d.session();
  const email = address();
  const first = await s.startEmail(email);
  const second = await s.startEmail(email);
  assert.notEqual(first.auth_session, second.auth_session);
  const r = await s.verifyAny(first.id, { auth_session: first.auth_session, otp_code: first.code });
  assert.ok([400, 404].includes(r.status), r.text);
  await s.verify(second.id, { auth_session: second.auth_session, otp_code: second.code });
  assert.equal((await s.list()).length, 1);
});

test('a confirmed duplicate is 400', async () => {
  const s = d.session();
  const n = number();
  await s.addPhone(n);
  assert.equal((await s.post(METHODS, { type: 'phone', phone_number: n })).status, 400);
  assert.equal((await s.post(METHODS, { type: 'phone', phone_number: n.replace('+1', '+1 ') })).status, 400);
  const email = address();
  await s.addEmail(email);
  assert.equal((await s.post(METHODS, { type: 'email', email: email.replace('mail.example', 'MAIL.example') })).status, 400);
  assert.equal((await s.list()).length, 2);
});

test('two users may enrol the same address', async () => {
  const n = number();
  await d.session().addPhone(n);
  await d.session().addPhone(n);
});

test('a code opens only its own session', async () => {
  const s = d.session();
  const a = await s.startPhone(number());
  const b = await s.startPhone(number());
  if (a.code !== b.code) isProblem(await s.verifyAny(a.id, { auth_session: a.auth_session, otp_code: b.code }), 400, 'A0E-400-0001', 'invalid_code');
  gone(await s.verifyAny(a.id, { auth_session: b.auth_session, otp_code: b.code }));
  const other = d.session();
  const o = await other.startPhone(number());
  const r = await other.verifyAny(a.id, { auth_session: a.auth_session, otp_code: a.code });
  assert.ok([400, 404].includes(r.status));
  await s.verify(a.id, { auth_session: a.auth_session, otp_code: a.code });
  await other.verify(o.id, { auth_session: o.auth_session, otp_code: o.code });
});

test('codes keep leading zeros and differ', async () => {
  const codes = [];
  for (let u = 0; u < 3; u++) {
    const s = d.session();
    for (let i = 0; i < 10; i++) codes.push((await s.startEmail(address())).code);
  }
  assert.ok(codes.every((c) => /^\d{6}$/.test(c)));
  assert.ok(new Set(codes).size > 25);
});

test('at most five of each', async () => {
  const s = d.session();
  for (let i = 0; i < 5; i++) await s.addPhone(number());
  const r = await s.post(METHODS, { type: 'phone', phone_number: number() });
  isProblem(r, 400, 'A0E-400-0001', 'too_many_entities');
  await s.addEmail(address());
});

test('a verified profile address is an e-mail factor of its own', async (t) => {
  const s = d.as('auth0|alice');
  const auto = (await s.list('email'))[0];
  await t.test('is listed', () => {
    assert.equal(auto.email.toLowerCase(), 'alice@example.com');
    assert.equal(auto.confirmed, true);
  });
  await t.test('with a stable id', async () => {
    assert.equal((await s.list('email'))[0].id, auto.id);
    assert.deepEqual((await s.want(200, 'GET', methodPath(auto.id))).json, auto);
  });
  await t.test('cannot be deleted', async () => isProblem(await s.del(methodPath(auto.id)), 409, 'A0E-409-0001'));
  await t.test('is another user\'s 404', async () => assert.equal((await d.session().get(methodPath(auto.id))).status, 404));
  await t.test('an unverified address is none', async () => assert.deepEqual(await d.session().list('email'), []));
  await t.test('it goes with the e-mail factor', async () => {
    d.apply({ factors: { email: false } });
    assert.deepEqual(await s.list('email'), []);
    d.apply({ factors: { email: true } });
  });
  await t.test('enrolment.auto_email_factor = false', async () => {
    const c = await Daemon.start({ config: { enrollment: { auto_email_factor: false } } });
    assert.deepEqual(await c.as('auth0|alice').list('email'), []);
    await c.stop();
  });
});

test('the request does not wait for a provider that is down', async () => {
  const c = await Daemon.start({ config: { delivery: { sms: 'spool:/nonexistent/dir' } } });
  const s = c.session();
  const t0 = Date.now();
  await s.enrol({ type: 'phone', phone_number: number() });
  assert.ok(Date.now() - t0 < 5000);
  await c.stop();
});

test('message texts can be replaced', async () => {
  const fs = await import('node:fs');
  const c = await Daemon.start({ start: false });
  fs.mkdirSync(`${c.dir}/texts`);
  fs.writeFileSync(`${c.dir}/texts/enroll-code.sms.text`, 'Kode {{code}} fra {{tenant}} i {{minutes}} min\n');
  c.configure({ delivery: { templates: `${c.dir}/texts` } });
  await c.run();
  const e = await c.session().startPhone(number());
  assert.equal(e.sms.text.trim(), `Kode ${e.code} fra Example i 5 min`);
  await c.stop();
});

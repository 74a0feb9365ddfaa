/* SPDX-License-Identifier: Apache-2.0
 * Listing, reading, renaming, deleting; what belongs to others. */
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem, pointers, sleep } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { rate_limit: { sms_per_hour: 1000, email_per_hour: 1000 } } }); });
after(() => d.stop());

let serial = 0;
const number = () => `+1555${String(4000000 + serial++)}`;
const address = () => `m${serial++}@mail.example`;
const missing = (r) => isProblem(r, 404, 'A0E-404-0002');

test('listing', async (t) => {
  const s = d.session();
  assert.deepEqual((await s.want(200, 'GET', METHODS)).json, { authentication_methods: [] });
  const totp = await s.addTotp();
  await sleep(5);
  const phone = await s.addPhone(number());
  await sleep(5);
  const mail = await s.addEmail(address());
  await sleep(5);
  const rc = await s.addRecovery();
  await t.test('by time of creation', async () => assert.deepEqual((await s.list()).map((m) => m.id), [totp.id, phone.id, mail.id, rc.id]));
  await t.test('of one type', async () => {
    for (const m of [totp, phone, mail, rc]) assert.deepEqual((await s.list(m.type)).map((x) => x.id), [m.id]);
    for (const type of ['password', 'passkey', 'push-notification', 'webauthn-roaming', 'webauthn-platform']) assert.deepEqual(await s.list(type), []);
  });
  await t.test('of an unknown type', async () => {
    for (const type of ['nope', '', 'TOTP', 'totp%7C']) {
      const r = await s.get(`${METHODS}?type=${type}`);
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), ['/type']);
    }
  });
  await t.test('nobody else\'s', async () => assert.deepEqual(await d.session().list(), []));
});

test('ids that are not there', async (t) => {
  const s = d.session();
  const other = d.session();
  const theirs = await other.addTotp();
  for (const id of [theirs.id, 'totp|dev_aaaaaaaaaaaaaaaa', 'nonsense', 'totp|', '|', 'nope|dev_aaaaaaaaaaaaaaaa', `${theirs.id}x`, theirs.id.toUpperCase(), 'password|bm9wZQ', 'passkey|new', "totp|' OR '1'='1", 'x'.repeat(3000)])
    await t.test(id.slice(0, 40), async () => {
      const path = methodPath(id);
      missing(await s.get(path));
      missing(await s.patch(path, {}));
      missing(await s.del(path));
    });
  await t.test('foreign and unknown look the same', async () => {
    const strip = (r) => JSON.stringify({ ...r.json });
    assert.equal(strip(await s.get(methodPath(theirs.id))), strip(await s.get(methodPath('totp|dev_aaaaaaaaaaaaaaaa'))));
  });
  await t.test('their owner still has it', async () => assert.equal((await other.list()).length, 1));
});

test('renaming', async (t) => {
  const s = d.session();
  const m = await s.addTotp();
  const patch = (body, id = m.id) => s.patch(methodPath(id), body);
  await t.test('sets the name', async () => {
    const r = await patch({ name: 'My phone' });
    assert.equal(r.status, 200, r.text);
    assert.equal(r.json.name, 'My phone');
    assert.equal((await s.list())[0].name, 'My phone');
  });
  await t.test('trims it', async () => assert.equal((await patch({ name: '  Pixel  ' })).json.name, 'Pixel'));
  await t.test('takes any script and emoji', async () => assert.equal((await patch({ name: 'Téléphone 电话 📱' })).json.name, 'Téléphone 电话 📱'));
  await t.test('{} changes nothing', async () => {
    const r = await patch({});
    assert.equal(r.status, 200);
    assert.equal(r.json.name, 'Téléphone 电话 📱');
  });
  await t.test('a hundred characters, not more', async () => {
    assert.equal((await patch({ name: 'é'.repeat(100) })).status, 200);
    const r = await patch({ name: 'é'.repeat(101) });
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), ['/name']);
  });
  for (const [what, body, pointer] of [['empty', { name: '' }, '/name'], ['only blanks', { name: '   ' }, '/name'], ['null', { name: null }, '/name'], ['a number', { name: 1 }, '/name'],
    ['a control character', { name: 'a\u0001b' }, '/name'], ['a line break', { name: 'a\nb' }, '/name'], ['an unknown member', { confirmed: true }, '/confirmed'],
    ['a way for something that is no phone', { preferred_authentication_method: 'sms' }, '/preferred_authentication_method']])
    await t.test(what, async () => {
      const r = await patch(body);
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), [pointer]);
    });
  await t.test('a recovery code has no name', async () => {
    const rc = await s.addRecovery();
    assert.deepEqual(pointers(await patch({ name: 'x' }, rc.id)), ['/name']);
  });
  await t.test('a password has none', async () => {
    const r = await s.changePassword('Zq7-renaming-kW');
    assert.equal(r.status, 201);
    assert.deepEqual(pointers(await patch({ name: 'x' }, r.json.id)), ['/name']);
  });
  await t.test('a pending one cannot be renamed', async () => {
    const e = await s.enrol({ type: 'totp' });
    assert.equal((await patch({ name: 'x' }, e.id)).status, 400);
  });
  await t.test('an e-mail and a phone can', async () => {
    const p = await s.addPhone(number());
    const e = await s.addEmail(address());
    for (const x of [p, e]) assert.equal((await patch({ name: 'both' }, x.id)).json.name, 'both');
  });
});

test('preferred_authentication_method', async () => {
  const s = d.session();
  const p = await s.addPhone(number());
  const r = await s.patch(methodPath(p.id), { preferred_authentication_method: 'voice' });
  assert.equal(r.json.preferred_authentication_method, 'voice');
  assert.equal((await s.list())[0].preferred_authentication_method, 'voice');
  assert.deepEqual(pointers(await s.patch(methodPath(p.id), { preferred_authentication_method: 'x' })), ['/preferred_authentication_method']);
  const both = await s.patch(methodPath(p.id), { name: 'n', preferred_authentication_method: 'sms' });
  assert.deepEqual([both.json.name, both.json.preferred_authentication_method], ['n', 'sms']);
});

test('deleting', async (t) => {
  const s = d.session();
  const m = await s.addTotp();
  const r = await s.del(methodPath(m.id));
  assert.equal(r.status, 204);
  assert.deepEqual(await s.list(), []);
  await t.test('twice is 404', async () => missing(await s.del(methodPath(m.id))));
  await t.test('reading it is 404', async () => missing(await s.get(methodPath(m.id))));
  await t.test('a pending one, and its session with it', async () => {
    const e = await s.enrol({ type: 'totp' });
    assert.equal((await s.del(methodPath(e.id))).status, 204);
    const v = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
    assert.ok([400, 404].includes(v.status));
    assert.deepEqual(await s.list(), []);
  });
  await t.test('the last primary credential stays', async () => {
    const pw = await s.changePassword('Zq7-deleting-kW');
    isProblem(await s.del(methodPath(pw.json.id)), 409, 'A0E-409-0001');
    assert.equal((await s.list('password')).length, 1);
  });
  await t.test('unless protect_last_primary is off', async () => {
    const c = await Daemon.start({ config: { enrollment: { protect_last_primary: false } } });
    const u = c.session();
    const pw = await u.changePassword('Zq7-deleting-kW');
    assert.equal((await u.del(methodPath(pw.json.id))).status, 204);
    assert.deepEqual(await u.list(), []);
    await c.stop();
  });
  await t.test('the address is free again', async () => {
    const n = number();
    const p = await s.addPhone(n);
    assert.equal((await s.del(methodPath(p.id))).status, 204);
    await s.addPhone(n);
  });
});

test('at most twenty in all', async () => {
  const s = d.session();
  for (let i = 0; i < 5; i++) {
    await s.addTotp();
    await s.addPhone(number());
    await s.addEmail(address());
  }
  await s.addRecovery();
  const list = await s.list();
  assert.equal(list.length, 16);
  for (const body of [{ type: 'totp' }, { type: 'phone', phone_number: number() }, { type: 'email', email: address() }])
    isProblem(await s.post(METHODS, body), 400, 'A0E-400-0001', 'too_many_entities');
});

test('enrollment.list_unconfirmed = false hides pending ones', async () => {
  const c = await Daemon.start({ config: { enrollment: { list_unconfirmed: false } } });
  const s = c.session();
  const e = await s.enrol({ type: 'totp' });
  assert.deepEqual(await s.list(), []);
  await s.verify(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
  assert.equal((await s.list()).length, 1);
  await c.stop();
});

test('every change leaves an audit row with a name of the contract', async () => {
  const s = d.session();
  const m = await s.addTotp();
  await s.patch(methodPath(m.id), { name: 'x' });
  await s.del(methodPath(m.id));
  const rows = d.audit(s.user).join('\n');
  for (const op of ['create', 'verify', 'update', 'delete']) assert.ok(rows.includes(op), `${op} is missing:\n${rows}`);
  assert.ok(rows.includes('my_account_authentication_method_succeeded'), rows);
  assert.ok(rows.includes(m.id), rows);
  const e = await s.enrol({ type: 'totp' });
  await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: '000000' });
  assert.ok(d.audit(s.user).join('\n').includes('my_account_authentication_method_failed'));
});

test('odd clients are understood', async () => {
  const s = d.session();
  await s.want(200, 'GET', METHODS, undefined, { headers: { 'auth0-client': '!!! not base64 !!!', 'content-type': 'application/json' } });
  const r = await s.get(METHODS, { headers: { accept: 'text/html', 'accept-encoding': 'gzip, br' } });
  assert.equal(r.status, 200);
  assert.equal(r.headers['content-encoding'], undefined);
});

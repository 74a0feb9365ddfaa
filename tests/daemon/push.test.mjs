/* SPDX-License-Identifier: Apache-2.0
 * Devices for push messages: enrolling one, what it may do with itself, and everything that opens no door. */
import crypto from 'node:crypto';
import { assert, test, before, after, Daemon, METHODS, isProblem, methodPath, user } from './lib/kit.mjs';
import { notice, open, press } from './lib/notices.mjs';
import { Device, addPush, isDeviceError, jwk, readCode, rsaKey } from './lib/device.mjs';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const COUNT = 60;

let d;
before(async () => {
  d = await Daemon.start({ config: { enrollment: { push_wait: 0 }, notifications: { changes_per_hour: 0 } }, state: { factors: { 'push-notification': true } } });
  d.apply({ users: Array.from({ length: COUNT }, (_, i) => user(`auth0|g${i}`, { email: `g${i}@example.com`, email_verified: true })) });
});
after(() => d.stop());

let next = 0;
function someone(over = {}) {
  assert.ok(next < COUNT, 'the people are used up');
  return d.as(`auth0|g${next++}`, over);
}
const rows = (s, type) => d.audit(s.user).map((l) => JSON.parse(l)).filter((r) => r.type === type);
const confirmed = async (s, type) => (await s.list(type)).filter((m) => m.confirmed);

test('an enrolment from the QR code to the confirmed method', async (t) => {
  const s = someone();
  assert.ok((await s.factors()).includes('push-notification'));
  const e = await s.enrol({ type: 'push-notification' });
  assert.match(e.id, /^push-notification\|dev_[A-Za-z0-9]{16}$/);
  const device = new Device(d);
  const code = device.scan(e.barcode_uri);
  await t.test('what the code holds', () => {
    assert.equal(code.user, s.user);
    assert.equal(code.issuer, 'Example');
    assert.equal(code.id, e.id.split('|')[1]);
    assert.equal(code.base_url, `${d.base}/appliance-mfa`);
    assert.equal(code.secret, e.manual_input_code);
    assert.deepEqual([code.algorithm, code.digits, code.period], ['SHA1', '6', '30']);
  });
  await t.test('until the device has come it is pending, and its session stays good', async () => {
    for (let i = 0; i < 2; i++) isProblem(await s.verifyAny(e.id, { auth_session: e.auth_session }), 400, 'A0E-400-0001', 'authorization_pending');
    assert.deepEqual((await s.list('push-notification')).map((m) => [m.id, m.confirmed]), [[e.id, false]]);
    assert.deepEqual(rows(s, 'my_account_authentication_method_failed'), [], 'waiting is no failure');
  });
  const account = await device.enrol(e.barcode_uri);
  await t.test('what the device gets to know', () => {
    assert.deepEqual(Object.keys(account), ['id', 'url', 'issuer', 'user_id', 'token', 'totp']);
    assert.equal(account.id, code.id);
    assert.equal(account.url, `${d.base}/appliance-mfa`);
    assert.equal(account.user_id, s.user);
    assert.deepEqual(account.totp, { secret: code.secret, algorithm: 'SHA1', digits: 6, period: 30 });
  });
  const m = await s.verify(e.id, { auth_session: e.auth_session });
  await t.test('the method', () => {
    assert.deepEqual([m.id, m.type, m.confirmed, m.name], [e.id, 'push-notification', true, 'Test phone']);
  });
  await t.test('the authenticator that came with it', async () => {
    const [otp] = await confirmed(s, 'totp');
    assert.match(otp.id, /^totp\|dev_/);
    assert.equal((await s.list()).length, 3, 'and the automatic e-mail');
  });
  await t.test('the session is used up, and the ticket', async () => {
    isProblem(await s.verifyAny(e.id, { auth_session: e.auth_session }), 400, 'A0E-400-0001', 'Invalid or expired session');
    isDeviceError(await new Device(d).tryEnrol({}, { ticket: code.enrollment_tx_id }), 409, 'already_enrolled');
  });
  await t.test('the trail and the message', async () => {
    assert.equal(rows(s, 'gd_enrollment_complete').length, 1);
    assert.deepEqual(rows(s, 'my_account_authentication_method_succeeded').map((r) => r.operation), ['create', 'verify']);
    const text = d.spool.all().filter((x) => x.to === `${s.user.slice(6)}@example.com`).map((x) => x.text).join('\n');
    assert.match(text, /a device for push messages/);
  });
});

test('a device without credentials, name or with unknown members enrols; its name is kept', async () => {
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(d);
  device.scan(e.barcode_uri);
  const res = await device.tryEnrol({ name: null, push_credentials: null, locale: 'nl' });
  assert.equal(res.status, 200, res.text);
  const m = await s.verify(e.id, { auth_session: e.auth_session });
  assert.equal(m.name, undefined);
});

test('tickets that are no good', async (t) => {
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(d);
  const { enrollment_tx_id: ticket } = device.scan(e.barcode_uri);
  for (const [what, authorization] of [['none', null], ['another scheme', `Bearer ${ticket}`], ['no quotes', `Ticket id=${ticket}`], ['an empty header', 'Ticket ']])
    await t.test(what, async () => isDeviceError(await device.call('POST', 'enroll', { body: device.enrolBody(), authorization }), 401, 'invalid_token'));
  for (const [what, text] of [['unknown', 'A'.repeat(32)], ['short', ticket.slice(0, 31)], ['long', `${ticket}A`], ['empty', ''], ['the id of the device', e.id.split('|')[1]]])
    await t.test(what, async () => isDeviceError(await device.tryEnrol({}, { ticket: text }), 404, 'enrollment_transaction_not_found'));
  await t.test('lapsed', async () => {
    d.advance(301 * SECOND);
    isDeviceError(await device.tryEnrol(), 404, 'enrollment_transaction_not_found');
  });
  await t.test('given up by the user', async () => {
    const p = someone();
    const other = await p.enrol({ type: 'push-notification' });
    await p.want(204, 'DELETE', methodPath(other.id));
    const phone = new Device(d);
    phone.scan(other.barcode_uri);
    isDeviceError(await phone.tryEnrol(), 404, 'enrollment_transaction_not_found');
  });
});

test('the door closes for a user who is blocked or gone, and with the factor', async () => {
  const [a, b, c] = [someone(), someone(), someone()];
  const begun = [];
  for (const s of [a, b, c]) {
    const device = new Device(d);
    device.scan((await s.enrol({ type: 'push-notification' })).barcode_uri);
    begun.push(device);
  }
  d.apply({ users: [{ user_id: a.user, blocked: true }] });
  isDeviceError(await begun[0].tryEnrol(), 404, 'enrollment_transaction_not_found');
  d.ok('user', 'delete', b.user);
  isDeviceError(await begun[1].tryEnrol(), 404, 'enrollment_transaction_not_found');
  d.apply({ factors: { 'push-notification': false } });
  isDeviceError(await begun[2].tryEnrol(), 404, 'enrollment_transaction_not_found');
  d.apply({ factors: { 'push-notification': true } });
  await begun[2].tryEnrol();
  assert.ok(begun[2].account, 'nothing was lost');
  d.apply({ users: [{ user_id: c.user, blocked: true }] });
  isDeviceError(await begun[2].update({ name: 'x' }), 403, 'forbidden');
  isDeviceError(await begun[2].remove(), 403, 'forbidden');
});

test('bodies that are no device', async (t) => {
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(d);
  device.scan(e.barcode_uri);
  const key = jwk(device.key.publicKey);
  const small = jwk(rsaKey('small', 1024).publicKey);
  const ec = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  const even = { ...key, n: Buffer.concat([Buffer.from(key.n, 'base64url').subarray(0, -1), Buffer.from([2])]).toString('base64url') };
  for (const [what, over] of [['no identifier', { identifier: undefined }], ['an empty identifier', { identifier: '' }], ['a long identifier', { identifier: 'x'.repeat(256) }],
    ['a control character', { identifier: 'a\nb' }], ['a long name', { name: 'x'.repeat(101) }], ['no key', { public_key: undefined }], ['a key that is text', { public_key: 'x' }],
    ['another kty', { public_key: { ...ec, alg: 'ES256', use: 'sig' } }], ['kty EC with n and e', { public_key: { ...key, kty: 'EC' } }], ['another alg', { public_key: { ...key, alg: 'PS256' } }], ['alg none', { public_key: { ...key, alg: 'none' } }],
    ['alg HS256', { public_key: { ...key, alg: 'HS256' } }], ['no alg', { public_key: { ...key, alg: undefined } }], ['another use', { public_key: { ...key, use: 'enc' } }],
    ['no n', { public_key: { ...key, n: undefined } }], ['n with padding', { public_key: { ...key, n: `${key.n}=` } }], ['a small key', { public_key: small }], ['an even modulus', { public_key: even }],
    ['e of one', { public_key: { ...key, e: 'AQ' } }], ['an even e', { public_key: { ...key, e: 'AQAA' } }], ['a huge n', { public_key: { ...key, n: 'w'.repeat(1000) } }],
    ['an unknown service', { push_credentials: { service: 'SMS', token: 'x' } }], ['no token', { push_credentials: { service: 'GCM' } }], ['a token with blanks', { push_credentials: { service: 'GCM', token: 'a b' } }],
    ['a long token', { push_credentials: { service: 'APNS', token: 'x'.repeat(4097) } }], ['credentials that are text', { push_credentials: 'GCM:x' }], ['number_matching that is text', { number_matching: 'yes' }]])
    await t.test(what, async () => {
      const res = await device.tryEnrol(over);
      isDeviceError(res, 400, res.json.errorCode);
      assert.match(res.json.errorCode, /^invalid_(request|public_key)$/);
    });
  await t.test('no JSON, another media type, too much', async () => {
    const authorization = `Ticket id="${device.code.enrollment_tx_id}"`;
    isDeviceError(await device.call('POST', 'enroll', { raw: '{', authorization }), 400, 'invalid_request');
    isDeviceError(await device.call('POST', 'enroll', { raw: '[]', authorization }), 400, 'invalid_request');
    isDeviceError(await device.call('POST', 'enroll', { raw: 'a=b', authorization, headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 415, 'invalid_request');
    isDeviceError(await device.call('POST', 'enroll', { raw: JSON.stringify({ x: 'y'.repeat(9000) }), authorization }), 413, 'invalid_request');
  });
  assert.equal((await device.tryEnrol()).status, 200, 'none of them used the ticket up');
});

test('keys of 3072 and 4096 bits', async () => {
  for (const bits of [3072, 4096]) {
    const device = await addPush(someone(), { key: rsaKey('large', bits) });
    assert.equal((await device.update({ name: 'Big' }, `Bearer ${device.sign(device.accountClaims())}`)).status, 200);
  }
});

test('two devices bring one ticket: one of them enrols', async () => {
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  const devices = Array.from({ length: 6 }, () => new Device(d));
  for (const x of devices) x.scan(e.barcode_uri);
  const answers = await Promise.all(devices.map((x) => x.tryEnrol()));
  assert.deepEqual(answers.map((r) => r.status).sort(), [200, 409, 409, 409, 409, 409]);
  assert.equal((await confirmed(s, 'push-notification')).length, 1);
  assert.equal((await confirmed(s, 'totp')).length, 1);
});

test('the user cannot confirm the device of somebody else, or with another session', async () => {
  const [a, b] = [someone(), someone()];
  const e = await a.enrol({ type: 'push-notification' });
  const f = await b.enrol({ type: 'push-notification' });
  isProblem(await b.verifyAny(e.id, { auth_session: e.auth_session }), 404, 'A0E-404-0002');
  isProblem(await a.verifyAny(e.id, { auth_session: f.auth_session }), 400, 'A0E-400-0001', 'Invalid or expired session');
  const o = await a.enrol({ type: 'totp' });
  isProblem(await a.verifyAny(e.id, { auth_session: o.auth_session }), 400, 'A0E-400-0001', 'Invalid or expired session');
});

test('without the authenticator factor the code has no secret and nothing comes along', async (t) => {
  d.apply({ factors: { totp: false } });
  t.after(() => d.apply({ factors: { totp: true } }));
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  assert.equal(e.manual_input_code, undefined);
  assert.equal(readCode(e.barcode_uri).secret, undefined);
  const device = new Device(d);
  const account = await device.enrol(e.barcode_uri);
  assert.equal(account.totp, undefined);
  await s.verify(e.id, { auth_session: e.auth_session });
  assert.deepEqual(await confirmed(s, 'totp'), []);
});

test('five devices, and no sixth', async () => {
  const s = someone();
  for (let i = 0; i < 4; i++) await addPush(s);
  const last = [await s.enrol({ type: 'push-notification' }), await s.enrol({ type: 'push-notification' })];
  const devices = last.map((e) => Object.assign(new Device(d), { e }));
  for (const x of devices) x.scan(x.e.barcode_uri);
  assert.equal((await devices[0].tryEnrol()).status, 200);
  isDeviceError(await devices[1].tryEnrol(), 400, 'too_many_entities');
  isProblem(await s.post(METHODS, { type: 'push-notification' }), 400, 'A0E-400-0001', 'too_many_entities');
  isProblem(await s.post(METHODS, { type: 'totp' }), 400, 'A0E-400-0001', 'too_many_entities');
});

/* --- the device manages itself --- */

test('a device changes itself, by its token or with its signature', async (t) => {
  const s = someone();
  const device = await addPush(s);
  await t.test('everything', async () => {
    const res = await device.update({ identifier: 'second-identity', name: 'New name', push_credentials: { service: 'APNS', token: 'ab'.repeat(32) } });
    assert.equal(res.status, 200, res.text);
    assert.deepEqual(res.json, { id: device.account.id, identifier: 'second-identity', name: 'New name', push_credentials: { service: 'APNS', token: 'ab'.repeat(32) }, number_matching: false });
    device.identifier = 'second-identity';
    assert.equal((await confirmed(s, 'push-notification'))[0].name, 'New name');
  });
  await t.test('nothing', async () => {
    const res = await device.update({ identifier: null, name: null, push_credentials: null });
    assert.deepEqual([res.status, res.json.identifier, res.json.name], [200, 'second-identity', 'New name']);
  });
  await t.test('signed', async () => {
    const res = await device.update({ name: 'Signed' }, `Bearer ${device.sign(device.accountClaims())}`);
    assert.deepEqual([res.status, res.json.name], [200, 'Signed']);
  });
  await t.test('what the user called it stays until the device says otherwise', async () => {
    await s.want(200, 'PATCH', methodPath(device.method.id), { name: 'Mine' });
    assert.equal((await device.update({})).json.name, 'Mine');
  });
  await t.test('bodies that are none', async () => {
    for (const body of [{ identifier: '' }, { name: 5 }, { push_credentials: { service: 'GCM' } }, []]) isDeviceError(await device.update(body), 400, 'invalid_request');
  });
  assert.equal(rows(s, 'gd_update_device_account').length, 4);
});

test('credentials that open no device', async (t) => {
  const [a, b] = [someone(), someone()];
  const device = await addPush(a);
  const other = await addPush(b, { key: rsaKey('two') });
  const good = device.accountClaims();
  const url = good.aud;
  const bad = (what, authorization) => t.test(what, async () => {
    isDeviceError(await device.update({ name: 'x' }, authorization), 401, 'invalid_token');
    isDeviceError(await device.remove(authorization), 401, 'invalid_token');
  });
  await bad('nothing', undefined === 1);
  await bad('another scheme', `Basic ${device.account.token}`);
  await bad('no token', 'Bearer ');
  await bad('a made-up token', `Bearer ${crypto.randomBytes(32).toString('base64url')}`);
  await bad('the token of another device', `Bearer ${other.account.token}`);
  await bad('the ticket', `Bearer ${device.code.enrollment_tx_id}`);
  const signed = (over, how) => `Bearer ${device.sign({ ...good, ...over }, how)}`;
  await bad('the key of another device', signed({}, { key: other.key }));
  await bad('another device as a whole', `Bearer ${other.sign(other.accountClaims())}`);
  await bad('another identifier', signed({ iss: other.identifier }));
  await bad('another user', signed({ sub: b.user }));
  for (const [what, aud] of [['none', undefined], ['of the transaction', `${d.base}/appliance-mfa/api/resolve-transaction`], ['with the id', `${url}/${device.account.id}`], ['of another host', 'https://other.example/appliance-mfa/api/device-accounts'],
    ['with a slash', `${url}/`], ['two of them', [url, 'https://other.example']], ['empty', []]])
    await bad(`an audience ${what}`, signed({ aud }));
  await bad('expired', signed({ iat: device.now() - 200, exp: device.now() - 61 }));
  await bad('from the future', signed({ iat: device.now() + 120, exp: device.now() + 300 }));
  await bad('for too long', signed({ exp: device.now() + 4 * 3600 }));
  await bad('ended before it began', signed({ iat: device.now(), exp: device.now() }));
  await bad('without exp', signed({ exp: undefined }));
  await bad('without iat', signed({ iat: undefined }));
  await bad('exp as text', signed({ exp: String(device.now() + 60) }));
  for (const alg of ['none', 'HS256', 'RS384', 'PS256', 'RS512'])
    await bad(`a header that says ${alg}`, signed({}, { header: { alg, typ: 'JWT' } }));
  await bad('HS256 with the public key', (() => {
    const pem = device.key.publicKey.export({ type: 'spki', format: 'pem' });
    const input = `${Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')}.${Buffer.from(JSON.stringify(good)).toString('base64url')}`;
    return `Bearer ${input}.${crypto.createHmac('sha256', pem).update(input).digest('base64url')}`;
  })());
  await bad('no signature', (() => { const [h, p] = device.sign(good).split('.'); return `Bearer ${h}.${p}.`; })());
  await bad('an own key in the header', signed({}, { key: other.key, header: { alg: 'RS256', typ: 'JWT', jwk: jwk(other.key.publicKey) } }));
  await bad('a critical extension', signed({}, { header: { alg: 'RS256', typ: 'JWT', crit: ['exp'] } }));
  await bad('the type of an access token', signed({}, { header: { alg: 'RS256', typ: 'at+jwt' } }));
  await bad('a bit of the signature', (() => { const j = device.sign(good); return `Bearer ${j.slice(0, -5)}${j.at(-5) === 'A' ? 'B' : 'A'}${j.slice(-4)}`; })());
  await t.test('an unknown device', async () => {
    for (const id of ['dev_0123456789abcdef', '%20', 'x'.repeat(300), encodeURIComponent(device.method.id)])
      isDeviceError(await device.call('DELETE', `device-accounts/${id}`, { authorization: `Bearer ${device.account.token}` }), 404, 'device_account_not_found');
  });
  assert.equal((await device.update({ name: 'still here' })).status, 200);
  assert.equal((await confirmed(a, 'push-notification')).length, 1);
});

test('one that is not enrolled yet has nothing to manage', async () => {
  const s = someone();
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(d);
  device.scan(e.barcode_uri);
  device.account = { id: device.code.id, user_id: s.user, token: 'x'.repeat(43) };
  isDeviceError(await device.remove(), 404, 'device_account_not_found');
});

/* --- a pair --- */

for (const [what, remove] of [
  ['the user deletes the device', async (s, device) => s.want(204, 'DELETE', methodPath(device.method.id))],
  ['the user deletes the authenticator', async (s) => s.want(204, 'DELETE', methodPath((await confirmed(s, 'totp')).at(-1).id))],
  ['the device deletes itself', async (s, device) => assert.equal((await device.remove()).status, 204)],
  ['the device signs that it goes', async (s, device) => assert.equal((await device.remove(`Bearer ${device.sign(device.accountClaims())}`)).status, 204)],
  ['the operator removes the device', async (s, device) => d.ok('method', 'reset', s.user, device.method.id)],
  ['the operator removes everything', async (s) => d.ok('method', 'reset', s.user)],
])
  test(`${what}: both halves go`, async () => {
    const s = someone();
    const own = await s.addTotp();
    const device = await addPush(s);
    await remove(s, device);
    assert.deepEqual(await confirmed(s, 'push-notification'), []);
    if (!/everything/.test(what)) assert.deepEqual((await confirmed(s, 'totp')).map((m) => m.id), [own.id], 'the other authenticator stays');
    isDeviceError(await device.update({ name: 'x' }), 404, 'device_account_not_found');
    isDeviceError(await device.remove(), 404, 'device_account_not_found');
  });

test('erasing takes devices along, and the document shows them', async () => {
  const s = someone();
  const device = await addPush(s);
  const doc = JSON.parse(d.ok('user', 'export', s.user));
  const text = JSON.stringify(doc);
  for (const said of [device.identifier, device.account.id]) assert.ok(text.includes(said), said);
  for (const secret of [device.account.token, device.token, device.code.enrollment_tx_id, device.code.secret]) assert.ok(!text.includes(secret));
  d.ok('user', 'delete', s.user);
  isDeviceError(await device.update({ name: 'x' }), 404, 'device_account_not_found');
});

/* --- limits --- */

test('limits of an address and of a device', async (t) => {
  const limited = await Daemon.start({ config: { rate_limit: { enabled: true, address_failures: 25 }, enrollment: { push_wait: 0 } }, state: { factors: { 'push-notification': true } } });
  t.after(() => limited.stop());
  const device = await addPush(limited.session());
  await t.test('ten wrong tokens about one device, and the right one waits too', async () => {
    /* at once: tokens come back while time passes */
    const wrong = await Promise.all(Array.from({ length: 30 }, () => device.update({}, `Bearer ${'x'.repeat(43)}`)));
    assert.deepEqual([...new Set(wrong.map((r) => r.status))].sort(), [401, 429]);
    const res = await device.update({});
    isDeviceError(res, 429, 'too_many_requests');
    assert.ok(Number(res.headers['retry-after']) >= 1);
    limited.advance(MINUTE);
    assert.equal((await device.update({})).status, 200);
  });
  await t.test('guesses of tickets end for the address', async () => {
    const guess = () => device.tryEnrol({}, { ticket: crypto.randomBytes(16).toString('hex') });
    const guesses = await Promise.all(Array.from({ length: 60 }, guess));
    assert.deepEqual([...new Set(guesses.map((r) => r.status))].sort(), [404, 429]);
    isDeviceError(guesses.find((r) => r.status === 429), 429, 'too_many_requests');
    limited.advance(MINUTE);
    isDeviceError(await guess(), 404, 'enrollment_transaction_not_found');
  });
  await t.test('requests of one address', async () => {
    limited.advance(MINUTE);
    const many = await Promise.all(Array.from({ length: 400 }, () => device.update({})));
    assert.deepEqual([...new Set(many.map((r) => r.status))].sort(), [200, 429]);
    isDeviceError(many.find((r) => r.status === 429), 429, 'too_many_requests');
  });
});

test('secrets are kept as hashes', async () => {
  const device = await addPush(someone());
  assert.equal((await device.update({})).status, 200);
  assert.deepEqual(d.secrets.leaks(), []);
});

/* --- telling, and undoing --- */

function owner() {
  const s = someone();
  return Object.assign(s, { mail: `${s.user.slice(6)}@example.com` });
}
/* A fresh token of the same user: those from before an undo are refused. */
function again(s) {
  d.advance(2 * SECOND);
  return d.as(s.user);
}

test('an added device is told of and removed by the link, its authenticator with it', async () => {
  const s = owner();
  const device = await addPush(s);
  const m = await notice(d, 'factor-added', s.mail);
  assert.match(m.text, /a device for push messages/);
  assert.ok(!m.text.includes(device.name), 'nothing a device says stands in a message');
  assert.equal(d.spool.all().filter((x) => x.to === s.mail).length, 1, 'one message for the pair');
  assert.match((await press(d, m.link)).text, /removed/);
  const now = again(s);
  assert.deepEqual([...await confirmed(now, 'push-notification'), ...await confirmed(now, 'totp')], []);
  isDeviceError(await device.update({ name: 'x' }), 404, 'device_account_not_found');
});

for (const [what, remove] of [['as the device', (s, device) => s.want(204, 'DELETE', methodPath(device.method.id))],
  ['as the authenticator', async (s) => s.want(204, 'DELETE', methodPath((await confirmed(s, 'totp'))[0].id))],
  ['by itself', (s, device) => device.remove()]])
  test(`a pair that was removed ${what} comes back whole by the link`, async () => {
    const s = owner();
    const device = await addPush(s, { matching: true });
    await notice(d, 'factor-added', s.mail);
    const [otp] = await confirmed(s, 'totp');
    await remove(s, device);
    const m = await notice(d, 'factor-removed', s.mail);
    assert.match(m.text, /a device for push messages/);
    assert.match((await press(d, m.link)).text, /works again/);
    const now = again(s);
    assert.deepEqual((await confirmed(now, 'push-notification')).map((x) => [x.id, x.name]), [[device.method.id, 'Test phone']]);
    assert.deepEqual((await confirmed(now, 'totp')).map((x) => x.id), [otp.id]);
    const res = await device.update({});
    assert.equal(res.status, 200, res.text);
    assert.deepEqual([res.json.push_credentials, res.json.number_matching], [device.credentials, true]);
    assert.equal((await device.update({}, `Bearer ${device.sign(device.accountClaims())}`)).status, 200);
    await now.want(204, 'DELETE', methodPath(otp.id));
    assert.deepEqual(await confirmed(now, 'push-notification'), [], 'still a pair');
  });

test('what somebody else added and removed again does not come back', async () => {
  const s = owner();
  const device = await addPush(s);
  const added = await notice(d, 'factor-added', s.mail);
  await s.want(204, 'DELETE', methodPath((await confirmed(s, 'totp'))[0].id));
  const removed = await notice(d, 'factor-removed', s.mail);
  await press(d, added.link);
  assert.match((await open(d, removed.link.path)).text, /undone already|undid|already/);
  assert.deepEqual(await confirmed(again(s), 'push-notification'), []);
  isDeviceError(await device.update({}), 404, 'device_account_not_found');
});

test('a change of vault keys goes through devices', async () => {
  const s = owner();
  const device = await addPush(s);
  const pending = await s.enrol({ type: 'push-notification' });
  d.ok('keys', 'rotate', '--vault', '--watch');
  assert.deepEqual((await device.update({})).json.push_credentials, device.credentials);
  const late = new Device(d);
  assert.equal((await late.enrol(pending.barcode_uri)).totp.secret, late.code.secret);
});

test('a backup holds devices', async () => {
  const device = await addPush(owner());
  const file = `${d.dir}/backup-of-devices`;
  d.ok('backup', file);
  assert.ok(device.account);
  assert.deepEqual(d.secrets.leaks(), []);
});

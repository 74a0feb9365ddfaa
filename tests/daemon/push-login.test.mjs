/* SPDX-License-Identifier: Apache-2.0
 * Sign-ins that a device approves: the embedded grants and the hosted page, what is asked, who may answer, and how often. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { assert, test, before, after, Daemon, client, eventually, grant, methodPath, user } from './lib/kit.mjs';
import { Device, addPush, isDeviceError, jwk, rsaKey } from './lib/device.mjs';
import { Browser, CALLBACK, MULTI_FACTOR, PASSWORD, VERIFIER } from './lib/login.mjs';
import { App, GRANT, claims, isIssued, isRefused } from './lib/oauth.mjs';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const COUNT = 70;
const CHROME = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const SCOPE = 'openid offline_access';

let d;
let app;
before(async () => {
  d = await Daemon.start({ config: { enrollment: { push_wait: 0 }, notifications: { changes_per_hour: 0 }, rate_limit: { push_rejections_per_hour: 0 } },
    state: { factors: { 'push-notification': true } } });
  d.apply({
    tenant: { mfa_policy: 'always' },
    clients: [client('spa', { grant_types: ['authorization_code', 'refresh_token', 'password', GRANT.realm, GRANT.otp, GRANT.oob, GRANT.recovery] })],
    client_grants: [grant(d.base, 'spa')],
    users: Array.from({ length: COUNT }, (_, i) => user(`auth0|h${i}`, { email: `h${i}@example.com`, password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  app = new App(d, 'spa');
});
after(() => d.stop());

let next = 0;
const mailOf = (s) => `${s.user.slice(6)}@example.com`;
function someone() {
  assert.ok(next < COUNT, 'the people are used up');
  return d.as(`auth0|h${next++}`, { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });
}
async function withDevice(how) {
  const s = someone();
  return { s, device: await addPush(s, how) };
}
async function mfaToken(s, over = {}) {
  const r = await app.password(mailOf(s), { scope: SCOPE, ...over });
  assert.ok(r.json.mfa_token, r.text);
  return r.json;
}
const pushId = (device) => device.method.id.replace('push-notification', 'push');
const challenge = (mfa_token, over = {}) => app.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', ...over });
const poll = (mfa_token, oob_code, over = {}) => app.send('/oauth/token', { grant_type: GRANT.oob, mfa_token, oob_code, ...over });
/* A sign-in that waits for the device. */
async function asked(s, device) {
  const { mfa_token } = await mfaToken(s);
  const c = await challenge(mfa_token, { authenticator_id: pushId(device) });
  assert.equal(c.status, 200, c.text);
  return { mfa_token, oob_code: c.json.oob_code, challenge: c.json, m: await device.message() };
}
const rows = (s, type) => d.audit(s.user).map((l) => JSON.parse(l)).filter((r) => r.type === type);

test('an embedded sign-in that a device approves', async (t) => {
  const { s, device } = await withDevice();
  const r = await mfaToken(s);
  assert.deepEqual(r.mfa_requirements.challenge.map((c) => c.type).sort(), ['otp', 'push-notification']);
  await t.test('the authenticators', async () => {
    const res = await d.http({ method: 'GET', path: '/mfa/authenticators', headers: { authorization: `Bearer ${r.mfa_token}` } });
    const push = res.json.find((a) => a.type === 'push-notification');
    assert.deepEqual(push, { id: pushId(device), authenticator_type: 'oob', type: 'push-notification', active: true, oob_channel: 'auth0', oob_channels: ['auth0'], name: 'Test phone' });
  });
  const c = await challenge(r.mfa_token, { authenticator_id: pushId(device) });
  assert.deepEqual(Object.keys(c.json), ['challenge_type', 'oob_code'], 'no binding_method');
  const m = await device.message();
  await t.test('what travels', () => {
    assert.deepEqual(Object.keys(m), ['dai', 'txtkn', 'txlnkid', 'c', 'sh', 'd', 's', 'l']);
    for (const [k, v] of Object.entries(m)) assert.equal(typeof v, 'string', k);
    assert.equal(m.dai, device.account.id);
    assert.equal(m.sh, d.base, 'with a port: the whole origin');
    assert.match(m.d, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(Object.keys(JSON.parse(m.s)), ['b', 'os']);
    assert.equal(typeof JSON.parse(m.l).n, 'string');
    for (const v of [m.txtkn, m.c]) assert.match(v, /^[\w-]{43}$/);
    assert.ok(!JSON.stringify(m).includes(mailOf(s)), 'who it is about');
  });
  for (let i = 0; i < 2; i++) isRefused(await poll(r.mfa_token, c.json.oob_code), 400, 'authorization_pending');
  await device.allow(m);
  const tokens = isIssued(await poll(r.mfa_token, c.json.oob_code));
  const id = claims(tokens.id_token);
  assert.deepEqual(id.amr.filter((a) => a !== 'pwd').sort(), claims(tokens.access_token).amr?.filter((a) => a !== 'pwd').sort() ?? id.amr.filter((a) => a !== 'pwd').sort());
  assert.ok(id.amr.includes('mfa'), id.amr.join());
  await t.test('once', async () => {
    isRefused(await poll(r.mfa_token, c.json.oob_code), 403, 'invalid_grant');
    isDeviceError(await device.answer(m, true), 404, 'login_transaction_not_found');
    isDeviceError(await device.answer(m, false), 404, 'login_transaction_not_found');
  });
  await t.test('the trail, and when it was used', async () => {
    assert.equal(rows(s, 'gd_send_pn').length, 1);
    assert.equal(rows(s, 'gd_auth_succeed').length, 1);
    assert.match((await s.list('push-notification'))[0].last_auth_at, /Z$/);
  });
});

test('the browser and its system are named where they are known, and nothing else of what it says', async () => {
  const { s, device } = await withDevice();
  const seen = async (agent) => {
    const { mfa_token } = await mfaToken(s);
    await app.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', authenticator_id: pushId(device) }, { headers: { 'user-agent': agent } });
    return JSON.parse((await device.message()).s);
  };
  assert.deepEqual(await seen(CHROME), { b: { n: 'Chrome', v: '131.0.0' }, os: { n: 'Windows', v: '10.0' } });
  assert.deepEqual(await seen('Approve this, it is your bank'), { b: {}, os: {} });
});

test('a rejected sign-in', async (t) => {
  const { s, device } = await withDevice();
  const { mfa_token, oob_code, m } = await asked(s, device);
  await device.reject(m, 'Not me');
  isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant', /rejected/);
  isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant');
  await t.test('an approval comes too late', async () => isDeviceError(await device.answer(m, true), 404, 'login_transaction_not_found'));
  await t.test('the trail has the reason', () => {
    const [row] = rows(s, 'gd_auth_rejected');
    assert.ok(JSON.stringify(row).includes(device.method.id), JSON.stringify(row));
    assert.match(JSON.stringify(row), /Not me/);
  });
  await t.test('the mfa_token can be completed another way', async () => {
    d.advance(30 * SECOND);
    isIssued(await app.send('/oauth/token', { grant_type: GRANT.otp, mfa_token, otp: s.code(device.code.secret) }));
  });
});

test('nobody answers', async () => {
  const { s, device } = await withDevice();
  const { mfa_token, oob_code, m } = await asked(s, device);
  d.advance(301 * SECOND);
  isDeviceError(await device.answer(m, true), 404, 'login_transaction_not_found');
  isRefused(await poll(mfa_token, oob_code), 401, 'expired_token');
});

test('a newer question takes the place of the one before', async () => {
  const { s, device } = await withDevice();
  const first = await asked(s, device);
  const second = await asked(s, device);
  isDeviceError(await device.answer(first.m, true), 404, 'login_transaction_not_found');
  isRefused(await poll(first.mfa_token, first.oob_code), 403, 'invalid_grant');
  await device.allow(second.m);
  isIssued(await poll(second.mfa_token, second.oob_code));
});

test('answers that are none', async (t) => {
  const [{ s, device }, { s: o, device: other }] = [await withDevice(), await withDevice({ key: rsaKey('two') })];
  const { mfa_token, oob_code, m } = await asked(s, device);
  const theirs = await asked(o, other);
  const bad = (what, res) => t.test(what, async () => isDeviceError(await res(), 401, 'invalid_token'));
  const claim = (over) => () => device.answer(m, true, over);
  const url = `${d.base}/appliance-mfa/api/resolve-transaction`;
  await bad('the key of another device', () => device.answer(m, true, {}, { key: other.key }));
  await bad('another device about this sign-in', () => other.answer(m, true));
  await bad('this device about another sign-in', () => device.answer(theirs.m, true));
  await bad('the answer to another sign-in', () => device.answer(m, true, {}, { jwt: other.sign(other.answerClaims(theirs.m, true)) }));
  await bad('the challenge of another sign-in', claim({ sub: theirs.m.c }));
  await bad('the token as the challenge', claim({ sub: m.txtkn }));
  await bad('no challenge', claim({ sub: '' }));
  await bad('another identifier', claim({ iss: other.identifier }));
  for (const [what, aud] of [['none', undefined], ['of the device account', `${d.base}/appliance-mfa/api/device-accounts`], ['of another host', 'https://other.example/appliance-mfa/api/resolve-transaction'],
    ['without the path', d.base], ['with a slash', `${url}/`], ['two of them', [url, 'https://other.example']]])
    await bad(`an audience ${what}`, claim({ aud }));
  await bad('another method', claim({ auth0_guardian_method: 'sms' }));
  await bad('no method', claim({ auth0_guardian_method: undefined }));
  await bad('neither yes nor no', claim({ auth0_guardian_accepted: undefined }));
  await bad('yes as text', claim({ auth0_guardian_accepted: 'true' }));
  await bad('yes as a number', claim({ auth0_guardian_accepted: 1 }));
  await bad('a reason with a line break', claim({ auth0_guardian_reason: 'a\nb' }));
  await bad('a long reason', claim({ auth0_guardian_reason: 'x'.repeat(256) }));
  await bad('expired', claim({ iat: device.now() - 200, exp: device.now() - 61 }));
  await bad('from the future', claim({ iat: device.now() + 120, exp: device.now() + 150 }));
  await bad('for too long', claim({ exp: device.now() + 301 }));
  await bad('without exp', claim({ exp: undefined }));
  await bad('without iat', claim({ iat: undefined }));
  for (const alg of ['none', 'HS256', 'PS256', 'RS384', 'ES256'])
    await bad(`a header that says ${alg}`, () => device.answer(m, true, {}, { header: { alg, typ: 'JWT' } }));
  await bad('an own key in the header', () => device.answer(m, true, {}, { key: other.key, header: { alg: 'RS256', typ: 'JWT', jwk: jwk(other.key.publicKey) } }));
  await bad('a kid', () => device.answer(m, true, {}, { header: { alg: 'RS256', typ: 'JWT', kid: 'mine' } }));
  await bad('no JWT', () => device.answer(m, true, {}, { jwt: 'a.b.c' }));
  await bad('HS256 with the public key', () => {
    const input = `${Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')}.${Buffer.from(JSON.stringify(device.answerClaims(m, true))).toString('base64url')}`;
    return device.answer(m, true, {}, { jwt: `${input}.${crypto.createHmac('sha256', device.key.publicKey.export({ type: 'spki', format: 'pem' })).update(input).digest('base64url')}` });
  });
  await t.test('tokens', async () => {
    for (const token of ['', 'x', 'x'.repeat(43), m.c, device.account.token, oob_code, mfa_token])
      isDeviceError(await device.answer(m, true, {}, { token }), token === '' ? 401 : 404, token === '' ? 'invalid_token' : 'login_transaction_not_found');
  });
  await t.test('bodies', async () => {
    const authorization = `Bearer ${m.txtkn}`;
    for (const body of [{}, { challenge_response: 5 }, { challenge_response: '' }, []])
      isDeviceError(await device.call('POST', 'resolve-transaction', { authorization, body }), 400, 'invalid_request');
  });
  isRefused(await poll(mfa_token, oob_code), 400, 'authorization_pending');
  await device.allow(m);
  isIssued(await poll(mfa_token, oob_code));
});

test('an oob_code is bound to its sign-in, its user and its device', async (t) => {
  const { s, device } = await withDevice();
  const a = await asked(s, device);
  await device.allow(a.m);
  await t.test('another sign-in of the same user', async () => {
    const b = await mfaToken(s);
    isRefused(await poll(b.mfa_token, a.oob_code), 403, 'invalid_grant');
  });
  await t.test('the sign-in of another user', async () => {
    const other = await withDevice();
    const b = await mfaToken(other.s);
    isRefused(await poll(b.mfa_token, a.oob_code), 403, 'invalid_grant');
  });
  await t.test('with a binding_code it is the same', async () => isIssued(await poll(a.mfa_token, a.oob_code, { binding_code: a.m.c })));
});

test('what travels does not stand in for the answer', async () => {
  const { s, device } = await withDevice();
  const { mfa_token, oob_code, m } = await asked(s, device);
  for (const binding_code of [m.c, m.txtkn, m.txlnkid, device.account.token])
    isRefused(await poll(mfa_token, oob_code, { binding_code }), 400, 'authorization_pending');
});

test('two answers at once: one counts', async () => {
  const { s, device } = await withDevice();
  for (let i = 0; i < 6; i++) {
    const { mfa_token, oob_code, m } = await asked(s, device);
    const answers = await Promise.all([device.answer(m, true), device.answer(m, false), device.answer(m, true), device.answer(m, false)]);
    assert.deepEqual(answers.map((r) => r.status).sort(), [204, 404, 404, 404]);
    const won = answers.findIndex((r) => r.status === 204);
    const res = await poll(mfa_token, oob_code);
    assert.equal(res.status, won % 2 === 0 ? 200 : 403, res.text);
    d.advance(MINUTE);
  }
});

test('many polls at once after the approval: one gets the tokens', async () => {
  const { s, device } = await withDevice();
  const { mfa_token, oob_code, m } = await asked(s, device);
  await device.allow(m);
  const answers = await Promise.all(Array.from({ length: 6 }, () => poll(mfa_token, oob_code)));
  assert.deepEqual(answers.map((r) => r.status).sort(), [200, 403, 403, 403, 403, 403]);
});

test('the device is gone, blocked or switched off between question and answer', async (t) => {
  await t.test('deleted', async () => {
    const { s, device } = await withDevice();
    const { mfa_token, oob_code, m } = await asked(s, device);
    await s.want(204, 'DELETE', methodPath(device.method.id));
    isDeviceError(await device.answer(m, true), 404, 'login_transaction_not_found');
    isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant');
  });
  await t.test('deleted after it approved', async () => {
    const { s, device } = await withDevice();
    const { mfa_token, oob_code, m } = await asked(s, device);
    await device.allow(m);
    await s.want(204, 'DELETE', methodPath(device.method.id));
    isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant');
  });
  await t.test('the user blocked', async () => {
    const { s, device } = await withDevice();
    const { m } = await asked(s, device);
    d.apply({ users: [{ user_id: s.user, blocked: true }] });
    isDeviceError(await device.answer(m, true), 403, 'forbidden');
  });
  await t.test('the factor switched off', async () => {
    const { s, device } = await withDevice();
    const { mfa_token, oob_code, m } = await asked(s, device);
    d.apply({ factors: { 'push-notification': false } });
    isDeviceError(await device.answer(m, true), 403, 'forbidden');
    isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant');
    d.apply({ factors: { 'push-notification': true } });
  });
  await t.test('without credentials it is not asked', async () => {
    const s = someone();
    const e = await s.enrol({ type: 'push-notification' });
    const device = new Device(d);
    device.scan(e.barcode_uri);
    await device.tryEnrol({ push_credentials: null });
    device.method = await s.verify(e.id, { auth_session: e.auth_session });
    const { mfa_token } = await mfaToken(s);
    isRefused(await challenge(mfa_token, { authenticator_id: pushId(device) }), 403, 'invalid_grant');
    assert.equal((await device.update({ push_credentials: device.credentials })).status, 200);
    assert.equal((await challenge(mfa_token, { authenticator_id: pushId(device) })).status, 200);
  });
});

/* --- enrolling while signing in --- */

test('the first factor through /mfa/associate', async (t) => {
  const s = someone();
  const { mfa_token } = await mfaToken(s);
  const res = await app.send('/mfa/associate', { authenticator_types: ['oob'], oob_channels: ['auth0'], client_id: undefined }, { json: true, headers: { authorization: `Bearer ${mfa_token}` } });
  assert.equal(res.status, 200, res.text);
  const e = res.json;
  assert.deepEqual([e.authenticator_type, e.oob_channel, e.binding_method], ['oob', 'auth0', undefined]);
  assert.match(e.id, /^push\|dev_/);
  const device = new Device(d);
  device.scan(e.barcode_uri);
  isRefused(await poll(mfa_token, e.oob_code), 400, 'authorization_pending');
  assert.equal((await device.tryEnrol()).status, 200);
  await t.test('the device alone makes no factor of itself', async () => {
    assert.deepEqual((await s.list()).filter((m) => m.confirmed && m.type !== 'password'), []);
    const { json } = await app.password(mailOf(s), { scope: SCOPE });
    assert.ok(json.mfa_requirements.enroll, JSON.stringify(json));
  });
  const tokens = isIssued(await poll(mfa_token, e.oob_code));
  assert.ok(claims(tokens.id_token).amr.includes('mfa'));
  assert.deepEqual((await s.list()).filter((m) => m.confirmed).map((m) => m.type).filter((x) => x !== 'password').sort(), ['push-notification', 'recovery-code', 'totp']);
  assert.equal((await device.update({})).json.name, 'Test phone');
  const again = await asked(s, Object.assign(device, { method: { id: e.id.replace('push|', 'push-notification|') } }));
  await device.allow(again.m);
  isIssued(await poll(again.mfa_token, again.oob_code));
});

test('a password alone adds no device beside a factor that came in between', async () => {
  const s = someone();
  const { mfa_token } = await mfaToken(s);
  const e = (await app.send('/mfa/associate', { authenticator_types: ['oob'], oob_channels: ['auth0'], client_id: undefined }, { json: true, headers: { authorization: `Bearer ${mfa_token}` } })).json;
  const thief = new Device(d);
  await thief.enrol(e.barcode_uri);
  await s.addTotp();
  isRefused(await poll(mfa_token, e.oob_code), 400, 'invalid_request', 'User is already enrolled');
  assert.deepEqual((await s.list('push-notification')).filter((m) => m.confirmed), []);
  d.advance(301 * SECOND);
  isDeviceError(await thief.update({}), 404, 'device_account_not_found');
});

/* --- the hosted page --- */

const wait = async (b, page) => {
  const [, path] = page.html.match(/data-poll="([^"]+)"/) ?? [];
  assert.ok(path, 'the page does not wait');
  const res = await b.raw('GET', path);
  assert.equal(res.status, 200, res.text);
  return res.json.waiting;
};

test('the hosted page asks the device and goes on', async (t) => {
  const { s, device } = await withDevice();
  const b = new Browser(d);
  let page = await b.login(await b.authorize(), mailOf(s));
  const m = await device.message();
  assert.match(page.text, /We sent a request to Test phone/);
  assert.match(page.headers['content-security-policy'], /connect-src 'self'/);
  assert.match(page.html, /<noscript><meta http-equiv="refresh" content="5"><\/noscript>/);
  assert.equal(await wait(b, page), true);
  page = await b.go('GET', page.url);
  assert.match(page.text, /We sent a request/, 'loaded anew it waits on');
  assert.equal(d.spool.all().filter((x) => x.to === device.to).length, 1, 'and asks nobody again');
  await t.test('another browser learns nothing', async () => {
    const res = await new Browser(d).raw('GET', page.html.match(/data-poll="([^"]+)"/)[1]);
    assert.deepEqual(res.json, { waiting: false });
  });
  await device.allow(m);
  assert.equal(await wait(b, page), false);
  const out = await b.go('GET', page.url);
  assert.ok(out.away, out.title);
  const tokens = isIssued(await app.send('/oauth/token', { grant_type: 'authorization_code', code: out.params.code, redirect_uri: CALLBACK, code_verifier: VERIFIER }));
  assert.ok(claims(tokens.id_token).amr.includes('mfa'));
});

test('the hosted page: rejected, sent again, another way', async (t) => {
  const { s, device } = await withDevice();
  const b = new Browser(d);
  let page = await b.login(await b.authorize(), mailOf(s));
  const first = await device.message();
  await device.reject(first);
  page = await b.go('GET', page.url);
  assert.match(page.alert, /rejected on your device/);
  assert.doesNotMatch(page.html, /data-poll/);
  await t.test('sent again', async () => {
    page = await b.submit(page, page.form('choose', (f) => f.buttons[0] === 'Send a request'));
    const m = await device.message();
    assert.notEqual(m.txtkn, first.txtkn);
    isDeviceError(await device.answer(first, true), 404, 'login_transaction_not_found');
  });
  await t.test('another way', async () => {
    page = await b.submit(page, page.form('choose', (f) => /Authenticator app/.test(f.buttons[0])));
    d.advance(30 * SECOND);
    const out = await b.submit(page, 'code', { code: s.code(device.code.secret) });
    assert.ok(out.away, out.alert);
  });
});

test('the hosted page: nobody answers, or a newer sign-in takes the place', async () => {
  const { s, device } = await withDevice();
  const b = new Browser(d);
  let page = await b.login(await b.authorize(), mailOf(s));
  await device.message();
  d.advance(301 * SECOND);
  page = await b.go('GET', page.url);
  assert.match(page.alert, /Nobody answered/);
  page = await b.submit(page, page.form('choose', (f) => f.buttons[0] === 'Send a request'));
  await device.message();
  const later = await asked(s, device);
  assert.equal(await wait(b, page), false);
  page = await b.go('GET', page.url);
  assert.match(page.alert, /a newer sign-in took its place/);
  await device.allow(later.m);
  isIssued(await poll(later.mfa_token, later.oob_code));
});

test('a link sends no message', async () => {
  const { s, device } = await withDevice();
  const b = new Browser(d);
  let page = await b.login(await b.authorize(), mailOf(s));
  await device.allow(await device.message());
  assert.ok((await b.go('GET', page.url)).away);
  const n = () => d.spool.all().filter((x) => x.to === device.to).length;
  assert.equal(n(), 1);
  d.advance(31 * MINUTE);
  page = await b.authorize({ acr_values: MULTI_FACTOR, max_age: '0' });
  if (!page.away && /Confirm/.test(page.title)) assert.match(page.text, /We can send a request/);
  assert.equal(n(), 1);
});

test('a first device on the hosted page', async (t) => {
  const s = someone();
  const b = new Browser(d);
  let page = await b.login(await b.authorize(), mailOf(s));
  page = await b.submit(page, page.form('enrol', (f) => f.fields.method.value === 'push-notification'));
  assert.match(page.title, /Set up your phone/);
  const uri = page.html.match(/<a href="(otpauth:[^"]+)"/)[1].replaceAll('&amp;', '&');
  assert.equal(await wait(b, page), true);
  page = await b.go('GET', page.url);
  assert.match(page.title, /Set up your phone/);
  const device = new Device(d);
  await device.enrol(uri);
  assert.equal(await wait(b, page), false);
  page = await b.go('GET', page.url);
  assert.match(page.title, /recovery code/);
  d.secrets.add('recovery_code', page.html.match(/id="recovery-code">([^<]+)</)[1]);
  const out = await b.submit(page, 'continue');
  assert.ok(out.away, out.title);
  assert.deepEqual((await s.list()).filter((m) => m.confirmed && m.type !== 'password').map((m) => m.type).sort(), ['push-notification', 'recovery-code', 'totp']);
  await t.test('that is given up', async () => {
    const p = someone();
    const c = new Browser(d);
    let other = await c.login(await c.authorize(), mailOf(p));
    other = await c.submit(other, other.form('enrol', (f) => f.fields.method.value === 'push-notification'));
    d.advance(301 * SECOND);
    assert.equal(await wait(c, other), false);
    other = await c.go('GET', other.url);
    assert.match(other.alert, /did not work/);
    assert.ok(other.has('enrol'));
  });
});

/* --- number matching --- */

test('a device that can is sent for the number', async (t) => {
  const { s, device } = await withDevice({ matching: true });
  const b = new Browser(d);
  await t.test('on the hosted page', async () => {
    const page = await b.login(await b.authorize(), mailOf(s));
    const m = await device.message();
    const number = page.html.match(/id="number">(\d\d)</)[1];
    assert.equal(m.num, '2');
    assert.ok(!Object.values(m).includes(number), 'it does not travel');
    await device.allow(m, { auth0_guardian_number: number });
    assert.ok((await b.go('GET', page.url)).away);
  });
  const wrong = (n) => String((Number(n) + 1) % 100).padStart(2, '0');
  for (const [what, over] of [['another number', (n) => ({ auth0_guardian_number: wrong(n) })], ['no number', () => ({})], ['an empty one', () => ({ auth0_guardian_number: '' })]])
    await t.test(`${what} ends it`, async () => {
      const { mfa_token, oob_code, m, challenge: c } = await asked(s, device);
      assert.match(c.binding_message, /^\d\d$/);
      isDeviceError(await device.answer(m, true, over(c.binding_message)), 400, 'invalid_otp');
      isDeviceError(await device.answer(m, true, { auth0_guardian_number: c.binding_message }), 404, 'login_transaction_not_found');
      isRefused(await poll(mfa_token, oob_code), 403, 'invalid_grant', /rejected/);
      d.advance(MINUTE);
    });
  await t.test('rejecting needs none', async () => device.reject((await asked(s, device)).m));
});

test('policy.push_number_matching', async (t) => {
  const set = async (value) => {
    const n = d.logLines().filter((l) => l.event === 'reloaded' || l.event === 'config.reloaded').length;
    d.configure({ enrollment: { push_wait: 0 }, notifications: { changes_per_hour: 0 }, rate_limit: { push_rejections_per_hour: 0 }, policy: { push_number_matching: value } });
    d.process.kill('SIGHUP');
    await eventually(() => d.logLines().filter((l) => /reload/.test(l.event ?? '')).length > n, 'the reload');
  };
  const able = await withDevice({ matching: true });
  const plain = await withDevice();
  await t.test('off: nobody is', async () => {
    await set('off');
    const { m, challenge: c } = await asked(able.s, able.device);
    assert.deepEqual([m.num, c.binding_message], [undefined, undefined]);
    await able.device.allow(m);
  });
  await t.test('required: devices that cannot are neither asked nor enrolled', async () => {
    await set('required');
    const { mfa_token } = await mfaToken(plain.s);
    isRefused(await challenge(mfa_token, { authenticator_id: pushId(plain.device) }), 403, 'invalid_grant');
    const s = someone();
    const device = new Device(d);
    device.scan((await s.enrol({ type: 'push-notification' })).barcode_uri);
    isDeviceError(await device.tryEnrol(), 400, 'number_matching_required');
    device.matching = true;
    assert.equal((await device.tryEnrol()).status, 200);
    assert.equal((await plain.device.update({ number_matching: true })).status, 200, 'an app that learned it says so');
    assert.equal((await challenge(mfa_token, { authenticator_id: pushId(plain.device) })).status, 200);
  });
  await set('supported');
});

test('a device whose push service nothing leads to is not asked', async (t) => {
  const l = await Daemon.start({ config: { enrollment: { push_wait: 0 } }, state: { factors: { 'push-notification': true } } });
  t.after(() => l.stop());
  l.apply({ tenant: { mfa_policy: 'always' }, clients: [client('spa', { grant_types: ['password', GRANT.oob] })], client_grants: [grant(l.base, 'spa')],
    users: [user('auth0|x', { email: 'x@example.com', password: PASSWORD })] });
  const one = new App(l, 'spa');
  const s = l.as('auth0|x', { amr: ['pwd', 'mfa'], auth_time: Math.floor(l.now() / 1000) });
  const devices = [await addPush(s), await addPush(s, { service: 'APNS', token: 'ab'.repeat(32) })];
  const key = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  fs.writeFileSync(`${l.dir}/apns.p8`, key, { mode: 0o600 });
  l.configure({ enrollment: { push_wait: 0 }, delivery: { push: '', apns_key: `file:${l.dir}/apns.p8`, apns_key_id: 'ABCDEFGHIJ', apns_team_id: 'KLMNOPQRST', apns_topic: 'com.example.app' } });
  l.process.kill('SIGHUP');
  await eventually(() => l.logLines().some((x) => x.event === 'reloaded'), 'the reload');
  const { mfa_token } = (await one.password('x@example.com', { scope: 'openid' })).json;
  const ask = (device) => one.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', authenticator_id: pushId(device) });
  isRefused(await ask(devices[0]), 403, 'invalid_grant');
  assert.equal((await ask(devices[1])).status, 200);
});

/* --- fatigue --- */

test('how often somebody is asked', async (t) => {
  const l = await Daemon.start({ config: { enrollment: { push_wait: 0 }, rate_limit: { enabled: false, push_per_minute: 3, push_rejections_per_hour: 2 } }, state: { factors: { 'push-notification': true } } });
  t.after(() => l.stop());
  l.apply({ tenant: { mfa_policy: 'always' }, clients: [client('spa', { grant_types: ['password', 'authorization_code', GRANT.oob] })], client_grants: [grant(l.base, 'spa')],
    users: ['x', 'y'].map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD })) });
  const one = new App(l, 'spa');
  const s = l.as('auth0|x', { amr: ['pwd', 'mfa'], auth_time: Math.floor(l.now() / 1000) });
  const device = await addPush(s);
  const ask = async () => {
    const { mfa_token } = (await one.password('x@example.com', { scope: 'openid' })).json;
    return one.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', authenticator_id: pushId(device) });
  };
  await t.test('messages a minute', async () => {
    for (let i = 0; i < 3; i++) assert.equal((await ask()).status, 200);
    const res = await ask();
    isRefused(res, 429, 'too_many_attempts');
    assert.ok(Number(res.headers['retry-after']) <= 20);
  });
  await t.test('rejections hold up what comes after', async () => {
    for (let i = 0; i < 2; i++) {
      l.advance(MINUTE);
      const before = l.spool.all().filter((x) => x.channel === 'push').length;
      assert.equal((await ask()).status, 200);
      const m = await eventually(() => l.spool.all().filter((x) => x.channel === 'push')[before], 'the message');
      for (const k of ['txtkn', 'c']) l.secrets.add(k, m.data[k]);
      assert.equal((await device.answer(m.data, false)).status, 204);
    }
    l.advance(MINUTE);
    const res = await ask();
    isRefused(res, 429, 'too_many_attempts');
    assert.ok(Number(res.headers['retry-after']) > 60);
    const b = new Browser(l);
    const page = await b.login(await b.authorize(), 'x@example.com');
    assert.match(page.alert, /Too many attempts/);
    l.advance(HOUR);
    assert.equal((await ask()).status, 200);
  });
});

test('who does not answer is not asked for ever', async () => {
  const l = await Daemon.start({ config: { enrollment: { push_wait: 0 }, rate_limit: { enabled: false, push_per_minute: 0, push_rejections_per_hour: 0 } }, state: { factors: { 'push-notification': true } } });
  try {
    l.apply({ tenant: { mfa_policy: 'always' }, clients: [client('spa', { grant_types: ['password', GRANT.oob] })], client_grants: [grant(l.base, 'spa')],
      users: [user('auth0|x', { email: 'x@example.com', password: PASSWORD })] });
    const one = new App(l, 'spa');
    const device = await addPush(l.as('auth0|x', { amr: ['pwd', 'mfa'], auth_time: Math.floor(l.now() / 1000) }));
    const ask = async () => {
      const { mfa_token } = (await one.password('x@example.com', { scope: 'openid' })).json;
      return one.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', authenticator_id: pushId(device) });
    };
    for (let i = 0; i < 11; i++) assert.equal((await ask()).status, 200, `question ${i}`);
    isRefused(await ask(), 429, 'too_many_attempts');
    l.advance(HOUR / 10);
    assert.equal((await ask()).status, 200);
  } finally { await l.stop(); }
});

test('polling too quickly', async (t) => {
  const l = await Daemon.start({ config: { enrollment: { push_wait: 0 }, rate_limit: { enabled: true } }, state: { factors: { 'push-notification': true } } });
  t.after(() => l.stop());
  l.apply({ tenant: { mfa_policy: 'always' }, clients: [client('spa', { grant_types: ['password', GRANT.oob] })], client_grants: [grant(l.base, 'spa')],
    users: [user('auth0|x', { email: 'x@example.com', password: PASSWORD })] });
  const one = new App(l, 'spa');
  const device = await addPush(l.as('auth0|x', { amr: ['pwd', 'mfa'], auth_time: Math.floor(l.now() / 1000) }));
  const { mfa_token } = (await one.password('x@example.com', { scope: 'openid' })).json;
  const { oob_code } = (await one.send('/mfa/challenge', { mfa_token, challenge_type: 'oob', authenticator_id: pushId(device) })).json;
  const ask = () => one.send('/oauth/token', { grant_type: GRANT.oob, mfa_token, oob_code });
  for (let i = 0; i < 3; i++) isRefused(await ask(), 400, 'authorization_pending');
  const res = await ask();
  isRefused(res, 400, 'slow_down');
  assert.ok(Number(res.headers['retry-after']) >= 1);
  await device.allow(await device.message());
  isIssued(await ask());
});

test('what is counted', () => {
  const text = d.ok('metrics');
  for (const outcome of ['sent', 'approved', 'rejected']) assert.match(text, new RegExp(`^myaccountd_push_challenges_total\\{outcome="${outcome}"\\} [1-9]`, 'm'));
  assert.match(text, /^myaccountd_logins_total\{kind="push-notification",outcome="succeeded"\} [1-9]/m);
  assert.match(text, /^myaccountd_logins_total\{kind="push-notification",outcome="failed"\} [1-9]/m);
  assert.match(text, /^myaccountd_enrolments_total\{kind="push-notification",outcome="confirmed"\} [1-9]/m);
  assert.match(text, /^myaccountd_parked_requests 0$/m);
});

test('methods are no way around: a pending device signs nobody in', async () => {
  const s = someone();
  await s.addTotp();
  const e = await s.enrol({ type: 'push-notification' });
  const { mfa_token } = await mfaToken(s);
  isRefused(await challenge(mfa_token, { authenticator_id: e.id }), 404, 'authenticator_not_found');
});

/* SPDX-License-Identifier: Apache-2.0
 * GET and PATCH /profile. */
import fs from 'node:fs';
import { assert, test, before, after, confText, eventually, isProblem, pointers, user } from './lib/kit.mjs';
import { byPage, everyOperation, id, mail, start } from './lib/account.mjs';
import { Browser } from './lib/login.mjs';
import { App, claims, isIssued } from './lib/oauth.mjs';

const PROFILE = '/me/v1/profile';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay'];
const FIELDS = ['name', 'given_name', 'family_name', 'nickname', 'picture', 'user_metadata', 'email', 'email_verified', 'phone_number'];
const TEXTS = ['name', 'given_name', 'family_name', 'nickname'];
let d;
before(async () => {
  d = await start(names);
  d.apply({ users: [user(id('ann'), { phone_number: '+15551230009', email: mail('ann'), email_verified: true, name: 'Ann' })] });
});
after(() => d.stop());

const self = (n) => d.as(n.includes('|') ? n : id(n), { scope: 'read:me:profile update:me:profile' });
const read = async (s) => (await s.want(200, 'GET', PROFILE)).json;
const change = async (s, body) => (await s.want(200, 'PATCH', PROFILE, body)).json;
/* Refused at these places, and nothing is changed. */
async function refused(s, body, at, detail) {
  const old = await read(s);
  const res = await s.patch(PROFILE, body);
  isProblem(res, 400, 'A0E-400-0003');
  assert.deepEqual(pointers(res).sort(), [at].flat().sort(), res.text);
  if (detail) assert.match(res.json.validation_errors[0].detail, detail);
  assert.deepEqual(await read(s), old);
}

test('reading', async (t) => {
  await t.test('what there is', async () => {
    const p = await read(self('ann'));
    assert.deepEqual([p.user_id, p.name, p.email, p.email_verified, p.phone_number, p.user_metadata], [id('ann'), 'Ann', mail('ann'), true, '+15551230009', {}]);
    for (const k of ['given_name', 'family_name', 'nickname', 'picture']) assert.equal(k in p, false, k);
    assert.deepEqual(Object.keys(p.policy), FIELDS);
    for (const k of FIELDS.slice(0, 6)) assert.deepEqual(p.policy[k], { access: 'read_write' }, k);
    for (const k of FIELDS.slice(6)) assert.deepEqual([p.policy[k].access, p.policy[k].reason], ['read_only', 'verification'], k);
  });
  await t.test('somebody without an address', async () => {
    d.apply({ users: [{ user_id: 'auth0|bare' }] });
    const p = await read(self('auth0|bare'));
    for (const k of ['name', 'email', 'email_verified', 'phone_number']) assert.equal(k in p, false, k);
  });
});

test('changing', async (t) => {
  await t.test('every text, and taking it away', async () => {
    const s = self('ben');
    const all = { name: 'Ben Bolt', given_name: 'Ben', family_name: 'Bolt', nickname: 'Benny “B” 🦊', picture: 'https://pictures.example/ben.png?s=80' };
    const got = await change(s, all);
    for (const [k, v] of Object.entries(all)) assert.equal(got[k], v, k);
    assert.deepEqual(await read(s), got);
    assert.deepEqual((await change(s, { nickname: null })).nickname, undefined);
    assert.equal((await read(s)).name, 'Ben Bolt');
    assert.ok(Date.parse(got.updated_at) >= Date.parse(got.created_at));
  });
  await t.test('nothing', async () => {
    const old = await read(self('ben'));
    d.advance(1000);
    assert.deepEqual(await change(self('ben'), {}), old);
  });
  await t.test('the longest', async () => {
    for (const k of TEXTS) assert.equal((await change(self('cid'), { [k]: 'ö'.repeat(300) }))[k].length, 300);
    await change(self('cid'), { picture: `https://p.example/${'a'.repeat(2030)}` });
  });
  await t.test('what is refused', async () => {
    const s = self('cid');
    for (const k of TEXTS) {
      for (const bad of ['', 'x'.repeat(301), 5, true, {}, [], 'a\u0001b', 'a\nb', 'a\u007f', '\u0085']) await refused(s, { [k]: bad }, `/${k}`);
    }
    for (const bad of ['', 'http://p.example/a.png', 'javascript:alert(1)', 'data:image/png;base64,AA', 'https://', 'https:///a', 'https://p.example/a b', 'https://p.example/"onload=', 'https://p.example/<a>', 'https://p.example/ü', `https://p.example/${'a'.repeat(2040)}`, 5, {}])
      await refused(s, { picture: bad }, '/picture');
    for (const bad of ['x', 5, [], true]) await refused(s, { user_metadata: bad }, '/user_metadata');
    await refused(s, { app_metadata: {} }, '/app_metadata');
    await refused(s, { blocked: false, roles: [] }, ['/blocked', '/roles']);
    await refused(s, { name: '', picture: 'x' }, ['/name', '/picture']);
  });
  await t.test('bodies that are none', async () => {
    const s = self('cid');
    for (const [raw, status] of [['', 400], ['{', 400], ['[]', 400], ['"x"', 400], ['null', 400], ['{"name":"a","name":"b"}', 400]])
      assert.equal((await s.request('PATCH', PROFILE, raw, { raw: true })).status, status, raw);
    assert.equal((await s.request('PATCH', PROFILE, '{}', { raw: true, headers: { 'content-type': 'text/plain' } })).status, 415);
    assert.equal((await s.request('PATCH', PROFILE, `{"name":"${'x'.repeat(70000)}"}`, { raw: true })).status, 413);
  });
  await t.test('one user alone', async () => {
    const old = await read(self('dee'));
    await change(self('cid'), { nickname: 'Cid' });
    assert.deepEqual(await read(self('dee')), old);
  });
});

test('user_metadata is merged (RFC 7396)', async (t) => {
  const s = self('eve');
  const meta = async (v) => (await change(s, { user_metadata: v })).user_metadata;
  await t.test('added to', async () => {
    assert.deepEqual(await meta({ theme: 'dark', langs: ['de', 'en'], deep: { a: 1, b: { c: null } } }), { theme: 'dark', langs: ['de', 'en'], deep: { a: 1, b: {} } });
    assert.deepEqual(await meta({ size: 1.5 }), { theme: 'dark', langs: ['de', 'en'], deep: { a: 1, b: {} }, size: 1.5 });
  });
  await t.test('replaced and removed', async () => {
    assert.deepEqual(await meta({ langs: ['fr'], theme: null, deep: { a: null, d: 2 } }), { langs: ['fr'], deep: { b: {}, d: 2 }, size: 1.5 });
    assert.deepEqual(await meta({ deep: 'flat' }), { langs: ['fr'], deep: 'flat', size: 1.5 });
    assert.deepEqual(await meta({ deep: { x: null } }), { langs: ['fr'], deep: {}, size: 1.5 });
    assert.deepEqual(await meta(null), {});
  });
  await t.test('up to 16384 bytes as a whole', async () => {
    const room = 16384 - '{"a":""}'.length;
    assert.equal((await meta({ a: 'x'.repeat(room) })).a.length, room);
    await refused(s, { user_metadata: { a: 'x'.repeat(room + 1) } }, '/user_metadata', /16384/);
    await refused(s, { user_metadata: { b: 1 } }, '/user_metadata', /16384/);
    assert.deepEqual(await meta({ a: null, b: 1 }), { b: 1 });
  });
  await t.test('as deep as JSON goes here', async () => {
    let deep = 1;
    for (let i = 0; i < 13; i++) deep = { d: deep };
    await meta({ deep });
    for (let i = 0; i < 5; i++) deep = { d: deep };
    assert.equal((await s.patch(PROFILE, { user_metadata: { deep } })).status, 400);
  });
  await t.test('odd names', async () => assert.deepEqual(await meta({ deep: null, '': 1, 'a/b': 2, '__proto__x': 3, 'ü': 'ö' }), { b: 1, '': 1, 'a/b': 2, '__proto__x': 3, 'ü': 'ö' }));
  await t.test('many at once', async () => {
    await meta(null);
    await Promise.all(Array.from({ length: 20 }, (_, i) => meta({ [`k${i}`]: i })));
    assert.equal(Object.keys((await read(s)).user_metadata).length, 20);
  });
});

test('read-only fields', async (t) => {
  await t.test('addresses', async () => {
    const s = self('ann');
    await refused(s, { email: 'ann@evil.example' }, '/email', /must NOT be changed/);
    await refused(s, { email: mail('ann') }, '/email');
    await refused(s, { email_verified: true, phone_number: null, name: 'Ann X' }, ['/email_verified', '/phone_number']);
  });
  await t.test('of a user whom a provider signs in', async () => {
    const s = self('google-oauth2|carol');
    const p = await read(s);
    for (const k of FIELDS.slice(0, 5)) assert.deepEqual([p.policy[k].access, p.policy[k].reason], ['read_only', 'identity_provider'], k);
    assert.equal(p.policy.user_metadata.access, 'read_write');
    await refused(s, { name: 'Karla' }, '/name', /identity provider/);
    assert.deepEqual((await change(s, { user_metadata: { a: 1 } })).user_metadata, { a: 1 });
  });
  await t.test('by configuration, without a restart', async () => {
    fs.writeFileSync(d.files.conf, confText({ ...d.config, profile: { picture: 'read_only', user_metadata: 'read_only' } }), { mode: 0o600 });
    d.process.kill('SIGHUP');
    const s = self('fay');
    await eventually(async () => (await read(s)).policy.picture.access === 'read_only', 'reload');
    assert.equal((await read(s)).policy.picture.reason, 'administrator');
    await refused(s, { picture: 'https://p.example/a.png', user_metadata: {} }, ['/picture', '/user_metadata'], /administrator/);
    await change(s, { name: 'Fay' });
    fs.writeFileSync(d.files.conf, confText(d.config), { mode: 0o600 });
    d.process.kill('SIGHUP');
    await eventually(async () => (await read(s)).policy.picture.access === 'read_write', 'reload');
  });
});

test('the state document does not undo what users say of themselves', async () => {
  await change(self('fay'), { given_name: 'Fay', user_metadata: { kept: true } });
  d.apply({ users: [user(id('fay'), { email: mail('fay'), name: 'From the document' })] });
  const p = await read(self('fay'));
  assert.deepEqual([p.name, p.given_name, p.user_metadata], ['From the document', 'Fay', { kept: true }]);
});

test('tokens and userinfo tell the profile', async () => {
  await change(self('dee'), { name: 'Dee Dee', given_name: 'Dee', family_name: 'D', nickname: 'dd', picture: 'https://p.example/d.png' });
  const { tokens, app } = await byPage(d, 'dee');
  const info = (await app.get('/userinfo', `Bearer ${tokens.access_token}`)).json;
  for (const from of [claims(tokens.id_token), info])
    assert.deepEqual([from.name, from.given_name, from.family_name, from.nickname, from.picture], ['Dee Dee', 'Dee', 'D', 'dd', 'https://p.example/d.png']);
});

test('the trail names fields and no values', async () => {
  await change(self('ann'), { nickname: 'Zq-nick', user_metadata: { 'Zq-key': 'Zq-value' } });
  const row = d.audit(id('ann')).map((l) => JSON.parse(l)).filter((r) => r.type === 'my_account_profile_succeeded').at(-1);
  assert.deepEqual([row.operation, row.details], ['update', { fields: ['nickname', 'user_metadata'] }]);
});

test('everything about a user holds the profile', () => {
  const doc = JSON.parse(d.ok('user', 'export', id('ann')));
  assert.equal(doc.users[0].nickname, 'Zq-nick');
  assert.deepEqual(doc.users[0].user_metadata, { 'Zq-key': 'Zq-value' });
});

test('GET /profile goes through every gate', (t) => everyOperation(t, d, 'ann', { method: 'GET', path: PROFILE, scope: 'read:me:profile', allow: ['GET', 'HEAD', 'OPTIONS', 'PATCH'] }));
test('PATCH /profile goes through every gate', (t) => everyOperation(t, d, 'ann', { method: 'PATCH', path: PROFILE, scope: 'update:me:profile', body: { nickname: 'A' }, allow: ['GET', 'HEAD', 'OPTIONS', 'PATCH'] }));

test('the longest profile signs its user in', async () => {
  const long = '\u4e2d'.repeat(300);
  const nonce = 'n'.repeat(2000);
  const s = self('fay');
  await change(s, { ...Object.fromEntries(TEXTS.map((k) => [k, long])), picture: `https://pictures.example/${'p'.repeat(2023)}` });
  const app = new App(d, 'spa');
  const scope = 'openid profile email';
  const tokens = isIssued(await app.exchange(await app.code(mail('fay'), { scope, nonce }, new Browser(d))));
  const seen = claims(tokens.id_token);
  for (const k of TEXTS) assert.equal(seen[k], long, k);
  assert.equal(seen.nonce, nonce);
  const info = await app.get('/userinfo', `Bearer ${tokens.access_token}`);
  assert.equal(info.status, 200);
  assert.equal(info.json.picture, seen.picture);
});

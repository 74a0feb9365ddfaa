/* SPDX-License-Identifier: Apache-2.0
 * Security notices: who is told of which change, in which words, and what the link in the message does. */
import { assert, test, before, after, Daemon, METHODS, client, grant, isProblem, methodPath, user } from './lib/kit.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, GRANT, isIssued, isRefused } from './lib/oauth.mjs';
import { UNDO, fields, isStrict, notice, open, press } from './lib/notices.mjs';
import { SCOPES } from './lib/tokens.mjs';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const CHROME = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const THIEF = 'Zq7-thief-was-here';
const MINE = 'Zq7-mine-once-again';
const ALL = `openid offline_access ${SCOPES.join(' ')}`;

let d;
let app;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 0, sms_per_hour: 0, email_per_hour: 0 }, notifications: { changes_per_hour: 0 } },
    state: { factors: { passkey: true, 'webauthn-roaming': true } } });
  d.apply({
    clients: [client('spa', { grant_types: ['authorization_code', 'refresh_token', 'password', GRANT.otp, GRANT.recovery] })],
    client_grants: [grant(d.base, 'spa')],
    users: Array.from({ length: 40 }, (_, i) => user(`auth0|n${i}`, { email: `n${i}@example.com`, email_verified: true, password: PASSWORD })),
  });
  for (const p of [PASSWORD, THIEF, MINE]) d.secrets.add('password', p);
  app = new App(d, 'spa');
});
after(() => d.stop());

let next = 0;
/* Somebody with a verified address, and a session. */
function someone(over = {}) {
  const id = `auth0|n${next++}`;
  assert.ok(next <= 40);
  const s = d.as(id, over);
  return Object.assign(s, { mail: `${id.slice(6)}@example.com` });
}
/* A fresh token of the same user: those from before an undo are refused. */
function again(s) {
  d.advance(2 * SECOND);
  return Object.assign(d.as(s.user), { mail: s.mail });
}
/* A sign-in that has come to its second factor. */
async function secondFactor(s) {
  d.apply({ tenant: { mfa_policy: 'always' } });
  const r = await app.password(s.mail, { scope: ALL, audience: `${d.base}/me/` });
  d.apply({ tenant: { mfa_policy: 'never' } });
  assert.ok(r.json.mfa_token, r.text);
  return r.json.mfa_token;
}
const rows = (s, type) => d.audit(s.user).map((l) => JSON.parse(l)).filter((r) => r.type === type);
const ids = async (s, type) => (await s.list(type)).filter((m) => m.confirmed).map((m) => m.id);
const phone = (n) => `+1555777${String(n).padStart(4, '0')}`;

test('an added factor', async (t) => {
  const s = someone();
  const agent = { headers: { 'user-agent': CHROME } };
  const e = await s.enrol({ type: 'totp' });
  const m = (await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) }, agent)).json;
  const got = await notice(d, 'factor-added', s.mail);
  await t.test('is told in plain words', () => {
    assert.equal(got.channel, 'email');
    assert.match(got.subject, /^A way to sign in was added to your Example account$/);
    assert.match(got.text, /What: an authenticator app/);
    assert.match(got.text, new RegExp(`When: ${new Date(d.now()).toISOString().slice(0, 10)} \\d\\d:\\d\\d UTC`));
    assert.match(got.text, /Browser: Chrome 131\.0\.0 \/ Windows 10\.0/);
    assert.match(got.text, /Address: 127\.0\.0\.1/);
    assert.match(got.text, /within 72 hours/);
    assert.ok(got.link.url.startsWith(`${d.base}${UNDO}?token=`));
    assert.ok(!/urgent|verify your|click here|immediately|suspended/i.test(got.text));
    assert.equal(rows(s, 'security_notice_sent').at(-1).details.channel, 'email');
  });
  await t.test('looking at the page does nothing, whoever looks', async () => {
    for (const method of ['GET', 'HEAD', 'GET', 'OPTIONS']) await open(d, got.link.path, { method });
    const page = await open(d, got.link.path);
    assert.equal(page.status, 200);
    isStrict(page);
    assert.match(page.text, /What: an authenticator app/);
    assert.match(page.text, /Chrome 131/);
    assert.deepEqual(page.form('undo').buttons, ['This was not me']);
    assert.deepEqual(await ids(s, 'totp'), [m.id]);
    assert.equal(rows(s, 'security_undo_succeeded').length, 0);
  });
  await t.test('the button takes it away again and ends everything', async () => {
    const grants = isIssued(await app.password(s.mail, { scope: ALL, audience: `${d.base}/me/` }));
    const plain = isIssued(await app.password(s.mail, { scope: 'openid' }));
    assert.equal((await app.get('/userinfo', `Bearer ${plain.access_token}`)).status, 200);
    d.advance(SECOND);
    const done = await press(d, got.link);
    assert.equal(done.status, 200, done.text);
    isStrict(done);
    assert.match(done.title, /It was undone/);
    assert.match(done.text, /has been removed/);
    assert.match(done.text, /Every session of your account has ended/);
    isRefused(await app.refresh(grants.refresh_token), 403, 'invalid_grant');
    isProblem(await s.get(METHODS), 401, 'A0E-401-0003');
    isProblem(await d.bearer(grants.access_token).get(METHODS), 401, 'A0E-401-0003');
    assert.equal((await app.get('/userinfo', `Bearer ${plain.access_token}`)).status, 401);
    const now = again(s);
    assert.deepEqual(await ids(now, 'totp'), []);
    const row = rows(s, 'security_undo_succeeded').at(-1);
    assert.equal(row.operation, 'factor_added');
    assert.equal(row.details.outcome, 'removed');
    assert.equal(row.details.refresh_tokens_revoked, 1);
    const told = await notice(d, 'change-undone', s.mail);
    assert.equal(told.link, undefined, 'no undo of an undo');
  });
  await t.test('a second visit says so and does nothing', async () => {
    const page = await open(d, got.link.path);
    assert.equal(page.status, 200);
    assert.match(page.title, /done already/);
    assert.equal(page.forms.length, 0);
    assert.equal(rows(s, 'security_undo_succeeded').length, 1);
  });
});

test('two presses at once undo once', async () => {
  const s = someone();
  await s.addTotp();
  const { link } = await notice(d, 'factor-added', s.mail);
  const page = await open(d, link.path);
  const send = () => open(d, UNDO, { method: 'POST', form: fields(page, 'undo') });
  const titles = (await Promise.all([send(), send(), send()])).map((p) => p.title).sort();
  assert.deepEqual(titles, ['It was undone', 'This was done already', 'This was done already']);
  assert.equal(rows(s, 'security_undo_succeeded').length, 1);
});

test('a removed factor comes back with its secret', async () => {
  const s = someone();
  const m = await s.addTotp();
  await s.want(200, 'PATCH', methodPath(m.id), { name: 'My app' });
  await s.want(204, 'DELETE', methodPath(m.id));
  const got = await notice(d, 'factor-removed', s.mail);
  assert.ok(!got.text.includes('My app'), 'nothing a user chose stands in a message');
  const done = await press(d, got.link);
  assert.match(done.text, /works again/);
  const now = again(s);
  const [back] = await now.list('totp');
  assert.deepEqual([back.id, back.name, back.created_at], [m.id, 'My app', m.created_at]);
  d.advance(60 * SECOND);
  const mfa = await secondFactor(s);
  isIssued(await app.token({ grant_type: GRANT.otp, mfa_token: mfa, otp: s.code(m.secret) }));
  assert.match((await open(d, got.link.path)).title, /done already/);
});

test('a removed phone, e-mail and recovery code come back', async () => {
  const s = someone();
  const p = await s.addPhone(phone(1), 'voice');
  const e = await s.addEmail('second@example.org');
  const c = await s.addRecovery();
  for (const m of [p, e, c]) await s.want(204, 'DELETE', methodPath(m.id));
  for (let i = 0; i < 3; i++) {
    const n = await notice(d, 'factor-removed', s.mail);
    if (i === 0) assert.match(n.text, /the phone number \+1\*\*\*0001/);
    if (i === 1) assert.match(n.text, /the e-mail address s\*\*\*@example\.org/);
    assert.match((await press(d, n.link)).title, /It was undone/);
  }
  const now = again(s);
  const list = await now.list();
  const of = (id) => list.find((m) => m.id === id);
  assert.equal(of(p.id).phone_number, phone(1));
  assert.equal(of(p.id).preferred_authentication_method, 'voice');
  assert.equal(of(e.id).email, 'second@example.org');
  assert.ok(of(c.id));
  isIssued(await app.token({ grant_type: GRANT.recovery, mfa_token: await secondFactor(s), recovery_code: c.recovery_code }));
});

test('what somebody added and removed again does not come back', async () => {
  const s = someone();
  const theirs = await s.addTotp();
  const added = await notice(d, 'factor-added', s.mail);
  await s.want(204, 'DELETE', methodPath(theirs.id));
  const removed = await notice(d, 'factor-removed', s.mail);
  assert.match((await press(d, added.link)).title, /nothing left to undo/);
  assert.match((await open(d, removed.link.path)).title, /done already/);
  assert.deepEqual(await ids(again(s), 'totp'), []);
});

test('a chain of recovery codes leads back to the first', async () => {
  const s = someone();
  const mine = await s.addRecovery();
  await s.addRecovery();
  const second = await notice(d, 'recovery-code-replaced', s.mail);
  await s.addRecovery();
  const third = await notice(d, 'recovery-code-replaced', s.mail);
  assert.match((await press(d, second.link)).title, /It was undone/);
  assert.deepEqual(await ids(again(s), 'recovery-code'), [mine.id]);
  assert.match((await open(d, third.link.path)).title, /done already/);
  isIssued(await app.token({ grant_type: GRANT.recovery, mfa_token: await secondFactor(s), recovery_code: mine.recovery_code }));
  const used = await notice(d, 'recovery-code-used', s.mail);
  assert.match((await press(d, used.link)).title, /It was undone/);
  assert.deepEqual(await ids(again(s), 'recovery-code'), []);
});

test('settings are taken back', async () => {
  const s = someone();
  const m = await s.addPhone(phone(2));
  await s.want(200, 'PATCH', methodPath(m.id), { name: 'Locked! Visit evil.example', preferred_authentication_method: 'voice' });
  const got = await notice(d, 'factor-changed', s.mail);
  assert.ok(!got.text.includes('evil'));
  assert.match((await press(d, got.link)).title, /It was undone/);
  const [now] = await again(s).list('phone');
  assert.equal(now.name, undefined);
  assert.equal(now.preferred_authentication_method, 'sms');
});

test('a changed password', async (t) => {
  const s = someone();
  const login = (password) => app.password(s.mail, { password, scope: ALL, audience: `${d.base}/me/` });
  assert.equal((await s.changePassword(THIEF)).status, 201);
  const got = await notice(d, 'password-changed', s.mail);
  isIssued(await login(THIEF));
  const done = await press(d, got.link);
  assert.match(done.title, /does not work any more/);
  const first = await notice(d, 'password-reset', s.mail);
  await t.test('signs nobody in any more, the former neither', async () => {
    for (const p of [THIEF, PASSWORD]) isRefused(await login(p), 403, 'invalid_grant', 'Wrong email or password.');
  });
  await t.test('the link can be had again, and the former one is dead then', async () => {
    const sent = await press(d, got.link, 'resend');
    assert.match(sent.title, /Another link was sent/);
    assert.equal((await open(d, first.link.path)).status, 404);
  });
  const { link } = await notice(d, 'password-reset', s.mail);
  await t.test('its page sets a new one under the policy', async () => {
    for (const method of ['GET', 'HEAD']) await open(d, link.path, { method });
    const page = await open(d, link.path);
    isStrict(page);
    assert.equal(page.form('set').fields.password.autocomplete, 'new-password');
    const bad = await press(d, link, 'set', { password: 'short' });
    assert.equal(bad.status, 400);
    isStrict(bad);
    assert.match(bad.text, /Must contain a number/);
    const used = await press(d, link, 'set', { password: PASSWORD });
    assert.match(used.text, /used before|history|previous/i);
    isRefused(await login(PASSWORD), 403, 'invalid_grant');
    const good = await press(d, link, 'set', { password: MINE });
    assert.equal(good.status, 200, good.text);
    assert.match(good.title, /Your password was set/);
    isIssued(await login(MINE));
    assert.equal(rows(s, 'scp').length, 1);
  });
  await t.test('once', async () => {
    assert.equal((await open(d, link.path)).status, 404);
    const page = await open(d, got.link.path);
    assert.match(page.title, /done already/);
    assert.equal(page.forms.length, 0, 'nothing left to send');
  });
  await t.test('and that is told, with a link of its own', async () => {
    const told = await notice(d, 'password-changed', s.mail);
    assert.notEqual(told.link.token, got.link.token);
  });
});

test('a password set by other means makes the link useless', async () => {
  const s = someone();
  assert.equal((await s.changePassword(THIEF)).status, 201);
  const got = await notice(d, 'password-changed', s.mail);
  await press(d, got.link);
  const { link } = await notice(d, 'password-reset', s.mail);
  assert.equal((await again(s).changePassword(MINE)).status, 201);
  assert.equal((await open(d, link.path)).status, 404);
  isIssued(await app.password(s.mail, { password: MINE, scope: ALL, audience: `${d.base}/me/` }));
});

test('links of passwords are bounded', async () => {
  const s = someone();
  assert.equal((await s.changePassword(THIEF)).status, 201);
  const got = await notice(d, 'password-changed', s.mail);
  await press(d, got.link);
  const answers = [];
  for (let i = 0; i < 6; i++) answers.push((await press(d, got.link, 'resend')).status);
  assert.deepEqual(answers, [200, 200, 200, 200, 429, 429]);
  const now = again(s);
  assert.equal((await now.changePassword('Zq7-and-once-again')).status, 201);
  const second = await notice(d, 'password-changed', s.mail);
  const done = await press(d, second.link);
  assert.match(done.title, /does not work any more/);
  assert.match(done.text, /Too many links .* in an hour/, 'it does not claim to have sent one');
  d.advance(HOUR);
  assert.match((await press(d, second.link, 'resend')).title, /Another link was sent/);
});

test('a link ends with its time', async () => {
  const s = someone();
  const m = await s.addTotp();
  const { link } = await notice(d, 'factor-added', s.mail);
  const page = await open(d, link.path);
  d.advance(72 * HOUR - 10 * SECOND);
  assert.equal((await open(d, link.path)).status, 200);
  const stale = await open(d, UNDO, { method: 'POST', form: fields(page, 'undo') });
  assert.equal(stale.status, 400, 'the form of a page that lay about');
  d.advance(20 * SECOND);
  const dead = await open(d, link.path);
  assert.equal(dead.status, 404);
  isStrict(dead);
  const unknown = await open(d, `${UNDO}?token=${'x'.repeat(43)}`);
  assert.equal(dead.html, unknown.html, 'an old link says no more than one that never was');
  assert.deepEqual(await ids(again(s), 'totp'), [m.id]);
});

test('what is kept goes with its time', async () => {
  const s = someone();
  const m = await s.addTotp();
  await s.want(204, 'DELETE', methodPath(m.id));
  const { link } = await notice(d, 'factor-removed', s.mail);
  d.advance(73 * HOUR);
  assert.equal((await open(d, link.path)).status, 404);
});

test('forms from elsewhere', async () => {
  const s = someone();
  const m = await s.addTotp();
  const { link } = await notice(d, 'factor-added', s.mail);
  const form = fields(await open(d, link.path), 'undo');
  const other = someone();
  await other.addTotp();
  const foreign = fields(await open(d, (await notice(d, 'factor-added', other.mail)).link.path), 'undo');
  const send = (f, headers) => open(d, UNDO, { method: 'POST', form: f, headers });
  for (const origin of ['https://evil.example', 'null', 'http://localhost:1'])
    assert.equal((await send(form, { origin })).status, 403, origin);
  for (const code of ['', 'x', foreign.code, form.code.replace(/^\d/, (c) => String((Number(c) + 1) % 10)), `${form.code.slice(0, -1)}${form.code.at(-1) === '0' ? '1' : '0'}`])
    assert.equal((await send({ ...form, code })).status, 400, code);
  assert.equal((await send({ state: form.state, action: 'undo' })).status, 400);
  assert.equal((await send(`${new URLSearchParams(form)}&state=${form.state}`)).status, 400);
  assert.equal((await send(form, { 'content-type': 'application/json' })).status, 415);
  assert.equal((await open(d, `${UNDO}?${new URLSearchParams(form)}`, { method: 'POST', form: '' })).status, 400);
  for (const token of ['', 'x', `${form.state}x`, form.state.toLowerCase()]) assert.equal((await open(d, `${UNDO}?token=${token}`)).status, 404, token);
  assert.equal((await open(d, UNDO, { method: 'PUT', form })).status, 405);
  assert.deepEqual(await ids(s, 'totp'), [m.id]);
});

test('no room for what was removed', async () => {
  const s = someone();
  const mine = await s.addTotp();
  await s.want(204, 'DELETE', methodPath(mine.id));
  const removed = await notice(d, 'factor-removed', s.mail);
  await notice(d, 'factor-added', s.mail);
  const theirs = [];
  for (let i = 0; i < 5; i++) theirs.push(await s.addTotp());
  const full = await press(d, removed.link);
  assert.equal(full.status, 409);
  assert.match(full.title, /not be undone yet/);
  assert.equal(rows(s, 'security_undo_failed').length, 1);
  const added = await notice(d, 'factor-added', s.mail);
  assert.match((await press(d, added.link)).title, /It was undone/);
  assert.match((await press(d, removed.link)).title, /It was undone/);
  const now = await ids(again(s), 'totp');
  assert.equal(now.length, 5);
  assert.ok(now.includes(mine.id) && !now.includes(theirs[0].id));
});

test('it is there already', async () => {
  const s = someone();
  const p = await s.addPhone(phone(3));
  await s.want(204, 'DELETE', methodPath(p.id));
  const { link } = await notice(d, 'factor-removed', s.mail);
  const q = await s.addPhone(phone(3));
  assert.match((await press(d, link)).title, /nothing left to undo/);
  assert.deepEqual(await ids(again(s), 'phone'), [q.id]);
});

test('without a verified address', async (t) => {
  const s = d.session();
  await t.test('the phone is told, and goes on being told after it was removed', async () => {
    const first = await s.addPhone(phone(10));
    await s.addPhone(phone(11));
    const added = await notice(d, 'factor-added', phone(10));
    assert.equal(added.channel, 'sms');
    assert.ok(added.text.length < 320, added.text);
    assert.match(added.text, /\+1\*\*\*0011/);
    await s.want(204, 'DELETE', methodPath(first.id));
    const removed = await notice(d, 'factor-removed', phone(10));
    await s.addTotp();
    await notice(d, 'factor-added', phone(10));
    assert.equal(d.spool.all().filter((m) => m.to === phone(11) && m.code === undefined).length, 0, 'the newcomer hears nothing');
    assert.match((await press(d, removed.link)).title, /It was undone/);
    assert.ok((await ids(again(s), 'phone')).includes(first.id));
  });
  await t.test('nobody is told of what nobody can be told', async () => {
    const mute = d.session();
    await mute.addTotp();
    assert.equal(rows(mute, 'security_notice_sent').length, 0);
  });
});

test('deleting the user takes the link along', async () => {
  const s = someone();
  await s.addTotp();
  const { link } = await notice(d, 'factor-added', s.mail);
  d.ok('user', 'delete', s.user);
  assert.equal((await open(d, link.path)).status, 404);
});

test('the API gives no hint of the link', async () => {
  const s = someone();
  const e = await s.enrol({ type: 'totp' });
  const r = await s.want(201, 'POST', `${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
  const { link } = await notice(d, 'factor-added', s.mail);
  assert.ok(!r.text.includes(link.token) && !JSON.stringify(r.headers).includes(link.token));
  assert.ok(!d.audit(s.user).join('').includes(link.token));
  assert.ok(!d.ok('outbox', 'list').includes(link.token));
});

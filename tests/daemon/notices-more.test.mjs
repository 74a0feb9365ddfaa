/* SPDX-License-Identifier: Apache-2.0
 * Security notices: connected accounts, what the operator changes, a real mail relay, limits and switches, and a daemon
 * without its token service. */
import fs from 'node:fs';
import { SMTPServer } from 'smtp-server';
import { assert, test, before, after, Daemon, METHODS, eventually, isProblem, methodPath, user } from './lib/kit.mjs';
import { ACCOUNTS, CLIENTS, accountPath, connect, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import { Credential, create } from './lib/authenticator.mjs';
import { RESET, UNDO, fields, isStrict, linkOf, notice, open, press } from './lib/notices.mjs';
import { Upstream } from './lib/upstream.mjs';
import { SCOPES } from './lib/tokens.mjs';

const SECOND = 1000;
const people = Array.from({ length: 20 }, (_, i) => user(`auth0|r${i}`, { email: `r${i}@example.com`, email_verified: true, password: PASSWORD }));

let d;
let acme;
before(async () => {
  acme = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme], connections: [
    connection('acme', acme.options('basic')),
    connection('acme-revoking', acme.options('basic'), { revocation_endpoint: `${acme.issuer}/token/revocation` })] });
  d.apply({ factors: { passkey: true }, users: people, clients: [{ ...CLIENTS[0], grant_types: ['authorization_code', 'refresh_token', 'password'] }] });
  d.secrets.add('password', PASSWORD);
});
after(() => stopAll(d, acme));

let next = 0;
function someone() {
  const n = next++;
  assert.ok(n < people.length);
  return Object.assign(member(d, { user: `auth0|r${n}` }), { mail: `r${n}@example.com` });
}
function again(s) {
  d.advance(2 * SECOND);
  return Object.assign(member(d, { user: s.user }), { mail: s.mail });
}
const rows = (s, type, at = d) => at.audit(s.user).map((l) => JSON.parse(l)).filter((r) => r.type === type);

/* --- connected accounts --- */

test('an added connected account is removed, and its provider told', async () => {
  const s = someone();
  const account = await connect(s, { connection: 'acme-revoking' });
  const got = await notice(d, 'account-added', s.mail);
  assert.match(got.text, /What: an account of the connection acme-revoking/);
  const told = acme.count('revocation');
  const done = await press(d, got.link);
  assert.match(done.title, /It was undone/);
  assert.equal(acme.count('revocation'), told + 1);
  assert.deepEqual((await again(s).want(200, 'GET', ACCOUNTS)).json.accounts, []);
  assert.equal(rows(s, 'connected_accounts_delete_succeeded').at(-1).details.connected_account.id, account.id);
});

test('a removed connected account is not restored, and the page says so', async () => {
  const s = someone();
  const account = await connect(s);
  await notice(d, 'account-added', s.mail);
  await s.want(204, 'DELETE', accountPath(account.id));
  const { link } = await notice(d, 'account-removed', s.mail);
  assert.match((await open(d, link.path)).text, /cannot be restored/);
  const done = await press(d, link);
  assert.match(done.title, /could not be undone/);
  assert.match(done.text, /connect the account anew/);
  assert.match(done.text, /Every session of your account has ended/);
  isProblem(await s.get(ACCOUNTS), 401, 'A0E-401-0003');
});

/* --- passkeys --- */

test('a passkey comes back with its key', async () => {
  const s = someone();
  const r = await s.post(METHODS, { type: 'passkey' });
  const { auth_session, authn_params_public_key: options } = r.json;
  const key = new Credential();
  const v = await s.post(`${new URL(r.headers.location).pathname}/verify`, { auth_session, authn_response: create(options, d.base, {}, key) }, { lax: true });
  assert.equal(v.status, 201, v.text);
  assert.match((await notice(d, 'factor-added', s.mail)).text, /What: a passkey/);
  await s.want(204, 'DELETE', methodPath(v.json.id));
  const { link } = await notice(d, 'factor-removed', s.mail);
  assert.match((await press(d, link)).title, /It was undone/);
  const now = again(s);
  const [back] = (await now.get(`${METHODS}?type=passkey`, { lax: true })).json.authentication_methods;
  assert.equal(back.id, v.json.id);
  assert.equal(back.key_id, v.json.key_id);
  assert.equal(back.public_key, v.json.public_key);
});

test('a removed password comes back', async () => {
  const s = someone();
  const r = await s.post(METHODS, { type: 'passkey' });
  const { auth_session, authn_params_public_key: options } = r.json;
  assert.equal((await s.post(`${new URL(r.headers.location).pathname}/verify`, { auth_session, authn_response: create(options, d.base) }, { lax: true })).status, 201);
  const [pw] = await s.list('password');
  await s.want(204, 'DELETE', methodPath(pw.id));
  const got = await notice(d, 'factor-removed', s.mail);
  assert.match(got.text, /What: the password/);
  const app = new App(d, 'spa');
  isRefused(await app.password(s.mail), 403, 'invalid_grant');
  assert.match((await press(d, got.link)).title, /It was undone/);
  isIssued(await app.password(s.mail));
});

/* --- the operator --- */

test('the operator changes an address', async () => {
  const s = someone();
  d.apply({ users: [{ user_id: s.user, email: 'new-address@example.net', phone_number: '+15550009999' }] });
  const former = await notice(d, 'address-changed', s.mail);
  const latter = await notice(d, 'address-changed', 'new-address@example.net');
  for (const m of [former, latter]) assert.match(m.text, /What: the e-mail address and the phone number\n/);
  assert.match(former.text, /Browser: none \(changed by the operator\)/);
  const done = await press(d, former.link);
  assert.match(done.title, /could not be undone/);
  assert.match(done.text, /operator, who has been told/);
  assert.equal(rows(s, 'security_undo_succeeded').at(-1).details.outcome, 'address_not_restorable');
  isProblem(await s.get(METHODS), 401, 'A0E-401-0003');
});

test('the operator sets a password, and resets factors', async () => {
  const s = someone();
  await s.addTotp();
  await s.addPhone('+15558880001');
  d.apply({ users: [{ user_id: s.user, password: 'Zq7-set-by-the-operator' }] });
  await notice(d, 'password-changed', s.mail);
  const [totp] = await s.list('totp');
  d.ok('method', 'reset', s.user, totp.id);
  const one = await notice(d, 'factor-removed', s.mail);
  assert.match(one.text, /What: an authenticator app/);
  d.ok('method', 'reset', s.user);
  const all = await notice(d, 'factor-removed', s.mail);
  assert.match(all.text, /every way to sign in but the password/);
  assert.match((await open(d, one.link.path)).text, /cannot be restored/);
  assert.match((await press(d, one.link)).title, /could not be undone/);
  assert.deepEqual((await again(s).list()).map((m) => m.type).sort(), ['email', 'password']);
});

test('the operator makes a link for a new password', async (t) => {
  const s = someone();
  const text = d.ok('user', 'reset-link', s.user);
  const link = linkOf(d, { text });
  await t.test('it is one line, and kept as a MAC only', () => {
    assert.equal(text, `${d.base}${RESET}?token=${link.token}\n`);
    assert.equal(rows(s, 'sapi').at(-1).operation, 'reset_link');
  });
  await t.test('it sets the password under the policy, once', async () => {
    assert.match((await press(d, link, 'set', { password: 'short' })).text, /password/i);
    assert.equal((await press(d, link, 'set', { password: 'Zq7-set-through-the-link' })).status, 200);
    await notice(d, 'password-changed', s.mail);
    assert.equal((await open(d, link.path)).status, 404);
  });
  await t.test('it ends', async () => {
    const late = linkOf(d, { text: d.ok('user', 'reset-link', s.user) });
    assert.equal((await open(d, late.path)).status, 200);
    d.advance(73 * 3600 * SECOND);
    assert.equal((await open(d, late.path)).status, 404);
  });
  await t.test('it needs a user with a password', () => {
    d.apply({ users: [user('google|no-password', { connection: undefined, email: 'np@example.com' })] });
    for (const [id, said] of [['auth0|nobody', /no such user/], ['google|no-password', /no password/]]) {
      const r = d.ctl('user', 'reset-link', id);
      assert.equal(r.code, 1);
      assert.match(r.err, said);
      assert.equal(r.out, '');
    }
  });
});

test('new users are told nothing, unchanged ones neither', async () => {
  const fresh = user('auth0|brandnew', { email: 'brandnew@example.com', email_verified: true, password: PASSWORD });
  d.apply({ users: [fresh] });
  d.apply({ users: [fresh] });
  d.apply({ users: [{ user_id: 'auth0|brandnew', name: 'Another Name' }] });
  const s = member(d, { user: 'auth0|brandnew' });
  await s.addTotp();
  await notice(d, 'factor-added', 'brandnew@example.com');
  assert.equal(d.spool.all().filter((m) => m.to === 'brandnew@example.com').length, 1);
});

test('with the daemon stopped the message waits', async () => {
  const c = await Daemon.start({ start: false });
  c.apply({ users: [user('auth0|off', { email: 'off@example.com', email_verified: true })] });
  c.apply({ users: [{ user_id: 'auth0|off', email: 'off-new@example.com' }] });
  await c.run();
  const got = await notice(c, 'address-changed', 'off@example.com');
  assert.match(got.subject, /Example/);
  assert.equal((await press(c, got.link)).status, 200);
  await c.stop();
});

/* --- other daemons --- */

test('by a real mail relay, from a daemon without its token service, on a custom domain', async () => {
  const mails = [];
  const relay = new SMTPServer({ logger: false, authOptional: true, disabledCommands: ['STARTTLS', 'AUTH'], closeTimeout: 100, disableReverseLookup: true,
    onData(stream, session, done) {
      let raw = '';
      stream.setEncoding('utf8').on('data', (x) => { raw += x; }).on('end', () => { mails.push({ raw, to: session.envelope.rcptTo.map((a) => a.address) }); done(); });
    } });
  relay.on('error', () => {});
  await new Promise((r) => relay.listen(0, '127.0.0.1', r));
  const dom = 'https://id.custom.example';
  const c = await Daemon.start({ config: { token_service: false, custom_domains: [dom], trusted_proxies: ['127.0.0.0/8'],
    delivery: { email: `smtp://127.0.0.1:${relay.server.address().port}` } } });
  c.apply({ users: [user('auth0|via', { email: 'via@example.com', email_verified: true })] });
  const s = c.as('auth0|via', { aud: `${dom}/me/` });
  const proxied = { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-host': 'id.custom.example', 'x-forwarded-proto': 'https' };
  const e = (await s.post(METHODS, { type: 'totp' }, { headers: proxied, origin: dom })).json;
  const r = await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) }, { headers: proxied, origin: dom });
  assert.equal(r.status, 201, r.text);
  const mail = await eventually(() => mails.find((m) => m.to.includes('via@example.com')), 'the mail', 30000);
  const [head, ...rest] = mail.raw.split('\r\n\r\n');
  let text = rest.join('\n\n');
  if (/base64/i.test(head)) text = Buffer.from(text, 'base64').toString('utf8');
  else if (/quoted-printable/i.test(head)) text = text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, h) => String.fromCharCode(parseInt(h, 16)));
  const link = linkOf(c, { text });
  assert.ok(link.url.startsWith(`${dom}${UNDO}?token=`), link.url);
  assert.match(text, /Address: 203\.0\.113\.7/);
  const page = await open(c, link.path, { headers: proxied });
  assert.equal(page.status, 200);
  isStrict(page);
  const style = page.html.match(/\/u\/assets\/login\.[0-9a-f]+\.css/)?.[0];
  assert.equal((await c.http({ method: 'GET', path: style })).status, 200);
  assert.equal((await open(c, UNDO, { method: 'POST', form: fields(page, 'undo'), headers: proxied })).status, 403, 'from base_url to the custom domain');
  const done = await open(c, UNDO, { method: 'POST', form: fields(page, 'undo'), headers: { ...proxied, origin: dom } });
  assert.match(done.title, /It was undone/);
  await c.stop();
  await new Promise((x) => relay.close(x));
});

test('switches, and limits that leave nothing untold', async (t) => {
  const c = await Daemon.start({ config: { notifications: { factor_changed: false, changes_per_hour: 3, undo_ttl: 7200 } } });
  c.apply({ users: [user('auth0|lim', { email: 'lim@example.com', email_verified: true })] });
  const s = c.as('auth0|lim');
  const m = await s.addTotp();
  assert.match((await notice(c, 'factor-added', 'lim@example.com')).text, /within 2 hours/);
  await t.test('an event that is off is not told and not counted', async () => {
    for (let i = 0; i < 5; i++) await s.want(200, 'PATCH', methodPath(m.id), { name: `n${i}` });
  });
  await t.test('codes asked for do not use the bucket up', async () => {
    for (let i = 0; i < 5; i++) await s.startEmail(`other${i}@example.org`);
  });
  await t.test('past the limit the change is refused, not the message', async () => {
    await s.addRecovery();
    await s.addRecovery();
    const e = await s.enrol({ type: 'totp' });
    const r = await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) }, { lax: true });
    isProblem(r, 429, 'A0E-429-0001', /changes of this account/);
    assert.ok(Number(r.headers['retry-after']) > 0);
    isProblem(await s.request('DELETE', methodPath(m.id), undefined, { lax: true }), 429, 'A0E-429-0001');
    assert.equal((await s.list('totp')).filter((x) => x.confirmed).length, 1);
    c.advance(1201 * SECOND);
    await s.want(204, 'DELETE', methodPath(m.id));
    await notice(c, 'factor-removed', 'lim@example.com');
  });
  await c.stop();
});

test('where no mail can be sent the phone is told', async () => {
  const c = await Daemon.start({ config: { delivery: { email: '' } } });
  c.apply({ users: [user('auth0|sms', { email: 'sms@example.com', email_verified: true })] });
  const s = c.as('auth0|sms');
  await s.addPhone('+15556660001');
  await s.addTotp();
  assert.match((await notice(c, 'factor-added', '+15556660001')).text, /an authenticator app was added/);
  await c.stop();
});

test('an address may open only so many links', async () => {
  const c = await Daemon.start();
  const answers = [];
  for (let i = 0; i < 70; i++) answers.push((await open(c, `${UNDO}?token=${String(i).padStart(43, 'x')}`)).status);
  assert.deepEqual([...new Set(answers.slice(0, 60))], [404]);
  assert.deepEqual([...new Set(answers.slice(60))], [429]);
  const limited = await open(c, `${UNDO}?token=${'x'.repeat(43)}`);
  assert.ok(Number(limited.headers['retry-after']) > 0);
  assert.match(limited.headers['content-type'], /text\/html/);
  c.advance(60 * SECOND);
  assert.equal((await open(c, `${UNDO}?token=${'x'.repeat(43)}`)).status, 404);
  await c.stop();
});

test('words of the operator', async () => {
  const c = await Daemon.start({ start: false });
  const dir = `${c.dir}/texts`;
  fs.mkdirSync(dir);
  fs.writeFileSync(`${dir}/factor-added.email.text`, 'Neu: {{what}}, {{when}}, {{browser}}, {{address}}, {{hours}} h, {{tenant}}, {{name}}: {{link}}');
  c.configure({ delivery: { templates: dir } });
  await c.run();
  c.apply({ users: [user('auth0|words', { email: 'words@example.com', email_verified: true, name: 'Wanda' })] });
  await c.as('auth0|words').addTotp();
  const got = await notice(c, 'factor-added', 'words@example.com');
  assert.match(got.text, /^Neu: an authenticator app, \d{4}-\d\d-\d\d \d\d:\d\d UTC, not recognised, 127\.0\.0\.1, 72 h, Example, Wanda: http:\/\/localhost:\d+\/security\/not-me\?token=[\w-]{43}$/);
  await c.stop();
});

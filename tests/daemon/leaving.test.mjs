/* SPDX-License-Identifier: Apache-2.0
 * DELETE /account, the ways back, and the erasure: locked at once, kept by link, sign-in or API, gone after the time. */
import fs from 'node:fs';
import { assert, test, before, after, METHODS, eventually, isProblem, user } from './lib/kit.mjs';
import { Browser, PASSWORD, authorizeUrl } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import { KEEP, fields, isStrict, notice, open, press } from './lib/notices.mjs';
import { Text } from './lib/metrics.mjs';
import { EVERY, WANTED, byApp, byPage, everyOperation, id, mail, start } from './lib/account.mjs';

const PATH = '/me/v1/account';
const RESTORE = '/me/v1/account/restore';
const SECOND = 1000;
const DAY = 86400 * SECOND;
const GRACE = 14 * DAY;
const SCOPE = 'delete:me:account';
const NAMES = ['gate', 'fresh', 'locked', 'link', 'twice', 'sign', 'factor', 'silent', 'api', 'external', 'late', 'race', 'gone', 'same', 'erased', 'other',
  'admin', 'delete', 'apply', 'often', 'mute', 'embedded', 'undo', 'batch', 'ontime'];
let d;
before(async () => {
  d = await start(NAMES, { config: { notifications: { changes_per_hour: 0 } } });
  d.apply({ users: NAMES.filter((n) => n !== 'mute').map((n) => user(id(n), { email: mail(n), email_verified: true })) });
});
after(() => d.stop());

const seconds = () => Math.floor(d.now() / 1000);
/* A token of the outside issuer whose sign-in is fresh. */
const fresh = (who, over = {}) => d.as(id(who), { scope: EVERY.join(' '), auth_time: seconds(), amr: ['pwd', 'mfa'], ...over });
const row = (who) => JSON.parse(d.ok('user', 'show', id(who)));
const events = (who, type) => d.audit(id(who)).map((l) => JSON.parse(l)).filter((r) => r.type === type);
async function leave(who, s = fresh(who)) {
  const res = await s.want(202, 'DELETE', PATH);
  d.advance(2 * SECOND);
  return res.json;
}
const letter = (who) => notice(d, 'account-leaving', mail(who));
const stays = (who) => assert.equal(row(who).leaves_at, undefined);
const leaves = (who) => assert.ok(row(who).leaves_at);
const files = () => ['', '-wal'].map((s) => `${d.files.db}${s}`).filter((f) => fs.existsSync(f));
const holds = (word, where = files()) => where.some((f) => fs.readFileSync(f).includes(word));
const erased = (who) => eventually(() => d.ctl('user', 'show', id(who)).code === 1, `the erasure of ${who}`, 40000);

test('gates', async (t) => {
  await t.test('token and scope', async () => {
    isProblem(await d.anonymous().del(PATH), 401, 'A0E-401-0002');
    isProblem(await fresh('gate', { scope: EVERY.filter((x) => x !== SCOPE).join(' ') }).del(PATH), 403, 'A0E-403-0002', /delete:me:account/);
    const res = await d.anonymous().request('PUT', PATH, undefined, { lax: true });
    assert.equal(res.status, 405);
  });
  await everyOperation(t, d, 'gate', { method: 'POST', path: RESTORE, scope: SCOPE, allow: ['OPTIONS', 'POST'] });
  await t.test('who stays anyway is left alone', async () => {
    assert.deepEqual((await fresh('gate').want(200, 'POST', RESTORE)).json, { status: 'active' });
    assert.equal(events('gate', 'my_account_account_succeeded').length, 0);
  });
});

test('a fresh second factor', async (t) => {
  const token = (over) => d.as(id('fresh'), { scope: EVERY.join(' '), ...over });
  const refused = async (over) => {
    const res = await token(over).del(PATH);
    isProblem(res, 401, 'A0E-401-0004');
    assert.match(res.headers['www-authenticate'], /insufficient_user_authentication", acr_values="http:[^"]*multi-factor", max_age=900/);
    stays('fresh');
  };
  await t.test('without a factor: a sign-in just now', async () => {
    await refused({});
    await refused({ auth_time: seconds() - 901, amr: ['pwd'] });
  });
  await t.test('with one: that one, just now', async () => {
    await d.as(id('fresh')).addTotp();
    await refused({ auth_time: seconds(), amr: ['pwd'] });
    await refused({ auth_time: seconds() - 901, amr: ['pwd', 'mfa'] });
  });
  await t.test('nothing else asks for it here', async () => assert.equal((await token({}).get(METHODS)).status, 200));
  await t.test('it is enough', async () => { await leave('fresh'); leaves('fresh'); });
});

test('locked at once', async (t) => {
  const page = await byPage(d, 'locked');
  const app = await byApp(d, 'locked');
  const before = d.as(id('locked'), { scope: EVERY.join(' ') });
  d.advance(SECOND);
  const s = fresh('locked');
  const res = await s.want(202, 'DELETE', PATH);
  await t.test('it says when it leaves', () => {
    assert.deepEqual(Object.keys(res.json), ['status', 'leaves_at']);
    assert.equal(res.json.status, 'leaving');
    assert.ok(Math.abs(Date.parse(res.json.leaves_at) - d.now() - GRACE) < 60 * SECOND);
  });
  await t.test('every token has ended', async () => {
    for (const x of [page.api, app.api, before, s]) isProblem(await x.get(METHODS), 401, 'A0E-401-0003');
    for (const x of [page, app]) isRefused(await x.app.refresh(x.tokens.refresh_token), 403, 'invalid_grant');
    assert.equal((await app.app.get('/userinfo', `Bearer ${app.tokens.access_token}`)).status, 401);
  });
  await t.test('and the browser\'s session', async () => {
    const out = await page.browser.go('GET', authorizeUrl({ prompt: 'none' }));
    assert.equal(out.params.error, 'login_required');
  });
  d.advance(2 * SECOND);
  await t.test('new ones are good for nothing but the way back', async () => {
    const now = fresh('locked');
    isProblem(await now.get(METHODS), 403, 'A0E-403-0001', /about to be deleted.*restore/);
    isProblem(await now.del(PATH), 403, 'A0E-403-0001', /about to be deleted/);
    isProblem(await now.post('/me/v1/exports'), 403, 'A0E-403-0001', /about to be deleted/);
  });
  await t.test('the operator sees it', () => {
    assert.equal(Date.parse(row('locked').leaves_at), Date.parse(res.json.leaves_at));
    assert.ok(row('locked').leaving_since);
    const e = events('locked', 'my_account_account_succeeded').at(-1);
    assert.deepEqual([e.operation, e.details.leaves_at, e.details.ended], ['delete', res.json.leaves_at, { sessions: 1, refresh_tokens: 2 }]);
  });
});

test('the link in the message', async (t) => {
  await leave('link');
  const told = await letter('link');
  await t.test('is told in plain words', () => {
    assert.match(told.text, /until \d{4}-\d\d-\d\d \d\d:\d\d UTC/i);
    assert.match(told.text, /Browser: /);
    assert.ok(told.link.url.startsWith(`${d.base}${KEEP}?token=`));
  });
  await t.test('looking does nothing', async () => {
    const page = await open(d, told.link.path);
    isStrict(page);
    assert.match(page.text, /going to be deleted on \d{4}/);
    assert.deepEqual(page.form('keep').buttons, ['Keep my account']);
    leaves('link');
  });
  await t.test('another token, another origin, an old form', async () => {
    assert.equal((await open(d, `${KEEP}?token=${'x'.repeat(43)}`)).status, 404);
    assert.equal((await open(d, KEEP)).status, 404);
    const page = await open(d, told.link.path);
    const form = fields(page, 'keep');
    assert.equal((await open(d, KEEP, { method: 'POST', form, headers: { origin: 'https://evil.example' } })).status, 403);
    assert.equal((await open(d, KEEP, { method: 'POST', form: { ...form, code: `${form.code.slice(0, -1)}${form.code.endsWith('0') ? 1 : 0}` } })).status, 400);
    leaves('link');
  });
  await t.test('the button keeps the account', async () => {
    const done = await press(d, told.link, 'keep');
    assert.equal(done.status, 200, done.text);
    assert.match(done.title, /Your account stays/);
    stays('link');
    d.advance(2 * SECOND);
    assert.equal((await fresh('link').get(METHODS)).status, 200);
    await byPage(d, 'link');
    const e = events('link', 'my_account_account_succeeded').at(-1);
    assert.deepEqual([e.operation, e.details], ['restore', { by: 'link' }]);
    await notice(d, 'account-restored', mail('link'));
    const seen = (await fresh('link').get('/me/v1/activity?take=100')).json.events.map((x) => x.type);
    assert.ok(seen.includes('account_restored') && seen.includes('account_deletion_requested'));
  });
  await t.test('a second visit says so and does nothing', async () => {
    const page = await open(d, told.link.path);
    assert.deepEqual([page.status, page.forms.length], [200, 0]);
    assert.match(page.title, /already/);
  });
  await t.test('it is worth nothing for another deletion', async () => {
    await leave('link');
    const second = await letter('link');
    assert.notEqual(second.link.token, told.link.token);
    assert.equal((await open(d, told.link.path)).status, 404);
    await press(d, second.link, 'keep');
    stays('link');
  });
});

test('two presses at once', async () => {
  await leave('twice');
  const told = await letter('twice');
  const page = await open(d, told.link.path);
  const form = fields(page, 'keep');
  const both = await Promise.all([1, 2, 3].map(() => open(d, KEEP, { method: 'POST', form })));
  for (const p of both) assert.match(p.title, /Your account stays/);
  assert.equal(events('twice', 'my_account_account_succeeded').filter((e) => e.operation === 'restore').length, 1);
});

test('signing in on the hosted page', async (t) => {
  await leave('sign');
  const browser = new Browser(d);
  const page = await browser.login(await browser.authorize(), mail('sign'));
  await t.test('asks first', () => {
    assert.match(page.title, /Keep your account\?/);
    assert.match(page.text, /going to be deleted/);
    assert.deepEqual(page.forms.map((f) => f.buttons[0]), ['Keep my account', 'Let it be deleted', 'Use another account']);
    leaves('sign');
    assert.equal(browser.cookie('myaccount-session'), undefined, 'nobody is signed in yet');
  });
  await t.test('letting it go leads back with an error', async () => {
    const b = new Browser(d);
    const out = await b.submit(await b.login(await b.authorize(), mail('sign')), 'leave');
    assert.equal(out.params.error, 'access_denied');
    leaves('sign');
  });
  await t.test('keeping it goes on to the application', async () => {
    const out = await browser.submit(page, 'keep');
    assert.ok(out.params.code, out.title);
    stays('sign');
    assert.deepEqual(events('sign', 'my_account_account_succeeded').at(-1).details, { by: 'sign_in' });
    await notice(d, 'account-restored', mail('sign'));
    isIssued(await new App(d, 'spa').exchange(out.params.code));
  });
});

test('with every factor that is asked for', async () => {
  const s = d.as(id('factor'));
  const totp = await s.addTotp();
  await leave('factor');
  d.apply({ tenant: { mfa_policy: 'always' } });
  const browser = new Browser(d);
  const page = await browser.login(await browser.authorize(), mail('factor'));
  assert.ok(!page.has('keep'), 'not before the second factor');
  d.advance(31 * SECOND);
  const next = await browser.submit(page, 'code', { code: s.code(totp.secret) });
  d.apply({ tenant: { mfa_policy: 'never' } });
  assert.ok(next.has('keep'), next.title);
  const out = await browser.submit(next, 'keep');
  assert.ok(out.params.code, out.title);
  stays('factor');
});

test('the API', async (t) => {
  await leave('api');
  const app = new App(d, 'spa');
  const only = { audience: d.me, scope: `openid ${SCOPE}` };
  const browser = new Browser(d);
  const out = await browser.login(await browser.authorize(only), mail('api'));
  await t.test('a sign-in for nothing else is not stopped', () => assert.ok(out.params.code, out.title));
  const tokens = isIssued(await app.exchange(out.params.code));
  const s = d.bearer(tokens.access_token);
  await t.test('its token and session are good for nothing else', async () => {
    isProblem(await s.del(PATH), 403, 'A0E-403-0001', /about to be deleted/);
    assert.equal(tokens.refresh_token, undefined);
    assert.equal((await app.get('/userinfo', `Bearer ${tokens.access_token}`)).status, 401);
    const silent = await browser.go('GET', authorizeUrl({ prompt: 'none' }));
    assert.equal(silent.params.error, 'interaction_required');
    const page = await browser.authorize();
    assert.ok(page.has('keep'), page.title);
  });
  await t.test('asking for more is stopped', async () => {
    for (const scope of [`openid profile ${SCOPE}`, `${SCOPE} offline_access`, `${SCOPE} read:me:factors`, 'openid']) {
      const b = new Browser(d);
      const p = await b.login(await b.authorize({ ...only, scope }), mail('api'));
      assert.ok(p.has?.('keep'), scope);
    }
    leaves('api');
  });
  await t.test('restore', async () => {
    assert.deepEqual((await s.want(200, 'POST', RESTORE)).json, { status: 'active' });
    stays('api');
    assert.deepEqual((await s.want(200, 'POST', RESTORE)).json, { status: 'active' });
    assert.equal(events('api', 'my_account_account_succeeded').filter((e) => e.operation === 'restore').length, 1);
    assert.deepEqual(events('api', 'my_account_account_succeeded').at(-1).details, { by: 'api' });
  });
});

test('a token of another issuer', async () => {
  await leave('external');
  isProblem(await d.as(id('external'), { scope: 'read:me:factors' }).post(RESTORE), 403, 'A0E-403-0002');
  assert.deepEqual((await d.as(id('external'), { scope: SCOPE }).want(200, 'POST', RESTORE)).json, { status: 'active' });
  stays('external');
});

test('without the hosted page', async () => {
  await leave('embedded');
  const app = new App(d, 'app');
  isRefused(await app.password(mail('embedded'), { audience: d.me, scope: WANTED }), 403, 'access_denied', /about to be deleted/);
  isRefused(await app.password(mail('embedded'), { scope: 'openid' }), 403, 'access_denied', /about to be deleted/);
  isRefused(await app.password(mail('embedded'), { audience: d.me, scope: WANTED, password: 'Zq7-wrong-one' }), 403, 'invalid_grant');
  const t = isIssued(await app.password(mail('embedded'), { audience: d.me, scope: SCOPE }));
  await d.bearer(t.access_token).want(200, 'POST', RESTORE);
  stays('embedded');
});

test('nobody can be reached', async () => {
  await leave('mute');
  const browser = new Browser(d);
  await browser.submit(await browser.login(await browser.authorize(), mail('mute')), 'keep');
  stays('mute');
});

test('too often', async () => {
  for (let i = 0; i < 10; i++) {
    await leave('often');
    await fresh('often').want(200, 'POST', RESTORE);
    d.advance(2 * SECOND);
  }
  isProblem(await fresh('often').del(PATH), 429, 'A0E-429-0001', /too often/);
  stays('often');
});

test('the state document does not take it back', async () => {
  const { leaves_at } = await leave('apply');
  d.apply({ users: [user(id('apply'), { email: mail('apply'), email_verified: true, name: 'Another', password: PASSWORD })] });
  assert.equal(Date.parse(row('apply').leaves_at), Date.parse(leaves_at));
  assert.equal(row('apply').name, 'Another');
  d.apply(JSON.parse(d.ok('export')));
  leaves('apply');
});

test('an operator deletes at once', async () => {
  await leave('admin');
  assert.match(d.ok('user', 'delete', id('admin')), /deleted/);
  assert.equal(d.ctl('user', 'show', id('admin')).code, 1);
});

test('after the time', async (t) => {
  const app = new App(d, 'app');
  const s = d.as(id('erased'), { scope: EVERY.join(' ') });
  await s.addTotp();
  await s.addEmail('second-of-erased@example.com');
  await s.want(200, 'PATCH', '/me/v1/profile', { nickname: 'Nick of erased', user_metadata: { note: 'Note of erased' } });
  d.apply({ organizations: [{ id: 'org_e', name: 'e', members: [id('erased'), id('other')] }] });
  await byPage(d, 'erased');
  await s.want(202, 'POST', '/me/v1/exports');
  const words = [id('erased'), mail('erased'), 'second-of-erased', 'Nick of erased', 'Note of erased'];
  await leave('erased');
  const told = await letter('erased');
  await leave('late');
  const late = await letter('late');
  for (const w of words) assert.ok(holds(w), `${w} is not there to begin with`);
  const early = d.as(id('late'), { scope: SCOPE });
  const browser = new Browser(d);
  const asked = await browser.login(await browser.authorize(), mail('late'));
  const form = fields(await open(d, late.link.path), 'keep');
  d.advance(GRACE - 60 * SECOND);
  await t.test('not a minute before', async () => {
    assert.equal((await open(d, told.link.path)).status, 200);
    leaves('erased');
  });
  d.advance(61 * SECOND);
  await t.test('no way back is left', async () => {
    assert.equal((await open(d, late.link.path)).status, 404);
    assert.notEqual((await open(d, KEEP, { method: 'POST', form })).status, 200);
    const api = await d.as(id('late'), { scope: SCOPE }).post(RESTORE);
    assert.ok([409, 403, 401].includes(api.status), api.text);
    assert.equal((await early.post(RESTORE)).status, 401, 'an hour is over, too');
    const out = await browser.submit(asked, 'keep');
    assert.ok(!out.params?.code, 'not by a page that was open');
    assert.equal((await app.password(mail('late'), { audience: d.me, scope: SCOPE })).status, 403, 'deleted, or unknown already');
  });
  await erased('erased');
  await erased('late');
  await t.test('nothing is left in the files', async () => {
    await eventually(() => words.every((w) => !holds(w)), 'an empty log', 40000);
  });
  await t.test('nor in a backup taken after it', () => {
    const copy = `${d.dir}/backup-after.db`;
    d.ok('backup', copy);
    for (const w of [...words, mail('late'), id('late')]) assert.ok(!holds(w, [copy]), w);
    assert.ok(holds(id('other'), [copy]));
  });
  await t.test('organizations go on without', () => assert.deepEqual(JSON.parse(d.ok('export')).organizations.find((o) => o.id === 'org_e').members, [id('other')]));
  await t.test('the trail tells of it and verifies', () => {
    const rows = d.audit().map((l) => JSON.parse(l)).filter((r) => r.type === 'sdu' && r.details.actor === 'user');
    assert.ok(rows.length >= 2);
    for (const r of rows) {
      assert.match(r.user_id, /^erased\|/);
      assert.ok(r.details.erased_rows > 0);
    }
    assert.deepEqual(d.audit(id('erased')), []);
    assert.match(d.ok('audit', 'verify'), /^head: /m);
  });
  await t.test('the link is dead', async () => assert.equal((await open(d, told.link.path)).status, 404));
});

test('a daemon that was down when the time came', async () => {
  await leave('ontime');
  await d.end('SIGKILL');
  d.advance(GRACE + SECOND);
  await d.run();
  await erased('ontime');
  assert.match(d.ok('audit', 'verify'), /^head: /m);
});

test('as configured: at once, without a second factor', async (t) => {
  const c = await start(['quick', 'counted', 'back', 'second'], { config: { account: { grace_period: 0, delete_step_up: false } } });
  try {
    c.apply({ users: [user(id('quick'), { email: mail('quick'), email_verified: true })] });
    const series = () => new Text(c.ok('metrics')).values;
    const s = c.as(id('quick'), { scope: EVERY.join(' ') });
    await t.test('gone within seconds', async () => {
      const res = await s.want(202, 'DELETE', PATH);
      assert.ok(Date.parse(res.json.leaves_at) <= c.now());
      await eventually(() => c.ctl('user', 'show', id('quick')).code === 1, 'the erasure', 40000);
      assert.ok([401, 403].includes((await s.get(METHODS)).status));
      assert.ok(!c.spool.all().some((m) => /is going to be deleted/.test(m.subject ?? '')), 'no message: it would come too late');
    });
    await t.test('counted', async () => {
      await c.as(id('counted'), { scope: 'create:me:exports' }).want(202, 'POST', '/me/v1/exports');
      await eventually(() => series().get('myaccountd_exports_total{outcome="succeeded"}') === 1, 'the copy', 30000);
      assert.equal(series().get('myaccountd_account_deletions_total{step="asked_for"}'), 1);
      assert.equal(series().get('myaccountd_account_deletions_total{step="erased"}'), 1);
      assert.equal(series().get('myaccountd_leaving_users'), 0);
    });
    await t.test('other times after a reload', async () => {
      c.configure({ account: { grace_period: 600, delete_step_up: true, export_ttl: 600 }, rate_limit: { exports_per_day: 1 } });
      c.process.kill('SIGHUP');
      await eventually(() => c.logText().includes('"reloaded"'), 'the reload');
      isProblem(await c.as(id('back'), { scope: EVERY.join(' ') }).del(PATH), 401, 'A0E-401-0004');
      const res = await c.as(id('back'), { scope: EVERY.join(' '), auth_time: Math.floor(c.now() / 1000) }).want(202, 'DELETE', PATH);
      assert.ok(Math.abs(Date.parse(res.json.leaves_at) - c.now() - 600 * SECOND) < 60 * SECOND);
      assert.equal(series().get('myaccountd_leaving_users'), 1);
      const s2 = c.as(id('second'), { scope: 'create:me:exports read:me:exports' });
      const { id: copy } = (await s2.want(202, 'POST', '/me/v1/exports')).json;
      const done = await eventually(async () => { const e = (await s2.get(`/me/v1/exports/${copy}`)).json; return e.status === 'ready' && e; }, 'the copy', 30000);
      assert.equal(Date.parse(done.expires_at) - Date.parse(done.ready_at), 600 * SECOND);
      isProblem(await s2.post('/me/v1/exports'), 429, 'A0E-429-0001', /today/);
    });
  } finally { await c.stop(); }
});

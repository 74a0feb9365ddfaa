/* SPDX-License-Identifier: Apache-2.0
 * POST /exports and GET /exports/{id}: a copy of everything that is held about the caller. */
import fs from 'node:fs';
import { assert, test, before, after, eventually, isProblem } from './lib/kit.mjs';
import { UNDO, notice, open, press } from './lib/notices.mjs';
import { CHROME, byApp, byPage, everyOperation, id, mail, start } from './lib/account.mjs';

const PATH = '/me/v1/exports';
const DAY = 86400000;
const NAMES = ['all', 'bob', 'one', 'gate', 'limit', 'late', 'gone', 'undo', 'restart', 'seen', 'big', 'thief'];
let d;
before(async () => {
  d = await start(NAMES, { config: { notifications: { changes_per_hour: 0 } },
    state: { organizations: [{ id: 'org_mine', name: 'mine', members: [id('all')] }, { id: 'org_other', name: 'other', members: [id('bob')] }] } });
});
after(() => d.stop());

const as = (who) => d.as(id(who), { scope: 'create:me:exports read:me:exports read:me:activity' });
const ask = async (s) => (await s.want(202, 'POST', PATH)).json;
const look = async (s, e) => (await s.want(200, 'GET', `${PATH}/${e.id}`)).json;
const ready = (s, e) => eventually(async () => { const now = await look(s, e); return now.status !== 'pending' && now; }, 'the export', 30000);
const made = async (s) => ready(s, await ask(s));
/* What a table holds, without asking the daemon. */
const rows = (who) => JSON.parse(d.ok('user', 'export', id(who)));

test('asked for, made, fetched', async (t) => {
  await byPage(d, 'all');
  await byApp(d, 'all');
  const full = d.as(id('all'));
  await full.addTotp();
  await full.addRecovery();
  await full.addEmail('second-of-all@example.com');
  const bob = d.as(id('bob'));
  await bob.addEmail('second-of-bob@example.com');
  await byPage(d, 'bob');
  const s = as('all');
  const res = await s.want(202, 'POST', PATH);
  await t.test('202 with its place', () => {
    assert.deepEqual(Object.keys(res.json).sort(), ['created_at', 'id', 'status']);
    assert.equal(res.json.status, 'pending');
    assert.equal(res.headers.location, `${d.base}${PATH}/${res.json.id}`);
  });
  const done = await ready(s, res.json);
  await t.test('ready for a day', () => {
    assert.equal(done.status, 'ready');
    assert.equal(Date.parse(done.expires_at) - Date.parse(done.ready_at), DAY);
    assert.ok(Math.abs(done.size - JSON.stringify(done.document).length) < done.size / 10, `${done.size}`);
  });
  const doc = done.document;
  await t.test('everything of the user', () => {
    assert.equal(doc.users[0].email, mail('all'));
    assert.deepEqual(new Set(doc.methods.map((m) => m.type)), new Set(['totp', 'recovery-code', 'email']));
    assert.equal(doc.sessions.length, 1);
    assert.equal(doc.sessions[0].user_agent, CHROME);
    assert.equal(doc.families.length, 2);
    assert.deepEqual(doc.organizations, [{ id: 'org_mine', name: 'mine' }]);
    assert.equal(doc.exports[0].id, res.json.id);
    assert.ok(doc.audit.some((r) => r.operation === 'verify'));
    /* The operator's document of the same moment has the same members, and the same rows but for what the making left. */
    const operators = rows('all');
    assert.deepEqual(Object.keys(doc), Object.keys(operators));
    for (const table of Object.keys(doc).filter((k) => Array.isArray(doc[k]) && !['audit', 'exports', 'export_parts', 'outbox', 'counters'].includes(k)))
      assert.deepEqual(doc[table], operators[table], table);
  });
  await t.test('and of nobody else', () => {
    const text = JSON.stringify(doc);
    for (const w of ['bob', 'second-of-bob', 'org_other']) assert.ok(!text.includes(w), w);
  });
  await t.test('and no secret', () => {
    const text = JSON.stringify(doc);
    for (const [secret, kind] of d.secrets.known) assert.ok(!text.includes(secret), kind);
    assert.doesNotMatch(text, /"(hash|secret|salt|sealed|pseudonym|[a-z_]*_mac)"/);
  });
  await t.test('somebody else\'s is not there', async () => isProblem(await as('bob').get(`${PATH}/${res.json.id}`), 404, 'A0E-404-0002'));
  await t.test('nor are others', async () => { for (const x of ['exp_0000000000000000000000', 'exp_', '%C3%A9', `${res.json.id}.000001`]) assert.equal((await s.get(`${PATH}/${x}`)).status, 404, x); });
  await t.test('in the database it is sealed', () => {
    for (const f of ['', '-wal']) {
      const bytes = fs.readFileSync(`${d.files.db}${f}`);
      assert.ok(!bytes.includes('myaccountd user export 1'), f);
    }
  });
  await t.test('asking and fetching are on record', async () => {
    const seen = d.audit(id('all')).map((l) => JSON.parse(l)).filter((r) => r.type === 'my_account_export_succeeded');
    assert.ok(seen.some((r) => r.operation === 'create' && r.details.export_id === res.json.id));
    assert.ok(seen.some((r) => r.operation === 'read' && r.details.export_id === res.json.id));
    const types = (await s.want(200, 'GET', '/me/v1/activity?take=100')).json.events.map((e) => e.type);
    assert.ok(types.includes('export_requested') && types.includes('export_fetched'));
  });
});

test('gates', async (t) => {
  const s = as('gate');
  const e = await made(s);
  await everyOperation(t, d, 'gate', { method: 'GET', path: `${PATH}/${e.id}`, scope: 'read:me:exports', allow: ['GET', 'HEAD', 'OPTIONS'] });
  await t.test('HEAD', async () => assert.equal((await s.request('HEAD', `${PATH}/${e.id}`)).status, 200));
  await t.test('no token, another scope', async () => {
    isProblem(await d.anonymous().post(PATH), 401, 'A0E-401-0002');
    isProblem(await d.as(id('gate'), { scope: 'read:me:exports' }).post(PATH), 403, 'A0E-403-0002', /create:me:exports/);
  });
  await t.test('a body is none', async () => assert.equal((await as('gate').post(PATH, {})).status, 202));
});

test('one at a time, and a new one in place of the old', async (t) => {
  const s = as('one');
  const first = await ask(s);
  /* As many at once as one likes: never two are on their way. */
  const many = await Promise.all(Array.from({ length: 8 }, () => s.post(PATH)));
  for (const r of many) assert.ok([202, 409].includes(r.status), String(r.status));
  await t.test('409 while one is pending', async () => {
    const r = many.find((x) => x.status === 409);
    assert.ok(r || many.every((x) => x.status === 202), 'either it was refused or it was ready already');
    if (r) isProblem(r, 409, 'A0E-409-0001', /being made/);
  });
  await eventually(async () => rows('one').exports.every((e) => e.status === 'ready'), 'rest');
  await t.test('the old one is gone', async () => {
    const second = await eventually(async () => { const r = await s.post(PATH); return r.status === 202 ? r.json : r.status === 429 && { late: true }; }, 'another');
    if (second.late) return;
    assert.equal((await s.get(`${PATH}/${first.id}`)).status, 404);
    await ready(s, second);
    assert.equal(rows('one').exports.length, 1);
  });
});

test('a few a day', async () => {
  const s = as('limit');
  for (let i = 0; i < 5; i++) await made(s);
  const r = await s.post(PATH);
  isProblem(r, 429, 'A0E-429-0001', /today/);
  assert.ok(Number(r.headers['retry-after']) > 3600);
  assert.equal(rows('limit').exports[0].status, 'ready', 'what is there stays');
  d.advance(DAY / 5 + 1000);
  await made(as('limit'));
});

test('gone after a day', async () => {
  const s = as('late');
  const e = await made(s);
  d.advance(DAY - 60000);
  await look(as('late'), e);
  d.advance(61000);
  isProblem(await as('late').get(`${PATH}/${e.id}`), 404, 'A0E-404-0002');
  await eventually(() => rows('late').exports.length === 0 && rows('late').export_parts.length === 0, 'its end', 40000);
});

test('gone with its user', async () => {
  const s = as('gone');
  const e = await made(s);
  d.ok('user', 'delete', id('gone'));
  assert.notEqual((await s.get(`${PATH}/${e.id}`)).status, 200);
});

test('a restart in between', async () => {
  d.ok('user', 'show', id('restart'));
  const s = as('restart');
  const e = await ask(s);
  await d.end('SIGKILL');
  await d.run();
  const done = await ready(as('restart'), e);
  assert.equal(done.status, 'ready');
  assert.equal(done.document.users[0].email, mail('restart'));
});

test('a large one', async () => {
  /* Many pieces, and more than an answer has room for by itself. */
  const organizations = Array.from({ length: 3000 }, (_, i) => ({ id: `org_big${i}`, name: `big-${i}`, display_name: `${i} ${'x'.repeat(240)}`, members: [id('big')] }));
  d.apply({ organizations });
  const done = await made(as('big'));
  assert.equal(done.document.organizations.length, 3000);
  assert.deepEqual(new Set(done.document.organizations.map((o) => o.display_name)), new Set(organizations.map((o) => o.display_name)));
  assert.ok(done.size > 700000);
  assert.ok(rows('big').export_parts.length > 14);
});

test('its user is told', async (t) => {
  const who = 'thief';
  d.apply({ users: [{ user_id: id(who), email: mail(who), email_verified: true }] });
  const s = as(who);
  const e = await made(s);
  const told = await notice(d, 'data-exported', mail(who));
  assert.ok(told.link.url.startsWith(`${d.base}${UNDO}`));
  await t.test('and may say that it was somebody else', async () => {
    const page = await open(d, told.link.path);
    assert.match(page.text, /The copy is deleted/);
    d.advance(2000);
    const done = await press(d, told.link);
    assert.match(done.title, /It was undone/);
    isProblem(await s.get(`${PATH}/${e.id}`), 401, 'A0E-401-0003');
    d.advance(2000);
    isProblem(await as(who).get(`${PATH}/${e.id}`), 404, 'A0E-404-0002');
  });
});

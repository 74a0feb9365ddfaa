/* SPDX-License-Identifier: Apache-2.0
 * Everything about a user handed out, and erased without a trace. */
import fs from 'node:fs';
import { assert, test, before, after, Daemon, user, eventually } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

const files = () => ['', '-wal'].map((s) => `${d.files.db}${s}`).filter((f) => fs.existsSync(f));
const holds = (word) => files().some((f) => fs.readFileSync(f).includes(word));

const digits = (name) => [...name].reduce((n, c) => (n * 31 + c.charCodeAt(0)) % 1000000, 7).toString().padStart(6, '0');

/* A user whose identifiers nobody else has, with something in every corner that the API reaches. */
async function somebody(name) {
  const id = `auth0|${name}`;
  d.apply({ users: [user(id, { email: `${name}@erase.example`, name: `Name of ${name}`, phone_number: `+1555${digits(name)}1` })], organizations: [{ id: `org_${name}`, name, members: [id, 'auth0|bob'] }] });
  const s = d.as(id);
  const app = await s.addTotp();
  await s.addRecovery();
  await s.addEmail(`second-${name}@erase.example`);
  const phone = await s.startPhone(`+1555${digits(name)}2`);
  return { s, id, app, phone };
}
const traces = (name) => [`${name}@erase.example`, `Name of ${name}`, `+1555${digits(name)}1`, `+1555${digits(name)}2`];

for (const how of ['up', 'down'])
  test(`export, daemon ${how}`, async (t) => {
    const who = await somebody(`export-${how}`);
    if (how === 'down') await d.end('SIGTERM');
    const text = d.ok('user', 'export', who.id);
    const doc = JSON.parse(text);
    await t.test('one document with everything', () => {
      assert.equal(doc.format, 'myaccountd user export 1');
      assert.equal(doc.users[0].email, `export-${how}@erase.example`);
      assert.deepEqual(new Set(doc.methods.map((m) => m.type)), new Set(['totp', 'recovery-code', 'email', 'phone']));
      assert.deepEqual(doc.organizations, [{ id: `org_export-${how}`, name: `export-${how}` }]);
      assert.ok(doc.audit.some((r) => r.operation === 'verify'));
      for (const w of traces(`export-${how}`)) assert.ok(text.includes(w), w);
    });
    await t.test('and no secret', () => {
      for (const [secret, kind] of d.secrets.known) assert.ok(!text.includes(secret), kind);
      assert.doesNotMatch(text, /"(hash|secret|salt|[a-z_]*_mac)"/);
    });
    await t.test('who asked is on record, in the document too', () => {
      const row = JSON.parse(d.audit(who.id).at(-1));
      assert.equal(row.operation, 'user export');
      assert.deepEqual(row.details, { actor: 'operator', uid: process.getuid() });
      assert.equal(doc.audit.at(-1).operation, 'user export');
    });
    await t.test('of nobody', () => {
      const r = d.ctl('user', 'export', 'auth0|nobody');
      assert.equal(r.code, 1);
      assert.equal(r.out, '');
      assert.match(r.err, /no such user/);
    });
    if (how === 'down') await d.run();
  });

for (const how of ['up', 'down'])
  test(`delete, daemon ${how}`, async (t) => {
    const name = `delete-${how}`;
    const who = await somebody(name);
    const before = JSON.parse(d.ok('export')).organizations.find((o) => o.id === `org_${name}`);
    assert.deepEqual(before.members, [who.id, 'auth0|bob']);
    if (how === 'down') await d.end('SIGTERM');
    for (const w of traces(name)) assert.ok(holds(w), `${w} is not there to begin with`);
    assert.ok(d.ok('user', 'delete', who.id).startsWith(`user ${who.id} deleted; `));
    await t.test('nothing of it is left in the files', () => { for (const w of traces(name)) assert.ok(!holds(w), w); });
    await t.test('nor in the state', () => {
      const doc = JSON.parse(d.ok('export'));
      assert.ok(!doc.users.some((u) => u.user_id === who.id));
      assert.deepEqual(doc.organizations.find((o) => o.id === `org_${name}`).members, ['auth0|bob']);
      assert.equal(d.ctl('user', 'export', who.id).code, 1);
    });
    await t.test('who did it is on record', () => {
      const row = JSON.parse(d.audit().at(-1));
      assert.equal(row.type, 'sdu');
      assert.match(row.user_id, /^erased\|/);
      assert.deepEqual([row.details.actor, row.details.uid], ['operator', process.getuid()]);
      assert.ok(row.details.erased_rows > 0);
      assert.deepEqual(d.audit(who.id), []);
      assert.match(d.ok('audit', 'verify'), /^head: /m);
    });
    if (how === 'down') await d.run();
    await t.test('its tokens are good for nothing', async () => { const r = await who.s.get('/me/v1/authentication-methods'); assert.ok(r.status === 401 || r.status === 403, String(r.status)); });
  });

test('a message on its way goes with its user', async () => {
  const c = await Daemon.start({ config: { delivery: { sms: 'https://127.0.0.1:9/sms' }, network: { allow_private: true } } });
  try {
    const s = c.session();
    await s.want(202, 'POST', '/me/v1/authentication-methods', { type: 'phone', phone_number: '+15556665555' });
    const row = () => JSON.parse(c.ok('user', 'export', s.user)).outbox;
    await eventually(() => row().length === 1, 'the message', 20000);
    assert.equal(row()[0].to, '+15556665555');
    c.ok('user', 'delete', s.user);
    assert.ok(!fs.readFileSync(c.files.db).includes('+15556665555'));
  } finally { await c.stop(); }
});

test('vacuum', async () => {
  assert.match(d.ok('vacuum'), /rewritten/);
  await d.session().factors();
});

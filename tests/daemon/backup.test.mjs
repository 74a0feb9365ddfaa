/* SPDX-License-Identifier: Apache-2.0
 * Backups under load, restoring, and the keys in a wrapped file. */
import fs from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { assert, test, before, after, Daemon, BIN, METHODS, user } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

const mode = (f) => (fs.statSync(f).mode & 0o7777).toString(8);
const phraseFile = (text, name = 'phrase') => {
  const f = path.join(d.dir, name);
  fs.writeFileSync(f, `${text}\n`, { mode: 0o600 });
  return f;
};
const PHRASE = 'correct horse battery staple';

test('a backup under load holds what was acknowledged before it, and is whole', async (t) => {
  const users = Array.from({ length: 12 }, () => d.session());
  let stop = false;
  const acknowledged = [];
  const writers = users.map(async (s) => {
    while (!stop) {
      const e = await s.enrol({ type: 'email', email: `${s.user.slice(6)}-${acknowledged.length}@mail.example` });
      acknowledged.push(e.id);
    }
  });
  while (acknowledged.length < 20) await new Promise((r) => setTimeout(r, 5));
  const done = acknowledged.slice();
  const file = path.join(d.dir, 'backup-load.db');
  const r = await d.ctlAsync('backup', file);
  const meanwhile = acknowledged.length;
  stop = true;
  await Promise.all(writers);
  assert.equal(r.code, 0, r.err);
  await t.test('it says what it is', () => {
    assert.match(r.out, /^\S+backup-load\.db written: \d+ bytes, schema \d+, sealed with the keys [0-9a-f]{16} \(vault key 1\)\n$/);
    assert.equal(mode(file), '600');
    assert.ok(!fs.existsSync(`${file}.partial`));
  });
  await t.test('writing went on', () => assert.ok(meanwhile > done.length, `${meanwhile} of ${done.length}`));
  const sql = (q) => spawnSync('sqlite3', [file, q], { encoding: 'utf8' });
  await t.test('it is whole', () => {
    assert.equal(sql('PRAGMA integrity_check').stdout.trim(), 'ok');
    assert.equal(sql('PRAGMA foreign_key_check').stdout, '');
  });
  await t.test('it holds everything from before', () => {
    const there = new Set(sql('SELECT method_id FROM enrolments').stdout.split('\n'));
    assert.deepEqual(done.filter((id) => !there.has(id)), []);
  });
  await t.test('nothing is replaced unasked', () => {
    const again = d.ctl('backup', file);
    assert.equal(again.code, 1);
    assert.match(again.err, /--force/);
    d.ok('backup', file, '--force');
    assert.equal(d.ctl('backup', d.files.db, '--force').code, 1);
  });
});

test('restore', async (t) => {
  const s = d.session();
  const pending = await s.enrol({ type: 'totp' });
  const file = path.join(d.dir, 'backup-restore.db');
  d.ok('backup', file);
  d.apply({ users: [user('auth0|afterwards')] });
  await t.test('not while the daemon runs', () => {
    const r = d.ctl('restore', file);
    assert.equal(r.code, 1);
    assert.match(r.err, /stop the daemon first/);
  });
  await d.end('SIGKILL'); // the log is still there
  d.expectExit = true;
  await t.test('not from what is no backup', () => {
    for (const f of [d.files.conf, '/nonexistent', d.dir]) assert.equal(d.ctl('restore', f).code, 1, f);
  });
  let out;
  await t.test('puts it back and keeps what was there', () => {
    out = d.ok('restore', file);
    assert.match(out, /restored from .*: schema \d+, keys [0-9a-f]{16}\nthe database it replaced is \S+\n$/);
    const kept = out.match(/replaced is (\S+)/)[1];
    assert.equal(spawnSync('sqlite3', [kept, "SELECT count(*) FROM users WHERE user_id = 'auth0|afterwards'"], { encoding: 'utf8' }).stdout.trim(), '1');
    assert.equal(mode(d.files.db), '600');
    assert.ok(!fs.existsSync(`${d.files.db}.restoring`));
  });
  await d.run();
  await t.test('the state is that of the backup, and sealed values open', async () => {
    assert.equal(d.ctl('user', 'show', 'auth0|afterwards').code, 1);
    await s.want(201, 'POST', `${METHODS}/${encodeURIComponent(pending.id)}/verify`, { auth_session: pending.auth_session, otp_code: s.code(pending.manual_input_code) });
  });
  await t.test('it is on record', () => assert.ok(d.audit().some((l) => l.includes('"operation":"restore"') && l.includes(`"uid":${process.getuid()}`))));
});

test('the keys in a file, and a machine that is lost', async (t) => {
  const file = path.join(d.dir, 'keys.enc');
  const db = path.join(d.dir, 'backup-lost.db');
  const phrase = phraseFile(PHRASE);
  const s = d.session();
  const pending = await s.enrol({ type: 'totp' });
  d.ok('backup', db);
  await t.test('export', () => {
    assert.match(d.ok('keys', 'export', file, '--passphrase-file', phrase), /the keys [0-9a-f]{16}\n$/);
    assert.equal(mode(file), '600');
    assert.equal(d.ctl('keys', 'export', file, '--passphrase-file', phrase).code, 1);
    d.ok('keys', 'export', file, '--passphrase-file', phrase, '--force');
    const bytes = fs.readFileSync(file);
    const ring = fs.readFileSync(`${d.dir}/keys/vault.keys`, 'utf8').split('\n')[1].split(' ')[2];
    assert.ok(!bytes.includes(ring) && !bytes.includes('PRIVATE KEY'));
  });
  await t.test('short passphrases, open files and no terminal', () => {
    assert.match(d.ctl('keys', 'export', `${file}2`, '--passphrase-file', phraseFile('short', 'p2')).err, /12 to/);
    const open = phraseFile(PHRASE, 'p3');
    fs.chmodSync(open, 0o644);
    assert.match(d.ctl('keys', 'export', `${file}2`, '--passphrase-file', open).err, /too open/);
    const r = spawnSync('setsid', [`${BIN}/myaccountctl`, '--config', d.files.conf, 'keys', 'export', `${file}2`], { encoding: 'utf8', input: `${PHRASE}\n${PHRASE}\n` });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /--passphrase-file/);
    assert.ok(!fs.existsSync(`${file}2`));
  });

  const lost = await Daemon.start({ state: null, start: false, config: { base_url: d.base } });
  try {
    await t.test('a backup without keys is refused', () => {
      const r = lost.ctl('restore', db);
      assert.equal(r.code, 1);
      assert.match(r.err, /import them first/);
      assert.ok(!fs.existsSync(`${lost.dir}/keys`), 'none are made');
    });
    await t.test('with other keys too', () => {
      lost.ok('apply', lost.document({ users: [{ user_id: 'auth0|other' }] }));
      const r = lost.ctl('restore', db);
      assert.equal(r.code, 1);
      assert.match(r.err, /sealed with other keys/);
      assert.match(lost.ok('user', 'list'), /auth0\|other/, 'and nothing has changed');
    });
    await t.test('import: not over keys, not with another passphrase', () => {
      assert.match(lost.ctl('keys', 'import', file, '--passphrase-file', phrase).err, /not empty/);
      fs.rmSync(`${lost.dir}/keys`, { recursive: true });
      const r = lost.ctl('keys', 'import', file, '--passphrase-file', phraseFile('wrong horse battery staple', 'p4'));
      assert.equal(r.code, 1);
      assert.match(r.err, /wrong passphrase/);
    });
    await t.test('the whole way back', async () => {
      lost.ok('keys', 'import', file, '--passphrase-file', phrase);
      assert.equal(mode(`${lost.dir}/keys`), '700');
      for (const f of ['vault.keys', 'pepper', 'vault.canary', 'signing.keys']) assert.equal(mode(`${lost.dir}/keys/${f}`), '600', f);
      lost.ok('restore', db);
      assert.equal(lost.ok('keys', 'list').split('\n')[0], d.ok('keys', 'list').split('\n')[0], 'the signing keys');
      await lost.run();
      const kid = (x) => x.http({ path: '/.well-known/jwks.json' }).then((r) => r.json.keys.map((k) => k.kid));
      assert.deepEqual(await kid(lost), await kid(d));
      const out = lost.ok('user', 'list');
      assert.ok(out.includes('auth0|alice') && !out.includes('auth0|other'));
      const again = lost.as(s.user);
      await again.want(201, 'POST', `${METHODS}/${encodeURIComponent(pending.id)}/verify`, { auth_session: pending.auth_session, otp_code: s.code(pending.manual_input_code) });
    });
  } finally { await lost.stop(); }
});

test('a passphrase from the terminal is asked for twice', { skip: spawnSync('script', ['--version']).error ? 'no script(1)' : false }, () => {
  const file = path.join(d.dir, 'keys-tty.enc');
  const run = (a, b) => {
    fs.rmSync(file, { force: true });
    const line = `${BIN}/myaccountctl --config ${d.files.conf} keys export ${file}`;
    const feed = `sleep 1; printf '%s\\n' '${a}'; sleep 1; printf '%s\\n' '${b}'; sleep 2`;
    return spawnSync('bash', ['-c', `{ ${feed}; } | script -qec '${line}' /dev/null`], { encoding: 'utf8', env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' }, timeout: 60000 });
  };
  const r = run(PHRASE, PHRASE);
  assert.ok(fs.existsSync(file), r.stdout + r.stderr);
  assert.ok(!r.stdout.includes(PHRASE), 'it is not shown');
  const other = run(PHRASE, `${PHRASE}!`);
  assert.ok(!fs.existsSync(file), other.stdout);
});

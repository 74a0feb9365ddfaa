/* SPDX-License-Identifier: Apache-2.0
 * New vault keys while the daemon runs, without it, and after it was killed in the middle. */
import fs from 'node:fs';
import { spawnSync } from 'node:child_process';
import { assert, test, before, after, Daemon, METHODS, client, eventually } from './lib/kit.mjs';

const SECRET = 'vault-keys-client-secret';
let d;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { email_per_hour: 0 } } });
  d.apply({ clients: [client('web', { app_type: 'regular_web', client_secret: SECRET })] });
  d.secrets.add('password', SECRET);
});
after(() => d.stop());

const status = () => JSON.parse(d.ok('keys', 'list').trim().split('\n')[1]);
const ring = () => fs.readFileSync(`${d.dir}/keys/vault.keys`, 'utf8').split('\n').filter((l) => /^\d/.test(l)).map((l) => Number(l.split(' ')[0]));
const verify = (s, e) => s.want(201, 'POST', `${METHODS}/${encodeURIComponent(e.id)}/verify`, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });

/* As many users, each with a seed that only opening it can confirm. */
async function enrolMany(n) {
  const out = [];
  for (let i = 0; i < n; i++) {
    const s = d.session();
    out.push([s, await s.enrol({ type: 'totp' })]);
  }
  return out;
}

test('while the daemon runs', async (t) => {
  const pending = await enrolMany(20);
  const before = status();
  assert.equal(before.percent, 100);
  assert.ok(before.values >= 22, JSON.stringify(before));
  const running = [];
  let stop = false;
  const writer = d.session();
  const load = (async () => { while (!stop) running.push((await writer.enrol({ type: 'email', email: `x${running.length}@mail.example` })).id); })();
  const r = await d.ctlAsync('keys', 'rotate', '--vault', '--watch');
  stop = true;
  await load;
  await t.test('a new key seals at once, and in the end everything is sealed with it', () => {
    assert.equal(r.code, 0, r.err);
    assert.match(r.out, /^vault key 2 seals from now on\n/);
    assert.match(r.out, /100 %: \d+ values are sealed with vault key 2\n/);
    const now = status();
    assert.equal(now.waiting, 0);
    assert.equal(now.percent, 100);
    assert.deepEqual(now.vault.map((k) => [k.id, k.state, k.values > 0]), [[1, 'opening', false], [2, 'sealing', true]]);
  });
  await t.test('what was sealed before opens', async () => { for (const [s, e] of pending.slice(0, 10)) await verify(s, e); });
  await t.test('the old key stays for a while, then it goes', async () => {
    assert.deepEqual(ring(), [1, 2]);
    d.ok('keys', 'reseal');
    await eventually(() => d.logText().includes('vault.resealed'), 'the log line');
    await new Promise((resolve) => setTimeout(resolve, 300));
    d.advance(121000);
    await eventually(() => { d.ok('keys', 'reseal'); return ring().length === 1; }, 'the end of key 1', 20000);
    assert.deepEqual(ring(), [2]);
    assert.match(d.logText(), /vault\.keys_retired/);
  });
  await t.test('and everything still opens, also after a start', async () => {
    for (const [s, e] of pending.slice(10, 15)) await verify(s, e);
    assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
    await d.run();
    for (const [s, e] of pending.slice(15)) await verify(s, e);
  });
  await t.test('it is on record', () => assert.ok(d.audit().some((l) => l.includes('"operation":"keys rotate"') && l.includes('"vault_key":2') && l.includes(`"uid":${process.getuid()}`))));
  await t.test('--watch alone is no command', () => assert.equal(d.ctl('keys', 'rotate', '--watch').code, 2));
});

test('killed again and again in the middle', async () => {
  const pending = await enrolMany(10);
  for (let i = 0; i < 4; i++) {
    const rotating = d.ctlAsync('keys', 'rotate', '--vault');
    await new Promise((resolve) => setTimeout(resolve, i * 7));
    await d.end('SIGKILL');
    await rotating;
    await d.run();
  }
  d.expectExit = true;
  await eventually(() => status().waiting === 0, 'going on after the start', 20000);
  assert.equal(status().sealed_with_missing_keys, undefined);
  for (const [s, e] of pending) await verify(s, e);
});

test('without a daemon', async () => {
  const pending = await enrolMany(5);
  await d.end('SIGTERM');
  const out = d.ok('keys', 'rotate', '--vault', '--watch');
  assert.match(out, /seals from now on\n100 %: \d+ values are sealed with vault key \d+\n\d+ old vault keys? removed\n$/);
  assert.equal(ring().length, 1);
  assert.match(d.ok('keys', 'reseal'), /^100 %/);
  await d.run();
  for (const [s, e] of pending) await verify(s, e);
});

test('a backup from before a rotation needs the keys of its time', async () => {
  const file = `${d.dir}/backup-old.db`;
  const phrase = `${d.dir}/phrase`;
  fs.writeFileSync(phrase, 'a passphrase for the old keys', { mode: 0o600 });
  const s = d.session();
  const e = await s.enrol({ type: 'totp' });
  d.ok('backup', file);
  d.ok('keys', 'export', `${d.dir}/old-keys`, '--passphrase-file', phrase);
  await d.end('SIGTERM');
  d.ok('keys', 'rotate', '--vault');
  const r = d.ctl('restore', file);
  assert.equal(r.code, 1);
  assert.match(r.err, /sealed with other keys|have left the ring/);
  fs.renameSync(`${d.dir}/keys`, `${d.dir}/keys-new`);
  d.ok('keys', 'import', `${d.dir}/old-keys`, '--passphrase-file', phrase);
  d.ok('restore', file);
  await d.run();
  await verify(s, e);
});

test('sealed values are nowhere in clear', () => {
  const r = spawnSync('sqlite3', [d.files.db, "SELECT count(*) FROM object_secrets WHERE kind = 'client' AND substr(sealed, 1, 1) = x'01'"], { encoding: 'utf8' });
  assert.equal(r.stdout.trim(), '1');
});

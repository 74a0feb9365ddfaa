/* SPDX-License-Identifier: Apache-2.0
 * The audit trail as operators meet it: export, verification with and without the daemon, tampering, erasure,
 * retention, the upgrade of an older database, and the webhook with a receiver that checks what it gets. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { assert, test, Daemon, ROOT, eventually } from './lib/kit.mjs';

const lines = (text) => text.split('\n').filter(Boolean).map((l) => JSON.parse(l));
const LOG_ID = /^\d{20}$/;
const head = (out) => out.match(/^head: (\d+:[0-9a-f]{64})$/m)[1];

function sql(d, text) {
  const r = spawnSync('sqlite3', [d.files.db, text], { encoding: 'utf8' });
  assert.equal(r.status, 0, r.stderr);
  return r.stdout.trim();
}
const NO_TRIGGERS = ['append', 'keep', 'fixed', 'chain_forward', 'chain_stays'].map((t) => `DROP TRIGGER audit_${t};`).join('');

/* A receiver on loopback that verifies each call as the README tells receivers to. */
class Receiver {
  static async start(secret) {
    const r = new Receiver();
    Object.assign(r, { secret, calls: [], status: () => 204, pending: [] });
    r.server = http.createServer((req, res) => {
      const chunks = [];
      req.on('data', (c) => chunks.push(c));
      req.on('end', () => r.take(req, Buffer.concat(chunks), res));
      req.on('error', () => {});
    });
    await new Promise((resolve) => r.server.listen(0, '127.0.0.1', resolve));
    r.port = r.server.address().port;
    r.url = `http://127.0.0.1:${r.port}/hook?of=audit`;
    return r;
  }
  take(req, body, res) {
    const h = req.headers;
    const mac = crypto.createHmac('sha256', this.secret).update(`${h['webhook-id']}.${h['webhook-timestamp']}.`).update(body).digest('base64');
    const call = { method: req.method, url: req.url, headers: h, body, id: h['webhook-id'], at: Number(h['webhook-timestamp']),
      genuine: h['webhook-signature'] === `v1,${mac}`, status: this.status(this.calls.length), rows: JSON.parse(body) };
    this.calls.push(call);
    if (call.status === 0) { this.pending.push(res); return; } /* never answered */
    res.writeHead(call.status, call.status === 302 ? { location: '/other' } : {}).end();
  }
  taken() { return this.calls.filter((c) => c.status >= 200 && c.status < 300).flatMap((c) => c.rows); }
  stop() { this.server.closeAllConnections(); return new Promise((resolve) => this.server.close(resolve)); }
}

const KEY = crypto.randomBytes(32);
async function hooked(receiver, over = {}, secret = `whsec_${KEY.toString('base64')}\n`) {
  const d = await Daemon.start({ start: false });
  const file = path.join(d.dir, 'hook.secret');
  fs.writeFileSync(file, secret, { mode: 0o600 });
  d.secrets.add('webhook_secret', secret.trim());
  d.configure({ network: { allow_http_loopback: true }, audit: { webhook: receiver.url, webhook_secret: `file:${file}`, ...over } });
  return d.run();
}

/* Every row of the trail behind the first that the receiver has, in order, as the export has it. */
function same(d, rows) {
  const want = lines(d.ok('audit', 'export', '--from', rows[0].log_id));
  assert.deepEqual(rows.map((r) => r.log_id), want.map((r) => r.log_id));
  assert.deepEqual(rows.map((r) => r.data), want);
}

test('export and verify', async (t) => {
  const d = await Daemon.start();
  const s = d.session();
  const other = d.session();
  await s.addTotp();
  await other.addRecovery();
  const checks = async (how) => {
    await t.test(`verify, ${how}`, () => {
      const out = d.ok('audit', 'verify');
      const rows = lines(d.ok('audit', 'export')).length;
      assert.match(out, new RegExp(`^rows verified: ${rows}, of which erased: 0$`, 'm'));
      assert.match(out, /^chain: [0-9a-f]{32}$/m);
      assert.match(out, /^ok$/m);
      assert.equal(Number(head(out).split(':')[0]), rows);
      assert.match(d.ok('audit', 'verify', '--head', head(out)), /^ok$/m);
      const wrong = d.ctl('audit', 'verify', '--head', head(out).replace(/.$/, (c) => (c === '0' ? '1' : '0')));
      assert.equal(wrong.code, 1);
      assert.match(wrong.err, /^audit verify: row \d+ is not the one that was noted$/m);
      assert.match(d.ctl('audit', 'verify', '--head', `99999:${'0'.repeat(64)}`).err, /row 99999 was noted and is missing/);
      for (const bad of ['x', '1', '1:', '1:abcd', `:${'0'.repeat(64)}`, `-1:${'0'.repeat(64)}`]) assert.equal(d.ctl('audit', 'verify', '--head', bad).code, 2, bad);
    });
    await t.test(`export, ${how}`, () => {
      const all = lines(d.ok('audit', 'export'));
      assert.deepEqual(all.map((r) => Number(r.log_id)), all.map((_, i) => i + 1), 'in the order of writing');
      for (const r of all) {
        assert.match(r.log_id, LOG_ID);
        assert.ok(r.description.length > 0, `${r.type} has no description`);
        assert.match(r.date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        assert.equal(r.tenant_name, d.host);
        assert.equal(typeof r.details, 'object');
      }
      const mine = lines(d.ok('audit', 'export', '--user', s.user));
      assert.deepEqual(mine, all.filter((r) => r.user_id === s.user));
      const verified = mine.find((r) => r.type === 'my_account_authentication_method_succeeded' && r.details.operation === 'verify');
      assert.equal(verified.client_id, 'spa');
      assert.equal(verified.ip, '127.0.0.1');
      assert.equal(verified.details.authentication_method, 'totp');
      assert.match(verified.details.authentication_method_id, /^totp\|dev_/);
      assert.equal(verified.details.request.method, 'POST');
      assert.match(verified.references.correlation_id, /^[0-9a-f]{32}$/);
      assert.deepEqual(lines(d.ok('audit', 'export', '--from', '3')), all.slice(2));
      assert.deepEqual(lines(d.ok('audit', 'export', '--from', all[2].log_id)), all.slice(2));
      assert.deepEqual(lines(d.ok('audit', 'export', '--since', '2000-01-01', '--until', '2100-01-01')), all);
      assert.deepEqual(lines(d.ok('audit', 'export', '--until', '2000-01-01')), []);
      assert.deepEqual(lines(d.ok('audit', 'export', '--since', '2100-01-01')), []);
      assert.equal(d.ok('audit', 'export', '--format', 'native'), d.ok('audit'));
      for (const bad of [['--from', 'x'], ['--from', '-1'], ['--format', 'xml'], ['--until', 'soon'], ['--since', 'ago']]) assert.equal(d.ctl('audit', 'export', ...bad).code, 2, bad);
    });
  };
  await checks('daemon running');
  await d.end();
  await checks('no daemon');
  await t.test('a row that was changed', async () => {
    sql(d, `${NO_TRIGGERS} UPDATE audit SET ip = '192.0.2.1' WHERE id = 2`);
    const off = d.ctl('audit', 'verify');
    assert.equal(off.code, 1);
    assert.equal(off.err, 'audit verify: row 2 was changed\n');
    await d.run();
    assert.equal(d.ctl('audit', 'verify').err, 'audit verify: row 2 was changed\n');
    await s.addRecovery();
    assert.equal(d.ctl('audit', 'verify').err, 'audit verify: row 2 was changed\n');
    assert.equal(d.ctl('audit', 'export').code, 0, 'the trail is readable all the same');
  });
  await t.test('the newest rows cut off, and the record made to fit', async () => {
    await d.end();
    sql(d, `UPDATE audit SET ip = '127.0.0.1' WHERE id = 2; DELETE FROM audit WHERE id > 5;
      UPDATE audit_chain SET head_id = 5, head_hash = (SELECT hash FROM audit WHERE id = 5)`);
    assert.match(d.ctl('audit', 'verify').err, /the record of the chain's ends was changed/);
    await d.run();
    assert.match(d.logText(), /audit.chain_broken/);
    await d.session().addRecovery();
    assert.match(d.ctl('audit', 'verify').err, /row 6 was written when the record of the chain was missing or changed/);
  });
  await t.test('begun anew', async () => {
    assert.match(d.ok('audit', 'discard'), /^\d+ rows removed \(row 6 was written .*\); the trail begins anew$/m);
    const rows = lines(d.ok('audit', 'export'));
    assert.equal(rows.length, 1);
    assert.equal(rows[0].details.operation, 'discard');
    assert.match(rows[0].details.finding, /^row 6 was written/);
    assert.match(d.ok('audit', 'verify'), /^ok$/m);
    await d.session().addRecovery();
    assert.match(d.ok('audit', 'verify'), /^ok$/m);
    assert.match(d.ctl('audit', 'discard').err, /the trail verifies and stays/);
  });
  await d.stop();
});

test('a user is erased from the trail', async (t) => {
  const d = await Daemon.start();
  const s = d.session();
  const other = d.session();
  await s.addTotp();
  await other.addTotp();
  const before = lines(d.ok('audit', 'export'));
  let pseudonym;
  await t.test('user delete', () => {
    const out = d.ok('user', 'delete', s.user);
    pseudonym = out.match(/erased\|[0-9a-f]{32}/)[0];
    const n = before.filter((r) => r.user_id === s.user).length;
    assert.ok(n >= 2);
    assert.match(out, new RegExp(`${n} rows of the audit trail name`));
  });
  await t.test('the trail does not name the user, and still verifies', () => {
    const text = d.ok('audit', 'export');
    assert.ok(!text.includes(s.user));
    const rows = lines(text).filter((r) => r.user_id === pseudonym);
    assert.equal(rows.at(-1).type, 'sdu');
    assert.equal(rows.at(-1).details.actor, 'operator');
    assert.equal(rows.at(-1).details.erased_rows, rows.length - 1);
    for (const r of rows.slice(0, -1)) {
      for (const gone of ['ip', 'user_agent', 'references']) assert.equal(r[gone], undefined, gone);
      assert.equal(r.client_id, 'spa');
    }
    assert.deepEqual(lines(text).filter((r) => r.user_id === other.user), before.filter((r) => r.user_id === other.user));
    assert.match(d.ok('audit', 'verify'), new RegExp(`of which erased: ${rows.length - 1}$`, 'm'));
  });
  await t.test('again: there is nobody', () => assert.equal(d.ctl('user', 'delete', s.user).code, 1));
  await t.test('audit erase is for those who are gone', () => {
    assert.match(d.ctl('audit', 'erase', other.user).err, /the user is there/);
    assert.match(d.ok('audit', 'erase', 'auth0|gone'), /^0 rows/);
    assert.equal(lines(d.ok('audit', 'export')).at(-1).details.operation, 'erase');
    assert.match(d.ok('audit', 'verify'), /^ok$/m);
  });
  await d.stop();
});

test('rows of an older database are chained at the first start', async (t) => {
  const rows = 45000; /* more than two pages of the export */
  const d = await Daemon.start({ state: null, start: false });
  const names = ['0001_init', '0002_webauthn', '0003_connected_accounts', '0004_token_service'];
  let script = 'CREATE TABLE schema_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, sha256 BLOB NOT NULL, applied_at INTEGER NOT NULL) STRICT;';
  for (const name of names) {
    const text = fs.readFileSync(path.join(ROOT, 'sql/sqlite', `${name}.sql`));
    script += `${text}\nINSERT INTO schema_migrations VALUES (${Number(name.slice(0, 4))}, '${name.slice(5)}', x'${crypto.createHash('sha256').update(text).digest('hex')}', 1);`;
  }
  script += `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO audit (at, type, user_id, ip, detail) SELECT 1700000000000 + i * 1000, 'fp', 'auth0|u' || (i % 7), '192.0.2.1', '{"user_name":"u"}' FROM n;`;
  const file = path.join(d.dir, 'old.sql');
  fs.writeFileSync(file, script);
  assert.equal(spawnSync('sqlite3', [d.files.db, `.read ${file}`], { encoding: 'utf8' }).stderr, '');
  fs.chmodSync(d.files.db, 0o600);
  await d.run();
  await t.test('verified', () => {
    const out = d.ok('audit', 'verify');
    assert.match(out, new RegExp(`^rows verified: ${rows},`, 'm'));
    assert.match(out, new RegExp(`^older than the chain: up to row ${rows}$`, 'm'));
  });
  await t.test('exported in pages, none twice and none left out', () => {
    const all = lines(d.ok('audit', 'export'));
    assert.equal(all.length, rows);
    all.forEach((r, i) => assert.equal(Number(r.log_id), i + 1));
    assert.equal(lines(d.ok('audit', 'export', '--user', 'auth0|u3')).length, Math.ceil((rows - 2) / 7));
    assert.equal(lines(d.ok('audit', 'export', '--from', String(rows - 4))).length, 5);
  });
  await t.test('erased in batches', () => {
    assert.match(d.ok('audit', 'erase', 'auth0|u1'), new RegExp(`^${Math.ceil(rows / 7)} rows`));
    assert.match(d.ok('audit', 'verify'), /^ok$/m);
  });
  await d.end();
  await t.test('exported without the daemon', () => assert.equal(lines(d.ok('audit', 'export')).length, rows + 1));
  await d.stop();
});

test('retention', async (t) => {
  const d = await Daemon.start({ config: { audit: { retention_days: 2 } } });
  await d.session().addTotp();
  const old = lines(d.ok('audit', 'export')).length;
  d.advance(3 * 86400000);
  await d.session().addTotp(); /* rows of now */
  await t.test('what is older goes, and the rest verifies', async () => {
    await eventually(() => Number(lines(d.ok('audit', 'export'))[0]?.log_id) === old + 1, 'the removal of old rows', 60000);
    const out = d.ok('audit', 'verify');
    assert.match(out, new RegExp(`^removed by retention: up to row ${old}$`, 'm'));
    assert.match(out, /^ok$/m);
  });
  await d.session().addRecovery();
  assert.match(d.ok('audit', 'verify'), /^ok$/m);
  await d.stop();
});

test('the webhook', async (t) => {
  const r = await Receiver.start(KEY);
  const d = await hooked(r, { webhook_batch: 3 });
  const s = d.session();
  await s.addTotp();
  await s.addRecovery();
  await t.test('rows come in order, signed, in the shape of the log stream', async () => {
    const newest = () => lines(d.ok('audit', 'export')).at(-1).log_id;
    await eventually(() => r.taken().at(-1)?.log_id === newest(), 'the newest row at the receiver', 30000);
    same(d, r.taken());
    for (const c of r.calls) {
      assert.ok(c.genuine, 'signature');
      assert.equal(c.method, 'POST');
      assert.equal(c.url, '/hook?of=audit');
      assert.equal(c.headers['content-type'], 'application/json');
      assert.match(c.id, /^msg_[0-9a-f]{16}_\d+_\d+$/);
      assert.ok(Math.abs(c.at - d.now() / 1000) < 300);
      assert.ok(c.rows.length >= 1 && c.rows.length <= 3);
    }
    assert.equal(new Set(r.calls.map((c) => c.id)).size, r.calls.length, 'an id is one batch');
  });
  await t.test('what is not taken comes again, the same, and nothing overtakes it', async () => {
    const answers = [500, 404, 429, 302, 400];
    const from = r.calls.length;
    r.status = (i) => answers[i - from] ?? 204;
    await s.addTotp();
    await eventually(() => r.calls.length > from, 'the first try', 30000);
    await s.addTotp();
    await eventually(() => { d.advance(5000); return r.calls.length > from + answers.length; }, 'the batch taken', 60000);
    const tries = r.calls.slice(from, from + answers.length + 1);
    assert.equal(new Set(tries.map((c) => c.id)).size, 1);
    for (const c of tries) assert.deepEqual(c.body, tries[0].body);
    assert.ok(tries.every((c) => c.genuine && c.url === '/hook?of=audit'));
    const newest = lines(d.ok('audit', 'export')).at(-1).log_id;
    await eventually(() => r.taken().at(-1).log_id === newest, 'the rest', 30000);
    same(d, r.taken());
  });
  await t.test('a crash in the middle of a call loses nothing and queues nothing twice', async () => {
    r.status = () => 0;
    const from = r.calls.length;
    await s.addRecovery();
    await eventually(() => r.calls.length > from, 'a call', 30000);
    await d.end('SIGKILL');
    r.pending.splice(0).forEach((res) => res.destroy());
    r.status = () => 200;
    const again = r.calls.length;
    await d.run();
    const newest = lines(d.ok('audit', 'export')).at(-1).log_id;
    await eventually(() => r.taken().at(-1).log_id === newest, 'the newest row', 30000);
    assert.equal(r.calls[again].id, r.calls[from].id, 'the batch that was begun is sent as it was');
    assert.deepEqual(r.calls[again].body, r.calls[from].body);
    same(d, r.taken());
  });
  await t.test('a receiver that hangs holds up no request and no end', async () => {
    const from = r.calls.length;
    r.status = () => 0;
    await s.addRecovery();
    await eventually(() => r.calls.length > from, 'a call', 30000);
    await s.addTotp();
    assert.match(d.ok('audit', 'verify'), /^ok$/m);
    assert.deepEqual(await d.end(), { code: 0, signal: null });
    r.pending.splice(0).forEach((res) => res.destroy());
  });
  await t.test('no secret of a user in what was sent', () => {
    const text = Buffer.concat(r.calls.map((c) => c.body));
    for (const [value] of d.secrets.known) assert.ok(!text.includes(value) || /^\d{6}$/.test(value));
  });
  d.ended = true;
  await d.stop();
  await r.stop();
});

test('a receiver that is away takes no space', async () => {
  const r = await Receiver.start(KEY);
  const url = r.url;
  await r.stop();
  const d = await hooked({ url });
  const s = d.session();
  await s.addTotp();
  await eventually(() => d.logText().includes('audit.webhook_failed'), 'a failure in the log', 30000);
  await s.addTotp();
  await s.addRecovery();
  await d.end();
  assert.equal(sql(d, 'SELECT count(*) FROM outbox'), '0');
  assert.equal(sql(d, 'SELECT count(*) FROM audit_delivery'), '1');
  assert.match(sql(d, 'SELECT last_error FROM audit_delivery'), /./);
  d.ended = true;
  await d.stop();
});

test('a webhook that is named later begins with the rows from then on', async (t) => {
  const secret = 'a plain key of some more bytes';
  const r = await Receiver.start(secret);
  const d = await Daemon.start();
  const s = d.session();
  await s.addTotp();
  const before = lines(d.ok('audit', 'export')).length;
  const file = path.join(d.dir, 'hook.secret');
  fs.writeFileSync(file, secret, { mode: 0o600 });
  await t.test('by SIGHUP', async () => {
    d.configure({ network: { allow_http_loopback: true }, audit: { webhook: r.url, webhook_secret: `file:${file}` } });
    d.process.kill('SIGHUP');
    await eventually(() => d.logText().includes('"reloaded"'), 'the reload', 30000);
    await eventually(() => { s.list(); return sqlCount(d) === 1; }, 'the cursor', 30000);
    await s.addRecovery();
    await eventually(() => r.taken().length >= 2, 'the rows', 30000);
    assert.equal(Number(r.taken()[0].log_id), before + 1);
    assert.ok(r.calls.every((c) => c.genuine));
  });
  await t.test('a secret that cannot be used leaves the old one', async () => {
    fs.writeFileSync(file, 'short', { mode: 0o600 });
    d.process.kill('SIGHUP');
    await eventually(() => d.logText().includes('audit.webhook_kept'), 'the refusal', 30000);
    assert.match(d.logText(), /audit.webhook_secret: must be whsec_ and base64/);
    const n = r.taken().length;
    await s.addTotp();
    await eventually(() => r.taken().length > n, 'more rows', 30000);
    assert.ok(r.calls.every((c) => c.genuine));
  });
  await d.stop();
  await r.stop();
});

function sqlCount(d) {
  const r = spawnSync('sqlite3', ['-readonly', d.files.db, 'SELECT count(*) FROM audit_delivery'], { encoding: 'utf8' });
  return Number(r.stdout);
}

test('configurations of the webhook that are refused', async () => {
  const d = await Daemon.start({ start: false, state: null });
  const refuse = (audit, why) => {
    d.configure({ audit });
    const r = d.ctl('check-config');
    assert.equal(r.code, 1);
    assert.match(r.err, why);
  };
  refuse({ webhook: 'https://siem.example/x' }, /audit.webhook needs audit.webhook_secret/);
  refuse({ webhook_secret: 'file:/etc/x' }, /audit.webhook_secret needs audit.webhook/);
  refuse({ webhook: 'http://siem.example/x', webhook_secret: 'file:/etc/x' }, /audit.webhook must be https/);
  refuse({ webhook: 'https://siem.example/x', webhook_secret: 'swordfish' }, /webhook_secret must be a secret reference/);
  refuse({ retention_days: -1 }, /must be an integer from 0/);
  refuse({ webhook_batch: 0 }, /must be an integer from 1/);
  await d.stop();
});

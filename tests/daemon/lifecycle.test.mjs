/* SPDX-License-Identifier: Apache-2.0
 * Starting, stopping, reloading, crashing, and what the machine can do to a daemon. */
import fs from 'node:fs';
import { spawnSync, spawn } from 'node:child_process';
import { assert, test, Daemon, BIN, IS_ROOT, METHODS, FACTORS, methodPath, sleep, eventually, Raw, PATIENCE } from './lib/kit.mjs';

const NOBODY = 65534;
const run = (...args) => spawnSync(`${BIN}/myaccountd`, args, { encoding: 'utf8', timeout: PATIENCE });
const mode = (f) => fs.statSync(f).mode & 0o777;

/* Starts a prepared daemon that must refuse: its exit code and what it said. */
async function refusal(d, { timeout = PATIENCE } = {}) {
  d.expectExit = true;
  d.launch();
  await eventually(() => d.exit, 'the refusal', timeout);
  assert.equal(d.exit.signal, null, d.logText());
  return { code: d.exit.code, said: d.logText().slice(d.logStart) };
}

test('--version and --help', () => {
  for (const flag of ['--version', '--help']) {
    const r = run(flag);
    assert.equal(r.status, 0);
    assert.ok(r.stdout.length > 5);
  }
  assert.notEqual(run('--nonsense').status, 0);
  assert.notEqual(run().status, 0);
});

test('--check', async (t) => {
  const d = await Daemon.start({ start: false });
  const check = (text) => {
    fs.writeFileSync(d.files.conf, text, { mode: 0o600 });
    return run('--config', d.files.conf, '--check', '--allow-root');
  };
  const good = fs.readFileSync(d.files.conf, 'utf8');
  await t.test('a good file', () => assert.equal(check(good).status, 0));
  await t.test('an empty file has defaults', () => assert.ok([0, 78].includes(check('').status)));
  const lines = good.split('\n').length;
  const cases = {
    'unknown key': ['nonsense = 1', true], 'unknown section': ['nonsense {\n}', true], 'bad integer': ['http_threads = many', true], 'out of range': ['http_threads = -1'],
    'bad boolean': ['token_service = perhaps', true], 'bad origin': ['base_url = "ftp://x"'], 'origin with a path': ['base_url = "https://x.example/a"'], 'http origin elsewhere': ['base_url = "http://x.example"'],
    'bad CIDR': ['trusted_proxies = {"10.0.0.0/64"}'], 'bad address': ['listen = "nowhere"'], 'bad algorithm': ['issuer "https://a.example/" {\n algorithms = {"none"}\n}'],
    'HS256': ['issuer "https://a.example/" {\n algorithms = {"HS256"}\n}'], 'bad delivery': ['delivery {\n email = "carrier-pigeon:1"\n}'], 'unterminated string': ['base_url = "https://x', true],
    'bad secret reference': ['delivery {\n sms_password = "plaintext"\n}'], 'body limit too large': ['limits {\n body_bytes = 99999999999\n}'],
  };
  for (const [name, [text, line]] of Object.entries(cases))
    await t.test(name, () => {
      const r = check(`${good}${text}\n`);
      assert.equal(r.status, 78, `${r.status} ${r.stderr}`);
      assert.ok((r.stderr + r.stdout).includes(d.files.conf), r.stderr);
      if (line) assert.match(r.stderr + r.stdout, /myaccountd\.conf:\d+: \S/);
    });
  assert.ok(lines > 5);
  await t.test('no file', () => {
    const r = run('--config', '/nonexistent.conf', '--check');
    assert.equal(r.status, 78);
    assert.match(r.stderr, /nonexistent\.conf/);
  });
  await t.test('a start with it is refused the same way', async () => {
    fs.writeFileSync(d.files.conf, `${good}nonsense = 1\n`);
    assert.equal((await refusal(d)).code, 78);
  });
  await d.stop();
});

test('root is refused unless allowed', { skip: !IS_ROOT && 'not root' }, async () => {
  const d = await Daemon.start({ start: false });
  const r = run('--config', d.files.conf);
  assert.notEqual(r.status, 0);
  assert.match(r.stderr, /--allow-root/);
  await d.stop();
});

test('files are private', async () => {
  const d = await Daemon.start();
  assert.equal(mode(`${d.dir}/keys`), 0o700);
  for (const f of fs.readdirSync(`${d.dir}/keys`)) assert.equal(mode(`${d.dir}/keys/${f}`), 0o600, f);
  assert.equal(mode(d.files.db), 0o600);
  assert.equal(mode(d.files.sock), 0o600);
  await d.stop();
});

test('the ready line names the address', async () => {
  const d = await Daemon.start();
  const line = d.logLines().find((l) => Object.values(l).includes('ready'));
  assert.ok(JSON.stringify(line).includes(`127.0.0.1:${d.port}`), JSON.stringify(line));
  for (const l of d.logLines()) assert.equal(l.raw, undefined, `not JSON: ${l.raw}`);
  await d.stop();
});

test('a second daemon on the same database or socket is refused', async (t) => {
  const d = await Daemon.start();
  await t.test('same configuration', async () => {
    const e = await Daemon.start({ start: false, state: null });
    e.configure({ ...d.config, listen: `127.0.0.1:${e.port}` });
    const r = await refusal(e);
    assert.equal(r.code, 1);
    assert.ok(r.said.length > 10);
    await e.stop();
  });
  await t.test('same database only', async () => {
    const e = await Daemon.start({ start: false, state: null });
    e.configure({ database: d.files.db, key_directory: `${d.dir}/keys` });
    assert.equal((await refusal(e)).code, 1);
    await e.stop();
  });
  await t.test('same admin socket only', async () => {
    const e = await Daemon.start({ start: false });
    e.configure({ admin_socket: d.files.sock });
    assert.equal((await refusal(e)).code, 1);
    await e.stop();
  });
  await t.test('same port only', async () => {
    const e = await Daemon.start({ start: false });
    e.configure({ listen: `127.0.0.1:${d.port}` });
    const r = await refusal(e);
    assert.equal(r.code, 1);
    assert.match(r.said, new RegExp(String(d.port)));
    await e.stop();
  });
  await t.test('the first goes on', async () => {
    await d.session().want(200, 'GET', FACTORS);
    assert.ok(d.ok('user', 'list').includes('alice'));
  });
  await d.stop();
});

test('a stale socket and lock of a killed daemon do not stand in the way', async () => {
  const d = await Daemon.start();
  await d.end('SIGKILL');
  assert.ok(d.ok('user', 'list').includes('auth0|alice'), 'ctl works on the database of a killed daemon');
  await d.run();
  await d.session().want(200, 'GET', FACTORS);
  await d.stop();
});

test('SIGTERM drains: what is under way is answered, new connections are not', async () => {
  const d = await Daemon.start();
  const sessions = Array.from({ length: 20 }, () => d.session());
  const results = [];
  let going = true;
  const load = sessions.map(async (s) => {
    while (going) {
      try {
        const r = await s.post(METHODS, { type: 'recovery-code' }, { lax: true });
        results.push(r.status);
        if (r.status === 202) {
          const v = await s.post(`${methodPath(r.json.id)}/verify`, { auth_session: r.json.auth_session }, { lax: true });
          if (v.status === 201) s.last = r.json.id;
          results.push(v.status);
        }
        if (r.status === 503) return;
      } catch { return; }
    }
  });
  await eventually(() => results.length > 60, 'load', PATIENCE);
  const e = await d.end('SIGTERM');
  going = false;
  await Promise.all(load);
  assert.deepEqual(e, { code: 0, signal: null });
  assert.deepEqual([...new Set(results)].filter((s) => ![201, 202, 400, 404, 503].includes(s)), []);
  await d.run();
  for (const s of sessions.filter((x) => x.last)) {
    const kept = (await s.list()).filter((m) => m.confirmed).map((m) => m.id);
    assert.equal(kept.length, 1);
  }
  await d.stop();
});

test('SIGTERM ends also with idle, slow and stuck connections', async () => {
  const d = await Daemon.start({ config: { limits: { drain_timeout: 2 } } });
  const idle = new Raw(d.port);
  const slow = new Raw(d.port);
  await slow.write(`POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{`);
  await idle.opened;
  await sleep(100);
  const t0 = Date.now();
  assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
  assert.ok(Date.now() - t0 < 12000, `${Date.now() - t0} ms`);
  idle.close();
  slow.close();
  await d.stop();
});

test('SIGINT stops as well', async () => {
  const d = await Daemon.start();
  assert.deepEqual(await d.end('SIGINT'), { code: 0, signal: null });
  await d.stop();
});

test('SIGHUP', async (t) => {
  const d = await Daemon.start({ config: { rate_limit: { enabled: true, user_reads: 50 } } });
  const limit = async () => Number((await d.session().get(FACTORS)).headers['x-ratelimit-limit']);
  assert.equal(await limit(), 50);
  await t.test('a changed value is in force', async () => {
    d.configure({ rate_limit: { enabled: true, user_reads: 77 } });
    d.process.kill('SIGHUP');
    await eventually(async () => (await limit()) === 77, 'the new limit', 10000);
  });
  await t.test('a broken file changes nothing and is told', async () => {
    const mark = d.logText().length;
    fs.appendFileSync(d.files.conf, 'nonsense = 1\n');
    d.process.kill('SIGHUP');
    await eventually(() => d.logText().slice(mark).includes('nonsense'), 'a log line', 10000);
    assert.equal(await limit(), 77);
  });
  await t.test('under load nothing is lost', async () => {
    d.configure({ rate_limit: { enabled: false } });
    const s = Array.from({ length: 8 }, () => d.session());
    for (let i = 0; i < 5; i++) {
      d.process.kill('SIGHUP');
      const rs = await Promise.all(s.map((x) => x.get(METHODS)));
      assert.deepEqual([...new Set(rs.map((r) => r.status))], [200]);
    }
  });
  await d.stop();
});

test('kill -9 in a loop under load: every acknowledged change is there', async () => {
  const d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 0 } } });
  const users = Array.from({ length: 12 }, () => d.session());
  for (const s of users) Object.assign(s, { confirmed: new Set(), deleted: new Set(), maybe: new Set(), names: new Map() });
  for (let round = 0; round < 6; round++) {
    let going = true;
    let acknowledged = 0;
    const load = users.map(async (s) => {
      let live = [...s.confirmed][0];
      while (going) {
        try {
          const e = await s.post(METHODS, { type: 'totp' });
          if (e.status !== 202) return;
          s.maybe.add(e.json.id);
          const v = await s.verifyAny(e.json.id, { auth_session: e.json.auth_session, otp_code: s.code(e.json.manual_input_code) });
          if (v.status !== 201) continue;
          s.confirmed.add(e.json.id);
          acknowledged++;
          const name = `n${acknowledged}`;
          s.names.set(e.json.id, null);
          if ((await s.patch(methodPath(e.json.id), { name })).status === 200) s.names.set(e.json.id, name);
          if (live) {
            s.maybe.add(live);
            s.confirmed.delete(live);
            if ((await s.del(methodPath(live))).status === 204) s.deleted.add(live);
          }
          live = e.json.id;
        } catch (err) {
          if (err.code === 'ERR_ASSERTION') throw err;
          return;
        }
      }
    });
    await eventually(() => acknowledged >= 15 + round * 5, 'some work', PATIENCE);
    await d.end('SIGKILL');
    going = false;
    await Promise.all(load);
    await d.run();
    for (const s of users) {
      const list = await s.list();
      const there = new Map(list.map((m) => [m.id, m]));
      for (const id of s.confirmed) {
        assert.equal(there.get(id)?.confirmed, true, `acknowledged ${id} is gone after round ${round}`);
        if (s.names.get(id)) assert.equal(there.get(id).name, s.names.get(id), 'an acknowledged name is gone');
      }
      for (const id of s.deleted) assert.equal(there.has(id), false, `deleted ${id} is back`);
      for (const m of list) assert.ok(!m.confirmed || s.confirmed.has(m.id) || s.maybe.has(m.id), `${m.id} came from nowhere`);
      /* What was in flight may have happened or not; take stock and free the room for the next round. */
      s.confirmed = new Set();
      for (const m of list) {
        if (m.confirmed && s.confirmed.size === 0) s.confirmed.add(m.id);
        else await s.del(methodPath(m.id));
      }
    }
  }
  assert.match(spawnSync('sqlite3', [d.files.db, 'pragma integrity_check'], { encoding: 'utf8' }).stdout ?? 'ok', /^(ok\n?)?$/);
  await d.stop();
});

test('key files', async (t) => {
  const keys = (d) => fs.readdirSync(`${d.dir}/keys`).map((f) => `${d.dir}/keys/${f}`);
  for (const name of ['vault.keys', 'pepper', 'signing.keys']) {
    await t.test(`${name} readable by others`, async () => {
      const d = await Daemon.start();
      await d.end();
      fs.chmodSync(`${d.dir}/keys/${name}`, 0o644);
      const r = await refusal(d);
      assert.ok([1, 78].includes(r.code), `${r.code}`);
      assert.ok(r.said.includes(name), r.said);
      await d.stop();
    });
    await t.test(`${name} is a link`, async () => {
      const d = await Daemon.start();
      await d.end();
      fs.renameSync(`${d.dir}/keys/${name}`, `${d.dir}/elsewhere`);
      fs.symlinkSync(`${d.dir}/elsewhere`, `${d.dir}/keys/${name}`);
      const r = await refusal(d);
      assert.ok([1, 78].includes(r.code));
      assert.ok(r.said.includes(name), r.said);
      await d.stop();
    });
    await t.test(`${name} is cut`, async () => {
      const d = await Daemon.start();
      await d.end();
      fs.truncateSync(`${d.dir}/keys/${name}`, 7);
      const r = await refusal(d);
      assert.ok([1, 78].includes(r.code));
      assert.ok(r.said.includes(name), r.said);
      await d.stop();
    });
  }
  await t.test('vault.keys is gone while sealed data exists', async () => {
    const d = await Daemon.start();
    await d.session().addTotp();
    await d.end();
    fs.rmSync(`${d.dir}/keys/vault.keys`);
    const r = await refusal(d);
    assert.ok([1, 78].includes(r.code));
    assert.match(r.said, /vault|key/);
    await d.stop();
  });
  await t.test('a ring of another installation is noticed', async () => {
    const a = await Daemon.start();
    const b = await Daemon.start();
    await a.end();
    await b.end();
    fs.cpSync(`${b.dir}/keys/vault.keys`, `${a.dir}/keys/vault.keys`);
    assert.ok(keys(a).length >= 3);
    assert.ok([1, 78].includes((await refusal(a)).code));
    await a.stop();
    await b.stop();
  });
  await t.test('a mail password file readable by others', async () => {
    const d = await Daemon.start({ start: false });
    fs.writeFileSync(`${d.dir}/pw`, 'x', { mode: 0o644 });
    d.configure({ delivery: { email: 'smtp://me@localhost:25', email_password: `file:${d.dir}/pw` } });
    const r = await refusal(d);
    assert.ok([1, 78].includes(r.code));
    assert.ok(r.said.includes(`${d.dir}/pw`), r.said);
    await d.stop();
  });
});

test('directories', async (t) => {
  await t.test('the database directory is not there', async () => {
    const d = await Daemon.start({ start: false, state: null });
    d.configure({ database: '/nonexistent/dir/x.db' });
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /nonexistent/);
    await d.stop();
  });
  await t.test('the database is no database', async () => {
    const d = await Daemon.start({ start: false, state: null });
    fs.writeFileSync(d.files.db, 'x'.repeat(8192), { mode: 0o600 });
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /myaccount\.db|database/);
    await d.stop();
  });
  await t.test('the database directory is read-only', { skip: !IS_ROOT && 'needs another user' }, async () => {
    const d = await Daemon.start({ uid: NOBODY });
    await d.end();
    fs.mkdirSync(`${d.dir}/ro`);
    for (const f of fs.readdirSync(d.dir).filter((x) => x.startsWith('myaccount.db'))) {
      fs.cpSync(`${d.dir}/${f}`, `${d.dir}/ro/${f}`);
      fs.chownSync(`${d.dir}/ro/${f}`, NOBODY, NOBODY);
      fs.chmodSync(`${d.dir}/ro/${f}`, 0o400);
    }
    fs.chmodSync(`${d.dir}/ro`, 0o555);
    d.configure({ database: `${d.dir}/ro/myaccount.db` });
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /ro\/myaccount\.db/);
    await d.stop();
  });
  await t.test('an unprivileged user runs it', { skip: !IS_ROOT && 'needs another user' }, async () => {
    const d = await Daemon.start({ uid: NOBODY });
    await d.session().addTotp();
    await d.stop();
  });
});

test('a missing JWKS file is told at the start', async () => {
  const d = await Daemon.start({ start: false });
  fs.rmSync(d.files.jwks);
  const r = await refusal(d);
  assert.ok([1, 78].includes(r.code));
  assert.ok(r.said.includes('jwks.json'), r.said);
  await d.stop();
});

/* Fills up while users enrol, then makes room: 503s, no crash, nothing acknowledged is lost. */
async function fullDisk(t, d, free) {
  const s = d.session();
  const kept = [];
  let refused = 0;
  for (let i = 0; i < 3000 && refused < 5; i++) {
    const r = await s.post(METHODS, { type: 'recovery-code' });
    if (r.status === 202) {
      const v = await s.verifyAny(r.json.id, { auth_session: r.json.auth_session });
      if (v.status === 201) kept.splice(0, kept.length, r.json.id);
      else if (v.status >= 500) refused++;
      else assert.equal(v.status, 201, v.text);
    } else {
      assert.ok([500, 503].includes(r.status), `${r.status} ${r.text}`);
      refused++;
    }
  }
  await t.test('the disk filled up', () => assert.ok(refused >= 5, 'no write was refused'));
  await t.test('refusals are 503', async () => assert.equal((await s.post(METHODS, { type: 'totp' })).status, 503));
  await t.test('reads go on', async () => {
    const ids = (await s.list('recovery-code')).filter((m) => m.confirmed).map((m) => m.id);
    assert.deepEqual(ids, kept);
  });
  if (free) {
    await t.test('and with room again writes do', async () => {
      free();
      await eventually(async () => (await s.post(METHODS, { type: 'totp' })).status === 202, 'a write', 15000);
    });
  }
  await t.test('after a restart every acknowledged change is there', async () => {
    await d.end('SIGKILL');
    await d.run();
    assert.deepEqual((await s.list('recovery-code')).filter((m) => m.confirmed).map((m) => m.id), kept);
  });
}

const tmpfs = IS_ROOT && (() => {
  const probe = fs.mkdtempSync('/tmp/ma-mnt-');
  const ok = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe]).status === 0;
  if (ok) spawnSync('umount', [probe]);
  fs.rmdirSync(probe);
  return ok;
})();

test('a full disk', { skip: !tmpfs && 'cannot mount a tmpfs' }, async (t) => {
  const d = await Daemon.start({ start: false });
  const dir = `${d.dir}/small`;
  fs.mkdirSync(dir);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', dir]).status, 0);
  try {
    fs.chmodSync(dir, 0o700);
    d.configure({ database: `${dir}/myaccount.db` });
    d.apply(d.state);
    await d.run();
    fs.writeFileSync(`${dir}/filler`, Buffer.alloc(1 << 20));
    for (let n = 1 << 19; n >= 4096; n >>= 1) try { fs.appendFileSync(`${dir}/filler`, Buffer.alloc(n)); } catch { /* nearly full */ }
    fs.truncateSync(`${dir}/filler`, Math.max(0, fs.statSync(`${dir}/filler`).size - 65536));
    await fullDisk(t, d, () => fs.rmSync(`${dir}/filler`));
    assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
  } finally {
    await d.end('SIGKILL');
    spawnSync('umount', ['-l', dir]);
  }
  await d.stop();
});

test('a file size limit', async (t) => {
  const d = await Daemon.start({ start: false });
  const size = 1 << 20;
  d.launch(['prlimit', `--fsize=${size}`]);
  await eventually(() => d.exit || d.logText().includes('"ready"'), 'ready', PATIENCE);
  assert.equal(d.exit, null, d.logText());
  await fullDisk(t, d, null);
  await d.stop();
});

test('a locked database answers 503 and recovers', { skip: spawnSync('sqlite3', ['--version']).status !== 0 && 'no sqlite3 command' }, async () => {
  const d = await Daemon.start();
  const s = d.session();
  const locker = spawn('sqlite3', [d.files.db], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  locker.stdout.on('data', (c) => { said += c; });
  locker.stdin.write("begin immediate;\nselect 'locked';\n");
  await eventually(() => said.includes('locked'), 'the lock', 5000);
  const r = await s.post(METHODS, { type: 'totp' });
  assert.equal(r.status, 503, r.text);
  await s.want(200, 'GET', METHODS);
  locker.stdin.write('rollback;\n.quit\n');
  await new Promise((r2) => locker.on('exit', r2));
  await eventually(async () => (await s.post(METHODS, { type: 'totp' })).status === 202, 'a write', 15000);
  await d.stop();
});

test('descriptors run out: the daemon survives', async () => {
  const d = await Daemon.start({ start: false });
  d.launch(['prlimit', '--nofile=64']);
  await eventually(() => d.exit || d.logText().slice(d.logStart).includes('"ready"'), 'ready or a refusal', PATIENCE);
  if (d.exit) {
    d.expectExit = true;
    assert.equal(d.exit.signal, null);
  } else {
    const many = Array.from({ length: 100 }, () => new Raw(d.port));
    await sleep(500);
    for (const r of many) r.close();
    await eventually(async () => {
      try { return (await d.session().get(FACTORS)).status === 200; } catch { return false; }
    }, 'an answer', 20000);
  }
  await d.stop();
});

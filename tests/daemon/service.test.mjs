/* SPDX-License-Identifier: Apache-2.0
 * Under a service manager: notifications, the watchdog, passed sockets, the log file, exit codes; and UNIX sockets. */
import fs from 'node:fs';
import net from 'node:net';
import { spawn, spawnSync } from 'node:child_process';
import { assert, test, Daemon, BIN, IS_ROOT, ROOT, FACTORS, eventually, PATIENCE } from './lib/kit.mjs';
import { Notify, NO_PYTHON, withEnv } from './lib/notify.mjs';
import { request, freePort } from './lib/http.mjs';

const run = (...args) => spawnSync(`${BIN}/myaccountd`, args, { encoding: 'utf8', timeout: PATIENCE });
const mode = (f) => fs.statSync(f).mode & 0o7777;
const has = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const overSocket = (socketPath, d, path = FACTORS) => request({ socketPath, host: d.host, path });
const refusesTcp = (port) => new Promise((resolve) => {
  const c = net.connect(port, '127.0.0.1', () => { c.destroy(); resolve(false); });
  c.on('error', () => resolve(true));
});

async function refusal(d) {
  d.expectExit = true;
  d.launch();
  await eventually(() => d.exit, 'the refusal', PATIENCE);
  return { code: d.exit.code, said: d.logText().slice(d.logStart) };
}

/* --- notifications --- */

for (const kind of ['path', 'abstract'])
  test(`what systemd is told, over a socket with ${kind === 'path' ? 'a path' : 'an abstract name'}`, { skip: NO_PYTHON }, async () => {
    const d = await Daemon.start({ start: false });
    const n = await Notify.open(kind === 'path' ? `${d.dir}/notify` : `@ma-test-${process.pid}`);
    withEnv(d, { NOTIFY_SOCKET: n.name });
    await d.run();
    const ready = await n.want(/^READY=1$/m);
    assert.equal(ready.at, 0);
    assert.match(ready.text, new RegExp(`^STATUS=Serving 127\\.0\\.0\\.1:${d.port}$`, 'm'));

    const before = process.hrtime.bigint() / 1000n;
    d.process.kill('SIGHUP');
    const reloading = await n.want(/^RELOADING=1$/m, ready.next);
    const stamp = BigInt(reloading.text.match(/^MONOTONIC_USEC=(\d+)$/m)[1]);
    assert.ok(stamp >= before && stamp <= process.hrtime.bigint() / 1000n, 'MONOTONIC_USEC is on CLOCK_MONOTONIC');
    const again = await n.want(/^READY=1$/m, reloading.next);
    assert.equal(again.at, reloading.at + 1);

    /* a configuration that is refused is no reason to stay in "reloading" */
    fs.appendFileSync(d.files.conf, 'nonsense = 1\n');
    d.process.kill('SIGHUP');
    const refused = await n.want(/^READY=1$/m, (await n.want(/^RELOADING=1$/m, again.next)).next);
    await d.end('SIGTERM');
    const stopping = await n.want(/^STOPPING=1$/m, refused.next);
    assert.equal(stopping.at, n.said.length - 1);
    assert.ok(!n.said.some((m) => /WATCHDOG/.test(m)), 'nobody asked for a watchdog');
    n.close();
    await d.stop();
  });

/* --- the watchdog --- */

test('the watchdog hears from a daemon that works', { skip: NO_PYTHON }, async () => {
  const d = await Daemon.start({ start: false });
  const n = await Notify.open(`${d.dir}/notify`);
  withEnv(d, { NOTIFY_SOCKET: n.name, WATCHDOG_USEC: '2000000' });
  await d.run();
  let at = 0;
  for (let i = 0; i < 4; i++) at = (await n.want(/^WATCHDOG=1$/, at)).next;
  await d.session().want(200, 'GET', FACTORS);
  n.close();
  await d.stop();
});

test('a watchdog meant for another process is not fed', { skip: NO_PYTHON }, async () => {
  const d = await Daemon.start({ start: false });
  const n = await Notify.open(`${d.dir}/notify`);
  withEnv(d, { NOTIFY_SOCKET: n.name, WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' });
  await d.run();
  await d.session().addTotp();
  await d.end('SIGTERM');
  await n.want(/^STOPPING=1$/m);
  assert.ok(!n.said.some((m) => /WATCHDOG/.test(m)), n.said.join('; '));
  n.close();
  await d.stop();
});

/* Nobody reads the log: once the pipe is full every thread that has something to say stands still. */
test('threads that do not get on are seen: no more pings until they do', { skip: NO_PYTHON }, async () => {
  const d = await Daemon.start({ start: false });
  const n = await Notify.open(`${d.dir}/notify`);
  withEnv(d, { NOTIFY_SOCKET: n.name, WATCHDOG_USEC: '4000000' });
  const fifo = `${d.dir}/fifo`;
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  const reader = fs.openSync(fifo, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const writer = fs.openSync(fifo, fs.constants.O_WRONLY);
  const p = spawn(`${BIN}/myaccountd`, d.daemonArgs(), { ...d.spawnOptions(), stdio: ['ignore', 'ignore', writer] });
  const exited = new Promise((resolve) => p.on('exit', (code, signal) => resolve({ code, signal })));
  process.on('exit', () => p.kill('SIGKILL'));
  fs.closeSync(writer);
  let log = '';
  const chunk = Buffer.alloc(65536);
  const drain = () => {
    try {
      for (let k; (k = fs.readSync(reader, chunk)) > 0;) log += chunk.toString('utf8', 0, k);
    } catch { /* empty for now */ }
  };
  await n.want(/^READY=1$/m);
  const s = d.session();
  const load = Array.from({ length: 1500 }, () => s.get(FACTORS, { lax: true }).catch(() => null));
  const stuck = await n.want(/^STATUS=Stuck: HTTP thread$/m);
  assert.equal(n.said.length, stuck.next, 'nothing after it');
  const drainer = setInterval(drain, 20);
  const resumed = await n.want(/^WATCHDOG=1$/, stuck.next);
  await n.want(/^STATUS=Serving /, resumed.at);
  const answers = await Promise.all(load);
  assert.ok(answers.every((r) => r?.status === 200), 'every request was answered in the end');
  await eventually(() => /watchdog\.withheld/.test(log) && /watchdog\.resumed/.test(log), 'the log lines');
  p.kill('SIGTERM');
  assert.deepEqual(await exited, { code: 0, signal: null });
  clearInterval(drainer);
  drain();
  assert.doesNotMatch(log, /Sanitizer|runtime error/);
  fs.closeSync(reader);
  n.close();
  await d.stop();
});

/* --- passed sockets --- */

const NO_ACTIVATE = !has('systemd-socket-activate') && 'no systemd-socket-activate';

/* Starts under systemd-socket-activate, which listens and runs the daemon at the first connection. */
async function activated(d, listen, names, poke) {
  const env = Object.entries(d.spawnOptions().env).filter(([k]) => /SAN_OPTIONS/.test(k)).flatMap(([k, v]) => ['-E', `${k}=${v}`]);
  d.launch(['systemd-socket-activate', ...listen.flatMap((l) => ['-l', l]), ...(names ? [`--fdname=${names}`] : []), ...env]);
  await eventually(() => (d.logText().match(/Listening on/g) ?? []).length >= listen.length || d.exit, 'the sockets', PATIENCE);
  return poke();
}

test('sockets passed by the service manager', { skip: NO_ACTIVATE }, async (t) => {
  const d = await Daemon.start({ start: false });
  const [tcp, metrics] = [await freePort(), await freePort()];
  const unix = `${d.dir}/http.sock`;
  const first = await activated(d, [`127.0.0.1:${metrics}`, `127.0.0.1:${tcp}`, unix], 'metrics:http:http',
    () => request({ port: tcp, host: d.host, path: FACTORS }));
  await t.test('the first connection waits for the daemon and is served', () => assert.equal(first.status, 401));
  await t.test('each socket serves what its name says', async () => {
    assert.equal((await overSocket(unix, d)).status, 401);
    assert.equal((await request({ port: metrics, host: d.host, path: '/health/ready' })).status, 200);
    assert.equal((await request({ port: metrics, host: d.host, path: FACTORS })).status, 404);
    assert.equal((await request({ port: tcp, host: d.host, path: '/health/ready' })).status, 404);
  });
  await t.test('`listen` is not used then', async () => assert.ok(await refusesTcp(d.port)));
  await t.test('requests with a token work on all of them', async () => {
    const headers = { authorization: `Bearer ${d.idp.token('auth0|alice')}` };
    assert.equal((await request({ port: tcp, host: d.host, path: FACTORS, headers })).status, 200);
    assert.equal((await request({ socketPath: unix, host: d.host, path: FACTORS, headers })).status, 200);
  });
  await t.test('the ready line names the first one', () => {
    assert.ok(d.logText().includes(`"address":"127.0.0.1:${tcp}"`), d.logText().slice(-800));
  });
  await t.test('the file of a passed socket stays when the daemon stops', async () => {
    assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
    assert.ok(fs.existsSync(unix));
  });
  await d.stop();
});

test('a passed socket without a name serves the API', { skip: NO_ACTIVATE }, async () => {
  const d = await Daemon.start({ start: false });
  const tcp = await freePort();
  assert.equal((await activated(d, [`127.0.0.1:${tcp}`], null, () => request({ port: tcp, host: d.host, path: FACTORS }))).status, 401);
  await d.stop();
});

test('a passed socket with a name that means nothing is refused', { skip: NO_ACTIVATE }, async () => {
  const d = await Daemon.start({ start: false });
  const tcp = await freePort();
  d.expectExit = true;
  await activated(d, [`127.0.0.1:${tcp}`], 'metric', () => request({ port: tcp, host: d.host, path: FACTORS }).catch(() => null));
  await eventually(() => d.exit, 'the refusal', PATIENCE);
  assert.equal(d.exit.code, 1);
  assert.match(d.logText(), /neither http nor metrics/);
  await d.stop();
});

/* --- the log file --- */

test('the log file', async (t) => {
  const d = await Daemon.start({ start: false });
  const file = `${d.dir}/own.log`;
  const text = (f = file) => (fs.existsSync(f) ? fs.readFileSync(f, 'utf8') : '');
  d.configure({ log_file: file });
  d.launch();
  await eventually(() => d.exit || text().includes('"ready"'), 'ready', PATIENCE);
  await t.test('its mode is 0640, and lines are JSON', () => {
    assert.equal(mode(file), 0o640);
    for (const l of text().split('\n').filter(Boolean)) JSON.parse(l);
  });
  await t.test('SIGUSR1 opens it anew', async () => {
    fs.renameSync(file, `${file}.1`);
    d.process.kill('SIGUSR1');
    await eventually(() => text().includes('"log.reopened"'), 'the new file');
    assert.equal(mode(file), 0o640);
    assert.ok(text(`${file}.1`).includes('"ready"'));
  });
  await t.test('logrotate with the shipped rules', { skip: !has('logrotate') && 'no logrotate' }, async () => {
    const rules = fs.readFileSync(`${ROOT}conf/logrotate.conf`, 'utf8')
      .replace('/var/log/myaccountd/*.log', file)
      .replace(/^ *su .*\n/m, IS_ROOT ? '    su root root\n' : '').replace(/^( *create 0640).*\n/m, '$1\n')
      .replace(/systemctl kill.*/, `kill -USR1 ${d.process.pid}`);
    fs.writeFileSync(`${d.dir}/rules`, rules, { mode: 0o600 });
    const size = fs.statSync(file).size;
    const mark = text().match(/"log\.reopened"/g).length;
    assert.ok(size > 0 && mark > 0);
    fs.rmSync(`${file}.1`);
    const r = spawnSync('logrotate', ['--force', '--state', `${d.dir}/state`, `${d.dir}/rules`], { encoding: 'utf8' });
    assert.equal(r.status, 0, r.stderr);
    await eventually(() => text().includes('"log.reopened"'), 'the new file');
    assert.equal(mode(file), 0o640);
    assert.equal(fs.statSync(`${file}.1`).size >= size, true);
  });
  await t.test('SIGHUP moves it, and to standard error', async () => {
    d.configure({ log_file: `${d.dir}/moved.log` });
    d.process.kill('SIGHUP');
    await eventually(() => text(`${d.dir}/moved.log`).includes('"reloaded"'), 'a line in the other file');
    d.configure({});
    d.process.kill('SIGHUP');
    await eventually(() => d.logText().includes('"reloaded"'), 'a line on standard error');
  });
  await t.test('a file that cannot be opened is told, and the log goes on where it was', async () => {
    const from = d.logText().length;
    d.configure({ log_file: '/nonexistent/dir/log' });
    d.process.kill('SIGHUP');
    await eventually(() => /"log\.file_kept".*nonexistent/.test(d.logText().slice(from)), 'the error');
    await eventually(() => d.logText().slice(from).includes('"reloaded"'), 'the line after it');
  });
  await t.test('at the start it is a reason to refuse', async () => {
    await d.end('SIGTERM');
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /log_file \/nonexistent\/dir\/log: No such file/);
  });
  await t.test('why a start failed stands on standard error too', async () => {
    d.configure({ log_file: file, database: '/nonexistent/dir/x.db' });
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /^myaccountd: .*nonexistent/m);
    assert.match(text(), /"start\.failed".*nonexistent/);
  });
  await d.stop();
});

/* --- exit codes: README.md and myaccountd(8) promise them --- */

test('exit codes', async (t) => {
  const d = await Daemon.start({ start: false });
  const bad = `${d.dir}/bad.conf`;
  fs.writeFileSync(bad, 'nonsense = 1\n');
  const cases = [
    [0, ['--help']], [0, ['--version']], [0, ['--config', d.files.conf, '--check']],
    [64, []], [64, ['--nonsense']], [64, ['--config']], [64, ['--check']], [64, ['--config', d.files.conf, 'more']],
    [78, ['--config', bad, '--check']], [78, ['--config', bad]], [78, ['--config', `${d.dir}/none.conf`]],
    ...(IS_ROOT ? [[1, ['--config', d.files.conf]]] : []),
  ];
  for (const [code, args] of cases)
    await t.test(`${code}: myaccountd ${args.map((a) => a.replace(`${d.dir}/`, '')).join(' ')}`, () => {
      const r = run(...args);
      assert.equal(r.status, code, r.stderr);
      if (code !== 0) assert.ok(r.stderr.length > 10);
    });
  await t.test('1: what the configuration asks for cannot be done', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await new Promise((r) => taken.on('listening', r));
    d.configure({ listen: `127.0.0.1:${taken.address().port}` });
    const r = await refusal(d);
    taken.close();
    assert.equal(r.code, 1, r.said);
    d.configure({});
  });
  for (const signal of ['SIGTERM', 'SIGINT'])
    await t.test(`0: ${signal}`, async () => {
      await d.run();
      assert.deepEqual(await d.end(signal), { code: 0, signal: null });
    });
  await d.stop();
});

/* --- UNIX sockets --- */

test('listening on a UNIX socket', async (t) => {
  const d = await Daemon.start({ start: false });
  const path = `${d.dir}/http.sock`;
  d.configure({ listen: `unix:${path}` });
  await d.run();
  await t.test('mode 0660, whatever the umask', () => {
    assert.ok(fs.statSync(path).isSocket());
    assert.equal(mode(path), 0o660);
  });
  await t.test('it serves', async () => assert.equal((await overSocket(path, d)).status, 401));
  await t.test('another daemon does not take it away', async () => {
    const e = await Daemon.start({ start: false });
    e.configure({ listen: `unix:${path}` });
    const r = await refusal(e);
    assert.equal(r.code, 1);
    assert.match(r.said, /another process listens there/);
    await e.stop();
    assert.equal((await overSocket(path, d)).status, 401);
  });
  await t.test('what a killed daemon left is replaced', async () => {
    await d.end('SIGKILL');
    const before = fs.statSync(path).ino;
    assert.ok(before);
    await d.run();
    assert.equal((await overSocket(path, d)).status, 401);
  });
  await t.test('it is removed at the end', async () => {
    assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
    assert.equal(fs.existsSync(path), false);
  });
  await t.test('a file of another kind is left alone', async () => {
    fs.writeFileSync(path, 'precious');
    const r = await refusal(d);
    assert.equal(r.code, 1);
    assert.match(r.said, /is not a socket/);
    assert.equal(fs.readFileSync(path, 'utf8'), 'precious');
    fs.rmSync(path);
  });
  await t.test('a socket put in its place meanwhile stays', async () => {
    d.expectExit = false;
    await d.run();
    fs.renameSync(path, `${path}.old`);
    const other = net.createServer().listen(path);
    await new Promise((r) => other.on('listening', r));
    assert.deepEqual(await d.end('SIGTERM'), { code: 0, signal: null });
    assert.ok(fs.existsSync(path));
    other.close();
  });
  await d.stop();
});

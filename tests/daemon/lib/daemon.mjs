/* SPDX-License-Identifier: Apache-2.0
 * One daemon of the test build with its own directory, configuration, clock and users. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { certificate } from './certs.mjs';
import { request, freePort, sockets, LOCAL, SECURE } from './http.mjs';
import { Issuer } from './tokens.mjs';
import { Spool } from './otp.mjs';
import { Session } from './session.mjs';
import { Secrets } from './secrets.mjs';
import { defaultState, POOL } from './state.mjs';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const BIN = path.resolve(ROOT, process.env.MA_BIN ?? 'build/asan');
export const IS_ROOT = process.getuid() === 0;
export const IDP = 'https://idp.test.example/';
/* Sanitized programs are slower: bounds on waiting, never on results. */
export const PATIENCE = 30000;

const ENV = {
  PATH: process.env.PATH, HOME: os.tmpdir(), TZ: 'America/St_Johns',
  ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  TSAN_OPTIONS: `suppressions=${ROOT}tests/daemon/tsan.supp:history_size=4`,
};

const scalar = (v) => typeof v === 'string' ? `"${v.replace(/[\\"]/g, '\\$&')}"` : Array.isArray(v) ? `{${v.map(scalar).join(', ')}}` : String(v);

/* libconfuse text of a nested object; `issuer` maps titles to sections. */
export function confText(o, indent = '') {
  let out = '';
  for (const [k, v] of Object.entries(o)) {
    if (v === undefined) continue;
    if (k === 'issuer' && typeof v === 'object') for (const [t, s] of Object.entries(v)) out += `issuer ${scalar(t)} {\n${confText(s, '  ')}}\n`;
    else if (v && typeof v === 'object' && !Array.isArray(v)) out += `${indent}${k} {\n${confText(v, `${indent}  `)}${indent}}\n`;
    else out += `${indent}${k} = ${scalar(v)}\n`;
  }
  return out;
}

export function merge(a, b) {
  if (!b || typeof b !== 'object' || Array.isArray(b)) return b;
  const out = { ...(a && typeof a === 'object' && !Array.isArray(a) ? a : {}) };
  for (const [k, v] of Object.entries(b)) out[k] = v && typeof v === 'object' && !Array.isArray(v) ? merge(out[k], v) : v;
  return out;
}

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/* Polls until test() is truthy and returns that value; fails after `ms`. */
export async function eventually(test, what, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const v = await test();
    if (v) return v;
    if (Date.now() > end) assert.fail(`${what} did not happen in ${ms} ms`);
    await sleep(20);
  }
}

/* Daemons that a failed test left behind must not outlive the file. */
const alive = new Set();
process.on('exit', () => { for (const p of alive) p.kill('SIGKILL'); });

export class Daemon {
  /* opts: config (overrides of confText's object), state (overrides of the default document, or null for none),
   * args, uid (run as that user), tls (true, or what certificate() takes), program (of the build), env, start: false to
   * prepare only. */
  static async start(opts = {}) {
    const d = new Daemon();
    await d.prepare(opts);
    if (opts.start !== false) await d.run();
    return d;
  }

  async prepare(opts) {
    this.opts = opts;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ma-'));
    if (opts.uid) fs.chownSync(this.dir, opts.uid, opts.uid);
    this.port = await freePort();
    const tls = opts.tls ?? (SECURE && !opts.config?.base_url);
    this.base = opts.config?.base_url ?? `http${tls ? 's' : ''}://localhost:${this.port}`;
    this.host = new URL(this.base).host;
    this.idp = new Issuer(IDP, `${this.base}/me/`);
    this.files = { conf: 'myaccountd.conf', log: 'log', jwks: 'jwks.json', clock: 'clock', db: 'myaccount.db', sock: 'admin.sock' };
    for (const [k, v] of Object.entries(this.files)) this.files[k] = path.join(this.dir, v);
    this.spoolDir = path.join(this.dir, 'spool');
    fs.mkdirSync(this.spoolDir);
    if (opts.uid) fs.chownSync(this.spoolDir, opts.uid, opts.uid);
    this.spool = new Spool(this.spoolDir);
    this.secrets = new Secrets(this);
    this.listen = LOCAL ? `unix:${path.join(this.dir, 'api.sock')}` : `127.0.0.1:${this.port}`;
    if (LOCAL) sockets.set(this.port, path.join(this.dir, 'api.sock'));
    if (tls) this.cert = certificate(this.dir, 'server', tls === true ? {} : tls);
    this.agent = new (tls ? https : http).Agent({ keepAlive: true, maxSockets: 64 });
    this.offset = 0;
    this.next = 0;
    fs.writeFileSync(this.files.clock, Buffer.alloc(8));
    fs.writeFileSync(this.files.jwks, this.idp.jwks());
    fs.writeFileSync(this.files.log, '');
    this.configure(opts.config ?? {});
    if (opts.state !== null) {
      this.state = merge(defaultState(this.base), opts.state ?? {});
      this.apply(this.state);
    }
  }

  configure(over) {
    const spool = `spool:${this.spoolDir}`;
    this.config = merge({
      base_url: this.base, listen: this.listen, database: this.files.db, key_directory: path.join(this.dir, 'keys'),
      admin_socket: this.files.sock, http_threads: 2, log_level: 'debug',
      issuer: { [IDP]: { jwks_uri: `file:${this.files.jwks}`, algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'], provision: false } },
      ...(this.cert ? { tls: { certificate: this.cert.certificate, key: `file:${this.cert.key}` } } : {}),
      delivery: { email: spool, sms: spool, voice: spool, push: spool }, rate_limit: { enabled: false },
    }, over);
    fs.writeFileSync(this.files.conf, confText(this.config), { mode: 0o600 });
    if (this.opts.uid) fs.chownSync(this.files.conf, this.opts.uid, this.opts.uid);
  }

  spawnOptions() { return { cwd: this.dir, env: { ...ENV, ...this.opts.env }, ...(this.opts.uid ? { uid: this.opts.uid, gid: this.opts.uid } : {}) }; }

  daemonArgs(extra = []) {
    const root = IS_ROOT && !this.opts.uid ? ['--allow-root'] : [];
    return ['--config', this.files.conf, ...root, '--test-clock', this.files.clock, ...(this.opts.args ?? []), ...extra];
  }

  /* Starts the process without waiting; `wrap` prefixes the command line (prlimit, unshare). */
  launch(wrap = []) {
    const fd = fs.openSync(this.files.log, 'a');
    const argv = [...wrap, path.join(BIN, this.opts.program ?? 'myaccountd'), ...this.daemonArgs()];
    this.logStart = fs.fstatSync(fd).size;
    this.process = spawn(argv[0], argv.slice(1), { ...this.spawnOptions(), stdio: ['ignore', fd, fd] });
    fs.closeSync(fd);
    const child = this.process;
    alive.add(child);
    child.unref();
    this.exited = new Promise((resolve) => this.process.on('exit', (code, signal) => {
      alive.delete(child);
      this.exit = { code, signal };
      resolve(this.exit);
    }));
    this.exit = null;
    this.ended = false;
  }

  async run(wrap = []) {
    this.launch(wrap);
    await eventually(() => this.exit || this.logText().slice(this.logStart).includes('"ready"'), 'ready', PATIENCE);
    if (this.exit) assert.fail(`daemon ended at start: ${JSON.stringify(this.exit)}\n${this.logText().slice(-4000)}`);
    return this;
  }

  logText() { return fs.readFileSync(this.files.log, 'utf8'); }
  logLines() {
    return this.logText().split('\n').filter(Boolean).map((l) => {
      try { return JSON.parse(l); } catch { return { raw: l }; }
    });
  }

  /* Ends the process with a signal and checks that it was clean. */
  async end(signal = 'SIGTERM') {
    if (!this.process || this.exit) return this.exit;
    this.ended = true;
    this.process.kill(signal);
    const t = setTimeout(() => this.process.kill('SIGABRT'), PATIENCE);
    const e = await this.exited;
    clearTimeout(t);
    return e;
  }

  sanitizerReport() {
    return this.logText().match(/^.*(runtime error:|ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer)[\s\S]{0,6000}/m)?.[0];
  }

  /* The end of a test file: clean exit, no sanitizer report, no secret left where it must not be. */
  async stop({ keep = false } = {}) {
    this.agent.destroy();
    const crashed = this.ended ? null : this.exit;
    const killed = this.ended;
    const e = await this.end();
    const report = this.sanitizerReport();
    const leaks = this.secrets.leaks();
    if (!keep && !process.env.MA_KEEP) fs.rmSync(this.dir, { recursive: true, force: true });
    assert.equal(report, undefined, 'sanitizer report in the log');
    if (this.process && !this.expectExit) {
      assert.equal(crashed, null, `the daemon ended on its own: ${JSON.stringify(crashed)}`);
      if (!killed) assert.deepEqual(e, { code: 0, signal: null }, 'exit status at SIGTERM');
    }
    assert.deepEqual(leaks, [], 'secrets in the log or the database');
  }

  /* --- administration --- */
  ctl(...args) {
    const r = spawnSync(path.join(BIN, 'myaccountctl'), ['--config', this.files.conf, ...args],
      { ...this.spawnOptions(), encoding: 'utf8', timeout: 120000, maxBuffer: 64 << 20 });
    const bad = (r.stderr ?? '').match(/runtime error:|Sanitizer/);
    assert.equal(bad, null, `myaccountctl ${args[0]}: ${r.stderr}`);
    return { code: r.status, signal: r.signal, out: r.stdout, err: r.stderr };
  }
  /* Without blocking this process: for commands that need answers of the test's own servers, or load beside them. */
  ctlAsync(...args) {
    return new Promise((resolve) => {
      const p = spawn(path.join(BIN, 'myaccountctl'), ['--config', this.files.conf, ...args], { ...this.spawnOptions(), stdio: ['ignore', 'pipe', 'pipe'] });
      let out = '';
      let err = '';
      p.stdout.on('data', (c) => { out += c; });
      p.stderr.on('data', (c) => { err += c; });
      p.on('exit', (code, signal) => resolve({ code, signal, out, err }));
    });
  }
  ok(...args) {
    const r = this.ctl(...args);
    assert.equal(r.code, 0, `myaccountctl ${args.join(' ')}: ${r.err}`);
    return r.out;
  }
  document(doc) {
    const file = path.join(this.dir, `state-${process.hrtime.bigint()}.json`);
    fs.writeFileSync(file, typeof doc === 'string' ? doc : JSON.stringify(doc), { mode: 0o600 });
    if (this.opts.uid) fs.chownSync(file, this.opts.uid, this.opts.uid);
    return file;
  }
  apply(doc, ...args) { return this.ok('apply', this.document(doc), ...args); }
  tryApply(doc, ...args) { return this.ctl('apply', this.document(doc), ...args); }
  token(user, { client = 'spa', scope, extra = [] } = {}) {
    const t = this.ok('token', '--user', user, '--client', client, '--scope', scope, ...extra).trim();
    this.secrets.add('token', t);
    return t;
  }
  audit(user) {
    const out = this.ok('audit', ...(user ? ['--user', user] : []));
    return out.split('\n').filter(Boolean);
  }

  /* --- time --- */
  now() { return Date.now() + this.offset; }
  advance(ms) {
    this.offset += ms;
    this.idp.offset = this.offset;
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(this.offset));
    const fd = fs.openSync(this.files.clock, 'r+');
    fs.writeSync(fd, b, 0, 8, 0);
    fs.closeSync(fd);
  }

  /* --- users and requests --- */
  /* A user nobody else in this file uses, from the ones the state document made. */
  fresh() {
    const n = this.next++;
    assert.ok(n < POOL, 'the pool of users is used up');
    return `auth0|u${String(n).padStart(3, '0')}`;
  }
  as(user, over = {}, how = {}) {
    const token = this.idp.token(user, over, how);
    return this.bearer(token, { user });
  }
  bearer(token, extra = {}) {
    this.secrets.add('token', token);
    return new Session(this, token, extra);
  }
  /* A session of a user of its own. */
  session(over = {}) { return this.as(this.fresh(), over); }
  anonymous() { return new Session(this, null, {}); }
  http(o) { return request({ ca: this.cert?.ca, port: this.port, host: this.host, agent: this.agent, ...o }); }
  admin(p) { return request({ socketPath: this.files.sock, host: 'localhost', path: p }); }
}

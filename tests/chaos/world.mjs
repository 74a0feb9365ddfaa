/* SPDX-License-Identifier: Apache-2.0
 * One daemon under test, its provider, its users, and every answer it gave. */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { Daemon, IS_ROOT } from '../daemon/lib/daemon.mjs';
import { CA_SCOPES, REDIRECT, connection } from '../daemon/lib/connect.mjs';
import { PASSWORD } from '../daemon/lib/login.mjs';
import { violations } from '../daemon/lib/openapi.mjs';
import { DB, POLICY, client, grant, user } from '../daemon/lib/state.mjs';
import { Files, Issuer, SCOPES } from '../daemon/lib/tokens.mjs';
import { Upstream } from '../daemon/lib/upstream.mjs';
import { App } from '../daemon/lib/oauth.mjs';
import { Faults } from './faults.mjs';

export const WORKERS = 12;
export const FLOOD = 200;
export const QUEUE = 32;
export const STORM = 'https://storm.test.example/';
export const HEADER_TIMEOUT = 3;
export const me = (n) => `auth0|w${String(n).padStart(3, '0')}`;
export const flooder = (n) => `auth0|f${String(n).padStart(3, '0')}`;
/* No answer may take longer: the longest limit of the daemon (two calls of a provider) and a slow machine. */
const ANSWER_MS = 45000;
const DISK_MB = 64;
/* Shorter secrets are numbers, and numbers are everywhere. */
const WORD = /[A-Za-z0-9_.-]{12,}/g;
const SCOPE = [...SCOPES, ...CA_SCOPES].join(' ');

export class World {
  constructor(seed) {
    Object.assign(this, { seed, complaints: [], contradictions: [], answers: {}, kinds: {}, injected: {}, dropped: 0, acknowledged: 0, lost: 0, where: 'start', allowed: {} });
  }

  async start() {
    this.acme = await Upstream.start();
    this.web = await new Files().start();
    this.storm = new Issuer(STORM, '', { alg: 'EdDSA' });
    this.web.set('/jwks', this.storm.jwks());
    const d = await Daemon.start({ start: false, state: null, program: 'chaos/myaccountd', env: {} });
    this.d = d;
    this.faults = new Faults(path.join(d.dir, 'faults'));
    d.opts.env.MA_CHAOS = path.join(d.dir, 'faults');
    this.storm.audience = `${d.base}/me/`;
    this.acme.trust(d.base);
    this.acme.offset = () => d.offset;
    this.acme.secrets = (kind, value) => d.secrets.add(kind, value);
    this.mount();
    d.configure(this.configuration());
    d.apply(this.document());
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1024 });
    this.app = new App(d, 'app');
    await d.run();
    return this;
  }
  configuration() {
    const { d } = this;
    return {
      database: this.database, log_level: 'info', network: { allow_http_loopback: true },
      limits: { connections: 8192, connections_per_address: 8000, queue: QUEUE, write_batch: 8, header_timeout: HEADER_TIMEOUT },
      rate_limit: { enabled: false, otp_failures_per_hour: 0, email_per_hour: 0, sms_per_hour: 0 }, notifications: { changes_per_hour: 0 },
      issuer: { ...d.config.issuer, [STORM]: { jwks_uri: `${this.web.origin}/jwks`, algorithms: ['EdDSA'], provision: true } },
    };
  }
  document() {
    const { d } = this;
    const names = [...Array.from({ length: WORKERS }, (_, n) => me(n)), ...Array.from({ length: FLOOD }, (_, n) => flooder(n))];
    return {
      api: { active: true, user_access_policy: 'require_client_grant', client_access_policy: 'deny_all', allow_skipping_user_consent: true },
      factors: { totp: true, email: true, phone: true, 'recovery-code': true, password: true },
      connections: [{ name: DB, strategy: 'auth0', password_policy: POLICY }, connection('acme', this.acme.options('basic'))],
      clients: [client('spa', { callbacks: [REDIRECT] }),
        client('app', { app_type: 'native', grant_types: ['password', 'refresh_token'], refresh_token: { rotation_type: 'rotating', leeway: 0 } })],
      client_grants: ['spa', 'app'].map((c) => grant(d.base, c, [...SCOPES, ...CA_SCOPES])),
      users: names.map((id, n) => user(id, n < WORKERS ? { password: PASSWORD } : {})),
    };
  }
  /* A disk of its own, small enough to fill, where this is allowed. */
  mount() {
    this.disk = path.join(this.d.dir, 'disk');
    fs.mkdirSync(this.disk, { mode: 0o700 });
    this.mounted = IS_ROOT && spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=0700`, 'tmpfs', this.disk]).status === 0;
    this.database = path.join(this.disk, 'myaccount.db');
    process.on('exit', () => this.unmount());
  }
  unmount() {
    if (this.mounted) spawnSync('umount', ['-l', this.disk]);
    this.mounted = false;
  }

  inject(kind, n = 1) { this.injected[kind] = (this.injected[kind] ?? 0) + n; }

  /* --- requests --- */
  complain(text) { this.complaints.push(`${this.where}: ${text}`); }
  contradict(text) { this.contradictions.push(`${this.where}: ${text} ${new Date().toISOString()}`); }
  note(status) {
    const per = this.answers[this.where] ??= {};
    per[status] = (per[status] ?? 0) + 1;
  }
  /* An answer of any endpoint: null when there was none. What must never be seen is complained about. */
  async ask(send, what) {
    const began = Date.now();
    let res = null;
    try {
      res = await send();
    } catch (e) {
      this.dropped++;
      if (/no answer to/.test(e.message)) this.complain(`${what}: no answer in ${Date.now() - began} ms`);
      else if (!e.code) throw e;
      else if (!this.allowed.dropped || e.code.startsWith('HPE_')) this.complain(`${what}: ${e.code} after ${Date.now() - began} ms`);
      this.note('none');
      return null;
    }
    this.note(res.status);
    if (res.status >= 500 && res.status !== 503) this.complain(`${what} -> ${res.status} ${res.text.slice(0, 300)}`);
    return res;
  }
  bearer(id) {
    const t = this.d.idp.token(id, { scope: SCOPE });
    this.d.secrets.add('token', t);
    return t;
  }
  /* The My Account API as a user, held against the contract. */
  async api(id, method, target, body, { token = this.bearer(id), agent = this.agent } = {}) {
    const headers = { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) };
    const res = await this.ask(() => this.d.http({ method, path: target, headers, body: body && JSON.stringify(body), agent, timeout: ANSWER_MS }), `${method} ${target}`);
    if (res?.status === 503 && res.text === '' && this.allowed.bare) return res;
    if (res) for (const v of violations({ method, path: target, type: body?.type }, res, { base: this.d.base })) this.complain(`${method} ${target} -> ${res.status}: ${v}`);
    return res;
  }
  /* The token service. */
  async token(params) {
    const res = await this.ask(() => this.app.token({ audience: `${this.d.base}/me/`, ...params }), `token ${params.grant_type}`);
    if (res?.status === 503 && res.text === '' && this.allowed.bare) return res;
    if (res && typeof (res.status === 200 ? res.json?.access_token : res.json?.error) !== 'string') this.complain(`token ${params.grant_type} -> ${res.status} ${res.text.slice(0, 300)}`);
    return res;
  }

  /* --- the end --- */
  sqlite(sql) {
    const r = spawnSync('sqlite3', ['-readonly', '-cmd', '.timeout 10000', this.database, sql], { encoding: 'utf8', maxBuffer: 64 << 20 });
    if (r.error?.code === 'ENOENT') throw new Error('the sqlite3 command is needed');
    return `${r.stdout}${r.stderr}`.trim();
  }
  checkDatabase() {
    const said = this.sqlite('PRAGMA integrity_check; PRAGMA foreign_key_check;');
    if (said !== 'ok') this.complain(`the database: ${said.slice(0, 500)}`);
  }
  crashed() {
    const report = this.d.sanitizerReport();
    if (report) this.complain(`sanitizer report: ${report.slice(0, 3000)}`);
    else if (this.d.exit && !this.d.ended) this.complain(`the daemon ended by itself: ${JSON.stringify(this.d.exit)} ${this.d.logText().slice(-1500)}`);
    return Boolean(report || (this.d.exit && !this.d.ended));
  }
  async stop() {
    this.faults.calm();
    this.acme.calm();
    const { d } = this;
    const trail = await d.ctlAsync('audit', 'verify');
    if (trail.code !== 0) this.complain(`audit verify: ${trail.out}${trail.err}`);
    if (!d.exit) {
      const e = await d.end('SIGTERM');
      if (e.code !== 0) this.complain(`SIGTERM: ${JSON.stringify(e)}`);
      this.crashed();
    }
    this.checkDatabase();
    const places = [d.files.log, ...fs.readdirSync(this.disk).filter((n) => n.startsWith('myaccount.db')).map((n) => path.join(this.disk, n))];
    for (const f of places) this.findSecrets(f);
  }
  /* There are too many secrets to look for each: every word of the file is looked up. */
  findSecrets(file) {
    for (const [word] of fs.readFileSync(file, 'latin1').matchAll(WORD))
      for (const s of [word, word.split('.')[2]]) if (this.d.secrets.known.has(s)) this.complain(`${this.d.secrets.known.get(s)} in ${path.basename(file)}`);
  }
  async clear(keep) {
    this.agent?.destroy();
    this.d?.agent.destroy();
    await this.d?.end('SIGKILL');
    await this.acme?.stop();
    await this.web?.stop();
    if (keep && this.mounted)
      for (const f of fs.readdirSync(this.disk).filter((n) => n.startsWith('myaccount.db'))) fs.copyFileSync(path.join(this.disk, f), path.join(this.d.dir, f));
    this.unmount();
    this.faults?.close();
    if (this.d && !keep) fs.rmSync(this.d.dir, { recursive: true, force: true });
  }
}

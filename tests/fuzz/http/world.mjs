/* SPDX-License-Identifier: Apache-2.0
 * The daemon under test with its provider, its applications and its users, each of whom is marked: whatever belongs to
 * one carries a word of its own, which nobody else's answers may contain. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { Daemon } from '../../daemon/lib/daemon.mjs';
import { CA_SCOPES, connection } from '../../daemon/lib/connect.mjs';
import { PASSWORD } from '../../daemon/lib/login.mjs';
import { GRANT, Prover } from '../../daemon/lib/oauth.mjs';
import { DB, ORIGIN, POLICY, client, grant, user } from '../../daemon/lib/state.mjs';
import { SCOPES } from '../../daemon/lib/tokens.mjs';
import { Upstream } from '../../daemon/lib/upstream.mjs';

export const USERS = 6;
export const MARK = /mq[0-9a-f]{10}/g;
export const SECRET = 'Zq7-secret-of-the-fuzzed-application';
export const SCOPE = [...SCOPES, ...CA_SCOPES, 'read:me:consents', 'read:me:organizations'];
export const CALLBACK = `${ORIGIN}/callback`;
const CONNECTIONS = 5;
const ORGANIZATIONS = 3;
const WEBAUTHN = 'urn:okta:params:oauth:grant-type:webauthn';
const MFA = [GRANT.otp, GRANT.oob, GRANT.recovery];
const PLENTY = 1000000000;
const SHORTEST = 12;
const WORD = /[A-Za-z0-9_.-]{12,}/g;
/* With a small quarantine, memory that grows is memory that was not freed. */
const ASAN = 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=1:quarantine_size_mb=8';
const KIB = 1024;
const LISTENING = '0A'; /* in /proc/net/tcp */

export const marker = (seed, n) => `mq${crypto.createHash('sha256').update(`${seed}/${n}`).digest('hex').slice(0, 10)}`;

/* Everything without a limit; the limits as they are; and a daemon that has room for nobody. */
export const PARTS = {
  deep: { rate_limit: { enabled: true, user_reads: PLENTY, user_writes: PLENTY, otp_failures_per_hour: PLENTY, sms_per_hour: PLENTY, email_per_hour: PLENTY, push_per_minute: PLENTY, login_failures_per_minute: PLENTY,
    address_failures: PLENTY, user_login_failures: PLENTY, method_failures_per_hour: PLENTY, messages_per_address: PLENTY, signups_per_address: PLENTY }, notifications: { changes_per_hour: 0 } },
  defaults: { rate_limit: { enabled: true } },
  flood: { rate_limit: { enabled: false }, limits: { queue: 1, write_batch: 1 } },
};

export class World {
  constructor(part, seed) { Object.assign(this, { part, seed, flood: part === 'flood' }); }

  async start() {
    this.acme = await Upstream.start();
    const d = await Daemon.start({ start: false, state: null, env: { ASAN_OPTIONS: ASAN } });
    this.d = d;
    this.acme.trust(d.base);
    this.acme.offset = () => d.offset;
    this.acme.secrets = (kind, value) => d.secrets.add(kind, value);
    const limits = { header_timeout: 4, body_timeout: 4, keep_alive: 6, connections_per_address: 4000, ...PARTS[this.part].limits };
    d.configure({ log_level: 'info', network: { allow_http_loopback: true }, ...PARTS[this.part], limits });
    this.people = Array.from({ length: USERS }, (_, n) => {
      const mark = marker(this.seed, n);
      return { n, mark, id: `auth0|${mark}`, email: `${mark}@example.com`, phone: `+1999555${String(1000 + n)}` };
    });
    d.apply(this.document());
    d.secrets.add('password', PASSWORD);
    d.secrets.add('client_secret', SECRET);
    this.prover = new Prover(d);
    await d.run();
    this.pid = d.process.pid;
    return this;
  }
  document() {
    const { d } = this;
    const native = { app_type: 'native', allowed_origins: [], web_origins: [] };
    const embedded = ['password', 'http://auth0.com/oauth/grant-type/password-realm', 'refresh_token', 'authorization_code', WEBAUTHN, ...MFA];
    const clients = [client('spa', { grant_types: ['authorization_code', 'refresh_token', WEBAUTHN] }), client('app', { ...native, grant_types: embedded, refresh_token: { rotation_type: 'rotating', leeway: 0 } }),
      client('ruled', { ...native, grant_types: embedded }), client('third', { is_first_party: false, allowed_origins: ['https://third.example'], web_origins: [] }),
      client('web', { app_type: 'regular_web', client_secret: SECRET, grant_types: [...embedded, GRANT.vault], allowed_origins: ['https://web.example'], web_origins: [] })];
    return {
      api: { active: true, user_access_policy: 'require_client_grant', client_access_policy: 'deny_all', enforce_rbac: false, allow_skipping_user_consent: true, default_policy: { require_2fa: false }, token_lifetime: 86400 },
      tenant: { friendly_name: 'Fuzzed', mfa_policy: 'never' },
      factors: { totp: true, email: true, phone: true, 'push-notification': false, 'recovery-code': true, 'webauthn-roaming': true, 'webauthn-platform': true, passkey: true, password: true },
      connections: [{ name: DB, strategy: 'auth0', password_policy: POLICY }, ...Array.from({ length: CONNECTIONS }, (_, n) => connection(n ? `acme-${n}` : 'acme', this.acme.options('basic')))],
      clients, client_grants: clients.map((c) => grant(d.base, c.client_id, SCOPE)),
      policies: [{ client_id: 'ruled', scope: ['read:me:factors'], require: ['otp', 'email', 'phone'], max_age: 900 }],
      organizations: this.people.flatMap((p) => Array.from({ length: ORGANIZATIONS }, (_, n) => ({ id: `org_${p.mark}${n}`, name: `org-${p.mark}-${n}`, display_name: `Organization ${p.mark}`, members: [p.id] }))),
      users: this.people.map((p) => user(p.id, { email: p.email, email_verified: true, name: `Name ${p.mark}`, phone_number: p.phone, password: PASSWORD })),
    };
  }

  /* --- what a process holds --- */
  /* Files, and connections that were accepted. The threads for outgoing calls keep connections of their own. */
  descriptors() {
    const sockets = new Set();
    let files = 0;
    for (const n of fs.readdirSync(`/proc/${this.pid}/fd`)) {
      let to;
      try { to = fs.readlinkSync(`/proc/${this.pid}/fd/${n}`); } catch { continue; }
      if (to.startsWith('socket:')) sockets.add(to.slice(8, -1));
      else files++;
    }
    const port = this.d.port.toString(16).toUpperCase().padStart(4, '0');
    const rows = fs.readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1).map((l) => l.trim().split(/\s+/));
    return { files, accepted: rows.filter((f) => f[1]?.endsWith(`:${port}`) && f[3] !== LISTENING && sockets.has(f[9])).length };
  }
  resident() { return Number(fs.readFileSync(`/proc/${this.pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]) * KIB; }
  crashed() { return Boolean(this.d.exit && !this.d.ended) || undefined; }

  /* --- the end: what must hold of a daemon that was fuzzed. Gives [name, complaint or ''] --- */
  async stop() {
    const { d } = this;
    const out = [];
    const says = (name, text) => out.push([name, text]);
    const trail = this.crashed() ? { code: 1, out: '', err: 'the daemon is gone' } : await d.ctlAsync('audit', 'verify');
    says('the audit chain verifies', trail.code === 0 ? '' : `${trail.out}${trail.err}`);
    const ended = this.crashed() ? d.exit : await d.end('SIGTERM');
    says('it ends with 0 at SIGTERM', ended.code === 0 && !this.gone ? '' : JSON.stringify(ended));
    says('the sanitizers found nothing', d.sanitizerReport()?.slice(0, 3000) ?? '');
    const r = spawnSync('sqlite3', ['-readonly', d.files.db, 'PRAGMA integrity_check; PRAGMA foreign_key_check;'], { encoding: 'utf8' });
    const said = `${r.stdout ?? ''}${r.stderr ?? ''}`.trim();
    says('the database is whole', said === 'ok' ? '' : said.slice(0, 500) || String(r.error));
    says('each line of the log is JSON', this.badLine());
    says('no secret is in the log or the database', this.leaked());
    return out;
  }
  badLine() {
    for (const l of this.d.logText().split('\n')) {
      if (!l) continue;
      try { JSON.parse(l); } catch { return l.slice(0, 500); }
    }
    return '';
  }
  /* There are too many secrets to look for each: every word is looked up. Numbers are left out, they are everywhere. */
  leaked() {
    const { known } = this.d.secrets;
    const files = fs.readdirSync(this.d.dir).filter((n) => n === 'log' || n.startsWith('myaccount.db')).map((n) => path.join(this.d.dir, n));
    for (const f of files)
      for (const [w] of fs.readFileSync(f, 'latin1').matchAll(WORD))
        for (const s of [w, w.split('.')[2]]) if (s?.length >= SHORTEST && known.has(s)) return `${known.get(s)} ${s.slice(0, 60)} in ${path.basename(f)}`;
    return '';
  }
  async clear(keep) {
    this.d.agent.destroy();
    await this.d.end('SIGKILL');
    await this.acme.stop();
    if (!keep) fs.rmSync(this.d.dir, { recursive: true, force: true });
  }
}

/* SPDX-License-Identifier: Apache-2.0
 * Counts what was sent and answered, and keeps what was found, each kind of it once. */
import fs from 'node:fs';
import path from 'node:path';
import { save } from './replay.mjs';

export const ORACLES = {
  status: 'no status is 5xx', deadline: 'every request is answered or ended in time', connection: 'connections carry whole answers and end properly', errors: 'every error has the error object',
  schema: 'every answer of the API is as documented', secrets: 'no secret is in an error', others: 'nobody is shown what belongs to another user', cors: 'only origins of clients are allowed', redirects: 'redirects lead home or to an application',
  headers: 'no header is there without a reason', injection: 'no page carries markup that was sent',
};
const SHOWN = 20;

export class Report {
  constructor(seed, found) {
    Object.assign(this, { seed, found, requests: 0, mutated: 0, unanswered: 0, operations: {}, classes: {}, triples: new Set(), kinds: {}, findings: new Map(), files: [], checks: [], slowest: 0, began: Date.now(), good: new Set(), notes: [] });
  }
  begin(w) {
    this.world = w;
    w.owners = new Map();
    const codes = new Map();
    w.spool = (to) => {
      for (const name of w.d.spool.names()) {
        const m = w.d.spool.read(name);
        if (m.code) codes.set(m.to, m.code);
        const [, link] = m.text.match(/\/security\/[a-z-]+\?token=([\w-]{43})/) ?? [];
        if (link) w.players.find((p) => p.me.id === m.user_id)?.keep('link', link);
        fs.rmSync(path.join(w.d.spoolDir, name), { force: true });
      }
      const code = codes.get(to);
      codes.delete(to);
      return code;
    };
  }
  opened() { this.openedAt = Date.now(); }
  sent(plan) {
    this.requests++;
    const op = this.operations[plan.op] ??= { sent: 0 };
    op.sent++;
    if (plan.notes.length) this.mutated++;
    for (const n of plan.notes) this.kinds[n] = (this.kinds[n] ?? 0) + 1;
  }
  extra(plan, n) { this.requests += n; this.operations[plan.op].sent += n; }
  took(ms) { this.slowest = Math.max(this.slowest, ms); }
  closed() { this.unanswered++; }
  answered(plan, a, kind) {
    const c = `${Math.floor(a.status / 100)}xx`;
    this.classes[c] = (this.classes[c] ?? 0) + 1;
    const op = this.operations[plan.op];
    op[c] = (op[c] ?? 0) + 1;
    this.triples.add(`${plan.op} ${a.status} ${kind}`);
    if (a.status < 300) this.good.add(plan.op);
  }
  succeeded(op) { return this.good.has(op); }
  check(part, name, complaint) {
    this.checks.push([part, name, complaint]);
    if (complaint && part !== 'all') console.log(`# ${part}: ${name}: ${complaint}`);
  }
  memory(part, before, grown) { this.notes.push(`${part}: ${before >> 20} MiB resident when warm, ${grown >> 20} MiB more at the end`); }

  /* What differs from one find to the next of the same kind: identifiers, numbers and what is quoted. */
  finding(oracle, text, player, entry) {
    const key = `${oracle} ${entry.plan.op} ${text.replace(/[A-Za-z0-9_-]*\d[A-Za-z0-9_-]*/g, '#').slice(0, 60)}`;
    const known = this.findings.get(key);
    if (known) {
      known.times++;
      return;
    }
    const f = { oracle, text, op: entry.plan.op, notes: entry.plan.notes, times: 1, part: this.world.part };
    this.findings.set(key, f);
    if (this.findings.size > SHOWN * 5) return;
    f.file = path.join(this.found, `${this.seed.replace(/[^\w.-]/g, '_')}-${this.findings.size}.json`);
    save(f.file, { seed: this.seed, part: this.world.part, oracle, complaint: text, notes: entry.plan.notes }, player, entry);
    this.files.push(f.file);
  }
  /* The daemon is gone: the last request of everybody is as likely as any other. */
  crash(w) { for (const p of w.players) if (p.history.length) this.finding('connection', 'the daemon ended', p, p.history.at(-1)); }
  worst(oracle) {
    const all = [...this.findings.values()].filter((f) => f.oracle === oracle);
    return all.map((f) => `${f.op}${f.notes.length ? ` (${f.notes.join(', ')})` : ''}: ${f.text} [${f.times} times; ${f.file}]`).slice(0, SHOWN).join('\n    ');
  }
  end() {
    const line = (k, o) => `${k} ${Object.entries(o).sort(([a], [b]) => a.localeCompare(b)).map(([c, n]) => `${c} ${n}`).join(', ')}`;
    for (const [op, o] of Object.entries(this.operations).sort()) console.log(line(`operation ${op}:`, o));
    const kinds = Object.entries(this.kinds).sort(([, a], [, b]) => b - a);
    console.log(`mutations ${kinds.length} kinds: ${kinds.map(([k, n]) => `${k} ${n}`).join(', ')}`);
    for (const n of this.notes) console.log(`memory ${n}`);
    console.log(line('answers', this.classes));
    const s = (Date.now() - this.began) / 1000;
    console.log(`requests ${this.requests} (${this.mutated} bent, ${this.unanswered} closed without an answer), slowest answer ${this.slowest} ms, ${s.toFixed(0)} s`);
    console.log(`coverage ${this.triples.size} distinct (operation, status, error type)`);
    console.log(`findings ${this.findings.size}`);
    let ok = true;
    for (const [part, name, complaint] of this.checks) {
      console.log(`${complaint ? 'not ok' : 'ok'} ${part}: ${name}${complaint ? `\n    ${complaint}` : ''}`);
      if (complaint) ok = false;
    }
    return ok;
  }
}

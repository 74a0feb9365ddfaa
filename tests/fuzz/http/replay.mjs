/* SPDX-License-Identifier: Apache-2.0
 * Reproduction files: a request and those that it took values from, with the values replaced by where they come from, so
 * that another daemon can be led to the same place. */
import fs from 'node:fs';
import path from 'node:path';
import { PATIENCE } from '../../daemon/lib/daemon.mjs';
import { totp } from '../../daemon/lib/otp.mjs';
import { ofLibrary } from './judge.mjs';
import { DEADLINE, FURTHER, Player } from './player.mjs';
import { Wire, bytesOf } from './wire.mjs';
import { World } from './world.mjs';

/* The bytes as a list of text and references. `need(entry)` gives the number of the step an entry becomes. */
function parts(player, bytes, need) {
  let out = [bytes.toString('latin1')];
  const put = (value, reference) => {
    out = out.flatMap((p) => (typeof p === 'string' ? p.split(value).flatMap((s, i) => (i ? [reference(), s] : [s])) : [p]));
  };
  const text = out[0];
  for (const [value, origin] of player.origins)
    for (const form of new Set([value, encodeURIComponent(value)])) if (text.includes(form)) put(form, () => ({ ...refer(player, origin, need), encoded: form !== value }));
  if (player.bearer) put(player.bearer, () => ({ token: 'bearer' }));
  if (player.bound) put(player.bound, () => ({ token: 'bound' }));
  for (const p of player.world.people) put(p.mark, () => ({ mark: p.n }));
  put(String(player.d.port), () => ({ port: 1 }));
  return out.filter((p) => p !== '');
}
function refer(player, origin, need) {
  if (origin.mail) return { mail: origin.mail };
  if (origin.totp) { const o = player.origins.get(origin.totp.value); return o ? { totp: refer(player, o, need) } : { text: '000000' }; }
  return { from: need(origin.entry), match: origin.match };
}

export function save(file, about, player, entry) {
  const steps = [];
  const numbers = new Map();
  const need = (e) => {
    if (!numbers.has(e)) {
      numbers.set(e, -1);
      const made = { op: e.plan.op, style: e.plan.style, method: e.plan.method, who: player.n, deliver: e.deliver, framed: !e.plan.unframed, misframed: Boolean(e.plan.misframed), parts: parts(player, e.bytes, need) };
      numbers.set(e, steps.push(made) - 1);
    }
    return numbers.get(e);
  };
  need(entry);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `${JSON.stringify({ ...about, replay: `node tests/fuzz/http/fuzz.mjs replay ${file} [minimise]`, steps }, null, 1)}\n`);
}

/* --- again --- */
class Stage {
  constructor(doc) { this.doc = doc; }
  async open() {
    this.w = await new World(this.doc.part, this.doc.seed).start();
    Object.assign(this.w, { owners: new Map(), spool: () => undefined });
    this.found = [];
    const report = { finding: (oracle, text) => this.found.push([oracle, text]), answered() {}, closed() {}, sent() {}, took() {}, extra() {} };
    this.w.players = this.w.people.map((p) => new Player(this.w, p.n, report));
    return this;
  }
  async close() { await this.w.clear(); }
  async render(list, said) {
    let out = '';
    for (const p of list) out += typeof p === 'string' ? p : await this.value(p, said);
    return bytesOf(out);
  }
  async value(ref, said) {
    const { w } = this;
    if (ref.token) { const p = w.players[0]; p.token(); return ref.token === 'bound' ? p.bound : p.bearer; }
    if (ref.mark !== undefined) return w.people[ref.mark].mark;
    if (ref.port) return String(w.d.port);
    if (ref.text) return ref.text;
    if (ref.totp) { const s = await this.value(ref.totp, said); return /^[A-Z2-7]{16,}$/.test(s) ? totp(s, w.d.now()) : '000000'; }
    if (ref.mail) { const m = await w.d.spool.take({ to: ref.mail.replace(/mq[0-9a-f]{10}/, (x) => x) }, PATIENCE).catch(() => undefined); return m?.code ?? '000000'; }
    const v = said[ref.from]?.match(new RegExp(ref.match))?.[1] ?? 'lost';
    return ref.encoded ? encodeURIComponent(v) : v;
  }
  /* Plays the steps; the oracles that the last one breaks. */
  async run(steps) {
    const said = [];
    for (const [i, s] of steps.entries()) {
      this.found.length = 0;
      const wire = new Wire(this.w.d.port);
      await wire.write(await this.render(s.parts, said));
      if (s.misframed || s.deliver === 'half') wire.end();
      const a = await wire.read(s.method, DEADLINE);
      const more = s.deliver === 'whole' && a.status && !ofLibrary(a) ? await wire.read(s.method, FURTHER) : { closed: true, rest: '' };
      if (more.status || more.rest?.length) this.found.push(['connection', `bytes after the answer: ${(more.head ?? more.rest.toString('latin1')).slice(0, 200)}`]);
      wire.destroy();
      said[i] = (a.head ?? '') + (a.text ?? '');
      const plan = { op: s.op, style: s.style, method: s.method, unframed: !s.framed, misframed: s.misframed, bytes: s.framed ? undefined : 0, notes: [], foreign: [], owners: new Set() };
      const head = (await this.render(s.parts, said)).toString('latin1').split('\r\n\r\n')[0].split('\r\n');
      const req = { method: s.method, target: head[0].split(' ')[1] ?? '', headers: head.slice(1).map((l) => l.split(/: ?(.*)/s)) };
      this.w.players[s.who].take({ ...plan, headers: [], json: undefined }, req, a, { plan });
      if (i === steps.length - 1) this.last = a;
      if (this.w.crashed()) this.found.push(['connection', 'the daemon ended']);
    }
    return this.found.map(([o]) => o);
  }
}

export async function replay(file) {
  const doc = JSON.parse(fs.readFileSync(file, 'utf8'));
  const s = await new Stage(doc).open();
  try {
    const broken = await s.run(doc.steps);
    const again = broken.includes(doc.oracle);
    return { again, text: `${file}: ${again ? 'REPRODUCED' : 'not reproduced'}: ${doc.oracle}: ${doc.complaint}\n${s.found.map(([o, t]) => `  ${o}: ${t}`).join('\n')}\n  last answer: ${s.last.status ?? 'none'} ${(s.last.text ?? '').slice(0, 400)}` };
  } finally { await s.close(); }
}

/* Leaves out steps, then header lines and pieces of the body of the last one, as long as the complaint stays. */
export async function minimise(file, ms) {
  const doc = JSON.parse(fs.readFileSync(file, 'utf8'));
  const end = Date.now() + ms;
  let stage = await new Stage(doc).open();
  const holds = async (steps) => {
    if (Date.now() > end) return false;
    if (stage.w.crashed()) {
      await stage.close();
      stage = await new Stage(doc).open();
    }
    return (await stage.run(steps)).includes(doc.oracle);
  };
  try {
    let best = doc.steps;
    if (!await holds(best)) return `${file}: not reproduced by itself`;
    if (best.length > 1 && await holds([best.at(-1)])) best = [best.at(-1)];
    const last = best.at(-1);
    const tryParts = async (next) => {
      if (!await holds([...best.slice(0, -1), { ...last, parts: next }])) return false;
      best = [...best.slice(0, -1), { ...last, parts: next }];
      return true;
    };
    /* References stay whole: they are characters of a private area here. */
    const flat = () => best.at(-1).parts.map((p, i) => (typeof p === 'string' ? p : String.fromCharCode(0xe000 + i))).join('');
    const unflat = (t, from) => t.split(/([\ue000-\uf8ff])/).filter(Boolean).map((x) => (/^[\ue000-\uf8ff]$/.test(x) ? from[x.charCodeAt(0) - 0xe000] : x));
    for (let size = Math.ceil(flat().length / 2); size >= 1 && Date.now() < end; size = size === 1 ? 0 : Math.ceil(size / 2))
      for (let at = 0; at < flat().length && Date.now() < end;) {
        const t = flat();
        if (!await tryParts(unflat(t.slice(0, at) + t.slice(at + size), best.at(-1).parts))) at += size;
      }
    const out = file.replace(/\.json$/, '.min.json');
    fs.writeFileSync(out, `${JSON.stringify({ ...doc, steps: best }, null, 1)}\n`);
    return `${out}: ${doc.steps.length} requests of ${JSON.stringify(doc.steps).length} characters made ${best.length} of ${JSON.stringify(best).length}`;
  } finally { await stage.close(); }
}

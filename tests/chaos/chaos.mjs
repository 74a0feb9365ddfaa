/* SPDX-License-Identifier: Apache-2.0
 * Breaks one daemon after another in every way there is, and checks that nothing acknowledged was lost.
 * usage: chaos.mjs [time=SECONDS] [seed=TEXT] [only=SCENARIO] [keep=1] */
import { PATIENCE, eventually, sleep } from '../daemon/lib/daemon.mjs';
import { METHODS, FACTORS } from '../daemon/lib/session.mjs';
import { Random } from './random.mjs';
import { SCENARIOS, verify } from './scenarios.mjs';
import { User, mailbox } from './work.mjs';
import { World, WORKERS, flooder } from './world.mjs';

const options = Object.fromEntries(process.argv.slice(2).map((a) => a.split(/=(.*)/s)));
const TIME = Number(options.time || 60) * 1000;
const SEED = options.seed || String(Date.now());
const ONLY = options.only || '';
/* A round is one daemon, from its first start to its last end. */
const ROUND = 60000;
/* Of a round, for starting, verifying and ending. */
const AROUND = 0.5;
const SHOWN = Number(options.show || 12);

const began = Date.now();
const total = { acknowledged: 0, lost: 0, contradictions: 0, answers: 0, unavailable: 0, none: 0, kinds: {}, injected: {}, passed: {}, failed: {} };
const add = (to, from) => { for (const [k, n] of Object.entries(from)) to[k] = (to[k] ?? 0) + n; };

async function recovered(w) {
  await eventually(async () => {
    if (w.crashed()) return true;
    const read = await w.api(flooder(0), 'GET', FACTORS);
    const write = await w.api(flooder(0), 'POST', METHODS, { type: 'recovery-code' });
    return read?.status === 200 && write?.status === 202;
  }, 'a good answer', PATIENCE);
}

async function play(w, name, users, ms) {
  const { run, allowed = {}, after } = SCENARIOS[name];
  const chance = new Random(w.seed, name);
  const end = Date.now() + ms;
  const over = () => Date.now() > end || w.crashed();
  let going = true;
  let gate = null;
  let inside = 0;
  Object.assign(w, { where: name, allowed });
  const work = Promise.all(users.map(async (u) => {
    while (going) {
      if (gate) {
        await gate;
        continue;
      }
      inside++;
      try { await u.work(() => !going || gate); } finally { inside--; }
    }
  }));
  /* Lets everybody finish what they do, then does something alone. */
  w.pause = async (alone) => {
    let open;
    gate = new Promise((r) => { open = r; });
    while (inside) await sleep(5);
    try { await alone(); } finally {
      gate = null;
      open();
    }
  };
  try {
    await run(w, chance, over, users);
  } finally {
    going = false;
    w.faults.calm();
    w.acme.calm();
    await work;
  }
  if (w.crashed()) return;
  w.where = `after ${name}`;
  w.allowed = { dropped: true };
  await recovered(w);
  w.allowed = {};
  if (after) await after(w);
  w.where = name;
  await verify(w, users);
}

function report(w, name, from) {
  const bad = w.complaints.slice(from.complaints);
  total[bad.length ? 'failed' : 'passed'][name] = (total[bad.length ? 'failed' : 'passed'][name] ?? 0) + 1;
  const seen = Object.entries(w.answers).filter(([k]) => k === name).flatMap(([, v]) => Object.entries(v)).map(([s, n]) => `${s}×${n}`).join(' ');
  console.log(`${bad.length ? 'not ok' : 'ok'} ${name}: ${w.acknowledged - from.acknowledged} acknowledged, answers ${seen}`);
  for (const c of bad.slice(0, SHOWN)) console.log(`    ${c}`);
  if (bad.length > SHOWN) console.log(`    … and ${bad.length - SHOWN} more`);
  return bad.length === 0;
}

/* True when everything held. */
async function round(n, ms) {
  const seed = n ? `${SEED}.${n}` : SEED;
  const w = new World(seed);
  let good = true;
  let from = { complaints: 0, acknowledged: 0 };
  const step = async (name, act) => {
    from = { complaints: w.complaints.length, acknowledged: w.acknowledged };
    try { await act(); } catch (e) { w.complain(e.stack); }
    good = report(w, name, from) && good;
  };
  try {
    await w.start();
    w.kinds = {};
    w.mail = mailbox(w);
    const users = Array.from({ length: WORKERS }, (_, i) => new User(w, i));
    const names = Object.keys(SCENARIOS).filter((k) => !ONLY || k.includes(ONLY));
    const parts = names.reduce((n, k) => n + (SCENARIOS[k].parts ?? 1), 0);
    for (const name of names) {
      if (w.crashed()) break;
      await step(name, () => play(w, name, users, Math.max(SCENARIOS[name].least ?? 0, ms * AROUND * (SCENARIOS[name].parts ?? 1) / parts)));
    }
    await step('the end', () => w.stop());
  } catch (e) {
    good = false;
    console.log(`not ok start\n    ${e.stack}`);
  }
  total.acknowledged += w.acknowledged;
  total.lost += w.lost;
  total.contradictions += w.contradictions.length;
  for (const c of w.contradictions.slice(0, SHOWN)) console.log(`    refused, but done: ${c}`);
  for (const a of Object.values(w.answers)) for (const [s, k] of Object.entries(a)) {
    total.answers += k;
    if (s === '503') total.unavailable += k;
    if (s === 'none') total.none += k;
  }
  add(total.kinds, w.kinds);
  add(total.injected, w.injected);
  if (!good) console.log(`    repeat with: make chaos SEED=${seed} TIME=${Math.round(ms / 1000)}${ONLY ? ` ONLY='${ONLY}'` : ''}\n    kept: ${w.d?.dir}`);
  await w.clear(!good || Boolean(options.keep));
  return good;
}

/* What was started is ended, however this ends. */
for (const s of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(s, () => process.exit(130));
console.log(`chaos: seed ${SEED}, ${TIME / 1000} s`);
let good = true;
for (let n = 0; ; n++) {
  const left = TIME - (Date.now() - began);
  if (n && left < ROUND / 2) break;
  const ms = Math.min(left, ROUND);
  if (n) console.log(`round ${n + 1}: seed ${SEED}.${n}`);
  good = await round(n, ms) && good;
}
const list = (o) => Object.entries(o).map(([k, n]) => `${n} ${k}`).join(', ');
console.log(`operations acknowledged: ${total.acknowledged} (${list(total.kinds)})`);
console.log(`faults injected: ${list(total.injected)}`);
console.log(`answers: ${total.answers}, of them 503: ${total.unavailable}, none: ${total.none}; refused but done: ${total.contradictions}`);
console.log(`lost: ${total.lost}`);
process.exit(good && total.lost === 0 ? 0 : 1);

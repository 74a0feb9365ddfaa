/* SPDX-License-Identifier: Apache-2.0
 * A structure-aware HTTP fuzzer against the live daemon: requests of the OpenAPI document and of the token service, whole
 * and bent, in every order; what must hold of every answer is in judge.mjs, what must hold at the end in world.mjs.
 * usage: fuzz.mjs [time=SECONDS] [seed=TEXT] [part=deep|defaults|flood] [found=DIRECTORY] [keep=1]
 *        fuzz.mjs replay FILE [minimise] */
import { sleep } from '../../daemon/lib/daemon.mjs';
import { ORACLES, Report } from './report.mjs';
import { DESCRIBED } from './operations.mjs';
import { JOURNEYS, OPENING } from './journeys.mjs';
import { Player } from './player.mjs';
import { minimise, replay } from './replay.mjs';
import { PARTS, USERS, World } from './world.mjs';

const SHARE = { deep: 0.7, defaults: 0.2, flood: 0.1 };
/* Growth of a daemon's memory, once it is warm: caches and the allocator's own, not what requests leave behind. */
const GROWTH = 96 << 20;
const GROWTH_PER_REQUEST = 64;
const SPARE_FILES = 40; /* threads open the database when they first need it: two files each */
const SETTLE_MS = 15000;

/* Connections that were left half way end by the daemon's own limits of time. */
async function settled(w) {
  for (let n = 0; n < SETTLE_MS / 50 && !w.crashed() && w.descriptors().accepted > 0; n++) await sleep(50);
  return w.crashed() ? { files: Infinity, accepted: Infinity } : w.descriptors();
}

async function opening(w, report) {
  const [first, ...rest] = w.players;
  for (const journey of OPENING) await first.play(journey(first), { calm: true });
  for (const p of rest) for (const journey of OPENING.slice(0, 2)) await p.play(journey(p), { calm: true });
  report.opened(w.part);
}

async function play(part, seed, ms, report, options) {
  const w = await new World(part, seed).start();
  report.begin(w);
  let keep = Boolean(options.keep);
  try {
    w.players = w.people.slice(0, USERS).map((p) => new Player(w, p.n, report));
    if (part === 'deep') await opening(w, report);
    const { files } = w.descriptors();
    const memory = w.resident();
    const before = report.requests;
    const end = Date.now() + ms;
    await Promise.all(w.players.map(async (p) => {
      while (Date.now() < end && !w.crashed()) await p.play(p.r.of(JOURNEYS)(p));
    }));
    const [p] = w.players;
    if (!w.crashed() && part !== 'defaults') {
      const a = await p.send(p.plan('getFactors', { query: [], dpop: false }));
      report.check(part, 'it still answers', a.status === 200 ? '' : `${a.status} ${a.text}`);
    }
    for (const q of w.players) q.close();
    const left = await settled(w);
    report.check(part, 'no connection is left open', left.accepted === 0 ? '' : `${left.accepted} after ${SETTLE_MS} ms`);
    report.check(part, 'no file is left open', left.files <= files + SPARE_FILES ? '' : `${files} before, ${left.files} after`);
    const grown = w.crashed() ? 0 : w.resident() - memory;
    report.memory(part, memory, grown);
    report.check(part, 'its memory stays bounded', grown <= GROWTH + GROWTH_PER_REQUEST * (report.requests - before) ? '' : `${memory >> 20} MiB before, ${grown >> 20} MiB more after ${report.requests - before} requests`);
    if (w.crashed()) report.crash(w);
    for (const [name, text] of await w.stop()) report.check(part, name, text);
  } catch (e) {
    keep = true;
    throw e;
  } finally {
    if (keep) console.error(`kept: ${w.d.dir}`);
    await w.clear(keep);
  }
}

async function fuzz(options) {
  const seed = options.seed || String(Date.now());
  const ms = Number(options.time || 60) * 1000;
  const parts = options.part ? [options.part] : Object.keys(PARTS);
  const report = new Report(seed, options.found || 'build/fuzz/found/http');
  console.log(`seed ${seed}`);
  for (const part of parts) await play(part, seed, options.part ? ms : ms * SHARE[part], report, options);
  if (parts.includes('deep')) for (const op of DESCRIBED) report.check('deep', `${op} has succeeded`, report.succeeded(op) ? '' : 'the fuzzer has only seen errors of it');
  for (const oracle of Object.keys(ORACLES)) report.check('all', ORACLES[oracle], report.worst(oracle));
  if (options.minimise !== '0') for (const f of report.files) await minimise(f, 20000).then((t) => console.log(t), (e) => console.log(`${f}: ${e.message}`));
  return report.end();
}

const args = process.argv.slice(2);
if (args[0] === 'replay') {
  const said = await replay(args[1]);
  console.log(said.text);
  if (args[2] === 'minimise') console.log(await minimise(args[1], 120000));
  process.exit(said.again ? 1 : 0);
}
process.exit(await fuzz(Object.fromEntries(args.map((a) => a.split(/=(.*)/s)))) ? 0 : 1);

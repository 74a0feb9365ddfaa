/* SPDX-License-Identifier: Apache-2.0
 * The faults. Each runs while every user works, and ends when `over()` says so; `allowed` is what an answer may be
 * beside what it would be on a good day: dropped (no answer at all), bare (a 503 without a body), expired (4xx of things
 * past their time). `parts`: how much of a round's time it takes; `least`: milliseconds that it needs. */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { eventually, sleep } from '../daemon/lib/daemon.mjs';
import { METHODS, FACTORS } from '../daemon/lib/session.mjs';
import { Key } from '../daemon/lib/tokens.mjs';
import { IO, OWNER, SQLITE_FULL } from './faults.mjs';
import { FLOOD, HEADER_TIMEOUT, STORM, flooder } from './world.mjs';

const SECOND = 1000;
/* Longer than the daemon waits for an answer. */
const PROVIDER_GIVEN_UP = 9000;
const HOUR = 3600 * SECOND;
const IDLE = 5000;
const DRIPPING = 500;
/* Descriptors that are not for this program's idle connections. */
const SPARE_FILES = 700;
const CONNECT_AT_ONCE = 200;
const bits = (chance, kinds) => Object.values(kinds).reduce((m, b) => m | (chance.below(3) === 0 ? b : 0), 0) || chance.of(Object.values(kinds));

/* Faults of the n-th call, n and what follows by chance. */
async function series(w, chance, over, which, plan) {
  while (!over()) {
    w.faults.arm(which, plan());
    await sleep(chance.between(40, 250));
    w.faults.disarm(which);
    await sleep(chance.between(10, 100));
  }
}

async function io(w, chance, over) {
  const before = w.faults.injected('io');
  await series(w, chance, over, 'io', () => ({ mask: bits(chance, IO), skip: chance.below(60), every: chance.between(1, 12),
    left: chance.of([1, 1, 2, 5, 1000]), code: chance.below(4) ? 0 : SQLITE_FULL }));
  w.inject('I/O errors', w.faults.injected('io') - before);
}

async function memory(w, chance, over) {
  const before = w.faults.injected('memory');
  await series(w, chance, over, 'memory', () => ({ mask: chance.below(3) ? chance.of(Object.values(OWNER)) : bits(chance, OWNER),
    skip: chance.below(2000), every: chance.between(1, 300), left: chance.of([1, 1, 3, 20, 200]) }));
  w.inject('failed allocations', w.faults.injected('memory') - before);
}

/* The disk really is full; a log that is long enough already takes no more of it, so every other time, or where
 * nothing may be mounted, SQLite is told so of every write. */
async function full(w, chance, over) {
  const filler = path.join(w.disk, 'filler');
  for (let n = 0; !over(); n++) {
    const end = Date.now() + chance.between(200, 700);
    if (w.mounted) {
      const fd = fs.openSync(filler, 'w');
      for (let size = 1 << 22; size >= 1024; size >>= 1) try { for (;;) fs.writeSync(fd, Buffer.alloc(size)); } catch (e) { if (e.code !== 'ENOSPC') throw e; }
      fs.closeSync(fd);
    }
    if (!w.mounted || n % 2 === 0) w.faults.arm('io', { mask: IO.write, left: 1 << 20, code: SQLITE_FULL });
    while (Date.now() < end && !over()) await sleep(20);
    w.inject('full disks');
    w.faults.disarm('io');
    fs.rmSync(filler, { force: true });
    await sleep(chance.between(100, 300));
  }
}

async function kill(w, chance, over, users) {
  while (!over()) {
    await sleep(chance.between(150, 900));
    w.inject('kill -9');
    await w.d.end('SIGKILL');
    await w.d.run();
    w.d.ended = false;
    if (!over()) await w.pause(() => verify(w, users));
  }
}

async function clock(w, chance, over) {
  const { d } = w;
  while (!over()) {
    const to = chance.of([-24 * HOUR, -HOUR, -10 * SECOND, 10 * SECOND, HOUR, 24 * HOUR, 0]);
    d.advance(to - d.offset);
    w.storm.offset = d.offset;
    w.inject('clock jumps');
    await sleep(chance.between(50, 400));
  }
  d.advance(-d.offset);
  w.storm.offset = 0;
}

/* The provider says nothing: the first time until the daemon gives up, then for moments. */
async function provider(w, chance, over) {
  for (let n = 0; !over(); n++) {
    const h = w.acme.hold(n ? chance.of(['token', 'discovery', 'jwks', 'userinfo']) : 'token');
    const end = Date.now() + (n ? chance.of([500, 2000, PROVIDER_GIVEN_UP]) : PROVIDER_GIVEN_UP);
    let waited = 0;
    while (Date.now() < end && !over()) {
      waited = Math.max(waited, h.waiting);
      await sleep(50);
    }
    w.inject('requests that a provider let wait', waited);
    h.release();
  }
}

/* Keys change all the time, and tokens come with keys that nobody publishes. */
async function storm(w, chance, over) {
  const lost = [];
  const token = (key) => w.storm.token(`storm|${chance.below(4)}`, { scope: 'read:me:factors' }, { key });
  const fire = async (key) => {
    const res = await w.api('storm', 'GET', FACTORS, undefined, { token: token(key) });
    if (res && ![200, 401, 503].includes(res.status)) w.complain(`a token of a new key -> ${res.status} ${res.text.slice(0, 200)}`);
  };
  const { hits } = w.web;
  const before = w.web.count('/jwks');
  for (let n = 0; !over(); n++) {
    w.storm.keys[0] = new Key('EdDSA');
    w.web.set('/jwks', w.storm.jwks());
    w.web.status = n % 7 === 3 ? 500 : 200;
    w.web.delay = n % 5 === 2 ? 300 : 0;
    w.inject('key rotations');
    lost.push(fire(w.storm.keys[0]), fire(new Key('EdDSA')));
    await sleep(chance.between(5, 40));
  }
  await Promise.all(lost);
  w.web.status = 200;
  w.web.delay = 0;
  w.fetches = (w.fetches ?? 0) + (hits.get('/jwks') ?? 0) - before;
}
/* What was throttled is fetched again in the end. */
async function calmed(w) {
  await eventually(async () => (await w.api('storm', 'GET', FACTORS, undefined, { token: w.storm.token('storm|0', { scope: 'read:me:factors' }) }))?.status === 200,
    `a token of ${STORM}`, 60 * SECOND);
}

function openFiles() {
  const limit = Number(fs.readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\d+)/m)[1]);
  return Math.max(0, Math.min(IDLE + DRIPPING, limit - SPARE_FILES));
}
async function connections(w, chance, over) {
  const room = openFiles();
  const drips = Math.min(DRIPPING, Math.floor(room / 11));
  const idle = room - drips;
  const sockets = [];
  const open = () => new Promise((resolve) => {
    const s = net.connect({ host: '127.0.0.1', port: w.d.port });
    sockets.push(s);
    s.on('error', () => resolve(s));
    s.on('connect', () => resolve(s));
    s.on('close', () => { s.ended = Date.now(); });
    s.resume();
  });
  for (let n = 0; n < idle; n += CONNECT_AT_ONCE) await Promise.all(Array.from({ length: Math.min(CONNECT_AT_ONCE, idle - n) }, open));
  w.inject('idle connections', sockets.filter((s) => s.readyState === 'open').length);
  const dripping = await Promise.all(Array.from({ length: drips }, open));
  w.inject('dripping connections', drips);
  const text = `POST ${METHODS} HTTP/1.1\r\nHost: ${w.d.host}\r\nX-Slow: ${'y'.repeat(4096)}`;
  const began = Date.now();
  /* Until the last of them was cut off. */
  const late = began + (HEADER_TIMEOUT + 20) * SECOND;
  for (let n = 0; dripping.some((s) => !s.ended) && Date.now() < late; n++) {
    for (const s of dripping) if (!s.ended) s.write(text[n] ?? 'y');
    await sleep(200);
  }
  const left = dripping.filter((s) => !s.ended).length;
  if (left) w.complain(`${left} dripping connections were not closed`);
  while (!over()) await sleep(50);
  for (const s of sockets) s.destroy();
}

/* More writers at once than places in the queue: those that were taken are there. */
async function flood(w, chance, over) {
  while (!over()) {
    const sent = Array.from({ length: FLOOD }, (_, n) => w.api(flooder(n), 'POST', METHODS, { type: 'totp' }));
    const answers = await Promise.all(sent);
    const taken = answers.map((r, n) => [r, n]).filter(([r]) => r?.status === 202);
    w.inject('refused by a full queue', answers.filter((r) => r?.status === 503).length);
    w.acknowledged += taken.length;
    w.kinds.enrolments = (w.kinds.enrolments ?? 0) + taken.length;
    const ids = new Set(w.sqlite('SELECT id FROM methods').split('\n'));
    for (const [r, n] of taken)
      if (!ids.has(r.json.id)) {
        w.lost++;
        w.complain(`LOST enrolment ${r.json.id} of ${flooder(n)}`);
      }
  }
}

export async function verify(w, users) {
  const { where, allowed } = w;
  w.where = `after ${where}`;
  w.allowed = {};
  for (const u of users) await u.audit();
  w.checkDatabase();
  Object.assign(w, { where, allowed });
}

export const SCENARIOS = {
  calm: { run: async (w, chance, over) => { while (!over()) await sleep(20); } },
  'kill -9': { run: kill, allowed: { dropped: true }, parts: 2 },
  'I/O errors': { run: io },
  'disk full': { run: full },
  'out of memory': { run: memory, allowed: { dropped: true, bare: true }, parts: 2 },
  'clock jumps': { run: clock, allowed: { expired: true } },
  'provider time-outs': { run: provider, allowed: { expired: true }, least: 9500 },
  'JWKS storm': { run: storm, after: calmed },
  connections: { run: connections, parts: 2 },
  'queue flood': { run: flood },
};

/* SPDX-License-Identifier: Apache-2.0
 * What the running daemon has given up: capabilities, new privileges, system calls, memory that can be swapped. The other
 * tests run under the same filter, which in a build with test hooks kills the daemon for a call that nobody foresaw. */
import fs from 'node:fs';
import { assert, test, Daemon, FACTORS, IS_ROOT, eventually } from './lib/kit.mjs';

const NOBODY = 65534;
const HAS_SETPRIV = fs.existsSync('/usr/bin/setpriv');

/* One line of /proc/PID/status for the process and for each of its threads. */
function statuses(d, name) {
  const tasks = `/proc/${d.process.pid}/task`;
  return new Set(fs.readdirSync(tasks).map((t) => fs.readFileSync(`${tasks}/${t}/status`, 'utf8').match(new RegExp(`^${name}:\\s*(.*)$`, 'm'))[1]));
}
const is = (d, name, value) => assert.deepEqual([...statuses(d, name)], [value], name);

test('every thread is under the filter and may gain nothing', async () => {
  const d = await Daemon.start();
  is(d, 'Seccomp', '2');
  is(d, 'NoNewPrivs', '1');
  assert.ok(statuses(d, 'Name').size >= 1);
  assert.match(d.logText(), /"sandbox\.filter"/);
  assert.doesNotMatch(d.logText(), /"memory\.not_locked"/);
  await d.stop();
});

test('keys are in locked memory', async () => {
  const d = await Daemon.start();
  const [locked] = statuses(d, 'VmLck');
  assert.ok(parseInt(locked, 10) >= 256, locked);
  await d.stop();
});

test('seccomp = require starts with the filter, off without', async () => {
  const d = await Daemon.start({ config: { seccomp: 'require' } });
  is(d, 'Seccomp', '2');
  await d.end();
  d.configure({ seccomp: 'off' });
  await d.run();
  is(d, 'Seccomp', '0');
  await d.stop();
});

test('another word is refused', async () => {
  const d = await Daemon.start({ start: false, state: null });
  d.configure({ seccomp: 'on' });
  const r = d.ctl('check-config');
  assert.equal(r.code, 1);
  assert.match(r.err, /seccomp.*must be auto, require or off/);
  await d.stop();
});

test('capabilities that were passed on are given up', { skip: !IS_ROOT || !HAS_SETPRIV ? 'needs root and setpriv' : false }, async (t) => {
  const d = await Daemon.start({ uid: NOBODY, start: false });
  d.opts.uid = undefined; /* setpriv changes the user instead */
  const give = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=+net_bind_service,+dac_override', '--ambient-caps=+net_bind_service,+dac_override'];
  d.daemonArgs = ((args) => (extra) => args(extra).filter((a) => a !== '--allow-root'))(d.daemonArgs.bind(d));
  await t.test('all of them', async () => {
    await d.run(give);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) is(d, set, '0000000000000000');
    assert.equal((await d.as(d.fresh()).get(FACTORS)).status, 200);
    await d.end();
  });
  await t.test('but for the one that a port below 1024 takes', async () => {
    const port = 1001;
    d.configure({ listen: `127.0.0.1:${port}` });
    await d.run(give);
    for (const set of ['CapPrm', 'CapEff']) is(d, set, '0000000000000400');
    for (const set of ['CapInh', 'CapAmb']) is(d, set, '0000000000000000');
    await eventually(() => d.logText().includes(`127.0.0.1:${port}`), 'the ready line');
    await d.end();
  });
  await d.stop();
});

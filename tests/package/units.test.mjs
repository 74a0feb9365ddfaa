/* SPDX-License-Identifier: Apache-2.0
 * The files for systemd and logrotate, manuals and completion, judged by the programs that read them. */
import fs from 'node:fs';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT, sh, without, scratch, read, BUILD } from './lib.mjs';

const EXPOSURE_MAX = 1.5;
const MANUALS = ['myaccountd.8', 'myaccountctl.1', 'myaccountd.conf.5'];

test('the unit is hardened', { skip: without('systemd-analyze') }, () => {
  const r = sh(['systemd-analyze', 'security', '--offline=true', '--no-pager', 'conf/myaccountd.service'], { env: { LC_ALL: 'C.UTF-8' } });
  const level = Number(r.out.match(/Overall exposure level for myaccountd\.service: ([\d.]+)/)?.[1]);
  assert.ok(level <= EXPOSURE_MAX, `${level}: ${r.said}`);
});

test('systemd reads the units without complaint', { skip: without('systemd-analyze') }, () => {
  const dir = scratch();
  /* the program named is not installed here; /bin/true stands for it */
  for (const f of ['myaccountd.service', 'myaccountd.socket'])
    fs.writeFileSync(`${dir}/${f}`, read(`conf/${f}`).replaceAll('/usr/local/sbin/myaccountd', '/bin/true'));
  const r = sh(['systemd-analyze', 'verify', '--man=no', `${dir}/myaccountd.service`, `${dir}/myaccountd.socket`]);
  const about = r.said.split('\n').filter((l) => /myaccountd/.test(l));
  assert.deepEqual(about, []);
  fs.rmSync(dir, { recursive: true });
});

test('sysusers and tmpfiles do what the unit needs', { skip: without('systemd-sysusers') || without('systemd-tmpfiles') || (process.getuid() !== 0 && 'not root') }, () => {
  const dir = scratch();
  for (const d of ['etc', 'usr/lib/sysusers.d', 'var', 'run']) fs.mkdirSync(`${dir}/${d}`, { recursive: true });
  let r = sh(['systemd-sysusers', `--root=${dir}`, `${ROOT}conf/sysusers.conf`]);
  assert.equal(r.code, 0, r.said);
  const [name, , uid, gid, , home, shell] = fs.readFileSync(`${dir}/etc/passwd`, 'utf8').match(/^myaccountd:.*$/m)[0].split(':');
  assert.deepEqual([name, home, shell], ['myaccountd', '/var/lib/myaccountd', '/usr/sbin/nologin']);
  assert.match(fs.readFileSync(`${dir}/etc/shadow`, 'utf8'), /^myaccountd:!/m);
  r = sh(['systemd-tmpfiles', `--root=${dir}`, '--create', `${ROOT}conf/tmpfiles.conf`]);
  assert.equal(r.code, 0, r.said);
  for (const [path, mode] of [['var/lib/myaccountd', 0o700], ['var/log/myaccountd', 0o750], ['run/myaccountd', 0o755]]) {
    const st = fs.statSync(`${dir}/${path}`);
    assert.deepEqual([st.mode & 0o7777, String(st.uid), String(st.gid)], [mode, uid, gid], path);
  }
  fs.rmSync(dir, { recursive: true });
});

test('the unit, its user and its directories are the ones of the other files', () => {
  const unit = read('conf/myaccountd.service');
  const defaults = read('conf/myaccountd.conf');
  assert.match(unit, /^User=myaccountd$/m);
  assert.match(unit, /^Type=notify$/m);
  for (const key of ['database', 'key_directory']) assert.match(defaults, new RegExp(`^${key} = "/var/lib/myaccountd/`, 'm'));
  assert.match(defaults, /^admin_socket = "\/run\/myaccountd\//m);
  const drain = Number(defaults.match(/drain_timeout = (\d+)/)[1]);
  assert.ok(Number(unit.match(/^TimeoutStopSec=(\d+)$/m)[1]) > 2 * drain, 'time to drain');
});

test('logrotate reads its rules', { skip: without('logrotate') || (process.getuid() !== 0 && 'not root') }, () => {
  const dir = scratch();
  fs.writeFileSync(`${dir}/rules`, read('conf/logrotate.conf').replace(/ su .*\n/, '\n').replace(/(create 0640).*/, '$1'));
  const r = sh(['logrotate', '--debug', '--state', `${dir}/state`, `${dir}/rules`]);
  assert.equal(r.code, 0, r.said);
  assert.doesNotMatch(r.said, /^error/m);
  fs.rmSync(dir, { recursive: true });
});

/* --- manuals --- */

for (const page of MANUALS)
  test(`mandoc finds no fault with ${page}`, { skip: without('mandoc') }, () => {
    const r = sh(['mandoc', '-T', 'lint', `conf/man/${page}`]);
    /* pages of ours are not installed here; that they exist is checked below */
    const faults = r.said.split('\n').filter((l) => l && !/referenced manual not found: Xr (myaccountd 8|myaccountctl 1|myaccountd\.conf 5)|mandoc\.db/.test(l));
    assert.deepEqual(faults, []);
  });

test('the manuals refer to manuals that are there', () => {
  for (const page of MANUALS)
    for (const [, name, section] of read(`conf/man/${page}`).matchAll(/^\.Xr (\S+) (\d)/gm)) assert.ok(MANUALS.includes(`${name}.${section}`), `${page}: ${name}(${section})`);
});

test('myaccountd(8) names every option and exit code', () => {
  const page = read('conf/man/myaccountd.8');
  const help = sh([`${BUILD}/asan/myaccountd`, '--help']).out;
  const options = new Set([...help.matchAll(/--([a-z-]+)/g)].map((m) => m[1]));
  const described = [...page.matchAll(/^\.It Fl -([a-z-]+)/gm)].map((m) => m[1]);
  assert.deepEqual([...described].sort(), [...options].sort());
  const codes = (text) => [...new Set([...text.matchAll(/\b(0|1|64|78)\b/g)].map((m) => m[1]))].sort();
  const readme = read('README.md').match(/Exit codes: [^]*?\n\n/)[0];
  assert.deepEqual(codes(readme), [...page.matchAll(/^\.It (\d+)$/gm)].map((m) => m[1]).sort());
});

/* --- completion --- */

const complete = (shell, words) => (shell === 'bash'
  ? sh(['bash', '--norc', '-c', `source conf/completion/myaccountctl.bash
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _myaccountctl; printf '%s\\n' "\${COMPREPLY[@]}"`, 'complete', ...words])
  : sh(['zsh', '-f', '-c', `words=("$@") CURRENT=$# PREFIX=\${@[-1]}
      compadd() { [[ $1 == -- ]] && shift; for w; do [[ $w == $PREFIX* ]] && print -r -- $w; done; true }
      _files() { print -rl -- $PREFIX*(N) }
      source_it() { source conf/completion/myaccountctl.zsh }; source_it`, 'complete', ...words]));

const NAMES = ['account', 'apply', 'audit', 'backup', 'check-config', 'export', 'health', 'keys', 'method', 'outbox', 'routes', 'token', 'user'];
const CASES = [
  [[''], NAMES, true], [['us'], ['user']], [['user', ''], ['delete', 'list', 'show'], true], [['--config', '/etc/x.conf', 'user', 's'], ['show']],
  [['--con'], ['--config']], [['audit', '--us'], ['--user']], [['audit', ''], ['discard', 'erase', 'export', 'verify']], [['audit', 'verify', '--'], ['--config', '--head', '--help']], [['audit', '--user', ''], []], [['apply', '--d'], ['--dry-run']],
  [['backup', 'Make'], ['Makefile']], [['--config', 'Make'], ['Makefile']], [['user', 'show', ''], []], [['keys', 'rotate', '--'], ['--config', '--help', '--vault', '--watch']], [['keys', 'list', '--'], ['--config', '--help']],
  [['keys', 'rotate', '--vault', '--w'], ['--watch']], [['backup', '--force', 'Make'], ['Makefile']], [['keys', 'export', '--passphrase-file', 'Make'], ['Makefile']], [['breached', 'build', 'Make'], ['Makefile']], [['nonsense', ''], []],
];
for (const shell of ['bash', 'zsh'])
  test(`completion in ${shell}`, { skip: without(shell) }, async (t) => {
    for (const [words, want, more] of CASES)
      await t.test(words.join(' ') || 'nothing yet', () => {
        const r = complete(shell, ['myaccountctl', ...words]);
        assert.equal(r.err, '');
        const have = r.out.split('\n').filter(Boolean).sort();
        /* later versions have more commands; these are among them */
        if (more) for (const w of want) assert.ok(have.includes(w), `${w} of ${have}`);
        else assert.deepEqual(have, want);
      });
  });

/* SPDX-License-Identifier: Apache-2.0
 * make install and make uninstall: where everything goes, without privileges, whatever the umask, again and again. */
import fs from 'node:fs';
import path from 'node:path';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { ROOT, BUILD, sh, scratch, read } from './lib.mjs';

const NOBODY = 65534;

/* Every path below dir: its kind, mode and content. */
function tree(dir) {
  const out = {};
  for (const e of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const file = path.join(e.parentPath ?? e.path, e.name);
    const st = fs.lstatSync(file);
    out[path.relative(dir, file)] = `${(st.mode & 0o7777).toString(8)} ${e.isDirectory() ? 'dir' : crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex')}`;
  }
  return out;
}
const files = (dir) => Object.keys(tree(dir)).filter((f) => !fs.statSync(path.join(dir, f)).isDirectory()).sort();
const make = (target, vars, opts) => {
  const r = sh(['make', '-s', target, ...Object.entries(vars).map(([k, v]) => `${k}=${v}`)], opts);
  assert.equal(r.code, 0, r.said);
};

const EXPECTED = ['sbin/myaccountd 755', 'bin/myaccountctl 755', 'lib/systemd/system/myaccountd.service 644', 'lib/systemd/system/myaccountd.socket 644',
  'lib/sysusers.d/myaccountd.conf 644', 'lib/tmpfiles.d/myaccountd.conf 644', 'share/man/man1/myaccountctl.1 644', 'share/man/man5/myaccountd.conf.5 644',
  'share/man/man8/myaccountd.8 644', 'share/bash-completion/completions/myaccountctl 644', 'share/zsh/site-functions/_myaccountctl 644',
  'share/doc/myaccountd/README.md 644', 'share/doc/myaccountd/LICENSE 644', 'share/doc/myaccountd/examples/myaccountd.conf 644',
  'share/doc/myaccountd/examples/demo.json 644', 'share/doc/myaccountd/examples/nginx.conf 644', 'share/doc/myaccountd/examples/Caddyfile 644',
  'share/doc/myaccountd/examples/logrotate.conf 644', 'share/doc/myaccountd/examples/grafana.json 644', 'share/doc/myaccountd/examples/alerts.yml 644'];

test('install and uninstall', async (t) => {
  const dir = scratch();
  const dest = path.join(dir, 'one');
  await t.test('everything in its place', () => {
    make('install', { DESTDIR: dest });
    assert.deepEqual(files(dest), EXPECTED.map((e) => `usr/local/${e.split(' ')[0]}`).sort());
    for (const e of EXPECTED) {
      const [file, mode] = e.split(' ');
      assert.match(tree(dest)[`usr/local/${file}`], new RegExp(`^${mode} `), file);
    }
    assert.match(tree(dest)['etc/myaccountd'], /^755 dir$/);
  });
  await t.test('the programs run', () => {
    assert.match(sh([`${dest}/usr/local/sbin/myaccountd`, '--version']).out, /^myaccountd \d/);
    assert.match(sh([`${dest}/usr/local/bin/myaccountctl`, 'routes']).out, /\/me\/v1\/factors/);
  });
  await t.test('twice the same result, and a umask of 077 changes nothing', () => {
    const once = tree(dest);
    make('install', { DESTDIR: dest });
    assert.deepEqual(tree(dest), once);
    const r = sh(['sh', '-c', `umask 077; mkdir -m 755 '${dir}/two'; exec make -s install DESTDIR='${dir}/two'`]);
    assert.equal(r.code, 0, r.said);
    assert.deepEqual(tree(path.join(dir, 'two')), once);
  });
  await t.test('PREFIX moves it, and the unit and its sandbox follow', () => {
    const other = path.join(dir, 'opt');
    make('install', { DESTDIR: other, PREFIX: '/opt/my', SYSCONFDIR: '/opt/my/etc' });
    assert.deepEqual(files(other), EXPECTED.map((e) => `opt/my/${e.split(' ')[0]}`).sort());
    const unit = fs.readFileSync(`${other}/opt/my/lib/systemd/system/myaccountd.service`, 'utf8');
    assert.match(unit, /^ExecStart=\/opt\/my\/sbin\/myaccountd --config \/opt\/my\/etc\/myaccountd\/myaccountd\.conf$/m);
    assert.match(unit, /^ExecPaths=\/opt\/my\/sbin /m);
    assert.doesNotMatch(unit, /usr\/local/);
    make('uninstall', { DESTDIR: other, PREFIX: '/opt/my', SYSCONFDIR: '/opt/my/etc' });
    assert.deepEqual(files(other), []);
  });
  await t.test('uninstall leaves nothing', () => {
    make('uninstall', { DESTDIR: dest });
    assert.deepEqual(files(dest), []);
    assert.deepEqual(Object.keys(tree(dest)).filter((f) => /myaccountd/.test(f)), []);
    make('uninstall', { DESTDIR: dest });
  });
  await t.test('but what the operator put there', () => {
    make('install', { DESTDIR: dest });
    fs.writeFileSync(`${dest}/etc/myaccountd/myaccountd.conf`, '# mine\n');
    make('uninstall', { DESTDIR: dest });
    assert.deepEqual(files(dest), ['etc/myaccountd/myaccountd.conf']);
  });
  await t.test('without privileges', { skip: process.getuid() !== 0 && 'this is run without privileges anyway' }, () => {
    /* Somebody else's copy of what was built, in a directory of theirs. */
    const copy = path.join(dir, 'copy');
    fs.mkdirSync(copy);
    for (const f of ['Makefile', 'README.md', 'LICENSE', 'conf', 'src', 'include', 'sql']) fs.cpSync(path.join(ROOT, f), path.join(copy, f), { recursive: true, preserveTimestamps: true });
    for (const f of ['release', 'host']) fs.cpSync(path.join(BUILD, f), path.join(copy, 'build', f), { recursive: true, preserveTimestamps: true });
    fs.chmodSync(dir, 0o755);
    assert.equal(sh(['chown', '-R', `${NOBODY}:${NOBODY}`, copy]).code, 0);
    const r = sh(['make', '-s', 'install', `DESTDIR=${copy}/out`], { cwd: copy, uid: NOBODY, gid: NOBODY, env: { HOME: copy } });
    assert.equal(r.code, 0, r.said);
    assert.deepEqual(files(`${copy}/out`), EXPECTED.map((e) => `usr/local/${e.split(' ')[0]}`).sort());
  });
  fs.rmSync(dir, { recursive: true, force: true });
});

test('the version stands in one place', () => {
  const version = read('include/ma/version.h').match(/MA_VERSION "(.*)"/)[1];
  assert.equal(read('conf/debian/changelog').match(/^myaccountd \((.*)\)/)[1], version, 'conf/debian/changelog');
  assert.ok(read('README.md').includes(`\n### ${version}\n`), 'the changelog of README.md');
});

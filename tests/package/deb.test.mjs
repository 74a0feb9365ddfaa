/* SPDX-License-Identifier: Apache-2.0
 * make deb: what is in the packages, that they are made the same way twice, and their whole life on a copy of this
 * system, with and without a systemd that runs. */
import fs from 'node:fs';
import path from 'node:path';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { ROOT, BUILD, sh, without, scratch, read } from './lib.mjs';

const OUT = path.join(BUILD, 'deb');
const version = read('include/ma/version.h').match(/MA_VERSION "(.*)"/)[1];
const debs = (dir) => fs.readdirSync(dir).filter((f) => f.endsWith('.deb')).sort();
const deb = (name) => path.join(OUT, debs(OUT).find((f) => f.startsWith(`${name}_`)));
const sandbox = (kind, script) => sh(['tests/package/sandbox.sh', kind, `tests/package/${script}`, deb('myaccountd'), deb('myaccountctl')]);
const cannot = (kind) => sh(['tests/package/sandbox.sh', 'probe', kind]).code === 77;

test('Debian packages', { skip: without('dpkg-buildpackage') || without('dh') }, async (t) => {
  const built = sh(['make', '-s', 'deb', `BUILD=${path.relative(ROOT, BUILD) || BUILD}`]);
  assert.equal(built.code, 0, built.said);
  const contents = (name) => sh(['dpkg-deb', '-c', deb(name)]).out.split('\n').filter(Boolean)
    .map((l) => l.match(/^(\S+) (\S+) .*? \.\/(\S*)/)).map((m) => ({ mode: m[1], owner: m[2], file: m[3] })).filter((e) => !e.mode.startsWith('d'));
  const field = (name, f) => sh(['dpkg-deb', '-f', deb(name), f]).out.trim();

  await t.test('the daemon and ctl, of this version', () => {
    const names = debs(OUT).filter((f) => !f.includes('-dbgsym')).map((f) => f.split('_')[0]);
    assert.deepEqual(names, ['myaccountctl', 'myaccountd']);
    for (const n of names) assert.equal(field(n, 'Version'), version);
  });
  await t.test('files', () => {
    const daemon = contents('myaccountd');
    const ctl = contents('myaccountctl');
    assert.ok([...daemon, ...ctl].every((e) => e.owner === 'root/root' && /^-rw(-r--r--|xr-xr-x)$/.test(e.mode)));
    const names = daemon.map((e) => e.file);
    for (const f of ['usr/sbin/myaccountd', 'lib/systemd/system/myaccountd.service', 'lib/systemd/system/myaccountd.socket', 'usr/lib/sysusers.d/myaccountd.conf',
      'usr/lib/tmpfiles.d/myaccountd.conf', 'etc/myaccountd/myaccountd.conf', 'etc/logrotate.d/myaccountd', 'usr/share/man/man8/myaccountd.8.gz',
      'usr/share/man/man5/myaccountd.conf.5.gz', 'usr/share/doc/myaccountd/README.Debian', 'usr/share/doc/myaccountd/copyright',
      'usr/share/doc/myaccountd/examples/nginx.conf', 'usr/share/doc/myaccountd/examples/Caddyfile']) assert.ok(names.includes(f), f);
    assert.deepEqual(ctl.map((e) => e.file).filter((f) => !f.startsWith('usr/share/doc/')).sort(), ['usr/bin/myaccountctl',
      'usr/share/bash-completion/completions/myaccountctl', 'usr/share/man/man1/myaccountctl.1.gz', 'usr/share/zsh/vendor-completions/_myaccountctl']);
  });
  await t.test('configuration files, and who makes the user', () => {
    const dir = scratch();
    assert.equal(sh(['dpkg-deb', '-e', deb('myaccountd'), `${dir}/c`]).code, 0);
    assert.deepEqual(fs.readFileSync(`${dir}/c/conffiles`, 'utf8').trim().split('\n').sort(), ['/etc/logrotate.d/myaccountd', '/etc/myaccountd/myaccountd.conf']);
    assert.match(fs.readFileSync(`${dir}/c/postinst`, 'utf8'), /systemd-sysusers .*myaccountd\.conf/);
    assert.match(field('myaccountd', 'Depends'), /systemd-sysusers/);
    /* everything but purging what the daemon wrote comes from debhelper */
    assert.deepEqual(fs.readdirSync(`${ROOT}conf/debian`).filter((f) => /(pre|post)(inst|rm)$|\.config$/.test(f)), ['myaccountd.postrm']);
    fs.rmSync(dir, { recursive: true });
  });
  await t.test('the unit names the installed program', () => {
    const unit = sh(['sh', '-c', `dpkg-deb --fsys-tarfile '${deb('myaccountd')}' | tar -xO ./lib/systemd/system/myaccountd.service`]).out;
    assert.match(unit, /^ExecStart=\/usr\/sbin\/myaccountd --config \/etc\/myaccountd\/myaccountd\.conf$/m);
    assert.doesNotMatch(unit, /usr\/local/);
  });
  await t.test('lintian: no error and no warning', { skip: without('lintian') }, () => {
    const changes = fs.readdirSync(OUT).find((f) => f.endsWith('.changes'));
    const r = sh(['lintian', '--no-tag-display-limit', path.join(OUT, changes)]);
    assert.deepEqual(r.out.split('\n').filter((l) => /^[EW]:/.test(l)), [], r.said);
    assert.ok([0].includes(r.code), r.said);
  });
  await t.test('made again elsewhere, with another umask, time zone and locale, they are the same', () => {
    const dir = scratch();
    const r = sh(['sh', '-c', 'umask 077; exec conf/deb.sh'], { env: { BUILD, DEB_OUT: `${dir}/a/longer/path`, TZ: 'Pacific/Kiritimati', LC_ALL: 'C.UTF-8' } });
    assert.equal(r.code, 0, r.said);
    const sums = (d) => Object.fromEntries(debs(d).map((f) => [f, crypto.createHash('sha256').update(fs.readFileSync(path.join(d, f))).digest('hex')]));
    assert.deepEqual(sums(`${dir}/a/longer/path`), sums(OUT));
    fs.rmSync(dir, { recursive: true, force: true });
  });

  await t.test('installed, upgraded, removed and purged on a copy of this system', { skip: cannot('chroot') && 'needs root and an overlay mount' }, async (tt) => {
    const r = sandbox('chroot', 'lifecycle.sh');
    assert.equal(r.code, 0, r.said);
    const lines = r.out.split('\n');
    const said = Object.fromEntries(lines.map((l) => l.match(/^([a-z-]+): (.*)$/)).filter(Boolean).map((m) => [m[1], m[2]]));
    const want = {
      install: 'ok', user: 'myaccountd:My Account API server:/var/lib/myaccountd:/usr/sbin/nologin',
      directories: '/var/lib/myaccountd myaccountd:myaccountd:700 /var/log/myaccountd myaccountd:myaccountd:750 /run/myaccountd myaccountd:myaccountd:755 /etc/myaccountd root:root:755',
      configuration: 'root:644', check: 'ok', verify: 'ok', ...(without('mandoc') ? {} : { manuals: 'ok' }), enabled: '0', export: 'myaccountd:600',
      again: 'ok', kept: '1', remove: 'ok', 'after-remove': '/etc/myaccountd/myaccountd.conf /var/lib/myaccountd/myaccount.db', purge: 'ok', notice: '1',
      'after-purge': '/var/lib/myaccountd/myaccount.db', 'purge-unused': 'ok', 'after-purge-unused': '',
    };
    for (const [k, v] of Object.entries(want)) await tt.test(k, () => assert.equal(said[k], v, r.said));
    await tt.test('what is left is the user and the books of dpkg', () => {
      const left = lines.filter((l) => l.startsWith('changed ')).map((l) => l.slice(8))
        .filter((f) => !/^\/(root\/|etc\/(\.pwd\.lock|passwd|group|shadow|gshadow|sub[ug]id)|var\/(lib\/dpkg|log\/dpkg\.log|cache\/(man|debconf|ldconfig))|etc\/ld\.so\.cache)/.test(f));
      assert.deepEqual(left, []);
    });
  });

  await t.test('under a systemd of its own', { skip: (cannot('boot') && 'needs root, an overlay mount and systemd-nspawn') }, async (tt) => {
    const r = sandbox('boot', 'service.sh');
    if (r.code === 77) return tt.skip('systemd does not boot in a container here');
    const results = r.out.split('\n').filter((l) => /^(not )?ok /.test(l));
    assert.ok(results.length > 30, r.said);
    for (const l of results) await tt.test(l.replace(/^(not )?ok /, ''), () => assert.ok(l.startsWith('ok '), r.out.split(`${l}\n`)[1]?.split(/\n(?=\S)/)[0]));
  });
});

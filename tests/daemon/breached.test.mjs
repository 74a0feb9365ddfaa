/* SPDX-License-Identifier: Apache-2.0
 * Passwords known from breaches: the list is built by myaccountctl, refused where passwords are chosen and, switched on, where
 * people sign in; replaced at SIGHUP; damage and shrinking files. */
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { assert, test, before, after, BIN, Daemon, METHODS, POLICY, DB, client, eventually, grant, isProblem, pointers, user } from './lib/kit.mjs';
import { Browser } from './lib/login.mjs';
import { RESET, notice, open, press } from './lib/notices.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';

const LEAKED = 'Zq7-leaked-in-a-breach';
const RARE = 'Zq7-leaked-only-once';
const LATER = 'Zq7-leaked-only-later';
const GOOD = 'Zq7-known-to-nobody';
const SENTENCE = 'Must not be a password that is known from a data breach';
const sha1 = (s) => crypto.createHash('sha1').update(s).digest('hex').toUpperCase();
const noise = Array.from({ length: 5000 }, (_, i) => `${sha1(`noise ${i}`)}:${i % 9 + 1}`);

let d;
let list;
let app;
const at = (name) => path.join(d.dir, name);
function build(lines, out = list, ...more) {
  fs.writeFileSync(at('text'), `${lines.join('\r\n')}\r\n`);
  return d.ok('breached', 'build', at('text'), out, ...more);
}
async function hup() {
  const n = d.logLines().filter((l) => l.event === 'reloaded').length;
  d.process.kill('SIGHUP');
  await eventually(() => d.logLines().filter((l) => l.event === 'reloaded').length > n, 'reload');
}
const events = (name) => d.logLines().filter((l) => l.event === name);
const change = (pw, s = d.session()) => s.changePassword(pw);
function refused(r, sentence = SENTENCE) {
  isProblem(r, 400, 'A0E-400-0003');
  assert.deepEqual(pointers(r), ['/new_password']);
  assert.equal(r.json.validation_errors[0].detail, sentence);
}
const taken = (r) => assert.equal(r.status, 201, r.text);

before(async () => {
  d = await Daemon.start({ start: false });
  list = at('breached.list');
  const out = build([...noise, `${sha1(LEAKED)}:42`, `${sha1(RARE)}:1`], list, '--min-count', '2');
  assert.match(out, /^5002 lines, 44\d\d taken\n44\d\d prefixes of 7 bytes, seen 2 times or more; \d+ bytes; one good password in /);
  assert.equal(fs.statSync(list).mode & 0o777, 0o644);
  d.apply({
    clients: [client('spa'), client('app', { app_type: 'native', grant_types: ['password', 'authorization_code'] })],
    client_grants: [grant(d.base, 'spa'), grant(d.base, 'app')],
    users: [user('auth0|leak', { email: 'leak@example.com', password: LEAKED }), user('auth0|fine', { email: 'fine@example.com', password: GOOD }),
      user('auth0|mailed', { email: 'mailed@example.com', email_verified: true, password: LEAKED })],
  });
  d.configure({ password_policy: { breached_file: list } });
  await d.run();
  app = new App(d, 'app');
});
after(() => d.stop());

test('a password on the list is refused like any other broken rule, one that is not is taken', async () => {
  const s = d.session();
  refused(await change(LEAKED, s));
  taken(await change(RARE, s)); /* seen less often than asked for */
  taken(await change(GOOD, s));
  refused(await change(LEAKED, s));
});

test('it is one rule among the others, and every broken one is told', async () => {
  const short = 'Zq7-leak-x';
  build([`${sha1(short)}:9`], at('short.list'));
  d.configure({ password_policy: { breached_file: at('short.list') } });
  d.apply({ connections: [{ name: DB, password_policy: { ...POLICY, complexity: { ...POLICY.complexity, min_length: 20 } } }] });
  await hup();
  const r = await change(short);
  isProblem(r, 400, 'A0E-400-0003');
  assert.deepEqual(r.json.validation_errors.map((e) => e.detail), ['Must be at least 20 characters long', SENTENCE]);
  d.apply({ connections: [{ name: DB, password_policy: POLICY }] });
  d.configure({ password_policy: { breached_file: list } });
  await hup();
});

test('SIGHUP takes a new file at the same place', async () => {
  taken(await change(LATER));
  build([...noise, `${sha1(LATER)}:3`, `${sha1(LEAKED)}:3`]);
  taken(await change(LATER)); /* not before it was told */
  await hup();
  refused(await change(LATER));
  refused(await change(LEAKED));
});

test('a broken new file leaves the old one', async () => {
  const good = fs.readFileSync(list);
  for (const [bytes, why] of [['nonsense', /cut short|not a list/], [good.subarray(0, 8192), /cut short/], [Buffer.concat([good, Buffer.alloc(4096)]), /longer/],
    [Buffer.concat([good.subarray(0, 5000), Buffer.from('x'), good.subarray(5001)]), /damaged/]]) {
    fs.writeFileSync(at('broken'), bytes);
    fs.renameSync(at('broken'), list);
    await hup();
    assert.match(events('reload.breached_kept').at(-1).why, why);
    refused(await change(LATER));
    taken(await change(GOOD));
  }
  fs.writeFileSync(list, good);
  await hup();
  refused(await change(LATER));
});

test('a file that shrinks while it is used: nothing is taken, nothing crashes', async () => {
  const good = fs.readFileSync(list);
  fs.truncateSync(list, 4096);
  for (const pw of [GOOD, LATER]) refused(await change(pw), 'Could not be checked against the password policy; try again');
  assert.equal(events('breached.unreadable').length, 1);
  fs.writeFileSync(at('whole'), good);
  fs.renameSync(at('whole'), list);
  await hup();
  taken(await change(GOOD));
  refused(await change(LATER));
});

test('at login', async (t) => {
  const audit = () => d.audit('auth0|leak').map((l) => JSON.parse(l)).filter((r) => r.type === 'pwd_leak').length;
  await t.test('not asked by default', async () => isIssued(await app.password('leak@example.com', { password: LEAKED, scope: 'openid' })));
  d.configure({ password_policy: { breached_file: list, breached_at_login: true } });
  await hup();
  await t.test('the password grant says why', async () => {
    isRefused(await app.password('leak@example.com', { password: LEAKED, scope: 'openid' }), 403, 'password_leaked', /known from a data breach/);
    assert.equal(audit(), 1);
  });
  await t.test('whoever does not know the password learns nothing', async () => {
    isRefused(await app.password('leak@example.com', { password: LATER, scope: 'openid' }), 403, 'invalid_grant', 'Wrong email or password.');
    isRefused(await app.password('nobody@example.com', { password: LEAKED, scope: 'openid' }), 403, 'invalid_grant', 'Wrong email or password.');
    assert.equal(audit(), 1);
  });
  await t.test('the login page says why, and signs nobody in', async () => {
    const b = new Browser(d);
    const page = await b.login(await b.authorize(), 'leak@example.com', LEAKED);
    assert.equal(page.away, undefined);
    assert.match(page.alert, /known from a data breach/);
    assert.equal(audit(), 2);
    assert.ok((await b.login(page, 'fine@example.com', GOOD)).away, 'another user on the same page');
  });
  await t.test('who gave the right one on the login page is sent a link to set another, which is judged as well', async () => {
    const b = new Browser(d);
    let page = await b.login(await b.authorize(), 'mailed@example.com', LATER);
    assert.match(page.alert, /^Wrong email or password/);
    page = await b.login(page, 'mailed@example.com', LEAKED);
    assert.match(page.alert, /known from a data breach.*We sent you a message with a link/);
    const { link } = await notice(d, 'password-reset', 'mailed@example.com');
    assert.ok(link.path.startsWith(`${RESET}?`), link.path);
    assert.equal(d.spool.all().filter((m) => m.to === 'mailed@example.com').length, 1, 'the wrong password sent nothing');
    const no = await press(d, link, 'set', { password: LEAKED });
    assert.equal(no.status, 400);
    assert.match(no.text, new RegExp(SENTENCE));
    assert.equal((await press(d, link, 'set', { password: `${GOOD} and new` })).status, 200);
    isIssued(await app.password('mailed@example.com', { password: `${GOOD} and new`, scope: 'openid' }));
    assert.equal((await open(d, link.path)).status, 404, 'it works once');
  });
  await t.test('a link that an earlier one took the place of, or a password set meanwhile, works no more; 3 in an hour', async () => {
    d.apply({ users: [user('auth0|mailed', { email: 'mailed@example.com', email_verified: true, password: LEAKED })] });
    await notice(d, 'password-changed', 'mailed@example.com');
    const b = new Browser(d);
    let page = await b.authorize();
    const links = [];
    for (let i = 0; i < 2; i++) {
      page = await b.login(page, 'mailed@example.com', LEAKED);
      links.push((await notice(d, 'password-reset', 'mailed@example.com')).link);
    }
    assert.equal((await open(d, links[0].path)).status, 404);
    assert.equal((await open(d, links[1].path)).status, 200);
    d.apply({ users: [user('auth0|mailed', { email: 'mailed@example.com', email_verified: true, password: `${LEAKED} no more` })] });
    assert.equal((await open(d, links[1].path)).status, 404);
    d.apply({ users: [user('auth0|mailed', { email: 'mailed@example.com', email_verified: true, password: LEAKED })] });
    page = await b.login(page, 'mailed@example.com', LEAKED);
    assert.match(page.alert, /known from a data breach/);
    assert.doesNotMatch(page.alert, /We sent you/);
  });
  await t.test('other passwords go on', async () => isIssued(await app.password('fine@example.com', { password: GOOD, scope: 'openid' })));
  await t.test('a list that cannot be read locks nobody out', async () => {
    fs.truncateSync(list, 0);
    isIssued(await app.password('leak@example.com', { password: LEAKED, scope: 'openid' }));
    isIssued(await app.password('fine@example.com', { password: GOOD, scope: 'openid' }));
    assert.ok(events('breached.unreadable').length >= 2);
  });
});

test('start and --check refuse a file that is missing or damaged', async (t) => {
  const x = await Daemon.start({ start: false });
  const run = (...args) => spawnSync(path.join(BIN, 'myaccountd'), x.daemonArgs(args), { ...x.spawnOptions(), encoding: 'utf8', timeout: 60000 });
  fs.writeFileSync(path.join(x.dir, 'damaged'), Buffer.alloc(8192, 7));
  for (const [file, why] of [['none', /No such file/], ['damaged', /is not a list of breached passwords/], ['.', /not a regular file/]])
    await t.test(file, () => {
      x.configure({ password_policy: { breached_file: path.join(x.dir, file) } });
      const c = run('--check');
      assert.equal(c.status, 78, c.stderr);
      assert.match(c.stderr, why);
      const r = run();
      assert.equal(r.status, 1, r.stderr);
      assert.match(r.stderr, why);
    });
  x.configure({ password_policy: { breached_file: '', breached_at_login: true } });
  assert.match(run('--check').stderr, /breached_at_login needs password_policy\.breached_file/);
  await x.stop();
});

test('myaccountctl breached', async (t) => {
  const ctl = (args, input = '') => spawnSync(path.join(BIN, 'myaccountctl'), args, { cwd: d.dir, input, encoding: 'utf8', timeout: 60000 });
  const out = at('ctl.list');
  await t.test('needs no configuration, reads standard input, writes into the working directory', () => {
    const r = ctl(['breached', 'build', '-', 'ctl.list', '--prefix-bytes', '5'], `${sha1('a')}:1\n${sha1('b').toLowerCase()}\n`);
    assert.equal(r.status, 0, r.stderr);
    assert.equal(r.stdout, '2 lines, 2 taken\n2 prefixes of 5 bytes, seen 1 times or more; 8192 bytes; one good password in 5.5e+11 is taken for a breached one\n');
  });
  await t.test('check', () => {
    assert.match(ctl(['breached', 'check', out]).stdout, /^2 prefixes of 5 bytes/);
    const bytes = fs.readFileSync(out);
    bytes[4100] ^= 1;
    fs.writeFileSync(out, bytes);
    const r = ctl(['breached', 'check', out]);
    assert.equal(r.status, 1);
    assert.match(r.stderr, /is damaged/);
  });
  await t.test('a bad line is named, and nothing is left behind', () => {
    const before_ = fs.readdirSync(d.dir);
    const r = ctl(['breached', 'build', '-', 'never.list'], `${sha1('a')}:1\npassword\n`);
    assert.equal(r.status, 1);
    assert.match(r.stderr, /line 2: /);
    assert.ok(!r.stderr.includes('password\n'), 'the line itself is not repeated');
    assert.deepEqual(fs.readdirSync(d.dir), before_);
  });
  await t.test('wrong options', () => {
    for (const more of [['--prefix-bytes', '4'], ['--prefix-bytes', '21'], ['--min-count', '0'], ['--memory', '0'], ['--memory', '1000000']]) {
      const r = ctl(['breached', 'build', '-', 'never.list', ...more]);
      assert.equal(r.status, 1, more.join(' '));
      assert.match(r.stderr, new RegExp(more[0]));
    }
    assert.equal(ctl(['breached', 'build', '-']).status, 2);
    assert.equal(ctl(['breached', 'build', '-', 'x', '--memory', 'many']).status, 2);
  });
  await t.test('the whole chain at a tight memory limit', () => {
    const r = ctl(['breached', 'build', '-', 'ctl.list', '--memory', '1'], Array.from({ length: 100000 }, (_, i) => `${sha1(`x${i}`)}:1\n`).join(''));
    assert.equal(r.status, 0, r.stderr);
    assert.match(ctl(['breached', 'check', out]).stdout, /^100000 prefixes of 7 bytes/);
  });
});

/* SPDX-License-Identifier: Apache-2.0
 * The files of the account page: headers, entity tags, compression, size, replacement from a directory, QR codes. */
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { execFileSync } from 'node:child_process';
import { assert, test, before, after, Daemon, ROOT, client, eventually, grant } from './lib/kit.mjs';

const FIRST_VIEW_MAX = 60 * 1024; /* bytes on the wire */
const HAS_ZBAR = fs.existsSync('/usr/bin/zbarimg');

let d;
before(async () => {
  d = await Daemon.start();
  d.apply({ clients: [client('account', { callbacks: [`${d.base}/account`] })], client_grants: [grant(d.base, 'account')] });
});
after(() => d.stop());

const page = (p, headers = {}, more = {}) => d.http({ path: p, headers, ...more });
const csp = (res) => Object.fromEntries(res.headers['content-security-policy'].split(';').map((x) => x.trim().split(/ (.*)/).slice(0, 2)));

test('the page and its files', async (t) => {
  const index = await page('/account');
  await t.test('a policy that lets nothing in but its own files', () => {
    assert.equal(index.status, 200);
    assert.match(index.headers['content-type'], /^text\/html; charset=utf-8$/);
    const p = csp(index);
    assert.equal(p['default-src'], "'none'");
    for (const k of ['script-src', 'style-src', 'connect-src']) assert.equal(p[k], "'self'", k);
    assert.equal(p['frame-ancestors'], "'none'");
    assert.equal(p['require-trusted-types-for'], "'script'");
    assert.equal(index.headers['x-content-type-options'], 'nosniff');
    assert.equal(index.headers['referrer-policy'], 'no-referrer');
  });
  await t.test('nothing inline', () => assert.doesNotMatch(index.text, /<style|style=|<script(?![^>]* src=)|\son\w+=/));
  await t.test('every file that it names is there', async () => {
    const names = [...index.text.matchAll(/(?:src|href)="(\/account\/[^"]+)"/g)].map((m) => m[1]);
    assert.ok(names.length > 5);
    for (const n of names) assert.equal((await page(n)).status, 200, n);
  });
  await t.test('unknown names', async () => {
    for (const n of ['x.js', 'index', '..%2fmyaccountd.conf', 'files.c']) assert.ok([400, 404].includes((await page(`/account/${n}`)).status), n);
  });
  await t.test('HEAD has no body', async () => {
    const r = await page('/account', {}, { method: 'HEAD' });
    assert.equal(r.status, 200);
    assert.equal(r.bytes.length, 0);
  });
});

test('entity tags', async (t) => {
  const plain = await page('/account/app.js');
  await t.test('unchanged is 304 without a body', async () => {
    for (const v of [plain.headers.etag, `W/${plain.headers.etag}`, `"x", ${plain.headers.etag}`, '*']) {
      const r = await page('/account/app.js', { 'if-none-match': v });
      assert.equal(r.status, 304, v);
      assert.equal(r.bytes.length, 0);
      assert.equal(r.headers.etag, plain.headers.etag);
    }
  });
  await t.test('another tag is not', async () => {
    for (const v of ['"x"', plain.headers.etag.slice(1), `${plain.headers.etag.slice(0, -1)}-gz"`]) assert.equal((await page('/account/app.js', { 'if-none-match': v })).status, 200, v);
  });
});

test('compression', async (t) => {
  await t.test('for those who take it', async () => {
    const gz = await page('/account/app.js', { 'accept-encoding': 'br, gzip;q=0.5' });
    assert.equal(gz.headers['content-encoding'], 'gzip');
    assert.match(gz.headers.vary, /Accept-Encoding/);
    const plain = await page('/account/app.js');
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.deepEqual(zlib.gunzipSync(gz.bytes), plain.bytes);
    assert.notEqual(gz.headers.etag, plain.headers.etag);
  });
  await t.test('not for those who refuse it', async () => {
    for (const v of ['gzip;q=0', 'gzip; q=0.000', 'br', 'identity']) assert.equal((await page('/account/app.js', { 'accept-encoding': v })).headers['content-encoding'], undefined, v);
  });
  await t.test('the first view is small', async () => {
    const index = await page('/account', { 'accept-encoding': 'gzip' });
    const names = [...zlib.gunzipSync(index.bytes).toString().matchAll(/(?:src|href)="(\/account\/[^"]+)"/g)].map((m) => m[1]);
    let sum = index.bytes.length;
    for (const n of [...names, '/account/de.json', '/account/config.json']) sum += (await page(n, { 'accept-encoding': 'gzip' })).bytes.length + 700; /* headers */
    assert.ok(sum < FIRST_VIEW_MAX, `${sum} bytes`);
  });
});

test('what the page has to know', async (t) => {
  const r = await page('/account/config.json');
  await t.test('issuer, client, audience', () => {
    assert.deepEqual(JSON.parse(r.text), { issuer: `${d.base}/`, client_id: 'account', audience: `${d.base}/me/`, tenant: JSON.parse(r.text).tenant, ready: true });
    assert.equal(r.headers['cache-control'], 'no-store');
  });
  await t.test('a client that is not there, another issuer', async () => {
    const other = await Daemon.start({ config: { account_page: { client_id: 'nobody' } } });
    assert.equal(JSON.parse((await other.http({ path: '/account/config.json' })).text).ready, false);
    other.configure({ account_page: { issuer: 'https://idp.example/realm' } });
    other.process.kill('SIGHUP');
    await eventually(() => other.logText().includes('"reloaded"'), `reload: ${other.logText().slice(-600)}`);
    const index = await other.http({ path: '/account' });
    assert.equal(csp(index)['connect-src'], "'self' https://idp.example");
    assert.equal(JSON.parse((await other.http({ path: '/account/config.json' })).text).issuer, 'https://idp.example/realm');
    await other.stop();
  });
});

test('QR codes', async (t) => {
  const uri = 'otpauth://totp/Demo:alice?secret=JBSWY3DPEHPK3PXP&issuer=Demo';
  const ask = (body, headers = {}) => page('/account/qr', { origin: d.base, 'content-type': 'text/plain', ...headers }, { method: 'POST', body });
  await t.test('a picture, and nothing kept', async () => {
    const r = await ask(uri);
    assert.equal(r.status, 200);
    assert.equal(r.headers['content-type'], 'image/svg+xml');
    assert.equal(r.headers['cache-control'], 'no-store');
    assert.match(r.text, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="0 0 \d+ \d+"/);
    assert.doesNotMatch(d.logText(), /JBSWY3DPEHPK3PXP/);
  });
  await t.test('a reader reads it', { skip: !HAS_ZBAR && 'no zbarimg' }, async () => {
    const [, size] = (await ask(uri)).text.match(/viewBox="0 0 (\d+)/).map(Number);
    const runs = [...(await ask(uri)).text.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)].map((m) => m.slice(1).map(Number));
    const scale = 6;
    const rows = Array.from({ length: size }, () => Array(size).fill(0));
    for (const [x, y, n] of runs) rows[y].fill(1, x, x + n);
    const pbm = `P1\n${size * scale} ${size * scale}\n${rows.map((r) => Array(scale).fill(r.map((v) => `${v} `.repeat(scale)).join('')).join('\n')).join('\n')}\n`;
    const file = path.join(d.dir, 'qr.pbm');
    fs.writeFileSync(file, pbm);
    assert.equal(execFileSync('zbarimg', ['-q', '--raw', file], { encoding: 'utf8' }).trim(), uri);
  });
  await t.test('for pages of this origin alone', async () => {
    for (const origin of ['https://evil.example', 'null', undefined]) {
      const r = await d.http({ method: 'POST', path: '/account/qr', body: uri, headers: { 'content-type': 'text/plain', ...(origin ? { origin } : {}) } });
      assert.equal(r.status, 403, origin);
    }
  });
  await t.test('1 to 1024 bytes', async () => {
    assert.equal((await ask('')).status, 400);
    assert.equal((await ask('x'.repeat(1024))).status, 200);
    assert.equal((await ask('x'.repeat(1025))).status, 400);
    assert.equal((await ask('x'.repeat(3000))).status, 413);
  });
  await t.test('markup stays text', async () => assert.doesNotMatch((await ask('"/><script>alert(1)</script>')).text, /script|alert/));
  await t.test('60 a minute from one address', async () => {
    let r;
    for (let i = 0; i < 60 && r?.status !== 429; i++) r = await ask('x');
    assert.equal(r.status, 429);
    assert.ok(Number(r.headers['retry-after']) >= 1);
  });
});

test('ui_directory', async (t) => {
  const dir = fs.mkdtempSync(path.join(d.dir, 'ui-'));
  const start = (files) => {
    for (const f of fs.readdirSync(dir)) fs.rmSync(path.join(dir, f), { recursive: true });
    for (const [k, v] of Object.entries(files)) fs.writeFileSync(path.join(dir, k), v);
  };
  await t.test('replaces and adds files', async () => {
    start({ 'style.css': 'body { color: teal }', 'logo.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>' });
    const o = await Daemon.start({ config: { ui_directory: dir } });
    const css = await o.http({ path: '/account/style.css', headers: { 'accept-encoding': 'gzip' } });
    assert.equal(css.text, 'body { color: teal }');
    assert.equal(css.headers['content-encoding'], undefined);
    assert.equal((await o.http({ path: '/account/logo.svg' })).headers['content-type'], 'image/svg+xml');
    assert.equal((await o.http({ path: '/account/app.js' })).status, 200);
    await o.stop();
  });
  for (const [name, files] of [['a type that is not served', { 'x.exe': '' }], ['a hidden name', { '.htaccess': '' }], ['a name with capitals', { 'Logo.svg': '' }], ['a file of more than 1 MiB', { 'big.png': Buffer.alloc((1 << 20) + 1) }]])
    await t.test(`${name} is told at the start`, async () => {
      start(files);
      const o = await Daemon.start({ start: false, config: { ui_directory: dir } });
      o.expectExit = true;
      o.launch();
      assert.equal((await eventually(() => o.exit, 'the end', 30000)).code, 1);
      assert.match(o.logText(), /ui_directory/);
      await o.stop();
    });
});

test('texts: every language has the same, and none that is asked for is missing', () => {
  const dir = `${ROOT}conf/account/`;
  const texts = Object.fromEntries(['en', 'de'].map((l) => [l, JSON.parse(fs.readFileSync(`${dir}${l}.json`, 'utf8'))]));
  assert.deepEqual(Object.keys(texts.de), Object.keys(texts.en));
  for (const [k, v] of Object.entries(texts.en)) assert.deepEqual([...texts.de[k].matchAll(/\{\w+\}/g)].map(String).sort(), [...v.matchAll(/\{\w+\}/g)].map(String).sort(), k);
  for (const f of fs.readdirSync(dir).filter((x) => x.endsWith('.js')))
    for (const [, k] of fs.readFileSync(dir + f, 'utf8').matchAll(/[^\w.]t\('([\w-]+)'/g))
      assert.ok(k in texts.en || `${k}_other` in texts.en, `${f}: ${k}`);
});

/* SPDX-License-Identifier: Apache-2.0
 * Connecting an account in a real browser: headless Chromium, a page of another origin, and a provider of another site. */
import fs from 'node:fs';
import http from 'node:http';
import { chromium } from 'playwright-core';
import { assert, test, before, after, client } from './lib/kit.mjs';
import { accounts, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { Upstream } from './lib/upstream.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'];
const script = fs.readFileSync(new URL('page/connect.js', import.meta.url));
const html = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Application</title><script src="/connect.js"></script>';

let d;
let acme;
let browser;
let app;
before(async () => {
  if (skip) return;
  app = http.createServer((req, res) => {
    const found = { '/': ['text/html', html], '/callback': ['text/html', html], '/connect.js': ['text/javascript', script] }[req.url.split('?')[0]];
    res.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain', 'cache-control': 'no-store' });
    res.end(found?.[1]);
  });
  await new Promise((r) => app.listen(0, '127.0.0.1', r));
  app.origin = `http://localhost:${app.address().port}`;
  acme = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))],
    state: { clients: [client('spa', { callbacks: [`${app.origin}/callback?from=app`], allowed_origins: [app.origin], web_origins: [] }), client('native')] } });
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  app?.closeAllConnections();
  await new Promise((r) => (app ? app.close(r) : r()));
  if (d) await stopAll(d, acme);
});

/* A fresh profile at the application. */
async function open(t) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.complaints = [];
  page.on('console', (m) => { if (m.type() === 'error') page.complaints.push(m.text()); });
  page.on('pageerror', (e) => page.complaints.push(`uncaught: ${e}`));
  await page.goto(`${app.origin}/`);
  return page;
}
async function leave(page, s, more = {}) {
  await Promise.all([page.waitForURL(`${acme.issuer}/interaction/**`), page.evaluate(([base, token, m]) => { new window.Connector(base, token).start('acme', m); }, [d.base, s.token, more])]);
}
async function finish(page, s) {
  await page.waitForURL(`${app.origin}/callback?**`);
  const out = await page.evaluate(([base, token]) => new window.Connector(base, token).finish(), [d.base, s.token]);
  d.secrets.add('connect_code', out.code);
  return out;
}
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

test('a user connects an account', { skip }, async (t) => {
  const s = member(d);
  const page = await open(t);
  await leave(page, s);
  await press(page, 'user ann');
  await press(page, 'consent yes');
  const out = await finish(page, s);
  assert.equal(out.completed?.status, 201, JSON.stringify(out));
  assert.deepEqual(await accounts(s), [out.completed.json]);
  assert.equal(out.completed.json.connection, 'acme');
  assert.deepEqual((await page.context().cookies(d.base)).filter((c) => c.domain === 'localhost').map((c) => c.name), ['myaccount-connect'], 'one for all journeys');
  assert.deepEqual(page.complaints, []);
  await t.test('and another one of the same provider', async (t2) => {
    const again = await open(t2);
    await leave(again, s);
    await press(again, 'user ben');
    await press(again, 'consent yes');
    assert.equal((await finish(again, s)).completed?.status, 201);
    assert.equal((await accounts(s)).length, 2);
    for (const a of await accounts(s)) await s.want(204, 'DELETE', `/me/v1/connected-accounts/accounts/${a.id}`);
  });
});

test('a user says no', { skip }, async (t) => {
  for (const [name, steps] of [['at the login', ['deny login']], ['at the consent', ['user ann', 'deny consent']]])
    await t.test(name, async (t2) => {
      const s = member(d);
      const page = await open(t2);
      await leave(page, s);
      for (const step of steps) await press(page, step);
      assert.equal((await finish(page, s)).error, 'access_denied');
      assert.deepEqual(await accounts(s), []);
      assert.deepEqual(page.complaints, []);
    });
});

test('a callback opened in another browser shows a page, and the first one goes on', { skip }, async (t) => {
  const s = member(d);
  const page = await open(t);
  await leave(page, s);
  await press(page, 'user ann');
  await page.getByRole('button', { name: 'consent yes' }).waitFor();
  /* The consent by this profile's cookies, but without going where it leads. */
  const { request } = page.context();
  let res = await request.post(page.url(), { form: { consent: 'yes' }, maxRedirects: 0 });
  while (res.headers().location && !res.headers().location.startsWith(d.base)) res = await request.get(new URL(res.headers().location, acme.origin).href, { maxRedirects: 0 });
  const callback = res.headers().location;
  d.secrets.add('code', new URL(callback).searchParams.get('code'));
  const other = await open(t);
  const refused = await other.goto(callback);
  assert.equal(refused.status(), 400);
  assert.equal(new URL(other.url()).origin, d.base);
  assert.ok((await other.title()).length > 0);
  assert.ok((await other.locator('body').innerText()).length > 20);
  assert.deepEqual(other.complaints.filter((c) => !/status of 400/.test(c)), [], 'the page breaks no rule of its own');
  await page.goto(callback);
  assert.equal((await finish(page, s)).completed?.status, 201);
});

test('a tab opened again goes on', { skip }, async (t) => {
  const s = member(d);
  const page = await open(t);
  let ticket;
  page.on('request', (r) => { if (r.url().startsWith(`${d.base}/connected-accounts/connect?`)) ticket = r.url(); });
  await leave(page, s);
  d.secrets.add('ticket', new URL(ticket).searchParams.get('ticket'));
  await page.goto(ticket);
  await page.waitForURL(`${acme.issuer}/interaction/**`);
  await press(page, 'user ben');
  await press(page, 'consent yes');
  assert.equal((await finish(page, s)).completed?.status, 201);
});

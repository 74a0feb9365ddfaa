/* SPDX-License-Identifier: Apache-2.0
 * Approving on a phone in a real browser: the page goes on by itself, by script and without one, within its policy. */
import fs from 'node:fs';
import http from 'node:http';
import { chromium } from 'playwright-core';
import { assert, test, before, after, Daemon, client, grant, user } from './lib/kit.mjs';
import { Device, addPush } from './lib/device.mjs';
import { PASSWORD, authorizeUrl } from './lib/login.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
const names = ['ann', 'ben', 'cid', 'dee', 'eve'];

let d;
let app;
let browser;
before(async () => {
  if (skip) return;
  app = http.createServer((req, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,"><title>Application</title>'));
  await new Promise((r) => app.listen(0, '127.0.0.1', r));
  app.origin = `http://localhost:${app.address().port}`;
  d = await Daemon.start({ config: { enrollment: { push_wait: 0 } }, state: { factors: { 'push-notification': true } } });
  d.apply({
    tenant: { mfa_policy: 'always' },
    clients: [client('spa', { callbacks: [`${app.origin}/callback`], allowed_origins: [app.origin], web_origins: [app.origin] })],
    client_grants: [grant(d.base, 'spa')],
    users: names.map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
  app?.closeAllConnections();
  await new Promise((r) => (app ? app.close(r) : r()));
  await d?.stop();
});

async function open(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.complaints = [];
  page.on('console', (m) => { if (m.type() === 'error') page.complaints.push(m.text()); });
  page.on('pageerror', (e) => page.complaints.push(`uncaught: ${e}`));
  return page;
}
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
async function signIn(page, name) {
  await page.goto(d.base + authorizeUrl({ redirect_uri: `${app.origin}/callback` }));
  await page.getByLabel('Email address').fill(`${name}@example.com`);
  await page.getByLabel('Password').fill(PASSWORD);
  await press(page, 'Continue');
}
async function arrived(page) {
  await page.waitForURL(`${app.origin}/callback**`);
  d.secrets.add('code', new URL(page.url()).searchParams.get('code'));
}
const member = (name) => d.as(`auth0|${name}`, { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });

for (const [name, javaScriptEnabled] of [['ann', true], ['ben', false]])
  test(`an approval, ${javaScriptEnabled ? 'by script' : 'without scripts'}`, { skip }, async (t) => {
    const device = await addPush(member(name));
    const page = await open(t, { javaScriptEnabled });
    await signIn(page, name);
    await page.getByText('We sent a request to Test phone').waitFor();
    await device.allow(await device.message());
    await arrived(page);
    assert.deepEqual(page.complaints, [], 'errors in the console');
  });

test('a rejection, and a number', { skip }, async (t) => {
  const device = await addPush(member('cid'), { matching: true });
  const page = await open(t);
  await signIn(page, 'cid');
  await device.reject(await device.message());
  await page.getByRole('alert').getByText('rejected on your device').waitFor();
  await press(page, 'Send a request');
  const number = await page.locator('#number').textContent();
  await device.allow(await device.message(), { auth0_guardian_number: number });
  await arrived(page);
  assert.deepEqual(page.complaints, [], 'errors in the console');
});

for (const [name, javaScriptEnabled] of [['dee', true], ['eve', false]])
  test(`a first device, ${javaScriptEnabled ? 'by script' : 'without scripts'}`, { skip }, async (t) => {
    const page = await open(t, { javaScriptEnabled });
    await signIn(page, name);
    await press(page, 'Approve sign-ins on your phone');
    const uri = await page.getByRole('link', { name: 'open the app on this device' }).getAttribute('href');
    assert.equal(await page.locator('svg.qr').count(), 1);
    await new Device(d).enrol(uri);
    d.secrets.add('recovery_code', await page.locator('#recovery-code').textContent());
    await press(page, 'I have kept it');
    await arrived(page);
    assert.deepEqual(page.complaints, [], 'errors in the console');
  });

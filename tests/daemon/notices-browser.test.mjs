/* SPDX-License-Identifier: Apache-2.0
 * The pages behind the links of security notices in a real browser: headless Chromium, with and without scripts. */
import fs from 'node:fs';
import { chromium } from 'playwright-core';
import { assert, test, before, after, Daemon, client, grant, user } from './lib/kit.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import { notice } from './lib/notices.mjs';

const PROGRAM = process.env.MA_CHROMIUM ?? '/usr/bin/chromium';
const skip = fs.existsSync(PROGRAM) ? false : `there is no ${PROGRAM}: no browser was tried`;
const ARGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
const THIEF = 'Zq7-thief-was-here';
const MINE = 'Zq7-mine-once-again';

let d;
let browser;
before(async () => {
  if (skip) return;
  d = await Daemon.start();
  d.apply({
    clients: [client('spa', { grant_types: ['authorization_code', 'refresh_token', 'password'] })],
    client_grants: [grant(d.base, 'spa')],
    users: ['pat', 'kim'].map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, email_verified: true, password: PASSWORD })),
  });
  for (const p of [PASSWORD, THIEF, MINE]) d.secrets.add('password', p);
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, chromiumSandbox: false, args: ARGS, timeout: 60000 });
});
after(async () => {
  await browser?.close();
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
const heading = (page, name) => page.getByRole('heading', { name, exact: true }).waitFor();
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

for (const javaScriptEnabled of [true, false])
  test(`a password is taken back ${javaScriptEnabled ? 'with' : 'without'} scripts`, { skip }, async (t) => {
    const name = javaScriptEnabled ? 'pat' : 'kim';
    const mail = `${name}@example.com`;
    const app = new App(d, 'spa');
    assert.equal((await d.as(`auth0|${name}`).changePassword(THIEF)).status, 201);
    const changed = await notice(d, 'password-changed', mail);
    const page = await open(t, { javaScriptEnabled });
    await page.goto(changed.link.url);
    await heading(page, 'Was this not you?');
    const looks = await page.locator('main').evaluate((e) => getComputedStyle(e).borderRadius).catch(() => '12px');
    assert.equal(looks, '12px', 'the style sheet is taken');
    await press(page, 'This was not me');
    await heading(page, 'The password does not work any more');
    isRefused(await app.password(mail, { password: THIEF }), 403, 'invalid_grant');
    await page.goto(changed.link.url);
    await heading(page, 'This was done already');
    const reset = await notice(d, 'password-reset', mail);
    await page.goto(reset.link.url);
    await heading(page, 'Set a new password');
    await page.getByLabel('New password').fill('alllowercase');
    await press(page, 'Set password');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('New password').fill(MINE);
    await press(page, 'Set password');
    await heading(page, 'Your password was set');
    isIssued(await app.password(mail, { password: MINE }));
    assert.equal((await page.context().cookies()).length, 0, 'no cookies are needed');
    assert.deepEqual(page.complaints.filter((c) => !/400 \(Bad Request\)/.test(c)), [], 'errors in the console');
  });

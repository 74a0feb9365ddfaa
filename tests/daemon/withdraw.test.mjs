/* SPDX-License-Identifier: Apache-2.0
 * DELETE /consents/{id}: the consent goes, and every token that was issued under it. */
import { assert, test, before, after, FACTORS, isProblem } from './lib/kit.mjs';
import { Browser } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import { everyOperation, id, mail, start } from './lib/account.mjs';

const CONSENTS = '/me/v1/consents';
const names = ['ann', 'ben', 'cid', 'dee', 'eve'];
let d;
before(async () => { d = await start(names, { state: { api: { allow_skipping_user_consent: false } } }); });
after(() => d.stop());

const self = (n) => d.as(id(n), { scope: 'read:me:consents delete:me:consents' });
const consents = async (n) => (await self(n).want(200, 'GET', CONSENTS)).json.consents;
const of = async (n, client_id, audience) => (await consents(n)).find((c) => c.client_id === client_id && c.requested_details.audience === audience);
/* Signs in to a client, and allows what it asks for. */
async function allow(n, over = {}, browser = new Browser(d), client_id = 'third') {
  let p = await browser.authorize({ scope: 'openid offline_access read:me:factors', audience: d.me, ...over }, client_id);
  if (p.has?.('password')) p = await browser.login(p, mail(n));
  if (p.title === 'Give access?') p = await browser.submit(p, 'allow');
  assert.ok(p.params?.code, p.away ?? p.text);
  const app = new App(d, client_id);
  return { app, browser, tokens: isIssued(await app.exchange(p.params.code)) };
}
const dead = async (x) => isRefused(await x.app.refresh(x.tokens.refresh_token), 403, 'invalid_grant');

test('withdrawing', async (t) => {
  const x = await allow('ann');
  const y = await allow('ann', {}, x.browser); /* another refresh token of the same consent */
  const profile = await allow('ann', { audience: null, scope: 'openid offline_access profile' }, x.browser);
  const page = await allow('ann', {}, new Browser(d), 'spa');
  const c = await of('ann', 'third', d.me);
  await d.bearer(x.tokens.access_token).want(200, 'GET', FACTORS);
  assert.equal((await consents('ann')).length, 3);
  d.advance(2000);
  await t.test('is done', async () => {
    await self('ann').want(204, 'DELETE', `${CONSENTS}/${c.id}`);
    assert.deepEqual((await consents('ann')).map((k) => [k.client_id, k.requested_details.audience]).sort(), [['spa', d.me], ['third', undefined]]);
    isProblem(await self('ann').get(`${CONSENTS}/${c.id}`), 404, 'A0E-404-0002');
    isProblem(await self('ann').del(`${CONSENTS}/${c.id}`), 404, 'A0E-404-0002');
  });
  await t.test('refresh tokens under it are dead', async () => {
    await dead(x);
    await dead(y);
  });
  await t.test('access tokens under it are refused at the next call', async () => {
    for (const k of [x, y]) {
      isProblem(await d.bearer(k.tokens.access_token).get(FACTORS), 401, 'A0E-401-0003', /revoked/);
      assert.equal((await k.app.get('/userinfo', `Bearer ${k.tokens.access_token}`)).status, 401);
    }
  });
  await t.test('what was issued under another consent works', async () => {
    assert.equal((await profile.app.get('/userinfo', `Bearer ${profile.tokens.access_token}`)).status, 200);
    isIssued(await profile.app.refresh(profile.tokens.refresh_token));
  });
  await t.test('and so do other applications, and the browser', async () => {
    await d.bearer(page.tokens.access_token).want(200, 'GET', FACTORS);
    isIssued(await page.app.refresh(page.tokens.refresh_token));
    assert.ok((await page.browser.authorize({ prompt: 'none', scope: 'openid read:me:factors', audience: d.me })).params.code);
  });
  await t.test('the application has to ask again', async () => {
    const silent = await x.browser.authorize({ prompt: 'none', audience: d.me, scope: 'openid read:me:factors' }, 'third');
    assert.equal(silent.params.error, 'consent_required');
    d.advance(2000);
    const again = await allow('ann', {}, x.browser);
    await d.bearer(again.tokens.access_token).want(200, 'GET', FACTORS);
    isProblem(await d.bearer(x.tokens.access_token).get(FACTORS), 401, 'A0E-401-0003');
  });
  await t.test('of the profile alone: userinfo hears of it', async () => {
    const k = await of('ann', 'third', undefined);
    d.advance(2000);
    await self('ann').want(204, 'DELETE', `${CONSENTS}/${k.id}`);
    assert.equal((await profile.app.get('/userinfo', `Bearer ${profile.tokens.access_token}`)).status, 401);
    await dead(profile);
  });
  await t.test('a code that is on its way', async () => {
    const b = new Browser(d);
    const p = await b.submit(await b.login(await b.authorize({ scope: 'openid read:me:factors', audience: d.me }, 'third'), mail('ben')), 'allow');
    await self('ben').want(204, 'DELETE', `${CONSENTS}/${(await of('ben', 'third', d.me)).id}`);
    isRefused(await new App(d, 'third').exchange(p.params.code), 403, 'consent_required');
  });
  await t.test('the trail says so', async () => {
    const rows = d.audit(id('ann')).map((l) => JSON.parse(l));
    const good = rows.find((r) => r.type === 'my_account_consent_succeeded');
    assert.deepEqual(good.details, { consent_id: c.id, consented_client_id: 'third', audience: d.me });
    assert.ok(rows.some((r) => r.type === 'my_account_consent_failed'));
  });
});

test('nobody else\'s, and none that lapsed', async () => {
  await allow('cid');
  const c = await of('cid', 'third', d.me);
  const theirs = await self('dee').del(`${CONSENTS}/${c.id}`);
  const none = await self('dee').del(`${CONSENTS}/cns_none`);
  isProblem(theirs, 404, 'A0E-404-0002');
  assert.deepEqual(theirs.json, none.json);
  assert.ok(await of('cid', 'third', d.me));
  d.advance(366 * 86400000);
  isProblem(await self('cid').del(`${CONSENTS}/${c.id}`), 404, 'A0E-404-0002');
});

test('DELETE /consents/{id} goes through every gate', (t) => everyOperation(t, d, 'eve', { method: 'DELETE', path: `${CONSENTS}/cns_none`, scope: 'delete:me:consents', ok: 404, allow: ['DELETE', 'GET', 'HEAD', 'OPTIONS'] }));

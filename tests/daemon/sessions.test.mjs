/* SPDX-License-Identifier: Apache-2.0
 * GET /sessions, DELETE /sessions/{id} and DELETE /sessions?except=current: where a user is signed in, and signing out. */
import { assert, test, before, after, FACTORS, isProblem, pointers } from './lib/kit.mjs';
import { FIREFOX, byApp, byPage, everyOperation, id, start } from './lib/account.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';

const SESSIONS = '/me/v1/sessions';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal', 'ida', 'jim', 'kay', 'lea'];
const OTHERS = `${SESSIONS}?except=current`;
let d;
before(async () => { d = await start(names, { config: { trusted_proxies: ['127.0.0.1'] } }); });
after(() => d.stop());

const list = async (s, query = '') => (await s.want(200, 'GET', `${SESSIONS}${query}`)).json;
const all = async (s) => (await list(s, '?take=50')).sessions;
const one = async (s, kind) => (await all(s)).find((x) => x.kind === kind);
const dead = async (x) => isRefused(await x.app.refresh(x.tokens.refresh_token), 403, 'invalid_grant');
const out = async (s) => isProblem(await s.get(FACTORS), 401, 'A0E-401-0003', /revoked/);
const rows = (who, type) => d.audit(id(who)).map((l) => JSON.parse(l)).filter((r) => r.type === type);

test('what is shown', async (t) => {
  await t.test('a browser and its application', async () => {
    const at = d.now();
    const { api } = await byPage(d, 'ann');
    const seen = await all(api);
    assert.deepEqual(seen.map((x) => x.kind).sort(), ['application', 'browser']);
    const browser = seen.find((x) => x.kind === 'browser');
    const app = seen.find((x) => x.kind === 'application');
    assert.match(browser.id, /^ses_/);
    assert.equal(app.session_id, browser.id);
    assert.deepEqual([app.client_id, app.application], ['spa', 'The page']);
    assert.equal('client_id' in browser, false);
    for (const x of seen) {
      assert.equal(x.current, true);
      assert.equal(x.device, 'Chrome 131.0.0 / Mac OS X 10.15.7');
      assert.equal(x.ip, '127.0.0.1');
      assert.equal('country' in x, false, 'no database of countries');
      assert.deepEqual(x.amr, ['pwd']);
      for (const k of ['created_at', 'last_used_at', 'authenticated_at']) assert.ok(Math.abs(Date.parse(x[k]) - at) < 60000, `${k}: ${x[k]}`);
    }
  });
  await t.test('newest first', async () => {
    const { api } = await byPage(d, 'ann', { agent: FIREFOX });
    const times = (await all(api)).map((x) => Date.parse(x.created_at));
    assert.deepEqual(times, [...times].sort((a, b) => b - a));
    assert.equal(times.length, 4);
    assert.deepEqual((await all(api)).map((x) => x.current), [true, true, false, false]);
  });
  await t.test('an application that has no browser', async () => {
    const { api } = await byApp(d, 'ben');
    const [x] = await all(api);
    assert.deepEqual([x.kind, x.client_id, x.device, x.current, 'session_id' in x], ['application', 'app', 'Zq-App/1.0', true, false]);
  });
  await t.test('where a refresh token was last used', async () => {
    const { api, app, tokens } = await byApp(d, 'cid', { agent: 'Zq-App/1.0' });
    d.advance(3600000);
    isIssued(await app.refresh(tokens.refresh_token, {}, { headers: { 'user-agent': 'Zq-App/2.0', 'x-forwarded-for': '192.0.2.77' } }));
    const [x] = await all(api);
    assert.deepEqual([x.device, x.ip], ['Zq-App/2.0', '192.0.2.77']);
    assert.ok(Date.parse(x.last_used_at) - Date.parse(x.created_at) >= 3600000);
  });
  await t.test('a call with an access token is a use, to the minute, and outlives a restart', async () => {
    const { api } = await byPage(d, 'jim');
    d.advance(300000);
    const at = d.now();
    const seen = async (s) => (await all(s)).filter((x) => x.current).map((x) => Date.parse(x.last_used_at));
    for (const x of await seen(api)) assert.ok(Math.abs(x - at) < 60000, String(x - at));
    await d.end();
    await d.run();
    const other = d.as(id('jim'), { scope: 'read:me:sessions' });
    for (const x of await all(other)) assert.ok(Math.abs(Date.parse(x.last_used_at) - at) < 60000, x.kind);
    await api.want(204, 'DELETE', OTHERS);
    await api.want(204, 'DELETE', `${SESSIONS}/${(await one(api, 'browser')).id}`);
  });
  await t.test('a browser that comes again', async () => {
    const { browser, api } = await byPage(d, 'cid');
    const before = await one(api, 'browser');
    d.advance(600000);
    assert.ok((await browser.authorize({ prompt: 'none' })).params.code);
    const again = await one(api, 'browser');
    assert.equal(again.id, before.id);
    assert.ok(Date.parse(again.last_used_at) - Date.parse(before.last_used_at) >= 600000);
  });
  await t.test('nothing that lapsed', async () => {
    const { api } = await byPage(d, 'eve');
    assert.equal((await all(api)).length, 2);
    d.advance(400 * 86400000);
    assert.deepEqual(await all(d.as(id('eve'), { scope: 'read:me:sessions' })), []);
  });
  await t.test('none for a user of another issuer', async () => {
    const s = d.as(id('dee'), { scope: 'read:me:sessions', sid: 'ses_somebody-elses' });
    assert.deepEqual(await list(s), { sessions: [] });
  });
});

test('pages', async (t) => {
  const live = [];
  for (let i = 0; i < 7; i++) live.push(await byApp(d, 'fay'));
  const { api } = live[0];
  const want = (await all(api)).map((x) => x.id);
  assert.equal(want.length, 7);
  for (const take of [1, 2, 3, 6, 7, 50]) {
    await t.test(`${take} at a time`, async () => {
      const got = [];
      let page = await list(api, `?take=${take}`);
      for (;;) {
        assert.ok(page.sessions.length > 0 && page.sessions.length <= take);
        got.push(...page.sessions.map((x) => x.id));
        if (page.next === undefined) break;
        page = await list(api, `?take=${take}&from=${encodeURIComponent(page.next)}`);
      }
      assert.deepEqual(got, want);
    });
  }
  await t.test('a page whose last entry is gone goes on behind it', async () => {
    const { next, sessions } = await list(api, '?take=3');
    await api.want(204, 'DELETE', `${SESSIONS}/${sessions[2].id}`);
    assert.deepEqual((await list(api, `?from=${encodeURIComponent(next)}`)).sessions.map((x) => x.id), want.slice(3));
  });
  await t.test('what is refused', async () => {
    const { next } = await list(api, '?take=2');
    for (const q of ['take=0', 'take=51', 'take=-1', 'take=x', 'take=', 'take=1.5', 'from=x', 'from=', `from=${'A'.repeat(600)}`]) {
      const res = await api.get(`${SESSIONS}?${q}`);
      isProblem(res, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(res), [q.startsWith('take') ? '/take' : '/from'], q);
    }
    isProblem(await d.as(id('ben'), { scope: 'read:me:sessions' }).get(`${SESSIONS}?from=${encodeURIComponent(next)}`), 400, 'A0E-400-0003');
  });
});

test('one is signed out', async (t) => {
  await t.test('a browser, with everything in it', async () => {
    const here = await byPage(d, 'gus');
    const there = await byPage(d, 'gus', { agent: FIREFOX });
    const browser = (await all(here.api)).find((x) => x.kind === 'browser' && !x.current);
    const code = (await there.browser.authorize({ prompt: 'none', audience: d.me })).params.code;
    await there.api.want(200, 'GET', FACTORS);
    await here.api.want(204, 'DELETE', `${SESSIONS}/${browser.id}`);
    await out(there.api);
    await dead(there);
    assert.equal((await there.browser.authorize({ prompt: 'none' })).params.error, 'login_required');
    isRefused(await there.app.exchange(code), 403, 'invalid_grant');
    await here.api.want(200, 'GET', FACTORS);
    isIssued(await here.app.refresh(here.tokens.refresh_token));
    assert.equal((await all(here.api)).length, 2);
    isProblem(await here.api.request('DELETE', `${SESSIONS}/${browser.id}`), 404, 'A0E-404-0002');
  });
  await t.test('an application alone, not the browser nor others in it', async () => {
    const here = await byPage(d, 'hal');
    const again = new App(d, 'spa');
    const { code } = (await here.browser.authorize({ prompt: 'none', audience: d.me, scope: 'openid offline_access read:me:factors' })).params;
    const second = isIssued(await again.exchange(code));
    const apps = (await all(here.api)).filter((x) => x.kind === 'application');
    assert.equal(apps.length, 2);
    d.advance(5000);
    await here.api.want(204, 'DELETE', `${SESSIONS}/${apps[1].id}`); /* the first one's */
    await out(here.api);
    await out(d.bearer(second.access_token));
    await dead(here);
    d.advance(1000);
    const fresh = isIssued(await again.refresh(second.refresh_token));
    await d.bearer(fresh.access_token).want(200, 'GET', FACTORS);
    assert.ok((await here.browser.authorize({ prompt: 'none' })).params.code, 'the browser is still signed in');
  });
  await t.test('an application without a browser', async () => {
    const here = await byApp(d, 'ida');
    const there = await byApp(d, 'ida');
    const other = (await all(here.api)).find((x) => !x.current);
    await here.api.want(204, 'DELETE', `${SESSIONS}/${other.id}`);
    await out(there.api);
    await dead(there);
    await here.api.want(200, 'GET', FACTORS);
  });
  await t.test('oneself', async () => {
    const here = await byApp(d, 'ida');
    const mine = (await all(here.api)).find((x) => x.current);
    await here.api.want(204, 'DELETE', `${SESSIONS}/${mine.id}`);
    await out(here.api);
    await dead(here);
  });
  await t.test('and userinfo hears of it', async () => {
    const here = await byApp(d, 'ida');
    const mine = (await all(here.api)).find((x) => x.current);
    assert.equal((await here.app.get('/userinfo', `Bearer ${here.tokens.access_token}`)).status, 200);
    await here.api.want(204, 'DELETE', `${SESSIONS}/${mine.id}`);
    assert.equal((await here.app.get('/userinfo', `Bearer ${here.tokens.access_token}`)).status, 401);
  });
  await t.test('nobody else\'s, and nothing tells that it is there', async () => {
    const theirs = await byPage(d, 'jim');
    const mine = await byApp(d, 'kay');
    for (const { id: it } of await all(theirs.api)) {
      const a = await mine.api.request('DELETE', `${SESSIONS}/${it}`);
      const b = await mine.api.request('DELETE', `${SESSIONS}/${it.slice(0, -1)}${it.endsWith('x') ? 'y' : 'x'}`);
      isProblem(a, 404, 'A0E-404-0002');
      assert.deepEqual(a.json, b.json);
    }
    await theirs.api.want(200, 'GET', FACTORS);
    assert.equal((await all(theirs.api)).length, 2);
  });
  await t.test('no such thing', async () => {
    const { api } = await byApp(d, 'kay');
    for (const bad of ['x', 'ses_', 'ses_x', 'a'.repeat(22), 'a'.repeat(300), '%00', 'ses_%2e%2e', '%25']) {
      const res = await api.request('DELETE', `${SESSIONS}/${bad}`, undefined, { lax: true });
      assert.ok([400, 404].includes(res.status), `${bad}: ${res.status}`);
    }
  });
  await t.test('the trail says so', async () => {
    const good = rows('ida', 'my_account_session_succeeded').at(-1);
    assert.equal(good.operation, 'delete');
    assert.equal(good.details.kind, 'application');
    const bad = rows('kay', 'my_account_session_failed').at(-1);
    assert.equal(bad.details.error.status, 404);
  });
});

test('all others are signed out', async (t) => {
  await t.test('but what hangs on this session', async () => {
    const here = await byPage(d, 'lea');
    const others = [await byPage(d, 'lea', { agent: FIREFOX }), await byApp(d, 'lea')];
    assert.equal((await all(here.api)).length, 5);
    await here.api.want(204, 'DELETE', OTHERS);
    for (const x of others) {
      await out(x.api);
      await dead(x);
    }
    assert.deepEqual((await all(here.api)).map((x) => x.current), [true, true]);
    isIssued(await here.app.refresh(here.tokens.refresh_token));
    assert.ok((await here.browser.authorize({ prompt: 'none' })).params.code);
    const row = rows('lea', 'my_account_session_succeeded').at(-1);
    assert.deepEqual(row.details.ended, { sessions: 1, refresh_tokens: 2 });
  });
  await t.test('from an application without a browser', async () => {
    const here = await byApp(d, 'lea');
    await here.api.want(204, 'DELETE', OTHERS);
    assert.deepEqual((await all(here.api)).map((x) => [x.kind, x.current]), [['application', true]]);
    isIssued(await here.app.refresh(here.tokens.refresh_token));
  });
  await t.test('all of them from a token that names none', async () => {
    const there = await byApp(d, 'lea');
    await d.as(id('lea'), { scope: 'delete:me:sessions' }).want(204, 'DELETE', OTHERS);
    await dead(there);
    assert.deepEqual(await all(d.as(id('lea'), { scope: 'read:me:sessions' })), []);
  });
  await t.test('another issuer\'s session names nothing here', async () => {
    const there = await byPage(d, 'lea');
    const sid = (await one(there.api, 'browser')).id;
    const s = d.as(id('lea'), { scope: 'read:me:sessions delete:me:sessions', sid });
    assert.deepEqual((await all(s)).map((x) => x.current), [false, false]);
    await s.want(204, 'DELETE', OTHERS);
    await dead(there);
  });
  await t.test('only when it is meant', async () => {
    const { api } = await byApp(d, 'lea');
    for (const q of ['', '?except=', '?except=none', '?except=Current', '?exept=current']) {
      const res = await api.request('DELETE', `${SESSIONS}${q}`);
      isProblem(res, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(res), ['/except'], q);
    }
    assert.equal((await all(api)).length, 1);
  });
});

test('a changed password ends what has no browser, too, but for oneself', async () => {
  const here = await byApp(d, 'ben');
  const there = await byApp(d, 'ben');
  const res = await here.api.changePassword('Another-Passw0rd-7');
  assert.equal(res.status, 201, res.text);
  await out(there.api);
  await dead(there);
  await here.api.want(200, 'GET', FACTORS);
  isIssued(await here.app.refresh(here.tokens.refresh_token));
});

test('GET /sessions goes through every gate', (t) => everyOperation(t, d, 'dee', { method: 'GET', path: SESSIONS, scope: 'read:me:sessions', allow: ['DELETE', 'GET', 'HEAD', 'OPTIONS'] }));
test('DELETE /sessions/{id} goes through every gate', (t) => everyOperation(t, d, 'dee', { method: 'DELETE', path: `${SESSIONS}/ses_none`, scope: 'delete:me:sessions', ok: 404, allow: ['DELETE', 'OPTIONS'] }));
test('DELETE /sessions goes through every gate', (t) => everyOperation(t, d, 'dee', { method: 'DELETE', path: OTHERS, scope: 'delete:me:sessions', ok: 204, allow: ['DELETE', 'GET', 'HEAD', 'OPTIONS'] }));

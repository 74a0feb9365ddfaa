/* SPDX-License-Identifier: Apache-2.0
 * GET /activity: the user's own audit rows in plain terms. */
import { assert, test, before, after, isProblem, methodPath, pointers } from './lib/kit.mjs';
import { Browser, PASSWORD } from './lib/login.mjs';
import { linkOf, press } from './lib/notices.mjs';
import { FIREFOX, byApp, byPage, everyOperation, id, mail, start } from './lib/account.mjs';

const ACTIVITY = '/me/v1/activity';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus'];
let d;
before(async () => { d = await start(names); });
after(() => d.stop());

const read = async (s, query = '') => (await s.want(200, 'GET', `${ACTIVITY}${query}`)).json;
const events = async (s, query = '?take=100') => (await read(s, query)).events;
const reader = (n) => d.as(id(n), { scope: 'read:me:activity' });
const brief = (e) => `${e.type} ${e.outcome}`;
const KNOWN = ['id', 'type', 'outcome', 'description', 'at', 'by', 'client_id', 'application', 'ip', 'country', 'device', 'authentication_method', 'authentication_method_id', 'connection'];

test('what is told', async (t) => {
  await t.test('nothing of a user who did nothing', async () => assert.deepEqual(await read(reader('ben')), { events: [] }));
  const at = d.now();
  const { api } = await byPage(d, 'ann');
  await t.test('a sign-in', async () => {
    const e = (await events(api)).find((x) => x.type === 'sign_in');
    assert.deepEqual([e.outcome, e.by, e.ip, e.device, e.client_id, e.application], ['success', 'user', '127.0.0.1', 'Chrome 131.0.0 / Mac OS X 10.15.7', 'spa', 'The page']);
    assert.ok(Math.abs(Date.parse(e.at) - at) < 60000);
  });
  await t.test('a wrong password, from wherever it came', async () => {
    const b = new Browser(d);
    const raw = b.raw.bind(b);
    b.raw = (method, url, o = {}) => raw(method, url, { ...o, headers: { 'user-agent': FIREFOX, ...o.headers } });
    await b.login(await b.authorize(), mail('ann'), `${PASSWORD}x`);
    const [e] = await events(api, '?take=1');
    assert.deepEqual([brief(e), e.device], ['sign_in failure', 'Firefox 128.0.0 / Linux']);
  });
  await t.test('factors', async () => {
    const m = await api.addTotp();
    await api.want(200, 'PATCH', methodPath(m.id), { name: 'The phone' });
    await api.want(204, 'DELETE', methodPath(m.id));
    await api.want(404, 'DELETE', methodPath(m.id));
    const seen = (await events(api)).filter((e) => e.authentication_method === 'totp');
    assert.deepEqual(seen.map(brief), ['factor_removed failure', 'factor_removed success', 'factor_changed success', 'factor_added success', 'factor_added started']);
    assert.equal(seen.at(-1).authentication_method_id, m.id);
    for (const e of await events(api)) assert.equal(JSON.stringify(e).includes('The phone'), false);
  });
  await t.test('a password', async () => {
    assert.equal((await api.changePassword('Another-Passw0rd-8')).status, 201);
    assert.ok((await events(api)).some((e) => brief(e) === 'password_changed success'));
  });
  await t.test('what is done here', async () => {
    const s = d.as(id('ann'), { scope: 'read:me:activity update:me:profile delete:me:sessions delete:me:consents' });
    await s.want(200, 'PATCH', '/me/v1/profile', { nickname: 'Annie' });
    await s.want(400, 'PATCH', '/me/v1/profile', { user_metadata: { big: 'x'.repeat(17000) } });
    await s.want(204, 'DELETE', '/me/v1/sessions?except=current');
    await s.want(404, 'DELETE', '/me/v1/consents/cns_none');
    assert.deepEqual((await events(s, '?take=4')).map(brief), ['consent_withdrawn failure', 'sign_out success', 'profile_changed failure', 'profile_changed success']);
    assert.equal(JSON.stringify(await events(s)).includes('Annie'), false);
  });
  await t.test('an operator\'s doings, but not where from', async () => {
    const s = d.as(id('eve'), { scope: 'read:me:activity create:me:authentication_methods read:me:authentication_methods' });
    const m = await s.addTotp();
    d.ok('method', 'reset', id('eve'), m.id);
    const [e] = await events(s, '?take=1');
    assert.deepEqual([brief(e), e.by, e.authentication_method_id], ['factor_removed success', 'operator', m.id]);
    for (const k of ['ip', 'device', 'client_id', 'application']) assert.equal(k in e, false, k);
  });
  await t.test('a password set through a link, with where that was done', async () => {
    const link = linkOf(d, { text: d.ok('user', 'reset-link', id('dee')) });
    assert.equal((await press(d, link, 'set', { password: 'Zq7-set-through-the-link' })).status, 200);
    d.advance(2000); /* tokens of before are over */
    const [e] = await events(reader('dee'), '?take=1');
    assert.deepEqual([brief(e), e.by, e.ip], ['password_changed success', 'user', '127.0.0.1']);
  });
  await t.test('nothing beyond the list of members, whatever a row holds', async () => {
    for (const n of names) for (const e of await events(reader(n))) for (const k of Object.keys(e)) assert.ok(KNOWN.includes(k), k);
  });
  await t.test('never another user\'s', async () => {
    await byPage(d, 'fay');
    const mine = (await events(reader('fay'))).map((e) => e.id);
    const theirs = (await events(reader('ann'))).map((e) => e.id);
    assert.ok(mine.length > 0 && theirs.length > 0);
    assert.deepEqual(mine.filter((x) => theirs.includes(x)), []);
    assert.deepEqual(await events(reader('ben')), []);
  });
});

test('filters and pages', async (t) => {
  const { api } = await byApp(d, 'gus');
  const times = [];
  for (let i = 0; i < 6; i++) {
    d.advance(3600000);
    await d.as(id('gus'), { scope: 'update:me:profile' }).want(200, 'PATCH', '/me/v1/profile', { nickname: `n${i}` });
    times.push(d.now());
    await d.as(id('gus'), { scope: 'delete:me:sessions' }).request('DELETE', '/me/v1/sessions/none');
  }
  const whole = await events(reader('gus'));
  const ids = whole.map((e) => e.id);
  void api;
  await t.test('one type, two types', async () => {
    assert.equal((await events(reader('gus'), '?type=profile_changed')).length, 6);
    const two = await events(reader('gus'), '?type=profile_changed,sign_out');
    assert.deepEqual(two.map((e) => e.id), whole.filter((e) => ['profile_changed', 'sign_out'].includes(e.type)).map((e) => e.id));
    assert.deepEqual(await events(reader('gus'), '?type=account_connected'), []);
  });
  await t.test('times: since is in, until is out', async () => {
    const changes = whole.filter((e) => e.type === 'profile_changed').reverse();
    const [from, to] = [changes[1].at, changes[4].at];
    const got = (await events(reader('gus'), `?type=profile_changed&since=${from}&until=${to}`)).map((e) => e.id).reverse();
    assert.deepEqual(got, changes.slice(1, 4).map((e) => e.id));
    assert.deepEqual(await events(reader('gus'), `?since=${new Date(d.now() + 3600000).toISOString()}`), []);
    assert.equal((await events(reader('gus'), '?since=2020-01-01&take=100')).length, whole.length);
  });
  for (const take of [1, 2, 5, 100]) {
    await t.test(`${take} at a time`, async () => {
      const got = [];
      let page = await read(reader('gus'), `?take=${take}`);
      for (let i = 0; i < 200; i++) {
        got.push(...page.events.map((e) => e.id));
        assert.ok(page.events.length <= take);
        if (page.next === undefined) break;
        page = await read(reader('gus'), `?take=${take}&from=${encodeURIComponent(page.next)}`);
      }
      assert.deepEqual(got, ids);
    });
  }
  await t.test('a filter and pages together', async () => {
    const got = [];
    let query = '?type=profile_changed&take=2';
    for (;;) {
      const page = await read(reader('gus'), query);
      got.push(...page.events.map((e) => e.id));
      if (page.next === undefined) break;
      query = `?type=profile_changed&take=2&from=${encodeURIComponent(page.next)}`;
    }
    assert.deepEqual(got, whole.filter((e) => e.type === 'profile_changed').map((e) => e.id));
  });
  await t.test('many rows of other types in between', async () => {
    const s = d.as(id('dee'), { scope: 'read:me:activity update:me:profile delete:me:sessions' });
    await s.want(200, 'PATCH', '/me/v1/profile', { nickname: 'first' });
    for (let i = 0; i < 230; i++) await s.request('DELETE', '/me/v1/sessions/none');
    assert.deepEqual((await events(s, '?type=profile_changed&take=1')).map(brief), ['profile_changed success']);
  });
  await t.test('what is refused', async () => {
    const { next } = await read(reader('gus'), '?take=1');
    for (const [q, at] of [['take=0', '/take'], ['take=101', '/take'], ['take=x', '/take'], ['type=', '/type'], ['type=nope', '/type'], ['type=sign_in,', '/type'],
      ['type=sign_in%00', ''], ['since=yesterday', '/since'], ['since=', '/since'], ['until=1', '/until'], ['until=2026-13-01', '/until'], ['from=x', '/from'], ['from=', '/from']]) {
      const res = await reader('gus').get(`${ACTIVITY}?${q}`);
      assert.equal(res.status, 400, q);
      if (at) assert.deepEqual(pointers(res), [at], q);
    }
    isProblem(await reader('fay').get(`${ACTIVITY}?from=${encodeURIComponent(next)}`), 400, 'A0E-400-0003');
  });
});

test('an erased user\'s rows are nobody\'s', async () => {
  await byApp(d, 'cid');
  assert.ok((await events(reader('cid'))).length > 0);
  d.ok('user', 'delete', id('cid'));
  d.apply({ users: [{ user_id: id('cid'), email: mail('cid'), connection: 'Username-Password-Authentication' }] });
  d.advance(120000);
  assert.deepEqual(await events(reader('cid')), []);
});

test('GET /activity goes through every gate', (t) => everyOperation(t, d, 'dee', { method: 'GET', path: ACTIVITY, scope: 'read:me:activity', allow: ['GET', 'HEAD', 'OPTIONS'] }));

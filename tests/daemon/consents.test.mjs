/* SPDX-License-Identifier: Apache-2.0
 * GET /me/v1/consents, /consents/{id} and /organizations. */
import { assert, test, before, after, Daemon, SCOPES, client, grant, isProblem, user } from './lib/kit.mjs';
import { Browser, PASSWORD } from './lib/login.mjs';

const CONSENTS = '/me/v1/consents';
const ORGANIZATIONS = '/me/v1/organizations';
const YEAR = 365 * 86400000;
const names = ['ann', 'ben', 'cid', 'dee', 'eve'];
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;
const ORGS = Array.from({ length: 130 }, (_, n) => `org_${String(n).padStart(3, '0')}`);

let d;
let me;
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  d.apply({
    clients: [client('spa'), client('third', { is_first_party: false }), client('fourth', { is_first_party: false })], client_grants: [grant(d.base, 'spa', [...SCOPES, 'read:me:consents', 'read:me:organizations'])],
    users: names.map((n) => user(id(n), { email: mail(n), password: PASSWORD })),
    organizations: [...ORGS.map((o, n) => ({ id: o, name: `name-${o}`, display_name: `Organization ${n}`, members: [id('ann'), ...(n % 2 ? [id('ben')] : [])] })),
      { id: 'org_plain', name: 'plain', members: [id('cid')] }, { id: 'org_empty', name: 'empty', members: [] }],
  });
  d.secrets.add('password', PASSWORD);
});
after(() => d.stop());

const session = (n, scope = 'read:me:consents read:me:organizations') => d.as(id(n), { scope });
const consents = async (n) => (await session(n).want(200, 'GET', CONSENTS)).json.consents;
/* The user allows what a client asks for. */
async function agree(n, who = 'third', over = {}) {
  const b = new Browser(d);
  const p = await b.login(await b.authorize(over, who), mail(n));
  assert.equal(p.title, 'Give access?', p.away ?? p.text);
  assert.ok((await b.submit(p, 'allow')).params.code);
}

test('consents', async (t) => {
  await t.test('none', async () => assert.deepEqual(await consents('ann'), []));
  await t.test('one that was denied is none', async () => {
    const b = new Browser(d);
    await b.submit(await b.login(await b.authorize({}, 'third'), mail('ann')), 'deny');
    assert.deepEqual(await consents('ann'), []);
  });
  let first;
  await t.test('one', async () => {
    const at = d.now();
    await agree('ann');
    const all = await consents('ann');
    assert.equal(all.length, 1);
    [first] = all;
    assert.deepEqual(Object.keys(first).sort(), ['client_id', 'created_at', 'expires_at', 'id', 'requested_details']);
    assert.equal(first.client_id, 'third');
    assert.deepEqual(first.requested_details, { scope: ['openid', 'profile', 'email'] });
    for (const k of ['created_at', 'expires_at']) assert.match(first[k], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Math.abs(Date.parse(first.created_at) - at) < 60000);
    assert.equal(Date.parse(first.expires_at) - Date.parse(first.created_at), YEAR);
    assert.deepEqual((await session('ann').want(200, 'GET', `${CONSENTS}/${first.id}`)).json, first);
  });
  await t.test('nobody else\'s', async () => {
    assert.deepEqual(await consents('ben'), []);
    isProblem(await session('ben').get(`${CONSENTS}/${first.id}`), 404, 'A0E-404-0002');
  });
  await t.test('no such consent', async () => {
    for (const bad of [`${first.id}x`, first.id.slice(0, -1), 'x', '%00', 'a'.repeat(300), '..%2f..']) {
      const res = await session('ann').get(`${CONSENTS}/${bad}`, { lax: true });
      assert.ok([400, 404].includes(res.status), `${bad}: ${res.status}`);
    }
  });
  await t.test('more of the same client takes its place', async () => {
    await agree('ann', 'third', { scope: 'openid profile email phone' });
    const all = await consents('ann');
    assert.equal(all.length, 1);
    assert.ok(all[0].requested_details.scope.includes('phone'));
  });
  await t.test('another client beside it', async () => {
    await agree('ann', 'fourth', { scope: 'openid' });
    assert.deepEqual((await consents('ann')).map((c) => c.client_id).sort(), ['fourth', 'third']);
  });
  await t.test('one for this API', async () => {
    d.apply({ api: { allow_skipping_user_consent: false } });
    await agree('cid', 'spa', { audience: me, scope: 'openid read:me:factors' });
    d.apply({ api: { allow_skipping_user_consent: true } });
    const [c] = await consents('cid');
    assert.deepEqual([c.client_id, c.requested_details.audience], ['spa', me]);
    assert.deepEqual(c.requested_details.scope, ['openid', 'read:me:factors']);
  });
  await t.test('scopes', async () => {
    const res = await session('ann', 'read:me:organizations read:me:factors').get(CONSENTS);
    isProblem(res, 403, 'A0E-403-0002', /read:me:consents/);
    isProblem(await session('ann', 'read:me:organizations').get(`${CONSENTS}/${first.id}`), 403, 'A0E-403-0002');
    isProblem(await d.anonymous().get(CONSENTS), 401, 'A0E-401-0002');
  });
  await t.test('methods', async () => {
    for (const method of ['POST', 'DELETE', 'PATCH']) assert.equal((await session('ann').request(method, CONSENTS, undefined, { lax: true })).status, 405, method);
  });
  await t.test('one that is over is not there, and is asked for again', async () => {
    const [c] = await consents('cid');
    d.advance(YEAR + 60000);
    assert.deepEqual(await consents('cid'), []);
    isProblem(await session('cid').get(`${CONSENTS}/${c.id}`), 404, 'A0E-404-0002');
    assert.deepEqual(await consents('ann'), []);
    await agree('ann');
    assert.equal((await consents('ann')).length, 1);
  });
  await t.test('gone with the user', async () => {
    await agree('dee');
    const [c] = await consents('dee');
    d.ok('user', 'delete', id('dee'));
    d.apply({ users: [user(id('dee'), { email: mail('dee'), password: PASSWORD })] });
    assert.deepEqual(await consents('dee'), []);
    isProblem(await session('dee').get(`${CONSENTS}/${c.id}`), 404, 'A0E-404-0002');
  });
});

test('organizations', async (t) => {
  const page = async (n, query = '') => (await session(n).want(200, 'GET', `${ORGANIZATIONS}${query}`)).json;
  const walk = async (n, take) => {
    const out = [];
    let json = await page(n, `?take=${take}`);
    for (let i = 0; i < 200; i++) {
      out.push(json.organizations.map((o) => o.id));
      if (json.next === undefined) return out;
      json = await page(n, `?take=${take}&from=${encodeURIComponent(json.next)}`);
    }
    return assert.fail('no end');
  };
  await t.test('one', async () => {
    assert.deepEqual((await page('cid')), { organizations: [{ id: 'org_plain', name: 'plain' }] });
    assert.deepEqual((await page('ann', '?take=1')).organizations, [{ id: 'org_000', name: 'name-org_000', display_name: 'Organization 0' }]);
  });
  await t.test('none', async () => assert.deepEqual(await page('eve'), { organizations: [] }));
  await t.test('fifty at a time', async () => {
    const json = await page('ann');
    assert.equal(json.organizations.length, 50);
    assert.equal(typeof json.next, 'string');
  });
  for (const take of [1, 7, 64, 65, 100]) {
    await t.test(`all of them, ${take} at a time`, async () => {
      const pages = await walk('ann', take);
      assert.deepEqual(pages.flat(), ORGS);
      for (const p of pages.slice(0, -1)) assert.equal(p.length, take);
      assert.ok(pages.at(-1).length > 0, 'no empty page');
    });
  }
  await t.test('only one\'s own', async () => assert.deepEqual((await walk('ben', 10)).flat(), ORGS.filter((_, n) => n % 2)));
  await t.test('what is refused', async () => {
    for (const q of ['take=0', 'take=101', 'take=-1', 'take=x', 'take=', 'take=1.5', 'take=99999999999', 'from=x', 'from=!', `from=${'A'.repeat(600)}`])
      assert.equal((await session('ann').get(`${ORGANIZATIONS}?${q}`)).status, 400, q);
    const { next } = await page('ann', '?take=3');
    assert.equal((await session('ben').get(`${ORGANIZATIONS}?from=${next}`)).status, 400, 'somebody else\'s place');
    isProblem(await session('ann', 'read:me:consents').get(ORGANIZATIONS), 403, 'A0E-403-0002', /read:me:organizations/);
    isProblem(await d.anonymous().get(ORGANIZATIONS), 401, 'A0E-401-0002');
  });
  await t.test('membership ends at once, also between two pages', async () => {
    const s = session('ann');
    const { next } = (await s.want(200, 'GET', `${ORGANIZATIONS}?take=3`)).json;
    d.apply({ organizations: [{ id: ORGS[3], members: [id('ben')] }] });
    assert.deepEqual((await s.want(200, 'GET', `${ORGANIZATIONS}?take=2&from=${encodeURIComponent(next)}`)).json.organizations.map((o) => o.id), [ORGS[4], ORGS[5]]);
    d.apply({ organizations: [{ id: ORGS[3], members: [id('ann'), id('ben')] }] });
    assert.equal((await s.want(200, 'GET', `${ORGANIZATIONS}?take=2&from=${encodeURIComponent(next)}`)).json.organizations[0].id, ORGS[3]);
  });
});

/* SPDX-License-Identifier: Apache-2.0
 * Who may sign in where, and as whom: connections and their clients, hints, addresses that two people claim, deleted
 * users, and parameters that are none. */
import { assert, test, before, after, Daemon, DB, FACTORS, POLICY, client, grant, isProblem, user } from './lib/kit.mjs';
import { Browser, CALLBACK, PASSWORD } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import { SCOPES } from './lib/tokens.mjs';

const NARROW = 'Staff';
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;
const GRANTS = ['authorization_code', 'refresh_token', 'password'];
let d;
let app;
let me;
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  d.apply({
    connections: [{ name: DB, strategy: 'auth0', password_policy: POLICY }, { name: NARROW, strategy: 'auth0', enabled_clients: ['staff'] }],
    clients: [client('spa', { grant_types: GRANTS }), client('staff', { grant_types: GRANTS })],
    client_grants: ['spa', 'staff'].map((c) => grant(d.base, c)),
    users: [...['ann', 'ben', 'cid'].map((n) => user(id(n), { email: mail(n), password: PASSWORD })),
      user(id('stan'), { email: mail('stan'), connection: NARROW, password: PASSWORD }),
      user(id('early'), { email: mail('shared') }), user(id('owner'), { email: mail('shared'), email_verified: true, password: PASSWORD })],
  });
  d.secrets.add('password', PASSWORD);
  app = new App(d, 'spa');
});
after(() => d.stop());
const scope = ['openid', 'offline_access', ...SCOPES].join(' ');
const NOT_ENABLED = 'The user\'s connection is not enabled for this client.';

test('a connection\'s enabled_clients', async (t) => {
  const staff = new App(d, 'staff');
  const b = new Browser(d);
  const tokens = isIssued(await staff.exchange(await staff.code(mail('stan'), { scope, audience: me }, b)));
  await t.test('hold for the session of another client', async () => {
    const out = await b.authorize();
    assert.deepEqual([out.params?.error, out.params?.error_description], ['access_denied', NOT_ENABLED]);
  });
  await t.test('and for refresh tokens and codes from before', async () => {
    const { code } = (await b.authorize({}, 'staff')).params;
    const only = (enabled_clients) => d.apply({ connections: [{ name: NARROW, enabled_clients }] });
    only([]);
    isRefused(await staff.refresh(tokens.refresh_token), 403, 'access_denied', NOT_ENABLED);
    isRefused(await staff.exchange(code), 403, 'access_denied', NOT_ENABLED);
    only(['staff']);
    isIssued(await staff.refresh(tokens.refresh_token));
  });
});

test('id_token_hint', async (t) => {
  const b = new Browser(d);
  const ann = isIssued(await app.exchange(await app.code(mail('ann'), { scope }, b)));
  const ben = isIssued(await app.exchange(await app.code(mail('ben'), { scope })));
  const ask = (hint, over = {}) => b.authorize({ id_token_hint: hint, ...over });
  await t.test('of who is signed in', async () => assert.ok((await ask(ann.id_token, { prompt: 'none' })).params.code));
  await t.test('of somebody else, silently', async () => assert.equal((await ask(ben.id_token, { prompt: 'none' })).params.error, 'login_required'));
  await t.test('of somebody else: they have to sign in', async () => {
    const page = await ask(ben.id_token);
    assert.equal(page.title, 'Sign in');
    assert.equal((await b.login(page, mail('ann'))).params.error, 'login_required', 'and nobody in their place');
    assert.ok((await b.login(await ask(ben.id_token), mail('ben'))).params.code);
  });
  await t.test('that is none', async () => {
    for (const hint of ['x', ann.access_token, `${ann.id_token.slice(0, -4)}AAAA`]) assert.equal((await ask(hint)).params.error, 'invalid_request');
    assert.equal((await b.authorize({ id_token_hint: ann.id_token }, 'staff')).params.error, 'invalid_request', 'of another client');
  });
});

test('an address that two people claim is who has shown it to be theirs', async () => {
  const tokens = isIssued(await app.password(mail('shared'), { scope: 'openid email' }));
  const u = (await app.get('/userinfo', `Bearer ${tokens.access_token}`)).json;
  assert.equal(u.sub, id('owner'));
});

test('a token of a user who was deleted is not the next one\'s', async () => {
  const tokens = isIssued(await app.password(mail('cid'), { scope, audience: me }));
  assert.equal((await d.bearer(tokens.access_token).get(FACTORS)).status, 200);
  d.ok('user', 'delete', id('cid'));
  d.advance(120000);
  d.apply({ users: [user(id('cid'), { email: mail('cid'), password: PASSWORD })] });
  isProblem(await d.bearer(tokens.access_token).get(FACTORS), 401, 'A0E-401-0003');
  const again = isIssued(await app.password(mail('cid'), { scope, audience: me }));
  assert.equal((await d.bearer(again.access_token).get(FACTORS)).status, 200);
});

test('parameters', async (t) => {
  await t.test('online_access beside offline_access', async () => {
    const out = await new Browser(d).authorize({ scope: 'openid online_access offline_access' });
    assert.deepEqual([out.params.error, out.params.error_description], ['invalid_request', 'Cannot request both online_access and offline_access scopes']);
  });
  await t.test('that are no text in JSON', async () => {
    for (const over of [{ scope: 5 }, { scope: ['openid'] }, { username: { a: 1 } }, { audience: true }])
      isRefused(await app.token({ grant_type: 'password', username: mail('ann'), password: PASSWORD, ...over }, { json: true }), 400, 'invalid_request', 'A parameter is not usable text.');
  });
  await t.test('callbacks that a browser would run, or that name a user', () => {
    for (const url of ['javascript:alert(1)', 'JavaScript:x', 'data:text/html,x', 'vbscript:x', 'https://a@evil.example/', 'https://a.example;x/', 'https://', 'https:///x'])
      assert.equal(d.tryApply({ clients: [client('bad', { callbacks: [url] })] }).code, 1, url);
    for (const url of ['https://a.example/cb?x=1', 'http://localhost:3000', 'com.example.app://cb', 'https://[::1]:8443/x', CALLBACK])
      d.apply({ clients: [client('good', { callbacks: [url] })] });
  });
  await t.test('post_logout_redirect_uri is compared whole', async () => {
    d.apply({ clients: [client('good', { callbacks: [CALLBACK], allowed_logout_urls: ['https://a.example/out'] })] });
    const go = (uri) => d.http({ path: `/oidc/logout?client_id=good&post_logout_redirect_uri=${encodeURIComponent(uri)}` });
    assert.equal((await go('https://a.example/out')).status, 302);
    for (const uri of ['https://a.example/out?x', 'https://a.example/out#x']) assert.equal((await go(uri)).status, 400, uri);
    assert.equal((await d.http({ path: `/v2/logout?client_id=good&returnTo=${encodeURIComponent('https://a.example/out?x')}` })).status, 302);
  });
});

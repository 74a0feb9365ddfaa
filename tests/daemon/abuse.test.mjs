/* SPDX-License-Identifier: Apache-2.0
 * Guessing from many addresses, message floods, endless accounts, cookie bombs, and what anybody could make the writer do. */
import { assert, test, before, after, Daemon, METHODS, client, grant, user } from './lib/kit.mjs';
import { Browser, PASSWORD, authorizeUrl } from './lib/login.mjs';
import { App, isIssued, isRefused } from './lib/oauth.mjs';
import * as authenticator from './lib/authenticator.mjs';

const WEBAUTHN = 'urn:okta:params:oauth:grant-type:webauthn';
const SCOPE = 'openid offline_access read:me:factors';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay'];
const mail = (n) => `${n}@example.com`;
let d;
let me;
let app;
before(async () => {
  d = await Daemon.start({ config: { trusted_proxies: ['127.0.0.1/32'],
    rate_limit: { enabled: true, user_login_failures: 6, sms_per_hour: 4, messages_per_address: 6, signups_per_address: 2, user_writes: 0 } }, state: { factors: { passkey: true } } });
  me = `${d.base}/me/`;
  app = new App(d, 'app');
  d.apply({ clients: [client('spa'), client('app', { app_type: 'native', grant_types: ['password', 'refresh_token', WEBAUTHN] })],
    client_grants: [grant(d.base, 'app'), grant(d.base, 'spa')], users: names.map((n) => user(`auth0|${n}`, { email: mail(n), password: PASSWORD })) });
  d.secrets.add('password', PASSWORD);
});
after(() => d.stop());
const from = (address) => ({ headers: { 'x-forwarded-for': address } });
const login = (name, address, password = PASSWORD) => app.password(name, { audience: me, scope: SCOPE, password }, from(address));
const rows = (type) => d.audit().map((l) => JSON.parse(l)).filter((r) => r.type === type).length;

test('a user is guessed at from many addresses', async (t) => {
  isIssued(await login(mail('ann'), '198.51.100.1'));
  for (let i = 0; i < 6; i++) isRefused(await login(i & 1 ? 'auth0|ann' : mail('ann'), `203.0.113.${i}`, 'wrong'), 403, 'invalid_grant');
  await t.test('strangers wait, with the right password, too', async () => isRefused(await login(mail('ann'), '203.0.113.99'), 429, 'too_many_attempts'));
  await t.test('the user does not, where they came from before', async () => isIssued(await login(mail('ann'), '198.51.100.1')));
  await t.test('a name that nobody has gets the same', async () => {
    for (let i = 0; i < 6; i++) isRefused(await login('nobody@example.com', `203.0.113.${i}`, 'wrong'), 403, 'invalid_grant');
    isRefused(await login('nobody@example.com', '203.0.113.99', 'wrong'), 429, 'too_many_attempts');
  });
  d.advance(3600000);
  isIssued(await login(mail('ann'), '203.0.113.99'));
});

test('messages to one destination, and for one address', async () => {
  const send = (who, to, address) => d.as(`auth0|${who}`).request('POST', METHODS, { type: 'phone', phone_number: to }, { headers: { 'x-forwarded-for': address }, lax: true });
  const got = [];
  for (const [i, n] of ['ann', 'ben', 'cid', 'dee', 'eve', 'fay'].entries()) got.push((await send(n, '+15551239999', `203.0.113.${i}`)).status);
  assert.deepEqual(got, [202, 202, 202, 202, 429, 429]);
  got.length = 0;
  for (const [i, n] of ['ann', 'ben', 'ann', 'ben', 'cid', 'cid', 'dee'].entries()) got.push((await send(n, `+1555124000${i}`, '203.0.113.77')).status);
  assert.deepEqual(got, [202, 202, 202, 202, 202, 202, 429]);
});

test('signing up', async (t) => {
  const begin = (n, address) => app.send('/passkey/register', { user_profile: { email: `new${n}@example.com` } }, { json: true, ...from(address) });
  const finish = (r, address) => app.token({ grant_type: WEBAUTHN, auth_session: r.json.auth_session, scope: SCOPE, audience: me,
    authn_response: authenticator.create(r.json.authn_params_public_key, d.base, {}, new authenticator.Credential()) }, { json: true, ...from(address) });
  const waiting = await begin(9, '203.0.113.5');
  for (let i = 0; i < 2; i++) isIssued(await finish(await begin(i, '203.0.113.5'), '203.0.113.5'));
  await t.test('an address makes so many users an hour', async () => {
    assert.equal((await begin(3, '203.0.113.5')).status, 429);
    assert.equal((await finish(waiting, '203.0.113.5')).status, 429);
  });
  await t.test('nobody does where it is switched off', async () => {
    const late = await begin(5, '203.0.113.6');
    d.apply({ connections: [{ name: d.state.connections[0].name, options: { disable_signup: true } }] });
    isRefused(await begin(4, '203.0.113.6'), 403, 'access_denied', 'Public signup is disabled');
    isRefused(await finish(late, '203.0.113.6'), 403, 'access_denied', 'Public signup is disabled');
  });
});

test('one cookie for all logins of a browser', async () => {
  const b = new Browser(d);
  const first = await b.authorize();
  for (let i = 0; i < 20; i++) assert.equal((await b.raw('GET', authorizeUrl())).status, 302);
  const last = await b.authorize();
  assert.equal(b.jar.size, 1);
  for (const page of [first, last]) assert.ok((await b.login(page, mail('fay'))).params?.code);
  const other = new Browser(d);
  await other.authorize();
  const stranger = await other.raw('GET', first.url);
  assert.equal(stranger.status, 400);
});

test('refresh tokens that are no good leave one row a minute', async () => {
  const { refresh_token } = isIssued(await login(mail('ben'), '198.51.100.2'));
  assert.equal((await app.send('/oauth/revoke', { token: refresh_token })).status, 200);
  const before = rows('fertft');
  for (let i = 0; i < 8; i++) isRefused(await app.refresh(refresh_token, {}, from(`203.0.113.${i}`)), 403, 'invalid_grant');
  assert.equal(rows('fertft'), before + 1);
  d.advance(61000);
  isRefused(await app.refresh(refresh_token), 403, 'invalid_grant');
  assert.equal(rows('fertft'), before + 2);
});

test('forms of one login, and what it may hold', async () => {
  const b = new Browser(d);
  const page = await b.authorize();
  const f = page.forms.find((x) => x.fields.action?.value === 'password');
  const form = { ...Object.fromEntries(Object.entries(f.fields).map(([k, a]) => [k, a.value ?? ''])), action: 'restart' };
  let last;
  for (let i = 0; i <= 60; i++) last = await b.raw('POST', f.action, { form });
  assert.equal(last.status, 429, last.text);
  assert.ok(Number(last.headers['retry-after']) >= 1);
  assert.equal((await b.raw('GET', authorizeUrl({ state: 'x'.repeat(2000) }))).status, 302);
  assert.equal((await b.raw('GET', authorizeUrl({ state: 'x'.repeat(3000) }))).status, 400);
});

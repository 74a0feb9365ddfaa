/* SPDX-License-Identifier: Apache-2.0
 * What a policy asks for cannot be got around: by a factor it does not name, by scopes asked for beside others, by a code
 * kept for later, or by a refresh. */
import { assert, test, before, after, Daemon, client, grant, user } from './lib/kit.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, GRANT, claims } from './lib/oauth.mjs';

const GRANTS = ['authorization_code', 'password', GRANT.realm, 'refresh_token'];
const mail = (n) => `${n}@example.com`;
const id = (n) => `auth0|${n}`;
const READ = 'read:me:factors';
const DELETE = 'delete:me:authentication_methods';
let d;
let me;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { email_per_hour: 100 } } });
  me = `${d.base}/me/`;
  const names = ['ruled', 'mixed', 'fresh', 'plain', 'other'];
  d.apply({
    clients: names.map((n) => client(n, { app_type: 'native', grant_types: GRANTS })),
    client_grants: names.map((n) => grant(d.base, n)),
    policies: [
      { client_id: 'ruled', scope: [READ], require: ['otp'], max_age: 900 },
      { client_id: 'mixed', scope: [READ], skip: true },
      { client_id: 'mixed', scope: [DELETE], require: ['otp'], max_age: 60 },
      { client_id: 'fresh', scope: [DELETE], require: ['otp'], max_age: 60 },
    ],
    organizations: [{ id: 'org_acme', name: 'acme', members: [id('ida')] }],
    users: ['ben', 'cid', 'ida'].map((n) => user(id(n), { email: mail(n), password: PASSWORD }))
      .concat([user(id('vic'), { email: mail('vic'), email_verified: true, password: PASSWORD })]),
  });
  d.secrets.add('password', PASSWORD);
});
after(() => d.stop());
const app = (n) => new App(d, n);

async function byEmail(a, res, to) {
  const ch = await a.send('/mfa/challenge', { mfa_token: res.json.mfa_token, challenge_type: 'oob' }, { json: true });
  const { code } = await d.spool.take({ channel: 'email', to });
  return a.token({ grant_type: GRANT.oob, mfa_token: res.json.mfa_token, oob_code: ch.json.oob_code, binding_code: code });
}

test('a factor that the rule does not name brings no token', async () => {
  const a = app('ruled');
  const r = await a.password(mail('vic'), { audience: me, scope: `openid offline_access ${READ}` });
  assert.equal(r.json.error, 'mfa_required');
  const t = await byEmail(a, r, mail('vic'));
  assert.equal(t.status, 403, t.text);
  assert.equal(t.json.access_token, undefined);
});

test('a rule that lets one scope off does not let off another beside it', async () => {
  const a = app('mixed');
  for (const scope of [DELETE, `${READ} ${DELETE}`]) assert.equal((await a.password(mail('ben'), { audience: me, scope })).json.error, 'mfa_required', scope);
  assert.equal((await a.password(mail('ben'), { audience: me, scope: READ })).status, 200);
});

test('a factor shown long ago is not made fresh by another one', async () => {
  const api = d.as(id('cid'), { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });
  const totp = await api.addTotp();
  await api.addEmail(mail('cid'));
  d.advance(31000);
  const a = app('fresh');
  const r = await a.password(mail('cid'), { audience: me, scope: `openid offline_access ${DELETE} ${READ}` });
  const t = await a.token({ grant_type: GRANT.otp, mfa_token: r.json.mfa_token, otp: api.code(totp.secret) });
  assert.equal(t.status, 200, t.text);
  d.apply({ api: { default_policy: { require_2fa: true } } });
  d.advance(24 * 3600000);
  const n = await a.refresh(t.json.refresh_token, { scope: READ });
  assert.equal(n.json.error, 'mfa_required', n.text);
  const e = await byEmail(a, n, mail('cid'));
  assert.equal(e.status, 200, e.text);
  const again = await a.refresh(e.json.refresh_token, { scope: `${READ} ${DELETE}` });
  d.apply({ api: { default_policy: { require_2fa: false } } });
  assert.equal(again.json.error, 'mfa_required', again.text);
});

test('a refresh asks for consent, membership and the scopes of the login again', async (t) => {
  const a = app('plain');
  const r = await a.password(mail('ida'), { scope: 'openid offline_access', organization: 'acme' });
  assert.equal(r.status, 200, r.text);
  let token = r.json.refresh_token;
  await t.test('no OIDC scope that the login did not have', async () => {
    const x = await a.refresh(token, { audience: me, scope: `openid email ${READ}` });
    assert.equal(x.status, 200, x.text);
    token = x.json.refresh_token;
    assert.equal(x.json.scope, `openid ${READ}`);
    assert.equal(claims(x.json.id_token).email, undefined);
  });
  await t.test('consent', async () => {
    d.apply({ api: { allow_skipping_user_consent: false } });
    const x = await a.refresh(token, { audience: me, scope: READ });
    d.apply({ api: { allow_skipping_user_consent: true } });
    assert.deepEqual([x.status, x.json.error], [403, 'consent_required']);
  });
  await t.test('membership', async () => {
    d.apply({ organizations: [{ id: 'org_acme', members: [] }] });
    const x = await a.refresh(token);
    d.apply({ organizations: [{ id: 'org_acme', members: [id('ida')] }] });
    assert.deepEqual([x.status, x.json.error], [403, 'access_denied']);
  });
});

test('a connection that is not enabled for the client has no users for it', async () => {
  d.apply({ connections: [{ name: 'Username-Password-Authentication', enabled_clients: ['other'] }] });
  const no = await app('plain').password(mail('ben'), { scope: 'openid' });
  const yes = await app('other').password(mail('ben'), { scope: 'openid' });
  d.apply({ connections: [{ name: 'Username-Password-Authentication', enabled_clients: null }] });
  assert.deepEqual([no.status, no.json.error_description], [403, 'Wrong email or password.']);
  assert.equal(yes.status, 200, yes.text);
});

test('nobody\'s codes and tokens leave no audit row', async () => {
  const before_ = d.audit().length;
  for (let i = 0; i < 5; i++) {
    await app('plain').token({ grant_type: 'refresh_token', refresh_token: `v1.${'x'.repeat(22)}.1.${'y'.repeat(43)}` });
    await app('plain').token({ grant_type: 'authorization_code', code: 'z'.repeat(43), redirect_uri: 'http://localhost:3000/callback' });
  }
  assert.equal(d.audit().length, before_);
});

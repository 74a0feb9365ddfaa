/* SPDX-License-Identifier: Apache-2.0
 * The token endpoint and what stands around it: discovery, client authentication, codes, refresh tokens, scopes. */
import crypto from 'node:crypto';
import { assert, test, before, after, ALL, Daemon, FACTORS, Key, ORIGIN, SCOPES, client, grant, user } from './lib/kit.mjs';
import { Browser, CALLBACK, PASSWORD, authorizeUrl } from './lib/login.mjs';
import { App, GRANT, basic, claims, header, isIssued, isRefused } from './lib/oauth.mjs';

const SECOND = 1000;
const DAY = 86400 * SECOND;
const SECRET = 'Zq7 web+secret/%&=:of the tests';
const ORDERS = 'https://orders.example/api';
const BOOKS = 'https://books.example/api';
const UNKNOWN = 'Unknown or invalid refresh token.';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal', 'ida', 'jim', 'kay', 'lea', 'max', 'nan', 'oli', 'pam'];
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;
const keys = ['RS256', 'ES256', 'PS256'].map((alg) => new Key(alg));
const EMBEDDED = ['password', GRANT.realm, 'refresh_token', 'authorization_code'];

let d;
let me;
const apps = {};
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  const web = (client_id, over = {}) => client(client_id, { app_type: 'regular_web', client_secret: SECRET, grant_types: EMBEDDED, ...over });
  const pub = (client_id, refresh_token, over = {}) => client(client_id, { app_type: 'native', grant_types: EMBEDDED, ...(refresh_token ? { refresh_token } : {}), ...over });
  const clients = [client('spa'), web('web'), web('basic', { token_endpoint_auth_method: 'client_secret_basic' }),
    web('post', { token_endpoint_auth_method: 'client_secret_post' }), client('two', { callbacks: [CALLBACK, `${ORIGIN}/second`] }),
    web('jwt', { client_secret: undefined, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: keys.map((k) => k.jwk()) } }),
    pub('app'), pub('fixed', { rotation_type: 'non-rotating' }), pub('lenient', { rotation_type: 'rotating', leeway: 30 }),
    pub('brief', { rotation_type: 'rotating', token_lifetime: 1000, idle_token_lifetime: 400 }),
    pub('endless', { rotation_type: 'rotating', expiration_type: 'non-expiring', leeway: 0 }), pub('mrrt', { rotation_type: 'non-rotating',
      policies: [{ audience: me, scope: ['read:me:factors', 'delete:me:authentication_methods', 'made:up'] }, { audience: ORDERS, scope: ['read:orders'] }] }),
    pub('empty', { rotation_type: 'non-rotating', policies: [] }), pub('wide', { rotation_type: 'non-rotating' }), pub('third', undefined, { is_first_party: false }),
    pub('machine', undefined, { grant_types: ['client_credentials'] }), pub('ungranted'), web('idle', { grant_types: [] })];
  d.apply({
    clients, users: [...names.map((n) => user(id(n), { email: mail(n), password: PASSWORD })), user('auth0|gone', { email: 'gone@example.com', password: PASSWORD, blocked: true }),
      user(id('rob'), { email: mail('rob'), password: PASSWORD, roles: ['member'], permissions: ['update:me:authentication_methods'] })],
    client_grants: [...['spa', 'web', 'basic', 'post', 'jwt', 'two', 'app', 'fixed', 'lenient', 'brief', 'endless', 'mrrt', 'empty', 'wide', 'third'].map((c) => grant(d.base, c)),
      ...['mrrt', 'empty', 'wide'].map((c) => ({ client_id: c, audience: ORDERS, subject_type: 'user', scope: ['read:orders', 'write:orders'] })),
      { client_id: 'mrrt', audience: BOOKS, subject_type: 'user', scope: ['read:books'] }],
  });
  for (const c of clients) apps[c.client_id] = new App(d, c.client_id, c.client_secret ? { secret: c.client_secret } : {});
  apps.basic.auth = 'basic';
  Object.assign(apps.jwt, { auth: 'jwt', key: keys[0] });
});
after(() => d.stop());

const audit = (type, who) => d.audit(id(who)).map((l) => JSON.parse(l)).filter((r) => r.type === type).length;
const scopes = (json) => json.scope.split(' ').sort();
/* A refresh token of a fresh login by password. */
async function family(app, who, over = {}) {
  return isIssued(await app.password(mail(who), { audience: me, scope: 'openid offline_access read:me:factors', ...over }));
}
/* A request that is refused only after the client has shown who it is. */
const knock = (app, over = {}, opts = {}) => app.token({ grant_type: 'refresh_token', refresh_token: 'x', ...over }, opts);
const isIn = (res) => isRefused(res, 403, 'invalid_grant', UNKNOWN);
const isOut = (res) => isRefused(res, 401, 'invalid_client');

test('discovery', async () => {
  const [a, b] = await Promise.all(['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'].map((path) => d.http({ path })));
  assert.equal(a.status, 200);
  assert.match(a.headers['content-type'], /^application\/json/);
  assert.deepEqual(a.json, b.json);
  assert.deepEqual(a.json, {
    issuer: `${d.base}/`, authorization_endpoint: `${d.base}/authorize`, token_endpoint: `${d.base}/oauth/token`, userinfo_endpoint: `${d.base}/userinfo`,
    jwks_uri: `${d.base}/.well-known/jwks.json`, revocation_endpoint: `${d.base}/oauth/revoke`, introspection_endpoint: `${d.base}/oauth/introspect`,
    end_session_endpoint: `${d.base}/oidc/logout`, mfa_challenge_endpoint: `${d.base}/mfa/challenge`,
    scopes_supported: ['openid', 'profile', 'email', 'phone', 'offline_access'], response_types_supported: ['code'],
    response_modes_supported: ['query', 'fragment', 'form_post', 'web_message'],
    grant_types_supported: ['authorization_code', 'refresh_token', 'password', GRANT.realm, 'urn:okta:params:oauth:grant-type:webauthn', GRANT.otp, GRANT.oob, GRANT.recovery, GRANT.vault],
    code_challenge_methods_supported: ['S256'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['RS256', 'ES256'],
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'RS384', 'PS256', 'ES256', 'ES384'],
    dpop_signing_alg_values_supported: ['ES256', 'RS256', 'ES384', 'PS256', 'EdDSA'],
    claims_supported: ['acr', 'amr', 'aud', 'auth_time', 'email', 'exp', 'email_verified', 'family_name', 'given_name', 'iat', 'iss', 'name', 'nickname', 'nonce', 'org_id', 'picture', 'phone_number', 'sid', 'sub'],
    authorization_response_iss_parameter_supported: true, request_parameter_supported: false, request_uri_parameter_supported: false,
  });
});

test('without the token service none of its routes is there', async () => {
  const o = await Daemon.start({ config: { token_service: false } });
  try {
    const get = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/authorize', '/userinfo', '/mfa/authenticators', '/u/login', '/u/assets/x', '/v2/logout', '/oidc/logout'];
    const post = ['/oauth/token', '/oauth/revoke', '/oauth/introspect', '/userinfo', '/mfa/challenge', '/mfa/associate', '/passkey/challenge', '/authorize', '/u/login', '/oidc/logout'];
    for (const path of get) assert.equal((await o.http({ path })).status, 404, path);
    for (const path of post) assert.equal((await o.http({ method: 'POST', path, headers: { 'content-type': 'application/json' }, body: '{}' })).status, 404, path);
    await o.session().want(200, 'GET', FACTORS);
  } finally { await o.stop(); }
});

test('client authentication', async (t) => {
  await t.test('public', async () => {
    isIn(await knock(apps.spa));
    isOut(await knock(apps.spa, { client_secret: SECRET }));
    isOut(await knock(apps.spa, { client_id: undefined }, { headers: { authorization: basic('spa', '') } }));
  });
  await t.test('nobody, or somebody unknown', async () => {
    isRefused(await knock(apps.spa, { client_id: undefined }), 400, 'invalid_request', 'Missing required parameter: client_id');
    isRefused(await knock(apps.spa, { client_id: 'nobody' }), 401, 'invalid_client', 'Client authentication failed');
    isRefused(await knock(apps.spa, { client_id: 'nobody', client_secret: SECRET }), 401, 'invalid_client', 'Client authentication failed');
  });
  await t.test('in the body', async () => {
    isIn(await knock(apps.web));
    isIn(await knock(apps.post));
    isIn(await knock(apps.web, {}, { json: true }));
    for (const client_secret of [undefined, '', 'x', `${SECRET} `, SECRET.slice(1)]) isOut(await knock(apps.web, { client_secret }));
    isOut(await knock(apps.web, { client_id: 'post', client_secret: 'x' }));
  });
  await t.test('in the header', async () => {
    isIn(await knock(apps.basic));
    isIn(await knock(apps.basic, { client_id: 'basic' }));
    const web = (authorization, over = {}) => knock(apps.web, { client_id: undefined, client_secret: undefined, ...over }, { headers: { authorization } });
    isIn(await web(basic('web', SECRET)));
    isIn(await web(basic('web', SECRET).replace('Basic', 'bAsIc')));
    for (const bad of [basic('web', 'x'), basic('web', ''), basic('nobody', SECRET), 'Basic !!!', `Basic ${Buffer.from('web').toString('base64')}`, `Basic ${Buffer.from('web:%zz').toString('base64')}`]) {
      const res = await web(bad);
      isOut(res);
      assert.match(res.headers['www-authenticate'], /^Basic /);
    }
  });
  await t.test('only as registered', async () => {
    isOut(await knock(apps.post, { client_id: undefined, client_secret: undefined }, { headers: { authorization: basic('post', SECRET) } }));
    isOut(await new App(d, 'basic', { secret: SECRET }).refresh('x'));
    isOut(await new App(d, 'jwt', { secret: SECRET }).refresh('x'));
    isOut(await new App(d, 'jwt').refresh('x'));
  });
  await t.test('two ways at once', async () => {
    isRefused(await knock(apps.web, {}, { headers: { authorization: basic('web', SECRET) } }), 400, 'invalid_request');
    isRefused(await knock(apps.jwt, { client_secret: SECRET }), 400, 'invalid_request');
    isRefused(await knock(apps.jwt, {}, { headers: { authorization: basic('jwt', SECRET) } }), 400, 'invalid_request');
    isRefused(await knock(apps.basic, { client_id: 'web' }), 400, 'invalid_request');
  });
  await t.test('a signed assertion', async (u) => {
    const shown = (client_assertion, over = {}) => knock(apps.jwt, { client_assertion, ...over });
    const sign = (over, how) => apps.jwt.assertion(over, how);
    for (const key of keys) await u.test(key.alg, async () => isIn(await shown(sign({}, { key }))));
    for (const aud of [`${d.base}/`, `${d.base}/oauth/token`, [`${d.base}/`]]) isIn(await shown(sign({ aud })));
    isIn(await shown(sign(), { client_id: undefined }));
    isIn(await shown(sign({ iat: undefined })));
    const now = Math.floor(d.now() / 1000);
    const hmac = (() => {
      const input = sign().split('.').slice(1, 2)[0];
      const h = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT' })).toString('base64url');
      const pem = keys[0].publicKey.export({ type: 'spki', format: 'pem' });
      return `${h}.${input}.${crypto.createHmac('sha256', pem).update(`${h}.${input}`).digest('base64url')}`;
    })();
    const bad = {
      'another key': sign({}, { key: new Key('RS256', { kid: keys[0].kid }) }), 'no signature': `${sign().split('.').slice(0, 2).join('.')}.`,
      'alg none': `${Buffer.from('{"alg":"none"}').toString('base64url')}.${sign().split('.')[1]}.`, HMAC: hmac,
      'another issuer': sign({ iss: 'web' }), 'another subject': sign({ sub: 'web' }), 'no issuer': sign({ iss: undefined }),
      'another audience': sign({ aud: 'https://else.example/' }), 'the API': sign({ aud: me }), 'several audiences': sign({ aud: ['https://else.example/', `${d.base}/`] }),
      'this server twice': sign({ aud: [`${d.base}/`, `${d.base}/oauth/token`] }), 'six minutes': sign({ exp: now + 360 }), 'two minutes without iat': sign({ iat: undefined, exp: now + 120 }),
      'no audience': sign({ aud: undefined }),
      'lapsed': sign({ exp: now - 120 }), 'too long a life': sign({ exp: now + 90000 }), 'no end': sign({ exp: undefined }), 'not yet': sign({ nbf: now + 600 }),
      'no jti': sign({ jti: undefined }), 'an empty jti': sign({ jti: '' }), 'nonsense': 'x.y.z', 'one part': 'x',
    };
    for (const [what, assertion] of Object.entries(bad)) await u.test(what, async () => isOut(await shown(assertion)));
    isOut(await shown(sign(), { client_assertion_type: undefined }));
    isOut(await shown(sign(), { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }));
    isOut(await shown(sign(), { client_id: 'web' }));
    await u.test('once', async () => {
      const one = sign({ jti: 'the-same' });
      const many = await Promise.all(Array.from({ length: 6 }, () => shown(one)));
      assert.equal(many.filter((r) => r.status === 403).length, 1);
      for (const res of many.filter((r) => r.status !== 403)) isOut(res);
      isOut(await shown(sign({ jti: 'the-same' })));
    });
  });
});

test('bodies', async (t) => {
  const post = (raw, type = 'application/x-www-form-urlencoded', over = {}) => apps.spa.token({}, { raw, headers: { 'content-type': type }, ...over });
  const good = 'grant_type=refresh_token&client_id=spa&refresh_token=x';
  const json = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: 'x' };
  await t.test('taken', async () => {
    isIn(await post(good));
    isIn(await post(good, 'application/x-www-form-urlencoded; charset=UTF-8'));
    isIn(await post(`${good}&unknown=1&unknown=2&offline_access=`));
    isIn(await post(JSON.stringify(json), 'application/json'));
    isIn(await post(JSON.stringify({ ...json, offline_access: '', audience: null, ext: { a: [1] } }), 'application/json; charset=utf-8'));
  });
  await t.test('refused', async () => {
    const bad = [[`${good}&client_id=spa`], [`${good}&refresh_token=`], ['grant_type=%ff&client_id=spa'], ['grant_type=%zz&client_id=spa'], ['{', 'application/json'], ['[]', 'application/json'], ['"x"', 'application/json'],
      [`{"client_id":"spa","client_id":"spa","grant_type":"x"}`, 'application/json'], ['{"client_id":"s\\u0000pa"}', 'application/json']];
    for (const [raw, type] of bad) {
      const res = await post(raw, type);
      assert.equal(res.status, 400, `${raw}: ${res.text}`);
      assert.equal(res.json.error, 'invalid_request', raw);
    }
    isRefused(await post(good, 'text/plain'), 415, 'invalid_request');
    isRefused(await post('', 'application/json'), 400, 'invalid_request', 'Missing required parameter: client_id');
    for (const method of ['GET', 'PUT', 'DELETE']) assert.equal((await d.http({ method, path: '/oauth/token' })).status, 405);
  });
  await t.test('grants', async () => {
    isRefused(await apps.spa.token({}), 400, 'invalid_request', 'Missing required parameter: grant_type');
    isRefused(await apps.spa.token({ grant_type: 'implicit' }), 400, 'unsupported_grant_type', 'Grant type not supported');
    for (const grant_type of ['password', GRANT.realm, GRANT.vault]) isRefused(await apps.spa.token({ grant_type }), 403, 'unauthorized_client', /not allowed for the client/);
    isRefused(await apps.idle.token({ grant_type: 'authorization_code', code: 'x' }), 403, 'unauthorized_client');
    isRefused(await apps.spa.token({ grant_type: 'authorization_code' }), 400, 'invalid_request', 'Missing required parameter: code');
    isRefused(await apps.spa.token({ grant_type: 'refresh_token' }), 400, 'invalid_request', 'Missing Refresh Token');
    isRefused(await apps.app.token({ grant_type: 'password', username: mail('ann') }), 400, 'invalid_request', 'Missing required parameter: password');
    isRefused(await apps.app.token({ grant_type: 'password', password: 'x' }), 400, 'invalid_request', 'Missing required parameter: username');
  });
  await t.test('client credentials', async () => {
    isRefused(await apps.machine.token({ grant_type: 'client_credentials', audience: me, scope: ALL }), 403, 'access_denied');
    isRefused(await apps.web.token({ grant_type: 'client_credentials', audience: me }), 403, 'access_denied');
    isRefused(await apps.web.token({ grant_type: 'client_credentials', audience: ORDERS }), 400, 'unsupported_grant_type');
    isRefused(await apps.web.token({ grant_type: 'client_credentials' }), 400, 'unsupported_grant_type');
  });
  await t.test('a page of another origin', async () => {
    const res = await knock(apps.spa, {}, { headers: { origin: 'https://evil.example' } });
    assert.equal(res.status, 403);
    assert.equal(res.headers['access-control-allow-origin'], undefined);
    const own = await knock(apps.spa, {}, { headers: { origin: ORIGIN } });
    isIn(own);
    assert.equal(own.headers['access-control-allow-origin'], ORIGIN);
    assert.match(own.headers['access-control-expose-headers'], /dpop-nonce/i);
  });
});

test('the code grant', async (t) => {
  const b = new Browser(d);
  await b.signIn(mail('ann'));
  const code = async (over = {}, app = apps.spa) => (await b.authorize({ redirect_uri: app.redirect_uri, ...over }, app.client_id)).params.code;
  const bad = (res, why = 'Invalid authorization code') => isRefused(res, 403, 'invalid_grant', why);
  await t.test('tokens and their claims', async () => {
    const before = Math.floor(d.now() / 1000);
    const json = isIssued(await apps.spa.exchange(await code({ audience: me, scope: `openid profile email offline_access read:me:factors made:up` })));
    assert.deepEqual(Object.keys(json).sort(), ['access_token', 'expires_in', 'id_token', 'refresh_token', 'scope', 'token_type']);
    assert.equal(json.scope, 'openid profile email offline_access read:me:factors');
    assert.equal(json.expires_in, 86400);
    const at = claims(json.access_token);
    assert.deepEqual([header(json.access_token).typ, header(json.access_token).alg], ['at+jwt', 'RS256']);
    assert.deepEqual(at.aud, [me, `${d.base}/userinfo`]);
    assert.deepEqual([at.iss, at.sub, at.client_id, at.azp, at.scope, at.exp - at.iat], [`${d.base}/`, id('ann'), 'spa', 'spa', json.scope, 86400]);
    assert.ok(at.iat >= before - 1 && at.jti.length > 20);
    assert.equal('cnf' in at || 'gty' in at || 'permissions' in at, false);
    const it = claims(json.id_token);
    assert.equal(header(json.id_token).alg, 'RS256');
    assert.deepEqual([it.iss, it.sub, it.aud, it.nonce, it.email, it.email_verified, it.name], [`${d.base}/`, id('ann'), 'spa', 'n0nce', mail('ann'), false, 'User ann']);
    assert.deepEqual(it.amr, ['pwd']);
    assert.equal('acr' in it, false);
    assert.equal(typeof it.auth_time, 'number');
    assert.ok(it.exp > it.iat && it.iat >= before - 1);
    const jwks = (await d.http({ path: '/.well-known/jwks.json' })).json;
    const jwk = jwks.keys.find((k) => k.kid === header(json.id_token).kid);
    const [h, p, s] = json.id_token.split('.');
    assert.ok(crypto.verify('sha256', Buffer.from(`${h}.${p}`), { key: jwk, format: 'jwk' }, Buffer.from(s, 'base64url')));
    await d.bearer(json.access_token).want(200, 'GET', FACTORS);
    assert.equal((await d.bearer(json.access_token).get('/me/v1/authentication-methods')).status, 403);
    assert.equal(audit('seacft', 'ann'), 1);
  });
  await t.test('less is asked for', async () => {
    const json = isIssued(await apps.spa.exchange(await code({ audience: me, scope: 'read:me:factors', nonce: null }), {}, { json: true }));
    assert.deepEqual(Object.keys(json).sort(), ['access_token', 'expires_in', 'scope', 'token_type']);
    assert.equal(claims(json.access_token).aud, me);
    const none = isIssued(await apps.spa.exchange(await code({ scope: 'openid', nonce: null })));
    assert.equal(claims(none.access_token).aud, `${d.base}/userinfo`);
    assert.equal('nonce' in claims(none.id_token) || 'email' in claims(none.id_token) || 'name' in claims(none.id_token), false);
    isIssued(await apps.spa.exchange(await code({ scope: null, audience: me })));
  });
  await t.test('the verifier', async () => {
    const c = await code();
    for (const code_verifier of [undefined, 'x', crypto.randomBytes(32).toString('base64url')]) bad(await apps.spa.exchange(c, { code_verifier }), 'Failed to verify code verifier');
    isIssued(await apps.spa.exchange(c));
  });
  await t.test('a verifier that nobody asked for', async () => {
    const over = { code_challenge: null, code_challenge_method: null };
    const c = await code(over, apps.web);
    bad(await apps.web.exchange(c), 'Failed to verify code verifier');
    isIssued(await apps.web.exchange(c, { code_verifier: undefined }));
    isIssued(await apps.web.exchange(await code({}, apps.web)));
    const out = await b.authorize(over);
    assert.equal(out.params?.error, 'invalid_request', 'a public client needs a challenge');
  });
  await t.test('the redirect URI', async () => {
    const c = await code();
    for (const redirect_uri of [`${CALLBACK}/`, `${CALLBACK}?x`, ORIGIN, 'x']) bad(await apps.spa.exchange(c, { redirect_uri }), /redirect_uri/);
    bad(await apps.spa.exchange(c, { redirect_uri: undefined }), /redirect_uri/);
    isIssued(await apps.spa.exchange(c));
    const implied = await code({ redirect_uri: null });
    isIssued(await apps.spa.exchange(implied, { redirect_uri: undefined }));
    const two = await code({}, apps.two);
    bad(await apps.two.exchange(two, { redirect_uri: undefined }), /redirect_uri/);
    bad(await apps.two.exchange(two, { redirect_uri: `${ORIGIN}/second` }), /redirect_uri/);
    isIssued(await apps.two.exchange(two));
  });
  await t.test('another client', async () => {
    const c = await code();
    bad(await apps.two.exchange(c));
    bad(await apps.web.exchange(c));
    const json = isIssued(await apps.spa.exchange(c));
    bad(await apps.two.exchange(c));
    assert.ok(json.access_token);
  });
  await t.test('lapses', async () => {
    const [on, off] = [await code(), await code()];
    d.advance(55 * SECOND);
    isIssued(await apps.spa.exchange(on));
    d.advance(6 * SECOND);
    bad(await apps.spa.exchange(off));
  });
  await t.test('once; a second time takes back what it brought', async () => {
    const c = await code({ scope: 'openid offline_access' });
    const json = isIssued(await apps.spa.exchange(c));
    bad(await apps.two.exchange(c), 'Invalid authorization code');
    const next = isIssued(await apps.spa.refresh(json.refresh_token));
    bad(await apps.spa.exchange(c));
    bad(await apps.spa.refresh(next.refresh_token), UNKNOWN);
    const last = await code({ scope: 'openid offline_access' });
    const many = await Promise.all(Array.from({ length: 6 }, () => apps.spa.exchange(last)));
    const won = many.filter((r) => r.status === 200);
    assert.equal(won.length, 1);
    bad(await apps.spa.refresh(won[0].json.refresh_token), UNKNOWN);
  });
  await t.test('nonsense', async () => {
    for (const c of ['x', 'A'.repeat(43), 'A'.repeat(5000), '\u00e4']) bad(await apps.spa.exchange(c));
  });
  await t.test('the user is blocked in between', async () => {
    const c = await code({}, apps.spa);
    d.apply({ users: [{ user_id: id('ann'), blocked: true }] });
    bad(await apps.spa.exchange(c), /user is blocked/);
    d.apply({ users: [{ user_id: id('ann'), blocked: false }] });
  });
  await t.test('the organization', async () => {
    d.apply({ organizations: [{ id: 'org_acme', name: 'acme', display_name: 'Acme', members: [id('ben')] }] });
    const c = await apps.spa.code(mail('ben'), { organization: 'org_acme', scope: 'openid offline_access' });
    const json = isIssued(await apps.spa.exchange(c));
    assert.deepEqual([claims(json.id_token).org_id, claims(json.id_token).org_name, claims(json.access_token).org_id], ['org_acme', 'acme', 'org_acme']);
    assert.equal(claims(isIssued(await apps.spa.refresh(json.refresh_token)).id_token).org_id, 'org_acme');
    assert.equal(claims(isIssued(await apps.app.password(mail('ben'), { scope: 'openid', organization: 'org_acme' })).id_token).org_id, 'org_acme');
    isRefused(await apps.app.password(mail('cid'), { scope: 'openid', organization: 'org_acme' }), 403, 'access_denied');
    isRefused(await apps.app.password(mail('ben'), { scope: 'openid', organization: 'org_none' }), 403, 'access_denied');
  });
});

test('the password grants', async (t) => {
  const wrong = (res) => isRefused(res, 403, 'invalid_grant', 'Wrong email or password.');
  await t.test('tokens', async () => {
    const before = audit('s', 'cid');
    const json = await family(apps.app, 'cid');
    assert.equal(claims(json.access_token).gty, 'password');
    assert.deepEqual(claims(json.id_token).amr, ['pwd']);
    assert.equal(audit('s', 'cid'), before + 1);
    isIssued(await apps.app.password(mail('cid'), { grant_type: GRANT.realm, realm: 'Username-Password-Authentication' }));
    isIssued(await apps.app.password(mail('cid').toUpperCase(), {}, { json: true }));
  });
  await t.test('refused', async () => {
    wrong(await apps.app.password(mail('cid'), { password: 'Zq7-wrong' }));
    wrong(await apps.app.password('nobody@example.com'));
    wrong(await apps.app.password('x'.repeat(400)));
    wrong(await apps.app.password(mail('cid'), { password: 'x'.repeat(2000) }));
    wrong(await apps.app.password(mail('cid'), { grant_type: GRANT.realm, realm: 'elsewhere' }));
    wrong(await apps.app.password('gone@example.com', { password: 'Zq7-wrong' }));
    isRefused(await apps.app.password('gone@example.com'), 403, 'unauthorized', 'user is blocked');
  });
  await t.test('guessing ends', async () => {
    let last;
    for (let i = 0; i < 60 && last?.status !== 429; i++) last = await apps.app.password(mail('pam'), { password: `Zq7-wrong-${i}` });
    isRefused(last, 429, 'too_many_attempts');
    assert.match(last.headers['retry-after'], /^[1-9]\d*$/);
    isRefused(await apps.app.password(mail('pam')), 429, 'too_many_attempts');
    d.advance(20 * 60 * SECOND);
    isIssued(await apps.app.password(mail('pam')));
  });
});

test('refresh tokens that rotate', async (t) => {
  await t.test('one after the other', async () => {
    let json = await family(apps.app, 'dee');
    const seen = new Set([json.refresh_token]);
    const first = claims(json.id_token);
    for (let i = 0; i < 4; i++) {
      d.advance(10 * SECOND);
      json = isIssued(await apps.app.refresh(json.refresh_token, {}, { json: i % 2 === 1 }));
      assert.deepEqual([json.scope, claims(json.access_token).gty], ['openid offline_access read:me:factors', 'refresh_token']);
      assert.equal(claims(json.id_token).auth_time, first.auth_time);
      assert.equal('nonce' in claims(json.id_token), false);
      seen.add(json.refresh_token);
    }
    assert.equal(seen.size, 5);
    assert.equal(audit('sertft', 'dee'), 4);
  });
  await t.test('an old one ends the family', async () => {
    const a = await family(apps.app, 'dee');
    const b = isIssued(await apps.app.refresh(a.refresh_token));
    isRefused(await apps.app.refresh(a.refresh_token), 403, 'invalid_grant', UNKNOWN);
    isRefused(await apps.app.refresh(b.refresh_token), 403, 'invalid_grant', UNKNOWN);
    assert.equal(audit('ferrt', 'dee'), 1);
    isIssued(await apps.app.refresh((await family(apps.app, 'dee')).refresh_token));
  });
  await t.test('also when it asks for what it may not have', async () => {
    const a = await family(apps.app, 'dee');
    const b = isIssued(await apps.app.refresh(a.refresh_token));
    assert.equal((await apps.app.refresh(a.refresh_token, { audience: BOOKS })).status, 403);
    isRefused(await apps.app.refresh(b.refresh_token), 403, 'invalid_grant', UNKNOWN);
  });
  await t.test('many at once without leeway: one successor at most, and the family is over', async () => {
    const a = await family(apps.app, 'dee');
    const many = await Promise.all(Array.from({ length: 8 }, () => apps.app.refresh(a.refresh_token)));
    const won = many.filter((r) => r.status === 200);
    assert.equal(won.length, 1);
    for (const res of many.filter((r) => r.status !== 200)) isRefused(res, 403, 'invalid_grant', UNKNOWN);
    isRefused(await apps.app.refresh(won[0].json.refresh_token), 403, 'invalid_grant', UNKNOWN);
  });
  await t.test('many at once within the leeway: the same successor', async () => {
    const a = await family(apps.lenient, 'eve');
    const many = await Promise.all(Array.from({ length: 8 }, () => apps.lenient.refresh(a.refresh_token)));
    const next = new Set(many.map((r) => isIssued(r).refresh_token));
    assert.equal(next.size, 1);
    const [b] = next;
    assert.notEqual(b, a.refresh_token);
    d.advance(29 * SECOND);
    assert.equal(isIssued(await apps.lenient.refresh(a.refresh_token)).refresh_token, b);
    const c = isIssued(await apps.lenient.refresh(b)).refresh_token;
    assert.equal(isIssued(await apps.lenient.refresh(b)).refresh_token, c);
    isRefused(await apps.lenient.refresh(a.refresh_token), 403, 'invalid_grant', UNKNOWN);
    isRefused(await apps.lenient.refresh(c), 403, 'invalid_grant', UNKNOWN);
  });
  await t.test('after the leeway', async () => {
    const a = await family(apps.lenient, 'eve');
    const b = isIssued(await apps.lenient.refresh(a.refresh_token));
    d.advance(31 * SECOND);
    isRefused(await apps.lenient.refresh(a.refresh_token), 403, 'invalid_grant', UNKNOWN);
    isRefused(await apps.lenient.refresh(b.refresh_token), 403, 'invalid_grant', UNKNOWN);
  });
  await t.test('forged ones', async () => {
    const a = (await family(apps.app, 'eve')).refresh_token;
    const [v, fam, gen, mac] = a.split('.');
    const flipped = mac[0] === 'A' ? `B${mac.slice(1)}` : `A${mac.slice(1)}`;
    for (const bad of [[v, fam, '2', mac], [v, fam, `0${gen}`, mac], [v, fam, gen, flipped], ['v2', fam, gen, mac], [v, fam, '', mac], [v, fam, gen, mac.slice(1)], [v, fam, gen, `${mac}A`], [v, fam.slice(1), gen, mac],
      [v, fam, '99999999999', mac], [v, fam, '-1', mac], [v, '', '', ''], [a, a]])
      isIn(await apps.app.refresh(bad.join('.')));
    isIssued(await apps.app.refresh(a));
  });
  await t.test('of another client', async () => {
    const a = (await family(apps.app, 'eve')).refresh_token;
    isIn(await apps.lenient.refresh(a));
    isIssued(await apps.app.refresh(a));
  });
});

test('refresh tokens that stay', async () => {
  const a = await family(apps.fixed, 'fay');
  const many = await Promise.all(Array.from({ length: 4 }, () => apps.fixed.refresh(a.refresh_token)));
  for (const r of many) assert.equal(isIssued(r).refresh_token, a.refresh_token);
  d.advance(DAY);
  assert.equal(isIssued(await apps.fixed.refresh(a.refresh_token)).refresh_token, a.refresh_token);
  const w = isIssued(await apps.web.password(mail('fay'), { scope: 'openid offline_access' }));
  assert.equal(isIssued(await apps.web.refresh(w.refresh_token)).refresh_token, w.refresh_token, 'usual for who keeps a secret');
});

test('how long refresh tokens live', async (t) => {
  await t.test('without use', async () => {
    let a = await family(apps.brief, 'gus');
    d.advance(399 * SECOND);
    a = isIssued(await apps.brief.refresh(a.refresh_token));
    d.advance(401 * SECOND);
    isIn(await apps.brief.refresh(a.refresh_token));
  });
  await t.test('in all', async () => {
    let a = await family(apps.brief, 'gus');
    for (let i = 0; i < 3; i++) {
      d.advance(330 * SECOND);
      a = isIssued(await apps.brief.refresh(a.refresh_token));
    }
    d.advance(11 * SECOND);
    isIn(await apps.brief.refresh(a.refresh_token));
  });
  await t.test('for ever', async () => {
    const a = await family(apps.endless, 'gus');
    const b = await family(apps.app, 'gus');
    d.advance(800 * DAY);
    isIssued(await apps.endless.refresh(a.refresh_token));
    isIn(await apps.app.refresh(b.refresh_token));
  });
  await t.test('the oldest of too many gives way', async () => {
    const b = new Browser(d);
    await b.signIn(mail('gus'), { scope: 'openid offline_access' });
    const take = async () => isIssued(await apps.spa.exchange((await b.authorize({ scope: 'openid offline_access' })).params.code)).refresh_token;
    const tokens = [];
    for (let i = 0; i < 201; i++) tokens.push(await take());
    isIn(await apps.spa.refresh(tokens[0]));
    isIssued(await apps.spa.refresh(tokens[1]));
    isIssued(await apps.spa.refresh(tokens[200]));
  });
});

test('one refresh token, several audiences', async (t) => {
  const LOGIN = { audience: undefined, scope: 'openid profile offline_access' };
  await t.test('the grant is enough where there are no policies', async () => {
    const a = await family(apps.wide, 'hal', LOGIN);
    const own = isIssued(await apps.wide.refresh(a.refresh_token));
    assert.equal(claims(own.access_token).aud, `${d.base}/userinfo`);
    const api = isIssued(await apps.wide.refresh(a.refresh_token, { audience: me, scope: 'openid profile offline_access read:me:factors create:me:connected_accounts' }));
    assert.deepEqual(scopes(api), ['offline_access', 'openid', 'profile', 'read:me:factors'], 'what was asked for and may be had is echoed');
    assert.deepEqual(claims(api.access_token).aud, [me, `${d.base}/userinfo`]);
    assert.ok(api.id_token);
    await d.bearer(api.access_token).want(200, 'GET', FACTORS);
    const orders = isIssued(await apps.wide.refresh(a.refresh_token, { audience: ORDERS, scope: 'read:orders read:me:factors' }));
    assert.equal(orders.scope, 'read:orders');
    assert.equal(claims(orders.access_token).aud, ORDERS);
    assert.equal((await d.bearer(orders.access_token).get(FACTORS)).status, 401);
    const all = isIssued(await apps.wide.refresh(a.refresh_token, { audience: me }));
    for (const s of SCOPES) assert.ok(all.scope.includes(s), s);
    assert.equal(isIssued(await apps.wide.refresh(a.refresh_token)).scope, 'openid profile offline_access', 'the login is what it was');
  });
  await t.test('an OIDC scope that the login did not have', async () => {
    const a = await family(apps.wide, 'hal', { audience: me, scope: 'offline_access read:me:factors' });
    for (const audience of [me, ORDERS]) {
      const json = isIssued(await apps.wide.refresh(a.refresh_token, { audience, scope: 'openid email phone read:me:factors read:orders' }));
      assert.equal('id_token' in json, false);
      assert.equal(json.scope, audience === me ? 'read:me:factors' : 'read:orders');
    }
  });
  await t.test('the original audience keeps to what was granted', async () => {
    const a = await family(apps.wide, 'hal', { audience: me, scope: 'openid offline_access read:me:factors' });
    const json = isIssued(await apps.wide.refresh(a.refresh_token, { scope: ALL }));
    assert.equal(json.scope, 'read:me:factors');
    assert.equal(isIssued(await apps.wide.refresh(a.refresh_token, { audience: me, scope: ALL })).scope, 'read:me:factors');
    assert.equal(isIssued(await apps.wide.refresh(a.refresh_token, { audience: me, scope: 'made:up' })).scope, '');
  });
  await t.test('policies', async () => {
    const a = await family(apps.mrrt, 'ida', LOGIN);
    const api = isIssued(await apps.mrrt.refresh(a.refresh_token, { audience: me, scope: `openid profile offline_access ${ALL}` }));
    assert.deepEqual(scopes(api), ['delete:me:authentication_methods', 'offline_access', 'openid', 'profile', 'read:me:factors']);
    assert.deepEqual(scopes(isIssued(await apps.mrrt.refresh(a.refresh_token, { audience: me }))), scopes(api), 'without a scope: all of them');
    assert.deepEqual(scopes(isIssued(await apps.mrrt.refresh(a.refresh_token, { audience: ORDERS, scope: 'read:orders write:orders' }))), ['read:orders']);
    isRefused(await apps.mrrt.refresh(a.refresh_token, { audience: BOOKS }), 403, 'access_denied', /not authorized to access resource server/);
    const b = await family(apps.mrrt, 'ida', { audience: me, scope: 'openid offline_access read:me:authentication_methods' });
    assert.deepEqual(scopes(isIssued(await apps.mrrt.refresh(b.refresh_token))), ['delete:me:authentication_methods', 'offline_access', 'openid', 'read:me:authentication_methods', 'read:me:factors']);
  });
  await t.test('an empty list of policies', async () => {
    const a = await family(apps.empty, 'ida', LOGIN);
    isRefused(await apps.empty.refresh(a.refresh_token, { audience: me }), 403, 'access_denied');
    isIssued(await apps.empty.refresh(a.refresh_token));
  });
  await t.test('audiences that it may not have', async () => {
    const a = await family(apps.wide, 'ida', LOGIN);
    for (const audience of [BOOKS, `${d.base}/me`, 'https://other.example/me/', 'x'])
      isRefused(await apps.wide.refresh(a.refresh_token, { audience, scope: 'openid' }), 403, 'access_denied', /Client "wide" is not authorized to access resource server/);
    isIssued(await apps.wide.refresh(a.refresh_token, { audience: me }));
  });
  await t.test('the grant goes away', async () => {
    const a = await family(apps.wide, 'ida', { audience: me, scope: `openid offline_access ${ALL}` });
    d.apply({ client_grants: [grant(d.base, 'wide', ['read:me:factors'])] });
    assert.deepEqual(scopes(isIssued(await apps.wide.refresh(a.refresh_token))), ['offline_access', 'openid', 'read:me:factors']);
    d.apply({ client_grants: [grant(d.base, 'wide')] });
  });
});

test('scopes', async (t) => {
  const ask = async (over = {}, app = apps.app, who = 'rob') => app.password(mail(who), { audience: me, scope: `openid ${ALL} read:me:consents made:up`, ...over });
  const api = (over) => d.apply({ api: { user_access_policy: 'require_client_grant', enforce_rbac: false, ...over } });
  t.after(() => api({}));
  await t.test('of the client grant', async () => {
    assert.deepEqual(scopes(isIssued(await ask())), ['openid', ...SCOPES].sort());
    assert.equal(isIssued(await ask({ scope: undefined })).scope, '', 'nothing that was not asked for');
    isRefused(await ask({}, apps.ungranted), 403, 'access_denied', `Client "ungranted" is not authorized to access resource server "${me}".`);
    isRefused(await ask({ audience: ORDERS }), 403, 'access_denied', `Client "app" is not authorized to access resource server "${ORDERS}".`);
    isRefused(await ask({}, apps.third), 403, 'access_denied');
    isIssued(await ask({ audience: undefined }, apps.ungranted));
  });
  await t.test('of the user', async () => {
    api({ enforce_rbac: true });
    const json = isIssued(await ask());
    assert.equal(json.scope, 'openid read:me:factors update:me:authentication_methods');
    await d.bearer(json.access_token).want(200, 'GET', FACTORS);
    assert.equal(isIssued(await ask({}, apps.app, 'jim')).scope, 'openid');
    const a = await family(apps.app, 'rob', { scope: `openid offline_access ${ALL}` });
    d.apply({ users: [{ user_id: id('rob'), permissions: [] }] });
    assert.deepEqual(scopes(isIssued(await apps.app.refresh(a.refresh_token))), ['offline_access', 'openid', 'read:me:factors']);
  });
  await t.test('allow_all', async () => {
    api({ user_access_policy: 'allow_all' });
    assert.deepEqual(scopes(isIssued(await ask())), ['openid', 'read:me:consents', ...SCOPES].sort());
    isIssued(await ask({}, apps.ungranted));
    isRefused(await ask({}, apps.third), 403, 'access_denied');
  });
  await t.test('deny_all', async () => {
    const a = await family(apps.app, 'jim');
    api({ user_access_policy: 'deny_all' });
    isRefused(await ask(), 403, 'access_denied');
    isRefused(await apps.app.refresh(a.refresh_token), 403, 'access_denied');
    isIssued(await ask({ audience: undefined }));
    api({});
    isIssued(await apps.app.refresh(a.refresh_token));
  });
  await t.test('consent', async () => {
    isRefused(await apps.third.password(mail('jim'), { scope: 'openid' }), 403, 'consent_required', 'Consent required');
    d.apply({ api: { allow_skipping_user_consent: false } });
    isRefused(await ask({}, apps.app, 'jim'), 403, 'consent_required', 'Consent required');
    const b = new Browser(d);
    const p = await b.login(await b.authorize({ audience: me, scope: 'openid read:me:factors', redirect_uri: CALLBACK }, 'app'), mail('jim'));
    assert.ok((await b.submit(p, 'allow')).params.code);
    isIssued(await ask({ scope: 'openid read:me:factors' }, apps.app, 'jim'));
    isRefused(await ask({ scope: 'openid update:me:authentication_methods' }, apps.app, 'jim'), 403, 'consent_required');
    d.apply({ api: { allow_skipping_user_consent: true } });
    isIssued(await ask({}, apps.app, 'jim'));
  });
  await t.test('the life of a token', async () => {
    d.apply({ api: { token_lifetime: 600 } });
    const json = isIssued(await ask({ scope: 'read:me:factors' }));
    assert.equal(json.expires_in, 600);
    const s = d.bearer(json.access_token);
    await s.want(200, 'GET', FACTORS);
    d.advance(670 * SECOND);
    assert.equal((await s.get(FACTORS)).status, 401);
    d.apply({ api: { token_lifetime: 86400 } });
  });
});

test('revocation', async (t) => {
  const revoke = (app, token, over = {}, opts = {}) => app.send('/oauth/revoke', { token, ...over }, opts);
  const done = (res) => {
    assert.equal(res.status, 200, res.text);
    assert.equal(res.text, '');
  };
  await t.test('ends the family', async () => {
    const a = await family(apps.app, 'kay');
    const b = isIssued(await apps.app.refresh(a.refresh_token));
    done(await revoke(apps.app, b.refresh_token, { token_type_hint: 'refresh_token' }));
    isIn(await apps.app.refresh(b.refresh_token));
    done(await revoke(apps.app, b.refresh_token));
    assert.equal(audit('srrt', 'kay'), 1);
  });
  await t.test('whichever of the family is shown, in either encoding', async () => {
    const a = await family(apps.app, 'kay');
    const b = isIssued(await apps.app.refresh(a.refresh_token));
    done(await revoke(apps.app, a.refresh_token, {}, { json: true }));
    isIn(await apps.app.refresh(b.refresh_token));
  });
  await t.test('not for others', async () => {
    const a = await family(apps.app, 'kay');
    done(await revoke(apps.fixed, a.refresh_token));
    isIssued(await apps.app.refresh(a.refresh_token));
    const w = isIssued(await apps.web.password(mail('kay'), { scope: 'openid offline_access' }));
    isRefused(await new App(d, 'web').send('/oauth/revoke', { token: w.refresh_token }), 401, 'invalid_client');
    isIssued(await apps.web.refresh(w.refresh_token));
    done(await revoke(apps.web, w.refresh_token));
    isIn(await apps.web.refresh(w.refresh_token));
  });
  await t.test('nonsense', async () => {
    done(await revoke(apps.app, 'x'));
    done(await revoke(apps.app, (await family(apps.app, 'kay')).access_token));
    isRefused(await apps.app.send('/oauth/revoke', {}), 400, 'invalid_request', 'Missing required parameter: token');
  });
});

test('introspection', async (t) => {
  const look = async (token, app = apps.web, over = {}) => app.send('/oauth/introspect', { token, ...over });
  const dead = (res) => {
    assert.equal(res.status, 200, res.text);
    assert.deepEqual(res.json, { active: false });
    assert.equal(res.headers['cache-control'], 'no-store');
  };
  const w = isIssued(await apps.web.password(mail('lea'), { audience: me, scope: 'openid offline_access read:me:factors' }));
  await t.test('for clients that authenticate', async () => {
    for (const app of [apps.spa, new App(d, 'web'), new App(d, 'web', { secret: 'x' })]) isRefused(await look(w.access_token, app), 401, 'invalid_client');
    isRefused(await look(undefined), 400, 'invalid_request', 'Missing required parameter: token');
  });
  await t.test('an access token', async () => {
    const c = claims(w.access_token);
    const want = { active: true, iss: `${d.base}/`, sub: id('lea'), client_id: 'web', scope: w.scope, iat: c.iat, exp: c.exp, token_type: 'Bearer' };
    assert.deepEqual((await look(w.access_token, apps.web)).json, want);
    for (const app of [apps.basic, apps.jwt]) dead(await look(w.access_token, app));
    const plain = isIssued(await apps.web.password(mail('lea'), { scope: 'openid' }));
    assert.equal((await look(plain.access_token)).json.active, true);
    dead(await look(`${w.access_token.slice(0, -4)}AAAA`));
    dead(await look(w.id_token));
    dead(await look(d.idp.token(id('lea'))));
    dead(await look('x'));
  });
  await t.test('a refresh token, its client\'s', async () => {
    const { json } = await look(w.refresh_token);
    assert.deepEqual([json.active, json.sub, json.client_id, json.scope], [true, id('lea'), 'web', w.scope]);
    dead(await look(w.refresh_token, apps.basic));
    await apps.web.send('/oauth/revoke', { token: w.refresh_token });
    dead(await look(w.refresh_token));
  });
  await t.test('of a user who is blocked', async () => {
    d.apply({ users: [{ user_id: id('lea'), blocked: true }] });
    dead(await look(w.access_token));
    d.apply({ users: [{ user_id: id('lea'), blocked: false }] });
    assert.equal((await look(w.access_token)).json.active, true);
    d.advance(DAY + 70 * SECOND);
    dead(await look(w.access_token));
  });
});

test('userinfo', async (t) => {
  const info = (token, over = {}) => d.http({ path: '/userinfo', headers: { ...(token ? { authorization: `Bearer ${token}` } : {}) }, ...over });
  d.apply({ users: [{ user_id: id('max'), phone_number: '+15551230009', name: 'Max "M" \u00c4' }] });
  const token = async (over) => isIssued(await apps.app.password(mail('max'), over)).access_token;
  const out = (res) => {
    assert.equal(res.status, 401, res.text);
    assert.match(res.headers['www-authenticate'], /^(Bearer|DPoP)/);
  };
  await t.test('by scope', async () => {
    assert.deepEqual((await info(await token({ scope: 'openid' }))).json, { sub: id('max') });
    const { json, headers } = await info(await token({ scope: 'openid profile email phone', audience: me }));
    assert.deepEqual({ ...json, updated_at: 0 }, { sub: id('max'), name: 'Max "M" \u00c4', updated_at: 0, email: mail('max'), email_verified: false, phone_number: '+15551230009' });
    assert.equal(headers['cache-control'], 'no-store');
    assert.deepEqual((await info(await token({ scope: 'openid' }), { method: 'POST' })).json, { sub: id('max') });
  });
  await t.test('refused', async () => {
    out(await info());
    out(await info('x'));
    out(await info(await token({ scope: 'read:me:factors', audience: me })));
    out(await info(await token({ scope: 'email' })));
    out(await info(isIssued(await apps.app.password(mail('max'), { scope: 'openid' })).id_token));
    out(await info(d.idp.token(id('max'), { aud: `${d.base}/userinfo`, scope: 'openid' })));
    const last = await token({ scope: 'openid' });
    assert.equal((await d.bearer(last).get(FACTORS)).status, 401, 'not a token of the API');
    d.apply({ users: [{ user_id: id('max'), blocked: true }] });
    out(await info(last));
  });
});

test('users who are blocked or gone', async () => {
  const a = await family(apps.app, 'nan');
  d.apply({ users: [{ user_id: id('nan'), blocked: true }] });
  isRefused(await apps.app.refresh(a.refresh_token), 403, 'invalid_grant', /user is blocked/);
  isRefused(await apps.app.password(mail('nan')), 403, 'unauthorized', 'user is blocked');
  d.apply({ users: [{ user_id: id('nan'), blocked: false }] });
  const c = await apps.app.refresh(a.refresh_token);
  assert.equal(c.status, 200, 'a block is no reuse');
  const o = await family(apps.app, 'oli');
  const b = await apps.spa.code(mail('oli'));
  d.ok('user', 'delete', id('oli'));
  assert.equal((await apps.app.refresh(o.refresh_token)).json.error, 'invalid_grant');
  isRefused(await apps.spa.exchange(b), 403, 'invalid_grant');
  isRefused(await apps.app.password(mail('oli')), 403, 'invalid_grant', 'Wrong email or password.');
  assert.equal((await d.bearer(o.access_token).get(FACTORS)).status, 403);
});

test('after a restart', async () => {
  const a = await family(apps.app, 'kay');
  const c = await apps.spa.code(mail('kay'));
  await d.end();
  await d.run();
  isIssued(await apps.spa.exchange(c));
  isIssued(await apps.app.refresh(a.refresh_token));
  await d.bearer(a.access_token).want(200, 'GET', FACTORS);
});

test('the vendor\'s example, as it stands', async () => {
  const res = await new Browser(d).raw('GET', `/authorize?response_type=code&client_id=web&redirect_uri=${encodeURIComponent(CALLBACK)}&scope=create%3Ame%3Aauthentication_methods&offline_access=&audience=${encodeURIComponent(me)}`);
  assert.equal(res.status, 302);
  const b = new Browser(d);
  await b.signIn(mail('kay'), {}, 'web');
  const out = await b.go('GET', authorizeUrl({ scope: 'create:me:authentication_methods', audience: me, state: null, nonce: null, code_challenge: null, code_challenge_method: null, offline_access: '' }, 'web'));
  const json = isIssued(await apps.web.exchange(out.params.code, { code_verifier: undefined, audience: me, scope: 'create:me:authentication_methods', offline_access: '' }, { json: true }));
  assert.deepEqual([json.scope, json.refresh_token, json.id_token], ['create:me:authentication_methods', undefined, undefined]);
});

/* SPDX-License-Identifier: Apache-2.0
 * What ends a sign-in: a password that changed, too many wrong codes; whom a browser is signed in as; and the keys that
 * sign tokens. */
import crypto from 'node:crypto';
import { assert, test, before, after, Daemon, FACTORS, client, grant, isProblem, user, wrongCode } from './lib/kit.mjs';
import { Browser, CALLBACK, PASSWORD } from './lib/login.mjs';
import { App, Prover, claims, header, isIssued, isRefused } from './lib/oauth.mjs';
import { CA, CA_SCOPES, challenge, connection, random } from './lib/connect.mjs';
import { SCOPES } from './lib/tokens.mjs';

const SECOND = 1000;
const NEW_PASSWORD = 'Zq7-another-horse-altogether';
const people = Array.from({ length: 16 }, (_, i) => `q${String(i).padStart(2, '0')}`);
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;
const ALL = `openid offline_access ${SCOPES.join(' ')} ${CA_SCOPES.join(' ')}`;

let d;
let me;
let app;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 0 } }, state: { factors: { passkey: true } } });
  me = `${d.base}/me/`;
  d.apply({
    clients: [client('spa', { grant_types: ['authorization_code', 'refresh_token', 'password'] }), client('es', { jwt_configuration: { alg: 'ES256' } })],
    client_grants: ['spa', 'es'].map((c) => grant(d.base, c, [...SCOPES, ...CA_SCOPES])),
    connections: [connection('acme', { issuer: 'https://idp.acme.example/', client_id: 'x', authorization_endpoint: 'https://idp.acme.example/a',
      token_endpoint: 'https://idp.acme.example/t', jwks_uri: 'https://idp.acme.example/k', scopes: ['openid', 'offline_access'] })],
    users: people.map((n) => user(id(n), { email: mail(n), password: PASSWORD })),
  });
  for (const p of [PASSWORD, NEW_PASSWORD]) d.secrets.add('password', p);
  app = new App(d, 'spa');
});
after(() => d.stop());

let next = 0;
const someone = () => people[next++] ?? assert.fail('the people are used up');
const ask = (over = {}) => ({ scope: ALL, audience: me, ...over });
/* Signs in by the hosted page: tokens, the browser, and a session of the API that carries them. */
async function signIn(name, browser = new Browser(d)) {
  const tokens = isIssued(await app.exchange(await app.code(mail(name), ask(), browser)));
  return { ...tokens, browser, s: d.bearer(tokens.access_token) };
}
const rows = (type, name) => d.audit(id(name)).map((l) => JSON.parse(l)).filter((r) => r.type === type);

const isRevoked = (r) => isProblem(r, 401, 'A0E-401-0003', 'Invalid Token: the token was revoked');

async function changePassword(s, password = NEW_PASSWORD) {
  const e = await s.enrol({ type: 'password' });
  return s.verify('password|new', { auth_session: e.auth_session, new_password: password });
}
/* Whether the browser is signed in: a silent request says so. */
async function isSignedIn(browser) {
  const out = await browser.authorize({ prompt: 'none' });
  return out.params.error === undefined;
}

test('a new password', async (t) => {
  const name = someone();
  const mine = await signIn(name);
  const other = await signIn(name);
  const embedded = isIssued(await app.password(mail(name), ask()));
  const third = new Browser(d);
  await signIn(name, third);
  const code = await app.code(mail(name), ask(), third).catch(() => null) ?? (await third.authorize(ask())).params.code;
  assert.ok(code);
  await changePassword(mine.s);
  await t.test('ends the other browsers', async () => {
    assert.equal(await isSignedIn(other.browser), false);
    assert.equal(await isSignedIn(third), false);
  });
  await t.test('and the access tokens of those browsers', async () => {
    isRevoked(await other.s.get(FACTORS));
    isRefused(await app.get('/userinfo', `Bearer ${other.access_token}`), 401, 'invalid_token');
  });
  await t.test('and their refresh tokens, however they were got', async () => {
    for (const token of [other.refresh_token, embedded.refresh_token]) isRefused(await app.refresh(token), 403, 'invalid_grant');
  });
  await t.test('and codes that nobody used yet', async () => isRefused(await app.exchange(code), 403, 'invalid_grant'));
  await t.test('but not the sign-in that changed it', async () => {
    assert.equal(await isSignedIn(mine.browser), true);
    assert.equal((await mine.s.get(FACTORS)).status, 200);
    isIssued(await app.refresh(mine.refresh_token));
  });
  await t.test('the old one signs nobody in', async () => isRefused(await app.password(mail(name), ask()), 403, 'invalid_grant'));
  await t.test('the new one does', async () => isIssued(await app.password(mail(name), ask({ password: NEW_PASSWORD }))));
});

test('a new password, from a token that belongs to no browser', async () => {
  const name = someone();
  const other = await signIn(name);
  const embedded = isIssued(await app.password(mail(name), ask()));
  const elsewhere = isIssued(await app.password(mail(name), ask()));
  await changePassword(d.bearer(embedded.access_token));
  assert.equal(await isSignedIn(other.browser), false);
  for (const token of [other.refresh_token, elsewhere.refresh_token]) isRefused(await app.refresh(token), 403, 'invalid_grant');
  isIssued(await app.refresh(embedded.refresh_token));
});

test('a new password by the operator', async (t) => {
  const name = someone();
  const mine = await signIn(name);
  d.apply({ users: [user(id(name), { email: mail(name), password: PASSWORD })] });
  await t.test('nothing ends when it is the same', async () => assert.equal(await isSignedIn(mine.browser), true));
  d.apply({ users: [user(id(name), { email: mail(name), password: NEW_PASSWORD })] });
  assert.equal(await isSignedIn(mine.browser), false);
  isRefused(await app.refresh(mine.refresh_token), 403, 'invalid_grant');
});

test('a code that is shown twice', async () => {
  const name = someone();
  const code = await app.code(mail(name), ask());
  const got = isIssued(await app.exchange(code));
  const later = isIssued(await app.refresh(got.refresh_token));
  assert.equal((await d.bearer(got.access_token).get(FACTORS)).status, 200);
  isRefused(await app.exchange(code), 403, 'invalid_grant');
  isRevoked(await d.bearer(got.access_token).get(FACTORS));
  isRefused(await app.refresh(later.refresh_token), 403, 'invalid_grant');
});

test('an access token that is revoked (RFC 7009)', async (t) => {
  const name = someone();
  const got = isIssued(await app.password(mail(name), ask()));
  const kept = isIssued(await app.password(mail(name), ask()));
  const s = d.bearer(got.access_token);
  await t.test('by another client: nothing happens', async () => {
    assert.equal((await new App(d, 'es').send('/oauth/revoke', { token: got.access_token })).status, 200);
    assert.equal((await s.get(FACTORS)).status, 200);
  });
  assert.equal((await app.send('/oauth/revoke', { token: got.access_token, token_type_hint: 'access_token' })).status, 200);
  isRevoked(await s.get(FACTORS));
  isRefused(await app.get('/userinfo', `Bearer ${got.access_token}`), 401, 'invalid_token');
  await t.test('the others live', async () => {
    assert.equal((await d.bearer(kept.access_token).get(FACTORS)).status, 200);
    isIssued(await app.refresh(got.refresh_token));
  });
  await t.test('again', async () => assert.equal((await app.send('/oauth/revoke', { token: got.access_token })).status, 200));
  await t.test('it stays so over a restart', async () => {
    await d.end();
    await d.run();
    isRevoked(await s.get(FACTORS));
    assert.equal((await d.bearer(kept.access_token).get(FACTORS)).status, 200);
  });
});

test('an mfa_token of the old password', async () => {
  const name = someone();
  const mine = await signIn(name);
  await mine.s.addTotp();
  d.apply({ tenant: { mfa_policy: 'always' } });
  const r = await app.password(mail(name), ask());
  isMfaRequired(r);
  const s = mine.s;
  await changePassword(s);
  const late = await app.token({ grant_type: 'http://auth0.com/oauth/grant-type/mfa-otp', mfa_token: r.json.mfa_token, otp: '000000' });
  isRefused(late, 403, 'invalid_grant', 'Malformed mfa_token');
  d.apply({ tenant: { mfa_policy: 'never' } });
});
function isMfaRequired(r) {
  assert.deepEqual([r.status, r.json.error], [403, 'mfa_required'], r.text);
}

test('wrong codes on the hosted page', async (t) => {
  const name = someone();
  const s = d.as(id(name));
  const totp = await s.addTotp();
  d.apply({ tenant: { mfa_policy: 'always' } });
  t.after(() => d.apply({ tenant: { mfa_policy: 'never' } }));
  const b = new Browser(d);
  let page = await b.login(await b.authorize(ask()), mail(name));
  for (let i = 0; i < 19; i++) {
    page = await b.submit(page, 'code', { code: wrongCode(s.code(totp.secret)) });
    assert.match(page.alert, /That code is not right/, `after ${i + 1}`);
  }
  page = await b.submit(page, 'code', { code: wrongCode(s.code(totp.secret)) });
  await t.test('the twentieth asks for the password again', () => {
    assert.ok(page.has('password') && !page.has('code'), page.title);
    assert.match(page.alert, /Too many wrong codes/);
  });
  await t.test('which leads on', async () => {
    d.advance(30 * SECOND);
    page = await b.login(page, mail(name));
    const out = await b.submit(page, 'code', { code: s.code(totp.secret) });
    assert.ok(out.params?.code, out.title);
  });
});

test('a passkey that is refused on the page is in the audit trail', async () => {
  const name = someone();
  const before = d.audit().filter((l) => JSON.parse(l).type === 'passkey_challenge_failed').length;
  const b = new Browser(d);
  const page = await b.authorize(ask({ login_hint: mail(name) }));
  const raw = crypto.randomBytes(32).toString('base64url');
  const response = JSON.stringify({ id: raw, rawId: raw, type: 'public-key', response: { clientDataJSON: raw, authenticatorData: raw, signature: raw } });
  const again = await b.submit(page, 'passkey', { response });
  assert.match(again.alert, /passkey was not accepted/);
  assert.equal(d.audit().filter((l) => JSON.parse(l).type === 'passkey_challenge_failed').length, before + 1);
});

test('a link that connects an account', async (t) => {
  const [name, stranger] = [someone(), someone()];
  const mine = await signIn(name);
  const other = await signIn(stranger);
  const begin = async () => {
    const r = await mine.s.want(201, 'POST', `${CA}/connect`, { connection: 'acme', redirect_uri: CALLBACK, state: 'x', code_challenge: challenge(random()), code_challenge_method: 'S256' });
    d.secrets.add('ticket', r.json.connect_params.ticket);
    return `${r.json.connect_uri}?ticket=${r.json.connect_params.ticket}`;
  };
  await t.test('is not followed where somebody else is signed in', async () => {
    const url = await begin();
    const r = await other.browser.raw('GET', url);
    assert.equal(r.status, 403);
    assert.match(r.text, /signed in as somebody else/);
    assert.ok(!r.text.includes(mail(name)) && !r.text.includes(mail(stranger)));
    const then = await mine.browser.raw('GET', url);
    assert.equal(then.status, 302, 'and is not used up by it');
  });
  await t.test('is, where nobody is', async () => assert.equal((await new Browser(d).raw('GET', await begin())).status, 302));
});

test('a nonce that lapsed, at userinfo', async () => {
  const name = someone();
  const prover = new Prover(d);
  const bound = new App(d, 'spa', { dpop: prover });
  await bound.token({ grant_type: 'authorization_code', code: 'x' });
  const tokens = isIssued(await bound.password(mail(name), { scope: 'openid profile' }), 'DPoP');
  const url = `${d.base}/userinfo`;
  const proof = (nonce) => prover.proof('GET', url, { token: tokens.access_token, nonce });
  const old = prover.nonce;
  d.advance(700 * SECOND);
  const r = await bound.get('/userinfo', `DPoP ${tokens.access_token}`, { dpop: proof(old) });
  isRefused(r, 401, 'use_dpop_nonce');
  assert.match(r.headers['www-authenticate'], /^DPoP error="use_dpop_nonce"/);
  const fresh = r.headers['dpop-nonce'];
  assert.ok(fresh && fresh !== old);
  const good = await bound.get('/userinfo', `DPoP ${tokens.access_token}`, { dpop: proof(fresh) });
  assert.equal(good.json.sub, id(name), good.text);
});

test('ES256', async (t) => {
  const name = someone();
  const jwks = async () => (await d.http({ path: '/.well-known/jwks.json' })).json.keys;
  t.after(() => d.apply({ api: { signing_alg: 'RS256' } }));
  const before = await jwks();
  assert.deepEqual(before.map((k) => k.alg).sort(), ['ES256', 'RS256']);
  const signedBy = async (token) => {
    const h = header(token);
    const k = (await jwks()).find((x) => x.kid === h.kid);
    assert.equal(k.alg, h.alg);
    const key = crypto.createPublicKey({ key: k, format: 'jwk' });
    const [a, b, c] = token.split('.');
    assert.ok(crypto.verify('sha256', Buffer.from(`${a}.${b}`), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(c, 'base64url')));
    return h.alg;
  };
  await t.test('signs nothing unless asked', async () => {
    const r = isIssued(await app.password(mail(name), ask()));
    assert.deepEqual([await signedBy(r.access_token), await signedBy(r.id_token)], ['RS256', 'RS256']);
  });
  await t.test('signs the id_tokens of a client', async () => {
    const es = new App(d, 'es');
    const r = isIssued(await es.exchange(await es.code(mail(name), ask())));
    assert.deepEqual([await signedBy(r.access_token), await signedBy(r.id_token)], ['RS256', 'ES256']);
    const out = await d.http({ path: `/oidc/logout?id_token_hint=${r.id_token}` });
    assert.ok(out.status < 400, out.text);
  });
  await t.test('signs access tokens', async () => {
    d.apply({ api: { signing_alg: 'ES256' } });
    const r = isIssued(await app.password(mail(name), ask()));
    assert.deepEqual([await signedBy(r.access_token), await signedBy(r.id_token)], ['ES256', 'RS256']);
    assert.equal((await d.bearer(r.access_token).get(FACTORS)).status, 200);
    const own = d.ok('token', '--user', id(name), '--client', 'spa', '--scope', 'read:me:factors').trim();
    assert.equal(await signedBy(own), 'ES256');
    d.secrets.add('token', own);
    assert.equal((await d.bearer(own).get(FACTORS)).status, 200);
  });
  await t.test('its key is changed alone', async () => {
    assert.match(d.ok('keys', 'rotate', 'ES256'), /^ES256 [\w-]{43}\n$/);
    const now = await jwks();
    assert.deepEqual(now.map((k) => k.alg).sort(), ['ES256', 'ES256', 'RS256']);
    assert.equal(d.ctl('keys', 'rotate', 'HS256').code, 2);
    assert.equal(d.ok('keys', 'rotate').trim().split('\n').length, 2);
  });
  await t.test('is announced', async () =>
    assert.deepEqual((await d.http({ path: '/.well-known/openid-configuration' })).json.id_token_signing_alg_values_supported, ['RS256', 'ES256']));
});

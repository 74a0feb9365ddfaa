/* SPDX-License-Identifier: Apache-2.0
 * Signing in and signing up with a passkey without a browser's page: /passkey/challenge, /passkey/register and the grant. */
import crypto from 'node:crypto';
import { assert, test, describe, before, after, Daemon, DB, METHODS, ORIGIN, client, grant, user } from './lib/kit.mjs';
import { Credential, FLAG, create, get } from './lib/authenticator.mjs';
import { App, GRANT, Prover, claims, isIssued, isRefused } from './lib/oauth.mjs';

const WEBAUTHN = 'urn:okta:params:oauth:grant-type:webauthn';
const GRANTS = ['authorization_code', 'refresh_token', WEBAUTHN];
const SECRET = 'Zq7-secret-of-the-passkey-tests';
const NO_UV = { flags: FLAG.UP };
const MINUTE = 60000;
const WRONG = 'The passkey could not be verified.';
const OVER = 'The challenge has expired or was used already.';
const NEW = `${METHODS}/passkey%7Cnew`;

const documentOf = (base) => ({
  factors: { passkey: true },
  connections: [{ name: DB, strategy: 'auth0' }],
  clients: [client('spa', { grant_types: GRANTS }), client('other', { grant_types: GRANTS }), client('without'),
    client('third', { is_first_party: false, grant_types: GRANTS }), client('bound', { grant_types: GRANTS, require_dpop: true }),
    client('web', { app_type: 'regular_web', client_secret: SECRET, grant_types: GRANTS })],
  client_grants: ['spa', 'other', 'bound', 'web', 'third'].map((c) => grant(base, c)),
  organizations: [{ id: 'org_acme', name: 'acme', display_name: 'Acme', members: ['auth0|u000'] }],
});

/* A daemon with everything a test of this file asks of it. */
class World {
  constructor(d) {
    Object.assign(this, { d, me: `${d.base}/me/`, spa: new App(d, 'spa') });
  }
  static async start(opts = {}) {
    const w = new World(await Daemon.start(opts));
    w.d.apply(documentOf(w.d.base));
    return w;
  }
  /* A user with a passkey: {user, credential, handle, session}. */
  async holder(who = this.d.fresh(), over = {}) {
    const session = this.d.as(who);
    const e = (await session.want(202, 'POST', METHODS, { type: 'passkey' })).json;
    const credential = new Credential(over.alg);
    const r = await session.post(`${NEW}/verify`, { auth_session: e.auth_session,
      authn_response: create(e.authn_params_public_key, this.d.base, over, credential) });
    assert.equal(r.status, 201, r.text);
    return { user: who, credential, handle: e.authn_params_public_key.user.id, session, method: r.json.id };
  }
  /* A challenge for an application; `more` are further parameters. */
  async challenge(app = this.spa, more = {}) {
    const r = await app.send('/passkey/challenge', more, { json: true });
    assert.equal(r.status, 200, r.text);
    this.d.secrets.add('auth_session', r.json.auth_session);
    return { auth_session: r.json.auth_session, options: r.json.authn_params_public_key, r };
  }
  answer(c, h, over = {}) { return get(c.options, over.origin ?? this.d.base, h.credential, h.handle, over); }
  redeem(c, authn_response, more = {}, app = this.spa, opts = { json: true }) {
    return app.token({ grant_type: WEBAUTHN, auth_session: c.auth_session, authn_response, scope: 'openid profile email read:me:factors', audience: this.me, ...more }, opts);
  }
  /* From nothing to the answer of the token endpoint. */
  async signIn(h, over = {}, more = {}, app = this.spa) {
    const c = await this.challenge(app);
    return this.redeem(c, this.answer(c, h, over), more, app);
  }
  audit(type, who) { return this.d.audit(who).map((l) => JSON.parse(l)).filter((r) => r.type === type).length; }
}

describe('with the defaults', () => {
  let w;
  let d;
  before(async () => {
    w = await World.start();
    d = w.d;
  });
  after(() => d.stop());

  test('a challenge', async (t) => {
    const { r } = await w.challenge();
    await t.test('exactly what is documented', () => {
      assert.match(r.json.auth_session, /^[\w-]{43}$/);
      const { challenge, ...rest } = r.json.authn_params_public_key;
      assert.equal(Buffer.from(challenge, 'base64url').length, 32);
      assert.deepEqual(rest, { timeout: 60000, rpId: 'localhost', userVerification: 'preferred' });
      assert.deepEqual(Object.keys(r.json), ['auth_session', 'authn_params_public_key']);
      assert.equal(r.headers['cache-control'], 'no-store');
    });
    await t.test('always another', async () => assert.notEqual((await w.challenge()).options.challenge, r.json.authn_params_public_key.challenge));
    await t.test('as a form', async () => assert.equal((await w.spa.send('/passkey/challenge', {})).status, 200));
    await t.test('with realm and organization', async () => { await w.challenge(w.spa, { realm: DB, organization: 'acme' }); });
    await t.test('of a confidential client', async () => {
      await w.challenge(new App(d, 'web', { secret: SECRET }));
      isRefused(await new App(d, 'web').send('/passkey/challenge', {}, { json: true }), 401, 'invalid_client');
      isRefused(await new App(d, 'web', { secret: 'wrong' }).send('/passkey/challenge', {}, { json: true }), 401, 'invalid_client');
    });
    for (const [what, id, params, status, error] of [['no client', undefined, {}, 400, 'invalid_request'], ['an unknown client', 'nobody', {}, 401, 'invalid_client'],
      ['a third-party client', 'third', {}, 400, 'unauthorized_client'], ['a client without the grant', 'without', {}, 400, 'unauthorized_client'],
      ['an unknown realm', 'spa', { realm: 'nowhere' }, 400, 'invalid_request'], ['an unknown organization', 'spa', { organization: 'org_no' }, 400, 'invalid_request']])
      await t.test(`refused: ${what}`, async () => isRefused(await new App(d, id).send('/passkey/challenge', params, { json: true }), status, error));
  });

  test('the documented requests, word for word', async () => {
    const h = await w.holder();
    const curl = (path, body) => d.http({ method: 'POST', path, headers: { 'content-type': 'application/json' }, body });
    const first = await curl('/passkey/challenge', '{"client_id": "spa"}');
    assert.equal(first.status, 200, first.text);
    const c = { auth_session: first.json.auth_session, options: first.json.authn_params_public_key };
    const text = JSON.stringify(JSON.stringify(w.answer(c, h)));
    /* The document lacks the comma after the audience: what it shows is no JSON. */
    const body = (comma) => `{  "grant_type": "urn:okta:params:oauth:grant-type:webauthn",  "client_id": "spa",  "scope": "create:me:authentication_methods offline_access",  "audience": "${d.base}/me/"${comma}  "auth_session": "${c.auth_session}",  "authn_response": ${text}}`;
    isRefused(await curl('/oauth/token', body('')), 400, 'invalid_request');
    const r = w.spa.learn(await curl('/oauth/token', body(',')));
    const out = isIssued(r);
    assert.equal(out.scope, 'create:me:authentication_methods offline_access');
    assert.ok(out.refresh_token);
    assert.equal(out.id_token, undefined);
    const s = d.bearer(out.access_token);
    await s.want(202, 'POST', METHODS, { type: 'totp' });
  });

  test('the tokens', async (t) => {
    const h = await w.holder();
    const c = await w.challenge();
    const out = isIssued(await w.redeem(c, w.answer(c, h)));
    assert.equal(out.expires_in, 86400);
    assert.equal(out.scope, 'openid profile email read:me:factors');
    for (const token of [out.access_token, out.id_token]) {
      const k = claims(token);
      assert.equal(k.sub, h.user);
      assert.deepEqual([k.iss, k.azp ?? k.client_id ?? k.aud], [`${d.base}/`, 'spa']);
      assert.deepEqual([...k.amr].sort(), ['phr', 'pop']);
      assert.equal(k.gty, undefined);
    }
    assert.equal((await d.bearer(out.access_token).get('/me/v1/factors')).status, 200);
    assert.ok((await h.session.list('passkey'))[0].last_auth_at, 'when it was used');
    assert.equal(w.audit('s', h.user), 1);
    await t.test('a string, in JSON', async () => {
      const k = await w.challenge();
      isIssued(await w.redeem(k, JSON.stringify(w.answer(k, h))));
    });
    await t.test('a string, in a form', async () => {
      const k = await w.challenge();
      isIssued(await w.redeem(k, JSON.stringify(w.answer(k, h)), {}, w.spa, {}));
    });
    await t.test('without user verification', async () => {
      const o = isIssued(await w.signIn(h, NO_UV));
      assert.deepEqual(claims(o.access_token).amr, ['pop']);
    });
    await t.test('without an audience', async () => {
      const o = isIssued(await w.signIn(h, {}, { audience: undefined, scope: 'openid' }));
      assert.equal(claims(o.id_token).sub, h.user);
    });
    await t.test('for a confidential client', async () => {
      isIssued(await w.signIn(h, {}, {}, new App(d, 'web', { secret: SECRET })));
      isRefused(await w.redeem(await w.challenge(), {}, {}, new App(d, 'web')), 401, 'invalid_client');
    });
    for (const alg of ['EdDSA', 'RS256']) await t.test(alg, async () => isIssued(await w.signIn(await w.holder(d.fresh(), { alg }))));
    await t.test('a refresh token goes on', async () => {
      const o = isIssued(await w.signIn(h, {}, { scope: 'openid offline_access read:me:factors' }));
      const n = isIssued(await w.spa.refresh(o.refresh_token));
      assert.deepEqual([...claims(n.access_token).amr].sort(), ['phr', 'pop']);
    });
    await t.test('a page of the client, under the relying party id', async () => isIssued(await w.signIn(h, { origin: ORIGIN })));
  });

  test('a challenge is answered once', async (t) => {
    const h = await w.holder();
    await t.test('rightly', async () => {
      const c = await w.challenge();
      isIssued(await w.redeem(c, w.answer(c, h)));
      isRefused(await w.redeem(c, w.answer(c, h)), 403, 'invalid_grant', OVER);
    });
    await t.test('or wrongly', async () => {
      const c = await w.challenge();
      isRefused(await w.redeem(c, w.answer(c, h, { signature: (s) => { s[s.length - 1] ^= 1; return s; } })), 403, 'invalid_grant', WRONG);
      isRefused(await w.redeem(c, w.answer(c, h)), 403, 'invalid_grant', OVER);
    });
    await t.test('by one of several at once', async () => {
      const c = await w.challenge();
      const all = await Promise.all(Array.from({ length: 5 }, () => w.redeem(c, w.answer(c, h))));
      assert.deepEqual(all.map((r) => r.status).sort(), [200, 403, 403, 403, 403]);
      all.filter((r) => r.status !== 200).forEach((r) => isRefused(r, 403, 'invalid_grant'));
    });
    await t.test('and within its time', async () => {
      const c = await w.challenge();
      d.advance(5 * MINUTE + 1000);
      isRefused(await w.redeem(c, w.answer(c, h)), 403, 'invalid_grant', OVER);
      const late = await w.challenge();
      d.advance(4 * MINUTE);
      isIssued(await w.redeem(late, w.answer(late, h)));
    });
    await t.test('by the client that asked for it', async () => {
      const c = await w.challenge();
      isRefused(await w.redeem(c, w.answer(c, h), {}, new App(d, 'other')), 403, 'invalid_grant', /auth_session/);
      isIssued(await w.redeem(c, w.answer(c, h)));
    });
  });

  test('what is refused', async (t) => {
    const h = await w.holder();
    const stranger = { credential: new Credential(), handle: crypto.randomBytes(64).toString('base64url') };
    const before_ = w.audit('passkey_challenge_failed');
    const bad = {
      'another origin': [{ origin: 'https://evil.example' }], 'an origin that the client does not lend': [{ origin: 'http://localhost:3001' }],
      'another relying party': [{ rpId: 'evil.example' }], 'another challenge': [{ challenge: crypto.randomBytes(32).toString('base64url') }],
      'a registration': [{ type: 'webauthn.create' }], 'nobody there': [{ flags: 0 }], 'another signature': [{ signature: () => crypto.randomBytes(70) }],
      'no user handle': [{ userHandle: null }], 'the handle of somebody else': [{ userHandle: stranger.handle }],
      'the id of no credential': [{ id: crypto.randomBytes(32) }],
    };
    for (const [what, [over]] of Object.entries(bad))
      await t.test(what, async () => isRefused(await w.signIn(h, over), 403, 'invalid_grant', WRONG));
    await t.test('a passkey nobody knows', async () => isRefused(await w.signIn(stranger), 403, 'invalid_grant', WRONG));
    for (const [what, value] of [['no JSON', '{'], ['a list', [1]], ['an empty object', {}], ['another shape', { rawId: 'AAAA', response: { signature: 'AA' } }],
      ['no base64url', { rawId: '**', response: { signature: '*', clientDataJSON: '*', authenticatorData: '*' } }], ['a number', 7], ['text', 'hello']])
      await t.test(what, async () => isRefused(await w.redeem(await w.challenge(), value), 403, 'invalid_grant', WRONG));
    await t.test('and noted down', () => assert.ok(w.audit('passkey_challenge_failed') > before_ + 10));
    await t.test('an attestation in place of an assertion', async () => {
      const c = await w.challenge();
      const a = create({ ...c.options, rp: { id: c.options.rpId } }, d.base);
      isRefused(await w.redeem(c, a), 403, 'invalid_grant', WRONG);
    });
    await t.test('a missing parameter', async () => {
      isRefused(await w.spa.token({ grant_type: WEBAUTHN, authn_response: {} }, { json: true }), 400, 'invalid_request', 'Missing required parameter: auth_session');
      isRefused(await w.spa.token({ grant_type: WEBAUTHN, auth_session: 'x' }, { json: true }), 400, 'invalid_request', 'Missing required parameter: authn_response');
    });
    for (const x of ['x', 'A'.repeat(43), 'A'.repeat(4000)]) await t.test(`auth_session ${x.slice(0, 5)} (${x.length})`, async () => isRefused(await w.redeem({ auth_session: x }, {}), 403, 'invalid_grant'));
    await t.test('a client without the grant, or of others', async () => {
      const c = await w.challenge();
      isRefused(await w.redeem(c, w.answer(c, h), {}, new App(d, 'without')), 403, 'unauthorized_client');
      isRefused(await w.redeem(c, w.answer(c, h), {}, new App(d, 'third')), 403, 'unauthorized_client');
    });
    await t.test('a passkey that is gone', async () => {
      const g = await w.holder();
      await w.holder(g.user); /* the last way in stays */
      isIssued(await w.signIn(g));
      const c = await w.challenge();
      assert.equal((await g.session.del(`${METHODS}/${encodeURIComponent(g.method)}`)).status, 204);
      isRefused(await w.redeem(c, w.answer(c, g)), 403, 'invalid_grant', WRONG);
    });
    await t.test('an audience that is not the client\'s', async () => isRefused(await w.signIn(h, {}, { audience: 'https://orders.example' }), 403, 'access_denied'));
  });

  test('a counter that does not grow', async () => {
    const h = await w.holder();
    isIssued(await w.signIn(h, { counter: 5 }));
    for (const counter of [5, 4, 1]) isRefused(await w.signIn(h, { counter }), 403, 'invalid_grant', WRONG);
    isIssued(await w.signIn(h, { counter: 6 }));
    isIssued(await w.signIn(h, { counter: 0x80000000 }));
  });

  test('a blocked user hears of it with the passkey only', async () => {
    const h = await w.holder();
    d.apply({ users: [{ user_id: h.user, blocked: true }] });
    isRefused(await w.signIn(h), 403, 'unauthorized', 'user is blocked');
    isRefused(await w.signIn(h, { challenge: 'AAAA' }), 403, 'invalid_grant', WRONG);
    d.apply({ users: [{ user_id: h.user, blocked: false }] });
    isIssued(await w.signIn(h));
  });

  test('realm and organization', async (t) => {
    d.apply({ connections: [{ name: 'staff', strategy: 'auth0' }, { name: 'private', strategy: 'auth0', enabled_clients: ['other'] }], organizations: [{ id: 'org_acme', name: 'acme', members: ['auth0|member'] }],
      users: [user('auth0|member')] });
    const h = await w.holder('auth0|member');
    const run = async (asked, then) => {
      const c = await w.challenge(w.spa, asked);
      return w.redeem(c, w.answer(c, h), then);
    };
    await t.test('the user\'s own', async () => isIssued(await run({ realm: DB }, {})));
    await t.test('another one', async () => isRefused(await run({ realm: 'staff' }, {}), 403, 'invalid_grant', WRONG));
    await t.test('another one, named late', async () => isRefused(await run({}, { realm: 'staff' }), 403, 'invalid_grant', WRONG));
    await t.test('a connection of another client', async () => isRefused(await w.spa.send('/passkey/challenge', { realm: 'private' }, { json: true }), 400, 'invalid_request'));
    await t.test('two different ones', async () => isRefused(await run({ realm: DB }, { realm: 'staff' }), 400, 'invalid_request', /realm/));
    await t.test('an organization, named with the challenge', async () => assert.equal(claims(isIssued(await run({ organization: 'org_acme' }, {})).access_token).org_id, 'org_acme'));
    await t.test('named with the answer', async () => assert.equal(claims(isIssued(await run({}, { organization: 'acme' })).access_token).org_id, 'org_acme'));
    await t.test('of others', async () => {
      const s = await w.holder();
      const c = await w.challenge(w.spa, { organization: 'acme' });
      isRefused(await w.redeem(c, w.answer(c, s)), 403, 'access_denied');
    });
    d.apply({ connections: [{ name: 'staff', strategy: 'auth0', enabled_clients: [] }] });
  });

  test('DPoP', async () => {
    const h = await w.holder();
    const prover = new Prover(d);
    const app = new App(d, 'bound', { dpop: prover });
    const c = await w.challenge(app).catch(() => w.challenge(app)); /* a nonce comes first */
    isRefused(await w.redeem(c, w.answer(c, h), {}, new App(d, 'bound')), 400, 'invalid_dpop_proof');
    const out = isIssued(await w.redeem(c, w.answer(c, h), {}, app), 'DPoP'); /* the refusal took nothing */
    assert.equal(claims(out.access_token).cnf.jkt, prover.jkt);
  });

  test('cross-origin', async (t) => {
    const pre = (path, origin) => d.http({ method: 'OPTIONS', path, headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
    for (const path of ['/passkey/challenge', '/passkey/register', '/oauth/token'])
      await t.test(`preflight of ${path}`, async () => {
        const r = await pre(path, ORIGIN);
        assert.equal(r.status, 204);
        assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
        assert.match(r.headers['access-control-allow-headers'], /content-type/i);
        assert.equal((await pre(path, 'https://evil.example')).headers['access-control-allow-origin'], undefined);
      });
    await t.test('the request', async () => {
      const r = await w.spa.send('/passkey/challenge', {}, { json: true, headers: { origin: ORIGIN } });
      assert.equal(r.status, 200, r.text);
      assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
      const evil = await w.spa.send('/passkey/challenge', {}, { json: true, headers: { origin: 'https://evil.example' } });
      assert.equal(evil.status, 403, evil.text);
      assert.equal(evil.headers['access-control-allow-origin'], undefined);
    });
  });

  /* --- signing up --- */

  let n = 0;
  const person = (over = {}) => ({ email: `new${++n}@example.com`, ...over });
  const register = (user_profile, more = {}, app = w.spa) => app.send('/passkey/register', { user_profile, ...more }, { json: true });
  async function begun(user_profile, more) {
    const r = await register(user_profile, more);
    assert.equal(r.status, 200, r.text);
    d.secrets.add('auth_session', r.json.auth_session);
    return { auth_session: r.json.auth_session, options: r.json.authn_params_public_key, r };
  }
  async function signUp(profile = person(), over = {}, more = {}) {
    const c = await begun(profile);
    const credential = new Credential();
    const r = await w.redeem(c, create(c.options, d.base, over, credential), more);
    return { r, c, credential, handle: c.options.user.id, user: r.json?.access_token && claims(r.json.access_token).sub };
  }

  test('a registration', async (t) => {
    const { r, options: o } = await begun({ email: 'First@Example.COM', name: 'First User' });
    await t.test('creation options', () => {
      assert.deepEqual(Object.keys(r.json), ['auth_session', 'authn_params_public_key']);
      const { challenge, user: u, ...rest } = o;
      assert.equal(Buffer.from(challenge, 'base64url').length, 32);
      assert.equal(Buffer.from(u.id, 'base64url').length, 64);
      assert.deepEqual([u.name, u.displayName], ['First@example.com', 'First User']);
      assert.deepEqual(rest, { timeout: 60000, rp: { id: 'localhost', name: 'localhost' },
        pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' } });
    });
    await t.test('creates nobody', async () => { await begun({ email: 'First@Example.COM' }); });
    await t.test('in a form', async () => assert.equal((await w.spa.send('/passkey/register', { user_profile: JSON.stringify(person()), user_metadata: '{"a":"b"}' })).status, 200));
    await t.test('with everything', async () => { await begun(person({ name: 'N', given_name: 'G', family_name: 'F', nickname: 'n', picture: 'https://img.example/x.png', phone_number: '+15557000001' }),
      { realm: DB, user_metadata: Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`k"\\${i}`, `v"\\,{}${i}`])) }); });
    await t.test('with empty metadata', async () => { await begun(person(), { user_metadata: {} }); });
    const bad = {
      'no profile': [undefined], 'no address': [{}], 'a profile that is text': ['x'], 'a list': [['x']], 'no e-mail address': [{ email: 'nobody' }], 'an address that is no text': [{ email: 7 }],
      'null': [{ email: null }], 'an unknown property': [person({ role: 'admin' })], 'a username': [person({ username: 'me' })], 'user_id': [person({ user_id: 'auth0|x' })],
      'an empty name': [person({ name: '' })], 'a long name': [person({ name: 'x'.repeat(301) })], 'control characters': [person({ name: 'a\u0000b' })], 'a line break': [person({ name: 'a\nb' })], 'a long given name': [person({ given_name: 'x'.repeat(151) })],
      'a picture that is no address': [person({ picture: 'javascript:alert(1)' })], 'a phone number': [person({ phone_number: '555' })],
      'eleven metadata': [person(), { user_metadata: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`k${i}`, 'v'])) }],
      'metadata of numbers': [person(), { user_metadata: { a: 1 } }], 'nested metadata': [person(), { user_metadata: { a: { b: 'c' } } }], 'metadata of null': [person(), { user_metadata: { a: null } }],
      'a list as metadata': [person(), { user_metadata: ['a'] }], 'an unknown realm': [person(), { realm: 'nowhere' }], 'a realm that is switched off': [person(), { realm: 'staff' }], 'an organization': [person(), { organization: 'acme' }],
    };
    for (const [what, [profile, more]] of Object.entries(bad)) await t.test(`refused: ${what}`, async () => isRefused(await register(profile, more), 400, 'invalid_request'));
    await t.test('refused: other clients', async () => {
      isRefused(await register(person(), {}, new App(d, 'third')), 400, 'unauthorized_client');
      isRefused(await register(person(), {}, new App(d, 'without')), 400, 'unauthorized_client');
      isRefused(await register(person(), {}, new App(d, 'web')), 401, 'invalid_client');
    });
    await t.test('refused: who is known', async () => {
      for (const email of ['alice@example.com', 'ALICE@example.com', 'bob@EXAMPLE.com']) isRefused(await register({ email }), 400, 'invalid_request', /exists/);
      d.apply({ users: [user('auth0|phone', { email: undefined, phone_number: '+15557000002' })] });
      isRefused(await register(person({ phone_number: '+1 (555) 700-0002' })), 400, 'invalid_request', /exists/);
    });
  });

  test('a user who signed up', async (t) => {
    const profile = person({ name: 'Nell Neu', phone_number: '+1 555-800-0001', nickname: 'nell' });
    const one = await signUp(profile, {}, { scope: 'openid profile email phone read:me:authentication_methods' });
    const out = isIssued(one.r);
    assert.match(one.user, /^auth0\|[0-9a-f]{24}$/);
    const k = claims(out.id_token);
    assert.deepEqual([k.sub, k.email, k.email_verified, k.name, k.phone_number], [one.user, profile.email, false, 'Nell Neu', '+15558000001']);
    assert.deepEqual([...k.amr].sort(), ['phr', 'pop']);
    assert.deepEqual([w.audit('ss', one.user), w.audit('s', one.user)], [1, 0]);
    await t.test('has the passkey', async () => {
      const list = (await d.bearer(out.access_token).get(METHODS)).json.authentication_methods.filter((m) => m.type === 'passkey');
      assert.equal(list.length, 1);
      assert.equal(list[0].user_handle, one.handle);
      assert.equal(list[0].key_id, one.credential.id.toString('base64url'));
      assert.equal(list[0].identity_user_id, one.user);
    });
    await t.test('signs in with it', async () => assert.equal(claims(isIssued(await w.signIn(one)).access_token).sub, one.user));
    await t.test('is known now', async () => isRefused(await register({ email: profile.email.toUpperCase() }), 400, 'invalid_request', /exists/));
    await t.test('cannot sign up twice', async () => isRefused(await w.redeem(one.c, create(one.c.options, d.base)), 403, 'invalid_grant', OVER));
    await t.test('adds another passkey under the same handle', async () => {
      const e = (await d.as(one.user).want(202, 'POST', METHODS, { type: 'passkey' })).json;
      assert.equal(e.authn_params_public_key.user.id, one.handle);
    });
    await t.test('without user verification', async () => assert.deepEqual(claims(isIssued((await signUp(person(), { flags: FLAG.UP | FLAG.AT })).r).access_token).amr, ['pop']));
    await t.test('with a string', async () => {
      const c = await begun(person());
      isIssued(await w.redeem(c, JSON.stringify(create(c.options, d.base)), {}, w.spa, {}));
    });
  });

  test('sign-ups that fail create nobody', async (t) => {
    const bad = { 'another origin': { origin: 'https://evil.example' }, 'another relying party': { rpId: 'evil.example' }, 'another challenge': { challenge: 'AAAA' },
      'an assertion\'s type': { type: 'webauthn.get' }, 'nobody there': { flags: FLAG.AT } };
    for (const [what, over] of Object.entries(bad))
      await t.test(what, async () => {
        const profile = person();
        const { r, c } = await signUp(profile, over);
        isRefused(r, 403, 'invalid_grant', WRONG);
        isRefused(await w.redeem(c, create(c.options, d.base)), 403, 'invalid_grant', OVER);
        isIssued((await signUp(profile)).r);
      });
    await t.test('an assertion', async () => {
      const h = await w.holder();
      const c = await begun(person());
      isRefused(await w.redeem(c, get({ ...c.options, rpId: 'localhost' }, d.base, h.credential, h.handle)), 403, 'invalid_grant', WRONG);
    });
    await t.test('a credential of somebody', async () => {
      const h = await w.holder();
      const profile = person();
      const c = await begun(profile);
      isRefused(await w.redeem(c, create(c.options, d.base, {}, h.credential)), 403, 'invalid_grant', /exists/);
      isIssued((await signUp(profile)).r);
    });
    await t.test('an address that was taken meanwhile', async () => {
      const profile = person();
      const [a, b] = [await begun(profile), await begun(profile)];
      const all = await Promise.all([a, b].map((c) => w.redeem(c, create(c.options, d.base))));
      assert.deepEqual(all.map((r) => r.status).sort(), [200, 403]);
      isRefused(all.find((r) => r.status === 403), 403, 'invalid_grant', /exists/);
    });
    await t.test('an organization', async () => isRefused((await signUp(person(), {}, { organization: 'acme' })).r, 403, 'access_denied'));
    await t.test('too late', async () => {
      const c = await begun(person());
      d.advance(5 * MINUTE + 1000);
      isRefused(await w.redeem(c, create(c.options, d.base)), 403, 'invalid_grant', OVER);
    });
    await t.test('by another client', async () => {
      const c = await begun(person());
      isRefused(await w.redeem(c, create(c.options, d.base), {}, new App(d, 'other')), 403, 'invalid_grant');
    });
  });

  test('the factor switched off', async () => {
    const h = await w.holder();
    const [c, s] = [await w.challenge(), await begun(person())];
    d.apply({ factors: { passkey: false } });
    isRefused(await w.spa.send('/passkey/challenge', {}, { json: true }), 404, 'not_found');
    isRefused(await register(person()), 404, 'not_found');
    isRefused(await w.redeem(c, w.answer(c, h)), 403, 'invalid_grant', WRONG);
    isRefused(await w.redeem(s, create(s.options, d.base)), 403, 'invalid_grant', WRONG);
    d.apply({ factors: { passkey: true } });
    isIssued(await w.signIn(h));
  });
});

/* Who must show a second factor after a passkey: by the default policy of the API, or by the tenant's. */
for (const satisfies of [true, false])
  describe(`a passkey ${satisfies ? 'is' : 'is not'} two factors in one`, () => {
    let w;
    let d;
    let with_;
    let without;
    let secret;
    before(async () => {
      w = await World.start({ config: { policy: { passkey_satisfies_2fa: satisfies } } });
      d = w.d;
      with_ = await w.holder();
      ({ secret } = await with_.session.addTotp());
      without = await w.holder();
    });
    after(() => d.stop());

    function isAsked(r, kind, type) {
      assert.equal(r.status, 403, r.text);
      assert.equal(r.json.error, 'mfa_required');
      assert.match(r.json.mfa_token, /^[\w-]{43}$/);
      assert.ok(r.json.mfa_requirements[kind].some((x) => x.type === type), r.text);
      assert.ok(!r.json.mfa_requirements[kind].some((x) => x.type === 'passkey') || kind === 'enroll', r.text);
      return r.json.mfa_token;
    }
    const policies = {
      'default policy': { api: { default_policy: { require_2fa: true } }, tenant: { mfa_policy: 'never' } },
      'tenant policy': { api: { default_policy: { require_2fa: false } }, tenant: { mfa_policy: 'always' } },
    };
    for (const [name, doc] of Object.entries(policies))
      test(name, async (t) => {
        d.apply(doc);
        for (const [what, over, verified] of [['verified', {}, true], ['not verified', NO_UV, false]]) {
          await t.test(`a user with TOTP, ${what}`, async () => {
            const r = await w.signIn(with_, over);
            if (verified && satisfies) return isIssued(r);
            const mfa_token = isAsked(r, 'challenge', 'otp');
            d.advance(31000);
            const out = isIssued(await w.spa.token({ grant_type: GRANT.otp, mfa_token, otp: with_.session.code(secret) }));
            assert.deepEqual([...claims(out.access_token).amr].sort(), verified ? ['mfa', 'otp', 'phr', 'pop'] : ['mfa', 'otp', 'pop']);
          });
          await t.test(`a user without, ${what}`, async () => {
            const r = await w.signIn(without, over);
            if (name === 'default policy' || (verified && satisfies)) return isIssued(r);
            isAsked(r, 'enroll', 'otp');
          });
        }
      });
    test('neither', async () => {
      d.apply({ api: { default_policy: { require_2fa: false } }, tenant: { mfa_policy: 'never' } });
      isIssued(await w.signIn(with_, NO_UV));
    });
  });

describe('where user verification is required', () => {
  let w;
  before(async () => { w = await World.start({ config: { webauthn: { require_uv: true } } }); });
  after(() => w.d.stop());
  test('the options say so, and without it nothing is had', async () => {
    const h = await w.holder();
    assert.equal((await w.challenge()).options.userVerification, 'required');
    isRefused(await w.signIn(h, NO_UV), 403, 'invalid_grant', WRONG);
    isIssued(await w.signIn(h));
    const r = await w.spa.send('/passkey/register', { user_profile: { email: 'verified@example.com' } }, { json: true });
    const c = { auth_session: r.json.auth_session, options: r.json.authn_params_public_key };
    assert.equal(c.options.authenticatorSelection.userVerification, 'required');
    isRefused(await w.redeem(c, create(c.options, w.d.base, { flags: FLAG.UP | FLAG.AT })), 403, 'invalid_grant', WRONG);
  });
});

describe('asking for who is known', () => {
  let w;
  before(async () => { w = await World.start({ config: { rate_limit: { enabled: true, address_failures: 3 } } }); });
  after(() => w.d.stop());
  test('is slowed down', async () => {
    const ask = (email) => w.spa.send('/passkey/register', { user_profile: { email } }, { json: true });
    for (let i = 0; i < 3; i++) isRefused(await ask('bob@example.com'), 400, 'invalid_request', /exists/);
    const r = await ask('bob@example.com');
    isRefused(r, 429, 'too_many_attempts');
    assert.ok(Number(r.headers['retry-after']) >= 1);
  });
});

/* SPDX-License-Identifier: Apache-2.0
 * Tokens that are bound to a key at the API (RFC 9449 §7): proofs, nonces, replay, what may go without. */
import http from 'node:http';
import { assert, test, before, after, Daemon, FACTORS, Key, METHODS, ORIGIN, client, grant, isProblem, methodPath, request } from './lib/kit.mjs';
import { CA, Journey, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { Prover } from './lib/oauth.mjs';
import { Upstream } from './lib/upstream.mjs';

const NEW = '/me/v1/authentication-methods/passkey|new';
let d;
before(async () => {
  d = await Daemon.start();
  d.apply({ clients: [client('strict', { require_dpop: true })], client_grants: [grant(d.base, 'strict')] });
});
after(() => d.stop());

/* One user's bound token with the key it is bound to. */
class Bound {
  constructor({ alg = 'ES256', at = d, user = at.fresh(), ...claims } = {}) {
    Object.assign(this, { at, user, prover: new Prover(at, alg) });
    this.session = at.as(user, { cnf: { jkt: this.prover.jkt }, ...claims });
    this.token = this.session.token;
  }
  /* over: claims and header of the proof, htm and htu among them; scheme; proof: instead of one; headers. */
  async request(method, path, body, { scheme = 'DPoP', proof, headers = {}, raw, ...over } = {}) {
    const { htm = method, htu = `${this.at.base}${path.split('?')[0]}`, ...rest } = over;
    const sent = proof === undefined ? this.prover.proof(htm, htu, { token: this.token, ...rest }) : proof;
    return this.session.request(method, path, body, { raw, headers: { authorization: `${scheme} ${this.token}`, ...(sent === null ? {} : { dpop: sent }), ...headers } });
  }
  get(path = FACTORS, opts) { return this.request('GET', path, undefined, opts); }
}

async function good(r, status = 200) {
  assert.equal((await r).status, status, (await r).text);
  return r;
}
/* 401 with the same body as for any token that does not do, and a challenge of this scheme and error. */
async function refused(answer, error, why, scheme = 'DPoP') {
  const r = await answer;
  isProblem(r, 401, 'A0E-401-0003', why);
  assert.equal(r.json.title, 'Invalid Token');
  assert.match(r.headers['www-authenticate'], new RegExp(`^${scheme} error="${error}", error_description="[^"]+"`));
  assert.equal(r.headers['dpop-nonce'] !== undefined, error === 'use_dpop_nonce', 'DPoP-Nonce');
  return r;
}
const badProof = (answer, why) => refused(answer, 'invalid_dpop_proof', why);
const badToken = (answer, why) => refused(answer, 'invalid_token', why);

/* --- what is taken --- */

test('a good proof', async (t) => {
  for (const alg of ['ES256', 'RS256', 'ES384', 'PS256', 'EdDSA']) await t.test(alg, () => good(new Bound({ alg }).get()));
  const b = new Bound();
  await t.test('scheme in lower case', () => good(b.get(FACTORS, { scheme: 'dpop' })));
  await t.test('HEAD', async () => {
    assert.equal((await good(b.request('HEAD', FACTORS))).text, '');
    const r = await b.request('HEAD', FACTORS, undefined, { htm: 'GET' });
    assert.equal(r.status, 401);
    assert.match(r.headers['www-authenticate'], /invalid_dpop_proof/);
  });
  await t.test('POST, PATCH and DELETE with a body of their own', async () => {
    const e = (await good(b.request('POST', METHODS, { type: 'totp' }), 202)).json;
    const code = b.session.code(e.manual_input_code);
    const m = (await good(b.request('POST', `${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: code }), 201)).json;
    assert.equal(m.id, e.id);
    await good(b.request('DELETE', methodPath(m.id)), 204);
    assert.deepEqual((await good(b.get(METHODS))).json.authentication_methods, []);
  });
  await t.test('the body is read as without one', async () => isProblem(await b.request('POST', METHODS, '{', { raw: true }), 400, 'A0E-400-0001'));
  await t.test('with a nonce that was handed out', async () => {
    const r = await refused(b.get(FACTORS, { nonce: 'x' }), 'use_dpop_nonce');
    await good(b.get(FACTORS, { nonce: r.headers['dpop-nonce'] }));
    await good(b.get(FACTORS, { nonce: r.headers['dpop-nonce'] }));
  });
  await t.test('within the clocks', async () => {
    const old = { iat: d.idp.now() - 290 }; /* from before the daemon's start */
    const r = await refused(b.get(FACTORS, old), 'use_dpop_nonce');
    await good(b.get(FACTORS, { ...old, nonce: r.headers['dpop-nonce'] }));
    await good(b.get(FACTORS, { iat: d.idp.now() + 4 }));
  });
});

test('the URL of a proof', async (t) => {
  const b = new Bound();
  const at = (path, htu) => b.get(path, { htu: d.base + htu });
  const escaped = NEW.replace('|', '%7C');
  /* Nothing is there, but whoever hears so was let in. */
  const missing = (status) => assert.ok([404, 405].includes(status), String(status));
  for (const [name, path, htu] of [['raw, raw', NEW, NEW], ['raw, escaped', NEW, escaped], ['escaped, raw', escaped, NEW], ['escaped, escaped', escaped, escaped],
    ['lower-case escape', escaped, NEW.replace('|', '%7c')], ['lower-case escape asked', NEW.replace('|', '%7c'), escaped]])
    await t.test(`passkey|new ${name}`, async () => missing((await at(path, htu)).status));
  await t.test('verify of passkey|new', async () => {
    for (const p of [NEW, escaped]) isProblem(await b.request('POST', `${p}/verify`, {}, { htu: `${d.base}${escaped}/verify` }), 400, 'A0E-400-0003');
  });
  await t.test('query ignored on both sides', async () => {
    await good(at(`${METHODS}?type=totp`, METHODS));
    await good(at(METHODS, `${METHODS}?type=phone#x`));
  });
  await t.test('host in upper case', () => good(b.get(FACTORS, { htu: `HTTP://LOCALHOST:${d.port}${FACTORS}` })));
  for (const [name, htu] of [['another path', () => d.base + METHODS], ['another host', () => `http://example.com:${d.port}${FACTORS}`], ['the address', () => `http://127.0.0.1:${d.port}${FACTORS}`],
    ['another port', () => `http://localhost:1${FACTORS}`], ['another scheme', () => `https://localhost:${d.port}${FACTORS}`], ['a path alone', () => FACTORS], ['a slash more', () => `${d.base}${FACTORS}/`],
    ['escaped twice', () => `${d.base}${FACTORS.replace('f', '%2566')}`]])
    await t.test(`${name} is refused`, () => badProof(b.get(FACTORS, { htu: htu() }), /URL/));
  await t.test('one for passkey%257Cnew is not one for passkey%7Cnew', () => badProof(at(escaped, NEW.replace('|', '%257C'))));
});

/* --- what is not --- */

test('a proof that does not do', async (t) => {
  const b = new Bound();
  const stranger = new Prover(d);
  const cases = {
    'for another method': [{ htm: 'POST' }, /method/], 'method in lower case': [{ htm: 'get' }, /method/], 'without htm': [{ htm: null }],
    'of six minutes ago': [{ iat: d.idp.now() - 360 }, /too old/], 'of the future': [{ iat: d.idp.now() + 60 }, /future/], 'without iat': [{ iat: undefined }], 'iat as text': [{ iat: 'x' }],
    'without jti': [{ jti: undefined }], 'with an empty jti': [{ jti: '' }, /jti/], 'with a long jti': [{ jti: 'x'.repeat(129) }, /jti/],
    'without ath': [{ token: undefined }, /ath/], 'for another token': [{ token: 'another' }, /another access token/],
    'typ JWT': [{ header: { typ: 'JWT' } }, /typ/], 'alg none': [{ header: { alg: 'none' } }], 'alg HS256': [{ header: { alg: 'HS256' } }], 'without a key': [{ header: { jwk: undefined } }],
    'with the private key': [{ header: { jwk: b.prover.key.privateKey.export({ format: 'jwk' }) } }, /private/],
    'signed by another key': [{ key: new Key('ES256') }, /signature/], 'crit': [{ header: { crit: ['x'] } }],
    'as the token itself': [{ proof: b.token }], 'as a word': [{ proof: 'abc' }], 'as two proofs': [{ proof: 'a.b.c, d.e.f' }], 'of 5 KiB': [{ pad: 'x'.repeat(5000) }, /too long/],
  };
  for (const [name, [over, why]] of Object.entries(cases)) await t.test(name, () => badProof(b.get(FACTORS, over), why));
  await t.test('empty', () => badProof(b.get(FACTORS, { proof: '' })));
  await t.test('missing', () => badProof(b.get(FACTORS, { proof: null }), /missing/));
  await t.test('made by another key', async () => {
    const proof = stranger.proof('GET', d.base + FACTORS, { token: b.token });
    await badToken(b.get(FACTORS, { proof }), /another key/);
  });
  await t.test('in two headers', async () => {
    const one = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    const two = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    const r = await b.session.get(FACTORS, { lax: true, headers: { authorization: `DPoP ${b.token}`, dpop: [one, two] } });
    assert.ok([400, 401].includes(r.status), r.text);
  });
  await t.test('says which algorithms there are', async () => assert.match((await b.get(FACTORS, { proof: 'x' })).headers['www-authenticate'], /algs="ES256 RS256[^"]*"/));
  await t.test('and changes nothing', async () => {
    await badProof(b.request('POST', METHODS, { type: 'totp' }, { htm: 'GET' }));
    assert.deepEqual((await good(b.get(METHODS))).json.authentication_methods, []);
  });
  await t.test('a good one still does', () => good(b.get()));
});

test('the clock', async () => {
  const b = new Bound();
  const proof = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
  const later = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
  d.advance(295000);
  await good(b.get(FACTORS, { proof }));
  d.advance(10000);
  await badProof(b.get(FACTORS, { proof: later }), /too old/);
  await good(b.get());
});

test('tokens and schemes', async (t) => {
  const b = new Bound();
  const plain = d.session();
  await t.test('bound as Bearer', async () => {
    await badToken(b.get(FACTORS, { scheme: 'Bearer', proof: null }), /bound/);
    await badToken(b.get(FACTORS, { scheme: 'Bearer' }), /bound/);
  });
  await t.test('and remembered as Bearer', async () => {
    await good(b.get());
    await badToken(b.get(FACTORS, { scheme: 'Bearer' }), /bound/);
    await badToken(b.get(FACTORS, { scheme: 'Bearer', proof: null }), /bound/);
  });
  await t.test('unbound as DPoP', async () => {
    const proof = () => new Prover(d).proof('GET', d.base + FACTORS, { token: plain.token });
    for (const headers of [{ authorization: `DPoP ${plain.token}` }, { authorization: `DPoP ${plain.token}`, dpop: proof() }]) await badToken(plain.get(FACTORS, { headers }), /not bound/);
    assert.equal((await plain.get(FACTORS)).status, 200);
    await badToken(plain.get(FACTORS, { headers: { authorization: `DPoP ${plain.token}`, dpop: proof() } }), /not bound/);
  });
  await t.test('unbound as Bearer with a superfluous proof', async () => assert.equal((await plain.get(FACTORS, { headers: { dpop: 'x' } })).status, 200));
  await t.test('a token that is none is answered in its scheme', async () => {
    await badToken(d.anonymous().get(FACTORS, { headers: { authorization: 'DPoP abc', dpop: 'x' } }));
    await refused(d.anonymous().get(FACTORS, { headers: { authorization: 'Bearer abc' } }), 'invalid_token', undefined, 'Bearer');
  });
  await t.test('no token names both schemes', async () => {
    const r = await d.anonymous().get(FACTORS, { headers: { dpop: 'x' } });
    isProblem(r, 401, 'A0E-401-0002');
    assert.match(r.headers['www-authenticate'], /^Bearer, DPoP algs="ES256 RS256/);
  });
  for (const [name, cnf] of [['without jkt', {}], ['of another kind', { 'x5t#S256': 'x' }], ['jkt a number', { jkt: 1 }], ['jkt null', { jkt: null }], ['no object', 'x'], ['null', null], ['empty jkt', { jkt: '' }]])
    await t.test(`a confirmation ${name} is never plain`, async () => {
      const s = d.session({ cnf });
      assert.equal((await s.get(FACTORS)).status, 401);
      assert.equal((await s.get(FACTORS)).status, 401);
    });
});

test('each proof once', async (t) => {
  await t.test('one after the other', async () => {
    const b = new Bound();
    const proof = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    await good(b.get(FACTORS, { proof }));
    await badProof(b.get(FACTORS, { proof }), /used before/);
    await good(b.get());
  });
  await t.test('on two connections', async () => {
    const b = new Bound();
    const proof = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    const headers = { authorization: `DPoP ${b.token}`, dpop: proof };
    const ask = () => request({ port: d.port, host: d.host, path: FACTORS, headers, agent: new http.Agent() });
    assert.deepEqual((await Promise.all([ask(), ask()])).map((r) => r.status).sort(), [200, 401]);
  });
  await t.test('of many at once', async () => {
    const b = new Bound();
    await good(b.get());
    const proof = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    const rs = await Promise.all(Array.from({ length: 24 }, () => b.get(FACTORS, { proof })));
    assert.deepEqual(rs.map((r) => r.status).sort(), [200, ...Array(23).fill(401)]);
  });
  await t.test('by its jti, however it is signed', async () => {
    const b = new Bound();
    await good(b.get(FACTORS, { jti: 'same' }));
    await badProof(b.get(FACTORS, { jti: 'same' }), /used before/);
    await good(new Bound().get(FACTORS, { jti: 'same' }));
  });
  await t.test('a remembered token still needs a proof for each request', async () => {
    const b = new Bound();
    for (let i = 0; i < 3; i++) await good(b.get());
    await badProof(b.get(FACTORS, { proof: null }), /missing/);
    await badProof(b.get(FACTORS, { htm: 'POST' }));
    await badProof(b.get(FACTORS, { token: 'another' }));
    await badToken(b.get(FACTORS, { proof: new Prover(d).proof('GET', d.base + FACTORS, { token: b.token }) }), /another key/);
    await good(b.get());
  });
  await t.test('a refused proof is not used up', async () => {
    const b = new Bound();
    const proof = b.prover.proof('GET', d.base + FACTORS, { token: b.token });
    await badProof(b.request('POST', METHODS, { type: 'totp' }, { proof }));
    await good(b.get(FACTORS, { proof }));
  });
});

test('first sight of a user takes one proof', async () => {
  const c = await Daemon.start({ config: { issuer: { 'https://idp.test.example/': { provision: true } } } });
  const b = new Bound({ at: c, user: 'auth0|newcomer', email: 'newcomer@example.org' });
  await good(b.get());
  await good(b.get());
  await c.stop();
});

test('nonces', async (t) => {
  const b = new Bound();
  const ask = async (nonce) => (await refused(b.get(FACTORS, { nonce }), 'use_dpop_nonce')).headers['dpop-nonce'];
  await t.test('one that is none brings another', async () => {
    const fresh = await ask('stale');
    assert.match(fresh, /^[A-Za-z0-9_-]{43}$/);
    await good(b.get(FACTORS, { nonce: fresh }));
  });
  await t.test('lapse', async () => {
    const old = await ask('');
    d.advance(601000);
    const fresh = await ask(old);
    assert.notEqual(fresh, old);
    await good(b.get(FACTORS, { nonce: fresh }));
  });
  await t.test('can be read by a page', async () => {
    const r = await b.get(FACTORS, { nonce: 'x', headers: { origin: ORIGIN } });
    assert.equal(r.status, 401);
    assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
    const exposed = r.headers['access-control-expose-headers'].toLowerCase().split(/, */);
    for (const h of ['dpop-nonce', 'www-authenticate']) assert.ok(exposed.includes(h), h);
    assert.ok(r.headers['dpop-nonce']);
  });
  await t.test('a page may send a proof', async () => {
    const r = await d.http({ method: 'OPTIONS', path: FACTORS, headers: { origin: ORIGIN, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,dpop' } });
    assert.equal(r.status, 204);
    assert.ok(r.headers['access-control-allow-headers'].toLowerCase().split(/, */).includes('dpop'));
  });
});

/* --- where binding is asked for --- */

test('clients.require_dpop', async (t) => {
  const plain = d.session({ azp: 'strict' });
  await t.test('refuses what is not bound', () => badToken(plain.get(FACTORS), /client must use/));
  await t.test('takes what is', () => good(new Bound({ azp: 'strict' }).get()));
  await t.test('leaves other clients alone', async () => assert.equal((await d.session().get(FACTORS)).status, 200));
  await t.test('counts for tokens that are remembered', async () => {
    const s = d.session({ azp: 'native' });
    await s.want(200, 'GET', FACTORS);
    d.apply({ clients: [client('native', { app_type: 'native', allowed_origins: [], web_origins: [], callbacks: [], require_dpop: true })] });
    await badToken(s.get(FACTORS), /client must use/);
  });
});

test('api.require_dpop', async (t) => {
  const c = await Daemon.start();
  const plain = c.session();
  await plain.want(200, 'GET', FACTORS);
  c.apply({ ...c.state, api: { ...c.state.api, require_dpop: true } });
  await t.test('refuses what is not bound, remembered or not', async () => {
    await badToken(plain.get(FACTORS), /only tokens that are bound/);
    await badToken(c.session().get(FACTORS), /only tokens that are bound/);
  });
  await t.test('takes what is', () => good(new Bound({ at: c }).get()));
  await c.stop();
});

/* --- connected accounts --- */

test('an account is completed with the key that began it', async (t) => {
  const acme = await Upstream.start();
  const c = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))] });
  /* The session of a bound token makes its proofs by itself. */
  const bound = (user, prover) => {
    const s = member(c, { user, cnf: { jkt: prover.jkt } });
    const plain = s.request.bind(s);
    s.request = (method, path, body, opts = {}) => plain(method, path, body, { ...opts,
      headers: { authorization: `DPoP ${s.token}`, dpop: prover.proof(method, c.base + path.split('?')[0], { token: s.token }), ...opts.headers } });
    return s;
  };
  const begun = async (s) => {
    const j = await Journey.begin(s);
    await j.travel();
    assert.ok(j.code, `came back with ${j.landed}`);
    return j;
  };
  const lost = (r) => isProblem(r, 404, 'A0E-404-0001', 'Invalid or expired session');
  const [a, b] = [new Prover(c), new Prover(c)];
  await t.test('another key is 404, and the right one still does', async () => {
    const s = bound(undefined, a);
    const j = await begun(s);
    lost(await j.complete({}, bound(s.user, b)));
    lost(await j.complete({}, member(c, { user: s.user })));
    const r = await j.complete();
    assert.equal(r.status, 201, r.text);
  });
  await t.test('begun without a key and completed with one is 404', async () => {
    const s = member(c);
    const j = await begun(s);
    lost(await j.complete({}, bound(s.user, a)));
    assert.equal((await j.complete()).status, 201);
  });
  await t.test('another token of the same key does', async () => {
    const s = bound(undefined, a);
    const j = await begun(s);
    assert.equal((await j.complete({}, bound(s.user, a))).status, 201);
  });
  await t.test('the proof is for this path', async () => {
    const s = bound(undefined, a);
    const r = await s.post(`${CA}/connect`, {}, { headers: { dpop: a.proof('POST', `${c.base}${CA}/complete`, { token: s.token }) } });
    assert.equal(r.status, 401);
  });
  await stopAll(c, acme);
});

/* SPDX-License-Identifier: Apache-2.0
 * What an application does at the token service: requests whose answers are checked, DPoP proofs, client assertions. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { Key, jws } from './tokens.mjs';
import { Browser, CALLBACK, PASSWORD, VERIFIER } from './login.mjs';

export const GRANT = {
  realm: 'http://auth0.com/oauth/grant-type/password-realm', otp: 'http://auth0.com/oauth/grant-type/mfa-otp',
  oob: 'http://auth0.com/oauth/grant-type/mfa-oob', recovery: 'http://auth0.com/oauth/grant-type/mfa-recovery-code',
  vault: 'urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token',
};
export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const SECRETS = ['access_token', 'id_token', 'refresh_token', 'mfa_token', 'recovery_code', 'secret', 'oob_code'];
const part = (jwt, n) => JSON.parse(Buffer.from(jwt.split('.')[n], 'base64url'));
export const claims = (jwt) => part(jwt, 1);
export const header = (jwt) => part(jwt, 0);
export const basic = (id, secret) => `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;
/* Without members that are undefined or null. */
export const tidy = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined && v !== null));

/* The error of the token service: exactly these two members, and the headers of answers that must not be kept. */
export function isRefused(res, status, error, description) {
  assert.deepEqual([res.status, res.json?.error], [status, error], res.text);
  if (description instanceof RegExp) assert.match(res.json.error_description, description);
  else if (description !== undefined) assert.equal(res.json.error_description, description);
  assert.deepEqual(Object.keys(res.json), ['error', 'error_description']);
  assert.ok(res.json.error_description.length > 5, res.text);
  assert.match(res.headers['content-type'], /^application\/json/);
  assert.equal(res.headers['cache-control'], 'no-store');
}
export function isIssued(res, type = 'Bearer') {
  assert.equal(res.status, 200, res.text);
  assert.equal(res.json.token_type, type);
  assert.equal(res.headers['cache-control'], 'no-store');
  return res.json;
}

/* One application at one daemon. */
export class App {
  /* how: secret, auth ("post", "basic", "jwt" with key), redirect_uri, dpop (a Prover). */
  constructor(d, client_id, how = {}) {
    Object.assign(this, { d, client_id, redirect_uri: CALLBACK, ...how });
    if (this.secret) d.secrets.add('client_secret', this.secret);
  }
  /* opts: json, headers, raw (body as it is), dpop (false: no proof though the application has a key), nonce. */
  async send(path, params, opts = {}) {
    const headers = { 'content-type': opts.json ? 'application/json' : 'application/x-www-form-urlencoded', ...opts.headers };
    const all = tidy({ client_id: this.client_id, ...this.proof(headers), ...params });
    if (all.password && /Zq7/.test(all.password)) this.d.secrets.add('password', all.password);
    const prover = opts.dpop === false ? null : opts.dpop ?? this.dpop;
    if (prover) headers.dpop = prover.proof('POST', `${this.d.base}${path}`, opts.proof);
    for (const k of Object.keys(headers)) if (headers[k] === null) delete headers[k];
    const body = opts.raw ?? (opts.json ? JSON.stringify(all) : new URLSearchParams(all).toString());
    const res = await this.d.http({ method: opts.method ?? 'POST', path, headers, body });
    if (prover && res.headers['dpop-nonce']) prover.nonce = res.headers['dpop-nonce'];
    return this.learn(res);
  }
  proof(headers) {
    if (this.auth === 'basic') {
      headers.authorization = basic(this.client_id, this.secret);
      return { client_id: undefined };
    }
    if (this.auth === 'jwt') return { client_assertion: this.assertion(), client_assertion_type: JWT_BEARER };
    return this.secret ? { client_secret: this.secret } : {};
  }
  assertion(over = {}, { key = this.key, header: head = {} } = {}) {
    const now = Math.floor(this.d.now() / 1000);
    return jws(key, { alg: key.alg, kid: key.kid, typ: 'JWT', ...head }, { iss: this.client_id, sub: this.client_id, aud: `${this.d.base}/`,
      jti: crypto.randomUUID(), iat: now, exp: now + 60, ...over });
  }
  learn(res) {
    for (const k of SECRETS) {
      const v = res.json?.[k];
      if (typeof v !== 'string') continue;
      this.d.secrets.add(k === 'secret' ? 'manual_input_code' : /access|id_/.test(k) ? 'token' : k, v);
      if (k === 'refresh_token' && v.startsWith('v1.')) this.d.secrets.add('MAC of a refresh token', v.split('.')[3]);
    }
    return res;
  }
  token(params, opts) { return this.send('/oauth/token', params, opts); }
  refresh(refresh_token, over = {}, opts = {}) { return this.token({ grant_type: 'refresh_token', refresh_token, ...over }, opts); }
  password(username, over = {}, opts = {}) { return this.token({ grant_type: 'password', username, password: PASSWORD, ...over }, opts); }
  exchange(code, over = {}, opts = {}) {
    return this.token({ grant_type: 'authorization_code', code, redirect_uri: this.redirect_uri, code_verifier: VERIFIER, ...over }, opts);
  }
  /* A code for a user, by the hosted page. */
  async code(user, over = {}, browser = new Browser(this.d)) {
    const out = await browser.signIn(user, { redirect_uri: this.redirect_uri, ...over }, this.client_id);
    assert.ok(out.params.code, out.away);
    return out.params.code;
  }
  /* GET with a token, of whatever scheme. */
  async get(path, authorization, headers = {}) {
    return this.learn(await this.d.http({ method: 'GET', path, headers: { ...(authorization ? { authorization } : {}), ...headers } }));
  }
}

/* A key that proves possession (RFC 9449). */
export class Prover {
  constructor(d, alg = 'ES256') {
    Object.assign(this, { d, key: new Key(alg), nonce: undefined });
  }
  jwk() {
    const { kty, crv, x, y, e, n } = this.key.publicKey.export({ format: 'jwk' });
    return tidy({ kty, crv, x, y, e, n });
  }
  /* RFC 7638 */
  get jkt() {
    const { kty, crv, x, y, e, n } = this.jwk();
    const sorted = kty === 'RSA' ? { e, kty, n } : tidy({ crv, kty, x, y });
    return crypto.createHash('sha256').update(JSON.stringify(sorted)).digest('base64url');
  }
  /* over: claims (undefined ones are left out), header; token: what ath is the hash of. */
  proof(htm, htu, { header: head = {}, token, key = this.key, ...over } = {}) {
    const ath = token ? crypto.createHash('sha256').update(token).digest('base64url') : undefined;
    return jws(key, { alg: key.alg, typ: 'dpop+jwt', jwk: this.jwk(), ...head },
      { jti: crypto.randomUUID(), htm, htu, iat: Math.floor(this.d.now() / 1000), nonce: this.nonce, ath, ...over });
  }
}

/* SPDX-License-Identifier: Apache-2.0
 * Access tokens made by the tests: keys of every algorithm, good tokens and forged ones. */
import crypto from 'node:crypto';
import http from 'node:http';

export const SCOPES = ['read:me:factors', 'read:me:authentication_methods', 'create:me:authentication_methods',
  'update:me:authentication_methods', 'delete:me:authentication_methods'];
export const ALL = SCOPES.join(' ');

const SPEC = {
  RS256: ['rsa', 'sha256'], RS384: ['rsa', 'sha384'], RS512: ['rsa', 'sha512'],
  PS256: ['rsa', 'sha256', true], PS384: ['rsa', 'sha384', true], PS512: ['rsa', 'sha512', true],
  ES256: ['P-256', 'sha256'], ES384: ['P-384', 'sha384'], ES512: ['P-521', 'sha512'], EdDSA: ['ed25519', null],
};
export const ALGORITHMS = Object.keys(SPEC);

const b64 = (v) => Buffer.from(typeof v === 'string' || Buffer.isBuffer(v) ? v : JSON.stringify(v)).toString('base64url');

export class Key {
  constructor(alg, { kid = crypto.randomBytes(8).toString('hex'), bits = 2048, exponent, curve } = {}) {
    this.alg = alg;
    this.kid = kid;
    const [kind] = SPEC[alg];
    const pair = kind === 'rsa' ? crypto.generateKeyPairSync('rsa', { modulusLength: bits, ...(exponent ? { publicExponent: exponent } : {}) })
      : kind === 'ed25519' ? crypto.generateKeyPairSync('ed25519')
        : crypto.generateKeyPairSync('ec', { namedCurve: curve ?? kind });
    this.privateKey = pair.privateKey;
    this.publicKey = pair.publicKey;
  }
  jwk(extra = {}) {
    return { ...this.publicKey.export({ format: 'jwk' }), kid: this.kid, use: 'sig', alg: this.alg, ...extra };
  }
  /* `alg` may differ from the key's own for confusion attempts with the same key type. */
  sign(data, alg = this.alg) {
    const [kind, hash, pss] = SPEC[alg];
    const key = { key: this.privateKey };
    if (pss) Object.assign(key, { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST });
    if (kind.startsWith?.('P-')) key.dsaEncoding = 'ieee-p1363';
    return crypto.sign(hash, Buffer.from(data), key);
  }
}

/* A compact JWS from a header and payload, either of which may be JSON text. */
export function jws(key, header, payload, { alg } = {}) {
  const input = `${b64(header)}.${b64(payload)}`;
  return `${input}.${key.sign(input, alg ?? key.alg).toString('base64url')}`;
}

export class Issuer {
  constructor(url, audience, { alg = 'ES256' } = {}) {
    this.url = url;
    this.audience = audience;
    this.keys = [new Key(alg)];
    this.offset = 0;
  }
  jwks() { return JSON.stringify({ keys: this.keys.map((k) => k.jwk()) }); }
  now() { return Math.floor((Date.now() + this.offset) / 1000); }
  claims(sub, over = {}) {
    const now = this.now();
    return { iss: this.url, aud: this.audience, sub, azp: 'spa', scope: ALL, iat: now, exp: now + 3600,
      jti: crypto.randomBytes(12).toString('hex'), ...over };
  }
  /* Claims set to undefined are left out. */
  token(sub, over = {}, { key = this.keys[0], header = {} } = {}) {
    return jws(key, { alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header }, this.claims(sub, over));
  }
}

/* Serves documents on http://127.0.0.1 and counts the requests for each path. */
export class Files {
  constructor() {
    this.content = new Map();
    this.hits = new Map();
    this.delay = 0;
    this.status = 200;
  }
  async start() {
    this.server = http.createServer((req, res) => {
      const path = req.url.split('?')[0];
      this.hits.set(path, (this.hits.get(path) ?? 0) + 1);
      const body = this.content.get(path);
      const answer = () => {
        res.writeHead(body === undefined ? 404 : this.status, { 'content-type': 'application/json', ...(this.headers ?? {}) });
        res.end(body ?? '{}');
      };
      if (this.delay) setTimeout(answer, this.delay);
      else answer();
    });
    await new Promise((r) => this.server.listen(0, '127.0.0.1', r));
    this.server.unref();
    this.origin = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }
  set(path, body) { this.content.set(path, body); }
  count(path) { return this.hits.get(path) ?? 0; }
  stop() {
    this.server.closeAllConnections?.();
    return new Promise((r) => this.server.close(r));
  }
}

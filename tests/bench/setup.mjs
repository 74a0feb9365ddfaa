/* SPDX-License-Identifier: Apache-2.0
 * What the benchmark needs before it can start: keys and JWKS, tokens, state documents, five methods.
 * usage: setup.mjs keys DIR | tokens DIR ALG N BASE | state FILE N BASE | methods BASE TOKENS
 *        | proofs DIR N URL BASE   one bound token and N proofs for GET URL
 *        | signins FILE N BASE     refresh tokens of N users, and their names in FILE.names */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { jws, SCOPES } from '../daemon/lib/tokens.mjs';
import { totp } from '../daemon/lib/otp.mjs';

export const ISSUER = 'https://idp.bench.example/';
const CLIENT = 'app';
const PASSWORD = 'Zq7-correct-horse';
const SIGNINS = 32;
const userId = (i) => `auth0|b${String(i).padStart(6, '0')}`;

const commands = {
  keys(dir) {
    const keys = { RS256: crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }), ES256: crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }) };
    for (const [alg, k] of Object.entries(keys)) fs.writeFileSync(`${dir}/${alg}.pem`, k.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    fs.writeFileSync(`${dir}/jwks.json`, JSON.stringify({ keys: Object.entries(keys).map(([alg, k]) => ({ ...k.publicKey.export({ format: 'jwk' }), kid: alg, use: 'sig', alg })) }));
  },
  tokens(dir, alg, n, base) {
    const privateKey = crypto.createPrivateKey(fs.readFileSync(`${dir}/${alg}.pem`));
    const key = { alg, sign: (data) => crypto.sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' }) };
    const now = Math.floor(Date.now() / 1000);
    const out = fs.openSync(`${dir}/${alg}.tokens`, 'w');
    for (let i = 0; i < Number(n); i++)
      fs.writeSync(out, `${jws(key, { alg, typ: 'at+jwt', kid: alg }, { iss: ISSUER, sub: userId(i), aud: `${base}/me/`, azp: 'spa', iat: now, exp: now + 86400, scope: SCOPES.join(' '), jti: String(i) })}\n`);
    fs.closeSync(out);
  },
  proofs(dir, n, url, base) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { kty, crv, x, y } = publicKey.export({ format: 'jwk' });
    const sha256 = (text) => crypto.createHash('sha256').update(text).digest('base64url');
    const signer = (alg, key) => ({ alg, sign: (data) => crypto.sign('sha256', Buffer.from(data), { key, dsaEncoding: 'ieee-p1363' }) });
    const now = Math.floor(Date.now() / 1000);
    const token = jws(signer('ES256', crypto.createPrivateKey(fs.readFileSync(`${dir}/ES256.pem`))), { alg: 'ES256', typ: 'at+jwt', kid: 'ES256' },
      { iss: ISSUER, sub: userId(0), aud: `${base}/me/`, azp: 'spa', iat: now, exp: now + 86400, scope: SCOPES.join(' '), cnf: { jkt: sha256(JSON.stringify({ crv, kty, x, y })) } });
    const out = fs.openSync(`${dir}/proofs.tokens`, 'w');
    for (let i = 0; i < Number(n); i++)
      fs.writeSync(out, `${token} ${jws(signer('ES256', privateKey), { alg: 'ES256', typ: 'dpop+jwt', jwk: { kty, crv, x, y } },
        { jti: `${now}-${i}`, htm: 'GET', htu: url, iat: now, ath: sha256(token) })}\n`);
    fs.closeSync(out);
  },
  async signins(file, n, base) {
    const name = (i) => `b${i}@example.com`;
    const all = await Promise.all(Array.from({ length: Number(n) }, async (_, i) => {
      const r = await fetch(`${base}/oauth/token`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({
        grant_type: 'password', client_id: CLIENT, username: name(i), password: PASSWORD, scope: 'offline_access read:me:factors', audience: `${base}/me/` }) });
      const body = await r.json();
      if (!body.refresh_token) throw new Error(`sign-in: ${r.status} ${JSON.stringify(body)}`);
      return body.refresh_token;
    }));
    fs.writeFileSync(file, `${all.join('\n')}\n`);
    fs.writeFileSync(`${file}.names`, `${all.map((_, i) => name(i)).join('\n')}\n`);
  },
  state(file, n, base) {
    const users = Array.from({ length: Number(n) }, (_, i) => ({ user_id: userId(i), email: `b${i}@example.com`, email_verified: false, name: `User ${i}`, connection: 'Username-Password-Authentication', ...(i < SIGNINS ? { password: PASSWORD } : {}) }));
    fs.writeFileSync(file, JSON.stringify({
      api: { active: true, user_access_policy: 'require_client_grant' },
      factors: { totp: true, email: true, phone: true, 'recovery-code': true, password: true, passkey: false, 'push-notification': false, 'webauthn-roaming': false, 'webauthn-platform': false },
      connections: [{ name: 'Username-Password-Authentication', strategy: 'auth0' }],
      clients: [{ client_id: 'spa', name: 'SPA', app_type: 'spa', is_first_party: true, callbacks: [] },
        { client_id: CLIENT, name: 'App', app_type: 'native', is_first_party: true, callbacks: [], grant_types: ['password', 'refresh_token'] }],
      client_grants: ['spa', CLIENT].map((client_id) => ({ client_id, audience: `${base}/me/`, subject_type: 'user', scope: SCOPES })), users,
    }));
  },
  async methods(base, tokens) {
    const authorization = `Bearer ${fs.readFileSync(tokens, 'utf8').split('\n')[0]}`;
    const post = async (path, body, status) => {
      const r = await fetch(`${base}/me/v1/authentication-methods${path}`, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(body) });
      if (r.status !== status) throw new Error(`${path}: ${r.status} ${await r.text()}`);
      return r.json();
    };
    for (let i = 0; i < 5; i++) {
      const e = await post('', { type: 'totp' }, 202);
      await post(`/${encodeURIComponent(e.id)}/verify`, { auth_session: e.auth_session, otp_code: totp(e.manual_input_code, Date.now()) }, 201);
    }
  },
};

const [name, ...args] = process.argv.slice(2);
await commands[name](...args);

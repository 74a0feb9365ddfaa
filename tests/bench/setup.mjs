/* SPDX-License-Identifier: Apache-2.0
 * What the benchmark needs before it can start: keys and JWKS, tokens, state documents, five methods.
 * usage: setup.mjs keys DIR | tokens DIR ALG N BASE | state FILE N BASE | methods BASE TOKENS */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { jws, SCOPES } from '../daemon/lib/tokens.mjs';
import { totp } from '../daemon/lib/otp.mjs';

export const ISSUER = 'https://idp.bench.example/';
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
  state(file, n, base) {
    const users = Array.from({ length: Number(n) }, (_, i) => ({ user_id: userId(i), email: `b${i}@example.com`, email_verified: false, name: `User ${i}`, connection: 'Username-Password-Authentication' }));
    fs.writeFileSync(file, JSON.stringify({
      api: { active: true, user_access_policy: 'require_client_grant' },
      factors: { totp: true, email: true, phone: true, 'recovery-code': true, password: true, passkey: false, 'push-notification': false, 'webauthn-roaming': false, 'webauthn-platform': false },
      connections: [{ name: 'Username-Password-Authentication', strategy: 'auth0' }],
      clients: [{ client_id: 'spa', name: 'SPA', app_type: 'spa', is_first_party: true, callbacks: [] }],
      client_grants: [{ client_id: 'spa', audience: `${base}/me/`, subject_type: 'user', scope: SCOPES }], users,
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

/* SPDX-License-Identifier: Apache-2.0
 * The state document that test daemons start from. */
import { SCOPES } from './tokens.mjs';

export const DB = 'Username-Password-Authentication';
export const POOL = 80;
export const ORIGIN = 'http://localhost:3000';

export const POLICY = {
  complexity: { min_length: 8, character_types: ['lowercase', 'uppercase', 'number'], character_type_rule: 'all',
    identical_characters: 'allow', sequential_characters: 'allow', max_length_exceeded: 'error' },
  profile_data: { active: true, blocked_fields: ['email', 'name'] },
  history: { active: true, size: 5 }, dictionary: { active: true, default: 'en_10k' },
};

export function client(client_id, over = {}) {
  return { client_id, name: client_id, app_type: 'spa', is_first_party: true, callbacks: [`${ORIGIN}/callback`],
    allowed_origins: [ORIGIN], web_origins: [ORIGIN], cross_origin_authentication: true,
    grant_types: ['authorization_code', 'refresh_token'], ...over };
}

export function grant(base, client_id, scope = SCOPES) {
  return { client_id, audience: `${base}/me/`, subject_type: 'user', scope };
}

export function user(user_id, over = {}) {
  const local = user_id.split('|')[1];
  return { user_id, email: `${local}@example.com`, email_verified: false, name: `User ${local}`, connection: DB, blocked: false, ...over };
}

export function defaultState(base) {
  const pool = Array.from({ length: POOL }, (_, n) => user(`auth0|u${String(n).padStart(3, '0')}`));
  return {
    api: { active: true, user_access_policy: 'require_client_grant', client_access_policy: 'deny_all', enforce_rbac: false,
      allow_skipping_user_consent: true, default_policy: { require_2fa: false }, token_lifetime: 86400 },
    tenant: { friendly_name: 'Example', mfa_policy: 'never' },
    factors: { totp: true, email: true, phone: true, 'push-notification': false, 'recovery-code': true,
      'webauthn-roaming': false, 'webauthn-platform': false, passkey: false, password: true },
    connections: [{ name: DB, strategy: 'auth0', password_policy: POLICY }],
    clients: [client('spa'), client('native', { app_type: 'native', allowed_origins: [], web_origins: [], callbacks: [] }),
      client('nogrant', { allowed_origins: ['https://nogrant.example'], web_origins: [], callbacks: [] }),
      client('reader', { allowed_origins: ['https://reader.example'], web_origins: [], callbacks: [] }),
      client('tpc_third', { is_first_party: false, allowed_origins: ['https://third.example'], web_origins: [], callbacks: [] })],
    client_grants: [grant(base, 'spa'), grant(base, 'native'), grant(base, 'tpc_third'),
      grant(base, 'reader', ['read:me:factors', 'read:me:authentication_methods'])],
    roles: [{ name: 'member', permissions: ['read:me:factors'] },
      { name: 'editor', permissions: ['read:me:authentication_methods', 'create:me:authentication_methods'] }],
    users: [user('auth0|alice', { email: 'Alice@Example.com', email_verified: true, name: 'Alice Liddell' }),
      user('auth0|bob'), user('auth0|blocked', { blocked: true }),
      { user_id: 'google-oauth2|carol', email: 'carol@example.net', email_verified: false, name: 'Carol' }, ...pool],
  };
}

/* SPDX-License-Identifier: Apache-2.0
 * What can be asked for: the operations of the OpenAPI document, as it describes them, and a table in the same terms
 * for the token service, which is in no document. */
import { oas } from '../../daemon/lib/openapi.mjs';
import { DB } from '../../daemon/lib/state.mjs';
import { Schemas } from './schema.mjs';

export const schemas = new Schemas(oas);
const BASE = '/me/v1';

function described() {
  const out = [];
  for (const [path, methods] of Object.entries(oas.paths))
    for (const [method, op] of Object.entries(methods)) {
      if (!op.operationId) continue;
      const parameters = (op.parameters ?? []).map((p) => schemas.resolve(p));
      out.push({ id: op.operationId, style: 'api', method: method.toUpperCase(), path: `${BASE}${path}`, query: parameters.filter((p) => p.in === 'query'), item: path.includes('{'),
        body: op.requestBody?.content['application/json'].schema });
    }
  return out;
}

const text = (example) => ({ type: 'string', maxLength: 60, ...(example ? { example } : {}) });
const one = (...values) => ({ type: 'string', enum: values });
const object = (properties, required = []) => ({ type: 'object', properties, required });
const parameters = (properties, required = []) => Object.entries(properties).map(([name, schema]) => ({ name, schema, required: required.includes(name) }));
const CLIENT = { client_id: text('spa'), client_secret: text() };
const grantOf = (grant_type, properties, required = Object.keys(properties)) => object({ grant_type: { const: grant_type }, ...CLIENT, scope: text('openid offline_access'), audience: text(), ...properties }, ['grant_type', 'client_id', ...required]);
const WEBAUTHN = { type: 'object', properties: { id: text(), rawId: text(), type: { const: 'public-key' }, authenticatorAttachment: one('platform', 'cross-platform'), clientExtensionResults: { type: 'object' },
  response: object({ attestationObject: text(), clientDataJSON: text(), authenticatorData: text(), signature: text(), userHandle: text() }, ['clientDataJSON']) }, required: ['id', 'rawId', 'response', 'type'] };
const AUTHORIZE = { client_id: text('spa'), redirect_uri: text('http://localhost:3000/callback'), response_type: one('code', 'token', 'id_token', 'code id_token'), response_mode: one('query', 'fragment', 'form_post', 'web_message'), scope: text('openid profile'),
  state: text(), nonce: text(), audience: text(), code_challenge: { type: 'string', minLength: 43, maxLength: 43 }, code_challenge_method: one('S256', 'plain'), prompt: one('none', 'login', 'consent', 'select_account'), max_age: { type: 'integer' }, login_hint: text(),
  connection: text(DB), organization: text(), acr_values: text(), dpop_jkt: { type: 'string', minLength: 43, maxLength: 43 }, screen_hint: one('signup', 'login'), ui_locales: text('de en'), id_token_hint: text(), request: text(), request_uri: text('urn:x'), 'ext-x': text() };
const LOGOUT = { id_token_hint: text(), client_id: text('spa'), post_logout_redirect_uri: text('http://localhost:3000/callback'), state: text(), logout_hint: text(), ui_locales: text('de'), confirm: text(), federated: text() };
const TOKEN = { oneOf: [
  grantOf('authorization_code', { code: text(), redirect_uri: text('http://localhost:3000/callback'), code_verifier: { type: 'string', minLength: 43, maxLength: 128 } }),
  grantOf('refresh_token', { refresh_token: text() }), grantOf('password', { username: text(), password: text() }),
  grantOf('http://auth0.com/oauth/grant-type/password-realm', { username: text(), password: text(), realm: text(DB) }),
  grantOf('http://auth0.com/oauth/grant-type/mfa-otp', { mfa_token: text(), otp: text('123456') }), grantOf('http://auth0.com/oauth/grant-type/mfa-oob', { mfa_token: text(), oob_code: text(), binding_code: text('123456') }),
  grantOf('http://auth0.com/oauth/grant-type/mfa-recovery-code', { mfa_token: text(), recovery_code: text() }), grantOf('urn:okta:params:oauth:grant-type:webauthn', { auth_session: text(), authn_response: WEBAUTHN }),
  grantOf('urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token', { subject_token: text(), subject_token_type: one('urn:ietf:params:oauth:token-type:refresh_token', 'urn:ietf:params:oauth:token-type:access_token'),
    requested_token_type: one('http://auth0.com/oauth/token-type/federated-connection-access-token'), connection: text('acme'), login_hint: text() }),
  grantOf('client_credentials', {}), grantOf('urn:ietf:params:oauth:grant-type:device_code', { device_code: text() }),
  grantOf('authorization_code', { client_assertion: text('a.b.c'), client_assertion_type: one('urn:ietf:params:oauth:client-assertion-type:jwt-bearer'), code: text() })] };

const oauth = (id, method, path, body, required, more = {}) => ({ id, style: 'oauth', method, path, query: [], body: body && (body.oneOf ? body : object(body, required)), forms: true, ...more });
const page = (id, method, path, query, body, more = {}) => ({ id, style: 'page', method, path, query: parameters(query ?? {}), body: body && object(body), formOnly: true, ...more });
const SERVICE = [
  oauth('token', 'POST', '/oauth/token', TOKEN),
  oauth('revoke', 'POST', '/oauth/revoke', { ...CLIENT, token: text(), token_type_hint: one('refresh_token', 'access_token') }, ['client_id', 'token']),
  oauth('introspect', 'POST', '/oauth/introspect', { ...CLIENT, token: text(), token_type_hint: one('refresh_token', 'access_token') }, ['client_id', 'token']),
  oauth('getUserinfo', 'GET', '/userinfo', undefined, [], { bearer: 'userinfo' }), oauth('postUserinfo', 'POST', '/userinfo', { access_token: text() }, [], { bearer: 'userinfo' }),
  oauth('mfaChallenge', 'POST', '/mfa/challenge', { ...CLIENT, mfa_token: text(), challenge_type: one('otp', 'oob', 'otp oob', ''), authenticator_id: text() }, ['client_id', 'mfa_token']),
  oauth('mfaAuthenticators', 'GET', '/mfa/authenticators', undefined, [], { bearer: 'mfa' }),
  oauth('mfaAssociate', 'POST', '/mfa/associate', { ...CLIENT, authenticator_types: { type: 'array', items: one('otp', 'oob'), minItems: 1, maxItems: 2 }, oob_channels: { type: 'array', items: one('sms', 'voice', 'email', 'auth0'), minItems: 1, maxItems: 2 }, phone_number: text(), email: text() }, ['authenticator_types'], { bearer: 'mfa' }),
  oauth('mfaDelete', 'DELETE', '/mfa/authenticators/{id}', undefined, [], { bearer: 'mfa', item: true }),
  oauth('passkeyChallenge', 'POST', '/passkey/challenge', { ...CLIENT, realm: text(DB), organization: text() }, ['client_id']),
  oauth('passkeyRegister', 'POST', '/passkey/register', { ...CLIENT, realm: text(DB), organization: text(), user_profile: object({ email: text(), name: text(), phone_number: text(), username: text(), given_name: text() }), user_metadata: { type: 'object', properties: { a: text() } } }, ['client_id', 'user_profile']),
  page('authorize', 'GET', '/authorize', AUTHORIZE), page('postAuthorize', 'POST', '/authorize', {}, AUTHORIZE),
  page('loginPage', 'GET', '/u/login', { state: text() }), page('loginPost', 'POST', '/u/login', {}, { state: text(), action: one('password', 'code', 'choose', 'restart', 'allow', 'deny', 'enrol', 'confirm', 'resend', 'skip', 'leave', 'keep', 'continue', 'passkey', 'x'), username: text(), password: text(), code: text('123456'), method: text(), address: text(), credential: text(), response: text('{}') }),
  page('logout', 'GET', '/v2/logout', { client_id: text('spa'), returnTo: text('http://localhost:3000/callback'), federated: text(), auth0Client: text() }),
  page('oidcLogout', 'GET', '/oidc/logout', LOGOUT), page('postOidcLogout', 'POST', '/oidc/logout', {}, LOGOUT),
  page('notMePage', 'GET', '/security/not-me', { token: text() }), page('notMePost', 'POST', '/security/not-me', {}, { token: text() }),
  page('keepAccountPage', 'GET', '/security/keep-account', { token: text() }), page('keepAccountPost', 'POST', '/security/keep-account', {}, { token: text() }),
  page('newPasswordPage', 'GET', '/security/password', { token: text() }), page('newPasswordPost', 'POST', '/security/password', {}, { token: text(), password: text() }),
  page('visitConnect', 'GET', '/connected-accounts/connect', { ticket: text() }), page('connectCallback', 'GET', '/me/v1/connected-accounts/callback', { state: text(), code: text(), iss: text(), error: text('access_denied'), error_description: text() }),
  page('loginCallback', 'GET', '/login/callback', { state: text(), code: text(), error: text('access_denied') }),
  { id: 'getPageAsset', style: 'page', method: 'GET', path: '/u/assets/{name}', query: [], item: true },
  ...['openid-configuration', 'oauth-authorization-server', 'jwks.json', 'webauthn', 'apple-app-site-association', 'assetlinks.json'].map((n) => ({ id: n, style: 'file', method: 'GET', path: `/.well-known/${n}`, query: [] })),
  { id: 'explainError', style: 'file', method: 'GET', path: '/api-errors/{code}', query: [], item: true },
  { id: 'nowhere', style: 'file', method: 'GET', path: '/nowhere/at/{all}', query: [], item: true },
];

export const OPERATIONS = [...described(), ...SERVICE];
export const byId = Object.fromEntries(OPERATIONS.map((o) => [o.id, o]));
export const DESCRIBED = OPERATIONS.filter((o) => o.style === 'api').map((o) => o.id);

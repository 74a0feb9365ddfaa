/* SPDX-License-Identifier: Apache-2.0
 * The ways through the operations that reach what single requests do not: each yields plans and takes the answers. */
import { COSE_ALG, Credential, create, get } from '../../daemon/lib/authenticator.mjs';
import { CALLBACK as CONNECT_CALLBACK } from '../../daemon/lib/connect.mjs';
import { GRANT } from '../../daemon/lib/oauth.mjs';
import { CHALLENGE, VERIFIER, forms, unescape } from '../../daemon/lib/login.mjs';
import { DB } from '../../daemon/lib/state.mjs';
import { totp } from '../../daemon/lib/otp.mjs';
import { Browser } from '../../daemon/lib/upstream.mjs';
import { OPERATIONS } from './operations.mjs';
import { CALLBACK, SECRET } from './world.mjs';

const CREATE = 'createAuthenticationMethod';
const VERIFY = 'confirmAuthenticationMethod';
const LATE = 301000;
const STEP = 30000;
const SCOPE = 'openid profile email offline_access read:me:factors';
const WEBAUTHN = 'urn:okta:params:oauth:grant-type:webauthn';
const KEPT = 3;
const FAITHFUL = 4;

const otp = (p, secret, entry) => p.code(totp(secret, p.d.now()), { totp: entry });
const create202 = function* (p, body) {
  const e = yield p.plan(CREATE, { body });
  return e.status === 202 ? e.json : null;
};
/* Room for the next one: a user may have five of a kind. */
function* tidy(p, type, keep = KEPT) {
  const l = yield p.plan('getAuthenticationMethods', { query: [['type', type]] });
  for (const m of (l.json?.authentication_methods ?? []).slice(keep)) yield p.plan('deleteAuthenticationMethod', { id: m.id });
}

/* --- methods --- */
export function* enrolTotp(p) {
  const e = yield* create202(p, { type: 'totp' });
  if (!e) return yield* tidy(p, 'totp', 1);
  const v = yield p.plan(VERIFY, { id: e.id, body: { auth_session: e.auth_session, otp_code: otp(p, e.manual_input_code, { value: e.manual_input_code }) } });
  if (v.status !== 201) return undefined;
  p.seed = e.manual_input_code;
  yield p.plan('updateAuthenticationMethod', { id: v.json.id, body: { name: `My app ${p.me.mark}` } });
  yield p.plan('getAuthenticationMethod', { id: v.json.id });
  return yield* tidy(p, 'totp');
}
function* enrolAddress(p, type, body, to) {
  const e = yield* create202(p, body);
  if (!e) return yield* tidy(p, type, 1);
  const code = yield { wait: () => p.message(to) };
  const v = yield p.plan(VERIFY, { id: e.id, body: { auth_session: e.auth_session, otp_code: code ?? '000000' } });
  if (v.status === 201) (p.reached ??= new Map()).set(v.json.id, to);
  if (v.status === 201 && type === 'phone') yield p.plan('updateAuthenticationMethod', { id: v.json.id, body: { preferred_authentication_method: 'voice' } });
  return yield* tidy(p, type);
}
export function* enrolEmail(p) { const email = p.mail(); yield* enrolAddress(p, 'email', { type: 'email', email }, email); }
export function* enrolPhone(p) { const n = p.number(); yield* enrolAddress(p, 'phone', { type: 'phone', phone_number: n, preferred_authentication_method: 'sms' }, n); }
export function* enrolRecovery(p) {
  const e = yield* create202(p, { type: 'recovery-code' });
  if (e) yield p.plan(VERIFY, { id: e.id, body: { auth_session: e.auth_session } });
}
export function* changePassword(p) {
  const e = yield* create202(p, { type: 'password' });
  if (e) yield p.plan(VERIFY, { id: e.id, body: { auth_session: e.auth_session, new_password: p.password() } });
}
export function* enrolPasskey(p) {
  const e = yield* create202(p, { type: 'passkey' });
  if (!e) return yield* tidy(p, 'passkey', 1);
  const credential = new Credential('ES256');
  const options = e.authn_params_public_key;
  const v = yield p.plan(VERIFY, { id: 'passkey|new', body: { auth_session: e.auth_session, authn_response: create(options, p.d.base, {}, credential) } });
  if (v.status === 201) p.passkey = { credential, handle: options.user.id };
  return yield* tidy(p, 'passkey', 2);
}
export function* enrolKey(p) {
  const type = p.r.of(['webauthn-roaming', 'webauthn-platform']);
  const e = yield* create202(p, { type });
  if (!e) return yield* tidy(p, type, 1);
  yield p.plan(VERIFY, { id: e.id, body: { auth_session: e.auth_session, authn_response: create(e.authn_params_public_key, p.d.base, { alg: p.r.of(Object.keys(COSE_ALG)) }) } });
  return yield* tidy(p, type);
}
/* Verified when it is too late, twice, or after it was deleted. */
export function* tooLate(p) {
  const e = yield* create202(p, { type: 'totp' });
  if (!e) return yield* tidy(p, 'totp', 1);
  const body = () => ({ auth_session: e.auth_session, otp_code: otp(p, e.manual_input_code, { value: e.manual_input_code }) });
  const how = p.r.below(8);
  if (how === 0) yield { advance: LATE };
  else if (how < 4) yield p.plan('deleteAuthenticationMethod', { id: e.id });
  yield p.plan(VERIFY, { id: e.id, body: body() });
  yield p.plan(VERIFY, { id: e.id, body: body() });
  return yield p.plan('deleteAuthenticationMethod', { id: e.id });
}

/* "This was not me": the link of a notice, its page and its button. What it undoes is gone for good (a changed password
 * needs another), so only some users press it. */
export function* notMe(p) {
  yield { wait: () => p.message('', 0) };
  const token = p.pick('link');
  if (!token) return;
  yield p.plan('notMePage', { query: [['token', token]] });
  if (p.n < FAITHFUL) return;
  yield p.plan('notMePost', { body: { token } });
  yield p.plan('newPasswordPage', { query: [['token', token]] });
  yield p.plan('newPasswordPost', { body: { token, password: p.password() } });
}

/* --- lists --- */
export function* lists(p) {
  yield p.plan('getFactors');
  yield p.plan('getAuthenticationMethods', { query: [] });
  for (const [op, take] of [['getConnectedAccountsConnections', 2], ['getConnectedAccounts', 1], ['getOrganizations', 1]]) {
    let next;
    for (let n = 0; n < 4; n++) {
      const a = yield p.plan(op, { query: [['take', String(take)], ...(next ? [['from', next]] : [])] });
      next = a.json?.next;
      if (!next) break;
    }
  }
  const c = yield p.plan('getConsents');
  for (const x of (c.json?.consents ?? []).slice(0, 1)) yield p.plan('getConsent', { id: x.id });
}

/* --- connected accounts --- */
export function* connect(p) {
  const c = yield p.plan('createConnectedAccountRequest', { body: { connection: p.r.of(['acme', 'acme-1', 'acme-2']), redirect_uri: CALLBACK, state: `s${p.me.mark}`, code_challenge: CHALLENGE, code_challenge_method: 'S256', scopes: ['openid', 'profile'], authorization_params: { login_hint: p.me.email } } });
  const ticket = c.json?.connect_params?.ticket;
  if (!ticket) return undefined;
  const gone = yield p.plan('visitConnect', { query: [['ticket', ticket]] });
  const to = gone.headers.location;
  if (!to?.startsWith(`${p.world.acme.origin}/`)) return undefined;
  const back = yield { wait: () => p.world.acme.login(to, { browser: new Browser(p.world.acme.origin), user: `at${p.me.mark}${p.visits = ((p.visits ?? 0) + 1) % 3}` }).catch(() => undefined) };
  if (!back) return undefined;
  const url = new URL(back);
  const landed = yield p.plan(url.pathname === CONNECT_CALLBACK ? 'connectCallback' : 'loginCallback', { query: [...url.searchParams] });
  const code = landed.headers.location && new URL(landed.headers.location, p.d.base).searchParams.get('connect_code');
  yield p.plan('completeConnectedAccountRequest', { body: { auth_session: c.json.auth_session, connect_code: code ?? 'x'.repeat(43), redirect_uri: CALLBACK, code_verifier: VERIFIER } });
  const l = yield p.plan('getConnectedAccounts', { query: [] });
  for (const a of (l.json?.accounts ?? []).slice(1)) yield p.plan('deleteConnectedAccount', { id: a.id });
  return undefined;
}

/* --- the token service --- */
const token = (p, body, over = {}) => p.plan('token', { body: { client_id: 'app', ...body }, ...over });
export function* signIn(p) {
  const client_id = p.r.of(['app', 'app', 'web']);
  const client = { client_id, ...(client_id === 'web' ? { client_secret: SECRET } : {}) };
  const a = yield token(p, { ...client, grant_type: p.r.of(['password', GRANT.realm]), username: p.me.email, password: p.secret, realm: DB, scope: SCOPE });
  const { access_token, refresh_token } = a.json ?? {};
  if (!refresh_token) return;
  yield p.plan('getUserinfo', { headers: [['Authorization', `Bearer ${access_token}`]] });
  const b = yield token(p, { ...client, grant_type: 'refresh_token', refresh_token, audience: `${p.d.base}/me/`, scope: 'openid offline_access read:me:factors' });
  const now = b.json?.refresh_token ?? refresh_token;
  yield p.plan('postUserinfo', { body: { access_token }, form: true });
  if (client_id === 'web') {
    yield p.plan('introspect', { body: { ...client, token: now } });
    yield token(p, { ...client, grant_type: GRANT.vault, subject_token: now, subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token', requested_token_type: 'http://auth0.com/oauth/token-type/federated-connection-access-token', connection: 'acme' });
  }
  yield p.plan('revoke', { body: { ...client, token: now, token_type_hint: 'refresh_token' } });
}
export function* secondFactor(p) {
  const a = yield token(p, { client_id: 'ruled', grant_type: 'password', username: p.me.email, password: p.secret, audience: `${p.d.base}/me/`, scope: 'openid read:me:factors' });
  const mfa_token = a.json?.mfa_token;
  if (!mfa_token) return;
  const bearer = { headers: [['Authorization', `Bearer ${mfa_token}`]] };
  const l = yield p.plan('mfaAuthenticators', bearer);
  yield p.plan('mfaAssociate', { body: { client_id: 'ruled', authenticator_types: p.r.below(2) ? ['otp'] : ['oob'], oob_channels: ['email'], email: p.mail() }, ...bearer });
  const list = Array.isArray(l.json) ? l.json : [];
  const one = list.find((x) => p.reached?.has(x.id)) ?? list[0];
  const c = yield p.plan('mfaChallenge', { body: { client_id: 'ruled', mfa_token, challenge_type: 'otp oob', ...(one ? { authenticator_id: one.id } : {}) } });
  if (c.json?.oob_code) {
    const code = yield { wait: () => (p.reached?.has(one?.id) ? p.message(p.reached.get(one.id)) : undefined) };
    yield token(p, { client_id: 'ruled', grant_type: GRANT.oob, mfa_token, oob_code: c.json.oob_code, binding_code: code ?? '000000' });
  }
  if (p.seed && !p.r.below(3)) yield { advance: STEP };
  yield token(p, { client_id: 'ruled', grant_type: GRANT.otp, mfa_token, otp: p.seed ? otp(p, p.seed, { value: p.seed }) : '000000' });
  yield token(p, { client_id: 'ruled', grant_type: GRANT.recovery, mfa_token, recovery_code: p.pick('recovery_code') ?? 'ABCDEFGHIJKLMNOPQRSTUVWX' });
  if (one) yield p.plan('mfaDelete', { id: one.id, ...bearer });
}
export function* withPasskey(p) {
  const c = yield p.plan('passkeyChallenge', { body: { client_id: 'app', realm: DB } });
  if (!c.json?.auth_session) return;
  const options = c.json.authn_params_public_key;
  const credential = p.passkey?.credential ?? new Credential('ES256');
  const response = get(options, p.d.base, credential, p.passkey?.handle ?? 'AAAA');
  yield token(p, { grant_type: WEBAUTHN, auth_session: c.json.auth_session, authn_response: response, scope: SCOPE, audience: `${p.d.base}/me/` });
}
export function* signUp(p) {
  const email = p.mail();
  const c = yield p.plan('passkeyRegister', { body: { client_id: 'app', realm: DB, user_profile: { email, name: `New ${p.me.mark}` } } });
  if (!c.json?.auth_session) return;
  const response = create(c.json.authn_params_public_key, p.d.base, {}, new Credential('ES256'));
  yield token(p, { grant_type: WEBAUTHN, auth_session: c.json.auth_session, authn_response: response, scope: SCOPE });
}

/* --- the hosted pages: follows redirects and fills in forms, as far as it goes --- */
const VALUES = (p) => ({ username: p.me.email, password: p.secret, code: p.seed ? otp(p, p.seed, { value: p.seed }) : '000000', address: p.mail() });
const PREFER = ['password', 'allow', 'code', 'continue', 'skip', 'confirm', 'restart', 'choose', 'enrol'];
function inside(p, url) {
  const u = new URL(unescape(url), p.d.base);
  return u.origin === p.d.base ? u : null;
}
export function* browse(p, client_id = undefined) {
  const client = client_id ?? p.r.of(['spa', 'spa', 'third', 'web']);
  const query = [['client_id', client], ['redirect_uri', CALLBACK], ['response_type', 'code'], ['scope', SCOPE], ['state', 'st4te'], ['nonce', 'n0nce'], ['code_challenge', CHALLENGE], ['code_challenge_method', 'S256'],
    ...(p.r.below(2) && !client_id ? [['audience', `${p.d.base}/me/`]] : []), ...(client_id || p.r.below(3) ? [['prompt', 'login']] : [])];
  let a = yield client_id || p.r.below(4) ? p.plan('authorize', { query }) : p.plan('postAuthorize', { body: Object.fromEntries(query) });
  for (let n = 0; n < 8; n++) {
    if ([302, 303].includes(a.status)) {
      const u = inside(p, a.headers.location ?? '');
      if (!u) break;
      a = yield p.plan(u.pathname === '/u/login' ? 'loginPage' : 'authorize', { query: [...u.searchParams] });
      continue;
    }
    const all = forms(a.text ?? '').filter((f) => f.method === 'post');
    const f = PREFER.map((x) => all.find((g) => g.fields.action?.value === x)).find(Boolean);
    if (!f) break;
    const values = VALUES(p);
    const body = Object.fromEntries(Object.entries(f.fields).filter(([k]) => k !== 'undefined').map(([k, x]) => [k, k === 'state' || k === 'action' || k === 'method' ? x.value ?? '' : values[k] ?? x.value ?? '']));
    a = yield p.plan('loginPost', { body });
  }
  const landed = a.headers.location ?? a.text?.match(/<meta http-equiv="refresh" content="0;url=([^"]+)">/)?.[1] ?? '';
  const code = unescape(landed).match(/[?&#]code=([\w-]+)/)?.[1];
  if (code) yield token(p, { client_id: client, ...(client === 'web' ? { client_secret: SECRET } : {}), grant_type: 'authorization_code', code, redirect_uri: CALLBACK, code_verifier: VERIFIER });
  if (!client_id && !p.r.below(3)) yield p.plan(p.r.of(['logout', 'oidcLogout', 'postOidcLogout']));
}
export function* signInThird(p) { yield* browse(p, 'third'); }

/* --- whatever the documents allow --- */
export function* anything(p) {
  for (let n = 0; n < 4; n++) yield p.plan(p.r.of(OPERATIONS).id);
}
/* Every operation once as its schema has it. */
export function* everything(p) {
  for (const op of OPERATIONS) yield p.plan(op.id);
}

/* What a daemon is shown first, unbent: after it every operation of the document has answered well. */
export const OPENING = [enrolTotp, enrolEmail, enrolPhone, enrolRecovery, changePassword, enrolPasskey, enrolKey, connect, connect, signInThird, lists, signIn, secondFactor, withPasskey, signUp, everything];
/* Later, with these weights. */
export const JOURNEYS = [[enrolTotp, 4], [enrolEmail, 3], [enrolPhone, 2], [enrolRecovery, 2], [changePassword, 1], [enrolPasskey, 3], [enrolKey, 3], [tooLate, 2], [lists, 4], [connect, 2], [signIn, 4], [secondFactor, 4], [withPasskey, 2], [signUp, 1], [notMe, 1], [browse, 6], [anything, 12]]
  .flatMap(([j, n]) => Array.from({ length: n }, () => j));

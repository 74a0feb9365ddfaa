/* SPDX-License-Identifier: Apache-2.0
 * Signing in: authorization code with PKCE (RFC 7636), tokens bound to a key of this visit (DPoP, RFC 9449). Tokens and
 * key live in memory alone; what is kept over a redirect is the verifier. */
import { t } from './i18n.js';
import { action, actions, dialog, h } from './dom.js';

const REDIRECT = `${location.origin}/account`;
const KEPT = 'account-sign-in';
const CHANNEL = 'account-popup';
const POPUP = 'popup.';
const HINT_MAX = 4096; /* an address that is much longer is refused */
const SCOPE = ['openid', 'profile', 'offline_access',
  'read:me:factors', 'read:me:authentication_methods', 'create:me:authentication_methods', 'update:me:authentication_methods', 'delete:me:authentication_methods',
  'read:me:connected_accounts', 'create:me:connected_accounts', 'delete:me:connected_accounts', 'read:me:consents', 'delete:me:consents',
  'read:me:sessions', 'delete:me:sessions', 'read:me:activity', 'read:me:profile', 'update:me:profile',
  'create:me:exports', 'read:me:exports', 'delete:me:account'].join(' ');

export let config;
let endpoints;
let key;
let publicJwk;
let subject; /* who is signed in: nobody else from then on */
let tokens; /* { access, refresh, expires, idToken } */
let skew = 0; /* what the server's clock is ahead, ms */
let nonce = {};

const b64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const text = (s) => new TextEncoder().encode(s);
const sha256 = async (s) => b64url(await crypto.subtle.digest('SHA-256', text(s)));
const random = (n = 32) => b64url(crypto.getRandomValues(new Uint8Array(n)));

export async function prepare() {
  const res = await fetch('/account/config.json', { mode: 'cors', credentials: 'same-origin' });
  config = await res.json();
  const now = Date.parse(res.headers.get('date') ?? '');
  nonce[location.origin] = res.headers.get('dpop-nonce') ?? undefined;
  if (now && Math.abs(now - Date.now()) > 5000) skew = now - Date.now();
  const own = config.issuer === `${location.origin}/`;
  const meta = own ? {} : await (await fetch(`${config.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)).json();
  endpoints = {
    authorize: meta.authorization_endpoint ?? `${config.issuer}authorize`,
    token: meta.token_endpoint ?? `${config.issuer}oauth/token`,
    logout: meta.end_session_endpoint ?? `${config.issuer}oidc/logout`,
  };
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
  key = pair.privateKey;
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
  publicJwk = { kty, crv, x, y };
}

/* --- proofs --- */

async function proof(method, url, token) {
  const u = new URL(url);
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk };
  const claims = { jti: random(16), htm: method, htu: u.origin + u.pathname, iat: Math.floor((Date.now() + skew) / 1000),
    ...(token ? { ath: await sha256(token) } : {}), ...(nonce[u.origin] ? { nonce: nonce[u.origin] } : {}) };
  const input = `${b64url(text(JSON.stringify(header)))}.${b64url(text(JSON.stringify(claims)))}`;
  return `${input}.${b64url(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, text(input)))}`;
}

/* fetch with a proof; once more when the server asks for its nonce (RFC 9449 §8, §9). */
export async function send(method, url, options = {}, token) {
  for (let again = false; ; again = true) {
    const headers = { ...options.headers, DPoP: await proof(method, url, token), ...(token ? { Authorization: `DPoP ${token}` } : {}) };
    const res = await fetch(url, { ...options, method, headers });
    const fresh = res.headers.get('dpop-nonce');
    const known = nonce[new URL(url).origin];
    if (fresh) nonce[new URL(url).origin] = fresh;
    if (again || !fresh || fresh === known || (res.status !== 401 && res.status !== 400)) return res;
    const said = `${res.headers.get('www-authenticate') ?? ''}${await res.clone().text()}`;
    if (!said.includes('use_dpop_nonce')) return res;
  }
}

/* --- tokens --- */

export class SignInError extends Error {}

async function exchange(form) {
  const res = await send('POST', endpoints.token, { headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams({ client_id: config.client_id, ...form }) });
  const body = await res.json().catch(() => ({}));
  if (!res.ok) throw new SignInError(body.error_description ?? body.error ?? `HTTP ${res.status}`);
  const who = body.id_token ? JSON.parse(atob(body.id_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).sub : subject;
  if (subject && who !== subject) throw new Error(t('other_user'));
  subject = who;
  tokens = { access: body.access_token, refresh: body.refresh_token ?? tokens?.refresh, idToken: body.id_token ?? tokens?.idToken,
    expires: Date.now() + (body.expires_in - 20) * 1000 };
}

let refreshing;
export async function token({ fresh = false } = {}) {
  if (!tokens) throw new SignInError('signed out');
  if (fresh || tokens.expires < Date.now()) {
    if (!tokens.refresh) throw new SignInError('expired');
    refreshing ??= exchange({ grant_type: 'refresh_token', refresh_token: tokens.refresh }).finally(() => { refreshing = undefined; });
    await refreshing;
  }
  return tokens.access;
}

export const signedIn = () => Boolean(tokens);

async function authorizeUrl(verifier, state, more = {}) {
  const q = new URLSearchParams({ response_type: 'code', client_id: config.client_id, redirect_uri: REDIRECT, scope: SCOPE, audience: config.audience,
    state, code_challenge: await sha256(verifier), code_challenge_method: 'S256', ...more });
  return `${endpoints.authorize}?${q}`;
}

/* Leaves the page; comes back with a code. */
export async function signIn(more = {}) {
  const verifier = random(48);
  const state = random();
  sessionStorage.setItem(KEPT, JSON.stringify({ verifier, state, view: location.hash }));
  location.assign(await authorizeUrl(verifier, state, more));
  return new Promise(() => {});
}

/* The first thing at a visit: in a window that the page opened, hands the answer over and closes. True: nothing to show. */
export function relayed() {
  const q = new URLSearchParams(location.search);
  if (!q.get('state')?.startsWith(POPUP)) return false;
  new BroadcastChannel(CHANNEL).postMessage(Object.fromEntries(q));
  window.close();
  return true;
}

/* What the address says: true when this visit came back with a code that was good. */
export async function finish() {
  const q = new URLSearchParams(location.search);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
  if (!q.has('state')) return false;
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, '', `/account${kept?.view ?? ''}`);
  if (!kept || q.get('state') !== kept.state) throw new SignInError(t('sign_in_mixed_up'));
  if (q.has('error')) throw new SignInError(q.get('error_description') ?? q.get('error'));
  if (q.has('iss') && q.get('iss') !== config.issuer) throw new SignInError(t('sign_in_mixed_up'));
  await exchange({ grant_type: 'authorization_code', code: q.get('code'), redirect_uri: REDIRECT, code_verifier: kept.verifier });
  return true;
}

/* --- windows --- */

/* Opens a window at url(state) and resolves with the query that it comes back with; undefined when `signal` ends the
 * waiting, or the window was closed. A page of another site may cut the tie (COOP), and then seems closed: `own` says that
 * only pages of ours are shown. */
export function popup(url, { own = false, signal } = {}) {
  return new Promise((resolve, reject) => {
    const state = POPUP + random();
    const w = window.open('about:blank', '_blank', 'popup,width=480,height=720');
    if (!w) { reject(new Error(t('popup_blocked'))); return; }
    const channel = new BroadcastChannel(CHANNEL);
    let over = false;
    const done = (value) => { over = true; clearInterval(timer); channel.close(); resolve(value); };
    let closed = 0;
    const timer = setInterval(() => { if (own && w.closed && ++closed > 4) done(undefined); }, 500);
    signal?.addEventListener('abort', () => { w.close(); done(undefined); });
    channel.onmessage = ({ data }) => { if (data.state === state) { w.close(); done(data); } };
    url(state).then((u) => { if (!over) w.location.replace(u); }, (e) => { w.close(); clearInterval(timer); channel.close(); reject(e); });
  });
}

/* The API asks for a recent (second) factor: in a window of its own, so that nothing here is lost. */
export async function stepUp({ acr, maxAge }) {
  return await dialog(t('step_up_title'), (close) => {
    const trouble = h('p', { class: 'alert', role: 'alert', hidden: true });
    const go = action(t('step_up_go'), async () => {
      trouble.hidden = true;
      try {
        const verifier = random(48);
        const answer = await popup((state) => authorizeUrl(verifier, state, { ...(acr ? { acr_values: acr } : {}), ...(maxAge ? { max_age: maxAge } : { prompt: 'login' }) }), { own: true });
        if (!answer) return;
        if (answer.error) throw new Error(answer.error_description ?? answer.error);
        if (answer.iss && answer.iss !== config.issuer) throw new Error(t('sign_in_mixed_up'));
        await exchange({ grant_type: 'authorization_code', code: answer.code, redirect_uri: REDIRECT, code_verifier: verifier });
        close(true);
      } catch (e) {
        trouble.textContent = e.message;
        trouble.hidden = false;
      }
    }, { class: 'main', autofocus: true });
    return [h('p', {}, t('step_up_text')), trouble, actions(go, action(t('cancel'), async () => close(false)))];
  });
}

export function signOut() {
  const hint = tokens?.idToken.length <= HINT_MAX ? tokens.idToken : undefined; /* else the issuer asks first */
  tokens = undefined;
  sessionStorage.setItem('account-signed-out', '1');
  const q = new URLSearchParams({ client_id: config.client_id, post_logout_redirect_uri: REDIRECT, ...(hint ? { id_token_hint: hint } : {}) });
  location.assign(`${endpoints.logout}?${q}`);
}

export const connectRedirect = REDIRECT;

/* SPDX-License-Identifier: Apache-2.0
 * Connecting an account: a daemon with identity providers, and the steps of the client, the browser and the user. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { Daemon, eventually, merge } from './daemon.mjs';
import { DB, ORIGIN, POLICY, client, grant, user } from './state.mjs';
import { SCOPES } from './tokens.mjs';
import { Browser, SECRETS } from './upstream.mjs';

export const CA = '/me/v1/connected-accounts';
export const ACCOUNTS = `${CA}/accounts`;
export const CONNECTIONS = `${CA}/connections`;
export const accountPath = (id) => `${ACCOUNTS}/${encodeURIComponent(id)}`;
export const CALLBACK = `${CA}/callback`;
export const CA_SCOPES = ['create:me:connected_accounts', 'read:me:connected_accounts', 'delete:me:connected_accounts'];
const SCOPE = [...SCOPES, ...CA_SCOPES].join(' ');
export const REDIRECT = `${ORIGIN}/callback`;
export const REDIRECT_QUERY = `${ORIGIN}/back?tab=1&x=%2F`;
/* Standard base64, as the vendor's SDK makes its states. */
export const STATE = 'a+b/c+d/eA==';
export const challenge = (verifier) => crypto.createHash('sha256').update(verifier).digest('base64url');
export const random = (n = 32) => crypto.randomBytes(n).toString('base64url');

/* A connection of the state document. */
export const connection = (name, options, over = {}) => ({ name, strategy: 'oidc', connected_accounts: { active: true }, options, ...over });
const CROWD = Array.from({ length: 250 }, (_, n) => `auth0|m${String(n).padStart(3, '0')}`);
export const CLIENTS = [client('spa', { callbacks: [REDIRECT, REDIRECT_QUERY] }), client('native', { app_type: 'native', allowed_origins: [], web_origins: [], callbacks: [REDIRECT] })];

/* A daemon whose connections lead to these providers. */
export async function connectDaemon({ upstreams = [], connections = [], config = {}, state = {} } = {}) {
  const d = await Daemon.start({ config: merge({ network: { allow_http_loopback: true } }, config) });
  for (const u of upstreams) {
    u.trust?.(d.base);
    u.secrets = (kind, value) => d.secrets.add(kind, value);
    u.offset = () => d.offset;
  }
  for (const s of Object.values(SECRETS)) d.secrets.add('client_secret', s);
  d.upstreams = upstreams;
  d.crowd = CROWD.values();
  d.apply({ connections: [{ name: DB, strategy: 'auth0', password_policy: POLICY }, ...connections], clients: CLIENTS,
    users: CROWD.map((u) => user(u)), client_grants: ['spa', 'native'].map((c) => grant(d.base, c, [...SCOPES, ...CA_SCOPES])), ...state });
  return d;
}
/* The daemon and its providers, at the end of a file. */
export async function stopAll(d, ...upstreams) {
  for (const u of upstreams) u?.calm();
  try { await d?.stop(); } finally { for (const u of upstreams) await u?.stop(); }
}

/* A session that may do all of this; of a user nobody else in the file is, unless named. */
export function member(d, { user: id = d.crowd.next().value, ...over } = {}) {
  assert.ok(id, 'the users are used up');
  return d.as(id, { scope: SCOPE, ...over });
}

/* One connection under way: what the client knows of it, and its user's browser. */
export class Journey {
  /* body: members of the request; undefined ones are left out. */
  static async begin(s, body = {}, browser = undefined) {
    const verifier = random();
    s.d.secrets.add('code_verifier', verifier);
    const sent = { connection: 'acme', redirect_uri: REDIRECT, state: STATE, code_challenge: challenge(verifier), code_challenge_method: 'S256', ...body };
    const r = await s.want(201, 'POST', `${CA}/connect`, sent);
    s.d.secrets.add('ticket', r.json.connect_params.ticket);
    return Object.assign(new Journey(), { s, d: s.d, sent, verifier, begun: r.json, browser: browser ?? new Browser(s.d.base, ...s.d.upstreams.map((u) => u.origin)) });
  }
  get ticketUrl() { return `${this.begun.connect_uri}?ticket=${encodeURIComponent(this.begun.connect_params.ticket)}`; }
  /* The browser opens the ticket: the provider's authorization URL, or wherever else it is sent. */
  async leave() {
    const res = await this.browser.fetch(this.ticketUrl);
    assert.equal(res.status, 302, `${this.ticketUrl.split('?')[0]} -> ${res.status} ${res.text}`);
    this.cookie = res.headers['set-cookie'];
    this.authorization = new URL(res.location);
    return res.location;
  }
  /* The user logs in at the provider, unless told otherwise by a name of their own: the callback, not yet opened. */
  async provide(how = {}) {
    const url = this.authorization.href;
    const u = this.d.upstreams.find((p) => url.startsWith(`${p.origin}/`));
    assert.ok(u, `sent to ${url}`);
    this.callback = await u.login(url, { browser: this.browser, user: this.s.user.split('|')[1], ...how });
    return this.callback;
  }
  /* The browser opens the callback: where the daemon sends it, as URL. */
  async back(callback = this.callback, browser = this.browser) {
    const res = await browser.fetch(callback);
    assert.equal(res.status, 302, `callback -> ${res.status} ${res.text}`);
    this.landed = new URL(res.location);
    this.code = this.landed.searchParams.get('connect_code');
    if (this.code) this.d.secrets.add('connect_code', this.code);
    return this.landed;
  }
  /* All of the browser's part. */
  async travel(how = {}) {
    await this.leave();
    await this.provide(how);
    return this.back();
  }
  proof(over = {}) {
    return { auth_session: this.begun.auth_session, connect_code: this.code, redirect_uri: this.sent.redirect_uri,
      ...(this.sent.code_challenge ? { code_verifier: this.verifier } : {}), ...over };
  }
  complete(over = {}, s = this.s) { return s.post(`${CA}/complete`, this.proof(over)); }
}

/* A journey that has come back with a code. */
export async function travelled(s, body = {}, how = {}) {
  const j = await Journey.begin(s, body);
  await j.travel(how);
  assert.match(j.code ?? '', /^[A-Za-z0-9_-]{43}$/, `came back with ${j.landed}`);
  return j;
}
/* The whole of it: the account. */
export async function connect(s, body = {}, how = {}) {
  const j = await travelled(s, body, how);
  const r = await j.complete();
  assert.equal(r.status, 201, `complete -> ${r.status} ${r.text}`);
  return r.json;
}
/* The same as soon as the daemon lets it: what it remembers of a provider's failures goes by a clock of its own. */
export async function connectSoon(s, body = {}) {
  const j = await eventually(async () => {
    const next = await Journey.begin(s, body);
    if (!(await next.leave()).startsWith(REDIRECT)) {
      await next.provide();
      await next.back();
    }
    return next.code ? next : null;
  }, 'a connection', 45000);
  const r = await j.complete();
  assert.equal(r.status, 201, r.text);
  return r.json;
}
export async function accounts(s, query = '') { return (await s.want(200, 'GET', `${ACCOUNTS}${query}`)).json.accounts; }

/* The browser came back to the client with an error and the client's state, and no code. */
export function isErrorRedirect(url, error, { state = STATE, redirect = REDIRECT } = {}) {
  const q = url.searchParams;
  assert.equal(`${url.origin}${url.pathname}`, redirect);
  const found = q.get('error');
  assert.ok(Array.isArray(error) ? error.includes(found) : error === undefined ? found : found === error, `error ${found}: ${q.get('error_description')}`);
  assert.match(q.get('error_description') ?? '', /^[\x20-\x7e]{3,}$/);
  assert.equal(q.get('state'), state);
  assert.equal(q.has('connect_code'), false);
  assert.equal(q.has('code'), false);
}
/* A page for a person instead of a redirect (fine print 12). */
export function isPage(res, status = 400) {
  assert.equal(res.status, status, res.text);
  assert.equal(res.location, undefined);
  assert.match(res.headers['content-type'], /^text\/html; ?charset=utf-8$/i);
  const csp = res.headers['content-security-policy'] ?? '';
  assert.match(csp, /default-src 'none'/);
  assert.match(csp, /frame-ancestors 'none'/);
  assert.ok(!/unsafe-inline|unsafe-eval/.test(csp.replace(/style-src[^;]*/, '')), csp);
  assert.equal(res.headers['x-content-type-options'], 'nosniff');
  assert.match(res.headers['cache-control'], /no-store/);
  assert.equal(res.headers['referrer-policy'], 'no-referrer');
  assert.ok(!/<script/i.test(res.text), res.text);
  assert.match(res.text, /<title>[^<]+<\/title>/);
  assert.ok(res.text.length < 8192);
}

/* What `myaccountctl account check` says, by account id. */
export async function check(d, user, id) {
  const r = await d.ctlAsync('account', 'check', user, ...(id ? [id] : []));
  const rows = r.out.split('\n').filter(Boolean).map((l) => JSON.parse(l));
  return { ...r, rows, byId: Object.fromEntries(rows.map((row) => [row.id, row.status])) };
}

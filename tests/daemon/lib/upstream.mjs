/* SPDX-License-Identifier: Apache-2.0
 * Identity providers that accounts are connected at: a real OpenID provider with switches for every way it can
 * misbehave, plain OAuth providers with their habits, and the browser that a user brings along. */
import crypto from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';
import { request } from './http.mjs';
import { Key, jws } from './tokens.mjs';

/* Whoever logs in exists; the pages have buttons for two. */
const person = (sub) => ({ sub, name: `${sub} Upstream`, email: `${sub}@upstream.example`, email_verified: true });
/* Characters that both encodings of client_secret_basic must carry (RFC 6749 §2.3.1). */
export const SECRETS = { basic: 'basic secret+/:%&=~ of the client', post: 'post-secret-&=+%20-of-the-client' };
const CALLBACKS = ['/me/v1/connected-accounts/callback', '/login/callback'];
const SCOPES = ['openid', 'offline_access', 'profile', 'email', 'calendar', 'read:tasks', 'write:tasks'];
const KINDS = { '/.well-known/openid-configuration': 'discovery', '/auth': 'authorization', '/jwks': 'jwks', '/token': 'token', '/me': 'userinfo',
  '/token/revocation': 'revocation' };

const escape = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const form = (action, title, buttons) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title><h1>${title}</h1>
<form method="post" action="${escape(action)}">${buttons.map(([name, value]) => `<button name="${name}" value="${value}">${name} ${value}</button>`).join('')}</form>`;
const page = (res, text, status = 200) => res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(text);
const LOGIN = [['user', 'ann'], ['user', 'ben'], ['deny', 'login']];

/* --- the browser --- */

/* A cookie jar as browsers keep it (RFC 6265 §5): by host without port, with paths. */
export class Jar {
  constructor() { this.cookies = []; }
  set(host, header) {
    const [pair, ...rest] = header.split(';').map((p) => p.trim());
    const attrs = Object.fromEntries(rest.map((p) => { const [k, ...v] = p.split('='); return [k.toLowerCase(), v.join('=')]; }));
    const c = { host, name: pair.slice(0, pair.indexOf('=')), value: pair.slice(pair.indexOf('=') + 1), path: attrs.path?.startsWith('/') ? attrs.path : '/', attrs, header };
    this.cookies = this.cookies.filter((o) => !(o.host === host && o.name === c.name && o.path === c.path));
    const gone = attrs['max-age'] !== undefined ? Number(attrs['max-age']) <= 0 : attrs.expires !== undefined && Date.parse(attrs.expires) <= Date.now();
    if (!gone && c.value) this.cookies.push(c);
  }
  of(host, path) {
    const covers = (p) => path === p || (path.startsWith(p) && (p.endsWith('/') || path[p.length] === '/'));
    return this.cookies.filter((c) => c.host === host && covers(c.path)).sort((a, b) => b.path.length - a.path.length);
  }
}

/* What a user's browser does with redirects, cookies and forms, over HTTP. It knows the origins it may go to; a redirect
 * to any other one is where a journey ends. */
export class Browser {
  constructor(...origins) {
    this.jar = new Jar();
    this.origins = origins;
  }
  /* One request without following anything; `location` is absolute. */
  async fetch(url, { method = 'GET', body, headers = {} } = {}) {
    const u = new URL(url);
    const cookies = this.jar.of(u.hostname, u.pathname).map((c) => `${c.name}=${c.value}`).join('; ');
    const res = await request({ port: Number(u.port), host: u.host, method, path: u.pathname + u.search, body,
      headers: { accept: 'text/html', ...(cookies ? { cookie: cookies } : {}), ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }), ...headers } });
    for (const c of res.headers['set-cookie'] ?? []) this.jar.set(u.hostname, c);
    const to = res.headers.location;
    return { ...res, url: u.href, location: to === undefined ? undefined : new URL(to, u).href };
  }
  /* Follows redirects among the known origins: the answer that is a page, or the redirect that leads away. `until`
   * stops before a URL. */
  async go(url, how, until = () => false) {
    let res = await this.fetch(url, how);
    for (let n = 0; res.location && this.origins.includes(new URL(res.location).origin) && !until(res.location); n++) {
      if (n > 20) throw new Error(`too many redirects at ${res.url}`);
      res = await this.fetch(res.location);
    }
    return res;
  }
  /* Presses a button of the page's form; at a login, for any user. */
  press(res, name, value, until) {
    const action = res.text.match(/<form method="post" action="([^"]*)"/)?.[1].replaceAll('&#38;', '&');
    if (!action || !res.text.includes(`name="${name}"`)) throw new Error(`no button ${name}=${value} on ${res.url}: ${res.status} ${res.text.slice(0, 600)}`);
    return this.go(new URL(action, res.url).href, { method: 'POST', body: new URLSearchParams({ [name]: value }).toString() }, until);
  }
}

/* --- what both kinds of provider share --- */

class Host {
  constructor() {
    this.secrets = () => {};
    this.requests = [];
    this.issued = [];
    this.calm();
  }
  /* Everything as it should be again. */
  calm() {
    for (const h of this.holds?.values() ?? []) h.release();
    this.holds = new Map();
    this.canned = new Map();
    this.edit = {};
  }
  async listen(port = 0) {
    this.server = http.createServer((req, res) => {
      this.handle(req, res).catch((e) => {
        this.failure = e;
        if (!res.headersSent) res.writeHead(500);
        res.end(String(e?.stack));
      });
    });
    await new Promise((resolve, reject) => {
      this.server.on('error', reject);
      this.server.listen(port, '127.0.0.1', resolve);
    });
    this.server.unref();
    this.port = this.server.address().port;
    this.origin = `http://127.0.0.1:${this.port}`;
  }
  /* Nobody listens any more: connections are refused. */
  async down() {
    this.server.closeAllConnections();
    await new Promise((r) => this.server.close(r));
  }
  up() { return this.listen(this.port); }
  stop() {
    this.calm();
    return this.down();
  }

  /* Answers of a kind of request wait from now on; `waiting` counts those that do. */
  hold(kind) {
    const h = { waiting: 0, open: null };
    h.gate = new Promise((r) => { h.open = r; });
    h.release = () => {
      this.holds.delete(kind);
      h.open();
    };
    this.holds.set(kind, h);
    return h;
  }
  /* A kind of request is answered like this, whatever it asks: {status, type, body, headers}. undefined: no longer. */
  answer(kind, what) {
    if (what) this.canned.set(kind, what);
    else this.canned.delete(kind);
  }
  count(kind, grant) { return this.requests.filter((r) => r.kind === kind && (!grant || r.body.get('grant_type') === grant)).length; }
  last(kind) { return this.requests.filter((r) => r.kind === kind).at(-1); }
  forget() { this.requests.length = 0; }

  /* Notes a request and applies the switches; true when it was answered. */
  async screen(kind, req, res) {
    const chunks = [];
    const push = req.push;
    req.push = (chunk, encoding) => {
      if (chunk) chunks.push(Buffer.from(chunk));
      return push.call(req, chunk, encoding);
    };
    const url = new URL(req.url, this.origin);
    const seen = { kind, method: req.method, path: url.pathname, query: url.searchParams, headers: req.headers,
      get text() { return Buffer.concat(chunks).toString(); },
      get body() { return new URLSearchParams(this.text); } };
    this.requests.push(seen);
    req.seen = seen;
    req.on('close', () => this.learn(seen));
    const h = this.holds.get(kind);
    if (h) {
      h.waiting++;
      await h.gate;
      h.waiting--;
      if (req.socket.destroyed) return true;
    }
    const c = this.canned.get(kind);
    if (!c) return false;
    req.resume();
    const body = typeof c.body === 'object' && !Buffer.isBuffer(c.body) ? JSON.stringify(c.body) : c.body ?? '';
    res.writeHead(c.status ?? 200, { 'content-type': c.type ?? 'application/json', ...c.headers }).end(body);
    return true;
  }
  /* Secrets on the way to the provider. */
  learn(seen) {
    for (const k of ['code', 'code_verifier', 'refresh_token', 'token', 'client_assertion', 'client_secret'])
      if (seen.kind !== 'authorization' && seen.body.get(k)) this.secrets(k, seen.body.get(k));
    for (const k of ['state', 'nonce']) if (seen.query.get(k)) this.secrets(`provider ${k}`, seen.query.get(k));
  }
  learnTokens(o) {
    for (const [k, v] of Object.entries(o ?? {}))
      if (v && typeof v === 'object') this.learnTokens(v);
      else if (/^(access|refresh|id)_token$/.test(k)) this.secrets(k === 'id_token' ? 'token' : k, v);
  }

  /* The user at the provider: logs in as `user`, consents or denies ("login" or "consent"), and the redirect that leads
   * back to the daemon is returned, not followed. */
  async login(url, { user = 'ann', deny, browser = new Browser() } = {}) {
    if (!browser.origins.includes(this.origin)) browser.origins.push(this.origin);
    const away = (to) => !to.startsWith(`${this.origin}/`);
    let res = await browser.go(url, {}, away);
    for (let n = 0; !res.location && n < 4; n++) {
      const consent = res.text.includes('name="consent"');
      if (deny && (consent || deny !== 'consent')) res = await browser.press(res, 'deny', consent ? 'consent' : 'login', away);
      else res = await browser.press(res, consent ? 'consent' : 'user', consent ? 'yes' : user, away);
    }
    if (!res.location) throw new Error(`the provider did not return: ${res.status} ${res.text.slice(0, 600)}`);
    const code = new URL(res.location).searchParams.get('code');
    if (code) this.secrets('code', code);
    return res.location;
  }
}

/* --- an OpenID provider --- */

/* Keeps what the provider stores, over changes of its keys. */
class Adapter {
  constructor(store, model) { Object.assign(this, { store, model }); }
  async upsert(id, payload) { this.store.set(`${this.model}:${id}`, payload); }
  async find(id) { return this.store.get(`${this.model}:${id}`); }
  async findByUid(uid) { return [...this.store].find(([k, v]) => k.startsWith(`${this.model}:`) && v.uid === uid)?.[1]; }
  async destroy(id) { this.store.delete(`${this.model}:${id}`); }
  async consume(id) { (await this.find(id)).consumed = Math.floor(Date.now() / 1000); }
  async revokeByGrantId(grantId) { for (const [k, v] of this.store) if (v.grantId === grantId) this.store.delete(k); }
}

const METHODS = { basic: 'client_secret_basic', post: 'client_secret_post', jwt: 'private_key_jwt', public: 'none' };

export class Upstream extends Host {
  /* offset(): milliseconds that the clock of who reads its id_tokens is ahead. */
  static async start({ offset = () => 0 } = {}) {
    const u = new Upstream();
    u.store = new Map();
    u.key = new Key('RS256');
    u.offset = offset;
    u.rotate = true;
    await u.listen();
    u.issuer = u.origin;
    u.build([]);
    return u;
  }
  calm() {
    super.calm();
    this.claims = (c) => c;
    this.signer = null;
  }
  /* The daemon at this origin may send its users here, and its keys are those of the client `jwt`. */
  trust(base) { this.build(this.bases = [...(this.bases ?? []), base]); }

  build(bases) {
    const redirect_uris = bases.flatMap((b) => CALLBACKS.map((c) => `${b}${c}`));
    const clients = Object.entries(METHODS).map(([client_id, token_endpoint_auth_method]) => ({ client_id, token_endpoint_auth_method, redirect_uris: redirect_uris.length ? redirect_uris : ['http://localhost/none'],
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], ...(SECRETS[client_id] ? { client_secret: SECRETS[client_id] } : {}),
      ...(client_id === 'jwt' ? { jwks_uri: `${bases[0] ?? 'http://localhost'}/.well-known/jwks.json` } : {}) }));
    this.provider = new Provider(this.issuer, {
      adapter: (model) => new Adapter(this.store, model),
      clients,
      jwks: { keys: [{ ...this.key.privateKey.export({ format: 'jwk' }), kid: this.key.kid, use: 'sig', alg: 'RS256' }] },
      scopes: SCOPES,
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
      cookies: { keys: ['cookies of the provider'] },
      clientAuthMethods: Object.values(METHODS),
      clientBasedCORS: () => false,
      features: { devInteractions: { enabled: false }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: false }, resourceIndicators: { enabled: false } },
      pkce: { methods: ['S256'], required: () => true },
      rotateRefreshToken: () => this.rotate,
      ttl: { AccessToken: 3600, AuthorizationCode: 60, IdToken: 3600, RefreshToken: 86400, Grant: 86400, Interaction: 3600, Session: 86400 },
      interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (ctx, id) => ({ accountId: id, claims: () => person(id) }),
      renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = `<title>${escape(out.error)}</title>${escape(out.error_description)}`; },
      /* Names of this machine have an IPv6 address first on some systems. */
      httpOptions: () => ({ dnsLookup: (name, options, done) => {
        const then = done ?? options;
        if (options?.all) then(null, [{ address: '127.0.0.1', family: 4 }]);
        else then(null, '127.0.0.1', 4);
      } }),
    });
    this.provider.on('server_error', (ctx, e) => { this.failure = e; });
    this.app = this.provider.callback();
  }
  /* Signs with a new key from now on; the old one is published no more. */
  rotateKeys() {
    this.key = new Key('RS256');
    this.build(this.bases ?? []);
  }
  /* Forgets the refresh tokens (of one user): using one is invalid_grant. */
  revoke(user) {
    let n = 0;
    for (const [k, v] of this.store)
      if (k.startsWith('RefreshToken:') && (!user || v.accountId === user)) {
        this.store.delete(k);
        n++;
      }
    return n;
  }

  async handle(req, res) {
    const path = req.url.split('?')[0];
    const kind = KINDS[path] ?? 'page';
    if (await this.screen(kind, req, res)) return;
    if (path.startsWith('/interaction/')) await this.interaction(req, res);
    else {
      if (kind === 'token' || this.edit[kind]) this.capture(kind, req, res);
      await this.app(req, res);
    }
  }
  /* The provider's answer goes through `edit`; id_tokens are signed again when somebody wants other claims. */
  capture(kind, req, res) {
    const end = res.end.bind(res);
    res.end = (chunk) => {
      let body = JSON.parse(chunk.toString());
      if (kind === 'token' && body.id_token) body.id_token = this.sign(body.id_token);
      const edited = this.edit[kind]?.(body, req.seen, res);
      if (edited !== undefined) body = edited;
      if (kind === 'token') {
        this.learnTokens(body);
        this.issued.push(body);
      }
      const text = Buffer.from(JSON.stringify(body));
      res.setHeader('content-length', text.length);
      end(text);
    };
  }
  sign(id_token) {
    const part = (n) => JSON.parse(Buffer.from(id_token.split('.')[n], 'base64url'));
    const shift = Math.floor(this.offset() / 1000);
    const given = part(1);
    const moved = { ...given };
    for (const k of ['iat', 'exp', 'auth_time']) if (k in moved) moved[k] += shift;
    const claims = this.claims(moved);
    if (!this.signer && JSON.stringify(claims) === JSON.stringify(given)) return id_token;
    const { key = this.key, header = {} } = this.signer ?? {};
    return jws(key, { alg: key.alg, typ: 'JWT', kid: this.key.kid, ...header }, claims);
  }

  async interaction(req, res) {
    const { provider } = this;
    const details = await provider.interactionDetails(req, res);
    const { prompt, params, session, grantId } = details;
    if (req.method === 'GET') {
      if (prompt.name === 'login') page(res, form(req.url, 'Log in', LOGIN));
      else page(res, form(req.url, 'Consent', [['consent', 'yes'], ['deny', 'consent']]));
      return;
    }
    let text = '';
    for await (const chunk of req) text += chunk;
    const answer = new URLSearchParams(text);
    const finish = (result, merge) => provider.interactionFinished(req, res, result, { mergeWithLastSubmission: merge });
    if (answer.has('deny')) await finish({ error: 'access_denied', error_description: `The user said no at ${answer.get('deny')}` }, false);
    else if (prompt.name === 'login') await finish({ login: { accountId: answer.get('user') } }, false);
    else {
      const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
      if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
      if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
      await finish({ consent: { grantId: await grant.save() } }, true);
    }
  }

  /* Options of a connection here, for one of the clients of METHODS. */
  options(client = 'basic', over = {}) {
    return { issuer: this.issuer, client_id: client, ...(SECRETS[client] ? { client_secret: SECRETS[client] } : {}),
      token_endpoint_auth_method: METHODS[client], scopes: ['openid', 'profile', 'email', 'offline_access'], ...over };
  }
}

/* --- plain OAuth 2.0 --- */

const OAUTH_KINDS = { '/authorize': 'authorization', '/token': 'token', '/user': 'userinfo', '/revoke': 'revocation' };
/* An id for everybody, one of them beyond what a double can tell from its neighbours. */
const number = (name) => name === 'ben' ? 9007199254740993n : crypto.createHash('sha256').update(name).digest().readUIntBE(0, 5);
/* The habits of providers: numbers as ids, errors with status 200, form answers to who does not ask for JSON, … */
const STYLES = {
  github: {
    person: (name) => ({ id: number(name), login: name, email: null, name: person(name).name }),
    tokens: (t) => ({ access_token: t.access, scope: t.scopes.join(','), token_type: 'bearer' }),
    error: (error) => [200, { error, error_description: `Something is wrong: ${error}`, error_uri: 'https://docs.example/errors' }],
    formByDefault: true, needsUserAgent: true, code: 'bad_verification_code',
  },
  slack: {
    scopeParam: 'user_scope',
    tokens: (t) => ({ ok: true, app_id: 'A123', authed_user: { id: `U-${t.user}`, scope: t.scopes.join(','), access_token: t.access, token_type: 'user' },
      team: { id: 'T1', name: 'Team' }, enterprise: null, is_enterprise_install: false }),
    error: (error) => [200, { ok: false, error }],
    code: 'invalid_code',
  },
  /* The book: RFC 6749 with a refresh token, and users below a member. */
  plain: {
    person: (name) => ({ data: { user: { uid: `uid-${name}`, mail: person(name).email } } }),
    tokens: (t) => ({ access_token: t.access, refresh_token: t.refresh, expires_in: 3600, scope: t.scopes.join(' '), token_type: 'Bearer' }),
    error: (error) => [error === 'invalid_client' ? 401 : 400, { error }],
    code: 'invalid_grant',
  },
};
const random = () => crypto.randomBytes(18).toString('base64url');
const stringify = (o) => JSON.stringify(o, (k, v) => typeof v === 'bigint' ? `\u0001${v}\u0001` : v).replace(/"\\u0001(\d+)\\u0001"/g, '$1');

export class OAuthUpstream extends Host {
  static async start(style = 'plain', { client_id = 'oauth-client', client_secret = 'oauth-secret-of-the-client' } = {}) {
    const u = new OAuthUpstream();
    Object.assign(u, { style: STYLES[style], client_id, client_secret, codes: new Map(), tokens: new Map() });
    await u.listen();
    return u;
  }
  options(over = {}) {
    const at = (p) => `${this.origin}${p}`;
    return { authorization_endpoint: at('/authorize'), token_endpoint: at('/token'), ...(this.style.person ? { userinfo_endpoint: at('/user') } : {}),
      client_id: this.client_id, client_secret: this.client_secret, ...over };
  }
  async handle(req, res) {
    const url = new URL(req.url, this.origin);
    const kind = OAUTH_KINDS[url.pathname] ?? 'page';
    if (await this.screen(kind, req, res)) return;
    let text = '';
    for await (const chunk of req) text += chunk;
    const body = new URLSearchParams(text);
    if (kind === 'authorization') this.authorize(req, res, url, body);
    else if (kind === 'token') this.token(req, res, body);
    else if (kind === 'userinfo') this.user(req, res);
    else if (kind === 'revocation') {
      this.tokens.delete(body.get('token'));
      res.writeHead(200).end();
    } else res.writeHead(404).end();
  }
  authorize(req, res, url, body) {
    const q = url.searchParams;
    if (req.method === 'GET') {
      page(res, q.get('client_id') === this.client_id && q.get('response_type') !== 'token' ? form(req.url, 'Authorize', LOGIN) : 'no such client');
      return;
    }
    const back = new URL(q.get('redirect_uri'));
    if (q.has('state')) back.searchParams.set('state', q.get('state'));
    if (body.has('deny')) {
      back.searchParams.set('error', 'access_denied');
      back.searchParams.set('error_description', 'The user has denied your application access.');
    } else {
      const code = random();
      const scopes = (q.get(this.style.scopeParam ?? 'scope') ?? '').split(/[ ,]/).filter(Boolean);
      this.codes.set(code, { user: body.get('user'), scopes, redirect_uri: q.get('redirect_uri'), challenge: q.get('code_challenge') });
      back.searchParams.set('code', code);
    }
    res.writeHead(302, { location: back.href }).end();
  }
  /* Whether the client authenticated, in the header or the body (RFC 6749 §2.3.1). */
  authenticated(req, body) {
    const basic = req.headers.authorization?.match(/^Basic (.*)$/)?.[1];
    const [id, secret] = basic ? Buffer.from(basic, 'base64').toString().split(':').map((v) => decodeURIComponent(v.replaceAll('+', ' '))) : [body.get('client_id'), body.get('client_secret')];
    return id === this.client_id && secret === this.client_secret;
  }
  token(req, res, body) {
    const fail = (error) => this.send(req, res, ...this.style.error(error));
    if (!this.authenticated(req, body)) return fail('invalid_client');
    let grant;
    if (body.get('grant_type') === 'refresh_token') {
      grant = this.tokens.get(body.get('refresh_token'));
      if (!grant) return fail('invalid_grant');
      this.tokens.delete(body.get('refresh_token'));
    } else {
      grant = this.codes.get(body.get('code'));
      this.codes.delete(body.get('code'));
      const hashed = crypto.createHash('sha256').update(body.get('code_verifier') ?? '').digest('base64url');
      if (!grant || grant.redirect_uri !== body.get('redirect_uri') || (grant.challenge && grant.challenge !== hashed)) return fail(this.style.code);
    }
    const t = { user: grant.user, scopes: grant.scopes, access: `at-${random()}`, refresh: `rt-${random()}` };
    this.tokens.set(t.access, t).set(t.refresh, t);
    const answer = this.style.tokens(t);
    const edited = this.edit.token?.(answer, req.seen) ?? answer;
    this.learnTokens(edited);
    this.issued.push(edited);
    return this.send(req, res, 200, edited);
  }
  user(req, res) {
    const t = this.tokens.get(req.headers.authorization?.match(/^Bearer (.*)$/i)?.[1]);
    if (this.style.needsUserAgent && !req.headers['user-agent']) this.send(req, res, 403, { message: 'Request forbidden: a User-Agent is required' });
    else if (!t || !this.style.person) this.send(req, res, 401, { message: 'Bad credentials' });
    else {
      const person = this.style.person(t.user);
      this.send(req, res, 200, this.edit.userinfo?.(person) ?? person);
    }
  }
  send(req, res, status, body) {
    const asJson = !this.style.formByDefault || req.seen.kind !== 'token' || /\bapplication\/json\b/.test(req.headers.accept ?? '');
    res.writeHead(status, { 'content-type': asJson ? 'application/json; charset=utf-8' : 'application/x-www-form-urlencoded' });
    res.end(asJson ? stringify(body) : new URLSearchParams(body).toString());
  }
}

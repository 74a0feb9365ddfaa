/* SPDX-License-Identifier: Apache-2.0
 * A browser without a script engine: cookies, forms, redirects; and what an application asks of /authorize. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { ORIGIN } from './state.mjs';

export const PASSWORD = 'Zq7-correct-horse';
export const CALLBACK = `${ORIGIN}/callback`;
export const MULTI_FACTOR = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor';
export const VERIFIER = crypto.randomBytes(32).toString('base64url');
export const CHALLENGE = crypto.createHash('sha256').update(VERIFIER).digest('base64url');

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
export const unescape = (s) => s.replace(/&(amp|lt|gt|quot|#39);/g, (_, e) => ENTITIES[e]);
function attributes(tag) {
  const out = {};
  for (const [, name, , value] of tag.matchAll(/\s([a-z-]+)(="([^"]*)")?/g)) out[name] = value === undefined ? '' : unescape(value);
  return out;
}

/* The forms of a page, each with its fields as {name: attributes} and its buttons' texts. */
export function forms(html) {
  return [...html.matchAll(/<form([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head, inner]) => {
    const fields = {};
    for (const [, tag] of inner.matchAll(/<input([^>]*)>/g)) {
      const a = attributes(tag);
      fields[a.name] = a;
    }
    return { ...attributes(head), fields, buttons: [...inner.matchAll(/<button[^>]*>([\s\S]*?)<\/button>/g)].map((m) => unescape(m[1])) };
  });
}

export class Page {
  constructor(url, res) {
    Object.assign(this, { url, res, status: res.status, html: res.text, headers: res.headers });
    this.forms = forms(res.text);
    this.title = unescape(res.text.match(/<title>([\s\S]*?)<\/title>/)?.[1] ?? '');
    this.alert = unescape(res.text.match(/role="alert"[^>]*>([\s\S]*?)<\/p>/)?.[1] ?? '');
    this.text = unescape(res.text.replace(/<(script|style)[\s\S]*?<\/\1>/g, '').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ');
  }
  form(action, match = () => true) {
    const f = this.forms.find((x) => x.fields.action?.value === action && match(x));
    assert.ok(f, `no form ${action} on "${this.title}": ${this.forms.map((x) => x.fields.action?.value)}`);
    return f;
  }
  has(action) { return this.forms.some((x) => x.fields.action?.value === action); }
}

export class Browser {
  constructor(daemon) {
    this.d = daemon;
    this.jar = new Map();
  }
  cookie(part) { return [...this.jar].find(([k]) => k.includes(part))?.[1]; }
  cookieHeader() { return [...this.jar].map(([k, v]) => `${k}=${v}`).join('; '); }
  keep(res) {
    for (const line of res.headers['set-cookie'] ?? []) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      this.setCookies = [...this.setCookies ?? [], line];
      if (/Max-Age=0(;|$)/.test(line)) this.jar.delete(name);
      else {
        this.jar.set(name, value);
        this.d.secrets.add('cookie', value);
      }
    }
  }
  /* One request, nothing followed. */
  async raw(method, url, { form, headers = {} } = {}) {
    const path = url.startsWith('http') ? url.slice(new URL(url).origin.length) : url;
    const h = { ...(this.jar.size ? { cookie: this.cookieHeader() } : {}), ...headers };
    for (const k of Object.keys(h)) if (h[k] === null) delete h[k];
    if (form !== undefined && !h['content-type']) h['content-type'] = 'application/x-www-form-urlencoded';
    const body = form === undefined ? undefined : typeof form === 'string' ? form : new URLSearchParams(form).toString();
    const res = await this.d.http({ method, path, headers: h, body });
    this.keep(res);
    const state = res.headers.location?.match(/\/u\/login\?state=([\w-]{43})$/)?.[1];
    if (state) this.d.secrets.add('flow token', state);
    return res;
  }
  /* Follows redirects at home; a page, or the answer that leads elsewhere as {away: URL}. */
  async go(method, url, opts) {
    let res = await this.raw(method, url, opts);
    for (let i = 0; i < 8 && [302, 303].includes(res.status); i++) {
      const to = res.headers.location;
      if (!to.startsWith(`${this.d.base}/`)) return this.away(to, res);
      url = to;
      res = await this.raw('GET', to);
    }
    const onward = res.text.match(/<meta http-equiv="refresh" content="0;url=([^"]+)">/);
    return onward ? this.away(unescape(onward[1]), res) : new Page(url, res);
  }
  away(to, res) {
    const params = Object.fromEntries(new URL(to.replace('#', '?')).searchParams);
    if (params.code) this.d.secrets.add('code', params.code);
    return { away: to, res, params };
  }
  authorize(over = {}, client = 'spa') { return this.go('GET', authorizeUrl(over, client)); }
  /* Sends a form of the page with these values. */
  submit(page, form, values = {}, headers) {
    const f = typeof form === 'string' ? page.form(form) : form;
    const all = Object.fromEntries(Object.entries(f.fields).map(([k, a]) => [k, a.value ?? '']));
    for (const k of Object.keys(values)) assert.ok(k in all, `no field ${k}`);
    return this.go((f.method ?? 'get').toUpperCase(), f.action, { form: { ...all, ...values }, headers });
  }
  async login(page, username, password = PASSWORD) {
    this.d.secrets.add('password', password);
    return this.submit(page, 'password', { username, password });
  }
  /* From nothing to the application, for a user without second factors. */
  async signIn(user, over = {}, client = 'spa') {
    const out = await this.login(await this.authorize(over, client), user);
    assert.ok(out.away, `not signed in: "${out.title}" ${out.alert}`);
    return out;
  }
}

/* over: parameters; null takes one away, an array sends it several times. */
export function authorizeUrl(over = {}, client_id = 'spa') {
  const all = { client_id, redirect_uri: CALLBACK, response_type: 'code', scope: 'openid profile email', state: 'st4te', nonce: 'n0nce',
    code_challenge: CHALLENGE, code_challenge_method: 'S256', ...over };
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(all)) if (v !== null) for (const one of [v].flat()) q.append(k, one);
  return `/authorize?${q}`;
}

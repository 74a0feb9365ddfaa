/* SPDX-License-Identifier: Apache-2.0
 * Security notices as their reader sees them: the message, its link, the page and its button. */
import assert from 'node:assert/strict';
import { Page } from './login.mjs';

export const UNDO = '/security/not-me';
export const RESET = '/security/password';
export const KEEP = '/security/keep-account';

/* The link of a message; its token is a secret from here on. */
export function linkOf(d, message) {
  const [url] = message.text.match(/https?:\/\/\S+\/security\/\S+/) ?? [];
  assert.ok(url, `no link in ${message.text}`);
  const token = new URL(url).searchParams.get('token');
  assert.match(token, /^[A-Za-z0-9_-]{43}$/);
  d.secrets.add('link token', token);
  return { url, token, path: url.slice(new URL(url).origin.length) };
}

/* The next message of this template to somebody. */
const SUBJECTS = {
  'factor-added': /^A way to sign in was added/, 'factor-removed': /^A way to sign in was removed/, 'factor-changed': /^A way to sign in was changed/,
  'recovery-code-replaced': /recovery code was replaced$/, 'recovery-code-used': /recovery code was used$/, 'password-changed': /password was changed$/,
  'account-added': /^An account was connected/, 'account-removed': /^A connected account was removed/, 'address-changed': /^The contact data/,
  'data-exported': /^A copy of your data was asked for/, 'account-leaving': /is going to be deleted$/, 'account-restored': /account stays$/,
  'change-undone': /was reported$/, 'password-reset': /^Set a new password/,
};
export async function notice(d, name, to, ms = 15000) {
  const end = Date.now() + ms;
  for (;;) {
    for (const n of d.spool.names()) {
      if (d.spool.taken.has(n)) continue;
      const m = d.spool.read(n);
      if (m.to !== to || m.code !== undefined || (m.channel === 'email' && !SUBJECTS[name].test(m.subject))) continue;
      d.spool.taken.add(n);
      const link = /\/security\//.test(m.text) ? linkOf(d, m) : undefined;
      return { file: n, ...m, link };
    }
    if (Date.now() > end) throw new Error(`no ${name} to ${to}: ${d.spool.all().map((m) => `${m.to}: ${m.subject ?? m.text.slice(0, 60)}`).join('; ')}`);
    await new Promise((r) => setTimeout(r, 10));
  }
}

/* One request for a page, with nothing but what a browser sends. */
export async function open(d, path, { method = 'GET', form, headers = {} } = {}) {
  const body = form === undefined ? undefined : typeof form === 'string' ? form : new URLSearchParams(form).toString();
  const res = await d.http({ method, path, body, headers: { ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded', origin: d.base }), ...headers } });
  return new Page(path, res);
}
export function fields(page, action) {
  return Object.fromEntries(Object.entries(page.form(action).fields).map(([k, a]) => [k, a.value ?? '']));
}
/* Opens the link and presses the button. */
export async function press(d, link, action = 'undo', values = {}, headers = {}) {
  const page = await open(d, link.path);
  assert.equal(page.status, 200, page.text);
  return open(d, page.form(action).action, { method: 'POST', form: { ...fields(page, action), ...values }, headers });
}
/* A page as strict as the hosted login. */
export function isStrict(page) {
  assert.match(page.headers['content-type'], /^text\/html; charset=utf-8$/);
  const csp = page.headers['content-security-policy'];
  assert.match(csp, /default-src 'none'/);
  assert.match(csp, /frame-ancestors 'none'/);
  assert.ok(!/unsafe|script-src/.test(csp), csp);
  assert.match(page.headers['cache-control'], /no-store/);
  assert.equal(page.headers['x-content-type-options'], 'nosniff');
  assert.ok(!/<script|\son[a-z]+=|\sstyle=/i.test(page.html), page.html);
}

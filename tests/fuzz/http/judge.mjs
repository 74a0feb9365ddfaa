/* SPDX-License-Identifier: Apache-2.0
 * What must hold of every answer, whatever was asked. */
import { template, violations } from '../../daemon/lib/openapi.mjs';
import { MARK } from './world.mjs';

const WORD = /[A-Za-z0-9_.-]{12,}/g;
const CODE = /(?<![0-9A-Za-z])\d{6}(?![0-9A-Za-z])/g;
const ID = /(?:dev|cac)_[A-Za-z0-9]{16,22}/g;
/* Every header that the daemon has a reason to send. */
const HEADERS = new Set(['date', 'connection', 'content-length', 'content-type', 'cache-control', 'pragma', 'vary', 'x-request-id', 'location', 'allow', 'retry-after', 'www-authenticate', 'dpop-nonce', 'set-cookie', 'etag', 'expires',
  'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'x-auth0-error-kind', 'access-control-allow-origin', 'access-control-allow-methods', 'access-control-allow-headers', 'access-control-expose-headers',
  'access-control-max-age', 'content-security-policy', 'x-content-type-options', 'x-frame-options', 'referrer-policy', 'cross-origin-opener-policy', 'cross-origin-resource-policy', 'permissions-policy']);
const ORIGINS = new Set(['http://localhost:3000', 'https://third.example', 'https://web.example', 'https://reader.example']);
/* A target too long or not well-formed is refused on every path, and a bent method is none of the operation. */
const BEYOND = /^status 4(00|05|14) is not in (the document|conf\/openapi\.json for \w+)$/;
const OAUTH = new Set(['error', 'error_description', 'error_uri', 'mfa_token', 'mfa_requirements']);
const PROBLEM = new Set(['type', 'status', 'title', 'detail', 'validation_errors', 'instance']);

/* What the HTTP library says itself, before the daemon has seen the request: a page of its own, and the end of the
 * connection. README names these answers. To a bad Content-Length it sends its head twice. */
const LIBRARY = { 400: /Request malformed|syntactically incorrect|no Host|Host header/, 413: /too large/, 414: /too (big|long)/, 431: /too big/, 505: /version/i };
/* Of a target, from where on the library answers. */
const LONG = 20000;
const ECHO = /^HTTP\/1\.1 4(00|13) [ -~]*\r\n/;
export function ofLibrary(res) {
  if (res.headers['x-request-id']) return false;
  if (res.status === 505) return LIBRARY[505].test(res.text);
  if (!/close/i.test(res.headers.connection ?? '')) return false;
  if (/"Too many parameters"/.test(res.text)) return true;
  return res.headers['content-type'] === undefined && ((LIBRARY[res.status]?.test(res.text) ?? false) || ECHO.test(res.text));
}

/* The kind of error an answer is: the code of the catalogue, or the error of the token service. */
export function kindOf(res) {
  if (res.status < 400) return '';
  return res.json?.type?.match?.(/A0E-\d{3}-\d{4}$/)?.[0] ?? (typeof res.json?.error === 'string' ? res.json.error : /html/.test(res.headers['content-type'] ?? '') ? 'page' : 'bare');
}

const isProblem = (j) => typeof j?.type === 'string' && typeof j.title === 'string' && Number.isInteger(j.status) && Object.keys(j).every((k) => PROBLEM.has(k));
const isOauth = (j) => typeof j?.error === 'string' && typeof j.error_description === 'string' && Object.keys(j).every((k) => OAUTH.has(k));

function shape(plan, res, out) {
  const type = res.headers['content-type'] ?? '';
  if (!res.valid) out.push(['errors', 'the body is not UTF-8']);
  if (/json/.test(type) && res.json === undefined && plan.method !== 'HEAD') out.push(['errors', `no JSON: ${res.text.slice(0, 200)}`]);
  if (res.status < 400 || plan.method === 'HEAD' || plan.method === 'OPTIONS') return;
  if (plan.style === 'page' && /^text\/html/.test(type)) {
    if (!res.headers['content-security-policy']) out.push(['errors', 'a page without Content-Security-Policy']);
    return;
  }
  if (!/^application\/(problem\+)?json/.test(type)) out.push(['errors', `an error of type "${type}": ${res.text.slice(0, 200)}`]);
  else if (!isProblem(res.json) && !(plan.style !== 'api' && isOauth(res.json))) out.push(['errors', `no error object: ${res.text.slice(0, 300)}`]);
  else if (isProblem(res.json) && res.json.status !== res.status) out.push(['errors', `status ${res.json.status} in a ${res.status}`]);
}

function cors(plan, req, res, out) {
  const allow = res.headers['access-control-allow-origin'];
  const sent = req?.headers.filter(([k]) => /^origin$/i.test(k)).map(([, v]) => v) ?? [];
  if (allow === undefined) return;
  if (plan.bytes === undefined && (sent.length !== 1 || sent[0].trim() !== allow)) out.push(['cors', `Access-Control-Allow-Origin: ${allow}, asked by ${sent.join(' and ') || 'nobody'}`]);
  if (!ORIGINS.has(allow.toLowerCase()) && plan.bytes === undefined) out.push(['cors', `${allow} is no client's origin`]);
  if (!/\borigin\b/i.test(res.headers.vary ?? '')) out.push(['cors', 'no Vary: Origin']);
}

/* Where a redirect may lead: home, to an application, to the provider. */
function redirect(w, res, out) {
  const to = res.headers.location;
  if (to === undefined) return;
  const { d, acme } = w.world;
  const ok = to.startsWith(`${d.base}/`) || to.startsWith('/') && !to.startsWith('//') || to.startsWith(`${acme.origin}/`) || /^http:\/\/localhost:3000\/callback(?=[?#]|$)/.test(to);
  if (!ok) out.push(['redirects', `Location: ${to.slice(0, 300)}`]);
}

function secrets(w, res, out) {
  if (res.status < 400) return;
  const { known } = w.world.d.secrets;
  /* An answer that hands out a token says so: mfa_required. */
  const text = res.json?.mfa_token ? JSON.stringify({ ...res.json, mfa_token: 0, mfa_requirements: 0 }) : res.text;
  /* What was asked for by its path is named as it was. A page that asks again carries the state of its form. */
  const own = /<form/.test(text) ? text.replace(/<input[^>]*type="hidden"[^>]*>|href="[^"]*"|action="[^"]*"/g, '') : text;
  for (const [word] of own.matchAll(WORD)) if (known.has(word) && !plan.line?.includes(word)) out.push(['secrets', `${known.get(word)} in an error: ${res.text.slice(0, 300)}`]);
  if (/json/.test(res.headers['content-type'] ?? '')) for (const [code] of own.matchAll(CODE)) if (w.codes.has(code)) out.push(['secrets', `the code ${code} in an error: ${res.text.slice(0, 300)}`]);
}

function others(w, plan, res, out) {
  const { text } = res;
  const all = res.head + text;
  const mine = (owner) => owner === w.n || plan.owners?.has(owner);
  for (const [m] of all.matchAll(MARK)) {
    const owner = w.world.people.find((p) => p.mark === m)?.n;
    if (owner !== undefined && !mine(owner)) out.push(['others', `${m} belongs to user ${owner}: ${text.slice(0, 300)}`]);
  }
  for (const [id] of all.matchAll(ID)) {
    const owner = w.world.owners.get(id);
    if (owner !== undefined && owner !== w.n && !plan.foreign?.some((v) => v.includes(id)) && !mine(owner)) out.push(['others', `${id} belongs to user ${owner}: ${text.slice(0, 300)}`]);
  }
}

/* [[oracle, complaint]] of one answer. req is null where only bytes were sent. */
export function judge(w, plan, req, res) {
  const out = [];
  const { base } = w.world.d;
  if (ofLibrary(res)) return plan.unframed || res.json || req?.target.length > LONG ? out : [['errors', `the HTTP library refuses a sound request: ${res.status} ${res.text.slice(0, 200)}`]];
  if (res.status >= 500 && !(res.status === 503 && w.world.flood)) out.push(['status', `${res.status}: ${res.text.slice(0, 300)}`]);
  for (const k of Object.keys(res.headers)) if (!HEADERS.has(k)) out.push(['headers', `header ${k}: ${res.headers[k]}`]);
  if (!res.headers['x-request-id'] && !plan.unframed) out.push(['headers', 'no x-request-id']);
  shape(plan, res, out);
  cors(plan, req, res, out);
  redirect(w, res, out);
  secrets(w, res, out);
  others(w, plan, res, out);
  if (/html/.test(res.headers['content-type'] ?? '') && /<fz/i.test(res.text)) out.push(['injection', res.text.slice(Math.max(0, res.text.search(/<fz/i) - 100)).slice(0, 300)]);
  if (req && plan.style === 'api' && req.target.startsWith('/me/v1') && !plan.misframed && res.headers['x-request-id']) {
    const known = template(req.target) !== null || res.status >= 400;
    const type = typeof plan.json?.type === 'string' && plan.text === undefined ? plan.json.type : undefined;
    if (known) for (const v of violations({ method: req.method, path: req.target, type }, res, { base })) if (!BEYOND.test(v)) out.push(['schema', v]);
  }
  return out;
}

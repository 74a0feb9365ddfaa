/* SPDX-License-Identifier: Apache-2.0
 * Checks every answer of the daemon against its own OpenAPI document, and those of the vendor's operations against the
 * vendor's too. */
import fs from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

export const oas = JSON.parse(fs.readFileSync(new URL('../../contract/myaccount-api-oas.json', import.meta.url), 'utf8'));
/* The document's AuthenticatorSelection is closed and knows no authenticatorAttachment, which the options for security
 * keys carry (a decision of the wire contract): relaxed by this one member. */
oas.components.schemas.AuthenticatorSelection.properties.authenticatorAttachment = { type: 'string', enum: ['platform', 'cross-platform'] };
const ajv = new Ajv2020.default({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(oas, 'oas');
export const own = JSON.parse(fs.readFileSync(new URL('../../../conf/openapi.json', import.meta.url), 'utf8'));
ajv.addSchema(own, 'own');

const compiled = new Map();
function validator(pointer, doc) {
  const ref = `${doc}${pointer}`;
  if (!compiled.has(ref)) compiled.set(ref, ajv.compile({ $ref: ref }));
  return compiled.get(ref);
}

function check(pointer, value, what, out, doc = 'oas') {
  const v = validator(pointer, doc);
  if (!v(value)) {
    const seen = v.errors.slice(0, 6).map((e) => `${e.instancePath || '/'} ${e.message}`).join('; ');
    out.push(`${what} does not match ${doc}${pointer}: ${seen}: ${JSON.stringify(value).slice(0, 400)}`);
  }
}

/* Which path template of a document a target falls on, or null. */
export function template(target, doc = oas) {
  const path = target.split('?')[0].replace(/^\/me\/v1/, '').replace(/(.)\/$/, '$1');
  if (!target.startsWith('/me/v1')) return null;
  const segs = path.split('/');
  for (const t of Object.keys(doc.paths)) {
    const ts = t.split('/');
    if (ts.length === segs.length && ts.every((s, i) => s.startsWith('{') ? segs[i] !== '' : s === segs[i])) return t;
  }
  return null;
}

const CREATE_SCHEMA = {
  totp: 'QrCodeCreationResponse', 'push-notification': 'QrCodeCreationResponse', email: 'MfaBaseCreationResponse',
  phone: 'MfaBaseCreationResponse', 'recovery-code': 'RecoveryCodeCreationResponse', password: 'PasswordCreationResponse',
  passkey: 'PasskeyCreationResponse', 'webauthn-platform': 'WebAuthnCreationResponse',
  'webauthn-roaming': 'WebAuthnCreationResponse',
};
/* Beyond the document: statuses that the wire contract adds for every operation. */
const EXTRA = new Set([404, 405, 409, 413, 415, 500, 503]);
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function methodRules(m, out) {
  if (!ISO.test(m.created_at)) out.push(`created_at ${m.created_at} is not ISO-8601 with milliseconds`);
  if (m.last_auth_at !== undefined && !ISO.test(m.last_auth_at)) out.push(`last_auth_at ${m.last_auth_at}`);
  const primary = m.type === 'password' || m.type === 'passkey';
  if (JSON.stringify(m.usage) !== JSON.stringify([primary ? 'primary' : 'secondary'])) out.push(`usage of ${m.type}`);
  if (!primary && typeof m.confirmed !== 'boolean') out.push(`confirmed missing on ${m.type}`);
  if (primary && 'confirmed' in m) out.push(`confirmed present on ${m.type}`);
  const known = { password: ['identity_user_id', 'last_password_reset'], totp: ['confirmed', 'last_auth_at', 'name'],
    'recovery-code': ['confirmed', 'last_auth_at'], email: ['confirmed', 'email', 'last_auth_at', 'name'],
    phone: ['confirmed', 'phone_number', 'preferred_authentication_method', 'last_auth_at', 'name'],
    passkey: ['identity_user_id', 'key_id', 'public_key', 'credential_device_type', 'credential_backed_up', 'user_handle', 'aaguid',
      'relying_party_id', 'transports', 'user_agent', 'last_auth_at', 'name'],
    'webauthn-platform': ['confirmed', 'key_id', 'public_key', 'last_auth_at', 'name'],
    'webauthn-roaming': ['confirmed', 'key_id', 'public_key', 'last_auth_at', 'name'] }[m.type];
  for (const k of Object.keys(m))
    if (known && !['id', 'type', 'usage', 'created_at', ...known].includes(k)) out.push(`unexpected member ${k} on ${m.type}`);
  const id = m.type === 'password' ? /^password\|[A-Za-z0-9_-]+$/ : new RegExp(`^${m.type}\\|dev_[A-Za-z0-9]{16}$`);
  if (!id.test(m.id)) out.push(`id ${m.id} has not the form of the contract`);
}

function errorRules(res, origin, out) {
  const e = res.json;
  check('#/components/schemas/ErrorResponse', e, 'error body', out);
  if (!e || typeof e.type !== 'string') return;
  if (e.status !== res.status) out.push(`status member ${e.status} in a ${res.status}`);
  if (!new RegExp(`^${origin.replace(/[.\\/]/g, '\\$&')}/api-errors/A0E-${res.status}-\\d{4}$`).test(e.type))
    out.push(`error type ${e.type} (base ${origin})`);
  for (const v of e.validation_errors ?? []) if (!v.detail) out.push('validation error without detail');
  if (res.status === 401 && !res.headers['www-authenticate']) out.push('401 without WWW-Authenticate');
}

function headerRules(req, res, out) {
  const h = res.headers;
  if (!/\bno-store\b/.test(h['cache-control'] ?? '')) out.push('Cache-Control: no-store is missing');
  const rated = (res.status >= 200 && res.status < 300 && req.method !== 'OPTIONS') || res.status === 429;
  if (rated)
    for (const n of ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset'])
      if (!/^\d+$/.test(h[n] ?? '')) out.push(`${n} is ${h[n]}`);
  if (res.status === 429 && !/^[1-9]\d*$/.test(h['retry-after'] ?? '')) out.push(`retry-after is ${h['retry-after']}`);
  if (res.status === 503 && !/^\d+$/.test(h['retry-after'] ?? '')) out.push('503 without Retry-After');
  if (res.status === 405 && !h.allow) out.push('405 without Allow');
}

const PUBLIC = '/me/v1/openapi.json'; /* the one answer that is the same for everybody */
const escaped = (t) => t.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D');

/* Against the daemon's own document: it names every status, and the body of each. */
function ownViolations(req, res, out) {
  const t = template(req.path, own);
  const method = (req.method === 'HEAD' ? 'GET' : req.method).toLowerCase();
  const op = t && own.paths[t][method];
  if (!op) return false;
  const answer = op.responses[res.status];
  if (!answer) {
    out.push(`status ${res.status} is not in conf/openapi.json for ${op.operationId}`);
    return true;
  }
  const at = answer.$ref ?? `#/paths/${escaped(t)}/${method}/responses/${res.status}`;
  const named = answer.$ref ? own.components.responses[answer.$ref.split('/').at(-1)] : answer;
  if (!named.content && res.text !== '') out.push(`${op.operationId}: a body with ${res.status}`);
  if (named.content && res.json !== undefined)
    check(`${at}/content/application~1json/schema`, res.json, `${op.operationId} ${res.status}`, out, 'own');
  return true;
}

/* Every violation found in one exchange, as sentences. Errors name base_url, Location the origin the request came to. */
export function violations(req, res, { base, origin = base }) {
  const out = [];
  const t = template(req.path);
  if (!req.path.startsWith('/me/v1')) return out;
  const known = req.method !== 'OPTIONS' && ownViolations(req, res, out);
  if (req.path.split('?')[0] === PUBLIC && res.status < 400) return out;
  headerRules(req, res, out);
  if (req.method === 'OPTIONS') return out;
  if (res.status === 204) {
    if (res.text !== '' || res.headers['content-type']) out.push('204 with a body or content type');
    return out;
  }
  if (req.method === 'HEAD') {
    if (res.text !== '') out.push('HEAD with a body');
    return out;
  }
  if (!/^application\/json(; ?charset=utf-8)?$/i.test(res.headers['content-type'] ?? ''))
    out.push(`content type ${res.headers['content-type']}`);
  if (res.json === undefined) return [...out, `body is not JSON: ${res.text.slice(0, 200)}`];
  if (res.status >= 400) errorRules(res, base, out);
  const op = t && oas.paths[t][req.method.toLowerCase()];
  if (!op) {
    if (res.status < 400 && !known) out.push(`success on a path outside the documents: ${req.method} ${req.path}`);
    return out;
  }
  if (res.status >= 400) {
    if (!op.responses[res.status] && !EXTRA.has(res.status)) out.push(`status ${res.status} is not in the document`);
    return out;
  }
  if (!op.responses[res.status]) return [...out, `status ${res.status} is not in the document for ${op.operationId}`];
  const p = `#/paths/${escaped(t)}/${req.method.toLowerCase()}`;
  const at = op.responses[res.status].$ref ?? `${p}/responses/${res.status}`;
  check(`${at}/content/application~1json/schema`, res.json, `${op.operationId} answer`, out);
  if (res.status === 202 && CREATE_SCHEMA[req.type]) check(`#/components/schemas/${CREATE_SCHEMA[req.type]}`, res.json, 'create answer', out);
  for (const m of res.json.authentication_methods ?? []) methodRules(m, out);
  if (typeof res.json.type === 'string' && res.json.usage) methodRules(res.json, out);
  if (res.status === 202 || (res.status === 201 && t.endsWith('/verify'))) {
    const loc = res.headers.location ?? '';
    const id = res.json.id === undefined ? 'passkey|new' : res.json.id;
    if (loc !== `${origin}/me/v1/authentication-methods/${encodeURIComponent(id)}`) out.push(`Location is ${loc}`);
  }
  return out;
}

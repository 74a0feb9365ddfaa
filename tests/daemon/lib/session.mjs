/* SPDX-License-Identifier: Apache-2.0
 * A user with a token: requests whose answers are all checked, and the enrolment flows. */
import assert from 'node:assert/strict';
import { violations } from './openapi.mjs';
import { totp } from './otp.mjs';

export const METHODS = '/me/v1/authentication-methods';
export const FACTORS = '/me/v1/factors';
export const methodPath = (id) => `${METHODS}/${encodeURIComponent(id)}`;

export class Session {
  constructor(daemon, token, { user } = {}) {
    this.d = daemon;
    this.token = token;
    this.user = user;
  }

  /* opts: headers, host, origin (public origin expected in Location), lax (no checks), raw (body as it is). */
  async request(method, path, body, opts = {}) {
    const headers = { ...(this.token ? { authorization: `Bearer ${this.token}` } : {}) };
    let payload;
    if (body !== undefined) {
      payload = opts.raw ? body : JSON.stringify(body);
      headers['content-type'] = 'application/json';
    }
    for (const [k, v] of Object.entries(opts.headers ?? {})) {
      if (v === null) delete headers[k];
      else headers[k] = v;
    }
    const res = await this.d.http({ method, path, headers, body: payload, ...(opts.host ? { host: opts.host } : {}) });
    this.remember(res);
    if (!opts.lax) {
      const bad = violations({ method, path, type: body?.type }, res, { base: this.d.base, origin: opts.origin ?? this.d.base });
      assert.deepEqual(bad, [], `${method} ${path} -> ${res.status} ${res.text.slice(0, 300)}`);
    }
    return res;
  }
  remember(res) {
    for (const k of ['auth_session', 'recovery_code', 'manual_input_code'])
      if (typeof res.json?.[k] === 'string') this.d.secrets.add(k, res.json[k]);
  }
  get(path, opts) { return this.request('GET', path, undefined, opts); }
  post(path, body, opts) { return this.request('POST', path, body, opts); }
  patch(path, body, opts) { return this.request('PATCH', path, body, opts); }
  del(path, opts) { return this.request('DELETE', path, undefined, opts); }

  /* Demands a status and returns the answer. */
  async want(status, method, path, body, opts) {
    const res = await this.request(method, path, body, opts);
    assert.equal(res.status, status, `${method} ${path} ${body === undefined ? '' : JSON.stringify(body)?.slice(0, 200)} -> ${res.status} ${res.text}`);
    return res;
  }

  /* --- flows --- */
  async enrol(body) { return (await this.want(202, 'POST', METHODS, body)).json; }
  verifyAny(id, body) {
    if (typeof body?.otp_code === 'string') this.d.secrets.add('otp_code', body.otp_code);
    /* Words of the dictionary tests are no secrets; good passwords of the tests carry this mark. */
    if (/Zq7|Zq-7/.test(body?.new_password ?? '')) this.d.secrets.add('new_password', body.new_password);
    return this.post(`${methodPath(id)}/verify`, body);
  }
  async verify(id, body) {
    const res = await this.verifyAny(id, body);
    assert.equal(res.status, 201, `verify ${id} -> ${res.status} ${res.text}`);
    return res.json;
  }
  code(secret, step = 0) {
    const c = totp(secret, this.d.now(), step);
    this.d.secrets.add('otp_code', c);
    return c;
  }
  async addTotp() {
    const e = await this.enrol({ type: 'totp' });
    const m = await this.verify(e.id, { auth_session: e.auth_session, otp_code: this.code(e.manual_input_code) });
    return { ...m, secret: e.manual_input_code, auth_session: e.auth_session };
  }
  async startEmail(email) {
    const e = await this.enrol({ type: 'email', email });
    const mail = await this.d.spool.take({ channel: 'email', to: email });
    this.d.secrets.add('code', mail.code);
    return { ...e, code: mail.code, mail };
  }
  async addEmail(email) {
    const e = await this.startEmail(email);
    return this.verify(e.id, { auth_session: e.auth_session, otp_code: e.code });
  }
  async startPhone(phone_number, how) {
    const e = await this.enrol({ type: 'phone', phone_number, ...(how ? { preferred_authentication_method: how } : {}) });
    const sms = await this.d.spool.take({ channel: how ?? 'sms', to: phone_number });
    this.d.secrets.add('code', sms.code);
    return { ...e, code: sms.code, sms };
  }
  async addPhone(number, how) {
    const e = await this.startPhone(number, how);
    return this.verify(e.id, { auth_session: e.auth_session, otp_code: e.code });
  }
  async addRecovery() {
    const e = await this.enrol({ type: 'recovery-code' });
    return { ...await this.verify(e.id, { auth_session: e.auth_session }), recovery_code: e.recovery_code };
  }
  async changePassword(new_password) {
    const e = await this.enrol({ type: 'password' });
    return this.verifyAny(e.id, { auth_session: e.auth_session, new_password });
  }
  async list(type) {
    return (await this.want(200, 'GET', type ? `${METHODS}?type=${type}` : METHODS)).json.authentication_methods;
  }
  async factors() { return (await this.want(200, 'GET', FACTORS)).json.factors.map((f) => f.type); }
}

/* The error of an answer: "A0E-400-0001 invalid_code", for short assertions. */
export function problem(res) {
  const code = res.json?.type?.match(/A0E-\d{3}-\d{4}$/)?.[0];
  return `${code} ${res.json?.detail}`;
}
export function pointers(res) { return (res.json?.validation_errors ?? []).map((v) => v.pointer); }
export function isProblem(res, status, code, detail) {
  assert.equal(res.status, status, res.text);
  assert.match(res.json.type, new RegExp(`/api-errors/${code}$`), res.text);
  if (detail instanceof RegExp) assert.match(res.json.detail, detail);
  else if (detail !== undefined) assert.equal(res.json.detail, detail, res.text);
}

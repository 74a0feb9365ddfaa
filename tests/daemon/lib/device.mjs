/* SPDX-License-Identifier: Apache-2.0
 * A phone whose app is built on the vendor's authenticator SDK: reads the QR code, enrols, and answers what it is asked
 * as the SDK does. A second implementation of that side, on purpose. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';

const b64 = (b) => Buffer.from(b).toString('base64url');
/* As BigInteger.toByteArray has it: with a zero in front where the first bit is set. */
const signed = (b) => (b[0] & 0x80 ? Buffer.concat([Buffer.from([0]), b]) : b);

/* Making keys takes long: one for each number of bits and use. */
const made = new Map();
export function rsaKey(name = 'one', bits = 2048) {
  const id = `${name} ${bits}`;
  if (!made.has(id)) made.set(id, crypto.generateKeyPairSync('rsa', { modulusLength: bits }));
  return made.get(id);
}
export function jwk(publicKey) {
  const k = publicKey.export({ format: 'jwk' });
  return { kty: 'RSA', alg: 'RS256', use: 'sig', n: b64(signed(Buffer.from(k.n, 'base64url'))), e: k.e };
}

/* What the QR code says, and that it says it as the SDKs read it. */
export function readCode(uri) {
  const u = new URL(uri);
  assert.equal(u.protocol, 'otpauth:');
  assert.equal(u.host, 'totp');
  const q = Object.fromEntries(u.searchParams);
  const [issuer, user] = u.pathname.slice(1).split(':').map(decodeURIComponent);
  return { issuer, user, ...q };
}

export class Device {
  /* how: key (of rsaKey), identifier, name, service, token, matching (announces number matching). */
  constructor(daemon, how = {}) {
    this.d = daemon;
    Object.assign(this, { key: rsaKey(), identifier: crypto.randomUUID(), name: 'Test phone', service: 'GCM', token: `fcm-${crypto.randomBytes(24).toString('hex')}`, ...how });
  }
  get credentials() { return { service: this.service, token: this.token }; }
  get to() { return `${this.service}:${this.token}`; }

  async call(method, path, { body, authorization, headers = {}, raw, host } = {}) {
    const h = { ...(body === undefined && raw === undefined ? {} : { 'content-type': 'application/json' }), ...(authorization ? { authorization } : {}),
      'user-agent': 'GuardianSDK/0.8.0(1) Android 14', ...headers };
    for (const k of Object.keys(h)) if (h[k] === null) delete h[k];
    return this.d.http({ method, path: `/appliance-mfa/api/${path}`, headers: h, body: raw ?? (body === undefined ? undefined : JSON.stringify(body)), ...(host ? { host } : {}) });
  }

  /* --- enrolling --- */
  scan(uri) {
    this.code = readCode(uri);
    assert.match(this.code.enrollment_tx_id, /^[A-Za-z0-9]{32}$/);
    this.d.secrets.add('ticket', this.code.enrollment_tx_id);
    if (this.code.secret) this.d.secrets.add('manual_input_code', this.code.secret);
    return this.code;
  }
  enrolBody(over = {}) {
    return { identifier: this.identifier, name: this.name, push_credentials: this.credentials, public_key: jwk(this.key.publicKey),
      ...(this.matching ? { number_matching: true } : {}), ...over };
  }
  async tryEnrol(over = {}, { ticket = this.code.enrollment_tx_id, ...how } = {}) {
    this.d.secrets.add('push token', this.token);
    const res = await this.call('POST', 'enroll', { body: this.enrolBody(over), authorization: `Ticket id="${ticket}"`, ...how });
    if (res.status === 200) {
      this.account = res.json;
      this.d.secrets.add('device token', res.json.token);
    }
    return res;
  }
  async enrol(uri) {
    this.scan(uri);
    const res = await this.tryEnrol();
    assert.equal(res.status, 200, res.text);
    return res.json;
  }

  /* --- being asked --- */
  /* The next message to this device. */
  async message(ms) {
    const m = await this.d.spool.take({ channel: 'push', to: this.to }, ms);
    for (const k of ['txtkn', 'c']) this.d.secrets.add(k, m.data[k]);
    return m.data;
  }
  sign(claims, { header = { alg: 'RS256', typ: 'JWT' }, key = this.key } = {}) {
    const input = `${b64(JSON.stringify(header))}.${b64(JSON.stringify(claims))}`;
    return `${input}.${b64(crypto.sign('sha256', Buffer.from(input), key.privateKey))}`;
  }
  now() { return Math.floor(this.d.now() / 1000); }
  answerClaims(m, accepted, over = {}) {
    const now = this.now();
    return { iat: now, exp: now + 30, aud: `${this.d.base}/appliance-mfa/api/resolve-transaction`, iss: this.identifier, sub: m.c,
      auth0_guardian_method: 'push', auth0_guardian_accepted: accepted, ...over };
  }
  /* over: claims; how: header, key, token, jwt. */
  answer(m, accepted, over = {}, { token = m.txtkn, jwt, ...how } = {}) {
    return this.call('POST', 'resolve-transaction', { authorization: `Bearer ${token}`,
      body: { challenge_response: jwt ?? this.sign(this.answerClaims(m, accepted, over), how) } });
  }
  async allow(m, over) {
    const res = await this.answer(m, true, over);
    assert.equal(res.status, 204, res.text);
  }
  async reject(m, reason) {
    const res = await this.answer(m, false, reason ? { auth0_guardian_reason: reason } : {});
    assert.equal(res.status, 204, res.text);
  }

  /* --- managing itself --- */
  accountClaims(over = {}) {
    const now = this.now();
    return { iat: now, exp: now + 7200, aud: `${this.d.base}/appliance-mfa/api/device-accounts`, iss: this.identifier, sub: this.account.user_id, ...over };
  }
  update(body, authorization = `Bearer ${this.account.token}`) {
    return this.call('PATCH', `device-accounts/${this.account.id}`, { body, authorization });
  }
  remove(authorization = `Bearer ${this.account.token}`) {
    return this.call('DELETE', `device-accounts/${this.account.id}`, { authorization });
  }
}

/* The errors of the device API. */
export function isDeviceError(res, status, code) {
  assert.deepEqual([res.status, res.json?.errorCode], [status, code], res.text);
  assert.deepEqual(Object.keys(res.json), ['statusCode', 'error', 'message', 'errorCode']);
  assert.equal(res.json.statusCode, status);
  assert.equal(typeof res.json.error, 'string');
  assert.ok(res.json.message.length > 4);
  assert.match(res.headers['content-type'], /^application\/json/);
}

/* An enrolled device of a session's user. */
export async function addPush(s, how = {}) {
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(s.d, how);
  device.ids = e;
  await device.enrol(e.barcode_uri);
  device.method = await s.verify(e.id, { auth_session: e.auth_session });
  return device;
}

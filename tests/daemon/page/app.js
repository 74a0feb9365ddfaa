/* SPDX-License-Identifier: Apache-2.0
 * What a front end does to enrol a passkey: fetch with a bearer token, and the browser's own WebAuthn. */
const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/* Browsers without PublicKeyCredential.parseCreationOptionsFromJSON and toJSON. */
const parseByHand = (o) => ({ ...o, challenge: bytes(o.challenge),
  user: { ...o.user, id: bytes(o.user.id) },
  excludeCredentials: o.excludeCredentials?.map((c) => ({ ...c, id: bytes(c.id) })) });
const jsonByHand = (c) => ({ id: c.id, rawId: text(c.rawId), type: c.type,
  authenticatorAttachment: c.authenticatorAttachment, clientExtensionResults: c.getClientExtensionResults(),
  response: { attestationObject: text(c.response.attestationObject), clientDataJSON: text(c.response.clientDataJSON) } });

class Account {
  /* algorithm: of the ones on offer, take this one. */
  constructor(base, token, { byHand = !window.PublicKeyCredential?.parseCreationOptionsFromJSON, algorithm } = {}) {
    Object.assign(this, { base, token, byHand, algorithm });
  }

  async call(method, url, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body) headers['content-type'] = 'application/json';
    const r = await fetch(new URL(url, this.base), { method, headers, body: body && JSON.stringify(body) });
    const received = await r.text();
    return { status: r.status, location: r.headers.get('location'), limit: r.headers.get('x-ratelimit-limit'),
      json: received ? JSON.parse(received) : null };
  }

  start(body) { return this.call('POST', '/me/v1/authentication-methods', body); }

  async create(options) {
    const publicKey = this.byHand ? parseByHand(options) : PublicKeyCredential.parseCreationOptionsFromJSON(options);
    if (this.algorithm) publicKey.pubKeyCredParams = publicKey.pubKeyCredParams.filter((p) => p.alg === this.algorithm);
    const made = await navigator.credentials.create({ publicKey });
    return this.byHand ? jsonByHand(made) : made.toJSON();
  }

  async enrol(body) {
    const started = await this.start(body);
    if (started.status !== 202) return { started };
    const { auth_session, authn_params_public_key } = started.json;
    const authn_response = await this.create(authn_params_public_key);
    const verified = await this.call('POST', `${started.location}/verify`, { auth_session, authn_response });
    return { started, authn_response, verified };
  }
}
window.Account = Account;

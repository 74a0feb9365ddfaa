/* SPDX-License-Identifier: Apache-2.0
 * What a front end does to connect an account: starts, leaves for the provider, and completes when the browser is back. */
const random = (n) => crypto.getRandomValues(new Uint8Array(n));
const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
const base64url = (buffer) => base64(buffer).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

class Connector {
  constructor(base, token) { Object.assign(this, { base, token }); }

  async call(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body) headers['content-type'] = 'application/json';
    const r = await fetch(`${this.base}/me/v1/connected-accounts${path}`, { method, headers, body: body && JSON.stringify(body) });
    const received = await r.text();
    return { status: r.status, json: received ? JSON.parse(received) : null };
  }

  /* Goes away; what is needed afterwards stays in this tab. */
  async start(connection, more = {}) {
    const code_verifier = base64url(random(32));
    const state = base64(random(32));
    const redirect_uri = `${location.origin}/callback?from=app`;
    const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(code_verifier));
    const begun = await this.call('POST', '/connect', { connection, redirect_uri, state, code_challenge: base64url(challenge), code_challenge_method: 'S256', ...more });
    if (begun.status !== 201) return begun;
    sessionStorage.setItem('connect', JSON.stringify({ state, code_verifier, redirect_uri, auth_session: begun.json.auth_session }));
    const url = new URL(begun.json.connect_uri);
    url.searchParams.set('ticket', begun.json.connect_params.ticket);
    location.assign(url);
    return begun;
  }

  /* Reads the address as the vendor's SDK does. */
  async finish() {
    const query = new URLSearchParams(location.href.split('?').slice(1).join('').split('#')[0]);
    const { state, ...kept } = JSON.parse(sessionStorage.getItem('connect'));
    if (query.get('state') !== state) throw new Error('another state');
    if (query.has('error')) return { error: query.get('error'), error_description: query.get('error_description') };
    return { code: query.get('connect_code'), completed: await this.call('POST', '/complete', { ...kept, connect_code: query.get('connect_code') }) };
  }
}
window.Connector = Connector;

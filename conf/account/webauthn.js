/* SPDX-License-Identifier: Apache-2.0
 * Passkeys and security keys, through the browser's JSON helpers (WebAuthn Level 3 §5.1.8–§5.1.10). */
import { t } from './i18n.js';

export const supported = () => typeof PublicKeyCredential === 'function';

const bytes = (s) => Uint8Array.from(atob(s.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const b64url = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/* For browsers without parseCreationOptionsFromJSON. */
function parse(o) {
  return { ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) },
    excludeCredentials: o.excludeCredentials?.map((c) => ({ ...c, id: bytes(c.id) })) };
}
function toJson(c) {
  const r = c.response;
  return { id: c.id, rawId: b64url(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment ?? undefined,
    response: { clientDataJSON: b64url(r.clientDataJSON), attestationObject: b64url(r.attestationObject), transports: r.getTransports?.() ?? [] },
    clientExtensionResults: c.getClientExtensionResults() };
}

/* Makes a credential; errors are sentences. */
export async function create(options) {
  try {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? parse(options);
    const c = await navigator.credentials.create({ publicKey });
    return c.toJSON?.() ?? toJson(c);
  } catch (e) {
    throw new Error(t({ NotAllowedError: 'webauthn_not_allowed', InvalidStateError: 'webauthn_known', SecurityError: 'webauthn_origin' }[e.name] ?? 'webauthn_failed', { name: e.name }));
  }
}

/* Tells the browser which passkeys this account still takes, so that it drops the others (WebAuthn Level 3 §5.1.10). */
export async function tellAccepted(remaining, like) {
  if (!like?.relying_party_id || !supported()) return;
  try {
    await PublicKeyCredential.signalAllAcceptedCredentials?.({ rpId: like.relying_party_id, userId: like.user_handle,
      allAcceptedCredentialIds: remaining.filter((m) => m.relying_party_id === like.relying_party_id).map((m) => m.key_id) });
  } catch { /* a hint to the browser, no more */ }
}

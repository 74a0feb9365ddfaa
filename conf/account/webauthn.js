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

/* Tells the browser which credentials this account still takes once the one of `was` (the member webauthn of its
 * details) is deleted, so that it drops it (WebAuthn Level 3 §5.1.10). Security keys and platform keys share the user
 * handle with passkeys: what is left out of the list is dropped too, so only the server's own list will do. */
export async function tellAccepted(was) {
  if (!was || !supported()) return;
  try {
    await PublicKeyCredential.signalAllAcceptedCredentials?.({ rpId: was.rp_id, userId: was.user_handle,
      allAcceptedCredentialIds: was.accepted_credential_ids.filter((id) => id !== was.credential_id) });
  } catch { /* a hint to the browser, no more */ }
}

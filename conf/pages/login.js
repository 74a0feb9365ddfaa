/* Passkeys and security keys of the sign-in page, and its waiting for a device. Everything else works without this file;
 * without it a page that waits is loaded anew now and then. */
'use strict';
(() => {
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const form = document.querySelector('form[data-challenge], form[data-creation]');
  const status = document.getElementById('key-status');
  const say = (s) => { if (status) { status.textContent = s; status.hidden = !s; } };
  const none = document.getElementById('no-keys');
  let waiting = null;

  /* --- waiting for a device --- */
  const wait = document.querySelector('[data-poll]');
  const SOON = 2000;
  const LATER = 8000;
  const ask_again = async () => {
    let next = LATER;
    try {
      const answer = await fetch(wait.dataset.poll, { cache: 'no-store' });
      if (answer.ok && !(await answer.json()).waiting) {
        location.replace(location.href);
        return;
      }
      if (answer.ok) next = SOON;
    } catch { /* the network: later */ }
    setTimeout(ask_again, next);
  };
  if (wait) setTimeout(ask_again, SOON);

  /* --- what needs a browser that can --- */
  if (!window.PublicKeyCredential) return;
  const offered = [...document.querySelectorAll('[data-keys]')];
  const here = offered.filter((e) => e.dataset.keys === 'platform');
  for (const e of offered) e.hidden = here.includes(e);
  const only = here.length > 0 && here.length === offered.length;
  if (none) none.hidden = !only;
  if (here.length > 0) {
    PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable().catch(() => false).then((able) => {
      for (const e of here) e.hidden = !able;
      if (none) none.hidden = able || !only;
    });
  }
  if (!form) return;

  /* --- signing in with one --- */
  const options = () => ({
    challenge: bytes(form.dataset.challenge),
    rpId: form.dataset.rpId,
    userVerification: form.dataset.userVerification,
    timeout: Number(form.dataset.timeout),
    allowCredentials: JSON.parse(form.dataset.credentials || '[]')
      .map((c) => ({ type: 'public-key', id: bytes(c.id), ...(c.transports ? { transports: c.transports } : {}) })),
  });
  const assertion = (r) => ({
    authenticatorData: text(r.authenticatorData),
    signature: text(r.signature),
    ...(r.userHandle ? { userHandle: text(r.userHandle) } : {}),
  });
  /* --- adding one --- */
  const creation = () => {
    const o = JSON.parse(form.dataset.creation).authn_params_public_key;
    return {
      ...o,
      challenge: bytes(o.challenge),
      user: { ...o.user, id: bytes(o.user.id) },
      excludeCredentials: JSON.parse(form.dataset.exclude).map((id) => ({ type: 'public-key', id: bytes(id) })),
    };
  };
  const attestation = (r) => ({
    attestationObject: text(r.attestationObject),
    ...(r.getTransports ? { transports: r.getTransports() } : {}),
  });

  const adds = 'creation' in form.dataset;
  const send = (c) => {
    form.elements.response.value = JSON.stringify({
      id: c.id, rawId: text(c.rawId), type: c.type,
      response: { clientDataJSON: text(c.response.clientDataJSON), ...(adds ? attestation : assertion)(c.response) },
    });
    form.submit();
  };
  const WORDS = {
    NotAllowedError: 'Nothing was chosen. Try again, or use another way.',
    InvalidStateError: 'This one is on your account already. Use another one, or another way.',
  };
  const ask = async () => {
    waiting?.abort();
    waiting = null;
    say('');
    try {
      send(await (adds ? navigator.credentials.create({ publicKey: creation() }) : navigator.credentials.get({ publicKey: options() })));
    } catch (e) {
      say(WORDS[e.name] ?? 'This did not work. Try again, or use another way.');
      autofill();
    }
  };
  /* Passkeys among the suggestions of the first field. */
  const autofill = async () => {
    const field = document.querySelector('input[autocomplete~=username]');
    if (!field || !await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
    field.autocomplete = 'username webauthn';
    waiting = new AbortController();
    try {
      send(await navigator.credentials.get({ publicKey: options(), mediation: 'conditional', signal: waiting.signal }));
    } catch { /* given up in favour of something else */ }
  };

  form.hidden = false;
  form.addEventListener('submit', (e) => { e.preventDefault(); ask(); });
  if (!('refused' in form.dataset)) autofill();
})();

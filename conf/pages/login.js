/* Passkeys and security keys of the sign-in page. Everything else works without this file. */
'use strict';
(() => {
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const form = document.querySelector('form[data-challenge]');
  if (!form || !window.PublicKeyCredential) return;
  const status = document.getElementById('key-status');
  const options = () => ({
    challenge: bytes(form.dataset.challenge),
    rpId: form.dataset.rpId,
    userVerification: form.dataset.userVerification,
    timeout: Number(form.dataset.timeout),
    allowCredentials: JSON.parse(form.dataset.credentials || '[]')
      .map((c) => ({ type: 'public-key', id: bytes(c.id), ...(c.transports ? { transports: c.transports } : {}) })),
  });
  const say = (s) => { if (status) { status.textContent = s; status.hidden = !s; } };
  let waiting = null;

  const send = (c) => {
    form.elements.response.value = JSON.stringify({
      id: c.id, rawId: text(c.rawId), type: c.type,
      response: {
        clientDataJSON: text(c.response.clientDataJSON),
        authenticatorData: text(c.response.authenticatorData),
        signature: text(c.response.signature),
        ...(c.response.userHandle ? { userHandle: text(c.response.userHandle) } : {}),
      },
    });
    form.submit();
  };
  const ask = async () => {
    waiting?.abort();
    waiting = null;
    say('');
    try {
      send(await navigator.credentials.get({ publicKey: options() }));
    } catch (e) {
      say(e.name === 'NotAllowedError' ? 'Nothing was chosen. Try again, or use another way.' : 'This did not work. Try again, or use another way.');
      autofill();
    }
  };
  /* Passkeys among the suggestions of the first field. */
  const autofill = async () => {
    const field = document.querySelector('input[autocomplete~=username]');
    if (!field || !PublicKeyCredential.isConditionalMediationAvailable) return;
    if (!await PublicKeyCredential.isConditionalMediationAvailable()
      || !await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable()) return;
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

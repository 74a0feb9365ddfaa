/* SPDX-License-Identifier: Apache-2.0
 * Adding a way to sign in: one dialog for each type. Each resolves with true when something was added. */
import { ApiError, Cancelled, call, part, post, qrPicture } from './api.js';
import { signIn, SignInError } from './auth.js';
import { action, actions, dialog, field, h } from './dom.js';
import { t } from './i18n.js';
import { create, supported } from './webauthn.js';

const METHODS = '/authentication-methods';

async function begin(body) {
  const { body: started, headers } = await call('POST', METHODS, body);
  const place = headers.get('location')?.split('/').pop();
  return { ...started, id: started.id ?? decodeURIComponent(place ?? `${body.type}|new`) };
}
const confirm = (m, more) => post(`${METHODS}/${part(m.id)}/verify`, { auth_session: m.auth_session, ...more });

/* Steps of one dialog: show(content) replaces them; fail(error) tells at the place where it happened. */
function steps(title, first) {
  return dialog(title, (close) => {
    const box = h('div', { class: 'step' });
    const trouble = h('p', { class: 'alert', role: 'alert', hidden: true });
    const step = {
      close,
      show(...content) { trouble.hidden = true; box.replaceChildren(...content.flat(Infinity).filter(Boolean)); (box.querySelector('[autofocus]') ?? box.querySelector('input, button'))?.focus(); },
      fail(e) {
        if (e instanceof Cancelled) return;
        if (e instanceof SignInError) { signIn(); return; }
        trouble.textContent = e.message;
        trouble.hidden = false;
      },
      async attempt(work) {
        trouble.hidden = true;
        try { await work(); } catch (e) { step.fail(e); }
      },
      cancel: () => action(t('cancel'), async () => close(false)),
    };
    step.attempt(() => first(step));
    return [box, trouble];
  });
}

/* A form with one button; work(values) may fail, which is told under the field or above the button. */
function form(step, fields, label, work) {
  const go = action(label, async () => {
    for (const f of Object.values(fields)) f.fail(null);
    const empty = Object.values(fields).find((f) => f.input.required && !f.input.value.trim());
    if (empty) { empty.fail(t('fill_in')); return; }
    try {
      await work(Object.fromEntries(Object.entries(fields).map(([k, f]) => [k, f.input.value.trim()])));
    } catch (e) {
      const [first] = Object.values(fields);
      if (e instanceof ApiError && first && e.status === 400) first.fail(e.message);
      else step.fail(e);
    }
  }, { class: 'main', type: 'submit' });
  return h('form', { onsubmit: (e) => { e.preventDefault(); go.click(); }, novalidate: true }, ...Object.values(fields), actions(go, step.cancel()));
}

/* --- codes --- */

const codeField = () => field(t('code'), { inputmode: 'numeric', autocomplete: 'one-time-code', pattern: '[0-9]*', maxlength: 10, required: true, autofocus: true });

const askCode = (step, m, text, again) => {
  const code = codeField();
  step.show(h('p', {}, text), form(step, { code }, t('confirm'), async (v) => { await confirm(m, { otp_code: v.code.replaceAll(' ', '') }); step.close(true); }),
    again ? h('p', { class: 'soft' }, t('no_code'), ' ', action(t('send_again'), () => step.attempt(again), { class: 'link' })) : null);
};

/* --- one for each type --- */

const totp = () => steps(t('add_totp'), async (step) => {
  const m = await begin({ type: 'totp' });
  const qr = await qrPicture(m.barcode_uri, t('qr_label'));
  const code = codeField();
  step.show(h('ol', {}, h('li', {}, t('totp_scan')), h('li', {}, t('totp_type'))), qr,
    h('details', {}, h('summary', {}, t('cannot_scan')), h('p', {}, t('totp_manual')), h('p', {}, h('code', { class: 'secret' }, m.manual_input_code.match(/.{1,4}/g).join(' ')))),
    form(step, { code }, t('confirm'), async (v) => { await confirm(m, { otp_code: v.code.replaceAll(' ', '') }); step.close(true); }));
});

const email = () => steps(t('add_email'), async (step) => {
  const to = field(t('email'), { type: 'email', autocomplete: 'email', required: true, autofocus: true });
  const start = async (v) => {
    const m = await begin({ type: 'email', email: v.to });
    askCode(step, m, t('code_sent_email', { to: v.to }), () => start(v));
  };
  step.show(form(step, { to }, t('send_code'), start));
});

const phone = () => steps(t('add_phone'), async (step) => {
  const to = field(t('phone'), { type: 'tel', autocomplete: 'tel', required: true, autofocus: true, placeholder: '+49 …' }, t('phone_hint'));
  const by = field(t('phone_by'), { options: [['sms', t('by_sms')], ['voice', t('by_voice')]], name: 'by' });
  const start = async (v) => {
    const m = await begin({ type: 'phone', phone_number: v.to, preferred_authentication_method: v.by });
    askCode(step, m, t(v.by === 'voice' ? 'code_sent_voice' : 'code_sent_sms', { to: v.to }), () => start(v));
  };
  step.show(form(step, { to, by }, t('send_code'), start));
});

const recovery = () => steps(t('add_recovery'), async (step) => {
  const m = await begin({ type: 'recovery-code' });
  const code = m.recovery_code;
  const file = URL.createObjectURL(new Blob([`${t('recovery_file', { site: location.host })}\n\n${code}\n`], { type: 'text/plain' }));
  const sure = h('input', { type: 'checkbox', id: 'kept' });
  const done = action(t('done'), () => step.attempt(async () => {
    if (!sure.checked) { step.fail(new Error(t('recovery_keep_first'))); return; }
    await confirm(m, {});
    URL.revokeObjectURL(file);
    step.close(true);
  }), { class: 'main' });
  step.show(h('p', {}, t('recovery_once')), h('p', {}, h('code', { class: 'secret', id: 'recovery-code', tabindex: '0' }, code)),
    actions(action(t('copy'), async (b) => { await navigator.clipboard.writeText(code); b.textContent = t('copied'); }),
      h('a', { class: 'button', href: file, download: 'recovery-code.txt' }, t('download')), action(t('print'), async () => window.print())),
    h('p', {}, sure, h('label', { for: 'kept', class: 'inline' }, t('recovery_kept'))), actions(done, step.cancel()));
});

const push = () => steps(t('add_push'), async (step) => {
  const m = await begin({ type: 'push-notification' });
  const qr = await qrPicture(m.barcode_uri, t('qr_label'));
  const state = h('p', { role: 'status' });
  const go = action(t('continue'), () => step.attempt(async () => {
    state.textContent = t('push_waiting');
    try { await confirm(m, {}); step.close(true); } finally { state.textContent = ''; }
  }), { class: 'main' });
  step.show(h('p', {}, t('push_scan')), qr, state, actions(go, step.cancel()));
});

const key = (type, title, text) => () => steps(t(title), async (step) => {
  if (!supported()) throw new Error(t('webauthn_unsupported'));
  const go = action(t('continue'), () => step.attempt(async () => {
    const m = await begin({ type });
    await confirm(m, { authn_response: await create(m.authn_params_public_key) });
    step.close(true);
  }), { class: 'main', autofocus: true });
  step.show(h('p', {}, t(text)), actions(go, step.cancel()));
});

function rules(policy) {
  const c = policy?.complexity;
  if (!c) return null;
  return h('ul', { class: 'soft' }, h('li', {}, t('password_length', { n: c.min_length })),
    c.character_types?.length ? h('li', {}, t('password_types', { types: c.character_types.map((x) => t(`characters_${x}`)).join(', ') })) : null,
    policy.history?.active ? h('li', {}, t('password_history')) : null);
}

const password = () => steps(t('change_password'), async (step) => {
  const m = await begin({ type: 'password' });
  const fresh = field(t('new_password'), { type: 'password', autocomplete: 'new-password', required: true, autofocus: true, maxlength: 256 });
  const again = field(t('repeat_password'), { type: 'password', autocomplete: 'new-password', required: true, maxlength: 256 });
  step.show(h('p', {}, t('password_ends')), rules(m.policy), form(step, { fresh, again }, t('change_password'), async () => {
    if (fresh.input.value !== again.input.value) { again.fail(t('password_differs')); return; }
    await confirm(m, { new_password: fresh.input.value });
    step.close(true);
  }));
});

export const ENROL = {
  passkey: key('passkey', 'add_passkey', 'passkey_text'),
  totp,
  'push-notification': push,
  phone,
  email,
  'recovery-code': recovery,
  'webauthn-platform': key('webauthn-platform', 'add_platform', 'platform_text'),
  'webauthn-roaming': key('webauthn-roaming', 'add_roaming', 'roaming_text'),
  password,
};

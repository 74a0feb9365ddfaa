/* SPDX-License-Identifier: Apache-2.0
 * The views: each gives the elements of one part of the account. */
import { all, ApiError, Cancelled, get, part, patch, post, remove } from './api.js';
import { connectRedirect, popup, signIn, SignInError } from './auth.js';
import { action, actions, dialog, field, h, toast } from './dom.js';
import { ENROL } from './enrol.js';
import { ago, country, date, day, has, t } from './i18n.js';
import { supported, tellAccepted } from './webauthn.js';

const METHODS = '/authentication-methods';
const SECOND = ['totp', 'push-notification', 'phone', 'email', 'webauthn-platform', 'webauthn-roaming'];

const card = (title, ...content) => h('section', { class: 'card' }, title ? h('h2', {}, title) : null, ...content);
const list = (items) => h('ul', { class: 'list' }, items);
const row = (what, ...buttons) => h('li', {}, h('div', { class: 'what' }, what), ...buttons);
const typeName = (type) => t(`type_${type}`);
const tag = (text) => h('span', { class: 'tag' }, text);

/* Runs work; what fails is told, and a step-up that was not finished is no failure. */
async function attempt(work) {
  try { return await work(); } catch (e) {
    if (e instanceof SignInError) await signIn();
    if (!(e instanceof Cancelled)) toast(e.message);
    return undefined;
  }
}

/* Says what will happen and asks; true when the work was done. */
const sure = (title, text, label, work) => dialog(title, (close) => {
  const trouble = h('p', { class: 'alert', role: 'alert', hidden: true });
  const go = action(label, async () => {
    try { await work(); close(true); } catch (e) {
      if (e instanceof Cancelled) return;
      if (e instanceof SignInError) await signIn();
      trouble.textContent = e.message;
      trouble.hidden = false;
    }
  }, { class: 'danger' });
  return [h('p', {}, text), trouble, actions(go, action(t('cancel'), async () => close(false), { autofocus: true }))];
});

const place = (x) => [x.device, x.ip, x.country && country(x.country)].filter(Boolean).join(' · ');

/* --- overview --- */

/* What to add next, and why; most urgent first. */
function advice(methods, factors) {
  const have = (type) => methods.some((m) => m.type === type && m.confirmed !== false);
  const can = (type) => factors.some((f) => f.type === type);
  const seconds = methods.filter((m) => SECOND.includes(m.type) && m.confirmed !== false);
  const out = [];
  if (!have('passkey') && can('passkey') && supported()) out.push('passkey');
  if (seconds.length === 0 && !have('passkey')) out.push(...['totp', 'email', 'phone'].filter(can).slice(0, 1));
  if (seconds.every((m) => m.type === 'phone' || m.type === 'email') && seconds.length > 0 && !have('passkey') && can('totp')) out.push('totp');
  if (!have('recovery-code') && can('recovery-code') && (seconds.length > 0 || have('passkey'))) out.push('recovery-code');
  return [...new Set(out)];
}

async function add(type, refresh) {
  if (!await ENROL[type]()) return;
  toast(t('added', { what: typeName(type) }));
  await refresh();
}

async function overview({ refresh }) {
  const [profile, { authentication_methods: methods }, { factors }] = await Promise.all([get('/profile'), get(METHODS), get('/factors')]);
  const next = advice(methods, factors);
  const name = profile.given_name ?? profile.name ?? profile.email ?? '';
  return [
    h('p', {}, t('hello', { name })),
    card(t('advice'), next.length === 0
      ? h('p', { class: 'good' }, t('advice_none'))
      : list(next.map((type) => row([h('p', {}, h('strong', {}, t(`advise_${type}`))), h('p', { class: 'soft' }, t(`advise_why_${type}`))],
        action(t('add'), () => add(type, refresh), { class: 'main', 'aria-label': t('add_named', { what: typeName(type) }) }))))),
    card(t('have'), list(methods.filter((m) => m.confirmed !== false).map((m) => row(methodText(m)))), h('p', {}, h('a', { href: '#methods' }, t('manage_methods')))),
  ];
}

/* --- ways to sign in --- */

function methodText(m) {
  const where = m.email ?? m.phone_number;
  return [h('p', {}, h('strong', {}, m.name || typeName(m.type)), m.name ? h('span', { class: 'soft' }, ` ${typeName(m.type)}`) : null),
    where ? h('p', { class: 'soft' }, where) : null,
    h('p', { class: 'soft' }, t('since', { date: day(m.created_at) }), m.last_auth_at ? ` · ${t('last_used', { ago: ago(m.last_auth_at) })}` : '')];
}

async function rename(m) {
  return await dialog(t('rename'), (close) => {
    const name = field(t('name'), { value: m.name ?? '', maxlength: 100, required: true, autofocus: true });
    const go = action(t('save'), async () => {
      try { await patch(`${METHODS}/${part(m.id)}`, { name: name.input.value.trim() }); close(true); } catch (e) { if (!(e instanceof Cancelled)) name.fail(e.message); }
    }, { class: 'main', type: 'submit' });
    return h('form', { novalidate: true, onsubmit: (e) => { e.preventDefault(); } }, name, actions(go, action(t('cancel'), async () => close(false))));
  });
}

async function details(m) {
  const d = await attempt(() => get(`${METHODS}/${part(m.id)}/details`));
  if (!d) return;
  const lines = [
    d.provider ? [t('made_by'), h('span', {}, d.provider.name)] : null,
    d.remaining_recovery_codes !== undefined ? [t('codes_left'), String(d.remaining_recovery_codes)] : null,
    m.credential_backed_up !== undefined ? [t('synced'), t(m.credential_backed_up ? 'yes' : 'no')] : null,
    [t('created'), date(m.created_at)],
    [t('last_use'), d.last_use ? [date(d.last_use.at), h('br'), place(d.last_use)] : t('never')],
  ].filter(Boolean);
  await dialog(m.name || typeName(m.type), (close) => [h('dl', {}, lines.map(([k, v]) => [h('dt', { class: 'soft' }, k), h('dd', {}, v)])), actions(action(t('close'), async () => close(), { autofocus: true }))]);
}

async function drop(m) {
  const name = m.name || typeName(m.type);
  let was;
  if (!await sure(t('delete_named', { what: name }), t(`delete_text_${m.type}`), t('delete'), async () => {
    if (m.key_id) was = (await get(`${METHODS}/${part(m.id)}/details`)).webauthn;
    await remove(`${METHODS}/${part(m.id)}`);
  })) return false;
  await tellAccepted(was);
  toast(t('deleted', { what: name }));
  return true;
}

async function methods({ refresh }) {
  const [{ authentication_methods: enrolled }, { factors }] = await Promise.all([get(METHODS), get('/factors')]);
  const shown = enrolled.filter((m) => m.confirmed !== false);
  const can = factors.map((f) => f.type).filter((type) => ENROL[type] && type !== 'password');
  const change = (ok) => (ok ? refresh() : undefined);
  const label = (verb, m) => ({ 'aria-label': t(`${verb}_named`, { what: m.name || typeName(m.type) }) });
  return [
    card(t('have'), list(shown.map((m) => row(methodText(m),
      m.type === 'password' ? action(t('change'), async () => { if (await ENROL.password()) { toast(t('password_changed')); await refresh(); } }, { 'aria-label': t('change_password') }) : null,
      m.type === 'recovery-code' ? action(t('replace'), () => add('recovery-code', refresh)) : null,
      ['password', 'recovery-code'].includes(m.type) ? null : action(t('rename'), async () => change(await attempt(() => rename(m))), label('rename', m)),
      action(t('details'), () => details(m), label('details', m)),
      m.type === 'password' ? null : action(t('delete'), async () => change(await attempt(() => drop(m))), { class: 'danger', ...label('delete', m) }))))),
    card(t('add_more'), can.length === 0 ? h('p', {}, t('add_none')) : list(can.filter((type) => type !== 'recovery-code' || !shown.some((m) => m.type === type)).map((type) => row(
      [h('p', {}, h('strong', {}, typeName(type))), h('p', { class: 'soft' }, t(`about_${type}`))],
      action(t('add'), () => add(type, refresh), { 'aria-label': t('add_named', { what: typeName(type) }) }))))),
  ];
}

/* --- profile --- */

const FIELDS = { name: 'name', given_name: 'given-name', family_name: 'family-name', nickname: 'nickname', picture: 'url', email: 'email', phone_number: 'tel' };

async function profile({ refresh }) {
  const p = await get('/profile');
  const fields = Object.fromEntries(Object.entries(FIELDS).map(([k, complete]) => {
    const policy = p.policy[k];
    const fixed = policy.access !== 'read_write';
    return [k, field(t(`profile_${k}`), { value: p[k] ?? '', readonly: fixed, autocomplete: complete, maxlength: 2048 }, fixed ? t(`read_only_${policy.reason}`) : undefined)];
  }));
  const save = action(t('save'), async () => {
    const change = {};
    for (const [k, f] of Object.entries(fields)) {
      f.fail(null);
      const value = f.input.value.trim();
      if (!f.input.readOnly && value !== (p[k] ?? '')) change[k] = value || null;
    }
    if (Object.keys(change).length === 0) { toast(t('nothing_changed')); return; }
    try {
      await patch('/profile', change);
      toast(t('saved'));
      await refresh();
    } catch (e) {
      if (e instanceof Cancelled) return;
      const at = e instanceof ApiError ? e.fields.filter((v) => fields[v.pointer?.slice(1)]) : [];
      for (const v of at) fields[v.pointer.slice(1)].fail(v.detail);
      if (at.length === 0) toast(e.message);
    }
  }, { class: 'main', type: 'submit' });
  return card(null, h('form', { novalidate: true, onsubmit: (e) => e.preventDefault() }, Object.values(fields), actions(save)));
}

/* --- devices --- */

async function devices({ refresh }) {
  const sessions = await all('/sessions', 'sessions');
  const end = (s) => async () => {
    if (s.current && !await sure(t('sign_out_here'), t('sign_out_here_text'), t('sign_out'), () => remove(`/sessions/${part(s.id)}`))) return;
    if (!s.current) await attempt(() => remove(`/sessions/${part(s.id)}`));
    toast(t('device_signed_out'));
    await refresh();
  };
  const name = (s) => s.device || t(`session_${s.kind}`);
  return [
    card(null, h('p', { class: 'soft' }, t('devices_text')), list(sessions.map((s) => row(
      [h('p', {}, h('strong', {}, name(s)), ' ', s.current ? tag(t('this_device')) : null),
        h('p', { class: 'soft' }, [s.application ?? t(`session_${s.kind}`), s.ip, s.country && country(s.country)].filter(Boolean).join(' · ')),
        h('p', { class: 'soft' }, t('signed_in_at', { date: date(s.created_at) }), ' · ', t('last_used', { ago: ago(s.last_used_at) }))],
      action(t('sign_out'), end(s), { 'aria-label': t('sign_out_named', { what: name(s) }) })))),
    sessions.some((s) => !s.current) ? actions(action(t('sign_out_others'), async () => {
      if (await attempt(() => sure(t('sign_out_others'), t('sign_out_others_text'), t('sign_out_others'), () => remove('/sessions?except=current')))) { toast(t('others_signed_out')); await refresh(); }
    }, { class: 'danger' })) : null),
  ];
}

/* --- activity --- */

const eventText = (e) => (has(`event_${e.type}_${e.outcome}`) ? t(`event_${e.type}_${e.outcome}`) : has(`event_${e.type}`) ? t(`event_${e.type}`) : e.description);

function eventRow(e) {
  const about = [e.authentication_method && typeName(e.authentication_method), e.connection, e.application].filter(Boolean).join(' · ');
  return row([h('p', {}, h('strong', {}, eventText(e)), e.outcome === 'failure' ? [' ', h('span', { class: 'error' }, t('failed'))] : null),
    about ? h('p', { class: 'soft' }, about) : null,
    h('p', { class: 'soft' }, h('time', { datetime: e.at }, date(e.at)), place(e) ? ` · ${place(e)}` : '', e.by === 'operator' ? ` · ${t('by_operator')}` : '')]);
}

async function activity() {
  const items = h('ul', { class: 'list' });
  const more = action(t('show_more'), () => attempt(() => load()));
  const types = ['', 'sign_in', 'second_factor', 'factor_added', 'factor_removed', 'password_changed', 'account_connected', 'account_disconnected'];
  const filter = field(t('filter'), { options: types.map((v) => [v, v ? t(`event_${v}`) : t('everything')]), name: 'type' });
  let next;
  const load = async () => {
    const type = filter.input.value;
    const page = await get(`/activity?take=25${type ? `&type=${type}` : ''}${next ? `&from=${part(next)}` : ''}`);
    items.append(...page.events.map(eventRow));
    next = page.next;
    more.hidden = !next;
    if (!items.children.length) items.append(h('li', {}, t('nothing_yet')));
  };
  filter.input.addEventListener('change', () => { next = undefined; items.replaceChildren(); attempt(load); });
  await load();
  return card(null, filter, items, actions(more));
}

/* --- connected accounts --- */

async function connect(name) {
  let started;
  const gone = new AbortController();
  const opened = popup(async (state) => {
    started = await post('/connected-accounts/connect', { connection: name, redirect_uri: connectRedirect, state });
    const u = new URL(started.connect_uri);
    for (const [k, v] of Object.entries(started.connect_params)) u.searchParams.set(k, v);
    return u.href;
  }, { signal: gone.signal });
  let done;
  const asked = dialog(t('connect_named', { what: name }), (close) => {
    done = close;
    return [h('p', {}, t('connect_elsewhere')), actions(action(t('cancel'), async () => close(), { autofocus: true }))];
  }).then(() => gone.abort());
  const answer = await opened.finally(() => done());
  await asked;
  if (!answer) return false;
  if (answer.error) throw new Error(answer.error_description ?? answer.error);
  await post('/connected-accounts/complete', { auth_session: started.auth_session, connect_code: answer.connect_code, redirect_uri: connectRedirect });
  return true;
}

async function connections({ refresh }) {
  const [accounts, offered] = await Promise.all([all('/connected-accounts/accounts', 'accounts'), all('/connected-accounts/connections', 'connections')]);
  return [
    card(t('connected'), accounts.length === 0 ? h('p', { class: 'soft' }, t('connected_none')) : list(accounts.map((a) => row(
      [h('p', {}, h('strong', {}, a.connection)), a.scopes.length ? h('p', { class: 'soft' }, a.scopes.join(', ')) : null, h('p', { class: 'soft' }, t('since', { date: day(a.created_at) }))],
      action(t('disconnect'), async () => {
        if (await attempt(() => sure(t('disconnect_named', { what: a.connection }), t('disconnect_text'), t('disconnect'), () => remove(`/connected-accounts/accounts/${part(a.id)}`)))) await refresh();
      }, { class: 'danger', 'aria-label': t('disconnect_named', { what: a.connection }) }))))),
    card(t('connect_more'), offered.length === 0 ? h('p', { class: 'soft' }, t('connect_none')) : list(offered.map((c) => row([h('p', {}, h('strong', {}, c.name)), c.scopes.length ? h('p', { class: 'soft' }, c.scopes.join(', ')) : null],
      action(t('connect'), async () => { if (await attempt(() => connect(c.name))) { toast(t('connected_now', { what: c.name })); await refresh(); } }, { 'aria-label': t('connect_named', { what: c.name }) }))))),
  ];
}

/* --- applications --- */

async function apps({ refresh }) {
  const { consents } = await get('/consents');
  return card(null, h('p', { class: 'soft' }, t('apps_text')), consents.length === 0 ? h('p', {}, t('apps_none')) : list(consents.map((c) => row(
    [h('p', {}, h('strong', {}, c.application ?? c.client_id)), h('p', { class: 'soft' }, c.requested_details.scope.join(', ')), h('p', { class: 'soft' }, t('since', { date: day(c.created_at) }))],
    action(t('revoke'), async () => {
      if (await attempt(() => sure(t('revoke_named', { what: c.application ?? c.client_id }), t('revoke_text'), t('revoke'), () => remove(`/consents/${part(c.id)}`)))) await refresh();
    }, { class: 'danger', 'aria-label': t('revoke_named', { what: c.application ?? c.client_id }) })))));
}

/* --- data: export and leaving --- */

const pause = (ms) => new Promise((r) => setTimeout(r, ms));

async function exportData(state) {
  state.replaceChildren(t('export_working'));
  let e = await post('/exports', {});
  while (e.status === 'pending') {
    await pause(1500);
    e = await get(`/exports/${part(e.id)}`);
  }
  if (e.status !== 'ready') throw new Error(t('export_failed'));
  const href = URL.createObjectURL(new Blob([JSON.stringify(e.document, null, 2)], { type: 'application/json' }));
  state.replaceChildren(t('export_ready'), ' ', h('a', { href, download: 'account.json' }, t('download')));
}

async function data() {
  const state = h('p', { role: 'status' });
  return [
    card(t('export'), h('p', {}, t('export_text')), state, actions(action(t('export_go'), () => exportData(state).catch((e) => { state.replaceChildren(); if (!(e instanceof Cancelled)) toast(e.message); }), { class: 'main' }))),
    card(t('leave'), h('p', {}, t('leave_text')), actions(action(t('leave_go'), async () => {
      let answer;
      if (!await attempt(() => sure(t('leave'), t('leave_sure'), t('leave_go'), async () => { answer = await remove('/account'); }))) return;
      await dialog(t('left'), (close) => [h('p', {}, t('left_text', { date: date(answer.leaves_at) })), actions(action(t('close'), async () => close(), { autofocus: true }))]);
      sessionStorage.setItem('account-signed-out', '1');
      location.replace('/account');
    }, { class: 'danger' }))),
  ];
}

export const views = { overview, methods, profile, devices, activity, connections, apps, data };

/* SPDX-License-Identifier: Apache-2.0
 * The account page: signing in, the frame around the views, and which of them is shown. */
import { Cancelled } from './api.js';
import { config, finish, prepare, relayed, signIn, signOut, SignInError } from './auth.js';
import { action, actions, fill, h } from './dom.js';
import { LANGUAGES, choose, language, load, t } from './i18n.js';
import { views } from './views.js';

const main = document.getElementById('main');
let shown = 0;

function current() {
  const name = location.hash.slice(1);
  return Object.hasOwn(views, name) ? name : 'overview';
}

/* An error where the view would be: what happened, and what to do. */
function trouble(e, again) {
  fill(main, h('h1', { tabindex: '-1' }, t('trouble')), h('p', { class: 'alert', role: 'alert' }, e.message), actions(action(t('try_again'), again, { class: 'main' })));
}

async function show({ focus = true } = {}) {
  const name = current();
  const turn = ++shown;
  for (const a of document.querySelectorAll('#nav a')) {
    if (a.hash === `#${name}`) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  document.title = `${t(`nav_${name}`)} · ${config.tenant || t('title')}`;
  main.setAttribute('aria-busy', 'true');
  const title = h('h1', { tabindex: '-1' }, t(`nav_${name}`));
  const body = h('div', {}, h('p', { class: 'waiting', role: 'status' }, t('loading')));
  fill(main, title, body);
  if (focus) title.focus({ preventScroll: true });
  const refresh = () => show({ focus: false });
  try {
    const content = await views[name]({ refresh });
    if (turn === shown) fill(body, content);
  } catch (e) {
    if (turn !== shown) return;
    if (e instanceof SignInError) await signIn();
    if (e instanceof Cancelled) fill(body, h('p', {}, t('step_up_needed')), actions(action(t('try_again'), refresh, { class: 'main' })));
    else trouble(e, refresh);
  } finally {
    if (turn === shown) main.removeAttribute('aria-busy');
  }
}

function frame() {
  document.getElementById('skip').textContent = t('skip');
  const pick = h('select', { 'aria-label': t('language'), onchange: async () => { await choose(pick.value); frame(); await show({ focus: false }); } },
    Object.entries(LANGUAGES).map(([k, v]) => h('option', { value: k, selected: k === language, lang: k }, v)));
  fill(document.getElementById('top'), h('p', { class: 'brand' }, config.tenant || t('title')), pick, action(t('sign_out'), async () => signOut(), { class: 'quiet' }));
  const nav = document.getElementById('nav');
  nav.setAttribute('aria-label', t('title'));
  fill(nav, h('ul', {}, Object.keys(views).map((v) => h('li', {}, h('a', { href: `#${v}` }, t(`nav_${v}`))))));
  document.getElementById('top').hidden = nav.hidden = false;
}

/* Outside: nobody is signed in. */
function outside(text, alert) {
  document.title = t('title');
  fill(main, h('h1', { tabindex: '-1' }, config?.tenant || t('title')), h('p', alert ? { class: 'alert', role: 'alert' } : {}, text),
    config?.ready === false ? null : actions(action(t('sign_in'), () => signIn(), { class: 'main' })));
}

async function start() {
  if (relayed()) return;
  await Promise.all([load(), prepare()]);
  if (!config.ready) { outside(t('not_set_up'), true); return; }
  try {
    if (!await finish()) {
      if (sessionStorage.getItem('account-signed-out')) {
        sessionStorage.removeItem('account-signed-out');
        outside(t('signed_out'));
        return;
      }
      await signIn();
    }
  } catch (e) {
    outside(e.message, true);
    return;
  }
  frame();
  addEventListener('hashchange', () => show());
  await show({ focus: false });
}

start().catch((e) => {
  fill(main, h('h1', {}, t('trouble')), h('p', { class: 'alert', role: 'alert' }, String(e.message)), actions(action('↻', async () => location.reload(), { 'aria-label': 'Reload' })));
});

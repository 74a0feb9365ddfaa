/* SPDX-License-Identifier: Apache-2.0
 * Texts, one file for each language: flat names, {placeholders}, and "_one" beside "_other" where a number decides. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' };
const KEPT = 'account-language';

let texts = {};
let plural;
export let language = 'en';

function wanted() {
  const asked = new URLSearchParams(location.search).get('ui_locales')?.split(' ') ?? [];
  let kept = null;
  try { kept = localStorage.getItem(KEPT); } catch { /* no storage: the browser's languages decide */ }
  for (const l of [...asked, kept, ...(navigator.languages ?? [])]) {
    const name = l?.toLowerCase().split('-')[0];
    if (name && Object.hasOwn(LANGUAGES, name)) return name;
  }
  return 'en';
}

export async function load(name = wanted()) {
  const res = await fetch(`/account/${name}.json`);
  texts = await res.json();
  language = name;
  plural = new Intl.PluralRules(name);
  document.documentElement.lang = name;
  document.documentElement.dir = texts.direction ?? 'ltr';
}

export async function choose(name) {
  try { localStorage.setItem(KEPT, name); } catch { /* for this visit only */ }
  await load(name);
}

export const has = (name) => Object.hasOwn(texts, name);

/* t('error_too_many', { n: 3 }) */
export function t(name, values = {}) {
  const key = values.n !== undefined && !has(name) ? `${name}_${plural.select(values.n)}` : name;
  const text = texts[key] ?? texts[`${name}_other`] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, v) => values[v] ?? '');
}

export const date = (iso) => (iso ? new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(iso)) : '');
export const day = (iso) => (iso ? new Intl.DateTimeFormat(language, { dateStyle: 'medium' }).format(new Date(iso)) : '');

/* "3 days ago" */
export function ago(iso) {
  const seconds = (new Date(iso) - Date.now()) / 1000;
  const f = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  for (const [unit, size] of [['year', 31536000], ['month', 2592000], ['day', 86400], ['hour', 3600], ['minute', 60]])
    if (Math.abs(seconds) >= size) return f.format(Math.round(seconds / size), unit);
  return f.format(0, 'minute');
}

export function country(code) {
  try { return new Intl.DisplayNames(language, { type: 'region' }).of(code); } catch { return code; }
}

/* SPDX-License-Identifier: Apache-2.0
 * Elements, built one by one: text never becomes markup. */

/* h('button', { class: 'main', onclick: f }, 'Save', child): null and false children are left out. */
export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k === 'value') e.value = v;
    else e.setAttribute(k, v === true ? '' : v);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

export const fill = (parent, ...children) => { parent.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false)); return parent; };

let number = 0;
export const id = (name) => `${name}-${++number}`;

/* A labelled input with a hint and room for its error; .input is the control. */
export function field(label, attributes = {}, hint) {
  const name = id('field');
  const input = attributes.options
    ? h('select', { id: name, name: attributes.name }, attributes.options.map(([v, text]) => h('option', { value: v }, text)))
    : h('input', { id: name, ...attributes, 'aria-describedby': `${name}-hint ${name}-error` });
  const error = h('p', { class: 'error', id: `${name}-error`, hidden: true });
  const box = h('div', { class: 'field' }, h('label', { for: name }, label), input,
    h('p', { class: 'soft hint', id: `${name}-hint`, hidden: !hint }, hint ?? ''), error);
  box.input = input;
  box.fail = (text) => {
    error.textContent = text ?? '';
    error.hidden = !text;
    if (text) { input.setAttribute('aria-invalid', 'true'); input.focus(); } else input.removeAttribute('aria-invalid');
  };
  return box;
}

/* Tells something that needs no answer. */
export function toast(text) {
  const t = h('p', { class: 'toast' }, text);
  document.getElementById('toasts').append(t);
  setTimeout(() => t.remove(), 8000);
}

/* A modal dialog; content(close, dialog) gives its elements. Resolves with what close was called with. */
export function dialog(title, content) {
  return new Promise((resolve) => {
    const heading = id('dialog');
    const d = h('dialog', { 'aria-labelledby': heading });
    let result;
    const close = (value) => { result = value; d.close(); };
    d.append(h('h2', { id: heading, tabindex: '-1' }, title), ...[content(close, d)].flat(Infinity).filter(Boolean));
    d.addEventListener('close', () => { d.remove(); resolve(result); });
    document.body.append(d);
    d.showModal();
    (d.querySelector('[autofocus]') ?? d.querySelector('h2')).focus();
  });
}

/* A button that cannot be pressed twice while its work runs, and says that it runs. */
export function action(label, work, attributes = {}) {
  const b = h('button', { type: 'button', ...attributes, onclick: async () => {
    if (b.getAttribute('aria-disabled')) return;
    b.setAttribute('aria-disabled', 'true');
    b.classList.add('busy');
    try { await work(b); } finally {
      b.removeAttribute('aria-disabled');
      b.classList.remove('busy');
    }
  } }, label);
  return b;
}

export const actions = (...buttons) => h('div', { class: 'actions' }, ...buttons);

/* SPDX-License-Identifier: Apache-2.0
 * Values that a JSON schema allows, and the many ways to bend them. A value is plain JSON, with two additions: Raw is
 * text (bytes as latin1) that is written as it stands, Members an object as a list, so that names may come twice. */
import { utf8 } from './wire.mjs';

export class Raw { constructor(text) { this.text = text; } }
export class Members { constructor(list) { this.list = list; } }

/* JSON text as latin1 bytes. */
export function write(v) {
  if (v instanceof Raw) return v.text;
  if (v instanceof Members) return `{${v.list.map(([k, x]) => `${k instanceof Raw ? k.text : utf8(JSON.stringify(k))}:${write(x)}`).join(',')}}`;
  if (Array.isArray(v)) return `[${v.map(write).join(',')}]`;
  if (v && typeof v === 'object') return `{${Object.entries(v).map(([k, x]) => `${utf8(JSON.stringify(k))}:${write(x)}`).join(',')}}`;
  return utf8(JSON.stringify(v) ?? 'null');
}

export class Schemas {
  constructor(document) { this.document = document; }
  resolve(s) {
    while (s?.$ref) s = s.$ref.slice(2).split('/').reduce((o, k) => o[k.replaceAll('~1', '/').replaceAll('~0', '~')], this.document);
    return s ?? {};
  }
  /* One branch of every choice, and all parts of a whole, in one schema. */
  flat(schema, r) {
    let s = this.resolve(schema);
    for (let depth = 0; depth < 8; depth++) {
      const branches = s.oneOf ?? s.anyOf;
      if (branches) {
        const { oneOf, anyOf, ...rest } = s;
        s = { ...rest, ...this.resolve(r.of(branches)) };
      } else if (s.allOf) {
        const { allOf, ...rest } = s;
        s = allOf.map((p) => this.flat(p, r)).reduce((a, b) => ({ ...a, ...b, properties: { ...a.properties, ...b.properties }, required: [...a.required ?? [], ...b.required ?? []] }), rest);
      } else break;
    }
    return s;
  }
  /* A value that fits. `hint(name)` may know a better one for a member. */
  sample(schema, r, hint = () => undefined, name = '', depth = 0) {
    const s = this.flat(schema, r);
    const known = name ? hint(name, s) : undefined;
    if (known !== undefined && r.below(8)) return known;
    if (s.const !== undefined) return s.const;
    if (s.enum) return r.of(s.enum);
    const type = Array.isArray(s.type) ? r.of(s.type) : s.type ?? (s.properties ? 'object' : 'string');
    if (s.example !== undefined && !r.below(4)) return s.example;
    if (type === 'object') {
      const out = {};
      for (const [k, p] of Object.entries(s.properties ?? {}))
        if (s.required?.includes(k) || (depth < 6 && r.below(2))) out[k] = this.sample(p, r, hint, k, depth + 1);
      return out;
    }
    if (type === 'array') {
      const n = r.between(s.minItems ?? 0, Math.min(s.maxItems ?? 4, (s.minItems ?? 0) + 3));
      return Array.from({ length: n }, () => this.sample(s.items ?? {}, r, hint, '', depth + 1));
    }
    if (type === 'boolean') return Boolean(r.below(2));
    if (type === 'integer' || type === 'number') return r.between(s.minimum ?? 0, Math.min(s.maximum ?? 100, (s.minimum ?? 0) + 100));
    if (s.format === 'uri') return r.of(['http://localhost:3000/callback', 'https://app.example/cb', 'com.example.app://cb']);
    const lo = s.minLength ?? 1;
    return word(r, r.between(lo, Math.min(s.maxLength ?? lo + 20, lo + 20)));
  }
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_';
export const word = (r, n) => Array.from({ length: n }, () => LETTERS[r.below(LETTERS.length)]).join('');

/* --- bending --- */

export const LENGTHS = [0, 1, 2, 15, 16, 42, 43, 44, 46, 47, 63, 64, 65, 100, 127, 128, 129, 253, 254, 255, 256, 257, 319, 320, 321, 511, 512, 513, 1000, 1001,
  1023, 1024, 1025, 1364, 1365, 2000, 2001, 2048, 2049, 3900, 4000, 4095, 4096, 4097, 8192, 16000, 20000, 65000];
/* What has broken parsers before. The element is looked for in pages. */
export const STRINGS = ['', ' ', '\t', '\u0000', 'a\u0000b', '\u0007', '\u001b[31m', '\r\nx-injected: 1', '\u2028', '\ufeff', '\uffff', '\u{10ffff}', '\u202etxt', 'e\u0301', '\u212a', 'ﬀ',
  '\'', '"', '\\', '%', '%s%s%n', '%00', '%ff', '../../etc/passwd', "' OR '1'='1", '1; DROP TABLE users', '"><fz>', '<fz>', '</script><fz>', '&#60;fz&#62;', '${7*7}', '{{7*7}}', '__proto__', 'constructor',
  'null', 'true', '0', '-1', 'NaN', 'undefined', 'passkey|new', 'password|new', 'totp|dev_0000000000000000', 'auth0|x', '*', '+15551234567', '+1', '+', '+0000000000000000', 'a@b', 'a@b.c', '@', 'a@@b.c', '"a b"@x.example',
  'Ünïcödé@exämple.com', 'x@[127.0.0.1]', 'javascript:alert(1)', 'data:text/html,<fz>', 'http://[', 'http://localhost:3000/callback#f', 'http://localhost:3000/callback/../x', '//evil.example', 'https://evil.example',
  'openid  profile', 'S256 ', 's256', 'plain', '٠١٢٣٤٥', '１２３４５６', '000000', '123456 ', '12345', '1234567', '=', '==', 'AA==', '////', '++++', 'a.b.c', '..', '.', 'eyJhbGciOiJub25lIn0.e30.'];
const NUMBERS = ['0', '-0', '-1', '1', '2', '1.5', '1e3', '1E+400', '-1e-400', '2147483647', '2147483648', '4294967296', '9007199254740993', '9223372036854775807', '9223372036854775808',
  '-9223372036854775809', '18446744073709551616', '1'.repeat(400), '0.1e1', '00', '01', '+1', '.5', '1.', '0x10', 'NaN', 'Infinity', '1e', '--1'];
const TEXTS = ['"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d"', '"\\u0000"', '"\\u000"', '"\\x41"', '"\\', '"', '"\xff"', '"\xc0\xaf"', '"\xed\xa0\x80"', '"\xf4\x90\x80\x80"', '"\xe2\x82"', '"\x00"', '"\x01\x1f"', '"a\nb"', "'x'", 'x', '/*c*/1', '',
  ',', 'tru', 'TRUE', 'nul', '{', '[', '}', ']', '{"a":1,}', '[1,]', '{"a" 1}', '{1:2}', '{a:1}', '{"":""}', '"\\ud83d\\udd11"'];
const NEST = [8, 31, 32, 33, 64, 100, 128, 500, 1500];

const nested = (n, open, close, core = '1') => new Raw(open.repeat(n) + core + close.repeat(n));
const similar = (s, r) => r.of([s.toUpperCase(), `${s} `, ` ${s}`, s.slice(0, -1), `${s}s`, s.replace('o', 'о').replace('a', 'а'), `${s}\u0000`, s.replace(/[-_]/, ''), s[0]?.toUpperCase() + s.slice(1), `${s},${s}`]);
export const longText = (r) => r.of(['a', 'x1', 'é', '🔑', '%', '\\', '"', ' ']).repeat(r.of(LENGTHS)).slice(0, r.of(LENGTHS));

/* Each takes (value, r, context) and gives another in its place. */
const LEAF = {
  type: (v, r) => r.of([null, true, false, 0, '', 'x', [], {}, [v], { value: v }, String(v), 1e9].filter((x) => typeof x !== typeof v || x === null)),
  string: (v, r) => r.of(STRINGS),
  length: (v, r) => longText(r),
  number: (v, r) => new Raw(r.of(NUMBERS)),
  text: (v, r) => new Raw(r.of(TEXTS)),
  nest: (v, r) => r.of([nested(r.of(NEST), '[', ']'), nested(r.of(NEST), '{"a":', '}'), nested(r.of(NEST), '[{"type":', '}]')]),
  similar: (v, r) => (typeof v === 'string' ? similar(v, r) : v),
  inject: (v, r) => (typeof v === 'string' ? v.slice(0, r.below(v.length + 1)) + r.of(STRINGS) + v.slice(r.below(v.length + 1)) : r.of(STRINGS)),
  flip: (v, r) => {
    if (typeof v !== 'string' || !v) return v;
    const at = r.below(v.length);
    return v.slice(0, at) + String.fromCharCode(v.charCodeAt(at) ^ (1 << r.below(7))) + v.slice(at + 1);
  },
  many: (v, r) => Array.from({ length: r.of([2, 20, 21, 100, 101, 500]) }, (_, i) => (r.below(2) ? v : `s${i}`)),
};
const OBJECT = {
  drop: (o, r) => { const e = Object.entries(o); e.splice(r.below(e.length || 1), 1); return Object.fromEntries(e); },
  extra: (o, r) => ({ ...o, [r.of(['extra', 'type', 'id', 'user_id', 'sub', 'confirmed', '__proto__x', 'scope', 'Type', 'auth_session', 'name', '', '\u0000'])]: r.of([1, 'x', null, {}, []]) }),
  twice: (o, r) => {
    const e = Object.entries(o);
    if (!e.length) return new Members([['type', 'totp'], ['type', 'email']]);
    const [k, v] = r.of(e);
    return new Members([...e, [k, r.below(2) ? v : r.of(STRINGS)]]);
  },
  escaped: (o, r) => new Members(Object.entries(o).map(([k, v]) => [r.below(2) ? new Raw(`"${[...k].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`) : k, v])),
  rename: (o, r) => { const e = Object.entries(o).map((x) => [...x]); if (e.length) { const m = r.of(e); m[0] = similar(m[0], r); } return new Members(e); },
  crowd: (o, r) => new Members([...Object.entries(o), ...Array.from({ length: r.of([50, 200, 400]) }, (_, i) => [`m${i}`, i])]),
  raw: (o, r) => new Members([...Object.entries(o), [new Raw(r.of(TEXTS)), 1]]),
  blend: (o, r, c) => ({ ...o, ...(c.other?.() ?? {}) }),
  replace: (o, r, c) => c.other?.() ?? o,
};
const FOREIGN = /^(id|auth_session|connect_code|code|refresh_token|mfa_token|oob_code|state|ticket|next|from|token|subject_token|access_token)$/;

function places(v, at, out) {
  out.push(at);
  if (v && typeof v === 'object' && !(v instanceof Raw) && !(v instanceof Members)) for (const k of Object.keys(v)) places(v[k], [...at, k], out);
  return out;
}
const get = (v, at) => at.reduce((o, k) => o[k], v);
function put(v, at, x) {
  if (!at.length) return x;
  const copy = Array.isArray(v) ? [...v] : { ...v };
  copy[at[0]] = put(v[at[0]], at.slice(1), x);
  return copy;
}

/* [the bent value, the name of what was done]. context: other() another value of the same operation, foreign(name) what
 * another user was given under that name. */
export function bend(value, r, context = {}) {
  const at = r.of(places(value, [], []));
  const v = get(value, at);
  const name = at.at(-1) ?? '';
  if (FOREIGN.test(name) && r.below(2)) {
    const theirs = context.foreign?.(name);
    if (theirs !== undefined) return [put(value, at, theirs), `foreign ${name}`];
  }
  const plain = v && typeof v === 'object' && !Array.isArray(v) && !(v instanceof Raw) && !(v instanceof Members);
  const table = plain && r.below(4) ? OBJECT : LEAF;
  const kind = r.of(Object.keys(table));
  return [put(value, at, table[kind](v, r, context)), `json ${kind}`];
}

/* The same for text that is already written. */
export function bendText(text, r) {
  const kind = r.of(['cut', 'tail', 'bom', 'double', 'blank', 'utf16', 'byte', 'nothing', 'comment']);
  const at = r.below(text.length + 1);
  const made = {
    cut: () => text.slice(0, at), tail: () => text + r.of(['x', '}', ',', '\0', '{}', '\n\n', ' 1', '\xff']), bom: () => `\xef\xbb\xbf${text}`, double: () => text + text,
    blank: () => `${r.of([' ', '\n', '\r\n', '\t', '\f', '\xa0']).repeat(r.of([1, 100, 3000]))}${text}`, utf16: () => Buffer.from(text, 'utf16le').toString('latin1'),
    byte: () => text.slice(0, at) + String.fromCharCode(r.below(256)) + text.slice(at + r.below(2)), nothing: () => '', comment: () => `/* */${text}`,
  }[kind]();
  return [made, `text ${kind}`];
}

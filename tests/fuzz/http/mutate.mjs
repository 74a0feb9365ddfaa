/* SPDX-License-Identifier: Apache-2.0
 * A plan is a request that is still structure: {op, method, path, query, json or form, headers, ...}. Mutations bend it
 * at every level: body, query, path, headers, method, framing, bytes, and the way the bytes are delivered. */
import { STRINGS, Raw, bend, bendText, longText, word, write } from './schema.mjs';
import { bytesOf, encode, utf8 } from './wire.mjs';

const escape = (s, also) => [...Buffer.from(String(s), 'utf8')].map((b) => (/[A-Za-z0-9._~-]/.test(String.fromCharCode(b)) || also?.(b) ? String.fromCharCode(b) : `%${b.toString(16).toUpperCase().padStart(2, '0')}`)).join('');
const pairs = (list) => list.map(([k, v]) => (v instanceof Raw ? `${escape(k)}=${v.text}` : v === null ? escape(k) : `${escape(k)}=${escape(v)}`)).join('&');

/* The request of a plan. */
export function build(plan, host) {
  const headers = [['Host', plan.host ?? host], ...plan.headers];
  let body = null;
  if (plan.text !== undefined) body = bytesOf(plan.text);
  else if (plan.json !== undefined) body = bytesOf(write(plan.json));
  else if (plan.form) body = bytesOf(pairs(plan.form));
  if (body && !headers.some(([k]) => k === 'Content-Type')) headers.push(['Content-Type', plan.form ? 'application/x-www-form-urlencoded' : 'application/json']);
  const query = plan.rawQuery ?? (plan.query?.length ? `?${pairs(plan.query)}` : '');
  const target = plan.target ?? `${plan.path}${query}`;
  return { method: plan.method, target, version: plan.version, headers: headers.filter(([, v]) => v !== null), body, chunks: plan.chunks };
}

const without = (list, name) => list.filter(([k]) => k.toLowerCase() !== name.toLowerCase());
const set = (plan, name, value) => ({ ...plan, headers: [...without(plan.headers, name), [name, value]] });
const add = (plan, name, value) => ({ ...plan, headers: [...plan.headers, [name, value]] });
const header = (plan, name) => plan.headers.find(([k]) => k.toLowerCase() === name.toLowerCase())?.[1];

/* --- lists of pairs: queries and forms --- */
const LIST = {
  drop: (l, r) => l.filter((_, i) => i !== r.below(l.length || 1)),
  twice: (l, r) => (l.length ? [...l, r.of(l)] : [['a', '1'], ['a', '2']]),
  other: (l, r) => (l.length ? [...l, [r.of(l)[0], r.of(STRINGS)]] : [['take', r.of(STRINGS)]]),
  value: (l, r) => replace(l, r, () => r.of(STRINGS)),
  long: (l, r) => replace(l, r, () => longText(r)),
  number: (l, r) => replace(l, r, () => r.of(['0', '-1', '1', '101', '2147483648', '18446744073709551616', '1e1', '0x1', '1.5', ' 1', '+1', '١', '00001'])),
  raw: (l, r) => replace(l, r, () => new Raw(r.of(['%', '%1', '%zz', '%00', '%ff', '%c0%af', '%ed%a0%80', 'a+b', '+', '%2B', '%25252f', '%0d%0aX:1', '=', '==', 'a=b', ';', 'a;b', '[]', '%u0041', '\xe9', '"', '<fz>']))),
  name: (l, r) => { const c = l.map((p) => [...p]); if (c.length) r.of(c)[0] = r.of([...STRINGS, 'type[]', 'type', 'take', 'from', 'TAKE', 'take ']); return c; },
  empty: (l, r) => replace(l, r, () => null),
  crowd: (l, r) => [...l, ...Array.from({ length: r.of([10, 63, 64, 65, 130, 300, 1000]) }, (_, i) => [`p${i}`, '1'])],
  unknown: (l, r) => [...l, [word(r, 5), r.of(STRINGS)]],
  order: (l) => [...l].reverse(),
};
const FOREIGN = /^(state|code|refresh_token|mfa_token|oob_code|auth_session|token|ticket|subject_token|client_id|from|id_token_hint)$/;
function replace(l, r, fn) {
  const c = l.map((p) => [...p]);
  if (!c.length) return [['x', fn()]];
  r.of(c)[1] = fn();
  return c;
}
function bendList(l, r, context) {
  const own = l.filter(([k]) => FOREIGN.test(k));
  if (own.length && !r.below(3)) {
    const [k] = r.of(own);
    const theirs = context.foreign?.(k);
    if (theirs !== undefined) return [l.map((p) => (p[0] === k ? [k, theirs] : p)), `foreign ${k}`];
  }
  const kind = r.of(Object.keys(LIST));
  return [LIST[kind](l, r), `pairs ${kind}`];
}

/* --- paths --- */
const PATH = {
  double: (p) => p.replace(/\//g, (m, i) => (i ? '//' : m)), slash: (p) => `${p}/`, slashes: (p) => `/${p}`, dot: (p) => `${p}/.`, dots: (p, r) => `${p}${r.of(['/..', '/../..', '/%2e%2e', '/..;/', '/%2e%2e%2f'])}`,
  upper: (p) => p.toUpperCase(), cut: (p, r) => p.slice(0, r.below(p.length)) || '/', deeper: (p, r) => `${p}/${word(r, r.between(1, 20))}`.repeat(r.of([1, 1, 3, 30])), params: (p) => `${p};a=b`,
  nul: (p, r) => insert(p, r, '%00'), bad: (p, r) => insert(p, r, r.of(['%', '%g1', '%c0%af', '%ff', '%2F', '%5c', '%0a', '%0d%0a', '%7C', '%25', '%252e', '|', '\\', '^', '{', '}', '"', '<fz>', '%3Cfz%3E', '~', "'"])),
  byte: (p, r) => insert(p, r, String.fromCharCode(r.of([0x80, 0xe9, 0xff, 0x7f, 0x01, 0x1f, 0xa0]))), utf8: (p, r) => insert(p, r, utf8(r.of(['ä', '€', '🔑', '\u202e']))),
  encode: (p) => p.replace(/[a-z]/g, (c, i) => (i % 3 ? c : `%${c.charCodeAt(0).toString(16)}`)), long: (p, r) => p + 'a'.repeat(r.of([100, 255, 256, 1000, 4000, 8000, 8192, 9000, 20000, 40000])),
  segment: (p, r) => { const s = p.split('/'); s[r.between(1, s.length - 1)] = escape(r.of(STRINGS)); return s.join('/'); }, swap: (p) => p.split('/').reverse().join('/'),
};
const insert = (p, r, x) => { const at = r.between(1, p.length); return p.slice(0, at) + x + p.slice(at); };
const TARGET = {
  absolute: (p, r, host) => `http://${r.of([host, 'evil.example', 'localhost', ''])}${p}`, star: () => '*', authority: (p, r, host) => host, fragment: (p) => `${p}#x`, relative: (p) => p.slice(1) || 'x',
  question: (p, r) => `${p}${r.of(['?', '??', '?&', '?&&&', '?=', '?=&=', '?%', '?a', '?a&a', '?[', '?\x80'])}`, many: (p, r) => `${p}?${'a&'.repeat(r.of([10, 100, 500, 2000, 8000]))}`,
};

/* --- headers --- */
const b64 = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url');
const HEADERS = {
  type: (p, r) => set(p, 'Content-Type', r.of([null, '', 'text/plain', 'application/json; charset=utf-8', 'application/json;charset=UTF-16', 'APPLICATION/JSON', 'application/json, text/html', 'application/problem+json', 'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x', 'application/json;', '/', 'application/', ';', 'application/json; charset="', 'application/json\t', 'a'.repeat(2000), 'application/xml', '\xff'])),
  authorization: (p, r) => {
    const now = header(p, 'Authorization') ?? `Bearer ${word(r, 40)}`;
    const [scheme, token = ''] = now.split(' ');
    const [h, c, s] = token.split('.');
    return set(p, 'Authorization', r.of([null, '', 'Bearer', 'Bearer ', `bearer ${token}`, `BEARER  ${token}`, `Bearer ${token} `, `Bearer ${token},${token}`, `Bearer\t${token}`, `Basic ${token}`, `Basic ${Buffer.from(`web:${word(r, 20)}`).toString('base64')}`, 'Basic !!!!', 'Basic Og==', 'Basic OjpgOg',
      `DPoP ${token}`, `${scheme} ${token.slice(0, -1)}`, `${scheme} ${token}x`, `${scheme} ${h}.${c}.`, `${scheme} ${h}.${c}`, `${scheme} ${b64({ alg: 'none', typ: 'at+jwt' })}.${c}.`, `${scheme} ${b64({ alg: 'HS256', kid: '../../x' })}.${c}.${s}`,
      `${scheme} ${h}.${b64({ sub: 'auth0|x', exp: 1e400 })}.${s}`, `${scheme} ${h}.${b64('{"sub":"a","sub":"b"}')}.${s}`, `${scheme} ${h}.${b64(`${'['.repeat(500)}${']'.repeat(500)}`)}.${s}`, `${scheme} ..`, `${scheme} ${'.'.repeat(100)}`,
      `${scheme} ${'a'.repeat(r.of([8000, 8191, 8192, 8193, 12000, 30000]))}`, `${scheme} ${token.replace('.', '%2E')}`, `${scheme} \xff\xfe`, token, `Negotiate ${token}`]));
  },
  authorizations: (p) => add(p, 'Authorization', header(p, 'Authorization') ?? 'Bearer x.y.z'),
  dpop: (p, r, c) => set(p, 'DPoP', r.of([null, '', 'x', 'a.b.c', () => c.proof?.(), () => bendJwt(c.proof?.(), r), () => bendJwt(c.proof?.(), r), () => `${c.proof?.()},${c.proof?.()}`, 'a'.repeat(9000)].map((x) => (typeof x === 'function' ? x() : x)))),
  dpops: (p, r, c) => add(add(p, 'DPoP', c.proof?.() ?? 'x'), 'DPoP', 'y'),
  origin: (p, r) => set(p, 'Origin', r.of(['http://localhost:3000', 'https://reader.example', 'https://evil.example', 'null', '', 'http://localhost:3000/', 'http://localhost:3000.evil.example', 'HTTP://LOCALHOST:3000', 'http://localhost:3000, https://evil.example', 'http://localhost', '*', 'file://', `http://${'a'.repeat(300)}`, '\xff', 'http://localhost:3000\t'])),
  origins: (p) => add(add(p, 'Origin', 'http://localhost:3000'), 'Origin', 'https://evil.example'),
  preflight: (p, r) => set(set({ ...set(p, 'Origin', r.of(['http://localhost:3000', 'https://evil.example', 'null'])), method: 'OPTIONS' }, 'Access-Control-Request-Method', r.of(['POST', 'DELETE', 'TRACE', ''])), 'Access-Control-Request-Headers', r.of(['authorization,dpop', 'x-y', ',,,', 'a'.repeat(1000)])),
  host: (p, r, c) => ({ ...p, host: r.of([null, '', 'evil.example', 'localhost', `localhost:${c.port}.`, `LOCALHOST:${c.port}`, `127.0.0.1:${c.port}`, '[::1]', 'localhost:99999', 'localhost:0', 'a@b', 'a/b', 'localhost\t', `user@localhost:${c.port}`, 'x'.repeat(400), '\xff', 'localhost:', ':80']) }),
  hosts: (p) => add(p, 'Host', 'evil.example'),
  forwarded: (p, r) => set(p, r.of(['Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Real-IP', 'auth0-forwarded-for', 'X-Forwarded-Port', 'X-Original-URL', 'X-HTTP-Method-Override']),
    r.of(['for=1.2.3.4', 'for="[::1]:80";host=evil.example;proto=https', '1.2.3.4, 5.6.7.8', 'evil.example', 'https', 'for=', ';;;', ',,,,', 'for="', '999.999.999.999', '::ffff:127.0.0.1', 'DELETE', '/me/v1/factors', 'a'.repeat(2000), '1.1.1.1,'.repeat(200), '\xff'])),
  trace: (p, r) => set(p, r.of(['traceparent', 'x-request-id', 'tracestate', 'x-correlation-id']), r.of(['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-00000000000000000000000000000000-b7ad6b7169203331-01', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-0AF7-1-1', 'x', '', 'a'.repeat(300), 'id-1', 'a b', '"', '\xff', '<fz>', 'a=1,b=2', '..', '{"x":1}'])),
  language: (p, r) => set(p, 'Accept-Language', r.of(['de', 'de-DE,de;q=0.9,en;q=0.8', '*', 'x'.repeat(500), ';q=', 'en;q=2', 'en;q=0.0001', ',,,', '\xff', '../../en', 'de_DE', 'zh-Hant-TW'])),
  accept: (p, r) => set(p, r.of(['Accept', 'Accept-Encoding', 'Accept-Charset', 'TE', 'Prefer']), r.of(['*/*', 'text/html', 'application/xml', 'gzip', 'identity;q=0, *;q=0', '', 'trailers', 'a'.repeat(3000), '\xff'])),
  idempotency: (p, r) => set(p, 'Idempotency-Key', r.of([word(r, 20), '', 'a'.repeat(300), '"x"'])),
  conditional: (p, r) => set(p, r.of(['If-None-Match', 'If-Match', 'If-Modified-Since', 'If-Range', 'Range']), r.of(['*', '"x"', 'W/"x"', '"', 'bytes=0-', 'bytes=-1', 'bytes=5-1', 'Thu, 01 Jan 1970 00:00:00 GMT', '\xff', ',,', '"a", "b"'])),
  cookie: (p, r) => set(p, 'Cookie', r.of([null, '', ';', '=', 'a', 'a=b; a=c', `x=${'y'.repeat(4000)}`, 'a=b;'.repeat(300), header(p, 'Cookie') ? bendText(header(p, 'Cookie'), r)[0].replace(/[\r\n\0]/g, '') : 'ma_session=x; __Host-ma_session=y', '__Host-ma=1', '\xff=\xff', '$Version=1'])),
  expect: (p, r) => set(p, r.of(['Expect', 'Upgrade', 'Connection', 'Keep-Alive', 'HTTP2-Settings', 'Via', 'Max-Forwards', 'Content-Encoding', 'Trailer']), r.of(['100-continue', 'h2c', 'websocket', 'close', 'keep-alive', 'Upgrade, HTTP2-Settings', 'x', '0', 'gzip', 'Host', 'a'.repeat(500)])),
  agent: (p, r) => set(p, r.of(['User-Agent', 'Auth0-Client', 'Referer', 'Sec-Fetch-Site', 'Sec-Fetch-Mode', 'Sec-Fetch-Dest']), r.of(['', 'Mozilla/5.0 (X11; Linux x86_64) Chrome/120', 'eyJuYW1lIjoieCJ9', '!!!', '<fz>', 'x'.repeat(5000), '\xff\xfe', 'cross-site', 'navigate', 'none', 'http://evil.example/', '%s%n', "' --", utf8('ü🔑')])),
  strange: (p, r) => add(p, r.of(['X-A', 'x', '_', 'A'.repeat(300), 'Content_Length', 'X\xe9', 'X(Y)', 'X"', ' X', 'X ', '', ':path', 'Authorization ']), r.of(['1', '', 'a'.repeat(6000), '\x01', 'a\x00b', '\x7f', '\t\t'])),
  crowd: (p, r) => ({ ...p, headers: [...p.headers, ...Array.from({ length: r.of([20, 100, 300, 1000]) }, (_, i) => [`X-${i}`, 'v'])] }),
  big: (p, r) => add(p, 'X-Big', 'b'.repeat(r.of([1000, 8000, 16000, 24000, 32000, 33000, 70000]))),
};
function bendJwt(jwt, r) {
  if (!jwt) return 'x';
  const [h, c, s] = jwt.split('.');
  const part = (x) => { try { return JSON.parse(Buffer.from(x, 'base64url')); } catch { return {}; } };
  const again = (o) => Buffer.from(write(bend(o, r)[0]), 'latin1').toString('base64url');
  return r.of([() => `${again(part(h))}.${c}.${s}`, () => `${h}.${again(part(c))}.${s}`, () => `${h}.${c}.${s.slice(0, r.below(s.length))}`, () => `${h}.${c}.${s}${word(r, 3)}`, () => `${h}.${c}`, () => bendText(jwt, r)[0].replace(/[\r\n\0]/g, '')])();
}

/* --- framing: what is said about the body is not what follows --- */
const FRAMING = {
  longer: (p, r) => set(p, 'Content-Length', String(size(p) + r.of([1, 10, 1000]))), shorter: (p, r) => set(p, 'Content-Length', String(Math.max(0, size(p) - r.of([1, 5])))),
  odd: (p, r) => set(p, 'Content-Length', r.of(['-1', '+5', '0x10', '1e3', '', ' ', '5, 5', '99999999999999999999999', '18446744073709551615', '4294967296', '007', '5;', 'five'])), lengths: (p) => add(add(p, 'Content-Length', String(size(p))), 'Content-Length', '0'),
  same: (p) => add(add(p, 'Content-Length', String(size(p))), 'Content-Length', String(size(p))), both: (p) => add(add(p, 'Content-Length', String(size(p))), 'Transfer-Encoding', 'chunked'),
  coding: (p, r) => set(p, 'Transfer-Encoding', r.of(['chunked', 'Chunked', 'identity', 'gzip, chunked', 'chunked, chunked', 'xchunked', ' chunked', 'chunked;q=1', '', '\x0bchunked'])), codings: (p) => add(add(p, 'Transfer-Encoding', 'chunked'), 'Transfer-Encoding', 'identity'),
  body: (p) => ({ ...p, text: p.text ?? '{"type":"totp"}', method: 'GET' }), version: (p, r) => ({ ...p, version: r.of(['HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 ', 'http/1.1', 'HTTP/11', 'HTTP/1.', 'ICY/1.1', '', 'HTTP/3', 'HTTP/1.1x']) }),
  huge: (p) => set(p, 'Content-Length', '4294967295'),
};
const size = (p) => build({ ...p, headers: [] }, 'x').body?.length ?? 0;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PROPFIND', 'get', 'X', 'GETX', 'A'.repeat(40), 'M-SEARCH', 'PRI', 'GE\xe9', '{}'];

/* --- bytes --- */
export function bendBytes(bytes, r) {
  let b = Buffer.from(bytes);
  for (let n = r.between(1, 4); n > 0; n--) {
    const at = r.below(b.length + 1);
    const splice = (x, cut = 0) => Buffer.concat([b.subarray(0, at), x, b.subarray(Math.min(b.length, at + cut))]);
    const head = b.indexOf('\r\n\r\n');
    b = [() => { const c = Buffer.from(b); if (c.length) c[r.below(c.length)] ^= 1 << r.below(8); return c; }, () => splice(Buffer.from([r.below(256)])), () => splice(Buffer.alloc(0), r.between(1, 30)),
      () => splice(b.subarray(r.below(b.length || 1)).subarray(0, 200)), () => splice(bytesOf(r.of(['\r\n', '\n', '\r', '\0', '\r\n\r\n', ' ', '\t', ':', '\r\n ', '\n\n', '\x80', 'HTTP/1.1', '0\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00']))),
      () => Buffer.concat([bytesOf(r.of(['\r\n', '\n\n', ' ', '\0', '\r'])), b]), () => bytesOf(b.toString('latin1', 0, Math.max(0, head)).replaceAll('\r\n', r.of(['\n', '\r', '\r\r\n'])) + b.toString('latin1', Math.max(0, head))),
      () => b.subarray(0, r.below(b.length + 1))][r.below(8)]();
  }
  return b;
}

/* One mutation more: the plan, with its name noted. context: port, host, foreign(name), other(), proof(). */
export function mutate(plan, r, context) {
  const out = one(plan, r, context);
  return { ...out[0], notes: [...plan.notes ?? [], out[1]], bent: true };
}
function one(plan, r, context) {
  const bodied = plan.json !== undefined || plan.form;
  for (;;) {
    const n = r.below(22);
    if (n < 8) {
      if (!bodied) continue;
      if (plan.text !== undefined || !r.below(10)) {
        const [text, name] = bendText(plan.text ?? build(plan, 'x').body.toString('latin1'), r);
        return [{ ...plan, text }, name];
      }
      if (plan.form) {
        const [form, name] = bendList(plan.form, r, context);
        return [{ ...plan, form }, name];
      }
      const [json, name] = bend(plan.json, r, context);
      return [{ ...plan, json }, name];
    }
    if (n < 11) {
      const [query, name] = bendList(plan.query ?? [], r, context);
      return [{ ...plan, query }, `query ${name}`];
    }
    if (n < 13) {
      if (!r.below(4)) {
        const kind = r.of(Object.keys(TARGET));
        return [{ ...plan, target: TARGET[kind](plan.path, r, context.host), unframed: true }, `target ${kind}`];
      }
      if (plan.item && r.below(2)) {
        const theirs = r.below(2) ? context.foreign?.('id') : r.of(STRINGS);
        if (theirs !== undefined) return [{ ...plan, path: plan.item(escape(theirs)) }, 'path id'];
      }
      const kind = r.of(Object.keys(PATH));
      return [{ ...plan, path: PATH[kind](plan.path, r), unframed: true }, `path ${kind}`];
    }
    if (n < 17) {
      const kind = r.of(Object.keys(HEADERS));
      return [{ ...HEADERS[kind](plan, r, context), unframed: true }, `header ${kind}`];
    }
    if (n === 17) return [{ ...plan, method: r.of(METHODS), unframed: true }, 'method'];
    if (n === 18) return [{ ...plan, chunks: bodied ? [r.of([1, 3, 100, 4096])] : undefined, deliver: r.of(['split', 'dribble']) }, bodied ? 'chunked' : 'split'];
    if (n === 19) return [{ ...plan, deliver: r.of(['split', 'half', 'abort', 'reset', 'pipeline']) }, 'delivery'];
    if (n === 20) {
      const kind = r.of(Object.keys(FRAMING));
      return [{ ...FRAMING[kind](plan, r), unframed: true, misframed: true }, `framing ${kind}`];
    }
    return [{ ...plan, bytes: r.real(), unframed: true, misframed: true }, 'bytes'];
  }
}
export { encode, escape };

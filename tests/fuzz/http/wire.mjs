/* SPDX-License-Identifier: Apache-2.0
 * Requests as bytes, and a client that reads answers strictly: HTTP/1.1 as RFC 9112 has it, nothing repaired. */
import net from 'node:net';

/* Header values and targets are latin1: each character is one byte. */
export const bytesOf = (text) => Buffer.from(text, 'latin1');
export const utf8 = (text) => Buffer.from(text, 'utf8').toString('latin1');

/* A request is {method, target, version, headers: [[name, value]], body: Buffer or null, chunks: sizes or null}. */
export function encode(req) {
  const lines = [`${req.method} ${req.target} ${req.version ?? 'HTTP/1.1'}`, ...req.headers.map(([k, v]) => `${k}: ${v}`)];
  let body = req.body ?? Buffer.alloc(0);
  if (req.chunks) {
    lines.push('Transfer-Encoding: chunked');
    body = chunked(body, req.chunks);
  } else if (req.body && !req.headers.some(([k]) => /^(content-length|transfer-encoding)$/i.test(k))) lines.push(`Content-Length: ${body.length}`);
  return Buffer.concat([bytesOf(`${lines.join('\r\n')}\r\n\r\n`), body]);
}

function chunked(body, sizes) {
  const out = [];
  let at = 0;
  for (let i = 0; at < body.length; i++) {
    const n = Math.min(sizes[i % sizes.length], body.length - at);
    out.push(bytesOf(`${n.toString(16)}\r\n`), body.subarray(at, at + n), bytesOf('\r\n'));
    at += n;
  }
  return Buffer.concat([...out, bytesOf('0\r\n\r\n')]);
}

class Malformed extends Error {}

/* The first answer in these bytes: {status, headers, text, json, size}, null while it is not whole. Throws Malformed. */
export function decode(data, method) {
  const end = data.indexOf('\r\n\r\n');
  if (data.length >= 9 && !data.toString('latin1', 0, 9).startsWith('HTTP/1.1 ')) throw new Malformed(`no status line: ${JSON.stringify(data.toString('latin1', 0, 60))}`);
  if (end < 0) return null;
  const [first, ...lines] = data.toString('latin1', 0, end).split('\r\n');
  const status = Number(first.match(/^HTTP\/1\.1 ([1-5]\d\d) [\t -~]*$/)?.[1]);
  if (!status) throw new Malformed(`status line ${JSON.stringify(first)}`);
  const headers = {};
  for (const l of lines) {
    const m = l.match(/^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*$/);
    if (!m) throw new Malformed(`header line ${JSON.stringify(l)}`);
    const k = m[1].toLowerCase();
    if (k === 'set-cookie') headers[k] = [...headers[k] ?? [], m[2]];
    else if (k === 'www-authenticate' && k in headers) headers[k] += `, ${m[2]}`;
    else if (k in headers) throw new Malformed(`header ${k} twice`);
    else headers[k] = m[2];
  }
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  if (headers['transfer-encoding']) throw new Malformed(`transfer-encoding ${headers['transfer-encoding']}`);
  const stated = headers['content-length'];
  if (!bodiless && !/^\d+$/.test(stated ?? '')) throw new Malformed(`content-length ${stated} in a ${status}`);
  const n = bodiless ? 0 : Number(stated);
  if (data.length < end + 4 + n) return null;
  const body = data.subarray(end + 4, end + 4 + n);
  const text = body.toString('utf8');
  let json;
  try { json = JSON.parse(text); } catch { /* stays undefined */ }
  return { status, headers, text, json, size: end + 4 + n, head: data.toString('latin1', 0, end + 4), valid: Buffer.from(text).equals(body) };
}

export class Wire {
  constructor(port) {
    this.data = Buffer.alloc(0);
    this.waiters = [];
    this.closed = false;
    this.used = 0;
    this.socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    this.socket.on('data', (c) => { this.data = this.data.length ? Buffer.concat([this.data, c]) : c; this.poke(); });
    this.socket.on('error', (e) => { this.error = e.code; });
    for (const e of ['close', 'end']) this.socket.on(e, () => { this.closed = true; this.poke(); });
    this.opened = new Promise((r) => { this.socket.once('connect', r); this.socket.once('close', r); });
  }
  poke() { for (const w of this.waiters.splice(0)) w(); }
  async write(bytes) {
    await this.opened;
    if (!this.socket.destroyed && this.socket.writable) await new Promise((r) => this.socket.write(bytes, () => r()));
  }
  end() { this.socket.end(); }
  destroy(reset = false) {
    if (reset) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }
  /* The next final answer: an answer, {closed, rest} when there is none any more, {silent} after `ms`, {malformed}. */
  async read(method, ms) {
    const until = Date.now() + ms;
    for (;;) {
      let a;
      try { a = decode(this.data, method); } catch (e) {
        if (!(e instanceof Malformed)) throw e;
        return { malformed: e.message, rest: this.data };
      }
      if (a) {
        this.data = this.data.subarray(a.size);
        if (a.status < 200) continue;
        this.used++;
        return a;
      }
      if (this.closed) return { closed: true, rest: this.data };
      const left = until - Date.now();
      if (left <= 0) return { silent: true, rest: this.data };
      await new Promise((resolve) => {
        const t = setTimeout(resolve, left);
        this.waiters.push(() => { clearTimeout(t); resolve(); });
      });
    }
  }
}

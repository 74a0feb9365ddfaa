/* SPDX-License-Identifier: Apache-2.0
 * HTTP as the tests need it: a client that leaves paths alone, and bare sockets. */
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';

/* The whole kit over TLS: a test file that is run a second time that way sets this before it is imported. */
export const SECURE = process.env.MA_TEST_TLS === '1';
/* The same over UNIX sockets: the daemon's port is a name, and this says which socket it stands for. */
export const LOCAL = process.env.MA_TEST_UNIX === '1';
export const sockets = new Map();

/* One request; `path` goes on the wire as given. */
export function request({ port, socketPath, host, method = 'GET', path, headers = {}, body, agent, timeout = 30000, ca }) {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(body);
    const h = { ...(host ? { host } : {}), ...headers };
    if (payload && !('content-length' in h) && !('transfer-encoding' in h)) h['content-length'] = payload.length;
    const local = socketPath ?? sockets.get(port);
    const to = local ? { socketPath: local } : { host: '127.0.0.1', port };
    const req = (ca ? https : http).request({ ...to, ...(ca ? { ca, servername: 'localhost' } : {}), method, path, headers: h, agent, setHost: !host }, (res) => {
      const chunks = [];
      res.on('data', (c) => chunks.push(c));
      res.on('error', reject);
      res.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString('utf8');
        let json;
        try { json = JSON.parse(text); } catch { /* stays undefined */ }
        resolve({ status: res.statusCode, headers: res.headers, rawHeaders: res.rawHeaders, bytes, text, json });
      });
    });
    req.setTimeout(timeout, () => req.destroy(new Error(`no answer to ${method} ${path} in ${timeout} ms`)));
    req.on('error', reject);
    req.end(payload);
  });
}

/* A bare connection: write bytes, read what comes, see when the peer closes. */
export class Raw {
  /* A TCP port, or the path of a UNIX socket. */
  constructor(port, { secure = SECURE && typeof port === 'number' } = {}) {
    const to = sockets.get(port) ?? port;
    this.data = Buffer.alloc(0);
    this.closed = false;
    const where = typeof to === 'string' ? { path: to } : { host: '127.0.0.1', port: to };
    this.secure = secure;
    /* Who answers is not what bare sockets are for. */
    this.socket = secure ? tls.connect({ ...where, rejectUnauthorized: false, ...(secure === true ? {} : secure) }) : net.connect(where);
    this.socket.on('data', (c) => { this.data = Buffer.concat([this.data, c]); this.poke(); });
    this.socket.on('error', () => {});
    this.socket.on('close', () => { this.closed = true; this.closedAt = Date.now(); this.poke(); });
    this.waiters = [];
    this.opened = new Promise((resolve) => {
      this.socket.once(secure ? 'secureConnect' : 'connect', resolve);
      this.socket.once('close', resolve);
    });
  }
  poke() { for (const w of this.waiters.splice(0)) w(); }
  async write(bytes) {
    if (this.secure) return void (this.closed || this.socket.write(bytes)); /* sent once the handshake is done */
    await this.opened;
    if (!this.closed) await new Promise((r) => this.socket.write(bytes, () => r()));
  }
  /* Waits until test(this) holds; false when `ms` pass first. */
  async until(test, ms) {
    const end = Date.now() + ms;
    while (!test(this)) {
      const left = end - Date.now();
      if (left <= 0) return false;
      await new Promise((resolve) => {
        const t = setTimeout(resolve, left);
        this.waiters.push(() => { clearTimeout(t); resolve(); });
      });
    }
    return true;
  }
  whenClosed(ms = 10000) { return this.until((r) => r.closed, ms); }
  whenAnswered(n = 1, ms = 10000) { return this.until((r) => r.answers().length >= n || r.closed, ms); }
  /* The complete HTTP/1.1 answers received so far. */
  answers() {
    const out = [];
    let rest = this.data;
    for (;;) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0 || !rest.toString('latin1', 0, 9).startsWith('HTTP/1.')) return out;
      const lines = rest.toString('latin1', 0, end).split('\r\n');
      const headers = {};
      for (const l of lines.slice(1)) headers[l.slice(0, l.indexOf(':')).toLowerCase()] = l.slice(l.indexOf(':') + 1).trim();
      const status = Number(lines[0].split(' ')[1]);
      const n = status < 200 || status === 204 ? 0 : Number(headers['content-length'] ?? 0);
      if (rest.length < end + 4 + n) return out;
      const text = rest.toString('utf8', end + 4, end + 4 + n);
      let json;
      try { json = JSON.parse(text); } catch { /* stays undefined */ }
      if (status >= 200) out.push({ status, headers, text, json });
      rest = rest.subarray(end + 4 + n);
    }
  }
  close() { this.socket.destroy(); }
}

/* Sends bytes, waits for the close or `ms`, and says what came. */
export async function exchange(port, bytes, { ms = 3000, wantClose = true, secure } = {}) {
  const r = new Raw(port, secure === undefined ? {} : { secure });
  await r.write(bytes);
  if (wantClose) await r.whenClosed(ms);
  else await r.whenAnswered(1, ms);
  const out = { answers: r.answers(), closed: r.closed, data: r.data.toString('latin1') };
  r.close();
  return out;
}

/* A free TCP port on 127.0.0.1. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const s = net.createServer();
    s.on('error', reject);
    s.listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

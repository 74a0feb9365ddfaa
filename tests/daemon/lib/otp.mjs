/* SPDX-License-Identifier: Apache-2.0
 * What a user's authenticator app and mailbox do: TOTP codes, and spool files as they appear. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export function base32(text) {
  let bits = 0;
  let value = 0;
  const out = [];
  for (const c of text) {
    value = (value << 5) | 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c);
    bits += 5;
    if (bits >= 8) { bits -= 8; out.push((value >>> bits) & 255); }
    value &= (1 << bits) - 1;
  }
  return Buffer.from(out);
}

/* RFC 6238 with SHA-1, 6 digits, 30 s; `step` counts steps from `ms`. */
export function totp(secret, ms, step = 0) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(ms / 30000) + step));
  const mac = crypto.createHmac('sha1', base32(secret)).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, '0');
}

/* A six-digit code that is none of the given ones. */
export function wrongCode(...right) {
  for (let i = 0; ; i++) {
    const code = String(i * 7919 % 1000000).padStart(6, '0');
    if (!right.includes(code)) return code;
  }
}

export class Spool {
  constructor(dir) {
    this.dir = dir;
    this.taken = new Set();
  }
  names() { return fs.readdirSync(this.dir).filter((f) => f.endsWith('.json')).sort(); }
  read(name) { return JSON.parse(fs.readFileSync(path.join(this.dir, name), 'utf8')); }
  all() { return this.names().map((n) => ({ file: n, ...this.read(n) })); }
  /* The oldest message not taken yet that matches; waits for it to appear. */
  async take(match, ms = 15000) {
    const end = Date.now() + ms;
    for (;;) {
      for (const n of this.names()) {
        if (this.taken.has(n)) continue;
        const m = this.read(n);
        if (match.code === undefined && /\/security\/|"this was not me"/.test(m.text)) continue; /* notices.mjs reads those */
        if (Object.entries(match).every(([k, v]) => m[k] === v)) {
          this.taken.add(n);
          return { file: n, ...m };
        }
      }
      if (Date.now() > end) throw new Error(`no message ${JSON.stringify(match)} in ${ms} ms; spool: ${this.names().join(' ')}`);
      await new Promise((r) => setTimeout(r, 10));
    }
  }
}

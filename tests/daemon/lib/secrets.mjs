/* SPDX-License-Identifier: Apache-2.0
 * Remembers every secret a test file used and looks for it where it must not be: the log, the database and its WAL. */
import fs from 'node:fs';
import path from 'node:path';
import { base32 } from './otp.mjs';

const NUMBERS = /"[A-Za-z_]+":-?\d+(\.\d+)?/g;

function has(bytes, needle) { return bytes.includes(needle); }

export class Secrets {
  constructor(daemon) {
    this.d = daemon;
    this.known = new Map();
  }
  add(kind, value) { if (value) this.known.set(value, kind); }

  /* How a secret could appear: as text, as bytes, and for tokens also its signature alone. */
  forms(kind, value) {
    const out = [Buffer.from(value)];
    if (kind === 'manual_input_code') out.push(base32(value), Buffer.from(base32(value).toString('hex')), Buffer.from(base32(value).toString('base64')));
    if (kind === 'token' && value.split('.').length === 3) out.push(Buffer.from(value.split('.')[2]));
    return out.filter((b) => b.length >= 6);
  }

  found(bytes, kind, value) {
    if (/^\d{6,8}$/.test(value)) {
      const text = bytes.toString('latin1').replace(NUMBERS, '');
      return new RegExp(`(?<![0-9A-Za-z])${value}(?![0-9A-Za-z])`).test(text);
    }
    return this.forms(kind, value).some((f) => has(bytes, f));
  }

  leaks() {
    const out = [];
    const places = fs.readdirSync(this.d.dir).filter((f) => f === 'log' || f.startsWith('myaccount.db') || f.startsWith('backup'));
    for (const f of places) {
      const bytes = fs.readFileSync(path.join(this.d.dir, f));
      for (const [value, kind] of this.known) if (this.found(bytes, kind, value)) out.push(`${kind} ${value.slice(0, 40)} in ${f}`);
    }
    return out;
  }
}

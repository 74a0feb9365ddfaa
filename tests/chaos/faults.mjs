/* SPDX-License-Identifier: Apache-2.0
 * The numbers of faults.h: what shall fail in the daemon, and what did. */
import fs from 'node:fs';

const AT = { io: 0, memory: 64 };
const MEMBER = { mask: 0, skip: 8, every: 16, left: 24, code: 32, seen: 40, injected: 48 };
export const IO = { read: 1, write: 2, sync: 4, truncate: 8, size: 16, open: 32, shm: 64, lock: 128 };
export const OWNER = { program: 1, sqlite: 2, crypto: 4, jansson: 8, curl: 16, microhttpd: 32, argon2: 64 };
export const SQLITE_FULL = 13;

export class Faults {
  constructor(file) {
    fs.writeFileSync(file, Buffer.alloc(128), { mode: 0o600 });
    this.fd = fs.openSync(file, 'r+');
  }
  set(which, member, value) {
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(value));
    fs.writeSync(this.fd, b, 0, 8, AT[which] + MEMBER[member]);
  }
  get(which, member) {
    const b = Buffer.alloc(8);
    fs.readSync(this.fd, b, 0, 8, AT[which] + MEMBER[member]);
    return Number(b.readBigInt64LE());
  }
  arm(which, { mask, skip = 0, every = 1, left = 1, code = 0 }) {
    this.disarm(which);
    for (const [k, v] of Object.entries({ seen: 0, skip, every, left, code, mask })) this.set(which, k, v);
  }
  disarm(which) { this.set(which, 'mask', 0); }
  calm() { for (const w of Object.keys(AT)) this.disarm(w); }
  injected(which) { return this.get(which, 'injected'); }
  close() { fs.closeSync(this.fd); }
}

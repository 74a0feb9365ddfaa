/* SPDX-License-Identifier: Apache-2.0
 * Chance that a seed repeats: one stream for each name. */
import crypto from 'node:crypto';

export class Random {
  constructor(...names) { this.state = crypto.createHash('sha256').update(names.join('/')).digest().readUInt32LE(0); }
  /* mulberry32: [0, 1) */
  real() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  below(n) { return Math.floor(this.real() * n); }
  between(a, b) { return a + this.below(b - a + 1); }
  of(list) { return list[this.below(list.length)]; }
}

/* SPDX-License-Identifier: Apache-2.0
 * Reading the text for Prometheus, and promtool. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { BIN, ROOT } from './daemon.mjs';

const PROMTOOL = [path.join(BIN, '../host/promtool'), path.join(ROOT, 'build/host/promtool'), '/usr/bin/promtool'].find((f) => fs.existsSync(f));
/* For tests that need it: why they are skipped, or false. */
export const noPromtool = PROMTOOL ? false : 'promtool is not there (make promtool)';

export function promtool(args, input, cwd = ROOT) {
  const r = spawnSync(PROMTOOL, args, { input, cwd, encoding: 'utf8' });
  return { code: r.status, out: `${r.stdout}${r.stderr}` };
}
/* Fails on what promtool refuses or would have named otherwise. */
export function promtoolLikes(text) {
  const r = promtool(['check', 'metrics'], text);
  assert.deepEqual([r.code, r.out], [0, ''], r.out);
}

const LINE = /^([a-z_:]+)(?:\{(.*)\})? (\S+)$/;
/* The values by series, as "name{a=\"x\"}", and the families with their types. Everything about the form that promtool
 * does not look at is checked here. */
export class Text {
  constructor(text) {
    this.text = text;
    this.values = new Map();
    this.types = new Map();
    this.help = new Map();
    assert.ok(text.endsWith('\n'));
    for (const line of text.slice(0, -1).split('\n')) this.line(line);
  }
  line(line) {
    const [, kind, family, rest] = line.match(/^# (HELP|TYPE) (\S+) (.+)$/) ?? [];
    if (kind) {
      const to = kind === 'HELP' ? this.help : this.types;
      assert.ok(!to.has(family), `${line}: twice`);
      to.set(family, rest);
      return;
    }
    const m = line.match(LINE);
    assert.ok(m, `not a line: ${line}`);
    const name = this.types.has(m[1]) ? m[1] : m[1].replace(/_(bucket|sum|count)$/, '');
    assert.ok(this.types.has(name) && this.help.has(name), `${line}: no TYPE or HELP before it`);
    const series = m[2] === undefined ? m[1] : `${m[1]}{${m[2]}}`;
    assert.ok(!this.values.has(series), `${series}: twice`);
    assert.ok(Number.isFinite(Number(m[3])), line);
    this.values.set(series, Number(m[3]));
  }
  /* The value of a series: its labels as an object, in the order they are written. 0 when it is not shown. */
  get(name, labels = {}) {
    const inner = Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(',');
    return this.values.get(inner ? `${name}{${inner}}` : name) ?? 0;
  }
  /* The sum over all series of a name whose labels contain these. */
  sum(name, labels = {}) {
    let n = 0;
    for (const [s, v] of this.values)
      if ((s === name || s.startsWith(`${name}{`)) && Object.entries(labels).every(([k, w]) => s.includes(`${k}="${w}"`))) n += v;
    return n;
  }
  /* Values of a label. */
  labels(name, label) { return [...this.values.keys()].filter((s) => s.startsWith(`${name}{`)).map((s) => s.match(new RegExp(`[{,]${label}="([^"]*)"`))?.[1]); }
}

/* Counters and buckets never go back, and buckets rise with their bounds. */
export function isLater(before, after) {
  for (const [s, v] of before.values) {
    const family = s.replace(/\{.*/, '').replace(/_(bucket|sum|count)$/, '');
    const type = after.types.get(s.replace(/\{.*/, '')) ?? after.types.get(family);
    if (type === 'counter' || type === 'histogram') assert.ok((after.values.get(s) ?? -1) >= v, `${s} went from ${v} to ${after.values.get(s)}`);
  }
  let last = ['', 0];
  for (const [s, v] of after.values) {
    const [, row] = s.match(/^(.*_bucket\{.*)le="[^"]*"\}$/) ?? [];
    if (row !== undefined && row === last[0]) assert.ok(v >= last[1], `${s} is below the bucket before it`);
    last = [row, v];
  }
}

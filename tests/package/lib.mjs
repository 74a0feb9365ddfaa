/* SPDX-License-Identifier: Apache-2.0
 * What the tests of installation and packages share. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const BUILD = path.resolve(ROOT, process.env.BUILD ?? 'build');
/* The tree's own paths, whoever calls; nothing of the caller's make. */
export const ENV = Object.fromEntries(Object.entries(process.env).filter(([k]) => !/^(MAKE|MFLAGS|MODE|DESTDIR|PREFIX)/.test(k)));

export function sh(argv, { env = {}, cwd = ROOT, timeout = 200000, ...rest } = {}) {
  const r = spawnSync(argv[0], argv.slice(1), { cwd, encoding: 'utf8', timeout, maxBuffer: 64 << 20, env: { ...ENV, ...env }, ...rest });
  return { code: r.status, out: r.stdout ?? '', err: r.stderr ?? '', said: `${r.stdout}${r.stderr}${r.error ?? ''}` };
}
/* Where a program is: installed, or unpacked from its package below build/tools. */
export function program(name) {
  for (const dir of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', `${BUILD}/tools/usr/sbin`, `${BUILD}/tools/usr/bin`]) {
    const file = path.join(dir, name);
    if (fs.existsSync(file)) return file;
  }
  return null;
}
export const without = (name) => !program(name) && `no ${name}`;
export const scratch = () => fs.mkdtempSync(path.join(os.tmpdir(), 'ma-package-'));
export const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');

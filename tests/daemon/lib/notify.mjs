/* SPDX-License-Identifier: Apache-2.0
 * A service manager's end of sd_notify(3). Node has no datagram UNIX sockets, so a Python process receives. */
import { spawn, spawnSync } from 'node:child_process';
import { eventually } from './daemon.mjs';

export const NO_PYTHON = spawnSync('python3', ['-c', 'import socket']).status !== 0 && 'no python3';

const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind("\\0" + name[1:] if name[0] == "@" else name)
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(s.recv(4096).decode()), flush=True)
`;

export class Notify {
  /* name: a path, or "@name" in the abstract namespace. */
  static async open(name) {
    const n = new Notify();
    n.name = name;
    n.said = [];
    let rest = '';
    n.receiver = spawn('python3', ['-c', RECEIVER, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    n.receiver.stdout.on('data', (c) => {
      rest += c;
      const lines = rest.split('\n');
      rest = lines.pop();
      n.said.push(...lines.map((l) => JSON.parse(l)));
    });
    await eventually(() => n.said.length > 0, 'the notify socket');
    n.said.shift();
    return n;
  }
  /* The first datagram from number `from` on that matches, and its number. */
  async want(pattern, from = 0, ms = 30000) {
    const at = await eventually(() => {
      const i = this.said.findIndex((m, k) => k >= from && pattern.test(m));
      return i < 0 ? false : { i };
    }, `${pattern} among ${JSON.stringify(this.said.slice(-5))}`, ms);
    return { at: at.i, text: this.said[at.i], next: at.i + 1 };
  }
  close() { this.receiver.kill(); }
}

/* The daemon's environment with these variables added. */
export function withEnv(d, env) {
  const options = d.spawnOptions();
  d.spawnOptions = () => ({ ...options, env: { ...options.env, ...env } });
}

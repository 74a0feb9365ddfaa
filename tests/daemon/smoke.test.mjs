/* SPDX-License-Identifier: Apache-2.0
 * A short run through everything that threads share, for the build with the thread sanitizer. */
import fs from 'node:fs';
import { assert, test, before, after, Daemon, Key, freePort, request, METHODS, FACTORS, methodPath } from './lib/kit.mjs';

let d;
let health;
before(async () => {
  health = await freePort();
  d = await Daemon.start({ config: { http_threads: 4, metrics_listen: `127.0.0.1:${health}` } });
});
after(() => d.stop());

test('reads, writes, hashing, messages, reloads and administration at once', async () => {
  const users = Array.from({ length: 12 }, () => d.session());
  const work = users.map(async (s, i) => {
    for (let n = 0; n < 3; n++) {
      const m = await s.addTotp();
      await s.want(200, 'PATCH', methodPath(m.id), { name: `m${n}` });
      await s.want(200, 'GET', FACTORS);
      if (n) await s.want(204, 'DELETE', methodPath(m.id));
    }
    await s.addRecovery();
    if (i % 3 === 0) assert.equal((await s.changePassword(`Zq7-smoke${i}-kW`)).status, 201);
    if (i % 3 === 1) await s.addEmail(`smoke${i}@mail.example`);
    if (i % 3 === 2) await s.addPhone(`+1555990000${i % 10}`);
    return s.list();
  });
  const admin = (async () => {
    for (let i = 0; i < 3; i++) {
      d.idp.keys.push(new Key('EdDSA'));
      fs.writeFileSync(d.files.jwks, d.idp.jwks());
      d.process.kill('SIGHUP');
      const r = await d.ctlAsync('apply', d.document({ users: [{ user_id: 'auth0|bob', name: `Bob ${i}` }] }));
      assert.equal(r.code, 0, r.err);
      assert.equal((await d.ctlAsync('keys', 'rotate')).code, 0);
      assert.equal((await request({ port: health, path: '/health/ready' })).status, 200);
      assert.match((await request({ port: health, path: '/metrics' })).text, /^myaccountd_ready 1$/m);
      assert.equal((await d.ctlAsync('metrics')).code, 0);
    }
  })();
  for (const list of await Promise.all(work)) assert.equal(list.length, 3);
  await admin;
});

test('bad requests at once', async () => {
  const bad = d.bearer('a.b.c');
  const rs = await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? bad.get(METHODS) : d.anonymous().get(METHODS))));
  assert.deepEqual([...new Set(rs.map((r) => r.status))], [401]);
});

/* SPDX-License-Identifier: Apache-2.0
 * Requests that the HTTP library gives up on before there is an answer: nothing of them may stay behind. */
import { assert, test, before, after, Daemon, exchange, eventually } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { limits: { header_timeout: 600, keep_alive: 600 } } }); });
after(() => d.stop());

const lines = () => d.logLines().filter((l) => l.event === 'request');
const head = (line, more = '') => `${line}\r\nHost: ${d.host}\r\n${more}\r\n`;

test('more cookies than the library can keep: the request ends, is logged and holds nothing', async () => {
  const before = lines().length;
  const N = 20;
  for (let i = 0; i < N; i++) {
    const r = await exchange(d.port, head('GET / HTTP/1.1', `Cookie: ${'a=b; '.repeat(1500)}c=d\r\n`));
    assert.equal(r.closed, true, r.data);
  }
  await eventually(() => lines().length >= before + N, 'their log lines');
  for (const l of lines().slice(before)) assert.equal(l.address, '127.0.0.1', JSON.stringify(l));
});

test('more query arguments than the library can keep are answered at once', async (t) => {
  for (const n of [65, 2500, 7000])
    await t.test(`${n}`, async () => {
      const before = lines().length;
      const r = await exchange(d.port, head(`GET /authorize?${'a&'.repeat(n)} HTTP/1.1`));
      assert.equal(r.closed, true, 'still open');
      assert.equal(r.answers[0]?.status, 400, r.data);
      assert.match(r.answers[0].json.detail, /parameters/);
      await eventually(() => lines().length > before, 'its log line');
      const l = lines().at(-1);
      assert.deepEqual([l.status, l.address], [400, '127.0.0.1']);
    });
});

test('a long target with arguments is answered as well', async () => {
  const r = await exchange(d.port, head(`GET /?${'a&'.repeat(60)}${'b'.repeat(21000)} HTTP/1.1`));
  assert.equal(r.closed, true, 'still open');
  assert.equal(r.answers[0]?.status, 400, r.data);
});

test('nothing of them keeps the daemon from stopping', async () => {
  assert.deepEqual(await d.end(), { code: 0, signal: null });
  assert.deepEqual(d.logLines().filter((l) => l.event === 'http.drain_timeout'), []);
});

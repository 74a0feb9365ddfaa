/* SPDX-License-Identifier: Apache-2.0
 * GET /openapi.json, and whether the document and the route table say the same. */
import fs from 'node:fs';
import { assert, test, before, after, Daemon, ORIGIN, oas, own, template, violations } from './lib/kit.mjs';

const PATH = '/me/v1/openapi.json';
let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

test('the document', async (t) => {
  const get = (headers = {}) => d.http({ method: 'GET', path: PATH, headers });
  const res = await get();
  await t.test('is that of the source', () => {
    assert.equal(res.status, 200);
    assert.match(res.headers['content-type'], /^application\/json/);
    assert.equal(res.text, fs.readFileSync(new URL('../../conf/openapi.json', import.meta.url), 'utf8'));
    assert.equal(res.headers['cache-control'], 'no-cache');
  });
  await t.test('known by its ETag', async () => {
    const tag = res.headers.etag;
    assert.match(tag, /^"[0-9a-f]{32}"$/);
    for (const known of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
      const again = await get({ 'if-none-match': known });
      assert.deepEqual([again.status, again.text, again.headers.etag], [304, '', tag], known);
    }
    for (const unknown of ['"x"', tag.slice(0, -2), '']) assert.equal((await get({ 'if-none-match': unknown })).status, 200, unknown);
  });
  await t.test('for every origin, without a token', async () => {
    for (const origin of [ORIGIN, 'https://anybody.example']) {
      const r = await get({ origin });
      assert.deepEqual([r.status, r.headers['access-control-allow-origin'], r.headers['access-control-expose-headers']], [200, '*', 'ETag']);
    }
    assert.equal((await get({ authorization: 'Bearer nonsense' })).status, 200);
  });
  await t.test('HEAD', async () => {
    const r = await d.http({ method: 'HEAD', path: PATH });
    assert.deepEqual([r.status, r.text, r.headers.etag], [200, '', res.headers.etag]);
  });
  await t.test('also while the API is not active', async () => {
    d.apply({ api: { active: false } });
    assert.equal((await get()).status, 200);
    d.apply({ api: { active: true } });
  });
});

/* "METHOD /path operation scopes lane body" of the operations of the API. */
const routes = () => d.ok('routes').split('\n').filter(Boolean).map((l) => l.split(' '))
  .filter(([, path, op]) => path.startsWith('/me/v1/') && !['visitConnect', 'connectCallback'].includes(op));
const operations = () => Object.entries(own.paths).flatMap(([p, item]) => Object.entries(item).map(([m, op]) => ({ line: [m.toUpperCase(), `/me/v1${p}`, op.operationId, op.security[0]?.token.join(',') ?? 'public'].join(' '), m, p, op })));

test('the document and `myaccountctl routes` say the same', () => {
  assert.deepEqual(operations().map((o) => o.line).sort(), routes().map((r) => r.slice(0, 4).join(' ')).sort());
  for (const [verb, path, , , , body] of routes())
    assert.equal(own.paths[path.replace('/me/v1', '')][verb.toLowerCase()].requestBody !== undefined, body !== '0', `${verb} ${path}: a body`);
});

test('the document by itself', async (t) => {
  const text = JSON.stringify(own);
  await t.test('every reference leads somewhere, and every part is used', () => {
    const used = new Set([...text.matchAll(/"#\/components\/(\w+)\/([\w-]+)"/g)].map(([, kind, name]) => `${kind}/${name}`));
    for (const u of used) assert.ok(own.components[u.split('/')[0]][u.split('/')[1]], u);
    for (const kind of ['schemas', 'responses', 'headers']) for (const name of Object.keys(own.components[kind])) assert.ok(used.has(`${kind}/${name}`), `${kind}/${name} is not used`);
  });
  await t.test('parameters of paths are described', () => {
    for (const { p, op } of operations())
      assert.deepEqual([...p.matchAll(/\{(\w+)\}/g)].map((x) => x[1]).sort(), (op.parameters ?? []).filter((x) => x.in === 'path').map((x) => x.name).sort(), p);
  });
  await t.test('has all operations of the vendor\'s', () => {
    const ours = new Set(operations().map((o) => o.op.operationId));
    for (const item of Object.values(oas.paths)) for (const op of Object.values(item)) if (op.operationId) assert.ok(ours.has(op.operationId), op.operationId);
  });
  await t.test('and none of its sentences', () => {
    const sentences = new Set();
    const walk = (v) => {
      if (v && typeof v === 'object') for (const [k, x] of Object.entries(v)) {
        if (['description', 'summary'].includes(k) && typeof x === 'string' && x.length > 24) sentences.add(x.trim().toLowerCase());
        walk(x);
      }
    };
    walk(oas);
    const theirs = new Set(sentences);
    assert.ok(theirs.size > 10);
    sentences.clear();
    walk(own);
    assert.deepEqual([...sentences].filter((x) => theirs.has(x)), []);
  });
});

test('the checks of this suite notice what differs from the document', () => {
  const base = { base: 'http://localhost:1' };
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '1', 'x-ratelimit-reset': '1' };
  const res = (status, json) => ({ status, headers, json, text: JSON.stringify(json) });
  const seen = (method, path, r) => violations({ method, path }, r, base).join('\n');
  assert.equal(seen('GET', '/me/v1/sessions', res(200, { sessions: [] })), '');
  assert.match(seen('GET', '/me/v1/sessions', res(200, { sessions: [{}] })), /getSessions 200 does not match own/);
  assert.match(seen('GET', '/me/v1/sessions', res(200, { sessions: [], more: 1 })), /additional properties/);
  assert.match(seen('GET', '/me/v1/sessions', res(418, {})), /status 418 is not in conf\/openapi.json/);
  assert.match(seen('GET', '/me/v1/factors', res(200, { factors: [{ type: 'totp' }] })), /getFactors 200 does not match own/);
  assert.match(seen('GET', '/me/v1/nothing', res(200, {})), /outside the documents/);
  assert.equal(template('/me/v1/sessions'), null);
});

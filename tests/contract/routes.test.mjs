/* SPDX-License-Identifier: Apache-2.0
 * Tests generated from the route table that the program prints: METHOD PATH OPERATION SCOPES LANE BODY_MAX. */
import { spawnSync } from 'node:child_process';
import { assert, test, describe, before, after, Daemon, BIN, oas, own, isProblem } from '../daemon/lib/kit.mjs';

const d = await Daemon.start();
after(() => d.stop());

export function routes() {
  const r = spawnSync(`${BIN}/myaccountctl`, ['--config', d.files.conf, 'routes'], { encoding: 'utf8' });
  assert.equal(r.status, 0, r.stderr);
  return r.stdout.split('\n').filter((l) => /^(GET|POST|PATCH|DELETE) /.test(l)).map((l) => {
    const [method, path, op, ...rest] = l.trim().split(/\s+/);
    const body = Number(rest.pop());
    const lane = rest.pop();
    return { method, path, op, scopes: rest.join(' ').split(/[ ,]+/).filter((x) => /^[a-z]+:me:/.test(x)), lane, body };
  });
}

const table = routes();
/* Pages that a browser visits on its way are in no document. */
const api = table.filter((r) => r.path.startsWith('/me/v1/') && r.scopes.length > 0);
const SCOPES_ALL = [...new Set(api.flatMap((r) => r.scopes))];
d.apply({ client_grants: [{ client_id: 'spa', audience: `${d.base}/me/`, subject_type: 'user', scope: SCOPES_ALL }] });
const writes = (r) => r.body > 0;
const fill = (r, id = 'totp|dev_aaaaaaaaaaaaaaaa') => r.path.replace(/\{[^}]+\}/g, encodeURIComponent(id));
const sample = (r) => (writes(r) ? { type: 'totp' } : undefined);

test('the table is one', () => {
  assert.ok(api.length >= 7, `${table.length} routes`);
  assert.equal(new Set(table.map((r) => `${r.method} ${r.path}`)).size, table.length, 'a row twice');
  for (const r of table) {
    assert.ok(Number.isInteger(r.body), JSON.stringify(r));
    assert.match(r.lane, /^(read|write|cpu|net)$/i);
  }
});

test('every row of the API is in the OpenAPI document with its operation and scope', () => {
  const find = (doc, r) => {
    const same = (p) => p.replace(/\{[^}]+\}/g, '*');
    const t = Object.keys(doc.paths).find((p) => same(p) === same(r.path.replace('/me/v1', '')));
    return t && doc.paths[t][r.method.toLowerCase()];
  };
  let theirs = 0;
  for (const r of api) {
    const mine = find(own, r);
    assert.ok(mine, `${r.method} ${r.path} is not in the document`);
    assert.deepEqual([r.op, r.scopes], [mine.operationId, mine.security[0].token]);
    const op = find(oas, r);
    if (!op) continue;
    theirs++;
    assert.deepEqual([r.op, r.scopes], [op.operationId, op.security[0]['Bearer-DPoP']]);
  }
  assert.equal(theirs, Object.values(oas.paths).flatMap((p) => Object.keys(p).filter((m) => ['get', 'post', 'patch', 'delete'].includes(m))).length, 'all of the vendor');
});

for (const r of api)
  describe(`${r.method} ${r.path}`, () => {
    let s;
    let foreign;
    before(async () => {
      s = d.session({ scope: SCOPES_ALL.join(' ') });
      foreign = r.path.includes('connected') ? 'cac_aaaaaaaaaaaaaaaaaaaaaa' : (await d.session().addTotp()).id;
    });
    test('no token: 401', async () => {
      const a = await d.anonymous().request(r.method, fill(r), sample(r));
      isProblem(a, 401, 'A0E-401-0002', 'No auth token provided.');
    });
    test('a bad token: 401', async () => {
      const a = await d.bearer('x.y.z').request(r.method, fill(r), sample(r));
      isProblem(a, 401, 'A0E-401-0003');
    });
    test('every scope but the right one: 403', async () => {
      const a = await d.session({ scope: SCOPES_ALL.filter((x) => !r.scopes.includes(x)).join(' ') }).request(r.method, fill(r), sample(r));
      isProblem(a, 403, 'A0E-403-0002');
      for (const x of r.scopes) assert.ok(a.json.detail.includes(x), a.json.detail);
    });
    test('a method the path has not: 405 with Allow', async () => {
      const has = api.filter((o) => o.path === r.path).map((o) => o.method);
      for (const m of ['GET', 'POST', 'PATCH', 'DELETE', 'PUT'].filter((x) => !has.includes(x))) {
        const a = await s.request(m, fill(r), m === 'GET' || m === 'DELETE' ? undefined : {});
        isProblem(a, 405, 'A0E-405-0001');
        const allow = a.headers.allow.split(/, */);
        for (const h of [...has, 'OPTIONS']) assert.ok(allow.includes(h), `${m}: Allow is ${a.headers.allow}`);
        assert.ok(!allow.includes(m));
      }
    });
    test('OPTIONS: 204 without a token', async () => {
      const a = await d.anonymous().request('OPTIONS', fill(r));
      assert.equal(a.status, 204);
      assert.ok(a.headers.allow.split(/, */).includes(r.method));
    });
    if (r.path.includes('{')) test('a foreign id: 404', async () => {
      const body = r.path.endsWith('/verify') ? { auth_session: 'x'.repeat(64), otp_code: '123456' } : r.method === 'PATCH' ? {} : undefined;
      const a = await s.request(r.method, fill(r, foreign), body);
      if (r.path.endsWith('/verify') && a.status === 400) isProblem(a, 400, 'A0E-400-0001', 'Invalid or expired session');
      else isProblem(a, 404, 'A0E-404-0002');
    });
    if (writes(r)) test('a body over the limit: 413', async () => {
      const a = await s.request(r.method, fill(r), `{"x":"${'y'.repeat(r.body)}"}`, { raw: true });
      isProblem(a, 413, 'A0E-413-0001');
    });
    if (writes(r)) test('a body at the limit is read', async () => {
      const a = await s.request(r.method, fill(r), `{"x":"${'y'.repeat(r.body - 8)}"}`, { raw: true });
      assert.notEqual(a.status, 413, a.text);
    });
    if (writes(r)) test('another content type: 415', async () => {
      const a = await s.request(r.method, fill(r), '{}', { raw: true, headers: { 'content-type': 'text/plain' } });
      isProblem(a, 415, 'A0E-415-0001');
    });
    if (writes(r)) test('broken JSON: 400', async () => {
      const a = await s.request(r.method, fill(r), '{"a":', { raw: true });
      isProblem(a, 400, 'A0E-400-0001', 'Invalid JSON');
    });
    if (writes(r)) test('no body: 400', async () => {
      const a = await s.request(r.method, fill(r), '', { raw: true });
      assert.equal(a.status, 400, a.text);
    });
    test('the inactive API: 404', async () => {
      d.apply({ api: { active: false } });
      try {
        isProblem(await s.request(r.method, fill(r), sample(r)), 404, 'A0E-404-0001');
      } finally {
        d.apply({ api: { active: true } });
      }
    });
  });

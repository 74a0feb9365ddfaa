/* SPDX-License-Identifier: Apache-2.0
 * /metrics: what Prometheus' own tool says of it, and whether it adds up with what was done. */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { assert, test, before, after, Daemon, Files, Key, ROOT, IDP, METHODS, FACTORS, methodPath, client, grant, user, request, freePort, eventually, wrongCode } from './lib/kit.mjs';
import { App } from './lib/oauth.mjs';
import { PASSWORD } from './lib/login.mjs';
import { Text, isLater, promtool, promtoolLikes, noPromtool } from './lib/metrics.mjs';

const all = [];
after(async () => { for (const d of all) await d.stop(); });
/* A daemon with a metrics listener. */
async function start(config = {}) {
  const port = await freePort();
  const d = await Daemon.start({ config: { metrics_listen: `127.0.0.1:${port}`, ...config } });
  all.push(d);
  d.metricsPort = port;
  return d;
}
async function scrape(d) {
  const r = await request({ port: d.metricsPort, path: '/metrics' });
  assert.equal(r.status, 200, r.text);
  return new Text(r.text);
}
const requests = (t, operation, status) => t.get('myaccountd_http_requests_total', { operation, status });
/* What came between two texts. */
const between = (a, b) => (name, labels) => b.get(name, labels) - a.get(name, labels);

let d;
before(async () => {
  d = await start({ notifications: { factor_added: false } }); /* whose messages would be counted too */
  const embedded = { app_type: 'native', grant_types: ['password', 'refresh_token'], refresh_token: { rotation_type: 'non-rotating' } };
  d.apply({ clients: [client('spa'), client('app', embedded)], client_grants: ['spa', 'app'].map((c) => grant(d.base, c)), users: [user('auth0|ann', { email: 'ann@example.com', password: PASSWORD })] });
});

test('the listener', async (t) => {
  await t.test('answers in format 0.0.4', async () => {
    const r = await request({ port: d.metricsPort, path: '/metrics' });
    assert.equal(r.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(r.headers['cache-control'], 'no-store');
  });
  await t.test('HEAD, and nothing but reading', async () => {
    const h = await request({ port: d.metricsPort, method: 'HEAD', path: '/metrics' });
    assert.deepEqual([h.status, h.text], [200, '']);
    assert.equal((await request({ port: d.metricsPort, method: 'POST', path: '/metrics', body: 'x' })).status, 405);
  });
  await t.test('is not the public one', async () => assert.equal((await d.http({ path: '/metrics' })).status, 404));
  await t.test('the admin socket says the same, to curl and to myaccountctl', async () => {
    const families = (text) => [...new Text(text).types.keys()].filter((f) => !/http_request/.test(f)).sort();
    const http = await d.admin('/metrics');
    assert.equal(http.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    const listener = families((await request({ port: d.metricsPort, path: '/metrics' })).text);
    assert.deepEqual(families(http.text), listener);
    assert.deepEqual(families(d.ok('metrics')), listener);
  });
  await t.test('without it there is still myaccountctl metrics', async () => {
    const o = await Daemon.start({});
    all.push(o);
    assert.match(o.ok('metrics'), /^myaccountd_ready 1$/m);
    await o.end();
    const r = o.ctl('metrics');
    assert.deepEqual([r.code, r.out], [1, '']);
  });
});

test('promtool has nothing to say', { skip: noPromtool }, async (t) => {
  await t.test('at rest', async () => promtoolLikes((await scrape(d)).text));
  await t.test('under load, and no count ever goes back', async () => {
    const users = Array.from({ length: 8 }, () => d.session());
    let busy = true;
    const load = Promise.all(users.map(async (s) => {
      for (let n = 0; n < 4; n++) {
        const m = await s.addTotp();
        await Promise.all(Array.from({ length: 10 }, () => s.get(FACTORS)));
        await s.get(METHODS);
        await s.want(204, 'DELETE', methodPath(m.id));
        await d.anonymous().get(`/nothing/${n}`, { lax: true });
      }
    })).finally(() => { busy = false; });
    let last = await scrape(d);
    let texts = 0;
    for (; busy || texts < 3; texts++) {
      const next = await scrape(d);
      isLater(last, next);
      if (texts % 4 === 0) promtoolLikes(next.text);
      last = next;
    }
    await load;
    promtoolLikes((await scrape(d)).text);
  });
});

test('requests add up', async (t) => {
  const was = await scrape(d);
  const [a, b, c] = [d.session(), d.session(), d.session()];
  await Promise.all([...Array.from({ length: 20 }, () => a.want(200, 'GET', FACTORS)), ...Array.from({ length: 7 }, () => b.want(200, 'GET', FACTORS))]);
  for (let i = 0; i < 5; i++) await c.want(200, 'GET', METHODS);
  for (let i = 0; i < 3; i++) assert.equal((await d.bearer(d.idp.token(c.user, {}, { key: new Key('ES256') })).get(FACTORS)).status, 401);
  for (let i = 0; i < 2; i++) assert.equal((await d.bearer(d.idp.token(c.user, {}, { key: new Key('ES256', { kid: d.idp.keys[0].kid }) })).get(FACTORS)).status, 401);
  for (let i = 0; i < 4; i++) assert.equal((await d.http({ path: `/odd/${i}` })).status, 404);
  assert.equal((await c.post(METHODS, { type: 'no such' })).status, 400);
  assert.equal((await d.http({ method: 'PUT', path: METHODS })).status, 405);
  const now = await scrape(d);
  const more = between(was, now);
  const of = (operation, status) => more('myaccountd_http_requests_total', { operation, status });
  await t.test('by operation and status', () => {
    assert.deepEqual([of('getFactors', 200), of('getFactors', 401), of('getAuthenticationMethods', 200), of('createAuthenticationMethod', 400), of('none', 404), of('none', 405)],
      [27, 5, 5, 1, 4, 1]);
  });
  await t.test('each has its time', () => {
    assert.equal(more('myaccountd_http_request_duration_seconds_count', { operation: 'getFactors' }), 32);
    assert.equal(more('myaccountd_http_request_duration_seconds_bucket', { operation: 'getFactors', le: '+Inf' }), 32);
    assert.ok(more('myaccountd_http_request_duration_seconds_sum', { operation: 'getFactors' }) > 0);
    for (const operation of now.labels('myaccountd_http_requests_total', 'operation'))
      assert.ok(now.get('myaccountd_http_request_duration_seconds_count', { operation }) > 0, operation);
  });
  await t.test('tokens: remembered or checked', () => {
    const hit = more('myaccountd_cache_lookups_total', { cache: 'token', result: 'hit' });
    const miss = more('myaccountd_cache_lookups_total', { cache: 'token', result: 'miss' });
    assert.equal(hit + miss, 38, 'one look-up for each request with a token');
    assert.ok(miss >= 8 && hit > 0, `${hit} hits, ${miss} misses`);
    const checked = (outcome) => more('myaccountd_signature_checks_total', { algorithm: 'ES256', outcome });
    assert.deepEqual([checked('bad_signature'), checked('wrong_algorithm')], [2, 0]);
    assert.ok(checked('unknown_key') >= 3);
    assert.ok(checked('good') >= 3 && checked('good') <= miss);
  });
  await t.test('lists', () => {
    const of_list = (result) => more('myaccountd_cache_lookups_total', { cache: 'list', result });
    assert.equal(of_list('hit') + of_list('miss'), 5);
    assert.ok(of_list('hit') >= 1);
  });
});

test('what people do', async (t) => {
  const was = await scrape(d);
  const s = d.session();
  await s.addTotp();
  const e = await s.enrol({ type: 'totp' });
  assert.equal((await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: wrongCode(s.code(e.manual_input_code)) })).status, 400);
  await s.addEmail('metrics@mail.example');
  await s.addPhone('+15559900111', 'voice');
  const app = new App(d, 'app');
  const scope = 'openid offline_access';
  const issued = await app.password('ann@example.com', { scope });
  assert.equal(issued.status, 200, issued.text);
  for (let i = 0; i < 2; i++) assert.ok((await app.password('ann@example.com', { password: 'Zq7-wrong' })).status >= 400);
  assert.equal((await app.token({ grant_type: 'refresh_token', refresh_token: issued.json.refresh_token })).status, 200);
  assert.ok((await app.token({ grant_type: 'refresh_token', refresh_token: 'v1.none' })).status >= 400);
  await eventually(async () => (await scrape(d)).sum('myaccountd_deliveries_total', { outcome: 'sent' }) - was.sum('myaccountd_deliveries_total', { outcome: 'sent' }) >= 2, 'two deliveries');
  const now = await scrape(d);
  const more = between(was, now);
  const enrolled = (kind) => ['started', 'confirmed', 'refused'].map((outcome) => more('myaccountd_enrolments_total', { kind, outcome }));
  const logins = (kind) => ['succeeded', 'failed', 'limited'].map((outcome) => more('myaccountd_logins_total', { kind, outcome }));
  await t.test('enrolments', () => {
    assert.deepEqual(enrolled('totp'), [2, 1, 1]);
    assert.deepEqual(enrolled('email'), [1, 1, 0]);
    assert.deepEqual(enrolled('phone'), [1, 1, 0]);
    assert.deepEqual(enrolled('passkey'), [0, 0, 0]);
  });
  await t.test('logins and exchanges', () => {
    assert.deepEqual(logins('password'), [1, 2, 0]);
    assert.equal(more('myaccountd_token_exchanges_total', { grant: 'refresh_token', outcome: 'succeeded' }), 1);
  });
  await t.test('deliveries', () => {
    assert.equal(more('myaccountd_deliveries_total', { channel: 'email', outcome: 'sent' }), 1);
    assert.equal(more('myaccountd_deliveries_total', { channel: 'voice', outcome: 'sent' }), 1);
    assert.equal(now.get('myaccountd_outbox_messages', { channel: 'email', state: 'waiting' }), 0);
  });
  await t.test('commits', () => {
    /* each enrolment and confirmation is one request of the writer */
    assert.ok(more('myaccountd_commit_batch_requests_sum') >= 8);
    assert.equal(more('myaccountd_commit_failures_total'), 0);
    assert.ok(more('myaccountd_commit_duration_seconds_count') >= more('myaccountd_commit_batch_requests_count'));
    assert.equal(more('myaccountd_lane_wait_seconds_count', { lane: 'write' }), more('myaccountd_commit_batch_requests_sum'));
    assert.ok(more('myaccountd_lane_wait_seconds_count', { lane: 'cpu' }) >= 3, 'passwords are hashed there');
  });
});

test('nothing that a client sends becomes a label', async () => {
  const mark = 'mark9f2c';
  await d.http({ path: `/me/v1/${mark}`, headers: { 'x-request-id': mark, 'user-agent': mark, origin: `https://${mark}.example`, traceparent: mark } });
  await d.http({ method: 'BREW', path: `/${mark}` }).catch(() => {});
  await d.bearer(d.idp.token(mark, { azp: mark, iss: `https://${mark}.example/` })).get(FACTORS);
  await d.session().get(methodPath(`totp|dev_${mark}`));
  await new App(d, mark).password(`${mark}@example.com`);
  const t = await scrape(d);
  assert.ok(!t.text.includes(mark));
  const table = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/<!-- metrics:begin -->\n([\s\S]*)<!-- metrics:end -->/)[1];
  const known = [...table.matchAll(/^\| `([a-z_]+)` \| (\w+) \|/gm)].map((m) => [m[1], m[2]]);
  for (const [family, type] of t.types) assert.deepEqual(known.find(([k]) => k === family), [family, type]);
  assert.ok(t.values.size < 2000, `${t.values.size} series`);
});

test('limits that refuse', async () => {
  const o = await start({ rate_limit: { enabled: true, user_reads: 3, user_writes: 2, address_failures: 2 } });
  const s = o.session();
  for (let i = 0; i < 5; i++) await s.get(FACTORS);
  for (let i = 0; i < 3; i++) await s.post(METHODS, { type: 'totp' });
  for (let i = 0; i < 4; i++) await o.bearer('a.b.c').get(FACTORS);
  const t = await scrape(o);
  const refused = (bucket) => t.get('myaccountd_rate_limit_refusals_total', { bucket });
  assert.deepEqual([refused('user_reads'), refused('user_writes'), refused('address_failures'), refused('tenant_reads'), refused('flows')], [2, 1, 2, 0, 0]);
  assert.equal(requests(t, 'getFactors', 429), 4);
});

test('codes that were tried too often', async () => {
  const o = await start({ rate_limit: { enabled: true, otp_failures_per_hour: 2, email_per_hour: 1 } });
  const s = o.session();
  const e = await s.enrol({ type: 'totp' });
  const bad = wrongCode(s.code(e.manual_input_code));
  for (let i = 0; i < 3; i++) await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: bad });
  await s.startEmail('one@mail.example');
  assert.equal((await s.post(METHODS, { type: 'email', email: 'two@mail.example' })).status, 429);
  const t = await scrape(o);
  assert.equal(t.get('myaccountd_rate_limit_refusals_total', { bucket: 'code_failures' }), 1);
  assert.equal(t.get('myaccountd_rate_limit_refusals_total', { bucket: 'email' }), 1);
  assert.equal(t.get('myaccountd_enrolments_total', { kind: 'totp', outcome: 'refused' }), 3);
});

test('messages that were given up, and the oldest that waits', async () => {
  const refusing = http.createServer((req, res) => res.writeHead(400).end());
  await new Promise((r) => { refusing.listen(0, '127.0.0.1', r); });
  const port = await freePort(); /* nobody listens */
  const o = await start({ network: { allow_http_loopback: true }, delivery: { voice: `http://127.0.0.1:${refusing.address().port}/Calls.json`, sms: `http://127.0.0.1:${port}/Messages.json`, sms_from: '+15005550006' } });
  const s = o.session();
  await s.enrol({ type: 'phone', phone_number: '+15559900221', preferred_authentication_method: 'voice' });
  await s.enrol({ type: 'phone', phone_number: '+15559900222' });
  const t = await eventually(async () => {
    const now = await scrape(o);
    return now.get('myaccountd_outbox_messages', { channel: 'voice', state: 'dead' }) && now.get('myaccountd_deliveries_total', { channel: 'sms', outcome: 'retried' }) ? now : null;
  }, 'a dead letter and a try');
  assert.equal(t.get('myaccountd_deliveries_total', { channel: 'voice', outcome: 'dead' }), 1);
  assert.equal(t.get('myaccountd_outbox_messages', { channel: 'sms', state: 'waiting' }), 1);
  o.advance(120000);
  assert.ok((await scrape(o)).get('myaccountd_outbox_oldest_seconds', { channel: 'sms' }) >= 120);
  assert.equal((await scrape(o)).get('myaccountd_outbox_oldest_seconds', { channel: 'voice' }), 0);
  refusing.close();
});

test('keys of an issuer', async () => {
  const files = await new Files().start();
  files.status = 500;
  files.set('/jwks', '{}');
  const o = await start({ network: { allow_http_loopback: true }, issuer: { [IDP]: { jwks_uri: `${files.origin}/jwks`, algorithms: ['ES256'], provision: false } } });
  const issuer = IDP;
  const fetches = (t, outcome) => t.get('myaccountd_jwks_fetches_total', { issuer, outcome });
  const none = await eventually(async () => { const t = await scrape(o); return fetches(t, 'failed') > 0 ? t : null; }, 'a fetch that fails');
  assert.equal(none.get('myaccountd_jwks_keys', { issuer }), 0);
  assert.ok(!none.text.includes('myaccountd_jwks_age_seconds'), 'there are none that could have an age');
  files.set('/jwks', o.idp.jwks());
  files.status = 200;
  await eventually(async () => (await o.session().get(FACTORS)).status === 200, 'keys', 30000);
  const t = await scrape(o);
  assert.ok(fetches(t, 'failed') >= 1 && fetches(t, 'succeeded') >= 1);
  assert.equal(fetches(t, 'failed') + fetches(t, 'succeeded'), files.count('/jwks'));
  assert.equal(t.get('myaccountd_jwks_keys', { issuer }), 1);
  assert.equal(t.get('myaccountd_jwks_lifetime_seconds', { issuer }), 600);
  const age = t.get('myaccountd_jwks_age_seconds', { issuer });
  assert.ok(age >= 0 && age < 60, `${age} s`);
  await files.stop();
});

test('the process and its files', async () => {
  const t = await scrape(d);
  assert.equal(t.get('myaccountd_build_info', { version: '0.1.0' }), 1);
  assert.equal(t.get('myaccountd_ready'), 1);
  assert.equal(t.get('myaccountd_database_size_bytes'), fs.statSync(d.files.db).size);
  assert.ok(t.get('myaccountd_database_wal_size_bytes') > 0);
  assert.ok(t.get('myaccountd_database_disk_free_bytes') > 0 && t.get('myaccountd_database_disk_free_bytes') <= t.get('myaccountd_database_disk_size_bytes'));
  const started = t.get('process_start_time_seconds');
  assert.ok(Math.abs(Date.now() / 1000 - started) < 600, `${started}`);
  assert.equal((await scrape(d)).get('process_start_time_seconds'), started, 'it does not waver');
  const fds = fs.readdirSync(`/proc/${d.process.pid}/fd`).length;
  assert.ok(Math.abs(t.get('process_open_fds') - fds) < 20, `${t.get('process_open_fds')} of ${fds}`);
  assert.ok(t.get('process_max_fds') >= t.get('process_open_fds'));
  const rss = Number(fs.readFileSync(`/proc/${d.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024;
  assert.ok(t.get('process_resident_memory_bytes') > rss / 4 && t.get('process_resident_memory_bytes') < rss * 4);
  assert.ok(t.get('process_cpu_seconds_total') > 0);
  for (const lane of ['write', 'cpu', 'net']) {
    assert.equal(t.get('myaccountd_lane_depth', { lane }), 0);
    assert.equal(t.get('myaccountd_lane_capacity', { lane }), 1024);
  }
  assert.ok(t.get('myaccountd_http_connections') >= 1);
});

test('dashboard and alert rules', async (t) => {
  const rules = fs.readFileSync(path.join(ROOT, 'conf/prometheus/alerts.yml'), 'utf8');
  const dashboard = JSON.parse(fs.readFileSync(path.join(ROOT, 'conf/grafana/myaccountd.json'), 'utf8'));
  const table = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/<!-- metrics:begin -->\n([\s\S]*)<!-- metrics:end -->/)[1];
  const known = new Map([...table.matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?) \|/gm)].map((m) => [m[1], { type: m[2], labels: [...m[3].matchAll(/`([a-z_]+)`/g)].map((l) => l[1]) }]));
  const family = (name) => known.get(name) ?? (known.get(name.replace(/_(bucket|sum|count)$/, ''))?.type === 'histogram' ? known.get(name.replace(/_(bucket|sum|count)$/, '')) : undefined);
  const names = (expr) => [...expr.matchAll(/\b((?:myaccountd|process)_[a-z_]+)(\{[^}]*\})?/g)];
  const check = (expr) => {
    for (const [, name, inner] of names(expr)) {
      assert.ok(family(name), `${name} is no metric`);
      for (const [, label] of (inner ?? '').matchAll(/[{,]([a-z_]+)[=!]/g))
        assert.ok(['job', 'instance', 'le', ...family(name).labels].includes(label), `${name} has no label ${label}`);
    }
  };
  await t.test('the dashboard asks for nothing else', () => {
    const panels = dashboard.panels.filter((p) => p.type !== 'row');
    assert.ok(panels.length > 20);
    assert.equal(new Set(dashboard.panels.map((p) => p.id)).size, dashboard.panels.length);
    for (const p of panels) {
      assert.ok(p.targets.length > 0 && p.description, p.title);
      for (const q of p.targets) check(q.expr);
      assert.ok(p.gridPos.x + p.gridPos.w <= 24, p.title);
    }
    const asked = new Set(panels.flatMap((p) => p.targets.flatMap((q) => names(q.expr).map((m) => m[1].replace(/_(bucket|sum|count)$/, '')))));
    for (const name of known.keys()) assert.ok(asked.has(name), `${name} is on no panel`);
  });
  await t.test('nor do the rules', () => check(rules));
  await t.test('every rule is tested both ways', () => {
    const tests = fs.readFileSync(path.join(ROOT, 'tests/prometheus/alerts.test.yml'), 'utf8');
    for (const [, name] of rules.matchAll(/- alert: (\w+)/g)) {
      const cases = [...tests.matchAll(new RegExp(`alertname: ${name}\\n\\s+exp_alerts:( \\[\\])?`, 'g'))].map((m) => m[1] !== undefined);
      assert.ok(cases.includes(true) && cases.includes(false), name);
    }
  });
  await t.test('promtool check rules', { skip: noPromtool }, () => {
    const r = promtool(['check', 'rules', '--lint-fatal', 'conf/prometheus/alerts.yml']);
    assert.equal(r.code, 0, r.out);
  });
  await t.test('promtool test rules', { skip: noPromtool }, () => {
    const r = promtool(['test', 'rules', 'tests/prometheus/alerts.test.yml']);
    assert.equal(r.code, 0, r.out);
  });
});

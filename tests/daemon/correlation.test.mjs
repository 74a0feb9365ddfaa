/* SPDX-License-Identifier: Apache-2.0
 * Request ids and traces: on every answer, in every line, in the calls that a request causes; and the form of lines. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { assert, test, after, Daemon, Raw, exchange, eventually, freePort, request, IDP, METHODS, FACTORS, ORIGIN, methodPath, wrongCode } from './lib/kit.mjs';
import { Journey, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { Upstream } from './lib/upstream.mjs';

const all = [];
after(async () => { for (const d of all) await d.stop(); });
async function start(opts = {}) {
  const d = await Daemon.start(opts);
  all.push(d);
  return d;
}
const hex = (n) => crypto.randomBytes(n).toString('hex');
const OURS = /^[0-9a-f]{32}$/;
/* A caller's place in a trace, and what its traceparent looks like. */
const caller = (flags = '01') => {
  const c = { trace: hex(16), span: hex(8) };
  return { ...c, header: `00-${c.trace}-${c.span}-${flags}` };
};
const lines = (d, test) => d.logLines().filter(test);
const access = (d, id) => eventually(() => lines(d, (l) => l.event === 'request' && l.request_id === id)[0], `the line of ${id}`);

/* Keeps what it is asked, and answers by path. */
class Sink {
  static async start(answers = {}) {
    const s = new Sink();
    s.seen = [];
    s.server = http.createServer((req, res) => {
      req.resume();
      s.seen.push({ path: req.url, headers: req.headers });
      const a = answers[req.url] ?? '{}';
      res.writeHead(200, { 'content-type': 'application/json' }).end(typeof a === 'function' ? a() : a);
    });
    await new Promise((r) => { s.server.listen(0, '127.0.0.1', r); });
    s.server.unref();
    s.origin = `http://127.0.0.1:${s.server.address().port}`;
    return s;
  }
  stop() {
    this.server.closeAllConnections();
    return new Promise((r) => { this.server.close(r); });
  }
}

test('every answer has an id of its own, and its line too', async (t) => {
  const port = await freePort();
  const d = await start({ config: { metrics_listen: `127.0.0.1:${port}`, rate_limit: { enabled: true, user_reads: 1 } } });
  const s = d.session();
  const limited = d.session();
  await limited.get(FACTORS);
  const json = { 'content-type': 'application/json', authorization: `Bearer ${s.token}` };
  const ask = {
    'a read': () => s.get(FACTORS),
    'a write': () => s.post(METHODS, { type: 'totp' }),
    'no token': () => d.http({ path: FACTORS }),
    'a bad token': () => d.bearer('a.b.c').get(FACTORS),
    'a missing scope': () => d.session({ scope: 'read:me:factors' }).get(METHODS),
    'an origin that may not': () => s.get(FACTORS, { headers: { origin: 'https://evil.example' }, lax: true }),
    'an unknown path': () => d.http({ path: '/nothing' }),
    'an unknown method of the path': () => d.http({ method: 'DELETE', path: FACTORS }),
    'a preflight': () => d.http({ method: 'OPTIONS', path: FACTORS, headers: { origin: ORIGIN, 'access-control-request-method': 'GET' } }),
    HEAD: () => d.http({ method: 'HEAD', path: FACTORS, headers: { authorization: `Bearer ${s.token}` } }),
    'a body that is no JSON': () => d.http({ method: 'POST', path: METHODS, headers: json, body: '{' }),
    'another media type': () => d.http({ method: 'POST', path: METHODS, headers: { ...json, 'content-type': 'text/plain' }, body: '{}' }),
    'a body too large': () => d.http({ method: 'POST', path: METHODS, headers: json, body: Buffer.alloc(70000, 32) }),
    'a limit': () => limited.get(FACTORS),
    'a target too long': () => d.http({ path: `/${'a'.repeat(9000)}` }),
    'a dot segment': () => d.http({ path: '/me/%2e%2e/x' }),
    'a page of an error': () => d.http({ path: '/authorize?client_id=nobody' }),
    'a page of sign-in': () => d.http({ path: '/u/login' }),
    'an asset': () => d.http({ path: '/u/assets/nothing' }),
    'an explanation': () => d.http({ path: '/api-errors/A0E-404-0001' }),
    'public keys': () => d.http({ path: '/.well-known/jwks.json' }),
    'the token service': () => d.http({ method: 'POST', path: '/oauth/token', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'grant_type=x' }),
    'a callback': () => d.http({ path: '/login/callback?state=x' }),
    live: () => request({ port, path: '/health/live' }),
    ready: () => request({ port, path: '/health/ready' }),
    metrics: () => request({ port, path: '/metrics' }),
    'an unknown path there': () => request({ port, path: '/nothing' }),
  };
  const ids = new Set();
  for (const [name, fn] of Object.entries(ask))
    await t.test(name, async () => {
      const r = await fn();
      const id = r.headers['x-request-id'];
      assert.match(id ?? '', OURS, `${r.status} ${JSON.stringify(r.headers)}`);
      assert.ok(!ids.has(id));
      ids.add(id);
      assert.equal((await access(d, id)).status, r.status);
    });
  await t.test('a framing fault', async () => {
    const r = await exchange(d.port, `POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, { ms: 5000 });
    assert.equal(r.answers[0].status, 400);
    assert.match(r.answers[0].headers['x-request-id'], OURS);
  });
  await t.test('the admin socket', async () => {
    for (const p of ['/health/live', '/health/ready', '/metrics', '/nothing']) assert.match((await d.admin(p)).headers['x-request-id'], OURS, p);
  });
  await t.test('scripts of other origins may read it', async () => {
    const r = await s.get(METHODS, { headers: { origin: ORIGIN }, lax: true });
    const exposed = r.headers['access-control-expose-headers'].toLowerCase().split(/, */);
    assert.ok(exposed.includes('x-request-id'), exposed.join());
  });
});

test('an id of a trusted proxy is kept, of anybody else not', async (t) => {
  const trusting = await start({ config: { trusted_proxies: ['127.0.0.0/8'] } });
  const not = await start();
  const get = (d, id, token = d.session().token) => d.http({ path: FACTORS, headers: { authorization: `Bearer ${token}`, 'x-request-id': id } });
  const mine = crypto.randomUUID();
  await t.test('kept: answer, line and audit trail', async () => {
    const s = trusting.session();
    const r = await s.post(METHODS, { type: 'totp' }, { headers: { 'x-request-id': mine } });
    assert.equal(r.headers['x-request-id'], mine);
    assert.equal((await access(trusting, mine)).op, 'createAuthenticationMethod');
    assert.equal(JSON.parse(trusting.audit(s.user).at(-1)).request_id, mine);
  });
  await t.test('the longest', async () => assert.equal((await get(trusting, 'a'.repeat(64))).headers['x-request-id'], 'a'.repeat(64)));
  await t.test('not trusted', async () => {
    const r = await get(not, mine);
    assert.equal(r.status, 200);
    assert.match(r.headers['x-request-id'], OURS);
    assert.ok(!not.logText().includes(mine));
  });
  for (const [name, id] of Object.entries({ 'too long': 'a'.repeat(65), 'with a blank': 'a b', 'with a quote': 'a"b', 'with markup': '<b>', 'with a slash': 'a/b', 'with a comma': 'a,b', 'beyond ASCII': 'ä' }))
    await t.test(name, async () => {
      const r = await get(trusting, id);
      assert.equal(r.status, 200, 'it is ignored, not refused');
      assert.match(r.headers['x-request-id'], OURS);
    });
  await t.test('two of them', async () => {
    const raw = new Raw(trusting.port);
    await raw.write(`GET ${FACTORS} HTTP/1.1\r\nHost: ${trusting.host}\r\nx-request-id: one\r\nX-Request-ID: two\r\n\r\n`);
    await raw.whenAnswered();
    assert.match(raw.answers()[0].headers['x-request-id'], OURS);
    raw.close();
  });
});

test('no id carries a secret', async (t) => {
  const d = await start({ config: { trusted_proxies: ['127.0.0.0/8'] } });
  const s = d.session();
  const short = d.idp.token(s.user);
  const cookie = crypto.randomBytes(32).toString('base64url');
  const ticket = crypto.randomBytes(24).toString('base64url');
  const code = crypto.randomBytes(24).toString('base64url');
  for (const [k, v] of Object.entries({ cookie, ticket, code })) d.secrets.add(k, v);
  const parts = short.split('.');
  d.secrets.add('signature', parts[2]);
  const cases = {
    'the token': [{ authorization: `Bearer ${short}` }, short, FACTORS],
    'its signature': [{ authorization: `Bearer ${short}` }, parts[2].slice(0, 64), FACTORS],
    'a part of it': [{ authorization: `Bearer ${short}` }, parts[2].slice(3, 35), FACTORS],
    'the cookie': [{ cookie: `session=${cookie}` }, cookie, '/u/login'],
    'a ticket of the target': [{}, ticket, `/connected-accounts/connect?ticket=${ticket}`],
    'a code of the target': [{}, code, `/login/callback?state=x&code=${code}`],
    'a proof': [{ authorization: `DPoP ${short}`, dpop: `${code}.x.y` }, code, FACTORS],
  };
  for (const [name, [headers, id, path]] of Object.entries(cases))
    await t.test(name, async () => {
      const r = await d.http({ path, headers: { ...headers, 'x-request-id': id } });
      assert.match(r.headers['x-request-id'], OURS);
      await access(d, r.headers['x-request-id']);
    });
  await t.test('codes and sessions of bodies are in no id of ours', async () => {
    const e = await s.enrol({ type: 'totp' });
    const r = await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: wrongCode(s.code(e.manual_input_code)) });
    assert.match(r.headers['x-request-id'], OURS);
    await s.verify(e.id, { auth_session: e.auth_session, otp_code: s.code(e.manual_input_code) });
  });
  await t.test('the log, the database and its write-ahead log have none of them', () => assert.deepEqual(d.secrets.leaks(), []));
});

test('a trace goes through', async (t) => {
  const d = await start();
  const s = d.session();
  const traced = (header) => s.get(FACTORS, { headers: { traceparent: header } });
  await t.test('lines', async () => {
    const c = caller();
    const l = await access(d, (await traced(c.header)).headers['x-request-id']);
    assert.deepEqual([l.trace_id, l.parent_span_id], [c.trace, c.span]);
    assert.match(l.span_id, /^[0-9a-f]{16}$/);
    assert.notEqual(l.span_id, c.span);
    assert.ok(!/^0+$/.test(l.span_id));
  });
  await t.test('each request has a span of its own', async () => {
    const c = caller();
    const [a, b] = [await traced(c.header), await traced(c.header)];
    assert.notEqual((await access(d, a.headers['x-request-id'])).span_id, (await access(d, b.headers['x-request-id'])).span_id);
  });
  await t.test('a later version', async () => {
    const c = caller();
    assert.equal((await access(d, (await traced(`cc${c.header.slice(2)}-more`)).headers['x-request-id'])).trace_id, c.trace);
  });
  await t.test('no trace', async () => assert.equal((await access(d, (await s.get(FACTORS)).headers['x-request-id'])).trace_id, undefined));
  const c = caller();
  for (const [name, header] of Object.entries({
    'version ff': `ff${c.header.slice(2)}`, 'zero trace': `00-${'0'.repeat(32)}-${c.span}-01`, 'zero span': `00-${c.trace}-${'0'.repeat(16)}-01`,
    capitals: `00-${'ABCDEF01'.repeat(4)}-${c.span}-01`, 'too short': c.header.slice(0, -1), 'too long': `${c.header}-x`, rubbish: '../../etc/passwd', blank: ' ',
  }))
    await t.test(`${name} is ignored`, async () => {
      const r = await traced(header);
      assert.equal(r.status, 200);
      const l = await access(d, r.headers['x-request-id']);
      assert.deepEqual([l.trace_id, l.span_id, l.parent_span_id], [undefined, undefined, undefined]);
    });
  await t.test('two headers are none', async () => {
    const raw = new Raw(d.port);
    await raw.write(`GET ${FACTORS} HTTP/1.1\r\nHost: ${d.host}\r\ntraceparent: ${c.header}\r\ntraceparent: ${c.header}\r\n\r\n`);
    await raw.whenAnswered();
    assert.equal((await access(d, raw.answers()[0].headers['x-request-id'])).trace_id, undefined);
    raw.close();
  });
  await t.test('no answer tells of it', async () => {
    const r = await traced(c.header);
    for (const h of ['traceparent', 'traceresponse', 'tracestate']) assert.equal(r.headers[h], undefined);
  });
});

/* "00-trace-span-flags" of a call: of this trace, from the span of that line, and nothing else passed on. */
function continues(seen, c, line, flags = '01') {
  assert.equal(seen.headers.traceparent, `00-${c.trace}-${line.span_id}-${flags}`);
  assert.notEqual(line.span_id, c.span);
  assert.equal(seen.headers.tracestate, undefined);
}

test('the calls of a request carry it on', async (t) => {
  await t.test('keys of an issuer', async () => {
    let d;
    const sink = await Sink.start({ '/jwks': () => d.idp.jwks() });
    d = await Daemon.start({ start: false });
    all.push(d);
    d.configure({ network: { allow_http_loopback: true }, issuer: { [IDP]: { jwks_uri: `${sink.origin}/jwks`, algorithms: ['ES256'], provision: false } } });
    await d.run();
    await eventually(() => sink.seen.length > 0, 'the first fetch');
    assert.equal(sink.seen[0].headers.traceparent, undefined, 'nobody asked for that one');
    const c = caller();
    const r = await d.bearer(d.idp.token('auth0|bob', {}, { header: { kid: 'unknown' } })).get(FACTORS, { headers: { traceparent: c.header, tracestate: 'vendor=opaque' } });
    continues(sink.seen.at(-1), c, await access(d, r.headers['x-request-id']));
    const refused = lines(d, (l) => l.event === 'token.refused');
    assert.deepEqual([refused.at(-1).request_id, refused.at(-1).trace_id], [r.headers['x-request-id'], c.trace]);
    await sink.stop();
  });
  await t.test('a gateway, later', async () => {
    const sink = await Sink.start();
    const d = await start({ config: { network: { allow_http_loopback: true }, delivery: { sms: `${sink.origin}/Messages.json`, sms_from: '+15005550006' } } });
    const c = caller('00');
    const r = await d.session().post(METHODS, { type: 'phone', phone_number: '+15559900333' }, { headers: { traceparent: c.header } });
    assert.equal(r.status, 202, r.text);
    const sent = await eventually(() => lines(d, (l) => l.event === 'delivery.sent')[0], 'the delivery');
    const asked = await access(d, r.headers['x-request-id']);
    assert.deepEqual([sent.request_id, sent.trace_id, sent.parent_span_id], [r.headers['x-request-id'], c.trace, asked.span_id]);
    assert.notEqual(sent.span_id, asked.span_id, 'a delivery has a span of its own');
    continues(sink.seen[0], c, sent, '00');
    const plain = await d.session().post(METHODS, { type: 'phone', phone_number: '+15559900334' });
    const second = await eventually(() => lines(d, (l) => l.event === 'delivery.sent')[1], 'another delivery');
    assert.deepEqual([second.request_id, second.trace_id], [plain.headers['x-request-id'], undefined]);
    assert.equal(sink.seen[1].headers.traceparent, undefined);
    await sink.stop();
  });
  await t.test('an identity provider', async () => {
    const acme = await Upstream.start();
    const d = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))] });
    const j = await Journey.begin(member(d));
    await j.leave();
    await j.provide();
    acme.requests.length = 0;
    const c = caller();
    const r = await j.browser.fetch(j.callback, { headers: { traceparent: c.header } });
    assert.equal(r.status, 302, r.text);
    const line = await access(d, r.headers['x-request-id']);
    const calls = acme.requests.filter((q) => q.kind !== 'authorization');
    assert.ok(calls.some((q) => q.kind === 'token'), calls.map((q) => q.kind).join());
    for (const q of calls) continues(q, c, line);
    await stopAll(d, acme);
  });
});

test('the form of lines', async (t) => {
  const TEXT = /^ts=\S+ level=\S+ event=\S+/;
  const last = (d) => d.logText().trimEnd().split('\n').at(-1);
  await t.test('text', async () => {
    const d = await Daemon.start({ start: false, config: { log_format: 'text' } });
    all.push(d);
    d.launch();
    await eventually(() => / event=ready /.test(d.logText()), 'ready');
    const r = await d.session().get(FACTORS);
    await eventually(() => d.logText().includes(`event=request request_id=${r.headers['x-request-id']} op=getFactors`), 'a line of text');
    for (const l of d.logText().trimEnd().split('\n')) assert.match(l, TEXT);
  });
  await t.test('json, and both change with SIGHUP', async () => {
    const d = await start({ config: { log_format: 'json' } });
    assert.ok(d.logLines().every((l) => l.event && !l.raw));
    d.configure({ log_format: 'text' });
    d.process.kill('SIGHUP');
    await eventually(() => / event=reloaded$/m.test(d.logText()), 'text after the reload');
    assert.match(last(d), TEXT);
    /* a file is no terminal; a key that needs a restart makes a warning, which says when it was read */
    d.configure({ log_format: 'auto', log_level: 'warn', http_threads: 3 });
    d.process.kill('SIGHUP');
    await eventually(() => d.logLines().some((l) => l.event === 'reload.needs_restart'), 'a warning in JSON');
    const silent = await d.http({ path: FACTORS });
    await d.http({ path: FACTORS }); /* its line comes after its answer: the next request of the connection waits for it */
    d.configure({ log_level: 'info' });
    d.process.kill('SIGHUP');
    await eventually(() => d.logLines().some((l) => l.event === 'reloaded' && !l.raw), 'the reload');
    await access(d, (await d.http({ path: FACTORS })).headers['x-request-id']);
    assert.ok(!d.logText().includes(silent.headers['x-request-id']), 'at warn there are no lines of requests');
  });
  await t.test('nothing else is taken', () => {
    const d = all[0];
    const file = `${d.dir}/odd.conf`;
    fs.writeFileSync(file, 'log_format = "xml"\n');
    const r = d.ctl('--config', file, 'check-config');
    assert.match(r.err, /log_format must be auto, json or text/);
  });
});

test('lines of many requests at once are never mixed up', async () => {
  const d = await start();
  const users = Array.from({ length: 10 }, () => d.session());
  const wrong = await Promise.all(users.map(async (s) => {
    const e = await s.enrol({ type: 'totp' });
    const c = caller();
    const r = await s.request('POST', `${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: wrongCode(s.code(e.manual_input_code)) }, { headers: { traceparent: c.header } });
    return { c, id: r.headers['x-request-id'] };
  }));
  const bad = await Promise.all(Array.from({ length: 20 }, async () => {
    const c = caller();
    const r = await d.bearer('a.b.c').get(FACTORS, { headers: { traceparent: c.header } });
    return { c, id: r.headers['x-request-id'] };
  }));
  for (const { c, id } of [...wrong, ...bad]) await access(d, id);
  const of = (id) => lines(d, (l) => l.request_id === id);
  for (const { c, id } of [...wrong, ...bad]) assert.deepEqual([...new Set(of(id).map((l) => l.trace_id))], [c.trace]);
  for (const { id } of bad) assert.deepEqual(of(id).map((l) => l.event).sort(), ['request', 'token.refused']);
  /* what the daemon does for itself is nobody's */
  assert.ok(lines(d, (l) => l.event === 'ready').every((l) => l.request_id === undefined));
});

/* SPDX-License-Identifier: Apache-2.0
 * The request path: framing, targets, bodies, methods, limits, deadlines. */
import { assert, test, before, after, Daemon, Raw, exchange, sleep, freePort, isProblem, pointers, METHODS, FACTORS, LOCAL, methodPath, request } from './lib/kit.mjs';

let d;
let s;
before(async () => {
  d = await Daemon.start();
  s = d.session();
});
after(() => d.stop());

const head = (extra = '', line = `GET ${FACTORS} HTTP/1.1`) =>
  `${line}\r\nHost: ${d.host}\r\nAuthorization: Bearer ${s.token}\r\n${extra}`;
const post = (extra, body = '') => head(extra, `POST ${METHODS} HTTP/1.1`) + `Content-Type: application/json\r\n\r\n${body}`;
const SMUGGLED = () => `GET ${FACTORS} HTTP/1.1\r\nHost: ${d.host}\r\n\r\n`;

test('the plain request works', async () => {
  const r = await exchange(d.port, head('\r\n'), { wantClose: false });
  assert.equal(r.answers[0].status, 200, r.data);
});

test('request-smuggling shapes are refused with 400 and the connection is closed', async (t) => {
  const chunk = '0\r\n\r\n';
  const cases = {
    'Content-Length and Transfer-Encoding': () => post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', chunk) + SMUGGLED(),
    'Transfer-Encoding and Content-Length': () => post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', chunk) + SMUGGLED(),
    'two different Content-Length': () => post('Content-Length: 2\r\nContent-Length: 40\r\n', '{}') + SMUGGLED(),
    'a Content-Length list': () => post('Content-Length: 2, 2\r\n', '{}') + SMUGGLED(),
    'a signed Content-Length': () => post('Content-Length: +2\r\n', '{}') + SMUGGLED(),
    'a negative Content-Length': () => post('Content-Length: -1\r\n', '{}') + SMUGGLED(),
    'a hexadecimal Content-Length': () => post('Content-Length: 0x2\r\n', '{}') + SMUGGLED(),
    'an overflowing Content-Length': () => post('Content-Length: 18446744073709551618\r\n', '{}') + SMUGGLED(),
    'Transfer-Encoding: xchunked': () => post('Transfer-Encoding: xchunked\r\n', chunk) + SMUGGLED(),
    'Transfer-Encoding: gzip, chunked': () => post('Transfer-Encoding: gzip, chunked\r\n', chunk) + SMUGGLED(),
    'Transfer-Encoding: chunked, identity': () => post('Transfer-Encoding: chunked, identity\r\n', chunk) + SMUGGLED(),
    'two Transfer-Encoding': () => post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', chunk) + SMUGGLED(),
    'a space before the colon': () => head('X-A : 1\r\n\r\n') + SMUGGLED(),
    'Content-Length with a space before the colon': () => post('Content-Length : 40\r\n', '') + SMUGGLED(),
    'Transfer-Encoding with a space before the colon': () => post('Content-Length: 0\r\nTransfer-Encoding : chunked\r\n') + SMUGGLED(),
    'a control byte in a header name': () => head('X-\x01A: 1\r\n\r\n') + SMUGGLED(),
    'no Host': () => `GET ${FACTORS} HTTP/1.1\r\n\r\n${SMUGGLED()}`,
    'two Host headers': () => head(`Host: evil.example\r\n\r\n`) + SMUGGLED(),
    'absolute-form target': () => head('\r\n', `GET http://evil.example${FACTORS} HTTP/1.1`) + SMUGGLED(),
    'a bad chunk size': () => post('Transfer-Encoding: chunked\r\n', 'zz\r\n{}\r\n0\r\n\r\n') + SMUGGLED(),
  };
  for (const [name, bytes] of Object.entries(cases))
    await t.test(name, async () => {
      const r = await exchange(d.port, bytes(), { ms: 5000 });
      assert.equal(r.closed, true, `connection still open; received: ${r.data.slice(0, 300)}`);
      /* The library's own error pages repeat their header in front of the body; what counts is that a client sees one answer. */
      const statuses = r.answers.map((x) => x.status);
      assert.ok(statuses.length <= 1, `two answers: ${r.data}`);
      if (statuses.length) assert.ok([400, ...(name.startsWith('an overflowing') ? [413] : [])].includes(statuses[0]), r.data.slice(0, 300));
    });
});

test('the refusal is one error object', async () => {
  const r = await exchange(d.port, post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), { ms: 5000 });
  assert.equal(r.answers[0]?.json?.status, 400, r.data);
  assert.match(r.answers[0].json.type, /A0E-400-0001$/);
});

test('targets that hide something are 400', async (t) => {
  for (const path of ['/me%2Fv1/factors', '/me/v1/%00', '/me/v1/../v1/factors', '/me/./v1/factors', '/me/v1/%2e%2e/factors', '/me/v1/%5cfactors',
    '/me/v1/authentication-methods/%ff', '/me/v1/authentication-methods/%zz', '/me/v1/authentication-methods/%c0%80', '/me/v1/authentication-methods?type=%00'])
    await t.test(path, async () => {
      const r = await s.get(path, { lax: true });
      assert.equal(r.status, 400, r.text);
      assert.equal(r.json.status, 400);
    });
});

test('unknown paths are 404 and name the resource', async (t) => {
  for (const path of ['/', '/me', '/me/v1', '/me/v1/nope', '/me/v2/factors', '/me/v1/Factors', '/me/v1//factors', '/me/v1/factors/x', '/admin', '/health/live', '/metrics'])
    await t.test(path, async () => {
      const r = await s.get(path);
      isProblem(r, 404, 'A0E-404-0001');
    });
  const r = await s.get('/me/v1/nope?x=1');
  assert.equal(r.json.detail, 'The requested resource GET /me/nope was not found.');
});

test('one trailing slash and unknown query members are tolerated', async () => {
  await s.want(200, 'GET', `${FACTORS}/`);
  await s.want(200, 'GET', `${FACTORS}?auth0Client=abc&x`);
  await s.want(200, 'GET', `${METHODS}?type=totp&auth0Client=%7B%7D`);
});

test('a known path with another method is 405 with Allow', async (t) => {
  const want = { [FACTORS]: ['GET', 'HEAD', 'OPTIONS'], [METHODS]: ['GET', 'HEAD', 'OPTIONS', 'POST'],
    [methodPath('totp|dev_aaaaaaaaaaaaaaaa')]: ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH'], [`${methodPath('totp|dev_aaaaaaaaaaaaaaaa')}/verify`]: ['OPTIONS', 'POST'] };
  for (const [path, allow] of Object.entries(want))
    await t.test(path, async () => {
      const r = await s.request('PUT', path, {});
      isProblem(r, 405, 'A0E-405-0001');
      assert.deepEqual(r.headers.allow.split(/, */).sort(), allow);
    });
});

test('method tokens that nobody knows are refused', async () => {
  for (const verb of ['FOO', 'get', 'TRACE', 'CONNECT']) {
    const r = await exchange(d.port, head('Connection: close\r\n\r\n', `${verb} ${FACTORS} HTTP/1.1`), { ms: 5000 });
    const status = Number(r.data.match(/^HTTP\/1\.1 (\d+)/)?.[1]);
    assert.ok([400, 405, 501].includes(status), `${verb}: ${r.data.slice(0, 200)}`);
  }
});

test('HEAD is GET without a body', async () => {
  const get = await s.get(FACTORS);
  const r = await s.request('HEAD', FACTORS);
  assert.equal(r.status, 200);
  assert.equal(r.headers['content-type'], get.headers['content-type']);
  assert.equal((await d.anonymous().request('HEAD', FACTORS)).status, 401);
});

test('OPTIONS answers 204 with Allow and needs no token', async () => {
  const r = await d.anonymous().request('OPTIONS', METHODS);
  assert.equal(r.status, 204);
  assert.match(r.headers.allow, /POST/);
});

test('content types of bodies', async (t) => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'multipart/form-data; boundary=x', 'application/problem+json', ''])
    await t.test(`${type || 'none'} is 415`, async () => {
      const r = await s.request('POST', METHODS, '{"type":"totp"}', { raw: true, headers: { 'content-type': type || null } });
      isProblem(r, 415, 'A0E-415-0001');
    });
  for (const type of ['application/json', 'Application/JSON', 'application/json; charset=utf-8', 'application/json;charset=UTF-8'])
    await t.test(`${type} is taken`, async () => {
      const r = await s.request('POST', METHODS, '{"type":"nope"}', { raw: true, headers: { 'content-type': type } });
      assert.equal(r.status, 400, r.text);
    });
});

test('GET and DELETE without a body may carry the content type', async () => {
  const h = { headers: { 'content-type': 'application/json' } };
  assert.equal((await s.get(FACTORS, h)).status, 200);
  assert.equal((await s.get(METHODS, h)).status, 200);
  assert.equal((await s.del(methodPath('totp|dev_aaaaaaaaaaaaaaaa'), h)).status, 404);
  const m = await s.addTotp();
  assert.equal((await s.del(methodPath(m.id), h)).status, 204);
  assert.equal((await s.get(FACTORS, { headers: { 'content-length': '0', 'content-type': 'application/json' } })).status, 200);
});

test('JSON is strict', async (t) => {
  const bad = {
    'cut off': '{"type":"totp"', 'trailing text': '{"type":"totp"} x', 'two documents': '{"type":"totp"}{}', 'duplicate members': '{"type":"totp","type":"email"}',
    'single quotes': "{'type':'totp'}", 'trailing comma': '{"type":"totp",}', comment: '{"type":"totp"/**/}', 'byte order mark': '\ufeff{"type":"totp"}',
    'escaped NUL': '{"type":"to\\u0000tp"}', 'lone surrogate': '{"type":"\\ud800"}', NaN: '{"type":NaN}', 'depth 17': `{"type":"totp","x":${'['.repeat(17)}${']'.repeat(17)}}`,
    'depth 1000': '['.repeat(1000), 'only blanks': '   ',
  };
  for (const [name, body] of Object.entries(bad))
    await t.test(name, async () => {
      const r = await s.request('POST', METHODS, body, { raw: true });
      isProblem(r, 400, 'A0E-400-000[13]');
    });
  await t.test('raw NUL', async () => isProblem(await s.request('POST', METHODS, Buffer.from('{"type":"to\0tp"}'), { raw: true }), 400, 'A0E-400-000[13]'));
  await t.test('invalid UTF-8', async () => isProblem(await s.request('POST', METHODS, Buffer.from('7b2274797065223a22c328227d', 'hex'), { raw: true }), 400, 'A0E-400-0001'));
  await t.test('malformed JSON says so', async () => isProblem(await s.request('POST', METHODS, '{', { raw: true }), 400, 'A0E-400-0001', 'Invalid JSON'));
});

test('values that are not an object are validation errors', async (t) => {
  for (const body of ['[]', '"x"', 'null', '1', ''])
    await t.test(body || 'empty body', async () => {
      const r = await s.request('POST', METHODS, body, { raw: true });
      isProblem(r, 400, 'A0E-400-000[13]');
    });
  const r = await s.request('POST', METHODS, '', { raw: true });
  isProblem(r, 400, 'A0E-400-0003');
});

test('unknown and wrong members carry pointers', async () => {
  assert.deepEqual(pointers(await s.post(METHODS, { type: 'totp', extra: 1 })), ['/extra']);
  assert.deepEqual(pointers(await s.post(METHODS, { type: 'nope' })), ['/type']);
  assert.deepEqual(pointers(await s.post(METHODS, { type: 5 })), ['/type']);
  const none = await s.post(METHODS, {});
  assert.equal(none.status, 400);
  assert.equal(none.json.validation_errors.length, 1);
  assert.deepEqual(pointers(await s.post(METHODS, { type: 'email' })).length, 1);
  assert.deepEqual(pointers(await s.post(METHODS, { type: 'email', email: 7 })), ['/email']);
});

test('a body over the limit is 413', async (t) => {
  const big = JSON.stringify({ type: 'totp', pad: 'x'.repeat(70000) });
  await t.test('announced', async () => isProblem(await s.request('POST', METHODS, big, { raw: true }), 413, 'A0E-413-0001'));
  await t.test('announced only', async () => {
    const r = await exchange(d.port, post('Content-Length: 99999999\r\n'), { ms: 5000 });
    assert.match(r.data, /^HTTP\/1\.1 413 /);
  });
  await t.test('chunked', async () => {
    const r = new Raw(d.port);
    await r.write(post('Transfer-Encoding: chunked\r\n'));
    for (let i = 0; i < 40 && !r.closed; i++) await r.write(`1000\r\n${'x'.repeat(4096)}\r\n`);
    await r.write('0\r\n\r\n');
    await r.whenAnswered(1, 5000);
    const first = r.answers()[0];
    assert.ok(first ? first.status === 413 : r.closed, r.data.toString('latin1').slice(0, 200));
    r.close();
  });
  await t.test('the daemon goes on', async () => assert.equal((await s.get(FACTORS)).status, 200));
});

test('Expect: 100-continue', async () => {
  const body = '{"type":"nope"}';
  const r = new Raw(d.port);
  await r.write(post(`Content-Length: ${body.length}\r\nExpect: 100-continue\r\n`));
  assert.ok(await r.until((x) => x.data.includes('100 Continue'), 5000), 'no 100');
  await r.write(body);
  await r.until((x) => /HTTP\/1\.1 400/.test(x.data.toString('latin1')), 5000);
  assert.match(r.data.toString('latin1'), /HTTP\/1\.1 400/);
  r.close();
});

test('chunked bodies are taken', async () => {
  const r = await exchange(d.port, post('Transfer-Encoding: chunked\r\n', '7\r\n{"type"\r\n8\r\n:"nope"}\r\n0\r\n\r\n'), { wantClose: false });
  assert.equal(r.answers[0]?.status, 400, r.data);
  assert.match(r.answers[0].text, /\/type/);
});

test('pipelined requests are answered in order', async () => {
  const r = new Raw(d.port);
  await r.write(head('\r\n') + head('\r\n', `GET ${METHODS} HTTP/1.1`) + head('\r\n', 'GET /me/v1/nope HTTP/1.1'));
  await r.whenAnswered(3, 5000);
  assert.deepEqual(r.answers().map((a) => [a.status, Object.keys(a.json ?? {})[0]]), [[200, 'factors'], [200, 'authentication_methods'], [404, 'type']]);
  r.close();
});

test('every spelling of an id in the path reaches the method', async () => {
  const u = d.session();
  const m = await u.addTotp();
  const tail = m.id.split('|')[1];
  for (const form of ['%7C', '%7c', '%257C', '%257c']) await u.want(200, 'GET', `${METHODS}/totp${form}${tail}`);
  const raw = await exchange(d.port, `GET ${METHODS}/${m.id} HTTP/1.1\r\nHost: ${d.host}\r\nAuthorization: Bearer ${u.token}\r\n\r\n`, { wantClose: false });
  assert.equal(raw.answers[0]?.status, 200, raw.data);
  const twice = await u.get(`${METHODS}/totp%25257C${tail}`);
  assert.ok([400, 404].includes(twice.status));
});

test('long targets and headers are refused, the daemon goes on', async (t) => {
  await t.test('target of 9 KiB', async () => {
    const r = await exchange(d.port, head('Connection: close\r\n\r\n', `GET ${FACTORS}?x=${'y'.repeat(9 << 10)} HTTP/1.1`), { ms: 5000 });
    assert.match(r.data, /^HTTP\/1\.[01] (414|400|431) /);
  });
  await t.test('header of 100 KiB', async () => {
    const r = await exchange(d.port, head(`X-Long: ${'y'.repeat(100 << 10)}\r\n\r\n`), { ms: 5000 });
    assert.match(r.data || 'HTTP/1.1 431 ', /^HTTP\/1\.[01] (431|400|413) /);
    assert.ok(r.closed);
  });
  await t.test('two thousand headers', async () => {
    const r = await exchange(d.port, head(`${Array.from({ length: 2000 }, (_, i) => `X-${i}: y`).join('\r\n')}\r\n\r\n`), { ms: 5000 });
    assert.ok(r.closed);
    assert.doesNotMatch(r.data, /^HTTP\/1\.1 200/);
  });
  await t.test('and then', async () => assert.equal((await s.get(FACTORS)).status, 200));
});

test('GET /api-errors/<code> explains', async () => {
  const r = await d.http({ path: '/api-errors/A0E-403-0002' });
  assert.equal(r.status, 200);
  assert.match(r.text, /Insufficient Scope/);
  assert.equal((await d.http({ path: '/api-errors/A0E-999-0001' })).status, 404);
});

test('/.well-known/jwks.json publishes the signing keys', async () => {
  const r = await d.http({ path: '/.well-known/jwks.json' });
  assert.equal(r.status, 200);
  assert.deepEqual(r.json.keys.map((k) => k.alg).sort(), ['ES256', 'RS256']);
  for (const k of r.json.keys) {
    assert.ok(k.kid && (k.kty === 'RSA' ? k.n && k.e : k.kty === 'EC' && k.x && k.y), k.kty);
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi']) assert.equal(k[secret], undefined);
  }
});

test('health answers on the admin socket and metrics_listen only', async () => {
  for (const p of ['/health/live', '/health/ready']) assert.equal((await d.admin(p)).status, 200, p);
  const port = await freePort();
  const other = await Daemon.start({ config: { metrics_listen: `127.0.0.1:${port}` } });
  for (const path of ['/health/live', '/health/ready']) assert.equal((await request({ port, path })).status, 200, path);
  assert.equal((await request({ port, path: FACTORS })).status, 404);
  assert.equal((await other.http({ path: '/health/live' })).status, 404);
  await other.stop();
});

test('deadlines', async (t) => {
  /* On a UNIX socket nothing tells that the next header began: it has idle time and header time together. */
  const slow = await Daemon.start({ config: { limits: { header_timeout: 1, body_timeout: 1, keep_alive: LOCAL ? 4 : 60 } } });
  const u = slow.session();
  const start = `GET ${FACTORS} HTTP/1.1\r\nHost: ${slow.host}\r\nAuthorization: Bearer ${u.token}\r\n`;
  /* Sends one byte of `text` each 150 ms until the peer closes. */
  const drip = async (r, text, ms) => {
    const end = Date.now() + ms;
    for (let i = 0; !r.closed && Date.now() < end; i++) {
      await r.write(text[i % text.length]);
      await r.whenClosed(150);
    }
    return r.closed;
  };
  await t.test('a header that drips is cut', async () => {
    const r = new Raw(slow.port);
    await r.write('GET / HTTP/1.1\r\nX-A: ');
    assert.equal(await drip(r, 'abcdef', 8000), true);
    r.close();
  });
  await t.test('a connection that says nothing is cut', async () => {
    const r = new Raw(slow.port);
    assert.equal(await r.whenClosed(8000), true);
  });
  await t.test('a body that drips is cut', async () => {
    const r = new Raw(slow.port);
    await r.write(`POST ${METHODS} HTTP/1.1\r\nHost: ${slow.host}\r\nAuthorization: Bearer ${u.token}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"type":"`);
    assert.equal(await drip(r, 'abcdef', 8000), true);
    assert.doesNotMatch(r.data.toString('latin1'), /HTTP\/1\.1 2/);
    r.close();
  });
  await t.test('chunks that drip are cut', async () => {
    const r = new Raw(slow.port);
    await r.write(`POST ${METHODS} HTTP/1.1\r\nHost: ${slow.host}\r\nAuthorization: Bearer ${u.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const end = Date.now() + 8000;
    while (!r.closed && Date.now() < end) {
      await r.write('1\r\n \r\n');
      await r.whenClosed(150);
    }
    assert.equal(r.closed, true);
    r.close();
  });
  await t.test('the second header of a connection has the same deadline', async () => {
    const r = new Raw(slow.port);
    await r.write(`${start}\r\n`);
    await r.whenAnswered(1, 5000);
    assert.equal(r.answers()[0]?.status, 200);
    await r.write('GET / HTTP/1.1\r\nX-A: ');
    assert.equal(await drip(r, 'abcdef', LOCAL ? 20000 : 8000), true);
    r.close();
  });
  await t.test('an idle connection between requests is left alone', async () => {
    const r = new Raw(slow.port);
    await r.write(`${start}\r\n`);
    await r.whenAnswered(1, 5000);
    assert.equal(await r.whenClosed(2500), false, 'cut although idle between requests');
    await r.write(`${start}\r\n`);
    await r.whenAnswered(2, 5000);
    assert.deepEqual(r.answers().map((a) => a.status), [200, 200]);
    r.close();
  });
  await slow.stop();
});

test('connection limits', async (t) => {
  if (!LOCAL) await t.test('per address', async () => {
    const few = await Daemon.start({ config: { limits: { connections_per_address: 8 } } });
    const open = Array.from({ length: 8 }, () => new Raw(few.port));
    await Promise.all(open.map((r) => r.opened));
    await sleep(200);
    const ninth = await exchange(few.port, `GET /x HTTP/1.1\r\nHost: ${few.host}\r\n\r\n`, { ms: 3000 });
    assert.equal(ninth.closed, true);
    assert.doesNotMatch(ninth.data, /^HTTP\/1\.1 404/);
    for (const r of open) r.close();
    await sleep(200);
    assert.equal((await few.http({ path: '/x' })).status, 404);
    await few.stop();
  });
  await t.test('in all', async () => {
    const few = await Daemon.start({ config: { http_threads: 1, limits: { connections: 6, connections_per_address: 256 } } });
    const open = Array.from({ length: 6 }, () => new Raw(few.port));
    await Promise.all(open.map((r) => r.opened));
    await sleep(200);
    const r = new Raw(few.port);
    await r.write(`GET /x HTTP/1.1\r\nHost: ${few.host}\r\n\r\n`);
    await r.whenAnswered(1, 1500);
    assert.equal(r.answers().length, 0, 'a connection over the limit was served');
    r.close();
    for (const o of open) o.close();
    await sleep(300);
    assert.equal((await few.http({ path: '/x' })).status, 404);
    await few.stop();
  });
});

test('listening on a UNIX socket', async () => {
  const u = await Daemon.start({ start: false });
  u.configure({ listen: `unix:${u.dir}/api.sock` });
  await u.run();
  const r = await request({ ca: u.cert?.ca, socketPath: `${u.dir}/api.sock`, host: u.host, path: FACTORS, headers: { authorization: `Bearer ${u.idp.token('auth0|bob')}` } });
  assert.equal(r.status, 200, r.text);
  await u.stop();
});

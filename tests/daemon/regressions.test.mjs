/* SPDX-License-Identifier: Apache-2.0
 * Faults that were there once. What depends on timing (remembered lists and facts, documents applied at once, the end
 * of the drain) is only likely to be seen here; unit tests (remembered, lanes) look closer. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { assert, test, after, Daemon, Raw, IDP, METHODS, FACTORS, DB, POLICY, methodPath, isProblem, problem, sleep, eventually,
  request, totp, wrongCode, client, exchange, PATIENCE } from './lib/kit.mjs';

const all = [];
after(async () => { for (const d of all) await d.stop(); });
async function start(opts = {}) {
  const d = await Daemon.start({ start: false, ...opts });
  all.push(d);
  return opts.start === false ? d : d.run(opts.wrap);
}
const fine = () => `Zq7${crypto.randomBytes(9).toString('base64url').replace(/[-_]/g, 'x')}kW`;

/* Keeps a connection full of pipelined copies of one GET. */
class Hammer {
  constructor(s, path, depth = 16) {
    const bytes = `GET ${path} HTTP/1.1\r\nHost: ${s.d.host}\r\nAuthorization: Bearer ${s.token}\r\n\r\n`;
    this.answered = 0;
    let tail = '';
    this.socket = net.connect({ host: '127.0.0.1', port: s.d.port }, () => this.socket.write(bytes.repeat(depth)));
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk) => {
      const text = tail + chunk.toString('latin1');
      const n = text.split('HTTP/1.1 ').length - 1;
      tail = text.slice(-8); /* a status line may come in two chunks */
      this.answered += n;
      if (n) this.socket.write(bytes.repeat(n));
    });
  }
  stop() { this.socket.destroy(); }
}
/* Runs fn while every given path is read over and over. */
async function hammered(pairs, fn) {
  const hs = pairs.map(([s, path]) => new Hammer(s, path));
  try {
    await eventually(() => hs.every((h) => h.answered > 20), 'load', PATIENCE);
    await fn();
    assert.ok(hs.every((h) => !h.socket.destroyed), 'the load went away');
  } finally {
    for (const h of hs) h.stop();
  }
}
const until = (ms) => {
  const end = Date.now() + ms;
  return () => Date.now() < end;
};

test('a renamed method is never listed under its old name, whatever is read beside it', async () => {
  const d = await start({ config: { http_threads: 2 } });
  const s = d.session();
  const m = await s.addTotp();
  const name = async () => (await s.list()).find((x) => x.id === m.id).name;
  const load = Array.from({ length: 8 }, (_, i) => [s, i % 4 ? METHODS : `${METHODS}?type=totp`]);
  await hammered(load, async () => {
    const more = until(4000);
    for (let n = 0; more() || n < 20; n++) {
      await s.want(200, 'PATCH', methodPath(m.id), { name: `n${n}` });
      assert.equal(await name(), `n${n}`, 'right after the answer');
      if (n % 5 === 0) await sleep(10);
      assert.equal(await name(), `n${n}`, 'later');
    }
  });
});

test('the Default Policy holds for remembered tokens as soon as a factor is confirmed', async () => {
  const d = await start({ config: { http_threads: 2 }, state: { api: { default_policy: { require_2fa: true } } } });
  const who = d.fresh();
  const now = d.idp.now();
  const password = d.as(who, { amr: ['pwd'], auth_time: now });
  const strong = d.as(who, { amr: ['pwd', 'mfa'], auth_time: now });
  await password.want(200, 'GET', FACTORS);
  const load = Array.from({ length: 8 }, (_, i) => i % 2 ? [password, FACTORS] : [strong, `${METHODS}?type=totp`]);
  await hammered(load, async () => {
    const more = until(4000);
    for (let n = 0; more() || n < 10; n++) {
      const m = await strong.addTotp();
      isProblem(await password.get(FACTORS), 401, 'A0E-401-0004');
      await sleep(10);
      isProblem(await password.get(FACTORS), 401, 'A0E-401-0004');
      await strong.want(204, 'DELETE', methodPath(m.id));
      assert.equal((await password.get(FACTORS)).status, 200, 'the factor is gone');
    }
  });
});

test('documents applied at once are all in force when all are acknowledged', async () => {
  const d = await start();
  d.apply({ clients: Array.from({ length: 1000 }, (_, i) => client(`many${i}`)) });
  const s = d.session();
  for (let round = 0; round < 10; round++) {
    const want = Object.fromEntries(['totp', 'email', 'phone', 'recovery-code'].map((k, i) => [k, (round >> i) % 2 === 0]));
    const rs = await Promise.all(Object.entries(want).map(([k, on]) => d.ctlAsync('apply', d.document({ factors: { [k]: on } }))));
    for (const r of rs) assert.equal(r.code, 0, r.err);
    const got = await s.factors();
    assert.deepEqual(Object.fromEntries(Object.keys(want).map((k) => [k, got.includes(k)])), want, `round ${round}`);
  }
});

test('bodies that arrive after drain_timeout, while the daemon takes itself apart', async () => {
  for (const at of [1010, 1020, 1030, 1040]) {
    const d = await Daemon.start({ config: { limits: { drain_timeout: 1, connections_per_address: 2000 } } });
    const s = d.session();
    const body = JSON.stringify({ type: 'totp' });
    const head = `POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nAuthorization: Bearer ${s.token}\r\nContent-Type: application/json\r\n`
      + `Content-Length: ${body.length}\r\n\r\n`;
    const open = Array.from({ length: 600 }, () => new Raw(d.port));
    await Promise.all(open.map((r) => r.write(head + body.slice(0, 5))));
    await sleep(200);
    const t0 = Date.now();
    const ended = d.end('SIGTERM');
    /* The first connection holds the drain open; the others finish around its end, six in a millisecond. */
    await sleep(at);
    for (let i = 1; i < open.length && !d.exit; i++) {
      while (Date.now() < t0 + at + i / 6) await new Promise((r) => setImmediate(r));
      open[i].socket.write(body.slice(5));
    }
    assert.deepEqual(await ended, { code: 0, signal: null }, d.logText().slice(-3000));
    assert.equal(d.sanitizerReport(), undefined);
    for (const r of open) {
      assert.ok(r.answers().every((a) => [202, 400, 503].includes(a.status)), r.data.toString('latin1'));
      r.close();
    }
    await d.stop();
  }
});

/* Seconds of CPU time so far (proc(5): utime and stime are fields 14 and 15, in ticks of 1/100 s). */
function cpu(d) {
  const fields = fs.readFileSync(`/proc/${d.process.pid}/stat`, 'latin1').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test('more connections than descriptors', async (t) => {
  const d = await start({ wrap: ['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh'],
    config: { limits: { connections_per_address: 1000, header_timeout: 60 } } });
  const open = Array.from({ length: 300 }, () => new Raw(d.port));
  await t.test('the limit is told', () => {
    const line = d.logLines().find((l) => Object.values(l).includes('http.connections_clamped'));
    assert.ok(line, 'no http.connections_clamped in the log');
    assert.equal(line.descriptors, 256);
    assert.ok(line.connections < 256, JSON.stringify(line));
  });
  await Promise.all(open.map((r) => r.opened));
  await sleep(500);
  await t.test('the administrator still gets in', async () => {
    const r = await Promise.race([d.ctlAsync('user', 'list'), sleep(PATIENCE).then(() => ({ code: 'no answer' }))]);
    assert.equal(r.code, 0, r.err);
    assert.ok(r.out.includes('auth0|alice'));
  });
  await t.test('nothing spins', async () => {
    const before = cpu(d);
    const t0 = Date.now();
    await sleep(1000);
    const share = (cpu(d) - before) / ((Date.now() - t0) / 1000);
    assert.ok(share < 0.5, `${Math.round(share * 100)} % of a CPU while nothing happens`);
  });
  for (const r of open) r.close();
  await t.test('all is well when they are gone', async () => {
    assert.ok(d.ok('user', 'list').includes('auth0|alice'));
    await eventually(async () => (await d.session().get(FACTORS)).status === 200, 'an answer', PATIENCE);
  });
});

test('a used password costs like a wrong code', async (t) => {
  const d = await start({ config: { rate_limit: { otp_failures_per_hour: 7 } } });
  const reuse = (r) => {
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(r.json.validation_errors.map((v) => v.pointer), ['/new_password'], r.text);
    assert.match(r.text, /used before/);
  };
  const s = d.session();
  const used = fine();
  const tryOn = (e, new_password) => s.verifyAny(e.id, { auth_session: e.auth_session, new_password });
  assert.equal((await s.changePassword(used)).status, 201);
  const first = await s.enrol({ type: 'password' });
  await t.test('five end the session', async () => {
    for (let i = 0; i < 5; i++) reuse(await tryOn(first, used));
    isProblem(await tryOn(first, fine()), 400, 'A0E-400-0001', 'Invalid or expired session');
  });
  await t.test('seven an hour are all there are', async () => {
    const e = await s.enrol({ type: 'password' });
    for (let i = 0; i < 2; i++) reuse(await tryOn(e, used));
    for (const p of [used, fine()]) {
      const r = await tryOn(e, p);
      isProblem(r, 429, 'A0E-429-0001');
      assert.ok(Number(r.headers['retry-after']) > 0, r.headers['retry-after']);
    }
  });
  await t.test('another user is not concerned', async () => assert.equal((await d.session().changePassword(used)).status, 201));
  await t.test('and an hour later all is well', async () => {
    d.advance(3600000);
    assert.equal((await s.changePassword(fine())).status, 201);
  });
  await t.test('a broken rule hides whether it was used', async () => {
    const u = d.session();
    assert.equal((await u.changePassword(used)).status, 201);
    const length = POLICY.complexity.min_length;
    d.apply({ connections: [{ name: DB, password_policy: { ...POLICY, complexity: { ...POLICY.complexity, min_length: used.length + 1 } } }] });
    const texts = [];
    for (const p of [used, fine()]) {
      const r = await u.changePassword(p);
      isProblem(r, 400, 'A0E-400-0003');
      texts.push(JSON.stringify(r.json.validation_errors));
    }
    d.apply({ connections: [{ name: DB, password_policy: { ...POLICY, complexity: { ...POLICY.complexity, min_length: length } } }] });
    assert.equal(texts[0], texts[1]);
    assert.doesNotMatch(texts[0], /used before/);
  });
  await t.test('broken rules are not counted', async () => {
    const u = d.session();
    const e = await u.enrol({ type: 'password' });
    for (let i = 0; i < 8; i++) isProblem(await u.verifyAny(e.id, { auth_session: e.auth_session, new_password: 'short' }), 400, 'A0E-400-0003');
    await u.verify(e.id, { auth_session: e.auth_session, new_password: fine() });
  });
});

test('pending enrolments come and go in a list that was read before', async (t) => {
  const d = await start({ config: { rate_limit: { otp_failures_per_hour: 0 } } });
  const s = d.session();
  const ids = async () => (await s.list()).map((m) => [m.id, m.confirmed]);
  assert.deepEqual(await ids(), []);
  assert.deepEqual(await ids(), []);
  const e = await s.enrol({ type: 'totp' });
  await t.test('there at once', async () => assert.deepEqual(await ids(), [[e.id, false]]));
  await t.test('gone with the fifth wrong code', async () => {
    const wrong = wrongCode(...[-2, -1, 0, 1, 2].map((n) => totp(e.manual_input_code, d.now(), n)));
    for (let i = 0; i < 5; i++) {
      assert.deepEqual(await ids(), [[e.id, false]], `before wrong code ${i + 1}`);
      const r = await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, otp_code: wrong });
      assert.equal(problem(r), 'A0E-400-0001 invalid_code', r.text);
    }
    assert.deepEqual(await ids(), []);
  });
  await t.test('of every kind', async () => {
    const want = [];
    for (const start of [() => s.startEmail('pending@mail.example'), () => s.startPhone('+15558000001'), () => s.enrol({ type: 'recovery-code' })]) {
      want.push((await start()).id);
      assert.deepEqual((await ids()).map(([id]) => id).sort(), [...want].sort());
    }
  });
});

test('a header that drips on a kept connection of a UNIX socket is cut', async (t) => {
  const d = await start({ start: false });
  const socketPath = `${d.dir}/api.sock`;
  d.configure({ listen: `unix:${socketPath}`, limits: { keep_alive: 1, header_timeout: 1 } });
  await d.run();
  const drips = { 'a header': `GET /x HTTP/1.1\r\nX-A: ${'a'.repeat(200)}`, 'empty lines': '\r\n'.repeat(100) };
  await Promise.all(Object.entries(drips).map(([name, bytes]) => t.test(name, async () => {
    const r = new Raw(socketPath);
    await r.write(`GET /.well-known/jwks.json HTTP/1.1\r\nHost: ${d.host}\r\n\r\n`);
    assert.ok(await r.whenAnswered(1));
    assert.equal(r.answers()[0].status, 200);
    const more = until(10000);
    for (let i = 0; i < bytes.length && !r.closed && more(); i++) {
      await r.write(bytes[i]);
      await r.whenClosed(250);
    }
    assert.ok(r.closed, 'still open after ten seconds');
    r.close();
  })));
  await t.test('one that does not is served', async () => {
    const r = new Raw(socketPath);
    const get = `GET /.well-known/jwks.json HTTP/1.1\r\nHost: ${d.host}\r\n\r\n`;
    await r.write(get);
    await r.whenAnswered(1);
    await r.write(get);
    await r.whenAnswered(2);
    assert.equal(r.answers().length, 2);
    r.close();
  });
});

test('what a token says about a new user is screened like a state document', async (t) => {
  const d = await start({ config: { issuer: { [IDP]: { provision: true } } } });
  const listed = () => d.ok('user', 'list').split('\n').length;
  const shown = (id) => JSON.parse(d.ok('export')).users.find((u) => u.user_id === id);
  const before = listed();
  for (const [name, sub] of Object.entries({ 'a line feed': 'idp|a\nb', 'an escape': 'idp|a\u001b[31m', 'a delete': 'idp|a\u007f', 'C1': 'idp|a\u0085b',
    'a space': 'idp|a b' }))
    await t.test(`a subject with ${name}`, async () => {
      isProblem(await d.as(sub).get(FACTORS), 403, 'A0E-403-0001');
      assert.equal(listed(), before);
    });
  await t.test('a subject that is too long', async () => {
    assert.equal((await d.as(`idp|${'a'.repeat(252)}`).get(FACTORS)).status, 401);
    assert.equal(listed(), before);
  });
  for (const [name, email] of Object.entries({ 'a line break': 'x@y.example\r\nBcc: q@z.example', 'no @': 'nobody', 'two dots': 'a@b..example',
    'a local part of 65': `${'a'.repeat(65)}@b.example`, 'an underscore in its domain': 'a@b_c.example', 'no letters': '' }))
    await t.test(`an e-mail address with ${name} is dropped`, async () => {
      const id = `idp|mail-${name.replace(/\W/g, '')}`;
      const s = d.as(id, { email, email_verified: true, name: 'Fine Name' });
      await s.want(200, 'GET', FACTORS);
      const u = shown(id);
      assert.equal(u.email ?? null, null);
      assert.equal(u.email_verified ?? false, false);
      assert.equal(u.name, 'Fine Name');
      assert.deepEqual(await s.list(), [], 'no e-mail factor');
    });
  for (const [name, bad] of Object.entries({ 'an escape': 'A\u001b[31m', 'too many letters': 'A'.repeat(301), 'no letters': '' }))
    await t.test(`a name with ${name} is dropped`, async () => {
      const id = `idp|name-${name.replace(/\W/g, '')}`;
      await d.as(id, { email: 'fine@mail.example', email_verified: true, name: bad }).want(200, 'GET', FACTORS);
      assert.equal(shown(id).name ?? null, null);
      assert.equal(shown(id).email, 'fine@mail.example');
    });
  await t.test('what is exported can be applied, and changes nothing', () => {
    const e = d.ok('export');
    const r = d.tryApply(e, '--dry-run');
    assert.equal(r.code, 0, r.err);
    assert.doesNotMatch(r.out, /created|updated|deleted/);
    assert.match(r.out, /no changes/);
  });
});

test('404 has a body whatever the path is cut at', async (t) => {
  const d = await start();
  const get = async (path) => {
    const r = new Raw(d.port);
    await r.write(Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${d.host}\r\n\r\n`, path.includes('\u0080') ? 'latin1' : 'utf8'));
    await r.whenAnswered(1);
    r.close();
    return r.answers()[0] ?? assert.fail('no answer');
  };
  const isNotFound = (a) => {
    assert.equal(a.status, 404, a.text);
    assert.match(a.headers['content-type'], /json/);
    assert.ok(a.json, `no JSON: ${JSON.stringify(a.text)}`);
    assert.match(a.json.type, /A0E-404-0001$/);
    assert.ok(!a.text.includes('\ufffd'), a.text);
  };
  for (const [name, letter] of Object.entries({ 'two bytes': 'ä', 'three bytes': '€', 'four bytes': '🔑' }))
    await t.test(`letters of ${name}`, async () => {
      for (let shift = 0; shift < 5; shift++) isNotFound(await get(`/${'x'.repeat(shift)}${letter.repeat(100)}`));
    });
  await t.test('under the base path', async () => {
    for (let shift = 0; shift < 5; shift++) isNotFound(await get(`/me/v1/${'x'.repeat(shift)}${'🔑'.repeat(100)}`));
  });
  await t.test('bytes that are no text, deeper than any route', async () => isNotFound(await get(`${'/a'.repeat(20)}/\u0080`)));
});

test('health over the admin socket', async (t) => {
  const d = await start();
  const ask = (method, path) => request({ socketPath: d.files.sock, host: 'localhost', method, path });
  for (const path of ['/health/live', '/health/ready', '/health/live?x=1'])
    await t.test(path, async () => {
      const r = await d.admin(path);
      assert.equal(r.status, 200, r.text);
      assert.match(r.headers['content-type'], /^application\/json/);
      assert.ok(r.json, r.text);
      if (path.startsWith('/health/live')) assert.deepEqual(r.json, { status: 'ok' });
    });
  await t.test('HEAD has no body', async () => {
    const r = await ask('HEAD', '/health/live');
    assert.deepEqual([r.status, r.text], [200, '']);
  });
  await t.test('nothing else is there', async () => {
    for (const path of ['/', '/health', '/health/livex', '/metricsx', FACTORS]) assert.equal((await ask('GET', path)).status, 404, path);
  });
  await t.test('commands still are', () => assert.ok(d.ok('user', 'list').includes('auth0|alice')));
  await t.test('silent peers keep nobody out', async () => {
    const silent = Array.from({ length: 8 }, () => new Raw(d.files.sock));
    await Promise.all(silent.map((r) => r.opened));
    assert.ok(d.ok('user', 'list').includes('auth0|alice'));
    for (const r of silent) r.close();
  });
});

test('forwarding headers that contradict each other are not believed', async (t) => {
  const d = await start({ config: { trusted_proxies: ['127.0.0.0/8'] } });
  const cases = {
    'they disagree': [{ forwarded: 'for=203.0.113.7', 'x-forwarded-for': '203.0.113.8' }, '127.0.0.1', ['203.0.113.7', '203.0.113.8']],
    'they agree': [{ forwarded: 'for=203.0.113.7', 'x-forwarded-for': '203.0.113.7' }, '203.0.113.7', []],
    'one is not an address': [{ forwarded: 'for=_hidden', 'x-forwarded-for': '203.0.113.9' }, '127.0.0.1', ['203.0.113.9']],
    'only one of them': [{ 'x-forwarded-for': '203.0.113.10' }, '203.0.113.10', []],
  };
  for (const [name, [headers, want, never]] of Object.entries(cases))
    await t.test(name, async () => {
      const s = d.session();
      assert.equal((await s.post(METHODS, { type: 'totp' }, { headers })).status, 202);
      const rows = d.audit(s.user);
      assert.ok(rows.length > 0);
      assert.ok(rows.some((l) => l.includes(want)), rows.join('\n'));
      for (const a of never) assert.ok(!rows.some((l) => l.includes(a)), rows.join('\n'));
    });
});

test('errors of the API are never kept, however early a request is refused', async (t) => {
  const d = await start();
  const ask = async (target, headers = '') => {
    const r = new Raw(d.port);
    await r.write(`GET ${target} HTTP/1.1\r\nHost: ${d.host}\r\n${headers}\r\n`);
    await r.whenAnswered(1);
    r.close();
    return r.answers()[0] ?? assert.fail('no answer');
  };
  const cases = { 'two proofs': [FACTORS, 'DPoP: a\r\nDPoP: b\r\n', 400], 'two hosts': [FACTORS, 'Host: other\r\n', 400], 'a fragment': [`${FACTORS}#x`, '', 400],
    'a path too long': [`/me/v1/${'a'.repeat(9000)}`, '', 414], 'a query too long': [`${FACTORS}?a=${'b'.repeat(9000)}`, '', 414] };
  for (const [name, [target, headers, status]] of Object.entries(cases))
    await t.test(name, async () => {
      const a = await ask(target, headers);
      assert.deepEqual([a.status, a.headers['cache-control']], [status, 'no-store'], a.text);
    });
});

test('a header line without a name does not end the header', async (t) => {
  const d = await start();
  const bytes = (lines, rest = '') => `GET ${FACTORS} HTTP/1.1\r\nHost: ${d.host}\r\n${lines}\r\n${rest}`;
  const hidden = `GET /.well-known/jwks.json HTTP/1.1\r\nHost: ${d.host}\r\n\r\n`;
  for (const [name, line] of Object.entries({ 'a colon': ':\r\n', 'a value': ': x\r\n', 'a pseudo-header': ':path: /\r\n', 'a colon and a blank': ': \r\n' }))
    await t.test(`${name}: 400, and what follows is no request`, async () => {
      const out = await exchange(d.port, bytes(line, '').slice(0, -2) + hidden);
      assert.equal(out.answers.length, 1, out.data);
      isProblem(out.answers[0], 400, 'A0E-400-0001');
      assert.ok(out.closed);
    });
  for (const [name, lines] of Object.entries({ 'the only trailer': ': x\r\n', 'after another': 'X-A: b\r\n: x\r\n' }))
    await t.test(`${name}: nor does it end trailers`, async () => {
      const out = await exchange(d.port, `POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n${lines}${hidden}`);
      assert.doesNotMatch(out.data, /HTTP\/1\.1 200/);
      assert.ok(out.closed);
    });
  for (const [name, lines] of Object.entries({ 'an ordinary header': 'X-A: b\r\n', 'no blank': 'X-A:b\r\n', 'many blanks': 'X-A: \t  b\r\n', 'blanks behind': 'X-A: b  \t\r\n', 'an empty value': 'X-A:\r\n', 'an empty value and a blank': 'X-A: \r\n',
    'bare line feeds': 'X-A: b\n', 'cookies': 'Cookie: a=b; c=d\r\n', 'a colon in a value': 'X-A: :b\r\n' }))
    await t.test(`${name}: as ever, and the connection goes on`, async () => {
      const r = new Raw(d.port);
      for (let n = 1; n < 3; n++) {
        await r.write(bytes(lines));
        await r.whenAnswered(n);
        isProblem(r.answers()[n - 1] ?? assert.fail('no answer'), 401, 'A0E-401-0002');
      }
      r.close();
    });
});

/* SPDX-License-Identifier: Apache-2.0
 * Connected accounts: tickets, cookies, states and codes; what comes from strangers; where calls may go. */
import net from 'node:net';
import { assert, test, before, after, Files, Key, isProblem, jws } from './lib/kit.mjs';
import { CALLBACK, Journey, STATE, accounts, connectDaemon, connectSoon, connection, isErrorRedirect, isPage, member, random, stopAll, travelled } from './lib/connect.mjs';
import { Browser, Upstream } from './lib/upstream.mjs';

const SECOND = 1000;
let d;
let acme;
before(async () => {
  acme = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic')), connection('acme-alias', acme.options('basic', { callback_path: '/login/callback' }))] });
});
after(() => stopAll(d, acme));

const lost = (r) => isProblem(r, 404, 'A0E-404-0001', 'Invalid or expired session');
const stranger = () => new Browser(d.base, acme.origin);
/* What the browser's requests did at the provider. */
const exchanges = () => acme.count('token');

/* --- tickets --- */

test('a ticket that is none', async (t) => {
  for (const [name, query] of [['missing', ''], ['empty', '?ticket='], ['unknown', '?ticket=9375f326-5846-4b57-ae8b-8042573f7c1f'], ['garbage', '?ticket=%3Cscript%3E'], 
    ['long', `?ticket=${'a'.repeat(4000)}`], ['twice', '?ticket=9375f326-5846-4b57-ae8b-8042573f7c1f&ticket=9375f326-5846-4b57-ae8b-8042573f7c1f']])
    await t.test(name, async () => {
      const res = await stranger().fetch(`${d.base}/connected-accounts/connect${query}`);
      isPage(res);
      assert.ok(!res.text.includes('<script') && !res.text.includes('9375f326'));
      assert.equal(res.headers['set-cookie'], undefined);
    });
  await t.test('a session is no ticket', async () => {
    const j = await Journey.begin(member(d));
    isPage(await stranger().fetch(`${j.begun.connect_uri}?ticket=${j.begun.auth_session}`));
  });
});

test('a ticket', async (t) => {
  await t.test('works once', async () => {
    const j = await Journey.begin(member(d));
    await j.leave();
    isPage(await stranger().fetch(j.ticketUrl));
    await j.provide();
    assert.ok((await j.back()).searchParams.has('connect_code'), 'the first browser is not disturbed');
  });
  await t.test('of many browsers at once serves one', async () => {
    const j = await Journey.begin(member(d));
    const rs = await Promise.all(Array.from({ length: 8 }, () => stranger().fetch(j.ticketUrl)));
    assert.deepEqual(rs.map((r) => r.status).sort(), [302, ...Array(7).fill(400)]);
  });
  await t.test('lapses after 300 s', async () => {
    const [early, late] = [await Journey.begin(member(d)), await Journey.begin(member(d))];
    d.advance(295 * SECOND);
    await early.leave();
    d.advance(6 * SECOND);
    const res = await late.browser.fetch(late.ticketUrl);
    isPage(res);
    assert.match(res.text, /expired/i);
  });
  await t.test('is not kept from the same browser that loads again', async () => {
    const j = await Journey.begin(member(d));
    const first = new URL(await j.leave());
    d.advance(55 * SECOND);
    const again = new URL(await j.leave());
    assert.equal(again.origin + again.pathname, first.origin + first.pathname);
    assert.equal(again.searchParams.get('redirect_uri'), first.searchParams.get('redirect_uri'));
    await j.provide();
    await j.back();
    assert.equal((await j.complete()).status, 201);
  });
  await t.test('but is after a minute', async () => {
    const j = await Journey.begin(member(d));
    await j.leave();
    d.advance(61 * SECOND);
    isPage(await j.browser.fetch(j.ticketUrl));
    await j.provide();
    assert.ok((await j.back()).searchParams.has('connect_code'));
  });
  await t.test('nor when the browser has come back', async () => {
    const j = await travelled(member(d));
    isPage(await j.browser.fetch(j.ticketUrl));
    assert.equal((await j.complete()).status, 201);
  });
  await t.test('nor with the cookie of another journey', async () => {
    const [mine, theirs] = [await Journey.begin(member(d)), await Journey.begin(member(d))];
    await mine.leave();
    await theirs.leave();
    isPage(await theirs.browser.fetch(mine.ticketUrl));
  });
  await t.test('takes GET only', async () => {
    const j = await Journey.begin(member(d));
    for (const method of ['POST', 'PUT', 'DELETE']) assert.ok([404, 405].includes((await stranger().fetch(j.ticketUrl, { method, body: method === 'POST' ? 'x=1' : undefined })).status), method);
    await j.leave();
  });
});

test('the oldest of too many journeys gives way, and no other user\'s', async () => {
  const [s, bystander] = [member(d), member(d)];
  const first = await Journey.begin(s);
  const other = await Journey.begin(bystander);
  let last;
  for (let i = 0; i < 10; i++) {
    d.advance(1);
    last = await Journey.begin(s);
  }
  isPage(await first.browser.fetch(first.ticketUrl));
  for (const j of [last, other]) {
    await j.travel();
    assert.equal((await j.complete()).status, 201);
  }
});

/* --- callbacks --- */

test('a callback from strangers shows a page and calls nobody', async (t) => {
  const at = (query, path = CALLBACK) => `${d.base}${path}${query}`;
  const refused = async (url, browser = stranger()) => {
    const before = exchanges();
    const res = await browser.fetch(url);
    isPage(res);
    assert.equal(exchanges(), before);
    return res;
  };
  const ready = async (body) => {
    const j = await Journey.begin(member(d), body);
    await j.leave();
    await j.provide();
    return j;
  };
  /* What was refused did not harm who has the right. */
  const finishes = async (j) => {
    await j.back();
    assert.equal((await j.complete()).status, 201);
  };
  for (const path of [CALLBACK, '/login/callback'])
    await t.test(`bare, at ${path}`, async () => {
      for (const q of ['', '?', '?code=x', '?state=', `?state=${random()}`, `?state=${random()}&code=x`, `?state=${random()}&error=access_denied`, `?state=${'a'.repeat(5000)}`, '?error=x&error_description=%3Cscript%3E'])
        assert.ok(!(await refused(at(q, path))).text.includes('<script'), q);
    });
  await t.test('without the cookie', async () => {
    const j = await ready();
    await refused(j.callback);
    await finishes(j);
  });
  await t.test('an error without the cookie', async () => {
    const j = await ready();
    const u = new URL(j.callback);
    u.searchParams.delete('code');
    u.searchParams.set('error', 'access_denied');
    await refused(u.href);
    await finishes(j);
  });
  await t.test('with the cookie of another browser', async () => {
    const [mine, theirs] = [await ready(), await ready()];
    await refused(mine.callback, theirs.browser);
    await finishes(mine);
    await finishes(theirs);
  });
  await t.test('with a forged cookie', async () => {
    const j = await ready();
    const [c] = j.browser.jar.of('localhost', CALLBACK);
    for (const value of [random(), c.value.slice(0, -1), `${c.value}A`, c.value.toLowerCase(), '']) {
      const b = stranger();
      b.jar.cookies.push({ ...c, value });
      await refused(j.callback, b);
    }
    await finishes(j);
  });
  await t.test('with the ticket as state, or the session, or the client\'s state', async () => {
    const j = await ready();
    for (const state of [j.begun.connect_params.ticket, j.begun.auth_session, STATE]) {
      const u = new URL(j.callback);
      u.searchParams.set('state', state);
      await refused(u.href, j.browser);
    }
    await finishes(j);
  });
  await t.test('states twice', async () => {
    const j = await ready();
    /* RFC 6749 §3.1: parameters must not be included more than once. */
    const before = exchanges();
    const res = await j.browser.fetch(`${j.callback}&state=${random()}`);
    assert.equal(exchanges(), before, 'the code was sent to the provider');
    if (res.location) isErrorRedirect(new URL(res.location));
    else isPage(res);
  });
  await t.test('a second time', async () => {
    const j = await ready();
    const u = await j.back();
    await refused(j.callback, j.browser);
    assert.equal((await j.complete()).status, 201);
    await refused(j.callback, j.browser);
    assert.ok(u.searchParams.has('connect_code'));
  });
  await t.test('many times at once: one goes through, and one exchange', async () => {
    const j = await ready();
    const before = exchanges();
    const rs = await Promise.all(Array.from({ length: 8 }, () => j.browser.fetch(j.callback)));
    const through = rs.filter((r) => r.status === 302);
    assert.equal(through.length, 1, rs.map((r) => r.status).join());
    assert.equal(exchanges(), before + 1);
    j.code = new URL(through[0].location).searchParams.get('connect_code');
    d.secrets.add('connect_code', j.code);
    assert.equal((await j.complete()).status, 201);
  });
  await t.test('after 300 s', async () => {
    const j = await ready();
    d.advance(301 * SECOND);
    await refused(j.callback, j.browser);
    lost(await j.complete({ connect_code: random() }, member(d, { user: j.s.user })));
  });
  await t.test('with another method', async () => {
    const j = await ready();
    const res = await j.browser.fetch(j.callback.split('?')[0], { method: 'POST', body: j.callback.split('?')[1] });
    assert.ok([404, 405].includes(res.status), res.text);
    await finishes(j);
  });
});

test('two journeys in one browser', async (t) => {
  const s = member(d);
  const browser = stranger();
  const [a, b] = [await Journey.begin(s, {}, browser), await Journey.begin(s, {}, browser)];
  await a.leave();
  await b.leave();
  await a.provide({ user: 'tab-a' });
  await b.provide({ user: 'tab-a' });
  await b.back();
  await a.back();
  await t.test('both come back to their own', async () => {
    const ra = await a.complete();
    const rb = await b.complete();
    assert.deepEqual([ra.status, rb.status], [201, 201]);
    assert.equal(ra.json.id, rb.json.id);
    assert.equal((await accounts(s)).length, 1);
  });
});

test('one cookie serves all journeys of a browser', async () => {
  const j = await travelled(member(d));
  assert.equal(j.browser.jar.of('localhost', CALLBACK).length, 1);
});

/* --- what the provider says --- */

test('the issuer of the response (RFC 9207)', async (t) => {
  for (const [name, change] of [['another one', (q) => q.set('iss', 'https://evil.example')], ['none, though the provider always sends it', (q) => q.delete('iss')], ['an empty one', (q) => q.set('iss', '')],
    ['one with a slash more', (q) => q.set('iss', `${acme.issuer}/`)], ['two', (q) => q.append('iss', acme.issuer)]])
    await t.test(name, async () => {
      const j = await Journey.begin(member(d));
      await j.leave();
      const u = new URL(await j.provide());
      change(u.searchParams);
      const before = exchanges();
      isErrorRedirect(await j.back(u.href));
      assert.equal(exchanges(), before, 'the code was sent to the provider');
      lost(await j.complete({ connect_code: random() }));
      assert.deepEqual(await accounts(j.s), []);
    });
});

test('errors of the provider', async (t) => {
  const answered = async (params) => {
    const j = await Journey.begin(member(d));
    await j.leave();
    const q = new URLSearchParams({ state: j.authorization.searchParams.get('state'), iss: acme.issuer, ...params });
    d.secrets.add('provider state', q.get('state'));
    return { j, url: await j.back(`${d.base}${CALLBACK}?${q}`) };
  };
  for (const deny of ['login', 'consent'])
    await t.test(`the user says no at ${deny}`, async () => {
      const j = await Journey.begin(member(d));
      const url = await j.travel({ deny });
      isErrorRedirect(url, 'access_denied');
      assert.equal(url.searchParams.get('error_description'), `The user said no at ${deny}`);
      lost(await j.complete({ connect_code: random() }));
      isPage(await j.browser.fetch(j.callback));
    });
  for (const error of ['access_denied', 'consent_required', 'login_required', 'interaction_required', 'account_selection_required', 'invalid_scope', 'temporarily_unavailable', 'server_error'])
    await t.test(error, async () => {
      const { url } = await answered({ error, error_description: 'Because of this' });
      isErrorRedirect(url, error);
      assert.equal(url.searchParams.get('error_description'), 'Because of this');
    });
  for (const [name, params] of [['no description', { error: 'access_denied' }], ['an empty description', { error: 'access_denied', error_description: '' }], ['markup', { error: 'access_denied', error_description: '<script>alert(1)</script>' }],
    ['line breaks', { error: 'access_denied', error_description: 'a\r\nSet-Cookie: x=1\u0085\u2028' }], ['a long one', { error: 'access_denied', error_description: 'x'.repeat(3000) }]])
    await t.test(name, async () => {
      const { url } = await answered(params);
      isErrorRedirect(url, 'access_denied');
      assert.ok(url.href.length < 2500);
    });
  await t.test('an error that is no code', async () => {
    for (const error of ['<x>', 'a b', 'é', 'x'.repeat(500)]) isErrorRedirect((await answered({ error })).url);
  });
  await t.test('error and code together are an error', async () => {
    const before = exchanges();
    isErrorRedirect((await answered({ error: 'access_denied', code: random() })).url);
    assert.equal(exchanges(), before);
  });
  await t.test('neither error nor code', async () => {
    const before = exchanges();
    isErrorRedirect((await answered({})).url);
    isErrorRedirect((await answered({ code: '' })).url);
    assert.equal(exchanges(), before);
  });
  await t.test('a code the provider does not know', async () => isErrorRedirect((await answered({ code: random() })).url));
  await t.test('a code of another journey (PKCE)', async () => {
    const [a, b] = [await Journey.begin(member(d)), await Journey.begin(member(d))];
    await a.leave();
    await b.leave();
    const u = new URL(await a.provide());
    u.searchParams.set('code', new URL(await b.provide()).searchParams.get('code'));
    isErrorRedirect(await a.back(u.href));
    assert.deepEqual(await accounts(a.s), []);
  });
});

/* --- codes --- */

test('a connect_code', async (t) => {
  await t.test('lapses after 60 s', async () => {
    const [early, late] = [await travelled(member(d)), await travelled(member(d))];
    d.advance(58 * SECOND);
    assert.equal((await early.complete()).status, 201);
    d.advance(4 * SECOND);
    lost(await late.complete());
    assert.deepEqual(await accounts(late.s), []);
  });
  await t.test('lapses with the session', async () => {
    const j = await Journey.begin(member(d));
    d.advance(280 * SECOND);
    await j.travel();
    d.advance(25 * SECOND);
    lost(await j.complete());
  });
  await t.test('is new each time', async () => {
    const codes = new Set();
    for (let i = 0; i < 4; i++) codes.add((await travelled(member(d))).code);
    assert.equal(codes.size, 4);
  });
  await t.test('does nothing with a token that may not create', async () => {
    const j = await travelled(member(d));
    isProblem(await j.complete({}, member(d, { user: j.s.user, scope: 'read:me:connected_accounts' })), 403, 'A0E-403-0002');
    assert.equal((await j.complete()).status, 201, 'and stays good');
  });
});

test('a connection that is switched off on the way', async (t) => {
  const off = (active) => d.apply({ connections: [{ name: 'acme-alias', connected_accounts: { active } }] });
  await t.test('before the ticket', async () => {
    const j = await Journey.begin(member(d), { connection: 'acme-alias' });
    off(false);
    const res = await j.browser.fetch(j.ticketUrl);
    off(true);
    if (res.location) isErrorRedirect(new URL(res.location));
    else isPage(res);
    assert.deepEqual(await accounts(j.s), []);
  });
  await t.test('before the callback', async () => {
    const j = await Journey.begin(member(d), { connection: 'acme-alias' });
    await j.leave();
    await j.provide();
    off(false);
    const before = exchanges();
    const res = await j.browser.fetch(j.callback);
    off(true);
    if (res.location) isErrorRedirect(new URL(res.location));
    else isPage(res);
    assert.equal(exchanges(), before);
  });
});

/* --- where calls may go --- */

/* Counts who knocks, on an address of this machine. */
async function doorbell(host = '127.0.0.1') {
  const bell = { rings: 0 };
  bell.server = net.createServer((s) => {
    bell.rings++;
    s.on('error', () => {});
    s.destroy();
  });
  await new Promise((resolve, reject) => {
    bell.server.on('error', reject);
    bell.server.listen(0, host, resolve);
  });
  bell.port = bell.server.address().port;
  bell.stop = () => new Promise((r) => bell.server.close(r));
  return bell;
}

test('calls go to public addresses only', async (t) => {
  const bell = await doorbell();
  const names = ['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '127.1', '0', '0.0.0.0', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '10.0.0.1', '192.168.0.1', '172.16.0.1', '169.254.169.254', '100.64.0.1', '224.0.0.1', '[fe80::1]', '[fd00::1]', '[ff02::1]'];
  const hidden = await Upstream.start();
  const closed = await connectDaemon({ upstreams: [hidden], config: { network: { allow_http_loopback: false } },
    connections: [connection('plain', hidden.options('basic')), ...names.map((n, i) => connection(`to${i}`, { issuer: `https://${n}:${bell.port}`, client_id: 'x', client_secret: 'a secret nobody should see', scopes: ['openid'] }))] });
  t.after(async () => {
    await stopAll(closed, hidden);
    await bell.stop();
  });
  await t.test('http on loopback when it is not allowed', async () => {
    const j = await Journey.begin(member(closed), { connection: 'plain' });
    isErrorRedirect(new URL((await j.browser.fetch(j.ticketUrl)).location));
    assert.equal(hidden.requests.length, 0);
  });
  for (const [i, name] of names.entries())
    await t.test(name, async () => {
      const j = await Journey.begin(member(closed), { connection: `to${i}` });
      const res = await j.browser.fetch(j.ticketUrl);
      assert.equal(res.status, 302, res.text);
      isErrorRedirect(new URL(res.location), ['server_error', 'temporarily_unavailable']);
      assert.equal(bell.rings, 0);
    });
});

test('a discovery document cannot send calls elsewhere', async (t) => {
  const files = await new Files().start();
  const key = new Key('RS256');
  const cases = [['as it should be', {}], ['another issuer', { issuer: 'https://evil.example' }], ['no issuer', { issuer: undefined }], ['an authorization endpoint that is no web page', { authorization_endpoint: 'javascript:alert(1)' }],
    ['an authorization endpoint with line breaks', { authorization_endpoint: `${files.origin}/auth\r\nSet-Cookie: x=1` }], ['a token endpoint on a private address', { token_endpoint: 'http://10.0.0.1/token' }], ['one in a file', { token_endpoint: 'file:///etc/passwd' }],
    ['another scheme', { token_endpoint: 'gopher://127.0.0.1/x' }], ['keys in a file', { jwks_uri: 'file:///etc/passwd' }], ['keys on a private address', { jwks_uri: 'http://192.168.3.4/jwks' }], ['a list as endpoint', { token_endpoint: ['x'] }]];
  const issuer = (i) => `${files.origin}/${i}`;
  const local = await connectDaemon({ connections: cases.map((c, i) => connection(`doc${i}`, { issuer: issuer(i), client_id: 'me', client_secret: 'a secret for this provider', scopes: ['openid', 'offline_access'] })) });
  t.after(async () => {
    await stopAll(local);
    await files.stop();
  });
  local.secrets.add('client_secret', 'a secret for this provider');
  for (const [i, [name, over]] of cases.entries())
    await t.test(name, async () => {
      const doc = { issuer: issuer(i), authorization_endpoint: `${files.origin}/auth`, token_endpoint: `${issuer(i)}/token`, jwks_uri: `${issuer(i)}/jwks`, ...over };
      files.set(`/${i}/.well-known/openid-configuration`, JSON.stringify(doc));
      files.set(`/${i}/jwks`, JSON.stringify({ keys: [key.jwk()] }));
      const j = await Journey.begin(member(local), { connection: `doc${i}` });
      const to = new URL(await j.leave());
      if (to.origin === files.origin) {
        const now = Math.floor(local.now() / 1000);
        const id_token = jws(key, { alg: 'RS256', kid: key.kid }, { iss: issuer(i), aud: 'me', sub: 'x', nonce: to.searchParams.get('nonce'), iat: now, exp: now + 600 });
        files.set(`/${i}/token`, JSON.stringify({ access_token: random(), refresh_token: random(), token_type: 'Bearer', expires_in: 600, id_token }));
        await j.back(`${local.base}${CALLBACK}?${new URLSearchParams({ state: to.searchParams.get('state'), code: random() })}`);
      } else j.landed = to;
      if (i === 0) {
        assert.equal((await j.complete()).status, 201, String(j.landed));
        return;
      }
      isErrorRedirect(j.landed, ['server_error', 'temporarily_unavailable']);
      assert.deepEqual(await accounts(j.s), []);
    });
});

test('redirects of providers are not followed', async (t) => {
  const bell = await doorbell();
  const odd = [await Upstream.start(), await Upstream.start(), await Upstream.start()];
  const local = await connectDaemon({ upstreams: odd, connections: odd.map((u, i) => connection(`odd${i}`, u.options('basic'))) });
  t.after(async () => {
    await stopAll(local, ...odd);
    await bell.stop();
  });
  for (const [i, kind] of ['discovery', 'token', 'jwks'].entries())
    await t.test(kind, async () => {
      for (const status of i === 1 ? [301, 302, 303, 307, 308] : [307]) {
        odd[i].answer(kind, { status, headers: { location: `http://127.0.0.1:${bell.port}/` }, body: '' });
        const j = await Journey.begin(member(local), { connection: `odd${i}` });
        const to = new URL(await j.leave());
        if (to.origin === odd[i].origin) {
          await j.provide();
          await j.back();
        } else j.landed = to;
        isErrorRedirect(j.landed);
        assert.ok(odd[i].count(kind) > 0);
        assert.equal(bell.rings, 0);
      }
      odd[i].calm();
      await connectSoon(member(local), { connection: `odd${i}` });
    });
});

/* --- traces --- */

test('no secret was left anywhere', async (t) => {
  await t.test('and the search knows them all', () => {
    const kinds = new Set(d.secrets.known.values());
    for (const k of ['access_token', 'refresh_token', 'code', 'code_verifier', 'connect_code', 'ticket', 'auth_session', 'client_secret', 'provider state', 'provider nonce', 'token']) assert.ok(kinds.has(k), k);
  });
  await t.test('log and database', () => assert.deepEqual(d.secrets.leaks(), []));
  await t.test('audit', () => {
    const rows = d.audit().join('\n');
    for (const [value, kind] of d.secrets.known) if (value.length > 8) assert.ok(!rows.includes(value), `${kind} in the audit`);
  });
  await t.test('no address with a query in the log', () => {
    assert.ok(!/[?&](ticket|state|code|connect_code)=/.test(d.logText()));
  });
});

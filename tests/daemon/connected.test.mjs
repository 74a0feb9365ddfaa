/* SPDX-License-Identifier: Apache-2.0
 * Connected accounts: the whole way with a real OpenID provider, lists, deletion, audit. */
import { assert, test, before, after, DB, ORIGIN, isProblem, pointers, grant, client } from './lib/kit.mjs';
import { ACCOUNTS, CA, CA_SCOPES, CALLBACK, CONNECTIONS, Journey, REDIRECT, REDIRECT_QUERY, STATE, accountPath, accounts, connect, connectDaemon,
  connection, isErrorRedirect, member, random, stopAll, travelled } from './lib/connect.mjs';
import { Upstream } from './lib/upstream.mjs';

let d;
let acme;
let other;
before(async () => {
  acme = await Upstream.start();
  other = await Upstream.start();
  d = await connectDaemon({ upstreams: [acme, other], connections: [
    connection('acme', acme.options('basic')),
    connection('acme-post', acme.options('post', { callback_path: '/login/callback' })),
    connection('acme-jwt', acme.options('jwt')),
    connection('acme-public', acme.options('public')),
    connection('acme-brief', acme.options('basic', { scopes: ['openid', 'email'] })),
    connection('acme-revoking', acme.options('basic'), { revocation_endpoint: `${acme.issuer}/token/revocation` }),
    connection('other', other.options('basic')),
    connection('asleep', acme.options('basic'), { connected_accounts: { active: false } }),
    connection('native-only', acme.options('basic'), { enabled_clients: ['native'] }),
    connection('nobodys', acme.options('basic'), { enabled_clients: [] }),
    connection('acme+&~1', acme.options('basic')),
  ] });
});
after(() => stopAll(d, acme, other));

const OPENID = ['email', 'offline_access', 'openid', 'profile'];
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const lost = (r) => isProblem(r, 404, 'A0E-404-0001', 'Invalid or expired session');
const invalid = (r, ...want) => {
  isProblem(r, 400, 'A0E-400-0003');
  assert.deepEqual([...new Set(pointers(r))].sort(), want.sort(), r.text);
};

/* --- the whole way --- */

test('the whole way, step by step', async (t) => {
  const s = member(d);
  const j = await Journey.begin(s);
  await t.test('connect', () => {
    assert.deepEqual(Object.keys(j.begun).sort(), ['auth_session', 'connect_params', 'connect_uri', 'expires_in']);
    assert.equal(j.begun.connect_uri, `${d.base}/connected-accounts/connect`);
    assert.match(j.begun.auth_session, /^[A-Za-z0-9_-]{43,64}$/);
    assert.match(j.begun.connect_params.ticket, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(Object.keys(j.begun.connect_params), ['ticket']);
    assert.equal(j.begun.expires_in, 300);
  });
  await t.test('the ticket leads to the provider', async () => {
    await j.leave();
    const q = j.authorization.searchParams;
    assert.equal(`${j.authorization.origin}${j.authorization.pathname}`, `${acme.issuer}/auth`);
    assert.equal(q.get('response_type'), 'code');
    assert.equal(q.get('client_id'), 'basic');
    assert.equal(q.get('redirect_uri'), `${d.base}${CALLBACK}`);
    assert.deepEqual(q.get('scope').split(' ').sort(), OPENID);
    assert.equal(q.get('code_challenge_method'), 'S256');
    assert.match(q.get('code_challenge'), /^[A-Za-z0-9_-]{43}$/);
    assert.ok(q.get('state').length >= 32 && q.get('nonce').length >= 32);
    assert.notEqual(q.get('code_challenge'), j.sent.code_challenge, 'the daemon has a verifier of its own');
    assert.notEqual(q.get('state'), STATE);
    for (const k of q.keys()) assert.equal(q.getAll(k).length, 1, `${k} twice`);
    for (const v of q.values()) assert.ok(!v.includes(j.begun.auth_session) && !v.includes(j.begun.connect_params.ticket));
  });
  await t.test('with a cookie for this browser alone', () => {
    assert.equal(j.cookie.length, 1);
    const [c] = j.browser.jar.cookies;
    assert.equal(c.host, 'localhost');
    assert.equal(c.attrs.httponly, '');
    assert.match(c.attrs.samesite, /^lax$/i);
    assert.ok(Number(c.attrs['max-age']) > 0 && Number(c.attrs['max-age']) <= 360, c.header);
    assert.equal(c.attrs.domain, undefined);
    assert.ok(c.value.length >= 32);
  });
  await t.test('the provider returns with a code', async () => {
    await j.provide();
    assert.equal(new URL(j.callback).pathname, CALLBACK);
  });
  await t.test('and the browser goes to the client', async () => {
    await j.back();
    assert.deepEqual([...j.landed.searchParams.keys()].sort(), ['connect_code', 'state']);
    assert.equal(`${j.landed.origin}${j.landed.pathname}`, REDIRECT);
    assert.equal(j.landed.hash, '');
    assert.equal(j.landed.searchParams.get('state'), STATE);
    assert.match(j.code, /^[A-Za-z0-9_-]{43}$/);
    assert.deepEqual(await accounts(s), [], 'nothing is there before complete');
  });
  await t.test('complete', async () => {
    const r = await j.complete();
    assert.equal(r.status, 201, r.text);
    const a = r.json;
    assert.match(a.id, /^cac_[A-Za-z0-9]{22}$/);
    assert.match(a.created_at, ISO);
    assert.ok(Math.abs(Date.parse(a.created_at) - d.now()) < 60000, a.created_at);
    assert.deepEqual(a, { id: a.id, connection: 'acme', access_type: 'offline', scopes: OPENID, created_at: a.created_at });
    assert.deepEqual(await accounts(s), [a]);
  });
  await t.test('the code was exchanged once, with the verifier of the challenge', () => {
    const own = acme.requests.filter((r) => r.kind === 'token');
    assert.equal(own.length, 1);
    assert.equal(own[0].body.get('grant_type'), 'authorization_code');
    assert.equal(own[0].body.get('redirect_uri'), `${d.base}${CALLBACK}`);
    assert.match(own[0].headers.authorization, /^Basic /);
    assert.equal(own[0].body.has('client_secret'), false);
  });
});

test('two users of the provider', async (t) => {
  const s = member(d);
  const first = await connect(s, { connection: 'other' }, { user: 'ann' });
  d.advance(5);
  const second = await connect(s, { connection: 'other' }, { user: 'ben' });
  await t.test('are two accounts, the newest first', async () => {
    assert.notEqual(first.id, second.id);
    assert.deepEqual(await accounts(s), [second, first]);
  });
  await t.test('connected again, each keeps its id and date and takes the new scopes', async () => {
    d.advance(5000);
    const again = await connect(s, { connection: 'other', scopes: ['openid', 'calendar'] }, { user: 'ann' });
    assert.deepEqual(again, { ...first, scopes: ['calendar', 'offline_access', 'openid'] });
    assert.deepEqual(await accounts(s), [second, again]);
  });
  await t.test('one that somebody else has connected is a conflict', async () => {
    const stranger = member(d);
    const j = await travelled(stranger, { connection: 'other' }, { user: 'ben' });
    const r = await j.complete();
    assert.equal(r.status, 409, r.text);
    assert.match(r.json.type, /A0E-409-\d{4}$/);
    assert.ok(!r.text.includes(s.user), r.text);
    assert.deepEqual(await accounts(stranger), []);
    assert.deepEqual(await accounts(s, '?connection=other').then((l) => l.map((a) => a.id)), [second.id, first.id]);
  });
  await t.test('and free when that one is gone', async () => {
    assert.equal((await s.del(accountPath(second.id))).status, 204);
    const heir = member(d);
    const a = await connect(heir, { connection: 'other' }, { user: 'ben' });
    assert.notEqual(a.id, second.id);
    assert.deepEqual(await accounts(heir), [a]);
  });
  await t.test('the same provider user through two connections is two accounts', async () => {
    const u = member(d);
    await connect(u, { connection: 'acme-public' });
    await connect(u, { connection: 'acme-post' });
    assert.deepEqual((await accounts(u)).map((a) => a.connection).sort(), ['acme-post', 'acme-public']);
  });
});

test('every way to authenticate at the provider', async (t) => {
  for (const [name, verify] of [
    ['acme-post', (r) => assert.ok(r.body.has('client_secret') && !r.headers.authorization)],
    ['acme-jwt', (r) => {
      assert.equal(r.body.get('client_assertion_type'), 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
      const claims = JSON.parse(Buffer.from(r.body.get('client_assertion').split('.')[1], 'base64url'));
      assert.deepEqual([claims.iss, claims.sub], ['jwt', 'jwt']);
      assert.ok(claims.exp > claims.iat && claims.jti);
      assert.equal(r.body.has('client_secret'), false);
    }],
    ['acme-public', (r) => {
      assert.equal(r.body.get('client_id'), 'public');
      assert.ok(r.body.has('code_verifier') && !r.body.has('client_secret') && !r.headers.authorization);
    }]])
    await t.test(name, async () => {
      const s = member(d);
      const a = await connect(s, { connection: name });
      assert.equal(a.connection, name);
      verify(acme.last('token'));
    });
});

test('the alias of the callback', async () => {
  const s = member(d);
  const j = await Journey.begin(s, { connection: 'acme-post' });
  await j.leave();
  assert.equal(j.authorization.searchParams.get('redirect_uri'), `${d.base}/login/callback`);
  assert.equal(new URL(await j.provide()).pathname, '/login/callback');
  await j.back();
  const r = await j.complete();
  assert.equal(r.status, 201, r.text);
});

test('names that must be encoded', async () => {
  const s = member(d);
  const a = await connect(s, { connection: 'acme+&~1' });
  assert.equal(a.connection, 'acme+&~1');
  assert.deepEqual(await accounts(s, `?connection=${encodeURIComponent('acme+&~1')}`), [a]);
});

/* --- state and redirect_uri --- */

test('the state comes back as it was', async (t) => {
  for (const [name, state] of [['base64', 'q/+w==+/A'], ['marks', '&=#?%25 +\'"<>\\'], ['any letters', 'zurück ✓ 😀'], ['one character', '0'], ['the longest', 'x+'.repeat(2048)], ['the longest, encoded throughout', '/'.repeat(4096)]])
    await t.test(name, async () => {
      const j = await Journey.begin(member(d), { state });
      await j.leave();
      assert.notEqual(j.authorization.searchParams.get('state'), state);
      await j.provide({ deny: 'login' });
      const url = await j.back();
      isErrorRedirect(url, 'access_denied', { state });
      assert.ok(!/[+ ]/.test(url.search.slice(1).replace(/error_description=[^&]*/, '').replace('connect_code', '')), `bare + in ${url.search.slice(0, 200)}`);
    });
  await t.test('none is no state', async () => {
    const s = member(d);
    const j = await travelled(s, { state: undefined });
    assert.deepEqual([...j.landed.searchParams.keys()], ['connect_code']);
  });
});

test('a redirect_uri with a query keeps it', async () => {
  const j = await travelled(member(d), { redirect_uri: REDIRECT_QUERY });
  assert.ok(j.landed.href.startsWith(`${REDIRECT_QUERY}&`), j.landed.href);
  assert.equal(j.landed.href.split('?').length, 2);
  assert.equal(j.landed.searchParams.get('state'), STATE);
});

test('a redirect_uri must be one of the client\'s, exactly', async (t) => {
  const s = member(d);
  for (const uri of [`${REDIRECT}/`, `${REDIRECT}?x=1`, `${REDIRECT}#f`, `${ORIGIN}/callback/../callback`, 'https://evil.example/callback', `${ORIGIN}`, 'http://LOCALHOST:3000/callback',
    'http://localhost:3000/CALLBACK', 'http://user@localhost:3000/callback', `${REDIRECT_QUERY}&y=2`, 'javascript:alert(1)', 'http://localhost:3000/callback%2f'])
    await t.test(uri, async () => invalid(await s.post(`${CA}/connect`, { connection: 'acme', redirect_uri: uri, state: 'x' }), '/redirect_uri'));
  await t.test('one of another client', async () => {
    invalid(await member(d, { azp: 'native' }).post(`${CA}/connect`, { connection: 'acme', redirect_uri: REDIRECT_QUERY }), '/redirect_uri');
  });
});

/* --- PKCE of the client --- */

test('without a challenge no verifier is asked for', async () => {
  const s = member(d);
  const j = await travelled(s, { code_challenge: undefined, code_challenge_method: undefined });
  assert.equal((await j.complete()).status, 201);
});

/* --- who may connect what --- */

test('connections that cannot be used', async (t) => {
  const s = member(d);
  const ask = (name, who = s) => who.post(`${CA}/connect`, { connection: name, redirect_uri: REDIRECT });
  await t.test('unknown', async () => invalid(await ask('nowhere'), '/connection'));
  await t.test('of another case', async () => invalid(await ask('ACME'), '/connection'));
  for (const name of ['asleep', 'native-only', 'nobodys'])
    await t.test(name, async () => {
      const r = await ask(name);
      assert.equal(r.status, 403, r.text);
      assert.match(r.json.type, /A0E-403-\d{4}$/);
      assert.notEqual(r.json.title, 'Insufficient Scope');
    });
  await t.test('a database', async () => assert.ok([400, 403].includes((await ask(DB)).status)));
  await t.test('enabled for another client', async () => assert.equal((await ask('native-only', member(d, { azp: 'native' }))).status, 201));
});

test('scopes of the token', async (t) => {
  const may = (scope) => member(d, { scope });
  for (const [method, path, body, scope] of [['POST', `${CA}/connect`, { connection: 'acme', redirect_uri: REDIRECT }, 'create'],
    ['POST', `${CA}/complete`, { auth_session: random(), connect_code: random(), redirect_uri: REDIRECT }, 'create'],
    ['GET', ACCOUNTS, undefined, 'read'], ['GET', CONNECTIONS, undefined, 'read'], ['DELETE', accountPath('cac_0000000000000000000000'), undefined, 'delete']])
    await t.test(`${method} ${path}`, async () => {
      const r = await may(CA_SCOPES.filter((c) => !c.startsWith(scope)).join(' ')).request(method, path, body);
      isProblem(r, 403, 'A0E-403-0002');
      assert.ok(r.json.detail.includes(`${scope}:me:connected_accounts`), r.json.detail);
      assert.notEqual((await may(`${scope}:me:connected_accounts`).request(method, path, body)).status, 403);
      assert.equal((await d.anonymous().request(method, path, body)).status, 401);
    });
  await t.test('a client without a grant for them', async () => {
    assert.equal((await member(d, { azp: 'reader' }).get(ACCOUNTS)).status, 403);
  });
  await t.test('other methods are 405', async () => {
    for (const [method, path] of [['GET', `${CA}/connect`], ['GET', `${CA}/complete`], ['POST', ACCOUNTS], ['POST', CONNECTIONS], ['GET', accountPath('cac_0000000000000000000000')]])
      assert.equal((await member(d).request(method, path, method === 'POST' ? {} : undefined)).status, 405, `${method} ${path}`);
  });
});

/* --- scopes at the provider --- */

test('scopes that are asked for', async (t) => {
  const asked = async (body) => {
    const j = await Journey.begin(member(d), body);
    await j.leave();
    return { scopes: j.authorization.searchParams.get('scope').split(' ').sort(), j };
  };
  await t.test('the configured ones', async () => assert.deepEqual((await asked({})).scopes, OPENID));
  await t.test('those of the request instead, and offline_access stays', async () => {
    assert.deepEqual((await asked({ scopes: ['openid', 'read:tasks'] })).scopes, ['offline_access', 'openid', 'read:tasks']);
  });
  await t.test('openid is needed to know the user', async () => assert.deepEqual((await asked({ scopes: ['calendar'] })).scopes, ['calendar', 'offline_access', 'openid']));
  await t.test('offline_access asked for is asked for once', async () => {
    assert.deepEqual((await asked({ scopes: ['openid', 'offline_access'] })).scopes, ['offline_access', 'openid']);
  });
  await t.test('not configured and not asked for, it is not asked for', async () => assert.deepEqual((await asked({ connection: 'acme-brief' })).scopes, ['email', 'openid']));
  await t.test('not configured, but in the request', async () => {
    assert.deepEqual((await asked({ connection: 'acme-brief', scopes: ['openid', 'offline_access'] })).scopes, ['offline_access', 'openid']);
  });
  await t.test('the account shows those the provider granted, sorted', async () => {
    const s = member(d);
    const j = await Journey.begin(s, { scopes: ['write:tasks', 'openid', 'read:tasks', 'unknown:scope'] });
    await j.leave();
    await j.provide();
    acme.edit.token = (a) => ({ ...a, scope: 'write:tasks openid read:tasks' });
    await j.back();
    acme.calm();
    const a = (await j.complete()).json;
    assert.deepEqual(a.scopes, ['openid', 'read:tasks', 'write:tasks']);
  });
  await t.test('those asked for when the answer names none (RFC 6749 §5.1)', async () => {
    acme.edit.token = ({ scope, ...a }) => a;
    const s = member(d);
    const a = await connect(s, { scopes: ['openid', 'read:tasks'] }).finally(() => acme.calm());
    assert.deepEqual(a.scopes, ['offline_access', 'openid', 'read:tasks']);
  });
});

test('authorization_params reach the provider', async (t) => {
  const sent = { acr_values: 'urn:loa:2 urn:loa:3', audience: 'https://api.example/', resource: 'https://api.example/v1', display: 'popup', id_token_hint: 'a.b.c',
    login_hint: 'ann+test@upstream.example', max_age: 0, ui_locales: 'en-GB de fr', prompt: 'login' };
  const seen = async (authorization_params) => {
    const j = await Journey.begin(member(d), { authorization_params });
    await j.leave();
    return j.authorization.searchParams;
  };
  await t.test('all of them', async () => {
    const q = await seen(sent);
    for (const [k, v] of Object.entries(sent)) if (k !== 'prompt') assert.equal(q.get(k), String(v), k);
    assert.ok(q.get('prompt').split(' ').includes('login'), q.get('prompt'));
  });
  await t.test('and none that was not given', async () => {
    const q = await seen({});
    for (const k of Object.keys(sent)) if (k !== 'prompt') assert.equal(q.has(k), false, k);
  });
  await t.test('a user who must choose still does', async () => assert.ok((await seen({ prompt: 'select_account' })).get('prompt').split(' ').includes('select_account')));
  await t.test('nobody can say twice what the daemon says', async () => {
    for (const k of ['state', 'redirect_uri', 'client_id', 'scope', 'nonce', 'response_type', 'code_challenge'])
      invalid(await member(d).post(`${CA}/connect`, { connection: 'acme', redirect_uri: REDIRECT, authorization_params: { [k]: 'x' } }), `/authorization_params/${k}`);
  });
});

/* --- bodies --- */

const ok = { connection: 'acme', redirect_uri: REDIRECT };
const long = (n) => 'x'.repeat(n);

test('the body of connect', async (t) => {
  const s = member(d);
  const send = (b) => s.post(`${CA}/connect`, b);
  const c = random();
  const params = (p) => ({ ...ok, authorization_params: p });
  for (const [name, body, ...want] of [
    ['nothing', {}, ''], ['no connection', { redirect_uri: REDIRECT }, ''], ['no redirect_uri', { connection: 'acme' }, ''],
    ['an empty connection', { ...ok, connection: '' }, '/connection'], ['a long connection', { ...ok, connection: long(129) }, '/connection'],
    ['a number as connection', { ...ok, connection: 1 }, '/connection'], ['null as connection', { ...ok, connection: null }, '/connection'],
    ['a long redirect_uri', { ...ok, redirect_uri: `${REDIRECT}?${long(2048)}` }, '/redirect_uri'], ['no URI', { ...ok, redirect_uri: 'callback' }, '/redirect_uri'],
    ['an empty redirect_uri', { ...ok, redirect_uri: '' }, '/redirect_uri'], ['a list as redirect_uri', { ...ok, redirect_uri: [REDIRECT] }, '/redirect_uri'],
    ['an empty state', { ...ok, state: '' }, '/state'], ['a long state', { ...ok, state: long(4097) }, '/state'], ['a number as state', { ...ok, state: 5 }, '/state'],
    ['a challenge without method', { ...ok, code_challenge: c }, ''], ['a short challenge', { ...ok, code_challenge: c.slice(1), code_challenge_method: 'S256' }, '/code_challenge'],
    ['a long challenge', { ...ok, code_challenge: long(129), code_challenge_method: 'S256' }, '/code_challenge'],
    ['the method plain', { ...ok, code_challenge: c, code_challenge_method: 'plain' }, '/code_challenge_method'],
    ['another case of the method', { ...ok, code_challenge: c, code_challenge_method: 's256' }, '/code_challenge_method'],
    ['no scopes', { ...ok, scopes: [] }, '/scopes'], ['scopes twice', { ...ok, scopes: ['openid', 'openid'] }, '/scopes'], ['scopes as text', { ...ok, scopes: 'openid' }, '/scopes'],
    ['101 scopes', { ...ok, scopes: Array.from({ length: 101 }, (_, i) => `s${i}`) }, '/scopes'], ['an empty scope', { ...ok, scopes: ['openid', ''] }, '/scopes/1'],
    ['a long scope', { ...ok, scopes: [long(256)] }, '/scopes/0'], ['a number as scope', { ...ok, scopes: [1] }, '/scopes/0'],
    ['an unknown member', { ...ok, nope: 1 }, '/nope'], ['two unknown members', { ...ok, nope: 1, nor: 2 }, '/nope', '/nor'],
    ['params as text', params('x'), '/authorization_params'], ['params as list', params([]), '/authorization_params'], ['an unknown parameter', params({ nope: 'x' }), '/authorization_params/nope'],
    ['an empty acr_values', params({ acr_values: '' }), '/authorization_params/acr_values'], ['a long acr_values', params({ acr_values: long(1025) }), '/authorization_params/acr_values'],
    ['a long audience', params({ audience: long(513) }), '/authorization_params/audience'], ['a long resource', params({ resource: long(513) }), '/authorization_params/resource'],
    ['an unknown display', params({ display: 'tv' }), '/authorization_params/display'], ['a long id_token_hint', params({ id_token_hint: long(4097) }), '/authorization_params/id_token_hint'],
    ['a long login_hint', params({ login_hint: long(256) }), '/authorization_params/login_hint'], ['an empty login_hint', params({ login_hint: '' }), '/authorization_params/login_hint'],
    ['max_age below 0', params({ max_age: -1 }), '/authorization_params/max_age'], ['max_age too large', params({ max_age: 2147483648 }), '/authorization_params/max_age'],
    ['max_age of a fraction', params({ max_age: 1.5 }), '/authorization_params/max_age'], ['max_age as text', params({ max_age: '1' }), '/authorization_params/max_age'],
    ['two prompts', params({ prompt: 'login consent' }), '/authorization_params/prompt'], ['an unknown prompt', params({ prompt: 'create' }), '/authorization_params/prompt'],
    ['a short ui_locales', params({ ui_locales: 'e' }), '/authorization_params/ui_locales'], ['no locale', params({ ui_locales: 'english' }), '/authorization_params/ui_locales'],
    ['a long ui_locales', params({ ui_locales: Array(40).fill('en').join(' ') }), '/authorization_params/ui_locales'], ['null as params', params(null), '/authorization_params']])
    await t.test(name, async () => {
      const r = await send(body);
      isProblem(r, 400, 'A0E-400-0003');
      const got = [...new Set(pointers(r).map((p) => (want[0] === '/scopes' && p.startsWith('/scopes/') ? '/scopes' : p)))];
      assert.deepEqual(got.sort(), want.sort(), r.text);
    });
  for (const [name, body] of [['the least', ok], ['a connection of 1 to 128 characters that is there', { ...ok, connection: 'acme' }], ['the longest state', { ...ok, state: long(4096) }],
    ['the longest challenge', { ...ok, code_challenge: long(128), code_challenge_method: 'S256' }], ['a method without challenge', { ...ok, code_challenge_method: 'S256' }],
    ['100 scopes', { ...ok, scopes: Array.from({ length: 100 }, (_, i) => `s${i}`) }], ['a long scope', { ...ok, scopes: [long(255)] }],
    ['every parameter at its limit', params({ acr_values: long(1024), audience: long(512), resource: long(512), display: 'wap', id_token_hint: long(4096), login_hint: long(255),
      max_age: 2147483647, prompt: 'none', ui_locales: 'en-GB de' })], ['no parameters', params({})]])
    await t.test(name, async () => assert.equal((await send(body)).status, 201));
  await t.test('scopes cannot smuggle', async () => {
    for (const scope of ['open id', 'a"b', 'a\\b', 'a\nb', 'a\u00e9']) assert.equal((await send({ ...ok, scopes: [scope] })).status, 400, JSON.stringify(scope));
  });
  await t.test('other media types', async () => {
    assert.equal((await s.post(`${CA}/connect`, 'connection=acme', { raw: true, headers: { 'content-type': 'application/x-www-form-urlencoded' } })).status, 415);
    isProblem(await s.post(`${CA}/connect`, '{', { raw: true }), 400, 'A0E-400-0001');
    isProblem(await s.post(`${CA}/connect`, []), 400, 'A0E-400-0003');
  });
});

test('the body of complete', async (t) => {
  const s = member(d);
  const good = { auth_session: random(48), connect_code: random(), redirect_uri: REDIRECT, code_verifier: random() };
  for (const [name, over, ...want] of [['a long session', { auth_session: long(65) }, '/auth_session'], ['no session', { auth_session: undefined }, ''], ['a number as session', { auth_session: 1 }, '/auth_session'],
    ['no code', { connect_code: undefined }, ''], ['an empty code', { connect_code: '' }, '/connect_code'], ['a long code', { connect_code: long(47) }, '/connect_code'],
    ['no redirect_uri', { redirect_uri: undefined }, ''], ['a long redirect_uri', { redirect_uri: `${REDIRECT}?${long(2048)}` }, '/redirect_uri'], ['no URI', { redirect_uri: 'x' }, '/redirect_uri'],
    ['a short verifier', { code_verifier: long(42) }, '/code_verifier'], ['a long verifier', { code_verifier: long(129) }, '/code_verifier'], ['an unknown member', { state: 'x' }, '/state']])
    await t.test(name, async () => invalid(await s.post(`${CA}/complete`, { ...good, ...over }), ...want));
  await t.test('all right and unknown', async () => lost(await s.post(`${CA}/complete`, good)));
});

/* --- complete --- */

test('what complete refuses', async (t) => {
  const s = member(d);
  const after404 = async (j) => assert.deepEqual(await accounts(j.s), []);
  await t.test('another user\'s session', async () => {
    const j = await travelled(s);
    lost(await j.complete({}, member(d)));
    await after404(j);
  });
  await t.test('another client', async () => {
    const j = await travelled(s);
    lost(await j.complete({}, member(d, { user: s.user, azp: 'native' })));
    await after404(j);
  });
  for (const [name, over] of [['another session', { auth_session: random(48) }], ['another code', { connect_code: random() }], ['a cut code', (j) => ({ connect_code: j.code.slice(0, -1) })],
    ['another verifier', { code_verifier: random() }], ['no verifier', { code_verifier: undefined }], ['the challenge as verifier', (j) => ({ code_verifier: j.sent.code_challenge })]])
    await t.test(name, async () => {
      const j = await travelled(s);
      lost(await j.complete(typeof over === 'function' ? over(j) : over));
      await after404(j);
    });
  await t.test('a verifier for no challenge does no harm or is refused, but never stores by mistake', async () => {
    const j = await travelled(s, { code_challenge: undefined, code_challenge_method: undefined });
    const r = await j.complete({ code_verifier: random() });
    assert.ok([201, 400, 404].includes(r.status), r.text);
    for (const a of await accounts(s)) await s.want(204, 'DELETE', accountPath(a.id));
  });
  await t.test('another redirect_uri, though the client\'s', async () => {
    const j = await travelled(s);
    invalid(await j.complete({ redirect_uri: REDIRECT_QUERY }), '/redirect_uri');
    await after404(j);
  });
  await t.test('the code of another session of the same user', async () => {
    const [a, b] = [await travelled(s), await travelled(s)];
    lost(await a.complete({ connect_code: b.code }));
    await after404(a);
  });
  await t.test('a session that has not come back', async () => {
    const j = await Journey.begin(s);
    lost(await j.complete({ connect_code: random() }));
    await j.leave();
    lost(await j.complete({ connect_code: random() }));
  });
  await t.test('the second use', async () => {
    const j = await travelled(s);
    const r = await j.complete();
    assert.equal(r.status, 201, r.text);
    lost(await j.complete());
    assert.deepEqual(await accounts(s), [r.json]);
    await s.want(204, 'DELETE', accountPath(r.json.id));
  });
  await t.test('many uses at once', async () => {
    const j = await travelled(s);
    const rs = await Promise.all(Array.from({ length: 8 }, () => j.complete()));
    assert.deepEqual(rs.map((r) => r.status).sort(), [201, ...Array(7).fill(404)]);
    const list = await accounts(s);
    assert.equal(list.length, 1);
    await s.want(204, 'DELETE', accountPath(list[0].id));
  });
});

test('no refresh token', async (t) => {
  await t.test('was asked for', async () => {
    const s = member(d);
    const r = await (await travelled(s, { connection: 'acme-brief' })).complete();
    isProblem(r, 400, 'A0E-400-0001', /offline access/i);
    assert.deepEqual(await accounts(s), []);
  });
  await t.test('came', async () => {
    const s = member(d);
    acme.edit.token = ({ refresh_token, ...a }) => a;
    const j = await travelled(s).finally(() => acme.calm());
    isProblem(await j.complete(), 400, 'A0E-400-0001', /offline access/i);
    lost(await j.complete());
    assert.deepEqual(await accounts(s), []);
  });
  await t.test('is needed when the access token stays good', async () => {
    const s = member(d);
    acme.edit.token = ({ refresh_token, expires_in, ...a }) => a;
    const a = await connect(s).finally(() => acme.calm());
    assert.equal('expires_at' in a, false);
  });
});

test('expires_at is the end of the refresh token', async () => {
  const s = member(d);
  acme.edit.token = (a) => ({ ...a, refresh_token_expires_in: 86400 });
  const a = await connect(s).finally(() => acme.calm());
  assert.match(a.expires_at ?? '', ISO);
  assert.ok(Math.abs(Date.parse(a.expires_at) - d.now() - 86400000) < 60000, a.expires_at);
  assert.deepEqual(await accounts(s), [a]);
});

/* --- lists --- */

test('the list of accounts', async (t) => {
  const s = member(d);
  const made = [];
  for (const [name, user] of [['acme', 'list-1'], ['acme', 'list-2'], ['acme-post', 'list-1'], ['acme-public', 'list-1'], ['acme-jwt', 'list-2']]) {
    made.unshift(await connect(s, { connection: name }, { user }));
    d.advance(1000);
  }
  const ids = (l) => l.map((a) => a.id);
  const get = async (q) => (await s.want(200, 'GET', `${ACCOUNTS}${q}`)).json;
  await t.test('newest first, all on one page without next', async () => assert.deepEqual(await get(''), { accounts: made }));
  for (const size of [1, 2, 3, 4, 5, 20])
    for (const name of ['from', 'next'])
      await t.test(`pages of ${size} by ${name}`, async () => {
        const seen = [];
        const cursors = new Set();
        let r = await get(`?take=${size}`);
        for (;;) {
          assert.ok(r.accounts.length <= size && r.accounts.length > 0);
          seen.push(...ids(r.accounts));
          if (r.next === undefined) break;
          assert.ok(r.next && !cursors.has(r.next), 'a cursor came again');
          assert.match(r.next, /^[A-Za-z0-9_-]+$/);
          cursors.add(r.next);
          r = await get(`?take=${size}&${name}=${encodeURIComponent(r.next)}`);
        }
        assert.deepEqual(seen, ids(made));
        assert.equal(cursors.size, Math.ceil(made.length / size) - 1);
      });
  await t.test('a cursor without take', async () => {
    const { next } = await get('?take=2');
    assert.deepEqual(ids((await get(`?from=${next}`)).accounts), ids(made).slice(2));
  });
  await t.test('take outside 1 to 20', async () => {
    for (const v of ['0', '21', '-1', 'x', '', '1.5', '1e1', '+1', '99999999999999999999']) invalid(await s.get(`${ACCOUNTS}?take=${v}`), '/take');
    for (const v of ['1', '20']) await get(`?take=${v}`);
  });
  await t.test('cursors that nobody gave', async () => {
    const { next } = await get('?take=2');
    const flip = (c, i) => c.slice(0, i) + (c[i] === 'A' ? 'B' : 'A') + c.slice(i + 1);
    for (const c of ['', 'x', flip(next, 0), flip(next, next.length >> 1), next.slice(0, -2), `${next}A`, '%00', 'é', 'A'.repeat(3000)])
      invalid(await s.get(`${ACCOUNTS}?from=${encodeURIComponent(c)}`), '/from');
    isProblem(await member(d).get(`${ACCOUNTS}?from=${next}`), 400, 'A0E-400-0003');
    isProblem(await s.get(`${CONNECTIONS}?from=${next}`), 400, 'A0E-400-0003');
  });
  await t.test('of connections', async () => {
    const of = (...names) => ids(made.filter((a) => names.includes(a.connection)));
    const json = (v) => encodeURIComponent(JSON.stringify(v));
    assert.deepEqual(ids((await get('?connection=acme')).accounts), of('acme'));
    assert.deepEqual(ids((await get('?connection=acme&connection=acme-jwt')).accounts), of('acme', 'acme-jwt'));
    assert.deepEqual(ids((await get(`?connection=${json(['acme-post', 'acme-jwt'])}`)).accounts), of('acme-post', 'acme-jwt'));
    assert.deepEqual(ids((await get(`?connection=${json(['acme'])}&take=10`)).accounts), of('acme'));
    assert.deepEqual(ids((await get('?connection=acme&connection=acme')).accounts), of('acme'));
    assert.deepEqual(await get('?connection=nowhere'), { accounts: [] });
    assert.deepEqual(ids((await get(`?${Array.from({ length: 20 }, (_, i) => `connection=c${i}`).join('&')}`)).accounts), []);
  });
  await t.test('filter and pages together', async () => {
    const one = await get('?connection=acme&take=1');
    assert.equal(one.accounts.length, 1);
    const two = await get(`?connection=acme&take=1&from=${one.next}`);
    assert.deepEqual([...ids(one.accounts), ...ids(two.accounts)], ids(made.filter((a) => a.connection === 'acme')));
    assert.equal(two.next, undefined);
  });
  await t.test('filters that are refused', async (t) => {
    const many = Array.from({ length: 21 }, (_, i) => `c${i}`);
    const json = (v) => `connection=${encodeURIComponent(JSON.stringify(v))}`;
    for (const [name, q] of [['21', many.map((c) => `connection=${c}`).join('&')], ['21 in JSON', json(many)], ['a long one', `connection=${long(129)}`], ['a long one in JSON', json([long(129)])],
      ['none in JSON', json([])], ['a number in JSON', json([1])], ['a list in a list', json([['acme']])], ['half of JSON', `connection=${encodeURIComponent('["acme"')}`]])
      await t.test(name, async () => {
        const r = await s.get(`${ACCOUNTS}?${q}`);
        isProblem(r, 400, 'A0E-400-0003');
        assert.ok(pointers(r).every((p) => p.startsWith('/connection')), r.text);
      });
  });
  await t.test('a deleted account does not hide the ones after it', async () => {
    const { next } = await get('?take=2');
    await s.want(204, 'DELETE', accountPath(made[1].id));
    assert.deepEqual(ids((await get(`?take=20&from=${next}`)).accounts), ids(made).slice(2));
  });
  await t.test('extra parameters are left alone', async () => assert.equal((await get('?auth0Client=x')).accounts.length, 4));
  await t.test('nobody sees another one\'s', async () => assert.deepEqual(await accounts(member(d)), []));
});

test('the list of connections', async (t) => {
  const get = async (q = '', s = member(d)) => (await s.want(200, 'GET', `${CONNECTIONS}${q}`)).json;
  const names = (l) => l.map((c) => c.name);
  const mine = ['acme', 'acme+&~1', 'acme-brief', 'acme-jwt', 'acme-post', 'acme-public', 'acme-revoking', 'other'];
  await t.test('those this client may use, by name', async () => {
    const { connections, next } = await get();
    assert.deepEqual(names(connections), mine);
    assert.equal(next, undefined);
    assert.deepEqual(connections[0], { name: 'acme', strategy: 'oidc', scopes: connections[0].scopes });
    assert.deepEqual([...connections[0].scopes].sort(), OPENID);
  });
  await t.test('of another client', async () => assert.deepEqual(names((await get('', member(d, { azp: 'native' }))).connections), [...mine.slice(0, -1), 'native-only', 'other']));
  await t.test('in pages', async () => {
    const s = member(d);
    for (const name of ['from', 'next']) {
      const seen = [];
      for (let r = await get('?take=3', s); ; r = await get(`?take=3&${name}=${r.next}`, s)) {
        seen.push(...names(r.connections));
        if (!r.next) break;
      }
      assert.deepEqual(seen, mine);
    }
  });
  await t.test('refusals', async () => {
    for (const v of ['0', '21', 'x']) invalid(await member(d).get(`${CONNECTIONS}?take=${v}`), '/take');
    invalid(await member(d).get(`${CONNECTIONS}?from=x`), '/from');
  });
});

test('an account of an organization shows it', async () => {
  const s = member(d, { org_id: 'org_0123456789abcdef' });
  const j = await travelled(s);
  lost(await j.complete({}, member(d, { user: s.user })));
  const next = await travelled(s);
  assert.equal((await next.complete()).status, 201);
  assert.deepEqual((await accounts(s)).map((a) => a.org_id), ['org_0123456789abcdef']);
});

/* --- deletion --- */

test('deletion', async (t) => {
  const s = member(d);
  const a = await connect(s, {}, { user: 'gone' });
  const b = await connect(s, {}, { user: 'kept' });
  await t.test('another user\'s is not there', async () => {
    isProblem(await member(d).del(accountPath(a.id)), 404, 'A0E-404-0002');
    assert.equal((await accounts(s)).length, 2);
  });
  await t.test('204, then 404', async () => {
    const r = await s.del(accountPath(a.id), { headers: { 'content-type': 'application/json' } });
    assert.equal(r.status, 204, r.text);
    assert.deepEqual(await accounts(s), [b]);
    isProblem(await s.del(accountPath(a.id)), 404, 'A0E-404-0002');
  });
  await t.test('ids of another form are 400', async () => {
    for (const id of ['x', 'cac_', 'cac_é', 'cac_a-b', 'CAC_abc', `${b.id}!`, 'totp|dev_aaaaaaaaaaaaaaaa', `cac_${'a'.repeat(300)}`])
      assert.ok((await s.del(accountPath(id))).status === (/^cac_[A-Za-z0-9]+$/.test(id) ? 404 : 400), id);
    isProblem(await s.del(accountPath('cac_0000000000000000000000')), 404, 'A0E-404-0002');
  });
  await t.test('the provider is not told', () => assert.equal(acme.count('revocation'), 0));
  await t.test('unless the connection says so', async () => {
    const r = await connect(s, { connection: 'acme-revoking' });
    const { refresh_token } = acme.issued.at(-1);
    await s.want(204, 'DELETE', accountPath(r.id));
    assert.ok(acme.count('revocation') >= 1);
    const tokens = acme.requests.filter((q) => q.kind === 'revocation').map((q) => [q.body.get('token'), q.body.get('token_type_hint')]);
    assert.ok(tokens.some(([token, hint]) => token === refresh_token && hint === 'refresh_token'), 'the refresh token');
    assert.match(acme.last('revocation').headers.authorization, /^Basic /);
  });
  await t.test('which it may fail to hear', async () => {
    acme.answer('revocation', { status: 503, body: {} });
    const r = await connect(s, { connection: 'acme-revoking' });
    await s.want(204, 'DELETE', accountPath(r.id));
    acme.calm();
    assert.deepEqual(await accounts(s), [b]);
  });
  await t.test('a deleted one can be connected again, as a new one', async () => {
    const again = await connect(s, {}, { user: 'gone' });
    assert.notEqual(again.id, a.id);
  });
});

/* --- traces --- */

test('the audit trail', async (t) => {
  const rows = (s) => d.audit(s.user).map((l) => JSON.parse(l)).filter((r) => r.type.startsWith('connected_accounts_'));
  const types = (s) => rows(s).map((r) => r.type);
  await t.test('of an account that comes and goes', async () => {
    const s = member(d);
    const a = await connect(s);
    await s.want(204, 'DELETE', accountPath(a.id));
    assert.deepEqual(types(s).sort(), ['connected_accounts_connection_succeeded', 'connected_accounts_delete_succeeded']);
    const row = rows(s).find((r) => r.type.endsWith('connection_succeeded'));
    assert.deepEqual(row.details.connected_account, { id: a.id, idp_user_id: s.user.split('|')[1] });
    assert.equal(row.client_id, 'spa');
  });
  await t.test('of a user who says no', async () => {
    const s = member(d);
    const j = await Journey.begin(s);
    await j.travel({ deny: 'consent' });
    assert.deepEqual(types(s), ['connected_accounts_connection_failed']);
    assert.match(JSON.stringify(rows(s)[0]), /access_denied/);
  });
  await t.test('of a complete that is refused', async () => {
    const s = member(d);
    const j = await travelled(s);
    await j.complete({ connect_code: random() });
    assert.deepEqual(types(s), ['connected_accounts_connection_failed']);
  });
  await t.test('of a deletion that is refused', async () => {
    const s = member(d);
    await s.del(accountPath('cac_0000000000000000000000'));
    assert.deepEqual(types(s), ['connected_accounts_delete_failed']);
  });
});

test('an export names the connections without their secrets', () => {
  const out = d.ok('export');
  const c = JSON.parse(out).connections.find((x) => x.name === 'acme');
  assert.equal(c.options.client_id, 'basic');
  assert.equal('client_secret' in c.options, false);
  for (const [value, kind] of d.secrets.known) if (value.length > 12) assert.ok(!out.includes(value), `${kind} in the export`);
});

test('a user who is deleted takes the accounts along', async () => {
  const s = member(d);
  const a = await connect(s, {}, { user: 'heirloom' });
  d.ok('user', 'delete', s.user);
  const heir = member(d);
  const b = await connect(heir, {}, { user: 'heirloom' });
  assert.notEqual(b.id, a.id);
  assert.deepEqual(await accounts(heir), [b]);
});

/* SPDX-License-Identifier: Apache-2.0
 * Connected accounts at providers that are slow, down, wrong or peculiar. */
import crypto from 'node:crypto';
import { assert, test, before, after, FACTORS, Key, eventually, isProblem } from './lib/kit.mjs';
import { Journey, accounts, connect, connectDaemon, connectSoon, connection, isErrorRedirect, member, random, stopAll, travelled } from './lib/connect.mjs';
import { OAuthUpstream, Upstream } from './lib/upstream.mjs';

const OWN = ['server_error', 'temporarily_unavailable', 'access_denied'];
let d;
let acme;
let slow;
let plain;
let github;
let slack;
before(async () => {
  acme = await Upstream.start();
  slow = await Upstream.start();
  plain = await OAuthUpstream.start('plain');
  github = await OAuthUpstream.start('github');
  slack = await OAuthUpstream.start('slack');
  d = await connectDaemon({ upstreams: [acme, slow, plain, github, slack], connections: [
    connection('acme', acme.options('basic')), connection('slow', slow.options('post')),
    connection('plain', plain.options({ scopes: ['read', 'write', 'offline_access'], user_id_field: 'data.user.uid' }), { strategy: 'oauth2' }),
    connection('plain-post', plain.options({ scopes: ['read'], user_id_field: 'data.user.uid' }), { strategy: 'oauth2', token_endpoint_auth_method: 'client_secret_post', pkce: false }),
    connection('plain-commas', plain.options({ scopes: ['read', 'write'], user_id_field: 'data.user.uid', scope_separator: ',', authorization_params: 'access_type=offline&team=a%26b' }), { strategy: 'oauth2' }),
    connection('plain-nobody', plain.options({ scopes: ['read'], user_id_field: 'data.nobody' }), { strategy: 'oauth2' }),
    connection('gh', github.options({ scopes: ['repo', 'gist'] }), { strategy: 'github' }),
    connection('gh-preset', github.options({ scopes: ['repo'] }), { strategy: 'oauth2', preset: 'github' }),
    connection('chat', slack.options({ scopes: ['identify', 'chat:write'] }), { strategy: 'slack' }),
  ] });
});
after(() => stopAll(d, acme, slow, plain, github, slack));

/* A journey to the provider's answer, where it fails: nothing is stored, and the code of the client is none. */
async function fails(name = 'acme', error = OWN) {
  const s = member(d);
  const j = await Journey.begin(s, { connection: name });
  isErrorRedirect(await j.travel(), error);
  isProblem(await j.complete({ connect_code: random() }), 404, 'A0E-404-0001');
  assert.deepEqual(await accounts(s), []);
  return j;
}
const works = async (name = 'acme') => connect(member(d), { connection: name });

/* --- answers of the token endpoint --- */

test('answers of the token endpoint that cannot be used', async (t) => {
  const good = { access_token: random(), token_type: 'Bearer', expires_in: 3600, refresh_token: random() };
  for (const [name, answer] of [['an error with status 200', { body: { error: 'invalid_grant', error_description: 'The code is no good' } }], ['ok: false with status 200', { body: { ok: false, error: 'invalid_code' } }],
    ['an error with status 400', { status: 400, body: { error: 'invalid_grant' } }], ['401', { status: 401, body: { error: 'invalid_client' } }], ['500 without a body', { status: 500 }],
    ['503 with a page', { status: 503, type: 'text/html', body: '<h1>Sorry</h1>' }], ['a page with status 200', { type: 'text/html', body: '<html>Welcome</html>' }], ['nothing', { body: '' }],
    ['half of it', { body: '{"access_token":"abc", "token_ty' }], ['a list', { body: '[]' }], ['null', { body: 'null' }], ['no access token', { body: { ...good, access_token: undefined } }],
    ['an empty access token', { body: { ...good, access_token: '' } }], ['a number as access token', { body: { ...good, access_token: 5 } }], ['an access token with a line break', { body: { ...good, access_token: 'a\r\nb' } }],
    ['an access token of 1 MB', { body: { ...good, access_token: 'x'.repeat(1 << 20) } }], ['100 MB', { body: Buffer.alloc(100 << 20, ' ') }], ['bytes', { body: Buffer.from([0xff, 0xfe, 0, 0x80]) }],
    ['deep nesting', { body: '['.repeat(20000) }], ['an id_token that is none', { body: { ...good, id_token: 'x.y' } }], ['a success with status 302', { status: 302, body: good }], ['an error that is no code', { status: 400, body: { error: '<script>\r\nx' } }]])
    await t.test(name, async () => {
      acme.answer('token', answer);
      try { await fails(); } finally { acme.calm(); }
    });
  await t.test('and then all is well', () => works());
});

test('a refusal is told apart from an outage', async () => {
  acme.answer('token', { status: 503, body: '' });
  await fails('acme', 'temporarily_unavailable');
  acme.calm();
});

/* --- id_tokens --- */

test('id_tokens that are not good', async (t) => {
  const foreign = new Key('RS256');
  const hs = (secret) => ({ alg: 'HS256', sign: (input) => crypto.createHmac('sha256', secret).update(input).digest() });
  const now = () => Math.floor(d.now() / 1000);
  for (const [name, set] of [['another issuer', { claims: (c) => ({ ...c, iss: 'https://evil.example' }) }], ['an issuer with a slash more', { claims: (c) => ({ ...c, iss: `${c.iss}/` }) }], ['no issuer', { claims: ({ iss, ...c }) => c }],
    ['another audience', { claims: (c) => ({ ...c, aud: 'somebody' }) }], ['audiences without ours', { claims: (c) => ({ ...c, aud: ['a', 'b'] }) }], ['no audience', { claims: ({ aud, ...c }) => c }],
    ['another authorized party', { claims: (c) => ({ ...c, aud: ['basic', 'b'], azp: 'b' }) }], ['another nonce', { claims: (c) => ({ ...c, nonce: random() }) }], ['no nonce', { claims: ({ nonce, ...c }) => c }],
    ['expired', { claims: (c) => ({ ...c, iat: now() - 7200, exp: now() - 120 }) }], ['no expiry', { claims: ({ exp, ...c }) => c }], ['expiry as text', { claims: (c) => ({ ...c, exp: String(c.exp) }) }],
    ['no subject', { claims: ({ sub, ...c }) => c }], ['an empty subject', { claims: (c) => ({ ...c, sub: '' }) }], ['a long subject', { claims: (c) => ({ ...c, sub: 'x'.repeat(256) }) }],
    ['a subject with a control character', { claims: (c) => ({ ...c, sub: 'a\u0000b' }) }], ['the hash of another access token', { claims: (c) => ({ ...c, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }) }],
    ['somebody else\'s signature', { signer: { key: foreign } }], ['a key nobody published', { signer: { key: foreign, header: { kid: 'nobody' } } }],
    ['no signature', { signer: { key: { alg: 'none', sign: () => Buffer.alloc(0) } } }], ['our secret as key', { signer: { key: hs('basic secret+/:%&=~ of the client') } }],
    ['the public key as secret', { signer: { key: hs(acme.key.publicKey.export({ format: 'pem', type: 'spki' })) } }], ['a key in the header', { signer: { key: foreign, header: { kid: undefined, jwk: foreign.jwk() } } }],
    ['an extension it insists on', { signer: { header: { crit: ['x'], x: 1 } } }]])
    await t.test(name, async () => {
      Object.assign(acme, set);
      try { await fails(); } finally { acme.calm(); }
    });
  for (const [name, claims] of [['several audiences with ours', (c) => ({ ...c, aud: ['b', 'basic'], azp: 'basic' })], ['no at_hash', ({ at_hash, ...c }) => c], ['claims nobody knows', (c) => ({ ...c, 'https://x/': { y: [1] } })],
    ['the longest subject', (c) => ({ ...c, sub: 'y'.repeat(255) })]])
    await t.test(`good: ${name}`, async () => {
      acme.claims = claims;
      try { await works(); } finally { acme.calm(); }
    });
});

test('keys', async (t) => {
  const turning = await Upstream.start();
  const local = await connectDaemon({ upstreams: [turning], connections: [connection('turning', turning.options('basic'))] });
  t.after(() => stopAll(local, turning));
  const s = member(local);
  const go = () => connect(s, { connection: 'turning' });
  const stays = async () => isErrorRedirect(await (await Journey.begin(s, { connection: 'turning' })).travel(), OWN);
  await go();
  await t.test('are fetched once for many accounts', async () => {
    turning.forget();
    for (let i = 0; i < 3; i++) await go();
    assert.equal(turning.count('jwks') + turning.count('discovery'), 0);
  });
  await t.test('may rotate', async () => {
    turning.rotateKeys();
    await go();
    assert.equal(turning.count('jwks'), 1);
  });
  await t.test('a stranger\'s kid does not hammer the provider', async () => {
    const foreign = new Key('RS256');
    turning.forget();
    for (let i = 0; i < 6; i++) {
      turning.signer = { key: foreign, header: { kid: `k${i}` } };
      await stays();
    }
    turning.calm();
    assert.ok(turning.count('jwks') <= 1, `${turning.count('jwks')} fetches of the keys`);
    await go();
  });
  await t.test('that cannot be had are had later', async () => {
    turning.rotateKeys();
    turning.answer('jwks', { status: 500, body: '' });
    await stays();
    turning.answer('jwks', { body: '<html>' });
    await stays();
    turning.calm();
    await connectSoon(s, { connection: 'turning' });
  });
});

test('an old key is good no more', async (t) => {
  const turning = await Upstream.start();
  const local = await connectDaemon({ upstreams: [turning], connections: [connection('turning', turning.options('basic'))] });
  t.after(() => stopAll(local, turning));
  const s = member(local);
  await connect(s, { connection: 'turning' });
  const old = turning.key;
  turning.rotateKeys();
  await connect(s, { connection: 'turning' });
  turning.signer = { key: old, header: { kid: old.kid } };
  isErrorRedirect(await (await Journey.begin(s, { connection: 'turning' })).travel(), OWN);
});

/* --- down and slow --- */

test('a provider that is down', async (t) => {
  const fresh = await Upstream.start();
  const local = await connectDaemon({ upstreams: [fresh], connections: [connection('fresh', fresh.options('basic'))] });
  t.after(() => stopAll(local, fresh));
  await t.test('before its discovery document was ever had', async () => {
    await fresh.down();
    const j = await Journey.begin(member(local), { connection: 'fresh' });
    isErrorRedirect(new URL((await j.browser.fetch(j.ticketUrl)).location), 'temporarily_unavailable');
    await fresh.up();
  });
  await t.test('works when it is up', async () => { await connectSoon(member(local), { connection: 'fresh' }); });
  await t.test('at the exchange', async () => {
    const j = await Journey.begin(member(local), { connection: 'fresh' });
    await j.leave();
    await j.provide();
    await fresh.down();
    isErrorRedirect(await j.back(), 'temporarily_unavailable');
    await fresh.up();
  });
});

test('a provider that is slow holds up nobody else', async (t) => {
  await works('slow');
  const journeys = await Promise.all(Array.from({ length: 10 }, () => Journey.begin(member(d), { connection: 'slow' })));
  for (const j of journeys) {
    await j.leave();
    await j.provide();
  }
  const hold = slow.hold('token');
  const returning = journeys.map((j) => j.back());
  await eventually(() => hold.waiting > 0, 'an exchange with the slow provider');
  const s = member(d);
  await t.test('the API answers', async () => {
    for (let i = 0; i < 5; i++) await s.want(200, 'GET', FACTORS);
    assert.deepEqual(await accounts(s), []);
    await s.enrol({ type: 'totp' });
  });
  await t.test('users of another provider get through', async () => {
    assert.equal((await works('acme')).connection, 'acme');
    assert.equal((await works('plain')).connection, 'plain');
  });
  await t.test('not one exchange with it has ended meanwhile', () => {
    assert.ok(hold.waiting > 0);
    assert.equal(journeys.filter((j) => j.landed).length, 0);
  });
  await t.test('and they all end well when it wakes up', async () => {
    hold.release();
    await Promise.all(returning);
    for (const j of journeys) assert.equal((await j.complete()).status, 201, String(j.landed));
  });
});

test('discovery that is slow holds up nobody else', async (t) => {
  const fresh = await Upstream.start();
  const local = await connectDaemon({ upstreams: [fresh, acme], connections: [connection('fresh', fresh.options('basic')), connection('acme', acme.options('basic'))] });
  t.after(() => stopAll(local, fresh));
  const hold = fresh.hold('discovery');
  const journeys = await Promise.all(Array.from({ length: 10 }, () => Journey.begin(member(local), { connection: 'fresh' })));
  const leaving = journeys.map((j) => j.leave());
  await eventually(() => hold.waiting > 0, 'the call');
  const s = member(local);
  await s.want(200, 'GET', FACTORS);
  assert.ok((await connect(s, { connection: 'acme' })).id);
  hold.release();
  for (const to of await Promise.all(leaving)) assert.ok(to.startsWith(`${fresh.issuer}/auth?`), to);
  assert.equal(fresh.count('discovery'), 1, 'one call for all');
});

test('a provider that never answers', async () => {
  const hold = slow.hold('token');
  const j = await Journey.begin(member(d), { connection: 'slow' });
  isErrorRedirect(await j.travel(), 'temporarily_unavailable');
  hold.release();
  isProblem(await j.complete({ connect_code: random() }), 404, 'A0E-404-0001');
});

/* --- plain OAuth 2.0 --- */

test('plain OAuth 2.0', async (t) => {
  await t.test('the user comes from userinfo', async () => {
    plain.forget();
    const s = member(d);
    const a = await connect(s, { connection: 'plain' });
    assert.deepEqual(a.scopes.filter((x) => x !== 'offline_access'), ['read', 'write']);
    assert.equal(plain.count('userinfo'), 1);
    assert.match(plain.last('userinfo').headers.authorization, /^Bearer at-/);
    assert.match(plain.last('token').headers.authorization, /^Basic /);
    assert.ok(plain.last('token').body.has('code_verifier'));
    assert.equal(plain.last('authorization').query.has('nonce'), false);
    assert.deepEqual((await connect(s, { connection: 'plain' })).id, a.id);
  });
  await t.test('the secret in the body, without PKCE, without refresh tokens for who has not asked', async () => {
    const j = await travelled(member(d), { connection: 'plain-post' });
    const { body, headers } = plain.last('token');
    assert.equal(body.get('client_secret'), plain.client_secret);
    assert.equal(headers.authorization, undefined);
    assert.equal(body.has('code_verifier'), false);
    assert.equal(j.authorization.searchParams.has('code_challenge'), false);
    assert.equal((await j.complete()).status, 201);
  });
  await t.test('scopes joined by commas, and parameters of its own', async () => {
    const j = await Journey.begin(member(d), { connection: 'plain-commas' });
    await j.leave();
    const q = j.authorization.searchParams;
    assert.deepEqual([q.get('scope').split(',').sort(), q.get('access_type'), q.get('team')], [['read', 'write'], 'offline', 'a&b']);
  });
  await t.test('nobody where the user should be', () => fails('plain-nobody'));
  for (const [name, answer] of [['500', { status: 500 }], ['a page', { type: 'text/html', body: '<p>' }], ['a list', { body: [] }], ['an object as id', { body: { data: { user: { uid: {} } } } }],
    ['null as id', { body: { data: { user: { uid: null } } } }], ['an empty id', { body: { data: { user: { uid: '' } } } }], ['a fraction as id', { body: { data: { user: { uid: 1.5 } } } }], ['a long id', { body: { data: { user: { uid: 'x'.repeat(256) } } } }],
    ['401', { status: 401, body: { data: { user: { uid: 'x' } } } }], ['200 KB', { body: { data: { user: { uid: 'x' } }, more: 'x'.repeat(200000) } }]])
    await t.test(`userinfo: ${name}`, async () => {
      plain.answer('userinfo', answer);
      try { await fails('plain'); } finally { plain.calm(); }
    });
});

test('GitHub and its like', async (t) => {
  await t.test('tokens that stay, numbers as ids', async () => {
    github.forget();
    const s = member(d);
    const a = await connect(s, { connection: 'gh' });
    assert.deepEqual(a, { id: a.id, connection: 'gh', access_type: 'offline', scopes: ['gist', 'repo'], created_at: a.created_at });
    assert.deepEqual(github.last('authorization').query.get('scope').split(' ').sort(), ['gist', 'repo']);
    assert.match(github.last('token').headers.accept, /application\/json/);
    assert.equal(github.last('token').body.get('client_secret'), github.client_secret);
    assert.ok(github.last('userinfo').headers['user-agent']);
    assert.deepEqual(await connect(s, { connection: 'gh' }), a);
  });
  await t.test('ids larger than doubles are told apart', async () => {
    const [s, other] = [member(d), member(d)];
    await connect(s, { connection: 'gh' }, { user: 'ben' });
    github.edit.userinfo = (p) => ({ ...p, id: 9007199254740992n });
    await connect(other, { connection: 'gh' }, { user: 'somebody' }).finally(() => github.calm());
    assert.equal((await accounts(other)).length, 1);
  });
  await t.test('errors with status 200', async () => {
    const j = await Journey.begin(member(d), { connection: 'gh' });
    await j.leave();
    await j.provide();
    github.codes.clear();
    isErrorRedirect(await j.back());
    assert.deepEqual(await accounts(j.s), []);
  });
  await t.test('by preset, whatever the strategy', async () => {
    const a = await connect(member(d), { connection: 'gh-preset', scopes: ['user:email'] });
    assert.deepEqual(a.scopes, ['user:email']);
  });
  await t.test('the user says no', async () => {
    const j = await Journey.begin(member(d), { connection: 'gh' });
    isErrorRedirect(await j.travel({ deny: 'login' }), 'access_denied');
  });
});

test('Slack and its like', async (t) => {
  await t.test('the user\'s token is inside', async () => {
    slack.forget();
    const s = member(d);
    const a = await connect(s, { connection: 'chat' });
    const q = slack.last('authorization').query;
    assert.deepEqual(q.get('user_scope').split(',').sort(), ['chat:write', 'identify']);
    assert.ok(!q.get('scope'));
    assert.deepEqual(a, { id: a.id, connection: 'chat', access_type: 'offline', scopes: ['chat:write', 'identify'], created_at: a.created_at });
    assert.equal(slack.count('userinfo'), 0);
    assert.deepEqual(await connect(s, { connection: 'chat' }), a);
  });
  for (const [name, edit] of [['no user', ({ authed_user, ...o }) => o], ['a user without token', (o) => ({ ...o, authed_user: { id: 'U1' } })], ['only the application\'s token', (o) => ({ ...o, authed_user: { id: 'U1' }, access_token: 'xoxb-of-the-application', token_type: 'bot', scope: 'chat:write' })],
    ['a token of nobody', (o) => ({ ...o, authed_user: { access_token: 'xoxp-1' } })]])
    await t.test(name, async () => {
      slack.edit.token = edit;
      try { await fails('chat'); } finally { slack.calm(); }
    });
});

/* SPDX-License-Identifier: Apache-2.0
 * The vault: tokens of providers refreshed on demand, one at a time, and what happens when a provider refuses. */
import { assert, test, before, after, eventually } from './lib/kit.mjs';
import { ACCOUNTS, accountPath, accounts, check, connect, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { OAuthUpstream, Upstream } from './lib/upstream.mjs';

const HOUR = 3600 * 1000;
let d;
let acme;
let other;
let github;
before(async () => {
  acme = await Upstream.start();
  other = await Upstream.start();
  github = await OAuthUpstream.start('github');
  d = await connectDaemon({ upstreams: [acme, other, github], connections: [connection('acme', acme.options('basic')), connection('acme-jwt', acme.options('jwt')),
    connection('other', other.options('public')), connection('gh', github.options({ scopes: ['repo'] }), { strategy: 'github' })] });
});
after(() => stopAll(d, acme, other, github));

const refreshes = (u = acme) => u.count('token', 'refresh_token');
/* The user's tokens for the API lapse with the provider's: a new session of the same user. */
const again = (s) => member(d, { user: s.user });
async function statuses(s, id) {
  const r = await check(d, s.user, id);
  assert.equal(r.code, 0, r.err);
  for (const t of [...acme.issued, ...other.issued, ...github.issued]) for (const k of ['access_token', 'refresh_token', 'id_token']) if (t[k]) assert.ok(!r.out.includes(t[k]) && !r.err.includes(t[k]), `${k} in the answer`);
  return r.byId;
}

test('a token is fetched when it is needed', async (t) => {
  const s = member(d);
  const a = await connect(s);
  acme.forget();
  await t.test('not while it is good', async () => {
    const { rows, code } = await check(d, s.user);
    assert.equal(code, 0);
    assert.equal(rows.length, 1);
    assert.deepEqual([rows[0].id, rows[0].connection, rows[0].status], [a.id, 'acme', 'ok']);
    assert.equal(refreshes(), 0);
  });
  await t.test('but once it lapsed, and once only', async () => {
    d.advance(HOUR);
    assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
    assert.equal(refreshes(), 1);
    assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
    assert.equal(refreshes(), 1);
  });
  await t.test('with the token that replaced the one before', async () => {
    for (let i = 0; i < 3; i++) {
      d.advance(HOUR);
      assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
    }
    const used = acme.requests.filter((r) => r.kind === 'token').map((r) => r.body.get('refresh_token'));
    assert.equal(new Set(used).size, 4);
  });
  await t.test('the account looks as before', async () => assert.deepEqual(await accounts(again(s)), [a]));
  await t.test('also after a restart', async () => {
    await d.end();
    await d.run();
    d.advance(HOUR);
    assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
  });
});

test('providers that keep the refresh token', async (t) => {
  const s = member(d);
  const a = await connect(s);
  acme.rotate = false;
  t.after(() => { acme.rotate = true; });
  await t.test('and say it again', async () => {
    for (let i = 0; i < 2; i++) {
      d.advance(HOUR);
      assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
    }
  });
  await t.test('or do not', async () => {
    acme.edit.token = ({ refresh_token, ...answer }) => answer;
    for (let i = 0; i < 2; i++) {
      d.advance(HOUR);
      assert.deepEqual(await statuses(s), { [a.id]: 'ok' });
    }
    acme.calm();
  });
});

test('every account by its own means', async () => {
  const s = member(d);
  const made = [await connect(s), await connect(s, { connection: 'acme-jwt' }), await connect(s, { connection: 'other' }), await connect(s, { connection: 'gh' })];
  assert.deepEqual(await statuses(s), Object.fromEntries(made.map((a) => [a.id, 'ok'])));
  d.advance(50 * 60 * 1000);
  const before = refreshes();
  assert.deepEqual(await statuses(s, made[0].id), { [made[0].id]: 'ok' });
  assert.equal(refreshes(), before, 'it is good for a while yet');
  d.advance(HOUR);
  assert.deepEqual(await statuses(s, made[1].id), { [made[1].id]: 'ok' });
  assert.equal(refreshes(), before + 1, 'only the one asked for');
  assert.ok(acme.last('token').body.get('client_assertion'));
  assert.deepEqual(await statuses(s), Object.fromEntries(made.map((a) => [a.id, 'ok'])));
  assert.equal(refreshes(other), 1);
  assert.equal(github.count('token', 'refresh_token'), 0);
});

test('many at once are one call', async () => {
  const s = member(d);
  const a = await connect(s);
  d.advance(HOUR);
  acme.forget();
  const hold = acme.hold('token');
  const all = Array.from({ length: 6 }, () => statuses(s, a.id));
  await eventually(() => hold.waiting === 1, 'the call');
  hold.release();
  for (const r of await Promise.all(all)) assert.deepEqual(r, { [a.id]: 'ok' });
  assert.equal(refreshes(), 1);
});

test('a provider that refuses', async (t) => {
  const s = member(d);
  const mine = await connect(s, {}, { user: 'refused' });
  const second = await connect(s, {}, { user: 'not-refused' });
  const elsewhere = await connect(s, { connection: 'other' });
  const neighbour = member(d);
  const theirs = await connect(neighbour);
  const listed = await accounts(s);
  d.advance(HOUR);
  assert.ok(acme.revoke('refused') > 0);
  await t.test('makes that account need a reconnection, and no other', async () => {
    assert.deepEqual(await statuses(s), { [mine.id]: 'needs_reconnect', [second.id]: 'ok', [elsewhere.id]: 'ok' });
    assert.deepEqual(await statuses(neighbour), { [theirs.id]: 'ok' });
  });
  await t.test('is not asked again', async () => {
    const n = refreshes();
    d.advance(60 * 1000);
    assert.equal((await statuses(s))[mine.id], 'needs_reconnect');
    assert.equal(refreshes(), n);
  });
  await t.test('the account stays listed', async () => assert.deepEqual(await accounts(again(s)), listed));
  await t.test('and heals when it is connected again', async () => {
    const healed = await connect(again(s), {}, { user: 'refused' });
    assert.deepEqual(healed, mine);
    assert.equal((await statuses(s))[mine.id], 'ok');
    d.advance(HOUR);
    assert.equal((await statuses(s))[mine.id], 'ok');
  });
  await t.test('or can be deleted', async () => {
    d.advance(HOUR);
    acme.revoke('not-refused');
    assert.equal((await statuses(s))[second.id], 'needs_reconnect');
    await again(s).want(204, 'DELETE', accountPath(second.id));
    assert.equal(second.id in await statuses(s), false);
  });
  await t.test('with status 200 likewise', async () => {
    const u = member(d);
    const a = await connect(u);
    d.advance(HOUR);
    acme.answer('token', { body: { error: 'invalid_grant' } });
    assert.equal((await statuses(u))[a.id], 'needs_reconnect');
    acme.calm();
  });
});

test('a provider that cannot be reached harms no account', async (t) => {
  const s = member(d);
  const a = await connect(s);
  d.advance(HOUR);
  await t.test('down', async () => {
    await acme.down();
    assert.deepEqual(await statuses(s), { [a.id]: 'unavailable' });
    await acme.up();
  });
  for (const [name, answer] of [['500', { status: 500, body: { error: 'server_error' } }], ['503 with a page', { status: 503, type: 'text/html', body: '<h1>' }], ['429', { status: 429, body: { error: 'slow_down' } }],
    ['garbage', { body: 'not json' }], ['an empty object', { body: {} }], ['1 MB', { body: Buffer.alloc(1 << 20, 'x') }], ['temporarily_unavailable with status 200', { body: { error: 'temporarily_unavailable' } }],
    ['a wrong client secret', { status: 401, body: { error: 'invalid_client' } }]])
    await t.test(name, async () => {
      acme.answer('token', answer);
      const r = await statuses(s);
      acme.calm();
      assert.equal(r[a.id], 'unavailable');
    });
  await t.test('and it works when the provider does', async () => assert.deepEqual(await statuses(s), { [a.id]: 'ok' }));
});

test('an account that is deleted while it is refreshed stays deleted', async () => {
  const s = member(d);
  const a = await connect(s);
  d.advance(HOUR);
  const hold = acme.hold('token');
  const running = check(d, s.user, a.id);
  await eventually(() => hold.waiting === 1, 'the call');
  const session = again(s);
  await session.want(204, 'DELETE', accountPath(a.id));
  hold.release();
  const r = await running;
  assert.notEqual(r.byId[a.id], 'ok');
  assert.deepEqual(await accounts(session), []);
  assert.notEqual((await connect(session)).id, a.id);
});

test('a refresh token whose end the provider told', async () => {
  const s = member(d);
  acme.edit.token = (answer) => ({ ...answer, refresh_token_expires_in: 7200 });
  const a = await connect(s).finally(() => acme.calm());
  assert.ok(a.expires_at);
  d.advance(3 * HOUR);
  assert.equal((await statuses(s))[a.id], 'needs_reconnect');
});

test('what cannot be checked', async (t) => {
  const s = member(d);
  await t.test('nobody\'s account', async () => assert.equal((await check(d, s.user, 'cac_0000000000000000000000')).code, 1));
  await t.test('another user\'s account', async () => {
    const a = await connect(member(d));
    const r = await check(d, s.user, a.id);
    assert.equal(r.code, 1);
    assert.deepEqual(r.rows, []);
  });
  await t.test('an unknown user', async () => assert.equal((await check(d, 'auth0|nobody')).code, 1));
  await t.test('a user without accounts', async () => assert.deepEqual((await check(d, s.user)).rows, []));
});

test('tokens are nowhere in clear', async (t) => {
  await t.test('log and database', () => assert.deepEqual(d.secrets.leaks(), []));
  await t.test('an account names no token', async () => {
    const s = member(d);
    await connect(s);
    const text = (await s.get(ACCOUNTS)).text + d.audit(s.user).join('\n') + d.ok('export');
    for (const [value, kind] of d.secrets.known) if (/token/.test(kind)) assert.ok(!text.includes(value), kind);
  });
  await t.test('a backup holds none either', () => {
    d.ok('backup', `${d.dir}/backup.db`);
    assert.deepEqual(d.secrets.leaks(), []);
  });
});

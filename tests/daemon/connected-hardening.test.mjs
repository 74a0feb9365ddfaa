/* SPDX-License-Identifier: Apache-2.0
 * Connected accounts under strain: providers that hang, answer hugely, are replaced; browsers that only look. */
import { assert, test, before, after, eventually } from './lib/kit.mjs';
import { ACCOUNTS, CA, Journey, accounts, check, connect, connectDaemon, connection, isPage, member, random, stopAll, travelled } from './lib/connect.mjs';
import { Browser, OAuthUpstream, Upstream } from './lib/upstream.mjs';

const HOUR = 3600e3;
let d;
let acme;
let two;
let three;
let plain;
let moved;
const simple = (u, over = {}) => u.options({ userinfo_endpoint: `${u.origin}/user`, user_id_field: 'data.user.uid', scopes: ['x'], ...over });
before(async () => {
  [acme, two, three] = await Promise.all([Upstream.start(), Upstream.start(), Upstream.start()]);
  [plain, moved] = await Promise.all([OAuthUpstream.start('plain'), OAuthUpstream.start('plain')]);
  d = await connectDaemon({ upstreams: [acme, two, three, plain, moved], connections: [
    ...[['acme', acme], ['acme-b', acme], ['two', two], ['three', three]].map(([name, u]) => connection(name, u.options('basic'))),
    connection('plain', simple(plain, { revocation_endpoint: `${plain.origin}/revoke` }), { strategy: 'oauth2' }),
    connection('mover', simple(plain), { strategy: 'oauth2' })] });
});
after(() => stopAll(d, acme, two, three, plain, moved));

test('two providers that hang, one of them under two names, do not hold up a third', async () => {
  const ready = [];
  for (const name of ['acme', 'acme-b', 'two']) {
    for (let i = 0; i < 5; i++) {
      const j = await Journey.begin(member(d), { connection: name });
      await j.leave();
      await j.provide();
      ready.push(j);
    }
  }
  const ok = await Journey.begin(member(d), { connection: 'three' });
  const holds = [acme.hold('token'), two.hold('token')];
  let over = false;
  const all = Promise.all(ready.map((j) => j.back())).then(() => { over = true; });
  await eventually(() => holds.every((h) => h.waiting === 4) || null, 'as many as may wait');
  await ok.travel();
  assert.match(ok.code, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(over, false);
  assert.deepEqual(holds.map((h) => h.waiting), [4, 4], 'one provider is one, whatever its connections are called');
  for (const h of holds) h.release();
  await all;
});

test('HEAD uses nothing up', async () => {
  const j = await Journey.begin(member(d));
  const head = async (url) => {
    const r = await new Browser(d.base).fetch(url, { method: 'HEAD' });
    assert.equal(r.status, 204);
    assert.equal(r.headers['set-cookie'], undefined);
    assert.equal(r.location, undefined);
  };
  await head(j.ticketUrl);
  await j.leave();
  await j.provide();
  const asked = acme.count('token');
  await head(j.callback);
  assert.equal(acme.count('token'), asked);
  await j.back();
  assert.ok(j.code);
});

test('a state that could not come back is refused', async () => {
  const r = await member(d).post(`${CA}/connect`, { connection: 'acme', redirect_uri: 'http://localhost:3000/callback', state: '€'.repeat(4096) });
  assert.equal(r.status, 400);
});

test('many accounts with much said about them', async () => {
  const s = member(d);
  plain.edit.userinfo = (p) => ({ ...p, pad: 'x'.repeat(60000), deep: JSON.parse('['.repeat(15) + ']'.repeat(15)) });
  for (let i = 0; i < 24; i++) {
    const j = await travelled(s, { connection: 'plain' }, { user: `u${i}-${random(4)}` });
    assert.equal((await j.complete()).status, 201);
  }
  plain.edit.userinfo = (p) => ({ ...p, deep: JSON.parse('['.repeat(15) + ']'.repeat(15)) });
  assert.equal((await (await travelled(s, { connection: 'plain' }, { user: `deep-${random(4)}` })).complete()).status, 201);
  plain.calm();
  const list = await accounts(s, '?take=1');
  assert.equal(list.length, 1);
  const r = await check(d, s.user, list[0].id);
  assert.deepEqual([r.code, r.rows[0].status], [0, 'ok']);
});

test('an account deleted while its token is being refreshed leaves none', async () => {
  const s = member(d);
  const a = await connect(s, { connection: 'plain' }, { user: `del-${random(4)}` });
  d.advance(HOUR);
  const send = plain.send.bind(plain);
  let answer = null;
  plain.send = (req, res, status, body) => (req.seen.kind === 'token' ? (answer = () => send(req, res, status, body)) : send(req, res, status, body));
  const checked = check(d, s.user, a.id);
  await eventually(() => answer, 'the refresh');
  assert.equal((await member(d, { user: s.user }).del(`${ACCOUNTS}/${a.id}`)).status, 204);
  const told = plain.count('revocation');
  plain.send = send;
  answer();
  await checked;
  assert.equal(plain.count('revocation'), told + 1);
  assert.ok([plain.issued.at(-1).refresh_token, plain.issued.at(-1).access_token].includes(plain.last('revocation').body.get('token')));
});

test('what a refused completion leaves is revoked', async () => {
  const s = member(d);
  plain.edit.token = ({ refresh_token, ...t }) => ({ ...t, expires_in: 60 });
  const j = await travelled(s, { connection: 'plain' }, { user: `off-${random(4)}` });
  plain.calm();
  const told = plain.count('revocation');
  assert.equal((await j.complete()).status, 400);
  assert.equal(plain.count('revocation'), told + 1);
  assert.equal(plain.last('revocation').body.get('token_type_hint'), 'access_token');
});

test('a connection that comes to lead elsewhere', async () => {
  const s = member(d);
  const a = await connect(s, { connection: 'mover' }, { user: 'mo' });
  const late = await Journey.begin(s, { connection: 'mover' });
  await late.leave();
  await late.provide({ user: 'late' });
  const done = await travelled(s, { connection: 'mover' }, { user: 'done' });
  const n = moved.requests.length;
  d.apply({ connections: [connection('mover', simple(moved), { strategy: 'oauth2' })] });
  isPage(await late.browser.fetch(late.callback));
  assert.equal((await done.complete()).status, 404);
  d.advance(HOUR);
  assert.equal((await check(d, s.user, a.id)).byId[a.id], 'needs_reconnect');
  assert.equal(moved.requests.length, n, 'the other provider sees nothing');
  const other = await connect(member(d), { connection: 'mover' }, { user: 'mo' });
  assert.notEqual(other.id, a.id);
});

/* SPDX-License-Identifier: Apache-2.0
 * The token vault exchange: a provider's access token for a refresh token or an access token of this service. */
import { assert, test, before, after, client, eventually, grant, user } from './lib/kit.mjs';
import { CA_SCOPES, ACCOUNTS, accountPath, accounts, connect, connectDaemon, connection, member, stopAll } from './lib/connect.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, GRANT, Prover, isIssued, isRefused } from './lib/oauth.mjs';
import { OAuthUpstream, Upstream } from './lib/upstream.mjs';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const SECRET = 'Zq7-secret-of-the-vault-tests';
const TOOL = 'https://tool.example/api';
const OTHER_TOOL = 'https://other-tool.example/api';
const REFRESH = 'urn:ietf:params:oauth:token-type:refresh_token';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const ISSUED = 'http://auth0.com/oauth/token-type/federated-connection-access-token';
const NOT_FOUND = 'federated_connection_refresh_token_not_found';
const FAILED = 'federated_connection_refresh_token_flow_failed';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal'];
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;

let d;
let acme;
let frail;
let github;
let web;
let tool;
before(async () => {
  acme = await Upstream.start();
  frail = await Upstream.start();
  github = await OAuthUpstream.start('github');
  d = await connectDaemon({ upstreams: [acme, frail, github], connections: [connection('acme', acme.options('basic')), connection('frail', frail.options('post')),
    connection('gh', github.options({ scopes: ['repo'] }), { strategy: 'github' })] });
  const grant_types = ['password', 'refresh_token', GRANT.vault];
  const web_client = (client_id, over = {}) => client(client_id, { app_type: 'regular_web', client_secret: SECRET, grant_types, ...over });
  d.apply({
    clients: [web_client('web'), web_client('turning', { refresh_token: { rotation_type: 'rotating', leeway: 0 } }), web_client('barred', { grant_types: ['password', 'refresh_token'] }),
      web_client('brief', { refresh_token: { rotation_type: 'non-rotating', token_lifetime: 600, idle_token_lifetime: 600 } }), web_client('foreign', { is_first_party: false }),
      client('open', { app_type: 'native', grant_types }), web_client('tool', { app_type: 'resource_server', resource_server_identifier: TOOL, grant_types: [GRANT.vault] }),
      web_client('unlinked', { app_type: 'resource_server', grant_types: [GRANT.vault] })],
    client_grants: [...['web', 'open', 'turning'].map((c) => grant(d.base, c, CA_SCOPES)),
      ...[TOOL, OTHER_TOOL].map((audience) => ({ client_id: 'web', audience, subject_type: 'user', scope: ['use:tool'] }))],
    users: names.map((n) => user(id(n), { email: mail(n), password: PASSWORD })),
  });
  d.secrets.add('password', PASSWORD);
  web = new App(d, 'web', { secret: SECRET });
  tool = new App(d, 'tool', { secret: SECRET });
});
after(() => stopAll(d, acme, frail, github));

const app = (client_id) => new App(d, client_id, { secret: SECRET });
/* The application's refresh token for a user. */
const refreshToken = async (n, a = web) => isIssued(await a.password(mail(n), { scope: 'openid offline_access' })).refresh_token;
const accessToken = async (n, audience = TOOL, opts = {}) => isIssued(await web.password(mail(n), { audience, scope: 'openid use:tool' }, opts), opts.dpop ? 'DPoP' : 'Bearer').access_token;
const ask = (subject_token, over = {}, a = web, opts = {}) => a.token({ grant_type: GRANT.vault, subject_token, subject_token_type: REFRESH, requested_token_type: ISSUED, connection: 'acme', ...over }, opts);
const viaAccess = (subject_token, over = {}, a = tool, opts = {}) => ask(subject_token, { subject_token_type: ACCESS, ...over }, a, opts);
const session = (n) => member(d, { user: id(n) });
const lastIssued = (u = acme) => u.issued.at(-1).access_token;
const rows = (n, type) => d.audit(id(n)).map((l) => JSON.parse(l)).filter((r) => r.type === type);
function isToken(res, expires = true) {
  const json = isIssued(res);
  assert.deepEqual(Object.keys(json).sort(), ['access_token', ...(expires ? ['expires_in'] : []), 'issued_token_type', 'scope', 'token_type']);
  assert.equal(json.issued_token_type, ISSUED);
  assert.equal(typeof json.scope, 'string');
  return json;
}
const noSubject = (res) => isRefused(res, 401, 'invalid_grant');

test('with a refresh token', async (t) => {
  const rt = await refreshToken('ann');
  isRefused(await ask(rt), 401, NOT_FOUND);
  const a = await connect(session('ann'));
  const refreshes = () => acme.count('token', 'refresh_token');
  acme.forget();
  await t.test('the token that is stored', async () => {
    const json = isToken(await ask(rt));
    assert.equal(json.access_token, lastIssued());
    assert.ok(json.expires_in > 3000 && json.expires_in <= 3600, `${json.expires_in}`);
    assert.deepEqual(json.scope.split(' ').sort(), [...a.scopes].sort());
    assert.equal(refreshes(), 0);
  });
  await t.test('in JSON, and without what may be left out', async () => {
    assert.equal(isToken(await ask(rt, {}, web, { json: true })).access_token, lastIssued());
    assert.equal(isToken(await ask(rt, { requested_token_type: undefined })).access_token, lastIssued());
  });
  await t.test('its life shrinks', async () => {
    d.advance(600 * SECOND);
    const { expires_in } = isToken(await ask(rt));
    assert.ok(expires_in <= 3000 && expires_in > 2900, `${expires_in}`);
    assert.equal(refreshes(), 0);
  });
  await t.test('a new one once it lapsed, one for all who ask', async () => {
    d.advance(HOUR);
    const before = lastIssued();
    const many = await Promise.all(Array.from({ length: 6 }, () => ask(rt)));
    const tokens = new Set(many.map((r) => isToken(r).access_token));
    assert.deepEqual([...tokens], [lastIssued()]);
    assert.notEqual(lastIssued(), before);
    assert.equal(refreshes(), 1);
  });
  await t.test('the refresh token is what it was', async () => {
    assert.equal(isIssued(await web.refresh(rt)).refresh_token, rt);
    isToken(await ask(rt));
  });
  await t.test('rows', () => {
    const [ok] = rows('ann', 'seta');
    assert.ok(ok, 'a row for success');
    const text = JSON.stringify(ok);
    assert.match(text, /acme/);
    assert.doesNotMatch(text, new RegExp(rt.replaceAll('.', '\\.')));
    assert.equal(rows('ann', 'feta').length, 1);
    assert.match(JSON.stringify(rows('ann', 'feta')[0]), /tokenset_not_found/);
  });
});

test('subjects that are no good', async (t) => {
  await connect(session('ben'));
  const rt = await refreshToken('ben');
  await t.test('nonsense', async () => {
    for (const bad of ['x', `${rt}x`, rt.slice(0, -1), rt.replace(/\.1\./, '.2.'), 'v1...']) noSubject(await ask(bad));
  });
  await t.test('of another client', async () => {
    noSubject(await ask(rt, {}, app('turning')));
    noSubject(await ask(await refreshToken('ben', new App(d, 'open'))));
  });
  await t.test('one that has a successor', async () => {
    const turning = app('turning');
    const first = await refreshToken('ben', turning);
    isToken(await ask(first, {}, turning));
    const next = isIssued(await turning.refresh(first)).refresh_token;
    noSubject(await ask(first, {}, turning));
    isToken(await ask(next, {}, turning));
  });
  await t.test('lapsed', async () => {
    const brief = app('brief');
    const short = await refreshToken('ben', brief);
    isToken(await ask(short, {}, brief));
    d.advance(601 * SECOND);
    noSubject(await ask(short, {}, brief));
  });
  await t.test('of the other type, or of none', async () => {
    noSubject(await ask(await accessToken('ben')));
    noSubject(await viaAccess(rt));
    for (const subject_token_type of [undefined, 'x', 'urn:ietf:params:oauth:token-type:jwt']) isRefused(await ask(rt, { subject_token_type }), 400, 'invalid_request');
  });
  await t.test('of a user who is blocked', async () => {
    d.apply({ users: [{ user_id: id('ben'), blocked: true }] });
    noSubject(await ask(rt));
    d.apply({ users: [{ user_id: id('ben'), blocked: false }] });
    isToken(await ask(rt));
  });
  await t.test('revoked', async () => {
    assert.equal((await web.send('/oauth/revoke', { token: rt })).status, 200);
    noSubject(await ask(rt));
  });
});

test('with an access token', async (t) => {
  await connect(session('cid'));
  const at = await accessToken('cid');
  await t.test('of the application\'s own API', async () => {
    assert.equal(isToken(await viaAccess(at)).access_token, lastIssued());
    assert.equal(isToken(await viaAccess(at, {}, tool, { json: true })).access_token, lastIssued());
  });
  await t.test('of another API', async () => {
    noSubject(await viaAccess(await accessToken('cid', OTHER_TOOL)));
    noSubject(await viaAccess(isIssued(await web.password(mail('cid'), { audience: `${d.base}/me/`, scope: 'read:me:connected_accounts' })).access_token));
    noSubject(await viaAccess(isIssued(await web.password(mail('cid'), { scope: 'openid' })).access_token));
  });
  await t.test('not an access token, or not ours', async () => {
    noSubject(await viaAccess(isIssued(await web.password(mail('cid'), { scope: 'openid' })).id_token));
    noSubject(await viaAccess(d.idp.token(id('cid'), { aud: TOOL })));
    noSubject(await viaAccess(`${at.slice(0, -4)}AAAA`));
    noSubject(await viaAccess('x'));
  });
  await t.test('bound to a key that nobody shows', async () => {
    noSubject(await viaAccess(await accessToken('cid', TOOL, { dpop: new Prover(d) })));
  });
  await t.test('by an application that is not that API', async () => {
    isRefused(await viaAccess(at, {}, app('unlinked')), 403, 'unauthorized_client');
    isRefused(await viaAccess(at, {}, web), 403, 'unauthorized_client');
  });
  await t.test('lapsed, or its user gone', async () => {
    const old = await accessToken('cid');
    d.advance(86400 * SECOND + 120 * SECOND);
    noSubject(await viaAccess(old));
    const of = await accessToken('hal');
    d.ok('user', 'delete', id('hal'));
    noSubject(await viaAccess(of));
  });
});

test('who may', async (t) => {
  await connect(session('dee'));
  const rt = await refreshToken('dee');
  await t.test('no public client', async () => {
    const open = new App(d, 'open');
    isRefused(await ask(await refreshToken('dee', open), {}, open), 403, 'unauthorized_client');
  });
  await t.test('no third party', async () => isRefused(await ask('x', {}, app('foreign')), 403, 'unauthorized_client'));
  await t.test('none without the grant', async () => isRefused(await ask('x', {}, app('barred')), 403, 'unauthorized_client'));
  await t.test('none with a wrong secret', async () => {
    isRefused(await ask(rt, { client_secret: 'x' }), 401, 'invalid_client');
    isRefused(await ask(rt, { client_secret: undefined }), 401, 'invalid_client');
  });
  await t.test('parameters', async () => {
    isRefused(await ask(undefined), 400, 'invalid_request', 'Missing required parameter: subject_token');
    isRefused(await ask(rt, { connection: undefined }), 400, 'invalid_request', 'Missing required parameter: connection');
    isRefused(await ask(rt, { requested_token_type: ACCESS }), 400, 'invalid_request');
    isRefused(await ask(rt, { connection: 'nowhere' }), 401, NOT_FOUND);
    isRefused(await ask(rt, { connection: 'gh' }), 401, NOT_FOUND);
  });
  await t.test('a connection that is for others', async () => {
    const only = (...enabled_clients) => d.apply({ connections: [{ name: 'acme', enabled_clients }] });
    only('spa', 'tool');
    isRefused(await ask(rt), 403, 'unauthorized_client', 'The connection is not enabled for this client.');
    only('spa', 'native', 'web', 'tool');
    isToken(await ask(rt));
  });
  await t.test('a connection that connects no accounts', async () => {
    const active = (v) => d.apply({ connections: [{ name: 'acme', connected_accounts: { active: v } }] });
    active(false);
    isRefused(await ask(rt), 403, 'unauthorized_client');
    active(true);
    isToken(await ask(rt));
    isRefused(await ask(rt, { connection: 'Username-Password-Authentication' }), 403, 'unauthorized_client');
  });
  await t.test('the policies of a login are no matter of it', async () => {
    d.apply({ api: { default_policy: { require_2fa: true } }, tenant: { mfa_policy: 'always' } });
    d.advance(HOUR);
    isToken(await ask(rt));
    d.apply({ api: { default_policy: { require_2fa: false } }, tenant: { mfa_policy: 'never' } });
  });
});

test('which of several', async (t) => {
  const s = session('eve');
  acme.claims = (c) => ({ ...c, email: `${c.sub}@upstream.example` });
  const first = await connect(s, {}, { user: 'eve-one' });
  const ofFirst = lastIssued();
  d.advance(SECOND);
  const second = await connect(session('eve'), {}, { user: 'eve-two' });
  const ofSecond = lastIssued();
  const rt = await refreshToken('eve');
  const given = async (login_hint) => isToken(await ask(rt, { login_hint })).access_token;
  assert.equal((await accounts(session('eve'))).length, 2);
  await t.test('the newest', async () => assert.equal(await given(undefined), ofSecond));
  await t.test('by subject', async () => {
    assert.equal(await given('eve-one'), ofFirst);
    assert.equal(await given('eve-two'), ofSecond);
  });
  await t.test('by e-mail', async () => {
    assert.equal(await given('eve-one@upstream.example'), ofFirst);
    assert.equal(await given('Eve-Two@Upstream.example'), ofSecond);
  });
  await t.test('by id', async () => {
    assert.equal(await given(first.id), ofFirst);
    assert.equal(await given(second.id), ofSecond);
  });
  await t.test('none of them', async () => {
    for (const login_hint of ['cid', 'cid@upstream.example', 'cac_AAAAAAAAAAAAAAAAAAAAAA', mail('eve')]) isRefused(await ask(rt, { login_hint }), 401, NOT_FOUND);
  });
  await t.test('not that of another user', async () => {
    const [mine] = await accounts(session('dee'));
    isRefused(await ask(rt, { login_hint: mine.id }), 401, NOT_FOUND);
  });
  await t.test('not one that was deleted', async () => {
    await session('eve').want(204, 'DELETE', accountPath(second.id));
    assert.equal(await given(undefined), ofFirst);
    isRefused(await ask(rt, { login_hint: 'eve-two' }), 401, NOT_FOUND);
  });
});

test('a provider whose tokens do not lapse', async () => {
  await connect(session('fay'), { connection: 'gh', scopes: ['repo'] });
  const json = isToken(await ask(await refreshToken('fay'), { connection: 'gh' }), false);
  assert.equal(json.access_token, lastIssued(github));
  assert.equal(json.scope, 'repo');
});

test('a provider that refuses', async (t) => {
  await connect(session('gus'), {}, { user: 'gus-acme' });
  const a = await connect(session('gus'), { connection: 'frail' });
  const rt = await refreshToken('gus');
  frail.revoke();
  d.advance(2 * HOUR);
  isRefused(await ask(rt, { connection: 'frail' }), 401, FAILED, /^Refresh Token flow for the Federated Connection failed/);
  await t.test('is asked once', async () => {
    const n = frail.count('token', 'refresh_token');
    isRefused(await ask(rt, { connection: 'frail' }), 401, FAILED);
    assert.equal(frail.count('token', 'refresh_token'), n);
  });
  await t.test('the account is still listed, the other still works', async () => {
    assert.ok((await session('gus').want(200, 'GET', ACCOUNTS)).json.accounts.some((x) => x.id === a.id));
    isToken(await ask(rt));
  });
  await t.test('and after connecting again it works too', async () => {
    await connect(session('gus'), { connection: 'frail' });
    assert.equal(isToken(await ask(rt, { connection: 'frail' })).access_token, lastIssued(frail));
  });
  await t.test('rows', () => assert.match(JSON.stringify(rows('gus', 'feta')), /refresh_refused/));
});

test('a provider that is away', async () => {
  const rt = await refreshToken('gus');
  d.advance(2 * HOUR);
  await frail.down();
  const res = await ask(rt, { connection: 'frail' });
  isRefused(res, 503, 'temporarily_unavailable');
  assert.match(res.headers['retry-after'], /^[1-9]\d*$/);
  isToken(await ask(rt));
  await frail.up();
  const back = await eventually(async () => {
    const r = await ask(rt, { connection: 'frail' });
    return r.status === 200 ? r : null;
  }, 'a token', 45000);
  assert.equal(isToken(back).access_token, lastIssued(frail));
});

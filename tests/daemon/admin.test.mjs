/* SPDX-License-Identifier: Apache-2.0
 * myaccountctl: every command, with the daemon up and down. */
import fs from 'node:fs';
import { spawnSync } from 'node:child_process';
import { assert, test, before, after, Daemon, BIN, ALL, FACTORS, DB, POLICY, user, client, grant, eventually } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

const exported = () => JSON.parse(d.ok('export'));
const keyed = (list, key, value) => list.find((x) => x[key] === value);

/* Runs the same checks through the admin socket and then on the database itself. */
function upAndDown(name, run) {
  test(`${name}, daemon up`, (t) => run(t, 'up'));
  test(`${name}, daemon down`, async (t) => {
    await d.end('SIGTERM');
    try { await run(t, 'down'); } finally { await d.run(); }
  });
}

test('usage', () => {
  const run = (...a) => spawnSync(`${BIN}/myaccountctl`, a, { encoding: 'utf8' });
  assert.equal(run().status, 2);
  assert.equal(run('--config', d.files.conf).status, 2);
  assert.equal(run('--config', d.files.conf, 'nonsense').status, 2);
  assert.equal(run('--config', d.files.conf, 'apply').status, 2);
  assert.equal(run('--config', d.files.conf, 'token', '--user', 'x').status, 2);
  assert.equal(run('--help').status, 0);
  const missing = run('--config', '/nonexistent.conf', 'export');
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /nonexistent\.conf/);
});

upAndDown('apply', async (t, how) => {
  const id = `auth0|apply-${how}`;
  await t.test('creates and says so', () => assert.match(d.apply({ users: [user(id)] }), new RegExp(`apply-${how}`)));
  await t.test('a second time changes nothing', () => {
    const before = exported();
    assert.doesNotMatch(d.apply({ users: [user(id)] }), /created/);
    assert.deepEqual(exported(), before);
  });
  await t.test('--dry-run only prints', () => {
    const out = d.apply({ users: [user(`${id}-dry`)] }, '--dry-run');
    assert.match(out, /-dry/);
    assert.equal(d.ctl('user', 'show', `${id}-dry`).code, 1);
  });
  await t.test('options may stand before the file', () => {
    const r = d.ctl('apply', '--dry-run', d.document({ users: [user(`${id}-dry`)] }));
    assert.equal(r.code, 0, r.err);
  });
  await t.test('named members only', () => {
    d.apply({ users: [{ user_id: id, name: 'Renamed' }] });
    const u = keyed(exported().users, 'user_id', id);
    assert.equal(u.name, 'Renamed');
    assert.equal(u.email, `apply-${how}@example.com`);
    assert.ok(exported().clients.length >= 5, 'clients were not named and stay');
  });
  await t.test('list members are replaced key by key', () => {
    const before = exported().clients.length;
    d.apply({ clients: [client(`extra-${how}`)] });
    assert.equal(exported().clients.length, before + 1);
    d.apply({ clients: [{ client_id: `extra-${how}`, name: 'Other name' }] });
    const c = keyed(exported().clients, 'client_id', `extra-${how}`);
    assert.equal(c.name, 'Other name');
    assert.deepEqual(c.callbacks, ['http://localhost:3000/callback']);
  });
});

upAndDown('apply: errors carry a pointer and change nothing', async (t) => {
  const good = user('auth0|never');
  const cases = {
    '/users/1/blocked': { users: [good, user('auth0|x', { blocked: 'yes' })] },
    '/users/0/nonsense': { users: [{ ...good, nonsense: 1 }] },
    '/users/0': { users: [{ email: 'a@b.example' }] },
    '/nonsense': { nonsense: {} },
    '/api/user_access_policy': { api: { user_access_policy: 'sometimes' } },
    '/api/client_access_policy': { api: { client_access_policy: 'allow_all' } },
    '/api/active': { api: { active: 'true' } },
    '/api/default_policy/require_2fa': { api: { default_policy: { require_2fa: 1 } } },
    '/factors/nonsense': { factors: { nonsense: true } },
    '/factors/totp': { factors: { totp: 'on' } },
    '/tenant/mfa_policy': { tenant: { mfa_policy: 'perhaps' } },
    '/connections/0/strategy': { connections: [{ name: 'c1', strategy: 7 }] },
    '/connections/0/password_policy/complexity/min_length': { connections: [{ name: DB, password_policy: { ...POLICY, complexity: { ...POLICY.complexity, min_length: 'x' } } }] },
    '/connections/0/password_policy/dictionary/default': { connections: [{ name: DB, password_policy: { ...POLICY, dictionary: { active: true, default: 'fr_5k' } } }] },
    '/clients/0/app_type': { clients: [client('bad', { app_type: 'toaster' })] },
    '/clients/0/callbacks': { clients: [client('bad', { callbacks: 'http://localhost' })] },
    '/client_grants/0/subject_type': { client_grants: [{ ...grant(d.base, 'spa'), subject_type: 'robot' }] },
    '/roles/0/permissions': { roles: [{ name: 'r', permissions: 'all' }] },
    '/organizations/0/members': { organizations: [{ id: 'org_1', name: 'o', members: 5 }] },
    '/users': { users: {} },
  };
  for (const [pointer, doc] of Object.entries(cases))
    await t.test(pointer, () => {
      const before = d.ok('export');
      const r = d.tryApply({ users: [good], ...doc });
      assert.equal(r.code, 1, r.out);
      assert.ok(r.err.includes(pointer), `stderr: ${r.err}`);
      assert.equal(d.ok('export'), before, 'something changed');
    });
  await t.test('broken JSON', () => assert.equal(d.tryApply('{"users":[').code, 1));
  await t.test('duplicate members', () => assert.equal(d.tryApply('{"api":{},"api":{}}').code, 1));
  await t.test('an array', () => assert.equal(d.tryApply('[]').code, 1));
  await t.test('no such file', () => assert.equal(d.ctl('apply', '/nonexistent.json').code, 1));
});

test('apply takes everything the operator\'s contract names', () => {
  d.apply({
    tenant: { friendly_name: 'Example', mfa_policy: 'confidence-score', rp: { id: 'example.com', name: 'Example' } },
    api: { require_dpop: false, token_lifetime: 3600 },
    connections: [{ name: 'acme', strategy: 'oidc', connected_accounts: { active: true }, enabled_clients: ['spa'], pkce: true,
      options: { issuer: 'https://idp.acme.example/', authorization_endpoint: '', token_endpoint: '', jwks_uri: '', userinfo_endpoint: '', revocation_endpoint: '',
        client_id: 'x', client_secret: 'state-Secret-1', scopes: ['openid'] } }],
    clients: [client('web', { app_type: 'regular_web', client_secret: 'state-Secret-2', refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 5,
      token_lifetime: 1000, idle_token_lifetime: 100, policies: [{ audience: `${d.base}/me/`, scope: ['read:me:factors'] }] }, token_endpoint_auth_method: 'client_secret_basic' })],
    organizations: [{ id: 'org_abcdefghijklmnop', name: 'acme', display_name: 'Acme', members: ['auth0|alice'] }],
    policies: [{ client_id: 'spa', scope: ['delete:me:authentication_methods'], require: ['otp'], max_age: 900 }, { client_id: 'native', scope: ['read:me:factors'], skip: true }],
  });
  d.secrets.add('password', 'state-Secret-1');
  d.secrets.add('password', 'state-Secret-2');
  const e = exported();
  assert.equal(keyed(e.connections, 'name', 'acme').strategy, 'oidc');
  assert.equal(keyed(e.organizations, 'id', 'org_abcdefghijklmnop').display_name, 'Acme');
  assert.equal(e.policies.length, 2);
  assert.doesNotMatch(JSON.stringify(e), /state-Secret/);
});

upAndDown('export can be applied again', () => {
  const e = d.ok('export');
  d.apply(e);
  assert.deepEqual(JSON.parse(d.ok('export')), JSON.parse(e));
});

upAndDown('token', async (t, how) => {
  const args = ['--user', 'auth0|bob', '--client', 'spa', '--scope', 'read:me:factors'];
  const claims = (x) => JSON.parse(Buffer.from(x.trim().split('.')[1], 'base64url'));
  await t.test('one line on stdout', () => assert.match(d.ok('token', ...args), /^[\w-]+\.[\w-]+\.[\w-]+\n$/));
  await t.test('ttl, audience, amr and auth time', () => {
    const c = claims(d.ok('token', ...args, '--ttl', '120', '--audience', 'https://other.example/', '--amr', 'pwd', '--auth-time', '1700000000'));
    assert.equal(c.exp - c.iat, 120);
    assert.deepEqual([c.aud].flat(), ['https://other.example/']);
    assert.deepEqual(c.amr, ['pwd']);
    assert.equal(c.auth_time, 1700000000);
  });
  if (how === 'up') await t.test('is accepted', () => d.bearer(d.token('auth0|bob', { scope: ALL })).want(200, 'GET', FACTORS));
});

upAndDown('user', async (t, how) => {
  await t.test('list', () => {
    const out = d.ok('user', 'list');
    for (const id of ['auth0|alice', 'auth0|bob', 'google-oauth2|carol']) assert.ok(out.includes(id), id);
  });
  await t.test('show', () => {
    const out = d.ok('user', 'show', 'auth0|alice');
    assert.match(out, /alice@example\.com/i);
    assert.match(out, /Alice Liddell/);
  });
  await t.test('show of nobody', () => {
    const r = d.ctl('user', 'show', 'auth0|nobody');
    assert.equal(r.code, 1);
    assert.ok(r.err.length > 0);
  });
  await t.test('delete', () => {
    d.apply({ users: [user(`auth0|doomed-${how}`)] });
    d.ok('user', 'delete', `auth0|doomed-${how}`);
    assert.equal(d.ctl('user', 'show', `auth0|doomed-${how}`).code, 1);
    assert.equal(d.ctl('user', 'delete', `auth0|doomed-${how}`).code, 1);
  });
});

test('method list and reset', async (t) => {
  const s = d.session();
  const a = await s.addTotp();
  const b = await s.addRecovery();
  await t.test('list', () => {
    const out = d.ok('method', 'list', s.user);
    assert.ok(out.includes(a.id) && out.includes(b.id));
    assert.ok(!out.includes(a.secret));
  });
  await t.test('list of nobody', () => assert.equal(d.ctl('method', 'list', 'auth0|nobody').code, 1));
  await t.test('reset one', async () => {
    d.ok('method', 'reset', s.user, a.id);
    assert.deepEqual((await s.list()).map((m) => m.id), [b.id]);
    assert.equal(d.ctl('method', 'reset', s.user, a.id).code, 1);
  });
  await t.test('reset all, daemon down', async () => {
    await d.end('SIGTERM');
    d.ok('method', 'reset', s.user);
    await d.run();
    assert.deepEqual(await s.list(), []);
  });
});

upAndDown('audit', async (t) => {
  if (!d.exit) {
    const s = d.session();
    await s.addTotp();
    await t.test('by user', () => {
      const rows = d.ok('audit', '--user', s.user);
      assert.ok(rows.includes('my_account_authentication_method_succeeded'));
      assert.ok(rows.includes('verify'));
      assert.ok(!rows.includes('auth0|alice'));
    });
  }
  await t.test('since a time', () => {
    assert.equal(d.ok('audit', '--since', '2100-01-01T00:00:00Z').trim().length <= 2, true);
    assert.ok(d.ok('audit', '--since', '2020-01-01').includes('my_account'));
  });
  await t.test('a bad time', () => assert.ok(d.ctl('audit', '--since', 'yesterday-ish').code > 0));
});

upAndDown('keys', async (t, how) => {
  const before = d.ok('keys', 'list');
  assert.match(before, /signing/);
  d.ok('keys', 'rotate');
  const after = d.ok('keys', 'list');
  assert.ok(after.length > before.length, after);
  assert.match(after, /verifying/);
  if (how === 'up') await t.test('the new key is published', () =>
    eventually(async () => (await d.http({ path: '/.well-known/jwks.json' })).json.keys.length >= 2, 'the new key', 5000));
});

upAndDown('routes', () => {
  const lines = d.ok('routes').split('\n').filter(Boolean);
  const own = lines.filter((l) => l.includes('/me/v1/'));
  assert.ok(own.length >= 7, lines.join('\n'));
  for (const l of lines) assert.match(l, /^(GET|POST|PATCH|DELETE) +\/\S* +\S+ +.*\S/, l);
  for (const op of ['getFactors', 'getAuthenticationMethods', 'createAuthenticationMethod', 'getAuthenticationMethod', 'updateAuthenticationMethod', 'deleteAuthenticationMethod', 'confirmAuthenticationMethod'])
    assert.ok(lines.some((l) => l.includes(` ${op} `)), op);
});

upAndDown('backup', async (t, how) => {
  const file = `${d.dir}/backup-${how}.db`;
  d.ok('backup', file);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.ok(fs.statSync(file).size > 4096);
  await t.test('does not overwrite', () => assert.equal(d.ctl('backup', file).code, 1));
  await t.test('a daemon starts from it', async () => {
    const c = await Daemon.start({ state: null, start: false });
    fs.cpSync(file, c.files.db);
    fs.cpSync(`${d.dir}/keys`, `${c.dir}/keys`, { recursive: true });
    await c.run();
    assert.ok(c.ok('user', 'list').includes('auth0|alice'));
    await c.stop();
  });
});

test('the admin socket is mode 0600', () => assert.equal(fs.statSync(d.files.sock).mode & 0o777, 0o600));

test('two thousand users', async (t) => {
  const users = Array.from({ length: 2000 }, (_, i) => user(`auth0|bulk-${String(i).padStart(5, '0')}`));
  const t0 = Date.now();
  d.apply({ users });
  await t.test('in good time', () => assert.ok(Date.now() - t0 < 30000, `${Date.now() - t0} ms`));
  await t.test('all there', () => assert.equal(d.ok('user', 'list').split('\n').filter((l) => l.includes('auth0|bulk-')).length, 2000));
  await t.test('and can call', () => d.as('auth0|bulk-01999').want(200, 'GET', FACTORS));
  await t.test('the daemon answers meanwhile', async () => {
    const s = d.session();
    const running = d.ctlAsync('apply', d.document({ users: users.map((u) => ({ ...u, name: 'Second name' })) }));
    for (let i = 0; i < 10; i++) await s.want(200, 'GET', FACTORS);
    const r = await running;
    assert.equal(r.code, 0, r.err);
  });
});

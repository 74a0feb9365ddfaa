/* SPDX-License-Identifier: Apache-2.0
 * Who may call what: API activation, users, clients, grants, roles, scopes, the Default Policy. */
import { assert, test, before, after, Daemon, SCOPES, ALL, METHODS, FACTORS, methodPath, isProblem, client, grant, user } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { issuer: { 'https://idp.test.example/': { provision: false } } } }); });
after(() => d.stop());

const ID = 'totp|dev_aaaaaaaaaaaaaaaa';
const OPERATIONS = [
  ['GET', FACTORS, undefined, 'read:me:factors', 200],
  ['GET', METHODS, undefined, 'read:me:authentication_methods', 200],
  ['GET', methodPath(ID), undefined, 'read:me:authentication_methods', 404],
  ['POST', METHODS, { type: 'nope' }, 'create:me:authentication_methods', 400],
  ['POST', `${methodPath(ID)}/verify`, { auth_session: 'x', otp_code: '000000' }, 'create:me:authentication_methods', [400, 404]],
  ['PATCH', methodPath(ID), {}, 'update:me:authentication_methods', 404],
  ['DELETE', methodPath(ID), undefined, 'delete:me:authentication_methods', 404],
];
const denied = (r, detail) => isProblem(r, 403, 'A0E-403-0001', detail);
function lacks(r, scope) {
  isProblem(r, 403, 'A0E-403-0002');
  assert.equal(r.json.title, 'Insufficient Scope');
  assert.ok(r.json.detail.includes(scope), r.json.detail);
  const w = r.headers['www-authenticate'];
  assert.match(w, /^Bearer /);
  assert.match(w, /error="insufficient_scope"/);
  assert.ok(w.includes(`scope="${scope}"`), w);
}
/* Applies a change, runs, and puts the document's own value back. */
async function during(change, back, run) {
  d.apply(change);
  try { await run(); } finally { d.apply(back); }
}

test('each operation asks for its scope and no other', async (t) => {
  for (const [method, path, body, scope, status] of OPERATIONS)
    await t.test(`${method} ${path} wants ${scope}`, async () => {
      const only = await d.session({ scope }).request(method, path, body);
      assert.ok([status].flat().includes(only.status), `${only.status} ${only.text}`);
      lacks(await d.session({ scope: SCOPES.filter((x) => x !== scope).join(' ') }).request(method, path, body), scope);
    });
});

test('scope claims', async (t) => {
  const call = (scope) => d.session({ scope }).get(FACTORS);
  await t.test('none', async () => lacks(await call(undefined), 'read:me:factors'));
  await t.test('empty', async () => lacks(await call(''), 'read:me:factors'));
  await t.test('a prefix is not it', async () => lacks(await call('read:me:factors2 read:me'), 'read:me:factors'));
  await t.test('another case is not it', async () => lacks(await call('Read:me:factors'), 'read:me:factors'));
  await t.test('among foreign ones', async () => assert.equal((await call('openid  profile read:me:factors')).status, 200));
});

test('the missing scope comes before the body and the id', async () => {
  const s = d.session({ scope: 'read:me:factors' });
  lacks(await s.request('POST', METHODS, '{', { raw: true }), 'create:me:authentication_methods');
  lacks(await s.del(methodPath('nonsense')), 'delete:me:authentication_methods');
});

test('an inactive API is 404', async () => {
  await during({ api: { active: false } }, { api: { active: true } }, async () => {
    for (const s of [d.session(), d.anonymous()]) isProblem(await s.get(FACTORS), 404, 'A0E-404-0001');
  });
  assert.equal((await d.session().get(FACTORS)).status, 200);
});

test('users', async (t) => {
  await t.test('blocked', async () => denied(await d.as('auth0|blocked').get(FACTORS), /blocked/));
  await t.test('unknown', async () => denied(await d.as('auth0|nobody').get(FACTORS)));
  await t.test('blocking is in force at once for remembered tokens', async () => {
    const s = d.session();
    await s.want(200, 'GET', FACTORS);
    d.apply({ users: [{ user_id: s.user, blocked: true }] });
    denied(await s.get(FACTORS));
    d.apply({ users: [{ user_id: s.user, blocked: false }] });
    await s.want(200, 'GET', FACTORS);
  });
  await t.test('deleting too', async () => {
    const s = d.session();
    await s.want(200, 'GET', FACTORS);
    d.ok('user', 'delete', s.user);
    denied(await s.get(FACTORS));
  });
});

test('client credentials are refused whatever they carry', async (t) => {
  for (const [name, over] of [['gty', { gty: 'client-credentials' }], ['sub ending in @clients', { sub: 'spa@clients' }], ['sub equal to the client', { sub: 'spa' }],
    ['sub equal to client_id', { sub: 'native', azp: undefined, client_id: 'native' }]])
    await t.test(name, async () => denied(await d.as('auth0|bob', over).get(FACTORS)));
  await t.test('also under allow_all', () => during({ api: { user_access_policy: 'allow_all' } }, { api: { user_access_policy: 'require_client_grant' } },
    async () => denied(await d.as('auth0|bob', { gty: 'client-credentials' }).get(FACTORS))));
  await t.test('client_access_policy has one legal value', () => assert.equal(d.tryApply({ api: { client_access_policy: 'allow_all' } }).code, 1));
});

test('user access policy', async (t) => {
  const back = { api: { user_access_policy: 'require_client_grant' } };
  const factors = (azp, over = {}) => d.session({ azp, ...over }).get(FACTORS);
  await t.test('require_client_grant: a client without one', async () => denied(await factors('nogrant'), /grant/));
  await t.test('require_client_grant: scopes are the intersection', async () => {
    assert.equal((await factors('reader')).status, 200);
    lacks(await d.session({ azp: 'reader' }).post(METHODS, { type: 'totp' }), 'create:me:authentication_methods');
  });
  await t.test('an unknown client', async () => denied(await factors('stranger')));
  await t.test('a third-party client with a grant', async () => denied(await factors('tpc_third'), /[Tt]hird-party/));
  await t.test('allow_all needs no grant', () => during({ api: { user_access_policy: 'allow_all' } }, back, async () => {
    assert.equal((await factors('nogrant')).status, 200);
    assert.equal((await d.session({ azp: 'reader' }).post(METHODS, { type: 'nope' })).status, 400);
    denied(await factors('tpc_third'));
  }));
  await t.test('deny_all refuses everyone', () => during({ api: { user_access_policy: 'deny_all' } }, back, async () => denied(await factors('spa'))));
  await t.test('a grant for machines does not count', async () => {
    d.apply({ clients: [client('machine')], client_grants: [{ ...grant(d.base, 'machine'), subject_type: 'client' }] });
    denied(await factors('machine'));
  });
  await t.test('a grant for another audience does not count', async () => {
    d.apply({ clients: [client('elsewhere')], client_grants: [{ ...grant(d.base, 'elsewhere'), audience: 'https://api.example/' }] });
    denied(await factors('elsewhere'));
  });
  await t.test('a changed grant is in force at once', async () => {
    const s = d.session({ azp: 'native' });
    await s.want(200, 'GET', FACTORS);
    d.apply({ client_grants: [grant(d.base, 'native', ['read:me:authentication_methods'])] });
    lacks(await s.get(FACTORS), 'read:me:factors');
    d.apply({ client_grants: [grant(d.base, 'native')] });
    await s.want(200, 'GET', FACTORS);
  });
});

test('RBAC', async (t) => {
  d.apply({ users: [user('auth0|member', { roles: ['member'] }), user('auth0|editor', { roles: ['member', 'editor'] }),
    user('auth0|direct', { permissions: ['read:me:authentication_methods'] }), user('auth0|none')] });
  await t.test('off: roles do not matter', async () => assert.equal((await d.as('auth0|none').get(FACTORS)).status, 200));
  await during({ api: { enforce_rbac: true } }, { api: { enforce_rbac: false } }, async () => {
    await t.test('no role, no permission', async () => lacks(await d.as('auth0|none').get(FACTORS), 'read:me:factors'));
    await t.test('one role', async () => {
      await d.as('auth0|member').want(200, 'GET', FACTORS);
      lacks(await d.as('auth0|member').get(METHODS), 'read:me:authentication_methods');
    });
    await t.test('two roles add up', async () => {
      await d.as('auth0|editor').want(200, 'GET', FACTORS);
      await d.as('auth0|editor').want(200, 'GET', METHODS);
      lacks(await d.as('auth0|editor').del(methodPath(ID)), 'delete:me:authentication_methods');
    });
    await t.test('a direct permission', async () => {
      await d.as('auth0|direct').want(200, 'GET', METHODS);
      lacks(await d.as('auth0|direct').get(FACTORS), 'read:me:factors');
    });
    await t.test('a permission does not replace the token\'s scope', async () => lacks(await d.as('auth0|member', { scope: 'openid' }).get(FACTORS), 'read:me:factors'));
    await t.test('a changed role is in force at once', async () => {
      const s = d.as('auth0|member');
      await s.want(200, 'GET', FACTORS);
      d.apply({ roles: [{ name: 'member', permissions: [] }] });
      lacks(await s.get(FACTORS), 'read:me:factors');
      d.apply({ roles: [{ name: 'member', permissions: ['read:me:factors'] }] });
      await s.want(200, 'GET', FACTORS);
    });
    await t.test('a changed user too', async () => {
      const s = d.as('auth0|none');
      lacks(await s.get(FACTORS), 'read:me:factors');
      d.apply({ users: [{ user_id: 'auth0|none', roles: ['member'] }] });
      await s.want(200, 'GET', FACTORS);
    });
  });
});

test('the Default Policy at the API', async (t) => {
  const factorless = d.fresh();
  const owner = d.fresh();
  const owned = await d.as(owner).addTotp();
  const now = () => d.idp.now();
  function stepUp(r) {
    isProblem(r, 401, 'A0E-401-0004');
    const w = r.headers['www-authenticate'];
    assert.match(w, /^Bearer /);
    assert.match(w, /error="insufficient_user_authentication"/);
    assert.match(w, /max_age="?900"?/);
  }
  const rows = [
    ['no claims', owner, {}, false], ['fresh login, no second factor', owner, { auth_time: 0, amr: ['pwd'] }, false],
    ['fresh second factor', owner, { auth_time: 0, amr: ['pwd', 'mfa'] }, true], ['a minute before the end', owner, { auth_time: -840, amr: ['mfa'] }, true],
    ['a minute past the end', owner, { auth_time: -960, amr: ['mfa'] }, false], ['amr without auth_time', owner, { amr: ['mfa'] }, false],
    ['auth_time without amr', owner, { auth_time: 0 }, false], ['auth_time in the far future', owner, { auth_time: 7200, amr: ['mfa'] }, false],
    ['no factor: no claims', factorless, {}, false], ['no factor: fresh login', factorless, { auth_time: 0, amr: ['pwd'] }, true],
    ['no factor: fresh login without amr', factorless, { auth_time: 0 }, true], ['no factor: old login', factorless, { auth_time: -960 }, false],
    ['a verified e-mail is a factor', 'auth0|alice', { auth_time: 0, amr: ['pwd'] }, false], ['and a second factor satisfies it', 'auth0|alice', { auth_time: 0, amr: ['mfa'] }, true],
  ];
  await during({ api: { default_policy: { require_2fa: true } } }, { api: { default_policy: { require_2fa: false } } }, async () => {
    for (const [name, who, { auth_time, ...rest }, ok] of rows)
      await t.test(name, async () => {
        const r = await d.as(who, { ...rest, ...(auth_time === undefined ? {} : { auth_time: now() + auth_time }) }).get(FACTORS);
        if (ok) assert.equal(r.status, 200, r.text);
        else stepUp(r);
      });
    await t.test('auth_time of a wrong type is no token', async () => {
      const r = await d.as(owner, { amr: ['mfa'], auth_time: 'yesterday' }).get(FACTORS);
      assert.equal(r.status, 401);
    });
    await t.test('a missing scope comes first', async () => lacks(await d.as(owner, { scope: '' }).get(FACTORS), 'read:me:factors'));
    await t.test('a remembered token grows stale', async () => {
      const c = await Daemon.start({ state: { api: { default_policy: { require_2fa: true } } } });
      const s = c.as('auth0|alice', { amr: ['mfa'], auth_time: c.idp.now(), exp: c.idp.now() + 86400 });
      await s.want(200, 'GET', FACTORS);
      c.advance(960000);
      assert.equal((await s.get(FACTORS)).status, 401);
      await c.stop();
    });
    await t.test('enrolling the first factor turns the demand on for remembered tokens', async () => {
      const s = d.session({ auth_time: now(), amr: ['pwd'] });
      await s.addTotp();
      stepUp(await s.get(FACTORS));
    });
    await t.test('own tokens carry the claims asked for', async () => {
      const token = d.token(owner, { scope: ALL, extra: ['--amr', 'pwd,mfa', '--auth-time', String(now())] });
      const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
      assert.deepEqual(claims.amr, ['pwd', 'mfa']);
      assert.ok(claims.exp - claims.iat <= 900, 'lives no longer than the step-up window');
      await d.bearer(token).want(200, 'GET', FACTORS);
    });
  });
  await t.test('off again', () => d.as(owner).want(200, 'GET', FACTORS));
  assert.ok(owned.id);
});

test('policy.enforce_at_api = false leaves it to the token service', async () => {
  const c = await Daemon.start({ config: { policy: { enforce_at_api: false } }, state: { api: { default_policy: { require_2fa: true } } } });
  await c.as('auth0|alice').want(200, 'GET', FACTORS);
  await c.stop();
});

test('policy.step_up_window', async () => {
  const c = await Daemon.start({ config: { policy: { step_up_window: 120 } }, state: { api: { default_policy: { require_2fa: true } } } });
  await c.as('auth0|alice', { amr: ['mfa'], auth_time: c.idp.now() - 60 }).want(200, 'GET', FACTORS);
  const r = await c.as('auth0|alice', { amr: ['mfa'], auth_time: c.idp.now() - 200 }).get(FACTORS);
  assert.match(r.headers['www-authenticate'], /max_age="?120"?/);
  await c.stop();
});

/* SPDX-License-Identifier: Apache-2.0
 * Changing the password: policy rules, history, dictionary, import of foreign hashes, concurrency. */
import crypto from 'node:crypto';
import { assert, test, before, after, Daemon, METHODS, methodPath, isProblem, pointers, DB, POLICY, user } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start({ config: { rate_limit: { otp_failures_per_hour: 0 } } }); });
after(() => d.stop());

/* A password that breaks no default rule. */
const fine = () => `Zq7${crypto.randomBytes(9).toString('base64url').replace(/[-_]/g, 'x')}kW`;
function broken(r, n) {
  isProblem(r, 400, 'A0E-400-0003');
  assert.ok(r.json.validation_errors.length >= 1);
  assert.deepEqual([...new Set(pointers(r))], ['/new_password']);
  if (n !== undefined) assert.equal(r.json.validation_errors.length, n, r.text);
  assert.ok(!r.text.includes('Zq7'), 'the answer repeats the password');
}
const policy = (over) => d.apply({ connections: [{ name: DB, password_policy: { ...POLICY, ...over, complexity: { ...POLICY.complexity, ...over.complexity } } }] });

test('enrolment answers with the policy', async (t) => {
  const s = d.session();
  const r = await s.want(202, 'POST', METHODS, { type: 'password' });
  assert.deepEqual(Object.keys(r.json).sort(), ['auth_session', 'id', 'policy']);
  assert.equal(r.json.id, 'password|new');
  assert.deepEqual(r.json.policy, POLICY);
  assert.ok(r.headers.location.endsWith('/password%7Cnew'));
  await t.test('pending changes are not listed', async () => assert.deepEqual(await s.list(), []));
  await t.test('and the change', async () => {
    const m = await s.verify('password|new', { auth_session: r.json.auth_session, new_password: fine() });
    assert.equal(m.id, `password|${Buffer.from(s.user).toString('base64url')}`);
    assert.equal(m.identity_user_id, s.user);
    assert.deepEqual(await s.list(), [m]);
    assert.deepEqual((await s.want(200, 'GET', methodPath(m.id))).json, m);
  });
  await t.test('the session is used up', async () =>
    isProblem(await s.verifyAny('password|new', { auth_session: r.json.auth_session, new_password: fine() }), 400, 'A0E-400-0001', 'Invalid or expired session'));
  await t.test('last_password_reset appears with the second', async () => {
    const before = (await s.list('password'))[0];
    const again = await s.changePassword(fine());
    assert.equal(again.status, 201, again.text);
    assert.match((await s.list('password'))[0].last_password_reset, /Z$/);
    assert.equal((await s.list('password'))[0].created_at, before.created_at);
  });
});

test('connection and identity', async (t) => {
  const s = d.session();
  await t.test('named', async () => assert.equal((await s.post(METHODS, { type: 'password', connection: DB, identity_user_id: s.user })).status, 202));
  await t.test('unknown connection', async () => assert.equal((await s.post(METHODS, { type: 'password', connection: 'nope' })).status, 400));
  await t.test('a connection name with bad characters', async () => assert.deepEqual(pointers(await s.post(METHODS, { type: 'password', connection: 'a b' })), ['/connection']));
  await t.test('somebody else\'s identity', async () => assert.equal((await s.post(METHODS, { type: 'password', identity_user_id: 'auth0|bob' })).status, 400));
  await t.test('a user without a database identity', async () => assert.equal((await d.as('google-oauth2|carol').post(METHODS, { type: 'password' })).status, 400));
});

test('rules of the default policy', async (t) => {
  const s = d.session();
  const name = s.user.split('|')[1];
  const cases = {
    'too short': ['Zq7xkWa', 1], 'no upper case': ['zq7xkwabcq', 1], 'no number': ['Zqtxkwabcq', 1], 'no lower case': ['ZQ7XKWABCQ', 1],
    'two rules at once': ['zqxkwabc', 2], 'three rules at once': ['zqxkwab', 3], 'of the dictionary': ['password', undefined], 'of the dictionary, another case': ['Password1', undefined],
    'the e-mail': [`Zq7${name}@example.com`, undefined], 'the name': [`User ${name}Zq7`, undefined],
  };
  for (const [what, [pw, n]] of Object.entries(cases)) await t.test(what, async () => broken(await s.changePassword(pw), n));
  await t.test('a refused password leaves the session open', async () => {
    const e = await s.enrol({ type: 'password' });
    broken(await s.verifyAny(e.id, { auth_session: e.auth_session, new_password: 'short' }));
    await s.verify(e.id, { auth_session: e.auth_session, new_password: fine() });
  });
});

test('limits of the schema', async (t) => {
  const s = d.session();
  for (const [name, pw] of [['empty', ''], ['257 characters', `Zq7${'xk'.repeat(127)}`], ['a control character', 'Zq7xkWabc\u0007q'], ['a C1 control', 'Zq7xkWabc\u0085q'], ['a tab', 'Zq7xk\tWabcq']])
    await t.test(name, async () => broken(await s.changePassword(pw)));
  await t.test('a number', async () => {
    const e = await s.enrol({ type: 'password' });
    assert.deepEqual(pointers(await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session, new_password: 12345678 })), ['/new_password']);
  });
  await t.test('letters of other alphabets', async () => assert.equal((await s.changePassword('Пароль-Zq7-жизнь')).status, 201));
});

test('maximum length', async (t) => {
  const long = `Zq7${'xkWv'.repeat(20)}`;
  await t.test('error', async () => {
    policy({ complexity: { max_length_exceeded: 'error' } });
    broken(await d.session().changePassword(long));
  });
  await t.test('truncate', async () => {
    policy({ complexity: { max_length_exceeded: 'truncate' } });
    assert.equal((await d.session().changePassword(long)).status, 201);
    policy({});
  });
});

test('identical and sequential characters', async (t) => {
  policy({ complexity: { identical_characters: 'block', sequential_characters: 'block' } });
  for (const [pw, ok] of [['Zq7xkkWb', true], ['Zq7xkkkWb', false], ['Zq7xabWm', true], ['Zq7xabcWm', false], ['Zq789Wmx', false], ['Zq7cbaWmx', false], ['Zq7AbCWmx', undefined], ['Zq111Wmxk', false]])
    await t.test(pw, async () => {
      const r = await d.session().changePassword(pw);
      if (ok === true) assert.equal(r.status, 201, r.text);
      else if (ok === false) broken(r, 1);
      else assert.ok([201, 400].includes(r.status));
    });
  policy({});
});

test('character types: three of four', async (t) => {
  policy({ complexity: { character_types: ['lowercase', 'uppercase', 'number', 'special'], character_type_rule: 'three_of_four' } });
  for (const [pw, ok] of [['zqxkwVmr7', true], ['zqxkw-mr7', true], ['zqxkwmmr7', false], ['zqxkwVmrT', false], ['Zqxkw-mrT', true]])
    await t.test(pw, async () => {
      const r = await d.session().changePassword(pw);
      if (ok) assert.equal(r.status, 201, r.text);
      else broken(r, 1);
    });
  policy({});
});

test('history', async (t) => {
  const s = d.session();
  const used = Array.from({ length: 6 }, fine);
  for (const p of used.slice(0, 5)) assert.equal((await s.changePassword(p)).status, 201);
  for (const [i, p] of used.slice(0, 5).entries()) await t.test(`the last but ${4 - i}`, async () => broken(await s.changePassword(p), 1));
  await t.test('the sixth back is free again', async () => {
    assert.equal((await s.changePassword(used[5])).status, 201);
    assert.equal((await s.changePassword(used[0])).status, 201);
  });
  await t.test('the initial password counts', async () => {
    const first = fine();
    d.apply({ users: [user('auth0|withpw', { password: first })] });
    d.secrets.add('password', first);
    broken(await d.as('auth0|withpw').changePassword(first), 1);
  });
  await t.test('another user\'s password is free', async () => assert.equal((await d.session().changePassword(used[0])).status, 201));
  await t.test('history off', async () => {
    policy({ history: { active: false, size: 5 } });
    const u = d.session();
    const p = fine();
    assert.equal((await u.changePassword(p)).status, 201);
    assert.equal((await u.changePassword(p)).status, 201);
    policy({});
  });
});

test('imported hashes', async (t) => {
  const PW = 'Zq7-imported-kW';
  const hashes = {
    'bcrypt 2b': '$2b$05$abcdefghijklmnopqrstuuhtMcXv0lH2kUpEABtCSHypl./BuXmW6',
    'bcrypt 2y': '$2y$05$abcdefghijklmnopqrstuuhtMcXv0lH2kUpEABtCSHypl./BuXmW6',
    argon2id: '$argon2id$v=19$m=1024,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$468DkywVRdx6+FrUy/lOUyR8SsdEIlKhaOySROsA1zU',
  };
  for (const [kind, password_hash] of Object.entries(hashes))
    await t.test(`${kind}: the imported password counts in the history`, async () => {
      const id = `auth0|import-${kind.replace(' ', '-')}`;
      d.apply({ users: [user(id, { password_hash })] });
      broken(await d.as(id).changePassword(PW), 1);
      assert.equal((await d.as(id).changePassword(fine())).status, 201);
    });
  const refused = (over, pointer) => {
    const r = d.tryApply({ users: [user('auth0|badhash', over)] });
    assert.equal(r.code, 1);
    assert.ok(r.err.includes(pointer), r.err);
    assert.ok(!r.err.includes('Zq7'), 'the password is in the message');
  };
  await t.test('a cut bcrypt string is refused', () => refused({ password_hash: '$2b$10$abcdefghijklmnopqrstuu' }, '/users/0/password_hash'));
  await t.test('MD5 is refused', () => refused({ password_hash: '$1$abcdefgh$abcdefghijklmnopqrstuv' }, '/users/0/password_hash'));
  await t.test('plain text as a hash is refused', () => refused({ password_hash: PW }, '/users/0/password_hash'));
  await t.test('both password and password_hash are refused', () => refused({ password: fine(), password_hash: hashes.argon2id }, '/users/0'));
  await t.test('export leaves all hashes out', () => assert.doesNotMatch(d.ok('export'), /\$2[by]\$|\$argon2/));
});

test('dictionary', async (t) => {
  const on = (over) => policy({ complexity: { min_length: 1, character_types: [], character_type_rule: 'all' }, ...over });
  await t.test('en_10k has common words', async () => {
    on({ dictionary: { active: true, default: 'en_10k' } });
    for (const w of ['password', 'DRAGON', 'football']) broken(await d.session().changePassword(w));
  });
  await t.test('off', async () => {
    on({ dictionary: { active: false, default: 'en_10k' } });
    assert.equal((await d.session().changePassword('football')).status, 201);
  });
  policy({});
});

test('a profile rule that is off', async () => {
  policy({ profile_data: { active: false, blocked_fields: ['email', 'name'] } });
  const s = d.session();
  assert.equal((await s.changePassword(`${s.user.split('|')[1]}@example.comZQ`)).status, 201);
  policy({});
});

test('many changes at once: one per session, the daemon stays up', async () => {
  const s = d.session();
  const e = await s.enrol({ type: 'password' });
  const all = await Promise.all(Array.from({ length: 8 }, () => s.verifyAny(e.id, { auth_session: e.auth_session, new_password: fine() })));
  assert.equal(all.filter((r) => r.status === 201).length, 1, all.map((r) => r.status).join(' '));
  for (const r of all) assert.ok([201, 400, 503].includes(r.status), r.text);
});

test('reads go on while passwords are hashed', async () => {
  const hashing = Array.from({ length: 6 }, () => d.session()).map((u) => u.changePassword(fine()));
  const reader = d.session();
  const t0 = Date.now();
  for (let i = 0; i < 20; i++) await reader.want(200, 'GET', METHODS);
  const reads = Date.now() - t0;
  for (const r of await Promise.all(hashing)) assert.ok([201, 503].includes(r.status), r.text);
  assert.ok(reads < 20000);
});

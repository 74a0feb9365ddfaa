/* SPDX-License-Identifier: Apache-2.0
 * mfa_tokens: what asks for them, the MFA API, the three grants that complete them, and the first enrolment. */
import { assert, test, before, after, Daemon, FACTORS, ORIGIN, client, grant, totp, user, wrongCode } from './lib/kit.mjs';
import { PASSWORD } from './lib/login.mjs';
import { App, GRANT, Prover, claims, isIssued, isRefused } from './lib/oauth.mjs';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const WINDOW = 15 * MINUTE;
const SECRET = 'Zq7-web-secret-of-the-mfa-tests';
const MALFORMED = 'Malformed mfa_token';
const OVER = 'The challenge has expired or was used already.';
const EMBEDDED = ['password', GRANT.realm, 'refresh_token'];
const SCOPE = 'openid offline_access read:me:factors';
const COUNT = 60;
const mail = (n) => `${n}@example.com`;
const id = (n) => `auth0|${n}`;
const people = Array.from({ length: COUNT }, (_, i) => `p${String(i).padStart(2, '0')}`);

let d;
let me;
let app;
let web;
let two;
let dpop;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { enabled: false, email_per_hour: 6 } } });
  me = `${d.base}/me/`;
  const embedded = (client_id, over = {}) => client(client_id, { app_type: 'native', grant_types: EMBEDDED, ...over });
  d.apply({
    api: { default_policy: { require_2fa: true } },
    clients: [embedded('app'), embedded('two', { allowed_origins: ['https://two.example'], web_origins: [], callbacks: [] }), embedded('bound'),
      embedded('ruled'), embedded('web', { app_type: 'regular_web', client_secret: SECRET })],
    client_grants: ['app', 'two', 'bound', 'ruled', 'web'].map((c) => grant(d.base, c)),
    policies: [{ client_id: 'ruled', scope: ['read:me:factors'], require: ['otp'], max_age: 900 }],
    users: [...people.map((n) => user(id(n), { email: mail(n), password: PASSWORD })),
      user(id('vic'), { email: mail('vic'), email_verified: true, password: PASSWORD })],
  });
  d.secrets.add('password', PASSWORD);
  app = new App(d, 'app');
  two = new App(d, 'two');
  dpop = new App(d, 'bound', { dpop: new Prover(d) });
  web = new App(d, 'web', { secret: SECRET });
});
after(() => d.stop());

/* --- steps --- */

let next = 0;
/* Somebody new, who may enrol factors at the API. */
function someone() {
  const name = people[next++];
  assert.ok(name, 'the people are used up');
  return { name, mail: mail(name), id: id(name), get api() { return d.as(id(name), { amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) }); } };
}
async function withTotp() {
  const p = someone();
  p.totp = await p.api.addTotp();
  d.advance(30 * SECOND); /* the code of the enrolment is used up */
  return p;
}
const code = (p, step = 0) => p.api.code(p.totp.secret, step);
const login = (p, over = {}, via = app, opts = {}) => via.password(p.mail, { audience: me, scope: SCOPE, ...over }, opts);
/* The mfa_token of an answer that must be mfa_required. */
function required(res, { challenge, enroll } = {}) {
  assert.equal(res.status, 403, res.text);
  assert.equal(res.json.error, 'mfa_required');
  assert.equal(res.json.error_description, 'Multifactor authentication required');
  assert.match(res.json.mfa_token, /^[\w-]{43}$/);
  assert.deepEqual(Object.keys(res.json), ['error', 'error_description', 'mfa_token', 'mfa_requirements']);
  assert.equal(res.headers['cache-control'], 'no-store');
  const types = (l) => l?.map((x) => x.type).sort();
  if (challenge) assert.deepEqual(types(res.json.mfa_requirements.challenge), challenge.sort());
  if (enroll) assert.deepEqual(types(res.json.mfa_requirements.enroll), enroll.sort());
  assert.equal(Object.keys(res.json.mfa_requirements).length, 1);
  return res.json.mfa_token;
}
const ask = async (p, over = {}, via = app, opts = {}) => required(await login(p, over, via, opts));
const otp = (mfa_token, value, via = app, opts = {}) => via.token({ grant_type: GRANT.otp, mfa_token, otp: value }, opts);
const oob = (mfa_token, oob_code, binding_code, via = app) => via.token({ grant_type: GRANT.oob, mfa_token, oob_code, binding_code });
const recover = (mfa_token, recovery_code, via = app) => via.token({ grant_type: GRANT.recovery, mfa_token, recovery_code });
const challenge = (mfa_token, over = {}, via = app, opts = {}) => via.send('/mfa/challenge', { mfa_token, ...over }, { json: true, ...opts });
const list = (mfa_token, headers) => app.get('/mfa/authenticators', `Bearer ${mfa_token}`, headers);
async function authenticators(mfa_token) {
  const r = await list(mfa_token);
  assert.equal(r.status, 200, r.text);
  return r.json;
}
const associate = (mfa_token, body, opts = {}) =>
  app.send('/mfa/associate', body, { json: true, ...opts, headers: { authorization: `Bearer ${mfa_token}`, ...opts.headers } });
/* A code that was sent for a challenge of this method. */
async function sent(mfa_token, authenticator_id, to, channel = 'sms', via = app) {
  const r = await challenge(mfa_token, { challenge_type: 'oob', authenticator_id }, via);
  assert.equal(r.status, 200, r.text);
  assert.deepEqual(Object.keys(r.json), ['challenge_type', 'oob_code', 'binding_method']);
  assert.equal(r.json.challenge_type, 'oob');
  assert.equal(r.json.binding_method, 'prompt');
  const m = await d.spool.take({ channel, to });
  assert.match(m.code, /^\d{6}$/);
  d.secrets.add('code', m.code);
  return { oob_code: r.json.oob_code, code: m.code };
}
const audit = (type, p) => d.audit(p.id).map((l) => JSON.parse(l)).filter((r) => r.type === type).length;
const isBearer401 = (r, error, text) => {
  isRefused(r, 401, error, text);
  assert.match(r.headers['www-authenticate'], /^Bearer error="invalid_token"/);
};

/* --- asking --- */

test('mfa_required', async (t) => {
  const p = await withTotp();
  await t.test('names the factors that count', async () => { required(await login(p), { challenge: ['otp'] }); });
  await t.test('each type once, the recovery code beside them', async () => {
    await p.api.addPhone('+15551230100');
    await p.api.addPhone('+15551230101', 'voice');
    await p.api.addEmail('p-second@example.com');
    await p.api.addRecovery();
    required(await login(p), { challenge: ['otp', 'phone', 'email', 'recovery-code'] });
  });
  await t.test('a verified e-mail is a factor nobody enrolled', async () => { required(await app.password(mail('vic'), { audience: me, scope: SCOPE }), { challenge: ['email'] }); });
  await t.test('not for another audience', async () => { isIssued(await login(p, { audience: undefined, scope: 'openid' })); });
  await t.test('not without any factor', async () => {
    const r = isIssued(await login(someone()));
    assert.ok(!claims(r.id_token).amr?.includes('mfa'));
  });
  await t.test('leaves a row', () => assert.ok(audit('mfar', p) >= 2));
  await t.test('and is no sign-in until the factor was shown', async () => {
    const q = await withTotp();
    const r = await login(q);
    required(r, { challenge: ['otp'] });
    assert.deepEqual([audit('s', q), audit('mfar', q)], [0, 1]);
    isIssued(await otp(r.json.mfa_token, code(q)));
    assert.deepEqual([audit('s', q), audit('mfar', q)], [1, 1]);
    const [row] = d.audit(q.id).map((l) => JSON.parse(l)).filter((x) => x.type === 's');
    assert.deepEqual(row.details.prompts, [{ performed_amr: ['pwd', 'otp', 'mfa'] }]);
  });
});

test('the authenticators', async (t) => {
  const p = await withTotp();
  const sms = await p.api.addPhone('+15551230110');
  const voice = await p.api.addPhone('+15551230111', 'voice');
  const email = await p.api.addEmail('listed@example.com');
  const recovery = await p.api.addRecovery();
  const mfa = await ask(p);
  const all = await authenticators(mfa);
  const by = (x) => all.find((a) => a.id === x);
  await t.test('otp', () => assert.deepEqual(by(p.totp.id), { id: p.totp.id, authenticator_type: 'otp', type: 'otp', active: true, ...(by(p.totp.id).name ? { name: by(p.totp.id).name } : {}) }));
  await t.test('a phone by message', () => {
    const a = by(sms.id.replace('phone|', 'sms|'));
    assert.deepEqual(a, { id: a.id, authenticator_type: 'oob', type: 'phone', active: true, oob_channel: 'sms', oob_channels: ['sms'], name: 'XXXXXXX0110' });
  });
  await t.test('a phone by call', () => {
    const a = by(voice.id.replace('phone|', 'voice|'));
    assert.deepEqual([a.type, a.oob_channel, a.oob_channels], ['phone', 'voice', ['voice']]);
  });
  await t.test('an e-mail, masked', () => assert.deepEqual([by(email.id).oob_channel, by(email.id).name], ['email', 'l***@example.com']));
  await t.test('the recovery code', () => assert.deepEqual([by(recovery.id).authenticator_type, by(recovery.id).type], ['recovery-code', 'recovery-code']));
  await t.test('and nothing else', () => assert.equal(all.length, 5));
  await t.test('every type is one the requirements name', async () => {
    const types = new Set((await login(p)).json.mfa_requirements.challenge.map((x) => x.type));
    for (const a of all) assert.ok(types.has(a.type), a.type);
  });
  await t.test('of the automatic e-mail', async () => {
    const [a] = await authenticators(required(await app.password(mail('vic'), { audience: me, scope: SCOPE })));
    assert.match(a.id, /^email\|dev_\w{16}$/);
    assert.equal(a.name, 'v***@example.com');
  });
  await t.test('no security keys: this API cannot challenge them', async () => {
    for (const a of all) assert.ok(['otp', 'oob', 'recovery-code'].includes(a.authenticator_type));
  });
  await t.test('without a token, with a wrong one, with an access token', async () => {
    isBearer401(await app.get('/mfa/authenticators'), 'invalid_token', MALFORMED);
    isBearer401(await list('x'), 'invalid_token', MALFORMED);
    isBearer401(await list('A'.repeat(43)), 'invalid_token', MALFORMED);
    isBearer401(await list(p.api.token), 'invalid_token', MALFORMED);
    isBearer401(await app.get('/mfa/authenticators', `DPoP ${mfa}`), 'invalid_token', MALFORMED);
  });
  await t.test('deleting one needs more than this token', async () => {
    for (const authorization of [`Bearer ${mfa}`, `Bearer ${p.api.token}`, undefined]) {
      const r = await d.http({ method: 'DELETE', path: `/mfa/authenticators/${encodeURIComponent(p.totp.id)}`, headers: authorization ? { authorization } : {} });
      isBearer401(r, 'invalid_token');
    }
    assert.equal((await authenticators(mfa)).length, 5);
  });
});

/* --- one-time passwords --- */

test('an otp completes the sign-in', async (t) => {
  const p = await withTotp();
  let mfa = await ask(p);
  await t.test('with what SDKs send and no more: audience and scope come from the mfa_token', async () => {
    const used = code(p);
    const r = isIssued(await otp(mfa, used));
    assert.deepEqual(r.scope.split(' ').sort(), SCOPE.split(' ').sort());
    const at = claims(r.access_token);
    assert.deepEqual([at.aud, at.azp ?? at.client_id, at.sub, at.gty], [[me, `${d.base}/userinfo`], 'app', p.id, 'password']);
    assert.deepEqual(claims(r.id_token).amr, ['pwd', 'otp', 'mfa']);
    assert.equal((await d.bearer(r.access_token).get(FACTORS)).status, 200, 'what the API enforces is there');
    assert.ok(r.refresh_token);
    assert.ok(r.expires_in <= WINDOW / SECOND);
  });
  await t.test('once', async () => isRefused(await otp(mfa, code(p, 1)), 403, 'invalid_grant', MALFORMED));
  await t.test('and its token is over for the other calls', async () => {
    isBearer401(await list(mfa), 'invalid_token', MALFORMED);
    isBearer401(await challenge(mfa), 'invalid_token', MALFORMED);
  });
  await t.test('in JSON, by a confidential client, by the literal request of the documentation', async () => {
    d.advance(MINUTE);
    mfa = await ask(p, {}, web);
    const c = await d.http({ method: 'POST', path: '/mfa/challenge', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ mfa_token: mfa, client_id: 'web', client_secret: SECRET, challenge_type: 'otp' }) });
    assert.deepEqual([c.status, c.json], [200, { challenge_type: 'otp' }]);
    isIssued(await otp(mfa, code(p), web, { json: true }));
  });
  await t.test('a code is accepted once, whatever the mfa_token', async () => {
    const [a, b] = [await ask(p), await ask(p)];
    d.advance(MINUTE);
    const used = code(p);
    isIssued(await otp(a, used));
    isRefused(await otp(b, used), 403, 'invalid_grant', 'Invalid otp_code.');
    d.advance(MINUTE);
    isIssued(await otp(b, code(p)));
  });
  await t.test('two at once: one wins', async () => {
    d.advance(MINUTE);
    mfa = await ask(p);
    const all = await Promise.all(Array.from({ length: 6 }, () => otp(mfa, code(p))));
    assert.equal(all.filter((r) => r.status === 200).length, 1);
  });
});

test('wrong otp codes', async (t) => {
  const p = await withTotp();
  const mfa = await ask(p);
  for (const [what, value] of [['a wrong one', wrongCode(...[-1, 0, 1].map((n) => code(p, n)))], ['letters', 'abcdef'], ['a short one', '12345'], ['a long one', '1'.repeat(500)]])
    await t.test(what, async () => isRefused(await otp(mfa, value), 403, 'invalid_grant', 'Invalid otp_code.'));
  await t.test('none', async () => isRefused(await otp(mfa, undefined), 400, 'invalid_request', 'Missing required parameter: otp'));
  await t.test('no mfa_token', async () => isRefused(await otp(undefined, '123456'), 400, 'invalid_request', 'Missing required parameter: mfa_token'));
  await t.test('the right one still counts', async () => { isIssued(await otp(mfa, code(p))); });
  await t.test('ten in an hour and no more', async () => {
    const again = await ask(p);
    for (let i = 0; i < 6; i++) isRefused(await otp(again, 'abcdef'), 403, 'invalid_grant', 'Invalid otp_code.');
    d.advance(30 * SECOND);
    const r = await otp(again, code(p));
    isRefused(r, 429, 'too_many_attempts');
    assert.ok(Number(r.headers['retry-after']) > 0);
    assert.equal(audit('gd_otp_rate_limit_exceed', p), 1);
  });
});

test('an mfa_token', async (t) => {
  const p = await withTotp();
  const mfa = await ask(p);
  const isIn = (r) => isRefused(r, 403, 'invalid_grant', MALFORMED);
  await t.test('that is none', async () => {
    for (const bad of ['x', 'A'.repeat(43), `${mfa}A`, mfa.slice(1), 'Fe26.2**…']) isIn(await otp(bad, code(p)));
  });
  await t.test('of another client', async () => {
    isIn(await otp(mfa, code(p), two));
    isIn(await recover(mfa, 'A'.repeat(24), two));
    isIn(await oob(mfa, 'x', '123456', two));
    isBearer401(await challenge(mfa, {}, two), 'invalid_token', MALFORMED);
  });
  await t.test('of somebody else takes nobody\'s code', async () => {
    const q = await withTotp();
    isRefused(await otp(mfa, code(q)), 403, 'invalid_grant', 'Invalid otp_code.');
  });
  await t.test('needs the client\'s secret', async () => {
    const held = await ask(p, {}, web);
    isRefused(await otp(held, code(p), new App(d, 'web')), 401, 'invalid_client');
    isRefused(await challenge(held, { client_secret: 'wrong' }, new App(d, 'web')), 401, 'invalid_client');
  });
  await t.test('after five minutes', async () => {
    const late = await ask(p);
    d.advance(5 * MINUTE - SECOND);
    assert.equal((await list(late)).status, 200);
    d.advance(2 * SECOND);
    isRefused(await otp(late, code(p)), 401, 'expired_token', 'mfa_token is expired');
    isRefused(await oob(late, 'x', '123456'), 401, 'expired_token', 'mfa_token is expired');
    isRefused(await recover(late, 'x'), 401, 'expired_token', 'mfa_token is expired');
    isBearer401(await list(late), 'expired_token', 'mfa_token is expired');
    isBearer401(await challenge(late), 'expired_token', 'mfa_token is expired');
    isBearer401(await associate(late, { authenticator_types: ['otp'] }), 'expired_token', 'mfa_token is expired');
  });
  await t.test('of a user who was blocked, or is gone', async () => {
    const [q, r] = [await withTotp(), await withTotp()];
    const [a, b] = [await ask(q), await ask(r)];
    d.apply({ users: [{ user_id: q.id, blocked: true }] });
    d.ok('user', 'delete', r.id);
    isRefused(await otp(a, code(q)), 403, 'unauthorized', /user is blocked/);
    isRefused(await list(a), 403, 'unauthorized', /user is blocked/);
    isIn(await otp(b, code(r)));
    isBearer401(await list(b), 'invalid_token', MALFORMED);
  });
  await t.test('of a client that may no more', async () => {
    d.apply({ clients: [{ client_id: 'two', grant_types: EMBEDDED }] });
    const q = await withTotp();
    const held = await ask(q, {}, two);
    d.apply({ clients: [{ client_id: 'two', grant_types: ['client_credentials'] }] });
    isRefused(await otp(held, code(q), two), 403, 'unauthorized_client');
    d.apply({ clients: [{ client_id: 'two', grant_types: EMBEDDED }] });
    isIssued(await otp(held, code(q), two));
  });
});

/* --- codes that are sent --- */

test('a challenge', async (t) => {
  const p = await withTotp();
  const sms = (await p.api.addPhone('+15551230120')).id.replace('phone|', 'sms|');
  const email = (await p.api.addEmail('challenged@example.com')).id;
  const recovery = (await p.api.addRecovery()).id;
  const mfa = await ask(p);
  const isOtp = (r) => assert.deepEqual([r.status, r.json, r.headers['cache-control']], [200, { challenge_type: 'otp' }, 'no-store']);
  await t.test('of any kind is the one that costs nothing', async () => {
    isOtp(await challenge(mfa));
    isOtp(await challenge(mfa, { challenge_type: 'otp oob' }));
    isOtp(await challenge(mfa, { challenge_type: 'otp' }));
    isOtp(await challenge(mfa, { authenticator_id: p.totp.id }));
  });
  await t.test('as a form', async () => isOtp(await challenge(mfa, { challenge_type: 'otp' }, app, { json: false })));
  await t.test('by e-mail', async () => {
    const c = await sent(mfa, email, 'challenged@example.com', 'email');
    assert.match(c.oob_code, /^[\w-]{43}$/);
  });
  await t.test('by message, with what it is for in the text', async () => {
    const r = await challenge(mfa, { challenge_type: 'oob', authenticator_id: sms });
    assert.equal(r.json.challenge_type, 'oob');
    const m = await d.spool.take({ channel: 'sms', to: '+15551230120' });
    d.secrets.add('code', m.code);
    assert.match(m.text, /sign-in code/);
  });
  await t.test('oob without a name: the oldest', async () => {
    assert.equal((await challenge(mfa, { challenge_type: 'oob' })).status, 200);
    const m = await d.spool.take({ to: '+15551230120' });
    d.secrets.add('code', m.code);
  });
  for (const [what, over, status, error] of [['an unknown authenticator', { authenticator_id: 'sms|dev_0000000000000000' }, 404, 'authenticator_not_found'],
    ['a password', { authenticator_id: 'password|new' }, 404, 'authenticator_not_found'],
    ['an authenticator of another kind', { challenge_type: 'oob', authenticator_id: 'TOTP' }, 400, 'unsupported_challenge_type'],
    ['a recovery code', { authenticator_id: 'RECOVERY' }, 400, 'unsupported_challenge_type'],
    ['an unknown kind', { challenge_type: 'push' }, 400, 'unsupported_challenge_type']])
    await t.test(what, async () => {
      if (over.authenticator_id === 'TOTP') over.authenticator_id = p.totp.id;
      if (over.authenticator_id === 'RECOVERY') over.authenticator_id = recovery;
      isRefused(await challenge(mfa, over), status, error);
    });
  await t.test('somebody else\'s authenticator', async () => {
    const q = await withTotp();
    isRefused(await challenge(mfa, { authenticator_id: q.totp.id }), 404, 'authenticator_not_found');
  });
  await t.test('no mfa_token', async () => isRefused(await challenge(undefined), 400, 'invalid_request', 'Missing required parameter: mfa_token'));
  await t.test('a malformed one', async () => isBearer401(await challenge('x'), 'invalid_token', MALFORMED));
  await t.test('more messages than the hour has', async () => {
    let r;
    for (let i = 0; i < 8; i++) r = await challenge(mfa, { challenge_type: 'oob', authenticator_id: email });
    isRefused(r, 429, 'too_many_attempts');
    assert.ok(Number(r.headers['retry-after']) > 0);
  });
});

test('a code that was sent completes the sign-in', async (t) => {
  const p = someone();
  const phone = (await p.api.addPhone('+15551230130')).id.replace('phone|', 'sms|');
  await t.test('by message', async () => {
    const mfa = await ask(p);
    const c = await sent(mfa, phone, '+15551230130');
    const r = isIssued(await oob(mfa, c.oob_code, c.code));
    assert.deepEqual(claims(r.id_token).amr, ['pwd', 'sms', 'mfa']);
    isRefused(await oob(mfa, c.oob_code, c.code), 403, 'invalid_grant', MALFORMED);
  });
  await t.test('by call', async () => {
    const q = someone();
    const voice = (await q.api.addPhone('+15551230131', 'voice')).id.replace('phone|', 'voice|');
    const mfa = await ask(q);
    const c = await sent(mfa, voice, '+15551230131', 'voice');
    isIssued(await oob(mfa, c.oob_code, c.code));
  });
  await t.test('by e-mail, to the verified address', async () => {
    const mfa = required(await app.password(mail('vic'), { audience: me, scope: SCOPE }));
    const [a] = await authenticators(mfa);
    const c = await sent(mfa, a.id, mail('vic'), 'email');
    assert.deepEqual(claims(isIssued(await oob(mfa, c.oob_code, c.code)).id_token).amr, ['pwd', 'otp', 'mfa']);
  });
  await t.test('wrong codes, and the end of the challenge after five', async () => {
    const mfa = await ask(p);
    const c = await sent(mfa, phone, '+15551230130');
    for (let i = 0; i < 5; i++) isRefused(await oob(mfa, c.oob_code, wrongCode(c.code)), 403, 'invalid_grant', 'Invalid binding_code.');
    isRefused(await oob(mfa, c.oob_code, c.code), 403, 'invalid_grant', OVER);
    const again = await sent(mfa, phone, '+15551230130');
    isIssued(await oob(mfa, again.oob_code, again.code));
  });
  await t.test('an oob_code that is none, of another mfa_token, of another challenge', async () => {
    const q = someone();
    const x = (await q.api.addPhone('+15551230132')).id.replace('phone|', 'sms|');
    const [a, b] = [await ask(q), await ask(q)];
    const [one, other] = [await sent(a, x, '+15551230132'), await sent(a, x, '+15551230132')];
    isRefused(await oob(a, 'A'.repeat(43), one.code), 403, 'invalid_grant', OVER);
    isRefused(await oob(b, one.oob_code, one.code), 403, 'invalid_grant', OVER);
    if (one.code !== other.code) isRefused(await oob(a, one.oob_code, other.code), 403, 'invalid_grant', 'Invalid binding_code.');
    isIssued(await oob(a, other.oob_code, other.code));
  });
  await t.test('missing parameters', async () => {
    isRefused(await oob('x', undefined, '1'), 400, 'invalid_request', 'Missing required parameter: oob_code');
    const q = await withTotp();
    const m = await q.api.addPhone('+15551230139');
    const mfa = await ask(q);
    const c = await sent(mfa, m.id.replace('phone|', 'sms|'), '+15551230139');
    isRefused(await oob(mfa, c.oob_code, undefined), 400, 'invalid_request', 'Missing required parameter: binding_code');
    isRefused(await oob(mfa, 'x', undefined), 403, 'invalid_grant', OVER);
  });
  await t.test('a method that was deleted in between', async () => {
    const q = await withTotp();
    const m = await q.api.addPhone('+15551230133');
    const mfa = await ask(q);
    const c = await sent(mfa, m.id.replace('phone|', 'sms|'), '+15551230133');
    assert.equal((await q.api.del(`/me/v1/authentication-methods/${encodeURIComponent(m.id)}`)).status, 204);
    isRefused(await oob(mfa, c.oob_code, c.code), 403, 'invalid_grant');
    isIssued(await otp(mfa, code(q)));
  });
});

/* --- recovery codes --- */

test('a recovery code completes the sign-in and is replaced', async (t) => {
  const p = await withTotp();
  const first = (await p.api.addRecovery()).recovery_code;
  d.secrets.add('recovery_code', first);
  const mfa = await ask(p);
  await t.test('a wrong one', async () => isRefused(await recover(mfa, 'A'.repeat(24)), 403, 'invalid_grant', 'MFA Authorization rejected.'));
  await t.test('none', async () => isRefused(await recover(mfa, undefined), 400, 'invalid_request', 'Missing required parameter: recovery_code'));
  const r = isIssued(await recover(mfa, first.toLowerCase().replace(/(.{4})(?=.)/g, '$1-')));
  await t.test('the answer holds the new one', () => {
    assert.match(r.recovery_code, /^[A-Z0-9]{24}$/);
    assert.notEqual(r.recovery_code, first);
    assert.ok(claims(r.id_token).amr.includes('mfa'));
  });
  await t.test('the old one is burned', async () => isRefused(await recover(await ask(p), first), 403, 'invalid_grant', 'MFA Authorization rejected.'));
  await t.test('the new one is good', async () => {
    const again = isIssued(await recover(await ask(p), r.recovery_code));
    assert.notEqual(again.recovery_code, r.recovery_code);
  });
  await t.test('other grants show none', async () => assert.equal(isIssued(await otp(await ask(p), code(p))).recovery_code, undefined));
  await t.test('somebody without one', async () => {
    const q = await withTotp();
    isRefused(await recover(await ask(q), first), 403, 'invalid_grant', 'MFA Authorization rejected.');
  });
});

/* --- rules name their factors --- */

test('only the factors that a rule names', async (t) => {
  const ruled = new App(d, 'ruled');
  const p = await withTotp();
  const sms = (await p.api.addPhone('+15551230140')).id.replace('phone|', 'sms|');
  const { recovery_code } = await p.api.addRecovery();
  d.secrets.add('recovery_code', recovery_code);
  const mfa = await ask(p, {}, ruled);
  await t.test('others are not challenged', async () => {
    isRefused(await challenge(mfa, { challenge_type: 'oob' }, ruled), 400, 'unsupported_challenge_type');
    isRefused(await challenge(mfa, { authenticator_id: sms }, ruled), 400, 'unsupported_challenge_type');
    assert.deepEqual((await challenge(mfa, {}, ruled)).json, { challenge_type: 'otp' });
  });
  await t.test('and a recovery code does not stand in for it', async () => isRefused(await recover(mfa, recovery_code, ruled), 403, 'invalid_grant', 'MFA Authorization rejected.'));
  await t.test('it is not burned by that', async () => { isIssued(await recover(await ask(p), recovery_code)); });
  await t.test('the one that is named', async () => { isIssued(await otp(mfa, code(p), ruled)); });
  await t.test('an otp where the rule wants something else', async () => {
    d.apply({ policies: [{ client_id: 'ruled', scope: ['read:me:factors'], require: ['phone'], max_age: 900 }] });
    const held = await ask(p, {}, ruled);
    d.advance(30 * SECOND);
    isRefused(await otp(held, code(p), ruled), 403, 'invalid_grant', 'Invalid otp_code.');
    const c = await sent(held, sms, '+15551230140', 'sms', ruled);
    isIssued(await oob(held, c.oob_code, c.code, ruled));
  });
});

/* --- refresh --- */

test('the second factor of a refresh', async (t) => {
  const p = await withTotp();
  const first = isIssued(await otp(await ask(p), code(p)));
  let last = first;
  await t.test('is not asked for within the window, its end included', async () => {
    d.advance(WINDOW - 5 * SECOND);
    last = isIssued(await app.refresh(last.refresh_token));
    assert.ok(last.expires_in <= 5, `${last.expires_in}`);
  });
  let mfa;
  await t.test('is asked for past it', async () => {
    d.advance(6 * SECOND);
    mfa = required(await app.refresh(last.refresh_token), { challenge: ['otp'] });
  });
  await t.test('which does not use the refresh token up', async () => { mfa = required(await app.refresh(last.refresh_token)); });
  await t.test('and continues the family', async () => {
    const r = isIssued(await otp(mfa, code(p)));
    assert.notEqual(r.refresh_token, last.refresh_token);
    assert.deepEqual(claims(r.id_token).amr, ['pwd', 'otp', 'mfa']);
    assert.ok(r.expires_in > 800);
    assert.equal((await d.bearer(r.access_token).get(FACTORS)).status, 200);
    last = { ...r, before: last.refresh_token };
  });
  await t.test('whose window starts anew', async () => {
    d.advance(WINDOW - 5 * SECOND);
    const r = isIssued(await app.refresh(last.refresh_token));
    last = { ...r, before: last.refresh_token };
  });
  await t.test('by other factors as well, with an mfa_token of the refresh', async () => {
    d.advance(MINUTE);
    const { recovery_code } = await p.api.addRecovery();
    d.secrets.add('recovery_code', recovery_code);
    mfa = required(await app.refresh(last.refresh_token), { challenge: ['otp', 'recovery-code'] });
    const r = isIssued(await recover(mfa, recovery_code));
    assert.ok(r.recovery_code && r.refresh_token);
    last = r;
  });
  await t.test('a family that was revoked meanwhile', async () => {
    d.advance(WINDOW + MINUTE);
    mfa = required(await app.refresh(last.refresh_token));
    assert.equal((await app.send('/oauth/revoke', { token: last.refresh_token })).status, 200);
    isRefused(await otp(mfa, code(p)), 403, 'invalid_grant', 'Unknown or invalid refresh token.');
  });
  await t.test('of a user without any factor is a new login', async () => {
    const q = someone();
    const r = isIssued(await login(q));
    d.advance(WINDOW - 5 * SECOND);
    const again = isIssued(await app.refresh(r.refresh_token));
    d.advance(6 * SECOND);
    isRefused(await app.refresh(again.refresh_token), 403, 'unmet_authentication_requirements', 'The authentication requirements for this API cannot be met. Log in again.');
  });
});

/* --- the first enrolment --- */

test('enrolling the first factor', async (t) => {
  const ENROLL = ['otp', 'phone', 'email'];
  d.apply({ tenant: { mfa_policy: 'always' } });
  t.after(() => d.apply({ tenant: { mfa_policy: 'never' } }));
  const begin = async (p) => {
    const r = await login(p);
    const mfa = required(r);
    for (const type of ENROLL) assert.ok(r.json.mfa_requirements.enroll.some((x) => x.type === type), r.text);
    return mfa;
  };
  await t.test('there is nothing to challenge', async () => {
    const mfa = await begin(someone());
    assert.deepEqual(await authenticators(mfa), []);
    isRefused(await challenge(mfa), 403, 'association_required');
    isRefused(await otp(mfa, '123456'), 403, 'invalid_grant', 'Invalid otp_code.');
  });
  await t.test('an authenticator app', async (s) => {
    const p = someone();
    const mfa = await begin(p);
    const r = await associate(mfa, { authenticator_types: ['otp'] });
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(Object.keys(r.json), ['authenticator_type', 'id', 'secret', 'barcode_uri', 'recovery_codes']);
    assert.equal(r.json.authenticator_type, 'otp');
    assert.match(r.json.id, /^totp\|dev_\w{16}$/);
    assert.match(r.json.barcode_uri, new RegExp(`^otpauth://totp/Example:.*secret=${r.json.secret}&`));
    assert.match(r.json.recovery_codes[0], /^[A-Z0-9]{24}$/);
    assert.equal(r.headers['cache-control'], 'no-store');
    p.recovery = r.json.recovery_codes[0];
    d.secrets.add('recovery_code', p.recovery);
    p.totp = { id: r.json.id, secret: r.json.secret };
    await s.test('is none before its code was shown', async () => {
      assert.deepEqual(await authenticators(mfa), []);
      isRefused(await recover(mfa, p.recovery), 403, 'invalid_grant', 'MFA Authorization rejected.');
    });
    await s.test('a wrong code', async () => isRefused(await otp(mfa, wrongCode(...[-1, 0, 1].map((n) => code(p, n)))), 403, 'invalid_grant', 'Invalid otp_code.'));
    await s.test('the code completes the sign-in', async () => {
      const done = isIssued(await otp(mfa, code(p)));
      assert.deepEqual(claims(done.id_token).amr, ['pwd', 'otp', 'mfa']);
      isRefused(await otp(mfa, code(p, 1)), 403, 'invalid_grant', MALFORMED);
    });
    await s.test('and is asked for from now on', async () => {
      d.advance(MINUTE);
      const again = required(await login(p), { challenge: ['otp', 'recovery-code'] });
      isRefused(await associate(again, { authenticator_types: ['otp'] }), 400, 'invalid_request', 'User is already enrolled');
      isIssued(await otp(again, code(p)));
    });
    await s.test('with the recovery code that came along', async () => { isIssued(await recover(required(await login(p)), p.recovery)); });
  });
  for (const [what, channel, body, to, prefix, amr] of [['a phone by message', 'sms', { phone_number: '+1 (555) 123-0150' }, '+15551230150', 'sms', 'sms'],
    ['a phone by call', 'voice', { phone_number: '+15551230151' }, '+15551230151', 'voice', 'sms'],
    ['an e-mail address', 'email', { email: 'enrolled@Example.com' }, 'enrolled@example.com', 'email', 'otp'],
    ['the user\'s own e-mail address', 'email', {}, null, 'email', 'otp']])
    await t.test(what, async () => {
      const q = someone();
      const mfa = await begin(q);
      const r = await associate(mfa, { authenticator_types: ['oob'], oob_channels: [channel], ...body });
      assert.equal(r.status, 200, r.text);
      assert.deepEqual(Object.keys(r.json), ['authenticator_type', 'id', 'oob_channel', 'oob_code', 'binding_method', 'recovery_codes']);
      assert.deepEqual([r.json.authenticator_type, r.json.oob_channel, r.json.binding_method], ['oob', channel, 'prompt']);
      assert.match(r.json.id, new RegExp(`^${prefix}\\|dev_\\w{16}$`));
      const m = await d.spool.take({ channel, to: to ?? q.mail });
      d.secrets.add('code', m.code);
      for (const c of r.json.recovery_codes) d.secrets.add('recovery_code', c);
      isRefused(await oob(mfa, r.json.oob_code, wrongCode(m.code)), 403, 'invalid_grant', 'Invalid binding_code.');
      isRefused(await oob(mfa, 'A'.repeat(43), m.code), 403, 'invalid_grant');
      const done = isIssued(await oob(mfa, r.json.oob_code, m.code));
      assert.deepEqual(claims(done.id_token).amr, ['pwd', amr, 'mfa']);
      const [a] = (await authenticators(required(await login(q)))).filter((x) => x.authenticator_type === 'oob');
      assert.equal(a.id, r.json.id);
    });
  await t.test('as a form, as server SDKs send it', async () => {
    const mfa = await begin(someone());
    const r = await associate(mfa, { authenticator_types: '["otp"]' }, { json: false });
    assert.equal(r.status, 200, r.text);
    for (const c of r.json.recovery_codes) d.secrets.add('recovery_code', c);
    assert.equal((await associate(mfa, { authenticator_types: 'otp' }, { json: false })).status, 200, 'anew: the first one is given up');
  });
  await t.test('what is refused', async (s) => {
    const mfa = await begin(someone());
    for (const [name, body, error, text] of [['nothing', {}, 'invalid_request', 'Missing required parameter: authenticator_types'],
      ['an unknown type', { authenticator_types: ['push'] }, 'unsupported_challenge_type'], ['no array', { authenticator_types: { a: 1 } }, 'unsupported_challenge_type'],
      ['no channel', { authenticator_types: ['oob'] }, 'unsupported_challenge_type'], ['push', { authenticator_types: ['oob'], oob_channels: ['auth0'] }, 'unsupported_challenge_type'],
      ['no number', { authenticator_types: ['oob'], oob_channels: ['sms'] }, 'invalid_request', 'Missing required parameter: phone_number'],
      ['no E.164 number', { authenticator_types: ['oob'], oob_channels: ['sms'], phone_number: '555' }, 'invalid_request'],
      ['no address', { authenticator_types: ['oob'], oob_channels: ['email'], email: 'nobody' }, 'invalid_request']])
      await s.test(name, async () => isRefused(await associate(mfa, body), 400, error, text));
    await s.test('a wrong token', async () => isBearer401(await associate('x', { authenticator_types: ['otp'] }), 'invalid_token', MALFORMED));
    await s.test('no JSON', async () => isRefused(await associate(mfa, {}, { raw: '{' }), 400, 'invalid_request'));
    await s.test('a type that is switched off', async () => {
      d.apply({ factors: { phone: false } });
      isRefused(await associate(mfa, { authenticator_types: ['oob'], oob_channels: ['sms'], phone_number: '+15551230152' }), 400, 'unsupported_challenge_type');
      d.apply({ factors: { phone: true } });
    });
  });
  await t.test('a factor that was enrolled elsewhere meanwhile must be shown', async () => {
    const q = someone();
    const mfa = await begin(q);
    const r = (await associate(mfa, { authenticator_types: ['otp'] })).json;
    await q.api.addPhone('+15551230153');
    isRefused(await otp(mfa, q.api.code(r.secret)), 400, 'invalid_request', 'User is already enrolled');
  });
  await t.test('five wrong codes end it, and it can begin anew', async () => {
    const q = someone();
    const mfa = await begin(q);
    q.totp = (await associate(mfa, { authenticator_types: ['otp'] })).json;
    for (let i = 0; i < 5; i++) isRefused(await otp(mfa, 'abcdef'), 403, 'invalid_grant', 'Invalid otp_code.');
    isRefused(await otp(mfa, code(q)), 403, 'invalid_grant', 'Invalid otp_code.');
    q.totp = (await associate(mfa, { authenticator_types: ['otp'] })).json;
    isIssued(await otp(mfa, code(q)));
  });
  await t.test('without a recovery code where those are switched off', async () => {
    d.apply({ factors: { 'recovery-code': false } });
    const r = await associate(await begin(someone()), { authenticator_types: ['otp'] });
    d.apply({ factors: { 'recovery-code': true } });
    assert.equal(r.json.recovery_codes, undefined, r.text);
  });
});

/* --- origins and keys --- */

test('cross-origin', async (t) => {
  const p = await withTotp();
  const mfa = await ask(p);
  const routes = [['POST', '/mfa/challenge'], ['GET', '/mfa/authenticators'], ['POST', '/mfa/associate'], ['DELETE', '/mfa/authenticators/totp%7Cdev_0000000000000000']];
  for (const [method, path] of routes)
    await t.test(`preflight of ${method} ${path}`, async () => {
      const r = await d.http({ method: 'OPTIONS', path, headers: { origin: ORIGIN, 'access-control-request-method': method, 'access-control-request-headers': 'authorization,content-type,dpop' } });
      assert.equal(r.status, 204);
      assert.equal(r.headers['access-control-allow-origin'], ORIGIN);
      assert.match(r.headers['access-control-allow-headers'], /Authorization.*Content-Type.*DPoP/);
    });
  const calls = (token, origin) => [
    challenge(token, { challenge_type: 'otp' }, app, { headers: { origin } }),
    list(token, { origin }),
    associate(token, { authenticator_types: ['otp'] }, { headers: { origin } }),
  ];
  await t.test('answers and errors may be read by the client\'s origin', async () => {
    for (const r of await Promise.all([...calls(mfa, ORIGIN), ...calls('x', ORIGIN)])) {
      assert.equal(r.headers['access-control-allow-origin'], ORIGIN, r.text);
      assert.match(r.headers['access-control-expose-headers'], /DPoP-Nonce.*WWW-Authenticate.*Retry-After/);
    }
  });
  await t.test('and by no other, not even another client\'s', async () => {
    for (const origin of ['https://evil.example', 'https://two.example'])
      for (const r of await Promise.all(calls(mfa, origin))) {
        isRefused(r, 403, 'access_denied');
        assert.equal(r.headers['access-control-allow-origin'], undefined);
      }
  });
});

test('a sign-in that began with a DPoP key', async (t) => {
  const p = await withTotp();
  assert.equal((await login(p, {}, dpop)).json.error, 'use_dpop_nonce');
  const mfa = await ask(p, {}, dpop);
  await t.test('without a proof', async () => isRefused(await otp(mfa, code(p), dpop, { dpop: false }), 400, 'invalid_dpop_proof'));
  await t.test('with another key', async () => {
    const other = new Prover(d);
    other.nonce = dpop.dpop.nonce;
    isRefused(await otp(mfa, code(p), dpop, { dpop: other }), 400, 'invalid_dpop_proof', 'The mfa_token is bound to another DPoP key.');
  });
  await t.test('with its key: the tokens are bound to it', async () => {
    const r = isIssued(await otp(mfa, code(p), dpop), 'DPoP');
    assert.equal(claims(r.access_token).cnf.jkt, dpop.dpop.jkt);
  });
});

/* --- where the user's bucket is off --- */

test('an mfa_token ends after twenty wrong codes all the same', async (t) => {
  const e = await Daemon.start({ config: { rate_limit: { enabled: false, otp_failures_per_hour: 0 } } });
  t.after(() => e.stop());
  e.apply({ tenant: { mfa_policy: 'always' }, clients: [client('app', { app_type: 'native', grant_types: EMBEDDED })],
    client_grants: [grant(e.base, 'app')], users: [user('auth0|ann', { email: mail('ann'), password: PASSWORD })] });
  e.secrets.add('password', PASSWORD);
  const a = new App(e, 'app');
  const { secret } = await e.as('auth0|ann').addTotp();
  const mfa = required(await a.password(mail('ann')));
  for (let i = 0; i < 20; i++) isRefused(await otp(mfa, 'abcdef', a), 403, 'invalid_grant', 'Invalid otp_code.');
  e.advance(30 * SECOND);
  isRefused(await otp(mfa, totp(secret, e.now()), a), 403, 'invalid_grant', MALFORMED);
  const again = required(await a.password(mail('ann')));
  e.secrets.add('otp_code', totp(secret, e.now()));
  isIssued(await otp(again, totp(secret, e.now()), a));
});

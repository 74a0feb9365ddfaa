/* SPDX-License-Identifier: Apache-2.0
 * Passkeys: enrolment with a software authenticator, the object, limits, sessions, and what is refused. */
import crypto from 'node:crypto';
import { assert, test, before, after, Daemon, METHODS, FACTORS, ORIGIN, SCOPES, methodPath, isProblem, pointers, problem } from './lib/kit.mjs';
import { Credential, FLAG, cbor, create } from './lib/authenticator.mjs';

const CHROME = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const FACTORS_ON = { passkey: true, 'webauthn-roaming': true, 'webauthn-platform': true };
const NEW = '/me/v1/authentication-methods/passkey%7Cnew';
const CLIENT_DATA = '/authn_response/response/clientDataJSON';
const ATTESTATION = '/authn_response/response/attestationObject';

let d;
before(async () => { d = await Daemon.start({ state: { factors: FACTORS_ON } }); });
after(() => d.stop());

/* --- the steps --- */

/* Creation options of a new enrolment with its session. */
async function start(s, body = {}, opts) {
  const r = await s.want(202, 'POST', METHODS, { type: 'passkey', ...body }, opts);
  return { auth_session: r.json.auth_session, options: r.json.authn_params_public_key, r };
}
const send = (s, e, authn_response, opts, path = NEW) => s.post(`${path}/verify`, { auth_session: e.auth_session, authn_response }, opts);
/* A whole enrolment; the answer to verify. */
async function attempt(s, over = {}, credential = undefined, { origin = s.d.base, body, opts } = {}) {
  const e = await start(s, body, opts);
  return send(s, e, create(e.options, origin, over, credential), opts);
}
async function add(s, over, credential, how) {
  const r = await attempt(s, over, credential, how);
  assert.equal(r.status, 201, r.text);
  return r.json;
}
async function addKey(s, type, over, credential) {
  const e = await s.enrol({ type });
  const r = await send(s, e, create(e.authn_params_public_key, s.d.base, over, credential), undefined, methodPath(e.id));
  assert.equal(r.status, 201, r.text);
  return r.json;
}
const gone = (r) => isProblem(r, 400, 'A0E-400-0001', 'Invalid or expired session');

/* --- creation options --- */

test('factors name the types', async (t) => {
  await t.test('of a user with a database identity', async () => assert.deepEqual(await d.session().factors(),
    ['password', 'passkey', 'webauthn-platform', 'webauthn-roaming', 'totp', 'phone', 'email', 'recovery-code']));
  await t.test('and of one without: no passkey', async () => assert.deepEqual(await d.as('google-oauth2|carol').factors(),
    ['webauthn-platform', 'webauthn-roaming', 'totp', 'phone', 'email', 'recovery-code']));
  await t.test('with usage', async () => {
    const { factors } = (await d.session().want(200, 'GET', FACTORS)).json;
    assert.deepEqual(factors.find((f) => f.type === 'passkey').usage, ['primary']);
    assert.deepEqual(factors.find((f) => f.type === 'webauthn-roaming').usage, ['secondary']);
  });
});

test('creation options', async (t) => {
  const s = d.as('auth0|alice');
  const { r, options: o } = await start(s);
  await t.test('no id in the body, Location of the pending one', () => {
    assert.deepEqual(Object.keys(r.json).sort(), ['auth_session', 'authn_params_public_key']);
    assert.equal(r.headers.location, `${d.base}${NEW}`);
    assert.match(r.json.auth_session, /^[A-Za-z0-9_-]{64}$/);
  });
  await t.test('exactly as the contract has them', () => {
    assert.match(o.challenge, /^[A-Za-z0-9_-]{43}$/);
    assert.match(o.user.id, /^[A-Za-z0-9_-]{86}$/);
    assert.deepEqual(o, {
      challenge: o.challenge, timeout: 60000, rp: { id: 'localhost', name: 'localhost' },
      user: { id: o.user.id, name: 'Alice@Example.com', displayName: 'Alice Liddell' },
      pubKeyCredParams: [{ type: 'public-key', alg: -8 }, { type: 'public-key', alg: -7 }, { type: 'public-key', alg: -257 }],
      authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' },
    });
  });
  await t.test('a new challenge and session each time, the same user handle', async () => {
    const again = await start(s);
    assert.notEqual(again.options.challenge, o.challenge);
    assert.notEqual(again.auth_session, r.json.auth_session);
    assert.equal(again.options.user.id, o.user.id);
  });
  await t.test('a handle of its own for every user, without meaning', async () => {
    const handles = new Set([o.user.id]);
    for (let i = 0; i < 3; i++) handles.add((await start(d.session())).options.user.id);
    assert.equal(handles.size, 4);
    for (const h of handles) assert.ok(!Buffer.from(h, 'base64url').toString('latin1').includes('auth0'));
  });
  await t.test('the handle is the same after a credential came and went, through any client', async () => {
    const u = d.session();
    const m = await add(u);
    const spare = await add(u);
    assert.equal((await u.del(methodPath(m.id))).status, 204);
    assert.equal((await start(d.as(u.user, { azp: 'native' }))).options.user.id, m.user_handle);
    assert.equal(spare.user_handle, m.user_handle);
  });
  await t.test('no pending passkey is listed', async () => assert.deepEqual(await s.list('passkey'), []));
});

test('excludeCredentials only when asked for', async (t) => {
  const s = d.session();
  const m = await add(s, { transports: ['usb', 'nfc'] });
  const k = await addKey(s, 'webauthn-roaming', { transports: [] });
  await t.test('by default not', async () => assert.equal((await start(s)).options.excludeCredentials, undefined));
  await t.test('false', async () => assert.equal((await start(s, { use_exclude_credentials: false })).options.excludeCredentials, undefined));
  await t.test('true: all of the user\'s', async () => {
    const list = (await start(s, { use_exclude_credentials: true })).options.excludeCredentials;
    const byId = (a, b) => a.id < b.id ? -1 : 1;
    assert.deepEqual(list.sort(byId), [{ id: m.key_id, type: 'public-key', transports: ['usb', 'nfc'] },
      { id: k.key_id, type: 'public-key', transports: [] }].sort(byId));
  });
  await t.test('true with none: an empty list', async () => assert.deepEqual((await start(d.session(), { use_exclude_credentials: true })).options.excludeCredentials, []));
  await t.test('something else is refused', async () => {
    for (const v of ['true', 1, null]) {
      const r = await s.post(METHODS, { type: 'passkey', use_exclude_credentials: v });
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), ['/use_exclude_credentials']);
    }
  });
});

test('connection and identity_user_id', async (t) => {
  const s = d.session();
  for (const [what, body] of [['the connection', { connection: 'Username-Password-Authentication' }], ['the full identity', { identity_user_id: s.user }],
    ['the bare identity', { identity_user_id: s.user.split('|')[1] }],
    ['both', { connection: 'Username-Password-Authentication', identity_user_id: s.user }], ['an extra member', { somebody: 'else' }]])
    await t.test(what, async () => { await start(s, body); });
  for (const [what, body, pointer] of [['an unknown connection', { connection: 'nope' }, '/connection'], ['a connection with blanks', { connection: 'a b' }, '/connection'],
    ['an empty connection', { connection: '' }, '/connection'], ['a long connection', { connection: 'x'.repeat(129) }, '/connection'],
    ['a number', { connection: 1 }, '/connection'], ['an unknown identity', { identity_user_id: 'auth0|nobody' }, '/identity_user_id'],
    ['another user\'s identity', { identity_user_id: 'auth0|alice' }, '/identity_user_id'], ['an identity with blanks', { identity_user_id: 'a b' }, '/identity_user_id'],
    ['an empty identity', { identity_user_id: '' }, '/identity_user_id'], ['a long identity', { identity_user_id: 'x'.repeat(256) }, '/identity_user_id']])
    await t.test(what, async () => {
      const r = await s.post(METHODS, { type: 'passkey', ...body });
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), [pointer]);
    });
  await t.test('a user without a database identity is refused', async () => {
    isProblem(await d.as('google-oauth2|carol').post(METHODS, { type: 'passkey' }), 400, 'A0E-400-0001');
  });
  await t.test('and may enrol a security key', async () => {
    const c = d.as('google-oauth2|carol');
    const k = await addKey(c, 'webauthn-roaming');
    assert.equal((await c.del(methodPath(k.id))).status, 204);
  });
});

/* --- the object --- */

test('every path form verifies', async (t) => {
  for (const form of ['passkey|new', 'passkey%7Cnew', 'passkey%7cnew', 'passkey%257Cnew', 'passkey%257cnew'])
    await t.test(form, async () => {
      const s = d.session();
      const e = await start(s);
      const r = await send(s, e, create(e.options, d.base), undefined, `${METHODS}/${form}`);
      assert.equal(r.status, 201, r.text);
      assert.equal(r.headers.location, `${d.base}${methodPath(r.json.id)}`);
    });
  for (const form of ['passkey%7Cnew2', 'passkey', 'passkey%7C', 'passkey%7CNEW', 'Passkey%7Cnew', 'passkey%7Cdev_aaaaaaaaaaaaaaaa', 'password%7Cnew', 'totp%7Cnew'])
    await t.test(`not ${form}`, async () => {
      const s = d.session();
      const e = await start(s);
      const r = await send(s, e, create(e.options, d.base), undefined, `${METHODS}/${form}`);
      assert.ok([400, 404].includes(r.status), r.text);
      assert.deepEqual(await s.list(), []);
    });
});

test('the passkey object', async (t) => {
  for (const alg of ['ES256', 'RS256', 'EdDSA'])
    for (const fmt of ['none', 'packed'])
      await t.test(`${alg} with attestation ${fmt}`, async () => {
        const s = d.session();
        const c = new Credential(alg);
        const e = await start(s);
        const r = await send(s, e, create(e.options, d.base, { fmt }, c), { headers: { 'user-agent': CHROME } });
        assert.equal(r.status, 201, r.text);
        const m = r.json;
        const hex = c.aaguid.toString('hex');
        assert.match(m.id, /^passkey\|dev_[A-Za-z0-9]{16}$/);
        assert.equal(r.headers.location, `${d.base}${methodPath(m.id)}`);
        assert.ok(Math.abs(Date.parse(m.created_at) - d.now()) < 60000, m.created_at);
        assert.deepEqual(m, {
          id: m.id, type: 'passkey', identity_user_id: s.user, key_id: c.id.toString('base64url'), public_key: c.publicKey.toString('base64'),
          credential_device_type: 'single_device', credential_backed_up: false, user_handle: e.options.user.id,
          aaguid: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
          relying_party_id: 'localhost', transports: ['internal', 'hybrid'], user_agent: 'Chrome 131.0.0 / Mac OS X 10.15.7',
          usage: ['primary'], created_at: m.created_at,
        });
        assert.deepEqual((await s.want(200, 'GET', methodPath(m.id))).json, m);
        assert.deepEqual(await s.list(), [m]);
        assert.deepEqual(await s.list('passkey'), [m]);
        assert.deepEqual(await s.list('totp'), []);
        assert.deepEqual(await s.list('webauthn-platform'), []);
      });
  await t.test('public keys of all paddings are standard base64', async () => {
    const s = d.session();
    for (const alg of ['ES256', 'RS256', 'EdDSA']) assert.match((await add(s, {}, new Credential(alg))).public_key, /^[A-Za-z0-9+/]+={0,2}$/);
    for (const m of await s.list()) assert.equal(m.public_key.length % 4, 0);
  });
});

test('device type and backup state come from the flags', async (t) => {
  const F = FLAG.UP | FLAG.AT;
  for (const [what, flags, type, up] of [['neither', F, 'single_device', false], ['eligible', F | FLAG.BE, 'multi_device', false],
    ['backed up', F | FLAG.BE | FLAG.BS, 'multi_device', true], ['with user verification', F | FLAG.UV | FLAG.BE | FLAG.BS, 'multi_device', true]])
    await t.test(what, async () => {
      const m = await add(d.session(), { flags });
      assert.deepEqual([m.credential_device_type, m.credential_backed_up], [type, up]);
    });
  await t.test('backed up without being eligible is refused', async () => {
    const r = await attempt(d.session(), { flags: F | FLAG.BS });
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), [ATTESTATION]);
  });
});

test('what clients send besides', async (t) => {
  const s = d.session();
  const cases = {
    'no transports': [(a) => { delete a.response.transports; }, undefined],
    'transports outside': [(a) => { delete a.response.transports; a.transports = ['ble']; }, ['ble']],
    'transports in both places: the inner': [(a) => { a.transports = ['ble']; }, ['internal', 'hybrid']],
    'many long transports': [(a) => { a.response.transports = Array(32).fill('"'.repeat(100)); }, Array(32).fill('"'.repeat(100))],
    'transports nobody knows': [(a) => { a.response.transports = ['carrier-pigeon', 'é"\\']; }, ['carrier-pigeon', 'é"\\']],
    'no attachment and no extensions': [(a) => { delete a.authenticatorAttachment; delete a.clientExtensionResults; }, ['internal', 'hybrid']],
    'an attachment': [(a) => { a.authenticatorAttachment = 'cross-platform'; }, ['internal', 'hybrid']],
    'unknown members': [(a) => { a.more = { x: [1] }; a.response.more = 1; }, ['internal', 'hybrid']],
    'padded base64url': [(a) => {
      const pad = (v) => v + '='.repeat((4 - v.length % 4) % 4);
      a.id = a.rawId = pad(a.rawId);
      a.response.clientDataJSON = pad(a.response.clientDataJSON);
      a.response.attestationObject = pad(a.response.attestationObject);
    }, ['internal', 'hybrid']],
  };
  for (const [what, [change, transports]] of Object.entries(cases))
    await t.test(what, async () => {
      const e = await start(s);
      const a = create(e.options, d.base);
      change(a);
      const r = await send(s, e, a);
      assert.equal(r.status, 201, r.text);
      assert.deepEqual(r.json.transports, transports);
    });
  await t.test('id, type and location beside authn_response', async () => {
    const e = await start(s);
    const r = await s.post(`${NEW}/verify`, { id: 'passkey|new', type: 'passkey', location: 'x', auth_session: e.auth_session, authn_response: create(e.options, d.base) });
    assert.equal(r.status, 201, r.text);
  });
  await t.test('members in the client data that nobody knows, crossOrigin and topOrigin', async () => {
    await add(s, { client: (c) => ({ ...c, crossOrigin: true, topOrigin: 'https://top.example', other_keys_can_be_added_here: 'see' }) });
  });
  await t.test('a byte order mark', async () => { await add(s, { clientText: (x) => `\uFEFF${x}` }); });
  await t.test('extensions in the authenticator data', async () => {
    await add(s, { flags: FLAG.UP | FLAG.AT | FLAG.ED, extensions: cbor(new Map([['credProtect', 2]])) });
  });
  await t.test('a counter', async () => { await add(s, { counter: 0xffffffff }); });
  await t.test('an attestation of a format that is not verified', async () => { await add(s, { fmt: 'apple', stmt: () => new Map([['x5c', [Buffer.from('x')]]]) }); });
  await t.test('no user agent', async () => assert.equal((await add(d.session())).user_agent, undefined));
  await t.test('an odd user agent stays itself, cut', async () => {
    const u = d.session();
    assert.equal((await add(u, {}, undefined, { opts: { headers: { 'user-agent': 'MyApp/1.0 "x"' } } })).user_agent, 'MyApp/1.0 "x"');
    assert.equal((await add(u, {}, undefined, { opts: { headers: { 'user-agent': 'y'.repeat(1000) } } })).user_agent, 'y'.repeat(256));
  });
});

test('credential ids', async (t) => {
  for (const n of [16, 64, 300])
    await t.test(`${n} bytes`, async () => {
      const id = crypto.randomBytes(n);
      assert.equal((await add(d.session(), { id })).key_id, id.toString('base64url'));
    });
  for (const n of [0, 15])
    await t.test(`not ${n} bytes`, async () => {
      const s = d.session();
      const e = await start(s);
      const a = create(e.options, d.base, { id: crypto.randomBytes(n) });
      if (n === 0) a.id = a.rawId = 'AA';
      isProblem(await send(s, e, a), 400, 'A0E-400-0003');
      assert.deepEqual(await s.list(), []);
    });
});

test('naming, deleting', async (t) => {
  const s = d.session();
  const a = await add(s);
  const b = await add(s);
  assert.deepEqual((await s.list('passkey')).map((m) => m.id), [a, b].sort((x, y) => x.created_at < y.created_at || (x.created_at === y.created_at && x.id < y.id) ? -1 : 1).map((m) => m.id));
  await t.test('a name', async () => {
    const r = await s.patch(methodPath(a.id), { name: ' Work laptop ' });
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(r.json, { ...a, name: 'Work laptop' });
    assert.deepEqual((await s.want(200, 'GET', methodPath(a.id))).json, r.json);
    assert.equal((await s.list()).find((m) => m.id === b.id).name, undefined);
  });
  await t.test('{} changes nothing', async () => assert.deepEqual((await s.patch(methodPath(b.id), {})).json, b));
  await t.test('a bad name', async () => assert.deepEqual(pointers(await s.patch(methodPath(a.id), { name: '' })), ['/name']));
  await t.test('no way of delivery', async () => assert.deepEqual(pointers(await s.patch(methodPath(a.id), { preferred_authentication_method: 'sms' })), ['/preferred_authentication_method']));
  await t.test('another user\'s is unknown', async () => {
    const other = d.session();
    for (const r of [await other.get(methodPath(a.id)), await other.patch(methodPath(a.id), { name: 'x' }), await other.del(methodPath(a.id))])
      isProblem(r, 404, 'A0E-404-0002');
    assert.equal((await s.list()).length, 2);
  });
  await t.test('deleted', async () => {
    assert.equal((await s.del(methodPath(a.id))).status, 204);
    isProblem(await s.get(methodPath(a.id)), 404, 'A0E-404-0002');
    assert.deepEqual(await s.list(), [b]);
    isProblem(await s.del(methodPath(a.id)), 404, 'A0E-404-0002');
  });
  await t.test('passkey|new is none', async () => {
    await start(s);
    for (const r of [await s.get(NEW), await s.patch(NEW, { name: 'x' }), await s.del(NEW)]) isProblem(r, 404, 'A0E-404-0002');
  });
  await t.test('the audit names the steps', () => {
    const rows = d.audit(s.user).join('\n');
    for (const word of ['create', 'verify', 'update', 'delete']) assert.ok(rows.includes(word), `${word} in ${rows}`);
    assert.ok(rows.includes(a.id), rows);
  });
});

test('the last primary method stays', async () => {
  const s = d.session();
  const p = await add(s);
  isProblem(await s.del(methodPath(p.id)), 409, 'A0E-409-0001');
  const pw = await s.changePassword('Zq7-passkey-too-kW');
  assert.equal(pw.status, 201, pw.text);
  assert.equal((await s.del(methodPath(p.id))).status, 204);
  isProblem(await s.del(methodPath(pw.json.id)), 409, 'A0E-409-0001');
  const q = await add(s);
  await s.addTotp();
  assert.equal((await s.del(methodPath(pw.json.id))).status, 204);
  isProblem(await s.del(methodPath(q.id)), 409, 'A0E-409-0001');
  assert.deepEqual((await s.list('passkey')).map((m) => m.id), [q.id]);
});

test('twenty in all', async (t) => {
  const s = d.session();
  await s.addTotp();
  for (let i = 0; i < 17; i++) await add(s);
  await addKey(s, 'webauthn-roaming');
  const early = await start(s);
  const early2 = await start(s);
  const r = await send(s, early, create(early.options, d.base));
  assert.equal(r.status, 201, r.text);
  assert.equal((await s.list()).length, 20);
  await t.test('another enrolment is refused', async () => {
    for (const type of ['passkey', 'webauthn-roaming', 'webauthn-platform', 'totp']) isProblem(await s.post(METHODS, { type }), 400, 'A0E-400-0001', 'too_many_entities');
  });
  await t.test('and one begun before', async () => {
    isProblem(await send(s, early2, create(early2.options, d.base)), 400, 'A0E-400-0001', 'too_many_entities');
    assert.equal((await s.list()).length, 20);
  });
  await t.test('until there is room again', async () => {
    assert.equal((await s.del(methodPath(r.json.id))).status, 204);
    await add(s);
  });
});

test('a credential is registered once', async (t) => {
  const s = d.session();
  const other = d.session();
  const c = new Credential();
  const m = await add(s, {}, c);
  const own = await attempt(s, {}, c);
  const theirs = await attempt(other, {}, c);
  const key = await (async () => {
    const e = await other.enrol({ type: 'webauthn-platform' });
    return send(other, e, create(e.authn_params_public_key, d.base, {}, c), undefined, methodPath(e.id));
  })();
  await t.test('400 at the member', () => {
    isProblem(own, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(own), ['/authn_response/id']);
  });
  await t.test('the same words whoever owns it', () => {
    assert.deepEqual(theirs.json, own.json);
    assert.deepEqual(key.json, own.json);
  });
  await t.test('a different key does not matter', async () => {
    const twin = new Credential('EdDSA');
    twin.id = c.id;
    assert.deepEqual((await attempt(other, {}, twin)).json, own.json);
  });
  await t.test('no row is left', async () => {
    assert.deepEqual((await s.list()).map((x) => x.id), [m.id]);
    assert.deepEqual((await other.list()).filter((x) => x.confirmed !== false), []);
  });
  await t.test('after it is deleted it can be registered again, by anybody', async () => {
    await add(s);
    assert.equal((await s.del(methodPath(m.id))).status, 204);
    await add(other, {}, c);
  });
  await t.test('two at once: one wins', async () => {
    const e = [await start(s), await start(other)];
    const same = new Credential();
    const [a, b] = await Promise.all([send(s, e[0], create(e[0].options, d.base, {}, same)), send(other, e[1], create(e[1].options, d.base, {}, same))]);
    assert.deepEqual([a.status, b.status].sort(), [201, 400]);
  });
});

/* --- sessions --- */

test('sessions', async (t) => {
  const a = d.session();
  const b = d.session();
  const ea = await start(a);
  const eb = await start(b);
  const answer = (e) => create(e.options, d.base);
  await t.test('a made-up one', async () => gone(await send(a, { auth_session: 'x'.repeat(64) }, answer(ea))));
  await t.test('an empty one', async () => gone(await send(a, { auth_session: '' }, answer(ea))));
  await t.test('another user\'s', async () => gone(await send(b, ea, answer(ea))));
  await t.test('of the same user through another client', async () => gone(await send(d.as(a.user, { azp: 'native' }), ea, answer(ea))));
  await t.test('of another type', async () => {
    const u = d.session();
    const p = await u.enrol({ type: 'password' });
    gone(await send(u, p, answer(ea)));
    const k = await u.enrol({ type: 'webauthn-platform' });
    gone(await send(u, k, create(k.authn_params_public_key, d.base)));
  });
  await t.test('with the challenge of another session of the user', async () => {
    const e2 = await start(a);
    const r = await send(a, ea, answer(e2));
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), [CLIENT_DATA]);
  });
  await t.test('none of that spoiled it', async () => {
    assert.equal((await send(a, ea, answer(ea))).status, 201);
    assert.equal((await send(b, eb, answer(eb))).status, 201);
  });
  await t.test('it is used up', async () => {
    gone(await send(a, ea, answer(ea)));
    assert.equal((await a.list()).length, 1);
  });
  await t.test('used by two at once: one wins', async () => {
    const u = d.session();
    const e = await start(u);
    const rs = await Promise.all([0, 1, 2, 3].map(() => send(u, e, answer(e))));
    assert.equal(rs.filter((r) => r.status === 201).length, 1, rs.map((r) => r.text).join());
    assert.equal((await u.list()).length, 1);
  });
  await t.test('two sessions side by side', async () => {
    const u = d.session();
    const one = await start(u);
    const two = await start(u);
    assert.equal((await send(u, one, answer(one))).status, 201);
    assert.equal((await send(u, two, answer(two))).status, 201);
  });
});

test('a session ends after five failures', async (t) => {
  const s = d.session();
  const e = await start(s);
  for (let i = 0; i < 5; i++) isProblem(await send(s, e, create(e.options, d.base, { type: 'webauthn.get' })), 400, 'A0E-400-0003');
  gone(await send(s, e, create(e.options, d.base)));
  await t.test('not after four', async () => {
    const f = await start(s);
    for (let i = 0; i < 4; i++) isProblem(await send(s, f, create(f.options, d.base, { rpId: 'elsewhere.example' })), 400, 'A0E-400-0003');
    assert.equal((await send(s, f, create(f.options, d.base))).status, 201);
  });
  await t.test('failures are in the audit', () => assert.ok(d.audit(s.user).some((l) => l.includes('verify') && l.includes('failed')), d.audit(s.user).join('\n')));
  await t.test('a security key: its pending method goes too', async () => {
    const u = d.session();
    const k = await u.enrol({ type: 'webauthn-roaming' });
    assert.equal((await u.list()).length, 1, 'and the list was remembered');
    for (let i = 0; i < 5; i++)
      isProblem(await send(u, k, create(k.authn_params_public_key, d.base, { challenge: 'AAAA' }), undefined, methodPath(k.id)), 400, 'A0E-400-0003');
    const r = await send(u, k, create(k.authn_params_public_key, d.base), undefined, methodPath(k.id));
    assert.ok([400, 404].includes(r.status), r.text);
    assert.deepEqual(await u.list(), []);
  });
});

/* --- refused --- */

const flip = (b, i = b.length - 1) => { const out = Buffer.from(b); out[i] ^= 1; return out; };
const withCose = (alg, ...changes) => () => {
  const c = new Credential(alg);
  const cose = new Map(c.cose);
  for (const [k, v] of changes) if (v === undefined) cose.delete(k); else cose.set(k, v);
  return [{ cose }, c];
};
const REFUSED = [
  ['the type of an assertion', CLIENT_DATA, () => [{ type: 'webauthn.get' }]],
  ['no type', CLIENT_DATA, () => [{ client: ({ type, ...c }) => c }]],
  ['a wrong challenge', CLIENT_DATA, () => [{ challenge: crypto.randomBytes(32).toString('base64url') }]],
  ['an empty challenge', CLIENT_DATA, () => [{ challenge: '' }]],
  ['half a challenge', CLIENT_DATA, () => [{ client: (c) => ({ ...c, challenge: c.challenge.slice(0, 20) }) }]],
  ['a padded challenge', CLIENT_DATA, () => [{ client: (c) => ({ ...c, challenge: `${c.challenge}=` }) }]],
  ['no challenge', CLIENT_DATA, () => [{ client: ({ challenge, ...c }) => c }]],
  ['a number as challenge', CLIENT_DATA, () => [{ challenge: 1 }]],
  ['another origin', CLIENT_DATA, () => [{ origin: 'https://evil.example' }]],
  ['no origin', CLIENT_DATA, () => [{ client: ({ origin, ...c }) => c }]],
  ['an origin with a path', CLIENT_DATA, () => [{ origin: `${d.base}/` }]],
  ['another port', CLIENT_DATA, () => [{ origin: 'http://localhost:1' }]],
  ['client data that is no JSON', CLIENT_DATA, () => [{ clientText: (t) => t.slice(0, -1) }]],
  ['client data that is a list', CLIENT_DATA, () => [{ clientText: (t) => `[${t}]` }]],
  ['client data twice', CLIENT_DATA, () => [{ clientText: (t) => t + t }]],
  ['a member twice', CLIENT_DATA, () => [{ clientText: (t) => t.replace('{', '{"type":"webauthn.create",') }]],
  ['client data that is no UTF-8', CLIENT_DATA, () => [{}, undefined, (a) => { a.response.clientDataJSON = Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url'); }]],
  ['another relying party', ATTESTATION, () => [{ rpId: 'example.org' }]],
  ['the user was not present', ATTESTATION, () => [{ flags: FLAG.UV | FLAG.AT }]],
  ['no credential data', ATTESTATION, () => [{ flags: FLAG.UP | FLAG.UV }]],
  ['an algorithm that was not offered', ATTESTATION, withCose('ES256', [3, -35])],
  ['an algorithm of another key type', ATTESTATION, withCose('ES256', [3, -8])],
  ['no algorithm', ATTESTATION, withCose('ES256', [3, undefined])],
  ['no coordinate', ATTESTATION, withCose('ES256', [-3, undefined])],
  ['a point beside the curve', ATTESTATION, withCose('ES256', [-3, Buffer.alloc(32, 1)])],
  ['a compressed point', ATTESTATION, withCose('ES256', [-3, true])],
  ['another curve', ATTESTATION, withCose('ES256', [-1, 2])],
  ['a short coordinate', ATTESTATION, withCose('ES256', [-2, Buffer.alloc(31, 1)])],
  ['a private key', ATTESTATION, withCose('ES256', [-4, Buffer.alloc(32, 1)])],
  ['an Ed25519 key of 31 bytes', ATTESTATION, withCose('EdDSA', [-2, Buffer.alloc(31, 1)])],
  ['an RSA key of 512 bits', ATTESTATION, withCose('RS256', [-1, Buffer.alloc(64, 0xff)])],
  ['an RSA exponent of 1', ATTESTATION, withCose('RS256', [-2, Buffer.from([1])])],
  ['truncated authenticator data', ATTESTATION, () => [{ data: (x) => x.subarray(0, -1) }]],
  ['authenticator data of 36 bytes', ATTESTATION, () => [{ data: (x) => x.subarray(0, 36) }]],
  ['no authenticator data', ATTESTATION, () => [{ data: () => Buffer.alloc(0) }]],
  ['bytes behind the authenticator data', ATTESTATION, () => [{ data: (x) => Buffer.concat([x, Buffer.from([0])]) }]],
  ['extensions without their flag', ATTESTATION, () => [{ extensions: cbor(new Map([['x', 1]])) }]],
  ['the flag without extensions', ATTESTATION, () => [{ flags: FLAG.UP | FLAG.AT | FLAG.ED }]],
  ['truncated CBOR', ATTESTATION, () => [{ object: (x) => x.subarray(0, -1) }]],
  ['bytes behind the CBOR', ATTESTATION, () => [{ object: (x) => Buffer.concat([x, Buffer.from([0])]) }]],
  ['an indefinite length', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xbf]), x.subarray(1), Buffer.from([0xff])]) }]],
  ['a length that is not the shortest', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xb8, 3]), x.subarray(1)]) }]],
  ['a tag', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xd9, 0xd9, 0xf7]), x]) }]],
  ['a list', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0x81]), x]) }]],
  ['a count of four thousand million', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xba, 0xff, 0xff, 0xff, 0xff]), x.subarray(1)]) }]],
  ['a hundred lists in lists', ATTESTATION, () => [{ stmt: () => { let v = []; for (let i = 0; i < 100; i++) v = [v]; return new Map([['a', v]]); } }]],
  ['a member twice in CBOR', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xa4]), x.subarray(1), cbor('fmt'), cbor('none')]) }]],
  ['no format', ATTESTATION, () => [{ object: (x) => Buffer.concat([Buffer.from([0xa2]), x.subarray(1 + 4 + 5)]) }]],
  ['a statement of none that is not empty', ATTESTATION, () => [{ stmt: () => new Map([['alg', -7]]) }]],
  ['a packed statement without a signature', ATTESTATION, () => [{ fmt: 'packed', stmt: (m) => { m.delete('sig'); return m; } }]],
  ['a packed statement with a wrong signature', ATTESTATION, () => [{ fmt: 'packed', stmt: (m) => m.set('sig', flip(m.get('sig'))) }]],
  ['a packed statement with another algorithm', ATTESTATION, () => [{ fmt: 'packed', stmt: (m) => m.set('alg', -257) }]],
  ['a packed statement for other client data', ATTESTATION, () => [{ fmt: 'packed' }, undefined, (a) => {
    a.response.clientDataJSON = Buffer.from(`${Buffer.from(a.response.clientDataJSON, 'base64url')} `).toString('base64url');
  }]],
  ['fido-u2f without certificate', ATTESTATION, () => [{ fmt: 'fido-u2f', stmt: () => new Map([['sig', Buffer.alloc(70)]]) }]],
  ['a format without a name', ATTESTATION, () => [{ fmt: '' }]],
  ['an id that is not the credential\'s', '/authn_response/rawId', () => [{}, undefined, (a) => { a.id = a.rawId = crypto.randomBytes(32).toString('base64url'); }]],
];

test('registrations that are refused', async (t) => {
  const s = d.session();
  for (const [what, pointer, make] of REFUSED)
    await t.test(what, async () => {
      const [over, credential = new Credential(), change] = make();
      const e = await start(s);
      const a = create(e.options, d.base, over, credential);
      change?.(a);
      const r = await send(s, e, a);
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), [pointer], r.text);
      assert.ok(r.json.validation_errors[0].detail.length > 10, r.text);
      assert.ok(!r.text.includes(a.id) && !r.text.includes('evil.example') && !r.text.includes(e.options.challenge), `an echo: ${r.text}`);
      assert.deepEqual(await s.list(), []);
    });
  await t.test('and the same credential is good without the fault', async () => {
    const c = new Credential();
    isProblem(await attempt(s, { type: 'webauthn.get' }, c), 400, 'A0E-400-0003');
    await add(s, {}, c);
  });
});

test('bodies that are refused', async (t) => {
  const s = d.session();
  const e = await start(s);
  const A = '/authn_response';
  const R = `${A}/response`;
  const cases = [
    ['no session', '', (b) => { delete b.auth_session; }],
    ['a number as session', '/auth_session', (b) => { b.auth_session = 1; }],
    ['a long session', '/auth_session', (b) => { b.auth_session = 'x'.repeat(513); }],
    ['no authn_response', '', (b) => { delete b.authn_response; }],
    ['authn_response as text', A, (b) => { b.authn_response = JSON.stringify(b.authn_response); }],
    ['authn_response null', A, (b) => { b.authn_response = null; }],
    ['an unknown member', '/nope', (b) => { b.nope = 1; }],
    ['a code', '/otp_code', (b) => { b.otp_code = '123456'; }],
    ['no id', A, (b, a) => { delete a.id; }],
    ['no rawId', A, (b, a) => { delete a.rawId; }],
    ['no type', A, (b, a) => { delete a.type; }],
    ['no response', A, (b, a) => { delete a.response; }],
    ['an empty id', `${A}/id`, (b, a) => { a.id = ''; }],
    ['a long id', `${A}/id`, (b, a) => { a.id = 'A'.repeat(1365); }],
    ['a long rawId', `${A}/rawId`, (b, a) => { a.rawId = 'A'.repeat(1365); }],
    ['an id that is not rawId', `${A}/id`, (b, a) => { a.id = 'AAAA'; }],
    ['an id of the standard alphabet', `${A}/id`, (b, a) => { a.id = a.rawId = '++//'; }],
    ['an id with wrong padding', `${A}/id`, (b, a) => { a.id = `${a.rawId}==`; }],
    ['a rawId with a line break', `${A}/rawId`, (b, a) => { a.rawId = `${a.id}\n`; }],
    ['another type', `${A}/type`, (b, a) => { a.type = 'password'; }],
    ['no clientDataJSON', R, (b, a) => { delete a.response.clientDataJSON; }],
    ['no attestationObject', R, (b, a) => { delete a.response.attestationObject; }],
    ['clientDataJSON as an object', `${R}/clientDataJSON`, (b, a) => { a.response.clientDataJSON = {}; }],
    ['clientDataJSON as plain JSON', `${R}/clientDataJSON`, (b, a) => { a.response.clientDataJSON = '{"type":"webauthn.create"}'; }],
    ['clientDataJSON of impossible length', `${R}/clientDataJSON`, (b, a) => { a.response.clientDataJSON = 'AAAAA'; }],
    ['clientDataJSON with bits to spare', `${R}/clientDataJSON`, (b, a) => { a.response.clientDataJSON = 'AB'; }],
    ['a long clientDataJSON', `${R}/clientDataJSON`, (b, a) => { a.response.clientDataJSON = 'A'.repeat(1001); }],
    ['an empty attestationObject', `${R}/attestationObject`, (b, a) => { a.response.attestationObject = ''; }],
    ['a long attestationObject', `${R}/attestationObject`, (b, a) => { a.response.attestationObject = 'A'.repeat(2001); }],
    ['an attestationObject with too much padding', `${R}/attestationObject`, (b, a) => { a.response.attestationObject = 'AA==='; }],
    ['an attestationObject with padding inside', `${R}/attestationObject`, (b, a) => { a.response.attestationObject = 'AA==AA=='; }],
    ['transports as text', `${R}/transports`, (b, a) => { a.response.transports = 'usb'; }],
    ['a number in transports', `${R}/transports/1`, (b, a) => { a.response.transports = ['usb', 1]; }],
    ['a long transport', `${R}/transports/0`, (b, a) => { a.response.transports = ['x'.repeat(101)]; }],
    ['many transports', `${R}/transports`, (b, a) => { a.response.transports = Array(33).fill('usb'); }],
  ];
  for (const [what, pointer, change] of cases)
    await t.test(what, async () => {
      const body = { auth_session: e.auth_session, authn_response: create(e.options, d.base) };
      change(body, body.authn_response);
      const r = await s.post(`${NEW}/verify`, body);
      isProblem(r, 400, 'A0E-400-0003');
      assert.ok(pointers(r).includes(pointer), r.text);
    });
  await t.test('none of them counts against the session', async () => assert.equal((await send(s, e, create(e.options, d.base))).status, 201));
  await t.test('no JSON', async () => isProblem(await s.post(`${NEW}/verify`, '{', { raw: true }), 400, 'A0E-400-000[13]'));
});

/* --- security keys --- */

test('security keys', async (t) => {
  for (const [type, attachment] of [['webauthn-platform', 'platform'], ['webauthn-roaming', 'cross-platform']])
    await t.test(type, async (u) => {
      const s = d.session();
      const r = await s.want(202, 'POST', METHODS, { type });
      const e = r.json;
      const o = e.authn_params_public_key;
      await u.test('an id of its type, options for its kind', () => {
        assert.match(e.id, new RegExp(`^${type}\\|dev_[A-Za-z0-9]{16}$`));
        assert.equal(r.headers.location, `${d.base}${methodPath(e.id)}`);
        assert.deepEqual(Object.keys(e).sort(), ['auth_session', 'authn_params_public_key', 'id']);
        assert.deepEqual(o.authenticatorSelection, { authenticatorAttachment: attachment, userVerification: 'preferred' });
        assert.deepEqual(o.pubKeyCredParams.map((p) => p.alg), [-8, -7, -257]);
        assert.equal(o.excludeCredentials, undefined);
      });
      await u.test('is listed unconfirmed', async () => {
        const [m] = await s.list(type);
        assert.deepEqual(m, { id: e.id, type, confirmed: false, usage: ['secondary'], created_at: m.created_at });
        assert.equal((await s.patch(methodPath(e.id), { name: 'x' })).status, 400);
      });
      await u.test('not verified on passkey|new or as the other type', async () => {
        gone(await send(s, e, create(o, d.base)));
        const r2 = await send(s, e, create(o, d.base), undefined, methodPath(e.id.replace(type, type === 'webauthn-roaming' ? 'webauthn-platform' : 'webauthn-roaming')));
        assert.ok([400, 404].includes(r2.status), r2.text);
      });
      await u.test('another user\'s is unknown', async () => {
        const r2 = await send(d.session(), e, create(o, d.base), undefined, methodPath(e.id));
        isProblem(r2, 404, 'A0E-404-0002');
      });
      const c = new Credential();
      await u.test('is confirmed by its registration', async () => {
        const v = await send(s, e, create(o, d.base, {}, c), undefined, methodPath(e.id));
        assert.equal(v.status, 201, v.text);
        assert.equal(v.headers.location, `${d.base}${methodPath(e.id)}`);
        assert.deepEqual(v.json, { id: e.id, type, confirmed: true, key_id: c.id.toString('base64url'), public_key: c.publicKey.toString('base64'),
          usage: ['secondary'], created_at: v.json.created_at });
        assert.deepEqual(await s.list(), [v.json]);
        assert.deepEqual((await s.want(200, 'GET', methodPath(e.id))).json, v.json);
        gone(await send(s, e, create(o, d.base), undefined, methodPath(e.id)));
      });
      await u.test('is named and deleted', async () => {
        const p = await s.patch(methodPath(e.id), { name: 'Blue key' });
        assert.equal(p.json.name, 'Blue key');
        assert.equal(p.json.key_id, c.id.toString('base64url'));
        assert.equal((await s.del(methodPath(e.id))).status, 204);
        assert.deepEqual(await s.list(), []);
      });
      await u.test('a pending one can be deleted, its session with it', async () => {
        const p = await s.enrol({ type });
        assert.equal((await s.del(methodPath(p.id))).status, 204);
        const v = await send(s, p, create(p.authn_params_public_key, d.base), undefined, methodPath(p.id));
        assert.ok([400, 404].includes(v.status), v.text);
        assert.deepEqual(await s.list(), []);
      });
      await u.test('takes no other members', async () => assert.deepEqual(pointers(await s.post(METHODS, { type, connection: 'x' })), ['/connection']));
      await u.test('a refused registration leaves it pending', async () => {
        const p = await s.enrol({ type });
        const v = await send(s, p, create(p.authn_params_public_key, d.base, { rpId: 'x' }), undefined, methodPath(p.id));
        assert.deepEqual(pointers(v), [ATTESTATION]);
        const [m] = await s.list();
        assert.equal(m.confirmed, false);
        assert.equal(m.key_id, undefined);
        assert.equal((await send(s, p, create(p.authn_params_public_key, d.base), undefined, methodPath(p.id))).status, 201);
      });
    });
  await t.test('the user handle is that of the passkeys', async () => {
    const s = d.session();
    const m = await add(s);
    assert.equal((await s.enrol({ type: 'webauthn-platform' })).authn_params_public_key.user.id, m.user_handle);
  });
});

/* --- switches and time: daemons of their own --- */

test('a factor that is off', async () => {
  const s = d.session();
  const m = await add(s);
  const e = await start(s);
  d.apply({ factors: { passkey: false, 'webauthn-roaming': false } });
  for (const type of ['passkey', 'webauthn-roaming', 'push-notification']) isProblem(await s.post(METHODS, { type }), 400, 'A0E-400-0001', 'unsupported_challenge_type');
  assert.deepEqual(await s.factors(), ['password', 'webauthn-platform', 'totp', 'phone', 'email', 'recovery-code']);
  assert.deepEqual((await s.list()).map((x) => x.id), [m.id], 'what is enrolled stays');
  assert.equal((await s.patch(methodPath(m.id), { name: 'still' })).status, 200);
  d.apply({ factors: { passkey: true, 'webauthn-roaming': true } });
  assert.equal((await send(s, e, create(e.options, d.base))).status, 201);
});

test('scopes', async () => {
  const s = d.session();
  const reader = d.as(s.user, { scope: 'read:me:authentication_methods' });
  isProblem(await reader.post(METHODS, { type: 'passkey' }), 403, 'A0E-403-0002');
  const e = await start(s);
  isProblem(await send(reader, e, create(e.options, d.base)), 403, 'A0E-403-0002');
  assert.equal((await send(s, e, create(e.options, d.base))).status, 201);
});

test('sessions expire', async (t) => {
  const c = await Daemon.start({ state: { factors: FACTORS_ON }, config: { enrollment: { passkey_ttl: 120 } } });
  const s = c.session();
  await t.test('not before their time', async () => {
    const e = await start(s);
    c.advance(119000);
    assert.equal((await send(s, e, create(e.options, c.base))).status, 201);
  });
  await t.test('a passkey\'s', async () => {
    const e = await start(s);
    c.advance(120001);
    gone(await send(s, e, create(e.options, c.base)));
  });
  await t.test('a security key\'s, and the pending method', async () => {
    const e = await s.enrol({ type: 'webauthn-roaming' });
    assert.equal((await s.list()).length, 2);
    c.advance(120001);
    const r = await send(s, e, create(e.authn_params_public_key, c.base), undefined, methodPath(e.id));
    assert.ok([400, 404].includes(r.status), r.text);
    assert.equal((await s.list()).length, 1);
  });
  await t.test('credentials survive a restart', async () => {
    const before = await s.list();
    await c.end();
    await c.run();
    assert.deepEqual(await s.list(), before);
  });
  await t.test('a deleted user frees the credential', async () => {
    const cred = new Credential();
    const u = c.session();
    const v = c.session();
    await add(u, {}, cred);
    assert.equal(problem(await attempt(v, {}, cred)).slice(0, 12), 'A0E-400-0003');
    c.ok('user', 'delete', u.user);
    await add(v, {}, cred);
  });
  await c.stop();
});

test('require_uv', async (t) => {
  const c = await Daemon.start({ state: { factors: FACTORS_ON }, config: { webauthn: { require_uv: true } } });
  const s = c.session();
  await t.test('is in the options', async () => {
    assert.equal((await start(s)).options.authenticatorSelection.userVerification, 'required');
    assert.equal((await s.enrol({ type: 'webauthn-roaming' })).authn_params_public_key.authenticatorSelection.userVerification, 'required');
  });
  await t.test('refuses without', async () => {
    const r = await attempt(s, { flags: FLAG.UP | FLAG.AT });
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), [ATTESTATION]);
  });
  await t.test('takes with', async () => { await add(s, { flags: FLAG.UP | FLAG.UV | FLAG.AT }); });
  await c.stop();
});

test('attestation = "verified"', async (t) => {
  const c = await Daemon.start({ state: { factors: FACTORS_ON }, config: { webauthn: { attestation: 'verified' } } });
  const s = c.session();
  await t.test('asks browsers for a statement', async () => assert.equal((await start(s)).options.attestation, 'direct'));
  for (const fmt of ['none', 'apple', 'android-key', 'tpm', 'compound'])
    await t.test(`refuses ${fmt} by name`, async () => {
      const r = await attempt(s, { fmt });
      isProblem(r, 400, 'A0E-400-0003');
      assert.deepEqual(pointers(r), [ATTESTATION]);
      assert.ok(r.json.validation_errors[0].detail.includes(`"${fmt}"`), r.text);
    });
  await t.test('and unknown ones without their name', async () => {
    const r = await attempt(s, { fmt: 'made-up' });
    assert.deepEqual(pointers(r), [ATTESTATION]);
    assert.ok(!r.text.includes('made-up'), r.text);
  });
  for (const alg of ['ES256', 'RS256', 'EdDSA']) await t.test(`takes packed with ${alg}`, async () => { await add(s, { fmt: 'packed' }, new Credential(alg)); });
  await c.stop();
});

/* --- origins and relying parties --- */

const FP = Array.from({ length: 32 }, (_, i) => (i * 7 % 256).toString(16).toUpperCase().padStart(2, '0')).join(':');
const apk = (fp) => `android:apk-key-hash:${Buffer.from(fp.replaceAll(':', ''), 'hex').toString('base64url')}`;
const CONFIGURED = `android:apk-key-hash:${Buffer.alloc(32, 9).toString('base64url')}`;
const BASE = 'https://login.example.com';
const DOMAIN = 'https://id.custom.example';
const cl = (client_id, over) => ({ client_id, name: client_id, app_type: 'spa', is_first_party: true, callbacks: [], allowed_origins: [], web_origins: [],
  cross_origin_authentication: true, grant_types: ['authorization_code'], ...over });
const grants = (audience) => ['spa', 'two', 'app', 'shut'].map((client_id) => ({ client_id, audience, subject_type: 'user', scope: SCOPES }));

test('origins, relying parties, well-known documents', async (t) => {
  const c = await Daemon.start({
    config: { base_url: BASE, custom_domains: [DOMAIN], webauthn: { origins: ['https://related.example', CONFIGURED, 'http://localhost:8080', BASE] } },
    state: {
      factors: FACTORS_ON, client_grants: [...grants(`${BASE}/me/`), ...grants(`${DOMAIN}/me/`)],
      clients: [cl('spa', { allowed_origins: ['https://app.login.example.com', 'https://evillogin.example.com', 'https://login.example.com.evil.example',
        'https://www.example.com', 'https://*.tenants.login.example.com', 'http://plain.login.example.com'], web_origins: ['https://web.login.example.com'], callbacks: ['https://cb.login.example.com/done'] }),
      cl('two', { allowed_origins: ['https://two.login.example.com'] }),
      cl('shut', { allowed_origins: ['https://shut.login.example.com'], cross_origin_authentication: false }),
      cl('app', { app_type: 'native', mobile: { ios: { team_id: 'ABCDE12345', app_bundle_identifier: 'com.example.app' },
        android: { app_package_name: 'com.example.app', sha256_cert_fingerprints: [FP] } } }),
      cl('foreign', { app_type: 'native', is_first_party: false, mobile: { ios: { team_id: 'ZZZZZ99999', app_bundle_identifier: 'com.example.foreign' },
        android: { app_package_name: 'com.example.foreign', sha256_cert_fingerprints: [FP] } } })],
    },
  });
  const user = c.fresh();
  const as = (azp, o = {}) => c.as(user, { azp, ...o });
  const allows = (s, origin, how) => t.test(`${how ?? ''}takes ${origin}`, async () => {
    const m = await add(s, { origin });
    assert.equal((await c.as(user).list('passkey')).length, 2, m.id);
    assert.equal((await c.as(user).del(methodPath(m.id))).status, 204);
  });
  const refuses = (s, origin, what) => t.test(`refuses ${origin}: ${what}`, async () => {
    const r = await attempt(s, { origin });
    isProblem(r, 400, 'A0E-400-0003');
    assert.deepEqual(pointers(r), [CLIENT_DATA]);
    assert.ok(!r.json.validation_errors[0].detail.includes(origin), 'no echo');
  });
  assert.equal((await add(as('spa'), { origin: BASE })).relying_party_id, 'login.example.com');

  for (const o of [BASE, DOMAIN, 'https://related.example', 'http://localhost:8080', CONFIGURED, 'https://app.login.example.com', 'https://web.login.example.com',
    'https://cb.login.example.com', 'https://one.tenants.login.example.com', 'https://a.b.tenants.login.example.com']) await allows(as('spa'), o);
  await allows(as('two'), 'https://two.login.example.com');
  await allows(as('app'), apk(FP));
  await allows(as('app'), BASE, 'an app ');
  await refuses(as('spa'), 'https://two.login.example.com', 'another client\'s');
  await refuses(as('spa'), apk(FP), 'another client\'s app');
  await refuses(as('app'), apk(FP.replaceAll('07', '08')), 'another app');
  await refuses(as('shut'), 'https://shut.login.example.com', 'a client that lends none');
  await refuses(as('spa'), 'https://evillogin.example.com', 'listed, but a suffix without the dot');
  await refuses(as('spa'), 'https://login.example.com.evil.example', 'listed, but elsewhere');
  await refuses(as('spa'), 'https://www.example.com', 'listed, but above the relying party');
  await refuses(as('spa'), 'https://b.login.example.com', 'not listed');
  await refuses(as('spa'), 'http://plain.login.example.com', 'listed, but no secure context');
  await refuses(as('spa'), 'https://*.tenants.login.example.com', 'a pattern is no origin');
  await refuses(as('spa'), 'https://tenants.login.example.com', 'the pattern needs a label');
  await refuses(as('spa'), 'https://app.login.example.com/', 'a listed origin with a path');
  await refuses(as('spa'), 'https://x@app.login.example.com', 'a listed origin with a user');
  await refuses(as('spa'), 'http://login.example.com', 'no https');
  await refuses(as('spa'), 'https://login.example.com:8443', 'another port');
  await refuses(as('spa'), 'https://LOGIN.example.com', 'another spelling');
  await refuses(as('spa'), 'https://login.example.com/', 'a path');
  await refuses(as('spa'), 'https://login.example.com\u0000.evil.example', 'a zero byte');
  await refuses(as('spa'), 'null', 'no origin');

  await t.test('a custom domain is a relying party of its own', async () => {
    const opts = { host: 'id.custom.example', origin: DOMAIN };
    const s = as('spa', { aud: `${DOMAIN}/me/` });
    const e = await start(s, {}, opts);
    assert.deepEqual(e.options.rp, { id: 'id.custom.example', name: 'id.custom.example' });
    assert.equal(e.r.headers.location, `${DOMAIN}${NEW}`);
    const r = await send(s, e, create(e.options, DOMAIN), opts);
    assert.equal(r.status, 201, r.text);
    assert.equal(r.json.relying_party_id, 'id.custom.example');
    /* A session holds on to the relying party that it was made for. */
    const f = await start(as('spa'));
    const cross = await send(s, f, create(f.options, DOMAIN, { rpId: 'id.custom.example' }), opts);
    assert.deepEqual(pointers(cross), [ATTESTATION], cross.text);
    assert.equal((await c.as(user).del(methodPath(r.json.id))).status, 204);
  });

  await t.test('related origins', async () => {
    const r = await c.anonymous().get('/.well-known/webauthn', { lax: true });
    assert.equal(r.status, 200);
    assert.match(r.headers['content-type'], /^application\/json/);
    assert.match(r.headers['cache-control'], /max-age/);
    assert.deepEqual(r.json, { origins: [BASE, DOMAIN, 'https://related.example'] });
  });
  await t.test('apple-app-site-association', async () => {
    const r = await c.anonymous().get('/.well-known/apple-app-site-association', { lax: true });
    assert.equal(r.status, 200);
    assert.match(r.headers['content-type'], /^application\/json/);
    assert.deepEqual(r.json, { webcredentials: { apps: ['ABCDE12345.com.example.app'] } });
  });
  await t.test('assetlinks.json', async () => {
    const r = await c.anonymous().get('/.well-known/assetlinks.json', { lax: true });
    assert.equal(r.status, 200);
    assert.match(r.headers['content-type'], /^application\/json/);
    assert.deepEqual(r.json, [{ relation: ['delegate_permission/common.handle_all_urls', 'delegate_permission/common.get_login_creds'],
      target: { namespace: 'android_app', package_name: 'com.example.app', sha256_cert_fingerprints: [FP] } }]);
  });
  await t.test('they are read only', async () => {
    for (const p of ['webauthn', 'apple-app-site-association', 'assetlinks.json']) {
      const r = await c.anonymous().post(`/.well-known/${p}`, {}, { lax: true });
      assert.equal(r.status, 405, r.text);
    }
  });

  await t.test('tenant.rp of the state document', async (u) => {
    const pending = await start(as('spa'));
    c.apply({ tenant: { rp: { id: 'example.com', name: 'Example & "Söhne"' } } });
    const s = as('spa');
    const e = await start(s);
    await u.test('is in the options', () => assert.deepEqual(e.options.rp, { id: 'example.com', name: 'Example & "Söhne"' }));
    await u.test('at a custom domain too', async () => {
      const f = await start(as('spa', { aud: `${DOMAIN}/me/` }), {}, { host: 'id.custom.example', origin: DOMAIN });
      assert.equal(f.options.rp.id, 'example.com');
    });
    await u.test('widens the client\'s origins to what is under it', async () => {
      const m = await add(s, { origin: 'https://www.example.com' });
      assert.equal(m.relying_party_id, 'example.com');
    });
    await u.test('and is an origin itself', async () => { await add(s, { origin: 'https://example.com' }); });
    await u.test('suffix tricks stay out', async () => {
      for (const origin of ['https://login.example.com.evil.example', 'https://evilexample.com']) assert.deepEqual(pointers(await attempt(s, { origin })), [CLIENT_DATA]);
    });
    await u.test('an enrolment begun before keeps its relying party', async () => {
      const r = await send(s, pending, create(pending.options, BASE));
      assert.equal(r.status, 201, r.text);
      assert.equal(r.json.relying_party_id, 'login.example.com');
    });
    await u.test('another hash is refused', async () => assert.deepEqual(pointers(await attempt(s, { origin: BASE, rpId: 'login.example.com' })), [ATTESTATION]));
  });
  await c.stop();
});

test('without apps and related origins the well-known documents are empty', async () => {
  const r = (p) => d.anonymous().get(`/.well-known/${p}`, { lax: true });
  assert.deepEqual((await r('webauthn')).json, { origins: [] });
  assert.deepEqual((await r('apple-app-site-association')).json, { webcredentials: { apps: [] } });
  assert.deepEqual((await r('assetlinks.json')).json, []);
});

test('an origin of the calling client on another port of localhost', async () => {
  const s = d.session();
  await add(s, { origin: ORIGIN });
  const r = await attempt(d.as(s.user, { azp: 'native' }), { origin: ORIGIN });
  assert.deepEqual(pointers(r), [CLIENT_DATA], r.text);
});

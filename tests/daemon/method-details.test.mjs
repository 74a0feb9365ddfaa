/* SPDX-License-Identifier: Apache-2.0
 * GET /authentication-methods/{id}/details. */
import fs from 'node:fs';
import path from 'node:path';
import { assert, test, before, after, METHODS, confText, eventually, isProblem, methodPath } from './lib/kit.mjs';
import { Credential, create } from './lib/authenticator.mjs';
import { Browser, PASSWORD } from './lib/login.mjs';
import { COUNTRIES, database } from '../fixtures/geo.mjs';
import { CHROME, everyOperation, id, mail, start } from './lib/account.mjs';
import { App, GRANT, isIssued } from './lib/oauth.mjs';

const SCOPE = 'read:me:authentication_methods create:me:authentication_methods delete:me:authentication_methods';
const BITWARDEN = Buffer.from('d548826e79b4db40a3d811116f7e8349', 'hex');
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus'];
let d;
before(async () => {
  d = await start(names, { config: { trusted_proxies: ['127.0.0.1'] }, state: { factors: { passkey: true, 'webauthn-roaming': true } } });
  fs.writeFileSync(path.join(d.dir, 'geo.mmdb'), database(COUNTRIES));
});
after(() => d.stop());

const self = (n) => d.as(id(n), { scope: SCOPE });
const details = async (s, method) => (await s.want(200, 'GET', `${methodPath(method)}/details`)).json;
async function addPasskey(s, credential, type = 'passkey') {
  const e = await s.want(202, 'POST', METHODS, { type });
  const at = type === 'passkey' ? methodPath('passkey|new') : methodPath(e.json.id);
  return (await s.want(201, 'POST', `${at}/verify`, { auth_session: e.json.auth_session, authn_response: create(e.json.authn_params_public_key, d.base, {}, credential) })).json;
}
const made = (aaguid) => Object.assign(new Credential(), aaguid ? { aaguid } : {});
const reload = async (over, seen) => {
  fs.writeFileSync(d.files.conf, confText({ ...d.config, ...over }), { mode: 0o600 });
  d.process.kill('SIGHUP');
  await eventually(seen, 'reload');
};

test('a passkey', async (t) => {
  const s = self('ann');
  const m = await addPasskey(s, made(BITWARDEN));
  const other = await addPasskey(s, made());
  await t.test('its provider', async () => {
    const { provider } = await details(s, m.id);
    assert.equal(provider.name, 'Bitwarden');
    assert.match(Buffer.from(provider.icon.split('base64,')[1], 'base64').toString(), /^<svg /);
    assert.equal('provider' in await details(s, other.id), false, 'an AAGUID that is not listed');
  });
  await t.test('what the browser must know', async () => {
    const { webauthn, last_use } = await details(s, m.id);
    assert.deepEqual(webauthn, { rp_id: 'localhost', user_handle: m.user_handle, credential_id: m.key_id, accepted_credential_ids: webauthn.accepted_credential_ids, name: mail('ann'), display_name: 'User ann' });
    assert.deepEqual([...webauthn.accepted_credential_ids].sort(), [m.key_id, other.key_id].sort());
    assert.equal(last_use, undefined);
    await s.want(204, 'DELETE', methodPath(other.id));
    assert.deepEqual((await details(s, m.id)).webauthn.accepted_credential_ids, [m.key_id]);
  });
  await t.test('names as they are now', async () => {
    await d.as(id('ann'), { scope: 'update:me:profile' }).want(200, 'PATCH', '/me/v1/profile', { name: 'Ann Other' });
    assert.equal((await details(s, m.id)).webauthn.display_name, 'Ann Other');
  });
  await t.test('another list, without a restart; a bad one changes nothing', async () => {
    const file = path.join(d.dir, 'list.json');
    const name = async () => (await details(s, m.id)).provider?.name;
    fs.writeFileSync(file, JSON.stringify({ authenticators: [{ aaguid: m.aaguid, name: 'Our vault' }] }));
    await reload({ webauthn: { authenticators: file } }, async () => await name() === 'Our vault');
    fs.writeFileSync(file, '{"authenticators":[{"aaguid":"x","name":"y"}]}');
    await reload({ webauthn: { authenticators: file } }, () => d.logText().includes('reload.authenticators_kept'));
    assert.equal(await name(), 'Our vault');
    await reload({}, async () => await name() === 'Bitwarden');
  });
  await t.test('a security key beside it', async () => {
    const k = await addPasskey(s, made(), 'webauthn-roaming');
    assert.equal((await details(s, k.id)).webauthn.accepted_credential_ids.length, 2);
  });
});

test('last use, and from where', async (t) => {
  await t.test('a code of an app', async () => {
    const s = self('ben');
    const m = await s.addTotp();
    assert.equal('last_use' in await details(s, m.id), false);
    d.apply({ api: { default_policy: { require_2fa: true } } });
    d.advance(60000);
    const app = new App(d, 'app');
    const ask = await app.password(mail('ben'), { audience: d.me, scope: 'openid read:me:factors' });
    assert.equal(ask.json.error, 'mfa_required', ask.text);
    isIssued(await app.token({ grant_type: GRANT.otp, mfa_token: ask.json.mfa_token, otp: s.code(m.secret) }, { headers: { 'user-agent': CHROME, 'x-forwarded-for': '192.0.2.9' } }));
    d.apply({ api: { default_policy: { require_2fa: false } } });
    const { last_use } = await details(s, m.id);
    assert.deepEqual([last_use.ip, last_use.device, 'country' in last_use], ['192.0.2.9', 'Chrome 131.0.0 / Mac OS X 10.15.7', false]);
    assert.ok(Math.abs(Date.parse(last_use.at) - d.now()) < 60000);
  });
  await t.test('a password', async () => {
    const s = self('cid');
    const [m] = await s.list('password');
    assert.equal('last_use' in await details(s, m.id), false);
    isIssued(await new App(d, 'app').password(mail('cid'), { audience: d.me, scope: 'openid' }, { headers: { 'user-agent': CHROME, 'x-forwarded-for': '2001:db8::7' } }));
    assert.deepEqual([(await details(s, m.id)).last_use.ip, (await details(s, m.id)).last_use.device], ['2001:db8::7', 'Chrome 131.0.0 / Mac OS X 10.15.7']);
    const b = new Browser(d);
    await b.login(await b.authorize(), mail('cid'), `${PASSWORD}x`);
    assert.equal((await details(s, m.id)).last_use.ip, '2001:db8::7', 'a wrong one is no use');
  });
  await t.test('with the country, from a local database', async () => {
    const s = self('cid');
    const [m] = await s.list('password');
    const where = async () => (await details(s, m.id)).last_use.country;
    await reload({ geo: { database: path.join(d.dir, 'geo.mmdb') } }, async () => await where() === 'JP');
    fs.writeFileSync(path.join(d.dir, 'bad.mmdb'), 'this is none');
    await reload({ geo: { database: path.join(d.dir, 'bad.mmdb') } }, () => d.logText().includes('reload.geo_kept'));
    assert.equal(await where(), 'JP');
    await reload({}, async () => await where() === undefined);
  });
});

test('recovery codes that remain', async () => {
  const s = self('dee');
  const m = await s.addRecovery();
  assert.deepEqual(await details(s, m.id), { id: m.id, type: 'recovery-code', remaining_recovery_codes: 1 });
});

test('an address, enrolled and automatic', async () => {
  const s = self('eve');
  const m = await s.addEmail('eve.more@example.com');
  assert.deepEqual(await details(s, m.id), { id: m.id, type: 'email' });
  const [auto] = (await d.as('auth0|alice', { scope: SCOPE }).list('email'));
  assert.deepEqual(await details(d.as('auth0|alice', { scope: SCOPE }), auto.id), { id: auto.id, type: 'email' });
});

test('nobody else\'s, and no such method', async () => {
  const m = await self('fay').addTotp();
  const theirs = await self('gus').get(`${methodPath(m.id)}/details`);
  const none = await self('gus').get(`${methodPath('totp|dev_aaaaaaaaaaaaaaaa')}/details`);
  isProblem(theirs, 404, 'A0E-404-0002');
  assert.deepEqual(theirs.json, none.json);
  for (const bad of ['x', 'passkey|new', '%00', 'a'.repeat(300)])
    assert.ok([400, 404].includes((await self('gus').get(`${METHODS}/${bad}/details`, { lax: true })).status), bad);
});

test('a bad file is an error at start', async () => {
  const conf = path.join(d.dir, 'other.conf');
  fs.writeFileSync(path.join(d.dir, 'bad.mmdb'), 'this is none');
  for (const [key, over] of [['geo.database', { geo: { database: path.join(d.dir, 'bad.mmdb') } }], ['webauthn.authenticators', { webauthn: { authenticators: path.join(d.dir, 'nowhere.json') } }]]) {
    fs.writeFileSync(conf, confText({ ...d.config, ...over }), { mode: 0o600 });
    const old = d.files.conf;
    d.files.conf = conf;
    const { code, err } = await new Promise((resolve) => {
      import('node:child_process').then(({ spawnSync }) => {
        const r = spawnSync(path.join(process.env.MA_BIN ?? 'build/asan', 'myaccountd'), d.daemonArgs(['--check']), { encoding: 'utf8' });
        resolve({ code: r.status, err: r.stderr + r.stdout });
      });
    });
    d.files.conf = old;
    assert.notEqual(code, 0, key);
    assert.match(err, new RegExp(key));
  }
});

test('GET /authentication-methods/{id}/details goes through every gate', async (t) => {
  const [m] = await self('gus').list('password');
  await everyOperation(t, d, 'gus', { method: 'GET', path: `${methodPath(m.id)}/details`, scope: 'read:me:authentication_methods', allow: ['GET', 'HEAD', 'OPTIONS'] });
});

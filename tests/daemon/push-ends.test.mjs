/* SPDX-License-Identifier: Apache-2.0
 * Whoever loses a sign-in loses the devices that it began to enrol: a ticket needs no access token, so it must not
 * outlive them. */
import { assert, test, before, after, isProblem } from './lib/kit.mjs';
import { Browser } from './lib/login.mjs';
import { App, isIssued } from './lib/oauth.mjs';
import { EVERY, byApp, byPage, id, mail, start } from './lib/account.mjs';
import { Device, addPush, isDeviceError } from './lib/device.mjs';

const NEW_PASSWORD = 'Zq7-another-horse-altogether';
const SESSIONS = '/me/v1/sessions';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal'];

let d;
before(async () => {
  d = await start(names, { config: { enrollment: { push_wait: 0 } }, state: { factors: { 'push-notification': true } } });
  d.secrets.add('password', NEW_PASSWORD);
});
after(() => d.stop());

/* Somebody with the sign-in of another began to enrol a phone, which has not come yet. */
async function begin(s) {
  const e = await s.enrol({ type: 'push-notification' });
  const phone = new Device(d);
  phone.scan(e.barcode_uri);
  return phone;
}
const owner = (n) => d.as(id(n), { scope: EVERY.join(' '), amr: ['pwd', 'mfa'], auth_time: Math.floor(d.now() / 1000) });
async function isShut(phone, name) {
  isDeviceError(await phone.tryEnrol(), 404, 'enrollment_transaction_not_found');
  const left = (await owner(name).list()).filter((m) => ['push-notification', 'totp'].includes(m.type));
  assert.deepEqual(left, [], 'neither the device nor its authenticator');
}
async function isOpen(phone) {
  const res = await phone.tryEnrol();
  assert.equal(res.status, 200, res.text);
}

test('a new password', async () => {
  const thief = await byPage(d, 'ann');
  const phone = await begin(thief.api);
  const mine = await byPage(d, 'ann');
  const e = await mine.api.enrol({ type: 'password' });
  await mine.api.verify('password|new', { auth_session: e.auth_session, new_password: NEW_PASSWORD });
  isProblem(await thief.api.get('/me/v1/factors'), 401, 'A0E-401-0003', /revoked/);
  await isShut(phone, 'ann');
});

test('signing out everywhere else', async () => {
  const thief = await byPage(d, 'ben');
  const phone = await begin(thief.api);
  await (await byPage(d, 'ben')).api.want(204, 'DELETE', `${SESSIONS}?except=current`);
  await isShut(phone, 'ben');
});

test('signing one browser out', async () => {
  const thief = await byPage(d, 'cid');
  const phone = await begin(thief.api);
  const mine = await byPage(d, 'cid');
  const list = (await mine.api.want(200, 'GET', `${SESSIONS}?take=50`)).json.sessions;
  await mine.api.want(204, 'DELETE', `${SESSIONS}/${list.find((x) => x.kind === 'browser' && !x.current).id}`);
  await isShut(phone, 'cid');
});

test('signing one application out', async () => {
  const thief = await byApp(d, 'dee');
  const phone = await begin(thief.api);
  const mine = await byPage(d, 'dee');
  const list = (await mine.api.want(200, 'GET', `${SESSIONS}?take=50`)).json.sessions;
  await mine.api.want(204, 'DELETE', `${SESSIONS}/${list.find((x) => x.kind === 'application' && !x.current).id}`);
  await isShut(phone, 'dee');
});

test('a consent that is withdrawn', async (t) => {
  d.apply({ api: { allow_skipping_user_consent: false } });
  t.after(() => d.apply({ api: { allow_skipping_user_consent: true } }));
  const browser = new Browser(d);
  let p = await browser.login(await browser.authorize({ scope: 'openid create:me:authentication_methods', audience: d.me }, 'third'), mail('eve'));
  if (p.title === 'Give access?') p = await browser.submit(p, 'allow');
  const tokens = isIssued(await new App(d, 'third').exchange(p.params.code));
  const phone = await begin(d.bearer(tokens.access_token));
  const self = d.as(id('eve'), { scope: 'read:me:consents delete:me:consents' });
  const { consents } = (await self.want(200, 'GET', '/me/v1/consents')).json;
  d.advance(2000);
  await self.want(204, 'DELETE', `/me/v1/consents/${consents.find((c) => c.client_id === 'third').id}`);
  await isShut(phone, 'eve');
});

test('a password that the operator sets', async () => {
  const phone = await begin((await byPage(d, 'fay')).api);
  d.apply({ users: [{ user_id: id('fay'), password: NEW_PASSWORD }] });
  await isShut(phone, 'fay');
});

test('devices that are enrolled stay, and so do sign-ins that begin with one', async (t) => {
  await t.test('enrolled', async () => {
    const device = await addPush(owner('gus'));
    await owner('gus').want(204, 'DELETE', `${SESSIONS}?except=current`);
    assert.equal((await device.update({ name: 'Still here' })).status, 200);
  });
  await t.test('of another user', async () => {
    const phone = await begin(owner('hal'));
    await owner('gus').want(204, 'DELETE', `${SESSIONS}?except=current`);
    await isOpen(phone);
  });
});

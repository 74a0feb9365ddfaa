/* SPDX-License-Identifier: Apache-2.0
 * GET /factors. */
import { assert, test, before, after, Daemon, FACTORS, METHODS, problem, isProblem } from './lib/kit.mjs';

let d;
before(async () => { d = await Daemon.start(); });
after(() => d.stop());

test('the enabled types in their fixed order, with usage', async () => {
  const r = await d.session().want(200, 'GET', FACTORS);
  assert.deepEqual(r.json, { factors: [{ type: 'password', usage: ['primary'] }, { type: 'totp', usage: ['secondary'] }, { type: 'phone', usage: ['secondary'] },
    { type: 'email', usage: ['secondary'] }, { type: 'recovery-code', usage: ['secondary'] }] });
});

test('a user without a database identity has no password', async () => {
  assert.deepEqual(await d.as('google-oauth2|carol').factors(), ['totp', 'phone', 'email', 'recovery-code']);
});

test('a type that is enrolled stays in the list', async () => {
  const s = d.session();
  await s.addTotp();
  assert.ok((await s.factors()).includes('totp'));
});

test('switching a factor off takes it away and refuses new enrolments', async () => {
  const s = d.session();
  await s.addTotp();
  d.apply({ factors: { totp: false } });
  assert.ok(!(await d.session().factors()).includes('totp'));
  isProblem(await s.post(METHODS, { type: 'totp' }), 400, 'A0E-400-0001', 'unsupported_challenge_type');
  assert.equal((await s.list()).length, 1, 'what is enrolled stays listed');
  d.apply({ factors: { totp: true } });
  assert.ok((await d.session().factors()).includes('totp'));
});

test('types that cannot be enrolled here', async (t) => {
  for (const body of [{ type: 'push-notification' }, { type: 'webauthn-roaming' }, { type: 'webauthn-platform' }, { type: 'passkey' }])
    await t.test(body.type, async () => {
      const r = await d.session().post(METHODS, body);
      assert.equal(problem(r), 'A0E-400-0001 unsupported_challenge_type', r.text);
    });
});

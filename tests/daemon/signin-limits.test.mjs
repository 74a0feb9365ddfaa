/* SPDX-License-Identifier: Apache-2.0
 * How many sign-ins one address may begin. */
import { assert, test, before, after, Daemon, client, request } from './lib/kit.mjs';
import { authorizeUrl } from './lib/login.mjs';

const PASSKEY = 'urn:okta:params:oauth:grant-type:webauthn';
let d;
before(async () => {
  d = await Daemon.start({ config: { rate_limit: { enabled: true } }, state: { factors: { passkey: true } } });
  d.apply({ clients: [client('spa', { grant_types: ['authorization_code', 'refresh_token', PASSKEY] })] });
});
after(() => d.stop());

test('an address begins only so many sign-ins a minute', async () => {
  const body = JSON.stringify({ client_id: 'spa' });
  const begin = () => request({ port: d.port, agent: d.agent, method: 'POST', path: '/passkey/challenge', body, headers: { host: d.host, 'content-type': 'application/json' } });
  let last = await begin();
  for (let i = 0; i < 400 && last.status === 200; i++) last = await begin();
  assert.equal(last.status, 429, last.text);
  assert.equal(last.json.error, 'too_many_requests');
  assert.ok(Number(last.headers['retry-after']) >= 1);
  const page = await request({ port: d.port, agent: d.agent, method: 'GET', path: authorizeUrl({}, 'spa'), headers: { host: d.host } });
  assert.equal(page.status, 429);
  d.advance(61000);
  assert.equal((await begin()).status, 200);
});

/* SPDX-License-Identifier: Apache-2.0
 * Access tokens: algorithms, claims, forgeries, issuers, key rotation, 401 answers. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { assert, test, before, after, Daemon, Files, Issuer, Key, jws, ALGORITHMS, ALL, IDP, FACTORS, METHODS, isProblem, eventually, sleep, problem } from './lib/kit.mjs';

const ALG_IDP = 'https://algs.test.example/';
let d;
let web;
let algs;
before(async () => {
  web = await new Files().start();
  d = await Daemon.start({ start: false, config: {} });
  algs = new Issuer(ALG_IDP, `${d.base}/me/`);
  algs.keys = ALGORITHMS.map((a) => new Key(a));
  fs.writeFileSync(`${d.dir}/algs.json`, algs.jwks());
  d.configure({ network: { allow_http_loopback: true }, issuer: {
    [ALG_IDP]: { jwks_uri: `file:${d.dir}/algs.json`, algorithms: ALGORITHMS, provision: false },
    'https://web.test.example/': { jwks_uri: `${web.origin}/jwks`, provision: true },
    [`${web.origin}/`]: { provision: false },
  } });
  await d.run();
});
after(async () => {
  await d.stop();
  await web.stop();
});

const U = 'auth0|bob';
const get = (token, opts) => d.bearer(token).get(FACTORS, opts);
async function good(token, what) {
  const r = await get(token);
  assert.equal(r.status, 200, `${what ?? ''} ${r.text}`);
}
async function bad(token, what) {
  const r = await get(token);
  assert.equal(r.status, 401, `${what ?? ''} -> ${r.status} ${r.text}`);
  assert.match(r.json.type, /A0E-401-0003$/);
  assert.equal(r.json.title, 'Invalid Token');
  assert.match(r.headers['www-authenticate'], /Bearer[^,]*error="invalid_token"/);
  return r;
}

test('no token', async () => {
  const r = await d.anonymous().get(FACTORS);
  isProblem(r, 401, 'A0E-401-0002', 'No auth token provided.');
  assert.equal(r.json.title, 'Missing Token');
  assert.match(r.headers['www-authenticate'], /^Bearer/);
});

test('Authorization headers that are not one Bearer token', async (t) => {
  const token = d.idp.token(U);
  for (const [name, value, ok] of [['Basic', 'Basic YTpi'], ['Bearer alone', 'Bearer'], ['empty Bearer', 'Bearer  '], ['two tokens', `Bearer ${token} ${token}`],
    ['no scheme', token], ['a comma list', `Bearer ${token}, Basic x`], ['lower-case scheme', `bearer ${token}`, true]])
    await t.test(name, async () => {
      const r = await d.anonymous().get(FACTORS, { headers: { authorization: value } });
      assert.equal(r.status, ok ? 200 : 401, r.text);
    });
  await t.test('two Authorization headers', async () => {
    const r = await d.anonymous().get(FACTORS, { headers: { authorization: [`Bearer ${token}`, 'Bearer x'] }, lax: true });
    assert.ok([400, 401].includes(r.status), r.text);
  });
  await t.test('in the query', async () => assert.equal((await d.anonymous().get(`${FACTORS}?access_token=${token}`)).status, 401));
});

test('algorithms', async (t) => {
  for (const key of algs.keys) await t.test(key.alg, () => good(algs.token(U, {}, { key }), key.alg));
  for (const alg of ['RS384', 'ES384', 'PS512'])
    await t.test(`${alg} is outside the issuer's list`, async () => {
      const key = new Key(alg, { kid: d.idp.keys[0].kid });
      await bad(d.idp.token(U, {}, { key }));
    });
});

test('forgeries', async (t) => {
  const key = algs.keys.find((k) => k.alg === 'RS256');
  const ec = algs.keys.find((k) => k.alg === 'ES256');
  const claims = () => algs.claims(U);
  const header = { alg: 'RS256', typ: 'at+jwt', kid: key.kid };
  const parts = algs.token(U, {}, { key }).split('.');
  const b64 = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url');
  const hmac = (h, secret) => {
    const input = `${b64(h)}.${b64(claims())}`;
    return `${input}.${crypto.createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const cases = {
    'alg none': () => `${b64({ alg: 'none', kid: key.kid })}.${b64(claims())}.`,
    'alg NONE': () => `${b64({ alg: 'NONE' })}.${b64(claims())}.`,
    'alg none with the old signature': () => `${b64({ alg: 'none', kid: key.kid })}.${parts[1]}.${parts[2]}`,
    'HS256 with the public PEM': () => hmac({ alg: 'HS256', kid: key.kid }, key.publicKey.export({ type: 'spki', format: 'pem' })),
    'HS256 with the JWK text': () => hmac({ alg: 'HS256', kid: key.kid }, JSON.stringify(key.jwk())),
    'HS256 with the modulus': () => hmac({ alg: 'HS256', kid: key.kid }, Buffer.from(key.jwk().n, 'base64url')),
    'another algorithm of the same key type': () => jws(key, { ...header, alg: 'RS512' }, claims(), { alg: 'RS512' }),
    'PSS with a key for PKCS#1': () => jws(key, { ...header, alg: 'PS256' }, claims(), { alg: 'PS256' }),
    'header says ES256, key is RSA': () => jws(key, { ...header, alg: 'ES256' }, claims()),
    'no alg': () => jws(key, { typ: 'at+jwt', kid: key.kid }, claims()),
    'alg is a number': () => jws(key, { ...header, alg: 256 }, claims()),
    'changed payload': () => `${parts[0]}.${b64({ ...claims(), sub: 'auth0|alice' })}.${parts[2]}`,
    'changed header': () => `${b64({ ...header, x: 1 })}.${parts[1]}.${parts[2]}`,
    'signature of another key': () => jws(new Key('RS256', { kid: key.kid }), header, claims()),
    'empty signature': () => `${parts[0]}.${parts[1]}.`,
    'cut signature': () => `${parts[0]}.${parts[1]}.${parts[2].slice(0, -4)}`,
    'signature with padding': () => `${parts[0]}.${parts[1]}.${parts[2]}=`,
    'signature with a blank inside': () => `${parts[0]}.${parts[1]}.${parts[2].slice(0, 20)}%20${parts[2].slice(20)}`,
    'standard base64 alphabet': () => `${parts[0]}.${parts[1]}.${Buffer.from(parts[2], 'base64url').toString('base64').replace(/=+$/, '')}x`,
    'non-zero trailing bits': () => {
      const sig = parts[2];
      const A = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      return `${parts[0]}.${parts[1]}.${sig.slice(0, -1)}${A[A.indexOf(sig.at(-1)) | 1]}`;
    },
    'four parts': () => `${parts.join('.')}.x`,
    'two parts': () => parts.slice(0, 2).join('.'),
    'not a token': () => 'abc',
    dots: () => '..',
    'crit': () => jws(key, { ...header, crit: ['exp'] }, claims()),
    'b64 false': () => jws(key, { ...header, b64: false, crit: ['b64'] }, claims()),
    'a key in the header': () => jws(new Key('RS256', { kid: 'evil' }), { alg: 'RS256', kid: 'evil', jwk: new Key('RS256').jwk() }, claims()),
    'a key URL in the header': () => jws(new Key('RS256', { kid: 'evil' }), { alg: 'RS256', kid: 'evil', jku: `${web.origin}/evil` }, claims()),
    'DER signature for ES256': () => {
      const input = `${b64({ alg: 'ES256', typ: 'at+jwt', kid: ec.kid })}.${b64(claims())}`;
      return `${input}.${crypto.sign('sha256', Buffer.from(input), ec.privateKey).toString('base64url')}`;
    },
    'r and s of zero': () => `${b64({ alg: 'ES256', typ: 'at+jwt', kid: ec.kid })}.${b64(claims())}.${Buffer.alloc(64).toString('base64url')}`,
    'duplicate claims': () => jws(key, header, JSON.stringify(claims()).replace('{', '{"sub":"auth0|alice",')),
    'duplicate header members': () => jws(key, JSON.stringify(header).replace('{', '{"alg":"none",'), claims()),
    'payload is an array': () => jws(key, header, '[]'),
    'payload is not JSON': () => jws(key, header, 'x'),
    'NUL in sub': () => jws(key, header, { ...claims(), sub: 'auth0|bob\0x' }),
    'an ID token type': () => jws(key, { ...header, typ: 'logout+jwt' }, claims()),
    'a DPoP proof': () => jws(key, { ...header, typ: 'dpop+jwt' }, claims()),
    'more than 8 KiB': () => algs.token(U, { pad: 'x'.repeat(8192) }, { key }),
  };
  for (const [name, make] of Object.entries(cases)) await t.test(name, () => bad(make(), name));
  await t.test('the good token still works', () => good(parts.join('.')));
});

test('typ', async (t) => {
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', undefined])
    await t.test(`${typ} is taken`, () => good(d.idp.token(U, {}, { header: { typ } })));
});

test('claims', async (t) => {
  const now = () => d.idp.now();
  const cases = {
    'no exp': { exp: undefined }, 'exp as text': { exp: '9999999999' }, 'exp as a real': { exp: 1e20 }, 'exp null': { exp: null },
    expired: { exp: now() - 61 - 5 }, 'exp at the leeway': { exp: now() - 30, ok: true }, 'nbf in the future': { nbf: now() + 120 }, 'nbf within the leeway': { nbf: now() + 30, ok: true },
    'nbf as text': { nbf: 'x' }, 'iat in the future': { iat: now() + 600 }, 'iat as text': { iat: 'x' }, 'no sub': { sub: undefined }, 'empty sub': { sub: '' }, 'sub as a number': { sub: 5 },
    'no aud': { aud: undefined }, 'another aud': { aud: 'https://other.example/me/' }, 'aud without the slash': { aud: `${d.base}/me` }, 'aud in a list': { aud: ['https://x.example', `${d.base}/me/`], ok: true },
    'aud list without it': { aud: ['https://x.example'] }, 'empty aud list': { aud: [] }, 'aud list with a number': { aud: [5] }, 'aud as an object': { aud: {} },
    'another iss': { iss: 'https://evil.example/' }, 'iss without the slash': { iss: IDP.slice(0, -1) }, 'no iss': { iss: undefined }, 'iss of the other issuer': { iss: ALG_IDP },
    'no client': { azp: undefined }, 'client_id instead of azp': { azp: undefined, client_id: 'spa', ok: true }, 'both and equal': { client_id: 'spa', ok: true },
    'both and different': { client_id: 'native' }, 'scope as a list': { scope: ['read:me:factors'] },
  };
  for (const [name, { ok, ...over }] of Object.entries(cases))
    await t.test(name, () => (ok ? good : bad)(d.idp.token(U, over), name));
});

test('a remembered token ends with its exp', async () => {
  const c = await Daemon.start();
  const s = c.as(U, { exp: c.idp.now() + 10 });
  await s.want(200, 'GET', FACTORS);
  c.advance(120000);
  await s.want(401, 'GET', FACTORS);
  await c.stop();
});

test('the daemon\'s own tokens', async (t) => {
  const token = d.token(U, { scope: ALL });
  await t.test('are accepted', () => good(token));
  const [h, p] = token.split('.').slice(0, 2).map((x) => JSON.parse(Buffer.from(x, 'base64url')));
  await t.test('have the form of RFC 9068', () => {
    assert.equal(h.typ.toLowerCase(), 'at+jwt');
    assert.equal(h.alg, 'RS256');
    assert.equal(p.iss, `${d.base}/`);
    assert.deepEqual([p.aud].flat(), [`${d.base}/me/`]);
    assert.equal(p.sub, U);
    assert.equal(p.client_id ?? p.azp, 'spa');
    assert.equal(p.scope, ALL);
    assert.ok(p.jti && p.exp > p.iat);
  });
  await t.test('for another audience are refused', () => bad(d.token(U, { scope: ALL, extra: ['--audience', 'https://other.example/'] })));
  await t.test('end with their ttl', async () => {
    const c = await Daemon.start();
    const mine = c.bearer(c.token(U, { scope: ALL, extra: ['--ttl', '30'] }));
    await mine.want(200, 'GET', FACTORS);
    c.advance(100000);
    await mine.want(401, 'GET', FACTORS);
    await c.stop();
  });
  await t.test('survive a rotation, and the new key signs', async () => {
    d.ok('keys', 'rotate');
    await good(token);
    const next = d.token(U, { scope: ALL });
    assert.notEqual(JSON.parse(Buffer.from(next.split('.')[0], 'base64url')).kid, h.kid);
    await good(next);
    const published = (await d.http({ path: '/.well-known/jwks.json' })).json.keys.map((k) => k.kid);
    assert.ok(published.includes(h.kid), 'the old key is still published');
    assert.equal(published.length, 4, 'two of RS256, two of ES256');
  });
  await t.test('token_service = false refuses them', async () => {
    const c = await Daemon.start({ config: { token_service: false } });
    const r = c.ctl('token', '--user', U, '--client', 'spa', '--scope', ALL);
    if (r.code === 0) assert.equal((await c.bearer(r.out.trim()).get(FACTORS)).status, 401);
    assert.equal((await c.session().get(FACTORS)).status, 200, 'external tokens still work');
    await c.stop();
  });
});

test('keys of a file', async (t) => {
  const c = await Daemon.start();
  const write = () => fs.writeFileSync(c.files.jwks, c.idp.jwks());
  const old = c.as(U);
  await old.want(200, 'GET', FACTORS);
  await t.test('a new key is seen', async () => {
    c.idp.keys.unshift(new Key('RS256'));
    write();
    await eventually(async () => (await c.as(U).get(FACTORS)).status === 200, 'the new key', 12000);
    await old.want(200, 'GET', FACTORS);
  });
  await t.test('a key that is gone stops working, remembered tokens included', async () => {
    c.idp.keys.pop();
    write();
    await eventually(async () => (await old.get(FACTORS)).status === 401, 'the end of the old key', 12000);
    await c.as(U).want(200, 'GET', FACTORS);
  });
  await t.test('SIGHUP reads it at once', async () => {
    const before = c.as(U);
    await before.want(200, 'GET', FACTORS);
    c.idp.keys = [new Key('EdDSA')];
    write();
    c.process.kill('SIGHUP');
    await eventually(async () => (await before.get(FACTORS)).status === 401, 'the reload', 12000);
    await c.as(U).want(200, 'GET', FACTORS);
  });
  await t.test('a broken file keeps the keys that are known', async () => {
    const s = c.as(U);
    await s.want(200, 'GET', FACTORS);
    fs.writeFileSync(c.files.jwks, '{"keys":[');
    await sleep(2500);
    await c.as(U).want(200, 'GET', FACTORS);
    write();
  });
  await c.stop();
});

test('JWKS documents with odd keys', async (t) => {
  const c = await Daemon.start({ start: false });
  const ok = c.idp.keys[0];
  const small = new Key('RS256', { bits: 1024, kid: 'small' });
  const large = new Key('RS256', { bits: 4352, kid: 'large' });
  const off = new Key('ES256', { kid: 'off' });
  const enc = new Key('ES256', { kid: 'enc' });
  const noalg = new Key('RS256', { kid: 'noalg' });
  const { alg: _drop, ...bare } = noalg.jwk();
  fs.writeFileSync(c.files.jwks, JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: 'oct', alg: 'HS256' }, { kty: 'weird' }, small.jwk(), large.jwk(),
    off.jwk({ x: Buffer.alloc(32, 7).toString('base64url') }), enc.jwk({ use: 'enc' }), bare, ok.jwk()] }));
  await c.run();
  await t.test('the good key works', () => c.as(U).want(200, 'GET', FACTORS));
  for (const [name, key] of Object.entries({ 'RSA 1024': small, 'RSA 4352': large, 'a point off the curve': off, 'a key for encryption': enc }))
    await t.test(`${name} is not used`, async () => assert.equal((await c.as(U, {}, { key }).get(FACTORS)).status, 401));
  await t.test('a key without alg takes the RSA algorithms of the list', async () => {
    await c.as(U, {}, { key: noalg }).want(200, 'GET', FACTORS);
    const token = jws(noalg, { alg: 'PS256', typ: 'at+jwt', kid: 'noalg' }, c.idp.claims(U), { alg: 'PS256' });
    assert.equal((await c.bearer(token).get(FACTORS)).status, 200);
  });
  await t.test('a token without kid works while one key fits', async () => {
    const r = await c.as(U, {}, { header: { kid: undefined } }).get(FACTORS);
    assert.ok([200, 401].includes(r.status));
  });
  await c.stop();
});

test('keys over HTTP', async (t) => {
  const idp = new Issuer('https://web.test.example/', `${d.base}/me/`);
  await t.test('no keys to be had is 503', async () => {
    const r = await d.bearer(idp.token(U)).get(FACTORS);
    isProblem(r, 503, 'A0E-503-0001');
  });
  await t.test('are fetched once for many requests', async (t2) => {
    const c = await Daemon.start({ start: false });
    const mine = new Issuer('https://web2.test.example/', `${c.base}/me/`);
    c.configure({ network: { allow_http_loopback: true }, issuer: { [mine.url]: { jwks_uri: `${web.origin}/jwks2`, provision: true } } });
    web.set('/jwks2', mine.jwks());
    web.delay = 200;
    await c.run();
    const all = await Promise.all(Array.from({ length: 20 }, () => c.bearer(mine.token(U)).get(FACTORS)));
    web.delay = 0;
    assert.deepEqual([...new Set(all.map((r) => r.status))], [200]);
    assert.ok(web.count('/jwks2') <= 2, `${web.count('/jwks2')} fetches`);
    await t2.test('an unknown kid asks again, but not each time', async () => {
      const before = web.count('/jwks2');
      mine.keys.unshift(new Key('ES256'));
      web.set('/jwks2', mine.jwks());
      c.advance(31000);
      const r = await eventually(async () => (await c.bearer(mine.token(U)).get(FACTORS)).status === 200, 'the rotated key', 45000);
      assert.ok(r);
      const stranger = new Key('ES256');
      for (let i = 0; i < 10; i++) assert.ok([401, 503].includes((await c.bearer(mine.token(U, {}, { key: stranger })).get(FACTORS)).status));
      assert.ok(web.count('/jwks2') - before <= 4, `${web.count('/jwks2') - before} fetches for unknown kids`);
    });
    await t2.test('an issuer that is down keeps its known keys working', async () => {
      web.status = 500;
      await c.bearer(mine.token(U)).want(200, 'GET', FACTORS);
      web.status = 200;
    });
    await t2.test('provisioning creates the user', async () => {
      const sub = 'web|newcomer';
      await c.bearer(mine.token(sub, { email: 'New@Comer.example', email_verified: true, name: 'New Comer' })).want(200, 'GET', FACTORS);
      const shown = c.ok('user', 'show', sub);
      assert.match(shown, /New@Comer\.example|new@comer\.example/i);
      assert.match(shown, /New Comer/);
    });
    await c.stop();
  });
  await t.test('through openid-configuration', async () => {
    const mine = new Issuer(`${web.origin}/`, `${d.base}/me/`);
    web.set('/.well-known/openid-configuration', JSON.stringify({ issuer: mine.url, jwks_uri: `${web.origin}/oidc-jwks` }));
    web.set('/oidc-jwks', mine.jwks());
    await eventually(async () => (await d.bearer(mine.token(U)).get(FACTORS)).status === 200, 'the discovered keys', 45000);
  });
});

test('http on loopback stays closed unless allowed', async () => {
  const c = await Daemon.start({ start: false });
  const mine = new Issuer('https://web3.test.example/', `${c.base}/me/`);
  c.configure({ issuer: { [mine.url]: { jwks_uri: `${web.origin}/jwks3` } } });
  web.set('/jwks3', mine.jwks());
  c.launch();
  await eventually(() => c.exit || c.logText().includes('"ready"'), 'a start or a refusal', 20000);
  if (!c.exit) {
    assert.ok([401, 503].includes((await c.bearer(mine.token(U)).get(FACTORS)).status));
    assert.equal(web.count('/jwks3'), 0);
  } else {
    assert.equal(c.exit.code, 78);
    c.expectExit = true;
  }
  await c.stop();
});

test('provision = false knows only users that are there', async () => {
  const r = await d.as('auth0|stranger').get(FACTORS);
  isProblem(r, 403, 'A0E-403-0001');
  assert.notEqual(d.ctl('user', 'show', 'auth0|stranger').code, 0);
});

test('custom domains', async (t) => {
  const c = await Daemon.start({ start: false });
  const dom = 'https://id.custom.example';
  c.configure({ custom_domains: [dom] });
  c.apply({ client_grants: [{ client_id: 'spa', audience: `${c.base}/me/`, subject_type: 'user', scope: ALL.split(' ') }] });
  await c.run();
  const h = { host: 'id.custom.example', origin: dom };
  const forDomain = c.as(U, { aud: `${dom}/me/` });
  await t.test('audience and Host of the domain', async () => assert.equal((await forDomain.get(FACTORS, h)).status, 200));
  await t.test('Location names the domain', async () => {
    const r = await forDomain.post(METHODS, { type: 'totp' }, h);
    assert.equal(r.status, 202);
    assert.ok(r.headers.location.startsWith(`${dom}/me/v1/authentication-methods/totp%7Cdev_`));
  });
  await t.test('audience of the domain at the base host is 401', async () => assert.equal((await forDomain.get(FACTORS)).status, 401));
  await t.test('audience of base_url at the domain is 401', async () => assert.equal((await c.as(U).get(FACTORS, h)).status, 401));
  await t.test('own token of base_url at the domain is 401', async () => assert.equal((await c.bearer(c.token(U, { scope: ALL })).get(FACTORS, h)).status, 401));
  await t.test('X-Forwarded-Host of a stranger is not believed', async () =>
    assert.equal((await forDomain.get(FACTORS, { headers: { 'x-forwarded-host': 'id.custom.example', forwarded: 'host=id.custom.example;proto=https' } })).status, 401));
  await c.stop();
});

test('a trusted proxy\'s forwarding headers are believed', async (t) => {
  const dom = 'https://id.custom.example';
  const c = await Daemon.start({ config: { custom_domains: [dom], trusted_proxies: ['127.0.0.0/8'] } });
  const s = c.as(U, { aud: `${dom}/me/` });
  for (const [name, headers] of Object.entries({
    Forwarded: { forwarded: 'for=203.0.113.7;host=id.custom.example;proto=https' },
    'X-Forwarded-*': { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-host': 'id.custom.example', 'x-forwarded-proto': 'https' },
  }))
    await t.test(name, async () => {
      const r = await s.post(METHODS, { type: 'totp' }, { headers, origin: dom });
      assert.equal(r.status, 202, r.text);
      assert.ok(r.headers.location.startsWith(dom));
    });
  await t.test('the audit row carries the client\'s address', async () => {
    await eventually(() => c.audit(U).some((l) => l.includes('203.0.113.7')), 'the address in the audit', 5000);
  });
  await c.stop();
});

test('many spellings of one bad token never warm a cache', async () => {
  const t = algs.token(U, {}, { key: algs.keys[0] });
  await good(t);
  for (const x of [`${t}=`, `${t}A`, t.slice(0, -1), t.toUpperCase()]) assert.equal(problem(await bad(x)).slice(0, 12), 'A0E-401-0003');
  await good(t);
});

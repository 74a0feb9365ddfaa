/* SPDX-License-Identifier: Apache-2.0
 * Every key that the reference marks "reload" is in force after SIGHUP, without a restart: each is seen at work under
 * one value and then, in the same process, under another. */
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { SMTPServer } from 'smtp-server';
import { assert, test, before, after, Daemon, ROOT, IDP, METHODS, FACTORS, ORIGIN, Issuer, Raw, methodPath, eventually, request, user, wrongCode, PATIENCE } from './lib/kit.mjs';
import { Device } from './lib/device.mjs';
import { Browser as LoginBrowser, PASSWORD } from './lib/login.mjs';
import { Upstream } from './lib/upstream.mjs';
import { connectDaemon, connection, member, stopAll, Journey, travelled } from './lib/connect.mjs';

/* Keys that other files show at work, or that nothing uses yet. */
const ELSEWHERE = {
  log_file: 'service.test.mjs', log_format: 'correlation.test.mjs',
  ...Object.fromEntries(['certificate', 'key', 'hsts_max_age'].map((k) => [`tls.${k}`, 'tls.test.mjs'])),
  ...Object.fromEntries(['breached_file', 'breached_at_login'].map((k) => [`password_policy.${k}`, 'breached.test.mjs'])),
  ...Object.fromEntries(['retention_days', 'webhook', 'webhook_secret', 'webhook_batch'].map((k) => [`audit.${k}`, 'audit.test.mjs'])),
  ...Object.fromEntries(['factor_added', 'factor_removed', 'factor_changed', 'recovery_code_replaced', 'recovery_code_used', 'password_changed', 'account_added',
    'account_removed', 'address_changed', 'data_exported', 'undo_ttl', 'reset_ttl', 'changes_per_hour'].map((k) => [`notifications.${k}`, 'notices.test.mjs'])),
  ...Object.fromEntries(['user_login_failures', 'method_failures_per_hour', 'messages_per_address', 'signups_per_address'].map((k) => [`rate_limit.${k}`, 'abuse.test.mjs'])),
  ...Object.fromEntries(['fcm_credentials', 'fcm_url', 'apns_key', 'apns_key_id', 'apns_team_id', 'apns_topic', 'apns_sandbox', 'apns_url', 'apns_alert',
    'push_token', 'ca_file'].map((k) => [`delivery.${k}`, 'push-delivery.test.mjs'])),
  ...Object.fromEntries(['policy.push_number_matching', 'rate_limit.push_per_minute', 'rate_limit.push_rejections_per_hour'].map((k) => [k, 'push-login.test.mjs'])),
  ...Object.fromEntries(['name', 'given_name', 'family_name', 'nickname', 'picture', 'user_metadata'].map((k) => [`profile.${k}`, 'profile.test.mjs'])),
  ...Object.fromEntries(['geo.database', 'webauthn.authenticators'].map((k) => [k, 'method-details.test.mjs'])),
  ...Object.fromEntries(['account_page.client_id', 'account_page.issuer'].map((k) => [k, 'account-page.test.mjs'])),
  ...Object.fromEntries(['account.grace_period', 'account.delete_step_up', 'account.export_ttl', 'rate_limit.exports_per_day'].map((k) => [k, 'leaving.test.mjs'])),
};

async function reload(d, over) {
  const count = () => (d.logText().match(/"event":"reloaded"/g) ?? []).length;
  const seen = count();
  d.configure(over);
  d.process.kill('SIGHUP');
  await eventually(() => count() > seen, 'the reload', PATIENCE);
}

let d;
let acme;
let connecting;
let serial = 0;
const closers = [];
before(async () => {
  d = await Daemon.start({ state: { factors: { passkey: true, 'webauthn-roaming': true } } });
  acme = await Upstream.start();
  connecting = await connectDaemon({ upstreams: [acme], connections: [connection('acme', acme.options('basic'))] });
  for (const v of ['relay-s3cret-1', 'relay-s3cret-2', 'gateway-s3cret-1', 'gateway-s3cret-2']) fs.writeFileSync(secret(v), v, { mode: 0o600 });
});
after(async () => {
  for (const c of closers) c();
  await d.stop();
  await stopAll(connecting, acme);
});

const secret = (v) => `${d.dir}/${v}`;
const number = () => `+1555${7300000 + serial++}`;
const address = () => `reload${serial++}@mail.example`;
const nest = (key, value) => key.split('.').reduceRight((v, k) => ({ [k]: v }), value);
const some = async (n, fn) => Promise.all(Array.from({ length: n }, fn));
const limited = (rs) => rs.some((r) => r.status === 429);

/* --- what is looked at --- */

/* Whether an enrolment is still good after five seconds. */
async function lasts(start, answer) {
  const s = d.session();
  const e = await start(s);
  d.advance(5000);
  const r = await s.verifyAny(e.id, { auth_session: e.auth_session, ...answer(s, e) });
  return r.status === 201;
}
const confirms = (type, answer = () => ({})) => () => lasts((s) => s.enrol({ type }), answer);
/* What the first answer to a token of the issuer is. */
const accepted = async () => (await d.as(d.fresh()).get(FACTORS, { lax: true })).status;
const options = async () => (await d.session().enrol({ type: 'passkey' })).authn_params_public_key;
const pushOn = () => d.apply({ factors: { 'push-notification': true } });
/* A device that is about to enrol. */
async function pushBegun() {
  pushOn();
  const s = d.session();
  const e = await s.enrol({ type: 'push-notification' });
  const device = new Device(d);
  device.scan(e.barcode_uri);
  return { s, e, device };
}
/* Under the Default Policy. */
async function strict(fn) {
  d.apply({ api: { default_policy: { require_2fa: true } } });
  try { return await fn(); } finally { d.apply({ api: { default_policy: { require_2fa: false } } }); }
}
/* The directory in which a message lands. */
async function landing(body, to) {
  await d.session().enrol(body);
  const dirs = [d.spoolDir, `${d.dir}/other`];
  const holds = (dir) => fs.existsSync(dir) && fs.readdirSync(dir).some((f) => f.endsWith('.json') && JSON.parse(fs.readFileSync(`${dir}/${f}`, 'utf8')).to === to);
  return (await eventually(() => dirs.find(holds), `the message to ${to}`, PATIENCE)) === d.spoolDir ? 'first' : 'other';
}
const elsewhere = () => `spool:${d.dir}/other`;

class Gateway {
  static async open() {
    const g = new Gateway();
    g.calls = [];
    g.server = http.createServer((req, res) => {
      let body = '';
      req.on('data', (c) => { body += c; });
      req.on('end', () => {
        g.calls.push({ authorization: Buffer.from((req.headers.authorization ?? '').slice(6), 'base64').toString(), form: new URLSearchParams(body) });
        res.writeHead(201, { 'content-type': 'application/json' }).end('{"sid":"SM1","status":"queued"}');
      });
    });
    await new Promise((r) => g.server.listen(0, '127.0.0.1', r));
    closers.push(() => { g.server.closeAllConnections(); g.server.close(); });
    g.url = `http://127.0.0.1:${g.server.address().port}/Messages.json`;
    return g;
  }
  /* The call that carries a message to a new number. */
  async call() {
    const to = number();
    await d.session().enrol({ type: 'phone', phone_number: to });
    return eventually(() => this.calls.find((c) => c.form.get('To') === to), `a call for ${to}`, PATIENCE);
  }
}
async function relay() {
  const mails = [];
  const server = new SMTPServer({
    logger: false, authOptional: true, allowInsecureAuth: true, disabledCommands: ['STARTTLS'], disableReverseLookup: true, closeTimeout: 100,
    onAuth: (auth, session, done) => done(null, { user: `${auth.username}:${auth.password}` }),
    onData(stream, session, done) {
      stream.resume();
      stream.on('end', () => { mails.push({ user: session.user, from: session.envelope.mailFrom.address, to: session.envelope.rcptTo[0].address }); done(); });
    },
  });
  server.on('error', () => {});
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  closers.push(() => server.close());
  const mail = async () => {
    const to = address();
    await d.session().enrol({ type: 'email', email: to });
    return eventually(() => mails.find((m) => m.to === to), `mail to ${to}`, PATIENCE);
  };
  return { port: server.server.address().port, mail };
}
let gateway;
let mailer;
const viaGateway = async () => { gateway ??= await Gateway.open(); return { delivery: { sms: gateway.url }, network: { allow_http_loopback: true } }; };
const viaRelay = async () => {
  mailer ??= await relay();
  return { delivery: { email: `smtp://mailer@localhost:${mailer.port}`, email_password: `file:${secret('relay-s3cret-1')}` }, network: { allow_http_loopback: true } };
};
/* Whether a call out gets through to this address, or is given up or put off. */
async function reaches(arrived) {
  const mark = d.logText().length;
  const before_ = arrived();
  await d.session().enrol({ type: 'phone', phone_number: number() });
  return eventually(() => (arrived() > before_ ? 'reached' : /"delivery\.(failed|dead)"/.test(d.logText().slice(mark)) ? 'refused' : null), 'a verdict', PATIENCE);
}
let tls;
async function tlsPort() {
  if (!tls) {
    tls = { hits: 0, server: net.createServer((c) => { tls.hits++; c.destroy(); }) };
    await new Promise((r) => tls.server.listen(0, '127.0.0.1', r));
    closers.push(() => tls.server.close());
  }
  return tls.server.address().port;
}

/* --- the probes: value before, value after, what to look at, what is seen before and after ---
 * The values may be functions; `base` is configured beside both of them. */
const PROBES = {
  trusted_proxies: { values: [[], ['127.0.0.0/8']], seen: ['127.0.0.1', '203.0.113.9'], look: async () => {
    const s = d.session();
    const e = (await s.post(METHODS, { type: 'recovery-code' }, { headers: { 'x-forwarded-for': '203.0.113.9' } })).json;
    await s.post(`${methodPath(e.id)}/verify`, { auth_session: e.auth_session }, { headers: { 'x-forwarded-for': '203.0.113.9' } });
    return JSON.parse(d.audit(s.user).at(-1)).ip;
  } },
  'issuer.jwks_uri': { values: [() => `file:${d.files.jwks}`, () => `file:${d.dir}/other.json`], seen: [200, 401], look: accepted,
    prepare: () => fs.writeFileSync(`${d.dir}/other.json`, new Issuer(IDP, `${d.base}/me/`).jwks()) },
  'issuer.audience': { values: [() => `${d.base}/me/`, 'https://other.example/me/'], seen: [200, 401], look: accepted },
  'issuer.algorithms': { values: [['ES256'], ['RS256']], seen: [200, 401], look: accepted },
  'issuer.provision': { values: [false, true], seen: [false, true], look: async () => (await d.as(`auth0|made${serial++}`).get(FACTORS, { lax: true })).status === 200 },
  'delivery.email': { values: [() => `spool:${d.spoolDir}`, elsewhere], seen: ['first', 'other'], look: () => { const email = address(); return landing({ type: 'email', email }, email); } },
  'delivery.sms': { values: [() => `spool:${d.spoolDir}`, elsewhere], seen: ['first', 'other'], look: () => { const n = number(); return landing({ type: 'phone', phone_number: n }, n); } },
  'delivery.voice': { values: [() => `spool:${d.spoolDir}`, elsewhere], seen: ['first', 'other'],
    look: () => { const n = number(); return landing({ type: 'phone', phone_number: n, preferred_authentication_method: 'voice' }, n); } },
  'delivery.push': { values: [() => `spool:${d.spoolDir}`, ''], seen: [true, false], look: async () => { pushOn(); return (await d.session().factors()).includes('push-notification'); } },
  'delivery.email_from': { values: ['one@example.com', 'two@example.com'], base: viaRelay, seen: ['one@example.com', 'two@example.com'], look: async () => (await mailer.mail()).from },
  'delivery.email_password': { values: [() => `file:${secret('relay-s3cret-1')}`, () => `file:${secret('relay-s3cret-2')}`], base: viaRelay,
    seen: ['mailer:relay-s3cret-1', 'mailer:relay-s3cret-2'], look: async () => (await mailer.mail()).user },
  'delivery.sms_account': { values: ['AC1', 'AC2'], base: viaGateway, seen: ['AC1:', 'AC2:'], look: async () => (await gateway.call()).authorization },
  'delivery.sms_password': { values: [() => `file:${secret('gateway-s3cret-1')}`, () => `file:${secret('gateway-s3cret-2')}`],
    base: async () => ({ ...await viaGateway(), delivery: { sms: gateway.url, sms_account: 'AC' } }), seen: ['AC:gateway-s3cret-1', 'AC:gateway-s3cret-2'], look: async () => (await gateway.call()).authorization },
  'delivery.sms_from': { values: ['+15550000001', '+15550000002'], base: viaGateway, seen: ['+15550000001', '+15550000002'], look: async () => (await gateway.call()).form.get('From') },
  'delivery.templates': { values: ['', () => `${d.dir}/texts`], seen: [false, true], prepare: () => {
    fs.mkdirSync(`${d.dir}/texts`);
    fs.writeFileSync(`${d.dir}/texts/enroll-code.sms.text`, 'Replaced: {{code}}');
  }, look: async () => (await d.session().startPhone(number())).sms.text.startsWith('Replaced: ') },

  'rate_limit.enabled': { values: [false, true], base: { rate_limit: { user_reads: 1 } }, seen: [false, true], look: async () => { const s = d.session(); return limited(await some(4, () => s.get(FACTORS))); } },
  'rate_limit.user_reads': { values: [50, 77], base: { rate_limit: { enabled: true } }, seen: ['50', '77'], look: async () => (await d.session().get(FACTORS)).headers['x-ratelimit-limit'] },
  'rate_limit.user_writes': { values: [20, 33], base: { rate_limit: { enabled: true } }, seen: ['20', '33'], look: async () => (await d.session().post(METHODS, { type: 'totp' })).headers['x-ratelimit-limit'] },
  'rate_limit.tenant_reads_per_second': { values: [0, 1], base: { rate_limit: { enabled: true } }, seen: [false, true], look: async () => { const s = d.session(); return limited(await some(8, () => s.get(FACTORS))); } },
  'rate_limit.tenant_writes_per_second': { values: [0, 1], base: { rate_limit: { enabled: true } }, seen: [false, true], look: async () => { const s = d.session(); return limited(await some(8, () => s.post(METHODS, { type: 'recovery-code' }))); } },
  'rate_limit.address_failures': { values: [1000, 1], base: { rate_limit: { enabled: true } }, seen: [false, true], look: async () => {
    const rs = await some(6, () => request({ port: d.port, host: d.host, path: FACTORS, headers: { authorization: 'Bearer a.b.c' } }));
    d.advance(61000);
    return limited(rs);
  } },
  'rate_limit.otp_failures_per_hour': { values: [1000, 1], seen: [false, true], look: async () => {
    const s = d.session();
    const e = await s.startEmail(address());
    const rs = [];
    for (let i = 0; i < 3; i++) rs.push(await s.verifyAny(e.id, { auth_session: e.auth_session, otp_code: wrongCode(e.code) }));
    return limited(rs);
  } },
  'rate_limit.sms_per_hour': { values: [1000, 1], seen: [false, true], look: async () => { const s = d.session(); return limited(await some(3, () => s.post(METHODS, { type: 'phone', phone_number: number() }))); } },
  'rate_limit.email_per_hour': { values: [1000, 1], seen: [false, true], look: async () => { const s = d.session(); return limited(await some(3, () => s.post(METHODS, { type: 'email', email: address() }))); } },
  'rate_limit.login_failures_per_minute': { values: [1000, 1], seen: [false, true], look: async () => {
    const id = `auth0|login${serial++}`;
    const email = address();
    d.apply({ users: [user(id, { email, password: PASSWORD })] });
    const b = new LoginBrowser(d);
    let page = await b.authorize();
    for (let i = 0; i < 3; i++) page = await b.login(page, email, 'Zq7-wrong');
    return /^Too many attempts/.test(page.alert);
  } },

  'limits.body_bytes': { values: [65536, 1024], seen: [false, true], look: async () => (await d.session().post(METHODS, { type: 'totp', pad: 'x'.repeat(1500) }, { lax: true })).status === 413 },

  'enrollment.otp_ttl': { values: [300, 2], seen: [true, false], look: () => lasts((s) => s.startEmail(address()), (s, e) => ({ otp_code: e.code })) },
  'enrollment.totp_ttl': { values: [300, 2], seen: [true, false], look: confirms('totp', (s, e) => ({ otp_code: s.code(e.manual_input_code) })) },
  'enrollment.push_ttl': { values: [300, 2], seen: [200, 404], look: async () => { const { device } = await pushBegun(); d.advance(5000); return (await device.tryEnrol()).status; } },
  'enrollment.push_wait': { values: [0, 50], seen: [true, false], look: async () => {
    const { s, e, device } = await pushBegun();
    let answered = false;
    const waiting = s.verifyAny(e.id, { auth_session: e.auth_session }).then(() => { answered = true; });
    await some(20, () => s.get(FACTORS));
    const at_once = answered;
    await device.tryEnrol();
    await waiting;
    return at_once;
  } },
  'enrollment.recovery_ttl': { values: [300, 2], seen: [true, false], look: confirms('recovery-code') },
  'enrollment.password_ttl': { values: [300, 2], seen: [true, false], look: confirms('password', () => ({ new_password: 'Zq7-reloading-kW' })) },
  'enrollment.passkey_ttl': { values: [300, 2], seen: [1, 0], look: async () => { const s = d.session(); await s.enrol({ type: 'webauthn-roaming' }); d.advance(5000); return (await s.list()).length; } },
  'enrollment.connect_ttl': { on: () => connecting, values: [300, 77], seen: [300, 77], look: async () => (await Journey.begin(member(connecting))).begun.expires_in },
  'enrollment.connect_code_ttl': { on: () => connecting, values: [60, 2], seen: [201, 404], look: async () => { const j = await travelled(member(connecting)); connecting.advance(5000); return (await j.complete()).status; } },
  'enrollment.list_unconfirmed': { values: [true, false], seen: [1, 0], look: async () => { const s = d.session(); await s.enrol({ type: 'totp' }); return (await s.list()).length; } },
  'enrollment.protect_last_primary': { values: [true, false], seen: [409, 204], look: async () => { const s = d.session(); const pw = await s.changePassword('Zq7-deleting-kW'); return (await s.del(methodPath(pw.json.id))).status; } },
  'enrollment.auto_email_factor': { values: [true, false], seen: [1, 0], look: async () => (await d.as('auth0|alice').list('email')).length },
  'enrollment.recovery_requires_factor': { values: [false, true], seen: [202, 400], look: async () => (await d.session().post(METHODS, { type: 'recovery-code' })).status },

  'webauthn.require_uv': { values: [false, true], seen: ['preferred', 'required'], look: async () => (await options()).authenticatorSelection.userVerification },
  'webauthn.origins': { values: [[], ['https://related.example']], seen: [false, true], look: async () => (await d.http({ path: '/.well-known/webauthn' })).text.includes('https://related.example') },
  'webauthn.attestation': { values: ['none', 'verified'], seen: ['none', 'direct'], look: async () => (await options()).attestation ?? 'none' },

  'policy.step_up_window': { values: [900, 60], seen: [true, false],
    look: () => strict(async () => (await d.as('auth0|alice', { amr: ['mfa'], auth_time: d.idp.now() - 300 }).get(FACTORS)).status === 200) },
  'policy.enforce_at_api': { values: [true, false], seen: [false, true], look: () => strict(async () => (await d.as('auth0|alice').get(FACTORS)).status === 200) },
  'policy.passkey_satisfies_2fa': { values: [true, false], seen: [true, false],
    look: () => strict(async () => (await d.as('auth0|alice', { amr: ['phr'], auth_time: d.idp.now() }).get(FACTORS)).status === 200) },

  'network.allow_http_loopback': { values: [true, false], base: async () => { gateway ??= await Gateway.open(); return { delivery: { sms: gateway.url } }; }, seen: ['reached', 'refused'], look: () => reaches(() => gateway.calls.length) },
  'network.allow_private': { values: [true, false], base: async () => ({ delivery: { sms: `https://127.0.0.1:${await tlsPort()}/Messages.json` } }), seen: ['reached', 'refused'], look: () => reaches(() => tls.hits) },

  'cors.allow_headers': { values: [[], ['X-Reloaded']], seen: [false, true], look: async () => /x-reloaded/i.test((await d.anonymous()
    .request('OPTIONS', FACTORS, undefined, { headers: { origin: ORIGIN, 'access-control-request-method': 'GET' } })).headers['access-control-allow-headers']) },
};

/* --- keys that need a test of their own --- */

const SPECIAL = {
  log_level: async () => {
    const mark = d.logText().length;
    d.configure({ log_level: 'error' });
    d.process.kill('SIGHUP');
    await eventually(async () => {
      const from = d.logText().length;
      await d.session().get(FACTORS);
      await d.session().get(FACTORS);
      /* a line that is held back comes out with the next error, or within a moment */
      await new Promise((r) => setTimeout(r, 500));
      return d.logText().length === from;
    }, 'silence', PATIENCE);
    await reload(d, {});
    assert.ok(d.logText().length > mark);
    await d.session().get(FACTORS);
    await eventually(() => /"event":"request"/.test(d.logText().slice(mark)), 'a request line');
  },
  'limits.header_timeout': async () => cut('header_timeout', 'GET / HTTP/1.1\r\nX-A: '),
  'limits.body_timeout': async () => cut('body_timeout', `POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{`),
  'limits.drain_timeout': async () => {
    const e = await Daemon.start({ config: { limits: { drain_timeout: 3600, body_timeout: 3600 } } });
    const stuck = new Raw(e.port);
    await stuck.write(`POST ${METHODS} HTTP/1.1\r\nHost: ${e.host}\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{`);
    await reload(e, { limits: { drain_timeout: 0, body_timeout: 3600 } });
    /* under the old value the process would still be there when patience ends, and be aborted */
    assert.deepEqual(await e.end('SIGTERM'), { code: 0, signal: null });
    stuck.close();
    await e.stop();
  },
};
/* A connection that would have lived for an hour is cut under the new value. */
async function cut(key, bytes) {
  await reload(d, { limits: { [key]: 3600, keep_alive: 3600 } });
  const c = new Raw(d.port);
  await c.write(bytes);
  await reload(d, { limits: { [key]: 1, keep_alive: 3600 } });
  assert.equal(await c.whenClosed(PATIENCE), true);
}

test('every key that the reference marks "reload" has its probe', () => {
  const rows = [...fs.readFileSync(`${ROOT}src/conf/conf.def`, 'utf8').matchAll(/^KEY\("([^"]*)",\s*"([^"]+)"[^]*?\b(RELOAD|RESTART),/gm)];
  const keys = rows.filter((m) => m[3] === 'RELOAD').map((m) => (m[1] ? `${m[1]}.${m[2]}` : m[2]));
  assert.ok(keys.length > 45, `${keys.length}`);
  assert.deepEqual([...Object.keys(PROBES), ...Object.keys(SPECIAL), ...Object.keys(ELSEWHERE)].sort(), keys.sort());
});

for (const [key, p] of Object.entries(PROBES))
  test(`SIGHUP changes ${key}`, async () => {
    p.prepare?.();
    const on = p.on?.() ?? d;
    const pid = on.process.pid;
    const base = typeof p.base === 'function' ? await p.base() : p.base ?? {};
    for (const [i, v] of p.values.entries()) {
      const value = typeof v === 'function' ? v() : v;
      const own = key.startsWith('issuer.') ? { issuer: { [IDP]: { [key.slice(7)]: value } } } : nest(key, value);
      const over = Object.fromEntries([...new Set([...Object.keys(base), ...Object.keys(own)])].map((k) => [k,
        base[k] && own[k] && typeof own[k] === 'object' && !Array.isArray(own[k]) ? { ...base[k], ...own[k] } : own[k] ?? base[k]]));
      await reload(on, on === connecting ? { network: { allow_http_loopback: true }, ...over } : over);
      assert.deepEqual(await p.look(), p.seen[i], `${key} = ${JSON.stringify(value)}`);
    }
    assert.equal(on.process.pid, pid);
    assert.equal(on.exit, null);
    await reload(on, on === connecting ? { network: { allow_http_loopback: true } } : {});
  });

for (const [key, run] of Object.entries(SPECIAL)) test(`SIGHUP changes ${key}`, run);

test('keys that need a restart are named, and stay as they were', async () => {
  await reload(d, {});
  for (let i = 0; i < 2; i++) {
    const mark = d.logText().length;
    await reload(d, { base_url: 'https://elsewhere.example', database: '/nonexistent/x.db', http_threads: 3, custom_domains: ['https://more.example'] });
    assert.match(d.logText().slice(mark), /"reload\.needs_restart","keys":"base_url, custom_domains, database, http_threads"/);
    assert.doesNotMatch(d.logText().slice(mark), /reload\.state_kept/);
  }
  const s = d.session();
  await s.enrol({ type: 'totp' }); /* its Location names the origin */
  assert.ok(d.ok('user', 'list').includes('auth0|alice') && d.ctl('health').code === 0);
  const mark = d.logText().length;
  await reload(d, {});
  assert.doesNotMatch(d.logText().slice(mark), /needs_restart/);
});

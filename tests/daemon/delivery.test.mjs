/* SPDX-License-Identifier: Apache-2.0
 * Messages on their way out: SMTP with and without authentication and TLS, gateways in the shape of Twilio's
 * resources, providers that are down and come back, dead letters, replaced texts. */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { SMTPServer } from 'smtp-server';
import { assert, test, Daemon, eventually, freePort } from './lib/kit.mjs';

const PASSWORD = 'relay-s3cret-9f2c';
const NO_LIMITS = { rate_limit: { otp_failures_per_hour: 1000, sms_per_hour: 1000, email_per_hour: 1000 } };

/* An SMTP relay on 127.0.0.1 that keeps what it is given. Plain, without AUTH, unless `opts` says more. */
class Relay {
  static async start(opts = {}, port = 0) {
    const r = new Relay();
    r.mails = [];
    r.server = new SMTPServer({
      logger: false, authOptional: true, disabledCommands: ['STARTTLS', 'AUTH'], closeTimeout: 100, disableReverseLookup: true, ...opts,
      onData(stream, session, done) {
        let raw = '';
        stream.setEncoding('utf8');
        stream.on('data', (c) => { raw += c; });
        stream.on('end', () => {
          r.mails.push({ raw, user: session.user, secure: session.secure, from: session.envelope.mailFrom.address,
            to: session.envelope.rcptTo.map((a) => a.address) });
          done();
        });
      },
    });
    r.server.on('error', () => {}); /* clients that break off */
    await new Promise((resolve) => r.server.listen(port, '127.0.0.1', resolve));
    r.port = r.server.server.address().port;
    return r;
  }
  stop() { return new Promise((resolve) => this.server.close(resolve)); }
  async mail(to) {
    return parse(await eventually(() => this.mails.find((m) => m.to.includes(to)), `mail to ${to}`, 60000));
  }
}

/* Header and text of a message, with the encodings undone. */
function parse(mail) {
  const [head, ...rest] = mail.raw.split('\r\n\r\n');
  const headers = {};
  for (const line of head.replace(/\r\n[ \t]/g, ' ').split('\r\n')) headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.slice(line.indexOf(':') + 2);
  let text = rest.join('\r\n\r\n');
  if (headers['content-transfer-encoding'] === 'base64') text = Buffer.from(text, 'base64').toString('utf8');
  const word = (_, b) => Buffer.from(b, 'base64').toString('utf8');
  const subject = headers.subject.replace(/\?= =\?/g, '?==?').replace(/=\?utf-8\?B\?([^?]*)\?=/g, word);
  return { ...mail, head, headers, subject, text, code: text.match(/\b\d{6}\b/)?.[0] };
}

/* A gateway with Messages and Calls resources; `answer` may be replaced while it runs. */
class Gateway {
  static async start(port = 0) {
    const g = new Gateway();
    g.calls = [];
    g.answer = (res) => res.writeHead(201, { 'content-type': 'application/json' }).end('{"sid":"SM00","status":"queued"}');
    g.server = http.createServer((req, res) => {
      let body = '';
      req.on('data', (c) => { body += c; });
      req.on('end', () => {
        const [user, password] = Buffer.from((req.headers.authorization ?? '').replace(/^Basic /, ''), 'base64').toString().split(':');
        g.calls.push({ method: req.method, path: req.url, type: req.headers['content-type'], user, password, form: Object.fromEntries(new URLSearchParams(body)) });
        g.answer(res);
      });
    });
    await new Promise((resolve) => g.server.listen(port, '127.0.0.1', resolve));
    g.port = g.server.address().port;
    return g;
  }
  url(resource) { return `http://127.0.0.1:${this.port}/2010-04-01/Accounts/AC00/${resource}.json`; }
  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
  call(to) { return eventually(() => this.calls.find((c) => c.form.To === to), `call to ${to}`, 60000); }
}

/* Runs fn with a daemon whose delivery settings are these; secrets are files of its directory. */
async function withDaemon(delivery, fn, over = {}) {
  const d = await Daemon.start({ start: false, config: NO_LIMITS });
  try {
    const secret = path.join(d.dir, 'provider-secret');
    fs.writeFileSync(secret, `${PASSWORD}\n`, { mode: 0o600 });
    d.secrets.add('provider password', PASSWORD);
    d.configure({ ...NO_LIMITS, network: { allow_http_loopback: true }, ...over, delivery: typeof delivery === 'function' ? delivery(`file:${secret}`, d) : delivery });
    await d.run();
    await fn(d);
  } finally {
    await d.stop();
  }
}

let serial = 0;
const address = () => `inbox${serial++}@mail.example`;
const number = () => `+1555${String(7000000 + serial++)}`;
const waiting = (d) => d.logLines().filter((l) => l.event === 'delivery.failed');
const dead = (d) => d.ok('outbox', 'list').split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));

/* Enrols an address and confirms it with the code that arrived in the mail. */
async function enrolByMail(d, relay) {
  const s = d.session();
  const email = address();
  const e = await s.enrol({ type: 'email', email });
  const mail = await relay.mail(email);
  d.secrets.add('code', mail.code);
  await s.verify(e.id, { auth_session: e.auth_session, otp_code: mail.code });
  return { mail, email };
}

test('SMTP without authentication', async () => {
  const relay = await Relay.start();
  await withDaemon({ email: `smtp://localhost:${relay.port}`, email_from: 'no-reply@login.example' }, async (d) => {
    const { mail, email } = await enrolByMail(d, relay);
    assert.equal(mail.from, 'no-reply@login.example');
    assert.deepEqual(mail.to, [email]);
    assert.equal(mail.headers.from, 'no-reply@login.example');
    assert.equal(mail.headers.to, email);
    assert.ok(mail.subject.includes('Example'), mail.subject);
    assert.match(mail.headers['message-id'], /^<[0-9a-f]{32}@login\.example>$/);
    assert.match(mail.headers.date, /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000$/);
    assert.ok(Math.abs(Date.parse(mail.headers.date) - Date.now()) < 120000, mail.headers.date);
    assert.equal(mail.headers['mime-version'], '1.0');
    assert.equal(mail.headers['content-type'], 'text/plain; charset=utf-8');
    assert.ok(!/[^\r]\n/.test(mail.raw), 'every line ends with CRLF');
    assert.ok(mail.head.split('\r\n').every((l) => l.length <= 998 && /^[\x20-\x7e\t]*$/.test(l)), mail.head);
    assert.equal(d.logText().includes(email), false, 'addresses are masked in the log');
  });
  await relay.stop();
});

test('a name beyond ASCII in the message', async () => {
  const relay = await Relay.start();
  await withDaemon({ email: `smtp://localhost:${relay.port}` }, async (d) => {
    const name = 'Größenwahn 例え 😀 & Söhne';
    d.apply({ tenant: { friendly_name: name } });
    const { mail } = await enrolByMail(d, relay);
    assert.ok(mail.subject.includes(name), mail.subject);
    assert.ok(mail.text.includes(name));
    assert.ok(/^[\x00-\x7f]*$/.test(mail.raw));
    assert.ok(mail.raw.split('\r\n').every((l) => l.length <= 78));
  });
  await relay.stop();
});

const login = (ok) => ({
  authOptional: false, allowInsecureAuth: true, disabledCommands: ['STARTTLS'],
  onAuth(auth, session, done) {
    if (ok(auth)) done(null, { user: auth.username });
    else done(new Error('Invalid username or password'));
  },
});
const right = (auth) => auth.username === 'mailer' && auth.password === PASSWORD;

test('SMTP with authentication', async () => {
  const relay = await Relay.start(login(right));
  await withDaemon((ref) => ({ email: `smtp://mailer@localhost:${relay.port}`, email_password: ref }), async (d) => {
    assert.equal((await enrolByMail(d, relay)).mail.user, 'mailer');
  });
  await relay.stop();
});

test('SMTP that offers STARTTLS on this machine', async () => {
  const relay = await Relay.start({ ...login(right), disabledCommands: [] });
  await withDaemon((ref) => ({ email: `smtp://mailer@localhost:${relay.port}`, email_password: ref }), async (d) => {
    assert.equal((await enrolByMail(d, relay)).mail.user, 'mailer');
  });
  await relay.stop();
});

test('smtps to a relay whose certificate nobody signed: the message waits', async () => {
  const relay = await Relay.start({ secure: true });
  await withDaemon({ email: `smtps://localhost:${relay.port}` }, async (d) => {
    await d.session().enrol({ type: 'email', email: address() });
    await eventually(() => waiting(d).length > 0, 'a failed delivery', 30000);
    assert.equal(relay.mails.length, 0);
    assert.deepEqual(dead(d), []);
  });
  await relay.stop();
});

test('a wrong password: the message waits for the operator', async () => {
  const relay = await Relay.start(login(() => false));
  await withDaemon((ref) => ({ email: `smtp://mailer@localhost:${relay.port}`, email_password: ref }), async (d) => {
    const s = d.session();
    const email = address();
    await s.enrol({ type: 'email', email });
    await eventually(() => waiting(d).length > 0, 'a failed delivery', 30000);
    assert.deepEqual(dead(d), []);
    const other = await Relay.start();
    d.configure({ ...d.config, delivery: { ...d.config.delivery, email: `smtp://localhost:${other.port}`, email_password: '' } });
    d.process.kill('SIGHUP');
    const mail = await other.mail(email);
    d.secrets.add('code', mail.code);
    await other.stop();
  });
  await relay.stop();
});

test('SMS and voice through a gateway', async () => {
  const gateway = await Gateway.start();
  await withDaemon((ref) => ({ sms: gateway.url('Messages'), voice: gateway.url('Calls'), sms_account: 'AC00', sms_password: ref, sms_from: '+15005550006' }), async (d) => {
    for (const how of ['sms', 'voice']) {
      const s = d.session();
      const to = number();
      const e = await s.enrol({ type: 'phone', phone_number: to, preferred_authentication_method: how });
      const call = await gateway.call(to);
      assert.equal(call.method, 'POST');
      assert.equal(call.path, `/2010-04-01/Accounts/AC00/${how === 'sms' ? 'Messages' : 'Calls'}.json`);
      assert.equal(call.type, 'application/x-www-form-urlencoded');
      assert.deepEqual([call.user, call.password], ['AC00', PASSWORD]);
      assert.deepEqual(Object.keys(call.form).sort(), ['From', how === 'sms' ? 'Body' : 'Twiml', 'To'].sort());
      assert.equal(call.form.From, '+15005550006');
      const spelled = call.form.Twiml?.match(/^<Response><Say>.*?(\d(?:, \d){5}).*<\/Say><\/Response>$/s)?.[1];
      const code = how === 'sms' ? call.form.Body.match(/\b\d{6}\b/)[0] : spelled.replaceAll(', ', '');
      d.secrets.add('code', code);
      await s.verify(e.id, { auth_session: e.auth_session, otp_code: code });
      assert.equal(d.logText().includes(to), false, 'numbers are masked in the log');
    }
  });
  await gateway.stop();
});

test('a messaging service instead of a number', async () => {
  const gateway = await Gateway.start();
  await withDaemon((ref) => ({ sms: gateway.url('Messages'), sms_account: 'AC00', sms_password: ref, sms_from: 'MG0123456789' }), async (d) => {
    const to = number();
    await d.session().enrol({ type: 'phone', phone_number: to });
    const call = await gateway.call(to);
    assert.equal(call.form.MessagingServiceSid, 'MG0123456789');
    assert.equal(call.form.From, undefined);
  });
  await gateway.stop();
});

test('plain http is refused unless the configuration allows it', async () => {
  const gateway = await Gateway.start();
  const d = await Daemon.start({ start: false, config: NO_LIMITS });
  try {
    d.configure({ ...NO_LIMITS, delivery: { sms: gateway.url('Messages') } });
    d.launch();
    await eventually(() => d.exit || d.logText().includes('"ready"'), 'start or refusal', 30000);
    if (d.exit) { /* refused as configuration is just as well */
      d.expectExit = true;
      assert.notEqual(d.exit.code, 0);
    } else {
      await d.session().enrol({ type: 'phone', phone_number: number() });
      await eventually(() => waiting(d).length > 0, 'a failed delivery', 30000);
    }
    assert.equal(gateway.calls.length, 0);
  } finally {
    await d.stop();
    await gateway.stop();
  }
});

test('a provider that is down costs nothing but time', async () => {
  const mailPort = await freePort();
  const smsPort = await freePort();
  await withDaemon({ email: `smtp://localhost:${mailPort}`, sms: `http://127.0.0.1:${smsPort}/Messages.json` }, async (d) => {
    const s = d.session();
    const email = address();
    const to = number();
    const byMail = await s.enrol({ type: 'email', email });
    const byPhone = await s.enrol({ type: 'phone', phone_number: to });
    await eventually(() => new Set(waiting(d).map((l) => l.channel)).size === 2, 'failed deliveries on both channels', 30000);
    assert.equal((await s.list()).length, 2);
    const relay = await Relay.start({}, mailPort);
    const gateway = await Gateway.start(smsPort);
    const mail = await relay.mail(email);
    const code = (await gateway.call(to)).form.Body.match(/\b\d{6}\b/)[0];
    d.secrets.add('code', mail.code);
    d.secrets.add('code', code);
    await s.verify(byMail.id, { auth_session: byMail.auth_session, otp_code: mail.code });
    await s.verify(byPhone.id, { auth_session: byPhone.auth_session, otp_code: code });
    assert.deepEqual(dead(d), []);
    await relay.stop();
    await gateway.stop();
  });
});

test('a message survives a restart', async () => {
  const port = await freePort();
  await withDaemon({ email: `smtp://localhost:${port}` }, async (d) => {
    const s = d.session();
    const email = address();
    const e = await s.enrol({ type: 'email', email });
    await eventually(() => waiting(d).length > 0, 'a failed delivery', 30000);
    await d.end('SIGKILL');
    const relay = await Relay.start({}, port);
    await d.run();
    const mail = await relay.mail(email);
    d.secrets.add('code', mail.code);
    await s.verify(e.id, { auth_session: e.auth_session, otp_code: mail.code });
    await relay.stop();
  });
});

test('the request does not wait for the provider, nor does the end of the daemon', async () => {
  const gateway = await Gateway.start();
  let held = 0;
  gateway.answer = () => { held++; }; /* never */
  await withDaemon((ref) => ({ sms: gateway.url('Messages'), sms_account: 'AC00', sms_password: ref, sms_from: '+15005550006' }), async (d) => {
    await d.session().enrol({ type: 'phone', phone_number: number() });
    await eventually(() => held > 0, 'the call', 30000);
    await d.session().enrol({ type: 'phone', phone_number: number() });
    assert.equal(held, 1, 'the provider has not answered yet');
    assert.deepEqual(await d.end(), { code: 0, signal: null });
    d.expectExit = true;
  });
  await gateway.stop();
});

test('dead letters', async (t) => {
  let refuse = true;
  const relay = await Relay.start({
    onRcptTo(to, session, done) {
      if (refuse) done(Object.assign(new Error(`<${to.address}> is unknown here`), { responseCode: 550 }));
      else done();
    },
  });
  const gateway = await Gateway.start();
  gateway.answer = (res) => res.writeHead(400, { 'content-type': 'application/json' }).end('{"code":21211,"message":"invalid number"}');
  await withDaemon({ email: `smtp://localhost:${relay.port}`, sms: gateway.url('Messages') }, async (d) => {
    const s = d.session();
    const email = address();
    const e = await s.enrol({ type: 'email', email });
    await eventually(() => dead(d).length === 1, 'a dead letter', 30000);
    await t.test('are listed without address and code', () => {
      const [row] = dead(d);
      assert.equal(row.channel, 'email');
      assert.equal(row.user_id, s.user);
      assert.equal(row.attempts, 1);
      assert.match(row.last_error, /550/);
      assert.equal(JSON.stringify(row).includes(email), false);
    });
    await t.test('of a gateway too', async () => {
      await s.enrol({ type: 'phone', phone_number: number() });
      await eventually(() => dead(d).length === 2, 'a second one', 30000);
      assert.match(dead(d).find((r) => r.channel === 'sms').last_error, /400/);
    });
    await t.test('can be sent again', async () => {
      refuse = false;
      d.ok('outbox', 'retry', dead(d).find((r) => r.channel === 'email').id);
      const mail = await relay.mail(email);
      d.secrets.add('code', mail.code);
      await s.verify(e.id, { auth_session: e.auth_session, otp_code: mail.code });
      await eventually(() => dead(d).length === 1, 'the row to go', 30000);
    });
    await t.test('an unknown id is an error', () => assert.equal(d.ctl('outbox', 'retry', '0'.repeat(32)).code, 1));
  });
  await relay.stop();
  await gateway.stop();
});

test('spool files of all channels share one sequence', async () => {
  await withDaemon({}, async (d) => {
    const s = d.session();
    const email = address();
    const to = number();
    await s.startEmail(email);
    await s.startPhone(to);
    await s.startPhone(number(), 'voice');
    const names = d.spool.names();
    assert.equal(names.length, 3);
    assert.deepEqual(names.map((n) => n.replace(/^\d{20}-/, '')), ['email.json', 'sms.json', 'voice.json']);
    assert.deepEqual(fs.readdirSync(d.spoolDir).sort(), names, 'nothing half-written stays');
    await d.end();
    await d.run();
    await s.startEmail(address());
    const after = d.spool.names();
    assert.ok(after.at(-1) > names.at(-1), 'the sequence goes on after a restart');
    const [mail, sms] = d.spool.all();
    assert.deepEqual(Object.keys(mail).filter((k) => k !== 'file'), ['channel', 'to', 'subject', 'text', 'code', 'user_id', 'created_at']);
    assert.deepEqual(Object.keys(sms).filter((k) => k !== 'file'), ['channel', 'to', 'text', 'code', 'user_id', 'created_at']);
  });
});

test('replaced texts', async (t) => {
  const setUp = (text) => (ref, d) => {
    const templates = path.join(d.dir, 'texts');
    fs.mkdirSync(templates);
    fs.writeFileSync(path.join(templates, 'enroll-code.sms.text'), text);
    return { templates };
  };
  await t.test('file by file', () => withDaemon(setUp('{{code}} für {{tenant}} ({{minutes}} min)\n'), async (d) => {
    const s = d.session();
    const { sms, code } = await s.startPhone(number());
    assert.equal(sms.text, `${code} für Example (5 min)`);
    assert.ok((await s.startEmail(address())).mail.text.includes('Example'));
  }));
  await t.test('an unknown placeholder is an error at start', async () => {
    const d = await Daemon.start({ start: false });
    try {
      d.configure({ delivery: setUp('{{password}}')('', d) });
      d.launch();
      await eventually(() => d.exit, 'the end of the daemon', 30000);
      assert.notEqual(d.exit.code, 0);
      assert.match(d.logText(), /enroll-code\.sms\.text/);
      assert.match(d.logText(), /\{\{password\}\}/);
    } finally {
      d.expectExit = true;
      await d.stop();
    }
  });
});

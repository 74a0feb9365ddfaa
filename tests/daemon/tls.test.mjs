/* SPDX-License-Identifier: Apache-2.0
 * TLS of the daemon's own: versions, suites, reload, what is refused at start, and slow handshakes. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { certificate, openssl } from './lib/certs.mjs';
import { assert, test, before, after, Daemon, Raw, eventually, exchange, request, FACTORS, METHODS } from './lib/kit.mjs';
import { Browser } from './lib/login.mjs';

let d;
let s;
before(async () => {
  d = await Daemon.start({ tls: true });
  s = d.session();
});
after(() => d.stop());

const OLD = { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' };

/* One handshake: the socket's facts, or the error. */
function handshake(port, opts = {}, path_) {
  return new Promise((resolve) => {
    const c = tls.connect({ ...(path_ ? { path: path_ } : { host: '127.0.0.1', port }), servername: 'localhost', rejectUnauthorized: false, ...opts });
    c.setTimeout(10000, () => c.destroy(new Error('timeout')));
    c.once('error', (error) => resolve({ error: error.code ?? error.message }));
    c.once('close', () => resolve({ error: 'closed' }));
    c.once('secureConnect', () => {
      resolve({ version: c.getProtocol(), cipher: c.getCipher().standardName, fingerprint: c.getPeerCertificate().fingerprint256, authorized: c.authorized, reused: c.isSessionReused() });
      c.destroy();
    });
  });
}
const events = (x, name) => x.logLines().filter((l) => l.event === name);
const hup = async (x) => {
  const n = events(x, 'reloaded').length;
  x.process.kill('SIGHUP');
  await eventually(() => events(x, 'reloaded').length > n, 'reload');
};
const get = (token) => `GET ${FACTORS} HTTP/1.1\r\nHost: ${d.host}\r\nAuthorization: Bearer ${token}\r\n\r\n`;

test('TLS 1.2 and 1.3 are spoken, 1.1 and older are not', async () => {
  for (const v of ['TLSv1.2', 'TLSv1.3']) assert.equal((await handshake(d.port, { minVersion: v, maxVersion: v })).version, v);
  /* The client is able to: a server of another make takes it. */
  const other = tls.createServer({ ...OLD, key: fs.readFileSync(d.cert.key), cert: d.cert.pem }).listen(0, '127.0.0.1');
  await new Promise((r) => other.once('listening', r));
  for (const maxVersion of ['TLSv1', 'TLSv1.1']) {
    assert.equal((await handshake(other.address().port, { ...OLD, maxVersion })).version, maxVersion);
    assert.ok((await handshake(d.port, { ...OLD, maxVersion })).error, maxVersion);
  }
  other.close();
});

test('openssl s_client sees what node sees', () => {
  const run = (...args) => spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${d.port}`, '-CAfile', d.cert.certificate, '-verify_return_error', ...args],
    { input: '', encoding: 'utf8', timeout: 20000 });
  for (const [flag, name] of [['-tls1_2', 'TLSv1.2'], ['-tls1_3', 'TLSv1.3']]) {
    const r = run(flag);
    assert.equal(r.status, 0, r.stderr);
    assert.match(r.stdout, new RegExp(`(Protocol *: |New, )${name.replace('.', '\\.')}`));
    assert.match(r.stdout, /Verif(y return code: 0|ication: OK)/);
  }
  assert.notEqual(run('-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0').status, 0);
});

test('only suites with forward secrecy and AEAD', async () => {
  const only = (ciphers) => handshake(d.port, { maxVersion: 'TLSv1.2', ciphers: `${ciphers}:@SECLEVEL=0` });
  assert.equal((await only('ECDHE-ECDSA-AES128-GCM-SHA256')).cipher, 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256');
  assert.equal((await only('ECDHE-ECDSA-CHACHA20-POLY1305')).cipher, 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256');
  for (const c of ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA384', 'AES128-GCM-SHA256', 'DHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-CCM'])
    assert.ok((await only(c)).error, c);
});

test('nothing is resumed: no tickets, no session ids', async () => {
  for (const v of ['TLSv1.2', 'TLSv1.3']) {
    const r = spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${d.port}`, v === 'TLSv1.2' ? '-tls1_2' : '-tls1_3', '-reconnect', '-ign_eof'],
      { input: `GET /x HTTP/1.1\r\nHost: ${d.host}\r\nConnection: close\r\n\r\n`, encoding: 'utf8', timeout: 20000 });
    assert.match(r.stdout, /New, TLSv1/);
    assert.doesNotMatch(r.stdout, /Reused, |session ticket|New Session Ticket/i);
  }
  let offered;
  const first = tls.connect({ host: '127.0.0.1', port: d.port, rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
  await new Promise((r) => first.once('secureConnect', r));
  offered = first.getSession();
  first.destroy();
  assert.equal((await handshake(d.port, { maxVersion: 'TLSv1.2', session: offered })).reused, false);
});

test('a client that asks to renegotiate loses the connection', async () => {
  const r = new Raw(d.port, { secure: { maxVersion: 'TLSv1.2' } });
  await r.opened;
  await r.write(get(s.token));
  await r.whenAnswered(1);
  assert.equal(r.answers()[0]?.status, 200);
  r.socket.renegotiate({}, () => {});
  assert.equal(await r.whenClosed(10000), true);
  assert.equal((await s.get(FACTORS)).status, 200);
});

test('https answers, says so for a year, and plain HTTP gets nothing', async () => {
  const r = await s.get(FACTORS);
  assert.equal(r.status, 200);
  assert.equal(r.headers['strict-transport-security'], 'max-age=31536000');
  assert.equal((await d.http({ path: '/nope' })).headers['strict-transport-security'], 'max-age=31536000');
  const plain = await exchange(d.port, get(s.token), { ms: 10000, secure: false });
  assert.equal(plain.closed, true);
  assert.doesNotMatch(plain.data, /HTTP\//);
});

test('request bytes may be cut into records anywhere', async () => {
  const bytes = get(s.token);
  const slow = new Raw(d.port, { secure: true });
  await slow.opened;
  slow.socket.setNoDelay(true);
  for (const c of bytes) await new Promise((r) => slow.socket.write(c, r));
  await slow.whenAnswered(1);
  assert.equal(slow.answers()[0]?.status, 200);
  slow.close();
  /* Several in one record, one of which waits for the writer and is suspended meanwhile. */
  const body = '{"type":"totp"}';
  const add = `POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nAuthorization: Bearer ${s.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const many = new Raw(d.port, { secure: true });
  await many.write(bytes + add + bytes + add + bytes);
  await many.whenAnswered(5);
  assert.deepEqual(many.answers().map((a) => a.status), [200, 202, 200, 202, 200]);
  for (const a of many.answers()) s.remember(a);
  many.close();
});

test('a body of many records is taken whole', async () => {
  const body = JSON.stringify({ type: 'totp', pad: 'x'.repeat(4000) });
  const r = new Raw(d.port, { secure: true });
  await r.write(`POST ${METHODS} HTTP/1.1\r\nHost: ${d.host}\r\nAuthorization: Bearer ${s.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`);
  for (let i = 0; i < body.length; i += 100) await r.write(body.slice(i, i + 100));
  await r.whenAnswered(1);
  assert.equal(r.answers()[0]?.status, 400);
  assert.match(r.answers()[0].text, /\/pad/);
  r.close();
});

test('SIGHUP brings a new certificate; connections that live go on', async () => {
  const x = await Daemon.start({ tls: true });
  const u = x.session();
  const old = new Raw(x.port, { secure: true });
  const line = `GET ${FACTORS} HTTP/1.1\r\nHost: ${x.host}\r\nAuthorization: Bearer ${u.token}\r\n\r\n`;
  await old.write(line);
  await old.whenAnswered(1);
  const before_ = x.cert.fingerprint;
  assert.equal((await handshake(x.port)).fingerprint, before_);
  for (const kind of ['rsa', 'ed25519', 'ec']) {
    const fresh = certificate(x.dir, 'server', { kind });
    assert.equal((await handshake(x.port)).fingerprint, x.cert.fingerprint, 'before the signal');
    x.cert = fresh;
    await hup(x);
    assert.equal((await handshake(x.port)).fingerprint, fresh.fingerprint, kind);
    assert.equal((await handshake(x.port, { maxVersion: 'TLSv1.2' })).fingerprint, fresh.fingerprint, kind);
  }
  await old.write(line);
  await old.whenAnswered(2);
  assert.deepEqual(old.answers().map((a) => a.status), [200, 200]);
  assert.equal(old.closed, false);
  assert.equal(old.socket.getPeerCertificate().fingerprint256, before_);
  old.close();
  /* Another path by configuration. */
  const moved = certificate(x.dir, 'moved');
  x.configure({ tls: { certificate: `file:${moved.certificate}`, key: `file:${moved.key}`, hsts_max_age: 0 } });
  x.cert = moved;
  await hup(x);
  assert.equal((await handshake(x.port)).fingerprint, moved.fingerprint);
  assert.equal((await x.http({ path: '/x' })).headers['strict-transport-security'], undefined);
  await x.stop();
});

test('a broken new certificate changes nothing and is logged', async (t) => {
  const x = await Daemon.start({ tls: true });
  const good = { crt: fs.readFileSync(x.cert.certificate), key: fs.readFileSync(x.cert.key) };
  const other = certificate(x.dir, 'other');
  const cases = {
    'no PEM': [() => fs.writeFileSync(x.cert.certificate, 'nonsense'), /tls\.certificate holds no certificate/],
    'another key': [() => fs.copyFileSync(other.key, x.cert.key), /tls\.key is not the key of tls\.certificate/],
    'a cut key': [() => fs.writeFileSync(x.cert.key, good.key.subarray(0, good.key.length / 2)), /tls\.key/],
    'a key for everybody': [() => fs.chmodSync(x.cert.key, 0o644), /mode 0644 is too open/],
    'no file': [() => fs.rmSync(x.cert.certificate), /No such file/],
  };
  for (const [name, [damage, why]] of Object.entries(cases))
    await t.test(name, async () => {
      damage();
      await hup(x);
      assert.match(events(x, 'reload.certificate_kept').at(-1)?.why ?? '', why);
      assert.equal((await handshake(x.port)).fingerprint, x.cert.fingerprint);
      fs.writeFileSync(x.cert.certificate, good.crt);
      fs.writeFileSync(x.cert.key, good.key);
      fs.chmodSync(x.cert.key, 0o600);
    });
  x.configure({ tls: { certificate: undefined, key: undefined }, base_url: x.base });
  await hup(x);
  assert.match(events(x, 'reload.needs_restart').at(-1).keys, /tls\.certificate/);
  assert.equal((await handshake(x.port)).fingerprint, x.cert.fingerprint, 'off needs a restart');
  await x.stop();
});

test('what is wrong with certificate or key is said at start and by --check', async (t) => {
  const x = await Daemon.start({ tls: true, start: false });
  const other = certificate(x.dir, 'other');
  const enc = path.join(x.dir, 'enc.key');
  openssl('pkcs8', '-topk8', '-in', x.cert.key, '-out', enc, '-passout', 'pass:x');
  fs.chmodSync(enc, 0o600);
  const weak = certificate(x.dir, 'weak', { kind: 'rsa1024' });
  const p521 = certificate(x.dir, 'p521', { kind: 'p521' });
  fs.writeFileSync(path.join(x.dir, 'empty'), '', { mode: 0o600 });
  const open = path.join(x.dir, 'open.key');
  fs.copyFileSync(x.cert.key, open);
  fs.chmodSync(open, 0o644);
  const link = path.join(x.dir, 'link.key');
  fs.symlinkSync(x.cert.key, link);
  const cases = {
    'the key of another certificate': [{ key: `file:${other.key}` }, /tls\.key is not the key of tls\.certificate/],
    'no such certificate': [{ certificate: `${x.dir}/none` }, /tls\.certificate: .*No such file/],
    'no such key': [{ key: `file:${x.dir}/none` }, /tls\.key: .*No such file/],
    'an encrypted key': [{ key: `file:${enc}` }, /tls\.key is encrypted/],
    'a key for everybody': [{ key: `file:${open}` }, /too open/],
    'a key behind a link': [{ key: `file:${link}` }, /symbolic link/],
    'a certificate where the key should be': [{ key: `file:${x.dir}/weak.csr` }, /tls\.key/],
    'an empty certificate': [{ certificate: `${x.dir}/empty` }, /tls\.certificate holds no certificate/],
    'a curve the clients are not offered': [{ certificate: p521.certificate, key: `file:${p521.key}` }, /P-256 or P-384/],
    'a short RSA key': [{ certificate: weak.certificate, key: `file:${weak.key}` }, /2048 bits/],
  };
  fs.chmodSync(path.join(x.dir, 'weak.csr'), 0o600);
  const run = (...args) => spawnSync(path.resolve(process.env.MA_BIN ?? 'build/asan', 'myaccountd'), x.daemonArgs(args), { ...x.spawnOptions(), encoding: 'utf8', timeout: 60000 });
  for (const [name, [tlsConf, why]] of Object.entries(cases))
    await t.test(name, () => {
      x.configure({ tls: tlsConf });
      const c = run('--check');
      assert.equal(c.status, 78, c.stderr);
      assert.match(c.stderr, why);
      const r = run();
      assert.equal(r.status, 1, r.stderr);
      assert.match(r.stderr, why);
      assert.doesNotMatch(r.stderr, /BEGIN|Sanitizer/);
    });
  const wrong = [
    [{ tls: { key: '' } }, /tls\.certificate needs tls\.key/], [{ tls: { certificate: '' } }, /tls\.key needs tls\.certificate/],
    [{ base_url: `http://localhost:${x.port}` }, /base_url must be https/], [{ tls: { min_version: '1.1' } }, /min_version must be 1\.2 or 1\.3/],
    [{ tls: { key: x.cert.key } }, /must be a secret reference/], [{ tls: { certificate: 'server.crt' } }, /must be \/path/],
    [{ custom_domains: ['http://localhost:9'] }, /custom_domains must be https/],
  ];
  for (const [over, why] of wrong) {
    x.configure(over);
    const c = run('--check');
    assert.equal(c.status, 78, JSON.stringify(over));
    assert.match(c.stderr, why);
  }
  x.configure({});
  assert.equal(run('--check').status, 0);
  await x.stop();
});

test('a certificate that ends soon is warned of once a day, an ended one is an error', async () => {
  const x = await Daemon.start({ tls: { days: 20 } });
  await sleepTick(x);
  assert.equal(events(x, 'tls.certificate_expires').length, 0);
  x.advance(7 * 86400000);
  const first = await eventually(() => events(x, 'tls.certificate_expires')[0], 'the warning');
  assert.deepEqual([first.days, first.level], [12, 'warn']);
  x.advance(86400000);
  await eventually(() => events(x, 'tls.certificate_expires').length === 2, 'the next day');
  x.advance(13 * 86400000);
  await eventually(() => events(x, 'tls.certificate_expired').length === 1, 'the end');
  assert.ok((await handshake(x.port)).version, 'still served: clients judge');
  x.cert = certificate(x.dir, 'server', { days: 3 });
  x.configure({ tls: { certificate: x.cert.certificate } });
  const c = spawnSync(path.resolve(process.env.MA_BIN ?? 'build/asan', 'myaccountd'), x.daemonArgs(['--check']), { ...x.spawnOptions(), encoding: 'utf8' });
  assert.equal(c.status, 0);
  assert.match(c.stderr, /certificate_expires/);
  await x.stop();
});
/* The reminder runs on the deadline timer: wait until the timer has shown a sign of life. */
async function sleepTick(x) {
  const r = new Raw(x.port, { secure: false });
  await r.opened;
  x.configure({ limits: { header_timeout: 1 } });
  await hup(x);
  assert.equal(await r.whenClosed(10000), true);
}

test('names the certificate lacks are warned of', async () => {
  const x = await Daemon.start({ tls: { names: 'DNS:login.example.com' } });
  assert.equal(events(x, 'tls.certificate_names')[0]?.missing, x.base);
  assert.equal(events(d, 'tls.certificate_names').length, 0);
  await x.stop();
});

test('intermediate certificates in the wrong order are put right', async () => {
  const x = await Daemon.start({ tls: true, start: false });
  const root = certificate(x.dir, 'root', { authority: true });
  const middle = certificate(x.dir, 'middle', { authority: true, by: root });
  const lower = certificate(x.dir, 'lower', { authority: true, by: middle });
  const leaf = certificate(x.dir, 'leaf', { by: lower });
  fs.writeFileSync(leaf.certificate, leaf.pem + middle.pem + lower.pem);
  x.configure({ tls: { certificate: leaf.certificate, key: `file:${leaf.key}` } });
  x.cert = leaf;
  await x.run();
  const r = await handshake(x.port, { rejectUnauthorized: true, ca: root.pem });
  assert.deepEqual([r.authorized, r.fingerprint], [true, leaf.fingerprint]);
  await x.stop();
});

test('min_version 1.3', async () => {
  const x = await Daemon.start({ tls: true, config: { tls: { min_version: '1.3' } } });
  assert.equal((await handshake(x.port)).version, 'TLSv1.3');
  assert.ok((await handshake(x.port, { maxVersion: 'TLSv1.2' })).error);
  await x.stop();
});

test('handshakes have a deadline', async (t) => {
  const x = await Daemon.start({ tls: true, config: { limits: { header_timeout: 1, keep_alive: 60 } } });
  const hello = await clientHello();
  const cut = async (feed) => {
    const r = new Raw(x.port, { secure: false });
    await r.opened;
    const fed = feed(r);
    assert.equal(await r.whenClosed(15000), true);
    await fed;
    r.close();
  };
  await t.test('silence', () => cut(async () => {}));
  await t.test('half a hello', () => cut((r) => r.write(hello.subarray(0, 40))));
  await t.test('a hello that drips', () => cut(async (r) => {
    for (let i = 0; i < hello.length && !r.closed; i++) {
      await r.write(hello.subarray(i, i + 1));
      await r.whenClosed(150);
    }
  }));
  await t.test('a hello and then silence', () => cut((r) => r.write(hello)));
  await t.test('noise', () => cut((r) => r.write(Buffer.alloc(3000, 0x55))));
  await t.test('others are served meanwhile', async () => {
    const silent = Array.from({ length: 50 }, () => new Raw(x.port, { secure: false }));
    await Promise.all(silent.map((r) => r.opened));
    assert.equal((await x.session().get(FACTORS)).status, 200);
    for (const r of silent) assert.equal(await r.whenClosed(15000), true);
  });
  await x.stop();
});

/* The first flight of a real client. */
function clientHello() {
  return new Promise((resolve) => {
    const server = net.createServer((c) => c.once('data', (b) => {
      resolve(b);
      c.destroy();
      server.close();
    })).listen(0, '127.0.0.1', () => tls.connect({ host: '127.0.0.1', port: server.address().port }).on('error', () => {}));
  });
}

test('connections that reset in the middle of a handshake leak nothing', async () => {
  const hello = await clientHello();
  for (let i = 0; i < 100; i++) {
    const r = new Raw(d.port, { secure: false });
    await r.write(hello.subarray(0, 1 + i * 7 % hello.length));
    r.socket.resetAndDestroy?.();
    r.close();
  }
  assert.equal((await s.get(FACTORS)).status, 200);
});

test('TLS over a UNIX socket', async () => {
  const x = await Daemon.start({ tls: true, start: false });
  x.configure({ listen: `unix:${x.dir}/api.sock` });
  await x.run();
  const r = await request({ ca: x.cert.ca, socketPath: `${x.dir}/api.sock`, host: x.host, path: FACTORS, headers: { authorization: `Bearer ${x.session().token}` } });
  assert.equal(r.status, 200, r.text);
  await x.stop();
});

test('what stands on TLS and on proxies alike', async (t) => {
  const x = await Daemon.start({ tls: true, config: { trusted_proxies: ['127.0.0.0/8'] } });
  const lines = () => x.logLines().filter((l) => l.event === 'request');
  await t.test('cookies are bound to the host, and secure', async () => {
    const b = new Browser(x);
    const page = await b.authorize();
    assert.equal(page.status, 200, page.text);
    assert.ok(b.setCookies.length > 0);
    for (const c of b.setCookies) assert.match(c, /^__Host-[^;]+;.*\bSecure\b/);
  });
  await t.test('forwarding headers of a trusted proxy that speaks TLS to us', async () => {
    await x.http({ path: '/nope', headers: { 'x-forwarded-for': '192.0.2.9' } });
    await eventually(() => lines().some((l) => l.address === '192.0.2.9'), 'the address in the log');
  });
  await t.test('the issuer is https', async () =>
    assert.equal((await x.http({ path: '/.well-known/openid-configuration' })).json.issuer, `https://localhost:${x.port}/`));
  await x.stop();
});

test('without TLS no Strict-Transport-Security is sent, whatever is set', async () => {
  const x = await Daemon.start({ tls: false, config: { tls: { hsts_max_age: 1000 } } });
  assert.equal((await x.http({ path: '/nope' })).headers['strict-transport-security'], undefined);
  await x.stop();
});

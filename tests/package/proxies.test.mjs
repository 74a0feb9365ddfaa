/* SPDX-License-Identifier: Apache-2.0
 * The example configurations of nginx and Caddy: the programs accept them, and a daemon behind each sees the client as
 * it is and not as the client says. */
import fs from 'node:fs';
import https from 'node:https';
import { spawn } from 'node:child_process';
import { assert, test, Daemon, METHODS, eventually, PATIENCE } from '../daemon/lib/kit.mjs';
import { freePort } from '../daemon/lib/http.mjs';
import { sh, program, without, scratch, read } from './lib.mjs';

const NAME = 'login.example.com';

function certificate(dir) {
  const r = sh(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${NAME}`,
    '-addext', `subjectAltName=DNS:${NAME},DNS:localhost`, '-keyout', `${dir}/key.pem`, '-out', `${dir}/cert.pem`]);
  assert.equal(r.code, 0, r.said);
  return fs.readFileSync(`${dir}/cert.pem`);
}

/* nginx as Debian runs it, with the example as its only site; in the foreground and below dir. */
function nginxFiles(dir, { sock, port, plain }) {
  let site = read('conf/nginx.conf.example').replaceAll('/etc/ssl/certs/login.example.com.pem', `${dir}/cert.pem`)
    .replaceAll('/etc/ssl/private/login.example.com.key', `${dir}/key.pem`);
  if (sock) site = site.replaceAll('/run/myaccountd/http.sock', sock);
  if (port) site = site.replaceAll('listen 443 ssl', `listen 127.0.0.1:${port} ssl`).replaceAll('listen 80;', `listen 127.0.0.1:${plain};`).replace(/^ *listen \[::\].*\n/gm, '');
  fs.writeFileSync(`${dir}/site.conf`, site);
  fs.writeFileSync(`${dir}/nginx.conf`, `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
events { worker_connections 64; }
http { access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
include ${dir}/site.conf; }\n`);
  return ['-e', `${dir}/error.log`, '-p', dir, '-c', `${dir}/nginx.conf`];
}

function caddyFiles(dir, { sock, port }) {
  let site = read('conf/Caddyfile.example');
  if (sock) site = site.replaceAll('/run/myaccountd/http.sock', sock);
  /* no authority to ask for a certificate here */
  if (port) site = `{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tstorage file_system ${dir}/store\n}\n${site.replace(`${NAME} {`, `https://${NAME}:${port} {\n\tbind 127.0.0.1\n\ttls ${dir}/cert.pem ${dir}/key.pem`)}`;
  fs.writeFileSync(`${dir}/Caddyfile`, site);
  return ['--config', `${dir}/Caddyfile`, '--adapter', 'caddyfile'];
}

const PROXIES = {
  nginx: { files: nginxFiles, check: (f) => ['-t', '-q', ...f], run: (f) => f },
  caddy: { files: caddyFiles, check: (f) => ['validate', ...f], run: (f) => ['run', ...f] },
};

for (const [name, proxy] of Object.entries(PROXIES)) {
  const skip = without(name);
  test(`${name} accepts its example`, { skip }, () => {
    const dir = scratch();
    certificate(dir);
    const r = sh([program(name), ...proxy.check(proxy.files(dir, {}))], { env: { HOME: dir, XDG_DATA_HOME: dir } });
    assert.equal(r.code, 0, r.said);
    assert.doesNotMatch(r.said, /\[(warn|emerg|error)\]/);
    fs.rmSync(dir, { recursive: true });
  });

  test(`behind ${name}`, { skip }, async (t) => {
    const dir = scratch();
    const ca = certificate(dir);
    const d = await Daemon.start({ start: false, config: { base_url: `https://${NAME}` } });
    const sock = `${d.dir}/http.sock`;
    d.configure({ base_url: `https://${NAME}`, listen: `unix:${sock}`, trusted_proxies: ['127.0.0.0/8'] });
    await d.run();
    const [port, plain] = [await freePort(), await freePort()];
    const p = spawn(program(name), proxy.run(proxy.files(dir, { sock, port, plain })),
      { stdio: ['ignore', 'ignore', fs.openSync(`${dir}/said`, 'w')], env: { ...process.env, HOME: dir, XDG_DATA_HOME: dir } });
    p.unref();
    process.on('exit', () => p.kill('SIGKILL'));
    t.after(() => p.kill('SIGKILL'));
    const ask = (path, { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
      const req = https.request({ host: '127.0.0.1', port, path, method, ca, servername: NAME, headers: { host: NAME, ...headers } }, (res) => {
        let text = '';
        res.on('data', (c) => { text += c; });
        res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, text }));
      });
      req.on('error', reject);
      req.end(body);
    });
    await eventually(() => ask('/me/v1/factors').then((r) => r.status === 401, () => false), `an answer through ${name}`, PATIENCE);
    const user = d.fresh();
    const headers = { authorization: `Bearer ${d.idp.token(user)}`, 'content-type': 'application/json' };

    await t.test('the daemon sees the public origin', async () => {
      const r = await ask(METHODS, { method: 'POST', headers, body: '{"type":"recovery-code"}' });
      assert.equal(r.status, 202, r.text);
      assert.ok(r.headers.location.startsWith(`https://${NAME}/me/v1/`), r.headers.location);
    });
    await t.test('what clients say of themselves is not believed', async () => {
      const lies = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'evil.example',
        forwarded: 'for=203.0.113.10;proto=http;host=evil.example', 'x-real-ip': '203.0.113.11' };
      const r = await ask(METHODS, { method: 'POST', headers: { ...headers, ...lies }, body: '{"type":"recovery-code"}' });
      assert.equal(r.status, 202, r.text);
      assert.ok(r.headers.location.startsWith(`https://${NAME}/`), r.headers.location);
      const audit = d.audit(user).map((l) => JSON.parse(l));
      assert.ok(audit.length > 0);
      for (const row of audit) assert.equal(row.ip, '127.0.0.1');
    });
    await t.test('a large body is refused before it arrives', async () => {
      const r = await ask(METHODS, { method: 'POST', headers, body: JSON.stringify({ type: 'totp', name: 'x'.repeat(200000) }) }).catch((e) => ({ status: e.code }));
      assert.ok([413, 'EPIPE', 'ECONNRESET'].includes(r.status), `${r.status}`);
    });
    await t.test('browsers are told to stay with https', async () => {
      assert.match((await ask('/me/v1/factors')).headers['strict-transport-security'], /max-age=\d{7,}/);
    });
    p.ref();
    p.kill('SIGTERM');
    await new Promise((r) => { if (p.exitCode !== null || p.signalCode) r(); else p.on('exit', r); });
    fs.rmSync(dir, { recursive: true, force: true });
    await d.stop();
  });
}

/* SPDX-License-Identifier: Apache-2.0
 * The two push services on 127.0.0.1, checking what the real ones check: signatures and claims, tokens and their times,
 * addresses, headers, sizes, the version of HTTP. What is wrong with a request ends up in `faults`. */
import crypto from 'node:crypto';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import { assert, BIN, eventually } from './kit.mjs';
import { certificate } from './certs.mjs';

export const PROJECT = 'example-push';
export const TEAM = 'TEAM0EXMPL';
export const TOPIC = 'com.example.guardian';
const SCOPE = 'https://www.googleapis.com/auth/firebase.messaging';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const read = async (req) => {
  const parts = [];
  for await (const c of req) parts.push(c);
  return Buffer.concat(parts);
};
const part = (jwt, n) => JSON.parse(Buffer.from(jwt.split('.')[n], 'base64url'));
const verified = (jwt, key, how = {}) => {
  const [h, p, s] = jwt.split('.');
  return crypto.verify('sha256', Buffer.from(`${h}.${p}`), { key, ...how }, Buffer.from(s, 'base64url'));
};

class Service {
  constructor(d) {
    this.d = d;
    this.calls = []; /* messages, in order */
    this.faults = [];
    this.answers = new Map(); /* device token → answers still to be given before it is well again */
    this.sockets = new Set();
  }
  async listen(server) {
    this.server = server;
    server.on('connection', (s) => {
      this.sockets.add(s);
      s.on('close', () => this.sockets.delete(s));
    });
    server.on('tlsClientError', () => {});
    server.on('sessionError', () => {});
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.port = server.address().port;
    this.url = `https://localhost:${this.port}`;
  }
  stop() {
    for (const s of this.sockets) s.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
  fault(text) { this.faults.push(text); }
  expect(ok, text) { if (!ok) this.fault(text); }
  /* Answers to the next messages to this device: {status, body, headers}, or 'never'. */
  answer(token, ...answers) { this.answers.set(token, answers); }
  of(token) { return this.calls.filter((c) => c.token === token); }
  call(token, n = 1) { return eventually(() => this.of(token)[n - 1], `message ${n} to ${token.slice(0, 20)}`, 60000); }
  reply(res, token, good) {
    const a = this.answers.get(token)?.shift() ?? good;
    if (a === 'never') return;
    res.writeHead(a.status, { 'content-type': 'application/json', ...a.headers });
    res.end(a.body === undefined ? '' : typeof a.body === 'string' ? a.body : JSON.stringify(a.body));
  }
}

/* --- FCM HTTP v1 and the token endpoint of its service accounts --- */

export class Fcm extends Service {
  static async start(d, { cert } = {}) {
    const f = new Fcm(d);
    f.cert = cert ?? certificate(d.dir, 'fcm');
    f.ttl = 3600;
    f.grants = []; /* assertions taken */
    f.tokens = new Map(); /* access token → until when, in ms */
    f.rotate();
    await f.listen(https.createServer({ cert: f.cert.pem, key: fs.readFileSync(f.cert.key) }, (req, res) => f.handle(req, res).catch((e) => f.fault(e.stack))));
    return f;
  }
  /* A new key of the account; the old one is known no more. */
  rotate() {
    const pair = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.publicKey = pair.publicKey;
    this.pem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
    this.kid = crypto.randomBytes(20).toString('hex');
    this.email = `push@${PROJECT}.iam.example.com`;
    this.d.secrets.add('service account key', this.pem.split('\n')[5]);
  }
  account(over = {}) {
    return { type: 'service_account', project_id: PROJECT, private_key_id: this.kid, private_key: this.pem, client_email: this.email,
      client_id: '100000000000000000000', auth_uri: `${this.url}/auth`, token_uri: `${this.url}/token`, universe_domain: 'googleapis.com', ...over };
  }
  /* The account's key file; the reference to it. */
  file(over) {
    const file = path.join(this.d.dir, 'fcm.json');
    fs.writeFileSync(file, JSON.stringify(this.account(over), null, 2), { mode: 0o600 });
    return `file:${file}`;
  }
  revoke() { this.tokens.clear(); }
  async handle(req, res) {
    const body = await read(req);
    if (req.url === '/token') this.grant(req, res, body);
    else if (req.url === `/v1/projects/${PROJECT}/messages:send`) this.send(req, res, body);
    else {
      this.fault(`${req.method} ${req.url}`);
      res.writeHead(404).end();
    }
  }
  grant(req, res, body) {
    const form = new URLSearchParams(body.toString());
    const jwt = form.get('assertion') ?? '..';
    const head = part(jwt, 0);
    const claims = part(jwt, 1);
    const now = this.d.now() / 1000;
    const good = req.method === 'POST' && req.headers['content-type'] === 'application/x-www-form-urlencoded' && form.get('grant_type') === GRANT &&
      head.alg === 'RS256' && head.kid === this.kid && verified(jwt, this.publicKey) && claims.iss === this.email && claims.scope === SCOPE &&
      claims.aud === `${this.url}/token` && claims.iat <= now + 60 && claims.iat > now - 300 && claims.exp > now && claims.exp - claims.iat <= 3600;
    this.grants.push({ head, claims, good });
    this.d.secrets.add('token', jwt);
    const refusal = this.refuse?.();
    if (refusal) {
      res.writeHead(refusal.status, { 'content-type': 'application/json', ...refusal.headers }).end(JSON.stringify(refusal.body));
      return;
    }
    if (!good) {
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant","error_description":"Invalid JWT Signature."}');
      return;
    }
    const access_token = `ya29.c.${crypto.randomBytes(90).toString('base64url')}`;
    this.d.secrets.add('access token', access_token);
    this.tokens.set(access_token, this.d.now() + this.ttl * 1000);
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ access_token, expires_in: this.ttl, token_type: 'Bearer' }));
  }
  send(req, res, body) {
    const bearer = req.headers.authorization?.match(/^Bearer (.+)$/)?.[1];
    const { message } = JSON.parse(body);
    if (!(this.tokens.get(bearer) > this.d.now())) {
      this.unauthenticated = (this.unauthenticated ?? 0) + 1;
      res.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(Fcm.error(401, 'UNAUTHENTICATED').body));
      return;
    }
    const data = Object.entries(message.data);
    this.expect(req.method === 'POST' && req.headers['content-type'] === 'application/json', 'method or content type');
    this.expect(data.every(([k, v]) => typeof v === 'string' && !/^(from|message_type|google\..*|gcm\..*)$/.test(k)), 'data');
    this.expect(data.reduce((n, [k, v]) => n + Buffer.byteLength(k) + Buffer.byteLength(v), 0) <= 4096, 'size');
    this.expect(message.android.priority === 'high' && /^\d+(\.\d+)?s$/.test(message.android.ttl), 'android');
    this.expect(Object.keys(message).sort().join() === 'android,data,token', 'members');
    this.calls.push({ token: message.token, message, bearer });
    this.reply(res, message.token, { status: 200, body: { name: `projects/${PROJECT}/messages/0:${this.calls.length}` } });
  }
  static error(code, status, errorCode, headers) {
    const details = errorCode ? [{ '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode }] : [];
    return { status: code, headers, body: { error: { code, message: 'The message itself names nobody.', status, details } } };
  }
}

/* --- APNs --- */

export class Apns extends Service {
  /* http1: a server that does not speak HTTP/2 at all. */
  static async start(d, { cert, http1 } = {}) {
    const a = new Apns(d);
    a.cert = cert ?? certificate(d.dir, 'apns');
    a.jwts = [];
    a.sessions = 0;
    a.rotate();
    const tls = { cert: a.cert.pem, key: fs.readFileSync(a.cert.key) };
    const handle = (req, res) => a.handle(req, res).catch((e) => a.fault(e.stack));
    const server = http1 ? https.createServer(tls, handle) : http2.createSecureServer({ ...tls, allowHTTP1: true }, handle);
    server.on('session', () => { a.sessions++; });
    await a.listen(server);
    return a;
  }
  rotate() {
    const pair = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.publicKey = pair.publicKey;
    this.pem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
    this.kid = crypto.randomBytes(5).toString('hex').toUpperCase();
    this.d.secrets.add('provider key', this.pem.split('\n')[1]);
  }
  file() {
    const file = path.join(this.d.dir, 'apns.p8');
    fs.writeFileSync(file, this.pem, { mode: 0o600 });
    return `file:${file}`;
  }
  settings() { return { apns_key: this.file(), apns_key_id: this.kid, apns_team_id: TEAM, apns_topic: TOPIC, apns_url: this.url }; }
  authenticated(jwt) {
    const head = part(jwt, 0);
    const claims = part(jwt, 1);
    if (head.alg !== 'ES256' || head.kid !== this.kid || claims.iss !== TEAM || !verified(jwt, this.publicKey, { dsaEncoding: 'ieee-p1363' })) return 'InvalidProviderToken';
    const age = this.d.now() / 1000 - claims.iat;
    if (this.expireBefore > claims.iat || age > 3600) return 'ExpiredProviderToken';
    return age < -60 ? 'InvalidProviderToken' : null;
  }
  async handle(req, res) {
    const body = await read(req);
    const h = req.headers;
    const token = req.url.match(/^\/3\/device\/([0-9a-f]+)$/)?.[1];
    const jwt = h.authorization?.match(/^bearer (.+)$/)?.[1] ?? '..';
    this.d.secrets.add('token', jwt);
    if (this.jwts.at(-1) !== jwt) this.jwts.push(jwt);
    this.expect(req.httpVersion === '2.0', `HTTP/${req.httpVersion}`);
    this.expect(req.method === 'POST' && token, `${req.method} ${req.url}`);
    const problem = this.authenticated(jwt);
    if (problem) {
      this.unauthenticated = (this.unauthenticated ?? 0) + 1;
      res.writeHead(403).end(JSON.stringify({ reason: problem }));
      return;
    }
    this.expect(h['apns-topic'] === TOPIC && h['apns-push-type'] === 'alert' && h['apns-priority'] === '10', 'topic, type or priority');
    this.expect(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(h['apns-id']), `apns-id ${h['apns-id']}`);
    this.expect(/^\d+$/.test(h['apns-expiration']) && Number(h['apns-expiration']) > this.d.now() / 1000, 'apns-expiration');
    this.expect(body.length <= 4096, 'PayloadTooLarge');
    this.calls.push({ token, headers: h, payload: JSON.parse(body) });
    this.reply(res, token, { status: 200 });
  }
}

/* --- putting messages into the outbox of a daemon that is not running --- */

let serial = 0;
export const gcm = (name = 'device') => `${name}_${++serial}:APA91b${crypto.createHash('sha256').update(String(serial)).digest('base64url')}`;
export const apns = () => crypto.createHash('sha256').update(String(++serial)).digest('hex');

/* What the app gets for one sign-in. */
export function signIn(d, over = {}) {
  const txtkn = crypto.randomBytes(24).toString('base64url');
  d.secrets.add('transaction token', txtkn);
  return { dai: 'dev_0123456789abcdef', txtkn, txlnkid: 'link-1', c: crypto.randomBytes(16).toString('base64url'), sh: d.host,
    d: new Date(d.now()).toISOString(), s: JSON.stringify({ b: { n: 'Firefox', v: '140' }, os: { n: 'Linux', v: '6.1' } }),
    l: JSON.stringify({ n: 'Zürich', lat: '47.37', long: '8.54' }), ...over };
}

/* messages: [to, data]...; at: when they were written, ms from now (and due: a future one waits for d.advance). */
export function put(d, messages, { at = 0 } = {}) {
  const pairs = messages.flatMap(([to, data = signIn(d)]) => {
    if (to.length > 20) d.secrets.add('device token', to.split(':').slice(1).join(':'));
    return [to, typeof data === 'string' ? data : JSON.stringify(data)];
  });
  const user = d.pushUser ??= d.fresh();
  const r = spawnSync(path.join(BIN, 'tests/put_push'), [d.files.db, path.join(d.dir, 'keys'), user, String(d.now() + at), ...pairs],
    { ...d.spawnOptions(), encoding: 'utf8' });
  assert.equal(r.status, 0, `put_push: ${r.stderr}`);
}

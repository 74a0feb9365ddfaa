/* SPDX-License-Identifier: Apache-2.0
 * One user at work: makes plans of operations, sends them whole or bent, keeps what the answers taught, and writes down
 * how to get there again. */
import { sleep } from '../../daemon/lib/daemon.mjs';
import { PASSWORD } from '../../daemon/lib/login.mjs';
import { Random } from '../../chaos/random.mjs';
import { byId, schemas } from './operations.mjs';
import { judge, kindOf, ofLibrary } from './judge.mjs';
import { bendBytes, build, encode, escape, mutate } from './mutate.mjs';
import { STRINGS, word } from './schema.mjs';
import { Wire } from './wire.mjs';
import { CALLBACK, SCOPE, SECRET } from './world.mjs';
import { CHALLENGE, VERIFIER } from '../../daemon/lib/login.mjs';

/* No answer may take longer: the longest limit of the daemon, on a slow machine. */
export const DEADLINE = 30000;
/* For what comes behind an answer. */
export const FURTHER = 100;
const LINE = 9000;
const HISTORY = 400;
const POOL = 12;
const TOKEN_AGE = 20 * 60000;
/* The state of a sign-in; one that the application chose is its own affair. */
const FLOW = /^[\w-]{43}$/;
const LEARNED = { auth_session: 1, next: 1, refresh_token: 1, access_token: 1, id_token: 1, mfa_token: 1, oob_code: 1, ticket: 1, manual_input_code: 1, recovery_code: 1, secret: 1, id: 0, connect_code: 1, code: 1, state: 1, link: 1 };

export class Player {
  constructor(world, n, report) {
    const me = world.people[n];
    Object.assign(this, { world, n, me, report, r: new Random(world.seed, world.part, n), pools: new Map(), jar: new Map(), codes: new Set(), origins: new Map(), history: [], serial: 0, addresses: 0, secret: PASSWORD });
  }
  get d() { return this.world.d; }

  /* --- values --- */
  keep(name, value, origin) {
    if (typeof value !== 'string' || !value || (name === 'id' && !/[|_]/.test(value))) return;
    const pool = this.pools.get(name) ?? [];
    if (!pool.includes(value)) pool.push(value);
    if (pool.length > POOL) pool.shift();
    this.pools.set(name, pool);
    if (origin && value.length >= 10 && !this.origins.has(value)) this.origins.set(value, origin);
    if (LEARNED[name] && (name !== 'state' || FLOW.test(value))) this.d.secrets.add(name === 'id_token' || name === 'access_token' ? 'token' : name, value);
    if (name === 'id') for (const [id] of value.matchAll(/(?:dev|cac)_[A-Za-z0-9]{16,22}/g)) if (!this.world.owners.has(id)) this.world.owners.set(id, this.n);
  }
  pick(...names) {
    const all = names.flatMap((k) => this.pools.get(k) ?? []);
    return all.length ? this.r.of(all) : undefined;
  }
  code(value, origin) {
    this.codes.add(value);
    this.origins.set(value, origin);
    return value;
  }
  /* What another user was given under a name; the answer may then speak of them. */
  foreign(name, plan) {
    if (name === 'state' && byId[plan.op].path !== '/u/login') return undefined; /* anywhere else it is the application's */
    const other = this.world.players[(this.n + 1 + this.r.below(this.world.players.length - 1)) % this.world.players.length];
    if (other === this) return undefined;
    const value = other.pick(...{ token: ['refresh_token', 'access_token', 'link'], subject_token: ['refresh_token'], from: ['next'], id_token_hint: ['id_token'] }[name] ?? [name]);
    if (value === undefined) return undefined;
    plan.foreign.push(value);
    if (plan.style !== 'api') plan.owners.add(other.n);
    return value;
  }
  mail() { return `${this.me.mark}.${this.addresses++}@mail.example`; }
  number() { return `+1999${String(this.n)}${String(100000 + this.addresses++).slice(0, 6)}`; }
  token() {
    if (!this.bearer || this.d.now() - this.minted > TOKEN_AGE) {
      this.minted = this.d.now();
      this.bearer = this.d.idp.token(this.me.id, { scope: SCOPE.join(' ') });
      this.bound = this.d.idp.token(this.me.id, { scope: SCOPE.join(' '), cnf: { jkt: this.world.prover.jkt } });
      for (const t of [this.bearer, this.bound]) this.d.secrets.add('token', t);
    }
    return this.bearer;
  }
  proof(method, path) { return this.world.prover.proof(method, `${this.d.base}${path}`, { token: this.bound }); }
  hint(op) {
    const { r, me } = this;
    const values = {
      client_id: () => r.of(['app', 'spa', 'ruled', 'web', 'third']), client_secret: () => SECRET, username: () => me.email, login_hint: () => me.email, password: () => this.secret, new_password: () => this.password(), email: () => this.mail(), address: () => this.mail(),
      phone_number: () => this.number(), realm: () => 'Username-Password-Authentication', connection: () => (op.style === 'api' && op.method === 'POST' && op.path.endsWith('/connect') ? r.of(['acme', 'acme-1', 'acme-2']) : r.of(['acme', 'Username-Password-Authentication'])),
      redirect_uri: () => CALLBACK, post_logout_redirect_uri: () => CALLBACK, returnTo: () => CALLBACK, code_verifier: () => VERIFIER, code_challenge: () => CHALLENGE, audience: () => `${this.d.base}/me/`, scope: () => r.of(['openid offline_access', 'openid profile email read:me:factors']),
      authorization_params: () => ({ login_hint: me.email }), organization: () => `org_${me.mark}0`, name: () => `${r.of(STRINGS)} ${me.mark}`, method: () => this.pick('id'), authenticator_id: () => this.pick('id'), token: () => (op.path.startsWith('/security/') ? this.pick('link') : this.pick('refresh_token', 'access_token')), subject_token: () => this.pick('refresh_token', 'access_token'),
      from: () => this.pick('next'), state: () => (op.path === '/u/login' ? this.pick('state') : undefined), otp_code: () => this.pick('otp') ?? '123456', otp: () => this.pick('otp') ?? '123456', binding_code: () => this.pick('otp'), id_token_hint: () => this.pick('id_token'), identity_user_id: () => me.mark, type: () => undefined, id: () => undefined,
    };
    return (name) => (values[name] ?? (() => (LEARNED[name] === undefined ? undefined : this.pick(name))))();
  }
  password() {
    const text = `Zq7${word(this.r, 12)}kW`;
    this.d.secrets.add('password', text);
    return text;
  }

  /* --- plans --- */
  /* over: id, body, form, query, headers; what is not given is made from the schema. */
  plan(opId, over = {}) {
    const op = byId[opId];
    const { r } = this;
    const hint = this.hint(op);
    const p = { op: opId, style: op.style, method: op.method, headers: [], notes: [], owners: new Set(), foreign: [] };
    const at = (id) => op.path.replace(/\{[^}]+\}/, id);
    if (op.item) {
      p.item = at;
      const made = { getPageAsset: r.of(['style.css', 'login.js', 'x']), explainError: r.of(['A0E-400-0001', 'A0E-404-0002', 'x']), nowhere: 'all', getConsent: this.pick('consent_id') ?? 'cst_x' }[opId];
      p.path = at(escape(over.id ?? made ?? this.pick('id') ?? 'totp|dev_0000000000000000'));
    } else p.path = op.path;
    p.query = over.query ?? op.query.filter((q) => q.required || r.below(2)).flatMap((q) => { const v = schemas.sample(q.schema, r, hint, q.name); return [v].flat().map((x) => [q.name, typeof x === 'object' ? JSON.stringify(x) : x]); });
    if (op.body) {
      const value = over.body ?? schemas.sample(op.body, r, hint);
      if (op.formOnly || (op.forms && (over.form ?? r.below(2)))) p.form = Object.entries(value).map(([k, v]) => [k, typeof v === 'object' ? JSON.stringify(v) : v]);
      else p.json = value;
    }
    if (op.style === 'api') this.authorize(p, over.dpop ?? (!this.calm && !r.below(8)));
    else if (op.bearer) { const t = this.pick(op.bearer === 'mfa' ? 'mfa_token' : 'access_token'); p.headers.push(['Authorization', `Bearer ${t ?? this.token()}`]); }
    if (op.style === 'page' && this.jar.size && over.cookies !== false) p.headers.push(['Cookie', [...this.jar].map(([k, v]) => `${k}=${v}`).join('; ')]);
    if (!this.calm && !r.below(6)) p.headers.push(['Origin', op.style === 'page' ? this.d.base : 'http://localhost:3000']);
    if (over.headers) p.headers = [...p.headers.filter(([k]) => !over.headers.some(([x]) => x === k)), ...over.headers];
    return p;
  }
  authorize(p, dpop) {
    const bearer = this.token();
    if (!dpop) p.headers.push(['Authorization', `Bearer ${bearer}`]);
    else p.headers.push(['Authorization', `DPoP ${this.bound}`], ['DPoP', this.proof(p.method, p.path)]);
  }

  /* --- a journey: yields plans, takes answers; on the way everything may be bent --- */
  async play(journey, { calm = false } = {}) {
    this.calm = calm;
    let step = journey.next();
    let last;
    let strayed = false;
    while (!step.done && !this.world.crashed()) {
      const plan = step.value;
      if (plan.advance) {
        if (!calm) this.d.advance(plan.advance);
      } else if (plan.wait) last = await plan.wait();
      else {
        if (!calm) {
          for (let n = this.r.below(5); n > 0; n--) await this.bent(plan);
          /* Sometimes the bent one is all there is: the journey goes on from what it did. */
          if (!this.r.below(12)) {
            last = await this.bent(plan);
            strayed = true;
          }
          else last = await this.send(plan);
        } else last = await this.send(plan);
      }
      try {
        step = journey.next(last);
      } catch (e) {
        if (!strayed || !(e instanceof TypeError)) throw e;
        return; /* an answer to something else: the way ends here */
      }
    }
  }
  bent(plan) {
    /* A proof is good once. */
    let p = { ...plan, owners: new Set(), foreign: [], notes: [] };
    if (plan.style === 'api' && plan.headers.some(([k]) => k === 'DPoP')) p.headers = plan.headers.map(([k, v]) => [k, k === 'DPoP' ? this.proof(plan.method, plan.path) : v]);
    const context = { port: this.d.port, host: this.d.host, foreign: (name) => this.foreign(name, p), proof: () => this.world.prover.proof(plan.method, `${this.d.base}${plan.path}`), other: () => { const op = byId[plan.op]; return op.body && schemas.sample(op.body, this.r, this.hint(op)); } };
    const sets = p;
    for (let n = this.r.of([1, 1, 1, 2, 2, 3]); n > 0; n--) p = mutate(p, this.r, context);
    return this.send(Object.assign(p, { owners: sets.owners, foreign: sets.foreign }));
  }

  /* --- sending --- */
  async send(plan) {
    const req = build(plan, this.d.host);
    let bytes = encode(req);
    if (plan.bytes !== undefined) bytes = bendBytes(bytes, new Random('bytes', plan.bytes));
    const entry = { n: this.serial++, plan, bytes, deliver: plan.misframed ? 'alone' : plan.unframed && plan.deliver === 'pipeline' ? 'split' : plan.deliver ?? 'whole' };
    plan.line = bytes.toString('latin1', 0, LINE).split('\n')[0];
    this.history.push(entry);
    if (this.history.length > HISTORY) this.history.shift();
    this.report.sent(plan);
    const began = Date.now();
    const answers = await this.deliver(entry, plan.bytes === undefined ? req.method : bytes.toString('latin1', 0, 20).trimStart().split(' ')[0]);
    this.report.took(Date.now() - began);
    const last = answers.findIndex((a) => a.status && ofLibrary(a));
    if (last >= 0) answers.length = last + 1;
    for (const a of answers) this.take(plan, plan.bytes === undefined ? req : null, a, entry);
    return answers.find((a) => a.status) ?? { status: 0, headers: {}, text: '', head: '' };
  }
  async deliver({ bytes, deliver, plan }, method) {
    const own = ['alone', 'half', 'abort', 'reset'].includes(deliver);
    const wire = own ? new Wire(this.d.port) : await this.connection();
    if (deliver === 'abort') {
      await wire.write(bytes.subarray(0, this.r.below(bytes.length)));
      wire.destroy(Boolean(this.r.below(2)));
      return [];
    }
    if (deliver === 'pipeline') return this.pipeline(wire, bytes, method, plan);
    const used = wire.used;
    await this.write(wire, bytes, deliver);
    if (deliver === 'reset') {
      wire.destroy(true);
      return [];
    }
    /* Left open now and then: then the daemon's own limits of time must end it. */
    const ends = deliver === 'half' || (deliver === 'alone' && this.r.below(150) > 0);
    if (ends) wire.end();
    const out = [await wire.read(method, DEADLINE)];
    if (!own) {
      /* An idle connection may be ended at any moment; who finds it so asks again (RFC 9112 section 9.3.1). */
      if (used && out[0].closed && !out[0].rest.length && !this.world.crashed()) {
        wire.doomed = true;
        return this.deliver({ bytes, deliver, plan }, method);
      }
      return this.settle(wire, out);
    }
    /* Further answers, if the bytes were more than one request; an idle connection is the daemon's to keep. */
    while (ends && out.at(-1).status && out.length < 20) out.push(await wire.read(method, FURTHER));
    if (out.length > 1 && !out.at(-1).status && !out.at(-1).malformed) out.pop();
    wire.destroy();
    return out;
  }
  async connection() {
    if (!this.wire || this.wire.closed || this.wire.doomed) {
      this.wire?.destroy();
      this.wire = new Wire(this.d.port);
    } else if (this.wire.data.length) {
      const rest = this.wire.data.toString('latin1', 0, 200);
      this.wire.destroy();
      this.report.finding('connection', `bytes after the answer: ${JSON.stringify(rest)}`, this, this.history.at(-2) ?? this.history.at(-1));
      this.wire = new Wire(this.d.port);
    }
    return this.wire;
  }
  settle(wire, out) {
    for (const a of out) if (!a.status || /close/i.test(a.headers.connection ?? '')) wire.doomed = true;
    return out;
  }
  async write(wire, bytes, how) {
    const pieces = how === 'dribble' ? 30 : how === 'split' ? this.r.between(2, 5) : 1;
    let at = 0;
    for (let n = 0; n < pieces && at < bytes.length; n++) {
      const size = n === pieces - 1 ? bytes.length - at : how === 'dribble' ? this.r.between(1, 20) : this.r.below(bytes.length - at);
      await wire.write(bytes.subarray(at, at + size));
      at += size;
      if (pieces > 1) await new Promise((r) => setImmediate(r));
    }
  }
  async pipeline(wire, bytes, method, plan) {
    const n = this.r.between(2, 6);
    await wire.write(Buffer.concat(Array.from({ length: n }, () => bytes)));
    const out = [];
    while (out.length < n) {
      const a = await wire.read(method, DEADLINE);
      out.push(a);
      if (!a.status || /close/i.test(a.headers.connection ?? '')) break;
    }
    this.report.extra(plan, n - 1);
    return this.settle(wire, out);
  }

  /* --- answers --- */
  take(plan, req, a, entry) {
    const say = (oracle, text) => this.report.finding(oracle, text, this, entry);
    if (a.malformed) return say('connection', `not HTTP: ${a.malformed}`);
    if (a.silent) return say('deadline', `no answer in ${DEADLINE} ms, nor an end`);
    if (!a.status) {
      if (this.world.crashed()) return undefined;
      if (!plan.unframed && entry.deliver !== 'half' && !(this.world.flood && a.rest.length === 0)) say('connection', `closed without an answer${a.rest.length ? ` after ${a.rest.length} bytes` : ''}`);
      return this.report.closed(plan);
    }
    this.report.answered(plan, a, kindOf(a));
    for (const [oracle, text] of judge(this, plan, req, a)) say(oracle, text);
    if (a.status === 201 && a.json?.type === 'password') this.secret = plan.json?.new_password;
    if (a.status < 400 && plan.op === 'newPasswordPost') this.secret = plan.form?.find(([k]) => k === 'password')?.[1];
    if (typeof this.secret !== 'string') this.secret = PASSWORD;
    if (!plan.foreign.length) this.learn(plan, a, entry);
    return undefined;
  }
  learn(plan, a, entry) {
    const from = (match) => ({ entry, match });
    const walk = (v, name) => {
      if (Array.isArray(v)) for (const x of v) walk(x, name);
      else if (v && typeof v === 'object') for (const [k, x] of Object.entries(v)) walk(x, k);
      else if (LEARNED[name] !== undefined) this.keep(plan.op.startsWith('getConsent') && name === 'id' ? 'consent_id' : name, v, from(`"${name}":"([^"]+)"`));
    };
    if (a.status < 300 || a.json?.mfa_token) walk(a.json, '');
    /* The state of a sign-in is this daemon's; the one of an application or of a provider is theirs. */
    for (const [, k, v] of (a.headers.location ?? '').matchAll(/[?&#](code|connect_code|(?<=\/u\/login\?)state)=([^&#]+)/g)) this.keep(k, decodeURIComponent(v), from(`[?&#]${k}=([^&#\\s]+)`));
    if (/html/.test(a.headers['content-type'] ?? '')) for (const [, k, v] of a.text.matchAll(/name="(state|code)" value="([\w-]{20,})"/g)) this.keep(k, v, from(`name="${k}" value="([^"]+)"`));
    for (const line of a.headers['set-cookie'] ?? []) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/) ?? [];
      if (!name) continue;
      if (/Max-Age=0(;|$)/.test(line)) this.jar.delete(name);
      else {
        this.jar.set(name, value);
        this.d.secrets.add('cookie', value);
        this.origins.set(value, from(`[Ss]et-[Cc]ookie: ${name}=([^;]*)`));
      }
    }
  }
  /* A message to an address of this user's: the spool is read once for all. */
  async message(to, ms = 1500) {
    const end = Date.now() + ms;
    for (;;) {
      const code = this.world.spool(to);
      if (code) return this.code(code, { mail: to });
      if (Date.now() >= end || this.world.crashed()) return undefined;
      await sleep(15);
    }
  }
  close() { this.wire?.destroy(); }
}

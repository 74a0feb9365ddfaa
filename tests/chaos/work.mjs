/* SPDX-License-Identifier: Apache-2.0
 * What a user does all day, and the book of what was acknowledged: afterwards it must all be there. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { sleep } from '../daemon/lib/daemon.mjs';
import { CA, ACCOUNTS, REDIRECT, STATE, accountPath, challenge, random as randomText } from '../daemon/lib/connect.mjs';
import { PASSWORD } from '../daemon/lib/login.mjs';
import { METHODS, methodPath } from '../daemon/lib/session.mjs';
import { totp } from '../daemon/lib/otp.mjs';
import { Browser } from '../daemon/lib/upstream.mjs';
import { Random } from './random.mjs';
import { me } from './world.mjs';

const TOTP_KEPT = 3;
const MAIL_KEPT = 2;
const MAIL_MS = 3000;
const NO_SERVER_MS = 30;
const fine = (chance) => `Zq7${crypto.createHash('sha256').update(String(chance.real())).digest('base64url').replace(/[-_]/g, 'x').slice(0, 14)}kW`;

export class User {
  constructor(world, n) {
    Object.assign(this, { w: world, n, id: me(n), chance: new Random(world.seed, 'user', n), serial: 0 });
    this.methods = new Map(); /* id → {type, name}: acknowledged */
    this.accounts = new Set();
    this.password = { sure: PASSWORD, maybe: [], changed: false };
    this.family = null; /* the refresh token that must work */
    this.forget();
  }
  /* What the last verification has settled. */
  forget() {
    this.gone = new Set(); /* acknowledged deletions */
    this.doubt = new Set(); /* ids whose last request had no answer */
    this.refused = []; /* [what, holds(method or undefined)]: answered with an error that says nothing was changed */
    this.unsure = { recovery: false, accounts: false };
  }

  acknowledge(kind) {
    this.w.acknowledged++;
    this.w.kinds[kind] = (this.w.kinds[kind] ?? 0) + 1;
  }
  /* A 4xx where everything was right is as wrong as a 500, unless the fault explains it. */
  unexpected(what, res) {
    if (res && res.status < 500 && !this.w.allowed.expired && !this.w.allowed[res.status]) this.w.complain(`${this.id} ${what} -> ${res.status} ${res.text.slice(0, 200)}`);
  }
  api(...args) { return this.w.api(this.id, ...args); }
  of(type) { return [...this.methods].filter(([id, m]) => m.type === type && !this.doubt.has(id)).map(([id]) => id); }

  async step() {
    const jobs = [this.enrolTotp, this.enrolTotp, this.enrolTotp, this.rename, this.rename, this.remove, this.recovery, this.mail];
    if (this.n % 2) jobs.push(this.changePassword);
    else jobs.push(this.refresh, this.refresh, this.refresh);
    if (this.n % 3 === 0) jobs.push(this.connect);
    await this.chance.of(jobs).call(this);
  }
  /* Works until told to stop; while there is no daemon it waits. */
  async work(until) {
    while (!until()) {
      const before = this.w.dropped;
      await this.step();
      if (this.w.dropped !== before) await sleep(NO_SERVER_MS);
    }
  }

  /* --- methods --- */
  async enrolTotp() {
    const have = this.of('totp');
    if (have.length >= TOTP_KEPT) return this.remove();
    if (have.length + this.doubt.size >= TOTP_KEPT + 1) return undefined;
    const e = await this.api('POST', METHODS, { type: 'totp' });
    if (e?.status !== 202) return this.unexpected('enrol totp', e);
    this.acknowledge('enrolments');
    this.w.d.secrets.add('manual_input_code', e.json.manual_input_code);
    return this.confirm(e.json, 'totp', { otp_code: totp(e.json.manual_input_code, this.w.d.now()) });
  }
  async confirm({ id, auth_session }, type, extra) {
    this.w.d.secrets.add('auth_session', auth_session);
    const v = await this.api('POST', `${methodPath(id)}/verify`, { auth_session, ...extra });
    if (v?.status === 201) {
      if (type === 'recovery-code') this.replaceRecovery();
      this.methods.set(v.json.id, { type, name: v.json.name });
      this.acknowledge('verifications');
      return true;
    }
    if (!v) this.doubt.add(id);
    else {
      this.refused.push([`verify ${id}`, id, (m) => !m?.confirmed]);
      this.unexpected(`verify ${type}`, v);
    }
    return v ? false : null;
  }
  replaceRecovery() {
    for (const [id, m] of this.methods)
      if (m.type === 'recovery-code') {
        this.methods.delete(id);
        this.gone.add(id);
      }
  }
  async recovery() {
    const e = await this.api('POST', METHODS, { type: 'recovery-code' });
    if (e?.status !== 202) return this.unexpected('enrol recovery-code', e);
    this.acknowledge('enrolments');
    if (await this.confirm(e.json, 'recovery-code', {}) === null) this.unsure.recovery = true;
    return undefined;
  }
  async mail() {
    if (this.of('email').length >= MAIL_KEPT) return this.remove('email');
    const email = `w${this.n}-${this.serial++}@mail.example`;
    const e = await this.api('POST', METHODS, { type: 'email', email });
    if (e?.status !== 202) return this.unexpected('enrol email', e);
    this.acknowledge('enrolments');
    const m = await this.w.mail(email, MAIL_MS);
    return m && this.confirm(e.json, 'email', { otp_code: m.code });
  }
  async rename() {
    const id = this.chance.of([...this.of('totp'), ...this.of('email')]);
    if (!id) return undefined;
    const m = this.methods.get(id);
    const name = `n${this.serial++}`;
    const r = await this.api('PATCH', methodPath(id), { name });
    if (r?.status === 200) {
      m.name = name;
      this.acknowledge('renames');
    } else if (!r) m.renamed = true;
    else {
      const kept = m.name;
      this.refused.push([`rename ${id}`, id, (x) => x?.name !== name || kept === name]);
      this.unexpected('rename', r);
    }
    return undefined;
  }
  async remove(type = 'totp') {
    const id = this.chance.of(this.of(type));
    if (!id) return undefined;
    const r = await this.api('DELETE', methodPath(id));
    if (r?.status === 204) {
      this.methods.delete(id);
      this.gone.add(id);
      this.acknowledge('deletions');
    } else if (!r) this.doubt.add(id);
    else this.unexpected('delete', r); /* still in the book: it must still be there */
    return undefined;
  }

  /* --- password and tokens --- */
  async changePassword() {
    const e = await this.api('POST', METHODS, { type: 'password' });
    if (e?.status !== 202) return this.unexpected('enrol password', e);
    this.acknowledge('enrolments');
    const next = fine(this.chance);
    this.w.d.secrets.add('new_password', next);
    const v = await this.api('POST', `${methodPath(e.json.id)}/verify`, { auth_session: e.json.auth_session, new_password: next });
    if (v?.status === 201) {
      this.password = { sure: next, maybe: [], changed: true };
      this.acknowledge('password changes');
    } else if (!v) this.password.maybe.push(next);
    else this.unexpected('change password', v);
    return undefined;
  }
  login(password) {
    return this.w.token({ grant_type: 'password', username: `${this.id.split('|')[1]}@example.com`, password, scope: 'openid offline_access read:me:factors' });
  }
  async refresh() {
    const r = this.family ? await this.w.token({ grant_type: 'refresh_token', refresh_token: this.family }) : await this.login(this.password.sure);
    if (r?.status === 200) {
      this.acknowledge(this.family ? 'refresh rotations' : 'logins');
      this.family = r.json.refresh_token;
      this.refusedRefresh = false;
    } else if (!r) this.family = null; /* used or not: nobody can tell, and using it twice would revoke it */
    else if (r.status >= 500) this.refusedRefresh = Boolean(this.family); /* nothing was changed: it must still be good */
    else {
      if (this.family && this.refusedRefresh) this.w.contradict(`${this.id} a refresh was refused, but its token used up`);
      else this.unexpected(this.family ? 'refresh' : 'login', r);
      this.family = null;
      this.refusedRefresh = false;
    }
  }

  /* --- connected accounts --- */
  async connect() {
    if (this.unsure.accounts) return undefined;
    const [have] = this.accounts;
    if (have) return this.disconnect(have);
    const code_verifier = randomText();
    this.w.d.secrets.add('code_verifier', code_verifier);
    const begun = await this.api('POST', `${CA}/connect`, { connection: 'acme', redirect_uri: REDIRECT, state: STATE, code_challenge: challenge(code_verifier), code_challenge_method: 'S256' });
    if (begun?.status !== 201) return this.unexpected('connect', begun);
    this.acknowledge('connections begun');
    const { connect_uri, connect_params: { ticket }, auth_session } = begun.json;
    const connect_code = await this.travel(`${connect_uri}?ticket=${encodeURIComponent(ticket)}`);
    if (!connect_code) return undefined;
    this.w.d.secrets.add('connect_code', connect_code);
    const done = await this.api('POST', `${CA}/complete`, { auth_session, connect_code, redirect_uri: REDIRECT, code_verifier });
    if (done?.status === 201) {
      this.accounts.add(done.json.id);
      this.acknowledge('accounts connected');
    } else if (!done) this.unsure.accounts = true;
    else this.unexpected('complete', done);
    return undefined;
  }
  /* The browser's way to the provider and back: the code, if it came. Errors on it are pages or redirects. */
  async travel(url) {
    const { w } = this;
    const browser = new Browser(w.d.base, w.acme.origin);
    const out = await w.ask(() => browser.fetch(url), 'ticket');
    if (!out?.location?.startsWith(`${w.acme.origin}/`)) return null;
    let callback;
    try {
      callback = await w.acme.login(out.location, { browser, user: this.id.split('|')[1] });
    } catch { /* the provider is a part of the fault */
      return null;
    }
    const back = await w.ask(() => browser.fetch(callback), 'callback');
    return back?.location?.startsWith(REDIRECT) ? new URL(back.location).searchParams.get('connect_code') : null;
  }
  async disconnect(id) {
    const r = await this.api('DELETE', accountPath(id));
    if (r?.status === 204) {
      this.accounts.delete(id);
      this.goneAccount = id;
      this.acknowledge('accounts removed');
    } else if (!r) this.unsure.accounts = true;
    else this.unexpected('delete account', r);
  }

  /* --- the book against the daemon --- */
  lose(what) {
    this.w.lost++;
    this.w.complain(`LOST ${this.id} ${what}`);
  }
  async audit() {
    const r = await this.api('GET', METHODS);
    if (r?.status !== 200) return this.w.complain(`${this.id} cannot be verified: ${r?.status} ${r?.text}`);
    const there = new Map(r.json.authentication_methods.map((m) => [m.id, m]));
    for (const [id, m] of this.methods) this.auditMethod(id, m, there.get(id));
    for (const id of this.gone) if (there.has(id) && !this.doubt.has(id)) this.lose(`deletion of ${id}`);
    const codes = [...there.values()].filter((m) => m.type === 'recovery-code' && m.confirmed);
    if (codes.length > 1) this.w.complain(`${this.id} has ${codes.length} recovery codes`);
    for (const [what, id, holds] of this.refused) if (!this.doubt.has(id) && !holds(there.get(id))) this.w.contradict(`${this.id} ${what} was refused, but done`);
    this.methods = new Map([...there].filter(([, m]) => ['totp', 'email', 'recovery-code'].includes(m.type) && m.confirmed && m.id.includes('|dev_'))
      .map(([id, m]) => [id, { type: m.type, name: m.name }]));
    await this.auditAccounts();
    await this.auditSecrets();
    return this.forget();
  }
  auditMethod(id, m, found) {
    if (this.doubt.has(id) || (m.type === 'recovery-code' && this.unsure.recovery)) return;
    if (!found?.confirmed) this.lose(`${m.type} ${id}`);
    else if (found.name !== m.name && !m.renamed) this.lose(`name ${m.name} of ${id}: ${found.name}`);
  }
  async auditAccounts() {
    if (this.n % 3) return;
    const r = await this.api('GET', ACCOUNTS);
    if (r?.status !== 200) return void this.w.complain(`${this.id} cannot be verified: ${r?.status} ${r?.text}`);
    const ids = r.json.accounts.map((a) => a.id);
    if (!this.unsure.accounts) {
      for (const id of this.accounts) if (!ids.includes(id)) this.lose(`account ${id}`);
      if (ids.includes(this.goneAccount)) this.lose(`deletion of account ${this.goneAccount}`);
      if (!this.accounts.size && ids.length) this.w.contradict(`${this.id} has an account whose connection was refused`);
    }
    this.accounts = new Set(ids);
  }
  async auditSecrets() {
    if (this.family) {
      const r = await this.w.token({ grant_type: 'refresh_token', refresh_token: this.family });
      if (r?.status !== 200 && this.refusedRefresh) this.w.contradict(`${this.id} a refresh was refused, but its token used up`);
      else if (r?.status !== 200) this.lose(`refresh token: ${r?.status} ${r?.text}`);
      this.family = r?.json?.refresh_token ?? null;
      this.refusedRefresh = false;
    }
    if (!this.password.changed && !this.password.maybe.length) return;
    for (const p of [...this.password.maybe, this.password.sure])
      if ((await this.login(p))?.status === 200) {
        this.password = { sure: p, maybe: [], changed: false };
        return;
      }
    this.lose('password');
  }
}

/* The message to an address that nobody else has; null when it does not come in time. */
export function mailbox(world) {
  const seen = new Map();
  return async (to, ms) => {
    for (const end = Date.now() + ms; ; await sleep(15)) {
      for (const f of fs.readdirSync(world.d.spoolDir).filter((n) => n.endsWith('.json'))) {
        const m = world.d.spool.read(f);
        fs.rmSync(path.join(world.d.spoolDir, f));
        seen.set(m.to, m);
        if (m.code) world.d.secrets.add('code', m.code);
      }
      const m = seen.get(to);
      if (m || Date.now() > end) {
        seen.delete(to);
        return m ?? null;
      }
    }
  };
}

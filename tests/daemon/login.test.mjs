/* SPDX-License-Identifier: Apache-2.0
 * /authorize, the hosted login pages, browser sessions and logout, as a browser without scripts sees them. */
import crypto from 'node:crypto';
import { assert, test, before, after, Daemon, ORIGIN, client, grant, user, wrongCode } from './lib/kit.mjs';
import { Browser, Page, CALLBACK, CHALLENGE, MULTI_FACTOR, PASSWORD, VERIFIER, authorizeUrl, unescape } from './lib/login.mjs';

const MINUTE = 60000;
const HOUR = 60 * MINUTE;
const OTHER = 'https://other.example';
const names = ['ann', 'ben', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal', 'ida', 'jim', 'kay', 'lea', 'max', 'nan'];
const people = names.map((n) => user(`auth0|${n}`, { email: `${n}@example.com`, password: PASSWORD }));
const id = (n) => `auth0|${n}`;
const mail = (n) => `${n}@example.com`;

let d;
let me;
before(async () => {
  d = await Daemon.start();
  me = `${d.base}/me/`;
  d.apply({
    tenant: { friendly_name: 'Example', allowed_logout_urls: ['https://tenant.example/bye'] },
    clients: [
      client('spa', { allowed_logout_urls: [`${ORIGIN}/out`, ORIGIN] }),
      client('web', { app_type: 'regular_web', client_secret: 'Zq7-web-secret-of-the-tests', callbacks: [`${OTHER}/cb`, `${OTHER}/cb2`],
        allowed_logout_urls: [`${OTHER}/out`] }),
      client('wild', { name: '<b>"Wild" & \'co\'</b>', callbacks: ['com.example.app://cb', `${ORIGIN}/wild?x=1`] }),
      client('third', { is_first_party: false }),
      client('mute', { grant_types: ['refresh_token'] }),
    ],
    client_grants: [grant(d.base, 'spa'), grant(d.base, 'web')],
    organizations: [{ id: 'org_acme', name: 'acme', display_name: 'Acme', members: [id('ann')] }],
    users: [...people, user('auth0|gone', { email: 'gone@example.com', password: PASSWORD, blocked: true }),
      user('auth0|vic', { email: 'vic@example.com', email_verified: true, password: PASSWORD })],
  });
  d.secrets.add('password', PASSWORD);
});
after(() => d.stop());

const browser = () => new Browser(d);
const audit = (type, who) => d.audit(id(who)).map((l) => JSON.parse(l)).filter((r) => r.type === type).length;
function isCode(out, to = CALLBACK, state = 'st4te') {
  assert.ok(out.away?.startsWith(to), out.away ?? `${out.status} ${out.title} ${out.alert}`);
  assert.match(out.params.code, /^[\w-]{43}$/);
  assert.equal(out.params.state, state);
  assert.equal(out.params.iss, `${d.base}/`);
  assert.equal(out.params.error, undefined);
}
function isError(out, error, description) {
  assert.ok(out.away, `${out.status} ${out.title}`);
  assert.equal(out.params.error, error, out.away);
  if (description) assert.equal(out.params.error_description, description);
  assert.equal(out.params.iss, `${d.base}/`);
  assert.equal(out.params.code, undefined);
}
function recoveryCode(p, title) {
  isPage(p, title);
  const [, code] = p.html.match(/id="recovery-code">([A-Z0-9]{24})</);
  d.secrets.add('recovery_code', code);
  return code;
}
function isPage(p, title, status = 200) {
  assert.ok(p instanceof Page, `left for ${p.away}`);
  assert.equal(p.title, title, p.text);
  assert.equal(p.status, status);
}
const policy = (h, name) => h['content-security-policy'].split('; ').find((x) => x.startsWith(name))?.slice(name.length + 1);

test('identifier and password', async (t) => {
  const b = browser();
  const first = await b.raw('GET', authorizeUrl());
  assert.equal(first.status, 302);
  assert.equal(first.headers['cache-control'], 'no-store');
  assert.match(first.headers.location, new RegExp(`^${d.base}/u/login\\?state=[\\w-]{43}$`));
  assert.match(b.setCookies[0], /^myaccount-login=[\w-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
  const p = await b.go('GET', first.headers.location);
  isPage(p, 'Sign in');
  await t.test('the page', () => {
    const { username, password } = p.form('password').fields;
    assert.equal(username.autocomplete, 'username');
    assert.equal(password.autocomplete, 'current-password');
    assert.equal(password.type, 'password');
    for (const f of p.forms) assert.equal(f.buttons.length, 1, 'one submit button in each form');
    for (const name of ['username', 'password']) assert.match(p.html, new RegExp(`<label for="${name}">`));
    assert.match(p.html, /<html lang="en">/);
    assert.match(p.html, /<meta name="viewport"/);
    assert.doesNotMatch(p.html, /https?:\/\//, 'an external resource');
    assert.doesNotMatch(p.html, /<script(?![^>]* src="\/u\/assets\/)|<style| style=| on\w+=/, 'inline code');
    const csp = p.headers['content-security-policy'];
    assert.equal(policy(p.headers, 'default-src'), "'none'");
    assert.equal(policy(p.headers, 'frame-ancestors'), "'none'");
    assert.equal(policy(p.headers, 'base-uri'), "'none'");
    assert.equal(policy(p.headers, 'form-action'), "'self'", 'and says nothing of where the client is');
    assert.doesNotMatch(csp, /unsafe/);
    assert.equal(p.headers['x-content-type-options'], 'nosniff');
    assert.equal(p.headers['cache-control'], 'no-store');
    assert.equal(p.headers['referrer-policy'], 'same-origin');
  });
  await t.test('the style sheet', async () => {
    const [name] = p.html.match(/\/u\/assets\/login\.[0-9a-f]{16}\.css/);
    const css = await b.raw('GET', name);
    assert.equal(css.status, 200);
    assert.equal(css.headers['content-type'], 'text/css; charset=utf-8');
    assert.match(css.headers['cache-control'], /immutable/);
    assert.match(css.text, /prefers-color-scheme: dark/);
    assert.ok(name.includes(crypto.createHash('sha256').update(css.text).digest('hex').slice(0, 16)));
    for (const bad of ['login.css', 'login.0000000000000000.css', '..%2flogin.css']) assert.ok((await b.raw('GET', `/u/assets/${bad}`)).status >= 400);
  });
  const sent = await b.raw('POST', '/u/login', { form: { state: p.form('password').fields.state.value, action: 'password', username: mail('ann'), password: PASSWORD } });
  assert.equal(sent.status, 303);
  assert.equal(sent.headers.location, first.headers.location);
  assert.match(sent.headers['set-cookie'][0], /^myaccount-session=[\w-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
  const out = await b.go('GET', sent.headers.location);
  isCode(out);
  assert.match(b.cookie('myaccount-login'), /^[\w-]{43}$/, 'other logins of the browser have it, too');
  assert.equal(audit('s', 'ann'), 1);
  await t.test('a login is finished once', async () => {
    isPage(await b.go('GET', first.headers.location), 'This sign-in is over', 400);
    isPage(await b.go('POST', '/u/login', { form: { state: p.form('password').fields.state.value, action: 'password', username: mail('ben'), password: PASSWORD } }), 'This sign-in is over', 400);
  });
});

test('what is wrong is said without saying which', async (t) => {
  const b = browser();
  let p = await b.authorize({ login_hint: mail('ben') });
  assert.equal(p.form('password').fields.username.value, mail('ben'));
  const texts = new Set();
  for (const [name, secret] of [[mail('ben'), 'Zq7-wrong'], ['nobody@example.com', PASSWORD], ['', ''], [id('ben'), 'Zq7-wrong'], ['+15550000000', 'x']]) {
    p = await b.login(p, name, secret);
    isPage(p, 'Sign in');
    assert.equal(p.form('password').fields.username.value, name, 'what was typed stays');
    assert.equal(p.form('password').fields.password.value, undefined, 'but the password');
    texts.add(p.alert);
  }
  assert.deepEqual([...texts], ['Wrong email or password.']);
  assert.match(p.html, /aria-invalid="true" aria-describedby="problem"/);
  await t.test('markup stays text', async () => {
    const evil = `"><script>alert(1)</script>'&amp;`;
    p = await b.login(p, evil, 'x');
    assert.equal(p.form('password').fields.username.value, evil);
    assert.doesNotMatch(p.html, /<script>/);
    const q = await browser().authorize({ login_hint: evil });
    assert.equal(q.form('password').fields.username.value, evil);
    const w = await browser().authorize({ redirect_uri: 'com.example.app://cb' }, 'wild');
    assert.doesNotMatch(w.html, /<b>/);
    assert.match(w.text, /<b>"Wild" & 'co'<\/b>/);
  });
  await t.test('and the right ones still work', async () => isCode(await b.login(p, 'BEN@Example.com')));
  await t.test('a blocked user hears of it only with the password', async () => {
    const g = browser();
    let q = await g.authorize();
    q = await g.login(q, mail('gone'), 'Zq7-wrong');
    assert.equal(q.alert, 'Wrong email or password.');
    q = await g.login(q, mail('gone'));
    assert.match(q.alert, /blocked/);
    assert.equal(g.cookie('session'), undefined);
  });
});

test('single sign-on', async (t) => {
  const b = browser();
  await b.signIn(mail('cid'));
  await t.test('across applications', async () => isCode(await b.authorize({ redirect_uri: `${OTHER}/cb2` }, 'web'), `${OTHER}/cb2`));
  await t.test('silently', async () => {
    isCode(await b.authorize({ prompt: 'none' }));
    assert.equal(audit('ssa', 'cid'), 1);
    isCode(await b.authorize({ prompt: 'none', login_hint: 'somebody@else.example' }));
  });
  await t.test('prompt=login and select_account ask again', async () => {
    for (const prompt of ['login', 'select_account', 'login consent']) isPage(await b.authorize({ prompt }), 'Sign in');
    const before = b.cookie('session');
    let out = await b.login(await b.authorize({ prompt: 'login' }), mail('cid'));
    isCode(out);
    assert.notEqual(b.cookie('session'), before, 'another cookie');
    const old = browser();
    old.jar.set('myaccount-session', before);
    isError(await old.authorize({ prompt: 'none' }), 'login_required');
    out = await b.login(await b.authorize({ prompt: 'login' }), mail('dee'));
    isCode(out);
    assert.equal(audit('s', 'dee'), 1);
  });
  await t.test('max_age', async () => {
    isCode(await b.authorize({ max_age: '600', prompt: 'none' }));
    d.advance(11 * MINUTE);
    isError(await b.authorize({ max_age: '600', prompt: 'none' }), 'login_required', 'Login required');
    isPage(await b.authorize({ max_age: '600' }), 'Sign in');
    isCode(await b.login(await b.authorize({ max_age: '600' }), mail('dee')));
    isCode(await b.authorize({ max_age: '600', prompt: 'none' }));
    for (const bad of ['-1', 'ten', '1.5', '99999999999']) isError(await b.authorize({ max_age: bad }), 'invalid_request');
  });
  await t.test('a session ends when nobody uses it, and in any case', async () => {
    d.apply({ tenant: { friendly_name: 'Example', session_lifetime: 5, idle_session_lifetime: 2 } });
    const c = browser();
    await c.signIn(mail('dee'));
    for (let i = 0; i < 3; i++) {
      d.advance(1.5 * HOUR);
      isCode(await c.authorize({ prompt: 'none' }));
    }
    d.advance(HOUR);
    isError(await c.authorize({ prompt: 'none' }), 'login_required');
    await c.signIn(mail('dee'));
    d.advance(2 * HOUR + 1000);
    isError(await c.authorize({ prompt: 'none' }), 'login_required');
  });
  await t.test('a planted cookie is not taken over', async () => {
    const victim = browser();
    const planted = crypto.randomBytes(32).toString('base64url');
    victim.jar.set('myaccount-session', planted);
    await victim.signIn(mail('cid'));
    assert.notEqual(victim.cookie('session'), planted);
    const thief = browser();
    thief.jar.set('myaccount-session', planted);
    isError(await thief.authorize({ prompt: 'none' }), 'login_required');
  });
  await t.test('a deleted session user is nobody', async () => {
    d.apply({ users: [user('auth0|tmp', { email: 'tmp@example.com', password: PASSWORD })] });
    const c = browser();
    await c.signIn('tmp@example.com');
    d.ok('user', 'delete', 'auth0|tmp');
    isError(await c.authorize({ prompt: 'none' }), 'login_required');
  });
});

test('response modes', async (t) => {
  const b = browser();
  await b.signIn(mail('eve'));
  await t.test('query keeps what the callback has', async () => {
    const out = await b.authorize({ redirect_uri: `${ORIGIN}/wild?x=1`, response_mode: 'query', state: 'a&b=c d/+%' }, 'wild');
    isCode(out, `${ORIGIN}/wild?x=1&code=`, 'a&b=c d/+%');
  });
  await t.test('fragment', async () => {
    const out = await b.authorize({ response_mode: 'fragment' });
    isCode(out, `${CALLBACK}#code=`);
    isError(await browser().authorize({ response_mode: 'fragment', prompt: 'none' }), 'login_required', 'Login required');
  });
  await t.test('form_post', async () => {
    const evil = '"><img src=x>';
    const res = await b.raw('GET', authorizeUrl({ response_mode: 'form_post', state: evil }));
    const p = new Page('', res);
    const [f] = p.forms;
    assert.equal(res.status, 200);
    assert.equal(f.action, CALLBACK);
    assert.equal(f.method, 'post');
    assert.equal(f.fields.state.value, evil);
    assert.match(f.fields.code.value, /^[\w-]{43}$/);
    assert.equal(f.fields.iss.value, `${d.base}/`);
    assert.deepEqual(f.buttons, ['Continue']);
    assert.doesNotMatch(res.text, /<img/);
    scriptAllowed(res);
    assert.equal(policy(res.headers, 'form-action'), undefined);
    const no = new Page('', await browser().raw('GET', authorizeUrl({ response_mode: 'form_post', prompt: 'none' }))).forms[0];
    assert.equal(no.fields.error.value, 'login_required');
  });
  await t.test('web_message', async () => {
    const evil = '</script><script>alert(1)</script>';
    const res = await b.raw('GET', authorizeUrl({ response_mode: 'web_message', prompt: 'none', state: evil }));
    const { target, message } = JSON.parse(res.text.match(/<script type="application\/json" id="m">([^<]*)<\/script>/)[1]);
    assert.equal(target, ORIGIN);
    assert.equal(message.type, 'authorization_response');
    assert.match(message.response.code, /^[\w-]{43}$/);
    assert.equal(message.response.state, evil);
    scriptAllowed(res);
    assert.equal(policy(res.headers, 'frame-ancestors'), ORIGIN);
    assert.equal(res.headers['x-frame-options'], undefined);
    const no = await browser().raw('GET', authorizeUrl({ response_mode: 'web_message', prompt: 'none' }));
    assert.deepEqual(JSON.parse(no.text.match(/id="m">([^<]*)</)[1]).message.response,
      { error: 'login_required', error_description: 'Login required', state: 'st4te', iss: `${d.base}/` });
    isPage(await b.authorize({ response_mode: 'web_message', redirect_uri: 'com.example.app://cb' }, 'wild'), 'This sign-in request is not valid', 400);
  });
  await t.test('a POST with the parameters in its body', async () => {
    const c = browser();
    const [, q] = authorizeUrl().split('?');
    const p = await c.go('POST', '/authorize', { form: q });
    isCode(await c.login(p, mail('eve')));
  });
  await t.test('an app with a scheme of its own', async () => {
    const c = browser();
    const p = await c.authorize({ redirect_uri: 'com.example.app://cb' }, 'wild');
    assert.match(policy(p.headers, 'form-action'), / com\.example\.app:( |$)/);
    isCode(await c.login(p, mail('eve')), 'com.example.app://cb?code=');
  });
});
/* The policy names the hash of the page's own script and no other source. */
function scriptAllowed(res) {
  const [, script] = res.text.match(/<script>([^<]*)<\/script>/);
  const hash = crypto.createHash('sha256').update(script).digest('base64');
  assert.equal(policy(res.headers, 'script-src'), `'sha256-${hash}'`);
  assert.equal(policy(res.headers, 'default-src'), "'none'");
  assert.equal(res.headers['cache-control'], 'no-store');
}

test('requests that are refused', async (t) => {
  const b = browser();
  const bad = 'This sign-in request is not valid';
  const pages = [
    [{ client_id: null }], [{ client_id: 'nobody' }], [{ client_id: ['spa', 'web'] }], [{ redirect_uri: 'https://evil.example/cb' }],
    [{ redirect_uri: `${CALLBACK}/` }], [{ redirect_uri: `${CALLBACK}?x` }], [{ redirect_uri: `${CALLBACK}/../evil` }], [{ redirect_uri: `${CALLBACK}.evil.example` }],
    [{ redirect_uri: [CALLBACK, CALLBACK] }], [{ redirect_uri: 'javascript:alert(1)' }], [{ redirect_uri: `${OTHER}/cb` }],
    [{ redirect_uri: null }, 'web'], [{ redirect_uri: `http://localhost:3000@evil.example/callback` }],
  ];
  for (const [over, who] of pages)
    await t.test(`no redirect: ${JSON.stringify(over)}`, async () => isPage(await b.authorize(over, who), bad, 400));
  const errors = [
    [{ response_type: null }, 'invalid_request'], [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ response_type: 'code id_token' }, 'unsupported_response_type'], [{ response_mode: 'smoke' }, 'invalid_request'],
    [{ code_challenge: null, code_challenge_method: null }, 'invalid_request'], [{ code_challenge: null }, 'invalid_request'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'], [{ code_challenge_method: null }, 'invalid_request'],
    [{ code_challenge: 'short' }, 'invalid_request'], [{ code_challenge: `${CHALLENGE.slice(0, 42)}!` }, 'invalid_request'],
    [{ dpop_jkt: 'x' }, 'invalid_request'], [{ prompt: 'none login' }, 'invalid_request'], [{ nonce: ['a', 'b'] }, 'invalid_request'],
    [{ scope: ['openid', 'email'] }, 'invalid_request'], [{ organization: 'org_none' }, 'invalid_request'],
    [{ request: 'eyJ' }, 'request_not_supported'], [{ request_uri: 'https://x.example/r' }, 'request_uri_not_supported'],
  ];
  for (const [over, error] of errors)
    await t.test(`${error}: ${JSON.stringify(over)}`, async () => {
      const out = await b.authorize(over);
      isError(out, error);
      assert.equal(out.params.state, 'st4te');
    });
  await t.test('a client without the grant', async () => isError(await b.authorize({}, 'mute'), 'unauthorized_client'));
  await t.test('a state that stands twice is not sent back', async () => {
    const out = await b.authorize({ state: ['a', 'b'] });
    isError(out, 'invalid_request');
    assert.equal(out.params.state, undefined);
  });
  await t.test('what is taken', async () => {
    for (const over of [{ redirect_uri: null }, { offline_access: '' }, { auth0Client: 'eyJ9' }, { 'ext-x': '1', foo: ['1', '2'] }, { response_mode: '' },
      { dpop_jkt: CHALLENGE }, { ui_locales: 'de', screen_hint: 'signup' }, { organization: 'acme' }, { nonce: null, state: null }])
      isPage(await b.authorize(over), 'Sign in');
    isPage(await b.authorize({ code_challenge: null, code_challenge_method: null, redirect_uri: `${OTHER}/cb` }, 'web'), 'Sign in');
  });
  await t.test('nothing else is a method', async () => {
    assert.equal((await b.raw('DELETE', '/u/login')).status, 405);
    assert.equal((await b.raw('POST', '/v2/logout', { form: {} })).status, 405);
  });
  await t.test('an API that the client may not have', async () => {
    await b.signIn(mail('ann'));
    isError(await b.authorize({ audience: 'https://unknown.example/' }), 'access_denied');
    isError(await b.authorize({ audience: me, prompt: 'none' }, 'third'), 'access_denied');
  });
});

test('a login belongs to one browser and its own forms', async (t) => {
  const b = browser();
  const p = await b.authorize();
  const form = { state: p.form('password').fields.state.value, action: 'password', username: mail('fay'), password: PASSWORD };
  const stranger = 'This is not where it began';
  const post = (who, headers, over = {}) => who.go('POST', '/u/login', { form: { ...form, ...over }, headers });
  await t.test('another origin', async () => {
    for (const origin of ['https://evil.example', 'null', ORIGIN, `${d.base}.evil.example`, d.base.replace('http:', 'https:')])
      isPage(await post(b, { origin }), 'This form came from elsewhere', 403);
  });
  await t.test('another browser', async () => {
    isPage(await browser().go('GET', p.url), stranger, 400);
    isPage(await post(browser()), stranger, 400);
    const c = browser();
    await c.authorize();
    isPage(await post(c), stranger, 400);
    isPage(await c.go('GET', p.url), stranger, 400);
  });
  await t.test('a wrong cookie', async () => {
    const c = browser();
    c.jar.set([...b.jar.keys()][0], crypto.randomBytes(32).toString('base64url'));
    isPage(await post(c), stranger, 400);
    isPage(await b.go('POST', '/u/login', { form, headers: { cookie: null } }), stranger, 400);
  });
  await t.test('a wrong state', async () => {
    for (const state of ['', 'x', crypto.randomBytes(32).toString('base64url'), `${form.state}a`, form.state.slice(1)])
      isPage(await post(b, {}, { state }), 'This sign-in is over', 400);
    isPage(await b.go('GET', '/u/login'), 'This sign-in is over', 400);
  });
  await t.test('a body that is no form', async () => {
    for (const [body, type, status] of [['{}', 'application/json', 415], [new URLSearchParams(form).toString(), 'text/plain', 415], ['a=%zz', undefined, 400],
      [`${new URLSearchParams(form)}&state=x`, undefined, 400], [`${new URLSearchParams({ ...form, password: 'x'.repeat(2000) })}`, undefined, 400], ['username=%ff', undefined, 400]])
      assert.equal((await b.raw('POST', '/u/login', { form: body, headers: type ? { 'content-type': type } : {} })).status, status, body.slice(0, 60));
  });
  await t.test('forms of other steps change nothing', async () => {
    for (const action of ['code', 'choose', 'enrol', 'confirm', 'skip', 'continue', 'allow', 'deny', 'passkey', 'key', 'restart', 'nonsense', ''])
      isPage(await post(b, {}, { action }), 'Sign in');
    assert.equal(b.cookie('session'), undefined);
  });
  await t.test('and goes on after all that', async () => isCode(await post(b, { origin: d.base })));
  await t.test('two at once do not disturb each other', async () => {
    const c = browser();
    const one = await c.authorize({ state: 'one' });
    const two = await c.authorize({ state: 'two' });
    isCode(await c.login(one, mail('fay')), CALLBACK, 'one');
    isCode(await c.login(two, mail('fay')), CALLBACK, 'two');
  });
  await t.test('what is sent twice at once is done once', async () => {
    const c = browser();
    const q = await c.authorize();
    const twice = (f) => Promise.all([f(), f()]);
    const body = { ...form, state: q.form('password').fields.state.value };
    for (const res of await twice(() => c.raw('POST', '/u/login', { form: body }))) assert.equal(res.status, 303);
    const ends = await twice(() => c.raw('GET', q.url));
    assert.deepEqual(ends.map((r) => r.status).sort(), [200, 400]);
  });
  await t.test('it lapses', async () => {
    const c = browser();
    const q = await c.authorize();
    d.advance(31 * MINUTE);
    isPage(await c.login(q, mail('fay')), 'This sign-in is over', 400);
  });
});

test('second factors', async (t) => {
  const s = d.as(id('gus'));
  const app = await s.addTotp();
  await s.addEmail('gus.second@example.com');
  const recovery = await s.addRecovery();
  const asked = { acr_values: MULTI_FACTOR };
  const title = 'Confirm that it is you';
  const codeOf = () => s.code(app.secret, 1);
  /* Every accepted code takes a step of its own. */
  const fresh = () => { d.advance(90000); return codeOf(); };
  const mailed = async () => {
    const m = await d.spool.take({ channel: 'email', to: 'gus.second@example.com' });
    d.secrets.add('code', m.code);
    return m.code;
  };

  await t.test('the authenticator app', async () => {
    const b = browser();
    let p = await b.login(await b.authorize(asked), mail('gus'));
    isPage(p, title);
    assert.equal(b.cookie('session'), undefined, 'no session before the second factor');
    const { code } = p.form('code').fields;
    assert.equal(code.autocomplete, 'one-time-code');
    assert.equal(code.inputmode, 'numeric');
    for (const f of p.forms) assert.equal(f.buttons.length, 1);
    const right = fresh();
    p = await b.submit(p, 'code', { code: wrongCode(right) });
    isPage(p, title);
    assert.match(p.alert, /not right/);
    isCode(await b.submit(p, 'code', { code: `${right.slice(0, 3)} ${right.slice(3)}` }));
    isCode(await b.authorize({ ...asked, prompt: 'none' }));
  });
  await t.test('a session without one is asked for it', async () => {
    const b = browser();
    await b.signIn(mail('gus'));
    isError(await b.authorize({ ...asked, prompt: 'none' }), 'login_required', 'Multifactor authentication required');
    const cookie = b.cookie('session');
    const p = await b.authorize(asked);
    isPage(p, title);
    isCode(await b.submit(p, 'code', { code: fresh() }));
    assert.equal(b.cookie('session'), cookie, 'the session is the same');
    isCode(await b.authorize({ ...asked, prompt: 'none' }));
  });
  await t.test('a code by email, and a new one', async () => {
    const b = browser();
    let p = await b.login(await b.authorize(asked), mail('gus'));
    p = await b.submit(p, p.form('choose', (f) => /email/i.test(f.buttons[0])));
    assert.match(p.text, /We sent a code to/);
    const first = await mailed();
    p = await b.submit(p, p.form('choose', (f) => f.buttons[0] === 'Send a new code'));
    const second = await mailed();
    p = await b.submit(p, 'code', { code: wrongCode(first, second) });
    assert.match(p.alert, /not right/);
    isCode(await b.submit(p, 'code', { code: second }));
  });
  await t.test('a code is worth nothing in another login', async () => {
    const [b, c] = [browser(), browser()];
    const start = async (x) => {
      const p = await x.login(await x.authorize(asked), mail('gus'));
      return p.has('choose') && !/We sent/.test(p.text) ? x.submit(p, p.form('choose', (f) => /email/i.test(f.buttons[0]))) : p;
    };
    await start(b);
    const code = await mailed();
    const q = await start(c);
    await mailed();
    assert.match((await c.submit(q, 'code', { code })).alert, /not right/);
  });
  await t.test('the recovery code is used once and replaced', async () => {
    const b = browser();
    let p = await b.login(await b.authorize(asked), mail('gus'));
    p = await b.submit(p, p.form('choose', (f) => /recovery/i.test(f.buttons[0])));
    p = await b.submit(p, 'code', { code: 'ABCDEFGHIJKLMNOPQRSTUVWX' });
    assert.match(p.alert, /not right/);
    p = await b.submit(p, 'code', { code: recovery.recovery_code });
    const next = recoveryCode(p, 'Your new recovery code');
    assert.notEqual(next, recovery.recovery_code);
    assert.equal(b.cookie('session'), undefined);
    isCode(await b.submit(p, 'continue'));
    const c = browser();
    let q = await c.login(await c.authorize(asked), mail('gus'));
    q = await c.submit(q, q.form('choose', (f) => /recovery/i.test(f.buttons[0])));
    q = await c.submit(q, 'code', { code: recovery.recovery_code });
    assert.match(q.alert, /not right/);
    isPage(await c.submit(q, 'code', { code: ` ${next.toLowerCase().match(/.{4}/g).join(' ')}` }), 'Your new recovery code');
  });
  await t.test('somebody else can start over', async () => {
    const b = browser();
    let p = await b.login(await b.authorize(), mail('gus'));
    p = await b.login(await b.authorize({ ...asked, prompt: 'login' }), mail('gus'));
    p = await b.submit(p, 'restart');
    isPage(p, 'Sign in');
    isPage(await b.login(p, mail('vic')), title);
  });
  await t.test('the verified email address is a factor, and its code is on the way at once', async () => {
    const b = browser();
    const p = await b.login(await b.authorize(asked), mail('vic'));
    isPage(p, title);
    const m = await d.spool.take({ channel: 'email', to: mail('vic') });
    const again = await d.spool.take({ channel: 'email', to: mail('vic') });
    d.secrets.add('code', m.code);
    d.secrets.add('code', again.code);
    isCode(await b.submit(p, 'code', { code: again.code }));
  });
  await t.test('a link alone sends no message', async () => {
    const b = browser();
    await b.signIn(mail('vic'));
    const before = d.spool.names().length;
    let p = await b.authorize(asked);
    isPage(p, title);
    assert.equal(p.has('code'), false);
    p = await b.go('GET', p.url);
    isPage(p, title);
    assert.equal(d.spool.names().length, before);
    p = await b.submit(p, p.form('choose', (f) => f.buttons[0] === 'Send a code'));
    const m = await d.spool.take({ channel: 'email', to: mail('vic') });
    d.secrets.add('code', m.code);
    isCode(await b.submit(p, 'code', { code: m.code }));
  });
});

test('guessing ends', async (t) => {
  const e = await Daemon.start({ config: { rate_limit: { enabled: true, login_failures_per_minute: 3 } } });
  try {
    e.apply({ users: [user('auth0|ann', { email: mail('ann'), password: PASSWORD }), user('auth0|ben', { email: mail('ben'), password: PASSWORD })] });
    const b = new Browser(e);
    let p = await b.authorize();
    for (const name of ['ann', 'nobody'])
      await t.test(`for ${name}`, async () => {
        for (let i = 0; i < 3; i++) {
          p = await b.login(p, mail(name), 'Zq7-wrong');
          assert.equal(p.alert, 'Wrong email or password.');
        }
        p = await b.login(p, mail(name), name === 'ann' ? PASSWORD : 'Zq7-wrong');
        assert.match(p.alert, /^Too many attempts\. Try again in (1?\d|20) seconds?\.$/);
      });
    await t.test('but not for others, and not for ever', async () => {
      e.advance(61000);
      p = await b.login(p, mail('ann'));
      assert.match(p.params?.code ?? p.alert, /^[\w-]{43}$/);
    });
  } finally {
    await e.stop();
  }
});

test('at an https origin', async () => {
  const e = await Daemon.start({ config: { base_url: 'https://login.test.example' } });
  try {
    e.apply({ users: [user('auth0|ann', { email: mail('ann'), password: PASSWORD })] });
    const b = new Browser(e);
    const p = await b.authorize();
    const out = await b.login(p, mail('ann'));
    assert.equal(out.params.iss, 'https://login.test.example/');
    assert.match(b.setCookies[0], /^__Host-myaccount-login=[\w-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/);
    assert.match(b.setCookies[1], /^__Host-myaccount-session=[\w-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/);
    const old = new Browser(e);
    old.jar.set('myaccount-session', b.cookie('session'));
    isErrorAt('https://login.test.example/', await old.authorize({ prompt: 'none' }));
  } finally {
    await e.stop();
  }
});
function isErrorAt(iss, out) {
  assert.equal(out.params.error, 'login_required');
  assert.equal(out.params.iss, iss);
}

test('the Default Policy', async (t) => {
  const app = await d.as(id('hal')).addTotp();
  d.apply({ api: { default_policy: { require_2fa: true } } });
  const api = { audience: me, scope: 'openid read:me:factors' };
  const code = () => { d.advance(90000); return d.as(id('hal')).code(app.secret, 1); };
  const b = browser();
  await t.test('asks for a second factor where the API is wanted, and again after the window', async () => {
    let p = await b.login(await b.authorize(api), mail('hal'));
    isPage(p, 'Confirm that it is you');
    isCode(await b.submit(p, 'code', { code: code() }));
    isCode(await b.authorize({ ...api, prompt: 'none' }));
    d.advance(16 * MINUTE);
    isError(await b.authorize({ ...api, prompt: 'none' }), 'login_required', 'Multifactor authentication required');
    isCode(await b.authorize({ prompt: 'none' }));
    p = await b.authorize(api);
    isCode(await b.submit(p, 'code', { code: code() }));
  });
  await t.test('offers a first factor, which may be declined', async () => {
    const c = browser();
    let p = await c.login(await c.authorize(api), mail('ida'));
    isPage(p, 'Protect your account');
    isCode(await c.submit(p, 'skip'));
    isCode(await c.authorize({ ...api, prompt: 'none' }));
    d.advance(16 * MINUTE);
    isError(await c.authorize({ ...api, prompt: 'none' }), 'unmet_authentication_requirements');
    p = await c.authorize(api);
    isPage(p, 'Sign in');
    p = await c.login(p, mail('ida'));
    isPage(p, 'Protect your account');
    p = await c.submit(p, p.form('enrol', (f) => f.fields.method.value === 'totp'));
    isPage(p, 'Set up your authenticator app');
    const uri = new URL(unescape(p.html.match(/href="(otpauth:[^"]+)"/)[1]));
    const secret = uri.searchParams.get('secret');
    d.secrets.add('manual_input_code', secret);
    assert.equal(p.html.match(/id="key">([A-Z2-7 ]+)</)[1].replaceAll(' ', ''), secret);
    const s = d.as(id('ida'));
    const right = s.code(secret);
    p = await c.submit(p, 'confirm', { code: wrongCode(right) });
    assert.match(p.alert, /not right/);
    assert.equal(p.form('confirm').fields.code['aria-invalid'], 'true');
    assert.equal(p.form('confirm').fields.code['aria-describedby'], 'problem');
    p = await c.submit(p, 'confirm', { code: right });
    const shown = recoveryCode(p, 'Your recovery code');
    assert.match(p.text, /stays on this page until you confirm/);
    assert.equal(recoveryCode(await c.go('GET', p.url), 'Your recovery code'), shown, 'on a reload too');
    isCode(await c.submit(p, 'continue'));
    isPage(await c.go('GET', p.url), 'This sign-in is over', 400);
    isCode(await c.authorize({ ...api, acr_values: MULTI_FACTOR, prompt: 'none' }));
    d.apply({ api: { default_policy: { require_2fa: false } } });
    assert.deepEqual((await s.list('totp')).map((m) => m.confirmed), [true]);
    assert.deepEqual((await s.list('recovery-code')).map((m) => m.confirmed), [true]);
  });
  await t.test('a tenant policy demands one', async () => {
    d.apply({ tenant: { friendly_name: 'Example', mfa_policy: 'always' } });
    const c = browser();
    let p = await c.login(await c.authorize(), mail('jim'));
    isPage(p, 'Protect your account');
    assert.equal(p.has('skip'), false);
    p = await c.submit(p, p.form('enrol', (f) => f.fields.method.value === 'phone'), { address: 'nonsense' });
    assert.match(p.alert, /phone number/);
    const { address } = p.form('enrol', (f) => f.fields.method.value === 'phone').fields;
    assert.deepEqual([address.value, address['aria-invalid'], address['aria-describedby']], ['nonsense', 'true', 'problem']);
    p = await c.submit(p, p.form('enrol', (f) => f.fields.method.value === 'email'));
    isPage(p, 'Enter the code');
    const first = await d.spool.take({ channel: 'email', to: mail('jim') });
    d.secrets.add('code', first.code);
    p = await c.submit(p, 'resend');
    isPage(p, 'Enter the code');
    const second = await d.spool.take({ channel: 'email', to: mail('jim') });
    d.secrets.add('code', second.code);
    let limited = p;
    for (let i = 0; i < 50 && !limited.alert; i++) limited = await c.submit(p, 'resend');
    assert.match(limited.alert, /^Too many attempts\. Try again in [2-9]\d* minutes\.$/);
    if (first.code !== second.code) {
      p = await c.submit(p, 'confirm', { code: first.code });
      assert.match(p.alert, /not right/);
    }
    p = await c.submit(p, 'skip');
    isPage(p, 'Protect your account');
    p = await c.submit(p, p.form('enrol', (f) => f.fields.method.value === 'phone'), { address: '+1 555 123 4567' });
    const sms = await d.spool.take({ channel: 'sms', to: '+15551234567' });
    d.secrets.add('code', sms.code);
    assert.deepEqual([audit('s', 'jim'), audit('mfar', 'jim')], [0, 1], 'a password alone is no sign-in');
    p = await c.submit(p, 'confirm', { code: sms.code });
    recoveryCode(p, 'Your recovery code');
    isCode(await c.submit(p, 'continue'));
    assert.deepEqual([audit('s', 'jim'), audit('mfar', 'jim')], [1, 1]);
    d.apply({ tenant: { friendly_name: 'Example', mfa_policy: 'never' } });
  });
});

test('what nobody can meet is said before the application hears of it', async (t) => {
  d.apply({ clients: [client('strict', { name: 'Vault & Co' })], client_grants: [grant(d.base, 'strict')],
    policies: [{ client_id: 'strict', scope: ['read:me:factors'], require: ['push-notification'], max_age: 600 }] });
  const api = { audience: me, scope: 'openid read:me:factors' };
  const said = 'The authentication requirements for this API cannot be met. Log in again.';
  const b = browser();
  let p = await b.login(await b.authorize(api, 'strict'), mail('lea'));
  isPage(p, 'You cannot go on');
  assert.match(p.text, /Vault & Co needs an approval on your phone to sign you in\. .* Ask the administrator/);
  assert.equal(b.cookie('session'), undefined);
  await t.test('the application hears of it when the user goes back', async () => {
    isError(await b.submit(p, 'leave'), 'unmet_authentication_requirements', said);
    assert.deepEqual(['s', 'f', 'mfar'].map((type) => audit(type, 'lea')), [0, 1, 0]);
  });
  await t.test('somebody else may sign in', async () => {
    const c = browser();
    p = await c.login(await c.authorize(api, 'strict'), mail('lea'));
    isPage(await c.submit(p, 'restart'), 'Sign in');
  });
  await t.test('a silent request is answered at once', async () => {
    await b.signIn(mail('lea'));
    isError(await b.authorize({ ...api, prompt: 'none' }, 'strict'), 'unmet_authentication_requirements', said);
  });
});

test('pages that end something', async (t) => {
  const look = (p) => {
    assert.match(p.html, /<meta name="color-scheme" content="light dark">/);
    assert.match(p.html, /<link rel="stylesheet" href="\/u\/assets\/login\.[0-9a-f]{16}\.css">/);
    assert.equal(policy(p.headers, 'style-src'), "'self'");
    assert.equal(policy(p.headers, 'form-action'), "'none'");
    assert.equal(policy(p.headers, 'default-src'), "'none'");
    assert.equal(p.headers['referrer-policy'], 'no-referrer');
  };
  await t.test('lead to the application', async () => {
    const b = browser();
    const p = await b.authorize();
    const stranger = await browser().go('GET', p.url);
    isPage(stranger, 'This is not where it began', 400);
    d.advance(HOUR);
    const over = await b.go('GET', p.url);
    isPage(over, 'This sign-in is over', 400);
    for (const page of [stranger, over]) {
      look(page);
      assert.match(page.html, new RegExp(`<a class="button" href="${ORIGIN}/">Go to spa</a>`));
    }
    const nobody = await b.go('GET', `/u/login?state=${'x'.repeat(43)}`);
    isPage(nobody, 'This sign-in is over', 400);
    assert.doesNotMatch(nobody.html, /<a /);
  });
  await t.test('without the token service too', async () => {
    const e = await Daemon.start({ config: { token_service: false } });
    try {
      const b = new Browser(e);
      const p = await b.go('GET', '/connected-accounts/connect?ticket=x');
      isPage(p, 'Ticket expired', 400);
      look(p);
      const css = await b.raw('GET', p.html.match(/href="(\/u\/assets\/[^"]+)"/)[1]);
      assert.deepEqual([css.status, css.headers['content-type']], [200, 'text/css; charset=utf-8']);
    } finally {
      await e.stop();
    }
  });
});

test('consent', async (t) => {
  const b = browser();
  const p = await b.login(await b.authorize({}, 'third'), mail('kay'));
  isPage(p, 'Give access?');
  assert.match(p.text, /third wants to use your account/);
  assert.match(p.text, /Know who you are/);
  isError(await b.authorize({ prompt: 'none' }, 'third'), 'consent_required', 'Consent required');
  await t.test('denied', async () => {
    isError(await b.submit(p, 'deny'), 'access_denied');
    isError(await b.authorize({ prompt: 'none' }, 'third'), 'consent_required');
  });
  await t.test('given, and remembered', async () => {
    isCode(await b.submit(await b.authorize({}, 'third'), 'allow'));
    isCode(await b.authorize({ prompt: 'none' }, 'third'));
    isCode(await b.authorize({}, 'third'));
  });
  await t.test('prompt=consent asks anyway', async () => {
    const q = await b.authorize({ prompt: 'consent' }, 'third');
    isPage(q, 'Give access?');
    isCode(await b.submit(q, 'allow'));
    isPage(await b.authorize({ prompt: 'consent' }), 'Give access?');
  });
});

test('organizations', async () => {
  const b = browser();
  isError(await b.login(await b.authorize({ organization: 'org_acme' }), mail('lea')), 'access_denied', 'user is not part of the organization');
  await b.signIn(mail('lea'));
  isError(await b.authorize({ organization: 'org_acme', prompt: 'none' }), 'login_required');
  const p = await b.authorize({ organization: 'ACME' });
  isPage(p, 'Sign in');
  isCode(await b.login(p, mail('ann')));
  isCode(await b.authorize({ organization: 'org_acme', prompt: 'none' }));
});

test('/v2/logout', async (t) => {
  const b = browser();
  const away = async (q) => (await b.raw('GET', `/v2/logout${q}`)).headers.location;
  await b.signIn(mail('max'));
  const refused = [`?client_id=spa&returnTo=https://evil.example/`, `?client_id=spa&returnTo=${OTHER}/out`, `?returnTo=${ORIGIN}/out`, `?client_id=spa&returnTo=//evil.example`,
    `?client_id=spa&returnTo=${ORIGIN}.evil.example`, `?client_id=spa&returnTo=${ORIGIN}@evil.example`, '?client_id=spa&returnTo=javascript:alert(1)',
    `?client_id=spa&returnTo=${ORIGIN}/out%0d%0aX:1`, '?client_id=nobody', `?client_id=spa&returnTo=${ORIGIN}/out/..`];
  for (const q of refused)
    await t.test(`refused: ${q}`, async () => {
      const res = await b.raw('GET', `/v2/logout${q}`);
      assert.equal(res.status, 400);
      assert.equal(res.headers.location, undefined);
    });
  isCode(await b.authorize({ prompt: 'none' }), CALLBACK);
  const cookie = b.cookie('session');
  assert.equal(await away(`?client_id=spa&returnTo=${ORIGIN}/out&federated`), `${ORIGIN}/out`);
  assert.equal(b.cookie('session'), undefined);
  assert.equal(audit('slo', 'max'), 1);
  b.jar.set('myaccount-session', cookie);
  isError(await b.authorize({ prompt: 'none' }), 'login_required');
  assert.equal(await away('?client_id=spa'), `${ORIGIN}/out`, 'the first one');
  assert.equal(await away(`?client_id=spa&returnTo=${encodeURIComponent(`${ORIGIN}/out?a=b#c`)}`), `${ORIGIN}/out?a=b#c`);
  assert.equal(await away('?returnTo=https://tenant.example/bye'), 'https://tenant.example/bye');
  assert.equal(await away(''), 'https://tenant.example/bye');
  isPage(await b.go('GET', '/v2/logout?client_id=third'), 'You are signed out');
});

test('/oidc/logout', async (t) => {
  const b = browser();
  const go = (params, method = 'GET', more = {}) => (method === 'GET' ? b.go('GET', `/oidc/logout?${new URLSearchParams(params)}`)
    : b.go('POST', '/oidc/logout', { form: params, ...more }));
  const out = { client_id: 'spa', post_logout_redirect_uri: `${ORIGIN}/out`, state: 'a b' };
  await t.test('nobody is signed in', async () => assert.equal((await go(out)).away, `${ORIGIN}/out?state=a%20b`));
  await b.signIn(mail('nan'));
  await t.test('asks without a hint', async () => {
    const p = await go({ ...out, id_token_hint: 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhdXRoMHxuYW4ifQ.' });
    isPage(p, 'Sign out?');
    isCode(await b.authorize({ prompt: 'none' }));
    const [f] = p.forms;
    assert.equal(f.buttons.length, 1);
    const fields = Object.fromEntries(Object.entries(f.fields).map(([k, a]) => [k, a.value]));
    /* A form of another site is asked the same. */
    isPage(await go(out, 'POST'), 'Sign out?');
    isPage(await go({ ...fields, confirm: '0'.repeat(64) }, 'POST'), 'Sign out?');
    assert.equal((await go(fields, 'POST')).away, `${ORIGIN}/out?state=a%20b`);
    isError(await b.authorize({ prompt: 'none' }), 'login_required');
  });
  await t.test('an id_token is enough', async () => {
    const { params } = await b.signIn(mail('nan'), { scope: 'openid' });
    const token = await d.http({ method: 'POST', path: '/oauth/token', headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'authorization_code', client_id: 'spa', code: params.code, redirect_uri: CALLBACK, code_verifier: VERIFIER }).toString() });
    assert.equal(token.status, 200, token.text);
    const { id_token: hint } = token.json;
    d.secrets.add('token', hint);
    assert.equal((await go({ ...out, client_id: 'web', id_token_hint: hint })).status, 400, 'of another client');
    isPage(await go({ ...out, id_token_hint: `${hint.slice(0, -4)}AAAA` }), 'Sign out?');
    const other = browser();
    await other.signIn(mail('max'));
    isPage(await other.go('GET', `/oidc/logout?${new URLSearchParams({ id_token_hint: hint })}`), 'Sign out?');
    d.advance(11 * HOUR);
    const again = browser();
    await again.signIn(mail('nan'));
    const q = new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: ORIGIN });
    assert.equal((await again.go('GET', `/oidc/logout?${q}`)).away, ORIGIN);
    isError(await again.authorize({ prompt: 'none' }), 'login_required');
  });
  await t.test('never leads elsewhere', async () => {
    b.jar.clear();
    for (const post_logout_redirect_uri of ['https://evil.example/', `${OTHER}/out`, '//evil.example', `${ORIGIN}/outer`, 'javascript:1'])
      assert.equal((await go({ ...out, post_logout_redirect_uri })).status, 400);
    assert.equal((await go({ post_logout_redirect_uri: `${ORIGIN}/out` })).status, 400, 'without a client it is the tenant that allows');
    assert.equal((await go({ client_id: 'nobody' })).status, 400);
    isPage(await go({}), 'You are signed out');
  });
});

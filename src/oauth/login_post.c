/* SPDX-License-Identifier: Apache-2.0
 * POST /u/login: every form of the hosted page. A form changes the login's row and nothing else; the answer is always
 * 303 to the page, which finds out what comes next.
 */
#include "login_int.h"

#include <strings.h>

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/notify.h"

enum { RESPONSE_MAX = 12288 };
#define FORM_TYPE "application/x-www-form-urlencoded"

/* --- reading --- */

struct field {
    const char *name;
    size_t off, max;
};
#define AT(m, n)                                                                                                       \
    {                                                                                                                  \
#m, offsetof(struct ma_login_form, m), n                                                                       \
    }
static const struct field fields[] = {
    AT(state, MA_LOGIN_FIELD_MAX),    AT(action, MA_LOGIN_FIELD_MAX),  AT(username, MA_LOGIN_FIELD_MAX),
    AT(password, MA_LOGIN_FIELD_MAX), AT(code, MA_LOGIN_FIELD_MAX),    AT(method, MA_LOGIN_FIELD_MAX),
    AT(response, RESPONSE_MAX),       AT(address, MA_LOGIN_FIELD_MAX),
};
#undef AT

/* A field that stands twice, is too long or no text: the form is none of ours. */
static bool take(struct ma_login_form *f, struct ma_span name, struct ma_span value)
{
    for (size_t i = 0; i < MA_COUNT(fields); i++) {
        if (!ma_span_eq_str(name, fields[i].name))
            continue;
        struct ma_span *s = (struct ma_span *)(void *)((char *)f + fields[i].off);
        if (s->p || value.n > fields[i].max || !ma_utf8_valid(value))
            return false;
        *s = value;
    }
    return true;
}

static bool is_form(const struct ma_ctx *ctx)
{
    struct ma_span type = ma_trim(ctx->req.content_type);
    size_t n = sizeof FORM_TYPE - 1;
    return type.n >= n && strncasecmp((const char *)type.p, FORM_TYPE, n) == 0 &&
           (type.n == n || type.p[n] == ';' || type.p[n] == ' ');
}

int ma_login_form_read(struct ma_ctx *ctx, struct ma_login_form *ret)
{
    struct ma_span rest = ma_buf_view(&ctx->req.body), name, value;
    if (!is_form(ctx))
        return ma_page(ctx, 415, "This form cannot be read", "It must be sent as " FORM_TYPE ".");
    for (;;) {
        int r = ma_form_next(ctx->arena, &rest, &name, &value);
        if (r == MA_E_NOTFOUND)
            return MA_OK;
        if (r < 0 && r != MA_E_PARSE)
            return r;
        if (r < 0 || !take(ret, name, value))
            return ma_page(ctx, 400, "This form cannot be read", "Go back and send it again.");
    }
}

/* A browser says where a POST comes from; only our own pages hold these forms. The cookie is SameSite=Lax besides, and
 * the flow token is not known elsewhere. */
static int require_own_origin(struct ma_ctx *ctx)
{
    if (!ctx->req.origin.p || ma_span_eq_str(ctx->req.origin, ma_ctx_origin(ctx)))
        return MA_OK;
    return ma_page(ctx, 403, "This form came from elsewhere", "Go back to the application and sign in again.");
}

/* --- keeping --- */

/* After the change: what comes next is prepared, the row kept, the browser sent to the page. */
static int settle(struct ma_ctx *ctx, struct ma_login *l)
{
    int r = ma_login_advance(ctx, l, true);
    if (r == MA_OK)
        r = ma_login_save(ctx, l);
    if (r == MA_OK)
        r = ma_see_other(ctx, ma_login_url(ctx, l));
    if (r == MA_OK && l->new_cookie)
        ma_browser_session_cookie(ctx, l->new_cookie);
    return r;
}

/* The row as the writer sees it now, and the step it is at. An answer when it is over. */
static int reload(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret_step)
{
    enum ma_login_found found = MA_LOGIN_OVER;
    int r = ma_login_load(ctx, l->form->state, l, &found);
    if (r < 0)
        return r;
    if (found != MA_LOGIN_FINE)
        return ma_login_refuse(ctx, l, found);
    r = ma_login_examine(ctx, l, ret_step);
    l->st.note = MA_NOTE_NONE;
    l->st.retry_s = 0;
    return r;
}

static int note_of_first(enum ma_signin_verdict v, int wrong)
{
    switch (v) {
    case MA_SIGNIN_BLOCKED:
        return MA_NOTE_BLOCKED;
    case MA_SIGNIN_BREACHED:
        return MA_NOTE_BREACHED;
    case MA_SIGNIN_TOO_MANY:
        return MA_NOTE_TOO_MANY;
    default:
        return wrong;
    }
}

/* The first factor was shown: from here on the row is this user's. */
static void signed_in(struct ma_ctx *ctx, struct ma_login *l, struct ma_span user_id, uint32_t amr)
{
    struct ma_span identifier = l->st.identifier;
    ma_login_restart(l);
    l->st.identifier = identifier;
    l->st.user_id = user_id;
    l->st.fresh = l->first_shown = true;
    l->st.authn = (struct ma_authn){.auth_at = ctx->now_ms, .amr = amr};
}

/* --- identifier and password --- */

/* Only who gave the right password has a link sent, and it goes to where the account's owner hears of changes. */
static int refuse_password(struct ma_ctx *ctx, struct ma_login *l, const struct ma_signin *s)
{
    bool sent = false;
    int r = s->verdict == MA_SIGNIN_BREACHED ? ma_reset_offer(ctx, s->user.user_id, &sent) : MA_OK;
    l->st.note = sent ? MA_NOTE_BREACHED_SENT : note_of_first(s->verdict, MA_NOTE_WRONG_LOGIN);
    l->st.retry_s = s->retry_after_s;
    return r;
}

static int password_done(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    struct ma_signin *s = l->proof;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = reload(ctx, l, &step);
    if (r == MA_OK)
        r = ma_signin_password_done(ctx, s);
    if (r < 0)
        return r;
    l->st.identifier = l->form->username;
    if (step != MA_STEP_IDENTIFY) /* somebody is signed in here already: the page shows what is next */
        return settle(ctx, l);
    if (s->verdict == MA_SIGNIN_OK)
        signed_in(ctx, l, s->user.user_id, MA_AMR_PWD);
    else
        r = refuse_password(ctx, l, s);
    return r == MA_OK ? settle(ctx, l) : r;
}

/* The connection parameter narrows the search where it names a database connection. */
static struct ma_span connection_of(struct ma_ctx *ctx, const struct ma_login *l)
{
    const struct ma_state_connection *c =
        l->req.connection.p ? ma_state_connection(ctx->state, l->req.connection) : NULL;
    return c && c->database ? c->name : MA_LIT("");
}

static int password(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    struct ma_signin *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    l->proof = s;
    int r = ma_signin_password(ctx, ma_trim(l->form->username), connection_of(ctx, l), l->form->password, s);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, password_done) : r;
}

/* --- a passkey instead --- */

struct passkey {
    struct ma_passkey_proof proof;
    struct ma_span challenge; /* that the answer was made for */
};

static int judge_passkey(struct ma_ctx *ctx, struct ma_login *l, const struct passkey *p)
{
    bool good = p->proof.verdict == MA_SIGNIN_OK && ma_span_eq(p->challenge, l->st.challenge);
    int r = good ? ma_passkey_verified(ctx, &p->proof) : MA_E_CONFLICT;
    if (r == MA_OK) {
        signed_in(ctx, l, p->proof.user.user_id, p->proof.amr);
        return MA_OK;
    }
    if (r != MA_E_CONFLICT) /* another request with the same counter was first */
        return r;
    l->st.note = note_of_first(p->proof.verdict, MA_NOTE_WRONG_PASSKEY);
    return ma_audit_signin(ctx, "passkey_challenge_failed", p->proof.user.user_id, ctx->who.client_id, MA_SPAN_NULL);
}

static int passkey_done(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    const struct passkey *p = l->proof;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = reload(ctx, l, &step);
    if (r < 0)
        return r;
    if (step == MA_STEP_IDENTIFY)
        r = judge_passkey(ctx, l, p);
    if (r == MA_OK) /* a challenge is answered once */
        r = ma_login_new_challenge(ctx, l);
    return r == MA_OK ? settle(ctx, l) : r;
}

static int passkey(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    struct passkey *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    struct ma_assertion_response in;
    struct ma_span rp_id;
    uint8_t challenge[MA_CHALLENGE_LEN + 3];
    size_t n = 0;
    if (!p)
        return MA_E_NOMEM;
    l->proof = p;
    p->challenge = l->st.challenge;
    p->proof.verdict = MA_SIGNIN_WRONG;
    int r = ma_assertion_parse(ctx, l->form->response, &in);
    if (r == MA_E_PARSE || ma_b64url_decode(p->challenge, challenge, sizeof challenge, &n) < 0)
        return ma_next(ctx, MA_LANE_WRITE, passkey_done);
    if (r == MA_OK)
        r = ma_rp_id(ctx, &rp_id);
    if (r == MA_OK)
        r = ma_passkey_verify(ctx, ma_span_of(challenge, n), rp_id, &in, &p->proof);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, passkey_done) : r;
}

/* --- a security key --- */

static int key_done(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = reload(ctx, l, &step);
    if (r == MA_OK && step == MA_STEP_CHALLENGE)
        r = ma_login_key(ctx, l, l->proof);
    return r == MA_OK ? settle(ctx, l) : r;
}

static int key(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    struct ma_passkey_proof *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    struct ma_assertion_response in;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    if (!p)
        return MA_E_NOMEM;
    l->proof = p;
    p->verdict = MA_SIGNIN_WRONG;
    int r = ma_login_examine(ctx, l, &step);
    if (r == MA_OK && step == MA_STEP_CHALLENGE && l->st.oob.p) {
        r = ma_assertion_parse(ctx, l->form->response, &in);
        if (r == MA_OK)
            r = ma_prove_webauthn_check(ctx, l->flow.token_mac, &l->user, l->st.oob, &in, p);
        else if (r == MA_E_PARSE)
            r = MA_OK;
    }
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, key_done) : r;
}

/* --- a new passkey or security key --- */

static int new_key_done(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = reload(ctx, l, &step);
    if (r == MA_OK && step == MA_STEP_CONFIRM && l->st.enrol_key.p)
        r = ma_login_key_store(ctx, l, l->proof);
    return r == MA_OK ? settle(ctx, l) : r;
}

static int new_key(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    struct ma_login_new_key *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    enum ma_login_step step = MA_STEP_IDENTIFY;
    if (!p)
        return MA_E_NOMEM;
    l->proof = p;
    int r = ma_login_examine(ctx, l, &step);
    if (r == MA_OK && step == MA_STEP_CONFIRM && l->st.enrol_key.p)
        r = ma_login_key_check(ctx, l, p);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, new_key_done) : r;
}

/* --- everything else: one change of the row, where the step allows it --- */

static int act_choose(struct ma_ctx *ctx, struct ma_login *l)
{
    return ma_login_choose(ctx, l, l->form->method.p ? l->form->method : l->st.method, true);
}

static int act_skip(struct ma_ctx *ctx, struct ma_login *l)
{
    (void)ctx;
    l->st.declined = l->assured;
    ma_login_enrol_forget(&l->st);
    return MA_OK;
}

static int act_continue(struct ma_ctx *ctx, struct ma_login *l)
{
    (void)ctx;
    l->st.recovery = MA_SPAN_NULL;
    return MA_OK;
}

static int act_allow(struct ma_ctx *ctx, struct ma_login *l)
{
    l->st.consented = true;
    return ma_login_consent(ctx, l);
}

static int act_deny(struct ma_ctx *ctx, struct ma_login *l)
{
    (void)ctx;
    l->st.denied = true;
    return MA_OK;
}

static int act_leave(struct ma_ctx *ctx, struct ma_login *l)
{
    (void)ctx;
    l->st.left = true;
    return MA_OK;
}

/* Too late: the next look at the row says so. */
static int act_keep(struct ma_ctx *ctx, struct ma_login *l)
{
    bool stays = false;
    (void)l;
    int r = ma_return(ctx, "sign_in", &stays);
    return r == MA_E_CONFLICT ? MA_OK : r;
}

static int act_restart(struct ma_ctx *ctx, struct ma_login *l)
{
    (void)ctx;
    ma_login_restart(l);
    return MA_OK;
}

#define IN(step) (1u << MA_STEP_##step)
#define ANY_STEP UINT32_MAX
static const struct action {
    const char *name;
    uint32_t steps; /* elsewhere the form is stale and changes nothing */
    int (*act)(struct ma_ctx *, struct ma_login *);
} actions[] = {
    {"code", IN(CHALLENGE), ma_login_code},
    {"choose", IN(CHALLENGE), act_choose},
    {"enrol", IN(ENROL) | IN(OFFER), ma_login_enrol},
    {"confirm", IN(CONFIRM), ma_login_confirm},
    {"resend", IN(CONFIRM), ma_login_resend},
    {"skip", IN(OFFER) | IN(CONFIRM), act_skip},
    {"continue", IN(RECOVERY), act_continue},
    {"allow", IN(CONSENT), act_allow},
    {"deny", IN(CONSENT), act_deny},
    {"leave", IN(UNMET) | IN(LEAVING), act_leave},
    {"keep", IN(LEAVING), act_keep},
    {"restart", ANY_STEP, act_restart},
};
#undef IN

static int change(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = reload(ctx, l, &step);
    if (r < 0)
        return r;
    for (size_t i = 0; r == MA_OK && i < MA_COUNT(actions); i++)
        if (ma_span_eq_str(l->form->action, actions[i].name) && (actions[i].steps & 1u << step))
            r = actions[i].act(ctx, l);
    return r == MA_OK ? settle(ctx, l) : r;
}

int ma_op_login_post(struct ma_ctx *ctx)
{
    struct ma_login *l = ma_arena_zalloc(ctx->arena, sizeof *l);
    struct ma_login_form *form = ma_arena_zalloc(ctx->arena, sizeof *form);
    enum ma_login_found found = MA_LOGIN_OVER;
    if (!l || !form)
        return MA_E_NOMEM;
    int r = require_own_origin(ctx);
    if (r == MA_OK)
        r = ma_login_form_read(ctx, form);
    if (r == MA_OK)
        r = ma_login_load(ctx, form->state, l, &found);
    if (r < 0)
        return r;
    if (found != MA_LOGIN_FINE)
        return ma_login_refuse(ctx, l, found);
    r = ma_gate_form(ctx, l->flow.token_mac);
    if (r != MA_OK)
        return r;
    l->form = form;
    ctx->scratch = l;
    if (ma_span_eq_str(form->action, "password"))
        return ma_next(ctx, MA_LANE_CPU, password);
    if (ma_span_eq_str(form->action, "passkey"))
        return ma_next(ctx, MA_LANE_CPU, passkey);
    if (ma_span_eq_str(form->action, "key"))
        return ma_next(ctx, MA_LANE_CPU, key);
    if (ma_span_eq_str(form->action, "new-key"))
        return ma_next(ctx, MA_LANE_CPU, new_key);
    return ma_next(ctx, MA_LANE_WRITE, change);
}

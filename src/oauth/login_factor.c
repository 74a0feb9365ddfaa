/* SPDX-License-Identifier: Apache-2.0
 * The second factor of a hosted login: starting a challenge, and judging what the user answers.
 */
#include "login_int.h"

#include "ma/codec.h"
#include "ma/push.h"

enum { KEY_MAX = 6144, ASSERTION_TEXT_MAX = 8192 };

/* --- starting --- */

static void put_b64url(struct ma_ctx *ctx, struct ma_jw *w, const char *key, struct ma_span bytes)
{
    char *text = ma_arena_alloc(ctx->arena, MA_B64URL_LEN(bytes.n) + 1);
    if (text)
        ma_b64url_encode(bytes, text);
    else
        w->b->err = MA_E_NOMEM;
    ma_jw_kcstr(w, key, text);
}

/* What the page's script needs for navigator.credentials.get(). */
static int write_key(struct ma_ctx *ctx, const struct ma_challenge_started *c, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 512, KEY_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put_b64url(ctx, &w, "challenge", ma_span_of(c->challenge, sizeof c->challenge));
    ma_jw_kstr(&w, "rp_id", c->rp_id);
    ma_jw_key(&w, "credentials");
    ma_jw_arr(&w);
    for (size_t i = 0; i < c->n_credentials; i++) {
        ma_jw_obj(&w);
        put_b64url(ctx, &w, "id", c->credentials[i].credential_id);
        if (c->credentials[i].transports.n > 0) {
            ma_jw_key(&w, "transports");
            ma_jw_raw(&w, c->credentials[i].transports);
        }
        ma_jw_obj_end(&w);
    }
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static bool needs_start(enum ma_factor type, bool may_send)
{
    bool message = type == MA_FACTOR_EMAIL || type == MA_FACTOR_PHONE || type == MA_FACTOR_PUSH;
    return type != MA_FACTOR_TOTP && type != MA_FACTOR_RECOVERY && (may_send || !message);
}

int ma_login_choose(struct ma_ctx *ctx, struct ma_login *l, struct ma_span method, bool may_send)
{
    const struct ma_factor_choice *c = ma_login_choice(l, method);
    struct ma_challenge_started started = {.verdict = MA_SIGNIN_NO_FACTOR};
    if (!c)
        return MA_OK;
    l->st.method = c->id;
    l->st.oob = l->st.key = l->st.number = MA_SPAN_NULL;
    if (!needs_start(c->type, may_send))
        return MA_OK;
    int r = ma_challenge_start(ctx, l->flow.token_mac, &l->user, c->id, &started);
    if (r < 0)
        return r;
    if (started.verdict != MA_SIGNIN_OK) {
        l->st.note = started.verdict == MA_SIGNIN_TOO_MANY ? MA_NOTE_TOO_MANY : MA_NOTE_NO_FACTOR;
        l->st.retry_s = started.retry_after_s;
        return MA_OK;
    }
    l->st.oob = ma_span_str(started.oob_code);
    if (c->type == MA_FACTOR_PUSH) {
        l->st.number = ma_span_str(started.number);
        return MA_OK;
    }
    if (c->type == MA_FACTOR_EMAIL || c->type == MA_FACTOR_PHONE) {
        if (l->st.note == MA_NOTE_NONE)
            l->st.note = MA_NOTE_SENT;
        return MA_OK;
    }
    return write_key(ctx, &started, &l->st.key);
}

/* --- answering --- */

static int note_of(enum ma_signin_verdict v, int wrong)
{
    switch (v) {
    case MA_SIGNIN_OK:
        return MA_NOTE_NONE;
    case MA_SIGNIN_TOO_MANY:
        return MA_NOTE_TOO_MANY;
    case MA_SIGNIN_EXPIRED:
        return MA_NOTE_EXPIRED_CODE;
    case MA_SIGNIN_NO_FACTOR:
        return MA_NOTE_NO_FACTOR;
    case MA_SIGNIN_BLOCKED:
        return MA_NOTE_BLOCKED;
    case MA_SIGNIN_REJECTED:
        return MA_NOTE_REJECTED;
    case MA_SIGNIN_WRONG:
    case MA_SIGNIN_PENDING:
    default:
        return wrong;
    }
}

/* The first factor has to be shown again: a password in hand is not enough to go on guessing. */
static void count_miss(struct ma_login *l)
{
    if (++l->flow.attempts < MA_FLOW_TRIES)
        return;
    ma_login_restart(l);
    l->flow.attempts = 0;
    l->st.note = MA_NOTE_START_AGAIN;
}

static void take_proof(struct ma_ctx *ctx, struct ma_login *l, const struct ma_factor_proof *p, int wrong)
{
    l->st.note = note_of(p->verdict, wrong);
    l->st.retry_s = p->retry_after_s;
    if (p->verdict == MA_SIGNIN_WRONG || p->verdict == MA_SIGNIN_REJECTED)
        count_miss(l);
    if (p->verdict != MA_SIGNIN_OK)
        return;
    /* Bits of an earlier second factor must not go on under the new time (a rule may ask for one of them). */
    l->st.authn.amr = ma_amr_first(l->st.authn.amr) | p->amr;
    l->st.authn.mfa_at = ctx->now_ms;
    l->st.recovery = ma_span_str(p->new_recovery_code);
    l->st.method = l->st.oob = l->st.key = l->st.number = MA_SPAN_NULL;
}

/* As people type codes: in groups, and recovery codes in small letters. arena. */
static struct ma_span typed(struct ma_ctx *ctx, struct ma_span in, bool upper)
{
    char *out = ma_arena_strdup(ctx->arena, in);
    size_t n = 0;
    for (size_t i = 0; out && i < in.n; i++) {
        char c = out[i];
        if (c == ' ' || c == '-')
            continue;
        if (upper && c >= 'a' && c <= 'z')
            c = (char)(c - ('a' - 'A'));
        out[n++] = c;
    }
    return ma_span_of(out, n);
}

int ma_login_code(struct ma_ctx *ctx, struct ma_login *l)
{
    const struct ma_factor_choice *c = ma_login_choice(l, l->st.method);
    struct ma_factor_proof p = {.verdict = MA_SIGNIN_NO_FACTOR};
    int r = MA_OK;
    if (!c || c->type == MA_FACTOR_PUSH)
        return MA_OK;
    struct ma_span code = typed(ctx, l->form->code, c->type == MA_FACTOR_RECOVERY);
    if (c->type == MA_FACTOR_TOTP)
        r = ma_prove_totp(ctx, &l->user, c->id, code, &p);
    else if (c->type == MA_FACTOR_RECOVERY)
        r = ma_prove_recovery(ctx, &l->user, code, &p);
    else if (l->st.oob.p)
        r = ma_prove_oob(ctx, l->flow.token_mac, &l->user, l->st.oob, code, &p);
    else
        p.verdict = MA_SIGNIN_EXPIRED;
    if (r == MA_OK)
        take_proof(ctx, l, &p, MA_NOTE_WRONG_CODE);
    return r;
}

/* --- a device --- */

int ma_login_waits(struct ma_ctx *ctx, const struct ma_login *l, enum ma_login_step step, bool *ret)
{
    const struct ma_factor_choice *c = ma_login_choice(l, l->st.method);
    *ret = false;
    if (step == MA_STEP_CHALLENGE && c && c->type == MA_FACTOR_PUSH && l->st.oob.p)
        return ma_push_waits(ctx, l->flow.token_mac, &l->user, l->st.oob, ret);
    if (step == MA_STEP_CONFIRM && l->st.enrol == MA_FACTOR_PUSH)
        return ma_push_expected(ctx, l->st.enrol_id, ret);
    return MA_OK;
}

int ma_login_device(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_factor_proof p;
    int r = ma_prove_push(ctx, l->flow.token_mac, &l->user, l->st.oob, &p);
    if (r < 0 && r != MA_E_INVAL)
        return r;
    if (r == MA_E_INVAL)
        p.verdict = MA_SIGNIN_EXPIRED;
    if (p.verdict == MA_SIGNIN_PENDING)
        return MA_OK;
    l->st.oob = l->st.number = MA_SPAN_NULL;
    take_proof(ctx, l, &p, MA_NOTE_REJECTED);
    if (p.verdict == MA_SIGNIN_EXPIRED)
        l->st.note = MA_NOTE_NOT_ANSWERED;
    return MA_OK;
}

int ma_login_key(struct ma_ctx *ctx, struct ma_login *l, const struct ma_passkey_proof *proof)
{
    struct ma_factor_proof p = {.verdict = MA_SIGNIN_WRONG};
    int r = l->st.oob.p ? ma_prove_webauthn(ctx, l->flow.token_mac, &l->user, l->st.oob, proof, &p) : MA_OK;
    if (r < 0)
        return r;
    take_proof(ctx, l, &p, MA_NOTE_WRONG_KEY);
    if (p.verdict == MA_SIGNIN_OK)
        return MA_OK;
    struct ma_span method = l->st.method; /* a challenge is answered once: make another */
    return method.p ? ma_login_choose(ctx, l, method, false) : MA_OK;
}

/* --- the browser's credential --- */

struct inner {
    struct ma_span client_data, authenticator_data, signature, user_handle;
};
struct outer {
    struct ma_span raw_id;
    struct inner response;
};

static int decode(struct ma_ctx *ctx, struct ma_span text, struct ma_span *ret)
{
    size_t n = 0, cap = text.n / 4 * 3 + 3;
    uint8_t *p = ma_arena_alloc(ctx->arena, cap);
    if (!p)
        return MA_E_NOMEM;
    int r = ma_b64url_decode_padded(text, p, cap, &n);
    *ret = ma_span_of(p, n);
    return r;
}

#define AT(owner, wire, member, f)                                                                                     \
    {                                                                                                                  \
        .name = wire, .type = MA_F_STR, .flags = (f), .off = offsetof(owner, member), .min = 1,                        \
        .max = ASSERTION_TEXT_MAX                                                                                      \
    }
static const struct ma_jfield inner_fields[] = {
    AT(struct inner, "clientDataJSON", client_data, MA_REQ),
    AT(struct inner, "authenticatorData", authenticator_data, MA_REQ),
    AT(struct inner, "signature", signature, MA_REQ),
    AT(struct inner, "userHandle", user_handle, MA_NULLOK),
};
static const struct ma_shape inner_shape = MA_SHAPE_OPEN(struct inner, inner_fields);
static const struct ma_jfield outer_fields[] = {
    AT(struct outer, "rawId", raw_id, MA_REQ),
    {.name = "response",
     .type = MA_F_OBJ,
     .flags = MA_REQ,
     .off = offsetof(struct outer, response),
     .sub = &inner_shape},
};
#undef AT
static const struct ma_shape outer_shape = MA_SHAPE_OPEN(struct outer, outer_fields);

int ma_assertion_parse(struct ma_ctx *ctx, struct ma_span text, struct ma_assertion_response *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct outer o = {.raw_id = MA_SPAN_NULL};
    *ret = (struct ma_assertion_response){.id = MA_SPAN_NULL};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &outer_shape, &o, &errs);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_E_PARSE;
    r = decode(ctx, o.raw_id, &ret->id);
    if (r == MA_OK)
        r = decode(ctx, o.response.client_data, &ret->client_data_json);
    if (r == MA_OK)
        r = decode(ctx, o.response.authenticator_data, &ret->authenticator_data);
    if (r == MA_OK)
        r = decode(ctx, o.response.signature, &ret->signature);
    if (r == MA_OK && o.response.user_handle.p)
        r = decode(ctx, o.response.user_handle, &ret->user_handle);
    return r;
}

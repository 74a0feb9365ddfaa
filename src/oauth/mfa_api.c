/* SPDX-License-Identifier: Apache-2.0
 * The MFA API of embedded sign-ins: which factors there are, sending a code, enrolling the first one. Its
 * calls are made with an mfa_token.
 */
#include "int.h"

#include <strings.h>

#include "ma/http.h"
#include "ma/push.h"

/* --- names --- */

/* "sms|dev_…" for the method "phone|dev_…": this API tells phones apart by how they are reached. */
static const char *prefix_of(const struct ma_factor_choice *c)
{
    switch (c->type) {
    case MA_FACTOR_PHONE:
        return c->voice ? "voice" : "sms";
    case MA_FACTOR_PUSH:
        return "push";
    default:
        return ma_factor_name(c->type);
    }
}

static const char *kind_of(enum ma_factor f)
{
    return f == MA_FACTOR_TOTP ? "otp" : f == MA_FACTOR_RECOVERY ? "recovery-code" : "oob";
}

static const char *public_id(struct ma_ctx *ctx, const struct ma_factor_choice *c)
{
    const uint8_t *bar = memchr(c->id.p, '|', c->id.n);
    size_t n = bar ? (size_t)(c->id.p + c->id.n - bar) : 0;
    return ma_arena_printf(ctx->arena, "%s%.*s", prefix_of(c), (int)n, (const char *)bar);
}

static const char *channel_of(const struct ma_factor_choice *c)
{
    return c->type == MA_FACTOR_PUSH ? "auth0" : prefix_of(c);
}

static bool is_sent(enum ma_factor f)
{
    return f == MA_FACTOR_PHONE || f == MA_FACTOR_EMAIL || f == MA_FACTOR_PUSH;
}

/* Security keys and passkeys are beyond this API: its callers have no assertion to give. */
static bool is_listed(enum ma_factor f)
{
    return f == MA_FACTOR_TOTP || f == MA_FACTOR_RECOVERY || is_sent(f);
}

/* --- whose call it is --- */

struct caller {
    struct ma_flow flow;
    struct ma_user user;
    struct ma_pending pending;
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    size_t n;
};

static int refuse_token(struct ma_ctx *ctx, const char *error, const char *why)
{
    (void)ma_oauth_fail(ctx, 401, error, why);
    ma_header(ctx, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return MA_E_PROBLEM;
}

/* The flow behind an mfa_token, its user and that user's factors. */
static int load(struct ma_ctx *ctx, struct ma_span token, struct caller *c)
{
    int r = ma_flow_find(ctx, "mfa", token, &c->flow);
    if (r == MA_E_EXPIRED && c->flow.consumed_at == 0)
        return refuse_token(ctx, "expired_token", "mfa_token is expired");
    if (r == MA_E_NOTFOUND || r == MA_E_EXPIRED)
        return refuse_token(ctx, "invalid_token", "Malformed mfa_token");
    ctx->who.client_id = c->flow.client_id;
    if (r == MA_OK)
        r = ma_pending_read(ctx, c->flow.data, &c->pending);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, c->flow.user_id, &c->user);
    if (r == MA_E_NOTFOUND)
        return refuse_token(ctx, "invalid_token", "Malformed mfa_token");
    if (r == MA_OK && c->user.blocked)
        return ma_oauth_fail(ctx, 403, "unauthorized", "user is blocked");
    return r == MA_OK ? ma_signin_factors(ctx, &c->user, c->v, &c->n) : r;
}

static struct ma_span bearer(const struct ma_ctx *ctx)
{
    struct ma_span h = ctx->req.authorization;
    if (h.n < 8 || strncasecmp((const char *)h.p, "Bearer ", 7) != 0)
        return MA_LIT("");
    return ma_span_of(h.p + 7, h.n - 7);
}

/* The same where the mfa_token is all that is shown: the flow's client lends the origin. */
static int load_bearer(struct ma_ctx *ctx, struct caller *c)
{
    int r = load(ctx, bearer(ctx), c);
    if (r != MA_OK)
        return r;
    const struct ma_state_client *client = ma_state_client(ctx->state, c->flow.client_id);
    return client ? ma_cors_check_client(ctx, client) : refuse_token(ctx, "invalid_token", "Malformed mfa_token");
}

/* --- GET /mfa/authenticators --- */

static void put_authenticator(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_factor_choice *f)
{
    ma_jw_obj(w);
    ma_jw_kcstr(w, "id", public_id(ctx, f));
    ma_jw_kcstr(w, "authenticator_type", kind_of(f->type));
    ma_jw_kcstr(w, "type", ma_mfa_type(f->type));
    ma_jw_kbool(w, "active", true);
    if (f->type != MA_FACTOR_TOTP && f->type != MA_FACTOR_RECOVERY) {
        ma_jw_kcstr(w, "oob_channel", channel_of(f));
        ma_jw_key(w, "oob_channels");
        ma_jw_arr(w);
        ma_jw_cstr(w, channel_of(f));
        ma_jw_arr_end(w);
    }
    if (f->name.p)
        ma_jw_kstr(w, "name", f->name);
    ma_jw_obj_end(w);
}

int ma_op_mfa_authenticators(struct ma_ctx *ctx)
{
    struct caller *c = ma_arena_zalloc(ctx->arena, sizeof *c);
    struct ma_jw w;
    int r = c ? ma_gate_address(ctx) : MA_E_NOMEM;
    if (r == MA_OK)
        r = load_bearer(ctx, c);
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_arr(&w);
    for (size_t i = 0; i < c->n; i++)
        if (is_listed(c->v[i].type))
            put_authenticator(ctx, &w, &c->v[i]);
    ma_jw_arr_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

/* --- POST /mfa/challenge --- */

static bool allows(struct ma_span types, const char *kind)
{
    return !types.p || ma_scope_has(types, kind);
}

static bool named(struct ma_ctx *ctx, const struct ma_factor_choice *f, struct ma_span id)
{
    const char *text = public_id(ctx, f);
    return ma_span_eq(f->id, id) || (text && ma_span_eq_str(id, text));
}

/* The factor to challenge: the one that was named, else the first that satisfies and is of an allowed kind. */
static const struct ma_factor_choice *choose(struct ma_ctx *ctx, const struct ma_oauth *o, const struct caller *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct ma_factor_choice *f = &c->v[i];
        bool usable = f->type == MA_FACTOR_TOTP || is_sent(f->type);
        if (!usable || !(c->pending.factors & 1u << f->type) || !allows(o->in.challenge_type, kind_of(f->type)))
            continue;
        if (!o->in.authenticator_id.p || named(ctx, f, o->in.authenticator_id))
            return f;
    }
    return NULL;
}

static int refuse_choice(struct ma_ctx *ctx, const struct ma_oauth *o, const struct caller *c)
{
    bool known = !o->in.authenticator_id.p;
    if (ma_factors_bits(c->v, c->n) == 0)
        return ma_oauth_fail(ctx, 403, "association_required",
                             "User is not enrolled. You can use /mfa/associate endpoint to enroll the first factor.");
    for (size_t i = 0; i < c->n && !known; i++)
        known = is_listed(c->v[i].type) && named(ctx, &c->v[i], o->in.authenticator_id);
    if (!known)
        return ma_oauth_fail(ctx, 404, "authenticator_not_found", "The user has no such authenticator.");
    return ma_oauth_fail(ctx, 400, "unsupported_challenge_type", "No factor of the user can be challenged like this.");
}

/* Sends the code. What the message limits say is kept. */
static int send_code(struct ma_ctx *ctx, const struct caller *c, const struct ma_factor_choice *f,
                     struct ma_challenge_started *s)
{
    int r = ma_challenge_start(ctx, c->flow.token_mac, &c->user, f->id, s);
    if (r < 0 || s->verdict == MA_SIGNIN_OK)
        return r;
    ctx->keep = true;
    return ma_oauth_fail_verdict(ctx, s->verdict, s->retry_after_s, "The factor cannot be used.");
}

static int challenge(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct caller *c = o->more;
    struct ma_challenge_started s;
    struct ma_jw w;
    int r = load(ctx, o->in.mfa_token, c);
    if (r != MA_OK)
        return r;
    if (!ma_span_eq(c->flow.client_id, o->client->client_id))
        return refuse_token(ctx, "invalid_token", "Malformed mfa_token");
    const struct ma_factor_choice *f = choose(ctx, o, c);
    if (!f)
        return refuse_choice(ctx, o, c);
    r = is_sent(f->type) ? send_code(ctx, c, f, &s) : MA_OK;
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "challenge_type", kind_of(f->type));
    if (is_sent(f->type)) {
        ma_jw_kcstr(&w, "oob_code", s.oob_code);
        if (f->type != MA_FACTOR_PUSH)
            ma_jw_kcstr(&w, "binding_method", "prompt");
        else if (s.number) /* for the user to type on the device */
            ma_jw_kcstr(&w, "binding_message", s.number);
    }
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

int ma_op_mfa_challenge(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    int r = ma_oauth_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    if (!o->in.mfa_token.p)
        return ma_oauth_missing(ctx, "mfa_token");
    o->more = ma_arena_zalloc(ctx->arena, sizeof(struct caller));
    return o->more ? ma_next(ctx, MA_LANE_WRITE, challenge) : MA_E_NOMEM;
}

/* --- POST /mfa/associate --- */

struct words {
    struct ma_span_list v;
};

/* An array of strings; forms may bring one bare word. */
static struct ma_span_list words_of(struct ma_ctx *ctx, struct ma_span in)
{
    static const struct ma_jfield fields[] = {
        {.name = "v", .type = MA_F_STR_OR_LIST, .off = offsetof(struct words, v), .max_items = 10}};
    static const struct ma_shape shape = MA_SHAPE(struct words, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct words out = {{NULL, 0}};
    const char *quote = in.n && in.p[0] == '[' ? "" : "\"";
    const char *text =
        in.n ? ma_arena_printf(ctx->arena, "{\"v\":%s%.*s%s}", quote, (int)in.n, (const char *)in.p, quote) : NULL;
    if (!text || ma_json_parse(ma_span_str(text), &j) < 0 || ma_json_decode(j, ctx->arena, &shape, &out, &errs) < 0)
        return (struct ma_span_list){NULL, 0};
    return out.v;
}

static bool has_word(const struct ma_span_list *l, const char *word)
{
    for (size_t i = 0; i < l->n; i++)
        if (ma_span_eq_str(l->v[i], word))
            return true;
    return false;
}

/* What is to be enrolled. */
struct wish {
    enum ma_factor type;
    bool voice;
    const char *channel; /* NULL: nothing is sent */
    struct ma_span address;
};

static int read_channel(struct ma_ctx *ctx, const struct ma_oauth_params *in, const struct ma_user *user,
                        struct wish *ret)
{
    struct ma_span_list channels = words_of(ctx, in->oob_channels);
    bool email = has_word(&channels, "email"), sms = has_word(&channels, "sms");
    bool device = !email && !sms && !has_word(&channels, "voice") && has_word(&channels, "auth0");
    ret->voice = !sms && has_word(&channels, "voice");
    if (device) {
        ret->type = MA_FACTOR_PUSH;
        ret->channel = "auth0";
        return MA_OK;
    }
    if (sms || ret->voice) {
        ret->type = MA_FACTOR_PHONE;
        ret->channel = sms ? "sms" : "voice";
        if (!in->phone_number.p)
            return ma_oauth_missing(ctx, "phone_number");
        if (ma_phone_normalise(ctx->arena, in->phone_number, &ret->address) < 0)
            return ma_oauth_fail(ctx, 400, "invalid_request", "phone_number must be an E.164 number.");
        return MA_OK;
    }
    ret->type = MA_FACTOR_EMAIL;
    ret->channel = "email";
    if (!email)
        return ma_oauth_fail(ctx, 400, "unsupported_challenge_type",
                             "oob_channels must name sms, voice, email or auth0.");
    if (ma_email_normalise(ctx->arena, in->email.p ? in->email : user->email, &ret->address) < 0)
        return ma_oauth_fail(ctx, 400, "invalid_request", "email must be an e-mail address.");
    return MA_OK;
}

static int read_wish(struct ma_ctx *ctx, const struct ma_oauth_params *in, const struct caller *c, struct wish *ret)
{
    struct ma_span_list types = words_of(ctx, in->authenticator_types);
    *ret = (struct wish){.type = MA_FACTOR_TOTP};
    if (!in->authenticator_types.p)
        return ma_oauth_missing(ctx, "authenticator_types");
    if (!has_word(&types, "otp")) {
        if (!has_word(&types, "oob"))
            return ma_oauth_fail(ctx, 400, "unsupported_challenge_type", "authenticator_types must name otp or oob.");
        int r = read_channel(ctx, in, &c->user, ret);
        if (r != MA_OK)
            return r;
    }
    if (!(ma_factors_open(ctx) & c->pending.factors & 1u << ret->type))
        return ma_oauth_fail(ctx, 400, "unsupported_challenge_type", "This factor cannot be enrolled now.");
    return MA_OK;
}

/* The first factor comes with a recovery code, unless there is one, or it is not to come before a factor is there. */
static int add_recovery(struct ma_ctx *ctx, struct caller *c, const char **ret_code)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    *ret_code = NULL;
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].type == MA_FACTOR_RECOVERY)
            return MA_OK;
    c->pending.recovery_method = c->pending.recovery_session = MA_SPAN_NULL;
    if (!(ma_factors_open(ctx) & 1u << MA_FACTOR_RECOVERY) || ctx->conf->enrollment.recovery_requires_factor)
        return MA_OK;
    int r = ma_enrol_recovery(ctx, &e);
    c->pending.recovery_method = e.id;
    c->pending.recovery_session = ma_span_str(e.auth_session);
    *ret_code = e.recovery_code;
    return r;
}

static int reply_enrolled(struct ma_ctx *ctx, const struct ma_enrolled *e, const struct wish *wish,
                          const char *recovery_code)
{
    struct ma_factor_choice f = {.id = e->id, .type = e->type, .voice = wish->voice};
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "authenticator_type", kind_of(e->type));
    ma_jw_kcstr(&w, "id", public_id(ctx, &f));
    if (wish->channel) {
        ma_jw_kcstr(&w, "oob_channel", wish->channel);
        ma_jw_kcstr(&w, "oob_code", e->auth_session);
        if (e->type == MA_FACTOR_PUSH)
            ma_jw_kcstr(&w, "barcode_uri", e->barcode_uri);
        else
            ma_jw_kcstr(&w, "binding_method", "prompt");
    } else {
        ma_jw_kcstr(&w, "secret", e->manual_code);
        ma_jw_kcstr(&w, "barcode_uri", e->barcode_uri);
    }
    if (recovery_code) {
        ma_jw_key(&w, "recovery_codes");
        ma_jw_arr(&w);
        ma_jw_cstr(&w, recovery_code);
        ma_jw_arr_end(&w);
    }
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

static int associate(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct caller *c = o->more;
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    const char *recovery_code = NULL;
    struct wish wish;
    int r = load_bearer(ctx, c);
    if (r != MA_OK)
        return r;
    if (ma_user_is_leaving(&c->user)) /* such an account is not set up any further */
        return ma_oauth_fail(ctx, 403, "access_denied", "The account is about to be deleted.");
    if (ma_factors_bits(c->v, c->n) != 0)
        return ma_oauth_fail(ctx, 400, "invalid_request", "User is already enrolled");
    ctx->who.user_id = c->user.user_id;
    r = read_wish(ctx, &o->in, c, &wish);
    if (r == MA_OK)
        r = wish.type == MA_FACTOR_TOTP   ? ma_enrol_totp(ctx, &e)
            : wish.type == MA_FACTOR_PUSH ? ma_enrol_push(ctx, true, &e)
                                          : ma_enrol_otp(ctx, wish.type, wish.address, wish.voice, &e);
    c->pending.enrol_method = e.id;
    c->pending.enrol_session = ma_span_str(e.auth_session);
    if (r == MA_OK)
        r = add_recovery(ctx, c, &recovery_code);
    if (r == MA_OK)
        r = ma_pending_write(ctx, &c->pending, &c->flow.data);
    if (r == MA_OK)
        r = ma_flow_update(ctx->db, &c->flow);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "gd_start_enroll", c->user.user_id, c->flow.client_id, MA_SPAN_NULL);
    if (r == MA_OK)
        ma_count_later(ctx, MA_M_ENROLMENTS, wish.type, MA_M_STARTED);
    return r == MA_OK ? reply_enrolled(ctx, &e, &wish, recovery_code) : r;
}

int ma_op_mfa_associate(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ma_arena_zalloc(ctx->arena, sizeof *o);
    if (!o)
        return MA_E_NOMEM;
    ctx->scratch = o;
    o->more = ma_arena_zalloc(ctx->arena, sizeof(struct caller));
    int r = o->more ? ma_gate_address(ctx) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_oauth_params(ctx, &o->in);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, associate) : r;
}

/* --- DELETE /mfa/authenticators/{id} --- */

/* Wants an access token for the MFA API itself, which nobody can have here: an mfa_token proves one factor, and
 * deleting another is for who has shown both, at /me/v1. */
int ma_op_mfa_delete(struct ma_ctx *ctx)
{
    return refuse_token(ctx, "invalid_token",
                        "The token does not allow this. Delete methods at /me/v1/authentication-methods.");
}

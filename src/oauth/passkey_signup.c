/* SPDX-License-Identifier: Apache-2.0
 * Signing up with a passkey: POST /passkey/register, and the token call that answers it (wire contract 3.6). The user
 * comes to be with the token call, or not at all.
 */
#include "ma/codec.h"
#include "ma/limit.h"
#include "ma/passkey_wire.h"
#include "ma/webauthn.h"
#include "passkey_int.h"

enum {
    NAME_MAX_UNITS = 300,
    PART_MAX_UNITS = 150,
    URL_MAX = 2048,
    METADATA_MAX = 10,
    MINUTE_MS = 60000,
    HOUR_MS = 3600000
};

/* --- user_profile --- */

struct profile {
    struct ma_span email, name, phone_number;
    struct ma_span given_name, family_name, nickname, picture; /* checked; there is no column for them */
};

static bool is_text(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

static bool is_url(struct ma_span s)
{
    static const char https[] = "https://", http[] = "http://";
    bool known = (s.n > sizeof https - 1 && memcmp(s.p, https, sizeof https - 1) == 0) ||
                 (s.n > sizeof http - 1 && memcmp(s.p, http, sizeof http - 1) == 0);
    return known && !ma_utf8_has_control(s) && !memchr(s.p, ' ', s.n);
}

#define AT(m, longest, test, text)                                                                                     \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .off = offsetof(struct profile, m), .min = 1, .max = (longest), .check = (test), \
        .check_text = (text)                                                                                           \
    }
static const struct ma_jfield profile_fields[] = {
    AT(email, NAME_MAX_UNITS, ma_fmt_email, "must match format \"email\""),
    AT(name, NAME_MAX_UNITS, is_text, "must not hold control characters"),
    AT(phone_number, 30, is_text, "must not hold control characters"),
    AT(given_name, PART_MAX_UNITS, is_text, "must not hold control characters"),
    AT(family_name, PART_MAX_UNITS, is_text, "must not hold control characters"),
    AT(nickname, NAME_MAX_UNITS, is_text, "must not hold control characters"),
    AT(picture, URL_MAX, is_url, "must match format \"uri\""),
};
#undef AT
static const struct ma_shape profile_shape = MA_SHAPE(struct profile, profile_fields);

static int refuse_member(struct ma_ctx *ctx, const char *parameter, const char *why)
{
    const char *text = ma_arena_printf(ctx->arena, "%s: %s", parameter, why);
    return text ? ma_oauth_fail(ctx, 400, "invalid_request", text) : MA_E_NOMEM;
}

static int read_profile(struct ma_ctx *ctx, struct ma_span raw, struct profile *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct ma_span text = ma_oauth_object(ctx, raw);
    *ret = (struct profile){.email = MA_SPAN_NULL};
    int r = text.p ? ma_json_parse(text, &j) : MA_E_PARSE;
    if (r == MA_E_PARSE)
        return refuse_member(ctx, "user_profile", "must be an object");
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &profile_shape, ret, &errs);
    if (r == MA_E_INVAL)
        return refuse_member(ctx, "user_profile", errs.n ? errs.v[0].detail : "is not valid");
    if (r < 0)
        return r;
    if (!ret->email.p)
        return refuse_member(ctx, "user_profile", "must have required property 'email'");
    if (ma_email_normalise(ctx->arena, ret->email, &ret->email) < 0)
        return refuse_member(ctx, "user_profile", "email must match format \"email\"");
    if (ret->phone_number.p && ma_phone_normalise(ctx->arena, ret->phone_number, &ret->phone_number) < 0)
        return refuse_member(ctx, "user_profile", "phone_number must be in E.164 format");
    return MA_OK;
}

/* --- user_metadata --- */

struct metadata {
    struct ma_span text;
};

/* Past a string of compact JSON text; false when there is none. */
static bool skip_string(struct ma_span *s)
{
    size_t i = 1;
    if (s->n == 0 || s->p[0] != '"')
        return false;
    while (i < s->n && s->p[i] != '"')
        i += s->p[i] == '\\' ? 2 : 1;
    if (i >= s->n)
        return false;
    *s = ma_span_of(s->p + i + 1, s->n - i - 1);
    return true;
}

static bool skip_byte(struct ma_span *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = ma_span_of(s->p + 1, s->n - 1);
    return true;
}

/* An object of at most METADATA_MAX strings, in compact JSON text. */
static bool is_flat(struct ma_span s)
{
    if (!skip_byte(&s, '{'))
        return false;
    if (skip_byte(&s, '}'))
        return true;
    for (int i = 0; i < METADATA_MAX; i++) {
        if (!skip_string(&s) || !skip_byte(&s, ':') || !skip_string(&s))
            return false;
        if (!skip_byte(&s, ','))
            return skip_byte(&s, '}');
    }
    return false;
}

static int check_metadata(struct ma_ctx *ctx, struct ma_span raw)
{
    static const struct ma_jfield one[] = {
        {.name = "v", .type = MA_F_RAWOBJ, .flags = MA_REQ, .off = offsetof(struct metadata, text)}};
    static const struct ma_shape one_shape = MA_SHAPE(struct metadata, one);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct metadata m = {MA_SPAN_NULL};
    if (!raw.p)
        return MA_OK;
    struct ma_span text = ma_oauth_object(ctx, raw);
    const char *wrapped =
        text.p ? ma_arena_printf(ctx->arena, "{\"v\":%.*s}", (int)text.n, (const char *)text.p) : NULL;
    bool fine = wrapped && ma_json_parse(ma_span_str(wrapped), &j) == MA_OK &&
                ma_json_decode(j, ctx->arena, &one_shape, &m, &errs) == MA_OK && is_flat(m.text);
    return fine ? MA_OK : refuse_member(ctx, "user_metadata", "must be an object of at most 10 strings");
}

/* --- POST /passkey/register --- */

struct signup {
    struct profile profile;
    struct ma_span connection;
    /* the token call */
    struct ma_flow flow;
    struct ma_span handle;
    struct ma_credential credential;
    bool verified;
};

/* Who asks for many addresses wants to know which of them are known here. */
static int refuse_taken(struct ma_ctx *ctx)
{
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_ADDRESS, ma_addr_key(&ctx->req.client),
                  ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.address_failures : 0, MINUTE_MS, ctx->now_ms,
                  &s);
    if (!s.allowed)
        return ma_oauth_fail_verdict(ctx, MA_SIGNIN_TOO_MANY, s.retry_after_s, "");
    return ma_oauth_fail(ctx, 400, "invalid_request", "The user already exists.");
}

static int write_options(struct ma_ctx *ctx, const struct ma_creation_options *o, const char *token)
{
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "auth_session", token);
    ma_write_creation_options(&w, o);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

static int open_flow(struct ma_ctx *ctx, const struct signup *s, const struct ma_creation_options *o,
                     char token[MA_TOKEN_LEN + 1])
{
    char challenge[MA_B64URL_LEN(MA_CHALLENGE_LEN) + 1], handle[MA_B64URL_LEN(MA_USER_HANDLE_LEN) + 1];
    struct ma_passkey_flow p = {
        .rp_id = o->rp_id,
        .realm = s->connection,
        .email = s->profile.email,
        .name = s->profile.name,
        .phone_number = s->profile.phone_number,
    };
    ma_b64url_encode(ma_span_of(o->challenge, sizeof o->challenge), challenge);
    ma_b64url_encode(o->user_handle, handle);
    p.challenge = ma_span_str(challenge);
    p.user_handle = ma_span_str(handle);
    return ma_passkey_flow_open(ctx, &p, token);
}

static int start(struct ma_ctx *ctx)
{
    const struct ma_oauth *o = ctx->scratch;
    const struct signup *s = o->more;
    uint8_t *handle = ma_arena_alloc(ctx->arena, MA_USER_HANDLE_LEN);
    char token[MA_TOKEN_LEN + 1];
    bool taken = false;
    struct ma_creation_options c = {
        .user_handle = ma_span_of(handle, MA_USER_HANDLE_LEN),
        .user_name = s->profile.email,
        .user_display_name = s->profile.name.p ? s->profile.name : s->profile.email,
        .type = MA_FACTOR_PASSKEY,
        .require_uv = ctx->conf->webauthn.require_uv,
        .attestation_verified = ctx->conf->webauthn.attestation_verified,
    };
    int r = handle ? ma_signup_taken(ctx, s->profile.email, s->profile.phone_number, &taken) : MA_E_NOMEM;
    if (r == MA_OK && taken)
        return refuse_taken(ctx);
    if (r == MA_OK)
        r = ma_rp_id(ctx, &c.rp_id);
    if (r == MA_OK)
        r = ctx->app->rand->fill(ctx->app->rand, handle, MA_USER_HANDLE_LEN);
    if (r == MA_OK)
        r = ctx->app->rand->fill(ctx->app->rand, c.challenge, sizeof c.challenge);
    c.rp_name = ctx->state->tenant.rp_name.n > 0 ? ctx->state->tenant.rp_name : c.rp_id;
    if (r == MA_OK)
        r = open_flow(ctx, s, &c, token);
    return r == MA_OK ? write_options(ctx, &c, token) : r;
}

static int refuse_closed(struct ma_ctx *ctx)
{
    return ma_oauth_fail(ctx, 403, "access_denied", "Public signup is disabled");
}

static bool is_open(const struct ma_ctx *ctx, struct ma_span connection)
{
    const struct ma_state_connection *c = ma_state_connection(ctx->state, connection);
    return c && !c->disable_signup;
}

/* An account and its passkey are cheap for who makes them: so many an hour from one address. */
static int limit_address(struct ma_ctx *ctx, bool take)
{
    struct ma_limit_state s;
    (take ? ma_limit_take : ma_limit_peek)(
        ctx->app->limits, MA_BUCKET_SIGNUP, ma_addr_key(&ctx->req.client),
        ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.signups_per_address : 0, HOUR_MS, ctx->now_ms, &s);
    return s.allowed ? MA_OK
                     : ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many sign-ups from this address.", s.retry_after_s);
}

/* The connection that was asked for, or the only one there is. */
static int choose_connection(struct ma_ctx *ctx, struct ma_span realm, struct ma_span *ret)
{
    size_t n = 0;
    *ret = realm;
    for (size_t i = 0; !realm.p && i < ctx->state->n_connections; i++) {
        if (!ma_passkey_connection(ctx, &ctx->state->connections[i]))
            continue;
        *ret = ctx->state->connections[i].name;
        n++;
    }
    if (realm.p || n == 1)
        return is_open(ctx, *ret) ? MA_OK : refuse_closed(ctx);
    return n ? ma_oauth_missing(ctx, "realm")
             : ma_oauth_fail(ctx, 400, "invalid_request", "The client has no database connection.");
}

int ma_op_passkey_register(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    int r = ma_passkey_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    struct signup *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    o->more = s;
    if (!o->in.user_profile.p)
        return ma_oauth_missing(ctx, "user_profile");
    if (o->in.organization.p)
        return ma_oauth_fail(ctx, 400, "invalid_request", "Nobody joins an organization by signing up.");
    r = choose_connection(ctx, o->in.realm, &s->connection);
    if (r == MA_OK)
        r = read_profile(ctx, o->in.user_profile, &s->profile);
    if (r == MA_OK)
        r = check_metadata(ctx, o->in.user_metadata);
    if (r == MA_OK)
        r = limit_address(ctx, false);
    if (r == MA_OK)
        r = ma_oauth_flow_limit(ctx);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, start) : r;
}

/* --- the token call --- */

static int refuse(struct ma_ctx *ctx, const char *why)
{
    ctx->keep = true; /* the challenge is used up */
    int r = ma_audit_signin(ctx, "passkey_challenge_failed", MA_SPAN_NULL, ctx->who.client_id, MA_SPAN_NULL);
    return r == MA_OK ? ma_oauth_fail_verdict(ctx, MA_SIGNIN_WRONG, 0, why) : r;
}

static int create(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    const struct signup *s = o->more;
    const struct ma_signup in = {s->connection,           s->profile.email, s->profile.name,
                                 s->profile.phone_number, s->handle,        &s->credential};
    struct ma_user user;
    int r = ma_flow_consume(ctx->db, s->flow.token_mac, ctx->now_ms); /* answered once, rightly or not */
    if (r == MA_E_CONFLICT)
        return ma_oauth_fail_verdict(ctx, MA_SIGNIN_EXPIRED, 0, "");
    if (r < 0)
        return r;
    if (!s->verified)
        return refuse(ctx, "The passkey could not be verified.");
    if (!is_open(ctx, s->connection)) /* closed since */
        return refuse_closed(ctx);
    r = limit_address(ctx, true);
    if (r != MA_OK)
        return r;
    r = ma_signup_passkey(ctx, &in, &user);
    if (r == MA_E_EXISTS)
        return refuse(ctx, "The user or the passkey already exists.");
    if (r < 0)
        return r;
    ctx->keep = true; /* the authenticator has its key: the user stays, whatever this token request asks for */
    struct ma_authn authn = {.auth_at = ctx->now_ms, .amr = MA_AMR_PASSKEY | (s->credential.uv ? MA_AMR_UV : 0)};
    return ma_login_finish(ctx, o, &user, &authn, NULL);
}

/* The spans of `kept` are arena. */
static int restore(struct ma_ctx *ctx, const struct ma_flow *flow, const struct ma_passkey_flow *kept, struct signup *s)
{
    size_t n = 0;
    uint8_t *handle = ma_arena_alloc(ctx->arena, MA_USER_HANDLE_LEN + 3);
    int r = handle ? ma_b64url_decode(kept->user_handle, handle, MA_USER_HANDLE_LEN + 3, &n) : MA_E_NOMEM;
    s->flow = *flow;
    s->connection = kept->realm;
    s->profile = (struct profile){.email = kept->email, .name = kept->name, .phone_number = kept->phone_number};
    s->handle = ma_span_of(handle, n);
    return r;
}

int ma_passkey_signup(struct ma_ctx *ctx, const struct ma_flow *flow, const struct ma_passkey_flow *kept,
                      struct ma_span challenge, struct ma_span authn_response)
{
    struct ma_oauth *o = ctx->scratch;
    struct signup *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    struct ma_attestation_response in;
    struct ma_webauthn_fault fault;
    if (!s)
        return MA_E_NOMEM;
    o->more = s;
    if (o->in.organization.p)
        return ma_oauth_fail(ctx, 403, "access_denied", "Nobody joins an organization by signing up.");
    int r = restore(ctx, flow, kept, s);
    if (r < 0)
        return r;
    if (!(ma_factors_enabled(ctx) & 1u << MA_FACTOR_PASSKEY)) /* switched off since */
        return ma_next(ctx, MA_LANE_WRITE, create);
    r = authn_response.p ? ma_attestation_parse(ctx, authn_response, &in) : MA_E_PARSE;
    if (r == MA_OK)
        r = ma_attestation_check(ctx, challenge, kept->rp_id, &in, &s->credential, &fault);
    s->verified = r == MA_OK;
    return r == MA_OK || r == MA_E_PARSE || r == MA_E_AUTH ? ma_next(ctx, MA_LANE_WRITE, create) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * Starting enrolments: totp, recovery-code, email, phone, password.
 */
#include "int.h"

#include <stdio.h>

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/totp.h"

enum { RECOVERY_LEN = 24, OTP_LEN = 6, EMAIL_MAX = 254, PHONE_MAX = 16 };

/* --- totp --- */

static const char *barcode(struct ma_ctx *ctx, const char *seed)
{
    const char *issuer = ma_pct_encode(ctx->arena, ctx->state->tenant.friendly_name);
    const char *user = ma_pct_encode(ctx->arena, ctx->who.user_id);
    if (!issuer || !user)
        return NULL;
    return ma_arena_printf(ctx->arena, "otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
                           issuer, user, seed, issuer, MA_TOTP_DIGITS, MA_TOTP_STEP_S);
}

static struct ma_seal_id seed_id(const struct ma_ctx *ctx, struct ma_span method_id)
{
    return (struct ma_seal_id){"methods", "secret", method_id, ctx->who.user_id};
}

static int new_method_id(struct ma_ctx *ctx, enum ma_factor type, struct ma_span *ret)
{
    char id[MA_METHOD_ID_MAX];
    int r = ma_id_method(ctx->app->rand, ma_factor_name(type), id);
    if (r < 0)
        return r;
    *ret = ma_arena_dup(ctx->arena, ma_span_str(id));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

int ma_enrol_totp(struct ma_ctx *ctx, struct ma_enrolled *ret)
{
    uint8_t seed[MA_TOTP_SEED_LEN];
    struct ma_method m = {.type = MA_FACTOR_TOTP};
    int r = ma_require_factor(ctx, m.type);
    if (r == MA_OK)
        r = ma_require_room(ctx, m.type);
    if (r == MA_OK)
        r = new_method_id(ctx, m.type, &m.id);
    if (r == MA_OK)
        r = ctx->app->rand->fill(ctx->app->rand, seed, sizeof seed);
    if (r < 0)
        return r;
    struct ma_seal_id sid = seed_id(ctx, m.id);
    r = ma_vault_seal(ctx->app->vault, ctx->arena, &sid, ma_span_of(seed, sizeof seed), &m.secret);
    ret->manual_code = ma_base32_encode(ctx->arena, ma_span_of(seed, sizeof seed));
    ma_wipe(seed, sizeof seed);
    if (r == MA_OK)
        r = ret->manual_code ? ma_pending_insert(ctx, &m) : MA_E_NOMEM;
    if (r < 0)
        return r;
    ret->id = m.id;
    ret->type = m.type;
    ret->barcode_uri = barcode(ctx, ret->manual_code);
    if (!ret->barcode_uri)
        return MA_E_NOMEM;
    return ma_session_open(ctx, m.type, m.id, MA_SPAN_NULL, &ret->auth_session);
}

int ma_totp_check(struct ma_ctx *ctx, const struct ma_method *m, struct ma_span code, int64_t *ret_step)
{
    struct ma_span seed;
    struct ma_seal_id sid = seed_id(ctx, m->id);
    int r = ma_vault_open_blob(ctx->app->vault, ctx->arena, &sid, m->secret, &seed);
    if (r < 0)
        return r == MA_E_AUTH ? MA_E_CRYPTO : r; /* a damaged seed is our fault, not a wrong code */
    return ma_totp_match(seed, code, ctx->now_ms / 1000, m->last_step, ret_step);
}

/* --- recovery code --- */

static int require_independent(struct ma_ctx *ctx)
{
    if (!ctx->conf->enrollment.recovery_requires_factor)
        return MA_OK;
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    int r = ma_methods_list(ctx, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        if (v[i].confirmed && !ma_factor_is_primary(v[i].type) && v[i].type != MA_FACTOR_RECOVERY)
            return MA_OK;
    return r < 0 ? r : ma_problem(ctx, MA_P_BAD_REQUEST, "A recovery code needs another enrolled factor first.");
}

int ma_enrol_recovery(struct ma_ctx *ctx, struct ma_enrolled *ret)
{
    char *code = ma_arena_alloc(ctx->arena, RECOVERY_LEN + 1);
    uint8_t mac[32];
    struct ma_method m = {.type = MA_FACTOR_RECOVERY};
    int r = code ? ma_require_factor(ctx, m.type) : MA_E_NOMEM;
    if (r == MA_OK)
        r = require_independent(ctx);
    if (r == MA_OK)
        r = ma_require_room(ctx, m.type);
    if (r == MA_OK)
        r = ma_rand_chars(ctx->app->rand, MA_ALNUM36, code, RECOVERY_LEN);
    if (r == MA_OK)
        r = ma_vault_mac(ctx->app->vault, "recovery-code", ctx->who.user_id, ma_span_of(code, RECOVERY_LEN), mac);
    if (r == MA_OK)
        r = ma_method_delete_others(ctx->db, ctx->who.user_id, m.type, false, MA_SPAN_NULL, MA_SPAN_NULL);
    m.secret = ma_span_of(mac, sizeof mac);
    if (r == MA_OK)
        r = ma_pending_insert(ctx, &m);
    if (r < 0)
        return r;
    *ret = (struct ma_enrolled){.id = m.id, .type = m.type, .recovery_code = code};
    return ma_session_open(ctx, m.type, m.id, MA_SPAN_NULL, &ret->auth_session);
}

/* --- email and phone --- */

int ma_email_normalise(struct ma_arena *a, struct ma_span in, struct ma_span *ret)
{
    struct ma_span s = ma_trim(in);
    const uint8_t *at = s.n ? memchr(s.p, '@', s.n) : NULL;
    if (!at || s.n > EMAIL_MAX || at == s.p || at == s.p + s.n - 1 || memchr(at + 1, '@', (size_t)(s.p + s.n - at - 1)))
        return MA_E_PARSE;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("\"(),:;<>[\\]", s.p[i]))
            return MA_E_PARSE;
    if (at[1] == '.' || s.p[s.n - 1] == '.' || !memchr(at, '.', (size_t)(s.p + s.n - at)))
        return MA_E_PARSE;
    char *copy = ma_arena_strdup(a, s);
    if (!copy)
        return MA_E_NOMEM;
    for (size_t i = (size_t)(at - s.p); i < s.n; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + ('a' - 'A'));
    *ret = ma_span_of(copy, s.n);
    return MA_OK;
}

int ma_phone_normalise(struct ma_arena *a, struct ma_span in, struct ma_span *ret)
{
    char out[PHONE_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (c != 0 && strchr(" -().", c))
            continue;
        bool ok = n == 0 ? c == '+' : (c >= '0' && c <= '9' && !(n == 1 && c == '0'));
        if (!ok || n == PHONE_MAX)
            return MA_E_PARSE;
        out[n++] = (char)c;
    }
    if (n < 3) /* "+", a digit that is not 0, and at least one more (E.164) */
        return MA_E_PARSE;
    *ret = ma_arena_dup(a, ma_span_of(out, n));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

int ma_send_code(struct ma_ctx *ctx, const char *template_name, const struct ma_code_letter *letter)
{
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    struct ma_message msg = {
        .channel = letter->channel,
        .user_id = ctx->who.user_id,
        .to = letter->to,
        .template_name = template_name,
        .code = letter->code,
        .tenant = ctx->state->tenant.friendly_name,
        .name = u.name,
        .minutes = (int)((letter->ttl_ms + 59999) / 60000),
    };
    ctx->wake_courier = true;
    return ma_outbox_enqueue(ctx->db, ctx->app->vault, ctx->app->templates, ctx->app->rand, ctx->arena, &msg,
                             ctx->now_ms);
}

static int send_code(struct ma_ctx *ctx, const struct ma_method *m, struct ma_span code)
{
    struct ma_code_letter letter = {
        .channel = m->type == MA_FACTOR_EMAIL ? MA_CHANNEL_EMAIL
                   : m->voice                 ? MA_CHANNEL_VOICE
                                              : MA_CHANNEL_SMS,
        .to = m->address,
        .code = code,
        .ttl_ms = ma_enrol_ttl_ms(ctx, m->type),
    };
    return ma_send_code(ctx, "enroll-code", &letter);
}

/* Everything that may say no, before anything is written. */
static int may_send(struct ma_ctx *ctx, enum ma_factor type, struct ma_span address, bool voice)
{
    int64_t retry_s = 0;
    int r = ma_require_factor(ctx, type);
    if (r == MA_OK && type == MA_FACTOR_PHONE && !(voice ? ctx->conf->delivery.voice : ctx->conf->delivery.sms)[0])
        r = ma_problem(ctx, MA_P_BAD_REQUEST, "unsupported_challenge_type");
    if (r == MA_OK)
        r = ma_require_new_address(ctx, type, address,
                                   type == MA_FACTOR_EMAIL ? "This e-mail address is enrolled already."
                                                           : "This phone number is enrolled already.");
    if (r == MA_OK)
        r = ma_require_room(ctx, type);
    if (r == MA_OK)
        r = ma_message_take(ctx, type, address, &retry_s);
    if (r < 0 || retry_s == 0)
        return r;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many messages to this user or address; try again later.", retry_s);
}

int ma_enrol_otp(struct ma_ctx *ctx, enum ma_factor type, struct ma_span address, bool voice, struct ma_enrolled *ret)
{
    char code[OTP_LEN + 1];
    struct ma_method m = {.type = type, .address = address, .voice = voice};
    int r = may_send(ctx, type, address, voice);
    if (r == MA_OK) /* an unconfirmed one for the same address gives way */
        r = ma_method_delete_others(ctx->db, ctx->who.user_id, type, false, address, MA_SPAN_NULL);
    if (r == MA_OK)
        r = ma_pending_insert(ctx, &m);
    if (r == MA_OK)
        r = ma_rand_chars(ctx->app->rand, MA_DIGITS, code, OTP_LEN);
    if (r == MA_OK)
        r = ma_session_open(ctx, type, m.id, ma_span_of(code, OTP_LEN), &ret->auth_session);
    if (r == MA_OK)
        r = send_code(ctx, &m, ma_span_of(code, OTP_LEN));
    ma_wipe(code, sizeof code);
    ret->id = m.id;
    ret->type = type;
    return r;
}

/* --- password --- */

/* "auth0|5f7c" and the bare "5f7c" name the same identity. */
static bool names_user(struct ma_span identity, struct ma_span user_id)
{
    if (ma_span_eq(identity, user_id))
        return true;
    const uint8_t *bar = memchr(user_id.p, '|', user_id.n);
    return bar && ma_span_eq(identity, ma_span_of(bar + 1, (size_t)(user_id.p + user_id.n - bar - 1)));
}

int ma_require_identity(struct ma_ctx *ctx, const struct ma_user *u, struct ma_span connection,
                        struct ma_span identity_user_id)
{
    if (!u->connection.p)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "The user has no database identity.");
    if (connection.p && !ma_span_eq(connection, u->connection))
        return ma_problem_at(ctx, "/connection", "data/connection must name a database connection of the user");
    if (identity_user_id.p && !names_user(identity_user_id, u->user_id))
        return ma_problem_at(ctx, "/identity_user_id", "data/identity_user_id must name an identity of the user");
    return MA_OK;
}

int ma_enrol_password(struct ma_ctx *ctx, struct ma_span connection, struct ma_span identity_user_id,
                      struct ma_enrolled *ret)
{
    struct ma_user u;
    int r = ma_require_factor(ctx, MA_FACTOR_PASSWORD);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r == MA_OK)
        r = ma_require_identity(ctx, &u, connection, identity_user_id);
    if (r < 0)
        return r;
    const struct ma_state_connection *c = ma_state_connection(ctx->state, u.connection);
    if (!c)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "The user's database connection is not configured.");
    *ret =
        (struct ma_enrolled){.id = MA_LIT("password|new"), .type = MA_FACTOR_PASSWORD, .policy = &c->password_policy};
    return ma_session_open(ctx, MA_FACTOR_PASSWORD, ret->id, MA_SPAN_NULL, &ret->auth_session);
}

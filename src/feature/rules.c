/* SPDX-License-Identifier: Apache-2.0
 * Rules that every enrolment obeys: which factors are open, how many methods there may be, how often
 * codes may be sent and missed.
 */
#include "int.h"

enum { HOUR_MS = 3600000 };

bool ma_factor_is_primary(enum ma_factor f)
{
    return f == MA_FACTOR_PASSWORD || f == MA_FACTOR_PASSKEY;
}

uint32_t ma_factors_enabled(const struct ma_ctx *ctx)
{
    uint32_t on = ctx->state->factors & MA_FACTORS_SUPPORTED;
    if (!ctx->conf->delivery.email[0])
        on &= ~(1u << MA_FACTOR_EMAIL);
    if (!ctx->conf->delivery.sms[0] && !ctx->conf->delivery.voice[0])
        on &= ~(1u << MA_FACTOR_PHONE);
    if (!ctx->conf->delivery.push[0] && !ctx->conf->delivery.fcm_credentials[0] && !ctx->conf->delivery.apns_key[0])
        on &= ~(1u << MA_FACTOR_PUSH);
    return on;
}

uint32_t ma_factors_open(const struct ma_ctx *ctx)
{
    uint32_t open = ma_factors_enabled(ctx);
    if (!ctx->who.has_database)
        open &= ~(1u << MA_FACTOR_PASSWORD | 1u << MA_FACTOR_PASSKEY);
    return open;
}

int ma_require_factor(struct ma_ctx *ctx, enum ma_factor type)
{
    if (ma_factors_enabled(ctx) & 1u << type)
        return MA_OK;
    return ma_problem(ctx, MA_P_BAD_REQUEST, "unsupported_challenge_type");
}

static bool limited_per_type(enum ma_factor type)
{
    return type == MA_FACTOR_TOTP || type == MA_FACTOR_PHONE || type == MA_FACTOR_EMAIL || type == MA_FACTOR_PUSH;
}

/* Confirmed rows that stay when one of this type is added, and how many of them are of it. A new recovery code replaces
 * the old one, so the old one takes no room. */
static int count_rows(struct ma_ctx *ctx, enum ma_factor type, size_t *ret_all, size_t *ret_same)
{
    struct ma_method *m = ma_arena_alloc(ctx->arena, MA_METHODS_MAX * sizeof *m);
    size_t n = 0;
    *ret_all = *ret_same = 0;
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        if (!m[i].confirmed || (type == MA_FACTOR_RECOVERY && m[i].type == type))
            continue;
        (*ret_all)++;
        *ret_same += m[i].type == type;
    }
    return r;
}

/* Everything that a list shows counts, also the password and the automatic e-mail; they are looked for only when it
 * comes to that. */
static int add_synthetic(struct ma_ctx *ctx, size_t more, size_t *all)
{
    enum { SYNTHETIC_MAX = 2 };
    struct ma_method_view v[MA_METHODS_LISTED_MAX] MA_UNINITIALIZED;
    size_t n = 0, rows = *all;
    if (rows + SYNTHETIC_MAX + more <= MA_METHODS_LISTED_MAX)
        return MA_OK;
    int r = ma_methods_list(ctx, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        *all += v[i].automatic || v[i].type == MA_FACTOR_PASSWORD;
    return r;
}

int ma_require_room(struct ma_ctx *ctx, enum ma_factor type)
{
    return ma_require_room_for(ctx, type, 1);
}

int ma_require_room_for(struct ma_ctx *ctx, enum ma_factor type, size_t more)
{
    size_t all = 0, same = 0;
    int r = count_rows(ctx, type, &all, &same);
    if (r == MA_OK)
        r = add_synthetic(ctx, more, &all);
    if (r < 0)
        return r;
    if (all + more <= MA_METHODS_LISTED_MAX && (!limited_per_type(type) || same < MA_PER_TYPE_MAX))
        return MA_OK;
    return ma_problem(ctx, MA_P_BAD_REQUEST, "too_many_entities");
}

int ma_require_new_address(struct ma_ctx *ctx, enum ma_factor type, struct ma_span address, const char *detail)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    int r = ma_methods_list(ctx, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        if (v[i].type == type && v[i].confirmed && !v[i].automatic && ma_span_eq(v[i].address, address))
            return ma_problem(ctx, MA_P_BAD_REQUEST, detail);
    return r;
}

static int drop_oldest_pending(struct ma_ctx *ctx)
{
    struct ma_method m[MA_METHODS_MAX];
    size_t n = 0, pending = 0, oldest = MA_METHODS_MAX;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        if (m[i].confirmed)
            continue;
        pending++;
        if (oldest == MA_METHODS_MAX)
            oldest = i; /* the list is in order of creation */
    }
    if (pending < MA_PENDING_MAX)
        return MA_OK;
    r = ma_method_delete(ctx->db, ctx->who.user_id, m[oldest].id);
    return r == MA_OK ? ma_enrolment_delete_method(ctx->db, ctx->who.user_id, m[oldest].id) : r;
}

int ma_pending_insert(struct ma_ctx *ctx, struct ma_method *m)
{
    char id[MA_METHOD_ID_MAX];
    int r = drop_oldest_pending(ctx);
    if (r == MA_OK && !m->id.p) {
        r = ma_id_method(ctx->app->rand, ma_factor_name(m->type), id);
        if (r < 0)
            return r;
        m->id = ma_arena_dup(ctx->arena, ma_span_str(id));
    }
    if (r < 0)
        return r;
    if (!m->id.p)
        return MA_E_NOMEM;
    ctx->user_changed = true; /* lists show pending ones */
    m->created_at = ctx->now_ms;
    m->expires_at = ctx->now_ms + ma_enrol_ttl_ms(ctx, m->type);
    return ma_method_insert(ctx->db, ctx->who.user_id, m);
}

struct ma_counter_rule ma_rule_otp_failures(const struct ma_ctx *ctx)
{
    return (struct ma_counter_rule){"otp_failures", ctx->conf->rate_limit.otp_failures_per_hour, HOUR_MS};
}

_Static_assert((int)MA_M_BUCKET_CODES == (int)MA_BUCKET__COUNT, "counters are told behind the buckets");

void ma_counter_refused(const struct ma_ctx *ctx, const struct ma_counter_rule *rule)
{
    static const struct {
        const char *name;
        enum ma_m_bucket bucket;
    } known[] = {{"otp_failures", MA_M_BUCKET_CODES},
                 {"email", MA_M_BUCKET_EMAIL},
                 {"sms", MA_M_BUCKET_SMS},
                 {"password_reuse", MA_M_BUCKET_PASSWORD_REUSE},
                 {"push", MA_M_BUCKET_PUSH},
                 {"push_rejected", MA_M_BUCKET_PUSH_REJECTED},
                 {"push_ignored", MA_M_BUCKET_PUSH_REJECTED},
                 {"exports", MA_M_BUCKET_EXPORTS}};
    for (size_t i = 0; i < MA_COUNT(known); i++)
        if (strcmp(rule->name, known[i].name) == 0)
            ma_metrics_add(ctx->app->metrics, MA_M_RATE_LIMITED, known[i].bucket, 0, 1);
}

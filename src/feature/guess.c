/* SPDX-License-Identifier: Apache-2.0
 * What wrong passwords, codes and assertions cost: by address and user, by user wherever they come from, by credential.
 */
#include "ma/limit.h"

#include "int.h"
#include "ma/crypto.h"

enum { MINUTE_MS = 60000, HOUR_MS = 3600000, ASSERTION_FAILURES_PER_MINUTE = 15 };

/* --- addresses that are known --- */

static int address_mac(struct ma_ctx *ctx, struct ma_span user_id, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "known-address", user_id, ma_addr_key(&ctx->req.client), out);
}

int ma_address_remember(struct ma_ctx *ctx, struct ma_span user_id)
{
    uint8_t mac[32];
    int r = address_mac(ctx, user_id, mac);
    return r == MA_OK ? ma_known_address_put(ctx->db, user_id, ma_span_of(mac, sizeof mac), ctx->now_ms) : r;
}

/* --- a user, from addresses that are not --- */

struct ma_counter_rule ma_rule_login_failures(const struct ma_ctx *ctx)
{
    return (struct ma_counter_rule){"login_failures", ctx->conf->rate_limit.user_login_failures, HOUR_MS};
}

static int hold_up_known(struct ma_ctx *ctx, struct ma_span user_id, int64_t *ret_retry_s)
{
    uint8_t mac[32];
    bool known = false;
    struct ma_counter_rule rule = ma_rule_login_failures(ctx);
    struct ma_counter_state s;
    int r = address_mac(ctx, user_id, mac);
    if (r == MA_OK)
        r = ma_known_address(ctx->db, user_id, ma_span_of(mac, sizeof mac), &known);
    if (r == MA_OK)
        r = ma_counter_get(ctx->db, user_id, &rule, ctx->now_ms, &s);
    if (r == MA_OK && !known && !s.allowed)
        *ret_retry_s = (s.retry_after_ms + 999) / 1000;
    return r;
}

/* Names that nobody has are held up just as well: the refusal tells nothing. */
static int64_t unknown_name(struct ma_ctx *ctx, struct ma_span name, bool take)
{
    struct ma_limit_state s;
    (take ? ma_limit_take : ma_limit_peek)(ctx->app->limits, MA_BUCKET_NAME, name,
                                           ctx->conf->rate_limit.user_login_failures, HOUR_MS, ctx->now_ms, &s);
    return s.retry_after_s;
}

int ma_guess_hold_up(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span name, int64_t *ret_retry_s)
{
    if (user_id.p)
        return hold_up_known(ctx, user_id, ret_retry_s);
    *ret_retry_s = unknown_name(ctx, name, false);
    return MA_OK;
}

void ma_guess_unknown(struct ma_ctx *ctx, struct ma_span name)
{
    (void)unknown_name(ctx, name, true);
}

/* --- one method's codes --- */

/* Longer than a rule's lifetime the name need not live. */
static struct ma_counter_rule method_rule(struct ma_ctx *ctx, struct ma_span method_id)
{
    const char *name = ma_arena_printf(ctx->arena, "method %.*s", (int)method_id.n, (const char *)method_id.p);
    return (struct ma_counter_rule){name ? name : "method", ctx->conf->rate_limit.method_failures_per_hour, HOUR_MS};
}

int ma_guess_method(struct ma_ctx *ctx, struct ma_span method_id, int64_t *ret_retry_s)
{
    struct ma_counter_rule rule = method_rule(ctx, method_id);
    struct ma_counter_state s;
    *ret_retry_s = 0;
    int r = ma_counter_get(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r == MA_OK && !s.allowed)
        *ret_retry_s = (s.retry_after_ms + 999) / 1000;
    return r;
}

int ma_guess_method_failed(struct ma_ctx *ctx, struct ma_span method_id)
{
    struct ma_counter_rule rule = method_rule(ctx, method_id);
    struct ma_counter_state s;
    return method_id.p ? ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s) : MA_OK;
}

/* --- one credential's assertions --- */

int64_t ma_guess_credential(struct ma_ctx *ctx, struct ma_span credential_id, bool failed)
{
    struct ma_limit_state s;
    struct ma_span where = ma_addr_key(&ctx->req.client);
    uint8_t *key = ma_arena_alloc(ctx->arena, where.n + credential_id.n + 1);
    if (!key)
        return 1;
    key[0] = (uint8_t)where.n;
    memcpy(key + 1, where.p, where.n);
    memcpy(key + 1 + where.n, credential_id.p, credential_id.n);
    (failed ? ma_limit_take : ma_limit_peek)(
        ctx->app->limits, MA_BUCKET_CREDENTIAL, ma_span_of(key, where.n + credential_id.n + 1),
        ctx->conf->rate_limit.enabled ? ASSERTION_FAILURES_PER_MINUTE : 0, MINUTE_MS, ctx->now_ms, &s);
    return s.retry_after_s;
}

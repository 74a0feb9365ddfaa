/* SPDX-License-Identifier: Apache-2.0
 * How many messages are sent: to one user, to one destination whoever asks, and for one client address.
 */
#include "ma/limit.h"

#include "int.h"
#include "ma/crypto.h"

enum { MINUTE_MS = 60000, HOUR_MS = 3600000 };

struct ma_counter_rule ma_rule_messages(const struct ma_ctx *ctx, enum ma_factor type)
{
    if (type == MA_FACTOR_EMAIL)
        return (struct ma_counter_rule){"email", ctx->conf->rate_limit.email_per_hour, HOUR_MS};
    if (type == MA_FACTOR_PUSH)
        return (struct ma_counter_rule){"push", ctx->conf->rate_limit.push_per_minute, MINUTE_MS};
    return (struct ma_counter_rule){"sms", ctx->conf->rate_limit.sms_per_hour, HOUR_MS};
}

/* One mailbox, however its letters are written. */
static int destination_mac(struct ma_ctx *ctx, const char *kind, struct ma_span to, uint8_t out[32])
{
    char *small = ma_arena_strdup(ctx->arena, to);
    if (!small)
        return MA_E_NOMEM;
    for (size_t i = 0; i < to.n; i++)
        if (small[i] >= 'A' && small[i] <= 'Z')
            small[i] = (char)(small[i] + ('a' - 'A'));
    return ma_vault_mac(ctx->app->vault, "message-destination", ma_span_str(kind), ma_span_of(small, to.n), out);
}

static int64_t longest(const struct ma_counter_state *user, const struct ma_counter_state *to,
                       const struct ma_limit_state *from)
{
    int64_t ms = user->allowed ? 0 : user->retry_after_ms;
    if (!to->allowed && to->retry_after_ms > ms)
        ms = to->retry_after_ms;
    int64_t s = (ms + 999) / 1000;
    if (!from->allowed && from->retry_after_s > s)
        s = from->retry_after_s;
    bool allowed = user->allowed && to->allowed && from->allowed;
    return allowed ? 0 : s > 0 ? s : 1;
}

int ma_message_take(struct ma_ctx *ctx, enum ma_factor type, struct ma_span to, int64_t *ret_retry_s)
{
    uint8_t mac[32];
    struct ma_counter_rule rule = ma_rule_messages(ctx, type);
    struct ma_counter_state user, dest;
    struct ma_limit_state from;
    struct ma_span key = ma_span_of(mac, sizeof mac), address = ma_addr_key(&ctx->req.client);
    int64_t per_address = ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.messages_per_address : 0;
    /* All are looked at first: a message that is not sent costs nothing. */
    int r = destination_mac(ctx, rule.name, to, mac);
    if (r == MA_OK)
        r = ma_counter_get(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &user);
    if (r == MA_OK)
        r = ma_shared_counter_get(ctx->db, key, &rule, ctx->now_ms, &dest);
    if (r < 0)
        return r;
    ma_limit_peek(ctx->app->limits, MA_BUCKET_MESSAGES, address, per_address, HOUR_MS, ctx->now_ms, &from);
    *ret_retry_s = longest(&user, &dest, &from);
    if (*ret_retry_s > 0) {
        ma_counter_refused(ctx, &rule);
        return MA_OK;
    }
    ma_limit_take(ctx->app->limits, MA_BUCKET_MESSAGES, address, per_address, HOUR_MS, ctx->now_ms, &from);
    r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &user);
    return r == MA_OK ? ma_shared_counter_take(ctx->db, key, &rule, ctx->now_ms, &dest) : r;
}

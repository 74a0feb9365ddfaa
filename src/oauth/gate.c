/* SPDX-License-Identifier: Apache-2.0
 * Who may go on trying: failures at the token service by address, wrong client secrets by client and address.
 */
#include "int.h"

#include "ma/limit.h"

enum { MINUTE_MS = 60000 };

/* --- by address --- */

static struct ma_limit_state address(struct ma_ctx *ctx, bool take)
{
    struct ma_limit_state s;
    int64_t limit = ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.address_failures : 0;
    (take ? ma_limit_take : ma_limit_peek)(ctx->app->limits, MA_BUCKET_OAUTH, ma_addr_key(&ctx->req.client), limit,
                                           MINUTE_MS, ctx->now_ms, &s);
    if (limit > 0) {
        ctx->rate.set = true;
        ctx->rate.limit = s.limit;
        ctx->rate.remaining = s.remaining;
        ctx->rate.reset_s = s.reset_s;
    }
    return s;
}

int ma_gate_address(struct ma_ctx *ctx)
{
    struct ma_limit_state s = address(ctx, false);
    ctx->counts_failures = true;
    if (s.allowed)
        return MA_OK;
    ctx->counts_failures = false;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many failed requests from this address.", s.retry_after_s);
}

/* What was guessed, replayed or made up. Answers that the user or the client must act upon are no failures. */
static bool is_failure(const char *error)
{
    static const char *const names[] = {"invalid_grant", "invalid_client", "invalid_token", "invalid_dpop_proof",
                                        "expired_token"};
    for (size_t i = 0; i < MA_COUNT(names); i++)
        if (strcmp(error, names[i]) == 0)
            return true;
    return false;
}

void ma_gate_failed(struct ma_ctx *ctx, const char *error)
{
    if (!ctx->counts_failures || !is_failure(error))
        return;
    ctx->counts_failures = false; /* once per request */
    (void)address(ctx, true);
}

bool ma_gate_notice(struct ma_ctx *ctx, const char *what, struct ma_span whom)
{
    struct ma_limit_state s;
    const char *key = ma_arena_printf(ctx->arena, "%s %.*s", what, (int)whom.n, (const char *)whom.p);
    if (!key)
        return false;
    ma_limit_take(ctx->app->limits, MA_BUCKET_NOTICE, ma_span_str(key), 1, MINUTE_MS, ctx->now_ms, &s);
    return s.allowed;
}

/* --- by client and address --- */

static struct ma_limit_state guesses(struct ma_ctx *ctx, const struct ma_state_client *c,
                                     void (*fn)(struct ma_limits *, enum ma_bucket, struct ma_span, int64_t, int64_t,
                                                int64_t, struct ma_limit_state *))
{
    struct ma_limit_state s = {.allowed = false, .retry_after_s = 1};
    struct ma_span where = ma_addr_key(&ctx->req.client);
    uint8_t *key = ma_arena_alloc(ctx->arena, where.n + c->client_id.n + 1);
    if (!key)
        return s;
    key[0] = (uint8_t)where.n; /* so that it ends where the id begins */
    memcpy(key + 1, where.p, where.n);
    memcpy(key + 1 + where.n, c->client_id.p, c->client_id.n);
    fn(ctx->app->limits, MA_BUCKET_CLIENT, ma_span_of(key, where.n + c->client_id.n + 1),
       ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.login_failures_per_minute : 0, MINUTE_MS, ctx->now_ms, &s);
    return s;
}

int ma_gate_client(struct ma_ctx *ctx, const struct ma_state_client *client)
{
    struct ma_limit_state s = guesses(ctx, client, ma_limit_peek);
    if (s.allowed)
        return MA_OK;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many failed authentications of this client from this address.",
                            s.retry_after_s);
}

/* WRITE: the row of the trail, then the answer. */
static int note_client(struct ma_ctx *ctx)
{
    const struct ma_oauth *o = ctx->scratch;
    int r = ma_audit_signin(ctx, "feccft", MA_SPAN_NULL, o->client->client_id,
                            MA_LIT("{\"error\":\"client authentication failed\"}"));
    if (r < 0)
        return r;
    ctx->keep = true;
    return ma_oauth_fail_client(ctx, o->refusal);
}

int ma_gate_client_failed(struct ma_ctx *ctx, struct ma_oauth *o, const char *why)
{
    (void)guesses(ctx, o->client, ma_limit_take);
    o->refusal = why;
    if (!ma_gate_notice(ctx, "client", o->client->client_id))
        return ma_oauth_fail_client(ctx, why);
    char where[MA_ADDR_TEXT];
    ma_addr_format(&ctx->req.client, where);
    ma_log(ctx->log, MA_LOG_WARN, "client.refused", MA_KV_SPAN("client_id", o->client->client_id),
           MA_KV_S("address", where), MA_KV_S("request_id", ctx->request_id));
    return ma_next(ctx, MA_LANE_WRITE, note_client);
}

/* --- forms --- */

int ma_gate_form(struct ma_ctx *ctx, struct ma_span flow_mac)
{
    struct ma_limit_state flow, address;
    int64_t on = ctx->conf->rate_limit.enabled ? 1 : 0;
    ma_limit_take(ctx->app->limits, MA_BUCKET_FORM, flow_mac, on * MA_FORMS_PER_FLOW, MINUTE_MS, ctx->now_ms, &flow);
    ma_limit_take(ctx->app->limits, MA_BUCKET_FORMS, ma_addr_key(&ctx->req.client), on * MA_FORMS_PER_MINUTE, MINUTE_MS,
                  ctx->now_ms, &address);
    if (flow.allowed && address.allowed)
        return MA_OK;
    int64_t s = flow.retry_after_s > address.retry_after_s ? flow.retry_after_s : address.retry_after_s;
    int r = ma_page(ctx, 429, "Too many requests", "Wait a little, then go back and try again.");
    ma_header(ctx, "Retry-After", ma_arena_printf(ctx->arena, "%lld", (long long)s));
    return r;
}

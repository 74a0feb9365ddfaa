/* SPDX-License-Identifier: Apache-2.0
 * Errors of the token service, and the headers of its answers.
 */
#include "int.h"

int ma_oauth_fail(struct ma_ctx *ctx, int status, const char *error, const char *description)
{
    struct ma_jw w;
    ma_gate_failed(ctx, error);
    ma_reply_json(ctx, status, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "error", error);
    ma_jw_kcstr(&w, "error_description", description);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return MA_E_PROBLEM;
}

int ma_oauth_fail_client(struct ma_ctx *ctx, const char *description)
{
    (void)ma_oauth_fail(ctx, 401, "invalid_client", description);
    if (ctx->req.authorization.p)
        ma_header(ctx, "WWW-Authenticate", "Basic realm=\"token\"");
    return MA_E_PROBLEM;
}

void ma_oauth_headers(struct ma_ctx *ctx)
{
    char *nonce = ctx->req.dpop.p ? ma_arena_alloc(ctx->arena, MA_DPOP_NONCE_LEN + 1) : NULL;
    ma_header(ctx, "Cache-Control", "no-store");
    if (nonce && ma_dpop_nonce(ctx->app->dpop, ctx->now_ms, nonce) == MA_OK)
        ma_header(ctx, "DPoP-Nonce", nonce);
}

int ma_oauth_fail_verdict(struct ma_ctx *ctx, enum ma_signin_verdict v, int64_t retry_after_s, const char *wrong)
{
    switch (v) {
    case MA_SIGNIN_TOO_MANY:
        (void)ma_oauth_fail(ctx, 429, "too_many_attempts", "Too many attempts. Try again later.");
        ma_header(ctx, "Retry-After",
                  ma_arena_printf(ctx->arena, "%lld", (long long)(retry_after_s > 0 ? retry_after_s : 1)));
        return MA_E_PROBLEM;
    case MA_SIGNIN_BLOCKED:
        return ma_oauth_fail(ctx, 403, "unauthorized", "user is blocked");
    case MA_SIGNIN_BREACHED:
        return ma_oauth_fail(ctx, 403, "password_leaked",
                             "This password is known from a data breach. It has to be changed before it can be used.");
    case MA_SIGNIN_EXPIRED:
        return ma_oauth_fail(ctx, 403, "invalid_grant", "The challenge has expired or was used already.");
    case MA_SIGNIN_PENDING:
        return ma_oauth_fail(ctx, 400, "authorization_pending",
                             "Authorization pending: please repeat the request in a few seconds.");
    case MA_SIGNIN_REJECTED:
        return ma_oauth_fail(ctx, 403, "invalid_grant", "MFA Authorization rejected.");
    case MA_SIGNIN_NO_FACTOR:
    case MA_SIGNIN_WRONG:
    case MA_SIGNIN_OK:
        break;
    }
    return ma_oauth_fail(ctx, 403, "invalid_grant", wrong);
}

int ma_oauth_flow_limit(struct ma_ctx *ctx)
{
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_FLOW, ma_addr_key(&ctx->req.client),
                  ctx->conf->rate_limit.enabled ? MA_FLOWS_PER_MINUTE : 0, 60000, ctx->now_ms, &s);
    if (s.allowed)
        return MA_OK;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many sign-ins were begun from this address.", s.retry_after_s);
}

/* SPDX-License-Identifier: Apache-2.0
 * What users who are about to be deleted may still sign in for: to keep their account at the API, and nothing else.
 */
#include "login_int.h"

#define KEEP_SCOPE "delete:me:account"

/* A token of this API that can do nothing but what only the way back takes. */
static bool only_keeps(const struct ma_granted *g)
{
    struct ma_span rest = g->scope, word;
    bool keeps = false;
    while (ma_scope_next(&rest, &word)) {
        if (ma_span_eq_str(word, KEEP_SCOPE))
            keeps = true;
        else if (!ma_span_eq_str(word, "openid"))
            return false;
    }
    return g->is_api && keeps;
}

bool ma_leaving_stops(const struct ma_ctx *ctx, const struct ma_user *u, const struct ma_granted *g)
{
    return ma_user_is_leaving(u) && !(ma_user_may_return(u, ctx->now_ms) && only_keeps(g));
}

int ma_refuse_leaving(struct ma_ctx *ctx, const struct ma_user *u, const struct ma_granted *g)
{
    if (!ma_leaving_stops(ctx, u, g))
        return MA_OK;
    return ma_oauth_fail(ctx, 403, "access_denied",
                         ma_user_may_return(u, ctx->now_ms)
                             ? "The account is about to be deleted. Sign in on the hosted page to keep it."
                             : "The account is deleted.");
}

/* SPDX-License-Identifier: Apache-2.0
 * Cross-origin rules (Fetch standard §3.2): a preflight carries no token, so it asks whether any
 * client lends the origin; the request itself asks the token's client.
 */
#include "ma/http.h"

/* What a cross-origin caller may read beside the safelisted headers (wire contract 8). */
#define EXPOSED                                                                                                        \
    "Location, DPoP-Nonce, WWW-Authenticate, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, "                  \
    "X-RateLimit-Reset, x-auth0-error-kind, x-request-id"
#define ALLOWED_HEADERS "Authorization, Content-Type, DPoP, Auth0-Client"
#define PREFLIGHT_AGE "600"

static bool same_origin(const struct ma_ctx *ctx)
{
    return ma_span_eq_str(ctx->req.origin, ma_ctx_origin(ctx));
}

void ma_cors_begin(struct ma_ctx *ctx)
{
    ctx->cors_known =
        ctx->req.origin.p && !same_origin(ctx) && ctx->state && ma_state_any_origin(ctx->state, ctx->req.origin);
}

int ma_cors_check_client(struct ma_ctx *ctx, const struct ma_state_client *client)
{
    if (!ctx->req.origin.p || same_origin(ctx))
        return MA_OK;
    ctx->cors_known = client && ma_state_client_origin(client, ctx->req.origin);
    if (ctx->cors_known)
        return MA_OK;
    return ma_problem(ctx, MA_P_FORBIDDEN, "Origin is not in the Allowed Origins list for the specified application");
}

static const char *allow_headers(struct ma_ctx *ctx)
{
    const struct ma_conf_strlist *extra = &ctx->conf->cors.headers;
    const char *text = ALLOWED_HEADERS;
    for (size_t i = 0; i < extra->n && text; i++)
        text = ma_arena_printf(ctx->arena, "%s, %s", text, extra->v[i]);
    return text;
}

void ma_cors_preflight(struct ma_ctx *ctx, unsigned allow)
{
    (void)ma_reply_empty(ctx, 204);
    ma_header(ctx, "Allow", ma_allow_text(ctx->arena, allow));
    if (!ctx->cors_known)
        return;
    ma_header(ctx, "Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE, OPTIONS");
    ma_header(ctx, "Access-Control-Allow-Headers", allow_headers(ctx));
    ma_header(ctx, "Access-Control-Max-Age", PREFLIGHT_AGE);
}

void ma_cors_finish(struct ma_ctx *ctx)
{
    ma_header(ctx, "Vary", "Origin");
    if (ctx->cors_public) {
        ma_header(ctx, "Access-Control-Allow-Origin", "*");
        ma_header(ctx, "Access-Control-Expose-Headers", "ETag");
        return;
    }
    if (!ctx->cors_known)
        return;
    ma_header(ctx, "Access-Control-Allow-Origin", (const char *)ctx->req.origin.p);
    if (ctx->req.verb != MA_OPTIONS)
        ma_header(ctx, "Access-Control-Expose-Headers", EXPOSED);
}

/* SPDX-License-Identifier: Apache-2.0
 * What the daemon says about itself: its public keys, its errors, its health.
 */
#include "int.h"
#include "ma/app.h"
#include "ma/web.h"

static int text(struct ma_ctx *ctx, int status, const char *type, struct ma_span body)
{
    struct ma_jw w;
    ma_reply_json(ctx, status, &w);
    ctx->resp.content_type = type;
    ma_jw_raw(&w, body);
    return ma_reply_end(ctx);
}

int ma_op_jwks(struct ma_ctx *ctx)
{
    struct ma_span keys;
    int r = ma_jose_jwks(ctx->app->jose, ctx->arena, &keys);
    if (r == MA_OK)
        r = text(ctx, 200, "application/json; charset=utf-8", keys);
    /* Short enough that a new key is known before it signs for long. */
    ma_header(ctx, "Cache-Control", "public, max-age=300");
    return r;
}

int ma_op_explain_error(struct ma_ctx *ctx)
{
    const struct ma_problem_def *d = ma_problem_find(ctx->req.params[0]);
    if (!d)
        return ma_problem(ctx, MA_P_NOT_FOUND, "There is no error with this code.");
    const char *title = ma_arena_printf(ctx->arena, "%s: %s", d->code, d->title);
    const char *body = ma_arena_printf(ctx->arena, "HTTP status %d. %s", d->status, d->help);
    return title && body ? ma_page(ctx, 200, title, body) : MA_E_NOMEM;
}

static int health(struct ma_ctx *ctx, const char *fault)
{
    struct ma_jw w;
    ma_reply_json(ctx, fault ? 503 : 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "status", fault ? "unavailable" : "ok");
    if (fault)
        ma_jw_kcstr(&w, "reason", fault);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "no-store");
    return ma_reply_end(ctx);
}

int ma_op_health_live(struct ma_ctx *ctx)
{
    return health(ctx, NULL);
}

int ma_op_health_ready(struct ma_ctx *ctx)
{
    return health(ctx, ma_app_not_ready(ctx->app, ctx->db));
}

int ma_op_metrics(struct ma_ctx *ctx)
{
    struct ma_jw w;
    MA_CLEANUP(ma_buf_free) struct ma_buf text;
    ma_buf_init(&text, MA_METRICS_TEXT_MAX);
    int r = ma_app_metrics_text(ctx->app, ctx->db, &text);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ctx->resp.content_type = MA_METRICS_TYPE;
    ma_buf_init_arena(&ctx->resp.body, ctx->arena, text.n, MA_METRICS_TEXT_MAX);
    ma_buf_span(&ctx->resp.body, ma_buf_view(&text));
    ma_header(ctx, "Cache-Control", "no-store");
    return ma_reply_end(ctx);
}

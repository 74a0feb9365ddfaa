/* SPDX-License-Identifier: Apache-2.0
 * What the daemon says about itself: its public keys, its errors, its health.
 */
#include "int.h"
#include "ma/app.h"
#include "ma/codec.h"

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

/* The catalogue is ours, but its texts speak of <token> and the like. */
static const char *html(struct ma_arena *a, const char *text)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 512, 8192);
    for (; *text; text++) {
        if (*text == '<')
            ma_buf_str(&b, "&lt;");
        else if (*text == '>')
            ma_buf_str(&b, "&gt;");
        else if (*text == '&')
            ma_buf_str(&b, "&amp;");
        else
            ma_buf_byte(&b, (uint8_t)*text);
    }
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) < 0 ? "" : (const char *)b.p;
}

int ma_op_explain_error(struct ma_ctx *ctx)
{
    const struct ma_problem_def *d = ma_problem_find(ctx->req.params[0]);
    if (!d)
        return ma_problem(ctx, MA_P_NOT_FOUND, "There is no error with this code.");
    const char *page = ma_arena_printf(
        ctx->arena,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>%s %s</title><h1>%s</h1><p><code>%s</code>, HTTP status %d</p>"
        "<p>%s</p></html>\n",
        d->code, d->title, d->title, d->code, d->status, html(ctx->arena, d->help));
    if (!page)
        return MA_E_NOMEM;
    int r = text(ctx, 200, "text/html; charset=utf-8", ma_span_str(page));
    ma_header(ctx, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    return r;
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

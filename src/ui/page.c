/* SPDX-License-Identifier: Apache-2.0
 * /account: the files of the page, what the page has to know, and QR codes.
 */
#include "int.h"

#include "ma/app.h"
#include "ma/dpop.h"
#include "ma/limit.h"
#include "ma/qr.h"
#include "ma/web.h"

enum { QR_PER_MINUTE = 60, QUIET_ZONE = 4 };

/* The issuer that the page signs in at, with the slash at its end. */
static const char *issuer(struct ma_ctx *ctx)
{
    const char *other = ctx->conf->account_page.issuer;
    return other[0] ? other : ma_arena_printf(ctx->arena, "%s/", ma_ctx_origin(ctx));
}

/* Scripts, styles, pictures and calls of this origin alone; calls to the issuer, where that is another. The page builds
 * its elements itself: no text becomes markup (Trusted Types). Pictures in memory are QR codes. */
static const char *policy(struct ma_ctx *ctx)
{
    struct ma_span other = ma_url_origin(ma_span_str(ctx->conf->account_page.issuer));
    return ma_arena_printf(ctx->arena,
                           "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
                           "font-src 'self'; connect-src 'self'%s%.*s; form-action 'none'; base-uri 'none'; "
                           "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
                           other.n ? " " : "", (int)other.n, (const char *)other.p);
}

static void put_headers(struct ma_ctx *ctx)
{
    ma_header(ctx, "Content-Security-Policy", policy(ctx));
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    ma_header(ctx, "X-Frame-Options", "DENY");
    ma_header(ctx, "Referrer-Policy", "no-referrer");
    ma_header(ctx, "Cross-Origin-Opener-Policy", "same-origin-allow-popups");
    ma_header(ctx, "Permissions-Policy",
              "camera=(), microphone=(), geolocation=(), payment=(), usb=(), publickey-credentials-create=(self), "
              "publickey-credentials-get=(self)");
}

static int put_file(struct ma_ctx *ctx, const struct ma_ui_file *f)
{
    bool gzip = f->gzip.p && ma_ui_takes_gzip(ctx->req.accept_encoding);
    const char *tag = ma_arena_printf(ctx->arena, gzip ? "%s-gz" : "%s", f->tag);
    const char *quoted = tag ? ma_arena_printf(ctx->arena, "\"%s\"", tag) : NULL;
    struct ma_jw w;
    if (!quoted)
        return MA_E_NOMEM;
    bool same = ma_ui_unchanged(ctx->req.if_none_match, tag);
    if (same)
        (void)ma_reply_empty(ctx, 304);
    else
        ma_reply_json(ctx, 200, &w);
    put_headers(ctx);
    ma_header(ctx, "ETag", quoted);
    ma_header(ctx, "Vary", "Accept-Encoding");
    ma_header(ctx, "Cache-Control", "no-cache");
    if (same)
        return MA_OK;
    ctx->resp.content_type = f->type;
    if (gzip)
        ma_header(ctx, "Content-Encoding", "gzip");
    ma_buf_span(&ctx->resp.body, gzip ? f->gzip : f->plain);
    return ma_reply_end(ctx);
}

int ma_op_account_page(struct ma_ctx *ctx)
{
    const struct ma_ui_file *f = ma_ui_find(ctx->app->ui, MA_LIT("index.html"));
    return f ? put_file(ctx, f) : MA_E_NOTFOUND;
}

/* RFC 9449 §8.2: with the nonce at hand the first exchange needs no second try. */
static void put_nonce(struct ma_ctx *ctx)
{
    char *nonce = ma_arena_alloc(ctx->arena, MA_DPOP_NONCE_LEN + 1);
    if (nonce && ma_dpop_nonce(ctx->app->dpop, ctx->now_ms, nonce) == MA_OK)
        ma_header(ctx, "DPoP-Nonce", nonce);
}

/* What the page has to know before anybody has signed in. "ready" tells that the client is there. */
static int put_config(struct ma_ctx *ctx)
{
    const char *client_id = ctx->conf->account_page.client_id, *own = issuer(ctx);
    const char *api = ma_arena_printf(ctx->arena, "%s/me/", ma_ctx_origin(ctx));
    bool foreign = ctx->conf->account_page.issuer[0] != '\0';
    struct ma_jw w;
    if (!own || !api)
        return MA_E_NOMEM;
    ma_reply_json(ctx, 200, &w);
    put_headers(ctx);
    ma_header(ctx, "Cache-Control", "no-store");
    put_nonce(ctx);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "issuer", own);
    ma_jw_kcstr(&w, "client_id", client_id);
    ma_jw_kcstr(&w, "audience", api);
    ma_jw_kstr(&w, "tenant", ctx->state->tenant.friendly_name);
    ma_jw_kbool(&w, "ready",
                foreign || (ctx->conf->token_service && ma_state_client(ctx->state, ma_span_str(client_id))));
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_account_file(struct ma_ctx *ctx)
{
    struct ma_span name = ctx->req.params[0];
    if (ma_span_eq_str(name, "config.json"))
        return put_config(ctx);
    const struct ma_ui_file *f = ma_ui_find(ctx->app->ui, name);
    return f ? put_file(ctx, f) : ma_page(ctx, 404, "Not found", "There is no such file.");
}

/* --- QR codes --- */

static void put_svg(struct ma_buf *b, const struct ma_qr *qr)
{
    int side = qr->size + 2 * QUIET_ZONE;
    ma_buf_printf(b,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">"
                  "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
                  side, side, side, side);
    for (int y = 0; y < qr->size; y++) {
        for (int x = 0, n; x<qr->size; x += n> 0 ? n : 1) {
            for (n = 0; x + n < qr->size && ma_qr_dark(qr, x + n, y);)
                n++;
            if (n > 0)
                ma_buf_printf(b, "M%d %dh%dv1h-%dz", x + QUIET_ZONE, y + QUIET_ZONE, n, n);
        }
    }
    ma_buf_str(b, "\"/></svg>\n");
}

/* A page of another origin has nothing to draw here. */
static bool own_origin(const struct ma_ctx *ctx)
{
    return ma_span_eq_str(ctx->req.origin, ma_ctx_origin(ctx));
}

int ma_op_account_qr(struct ma_ctx *ctx)
{
    struct ma_limit_state s;
    struct ma_qr qr;
    struct ma_jw w;
    struct ma_span text = ma_buf_view(&ctx->req.body);
    ma_limit_take(ctx->app->limits, MA_BUCKET_QR, ma_addr_key(&ctx->req.client), QR_PER_MINUTE, 60000, ctx->now_ms, &s);
    if (!s.allowed)
        return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many pictures were asked for. Try again in a minute.",
                                s.retry_after_s);
    if (!own_origin(ctx))
        return ma_problem(ctx, MA_P_FORBIDDEN, "Only the account page of this origin asks for pictures.");
    int r = text.n > MA_UI_QR_MAX ? MA_E_RANGE : ma_qr_encode(ctx->arena, text, &qr);
    if (r == MA_E_INVAL || r == MA_E_RANGE)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "The body is the text of the picture: 1 to 1024 bytes.");
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 200, &w);
    put_headers(ctx);
    ma_header(ctx, "Cache-Control", "no-store");
    ctx->resp.content_type = "image/svg+xml";
    put_svg(&ctx->resp.body, &qr);
    return ma_reply_end(ctx);
}

/* --- routes --- */

static const struct ma_route routes[] = {
    {MA_GET, "/account", "accountPage", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_account_page,
     MA_STYLE_PAGE},
    {MA_GET, "/account/{name}", "accountFile", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_account_file,
     MA_STYLE_PAGE},
    {MA_POST, "/account/qr", "accountQr", MA_PUBLIC, MA_LANE_READ, 2 * MA_UI_QR_MAX, MA_RATE_NONE, NULL,
     ma_op_account_qr, MA_STYLE_PAGE},
};

const struct ma_route *ma_ui_routes(size_t *ret_n)
{
    *ret_n = MA_COUNT(routes);
    return routes;
}

/* SPDX-License-Identifier: Apache-2.0
 * The two files of the pages, served under names that hold their hash; and the head that every page shares.
 */
#include "ma/web.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/embed.h"

enum { TAG_BYTES = 8 };

MA_EMBED(ma_page_css, "conf/pages/login.css");
MA_EMBED(ma_page_js, "conf/pages/login.js");

static const struct asset {
    const char *suffix, *type;
    const uint8_t *start, *end;
} css = {".css", "text/css; charset=utf-8", ma_page_css_start, ma_page_css_end},
  js = {".js", "text/javascript; charset=utf-8", ma_page_js_start, ma_page_js_end};

static struct ma_span content(const struct asset *a)
{
    return ma_span_of(a->start, (size_t)(a->end - a->start));
}

/* "login.<hash>.css": a changed file has another name, so that caches may keep it for good. arena. */
static const char *asset_name(struct ma_ctx *ctx, const struct asset *a)
{
    uint8_t digest[MA_SHA256_LEN];
    char tag[TAG_BYTES * 2 + 1];
    if (ma_sha256(content(a), digest) < 0)
        return NULL;
    ma_hex_encode(ma_span_of(digest, TAG_BYTES), tag);
    return ma_arena_printf(ctx->arena, "login.%s%s", tag, a->suffix);
}

int ma_op_page_asset(struct ma_ctx *ctx)
{
    const struct asset *const assets[] = {&css, &js};
    struct ma_jw w;
    for (size_t i = 0; i < MA_COUNT(assets); i++) {
        const char *name = asset_name(ctx, assets[i]);
        if (!name)
            return MA_E_NOMEM;
        if (!ma_span_eq_str(ctx->req.params[0], name))
            continue;
        ma_reply_json(ctx, 200, &w);
        ctx->resp.content_type = assets[i]->type;
        ma_header(ctx, "Cache-Control", "public, max-age=31536000, immutable");
        ma_header(ctx, "X-Content-Type-Options", "nosniff");
        ma_header(ctx, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        ma_buf_span(&ctx->resp.body, content(assets[i]));
        return ma_reply_end(ctx);
    }
    return ma_page(ctx, 404, "Not found", "There is no such file.");
}

void ma_page_headers(struct ma_ctx *ctx, const char *form_action, enum ma_page_script script)
{
    ma_header(ctx, "Content-Security-Policy",
              ma_arena_printf(ctx->arena,
                              "default-src 'none'; style-src 'self'; img-src data:; %sform-action %s; "
                              "base-uri 'none'; frame-ancestors 'none'",
                              script == MA_PAGE_POLLS    ? "script-src 'self'; connect-src 'self'; "
                              : script == MA_PAGE_SCRIPT ? "script-src 'self'; "
                                                         : "",
                              form_action ? form_action : "'none'"));
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    ma_header(ctx, "X-Frame-Options", "DENY");
    /* "no-referrer" makes browsers send "Origin: null" with our own forms. */
    ma_header(ctx, "Referrer-Policy", form_action ? "same-origin" : "no-referrer");
    ma_header(ctx, "Cache-Control", "no-store");
}

void ma_page_head(struct ma_ctx *ctx, struct ma_buf *b, const char *title, enum ma_page_script script)
{
    const char *style_name = asset_name(ctx, &css), *script_name = script ? asset_name(ctx, &js) : "";
    if (!style_name || !script_name) {
        b->err = MA_E_NOMEM;
        return;
    }
    ma_buf_str(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                  "<meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">");
    ma_buf_printf(b, "<link rel=\"stylesheet\" href=\"/u/assets/%s\">", style_name);
    if (script)
        ma_buf_printf(b, "<script defer src=\"/u/assets/%s\"></script>", script_name);
    ma_buf_str(b, "<title>");
    ma_html_escape(b, ma_span_str(title));
    ma_buf_str(b, "</title></head><body><main><h1>");
    ma_html_escape(b, ma_span_str(title));
    ma_buf_str(b, "</h1>\n");
}

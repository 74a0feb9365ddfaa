/* SPDX-License-Identifier: Apache-2.0
 * The frame of every hosted page: head, policy, forms; and its two files, served under names that hold their hash.
 */
#include "login_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

enum { TAG_BYTES = 8 };
/* RFC 3986 §3.1, and the colon */
#define SCHEME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:"

/* The assembler reads the file, relative to the root of the repository. */
#define EMBED(symbol, path)                                                                                            \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".balign 16\n" #symbol "_start:\n"                                                                         \
            ".incbin \"" path "\"\n" #symbol "_end:\n"                                                                 \
            ".byte 0\n"                                                                                                \
            ".popsection\n");                                                                                          \
    extern const uint8_t symbol##_start[] __attribute__((visibility("hidden")));                                       \
    extern const uint8_t symbol##_end[] __attribute__((visibility("hidden")))

EMBED(ma_page_css, "conf/pages/login.css");
EMBED(ma_page_js, "conf/pages/login.js");

static const struct asset {
    const char *suffix, *type;
    const uint8_t *start, *end;
} assets[] = {
    {".css", "text/css; charset=utf-8", ma_page_css_start, ma_page_css_end},
    {".js", "text/javascript; charset=utf-8", ma_page_js_start, ma_page_js_end},
};

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

int ma_op_login_asset(struct ma_ctx *ctx)
{
    struct ma_jw w;
    for (size_t i = 0; i < MA_COUNT(assets); i++) {
        const char *name = asset_name(ctx, &assets[i]);
        if (!name)
            return MA_E_NOMEM;
        if (!ma_span_eq_str(ctx->req.params[0], name))
            continue;
        ma_reply_json(ctx, 200, &w);
        ctx->resp.content_type = assets[i].type;
        ma_header(ctx, "Cache-Control", "public, max-age=31536000, immutable");
        ma_header(ctx, "X-Content-Type-Options", "nosniff");
        ma_header(ctx, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        ma_buf_span(&ctx->resp.body, content(&assets[i]));
        return ma_reply_end(ctx);
    }
    return ma_page(ctx, 404, "Not found", "There is no such file.");
}

/* --- where forms may lead --- */

/* Chromium holds every redirect after a form against form-action. What leads to a web page is therefore never a
 * redirect (see ma_onward); an app's own scheme has to be one, since browsers open apps only where a person acted. */
const char *ma_form_targets(struct ma_ctx *ctx, struct ma_span redirect_uri)
{
    const uint8_t *colon = redirect_uri.n ? memchr(redirect_uri.p, ':', redirect_uri.n) : NULL;
    if (!colon || ma_url_origin(redirect_uri).p)
        return "";
    const char *text =
        ma_arena_printf(ctx->arena, " %.*s:", (int)(colon - redirect_uri.p), (const char *)redirect_uri.p);
    return text && strspn(text + 1, SCHEME_CHARACTERS) == strlen(text + 1) ? text : "";
}

int ma_onward(struct ma_ctx *ctx, const char *title, const char *url)
{
    struct ma_html h;
    if (!url)
        return MA_E_NOMEM;
    if (!ma_url_origin(ma_span_str(url)).p)
        return ma_redirect(ctx, url);
    ma_html_begin(&h, ctx, 200, title, "", false);
    ma_html_raw(&h, "<meta http-equiv=\"refresh\" content=\"0;url=");
    ma_html_text(&h, ma_span_str(url));
    ma_html_raw(&h, "\">\n<p><a href=\"");
    ma_html_text(&h, ma_span_str(url));
    ma_html_raw(&h, "\">Continue</a></p>\n");
    return ma_html_end(&h);
}

/* --- the page --- */

static void headers(struct ma_ctx *ctx, const char *form_targets, bool script)
{
    ma_header(ctx, "Content-Security-Policy",
              ma_arena_printf(ctx->arena,
                              "default-src 'none'; style-src 'self'; img-src data:; %sform-action 'self'%s; "
                              "base-uri 'none'; frame-ancestors 'none'",
                              script ? "script-src 'self'; " : "", form_targets));
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    ma_header(ctx, "X-Frame-Options", "DENY");
    /* Not "no-referrer": that makes browsers send "Origin: null" with our own forms. */
    ma_header(ctx, "Referrer-Policy", "same-origin");
    ma_header(ctx, "Cache-Control", "no-store");
}

static void head(struct ma_html *h, const char *title, bool script)
{
    ma_html_raw(h, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                   "<meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">"
                   "<link rel=\"stylesheet\" href=\"/u/assets/");
    ma_html_text(h, ma_span_str(asset_name(h->ctx, &assets[0])));
    if (script) {
        ma_html_raw(h, "\"><script defer src=\"/u/assets/");
        ma_html_text(h, ma_span_str(asset_name(h->ctx, &assets[1])));
        ma_html_raw(h, "\"></script><title>");
    } else {
        ma_html_raw(h, "\"><title>");
    }
    ma_html_text(h, ma_span_str(title));
    ma_html_raw(h, "</title></head>\n<body><main><h1>");
    ma_html_text(h, ma_span_str(title));
    ma_html_raw(h, "</h1>\n");
}

void ma_html_begin(struct ma_html *h, struct ma_ctx *ctx, int status, const char *title, const char *form_targets,
                   bool script)
{
    struct ma_jw w;
    ma_reply_json(ctx, status, &w);
    ctx->resp.content_type = "text/html; charset=utf-8";
    *h = (struct ma_html){ctx, &ctx->resp.body};
    headers(ctx, form_targets, script);
    head(h, title, script);
}

int ma_html_end(struct ma_html *h)
{
    ma_html_raw(h, "</main></body></html>\n");
    return ma_reply_end(h->ctx);
}

void ma_html_raw(struct ma_html *h, const char *markup)
{
    ma_buf_str(h->b, markup);
}

void ma_html_text(struct ma_html *h, struct ma_span text)
{
    ma_html_escape(h->b, text);
}

void ma_html_para(struct ma_html *h, const char *css, const char *text)
{
    ma_buf_printf(h->b, "<p%s%s%s>", css ? " class=\"" : "", css ? css : "", css ? "\"" : "");
    ma_html_text(h, ma_span_str(text));
    ma_html_raw(h, "</p>\n");
}

void ma_html_hidden(struct ma_html *h, const char *name, struct ma_span value)
{
    ma_buf_printf(h->b, "<input type=\"hidden\" name=\"%s\" value=\"", name);
    ma_html_text(h, value);
    ma_html_raw(h, "\">");
}

void ma_html_form(struct ma_html *h, const struct ma_login *l, const char *action, const char *css,
                  const char *attributes)
{
    ma_buf_printf(h->b, "<form method=\"post\" action=\"/u/login\"%s%s%s%s>", css ? " class=\"" : "", css ? css : "",
                  css ? "\"" : "", attributes ? attributes : "");
    ma_html_hidden(h, "state", ma_span_str(l->token));
    ma_html_hidden(h, "action", ma_span_str(action));
}

void ma_html_submit(struct ma_html *h, const char *text)
{
    ma_html_raw(h, "<button>");
    ma_html_text(h, ma_span_str(text));
    ma_html_raw(h, "</button></form>\n");
}

/* SPDX-License-Identifier: Apache-2.0
 * Cookies, redirects and small pages.
 */
#include "ma/web.h"

#include "ma/codec.h"

/* --- cookies --- */

/* One "name=value" of a Cookie header (RFC 6265 §4.2.1) at *rest, which is moved on. */
static struct ma_span next_pair(struct ma_span *rest)
{
    const uint8_t *semicolon = rest->n ? memchr(rest->p, ';', rest->n) : NULL;
    struct ma_span pair = *rest;
    if (semicolon)
        pair.n = (size_t)(semicolon - rest->p);
    size_t used = semicolon ? pair.n + 1 : pair.n;
    *rest = ma_span_of(rest->p + used, rest->n - used);
    return ma_trim(pair);
}

struct ma_span ma_cookie(const struct ma_ctx *ctx, const char *name)
{
    size_t n = strlen(name);
    for (struct ma_span rest = ctx->req.cookie; rest.n > 0;) {
        struct ma_span pair = next_pair(&rest);
        if (pair.n > n && memcmp(pair.p, name, n) == 0 && pair.p[n] == '=')
            return ma_span_of(pair.p + n + 1, pair.n - n - 1);
    }
    return MA_SPAN_NULL;
}

bool ma_origin_is_https(const struct ma_ctx *ctx)
{
    return strncmp(ma_ctx_origin(ctx), "https://", 8) == 0;
}

void ma_cookie_set(struct ma_ctx *ctx, const char *name, const char *value, int64_t max_age_s)
{
    ma_header(ctx, "Set-Cookie",
              ma_arena_printf(ctx->arena, "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Lax%s", name, value,
                              (long long)max_age_s, ma_origin_is_https(ctx) ? "; Secure" : ""));
}

/* --- URLs and redirects --- */

void ma_query_add(struct ma_buf *url, const char *name, struct ma_span value)
{
    static const char hex[] = "0123456789ABCDEF";
    if (!value.p)
        return;
    const uint8_t *mark = url->n ? memchr(url->p, '?', url->n) : NULL;
    const uint8_t *last = mark ? url->p + url->n - 1 : NULL;
    if (!mark)
        ma_buf_byte(url, '?');
    else if (last != mark && *last != '&')
        ma_buf_byte(url, '&');
    ma_buf_str(url, name);
    ma_buf_byte(url, '=');
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (!plain) {
            ma_buf_byte(url, '%');
            ma_buf_byte(url, (uint8_t)hex[c >> 4]);
        }
        ma_buf_byte(url, plain ? c : (uint8_t)hex[c & 15]);
    }
}

struct ma_span ma_url_origin(struct ma_span url)
{
    size_t start = 0;
    if (url.n > 8 && memcmp(url.p, "https://", 8) == 0)
        start = 8;
    else if (url.n > 7 && memcmp(url.p, "http://", 7) == 0)
        start = 7;
    else
        return MA_SPAN_NULL;
    size_t end = start;
    while (end < url.n && !strchr("/?#", url.p[end]))
        end++;
    return ma_span_of(url.p, end);
}

int ma_redirect(struct ma_ctx *ctx, const char *url)
{
    if (!url)
        return MA_E_NOMEM;
    (void)ma_reply_empty(ctx, 302);
    ma_header(ctx, "Location", url);
    ma_header(ctx, "Cache-Control", "no-store");
    ma_header(ctx, "Referrer-Policy", "no-referrer");
    return MA_OK;
}

/* --- pages --- */

void ma_html_escape(struct ma_buf *b, struct ma_span text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '<':
            ma_buf_str(b, "&lt;");
            break;
        case '>':
            ma_buf_str(b, "&gt;");
            break;
        case '&':
            ma_buf_str(b, "&amp;");
            break;
        case '"':
            ma_buf_str(b, "&quot;");
            break;
        case '\'':
            ma_buf_str(b, "&#39;");
            break;
        default:
            ma_buf_byte(b, text.p[i]);
        }
    }
}

int ma_page(struct ma_ctx *ctx, int status, const char *title, const char *text)
{
    return ma_page_leading(ctx, status, title, text, NULL, NULL);
}

int ma_page_leading(struct ma_ctx *ctx, int status, const char *title, const char *text, const char *url,
                    const char *label)
{
    struct ma_jw w;
    ma_reply_json(ctx, status, &w);
    ctx->resp.content_type = "text/html; charset=utf-8";
    struct ma_buf *b = &ctx->resp.body;
    ma_page_head(ctx, b, title, false);
    ma_buf_str(b, "<p>");
    ma_html_escape(b, ma_span_str(text));
    ma_buf_str(b, "</p>\n");
    if (url) {
        ma_buf_str(b, "<p><a class=\"button\" href=\"");
        ma_html_escape(b, ma_span_str(url));
        ma_buf_str(b, "\">");
        ma_html_escape(b, ma_span_str(label));
        ma_buf_str(b, "</a></p>\n");
    }
    ma_buf_str(b, "</main></body></html>\n");
    ma_page_headers(ctx, NULL, false);
    if (ma_buf_err(b) < 0)
        return ma_buf_err(b);
    return status >= 400 ? MA_E_PROBLEM : MA_OK;
}

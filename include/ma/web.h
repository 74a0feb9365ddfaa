/* SPDX-License-Identifier: Apache-2.0
 * What answers to browsers need: cookies (RFC 6265), redirects, form-encoded text.
 */
#ifndef MA_WEB_H
#define MA_WEB_H

#include "ma/ctx.h"

/* The value of a request cookie; p == NULL when it is not there. Borrowed from the request. */
struct ma_span ma_cookie(const struct ma_ctx *ctx, const char *name);
/* Sets a cookie for the whole host: Path=/, HttpOnly, SameSite=Lax, and Secure where the public origin is https.
 * max_age_s 0 removes it. name and value are tokens. */
void ma_cookie_set(struct ma_ctx *ctx, const char *name, const char *value, int64_t max_age_s);
/* Whether the request came to a public origin with https. */
bool ma_origin_is_https(const struct ma_ctx *ctx);

/* Appends "name=value", percent-encoded, after '?' or '&' as the text so far asks for; nothing when value.p is NULL. */
void ma_query_add(struct ma_buf *url, const char *name, struct ma_span value);
/* Scheme, host and port of an http or https URL; p == NULL for any other. Borrowed from url. */
struct ma_span ma_url_origin(struct ma_span url);
/* 302 to a URL made of trusted parts; never cached, never told as a referrer. MA_OK, or MA_E_NOMEM for NULL. */
MA_MUST_USE int ma_redirect(struct ma_ctx *ctx, const char *url);
/* A small page for a person: title and one paragraph, both escaped here. Always returns MA_E_PROBLEM for errors
 * (status ≥ 400), MA_OK otherwise. */
int ma_page(struct ma_ctx *ctx, int status, const char *title, const char *text);
/* The same with a link that leads on: url is trusted ("" is the page itself: try again), label its text; escaped here.
 * url NULL: no link. */
int ma_page_leading(struct ma_ctx *ctx, int status, const char *title, const char *text, const char *url,
                    const char *label);
/* Appends text with &, <, >, " and ' escaped, fit for element content and quoted attributes. */
void ma_html_escape(struct ma_buf *b, struct ma_span text);
enum ma_page_script {
    MA_PAGE_STILL,  /* no script */
    MA_PAGE_SCRIPT, /* it has the script */
    MA_PAGE_POLLS   /* which asks the daemon now and then */
};
/* The headers every page carries: no framing, no sniffing, no caching, and a policy that allows the style sheet and
 * what `script` says. form_action: the sources of that directive; NULL: the page has no form. */
void ma_page_headers(struct ma_ctx *ctx, const char *form_action, enum ma_page_script script);
/* The start of every page, up to its heading. */
void ma_page_head(struct ma_ctx *ctx, struct ma_buf *b, const char *title, enum ma_page_script script);
/* GET /u/assets/{name}: the style sheet and the script. */
int ma_op_page_asset(struct ma_ctx *ctx);

#endif

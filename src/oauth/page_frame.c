/* SPDX-License-Identifier: Apache-2.0
 * The frame of every hosted page: where its forms may lead, and what they are made of.
 */
#include "login_int.h"

/* RFC 3986 §3.1, and the colon */
#define SCHEME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:"

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

int ma_page_to_app(struct ma_ctx *ctx, int status, const char *title, const char *text,
                   const struct ma_state_client *client, struct ma_span url)
{
    struct ma_span origin = client ? ma_url_origin(url) : MA_SPAN_NULL;
    if (!origin.p)
        return ma_page(ctx, status, title, text);
    struct ma_span name = client->name.n > 0 ? client->name : client->client_id;
    const char *to = ma_arena_printf(ctx->arena, "%.*s/", (int)origin.n, (const char *)origin.p);
    const char *label = ma_arena_printf(ctx->arena, "Go to %.*s", (int)name.n, (const char *)name.p);
    return to && label ? ma_page_leading(ctx, status, title, text, to, label) : MA_E_NOMEM;
}

struct ma_span ma_first_callback(const struct ma_state_client *client)
{
    return client && client->callbacks.n > 0 ? client->callbacks.v[0] : MA_SPAN_NULL;
}

/* --- the page --- */

void ma_html_begin(struct ma_html *h, struct ma_ctx *ctx, int status, const char *title, const char *form_targets,
                   enum ma_page_script script)
{
    struct ma_jw w;
    ma_reply_json(ctx, status, &w);
    ctx->resp.content_type = "text/html; charset=utf-8";
    *h = (struct ma_html){ctx, &ctx->resp.body};
    const char *targets = ma_arena_printf(ctx->arena, "'self'%s", form_targets);
    ma_page_headers(ctx, targets ? targets : "'self'", script);
    ma_page_head(ctx, h->b, title, script);
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

/* SPDX-License-Identifier: Apache-2.0
 * The authorization response (RFC 6749 §4.1.2, RFC 9207) in each of its modes: query, fragment
 * (OAuth 2.0 Multiple Response Types), form_post, and web_message.
 */
#include "login_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

enum { FIELDS_MAX = 5 };

struct field {
    const char *name;
    struct ma_span value; /* p == NULL: left out */
};
struct response {
    const struct ma_authorize_request *req;
    struct field v[FIELDS_MAX];
};

int ma_see_other(struct ma_ctx *ctx, const char *url)
{
    int r = ma_redirect(ctx, url);
    if (r == MA_OK)
        ctx->resp.status = 303; /* RFC 9700 §4.12: the next request is a GET without the form */
    return r;
}

/* --- query and fragment --- */

static int by_url(struct ma_ctx *ctx, const struct response *r, bool fragment)
{
    struct ma_buf url, params;
    ma_buf_init_arena(&url, ctx->arena, 512, MA_LOGIN_URL_MAX);
    ma_buf_init_arena(&params, ctx->arena, 512, MA_LOGIN_URL_MAX);
    struct ma_buf *to = fragment ? &params : &url;
    ma_buf_span(&url, r->req->redirect_uri);
    for (size_t i = 0; i < FIELDS_MAX; i++)
        ma_query_add(to, r->v[i].name, r->v[i].value);
    if (fragment && params.n > 0) {
        ma_buf_byte(&url, '#');
        ma_buf_put(&url, params.p + 1, params.n - 1); /* without its '?' */
    }
    ma_buf_byte(&url, 0);
    int err = ma_buf_err(&params) < 0 ? ma_buf_err(&params) : ma_buf_err(&url);
    if (err < 0)
        return err;
    /* The browser came here by a form, unless this is /authorize itself. */
    return ctx->route && ctx->route->fn == ma_op_login_page ? ma_onward(ctx, "Signing you in", (const char *)url.p)
                                                            : ma_redirect(ctx, (const char *)url.p);
}

/* --- pages --- */

/* Their scripts never change: what differs stands in the page as data, and the policy names the script by its hash. */
static const char POST_SCRIPT[] = "document.forms[0].submit()";
static const char MESSAGE_SCRIPT[] = "(()=>{const d=JSON.parse(document.getElementById('m').textContent),"
                                     "w=window.opener||window.parent;"
                                     "if(w&&w!==window)w.postMessage(d.message,d.target)})()";

/* CSP Level 3 §2.3.1: 'sha256-<base64>'. arena. */
static const char *script_source(struct ma_ctx *ctx, const char *script)
{
    uint8_t digest[MA_SHA256_LEN];
    char text[MA_B64_LEN(MA_SHA256_LEN) + 1];
    if (ma_sha256(ma_span_str(script), digest) < 0)
        return NULL;
    ma_b64_encode(ma_span_of(digest, sizeof digest), text);
    return ma_arena_printf(ctx->arena, "'sha256-%s'", text);
}

static void begin_page(struct ma_ctx *ctx, const char *script, const char *more_policy)
{
    struct ma_jw w;
    const char *source = script_source(ctx, script);
    ma_reply_json(ctx, 200, &w);
    ctx->resp.content_type = "text/html; charset=utf-8";
    ma_header(ctx, "Content-Security-Policy",
              source && more_policy
                  ? ma_arena_printf(ctx->arena, "default-src 'none'; base-uri 'none'; img-src data:; script-src %s; %s",
                                    source, more_policy)
                  : "default-src 'none'; frame-ancestors 'none'");
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    ma_header(ctx, "Referrer-Policy", "no-referrer");
    ma_header(ctx, "Cache-Control", "no-store");
    ma_buf_str(&ctx->resp.body, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                                "<meta name=\"viewport\" content=\"width=device-width\">"
                                "<link rel=\"icon\" href=\"data:,\"><title>Signing in</title></head><body>");
}

static int end_page(struct ma_ctx *ctx, const char *script)
{
    struct ma_buf *b = &ctx->resp.body;
    ma_buf_str(b, "<script>");
    ma_buf_str(b, script);
    ma_buf_str(b, "</script></body></html>\n");
    return ma_reply_end(ctx);
}

/* OAuth 2.0 Form Post Response Mode. No form-action: the client may redirect to another origin of its own, which it
 * would hold up, and nothing but this one form stands here. */
static int by_form(struct ma_ctx *ctx, const struct response *r)
{
    begin_page(ctx, POST_SCRIPT, "frame-ancestors 'none'");
    struct ma_buf *b = &ctx->resp.body;
    ma_buf_str(b, "<form method=\"post\" action=\"");
    ma_html_escape(b, r->req->redirect_uri);
    ma_buf_str(b, "\">");
    for (size_t i = 0; i < FIELDS_MAX; i++) {
        if (!r->v[i].value.p)
            continue;
        ma_buf_printf(b, "<input type=\"hidden\" name=\"%s\" value=\"", r->v[i].name);
        ma_html_escape(b, r->v[i].value);
        ma_buf_str(b, "\">");
    }
    ma_buf_str(b, "<button>Continue</button></form>");
    return end_page(ctx, POST_SCRIPT);
}

/* JSON inside a script element must not end it. */
static void put_json_safely(struct ma_buf *b, struct ma_span json)
{
    for (size_t i = 0; i < json.n; i++)
        if (json.p[i] == '<' || json.p[i] == '>' || json.p[i] == '&')
            ma_buf_printf(b, "\\u%04x", (unsigned)json.p[i]);
        else
            ma_buf_byte(b, json.p[i]);
}

static int message_json(struct ma_ctx *ctx, const struct response *r, struct ma_span origin, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 512, MA_LOGIN_URL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "target", origin);
    ma_jw_key(&w, "message");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "type", "authorization_response");
    ma_jw_key(&w, "response");
    ma_jw_obj(&w);
    for (size_t i = 0; i < FIELDS_MAX; i++)
        if (r->v[i].value.p)
            ma_jw_kstr(&w, r->v[i].name, r->v[i].value);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* The only page here that may stand in a frame, and only in one of the origin that hears the message. */
static int by_message(struct ma_ctx *ctx, const struct response *r)
{
    struct ma_span json, origin = ma_url_origin(r->req->redirect_uri);
    int err = message_json(ctx, r, origin, &json);
    if (err < 0)
        return err;
    begin_page(ctx, MESSAGE_SCRIPT,
               ma_arena_printf(ctx->arena, "frame-ancestors %.*s", (int)origin.n, (const char *)origin.p));
    ma_buf_str(&ctx->resp.body, "<p>You can close this window.</p><script type=\"application/json\" id=\"m\">");
    put_json_safely(&ctx->resp.body, json);
    ma_buf_str(&ctx->resp.body, "</script>");
    return end_page(ctx, MESSAGE_SCRIPT);
}

static int respond(struct ma_ctx *ctx, const struct response *r)
{
    switch (r->req->mode) {
    case MA_MODE_FORM_POST:
        return by_form(ctx, r);
    case MA_MODE_WEB_MESSAGE:
        return by_message(ctx, r);
    case MA_MODE_FRAGMENT:
        return by_url(ctx, r, true);
    case MA_MODE_QUERY:
    default:
        return by_url(ctx, r, false);
    }
}

/* RFC 9207 §2: the issuer, so that a client never takes one server's answer for another's. */
static struct ma_span issuer(struct ma_ctx *ctx)
{
    return ma_span_str(ma_arena_printf(ctx->arena, "%s/", ma_ctx_origin(ctx)));
}

int ma_respond_code(struct ma_ctx *ctx, const struct ma_authorize_request *req, const char *code)
{
    struct response r = {
        req,
        {{"code", ma_span_str(code)}, {"state", req->state}, {"iss", issuer(ctx)}},
    };
    return r.v[2].value.p ? respond(ctx, &r) : MA_E_NOMEM;
}

int ma_respond_error(struct ma_ctx *ctx, const struct ma_authorize_request *req, const char *error,
                     const char *description)
{
    struct response r = {
        req,
        {{"error", ma_span_str(error)},
         {"error_description", ma_span_str(description)},
         {"state", req->state},
         {"iss", issuer(ctx)}},
    };
    return r.v[3].value.p ? respond(ctx, &r) : MA_E_NOMEM;
}

/* SPDX-License-Identifier: Apache-2.0
 * Ending the browser's session: /v2/logout, and /oidc/logout (OpenID Connect RP-Initiated Logout 1.0). Refresh tokens
 * live on: they were given for when the user is away.
 */
#include "login_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

struct logout {
    struct ma_span id_token_hint, client_id, post_logout_redirect_uri, state, confirm, return_to;
    const struct ma_state_client *client;
    struct ma_span hint_sub; /* p == NULL: no good hint */
    const char *url;         /* where to go then; NULL: a page */
};

/* --- where to go --- */

static struct ma_span without_query(struct ma_span url)
{
    size_t n = 0;
    while (n < url.n && url.p[n] != '?' && url.p[n] != '#')
        n++;
    return ma_span_of(url.p, n);
}

/* As the hosted vendor does for returnTo: query and fragment are the application's own. */
static bool is_listed_loosely(const struct ma_span_list *list, struct ma_span url)
{
    for (size_t i = 0; i < list->n; i++)
        if (ma_span_eq(without_query(list->v[i]), without_query(url)))
            return true;
    return false;
}

static bool has_control(struct ma_span url)
{
    for (size_t i = 0; i < url.n; i++)
        if (url.p[i] <= 0x20 || url.p[i] >= 0x7f)
            return true;
    return false;
}

static const struct ma_span_list *allow_list(struct ma_ctx *ctx, const struct logout *o)
{
    return o->client ? &o->client->allowed_logout_urls : &ctx->state->tenant.allowed_logout_urls;
}

static int refuse_url(struct ma_ctx *ctx, const char *name)
{
    return ma_page(ctx, 400, "This sign-out request is not valid",
                   ma_arena_printf(ctx->arena, "The %s is not among the allowed logout URLs.", name));
}

static int unknown_client(struct ma_ctx *ctx)
{
    return ma_page(ctx, 400, "This sign-out request is not valid", "There is no application with this client_id.");
}

static int find_client(struct ma_ctx *ctx, struct logout *o)
{
    if (o->client_id.n == 0)
        return MA_OK;
    o->client = ma_state_client(ctx->state, o->client_id);
    if (!o->client)
        return unknown_client(ctx);
    ctx->who.client_id = o->client->client_id;
    return MA_OK;
}

/* --- ending --- */

static int leave(struct ma_ctx *ctx, const struct logout *o)
{
    int r = !o->url ? ma_page_to_app(ctx, 200, "You are signed out", "You can close this window.", o->client,
                                     ma_first_callback(o->client))
            : ctx->req.verb == MA_POST ? ma_onward(ctx, "You are signed out", o->url)
                                       : ma_redirect(ctx, o->url);
    if (r == MA_OK)
        ma_browser_session_cookie(ctx, NULL);
    return r;
}

static int end(struct ma_ctx *ctx)
{
    struct logout *o = ctx->scratch;
    struct ma_session s;
    int r = ma_browser_session(ctx, &s);
    if (r == MA_E_NOTFOUND)
        return leave(ctx, o);
    if (r == MA_OK)
        r = ma_browser_session_end(ctx, &s);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "slo", s.user_id, o->client ? o->client->client_id : MA_SPAN_NULL, MA_LIT(""));
    return r == MA_OK ? leave(ctx, o) : r;
}

/* --- /v2/logout --- */

int ma_op_logout(struct ma_ctx *ctx)
{
    struct logout *o = ma_arena_zalloc(ctx->arena, sizeof *o);
    if (!o)
        return MA_E_NOMEM;
    ctx->scratch = o;
    o->client_id = ma_query(ctx, "client_id");
    o->return_to = ma_query(ctx, "returnTo");
    int r = find_client(ctx, o);
    if (r < 0)
        return r;
    const struct ma_span_list *list = allow_list(ctx, o);
    struct ma_span to = o->return_to.n > 0 ? o->return_to : list->n > 0 ? list->v[0] : MA_SPAN_NULL;
    if (to.n > 0 && (has_control(to) || !is_listed_loosely(list, to)))
        return refuse_url(ctx, "returnTo");
    o->url = to.n > 0 ? ma_arena_strdup(ctx->arena, to) : NULL;
    return ma_next(ctx, MA_LANE_WRITE, end);
}

/* --- /oidc/logout --- */

static const struct {
    const char *name;
    size_t off;
} params[] = {
    {"id_token_hint", offsetof(struct logout, id_token_hint)},
    {"client_id", offsetof(struct logout, client_id)},
    {"post_logout_redirect_uri", offsetof(struct logout, post_logout_redirect_uri)},
    {"state", offsetof(struct logout, state)},
    {"confirm", offsetof(struct logout, confirm)},
};

static struct ma_span *slot(struct logout *o, size_t i)
{
    return (struct ma_span *)(void *)((char *)o + params[i].off);
}

static void take(struct logout *o, struct ma_span name, struct ma_span value)
{
    for (size_t i = 0; i < MA_COUNT(params); i++)
        if (ma_span_eq_str(name, params[i].name) && value.n > 0 && !slot(o, i)->p)
            *slot(o, i) = value;
}

static int read_params(struct ma_ctx *ctx, struct logout *o)
{
    struct ma_span rest = ma_buf_view(&ctx->req.body), name, value;
    if (ctx->req.verb != MA_POST) {
        for (size_t i = 0; i < ctx->req.n_query; i++)
            take(o, ctx->req.query[i].name, ctx->req.query[i].value);
        return MA_OK;
    }
    for (;;) {
        int r = ma_form_next(ctx->arena, &rest, &name, &value);
        if (r == MA_E_NOTFOUND)
            return MA_OK;
        if (r < 0)
            return r == MA_E_PARSE ? ma_problem(ctx, MA_P_BAD_REQUEST, "The form is malformed.") : r;
        if (ma_utf8_valid(value))
            take(o, name, value);
    }
}

/* client_id must be its audience when both are there. */
static int use_hint(struct ma_ctx *ctx, struct logout *o)
{
    struct ma_id_hint h;
    if (!o->id_token_hint.p)
        return MA_OK;
    int r = ma_id_token_hint(ctx, o->id_token_hint, o->client_id, &h);
    if (r < 0 || !h.sub.p)
        return r;
    if (h.other_client)
        return ma_page(ctx, 400, "This sign-out request is not valid", "client_id is not that of the id_token_hint.");
    o->hint_sub = h.sub;
    if (!o->client_id.p)
        o->client_id = h.client_id;
    return MA_OK;
}

static int use_redirect(struct ma_ctx *ctx, struct logout *o)
{
    struct ma_buf url;
    struct ma_span to = o->post_logout_redirect_uri;
    if (!to.p)
        return MA_OK;
    if (has_control(to) || !ma_span_list_has(allow_list(ctx, o), to)) /* RP-Initiated Logout §3.1: exactly */
        return refuse_url(ctx, "post_logout_redirect_uri");
    ma_buf_init_arena(&url, ctx->arena, 256, MA_LOGIN_URL_MAX);
    ma_buf_span(&url, to);
    ma_query_add(&url, "state", o->state);
    ma_buf_byte(&url, 0);
    o->url = (const char *)url.p;
    return ma_buf_err(&url);
}

/* Asked first when the application cannot show that it is about this user (§2). */
static int ask(struct ma_ctx *ctx, struct logout *o, const char *proof)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Sign out?", ma_form_targets(ctx, o->post_logout_redirect_uri), false);
    ma_html_para(&h, NULL, "You will be signed out in this browser.");
    ma_html_raw(&h, "<form method=\"post\" action=\"/oidc/logout\">");
    for (size_t i = 0; i + 1 < MA_COUNT(params); i++)
        if (slot(o, i)->p)
            ma_html_hidden(&h, params[i].name, *slot(o, i));
    ma_html_hidden(&h, "confirm", ma_span_str(proof));
    ma_html_submit(&h, "Sign out");
    return ma_html_end(&h);
}

/* A POST of another site comes without our cookie: the same question as a GET has it. */
static int as_get(struct ma_ctx *ctx, struct logout *o)
{
    struct ma_buf url;
    ma_buf_init_arena(&url, ctx->arena, 512, MA_LOGIN_URL_MAX);
    ma_buf_str(&url, ma_ctx_origin(ctx));
    ma_buf_str(&url, "/oidc/logout");
    for (size_t i = 0; i + 1 < MA_COUNT(params); i++)
        ma_query_add(&url, params[i].name, *slot(o, i));
    ma_buf_byte(&url, 0);
    return ma_buf_err(&url) < 0 ? ma_buf_err(&url) : ma_see_other(ctx, (const char *)url.p);
}

static int decide(struct ma_ctx *ctx, struct logout *o)
{
    char proof[65];
    struct ma_session s;
    int r = ma_browser_session_proof(ctx, proof);
    if (r < 0)
        return r;
    bool confirmed = ctx->req.verb == MA_POST && o->confirm.p && ma_ct_eq(o->confirm, ma_span_str(proof));
    if (ctx->req.verb == MA_POST && !confirmed)
        return as_get(ctx, o);
    r = ma_browser_session(ctx, &s);
    if (r == MA_E_NOTFOUND)
        return leave(ctx, o);
    if (r < 0)
        return r;
    if (confirmed || (o->hint_sub.p && ma_span_eq(o->hint_sub, s.user_id)))
        return ma_next(ctx, MA_LANE_WRITE, end);
    return ask(ctx, o, proof);
}

int ma_op_oidc_logout(struct ma_ctx *ctx)
{
    struct logout *o = ma_arena_zalloc(ctx->arena, sizeof *o);
    if (!o)
        return MA_E_NOMEM;
    ctx->scratch = o;
    int r = read_params(ctx, o);
    if (r == MA_OK)
        r = use_hint(ctx, o);
    if (r == MA_OK)
        r = find_client(ctx, o);
    if (r == MA_OK)
        r = use_redirect(ctx, o);
    return r == MA_OK ? decide(ctx, o) : r;
}

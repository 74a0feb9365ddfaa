/* SPDX-License-Identifier: Apache-2.0
 * GET /connected-accounts/connect and the provider's callback: what the user's browser visits while an
 * account is being connected. Redirects go to the provider or to a callback of the client that was
 * checked when the connection was started; everything else is a page.
 */
#include "connected.h"

#include "int.h"
#include "ma/oauth.h"
#include "ma/web.h"

enum { URL_MAX = 65536, COOKIE_LEEWAY_S = 30 };

struct visit {
    struct ma_connect_leg leg;
    struct ma_callback in;
};

static int refuse(struct ma_ctx *ctx, enum ma_connect_refusal why)
{
    if (why == MA_CONNECT_STRANGER)
        return ma_page(ctx, 400, "This is not where it began",
                       "The connection was started in another browser, or cookies are off. "
                       "Go back to the application and connect the account again from there.");
    return ma_page(ctx, 400, "Ticket expired",
                   "This link has expired or was used already. Go back to the application and start again.");
}

/* HEAD asks what there is, and uses nothing up: neither ticket nor code. Mail scanners and previews do that. */
static int answer_head(struct ma_ctx *ctx)
{
    return ma_reply_empty(ctx, 204);
}

static struct visit *visit_new(struct ma_ctx *ctx)
{
    struct visit *v = ma_arena_zalloc(ctx->arena, sizeof *v);
    ctx->scratch = v;
    return v;
}

/* Back to the client, with a code or an error and its own state. */
static int return_to_client(struct ma_ctx *ctx, const struct ma_connect_leg *leg)
{
    struct ma_buf url;
    ma_buf_init_arena(&url, ctx->arena, 512, URL_MAX);
    ma_buf_span(&url, leg->row.redirect_uri);
    if (leg->error) {
        ma_query_add(&url, "error", ma_span_str(leg->error));
        ma_query_add(&url, "error_description", ma_span_str(leg->error_description));
    } else {
        ma_query_add(&url, "connect_code", ma_span_str(leg->code));
    }
    ma_query_add(&url, "state", leg->row.client_state);
    ma_buf_byte(&url, 0);
    return ma_buf_err(&url) < 0 ? ma_buf_err(&url) : ma_redirect(ctx, (const char *)url.p);
}

/* --- to the provider --- */

static int launch(struct ma_ctx *ctx)
{
    struct ma_connect_leg *leg = &((struct visit *)ctx->scratch)->leg;
    int r = ma_connect_launch(ctx, leg);
    if (r == MA_E_CONFLICT)
        return refuse(ctx, MA_CONNECT_UNKNOWN);
    if (r < 0)
        return r;
    if (leg->error)
        return return_to_client(ctx, leg);
    r = ma_redirect(ctx, leg->authorize_url);
    if (r == MA_OK && !leg->resumed)
        ma_cookie_set(ctx, leg->cookie_name, leg->cookie, ctx->conf->enrollment.connect_ttl + COOKIE_LEEWAY_S);
    return r;
}

static int prepare(struct ma_ctx *ctx)
{
    struct visit *v = ctx->scratch;
    int r = ma_connect_prepare(ctx, &v->leg);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, launch) : r;
}

/* A link that was made for one person and opened by another would put this one's account into that one's hands. */
static int require_same_user(struct ma_ctx *ctx, const struct ma_connect_leg *leg)
{
    struct ma_span user;
    int r = ctx->conf->token_service ? ma_browser_user(ctx, &user) : MA_E_NOTFOUND;
    if (r < 0 || !user.p || ma_span_eq(user, leg->row.user_id))
        return r == MA_E_NOTFOUND ? MA_OK : r;
    return ma_page_leading(ctx, 403, "You are signed in as somebody else",
                           "This link connects an account for another user than the one who is signed in here. "
                           "Sign out first, or open the link in the browser of the user it was made for.",
                           "/oidc/logout", "Sign out");
}

int ma_op_connect_visit(struct ma_ctx *ctx)
{
    if (ctx->req.head)
        return answer_head(ctx);
    struct visit *v = visit_new(ctx);
    enum ma_connect_refusal refusal = MA_CONNECT_UNKNOWN;
    if (!v)
        return MA_E_NOMEM;
    int r = ma_connect_ticket(ctx, ma_query(ctx, "ticket"), ma_cookie, &v->leg, &refusal);
    if (r < 0)
        return r;
    if (refusal != MA_CONNECT_FINE)
        return refuse(ctx, refusal);
    r = require_same_user(ctx, &v->leg);
    return r == MA_OK ? ma_next(ctx, MA_LANE_NET, prepare) : r;
}

/* --- back from the provider --- */

static int settle(struct ma_ctx *ctx)
{
    struct ma_connect_leg *leg = &((struct visit *)ctx->scratch)->leg;
    int r = ma_connect_settle(ctx, leg);
    if (r == MA_E_CONFLICT)
        return refuse(ctx, MA_CONNECT_UNKNOWN);
    return r == MA_OK ? return_to_client(ctx, leg) : r;
}

static int redeem(struct ma_ctx *ctx)
{
    struct visit *v = ctx->scratch;
    int r = ma_connect_redeem(ctx, &v->in, &v->leg);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, settle) : r;
}

static int claim(struct ma_ctx *ctx)
{
    struct visit *v = ctx->scratch;
    int r = ma_connect_claim(ctx, &v->leg);
    if (r == MA_E_CONFLICT)
        return refuse(ctx, MA_CONNECT_UNKNOWN);
    return r == MA_OK ? ma_next(ctx, MA_LANE_NET, redeem) : r;
}

static bool is_twice(const struct ma_ctx *ctx, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < ctx->req.n_query; i++)
        n += ma_span_eq_str(ctx->req.query[i].name, name);
    return n > 1;
}

/* RFC 6749 §3.1: a parameter that stands twice says nothing. The state names the flow, so it is judged first. */
static struct ma_callback read_callback(const struct ma_ctx *ctx)
{
    static const char *const names[] = {"code", "error", "error_description", "iss"};
    struct ma_callback in = {
        .state = is_twice(ctx, "state") ? MA_SPAN_NULL : ma_query(ctx, "state"),
        .code = ma_query(ctx, "code"),
        .error = ma_query(ctx, "error"),
        .error_description = ma_query(ctx, "error_description"),
        .iss = ma_query(ctx, "iss"),
    };
    for (size_t i = 0; i < MA_COUNT(names); i++)
        if (is_twice(ctx, names[i]))
            in.error = MA_LIT("invalid_request");
    return in;
}

int ma_op_connect_callback(struct ma_ctx *ctx)
{
    if (ctx->req.head)
        return answer_head(ctx);
    struct visit *v = visit_new(ctx);
    enum ma_connect_refusal refusal = MA_CONNECT_UNKNOWN;
    if (!v)
        return MA_E_NOMEM;
    v->in = read_callback(ctx);
    int r = ma_connect_callback(ctx, v->in.state, ma_cookie, &v->leg, &refusal);
    if (r < 0)
        return r;
    return refusal == MA_CONNECT_FINE ? ma_next(ctx, MA_LANE_WRITE, claim) : refuse(ctx, refusal);
}

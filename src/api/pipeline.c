/* SPDX-License-Identifier: Apache-2.0
 * The path of every request: API active → token → origin → rate limits → policy → media type →
 * the route's own steps. Each refusal has its own error.
 */
#include "ma/assurance.h"
#include "ma/api.h"

#include <strings.h>

#include "ma/app.h"
#include "ma/auth.h"
#include "ma/codec.h"
#include "ma/policy.h"
#include "ma/http.h"
#include "int.h"

/* --- environment failures --- */

int ma_fail(struct ma_ctx *ctx, int err, const char *where)
{
    bool busy = err == MA_E_BUSY || err == MA_E_FULL || err == MA_E_IO || err == MA_E_DB || err == MA_E_NOMEM ||
                err == MA_E_UPSTREAM || err == MA_E_TIMEOUT || err == MA_E_RANGE;
    const struct ma_trace *before = ma_trace_enter(&ctx->trace); /* the writer fails a whole batch of them */
    ma_log(ctx->log, MA_LOG_ERROR, "request.failed", MA_KV_S("op", ctx->route ? ctx->route->op : "none"),
           MA_KV_S("where", where), MA_KV_S("error", ma_err_name(err)));
    (void)ma_trace_enter(before);
    if (busy)
        return ma_problem_retry(ctx, MA_P_UNAVAILABLE, NULL, 2);
    return ma_problem(ctx, MA_P_INTERNAL, NULL);
}

int ma_run_step(struct ma_ctx *ctx)
{
    ma_step step = ctx->step;
    ctx->step = NULL;
    int r = step(ctx);
    if (r == MA_OK || r == MA_E_PROBLEM || r == MA_E_NEXT)
        return r;
    return ma_fail(ctx, r, "step");
}

/* --- rate limits --- */

static bool worse(const struct ma_limit_state *a, const struct ma_limit_state *b)
{
    /* remaining/limit, compared without division */
    return (double)a->remaining * (double)b->limit < (double)b->remaining * (double)a->limit;
}

void ma_api_show_rate(struct ma_ctx *ctx, const struct ma_limit_state *s)
{
    ctx->rate.set = true;
    ctx->rate.limit = s->limit;
    ctx->rate.remaining = s->remaining;
    ctx->rate.reset_s = s->reset_s;
}

static int rate_limit(struct ma_ctx *ctx)
{
    const struct ma_conf *c = ctx->conf;
    bool read = ctx->route->rate == MA_RATE_READ;
    int64_t on = c->rate_limit.enabled ? 1 : 0;
    struct ma_limit_state tenant, user;
    ma_limit_take(ctx->app->limits, read ? MA_BUCKET_TENANT_READ : MA_BUCKET_TENANT_WRITE, MA_SPAN_NULL,
                  on * (read ? c->rate_limit.tenant_reads_per_second : c->rate_limit.tenant_writes_per_second), 1000,
                  ctx->now_ms, &tenant);
    if (!tenant.allowed) {
        ma_api_show_rate(ctx, &tenant);
        (void)ma_problem_retry(ctx, MA_P_RATE, "The request limit of all users together has been exceeded.",
                               tenant.retry_after_s);
        ma_header(ctx, "x-auth0-error-kind", "global-rate-limit");
        return MA_E_PROBLEM;
    }
    ma_limit_take(ctx->app->limits, read ? MA_BUCKET_READ : MA_BUCKET_WRITE, ctx->who.user_id,
                  on * (read ? c->rate_limit.user_reads : c->rate_limit.user_writes), 60000, ctx->now_ms, &user);
    ma_api_show_rate(ctx, user.allowed && worse(&tenant, &user) ? &tenant : &user);
    if (user.allowed)
        return MA_OK;
    return ma_problem_retry(ctx, MA_P_RATE, NULL, user.retry_after_s);
}

/* --- policy --- */

static enum ma_policy_access access_of(enum ma_user_access a)
{
    switch (a) {
    case MA_ACCESS_ALLOW_ALL:
        return MA_PA_ALLOW_ALL;
    case MA_ACCESS_DENY_ALL:
        return MA_PA_DENY_ALL;
    case MA_ACCESS_REQUIRE_GRANT:
        break;
    }
    return MA_PA_REQUIRE_GRANT;
}

struct ma_policy_in ma_policy_input(const struct ma_ctx *ctx, const struct ma_state_client *client)
{
    const struct ma_principal *who = &ctx->who;
    return (struct ma_policy_in){
        .user_known = who->user_known,
        .user_blocked = who->user_blocked,
        .user_leaving = who->user_leaving && ctx->route->fn != ma_op_restore_account,
        .client_credentials = who->client_credentials,
        .access = access_of(ctx->state->api.user_access_policy),
        .client_known = client != NULL,
        .client_first_party = client && client->is_first_party,
        .client_has_grant = client && client->has_grant,
        .grant = client ? client->grant : 0,
        .enforce_rbac = ctx->state->api.enforce_rbac,
        .rbac = who->rbac,
        .token_scopes = who->token_scopes,
        .route_scopes = ctx->route->scopes,
        .require_2fa = ctx->state->api.require_2fa && ctx->conf->policy.enforce_at_api,
        .has_factor = who->has_factor,
        .amr_mfa = who->amr_mfa || (who->amr_passkey && ctx->conf->policy.passkey_satisfies_2fa),
        .auth_time_s = who->auth_time_s,
        .now_s = ctx->now_ms / 1000,
        .window_s = ctx->conf->policy.step_up_window,
    };
}

/* Where the missing scope was lost, so that an operator knows which list to edit. */
static const char *lost_where(const struct ma_policy_in *in, ma_scopes missing)
{
    if (missing & ~in->token_scopes)
        return "";
    if (in->access == MA_PA_REQUIRE_GRANT && (missing & ~in->grant))
        return " The token carries it, but the client's grant does not.";
    return " The token carries it, but the user's roles and permissions do not.";
}

static int refuse_scope(struct ma_ctx *ctx, const struct ma_policy_in *in, ma_scopes missing)
{
    const char *name = ma_scope_name(missing & (~missing + 1));
    (void)ma_problem(
        ctx, MA_P_SCOPE,
        ma_arena_printf(ctx->arena, "The auth token lacks the required scope: %s.%s", name, lost_where(in, missing)));
    ma_header(ctx, "WWW-Authenticate",
              ma_arena_printf(ctx->arena, "Bearer error=\"insufficient_scope\", scope=\"%s\"", name));
    return MA_E_PROBLEM;
}

/* RFC 9470 §3: who has a second factor is asked for it. */
static int refuse_step_up(struct ma_ctx *ctx, bool has_factor)
{
    (void)ma_problem(ctx, MA_P_STEP_UP, NULL);
    ma_header(ctx, "WWW-Authenticate",
              ma_arena_printf(ctx->arena, "Bearer error=\"insufficient_user_authentication\", %smax_age=%lld",
                              has_factor ? "acr_values=\"" MA_ACR_MULTI_FACTOR "\", " : "",
                              (long long)ctx->conf->policy.step_up_window));
    return MA_E_PROBLEM;
}

int ma_api_require_fresh(struct ma_ctx *ctx)
{
    struct ma_policy_in in = ma_policy_input(ctx, ma_state_client(ctx->state, ctx->who.client_id));
    int r = ma_principal_factor(ctx, &in.has_factor);
    in.require_2fa = true;
    if (r < 0)
        return r;
    return ma_policy_decide(&in).verdict == MA_PV_STEP_UP ? refuse_step_up(ctx, in.has_factor) : MA_OK;
}

static int policy(struct ma_ctx *ctx, const struct ma_state_client *client)
{
    struct ma_policy_in in = ma_policy_input(ctx, client);
    struct ma_policy_out out = ma_policy_decide(&in);
    switch (out.verdict) {
    case MA_PV_ALLOW:
        return MA_OK;
    case MA_PV_SCOPE:
        return refuse_scope(ctx, &in, out.missing);
    case MA_PV_STEP_UP:
        return refuse_step_up(ctx, in.has_factor);
    case MA_PV_UNKNOWN_USER:
    case MA_PV_BLOCKED:
    case MA_PV_LEAVING:
    case MA_PV_MACHINE:
    case MA_PV_DENY_ALL:
    case MA_PV_UNKNOWN_CLIENT:
    case MA_PV_THIRD_PARTY:
    case MA_PV_NO_GRANT:
        break;
    }
    return ma_problem(ctx, MA_P_FORBIDDEN, ma_policy_text(out.verdict));
}

/* --- media type --- */

static bool is_json_utf8(struct ma_span type)
{
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;
    type = ma_trim(type);
    if (type.n < n || strncasecmp((const char *)type.p, json, n) != 0)
        return false;
    struct ma_span rest = ma_trim(ma_span_of(type.p + n, type.n - n));
    if (rest.n == 0)
        return true;
    if (rest.p[0] != ';')
        return false;
    rest = ma_trim(ma_span_of(rest.p + 1, rest.n - 1));
    static const char charset[] = "charset=";
    const size_t c = sizeof charset - 1;
    if (rest.n <= c || strncasecmp((const char *)rest.p, charset, c) != 0)
        return rest.n == 0 || memchr(rest.p, '=', rest.n) != NULL; /* some other parameter */
    return (rest.n == c + 5 && strncasecmp((const char *)rest.p + c, "utf-8", 5) == 0) ||
           (rest.n == c + 7 && strncasecmp((const char *)rest.p + c, "\"utf-8\"", 7) == 0);
}

/* --- the chain --- */

static int run_route(struct ma_ctx *ctx)
{
    const struct ma_route *route = ctx->route;
    if ((route->style == MA_STYLE_API || route->style == MA_STYLE_DEVICE) && route->body_max > 0 && ctx->req.has_body &&
        !is_json_utf8(ctx->req.content_type))
        return ma_problem(ctx, MA_P_MEDIA_TYPE, NULL);
    int r = route->prepare ? route->prepare(ctx) : MA_OK;
    if (r != MA_OK)
        return r;
    if (route->lane == MA_LANE_READ)
        return route->fn(ctx);
    return ma_next(ctx, route->lane, route->fn);
}

static int admit(struct ma_ctx *ctx)
{
    const struct ma_state_client *client = ma_state_client(ctx->state, ctx->who.client_id);
    int r = ma_cors_check_client(ctx, client);
    if (r == MA_OK && ctx->route->rate != MA_RATE_NONE)
        r = rate_limit(ctx);
    if (r == MA_OK)
        r = policy(ctx, client);
    return r == MA_OK ? run_route(ctx) : r;
}

int ma_api_begin(struct ma_ctx *ctx)
{
    if (ctx->route->scopes == MA_PUBLIC)
        return run_route(ctx);
    if (!ctx->state->api.active)
        return ma_problem(ctx, MA_P_NOT_FOUND, "The My Account API is not activated here (api.active is false).");
    int r = ma_authenticate(ctx);
    return r == MA_OK ? admit(ctx) : r;
}

int ma_pipeline(struct ma_ctx *ctx)
{
    if (!ctx->step)
        ctx->step = ma_api_begin;
    int r = ma_run_step(ctx);
    while (r == MA_E_NEXT && ctx->step_lane == MA_LANE_READ)
        r = ma_run_step(ctx);
    return r == MA_E_NEXT ? r : MA_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * The token vault exchange: a provider's access token for a refresh or access token of this service
 * (wire contract 4.8). The Default Policy does not apply to it: its audience is another.
 */
#include "int.h"

#include "ma/accounts.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/lanes.h"

#define TYPE_REFRESH "urn:ietf:params:oauth:token-type:refresh_token"
#define TYPE_ACCESS "urn:ietf:params:oauth:token-type:access_token"
#define ISSUED_TYPE "http://auth0.com/oauth/token-type/federated-connection-access-token"
enum { DETAIL_MAX = 1024 };

struct exchange {
    struct ma_span user_id;
    struct ma_vault_grant grant;
    const char *failure; /* for the audit row; NULL: it went well */
};

/* --- audit --- */

static int audit(struct ma_ctx *ctx, const struct ma_oauth *o, const struct exchange *x)
{
    struct ma_buf b;
    struct ma_jw w;
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1] = "";
    if (ma_sha256(o->in.subject_token, hash) == MA_OK)
        ma_b64url_encode(ma_span_of(hash, sizeof hash), text);
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "connection", o->in.connection);
    ma_jw_kstr(&w, "subject_token_type", o->in.subject_token_type);
    ma_jw_kcstr(&w, "issued_token_type", ISSUED_TYPE);
    ma_jw_kcstr(&w, "token_thumbprint", text);
    if (x->failure)
        ma_jw_kcstr(&w, "failure_reason", x->failure);
    ma_jw_obj_end(&w);
    return ma_audit_signin(ctx, x->failure ? "feta" : "seta", x->user_id, o->client->client_id,
                           ma_buf_err(&b) < 0 ? MA_SPAN_NULL : ma_buf_view(&b));
}

/* --- answers --- */

static int reply(struct ma_ctx *ctx, const struct ma_vault_grant *g)
{
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "access_token", g->access_token);
    ma_jw_kstr(&w, "scope", g->scope);
    if (g->expires_in_s >= 0)
        ma_jw_kint(&w, "expires_in", g->expires_in_s);
    ma_jw_kcstr(&w, "issued_token_type", ISSUED_TYPE);
    ma_jw_kcstr(&w, "token_type", "Bearer");
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

static int refuse_subject(struct ma_ctx *ctx)
{
    return ma_oauth_fail(ctx, 401, "invalid_grant", "The subject token is invalid, expired, or not this client's.");
}

static int answer(struct ma_ctx *ctx, const struct exchange *x)
{
    switch (x->grant.verdict) {
    case MA_VAULT_OK:
        return reply(ctx, &x->grant);
    case MA_VAULT_NO_ACCOUNT:
    case MA_VAULT_NO_SCOPE:
        return ma_oauth_fail(ctx, 401, "federated_connection_refresh_token_not_found",
                             "The user has no connected account that fits the connection, login_hint and scope.");
    case MA_VAULT_RECONNECT:
        return ma_oauth_fail(ctx, 401, "federated_connection_refresh_token_flow_failed",
                             "Refresh Token flow for the Federated Connection failed: the account must be connected "
                             "again.");
    case MA_VAULT_UNAVAILABLE:
        break;
    }
    (void)ma_oauth_fail(ctx, 503, "temporarily_unavailable", "The identity provider cannot be reached right now.");
    ma_header(ctx, "Retry-After", "5");
    return MA_E_PROBLEM;
}

static int finish(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    const struct exchange *x = o->more;
    int r = audit(ctx, o, x);
    ctx->keep = true;
    return r == MA_OK ? answer(ctx, x) : r;
}

/* --- the exchange --- */

static int ask_vault(struct ma_ctx *ctx)
{
    static const char *const failures[] = {NULL, "tokenset_not_found", "scope_not_granted", "refresh_refused",
                                           "provider_unavailable"};
    struct ma_oauth *o = ctx->scratch;
    struct exchange *x = o->more;
    struct ma_vault_env env = {
        .app = ctx->app,
        .conf = ctx->conf,
        .state = ctx->state,
        .reader = ctx->db,
        .httpc = ma_lane_httpc(),
        .arena = ctx->arena,
        .now_ms = ctx->now_ms,
    };
    struct ma_vault_ask ask = {.user_id = x->user_id, .connection = o->in.connection, .login_hint = o->in.login_hint};
    int r = ma_vault_access_token(&env, &ask, &x->grant);
    if (r < 0)
        return r;
    x->failure = failures[x->grant.verdict];
    return ma_next(ctx, MA_LANE_WRITE, finish);
}

/* The user of a refresh token that this very client holds. */
static int from_refresh(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_span *ret)
{
    struct ma_family f;
    int64_t generation = 0;
    int r = ma_refresh_find(ctx, o->in.subject_token, &f, &generation);
    if (r < 0)
        return r == MA_E_AUTH ? refuse_subject(ctx) : r;
    if (f.revoked_at || generation != f.generation || (f.expires_at && f.expires_at <= ctx->now_ms) ||
        (f.idle_at && f.idle_at <= ctx->now_ms) || !ma_span_eq(f.client_id, o->client->client_id))
        return refuse_subject(ctx);
    *ret = f.user_id;
    return MA_OK;
}

/* The user of an access token whose audience is this client's own API (wire contract 4.8, access variant). */
static int from_access(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_span *ret)
{
    struct ma_token t;
    const char *why = NULL;
    bool revoked = true;
    struct ma_span api = o->client->resource_server_identifier;
    if (!api.p)
        return ma_oauth_fail(ctx, 403, "unauthorized_client",
                             "The client is not linked to an API (resource_server_identifier).");
    if (ma_token_verify_for(ctx->app->jose, ctx->arena, o->in.subject_token, ctx->req.domain, (const char *)api.p,
                            ctx->now_ms, &t, &why) != MA_TOK_OK ||
        t.cnf_jkt.p)
        return refuse_subject(ctx);
    int r = ma_access_revoked(ctx, &t, &revoked);
    if (r < 0 || revoked)
        return r < 0 ? r : refuse_subject(ctx);
    *ret = t.sub;
    return MA_OK;
}

static int find_user(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_span *ret)
{
    struct ma_user u;
    int r = MA_OK;
    if (ma_span_eq_str(o->in.subject_token_type, TYPE_REFRESH))
        r = from_refresh(ctx, o, ret);
    else if (ma_span_eq_str(o->in.subject_token_type, TYPE_ACCESS))
        r = from_access(ctx, o, ret);
    else
        return ma_oauth_fail(ctx, 400, "invalid_request", "subject_token_type is not supported.");
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, *ret, &u);
    if (r == MA_E_NOTFOUND || (r == MA_OK && (u.blocked || ma_user_is_leaving(&u))))
        return refuse_subject(ctx);
    return r;
}

int ma_grant_vault(struct ma_ctx *ctx, struct ma_oauth *o)
{
    struct exchange *x = ma_arena_zalloc(ctx->arena, sizeof *x);
    if (!x)
        return MA_E_NOMEM;
    o->more = x;
    if (!o->authenticated || !o->client->is_first_party)
        return ma_oauth_fail(ctx, 403, "unauthorized_client",
                             "The token vault is for first-party clients that authenticate.");
    if (!o->in.subject_token.p)
        return ma_oauth_missing(ctx, "subject_token");
    if (!o->in.connection.p)
        return ma_oauth_missing(ctx, "connection");
    if (o->in.requested_token_type.p && !ma_span_eq_str(o->in.requested_token_type, ISSUED_TYPE))
        return ma_oauth_fail(ctx, 400, "invalid_request", "requested_token_type is not supported.");
    const struct ma_state_connection *connection = ma_state_connection(ctx->state, o->in.connection);
    if (connection && !ma_state_connectable(connection, o->client->client_id)) /* wire contract 4.7 */
        return ma_oauth_fail(ctx, 403, "unauthorized_client", "The connection is not enabled for this client.");
    int r = find_user(ctx, o, &x->user_id);
    if (r != MA_OK)
        return r;
    ctx->who.user_id = x->user_id;
    if (connection)
        ma_connection_net(ctx, connection);
    return ma_next(ctx, MA_LANE_NET, ask_vault);
}

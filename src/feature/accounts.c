/* SPDX-License-Identifier: Apache-2.0
 * A user's connected accounts: listing, deleting, telling the provider.
 */
#include "connect_int.h"

#include "ma/methods.h"
#include "ma/notify.h"

int ma_accounts_list(struct ma_ctx *ctx, struct ma_account **ret, size_t *ret_n)
{
    *ret = ma_arena_calloc(ctx->arena, MA_ACCOUNTS_MAX, sizeof **ret);
    if (!*ret)
        return MA_E_NOMEM;
    return ma_account_list(ctx->db, ctx->arena, ctx->who.user_id, *ret, MA_ACCOUNTS_MAX, ret_n);
}

int ma_accounts_delete(struct ma_ctx *ctx, struct ma_span id, struct ma_account *ret)
{
    ma_audit_failure_as(ctx, MA_AUDIT_DISCONNECT_FAILED, "delete");
    struct ma_notice notice;
    int r = ma_account_get(ctx->db, ctx->arena, ctx->who.user_id, id, ret);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_account_delete(ctx->db, ctx->who.user_id, id);
    if (r == MA_E_NOTFOUND)
        return ma_problem(ctx, MA_P_NO_RESOURCE, "The connected account does not exist.");
    if (r < 0)
        return r;
    struct ma_audited_account a = {.connection = ret->connection, .id = ret->id, .subject = ret->subject};
    struct ma_change c = {
        .event = MA_EVENT_ACCOUNT_REMOVED, .subject = ret->id, .what = ma_what_account(ctx->arena, ret->connection)};
    r = ma_notice_send(ctx, &notice, &c);
    return r == MA_OK ? ma_audit_account(ctx, MA_AUDIT_DISCONNECTED, &a) : r;
}

/* --- revoking --- */

struct ma_leftover ma_leftover_of(struct ma_span connection, struct ma_span provider, struct ma_span refresh_token,
                                  struct ma_span access_token)
{
    bool refresh = refresh_token.p != NULL;
    return (struct ma_leftover){.connection = connection,
                                .provider = provider,
                                .token = refresh ? refresh_token : access_token,
                                .hint = refresh ? "refresh_token" : "access_token"};
}

const struct ma_state_connection *ma_leftover_connection(const struct ma_state *s, const struct ma_leftover *left)
{
    const struct ma_state_connection *c = left->token.p ? ma_state_connection(s, left->connection) : NULL;
    bool wanted = c && !c->database && c->provider.revoke_on_delete;
    return wanted && ma_span_eq(left->provider, ma_connection_identity(c)) ? c : NULL;
}

int ma_leftover_revoke(const struct ma_provider_env *env, const struct ma_state_connection *c, struct ma_span secret,
                       const struct ma_leftover *left, struct ma_provider_fault *fault)
{
    struct ma_provider provider;
    int r = ma_provider_resolve(env, c, secret, &provider, fault);
    return r == MA_OK ? ma_provider_revoke(env, &provider, left->token, left->hint, fault) : r;
}

int ma_accounts_leftover(struct ma_ctx *ctx, const struct ma_account *deleted, struct ma_leftover *ret)
{
    struct ma_leftover sealed =
        ma_leftover_of(deleted->connection, deleted->provider, deleted->refresh_token, deleted->access_token);
    *ret = (struct ma_leftover){.token = MA_SPAN_NULL};
    if (!ma_leftover_connection(ctx->state, &sealed))
        return MA_OK;
    *ret = sealed;
    return ma_account_unseal(ctx->app->vault, ctx->arena, deleted, sealed.hint, sealed.token, &ret->token);
}

bool ma_accounts_must_revoke(struct ma_ctx *ctx, const struct ma_leftover *left)
{
    const struct ma_state_connection *c = ma_leftover_connection(ctx->state, left);
    if (c)
        ma_connection_net(ctx, c);
    return c != NULL;
}

void ma_accounts_revoke(struct ma_ctx *ctx, const struct ma_leftover *left)
{
    const struct ma_state_connection *c = ma_leftover_connection(ctx->state, left);
    struct ma_provider_fault fault = {"", ""};
    struct ma_span secret;
    if (!c)
        return;
    int r = ma_connection_secret(ctx->db, ctx->app->vault, ctx->arena, left->connection, &secret);
    if (r == MA_OK) {
        struct ma_provider_env env = ma_provider_env_of(ctx->app, ctx->conf, ma_lane_httpc(), ctx->arena);
        r = ma_leftover_revoke(&env, c, secret, left, &fault);
    }
    if (r < 0)
        ma_log(ctx->log, MA_LOG_WARN, "vault.revocation_failed", MA_KV_SPAN("connection", left->connection),
               MA_KV_S("error", ma_err_name(r)), MA_KV_S("provider_error", fault.error), MA_KV_S("why", fault.why));
}

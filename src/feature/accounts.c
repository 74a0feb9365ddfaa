/* SPDX-License-Identifier: Apache-2.0
 * A user's connected accounts: listing, deleting, telling the provider.
 */
#include "connect_int.h"

#include "ma/methods.h"

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
    int r = ma_account_get(ctx->db, ctx->arena, ctx->who.user_id, id, ret);
    if (r == MA_OK)
        r = ma_account_delete(ctx->db, ctx->who.user_id, id);
    if (r == MA_E_NOTFOUND)
        return ma_problem(ctx, MA_P_NO_RESOURCE, "The connected account does not exist.");
    if (r < 0)
        return r;
    struct ma_audited_account a = {.connection = ret->connection, .id = ret->id, .subject = ret->subject};
    return ma_audit_account(ctx, MA_AUDIT_DISCONNECTED, &a);
}

static int revoke(struct ma_ctx *ctx, const struct ma_state_connection *c, const struct ma_account *acc,
                  struct ma_provider_fault *fault)
{
    /* Revoking the refresh token ends the access tokens made with it too (RFC 7009 §2.1). */
    bool refresh = acc->refresh_token.p != NULL;
    const char *column = refresh ? "refresh_token" : "access_token";
    struct ma_provider_env env = ma_provider_env_of(ctx->app, ctx->conf, ma_lane_httpc(), ctx->arena);
    struct ma_provider provider;
    struct ma_span secret, token;
    int r = ma_account_unseal(ctx->app->vault, ctx->arena, acc, column,
                              refresh ? acc->refresh_token : acc->access_token, &token);
    if (r == MA_OK)
        r = ma_connection_secret(ctx->db, ctx->app->vault, ctx->arena, acc->connection, &secret);
    if (r == MA_OK)
        r = ma_provider_resolve(&env, c, secret, &provider, fault);
    return r == MA_OK ? ma_provider_revoke(&env, &provider, token, column, fault) : r;
}

void ma_accounts_revoke(struct ma_ctx *ctx, const struct ma_account *deleted)
{
    const struct ma_state_connection *c = ma_state_connection(ctx->state, deleted->connection);
    struct ma_provider_fault fault = {"", ""};
    if (!c || c->database || !c->provider.revoke_on_delete || (!deleted->refresh_token.p && !deleted->access_token.p))
        return;
    int r = revoke(ctx, c, deleted, &fault);
    if (r < 0)
        ma_log(ctx->log, MA_LOG_WARN, "vault.revocation_failed", MA_KV_SPAN("connection", deleted->connection),
               MA_KV_S("error", ma_err_name(r)), MA_KV_S("provider_error", fault.error), MA_KV_S("why", fault.why));
}

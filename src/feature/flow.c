/* SPDX-License-Identifier: Apache-2.0
 * Authentications under way: the random tokens that name them, and the rows behind.
 */
#include "ma/signin.h"

#include "int.h"

int ma_flow_open(struct ma_ctx *ctx, struct ma_flow *row, char ret_token[MA_TOKEN_LEN + 1])
{
    uint8_t *mac = ma_arena_alloc(ctx->arena, 32);
    int r = mac ? ma_id_token(ctx->app->rand, ret_token) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_vault_mac(ctx->app->vault, "flow", row->kind, ma_span_of(ret_token, MA_TOKEN_LEN), mac);
    if (r < 0)
        return r;
    row->token_mac = ma_span_of(mac, 32);
    row->version = 1;
    row->attempts = row->consumed_at = 0;
    row->created_at = ctx->now_ms;
    return ma_flow_insert(ctx->db, row);
}

int ma_flow_find(struct ma_ctx *ctx, const char *kind, struct ma_span token, struct ma_flow *ret)
{
    uint8_t mac[32];
    if (token.n != MA_TOKEN_LEN)
        return MA_E_NOTFOUND;
    int r = ma_vault_mac(ctx->app->vault, "flow", ma_span_str(kind), token, mac);
    if (r == MA_OK)
        r = ma_flow_get(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), ret);
    if (r < 0)
        return r;
    if (!ma_span_eq_str(ret->kind, kind))
        return MA_E_NOTFOUND;
    return ret->consumed_at == 0 && ret->expires_at > ctx->now_ms ? MA_OK : MA_E_EXPIRED;
}

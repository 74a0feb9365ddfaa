/* SPDX-License-Identifier: Apache-2.0
 * id_token_hint: an id_token of this issuer, however old, that says whom a request is about (OIDC Core §3.1.2.1,
 * RP-Initiated Logout 1.0 §2).
 */
#include "login_int.h"

enum { AUD_MAX = 8 };

struct claims {
    struct ma_span iss, sub;
    struct ma_span_list aud;
};

static int read_claims(struct ma_ctx *ctx, struct ma_span payload, struct claims *ret)
{
    static const struct ma_jfield fields[] = {
        {.name = "iss", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct claims, iss)},
        {.name = "sub", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct claims, sub), .min = 1},
        {.name = "aud",
         .type = MA_F_STR_OR_LIST,
         .flags = MA_REQ,
         .off = offsetof(struct claims, aud),
         .max_items = AUD_MAX},
    };
    static const struct ma_shape shape = MA_SHAPE_OPEN(struct claims, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    int r = ma_json_parse(payload, &j);
    return r == MA_OK ? ma_json_decode(j, ctx->arena, &shape, ret, &errs) : r;
}

int ma_id_token_hint(struct ma_ctx *ctx, struct ma_span token, struct ma_span client_id, struct ma_id_hint *ret)
{
    struct ma_span payload;
    struct claims c = {.iss = MA_SPAN_NULL};
    const char *iss = ma_arena_printf(ctx->arena, "%s/", ma_ctx_origin(ctx));
    *ret = (struct ma_id_hint){.sub = MA_SPAN_NULL};
    if (!iss)
        return MA_E_NOMEM;
    int r = ma_jose_own_claims(ctx->app->jose, ctx->arena, token, ctx->now_ms, &payload);
    if (r == MA_OK)
        r = read_claims(ctx, payload, &c);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_OK;
    if (!ma_span_eq_str(c.iss, iss) || c.aud.n == 0)
        return MA_OK;
    ret->other_client = client_id.p && !ma_span_list_has(&c.aud, client_id);
    ret->sub = c.sub;
    ret->client_id = c.aud.v[0];
    return MA_OK;
}

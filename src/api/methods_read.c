/* SPDX-License-Identifier: Apache-2.0
 * GET /authentication-methods and /authentication-methods/{id}.
 */
#include "int.h"
#include "list_cache.h"
#include "ma/app.h"
#include "method_json.h"

int ma_op_list_methods_prepare(struct ma_ctx *ctx)
{
    struct ma_span type = ma_query(ctx, "type");
    if (type.p && ma_factor_parse(type) == MA_FACTOR__COUNT)
        return ma_problem_at(ctx, "/type", "query/type must be equal to one of the allowed values");
    return MA_OK;
}

static int write_list(struct ma_ctx *ctx, enum ma_factor only, int64_t *ret_valid_until)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX] MA_UNINITIALIZED;
    size_t n = 0;
    struct ma_jw w;
    int r = ma_methods_list(ctx, v, &n);
    if (r < 0)
        return r;
    *ret_valid_until = INT64_MAX;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "authentication_methods");
    ma_jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        if (v[i].expires_at && v[i].expires_at < *ret_valid_until)
            *ret_valid_until = v[i].expires_at;
        if (only == MA_FACTOR__COUNT || v[i].type == only)
            ma_write_method(&w, &v[i]);
    }
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_list_methods(struct ma_ctx *ctx)
{
    struct ma_span type = ma_query(ctx, "type");
    struct ma_list_version version = {ma_app_user_generation(ctx->app, ctx->who.user_id), ctx->state->epoch};
    bool storable = ma_app_may_remember(ctx->app, ctx); /* after the generation was read */
    int64_t valid_until = 0;
    struct ma_jw w;
    if (type.p)
        return write_list(ctx, ma_factor_parse(type), &valid_until);
    ma_reply_json(ctx, 200, &w);
    bool known = ma_list_cache_get(ctx->app->list_cache, ctx->who.user_id, version, ctx->now_ms, &ctx->resp.body);
    ma_metrics_add(ctx->app->metrics, MA_M_CACHE, MA_M_CACHE_LIST, known ? MA_M_HIT : MA_M_MISS, 1);
    if (known)
        return ma_reply_end(ctx);
    int r = write_list(ctx, MA_FACTOR__COUNT, &valid_until);
    if (r == MA_OK && storable)
        ma_list_cache_put(ctx->app->list_cache, ctx->who.user_id, version, valid_until, ma_buf_view(&ctx->resp.body));
    return r;
}

int ma_op_get_method(struct ma_ctx *ctx)
{
    struct ma_method_view v;
    struct ma_jw w;
    int r = ma_methods_find(ctx, ctx->req.params[0], &v);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_write_method(&w, &v);
    return ma_reply_end(ctx);
}

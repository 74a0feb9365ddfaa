/* SPDX-License-Identifier: Apache-2.0
 * PATCH and DELETE /authentication-methods/{id}.
 */
#include "int.h"
#include "method_json.h"

enum { NAME_BODY_MAX = 1000 };

static const char *const phone_names[] = {"sms", "voice", NULL};

struct body {
    bool spare; /* has_off 0 means "none": no flag may stand first */
    bool has_name, has_preferred;
    struct ma_span name;
    int preferred;
};

static const struct ma_jfield fields[] = {{.name = "name",
                                           .type = MA_F_STR,
                                           .off = offsetof(struct body, name),
                                           .has_off = offsetof(struct body, has_name),
                                           .max = NAME_BODY_MAX},
                                          {.name = "preferred_authentication_method",
                                           .type = MA_F_ENUM,
                                           .off = offsetof(struct body, preferred),
                                           .has_off = offsetof(struct body, has_preferred),
                                           .names = phone_names}};
static const struct ma_shape shape = MA_SHAPE(struct body, fields);

static const char *type_text(struct ma_span id)
{
    enum ma_factor f = ma_factor_of_id(id);
    return f == MA_FACTOR__COUNT ? "unknown" : ma_factor_name(f);
}

int ma_op_update_method_prepare(struct ma_ctx *ctx)
{
    ctx->scratch = ma_arena_zalloc(ctx->arena, sizeof(struct body));
    return ctx->scratch ? ma_body(ctx, &shape, ctx->scratch) : MA_E_NOMEM;
}

int ma_op_update_method(struct ma_ctx *ctx)
{
    const struct body *b = ctx->scratch;
    struct ma_method_view v;
    struct ma_jw w;
    struct ma_method_change change = {b->has_name, b->has_preferred, b->name, b->preferred == 1};
    ma_audit_on_failure(ctx, "update", type_text(ctx->req.params[0]), ctx->req.params[0]);
    int r = ma_methods_update(ctx, ctx->req.params[0], &change, &v);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_write_method(&w, &v);
    return ma_reply_end(ctx);
}

int ma_op_delete_method(struct ma_ctx *ctx)
{
    ma_audit_on_failure(ctx, "delete", type_text(ctx->req.params[0]), ctx->req.params[0]);
    int r = ma_methods_delete(ctx, ctx->req.params[0]);
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

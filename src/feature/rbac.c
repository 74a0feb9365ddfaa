/* SPDX-License-Identifier: Apache-2.0
 * What a user may do: direct permissions and those of roles.
 */
#include "ma/signin.h"

struct names {
    struct ma_span_list v;
};

/* The names of a JSON array text; an unreadable one counts as empty, which grants nothing. */
static struct ma_span_list parse_names(struct ma_ctx *ctx, struct ma_span array)
{
    static const struct ma_jfield fields[] = {
        {.name = "v", .type = MA_F_STRLIST, .off = offsetof(struct names, v), .max_items = 1000}};
    static const struct ma_shape shape = MA_SHAPE(struct names, fields);
    struct names out = {{NULL, 0}};
    const char *text =
        array.n ? ma_arena_printf(ctx->arena, "{\"v\":%.*s}", (int)array.n, (const char *)array.p) : NULL;
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    if (!text || ma_json_parse(ma_span_str(text), &j) < 0 || ma_json_decode(j, ctx->arena, &shape, &out, &errs) < 0)
        return (struct ma_span_list){NULL, 0};
    return out.v;
}

ma_scopes ma_rbac_of(struct ma_ctx *ctx, const struct ma_user *u)
{
    ma_scopes s = 0;
    struct ma_span_list direct = parse_names(ctx, u->permissions), roles = parse_names(ctx, u->roles);
    for (size_t i = 0; i < direct.n; i++)
        s |= ma_scope_parse(direct.v[i]);
    for (size_t i = 0; i < roles.n; i++) {
        const struct ma_state_role *role = ma_state_role(ctx->state, roles.v[i]);
        s |= role ? role->permissions : 0;
    }
    return s;
}

/* SPDX-License-Identifier: Apache-2.0
 * Renaming and deleting methods.
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/notify.h"

static int find(struct ma_ctx *ctx, struct ma_span id, struct ma_method_view *v)
{
    int r = ma_methods_find(ctx, id, v);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    return r;
}

static int check_name(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_span *name)
{
    if (v->type == MA_FACTOR_PASSWORD || v->type == MA_FACTOR_RECOVERY || v->automatic)
        return ma_problem_at(ctx, "/name", "data/name is not supported for this authentication method");
    *name = ma_trim(*name);
    if (name->n == 0)
        return ma_problem_at(ctx, "/name", "data/name must NOT have fewer than 1 characters");
    if (ma_utf8_units(*name) > MA_NAME_MAX)
        return ma_problem_at(ctx, "/name", "data/name must NOT have more than 100 characters");
    if (ma_utf8_has_control(*name))
        return ma_problem_at(ctx, "/name", "data/name must NOT have control characters");
    return MA_OK;
}

static int check_change(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_method_change *c)
{
    int r = c->has_name ? check_name(ctx, v, &c->name) : MA_OK;
    if (r < 0)
        return r;
    if (c->has_voice && v->type != MA_FACTOR_PHONE)
        return ma_problem_at(ctx, "/preferred_authentication_method",
                             "data/preferred_authentication_method is only supported for phone");
    if (!v->confirmed)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "The authentication method is not confirmed.");
    return MA_OK;
}

int ma_methods_update(struct ma_ctx *ctx, struct ma_span id, const struct ma_method_change *change,
                      struct ma_method_view *ret)
{
    struct ma_method_change c = *change;
    int r = find(ctx, id, ret);
    if (r == MA_OK)
        r = check_change(ctx, ret, &c);
    if (r < 0 || (!c.has_name && !c.has_voice))
        return r;
    struct ma_notice notice;
    struct ma_change told = {.event = MA_EVENT_FACTOR_CHANGED,
                             .subject = ret->id,
                             .what = ma_what_factor(ctx->arena, ret->type, ret->address)};
    r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_keep_settings(ctx, ret, &told.kept);
    if (r == MA_OK)
        r = ma_method_update(ctx->db, ctx->who.user_id, id, c.has_name ? c.name : MA_SPAN_NULL,
                             c.has_voice ? (c.voice ? 1 : 0) : -1);
    if (r < 0)
        return r;
    if (c.has_name)
        ret->name = c.name;
    if (c.has_voice)
        ret->voice = c.voice;
    ctx->user_changed = true;
    r = ma_notice_send(ctx, &notice, &told);
    return r == MA_OK ? ma_audit_method(ctx, "update", ret->type, ret->id) : r;
}

static int refuse_last_primary(struct ma_ctx *ctx, const struct ma_method_view *v)
{
    struct ma_method_view all[MA_METHODS_LISTED_MAX];
    size_t n = 0, primary = 0;
    if (!ctx->conf->enrollment.protect_last_primary || !ma_factor_is_primary(v->type))
        return MA_OK;
    int r = ma_methods_list(ctx, all, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        primary += ma_factor_is_primary(all[i].type);
    if (r == MA_OK && primary <= 1)
        return ma_problem(ctx, MA_P_CONFLICT, "This is the last method the user can log in with.");
    return r;
}

static int remove_it(struct ma_ctx *ctx, const struct ma_method_view *v)
{
    if (v->type == MA_FACTOR_PASSWORD)
        return ma_password_delete(ctx->db, ctx->who.user_id);
    int r = ma_method_delete(ctx->db, ctx->who.user_id, v->id);
    return r == MA_OK ? ma_enrolment_delete_method(ctx->db, ctx->who.user_id, v->id) : r;
}

/* A device and the authenticator that came with it go together. p == NULL: this one goes alone. */
static int find_other(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_span *ret)
{
    struct ma_push_device d;
    int r = MA_E_NOTFOUND;
    *ret = MA_SPAN_NULL;
    if (v->type == MA_FACTOR_TOTP)
        r = ma_push_device_by_pair(ctx->db, ctx->arena, ctx->who.user_id, v->id, &d);
    else if (v->type == MA_FACTOR_PUSH)
        r = ma_push_device_get(ctx->db, ctx->arena, ctx->who.user_id, v->id, &d);
    if (r == MA_OK)
        *ret = v->type == MA_FACTOR_TOTP ? d.id : d.pair_id;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

/* A method that was in use; an enrolment under way that is given up is nothing to tell of. */
static int remove_and_tell(struct ma_ctx *ctx, const struct ma_method_view *named, struct ma_span other)
{
    struct ma_notice notice;
    /* Of a pair it is the device that is told of, and that an undo brings back with the rest. */
    const struct ma_method_view device = {.id = other, .type = MA_FACTOR_PUSH};
    const struct ma_method_view *v = named->type == MA_FACTOR_TOTP && other.p ? &device : named;
    struct ma_change c = {
        .event = MA_EVENT_FACTOR_REMOVED, .subject = v->id, .what = ma_what_factor(ctx->arena, v->type, v->address)};
    int r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = v->type == MA_FACTOR_PASSWORD ? ma_keep_password(ctx, &c.kept) : ma_keep_method(ctx, v->id, &c.kept);
    if (r == MA_OK)
        r = remove_it(ctx, v);
    return r == MA_OK ? ma_notice_send(ctx, &notice, &c) : r;
}

int ma_methods_delete(struct ma_ctx *ctx, struct ma_span id)
{
    struct ma_method_view v;
    int r = find(ctx, id, &v);
    if (r < 0)
        return r;
    if (v.automatic)
        return ma_problem(ctx, MA_P_CONFLICT,
                          "The verified primary e-mail counts as an authentication method and cannot be deleted.");
    struct ma_span other = MA_SPAN_NULL;
    r = refuse_last_primary(ctx, &v);
    if (r == MA_OK)
        r = find_other(ctx, &v, &other);
    if (r < 0)
        return r;
    r = v.confirmed ? remove_and_tell(ctx, &v, other) : remove_it(ctx, &v);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    ctx->wakes = v.id; /* who waits for a device waits in vain */
    r = ma_audit_method(ctx, "delete", v.type, v.id);
    return r == MA_OK && other.p ? ma_audit_method(ctx, "delete", ma_factor_of_id(other), other) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * GET /consents, GET and DELETE /consents/{consent_id}, GET /organizations: what the user agreed to, and where they
 * belong.
 */
#include "int.h"

#include "ma/account.h"
#include "paging.h"

enum { CONSENTS_MAX = 500, ORGANIZATIONS_NORMAL = 50, ORGANIZATIONS_MAX = 100 };

/* --- consents --- */

static void put_scopes(struct ma_jw *w, struct ma_span list)
{
    ma_jw_key(w, "scope");
    ma_jw_arr(w);
    while (list.n > 0) {
        const uint8_t *blank = memchr(list.p, ' ', list.n);
        size_t n = blank ? (size_t)(blank - list.p) : list.n;
        if (n > 0)
            ma_jw_str(w, ma_span_of(list.p, n));
        list = blank ? ma_span_of(list.p + n + 1, list.n - n - 1) : MA_SPAN_NULL;
    }
    ma_jw_arr_end(w);
}

static void put_consent(struct ma_jw *w, const struct ma_consent *c)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", c->id);
    ma_jw_kstr(w, "client_id", c->client_id);
    ma_jw_key(w, "requested_details");
    ma_jw_obj(w);
    if (c->audience.n > 0)
        ma_jw_kstr(w, "audience", c->audience);
    put_scopes(w, c->scope);
    ma_jw_obj_end(w);
    ma_jw_kdate(w, "created_at", c->created_at);
    ma_jw_kdate(w, "expires_at", c->expires_at);
    ma_jw_obj_end(w);
}

static bool holds(const struct ma_ctx *ctx, const struct ma_consent *c)
{
    return c->expires_at > ctx->now_ms;
}

int ma_op_list_consents(struct ma_ctx *ctx)
{
    struct ma_consent *v = ma_arena_calloc(ctx->arena, CONSENTS_MAX, sizeof *v);
    size_t n = 0;
    struct ma_jw w;
    if (!v)
        return MA_E_NOMEM;
    int r = ma_consent_list(ctx->db, ctx->arena, ctx->who.user_id, v, CONSENTS_MAX, &n);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "consents");
    ma_jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        if (holds(ctx, &v[i]))
            put_consent(&w, &v[i]);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_get_consent(struct ma_ctx *ctx)
{
    struct ma_consent c;
    struct ma_jw w;
    int r = ma_consent_get(ctx->db, ctx->arena, ctx->who.user_id, ctx->req.params[0], &c);
    if (r == MA_E_NOTFOUND || (r == MA_OK && !holds(ctx, &c)))
        return ma_problem(ctx, MA_P_NO_RESOURCE, "The consent does not exist.");
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    put_consent(&w, &c);
    return ma_reply_end(ctx);
}

int ma_op_delete_consent(struct ma_ctx *ctx)
{
    int r = ma_account_withdraw(ctx, ctx->req.params[0]);
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

/* --- organizations, by id --- */

struct page {
    size_t take;
    struct ma_span after;
};

int ma_op_list_organizations_prepare(struct ma_ctx *ctx)
{
    struct page *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    ctx->scratch = p;
    if (!p)
        return MA_E_NOMEM;
    int r = ma_take(ctx, ORGANIZATIONS_NORMAL, ORGANIZATIONS_MAX, &p->take);
    return r == MA_OK ? ma_cursor_read(ctx, "organizations", &p->after) : r;
}

static bool comes_after(struct ma_span id, struct ma_span place)
{
    size_t n = id.n < place.n ? id.n : place.n;
    int c = n ? memcmp(id.p, place.p, n) : 0;
    return !place.p || c > 0 || (c == 0 && id.n > place.n);
}

static void put_organization(struct ma_jw *w, const struct ma_state_organization *o)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", o->id);
    ma_jw_kstr(w, "name", o->name);
    if (o->display_name.p)
        ma_jw_kstr(w, "display_name", o->display_name);
    ma_jw_obj_end(w);
}

int ma_op_list_organizations(struct ma_ctx *ctx)
{
    const struct page *p = ctx->scratch;
    const struct ma_state *s = ctx->state;
    size_t shown = 0;
    struct ma_span last = MA_SPAN_NULL;
    bool more = false;
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "organizations");
    ma_jw_arr(&w);
    for (size_t i = 0; i < s->n_organizations && !more; i++) {
        const struct ma_state_organization *o = &s->organizations[i];
        if (!comes_after(o->id, p->after) || !ma_state_is_member(o, ctx->who.user_id))
            continue;
        more = shown == p->take;
        if (more)
            break;
        put_organization(&w, o);
        last = o->id;
        shown++;
    }
    ma_jw_arr_end(&w);
    if (more)
        ma_jw_kcstr(&w, "next", ma_cursor_make(ctx, "organizations", last));
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

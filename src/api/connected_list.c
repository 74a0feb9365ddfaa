/* SPDX-License-Identifier: Apache-2.0
 * GET /connected-accounts/accounts and /connections, DELETE /connected-accounts/accounts/{id}.
 */
#include "connected.h"

#include <stdlib.h>

#include "int.h"
#include "ma/codec.h"
#include "paging.h"

enum { TAKE_NORMAL = 10, TAKE_MAX = 20, FILTER_MAX = 20, NAME_MAX_UNITS = 128, NUMBER_BYTES = 8 };

/* --- the filter: `connection` once, several times, or as the text of a JSON array --- */

struct filter {
    struct ma_span_list names;
};

static int refuse_filter(struct ma_ctx *ctx)
{
    return ma_problem_at(ctx, "/connection", "query/connection must be 1 to 20 names of at most 128 characters");
}

static int json_names(struct ma_ctx *ctx, struct ma_span text, struct filter *ret)
{
    static const struct ma_jfield fields[] = {{.name = "names",
                                               .type = MA_F_STRLIST,
                                               .flags = MA_REQ,
                                               .off = offsetof(struct filter, names),
                                               .max = NAME_MAX_UNITS,
                                               .max_items = FILTER_MAX}};
    static const struct ma_shape shape = MA_SHAPE(struct filter, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    const char *object = ma_arena_printf(ctx->arena, "{\"names\":%.*s}", (int)text.n, (const char *)text.p);
    int r = object ? ma_json_parse(ma_span_str(object), &j) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &shape, ret, &errs);
    if (r == MA_E_PARSE || r == MA_E_INVAL || (r == MA_OK && ret->names.n == 0))
        return refuse_filter(ctx);
    return r;
}

static int read_filter(struct ma_ctx *ctx, struct filter *ret)
{
    struct ma_span first = ma_query(ctx, "connection");
    ret->names = (struct ma_span_list){NULL, 0};
    if (!first.p)
        return MA_OK;
    if (first.n > 0 && first.p[0] == '[')
        return json_names(ctx, first, ret);
    ret->names.v = ma_arena_calloc(ctx->arena, MA_QUERY_MAX, sizeof(struct ma_span));
    if (!ret->names.v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < ctx->req.n_query; i++)
        if (ma_span_eq_str(ctx->req.query[i].name, "connection"))
            ret->names.v[ret->names.n++] = ctx->req.query[i].value;
    for (size_t i = 0; i < ret->names.n; i++)
        if (ret->names.v[i].n == 0 || ma_utf8_units(ret->names.v[i]) > NAME_MAX_UNITS)
            return refuse_filter(ctx);
    return ret->names.n > FILTER_MAX ? refuse_filter(ctx) : MA_OK;
}

static bool passes(const struct filter *f, struct ma_span connection)
{
    return f->names.n == 0 || ma_span_list_has(&f->names, connection);
}

/* --- accounts, newest first --- */

struct accounts_query {
    struct filter filter;
    size_t take;
    struct ma_span after; /* key of the last one shown; p == NULL: from the start */
};

/* created_at as eight big-endian bytes, then the id. */
static struct ma_span account_key(const struct ma_account *acc, uint8_t out[MA_CURSOR_KEY_MAX])
{
    for (size_t i = 0; i < NUMBER_BYTES; i++)
        out[i] = (uint8_t)((uint64_t)acc->created_at >> (8 * (NUMBER_BYTES - 1 - i)));
    memcpy(out + NUMBER_BYTES, acc->id.p, acc->id.n);
    return ma_span_of(out, NUMBER_BYTES + acc->id.n);
}

static int compare(struct ma_span a, struct ma_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* Whether the account comes after the place in the list's order: older, or as old with a greater id. */
static bool comes_after(const struct ma_account *acc, struct ma_span place)
{
    uint8_t buf[MA_CURSOR_KEY_MAX];
    struct ma_span key = account_key(acc, buf);
    if (!place.p)
        return true;
    if (place.n <= NUMBER_BYTES)
        return false;
    int age = memcmp(key.p, place.p, NUMBER_BYTES);
    return age < 0 || (age == 0 && compare(acc->id, ma_span_of(place.p + NUMBER_BYTES, place.n - NUMBER_BYTES)) > 0);
}

int ma_op_list_accounts_prepare(struct ma_ctx *ctx)
{
    struct accounts_query *q = ma_arena_zalloc(ctx->arena, sizeof *q);
    if (!q)
        return MA_E_NOMEM;
    ctx->scratch = q;
    int r = read_filter(ctx, &q->filter);
    if (r == MA_OK)
        r = ma_take(ctx, TAKE_NORMAL, TAKE_MAX, &q->take);
    return r == MA_OK ? ma_cursor_read(ctx, "accounts", &q->after) : r;
}

static void write_next(struct ma_ctx *ctx, struct ma_jw *w, const char *list, struct ma_span key)
{
    ma_jw_kcstr(w, "next", ma_cursor_make(ctx, list, key));
}

int ma_op_list_accounts(struct ma_ctx *ctx)
{
    const struct accounts_query *q = ctx->scratch;
    struct ma_account *v = NULL;
    uint8_t key[MA_CURSOR_KEY_MAX];
    size_t n = 0, shown = 0, last = 0;
    bool more = false;
    struct ma_jw w;
    int r = ma_accounts_list(ctx, &v, &n);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "accounts");
    ma_jw_arr(&w);
    for (size_t i = 0; i < n && !more; i++) {
        if (!passes(&q->filter, v[i].connection) || !comes_after(&v[i], q->after))
            continue;
        more = shown == q->take;
        if (more)
            break;
        ma_write_account(&w, &v[i]);
        if (v[i].org_id.p)
            ma_jw_kstr(&w, "org_id", v[i].org_id);
        ma_jw_obj_end(&w);
        shown++;
        last = i;
    }
    ma_jw_arr_end(&w);
    if (more)
        write_next(ctx, &w, "accounts", account_key(&v[last], key));
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

/* --- connections, by name --- */

struct connections_query {
    size_t take;
    struct ma_span after;
};

int ma_op_list_connections_prepare(struct ma_ctx *ctx)
{
    struct connections_query *q = ma_arena_zalloc(ctx->arena, sizeof *q);
    if (!q)
        return MA_E_NOMEM;
    ctx->scratch = q;
    int r = ma_take(ctx, TAKE_NORMAL, TAKE_MAX, &q->take);
    return r == MA_OK ? ma_cursor_read(ctx, "connections", &q->after) : r;
}

static int by_name(const void *a, const void *b)
{
    const struct ma_state_connection *const *x = a, *const *y = b;
    return compare((*x)->name, (*y)->name);
}

static void write_connection(struct ma_jw *w, const struct ma_state_connection *c)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "name", c->name);
    ma_jw_kstr(w, "strategy", c->strategy);
    ma_jw_key(w, "scopes");
    ma_jw_arr(w);
    for (size_t i = 0; i < c->provider.scopes.n; i++)
        ma_jw_str(w, c->provider.scopes.v[i]);
    ma_jw_arr_end(w);
    ma_jw_obj_end(w);
}

int ma_op_list_connections(struct ma_ctx *ctx)
{
    const struct connections_query *q = ctx->scratch;
    const struct ma_state *s = ctx->state;
    const struct ma_state_connection **v = ma_arena_calloc(ctx->arena, s->n_connections + 1, sizeof *v);
    size_t n = 0;
    struct ma_jw w;
    if (!v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < s->n_connections; i++)
        if (ma_state_connectable(&s->connections[i], ctx->who.client_id) &&
            (!q->after.p || compare(s->connections[i].name, q->after) > 0))
            v[n++] = &s->connections[i];
    qsort(v, n, sizeof(struct ma_state_connection *), by_name);
    size_t shown = n < q->take ? n : q->take;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "connections");
    ma_jw_arr(&w);
    for (size_t i = 0; i < shown; i++)
        write_connection(&w, v[i]);
    ma_jw_arr_end(&w);
    if (shown < n)
        write_next(ctx, &w, "connections", v[shown - 1]->name);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

/* --- DELETE --- */

/* ^cac_[A-Za-z0-9]+$ */
static bool is_account_id(struct ma_span s)
{
    bool good = s.n > 4 && s.n <= MA_CURSOR_KEY_MAX - NUMBER_BYTES && memcmp(s.p, "cac_", 4) == 0;
    for (size_t i = 4; i < s.n && good; i++)
        good = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= '0' && s.p[i] <= '9');
    return good;
}

int ma_op_delete_account_prepare(struct ma_ctx *ctx)
{
    if (!is_account_id(ctx->req.params[0]))
        return ma_problem_at(ctx, "/id", "params/id must match pattern \"^cac_[A-Za-z0-9]+$\"");
    return MA_OK;
}

static int revoke(struct ma_ctx *ctx)
{
    ma_accounts_revoke(ctx, ctx->scratch);
    return ma_reply_empty(ctx, 204);
}

int ma_op_delete_account(struct ma_ctx *ctx)
{
    struct ma_leftover *left = ma_arena_zalloc(ctx->arena, sizeof *left);
    struct ma_account acc;
    if (!left)
        return MA_E_NOMEM;
    int r = ma_accounts_delete(ctx, ctx->req.params[0], &acc);
    if (r != MA_OK)
        return r;
    if (ma_accounts_leftover(ctx, &acc, left) < 0 || !ma_accounts_must_revoke(ctx, left))
        return ma_reply_empty(ctx, 204); /* a token that cannot be opened can be of no use to anybody */
    ctx->scratch = left;
    return ma_next(ctx, MA_LANE_NET, revoke);
}

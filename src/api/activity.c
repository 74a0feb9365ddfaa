/* SPDX-License-Identifier: Apache-2.0
 * GET /activity: what happened to the user's account, from the audit trail.
 */
#include "int.h"

#include "ma/account.h"
#include "ma/app.h"
#include "ma/clock.h"
#include "ma/codec.h"
#include "paging.h"
#include "place_json.h"

enum { NORMAL = 20, MOST = 100, BATCH = 100, LOOKED_AT_MAX = 2000, ID_BYTES = 12, PLACE_BYTES = 8 };

struct page {
    size_t take;
    int64_t before;       /* ids below this one */
    int64_t since, until; /* ms */
    bool all;             /* types */
    bool wanted[MA_ACTIVITY_TYPES_MAX];
};

static int read_time(struct ma_ctx *ctx, const char *name, int64_t *ret)
{
    struct ma_span s = ma_query(ctx, name);
    if (!s.p || ma_iso_parse(s, ret) == MA_OK)
        return MA_OK;
    return ma_problem_at(ctx, ma_arena_printf(ctx->arena, "/%s", name),
                         ma_arena_printf(ctx->arena, "query/%s must match format \"date-time\"", name));
}

/* Names with commas between them. */
static int read_types(struct ma_ctx *ctx, struct page *p)
{
    struct ma_span rest = ma_query(ctx, "type");
    p->all = !rest.p;
    while (rest.p) {
        const uint8_t *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        unsigned type = ma_activity_type(ma_span_of(rest.p, n));
        if (type == MA_ACTIVITY_TYPES_MAX)
            return ma_problem_at(ctx, "/type", "query/type must be equal to one of the allowed values");
        p->wanted[type] = true;
        rest = comma ? ma_span_of(comma + 1, rest.n - n - 1) : MA_SPAN_NULL;
    }
    return MA_OK;
}

static int read_place(struct ma_ctx *ctx, struct page *p)
{
    struct ma_span key;
    uint64_t id = 0;
    int r = ma_cursor_read(ctx, "activity", &key);
    p->before = INT64_MAX;
    if (r != MA_OK || key.n != PLACE_BYTES)
        return r;
    for (size_t i = 0; i < PLACE_BYTES; i++)
        id = id << 8 | key.p[i];
    p->before = (int64_t)id;
    return MA_OK;
}

static const char *make_place(struct ma_ctx *ctx, int64_t id)
{
    uint8_t key[PLACE_BYTES];
    for (size_t i = 0; i < PLACE_BYTES; i++)
        key[i] = (uint8_t)((uint64_t)id >> (8 * (PLACE_BYTES - 1 - i)));
    return ma_cursor_make(ctx, "activity", ma_span_of(key, sizeof key));
}

int ma_op_list_activity_prepare(struct ma_ctx *ctx)
{
    struct page *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    ctx->scratch = p;
    if (!p)
        return MA_E_NOMEM;
    p->until = INT64_MAX;
    int r = ma_take(ctx, NORMAL, MOST, &p->take);
    if (r == MA_OK)
        r = read_place(ctx, p);
    if (r == MA_OK)
        r = read_types(ctx, p);
    if (r == MA_OK)
        r = read_time(ctx, "since", &p->since);
    return r == MA_OK ? read_time(ctx, "until", &p->until) : r;
}

/* The numbers of rows would tell how much all users do: an id of the user's own stands for them. */
static int put_id(struct ma_ctx *ctx, struct ma_jw *w, int64_t id)
{
    uint8_t mac[32];
    char text[MA_B64URL_LEN(ID_BYTES) + 1];
    int r = ma_vault_mac(ctx->app->vault, "activity-id", ctx->who.user_id, ma_span_of(&id, sizeof id), mac);
    if (r < 0)
        return r;
    ma_b64url_encode(ma_span_of(mac, ID_BYTES), text);
    ma_jw_kcstr(w, "id", text);
    return MA_OK;
}

/* Only what is named here leaves the row. Where an operator did it, address and browser are the operator's. */
static int put_event(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_audit_row *row, const struct ma_activity *a)
{
    struct ma_place from = {row->ip, row->user_agent};
    ma_jw_obj(w);
    int r = put_id(ctx, w, row->id);
    ma_jw_kcstr(w, "type", a->type);
    ma_jw_kcstr(w, "outcome", a->outcome);
    ma_jw_kcstr(w, "description", a->text);
    ma_jw_kdate(w, "at", row->at);
    ma_jw_kcstr(w, "by", a->by_operator ? "operator" : "user");
    if (!a->by_operator) {
        ma_write_application(ctx, w, row->client_id);
        ma_write_place(ctx, w, &from);
    }
    if (a->factor.p)
        ma_jw_kstr(w, "authentication_method", a->factor);
    if (a->factor_id.p)
        ma_jw_kstr(w, "authentication_method_id", a->factor_id);
    if (a->connection.p)
        ma_jw_kstr(w, "connection", a->connection);
    ma_jw_obj_end(w);
    return r;
}

/* A list being filled: ends when it is full, the rows are over, or enough of them were looked at. */
struct fill {
    struct page *p;
    size_t shown, seen;
    bool over;
};

static int take_batch(struct ma_ctx *ctx, struct ma_jw *w, struct fill *f, struct ma_audit_row *rows)
{
    struct page *p = f->p;
    size_t n = 0;
    int r = ma_audit_list_newest(ctx->db, ctx->arena, ctx->who.user_id, p->before, p->since, p->until, rows, BATCH, &n);
    for (size_t i = 0; r == MA_OK && i < n && f->shown < p->take; i++) {
        struct ma_activity a;
        f->seen++;
        p->before = rows[i].id;
        if (!ma_activity_of(ctx->arena, &rows[i], &a) || !(p->all || p->wanted[ma_activity_type(ma_span_str(a.type))]))
            continue;
        f->shown++;
        r = put_event(ctx, w, &rows[i], &a);
    }
    f->over = n < BATCH && (n == 0 || p->before == rows[n - 1].id);
    return r;
}

int ma_op_list_activity(struct ma_ctx *ctx)
{
    struct fill f = {.p = ctx->scratch};
    struct ma_audit_row *rows = ma_arena_calloc(ctx->arena, BATCH, sizeof *rows);
    struct ma_jw w;
    int r = rows ? MA_OK : MA_E_NOMEM;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "events");
    ma_jw_arr(&w);
    while (r == MA_OK && !f.over && f.shown < f.p->take && f.seen < LOOKED_AT_MAX)
        r = take_batch(ctx, &w, &f, rows);
    ma_jw_arr_end(&w);
    if (r == MA_OK && !f.over)
        ma_jw_kcstr(&w, "next", make_place(ctx, f.p->before));
    ma_jw_obj_end(&w);
    return r == MA_OK ? ma_reply_end(ctx) : r;
}

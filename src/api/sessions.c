/* SPDX-License-Identifier: Apache-2.0
 * GET /sessions, DELETE /sessions/{id} and DELETE /sessions?except=current: where the user is signed in.
 */
#include "int.h"

#include "ma/account.h"
#include "ma/app.h"
#include "ma/assurance.h"
#include "ma/seen.h"
#include "paging.h"
#include "place_json.h"

enum { NORMAL = 20, MOST = 50, PLACE_BYTES = 8 };

struct page {
    size_t take;
    struct ma_signin_row after;
};

/* A place is the time, eight bytes, and the id. */
static int read_place(struct ma_ctx *ctx, struct ma_signin_row *ret)
{
    struct ma_span key;
    uint64_t at = 0;
    int r = ma_cursor_read(ctx, "sessions", &key);
    if (r != MA_OK || key.n <= PLACE_BYTES)
        return r;
    for (size_t i = 0; i < PLACE_BYTES; i++)
        at = at << 8 | key.p[i];
    ret->created_at = (int64_t)at;
    ret->id = ma_span_of(key.p + PLACE_BYTES, key.n - PLACE_BYTES);
    return MA_OK;
}

static const char *make_place(struct ma_ctx *ctx, const struct ma_signin_row *row)
{
    uint8_t *key = ma_arena_alloc(ctx->arena, PLACE_BYTES + row->id.n);
    if (!key)
        return NULL;
    for (size_t i = 0; i < PLACE_BYTES; i++)
        key[i] = (uint8_t)((uint64_t)row->created_at >> (8 * (PLACE_BYTES - 1 - i)));
    memcpy(key + PLACE_BYTES, row->id.p, row->id.n);
    return ma_cursor_make(ctx, "sessions", ma_span_of(key, PLACE_BYTES + row->id.n));
}

int ma_op_list_sessions_prepare(struct ma_ctx *ctx)
{
    struct page *p = ma_arena_zalloc(ctx->arena, sizeof *p);
    ctx->scratch = p;
    if (!p)
        return MA_E_NOMEM;
    int r = ma_take(ctx, NORMAL, MOST, &p->take);
    return r == MA_OK ? read_place(ctx, &p->after) : r;
}

static void put_amr(struct ma_jw *w, const struct ma_authn *authn)
{
    const char *names[MA_AMR_NAMES_MAX];
    ma_amr_names(authn->amr, names);
    ma_jw_key(w, "amr");
    ma_jw_arr(w);
    for (size_t i = 0; i < MA_AMR_NAMES_MAX && names[i]; i++)
        ma_jw_cstr(w, names[i]);
    ma_jw_arr_end(w);
}

/* What is noted may not be written yet. */
static int64_t used_at(struct ma_ctx *ctx, const struct ma_signin_row *s)
{
    int64_t noted = ma_seen_at(ctx->app->seen, ctx->who.user_id, s->session_id.p ? s->session_id : s->id, s->client_id);
    return noted > s->used_at ? noted : s->used_at;
}

static void put_session(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_signin_row *s)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", s->id);
    ma_jw_kcstr(w, "kind", s->is_family ? "application" : "browser");
    ma_jw_kbool(w, "current", ma_signin_is_current(ctx, s));
    ma_write_application(ctx, w, s->client_id);
    if (s->session_id.p)
        ma_jw_kstr(w, "session_id", s->session_id);
    if (s->org_id.p)
        ma_jw_kstr(w, "org_id", s->org_id);
    ma_write_place(ctx, w, &s->from);
    put_amr(w, &s->authn);
    ma_jw_kdate(w, "authenticated_at", s->authn.auth_at);
    ma_jw_kdate(w, "created_at", s->created_at);
    ma_jw_kdate(w, "last_used_at", used_at(ctx, s));
    if (s->expires_at)
        ma_jw_kdate(w, "expires_at", s->expires_at);
    ma_jw_obj_end(w);
}

int ma_op_list_sessions(struct ma_ctx *ctx)
{
    const struct page *p = ctx->scratch;
    struct ma_signin_row *v = ma_arena_calloc(ctx->arena, p->take + 1, sizeof *v);
    size_t n = 0;
    struct ma_jw w;
    if (!v)
        return MA_E_NOMEM;
    int r = ma_signin_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, &p->after, v, p->take + 1, &n);
    if (r < 0)
        return r;
    bool more = n > p->take;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "sessions");
    ma_jw_arr(&w);
    for (size_t i = 0; i < n - more; i++)
        put_session(ctx, &w, &v[i]);
    ma_jw_arr_end(&w);
    if (more)
        ma_jw_kcstr(&w, "next", make_place(ctx, &v[n - 2]));
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_delete_session(struct ma_ctx *ctx)
{
    int r = ma_account_sign_out(ctx, ctx->req.params[0]);
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

int ma_op_delete_sessions_prepare(struct ma_ctx *ctx)
{
    struct ma_span except = ma_query(ctx, "except");
    if (!except.p)
        return ma_problem_at(ctx, "/except", "query must have required property 'except'");
    if (!ma_span_eq_str(except, "current"))
        return ma_problem_at(ctx, "/except", "query/except must be equal to one of the allowed values");
    return MA_OK;
}

int ma_op_delete_sessions(struct ma_ctx *ctx)
{
    int r = ma_account_sign_out_others(ctx);
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

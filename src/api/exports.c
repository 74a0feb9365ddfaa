/* SPDX-License-Identifier: Apache-2.0
 * POST /exports and GET /exports/{id}: a copy of everything that is held about the caller.
 */
#include "int.h"

#include "ma/app.h"
#include "ma/leaving.h"

enum { AROUND_MAX = 4096 }; /* bytes of the answer beside the document */

static void put_export(struct ma_jw *w, const struct ma_export *e)
{
    ma_jw_kstr(w, "id", e->id);
    ma_jw_kcstr(w, "status", ma_export_status_name(e->status));
    if (e->reason.p)
        ma_jw_kstr(w, "reason", e->reason);
    ma_jw_kdate(w, "created_at", e->created_at);
    if (e->ready_at)
        ma_jw_kdate(w, "ready_at", e->ready_at);
    if (e->expires_at)
        ma_jw_kdate(w, "expires_at", e->expires_at);
    if (e->status == MA_EXPORT_READY)
        ma_jw_kint(w, "size", e->size);
}

int ma_op_create_export(struct ma_ctx *ctx)
{
    struct ma_export e;
    struct ma_jw w;
    int r = ma_export_request(ctx, &e);
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 202, &w);
    ma_jw_obj(&w);
    put_export(&w, &e);
    ma_jw_obj_end(&w);
    ma_header(
        ctx, "Location",
        ma_arena_printf(ctx->arena, "%s/me/v1/exports/%.*s", ma_ctx_origin(ctx), (int)e.id.n, (const char *)e.id.p));
    return ma_reply_end(ctx);
}

static int answer(struct ma_ctx *ctx, const struct ma_export *e)
{
    struct ma_jw w;
    int r = MA_OK;
    if (e->status == MA_EXPORT_READY)
        r = ma_reply_json_large(ctx, 200, &w, (size_t)e->size + AROUND_MAX);
    else
        ma_reply_json(ctx, 200, &w);
    if (r != MA_OK)
        return r;
    ma_jw_obj(&w);
    put_export(&w, e);
    if (e->status == MA_EXPORT_READY) {
        ma_jw_key(&w, "document");
        r = ma_export_text(ctx->db, ctx->app->vault, e, &ctx->resp.body);
    }
    ma_jw_obj_end(&w);
    return r == MA_OK ? ma_reply_end(ctx) : r;
}

/* CPU: opening some hundred pieces would hold up the HTTP thread. Replaced or lapsed meanwhile: as if it never was. */
static int hand_out(struct ma_ctx *ctx)
{
    const struct ma_export *e = ctx->scratch;
    int r = answer(ctx, e);
    return r == MA_E_NOTFOUND ? ma_problem(ctx, MA_P_NO_RESOURCE, "The export does not exist.") : r;
}

/* WRITE: it is on record before anything is handed out. */
static int note(struct ma_ctx *ctx)
{
    int r = ma_export_fetched(ctx, ctx->scratch);
    return r == MA_OK ? ma_next(ctx, MA_LANE_CPU, hand_out) : r;
}

int ma_op_get_export(struct ma_ctx *ctx)
{
    struct ma_export *e = ma_arena_zalloc(ctx->arena, sizeof *e);
    if (!e)
        return MA_E_NOMEM;
    ctx->scratch = e;
    int r = ma_export_find(ctx, ctx->req.params[0], e);
    if (r != MA_OK)
        return r;
    return e->status == MA_EXPORT_READY ? ma_next(ctx, MA_LANE_WRITE, note) : answer(ctx, e);
}

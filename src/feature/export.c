/* SPDX-License-Identifier: Apache-2.0
 * Copies of everything about a user, for that user: asked for, made, handed out.
 */
#include "ma/leaving.h"

#include <stdio.h>

#include "int.h"
#include "ma/notify.h"
#include "ma/personal.h"

#define DONE "my_account_export_succeeded"
#define FAILED "my_account_export_failed"
#define PART_ID_MAX 64
enum { DAY_MS = 86400000 };

/* --- asking --- */

static int count(struct ma_ctx *ctx)
{
    const struct ma_counter_rule rule = {"exports", ctx->conf->rate_limit.exports_per_day, DAY_MS};
    struct ma_counter_state s;
    int r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0 || s.allowed)
        return r;
    ma_counter_refused(ctx, &rule);
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many copies were made today; try again later.",
                            (s.retry_after_ms + 999) / 1000);
}

static int audit(struct ma_ctx *ctx, const char *operation, struct ma_span id)
{
    const char *detail = ma_arena_printf(ctx->arena, "{\"export_id\":\"%.*s\"}", (int)id.n, (const char *)id.p);
    return detail ? ma_audit_operation(ctx, DONE, operation, ma_span_str(detail)) : MA_E_NOMEM;
}

static int new_id(struct ma_ctx *ctx, struct ma_span *ret)
{
    char id[MA_EXPORT_ID_LEN + 1] = "exp_";
    int r = ma_rand_chars(ctx->app->rand, MA_ALNUM62, id + 4, MA_EXPORT_ID_LEN - 4);
    if (r < 0)
        return r;
    *ret = ma_arena_dup(ctx->arena, ma_span_str(id));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

int ma_export_request(struct ma_ctx *ctx, struct ma_export *ret)
{
    struct ma_notice notice;
    *ret = (struct ma_export){.user_id = ctx->who.user_id, .created_at = ctx->now_ms};
    ma_audit_failure_as(ctx, FAILED, "create");
    int r = new_id(ctx, &ret->id);
    if (r == MA_OK)
        r = ma_export_insert(ctx->db, ret);
    if (r == MA_E_EXISTS)
        return ma_problem(ctx, MA_P_CONFLICT, "A copy is being made already.");
    if (r == MA_OK)
        r = count(ctx);
    if (r == MA_OK)
        r = ma_export_delete_others(ctx->db, ctx->who.user_id, ret->id);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    const struct ma_change change = {.event = MA_EVENT_DATA_EXPORTED,
                                     .subject = ret->id,
                                     .what = MA_LIT("a copy of everything that is held about you")};
    if (r == MA_OK)
        r = ma_notice_send(ctx, &notice, &change);
    ctx->wake_clerk = true;
    return r == MA_OK ? audit(ctx, "create", ret->id) : r;
}

/* --- handing out --- */

int ma_export_find(struct ma_ctx *ctx, struct ma_span id, struct ma_export *ret)
{
    int r = ma_export_get(ctx->db, ctx->arena, ctx->who.user_id, id, ret);
    bool lapsed = r == MA_OK && ret->expires_at != 0 && ret->expires_at <= ctx->now_ms;
    return r == MA_E_NOTFOUND || lapsed ? ma_problem(ctx, MA_P_NO_RESOURCE, "The export does not exist.") : r;
}

int ma_export_fetched(struct ma_ctx *ctx, const struct ma_export *e)
{
    return audit(ctx, "read", e->id);
}

static struct ma_span part_id(char out[PART_ID_MAX], struct ma_span export_id, int n)
{
    (void)snprintf(out, PART_ID_MAX, "%.*s.%06d", (int)export_id.n, (const char *)export_id.p, n);
    return ma_span_str(out);
}

static int append_part(struct ma_db *db, struct ma_vault *v, struct ma_arena *a, const struct ma_export *e, int n,
                       struct ma_buf *out)
{
    char name[PART_ID_MAX];
    struct ma_span sealed, plain;
    struct ma_seal_id id = {"export_parts", "sealed", part_id(name, e->id, n), e->user_id};
    int r = ma_export_part_get(db, a, e->user_id, id.row, &sealed);
    if (r == MA_OK)
        r = ma_vault_open_blob(v, a, &id, sealed, &plain);
    if (r < 0)
        return r;
    ma_buf_span(out, plain);
    return ma_buf_err(out);
}

int ma_export_text(struct ma_db *db, struct ma_vault *v, const struct ma_export *e, struct ma_buf *out)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    size_t before = out->n;
    if (!a)
        return MA_E_NOMEM;
    for (int n = 1;; n++) {
        ma_arena_reset(a);
        int r = append_part(db, v, a, e, n, out);
        if (r == MA_E_NOTFOUND)
            break;
        if (r < 0)
            return r;
    }
    if ((int64_t)(out->n - before) != e->size)
        return MA_E_NOTFOUND;
    if (e->size > 0 && out->p[out->n - 1] == '\n')
        out->n--;
    return MA_OK;
}

/* --- making --- */

struct job {
    const struct ma_clerk_env *env;
    struct ma_arena *a; /* of the row */
    struct ma_arena *piece_arena;
    struct ma_export e;
    int parts;
    struct ma_span piece; /* to be written */
};

static int find_fn(struct ma_db *db, void *arg)
{
    struct job *j = arg;
    return ma_export_next(db, j->a, &j->e);
}

static int begin_fn(struct ma_db *db, void *arg)
{
    const struct job *j = arg;
    return ma_export_begin(db, j->e.user_id, j->e.id);
}

static int finish_fn(struct ma_db *db, void *arg)
{
    const struct job *j = arg;
    return ma_export_finish(db, &j->e);
}

static int part_fn(struct ma_db *db, void *arg)
{
    struct job *j = arg;
    char name[PART_ID_MAX];
    struct ma_span sealed;
    struct ma_seal_id id = {"export_parts", "sealed", part_id(name, j->e.id, j->parts + 1), j->e.user_id};
    ma_arena_reset(j->piece_arena);
    int r = ma_vault_seal(j->env->vault, j->piece_arena, &id, j->piece, &sealed);
    return r == MA_OK ? ma_export_part_put(db, j->e.user_id, id.row, sealed) : r;
}

/* A user who was deleted meanwhile has no rows to hang pieces on: MA_E_CONFLICT. */
static int put(void *arg, struct ma_span text)
{
    struct job *j = arg;
    const struct ma_clerk_env *env = j->env;
    j->e.size += (int64_t)text.n;
    if (j->e.size > (int64_t)MA_EXPORT_MAX)
        return MA_E_RANGE;
    while (text.n > 0) {
        size_t n = text.n < MA_EXPORT_PART_MAX ? text.n : MA_EXPORT_PART_MAX;
        if (env->more && !env->more(env->arg))
            return MA_E_BUSY;
        j->piece = ma_span_of(text.p, n);
        int r = env->write(env->arg, part_fn, j);
        if (r < 0)
            return r;
        j->parts++;
        text = ma_span_of(text.p + n, text.n - n);
    }
    return MA_OK;
}

static int write_fn(struct ma_db *db, void *arg)
{
    struct job *j = arg;
    const struct ma_personal_sink sink = {put, j};
    return ma_personal_write(db, j->env->vault, j->e.user_id, j->env->now_ms, &sink);
}

static int finish(struct job *j, enum ma_export_status status, const char *reason)
{
    const struct ma_clerk_env *env = j->env;
    bool ready = status == MA_EXPORT_READY;
    j->e.status = status;
    j->e.reason = reason ? ma_span_str(reason) : MA_SPAN_NULL;
    j->e.size = ready ? j->e.size : 0;
    j->e.ready_at = ready ? env->now_ms : 0;
    j->e.expires_at = env->now_ms + env->export_ttl_ms;
    int r = env->write(env->arg, finish_fn, j);
    if (r == MA_OK)
        ma_metrics_add(env->metrics, MA_M_EXPORTS, ready ? MA_M_SUCCEEDED : MA_M_FAILED, 0, 1);
    if (r == MA_OK && !ready)
        ma_log(env->log, MA_LOG_ERROR, "export.failed", MA_KV_SPAN("user_id", j->e.user_id),
               MA_KV_SPAN("export_id", j->e.id), MA_KV_S("reason", reason));
    return r;
}

/* The user or the export is gone: nobody waits. */
static int or_gone(int r)
{
    return r == MA_E_CONFLICT || r == MA_E_NOTFOUND ? MA_OK : r;
}

static int make(struct job *j)
{
    const struct ma_clerk_env *env = j->env;
    if (j->e.attempts >= MA_EXPORT_TRIES)
        return or_gone(finish(j, MA_EXPORT_FAILED, "error"));
    int r = env->write(env->arg, begin_fn, j);
    j->e.size = 0;
    if (r == MA_OK)
        r = env->read(env->arg, write_fn, j);
    if (r == MA_OK)
        r = finish(j, MA_EXPORT_READY, NULL);
    else if (r == MA_E_RANGE)
        r = finish(j, MA_EXPORT_FAILED, "too_large");
    return or_gone(r);
}

int ma_export_make(const struct ma_clerk_env *env)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *piece = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    struct job j = {.env = env, .a = a, .piece_arena = piece};
    if (!a || !piece)
        return MA_E_NOMEM;
    int r = env->read(env->arg, find_fn, &j);
    return r == MA_OK ? make(&j) : r;
}

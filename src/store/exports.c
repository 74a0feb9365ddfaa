/* SPDX-License-Identifier: Apache-2.0
 * Copies of everything about a user, on their way and ready.
 */
#include "ma/leavers.h"

#include "int.h"

#define EXPORT_COLUMNS "user_id, id, status, reason, attempts, size, created_at, ready_at, expires_at"
#define IS_PENDING "WHERE user_id = $1 AND id = $2 AND status = 'pending'"
/* '/' follows '.': what lies between are the names of the pieces. */
#define PARTS_OF "WHERE user_id = $1 AND id > $2 || '.' AND id < $2 || '/'"

MA_QUERY(EXPORT_INSERT, "INSERT INTO exports (" EXPORT_COLUMNS ") VALUES ($1, $2, 'pending', NULL, 0, 0, $3, 0, 0)");
MA_QUERY(EXPORT_GET, "SELECT " EXPORT_COLUMNS " FROM exports WHERE user_id = $1 AND id = $2");
MA_QUERY(EXPORT_NEXT, "SELECT " EXPORT_COLUMNS
                      " FROM exports WHERE status = 'pending' AND created_at > 0 ORDER BY created_at LIMIT 1");
MA_QUERY(EXPORT_BEGIN, "UPDATE exports SET attempts = attempts + 1 " IS_PENDING);
MA_QUERY(EXPORT_FINISH,
         "UPDATE exports SET status = $3, reason = $4, size = $5, ready_at = $6, expires_at = $7 " IS_PENDING);
MA_QUERY(EXPORT_DROP, "DELETE FROM exports WHERE user_id = $1 AND id = $2");
MA_QUERY(EXPORT_DROP_OTHERS, "DELETE FROM exports WHERE user_id = $1 AND id <> $2");
MA_QUERY(EXPORT_LAPSED, "SELECT " EXPORT_COLUMNS " FROM exports WHERE expires_at > 0 AND expires_at < $1 "
                        "ORDER BY expires_at LIMIT $2");
MA_QUERY(EXPORT_PART_INSERT, "INSERT INTO export_parts (user_id, id, sealed) VALUES ($1, $2, $3)");
MA_QUERY(EXPORT_PART_GET, "SELECT sealed FROM export_parts WHERE user_id = $1 AND id = $2");
MA_QUERY(EXPORT_PARTS_DROP, "DELETE FROM export_parts " PARTS_OF);
MA_QUERY(EXPORT_PARTS_DROP_ALL, "DELETE FROM export_parts WHERE user_id = $1");

static const char *const statuses[] = {
    [MA_EXPORT_PENDING] = "pending", [MA_EXPORT_READY] = "ready", [MA_EXPORT_FAILED] = "failed"};

const char *ma_export_status_name(enum ma_export_status s)
{
    return statuses[s];
}

static int read_export(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_export *e = (struct ma_export *)ret + i;
    *e = (struct ma_export){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .reason = ma_store_col(st, 3, a, &err),
        .attempts = ma_col_int(st, 4),
        .size = ma_col_int(st, 5),
        .created_at = ma_col_int(st, 6),
        .ready_at = ma_col_int(st, 7),
        .expires_at = ma_col_int(st, 8),
    };
    for (int s = 0; s < (int)MA_COUNT(statuses); s++)
        if (ma_span_eq_str(ma_col_view(st, 2), statuses[s]))
            e->status = (enum ma_export_status)s;
    return err;
}

int ma_export_insert(struct ma_db *db, const struct ma_export *e)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_INSERT, e->user_id, e->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, e->created_at);
    return ma_stmt_run(st);
}

int ma_export_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                  struct ma_export *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_GET, user_id, id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_export(st, a, 0, ret) : r;
}

int ma_export_next(struct ma_db *db, struct ma_arena *a, struct ma_export *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_EXPORT_NEXT, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_export(st, a, 0, ret) : r;
}

static int drop_parts(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_PARTS_DROP, user_id, id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_export_begin(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_BEGIN, user_id, id, &st);
    if (r == MA_OK)
        r = ma_store_change(db, st, MA_E_CONFLICT);
    return r == MA_OK ? drop_parts(db, user_id, id) : r;
}

int ma_export_finish(struct ma_db *db, const struct ma_export *e)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_FINISH, e->user_id, e->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, ma_span_str(statuses[e->status]));
    ma_bind_text(st, 4, e->reason);
    ma_bind_int(st, 5, e->size);
    ma_bind_int(st, 6, e->ready_at);
    ma_bind_int(st, 7, e->expires_at);
    r = ma_store_change(db, st, MA_E_CONFLICT);
    return r == MA_OK && e->status != MA_EXPORT_READY ? drop_parts(db, e->user_id, e->id) : r;
}

int ma_export_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = drop_parts(db, user_id, id);
    if (r == MA_OK)
        r = ma_store_stmt_id(db, &ma_q_EXPORT_DROP, user_id, id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

static int drop_all_parts(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_EXPORT_PARTS_DROP_ALL, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_export_delete_others(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = drop_all_parts(db, user_id); /* `id` has none yet */
    if (r == MA_OK)
        r = ma_store_stmt_id(db, &ma_q_EXPORT_DROP_OTHERS, user_id, id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_export_part_put(struct ma_db *db, struct ma_span user_id, struct ma_span part_id, struct ma_span sealed)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_PART_INSERT, user_id, part_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 3, sealed);
    return ma_stmt_run(st);
}

int ma_export_part_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span part_id,
                       struct ma_span *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_EXPORT_PART_GET, user_id, part_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_store_col(st, 0, a, &r);
    return r;
}

int ma_exports_expire(struct ma_db *db, int64_t before, int limit)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    struct ma_export v[MA_EXPORTS_EXPIRED_MAX];
    size_t n = 0, cap = limit < MA_EXPORTS_EXPIRED_MAX ? (size_t)limit : MA_EXPORTS_EXPIRED_MAX;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = a ? ma_db_stmt(db, &ma_q_EXPORT_LAPSED, &st) : MA_E_NOMEM;
    if (r < 0)
        return r;
    ma_bind_int(st, 1, before);
    ma_bind_int(st, 2, (int64_t)cap);
    r = ma_store_rows(st, a, cap, &n, read_export, v);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        r = ma_export_delete(db, v[i].user_id, v[i].id);
    if (r < 0)
        return r;
    return n == cap ? limit : (int)n;
}

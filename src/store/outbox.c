/* SPDX-License-Identifier: Apache-2.0
 * Durable deliveries. The courier works for all users, so these queries go by the row's id.
 */
#include "ma/store.h"

#include "int.h"

#define OUTBOX_COLUMNS "id, channel, user_id, payload, attempts, created_at, next_at, dead, last_error"

MA_QUERY(OUTBOX_INSERT, "INSERT INTO outbox (" OUTBOX_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
MA_QUERY(OUTBOX_DUE,
         "SELECT " OUTBOX_COLUMNS " FROM outbox WHERE dead = 0 AND next_at <= $1 ORDER BY next_at, id LIMIT $2");
MA_QUERY(OUTBOX_NEXT, "SELECT next_at FROM outbox WHERE dead = 0 ORDER BY next_at LIMIT 1");
MA_QUERY(OUTBOX_COUNT_ALIVE, "SELECT channel, created_at FROM outbox WHERE dead = 0 ORDER BY next_at, id LIMIT $1");
MA_QUERY(OUTBOX_COUNT_DEAD, "SELECT channel, created_at FROM outbox WHERE dead = 1 ORDER BY created_at, id LIMIT $1");
MA_QUERY(OUTBOX_DONE, "DELETE FROM outbox WHERE id = $1");
MA_QUERY(OUTBOX_RETRY, "UPDATE outbox SET attempts = attempts + 1, next_at = $2, dead = $3, last_error = $4 "
                       "WHERE id = $1 AND dead = 0");
MA_QUERY(OUTBOX_DEFER, "UPDATE outbox SET next_at = $2 WHERE id = $1 AND dead = 0");
MA_QUERY(OUTBOX_DEAD, "SELECT " OUTBOX_COLUMNS " FROM outbox WHERE dead = 1 ORDER BY created_at, id LIMIT $1");
/* With all its tries again: otherwise the next failure would be the last. */
MA_QUERY(OUTBOX_REVIVE, "UPDATE outbox SET dead = 0, attempts = 0, next_at = $2 WHERE id = $1 AND dead = 1");
MA_QUERY(OUTBOX_REVIVE_ALL, "UPDATE outbox SET dead = 0, attempts = 0, next_at = $1 WHERE dead = 1");

int ma_outbox_insert(struct ma_db *db, const struct ma_outbox_row *row)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OUTBOX_INSERT, row->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, row->channel);
    ma_bind_text(st, 3, row->user_id);
    ma_bind_blob(st, 4, row->payload);
    ma_bind_int(st, 5, row->attempts);
    ma_bind_int(st, 6, row->created_at);
    ma_bind_int(st, 7, row->next_at);
    ma_bind_int(st, 8, row->dead);
    ma_bind_text(st, 9, row->last_error);
    return ma_stmt_run(st);
}

static int read_row(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_outbox_row *row = (struct ma_outbox_row *)ret + i;
    *row = (struct ma_outbox_row){
        .id = ma_store_col(st, 0, a, &err),
        .channel = ma_store_col(st, 1, a, &err),
        .user_id = ma_store_col(st, 2, a, &err),
        .payload = ma_store_col(st, 3, a, &err),
        .attempts = (int)ma_col_int(st, 4),
        .created_at = ma_col_int(st, 5),
        .next_at = ma_col_int(st, 6),
        .dead = ma_col_int(st, 7) != 0,
        .last_error = ma_store_col(st, 8, a, &err),
    };
    return err;
}

int ma_outbox_due(struct ma_db *db, struct ma_arena *a, int64_t now, struct ma_outbox_row *ret, size_t cap,
                  size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_OUTBOX_DUE, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, now);
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_row, ret);
}

int ma_outbox_next(struct ma_db *db, int64_t *ret_at)
{
    *ret_at = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_OUTBOX_NEXT, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret_at = ma_col_int(st, 0);
    return r;
}

static void count_row(struct ma_stmt *st, const char *const *channels, size_t n, struct ma_outbox_count *ret)
{
    struct ma_span channel = ma_col_view(st, 0);
    int64_t at = ma_col_int(st, 1);
    for (size_t i = 0; i < n; i++) {
        if (!ma_span_eq_str(channel, channels[i]))
            continue;
        if (ret[i].n++ == 0 || at < ret[i].oldest_at)
            ret[i].oldest_at = at;
    }
}

int ma_outbox_count(struct ma_db *db, bool dead, const char *const *channels, size_t n, struct ma_outbox_count *ret)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct ma_outbox_count){0, 0};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, dead ? &ma_q_OUTBOX_COUNT_DEAD : &ma_q_OUTBOX_COUNT_ALIVE, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, MA_OUTBOX_COUNT_MAX);
    while ((r = ma_stmt_step(st)) == MA_OK)
        count_row(st, channels, n, ret);
    return ma_store_end(r);
}

int ma_outbox_done(struct ma_db *db, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OUTBOX_DONE, id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

int ma_outbox_retry(struct ma_db *db, struct ma_span id, int64_t next_at, bool dead, struct ma_span error)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OUTBOX_RETRY, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, next_at);
    ma_bind_int(st, 3, dead);
    ma_bind_text(st, 4, error);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_outbox_defer(struct ma_db *db, struct ma_span id, int64_t next_at)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OUTBOX_DEFER, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, next_at);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_outbox_dead(struct ma_db *db, struct ma_arena *a, struct ma_outbox_row *ret, size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_OUTBOX_DEAD, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_row, ret);
}

int ma_outbox_revive(struct ma_db *db, struct ma_span id, int64_t now)
{
    bool all = id.n == 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, all ? &ma_q_OUTBOX_REVIVE_ALL : &ma_q_OUTBOX_REVIVE, &st);
    if (r != MA_OK)
        return r;
    if (!all)
        ma_bind_text(st, 1, id);
    ma_bind_int(st, all ? 1 : 2, now);
    return ma_store_change(db, st, all ? MA_OK : MA_E_NOTFOUND);
}

/* SPDX-License-Identifier: Apache-2.0
 * Password hashes and their history.
 */
#include "ma/store.h"

#include "int.h"

MA_QUERY(PASSWORD_GET, "SELECT hash, created_at, changed_at, must_reset, used_at, used_ip, used_agent FROM passwords "
                       "WHERE user_id = $1");
MA_QUERY(PASSWORD_SET, "INSERT INTO passwords (user_id, hash, created_at, changed_at) VALUES ($1, $2, $3, 0) "
                       "ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.created_at, "
                       "must_reset = 0");
MA_QUERY(PASSWORD_USED, "UPDATE passwords SET used_at = $2, used_ip = $3, used_agent = $4 WHERE user_id = $1");
MA_QUERY(PASSWORD_MUST_RESET, "UPDATE passwords SET must_reset = 1 WHERE user_id = $1");
MA_QUERY(PASSWORD_REHASH, "UPDATE passwords SET hash = $3 WHERE user_id = $1 AND hash = $2");
MA_QUERY(HISTORY_ADD, "INSERT INTO password_history (user_id, seq, hash, created_at) "
                      "SELECT $1, coalesce(max(seq), 0) + 1, $2, $3 FROM password_history WHERE user_id = $1");
MA_QUERY(HISTORY_TRIM, "DELETE FROM password_history WHERE user_id = $1 AND seq <= "
                       "(SELECT max(seq) FROM password_history WHERE user_id = $1) - $2");
MA_QUERY(HISTORY_REHASH, "UPDATE password_history SET hash = $3 WHERE user_id = $1 AND hash = $2");
MA_QUERY(PASSWORD_DELETE, "DELETE FROM passwords WHERE user_id = $1");
MA_QUERY(HISTORY_DELETE, "DELETE FROM password_history WHERE user_id = $1");
MA_QUERY(HISTORY_LIST, "SELECT hash FROM password_history WHERE user_id = $1 ORDER BY seq DESC LIMIT $2");

int ma_password_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_password_row *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PASSWORD_GET, user_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r != MA_OK)
        return r;
    ret->hash = ma_store_col(st, 0, a, &r);
    ret->created_at = ma_col_int(st, 1);
    ret->changed_at = ma_col_int(st, 2);
    ret->must_reset = ma_col_int(st, 3) != 0;
    ret->used_at = ma_col_int(st, 4);
    ret->used_from = (struct ma_place){ma_store_col(st, 5, a, &r), ma_store_col(st, 6, a, &r)};
    return r;
}

static int put_hash(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span hash, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, q, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, hash);
    ma_bind_int(st, 3, now);
    return ma_stmt_run(st);
}

static int trim_history(struct ma_db *db, struct ma_span user_id, int keep)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_HISTORY_TRIM, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, keep);
    return ma_stmt_run(st);
}

int ma_password_set(struct ma_db *db, struct ma_span user_id, struct ma_span hash, int keep_history, int64_t now)
{
    int keep = keep_history > 0 ? keep_history : 0;
    int r = put_hash(db, &ma_q_PASSWORD_SET, user_id, hash, now);
    if (r == MA_OK && keep > 0)
        r = put_hash(db, &ma_q_HISTORY_ADD, user_id, hash, now);
    return r == MA_OK ? trim_history(db, user_id, keep) : r;
}

static int replace_hash(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span old_hash,
                        struct ma_span new_hash, int none)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, q, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, old_hash);
    ma_bind_text(st, 3, new_hash);
    return ma_store_change(db, st, none);
}

int ma_password_rehash(struct ma_db *db, struct ma_span user_id, struct ma_span old_hash, struct ma_span new_hash)
{
    int r = replace_hash(db, &ma_q_PASSWORD_REHASH, user_id, old_hash, new_hash, MA_E_CONFLICT);
    if (r != MA_OK)
        return r;
    /* the weaker string must not live on in the history */
    return replace_hash(db, &ma_q_HISTORY_REHASH, user_id, old_hash, new_hash, MA_OK);
}

static int read_hash(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    ((struct ma_span *)ret)[i] = ma_store_col(st, 0, a, &err);
    return err;
}

int ma_password_history(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int limit, struct ma_span *ret,
                        size_t *ret_n)
{
    *ret_n = 0;
    size_t cap = limit > 0 ? (size_t)limit : 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_HISTORY_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_hash, ret);
}

static int delete_rows(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, q, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_password_delete(struct ma_db *db, struct ma_span user_id)
{
    int r = delete_rows(db, &ma_q_HISTORY_DELETE, user_id);
    if (r == MA_OK)
        r = delete_rows(db, &ma_q_PASSWORD_DELETE, user_id);
    if (r == MA_OK && ma_db_changes(db) != 1)
        r = MA_E_NOTFOUND;
    return r;
}

int ma_password_must_reset(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PASSWORD_MUST_RESET, user_id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

int ma_password_used(struct ma_db *db, struct ma_span user_id, int64_t now, const struct ma_place *from)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PASSWORD_USED, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_text(st, 3, from->ip);
    ma_bind_text(st, 4, from->user_agent);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

/* SPDX-License-Identifier: Apache-2.0
 * Users who are about to be deleted.
 */
#include "ma/leavers.h"

#include "int.h"

MA_QUERY(LEAVING_BEGIN, "UPDATE users SET leaving_since = $2, leaves_at = $3, restore_mac = $4 WHERE user_id = $1 "
                        "AND leaves_at = 0");
MA_QUERY(LEAVING_END, "UPDATE users SET leaving_since = 0, leaves_at = 0 WHERE user_id = $1 AND leaves_at > $2 "
                      "AND pseudonym IS NULL");
MA_QUERY(LEAVING_BY_LINK, "SELECT user_id FROM users WHERE restore_mac = $1 AND restore_mac IS NOT NULL");
MA_QUERY(LEAVING_DUE, "SELECT user_id, pseudonym FROM users WHERE leaves_at > 0 AND leaves_at <= $1 "
                      "ORDER BY leaves_at LIMIT $2");
MA_QUERY(LEAVING_ERASE, "UPDATE users SET pseudonym = $3 WHERE user_id = $1 AND leaves_at > 0 AND leaves_at <= $2 "
                        "AND pseudonym IS NULL");
MA_QUERY(LEAVING_COUNT, "SELECT count(*) FROM users WHERE leaves_at > 0");

int ma_leaving_begin(struct ma_db *db, struct ma_span user_id, int64_t now, int64_t leaves_at, struct ma_span mac)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_LEAVING_BEGIN, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_int(st, 3, leaves_at);
    ma_bind_blob(st, 4, mac);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_leaving_end(struct ma_db *db, struct ma_span user_id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_LEAVING_END, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_leaving_by_link(struct ma_db *db, struct ma_arena *a, struct ma_span mac, struct ma_user *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_LEAVING_BY_LINK, mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    struct ma_span user_id = r == MA_OK ? ma_store_col(st, 0, a, &r) : MA_SPAN_NULL;
    return r == MA_OK ? ma_user_get(db, a, user_id, ret) : r;
}

static int read_leaver(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    ((struct ma_leaver *)ret)[i] = (struct ma_leaver){ma_store_col(st, 0, a, &err), ma_store_col(st, 1, a, &err)};
    return err;
}

int ma_leaving_due(struct ma_db *db, struct ma_arena *a, int64_t now, struct ma_leaver *ret, size_t cap, size_t *ret_n)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    *ret_n = 0;
    int r = ma_db_stmt(db, &ma_q_LEAVING_DUE, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, now);
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_leaver, ret);
}

int ma_leaving_erase(struct ma_db *db, struct ma_span user_id, int64_t now, struct ma_span pseudonym)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_LEAVING_ERASE, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_text(st, 3, pseudonym);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_leaving_count(struct ma_db *db, int64_t *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_LEAVING_COUNT, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_col_int(st, 0);
    return r;
}

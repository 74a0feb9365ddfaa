/* SPDX-License-Identifier: Apache-2.0
 * Security notices with their undo links, and links that set a new password.
 */
#include "ma/store.h"

#include "int.h"

#define NOTICE_COLUMNS "id, token_mac, user_id, event, subject, info, kept, outcome, created_at, expires_at, used_at"

MA_QUERY(NOTICE_INSERT, "INSERT INTO notices (" NOTICE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)");
MA_QUERY(NOTICE_BY_TOKEN, "SELECT " NOTICE_COLUMNS " FROM notices WHERE token_mac = $1");
MA_QUERY(NOTICE_LIST, "SELECT " NOTICE_COLUMNS " FROM notices WHERE user_id = $1 AND event = $2 AND used_at = 0 "
                      "AND expires_at > $3 ORDER BY created_at LIMIT $4");
MA_QUERY(NOTICE_USE, "UPDATE notices SET used_at = $4, outcome = $3, kept = NULL "
                     "WHERE user_id = $1 AND id = $2 AND used_at = 0 AND expires_at > $4");
MA_QUERY(NOTICE_VOID, "UPDATE notices SET used_at = $6, outcome = $5, kept = NULL WHERE user_id = $1 AND event = $2 "
                      "AND created_at >= $3 AND (CAST($4 AS TEXT) IS NULL OR subject = $4) AND used_at = 0 "
                      "AND id <> $7");
MA_QUERY(NOTICE_EXPIRE, "DELETE FROM notices WHERE id IN (SELECT id FROM notices WHERE expires_at < $1 "
                        "ORDER BY expires_at LIMIT $2)");

MA_QUERY(RESET_DROP, "DELETE FROM password_resets WHERE user_id = $1");
MA_QUERY(RESET_INSERT, "INSERT INTO password_resets (user_id, token_mac, created_at, expires_at, used_at) "
                       "VALUES ($1, $2, $3, $4, 0)");
MA_QUERY(RESET_BY_TOKEN, "SELECT token_mac, user_id, created_at, expires_at, used_at FROM password_resets "
                         "WHERE token_mac = $1");
MA_QUERY(RESET_USE, "UPDATE password_resets SET used_at = $3 WHERE user_id = $1 AND token_mac = $2 AND used_at = 0 "
                    "AND expires_at > $3");
MA_QUERY(RESET_EXPIRE, "DELETE FROM password_resets WHERE token_mac IN (SELECT token_mac FROM password_resets "
                       "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)");

/* --- notices --- */

int ma_notice_insert(struct ma_db *db, const struct ma_notice_row *row)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_NOTICE_INSERT, row->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 2, row->token_mac);
    ma_bind_text(st, 3, row->user_id);
    ma_bind_text(st, 4, row->event);
    ma_bind_text(st, 5, row->subject);
    ma_bind_blob(st, 6, row->info);
    ma_bind_blob(st, 7, row->kept);
    ma_bind_text(st, 8, row->outcome);
    ma_bind_int(st, 9, row->created_at);
    ma_bind_int(st, 10, row->expires_at);
    return ma_stmt_run(st);
}

static int read_notice(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    ((struct ma_notice_row *)ret)[i] = (struct ma_notice_row){
        .id = ma_store_col(st, 0, a, &err),
        .token_mac = ma_store_col(st, 1, a, &err),
        .user_id = ma_store_col(st, 2, a, &err),
        .event = ma_store_col(st, 3, a, &err),
        .subject = ma_store_col(st, 4, a, &err),
        .info = ma_store_col(st, 5, a, &err),
        .kept = ma_store_col(st, 6, a, &err),
        .outcome = ma_store_col(st, 7, a, &err),
        .created_at = ma_col_int(st, 8),
        .expires_at = ma_col_int(st, 9),
        .used_at = ma_col_int(st, 10),
    };
    return err;
}

int ma_notice_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac, struct ma_notice_row *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_NOTICE_BY_TOKEN, token_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_notice(st, a, 0, ret) : r;
}

int ma_notice_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span event, int64_t now,
                   struct ma_notice_row *ret, size_t cap, size_t *ret_n)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    *ret_n = 0;
    int r = ma_store_stmt_id(db, &ma_q_NOTICE_LIST, user_id, event, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_int(st, 4, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_notice, ret);
}

int ma_notice_use(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span outcome, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_NOTICE_USE, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, outcome);
    ma_bind_int(st, 4, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_notice_void(struct ma_db *db, const struct ma_notice_row *but, struct ma_span event, struct ma_span subject,
                   struct ma_span outcome, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_NOTICE_VOID, but->user_id, event, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, but->created_at);
    ma_bind_text(st, 4, subject);
    ma_bind_text(st, 5, outcome);
    ma_bind_int(st, 6, now);
    ma_bind_text(st, 7, but->id);
    return ma_stmt_run(st);
}

int ma_notices_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_NOTICE_EXPIRE, before, limit);
}

/* --- password resets --- */

static int drop_resets(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_RESET_DROP, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_reset_insert(struct ma_db *db, const struct ma_reset *row)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = drop_resets(db, row->user_id);
    if (r == MA_OK)
        r = ma_store_stmt_mac(db, &ma_q_RESET_INSERT, row->user_id, row->token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, row->created_at);
    ma_bind_int(st, 4, row->expires_at);
    return ma_stmt_run(st);
}

int ma_reset_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac, struct ma_reset *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int err = MA_OK, r = ma_store_stmt_bytes(db, &ma_q_RESET_BY_TOKEN, token_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r != MA_OK)
        return r;
    *ret = (struct ma_reset){
        .token_mac = ma_store_col(st, 0, a, &err),
        .user_id = ma_store_col(st, 1, a, &err),
        .created_at = ma_col_int(st, 2),
        .expires_at = ma_col_int(st, 3),
        .used_at = ma_col_int(st, 4),
    };
    return err;
}

int ma_reset_use(struct ma_db *db, struct ma_span user_id, struct ma_span token_mac, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_RESET_USE, user_id, token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_resets_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_RESET_EXPIRE, before, limit);
}

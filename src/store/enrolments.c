/* SPDX-License-Identifier: Apache-2.0
 * Enrolment sessions.
 */
#include "ma/store.h"

#include "int.h"

MA_QUERY(ENROLMENT_DELETE_USER, "DELETE FROM enrolments WHERE user_id = $1");
MA_QUERY(ENROLMENT_INSERT,
         "INSERT INTO enrolments (session_mac, user_id, client_id, type, method_id, code_mac, data, attempts, "
         "created_at, expires_at, consumed_at) VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
MA_QUERY(ENROLMENT_GET, "SELECT session_mac, user_id, client_id, type, method_id, code_mac, data, attempts, "
                        "created_at, expires_at, consumed_at FROM enrolments WHERE user_id = $1 AND session_mac = $2");
MA_QUERY(ENROLMENT_CONSUME, "UPDATE enrolments SET consumed_at = $3 WHERE user_id = $1 AND session_mac = $2 "
                            "AND consumed_at = 0 AND expires_at > $3");
MA_QUERY(ENROLMENT_FAIL, "UPDATE enrolments SET attempts = attempts + 1, "
                         "consumed_at = CASE WHEN attempts + 1 >= $4 THEN $3 ELSE consumed_at END WHERE user_id = $1 "
                         "AND session_mac = $2 AND consumed_at = 0 AND expires_at > $3 RETURNING attempts");
MA_QUERY(ENROLMENT_DROP_PENDING, "DELETE FROM methods WHERE user_id = $1 AND confirmed = 0 AND id = "
                                 "(SELECT method_id FROM enrolments WHERE user_id = $1 AND session_mac = $2)");
MA_QUERY(ENROLMENT_DELETE_METHOD, "DELETE FROM enrolments WHERE user_id = $1 AND method_id = $2");
MA_QUERY(ENROLMENT_EXPIRE, "DELETE FROM enrolments WHERE session_mac IN (SELECT session_mac FROM enrolments "
                           "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)");

int ma_enrolment_insert(struct ma_db *db, const struct ma_enrolment *e)
{
    if ((unsigned)e->type >= MA_FACTOR__COUNT)
        return MA_E_INVAL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_ENROLMENT_INSERT, e->user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 2, e->session_mac);
    ma_bind_text(st, 3, e->client_id);
    ma_bind_text(st, 4, ma_span_str(ma_factor_name(e->type)));
    ma_bind_text(st, 5, e->method_id);
    ma_bind_blob(st, 6, e->code_mac);
    ma_bind_blob(st, 7, e->data);
    ma_bind_int(st, 8, e->attempts);
    ma_bind_int(st, 9, e->created_at);
    ma_bind_int(st, 10, e->expires_at);
    ma_bind_int(st, 11, e->consumed_at);
    return ma_stmt_run(st);
}

static int read_enrolment(struct ma_stmt *st, struct ma_arena *a, struct ma_enrolment *ret)
{
    int err = MA_OK;
    *ret = (struct ma_enrolment){
        .session_mac = ma_store_col(st, 0, a, &err),
        .user_id = ma_store_col(st, 1, a, &err),
        .client_id = ma_store_col(st, 2, a, &err),
        .type = ma_factor_parse(ma_col_view(st, 3)),
        .method_id = ma_store_col(st, 4, a, &err),
        .code_mac = ma_store_col(st, 5, a, &err),
        .data = ma_store_col(st, 6, a, &err),
        .attempts = (int)ma_col_int(st, 7),
        .created_at = ma_col_int(st, 8),
        .expires_at = ma_col_int(st, 9),
        .consumed_at = ma_col_int(st, 10),
    };
    if (err == MA_OK && ret->type == MA_FACTOR__COUNT)
        err = MA_E_DB;
    return err;
}

int ma_enrolment_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span session_mac,
                     struct ma_enrolment *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_ENROLMENT_GET, user_id, session_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_enrolment(st, a, ret) : r;
}

int ma_enrolment_consume(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_ENROLMENT_CONSUME, user_id, session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

static int count_failure(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int kill_at, int64_t now,
                         int *ret_attempts)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_ENROLMENT_FAIL, user_id, session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_int(st, 4, kill_at);
    r = ma_stmt_step(st);
    if (r == MA_E_NOTFOUND)
        return MA_E_CONFLICT;
    if (r != MA_OK)
        return r;
    *ret_attempts = (int)ma_col_int(st, 0);
    return ma_stmt_step(st) == MA_E_NOTFOUND ? MA_OK : MA_E_DB; /* to its end: only then it is done */
}

int ma_enrolment_fail(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int kill_at, int64_t now,
                      int *ret_attempts)
{
    *ret_attempts = 0;
    int r = count_failure(db, user_id, session_mac, kill_at, now, ret_attempts);
    if (r != MA_OK || *ret_attempts < kill_at)
        return r;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    r = ma_store_stmt_mac(db, &ma_q_ENROLMENT_DROP_PENDING, user_id, session_mac, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_enrolment_delete_method(struct ma_db *db, struct ma_span user_id, struct ma_span method_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_ENROLMENT_DELETE_METHOD, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, method_id);
    return ma_stmt_run(st);
}

int ma_enrolments_delete_user(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_ENROLMENT_DELETE_USER, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_enrolment_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_ENROLMENT_EXPIRE, before, limit);
}

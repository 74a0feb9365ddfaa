/* SPDX-License-Identifier: Apache-2.0
 * Codes and assertions asked of users while they sign in.
 */
#include "ma/store.h"

#include "int.h"

#define CHALLENGE_COLUMNS                                                                                              \
    "user_id, id_mac, flow_mac, method_id, type, code_mac, data, attempts, created_at, expires_at, consumed_at"

MA_QUERY(CHALLENGE_INSERT,
         "INSERT INTO challenges (" CHALLENGE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
MA_QUERY(CHALLENGE_GET, "SELECT " CHALLENGE_COLUMNS " FROM challenges WHERE user_id = $1 AND id_mac = $2");
MA_QUERY(CHALLENGE_CONSUME, "UPDATE challenges SET consumed_at = $3 WHERE user_id = $1 AND id_mac = $2 "
                            "AND consumed_at = 0 AND expires_at > $3");
MA_QUERY(CHALLENGE_FAIL, "UPDATE challenges SET attempts = attempts + 1, "
                         "consumed_at = CASE WHEN attempts + 1 >= $4 THEN $3 ELSE consumed_at END WHERE user_id = $1 "
                         "AND id_mac = $2 AND consumed_at = 0 AND expires_at > $3 RETURNING attempts");
MA_QUERY(CHALLENGE_EXPIRE, "DELETE FROM challenges WHERE id_mac IN (SELECT id_mac FROM challenges "
                           "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)");

int ma_challenge_insert(struct ma_db *db, const struct ma_challenge *c)
{
    if ((unsigned)c->type >= MA_FACTOR__COUNT)
        return MA_E_INVAL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CHALLENGE_INSERT, c->user_id, c->id_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 3, c->flow_mac);
    ma_bind_text(st, 4, c->method_id);
    ma_bind_text(st, 5, ma_span_str(ma_factor_name(c->type)));
    ma_bind_blob(st, 6, c->code_mac);
    ma_bind_blob(st, 7, c->data);
    ma_bind_int(st, 8, c->attempts);
    ma_bind_int(st, 9, c->created_at);
    ma_bind_int(st, 10, c->expires_at);
    ma_bind_int(st, 11, c->consumed_at);
    return ma_stmt_run(st);
}

static int read_challenge(struct ma_stmt *st, struct ma_arena *a, struct ma_challenge *ret)
{
    int err = MA_OK;
    *ret = (struct ma_challenge){
        .user_id = ma_store_col(st, 0, a, &err),
        .id_mac = ma_store_col(st, 1, a, &err),
        .flow_mac = ma_store_col(st, 2, a, &err),
        .method_id = ma_store_col(st, 3, a, &err),
        .type = ma_factor_parse(ma_col_view(st, 4)),
        .code_mac = ma_store_col(st, 5, a, &err),
        .data = ma_store_col(st, 6, a, &err),
        .attempts = ma_col_int(st, 7),
        .created_at = ma_col_int(st, 8),
        .expires_at = ma_col_int(st, 9),
        .consumed_at = ma_col_int(st, 10),
    };
    if (err == MA_OK && ret->type == MA_FACTOR__COUNT)
        err = MA_E_DB;
    return err;
}

int ma_challenge_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id_mac,
                     struct ma_challenge *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CHALLENGE_GET, user_id, id_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_challenge(st, a, ret) : r;
}

int ma_challenge_consume(struct ma_db *db, struct ma_span user_id, struct ma_span id_mac, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CHALLENGE_CONSUME, user_id, id_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_challenge_fail(struct ma_db *db, struct ma_span user_id, struct ma_span id_mac, int kill_at, int64_t now,
                      int64_t *ret_attempts)
{
    *ret_attempts = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CHALLENGE_FAIL, user_id, id_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_int(st, 4, kill_at);
    r = ma_stmt_step(st);
    if (r == MA_E_NOTFOUND)
        return MA_E_CONFLICT;
    if (r != MA_OK)
        return r;
    *ret_attempts = ma_col_int(st, 0);
    return ma_stmt_step(st) == MA_E_NOTFOUND ? MA_OK : MA_E_DB; /* to its end: only then it is done */
}

int ma_challenges_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_CHALLENGE_EXPIRE, before, limit);
}

/* SPDX-License-Identifier: Apache-2.0
 * Authorization codes. Used ones stay until they lapse, so that a second use is told from an unknown code.
 */
#include "ma/store.h"

#include "int.h"

#define CODE_COLUMNS                                                                                                   \
    "code_mac, user_id, client_id, session_id, redirect_uri, data, family_id, created_at, expires_at, used_at"

MA_QUERY(CODE_INSERT, "INSERT INTO codes (" CODE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
MA_QUERY(CODE_GET, "SELECT " CODE_COLUMNS " FROM codes WHERE code_mac = $1");
/* Once: RFC 6749 section 4.1.2. */
MA_QUERY(CODE_USE, "UPDATE codes SET used_at = $2, family_id = $3 WHERE code_mac = $1 AND used_at = 0 "
                   "AND expires_at > $2");
MA_QUERY(CODE_EXPIRE, "DELETE FROM codes WHERE code_mac IN (SELECT code_mac FROM codes WHERE expires_at < $1 "
                      "ORDER BY expires_at LIMIT $2)");

int ma_code_insert(struct ma_db *db, const struct ma_code *c)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_CODE_INSERT, c->code_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, c->user_id);
    ma_bind_text(st, 3, c->client_id);
    ma_bind_text(st, 4, c->session_id);
    ma_bind_text(st, 5, ma_store_some(c->redirect_uri));
    ma_bind_text(st, 6, c->data);
    ma_bind_text(st, 7, c->family_id);
    ma_bind_int(st, 8, c->created_at);
    ma_bind_int(st, 9, c->expires_at);
    ma_bind_int(st, 10, c->used_at);
    return ma_stmt_run(st);
}

static int read_code(struct ma_stmt *st, struct ma_arena *a, struct ma_code *ret)
{
    int err = MA_OK;
    *ret = (struct ma_code){
        .code_mac = ma_store_col(st, 0, a, &err),
        .user_id = ma_store_col(st, 1, a, &err),
        .client_id = ma_store_col(st, 2, a, &err),
        .session_id = ma_store_col(st, 3, a, &err),
        .redirect_uri = ma_store_col(st, 4, a, &err),
        .data = ma_store_col(st, 5, a, &err),
        .family_id = ma_store_col(st, 6, a, &err),
        .created_at = ma_col_int(st, 7),
        .expires_at = ma_col_int(st, 8),
        .used_at = ma_col_int(st, 9),
    };
    return err;
}

int ma_code_get(struct ma_db *db, struct ma_arena *a, struct ma_span code_mac, struct ma_code *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_CODE_GET, code_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_code(st, a, ret) : r;
}

int ma_code_use(struct ma_db *db, struct ma_span code_mac, struct ma_span family_id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_CODE_USE, code_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_text(st, 3, family_id);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_codes_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_CODE_EXPIRE, before, limit);
}

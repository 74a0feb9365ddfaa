/* SPDX-License-Identifier: Apache-2.0
 * The audit trail: only ever appended to, and kept when its user goes.
 */
#include "ma/store.h"

#include "int.h"

#define AUDIT_COLUMNS "at, type, operation, user_id, client_id, ip, user_agent, request_id, method_id, detail"

MA_QUERY(AUDIT_INSERT, "INSERT INTO audit (" AUDIT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
/* +id: else SQLite looks for the minimum by walking the table in the order of ids */
MA_QUERY(AUDIT_START, "SELECT min(+id) FROM audit WHERE at >= $1");
MA_QUERY(AUDIT_LIST, "SELECT id, " AUDIT_COLUMNS " FROM audit WHERE id > $1 AND +at >= $2 ORDER BY id LIMIT $3");
MA_QUERY(AUDIT_LIST_USER,
         "SELECT id, " AUDIT_COLUMNS " FROM audit WHERE user_id = $4 AND id > $1 AND +at >= $2 ORDER BY id LIMIT $3");

int ma_audit_insert(struct ma_db *db, const struct ma_audit_row *row)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_INSERT, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, row->at);
    ma_bind_text(st, 2, row->type);
    ma_bind_text(st, 3, row->operation);
    ma_bind_text(st, 4, row->user_id);
    ma_bind_text(st, 5, row->client_id);
    ma_bind_text(st, 6, row->ip);
    ma_bind_text(st, 7, row->user_agent);
    ma_bind_text(st, 8, row->request_id);
    ma_bind_text(st, 9, row->method_id);
    ma_bind_text(st, 10, row->detail);
    return ma_stmt_run(st);
}

static int read_row(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_audit_row *row = (struct ma_audit_row *)ret + i;
    *row = (struct ma_audit_row){
        .id = ma_col_int(st, 0),
        .at = ma_col_int(st, 1),
        .type = ma_store_col(st, 2, a, &err),
        .operation = ma_store_col(st, 3, a, &err),
        .user_id = ma_store_col(st, 4, a, &err),
        .client_id = ma_store_col(st, 5, a, &err),
        .ip = ma_store_col(st, 6, a, &err),
        .user_agent = ma_store_col(st, 7, a, &err),
        .request_id = ma_store_col(st, 8, a, &err),
        .method_id = ma_store_col(st, 9, a, &err),
        .detail = ma_store_col(st, 10, a, &err),
    };
    return err;
}

/* Ids and times rise together, except where the clock went back: the first id of the time spares
 * the walk over everything older. MA_E_NOTFOUND when nothing is that recent. */
static int first_since(struct ma_db *db, int64_t since, int64_t *ret_after)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_START, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, since);
    r = ma_stmt_step(st);
    if (r != MA_OK)
        return r;
    if (ma_col_is_null(st, 0))
        return MA_E_NOTFOUND;
    *ret_after = ma_col_int(st, 0) - 1;
    return MA_OK;
}

static int list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t since, int64_t after_id,
                struct ma_audit_row *ret, size_t cap, size_t *ret_n)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, user_id.p ? &ma_q_AUDIT_LIST_USER : &ma_q_AUDIT_LIST, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, after_id);
    ma_bind_int(st, 2, since);
    ma_bind_int(st, 3, ma_store_limit(cap));
    if (user_id.p)
        ma_bind_text(st, 4, user_id);
    return ma_store_rows(st, a, cap, ret_n, read_row, ret);
}

int ma_audit_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t since, int64_t after_id,
                  struct ma_audit_row *ret, size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    if (!user_id.p && after_id <= 0 && since > 0) {
        int r = first_since(db, since, &after_id);
        if (r != MA_OK)
            return ma_store_end(r);
    }
    return list(db, a, user_id, since, after_id, ret, cap, ret_n);
}

/* SPDX-License-Identifier: Apache-2.0
 * The audit trail: only ever appended to, and kept when its user goes.
 */
#include "ma/store.h"

#include "audit_int.h"

MA_QUERY(AUDIT_INSERT, "INSERT INTO audit (id, " MA_AUDIT_COLUMNS ", salt, hash) "
                       "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");
/* +id: else SQLite looks for the minimum by walking the table in the order of ids */
MA_QUERY(AUDIT_START, "SELECT min(+id) FROM audit WHERE at >= $1");
MA_QUERY(AUDIT_LIST, "SELECT id, " MA_AUDIT_COLUMNS " FROM audit WHERE id > $1 AND +at >= $2 ORDER BY id LIMIT $3");
MA_QUERY(AUDIT_LIST_USER, "SELECT id, " MA_AUDIT_COLUMNS
                          " FROM audit WHERE user_id = $4 AND id > $1 AND +at >= $2 ORDER BY id LIMIT $3");

MA_QUERY(AUDIT_LIST_NEWEST, "SELECT id, " MA_AUDIT_COLUMNS " FROM audit WHERE user_id = $1 AND id < $2 AND +at >= $3 "
                            "AND +at < $4 ORDER BY id DESC LIMIT $5");

int ma_audit_row_put(struct ma_db *db, const struct ma_audit_link *l)
{
    const struct ma_audit_row *row = &l->row;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_INSERT, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, row->id);
    ma_bind_int(st, 2, row->at);
    ma_bind_text(st, 3, row->type);
    ma_bind_text(st, 4, row->operation);
    ma_bind_text(st, 5, row->user_id);
    ma_bind_text(st, 6, row->client_id);
    ma_bind_text(st, 7, row->ip);
    ma_bind_text(st, 8, row->user_agent);
    ma_bind_text(st, 9, row->request_id);
    ma_bind_text(st, 10, row->method_id);
    ma_bind_text(st, 11, row->detail);
    ma_bind_blob(st, 12, l->salt);
    ma_bind_blob(st, 13, l->hash);
    return ma_stmt_run(st);
}

/* Hashes and writes the row as the one behind the chain's head. */
static int append(struct ma_db *db, const struct ma_audit *au, struct ma_audit_chain *c, struct ma_audit_link *l,
                  uint8_t hash[MA_AUDIT_HASH_LEN])
{
    uint8_t personal[MA_AUDIT_HASH_LEN];
    int r = ma_audit_personal(l->salt, &l->row, personal);
    if (r == MA_OK)
        r = ma_audit_row_hash(au->key, c->head_hash, &l->row, ma_span_of(personal, sizeof personal), hash);
    return r == MA_OK ? ma_audit_row_put(db, l) : r;
}

int ma_audit_insert(struct ma_db *db, const struct ma_audit_row *row)
{
    struct ma_audit *au = ma_db_attached(db);
    struct ma_audit_chain c;
    uint8_t salt[MA_AUDIT_SALT_LEN], hash[MA_AUDIT_HASH_LEN];
    struct ma_audit_link l = {
        .row = *row, .salt = ma_span_of(salt, sizeof salt), .hash = ma_span_of(hash, sizeof hash)};
    if (!au) /* nothing is written beside the chain */
        return MA_E_INVAL;
    int r = ma_audit_chain_load(db, au, &c);
    if (r == MA_OK)
        r = au->rand->fill(au->rand, salt, sizeof salt);
    if (r != MA_OK)
        return r == MA_E_NOTFOUND ? MA_E_DB : r;
    const int64_t before = c.head_id;
    l.row.id = before + 1;
    r = append(db, au, &c, &l, hash);
    if (r == MA_E_EXISTS) { /* somebody else's row is in the way: it stays where ma_audit_verify finds it */
        r = ma_audit_newest(db, &l.row.id);
        if (r == MA_OK && l.row.id >= MA_AUDIT_ID_MAX)
            r = MA_E_DB;
        l.row.id += r == MA_OK;
        if (r == MA_OK)
            r = append(db, au, &c, &l, hash);
    }
    if (r != MA_OK)
        return r;
    c.head_id = l.row.id;
    memcpy(c.head_hash, hash, sizeof hash);
    return ma_audit_chain_move(db, au, &c, before, c.base_id);
}

int ma_audit_row_read(struct ma_stmt *st, struct ma_arena *a, struct ma_audit_row *ret)
{
    int err = MA_OK;
    *ret = (struct ma_audit_row){
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

static int read_row(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    return ma_audit_row_read(st, a, (struct ma_audit_row *)ret + i);
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

int ma_audit_list_newest(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t before_id, int64_t since,
                         int64_t until, struct ma_audit_row *ret, size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_AUDIT_LIST_NEWEST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, before_id);
    ma_bind_int(st, 3, since);
    ma_bind_int(st, 4, until);
    ma_bind_int(st, 5, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_row, ret);
}

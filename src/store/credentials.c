/* SPDX-License-Identifier: Apache-2.0
 * WebAuthn credentials and user handles.
 */
#include "ma/store.h"

#include "int.h"

#define CREDENTIAL_COLUMNS                                                                                             \
    "method_id, credential_id, public_key, alg, sign_count, aaguid, be, bs, uv, attestation, transports, user_agent, " \
    "rp_id, user_handle"

MA_QUERY(HANDLE_GET, "SELECT handle FROM user_handles WHERE user_id = $1");
MA_QUERY(HANDLE_OWNER, "SELECT user_id FROM user_handles WHERE handle = $1");
MA_QUERY(HANDLE_INSERT, "INSERT INTO user_handles (user_id, handle, created_at) VALUES ($1, $2, $3)");
MA_QUERY(CREDENTIAL_LIST, "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE user_id = $1 LIMIT $2");
MA_QUERY(CREDENTIAL_FIND, "SELECT " CREDENTIAL_COLUMNS ", user_id FROM credentials WHERE credential_id = $1");
MA_QUERY(CREDENTIAL_USED, "UPDATE credentials SET sign_count = $4, bs = $5 WHERE user_id = $1 AND method_id = $2 "
                          "AND sign_count = $3");
MA_QUERY(CREDENTIAL_INSERT, "INSERT INTO credentials (user_id, " CREDENTIAL_COLUMNS
                            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)");

int ma_user_handle_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_HANDLE_GET, user_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_store_col(st, 0, a, &r);
    return r;
}

int ma_user_by_handle(struct ma_db *db, struct ma_arena *a, struct ma_span handle, struct ma_span *ret_user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_HANDLE_OWNER, handle, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret_user_id = ma_store_col(st, 0, a, &r);
    return r;
}

int ma_user_handle_insert(struct ma_db *db, struct ma_span user_id, struct ma_span handle, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_HANDLE_INSERT, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 2, handle);
    ma_bind_int(st, 3, now);
    return ma_stmt_run(st);
}

int ma_credential_insert(struct ma_db *db, struct ma_span user_id, const struct ma_credential *c)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_CREDENTIAL_INSERT, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, c->method_id);
    ma_bind_blob(st, 3, c->credential_id);
    ma_bind_blob(st, 4, c->public_key);
    ma_bind_int(st, 5, c->alg);
    ma_bind_int(st, 6, c->sign_count);
    ma_bind_blob(st, 7, ma_span_of(c->aaguid, sizeof c->aaguid));
    ma_bind_int(st, 8, c->be);
    ma_bind_int(st, 9, c->bs);
    ma_bind_int(st, 10, c->uv);
    ma_bind_text(st, 11, c->attestation);
    ma_bind_text(st, 12, c->transports);
    ma_bind_text(st, 13, c->user_agent);
    ma_bind_text(st, 14, c->rp_id);
    ma_bind_blob(st, 15, c->user_handle);
    return ma_stmt_run(st);
}

static int read_credential(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_credential *c = (struct ma_credential *)ret + i;
    struct ma_span aaguid = ma_col_view(st, 5);
    if (aaguid.n != sizeof c->aaguid)
        return MA_E_DB;
    *c = (struct ma_credential){
        .method_id = ma_store_col(st, 0, a, &err),
        .credential_id = ma_store_col(st, 1, a, &err),
        .public_key = ma_store_col(st, 2, a, &err),
        .alg = ma_col_int(st, 3),
        .sign_count = ma_col_int(st, 4),
        .be = ma_col_int(st, 6) != 0,
        .bs = ma_col_int(st, 7) != 0,
        .uv = ma_col_int(st, 8) != 0,
        .attestation = ma_store_col(st, 9, a, &err),
        .transports = ma_store_col(st, 10, a, &err),
        .user_agent = ma_store_col(st, 11, a, &err),
        .rp_id = ma_store_col(st, 12, a, &err),
        .user_handle = ma_store_col(st, 13, a, &err),
    };
    memcpy(c->aaguid, ma_col_view(st, 5).p, sizeof c->aaguid);
    return err;
}

int ma_credential_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_credential *ret,
                       size_t cap, size_t *ret_n)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_CREDENTIAL_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_credential, ret);
}

int ma_credential_find(struct ma_db *db, struct ma_arena *a, struct ma_span credential_id, struct ma_credential *ret,
                       struct ma_span *ret_user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_CREDENTIAL_FIND, credential_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        r = read_credential(st, a, 0, ret);
    if (r == MA_OK)
        *ret_user_id = ma_store_col(st, 14, a, &r);
    return r;
}

int ma_credential_used(struct ma_db *db, struct ma_span user_id, struct ma_span method_id, int64_t old_count,
                       int64_t new_count, bool bs)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CREDENTIAL_USED, user_id, method_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, old_count);
    ma_bind_int(st, 4, new_count);
    ma_bind_int(st, 5, bs);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

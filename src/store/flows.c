/* SPDX-License-Identifier: Apache-2.0
 * Authentications under way: hosted logins, transactions of the embedded grants, passkey challenges.
 */
#include "ma/store.h"

#include "int.h"

#define FLOW_COLUMNS "token_mac, kind, user_id, client_id, data, attempts, version, created_at, expires_at, consumed_at"

MA_QUERY(FLOW_INSERT, "INSERT INTO flows (" FLOW_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9)");
MA_QUERY(FLOW_GET, "SELECT " FLOW_COLUMNS " FROM flows WHERE token_mac = $1");
MA_QUERY(FLOW_UPDATE, "UPDATE flows SET user_id = $3, data = $4, attempts = $5, expires_at = $6, "
                      "version = version + 1 WHERE token_mac = $1 AND version = $2 AND consumed_at = 0");
MA_QUERY(FLOW_CONSUME, "UPDATE flows SET consumed_at = $2 WHERE token_mac = $1 "
                       "AND consumed_at = 0 AND expires_at > $2");
MA_QUERY(FLOW_EXPIRE, "DELETE FROM flows WHERE token_mac IN (SELECT token_mac FROM flows WHERE expires_at < $1 "
                      "ORDER BY expires_at LIMIT $2)");

int ma_flow_insert(struct ma_db *db, const struct ma_flow *f)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_FLOW_INSERT, f->token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, f->kind);
    ma_bind_text(st, 3, f->user_id);
    ma_bind_text(st, 4, f->client_id);
    ma_bind_text(st, 5, f->data);
    ma_bind_int(st, 6, f->attempts);
    ma_bind_int(st, 7, f->created_at);
    ma_bind_int(st, 8, f->expires_at);
    ma_bind_int(st, 9, f->consumed_at);
    return ma_stmt_run(st);
}

static int read_flow(struct ma_stmt *st, struct ma_arena *a, struct ma_flow *ret)
{
    int err = MA_OK;
    *ret = (struct ma_flow){
        .token_mac = ma_store_col(st, 0, a, &err),
        .kind = ma_store_col(st, 1, a, &err),
        .user_id = ma_store_col(st, 2, a, &err),
        .client_id = ma_store_col(st, 3, a, &err),
        .data = ma_store_col(st, 4, a, &err),
        .attempts = ma_col_int(st, 5),
        .version = ma_col_int(st, 6),
        .created_at = ma_col_int(st, 7),
        .expires_at = ma_col_int(st, 8),
        .consumed_at = ma_col_int(st, 9),
    };
    return err;
}

int ma_flow_get(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac, struct ma_flow *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_FLOW_GET, token_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_flow(st, a, ret) : r;
}

int ma_flow_update(struct ma_db *db, const struct ma_flow *f)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_FLOW_UPDATE, f->token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, f->version);
    ma_bind_text(st, 3, f->user_id);
    ma_bind_text(st, 4, f->data);
    ma_bind_int(st, 5, f->attempts);
    ma_bind_int(st, 6, f->expires_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_flow_consume(struct ma_db *db, struct ma_span token_mac, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_FLOW_CONSUME, token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_flows_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_FLOW_EXPIRE, before, limit);
}

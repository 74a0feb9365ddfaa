/* SPDX-License-Identifier: Apache-2.0
 * Connections to identity providers under way: one row from the call that starts it to the one that completes it.
 */
#include "ma/store.h"

#include "int.h"

#define CONNECT_COLUMNS                                                                                                \
    "session_mac, ticket_mac, user_id, client_id, connection, provider, origin, redirect_uri, client_state, "          \
    "code_challenge, jkt, org_id, scopes, params, stage, state_mac, cookie_mac, code_mac, secret, result, "            \
    "started_at, "                                                                                                     \
    "code_expires_at, created_at, expires_at"

/* The stages are written out in the texts below and in the CHECK of the table. */
_Static_assert(MA_CONNECT_NEW == 0 && MA_CONNECT_STARTED == 1 && MA_CONNECT_RETURNED == 2 &&
                   MA_CONNECT_AUTHORIZED == 3 && MA_CONNECT_OVER == 4,
               "stages are stored");

/* What a row that is over loses. */
#define WIPED "SET stage = 4, params = NULL, client_state = NULL, secret = NULL, result = NULL"

MA_QUERY(CONNECT_INSERT, "INSERT INTO connects (" CONNECT_COLUMNS
                         ") VALUES ($2, $3, $1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, NULL, NULL, "
                         "NULL, NULL, NULL, 0, 0, $15, $16)");
MA_QUERY(CONNECT_BY_TICKET, "SELECT " CONNECT_COLUMNS " FROM connects WHERE ticket_mac = $1");
MA_QUERY(CONNECT_BY_STATE, "SELECT " CONNECT_COLUMNS " FROM connects WHERE state_mac = $1");
MA_QUERY(CONNECT_GET, "SELECT " CONNECT_COLUMNS " FROM connects WHERE user_id = $1 AND session_mac = $2");
MA_QUERY(CONNECT_START, "UPDATE connects SET stage = 1, started_at = $3, state_mac = $4, cookie_mac = $5, secret = $6 "
                        "WHERE user_id = $1 AND session_mac = $2 AND stage = 0 AND expires_at > $3");
MA_QUERY(CONNECT_RETURN, "UPDATE connects SET stage = 2 WHERE user_id = $1 AND session_mac = $2 AND stage = 1 "
                         "AND expires_at > $3");
MA_QUERY(CONNECT_AUTHORIZE, "UPDATE connects SET stage = 3, code_mac = $4, result = $5, code_expires_at = $6 "
                            "WHERE user_id = $1 AND session_mac = $2 AND stage = 2 AND expires_at > $3");
MA_QUERY(CONNECT_COMPLETE, "UPDATE connects " WIPED " WHERE user_id = $1 "
                           "AND session_mac = $2 AND stage = 3 AND expires_at > $3 AND code_expires_at > $3");
MA_QUERY(CONNECT_ABANDON, "UPDATE connects " WIPED " WHERE user_id = $1 AND session_mac = $2 AND stage = $3");
/* From the newest row that is not kept; there is none when they are few. */
MA_QUERY(CONNECT_TRIM, "DELETE FROM connects WHERE user_id = $1 AND (created_at, session_mac) <= "
                       "(SELECT created_at, session_mac FROM connects WHERE user_id = $1 "
                       "ORDER BY created_at DESC, session_mac DESC LIMIT 1 OFFSET $2)");
MA_QUERY(CONNECT_EXPIRE, "DELETE FROM connects WHERE session_mac IN (SELECT session_mac FROM connects "
                         "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)");

int ma_connect_insert(struct ma_db *db, const struct ma_connect *c)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_CONNECT_INSERT, c->user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 2, c->session_mac);
    ma_bind_blob(st, 3, c->ticket_mac);
    ma_bind_text(st, 4, c->client_id);
    ma_bind_text(st, 5, c->connection);
    ma_bind_text(st, 6, ma_store_some(c->provider));
    ma_bind_text(st, 7, c->origin);
    ma_bind_text(st, 8, c->redirect_uri);
    ma_bind_blob(st, 9, c->client_state);
    ma_bind_text(st, 10, c->code_challenge);
    ma_bind_text(st, 11, c->jkt);
    ma_bind_text(st, 12, c->org_id);
    ma_bind_text(st, 13, ma_store_some(c->scopes));
    ma_bind_blob(st, 14, c->params);
    ma_bind_int(st, 15, c->created_at);
    ma_bind_int(st, 16, c->expires_at);
    return ma_stmt_run(st);
}

static int read_connect(struct ma_stmt *st, struct ma_arena *a, struct ma_connect *ret)
{
    int err = MA_OK;
    *ret = (struct ma_connect){
        .session_mac = ma_store_col(st, 0, a, &err),
        .ticket_mac = ma_store_col(st, 1, a, &err),
        .user_id = ma_store_col(st, 2, a, &err),
        .client_id = ma_store_col(st, 3, a, &err),
        .connection = ma_store_col(st, 4, a, &err),
        .provider = ma_store_col(st, 5, a, &err),
        .origin = ma_store_col(st, 6, a, &err),
        .redirect_uri = ma_store_col(st, 7, a, &err),
        .client_state = ma_store_col(st, 8, a, &err),
        .code_challenge = ma_store_col(st, 9, a, &err),
        .jkt = ma_store_col(st, 10, a, &err),
        .org_id = ma_store_col(st, 11, a, &err),
        .scopes = ma_store_col(st, 12, a, &err),
        .params = ma_store_col(st, 13, a, &err),
        .stage = (enum ma_connect_stage)ma_col_int(st, 14),
        .state_mac = ma_store_col(st, 15, a, &err),
        .cookie_mac = ma_store_col(st, 16, a, &err),
        .code_mac = ma_store_col(st, 17, a, &err),
        .secret = ma_store_col(st, 18, a, &err),
        .result = ma_store_col(st, 19, a, &err),
        .started_at = ma_col_int(st, 20),
        .code_expires_at = ma_col_int(st, 21),
        .created_at = ma_col_int(st, 22),
        .expires_at = ma_col_int(st, 23),
    };
    return err;
}

static int by_mac(struct ma_db *db, const struct ma_sql *q, struct ma_arena *a, struct ma_span mac,
                  struct ma_connect *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, q, mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_connect(st, a, ret) : r;
}

int ma_connect_by_ticket(struct ma_db *db, struct ma_arena *a, struct ma_span ticket_mac, struct ma_connect *ret)
{
    return by_mac(db, &ma_q_CONNECT_BY_TICKET, a, ticket_mac, ret);
}

int ma_connect_by_state(struct ma_db *db, struct ma_arena *a, struct ma_span state_mac, struct ma_connect *ret)
{
    return by_mac(db, &ma_q_CONNECT_BY_STATE, a, state_mac, ret);
}

int ma_connect_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span session_mac,
                   struct ma_connect *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CONNECT_GET, user_id, session_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_connect(st, a, ret) : r;
}

int ma_connect_start(struct ma_db *db, const struct ma_connect *c, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CONNECT_START, c->user_id, c->session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_blob(st, 4, c->state_mac);
    ma_bind_blob(st, 5, c->cookie_mac);
    ma_bind_blob(st, 6, c->secret);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

/* The steps that store nothing new. */
static int step(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span session_mac,
                int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, q, user_id, session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_connect_return(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now)
{
    return step(db, &ma_q_CONNECT_RETURN, user_id, session_mac, now);
}

int ma_connect_authorize(struct ma_db *db, const struct ma_connect *c, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CONNECT_AUTHORIZE, c->user_id, c->session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_blob(st, 4, c->code_mac);
    ma_bind_blob(st, 5, c->result);
    ma_bind_int(st, 6, c->code_expires_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_connect_complete(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now)
{
    return step(db, &ma_q_CONNECT_COMPLETE, user_id, session_mac, now);
}

int ma_connect_abandon(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac,
                       enum ma_connect_stage stage)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_CONNECT_ABANDON, user_id, session_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, stage);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_connect_trim(struct ma_db *db, struct ma_span user_id, int keep)
{
    if (keep < 0)
        return MA_E_INVAL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_CONNECT_TRIM, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, keep);
    return ma_stmt_run(st);
}

int ma_connect_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_CONNECT_EXPIRE, before, limit);
}

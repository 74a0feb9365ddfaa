/* SPDX-License-Identifier: Apache-2.0
 * Browser sessions of the token service.
 */
#include "ma/store.h"

#include "int.h"

#define SESSION_COLUMNS                                                                                                \
    "user_id, id, cookie_mac, org_id, auth_at, mfa_at, amr, ip, user_agent, created_at, used_at, idle_at, expires_at"

MA_QUERY(SESSION_INSERT,
         "INSERT INTO sessions (" SESSION_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
         "CASE WHEN $12 < $13 THEN $12 ELSE $13 END, $13)");
MA_QUERY(SESSION_BY_COOKIE,
         "SELECT " SESSION_COLUMNS " FROM sessions WHERE cookie_mac = $1 AND idle_at > $2 AND expires_at > $2");
MA_QUERY(SESSION_GET, "SELECT " SESSION_COLUMNS " FROM sessions WHERE user_id = $1 AND id = $2 AND idle_at > $3 "
                      "AND expires_at > $3");
/* A session that lapsed stays so. */
MA_QUERY(SESSION_UPDATE, "UPDATE sessions SET org_id = $3, auth_at = $4, mfa_at = $5, amr = $6, used_at = $7, "
                         "idle_at = CASE WHEN $8 < expires_at THEN $8 ELSE expires_at END "
                         "WHERE user_id = $1 AND id = $2 AND idle_at > $7 AND expires_at > $7");
MA_QUERY(SESSION_DELETE, "DELETE FROM sessions WHERE user_id = $1 AND id = $2");
MA_QUERY(SESSION_EXPIRE, "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE idle_at <= $1 "
                         "ORDER BY idle_at LIMIT $2)");

int ma_session_insert(struct ma_db *db, const struct ma_session *s)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_SESSION_INSERT, s->user_id, s->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 3, s->cookie_mac);
    ma_bind_text(st, 4, s->org_id);
    ma_store_bind_authn(st, 5, &s->authn);
    ma_bind_text(st, 8, s->ip);
    ma_bind_text(st, 9, s->user_agent);
    ma_bind_int(st, 10, s->created_at);
    ma_bind_int(st, 11, s->used_at);
    ma_bind_int(st, 12, s->idle_at);
    ma_bind_int(st, 13, s->expires_at);
    return ma_stmt_run(st);
}

static int read_session(struct ma_stmt *st, struct ma_arena *a, struct ma_session *ret)
{
    int err = MA_OK;
    *ret = (struct ma_session){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .cookie_mac = ma_store_col(st, 2, a, &err),
        .org_id = ma_store_col(st, 3, a, &err),
        .authn = ma_store_col_authn(st, 4),
        .ip = ma_store_col(st, 7, a, &err),
        .user_agent = ma_store_col(st, 8, a, &err),
        .created_at = ma_col_int(st, 9),
        .used_at = ma_col_int(st, 10),
        .idle_at = ma_col_int(st, 11),
        .expires_at = ma_col_int(st, 12),
    };
    return err;
}

int ma_session_by_cookie(struct ma_db *db, struct ma_arena *a, struct ma_span cookie_mac, int64_t now,
                         struct ma_session *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_SESSION_BY_COOKIE, cookie_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    r = ma_stmt_step(st);
    return r == MA_OK ? read_session(st, a, ret) : r;
}

int ma_session_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id, int64_t now,
                   struct ma_session *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_SESSION_GET, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    r = ma_stmt_step(st);
    return r == MA_OK ? read_session(st, a, ret) : r;
}

int ma_session_update(struct ma_db *db, const struct ma_session *s)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_SESSION_UPDATE, s->user_id, s->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, s->org_id);
    ma_store_bind_authn(st, 4, &s->authn);
    ma_bind_int(st, 7, s->used_at);
    ma_bind_int(st, 8, s->idle_at);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_session_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_SESSION_DELETE, user_id, id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

int ma_sessions_expire(struct ma_db *db, int64_t now, int limit)
{
    return ma_store_sweep(db, &ma_q_SESSION_EXPIRE, now, limit);
}

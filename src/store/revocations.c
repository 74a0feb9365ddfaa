/* SPDX-License-Identifier: Apache-2.0
 * Access tokens that are refused before they expire.
 */
#include "ma/store.h"

#include "int.h"

#define REVOCATION_ONCE "ON CONFLICT (user_id, token) DO NOTHING"

MA_QUERY(REVOCATION_PUT_JTI,
         "INSERT INTO revocations (user_id, token, expires_at) VALUES ($1, 'jti:' || $2, $3) " REVOCATION_ONCE);
MA_QUERY(REVOCATION_PUT_SESSIONS, "INSERT INTO revocations (user_id, token, expires_at) "
                                  "SELECT user_id, 'sid:' || id, $3 FROM sessions "
                                  "WHERE user_id = $1 AND id IS DISTINCT FROM $2 " REVOCATION_ONCE);
/* Refresh tokens without a session are one by themselves; and sessions lapse while their refresh tokens live on. */
MA_QUERY(REVOCATION_PUT_FAMILIES, "INSERT INTO revocations (user_id, token, expires_at) "
                                  "SELECT user_id, 'sid:' || coalesce(session_id, id), $3 FROM families "
                                  "WHERE user_id = $1 AND coalesce(session_id, id) IS DISTINCT FROM $2 "
                                  "AND revoked_at = 0 " REVOCATION_ONCE);
MA_QUERY(REVOCATION_PUT_SID,
         "INSERT INTO revocations (user_id, token, expires_at) VALUES ($1, 'sid:' || $2, $3) " REVOCATION_ONCE);
/* What was issued after the last time is good. */
#define REVOCATION_AGAIN "ON CONFLICT (user_id, token) DO UPDATE SET expires_at = excluded.expires_at"
MA_QUERY(REVOCATION_PUT_CLIENT, "INSERT INTO revocations (user_id, token, expires_at) "
                                "VALUES ($1, 'app:' || $2 || ' ' || $4, $3) " REVOCATION_AGAIN);
MA_QUERY(REVOCATION_PUT_AUDIENCE, "INSERT INTO revocations (user_id, token, expires_at) "
                                  "VALUES ($1, 'aud:' || $2 || ' ' || $4, $3) " REVOCATION_AGAIN);
MA_QUERY(REVOCATION_FIND, "SELECT 1 FROM revocations WHERE user_id = $1 AND token IN ('jti:' || $2, 'sid:' || $3, "
                          "'app:' || $3 || ' ' || $5, 'aud:' || $5 || ' ' || $6) AND expires_at > $4 "
                          "AND (token IN ('jti:' || $2, 'sid:' || $3) OR expires_at - $7 > $8)");
MA_QUERY(REVOCATION_EXPIRE, "DELETE FROM revocations WHERE (user_id, token) IN (SELECT user_id, token FROM revocations "
                            "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)");

static int put(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span which, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, q, user_id, which, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now + MA_REVOKED_FOR_MS);
    return ma_stmt_run(st);
}

int ma_revoke_token(struct ma_db *db, struct ma_span user_id, struct ma_span jti, int64_t now)
{
    return put(db, &ma_q_REVOCATION_PUT_JTI, user_id, jti, now);
}

int ma_revoke_sessions(struct ma_db *db, struct ma_span user_id, struct ma_span keep_session, int64_t now)
{
    struct ma_span keep = ma_store_some(keep_session);
    int r = put(db, &ma_q_REVOCATION_PUT_SESSIONS, user_id, keep, now);
    return r == MA_OK ? put(db, &ma_q_REVOCATION_PUT_FAMILIES, user_id, keep, now) : r;
}

int ma_revoke_session(struct ma_db *db, struct ma_span user_id, struct ma_span session_id, int64_t now)
{
    return put(db, &ma_q_REVOCATION_PUT_SID, user_id, session_id, now);
}

static int put_two(struct ma_db *db, const struct ma_sql *q, const struct ma_span names[3], int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, q, names[0], names[1], &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now + MA_REVOKED_FOR_MS);
    ma_bind_text(st, 4, ma_store_some(names[2]));
    return ma_stmt_run(st);
}

int ma_revoke_client(struct ma_db *db, struct ma_span user_id, struct ma_span session_id, struct ma_span client_id,
                     int64_t now)
{
    return put_two(db, &ma_q_REVOCATION_PUT_CLIENT, (struct ma_span[]){user_id, session_id, client_id}, now);
}

int ma_revoke_audience(struct ma_db *db, struct ma_span user_id, struct ma_span client_id, struct ma_span audience,
                       int64_t now)
{
    return put_two(db, &ma_q_REVOCATION_PUT_AUDIENCE, (struct ma_span[]){user_id, client_id, audience}, now);
}

int ma_revoked(struct ma_db *db, const struct ma_access *t, int64_t now, bool *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    *ret = true;
    int r = ma_store_stmt_id(db, &ma_q_REVOCATION_FIND, t->user_id, t->jti, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, t->sid);
    ma_bind_int(st, 4, now);
    ma_bind_text(st, 5, t->client_id);
    ma_bind_text(st, 6, t->audience);
    ma_bind_int(st, 7, MA_REVOKED_FOR_MS);
    ma_bind_int(st, 8, t->iat_s * 1000);
    r = ma_stmt_step(st);
    *ret = r != MA_E_NOTFOUND;
    return ma_store_end(r);
}

int ma_revocations_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_REVOCATION_EXPIRE, before, limit);
}

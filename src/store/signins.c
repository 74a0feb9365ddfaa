/* SPDX-License-Identifier: Apache-2.0
 * What a user is signed in with, as one list: browser sessions and refresh tokens.
 */
#include "ma/store.h"

#include "int.h"

#define BEHIND "(created_at, id) < ($3, $4)"
MA_QUERY(SIGNIN_LIST,
         "SELECT id, created_at, 0, NULL, NULL, org_id, ip, user_agent, auth_at, mfa_at, amr, used_at, expires_at "
         "FROM sessions WHERE user_id = $1 AND idle_at > $2 AND expires_at > $2 AND " BEHIND " UNION ALL "
         "SELECT id, created_at, 1, client_id, session_id, org_id, ip, user_agent, auth_at, mfa_at, amr, used_at, "
         "expires_at FROM families WHERE user_id = $1 AND revoked_at = 0 AND (idle_at = 0 OR idle_at > $2) "
         "AND (expires_at = 0 OR expires_at > $2) AND " BEHIND " ORDER BY created_at DESC, id DESC LIMIT $5");
MA_QUERY(CODE_DELETE_SESSION, "DELETE FROM codes WHERE user_id = $1 AND session_id = $2 AND used_at = 0");

/* Never back: somebody may have signed in again meanwhile. */
MA_QUERY(SESSION_USED, "UPDATE sessions SET used_at = $3 WHERE user_id = $1 AND id = $2 AND used_at < $3");
MA_QUERY(FAMILY_USED, "UPDATE families SET used_at = $3 WHERE user_id = $1 AND coalesce(session_id, id) = $2 "
                      "AND client_id = $4 AND revoked_at = 0 AND used_at < $3");

static int read_signin(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    ((struct ma_signin_row *)ret)[i] = (struct ma_signin_row){
        .id = ma_store_col(st, 0, a, &err),
        .created_at = ma_col_int(st, 1),
        .is_family = ma_col_int(st, 2) != 0,
        .client_id = ma_store_col(st, 3, a, &err),
        .session_id = ma_store_col(st, 4, a, &err),
        .org_id = ma_store_col(st, 5, a, &err),
        .from = {ma_store_col(st, 6, a, &err), ma_store_col(st, 7, a, &err)},
        .authn = ma_store_col_authn(st, 8),
        .used_at = ma_col_int(st, 11),
        .expires_at = ma_col_int(st, 12),
    };
    return err;
}

int ma_signin_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t now,
                   const struct ma_signin_row *after, struct ma_signin_row *ret, size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_SIGNIN_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_int(st, 3, after->id.p ? after->created_at : INT64_MAX);
    ma_bind_text(st, 4, ma_store_some(after->id));
    ma_bind_int(st, 5, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_signin, ret);
}

static int drop_codes(struct ma_db *db, struct ma_span user_id, struct ma_span session_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CODE_DELETE_SESSION, user_id, session_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_signin_end_session(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now)
{
    int r = ma_session_delete(db, user_id, id);
    if (r == MA_OK)
        r = ma_revoke_session(db, user_id, id, now);
    if (r == MA_OK)
        r = ma_families_revoke_session(db, user_id, id, now);
    return r < 0 ? r : drop_codes(db, user_id, id);
}

int ma_signin_end_family(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id, int64_t now)
{
    struct ma_family f;
    int r = ma_family_get(db, a, id, &f);
    if (r == MA_OK &&
        (!ma_span_eq(f.user_id, user_id) || (f.idle_at && f.idle_at <= now) || (f.expires_at && f.expires_at <= now)))
        return MA_E_NOTFOUND;
    if (r == MA_OK)
        r = ma_family_revoke(db, user_id, id, now);
    if (r != MA_OK)
        return r == MA_E_CONFLICT ? MA_E_NOTFOUND : r;
    return f.session_id.p ? ma_revoke_client(db, user_id, f.session_id, f.client_id, now)
                          : ma_revoke_session(db, user_id, id, now);
}

int ma_signin_used(struct ma_db *db, struct ma_span user_id, struct ma_span sid, struct ma_span client_id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, client_id.n ? &ma_q_FAMILY_USED : &ma_q_SESSION_USED, user_id, sid, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    if (client_id.n)
        ma_bind_text(st, 4, client_id);
    return ma_stmt_run(st);
}

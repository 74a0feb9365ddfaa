/* SPDX-License-Identifier: Apache-2.0
 * Ending what a user is signed in with, in all tables at once.
 */
#include "ma/store.h"

#include "int.h"

MA_QUERY(SESSION_DELETE_OTHERS, "DELETE FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2");
MA_QUERY(FAMILY_REVOKE_OTHERS, "UPDATE families SET revoked_at = $3 WHERE user_id = $1 AND revoked_at = 0 "
                               "AND coalesce(session_id, id) IS DISTINCT FROM $2");
/* Used codes stay: a second use must still be told from an unknown code. */
MA_QUERY(CODE_DELETE_OTHERS, "DELETE FROM codes WHERE user_id = $1 AND used_at = 0 "
                             "AND session_id IS DISTINCT FROM $2");
MA_QUERY(FLOW_DELETE_USER, "DELETE FROM flows WHERE user_id = $1");
/* The row of push_devices goes with it. */
MA_QUERY(PUSH_PENDING_DELETE,
         "DELETE FROM methods WHERE user_id = $1 AND type = 'push-notification' AND confirmed = 0");

static int end(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span keep, int64_t now,
               int64_t *ret_n)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = q == &ma_q_FLOW_DELETE_USER ? ma_store_stmt(db, q, user_id, &st)
                                        : ma_store_stmt_id(db, q, user_id, ma_store_some(keep), &st);
    if (r != MA_OK)
        return r;
    if (q == &ma_q_FAMILY_REVOKE_OTHERS)
        ma_bind_int(st, 3, now);
    r = ma_stmt_run(st);
    *ret_n = r == MA_OK ? ma_db_changes(db) : 0;
    return r;
}

int ma_push_pending_end(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PUSH_PENDING_DELETE, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_signins_end(struct ma_db *db, struct ma_span user_id, struct ma_span keep_session, int64_t now,
                   struct ma_signins_ended *ret)
{
    int64_t other = 0;
    *ret = (struct ma_signins_ended){0};
    int r = ma_revoke_sessions(db, user_id, keep_session, now);
    if (r == MA_OK)
        r = end(db, &ma_q_SESSION_DELETE_OTHERS, user_id, keep_session, now, &ret->sessions);
    if (r == MA_OK)
        r = end(db, &ma_q_FAMILY_REVOKE_OTHERS, user_id, keep_session, now, &ret->families);
    if (r == MA_OK)
        r = end(db, &ma_q_CODE_DELETE_OTHERS, user_id, keep_session, now, &other);
    if (r == MA_OK)
        r = end(db, &ma_q_FLOW_DELETE_USER, user_id, keep_session, now, &other);
    return r == MA_OK ? ma_push_pending_end(db, user_id) : r;
}

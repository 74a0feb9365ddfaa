/* SPDX-License-Identifier: Apache-2.0
 * Query ids and objects, and the few helpers every repository uses.
 */
#ifndef MA_STORE_INT_H
#define MA_STORE_INT_H

#include "ma/store.h"
#include "owned_queries.h"
#include "sealed_queries.h"

/* One line per query: its id is MA_Q_<NAME>, its object ma_q_<NAME>, defined with MA_QUERY next to
 * the code that binds it. */
#define MA_QUERIES(X)                                                                                                  \
    X(USER_GET)                                                                                                        \
    X(USER_PUT)                                                                                                        \
    X(USER_INSERT)                                                                                                     \
    X(USER_DELETE)                                                                                                     \
    MA_OWNED_QUERIES(X)                                                                                                \
    MA_SEALED_QUERIES(X)                                                                                               \
    X(USER_LIST)                                                                                                       \
    X(PASSWORD_GET)                                                                                                    \
    X(PASSWORD_SET)                                                                                                    \
    X(PASSWORD_DELETE)                                                                                                 \
    X(HISTORY_DELETE)                                                                                                  \
    X(PASSWORD_REHASH)                                                                                                 \
    X(HISTORY_ADD)                                                                                                     \
    X(HISTORY_TRIM)                                                                                                    \
    X(HISTORY_REHASH)                                                                                                  \
    X(HISTORY_LIST)                                                                                                    \
    X(METHOD_LIST)                                                                                                     \
    X(METHOD_GET)                                                                                                      \
    X(METHOD_INSERT)                                                                                                   \
    X(METHOD_CONFIRM)                                                                                                  \
    X(METHOD_TOTP_ADVANCE)                                                                                             \
    X(METHOD_UPDATE)                                                                                                   \
    X(METHOD_DELETE)                                                                                                   \
    X(METHOD_DELETE_OTHERS)                                                                                            \
    X(METHOD_DELETE_ALL)                                                                                               \
    X(METHOD_EXPIRE)                                                                                                   \
    X(ENROLMENT_INSERT)                                                                                                \
    X(ENROLMENT_GET)                                                                                                   \
    X(ENROLMENT_CONSUME)                                                                                               \
    X(ENROLMENT_FAIL)                                                                                                  \
    X(ENROLMENT_DROP_PENDING)                                                                                          \
    X(ENROLMENT_DELETE_METHOD)                                                                                         \
    X(ENROLMENT_EXPIRE)                                                                                                \
    X(COUNTER_GET)                                                                                                     \
    X(SHARED_COUNTER_GET)                                                                                              \
    X(SHARED_COUNTER_PUT)                                                                                              \
    X(SHARED_COUNTER_EXPIRE)                                                                                           \
    X(KNOWN_ADDRESS_GET)                                                                                               \
    X(KNOWN_ADDRESS_PUT)                                                                                               \
    X(KNOWN_ADDRESS_TRIM)                                                                                              \
    X(COUNTER_PUT)                                                                                                     \
    X(OUTBOX_INSERT)                                                                                                   \
    X(OUTBOX_DUE)                                                                                                      \
    X(OUTBOX_NEXT)                                                                                                     \
    X(OUTBOX_COUNT_ALIVE)                                                                                              \
    X(OUTBOX_COUNT_DEAD)                                                                                               \
    X(OUTBOX_DONE)                                                                                                     \
    X(OUTBOX_RETRY)                                                                                                    \
    X(OUTBOX_DEFER)                                                                                                    \
    X(OUTBOX_DEAD)                                                                                                     \
    X(OUTBOX_REVIVE)                                                                                                   \
    X(OUTBOX_REVIVE_ALL)                                                                                               \
    X(AUDIT_INSERT)                                                                                                    \
    X(AUDIT_START)                                                                                                     \
    X(AUDIT_LIST)                                                                                                      \
    X(AUDIT_LIST_USER)                                                                                                 \
    X(AUDIT_CHAIN_GET)                                                                                                 \
    X(AUDIT_CHAIN_INSERT)                                                                                              \
    X(AUDIT_CHAIN_MOVE)                                                                                                \
    X(AUDIT_LINKS)                                                                                                     \
    X(AUDIT_LINKS_USER)                                                                                                \
    X(AUDIT_ADOPT)                                                                                                     \
    X(AUDIT_NEWEST)                                                                                                    \
    X(AUDIT_REMOVE)                                                                                                    \
    X(AUDIT_ERASE)                                                                                                     \
    X(AUDIT_DELIVERY_GET)                                                                                              \
    X(AUDIT_DELIVERY_PUT)                                                                                              \
    X(OBJECT_PUT)                                                                                                      \
    X(OBJECT_GET)                                                                                                      \
    X(OBJECT_LIST)                                                                                                     \
    X(OBJECT_SECRET_PUT)                                                                                               \
    X(OBJECT_SECRET_GET)                                                                                               \
    X(HANDLE_GET)                                                                                                      \
    X(HANDLE_INSERT)                                                                                                   \
    X(CREDENTIAL_LIST)                                                                                                 \
    X(CREDENTIAL_INSERT)                                                                                               \
    X(CONNECT_INSERT)                                                                                                  \
    X(CONNECT_BY_TICKET)                                                                                               \
    X(CONNECT_BY_STATE)                                                                                                \
    X(CONNECT_GET)                                                                                                     \
    X(CONNECT_START)                                                                                                   \
    X(CONNECT_RETURN)                                                                                                  \
    X(CONNECT_AUTHORIZE)                                                                                               \
    X(CONNECT_COMPLETE)                                                                                                \
    X(CONNECT_ABANDON)                                                                                                 \
    X(CONNECT_TRIM)                                                                                                    \
    X(CONNECT_EXPIRE)                                                                                                  \
    X(ACCOUNT_LIST)                                                                                                    \
    X(ACCOUNT_GET)                                                                                                     \
    X(ACCOUNT_CLAIMS)                                                                                                  \
    X(ACCOUNT_COUNT)                                                                                                   \
    X(ACCOUNT_OWNER)                                                                                                   \
    X(ACCOUNT_INSERT)                                                                                                  \
    X(ACCOUNT_RECONNECT)                                                                                               \
    X(ACCOUNT_REFRESHED)                                                                                               \
    X(ACCOUNT_FAIL)                                                                                                    \
    X(ACCOUNT_USED)                                                                                                    \
    X(ACCOUNT_DELETE)                                                                                                  \
    X(ACCOUNT_LAPSE)                                                                                                   \
    X(ACCOUNT_LAPSE_IDLE)                                                                                              \
    X(USER_BY_EMAIL)                                                                                                   \
    X(USER_BY_PHONE)                                                                                                   \
    X(HANDLE_OWNER)                                                                                                    \
    X(CREDENTIAL_FIND)                                                                                                 \
    X(CREDENTIAL_USED)                                                                                                 \
    X(METHOD_USED)                                                                                                     \
    X(SESSION_INSERT)                                                                                                  \
    X(SESSION_BY_COOKIE)                                                                                               \
    X(SESSION_GET)                                                                                                     \
    X(SESSION_UPDATE)                                                                                                  \
    X(SESSION_DELETE)                                                                                                  \
    X(SESSION_EXPIRE)                                                                                                  \
    X(FLOW_INSERT)                                                                                                     \
    X(FLOW_GET)                                                                                                        \
    X(FLOW_UPDATE)                                                                                                     \
    X(FLOW_CONSUME)                                                                                                    \
    X(FLOW_EXPIRE)                                                                                                     \
    X(CHALLENGE_INSERT)                                                                                                \
    X(CHALLENGE_GET)                                                                                                   \
    X(CHALLENGE_CONSUME)                                                                                               \
    X(CHALLENGE_FAIL)                                                                                                  \
    X(CHALLENGE_EXPIRE)                                                                                                \
    X(CODE_INSERT)                                                                                                     \
    X(CODE_GET)                                                                                                        \
    X(CODE_USE)                                                                                                        \
    X(CODE_EXPIRE)                                                                                                     \
    X(FAMILY_INSERT)                                                                                                   \
    X(FAMILY_TRIM)                                                                                                     \
    X(FAMILY_GET)                                                                                                      \
    X(FAMILY_ROTATE)                                                                                                   \
    X(FAMILY_ROTATE_BACK)                                                                                              \
    X(FAMILY_TOUCH)                                                                                                    \
    X(FAMILY_STEP_UP)                                                                                                  \
    X(FAMILY_REVOKE)                                                                                                   \
    X(FAMILY_REVOKE_SESSION)                                                                                           \
    X(FAMILY_REVOKE_USER)                                                                                              \
    X(FAMILY_EXPIRE)                                                                                                   \
    X(FAMILY_EXPIRE_IDLE)                                                                                              \
    X(FAMILY_EXPIRE_REVOKED)                                                                                           \
    X(SESSION_DELETE_OTHERS)                                                                                           \
    X(FAMILY_REVOKE_OTHERS)                                                                                            \
    X(CODE_DELETE_OTHERS)                                                                                              \
    X(FLOW_DELETE_USER)                                                                                                \
    X(PUSH_PENDING_DELETE)                                                                                             \
    X(REVOCATION_PUT_JTI)                                                                                              \
    X(REVOCATION_PUT_SESSIONS)                                                                                         \
    X(REVOCATION_PUT_FAMILIES)                                                                                         \
    X(REVOCATION_PUT_SID)                                                                                              \
    X(REVOCATION_PUT_CLIENT)                                                                                           \
    X(REVOCATION_PUT_AUDIENCE)                                                                                         \
    X(FAMILY_REVOKE_AUDIENCE)                                                                                          \
    X(SESSION_USED)                                                                                                    \
    X(FAMILY_USED)                                                                                                     \
    X(SIGNIN_LIST)                                                                                                     \
    X(CODE_DELETE_SESSION)                                                                                             \
    X(PROFILE_GET)                                                                                                     \
    X(PROFILE_PUT)                                                                                                     \
    X(AUDIT_LIST_NEWEST)                                                                                               \
    X(PASSWORD_USED)                                                                                                   \
    X(REVOCATION_FIND)                                                                                                 \
    X(REVOCATION_EXPIRE)                                                                                               \
    X(CONSENT_LIST)                                                                                                    \
    X(CONSENT_GET)                                                                                                     \
    X(CONSENT_FIND)                                                                                                    \
    X(CONSENT_PUT)                                                                                                     \
    X(CONSENT_DELETE)                                                                                                  \
    X(USER_TOKENS_END)                                                                                                 \
    X(PASSWORD_MUST_RESET)                                                                                             \
    X(ENROLMENT_DELETE_USER)                                                                                           \
    X(METHOD_DELETE_PENDING)                                                                                           \
    X(NOTICE_INSERT)                                                                                                   \
    X(NOTICE_BY_TOKEN)                                                                                                 \
    X(NOTICE_LIST)                                                                                                     \
    X(NOTICE_USE)                                                                                                      \
    X(NOTICE_VOID)                                                                                                     \
    X(METHOD_SETTINGS)                                                                                                 \
    X(NOTICE_EXPIRE)                                                                                                   \
    X(RESET_INSERT)                                                                                                    \
    X(RESET_BY_TOKEN)                                                                                                  \
    X(RESET_USE)                                                                                                       \
    X(RESET_DROP)                                                                                                      \
    X(RESET_EXPIRE)                                                                                                    \
    X(PUSH_DEVICE_INSERT)                                                                                              \
    X(PUSH_DEVICE_GET)                                                                                                 \
    X(PUSH_DEVICE_BY_TICKET)                                                                                           \
    X(PUSH_DEVICE_BY_ID)                                                                                               \
    X(PUSH_DEVICE_BY_PAIR)                                                                                             \
    X(PUSH_DEVICE_ENROL)                                                                                               \
    X(PUSH_DEVICE_PAIR)                                                                                                \
    X(PUSH_DEVICE_UPDATE)                                                                                              \
    X(PUSH_TRANSACTION_INSERT)                                                                                         \
    X(PUSH_TRANSACTION_BY_TOKEN)                                                                                       \
    X(PUSH_TRANSACTION_GET)                                                                                            \
    X(PUSH_TRANSACTION_ANSWER)                                                                                         \
    X(PUSH_TRANSACTION_SUPERSEDE)                                                                                      \
    X(PUSH_TRANSACTION_EXPIRE)                                                                                         \
    X(PUSH_CHALLENGE_SUPERSEDE)                                                                                        \
    X(EXPORT_INSERT)                                                                                                   \
    X(EXPORT_GET)                                                                                                      \
    X(EXPORT_NEXT)                                                                                                     \
    X(EXPORT_BEGIN)                                                                                                    \
    X(EXPORT_FINISH)                                                                                                   \
    X(EXPORT_DROP)                                                                                                     \
    X(EXPORT_DROP_OTHERS)                                                                                              \
    X(EXPORT_LAPSED)                                                                                                   \
    X(EXPORT_PART_INSERT)                                                                                              \
    X(EXPORT_PART_GET)                                                                                                 \
    X(EXPORT_PARTS_DROP)                                                                                               \
    X(EXPORT_PARTS_DROP_ALL)                                                                                           \
    X(LEAVING_BEGIN)                                                                                                   \
    X(LEAVING_END)                                                                                                     \
    X(LEAVING_BY_LINK)                                                                                                 \
    X(LEAVING_DUE)                                                                                                     \
    X(LEAVING_ERASE)                                                                                                   \
    X(LEAVING_COUNT)

#define MA_QUERY_ID(name) MA_Q_##name,
enum ma_sql_ids { MA_QUERIES(MA_QUERY_ID) MA_Q__COUNT };
#undef MA_QUERY_ID
_Static_assert((int)MA_Q__COUNT <= MA_SQL_MAX - MA_SQL_OWN, "MA_SQL_MAX is too small");

#define MA_QUERY_OBJECT(name) extern const struct ma_sql ma_q_##name;
MA_QUERIES(MA_QUERY_OBJECT)
#undef MA_QUERY_OBJECT

#define MA_QUERY(name, text) const struct ma_sql ma_q_##name = {MA_Q_##name, text}

/* The statement with $1 bound as text: the user id in nearly every query. */
MA_MUST_USE int ma_store_stmt(struct ma_db *db, const struct ma_sql *q, struct ma_span first, struct ma_stmt **ret);
/* With an id as $2 besides, a text or a MAC. */
MA_MUST_USE int ma_store_stmt_id(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span id,
                                 struct ma_stmt **ret);
MA_MUST_USE int ma_store_stmt_mac(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span mac,
                                  struct ma_stmt **ret);
/* The statement with $1 bound as bytes that name the row, whoever owns it. Absent ones find nothing: NULL equals no
 * value. */
MA_MUST_USE int ma_store_stmt_bytes(struct ma_db *db, const struct ma_sql *q, struct ma_span bytes,
                                    struct ma_stmt **ret);
/* Runs a change; `none` when it changed no row. */
MA_MUST_USE int ma_store_change(struct ma_db *db, struct ma_stmt *st, int none);
/* An arena copy of a column; p == NULL for SQL NULL. *err becomes MA_E_NOMEM when the arena is full. */
struct ma_span ma_store_col(struct ma_stmt *st, int i, struct ma_arena *a, int *err);
/* Reads rows until there are no more or cap is reached; read copies the row to ret[i]. */
MA_MUST_USE int ma_store_rows(struct ma_stmt *st, struct ma_arena *a, size_t cap, size_t *ret_n,
                              int (*read)(struct ma_stmt *, struct ma_arena *, size_t i, void *ret), void *ret);
/* The same, but MA_E_RANGE when there are more than cap; the statement's LIMIT is past cap. */
MA_MUST_USE int ma_store_all_rows(struct ma_stmt *st, struct ma_arena *a, size_t cap, size_t *ret_n,
                                  int (*read)(struct ma_stmt *, struct ma_arena *, size_t i, void *ret), void *ret);
/* Deletes what lapsed before $1, at most $2 rows. Returns the count or an error. */
int ma_store_sweep(struct ma_db *db, const struct ma_sql *q, int64_t before, int limit);
/* auth_at, mfa_at and amr: three parameters or columns in a row, the first of them i. */
void ma_store_bind_authn(struct ma_stmt *st, int i, const struct ma_authn *authn);
struct ma_authn ma_store_col_authn(struct ma_stmt *st, int i);
/* For a column that is never NULL: what is empty may have no pointer. */
static inline struct ma_span ma_store_some(struct ma_span s)
{
    return s.p ? s : MA_LIT("");
}
/* cap as a LIMIT. */
int64_t ma_store_limit(size_t cap);
/* MA_E_NOTFOUND as success: the end of the rows is no error for a list. */
static inline int ma_store_end(int r)
{
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

/* Lapsed sessions, for ma_expire_pending. Returns the count or an error. */
int ma_enrolment_expire(struct ma_db *db, int64_t before, int limit);

#endif

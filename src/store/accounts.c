/* SPDX-License-Identifier: Apache-2.0
 * The vault: accounts at identity providers that users connected, with the providers' tokens.
 */
#include "ma/store.h"

#include "int.h"

#define ACCOUNT_NUMBERS                                                                                                \
    "access_expires_at, refresh_expires_at, needs_reconnect, version, created_at, updated_at, used_at"
#define ACCOUNT_COLUMNS                                                                                                \
    "user_id, id, connection, provider, subject, client_id, org_id, scopes, access_token, refresh_token, "             \
    "claims, " ACCOUNT_NUMBERS

/* A new version with every loss, so that a refresh under way does not bring tokens back. */
#define DROP_TOKENS                                                                                                    \
    "UPDATE accounts SET access_token = NULL, refresh_token = NULL, needs_reconnect = 1, version = version + 1, "      \
    "updated_at = "

/* Without the sealed values, of which a user may have more than fits into a request's arena. */
MA_QUERY(
    ACCOUNT_LIST,
    "SELECT user_id, id, connection, provider, subject, client_id, org_id, scopes, NULL, NULL, NULL, " ACCOUNT_NUMBERS
    " FROM accounts WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT $2");
MA_QUERY(ACCOUNT_GET, "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE user_id = $1 AND id = $2");
MA_QUERY(ACCOUNT_COUNT, "SELECT count(*) FROM accounts WHERE user_id = $1");
MA_QUERY(ACCOUNT_CLAIMS, "SELECT claims FROM accounts WHERE user_id = $1 AND id = $2");
MA_QUERY(ACCOUNT_OWNER, "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE connection = $1 AND provider = $2 "
                        "AND subject = $3");
MA_QUERY(ACCOUNT_INSERT, "INSERT INTO accounts (" ACCOUNT_COLUMNS
                         ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $16, $17)");
MA_QUERY(ACCOUNT_RECONNECT, "UPDATE accounts SET client_id = $3, org_id = $4, scopes = $5, access_token = $6, "
                            "refresh_token = $7, claims = $8, access_expires_at = $9, refresh_expires_at = $10, "
                            "updated_at = $11, used_at = $12, needs_reconnect = 0, version = version + 1 "
                            "WHERE user_id = $1 AND id = $2");
MA_QUERY(ACCOUNT_REFRESHED, "UPDATE accounts SET scopes = $4, access_token = $5, refresh_token = $6, "
                            "access_expires_at = $7, refresh_expires_at = $8, updated_at = $9, used_at = $10, "
                            "version = version + 1 WHERE user_id = $1 AND id = $2 AND version = $3 "
                            "AND needs_reconnect = 0");
MA_QUERY(ACCOUNT_FAIL, DROP_TOKENS "$4 WHERE user_id = $1 AND id = $2 AND version = $3");
MA_QUERY(ACCOUNT_USED, "UPDATE accounts SET used_at = $3 WHERE user_id = $1 AND id = $2");
MA_QUERY(ACCOUNT_DELETE, "DELETE FROM accounts WHERE user_id = $1 AND id = $2");
MA_QUERY(ACCOUNT_LAPSE, DROP_TOKENS "$1 WHERE (user_id, id) IN (SELECT user_id, id FROM accounts "
                                    "WHERE needs_reconnect = 0 AND refresh_expires_at > 0 "
                                    "AND refresh_expires_at < $2 ORDER BY refresh_expires_at LIMIT $3)");
MA_QUERY(ACCOUNT_LAPSE_IDLE, DROP_TOKENS "$1 WHERE (user_id, id) IN (SELECT user_id, id FROM accounts "
                                         "WHERE needs_reconnect = 0 AND used_at < $2 ORDER BY used_at LIMIT $3)");

static int read_account(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_account *acc = (struct ma_account *)ret + i;
    *acc = (struct ma_account){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .connection = ma_store_col(st, 2, a, &err),
        .provider = ma_store_col(st, 3, a, &err),
        .subject = ma_store_col(st, 4, a, &err),
        .client_id = ma_store_col(st, 5, a, &err),
        .org_id = ma_store_col(st, 6, a, &err),
        .scopes = ma_store_col(st, 7, a, &err),
        .access_token = ma_store_col(st, 8, a, &err),
        .refresh_token = ma_store_col(st, 9, a, &err),
        .claims = ma_store_col(st, 10, a, &err),
        .access_expires_at = ma_col_int(st, 11),
        .refresh_expires_at = ma_col_int(st, 12),
        .needs_reconnect = ma_col_int(st, 13) != 0,
        .version = ma_col_int(st, 14),
        .created_at = ma_col_int(st, 15),
        .updated_at = ma_col_int(st, 16),
        .used_at = ma_col_int(st, 17),
    };
    return err;
}

int ma_account_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_account *ret, size_t cap,
                    size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_ACCOUNT_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap) + 1); /* one more, to notice that there are more */
    return ma_store_all_rows(st, a, cap, ret_n, read_account, ret);
}

int ma_account_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                   struct ma_account *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_GET, user_id, id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_account(st, a, 0, ret) : r;
}

int ma_account_claims(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                      struct ma_span *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int err = MA_OK, r = ma_store_stmt_id(db, &ma_q_ACCOUNT_CLAIMS, user_id, id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_store_col(st, 0, a, &err);
    return r == MA_OK ? err : r;
}

int ma_account_owner(struct ma_db *db, struct ma_arena *a, const struct ma_account_name *name, struct ma_account *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_OWNER, name->connection, ma_store_some(name->provider), &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, name->subject);
    r = ma_stmt_step(st);
    return r == MA_OK ? read_account(st, a, 0, ret) : r;
}

int ma_account_count(struct ma_db *db, struct ma_span user_id, int64_t *ret)
{
    *ret = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_ACCOUNT_COUNT, user_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_col_int(st, 0);
    return r;
}

int ma_account_insert(struct ma_db *db, const struct ma_account *acc)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_INSERT, acc->user_id, acc->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, acc->connection);
    ma_bind_text(st, 4, ma_store_some(acc->provider));
    ma_bind_text(st, 5, acc->subject);
    ma_bind_text(st, 6, acc->client_id);
    ma_bind_text(st, 7, acc->org_id);
    ma_bind_text(st, 8, ma_store_some(acc->scopes));
    ma_bind_blob(st, 9, acc->access_token);
    ma_bind_blob(st, 10, acc->refresh_token);
    ma_bind_blob(st, 11, acc->claims);
    ma_bind_int(st, 12, acc->access_expires_at);
    ma_bind_int(st, 13, acc->refresh_expires_at);
    ma_bind_int(st, 14, acc->needs_reconnect);
    ma_bind_int(st, 15, acc->created_at);
    ma_bind_int(st, 16, acc->updated_at);
    ma_bind_int(st, 17, acc->used_at);
    return ma_stmt_run(st);
}

int ma_account_reconnect(struct ma_db *db, const struct ma_account *acc)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_RECONNECT, acc->user_id, acc->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, acc->client_id);
    ma_bind_text(st, 4, acc->org_id);
    ma_bind_text(st, 5, ma_store_some(acc->scopes));
    ma_bind_blob(st, 6, acc->access_token);
    ma_bind_blob(st, 7, acc->refresh_token);
    ma_bind_blob(st, 8, acc->claims);
    ma_bind_int(st, 9, acc->access_expires_at);
    ma_bind_int(st, 10, acc->refresh_expires_at);
    ma_bind_int(st, 11, acc->updated_at);
    ma_bind_int(st, 12, acc->used_at);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_account_refreshed(struct ma_db *db, const struct ma_account *acc)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_REFRESHED, acc->user_id, acc->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, acc->version);
    ma_bind_text(st, 4, ma_store_some(acc->scopes));
    ma_bind_blob(st, 5, acc->access_token);
    ma_bind_blob(st, 6, acc->refresh_token);
    ma_bind_int(st, 7, acc->access_expires_at);
    ma_bind_int(st, 8, acc->refresh_expires_at);
    ma_bind_int(st, 9, acc->updated_at);
    ma_bind_int(st, 10, acc->used_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_account_fail(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t version, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_FAIL, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, version);
    ma_bind_int(st, 4, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_account_used(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_USED, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_account_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_ACCOUNT_DELETE, user_id, id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

/* Each of the two reasons has an index of its own, which one query could not use both of. */
static int lapse(struct ma_db *db, const struct ma_sql *q, int64_t now, int64_t before, int limit)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, q, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, now);
    ma_bind_int(st, 2, before);
    ma_bind_int(st, 3, limit);
    r = ma_stmt_run(st);
    return r == MA_OK ? (int)ma_db_changes(db) : r;
}

int ma_account_lapse(struct ma_db *db, int64_t now, int64_t idle_before, int limit)
{
    if (limit <= 0)
        return MA_E_INVAL;
    int lapsed = lapse(db, &ma_q_ACCOUNT_LAPSE, now, now, limit);
    if (lapsed < 0 || lapsed == limit)
        return lapsed;
    int idle = lapse(db, &ma_q_ACCOUNT_LAPSE_IDLE, now, idle_before, limit - lapsed);
    return idle < 0 ? idle : lapsed + idle;
}

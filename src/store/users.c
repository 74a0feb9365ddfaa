/* SPDX-License-Identifier: Apache-2.0
 * Users.
 */
#include "ma/store.h"

#include "int.h"

#define USER_COLUMNS                                                                                                   \
    "user_id, email, email_verified, name, phone_number, connection, roles, permissions, blocked, created_at, "        \
    "updated_at"
#define USER_READ USER_COLUMNS ", tokens_after, given_name, family_name, nickname, picture, leaving_since, leaves_at"
#define USER_INSERT_TEXT "INSERT INTO users (" USER_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

MA_QUERY(USER_GET, "SELECT " USER_READ " FROM users WHERE user_id = $1");
MA_QUERY(USER_INSERT, USER_INSERT_TEXT);
/* An upsert, not a replacement: replacing would delete everything the user owns. */
MA_QUERY(USER_PUT,
         USER_INSERT_TEXT " ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, "
                          "email_verified = excluded.email_verified, name = excluded.name, "
                          "phone_number = excluded.phone_number, connection = excluded.connection, "
                          "roles = excluded.roles, permissions = excluded.permissions, blocked = excluded.blocked, "
                          "updated_at = excluded.updated_at");
MA_QUERY(USER_TOKENS_END, "UPDATE users SET tokens_after = $2 WHERE user_id = $1 AND tokens_after < $2");
MA_QUERY(USER_DELETE, "DELETE FROM users WHERE user_id = $1");
MA_QUERY(USER_LIST, "SELECT " USER_READ " FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2");
/* lower() is that of ASCII; the order is the index's, and the conditions are those of the index too. */
#define SIGNS_IN                                                                                                       \
    "AND connection IS NOT NULL AND (CAST($2 AS TEXT) IS NULL OR connection = $2) ORDER BY user_id LIMIT $3"
MA_QUERY(USER_BY_EMAIL,
         "SELECT " USER_READ " FROM users WHERE lower(email) = lower($1) AND email IS NOT NULL " SIGNS_IN);
MA_QUERY(USER_BY_PHONE, "SELECT " USER_READ " FROM users WHERE phone_number = $1 " SIGNS_IN);

static int read_user(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_user *u = (struct ma_user *)ret + i;
    *u = (struct ma_user){
        .user_id = ma_store_col(st, 0, a, &err),
        .email = ma_store_col(st, 1, a, &err),
        .email_verified = ma_col_int(st, 2) != 0,
        .name = ma_store_col(st, 3, a, &err),
        .phone_number = ma_store_col(st, 4, a, &err),
        .connection = ma_store_col(st, 5, a, &err),
        .roles = ma_store_col(st, 6, a, &err),
        .permissions = ma_store_col(st, 7, a, &err),
        .blocked = ma_col_int(st, 8) != 0,
        .created_at = ma_col_int(st, 9),
        .updated_at = ma_col_int(st, 10),
        .tokens_after = ma_col_int(st, 11),
        .given_name = ma_store_col(st, 12, a, &err),
        .family_name = ma_store_col(st, 13, a, &err),
        .nickname = ma_store_col(st, 14, a, &err),
        .picture = ma_store_col(st, 15, a, &err),
        .leaving_since = ma_col_int(st, 16),
        .leaves_at = ma_col_int(st, 17),
    };
    return err;
}

int ma_user_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_user *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_USER_GET, user_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_user(st, a, 0, ret) : r;
}

static int write_user(struct ma_db *db, const struct ma_sql *q, const struct ma_user *u)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, q, u->user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, u->email);
    ma_bind_int(st, 3, u->email_verified);
    ma_bind_text(st, 4, u->name);
    ma_bind_text(st, 5, u->phone_number);
    ma_bind_text(st, 6, u->connection);
    ma_bind_text(st, 7, u->roles.p ? u->roles : MA_LIT("[]"));
    ma_bind_text(st, 8, u->permissions.p ? u->permissions : MA_LIT("[]"));
    ma_bind_int(st, 9, u->blocked);
    ma_bind_int(st, 10, u->created_at);
    ma_bind_int(st, 11, u->updated_at);
    return ma_stmt_run(st);
}

int ma_user_put(struct ma_db *db, const struct ma_user *u)
{
    return write_user(db, &ma_q_USER_PUT, u);
}

int ma_user_insert(struct ma_db *db, const struct ma_user *u)
{
    return write_user(db, &ma_q_USER_INSERT, u);
}

int ma_user_delete(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_USER_DELETE, user_id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

int ma_user_list(struct ma_db *db, struct ma_arena *a, struct ma_span after, int limit, struct ma_user *ret,
                 size_t *ret_n)
{
    *ret_n = 0;
    size_t cap = limit > 0 ? (size_t)limit : 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_USER_LIST, after.p ? after : MA_LIT(""), &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_user, ret);
}

static int by_identifier(struct ma_db *db, const struct ma_sql *q, struct ma_arena *a, struct ma_span identifier,
                         struct ma_span connection, struct ma_user *ret, size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, q, identifier, connection, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_user, ret);
}

int ma_user_by_email(struct ma_db *db, struct ma_arena *a, struct ma_span email, struct ma_span connection,
                     struct ma_user *ret, size_t cap, size_t *ret_n)
{
    return by_identifier(db, &ma_q_USER_BY_EMAIL, a, email, connection, ret, cap, ret_n);
}

int ma_user_by_phone(struct ma_db *db, struct ma_arena *a, struct ma_span phone, struct ma_span connection,
                     struct ma_user *ret, size_t cap, size_t *ret_n)
{
    return by_identifier(db, &ma_q_USER_BY_PHONE, a, phone, connection, ret, cap, ret_n);
}

int ma_user_tokens_end(struct ma_db *db, struct ma_span user_id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_USER_TOKENS_END, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    return ma_stmt_run(st);
}

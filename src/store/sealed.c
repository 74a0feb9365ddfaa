/* SPDX-License-Identifier: Apache-2.0
 * The columns that hold sealed values.
 */
#include "ma/sealed.h"

#include "int.h"

/* What a list yields: key, key, key, column, row, user (as struct ma_seal_id has them), value. $1 to $3: the key
 * before, $4: the newest key's name, $5: how many. The key a value was sealed with stands in its bytes 2 to 5. */
#define STALE(column) column " IS NOT NULL AND substr(" column ", 2, 4) <> $4 "

/* Tables keyed by user and id. */
#define LIST_BY_USER(table, column, and)                                                                               \
    "SELECT user_id, id, NULL, '" column "', id, user_id, " column " FROM " table                                      \
    " WHERE (user_id, id) > ($1, $2) AND " STALE(column) and                                                           \
        "ORDER BY user_id, id LIMIT $5"
#define PUT_BY_USER(table, column)                                                                                     \
    "UPDATE " table " SET " column " = $4 WHERE user_id = $1 AND id = $2 AND " column " = $5"
/* Tables keyed by one column. */
#define LIST_BY(key, table, column)                                                                                    \
    "SELECT " key ", NULL, NULL, '" column "', " key ", user_id, " column " FROM " table " WHERE " key                 \
    " > $1 AND " STALE(column) "ORDER BY " key " LIMIT $5"
#define PUT_BY(key, table, column) "UPDATE " table " SET " column " = $4 WHERE " key " = $1 AND " column " = $5"
#define COUNT(table, column) "SELECT " column " FROM " table " WHERE " column " IS NOT NULL"
#define ONLY_TOTP "AND type = 'totp' " /* a recovery code is a MAC */

MA_QUERY(SEALED_LIST_METHOD, LIST_BY_USER("methods", "secret", ONLY_TOTP));
MA_QUERY(SEALED_PUT_METHOD, PUT_BY_USER("methods", "secret"));
MA_QUERY(SEALED_COUNT_METHOD, COUNT("methods", "secret") " " ONLY_TOTP);
MA_QUERY(SEALED_LIST_ACCESS_TOKEN, LIST_BY_USER("accounts", "access_token", ""));
MA_QUERY(SEALED_PUT_ACCESS_TOKEN, PUT_BY_USER("accounts", "access_token"));
MA_QUERY(SEALED_COUNT_ACCESS_TOKEN, COUNT("accounts", "access_token"));
MA_QUERY(SEALED_LIST_REFRESH_TOKEN, LIST_BY_USER("accounts", "refresh_token", ""));
MA_QUERY(SEALED_PUT_REFRESH_TOKEN, PUT_BY_USER("accounts", "refresh_token"));
MA_QUERY(SEALED_COUNT_REFRESH_TOKEN, COUNT("accounts", "refresh_token"));
MA_QUERY(SEALED_LIST_CLAIMS, LIST_BY_USER("accounts", "claims", ""));
MA_QUERY(SEALED_PUT_CLAIMS, PUT_BY_USER("accounts", "claims"));
MA_QUERY(SEALED_COUNT_CLAIMS, COUNT("accounts", "claims"));
MA_QUERY(SEALED_LIST_OUTBOX, LIST_BY("id", "outbox", "payload"));
MA_QUERY(SEALED_PUT_OUTBOX, PUT_BY("id", "outbox", "payload"));
MA_QUERY(SEALED_COUNT_OUTBOX, COUNT("outbox", "payload"));
MA_QUERY(SEALED_LIST_CLIENT_STATE, LIST_BY("session_mac", "connects", "client_state"));
MA_QUERY(SEALED_PUT_CLIENT_STATE, PUT_BY("session_mac", "connects", "client_state"));
MA_QUERY(SEALED_COUNT_CLIENT_STATE, COUNT("connects", "client_state"));
MA_QUERY(SEALED_LIST_PARAMS, LIST_BY("session_mac", "connects", "params"));
MA_QUERY(SEALED_PUT_PARAMS, PUT_BY("session_mac", "connects", "params"));
MA_QUERY(SEALED_COUNT_PARAMS, COUNT("connects", "params"));
MA_QUERY(SEALED_LIST_CONNECT_SECRET, LIST_BY("session_mac", "connects", "secret"));
MA_QUERY(SEALED_PUT_CONNECT_SECRET, PUT_BY("session_mac", "connects", "secret"));
MA_QUERY(SEALED_COUNT_CONNECT_SECRET, COUNT("connects", "secret"));
MA_QUERY(SEALED_LIST_RESULT, LIST_BY("session_mac", "connects", "result"));
MA_QUERY(SEALED_PUT_RESULT, PUT_BY("session_mac", "connects", "result"));
MA_QUERY(SEALED_COUNT_RESULT, COUNT("connects", "result"));
MA_QUERY(SEALED_LIST_NOTICE_INFO, LIST_BY("id", "notices", "info"));
MA_QUERY(SEALED_PUT_NOTICE_INFO, PUT_BY("id", "notices", "info"));
MA_QUERY(SEALED_COUNT_NOTICE_INFO, COUNT("notices", "info"));
MA_QUERY(SEALED_LIST_NOTICE_KEPT, LIST_BY("id", "notices", "kept"));
MA_QUERY(SEALED_PUT_NOTICE_KEPT, PUT_BY("id", "notices", "kept"));
MA_QUERY(SEALED_COUNT_NOTICE_KEPT, COUNT("notices", "kept"));
MA_QUERY(SEALED_LIST_PUSH_SEED, LIST_BY_USER("push_devices", "seed", ""));
MA_QUERY(SEALED_PUT_PUSH_SEED, PUT_BY_USER("push_devices", "seed"));
MA_QUERY(SEALED_COUNT_PUSH_SEED, COUNT("push_devices", "seed"));
MA_QUERY(SEALED_LIST_PUSH_TOKEN, LIST_BY_USER("push_devices", "push_token", ""));
MA_QUERY(SEALED_PUT_PUSH_TOKEN, PUT_BY_USER("push_devices", "push_token"));
MA_QUERY(SEALED_COUNT_PUSH_TOKEN, COUNT("push_devices", "push_token"));
MA_QUERY(SEALED_LIST_EXPORT_PART, LIST_BY_USER("export_parts", "sealed", ""));
MA_QUERY(SEALED_PUT_EXPORT_PART, PUT_BY_USER("export_parts", "sealed"));
MA_QUERY(SEALED_COUNT_EXPORT_PART, COUNT("export_parts", "sealed"));
MA_QUERY(SEALED_LIST_OBJECT,
         "SELECT kind, key, name, name, kind || '|' || key, '', sealed FROM object_secrets WHERE (kind, key, name) > "
         "($1, $2, $3) AND " STALE("sealed") "ORDER BY kind, key, name LIMIT $5");
MA_QUERY(SEALED_PUT_OBJECT,
         "UPDATE object_secrets SET sealed = $4 WHERE kind = $1 AND key = $2 AND name = $3 AND sealed = $5");
MA_QUERY(SEALED_COUNT_OBJECT, "SELECT sealed FROM object_secrets");

/* No row and user: the JSON tells. client_id stands for the user of a login. */
MA_QUERY(SEALED_LIST_FLOW,
         "SELECT token_mac, NULL, NULL, 'data', NULL, client_id, data FROM flows WHERE token_mac > $1 ORDER BY "
         "token_mac LIMIT $5");
MA_QUERY(SEALED_PUT_FLOW, "UPDATE flows SET data = $4 WHERE token_mac = $1 AND data = $5");
MA_QUERY(SEALED_COUNT_FLOW, "SELECT data FROM flows WHERE data IS NOT NULL");

#define COLUMN(NAME, table, column, form, n_keys, blob_key)                                                            \
    {                                                                                                                  \
        table, column, form, n_keys, blob_key, &ma_q_SEALED_LIST_##NAME, &ma_q_SEALED_PUT_##NAME,                      \
            &ma_q_SEALED_COUNT_##NAME                                                                                  \
    }
static const struct ma_sealed_column columns[] = {
    COLUMN(OBJECT, "object_secrets", "sealed", MA_SEALED_BLOB, 3, false),
    COLUMN(METHOD, "methods", "secret", MA_SEALED_BLOB, 2, false),
    COLUMN(ACCESS_TOKEN, "accounts", "access_token", MA_SEALED_BLOB, 2, false),
    COLUMN(REFRESH_TOKEN, "accounts", "refresh_token", MA_SEALED_BLOB, 2, false),
    COLUMN(CLAIMS, "accounts", "claims", MA_SEALED_BLOB, 2, false),
    COLUMN(OUTBOX, "outbox", "payload", MA_SEALED_BLOB, 1, false),
    COLUMN(CLIENT_STATE, "connects", "client_state", MA_SEALED_BLOB, 1, true),
    COLUMN(PARAMS, "connects", "params", MA_SEALED_BLOB, 1, true),
    COLUMN(CONNECT_SECRET, "connects", "secret", MA_SEALED_BLOB, 1, true),
    COLUMN(RESULT, "connects", "result", MA_SEALED_BLOB, 1, true),
    COLUMN(NOTICE_INFO, "notices", "info", MA_SEALED_BLOB, 1, false),
    COLUMN(NOTICE_KEPT, "notices", "kept", MA_SEALED_BLOB, 1, false),
    COLUMN(PUSH_SEED, "push_devices", "seed", MA_SEALED_BLOB, 2, false),
    COLUMN(PUSH_TOKEN, "push_devices", "push_token", MA_SEALED_BLOB, 2, false),
    COLUMN(EXPORT_PART, "export_parts", "sealed", MA_SEALED_BLOB, 2, false),
    COLUMN(FLOW, "flows", "data", MA_SEALED_FLOW, 1, true),
};

const struct ma_sealed_column *ma_sealed_columns(size_t *ret_n)
{
    *ret_n = MA_COUNT(columns);
    return columns;
}

static void bind_key(struct ma_stmt *st, const struct ma_sealed_column *c, const struct ma_sealed_row *row)
{
    for (int i = 0; i < c->n_keys; i++) {
        struct ma_span key = row ? ma_store_some(row->key[i]) : MA_LIT("");
        if (c->blob_key)
            ma_bind_blob(st, i + 1, key);
        else
            ma_bind_text(st, i + 1, key);
    }
}

static void bind_value(struct ma_stmt *st, int i, const struct ma_sealed_column *c, struct ma_span value)
{
    if (c->form == MA_SEALED_FLOW)
        ma_bind_text(st, i, value);
    else
        ma_bind_blob(st, i, value);
}

static int read_row(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_sealed_row *row = (struct ma_sealed_row *)ret + i;
    *row = (struct ma_sealed_row){
        .key = {ma_store_col(st, 0, a, &err), ma_store_col(st, 1, a, &err), ma_store_col(st, 2, a, &err)},
        .column = ma_store_col(st, 3, a, &err),
        .row = ma_store_col(st, 4, a, &err),
        .user = ma_store_col(st, 5, a, &err),
        .value = ma_store_col(st, 6, a, &err),
    };
    return err;
}

int ma_sealed_list(struct ma_db *db, struct ma_arena *a, const struct ma_sealed_column *c,
                   const struct ma_sealed_row *after, uint32_t newest, struct ma_sealed_row *ret, size_t cap,
                   size_t *ret_n)
{
    const uint8_t name[] = {(uint8_t)(newest >> 24), (uint8_t)(newest >> 16), (uint8_t)(newest >> 8), (uint8_t)newest};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    *ret_n = 0;
    int r = ma_db_stmt(db, c->list, &st);
    if (r != MA_OK)
        return r;
    bind_key(st, c, after);
    if (c->form == MA_SEALED_BLOB)
        ma_bind_blob(st, 4, ma_span_of(name, sizeof name));
    ma_bind_int(st, 5, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_row, ret);
}

int ma_sealed_put(struct ma_db *db, const struct ma_sealed_column *c, const struct ma_sealed_row *row,
                  struct ma_span fresh)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, c->put, &st);
    if (r != MA_OK)
        return r;
    bind_key(st, c, row);
    bind_value(st, 4, c, fresh);
    bind_value(st, 5, c, row->value);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_sealed_each(struct ma_db *db, const struct ma_sealed_column *c, int (*fn)(void *arg, struct ma_span value),
                   void *arg)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, c->count, &st);
    while (r == MA_OK) {
        r = ma_stmt_step(st);
        if (r == MA_OK)
            r = fn(arg, ma_col_view(st, 0));
    }
    return ma_store_end(r);
}

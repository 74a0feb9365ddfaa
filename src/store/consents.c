/* SPDX-License-Identifier: Apache-2.0
 * What users allowed clients: one consent for each client and audience.
 */
#include "ma/store.h"

#include "int.h"

#define CONSENT_COLUMNS "user_id, id, client_id, audience, scope, created_at, expires_at"

MA_QUERY(CONSENT_LIST, "SELECT " CONSENT_COLUMNS " FROM consents WHERE user_id = $1 ORDER BY created_at DESC, id "
                       "LIMIT $2");
MA_QUERY(CONSENT_GET, "SELECT " CONSENT_COLUMNS " FROM consents WHERE user_id = $1 AND id = $2");
MA_QUERY(CONSENT_FIND, "SELECT " CONSENT_COLUMNS " FROM consents WHERE user_id = $1 AND client_id = $2 "
                       "AND audience = $3");
MA_QUERY(CONSENT_PUT, "INSERT INTO consents (" CONSENT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7) "
                      "ON CONFLICT (user_id, client_id, audience) DO UPDATE SET scope = excluded.scope, "
                      "expires_at = excluded.expires_at");
MA_QUERY(CONSENT_DELETE, "DELETE FROM consents WHERE user_id = $1 AND id = $2");

static int read_consent(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    int err = MA_OK;
    struct ma_consent *c = (struct ma_consent *)ret + i;
    *c = (struct ma_consent){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .client_id = ma_store_col(st, 2, a, &err),
        .audience = ma_store_col(st, 3, a, &err),
        .scope = ma_store_col(st, 4, a, &err),
        .created_at = ma_col_int(st, 5),
        .expires_at = ma_col_int(st, 6),
    };
    return err;
}

int ma_consent_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_consent *ret, size_t cap,
                    size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_CONSENT_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap) + 1); /* one more, to notice that there are more */
    return ma_store_all_rows(st, a, cap, ret_n, read_consent, ret);
}

int ma_consent_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                   struct ma_consent *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CONSENT_GET, user_id, id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_consent(st, a, 0, ret) : r;
}

int ma_consent_find(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span client_id,
                    struct ma_span audience, struct ma_consent *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CONSENT_FIND, user_id, client_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, ma_store_some(audience));
    r = ma_stmt_step(st);
    return r == MA_OK ? read_consent(st, a, 0, ret) : r;
}

int ma_consent_put(struct ma_db *db, const struct ma_consent *c)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CONSENT_PUT, c->user_id, c->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, c->client_id);
    ma_bind_text(st, 4, ma_store_some(c->audience));
    ma_bind_text(st, 5, ma_store_some(c->scope));
    ma_bind_int(st, 6, c->created_at);
    ma_bind_int(st, 7, c->expires_at);
    return ma_stmt_run(st);
}

int ma_consent_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_CONSENT_DELETE, user_id, id, &st);
    return r == MA_OK ? ma_store_change(db, st, MA_E_NOTFOUND) : r;
}

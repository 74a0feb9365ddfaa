/* SPDX-License-Identifier: Apache-2.0
 * The configuration objects of the state document and their sealed secrets.
 */
#include "ma/store.h"

#include "int.h"

#define LIST_FIRST 64 /* objects; the array doubles from there */

MA_QUERY(OBJECT_PUT, "INSERT INTO objects (kind, key, json, updated_at) VALUES ($1, $2, $3, $4) "
                     "ON CONFLICT (kind, key) DO UPDATE SET json = excluded.json, updated_at = excluded.updated_at");
MA_QUERY(OBJECT_GET, "SELECT kind, key, json FROM objects WHERE kind = $1 AND key = $2");
MA_QUERY(OBJECT_LIST, "SELECT kind, key, json FROM objects ORDER BY kind, key");
MA_QUERY(OBJECT_SECRET_PUT,
         "INSERT INTO object_secrets (kind, key, name, sealed, updated_at) VALUES ($1, $2, $3, $4, $5) "
         "ON CONFLICT (kind, key, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at");
MA_QUERY(OBJECT_SECRET_GET, "SELECT sealed FROM object_secrets WHERE kind = $1 AND key = $2 AND name = $3");

int ma_object_put(struct ma_db *db, const struct ma_object *o, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OBJECT_PUT, o->kind, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, o->key.p ? o->key : MA_LIT(""));
    ma_bind_text(st, 3, o->json);
    ma_bind_int(st, 4, now);
    return ma_stmt_run(st);
}

static int read_object(struct ma_stmt *st, struct ma_arena *a, struct ma_object *ret)
{
    int err = MA_OK;
    *ret = (struct ma_object){
        .kind = ma_store_col(st, 0, a, &err),
        .key = ma_store_col(st, 1, a, &err),
        .json = ma_store_col(st, 2, a, &err),
    };
    return err;
}

int ma_object_get(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span key, struct ma_object *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_OBJECT_GET, kind, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, key.p ? key : MA_LIT(""));
    r = ma_stmt_step(st);
    return r == MA_OK ? read_object(st, a, ret) : r;
}

static struct ma_object *grow(struct ma_arena *a, const struct ma_object *old, size_t n, size_t *cap)
{
    *cap = n ? n * 2 : LIST_FIRST;
    struct ma_object *v = ma_arena_calloc(a, *cap, sizeof(*v));
    if (v && n)
        memcpy(v, old, n * sizeof(*v));
    return v;
}

int ma_object_list(struct ma_db *db, struct ma_arena *a, struct ma_object **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_OBJECT_LIST, &st);
    if (r != MA_OK)
        return r;
    size_t cap = 0;
    while ((r = ma_stmt_step(st)) == MA_OK) {
        if (*ret_n == cap)
            *ret = grow(a, *ret, *ret_n, &cap);
        if (!*ret)
            return MA_E_NOMEM;
        r = read_object(st, a, &(*ret)[*ret_n]);
        if (r != MA_OK)
            return r;
        ++*ret_n;
    }
    return ma_store_end(r);
}

static int secret_stmt(struct ma_db *db, const struct ma_sql *q, struct ma_span kind, struct ma_span key,
                       struct ma_span name, struct ma_stmt **ret)
{
    int r = ma_store_stmt(db, q, kind, ret);
    if (r != MA_OK)
        return r;
    ma_bind_text(*ret, 2, key.p ? key : MA_LIT(""));
    ma_bind_text(*ret, 3, name);
    return MA_OK;
}

int ma_object_secret_put(struct ma_db *db, struct ma_span kind, struct ma_span key, struct ma_span name,
                         struct ma_span sealed, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = secret_stmt(db, &ma_q_OBJECT_SECRET_PUT, kind, key, name, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 4, sealed);
    ma_bind_int(st, 5, now);
    return ma_stmt_run(st);
}

int ma_object_secret_get(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span key,
                         struct ma_span name, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = secret_stmt(db, &ma_q_OBJECT_SECRET_GET, kind, key, name, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = ma_store_col(st, 0, a, &r);
    return r;
}

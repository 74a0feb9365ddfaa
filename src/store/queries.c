/* SPDX-License-Identifier: Apache-2.0
 * The table of all queries, and the steps every repository repeats.
 */
#include "ma/store.h"

#include "int.h"

#define ENTRY(name) &ma_q_##name,
static const struct ma_sql *const ALL[] = {MA_QUERIES(ENTRY)};
#undef ENTRY

const struct ma_sql *const *ma_store_queries(size_t *ret_n)
{
    *ret_n = MA_COUNT(ALL);
    return ALL;
}

int ma_store_stmt(struct ma_db *db, const struct ma_sql *q, struct ma_span first, struct ma_stmt **ret)
{
    int r = ma_db_stmt(db, q, ret);
    if (r == MA_OK)
        ma_bind_text(*ret, 1, first);
    return r;
}

int ma_store_stmt_id(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span id,
                     struct ma_stmt **ret)
{
    int r = ma_store_stmt(db, q, user_id, ret);
    if (r == MA_OK)
        ma_bind_text(*ret, 2, id);
    return r;
}

int ma_store_stmt_mac(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span mac,
                      struct ma_stmt **ret)
{
    int r = ma_store_stmt(db, q, user_id, ret);
    if (r == MA_OK)
        ma_bind_blob(*ret, 2, mac);
    return r;
}

int ma_store_stmt_bytes(struct ma_db *db, const struct ma_sql *q, struct ma_span bytes, struct ma_stmt **ret)
{
    int r = ma_db_stmt(db, q, ret);
    if (r == MA_OK)
        ma_bind_blob(*ret, 1, bytes);
    return r;
}

int ma_store_change(struct ma_db *db, struct ma_stmt *st, int none)
{
    int r = ma_stmt_run(st);
    if (r != MA_OK)
        return r;
    return ma_db_changes(db) > 0 ? MA_OK : none;
}

struct ma_span ma_store_col(struct ma_stmt *st, int i, struct ma_arena *a, int *err)
{
    struct ma_span v = ma_col_view(st, i);
    if (!v.p)
        return v;
    v = ma_arena_dup(a, v);
    if (!v.p)
        *err = MA_E_NOMEM;
    return v;
}

int ma_store_rows(struct ma_stmt *st, struct ma_arena *a, size_t cap, size_t *ret_n,
                  int (*read)(struct ma_stmt *, struct ma_arena *, size_t i, void *ret), void *ret)
{
    *ret_n = 0;
    while (*ret_n < cap) {
        int r = ma_stmt_step(st);
        if (r == MA_OK)
            r = read(st, a, *ret_n, ret);
        if (r != MA_OK)
            return ma_store_end(r);
        ++*ret_n;
    }
    return MA_OK;
}

int ma_store_all_rows(struct ma_stmt *st, struct ma_arena *a, size_t cap, size_t *ret_n,
                      int (*read)(struct ma_stmt *, struct ma_arena *, size_t i, void *ret), void *ret)
{
    int r = ma_store_rows(st, a, cap, ret_n, read, ret);
    if (r != MA_OK || *ret_n < cap) /* a statement that came to its end would start anew */
        return r;
    r = ma_stmt_step(st);
    return r == MA_OK ? MA_E_RANGE : ma_store_end(r);
}

int ma_store_sweep(struct ma_db *db, const struct ma_sql *q, int64_t before, int limit)
{
    if (limit <= 0)
        return MA_E_INVAL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, q, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, before);
    ma_bind_int(st, 2, limit);
    r = ma_stmt_run(st);
    return r == MA_OK ? (int)ma_db_changes(db) : r;
}

void ma_store_bind_authn(struct ma_stmt *st, int i, const struct ma_authn *authn)
{
    ma_bind_int(st, i, authn->auth_at);
    ma_bind_int(st, i + 1, authn->mfa_at);
    ma_bind_int(st, i + 2, authn->amr);
}

struct ma_authn ma_store_col_authn(struct ma_stmt *st, int i)
{
    return (struct ma_authn){
        .auth_at = ma_col_int(st, i), .mfa_at = ma_col_int(st, i + 1), .amr = (uint32_t)ma_col_int(st, i + 2)};
}

int64_t ma_store_limit(size_t cap)
{
    return cap > INT32_MAX ? INT32_MAX : (int64_t)cap;
}

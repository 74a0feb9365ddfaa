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

int64_t ma_store_limit(size_t cap)
{
    return cap > INT32_MAX ? INT32_MAX : (int64_t)cap;
}

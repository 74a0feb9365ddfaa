/* SPDX-License-Identifier: Apache-2.0
 * What may happen to rows of the audit trail after they were written: retention removes the oldest, erasure takes what
 * identifies a user out of them. And how far the webhook has come.
 */
#include "audit_int.h"

#include "ma/codec.h"
#include "ma/id.h"

#define RETAIN_PAUSE_MS 3600000 /* after a row that does not verify */

MA_QUERY(AUDIT_REMOVE, "DELETE FROM audit WHERE id <= $1");
MA_QUERY(AUDIT_ERASE, "UPDATE audit SET user_id = $3, ip = NULL, user_agent = NULL, request_id = NULL, "
                      "method_id = NULL, detail = NULL, salt = NULL, personal = $4, erasure = $5 "
                      "WHERE user_id = $1 AND id = $2 AND salt IS NOT NULL");
MA_QUERY(AUDIT_DELIVERY_GET,
         "SELECT done_to, batch_to, attempts, next_at, last_error FROM audit_delivery WHERE one = 1");
MA_QUERY(AUDIT_DELIVERY_PUT,
         "INSERT INTO audit_delivery (one, done_to, batch_to, attempts, next_at, last_error) "
         "VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (one) DO UPDATE SET done_to = excluded.done_to, "
         "batch_to = excluded.batch_to, attempts = excluded.attempts, next_at = excluded.next_at, "
         "last_error = excluded.last_error");

/* --- erasure --- */

int ma_audit_pseudonym(const struct ma_rand *rand, char out[MA_AUDIT_PSEUDONYM_LEN + 1])
{
    memcpy(out, "erased|", 7);
    return ma_id_request(rand, out + 7);
}

static int erase_row(struct ma_db *db, const struct ma_audit *au, const struct ma_audit_link *l,
                     struct ma_span pseudonym)
{
    uint8_t personal[MA_AUDIT_HASH_LEN], erasure[MA_AUDIT_HASH_LEN];
    int r = ma_audit_personal(l->salt, &l->row, personal);
    if (r == MA_OK)
        r = ma_audit_erasure(au->key, l->hash, pseudonym, erasure);
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    if (r == MA_OK)
        r = ma_store_stmt(db, &ma_q_AUDIT_ERASE, l->row.user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, l->row.id);
    ma_bind_text(st, 3, pseudonym);
    ma_bind_blob(st, 4, ma_span_of(personal, sizeof personal));
    ma_bind_blob(st, 5, ma_span_of(erasure, sizeof erasure));
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_audit_pseudonymise(struct ma_db *db, struct ma_span user_id, struct ma_span pseudonym, size_t *ret_n)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct ma_audit_link *page = a ? ma_arena_calloc(a, MA_AUDIT_BATCH, sizeof *page) : NULL;
    const struct ma_audit *au = ma_db_attached(db);
    *ret_n = 0;
    if (!au || user_id.n == 0 || pseudonym.n == 0 || ma_span_eq(user_id, pseudonym))
        return MA_E_INVAL;
    int r = page ? ma_audit_links_of(db, a, user_id, page, MA_AUDIT_BATCH, ret_n) : MA_E_NOMEM;
    for (size_t i = 0; r == MA_OK && i < *ret_n; i++)
        r = erase_row(db, au, &page[i], pseudonym);
    return r;
}

/* --- retention --- */

/* How many rows from the chain's base on are old enough. MA_E_AUTH when one of them is not what was written: what was
 * tampered with stays as evidence. */
static int count_old(const struct ma_audit *au, const struct ma_audit_chain *c, const struct ma_audit_link *page,
                     size_t n, int64_t before, size_t *ret)
{
    const uint8_t *hash = c->base_hash;
    int err = MA_OK;
    for (*ret = 0; *ret < n && page[*ret].row.at < before && page[*ret].row.id <= c->head_id; ++*ret) {
        if (page[*ret].row.id <= c->base_id || ma_audit_link_fault(au->key, hash, &page[*ret], &err))
            return MA_E_AUTH;
        if (err != MA_OK)
            return err;
        hash = page[*ret].hash.p;
    }
    return MA_OK;
}

/* Moves the chain's beginning behind the row and removes what stands before it. */
static int remove_to(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *c, int64_t id, const uint8_t *hash)
{
    const int64_t base = c->base_id, head = c->head_id;
    c->base_id = id;
    memcpy(c->base_hash, hash, sizeof c->base_hash);
    if (c->head_id < id)
        c->head_id = id;
    int r = ma_audit_chain_move(db, au, c, head, base);
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    if (r == MA_OK)
        r = ma_db_stmt(db, &ma_q_AUDIT_REMOVE, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, c->base_id);
    return ma_stmt_run(st);
}

int ma_audit_retain(struct ma_db *db, int64_t before, int limit)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct ma_audit_link *page = a ? ma_arena_calloc(a, MA_AUDIT_BATCH, sizeof *page) : NULL;
    struct ma_audit *au = ma_db_attached(db);
    struct ma_audit_chain c;
    size_t n = 0, old = 0;
    if (!au || limit <= 0 || limit > MA_AUDIT_BATCH)
        return MA_E_INVAL;
    if (before < au->retain_from)
        return 0;
    int r = page ? ma_audit_chain_get(db, &c) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_audit_chain_check(au->key, &c);
    if (r == MA_OK)
        r = ma_audit_links(db, a, INT64_MIN, page, (size_t)limit, &n);
    if (r == MA_OK)
        r = count_old(au, &c, page, n, before, &old);
    if (r == MA_OK && old > 0)
        r = remove_to(db, au, &c, page[old - 1].row.id, page[old - 1].hash.p);
    if (r == MA_E_AUTH) /* looked at again later: somebody has to do something first */
        au->retain_from = before + RETAIN_PAUSE_MS;
    return r == MA_OK ? (int)old : r;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int ma_audit_discard(struct ma_db *db, size_t *ret_n)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct ma_audit_link *page = a ? ma_arena_calloc(a, MA_AUDIT_BATCH, sizeof *page) : NULL;
    struct ma_audit *au = ma_db_attached(db);
    struct ma_audit_chain c;
    *ret_n = 0;
    if (!au)
        return MA_E_INVAL;
    int r = page ? ma_audit_chain_load(db, au, &c) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_audit_links(db, a, INT64_MIN, page, MA_AUDIT_BATCH, ret_n);
    if (r != MA_OK)
        return r;
    au->retain_from = 0;
    const struct ma_audit_link *last = *ret_n > 0 ? &page[*ret_n - 1] : NULL;
    if (*ret_n < MA_AUDIT_BATCH) { /* nothing is left: the next row begins the chain */
        int64_t end = later(c.head_id, last ? last->row.id : 0);
        end = later(end, later(c.adopted_to, c.broken_at));
        return remove_to(db, au, &c, end, c.head_hash);
    }
    return remove_to(db, au, &c, later(c.base_id, last->row.id),
                     last->hash.n == MA_AUDIT_HASH_LEN ? last->hash.p : c.head_hash);
}

/* --- the webhook's cursor --- */

int ma_audit_delivery_get(struct ma_db *db, struct ma_arena *a, struct ma_audit_delivery *ret)
{
    int err = MA_OK;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_DELIVERY_GET, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r != MA_OK)
        return r;
    *ret = (struct ma_audit_delivery){.done_to = ma_col_int(st, 0),
                                      .batch_to = ma_col_int(st, 1),
                                      .attempts = (int)ma_col_int(st, 2),
                                      .next_at = ma_col_int(st, 3),
                                      .last_error = ma_store_col(st, 4, a, &err)};
    return err;
}

int ma_audit_delivery_put(struct ma_db *db, const struct ma_audit_delivery *d)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_DELIVERY_PUT, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, d->done_to);
    ma_bind_int(st, 2, d->batch_to);
    ma_bind_int(st, 3, d->attempts);
    ma_bind_int(st, 4, d->next_at);
    ma_bind_text(st, 5, d->last_error);
    return ma_stmt_run(st);
}

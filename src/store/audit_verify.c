/* SPDX-License-Identifier: Apache-2.0
 * Verifying the audit chain, a batch of rows to a snapshot: rows may be appended and removed meanwhile.
 */
#include "audit_int.h"

struct walk {
    struct ma_audit_report *report;
    const struct ma_audit_mark *noted;
    bool noted_seen, started, record_bad;
    int64_t broken_at;
    int64_t pos;                     /* the last row that was checked */
    uint8_t hash[MA_AUDIT_HASH_LEN]; /* and its hash */
    uint8_t key[MA_AUDIT_KEY_LEN];
};

/* The first finding counts. */
static void find(struct walk *w, int64_t from, int64_t to, const char *why)
{
    struct ma_audit_report *r = w->report;
    if (!r->ok)
        return;
    r->ok = false;
    r->bad_from = from;
    r->bad_to = to;
    r->why = why;
}

static void see_noted(struct walk *w, int64_t id, const uint8_t *hash)
{
    if (!w->noted || w->noted->id != id)
        return;
    w->noted_seen = true;
    if (!ma_ct_eq(ma_span_of(w->noted->hash, MA_AUDIT_HASH_LEN), ma_span_of(hash, MA_AUDIT_HASH_LEN)))
        find(w, id, id, "is not the one that was noted");
}

static void go_on_from(struct walk *w, int64_t id, const uint8_t *hash)
{
    w->pos = id;
    memcpy(w->hash, hash, sizeof w->hash);
}

/* Rows in front of the checkpoint: retention removes them in the transaction that sets it. */
static int check_front(struct ma_db *db, struct ma_arena *a, struct walk *w, const struct ma_audit_chain *c)
{
    struct ma_audit_link first;
    size_t n = 0;
    int r = ma_audit_links(db, a, INT64_MIN, &first, 1, &n);
    if (r == MA_OK && n == 1 && first.row.id <= c->base_id)
        find(w, first.row.id, first.row.id, "stands in front of the beginning of the chain");
    return r;
}

static int begin(struct ma_db *db, struct ma_arena *a, struct walk *w, const struct ma_audit_chain *c)
{
    int r = ma_audit_chain_check(w->key, c);
    w->record_bad = r == MA_E_AUTH;
    if (r != MA_OK && r != MA_E_AUTH)
        return r;
    w->started = true;
    w->report->adopted_to = c->adopted_to;
    memcpy(w->report->chain_id, c->chain_id, sizeof w->report->chain_id);
    go_on_from(w, c->base_id, c->base_hash);
    see_noted(w, c->base_id, c->base_hash);
    if (w->noted && w->noted->id < c->base_id)
        find(w, w->noted->id, w->noted->id, "was noted, was removed by retention and cannot be compared");
    return check_front(db, a, w, c);
}

static int check_row(struct walk *w, const struct ma_audit_chain *c, const struct ma_audit_link *l)
{
    const int64_t id = l->row.id;
    int err = MA_OK;
    if (id > c->head_id && id <= c->adopted_to)
        find(w, id, c->adopted_to, "not chained yet: the upgrade was not completed");
    if (id > c->head_id)
        find(w, id, id, "was added behind the newest row of the chain");
    const char *fault = w->report->ok ? ma_audit_link_fault(w->key, w->hash, l, &err) : NULL;
    if (fault && id > w->pos + 1)
        find(w, w->pos + 1, id - 1, "missing");
    else if (fault)
        find(w, id, id, fault);
    if (err != MA_OK || !w->report->ok)
        return err;
    w->report->rows++;
    w->report->erased += !l->salt.p;
    see_noted(w, id, l->hash.p);
    go_on_from(w, id, l->hash.p);
    return MA_OK;
}

/* All rows were seen: the record has to say the same. */
static void check_head(struct walk *w, const struct ma_audit_chain *c)
{
    if (w->pos < c->head_id)
        find(w, w->pos + 1, c->head_id, "missing at the end");
    if (w->record_bad || ma_audit_chain_check(w->key, c) != MA_OK)
        find(w, MA_AUDIT_NO_ROW, MA_AUDIT_NO_ROW,
             "the record of the chain's ends was changed: rows at either end may be missing");
    if (memcmp(w->hash, c->head_hash, sizeof w->hash) != 0)
        find(w, c->head_id, c->head_id, "is not the newest row of the chain");
    if (w->noted && !w->noted_seen)
        find(w, w->noted->id, w->noted->id, "was noted and is missing");
    if (c->broken_at > c->base_id)
        find(w, c->broken_at, c->broken_at,
             "was written when the record of the chain was missing or changed: nothing proves that the rows before it "
             "are all");
}

static int check_batch(struct ma_db *db, struct ma_arena *a, struct walk *w, bool *ret_more)
{
    struct ma_audit_link *page = ma_arena_calloc(a, MA_AUDIT_BATCH, sizeof *page);
    struct ma_audit_chain c;
    size_t n = 0;
    *ret_more = false;
    int r = page ? ma_audit_chain_get(db, &c) : MA_E_NOMEM;
    if (r == MA_E_NOTFOUND) {
        find(w, MA_AUDIT_NO_ROW, MA_AUDIT_NO_ROW, "there is no record of the chain");
        return MA_OK;
    }
    if (r == MA_OK && !w->started)
        r = begin(db, a, w, &c);
    if (r == MA_OK && c.base_id > w->pos) /* retention was faster */
        go_on_from(w, c.base_id, c.base_hash);
    if (r == MA_OK)
        r = ma_audit_links(db, a, w->pos, page, MA_AUDIT_BATCH, &n);
    for (size_t i = 0; r == MA_OK && w->report->ok && i < n; i++)
        r = check_row(w, &c, &page[i]);
    *ret_more = n == MA_AUDIT_BATCH && w->report->ok;
    w->report->removed_to = c.base_id;
    w->report->head.id = c.head_id;
    memcpy(w->report->head.hash, c.head_hash, sizeof c.head_hash);
    if (r == MA_OK && !*ret_more)
        check_head(w, &c);
    return r;
}

int ma_audit_verify(struct ma_db *db, struct ma_vault *v, const struct ma_audit_mark *noted,
                    struct ma_audit_report *ret)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct walk w = {.report = ret, .noted = noted};
    *ret = (struct ma_audit_report){.ok = true};
    int r = a ? ma_audit_key(v, w.key) : MA_E_NOMEM;
    for (bool more = true; r == MA_OK && more;) {
        ma_arena_reset(a);
        r = ma_db_read_begin(db);
        if (r == MA_OK)
            r = check_batch(db, a, &w, &more);
        ma_db_read_end(db);
    }
    ma_wipe(w.key, sizeof w.key);
    return r;
}

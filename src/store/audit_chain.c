/* SPDX-License-Identifier: Apache-2.0
 * The record of the audit chain's two ends, and making the chain: at first sight of a database, over what is there.
 */
#include "audit_int.h"

#include "ma/codec.h"

#define CHAIN_COLUMNS "chain_id, base_id, base_hash, head_id, head_hash, adopted_to, broken_at, mac"
#define LINK_COLUMNS "id, " MA_AUDIT_COLUMNS ", salt, personal, erasure, hash"

MA_QUERY(AUDIT_CHAIN_GET, "SELECT " CHAIN_COLUMNS " FROM audit_chain WHERE one = 1");
MA_QUERY(AUDIT_CHAIN_INSERT,
         "INSERT INTO audit_chain (one, " CHAIN_COLUMNS ") VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)");
/* Compare-and-set on both ends: nothing is sealed that was not looked at. */
MA_QUERY(AUDIT_CHAIN_MOVE, "UPDATE audit_chain SET base_id = $2, base_hash = $3, head_id = $4, head_hash = $5, "
                           "broken_at = $7, mac = $8 WHERE one = 1 AND chain_id = $1 AND adopted_to = $6 "
                           "AND head_id = $9 AND base_id = $10");
MA_QUERY(AUDIT_LINKS, "SELECT " LINK_COLUMNS " FROM audit WHERE id > $1 ORDER BY id LIMIT $2");
MA_QUERY(AUDIT_ADOPT, "UPDATE audit SET salt = $2, hash = $3 WHERE id = $1 AND hash IS NULL");
MA_QUERY(AUDIT_NEWEST, "SELECT coalesce(max(id), 0) FROM audit WHERE id > 0");

/* --- the record --- */

static void copy_blob(struct ma_stmt *st, int i, uint8_t *out, size_t n)
{
    struct ma_span v = ma_col_view(st, i);
    if (v.n == n)
        memcpy(out, v.p, n);
}

int ma_audit_chain_get(struct ma_db *db, struct ma_audit_chain *ret)
{
    *ret = (struct ma_audit_chain){.base_id = 0};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_CHAIN_GET, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r != MA_OK)
        return r;
    copy_blob(st, 0, ret->chain_id, sizeof ret->chain_id);
    ret->base_id = ma_col_int(st, 1);
    copy_blob(st, 2, ret->base_hash, sizeof ret->base_hash);
    ret->head_id = ma_col_int(st, 3);
    copy_blob(st, 4, ret->head_hash, sizeof ret->head_hash);
    ret->adopted_to = ma_col_int(st, 5);
    ret->broken_at = ma_col_int(st, 6);
    copy_blob(st, 7, ret->mac, sizeof ret->mac);
    return MA_OK;
}

static void put_u64(uint8_t *p, int64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
}

static int seal(const uint8_t key[MA_AUDIT_KEY_LEN], const struct ma_audit_chain *c, uint8_t out[MA_SHA256_LEN])
{
    uint8_t numbers[32];
    put_u64(numbers, c->base_id);
    put_u64(numbers + 8, c->head_id);
    put_u64(numbers + 16, c->adopted_to);
    put_u64(numbers + 24, c->broken_at);
    const struct ma_span parts[] = {MA_LIT("myaccountd audit record 1"), ma_span_of(c->chain_id, sizeof c->chain_id),
                                    ma_span_of(numbers, sizeof numbers), ma_span_of(c->base_hash, sizeof c->base_hash),
                                    ma_span_of(c->head_hash, sizeof c->head_hash)};
    return ma_hmac_sha256_parts(ma_span_of(key, MA_AUDIT_KEY_LEN), parts, MA_COUNT(parts), out);
}

int ma_audit_chain_check(const uint8_t key[MA_AUDIT_KEY_LEN], const struct ma_audit_chain *c)
{
    uint8_t want[MA_SHA256_LEN];
    int r = seal(key, c, want);
    if (r != MA_OK)
        return r;
    return ma_ct_eq(ma_span_of(c->mac, sizeof c->mac), ma_span_of(want, sizeof want)) ? MA_OK : MA_E_AUTH;
}

static void bind_chain(struct ma_stmt *st, const struct ma_audit_chain *c)
{
    ma_bind_blob(st, 1, ma_span_of(c->chain_id, sizeof c->chain_id));
    ma_bind_int(st, 2, c->base_id);
    ma_bind_blob(st, 3, ma_span_of(c->base_hash, sizeof c->base_hash));
    ma_bind_int(st, 4, c->head_id);
    ma_bind_blob(st, 5, ma_span_of(c->head_hash, sizeof c->head_hash));
    ma_bind_int(st, 6, c->adopted_to);
    ma_bind_int(st, 7, c->broken_at);
    ma_bind_blob(st, 8, ma_span_of(c->mac, sizeof c->mac));
}

int ma_audit_chain_move(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *c, int64_t old_head,
                        int64_t old_base)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = seal(au->key, c, c->mac);
    if (r == MA_OK)
        r = ma_db_stmt(db, &ma_q_AUDIT_CHAIN_MOVE, &st);
    if (r != MA_OK)
        return r;
    bind_chain(st, c);
    ma_bind_int(st, 9, old_head);
    ma_bind_int(st, 10, old_base);
    r = ma_store_change(db, st, MA_E_CONFLICT);
    if (r == MA_OK)
        au->known = *c;
    return r;
}

int ma_audit_chain_load(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *ret)
{
    int r = ma_audit_chain_get(db, ret);
    if (r != MA_OK || memcmp(ret, &au->known, sizeof *ret) == 0)
        return r;
    r = ma_audit_chain_check(au->key, ret);
    if (r != MA_E_AUTH) /* also the record before a savepoint that was rolled back */
        return r;
    if (ret->head_id < 0 || ret->head_id >= MA_AUDIT_ID_MAX)
        return MA_E_DB;
    if (ret->broken_at <= 0 || ret->broken_at > ret->head_id)
        ret->broken_at = ret->head_id + 1;
    ma_log(au->log, MA_LOG_ERROR, "audit.chain_broken", MA_KV_I("row", ret->head_id + 1));
    return MA_OK;
}

/* --- links --- */

static int read_link(struct ma_stmt *st, struct ma_arena *a, size_t i, void *ret)
{
    struct ma_audit_link *l = (struct ma_audit_link *)ret + i;
    int err = MA_OK;
    int r = ma_audit_row_read(st, a, &l->row);
    l->salt = ma_store_col(st, 11, a, &err);
    l->personal = ma_store_col(st, 12, a, &err);
    l->erasure = ma_store_col(st, 13, a, &err);
    l->hash = ma_store_col(st, 14, a, &err);
    return r == MA_OK ? err : r;
}

int ma_audit_links(struct ma_db *db, struct ma_arena *a, int64_t after, struct ma_audit_link *ret, size_t cap,
                   size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_LINKS, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, after);
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_link, ret);
}

MA_QUERY(AUDIT_LINKS_USER,
         "SELECT " LINK_COLUMNS " FROM audit WHERE user_id = $1 AND salt IS NOT NULL ORDER BY id LIMIT $2");

int ma_audit_links_of(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_audit_link *ret,
                      size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_AUDIT_LINKS_USER, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, ma_store_limit(cap));
    return ma_store_rows(st, a, cap, ret_n, read_link, ret);
}

int ma_audit_newest(struct ma_db *db, int64_t *ret_id)
{
    *ret_id = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &ma_q_AUDIT_NEWEST, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret_id = ma_col_int(st, 0);
    return ma_store_end(r);
}

/* --- making the chain --- */

/* Whether rows of an earlier chain are there: then its record was lost. */
static int has_links(struct ma_db *db, int64_t newest, bool *ret)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct ma_audit_link l;
    size_t n = 0;
    int r = a ? ma_audit_links(db, a, newest - 1, &l, 1, &n) : MA_E_NOMEM;
    *ret = r == MA_OK && n == 1 && l.hash.p != NULL;
    return r;
}

/* noted: key_directory knows of a chain, and the database should. */
static int make(struct ma_db *db, struct ma_audit *au, bool noted, struct ma_audit_chain *c)
{
    bool lost = false;
    *c = (struct ma_audit_chain){.base_id = 0};
    int r = ma_audit_newest(db, &c->adopted_to);
    if (r == MA_OK && c->adopted_to > 0)
        r = has_links(db, c->adopted_to, &lost);
    if (r == MA_OK)
        r = au->rand->fill(au->rand, c->chain_id, sizeof c->chain_id);
    if (r == MA_OK)
        r = ma_audit_genesis(au->key, c->chain_id, c->base_hash);
    if (r != MA_OK)
        return r;
    if (lost) /* they cannot be chained again: the new chain begins behind them */
        c->base_id = c->head_id = c->adopted_to;
    if (lost || noted) {
        c->broken_at = c->adopted_to + 1;
        ma_log(au->log, MA_LOG_ERROR, "audit.chain_missing", MA_KV_I("row", c->broken_at));
    }
    memcpy(c->head_hash, c->base_hash, sizeof c->head_hash);
    r = seal(au->key, c, c->mac);
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    if (r == MA_OK)
        r = ma_db_stmt(db, &ma_q_AUDIT_CHAIN_INSERT, &st);
    if (r != MA_OK)
        return r;
    bind_chain(st, c);
    r = ma_stmt_run(st);
    if (r == MA_OK)
        au->known = *c;
    return r;
}

static int adopt_row(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *c, const struct ma_audit_row *row)
{
    uint8_t salt[MA_AUDIT_SALT_LEN], personal[MA_AUDIT_HASH_LEN], hash[MA_AUDIT_HASH_LEN];
    int r = au->rand->fill(au->rand, salt, sizeof salt);
    if (r == MA_OK)
        r = ma_audit_personal(ma_span_of(salt, sizeof salt), row, personal);
    if (r == MA_OK)
        r = ma_audit_row_hash(au->key, c->head_hash, row, ma_span_of(personal, sizeof personal), hash);
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    if (r == MA_OK)
        r = ma_db_stmt(db, &ma_q_AUDIT_ADOPT, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, row->id);
    ma_bind_blob(st, 2, ma_span_of(salt, sizeof salt));
    ma_bind_blob(st, 3, ma_span_of(hash, sizeof hash));
    r = ma_store_change(db, st, MA_E_CONFLICT);
    c->head_id = row->id;
    memcpy(c->head_hash, hash, sizeof hash);
    return r;
}

static int adopt_page(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *c)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_AUDIT_PAGE_BYTES);
    struct ma_audit_link *page = a ? ma_arena_calloc(a, MA_AUDIT_BATCH, sizeof *page) : NULL;
    const int64_t head = c->head_id;
    size_t n = 0;
    int r = page ? ma_audit_links(db, a, head, page, MA_AUDIT_BATCH, &n) : MA_E_NOMEM;
    for (size_t i = 0; r == MA_OK && i < n; i++)
        r = adopt_row(db, au, c, &page[i].row);
    if (r == MA_OK && n == 0)
        return MA_E_DB; /* the record says there are more */
    return r == MA_OK ? ma_audit_chain_move(db, au, c, head, c->base_id) : r;
}

static int in_transaction(struct ma_db *db, int result)
{
    if (result == MA_OK)
        result = ma_db_commit(db);
    if (result != MA_OK)
        ma_db_rollback(db);
    return result;
}

static int make_or_load(struct ma_db *db, struct ma_audit *au, bool noted, struct ma_audit_chain *c)
{
    int r = ma_audit_chain_get(db, c);
    if (r == MA_OK && ma_audit_chain_check(au->key, c) == MA_OK)
        au->known = *c;
    if (r != MA_E_NOTFOUND)
        return r;
    r = ma_db_begin(db);
    return r == MA_OK ? in_transaction(db, make(db, au, noted, c)) : r;
}

static int bring_up(struct ma_db *db, struct ma_audit *au, bool noted, struct ma_audit_chain *c)
{
    int r = make_or_load(db, au, noted, c);
    /* a record that is not ours is no reason to chain anything: ma_audit_verify tells */
    bool ours = r == MA_OK && memcmp(c, &au->known, sizeof *c) == 0;
    if (r == MA_OK && !ours)
        ma_log(au->log, MA_LOG_ERROR, "audit.chain_broken", MA_KV_I("row", c->head_id + 1));
    while (r == MA_OK && ours && c->head_id < c->adopted_to) {
        r = ma_db_begin(db);
        if (r == MA_OK)
            r = in_transaction(db, adopt_page(db, au, c));
    }
    return r;
}

/* Notes the chain's id beside the keys, so that a database without a record cannot pass for one that never had it. */
static int note(const char *key_directory, const struct ma_audit_chain *c, char why[256])
{
    char hex[2 * MA_AUDIT_CHAIN_ID_LEN + 1];
    ma_hex_encode(ma_span_of(c->chain_id, sizeof c->chain_id), hex);
    int r = ma_vault_note_create(key_directory, MA_AUDIT_NOTE, ma_span_str(hex), why);
    return r == MA_E_EXISTS ? MA_OK : r;
}

static int open_chain(struct ma_db *db, struct ma_audit *au, const char *key_directory, char why[256])
{
    char text[64];
    size_t n = 0;
    struct ma_audit_chain c;
    int r =
        key_directory ? ma_vault_note_read(key_directory, MA_AUDIT_NOTE, text, sizeof text, &n, why) : MA_E_NOTFOUND;
    if (r != MA_OK && r != MA_E_NOTFOUND)
        return r;
    why[0] = '\0';
    bool noted = r == MA_OK;
    r = bring_up(db, au, noted, &c);
    if (r != MA_OK) {
        static const char fault[] = "the chain of the audit trail cannot be set up";
        memcpy(why, fault, sizeof fault);
        return r;
    }
    return key_directory && !noted ? note(key_directory, &c, why) : MA_OK;
}

int ma_audit_open(struct ma_db *writer, struct ma_vault *v, const char *key_directory, const struct ma_rand *rand,
                  struct ma_log *log, struct ma_audit **ret, char why[256])
{
    struct ma_audit *au = ma_secure_alloc(sizeof *au);
    *ret = NULL;
    if (!au)
        return MA_E_NOMEM;
    au->rand = rand;
    au->log = log;
    int r = ma_audit_key(v, au->key);
    if (r == MA_OK)
        r = open_chain(writer, au, key_directory, why);
    if (r != MA_OK) {
        ma_audit_close(au);
        return r;
    }
    ma_db_attach(writer, au);
    *ret = au;
    return MA_OK;
}

void ma_audit_close(struct ma_audit *au)
{
    if (au)
        ma_secure_free(au, sizeof *au);
}

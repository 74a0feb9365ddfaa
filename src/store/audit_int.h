/* SPDX-License-Identifier: Apache-2.0
 * Private to the audit repositories: the chain's record, rows with their links, and how both are hashed.
 */
#ifndef MA_STORE_AUDIT_INT_H
#define MA_STORE_AUDIT_INT_H

#include "ma/audit.h"

#include "ma/crypto.h"
#include "int.h"

#define MA_AUDIT_KEY_LEN 32
#define MA_AUDIT_ID_MAX (INT64_MAX / 2) /* beyond it ids were not given by the program */

/* The one row of audit_chain. No padding: records are compared as bytes. */
struct ma_audit_chain {
    uint8_t chain_id[MA_AUDIT_CHAIN_ID_LEN];
    int64_t base_id, head_id, adopted_to, broken_at;
    uint8_t base_hash[MA_AUDIT_HASH_LEN], head_hash[MA_AUDIT_HASH_LEN];
    uint8_t mac[MA_SHA256_LEN];
};

/* Lives in secure memory as a whole. */
struct ma_audit {
    const struct ma_rand *rand;
    struct ma_log *log;
    int64_t retain_from;         /* retention rests until its limit has come so far */
    struct ma_audit_chain known; /* the last record that was sealed or found to be authentic */
    uint8_t key[MA_AUDIT_KEY_LEN];
};

/* A row and what ties it in. */
struct ma_audit_link {
    struct ma_audit_row row;
    struct ma_span salt, personal, erasure, hash; /* p == NULL: none */
};

/* --- hashes (audit_hash.c) --- */
MA_MUST_USE int ma_audit_key(struct ma_vault *v, uint8_t out[MA_AUDIT_KEY_LEN]);
MA_MUST_USE int ma_audit_genesis(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t chain_id[MA_AUDIT_CHAIN_ID_LEN],
                                 uint8_t out[MA_AUDIT_HASH_LEN]);
MA_MUST_USE int ma_audit_personal(struct ma_span salt, const struct ma_audit_row *row, uint8_t out[MA_AUDIT_HASH_LEN]);
MA_MUST_USE int ma_audit_row_hash(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t before[MA_AUDIT_HASH_LEN],
                                  const struct ma_audit_row *row, struct ma_span personal,
                                  uint8_t out[MA_AUDIT_HASH_LEN]);
MA_MUST_USE int ma_audit_erasure(const uint8_t key[MA_AUDIT_KEY_LEN], struct ma_span hash, struct ma_span user_id,
                                 uint8_t out[MA_AUDIT_HASH_LEN]);
/* Checks that the row follows `before`; NULL, or a static fragment that follows "row N ". *ret_hash is then its hash.
 * *ret_err: why nothing could be computed. */
const char *ma_audit_link_fault(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t before[MA_AUDIT_HASH_LEN],
                                const struct ma_audit_link *l, int *ret_err);

/* --- the record and the links (audit_chain.c) --- */
MA_MUST_USE int ma_audit_chain_get(struct ma_db *db, struct ma_audit_chain *ret);
/* MA_E_AUTH unless its seal is right. */
MA_MUST_USE int ma_audit_chain_check(const uint8_t key[MA_AUDIT_KEY_LEN], const struct ma_audit_chain *c);
/* Seals the record and puts it in the place of the one whose head and base are given. */
MA_MUST_USE int ma_audit_chain_move(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *c, int64_t old_head,
                                    int64_t old_base);
/* The record to go on from: one that does not authenticate is marked as broken where the chain goes on. */
MA_MUST_USE int ma_audit_chain_load(struct ma_db *db, struct ma_audit *au, struct ma_audit_chain *ret);
/* Rows with id > after, ascending. */
MA_MUST_USE int ma_audit_links(struct ma_db *db, struct ma_arena *a, int64_t after, struct ma_audit_link *ret,
                               size_t cap, size_t *ret_n);
MA_MUST_USE int ma_audit_links_of(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                  struct ma_audit_link *ret, size_t cap, size_t *ret_n);
/* Room for a page of links and what they hold. */
#define MA_AUDIT_PAGE_BYTES ((size_t)64 << 20)

/* --- rows (audit.c) --- */
#define MA_AUDIT_COLUMNS "at, type, operation, user_id, client_id, ip, user_agent, request_id, method_id, detail"
MA_MUST_USE int ma_audit_row_read(struct ma_stmt *st, struct ma_arena *a, struct ma_audit_row *ret);
MA_MUST_USE int ma_audit_row_put(struct ma_db *db, const struct ma_audit_link *l);

#endif

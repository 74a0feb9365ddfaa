/* SPDX-License-Identifier: Apache-2.0
 * The audit trail as a chain of keyed hashes (store/audit*.c), and its rows in the hosted vendor's log shape
 * (audit/vendor.c).
 *
 * With F(s) = 00 for NULL, else 01 ‖ length (4 bytes, big-endian) ‖ bytes, and integers of 8 bytes, big-endian:
 *   personal = HMAC-SHA-256(salt, "myaccountd audit personal 1" ‖ F(user_id) ‖ F(ip) ‖ F(user_agent) ‖ F(request_id) ‖
 *              F(method_id) ‖ F(detail))            salt: 16 random bytes of the row
 *   hash     = HMAC-SHA-256(key, "myaccountd audit row 1" ‖ hash of the row before ‖ id ‖ at ‖ F(type) ‖ F(operation) ‖
 *              F(client_id) ‖ personal)             the first row follows the hash of the chain's random id
 *   erasure  = HMAC-SHA-256(key, "myaccountd audit erasure 1" ‖ hash ‖ F(user_id that stands there now))
 * key is derived from the vault's pepper: who can only write to the database can make none of these. The hash covers
 * the personal columns through `personal`: they can be erased together with the salt, `personal` takes their place, and
 * the chain still verifies; `erasure` proves that the program did that. One sealed record (table audit_chain) names
 * both ends of the chain and moves in the transaction that appends, so that a rolled back savepoint takes row and
 * record back together and the loss of the newest rows shows.
 */
#ifndef MA_AUDIT_H
#define MA_AUDIT_H

#include "ma/jsonw.h"
#include "ma/log.h"
#include "ma/rand.h"
#include "ma/store.h"
#include "ma/vault.h"

#define MA_AUDIT_SALT_LEN 16
#define MA_AUDIT_HASH_LEN 32
#define MA_AUDIT_CHAIN_ID_LEN 16
#define MA_AUDIT_NOTE "audit.chain" /* file of key_directory: the id of the chain in hex */

/* --- appending --- */

/* What the writer needs to append; used by the writer's thread only. */
struct ma_audit;
/* Makes the chain at first sight: rows that are older are hashed, in transactions of MA_AUDIT_BATCH rows (a start that
 * was cut short goes on there), and the chain's id is noted in key_directory (NULL: not noted). Then the connection can
 * append (ma_audit_insert). A chain that should be there and is not, or whose record does not authenticate, is logged,
 * marked for ma_audit_verify and continued: signing in matters more. Outside a transaction. Owned (ma_audit_close,
 * after the database was closed). */
MA_MUST_USE int ma_audit_open(struct ma_db *writer, struct ma_vault *v, const char *key_directory,
                              const struct ma_rand *rand, struct ma_log *log, struct ma_audit **ret, char why[256]);
void ma_audit_close(struct ma_audit *au);
#define MA_AUDIT_BATCH 1000 /* rows read, hashed or erased at a time */

/* --- verifying --- */

struct ma_audit_mark { /* a row that somebody noted elsewhere */
    int64_t id;
    uint8_t hash[MA_AUDIT_HASH_LEN];
};
#define MA_AUDIT_NO_ROW INT64_MIN
struct ma_audit_report {
    bool ok;
    int64_t bad_from, bad_to;  /* the first rows that are wrong; MA_AUDIT_NO_ROW where it is none */
    const char *why;           /* what is wrong with them, static; NULL when all is well */
    int64_t rows, erased;      /* rows that were checked, and how many of them name no user any more */
    int64_t removed_to;        /* retention removed rows up to here; 0: none */
    int64_t adopted_to;        /* rows up to here are older than the chain */
    struct ma_audit_mark head; /* the newest row */
    uint8_t chain_id[MA_AUDIT_CHAIN_ID_LEN];
};
/* Checks every row and both ends, MA_AUDIT_BATCH rows to a snapshot, so that neither the writer nor the log waits for
 * it. noted: a head from an earlier report that must still be part of the trail; NULL: none. MA_OK also when something
 * is wrong with the trail; else the database's error. Outside a transaction. */
MA_MUST_USE int ma_audit_verify(struct ma_db *db, struct ma_vault *v, const struct ma_audit_mark *noted,
                                struct ma_audit_report *ret);
/* "row 17 was changed", "rows 3 to 5 are missing", "all is well". */
#define MA_AUDIT_TEXT_MAX 256
void ma_audit_report_text(const struct ma_audit_report *r, char out[MA_AUDIT_TEXT_MAX]);

/* --- erasing and removing --- */

#define MA_AUDIT_PSEUDONYM_LEN 39
/* "erased|" and 32 random hex characters. */
MA_MUST_USE int ma_audit_pseudonym(const struct ma_rand *r, char out[MA_AUDIT_PSEUDONYM_LEN + 1]);
/* Erases what identifies the user in at most MA_AUDIT_BATCH rows: user_id becomes the pseudonym; address, browser,
 * request id, method id and details go. *ret_n counts them: fewer than MA_AUDIT_BATCH, and none is left. */
MA_MUST_USE int ma_audit_pseudonymise(struct ma_db *db, struct ma_span user_id, struct ma_span pseudonym,
                                      size_t *ret_n);
/* Removes the oldest rows whose time is before `before`, at most `limit` (to MA_AUDIT_BATCH). Only rows that verify are
 * removed: MA_E_AUTH, and nothing is, when one does not; for an hour of `before` it then does nothing. Returns how
 * many, or the error. */
int ma_audit_retain(struct ma_db *db, int64_t before, int limit);

/* Removes the oldest MA_AUDIT_BATCH rows, whether they verify or not; *ret_n counts them. When it is fewer, none is
 * left, and the chain begins anew with the next row: the way on after ma_audit_verify found something that cannot be
 * mended. */
MA_MUST_USE int ma_audit_discard(struct ma_db *db, size_t *ret_n);

/* --- the webhook's cursor --- */
struct ma_audit_delivery {
    int64_t done_to;  /* rows up to here were taken */
    int64_t batch_to; /* rows up to here are being sent; done_to: none are */
    int attempts;     /* of that batch */
    int64_t next_at;  /* not before */
    struct ma_span last_error;
};
/* MA_E_NOTFOUND before the first ma_audit_delivery_put. */
MA_MUST_USE int ma_audit_delivery_get(struct ma_db *db, struct ma_arena *a, struct ma_audit_delivery *ret);
MA_MUST_USE int ma_audit_delivery_put(struct ma_db *db, const struct ma_audit_delivery *d);
/* The newest row's id; 0 when there is none. */
MA_MUST_USE int ma_audit_newest(struct ma_db *db, int64_t *ret_id);

/* --- the vendor's log shape (audit/vendor.c) --- */

struct ma_audit_event {
    const char *type;        /* "gd_start_enroll" */
    const char *description; /* of the vendor's log */
    const char *holds;       /* what its rows tell beside time, address and browser, in Markdown */
};
/* NULL for a type that has no row in the table. Static. */
const struct ma_audit_event *ma_audit_event(struct ma_span type);
const struct ma_audit_event *ma_audit_events(size_t *ret_n);

#define MA_AUDIT_LOG_ID_LEN 20
/* The row's id with leading zeros: text that sorts as the rows do. */
void ma_audit_log_id(int64_t id, char out[MA_AUDIT_LOG_ID_LEN + 1]);
/* One object. tenant: host name of the public origin. */
void ma_audit_vendor_json(struct ma_jw *w, const struct ma_audit_row *row, const char *tenant);
/* One object with the names of the columns. */
void ma_audit_native_json(struct ma_jw *w, const struct ma_audit_row *row);

#endif

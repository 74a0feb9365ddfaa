/* SPDX-License-Identifier: Apache-2.0
 * The database: one writing connection, any number of read-only ones. The only user of sqlite3.h
 * is src/db/sqlite.c; a second engine is a second file with these functions.
 * SQL is written with $1…$n (bound by number on every engine) in a portable subset; ids are TEXT,
 * times epoch milliseconds, booleans 0/1. A connection belongs to one thread at a time.
 */
#ifndef MA_DB_H
#define MA_DB_H

#include "ma/arena.h"
#include "ma/log.h"

struct ma_db;
struct ma_stmt;

enum ma_db_role { MA_DB_READER, MA_DB_WRITER };

/* Ids are 0 … MA_SQL_MAX - 1; the last MA_SQL_OWN of them are the driver's own. */
#define MA_SQL_MAX 384
#define MA_SQL_OWN 16
#define MA_SQL_PARAMS_MAX 24 /* $1 … $24 */

/* One query, with static storage; prepared once per connection and cached by id. */
struct ma_sql {
    int id;
    const char *text;
};

/* Opens path. WRITER: creates the file (0600, its directory must be there), takes the exclusive lock file
 * `path.lock` (MA_E_BUSY when another process holds it), WAL, synchronous=FULL, migrations are a
 * separate step (ma_migrate). READER: query_only; the file must exist. On failure `why` says what is wrong:
 * MA_E_NOTFOUND (file or directory missing), MA_E_PERM (not accessible, not writable), MA_E_BUSY, MA_E_DB (not a
 * database), MA_E_FULL, MA_E_IO. Close readers before the writer: the last one to close checkpoints. */
MA_MUST_USE int ma_db_open(const char *path, enum ma_db_role role, struct ma_log *log, struct ma_db **ret,
                           char why[256]);
void ma_db_close(struct ma_db *db);
/* What the store keeps with a connection (the audit chain of the writer); borrowed, NULL until set. */
void ma_db_attach(struct ma_db *db, void *what);
void *ma_db_attached(const struct ma_db *db);

/* BEGIN IMMEDIATE / COMMIT / ROLLBACK on the writer; savepoints nest one level inside (group
 * commit runs each request in one). The engine may abandon the whole transaction on MA_E_FULL, MA_E_IO or
 * MA_E_NOMEM: then every statement, savepoint, release and the commit fail with that error until
 * ma_db_rollback or the failed commit ends it, so nothing of a half-lost batch is ever committed. After a failed
 * commit the transaction is over. Rolling back is always safe. */
MA_MUST_USE int ma_db_begin(struct ma_db *db);
MA_MUST_USE int ma_db_commit(struct ma_db *db);
void ma_db_rollback(struct ma_db *db);
MA_MUST_USE int ma_db_savepoint(struct ma_db *db);
MA_MUST_USE int ma_db_release(struct ma_db *db);
void ma_db_rollback_to(struct ma_db *db);
/* One snapshot for several reads on a reader (deferred transaction). Inside a write transaction both do nothing. */
MA_MUST_USE int ma_db_read_begin(struct ma_db *db);
void ma_db_read_end(struct ma_db *db);
/* False once a failure (a full disk) has ended the transaction by itself. */
bool ma_db_in_transaction(const struct ma_db *db);
/* Rows changed by the last statement. */
int64_t ma_db_changes(struct ma_db *db);
/* Rowid of the last insert. */
int64_t ma_db_last_id(struct ma_db *db);

/* A cached statement, reset and unbound. Use with MA_CLEANUP(ma_stmt_reset_p): an unreset SELECT
 * pins a WAL snapshot. */
MA_MUST_USE int ma_db_stmt(struct ma_db *db, const struct ma_sql *q, struct ma_stmt **ret);
void ma_stmt_reset_p(struct ma_stmt **st);
void ma_bind_int(struct ma_stmt *st, int i, int64_t v);
void ma_bind_text(struct ma_stmt *st, int i, struct ma_span s); /* p == NULL binds NULL; text is borrowed until reset */
void ma_bind_blob(struct ma_stmt *st, int i, struct ma_span s);
void ma_bind_null(struct ma_stmt *st, int i);
/* MA_OK with a row, MA_E_NOTFOUND when done, else MA_E_EXISTS (unique), MA_E_CONFLICT (other
 * constraint), MA_E_BUSY, MA_E_FULL, MA_E_IO, MA_E_NOMEM, MA_E_RANGE (value too big), MA_E_DB. Binding errors
 * surface here. A change on the writer outside ma_db_begin is MA_E_INVAL. */
MA_MUST_USE int ma_stmt_step(struct ma_stmt *st);
/* Steps a statement that returns no rows: MA_OK when it is done. */
MA_MUST_USE int ma_stmt_run(struct ma_stmt *st);
int64_t ma_col_int(struct ma_stmt *st, int i); /* columns count from 0; NULL reads 0 */
bool ma_col_is_null(struct ma_stmt *st, int i);
struct ma_span ma_col_view(struct ma_stmt *st, int i); /* text or blob; borrowed until the next step */
struct ma_span ma_col_dup(struct ma_stmt *st, int i, struct ma_arena *a); /* arena; p == NULL for SQL NULL */

/* Applies the embedded migrations (sql/sqlite/NNNN_name.sql) that are missing, each in its own
 * transaction, recorded with SHA-256. MA_E_CONFLICT when a recorded hash differs or the schema is
 * newer than this program. */
MA_MUST_USE int ma_migrate(struct ma_db *writer, int64_t now_ms, char why[256]);
/* Checkpoints the WAL (writer, when idle). truncate: also shrink the file. */
void ma_db_checkpoint(struct ma_db *writer, bool truncate);
/* Checkpoints the WAL and cuts it to nothing, so that no earlier page is left in a file. MA_E_BUSY while a reader is
 * in the way. Writer, outside a transaction. */
MA_MUST_USE int ma_db_truncate_wal(struct ma_db *writer);
/* Rewrites the whole database (VACUUM). Deleted values are overwritten at once (secure_delete), but a row that moved to
 * another page may have left a copy in the unused part of the one it came from: after this there is none. Holds up all
 * writing for about a second per 100 MB, and needs as much memory as the database is large; MA_E_RANGE when it is
 * larger than max_bytes (0: any size). Writer, outside a transaction; then ma_db_truncate_wal. */
#define MA_DB_SCRUB_MAX (64LL << 20) /* bytes that are rewritten without being asked to */
MA_MUST_USE int ma_db_scrub(struct ma_db *writer, int64_t max_bytes);
/* The engine's own examination of every page and reference. MA_E_DB when something is wrong. */
MA_MUST_USE int ma_db_check(struct ma_db *db, char why[256]);
/* The schema's version; MA_E_CONFLICT as ma_migrate, also for a database without one. */
MA_MUST_USE int ma_db_schema(struct ma_db *db, int64_t *ret_version, char why[256]);

/* --- copies (src/db/backup.c, src/db/restore.c) --- */
struct ma_db_copy {
    int64_t bytes, schema;
};
/* A consistent copy (VACUUM INTO a file aside), mode 0600, examined, made durable and only then given its name. Writers
 * go on meanwhile. MA_E_EXISTS when the name is taken and force is not set; MA_E_INVAL for the database's own files;
 * MA_E_BUSY while another copy is made under this name. Nothing is left after a failure. */
MA_MUST_USE int ma_db_backup(struct ma_db *db, const char *to, bool force, struct ma_db_copy *ret, char why[256]);

struct ma_db_restore {
    int from;              /* descriptor of the copy, open for reading; the caller's */
    const char *from_name; /* for messages */
    int64_t now_ms;
    /* Looks at the copy, brought to this program's schema, before it is used: a writer outside a transaction. */
    int (*check)(void *arg, struct ma_db *copy, char why[256]);
    void *arg;
};
struct ma_db_restored {
    int64_t schema;       /* of the copy as it came */
    char kept[4096 + 64]; /* what the replaced database is called now; "" when there was none */
};
/* Puts a copy in the place of the database at `path`, which nobody may have open (MA_E_BUSY). The replaced one is kept
 * beside it. Until the copy has been examined nothing changes; then it takes the name in one step. */
MA_MUST_USE int ma_db_restore(const char *path, const struct ma_db_restore *r, struct ma_db_restored *ret,
                              char why[256]);
/* Test support: prepares the text, rejects a second statement, and returns the query plan (arena). */
MA_MUST_USE int ma_db_explain(struct ma_db *db, const struct ma_sql *q, struct ma_arena *a, struct ma_span *ret_plan);
#ifdef MA_TEST_HOOKS
/* Test builds only: the database file may not grow past `pages` (what it has now, if that is more). */
MA_MUST_USE int ma_db_test_limit_pages(struct ma_db *db, int64_t pages);
#endif

#endif

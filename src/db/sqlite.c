/* SPDX-License-Identifier: Apache-2.0
 * The SQLite driver: one writing connection under a lock file, read-only ones beside it.
 *
 * SQLite before 3.51.3 can lose committed pages when a checkpoint races a commit of another
 * connection that resets the WAL. So only the writer commits and only the writer checkpoints;
 * the lock file keeps other processes from doing either.
 */
#include "ma/db.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "int.h"
#include "ma/heartbeat.h"

#define BUSY_MS 2000           /* WAL recovery by another connection is the only thing to wait for */
#define CHECKPOINT_BUSY_MS 100 /* an idle truncation gives way to readers */
#define VALUE_MAX (8 * 1024 * 1024)
#define SQL_TEXT_MAX (256 * 1024)
#define PLAN_LINE_MAX 1024

enum tx_state { TX_NONE, TX_READ, TX_WRITE };

struct ma_stmt {
    sqlite3_stmt *s;
    struct ma_db *db;
    const struct ma_sql *q;
    int bind_err; /* first failed binding since the last reset */
    bool readonly;
    uint8_t map[MA_SQL_PARAMS_MAX + 1]; /* $n → SQLite's index, 0: not in the text */
};

struct ma_db {
    sqlite3 *h;
    struct ma_log *log;
    enum ma_db_role role;
    enum tx_state tx;
    bool in_savepoint;
    int lost_err; /* why the engine abandoned the transaction, if it did */
    int lock_fd;
    void *attached;
    struct ma_stmt stmts[MA_SQL_MAX];
};

static const struct ma_sql Q_BEGIN = {MA_DB_Q_BEGIN, "BEGIN IMMEDIATE"};
static const struct ma_sql Q_READ = {MA_DB_Q_READ, "BEGIN DEFERRED"};
static const struct ma_sql Q_COMMIT = {MA_DB_Q_COMMIT, "COMMIT"};
static const struct ma_sql Q_ROLLBACK = {MA_DB_Q_ROLLBACK, "ROLLBACK"};
static const struct ma_sql Q_SAVEPOINT = {MA_DB_Q_SAVEPOINT, "SAVEPOINT request"};
static const struct ma_sql Q_RELEASE = {MA_DB_Q_RELEASE, "RELEASE request"};
static const struct ma_sql Q_ROLLBACK_TO = {MA_DB_Q_ROLLBACK_TO, "ROLLBACK TO request"};

/* --- errors --- */

static int classify(int rc)
{
    switch (rc) { /* extended codes */
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return MA_E_EXISTS;
    case SQLITE_IOERR_NOMEM:
        return MA_E_NOMEM;
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_OK:
        return MA_OK;
    case SQLITE_CONSTRAINT:
        return MA_E_CONFLICT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MA_E_BUSY;
    case SQLITE_FULL:
        return MA_E_FULL;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_IOERR:
        return MA_E_IO;
    case SQLITE_NOMEM:
        return MA_E_NOMEM;
    case SQLITE_TOOBIG:
        return MA_E_RANGE;
    default:
        return MA_E_DB;
    }
}

static int say_sqlite(struct ma_db *db, char why[MA_WHY_MAX], const char *what, int rc)
{
    return ma_db_why(why, classify(rc), "%s: %s", what, db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
}

/* The engine ended the write transaction on its own. */
static bool tx_lost(const struct ma_db *db)
{
    return db->tx == TX_WRITE && sqlite3_get_autocommit(db->h);
}

/* Constraint failures are answers, not faults: they are not logged. SQLite's messages name tables
 * and columns, never values. */
static int fail(struct ma_db *db, int rc, const struct ma_sql *q)
{
    int err = classify(rc);
    if (err != MA_E_EXISTS && err != MA_E_CONFLICT)
        ma_log(db->log, MA_LOG_ERROR, "database_error", MA_KV_I("code", rc), MA_KV_I("query", q ? q->id : -1),
               MA_KV_S("message", sqlite3_errmsg(db->h)));
    if (tx_lost(db) && db->lost_err == MA_OK)
        db->lost_err = err;
    return err;
}

/* --- opening --- */

static int connect_file(struct ma_db *db, const char *path, char why[MA_WHY_MAX])
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    flags |= db->role == MA_DB_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(path, &db->h, flags, NULL);
    if (rc != SQLITE_OK) {
        int r = say_sqlite(db, why, path, rc);
        return r == MA_E_IO ? MA_E_PERM : r;
    }
    /* SQLite quietly opens a write-protected file for reading only. */
    if (db->role == MA_DB_WRITER && sqlite3_db_readonly(db->h, "main") == 1)
        return ma_db_why(why, MA_E_PERM, "database %s is not writable", path);
    return MA_OK;
}

static int secure_connection(struct ma_db *db, char why[MA_WHY_MAX])
{
    static const struct {
        int op, value;
    } settings[] = {
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0}, /* else "typo" is a string, not an unknown column */
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
    };
    for (size_t i = 0; i < MA_COUNT(settings); i++) {
        int rc = sqlite3_db_config(db->h, settings[i].op, settings[i].value, NULL);
        if (rc != SQLITE_OK)
            return say_sqlite(db, why, "database settings", rc);
    }
    int keep_wal = db->role == MA_DB_READER; /* readers never checkpoint, not even the last one to close */
    int rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_wal, NULL);
    if (rc != SQLITE_OK)
        return say_sqlite(db, why, "database settings", rc);
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_SQL_LENGTH, SQL_TEXT_MAX);
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_VARIABLE_NUMBER, MA_SQL_PARAMS_MAX);
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_WORKER_THREADS, 0);
    (void)sqlite3_busy_timeout(db->h, BUSY_MS);
    return MA_OK;
}

int ma_db_script(struct ma_db *db, const char *script, char why[MA_WHY_MAX])
{
    int rc = sqlite3_exec(db->h, script, NULL, NULL, NULL);
    return rc == SQLITE_OK ? MA_OK : say_sqlite(db, why, "database", rc);
}

static int is_wal(void *seen, int n, char **values, char **names)
{
    (void)names;
    *(bool *)seen = n == 1 && values[0] && strcmp(values[0], "wal") == 0;
    return 0;
}

static int configure_writer(struct ma_db *db, const char *path, char why[MA_WHY_MAX])
{
    bool wal = false;
    int rc = sqlite3_exec(db->h, "PRAGMA journal_mode = WAL", is_wal, &wal, NULL);
    if (rc == SQLITE_NOTADB)
        return ma_db_why(why, MA_E_DB, "%s is not a database (or it is damaged)", path);
    if (rc != SQLITE_OK)
        return say_sqlite(db, why, path, rc);
    if (!wal)
        return ma_db_why(why, MA_E_IO, "%s: the file system does not allow a write-ahead log", path);
    /* FULL: with less a power cut could un-consume a one-time code. */
    return ma_db_script(db,
                        "PRAGMA synchronous = FULL;"
                        "PRAGMA wal_autocheckpoint = 4000;"
                        "PRAGMA journal_size_limit = 67108864;"
                        "PRAGMA cache_size = -8192;",
                        why);
}

static int configure(struct ma_db *db, const char *path, char why[MA_WHY_MAX])
{
    int r = secure_connection(db, why);
    if (r == MA_OK) /* temporary data may hold secrets: never in a file */
        r = ma_db_script(
            db,
            "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON;",
            why);
    if (r == MA_OK && db->role == MA_DB_WRITER)
        r = configure_writer(db, path, why);
    if (r == MA_OK && db->role == MA_DB_READER)
        r = ma_db_script(db,
                         "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096; PRAGMA query_only = ON;"
                         "SELECT count(*) FROM sqlite_schema;",
                         why);
    return r;
}

static void close_p(struct ma_db **db)
{
    ma_db_close(*db);
}

int ma_db_open(const char *path, enum ma_db_role role, struct ma_log *log, struct ma_db **ret, char why[MA_WHY_MAX])
{
    *ret = NULL;
    why[0] = '\0';
    struct ma_db *db MA_CLEANUP(close_p) = calloc(1, sizeof(*db));
    if (!db)
        return ma_db_why(why, MA_E_NOMEM, "out of memory");
    db->role = role;
    db->log = log;
    db->lock_fd = -1;
    char real[PATH_MAX];
    int r = ma_db_files(path, role == MA_DB_WRITER, real, &db->lock_fd, why);
    if (r == MA_OK)
        r = connect_file(db, real, why);
    if (r == MA_OK)
        r = configure(db, real, why);
    if (r != MA_OK)
        return r;
    *ret = db;
    db = NULL;
    return MA_OK;
}

void ma_db_close(struct ma_db *db)
{
    if (!db)
        return;
    if (db->h)
        ma_db_rollback(db);
    for (int i = 0; i < MA_SQL_MAX; i++)
        (void)sqlite3_finalize(db->stmts[i].s);
    if (db->h && sqlite3_close(db->h) != SQLITE_OK)
        ma_log(db->log, MA_LOG_ERROR, "database_close_failed", MA_KV_S("message", sqlite3_errmsg(db->h)));
    if (db->lock_fd >= 0)
        (void)close(db->lock_fd); /* last: the closing checkpoint is still under the lock */
    free(db);
}

void ma_db_attach(struct ma_db *db, void *what)
{
    db->attached = what;
}

void *ma_db_attached(const struct ma_db *db)
{
    return db->attached;
}

/* --- statements --- */

/* SQLite numbers $n by first appearance, not by n. */
static int map_params(struct ma_stmt *st)
{
    int n = sqlite3_bind_parameter_count(st->s);
    memset(st->map, 0, sizeof(st->map));
    for (int i = 1; i <= n; i++) {
        const char *name = sqlite3_bind_parameter_name(st->s, i);
        char *end = NULL;
        long k = name && name[0] == '$' ? strtol(name + 1, &end, 10) : 0;
        if (k < 1 || k > MA_SQL_PARAMS_MAX || !end || *end != '\0')
            return MA_E_INVAL;
        st->map[k] = (uint8_t)i;
    }
    return MA_OK;
}

static bool only_space(const char *s)
{
    return s[strspn(s, " \t\r\n;")] == '\0';
}

static void finalize_p(sqlite3_stmt **s)
{
    (void)sqlite3_finalize(*s);
}

static int prepare(struct ma_db *db, const struct ma_sql *q, unsigned flags, sqlite3_stmt **ret)
{
    const char *tail = NULL;
    sqlite3_stmt *s MA_CLEANUP(finalize_p) = NULL;
    int rc = sqlite3_prepare_v3(db->h, q->text, -1, flags, &s, &tail);
    if (rc != SQLITE_OK)
        return fail(db, rc, q);
    if (!s || !tail || !only_space(tail)) { /* SQLite ignores what follows the first statement */
        ma_log(db->log, MA_LOG_ERROR, "database_query_invalid", MA_KV_I("query", q->id));
        return MA_E_INVAL;
    }
    *ret = s;
    s = NULL;
    return MA_OK;
}

static int stmt_prepare(struct ma_db *db, struct ma_stmt *st, const struct ma_sql *q)
{
    struct ma_stmt fresh = {.db = db, .q = q};
    int r = prepare(db, q, SQLITE_PREPARE_PERSISTENT, &fresh.s);
    if (r != MA_OK)
        return r;
    r = map_params(&fresh);
    if (r != MA_OK) {
        (void)sqlite3_finalize(fresh.s);
        return r;
    }
    fresh.readonly = sqlite3_stmt_readonly(fresh.s) != 0;
    *st = fresh;
    return MA_OK;
}

static void stmt_reset(struct ma_stmt *st)
{
    (void)sqlite3_reset(st->s); /* repeats the error of the last step, which was reported there */
    (void)sqlite3_clear_bindings(st->s);
    st->bind_err = MA_OK;
}

int ma_db_stmt(struct ma_db *db, const struct ma_sql *q, struct ma_stmt **ret)
{
    *ret = NULL;
    if (q->id < 0 || q->id >= MA_SQL_MAX)
        return MA_E_INVAL;
    struct ma_stmt *st = &db->stmts[q->id];
    if (!st->s) {
        int r = stmt_prepare(db, st, q);
        if (r != MA_OK)
            return r;
    } else if (st->q != q) {
        return MA_E_INVAL; /* two queries with one id */
    } else {
        stmt_reset(st);
    }
    *ret = st;
    return MA_OK;
}

void ma_stmt_reset_p(struct ma_stmt **st)
{
    if (*st)
        stmt_reset(*st);
    *st = NULL;
}

static int index_of(struct ma_stmt *st, int i)
{
    int at = i >= 1 && i <= MA_SQL_PARAMS_MAX ? st->map[i] : 0;
    if (at == 0 && st->bind_err == MA_OK)
        st->bind_err = MA_E_INVAL;
    return at;
}

static void bound(struct ma_stmt *st, int rc)
{
    if (rc != SQLITE_OK && st->bind_err == MA_OK)
        st->bind_err = fail(st->db, rc, st->q);
}

void ma_bind_int(struct ma_stmt *st, int i, int64_t v)
{
    int at = index_of(st, i);
    if (at)
        bound(st, sqlite3_bind_int64(st->s, at, v));
}

void ma_bind_text(struct ma_stmt *st, int i, struct ma_span s)
{
    int at = index_of(st, i);
    if (at && !s.p)
        bound(st, sqlite3_bind_null(st->s, at));
    else if (at)
        bound(st, sqlite3_bind_text64(st->s, at, (const char *)s.p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void ma_bind_blob(struct ma_stmt *st, int i, struct ma_span s)
{
    int at = index_of(st, i);
    if (at && !s.p)
        bound(st, sqlite3_bind_null(st->s, at));
    else if (at)
        bound(st, sqlite3_bind_blob64(st->s, at, s.p, s.n, SQLITE_STATIC));
}

void ma_bind_null(struct ma_stmt *st, int i)
{
    int at = index_of(st, i);
    if (at)
        bound(st, sqlite3_bind_null(st->s, at));
}

/* A statement outside the transaction it was meant for must not run: it would commit by itself. */
static int may_step(const struct ma_stmt *st)
{
    const struct ma_db *db = st->db;
    if (st->bind_err != MA_OK)
        return st->bind_err;
    if (tx_lost(db))
        return db->lost_err ? db->lost_err : MA_E_DB;
    if (db->role == MA_DB_WRITER && db->tx != TX_WRITE && !st->readonly)
        return MA_E_INVAL;
    return MA_OK;
}

int ma_stmt_step(struct ma_stmt *st)
{
    int r = may_step(st);
    if (r != MA_OK)
        return r;
    int rc = sqlite3_step(st->s);
    ma_heartbeat();
    if (rc == SQLITE_ROW)
        return MA_OK;
    if (rc == SQLITE_DONE)
        return MA_E_NOTFOUND;
    return fail(st->db, rc, st->q);
}

int ma_stmt_run(struct ma_stmt *st)
{
    int r = ma_stmt_step(st);
    (void)sqlite3_reset(st->s);
    if (r == MA_OK)
        return MA_E_DB; /* a row where none was expected */
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

int64_t ma_col_int(struct ma_stmt *st, int i)
{
    return sqlite3_column_int64(st->s, i);
}

bool ma_col_is_null(struct ma_stmt *st, int i)
{
    return sqlite3_column_type(st->s, i) == SQLITE_NULL;
}

/* Text is read as a blob too: the same bytes, one call less. To SQLite an empty value is a null
 * pointer, but it is not NULL. */
struct ma_span ma_col_view(struct ma_stmt *st, int i)
{
    const void *p = sqlite3_column_blob(st->s, i);
    if (p)
        return ma_span_of(p, (size_t)sqlite3_column_bytes(st->s, i));
    return ma_col_is_null(st, i) ? MA_SPAN_NULL : MA_LIT("");
}

struct ma_span ma_col_dup(struct ma_stmt *st, int i, struct ma_arena *a)
{
    struct ma_span v = ma_col_view(st, i);
    return v.p ? ma_arena_dup(a, v) : v;
}

/* --- transactions --- */

static int run_own(struct ma_db *db, const struct ma_sql *q)
{
    struct ma_stmt *st = NULL;
    int r = ma_db_stmt(db, q, &st);
    if (r != MA_OK)
        return r;
    int rc = sqlite3_step(st->s);
    r = rc == SQLITE_DONE ? MA_OK : fail(db, rc, q);
    (void)sqlite3_reset(st->s);
    return r;
}

int ma_db_begin(struct ma_db *db)
{
    if (db->role != MA_DB_WRITER || db->tx != TX_NONE)
        return MA_E_INVAL;
    int r = run_own(db, &Q_BEGIN);
    if (r != MA_OK)
        return r;
    db->tx = TX_WRITE;
    db->in_savepoint = false;
    db->lost_err = MA_OK;
    return MA_OK;
}

void ma_db_rollback(struct ma_db *db)
{
    if (!sqlite3_get_autocommit(db->h))
        (void)run_own(db, &Q_ROLLBACK); /* a failure was logged; SQLite has given up the transaction then */
    db->tx = TX_NONE;
    db->in_savepoint = false;
    db->lost_err = MA_OK;
}

int ma_db_commit(struct ma_db *db)
{
    if (db->tx != TX_WRITE)
        return MA_E_INVAL;
    int r = MA_OK;
    if (tx_lost(db))
        r = db->lost_err ? db->lost_err : MA_E_DB;
    else
        r = run_own(db, &Q_COMMIT);
    if (r != MA_OK)
        ma_db_rollback(db);
    db->tx = TX_NONE;
    db->in_savepoint = false;
    return r;
}

int ma_db_savepoint(struct ma_db *db)
{
    if (db->tx != TX_WRITE || db->in_savepoint)
        return MA_E_INVAL;
    if (tx_lost(db)) /* outside a transaction a savepoint would begin one and its release commit it */
        return db->lost_err ? db->lost_err : MA_E_DB;
    int r = run_own(db, &Q_SAVEPOINT);
    db->in_savepoint = r == MA_OK;
    return r;
}

int ma_db_release(struct ma_db *db)
{
    if (!db->in_savepoint)
        return MA_E_INVAL;
    if (tx_lost(db))
        return db->lost_err ? db->lost_err : MA_E_DB;
    int r = run_own(db, &Q_RELEASE);
    if (r == MA_OK)
        db->in_savepoint = false;
    return r;
}

void ma_db_rollback_to(struct ma_db *db)
{
    if (!db->in_savepoint)
        return;
    db->in_savepoint = false;
    if (tx_lost(db))
        return;
    /* ROLLBACK TO keeps the savepoint open. If it cannot be undone alone, everything is undone: the
     * commit then reports it. */
    int r = run_own(db, &Q_ROLLBACK_TO);
    if (r == MA_OK)
        r = run_own(db, &Q_RELEASE);
    if (r != MA_OK && !sqlite3_get_autocommit(db->h)) {
        (void)run_own(db, &Q_ROLLBACK);
        db->lost_err = r;
    }
}

int ma_db_read_begin(struct ma_db *db)
{
    if (db->tx == TX_WRITE)
        return MA_OK;
    if (db->tx == TX_READ)
        return MA_E_INVAL;
    int r = run_own(db, &Q_READ);
    if (r == MA_OK)
        db->tx = TX_READ;
    return r;
}

void ma_db_read_end(struct ma_db *db)
{
    if (db->tx != TX_READ)
        return;
    if (run_own(db, &Q_COMMIT) != MA_OK)
        ma_db_rollback(db);
    db->tx = TX_NONE;
}

bool ma_db_in_transaction(const struct ma_db *db)
{
    return db->lost_err == MA_OK && sqlite3_get_autocommit(db->h) == 0;
}

int64_t ma_db_changes(struct ma_db *db)
{
    return sqlite3_changes64(db->h);
}

int64_t ma_db_last_id(struct ma_db *db)
{
    return sqlite3_last_insert_rowid(db->h);
}

/* --- maintenance --- */

static int checkpoint(struct ma_db *writer, int mode)
{
    if (writer->role != MA_DB_WRITER || writer->tx != TX_NONE)
        return MA_E_INVAL;
    (void)sqlite3_busy_timeout(writer->h, CHECKPOINT_BUSY_MS);
    int rc = sqlite3_wal_checkpoint_v2(writer->h, "main", mode, NULL, NULL);
    (void)sqlite3_busy_timeout(writer->h, BUSY_MS);
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY) /* a reader was in the way: the next one does it */
        return classify(rc);
    return fail(writer, rc, NULL);
}

void ma_db_checkpoint(struct ma_db *writer, bool truncate)
{
    (void)!checkpoint(writer, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE);
}

int ma_db_truncate_wal(struct ma_db *writer)
{
    return checkpoint(writer, SQLITE_CHECKPOINT_TRUNCATE);
}

static int64_t pragma_int(struct ma_db *db, const char *pragma)
{
    sqlite3_stmt *s MA_CLEANUP(finalize_p) = NULL;
    bool ok = sqlite3_prepare_v2(db->h, pragma, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
    return ok ? sqlite3_column_int64(s, 0) : 0;
}

int ma_db_scrub(struct ma_db *writer, int64_t max_bytes)
{
    if (writer->role != MA_DB_WRITER || writer->tx != TX_NONE)
        return MA_E_INVAL;
    if (max_bytes > 0 && pragma_int(writer, "PRAGMA page_count") * pragma_int(writer, "PRAGMA page_size") > max_bytes)
        return MA_E_RANGE;
    (void)sqlite3_limit(writer->h, SQLITE_LIMIT_ATTACHED, 1); /* it attaches the copy it builds */
    int rc = sqlite3_exec(writer->h, "VACUUM", NULL, NULL, NULL);
    (void)sqlite3_limit(writer->h, SQLITE_LIMIT_ATTACHED, 0);
    return rc == SQLITE_OK ? MA_OK : fail(writer, rc, NULL);
}

static int vacuum_into(struct ma_db *db, const char *to, char why[MA_WHY_MAX])
{
    sqlite3_stmt *s MA_CLEANUP(finalize_p) = NULL;
    int rc = sqlite3_prepare_v2(db->h, "VACUUM INTO ?1", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, to, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    return rc == SQLITE_DONE ? MA_OK : say_sqlite(db, why, "backup", rc);
}

/* VACUUM INTO attaches its target, which every connection is otherwise forbidden. */
int ma_db_copy_into(struct ma_db *db, const char *to, char why[MA_WHY_MAX])
{
    char ignored[MA_WHY_MAX];
    if (db->tx != TX_NONE)
        return ma_db_why(why, MA_E_BUSY, "no backup inside a transaction");
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_ATTACHED, 1);
    int r = db->role == MA_DB_READER ? ma_db_script(db, "PRAGMA query_only = OFF", why) : MA_OK;
    if (r == MA_OK)
        r = vacuum_into(db, to, why);
    if (db->role == MA_DB_READER && ma_db_script(db, "PRAGMA query_only = ON", ignored) != MA_OK)
        ma_log(db->log, MA_LOG_ERROR, "database_error", MA_KV_S("message", ignored));
    (void)sqlite3_limit(db->h, SQLITE_LIMIT_ATTACHED, 0);
    return r;
}

const char *ma_db_path(const struct ma_db *db)
{
    const char *path = sqlite3_db_filename(db->h, "main");
    return path ? path : "";
}

void ma_db_fold_log(const char *path)
{
    sqlite3 *h = NULL;
    if (sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        (void)sqlite3_wal_checkpoint_v2(h, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void)sqlite3_close(h);
}

/* A pragma that says "ok" or nothing when all is well. */
static int examine(struct ma_db *db, const char *pragma, char why[MA_WHY_MAX])
{
    sqlite3_stmt *s MA_CLEANUP(finalize_p) = NULL;
    int rc = sqlite3_prepare_v2(db->h, pragma, -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_DONE)
        return MA_OK;
    if (rc != SQLITE_ROW)
        return say_sqlite(db, why, "examination", rc);
    const char *text = (const char *)sqlite3_column_text(s, 0);
    if (text && strcmp(text, "ok") == 0)
        return MA_OK;
    return ma_db_why(why, MA_E_DB, "the database is damaged: %.150s", text ? text : "");
}

int ma_db_check(struct ma_db *db, char why[MA_WHY_MAX])
{
    int r = examine(db, "PRAGMA integrity_check(1)", why);
    return r == MA_OK ? examine(db, "PRAGMA foreign_key_check", why) : r;
}

static int plan_lines(sqlite3_stmt *s, struct ma_arena *a, const char **text)
{
    int rc = sqlite3_step(s);
    for (; rc == SQLITE_ROW; rc = sqlite3_step(s)) {
        *text = ma_arena_printf(a, "%s%.*s\n", *text, PLAN_LINE_MAX, (const char *)sqlite3_column_text(s, 3));
        if (!*text)
            return MA_E_NOMEM;
    }
    return rc == SQLITE_DONE ? MA_OK : classify(rc);
}

int ma_db_explain(struct ma_db *db, const struct ma_sql *q, struct ma_arena *a, struct ma_span *ret_plan)
{
    struct ma_stmt once = {0};
    int r = stmt_prepare(db, &once, q);
    (void)sqlite3_finalize(once.s);
    if (r != MA_OK)
        return r;
    struct ma_sql explain = {q->id, ma_arena_printf(a, "EXPLAIN QUERY PLAN %s", q->text)};
    if (!explain.text)
        return MA_E_NOMEM;
    sqlite3_stmt *s MA_CLEANUP(finalize_p) = NULL;
    r = prepare(db, &explain, 0, &s);
    const char *text = "";
    if (r == MA_OK)
        r = plan_lines(s, a, &text);
    if (r == MA_OK)
        *ret_plan = ma_span_str(text);
    return r;
}

#ifdef MA_TEST_HOOKS
int ma_db_test_limit_pages(struct ma_db *db, int64_t pages)
{
    char text[64];
    char why[MA_WHY_MAX];
    (void)snprintf(text, sizeof(text), "PRAGMA max_page_count = %lld", (long long)pages);
    return ma_db_script(db, text, why);
}
#endif

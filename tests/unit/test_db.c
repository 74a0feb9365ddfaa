/* SPDX-License-Identifier: Apache-2.0
 * The database driver and the migrations: opening, locking, transactions, errors, schema versions.
 */
#include "ma/db.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma/crypto.h"

#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s", #expr, ma_err_name(t_r), ma_err_name(want));                    \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define NOW 1700000000000

static char dir[64], path[96], why[256];
static struct ma_db *writer;
static struct ma_db_copy made;

static void put_in_dir(char out[96], const char *name)
{
    (void)snprintf(out, 96, "%s/%s", dir, name);
}

static void setup_dir(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/ma_test_db_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    put_in_dir(path, "t.db");
    writer = NULL;
    T_OK(ma_crypto_init());
}

static void setup_db(void)
{
    setup_dir();
    ck_assert_msg(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(writer, NOW, why) == MA_OK, "%s", why);
}

static void teardown(void)
{
    static const char *const names[] = {"t.db",         "t.db-wal",    "t.db-shm", "t.db.lock",   "copy.db",
                                        "link.db.lock", "copy.db-wal", "link.db",  "copy.db-shm", "copy.db.lock"};
    ma_db_close(writer);
    ma_crypto_cleanup();
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        char file[96];
        put_in_dir(file, names[i]);
        (void)unlink(file);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct ma_db *open_reader(void)
{
    struct ma_db *db = NULL;
    ck_assert_msg(ma_db_open(path, MA_DB_READER, NULL, &db, why) == MA_OK, "%s", why);
    return db;
}

/* --- queries of this test: objects (kind, key) is a table without an owner --- */

static const struct ma_sql PUT = {0, "INSERT INTO objects (kind, key, json, updated_at) VALUES ($4, $3, $2, $1)"};
static const struct ma_sql COUNT = {1, "SELECT count(*) FROM objects WHERE kind = $1"};
static const struct ma_sql SAME_ID = {1, "SELECT 1"};
static const struct ma_sql TWO = {2, "SELECT 1; SELECT 2"};
static const struct ma_sql TYPO = {3, "SELECT \"no_such_column\" FROM objects"};
static const struct ma_sql FORGE = {4, "UPDATE schema_migrations SET sha256 = zeroblob(32) WHERE version = 1"};
static const struct ma_sql FUTURE = {
    5, "INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES (9999, 'later', zeroblob(32), 1)"};
static const struct ma_sql MIGRATIONS = {6, "SELECT count(*), max(version), min(applied_at) FROM schema_migrations"};
static const struct ma_sql PARAM_STYLE = {7, "SELECT ?1"};
static const struct ma_sql VALUES = {8, "SELECT $2, $1, $3"};
static const struct ma_sql DROP = {9, "DROP TABLE schema_migrations"};
static const struct ma_sql SYNTAX = {10, "SELEC 1"};
static const struct ma_sql BAD_CHILD = {11, "INSERT INTO counters (user_id, name, micro, updated_at) "
                                            "VALUES ('nobody', 'n', 0, 0)"};
static const struct ma_sql BAD_BOOL = {12, "INSERT INTO outbox (id, channel, user_id, payload, attempts, created_at, "
                                           "next_at, dead) VALUES ('i', 'c', 'u', x'00', 0, 0, 0, 2)"};
static const struct ma_sql RENUMBER = {13, "DELETE FROM schema_migrations WHERE version = 1"};
/* What the later migrations made, taken back. */
static const struct ma_sql BEFORE_2[] = {{54, "DROP TABLE push_transactions"},
                                         {55, "DROP TRIGGER push_pair_device"},
                                         {56, "DROP TABLE push_devices"},
                                         {14, "DROP TABLE credentials"},
                                         {15, "DROP TABLE user_handles"},
                                         {16, "DROP TABLE connects"},
                                         {17, "DROP TABLE accounts"},
                                         {18, "DELETE FROM schema_migrations WHERE version > 1"},
                                         {20, "DROP INDEX users_email"},
                                         {21, "DROP INDEX users_phone"},
                                         {22, "DROP TABLE sessions"},
                                         {23, "DROP TABLE flows"},
                                         {24, "DROP TABLE challenges"},
                                         {25, "DROP TABLE codes"},
                                         {26, "DROP TABLE families"},
                                         {27, "DROP TABLE consents"},
                                         {28, "DROP TABLE revocations"},
                                         {29, "DROP TRIGGER audit_append"},
                                         {30, "DROP TRIGGER audit_keep"},
                                         {31, "DROP TRIGGER audit_fixed"},
                                         {32, "DROP TABLE audit_chain"},
                                         {33, "DROP TABLE audit_delivery"},
                                         {34, "ALTER TABLE audit DROP COLUMN salt"},
                                         {35, "ALTER TABLE audit DROP COLUMN personal"},
                                         {36, "ALTER TABLE audit DROP COLUMN erasure"},
                                         {37, "ALTER TABLE audit DROP COLUMN hash"},
                                         {38, "DROP TABLE known_addresses"},
                                         {39, "DROP TABLE shared_counters"},
                                         {40, "DROP TABLE notices"},
                                         {41, "DROP TABLE password_resets"},
                                         {42, "ALTER TABLE passwords DROP COLUMN must_reset"},
                                         {43, "ALTER TABLE users DROP COLUMN tokens_after"},
                                         {44, "ALTER TABLE methods DROP COLUMN used_ip"},
                                         {45, "ALTER TABLE methods DROP COLUMN used_agent"},
                                         {46, "ALTER TABLE passwords DROP COLUMN used_at"},
                                         {47, "ALTER TABLE passwords DROP COLUMN used_ip"},
                                         {48, "ALTER TABLE passwords DROP COLUMN used_agent"},
                                         {49, "ALTER TABLE users DROP COLUMN given_name"},
                                         {50, "ALTER TABLE users DROP COLUMN family_name"},
                                         {51, "ALTER TABLE users DROP COLUMN nickname"},
                                         {52, "ALTER TABLE users DROP COLUMN picture"},
                                         {53, "ALTER TABLE users DROP COLUMN user_metadata"},
                                         {57, "DROP INDEX users_leaving"},
                                         {58, "DROP INDEX users_restore"},
                                         {59, "ALTER TABLE users DROP COLUMN leaving_since"},
                                         {60, "ALTER TABLE users DROP COLUMN leaves_at"},
                                         {61, "ALTER TABLE users DROP COLUMN restore_mac"},
                                         {62, "ALTER TABLE users DROP COLUMN pseudonym"},
                                         {63, "DROP TABLE exports"},
                                         {64, "DROP TABLE export_parts"}};
static const struct ma_sql MADE_LATER = {
    19,
    "SELECT (SELECT count(*) FROM credentials) + (SELECT count(*) FROM connects) + (SELECT count(*) FROM accounts) + "
    "(SELECT count(*) FROM sessions) + (SELECT count(*) FROM flows) + (SELECT count(*) FROM challenges) + "
    "(SELECT count(*) FROM codes) + (SELECT count(*) FROM families) + (SELECT count(*) FROM consents) + "
    "(SELECT count(*) FROM notices) + (SELECT count(*) FROM password_resets) + "
    "(SELECT count(*) FROM revocations) + (SELECT count(*) FROM known_addresses) + "
    "(SELECT count(*) FROM shared_counters) + (SELECT count(*) FROM exports) + (SELECT count(*) FROM export_parts)"};
static const struct ma_sql TOO_HIGH = {MA_SQL_MAX, "SELECT 1"};

static int put(struct ma_db *db, const char *key, struct ma_span json)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &PUT, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, NOW);
    ma_bind_text(st, 2, json);
    ma_bind_text(st, 3, ma_span_str(key));
    ma_bind_text(st, 4, MA_LIT("test"));
    return ma_stmt_run(st);
}

static int64_t count(struct ma_db *db)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(db, &COUNT, &st));
    ma_bind_text(st, 1, MA_LIT("test"));
    T_OK(ma_stmt_step(st));
    return ma_col_int(st, 0);
}

static int run(struct ma_db *db, const struct ma_sql *q)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, q, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

static int change(struct ma_db *db, const struct ma_sql *q)
{
    T_OK(ma_db_begin(db));
    int r = run(db, q);
    if (r != MA_OK)
        ma_db_rollback(db);
    return r == MA_OK ? ma_db_commit(db) : r;
}

/* --- opening --- */

START_TEST(test_open_creates_private)
{
    struct stat st;
    (void)umask(0);
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    T_OK(ma_migrate(writer, NOW, why));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    char wal[96];
    put_in_dir(wal, "t.db-wal");
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(test_open_directory_missing)
{
    char lost[96];
    put_in_dir(lost, "nowhere/t.db");
    T_IS(MA_E_NOTFOUND, ma_db_open(lost, MA_DB_WRITER, NULL, &writer, why));
    ck_assert_ptr_null(writer);
    ck_assert_ptr_nonnull(strstr(why, "directory"));
    ck_assert_ptr_nonnull(strstr(why, "nowhere"));
}
END_TEST

START_TEST(test_open_reader_file_missing)
{
    T_IS(MA_E_NOTFOUND, ma_db_open(path, MA_DB_READER, NULL, &writer, why));
    ck_assert_ptr_nonnull(strstr(why, path));
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_open_not_writable)
{
    if (geteuid() == 0)
        return; /* nothing is forbidden to root; the next test covers the path */
    ck_assert_int_eq(chmod(dir, 0500), 0);
    T_IS(MA_E_PERM, ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    ck_assert_int_eq(chmod(dir, 0700), 0);
    ck_assert_ptr_nonnull(strstr(why, "cannot write in the database directory"));
}
END_TEST

START_TEST(test_open_lock_not_a_file)
{
    char lock[96];
    put_in_dir(lock, "t.db.lock");
    ck_assert_int_eq(mkdir(lock, 0700), 0);
    T_IS(MA_E_IO, ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    ck_assert_ptr_nonnull(strstr(why, lock));
    ck_assert_int_eq(rmdir(lock), 0);
}
END_TEST

START_TEST(test_open_not_a_database)
{
    static const char text[2048] = "this is a text file and certainly not a database";
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, sizeof(text)), sizeof(text));
    ck_assert_int_eq(close(fd), 0);
    T_IS(MA_E_DB, ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    ck_assert_ptr_nonnull(strstr(why, "not a database"));
    T_IS(MA_E_DB, ma_db_open(path, MA_DB_READER, NULL, &writer, why));
}
END_TEST

START_TEST(test_open_directory_as_file)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    T_IS(MA_E_IO, ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    ck_assert_ptr_nonnull(strstr(why, "not a regular file"));
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(test_second_writer_refused)
{
    struct ma_db *second = NULL;
    T_IS(MA_E_BUSY, ma_db_open(path, MA_DB_WRITER, NULL, &second, why));
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(why, "in use by another process"));
    ma_db_close(writer);
    writer = NULL;
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
}
END_TEST

START_TEST(test_second_writer_refused_through_link)
{
    struct ma_db *second = NULL;
    char link_path[96];
    put_in_dir(link_path, "link.db");
    ck_assert_int_eq(symlink(path, link_path), 0);
    T_IS(MA_E_BUSY, ma_db_open(link_path, MA_DB_WRITER, NULL, &second, why));
}
END_TEST

/* --- migrations --- */

START_TEST(test_migrate_fresh_and_again)
{
    T_OK(ma_migrate(writer, NOW + 5, why));
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &MIGRATIONS, &st));
    T_OK(ma_stmt_step(st));
    ck_assert_int_eq(ma_col_int(st, 0), 11);
    ck_assert_int_eq(ma_col_int(st, 1), 11);
    ck_assert_int_eq(ma_col_int(st, 2), NOW);
}
END_TEST

START_TEST(test_migrate_from_the_first_version)
{
    for (size_t i = 0; i < MA_COUNT(BEFORE_2); i++)
        T_OK(change(writer, &BEFORE_2[i]));
    ma_db_close(writer);
    writer = NULL;
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    T_OK(ma_migrate(writer, NOW + 5, why));
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &MIGRATIONS, &st));
    T_OK(ma_stmt_step(st));
    ck_assert_int_eq(ma_col_int(st, 0), 11);
    ck_assert_int_eq(ma_col_int(st, 2), NOW);
    struct ma_stmt *rows MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &MADE_LATER, &rows));
    T_OK(ma_stmt_step(rows));
    ck_assert_int_eq(ma_col_int(rows, 0), 0);
}
END_TEST

static const struct {
    const char *name;
    const struct ma_sql *sabotage;
    const char *says;
} refused[] = {
    {"hash differs", &FORGE, "differs from"},
    {"newer schema", &FUTURE, "a newer version wrote it"},
    {"a gap", &RENUMBER, "where 1 was expected"},
    {"another program's", &DROP, "another program"},
};

START_TEST(test_migrate_refuses)
{
    T_OK(change(writer, refused[_i].sabotage));
    ck_assert_msg(ma_migrate(writer, NOW, why) == MA_E_CONFLICT, "%s", refused[_i].name);
    ck_assert_msg(strstr(why, refused[_i].says) != NULL, "%s: %s", refused[_i].name, why);
    ma_db_close(writer);
    writer = NULL;
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    T_IS(MA_E_CONFLICT, ma_migrate(writer, NOW, why));
}
END_TEST

START_TEST(test_migrate_survives_reopening)
{
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "a", MA_LIT("{}")));
    T_OK(ma_db_commit(writer));
    ma_db_close(writer);
    writer = NULL;
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &writer, why));
    T_OK(ma_migrate(writer, NOW, why));
    ck_assert_int_eq(count(writer), 1);
}
END_TEST

/* --- statements --- */

START_TEST(test_params_by_number)
{
    static const uint8_t blob[] = {0, 1, 0, 2};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(1024, 4096);
    T_OK(ma_db_stmt(writer, &VALUES, &st));
    ma_bind_int(st, 1, INT64_MIN);
    ma_bind_text(st, 2, MA_LIT("two"));
    ma_bind_blob(st, 3, ma_span_of(blob, sizeof(blob)));
    T_OK(ma_stmt_step(st));
    ck_assert(ma_span_eq_str(ma_col_view(st, 0), "two"));
    ck_assert_int_eq(ma_col_int(st, 1), INT64_MIN);
    ck_assert(ma_span_eq(ma_col_dup(st, 2, a), ma_span_of(blob, sizeof(blob))));
    T_IS(MA_E_NOTFOUND, ma_stmt_step(st));
}
END_TEST

START_TEST(test_empty_is_not_null)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(1024, 4096);
    T_OK(ma_db_stmt(writer, &VALUES, &st));
    ma_bind_text(st, 1, MA_LIT(""));
    ma_bind_blob(st, 2, MA_LIT(""));
    ma_bind_text(st, 3, MA_SPAN_NULL);
    T_OK(ma_stmt_step(st));
    for (int i = 0; i < 2; i++) {
        ck_assert(!ma_col_is_null(st, i));
        ck_assert_ptr_nonnull(ma_col_view(st, i).p);
        ck_assert_uint_eq(ma_col_view(st, i).n, 0);
        ck_assert_ptr_nonnull(ma_col_dup(st, i, a).p);
    }
    ck_assert(ma_col_is_null(st, 2));
    ck_assert_ptr_null(ma_col_view(st, 2).p);
    ck_assert_ptr_null(ma_col_dup(st, 2, a).p);
}
END_TEST

START_TEST(test_bindings_are_cleared)
{
    struct ma_stmt *st = NULL;
    T_OK(ma_db_stmt(writer, &VALUES, &st));
    ma_bind_int(st, 1, 7);
    T_OK(ma_stmt_step(st));
    ma_stmt_reset_p(&st);
    ck_assert_ptr_null(st);
    T_OK(ma_db_stmt(writer, &VALUES, &st));
    T_OK(ma_stmt_step(st));
    ck_assert(ma_col_is_null(st, 1));
    ma_stmt_reset_p(&st);
}
END_TEST

START_TEST(test_binding_errors)
{
    static const int wrong[] = {-1, 0, 2, MA_SQL_PARAMS_MAX + 1};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &COUNT, &st));
    ma_bind_int(st, wrong[_i], 1);
    T_IS(MA_E_INVAL, ma_stmt_step(st));
    T_OK(ma_db_stmt(writer, &COUNT, &st));
    ma_bind_null(st, 1);
    T_OK(ma_stmt_step(st));
}
END_TEST

START_TEST(test_value_too_big)
{
    size_t n = 9 * 1024 * 1024;
    uint8_t *big MA_CLEANUP(ma_free_p) = calloc(1, n);
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &VALUES, &st));
    ma_bind_blob(st, 1, ma_span_of(big, n));
    T_IS(MA_E_RANGE, ma_stmt_step(st));
}
END_TEST

static const struct {
    const char *name;
    const struct ma_sql *q;
    int want;
} bad_queries[] = {
    {"second statement", &TWO, MA_E_INVAL},     {"quoted typo is no string", &TYPO, MA_E_DB},
    {"not $n", &PARAM_STYLE, MA_E_INVAL},       {"syntax error", &SYNTAX, MA_E_DB},
    {"id out of range", &TOO_HIGH, MA_E_INVAL},
};

START_TEST(test_bad_queries)
{
    struct ma_stmt *st = NULL;
    ck_assert_msg(ma_db_stmt(writer, bad_queries[_i].q, &st) == bad_queries[_i].want, "%s", bad_queries[_i].name);
    ck_assert_ptr_null(st);
}
END_TEST

START_TEST(test_one_id_one_query)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(writer, &COUNT, &st));
    struct ma_stmt *other = NULL;
    T_IS(MA_E_INVAL, ma_db_stmt(writer, &SAME_ID, &other));
}
END_TEST

START_TEST(test_error_codes)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "k", MA_LIT("{}")));
    T_IS(MA_E_EXISTS, put(writer, "k", MA_LIT("{}")));
    T_IS(MA_E_CONFLICT, put(writer, "null", MA_SPAN_NULL));
    T_IS(MA_E_CONFLICT, run(writer, &BAD_CHILD));
    T_IS(MA_E_CONFLICT, run(writer, &BAD_BOOL));
    /* STRICT: text does not become an integer, nor a blob text */
    T_OK(ma_db_stmt(writer, &PUT, &st));
    ma_bind_text(st, 1, MA_LIT("yesterday"));
    ma_bind_text(st, 2, MA_LIT("{}"));
    ma_bind_text(st, 3, MA_LIT("strict"));
    ma_bind_text(st, 4, MA_LIT("test"));
    T_IS(MA_E_CONFLICT, ma_stmt_step(st));
    T_OK(ma_db_stmt(writer, &PUT, &st));
    ma_bind_int(st, 1, 1);
    ma_bind_blob(st, 2, MA_LIT("{}"));
    ma_bind_text(st, 3, MA_LIT("strict"));
    ma_bind_text(st, 4, MA_LIT("test"));
    T_IS(MA_E_CONFLICT, ma_stmt_step(st));
    /* a failed statement leaves the transaction usable */
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(writer), 1);
}
END_TEST

START_TEST(test_run_wants_no_rows)
{
    T_IS(MA_E_DB, run(writer, &MIGRATIONS));
}
END_TEST

/* --- transactions --- */

START_TEST(test_savepoint_of_several)
{
    T_OK(ma_db_begin(writer));
    for (int i = 0; i < 3; i++) {
        char key[8];
        (void)snprintf(key, sizeof(key), "k%d", i);
        T_OK(ma_db_savepoint(writer));
        T_IS(MA_E_INVAL, ma_db_savepoint(writer));
        T_OK(put(writer, key, MA_LIT("{}")));
        ck_assert_int_eq(ma_db_changes(writer), 1);
        if (i == 1)
            ma_db_rollback_to(writer);
        else
            T_OK(ma_db_release(writer));
    }
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(writer), 2);
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "k1", MA_LIT("{}")));
    ma_db_rollback(writer);
    ck_assert_int_eq(count(writer), 2);
}
END_TEST

START_TEST(test_misused_transactions)
{
    T_IS(MA_E_INVAL, ma_db_commit(writer));
    T_IS(MA_E_INVAL, ma_db_savepoint(writer));
    T_IS(MA_E_INVAL, ma_db_release(writer));
    ma_db_rollback(writer);
    ma_db_rollback_to(writer);
    ma_db_read_end(writer);
    T_IS(MA_E_INVAL, put(writer, "alone", MA_LIT("{}")));
    T_OK(ma_db_begin(writer));
    T_IS(MA_E_INVAL, ma_db_begin(writer));
    T_OK(ma_db_read_begin(writer));
    ma_db_read_end(writer);
    T_OK(put(writer, "k", MA_LIT("{}")));
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(writer), 1);
}
END_TEST

START_TEST(test_reader_sees_committed)
{
    struct ma_db *r = open_reader();
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "a", MA_LIT("{}")));
    ck_assert_int_eq(count(writer), 1);
    ck_assert_int_eq(count(r), 0);
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(r), 1);
    ma_db_close(r);
}
END_TEST

START_TEST(test_reader_snapshot)
{
    struct ma_db *r = open_reader();
    T_OK(ma_db_read_begin(r));
    ck_assert_int_eq(count(r), 0);
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "a", MA_LIT("{}")));
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(r), 0);
    ma_db_checkpoint(writer, true); /* gives way to the snapshot */
    ck_assert_int_eq(count(r), 0);
    ma_db_read_end(r);
    ck_assert_int_eq(count(r), 1);
    ma_db_close(r);
}
END_TEST

START_TEST(test_reader_cannot_write)
{
    struct ma_db *r = open_reader();
    T_IS(MA_E_IO, put(r, "a", MA_LIT("{}")));
    T_IS(MA_E_INVAL, ma_db_begin(r));
    T_IS(MA_E_IO, run(r, &DROP));
    ck_assert_int_eq(count(r), 0);
    ma_db_close(r);
}
END_TEST

START_TEST(test_checkpoint_shrinks_wal)
{
    struct stat st;
    char wal[96];
    put_in_dir(wal, "t.db-wal");
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "a", MA_LIT("{}")));
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert_int_gt(st.st_size, 0);
    struct ma_db *r = open_reader();
    ma_db_checkpoint(r, true); /* not its business */
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert_int_gt(st.st_size, 0);
    ma_db_checkpoint(writer, true);
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ma_db_close(r);
}
END_TEST

START_TEST(test_last_id)
{
    static const struct ma_sql table = {21, "CREATE TABLE numbered (id INTEGER PRIMARY KEY, text TEXT) STRICT"};
    static const struct ma_sql insert = {20, "INSERT INTO numbered (text) VALUES ('x')"};
    T_OK(ma_db_begin(writer));
    T_OK(run(writer, &table));
    T_OK(run(writer, &insert));
    T_OK(run(writer, &insert));
    ck_assert_int_eq(ma_db_last_id(writer), 2);
    T_OK(ma_db_commit(writer));
}
END_TEST

#ifdef MA_TEST_HOOKS
static int fill(struct ma_db *db)
{
    static const uint8_t page[20000];
    int r = MA_OK;
    for (int i = 0; r == MA_OK && i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "full%d", i);
        struct ma_span text = ma_span_of(page, sizeof(page));
        r = put(db, key, text);
    }
    return r;
}

START_TEST(test_disk_full)
{
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "before", MA_LIT("{}")));
    T_OK(ma_db_commit(writer));
    T_OK(ma_db_test_limit_pages(writer, 1));
    T_OK(ma_db_begin(writer));
    T_OK(ma_db_savepoint(writer));
    T_IS(MA_E_FULL, fill(writer));
    /* SQLite gave up the whole transaction: nothing may run, and commit, on its own now */
    T_IS(MA_E_FULL, put(writer, "after", MA_LIT("{}")));
    T_IS(MA_E_FULL, ma_db_release(writer));
    ma_db_rollback_to(writer);
    ma_db_rollback(writer);
    ma_db_rollback(writer);
    ck_assert_int_eq(count(writer), 1);
    T_OK(ma_db_test_limit_pages(writer, 1000000));
    T_OK(ma_db_begin(writer));
    T_OK(fill(writer));
    T_OK(ma_db_commit(writer));
    ck_assert_int_eq(count(writer), 101);
}
END_TEST

/* One request of a batch meets the full disk: either it alone is undone or the whole batch is. */
START_TEST(test_disk_full_in_batch)
{
    T_OK(ma_db_test_limit_pages(writer, 1));
    T_OK(ma_db_begin(writer));
    T_OK(ma_db_savepoint(writer));
    T_OK(put(writer, "first", MA_LIT("{}")));
    T_OK(ma_db_release(writer));
    T_OK(ma_db_savepoint(writer));
    T_IS(MA_E_FULL, fill(writer));
    ma_db_rollback_to(writer);
    int third = ma_db_savepoint(writer);
    if (third == MA_OK) {
        third = put(writer, "third", MA_LIT("{}"));
        T_OK(ma_db_release(writer));
    }
    int r = ma_db_commit(writer);
    int64_t n = count(writer);
    if (r == MA_OK)
        ck_assert_int_eq(n, third == MA_OK ? 2 : 1);
    else
        ck_assert_int_eq(n, 0);
    T_IS(MA_E_INVAL, ma_db_commit(writer));
}
END_TEST
#endif

/* --- backup and plans --- */

START_TEST(test_backup)
{
    struct stat st;
    char copy[96];
    put_in_dir(copy, "copy.db");
    T_OK(ma_db_begin(writer));
    T_OK(put(writer, "a", MA_LIT("{}")));
    T_IS(MA_E_BUSY, ma_db_backup(writer, copy, false, &made, why));
    T_OK(ma_db_commit(writer));
    struct ma_db *from = _i == 0 ? writer : open_reader();
    ck_assert_msg(ma_db_backup(from, copy, false, &made, why) == MA_OK, "%s", why);
    T_IS(MA_E_EXISTS, ma_db_backup(from, copy, false, &made, why));
    ck_assert_ptr_nonnull(strstr(why, copy));
    if (from != writer) {
        T_IS(MA_E_IO, put(from, "b", MA_LIT("{}")));
        ma_db_close(from);
    }
    ck_assert_int_eq(stat(copy, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    struct ma_db *db = NULL;
    ck_assert_msg(ma_db_open(copy, MA_DB_WRITER, NULL, &db, why) == MA_OK, "%s", why);
    T_OK(ma_migrate(db, NOW, why));
    ck_assert_int_eq(count(db), 1);
    ma_db_close(db);
}
END_TEST

START_TEST(test_backup_nowhere)
{
    char copy[96];
    put_in_dir(copy, "nowhere/copy.db");
    T_IS(MA_E_NOTFOUND, ma_db_backup(writer, copy, false, &made, why));
    ck_assert_ptr_nonnull(strstr(why, "nowhere"));
}
END_TEST

START_TEST(test_explain)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(1024, 65536);
    struct ma_span plan;
    T_OK(ma_db_explain(writer, &COUNT, a, &plan));
    ck_assert_ptr_nonnull(strstr((const char *)plan.p, "SEARCH objects USING"));
    T_IS(MA_E_INVAL, ma_db_explain(writer, &TWO, a, &plan));
    T_IS(MA_E_DB, ma_db_explain(writer, &SYNTAX, a, &plan));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("db");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, setup_dir, teardown);
    tcase_add_test(files, test_open_creates_private);
    tcase_add_test(files, test_open_directory_missing);
    tcase_add_test(files, test_open_reader_file_missing);
    tcase_add_test(files, test_open_not_writable);
    tcase_add_test(files, test_open_lock_not_a_file);
    tcase_add_test(files, test_open_not_a_database);
    tcase_add_test(files, test_open_directory_as_file);
    suite_add_tcase(s, files);
    TCase *db = tcase_create("database");
    tcase_add_checked_fixture(db, setup_db, teardown);
    tcase_add_test(db, test_second_writer_refused);
    tcase_add_test(db, test_second_writer_refused_through_link);
    tcase_add_test(db, test_migrate_fresh_and_again);
    tcase_add_test(db, test_migrate_from_the_first_version);
    tcase_add_loop_test(db, test_migrate_refuses, 0, MA_COUNT(refused));
    tcase_add_test(db, test_migrate_survives_reopening);
    tcase_add_test(db, test_params_by_number);
    tcase_add_test(db, test_empty_is_not_null);
    tcase_add_test(db, test_bindings_are_cleared);
    tcase_add_loop_test(db, test_binding_errors, 0, 4);
    tcase_add_test(db, test_value_too_big);
    tcase_add_loop_test(db, test_bad_queries, 0, MA_COUNT(bad_queries));
    tcase_add_test(db, test_one_id_one_query);
    tcase_add_test(db, test_error_codes);
    tcase_add_test(db, test_run_wants_no_rows);
    tcase_add_test(db, test_savepoint_of_several);
    tcase_add_test(db, test_misused_transactions);
    tcase_add_test(db, test_reader_sees_committed);
    tcase_add_test(db, test_reader_snapshot);
    tcase_add_test(db, test_reader_cannot_write);
    tcase_add_test(db, test_checkpoint_shrinks_wal);
    tcase_add_test(db, test_last_id);
#ifdef MA_TEST_HOOKS
    tcase_add_test(db, test_disk_full);
    tcase_add_test(db, test_disk_full_in_batch);
#endif
    tcase_add_loop_test(db, test_backup, 0, 2);
    tcase_add_test(db, test_backup_nowhere);
    tcase_add_test(db, test_explain);
    suite_add_tcase(s, db);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

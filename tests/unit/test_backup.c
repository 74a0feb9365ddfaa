/* SPDX-License-Identifier: Apache-2.0
 * Copies of the database under their rules, and putting them back.
 */
#include "fixture_db.h"

#include <fcntl.h>
#include <sys/file.h>

enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 16 };
static const struct ma_sql USERS = {Q_FIRST, "SELECT count(*) FROM users"};
static const struct ma_sql RENAME = {Q_FIRST + 1, "UPDATE users SET name = $1"};
static const struct ma_sql NAMED = {Q_FIRST + 2, "SELECT count(*) FROM users WHERE name = $1"};

static struct ma_db_copy made;
static char copy[128];

static const char *in_dir(const char *name)
{
    return ma_arena_printf(arena, "%s/%s", dir, name);
}

static void setup_copy(void)
{
    setup_newest();
    (void)snprintf(copy, sizeof copy, "%s/copy.db", dir);
}

static void name_all(const char *name)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_begin(db));
    T_OK(ma_db_stmt(db, &RENAME, &st));
    ma_bind_text(st, 1, ma_span_str(name));
    T_OK(ma_stmt_run(st));
    T_OK(ma_db_commit(db));
}

static int64_t named(const char *file, const char *name)
{
    struct ma_db *r = NULL;
    T_OK(ma_db_open(file, MA_DB_READER, NULL, &r, why));
    int64_t n = ask(r, &NAMED, name);
    ma_db_close(r);
    return n;
}

static bool there(const char *file)
{
    return access(file, F_OK) == 0;
}

/* --- backup --- */

START_TEST(says_what_it_made)
{
    struct stat st;
    int64_t schema = 0;
    setup_copy();
    T_OK(ma_db_backup(db, copy, false, &made, why));
    T_OK(ma_db_schema(db, &schema, why));
    ck_assert_int_eq(made.schema, schema);
    ck_assert(stat(copy, &st) == 0 && st.st_size == made.bytes && (st.st_mode & 07777) == 0600);
    ck_assert(!there(in_dir("copy.db.partial")));
    struct ma_db *r = NULL;
    T_OK(ma_db_open(copy, MA_DB_READER, NULL, &r, why));
    T_OK(ma_db_check(r, why));
    ck_assert_int_eq(ask(r, &USERS, NULL), 2);
    ma_db_close(r);
}
END_TEST

START_TEST(force_replaces)
{
    setup_copy();
    name_all("first");
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("second");
    T_IS(MA_E_EXISTS, ma_db_backup(db, copy, false, &made, why));
    ck_assert_ptr_nonnull(strstr(why, "--force"));
    ck_assert_int_eq(named(copy, "first"), 2);
    T_OK(ma_db_backup(db, copy, true, &made, why));
    ck_assert_int_eq(named(copy, "second"), 2);
    ck_assert_int_eq(mkdir(in_dir("d"), 0700), 0);
    T_IS(MA_E_EXISTS, ma_db_backup(db, in_dir("d"), true, &made, why));
}
END_TEST

START_TEST(never_over_the_database_itself)
{
    static const char *const own[] = {"t.db", "t.db-wal", "t.db-shm", "t.db.lock", "again.db", "./t.db"};
    setup_copy();
    name_all("kept");
    ck_assert_int_eq(link(path, in_dir("again.db")), 0);
    T_IS(MA_E_INVAL, ma_db_backup(db, in_dir(own[_i]), true, &made, why));
    ck_assert_int_eq(named(path, "kept"), 2);
}
END_TEST

START_TEST(what_a_crash_left_is_begun_anew)
{
    setup_copy();
    write_file(in_dir("copy.db.partial"), "half a database", 15);
    T_OK(ma_db_backup(db, copy, false, &made, why));
    ck_assert(!there(in_dir("copy.db.partial")));
}
END_TEST

START_TEST(one_at_a_time)
{
    setup_copy();
    int fd = open(in_dir("copy.db.partial"), O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    T_IS(MA_E_BUSY, ma_db_backup(db, copy, false, &made, why));
    ck_assert(there(in_dir("copy.db.partial")) && !there(copy));
    (void)close(fd);
    T_OK(ma_db_backup(db, copy, false, &made, why));
}
END_TEST

START_TEST(a_link_in_its_place_is_refused)
{
    setup_copy();
    write_file(in_dir("victim"), "precious", 8);
    ck_assert_int_eq(symlink(in_dir("victim"), in_dir("copy.db.partial")), 0);
    ck_assert_int_ne(ma_db_backup(db, copy, false, &made, why), MA_OK);
    char *text = slurp(in_dir("victim"), NULL);
    ck_assert_str_eq(text, "precious");
    free(text);
}
END_TEST

/* --- restore --- */

static int verdict;
static bool looked;

static int check(void *arg, struct ma_db *candidate, char reason[256])
{
    looked = true;
    ck_assert_ptr_eq(arg, &verdict);
    ck_assert_int_eq(ask(candidate, &USERS, NULL), 2);
    (void)snprintf(reason, 256, "not ours");
    return verdict;
}

static int restore_file(const char *file, struct ma_db_restored *ret)
{
    int fd = open(file, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    const struct ma_db_restore r = {fd, file, NOW, check, &verdict};
    looked = false;
    int rc = ma_db_restore(path, &r, ret, why);
    (void)close(fd);
    ck_assert(!there(in_dir("t.db.restoring")) && !there(in_dir("t.db.restoring.lock")));
    return rc;
}

static void stop(void)
{
    ma_db_close(db);
    db = NULL;
}

START_TEST(put_back)
{
    struct ma_db_restored done;
    struct stat st;
    setup_copy();
    name_all("at the backup");
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("afterwards");
    stop();
    verdict = MA_OK;
    T_OK(restore_file(copy, &done));
    ck_assert(looked);
    ck_assert_int_eq(done.schema, made.schema);
    ck_assert_int_eq(named(path, "at the backup"), 2);
    ck_assert_int_eq(named(done.kept, "afterwards"), 2);
    ck_assert_ptr_nonnull(strstr(done.kept, ".replaced-20231114T222140Z"));
    ck_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
}
END_TEST

START_TEST(in_use)
{
    struct ma_db_restored done;
    setup_copy();
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("untouched");
    verdict = MA_OK;
    T_IS(MA_E_BUSY, restore_file(copy, &done));
    ck_assert_int_eq(named(path, "untouched"), 2);
}
END_TEST

START_TEST(into_nothing)
{
    struct ma_db_restored done;
    setup_copy();
    name_all("saved");
    T_OK(ma_db_backup(db, copy, false, &made, why));
    stop();
    ck_assert_int_eq(unlink(path), 0);
    verdict = MA_OK;
    T_OK(restore_file(copy, &done));
    ck_assert_str_eq(done.kept, "");
    ck_assert_int_eq(named(path, "saved"), 2);
}
END_TEST

START_TEST(refused_by_the_check)
{
    struct ma_db_restored done;
    setup_copy();
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("untouched");
    stop();
    verdict = MA_E_AUTH;
    T_IS(MA_E_AUTH, restore_file(copy, &done));
    ck_assert_str_eq(why, "not ours");
    ck_assert_int_eq(named(path, "untouched"), 2);
}
END_TEST

/* Bytes of the copy changed here and there: the examination finds it, or the value is a text that may change. */
START_TEST(damaged)
{
    struct ma_db_restored done;
    size_t n = 0;
    setup_copy();
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("untouched");
    stop();
    char *text = slurp(copy, &n);
    memset(text + 4096 * (size_t)(2 + _i), 0xff, 64); /* the head of a page */
    write_file(copy, text, n);
    free(text);
    verdict = MA_OK;
    ck_assert_int_ne(restore_file(copy, &done), MA_OK);
    ck_assert(!looked);
    ck_assert_int_eq(named(path, "untouched"), 2);
}
END_TEST

START_TEST(no_database_at_all)
{
    static const char *const texts[] = {"", "this is not a database", "SQLite format 3"};
    struct ma_db_restored done;
    setup_copy();
    stop();
    write_file(copy, texts[_i], strlen(texts[_i]));
    ck_assert_int_ne(restore_file(copy, &done), MA_OK);
    ck_assert(!looked);
    ck_assert(there(path));
}
END_TEST

START_TEST(of_a_newer_program)
{
    struct ma_db_restored done;
    setup_copy();
    T_OK(ma_db_backup(db, copy, false, &made, why));
    stop();
    T_OK(ma_db_open(copy, MA_DB_WRITER, NULL, &db, why));
    T_OK(ma_db_script(db, "INSERT INTO schema_migrations VALUES (9999, 'later', x'00', 1)", why));
    stop();
    T_IS(MA_E_CONFLICT, restore_file(copy, &done));
    ck_assert_ptr_nonnull(strstr(why, "newer"));
}
END_TEST

/* An old copy is brought to this program's schema before it takes the place. */
START_TEST(of_an_older_program)
{
    struct ma_db_restored done;
    int64_t schema = 0;
    setup_version(1);
    (void)snprintf(copy, sizeof copy, "%s/copy.db", dir);
    T_OK(ma_db_backup(db, copy, false, &made, why));
    ck_assert_int_eq(made.schema, 1);
    stop();
    verdict = MA_OK;
    T_OK(restore_file(copy, &done));
    ck_assert_int_eq(done.schema, 1);
    T_OK(ma_db_open(path, MA_DB_READER, NULL, &db, why));
    T_OK(ma_db_schema(db, &schema, why));
    ck_assert_int_ge(schema, RELEASED);
}
END_TEST

/* The log of the replaced database, left by a kill, is neither lost nor applied to the copy. */
START_TEST(with_a_log_left_behind)
{
    struct ma_db_restored done;
    setup_copy();
    name_all("at the backup");
    T_OK(ma_db_backup(db, copy, false, &made, why));
    name_all("only in the log");
    size_t n = 0, m = 0;
    char *wal = slurp(in_dir("t.db-wal"), &n), *main_file = slurp(path, &m);
    ck_assert_uint_gt(n, 0);
    stop();
    write_file(path, main_file, m);
    write_file(in_dir("t.db-wal"), wal, n);
    free(wal);
    free(main_file);
    verdict = MA_OK;
    T_OK(restore_file(copy, &done));
    ck_assert(!there(in_dir("t.db-wal")) && !there(in_dir("t.db-shm")));
    ck_assert_int_eq(named(done.kept, "only in the log"), 2);
    ck_assert_int_eq(named(path, "at the backup"), 2);
}
END_TEST

/* The database is beyond repair: it is kept all the same, with its log. */
START_TEST(over_a_broken_database)
{
    struct ma_db_restored done;
    setup_copy();
    name_all("saved");
    T_OK(ma_db_backup(db, copy, false, &made, why));
    stop();
    write_file(path, "garbage where a database was", 28);
    write_file(in_dir("t.db-wal"), "a log of it", 11);
    verdict = MA_OK;
    T_OK(restore_file(copy, &done));
    char *text = slurp(done.kept, NULL);
    ck_assert_str_eq(text, "garbage where a database was");
    free(text);
    ck_assert(there(ma_arena_printf(arena, "%s-wal", done.kept)));
    ck_assert_int_eq(named(path, "saved"), 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_test(c, says_what_it_made);
    tcase_add_test(c, force_replaces);
    tcase_add_loop_test(c, never_over_the_database_itself, 0, 6);
    tcase_add_test(c, what_a_crash_left_is_begun_anew);
    tcase_add_test(c, one_at_a_time);
    tcase_add_test(c, a_link_in_its_place_is_refused);
    tcase_add_test(c, put_back);
    tcase_add_test(c, in_use);
    tcase_add_test(c, into_nothing);
    tcase_add_test(c, refused_by_the_check);
    tcase_add_loop_test(c, damaged, 0, 6);
    tcase_add_loop_test(c, no_database_at_all, 0, 3);
    tcase_add_test(c, of_a_newer_program);
    tcase_add_test(c, of_an_older_program);
    tcase_add_test(c, with_a_log_left_behind);
    tcase_add_test(c, over_a_broken_database);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

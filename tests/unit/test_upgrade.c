/* SPDX-License-Identifier: Apache-2.0
 * Databases of every released schema: brought forward with all their rows, to what a fresh one looks like.
 */
#include "fixture_db.h"

#include <signal.h>
#include <sys/wait.h>

#include "ma/reseal.h"
#include "ma/state.h"

/* Ids beyond the repositories' own and below the driver's. */
enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 16 };
static const struct ma_sql SCHEMA = {
    Q_FIRST, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"};
static const struct ma_sql NEWER = {Q_FIRST + 1, "INSERT INTO schema_migrations VALUES (9999, 'later', x'00', 1)"};
static const struct ma_sql HAS_TABLE = {Q_FIRST + 2, "SELECT count(*) FROM sqlite_schema WHERE name = $1"};
static const struct ma_sql RECORDED = {Q_FIRST + 3, "SELECT count(*) FROM schema_migrations"};
static const struct ma_sql TABLES = {
    Q_FIRST + 4, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> "
                 "'schema_migrations' ORDER BY name"};

static const char *schema_text(struct ma_db *from)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    const char *text = "";
    T_OK(ma_db_stmt(from, &SCHEMA, &st));
    while (ma_stmt_step(st) == MA_OK) {
        struct ma_span name = ma_col_view(st, 1), sql = ma_col_view(st, 2);
        text = ma_arena_printf(arena, "%s%.*s: %.*s\n", text, (int)name.n, (const char *)name.p, (int)sql.n,
                               sql.p ? (const char *)sql.p : "");
        ck_assert_ptr_nonnull(text);
    }
    return text;
}

enum { TABLES_MAX = 64 };
struct counts {
    char query[TABLES_MAX][96];
    struct ma_sql sql[TABLES_MAX];
    int64_t rows[TABLES_MAX];
    int n;
};

/* How many rows each table has that is there now. Statements are kept by id: one for each table. */
static void count_rows(struct counts *c)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(db, &TABLES, &st));
    for (c->n = 0; ma_stmt_step(st) == MA_OK; c->n++) {
        struct ma_span name = ma_col_view(st, 0);
        (void)snprintf(c->query[c->n], sizeof c->query[0], "SELECT count(*) FROM %.*s", (int)name.n,
                       (const char *)name.p);
        c->sql[c->n] = (struct ma_sql){c->n, c->query[c->n]};
        c->rows[c->n] = ask(db, &c->sql[c->n], NULL);
        ck_assert_int_gt(c->rows[c->n], 0);
    }
}

static void same_rows(const struct counts *c)
{
    for (int i = 0; i < c->n; i++)
        ck_assert_msg(ask(db, &c->sql[i], NULL) == c->rows[i], "%s", c->query[i]);
}

/* Everything that is sealed opens: it is sealed anew with another key, value by value. */
static int read_here(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    return fn(db, fn_arg);
}

static int write_here(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    T_OK(ma_db_begin(db));
    int r = fn(db, fn_arg);
    T_OK(ma_db_commit(db));
    return r;
}

static void everything_opens(int64_t at_least)
{
    const struct ma_reseal_env env = {vault, NULL, read_here, write_here, NULL};
    struct ma_reseal_pass pass;
    struct ma_reseal_status s;
    uint32_t id = 0;
    T_OK(ma_vault_rotate(vault, NOW / 1000, &id, why));
    T_OK(ma_reseal_run(&env, &pass));
    ck_assert_int_eq(pass.failed, 0);
    T_OK(ma_reseal_status(db, vault, &s));
    ck_assert_int_eq(s.orphans, 0);
    ck_assert_int_eq(s.waiting, 0);
    ck_assert_int_ge(s.values, at_least);
}

static const int64_t sealed_values[] = {0, 6, 6, 13, 15};

START_TEST(every_version_comes_forward)
{
    const int version = _i;
    setup_version(version);
    ck_assert_int_eq(ask(db, &RECORDED, NULL), version);
    struct counts *before = ma_arena_calloc(arena, 1, sizeof *before);
    ck_assert_ptr_nonnull(before);
    count_rows(before);
    T_OK(ma_migrate(db, NOW, why));
    same_rows(before);
    ma_db_close(db); /* the counting statements have the ids of the repositories' */
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &db, why));
    T_OK(ma_db_check(db, why));
    T_OK(ma_state_check_vault(db, vault, why));
    everything_opens(sealed_values[version]);
    T_OK(ma_state_check_vault(db, vault, why));
}
END_TEST

START_TEST(rows_survive)
{
    static const struct ma_sql alice = {Q_FIRST + 6,
                                        "SELECT count(*) FROM users WHERE user_id = 'auth0|alice' AND email "
                                        "= 'alice@fixture.example' AND name = 'Alice Fixture' AND "
                                        "created_at = 1700000000000"};
    static const struct ma_sql methods = {Q_FIRST + 7, "SELECT count(*) FROM methods WHERE user_id = 'auth0|alice'"};
    static const struct ma_sql seed = {Q_FIRST + 8, "SELECT secret FROM methods WHERE id = 'totp|dev_1'"};
    static const struct ma_sql trail = {Q_FIRST + 9, "SELECT count(*) FROM audit WHERE user_id = 'auth0|alice'"};
    static const struct ma_seal_id id = {"methods", "secret", MA_LIT("totp|dev_1"), MA_LIT("auth0|alice")};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    struct ma_span plain;
    setup_version(_i);
    T_OK(ma_migrate(db, NOW, why));
    ck_assert_int_eq(ask(db, &alice, NULL), 1);
    ck_assert_int_eq(ask(db, &methods, NULL), _i == 1 ? 5 : 6);
    ck_assert_int_eq(ask(db, &trail, NULL), 1);
    T_OK(ma_db_stmt(db, &seed, &st));
    T_OK(ma_stmt_step(st));
    T_OK(ma_vault_open_blob(vault, arena, &id, ma_col_view(st, 0), &plain));
    ck_assert(ma_span_eq_str(plain, "seed of alice 123456"));
}
END_TEST

START_TEST(upgraded_is_as_fresh)
{
    struct ma_db *fresh = NULL;
    char other[128];
    setup_version(_i);
    T_OK(ma_migrate(db, NOW, why));
    (void)snprintf(other, sizeof other, "%s/fresh.db", dir);
    T_OK(ma_db_open(other, MA_DB_WRITER, NULL, &fresh, why));
    T_OK(ma_migrate(fresh, NOW, why));
    ck_assert_str_eq(schema_text(db), schema_text(fresh));
    int64_t upgraded = 0, made = 0;
    T_OK(ma_db_schema(db, &upgraded, why));
    T_OK(ma_db_schema(fresh, &made, why));
    ck_assert_int_eq(upgraded, made);
    ck_assert_int_ge(made, RELEASED);
    ma_db_close(fresh);
}
END_TEST

START_TEST(newer_is_refused)
{
    int64_t version = 0;
    setup_version(RELEASED);
    T_OK(ma_migrate(db, NOW, why));
    T_OK(ma_db_begin(db));
    struct ma_stmt *st = NULL;
    T_OK(ma_db_stmt(db, &NEWER, &st));
    T_OK(ma_stmt_run(st));
    T_OK(ma_db_commit(db));
    T_IS(MA_E_CONFLICT, ma_migrate(db, NOW, why));
    ck_assert_ptr_nonnull(strstr(why, "newer"));
    T_IS(MA_E_CONFLICT, ma_db_schema(db, &version, why));
    ma_db_close(db);
    T_OK(ma_db_open(path, MA_DB_READER, NULL, &db, why));
    T_IS(MA_E_CONFLICT, ma_db_schema(db, &version, why));
}
END_TEST

/* Dies as kill -9 would have it, with the first migration after the fixture's half done. */
static void die_half_way(void)
{
    struct ma_db *child = NULL;
    char *text = slurp("sql/sqlite/0002_webauthn.sql", NULL);
    char *half = strstr(text, ") STRICT, WITHOUT ROWID;");
    if (ma_db_open(path, MA_DB_WRITER, NULL, &child, why) != MA_OK || !half || ma_db_begin(child) != MA_OK)
        _exit(1);
    half[strlen(") STRICT, WITHOUT ROWID;")] = '\0';
    if (ma_db_script(child, text, why) != MA_OK || ask(child, &HAS_TABLE, "user_handles") != 1)
        _exit(2);
    /* enough to be written to the log before its commit */
    if (ma_db_script(child,
                     "PRAGMA cache_size = 1; CREATE TABLE filler (x BLOB NOT NULL) STRICT;"
                     "INSERT INTO filler VALUES (zeroblob(400000));",
                     why) != MA_OK)
        _exit(3);
    (void)raise(SIGKILL);
}

START_TEST(killed_in_the_middle)
{
    int status = 0;
    setup_version(1);
    ma_db_close(db);
    db = NULL;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        die_half_way();
        _exit(4);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", (unsigned)status);
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &db, why));
    ck_assert_int_eq(ask(db, &HAS_TABLE, "user_handles"), 0);
    ck_assert_int_eq(ask(db, &HAS_TABLE, "filler"), 0);
    T_OK(ma_migrate(db, NOW, why));
    ck_assert_int_eq(ask(db, &HAS_TABLE, "user_handles"), 1);
    everything_opens(sealed_values[1]);
}
END_TEST

/* A fixture was made by the files of its time: they have not changed since. */
START_TEST(fixture_is_of_its_version)
{
    int64_t version = 0;
    setup_version(_i);
    T_OK(ma_db_schema(db, &version, why));
    ck_assert_int_eq(version, _i);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("upgrade");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_loop_test(c, every_version_comes_forward, 1, RELEASED + 1);
    tcase_add_loop_test(c, rows_survive, 1, RELEASED + 1);
    tcase_add_loop_test(c, upgraded_is_as_fresh, 1, RELEASED + 1);
    tcase_add_loop_test(c, fixture_is_of_its_version, 1, RELEASED + 1);
    tcase_add_test(c, newer_is_refused);
    tcase_add_test(c, killed_in_the_middle);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

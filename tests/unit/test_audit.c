/* SPDX-License-Identifier: Apache-2.0
 * The audit chain: that it verifies whatever the program does, and that nothing else goes unnoticed.
 * Tampering is done as an attacker would: with another connection to the file, triggers out of the way.
 */
#include "ma/audit.h"

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/fixture.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/lanes.h"

#define NOW MA_FIX_START
#define DAY 86400000LL
#define ALICE MA_LIT("auth0|alice")
#define BOB MA_LIT("auth0|bob")
#define PSEUDONYM MA_LIT("erased|0123456789abcdef0123456789abcdef")

static struct ma_fix f;
static char why[256];

static void setup(void)
{
    ma_fix_open(&f, "");
    (void)ma_fix_request(&f, MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* --- pieces --- */

static int add_row(struct ma_span user, int64_t at)
{
    struct ma_audit_row row = {.at = at,
                               .type = MA_LIT("gd_auth_succeed"),
                               .operation = MA_LIT("verify"),
                               .user_id = user,
                               .client_id = MA_LIT("spa"),
                               .ip = MA_LIT("192.0.2.7"),
                               .user_agent = MA_LIT("Mozilla/5.0 (Mobile)"),
                               .request_id = MA_LIT("0123456789abcdef0123456789abcdef"),
                               .method_id = MA_LIT("totp|dev_1"),
                               .detail = MA_LIT("{\"authenticator\":{\"type\":\"totp\"}}")};
    return ma_audit_insert(f.app.writer, &row);
}

static void add(struct ma_span user, int64_t at)
{
    T_OK(MA_FIX_WRITE(&f, add_row(user, at)));
}

/* Rows 1 to n, by turns alice's and bob's, one a day. */
static void add_many(int n)
{
    T_OK(ma_db_begin(f.app.writer));
    for (int i = 0; i < n; i++)
        T_OK(add_row(i % 2 ? BOB : ALICE, NOW + (int64_t)i * DAY));
    T_OK(ma_db_commit(f.app.writer));
}

static struct ma_audit_report verify_with(const struct ma_audit_mark *noted)
{
    struct ma_audit_report r;
    T_OK(ma_audit_verify(f.app.writer, f.app.vault, noted, &r));
    return r;
}

static void expect_ok(int64_t rows)
{
    char text[MA_AUDIT_TEXT_MAX];
    struct ma_audit_report r = verify_with(NULL);
    ma_audit_report_text(&r, text);
    ck_assert_msg(r.ok, "%s", text);
    ck_assert_int_eq(r.rows, rows);
    ck_assert_str_eq(text, "all is well");
}

static void expect_bad_with(const struct ma_audit_mark *noted, const char *want, const char *where)
{
    char text[MA_AUDIT_TEXT_MAX];
    struct ma_audit_report r = verify_with(noted);
    ma_audit_report_text(&r, text);
    ck_assert_msg(!r.ok && strstr(text, want) != NULL, "%s: %s, not %s", where, text, want);
}

static void expect_bad(const char *want, const char *where)
{
    expect_bad_with(NULL, want, where);
}

/* Another program's connection to the file. */
static void sql(const char *text)
{
    sqlite3 *h = NULL;
    char *fault = NULL;
    ck_assert_int_eq(sqlite3_open(f.database, &h), SQLITE_OK);
    (void)sqlite3_busy_timeout(h, 5000);
    ck_assert_msg(sqlite3_exec(h, text, NULL, NULL, &fault) == SQLITE_OK, "%s: %s", text, fault);
    ck_assert_int_eq(sqlite3_close(h), SQLITE_OK);
}

static int try_sql(const char *text)
{
    sqlite3 *h = NULL;
    ck_assert_int_eq(sqlite3_open(f.database, &h), SQLITE_OK);
    int rc = sqlite3_exec(h, text, NULL, NULL, NULL);
    (void)sqlite3_close(h);
    return rc;
}

static void tamper(const char *text)
{
    sql("DROP TRIGGER IF EXISTS audit_append; DROP TRIGGER IF EXISTS audit_keep; DROP TRIGGER IF EXISTS audit_fixed;"
        "DROP TRIGGER IF EXISTS audit_chain_forward; DROP TRIGGER IF EXISTS audit_chain_stays;");
    sql(text);
}

static int64_t number(const char *query)
{
    sqlite3 *h = NULL;
    sqlite3_stmt *st = NULL;
    ck_assert_int_eq(sqlite3_open(f.database, &h), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(h, query, -1, &st, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(h);
    return v;
}

/* Closes and opens database and chain, as a restart does. */
static void reopen(void)
{
    ma_db_close(f.app.writer);
    ma_audit_close(f.app.audit);
    f.app.writer = NULL;
    f.app.audit = NULL;
    ck_assert_msg(ma_db_open(f.database, MA_DB_WRITER, NULL, &f.app.writer, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(f.app.writer, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_audit_open(f.app.writer, f.app.vault, f.dir, f.app.rand, NULL, &f.app.audit, why) == MA_OK, "%s",
                  why);
}

/* --- what the program does --- */

START_TEST(test_empty)
{
    expect_ok(0);
    reopen();
    expect_ok(0);
}
END_TEST

START_TEST(test_grows)
{
    add(ALICE, NOW);
    expect_ok(1);
    add(MA_SPAN_NULL, NOW + 1);
    struct ma_audit_row bare = {.at = NOW, .type = MA_LIT("t")};
    T_OK(MA_FIX_WRITE(&f, ma_audit_insert(f.app.writer, &bare)));
    struct ma_audit_row empty = {.at = NOW, .type = MA_LIT(""), .operation = MA_LIT(""), .detail = MA_LIT("")};
    T_OK(MA_FIX_WRITE(&f, ma_audit_insert(f.app.writer, &empty)));
    expect_ok(4);
    reopen();
    add(BOB, NOW);
    expect_ok(5);
}
END_TEST

/* More than a batch of the verifier. */
START_TEST(test_many)
{
    add_many(2 * MA_AUDIT_BATCH + 7);
    expect_ok(2 * MA_AUDIT_BATCH + 7);
}
END_TEST

START_TEST(test_needs_its_chain)
{
    ma_db_attach(f.app.writer, NULL);
    T_OK(ma_db_begin(f.app.writer));
    T_IS(MA_E_INVAL, add_row(ALICE, NOW));
    ma_db_rollback(f.app.writer);
}
END_TEST

START_TEST(test_savepoint_rolled_back)
{
    struct ma_db *db = f.app.writer;
    add(ALICE, NOW);
    T_OK(ma_db_begin(db));
    for (int i = 0; i < 6; i++) {
        T_OK(ma_db_savepoint(db));
        T_OK(add_row(BOB, NOW + i));
        T_OK(add_row(BOB, NOW + i));
        if (i % 2)
            T_OK(ma_db_release(db));
        else
            ma_db_rollback_to(db);
    }
    T_OK(ma_db_commit(db));
    expect_ok(7);
}
END_TEST

START_TEST(test_transaction_rolled_back)
{
    add(ALICE, NOW);
    T_OK(ma_db_begin(f.app.writer));
    T_OK(add_row(BOB, NOW));
    T_OK(add_row(BOB, NOW));
    ma_db_rollback(f.app.writer);
    expect_ok(1);
    add(BOB, NOW);
    expect_ok(2);
}
END_TEST

/* --- what the schema refuses --- */

static const struct {
    const char *name, *sql;
} refused[] = {
    {"change", "UPDATE audit SET type = 'x' WHERE id = 1"},
    {"change of the time", "UPDATE audit SET at = 1 WHERE id = 1"},
    {"change of the user", "UPDATE audit SET user_id = 'auth0|eve' WHERE id = 1"},
    {"change of the hash", "UPDATE audit SET hash = zeroblob(32) WHERE id = 1"},
    {"half an erasure", "UPDATE audit SET salt = NULL, personal = zeroblob(32), erasure = zeroblob(32) WHERE id = 1"},
    {"deletion", "DELETE FROM audit WHERE id = 1"},
    {"deletion of the newest", "DELETE FROM audit WHERE id = 3"},
    {"replacement", "REPLACE INTO audit (id, at, type, salt, hash) VALUES (1, 1, 'x', zeroblob(16), zeroblob(32))"},
    {"insertion without a hash", "INSERT INTO audit (id, at, type) VALUES (4, 1, 'x')"},
    {"insertion before the head",
     "INSERT INTO audit (id, at, type, salt, hash) VALUES (0, 1, 'x', zeroblob(16), zeroblob(32))"},
    {"a chosen id", "INSERT INTO audit (at, type, salt, hash) VALUES (1, 'x', zeroblob(16), zeroblob(32))"},
    {"the head back", "UPDATE audit_chain SET head_id = 1"},
    {"the base past the head", "UPDATE audit_chain SET base_id = 9"},
    {"another chain", "UPDATE audit_chain SET chain_id = zeroblob(16)"},
    {"no chain", "DELETE FROM audit_chain"},
};

START_TEST(test_refused)
{
    add_many(3);
    ck_assert_msg(try_sql(refused[_i].sql) == SQLITE_CONSTRAINT, "%s", refused[_i].name);
    expect_ok(3);
}
END_TEST

/* --- what verifying finds --- */

static const struct {
    const char *sql, *want;
} tampered[] = {
    /* every column */
    {"UPDATE audit SET at = at + 1 WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET type = 's' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET operation = 'delete' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET operation = NULL WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET user_id = 'auth0|eve' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET user_id = NULL WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET client_id = 'other' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET ip = '192.0.2.8' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET user_agent = 'x' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET request_id = 'x' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET method_id = 'x' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET detail = '{}' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET detail = NULL WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET detail = '' WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET salt = zeroblob(16) WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET salt = NULL WHERE id = 5", "row 5 was changed: it is half erased"},
    {"UPDATE audit SET personal = zeroblob(32) WHERE id = 5", "row 5 was changed: it is half erased"},
    {"UPDATE audit SET erasure = zeroblob(32) WHERE id = 5", "row 5 was changed: it is half erased"},
    {"UPDATE audit SET hash = zeroblob(32) WHERE id = 5", "row 5 was changed"},
    {"UPDATE audit SET hash = NULL WHERE id = 5", "row 5 was not written by the program"},
    {"UPDATE audit SET salt = NULL, personal = zeroblob(32), erasure = zeroblob(32), user_id = 'erased|x', ip = NULL, "
     "user_agent = NULL, request_id = NULL, method_id = NULL, detail = NULL WHERE id = 5",
     "row 5 was changed: its erasure is not the program's"},
    {"UPDATE audit SET ip = user_agent, user_agent = ip WHERE id = 5", "row 5 was changed"},
    /* the first, the newest */
    {"UPDATE audit SET type = 's' WHERE id = 1", "row 1 was changed"},
    {"UPDATE audit SET type = 's' WHERE id = 9", "row 9 was changed"},
    {"UPDATE audit SET type = 's' WHERE id IN (3, 7)", "row 3 was changed"},
    /* rows that go and come */
    {"DELETE FROM audit WHERE id = 5", "row 5 is missing"},
    {"DELETE FROM audit WHERE id IN (4, 5, 6)", "rows 4 to 6 are missing"},
    {"DELETE FROM audit WHERE id <= 2", "rows 1 to 2 are missing"},
    {"DELETE FROM audit WHERE id = 9", "row 9 is missing at the end"},
    {"DELETE FROM audit WHERE id >= 7", "rows 7 to 9 are missing at the end"},
    {"DELETE FROM audit", "rows 1 to 9 are missing at the end"},
    {"DELETE FROM audit WHERE id = 5; UPDATE audit SET id = id - 1 WHERE id > 5", "row 5 was changed"},
    {"INSERT INTO audit (id, at, type) VALUES (10, 1, 'x')", "row 10 was added behind the newest row"},
    {"INSERT INTO audit (id, at, type, salt, hash) SELECT 10, at, type, salt, hash FROM audit WHERE id = 9",
     "row 10 was added behind the newest row"},
    {"INSERT INTO audit (id, at, type) VALUES (0, 1, 'x')", "row 0 stands in front of the beginning"},
    {"INSERT INTO audit (id, at, type) VALUES (-5, 1, 'x')", "row -5 stands in front of the beginning"},
    {"UPDATE audit SET id = id + 100 WHERE id > 4; UPDATE audit SET id = id - 99 WHERE id > 4;"
     "INSERT INTO audit (id, at, type, salt, hash) SELECT 5, at, type, salt, hash FROM audit WHERE id = 4",
     "row 5 was changed"},
    {"UPDATE audit SET id = -4 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5; UPDATE audit SET id = 5 WHERE id = "
     "-4",
     "row 4 was changed"},
    /* the record */
    {"DELETE FROM audit WHERE id = 9; UPDATE audit_chain SET head_id = 8, head_hash = (SELECT hash FROM audit WHERE id "
     "= "
     "8)",
     "the record of the chain's ends was changed"},
    {"DELETE FROM audit WHERE id <= 2; UPDATE audit_chain SET base_id = 2, base_hash = zeroblob(32)",
     "row 3 was changed"},
    {"UPDATE audit_chain SET base_hash = (SELECT hash FROM audit WHERE id = 2), base_id = 2; DELETE FROM audit WHERE "
     "id "
     "<= 2",
     "the record of the chain's ends was changed"},
    {"UPDATE audit_chain SET adopted_to = 5", "the record of the chain's ends was changed"},
    {"UPDATE audit_chain SET broken_at = 5", "the record of the chain's ends was changed"},
    {"UPDATE audit_chain SET mac = zeroblob(32)", "the record of the chain's ends was changed"},
    {"UPDATE audit_chain SET chain_id = zeroblob(16)", "the record of the chain's ends was changed"},
    {"DELETE FROM audit_chain", "there is no record of the chain"},
};

START_TEST(test_tampered)
{
    add_many(9);
    expect_ok(9);
    tamper(tampered[_i].sql);
    expect_bad(tampered[_i].want, tampered[_i].sql);
    reopen(); /* a restart mends nothing */
    struct ma_audit_report r = verify_with(NULL);
    ck_assert_msg(!r.ok, "%s: forgotten by a restart", tampered[_i].sql);
    add(ALICE, NOW); /* nor does going on */
    r = verify_with(NULL);
    ck_assert_msg(!r.ok, "%s: forgotten when the next row was written", tampered[_i].sql);
}
END_TEST

/* The newest rows and what the record said of them, as they were before: an older state of the database as a whole.
 * Only who noted a head elsewhere can tell. */
START_TEST(test_noted_head)
{
    add_many(5);
    struct ma_audit_mark noted = verify_with(NULL).head;
    ck_assert_int_eq(noted.id, 5);
    ck_assert(verify_with(&noted).ok);
    add_many(3);
    ck_assert(verify_with(&noted).ok);
    struct ma_audit_mark later = verify_with(NULL).head;
    noted.hash[3] ^= 1;
    expect_bad_with(&noted, "row 5 is not the one that was noted", "noted");
    tamper("CREATE TABLE copy AS SELECT * FROM audit_chain");
    add_many(2);
    struct ma_audit_mark newest = verify_with(NULL).head;
    ck_assert_int_eq(newest.id, 10);
    tamper("DELETE FROM audit WHERE id > 8; DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM copy");
    expect_ok(8);
    ck_assert(verify_with(&later).ok);
    expect_bad_with(&newest, "row 10 was noted and is missing", "truncated");
}
END_TEST

/* A chain that is there according to key_directory is not quietly made anew over what somebody left. */
START_TEST(test_chain_taken_away)
{
    add_many(4);
    tamper("DELETE FROM audit_chain; UPDATE audit SET hash = NULL, salt = NULL, type = 's' WHERE id = 2;"
           "UPDATE audit SET hash = NULL, salt = NULL");
    reopen();
    expect_bad("row 5 was written when the record of the chain was missing", "made anew");
    char file[512];
    (void)snprintf(file, sizeof file, "%s/" MA_AUDIT_NOTE, f.dir);
    ck_assert_int_eq(access(file, R_OK), 0);
}
END_TEST

/* Another key: what a database's owner without key_directory could make is not the program's. */
START_TEST(test_other_key)
{
    add_many(4);
    char dir[] = "/tmp/ma_test_fix_XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct ma_vault *other = NULL;
    struct ma_audit_report r;
    ck_assert_msg(ma_vault_open(dir, ma_rand_system(), &other, why) == MA_OK, "%s", why);
    T_OK(ma_audit_verify(f.app.writer, other, NULL, &r));
    ck_assert(!r.ok);
    ck_assert_int_eq(r.bad_from, 1);
    ma_vault_close(other);
    ma_fix_remove(dir);
}
END_TEST

/* --- retention --- */

static int retain(int64_t before, int limit)
{
    T_OK(ma_db_begin(f.app.writer));
    int n = ma_audit_retain(f.app.writer, before, limit);
    if (n >= 0)
        T_OK(ma_db_commit(f.app.writer));
    else
        ma_db_rollback(f.app.writer);
    return n;
}

START_TEST(test_retention)
{
    add_many(10);
    ck_assert_int_eq(retain(NOW, 100), 0);
    ck_assert_int_eq(retain(NOW + 4 * DAY, 3), 3); /* rows 1 to 4 are old enough */
    expect_ok(7);
    ck_assert_int_eq(retain(NOW + 4 * DAY, 3), 1);
    ck_assert_int_eq(retain(NOW + 4 * DAY, 3), 0);
    expect_ok(6);
    ck_assert_int_eq(number("SELECT min(id) FROM audit"), 5);
    ck_assert_int_eq(verify_with(NULL).removed_to, 4);
    reopen();
    add(ALICE, NOW + 11 * DAY);
    expect_ok(7);
    tamper("UPDATE audit SET type = 's' WHERE id = 5");
    expect_bad("row 5 was changed", "the first behind the checkpoint");
}
END_TEST

START_TEST(test_retention_of_all)
{
    add_many(3);
    ck_assert_int_eq(retain(NOW + 100 * DAY, 100), 3);
    expect_ok(0);
    add(ALICE, NOW);
    expect_ok(1);
    ck_assert_int_eq(verify_with(NULL).head.id, 4);
}
END_TEST

/* Ids and times rise together, except where the clock went back: nothing goes before its elders. */
START_TEST(test_retention_clock)
{
    add(ALICE, NOW + 5 * DAY);
    add(ALICE, NOW);
    add(ALICE, NOW + 6 * DAY);
    ck_assert_int_eq(retain(NOW + DAY, 100), 0);
    ck_assert_int_eq(retain(NOW + 6 * DAY, 100), 2);
    expect_ok(1);
}
END_TEST

static const char *const keeps[] = {"UPDATE audit SET type = 's' WHERE id = 2", "DELETE FROM audit WHERE id = 1",
                                    "DELETE FROM audit WHERE id = 2", "UPDATE audit_chain SET mac = zeroblob(32)",
                                    "UPDATE audit SET hash = NULL WHERE id = 2"};

/* What was tampered with is evidence: retention does not wash it away. */
START_TEST(test_retention_keeps_evidence)
{
    add_many(6);
    tamper(keeps[_i]);
    int64_t rows = number("SELECT count(*) FROM audit");
    T_IS(MA_E_AUTH, retain(NOW + 100 * DAY, 100));
    ck_assert_int_eq(number("SELECT count(*) FROM audit"), rows);
    ck_assert_int_eq(retain(NOW + 100 * DAY, 100), 0); /* and does not look again at once */
    T_IS(MA_E_AUTH, retain(NOW + 101 * DAY, 100));
    ck_assert(!verify_with(NULL).ok);
}
END_TEST

/* A noted head that retention has come to can still be compared, an older one cannot. */
START_TEST(test_retention_noted)
{
    add_many(4);
    struct ma_audit_mark four = verify_with(NULL).head;
    add_many(4);
    ck_assert_int_eq(retain(NOW + 100 * DAY, 4), 4);
    ck_assert(verify_with(&four).ok);
    ck_assert_int_eq(retain(NOW + 100 * DAY, 1), 1);
    expect_bad_with(&four, "removed by retention", "noted");
}
END_TEST

/* --- beginning anew --- */

static const char *const beyond_mending[] = {
    "UPDATE audit SET type = 's' WHERE id = 2",
    "DELETE FROM audit WHERE id = 1",
    "DELETE FROM audit WHERE id >= 1200",
    "DELETE FROM audit",
    "UPDATE audit_chain SET mac = zeroblob(32)",
    "UPDATE audit_chain SET broken_at = 3",
    "UPDATE audit_chain SET broken_at = 9223372036854775807",
    "UPDATE audit SET hash = NULL WHERE id = 1000",
    "INSERT INTO audit (id, at, type) VALUES (5000, 1, 'x')",
    "INSERT INTO audit (id, at, type) VALUES (-5, 1, 'x')",
};

START_TEST(test_discard)
{
    size_t n = 0;
    add_many(MA_AUDIT_BATCH + 500);
    tamper(beyond_mending[_i]);
    ck_assert(!verify_with(NULL).ok);
    do
        T_OK(MA_FIX_WRITE(&f, ma_audit_discard(f.app.writer, &n)));
    while (n == MA_AUDIT_BATCH);
    ck_assert_int_eq(number("SELECT count(*) FROM audit"), 0);
    expect_ok(0);
    add(ALICE, NOW);
    expect_ok(1);
    reopen();
    add(BOB, NOW + DAY);
    expect_ok(2);
    ck_assert_int_eq(retain(NOW + 1, 100), 1);
    expect_ok(1);
}
END_TEST

/* --- erasure --- */

static size_t erase(struct ma_span user)
{
    size_t n = 0;
    T_OK(MA_FIX_WRITE(&f, ma_audit_pseudonymise(f.app.writer, user, PSEUDONYM, &n)));
    return n;
}

START_TEST(test_erasure)
{
    add_many(9);
    add(MA_SPAN_NULL, NOW);
    ck_assert_uint_eq(erase(ALICE), 5);
    ck_assert_uint_eq(erase(ALICE), 0);
    expect_ok(10);
    ck_assert_int_eq(verify_with(NULL).erased, 5);
    ck_assert_int_eq(number("SELECT count(*) FROM audit WHERE user_id = 'auth0|alice'"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM audit WHERE user_id LIKE 'erased|%' AND ip IS NULL AND user_agent IS "
                            "NULL AND request_id IS NULL AND method_id IS NULL AND detail IS NULL AND salt IS NULL AND "
                            "type = 'gd_auth_succeed' AND client_id = 'spa'"),
                     5);
    ck_assert_int_eq(number("SELECT count(*) FROM audit WHERE user_id = 'auth0|bob' AND ip IS NOT NULL"), 4);
    add(ALICE, NOW); /* another of that name */
    expect_ok(11);
    ck_assert_uint_eq(erase(ALICE), 1);
    expect_ok(11);
    ck_assert_int_eq(retain(NOW + 100 * DAY, 100), 11);
    expect_ok(0);
}
END_TEST

/* The salt is gone with the values: nobody can try out addresses against what is left. */
START_TEST(test_erasure_leaves_no_value)
{
    char text[65536];
    add_many(2);
    (void)erase(ALICE);
    (void)erase(BOB);
    ma_db_checkpoint(f.app.writer, true);
    FILE *file = fopen(f.database, "rb");
    ck_assert_ptr_nonnull(file);
    size_t n;
    while ((n = fread(text, 1, sizeof text, file)) > 0) {
        ck_assert_ptr_null(memmem(text, n, "192.0.2.7", 9));
        ck_assert_ptr_null(memmem(text, n, "totp|dev_1", 10));
    }
    (void)fclose(file);
}
END_TEST

START_TEST(test_erasure_in_batches)
{
    add_many(2 * MA_AUDIT_BATCH + 6);
    ck_assert_uint_eq(erase(BOB), MA_AUDIT_BATCH);
    ck_assert_uint_eq(erase(BOB), 3);
    expect_ok(2 * MA_AUDIT_BATCH + 6);
}
END_TEST

static const struct {
    const char *sql, *want;
} after_erasure[] = {
    {"UPDATE audit SET user_id = 'erased|other' WHERE id = 1", "row 1 was changed: its erasure"},
    {"UPDATE audit SET user_id = NULL WHERE id = 1", "row 1 was changed: its erasure"},
    {"UPDATE audit SET ip = '192.0.2.9' WHERE id = 1", "row 1 was changed: it is half erased"},
    {"UPDATE audit SET detail = '{}' WHERE id = 1", "row 1 was changed: it is half erased"},
    {"UPDATE audit SET salt = zeroblob(16) WHERE id = 1", "row 1 was changed: it is half erased"},
    {"UPDATE audit SET salt = zeroblob(16), personal = NULL, erasure = NULL WHERE id = 1", "row 1 was changed"},
    {"UPDATE audit SET personal = zeroblob(32) WHERE id = 1", "row 1 was changed"},
    {"UPDATE audit SET erasure = zeroblob(32) WHERE id = 1", "row 1 was changed: its erasure"},
    {"UPDATE audit SET type = 's' WHERE id = 1", "row 1 was changed"},
    {"UPDATE audit SET at = 1 WHERE id = 1", "row 1 was changed"},
    /* another row's erasure */
    {"UPDATE audit SET personal = (SELECT personal FROM audit WHERE id = 3), erasure = (SELECT erasure FROM audit "
     "WHERE "
     "id = 3) WHERE id = 1",
     "row 1 was changed"},
};

START_TEST(test_tampered_after_erasure)
{
    add_many(4);
    (void)erase(ALICE);
    expect_ok(4);
    tamper(after_erasure[_i].sql);
    expect_bad(after_erasure[_i].want, after_erasure[_i].sql);
}
END_TEST

START_TEST(test_erasure_keeps_evidence)
{
    add_many(4);
    tamper("UPDATE audit SET detail = '{\"x\":1}' WHERE id = 1");
    (void)erase(ALICE);
    expect_bad("row 1 was changed", "erased after it was changed");
}
END_TEST

START_TEST(test_pseudonym)
{
    char one[MA_AUDIT_PSEUDONYM_LEN + 1], two[MA_AUDIT_PSEUDONYM_LEN + 1];
    size_t n = 0;
    T_OK(ma_audit_pseudonym(f.app.rand, one));
    T_OK(ma_audit_pseudonym(f.app.rand, two));
    ck_assert_uint_eq(strlen(one), MA_AUDIT_PSEUDONYM_LEN);
    ck_assert_int_eq(strncmp(one, "erased|", 7), 0);
    ck_assert_str_ne(one, two);
    T_OK(ma_db_begin(f.app.writer));
    T_IS(MA_E_INVAL, ma_audit_pseudonymise(f.app.writer, MA_LIT(""), PSEUDONYM, &n));
    T_IS(MA_E_INVAL, ma_audit_pseudonymise(f.app.writer, ALICE, MA_LIT(""), &n));
    T_IS(MA_E_INVAL, ma_audit_pseudonymise(f.app.writer, ALICE, ALICE, &n));
    ma_db_rollback(f.app.writer);
}
END_TEST

/* --- upgrade of a database that is older than the chain --- */

static void run_file(sqlite3 *h, int64_t version, const char *name)
{
    char file[128], text[65536], insert[512], hex[2 * MA_SHA256_LEN + 1];
    uint8_t sha[MA_SHA256_LEN];
    (void)snprintf(file, sizeof file, "sql/sqlite/%04d_%s.sql", (int)version, name);
    FILE *in = fopen(file, "rb");
    ck_assert_msg(in != NULL, "%s: run this at the top of the source tree", file);
    size_t n = fread(text, 1, sizeof text - 1, in);
    (void)fclose(in);
    text[n] = '\0';
    T_OK(ma_sha256(ma_span_of(text, n), sha));
    ma_hex_encode(ma_span_of(sha, sizeof sha), hex);
    (void)snprintf(insert, sizeof insert, "INSERT INTO schema_migrations VALUES (%d, '%s', x'%s', 1)", (int)version,
                   name, hex);
    ck_assert_int_eq(sqlite3_exec(h, text, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(h, insert, NULL, NULL, NULL), SQLITE_OK);
}

static void make_old_database(const char *rows)
{
    static const char *const names[] = {"init", "webauthn", "connected_accounts", "token_service"};
    sqlite3 *h = NULL;
    ma_db_close(f.app.writer);
    ma_audit_close(f.app.audit);
    f.app.writer = NULL;
    f.app.audit = NULL;
    ma_fix_remove(f.dir);
    ck_assert_int_eq(mkdir(f.dir, 0700), 0);
    ma_vault_close(f.app.vault);
    ck_assert_msg(ma_vault_open(f.dir, f.app.rand, &f.app.vault, why) == MA_OK, "%s", why);
    ck_assert_int_eq(sqlite3_open(f.database, &h), SQLITE_OK);
    ck_assert_int_eq(chmod(f.database, 0600), 0);
    ck_assert_int_eq(sqlite3_exec(h,
                                  "CREATE TABLE schema_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT "
                                  "NULL, sha256 BLOB NOT NULL, applied_at INTEGER NOT NULL) STRICT",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < MA_COUNT(names); i++)
        run_file(h, (int64_t)i + 1, names[i]);
    ck_assert_int_eq(sqlite3_exec(h, rows, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(h), SQLITE_OK);
}

static const char old_rows[] =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) "
    "INSERT INTO audit (id, at, type, user_id, ip, detail) SELECT i, i * 1000, 's', CASE i % 2 WHEN 0 THEN 'auth0|bob' "
    "END, '192.0.2.1', '{}' FROM n;"
    "DELETE FROM audit WHERE id BETWEEN 100 AND 110";

START_TEST(test_upgrade)
{
    make_old_database(old_rows);
    reopen();
    expect_ok(2489);
    struct ma_audit_report r = verify_with(NULL);
    ck_assert_int_eq(r.adopted_to, 2500);
    ck_assert_int_eq(r.head.id, 2500);
    ck_assert_int_eq(number("SELECT count(*) FROM audit WHERE at = id * 1000 AND ip = '192.0.2.1' AND type = 's'"),
                     2489);
    add(ALICE, NOW);
    reopen();
    expect_ok(2490);
    size_t n = 0;
    T_OK(MA_FIX_WRITE(&f, ma_audit_pseudonymise(f.app.writer, BOB, PSEUDONYM, &n)));
    ck_assert_uint_eq(n, MA_AUDIT_BATCH);
    expect_ok(2490);
    tamper("UPDATE audit SET ip = '192.0.2.2' WHERE id = 2499");
    expect_bad("row 2499 was changed", "an old row");
}
END_TEST

START_TEST(test_upgrade_of_nothing)
{
    make_old_database("");
    reopen();
    expect_ok(0);
    ck_assert_int_eq(verify_with(NULL).adopted_to, 0);
}
END_TEST

/* A start that ended in the middle goes on where it was. The state in between is made by taking the hashes off the
 * rows behind the first batch and putting the record of that moment back. */
START_TEST(test_upgrade_cut_short)
{
    make_old_database(old_rows);
    ck_assert_msg(ma_db_open(f.database, MA_DB_WRITER, NULL, &f.app.writer, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(f.app.writer, NOW, why) == MA_OK, "%s", why);
    ma_db_close(f.app.writer);
    f.app.writer = NULL;
    sql("CREATE TABLE moments AS SELECT * FROM audit_chain;"
        "CREATE TRIGGER watch AFTER UPDATE ON audit_chain BEGIN INSERT INTO moments SELECT * FROM audit_chain; END;");
    reopen();
    expect_ok(2489);
    tamper("DROP TRIGGER watch; DELETE FROM audit_chain;"
           "INSERT INTO audit_chain SELECT * FROM moments ORDER BY head_id LIMIT 1;"
           "UPDATE audit SET hash = NULL, salt = NULL WHERE id > (SELECT head_id FROM audit_chain)");
    ck_assert_int_eq(number("SELECT head_id FROM audit_chain"), 1011);
    expect_bad("rows 1012 to 2500 are not chained yet", "in between");
    reopen();
    expect_ok(2489);
}
END_TEST

/* --- in the daemon's threads --- */

static void nothing(struct ma_ctx *ctx)
{
    (void)ctx;
}

static int leave_nothing(struct ma_ctx *ctx)
{
    (void)ctx;
    return MA_OK;
}

static void counted(const struct ma_app *app)
{
    (void)app;
}

static void commit_seen(const struct ma_app *app, struct ma_ctx *ctx)
{
    (void)app;
    (void)ctx;
}

static int no_housekeeping(const struct ma_app *app, struct ma_db *db, bool *ret_more)
{
    (void)app;
    (void)db;
    *ret_more = false;
    return MA_OK;
}

struct crowd {
    struct ma_lanes *lanes;
    int failing; /* every n-th write is rolled back; 0: none */
    atomic_int written;
};

static int write_some(struct ma_db *db, void *arg)
{
    const struct crowd *c = arg;
    struct ma_audit_row row = {.at = NOW, .type = MA_LIT("t"), .user_id = ALICE, .ip = MA_LIT("192.0.2.1")};
    int r = ma_audit_insert(db, &row);
    if (r == MA_OK)
        r = ma_audit_insert(db, &row);
    return r == MA_OK && c->failing ? MA_E_CONFLICT : r;
}

static void *writer_thread(void *arg)
{
    struct crowd *c = arg;
    struct crowd mine = {.lanes = c->lanes};
    for (int i = 0; i < 200; i++) {
        mine.failing = i % 3 == 2;
        if (ma_lanes_write(c->lanes, write_some, &mine) == MA_OK)
            atomic_fetch_add(&c->written, 2);
    }
    return NULL;
}

/* Writers in groups, some of which are rolled back, while the trail is verified beside them. */
START_TEST(test_concurrent)
{
    struct ma_lanes_env env = {.app = &f.app,
                               .database = f.database,
                               .writer = f.app.writer,
                               .queue = 64,
                               .write_batch = 16,
                               .finished = nothing,
                               .rolled_back = leave_nothing,
                               .housekeeping = no_housekeeping,
                               .count_commit = counted,
                               .committed = commit_seen};
    struct crowd c = {.lanes = NULL};
    pthread_t threads[4];
    struct ma_db *reader = NULL;
    ck_assert_msg(ma_lanes_start(&env, &c.lanes, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_db_open(f.database, MA_DB_READER, NULL, &reader, why) == MA_OK, "%s", why);
    for (size_t i = 0; i < MA_COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, writer_thread, &c), 0);
    for (int i = 0; i < 20; i++) {
        struct ma_audit_report r;
        char text[MA_AUDIT_TEXT_MAX];
        T_OK(ma_audit_verify(reader, f.app.vault, NULL, &r));
        ma_audit_report_text(&r, text);
        ck_assert_msg(r.ok, "%s", text);
    }
    for (size_t i = 0; i < MA_COUNT(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ma_db_close(reader);
    ma_lanes_stop(c.lanes);
    ma_lanes_free(c.lanes);
    ck_assert_int_eq(atomic_load(&c.written), 4 * 134 * 2);
    expect_ok(4 * 134 * 2);
}
END_TEST

/* --- the vendor's shape --- */

static const char *vendor(const struct ma_audit_row *row)
{
    static struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, f.arena, 512, 65536);
    ma_jw_init(&w, &b);
    ma_audit_vendor_json(&w, row, "login.example.com");
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

START_TEST(test_vendor_shape)
{
    struct ma_audit_row row = {.id = 42,
                               .at = NOW,
                               .type = MA_LIT("gd_auth_failed"),
                               .operation = MA_LIT("verify"),
                               .user_id = MA_LIT("auth0|a\"b"),
                               .client_id = MA_LIT("spa"),
                               .ip = MA_LIT("192.0.2.1"),
                               .user_agent = MA_LIT("Mozilla Mobile"),
                               .request_id = MA_LIT("r1"),
                               .method_id = MA_LIT("totp|dev_1"),
                               .detail = MA_LIT("{\"authenticator\":{\"type\":\"totp\"}}")};
    const char *text = vendor(&row);
    const char *tail = strstr(text, ",\"type\"");
    ck_assert_ptr_nonnull(tail);
    ck_assert_str_eq(tail, ",\"type\":\"gd_auth_failed\",\"description\":\"MFA Auth Failed\",\"tenant_name\":"
                           "\"login.example.com\",\"client_id\":\"spa\",\"ip\":\"192.0.2.1\",\"user_agent\":\"Mozilla "
                           "Mobile\",\"is_mobile\":true,\"user_id\":\"auth0|a\\\"b\",\"log_id\":"
                           "\"00000000000000000042\",\"details\":{\"operation\":\"verify\","
                           "\"authentication_method_id\":\"totp|dev_1\",\"authenticator\":{\"type\":\"totp\"}},"
                           "\"references\":{\"correlation_id\":\"r1\"}}");
    struct ma_audit_row bare = {.id = 1, .at = NOW, .type = MA_LIT("unheard_of")};
    ck_assert_ptr_nonnull(strstr(vendor(&bare), "\"type\":\"unheard_of\",\"description\":\"\",\"tenant_name\":"
                                                "\"login.example.com\",\"log_id\":\"00000000000000000001\","
                                                "\"details\":{}}"));
    bare.detail = MA_LIT("{\"a\":1}");
    ck_assert_ptr_nonnull(strstr(vendor(&bare), "\"details\":{\"a\":1}}"));
    bare.detail = MA_LIT("{}"); /* and what would break the line is left out */
    ck_assert_ptr_nonnull(strstr(vendor(&bare), "\"details\":{}}"));
    bare.detail = MA_LIT("{\n}");
    ck_assert_ptr_nonnull(strstr(vendor(&bare), "\"details\":{}}"));
    bare.detail = MA_LIT("null");
    ck_assert_ptr_nonnull(strstr(vendor(&bare), "\"details\":{}}"));
}
END_TEST

/* Every type is described once. */
START_TEST(test_events)
{
    size_t n = 0;
    const struct ma_audit_event *e = ma_audit_events(&n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_eq(ma_audit_event(ma_span_str(e[i].type)), &e[i]);
        ck_assert(e[i].description[0] && e[i].holds[0]);
    }
    ck_assert_ptr_null(ma_audit_event(MA_LIT("nothing")));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("audit");
    TCase *t = tcase_create("chain");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_empty);
    tcase_add_test(t, test_grows);
    tcase_add_test(t, test_many);
    tcase_add_test(t, test_needs_its_chain);
    tcase_add_test(t, test_savepoint_rolled_back);
    tcase_add_test(t, test_transaction_rolled_back);
    tcase_add_loop_test(t, test_refused, 0, (int)MA_COUNT(refused));
    tcase_add_loop_test(t, test_tampered, 0, (int)MA_COUNT(tampered));
    tcase_add_test(t, test_noted_head);
    tcase_add_test(t, test_chain_taken_away);
    tcase_add_test(t, test_other_key);
    tcase_add_test(t, test_retention);
    tcase_add_test(t, test_retention_of_all);
    tcase_add_test(t, test_retention_clock);
    tcase_add_loop_test(t, test_retention_keeps_evidence, 0, (int)MA_COUNT(keeps));
    tcase_add_test(t, test_retention_noted);
    tcase_add_loop_test(t, test_discard, 0, (int)MA_COUNT(beyond_mending));
    tcase_add_test(t, test_erasure);
    tcase_add_test(t, test_erasure_leaves_no_value);
    tcase_add_test(t, test_erasure_in_batches);
    tcase_add_loop_test(t, test_tampered_after_erasure, 0, (int)MA_COUNT(after_erasure));
    tcase_add_test(t, test_erasure_keeps_evidence);
    tcase_add_test(t, test_pseudonym);
    tcase_add_test(t, test_upgrade);
    tcase_add_test(t, test_upgrade_of_nothing);
    tcase_add_test(t, test_upgrade_cut_short);
    tcase_add_test(t, test_concurrent);
    tcase_add_test(t, test_vendor_shape);
    tcase_add_test(t, test_events);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Everything about one user: the list of tables against the schema, the document, and erasing without a trace.
 */
#include "fixture_db.h"

#include "ma/audit.h"
#include "ma/jsonr.h"
#include "ma/personal.h"

enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 32 };
#define ALICE MA_LIT("auth0|alice")
#define BOB MA_LIT("auth0|bob")

/* --- the list against the schema --- */

static const struct ma_sql OWNED = {
    Q_FIRST,
    "SELECT DISTINCT m.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS p WHERE m.type = 'table' AND "
    "p.name LIKE '%user_id%' ORDER BY m.name"};
static const struct ma_sql COLUMNS = {Q_FIRST + 1, "SELECT name FROM pragma_table_info($1)"};
/* Whether rows go when their user goes, by way of another owned table if need be. */
static const struct ma_sql CASCADES = {
    Q_FIRST + 2, "SELECT count(*) FROM pragma_foreign_key_list($1) WHERE on_delete = 'CASCADE' AND \"table\" IN "
                 "('users', 'methods') AND \"from\" = 'user_id'"};

/* Tables that name users and are not theirs: the trail outlives its users. */
static const char *const not_owned[] = {"audit"};

static const struct ma_owned_table *find_table(const char *name)
{
    size_t n = 0;
    const struct ma_owned_table *t = ma_owned_tables(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].table, name) == 0)
            return &t[i];
    return NULL;
}

static bool word_in(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = strstr(words, word); p; p = strstr(p + 1, word))
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

static bool handed_out(const struct ma_owned_table *t, const char *column)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, column) == 0)
            return true;
    return false;
}

static void check_columns(const struct ma_owned_table *t)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(db, &COLUMNS, &st));
    ma_bind_text(st, 1, ma_span_str(t->table));
    while (ma_stmt_step(st) == MA_OK) {
        const char *name = ma_arena_strdup(arena, ma_col_view(st, 0));
        ck_assert_msg(handed_out(t, name) != word_in(t->withheld, name),
                      "%s.%s: hand it out or withhold it (src/store/owned.c)", t->table, name);
    }
}

START_TEST(every_table_and_column_is_listed)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    size_t n = 0, seen = 0;
    setup_newest();
    (void)ma_owned_tables(&n);
    T_OK(ma_db_stmt(db, &OWNED, &st));
    while (ma_stmt_step(st) == MA_OK) {
        const char *name = ma_arena_strdup(arena, ma_col_view(st, 0));
        bool other = false;
        for (size_t i = 0; i < MA_COUNT(not_owned); i++)
            other = other || strcmp(not_owned[i], name) == 0;
        const struct ma_owned_table *t = find_table(name);
        ck_assert_msg((t != NULL) != other, "%s: whose is it? (src/store/owned.c)", name);
        if (!t)
            continue;
        seen++;
        check_columns(t);
        ck_assert_msg(strcmp(name, "users") == 0 || ask(db, &CASCADES, name) == 1, "%s: stays when its user goes",
                      name);
    }
    ck_assert_uint_eq(seen, n);
}
END_TEST

/* --- the document --- */

struct piece {
    struct ma_buf b;
    int pieces, fail_at;
};

static int take(void *arg, struct ma_span text)
{
    struct piece *p = arg;
    if (++p->pieces == p->fail_at)
        return MA_E_IO;
    ma_buf_span(&p->b, text);
    return ma_buf_err(&p->b);
}

static const char *document(struct ma_span user)
{
    struct piece p = {.fail_at = 0};
    const struct ma_personal_sink sink = {take, &p};
    ma_buf_init_arena(&p.b, arena, 65536, (size_t)32 << 20);
    T_OK(ma_personal_write(db, vault, user, NOW, &sink));
    ma_buf_byte(&p.b, 0);
    return (const char *)p.b.p;
}

static const char *const said[] = {
    "\"format\":\"myaccountd user export 1\"",
    "alice@fixture.example",
    "Alice Fixture",
    "+15550001111",
    "+15550002222",
    "second@fixture.example",
    "\"totp|dev_1\"",
    "Phone app",
    "\"to\":\"second@fixture.example\"",
    "192.0.2.7",
    "192.0.2.8",
    "Fixture/1.0",
    "Fixture/2.0",
    "subject-of-alice",
    "alice@idp.example",
    "cns_1",
    "ses_1",
    "otp_failures",
    "\"organizations\":[{\"id\":\"org_fixture\",\"name\":\"fixture\"}]",
    "fixture.example",
    "familyfamilyfamily0001",
    "\"audit\":[{\"id\":1,",
    "\"user_handles\":[{\"handle\":\"",
    "\"exported_at\":\"2023-11-14T22:21:40.000Z\"",
};

START_TEST(the_document_tells_everything)
{
    setup_newest();
    const char *text = document(ALICE);
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    T_OK(ma_json_parse(ma_span_str(text), &j));
    for (size_t i = 0; i < MA_COUNT(said); i++)
        ck_assert_msg(strstr(text, said[i]) != NULL, "%s is missing in %s", said[i], text);
    size_t n = 0;
    const struct ma_owned_table *t = ma_owned_tables(&n);
    for (size_t i = 0; i < n; i++) /* the fixture has a row in each that was released */
        ck_assert_msg(ma_json_part_type(j, t[i].table, MA_JSON_WHOLE) == MA_JSON_ARRAY, "%s", t[i].table);
}
END_TEST

START_TEST(the_document_tells_no_secret)
{
    static const char *const never[] = {"$argon2id",     "seed of alice", "pending seed", "access token",
                                        "refresh token", "123456\"",      "Your code",    "state of the client",
                                        "nonce",         "salt",          "hash",         "bob",
                                        "secret"};
    setup_newest();
    const char *text = document(ALICE);
    for (size_t i = 0; i < MA_COUNT(never); i++)
        ck_assert_msg(strstr(text, never[i]) == NULL, "%s is in %s", never[i], text);
}
END_TEST

START_TEST(another_user_and_nobody)
{
    struct piece p = {.fail_at = 0};
    const struct ma_personal_sink sink = {take, &p};
    setup_newest();
    const char *text = document(BOB);
    ck_assert_ptr_null(strstr(text, "lice"));
    ck_assert_ptr_nonnull(strstr(text, "\"sessions\":[]"));
    ma_buf_init_arena(&p.b, arena, 1024, 65536);
    T_IS(MA_E_NOTFOUND, ma_personal_write(db, vault, MA_LIT("auth0|nobody"), NOW, &sink));
    ck_assert_int_eq(p.pieces, 0);
}
END_TEST

START_TEST(it_comes_in_pieces)
{
    static const struct ma_sql add = {Q_FIRST + 3, "INSERT INTO consents VALUES ($1, 'auth0|alice', $1, $2, $2, 1, 0)"};
    struct piece p = {.fail_at = 2};
    const struct ma_personal_sink sink = {take, &p};
    char big[8000];
    setup_newest();
    memset(big, 'x', sizeof big);
    T_OK(ma_db_begin(db));
    for (int i = 0; i < 100; i++) {
        struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
        T_OK(ma_db_stmt(db, &add, &st));
        ma_bind_text(st, 1, ma_span_str(ma_arena_printf(arena, "cns_%d", 100 + i)));
        ma_bind_text(st, 2, ma_span_of(big, sizeof big));
        T_OK(ma_stmt_run(st));
    }
    T_OK(ma_db_commit(db));
    ma_buf_init_arena(&p.b, arena, 65536, (size_t)32 << 20);
    T_IS(MA_E_IO, ma_personal_write(db, vault, ALICE, NOW, &sink));
    ck_assert_uint_lt(p.b.n, 200000);
    p.fail_at = 0;
    p.pieces = 0;
    T_OK(ma_personal_write(db, vault, ALICE, NOW, &sink));
    ck_assert_int_gt(p.pieces, 10);
}
END_TEST

/* --- erasing --- */

static const char *const identifiers[] = {"auth0|alice", "alice@fixture",  "Alice Fixture",
                                          "+1555000",    "second@fixture", "subject-of-alice",
                                          "192.0.2.8",   "Fixture/2.0",    "Phone app"};

static bool file_has(const char *suffix, const char *word)
{
    char name[128];
    size_t n = 0;
    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    if (access(name, F_OK) != 0)
        return false;
    char *text = slurp(name, &n);
    bool found = memmem(text, n, word, strlen(word)) != NULL;
    free(text);
    return found;
}

static int rows_of(struct ma_span user)
{
    size_t n = 0;
    int rows = 0;
    const struct ma_owned_table *t = ma_owned_tables(&n);
    for (size_t i = 0; i < n; i++) {
        struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
        T_OK(ma_db_stmt(db, t[i].list, &st));
        ma_bind_text(st, 1, user);
        while (ma_stmt_step(st) == MA_OK)
            rows++;
    }
    return rows;
}

/* The audit trail is another matter: its rows stay, without what identifies the user. The chain is the caller's, to be
 * closed after the database. */
static struct ma_audit *forget_trail(void)
{
    struct ma_audit *chain = NULL;
    size_t n = 0;
    T_OK(ma_audit_open(db, vault, keys, ma_rand_system(), NULL, &chain, why));
    T_OK(ma_db_begin(db));
    T_OK(ma_audit_pseudonymise(db, ALICE, MA_LIT("erased|00000000000000000000000000000000"), &n));
    T_OK(ma_db_commit(db));
    ck_assert_uint_gt(n, 0);
    return chain;
}

START_TEST(nothing_is_left)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    struct ma_object org;
    setup_newest();
    ma_db_checkpoint(db, true);
    for (size_t i = 0; i < MA_COUNT(identifiers); i++)
        ck_assert_msg(file_has("", identifiers[i]), "%s is not in the database to begin with", identifiers[i]);
    ck_assert_int_gt(rows_of(ALICE), 20);
    const int bob = rows_of(BOB);
    struct ma_audit *chain = forget_trail();
    T_OK(ma_db_begin(db));
    T_OK(ma_personal_erase(db, ALICE, NOW));
    T_OK(ma_db_commit(db));
    ck_assert_int_eq(rows_of(ALICE), 0);
    ck_assert_int_eq(rows_of(BOB), bob);
    T_OK(ma_object_get(db, a, MA_LIT("organization"), MA_LIT("org_fixture"), &org));
    ck_assert(ma_span_eq_str(org.json, "{\"id\":\"org_fixture\",\"members\":[\"auth0|bob\"],\"name\":\"fixture\"}"));
    T_OK(ma_db_scrub(db, MA_DB_SCRUB_MAX));
    T_OK(ma_db_truncate_wal(db));
    for (size_t i = 0; i < MA_COUNT(identifiers); i++) {
        ck_assert_msg(!file_has("", identifiers[i]), "%s is still in the database", identifiers[i]);
        ck_assert_msg(!file_has("-wal", identifiers[i]), "%s is still in the log", identifiers[i]);
    }
    T_OK(ma_db_check(db, why));
    T_OK(ma_db_begin(db));
    T_IS(MA_E_NOTFOUND, ma_personal_erase(db, ALICE, NOW));
    ma_db_rollback(db);
    ma_db_close(db);
    db = NULL;
    ma_audit_close(chain);
}
END_TEST

/* Among many, whose rows have moved from page to page meanwhile and left copies there. */
START_TEST(nothing_is_left_among_many)
{
    enum { MANY = 3000 };
    static const struct ma_sql name = {Q_FIRST + 4, "UPDATE users SET name = $2 WHERE user_id = $1"};
    char gone[64];
    setup_newest();
    T_OK(ma_db_begin(db));
    for (unsigned i = 0; i < MANY; i++) {
        unsigned h = i * 2654435761u;
        struct ma_user u = {.user_id = ma_span_str(ma_arena_printf(arena, "auth0|%08x", h)),
                            .email = ma_span_str(ma_arena_printf(arena, "m%08x@many.example", h)),
                            .connection = MA_LIT("db"),
                            .created_at = 1,
                            .updated_at = 1};
        T_OK(ma_user_insert(db, &u));
    }
    T_OK(ma_db_commit(db));
    for (int round = 0; round < 2; round++) {
        T_OK(ma_db_begin(db));
        for (unsigned i = 0; i < MANY; i += 3) {
            struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
            unsigned h = i * 2654435761u;
            T_OK(ma_db_stmt(db, &name, &st));
            ma_bind_text(st, 1, ma_span_str(ma_arena_printf(arena, "auth0|%08x", h)));
            ma_bind_text(st, 2, ma_span_str(ma_arena_printf(arena, "%*s%08x", 20 + 200 * (round == 0), "N", h)));
            T_OK(ma_stmt_run(st));
        }
        T_OK(ma_db_commit(db));
    }
    for (unsigned i = 0; i < MANY; i += 30) {
        (void)snprintf(gone, sizeof gone, "auth0|%08x", i * 2654435761u);
        T_OK(ma_db_begin(db));
        T_OK(ma_personal_erase(db, ma_span_str(gone), NOW));
        T_OK(ma_db_commit(db));
    }
    T_IS(MA_E_RANGE, ma_db_scrub(db, 65536));
    T_OK(ma_db_scrub(db, MA_DB_SCRUB_MAX));
    T_OK(ma_db_truncate_wal(db));
    size_t n = 0;
    char *text = slurp(path, &n);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(gone, sizeof gone, "%08x", i * 2654435761u);
        ck_assert_msg((memmem(text, n, gone, 8) == NULL) == (i % 30 == 0), "%s, number %u", gone, i);
    }
    free(text);
}
END_TEST

START_TEST(a_reader_keeps_the_log)
{
    struct ma_db *reader = NULL;
    setup_newest();
    T_OK(ma_db_truncate_wal(db));
    T_OK(ma_db_open(path, MA_DB_READER, NULL, &reader, why));
    T_OK(ma_db_read_begin(reader));
    ck_assert_int_ge(ask(reader, &CASCADES, "sessions"), 1); /* the snapshot is taken */
    T_OK(ma_db_begin(db));
    T_OK(ma_personal_erase(db, ALICE, NOW));
    T_OK(ma_db_commit(db));
    T_IS(MA_E_BUSY, ma_db_truncate_wal(db));
    ma_db_read_end(reader);
    T_OK(ma_db_truncate_wal(db));
    ma_db_close(reader);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("personal");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_test(c, every_table_and_column_is_listed);
    tcase_add_test(c, the_document_tells_everything);
    tcase_add_test(c, the_document_tells_no_secret);
    tcase_add_test(c, another_user_and_nobody);
    tcase_add_test(c, it_comes_in_pieces);
    tcase_add_test(c, nothing_is_left);
    tcase_add_test(c, nothing_is_left_among_many);
    tcase_add_test(c, a_reader_keeps_the_log);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

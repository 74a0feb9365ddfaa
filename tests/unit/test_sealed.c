/* SPDX-License-Identifier: Apache-2.0
 * The list of sealed columns against schema and sources, and sealing everything anew: races, interruption, the end of
 * old keys.
 */
#include "fixture_db.h"

#include "ma/reseal.h"
#include "ma/sealed.h"
#include "ma/state.h"

enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 16 };
static const struct ma_sql BLOBS = {
    Q_FIRST, "SELECT m.name || '.' || p.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS p WHERE m.type = "
             "'table' AND p.type = 'BLOB' ORDER BY 1"};

/* --- the list --- */

/* BLOBs that nobody sealed: MACs, digests and salts, what authenticators and browsers gave, random names. */
static const char *const open_blobs[] = {
    "challenges.code_mac",
    "challenges.data",
    "challenges.flow_mac",
    "challenges.id_mac",
    "codes.code_mac",
    "connects.code_mac",
    "connects.cookie_mac",
    "connects.session_mac",
    "connects.state_mac",
    "connects.ticket_mac",
    "credentials.aaguid",
    "credentials.credential_id",
    "credentials.public_key",
    "credentials.user_handle",
    "enrolments.code_mac",
    "enrolments.data",
    "enrolments.session_mac",
    "families.salt",
    "flows.token_mac",
    "notices.token_mac",
    "password_resets.token_mac",
    "push_devices.ticket_mac",
    "push_devices.token_mac",
    "push_transactions.token_mac",
    "push_transactions.challenge_id",
    "push_transactions.answer_mac",
    "push_transactions.number_mac",
    "schema_migrations.sha256",
    "sessions.cookie_mac",
    "user_handles.handle",
    "audit.salt",
    "audit.personal",
    "audit.erasure",
    "audit.hash",
    "audit_chain.chain_id",
    "audit_chain.base_hash",
    "known_addresses.address_mac",
    "shared_counters.key_mac",
    "audit_chain.head_hash",
    "audit_chain.mac",
    "users.restore_mac",
};

static bool is_sealed(const char *name)
{
    size_t n = 0;
    const struct ma_sealed_column *c = ma_sealed_columns(&n);
    for (size_t i = 0; i < n; i++) {
        char own[128];
        (void)snprintf(own, sizeof own, "%s.%s", c[i].table, c[i].column);
        if (strcmp(own, name) == 0)
            return true;
    }
    return false;
}

/* A column for bytes is sealed, and then a change of keys goes through it, or it is said here why not. */
START_TEST(every_blob_is_known)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    setup_newest();
    T_OK(ma_db_stmt(db, &BLOBS, &st));
    int seen = 0;
    for (; ma_stmt_step(st) == MA_OK; seen++) {
        const char *name = ma_arena_strdup(arena, ma_col_view(st, 0));
        bool open = false;
        for (size_t i = 0; i < MA_COUNT(open_blobs); i++)
            open = open || strcmp(open_blobs[i], name) == 0;
        ck_assert_msg(open != is_sealed(name), "%s: is it sealed? Then src/store/sealed.c must have it", name);
    }
    ck_assert_int_ge(seen, 30);
}
END_TEST

static bool sealed_table(const char *name, size_t n)
{
    size_t count = 0;
    const struct ma_sealed_column *c = ma_sealed_columns(&count);
    for (size_t i = 0; i < count; i++)
        if (strlen(c[i].table) == n && strncmp(c[i].table, name, n) == 0)
            return true;
    return false;
}

/* What is sealed in the sources is bound to a table of the list: `(struct ma_seal_id){"table", …` and its like. */
static int check_source(const char *file)
{
    int seen = 0;
    char *text = slurp(file, NULL);
    for (const char *p = strstr(text, "struct ma_seal_id"); p; p = strstr(p + 1, "struct ma_seal_id")) {
        const char *brace = strchr(p, '{'), *end = strchr(p, ';');
        const char *name = brace && end && brace < end ? strchr(brace, '"') : NULL;
        if (!name || name > end)
            continue; /* a parameter */
        const char *close = strchr(name + 1, '"');
        ck_assert_msg(sealed_table(name + 1, (size_t)(close - name - 1)), "%s: %.60s", file, name);
        seen++;
    }
    free(text);
    return seen;
}

START_TEST(sources_seal_what_is_listed)
{
    static const char *const modules[] = {"admin", "api",   "app",   "deliver", "feature",
                                          "jose",  "oauth", "state", "tool"};
    int seen = 0;
    setup_dir();
    for (size_t i = 0; i < MA_COUNT(modules); i++) {
        char name[300];
        (void)snprintf(name, sizeof name, "src/%s", modules[i]);
        DIR *d = opendir(name);
        ck_assert_ptr_nonnull(d);
        for (struct dirent *e = readdir(d); e; e = readdir(d)) {
            /* what goes through the lists itself names no table */
            if (!strstr(e->d_name, ".c") || strcmp(e->d_name, "reseal.c") == 0 || strcmp(e->d_name, "personal.c") == 0)
                continue;
            (void)snprintf(name, sizeof name, "src/%s/%s", modules[i], e->d_name);
            seen += check_source(name);
        }
        (void)closedir(d);
    }
    ck_assert_int_ge(seen, 10);
}
END_TEST

/* --- sealing anew --- */

struct world {
    int batches, stop_after; /* 0: never */
    bool meddle;             /* somebody changes a value between reading and writing */
};

static int read_here(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    return fn(db, fn_arg);
}

static const struct ma_sql CHANGE = {Q_FIRST + 1, "UPDATE accounts SET access_token = $1 WHERE id = 'cac_1'"};
static const struct ma_sql VALUE = {Q_FIRST + 2, "SELECT access_token FROM accounts WHERE id = 'cac_1'"};

static int write_here(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct world *w = arg;
    T_OK(ma_db_begin(db));
    if (w->meddle) {
        struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
        T_OK(ma_db_stmt(db, &CHANGE, &st));
        ma_bind_blob(st, 1, MA_LIT("\1\0\0\0\2 what a request has just sealed with the new key"));
        T_OK(ma_stmt_run(st));
    }
    int r = fn(db, fn_arg);
    T_OK(ma_db_commit(db));
    return r;
}

static bool more_here(void *arg)
{
    struct world *w = arg;
    return ++w->batches != w->stop_after;
}

static struct ma_reseal_status status(void)
{
    struct ma_reseal_status s;
    T_OK(ma_reseal_status(db, vault, &s));
    return s;
}

static void rotate(void)
{
    uint32_t id = 0;
    T_OK(ma_vault_rotate(vault, NOW / 1000, &id, why));
    ck_assert_uint_eq(id, ma_vault_newest(vault));
}

static int run(struct world *w, struct ma_reseal_pass *pass)
{
    const struct ma_reseal_env env = {vault, w, read_here, write_here, more_here};
    return ma_reseal_run(&env, pass);
}

static void reopen_vault(void)
{
    ma_vault_close(vault);
    vault = NULL;
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
}

START_TEST(every_column_is_sealed_anew)
{
    struct world w = {0};
    struct ma_reseal_pass pass;
    size_t gone = 0, n = 0;
    setup_newest();
    struct ma_reseal_status s = status();
    const int64_t all = s.values;
    ck_assert_uint_eq(s.n_keys, 1);
    ck_assert_int_eq(s.keys[0].values, all);
    ck_assert_int_eq(ma_reseal_percent(&s), 100);
    (void)ma_sealed_columns(&n);
    ck_assert_int_ge(all, (int64_t)n);
    rotate();
    s = status();
    ck_assert_int_eq(s.waiting, all);
    ck_assert_int_eq(ma_reseal_percent(&s), 0);
    T_OK(run(&w, &pass));
    /* a flow counts once, however many values are in it */
    ck_assert_int_eq(pass.failed + pass.missed, 0);
    ck_assert_int_eq(pass.resealed, all);
    ck_assert_int_ge(w.batches, (int)n);
    s = status();
    ck_assert_int_eq(s.waiting, 0);
    ck_assert_int_eq(s.values, all);
    T_OK(ma_reseal_retire(vault, &s, &gone, why));
    ck_assert_uint_eq(gone, 1);
    reopen_vault();
    s = status();
    ck_assert_uint_eq(s.n_keys, 1);
    ck_assert_uint_eq(s.keys[0].key.id, 2);
    ck_assert_int_eq(s.orphans, 0);
    T_OK(ma_state_check_vault(db, vault, why));
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.resealed, 0);
}
END_TEST

START_TEST(what_was_sealed_anew_opens)
{
    static const struct ma_sql flow = {Q_FIRST + 3, "SELECT data FROM flows WHERE kind = 'mfa'"};
    static const struct ma_seal_id access = {"accounts", "access_token", MA_LIT("cac_1"), MA_LIT("auth0|alice")};
    struct world w = {0};
    struct ma_reseal_pass pass;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL, *fl MA_CLEANUP(ma_stmt_reset_p) = NULL;
    struct ma_span plain;
    setup_newest();
    rotate();
    T_OK(run(&w, &pass));
    T_OK(ma_db_stmt(db, &VALUE, &st));
    T_OK(ma_stmt_step(st));
    ck_assert_uint_eq(ma_seal_key(ma_col_view(st, 0)), 2);
    T_OK(ma_vault_open_blob(vault, arena, &access, ma_col_view(st, 0), &plain));
    ck_assert(ma_span_eq_str(plain, "access token"));
    T_OK(ma_db_stmt(db, &flow, &fl));
    T_OK(ma_stmt_step(fl));
    struct ma_span data = ma_col_view(fl, 0);
    ck_assert(memmem(data.p, data.n, "\"generation\":1", 14) != NULL);
    ck_assert(memmem(data.p, data.n, "\"enrol_session\":\"AQAAAAI", 23) != NULL); /* 1, key 2 */
}
END_TEST

/* Interrupted after each of its batches in turn, and then begun again. */
START_TEST(interrupted_and_resumed)
{
    struct world w = {.stop_after = _i};
    struct ma_reseal_pass pass;
    setup_newest();
    rotate();
    const int64_t all = status().values;
    T_IS(MA_E_BUSY, run(&w, &pass));
    const int64_t first = pass.resealed;
    /* as after a kill: only the files are left */
    reopen_vault();
    ma_db_close(db);
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &db, why));
    T_OK(ma_state_check_vault(db, vault, why));
    ck_assert_int_eq(status().orphans, 0);
    ck_assert_int_eq(status().waiting, all - first);
    w.stop_after = 0;
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.resealed, all - first);
    ck_assert_int_eq(status().waiting, 0);
}
END_TEST

START_TEST(a_newer_value_is_not_overwritten)
{
    struct world w = {.meddle = true};
    struct ma_reseal_pass pass;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    setup_newest();
    rotate();
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.failed, 0);
    T_OK(ma_db_stmt(db, &VALUE, &st));
    T_OK(ma_stmt_step(st));
    ck_assert(memmem(ma_col_view(st, 0).p, ma_col_view(st, 0).n, "what a request", 14) != NULL);
}
END_TEST

START_TEST(a_race_is_left_to_the_next_pass)
{
    static const struct ma_sql touch = {Q_FIRST + 4, "UPDATE methods SET secret = $1 WHERE id = 'totp|dev_1'"};
    static const struct ma_seal_id id = {"methods", "secret", MA_LIT("totp|dev_1"), MA_LIT("auth0|alice")};
    struct world w = {0};
    struct ma_reseal_pass pass;
    struct ma_sealed_row rows[8];
    struct ma_span again;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    size_t n = 0;
    setup_newest();
    const struct ma_sealed_column *c = ma_sealed_columns(&n);
    for (; strcmp(c->table, "methods") != 0; c++)
        ;
    T_OK(ma_vault_seal(vault, arena, &id, MA_LIT("written meanwhile"), &again)); /* still with the old key */
    rotate();
    T_OK(ma_sealed_list(db, arena, c, NULL, 2, rows, 8, &n));
    ck_assert_uint_eq(n, 2);
    T_OK(ma_db_begin(db));
    T_OK(ma_db_stmt(db, &touch, &st));
    ma_bind_blob(st, 1, again);
    T_OK(ma_stmt_run(st));
    T_IS(MA_E_CONFLICT, ma_sealed_put(db, c, &rows[0], MA_LIT("the new seal of the old value")));
    T_OK(ma_db_commit(db));
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.failed, 0);
    ck_assert_int_eq(status().waiting, 0);
}
END_TEST

START_TEST(damaged_values_stay_and_keep_their_key)
{
    static const struct ma_sql damage = {Q_FIRST + 5, "UPDATE accounts SET claims = $1 WHERE id = 'cac_1'"};
    struct world w = {0};
    struct ma_reseal_pass pass;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    size_t gone = 9;
    setup_newest();
    T_OK(ma_db_begin(db));
    T_OK(ma_db_stmt(db, &damage, &st));
    ma_bind_blob(st, 1, MA_LIT("\1\0\0\0\1 sealed with key 1, and then the disk made another text of it"));
    T_OK(ma_stmt_run(st));
    T_OK(ma_db_commit(db));
    rotate();
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.failed, 1);
    struct ma_reseal_status s = status();
    ck_assert_int_eq(s.waiting, 1);
    ck_assert_int_lt(ma_reseal_percent(&s), 100);
    T_OK(ma_reseal_retire(vault, &s, &gone, why));
    ck_assert_uint_eq(gone, 0);
    ck_assert_uint_eq(status().n_keys, 2);
}
END_TEST

START_TEST(lost_keys_are_noticed)
{
    static const uint32_t first[] = {1};
    setup_newest();
    rotate();
    T_OK(ma_vault_retire(vault, first, 1, why)); /* nothing was sealed anew yet */
    struct ma_reseal_status s = status();
    ck_assert_int_eq(s.orphans, s.values);
    ck_assert_uint_eq(s.orphans_key, 1);
    T_IS(MA_E_AUTH, ma_state_check_vault(db, vault, why));
}
END_TEST

/* More values than a batch holds, with keys in every order. */
START_TEST(many_values)
{
    static const struct ma_sql add = {Q_FIRST + 6,
                                      "INSERT INTO outbox (id, channel, user_id, payload, attempts, "
                                      "created_at, next_at, dead) VALUES ($1, 'email', 'auth0|bob', $2, 0, "
                                      "1, 1, 0)"};
    enum { MANY = MA_RESEAL_BATCH * 3 + 7 };
    struct world w = {0};
    struct ma_reseal_pass pass;
    setup_newest();
    const int64_t before = status().values;
    T_OK(ma_db_begin(db));
    for (int i = 0; i < MANY; i++) {
        struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
        struct ma_span sealed, id = ma_span_str(ma_arena_printf(arena, "%08x", (unsigned)i * 2654435761u));
        const struct ma_seal_id sid = {"outbox", "payload", id, MA_LIT("auth0|bob")};
        T_OK(ma_vault_seal(vault, arena, &sid, MA_LIT("letter"), &sealed));
        T_OK(ma_db_stmt(db, &add, &st));
        ma_bind_text(st, 1, id);
        ma_bind_blob(st, 2, sealed);
        T_OK(ma_stmt_run(st));
    }
    T_OK(ma_db_commit(db));
    rotate();
    T_OK(run(&w, &pass));
    ck_assert_int_eq(pass.resealed, before + MANY);
    ck_assert_int_eq(status().waiting, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sealed");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_test(c, every_blob_is_known);
    tcase_add_test(c, sources_seal_what_is_listed);
    tcase_add_test(c, every_column_is_sealed_anew);
    tcase_add_test(c, what_was_sealed_anew_opens);
    tcase_add_loop_test(c, interrupted_and_resumed, 1, 11);
    tcase_add_test(c, a_newer_value_is_not_overwritten);
    tcase_add_test(c, a_race_is_left_to_the_next_pass);
    tcase_add_test(c, damaged_values_stay_and_keep_their_key);
    tcase_add_test(c, lost_keys_are_noticed);
    tcase_add_test(c, many_values);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * The repositories: every query's plan and shape, then what each function promises.
 */
#include "ma/store.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/store/int.h"
#include "ma/audit.h"
#include "ma/crypto.h"
#include "store_lists.h"

#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s", #expr, ma_err_name(t_r), ma_err_name(want));                    \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define T_STR(span, s) ck_assert_msg(ma_span_eq_str((span), (s)), "%s is not %s", #span, (s))
#define NOW 1700000000000
#define ALICE MA_LIT("auth0|alice")
#define BOB MA_LIT("auth0|bob")
static char dir[64], path[96], why[256];
static struct ma_db *db;
static struct ma_vault *vault;
static struct ma_audit *chain;
static struct ma_arena *arena;

static void add_user(struct ma_span id)
{
    struct ma_user u = {.user_id = id, .email = MA_LIT("x@example.com"), .created_at = NOW, .updated_at = NOW};
    T_OK(ma_user_insert(db, &u));
}

static void setup(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/ma_test_store_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/t.db", dir);
    T_OK(ma_crypto_init());
    ck_assert_msg(ma_db_open(path, MA_DB_WRITER, NULL, &db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(dir, ma_rand_system(), &vault, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_audit_open(db, vault, NULL, ma_rand_system(), NULL, &chain, why) == MA_OK, "%s", why);
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    T_OK(ma_db_begin(db));
    add_user(ALICE);
    add_user(BOB);
}

static void teardown(void)
{
    static const char *const files[] = {"t.db",       "t.db-wal", "t.db-shm",    "t.db.lock",
                                        "vault.keys", "pepper",   "vault.canary"};
    ma_db_close(db);
    ma_audit_close(chain);
    ma_vault_close(vault);
    ma_arena_free(arena);
    ma_crypto_cleanup();
    for (size_t i = 0; i < MA_COUNT(files); i++) {
        char file[128];
        (void)snprintf(file, sizeof(file), "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

/* --- every query --- */
#define NAME(name) #name,
static const char *const query_names[] = {MA_QUERIES(NAME)};

static bool listed(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

/* Whole-table listings on purpose, in the order of an index. */
static const char *const may_scan[] = {"OBJECT_LIST",       "OUTBOX_NEXT",       "OUTBOX_DEAD", "OUTBOX_COUNT_ALIVE",
                                       "OUTBOX_COUNT_DEAD", "OUTBOX_REVIVE_ALL", NULL};

/* "SEARCH t" without a "USING" is the walk for a minimum. */
static bool search_without_index(const char *plan)
{
    for (const char *s = strstr(plan, "SEARCH "); s; s = strstr(s + 1, "SEARCH ")) {
        const char *using = strstr(s, " USING ");
        const char *end = strchr(s, '\n');
        if (!using || !end || using > end)
            return true;
    }
    return false;
}

START_TEST(test_query_plan)
{
    size_t n = 0;
    const struct ma_sql *q = ma_store_queries(&n)[_i];
    ck_assert_uint_eq(n, MA_COUNT(query_names));
    ck_assert_int_eq(q->id, _i);
    struct ma_span plan;
    ck_assert_msg(ma_db_explain(db, q, arena, &plan) == MA_OK, "%s", query_names[_i]);
    const char *text = (const char *)plan.p;
    bool scan = strstr(text, "SCAN ") != NULL;
    bool counts = strncmp(query_names[_i], "SEALED_COUNT_", 13) == 0;
    ck_assert_msg(!scan || counts || listed(query_names[_i], may_scan), "%s:\n%s", query_names[_i], text);
    ck_assert_msg(!search_without_index(text), "%s:\n%s", query_names[_i], text);
    ck_assert_msg(strstr(text, "TEMP B-TREE") == NULL, "%s:\n%s", query_names[_i], text);
    ck_assert_msg(!scan || strstr(text, "INDEX") || counts || q->id == MA_Q_OBJECT_LIST, "%s:\n%s", query_names[_i],
                  text);
}
END_TEST

START_TEST(test_method_list_plan)
{
    struct ma_span plan;
    T_OK(ma_db_explain(db, &ma_q_METHOD_LIST, arena, &plan));
    T_STR(plan, "SEARCH methods USING PRIMARY KEY (user_id=?)\n");
}
END_TEST

/* Changing the keys of the vault goes through all there is, too; a whole table is nobody's. */
static bool all_users(const char *name)
{
    static const char *const by_user[] = {
        "SEALED_PUT_METHOD",    "SEALED_PUT_ACCESS_TOKEN", "SEALED_PUT_REFRESH_TOKEN", "SEALED_PUT_CLAIMS",
        "SEALED_PUT_PUSH_SEED", "SEALED_PUT_PUSH_TOKEN",   "SEALED_PUT_EXPORT_PART",   NULL};
    return listed(name, for_all_users) || listed(name, may_scan) ||
           (strncmp(name, "SEALED_", 7) == 0 && !listed(name, by_user));
}

static bool names_table(const char *sql, const char *table)
{
    static const char *const before[] = {"FROM ", "UPDATE ", "INTO "};
    for (size_t i = 0; i < MA_COUNT(before); i++) {
        char want[64];
        (void)snprintf(want, sizeof(want), "%s%s ", before[i], table);
        if (strstr(sql, want))
            return true;
    }
    return false;
}

START_TEST(test_owned_rows_by_user)
{
    size_t n = 0;
    const struct ma_sql *q = ma_store_queries(&n)[_i];
    bool is_owned = false;
    for (size_t i = 0; i < MA_COUNT(owned); i++)
        is_owned = is_owned || names_table(q->text, owned[i]);
    const char *where = strstr(q->text, " WHERE ");
    if (!is_owned || (!where && strncmp(q->text, "INSERT ", 7) == 0))
        return;
    if (q->id == MA_Q_COUNTER_PUT) { /* its WHERE is the compare-and-set of the upsert */
        ck_assert_ptr_nonnull(strstr(q->text, "ON CONFLICT (user_id, name)"));
        return;
    }
    bool by_user = where && strncmp(where, " WHERE user_id = $1", 19) == 0;
    ck_assert_msg(by_user != all_users(query_names[_i]), "%s: %s", query_names[_i], q->text);
}
END_TEST

/* Sub-queries too: as many user ids as there are WHEREs. */
START_TEST(test_every_where_by_user)
{
    size_t n = 0;
    const struct ma_sql *q = ma_store_queries(&n)[_i];
    if (all_users(query_names[_i]) || !strstr(q->text, "WHERE user_id"))
        return;
    for (const char *w = strstr(q->text, " WHERE "); w; w = strstr(w + 1, " WHERE "))
        ck_assert_msg(strncmp(w, " WHERE user_id = $", 18) == 0, "%s: %s", query_names[_i], q->text);
}
END_TEST

static char *slurp(const char *file)
{
    FILE *f = fopen(file, "r");
    ck_assert_ptr_nonnull(f);
    char *text = calloc(1, 200000);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(fread(text, 1, 199999, f), 199999);
    (void)fclose(f);
    return text;
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
        n++;
    return n;
}

/* No SQL beside the registered queries, so the tests above see all of it. Runs in the repository's root. */
START_TEST(test_no_other_sql)
{
    size_t defined = 0;
    DIR *d = opendir("src/store");
    ck_assert_msg(d != NULL, "run this from the root of the repository");
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!strstr(e->d_name, ".c"))
            continue;
        char file[300];
        (void)snprintf(file, sizeof(file), "src/store/%s", e->d_name);
        char *text MA_CLEANUP(ma_free_p) = slurp(file);
        defined += occurrences(text, "\nMA_QUERY(");
        ck_assert_msg(!strstr(text, "struct ma_sql q") && !strstr(text, "(struct ma_sql)"), "%s", file);
        ck_assert_msg(!strstr(text, "printf"), "%s: SQL is never built", file);
    }
    (void)closedir(d);
    ck_assert_uint_eq(defined, MA_COUNT(query_names));
}
END_TEST

/* --- users --- */

START_TEST(test_user_round_trip)
{
    struct ma_user got, u = {.user_id = MA_LIT("auth0|carol"),
                             .email = MA_LIT("carol@example.com"),
                             .email_verified = true,
                             .name = MA_LIT(""),
                             .phone_number = MA_LIT("+15551234567"),
                             .connection = MA_LIT("Username-Password-Authentication"),
                             .roles = MA_LIT("[\"member\"]"),
                             .permissions = MA_LIT("[]"),
                             .blocked = true,
                             .created_at = 5,
                             .updated_at = 6};
    T_IS(MA_E_NOTFOUND, ma_user_get(db, arena, u.user_id, &got));
    T_OK(ma_user_put(db, &u));
    T_IS(MA_E_EXISTS, ma_user_insert(db, &u));
    T_OK(ma_user_get(db, arena, u.user_id, &got));
    T_STR(got.user_id, "auth0|carol");
    T_STR(got.email, "carol@example.com");
    ck_assert(got.email_verified && got.blocked);
    ck_assert(got.name.p != NULL && got.name.n == 0);
    T_STR(got.phone_number, "+15551234567");
    T_STR(got.connection, "Username-Password-Authentication");
    T_STR(got.roles, "[\"member\"]");
    T_STR(got.permissions, "[]");
    ck_assert_int_eq(got.created_at, 5);
    ck_assert_int_eq(got.updated_at, 6);
}
END_TEST

START_TEST(test_user_put_keeps_what_it_owns)
{
    struct ma_user got, u = {.user_id = ALICE, .created_at = NOW + 9, .updated_at = NOW + 9};
    T_OK(ma_password_set(db, ALICE, MA_LIT("$h1"), 5, NOW));
    T_OK(ma_user_put(db, &u));
    T_OK(ma_user_get(db, arena, ALICE, &got));
    ck_assert_ptr_null(got.email.p);
    ck_assert_ptr_null(got.name.p);
    T_STR(got.roles, "[]");
    ck_assert_int_eq(got.created_at, NOW);
    ck_assert_int_eq(got.updated_at, NOW + 9);
    struct ma_password_row row;
    T_OK(ma_password_get(db, arena, ALICE, &row));
}
END_TEST

START_TEST(test_user_list_pages)
{
    struct ma_user v[3];
    size_t n = 0;
    add_user(MA_LIT("auth0|carol"));
    T_OK(ma_user_list(db, arena, MA_SPAN_NULL, 2, v, &n));
    ck_assert_uint_eq(n, 2);
    T_STR(v[0].user_id, "auth0|alice");
    T_OK(ma_user_list(db, arena, v[1].user_id, 2, v, &n));
    ck_assert_uint_eq(n, 1);
    T_STR(v[0].user_id, "auth0|carol");
    T_OK(ma_user_list(db, arena, v[0].user_id, 2, v, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(test_small_arena)
{
    struct ma_user u;
    struct ma_arena *tiny MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 64);
    int r = MA_OK;
    for (int i = 0; r == MA_OK && i < 10; i++)
        r = ma_user_get(db, tiny, ALICE, &u);
    T_IS(MA_E_NOMEM, r);
}
END_TEST

/* --- passwords --- */

static void check_history(struct ma_span user, const char *want)
{
    struct ma_span v[8];
    size_t n = 0;
    char got[64] = "";
    T_OK(ma_password_history(db, arena, user, 8, v, &n));
    for (size_t i = 0; i < n; i++)
        (void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)v[i].n, (const char *)v[i].p);
    ck_assert_str_eq(got, want);
}

START_TEST(test_password_history)
{
    struct ma_password_row row;
    T_IS(MA_E_NOTFOUND, ma_password_get(db, arena, ALICE, &row));
    T_OK(ma_password_set(db, ALICE, MA_LIT("h1"), 2, NOW));
    T_OK(ma_password_get(db, arena, ALICE, &row));
    T_STR(row.hash, "h1");
    ck_assert_int_eq(row.created_at, NOW);
    ck_assert_int_eq(row.changed_at, 0);
    T_OK(ma_password_set(db, BOB, MA_LIT("b1"), 2, NOW));
    T_OK(ma_password_set(db, ALICE, MA_LIT("h2"), 2, NOW));
    check_history(ALICE, "h2 h1 ");
    T_OK(ma_password_set(db, ALICE, MA_LIT("h3"), 2, NOW + 3));
    check_history(ALICE, "h3 h2 ");
    T_OK(ma_password_get(db, arena, ALICE, &row));
    T_STR(row.hash, "h3");
    ck_assert_int_eq(row.created_at, NOW);
    ck_assert_int_eq(row.changed_at, NOW + 3);
    T_OK(ma_password_set(db, ALICE, MA_LIT("h4"), 0, NOW + 4));
    check_history(ALICE, "");
    check_history(BOB, "b1 ");
}
END_TEST

START_TEST(test_password_rehash)
{
    struct ma_password_row row;
    T_OK(ma_password_set(db, ALICE, MA_LIT("old"), 2, NOW));
    T_IS(MA_E_CONFLICT, ma_password_rehash(db, ALICE, MA_LIT("other"), MA_LIT("new")));
    T_IS(MA_E_CONFLICT, ma_password_rehash(db, BOB, MA_LIT("old"), MA_LIT("new")));
    T_OK(ma_password_rehash(db, ALICE, MA_LIT("old"), MA_LIT("new")));
    T_IS(MA_E_CONFLICT, ma_password_rehash(db, ALICE, MA_LIT("old"), MA_LIT("new")));
    T_OK(ma_password_get(db, arena, ALICE, &row));
    T_STR(row.hash, "new");
    ck_assert_int_eq(row.changed_at, 0);
    check_history(ALICE, "new ");
}
END_TEST

START_TEST(test_password_delete)
{
    struct ma_password_row row;
    T_OK(ma_password_set(db, ALICE, MA_LIT("a1"), 2, NOW));
    T_OK(ma_password_set(db, BOB, MA_LIT("b1"), 2, NOW));
    T_OK(ma_password_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_password_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_password_get(db, arena, ALICE, &row));
    check_history(ALICE, "");
    check_history(BOB, "b1 ");
}
END_TEST

START_TEST(test_password_of_nobody)
{
    T_IS(MA_E_CONFLICT, ma_password_set(db, MA_LIT("auth0|nobody"), MA_LIT("h"), 2, NOW));
}
END_TEST

/* --- methods --- */

START_TEST(test_factor_names)
{
    static const char *const names[] = {"password", "passkey", "webauthn-platform", "webauthn-roaming", "totp",
                                        "phone",    "email",   "push-notification", "recovery-code"};
    ck_assert_uint_eq(MA_COUNT(names), MA_FACTOR__COUNT);
    for (int f = 0; f < MA_FACTOR__COUNT; f++) {
        ck_assert_str_eq(ma_factor_name((enum ma_factor)f), names[f]);
        ck_assert_int_eq(ma_factor_parse(ma_span_str(names[f])), f);
    }
    ck_assert_int_eq(ma_factor_parse(MA_LIT("TOTP")), MA_FACTOR__COUNT);
    ck_assert_int_eq(ma_factor_parse(MA_LIT("")), MA_FACTOR__COUNT);
    ck_assert_int_eq(ma_factor_parse(MA_LIT("totp ")), MA_FACTOR__COUNT);
}
END_TEST

static struct ma_method method(const char *id, enum ma_factor type, bool confirmed, int64_t created_at)
{
    return (struct ma_method){.id = ma_span_str(id),
                              .type = type,
                              .confirmed = confirmed,
                              .created_at = created_at,
                              .expires_at = confirmed ? 0 : created_at + 1000};
}

static void add_method(struct ma_span user, const char *id, enum ma_factor type, bool confirmed, int64_t created_at)
{
    struct ma_method m = method(id, type, confirmed, created_at);
    T_OK(ma_method_insert(db, user, &m));
}

static void check_list(struct ma_span user, int64_t now, const char *want)
{
    struct ma_method v[MA_METHODS_MAX];
    size_t n = 0;
    char got[256] = "";
    T_OK(ma_method_list(db, arena, user, now, v, MA_METHODS_MAX, &n));
    for (size_t i = 0; i < n; i++)
        (void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)v[i].id.n, (const char *)v[i].id.p);
    ck_assert_str_eq(got, want);
}

START_TEST(test_method_round_trip)
{
    static const uint8_t sealed[] = {1, 0, 255};
    struct ma_method got, m = {.id = MA_LIT("phone|dev_1"),
                               .type = MA_FACTOR_PHONE,
                               .confirmed = true,
                               .name = MA_LIT("Desk"),
                               .address = MA_LIT("+15551234567"),
                               .voice = true,
                               .secret = {sealed, sizeof(sealed)},
                               .last_step = 7,
                               .created_at = 8,
                               .last_auth_at = 9};
    T_OK(ma_method_insert(db, ALICE, &m));
    T_IS(MA_E_EXISTS, ma_method_insert(db, ALICE, &m));
    T_IS(MA_E_CONFLICT, ma_method_insert(db, MA_LIT("auth0|nobody"), &m));
    T_OK(ma_method_get(db, arena, ALICE, m.id, NOW, &got));
    T_STR(got.id, "phone|dev_1");
    ck_assert_int_eq(got.type, MA_FACTOR_PHONE);
    T_STR(got.name, "Desk");
    T_STR(got.address, "+15551234567");
    ck_assert(got.voice && got.confirmed);
    ck_assert(ma_span_eq(got.secret, m.secret));
    ck_assert_int_eq(got.last_step, 7);
    ck_assert_int_eq(got.created_at, 8);
    ck_assert_int_eq(got.last_auth_at, 9);
    ck_assert_int_eq(got.expires_at, 0);
    T_IS(MA_E_NOTFOUND, ma_method_get(db, arena, BOB, m.id, NOW, &got));
    m.type = MA_FACTOR__COUNT;
    T_IS(MA_E_INVAL, ma_method_insert(db, BOB, &m));
}
END_TEST

START_TEST(test_method_list_order)
{
    add_method(ALICE, "a", MA_FACTOR_TOTP, true, NOW + 3);
    add_method(ALICE, "c", MA_FACTOR_EMAIL, true, NOW + 1);
    add_method(ALICE, "b", MA_FACTOR_PHONE, true, NOW + 1);
    add_method(ALICE, "ba", MA_FACTOR_PHONE, true, NOW + 1);
    add_method(ALICE, "p", MA_FACTOR_TOTP, false, NOW + 2);
    add_method(BOB, "a", MA_FACTOR_TOTP, true, NOW);
    check_list(ALICE, NOW + 1001, "b ba c p a ");
    check_list(ALICE, NOW + 1002, "b ba c a ");
    check_list(BOB, NOW, "a ");
    check_list(MA_LIT("auth0|nobody"), NOW, "");
    struct ma_method v[4];
    size_t n = 0;
    T_IS(MA_E_RANGE, ma_method_list(db, arena, ALICE, NOW + 2, v, 4, &n));
    T_OK(ma_method_list(db, arena, ALICE, NOW + 1002, v, 4, &n));
    ck_assert_uint_eq(n, 4);
}
END_TEST

START_TEST(test_method_list_from_reader)
{
    struct ma_db *reader = NULL;
    struct ma_method v[4];
    size_t n = 0;
    add_method(ALICE, "a", MA_FACTOR_TOTP, true, NOW);
    T_OK(ma_db_open(path, MA_DB_READER, NULL, &reader, why));
    T_OK(ma_method_list(reader, arena, ALICE, NOW, v, 4, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_db_commit(db));
    T_OK(ma_method_list(reader, arena, ALICE, NOW, v, 4, &n));
    ck_assert_uint_eq(n, 1);
    T_IS(MA_E_IO, ma_method_delete(reader, ALICE, MA_LIT("a")));
    ma_db_close(reader);
}
END_TEST

START_TEST(test_method_confirm_once)
{
    struct ma_method got;
    struct ma_span id = MA_LIT("totp|dev_1");
    add_method(ALICE, "totp|dev_1", MA_FACTOR_TOTP, false, NOW);
    T_IS(MA_E_CONFLICT, ma_method_confirm(db, BOB, id, 5, NOW));
    T_IS(MA_E_CONFLICT, ma_method_confirm(db, ALICE, id, 5, NOW + 1000));
    T_IS(MA_E_NOTFOUND, ma_method_get(db, arena, ALICE, id, NOW + 1000, &got));
    T_IS(MA_E_CONFLICT, ma_method_update(db, ALICE, id, MA_LIT("x"), -1));
    T_OK(ma_method_confirm(db, ALICE, id, 5, NOW + 999));
    T_IS(MA_E_CONFLICT, ma_method_confirm(db, ALICE, id, 6, NOW + 999));
    T_OK(ma_method_get(db, arena, ALICE, id, NOW + 5000, &got));
    ck_assert(got.confirmed);
    ck_assert_int_eq(got.last_step, 5);
    ck_assert_int_eq(got.expires_at, 0);
}
END_TEST

START_TEST(test_totp_step_once)
{
    struct ma_method got;
    struct ma_span id = MA_LIT("totp|dev_1");
    add_method(ALICE, "totp|dev_1", MA_FACTOR_TOTP, true, NOW);
    add_method(ALICE, "email|dev_1", MA_FACTOR_EMAIL, true, NOW);
    T_OK(ma_method_totp_advance(db, ALICE, id, 10, NOW + 1, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT,
         ma_method_totp_advance(db, ALICE, id, 10, NOW + 2, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT,
         ma_method_totp_advance(db, ALICE, id, 9, NOW + 2, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT,
         ma_method_totp_advance(db, BOB, id, 11, NOW + 2, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT, ma_method_totp_advance(db, ALICE, MA_LIT("email|dev_1"), 11, NOW + 2,
                                               &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_OK(ma_method_totp_advance(db, ALICE, id, 11, NOW + 3, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_OK(ma_method_get(db, arena, ALICE, id, NOW, &got));
    ck_assert_int_eq(got.last_step, 11);
    ck_assert_int_eq(got.last_auth_at, NOW + 3);
}
END_TEST

START_TEST(test_method_update)
{
    struct ma_method got;
    struct ma_span id = MA_LIT("phone|dev_1");
    add_method(ALICE, "phone|dev_1", MA_FACTOR_PHONE, true, NOW);
    T_OK(ma_method_update(db, ALICE, id, MA_LIT("Desk"), -1));
    T_OK(ma_method_update(db, ALICE, id, MA_SPAN_NULL, 1));
    T_OK(ma_method_update(db, ALICE, id, MA_SPAN_NULL, -1));
    T_OK(ma_method_get(db, arena, ALICE, id, NOW, &got));
    T_STR(got.name, "Desk");
    ck_assert(got.voice);
    T_OK(ma_method_update(db, ALICE, id, MA_LIT("Hall"), 0));
    T_OK(ma_method_get(db, arena, ALICE, id, NOW, &got));
    T_STR(got.name, "Hall");
    ck_assert(!got.voice);
    T_IS(MA_E_CONFLICT, ma_method_update(db, BOB, id, MA_LIT("Mine"), -1));
}
END_TEST

START_TEST(test_method_delete)
{
    add_method(ALICE, "a", MA_FACTOR_TOTP, true, NOW);
    T_IS(MA_E_NOTFOUND, ma_method_delete(db, BOB, MA_LIT("a")));
    T_OK(ma_method_delete(db, ALICE, MA_LIT("a")));
    T_IS(MA_E_NOTFOUND, ma_method_delete(db, ALICE, MA_LIT("a")));
    add_method(ALICE, "b", MA_FACTOR_TOTP, true, NOW);
    add_method(ALICE, "c", MA_FACTOR_EMAIL, false, NOW);
    add_method(BOB, "d", MA_FACTOR_EMAIL, true, NOW);
    T_OK(ma_method_delete_all(db, ALICE));
    T_OK(ma_method_delete_all(db, ALICE));
    check_list(ALICE, NOW, "");
    check_list(BOB, NOW, "d ");
}
END_TEST

static void add_email(const char *id, bool confirmed, const char *address)
{
    struct ma_method m = method(id, MA_FACTOR_EMAIL, confirmed, NOW);
    m.address = ma_span_str(address);
    T_OK(ma_method_insert(db, ALICE, &m));
}

static const struct {
    const char *name;
    bool confirmed;
    const char *address, *keep, *left;
} others[] = {
    {"pending, one kept", false, NULL, "p1", "c1 c2 p1 t "},
    {"pending of an address", false, "a@x", "p3", "c1 c2 p2 p3 t "},
    {"confirmed, one kept", true, NULL, "c2", "c2 p1 p2 p3 t "},
    {"confirmed, none kept", true, NULL, NULL, "p1 p2 p3 t "},
    {"confirmed of an address", true, "b@x", NULL, "c1 p1 p2 p3 t "},
};

START_TEST(test_method_delete_others)
{
    add_email("c1", true, "a@x");
    add_email("c2", true, "b@x");
    add_email("p1", false, "a@x");
    add_email("p2", false, "b@x");
    add_email("p3", false, "a@x");
    add_method(ALICE, "t", MA_FACTOR_TOTP, true, NOW);
    add_method(BOB, "p9", MA_FACTOR_EMAIL, _i >= 2, NOW);
    T_OK(ma_method_delete_others(db, ALICE, MA_FACTOR_EMAIL, others[_i].confirmed, ma_span_str(others[_i].address),
                                 ma_span_str(others[_i].keep)));
    check_list(ALICE, NOW, others[_i].left);
    check_list(BOB, NOW, "p9 ");
}
END_TEST

/* --- enrolments --- */

static uint8_t macs[8][32];

static struct ma_span mac_of(int i)
{
    memset(macs[i], 'A' + i, sizeof(macs[i]));
    return ma_span_of(macs[i], sizeof(macs[i]));
}

static struct ma_enrolment enrolment(int i, struct ma_span user, const char *method_id)
{
    return (struct ma_enrolment){.session_mac = mac_of(i),
                                 .user_id = user,
                                 .client_id = MA_LIT("spa"),
                                 .type = MA_FACTOR_EMAIL,
                                 .method_id = ma_span_str(method_id),
                                 .code_mac = mac_of(7),
                                 .created_at = NOW,
                                 .expires_at = NOW + 1000};
}

static void add_enrolment(int i, struct ma_span user, const char *method_id)
{
    struct ma_enrolment e = enrolment(i, user, method_id);
    T_OK(ma_enrolment_insert(db, &e));
}

START_TEST(test_enrolment_round_trip)
{
    struct ma_enrolment got, e = enrolment(0, ALICE, "email|dev_1");
    T_OK(ma_enrolment_insert(db, &e));
    T_IS(MA_E_EXISTS, ma_enrolment_insert(db, &e));
    T_OK(ma_enrolment_get(db, arena, ALICE, mac_of(0), &got));
    T_STR(got.user_id, "auth0|alice");
    T_STR(got.client_id, "spa");
    T_STR(got.method_id, "email|dev_1");
    ck_assert_int_eq(got.type, MA_FACTOR_EMAIL);
    ck_assert(ma_span_eq(got.session_mac, mac_of(0)));
    ck_assert(ma_span_eq(got.code_mac, mac_of(7)));
    ck_assert_ptr_null(got.data.p);
    ck_assert_int_eq(got.attempts, 0);
    ck_assert_int_eq(got.created_at, NOW);
    ck_assert_int_eq(got.expires_at, NOW + 1000);
    ck_assert_int_eq(got.consumed_at, 0);
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, BOB, mac_of(0), &got));
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, ALICE, mac_of(1), &got));
}
END_TEST

START_TEST(test_enrolment_bad_values)
{
    struct ma_enrolment e = enrolment(0, ALICE, "m");
    e.session_mac.n = 31;
    T_IS(MA_E_CONFLICT, ma_enrolment_insert(db, &e));
    e = enrolment(0, MA_LIT("auth0|nobody"), "m");
    T_IS(MA_E_CONFLICT, ma_enrolment_insert(db, &e));
    e = enrolment(0, ALICE, "m");
    e.type = MA_FACTOR__COUNT;
    T_IS(MA_E_INVAL, ma_enrolment_insert(db, &e));
}
END_TEST

START_TEST(test_enrolment_consume_once)
{
    struct ma_enrolment got;
    int attempts = 0;
    add_enrolment(0, ALICE, "m");
    T_IS(MA_E_CONFLICT, ma_enrolment_consume(db, BOB, mac_of(0), NOW));
    T_IS(MA_E_CONFLICT, ma_enrolment_consume(db, ALICE, mac_of(0), NOW + 1000));
    T_OK(ma_enrolment_consume(db, ALICE, mac_of(0), NOW + 999));
    T_IS(MA_E_CONFLICT, ma_enrolment_consume(db, ALICE, mac_of(0), NOW + 999));
    T_IS(MA_E_CONFLICT, ma_enrolment_fail(db, ALICE, mac_of(0), 5, NOW + 999, &attempts));
    T_OK(ma_enrolment_get(db, arena, ALICE, mac_of(0), &got));
    ck_assert_int_eq(got.consumed_at, NOW + 999);
}
END_TEST

START_TEST(test_enrolment_killed_by_failures)
{
    struct ma_enrolment got;
    int attempts = 0;
    add_method(ALICE, "m", MA_FACTOR_EMAIL, false, NOW);
    add_method(ALICE, "keep", MA_FACTOR_EMAIL, false, NOW);
    add_method(BOB, "m", MA_FACTOR_EMAIL, false, NOW);
    add_enrolment(0, ALICE, "m");
    T_IS(MA_E_CONFLICT, ma_enrolment_fail(db, BOB, mac_of(0), 3, NOW, &attempts));
    T_IS(MA_E_CONFLICT, ma_enrolment_fail(db, ALICE, mac_of(0), 3, NOW + 1000, &attempts));
    for (int i = 1; i <= 2; i++) {
        T_OK(ma_enrolment_fail(db, ALICE, mac_of(0), 3, NOW, &attempts));
        ck_assert_int_eq(attempts, i);
    }
    check_list(ALICE, NOW, "keep m ");
    T_OK(ma_enrolment_fail(db, ALICE, mac_of(0), 3, NOW + 1, &attempts));
    ck_assert_int_eq(attempts, 3);
    check_list(ALICE, NOW, "keep ");
    check_list(BOB, NOW, "m ");
    T_OK(ma_enrolment_get(db, arena, ALICE, mac_of(0), &got));
    ck_assert_int_eq(got.attempts, 3);
    ck_assert_int_eq(got.consumed_at, NOW + 1);
    T_IS(MA_E_CONFLICT, ma_enrolment_fail(db, ALICE, mac_of(0), 3, NOW + 2, &attempts));
    T_IS(MA_E_CONFLICT, ma_enrolment_consume(db, ALICE, mac_of(0), NOW + 2));
}
END_TEST

START_TEST(test_enrolment_kill_spares_confirmed)
{
    int attempts = 0;
    add_method(ALICE, "m", MA_FACTOR_EMAIL, true, NOW);
    add_enrolment(0, ALICE, "m");
    T_OK(ma_enrolment_fail(db, ALICE, mac_of(0), 1, NOW, &attempts));
    check_list(ALICE, NOW, "m ");
}
END_TEST

START_TEST(test_enrolment_delete_method)
{
    struct ma_enrolment got;
    add_enrolment(0, ALICE, "m");
    add_enrolment(1, ALICE, "n");
    add_enrolment(2, BOB, "m");
    T_OK(ma_enrolment_delete_method(db, ALICE, MA_LIT("m")));
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, ALICE, mac_of(0), &got));
    T_OK(ma_enrolment_get(db, arena, ALICE, mac_of(1), &got));
    T_OK(ma_enrolment_get(db, arena, BOB, mac_of(2), &got));
}
END_TEST

START_TEST(test_expire_pending)
{
    struct ma_enrolment got;
    add_method(ALICE, "confirmed", MA_FACTOR_EMAIL, true, NOW);
    add_method(ALICE, "p1", MA_FACTOR_EMAIL, false, NOW);
    add_method(ALICE, "p2", MA_FACTOR_EMAIL, false, NOW + 1);
    add_method(BOB, "p3", MA_FACTOR_EMAIL, false, NOW + 2);
    add_enrolment(0, ALICE, "p1");
    add_enrolment(1, BOB, "p3");
    T_OK(ma_enrolment_consume(db, BOB, mac_of(1), NOW));
    ck_assert_int_eq(ma_expire_pending(db, NOW + 1000, 10), 0);
    ck_assert_int_eq(ma_expire_pending(db, NOW + 1003, 1), 2); /* one of each */
    check_list(ALICE, NOW, "confirmed p2 ");
    ck_assert_int_eq(ma_expire_pending(db, NOW + 1002, 10), 2);
    check_list(ALICE, NOW, "confirmed ");
    check_list(BOB, NOW, "p3 ");
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, ALICE, mac_of(0), &got));
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, BOB, mac_of(1), &got));
    ck_assert_int_eq(ma_expire_pending(db, NOW + 9999, 10), 1);
    ck_assert_int_eq(ma_expire_pending(db, NOW + 9999, 10), 0);
    ck_assert_int_eq(ma_expire_pending(db, NOW, 0), MA_E_INVAL);
}
END_TEST

/* --- counters --- */

static const struct ma_counter_rule hourly = {"otp_failures", 10, 3600000};

static void take(const struct ma_counter_rule *rule, int64_t now, bool allowed, int64_t remaining, int64_t retry)
{
    struct ma_counter_state s;
    T_OK(ma_counter_take(db, ALICE, rule, now, &s));
    ck_assert_int_eq(s.allowed, allowed);
    ck_assert_int_eq(s.remaining, remaining);
    ck_assert_int_eq(s.retry_after_ms, retry);
}

static void look(const struct ma_counter_rule *rule, int64_t now, bool allowed, int64_t remaining, int64_t retry)
{
    struct ma_counter_state s;
    T_OK(ma_counter_get(db, ALICE, rule, now, &s));
    ck_assert_int_eq(s.allowed, allowed);
    ck_assert_int_eq(s.remaining, remaining);
    ck_assert_int_eq(s.retry_after_ms, retry);
}

START_TEST(test_counter_over_time)
{
    struct ma_counter_state s;
    look(&hourly, NOW, true, 10, 0);
    for (int i = 9; i >= 0; i--)
        take(&hourly, NOW, true, i, 0);
    take(&hourly, NOW, false, 0, 360000);
    look(&hourly, NOW, false, 0, 360000);
    take(&hourly, NOW + 356400, false, 0, 3600);
    look(&hourly, NOW + 360000, true, 1, 0);
    take(&hourly, NOW + 360000, true, 0, 0);
    take(&hourly, NOW + 363600, false, 0, 356400);
    look(&hourly, NOW + 360000 + 1800000, true, 5, 0);
    look(&hourly, NOW + 100 * 3600000LL, true, 10, 0);
    T_OK(ma_counter_get(db, BOB, &hourly, NOW, &s));
    ck_assert_int_eq(s.remaining, 10);
    look(&(struct ma_counter_rule){"sms", 10, 3600000}, NOW, true, 10, 0);
}
END_TEST

START_TEST(test_counter_clock_back)
{
    struct ma_counter_rule one = {"one", 1, 1000};
    take(&one, NOW + 1000000, true, 0, 0);
    look(&one, NOW, false, 0, 1000);
    take(&one, NOW, false, 0, 1000); /* from here the time counts again */
    take(&one, NOW + 999, false, 0, 1);
    take(&one, NOW + 1000, true, 0, 0);
}
END_TEST

START_TEST(test_counter_limit_changes)
{
    struct ma_counter_rule r = {"r", 10, 10000};
    take(&r, NOW, true, 9, 0);
    r.limit = 2;
    look(&r, NOW, true, 2, 0);
    take(&r, NOW, true, 1, 0);
    r.limit = 10;
    look(&r, NOW, true, 1, 0);
}
END_TEST

/* Each row: the bucket, emptied, refills exactly and never past its size, nor below nothing. */
static const struct ma_counter_rule extremes[] = {
    {"largest", MA_COUNTER_LIMIT_MAX, MA_COUNTER_PERIOD_MAX_MS},
    {"large and quick", MA_COUNTER_LIMIT_MAX, 1},
    {"one in a month", 1, MA_COUNTER_PERIOD_MAX_MS},
    {"odd", 7, 999983},
};

START_TEST(test_counter_extremes)
{
    const struct ma_counter_rule *rule = &extremes[_i];
    struct ma_counter_state s;
    T_OK(ma_counter_take(db, ALICE, rule, 0, &s));
    ck_assert_int_eq(s.remaining, rule->limit - 1);
    T_OK(ma_counter_get(db, ALICE, rule, rule->period_ms - 1, &s));
    ck_assert_int_le(s.remaining, rule->limit);
    ck_assert_int_ge(s.remaining, rule->limit - 1);
    T_OK(ma_counter_get(db, ALICE, rule, INT64_MAX, &s));
    ck_assert_int_eq(s.remaining, rule->limit);
    T_OK(ma_counter_take(db, ALICE, rule, INT64_MAX, &s));
    T_OK(ma_counter_get(db, ALICE, rule, 0, &s));
    ck_assert_int_eq(s.remaining, rule->limit - 1);
}
END_TEST

START_TEST(test_counter_off_and_invalid)
{
    struct ma_counter_state s;
    struct ma_counter_rule r = {"r", 0, 0};
    for (int i = 0; i < 3; i++)
        take(&r, NOW, true, MA_COUNTER_LIMIT_MAX, 0);
    T_OK(ma_counter_take(db, MA_LIT("auth0|nobody"), &r, NOW, &s));
    r.limit = 1;
    T_IS(MA_E_INVAL, ma_counter_take(db, ALICE, &r, NOW, &s));
    r.period_ms = MA_COUNTER_PERIOD_MAX_MS + 1;
    T_IS(MA_E_INVAL, ma_counter_get(db, ALICE, &r, NOW, &s));
    r.period_ms = 1;
    T_IS(MA_E_INVAL, ma_counter_take(db, ALICE, &r, -1, &s));
    r.limit = MA_COUNTER_LIMIT_MAX + 1LL;
    T_IS(MA_E_INVAL, ma_counter_take(db, ALICE, &r, NOW, &s));
    T_IS(MA_E_CONFLICT, ma_counter_take(db, MA_LIT("auth0|nobody"), &hourly, NOW, &s));
}
END_TEST

/* --- outbox --- */

static void add_message(const char *id, int64_t created_at, int64_t next_at)
{
    struct ma_outbox_row row = {.id = ma_span_str(id),
                                .channel = MA_LIT("email"),
                                .user_id = ALICE,
                                .payload = MA_LIT("sealed"),
                                .created_at = created_at,
                                .next_at = next_at};
    T_OK(ma_outbox_insert(db, &row));
}

static void check_rows(const struct ma_outbox_row *v, size_t n, const char *want)
{
    char got[64] = "";
    for (size_t i = 0; i < n; i++)
        (void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)v[i].id.n, (const char *)v[i].id.p);
    ck_assert_str_eq(got, want);
}

START_TEST(test_outbox_due)
{
    struct ma_outbox_row v[4];
    size_t n = 0;
    int64_t next = 0;
    T_IS(MA_E_NOTFOUND, ma_outbox_next(db, &next));
    add_message("c", NOW, NOW + 1);
    add_message("a", NOW, NOW + 2);
    add_message("b", NOW, NOW + 1);
    T_OK(ma_outbox_next(db, &next));
    ck_assert_int_eq(next, NOW + 1);
    T_OK(ma_outbox_due(db, arena, NOW, v, 4, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_outbox_due(db, arena, NOW + 1, v, 4, &n));
    check_rows(v, n, "b c ");
    T_OK(ma_outbox_due(db, arena, NOW + 2, v, 2, &n));
    check_rows(v, n, "b c ");
    T_STR(v[0].channel, "email");
    T_STR(v[0].user_id, "auth0|alice");
    T_STR(v[0].payload, "sealed");
    ck_assert_int_eq(v[0].attempts, 0);
    ck_assert(!v[0].dead);
    ck_assert_ptr_null(v[0].last_error.p);
    T_OK(ma_outbox_done(db, MA_LIT("b")));
    T_IS(MA_E_NOTFOUND, ma_outbox_done(db, MA_LIT("b")));
    T_OK(ma_outbox_due(db, arena, NOW + 2, v, 4, &n));
    check_rows(v, n, "c a ");
}
END_TEST

START_TEST(test_outbox_defer)
{
    struct ma_outbox_row v[1];
    size_t n = 0;
    add_message("a", NOW, NOW);
    T_OK(ma_outbox_defer(db, MA_LIT("a"), NOW + 5));
    T_IS(MA_E_NOTFOUND, ma_outbox_defer(db, MA_LIT("b"), NOW + 5));
    T_OK(ma_outbox_due(db, arena, NOW + 4, v, 1, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_outbox_due(db, arena, NOW + 5, v, 1, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(v[0].attempts, 0);
}
END_TEST

START_TEST(test_outbox_dead_and_revived)
{
    struct ma_outbox_row v[4];
    size_t n = 0;
    int64_t next = 0;
    add_message("a", NOW + 1, NOW);
    add_message("b", NOW, NOW);
    T_OK(ma_outbox_retry(db, MA_LIT("a"), NOW + 10, false, MA_LIT("451 try later")));
    T_OK(ma_outbox_due(db, arena, NOW + 10, v, 4, &n));
    check_rows(v, n, "b a ");
    ck_assert_int_eq(v[1].attempts, 1);
    T_STR(v[1].last_error, "451 try later");
    T_OK(ma_outbox_retry(db, MA_LIT("a"), NOW + 20, true, MA_LIT("550 no")));
    T_IS(MA_E_NOTFOUND, ma_outbox_retry(db, MA_LIT("a"), NOW + 20, true, MA_SPAN_NULL));
    T_IS(MA_E_NOTFOUND, ma_outbox_defer(db, MA_LIT("a"), NOW));
    T_OK(ma_outbox_retry(db, MA_LIT("b"), NOW + 20, true, MA_SPAN_NULL));
    T_IS(MA_E_NOTFOUND, ma_outbox_next(db, &next));
    T_OK(ma_outbox_due(db, arena, INT64_MAX, v, 4, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_outbox_dead(db, arena, v, 4, &n));
    check_rows(v, n, "b a ");
    ck_assert(v[0].dead);
    T_OK(ma_outbox_revive(db, MA_LIT("a"), NOW + 30));
    T_IS(MA_E_NOTFOUND, ma_outbox_revive(db, MA_LIT("a"), NOW + 30));
    T_OK(ma_outbox_due(db, arena, NOW + 30, v, 4, &n));
    check_rows(v, n, "a ");
    ck_assert_int_eq(v[0].attempts, 0);
    T_OK(ma_outbox_revive(db, MA_SPAN_NULL, NOW + 31));
    T_OK(ma_outbox_dead(db, arena, v, 4, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_outbox_revive(db, MA_SPAN_NULL, NOW + 31));
}
END_TEST

/* --- audit --- */

static void add_audit(struct ma_span user, int64_t at)
{
    struct ma_audit_row row = {
        .at = at, .type = MA_LIT("t"), .operation = MA_LIT("create"), .user_id = user, .detail = MA_LIT("{}")};
    T_OK(ma_audit_insert(db, &row));
}

static const struct {
    const char *name;
    struct ma_span user;
    int64_t since, after;
    size_t cap;
    const char *want;
} trails[] = {
    {"all", {NULL, 0}, 0, 0, 9, "1 2 3 4 5 "},
    {"first page", {NULL, 0}, 0, 0, 2, "1 2 "},
    {"next page", {NULL, 0}, 0, 2, 2, "3 4 "},
    {"since", {NULL, 0}, NOW + 2, 0, 9, "2 4 5 "},
    {"since, next page", {NULL, 0}, NOW + 2, 2, 9, "4 5 "},
    {"since tomorrow", {NULL, 0}, NOW + 9, 0, 9, ""},
    {"of a user", {(const uint8_t *)"auth0|bob", 9}, 0, 0, 9, "2 3 "},
    {"of a user since", {(const uint8_t *)"auth0|bob", 9}, NOW + 2, 0, 9, "2 "},
    {"of a user, next page", {(const uint8_t *)"auth0|bob", 9}, 0, 2, 9, "3 "},
    {"of nobody", {(const uint8_t *)"", 0}, 0, 0, 9, ""},
};

START_TEST(test_audit_list)
{
    struct ma_audit_row v[9];
    size_t n = 0;
    char got[64] = "";
    add_audit(ALICE, NOW + 1);
    add_audit(BOB, NOW + 3);
    add_audit(BOB, NOW + 1); /* the clock went back */
    add_audit(ALICE, NOW + 2);
    add_audit(MA_SPAN_NULL, NOW + 4);
    T_OK(ma_audit_list(db, arena, trails[_i].user, trails[_i].since, trails[_i].after, v, trails[_i].cap, &n));
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%d ", (int)v[i].id);
        T_STR(v[i].type, "t");
        T_STR(v[i].operation, "create");
        T_STR(v[i].detail, "{}");
        ck_assert_ptr_null(v[i].ip.p);
    }
    ck_assert_msg(strcmp(got, trails[_i].want) == 0, "%s: %s", trails[_i].name, got);
}
END_TEST

/* --- objects --- */

START_TEST(test_objects)
{
    struct ma_object o, *v = NULL;
    size_t n = 0;
    T_OK(ma_object_list(db, arena, &v, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_object_put(db, &(struct ma_object){MA_LIT("tenant"), MA_LIT(""), MA_LIT("{\"a\":1}")}, NOW));
    T_OK(ma_object_put(db, &(struct ma_object){MA_LIT("tenant"), MA_SPAN_NULL, MA_LIT("{\"a\":2}")}, NOW));
    for (int i = 0; i < 150; i++) {
        char key[8];
        (void)snprintf(key, sizeof(key), "c%03d", 149 - i);
        T_OK(ma_object_put(db, &(struct ma_object){MA_LIT("client"), ma_span_str(key), MA_LIT("{}")}, NOW));
    }
    T_OK(ma_object_list(db, arena, &v, &n));
    ck_assert_uint_eq(n, 151);
    T_STR(v[0].key, "c000");
    T_STR(v[149].key, "c149");
    T_STR(v[150].json, "{\"a\":2}");
    T_OK(ma_object_get(db, arena, MA_LIT("tenant"), MA_LIT(""), &o));
    T_STR(o.json, "{\"a\":2}");
    T_STR(o.kind, "tenant");
    T_IS(MA_E_NOTFOUND, ma_object_get(db, arena, MA_LIT("tenant"), MA_LIT("x"), &o));
}
END_TEST

START_TEST(test_object_secrets)
{
    struct ma_span got, kind = MA_LIT("connection"), key = MA_LIT("google"), name = MA_LIT("client_secret");
    T_IS(MA_E_NOTFOUND, ma_object_secret_get(db, arena, kind, key, name, &got));
    T_OK(ma_object_secret_put(db, kind, key, name, MA_LIT("s1"), NOW));
    T_OK(ma_object_secret_put(db, kind, key, name, MA_LIT("s2"), NOW));
    T_OK(ma_object_secret_get(db, arena, kind, key, name, &got));
    T_STR(got, "s2");
    T_IS(MA_E_NOTFOUND, ma_object_secret_get(db, arena, kind, MA_LIT("other"), name, &got));
}
END_TEST

/* --- deleting a user --- */

static void own_credential(struct ma_span user, const char *method_id, int i)
{
    uint8_t bytes[64] = {(uint8_t)i};
    struct ma_credential c = {.method_id = ma_span_str(method_id),
                              .credential_id = ma_span_of(bytes, 16),
                              .public_key = MA_LIT("k"),
                              .attestation = MA_LIT("none"),
                              .rp_id = MA_LIT("example.com"),
                              .user_handle = ma_span_of(bytes, sizeof bytes)};
    T_OK(ma_user_handle_insert(db, user, c.user_handle, NOW));
    T_OK(ma_credential_insert(db, user, &c));
}

static size_t credentials_of(struct ma_span user)
{
    struct ma_credential v[4];
    size_t n = 0;
    T_OK(ma_credential_list(db, arena, user, v, 4, &n));
    return n;
}

static void own_everything(struct ma_span user, int i)
{
    struct ma_counter_state s;
    char id[8];
    (void)snprintf(id, sizeof(id), "m%d", i);
    add_method(user, id, MA_FACTOR_EMAIL, true, NOW);
    add_enrolment(i, user, id);
    own_credential(user, id, i);
    T_OK(ma_password_set(db, user, MA_LIT("h"), 2, NOW));
    T_OK(ma_counter_take(db, user, &hourly, NOW, &s));
    struct ma_outbox_row row = {.id = ma_span_str(id),
                                .channel = MA_LIT("sms"),
                                .user_id = user,
                                .payload = MA_LIT("x"),
                                .created_at = NOW,
                                .next_at = NOW};
    T_OK(ma_outbox_insert(db, &row));
    add_audit(user, NOW);
}

START_TEST(test_user_delete_cascades)
{
    struct ma_user u;
    struct ma_password_row pw;
    struct ma_enrolment e;
    struct ma_counter_state s;
    struct ma_outbox_row out[4];
    struct ma_audit_row log[4];
    size_t n = 0;
    own_everything(ALICE, 0);
    own_everything(BOB, 1);
    T_OK(ma_user_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_user_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_user_get(db, arena, ALICE, &u));
    T_IS(MA_E_NOTFOUND, ma_password_get(db, arena, ALICE, &pw));
    T_IS(MA_E_NOTFOUND, ma_enrolment_get(db, arena, ALICE, mac_of(0), &e));
    struct ma_span handle;
    ck_assert_uint_eq(credentials_of(ALICE), 0);
    ck_assert_uint_eq(credentials_of(BOB), 1);
    T_IS(MA_E_NOTFOUND, ma_user_handle_get(db, arena, ALICE, &handle));
    T_OK(ma_user_handle_get(db, arena, BOB, &handle));
    check_history(ALICE, "");
    check_list(ALICE, NOW, "");
    T_OK(ma_counter_get(db, ALICE, &hourly, NOW, &s));
    ck_assert_int_eq(s.remaining, 10);
    T_OK(ma_outbox_due(db, arena, NOW, out, 4, &n));
    check_rows(out, n, "m1 ");
    T_OK(ma_audit_list(db, arena, ALICE, 0, 0, log, 4, &n));
    ck_assert_uint_eq(n, 1);
    T_OK(ma_enrolment_get(db, arena, BOB, mac_of(1), &e));
    check_list(BOB, NOW, "m1 ");
    check_history(BOB, "h ");
    T_OK(ma_counter_get(db, BOB, &hourly, NOW, &s));
    ck_assert_int_eq(s.remaining, 9);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);
    tcase_add_checked_fixture(t, setup, teardown);
    suite_add_tcase(s, t);
    return t;
}

static Suite *suite(void)
{
    Suite *s = suite_create("store");
    TCase *t = tcase_create("query texts");
    tcase_add_loop_test(t, test_owned_rows_by_user, 0, MA_Q__COUNT);
    tcase_add_loop_test(t, test_every_where_by_user, 0, MA_Q__COUNT);
    tcase_add_test(t, test_no_other_sql);
    suite_add_tcase(s, t);
    t = tcase(s, "query plans");
    tcase_add_loop_test(t, test_query_plan, 0, MA_Q__COUNT);
    tcase_add_test(t, test_method_list_plan);
    t = tcase(s, "users");
    tcase_add_test(t, test_user_round_trip);
    tcase_add_test(t, test_user_put_keeps_what_it_owns);
    tcase_add_test(t, test_user_list_pages);
    tcase_add_test(t, test_small_arena);
    tcase_add_test(t, test_user_delete_cascades);
    t = tcase(s, "passwords");
    tcase_add_test(t, test_password_history);
    tcase_add_test(t, test_password_rehash);
    tcase_add_test(t, test_password_delete);
    tcase_add_test(t, test_password_of_nobody);
    t = tcase(s, "methods");
    tcase_add_test(t, test_factor_names);
    tcase_add_test(t, test_method_round_trip);
    tcase_add_test(t, test_method_list_order);
    tcase_add_test(t, test_method_list_from_reader);
    tcase_add_test(t, test_method_confirm_once);
    tcase_add_test(t, test_totp_step_once);
    tcase_add_test(t, test_method_update);
    tcase_add_test(t, test_method_delete);
    tcase_add_loop_test(t, test_method_delete_others, 0, MA_COUNT(others));
    t = tcase(s, "enrolments");
    tcase_add_test(t, test_enrolment_round_trip);
    tcase_add_test(t, test_enrolment_bad_values);
    tcase_add_test(t, test_enrolment_consume_once);
    tcase_add_test(t, test_enrolment_killed_by_failures);
    tcase_add_test(t, test_enrolment_kill_spares_confirmed);
    tcase_add_test(t, test_enrolment_delete_method);
    tcase_add_test(t, test_expire_pending);
    t = tcase(s, "counters");
    tcase_add_test(t, test_counter_over_time);
    tcase_add_test(t, test_counter_clock_back);
    tcase_add_test(t, test_counter_limit_changes);
    tcase_add_loop_test(t, test_counter_extremes, 0, MA_COUNT(extremes));
    tcase_add_test(t, test_counter_off_and_invalid);
    t = tcase(s, "outbox, audit, objects");
    tcase_add_test(t, test_outbox_due);
    tcase_add_test(t, test_outbox_defer);
    tcase_add_test(t, test_outbox_dead_and_revived);
    tcase_add_loop_test(t, test_audit_list, 0, MA_COUNT(trails));
    tcase_add_test(t, test_objects);
    tcase_add_test(t, test_object_secrets);
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

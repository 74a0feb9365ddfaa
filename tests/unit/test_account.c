/* SPDX-License-Identifier: Apache-2.0
 * What users see of their account: sign-ins and ending them, revocations, uses, profiles, and audit rows in plain
 * terms.
 */
#include "ma/account.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/fixture.h"
#include "ma/audit.h"
#include "ma/seen.h"

#define NOW MA_FIX_START
#define ENDS (NOW + 3600000)
#define ALICE MA_LIT(MA_FIX_ALICE)
#define BOB MA_LIT(MA_FIX_BOB)
#define FROM                                                                                                           \
    {                                                                                                                  \
        MA_LIT("192.0.2.1"), MA_LIT("Agent/1")                                                                         \
    }

static struct ma_fix f;
static struct ma_db *db;
static struct ma_arena *arena;

static void setup(void)
{
    ma_fix_open(&f, "");
    db = f.app.writer;
    arena = f.arena;
    T_OK(ma_db_begin(db));
}

static void teardown(void)
{
    ma_db_rollback(db);
    ma_fix_close(&f);
}

static void session(struct ma_span user, const char *id, int64_t created_at)
{
    uint8_t mac[32] = {0};
    memcpy(mac, id, strlen(id));
    struct ma_session s = {.id = ma_span_str(id),
                           .cookie_mac = ma_span_of(mac, sizeof mac),
                           .user_id = user,
                           .ip = MA_LIT("192.0.2.1"),
                           .created_at = created_at,
                           .used_at = created_at,
                           .idle_at = ENDS,
                           .expires_at = ENDS};
    T_OK(ma_session_insert(db, &s));
}

static void family(struct ma_span user, const char *id, const char *session_id, int64_t created_at)
{
    static const uint8_t salt[32];
    struct ma_family fam = {.id = ma_span_str(id),
                            .user_id = user,
                            .client_id = MA_LIT("spa"),
                            .session_id = ma_span_str(session_id),
                            .audience = MA_LIT("https://api.example/"),
                            .scope = MA_LIT("openid"),
                            .salt = ma_span_of(salt, sizeof salt),
                            .generation = 1,
                            .created_at = created_at,
                            .used_at = created_at,
                            .expires_at = ENDS,
                            .from = FROM};
    T_OK(ma_family_insert(db, &fam));
}

/* The ids of a list, blank-separated, a page at a time. */
static const char *ids_of(struct ma_span user, int64_t now, size_t take)
{
    struct ma_signin_row v[8], after = {.id = MA_SPAN_NULL};
    struct ma_buf b;
    size_t n = take;
    ma_buf_init_arena(&b, arena, 128, 4096);
    while (n == take) {
        T_OK(ma_signin_list(db, arena, user, now, &after, v, take, &n));
        for (size_t i = 0; i < n; i++)
            ma_buf_printf(&b, "%s%.*s", b.n ? " " : "", (int)v[i].id.n, (const char *)v[i].id.p);
        if (n)
            after = v[n - 1];
    }
    ma_buf_byte(&b, 0);
    T_OK(ma_buf_err(&b));
    return (const char *)b.p;
}

static bool revoked(struct ma_span user, const char *sid, const char *client, const char *audience, int64_t iat_ms,
                    int64_t now)
{
    struct ma_access t = {user,         MA_LIT("j"), ma_span_str(sid), ma_span_str(client), ma_span_str(audience),
                          iat_ms / 1000};
    bool ret = false;
    T_OK(ma_revoked(db, &t, now, &ret));
    return ret;
}

static int64_t revoked_at(const char *id)
{
    struct ma_family got;
    T_OK(ma_family_get(db, arena, ma_span_str(id), &got));
    return got.revoked_at;
}

START_TEST(sign_ins_newest_first)
{
    session(ALICE, "ses_a", NOW + 1);
    session(ALICE, "ses_b", NOW + 3);
    session(BOB, "ses_c", NOW + 9);
    family(ALICE, "fam1", "ses_a", NOW + 2);
    family(ALICE, "fam2", NULL, NOW + 3);
    family(BOB, "fam3", NULL, NOW + 4);
    for (size_t take = 1; take <= 5; take++)
        ck_assert_str_eq(ids_of(ALICE, NOW + 10, take), "ses_b fam2 fam1 ses_a");
    ck_assert_str_eq(ids_of(BOB, NOW + 10, 2), "ses_c fam3");
    ck_assert_str_eq(ids_of(ALICE, ENDS, 2), "");
    T_OK(ma_family_revoke(db, ALICE, MA_LIT("fam1"), NOW + 5));
    ck_assert_str_eq(ids_of(ALICE, NOW + 10, 3), "ses_b fam2 ses_a");
    struct ma_signin_row v[1], after = {.id = MA_SPAN_NULL};
    size_t n = 0;
    T_OK(ma_signin_list(db, arena, BOB, NOW + 10, &(struct ma_signin_row){.id = MA_LIT("ses_c"), .created_at = NOW + 9},
                        v, 1, &n));
    ck_assert(n == 1 && v[0].is_family && !v[0].session_id.p);
    T_STR(v[0].client_id, "spa");
    T_STR(v[0].from.user_agent, "Agent/1");
    T_OK(ma_signin_list(db, arena, BOB, NOW + 10, &after, v, 0, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(a_session_ends_with_what_hangs_on_it)
{
    session(ALICE, "ses_a", NOW);
    session(ALICE, "ses_b", NOW);
    family(ALICE, "fam1", "ses_a", NOW);
    family(ALICE, "fam2", "ses_b", NOW);
    T_IS(MA_E_NOTFOUND, ma_signin_end_session(db, BOB, MA_LIT("ses_a"), NOW + 5));
    ck_assert_int_eq(revoked_at("fam1"), 0);
    T_OK(ma_signin_end_session(db, ALICE, MA_LIT("ses_a"), NOW + 5));
    ck_assert_int_eq(revoked_at("fam1"), NOW + 5);
    ck_assert_int_eq(revoked_at("fam2"), 0);
    ck_assert(revoked(ALICE, "ses_a", "spa", "x", NOW, NOW + 6));
    ck_assert(!revoked(ALICE, "ses_b", "spa", "x", NOW, NOW + 6));
    ck_assert(!revoked(BOB, "ses_a", "spa", "x", NOW, NOW + 6));
    T_IS(MA_E_NOTFOUND, ma_signin_end_session(db, ALICE, MA_LIT("ses_a"), NOW + 7));
}
END_TEST

START_TEST(a_refresh_token_ends_with_its_clients_tokens)
{
    session(ALICE, "ses_a", NOW);
    family(ALICE, "fam1", "ses_a", NOW);
    family(ALICE, "fam2", NULL, NOW);
    const int64_t then = NOW + 5000;
    T_IS(MA_E_NOTFOUND, ma_signin_end_family(db, arena, BOB, MA_LIT("fam1"), then));
    T_IS(MA_E_NOTFOUND, ma_signin_end_family(db, arena, ALICE, MA_LIT("fam9"), then));
    T_IS(MA_E_NOTFOUND, ma_signin_end_family(db, arena, ALICE, MA_LIT("fam1"), ENDS));
    T_OK(ma_signin_end_family(db, arena, ALICE, MA_LIT("fam1"), then));
    T_IS(MA_E_NOTFOUND, ma_signin_end_family(db, arena, ALICE, MA_LIT("fam1"), then));
    ck_assert(revoked(ALICE, "ses_a", "spa", "x", NOW, then + 1));
    ck_assert_msg(!revoked(ALICE, "ses_a", "other", "x", NOW, then + 1), "another client's");
    ck_assert_msg(!revoked(ALICE, "ses_a", "spa", "x", then + 1000, then + 1001), "one issued later");
    ck_assert_str_eq(ids_of(ALICE, then, 4), "ses_a fam2");
    T_OK(ma_signin_end_family(db, arena, ALICE, MA_LIT("fam2"), then));
    ck_assert(revoked(ALICE, "fam2", "spa", "x", NOW, then + 1));
}
END_TEST

START_TEST(revocations_by_audience)
{
    T_OK(ma_revoke_audience(db, ALICE, MA_LIT("spa"), MA_LIT("https://api.example/"), NOW + 1000));
    ck_assert(revoked(ALICE, "s", "spa", "https://api.example/", NOW, NOW + 2000));
    ck_assert(!revoked(ALICE, "s", "spa", "https://other.example/", NOW, NOW + 2000));
    ck_assert(!revoked(ALICE, "s", "spa", "", NOW, NOW + 2000));
    ck_assert(!revoked(ALICE, "s", "other", "https://api.example/", NOW, NOW + 2000));
    ck_assert(!revoked(BOB, "s", "spa", "https://api.example/", NOW, NOW + 2000));
    ck_assert(!revoked(ALICE, NULL, "spa", "https://api.example/", NOW + 2000, NOW + 2000));
    T_OK(ma_revoke_audience(db, ALICE, MA_LIT("spa"), MA_LIT("https://api.example/"), NOW + 5000));
    ck_assert_msg(revoked(ALICE, "s", "spa", "https://api.example/", NOW + 3000, NOW + 6000), "withdrawn again");
    T_OK(ma_revoke_audience(db, ALICE, MA_LIT("spa"), MA_LIT(""), NOW + 5000));
    ck_assert(revoked(ALICE, NULL, "spa", "", NOW, NOW + 6000));
    family(ALICE, "fam1", NULL, NOW);
    ck_assert_int_eq(ma_families_revoke_audience(db, ALICE, MA_LIT("spa"), MA_LIT("https://other.example/"), NOW), 0);
    ck_assert_int_eq(ma_families_revoke_audience(db, BOB, MA_LIT("spa"), MA_LIT("https://api.example/"), NOW), 0);
    ck_assert_int_eq(ma_families_revoke_audience(db, ALICE, MA_LIT("spa"), MA_LIT("https://api.example/"), NOW), 1);
}
END_TEST

START_TEST(others_end_and_a_refresh_token_by_itself_stays)
{
    struct ma_signins_ended ended;
    session(ALICE, "ses_a", NOW);
    family(ALICE, "fam1", "ses_a", NOW);
    family(ALICE, "fam2", NULL, NOW);
    family(ALICE, "fam3", NULL, NOW);
    T_OK(ma_signins_end(db, ALICE, MA_LIT("fam2"), NOW + 5, &ended));
    ck_assert(ended.sessions == 1 && ended.families == 2);
    ck_assert_str_eq(ids_of(ALICE, NOW + 6, 3), "fam2");
    ck_assert(revoked(ALICE, "ses_a", "spa", "x", NOW, NOW + 6) && revoked(ALICE, "fam3", "spa", "x", NOW, NOW + 6));
    ck_assert(!revoked(ALICE, "fam2", "spa", "x", NOW, NOW + 6));
}
END_TEST

/* --- uses --- */

static int64_t used_at(struct ma_span user, const char *id)
{
    struct ma_signin_row v[8], after = {.id = MA_SPAN_NULL};
    size_t n = 0;
    T_OK(ma_signin_list(db, arena, user, NOW + 5, &after, v, 8, &n));
    for (size_t i = 0; i < n; i++)
        if (ma_span_eq_str(v[i].id, id))
            return v[i].used_at;
    return -1;
}

START_TEST(uses_are_written_together)
{
    struct ma_seen *s = NULL;
    T_OK(ma_seen_new(&s));
    session(ALICE, "ses_a", NOW);
    family(ALICE, "fam1", "ses_a", NOW);
    family(ALICE, "fam2", NULL, NOW);
    ma_seen_note(s, ALICE, MA_LIT("ses_a"), MA_LIT("spa"), NOW + 100000);
    ma_seen_note(s, ALICE, MA_LIT("ses_a"), MA_LIT("spa"), NOW + 100000 + MA_SEEN_STEP_MS - 1);
    ck_assert_int_eq(ma_seen_at(s, ALICE, MA_LIT("ses_a"), MA_LIT("spa")), NOW + 100000);
    ck_assert_int_eq(ma_seen_at(s, ALICE, MA_LIT("ses_a"), MA_SPAN_NULL), NOW + 100000);
    ck_assert_int_eq(ma_seen_at(s, BOB, MA_LIT("ses_a"), MA_LIT("spa")), 0);
    ck_assert_int_eq(ma_seen_at(s, ALICE, MA_LIT("ses_a"), MA_LIT("other")), 0);
    ck_assert_int_eq(used_at(ALICE, "ses_a"), NOW);
    ck_assert_int_eq(ma_seen_flush(s, db, 1), 1);
    ck_assert_int_eq(ma_seen_flush(s, db, 10), 1);
    ck_assert_int_eq(ma_seen_flush(s, db, 10), 0);
    ck_assert_int_eq(used_at(ALICE, "ses_a"), NOW + 100000);
    ck_assert_int_eq(used_at(ALICE, "fam1"), NOW + 100000);
    ck_assert_int_eq(used_at(ALICE, "fam2"), NOW);
    ma_seen_note(s, ALICE, MA_LIT("fam2"), MA_LIT("spa"), NOW + 200000);
    ma_seen_note(s, BOB, MA_LIT("fam2"), MA_LIT("spa"), NOW + 900000);
    ck_assert_int_eq(ma_seen_flush(s, db, 10), 4);
    ck_assert_int_eq(used_at(ALICE, "fam2"), NOW + 200000);
    T_OK(ma_signin_used(db, ALICE, MA_LIT("ses_a"), MA_SPAN_NULL, NOW + 1));
    ck_assert_msg(used_at(ALICE, "ses_a") == NOW + 100000, "it never goes back");
    ma_seen_free(s);
}
END_TEST

START_TEST(uses_without_room)
{
    struct ma_seen *s = NULL;
    char sid[MA_SEEN_SID_MAX + 8];
    T_OK(ma_seen_new(&s));
    memset(sid, 'x', sizeof sid);
    ma_seen_note(s, ALICE, ma_span_of(sid, MA_SEEN_SID_MAX + 1), MA_LIT("spa"), NOW);
    ck_assert_int_eq(ma_seen_flush(s, db, 10), 0);
    ma_seen_note(s, ALICE, ma_span_of(sid, MA_SEEN_SID_MAX), MA_LIT("spa"), NOW);
    ma_seen_note(s, ALICE, MA_LIT(""), MA_LIT("spa"), NOW);
    ma_seen_note(s, ALICE, MA_LIT("a"), MA_SPAN_NULL, NOW);
    ma_seen_note(NULL, ALICE, MA_LIT("a"), MA_LIT("spa"), NOW);
    ck_assert_int_eq(ma_seen_flush(s, db, 10), 2);
    for (int i = 0; i < 3 * MA_SEEN_MAX; i++) {
        (void)snprintf(sid, sizeof sid, "ses_%d", i);
        ma_seen_note(s, ALICE, ma_span_str(sid), MA_LIT("spa"), NOW + i);
    }
    int n = ma_seen_flush(s, db, 2 * MA_SEEN_MAX);
    ck_assert(n > MA_SEEN_MAX / 2 && n <= MA_SEEN_MAX);
    ma_seen_note(s, ALICE, MA_LIT("later"), MA_LIT("spa"), NOW + 9999);
    ck_assert_msg(ma_seen_flush(s, db, 10) == 2, "written ones give way");
    ma_seen_free(s);
}
END_TEST

static void *note_many(void *arg)
{
    char sid[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(sid, sizeof sid, "ses_%d", i % 50);
        ma_seen_note(arg, ALICE, ma_span_str(sid), MA_LIT("spa"), NOW + i * 1000);
        (void)ma_seen_at(arg, ALICE, ma_span_str(sid), MA_LIT("spa"));
    }
    return NULL;
}

START_TEST(uses_from_many_threads)
{
    struct ma_seen *s = NULL;
    pthread_t t[3];
    T_OK(ma_seen_new(&s));
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, note_many, s), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_ge(ma_seen_flush(s, db, 50), 0);
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    ma_seen_free(s);
}
END_TEST

/* --- profiles --- */

START_TEST(profiles)
{
    struct ma_profile got, p = {.name = MA_LIT("A"), .nickname = MA_LIT("a"), .user_metadata = MA_LIT("{\"k\":1}")};
    struct ma_user u;
    T_OK(ma_profile_put(db, ALICE, &p, NOW + 7));
    T_OK(ma_profile_get(db, arena, ALICE, &got));
    T_STR(got.name, "A");
    T_STR(got.nickname, "a");
    T_STR(got.user_metadata, "{\"k\":1}");
    ck_assert(!got.given_name.p && !got.family_name.p && !got.picture.p);
    T_OK(ma_user_get(db, arena, ALICE, &u));
    T_STR(u.nickname, "a");
    ck_assert_int_eq(u.updated_at, NOW + 7);
    T_OK(ma_user_put(db, &u));
    T_OK(ma_profile_get(db, arena, ALICE, &got));
    T_STR(got.nickname, "a");
    T_IS(MA_E_NOTFOUND, ma_profile_put(db, MA_LIT("auth0|nobody"), &p, NOW));
    T_IS(MA_E_NOTFOUND, ma_profile_get(db, arena, MA_LIT("auth0|nobody"), &got));
}
END_TEST

/* --- audit rows in plain terms --- */

static const struct {
    const char *type, *operation, *detail, *is, *outcome, *factor, *connection;
    bool by_operator;
} told[] = {
    {"s", NULL, "{\"user_name\":\"x\"}", "sign_in", "success", NULL, NULL, false},
    {"fp", NULL, NULL, "sign_in", "failure", NULL, NULL, false},
    {"my_account_authentication_method_succeeded", "verify", "{\"authentication_method\":\"totp\"}", "factor_added",
     "success", "totp", NULL, false},
    {"my_account_authentication_method_succeeded", "verify", "{\"authentication_method\":\"password\"}",
     "password_changed", "success", "password", NULL, false},
    {"my_account_authentication_method_succeeded", "delete",
     "{\"authentication_method\":\"totp\",\"actor\":\"operator\",\"uid\":0}", "factor_removed", "success", "totp", NULL,
     true},
    {"my_account_authentication_method_failed", "create", "{\"error\":{\"detail\":\"x\"}}", "factor_added", "failure",
     NULL, NULL, false},
    {"my_account_session_succeeded", "delete_others", NULL, "sign_out", "success", NULL, NULL, false},
    {"connected_accounts_connection_succeeded", NULL, "{\"connection\":\"acme\",\"connected_account\":{\"id\":\"c\"}}",
     "account_connected", "success", NULL, "acme", false},
    {"gd_auth_failed", NULL, "{\"authenticator\":{\"type\":\"phone\"}}", "second_factor", "failure", "phone", NULL,
     false},
    {"gd_auth_failed", NULL, "{\"authenticator\":7", "second_factor", "failure", NULL, NULL, false},
    {"sapi", "apply", "{\"actor\":\"operator\"}", NULL, NULL, NULL, NULL, false},
    {"sdu", NULL, NULL, NULL, NULL, NULL, NULL, false},
    {"my_account_authentication_method_succeeded", "unheard_of", NULL, NULL, NULL, NULL, NULL, false},
    {"", NULL, NULL, NULL, NULL, NULL, NULL, false},
};

START_TEST(activity)
{
    struct ma_activity a;
    struct ma_audit_row row = {.type = ma_span_str(told[_i].type),
                               .operation = ma_span_str(told[_i].operation),
                               .detail = ma_span_str(told[_i].detail)};
    bool shown = ma_activity_of(arena, &row, &a);
    ck_assert(shown == (told[_i].is != NULL));
    if (!shown)
        return;
    ck_assert_str_eq(a.type, told[_i].is);
    ck_assert_str_eq(a.outcome, told[_i].outcome);
    ck_assert(a.by_operator == told[_i].by_operator && strlen(a.text) > 10);
    ck_assert(ma_span_eq(a.factor, ma_span_str(told[_i].factor)));
    ck_assert(ma_span_eq(a.connection, ma_span_str(told[_i].connection)));
    ck_assert_uint_lt(ma_activity_type(ma_span_str(a.type)), MA_ACTIVITY_TYPES_MAX);
}
END_TEST

START_TEST(activity_types)
{
    size_t n = 0;
    const struct ma_audit_event *e = ma_audit_events(&n);
    ck_assert_uint_eq(ma_activity_type(MA_LIT("nothing")), MA_ACTIVITY_TYPES_MAX);
    ck_assert_uint_eq(ma_activity_type(MA_LIT("")), MA_ACTIVITY_TYPES_MAX);
    /* A new type of audit row is decided on: shown to its user, or named here. */
    static const char *const hidden[] = {"fu", "sdu", "sapi"};
    for (size_t i = 0; i < n; i++) {
        struct ma_activity a;
        struct ma_audit_row row = {.type = ma_span_str(e[i].type), .operation = MA_LIT("delete")};
        bool is_hidden = false;
        for (size_t k = 0; k < MA_COUNT(hidden); k++)
            is_hidden |= strcmp(hidden[k], e[i].type) == 0;
        ck_assert_msg(ma_activity_of(arena, &row, &a) != is_hidden, "%s", e[i].type);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("account");
    TCase *t = tcase_create("account");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, sign_ins_newest_first);
    tcase_add_test(t, a_session_ends_with_what_hangs_on_it);
    tcase_add_test(t, a_refresh_token_ends_with_its_clients_tokens);
    tcase_add_test(t, revocations_by_audience);
    tcase_add_test(t, others_end_and_a_refresh_token_by_itself_stays);
    tcase_add_test(t, uses_are_written_together);
    tcase_add_test(t, uses_without_room);
    tcase_add_test(t, uses_from_many_threads);
    tcase_add_test(t, profiles);
    tcase_add_loop_test(t, activity, 0, (int)MA_COUNT(told));
    tcase_add_test(t, activity_types);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Setting and changing the password on a real database, without HTTP: sessions, rules, history, upgrades.
 */
#include "../support/fixture.h"
#include "ma/methods.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/crypto.h"

#define SESSION_TEXT "Invalid or expired session"

static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_method_view view;

static void as(const char *user, const char *client)
{
    ctx = ma_fix_request(&f, user, client);
}

static void setup(void)
{
    ma_fix_open(&f, "");
    as(MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static size_t listed(void)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    T_OK(ma_methods_list(ctx, v, &n));
    return n;
}

static const char *start_password(void)
{
    static char session[MA_SESSION_LEN + 1];
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_password(ctx, MA_SPAN_NULL, MA_SPAN_NULL, &e)));
    T_STR(e.id, "password|new");
    (void)snprintf(session, sizeof session, "%s", e.auth_session);
    return session;
}

static struct ma_new_password fresh;

static int prepare(const char *session, const char *password)
{
    (void)ma_fix_again(&f);
    fresh = (struct ma_new_password){.history = 0};
    return ma_password_prepare(ctx, ma_span_str(session), ma_span_str(password), &fresh);
}

static int change(const char *password)
{
    int r = prepare(start_password(), password);
    return r == MA_OK ? MA_FIX_WRITE(&f, ma_password_change(ctx, &fresh, &view)) : r;
}

static const struct {
    const char *name, *user, *connection, *identity;
    int status; /* 0: started */
    const char *pointer;
} password_starts[] = {
    {"neither", MA_FIX_ALICE, NULL, NULL, 0, NULL},
    {"both", MA_FIX_ALICE, "db", "auth0|alice", 0, NULL},
    {"bare identity", MA_FIX_ALICE, NULL, "alice", 0, NULL},
    {"another connection", MA_FIX_ALICE, "other", NULL, 400, "/connection"},
    {"another identity", MA_FIX_ALICE, NULL, "auth0|bob", 400, "/identity_user_id"},
    {"part of the identity", MA_FIX_ALICE, NULL, "alic", 400, "/identity_user_id"},
    {"no database identity", MA_FIX_CAROL, NULL, NULL, 400, NULL},
};

START_TEST(test_password_start)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    as(password_starts[_i].user, "spa");
    int r = MA_FIX_WRITE(&f, ma_enrol_password(ctx, ma_span_str(password_starts[_i].connection),
                                               ma_span_str(password_starts[_i].identity), &e));
    if (password_starts[_i].status) {
        char pointer[64];
        ma_fix_expect_problem(&f, r, password_starts[_i].status, NULL, password_starts[_i].name);
        (void)snprintf(pointer, sizeof pointer, "\"pointer\":\"%s\"", password_starts[_i].pointer);
        ck_assert_msg(!password_starts[_i].pointer || ma_fix_body_has(&f, pointer), "%s", password_starts[_i].name);
        return;
    }
    ck_assert_msg(r == MA_OK, "%s: %s", password_starts[_i].name, ma_err_name(r));
    ck_assert_int_eq(e.policy->min_length, 8);
    ck_assert_uint_eq(listed(), 0); /* a pending password is not listed */
}
END_TEST

START_TEST(test_password_flow)
{
    T_OK(change("Correct-horse-7"));
    T_STR(view.id, "password|YXV0aDB8YWxpY2U");
    T_STR(view.identity_user_id, MA_FIX_ALICE);
    ck_assert_int_eq(view.created_at, MA_FIX_START);
    ck_assert_int_eq(view.last_password_reset, 0); /* set, not changed */
    ck_assert(ctx->user_changed);
    ck_assert_uint_eq(listed(), 1);
    struct ma_password_row row;
    T_OK(ma_password_get(ctx->db, f.arena, ctx->who.user_id, &row));
    T_OK(ma_password_verify((const char *)row.hash.p, MA_LIT("Correct-horse-7")));
    ma_fix_advance(&f, 5000);
    T_OK(change("Correct-horse-8"));
    ck_assert_int_eq(view.last_password_reset, MA_FIX_START + 5000);
    ck_assert_uint_eq(listed(), 1);
}
END_TEST

static const struct {
    const char *name, *password;
    const char *errors[3]; /* parts of them */
} rules[] = {
    {"too short", "a1b2c3", {"at least 8 characters", NULL, NULL}},
    {"no number", "correct-horse", {"a number", NULL, NULL}},
    {"two rules at once", "HORSE", {"at least 8 characters", "a lowercase letter", "a number"}},
    {"the name inside", "alice liddell 7", {"profile", NULL, NULL}},
    {"the address inside", "x-ALICE@EXAMPLE.COM-7", {"profile", NULL, NULL}},
    {"a common one", "password1", {"common password", NULL, NULL}},
    {"used before", "Correct-horse-7", {"used before", NULL, NULL}},
};

START_TEST(test_password_rules)
{
    ma_fix_give_password(&f, "Correct-horse-7");
    const char *session = start_password();
    ma_fix_expect_problem(&f, prepare(session, rules[_i].password), 400, "Invalid request payload input",
                          rules[_i].name);
    for (size_t i = 0; i < 3 && rules[_i].errors[i]; i++)
        ck_assert_msg(ma_fix_body_has(&f, rules[_i].errors[i]), "%s: %.*s", rules[_i].name, (int)ctx->resp.body.n,
                      (const char *)ctx->resp.body.p);
    ck_assert(ma_fix_body_has(&f, "\"field\":\"new_password\"") &&
              ma_fix_body_has(&f, "\"pointer\":\"/new_password\""));
    ck_assert(!ma_fix_body_has(&f, rules[_i].password));
    T_OK(prepare(session, "Better-horse-8")); /* the session is still good */
}
END_TEST

START_TEST(test_password_history)
{
    ma_fix_give_password(&f, "Correct-horse-1"); /* the policy remembers two, the initial one included */
    T_OK(change("Correct-horse-2"));
    T_PROBLEM(&f, 400, NULL, change("Correct-horse-1"));
    T_PROBLEM(&f, 400, NULL, change("Correct-horse-2"));
    T_OK(change("Correct-horse-3"));
    T_OK(change("Correct-horse-1")); /* forgotten */
    ma_fix_apply(&f, "{\"connections\":[{\"name\":\"db\",\"password_policy\":{\"history\":{\"active\":false}}}]}");
    as(MA_FIX_ALICE, "spa");
    T_OK(change("Correct-horse-1"));
}
END_TEST

START_TEST(test_password_session)
{
    char session[MA_SESSION_LEN + 1];
    (void)snprintf(session, sizeof session, "%s", start_password());
    T_PROBLEM(&f, 400, SESSION_TEXT, prepare("x", "Correct-horse-7"));
    as(MA_FIX_ALICE, "other");
    T_PROBLEM(&f, 400, SESSION_TEXT, prepare(session, "Correct-horse-7"));
    as(MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 400, SESSION_TEXT, prepare(session, "Correct-horse-7"));
    as(MA_FIX_ALICE, "spa");
    T_OK(prepare(session, "Correct-horse-7"));
    struct ma_new_password first = fresh;
    T_OK(prepare(session, "Correct-horse-8")); /* two at once: both hashed, one wins */
    T_OK(MA_FIX_WRITE(&f, ma_password_change(ctx, &first, &view)));
    T_PROBLEM(&f, 400, SESSION_TEXT, MA_FIX_WRITE(&f, ma_password_change(ctx, &fresh, &view)));
    T_PROBLEM(&f, 400, SESSION_TEXT, prepare(session, "Correct-horse-9"));
    struct ma_password_row row;
    T_OK(ma_password_get(ctx->db, f.arena, ctx->who.user_id, &row));
    T_OK(ma_password_verify((const char *)row.hash.p, MA_LIT("Correct-horse-7")));
}
END_TEST

START_TEST(test_password_session_expires)
{
    char session[MA_SESSION_LEN + 1];
    (void)snprintf(session, sizeof session, "%s", start_password());
    ma_fix_advance(&f, 600 * 1000 - 1);
    T_OK(prepare(session, "Correct-horse-7"));
    ma_fix_advance(&f, 1); /* while it was hashed */
    T_PROBLEM(&f, 400, SESSION_TEXT, MA_FIX_WRITE(&f, ma_password_change(ctx, &fresh, &view)));
    T_PROBLEM(&f, 400, SESSION_TEXT, prepare(session, "Correct-horse-7"));
    ck_assert_uint_eq(listed(), 0);
}
END_TEST

/* The current password with weaker parameters is refused as used before, and its string gives way to a better one. */
START_TEST(test_refused_password_upgrades_its_hash)
{
    struct ma_password_row row;
    ma_fix_give_password(&f, "Correct-horse-7");
    T_PROBLEM(&f, 400, NULL, prepare(start_password(), "Correct-horse-7"));
    ck_assert_int_ne(fresh.old_hash[0], 0);
    T_IS(MA_E_PROBLEM, MA_FIX_WRITE(&f, (ma_audit_on_failure(ctx, "verify", "password", MA_LIT("password|new")),
                                         ma_password_refused(ctx, &fresh))));
    T_OK(ma_password_get(ctx->db, f.arena, ctx->who.user_id, &row));
    ck_assert(!ma_password_needs_rehash((const char *)row.hash.p, MA_ARGON2_DEFAULT));
    T_OK(ma_password_verify((const char *)row.hash.p, MA_LIT("Correct-horse-7")));
    ck_assert_int_eq(row.changed_at, 0);
    T_PROBLEM(&f, 400, NULL, prepare(start_password(), "Correct-horse-7")); /* still the same password */
    ck_assert_int_eq(fresh.old_hash[0], 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("methods_password");
    TCase *tc = tcase_create("passwords");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_password_start, 0, (int)MA_COUNT(password_starts));
    tcase_add_test(tc, test_password_flow);
    tcase_add_loop_test(tc, test_password_rules, 0, (int)MA_COUNT(rules));
    tcase_add_test(tc, test_password_history);
    tcase_add_test(tc, test_password_session);
    tcase_add_test(tc, test_password_session_expires);
    tcase_add_test(tc, test_refused_password_upgrades_its_hash);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

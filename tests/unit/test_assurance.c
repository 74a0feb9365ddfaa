/* SPDX-License-Identifier: Apache-2.0
 * The assurance decision, row by row, and what tokens say about how a user signed in.
 */
#include "ma/assurance.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW 1764000000000
#define S 1000
#define WINDOW (900 * S)
#define TOTP (1u << MA_FACTOR_TOTP)
#define MAIL (1u << MA_FACTOR_EMAIL)
#define PHONE (1u << MA_FACTOR_PHONE)
#define PASSKEY (1u << MA_FACTOR_PASSKEY)
#define ANY 0xffffffffu /* enrolling: every second factor */
#define PWD MA_AMR_PWD
#define OTP (MA_AMR_PWD | MA_AMR_OTP | MA_AMR_MFA)
#define KEY (MA_AMR_PASSKEY | MA_AMR_UV)

/* Ages in ms, negative in the future; -1: never. until: age of the proof that bounds the token, -1: no bound. */
struct row {
    const char *name;
    bool login;
    uint32_t factors, amr;
    int64_t auth_age, mfa_age;
    enum ma_assurance_verdict want;
    uint32_t want_factors;
    bool offer;
    int64_t until;
};

static int64_t at(int64_t age)
{
    return age == -1 ? 0 : NOW - age;
}

static struct ma_assurance_in input(const struct row *r)
{
    return (struct ma_assurance_in){
        .login = r->login,
        .factors = r->factors,
        .authn = {.auth_at = at(r->auth_age), .mfa_at = at(r->mfa_age), .amr = r->amr},
        .passkey_satisfies = true,
        .window_ms = WINDOW,
        .now_ms = NOW,
    };
}

static void decide(const struct row *r, const struct ma_assurance_in *in, int64_t window)
{
    struct ma_assurance_out out = ma_assurance_decide(in);
    ck_assert_msg(out.verdict == r->want, "%s: verdict %d", r->name, out.verdict);
    bool right = r->want_factors == ANY ? (out.factors & TOTP) && (out.factors & PASSKEY) && (out.factors & MAIL) &&
                                              !(out.factors & 1u << MA_FACTOR_RECOVERY)
                                        : out.factors == r->want_factors;
    ck_assert_msg(right, "%s: factors %x", r->name, out.factors);
    ck_assert_msg(out.offer == r->offer, "%s: offer", r->name);
    int64_t until = r->want == MA_ASSURED && r->until != -1 ? NOW - r->until + window : 0;
    ck_assert_msg(out.token_until_ms == until, "%s: until %lld", r->name, (long long)out.token_until_ms);
}

/* --- wire contract 6.2 --- */

static const struct row by_default[] = {
    {"factor, login, password only", true, TOTP | MAIL, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP | MAIL, false, -1},
    {"factor, login, just shown", true, TOTP, OTP, 0, 0, MA_ASSURED, 0, false, 0},
    {"verified e-mail, login", true, MAIL, PWD, 0, -1, MA_ASSURE_CHALLENGE, MAIL, false, -1},
    {"factor, session, shown in time", true, TOTP, OTP, 3600 * S, 60 * S, MA_ASSURED, 0, false, 60 * S},
    {"factor, refresh within", false, TOTP, OTP, 3600 * S, 899 * S, MA_ASSURED, 0, false, 899 * S},
    {"factor, refresh at the end", false, TOTP, OTP, 3600 * S, WINDOW, MA_ASSURED, 0, false, WINDOW},
    {"factor, refresh past the end", false, TOTP, OTP, 3600 * S, WINDOW + 1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"factor, refresh, login is fresh", false, TOTP, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"factor, mfa_at without its bit", false, TOTP, PWD, 0, 1 * S, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"factor, recovery code", false, TOTP, PWD | MA_AMR_RECOVERY | MA_AMR_MFA, 9 * S, 5 * S, MA_ASSURED, 0, false,
     5 * S},
    {"passkey only, without verification", true, PASSKEY, MA_AMR_PASSKEY, 0, -1, MA_ASSURED, 0, true, 0},
    {"passkey alone, verified, login", true, PASSKEY, KEY, 0, -1, MA_ASSURED, 0, false, 0},
    {"none, login", true, 0, PWD, 0, -1, MA_ASSURED, 0, true, 0},
    {"none, refresh within", false, 0, PWD, 899 * S, -1, MA_ASSURED, 0, false, 899 * S},
    {"none, refresh at the end", false, 0, PWD, WINDOW, -1, MA_ASSURED, 0, false, WINDOW},
    {"none, refresh past the end", false, 0, PWD, WINDOW + 1, -1, MA_ASSURE_UNMET, 0, false, -1},
    {"none, login that took too long", true, 0, PWD, WINDOW + 1, -1, MA_ASSURE_UNMET, 0, false, -1},
    {"none any more, shown in time", false, 0, OTP, 3600 * S, 60 * S, MA_ASSURED, 0, false, 60 * S},
    {"none any more, shown too long ago", false, 0, OTP, 3600 * S, WINDOW + 1, MA_ASSURE_UNMET, 0, false, -1},
    {"none, nothing proven", false, 0, 0, -1, -1, MA_ASSURE_UNMET, 0, false, -1},
    {"clock set back a little", false, TOTP, OTP, 0, -60 * S, MA_ASSURED, 0, false, -60 * S},
    {"clock set back", false, TOTP, OTP, 0, -61 * S, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"passkey, login", true, TOTP, KEY, 0, -1, MA_ASSURED, 0, false, 0},
    {"passkey, refresh at the end", false, TOTP, KEY, WINDOW, -1, MA_ASSURED, 0, false, WINDOW},
    {"passkey, refresh past the end", false, TOTP, KEY, WINDOW + 1, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"passkey without verification", true, TOTP, MA_AMR_PASSKEY, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"verified, but no passkey", true, TOTP, PWD | MA_AMR_UV, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"passkey is no second factor to itself", true, PASSKEY | TOTP, MA_AMR_PASSKEY, 0, -1, MA_ASSURE_CHALLENGE, TOTP,
     false, -1},
    {"passkey after a password", true, PASSKEY, PWD, 0, -1, MA_ASSURE_CHALLENGE, PASSKEY, false, -1},
};

START_TEST(test_default_policy)
{
    struct ma_assurance_in in = input(&by_default[_i]);
    in.default_policy = true;
    decide(&by_default[_i], &in, WINDOW);
}
END_TEST

/* --- tenant policy "always" --- */

static const struct row tenant[] = {
    {"factor, login", true, TOTP, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"factor, shown long ago", false, TOTP, OTP, 9000 * S, 8000 * S, MA_ASSURED, 0, false, -1},
    {"factor, never shown", false, TOTP, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"none, login", true, 0, PWD, 0, -1, MA_ASSURE_ENROLL, ANY, false, -1},
    {"none, refresh", false, 0, PWD, 0, -1, MA_ASSURE_UNMET, 0, false, -1},
    {"passkey", true, 0, KEY, 0, -1, MA_ASSURED, 0, false, -1},
    {"passkey without verification", true, PASSKEY, MA_AMR_PASSKEY, 0, -1, MA_ASSURE_ENROLL, ANY, false, -1},
};

START_TEST(test_tenant_policy)
{
    struct ma_assurance_in in = input(&tenant[_i]);
    in.tenant_mfa = true;
    decide(&tenant[_i], &in, WINDOW);
}
END_TEST

static const struct row both[] = {
    {"factor, stale", false, TOTP, OTP, 9000 * S, 8000 * S, MA_ASSURE_CHALLENGE, TOTP, false, -1},
    {"factor, fresh", false, TOTP, OTP, 9000 * S, 60 * S, MA_ASSURED, 0, false, 60 * S},
    {"none, login", true, 0, PWD, 0, -1, MA_ASSURE_ENROLL, ANY, false, -1},
    {"none, refresh within", false, 0, PWD, 60 * S, -1, MA_ASSURE_UNMET, 0, false, -1},
};

START_TEST(test_both_policies)
{
    struct ma_assurance_in in = input(&both[_i]);
    in.tenant_mfa = in.default_policy = true;
    decide(&both[_i], &in, WINDOW);
}
END_TEST

START_TEST(test_no_policy)
{
    static const struct row rows[] = {
        {"nothing asked", true, TOTP, PWD, 0, -1, MA_ASSURED, 0, false, -1},
        {"stale", false, 0, PWD, 99999 * S, -1, MA_ASSURED, 0, false, -1},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_assurance_in in = input(&rows[i]);
        decide(&rows[i], &in, WINDOW);
    }
}
END_TEST

START_TEST(test_passkey_does_not_satisfy)
{
    static const struct row rows[] = {
        {"factor", true, TOTP | PASSKEY, KEY, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1},
        {"passkey only", true, PASSKEY, KEY, 0, -1, MA_ASSURED, 0, true, 0},
        {"passkey as second factor", false, PASSKEY, PWD | KEY | MA_AMR_MFA, 60 * S, 30 * S, MA_ASSURED, 0, false,
         30 * S},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_assurance_in in = input(&rows[i]);
        in.default_policy = true;
        in.passkey_satisfies = false;
        decide(&rows[i], &in, WINDOW);
    }
}
END_TEST

/* --- rules --- */

struct rule_row {
    struct row r;
    uint32_t require;
    int64_t max_age;
};

static const struct rule_row rules[] = {
    {{"shown", false, TOTP, OTP, 9000 * S, 299 * S, MA_ASSURED, 0, false, 299 * S}, TOTP, 300 * S},
    {{"at the end", false, TOTP, OTP, 9000 * S, 300 * S, MA_ASSURED, 0, false, 300 * S}, TOTP, 300 * S},
    {{"past the end", false, TOTP, OTP, 9000 * S, 301 * S, MA_ASSURE_CHALLENGE, TOTP, false, -1}, TOTP, 300 * S},
    {{"any age", false, TOTP, OTP, 9000 * S, 8000 * S, MA_ASSURED, 0, false, -1}, TOTP, -1},
    {{"any age, never", false, TOTP, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1}, TOTP, -1},
    {{"another factor", false, TOTP | PHONE, OTP, 0, 0, MA_ASSURE_CHALLENGE, PHONE, false, -1}, PHONE, -1},
    {{"one of two", true, TOTP | MAIL, PWD, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1}, TOTP | PHONE, -1},
    {{"none at all, login", true, 0, PWD, 0, -1, MA_ASSURE_ENROLL, TOTP | PHONE, false, -1}, TOTP | PHONE, -1},
    {{"none of them, login", true, MAIL, PWD, 0, -1, MA_ASSURE_CHALLENGE, MAIL, false, -1}, TOTP | PHONE, -1},
    {{"none of them, login, another shown", true, MAIL, PWD | MA_AMR_EMAIL | MA_AMR_MFA, 9 * S, WINDOW,
      MA_ASSURE_ENROLL, TOTP | PHONE, false, -1},
     TOTP | PHONE,
     -1},
    {{"none of them, login, another shown long ago", true, MAIL, PWD | MA_AMR_EMAIL | MA_AMR_MFA, 0, WINDOW + 1,
      MA_ASSURE_CHALLENGE, MAIL, false, -1},
     TOTP | PHONE,
     -1},
    {{"none of them, login with a passkey", true, MAIL, KEY, 0, -1, MA_ASSURE_ENROLL, TOTP, false, -1}, TOTP, -1},
    {{"none of them, refresh", false, MAIL, PWD, 0, -1, MA_ASSURE_UNMET, 0, false, -1}, TOTP, -1},
    {{"recovery is not it", false, TOTP, PWD | MA_AMR_RECOVERY | MA_AMR_MFA, 0, 0, MA_ASSURE_CHALLENGE, TOTP, false,
      -1},
     TOTP,
     -1},
    {{"passkey, not asked for", false, TOTP, KEY, 0, -1, MA_ASSURE_CHALLENGE, TOTP, false, -1}, TOTP, -1},
    {{"passkey, asked for", false, PASSKEY, KEY, 60 * S, -1, MA_ASSURED, 0, false, 60 * S}, PASSKEY, 300 * S},
    {{"passkey, too old, another factor just now", false, PASSKEY | TOTP, KEY | MA_AMR_OTP | MA_AMR_MFA, 3600 * S,
      1 * S, MA_ASSURE_UNMET, 0, false, -1},
     PASSKEY,
     300 * S},
    {{"passkey as the second factor", false, PASSKEY | TOTP, PWD | KEY | MA_AMR_MFA, 3600 * S, 60 * S, MA_ASSURED, 0,
      false, 60 * S},
     PASSKEY,
     300 * S},
    {{"passkey, too old", false, PASSKEY, KEY, 301 * S, -1, MA_ASSURE_UNMET, 0, false, -1}, PASSKEY, 300 * S},
    {{"passkey, not verified", false, PASSKEY, MA_AMR_PASSKEY, 60 * S, -1, MA_ASSURED, 0, false, 60 * S},
     PASSKEY,
     300 * S},
};

START_TEST(test_rule)
{
    const struct rule_row *r = &rules[_i];
    struct ma_assurance_in in = input(&r->r);
    in.rule = MA_RULE_REQUIRE;
    in.rule_require = r->require;
    in.rule_max_age_ms = r->max_age;
    decide(&r->r, &in, r->max_age);
    struct ma_assurance_out alone = ma_assurance_decide(&in);
    in.default_policy = in.tenant_mfa = true; /* they do not count where a rule speaks */
    struct ma_assurance_out with = ma_assurance_decide(&in);
    ck_assert(alone.verdict == with.verdict && alone.factors == with.factors && alone.offer == with.offer &&
              alone.token_until_ms == with.token_until_ms);
}
END_TEST

START_TEST(test_skip)
{
    struct row r = {"skip", true, TOTP, PWD, 99999 * S, -1, MA_ASSURED, 0, false, -1};
    struct ma_assurance_in in = input(&r);
    in.rule = MA_RULE_SKIP;
    in.default_policy = in.tenant_mfa = true;
    decide(&r, &in, WINDOW);
}
END_TEST

/* --- what tokens say --- */

START_TEST(test_names)
{
    static const struct {
        uint32_t amr;
        const char *want;
    } rows[] = {
        {0, ""},
        {MA_AMR_PWD, "pwd "},
        {MA_AMR_PWD | MA_AMR_OTP | MA_AMR_MFA, "pwd otp mfa "},
        {MA_AMR_PWD | MA_AMR_EMAIL | MA_AMR_MFA, "pwd otp mfa "},
        {MA_AMR_PWD | MA_AMR_RECOVERY | MA_AMR_MFA, "pwd otp mfa "},
        {MA_AMR_PWD | MA_AMR_SMS | MA_AMR_MFA, "pwd sms mfa "},
        {MA_AMR_PASSKEY, "pop "},
        {MA_AMR_PASSKEY | MA_AMR_UV, "pop phr "},
        {MA_AMR_PWD | MA_AMR_UV, "pwd "},
        {MA_AMR_PWD | MA_AMR_HWK | MA_AMR_MFA, "pwd hwk mfa "},
        {~0u, "pwd pop phr otp sms hwk mca mfa "},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        const char *names[MA_AMR_NAMES_MAX];
        char text[128] = "";
        size_t n = 0;
        ma_amr_names(rows[i].amr, names);
        for (const char **p = names; *p; p++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s ", *p);
        ck_assert_str_eq(text, rows[i].want);
    }
}
END_TEST

START_TEST(test_times)
{
    struct ma_authn a = {.auth_at = 5999, .mfa_at = 9001, .amr = MA_AMR_PWD};
    ck_assert_int_eq(ma_auth_time(&a), 5);
    ck_assert_int_eq(ma_assurance_mfa_at(&a, true), 0);
    a.amr |= MA_AMR_MFA;
    ck_assert_int_eq(ma_auth_time(&a), 9);
    ck_assert_int_eq(ma_assurance_mfa_at(&a, false), 9001);
    a = (struct ma_authn){.auth_at = 7000, .amr = KEY};
    ck_assert_int_eq(ma_auth_time(&a), 7);
    ck_assert_int_eq(ma_assurance_mfa_at(&a, true), 7000);
    ck_assert_int_eq(ma_assurance_mfa_at(&a, false), 0);
    a = (struct ma_authn){.auth_at = 9000, .mfa_at = 7000, .amr = KEY | MA_AMR_MFA};
    ck_assert_int_eq(ma_assurance_mfa_at(&a, true), 9000);
    ck_assert_int_eq(ma_assurance_mfa_at(&a, false), 7000);
    ck_assert_int_eq(ma_auth_time(&a), 9);
}
END_TEST

START_TEST(test_amr_of_factors)
{
    ck_assert_uint_eq(ma_amr_of_factors(0), 0);
    ck_assert_uint_eq(ma_amr_of_factors(TOTP | PHONE), MA_AMR_OTP | MA_AMR_SMS);
    ck_assert_uint_eq(ma_amr_of_factors(1u << MA_FACTOR_WEBAUTHN_ROAMING), MA_AMR_HWK);
    ck_assert_uint_eq(ma_amr_of_factors(~0u), MA_AMR_PWD | MA_AMR_PASSKEY | MA_AMR_HWK | MA_AMR_OTP | MA_AMR_SMS |
                                                  MA_AMR_EMAIL | MA_AMR_PUSH | MA_AMR_RECOVERY);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("assurance");
    TCase *tc = tcase_create("decide");
    tcase_add_loop_test(tc, test_default_policy, 0, (int)MA_COUNT(by_default));
    tcase_add_loop_test(tc, test_tenant_policy, 0, (int)MA_COUNT(tenant));
    tcase_add_loop_test(tc, test_both_policies, 0, (int)MA_COUNT(both));
    tcase_add_test(tc, test_no_policy);
    tcase_add_test(tc, test_passkey_does_not_satisfy);
    tcase_add_loop_test(tc, test_rule, 0, (int)MA_COUNT(rules));
    tcase_add_test(tc, test_skip);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_times);
    tcase_add_test(tc, test_amr_of_factors);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

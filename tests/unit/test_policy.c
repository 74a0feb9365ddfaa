/* SPDX-License-Identifier: Apache-2.0
 * The policy decision against a second opinion over every combination of its inputs, and by name.
 */
#include "ma/policy.h"

#include <check.h>
#include <stdlib.h>

#define NOW 1764000000
#define WINDOW 900
#define LEEWAY 60
#define F MA_SC_READ_FACTORS
#define M MA_SC_READ_METHODS

/* --- a second opinion: every rule that is broken, then the first of them --- */

static const enum ma_policy_verdict order[] = {MA_PV_MACHINE,  MA_PV_UNKNOWN_USER,   MA_PV_BLOCKED,     MA_PV_LEAVING,
                                               MA_PV_DENY_ALL, MA_PV_UNKNOWN_CLIENT, MA_PV_THIRD_PARTY, MA_PV_NO_GRANT,
                                               MA_PV_SCOPE,    MA_PV_STEP_UP};

static bool has(const struct ma_policy_in *in, ma_scopes bit)
{
    bool token = (in->token_scopes & bit) != 0;
    bool grant = in->access != MA_PA_REQUIRE_GRANT || (in->grant & bit) != 0;
    bool rbac = !in->enforce_rbac || (in->rbac & bit) != 0;
    return token && grant && rbac;
}

static bool stale(const struct ma_policy_in *in)
{
    int64_t newest = in->now_s + LEEWAY, oldest = in->now_s - in->window_s;
    bool recent = in->auth_time_s != -1 && in->auth_time_s >= oldest && in->auth_time_s <= newest;
    return !(recent && (!in->has_factor || in->amr_mfa));
}

static struct ma_policy_out opinion(const struct ma_policy_in *in)
{
    struct ma_policy_out out = {.verdict = MA_PV_ALLOW};
    for (ma_scopes bit = 1; bit < 1u << 10; bit <<= 1) {
        out.effective |= has(in, bit) ? bit : 0;
        out.missing |= (in->route_scopes & bit) && !has(in, bit) ? bit : 0;
    }
    bool broken[16] = {
        [MA_PV_MACHINE] = in->client_credentials,
        [MA_PV_UNKNOWN_USER] = !in->user_known,
        [MA_PV_BLOCKED] = in->user_blocked,
        [MA_PV_LEAVING] = in->user_leaving,
        [MA_PV_DENY_ALL] = in->access == MA_PA_DENY_ALL,
        [MA_PV_UNKNOWN_CLIENT] = !in->client_known,
        [MA_PV_THIRD_PARTY] = !in->client_first_party,
        [MA_PV_NO_GRANT] = in->access == MA_PA_REQUIRE_GRANT && !in->client_has_grant,
        [MA_PV_SCOPE] = out.missing != 0,
        [MA_PV_STEP_UP] = in->require_2fa && stale(in),
    };
    for (size_t i = MA_COUNT(order); i-- > 0;)
        if (broken[order[i]])
            out.verdict = order[i];
    bool judged = out.verdict == MA_PV_ALLOW || out.verdict == MA_PV_SCOPE || out.verdict == MA_PV_STEP_UP;
    if (!judged) /* before scopes are looked at they are not told */
        out.effective = out.missing = 0;
    return out;
}

static const int64_t auth_times[] = {-1,      0,   NOW - WINDOW - 1, NOW - WINDOW,
                                     NOW - 1, NOW, NOW + LEEWAY,     NOW + LEEWAY + 1};
static const enum ma_policy_access accesses[] = {MA_PA_REQUIRE_GRANT, MA_PA_ALLOW_ALL, MA_PA_DENY_ALL};
static const ma_scopes sets[] = {0, F, M, F | M};

static struct ma_policy_in combination(unsigned bits, enum ma_policy_access access)
{
    return (struct ma_policy_in){
        .user_known = bits & 1,
        .user_blocked = bits & 2,
        .client_credentials = bits & 4,
        .client_known = bits & 8,
        .client_first_party = bits & 16,
        .client_has_grant = bits & 32,
        .enforce_rbac = bits & 64,
        .require_2fa = bits & 128,
        .has_factor = bits & 256,
        .amr_mfa = bits & 512,
        .user_leaving = bits & 1024,
        .access = access,
        .now_s = NOW,
        .window_s = WINDOW,
    };
}

static void compare(const struct ma_policy_in *in)
{
    struct ma_policy_out got = ma_policy_decide(in), want = opinion(in);
    if (got.verdict == want.verdict && got.missing == want.missing && got.effective == want.effective)
        return;
    ck_abort_msg("verdict %d not %d, missing %llx not %llx, effective %llx not %llx: known %d blocked %d machine %d "
                 "access %d client %d%d%d rbac %d 2fa %d factor %d mfa %d at %lld token %llx grant %llx rbac %llx",
                 (int)got.verdict, (int)want.verdict, (unsigned long long)got.missing, (unsigned long long)want.missing,
                 (unsigned long long)got.effective, (unsigned long long)want.effective, in->user_known,
                 in->user_blocked, in->client_credentials, (int)in->access, in->client_known, in->client_first_party,
                 in->client_has_grant, in->enforce_rbac, in->require_2fa, in->has_factor, in->amr_mfa,
                 (long long)in->auth_time_s, (unsigned long long)in->token_scopes, (unsigned long long)in->grant,
                 (unsigned long long)in->rbac);
}

static unsigned all_scopes(struct ma_policy_in *in)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 256; i++, n++) {
        in->token_scopes = sets[i & 3];
        in->grant = sets[i >> 2 & 3];
        in->rbac = sets[i >> 4 & 3];
        in->route_scopes = sets[i >> 6 & 3];
        compare(in);
    }
    return n;
}

START_TEST(test_every_combination)
{
    unsigned n = 0;
    for (unsigned bits = 0; bits < 2048; bits++) {
        struct ma_policy_in in = combination(bits, accesses[_i]);
        for (size_t t = 0; t < MA_COUNT(auth_times); t++) {
            in.auth_time_s = auth_times[t];
            n += all_scopes(&in);
        }
    }
    ck_assert_uint_eq(n, 2048 * 256 * MA_COUNT(auth_times));
}
END_TEST

/* --- by name: a caller who may, and what is wrong with them --- */

static struct ma_policy_in good(void)
{
    return (struct ma_policy_in){.user_known = true,
                                 .client_known = true,
                                 .client_first_party = true,
                                 .client_has_grant = true,
                                 .access = MA_PA_REQUIRE_GRANT,
                                 .grant = F | M,
                                 .token_scopes = F | M,
                                 .route_scopes = F,
                                 .auth_time_s = -1,
                                 .now_s = NOW,
                                 .window_s = WINDOW};
}

enum change {
    NOTHING,
    NO_USER,
    BLOCKED,
    LEAVING,
    MACHINE,
    DENY,
    NO_CLIENT,
    THIRD,
    NO_GRANT,
    ALLOW_ALL,
    TOKEN_LACKS,
    GRANT_LACKS,
    GRANT_EMPTY,
    RBAC_EMPTY,
    RBAC_HAS,
    TWO_FACTORS,
    FACTOR,
    MFA,
    LOGIN_NOW,
    LOGIN_AT_WINDOW,
    LOGIN_PAST_WINDOW,
    LOGIN_SOON,
    LOGIN_TOO_SOON,
    LOGIN_EPOCH,
    WINDOW_0,
};

static void apply_who(struct ma_policy_in *in, enum change c)
{
    in->user_known &= c != NO_USER;
    in->user_blocked |= c == BLOCKED;
    in->user_leaving |= c == LEAVING;
    in->client_credentials |= c == MACHINE;
    in->client_known &= c != NO_CLIENT;
    in->client_first_party &= c != THIRD;
    in->client_has_grant &= c != NO_GRANT;
    in->access = c == DENY ? MA_PA_DENY_ALL : c == ALLOW_ALL ? MA_PA_ALLOW_ALL : in->access;
}

static void apply_scopes(struct ma_policy_in *in, enum change c)
{
    in->token_scopes = c == TOKEN_LACKS ? M : in->token_scopes;
    in->grant = c == GRANT_LACKS ? M : c == GRANT_EMPTY ? 0 : in->grant;
    in->enforce_rbac |= c == RBAC_EMPTY || c == RBAC_HAS;
    in->rbac = c == RBAC_HAS ? F : in->rbac;
}

static void apply_step_up(struct ma_policy_in *in, enum change c)
{
    static const int64_t at[] = {
        [LOGIN_NOW] = NOW,           [LOGIN_AT_WINDOW] = NOW - WINDOW,    [LOGIN_PAST_WINDOW] = NOW - WINDOW - 1,
        [LOGIN_SOON] = NOW + LEEWAY, [LOGIN_TOO_SOON] = NOW + LEEWAY + 1, [LOGIN_EPOCH] = 0};
    in->require_2fa |= c == TWO_FACTORS;
    in->has_factor |= c == FACTOR;
    in->amr_mfa |= c == MFA;
    in->window_s = c == WINDOW_0 ? 0 : in->window_s;
    if (c >= LOGIN_NOW && c <= LOGIN_EPOCH)
        in->auth_time_s = at[c];
}

static const struct {
    const char *name;
    enum change change[5];
    enum ma_policy_verdict want;
    ma_scopes missing;
} rows[] = {
    {"nothing wrong", {NOTHING}, MA_PV_ALLOW, 0},
    {"unknown user", {NO_USER}, MA_PV_UNKNOWN_USER, 0},
    {"blocked user", {BLOCKED}, MA_PV_BLOCKED, 0},
    {"leaving user", {LEAVING}, MA_PV_LEAVING, 0},
    {"machine token", {MACHINE}, MA_PV_MACHINE, 0},
    {"deny_all", {DENY}, MA_PV_DENY_ALL, 0},
    {"unknown client", {NO_CLIENT}, MA_PV_UNKNOWN_CLIENT, 0},
    {"third party", {THIRD}, MA_PV_THIRD_PARTY, 0},
    {"no grant", {NO_GRANT}, MA_PV_NO_GRANT, 0},
    {"no grant is fine with allow_all", {NO_GRANT, GRANT_EMPTY, ALLOW_ALL}, MA_PV_ALLOW, 0},
    {"allow_all does not open third parties", {THIRD, ALLOW_ALL}, MA_PV_THIRD_PARTY, 0},
    {"allow_all does not open unknown clients", {NO_CLIENT, ALLOW_ALL}, MA_PV_UNKNOWN_CLIENT, 0},
    {"the token lacks the scope", {TOKEN_LACKS}, MA_PV_SCOPE, F},
    {"allow_all does not widen a token", {TOKEN_LACKS, ALLOW_ALL}, MA_PV_SCOPE, F},
    {"the grant lacks the scope", {GRANT_LACKS}, MA_PV_SCOPE, F},
    {"an empty grant", {GRANT_EMPTY}, MA_PV_SCOPE, F},
    {"RBAC without permission", {RBAC_EMPTY}, MA_PV_SCOPE, F},
    {"RBAC with permission", {RBAC_HAS}, MA_PV_ALLOW, 0},
    {"RBAC also with allow_all", {RBAC_EMPTY, ALLOW_ALL}, MA_PV_SCOPE, F},
    {"2FA, no factor, no claim", {TWO_FACTORS}, MA_PV_STEP_UP, 0},
    {"2FA, no factor, fresh login", {TWO_FACTORS, LOGIN_NOW}, MA_PV_ALLOW, 0},
    {"2FA, factor, fresh login without it", {TWO_FACTORS, FACTOR, LOGIN_NOW}, MA_PV_STEP_UP, 0},
    {"2FA, factor shown, fresh", {TWO_FACTORS, FACTOR, MFA, LOGIN_NOW}, MA_PV_ALLOW, 0},
    {"2FA, factor shown, no time", {TWO_FACTORS, FACTOR, MFA}, MA_PV_STEP_UP, 0},
    {"2FA, end of the window is inside", {TWO_FACTORS, FACTOR, MFA, LOGIN_AT_WINDOW}, MA_PV_ALLOW, 0},
    {"2FA, past the window", {TWO_FACTORS, FACTOR, MFA, LOGIN_PAST_WINDOW}, MA_PV_STEP_UP, 0},
    {"2FA, no factor, past the window", {TWO_FACTORS, LOGIN_PAST_WINDOW}, MA_PV_STEP_UP, 0},
    {"2FA, clock leeway", {TWO_FACTORS, LOGIN_SOON}, MA_PV_ALLOW, 0},
    {"2FA, from the future", {TWO_FACTORS, LOGIN_TOO_SOON}, MA_PV_STEP_UP, 0},
    {"2FA, time 0", {TWO_FACTORS, LOGIN_EPOCH}, MA_PV_STEP_UP, 0},
    {"2FA, window 0, this second", {TWO_FACTORS, WINDOW_0, LOGIN_NOW}, MA_PV_ALLOW, 0},
    {"no 2FA: a factor and no claims are fine", {FACTOR}, MA_PV_ALLOW, 0},

    {"machine before unknown user", {MACHINE, NO_USER}, MA_PV_MACHINE, 0},
    {"unknown before blocked", {NO_USER, BLOCKED}, MA_PV_UNKNOWN_USER, 0},
    {"blocked before leaving", {BLOCKED, LEAVING}, MA_PV_BLOCKED, 0},
    {"leaving before deny_all", {LEAVING, DENY}, MA_PV_LEAVING, 0},
    {"deny_all before unknown client", {DENY, NO_CLIENT}, MA_PV_DENY_ALL, 0},
    {"unknown client before third party", {NO_CLIENT, THIRD}, MA_PV_UNKNOWN_CLIENT, 0},
    {"third party before no grant", {THIRD, NO_GRANT}, MA_PV_THIRD_PARTY, 0},
    {"no grant before scope", {NO_GRANT, TOKEN_LACKS}, MA_PV_NO_GRANT, 0},
    {"scope before step-up", {TOKEN_LACKS, TWO_FACTORS}, MA_PV_SCOPE, F},
};

START_TEST(test_named)
{
    struct ma_policy_in in = good();
    for (size_t i = 0; i < MA_COUNT(rows[_i].change); i++) {
        apply_who(&in, rows[_i].change[i]);
        apply_scopes(&in, rows[_i].change[i]);
        apply_step_up(&in, rows[_i].change[i]);
    }
    struct ma_policy_out out = ma_policy_decide(&in);
    ck_assert_msg(out.verdict == rows[_i].want, "%s: %s", rows[_i].name, ma_policy_text(out.verdict));
    ck_assert_msg(out.missing == rows[_i].missing, "%s: missing %llx", rows[_i].name, (unsigned long long)out.missing);
}
END_TEST

/* The list in the header is the order of the verdicts. */
START_TEST(test_order)
{
    for (size_t i = 0; i < MA_COUNT(order); i++)
        ck_assert_int_eq((int)order[i], (int)i + 1);
    ck_assert_int_eq(MA_PV_ALLOW, 0);
}
END_TEST

START_TEST(test_several_missing)
{
    struct ma_policy_in in = good();
    in.route_scopes = F | M | MA_SC_DELETE_METHODS;
    in.token_scopes = M;
    struct ma_policy_out out = ma_policy_decide(&in);
    ck_assert_int_eq(out.verdict, MA_PV_SCOPE);
    ck_assert_uint_eq(out.missing, F | MA_SC_DELETE_METHODS);
    ck_assert_uint_eq(out.effective, M);
}
END_TEST

START_TEST(test_texts)
{
    for (size_t i = 0; i <= MA_COUNT(order); i++) {
        const char *text = ma_policy_text((enum ma_policy_verdict)i);
        ck_assert_ptr_nonnull(text);
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(text, ma_policy_text((enum ma_policy_verdict)j));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("policy");
    TCase *tc = tcase_create("policy");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_every_combination, 0, (int)MA_COUNT(accesses));
    tcase_add_loop_test(tc, test_named, 0, (int)MA_COUNT(rows));
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_several_missing);
    tcase_add_test(tc, test_texts);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

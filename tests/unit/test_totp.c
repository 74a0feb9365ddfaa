/* SPDX-License-Identifier: Apache-2.0
 * One-time passwords: RFC 4226 appendix D, RFC 6238 appendix B (SHA-1, last six digits), the acceptance window,
 * replay, and liboath as a second implementation.
 */
#include "ma/totp.h"

#include <check.h>
#include <liboath/oath.h>
#include <stdlib.h>

#include "ma/crypto.h"
#include "ma/rand.h"

#define SEED MA_LIT("12345678901234567890")

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
}

static void teardown(void)
{
    ma_crypto_cleanup();
}

static const char *const rfc4226[] = {"755224", "287082", "359152", "969429", "338314",
                                      "254676", "287922", "162583", "399871", "520489"};

START_TEST(test_rfc4226)
{
    char code[MA_TOTP_DIGITS + 1];
    ck_assert_int_eq(ma_totp_code(SEED, _i, code), MA_OK);
    ck_assert_str_eq(code, rfc4226[_i]);
}
END_TEST

static const struct {
    int64_t at;
    const char *code;
} rfc6238[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
               {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};

START_TEST(test_rfc6238)
{
    char code[MA_TOTP_DIGITS + 1];
    int64_t step = -1;
    ck_assert_int_eq(ma_totp_code(SEED, rfc6238[_i].at / MA_TOTP_STEP_S, code), MA_OK);
    ck_assert_str_eq(code, rfc6238[_i].code);
    ck_assert_int_eq(ma_totp_match(SEED, ma_span_str(code), rfc6238[_i].at, 0, &step), MA_OK);
    ck_assert_int_eq(step, rfc6238[_i].at / MA_TOTP_STEP_S);
}
END_TEST

/* The code of step 1111111111 / 30 = 37037037 is 050471; the step runs from 1111111110 to 1111111139. */
#define STEP 37037037
#define FROM 1111111110
#define CODE "050471"
static const struct {
    const char *name, *code;
    int64_t now, last;
    int want;
} rows[] = {
    {"first second", CODE, FROM, 0, MA_OK},
    {"last second", CODE, FROM + 29, 0, MA_OK},
    {"clock one step behind, its first second", CODE, FROM - 30, 0, MA_OK},
    {"clock one step ahead, its last second", CODE, FROM + 59, 0, MA_OK},
    {"clock two steps behind", CODE, FROM - 31, 0, MA_E_AUTH},
    {"clock two steps ahead", CODE, FROM + 60, 0, MA_E_AUTH},
    {"an earlier step was used", CODE, FROM, STEP - 1, MA_OK},
    {"replay", CODE, FROM, STEP, MA_E_AUTH},
    {"replay one step later", CODE, FROM + 30, STEP, MA_E_AUTH},
    {"a later step was used", CODE, FROM, STEP + 1, MA_E_AUTH},
    {"wrong code", "050472", FROM, 0, MA_E_AUTH},
    {"without the leading zero", "50471", FROM, 0, MA_E_AUTH},
    {"a digit more", "0504710", FROM, 0, MA_E_AUTH},
    {"eight digits", "14050471", FROM, 0, MA_E_AUTH},
    {"empty", "", FROM, 0, MA_E_AUTH},
    {"blank before", " 050471", FROM, 0, MA_E_AUTH},
    {"letters", "O50471", FROM, 0, MA_E_AUTH},
};

START_TEST(test_window)
{
    int64_t step = -7;
    int r = ma_totp_match(SEED, ma_span_str(rows[_i].code), rows[_i].now, rows[_i].last, &step);
    ck_assert_msg(r == rows[_i].want, "%s: %s", rows[_i].name, ma_err_name(r));
    ck_assert_msg(step == (r == MA_OK ? STEP : -7), "%s: step %lld", rows[_i].name, (long long)step);
}
END_TEST

START_TEST(test_another_seed)
{
    int64_t step = 0;
    ck_assert_int_eq(ma_totp_match(MA_LIT("12345678901234567891"), MA_LIT(CODE), FROM, 0, &step), MA_E_AUTH);
}
END_TEST

/* --- liboath --- */

START_TEST(test_against_liboath)
{
    struct ma_rand_seeded rand;
    ma_rand_seeded_init(&rand, 7);
    ck_assert_int_eq(oath_init(), OATH_OK);
    for (int i = 0; i < 3000; i++) {
        uint8_t seed[MA_TOTP_SEED_LEN];
        uint64_t random = 0;
        char ours[MA_TOTP_DIGITS + 1], theirs[MA_TOTP_DIGITS + 1];
        ck_assert_int_eq(rand.rand.fill(&rand.rand, seed, sizeof seed), MA_OK);
        ck_assert_int_eq(rand.rand.fill(&rand.rand, &random, sizeof random), MA_OK);
        int64_t now = (int64_t)(random % 30000000000u), step = -1;
        ck_assert_int_eq(
            oath_totp_generate((const char *)seed, sizeof seed, now, MA_TOTP_STEP_S, 0, MA_TOTP_DIGITS, theirs),
            OATH_OK);
        ck_assert_int_eq(ma_totp_code(ma_span_of(seed, sizeof seed), now / MA_TOTP_STEP_S, ours), MA_OK);
        ck_assert_msg(strcmp(ours, theirs) == 0, "at %lld: %s, not %s", (long long)now, ours, theirs);
        ck_assert_int_eq(ma_totp_match(ma_span_of(seed, sizeof seed), ma_span_str(theirs), now, 0, &step), MA_OK);
    }
    (void)oath_done();
}
END_TEST

/* The window: both accept a code at the same distances. */
START_TEST(test_window_against_liboath)
{
    static const char seed[] = "12345678901234567890";
    ck_assert_int_eq(oath_init(), OATH_OK);
    for (int64_t now = FROM - 120; now < FROM + 150; now++) {
        int64_t step = 0;
        int ours = ma_totp_match(SEED, MA_LIT(CODE), now, 0, &step);
        int theirs = oath_totp_validate(seed, sizeof seed - 1, now, MA_TOTP_STEP_S, 0, MA_TOTP_SKEW, CODE);
        ck_assert_msg((ours == MA_OK) == (theirs >= 0), "at %lld: %s, %d", (long long)now, ma_err_name(ours), theirs);
    }
    (void)oath_done();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("totp");
    TCase *tc = tcase_create("totp");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_rfc4226, 0, (int)MA_COUNT(rfc4226));
    tcase_add_loop_test(tc, test_rfc6238, 0, (int)MA_COUNT(rfc6238));
    tcase_add_loop_test(tc, test_window, 0, (int)MA_COUNT(rows));
    tcase_add_test(tc, test_another_seed);
    tcase_add_test(tc, test_against_liboath);
    tcase_add_test(tc, test_window_against_liboath);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

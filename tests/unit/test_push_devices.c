/* SPDX-License-Identifier: Apache-2.0
 * Devices that approve sign-ins, without HTTP: keys as SDKs write them, the rows of an enrolment and its pair,
 * questions and what becomes of them.
 */
#include "../support/fixture.h"
#include "ma/jose.h"
#include "ma/notify.h"
#include "ma/push.h"
#include "ma/signin.h"

#include <stdlib.h>

#define MODULUS                                                                                                        \
    "ytc3meY5JIk6JoOWquSvBeiY4i6REckzw-ZVMXNZlAMTBGGUNoFIkpAIOM8Omcpcw4ifnmPfilnWmm__LT1V-gyvCZbAyDxVVlcL"             \
    "THS6TKJiZ7be43F5OFbzA7EpzyKu6113MNfADb73ZZSkaILn5YIls1iWOcw2cvsC2-h3wS3-T5YSGLqA-o1W9RECFTVm77wha7x8"             \
    "td2DkGqJ7YL0Mw_GwGAEFagZQGovwxk3-0PwRNRE_t45yueTB9QhUDuWe_OmR8KnW9mwMQu66XKnbcBBOHSvNpL3za00u555vKAN"             \
    "jgn8KxynuhnmjW14xLA4VsetEeZcJHGHwEHdlFzQGw"
/* With the zero in front that two's complement has. */
#define SIGNED_MODULUS                                                                                                 \
    "AMrXN5nmOSSJOiaDlqrkrwXomOIukRHJM8PmVTFzWZQDEwRhlDaBSJKQCDjPDpnKXMOIn55j34pZ1ppv_y09VfoMrwmWwMg8VVZX"             \
    "C0x0ukyiYme23uNxeThW8wOxKc8irutddzDXwA2-92WUpGiC5-WCJbNYljnMNnL7Atvod8Et_k-WEhi6gPqNVvURAhU1Zu-8IWu8"             \
    "fLXdg5Bqie2C9DMPxsBgBBWoGUBqL8MZN_tD8ETURP7eOcrnkwfUIVA7lnvzpkfCp1vZsDELuulyp23AQTh0rzaS982tNLueebyg"             \
    "DY4J_Cscp7oZ5o1teMSwOFbHrRHmXCRxh8BB3ZRc0Bs"
#define EVEN_MODULUS                                                                                                   \
    "ytc3meY5JIk6JoOWquSvBeiY4i6REckzw-ZVMXNZlAMTBGGUNoFIkpAIOM8Omcpcw4ifnmPfilnWmm__LT1V-gyvCZbAyDxVVlcL"             \
    "THS6TKJiZ7be43F5OFbzA7EpzyKu6113MNfADb73ZZSkaILn5YIls1iWOcw2cvsC2-h3wS3-T5YSGLqA-o1W9RECFTVm77wha7x8"             \
    "td2DkGqJ7YL0Mw_GwGAEFagZQGovwxk3-0PwRNRE_t45yueTB9QhUDuWe_OmR8KnW9mwMQu66XKnbcBBOHSvNpL3za00u555vKAN"             \
    "jgn8KxynuhnmjW14xLA4VsetEeZcJHGHwEHdlFzQGg"
#define SMALL_MODULUS                                                                                                  \
    "2RKKYgwSmpet8OIjGTPRhdBgZkapvtcRLAxXGn6vLvwUnnzUXMZ1201x4XMzu1SmA6CIiPNqocrT1-vlfcKDRazf5rcspR1iecOC"             \
    "UvIQrG3sQ2N2I9eP8kUwTfSmcNJO_fnnZJNVu3ca-4ovOfO3UjwoRCW44kDzUkuiISAd8Fk"
#define FLOW ma_span_of(flow, sizeof flow)

static const uint8_t flow[32] = {7};
static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_enrolled e;
static struct ma_push_enrolled device;
static struct ma_challenge_started started;
static struct ma_factor_proof proof;

static void as(const char *user)
{
    ctx = ma_fix_request(&f, user, "spa");
    T_OK(ma_addr_parse(MA_LIT("192.0.2.1"), &ctx->req.client));
}

static void setup(void)
{
    ma_fix_open(&f, "");
    ma_fix_apply(&f, "{\"factors\":{\"push-notification\":true}}");
    as(MA_FIX_BOB);
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static struct ma_user bob(void)
{
    struct ma_user u;
    T_OK(ma_user_get(ctx->db, f.arena, MA_LIT(MA_FIX_BOB), &u));
    return u;
}

/* What a sweep takes that runs a moment later. */
static int swept(int (*sweep)(struct ma_db *, int64_t, int))
{
    ma_fix_begin(&f);
    int n = sweep(ctx->db, ctx->now_ms + 1, 10);
    T_OK(ma_fix_end(&f, n < 0 ? n : MA_OK));
    return n;
}

/* --- keys --- */

static int jwk(const char *n, const char *exponent, struct ma_span *ret)
{
    return ma_rs256_jwk(f.arena, ma_span_str(n), ma_span_str(exponent), ret);
}

START_TEST(keys_as_they_are_written)
{
    struct ma_span plain, zero;
    T_OK(jwk(MODULUS, "AQAB", &plain));
    T_OK(jwk(SIGNED_MODULUS, "AAEAAQ", &zero));
    ck_assert(ma_span_eq(plain, zero));
    ck_assert_ptr_nonnull(strstr((const char *)plain.p, "\"alg\":\"RS256\""));
    ck_assert_ptr_nonnull(strstr((const char *)plain.p, "\"n\":\"" MODULUS "\""));
    ck_assert_ptr_nonnull(strstr((const char *)plain.p, "\"e\":\"AQAB\""));
}
END_TEST

static const struct {
    const char *n, *e;
} no_keys[] = {{SMALL_MODULUS, "AQAB"}, {EVEN_MODULUS, "AQAB"}, {MODULUS, "AQ"},  {MODULUS, "AQAA"},
               {MODULUS, ""},           {"", "AQAB"},           {"AQAB", "AQAB"}, {MODULUS, "AQAB="},
               {MODULUS " ", "AQAB"},   {MODULUS, "AQAAAAAB"},  {"x", "AQAB"},    {MODULUS MODULUS MODULUS, "AQAB"}};

START_TEST(keys_that_are_none)
{
    struct ma_span ret;
    T_IS(MA_E_INVAL, jwk(no_keys[_i].n, no_keys[_i].e, &ret));
}
END_TEST

/* --- enrolling --- */

static struct ma_span ticket(void)
{
    static const char before[] = "enrollment_tx_id=";
    const char *at = strstr(e.barcode_uri, before);
    ck_assert_ptr_nonnull(at);
    return ma_span_of(at + sizeof before - 1, MA_PUSH_TICKET_LEN);
}

static struct ma_push_request request(void)
{
    struct ma_push_request in = {.identifier = MA_LIT("device-1"),
                                 .name = MA_LIT("Phone"),
                                 .service = MA_LIT("GCM"),
                                 .push_token = MA_LIT("token-of-the-push-service")};
    T_OK(jwk(MODULUS, "AQAB", &in.public_key));
    return in;
}

static void begin(bool held)
{
    e = (struct ma_enrolled){.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_push(ctx, held, &e)));
}

static enum ma_push_verdict bring(struct ma_span with)
{
    struct ma_push_request in = request();
    T_OK(MA_FIX_WRITE(&f, ma_push_enrol_device(ctx, with, &in, &device)));
    return device.verdict;
}

/* Confirmed methods of the caller: how many of each half. */
static void have(size_t push, size_t totp)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0, found[2] = {0, 0};
    T_OK(ma_methods_list(ctx, v, &n));
    for (size_t i = 0; i < n; i++) {
        found[0] += v[i].confirmed && v[i].type == MA_FACTOR_PUSH;
        found[1] += v[i].confirmed && v[i].type == MA_FACTOR_TOTP;
    }
    ck_assert_uint_eq(found[0], push);
    ck_assert_uint_eq(found[1], totp);
}

static void enrolled(void)
{
    begin(false);
    ck_assert_int_eq(bring(ticket()), MA_PUSH_OK);
}

START_TEST(a_device_confirms_itself)
{
    struct ma_method_view view;
    bool pending = false, expected = false;
    begin(false);
    struct ma_span text = ticket();
    T_OK(MA_FIX_WRITE(&f, ma_push_confirm(ctx, e.id, ma_span_str(e.auth_session), &pending, &view)));
    T_OK(ma_push_expected(ctx, e.id, &expected));
    ck_assert(pending && expected);
    ck_assert_int_eq(bring(MA_LIT("00000000000000000000000000000000")), MA_PUSH_NO_TICKET);
    ck_assert_int_eq(bring(text), MA_PUSH_OK);
    ck_assert_str_eq(device.totp_secret, e.manual_code);
    ck_assert(ma_span_eq(ctx->wakes, e.id));
    have(1, 1);
    ck_assert_int_eq(bring(text), MA_PUSH_TICKET_USED);
    T_OK(MA_FIX_WRITE(&f, ma_push_confirm(ctx, e.id, ma_span_str(e.auth_session), &pending, &view)));
    ck_assert(!pending && view.confirmed);
    T_STR(view.name, "Phone");
    T_OK(ma_push_expected(ctx, e.id, &expected));
    ck_assert(!expected);
    T_PROBLEM(&f, 400, "Invalid or expired session",
              MA_FIX_WRITE(&f, ma_push_confirm(ctx, e.id, ma_span_str(e.auth_session), &pending, &view)));
}
END_TEST

START_TEST(a_held_device_waits_for_its_sign_in)
{
    struct ma_method_view view;
    bool pending = false;
    begin(true);
    ck_assert_int_eq(bring(ticket()), MA_PUSH_OK);
    have(0, 0);
    T_OK(MA_FIX_WRITE(&f, ma_push_confirm(ctx, e.id, ma_span_str(e.auth_session), &pending, &view)));
    ck_assert(!pending && view.confirmed);
    have(1, 1);
}
END_TEST

START_TEST(a_ticket_lapses)
{
    begin(false);
    struct ma_span text = ticket();
    ma_fix_advance(&f, f.conf->enrollment.push_ttl * 1000);
    ctx = ma_fix_again(&f);
    ck_assert_int_eq(bring(text), MA_PUSH_NO_TICKET);
    ck_assert_int_gt(swept(ma_expire_pending), 0);
    ck_assert_int_eq(bring(text), MA_PUSH_NO_TICKET);
}
END_TEST

/* --- the pair --- */

static struct ma_span half(enum ma_factor type)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    T_OK(ma_methods_list(ctx, v, &n));
    for (size_t i = 0; i < n; i++)
        if (v[i].type == type)
            return v[i].id;
    ck_abort_msg("no such half");
}

START_TEST(one_half_takes_the_other_along)
{
    enrolled();
    struct ma_span id = half(_i ? MA_FACTOR_TOTP : MA_FACTOR_PUSH);
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, MA_LIT(MA_FIX_BOB), id)));
    have(0, 0);
}
END_TEST

START_TEST(kept_and_brought_back)
{
    struct ma_span kept;
    enum ma_restored how = MA_RESTORE_GONE;
    struct ma_push_device before, after;
    enrolled();
    as(MA_FIX_BOB);
    struct ma_span id = half(MA_FACTOR_PUSH), otp = half(MA_FACTOR_TOTP);
    T_OK(ma_push_device_get(ctx->db, f.arena, MA_LIT(MA_FIX_BOB), id, &before));
    T_OK(MA_FIX_WRITE(&f, ma_keep_method(ctx, id, &kept)));
    T_OK(MA_FIX_WRITE(&f, ma_restore_method(ctx, kept, &how)));
    ck_assert_int_eq(how, MA_RESTORE_PRESENT);
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, MA_LIT(MA_FIX_BOB), otp)));
    T_OK(MA_FIX_WRITE(&f, ma_restore_method(ctx, kept, &how)));
    ck_assert_int_eq(how, MA_RESTORED);
    have(1, 1);
    T_OK(ma_push_device_get(ctx->db, f.arena, MA_LIT(MA_FIX_BOB), id, &after));
    ck_assert(ma_span_eq(before.token_mac, after.token_mac) && ma_span_eq(before.ticket_mac, after.ticket_mac));
    ck_assert(ma_span_eq(before.public_key, after.public_key) && ma_span_eq(after.pair_id, otp));
    ck_assert(!ma_span_eq(before.push_token, after.push_token)); /* sealed anew */
}
END_TEST

/* --- questions --- */

static void ask(void)
{
    struct ma_user u = bob();
    T_OK(MA_FIX_WRITE(&f, ma_challenge_start(ctx, FLOW, &u, half(MA_FACTOR_PUSH), &started)));
    ck_assert_int_eq(started.verdict, MA_SIGNIN_OK);
}

static enum ma_signin_verdict prove(const char *oob_code)
{
    struct ma_user u = bob();
    T_OK(MA_FIX_WRITE(&f, ma_prove_push(ctx, FLOW, &u, ma_span_str(oob_code), &proof)));
    return proof.verdict;
}

/* What a device does, where its signature is not the point. */
static int answer(enum ma_push_state state)
{
    static const struct ma_sql open_one = {
        MA_SQL_MAX - 40, "SELECT token_mac FROM push_transactions WHERE user_id = $1 ORDER BY state LIMIT 1"};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(ctx->db, &open_one, &st));
    ma_bind_text(st, 1, MA_LIT(MA_FIX_BOB));
    T_OK(ma_stmt_step(st));
    struct ma_push_transaction t = {.user_id = MA_LIT(MA_FIX_BOB), .state = state};
    t.token_mac = ma_arena_dup(f.arena, ma_col_view(st, 0));
    ma_stmt_reset_p(&st);
    st = NULL;
    return MA_FIX_WRITE(&f, ma_push_transaction_answer(ctx->db, &t, ctx->now_ms));
}

START_TEST(a_question_and_its_answers)
{
    bool waits = false;
    struct ma_user u;
    enrolled();
    as(MA_FIX_BOB);
    ask();
    const char *oob = started.oob_code;
    ck_assert_ptr_null(started.number);
    ck_assert(ctx->wake_courier);
    u = bob();
    T_OK(ma_push_waits(ctx, FLOW, &u, ma_span_str(oob), &waits));
    ck_assert(waits);
    ck_assert_int_eq(prove(oob), MA_SIGNIN_PENDING);
    T_OK(answer(MA_PUSH_APPROVED));
    T_IS(MA_E_CONFLICT, answer(MA_PUSH_REJECTED));
    T_OK(ma_push_waits(ctx, FLOW, &u, ma_span_str(oob), &waits));
    ck_assert(!waits);
    ck_assert_int_eq(prove(oob), MA_SIGNIN_OK);
    ck_assert_uint_eq(proof.amr, MA_AMR_PUSH | MA_AMR_MFA);
    ck_assert_int_eq(prove(oob), MA_SIGNIN_EXPIRED);
}
END_TEST

START_TEST(nobody_answers)
{
    enrolled();
    as(MA_FIX_BOB);
    ask();
    const char *oob = started.oob_code;
    ma_fix_advance(&f, f.conf->enrollment.push_ttl * 1000);
    ctx = ma_fix_again(&f);
    T_IS(MA_E_CONFLICT, answer(MA_PUSH_APPROVED));
    ck_assert_int_eq(prove(oob), MA_SIGNIN_EXPIRED);
    ck_assert_int_eq(swept(ma_push_expire), 1);
    ck_assert_int_eq(swept(ma_push_expire), 0);
    ck_assert_int_eq(swept(ma_challenges_expire), 1);
}
END_TEST

START_TEST(another_kind_of_challenge)
{
    struct ma_user u = bob();
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    size_t n = 0;
    T_OK(ma_signin_factors(ctx, &u, v, &n));
    ck_assert_uint_eq(n, 1); /* the verified e-mail */
    T_OK(MA_FIX_WRITE(&f, ma_challenge_start(ctx, FLOW, &u, v[0].id, &started)));
    T_IS(MA_E_INVAL, MA_FIX_WRITE(&f, ma_prove_push(ctx, FLOW, &u, ma_span_str(started.oob_code), &proof)));
    ck_assert_int_eq(prove("unknown"), MA_SIGNIN_EXPIRED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("push devices");
    TCase *tc = tcase_create("push");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, keys_as_they_are_written);
    tcase_add_loop_test(tc, keys_that_are_none, 0, (int)MA_COUNT(no_keys));
    tcase_add_test(tc, a_device_confirms_itself);
    tcase_add_test(tc, a_held_device_waits_for_its_sign_in);
    tcase_add_test(tc, a_ticket_lapses);
    tcase_add_loop_test(tc, one_half_takes_the_other_along, 0, 2);
    tcase_add_test(tc, kept_and_brought_back);
    tcase_add_test(tc, a_question_and_its_answers);
    tcase_add_test(tc, nobody_answers);
    tcase_add_test(tc, another_kind_of_challenge);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

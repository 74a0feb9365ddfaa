/* SPDX-License-Identifier: Apache-2.0
 * Own id_tokens that come back as hints: the signature counts and the type, the age does not.
 */
#include "ma/jose.h"

#include "../support/fixture.h"

static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_jose *jose;

static void setup(void)
{
    char why[256] = "";
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_OK(ma_jose_open(f.conf, &f.clock.clock, ma_rand_system(), NULL, &jose, why));
}

static void teardown(void)
{
    ma_jose_close(jose);
    ma_fix_close(&f);
}

static struct ma_span a_token(void)
{
    struct ma_span t;
    T_OK(ma_jose_client_assertion(jose, ctx->arena, "client", "https://op.example/token", ctx->now_ms / 1000, &t));
    return t;
}

START_TEST(test_good_at_any_age)
{
    static const int64_t ages[] = {0, 86400000, INT64_C(10) * 365 * 86400000};
    struct ma_span t = a_token(), claims;
    for (size_t i = 0; i < MA_COUNT(ages); i++) {
        T_OK(ma_jose_own_claims(jose, ctx->arena, t, ctx->now_ms + ages[i], &claims));
        ck_assert_ptr_nonnull(memmem(claims.p, claims.n, "\"sub\":\"client\"", 14));
    }
}
END_TEST

START_TEST(test_every_changed_character_is_noticed)
{
    struct ma_span t = a_token(), claims;
    for (size_t i = 0; i < t.n; i += 7) {
        char *copy = ma_arena_strdup(ctx->arena, t);
        ck_assert_ptr_nonnull(copy);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        T_IS(MA_E_AUTH, ma_jose_own_claims(jose, ctx->arena, ma_span_of(copy, t.n), ctx->now_ms, &claims));
    }
}
END_TEST

static const char *const strangers[] = {
    "",
    "a",
    "..",
    "a.b.c",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.AAAA",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA",
};

START_TEST(test_strangers)
{
    struct ma_span claims;
    T_IS(MA_E_AUTH, ma_jose_own_claims(jose, ctx->arena, ma_span_str(strangers[_i]), ctx->now_ms, &claims));
}
END_TEST

START_TEST(test_access_tokens_are_none)
{
    struct ma_span t, claims;
    struct ma_mint m = {.iss = "https://a.example/",
                        .sub = "u",
                        .client_id = "c",
                        .audience = "https://a.example/me/",
                        .scope = "",
                        .now_s = ctx->now_ms / 1000,
                        .ttl_s = 600,
                        .auth_time_s = -1,
                        .jti = "j",
                        .alg = MA_JWS_RS256};
    T_OK(ma_jose_mint(jose, ctx->arena, &m, &t));
    T_IS(MA_E_AUTH, ma_jose_own_claims(jose, ctx->arena, t, ctx->now_ms, &claims));
}
END_TEST

START_TEST(test_keys_retire)
{
    char kid[65];
    struct ma_span t = a_token(), claims;
    T_OK(ma_jose_rotate(jose, MA_JWS_RS256, 600, kid));
    T_OK(ma_jose_own_claims(jose, ctx->arena, t, ctx->now_ms, &claims));
    T_IS(MA_E_AUTH, ma_jose_own_claims(jose, ctx->arena, t, ctx->now_ms + 601000, &claims));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("own_claims");
    TCase *tc = tcase_create("own_claims");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_good_at_any_age);
    tcase_add_test(tc, test_every_changed_character_is_noticed);
    tcase_add_loop_test(tc, test_strangers, 0, MA_COUNT(strangers));
    tcase_add_test(tc, test_access_tokens_are_none);
    tcase_add_test(tc, test_keys_retire);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

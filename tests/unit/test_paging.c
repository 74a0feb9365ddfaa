/* SPDX-License-Identifier: Apache-2.0
 * Pages of a list: how many entries, and cursors that nobody else can use or make up.
 */
#include "../../src/api/paging.h"

#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/codec.h"

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static void ask(const char *name, struct ma_span value)
{
    ctx->req.query[0] = (struct ma_pair){ma_span_str(name), value};
    ctx->req.n_query = 1;
}

/* --- take --- */

static const struct {
    const char *text; /* NULL: absent */
    size_t want;      /* 0: refused */
    const char *detail;
} takes[] = {
    {NULL, 10, NULL},
    {"1", 1, NULL},
    {"10", 10, NULL},
    {"20", 20, NULL},
    {"007", 7, NULL},
    {"0", 0, "query/take must be >= 1"},
    {"21", 0, "query/take must be <= 20"},
    {"9999", 0, "query/take must be <= 20"},
    {"", 0, "query/take must be integer"},
    {"-1", 0, NULL},
    {"+1", 0, "query/take must be integer"},
    {" 1", 0, "query/take must be integer"},
    {"1 ", 0, "query/take must be integer"},
    {"1.0", 0, "query/take must be integer"},
    {"1e1", 0, "query/take must be integer"},
    {"0x1", 0, "query/take must be integer"},
    {"ten", 0, "query/take must be integer"},
    {"10000", 0, NULL},
    {"18446744073709551617", 0, NULL},
    {"4294967297", 0, NULL},
    {"\xd9\xa1", 0, "query/take must be integer"},
};

START_TEST(test_take)
{
    size_t got = 0;
    if (takes[_i].text)
        ask("take", ma_span_str(takes[_i].text));
    int r = ma_take(ctx, 10, 20, &got);
    if (takes[_i].want) {
        T_OK(r);
        ck_assert_uint_eq(got, takes[_i].want);
        return;
    }
    ma_fix_expect_problem(&f, r, 400, NULL, takes[_i].text);
    ck_assert(ma_fix_body_has(&f, "\"pointer\":\"/take\""));
    ck_assert_msg(!takes[_i].detail || ma_fix_body_has(&f, takes[_i].detail), "%.*s", (int)ctx->resp.body.n,
                  (const char *)ctx->resp.body.p);
}
END_TEST

/* --- cursors --- */

static const char *make(const char *list, struct ma_span key)
{
    const char *text = ma_cursor_make(ctx, list, key);
    ck_assert_ptr_nonnull(text);
    return text;
}

static struct ma_span key_of(size_t n)
{
    uint8_t *p = ma_arena_alloc(f.arena, n);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 7);
    return ma_span_of(p, n);
}

START_TEST(test_cursor)
{
    static const size_t sizes[] = {1, 2, 3, 34, MA_CURSOR_KEY_MAX};
    static const char *const names[] = {"from", "next"};
    for (size_t i = 0; i < MA_COUNT(sizes); i++) {
        struct ma_span key = key_of(sizes[i]), got;
        const char *text = make("accounts", key);
        ck_assert_uint_eq(strspn(text, MA_ALNUM62 "-_"), strlen(text));
        ck_assert_str_eq(make("accounts", key), text);
        for (size_t k = 0; k < MA_COUNT(names); k++) {
            ask(names[k], ma_span_str(text));
            T_OK(ma_cursor_read(ctx, "accounts", &got));
            ck_assert(ma_span_eq(got, key));
        }
    }
}
END_TEST

START_TEST(test_cursor_absent)
{
    struct ma_span got = MA_LIT("x");
    T_OK(ma_cursor_read(ctx, "accounts", &got));
    ck_assert_ptr_null(got.p);
}
END_TEST

START_TEST(test_cursor_from_wins)
{
    struct ma_span got;
    ask("next", ma_span_str(make("accounts", MA_LIT("later"))));
    ctx->req.query[1] = (struct ma_pair){MA_LIT("from"), ma_span_str(make("accounts", MA_LIT("first")))};
    ctx->req.n_query = 2;
    T_OK(ma_cursor_read(ctx, "accounts", &got));
    T_STR(got, "first");
}
END_TEST

START_TEST(test_cursor_too_long_to_make)
{
    ck_assert_ptr_null(ma_cursor_make(ctx, "accounts", key_of(MA_CURSOR_KEY_MAX + 1)));
}
END_TEST

static void refused(const char *what)
{
    struct ma_span got = MA_LIT("x");
    ctx->resp.n_headers = 0;
    ctx->errs->n = 0;
    ma_fix_expect_problem(&f, ma_cursor_read(ctx, "accounts", &got), 400, NULL, what);
    ck_assert_msg(ma_fix_body_has(&f, "\"pointer\":\"/from\""), "%s", what);
    ck_assert_msg(!got.p, "%s", what);
}

/* Every other character in every place, and every length but the right one. */
START_TEST(test_cursor_changed)
{
    static const char alphabet[] = MA_ALNUM62 "-_";
    const char *text = make("accounts", MA_LIT("\1\2\3key"));
    size_t n = strlen(text);
    char *copy = malloc(n + 2);
    ck_assert_ptr_nonnull(copy);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof alphabet - 1; k += (i + k) % 3 + 1) {
            memcpy(copy, text, n + 1);
            if (copy[i] == alphabet[k])
                continue;
            copy[i] = alphabet[k];
            ask("from", ma_span_of(copy, n));
            refused("changed");
        }
    }
    memcpy(copy, text, n + 1);
    for (size_t cut = 0; cut < n; cut++) {
        ask("from", ma_span_of(copy, cut));
        refused("cut");
    }
    copy[n] = 'A';
    ask("from", ma_span_of(copy, n + 1));
    refused("longer");
    free(copy);
}
END_TEST

static const struct {
    const char *name, *text;
} forms[] = {
    {"empty", ""},
    {"one", "A"},
    {"padding", "QUJD="},
    {"base64", "ab+/ab+/ab+/ab+/ab+/ab+/ab+/"},
    {"blank", "QUJD QUJD"},
    {"not ASCII", "\xc3\xa4"},
    {"line end", "QUJDQUJD\n"},
    {"only a MAC", "AAAAAAAAAAAAAAAAAAAAAA"},
};

START_TEST(test_cursor_forms)
{
    ask("from", ma_span_str(forms[_i].text));
    refused(forms[_i].name);
}
END_TEST

START_TEST(test_cursor_huge)
{
    static char huge[8000];
    memset(huge, 'A', sizeof huge);
    for (size_t n = MA_B64URL_LEN(MA_CURSOR_KEY_MAX + 16) - 2; n < sizeof huge; n = n * 2 + 1) {
        ask("from", ma_span_of(huge, n));
        refused("huge");
    }
}
END_TEST

/* Bound to the list and the user: what one of them was given means nothing elsewhere. */
START_TEST(test_cursor_elsewhere)
{
    struct ma_span got;
    char text[256];
    (void)snprintf(text, sizeof text, "%s", make("accounts", MA_LIT("key")));
    ask("from", ma_span_str(text));
    ma_fix_expect_problem(&f, ma_cursor_read(ctx, "connections", &got), 400, NULL, "other list");
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    ask("from", ma_span_str(text));
    refused("other user");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "other"); /* of the same user, through another client */
    ask("from", ma_span_str(text));
    T_OK(ma_cursor_read(ctx, "accounts", &got));
    T_STR(got, "key");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("paging");
    TCase *tc = tcase_create("paging");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_take, 0, (int)MA_COUNT(takes));
    tcase_add_test(tc, test_cursor);
    tcase_add_test(tc, test_cursor_absent);
    tcase_add_test(tc, test_cursor_from_wins);
    tcase_add_test(tc, test_cursor_too_long_to_make);
    tcase_add_test(tc, test_cursor_changed);
    tcase_add_loop_test(tc, test_cursor_forms, 0, (int)MA_COUNT(forms));
    tcase_add_test(tc, test_cursor_huge);
    tcase_add_test(tc, test_cursor_elsewhere);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Tests of the arena, the byte buffer and the status codes.
 */
#include "ma/buf.h"

#include <check.h>
#include <stdlib.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

START_TEST(err_names)
{
    static const struct {
        int err;
        const char *name;
        const char *text;
    } rows[] = {{MA_OK, "MA_OK", "success"},
                {MA_E_NOMEM, "MA_E_NOMEM", "out of memory or over a memory limit"},
                {MA_E_NEXT, "MA_E_NEXT", "the request goes on in another lane"},
                {1, "MA_E_UNKNOWN", "unknown error"},
                {-1000, "MA_E_UNKNOWN", "unknown error"}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_str_eq(ma_err_name(rows[i].err), rows[i].name);
        ck_assert_str_eq(ma_err_text(rows[i].err), rows[i].text);
    }
}
END_TEST

START_TEST(free_p_clears)
{
    char *p = malloc(8);
    ma_free_p(&p);
    ck_assert_ptr_null(p);
    ma_free_p(&p); /* NULL is fine */
    ck_assert_ptr_null(p);
}
END_TEST

START_TEST(arena_blocks_are_aligned_and_apart)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(256, 65536);
    uint8_t *blocks[60];
    for (size_t i = 0; i < MA_COUNT(blocks); i++) {
        blocks[i] = ma_arena_alloc(a, i);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < MA_COUNT(blocks); i++) {
        for (size_t k = 0; k < i; k++)
            ck_assert_uint_eq(blocks[i][k], i);
    }
}
END_TEST

START_TEST(arena_keeps_its_limit)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(1024, 4096);
    ck_assert_ptr_null(ma_arena_alloc(a, 4097));
    ck_assert_ptr_null(ma_arena_alloc(a, SIZE_MAX));
    ck_assert_ptr_null(ma_arena_alloc(a, SIZE_MAX - 20));
    ck_assert_ptr_null(ma_arena_calloc(a, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(ma_arena_strdup(a, (struct ma_span){NULL, SIZE_MAX}));
    size_t got = 0;
    while (ma_arena_alloc(a, 64))
        got += 64;
    ck_assert_uint_le(got, 4096);
    ck_assert_uint_ge(got, 2048);
    ck_assert_ptr_null(ma_arena_dup(a, ma_span_str("a text of more bytes than are left in the arena, which are few"
                                                   " and were counted above"))
                           .p);
    ma_arena_reset(a);
    ck_assert_ptr_nonnull(ma_arena_alloc(a, 2048));
}
END_TEST

START_TEST(arena_without_room)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(0, 0);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_null(ma_arena_alloc(a, 1));
    ma_arena_reset(a);
    ma_arena_free(NULL);
}
END_TEST

START_TEST(arena_zeroes_and_copies)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    memset(ma_arena_alloc(a, 512), 0xAA, 512);
    ma_arena_reset(a);
    const uint8_t *z = ma_arena_calloc(a, 8, 64);
    for (size_t i = 0; i < 512; i++)
        ck_assert_uint_eq(z[i], 0);
    ck_assert_str_eq(ma_arena_strdup(a, ma_span_of("abcdef", 3)), "abc");
    ck_assert_str_eq(ma_arena_strdup(a, MA_SPAN_NULL), "");
    struct ma_span s = ma_arena_dup(a, MA_LIT("x\0y"));
    ck_assert_uint_eq(s.n, 3);
    ck_assert(memcmp(s.p, "x\0y", 4) == 0);
    ck_assert_str_eq(ma_arena_printf(a, "%s-%d", "n", 42), "n-42");
}
END_TEST

START_TEST(arena_reset_wipes)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    uint8_t *p = ma_arena_alloc(a, 100);
    memset(p, 0x5A, 100);
    (void)ma_arena_alloc(a, 40000); /* a second chunk, given back */
    ma_arena_reset(a);
    const uint8_t *again = ma_arena_alloc(a, 100);
    ck_assert_ptr_eq(again, p); /* the first chunk was kept */
    for (size_t i = 0; i < 100; i++)
        ck_assert_uint_eq(again[i], 0);
}
END_TEST

#ifdef __SANITIZE_ADDRESS__
START_TEST(arena_free_space_is_poisoned)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    char *p = ma_arena_alloc(a, 32), *q = ma_arena_alloc(a, 5);
    ck_assert(!__asan_address_is_poisoned(p) && !__asan_address_is_poisoned(p + 31));
    ck_assert(__asan_address_is_poisoned(p + 32));
    ck_assert(!__asan_address_is_poisoned(q + 4));
    ck_assert(__asan_address_is_poisoned(q + 5));
    ma_arena_reset(a);
    ck_assert(__asan_address_is_poisoned(p));
}
END_TEST
#endif

START_TEST(buf_appends)
{
    struct ma_buf b MA_CLEANUP(ma_buf_free);
    ma_buf_init(&b, 1000);
    ma_buf_str(&b, "one");
    ma_buf_byte(&b, ',');
    ma_buf_span(&b, MA_LIT("two"));
    ma_buf_put(&b, NULL, 0);
    ma_buf_span(&b, MA_SPAN_NULL);
    ma_buf_printf(&b, ",%03d", 7);
    ma_buf_printf(&b, "%s", "");
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    ck_assert(ma_span_eq_str(ma_buf_view(&b), "one,two,007"));
    uint8_t *p = ma_buf_reserve(&b, 2);
    ck_assert_ptr_nonnull(p);
    memcpy(p, "!?", 2);
    ck_assert_uint_eq(b.n, 11);
    b.n += 2;
    ck_assert(ma_span_eq_str(ma_buf_view(&b), "one,two,007!?"));
    ma_buf_clear(&b);
    ck_assert_uint_eq(ma_buf_view(&b).n, 0);
}
END_TEST

/* Appends of every size up to and past the maximum; what fits is kept, the rest sets the error. */
static void fill_to_limit(struct ma_buf *b, size_t max)
{
    for (size_t i = 0; i < max; i++)
        ma_buf_byte(b, (uint8_t)i);
    ck_assert_int_eq(ma_buf_err(b), MA_OK);
    ck_assert_uint_eq(b->n, max);
    ma_buf_byte(b, 1);
    ck_assert_int_eq(ma_buf_err(b), MA_E_RANGE);
    ck_assert_uint_eq(b->n, max);
    for (size_t i = 0; i < max; i++)
        ck_assert_uint_eq(b->p[i], (uint8_t)i);
}

START_TEST(buf_keeps_its_maximum)
{
    static const size_t rows[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 65536);
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_buf b MA_CLEANUP(ma_buf_free);
        ma_buf_init(&b, rows[i]);
        fill_to_limit(&b, rows[i]);
        struct ma_buf c;
        ma_buf_init_arena(&c, a, rows[i] / 2, rows[i]);
        fill_to_limit(&c, rows[i]);
    }
}
END_TEST

START_TEST(buf_errors_are_sticky)
{
    struct ma_buf b MA_CLEANUP(ma_buf_free);
    ma_buf_init(&b, 4);
    ma_buf_str(&b, "abcde");
    ck_assert_int_eq(ma_buf_err(&b), MA_E_RANGE);
    ma_buf_str(&b, "a");
    ma_buf_printf(&b, "b");
    ck_assert_uint_eq(b.n, 0);
    ck_assert_ptr_null(ma_buf_reserve(&b, 1));
    ma_buf_clear(&b);
    ma_buf_printf(&b, "%s", "wxyz"); /* exactly full: the formatter's NUL needs no room of ours */
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    ck_assert(ma_span_eq_str(ma_buf_view(&b), "wxyz"));
    ck_assert_ptr_null(ma_buf_reserve(&b, SIZE_MAX));
    ck_assert_int_eq(ma_buf_err(&b), MA_E_RANGE);
    ma_buf_free(&b);
    ma_buf_str(&b, "ok");
    ck_assert(ma_span_eq_str(ma_buf_view(&b), "ok"));
}
END_TEST

START_TEST(buf_zero_maximum)
{
    struct ma_buf b MA_CLEANUP(ma_buf_free);
    ma_buf_init(&b, 0);
    ma_buf_str(&b, "");
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    ma_buf_byte(&b, 1);
    ck_assert_int_eq(ma_buf_err(&b), MA_E_RANGE);
}
END_TEST

START_TEST(buf_in_arena_without_room)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(256, 256);
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 16, 100000);
    for (size_t i = 0; i < 300; i++)
        ma_buf_byte(&b, 'x');
    ck_assert_int_eq(ma_buf_err(&b), MA_E_NOMEM);
    ma_buf_init_arena(&b, a, 4096, 100000);
    ck_assert_int_eq(ma_buf_err(&b), MA_E_NOMEM);
}
END_TEST

START_TEST(buf_in_arena_grows_in_place_or_moves)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 64, 4096);
    const uint8_t *start = b.p;
    for (size_t i = 0; i < 200; i++)
        ma_buf_byte(&b, (uint8_t)i);
    ck_assert_ptr_eq(b.p, start); /* the latest block of the arena grows where it is */
    uint8_t *other = ma_arena_alloc(a, 16);
    memset(other, 0xEE, 16);
    for (size_t i = 200; i < 1000; i++)
        ma_buf_byte(&b, (uint8_t)i);
    ck_assert_ptr_ne(b.p, start);
    for (size_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(b.p[i], (uint8_t)i);
    for (size_t i = 0; i < 16; i++)
        ck_assert_uint_eq(other[i], 0xEE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("arena_buf");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, err_names);
    tcase_add_test(tc, free_p_clears);
    tcase_add_test(tc, arena_blocks_are_aligned_and_apart);
    tcase_add_test(tc, arena_keeps_its_limit);
    tcase_add_test(tc, arena_without_room);
    tcase_add_test(tc, arena_zeroes_and_copies);
    tcase_add_test(tc, arena_reset_wipes);
#ifdef __SANITIZE_ADDRESS__
    tcase_add_test(tc, arena_free_space_is_poisoned);
#endif
    tcase_add_test(tc, buf_appends);
    tcase_add_test(tc, buf_keeps_its_maximum);
    tcase_add_test(tc, buf_errors_are_sticky);
    tcase_add_test(tc, buf_zero_maximum);
    tcase_add_test(tc, buf_in_arena_without_room);
    tcase_add_test(tc, buf_in_arena_grows_in_place_or_moves);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

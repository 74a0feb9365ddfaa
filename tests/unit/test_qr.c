/* SPDX-License-Identifier: Apache-2.0
 * QR codes: their size, the patterns a reader looks for, and the limits. That readers understand them is shown by the
 * browser tests of the hosted login.
 */
#include "ma/qr.h"
#include "../support/fixture.h"

static struct ma_arena *a;

static void setup(void)
{
    a = ma_arena_new(4096, 1 << 20);
    ck_assert_ptr_nonnull(a);
}

static void teardown(void)
{
    ma_arena_free(a);
}

/* Bytes that the smallest versions hold at level M (ISO/IEC 18004 table 7). */
static const struct {
    size_t bytes;
    int size;
} sizes[] = {{1, 21}, {14, 21}, {15, 25}, {26, 25}, {27, 29}, {2331, 177}};

/* The finder pattern: a dark ring, a light one, a dark 3 × 3. */
static void has_finder(const struct ma_qr *qr, int left, int top)
{
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 7; x++) {
            int dx = x < 3 ? 3 - x : x - 3, dy = y < 3 ? 3 - y : y - 3, ring = dx > dy ? dx : dy;
            ck_assert_msg(ma_qr_dark(qr, left + x, top + y) == (ring != 2), "module %d %d", x, y);
        }
}

START_TEST(test_size)
{
    struct ma_qr qr;
    uint8_t *text = ma_arena_alloc(a, sizes[_i].bytes);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', sizes[_i].bytes);
    T_OK(ma_qr_encode(a, ma_span_of(text, sizes[_i].bytes), &qr));
    ck_assert_int_eq(qr.size, sizes[_i].size);
    has_finder(&qr, 0, 0);
    has_finder(&qr, qr.size - 7, 0);
    has_finder(&qr, 0, qr.size - 7);
}
END_TEST

START_TEST(test_limits)
{
    static uint8_t text[2332];
    struct ma_qr qr;
    T_IS(MA_E_INVAL, ma_qr_encode(a, MA_LIT(""), &qr));
    T_IS(MA_E_RANGE, ma_qr_encode(a, ma_span_of(text, sizeof text), &qr));
    T_OK(ma_qr_encode(a, ma_span_of(text, 40), &qr)); /* zero bytes are bytes */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("qr");
    TCase *tc = tcase_create("encode");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_size, 0, (int)MA_COUNT(sizes));
    tcase_add_test(tc, test_limits);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

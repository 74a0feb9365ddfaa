/* SPDX-License-Identifier: Apache-2.0
 * Request token buckets: bursts, refill, clocks that go back, changed limits, eviction, threads.
 */
#include "ma/limit.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW 1764000000000
#define MINUTE 60000
#define ALICE MA_LIT("auth0|alice")
#define BOB MA_LIT("auth0|bob")

static struct ma_rand_seeded rand_source;
static struct ma_limits *limits;
static struct ma_limit_state st;

static void setup(void)
{
    ma_rand_seeded_init(&rand_source, 1);
    ck_assert_int_eq(ma_limits_new(&rand_source.rand, &limits), MA_OK);
}

static void teardown(void)
{
    ma_limits_free(limits);
}

static bool take(struct ma_span key, int64_t limit, int64_t now)
{
    ma_limit_take(limits, MA_BUCKET_READ, key, limit, MINUTE, now, &st);
    return st.allowed;
}

static bool peek(struct ma_span key, int64_t limit, int64_t now)
{
    ma_limit_peek(limits, MA_BUCKET_READ, key, limit, MINUTE, now, &st);
    return st.allowed;
}

/* How many of them are allowed at once. */
static int drain(struct ma_span key, int64_t limit, int64_t now)
{
    int n = 0;
    while (n < 100000 && take(key, limit, now))
        n++;
    return n;
}

START_TEST(test_burst)
{
    static const int64_t sizes[] = {1, 2, 30, 120, 10000};
    ck_assert_int_eq(drain(ALICE, sizes[_i], NOW), (int)sizes[_i]);
    ck_assert(!st.allowed);
    ck_assert_int_eq(st.limit, sizes[_i]);
    ck_assert_int_eq(st.remaining, 0);
    ck_assert_int_ge(st.retry_after_s, 1);
}
END_TEST

START_TEST(test_numbers)
{
    ck_assert(take(ALICE, 4, NOW)); /* one token each 15 s */
    ck_assert_int_eq(st.limit, 4);
    ck_assert_int_eq(st.remaining, 3);
    ck_assert_int_eq(st.reset_s, NOW / 1000 + 15);
    ck_assert_int_eq(st.retry_after_s, 0);
    ck_assert_int_eq(drain(ALICE, 4, NOW), 3);
    ck_assert_int_eq(st.retry_after_s, 15);
    ck_assert(!take(ALICE, 4, NOW + 14001)); /* 999 ms are left: rounded up */
    ck_assert_int_eq(st.retry_after_s, 1);
    ck_assert_int_eq(st.reset_s, NOW / 1000 + 15);
    ck_assert(take(ALICE, 4, NOW + 15000));
    ck_assert_int_eq(st.remaining, 0);
}
END_TEST

START_TEST(test_peek_takes_nothing)
{
    for (int i = 0; i < 10; i++)
        ck_assert(peek(ALICE, 2, NOW));
    ck_assert_int_eq(st.remaining, 2);
    ck_assert_int_eq(st.reset_s, NOW / 1000);
    ck_assert_int_eq(drain(ALICE, 2, NOW), 2);
    ck_assert(!peek(ALICE, 2, NOW));
    ck_assert_int_eq(st.retry_after_s, 30);
}
END_TEST

static const struct {
    const char *name;
    int64_t limit, after;
    int want; /* tokens there, of an empty bucket */
} refills[] = {
    {"nothing yet", 4, 14999, 0},  {"the first one", 4, 15000, 1},
    {"half", 4, 30000, 2},         {"nearly all", 4, 59999, 3},
    {"all", 4, 60000, 4},          {"never more than all", 4, 600000, 4},
    {"a year", 4, 31536000000, 4}, {"one a minute, too early", 1, 59999, 0},
    {"one a minute", 1, 60000, 1}, {"seven, rounded", 7, 8571, 0},
    {"seven, there", 7, 8572, 1},  {"many", 10000, 6, 1},
};

START_TEST(test_refill)
{
    (void)drain(ALICE, refills[_i].limit, NOW);
    int n = drain(ALICE, refills[_i].limit, NOW + refills[_i].after);
    ck_assert_msg(n == refills[_i].want, "%s: %d", refills[_i].name, n);
}
END_TEST

/* Looking often must not round the refill away: a client that waits as long as it was told is let in. */
START_TEST(test_refill_in_small_steps)
{
    static const int64_t sizes[] = {1, 3, 7, 11, 59};
    int64_t limit = sizes[_i], wait_ms = (MINUTE + limit - 1) / limit;
    (void)drain(ALICE, limit, NOW);
    for (int64_t t = 1; t < wait_ms; t++)
        ck_assert(!take(ALICE, limit, NOW + t));
    ck_assert_msg(take(ALICE, limit, NOW + wait_ms), "%lld per minute", (long long)limit);
}
END_TEST

START_TEST(test_long_run_rate)
{
    int n = 0; /* an hour of trying ten times a second: the burst and one hour's worth */
    for (int64_t t = 0; t < 3600000; t += 100)
        n += take(ALICE, 30, NOW + t);
    ck_assert_int_ge(n, 30 + 30 * 60 - 2);
    ck_assert_int_le(n, 30 + 30 * 60);
}
END_TEST

START_TEST(test_keys_and_kinds_are_apart)
{
    ck_assert_int_eq(drain(ALICE, 3, NOW), 3);
    ck_assert_int_eq(drain(BOB, 3, NOW), 3);
    ck_assert_int_eq(drain(MA_LIT("auth0|alice\0"), 3, NOW), 3);
    ck_assert_int_eq(drain(MA_SPAN_NULL, 3, NOW), 3);
    for (int b = 0; b < MA_BUCKET__COUNT; b++) {
        ma_limit_take(limits, (enum ma_bucket)b, ALICE, 3, MINUTE, NOW, &st);
        ck_assert_msg(st.allowed == (b != MA_BUCKET_READ), "bucket %d", b);
    }
}
END_TEST

START_TEST(test_keys_of_every_length)
{
    static uint8_t text[200];
    for (size_t n = 0; n < sizeof text; n++)
        ck_assert_msg(drain(ma_span_of(text, n), 2, NOW) == 2, "length %zu", n);
}
END_TEST

START_TEST(test_off)
{
    static const int64_t off[] = {0, -1};
    for (int i = 0; i < 1000; i++)
        ck_assert(take(ALICE, off[_i], NOW));
    ck_assert_int_eq(st.limit, MA_LIMIT_OFF);
    ck_assert_int_eq(st.remaining, MA_LIMIT_OFF);
    ck_assert_int_eq(st.reset_s, NOW / 1000);
    ck_assert_int_eq(drain(ALICE, 2, NOW), 2); /* nothing was counted */
}
END_TEST

START_TEST(test_largest_limit)
{
    const int64_t most = 1000000000;
    ck_assert(take(ALICE, most, NOW));
    ck_assert_int_eq(st.remaining, most - 1);
    ck_assert(take(ALICE, most, NOW + MINUTE - 1));
    ck_assert_int_eq(st.remaining, most - 1);
    ma_limit_take(limits, MA_BUCKET_TENANT_READ, MA_SPAN_NULL, most, 1000, NOW, &st);
    ma_limit_take(limits, MA_BUCKET_TENANT_READ, MA_SPAN_NULL, most, 1000, NOW + 999, &st);
    ck_assert_int_eq(st.remaining, most - 1);
}
END_TEST

/* --- changed limits --- */

START_TEST(test_raised)
{
    ck_assert_int_eq(drain(ALICE, 5, NOW), 5);
    ck_assert_int_eq(drain(ALICE, 8, NOW), 3); /* what was spent stays spent */
}
END_TEST

START_TEST(test_lowered)
{
    for (int i = 0; i < 3; i++)
        ck_assert(take(ALICE, 10, NOW));
    ck_assert_int_eq(drain(ALICE, 5, NOW), 2);
    ck_assert_int_eq(drain(ALICE, 2, NOW), 0);
    ck_assert_int_eq(drain(ALICE, 2, NOW + MINUTE), 2);
}
END_TEST

START_TEST(test_off_and_on)
{
    ck_assert_int_eq(drain(ALICE, 5, NOW), 5);
    ck_assert(take(ALICE, 0, NOW));
    ck_assert_int_eq(drain(ALICE, 5, NOW), 0);
}
END_TEST

/* --- the clock --- */

START_TEST(test_clock_back_gives_nothing)
{
    ck_assert_int_eq(drain(ALICE, 4, NOW), 4);
    ck_assert_int_eq(drain(ALICE, 4, NOW - 5000), 0);
    ck_assert_int_eq(drain(ALICE, 4, NOW), 0); /* there and back again is no time either */
    ck_assert_int_eq(drain(ALICE, 4, NOW + 15000), 1);
}
END_TEST

START_TEST(test_clock_set_back)
{
    const int64_t hour = 3600000;
    ck_assert_int_eq(drain(ALICE, 4, NOW), 4);
    ck_assert_int_eq(drain(ALICE, 4, NOW - hour), 0);
    /* Nobody waits until the clock has caught up. */
    ck_assert_int_eq(drain(ALICE, 4, NOW - hour + 15000), 1);
    ck_assert_int_eq(drain(ALICE, 4, NOW - hour + 15000 + MINUTE), 4);
}
END_TEST

START_TEST(test_clock_far_ahead)
{
    ck_assert_int_eq(drain(ALICE, 4, NOW), 4);
    ck_assert_int_eq(drain(ALICE, 4, INT64_MAX / 4), 4);
}
END_TEST

/* --- many keys --- */

static bool numbered(unsigned i, int64_t limit, int64_t now)
{
    char key[32];
    int n = snprintf(key, sizeof key, "user|%u", i);
    return take(ma_span_of(key, (size_t)n), limit, now);
}

/* A full bucket equals no bucket: those that are nearly full give way, the empty one stays. */
START_TEST(test_flood_forgets_no_empty_bucket)
{
    ck_assert_int_eq(drain(ALICE, 5, NOW), 5);
    for (unsigned i = 0; i < 400000; i++)
        ck_assert(numbered(i, 5, NOW + i / 1000));
    ck_assert(!take(ALICE, 5, NOW + 400));
}
END_TEST

START_TEST(test_flood_of_looks)
{
    for (unsigned i = 0; i < 50; i++)
        while (numbered(i, 5, NOW)) {
        }
    for (unsigned i = 0; i < 400000; i++) {
        uint64_t key = i;
        (void)peek(ma_span_of(&key, sizeof key), 5, NOW + 1);
    }
    for (unsigned i = 0; i < 50; i++)
        ck_assert_msg(!numbered(i, 5, NOW + 2), "user %u", i);
}
END_TEST

/* --- threads --- */

enum { THREADS = 8, TRIES = 5000 };
static _Atomic int allowed;

static void *hammer(void *arg)
{
    struct ma_limit_state s;
    (void)arg;
    for (int i = 0; i < TRIES; i++) {
        ma_limit_take(limits, MA_BUCKET_READ, ALICE, 1000, MINUTE, NOW, &s);
        atomic_fetch_add(&allowed, s.allowed);
        ma_limit_take(limits, MA_BUCKET_WRITE, ma_span_of(&i, sizeof i), 10, MINUTE, NOW + i, &s);
        ma_limit_peek(limits, MA_BUCKET_READ, BOB, 10, MINUTE, NOW, &s);
    }
    return NULL;
}

START_TEST(test_threads)
{
    pthread_t t[THREADS];
    atomic_store(&allowed, 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&allowed), 1000);
}
END_TEST

static int no_random(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}

START_TEST(test_without_randomness)
{
    const struct ma_rand none = {no_random, NULL};
    struct ma_limits *l = NULL;
    ck_assert_int_eq(ma_limits_new(&none, &l), MA_E_IO);
    ck_assert_ptr_null(l);
    ma_limits_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limit");
    TCase *tc = tcase_create("limit");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_burst, 0, 5);
    tcase_add_test(tc, test_numbers);
    tcase_add_test(tc, test_peek_takes_nothing);
    tcase_add_loop_test(tc, test_refill, 0, (int)MA_COUNT(refills));
    tcase_add_loop_test(tc, test_refill_in_small_steps, 0, 5);
    tcase_add_test(tc, test_long_run_rate);
    tcase_add_test(tc, test_keys_and_kinds_are_apart);
    tcase_add_test(tc, test_keys_of_every_length);
    tcase_add_loop_test(tc, test_off, 0, 2);
    tcase_add_test(tc, test_largest_limit);
    tcase_add_test(tc, test_raised);
    tcase_add_test(tc, test_lowered);
    tcase_add_test(tc, test_off_and_on);
    tcase_add_test(tc, test_clock_back_gives_nothing);
    tcase_add_test(tc, test_clock_set_back);
    tcase_add_test(tc, test_clock_far_ahead);
    tcase_add_test(tc, test_flood_forgets_no_empty_bucket);
    tcase_add_test(tc, test_flood_of_looks);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_without_randomness);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

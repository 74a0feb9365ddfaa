/* SPDX-License-Identifier: Apache-2.0
 * Signs of life: who is late, who may rest, and that nobody is watched without a limit.
 */
#include "ma/heartbeat.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LIMIT_MS = 8000 };

static struct ma_heartbeats *beats;

static void setup(void)
{
    ck_assert_int_eq(ma_heartbeats_new(LIMIT_MS, &beats), MA_OK);
}

static void teardown(void)
{
    ma_heartbeats_free(beats);
}

/* The name of who is late when this much time has passed. */
static const char *late_in(int64_t ms)
{
    const char *name = ma_heartbeats_late(beats, ma_heartbeats_now_ms() + ms);
    return name ? name : "";
}

START_TEST(nobody_is_late_at_first)
{
    ck_assert_str_eq(late_in(10 * LIMIT_MS), "");
}
END_TEST

START_TEST(silence_is_noticed)
{
    ck_assert_int_eq(ma_heartbeat_join(beats, "one"), MA_OK);
    ck_assert_str_eq(late_in(LIMIT_MS / 2), "");
    ck_assert_str_eq(late_in(2 * LIMIT_MS), "one");
}
END_TEST

START_TEST(rest_owes_nothing_until_the_next_sign)
{
    ck_assert_int_eq(ma_heartbeat_join(beats, "one"), MA_OK);
    ma_heartbeat_rest();
    ck_assert_str_eq(late_in(1000 * LIMIT_MS), "");
    ma_heartbeat();
    ck_assert_str_eq(late_in(2 * LIMIT_MS), "one");
}
END_TEST

static void *other_thread(void *arg)
{
    ck_assert_int_eq(ma_heartbeat_join(beats, "two"), MA_OK);
    ma_heartbeat_rest();
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

/* A record outlives its thread; one that ended at rest is never late. */
START_TEST(each_thread_has_its_own)
{
    atomic_bool joined = false;
    pthread_t thread;
    ck_assert_int_eq(ma_heartbeat_join(beats, "one"), MA_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, &joined), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(atomic_load(&joined));
    ck_assert_str_eq(late_in(2 * LIMIT_MS), "one");
    ma_heartbeat_rest();
    ck_assert_str_eq(late_in(2 * LIMIT_MS), "");
}
END_TEST

START_TEST(naps_fit_the_limit)
{
    ck_assert_int_eq(ma_heartbeats_nap_ms(beats, 60000), LIMIT_MS / 4);
    ck_assert_int_eq(ma_heartbeats_nap_ms(beats, 5), 5);
    ck_assert_int_eq(ma_heartbeats_nap_ms(beats, 0), 0);
    ck_assert_int_eq(ma_heartbeats_nap_ms(NULL, 60000), 60000);
    struct ma_heartbeats *tiny = NULL;
    ck_assert_int_eq(ma_heartbeats_new(1, &tiny), MA_OK);
    ck_assert_int_eq(ma_heartbeats_nap_ms(tiny, 60000), 1);
    ma_heartbeats_free(tiny);
}
END_TEST

START_TEST(without_a_limit_nobody_is_watched)
{
    struct ma_heartbeats *off = NULL;
    ck_assert_int_eq(ma_heartbeats_new(0, &off), MA_OK);
    ck_assert_int_eq(ma_heartbeat_join(off, "one"), MA_OK);
    ma_heartbeat();
    ck_assert_ptr_null(ma_heartbeats_late(off, ma_heartbeats_now_ms() + 1000 * LIMIT_MS));
    ck_assert_int_eq(ma_heartbeats_nap_ms(off, 60000), 60000);
    ma_heartbeats_free(off);
}
END_TEST

START_TEST(strangers_do_nothing)
{
    ck_assert_int_eq(ma_heartbeat_join(NULL, "one"), MA_OK);
    ma_heartbeat();
    ma_heartbeat_rest();
    ck_assert_str_eq(late_in(1000 * LIMIT_MS), "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("heartbeat");
    TCase *t = tcase_create("heartbeat");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nobody_is_late_at_first);
    tcase_add_test(t, silence_is_noticed);
    tcase_add_test(t, rest_owes_nothing_until_the_next_sign);
    tcase_add_test(t, each_thread_has_its_own);
    tcase_add_test(t, naps_fit_the_limit);
    tcase_add_test(t, without_a_limit_nobody_is_watched);
    tcase_add_test(t, strangers_do_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

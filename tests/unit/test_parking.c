/* SPDX-License-Identifier: Apache-2.0
 * Requests that wait without a thread: woken by what they wait for, by the clock, or by the end; bounded; and each runs
 * again exactly once however many wake it at the same time.
 */
#include "../support/fixture.h"
#include "ma/lanes.h"
#include "ma/parking.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WAIT_MS = 1000, MANY = 200, WAKERS = 4, KEYS = 7, PATIENCE_MS = 20000 };

static struct ma_fix f;
static struct ma_parking *parking;
static atomic_int done;

struct work {
    struct ma_ctx ctx;
    char user[32], key[32];
    atomic_int runs;
    atomic_bool over;
};

/* --- what the lanes call back: every step ends the request --- */

static void finished(struct ma_ctx *ctx)
{
    (void)ctx;
    atomic_fetch_add(&done, 1);
}

static int rolled_back(struct ma_ctx *ctx)
{
    (void)ctx;
    return MA_OK;
}

static void count_commit(const struct ma_app *app)
{
    (void)app;
}

static void committed(const struct ma_app *app, struct ma_ctx *ctx)
{
    (void)app;
    (void)ctx;
}

static int housekeeping(const struct ma_app *app, struct ma_db *db, bool *ret_more)
{
    (void)app;
    (void)db;
    *ret_more = false;
    return MA_OK;
}

static int step(struct ma_ctx *ctx)
{
    struct work *w = (struct work *)(void *)ctx;
    atomic_store(&w->over, ctx->park.over);
    atomic_fetch_add(&w->runs, 1);
    return MA_OK;
}

static void setup(void)
{
    char why[256] = "";
    ma_fix_open(&f, "");
    struct ma_lanes_env env = {.app = &f.app,
                               .database = f.database,
                               .writer = f.app.writer,
                               .queue = 4 * MANY,
                               .write_batch = 16,
                               .finished = finished,
                               .rolled_back = rolled_back,
                               .housekeeping = housekeeping,
                               .count_commit = count_commit,
                               .committed = committed};
    atomic_store(&done, 0);
    T_OK(ma_lanes_start(&env, &f.app.lanes, why));
    T_OK(ma_parking_new(&f.app, &parking));
}

static void teardown(void)
{
    ma_parking_close(parking);
    ma_lanes_stop(f.app.lanes);
    ma_parking_free(parking);
    ma_lanes_free(f.app.lanes);
    f.app.lanes = NULL;
    ma_fix_close(&f);
}

/* A request that its step wants parked. */
static void init(struct work *w, int user, int key)
{
    *w = (struct work){.ctx = {.app = &f.app, .conf = f.conf}};
    (void)snprintf(w->user, sizeof w->user, "u%d", user);
    (void)snprintf(w->key, sizeof w->key, "k%d", key);
    w->ctx.who.user_id = ma_span_str(w->user);
    w->ctx.arena = ma_arena_new(1024, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(w->ctx.arena);
    ck_assert_int_eq(ma_park(&w->ctx, ma_span_str(w->key), WAIT_MS, step), MA_E_NEXT);
    ck_assert(w->ctx.park.due && w->ctx.step == step && w->ctx.step_lane == MA_LANE_WRITE);
}

static void wait_done(int n)
{
    const struct timespec nap = {0, 1000000};
    for (int i = 0; atomic_load(&done) < n && i < PATIENCE_MS; i++)
        (void)nanosleep(&nap, NULL);
    ck_assert_int_eq(atomic_load(&done), n);
}

/* --- tests --- */

START_TEST(by_key)
{
    struct work w[3];
    for (int i = 0; i < 3; i++) {
        init(&w[i], i, i == 2);
        ck_assert(ma_parking_take(parking, &w[i].ctx));
    }
    ma_parking_wake(parking, MA_LIT("k"));
    ma_parking_wake(parking, MA_SPAN_NULL);
    ck_assert_uint_eq(ma_parking_count(parking), 3);
    ma_parking_wake(parking, MA_LIT("k0"));
    wait_done(2);
    ck_assert_uint_eq(ma_parking_count(parking), 1);
    ck_assert_int_eq(atomic_load(&w[0].runs) + atomic_load(&w[1].runs), 2);
    ck_assert(!atomic_load(&w[0].over) && !atomic_load(&w[1].over));
    ma_parking_close(parking);
    wait_done(3);
    ck_assert(atomic_load(&w[2].over));
    for (int i = 0; i < 3; i++)
        ma_arena_free(w[i].ctx.arena);
}
END_TEST

/* What is parked again keeps the end it had. */
START_TEST(by_time)
{
    struct work w;
    init(&w, 1, 1);
    ck_assert(ma_parking_take(parking, &w.ctx));
    ma_fix_advance(&f, WAIT_MS / 2);
    ma_parking_tick(parking);
    ck_assert_uint_eq(ma_parking_count(parking), 1);
    ma_parking_wake(parking, MA_LIT("k1"));
    wait_done(1);
    ck_assert(!atomic_load(&w.over));
    ck_assert_int_eq(ma_park(&w.ctx, MA_LIT("k1"), WAIT_MS, step), MA_E_NEXT);
    ck_assert(ma_parking_take(parking, &w.ctx));
    ma_fix_advance(&f, WAIT_MS / 2 - 1);
    ma_parking_tick(parking);
    ck_assert_uint_eq(ma_parking_count(parking), 1);
    ma_fix_advance(&f, 1);
    ma_parking_tick(parking);
    wait_done(2);
    ck_assert(atomic_load(&w.over));
    ck_assert_int_eq(w.ctx.now_ms, MA_FIX_START + WAIT_MS);
    ma_arena_free(w.ctx.arena);
}
END_TEST

START_TEST(bounds)
{
    struct work *w = calloc(MA_PARKED_MAX + 2, sizeof *w);
    ck_assert_ptr_nonnull(w);
    for (int i = 0; i <= MA_PARKED_PER_USER; i++) {
        init(&w[i], 0, 0);
        ck_assert(ma_parking_take(parking, &w[i].ctx) == (i < MA_PARKED_PER_USER));
    }
    ck_assert(w[MA_PARKED_PER_USER].ctx.park.over && !w[MA_PARKED_PER_USER].ctx.park.due);
    int taken = MA_PARKED_PER_USER;
    for (int i = MA_PARKED_PER_USER + 1; i < MA_PARKED_MAX + 2; i++) {
        init(&w[i], i, 1);
        taken += ma_parking_take(parking, &w[i].ctx);
    }
    ck_assert_int_eq(taken, MA_PARKED_MAX);
    ck_assert_uint_eq(ma_parking_count(parking), MA_PARKED_MAX);
    ma_parking_close(parking);
    wait_done(MA_PARKED_MAX);
    for (int i = 0; i < MA_PARKED_MAX + 2; i++)
        ma_arena_free(w[i].ctx.arena);
    free(w);
}
END_TEST

START_TEST(closed)
{
    struct work w;
    init(&w, 1, 1);
    ma_parking_close(parking);
    ck_assert(!ma_parking_take(parking, &w.ctx));
    ck_assert(w.ctx.park.over);
    ma_arena_free(w.ctx.arena);
}
END_TEST

static void *waker(void *arg)
{
    char key[32];
    for (int i = 0; i < 400; i++) {
        (void)snprintf(key, sizeof key, "k%d", (i + *(int *)arg) % KEYS);
        ma_parking_wake(parking, ma_span_str(key));
        ma_parking_tick(parking);
        (void)ma_parking_count(parking);
    }
    return NULL;
}

START_TEST(woken_by_many)
{
    struct work *w = calloc(MANY, sizeof *w);
    pthread_t threads[WAKERS];
    int numbers[WAKERS];
    ck_assert_ptr_nonnull(w);
    for (int i = 0; i < WAKERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, waker, &numbers[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        init(&w[i], i, i % KEYS);
        ck_assert(ma_parking_take(parking, &w[i].ctx));
    }
    for (int i = 0; i < WAKERS; i++)
        (void)pthread_join(threads[i], NULL);
    ma_parking_close(parking);
    wait_done(MANY);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(atomic_load(&w[i].runs), 1);
        ma_arena_free(w[i].ctx.arena);
    }
    free(w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parking");
    TCase *tc = tcase_create("parking");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, by_key);
    tcase_add_test(tc, by_time);
    tcase_add_test(tc, bounds);
    tcase_add_test(tc, closed);
    tcase_add_test(tc, woken_by_many);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Counting, histograms, and the text that Prometheus reads.
 */
#include "ma/metrics.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/metrics/int.h"
#include "ma/crypto.h"
#include "ma/ctx.h"
#include "ma/limit.h"
#include "ma/outbox.h"
#include "ma/store.h"

static const char *const operations[] = {"getThings", "postThing", "getThings"};
static struct ma_metrics *m;
static struct ma_samples samples;
static struct ma_arena *arena;

static void setup(void)
{
    ck_assert_int_eq(ma_metrics_new(operations, MA_COUNT(operations), &m), MA_OK);
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)4 << 20);
    ck_assert_ptr_nonnull(arena);
    samples.n = 0;
}

static void teardown(void)
{
    ma_arena_free(arena);
    ma_metrics_free(m);
}

static const char *text(void)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 65536, MA_METRICS_TEXT_MAX);
    ma_metrics_write(m, &samples, &b);
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

static bool has_line(const char *all, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = all; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, line, n) == 0 && p[n] == '\n')
            return true;
    return false;
}

#define WANT(line) ck_assert_msg(has_line(text(), line), "no line %s in\n%s", line, text())

/* --- labels --- */

START_TEST(names_of_the_modules)
{
    for (unsigned i = 0; i < MA_FACTOR__COUNT; i++)
        ck_assert_str_eq(ma_metrics_label_value(MA_M_LOGINS, 0, i), ma_factor_name((enum ma_factor)i));
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_LOGINS, 0, MA_FACTOR__COUNT));
    for (unsigned i = MA_JWS_NONE + 1; i < MA_JWS__COUNT; i++)
        ck_assert_str_eq(ma_metrics_label_value(MA_M_SIGNATURES, 0, i), ma_jws_alg_name((enum ma_jws_alg)i));
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_SIGNATURES, 0, MA_JWS__COUNT));
    for (unsigned i = 0; i < MA_CHANNEL__COUNT; i++)
        ck_assert_str_eq(ma_metrics_label_value(MA_M_DELIVERIES, 0, i), ma_channel_name((enum ma_channel)i));
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_DELIVERIES, 0, MA_CHANNEL__COUNT));
    ck_assert_str_eq(ma_metrics_label_value(MA_M_LANE_WAIT, 0, MA_LANE_WRITE), "write");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_LANE_WAIT, 0, MA_LANE_CPU), "cpu");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_LANE_WAIT, 0, MA_LANE_NET), "net");
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_LANE_WAIT, 0, MA_LANE_READ));
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_LANE_WAIT, 0, MA_LANE__COUNT));
    ck_assert_int_eq(MA_BUCKET__COUNT, MA_M_BUCKET_CODES);
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_BUCKET_READ), "user_reads");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_BUCKET_FLOW), "flows");
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_BUCKET_NOTICE));
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_BUCKET_POLL), "polls");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_M_BUCKET_PUSH_REJECTED), "push_rejections");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_PUSH, 0, MA_M_PUSH_EXPIRED), "expired");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_M_BUCKET_PASSWORD_REUSE), "password_reuse");
    ck_assert_str_eq(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_M_BUCKET_EXPORTS), "exports");
    ck_assert_ptr_null(ma_metrics_label_value(MA_M_RATE_LIMITED, 0, MA_M_BUCKET_EXPORTS + 1));
    ck_assert_str_eq(ma_metrics_label_value(MA_M_LEAVING, 0, MA_M_ERASED), "erased");
}
END_TEST

START_TEST(statuses)
{
    static const int known[] = {200, 201, 202, 204, 302, 303, 304, 400, 401, 403, 404, 405, 413, 415, 429, 500, 503};
    for (size_t i = 0; i < MA_COUNT(known); i++) {
        const char *name = ma_metrics_label_value(MA_M_REQUESTS, 1, ma_metrics_status(known[i]));
        ck_assert_int_eq(strtol(name, NULL, 10), known[i]);
    }
    static const int odd[] = {0, -1, 99, 299, 418, 511, 599, 600, 100000, INT32_MIN};
    for (size_t i = 0; i < MA_COUNT(odd); i++)
        ck_assert_str_eq(ma_metrics_label_value(MA_M_REQUESTS, 1, ma_metrics_status(odd[i])), "other");
}
END_TEST

START_TEST(rows_of_one_name)
{
    ck_assert_uint_eq(ma_metrics_operation(m, 0), ma_metrics_operation(m, 2));
    ck_assert_uint_ne(ma_metrics_operation(m, 0), ma_metrics_operation(m, 1));
    ck_assert_uint_eq(ma_metrics_operation(m, 3), ma_metrics_operation(m, MA_M_NO_ROW));
    unsigned ok = ma_metrics_status(200);
    ma_metrics_add(m, MA_M_REQUESTS, ma_metrics_operation(m, 0), ok, 1);
    ma_metrics_add(m, MA_M_REQUESTS, ma_metrics_operation(m, 2), ok, 1);
    ma_metrics_add(m, MA_M_REQUESTS, ma_metrics_operation(m, MA_M_NO_ROW), ma_metrics_status(404), 3);
    WANT("myaccountd_http_requests_total{operation=\"getThings\",status=\"200\"} 2");
    WANT("myaccountd_http_requests_total{operation=\"none\",status=\"404\"} 3");
    ck_assert_ptr_null(strstr(text(), "postThing"));
}
END_TEST

/* --- counters and levels --- */

START_TEST(counters)
{
    ma_metrics_add(m, MA_M_CACHE, MA_M_CACHE_LIST, MA_M_MISS, 1);
    ma_metrics_add(m, MA_M_CACHE, MA_M_CACHE_LIST, MA_M_MISS, 41);
    WANT("# TYPE myaccountd_cache_lookups_total counter");
    WANT("myaccountd_cache_lookups_total{cache=\"list\",result=\"miss\"} 42");
    WANT("myaccountd_cache_lookups_total{cache=\"token\",result=\"hit\"} 0");
    ma_metrics_add(m, MA_M_CONNECTIONS, 0, 0, 3);
    ma_metrics_add(m, MA_M_CONNECTIONS, 0, 0, -1);
    WANT("# TYPE myaccountd_http_connections gauge");
    WANT("myaccountd_http_connections 2");
}
END_TEST

START_TEST(out_of_range_counts_nothing)
{
    const char *before = text();
    ma_metrics_add(m, MA_M_CACHE, 2, 0, 1);
    ma_metrics_add(m, MA_M_CACHE, 0, 2, 1);
    ma_metrics_add(m, MA_M_CACHE, UINT32_MAX, UINT32_MAX, 1);
    ma_metrics_add(m, MA_M_COMMIT_FAILED, 1, 0, 1);
    ma_metrics_add(m, MA_M_REQUESTS, 1000, 0, 1);
    ma_metrics_add(m, MA_M_LANE_WAIT, MA_LANE_CPU, 0, 1); /* a histogram is not added to */
    ma_metrics_add(m, MA_M_DB_SIZE, 0, 0, 1);             /* nor what is measured */
    ma_metrics_observe(m, MA_M_LANE_WAIT, MA_LANE__COUNT, 1);
    ma_metrics_observe(m, MA_M_CACHE, 0, 1);
    ma_metrics_observe(m, MA_M_DB_SIZE, 0, 1);
    ck_assert_str_eq(text(), before);
    ma_metrics_add(NULL, MA_M_CACHE, 0, 0, 1);
    ma_metrics_observe(NULL, MA_M_LANE_WAIT, 0, 1);
    ck_assert_uint_eq(ma_metrics_operation(NULL, 0), 0);
    ma_metrics_free(NULL);
}
END_TEST

/* --- histograms --- */

static int64_t bucket(unsigned i)
{
    return ma_metrics_value(m, MA_M_BATCH, 0, i);
}

START_TEST(bounds_are_inclusive)
{
    const struct bounds *b = &ma_metric_bounds[BOUNDS_BATCH];
    for (unsigned i = 0; i < b->n; i++) {
        ck_assert(i == 0 || b->v[i] > b->v[i - 1]);
        ma_metrics_observe(m, MA_M_BATCH, 0, b->v[i]);     /* le: up to and with it */
        ma_metrics_observe(m, MA_M_BATCH, 0, b->v[i] + 1); /* the next one */
    }
    ck_assert_int_eq(bucket(0), 1); /* 1 */
    ck_assert_int_eq(bucket(1), 2); /* 2, twice: 1 + 1 is the next bound */
    for (unsigned i = 2; i < b->n; i++)
        ck_assert_int_eq(bucket(i), 2);
    ck_assert_int_eq(bucket(b->n), 1); /* beyond the last */
    ma_metrics_observe(m, MA_M_BATCH, 0, INT64_MIN);
    ma_metrics_observe(m, MA_M_BATCH, 0, 0);
    ck_assert_int_eq(bucket(0), 3);
}
END_TEST

START_TEST(histogram_text)
{
    static const int64_t us[] = {-5, 50, 51, 1000, 250000, 99000000};
    for (size_t i = 0; i < MA_COUNT(us); i++)
        ma_metrics_observe(m, MA_M_REQUEST_TIME, ma_metrics_operation(m, 1), us[i]);
    WANT("# TYPE myaccountd_http_request_duration_seconds histogram");
#define ROW "myaccountd_http_request_duration_seconds_bucket{operation=\"postThing\",le="
    WANT(ROW "\"0.00005\"} 2");
    WANT(ROW "\"0.0001\"} 3");
    WANT(ROW "\"0.0005\"} 3");
    WANT(ROW "\"0.001\"} 4");
    WANT(ROW "\"0.25\"} 5");
    WANT(ROW "\"10\"} 5");
    WANT(ROW "\"+Inf\"} 6");
    WANT("myaccountd_http_request_duration_seconds_sum{operation=\"postThing\"} 99.251101");
    WANT("myaccountd_http_request_duration_seconds_count{operation=\"postThing\"} 6");
    ck_assert_ptr_null(strstr(text(), "_seconds_bucket{operation=\"getThings\""));
    ma_metrics_observe(m, MA_M_BATCH, 0, 7);
    WANT("myaccountd_commit_batch_requests_sum 7");
    WANT("myaccountd_commit_batch_requests_bucket{le=\"8\"} 1");
}
END_TEST

/* Every bound's text is its number. */
START_TEST(bounds_as_written)
{
    for (unsigned k = BOUNDS_LATENCY; k < BOUNDS__COUNT; k++)
        for (unsigned i = 0; i < ma_metric_bounds[k].n; i++) {
            double scale = k == BOUNDS_LATENCY ? 1e6 : 1;
            double written = strtod(ma_metric_bounds[k].text[i], NULL) * scale;
            ck_assert_double_eq_tol(written, (double)ma_metric_bounds[k].v[i], 1e-6);
        }
}
END_TEST

/* --- samples --- */

START_TEST(measured_values)
{
    ma_sample(&samples, MA_M_DB_SIZE, NULL, NULL, 4294967296.0);
    ma_sample(&samples, MA_M_JWKS_AGE, "https://idp.example/\"\\\n", NULL, 12.5);
    ma_sample(&samples, MA_M_OUTBOX, "email", "dead", 3);
    WANT("myaccountd_database_size_bytes 4294967296");
    WANT("myaccountd_jwks_age_seconds{issuer=\"https://idp.example/\\\"\\\\\\n\"} 12.5");
    WANT("myaccountd_outbox_messages{channel=\"email\",state=\"dead\"} 3");
    ck_assert_ptr_null(strstr(text(), "myaccountd_jwks_keys")); /* nothing to show: no family */
}
END_TEST

START_TEST(samples_are_bounded)
{
    for (size_t i = 0; i < MA_SAMPLES_MAX + 10; i++)
        ma_sample(&samples, MA_M_DB_SIZE, NULL, NULL, 1);
    ck_assert_uint_eq(samples.n, MA_SAMPLES_MAX);
}
END_TEST

/* --- the definitions --- */

START_TEST(definitions)
{
    for (unsigned i = 0; i < MA_M__COUNT; i++) {
        const struct metric *d = &ma_metric_defs[i];
        bool total = strlen(d->name) > 6 && strcmp(d->name + strlen(d->name) - 6, "_total") == 0;
        ck_assert_msg(total == (d->kind == KIND_COUNTER || d->kind == KIND_TOTAL), "%s", d->name);
        ck_assert_msg(strncmp(d->name, "myaccountd_", 11) == 0 || strncmp(d->name, "process_", 8) == 0, "%s", d->name);
        ck_assert_msg(d->help[strlen(d->help) - 1] == '.' && !strpbrk(d->help, "\n\\|"), "%s", d->name);
        ck_assert_msg((d->bounds != BOUNDS_NONE) == ma_metric_is_histogram(d), "%s", d->name);
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(d->name, ma_metric_defs[k].name);
    }
}
END_TEST

/* --- threads --- */

enum { THREADS = 20, TIMES = 20000 }; /* more threads than shards */

static atomic_bool over;

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < TIMES; i++) {
        ma_metrics_add(m, MA_M_CACHE, MA_M_CACHE_TOKEN, MA_M_HIT, 1);
        ma_metrics_observe(m, MA_M_BATCH, 0, i % 4);
        ma_metrics_add(m, MA_M_CONNECTIONS, 0, 0, i % 2 ? -1 : 1);
    }
    return NULL;
}

/* A reader among them never sees a count go back, nor lines that contradict each other. */
static void *read_along(void *arg)
{
    (void)arg;
    int64_t last = 0;
    while (!atomic_load(&over)) {
        int64_t now = ma_metrics_value(m, MA_M_CACHE, MA_M_CACHE_TOKEN, MA_M_HIT);
        ck_assert_int_ge(now, last);
        last = now;
        struct ma_buf b;
        ma_buf_init(&b, MA_METRICS_TEXT_MAX);
        ma_metrics_write(m, &samples, &b);
        ma_buf_byte(&b, 0);
        const char *inf = strstr((const char *)b.p, "commit_batch_requests_bucket{le=\"+Inf\"} ");
        const char *all = strstr((const char *)b.p, "commit_batch_requests_count ");
        ck_assert(inf && all);
        ck_assert_int_eq(strtoll(strchr(inf, ' ') + 1, NULL, 10), strtoll(strchr(all, ' ') + 1, NULL, 10));
        ma_buf_free(&b);
    }
    return NULL;
}

START_TEST(threads_lose_nothing)
{
    pthread_t t[THREADS], reader;
    ck_assert_int_eq(pthread_create(&reader, NULL, read_along, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, count, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    atomic_store(&over, true);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(ma_metrics_value(m, MA_M_CACHE, MA_M_CACHE_TOKEN, MA_M_HIT), (int64_t)THREADS * TIMES);
    ck_assert_int_eq(ma_metrics_value(m, MA_M_CONNECTIONS, 0, 0), 0);
    int64_t n = 0;
    for (unsigned i = 0; i <= ma_metric_bounds[BOUNDS_BATCH].n; i++)
        n += bucket(i);
    ck_assert_int_eq(n, (int64_t)THREADS * TIMES);
    ck_assert_int_eq(bucket(ma_metric_bounds[BOUNDS_BATCH].n + 1), (int64_t)THREADS * TIMES / 4 * 6); /* 0+1+2+3 */
}
END_TEST

/* Shards share no cache line, or counting threads would slow each other down. */
START_TEST(shards_are_apart)
{
    ck_assert_uint_eq((uintptr_t)m->cell % CACHE_LINE, 0);
    ck_assert_uint_eq(m->cells * sizeof *m->cell % CACHE_LINE, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, names_of_the_modules);
    tcase_add_test(t, statuses);
    tcase_add_test(t, rows_of_one_name);
    tcase_add_test(t, counters);
    tcase_add_test(t, out_of_range_counts_nothing);
    tcase_add_test(t, bounds_are_inclusive);
    tcase_add_test(t, histogram_text);
    tcase_add_test(t, bounds_as_written);
    tcase_add_test(t, measured_values);
    tcase_add_test(t, samples_are_bounded);
    tcase_add_test(t, definitions);
    tcase_add_test(t, threads_lose_nothing);
    tcase_add_test(t, shards_are_apart);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Request ids and traces: what is taken from a caller, what lines and calls carry.
 */
#include "ma/trace.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../support/fixture.h"
#include "ma/http.h"
#include "ma/log.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define GOOD "00-" TRACE "-" PARENT "-01"
#define ZERO32 "00000000000000000000000000000000"
#define ZERO16 "0000000000000000"

/* --- traceparent: W3C Trace Context §3.2, and the cases of its test suite --- */

static const struct {
    const char *name, *header;
    bool good, sampled;
} vectors[] = {
    {"the recommendation's example", GOOD, true, true},
    {"not sampled", "00-" TRACE "-" PARENT "-00", true, false},
    {"other flags are ignored", "00-" TRACE "-" PARENT "-fe", true, false},
    {"all flags", "00-" TRACE "-" PARENT "-ff", true, true},
    {"a later version", "cc-" TRACE "-" PARENT "-01", true, true},
    {"a later version with more behind a dash", "cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like", true, true},
    {"a later version with an empty tail", "cc-" TRACE "-" PARENT "-01-", true, true},
    {"a later version, a tail without a dash", "cc-" TRACE "-" PARENT "-01.what", false, false},
    {"a later version, longer flags", "cc-" TRACE "-" PARENT "-010", false, false},
    {"version 00 with a tail", GOOD "-what-the-future-will-be-like", false, false},
    {"version 00 with a dash behind it", GOOD "-", false, false},
    {"version ff", "ff-" TRACE "-" PARENT "-01", false, false},
    {"version ff with a tail", "ff-" TRACE "-" PARENT "-01-x", false, false},
    {"version in capitals", "CC-" TRACE "-" PARENT "-01", false, false},
    {"version of one digit", "0-" TRACE "-" PARENT "-01", false, false},
    {"version of letters", ".0-" TRACE "-" PARENT "-01", false, false},
    {"zero trace-id", "00-" ZERO32 "-" PARENT "-01", false, false},
    {"zero parent-id", "00-" TRACE "-" ZERO16 "-01", false, false},
    {"trace-id in capitals", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, false},
    {"one capital in the parent-id", "00-" TRACE "-00f067aa0ba902B7-01", false, false},
    {"a dot in the trace-id", "00-.bf92f3577b34da6a3ce929d0e0e4736-" PARENT "-01", false, false},
    {"a short trace-id", "00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-01", false, false},
    {"a long trace-id", "00-" TRACE "0-" PARENT "-01", false, false},
    {"a short parent-id", "00-" TRACE "-00f067aa0ba902b-01", false, false},
    {"a long parent-id", "00-" TRACE "-" PARENT "0-01", false, false},
    {"one flag digit", "00-" TRACE "-" PARENT "-1", false, false},
    {"three flag digits", "00-" TRACE "-" PARENT "-001", false, false},
    {"flags in capitals", "00-" TRACE "-" PARENT "-0A", false, false},
    {"flags that are none", "00-" TRACE "-" PARENT "-.0", false, false},
    {"other separators", "00_" TRACE "_" PARENT "_01", false, false},
    {"two headers joined", GOOD ", " GOOD, false, false},
    {"blanks around it", " " GOOD, false, false},
    {"the version alone", "00", false, false},
    {"empty", "", false, false},
};

START_TEST(traceparent)
{
    struct ma_trace t = {.request_id = NULL};
    const struct ma_trace untouched = t;
    bool good = ma_traceparent_parse(ma_span_str(vectors[_i].header), &t);
    ck_assert_msg(good == vectors[_i].good, "%s", vectors[_i].name);
    if (!good) {
        ck_assert_mem_eq(&t, &untouched, sizeof t);
        return;
    }
    ck_assert_str_eq(t.trace_id, TRACE);
    ck_assert_str_eq(t.parent_id, PARENT);
    ck_assert_msg(t.sampled == vectors[_i].sampled, "%s", vectors[_i].name);
}
END_TEST

/* Every single byte that is changed to something that does not belong there makes it invalid. */
START_TEST(traceparent_any_byte)
{
    for (size_t i = 0; i < MA_TRACEPARENT_LEN; i++) {
        char bent[] = GOOD;
        struct ma_trace t = {.request_id = NULL};
        bent[i] = 'g';
        ck_assert_msg(!ma_traceparent_parse(ma_span_str(bent), &t), "byte %zu", i);
        bent[i] = '\0';
        ck_assert(!ma_traceparent_parse(ma_span_of(bent, MA_TRACEPARENT_LEN), &t));
    }
}
END_TEST

START_TEST(spans)
{
    struct ma_rand_seeded r;
    char text[MA_TRACEPARENT_LEN + 1], want[MA_TRACEPARENT_LEN + 1];
    struct ma_trace t = {.request_id = NULL}, child = {.request_id = NULL};
    ma_rand_seeded_init(&r, 7);
    ck_assert(ma_traceparent_parse(MA_LIT("cc-" TRACE "-" PARENT "-ff-more"), &t));
    ck_assert(!ma_traceparent_write(&t, text)); /* no span of its own yet: the caller's is not passed on as ours */
    ma_trace_begin_span(&t, &r.rand);
    ck_assert_uint_eq(strlen(t.span_id), MA_SPAN_ID_LEN);
    ck_assert_str_ne(t.span_id, PARENT);
    ck_assert(ma_traceparent_write(&t, text));
    (void)snprintf(want, sizeof want, "00-%s-%s-01", TRACE, t.span_id);
    ck_assert_str_eq(text, want); /* version 00 and no flag but sampled */
    ck_assert(ma_traceparent_parse(ma_span_str(text), &child));
    ck_assert_str_eq(child.parent_id, t.span_id);
    struct ma_trace none = {.request_id = "x"};
    ma_trace_begin_span(&none, &r.rand);
    ck_assert_str_eq(none.span_id, "");
    ck_assert(!ma_traceparent_write(&none, text) && !ma_traceparent_write(NULL, text));
    ck_assert_str_eq(text, "");
}
END_TEST

static int fill_zero(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    memset(p, 0, n);
    return MA_OK;
}

static int fill_not(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}

START_TEST(span_of_bad_randomness)
{
    const struct ma_rand zero = {fill_zero, NULL}, none = {fill_not, NULL};
    struct ma_trace t = {.request_id = NULL};
    char text[MA_TRACEPARENT_LEN + 1];
    ck_assert(ma_traceparent_parse(MA_LIT(GOOD), &t));
    ma_trace_begin_span(&t, &zero);
    ck_assert_str_ne(t.span_id, ZERO16); /* §3.2.2.4: all zeros are no id */
    t = (struct ma_trace){.request_id = NULL};
    ck_assert(ma_traceparent_parse(MA_LIT(GOOD), &t));
    ma_trace_begin_span(&t, &none);
    ck_assert_str_eq(t.trace_id, "");
    ck_assert(!ma_traceparent_write(&t, text));
}
END_TEST

/* --- request ids --- */

#define TEN "0123456789"
static const struct {
    const char *id;
    bool ok;
} ids[] = {
    {"a", true},
    {"7b1c2f9e-0d7a-4a54-9d3e-1f0f2f5b6c7d", true},
    {"A.b_c-9", true},
    {TEN TEN TEN TEN TEN TEN "0123", true},
    {TEN TEN TEN TEN TEN TEN "01234", false},
    {"", false},
    {"a b", false},
    {"a,b", false},
    {"a\r\nset-cookie: x", false},
    {"a\"b", false},
    {"<script>", false},
    {"a/b", false},
    {"a:b", false},
    {"a=b", false},
    {"a%20b", false},
    {"\xc3\xa4", false},
    {"a\x7f", false},
};

START_TEST(request_ids)
{
    ck_assert_msg(ma_request_id_ok(ma_span_str(ids[_i].id)) == ids[_i].ok, "%s", ids[_i].id);
}
END_TEST

START_TEST(request_id_nul)
{
    ck_assert(!ma_request_id_ok(ma_span_of("a\0b", 3)));
    ck_assert(!ma_request_id_ok(MA_SPAN_NULL));
}
END_TEST

/* --- what a request keeps --- */

static struct ma_fix f;
static struct ma_ctx *ctx;

static void open_fix(void)
{
    ma_fix_open(&f, "trusted_proxies = {\"10.0.0.0/8\"}");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    (void)snprintf(ctx->request_id, sizeof ctx->request_id, "ours");
}

static void close_fix(void)
{
    ma_fix_close(&f);
}

static const char *correlate(const char *peer, const char *id)
{
    struct ma_addr a = {.unix_peer = strcmp(peer, "unix") == 0};
    if (!a.unix_peer)
        ck_assert_int_eq(ma_addr_parse(ma_span_str(peer), &a), MA_OK);
    ctx->req.x_request_id = ma_span_str(id);
    (void)snprintf(ctx->request_id, sizeof ctx->request_id, "ours");
    ma_correlate(ctx, &a);
    return ctx->request_id;
}

START_TEST(id_of_a_trusted_proxy)
{
    ck_assert_str_eq(correlate("10.1.2.3", "proxy-1"), "proxy-1");
    ck_assert_str_eq(correlate("unix", "proxy-1"), "proxy-1");
    ck_assert_str_eq(correlate("192.0.2.1", "proxy-1"), "ours");
    ck_assert_str_eq(correlate("10.1.2.3", "not safe"), "ours");
    ck_assert_str_eq(correlate("10.1.2.3", "one, two"), "ours");
    ck_assert_str_eq(correlate("10.1.2.3", TEN TEN TEN TEN TEN TEN TEN), "ours");
    ck_assert_str_eq(correlate("10.1.2.3", NULL), "ours");
}
END_TEST

/* A client that puts a secret of the same request there, whole or a part, does not get it shown. */
START_TEST(id_that_is_a_secret)
{
    ctx->req.authorization = MA_LIT("Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl");
    ctx->req.cookie = MA_LIT("__Host-session=Z2lmdCBvZiBhIHNlc3Npb24");
    ctx->req.dpop = MA_LIT("eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.cHJvb2Y");
    ctx->req.target = MA_LIT("/me/v1/connected-accounts/callback?code=a-code-of-a-provider");
    static const char *const secrets[] = {"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", "eyJzdWIiOiJhIn0.c2l",
                                          "Z2lmdCBvZiBhIHNlc3Npb24", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30",
                                          "a-code-of-a-provider"};
    for (size_t i = 0; i < MA_COUNT(secrets); i++)
        ck_assert_str_eq(correlate("10.1.2.3", secrets[i]), "ours");
    ck_assert_str_eq(correlate("10.1.2.3", "an-id-of-a-provider"), "an-id-of-a-provider");
    ck_assert_str_eq(correlate("10.1.2.3", "code"), "code"); /* too short to be one, and found there by chance */
}
END_TEST

START_TEST(trace_of_anybody)
{
    ctx->req.traceparent = MA_LIT(GOOD);
    (void)correlate("192.0.2.1", NULL);
    ck_assert_str_eq(ctx->trace.trace_id, TRACE);
    ck_assert_str_eq(ctx->trace.parent_id, PARENT);
    ck_assert_uint_eq(strlen(ctx->trace.span_id), MA_SPAN_ID_LEN);
    ctx->trace = (struct ma_trace){.request_id = ctx->request_id};
    ctx->req.traceparent = MA_LIT("00-" ZERO32 "-" PARENT "-01");
    (void)correlate("192.0.2.1", NULL);
    ck_assert_str_eq(ctx->trace.trace_id, "");
    ck_assert_str_eq(ctx->trace.span_id, "");
}
END_TEST

/* --- log lines --- */

static int fds[2];
static struct ma_log *lg;

static void open_log(void)
{
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    lg = ma_log_new(fds[1], MA_LOG_INFO, 1);
    ck_assert_ptr_nonnull(lg);
}

static void close_log(void)
{
    ma_log_free(lg);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static const char *line(void)
{
    static char text[8192];
    ssize_t n = read(fds[0], text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    return text;
}

static size_t times(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
        n++;
    return n;
}

START_TEST(lines_say_for_whom)
{
    struct ma_trace t = {.request_id = "r-1", .trace_id = TRACE, .parent_id = PARENT, .span_id = "1111111111111111"};
    struct ma_trace plain = {.request_id = "r-2"};
    ck_assert_ptr_null(ma_trace_enter(&t));
    ma_log(lg, MA_LOG_INFO, "inside", MA_KV_I("a", 1));
    ck_assert_ptr_nonnull(strstr(line(),
                                 "\"event\":\"inside\",\"request_id\":\"r-1\",\"trace_id\":\"" TRACE
                                 "\",\"span_id\":\"1111111111111111\",\"parent_span_id\":\"" PARENT "\",\"a\":1}"));
    ck_assert_ptr_eq(ma_trace_enter(&plain), &t);
    ma_log(lg, MA_LOG_INFO, "twice", MA_KV_S("request_id", "r-2"), MA_KV_I("a", 1));
    const char *text = line();
    ck_assert_uint_eq(times(text, "request_id"), 1);
    ck_assert_uint_eq(times(text, "trace_id"), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"a\":1"));
    ck_assert_ptr_eq(ma_trace_enter(NULL), &plain);
    ma_log(lg, MA_LOG_INFO, "outside", MA_KV_S("request_id", "r-3"));
    ck_assert_ptr_nonnull(strstr(line(), "\"event\":\"outside\",\"request_id\":\"r-3\"}"));
}
END_TEST

START_TEST(long_lines_keep_it)
{
    struct ma_trace t = {.request_id = "r-1", .trace_id = TRACE, .parent_id = PARENT, .span_id = "1111111111111111"};
    char controls[256];
    struct ma_kv kv[40];
    memset(controls, 1, sizeof controls);
    for (size_t i = 0; i < MA_COUNT(kv); i++)
        kv[i] = MA_KV_SPAN("k", ma_span_of(controls, sizeof controls));
    (void)ma_trace_enter(&t);
    ma_log_write(lg, MA_LOG_INFO, "long", kv, MA_COUNT(kv));
    (void)ma_trace_enter(NULL);
    const char *text = line();
    ck_assert_ptr_nonnull(strstr(text, "\"request_id\":\"r-1\""));
    ck_assert_ptr_nonnull(strstr(text, "\"cut\":true}\n"));
}
END_TEST

START_TEST(form_and_level_change)
{
    ma_log_configure(lg, MA_LOG_DEBUG, 0);
    ma_log(lg, MA_LOG_DEBUG, "e", MA_KV_I("a", 1));
    ck_assert_ptr_nonnull(strstr(line(), " level=debug event=e a=1\n"));
    ma_log_configure(lg, MA_LOG_ERROR, 1);
    ma_log(lg, MA_LOG_WARN, "dropped", MA_KV_I("a", 1));
    ma_log(lg, MA_LOG_ERROR, "kept", MA_KV_I("a", 1));
    ck_assert_ptr_nonnull(strstr(line(), "\"event\":\"kept\",\"a\":1}"));
    ma_log_configure(lg, MA_LOG_INFO, -1); /* a pipe is no terminal */
    ma_log(lg, MA_LOG_INFO, "auto", MA_KV_I("a", 1));
    ck_assert_ptr_nonnull(strstr(line(), "{\"ts\":"));
}
END_TEST

/* Each thread works for its own request. */
static void *other_thread(void *arg)
{
    (void)arg;
    static const struct ma_trace mine = {.request_id = "theirs"};
    ck_assert_ptr_null(ma_trace_current());
    (void)ma_trace_enter(&mine);
    for (int i = 0; i < 1000; i++)
        ck_assert_ptr_eq(ma_trace_current(), &mine);
    return NULL;
}

START_TEST(threads)
{
    static const struct ma_trace mine = {.request_id = "ours"};
    pthread_t t[4];
    (void)ma_trace_enter(&mine);
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, other_thread, NULL), 0);
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    ck_assert_ptr_eq(ma_trace_current(), &mine);
    (void)ma_trace_enter(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *t = tcase_create("parse");
    tcase_add_loop_test(t, traceparent, 0, (int)MA_COUNT(vectors));
    tcase_add_test(t, traceparent_any_byte);
    tcase_add_test(t, spans);
    tcase_add_test(t, span_of_bad_randomness);
    tcase_add_loop_test(t, request_ids, 0, (int)MA_COUNT(ids));
    tcase_add_test(t, request_id_nul);
    tcase_add_test(t, threads);
    suite_add_tcase(s, t);
    t = tcase_create("request");
    tcase_add_checked_fixture(t, open_fix, close_fix);
    tcase_add_test(t, id_of_a_trusted_proxy);
    tcase_add_test(t, id_that_is_a_secret);
    tcase_add_test(t, trace_of_anybody);
    suite_add_tcase(s, t);
    t = tcase_create("log");
    tcase_add_checked_fixture(t, open_log, close_log);
    tcase_add_test(t, lines_say_for_whom);
    tcase_add_test(t, long_lines_keep_it);
    tcase_add_test(t, form_and_level_change);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

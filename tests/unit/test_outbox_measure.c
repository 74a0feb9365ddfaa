/* SPDX-License-Identifier: Apache-2.0
 * What can be told about messages from outside: how many wait, and for which request they were written.
 */
#include <check.h>
#include <stdlib.h>

#include "../../src/deliver/int.h"
#include "../support/fixture.h"
#include "ma/trace.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static struct ma_fix f;
static const char *const channels[] = {"email", "sms"};
static struct ma_outbox_count count[2];

static void setup(void)
{
    ma_fix_open(&f, "");
    (void)ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_OK(ma_db_begin(f.app.writer));
}

static void teardown(void)
{
    ma_db_rollback(f.app.writer);
    ma_fix_close(&f);
}

static void put(const char *id, const char *channel, int64_t created_at, int64_t next_at, bool dead)
{
    struct ma_outbox_row row = {.id = ma_span_str(id),
                                .channel = ma_span_str(channel),
                                .user_id = MA_LIT(MA_FIX_ALICE),
                                .payload = MA_LIT("x"),
                                .created_at = created_at,
                                .next_at = next_at,
                                .dead = dead};
    T_OK(ma_outbox_insert(f.app.writer, &row));
}

START_TEST(counts)
{
    T_OK(ma_outbox_count(f.app.writer, false, channels, 2, count));
    ck_assert_int_eq(count[0].n, 0);
    ck_assert_int_eq(count[0].oldest_at, 0);
    put("a", "email", 50, 90, false);
    put("b", "email", 20, 95, false);
    put("c", "email", 30, 10, false);
    put("d", "email", 1, 1, true);
    put("e", "sms", 7, 7, true);
    put("f", "voice", 3, 3, false); /* nobody asked for it */
    T_OK(ma_outbox_count(f.app.writer, false, channels, 2, count));
    ck_assert_int_eq(count[0].n, 3);
    ck_assert_int_eq(count[0].oldest_at, 20);
    ck_assert_int_eq(count[1].n, 0);
    T_OK(ma_outbox_count(f.app.writer, true, channels, 2, count));
    ck_assert_int_eq(count[0].n, 1);
    ck_assert_int_eq(count[1].n, 1);
    ck_assert_int_eq(count[1].oldest_at, 7);
}
END_TEST

static void enqueue(struct ma_letter *ret)
{
    struct ma_outbox_row rows[1];
    size_t n = 0;
    const struct ma_message m = {.channel = MA_CHANNEL_SMS,
                                 .user_id = MA_LIT(MA_FIX_ALICE),
                                 .to = MA_LIT("+15551230001"),
                                 .template_name = "enroll-code",
                                 .code = MA_LIT("123456"),
                                 .tenant = MA_LIT("T"),
                                 .minutes = 5};
    T_OK(ma_outbox_enqueue(f.app.writer, f.app.vault, f.app.templates, f.app.rand, f.arena, &m, f.clock.now_ms));
    T_OK(ma_outbox_due(f.app.writer, f.arena, f.clock.now_ms, rows, 1, &n));
    ck_assert_uint_eq(n, 1);
    T_OK(ma_letter_open(f.app.vault, f.arena, &rows[0], ret));
    T_OK(ma_outbox_done(f.app.writer, rows[0].id));
}

static bool spool_says(const struct ma_letter *l, const char *what)
{
    return memmem(l->json.p, l->json.n, what, strlen(what)) != NULL;
}

START_TEST(letter_of_a_request)
{
    struct ma_letter l;
    const struct ma_trace t = {.request_id = "r-1", .trace_id = TRACE, .span_id = SPAN, .sampled = true};
    (void)ma_trace_enter(&t);
    enqueue(&l);
    (void)ma_trace_enter(NULL);
    T_STR(l.request_id, "r-1");
    T_STR(l.traceparent, "00-" TRACE "-" SPAN "-01");
    ck_assert(spool_says(&l, "\"code\":\"123456\""));
    ck_assert(!spool_says(&l, "r-1") && !spool_says(&l, TRACE) && !spool_says(&l, "null"));
}
END_TEST

START_TEST(letter_of_an_untraced_request)
{
    struct ma_letter l;
    const struct ma_trace t = {.request_id = "r-2"};
    (void)ma_trace_enter(&t);
    enqueue(&l);
    (void)ma_trace_enter(NULL);
    T_STR(l.request_id, "r-2");
    ck_assert_ptr_null(l.traceparent.p);
    ck_assert(!spool_says(&l, "r-2"));
}
END_TEST

START_TEST(letter_of_nobody)
{
    struct ma_letter l;
    enqueue(&l);
    ck_assert_ptr_null(l.request_id.p);
    ck_assert_ptr_null(l.traceparent.p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("outbox measure");
    TCase *t = tcase_create("outbox measure");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, counts);
    tcase_add_test(t, letter_of_a_request);
    tcase_add_test(t, letter_of_an_untraced_request);
    tcase_add_test(t, letter_of_nobody);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Labels of browsers and systems.
 */
#include "ma/user_agent.h"

#include <check.h>
#include <stdlib.h>

#include "ma/codec.h"

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(1024, 65536);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free(arena);
}

#define MOZ "Mozilla/5.0 "
#define KHTML "AppleWebKit/537.36 (KHTML, like Gecko) "

static const struct {
    const char *name, *header, *label;
} agents[] = {
    {"Chrome on macOS", MOZ "(Macintosh; Intel Mac OS X 10_15_7) " KHTML "Chrome/131.0.0.0 Safari/537.36",
     "Chrome 131.0.0 / Mac OS X 10.15.7"},
    {"Chrome on Windows", MOZ "(Windows NT 10.0; Win64; x64) " KHTML "Chrome/120.0.6099.71 Safari/537.36",
     "Chrome 120.0.6099 / Windows 10.0"},
    {"Chrome on Linux", MOZ "(X11; Linux x86_64) " KHTML "Chrome/119.0.0.0 Safari/537.36", "Chrome 119.0.0 / Linux"},
    {"Chrome without a head", MOZ "(X11; Linux x86_64) " KHTML "HeadlessChrome/119.0.1.2 Safari/537.36",
     "Chrome 119.0.1 / Linux"},
    {"Chrome on Android", MOZ "(Linux; Android 14; Pixel 8) " KHTML "Chrome/131.0.0.0 Mobile Safari/537.36",
     "Chrome 131.0.0 / Android 14"},
    {"Chrome OS", MOZ "(X11; CrOS x86_64 14541.0.0) " KHTML "Chrome/128.0.0.0 Safari/537.36",
     "Chrome 128.0.0 / Chrome OS"},
    {"Chrome on iOS", MOZ "(iPhone; CPU iPhone OS 17_4_1 like Mac OS X) CriOS/122.0.6261.89 Mobile/15E148 Safari/604.1",
     "Chrome 122.0.6261 / iOS 17.4.1"},
    {"Edge", MOZ "(Windows NT 10.0; Win64; x64) " KHTML "Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.70",
     "Edge 131.0.2903 / Windows 10.0"},
    {"Opera", MOZ "(X11; Linux x86_64) " KHTML "Chrome/129.0.0.0 Safari/537.36 OPR/115.0.0.0", "Opera 115.0.0 / Linux"},
    {"Samsung Internet",
     MOZ "(Linux; Android 13; SM-S911B) " KHTML "SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36",
     "Samsung Internet 25.0.0 / Android 13"},
    {"Firefox", MOZ "(X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox 133.0.0 / Linux"},
    {"Firefox on iOS", MOZ "(iPhone; CPU iPhone OS 16_0 like Mac OS X) FxiOS/133.1 Mobile/15E148 Safari/604.1",
     "Firefox 133.1.0 / iOS 16.0"},
    {"Safari", MOZ "(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4.1 Safari/605.1.15",
     "Safari 17.4.1 / Mac OS X 10.15.7"},
    {"Safari on iPad",
     MOZ "(iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Version/16.6 Mobile/15E148 Safari/604.1",
     "Safari 16.6.0 / iPadOS 16.6"},
    {"a bare version", "Firefox/7 (Linux)", "Firefox 7.0.0 / Linux"},
    {"no version", "Firefox/ (Linux)", "Firefox / Linux"},
    {"a version of dots", "Firefox/... (Linux)", "Firefox / Linux"},
    {"a version that ends in a dot", "Firefox/7. (Linux)", "Firefox 7.0.0 / Linux"},
    {"two dots", "Firefox/7..5 (Linux)", "Firefox 7.0.0 / Linux"},
    {"Safari without its version", "Safari/600 (iPhone; OS )", "Safari / iOS"},
    {"a program", "curl/8.5.0", "curl/8.5.0"},
    {"a browser without a system", "Firefox/133.0", "Firefox/133.0"},
    {"a system without a browser", "Something (Linux)", "Something (Linux)"},
    {"wrong case", "firefox/133.0 (Linux)", "firefox/133.0 (Linux)"},
    {"quotes and markup are no business of the label", "<b>\"\\", "<b>\"\\"},
};

START_TEST(test_label)
{
    struct ma_span got = ma_user_agent_label(arena, ma_span_str(agents[_i].header));
    ck_assert_msg(ma_span_eq_str(got, agents[_i].label), "%s: \"%.*s\"", agents[_i].name, (int)got.n,
                  (const char *)got.p);
}
END_TEST

START_TEST(test_none)
{
    ck_assert_ptr_null(ma_user_agent_label(arena, MA_SPAN_NULL).p);
    ck_assert_ptr_null(ma_user_agent_label(arena, MA_LIT("")).p);
    ck_assert_ptr_null(ma_user_agent_label(arena, MA_LIT("\xff\xfe")).p);
}
END_TEST

/* Cut to the limit, between characters. */
START_TEST(test_long)
{
    char text[2 * MA_USER_AGENT_MAX];
    memset(text, 'x', sizeof text);
    struct ma_span got = ma_user_agent_label(arena, ma_span_of(text, sizeof text));
    ck_assert_uint_eq(got.n, MA_USER_AGENT_MAX);
    memcpy(text + MA_USER_AGENT_MAX - 1, "\xc3\xa9", 2);
    got = ma_user_agent_label(arena, ma_span_of(text, sizeof text));
    ck_assert_uint_eq(got.n, MA_USER_AGENT_MAX - 1);
    ck_assert(ma_utf8_valid(got));
}
END_TEST

/* However long the header of a known browser is, the label is short. */
START_TEST(test_long_version)
{
    char text[4096] = "Linux Firefox/";
    memset(text + strlen(text), '1', sizeof text - strlen(text) - 1);
    struct ma_span got = ma_user_agent_label(arena, ma_span_str(text));
    ck_assert_uint_lt(got.n, 64);
    ck_assert_mem_eq(got.p, "Firefox 111", 11);
}
END_TEST

/* Every cut of every header is safe and gives something. */
START_TEST(test_truncated)
{
    struct ma_span header = ma_span_str(agents[_i].header);
    for (size_t n = 1; n < header.n; n++) {
        struct ma_arena *a = ma_arena_new(1024, 65536);
        char *exact = malloc(n); /* so that reading past it shows */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, header.p, n);
        struct ma_span got = ma_user_agent_label(a, ma_span_of(exact, n));
        ck_assert_uint_gt(got.n, 0);
        ck_assert_uint_le(got.n, MA_USER_AGENT_MAX);
        free(exact);
        ma_arena_free(a);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("user agent");
    TCase *t = tcase_create("labels");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, test_label, 0, MA_COUNT(agents));
    tcase_add_loop_test(t, test_truncated, 0, MA_COUNT(agents));
    tcase_add_test(t, test_none);
    tcase_add_test(t, test_long);
    tcase_add_test(t, test_long_version);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Request targets: what is decoded, what is refused, and where the limits are.
 */
#include "ma/http.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct ma_arena *arena;
static struct ma_req req;

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    req = (struct ma_req){.content_length = -1};
}

static void teardown(void)
{
    ma_arena_free(arena);
}

/* "[a][b]?{x=1}{y=}" */
static const char *shown(void)
{
    static char text[MA_TARGET_MAX * 4];
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < req.n_segments; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "[%.*s]", (int)req.segments[i].n, req.segments[i].p);
    for (size_t i = 0; i < req.n_query; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "{%.*s=%.*s}", (int)req.query[i].name.n, req.query[i].name.p,
                              (int)req.query[i].value.n, req.query[i].value.p);
    return text;
}

static const struct {
    const char *name, *raw;
    int want;
    const char *shown;
} rows[] = {
    {"root", "/", MA_OK, ""},
    {"plain path", "/me/v1/factors", MA_OK, "[me][v1][factors]"},
    {"one trailing slash is tolerated", "/me/v1/factors/", MA_OK, "[me][v1][factors]"},
    {"a second trailing slash is an empty segment", "/me/v1/factors//", MA_OK, "[me][v1][factors][]"},
    {"an empty segment in the middle stays one", "/me/v1//factors", MA_OK, "[me][v1][][factors]"},
    {"empty segments at the start stay", "///me", MA_OK, "[][][me]"},
    {"trailing slash before a query", "/a/?b=1", MA_OK, "[a]{b=1}"},
    {"case is kept", "/Me/V1", MA_OK, "[Me][V1]"},
    {"raw bar", "/m/passkey|new/verify", MA_OK, "[m][passkey|new][verify]"},
    {"encoded bar", "/m/passkey%7Cnew", MA_OK, "[m][passkey|new]"},
    {"encoded bar, lower-case", "/m/passkey%7cnew", MA_OK, "[m][passkey|new]"},
    {"double-encoded bar", "/m/passkey%257Cnew", MA_OK, "[m][passkey|new]"},
    {"double-encoded bar, lower-case", "/m/passkey%257cnew", MA_OK, "[m][passkey|new]"},
    {"decoded at most twice", "/m/a%25257Cb", MA_OK, "[m][a%257Cb]"},
    {"no second decoding without a bar", "/m/a%2541", MA_OK, "[m][a%41]"},
    {"a percent sign by itself", "/m/100%25", MA_OK, "[m][100%]"},
    {"UTF-8, encoded", "/m/%C3%A9", MA_OK, "[m][\xc3\xa9]"},
    {"UTF-8, raw", "/m/\xc3\xa9", MA_OK, "[m][\xc3\xa9]"},
    {"plus in a path is a plus", "/a+b", MA_OK, "[a+b]"},
    {"three dots are a name", "/a/...", MA_OK, "[a][...]"},
    {"matrix parameters are text", "/a;b=c,d", MA_OK, "[a;b=c,d]"},
    {"an encoded question mark is text", "/a%3Fb=1", MA_OK, "[a?b=1]"},
    {"an encoded hash is text", "/a%23b", MA_OK, "[a#b]"},

    {"query pairs", "/a?b=1&c=2", MA_OK, "[a]{b=1}{c=2}"},
    {"query without value", "/a?b", MA_OK, "[a]{b=}"},
    {"query with empty value", "/a?b=", MA_OK, "[a]{b=}"},
    {"query with empty name", "/a?=b", MA_OK, "[a]{=b}"},
    {"empty query", "/a?", MA_OK, "[a]"},
    {"empty pairs are skipped", "/a?&&b=1&", MA_OK, "[a]{b=1}"},
    {"the first equals sign splits", "/a?b=c=d", MA_OK, "[a]{b=c=d}"},
    {"plus in a query is a blank", "/a?b=c+d", MA_OK, "[a]{b=c d}"},
    {"an encoded plus is a plus", "/a?b=%2B", MA_OK, "[a]{b=+}"},
    {"an encoded ampersand is text", "/a?b=%26&c=1", MA_OK, "[a]{b=&}{c=1}"},
    {"slashes and question marks in a query", "/a?b=/x?y", MA_OK, "[a]{b=/x?y}"},
    {"repeated names stay in order", "/a?b=1&b=2", MA_OK, "[a]{b=1}{b=2}"},
    {"a query is decoded once", "/a?b=%257C", MA_OK, "[a]{b=%7C}"},

    {"empty target", "", MA_E_PARSE, NULL},
    {"asterisk form", "*", MA_E_PARSE, NULL},
    {"absolute form", "http://h/a", MA_E_PARSE, NULL},
    {"authority form", "h:80", MA_E_PARSE, NULL},
    {"relative path", "a/b", MA_E_PARSE, NULL},
    {"query without path", "?a=1", MA_E_PARSE, NULL},
    {"dot segment", "/a/./b", MA_E_PARSE, NULL},
    {"dot-dot segment", "/a/../b", MA_E_PARSE, NULL},
    {"dot-dot at the end", "/a/..", MA_E_PARSE, NULL},
    {"encoded dot-dot", "/a/%2e%2E/b", MA_E_PARSE, NULL},
    {"half encoded dot-dot", "/a/.%2e", MA_E_PARSE, NULL},
    {"encoded slash", "/a%2Fb", MA_E_PARSE, NULL},
    {"encoded slash, lower-case", "/a%2fb", MA_E_PARSE, NULL},
    {"encoded backslash", "/a%5Cb", MA_E_PARSE, NULL},
    {"raw backslash", "/a\\b", MA_E_PARSE, NULL},
    {"NUL", "/a%00b", MA_E_PARSE, NULL},
    {"NUL in a query", "/a?b=%00", MA_E_PARSE, NULL},
    {"slash behind a double-encoded bar", "/a%257C%252Fb", MA_E_PARSE, NULL},
    {"NUL behind a double-encoded bar", "/a%257C%2500", MA_E_PARSE, NULL},
    {"invalid UTF-8", "/a/%FF", MA_E_PARSE, NULL},
    {"invalid UTF-8 behind a double-encoded bar", "/a%257C%25FF", MA_E_PARSE, NULL},
    {"overlong slash", "/a%C0%AFb", MA_E_PARSE, NULL},
    {"surrogate", "/a/%ED%A0%80", MA_E_PARSE, NULL},
    {"invalid UTF-8 in a query name", "/a?%FF=1", MA_E_PARSE, NULL},
    {"invalid UTF-8 in a query value", "/a?b=%FF", MA_E_PARSE, NULL},
    {"cut escape", "/a%4", MA_E_PARSE, NULL},
    {"lone percent sign", "/a%", MA_E_PARSE, NULL},
    {"no hex", "/a%zz", MA_E_PARSE, NULL},
    {"cut escape in a query", "/a?b=%4", MA_E_PARSE, NULL},
    {"blank", "/a b", MA_E_PARSE, NULL},
    {"tab", "/a\tb", MA_E_PARSE, NULL},
    {"DEL", "/a\x7f", MA_E_PARSE, NULL},
    {"control in a query", "/a?b=\x01", MA_E_PARSE, NULL},
    {"fragment", "/a#b", MA_E_PARSE, NULL},
    {"fragment in a query", "/a?b#c", MA_E_PARSE, NULL},
};

START_TEST(test_rows)
{
    const char *name = rows[_i].name;
    struct ma_span raw = ma_span_str(rows[_i].raw);
    int r = ma_target_parse(arena, raw, &req);
    ck_assert_msg(r == rows[_i].want, "%s: %s", name, ma_err_name(r));
    if (r != MA_OK)
        return;
    ck_assert_msg(strcmp(shown(), rows[_i].shown) == 0, "%s: %s", name, shown());
    ck_assert_ptr_eq(req.target.p, raw.p);
    ck_assert_uint_eq(req.target.n, raw.n);
    ck_assert_ptr_eq(req.path.p, raw.p);
    ck_assert_uint_eq(req.path.n, strcspn(rows[_i].raw, "?"));
}
END_TEST

START_TEST(test_embedded_nul)
{
    ck_assert_int_eq(ma_target_parse(arena, ma_span_of("/a\0b", 4), &req), MA_E_PARSE);
}
END_TEST

static struct ma_span filled(char *text, size_t n)
{
    memset(text, 'a', n);
    text[0] = '/';
    return ma_span_of(text, n);
}

START_TEST(test_length)
{
    static char text[MA_TARGET_MAX + 1];
    ck_assert_int_eq(ma_target_parse(arena, filled(text, MA_TARGET_MAX), &req), MA_OK);
    ck_assert_uint_eq(req.segments[0].n, MA_TARGET_MAX - 1);
    req = (struct ma_req){.content_length = -1};
    ck_assert_int_eq(ma_target_parse(arena, filled(text, MA_TARGET_MAX + 1), &req), MA_E_RANGE);
}
END_TEST

static const char *repeated(const char *head, const char *what, int n)
{
    static char text[1024];
    size_t at = (size_t)snprintf(text, sizeof text, "%s", head);
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", what);
    return text;
}

START_TEST(test_segments_max)
{
    ck_assert_int_eq(ma_target_parse(arena, ma_span_str(repeated("", "/a", MA_SEGMENTS_MAX)), &req), MA_OK);
    ck_assert_uint_eq(req.n_segments, MA_SEGMENTS_MAX);
    req = (struct ma_req){.content_length = -1};
    ck_assert_int_eq(ma_target_parse(arena, ma_span_str(repeated("", "/a", MA_SEGMENTS_MAX + 1)), &req), MA_OK);
    ck_assert_uint_eq(req.n_segments, MA_SEGMENTS_MAX); /* deeper than any route: not found */
}
END_TEST

START_TEST(test_query_max)
{
    ck_assert_int_eq(ma_target_parse(arena, ma_span_str(repeated("/?", "a=1&", MA_QUERY_MAX)), &req), MA_OK);
    ck_assert_uint_eq(req.n_query, MA_QUERY_MAX);
    req = (struct ma_req){.content_length = -1};
    ck_assert_int_eq(ma_target_parse(arena, ma_span_str(repeated("/?", "a=1&", MA_QUERY_MAX + 1)), &req), MA_E_PARSE);
}
END_TEST

START_TEST(test_out_of_memory)
{
    struct ma_arena *small = ma_arena_new(64, 64);
    static char text[2048];
    ck_assert_int_eq(ma_target_parse(small, filled(text, sizeof text), &req), MA_E_NOMEM);
    ma_arena_free(small);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("target");
    TCase *tc = tcase_create("target");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_rows, 0, (int)MA_COUNT(rows));
    tcase_add_test(tc, test_embedded_nul);
    tcase_add_test(tc, test_length);
    tcase_add_test(tc, test_segments_max);
    tcase_add_test(tc, test_query_max);
    tcase_add_test(tc, test_out_of_memory);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Header screening: smuggling shapes and malformed fields are refused, the others land in the request.
 */
#include "../../src/http/int.h"

#include <check.h>
#include <stdlib.h>

#define LINES_MAX 4
#define LENGTH "Malformed Content-Length"
#define CODING "Unsupported Transfer-Encoding"
#define BOTH "Content-Length and Transfer-Encoding together"
#define TWICE "A header that may stand only once is repeated"
#define NAME "Malformed header name"
#define VALUE "Malformed header value"
#define HOST "Missing Host"
#define OLD "Transfer-Encoding in HTTP/1.0"

static struct ma_arena *arena;
static struct ma_req req;
static struct ma_screen screen;

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    req = (struct ma_req){.content_length = -1};
    screen = (struct ma_screen){.req = &req, .arena = arena};
}

static void teardown(void)
{
    ma_arena_free(arena);
}

/* "Name: value"; the value is what follows ": ", untrimmed. */
static void feed(const char *line)
{
    const char *colon = strchr(line, ':');
    ck_assert_ptr_nonnull(colon);
    const char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
    ma_screen_header(&screen, ma_span_of(line, (size_t)(colon - line)), ma_span_str(value));
}

static const struct {
    const char *name;
    const char *lines[LINES_MAX];
    bool http_1_0;
    const char *fault; /* NULL: accepted */
    int64_t length;    /* expected; -1 none */
    bool chunked, has_body;
} rows[] = {
    {"host alone", {"Host: a"}, false, NULL, -1, false, false},
    {"host is case-insensitive", {"hOST: a"}, false, NULL, -1, false, false},
    {"an empty host is a host", {"Host: "}, false, NULL, -1, false, false},
    {"no host", {"Accept: x"}, false, HOST, 0, false, false},
    {"nothing at all", {NULL}, false, HOST, 0, false, false},
    {"no host in HTTP/1.0", {NULL}, true, NULL, -1, false, false},
    {"two hosts", {"Host: a", "Host: a"}, false, TWICE, 0, false, false},
    {"length", {"Host: a", "Content-Length: 17"}, false, NULL, 17, false, true},
    {"length in HTTP/1.0", {"Content-Length: 17"}, true, NULL, 17, false, true},
    {"length 0 is no body", {"Host: a", "Content-Length: 0"}, false, NULL, 0, false, false},
    {"length with leading zeros", {"Host: a", "Content-Length: 007"}, false, NULL, 7, false, true},
    {"the longest length", {"Host: a", "Content-Length: 999999999999999"}, false, NULL, 999999999999999, false, true},
    {"a length over 15 digits", {"Host: a", "Content-Length: 1000000000000000"}, false, LENGTH, 0, false, false},
    {"a length that would wrap", {"Host: a", "Content-Length: 18446744073709551617"}, false, LENGTH, 0, false, false},
    {"empty length", {"Host: a", "Content-Length: "}, false, LENGTH, 0, false, false},
    {"negative length", {"Host: a", "Content-Length: -1"}, false, LENGTH, 0, false, false},
    {"signed length", {"Host: a", "Content-Length: +1"}, false, LENGTH, 0, false, false},
    {"hex length", {"Host: a", "Content-Length: 0x10"}, false, LENGTH, 0, false, false},
    {"length list", {"Host: a", "Content-Length: 1, 1"}, false, LENGTH, 0, false, false},
    {"blank in a length", {"Host: a", "Content-Length: 1 2"}, false, LENGTH, 0, false, false},
    {"two lengths", {"Host: a", "Content-Length: 1", "Content-Length: 2"}, false, TWICE, 0, false, false},
    {"two equal lengths", {"Host: a", "Content-Length: 1", "content-length: 1"}, false, TWICE, 0, false, false},
    {"chunked", {"Host: a", "Transfer-Encoding: chunked"}, false, NULL, -1, true, true},
    {"chunked is case-insensitive", {"Host: a", "Transfer-Encoding: CHUNKED"}, false, NULL, -1, true, true},
    {"identity", {"Host: a", "Transfer-Encoding: identity"}, false, CODING, 0, false, false},
    {"gzip, chunked", {"Host: a", "Transfer-Encoding: gzip, chunked"}, false, CODING, 0, false, false},
    {"chunked and something", {"Host: a", "Transfer-Encoding: chunked, x"}, false, CODING, 0, false, false},
    {"xchunked", {"Host: a", "Transfer-Encoding: xchunked"}, false, CODING, 0, false, false},
    {"chunked with a tab", {"Host: a", "Transfer-Encoding: \tchunked"}, false, CODING, 0, false, false},
    {"empty coding", {"Host: a", "Transfer-Encoding: "}, false, CODING, 0, false, false},
    {"two codings", {"Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, false, TWICE, 0, 0, 0},
    {"CL.TE", {"Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"}, false, BOTH, 0, false, false},
    {"TE.CL", {"Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"}, false, BOTH, 0, false, false},
    {"TE.CL with length 0", {"Host: a", "Transfer-Encoding: chunked", "Content-Length: 0"}, false, BOTH, 0, 0, 0},
    {"chunked in HTTP/1.0", {"Host: a", "Transfer-Encoding: chunked"}, true, OLD, 0, false, false},
    {"blank before the colon", {"Host : a"}, false, NAME, 0, false, false},
    {"blank in a name", {"X Y: a", "Host: a"}, false, NAME, 0, false, false},
    {"empty name", {": a", "Host: a"}, false, NAME, 0, false, false},
    {"control in a name", {"X\x01: a", "Host: a"}, false, NAME, 0, false, false},
    {"high byte in a name", {"X\xc3\xa9: a", "Host: a"}, false, NAME, 0, false, false},
    {"separator in a name", {"X(Y: a", "Host: a"}, false, NAME, 0, false, false},
    {"every token character", {"!#$%&'*+-.^_`|~09AZaz: a", "Host: a"}, false, NULL, -1, false, false},
    {"carriage return in a value", {"X: a\rb", "Host: a"}, false, VALUE, 0, false, false},
    {"line feed in a value", {"X: a\nHost: b"}, false, VALUE, 0, false, false},
    {"control in a value", {"X: a\x01", "Host: a"}, false, VALUE, 0, false, false},
    {"DEL in a value", {"X: a\x7f", "Host: a"}, false, VALUE, 0, false, false},
    {"tab and high bytes in a value", {"X: a\tb\xff", "Host: a"}, false, NULL, -1, false, false},
    {"two unknown ones", {"X: a", "X: b", "Host: a"}, false, NULL, -1, false, false},
    {"two authorizations", {"Host: a", "Authorization: a", "Authorization: a"}, false, TWICE, 0, false, false},
    {"two content types", {"Host: a", "Content-Type: a", "Content-Type: a"}, false, TWICE, 0, false, false},
    {"two origins", {"Host: a", "Origin: a", "Origin: b"}, false, TWICE, 0, false, false},
    {"two user agents", {"Host: a", "User-Agent: a", "User-Agent: b"}, false, TWICE, 0, false, false},
    {"the first fault stays", {"X Y: a", "Content-Length: x", "Host: a"}, false, NAME, 0, false, false},
};

START_TEST(test_rows)
{
    const char *name = rows[_i].name;
    for (size_t i = 0; i < LINES_MAX && rows[_i].lines[i]; i++)
        feed(rows[_i].lines[i]);
    const char *fault = ma_screen_finish(&screen, !rows[_i].http_1_0);
    if (rows[_i].fault) {
        ck_assert_msg(fault && strcmp(fault, rows[_i].fault) == 0, "%s: %s", name, fault ? fault : "accepted");
        return;
    }
    ck_assert_msg(fault == NULL, "%s: %s", name, fault);
    ck_assert_msg(req.content_length == rows[_i].length, "%s: length %lld", name, (long long)req.content_length);
    ck_assert_msg(req.chunked == rows[_i].chunked && req.has_body == rows[_i].has_body, "%s", name);
    ck_assert_msg(!screen.out_of_memory, "%s", name);
}
END_TEST

START_TEST(test_values_land)
{
    static const char *const lines[] = {
        "Host: h:1",          "authorization: Bearer x",  "CONTENT-TYPE: application/json",
        "Origin: https://o",  "User-Agent: ua/1",         "If-None-Match: \"1\"",
        "Forwarded: for=a",   "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: f"};
    for (size_t i = 0; i < MA_COUNT(lines); i++)
        feed(lines[i]);
    ck_assert_ptr_null(ma_screen_finish(&screen, true));
    ck_assert(ma_span_eq_str(req.host, "h:1"));
    ck_assert(ma_span_eq_str(req.authorization, "Bearer x"));
    ck_assert(ma_span_eq_str(req.content_type, "application/json"));
    ck_assert(ma_span_eq_str(req.origin, "https://o"));
    ck_assert(ma_span_eq_str(req.user_agent, "ua/1"));
    ck_assert(ma_span_eq_str(req.if_none_match, "\"1\""));
    ck_assert(ma_span_eq_str(req.forwarded, "for=a"));
    ck_assert(ma_span_eq_str(req.x_forwarded_for, "1.1.1.1"));
    ck_assert(ma_span_eq_str(req.x_forwarded_proto, "https"));
    ck_assert(ma_span_eq_str(req.x_forwarded_host, "f"));
}
END_TEST

START_TEST(test_lists_are_joined)
{
    feed("Host: h");
    feed("X-Forwarded-For: 1.1.1.1");
    feed("If-None-Match: \"1\"");
    feed("X-Forwarded-For: 2.2.2.2, 3.3.3.3");
    feed("X-Forwarded-For: ");
    feed("If-None-Match: W/\"2\"");
    ck_assert_ptr_null(ma_screen_finish(&screen, true));
    ck_assert(ma_span_eq_str(req.x_forwarded_for, "1.1.1.1, 2.2.2.2, 3.3.3.3, "));
    ck_assert(ma_span_eq_str(req.if_none_match, "\"1\", W/\"2\""));
}
END_TEST

START_TEST(test_joining_without_memory)
{
    static char big[4096];
    memset(big, 'a', sizeof big - 1);
    struct ma_arena *small = ma_arena_new(64, 64);
    screen.arena = small;
    ma_screen_header(&screen, MA_LIT("Forwarded"), ma_span_str(big));
    ma_screen_header(&screen, MA_LIT("Forwarded"), ma_span_str(big));
    ck_assert(screen.out_of_memory);
    ma_arena_free(small);
}
END_TEST

START_TEST(test_nul)
{
    ma_screen_header(&screen, MA_LIT("Host"), ma_span_of("a\0b", 3));
    ck_assert_str_eq(ma_screen_finish(&screen, true), VALUE);
    screen.fault = NULL;
    ma_screen_header(&screen, ma_span_of("Ho\0st", 5), MA_LIT("a"));
    ck_assert_str_eq(ma_screen_finish(&screen, true), NAME);
}
END_TEST

/* Every byte on its own: a name made of it is accepted exactly when RFC 9110 §5.6.2 lists it. */
START_TEST(test_every_name_byte)
{
    static const char tchar[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t)c;
        screen.fault = NULL;
        ma_screen_header(&screen, ma_span_of(&byte, 1), MA_LIT("v"));
        bool ok = c != 0 && strchr(tchar, (int)c) != NULL;
        ck_assert_msg((screen.fault == NULL) == ok, "byte %u", c);
    }
}
END_TEST

static const struct {
    const char *text;
    enum ma_verb verb;
} verbs[] = {{"GET", MA_GET},         {"POST", MA_POST},   {"PATCH", MA_PATCH},      {"DELETE", MA_DELETE},
             {"OPTIONS", MA_OPTIONS}, {"HEAD", MA_HEAD},   {"PUT", MA_VERB_OTHER},   {"get", MA_VERB_OTHER},
             {"GETX", MA_VERB_OTHER}, {"", MA_VERB_OTHER}, {"TRACE", MA_VERB_OTHER}, {"CONNECT", MA_VERB_OTHER}};

START_TEST(test_verbs)
{
    for (size_t i = 0; i < MA_COUNT(verbs); i++) {
        ck_assert_msg(ma_verb_parse(verbs[i].text) == verbs[i].verb, "%s", verbs[i].text);
        if (verbs[i].verb != MA_VERB_OTHER)
            ck_assert_str_eq(ma_verb_name(verbs[i].verb), verbs[i].text);
    }
    ck_assert_str_eq(ma_verb_name(MA_VERB_OTHER), "OTHER");
    ck_assert_str_eq(ma_verb_name(MA_VERB__COUNT), "OTHER");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("screen");
    TCase *tc = tcase_create("screen");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_rows, 0, (int)MA_COUNT(rows));
    tcase_add_test(tc, test_values_land);
    tcase_add_test(tc, test_lists_are_joined);
    tcase_add_test(tc, test_joining_without_memory);
    tcase_add_test(tc, test_nul);
    tcase_add_test(tc, test_every_name_byte);
    tcase_add_test(tc, test_verbs);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Tests of clocks and dates, randomness, identifiers, scopes and log lines.
 */
#include "ma/clock.h"
#include "ma/codec.h"
#include "ma/id.h"
#include "ma/log.h"
#include "ma/rand.h"
#include "ma/scope.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- clock ---- */

START_TEST(manual_clock)
{
    struct ma_clock_manual m;
    ma_clock_manual_init(&m, 1000);
    const struct ma_clock *c = &m.clock;
    ck_assert_int_eq(c->wall_ms(c), 1000);
    ck_assert_int_eq(c->mono_ms(c), 1000);
    ma_clock_manual_advance(&m, 250);
    ck_assert_int_eq(c->wall_ms(c), 1250);
    ck_assert_int_eq(c->mono_ms(c), 1250);
}
END_TEST

START_TEST(system_clock)
{
    const struct ma_clock *c = ma_clock_system();
    ck_assert_int_gt(c->wall_ms(c), 1600000000000); /* past 2020 */
    int64_t a = c->mono_ms(c), b = c->mono_ms(c);
    ck_assert_int_ge(b, a);
}
END_TEST

#ifdef MA_TEST_HOOKS
START_TEST(file_clock)
{
    char path[] = "/tmp/ma_clock_XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_ptr_null(ma_clock_file(path)); /* too short */
    int64_t offset = 86400000;
    ck_assert_int_eq(pwrite(fd, &offset, sizeof(offset), 0), (ssize_t)sizeof(offset));
    const struct ma_clock *c = ma_clock_file(path), *sys = ma_clock_system();
    ck_assert_ptr_nonnull(c);
    ck_assert_int_ge(c->wall_ms(c), sys->wall_ms(sys) + offset - 60000);
    offset = -86400000;
    ck_assert_int_eq(pwrite(fd, &offset, sizeof(offset), 0), (ssize_t)sizeof(offset));
    ck_assert_int_lt(c->wall_ms(c), sys->wall_ms(sys));
    close(fd);
    unlink(path);
    ck_assert_ptr_null(ma_clock_file(path)); /* gone */
}
END_TEST
#endif

START_TEST(iso_table)
{
    static const struct {
        const char *name;
        int64_t ms;
        const char *want;
    } rows[] = {
        {"epoch", 0, "1970-01-01T00:00:00.000Z"},
        {"before the epoch", -1, "1969-12-31T23:59:59.999Z"},
        {"contract sample", 1736937000000, "2025-01-15T10:30:00.000Z"},
        {"leap day", 1709164800123, "2024-02-29T00:00:00.123Z"},
        {"no leap day in 1900", -2203891200000, "1900-03-01T00:00:00.000Z"},
        {"leap day of 2000", 951782400000, "2000-02-29T00:00:00.000Z"},
        {"year 0", -62167219200000, "0000-01-01T00:00:00.000Z"},
        {"last", 253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        char out[MA_ISO_LEN + 1];
        int64_t back = 1;
        ma_iso_ms(rows[i].ms, out);
        ck_assert_str_eq(out, rows[i].want);
        ck_assert_msg(ma_iso_parse(ma_span_str(out), &back) == MA_OK && back == rows[i].ms, "%s", rows[i].name);
    }
}
END_TEST

START_TEST(iso_is_clamped)
{
    char out[MA_ISO_LEN + 1];
    ma_iso_ms(INT64_MAX, out);
    ck_assert_str_eq(out, "9999-12-31T23:59:59.999Z");
    ma_iso_ms(INT64_MIN, out);
    ck_assert_str_eq(out, "0000-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(iso_every_day_round_trips)
{
    char prev[MA_ISO_LEN + 1] = "";
    for (int64_t day = -200000; day < 200000; day++) {
        char out[MA_ISO_LEN + 1];
        int64_t back;
        ma_iso_ms(day * 86400000 + 43200001, out);
        ck_assert_int_eq(ma_iso_parse(ma_span_str(out), &back), MA_OK);
        ck_assert_int_eq(back, day * 86400000 + 43200001);
        ck_assert_str_gt(out, prev);
        memcpy(prev, out, sizeof(prev));
    }
}
END_TEST

static const struct iso_row {
    const char *in;
    int want;
    int64_t ms;
} iso_rows[] = {
    {"2026-01-02", MA_OK, 1767312000000},
    {"2026-01-02T10:00:00Z", MA_OK, 1767348000000},
    {"2026-01-02T10:00:00.5Z", MA_OK, 1767348000500},
    {"2026-01-02T10:00:00.123456789Z", MA_OK, 1767348000123},
    {"2024-02-29", MA_OK, 1709164800000},
    {"", MA_E_PARSE, 0},
    {"2026", MA_E_PARSE, 0},
    {"2026-1-2", MA_E_PARSE, 0},
    {"2026-00-02", MA_E_PARSE, 0},
    {"2026-13-02", MA_E_PARSE, 0},
    {"2026-01-00", MA_E_PARSE, 0},
    {"2026-02-29", MA_E_PARSE, 0},
    {"1900-02-29", MA_E_PARSE, 0},
    {"2026-04-31", MA_E_PARSE, 0},
    {"2026-01-32", MA_E_PARSE, 0},
    {"2026-01-02T", MA_E_PARSE, 0},
    {"2026-01-02 10:00:00Z", MA_E_PARSE, 0},
    {"2026-01-02T24:00:00Z", MA_E_PARSE, 0},
    {"2026-01-02T10:60:00Z", MA_E_PARSE, 0},
    {"2026-01-02T10:00:60Z", MA_E_PARSE, 0},
    {"2026-01-02T10:00:00", MA_E_PARSE, 0},
    {"2026-01-02T10:00Z", MA_E_PARSE, 0},
    {"2026-01-02T10:00:00+01:00", MA_E_PARSE, 0},
    {"2026-01-02T10:00:00.Z", MA_E_PARSE, 0},
    {"2026-01-02T10:00:00.1234567890Z", MA_E_PARSE, 0},
    {"2026-01-02T10:00:00ZZ", MA_E_PARSE, 0},
    {"-026-01-02", MA_E_PARSE, 0},
    {"2026-01-02z", MA_E_PARSE, 0},
};

START_TEST(iso_parse_table)
{
    int64_t ms = 7;
    ck_assert_msg(ma_iso_parse(ma_span_str(iso_rows[_i].in), &ms) == iso_rows[_i].want, "%s", iso_rows[_i].in);
    if (iso_rows[_i].want == MA_OK)
        ck_assert_int_eq(ms, iso_rows[_i].ms);
}
END_TEST

/* ---- randomness ---- */

static int fail_fill(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}
static const struct ma_rand failing = {fail_fill, NULL};

static int stuck_fill(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    memset(p, 0xFF, n);
    return MA_OK;
}
static const struct ma_rand stuck = {stuck_fill, NULL};

START_TEST(system_rand)
{
    uint8_t a[300] = {0}, b[300] = {0};
    const struct ma_rand *r = ma_rand_system();
    ck_assert_int_eq(r->fill(r, a, sizeof(a)), MA_OK);
    ck_assert_int_eq(r->fill(r, b, sizeof(b)), MA_OK);
    ck_assert(memcmp(a, b, sizeof(a)) != 0);
    ck_assert_int_eq(r->fill(r, a, 0), MA_OK);
}
END_TEST

START_TEST(seeded_rand)
{
    /* first outputs of SplitMix64 for seed 1234567 */
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u};
    struct ma_rand_seeded r;
    ma_rand_seeded_init(&r, 1234567);
    for (size_t i = 0; i < MA_COUNT(want); i++) {
        uint8_t b[8];
        uint64_t got = 0;
        ck_assert_int_eq(r.rand.fill(&r.rand, b, sizeof(b)), MA_OK);
        for (size_t k = 0; k < 8; k++)
            got |= (uint64_t)b[k] << (8 * k);
        ck_assert_uint_eq(got, want[i]);
    }
}
END_TEST

START_TEST(rand_chars_are_uniform)
{
    struct ma_rand_seeded r;
    ma_rand_seeded_init(&r, 7);
    static char out[100001];
    ck_assert_int_eq(ma_rand_chars(&r.rand, MA_DIGITS, out, 100000), MA_OK);
    ck_assert_uint_eq(strlen(out), 100000);
    size_t count[10] = {0};
    for (size_t i = 0; i < 100000; i++) {
        ck_assert(out[i] >= '0' && out[i] <= '9');
        count[out[i] - '0']++;
    }
    for (size_t i = 0; i < 10; i++) /* 10000 ± 5 sigma; a plain modulo of a byte would give 10156 or 9766 */
        ck_assert(count[i] > 9525 && count[i] < 10475);
}
END_TEST

START_TEST(rand_chars_edges)
{
    char out[8] = "xxxxxxx";
    ck_assert_int_eq(ma_rand_chars(&failing, MA_DIGITS, out, 7), MA_E_IO);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(ma_rand_chars(&stuck, MA_DIGITS, out, 7), MA_E_IO); /* 0xFF is always rejected: no hang */
    ck_assert_int_eq(ma_rand_chars(ma_rand_system(), "", out, 7), MA_E_INVAL);
    ck_assert_int_eq(ma_rand_chars(ma_rand_system(), "a", out, 3), MA_OK);
    ck_assert_str_eq(out, "aaa");
    ck_assert_int_eq(ma_rand_chars(ma_rand_system(), MA_ALNUM36, out, 0), MA_OK);
    ck_assert_str_eq(out, "");
}
END_TEST

/* ---- identifiers and scopes ---- */

START_TEST(ids)
{
    struct ma_rand_seeded r;
    ma_rand_seeded_init(&r, 3);
    char id[MA_METHOD_ID_MAX], id2[MA_METHOD_ID_MAX], session[MA_SESSION_LEN + 1], req[33];
    ck_assert_int_eq(ma_id_method(&r.rand, "totp", id), MA_OK);
    ck_assert_int_eq(strncmp(id, "totp|dev_", 9), 0);
    ck_assert_uint_eq(strlen(id), 25);
    ck_assert_uint_eq(strspn(id + 9, MA_ALNUM62), 16);
    ck_assert_int_eq(ma_id_method(&r.rand, "totp", id2), MA_OK);
    ck_assert_str_ne(id, id2);
    ck_assert_int_eq(ma_id_session(&r.rand, session), MA_OK);
    ck_assert_uint_eq(strlen(session), MA_SESSION_LEN);
    ck_assert_uint_eq(strspn(session, MA_ALNUM62 "-_"), MA_SESSION_LEN);
    ck_assert_int_eq(ma_id_request(&r.rand, req), MA_OK);
    ck_assert_uint_eq(strspn(req, "0123456789abcdef"), 32);
    ck_assert_uint_eq(strlen(req), 32);
}
END_TEST

START_TEST(ids_of_connecting)
{
    struct ma_rand_seeded r;
    ma_rand_seeded_init(&r, 3);
    char account[MA_ACCOUNT_ID_LEN + 1], uuid[MA_UUID_LEN + 1], token[MA_TOKEN_LEN + 1], last[MA_UUID_LEN + 1] = "";
    ck_assert_int_eq(ma_id_account(&r.rand, account), MA_OK);
    ck_assert_int_eq(strncmp(account, "cac_", 4), 0);
    ck_assert_uint_eq(strlen(account), MA_ACCOUNT_ID_LEN);
    ck_assert_uint_eq(strspn(account + 4, MA_ALNUM62), 22);
    ck_assert_int_eq(ma_id_token(&r.rand, token), MA_OK);
    ck_assert_uint_eq(strlen(token), MA_TOKEN_LEN);
    ck_assert_uint_eq(strspn(token, MA_ALNUM62 "-_"), MA_TOKEN_LEN);
    for (int i = 0; i < 64; i++) { /* RFC 9562 §5.4: xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx */
        ck_assert_int_eq(ma_id_uuid(&r.rand, uuid), MA_OK);
        ck_assert_uint_eq(strlen(uuid), MA_UUID_LEN);
        for (size_t k = 0; k < MA_UUID_LEN; k++)
            ck_assert(k == 8 || k == 13 || k == 18 || k == 23 ? uuid[k] == '-'
                                                              : strchr("0123456789abcdef", uuid[k]) != NULL);
        ck_assert(uuid[14] == '4' && strchr("89ab", uuid[19]));
        ck_assert_str_ne(uuid, last);
        memcpy(last, uuid, sizeof last);
    }
}
END_TEST

START_TEST(ids_of_connecting_that_fail)
{
    char account[MA_ACCOUNT_ID_LEN + 1], uuid[MA_UUID_LEN + 1], token[MA_TOKEN_LEN + 1];
    ck_assert_int_eq(ma_id_account(&failing, account), MA_E_IO);
    ck_assert_str_eq(account, "");
    ck_assert_int_eq(ma_id_uuid(&failing, uuid), MA_E_IO);
    ck_assert_str_eq(uuid, "");
    ck_assert_int_eq(ma_id_token(&failing, token), MA_E_IO);
    ck_assert_str_eq(token, "");
}
END_TEST

START_TEST(ids_that_fail)
{
    char id[MA_METHOD_ID_MAX], session[MA_SESSION_LEN + 1], req[33];
    ck_assert_int_eq(ma_id_method(&failing, "totp", id), MA_E_IO);
    ck_assert_str_eq(id, "");
    ck_assert_int_eq(ma_id_session(&failing, session), MA_E_IO);
    ck_assert_str_eq(session, "");
    ck_assert_int_eq(ma_id_request(&failing, req), MA_E_IO);
    ck_assert_str_eq(req, "");
    ck_assert_int_eq(ma_id_method(ma_rand_system(), "", id), MA_E_RANGE);
    /* 42 bytes of type, 5 of "|dev_", 16 and NUL fill the room; one more does not */
    ck_assert_int_eq(ma_id_method(ma_rand_system(), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", id), MA_OK);
    ck_assert_uint_eq(strlen(id), MA_METHOD_ID_MAX - 1);
    ck_assert_int_eq(ma_id_method(ma_rand_system(), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", id), MA_E_RANGE);
}
END_TEST

START_TEST(scopes)
{
    static const struct {
        const char *list;
        ma_scopes want;
    } rows[] = {
        {"", 0},
        {"read:me:factors", MA_SC_READ_FACTORS},
        {"openid  read:me:factors profile delete:me:connected_accounts ", MA_SC_READ_FACTORS | MA_SC_DELETE_CONNECTED},
        {"read:me:factor read:me:factorss READ:ME:FACTORS", 0},
        {"read:me:factors\tread:me:consents", 0},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert_uint_eq(ma_scope_parse_list(ma_span_str(rows[i].list)), rows[i].want);
    ck_assert_uint_eq(ma_scope_parse_list(MA_SPAN_NULL), 0);
    ck_assert_uint_eq(ma_scope_parse(MA_SPAN_NULL), 0);
    for (ma_scopes bit = 1; bit <= MA_SC_READ_ORGANIZATIONS; bit <<= 1)
        ck_assert_uint_eq(ma_scope_parse(ma_span_str(ma_scope_name(bit))), bit);
    ck_assert_ptr_null(ma_scope_name(MA_PUBLIC));
    ck_assert_ptr_null(ma_scope_name(0));
    ck_assert_ptr_null(ma_scope_name(3));
}
END_TEST

/* ---- log ---- */

static int pipe_fds[2];
static char text[8192];

static void log_setup(void)
{
    ck_assert_int_eq(pipe(pipe_fds), 0);
    unsetenv("JOURNAL_STREAM");
}

static void log_teardown(void)
{
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* What one call wrote, with the time replaced by "T". */
static const char *logged(void)
{
    ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    char *at = strstr(text, "ts");
    ck_assert_ptr_nonnull(at);
    at += at[2] == '"' ? 5 : 3;
    int64_t ms;
    ck_assert_int_eq(ma_iso_parse(ma_span_of(at, MA_ISO_LEN), &ms), MA_OK);
    *at = 'T';
    memmove(at + 1, at + MA_ISO_LEN, strlen(at + MA_ISO_LEN) + 1);
    return text;
}

START_TEST(log_json)
{
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, -1); /* a pipe is not a terminal: JSON */
    ma_log(lg, MA_LOG_INFO, "ready", MA_KV_S("address", "127.0.0.1:8080"), MA_KV_I("n", -5),
           MA_KV_SECRET("code", MA_LIT("123456")), MA_KV_S("none", NULL));
    ck_assert_str_eq(logged(), "{\"ts\":\"T\",\"level\":\"info\",\"event\":\"ready\",\"address\":\"127.0.0.1:8080\","
                               "\"n\":-5,\"code\":\"[6 bytes]\",\"none\":null}\n");
    ma_log_free(lg);
}
END_TEST

START_TEST(log_key_value)
{
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_DEBUG, 0);
    ma_log(lg, MA_LOG_WARN, "slow", MA_KV_S("op", "listMethods"), MA_KV_S("text", "a b=c"), MA_KV_S("empty", ""),
           MA_KV_S("none", NULL), MA_KV_I("us", 17), MA_KV_SECRET("seed", MA_LIT("abc")));
    ck_assert_str_eq(logged(), "ts=T level=warn event=slow op=listMethods text=\"a b=c\" empty=\"\" none=- us=17 "
                               "seed=\"[3 bytes]\"\n");
    ma_log(lg, MA_LOG_DEBUG, "d", MA_KV_I("a", INT64_MIN));
    ck_assert_str_eq(logged(), "ts=T level=debug event=d a=-9223372036854775808\n");
    ma_log(lg, MA_LOG_ERROR, "e", MA_KV_I("a", INT64_MAX));
    ck_assert_str_eq(logged(), "ts=T level=error event=e a=9223372036854775807\n");
    ma_log_free(lg);
}
END_TEST

static const struct escape_row {
    struct ma_span in;
    const char *want;
} escape_rows[] = {
    {MA_LIT("plain"), "plain"},
    {MA_LIT("quote\" back\\"), "quote\\\" back\\\\"},
    {MA_LIT("two\nlines\r"), "two\\u000alines\\u000d"},
    {MA_LIT("nul\0 esc\x1b del\x7f"), "nul\\u0000 esc\\u001b del\\u007f"},
    {MA_LIT("c1\xc2\x85"), "c1\\u0085"},
    {MA_LIT("sep\xe2\x80\xa8\xe2\x80\xa9"), "sep\\u2028\\u2029"},
    {MA_LIT("\xc3\xa9\xf0\x9f\x98\x80"), "\xc3\xa9\xf0\x9f\x98\x80"},
    {MA_LIT("bad\xff\xc3"), "bad\\ufffd\\ufffd"},
    {MA_LIT("cut\xe2\x82"), "cut\\ufffd\\ufffd"},
};

START_TEST(log_escapes)
{
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, 1);
    char want[512];
    ma_log(lg, MA_LOG_INFO, "e", MA_KV_SPAN("s", escape_rows[_i].in));
    snprintf(want, sizeof(want), "{\"ts\":\"T\",\"level\":\"info\",\"event\":\"e\",\"s\":\"%s\"}\n",
             escape_rows[_i].want);
    ck_assert_str_eq(logged(), want);
    ma_log_free(lg);
}
END_TEST

START_TEST(log_cuts_strings)
{
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, 1);
    char in[400], want[600];
    memset(in, 'x', sizeof(in));
    memcpy(in + 255, "\xc3\xa9", 2); /* across the cut */
    ma_log(lg, MA_LOG_INFO, "e", MA_KV_SPAN("s", ma_span_of(in, sizeof(in))));
    snprintf(want, sizeof(want), "{\"ts\":\"T\",\"level\":\"info\",\"event\":\"e\",\"s\":\"%.255s...\"}\n", in);
    ck_assert_str_eq(logged(), want);
    ma_log_free(lg);
}
END_TEST

START_TEST(log_long_lines_stay_whole)
{
    for (int json = 0; json <= 1; json++) {
        struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, json);
        struct ma_kv kv[40];
        char controls[256];
        memset(controls, 1, sizeof(controls));
        for (size_t i = 0; i < MA_COUNT(kv); i++)
            kv[i] = MA_KV_SPAN("k", ma_span_of(controls, sizeof(controls)));
        ma_log_write(lg, MA_LOG_INFO, "e", kv, MA_COUNT(kv));
        const char *line = logged();
        const char *end = json ? "\\u0001\",\"cut\":true}\n" : "\\u0001\" cut=true\n";
        ck_assert_uint_le(strlen(line), 4096);
        ck_assert_uint_gt(strlen(line), 2048);
        ck_assert_str_eq(line + strlen(line) - strlen(end), end);
        ma_log_free(lg);
    }
}
END_TEST

START_TEST(log_levels)
{
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_WARN, 1);
    errno = ENOENT;
    ma_log(lg, MA_LOG_INFO, "dropped", MA_KV_I("a", 1));
    ma_log(NULL, MA_LOG_ERROR, "dropped", MA_KV_I("a", 1));
    ma_log_write(lg, MA_LOG_ERROR, "kept", NULL, 0);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(logged(), "{\"ts\":\"T\",\"level\":\"error\",\"event\":\"kept\"}\n");
    ma_log_free(lg);
    ma_log_free(NULL);
}
END_TEST

START_TEST(log_journal_prefix)
{
    struct stat st;
    char stream[64];
    ck_assert_int_eq(fstat(pipe_fds[1], &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    struct ma_log *lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, 1);
    ma_log_write(lg, MA_LOG_WARN, "e", NULL, 0);
    ck_assert_str_eq(logged(), "<4>{\"ts\":\"T\",\"level\":\"warn\",\"event\":\"e\"}\n");
    ma_log_free(lg);
    setenv("JOURNAL_STREAM", "1:1", 1); /* another stream */
    lg = ma_log_new(pipe_fds[1], MA_LOG_INFO, 1);
    ma_log_write(lg, MA_LOG_WARN, "e", NULL, 0);
    ck_assert_str_eq(logged(), "{\"ts\":\"T\",\"level\":\"warn\",\"event\":\"e\"}\n");
    ma_log_free(lg);
}
END_TEST

static TCase *clock_case(void)
{
    TCase *tc = tcase_create("clock");
    tcase_add_test(tc, manual_clock);
    tcase_add_test(tc, system_clock);
#ifdef MA_TEST_HOOKS
    tcase_add_test(tc, file_clock);
#endif
    tcase_add_test(tc, iso_table);
    tcase_add_test(tc, iso_is_clamped);
    tcase_add_test(tc, iso_every_day_round_trips);
    tcase_add_loop_test(tc, iso_parse_table, 0, (int)MA_COUNT(iso_rows));
    return tc;
}

static TCase *rand_case(void)
{
    TCase *tc = tcase_create("rand");
    tcase_add_test(tc, system_rand);
    tcase_add_test(tc, seeded_rand);
    tcase_add_test(tc, rand_chars_are_uniform);
    tcase_add_test(tc, rand_chars_edges);
    tcase_add_test(tc, ids);
    tcase_add_test(tc, ids_of_connecting);
    tcase_add_test(tc, ids_of_connecting_that_fail);
    tcase_add_test(tc, ids_that_fail);
    tcase_add_test(tc, scopes);
    return tc;
}

static TCase *log_case(void)
{
    TCase *tc = tcase_create("log");
    tcase_add_checked_fixture(tc, log_setup, log_teardown);
    tcase_add_test(tc, log_json);
    tcase_add_test(tc, log_key_value);
    tcase_add_loop_test(tc, log_escapes, 0, (int)MA_COUNT(escape_rows));
    tcase_add_test(tc, log_cuts_strings);
    tcase_add_test(tc, log_long_lines_stay_whole);
    tcase_add_test(tc, log_levels);
    tcase_add_test(tc, log_journal_prefix);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("clock_rand_log");
    suite_add_tcase(s, clock_case());
    suite_add_tcase(s, rand_case());
    suite_add_tcase(s, log_case());
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Answers to browsers: cookies in and out, redirects, query parameters that are added to URLs, and pages.
 */
#include "ma/web.h"

#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* --- cookies of a request --- */

static const struct {
    const char *header, *name, *want; /* want NULL: not there */
} cookies[] = {
    {NULL, "a", NULL},
    {"", "a", NULL},
    {"a=1", "a", "1"},
    {"a=1; b=2", "b", "2"},
    {"a=1;b=2", "b", "2"},
    {"a=1 ;  b=2  ", "b", "2"},
    {"a=1 ;  b=2  ", "a", "1"},
    {"a=", "a", ""},
    {"a", "a", NULL},
    {"a; a=1", "a", "1"},
    {"a=1; a=2", "a", "1"},
    {"aa=1", "a", NULL},
    {"xa=1", "a", NULL},
    {"a=1", "aa", NULL},
    {"A=1", "a", NULL},
    {"=a", "a", NULL},
    {"=a=1", "a", NULL},
    {"b=a=1", "a", NULL},
    {"b=\"; a=1; \"", "a", "1"},
    {"a=b=c", "a", "b=c"},
    {"a=\"1\"", "a", "\"1\""},
    {";;; ; a=1", "a", "1"},
    {";", "a", NULL},
    {"a=1;", "a", "1"},
    {"a =1", "a", NULL},
    {"\ta=1", "a", "1"},
    {"a=%3B; b=2", "a", "%3B"},
    {"a=1,b=2", "b", NULL},
    {"$Version=1; a=2; $Path=/", "a", "2"},
    {"\xff\xfe=1; a=\xc3\xa4", "a", "\xc3\xa4"},
};

START_TEST(test_cookie)
{
    ctx->req.cookie = cookies[_i].header ? ma_span_str(cookies[_i].header) : MA_SPAN_NULL;
    struct ma_span got = ma_cookie(ctx, cookies[_i].name);
    ck_assert_msg((got.p != NULL) == (cookies[_i].want != NULL), "%s", cookies[_i].header);
    ck_assert_msg(!got.p || ma_span_eq_str(got, cookies[_i].want), "%s: \"%.*s\"", cookies[_i].header, (int)got.n,
                  (const char *)got.p);
}
END_TEST

/* Headers that end where memory ends, of every length, without NUL. */
START_TEST(test_cookie_reads_no_further)
{
    static const char whole[] = "x=1; name=value; y";
    for (size_t n = 0; n < sizeof whole; n++) {
        char *exact = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, whole, n);
        ctx->req.cookie = ma_span_of(exact, n);
        struct ma_span got = ma_cookie(ctx, "name");
        ck_assert_uint_eq(got.p != NULL, n >= 10);
        ck_assert_uint_eq(got.n, n < 10 ? 0 : n < 15 ? n - 10 : 5);
        (void)ma_cookie(ctx, "y");
        free(exact);
    }
}
END_TEST

START_TEST(test_cookie_many)
{
    enum { BYTES = 60000 };
    char *many = malloc(BYTES);
    ck_assert_ptr_nonnull(many);
    for (size_t i = 0; i < BYTES; i++)
        many[i] = "a=1;"[i % 4];
    memcpy(many + BYTES - 4, "z=9;", 4);
    ctx->req.cookie = ma_span_of(many, BYTES);
    T_STR(ma_cookie(ctx, "z"), "9");
    ck_assert_ptr_null(ma_cookie(ctx, "y").p);
    free(many);
}
END_TEST

/* --- cookies of an answer --- */

START_TEST(test_cookie_set)
{
    ck_assert(ma_origin_is_https(ctx));
    ma_cookie_set(ctx, "__Host-c", "v", 330);
    ck_assert_str_eq(ma_fix_header(ctx, "Set-Cookie"),
                     "__Host-c=v; Path=/; Max-Age=330; HttpOnly; SameSite=Lax; Secure");
    ctx = ma_fix_again(&f);
    ma_cookie_set(ctx, "__Host-c", "", 0);
    ck_assert_str_eq(ma_fix_header(ctx, "Set-Cookie"), "__Host-c=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    f.conf->base_url = "http://127.0.0.1:3001";
    ctx = ma_fix_again(&f);
    ck_assert(!ma_origin_is_https(ctx));
    ma_cookie_set(ctx, "c", "v", 1);
    ck_assert_str_eq(ma_fix_header(ctx, "Set-Cookie"), "c=v; Path=/; Max-Age=1; HttpOnly; SameSite=Lax");
}
END_TEST

/* --- URLs --- */

static const struct {
    const char *url, *value, *want; /* value NULL: absent */
} queries[] = {
    {"https://a.example/cb", "v", "https://a.example/cb?n=v"},
    {"https://a.example/cb?x=1", "v", "https://a.example/cb?x=1&n=v"},
    {"https://a.example/cb?", "v", "https://a.example/cb?n=v"},
    {"https://a.example/cb?x=1&", "v", "https://a.example/cb?x=1&n=v"},
    {"https://a.example/cb?x=?", "v", "https://a.example/cb?x=?&n=v"},
    {"com.example.app:/cb", "v", "com.example.app:/cb?n=v"},
    {"", "v", "?n=v"},
    {"https://a.example/cb", "", "https://a.example/cb?n="},
    {"https://a.example/cb", NULL, "https://a.example/cb"},
    {"u", "aZ09-._~", "u?n=aZ09-._~"},
    {"u", "a+b/c==", "u?n=a%2Bb%2Fc%3D%3D"},
    {"u", " &#?%;\"'<>\\\r\n\t", "u?n=%20%26%23%3F%25%3B%22%27%3C%3E%5C%0D%0A%09"},
    {"u", "\xc3\xa4\xff\x01\x7f", "u?n=%C3%A4%FF%01%7F"},
};

START_TEST(test_query_add)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, f.arena, 64, 4096);
    ma_buf_str(&b, queries[_i].url);
    ma_query_add(&b, "n", queries[_i].value ? ma_span_str(queries[_i].value) : MA_SPAN_NULL);
    T_OK(ma_buf_err(&b));
    struct ma_span got = b.n ? ma_buf_view(&b) : MA_LIT("");
    ck_assert_msg(ma_span_eq_str(got, queries[_i].want), "\"%.*s\"", (int)got.n, (const char *)got.p);
}
END_TEST

/* A value that ends in '&' or '?' is encoded: it cannot make the next parameter lose its joint. */
START_TEST(test_query_add_twice)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, f.arena, 64, 4096);
    ma_buf_str(&b, "u");
    ma_query_add(&b, "a", MA_LIT("&"));
    ma_query_add(&b, "b", MA_LIT("?"));
    ma_query_add(&b, "c", MA_LIT(""));
    ma_query_add(&b, "d", MA_LIT("\0"));
    ma_buf_byte(&b, 0);
    ck_assert_str_eq((const char *)b.p, "u?a=%26&b=%3F&c=&d=%00");
}
END_TEST

START_TEST(test_query_add_is_bounded)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, f.arena, 8, 16);
    ma_buf_str(&b, "u");
    for (int i = 0; i < 8; i++)
        ma_query_add(&b, "name", MA_LIT("value"));
    ck_assert_int_lt(ma_buf_err(&b), 0);
}
END_TEST

START_TEST(test_redirect)
{
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_header(ctx, "X-Before", "gone");
    T_OK(ma_redirect(ctx, "https://a.example/cb?x=1"));
    ck_assert_int_eq(ctx->resp.status, 302);
    ck_assert_uint_eq(ctx->resp.body.n, 0);
    ck_assert_str_eq(ma_fix_header(ctx, "Location"), "https://a.example/cb?x=1");
    ck_assert_str_eq(ma_fix_header(ctx, "Cache-Control"), "no-store");
    ck_assert_str_eq(ma_fix_header(ctx, "Referrer-Policy"), "no-referrer");
    ck_assert_ptr_null(ma_fix_header(ctx, "X-Before"));
    T_IS(MA_E_NOMEM, ma_redirect(ctx, NULL));
}
END_TEST

/* --- pages --- */

START_TEST(test_html_escape)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, f.arena, 64, 4096);
    ma_html_escape(&b, MA_LIT("<a href='x' title=\"y\">&amp;</a>\xc3\xa4"));
    ma_html_escape(&b, MA_LIT(""));
    ma_buf_byte(&b, 0);
    ck_assert_str_eq((const char *)b.p, "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;amp;&lt;/a&gt;\xc3\xa4");
}
END_TEST

static const struct {
    const char *name, *value;
} page_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; style-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; "
     "frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
};

START_TEST(test_page)
{
    T_IS(MA_E_PROBLEM, ma_page(ctx, 400, "Not <you> & 'me'", "<script>alert(\"1\")</script>"));
    ck_assert_int_eq(ctx->resp.status, 400);
    ck_assert_str_eq(ctx->resp.content_type, "text/html; charset=utf-8");
    ck_assert(ma_fix_body_has(&f, "<title>Not &lt;you&gt; &amp; &#39;me&#39;</title>"));
    ck_assert(ma_fix_body_has(&f, "<h1>Not &lt;you&gt; &amp; &#39;me&#39;</h1>"));
    ck_assert(ma_fix_body_has(&f, "<p>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</p>"));
    ck_assert(!ma_fix_body_has(&f, "<script"));
    for (size_t i = 0; i < MA_COUNT(page_headers); i++) {
        const char *got = ma_fix_header(ctx, page_headers[i].name);
        ck_assert_msg(got && strstr(got, page_headers[i].value), "%s: %s", page_headers[i].name, got);
    }
}
END_TEST

/* Status and what the caller is told belong together. */
START_TEST(test_page_result)
{
    static const struct {
        int status, want;
    } rows[] = {{200, MA_OK}, {399, MA_OK}, {400, MA_E_PROBLEM}, {404, MA_E_PROBLEM}, {503, MA_E_PROBLEM}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ctx = ma_fix_again(&f);
        T_IS(rows[i].want, ma_page(ctx, rows[i].status, "t", "x"));
        ck_assert_int_eq(ctx->resp.status, rows[i].status);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("web");
    TCase *tc = tcase_create("web");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_cookie, 0, (int)MA_COUNT(cookies));
    tcase_add_test(tc, test_cookie_reads_no_further);
    tcase_add_test(tc, test_cookie_many);
    tcase_add_test(tc, test_cookie_set);
    tcase_add_loop_test(tc, test_query_add, 0, (int)MA_COUNT(queries));
    tcase_add_test(tc, test_query_add_twice);
    tcase_add_test(tc, test_query_add_is_bounded);
    tcase_add_test(tc, test_redirect);
    tcase_add_test(tc, test_html_escape);
    tcase_add_test(tc, test_page);
    tcase_add_test(tc, test_page_result);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

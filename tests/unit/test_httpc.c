/* SPDX-License-Identifier: Apache-2.0
 * Outgoing HTTP and SMTP: what is refused, what is cut off, what is reported.
 */
#include "ma/httpc.h"
#include "../../src/net/int.h"
#include "tiny_server.h"

#include <check.h>

static struct ts S;
static struct ma_httpc *C;
static struct ma_arena *A;
static char WHY[256];

#define BIG 300000
static char *big_body(void)
{
    char *s = malloc(BIG + 1);
    ck_assert_ptr_nonnull(s);
    memset(s, 'x', BIG);
    s[BIG] = 0;
    return s;
}

static void set_up(void)
{
    memset(&S, 0, sizeof(S));
    S.routes[0] =
        (struct ts_route){"/ok", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5", "hello", 0};
    S.routes[1] = (struct ts_route){
        "/age", "HTTP/1.1 200 OK\r\ncache-control: public, Max-Age=120 , must-revalidate\r\nContent-Length: 2", "{}",
        0};
    S.routes[2] = (struct ts_route){"/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0", "", 0};
    S.routes[3] = (struct ts_route){"/endless", "HTTP/1.1 200 OK", big_body(), 0};
    S.routes[4] = (struct ts_route){"/declared", "HTTP/1.1 200 OK\r\nContent-Length: 99999999", "x", 0};
    S.routes[5] = (struct ts_route){"/fail", "HTTP/1.1 500 No\r\nContent-Length: 3", "bad", 0};
    S.routes[6] =
        (struct ts_route){"/noage", "HTTP/1.1 200 OK\r\nCache-Control: max-age=12x\r\nContent-Length: 0", "", 0};
    S.routes[7] = (struct ts_route){"/later", "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0", "", 0};
    S.routes[8] =
        (struct ts_route){"/never", "HTTP/1.1 503 No\r\nretry-after: 99999999999\r\nContent-Length: 0", "", 0};
    S.routes[9] = (struct ts_route){"/whenever", "HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0", "", 0};
    ck_assert(ts_start(&S));
    ck_assert_int_eq(ma_httpc_new(&C), MA_OK);
    A = ma_arena_new(16384, 4u << 20);
}

static void tear_down(void)
{
    ts_hold(&S, false);
    ma_httpc_free(C);
    ma_arena_free(A);
    ts_stop(&S);
    free((void *)(uintptr_t)S.routes[3].body);
}

static int call_url(const char *url, struct ma_http_call call, struct ma_http_answer *ans)
{
    call.method = call.method ? call.method : "GET";
    call.url = url;
    return ma_httpc_call(C, &call, A, ans, WHY);
}

static int call_path(const char *path, struct ma_http_call call, struct ma_http_answer *ans)
{
    call.policy.allow_http_loopback = true;
    return call_url(ma_arena_printf(A, "http://127.0.0.1:%d%s", S.port, path), call, ans);
}

START_TEST(get)
{
    struct ma_http_answer ans;
    ck_assert_msg(call_path("/ok", (struct ma_http_call){0}, &ans) == MA_OK, "%s", WHY);
    ck_assert_int_eq((int)ans.status, 200);
    ck_assert(ma_span_eq_str(ans.body, "hello"));
    ck_assert(ma_span_eq_str(ans.content_type, "text/plain"));
    ck_assert_int_eq(ans.max_age_s, -1);
    ck_assert_ptr_null(strstr(S.last, "Authorization"));
    ck_assert_ptr_null(strstr(S.last, "Accept-Encoding"));
}
END_TEST

START_TEST(statuses_and_ages)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/fail", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq((int)ans.status, 500);
    ck_assert(ma_span_eq_str(ans.body, "bad"));
    ck_assert_uint_eq(ans.content_type.n, 0);
    ck_assert_int_eq(call_path("/age", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.max_age_s, 120);
    ck_assert_int_eq(call_path("/noage", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.max_age_s, -1);
    ck_assert_int_eq(call_path("/missing", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq((int)ans.status, 404);
}
END_TEST

START_TEST(retry_after)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/later", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.retry_after_s, 7);
    ck_assert_int_eq(call_path("/never", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.retry_after_s, 31536000);
    ck_assert_int_eq(call_path("/whenever", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.retry_after_s, 0);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(ans.retry_after_s, 0);
}
END_TEST

/* A server that answers in HTTP/1.1 whatever it is asked in: the answer is not taken. */
START_TEST(http2_or_nothing)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.http2 = true}, &ans), MA_E_UPSTREAM);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){0}, &ans), MA_OK);
}
END_TEST

START_TEST(post)
{
    static const char *const headers[] = {"Content-Type: application/json", "X-Test: 1", NULL};
    struct ma_http_answer ans;
    struct ma_http_call call = {.method = "POST",
                                .headers = headers,
                                .body = MA_LIT("{\"a\":1}"),
                                .basic_user = "me",
                                .basic_password = "secret:word"};
    ck_assert_int_eq(call_path("/ok", call, &ans), MA_OK);
    ck_assert_int_eq(strncmp(S.last, "POST /ok HTTP/1.1\r\n", 19), 0);
    ck_assert_ptr_nonnull(strstr(S.last, "\r\nContent-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(S.last, "\r\nX-Test: 1\r\n"));
    ck_assert_ptr_nonnull(strstr(S.last, "\r\nAuthorization: Basic bWU6c2VjcmV0OndvcmQ=\r\n"));
    ck_assert_ptr_nonnull(strstr(S.last, "\r\n\r\n{\"a\":1}"));
    ck_assert_ptr_null(strstr(S.last, "Expect:"));
    /* Nothing of it stays for the next call. */
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq(strncmp(S.last, "GET /ok HTTP/1.1\r\n", 18), 0);
    ck_assert_ptr_null(strstr(S.last, "Authorization"));
}
END_TEST

START_TEST(empty_post)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.method = "POST"}, &ans), MA_OK);
    ck_assert_ptr_nonnull(strstr(S.last, "\r\nContent-Length: 0\r\n"));
}
END_TEST

START_TEST(injection)
{
    static const char *const headers[] = {"X-A: 1\r\nX-B: 2", NULL};
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.headers = headers}, &ans), MA_E_INVAL);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.basic_user = "a:b"}, &ans), MA_E_INVAL);
    ck_assert_int_eq(call_path("/ok\r\nX: 1", (struct ma_http_call){0}, &ans), MA_E_UPSTREAM);
    ck_assert_int_eq(ts_hits(&S, 0), 0);
}
END_TEST

START_TEST(redirect_is_an_answer)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/redirect", (struct ma_http_call){0}, &ans), MA_OK);
    ck_assert_int_eq((int)ans.status, 302);
    ck_assert_int_eq(ts_hits(&S, 0), 0);
}
END_TEST

START_TEST(size_cap)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(call_path("/endless", (struct ma_http_call){0}, &ans), MA_E_RANGE);
    ck_assert_int_eq(call_path("/declared", (struct ma_http_call){0}, &ans), MA_E_RANGE);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.response_max = 4}, &ans), MA_E_RANGE);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.response_max = 5}, &ans), MA_OK);
    ck_assert_int_eq(call_path("/endless", (struct ma_http_call){.response_max = BIG}, &ans), MA_OK);
    ck_assert_uint_eq(ans.body.n, BIG);
}
END_TEST

START_TEST(timeout)
{
    struct ma_http_answer ans;
    ts_hold(&S, true);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){.timeout_ms = 50}, &ans), MA_E_TIMEOUT);
    ck_assert_str_eq(WHY, "timed out");
}
END_TEST

/* %d is the server's port: it would answer if it were reached. */
static const struct {
    const char *url;
    bool private, loopback_http;
} REFUSED[] = {
    {"http://127.0.0.1:%d/ok", false, false},
    {"http://127.0.0.1:%d/ok", true, false},
    {"http://localhost:%d/ok", false, false},
    {"https://127.0.0.1:%d/ok", false, true},
    {"https://127.0.0.1:%d/ok", false, false},
    {"https://localhost:%d/ok", false, true},
    {"https://0x7f.1:%d/ok", false, false},
    {"https://0x7f000001:%d/ok", false, false},
    {"https://2130706433:%d/ok", false, false},
    {"https://127.1:%d/ok", false, false},
    {"https://0177.0.0.1:%d/ok", false, false},
    {"https://0:%d/ok", false, false},
    {"https://0.0.0.0:%d/ok", true, false},
    {"https://[::1]:%d/ok", false, false},
    {"https://[::]:%d/ok", true, false},
    {"https://[::ffff:127.0.0.1]:%d/ok", false, false},
    {"https://[::ffff:7f00:1]:%d/ok", false, false},
    {"https://[64:ff9b::7f00:1]:%d/ok", true, false},
    {"https://[2002:7f00:1::]:%d/ok", true, false},
    {"https://10.0.0.1:%d/ok", false, true},
    {"https://192.168.0.1:%d/ok", false, true},
    {"https://[fd00::1]:%d/ok", false, true},
    {"https://169.254.169.254:%d/latest/meta-data/", true, true},
    {"http://169.254.169.254:%d/latest/meta-data/", true, true},
    {"http://10.0.0.1:%d/ok", true, true},
    {"http://8.8.8.8:%d/ok", true, true},
    {"http://user@127.0.0.1:%d/ok", true, true},
    {"http://user:pass@127.0.0.1:%d/ok", true, true},
    {"ftp://127.0.0.1:%d/ok", true, true},
    {"file:///etc/passwd#%d", true, true},
    {"gopher://127.0.0.1:%d/ok", true, true},
    {"dict://127.0.0.1:%d/ok", true, true},
    {"//127.0.0.1:%d/ok", true, true},
    {"127.0.0.1:%d/ok", true, true},
    {"https:///ok%d", true, true},
    {"http://?%d", true, true},
};

START_TEST(refused)
{
    struct ma_http_answer ans;
    char url[256];
    char port[16];
    const char *at = strstr(REFUSED[_i].url, "%d");
    (void)snprintf(port, sizeof(port), "%d", S.port);
    (void)snprintf(url, sizeof(url), "%.*s%s%s", (int)(at - REFUSED[_i].url), REFUSED[_i].url, port, at + 2);
    struct ma_http_call call = {.timeout_ms = 2000, .policy = {REFUSED[_i].private, REFUSED[_i].loopback_http}};
    ck_assert_msg(call_url(url, call, &ans) == MA_E_UPSTREAM, "%s", url);
    ck_assert_msg(WHY[0] != 0, "%s", url);
    ck_assert_int_eq(ts_hits(&S, 0), 0);
}
END_TEST

START_TEST(localhost_when_allowed)
{
    struct ma_http_answer ans;
    struct ma_http_call call = {.policy = {false, true}};
    ck_assert_int_eq(call_url(ma_arena_printf(A, "http://localhost:%d/ok", S.port), call, &ans), MA_OK);
    /* A connection of one policy is not there for another. */
    call.policy = (struct ma_net_policy){true, false};
    ck_assert_int_eq(call_url(ma_arena_printf(A, "http://localhost:%d/ok", S.port), call, &ans), MA_E_UPSTREAM);
}
END_TEST

START_TEST(environment_proxy_is_ignored)
{
    struct ma_http_answer ans;
    ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1/", 1), 0);
    ck_assert_int_eq(setenv("ALL_PROXY", "http://127.0.0.1:1/", 1), 0);
    ck_assert_int_eq(call_path("/ok", (struct ma_http_call){0}, &ans), MA_OK);
}
END_TEST

START_TEST(nobody_there)
{
    struct ma_http_answer ans;
    struct ma_http_call call = {.policy = {false, true}};
    ck_assert_int_eq(call_url("http://127.0.0.1:1/", call, &ans), MA_E_UPSTREAM);
    ck_assert(WHY[0] != 0);
}
END_TEST

static const struct {
    const char *addr;
    bool https_default, https_private, http_loopback;
} GUARD[] = {
    {"8.8.8.8", true, true, false},     {"10.1.2.3", false, true, false},
    {"127.0.0.1", false, true, true},   {"::1", false, true, true},
    {"fd00::1", false, true, false},    {"169.254.169.254", false, false, false},
    {"fe80::1", false, false, false},   {"0.0.0.0", false, false, false},
    {"224.0.0.1", false, false, false}, {"::ffff:127.0.0.1", false, true, true},
    {"100.64.0.1", false, true, false},
};

START_TEST(guard)
{
    static const struct ma_net_policy none = {false, false};
    static const struct ma_net_policy private = {true, false};
    static const struct ma_net_policy loopback = {false, true};
    struct ma_guard g;
    struct ma_addr a;
    ck_assert_int_eq(ma_addr_parse(ma_span_str(GUARD[_i].addr), &a), MA_OK);
    ma_guard_init(&g, &none, false);
    ck_assert_int_eq(ma_guard_allows(&g, &a), GUARD[_i].https_default);
    ma_guard_init(&g, &loopback, false);
    ck_assert_int_eq(ma_guard_allows(&g, &a), GUARD[_i].https_default);
    ma_guard_init(&g, &private, false);
    ck_assert_int_eq(ma_guard_allows(&g, &a), GUARD[_i].https_private);
    ma_guard_init(&g, &loopback, true);
    ck_assert_int_eq(ma_guard_allows(&g, &a), GUARD[_i].http_loopback);
    ma_guard_init(&g, &private, true);
    ck_assert(!ma_guard_allows(&g, &a));
}
END_TEST

/* --- SMTP --- */

#define MESSAGE "Subject: x\r\n\r\n.dot\r\nend\r\n"

static void set_up_mail(void)
{
    memset(&S, 0, sizeof(S));
    S.smtp = true;
    ck_assert_int_eq(ma_httpc_new(&C), MA_OK);
    A = ma_arena_new(16384, 4u << 20);
}

static void tear_down_mail(void)
{
    ma_httpc_free(C);
    ma_arena_free(A);
    if (S.port)
        ts_stop(&S);
}

static int mail(const char *user, struct ma_mail m)
{
    if (!S.port)
        ck_assert(ts_start(&S));
    m.url = ma_arena_printf(A, "smtp://%s127.0.0.1:%d", user, S.port);
    m.from = m.from ? m.from : "no-reply@example.com";
    m.to = m.to ? m.to : "alice@example.com";
    m.message = m.message.p ? m.message : MA_LIT(MESSAGE);
    return ma_httpc_mail(C, &m, WHY);
}

START_TEST(mail_goes_out)
{
    ck_assert_msg(mail("", (struct ma_mail){0}) == MA_OK, "%s", WHY);
    ck_assert_ptr_nonnull(strstr(S.last, "MAIL FROM:<no-reply@example.com>"));
    ck_assert_ptr_nonnull(strstr(S.last, "RCPT TO:<alice@example.com>"));
    ck_assert_ptr_nonnull(strstr(S.last, "Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"));
    ck_assert_ptr_null(strstr(S.last, "AUTH"));
}
END_TEST

/* In clear to this machine: credentials are sent all the same. */
START_TEST(mail_auth_on_loopback)
{
    S.ehlo = "250-AUTH PLAIN\r\n";
    ck_assert_msg(mail("me@", (struct ma_mail){.password = "secret"}) == MA_OK, "%s", WHY);
    ck_assert_ptr_nonnull(strstr(S.last, "AUTH PLAIN"));
}
END_TEST

START_TEST(mail_auth_needs_a_password)
{
    S.ehlo = "250-AUTH PLAIN\r\n";
    ck_assert_int_eq(mail("me@", (struct ma_mail){.password = ""}), MA_OK);
    ck_assert_ptr_null(strstr(S.last, "AUTH"));
}
END_TEST

static const struct {
    const char *name, *mail, *rcpt, *data, *end, *auth, *greeting;
    int want;
} REPLIES[] = {
    {"rcpt 550", NULL, "550 no such user\r\n", NULL, NULL, NULL, NULL, MA_E_INVAL},
    {"mail 553", "553 bad sender\r\n", NULL, NULL, NULL, NULL, NULL, MA_E_INVAL},
    {"data 554", NULL, NULL, "554 no\r\n", NULL, NULL, NULL, MA_E_INVAL},
    {"end 550", NULL, NULL, NULL, "550 spam\r\n", NULL, NULL, MA_E_INVAL},
    {"rcpt 450", NULL, "450 later\r\n", NULL, NULL, NULL, NULL, MA_E_UPSTREAM},
    {"end 451", NULL, NULL, NULL, "451 later\r\n", NULL, NULL, MA_E_UPSTREAM},
    {"mail 530", "530 STARTTLS first\r\n", NULL, NULL, NULL, NULL, NULL, MA_E_UPSTREAM},
    {"auth 535", NULL, NULL, NULL, NULL, "535 wrong\r\n", NULL, MA_E_UPSTREAM},
    {"greeting 554", NULL, NULL, NULL, NULL, NULL, "554 closed\r\n", MA_E_UPSTREAM},
    {"greeting 421", NULL, NULL, NULL, NULL, NULL, "421 busy\r\n", MA_E_UPSTREAM},
};

START_TEST(mail_replies)
{
    S.mail = REPLIES[_i].mail;
    S.rcpt = REPLIES[_i].rcpt;
    S.data = REPLIES[_i].data;
    S.end = REPLIES[_i].end;
    S.auth = REPLIES[_i].auth;
    S.greeting = REPLIES[_i].greeting;
    S.ehlo = REPLIES[_i].auth ? "250-AUTH PLAIN\r\n" : NULL;
    int r = mail(REPLIES[_i].auth ? "me@" : "", (struct ma_mail){.password = "hush-hush"});
    ck_assert_msg(r == REPLIES[_i].want, "%s: %s, %s", REPLIES[_i].name, ma_err_name(r), WHY);
    ck_assert_ptr_null(strstr(WHY, "hush-hush"));
}
END_TEST

static const struct {
    const char *name, *from, *to, *message;
} BAD_MAIL[] = {
    {"CRLF in to", NULL, "a@b.example>\r\nRCPT TO:<c@d.example", NULL},
    {"LF in to", NULL, "a@b.example\nX", NULL},
    {"CRLF in from", "a@b.example\r\nRCPT TO:<c@d.example>", NULL, NULL},
    {"bracket in to", NULL, "a@b.example> <c@d.example", NULL},
    {"blank in to", NULL, "a@b.example NOTIFY=NEVER", NULL},
    {"empty to", NULL, "", NULL},
    {"empty from", "", NULL, NULL},
    {"bare LF", NULL, NULL, "Subject: x\n\nhello\r\n"},
    {"bare CR", NULL, NULL, "Subject: x\r\n\r\nhe\rllo\r\n"},
    {"smuggled end", NULL, NULL, "Subject: x\r\n\r\nhi\n.\r\nMAIL FROM:<x@y.example>\r\n"},
    {"no last line end", NULL, NULL, "Subject: x\r\n\r\nhello"},
    {"nothing", NULL, NULL, ""},
};

START_TEST(mail_refused_here)
{
    struct ma_mail m = {.from = BAD_MAIL[_i].from, .to = BAD_MAIL[_i].to, .message = ma_span_str(BAD_MAIL[_i].message)};
    ck_assert_msg(mail("", m) == MA_E_INVAL, "%s", BAD_MAIL[_i].name);
    ck_assert_str_eq(S.last, "");
}
END_TEST

START_TEST(mail_bad_urls)
{
    static const char *const urls[] = {"http://127.0.0.1/", "smtp://me:pass@127.0.0.1/", "smtp://", "", "127.0.0.1"};
    for (size_t i = 0; i < MA_COUNT(urls); i++) {
        struct ma_mail m = {.url = urls[i], .from = "a@b.example", .to = "c@d.example", .message = MA_LIT(MESSAGE)};
        ck_assert_msg(ma_httpc_mail(C, &m, WHY) == MA_E_UPSTREAM, "%s", urls[i]);
    }
}
END_TEST

START_TEST(mail_nobody_there)
{
    struct ma_mail m = {
        .url = "smtp://127.0.0.1:1", .from = "a@b.example", .to = "c@d.example", .message = MA_LIT(MESSAGE)};
    ck_assert_int_eq(ma_httpc_mail(C, &m, WHY), MA_E_UPSTREAM);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("httpc");
    TCase *t = tcase_create("http");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, get);
    tcase_add_test(t, statuses_and_ages);
    tcase_add_test(t, retry_after);
    tcase_add_test(t, http2_or_nothing);
    tcase_add_test(t, post);
    tcase_add_test(t, empty_post);
    tcase_add_test(t, injection);
    tcase_add_test(t, redirect_is_an_answer);
    tcase_add_test(t, size_cap);
    tcase_add_test(t, timeout);
    tcase_add_loop_test(t, refused, 0, MA_COUNT(REFUSED));
    tcase_add_test(t, localhost_when_allowed);
    tcase_add_test(t, environment_proxy_is_ignored);
    tcase_add_test(t, nobody_there);
    suite_add_tcase(s, t);
    TCase *g = tcase_create("guard");
    tcase_add_loop_test(g, guard, 0, MA_COUNT(GUARD));
    suite_add_tcase(s, g);
    TCase *m = tcase_create("mail");
    tcase_add_checked_fixture(m, set_up_mail, tear_down_mail);
    tcase_add_test(m, mail_goes_out);
    tcase_add_test(m, mail_auth_on_loopback);
    tcase_add_test(m, mail_auth_needs_a_password);
    tcase_add_loop_test(m, mail_replies, 0, MA_COUNT(REPLIES));
    tcase_add_loop_test(m, mail_refused_here, 0, MA_COUNT(BAD_MAIL));
    tcase_add_test(m, mail_bad_urls);
    tcase_add_test(m, mail_nobody_there);
    suite_add_tcase(s, m);
    return s;
}

int main(void)
{
    if (ma_httpc_global_init() < 0)
        return EXIT_FAILURE;
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

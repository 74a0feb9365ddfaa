/* SPDX-License-Identifier: Apache-2.0
 * What the browser sees while an account is being connected: redirects, cookies and pages, from the ticket to the
 * client's callback, where the provider itself need not be asked.
 */
#include "../../src/api/connected.h"
#include "../../src/api/int.h"

#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/codec.h"

#define CALLBACK "https://app.example.com/cb"
#define QUERY_CALLBACK "https://app.example.com/two?x=1"

static const char document[] =
    "{\"clients\":[{\"client_id\":\"spa\",\"callbacks\":[\"" CALLBACK "\",\"" QUERY_CALLBACK "\"]}],\"connections\":["
    "{\"name\":\"acme\",\"strategy\":\"oauth2\",\"connected_accounts\":{\"active\":true},\"options\":{"
    "\"authorization_endpoint\":\"https://acme.example/authorize\",\"token_endpoint\":\"https://acme.example/token\","
    "\"userinfo_endpoint\":\"https://acme.example/userinfo\",\"user_id_field\":\"id\",\"client_id\":\"cid\","
    "\"client_secret\":\"s3\",\"scopes\":[\"read\",\"offline_access\"]}}]}";

static struct ma_fix f;
static struct {
    char ticket[MA_UUID_LEN + 1], state[MA_TOKEN_LEN + 1], cookie[256], url[65536];
} flow;

static void setup(void)
{
    ma_fix_open(&f, "");
    T_OK(ma_providers_new(&f.app.providers));
    ma_fix_apply(&f, document);
    memset(&flow, 0, sizeof flow);
}

static void teardown(void)
{
    ma_providers_free(f.app.providers);
    ma_fix_close(&f);
}

/* The steps of a request as the lanes run them. */
static int drive(struct ma_ctx *ctx, ma_step first)
{
    int r = first(ctx);
    while (r == MA_E_NEXT) {
        ma_step step = ctx->step;
        ck_assert(ctx->step_lane == MA_LANE_NET || ctx->step_lane == MA_LANE_WRITE);
        if (ctx->step_lane == MA_LANE_WRITE)
            ma_fix_begin(&f);
        bool write = ctx->step_lane == MA_LANE_WRITE;
        ctx->step = NULL;
        r = step(ctx);
        if (write)
            (void)ma_fix_end(&f, r == MA_E_NEXT ? MA_OK : r);
    }
    return r;
}

static void begin(struct ma_connect_request *in)
{
    struct ma_connect_begun begun = {NULL, NULL, 0};
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    in->connection = MA_LIT("acme");
    T_OK(MA_FIX_WRITE(&f, ma_connect_begin(ctx, in, &begun)));
    (void)snprintf(flow.ticket, sizeof flow.ticket, "%s", begun.ticket);
}

static void begin_usual(void)
{
    struct ma_connect_request in = {.redirect_uri = MA_LIT(CALLBACK), .state = MA_LIT("s+/=")};
    begin(&in);
}

static struct ma_ctx *browse(void)
{
    struct ma_ctx *ctx = ma_fix_request(&f, "", "");
    ctx->req.verb = MA_GET;
    ctx->req.cookie = flow.cookie[0] ? ma_span_str(flow.cookie) : MA_SPAN_NULL;
    return ctx;
}

static void add(struct ma_ctx *ctx, const char *name, const char *value)
{
    ctx->req.query[ctx->req.n_query++] = (struct ma_pair){ma_span_str(name), ma_span_str(value)};
}

static int visit(void)
{
    struct ma_ctx *ctx = browse();
    add(ctx, "ticket", flow.ticket);
    return drive(ctx, ma_op_connect_visit);
}

static const char *location(void)
{
    const char *at = ma_fix_header(&f.ctx, "Location");
    ck_assert_int_eq(f.ctx.resp.status, 302);
    ck_assert_ptr_nonnull(at);
    ck_assert_str_eq(ma_fix_header(&f.ctx, "Cache-Control"), "no-store");
    ck_assert_str_eq(ma_fix_header(&f.ctx, "Referrer-Policy"), "no-referrer");
    return at;
}

static void expect_page(int result, const char *title)
{
    ck_assert_int_eq(result, MA_E_PROBLEM);
    ck_assert_int_eq(f.ctx.resp.status, 400);
    ck_assert_str_eq(f.ctx.resp.content_type, "text/html; charset=utf-8");
    ck_assert_msg(ma_fix_body_has(&f, title), "%.*s", (int)f.ctx.resp.body.n, (const char *)f.ctx.resp.body.p);
    ck_assert_ptr_null(ma_fix_header(&f.ctx, "Location"));
    ck_assert_ptr_null(ma_fix_header(&f.ctx, "Set-Cookie"));
}

/* The browser follows the link and keeps the cookie; the provider keeps the state. */
static void go(void)
{
    T_OK(visit());
    (void)snprintf(flow.url, sizeof flow.url, "%s", location());
    const char *set = ma_fix_header(&f.ctx, "Set-Cookie");
    ck_assert_ptr_nonnull(set);
    ck_assert_ptr_nonnull(strstr(set, "; Path=/; Max-Age=330; HttpOnly; SameSite=Lax; Secure"));
    (void)snprintf(flow.cookie, sizeof flow.cookie, "other=1; %.*s", (int)strcspn(set, ";"), set);
    const char *state = strstr(flow.url, "state=");
    ck_assert_ptr_nonnull(state);
    (void)snprintf(flow.state, sizeof flow.state, "%s", state + 6);
}

/* All flows of a browser share its cookie. */
START_TEST(test_one_cookie)
{
    begin_usual();
    go();
    char had[sizeof flow.cookie], state[sizeof flow.state];
    memcpy(had, flow.cookie, sizeof had);
    memcpy(state, flow.state, sizeof state);
    begin_usual();
    go();
    ck_assert_str_eq(flow.cookie, had);
    ck_assert_str_ne(flow.state, state);
}
END_TEST

START_TEST(test_visit)
{
    begin_usual();
    go();
    ck_assert_int_eq(strncmp(flow.url, "https://acme.example/authorize?", 31), 0);
    ck_assert_int_eq(strncmp(flow.cookie, "other=1; __Host-myaccount-connect=", 34), 0);
    T_OK(visit()); /* a reload */
    ck_assert_str_eq(location(), flow.url);
    ck_assert_ptr_null(ma_fix_header(&f.ctx, "Set-Cookie"));
    flow.cookie[0] = '\0';
    expect_page(visit(), "Ticket expired");
}
END_TEST

START_TEST(test_visit_without_ticket)
{
    expect_page(drive(browse(), ma_op_connect_visit), "Ticket expired");
    (void)snprintf(flow.ticket, sizeof flow.ticket, "<script>");
    expect_page(visit(), "Ticket expired");
    ck_assert(!ma_fix_body_has(&f, "<script"));
}
END_TEST

START_TEST(test_visit_with_a_long_url)
{
    static char texts[100][256];
    struct ma_span scopes[100];
    struct ma_connect_request in = {.redirect_uri = MA_LIT(QUERY_CALLBACK), .state = MA_LIT("s")};
    for (size_t i = 0; i < MA_COUNT(scopes); i++) {
        memset(texts[i], '/', 255);
        texts[i][0] = (char)('a' + (char)(i % 26));
        texts[i][1] = (char)('a' + (char)(i / 26));
        scopes[i] = ma_span_of(texts[i], 255);
    }
    in.scopes = (struct ma_span_list){scopes, MA_COUNT(scopes)};
    begin(&in);
    T_OK(visit());
    ck_assert_int_eq(strncmp(location(), QUERY_CALLBACK "&error=invalid_request&", 54), 0);
    ck_assert_ptr_nonnull(strstr(location(), "&state=s"));
    expect_page(visit(), "Ticket expired"); /* the flow is over */
}
END_TEST

/* --- back from the provider --- */

static const struct {
    const char *name, *redirect_uri, *state; /* state NULL: the client gave none */
    const char *query[3][2];
    const char *want;
} returns[] = {
    {"denied",
     CALLBACK,
     "s+/=",
     {{"error", "access_denied"}, {"error_description", "No & no"}, {NULL, NULL}},
     CALLBACK "?error=access_denied&error_description=No%20%26%20no&state=s%2B%2F%3D"},
    {"callback with a query",
     QUERY_CALLBACK,
     "s",
     {{"error", "e"}, {"error_description", "d"}, {NULL, NULL}},
     QUERY_CALLBACK "&error=e&error_description=d&state=s"},
    {"without state",
     CALLBACK,
     NULL,
     {{"error", "e"}, {"error_description", "d"}, {NULL, NULL}},
     CALLBACK "?error=e&error_description=d"},
    {"nothing",
     CALLBACK,
     "s",
     {{NULL, NULL}},
     CALLBACK "?error=server_error&error_description=The%20identity%20provider%27s%20answer%20was%20not%20accepted."
              "&state=s"},
    {"code twice",
     CALLBACK,
     "s",
     {{"code", "a"}, {"code", "b"}, {NULL, NULL}},
     CALLBACK "?error=invalid_request&error_description=The%20identity%20provider%20refused%20the%20request.&state=s"},
    {"error that would add a parameter",
     CALLBACK,
     "s",
     {{"error", "e&connect_code=x"}, {"error_description", "d"}},
     CALLBACK "?error=e%26connect_code%3Dx&error_description=d&state=s"},
    {"error that would split the header",
     CALLBACK,
     "s",
     {{"error", "e\r\nX: y"}, {"error_description", "d"}},
     CALLBACK "?error=server_error&error_description=d&state=s"},
};

START_TEST(test_callback)
{
    struct ma_connect_request in = {.redirect_uri = ma_span_str(returns[_i].redirect_uri),
                                    .state = returns[_i].state ? ma_span_str(returns[_i].state) : MA_SPAN_NULL};
    begin(&in);
    go();
    for (int again = 0; again < 2; again++) {
        struct ma_ctx *ctx = browse();
        add(ctx, "state", flow.state);
        for (size_t i = 0; i < 3 && returns[_i].query[i][0]; i++)
            add(ctx, returns[_i].query[i][0], returns[_i].query[i][1]);
        int r = drive(ctx, ma_op_connect_callback);
        if (again) {
            expect_page(r, "Ticket expired");
            continue;
        }
        T_OK(r);
        ck_assert_msg(strcmp(location(), returns[_i].want) == 0, "%s: %s", returns[_i].name, location());
        ck_assert_ptr_null(ma_fix_header(ctx, "Set-Cookie")); /* other flows of the browser have the cookie, too */
    }
}
END_TEST

START_TEST(test_callback_of_a_stranger)
{
    begin_usual();
    go();
    flow.cookie[strlen(flow.cookie) - 1] ^= 1;
    for (int i = 0; i < 2; i++) {
        struct ma_ctx *ctx = browse();
        add(ctx, "state", flow.state);
        add(ctx, "error", "access_denied");
        expect_page(drive(ctx, ma_op_connect_callback), "This is not where it began");
        flow.cookie[0] = '\0';
    }
}
END_TEST

START_TEST(test_callback_with_two_states)
{
    begin_usual();
    go();
    struct ma_ctx *ctx = browse();
    add(ctx, "state", flow.state);
    add(ctx, "state", flow.state);
    expect_page(drive(ctx, ma_op_connect_callback), "Ticket expired");
    ctx = browse();
    add(ctx, "error", "access_denied");
    expect_page(drive(ctx, ma_op_connect_callback), "Ticket expired");
}
END_TEST

/* As long as the wire allows, in characters that are escaped: it comes back whole. */
START_TEST(test_callback_with_the_longest_state)
{
    static char state[4096 + 1];
    struct ma_connect_request in = {.redirect_uri = MA_LIT(CALLBACK)};
    memset(state, '/', sizeof state - 1);
    in.state = ma_span_str(state);
    begin(&in);
    go();
    struct ma_ctx *ctx = browse();
    add(ctx, "state", flow.state);
    add(ctx, "error", "access_denied");
    T_OK(drive(ctx, ma_op_connect_callback));
    const char *echoed = strstr(location(), "&state=");
    ck_assert_ptr_nonnull(echoed);
    ck_assert_uint_eq(strlen(echoed), 7 + 4096 * 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("connect_browser");
    TCase *tc = tcase_create("connect_browser");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_one_cookie);
    tcase_add_test(tc, test_visit);
    tcase_add_test(tc, test_visit_without_ticket);
    tcase_add_test(tc, test_visit_with_a_long_url);
    tcase_add_loop_test(tc, test_callback, 0, (int)MA_COUNT(returns));
    tcase_add_test(tc, test_callback_of_a_stranger);
    tcase_add_test(tc, test_callback_with_two_states);
    tcase_add_test(tc, test_callback_with_the_longest_state);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

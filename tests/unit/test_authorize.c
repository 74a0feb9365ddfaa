/* SPDX-License-Identifier: Apache-2.0
 * The authorization request and response without HTTP: what is read, what is refused and to whom, and that nothing of
 * a request becomes markup or another header.
 */
#include "../../src/oauth/login_int.h"

#include "ma/codec.h"

#include "../support/fixture.h"

#include <stdio.h>

#define CALLBACK "https://app.example/cb"
#define DIGEST "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
#define PKCE "&code_challenge=" DIGEST "&code_challenge_method=S256"
#define GOOD "client_id=one&response_type=code&state=s" PKCE

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "");
    ma_fix_apply(
        &f, "{\"clients\": ["
            "{\"client_id\": \"one\", \"app_type\": \"spa\", \"callbacks\": [\"" CALLBACK "\"]},"
            "{\"client_id\": \"two\", \"app_type\": \"spa\", \"callbacks\": [\"" CALLBACK "\", \"app.example:/cb\"]},"
            "{\"client_id\": \"server\", \"app_type\": \"regular_web\", \"client_secret\": \"0123456789abcdef\","
            " \"callbacks\": [\"" CALLBACK "\"]},"
            "{\"client_id\": \"machine\", \"app_type\": \"non_interactive\", \"callbacks\": [\"" CALLBACK "\"]}],"
            "\"organizations\": [{\"id\": \"org_1\", \"name\": \"acme\"}]}");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "one");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* As the query of a GET. */
static void query(const char *text)
{
    struct ma_span rest = ma_span_str(text), name, value;
    ctx->req.verb = MA_GET;
    ctx->req.n_query = 0;
    while (ma_form_next(ctx->arena, &rest, &name, &value) == MA_OK)
        ctx->req.query[ctx->req.n_query++] = (struct ma_pair){name, value};
}

static const struct {
    const char *query, *error; /* error NULL: fine */
    bool page;
} requests[] = {
    {GOOD, NULL, false},
    {GOOD "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb", NULL, false},
    {GOOD "&redirect_uri=", NULL, false},
    {GOOD "&offline_access=&ext-a=1&ext-a=2&auth0Client=x&resource=y", NULL, false},
    {GOOD "&organization=acme&max_age=0&prompt=login+consent&response_mode=form_post", NULL, false},
    {GOOD "&dpop_jkt=" DIGEST, NULL, false},
    {"client_id=server&response_type=code", NULL, false},
    {"client_id=two&response_type=code&redirect_uri=app.example%3A%2Fcb" PKCE, NULL, false},
    {"", "invalid_request", true},
    {"client_id=", "invalid_request", true},
    {"client_id=none&response_type=code", "invalid_request", true},
    {"client_id=one&client_id=one&response_type=code" PKCE, "invalid_request", true},
    {"client_id=two&response_type=code" PKCE, "invalid_request", true},
    {GOOD "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb%2F", "invalid_request", true},
    {GOOD "&redirect_uri=https%3A%2F%2Fapp.example%2FCB", "invalid_request", true},
    {GOOD "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&redirect_uri=https%3A%2F%2Fevil.example", "invalid_request",
     true},
    {"client_id=two&response_type=code&response_mode=web_message&redirect_uri=app.example%3A%2Fcb" PKCE,
     "invalid_request", true},
    {GOOD "&nonce=a%0ab", "invalid_request", true},
    {"client_id=one&state=s" PKCE, "invalid_request", false},
    {"client_id=one&response_type=token" PKCE, "unsupported_response_type", false},
    {"client_id=one&response_type=Code" PKCE, "unsupported_response_type", false},
    {"client_id=machine&response_type=code", "unauthorized_client", false},
    {"client_id=one&response_type=code", "invalid_request", false},
    {"client_id=one&response_type=code&code_challenge=" DIGEST, "invalid_request", false},
    {"client_id=one&response_type=code&code_challenge_method=plain&code_challenge=" DIGEST, "invalid_request", false},
    {"client_id=server&response_type=code&code_challenge_method=S256", "invalid_request", false},
    {"client_id=one&response_type=code&code_challenge_method=S256&code_challenge=" DIGEST "A", "invalid_request",
     false},
    {"client_id=one&response_type=code&code_challenge_method=S256&code_challenge="
     "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN",
     "invalid_request", false}, /* trailing bits */
    {GOOD "&state=t", "invalid_request", false},
    {GOOD "&response_mode=none", "invalid_request", false},
    {GOOD "&prompt=none+login", "invalid_request", false},
    {GOOD "&max_age=-1", "invalid_request", false},
    {GOOD "&max_age=0x10", "invalid_request", false},
    {GOOD "&max_age=1000000000", "invalid_request", false},
    {GOOD "&organization=acme2", "invalid_request", false},
    {GOOD "&dpop_jkt=x", "invalid_request", false},
    {GOOD "&request=x", "request_not_supported", false},
    {GOOD "&request_uri=x", "request_uri_not_supported", false},
};

static void check_request(const char *text, const struct ma_authorize_fault *fault, const char *error, bool page)
{
    ck_assert_msg((fault->error != NULL) == (error != NULL), "%s: %s", text, fault->error ? fault->error : "fine");
    ck_assert_msg(!error || strcmp(fault->error, error) == 0, "%s: %s", text, fault->error);
    ck_assert_msg(!error || fault->page == page, "%s: page %d", text, fault->page);
    ck_assert_msg(!error || fault->description, "%s: no description", text);
}

START_TEST(test_requests)
{
    struct ma_authorize_request q;
    const struct ma_state_client *client;
    struct ma_authorize_fault fault = {NULL, NULL, false};
    query(requests[_i].query);
    T_OK(ma_authorize_parse(ctx, &q, &client, &fault));
    check_request(requests[_i].query, &fault, requests[_i].error, requests[_i].page);
    if (!fault.page)
        ck_assert_msg(q.redirect_uri.n > 0 && client, "%s: nowhere to answer", requests[_i].query);
}
END_TEST

/* The same as the form of a POST, whose query is not looked at. */
START_TEST(test_requests_by_form)
{
    struct ma_authorize_request q;
    const struct ma_state_client *client;
    struct ma_authorize_fault fault = {NULL, NULL, false};
    query("client_id=none");
    ctx->req.verb = MA_POST;
    ma_buf_init_arena(&ctx->req.body, ctx->arena, 512, 8192);
    ma_buf_str(&ctx->req.body, requests[_i].query);
    T_OK(ma_authorize_parse(ctx, &q, &client, &fault));
    check_request(requests[_i].query, &fault, requests[_i].error, requests[_i].page);
}
END_TEST

/* What is too much for a row, and just not. */
START_TEST(test_request_size)
{
    static const struct {
        size_t n;
        bool page;
    } sizes[] = {{2500, false}, {4000, true}};
    for (size_t i = 0; i < MA_COUNT(sizes); i++) {
        struct ma_authorize_request q;
        const struct ma_state_client *client;
        struct ma_authorize_fault fault = {NULL, NULL, false};
        struct ma_span json;
        uint8_t *quotes = ma_arena_alloc(ctx->arena, sizes[i].n);
        ck_assert_ptr_nonnull(quotes);
        memset(quotes, '"', sizes[i].n);
        query("client_id=one&response_type=code" PKCE);
        ctx->req.query[ctx->req.n_query++] = (struct ma_pair){MA_LIT("state"), ma_span_of(quotes, sizes[i].n)};
        T_OK(ma_authorize_parse(ctx, &q, &client, &fault));
        ck_assert_int_eq(fault.page, sizes[i].page);
        if (sizes[i].page)
            continue;
        T_OK(ma_request_write(ctx, &q, &json));
        T_OK(ma_respond_error(ctx, &q, "e", "d"));
    }
}
END_TEST

START_TEST(test_request_members)
{
    struct ma_authorize_request q;
    const struct ma_state_client *client;
    struct ma_authorize_fault fault = {NULL, NULL, false};
    query(GOOD
          "&prompt=consent+select_account&max_age=600&organization=ACME&scope=openid+email&nonce=n&login_hint=a%40b"
          "&acr_values=x+http%3A%2F%2Fschemas.openid.net%2Fpape%2Fpolicies%2F2007%2F06%2Fmulti-factor"
          "&response_mode=fragment");
    T_OK(ma_authorize_parse(ctx, &q, &client, &fault));
    ck_assert_ptr_null(fault.error);
    T_STR(client->client_id, "one");
    T_STR(q.redirect_uri, CALLBACK);
    T_STR(q.organization, "org_1");
    T_STR(q.scope, "openid email");
    T_STR(q.login_hint, "a@b");
    T_STR(q.code_challenge, DIGEST);
    ck_assert_int_eq(q.max_age_s, 600);
    ck_assert_int_eq(q.mode, MA_MODE_FRAGMENT);
    ck_assert(q.prompt_consent && q.prompt_select && !q.prompt_login && !q.prompt_none);
    ck_assert(ma_authorize_wants_mfa(&q));
}
END_TEST

/* --- answers --- */

static const struct {
    const char *url, *origin; /* NULL: none */
} origins[] = {
    {"https://a.example", "https://a.example"},
    {"https://a.example:8443/x/y?z#w", "https://a.example:8443"},
    {"http://localhost:3000?x", "http://localhost:3000"},
    {"https://a.example#", "https://a.example"},
    {"HTTPS://a.example", NULL},
    {"app://cb", NULL},
    {"javascript:alert(1)", NULL},
    {"https://", NULL},
    {"http:/", NULL},
    {"", NULL},
};

START_TEST(test_url_origin)
{
    struct ma_span got = ma_url_origin(ma_span_str(origins[_i].url));
    ck_assert_msg((got.p != NULL) == (origins[_i].origin != NULL), "%s", origins[_i].url);
    if (got.p)
        T_STR(got, origins[_i].origin);
}
END_TEST

static bool body_has(const char *text)
{
    return ctx->resp.body.n > 0 && memmem(ctx->resp.body.p, ctx->resp.body.n, text, strlen(text)) != NULL;
}

/* Everything that ends strings, tags, attributes, scripts and header lines somewhere. */
static const char EVIL[] = "\"'><script>x</script><!--\\&quot;\r\nSet-Cookie: a=b;%0a\xe2\x80\xa8";

START_TEST(test_answers_stay_text)
{
    struct ma_authorize_request q = {.redirect_uri = MA_LIT(CALLBACK), .state = ma_span_str(EVIL), .mode = _i};
    T_OK(_i % 2 ? ma_respond_code(ctx, &q, EVIL) : ma_respond_error(ctx, &q, "access_denied", EVIL));
    ck_assert(!body_has("<script>x"));
    ck_assert(!body_has("<!--"));
    for (size_t i = 0; i < ctx->resp.n_headers; i++)
        ck_assert_msg(!strpbrk(ctx->resp.headers[i].value, "\r\n"), "%s", ctx->resp.headers[i].name);
    if (_i == MA_MODE_QUERY || _i == MA_MODE_FRAGMENT) {
        const char *to = ma_fix_header(ctx, "Location");
        ck_assert_int_eq(ctx->resp.status, 302);
        ck_assert_int_eq(strncmp(to, _i == MA_MODE_QUERY ? CALLBACK "?" : CALLBACK "#", sizeof CALLBACK), 0);
        ck_assert_ptr_null(strpbrk(to, "<>\"' ;"));
    } else {
        ck_assert_int_eq(ctx->resp.status, 200);
        ck_assert_ptr_nonnull(strstr(ma_fix_header(ctx, "Content-Security-Policy"), "default-src 'none'"));
    }
}
END_TEST

START_TEST(test_issuer_is_told)
{
    struct ma_authorize_request q = {.redirect_uri = MA_LIT(CALLBACK), .mode = MA_MODE_QUERY};
    char want[512];
    T_OK(ma_respond_code(ctx, &q, "c"));
    const char *iss = ma_pct_encode(ctx->arena, ma_span_str(ma_arena_printf(ctx->arena, "%s/", ma_ctx_origin(ctx))));
    (void)snprintf(want, sizeof want, CALLBACK "?code=c&iss=%s", iss);
    ck_assert_str_eq(ma_fix_header(ctx, "Location"), want);
}
END_TEST

/* --- pages --- */

START_TEST(test_pages_stay_text)
{
    struct ma_login *l = ma_arena_zalloc(ctx->arena, sizeof *l);
    struct ma_state_client client = *ma_state_client(ctx->state, MA_LIT("one"));
    struct ma_span evil = ma_span_str(EVIL);
    ck_assert_ptr_nonnull(l);
    client.name = evil;
    l->token = "token";
    l->client = &client;
    l->req.login_hint = l->st.challenge = l->user.user_id = l->user.email = l->user.phone_number = evil;
    l->st.enrol_uri = l->st.enrol_manual = l->st.enrol_address = l->st.recovery = evil;
    l->granted = (struct ma_granted){.audience = evil, .scope = evil};
    l->choices[0] = (struct ma_factor_choice){.id = MA_LIT("email|1"), .type = MA_FACTOR_EMAIL, .name = evil};
    l->choices[1] = (struct ma_factor_choice){.id = evil, .type = MA_FACTOR_PHONE, .name = evil};
    l->n_choices = 2;
    l->st.method = MA_LIT("email|1");
    l->st.oob = evil;
    l->enrol_open = UINT32_MAX;
    l->st.enrol = _i % 2 ? MA_FACTOR_TOTP : MA_FACTOR_EMAIL;
    for (l->st.note = 0; l->st.note < MA_NOTE__COUNT; l->st.note++) {
        static int (*const pages[])(struct ma_ctx *, struct ma_login *) = {
            ma_page_identify, ma_page_challenge, ma_page_confirm, ma_page_recovery, ma_page_consent};
        T_OK((size_t)_i < MA_COUNT(pages) ? pages[_i](ctx, l) : ma_page_enrol(ctx, l, _i % 2));
        ck_assert(!body_has("<script>x"));
        ck_assert(!body_has("<!--"));
        ck_assert(!body_has("\"'>"));
        ck_assert(!body_has("(null)"));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("authorize");
    TCase *tc = tcase_create("authorize");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_requests, 0, MA_COUNT(requests));
    tcase_add_loop_test(tc, test_requests_by_form, 0, MA_COUNT(requests));
    tcase_add_test(tc, test_request_size);
    tcase_add_test(tc, test_request_members);
    tcase_add_loop_test(tc, test_url_origin, 0, MA_COUNT(origins));
    tcase_add_loop_test(tc, test_answers_stay_text, 0, 4);
    tcase_add_test(tc, test_issuer_is_told);
    tcase_add_loop_test(tc, test_pages_stay_text, 0, 7);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

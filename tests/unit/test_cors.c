/* SPDX-License-Identifier: Apache-2.0
 * Cross-origin answers: preflights ask whether any client lends the origin, requests ask the token's client.
 */
#include "../support/fixture.h"
#include "ma/http.h"

#include <stdlib.h>

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "cors { allow_headers = {\"X-One\", \"X-Two\"} }");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    ctx->req.verb = MA_GET;
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* Copied, with a NUL behind it, as the front end delivers headers. */
static void from(const char *origin)
{
    ctx->req.origin = origin ? ma_arena_dup(ctx->arena, ma_span_str(origin)) : MA_SPAN_NULL;
    ma_cors_begin(ctx);
}

static const struct {
    const char *name, *origin;
    bool known; /* to any client */
    bool spa;   /* to the client "spa" */
} origins[] = {
    {"none", NULL, false, true},
    {"our own", "https://login.example.com", false, true},
    {"the client's", "https://app.example.com", true, true},
    {"in capitals", "HTTPS://APP.EXAMPLE.COM", true, true},
    {"with its default port", "https://app.example.com:443", true, true},
    {"another port", "https://app.example.com:444", false, false},
    {"another scheme", "http://app.example.com", false, false},
    {"a pattern's label", "https://one.tenants.example", true, true},
    {"two labels of a pattern", "https://one.two.tenants.example", true, true},
    {"the pattern's parent", "https://tenants.example", false, false},
    {"behind a pattern", "https://one.tenants.example.evil.example", false, false},
    {"the pattern itself", "https://*.tenants.example", false, false},
    {"another client's", "https://other.example.com", true, false},
    {"a third party's", "https://third.example.com", false, false},
    {"of a client without cross-origin authentication", "https://closed.example.com", false, false},
    {"unknown", "https://evil.example", false, false},
    {"null", "null", false, false},
    {"empty", "", false, false},
    {"with a path", "https://app.example.com/x", false, false},
    {"a suffix", "https://app.example.com.evil.example", false, false},
    {"rubbish", "://", false, false},
};

START_TEST(test_begin)
{
    from(origins[_i].origin);
    ck_assert_msg(ctx->cors_known == origins[_i].known, "%s", origins[_i].name);
}
END_TEST

START_TEST(test_check_client)
{
    const char *name = origins[_i].name;
    from(origins[_i].origin);
    int r = ma_cors_check_client(ctx, ma_state_client(f.state, MA_LIT("spa")));
    ck_assert_msg(r == (origins[_i].spa ? MA_OK : MA_E_PROBLEM), "%s: %s", name, ma_err_name(r));
    if (r == MA_OK)
        return;
    T_PROBLEM(&f, 403, "Origin is not in the Allowed Origins list for the specified application", r);
    ma_cors_finish(ctx);
    ck_assert_msg(!ma_fix_header(ctx, "Access-Control-Allow-Origin"), "%s", name);
    ck_assert_str_eq(ma_fix_header(ctx, "Vary"), "Origin");
}
END_TEST

START_TEST(test_check_without_client)
{
    from("https://app.example.com");
    T_IS(MA_E_PROBLEM, ma_cors_check_client(ctx, NULL));
    ck_assert(!ctx->cors_known);
    from(NULL);
    T_OK(ma_cors_check_client(ctx, NULL));
}
END_TEST

START_TEST(test_clients_that_lend_nothing)
{
    from("https://third.example.com");
    T_IS(MA_E_PROBLEM, ma_cors_check_client(ctx, ma_state_client(f.state, MA_LIT("third"))));
    from("https://closed.example.com");
    T_IS(MA_E_PROBLEM, ma_cors_check_client(ctx, ma_state_client(f.state, MA_LIT("closed"))));
}
END_TEST

START_TEST(test_finish)
{
    const char *origin = origins[_i].origin;
    from(origin);
    T_IS(MA_E_PROBLEM, ma_problem(ctx, MA_P_MISSING_TOKEN, NULL));
    ma_cors_finish(ctx);
    const char *allow = ma_fix_header(ctx, "Access-Control-Allow-Origin");
    const char *expose = ma_fix_header(ctx, "Access-Control-Expose-Headers");
    ck_assert_str_eq(ma_fix_header(ctx, "Vary"), "Origin");
    ck_assert_msg((allow != NULL) == origins[_i].known, "%s", origins[_i].name);
    ck_assert_ptr_null(ma_fix_header(ctx, "Access-Control-Allow-Credentials"));
    if (!allow)
        return;
    static const char *const needed[] = {"Location",          "DPoP-Nonce",        "WWW-Authenticate",
                                         "Retry-After",       "X-RateLimit-Limit", "X-RateLimit-Remaining",
                                         "X-RateLimit-Reset", "x-auth0-error-kind"};
    ck_assert_str_eq(allow, origin);
    for (size_t i = 0; i < MA_COUNT(needed); i++)
        ck_assert_ptr_nonnull(strstr(expose, needed[i]));
}
END_TEST

START_TEST(test_preflight)
{
    bool known = origins[_i].known;
    ctx->req.verb = MA_OPTIONS;
    from(origins[_i].origin);
    ma_cors_preflight(ctx, 1u << MA_GET | 1u << MA_PATCH);
    ma_cors_finish(ctx);
    ck_assert_int_eq(ctx->resp.status, 204);
    ck_assert_ptr_null(ctx->resp.content_type);
    ck_assert_str_eq(ma_fix_header(ctx, "Allow"), "GET, HEAD, PATCH, OPTIONS");
    ck_assert_str_eq(ma_fix_header(ctx, "Vary"), "Origin");
    ck_assert_ptr_null(ma_fix_header(ctx, "Access-Control-Expose-Headers"));
    ck_assert_msg((ma_fix_header(ctx, "Access-Control-Allow-Origin") != NULL) == known, "%s", origins[_i].name);
    const char *methods = ma_fix_header(ctx, "Access-Control-Allow-Methods");
    const char *headers = ma_fix_header(ctx, "Access-Control-Allow-Headers");
    ck_assert((methods != NULL) == known && (headers != NULL) == known);
    if (!known)
        return;
    ck_assert_str_eq(methods, "GET, POST, PATCH, DELETE, OPTIONS");
    ck_assert_str_eq(headers, "Authorization, Content-Type, DPoP, Auth0-Client, X-One, X-Two");
    ck_assert_str_eq(ma_fix_header(ctx, "Access-Control-Max-Age"), "600");
}
END_TEST

START_TEST(test_origin_of_a_custom_domain)
{
    static const char *const domains[] = {"https://id.example.net"};
    f.conf->custom_domains = (struct ma_conf_strlist){domains, 1};
    ctx->req.domain = 1;
    from("https://id.example.net");
    T_OK(ma_cors_check_client(ctx, NULL));
    from("https://login.example.com"); /* another one of ours is still another origin */
    T_IS(MA_E_PROBLEM, ma_cors_check_client(ctx, ma_state_client(f.state, MA_LIT("spa"))));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cors");
    TCase *tc = tcase_create("cors");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_begin, 0, (int)MA_COUNT(origins));
    tcase_add_loop_test(tc, test_check_client, 0, (int)MA_COUNT(origins));
    tcase_add_test(tc, test_check_without_client);
    tcase_add_test(tc, test_clients_that_lend_nothing);
    tcase_add_loop_test(tc, test_finish, 0, (int)MA_COUNT(origins));
    tcase_add_loop_test(tc, test_preflight, 0, (int)MA_COUNT(origins));
    tcase_add_test(tc, test_origin_of_a_custom_domain);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Which origins may run WebAuthn ceremonies, and the apps of clients.
 */
#include "ma/passkey_origins.h"

#include <stdio.h>
#include <stdlib.h>

#include "../support/fixture.h"

#define FP0 "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
#define FP0_ORIGIN "android:apk-key-hash:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define APK "android:apk-key-hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "custom_domains = {\"https://id.custom.example\"}\n"
                    "webauthn { origins = {\"https://related.example\", \"" APK "\"} }");
    ma_fix_apply(&f,
                 "{\"clients\":[{\"client_id\":\"app\",\"name\":\"App\",\"app_type\":\"native\",\"mobile\":{"
                 "\"ios\":{\"team_id\":\"TEAM123456\",\"app_bundle_identifier\":\"com.example.app\"},"
                 "\"android\":{\"app_package_name\":\"com.example.app\",\"sha256_cert_fingerprints\":[\"" FP0 "\"]}}},"
                 "{\"client_id\":\"odd\",\"name\":\"Odd\",\"app_type\":\"native\",\"mobile\":{\"android\":{"
                 "\"app_package_name\":\"com.example.odd\",\"sha256_cert_fingerprints\":[\"00:01\",\"zz\",\"\","
                 "\"" FP0 ":20\",\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"]}}},"
                 "{\"client_id\":\"under\",\"name\":\"Under\",\"app_type\":\"spa\",\"allowed_origins\":["
                 "\"https://app.login.example.com\",\"https://login.example.com:8443\",\"https://app.example.com\","
                 "\"https://evillogin.example.com\",\"https://login.example.com.evil.example\","
                 "\"https://*.apps.login.example.com\"],"
                 "\"web_origins\":[\"https://web.login.example.com\"],"
                 "\"callbacks\":[\"https://cb.login.example.com/path\"]},"
                 "{\"client_id\":\"shut\",\"name\":\"Shut\",\"app_type\":\"spa\",\"cross_origin_authentication\":false,"
                 "\"allowed_origins\":[\"https://app.login.example.com\"]},"
                 "{\"client_id\":\"tpc\",\"name\":\"Third\",\"app_type\":\"spa\",\"is_first_party\":false,"
                 "\"allowed_origins\":[\"https://app.login.example.com\"]}]}");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* --- hosts --- */

static const struct {
    const char *origin, *host;
} hosts[] = {
    {"https://login.example.com", "login.example.com"},
    {"https://login.example.com:8443", "login.example.com"},
    {"http://localhost:3000", "localhost"},
    {"http://[::1]:3000", "[::1]"},
    {"http://[::1", "["},
    {"android:apk-key-hash:AAAA", ""},
    {"login.example.com", ""},
    {"://", ""},
    {"", ""},
};

START_TEST(test_origin_host)
{
    struct ma_span got = ma_origin_host(ma_span_str(hosts[_i].origin));
    ck_assert_msg(ma_span_eq_str(got, hosts[_i].host), "%s: %.*s", hosts[_i].origin, (int)got.n, (const char *)got.p);
}
END_TEST

static const struct {
    const char *host, *rp_id;
    bool under;
} pairs[] = {
    {"example.com", "example.com", true},
    {"a.example.com", "example.com", true},
    {"a.b.example.com", "example.com", true},
    {"evilexample.com", "example.com", false},
    {".example.com", "example.com", false},
    {"example.com.evil.example", "example.com", false},
    {"example.com.", "example.com", false},
    {"com", "example.com", false},
    {"", "example.com", false},
    {"xample.com", "example.com", false},
    {"localhost", "localhost", true},
    {"notlocalhost", "localhost", false},
};

START_TEST(test_host_under)
{
    ck_assert_msg(ma_host_under(ma_span_str(pairs[_i].host), ma_span_str(pairs[_i].rp_id)) == pairs[_i].under,
                  "%s under %s", pairs[_i].host, pairs[_i].rp_id);
}
END_TEST

/* --- the list --- */

static bool allowed(const char *client, const char *rp_id, const char *origin)
{
    char json[1024];
    const char *const *v = NULL;
    size_t n = 0;
    ctx = ma_fix_request(&f, MA_FIX_ALICE, client);
    (void)snprintf(json, sizeof json, "{\"type\":\"webauthn.create\",\"origin\":\"%s\"}", origin);
    T_OK(ma_passkey_origins(ctx, ma_span_str(rp_id), ma_span_str(json), &v, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i], origin) == 0)
            return true;
    return false;
}

#define RP "login.example.com"
static const struct {
    const char *name, *client, *rp_id, *origin;
    bool ok;
} lent[] = {
    {"base_url", "spa", RP, "https://login.example.com", true},
    {"a custom domain", "spa", RP, "https://id.custom.example", true},
    {"an origin of the configuration", "spa", RP, "https://related.example", true},
    {"an app of the configuration", "spa", RP, APK, true},
    {"another app", "spa", RP, "android:apk-key-hash:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", false},
    {"the relying party itself", "spa", "example.com", "https://example.com", true},
    {"http instead of https", "spa", RP, "http://login.example.com", false},
    {"another port", "spa", RP, "https://login.example.com:8443", false},
    {"an origin below", "under", RP, "https://app.login.example.com", true},
    {"a web origin", "under", RP, "https://web.login.example.com", true},
    {"a callback's origin", "under", RP, "https://cb.login.example.com", true},
    {"a slash", "under", RP, "https://app.login.example.com/", false},
    {"a user", "under", RP, "https://x@app.login.example.com", false},
    {"the port that is listed", "under", RP, "https://login.example.com:8443", true},
    {"a pattern", "under", RP, "https://one.apps.login.example.com", true},
    {"the pattern itself", "under", RP, "https://*.apps.login.example.com", false},
    {"listed but beside the relying party", "under", RP, "https://app.example.com", false},
    {"the same under a wider relying party", "under", "example.com", "https://app.example.com", true},
    {"suffix without the dot", "under", RP, "https://evillogin.example.com", false},
    {"relying party as prefix", "under", RP, "https://login.example.com.evil.example", false},
    {"below but not listed", "under", RP, "https://b.login.example.com", false},
    {"another client's", "spa", RP, "https://app.login.example.com", false},
    {"a client that lends none", "shut", RP, "https://app.login.example.com", false},
    {"a third party", "tpc", RP, "https://app.login.example.com", false},
    {"nobody's client", "nobody", RP, "https://app.login.example.com", false},
    {"the client's app", "app", RP, FP0_ORIGIN, true},
    {"another client's app", "spa", RP, FP0_ORIGIN, false},
    {"a fingerprint without colons", "odd", RP, FP0_ORIGIN, true},
    {"no origin", "spa", RP, "", false},
};

START_TEST(test_allowed)
{
    ck_assert_msg(allowed(lent[_i].client, lent[_i].rp_id, lent[_i].origin) == lent[_i].ok, "%s", lent[_i].name);
}
END_TEST

static const char *const bad_client_data[] = {"",
                                              "{",
                                              "[]",
                                              "null",
                                              "{\"origin\":1}",
                                              "{\"origin\":null}",
                                              "{}",
                                              "{\"origin\":\"https://app.login.example.com\\u0000\"}"};

/* Judged by the verifier; here it only adds nothing. */
START_TEST(test_bad_client_data)
{
    const char *const *v = NULL, *const *base = NULL;
    size_t n = 0, n_base = 0;
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "under");
    T_OK(ma_passkey_origins(ctx, MA_LIT(RP), MA_LIT("{}"), &base, &n_base));
    T_OK(ma_passkey_origins(ctx, MA_LIT(RP), ma_span_str(bad_client_data[_i]), &v, &n));
    ck_assert_uint_eq(n, n_base);
}
END_TEST

/* Malformed fingerprints give no origin and leave the others. */
START_TEST(test_odd_fingerprints)
{
    const char *const *v = NULL;
    size_t n = 0, apps = 0;
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "odd");
    T_OK(ma_passkey_origins(ctx, MA_LIT(RP), MA_LIT("{}"), &v, &n));
    for (size_t i = 0; i < n; i++)
        apps += strncmp(v[i], "android:", 8) == 0 && strcmp(v[i], APK) != 0;
    ck_assert_uint_eq(apps, 1);
}
END_TEST

START_TEST(test_client_mobile)
{
    struct ma_mobile m;
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "app");
    ck_assert(ma_client_mobile(ctx->arena, ma_state_client(ctx->state, MA_LIT("app")), &m));
    T_STR(m.team_id, "TEAM123456");
    T_STR(m.bundle, "com.example.app");
    T_STR(m.package, "com.example.app");
    ck_assert_uint_eq(m.fingerprints.n, 1);
    T_STR(m.fingerprints.v[0], FP0);
    ck_assert(!ma_client_mobile(ctx->arena, ma_state_client(ctx->state, MA_LIT("spa")), &m));
    ck_assert_ptr_null(m.team_id.p);
    ck_assert_uint_eq(m.fingerprints.n, 0);
    ck_assert(ma_client_mobile(ctx->arena, ma_state_client(ctx->state, MA_LIT("odd")), &m));
    ck_assert_ptr_null(m.bundle.p);
}
END_TEST

static const char *const incomplete[] = {
    "{}",
    "{\"ios\":{\"team_id\":\"T\"}}",
    "{\"ios\":{\"app_bundle_identifier\":\"b\"}}",
    "{\"android\":{\"app_package_name\":\"p\"}}",
    "{\"android\":{\"app_package_name\":\"p\",\"sha256_cert_fingerprints\":[]}}",
    "{\"android\":{\"sha256_cert_fingerprints\":[\"" FP0 "\"]}}",
};

START_TEST(test_client_mobile_incomplete)
{
    char document[512];
    struct ma_mobile m;
    (void)snprintf(document, sizeof document,
                   "{\"clients\":[{\"client_id\":\"half\",\"name\":\"H\",\"app_type\":\"native\",\"mobile\":%s}]}",
                   incomplete[_i]);
    ma_fix_apply(&f, document);
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "half");
    ck_assert(!ma_client_mobile(ctx->arena, ma_state_client(ctx->state, MA_LIT("half")), &m));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("passkey origins");
    TCase *t = tcase_create("hosts");
    tcase_add_loop_test(t, test_origin_host, 0, MA_COUNT(hosts));
    tcase_add_loop_test(t, test_host_under, 0, MA_COUNT(pairs));
    suite_add_tcase(s, t);
    t = tcase_create("lists");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, test_allowed, 0, MA_COUNT(lent));
    tcase_add_loop_test(t, test_bad_client_data, 0, MA_COUNT(bad_client_data));
    tcase_add_test(t, test_odd_fingerprints);
    tcase_add_test(t, test_client_mobile);
    tcase_add_loop_test(t, test_client_mobile_incomplete, 0, MA_COUNT(incomplete));
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

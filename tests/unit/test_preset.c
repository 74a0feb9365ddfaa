/* SPDX-License-Identifier: Apache-2.0
 * The table of known providers: every row complete and plausible, and the habits that are easy to get wrong.
 */
#include "ma/preset.h"

#include <check.h>
#include <stdlib.h>

static const struct ma_preset *row(const char *name)
{
    const struct ma_preset *p = ma_preset_find(ma_span_str(name));
    ck_assert_msg(p != NULL, "there is no %s", name);
    return p;
}

static bool generic(const struct ma_preset *p)
{
    return strcmp(p->name, "oidc") == 0 || strcmp(p->name, "oauth2") == 0;
}

/* An https URL of printable ASCII with a host and a path, without query and fragment. */
static void check_endpoint(const struct ma_preset *p, const char *url)
{
    if (!url)
        return;
    ck_assert_msg(strncmp(url, "https://", 8) == 0, "%s: %s", p->name, url);
    const char *path = strchr(url + 8, '/');
    ck_assert_msg(path != NULL && path > url + 8 && path[1] != '\0', "%s: %s", p->name, url);
    ck_assert_msg(strpbrk(url, "?# {}") == NULL, "%s: %s", p->name, url);
    for (const char *c = url; *c; c++)
        ck_assert_msg(*c > ' ' && *c < 0x7f, "%s: %s", p->name, url);
}

static void check_endpoints(const struct ma_preset *p)
{
    check_endpoint(p, p->authorization_endpoint);
    check_endpoint(p, p->token_endpoint);
    check_endpoint(p, p->jwks_uri);
    check_endpoint(p, p->userinfo_endpoint);
    check_endpoint(p, p->revocation_endpoint);
    ck_assert_int_eq(p->authorization_endpoint == NULL, generic(p));
    ck_assert_int_eq(p->token_endpoint == NULL, generic(p));
    ck_assert_int_eq(p->issuer != NULL, p->oidc && !generic(p));
    ck_assert_int_eq(p->jwks_uri != NULL, p->oidc && !generic(p));
    ck_assert_int_eq(p->userinfo_endpoint != NULL, !generic(p) && !p->token_member);
}

static void check_issuer(const struct ma_preset *p)
{
    if (!p->issuer)
        return;
    ck_assert(strncmp(p->issuer, "https://", 8) == 0 && !strpbrk(p->issuer, "?#"));
    const char *brace = strchr(p->issuer, '{');
    ck_assert_msg(!brace || strncmp(brace, "{tenantid}", 10) == 0, "%s", p->issuer);
    ck_assert(!brace || !strchr(brace + 1, '{'));
}

/* Scope tokens, one blank between them; a scope that the daemon adds itself is not among them. */
static void check_scopes(const struct ma_preset *p)
{
    ck_assert_ptr_nonnull(p->scopes);
    size_t n = strlen(p->scopes);
    ck_assert(n == 0 || (p->scopes[0] != ' ' && p->scopes[n - 1] != ' ' && !strstr(p->scopes, "  ")));
    ck_assert_ptr_null(strstr(p->scopes, "offline_access"));
    ck_assert_int_eq(strncmp(p->scopes, "openid", 6) == 0, p->oidc);
    ck_assert(strcmp(p->scope_param, "scope") == 0 || strcmp(p->scope_param, "user_scope") == 0);
    ck_assert(p->scope_separator == ' ' || p->scope_separator == ',');
}

static void check_offline(const struct ma_preset *p)
{
    ck_assert_int_le(p->offline, MA_OFFLINE_GIVEN);
    if (p->offline == MA_OFFLINE_PARAMS)
        ck_assert_ptr_nonnull(p->offline_params);
    if (p->offline == MA_OFFLINE_GIVEN)
        ck_assert_ptr_null(p->offline_params);
    if (p->offline_params)
        ck_assert(strchr(p->offline_params, '=') && !strpbrk(p->offline_params, " ?#%"));
    ck_assert_int_ge(p->assumed_lifetime_s, 60);
    ck_assert_int_le(p->assumed_lifetime_s, 86400);
}

START_TEST(rows)
{
    size_t n = 0;
    const struct ma_preset *all = ma_presets(&n);
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        const struct ma_preset *p = &all[i];
        ck_assert_ptr_eq(row(p->name), p); /* found, and the only one of its name */
        ck_assert(strspn(p->name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(p->name));
        check_endpoints(p);
        check_issuer(p);
        check_scopes(p);
        check_offline(p);
        ck_assert_ptr_nonnull(p->user_id_field);
        ck_assert_int_eq(strcmp(p->user_id_field, "sub") == 0, p->oidc);
        ck_assert(!p->oidc || !p->token_member);
        ck_assert(p->auth == MA_AUTH_POST || p->auth == MA_AUTH_BASIC);
    }
}
END_TEST

/* Names that operators write into their documents. */
static const char *const names[] = {"oidc",  "oauth2", "google-oauth2", "google-apps", "github",  "windowslive", "waad",
                                    "slack", "gitlab", "box",           "salesforce",  "spotify", "discord"};

START_TEST(all_are_there)
{
    size_t n = 0;
    (void)ma_presets(&n);
    ck_assert_uint_eq(n, MA_COUNT(names));
    (void)row(names[_i]);
}
END_TEST

static const char *const unknown[] = {"", "auth0", "google", "OIDC", "oidc ", "github2", "oaut"};

START_TEST(no_such_row)
{
    ck_assert_ptr_null(ma_preset_find(ma_span_str(unknown[_i])));
}
END_TEST

START_TEST(no_name_at_all)
{
    ck_assert_ptr_null(ma_preset_find(MA_SPAN_NULL));
}
END_TEST

START_TEST(offline_access)
{
    ck_assert_int_eq(row("oidc")->offline, MA_OFFLINE_SCOPE);
    ck_assert_str_eq(row("oidc")->offline_params, "prompt=consent");
    ck_assert_int_eq(row("oauth2")->offline, MA_OFFLINE_SCOPE);
    ck_assert_ptr_null(row("oauth2")->offline_params);
    ck_assert_int_eq(row("google-oauth2")->offline, MA_OFFLINE_PARAMS);
    ck_assert_str_eq(row("google-oauth2")->offline_params, "access_type=offline&prompt=consent");
    static const char *const microsoft[] = {"windowslive", "waad"};
    for (size_t i = 0; i < MA_COUNT(microsoft); i++) {
        ck_assert_int_eq(row(microsoft[i])->offline, MA_OFFLINE_SCOPE);
        ck_assert_ptr_null(row(microsoft[i])->offline_params);
    }
    ck_assert_int_eq(row("salesforce")->assumed_lifetime_s, 900);
}
END_TEST

START_TEST(quirks)
{
    const struct ma_preset *slack = row("slack");
    ck_assert_str_eq(slack->scope_param, "user_scope");
    ck_assert_int_eq(slack->scope_separator, ',');
    ck_assert_str_eq(slack->token_member, "authed_user");
    ck_assert_str_eq(slack->user_id_field, "id");
    ck_assert_msg(!slack->revocation_endpoint, "auth.revoke is not RFC 7009");
    ck_assert_ptr_nonnull(strstr(row("waad")->issuer, "/{tenantid}/"));
    ck_assert_ptr_null(strchr(row("windowslive")->issuer, '{'));
    ck_assert_ptr_nonnull(strstr(row("windowslive")->token_endpoint, "/consumers/"));
    ck_assert_str_eq(row("google-apps")->issuer, row("google-oauth2")->issuer);
    ck_assert_int_eq(row("oidc")->auth, MA_AUTH_BASIC);
    ck_assert(row("oidc")->pkce && row("oauth2")->pkce && row("github")->pkce);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("preset");
    TCase *t = tcase_create("preset");
    tcase_add_test(t, rows);
    tcase_add_loop_test(t, all_are_there, 0, (int)MA_COUNT(names));
    tcase_add_loop_test(t, no_such_row, 0, (int)MA_COUNT(unknown));
    tcase_add_test(t, no_name_at_all);
    tcase_add_test(t, offline_access);
    tcase_add_test(t, quirks);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

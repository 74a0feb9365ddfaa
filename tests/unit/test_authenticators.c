/* SPDX-License-Identifier: Apache-2.0
 * Names of passkey providers: the built-in list, other files, and files that are no list.
 */
#include "ma/authenticators.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ma/codec.h"

#define T_OK(e) ck_assert_int_eq((e), MA_OK)

static struct ma_authenticators *list;
static struct ma_arena *arena;
static char why[256], path[64];

static void setup(void)
{
    list = ma_authenticators_new();
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)8 << 20);
    ck_assert(list && arena);
    (void)snprintf(path, sizeof path, "/tmp/ma_test_authenticators_%ld", (long)getpid());
}

static void teardown(void)
{
    ma_authenticators_free(list);
    ma_arena_free(arena);
    (void)unlink(path);
}

static const char *name_of(const char *hex, struct ma_span *ret_icon)
{
    uint8_t aaguid[16];
    size_t n = 0;
    struct ma_span name = MA_SPAN_NULL;
    *ret_icon = MA_SPAN_NULL;
    T_OK(ma_hex_decode(ma_span_str(hex), aaguid, sizeof aaguid, &n));
    ck_assert_uint_eq(n, sizeof aaguid);
    return ma_authenticator(list, arena, aaguid, &name, ret_icon) ? ma_arena_strdup(arena, name) : "";
}

#define BITWARDEN "d548826e79b4db40a3d811116f7e8349"
#define ZEROS "00000000000000000000000000000000"

START_TEST(built_in)
{
    struct ma_span icon;
    uint8_t svg[4096];
    size_t n = 0;
    ck_assert_str_eq(name_of(BITWARDEN, &icon), "");
    T_OK(ma_authenticators_load(list, "", why));
    ck_assert_str_eq(name_of(BITWARDEN, &icon), "Bitwarden");
    static const char prefix[] = "data:image/svg+xml;base64,";
    ck_assert_msg(icon.n > sizeof prefix && memcmp(icon.p, prefix, sizeof prefix - 1) == 0, "the icon is no data URL");
    T_OK(ma_b64_decode(ma_span_of(icon.p + sizeof prefix - 1, icon.n - sizeof prefix + 1), svg, sizeof svg, &n));
    ck_assert(n > 4 && memcmp(svg, "<svg", 4) == 0);
    ck_assert_str_eq(name_of("ea9b8d664d011d213ce4b6b48cb575d4", &icon), "Google Password Manager");
    ck_assert_str_eq(name_of("fbfc3007154e4ecc8c0b6e020557d7bd", &icon), "Apple Passwords");
    ck_assert_str_eq(name_of(ZEROS, &icon), "");
    ck_assert_str_eq(name_of("d548826e79b4db40a3d811116f7e8340", &icon), "");
}
END_TEST

static int load(const char *text)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    (void)fclose(f);
    return ma_authenticators_load(list, path, why);
}

START_TEST(another_file)
{
    struct ma_span icon;
    T_OK(ma_authenticators_load(list, "", why));
    T_OK(
        load("{\"icons\":{\"i\":\"<svg/>\"},\"authenticators\":[{\"aaguid\":\"00000000-0000-0000-0000-0000000000AB\","
             "\"name\":\"Mine\",\"icon\":\"i\"},{\"aaguid\":\"00000000-0000-0000-0000-0000000000a0\",\"name\":\"Zero\"}"
             ",{\"aaguid\":\"00000000-0000-0000-0000-000000000000\",\"name\":\"Nobody\"}]}"));
    ck_assert_str_eq(name_of("000000000000000000000000000000ab", &icon), "Mine");
    ck_assert(ma_span_eq_str(icon, "data:image/svg+xml;base64,PHN2Zy8+"));
    ck_assert_str_eq(name_of("000000000000000000000000000000a0", &icon), "Zero");
    ck_assert_ptr_null(icon.p);
    ck_assert_str_eq(name_of(ZEROS, &icon), "");
    ck_assert_str_eq(name_of(BITWARDEN, &icon), "");
    T_OK(ma_authenticators_load(list, "", why));
    ck_assert_str_eq(name_of(BITWARDEN, &icon), "Bitwarden");
}
END_TEST

#define ONE(aaguid, more) "{\"authenticators\":[{\"aaguid\":\"" aaguid "\"" more "}]}"
#define GOOD "00000000-0000-0000-0000-0000000000ab"
static const struct {
    const char *text, *says;
} bad[] = {
    {"", "is no JSON"},
    {"{", "is no JSON"},
    {"[]", "must be object"},
    {"{}", "authenticators"},
    {"{\"authenticators\":{}}", "/authenticators"},
    {"{\"authenticators\":[],\"more\":1}", "more"},
    {ONE(GOOD, ""), "/authenticators/0"},
    {ONE(GOOD, ",\"name\":\"\""), "/authenticators/0/name"},
    {ONE(GOOD, ",\"name\":\"a\\nb\""), "/authenticators/0/name"},
    {ONE(GOOD, ",\"name\":\"x\",\"icon\":\"none\""), "names an icon"},
    {ONE("00000000-0000-0000-0000-0000000000a", ",\"name\":\"x\""), "/authenticators/0/aaguid"},
    {ONE("00000000-0000-0000-0000-0000000000ag", ",\"name\":\"x\""), "/authenticators/0 has no AAGUID"},
    {ONE("000000000-000-0000-0000-0000000000ab", ",\"name\":\"x\""), "/authenticators/0 has no AAGUID"},
    {"{\"authenticators\":[{\"aaguid\":\"" GOOD "\",\"name\":\"x\"},{\"aaguid\":\"" GOOD "\",\"name\":\"y\"}]}",
     "twice"},
};

START_TEST(bad_lists_leave_the_old_one)
{
    struct ma_span icon;
    T_OK(ma_authenticators_load(list, "", why));
    ck_assert_int_eq(load(bad[_i].text), MA_E_PARSE);
    ck_assert_msg(strstr(why, path) && strstr(why, bad[_i].says), "%s", why);
    ck_assert_str_eq(name_of(BITWARDEN, &icon), "Bitwarden");
}
END_TEST

START_TEST(bad_files)
{
    T_OK(ma_authenticators_load(list, "", why));
    ck_assert_int_eq(ma_authenticators_load(list, "/nowhere/list.json", why), MA_E_IO);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/list.json"));
    ck_assert_int_eq(ma_authenticators_load(list, "/tmp", why), MA_E_PARSE);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(ftruncate(fileno(f), (off_t)MA_AUTHENTICATORS_FILE_MAX + 1), 0);
    (void)fclose(f);
    ck_assert_int_lt(ma_authenticators_load(list, path, why), 0);
    ck_assert_msg(strstr(why, "too large"), "%s", why);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("authenticators");
    TCase *t = tcase_create("authenticators");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, built_in);
    tcase_add_test(t, another_file);
    tcase_add_loop_test(t, bad_lists_leave_the_old_one, 0, (int)MA_COUNT(bad));
    tcase_add_test(t, bad_files);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

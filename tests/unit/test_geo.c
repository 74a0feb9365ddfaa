/* SPDX-License-Identifier: Apache-2.0
 * Countries of addresses, from tests/fixtures/geo.mmdb (made by geo.mjs there), and files that are none.
 */
#include "ma/geo.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE "tests/fixtures/geo.mmdb"
#define T_OK(e) ck_assert_int_eq((e), MA_OK)

static struct ma_geo *geo;
static char why[256];
static char scratch[64];

static void setup(void)
{
    geo = ma_geo_new("build/geo");
    ck_assert_ptr_nonnull(geo);
    (void)snprintf(scratch, sizeof scratch, "/tmp/ma_test_geo_%ld", (long)getpid());
    why[0] = '\0';
}

static void teardown(void)
{
    ma_geo_free(geo);
    (void)unlink(scratch);
}

static const char *country(const char *address)
{
    static char out[MA_COUNTRY_LEN + 1];
    return ma_geo_country(geo, ma_span_str(address), out) ? out : "";
}

static const struct {
    const char *address, *country;
} known[] = {
    {"192.0.2.0", "DE"},
    {"192.0.2.255", "DE"},
    {"::ffff:192.0.2.7", "DE"},
    {"198.51.100.1", "FR"},
    {"198.51.100.200", "SE"},
    {"2001:db8::1", "JP"},
    {"2001:db9::1", ""},
    {"192.0.3.0", ""},
    {"127.0.0.1", ""},
    {"203.0.113.9", ""},
    {"", ""},
    {"not an address", ""},
    {"unix", ""},
};

START_TEST(countries)
{
    T_OK(ma_geo_load(geo, FIXTURE, why));
    ck_assert_str_eq(country(known[_i].address), known[_i].country);
}
END_TEST

START_TEST(without_a_file)
{
    ck_assert_str_eq(country("192.0.2.1"), "");
    T_OK(ma_geo_load(geo, "", why));
    ck_assert_str_eq(country("192.0.2.1"), "");
    char out[MA_COUNTRY_LEN + 1];
    ck_assert(!ma_geo_country(NULL, MA_LIT("192.0.2.1"), out));
}
END_TEST

START_TEST(taken_away)
{
    T_OK(ma_geo_load(geo, FIXTURE, why));
    ck_assert_str_eq(country("192.0.2.1"), "DE");
    T_OK(ma_geo_load(geo, "", why));
    ck_assert_str_eq(country("192.0.2.1"), "");
}
END_TEST

/* The first n bytes of the fixture; -1: all. */
static void copy_fixture(long n)
{
    char bytes[65536];
    FILE *in = fopen(FIXTURE, "re"), *out = fopen(scratch, "we");
    ck_assert(in && out);
    size_t got = fread(bytes, 1, sizeof bytes, in);
    if (n >= 0)
        got = (size_t)n;
    ck_assert_uint_eq(fwrite(bytes, 1, got, out), got);
    (void)fclose(in);
    (void)fclose(out);
}

START_TEST(cut_off_while_in_use)
{
    copy_fixture(-1);
    T_OK(ma_geo_load(geo, scratch, why));
    ck_assert_int_eq(truncate(scratch, 0), 0);
    ck_assert_str_eq(country("192.0.2.1"), "DE");
    ck_assert_int_eq(unlink(scratch), 0);
    ck_assert_str_eq(country("2001:db8::1"), "JP");
}
END_TEST

static void expect_refused(const char *path, int err)
{
    ck_assert_int_eq(ma_geo_load(geo, path, why), err);
    ck_assert_msg(strstr(why, path) && strncmp(why, "geo.database: ", 14) == 0, "%s", why);
    ck_assert_str_eq(country("192.0.2.1"), "DE");
}

START_TEST(bad_files_leave_the_old_one)
{
    T_OK(ma_geo_load(geo, FIXTURE, why));
    expect_refused("/nowhere/geo.mmdb", MA_E_IO);
    expect_refused("/tmp", MA_E_PARSE);
    expect_refused("Makefile", MA_E_PARSE);
    copy_fixture(0);
    expect_refused(scratch, MA_E_PARSE);
    copy_fixture(300);
    expect_refused(scratch, MA_E_PARSE);
    (void)unlink(scratch);
    ck_assert_int_eq(mkfifo(scratch, 0600), 0);
    expect_refused(scratch, MA_E_PARSE);
}
END_TEST

/* Damage must not be read beyond: every byte changed in turn, and looked up in. */
START_TEST(damage)
{
    char bytes[65536];
    FILE *in = fopen(FIXTURE, "re");
    ck_assert_ptr_nonnull(in);
    size_t n = fread(bytes, 1, sizeof bytes, in);
    (void)fclose(in);
    for (size_t i = 0; i < n; i += 3) {
        FILE *out = fopen(scratch, "we");
        ck_assert_ptr_nonnull(out);
        bytes[i] = (char)~bytes[i];
        ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
        (void)fclose(out);
        bytes[i] = (char)~bytes[i];
        if (ma_geo_load(geo, scratch, why) < 0)
            continue;
        for (size_t k = 0; k < MA_COUNT(known); k++)
            (void)country(known[k].address);
    }
}
END_TEST

/* A database whose every address has {"a": [[[…"x"…]]], "country": {"iso_code": "DE"}}. */
static void write_nested(size_t levels)
{
    static const char tree[] = "\0\0\0\x11\0\0\0\x11" /* one node, both ways the first record */
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char head[] = "\xe2\x41" /* a map of two */
                               "a";
    static const char tail[] = "\x41x\x47" /* texts of 1 and 7 */
                               "country\xe1\x48iso_code\x42"
                               "DE";
    static const char meta[] = "\xab\xcd\xefMaxMind.com\xe9"
                               "\x4anode_count\xc1\x01\x4brecord_size\xa1\x20\x4aip_version\xa1\x04"
                               "\x4d"
                               "database_type\x41T\x49languages\0\x04\x5b"
                               "binary_format_major_version\xa1\x02"
                               "\x5b"
                               "binary_format_minor_version\xa0\x4b"
                               "build_epoch\x01\x02\x01"
                               "\x4b"
                               "description\xe0";
    FILE *out = fopen(scratch, "we");
    ck_assert_ptr_nonnull(out);
    (void)fwrite(tree, 1, sizeof tree - 1, out);
    (void)fwrite(head, 1, sizeof head - 1, out);
    for (size_t i = 0; i < levels; i++)
        (void)fwrite("\x01\x04", 1, 2, out); /* an array of one */
    (void)fwrite(tail, 1, sizeof tail - 1, out);
    (void)fwrite(meta, 1, sizeof meta - 1, out);
    ck_assert_int_eq(fclose(out), 0);
}

START_TEST(many_levels_do_not_use_up_the_stack)
{
    static const struct {
        size_t levels;
        const char *country;
    } v[] = {{0, "DE"}, {8, "DE"}, {64, ""}, {3000000, ""}};
    for (size_t i = 0; i < MA_COUNT(v); i++) {
        write_nested(v[i].levels);
        ck_assert_msg(ma_geo_load(geo, scratch, why) == MA_OK, "%s", why);
        ck_assert_str_eq(country("192.0.2.1"), v[i].country);
    }
}
END_TEST

static void *look_up(void *stop)
{
    char out[MA_COUNTRY_LEN + 1];
    while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE))
        if (ma_geo_country(geo, MA_LIT("192.0.2.1"), out))
            ck_assert_str_eq(out, "DE");
    return NULL;
}

START_TEST(replaced_under_readers)
{
    pthread_t t[2];
    bool stop = false;
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, look_up, &stop), 0);
    for (int i = 0; i < 50; i++)
        T_OK(ma_geo_load(geo, i % 2 ? "" : FIXTURE, why));
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("geo");
    TCase *t = tcase_create("geo");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, countries, 0, (int)MA_COUNT(known));
    tcase_add_test(t, without_a_file);
    tcase_add_test(t, taken_away);
    tcase_add_test(t, cut_off_while_in_use);
    tcase_add_test(t, bad_files_leave_the_old_one);
    tcase_add_test(t, damage);
    tcase_add_test(t, many_levels_do_not_use_up_the_stack);
    tcase_add_test(t, replaced_under_readers);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Addresses: spelling, CIDR membership, and the special-purpose registries.
 */
#include "ma/netaddr.h"
#include "../../src/net/int.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>

static const struct {
    const char *text, *want; /* NULL: refused */
} SPELLINGS[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"2001:DB8::1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"::", "::"},
    {"0:0:0:0:0:0:0:1", "::1"},
    {"", NULL},
    {"[]", NULL},
    {"[192.0.2.1]", NULL},
    {"192.0.2.1.", NULL},
    {"192.0.2", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.01", NULL},
    {"0x7f.0.0.1", NULL},
    {"2130706433", NULL},
    {" 192.0.2.1", NULL},
    {"192.0.2.1 ", NULL},
    {"fe80::1%eth0", NULL},
    {"2001:db8::1::2", NULL},
    {"[2001:db8::1", NULL},
    {"2001:db8::1]", NULL},
    {"localhost", NULL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999", NULL},
};

START_TEST(spelling)
{
    struct ma_addr a;
    char out[MA_ADDR_TEXT];
    int r = ma_addr_parse(ma_span_str(SPELLINGS[_i].text), &a);
    if (!SPELLINGS[_i].want) {
        ck_assert_msg(r < 0, "\"%s\" was taken", SPELLINGS[_i].text);
        return;
    }
    ck_assert_int_eq(r, MA_OK);
    ma_addr_format(&a, out);
    ck_assert_str_eq(out, SPELLINGS[_i].want);
}
END_TEST

START_TEST(nul_inside)
{
    struct ma_addr a;
    ck_assert_int_lt(ma_addr_parse(ma_span_of("1.2.3.4\0", 8), &a), 0);
}
END_TEST

static const struct {
    const char *cidr, *addr;
    int has; /* -1: the CIDR is refused */
} CIDRS[] = {
    {"10.0.0.0/8", "10.255.255.255", 1},
    {"10.0.0.0/8", "11.0.0.0", 0},
    {"10.0.0.0/8", "::ffff:10.1.2.3", 1},
    {"::ffff:10.0.0.0/104", "10.1.2.3", 1},
    {"192.0.2.128/25", "192.0.2.127", 0},
    {"192.0.2.128/25", "192.0.2.128", 1},
    {"192.0.2.1", "192.0.2.1", 1},
    {"192.0.2.1", "192.0.2.2", 0},
    {"192.0.2.1/32", "192.0.2.1", 1},
    {"0.0.0.0/0", "203.0.113.9", 1},
    {"0.0.0.0/0", "2001:db8::1", 0},
    {"::/0", "2001:db8::1", 1},
    {"2001:db8::/33", "2001:db8:7fff::1", 1},
    {"2001:db8::/33", "2001:db8:8000::1", 0},
    {"2001:db8::1/128", "2001:db8::1", 1},
    {"10.0.0.0/33", "10.0.0.1", -1},
    {"2001:db8::/129", "2001:db8::1", -1},
    {"10.0.0.0/", "10.0.0.1", -1},
    {"10.0.0.0/08", "10.0.0.1", -1},
    {"10.0.0.0/+8", "10.0.0.1", -1},
    {"10.0.0.0/-1", "10.0.0.1", -1},
    {"10.0.0.0/8 ", "10.0.0.1", -1},
    {"/8", "10.0.0.1", -1},
    {"", "10.0.0.1", -1},
    {"10.0.0.0/8/8", "10.0.0.1", -1},
};

START_TEST(cidr)
{
    struct ma_cidr c;
    struct ma_addr a;
    ck_assert_int_eq(ma_addr_parse(ma_span_str(CIDRS[_i].addr), &a), MA_OK);
    int r = ma_cidr_parse(ma_span_str(CIDRS[_i].cidr), &c);
    if (CIDRS[_i].has < 0) {
        ck_assert_msg(r < 0, "\"%s\" was taken", CIDRS[_i].cidr);
        return;
    }
    ck_assert_int_eq(r, MA_OK);
    ck_assert_int_eq(ma_cidr_has(&c, &a), CIDRS[_i].has);
}
END_TEST

static const struct {
    const char *addr;
    enum ma_addr_class want;
} CLASSES[] = {
    {"8.8.8.8", MA_ADDR_PUBLIC},
    {"1.0.0.1", MA_ADDR_PUBLIC},
    {"0.0.0.0", MA_ADDR_REFUSED},
    {"0.1.2.3", MA_ADDR_REFUSED},
    {"9.255.255.255", MA_ADDR_PUBLIC},
    {"10.0.0.0", MA_ADDR_PRIVATE},
    {"10.255.255.255", MA_ADDR_PRIVATE},
    {"11.0.0.0", MA_ADDR_PUBLIC},
    {"100.63.255.255", MA_ADDR_PUBLIC},
    {"100.64.0.0", MA_ADDR_PRIVATE},
    {"100.127.255.255", MA_ADDR_PRIVATE},
    {"100.128.0.0", MA_ADDR_PUBLIC},
    {"126.255.255.255", MA_ADDR_PUBLIC},
    {"127.0.0.1", MA_ADDR_LOOPBACK},
    {"127.255.255.254", MA_ADDR_LOOPBACK},
    {"128.0.0.1", MA_ADDR_PUBLIC},
    {"169.254.169.254", MA_ADDR_REFUSED},
    {"172.15.255.255", MA_ADDR_PUBLIC},
    {"172.16.0.0", MA_ADDR_PRIVATE},
    {"172.31.255.255", MA_ADDR_PRIVATE},
    {"172.32.0.0", MA_ADDR_PUBLIC},
    {"192.0.0.1", MA_ADDR_REFUSED},
    {"192.0.0.9", MA_ADDR_PUBLIC},
    {"192.0.0.10", MA_ADDR_PUBLIC},
    {"192.0.0.170", MA_ADDR_REFUSED},
    {"192.0.1.0", MA_ADDR_PUBLIC},
    {"192.0.2.1", MA_ADDR_REFUSED},
    {"192.31.196.1", MA_ADDR_PUBLIC},
    {"192.52.193.1", MA_ADDR_PUBLIC},
    {"192.88.99.1", MA_ADDR_REFUSED},
    {"192.168.0.1", MA_ADDR_PRIVATE},
    {"192.175.48.1", MA_ADDR_PUBLIC},
    {"198.17.255.255", MA_ADDR_PUBLIC},
    {"198.18.0.1", MA_ADDR_REFUSED},
    {"198.19.255.255", MA_ADDR_REFUSED},
    {"198.51.100.1", MA_ADDR_REFUSED},
    {"203.0.113.1", MA_ADDR_REFUSED},
    {"223.255.255.255", MA_ADDR_PUBLIC},
    {"224.0.0.1", MA_ADDR_REFUSED},
    {"240.0.0.1", MA_ADDR_REFUSED},
    {"255.255.255.255", MA_ADDR_REFUSED},
    {"::", MA_ADDR_REFUSED},
    {"::1", MA_ADDR_LOOPBACK},
    {"::2", MA_ADDR_REFUSED},
    {"::127.0.0.1", MA_ADDR_REFUSED},
    {"::ffff:127.0.0.1", MA_ADDR_LOOPBACK},
    {"::ffff:8.8.8.8", MA_ADDR_PUBLIC},
    {"::ffff:169.254.169.254", MA_ADDR_REFUSED},
    {"64:ff9b::8.8.8.8", MA_ADDR_PUBLIC},
    {"64:ff9b::10.0.0.1", MA_ADDR_REFUSED},
    {"64:ff9b::127.0.0.1", MA_ADDR_REFUSED},
    {"64:ff9b:1::8.8.8.8", MA_ADDR_REFUSED},
    {"100::1", MA_ADDR_REFUSED},
    {"2001::1", MA_ADDR_REFUSED},
    {"2001:1::1", MA_ADDR_PUBLIC},
    {"2001:1::2", MA_ADDR_PUBLIC},
    {"2001:1::4", MA_ADDR_REFUSED},
    {"2001:2::1", MA_ADDR_REFUSED},
    {"2001:3::1", MA_ADDR_PUBLIC},
    {"2001:4:112::1", MA_ADDR_PUBLIC},
    {"2001:10::1", MA_ADDR_REFUSED},
    {"2001:20::1", MA_ADDR_PUBLIC},
    {"2001:30::1", MA_ADDR_PUBLIC},
    {"2001:1ff::1", MA_ADDR_REFUSED},
    {"2001:200::1", MA_ADDR_PUBLIC},
    {"2001:db8::1", MA_ADDR_REFUSED},
    {"2002:808:808::1", MA_ADDR_PUBLIC},
    {"2002:a00:1::1", MA_ADDR_REFUSED},
    {"2002:7f00:1::1", MA_ADDR_REFUSED},
    {"2606:4700::1", MA_ADDR_PUBLIC},
    {"2620:4f:8000::1", MA_ADDR_PUBLIC},
    {"3fff::1", MA_ADDR_REFUSED},
    {"4000::1", MA_ADDR_REFUSED},
    {"5f00::1", MA_ADDR_REFUSED},
    {"fc00::1", MA_ADDR_PRIVATE},
    {"fdff::1", MA_ADDR_PRIVATE},
    {"fe80::1", MA_ADDR_REFUSED},
    {"fec0::1", MA_ADDR_REFUSED},
    {"ff02::1", MA_ADDR_REFUSED},
};

START_TEST(classes)
{
    struct ma_addr a;
    ck_assert_int_eq(ma_addr_parse(ma_span_str(CLASSES[_i].addr), &a), MA_OK);
    ck_assert_msg(ma_addr_classify(&a) == CLASSES[_i].want, "%s: %d", CLASSES[_i].addr, (int)ma_addr_classify(&a));
    ck_assert_int_eq(ma_addr_is_public(&a), CLASSES[_i].want == MA_ADDR_PUBLIC);
    ck_assert_int_eq(ma_addr_is_loopback(&a), CLASSES[_i].want == MA_ADDR_LOOPBACK);
}
END_TEST

START_TEST(sockaddrs)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr un = {.sa_family = AF_UNIX};
    struct ma_addr a;
    char out[MA_ADDR_TEXT];
    ck_assert_int_eq(inet_pton(AF_INET, "192.0.2.7", &in.sin_addr), 1);
    ma_addr_from_sockaddr((const struct sockaddr *)&in, &a);
    ma_addr_format(&a, out);
    ck_assert_str_eq(out, "192.0.2.7");
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.8", &in6.sin6_addr), 1);
    ma_addr_from_sockaddr((const struct sockaddr *)&in6, &a);
    ma_addr_format(&a, out);
    ck_assert_str_eq(out, "192.0.2.8");
    ma_addr_from_sockaddr(&un, &a);
    ma_addr_format(&a, out);
    ck_assert_str_eq(out, "unix");
    struct ma_cidr all;
    ck_assert_int_eq(ma_cidr_parse(MA_LIT("::/0"), &all), MA_OK);
    ck_assert(!ma_cidr_has(&all, &a) && !ma_addr_is_public(&a) && !ma_addr_is_loopback(&a));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("netaddr");
    TCase *t = tcase_create("netaddr");
    tcase_add_loop_test(t, spelling, 0, MA_COUNT(SPELLINGS));
    tcase_add_test(t, nul_inside);
    tcase_add_loop_test(t, cidr, 0, MA_COUNT(CIDRS));
    tcase_add_loop_test(t, classes, 0, MA_COUNT(CLASSES));
    tcase_add_test(t, sockaddrs);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

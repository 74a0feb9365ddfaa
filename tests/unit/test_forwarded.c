/* SPDX-License-Identifier: Apache-2.0
 * Whose request it is behind proxies: only hops of trusted proxies are believed, from the nearest outwards.
 */
#include "ma/http.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define PROXIES "trusted_proxies = {\"10.0.0.0/8\", \"2001:db8:1::/48\"}\n"
#define DOMAINS "custom_domains = {\"https://a.example.com\", \"https://b.example.com:8443\"}\n"

static struct ma_conf *conf;
static struct ma_ctx ctx;

static void load(const char *text)
{
    char all[512], why[512] = "";
    (void)snprintf(all, sizeof all, "base_url = \"https://login.example.com\"\n%s", text);
    ck_assert_msg(ma_conf_parse("test", ma_span_str(all), &conf, why) == MA_OK, "%s", why);
    ctx = (struct ma_ctx){.conf = conf};
}

static void teardown(void)
{
    ma_conf_free(conf);
    conf = NULL;
}

static const char *apply(const char *peer)
{
    static char text[MA_ADDR_TEXT];
    struct ma_addr a = {.unix_peer = strcmp(peer, "unix") == 0};
    if (!a.unix_peer)
        ck_assert_int_eq(ma_addr_parse(ma_span_str(peer), &a), MA_OK);
    ma_forwarded_apply(&ctx, &a);
    if (ctx.req.client.unix_peer)
        return "unix";
    ma_addr_format(&ctx.req.client, text);
    return text;
}

static const struct {
    const char *name, *peer, *forwarded, *xff, *want;
} clients[] = {
    {"no header", "10.0.0.1", NULL, NULL, "10.0.0.1"},
    {"untrusted peer", "192.0.2.1", "for=198.51.100.1", "198.51.100.2", "192.0.2.1"},
    {"one hop", "10.0.0.1", NULL, "192.0.2.1", "192.0.2.1"},
    {"one hop, blanks", "10.0.0.1", NULL, "  192.0.2.1  ", "192.0.2.1"},
    {"what the client claims is not believed", "10.0.0.1", NULL, "203.0.113.9, 192.0.2.1", "192.0.2.1"},
    {"two trusted hops", "10.0.0.1", NULL, "192.0.2.1, 10.0.0.2", "192.0.2.1"},
    {"a trusted address behind an untrusted one", "10.0.0.1", NULL, "10.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
    {"trusted all the way", "10.0.0.1", NULL, "10.0.0.3, 10.0.0.2", "10.0.0.3"},
    {"IPv6 client", "10.0.0.1", NULL, "2001:db8:2::1", "2001:db8:2::1"},
    {"IPv6 client in brackets with a port", "10.0.0.1", NULL, "[2001:db8:2::1]:4711", "2001:db8:2::1"},
    {"IPv4 with a port", "10.0.0.1", NULL, "192.0.2.1:4711", "192.0.2.1"},
    {"IPv6 proxy", "2001:db8:1::1", NULL, "192.0.2.1", "192.0.2.1"},
    {"a mapped IPv4 proxy", "::ffff:10.0.0.1", NULL, "192.0.2.1", "192.0.2.1"},
    {"rubbish stops at the last good hop", "10.0.0.1", NULL, "192.0.2.1, rubbish, 10.0.0.2", "10.0.0.2"},
    {"rubbish alone", "10.0.0.1", NULL, "rubbish", "10.0.0.1"},
    {"empty item", "10.0.0.1", NULL, "192.0.2.1,", "10.0.0.1"},
    {"empty header", "10.0.0.1", NULL, "", "10.0.0.1"},
    {"only commas", "10.0.0.1", NULL, ",,,", "10.0.0.1"},
    {"unclosed bracket", "10.0.0.1", NULL, "[2001:db8:2::1", "10.0.0.1"},
    {"UNIX peer", "unix", NULL, "192.0.2.1", "192.0.2.1"},
    {"UNIX peer, spoofed head", "unix", NULL, "203.0.113.9, 192.0.2.1", "192.0.2.1"},
    {"UNIX peer without a header", "unix", NULL, NULL, "unix"},
    {"Forwarded", "10.0.0.1", "for=192.0.2.1", NULL, "192.0.2.1"},
    {"both families agree", "10.0.0.1", "for=192.0.2.1", "192.0.2.1", "192.0.2.1"},
    {"both families disagree: neither is believed", "10.0.0.1", "for=192.0.2.1", "192.0.2.2", "10.0.0.1"},
    {"Forwarded, all parameters", "10.0.0.1", "by=203.0.113.1;for=192.0.2.1;host=x;proto=https", NULL, "192.0.2.1"},
    {"Forwarded, case and blanks", "10.0.0.1", "Proto=https; FOR=192.0.2.1", NULL, "192.0.2.1"},
    {"Forwarded, quoted", "10.0.0.1", "for=\"192.0.2.1\"", NULL, "192.0.2.1"},
    {"Forwarded, quoted IPv6 with a port", "10.0.0.1", "for=\"[2001:db8:2::1]:4711\"", NULL, "2001:db8:2::1"},
    {"Forwarded, two hops", "10.0.0.1", "for=192.0.2.1, for=10.0.0.2", NULL, "192.0.2.1"},
    {"Forwarded, claimed by the client", "10.0.0.1", "for=203.0.113.9, for=192.0.2.1", NULL, "192.0.2.1"},
    {"Forwarded, open quote of the client", "10.0.0.1", "for=\"203.0.113.9, for=192.0.2.1", NULL, "192.0.2.1"},
    {"Forwarded, obfuscated", "10.0.0.1", "for=_hidden", NULL, "10.0.0.1"},
    {"Forwarded, unknown", "10.0.0.1", "for=192.0.2.1, for=unknown", NULL, "10.0.0.1"},
    {"Forwarded without for", "10.0.0.1", "host=x", NULL, "10.0.0.1"},
    {"Forwarded: a name that only starts so", "10.0.0.1", "forx=192.0.2.1", NULL, "10.0.0.1"},
    {"Forwarded: an empty element", "10.0.0.1", ";;", NULL, "10.0.0.1"},
};

START_TEST(test_client)
{
    load(PROXIES);
    ctx.req.forwarded = ma_span_str(clients[_i].forwarded);
    ctx.req.x_forwarded_for = ma_span_str(clients[_i].xff);
    const char *got = apply(clients[_i].peer);
    ck_assert_msg(strcmp(got, clients[_i].want) == 0, "%s: %s", clients[_i].name, got);
    ck_assert_int_eq(ctx.req.domain, 0);
}
END_TEST

START_TEST(test_nobody_is_trusted)
{
    load("");
    ctx.req.x_forwarded_for = MA_LIT("192.0.2.1");
    ck_assert_str_eq(apply("127.0.0.1"), "127.0.0.1");
    ck_assert_str_eq(apply("unix"), "unix");
}
END_TEST

static const struct {
    const char *name, *peer, *host, *forwarded, *xfh, *xfp;
    int want;
} domains[] = {
    {"base_url", "192.0.2.1", "login.example.com", NULL, NULL, NULL, 0},
    {"first custom domain", "192.0.2.1", "a.example.com", NULL, NULL, NULL, 1},
    {"second, with its port", "192.0.2.1", "b.example.com:8443", NULL, NULL, NULL, 2},
    {"second, without its port", "192.0.2.1", "b.example.com", NULL, NULL, NULL, 0},
    {"case does not count", "192.0.2.1", "A.Example.COM", NULL, NULL, NULL, 1},
    {"none of ours", "192.0.2.1", "127.0.0.1:8080", NULL, NULL, NULL, 0},
    {"no host", "192.0.2.1", NULL, NULL, NULL, NULL, 0},
    {"a longer host", "192.0.2.1", "a.example.com.evil.example", NULL, NULL, NULL, 0},
    {"a shorter host", "192.0.2.1", "a.example", NULL, NULL, NULL, 0},
    {"X-Forwarded-Host of a stranger", "192.0.2.1", "login.example.com", NULL, "a.example.com", NULL, 0},
    {"X-Forwarded-Host of a proxy", "10.0.0.1", "backend", NULL, "a.example.com", "https", 1},
    {"X-Forwarded-Host without proto", "10.0.0.1", "backend", NULL, "a.example.com", NULL, 1},
    {"the nearest X-Forwarded-Host", "10.0.0.1", "backend", NULL, "b.example.com:8443, a.example.com", NULL, 1},
    {"proto does not fit", "10.0.0.1", "backend", NULL, "a.example.com", "http", 0},
    {"proto fits, case", "10.0.0.1", "backend", NULL, "b.example.com:8443", "HTTPS", 2},
    {"Host through a proxy", "10.0.0.1", "a.example.com", NULL, NULL, NULL, 1},
    {"Host through a proxy, wrong proto", "10.0.0.1", "a.example.com", NULL, NULL, "http", 0},
    {"Forwarded host", "10.0.0.1", "backend", "for=192.0.2.1;host=a.example.com;proto=https", NULL, NULL, 1},
    {"Forwarded host, quoted", "10.0.0.1", "backend", "for=192.0.2.1;host=\"b.example.com:8443\"", NULL, NULL, 2},
    {"Forwarded host of the client", "10.0.0.1", "login.example.com", "for=x;host=a.example.com, for=192.0.2.1", NULL,
     NULL, 0},
    {"Forwarded host of the outer proxy", "10.0.0.1", "backend",
     "for=192.0.2.1;host=a.example.com, for=10.0.0.2;host=inner", NULL, NULL, 1},
    {"both families agree", "10.0.0.1", "backend", "host=a.example.com;proto=https", "a.example.com", "https", 1},
    {"they disagree on the host", "10.0.0.1", "backend", "host=a.example.com", "b.example.com:8443", NULL, 0},
    {"they disagree on the scheme", "10.0.0.1", "backend", "host=a.example.com;proto=https", "a.example.com", "http",
     0},
    {"only one of them names a host", "10.0.0.1", "backend", "host=a.example.com", NULL, "https", 0},
    {"they disagree: Host counts", "10.0.0.1", "a.example.com", "host=x", "y", NULL, 1},
    {"Forwarded of a stranger", "192.0.2.1", "login.example.com", "for=1.1.1.1;host=a.example.com", NULL, NULL, 0},
};

START_TEST(test_domain)
{
    load(PROXIES DOMAINS);
    ctx.req.host = ma_span_str(domains[_i].host);
    ctx.req.forwarded = ma_span_str(domains[_i].forwarded);
    ctx.req.x_forwarded_host = ma_span_str(domains[_i].xfh);
    ctx.req.x_forwarded_proto = ma_span_str(domains[_i].xfp);
    (void)apply(domains[_i].peer);
    ck_assert_msg(ctx.req.domain == domains[_i].want, "%s: %d", domains[_i].name, ctx.req.domain);
    static const char *const origins[] = {"https://login.example.com", "https://a.example.com",
                                          "https://b.example.com:8443"};
    ck_assert_str_eq(ma_ctx_origin(&ctx), origins[domains[_i].want]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("forwarded");
    TCase *tc = tcase_create("forwarded");
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_loop_test(tc, test_client, 0, (int)MA_COUNT(clients));
    tcase_add_test(tc, test_nobody_is_trusted);
    tcase_add_loop_test(tc, test_domain, 0, (int)MA_COUNT(domains));
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

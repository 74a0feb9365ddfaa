/* SPDX-License-Identifier: Apache-2.0
 * Address parsing and the tables of the IANA special-purpose address registries.
 */
#include "ma/netaddr.h"
#include "int.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t V4_MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v4(struct ma_addr *a, const uint8_t v4[4])
{
    memcpy(a->b, V4_MAPPED, sizeof(V4_MAPPED));
    memcpy(a->b + 12, v4, 4);
    a->unix_peer = false;
}

static bool is_v4(const struct ma_addr *a)
{
    return memcmp(a->b, V4_MAPPED, sizeof(V4_MAPPED)) == 0;
}

struct ma_span ma_addr_key(const struct ma_addr *a)
{
    return ma_span_of(a->b, is_v4(a) ? sizeof a->b : sizeof a->b / 2);
}

int ma_addr_parse(struct ma_span text, struct ma_addr *ret)
{
    char s[INET6_ADDRSTRLEN];
    bool brackets = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';
    if (brackets)
        text = ma_span_of(text.p + 1, text.n - 2);
    if (text.n == 0 || text.n >= sizeof(s) || memchr(text.p, 0, text.n))
        return MA_E_PARSE;
    memcpy(s, text.p, text.n);
    s[text.n] = 0;
    uint8_t b[16];
    if (!brackets && inet_pton(AF_INET, s, b) == 1) {
        set_v4(ret, b);
        return MA_OK;
    }
    if (inet_pton(AF_INET6, s, b) != 1)
        return MA_E_PARSE;
    memcpy(ret->b, b, sizeof(b));
    ret->unix_peer = false;
    return MA_OK;
}

void ma_addr_from_sockaddr(const struct sockaddr *sa, struct ma_addr *ret)
{
    *ret = (struct ma_addr){{0}, false};
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        uint8_t v4[4];
        memcpy(&in, sa, sizeof(in));
        memcpy(v4, &in.sin_addr, sizeof(v4));
        set_v4(ret, v4);
    } else if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        memcpy(ret->b, &in6.sin6_addr, sizeof(ret->b));
    } else {
        ret->unix_peer = true;
    }
}

void ma_addr_format(const struct ma_addr *a, char out[MA_ADDR_TEXT])
{
    const char *r = NULL;
    if (a->unix_peer)
        r = NULL;
    else if (is_v4(a))
        r = inet_ntop(AF_INET, a->b + 12, out, MA_ADDR_TEXT);
    else
        r = inet_ntop(AF_INET6, a->b, out, MA_ADDR_TEXT);
    if (!r)
        (void)snprintf(out, MA_ADDR_TEXT, "unix");
}

/* Decimal without sign, blanks or leading zeros. */
static int parse_bits(struct ma_span s, int max, int *ret)
{
    if (s.n == 0 || s.n > 3 || (s.n > 1 && s.p[0] == '0'))
        return MA_E_PARSE;
    int v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return MA_E_PARSE;
        v = v * 10 + (s.p[i] - '0');
    }
    if (v > max)
        return MA_E_RANGE;
    *ret = v;
    return MA_OK;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, int bits)
{
    size_t whole = (size_t)bits / 8;
    int rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

int ma_cidr_parse(struct ma_span text, struct ma_cidr *ret)
{
    const uint8_t *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct ma_span host = slash ? ma_span_of(text.p, (size_t)(slash - text.p)) : text;
    int r = ma_addr_parse(host, &ret->net);
    if (r < 0)
        return r;
    /* How it was written decides what the prefix counts: "10.0.0.0/8" and "::ffff:10.0.0.0/104" are the same net. */
    bool dotted = memchr(host.p, ':', host.n) == NULL;
    ret->bits = 128;
    if (!slash)
        return MA_OK;
    struct ma_span tail = ma_span_of(slash + 1, text.n - host.n - 1);
    int bits = 0;
    r = parse_bits(tail, dotted ? 32 : 128, &bits);
    if (r < 0)
        return r;
    ret->bits = dotted ? bits + 96 : bits;
    return MA_OK;
}

bool ma_cidr_has(const struct ma_cidr *c, const struct ma_addr *a)
{
    return !a->unix_peer && bits_equal(c->net.b, a->b, c->bits);
}

struct special {
    uint8_t b[16];
    uint8_t bits;
    uint8_t class;
};
#define V4(a, b, c, d, len, cls)                                                                                       \
    {                                                                                                                  \
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b), (c), (d)}, 96 + (len), (cls)                              \
    }
#define V6(w0, w1, w2, w3, len, cls)                                                                                   \
    {                                                                                                                  \
        {(w0) >> 8, (w0)&0xff, (w1) >> 8, (w1)&0xff, (w2) >> 8, (w2)&0xff, (w3) >> 8, (w3)&0xff}, (len), (cls)         \
    }

/* IANA IPv4 Special-Purpose Address Registry (RFC 6890 and updates); the first match decides. */
static const struct special V4_SPECIAL[] = {
    V4(127, 0, 0, 0, 8, MA_ADDR_LOOPBACK),   V4(10, 0, 0, 0, 8, MA_ADDR_PRIVATE),
    V4(172, 16, 0, 0, 12, MA_ADDR_PRIVATE),  V4(192, 168, 0, 0, 16, MA_ADDR_PRIVATE),
    V4(100, 64, 0, 0, 10, MA_ADDR_PRIVATE), /* RFC 6598 shared address space */
    V4(0, 0, 0, 0, 8, MA_ADDR_REFUSED),     /* "this network": Linux takes 0.0.0.0 for loopback */
    V4(169, 254, 0, 0, 16, MA_ADDR_REFUSED), V4(192, 0, 0, 9, 32, MA_ADDR_PUBLIC), /* RFC 7723 PCP anycast */
    V4(192, 0, 0, 10, 32, MA_ADDR_PUBLIC),                                         /* RFC 8155 TURN anycast */
    V4(192, 0, 0, 0, 24, MA_ADDR_REFUSED),   V4(192, 0, 2, 0, 24, MA_ADDR_REFUSED),
    V4(192, 88, 99, 0, 24, MA_ADDR_REFUSED), /* RFC 7526: deprecated 6to4 relays */
    V4(198, 18, 0, 0, 15, MA_ADDR_REFUSED),  V4(198, 51, 100, 0, 24, MA_ADDR_REFUSED),
    V4(203, 0, 113, 0, 24, MA_ADDR_REFUSED), V4(224, 0, 0, 0, 4, MA_ADDR_REFUSED),
    V4(240, 0, 0, 0, 4, MA_ADDR_REFUSED),    V4(0, 0, 0, 0, 0, MA_ADDR_PUBLIC),
};

/* IANA IPv6 Special-Purpose Address Registry; outside 2000::/3 nothing is global unicast. */
static const struct special V6_SPECIAL[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, MA_ADDR_LOOPBACK},
    V6(0xfc00, 0, 0, 0, 7, MA_ADDR_PRIVATE),
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, MA_ADDR_PUBLIC}, /* RFC 7723 */
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 128, MA_ADDR_PUBLIC}, /* RFC 8155 */
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, 128, MA_ADDR_PUBLIC}, /* RFC 9665 */
    V6(0x2001, 3, 0, 0, 32, MA_ADDR_PUBLIC),                                    /* RFC 7450 AMT */
    V6(0x2001, 4, 0x112, 0, 48, MA_ADDR_PUBLIC),                                /* RFC 7535 AS112 */
    V6(0x2001, 0x20, 0, 0, 28, MA_ADDR_PUBLIC),                                 /* RFC 7343 ORCHIDv2 */
    V6(0x2001, 0x30, 0, 0, 28, MA_ADDR_PUBLIC),                                 /* RFC 9374 DRIP */
    V6(0x2001, 0, 0, 0, 23, MA_ADDR_REFUSED),                                   /* RFC 2928, Teredo among them */
    V6(0x2001, 0xdb8, 0, 0, 32, MA_ADDR_REFUSED),
    V6(0x3fff, 0, 0, 0, 20, MA_ADDR_REFUSED), /* RFC 9637 */
    V6(0x2000, 0, 0, 0, 3, MA_ADDR_PUBLIC),
    V6(0, 0, 0, 0, 0, MA_ADDR_REFUSED),
};

static enum ma_addr_class look_up(const struct special *t, size_t n, const uint8_t b[16])
{
    for (size_t i = 0; i < n; i++) {
        if (bits_equal(t[i].b, b, t[i].bits))
            return (enum ma_addr_class)t[i].class;
    }
    return MA_ADDR_REFUSED;
}

/* RFC 6052 §2.1 (64:ff9b::/96) and RFC 3056 §2 (2002::/16) carry an IPv4 address. */
static const uint8_t *embedded_v4(const uint8_t b[16])
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (memcmp(b, nat64, sizeof(nat64)) == 0)
        return b + 12;
    return b[0] == 0x20 && b[1] == 0x02 ? b + 2 : NULL;
}

enum ma_addr_class ma_addr_classify(const struct ma_addr *a)
{
    if (a->unix_peer)
        return MA_ADDR_REFUSED;
    if (is_v4(a))
        return look_up(V4_SPECIAL, MA_COUNT(V4_SPECIAL), a->b);
    const uint8_t *v4 = embedded_v4(a->b);
    if (!v4)
        return look_up(V6_SPECIAL, MA_COUNT(V6_SPECIAL), a->b);
    struct ma_addr inner;
    set_v4(&inner, v4);
    /* A translator that leads to a special address is a detour nobody needs, whatever is allowed directly. */
    bool public = look_up(V4_SPECIAL, MA_COUNT(V4_SPECIAL), inner.b) == MA_ADDR_PUBLIC;
    return public ? MA_ADDR_PUBLIC : MA_ADDR_REFUSED;
}

bool ma_addr_is_loopback(const struct ma_addr *a)
{
    return ma_addr_classify(a) == MA_ADDR_LOOPBACK;
}

bool ma_addr_is_public(const struct ma_addr *a)
{
    return ma_addr_classify(a) == MA_ADDR_PUBLIC;
}

/* SPDX-License-Identifier: Apache-2.0
 * Origins (RFC 6454): of URLs, in one spelling, and patterns with a leading "*." label.
 */
#include "ma/state.h"

#include "int.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool is_label_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Index behind "scheme://", or 0. */
static size_t scheme_end(struct ma_span url)
{
    size_t i = 0;
    while (i < url.n && (is_label_char(lower(url.p[i])) || url.p[i] == '+'))
        i++;
    bool alpha = i > 0 && lower(url.p[0]) >= 'a' && lower(url.p[0]) <= 'z';
    return alpha && i + 3 < url.n && memcmp(url.p + i, "://", 3) == 0 ? i + 3 : 0;
}

/* Where the host ends (lower-case text): ":port" or the end follows. 0 when it is none. */
static size_t host_end(const char *s, size_t from, size_t n)
{
    size_t i = from;
    if (i < n && s[i] == '[') {
        while (i < n && s[i] != ']')
            i++;
        return i < n && i > from + 2 ? i + 1 : 0;
    }
    if (n - i > 2 && s[i] == '*' && s[i + 1] == '.')
        i += 2;
    size_t start = i;
    while (i < n && is_label_char((uint8_t)s[i]))
        i++;
    return i > start && s[start] != '.' && s[i - 1] != '.' ? i : 0;
}

/* A port of digits, ≤ 65535; empty text is no port. */
static bool port_ok(const char *s, size_t n)
{
    uint32_t port = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || n > 5)
            return false;
        port = port * 10 + (uint32_t)(s[i] - '0');
    }
    return n > 0 && port > 0 && port <= 65535;
}

static bool is_default_port(const char *s, size_t scheme, const char *port)
{
    return (scheme == 7 && strncmp(s, "http://", 7) == 0 && strcmp(port, "80") == 0) ||
           (scheme == 8 && strncmp(s, "https://", 8) == 0 && strcmp(port, "443") == 0);
}

int ma_origin_of(struct ma_span url, bool bare, char out[MA_ORIGIN_MAX])
{
    size_t scheme = scheme_end(url);
    if (scheme == 0)
        return MA_E_INVAL;
    size_t n = 0;
    while (n < url.n && (n < scheme || (url.p[n] != '/' && url.p[n] != '?' && url.p[n] != '#'))) {
        if (n + 1 >= MA_ORIGIN_MAX || url.p[n] == 0)
            return MA_E_INVAL;
        out[n] = (char)lower(url.p[n]);
        n++;
    }
    out[n] = '\0';
    if (bare && n < url.n)
        return MA_E_INVAL;
    size_t host = host_end(out, scheme, n);
    if (host == 0)
        return MA_E_INVAL;
    if (host == n)
        return MA_OK;
    if (out[host] != ':' || !port_ok(out + host + 1, n - host - 1))
        return MA_E_INVAL;
    if (is_default_port(out, scheme, out + host + 1))
        out[host] = '\0';
    return MA_OK;
}

bool ma_origin_is_pattern(struct ma_span origin)
{
    return origin.n > 0 && memmem(origin.p, origin.n, "://*.", 5) != NULL;
}

bool ma_origin_matches(struct ma_span pattern, struct ma_span origin)
{
    if (!ma_origin_is_pattern(pattern))
        return ma_span_eq(pattern, origin);
    const uint8_t *star = memmem(pattern.p, pattern.n, "://*.", 5);
    size_t head = (size_t)(star - pattern.p) + 3;
    struct ma_span tail = ma_span_of(pattern.p + head + 1, pattern.n - head - 1); /* ".example.com:8443" */
    if (origin.n <= head + tail.n || memcmp(origin.p, pattern.p, head) != 0 ||
        memcmp(origin.p + origin.n - tail.n, tail.p, tail.n) != 0)
        return false;
    for (size_t i = head; i < origin.n - tail.n; i++) {
        if (!is_label_char(origin.p[i]))
            return false;
    }
    return origin.p[head] != '.';
}

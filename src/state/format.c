/* SPDX-License-Identifier: Apache-2.0
 * Formats of strings in the state document: e-mail, phone, identifiers, URLs.
 */
#include "ma/state.h"

#include <stdlib.h>

#include "ma/codec.h"
#include "int.h"

#define MA_EMAIL_MAX 254 /* RFC 5321 §4.5.3.1.3: a path of 256 octets less its brackets */
#define MA_EMAIL_LOCAL_MAX 64
#define MA_PHONE_DIGITS_MAX 15 /* E.164 */
#define MA_HOUR_S 3600
#define MA_HOURS_MAX 8760
#define MA_NUMBER_MAX 40 /* characters of a number */

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool ma_fmt_printable(struct ma_span s)
{
    if (s.n == 0 || s.n > MA_ID_MAX || ma_utf8_has_control(s))
        return false;
    return memchr(s.p, ' ', s.n) == NULL;
}

bool ma_fmt_no_control(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

/* Labels of letters, digits and hyphens (or non-ASCII text), none empty. */
static bool domain_ok(struct ma_span s)
{
    if (s.n == 0 || s.n > MA_ID_MAX || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '.' && s.p[i + 1] == '.')
            return false;
        if (!is_alnum(c) && c != '.' && c != '-' && c < 0x80)
            return false;
    }
    return true;
}

bool ma_fmt_domain(struct ma_span s)
{
    return domain_ok(s);
}

bool ma_fmt_email(struct ma_span s)
{
    const uint8_t *at = s.n ? memrchr(s.p, '@', s.n) : NULL;
    if (!at || s.n > MA_EMAIL_MAX || !ma_fmt_printable(s))
        return false;
    size_t local = (size_t)(at - s.p);
    if (local == 0 || local > MA_EMAIL_LOCAL_MAX || memchr(s.p, '@', local))
        return false;
    return domain_ok(ma_span_of(at + 1, s.n - local - 1));
}

bool ma_fmt_phone(struct ma_span s)
{
    if (s.n < 3 || s.n > MA_PHONE_DIGITS_MAX + 1 || s.p[0] != '+' || s.p[1] == '0')
        return false;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

bool ma_fmt_scope(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return s.n > 0;
}

bool ma_fmt_strategy(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.n > 0;
}

bool ma_fmt_member_path(struct ma_span s)
{
    bool named = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? !named : !is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
        named = s.p[i] != '.';
    }
    return named || s.n == 0;
}

static bool is_one_of(struct ma_span s, const char *const *names)
{
    for (; *names; names++)
        if (s.n == strlen(*names) && strncasecmp((const char *)s.p, *names, s.n) == 0)
            return true;
    return false;
}

/* Schemes whose URLs a browser would run or show itself instead of going anywhere. */
static bool runs_in_browser(struct ma_span scheme)
{
    static const char *const names[] = {"javascript", "data",        "vbscript", "about", "blob",
                                        "filesystem", "view-source", "file",     NULL};
    return is_one_of(scheme, names);
}

static bool is_web(struct ma_span scheme)
{
    static const char *const names[] = {"http", "https", NULL};
    return is_one_of(scheme, names);
}

/* "//", then a host (with a port, or a v6 address) of plain characters up to the path: no user name before it, and
 * nothing that would end the item in a header. */
static bool has_plain_host(struct ma_span url)
{
    const uint8_t *p = memchr(url.p, ':', url.n), *end = url.p + url.n;
    if (!p || end - p < 4 || p[1] != '/' || p[2] != '/')
        return false;
    const uint8_t *host = p + 3;
    for (p = host; p < end && *p != '/' && *p != '?'; p++)
        if (!is_alnum(*p) && !strchr(".-:[]*_", *p))
            return false;
    return p > host;
}

bool ma_fmt_uri(struct ma_span s)
{
    size_t i = 0;
    while (i < s.n && (is_alnum(s.p[i]) || (i > 0 && (s.p[i] == '+' || s.p[i] == '-' || s.p[i] == '.'))))
        i++;
    if (i == 0 || i + 1 >= s.n || s.p[i] != ':' || (s.p[0] >= '0' && s.p[0] <= '9'))
        return false; /* RFC 3986 §3.1 */
    if (runs_in_browser(ma_span_of(s.p, i)) || (is_web(ma_span_of(s.p, i)) && !has_plain_host(s)))
        return false;
    for (size_t k = i; k < s.n; k++) {
        if (s.p[k] <= ' ' || s.p[k] == 0x7f || s.p[k] == '#' || s.p[k] == '"' || s.p[k] == '<' || s.p[k] == '>' ||
            s.p[k] == '\\')
            return false;
    }
    return true;
}

bool ma_fmt_http_or_empty(struct ma_span s)
{
    char origin[MA_ORIGIN_MAX];
    if (s.n == 0)
        return true;
    return ma_fmt_uri(s) && ma_origin_of(s, false, origin) == MA_OK && strncmp(origin, "http", 4) == 0 &&
           (origin[4] == ':' || (origin[4] == 's' && origin[5] == ':')) && !ma_origin_is_pattern(ma_span_str(origin));
}

/* RFC 8414 §2, OpenID Connect Discovery §3: no query and no fragment. */
bool ma_fmt_issuer_or_empty(struct ma_span s)
{
    return s.n == 0 || (ma_fmt_http_or_empty(s) && memchr(s.p, '?', s.n) == NULL);
}

int64_t ma_fmt_hours(struct ma_span json)
{
    char text[MA_NUMBER_MAX + 1], *end = text;
    if (json.n == 0 || json.n > MA_NUMBER_MAX || json.p[0] < '0' || json.p[0] > '9')
        return 0;
    memcpy(text, json.p, json.n);
    text[json.n] = '\0';
    double hours = strtod(text, &end);
    if (*end != '\0' || !(hours * MA_HOUR_S >= 1) || hours > MA_HOURS_MAX)
        return 0;
    return (int64_t)(hours * MA_HOUR_S + 0.5);
}

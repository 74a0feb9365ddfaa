/* SPDX-License-Identifier: Apache-2.0
 * UTF-8 tests: well-formedness, length in UTF-16 units, control characters.
 */
#include "ma/codec.h"

#include "int.h"

/* The run of ASCII bytes at the start of [p, end). */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 8 && !(ma_load8(p) & MA_HIGH_BITS))
        p += 8;
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* Length of the well-formed sequence at p (first byte ≥ 0x80), or 0. RFC 3629 §4: the second byte's
 * range excludes overlong forms, surrogates and everything past U+10FFFF. */
static size_t sequence_len(const uint8_t *p, const uint8_t *end)
{
    uint8_t c = p[0], lo = 0x80, hi = 0xBF;
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || (size_t)(end - p) < n)
        return 0;
    if (c == 0xE0)
        lo = 0xA0;
    else if (c == 0xED)
        hi = 0x9F;
    else if (c == 0xF0)
        lo = 0x90;
    else if (c == 0xF4)
        hi = 0x8F;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

bool ma_utf8_valid(struct ma_span s)
{
    if (!s.n)
        return true;
    const uint8_t *p = s.p, *end = s.p + s.n;
    while ((p = skip_ascii(p, end)) < end) {
        size_t n = sequence_len(p, end);
        if (!n)
            return false;
        p += n;
    }
    return true;
}

size_t ma_utf8_units(struct ma_span s)
{
    size_t units = 0;
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] & 0xC0) != 0x80)
            units += s.p[i] >= 0xF0 ? 2 : 1; /* a surrogate pair beyond the BMP */
    }
    return units;
}

bool ma_utf8_has_control(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c < 0x20 || c == 0x7F)
            return true;
        if (c == 0xC2 && i + 1 < s.n && s.p[i + 1] < 0xA0) /* U+0080–U+009F */
            return true;
    }
    return false;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct ma_span ma_trim(struct ma_span s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: form-encoded text. Every pair that is read is clean, ends with NUL, and survives being written out and
 * read again; what is left shrinks until nothing is.
 */
#include "ma/codec.h"

#include <stdlib.h>

#define ARENA_BYTES (64u * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

/* What the bytes stand for, by another way: a byte at a time; -1 where they stand for nothing. */
static int next_byte(const uint8_t *p, size_t n, size_t *at)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t c = p[(*at)++];
    if (c == '+')
        return ' ';
    if (c != '%')
        return c;
    if (n - *at < 2)
        return -1;
    int v = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t h = p[(*at)++];
        const char *d = h ? strchr(digits, h >= 'A' && h <= 'F' ? h + 32 : h) : NULL;
        if (!d)
            return -1;
        v = v * 16 + (int)(d - digits);
    }
    return v;
}

static void check_text(struct ma_span raw, struct ma_span got)
{
    size_t n = 0;
    demand(got.p && got.p[got.n] == 0 && !memchr(got.p, 0, got.n));
    for (size_t at = 0; at < raw.n; n++) {
        int c = next_byte(raw.p, raw.n, &at);
        demand(n < got.n && c == got.p[n]);
    }
    demand(n == got.n);
}

static void check_pair(struct ma_span before, struct ma_span after, struct ma_span name, struct ma_span value)
{
    struct ma_span raw = ma_span_of(before.p, before.n - after.n);
    while (raw.n > 0 && raw.p[0] == '&')
        raw = ma_span_of(raw.p + 1, raw.n - 1);
    if (raw.n > 0 && raw.p[raw.n - 1] == '&')
        raw.n--;
    demand(raw.n > 0 && !memchr(raw.p, '&', raw.n));
    const uint8_t *eq = memchr(raw.p, '=', raw.n);
    size_t n = eq ? (size_t)(eq - raw.p) : raw.n;
    check_text(ma_span_of(raw.p, n), name);
    check_text(eq ? ma_span_of(eq + 1, raw.n - n - 1) : MA_LIT(""), value);
}

static void check_again(struct ma_arena *a, struct ma_span name, struct ma_span value)
{
    const char *n = ma_pct_encode(a, name), *v = ma_pct_encode(a, value);
    const char *text = n && v ? ma_arena_printf(a, "%s=%s", n, v) : NULL;
    if (!text)
        return;
    struct ma_span rest = ma_span_str(text), n2, v2;
    int r = ma_form_next(a, &rest, &n2, &v2);
    demand(r == MA_E_NOMEM || (r == MA_OK && rest.n == 0 && ma_span_eq(name, n2) && ma_span_eq(value, v2)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    struct ma_span rest = ma_span_of(data, size), name, value;
    if (!a || size > 65536)
        return 0;
    for (;;) {
        struct ma_span before = rest;
        int r = ma_form_next(a, &rest, &name, &value);
        demand(r == MA_OK || r == MA_E_NOTFOUND || r == MA_E_PARSE || r == MA_E_NOMEM);
        demand(rest.n <= before.n && rest.p + rest.n == before.p + before.n);
        if (r == MA_E_NOTFOUND)
            demand(rest.n == 0);
        if (r != MA_OK)
            return 0;
        demand(rest.n < before.n);
        check_pair(before, rest, name, value);
        check_again(a, name, value);
    }
}

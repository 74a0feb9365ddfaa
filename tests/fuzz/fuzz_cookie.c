/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: Cookie headers. A cookie is found where a plain walk over the header finds it, and nowhere else. The
 * first line of the input is the name, the rest the header.
 */
#include "ma/web.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static bool blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first "name=…" that begins the header or follows a semicolon, up to the next one, without blanks around. */
static struct ma_span second_opinion(struct ma_span h, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < h.n; i++) {
        size_t end = i;
        if (i > 0 && h.p[i - 1] != ';')
            continue;
        while (end < h.n && h.p[end] != ';')
            end++;
        size_t from = i;
        while (from < end && blank(h.p[from]))
            from++;
        while (end > from && blank(h.p[end - 1]))
            end--;
        if (end - from > n && memcmp(h.p + from, name, n) == 0 && h.p[from + n] == '=')
            return ma_span_of(h.p + from + n + 1, end - from - n - 1);
    }
    return MA_SPAN_NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[64];
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    size_t n = line ? (size_t)(line - data) : 0;
    if (n == 0 || n >= sizeof name || memchr(data, 0, n))
        return 0;
    memcpy(name, data, n);
    name[n] = '\0';
    struct ma_ctx ctx = {.req = {.cookie = ma_span_of(line + 1, size - n - 1)}};
    struct ma_span got = ma_cookie(&ctx, name), want = second_opinion(ctx.req.cookie, name);
    demand((got.p == NULL) == (want.p == NULL) && ma_span_eq(got, want));
    demand(!got.p || (got.p > line && got.p + got.n <= data + size && !memchr(got.p, ';', got.n)));
    return 0;
}

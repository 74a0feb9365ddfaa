/* SPDX-License-Identifier: Apache-2.0
 * Words, lists, URLs and faults, as the parts of the module need them.
 */
#include "ma/provider.h"
#include "int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SCOPE_MAX 512u /* bytes of one scope */
#define URL_MAX 2048u  /* bytes of an endpoint */

int ma_provider_fail(struct ma_provider_fault *f, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->why, sizeof(f->why), fmt, ap);
    va_end(ap);
    return err;
}

static bool is_one_of(uint8_t c, const char *separators)
{
    return c && strchr(separators, c);
}

bool ma_next_word(struct ma_span *rest, const char *separators, struct ma_span *ret)
{
    size_t i = 0, end;
    while (i < rest->n && is_one_of(rest->p[i], separators))
        i++;
    for (end = i; end < rest->n && !is_one_of(rest->p[end], separators);)
        end++;
    if (end == i)
        return false;
    *ret = ma_span_of(rest->p + i, end - i);
    *rest = ma_span_of(rest->p + end, rest->n - end);
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    const struct ma_span *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int d = n ? memcmp(x->p, y->p, n) : 0;
    return d ? d : (x->n > y->n) - (x->n < y->n);
}

void ma_list_sort_unique(struct ma_span_list *l)
{
    size_t n = 0;
    if (l->n)
        qsort(l->v, l->n, sizeof(*l->v), by_bytes);
    for (size_t i = 0; i < l->n; i++) {
        if (n == 0 || !ma_span_eq(l->v[n - 1], l->v[i]))
            l->v[n++] = l->v[i];
    }
    l->n = n;
}

bool ma_scope_ok(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] > 0x7E || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    }
    return s.n > 0 && s.n <= SCOPE_MAX;
}

bool ma_endpoint_ok(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] > 0x7E || s.p[i] == '#')
            return false;
    }
    return s.n <= URL_MAX && ((s.n > 8 && strncasecmp((const char *)s.p, "https://", 8) == 0) ||
                              (s.n > 7 && strncasecmp((const char *)s.p, "http://", 7) == 0));
}

struct ma_span ma_user_id_field(const struct ma_state_connection *c)
{
    const char *of_preset = c->provider.preset->user_id_field;
    if (c->provider.user_id_field.n)
        return c->provider.user_id_field;
    return of_preset && of_preset[0] ? ma_span_str(of_preset) : MA_LIT("sub");
}

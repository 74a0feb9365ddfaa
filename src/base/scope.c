/* SPDX-License-Identifier: Apache-2.0
 * Names and bits of the API's scopes.
 */
#include "ma/scope.h"

#define SCOPE_ROW(name, bit, text) {name, MA_LIT(text)},
static const struct {
    ma_scopes bit;
    struct ma_span name;
} scope_rows[] = {MA_SCOPES(SCOPE_ROW)};
#undef SCOPE_ROW

ma_scopes ma_scope_parse(struct ma_span name)
{
    for (size_t i = 0; i < MA_COUNT(scope_rows); i++) {
        if (ma_span_eq(name, scope_rows[i].name))
            return scope_rows[i].bit;
    }
    return 0;
}

ma_scopes ma_scope_parse_list(struct ma_span list)
{
    ma_scopes bits = 0;
    while (list.n) {
        const uint8_t *blank = memchr(list.p, ' ', list.n);
        size_t n = blank ? (size_t)(blank - list.p) : list.n;
        bits |= ma_scope_parse(ma_span_of(list.p, n));
        n += blank ? 1 : 0;
        list = ma_span_of(list.p + n, list.n - n);
    }
    return bits;
}

const char *ma_scope_name(ma_scopes bit)
{
    for (size_t i = 0; i < MA_COUNT(scope_rows); i++) {
        if (scope_rows[i].bit == bit)
            return (const char *)scope_rows[i].name.p;
    }
    return NULL;
}

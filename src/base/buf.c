/* SPDX-License-Identifier: Apache-2.0
 * Growable byte buffer with a maximum and a sticky error.
 */
#include "ma/buf.h"

#include "int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 64u

void ma_buf_init(struct ma_buf *b, size_t max)
{
    *b = (struct ma_buf){NULL, 0, 0, max, NULL, MA_OK};
}

/* cap + 1 bytes are always allocated: formatted text may place its NUL behind a full buffer. */
static bool grow_arena(struct ma_buf *b, size_t cap)
{
    if (ma_arena_extend(b->arena, b->p, b->cap + 1, cap + 1)) {
        b->cap = cap;
        return true;
    }
    uint8_t *p = ma_arena_alloc(b->arena, cap + 1);
    if (!p)
        return false;
    if (b->n)
        memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = cap;
    return true;
}

/* Not realloc: it may move the bytes and leave the old copy unwiped. */
static bool grow_heap(struct ma_buf *b, size_t cap)
{
    uint8_t *p = malloc(cap + 1);
    if (!p)
        return false;
    if (b->p) {
        memcpy(p, b->p, b->n);
        explicit_bzero(b->p, b->n);
        free(b->p);
    }
    b->p = p;
    b->cap = cap;
    return true;
}

static bool buf_grow(struct ma_buf *b, size_t need)
{
    size_t limit = b->max < SIZE_MAX ? b->max : SIZE_MAX - 1;
    if (need > limit) {
        b->err = MA_E_RANGE;
        return false;
    }
    size_t cap = b->cap < CAP_MIN / 2 ? CAP_MIN : b->cap > limit / 2 ? limit : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > limit)
        cap = limit;
    if (b->arena ? grow_arena(b, cap) : grow_heap(b, cap))
        return true;
    b->err = MA_E_NOMEM;
    return false;
}

void ma_buf_init_arena(struct ma_buf *b, struct ma_arena *a, size_t hint, size_t max)
{
    *b = (struct ma_buf){NULL, 0, 0, max, a, MA_OK};
    size_t cap = hint < max ? hint : max;
    if (cap && cap < SIZE_MAX && !grow_arena(b, cap))
        b->err = MA_E_NOMEM;
}

void ma_buf_free(struct ma_buf *b)
{
    if (!b->arena && b->p) {
        explicit_bzero(b->p, b->n);
        free(b->p);
    }
    *b = (struct ma_buf){NULL, 0, 0, b->max, b->arena, MA_OK};
}

void ma_buf_clear(struct ma_buf *b)
{
    b->n = 0;
    b->err = MA_OK;
}

uint8_t *ma_buf_reserve(struct ma_buf *b, size_t n)
{
    if (b->err)
        return NULL;
    if (b->p && n <= b->cap - b->n)
        return b->p + b->n;
    size_t need;
    if (!ma_add_ok(b->n, n, &need)) {
        b->err = MA_E_RANGE;
        return NULL;
    }
    return buf_grow(b, need) ? b->p + b->n : NULL;
}

void ma_buf_put(struct ma_buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    uint8_t *to = ma_buf_reserve(b, n);
    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void ma_buf_span(struct ma_buf *b, struct ma_span s)
{
    ma_buf_put(b, s.p, s.n);
}

void ma_buf_str(struct ma_buf *b, const char *s)
{
    ma_buf_put(b, s, strlen(s));
}

void ma_buf_byte(struct ma_buf *b, uint8_t c)
{
    uint8_t *to = ma_buf_reserve(b, 1);
    if (!to)
        return;
    *to = c;
    b->n++;
}

void ma_buf_printf(struct ma_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->err = b->err ? b->err : MA_E_INVAL;
        return;
    }
    uint8_t *to = ma_buf_reserve(b, (size_t)n);
    if (!to)
        return;
    va_start(ap, fmt);
    (void)vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

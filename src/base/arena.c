/* SPDX-License-Identifier: Apache-2.0
 * Region allocator: a list of chunks that double in size, wiped on reset.
 */
#include "ma/arena.h"

#include "int.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#define REDZONE 16u /* unreadable bytes after each block */
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define REDZONE 0u
#endif

#define ALIGN 16u
#define CHUNK_MIN 64u

struct chunk {
    struct chunk *next; /* the chunk before this one in time; NULL for the first */
    size_t size;
    size_t used; /* multiple of ALIGN */
    alignas(ALIGN) uint8_t data[];
};

struct ma_arena {
    struct chunk *cur;
    size_t total; /* sum of chunk sizes */
    size_t max;
    size_t first_size;
    size_t next_size;
};

/* noinline: gcc 12 would take poisoning fresh memory for a read of it. */
static __attribute__((noinline)) void poison(uint8_t *p, size_t n)
{
    POISON(p, n);
}

static struct chunk *chunk_new(size_t size)
{
    size_t bytes;
    if (!ma_add_ok(size, sizeof(struct chunk), &bytes))
        return NULL;
    struct chunk *c = malloc(bytes);
    if (!c)
        return NULL;
    c->next = NULL;
    c->size = size;
    c->used = 0;
    poison(c->data, size);
    return c;
}

static void chunk_wipe(struct chunk *c)
{
    UNPOISON(c->data, c->used);
    explicit_bzero(c->data, c->used);
    c->used = 0;
}

static void chunk_free(struct chunk *c)
{
    chunk_wipe(c);
    UNPOISON(c->data, c->size);
    free(c);
}

struct ma_arena *ma_arena_new(size_t first_bytes, size_t max_bytes)
{
    size_t first = first_bytes < CHUNK_MIN ? CHUNK_MIN : first_bytes;
    if (first > max_bytes)
        first = max_bytes;
    first &= ~(size_t)(ALIGN - 1);
    struct ma_arena *a = malloc(sizeof(*a));
    if (!a)
        return NULL;
    *a = (struct ma_arena){chunk_new(first), first, max_bytes, first, first};
    if (!a->cur) {
        free(a);
        return NULL;
    }
    return a;
}

void ma_arena_free(struct ma_arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->cur; c;) {
        struct chunk *next = c->next;
        chunk_free(c);
        c = next;
    }
    free(a);
}

void ma_arena_free_p(struct ma_arena **a)
{
    ma_arena_free(*a);
    *a = NULL;
}

void ma_arena_reset(struct ma_arena *a)
{
    while (a->cur->next) {
        struct chunk *next = a->cur->next;
        chunk_free(a->cur);
        a->cur = next;
    }
    chunk_wipe(a->cur);
    poison(a->cur->data, a->cur->size);
    a->total = a->first_size;
    a->next_size = a->first_size;
}

/* The bytes a block of n takes from its chunk; false when the sum overflows. */
static bool block_step(size_t n, size_t *ret)
{
    size_t step;
    if (!ma_add_ok(n ? n : 1, (size_t)(ALIGN - 1 + REDZONE), &step))
        return false;
    *ret = step & ~(size_t)(ALIGN - 1);
    return true;
}

/* Adds a chunk of at least `step` bytes, as large as doubling and the total allow. */
static bool arena_grow(struct ma_arena *a, size_t step)
{
    size_t left = (a->max - a->total) & ~(size_t)(ALIGN - 1);
    if (step > left)
        return false;
    size_t size;
    if (!ma_mul_ok(a->next_size, (size_t)2, &size) || size > left)
        size = left;
    if (size < step)
        size = step;
    struct chunk *c = chunk_new(size);
    if (!c)
        return false;
    c->next = a->cur;
    a->cur = c;
    a->total += size;
    a->next_size = size;
    return true;
}

void *ma_arena_alloc(struct ma_arena *a, size_t n)
{
    size_t step;
    if (!block_step(n, &step))
        return NULL;
    if (step > a->cur->size - a->cur->used && !arena_grow(a, step))
        return NULL;
    uint8_t *p = a->cur->data + a->cur->used;
    a->cur->used += step;
    UNPOISON(p, n);
    return p;
}

bool ma_arena_extend(struct ma_arena *a, const void *p, size_t old_n, size_t new_n)
{
    struct chunk *c = a->cur;
    size_t old_step, new_step;
    if (!p || !block_step(old_n, &old_step) || !block_step(new_n, &new_step) || old_step > c->used)
        return false;
    size_t start = c->used - old_step;
    if (c->data + start != (const uint8_t *)p || new_step > c->size - start)
        return false;
    c->used = start + new_step;
    UNPOISON(c->data + start, new_n);
    return true;
}

void *ma_arena_zalloc(struct ma_arena *a, size_t n)
{
    void *p = ma_arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *ma_arena_calloc(struct ma_arena *a, size_t count, size_t size)
{
    size_t n;
    if (!ma_mul_ok(count, size, &n))
        return NULL;
    return ma_arena_zalloc(a, n);
}

char *ma_arena_strdup(struct ma_arena *a, struct ma_span s)
{
    size_t n;
    if (!ma_add_ok(s.n, (size_t)1, &n))
        return NULL;
    char *p = ma_arena_alloc(a, n);
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct ma_span ma_arena_dup(struct ma_arena *a, struct ma_span s)
{
    char *p = ma_arena_strdup(a, s);
    return p ? ma_span_of(p, s.n) : MA_SPAN_NULL;
}

char *ma_arena_printf(struct ma_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *p = ma_arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

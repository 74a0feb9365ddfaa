/* SPDX-License-Identifier: Apache-2.0
 * Region allocator: everything allocated for one request dies with it, wiped.
 * Not thread-safe: an arena belongs to whoever owns its request. Free space is ASan-poisoned
 * in sanitizer builds.
 */
#ifndef MA_ARENA_H
#define MA_ARENA_H

#include "ma/base.h"

struct ma_arena;

#define MA_ARENA_FIRST 16384u        /* bytes of the first chunk, kept across resets */
#define MA_ARENA_MAX (1024u * 1024u) /* default total of a request's arena, in bytes */

/* Owned (ma_arena_free); NULL when out of memory. Chunks double from first_bytes; the sum of
 * chunks never passes max_bytes. */
struct ma_arena *ma_arena_new(size_t first_bytes, size_t max_bytes);
/* Wipes the used bytes (explicit_bzero) and frees everything. NULL is fine. */
void ma_arena_free(struct ma_arena *a);
void ma_arena_free_p(struct ma_arena **a);
/* Wipes the used bytes, keeps the first chunk for the next request. */
void ma_arena_reset(struct ma_arena *a);

/* arena memory aligned to 16, uninitialised; NULL over the limit. n == 0 gives a valid pointer. */
void *ma_arena_alloc(struct ma_arena *a, size_t n) __attribute__((malloc));
void *ma_arena_zalloc(struct ma_arena *a, size_t n) __attribute__((malloc));
/* count * size, overflow-checked, zeroed. */
void *ma_arena_calloc(struct ma_arena *a, size_t count, size_t size) __attribute__((malloc));
/* A NUL-terminated copy of s. NULL over the limit. */
char *ma_arena_strdup(struct ma_arena *a, struct ma_span s);
/* A copy as span (also NUL-terminated); p == NULL over the limit. */
struct ma_span ma_arena_dup(struct ma_arena *a, struct ma_span s);
char *ma_arena_printf(struct ma_arena *a, const char *fmt, ...) MA_PRINTF(2, 3);

#endif

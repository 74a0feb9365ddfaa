/* SPDX-License-Identifier: Apache-2.0
 * The file format, the guarded map, and the parts of the builder.
 */
#ifndef MA_BREACH_INT_H
#define MA_BREACH_INT_H

#include "ma/breached.h"

#define PAGE_BYTES 4096u
#define PAGE_DATA 4088u   /* before the sum */
#define HEADER_DATA 4064u /* before its sum */
#define FILE_VERSION 1u

static inline uint64_t breach_get(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static inline void breach_put(uint8_t *p, uint64_t v, unsigned n)
{
    for (unsigned i = n; i-- > 0; v >>= 8)
        p[i] = (uint8_t)v;
}

/* --- format.c --- */

MA_MUST_USE int breach_header_write(const struct ma_breached_info *info, uint8_t page[PAGE_BYTES]);
/* bytes: of the file. MA_E_PARSE with *ret_what (static). */
MA_MUST_USE int breach_header_read(const uint8_t page[PAGE_BYTES], uint64_t bytes, struct ma_breached_info *ret,
                                   const char **ret_what);
/* Puts the sum into a page of prefixes; number counts from 1. */
MA_MUST_USE int breach_page_seal(uint8_t page[PAGE_BYTES], uint64_t number);
/* MA_OK or MA_E_IO. */
MA_MUST_USE int breach_page_check(const uint8_t page[PAGE_BYTES], uint64_t number);
static inline unsigned breach_per_page(unsigned prefix_bytes)
{
    return PAGE_DATA / prefix_bytes;
}
static inline uint64_t breach_pages(const struct ma_breached_info *i)
{
    unsigned per = breach_per_page(i->prefix_bytes);
    return i->count / per + (i->count % per != 0);
}

/* --- map.c: a read-only map that survives the loss of its file --- */

struct breach_map {
    const uint8_t *p;
    size_t n;
    int slot;
};
/* The descriptor stays the caller's. MA_E_RANGE, MA_E_IO with errno. */
MA_MUST_USE int breach_map_open(int fd, size_t n, struct breach_map *ret);
void breach_map_close(struct breach_map *m);
/* Whether part of the file was missing at some access. */
bool breach_map_hurt(const struct breach_map *m);

/* --- sort.c: prefixes in any order, to ascending order without doubles --- */

struct breach_sort;
/* fd: an empty file, borrowed. Owned (breach_sort_free). */
MA_MUST_USE int breach_sort_new(int fd, unsigned prefix_bytes, size_t memory, struct breach_sort **ret);
void breach_sort_free(struct breach_sort *s);
MA_MUST_USE int breach_sort_add(struct breach_sort *s, const uint8_t *prefix);
/* After the last one: calls put for each, in order. */
MA_MUST_USE int breach_sort_merge(struct breach_sort *s, int (*put)(void *arg, const uint8_t *prefix), void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the files of base share among themselves.
 */
#ifndef MA_BASE_INT_H
#define MA_BASE_INT_H

#include "ma/arena.h"

/* Grows the block at p from old_n to new_n bytes in place. True only when p is the arena's latest
 * block and its chunk has room; nothing changes otherwise. */
bool ma_arena_extend(struct ma_arena *a, const void *p, size_t old_n, size_t new_n);

/* Eight bytes as one word, for the byte-parallel scans; any alignment. */
static inline uint64_t ma_load8(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}
#define MA_HIGH_BITS 0x8080808080808080u
#define MA_LOW_BITS 0x0101010101010101u

#endif

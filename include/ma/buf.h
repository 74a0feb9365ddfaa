/* SPDX-License-Identifier: Apache-2.0
 * A growable byte buffer that is born with a maximum and never grows past it.
 * Errors are sticky: after a failed append every further append does nothing and ma_buf_err()
 * says why, so writers check once at the end.
 */
#ifndef MA_BUF_H
#define MA_BUF_H

#include "ma/arena.h"

struct ma_buf {
    uint8_t *p;
    size_t n;
    size_t cap;
    size_t max;
    struct ma_arena *arena; /* NULL: malloc'ed, released by ma_buf_free */
    int err;                /* MA_OK, MA_E_NOMEM or MA_E_RANGE */
};

/* A malloc'ed buffer of at most max bytes. Nothing is allocated yet. */
void ma_buf_init(struct ma_buf *b, size_t max);
/* A buffer in an arena; `hint` bytes are reserved at once. Never freed on its own. */
void ma_buf_init_arena(struct ma_buf *b, struct ma_arena *a, size_t hint, size_t max);
/* Wipes and releases a malloc'ed buffer; leaves it empty and usable. */
void ma_buf_free(struct ma_buf *b);
/* Empties without releasing memory and clears the sticky error. */
void ma_buf_clear(struct ma_buf *b);

void ma_buf_put(struct ma_buf *b, const void *p, size_t n);
void ma_buf_span(struct ma_buf *b, struct ma_span s);
void ma_buf_str(struct ma_buf *b, const char *s);
void ma_buf_byte(struct ma_buf *b, uint8_t c);
void ma_buf_printf(struct ma_buf *b, const char *fmt, ...) MA_PRINTF(2, 3);
/* Reserves n writable bytes at the end and returns them (not yet counted in b->n), or NULL. */
uint8_t *ma_buf_reserve(struct ma_buf *b, size_t n);

static inline int ma_buf_err(const struct ma_buf *b)
{
    return b->err;
}
static inline struct ma_span ma_buf_view(const struct ma_buf *b)
{
    return (struct ma_span){b->p, b->n};
}

#endif

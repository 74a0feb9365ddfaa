/* SPDX-License-Identifier: Apache-2.0
 * QR codes (ISO/IEC 18004). Thread safe.
 */
#ifndef MA_QR_H
#define MA_QR_H

#include "ma/arena.h"

struct ma_qr {
    int size;               /* modules along one side, without the quiet zone */
    const uint8_t *modules; /* size × size, row by row, 1 dark; arena */
};
/* Encodes bytes at error correction level M in the smallest version that holds them. MA_E_RANGE when none does. */
MA_MUST_USE int ma_qr_encode(struct ma_arena *a, struct ma_span text, struct ma_qr *ret);
/* The module at column x of row y, both from 0. */
static inline bool ma_qr_dark(const struct ma_qr *qr, int x, int y)
{
    return qr->modules[y * qr->size + x] != 0;
}

#endif

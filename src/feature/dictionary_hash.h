/* SPDX-License-Identifier: Apache-2.0
 * What the dictionary and the program that generates its table must agree on.
 *
 * The words lie one after the other in a blob, each behind one byte of length. A slot of the open
 * addressing table is 0 (free) or the position of a word's length byte plus one; the top bit marks
 * the words of the short list.
 */
#ifndef MA_DICTIONARY_HASH_H
#define MA_DICTIONARY_HASH_H

#include <stddef.h>
#include <stdint.h>

#define MA_DICT_SHORT 10000u     /* the first so many words are en_10k */
#define MA_DICT_WORD_MAX 72u     /* bytes; a longer password is in no list */
#define MA_DICT_SLOTS (1u << 18) /* 262144: 100,000 words fill 38 % */
#define MA_DICT_IN_SHORT (1u << 31)

/* FNV-1a with a final mix: the words are public, so flooding the table is no concern. */
static inline uint32_t ma_dict_hash(const uint8_t *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    return h ^ (h >> 13);
}

#endif

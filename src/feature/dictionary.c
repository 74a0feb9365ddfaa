/* SPDX-License-Identifier: Apache-2.0
 * The dictionaries of common passwords: one constant hash table, generated at build time.
 */
#include "ma/password.h"
#include "dictionary_hash.h"
#include "dictionary.inc"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* The word's slot, or 0 where a free slot ends the search. */
static uint32_t find(const uint8_t *w, size_t n)
{
    for (uint32_t i = ma_dict_hash(w, n);; i++) {
        uint32_t slot = dict_slots[i & (MA_DICT_SLOTS - 1)];
        uint32_t at = slot & ~MA_DICT_IN_SHORT;
        if (at == 0 || (dict_blob[at - 1] == n && memcmp(dict_blob + at, w, n) == 0))
            return slot;
    }
}

bool ma_dictionary_has(int which, struct ma_span word)
{
    uint8_t w[MA_DICT_WORD_MAX];
    if (word.n == 0 || word.n > sizeof w)
        return false;
    for (size_t i = 0; i < word.n; i++)
        w[i] = lower(word.p[i]);
    uint32_t slot = find(w, word.n);
    explicit_bzero(w, sizeof w);
    return slot != 0 && (which == 1 || (slot & MA_DICT_IN_SHORT) != 0);
}

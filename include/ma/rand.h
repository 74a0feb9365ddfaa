/* SPDX-License-Identifier: Apache-2.0
 * Randomness, injected: production uses getrandom(2), tests a seeded stream.
 */
#ifndef MA_RAND_H
#define MA_RAND_H

#include "ma/base.h"

struct ma_rand {
    int (*fill)(const struct ma_rand *, void *p, size_t n); /* MA_OK or MA_E_IO; never partial */
    void *data;
};

const struct ma_rand *ma_rand_system(void);

/* A seeded stream for unit tests (SplitMix64; not for production). Not thread-safe. */
struct ma_rand_seeded {
    struct ma_rand rand;
    uint64_t state;
};
void ma_rand_seeded_init(struct ma_rand_seeded *r, uint64_t seed);

/* n characters, uniformly from the alphabet (rejection sampling), NUL-terminated into out[n+1]. */
MA_MUST_USE int ma_rand_chars(const struct ma_rand *r, const char *alphabet, char *out, size_t n);
#define MA_ALNUM62 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define MA_ALNUM36 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define MA_DIGITS "0123456789"

#endif

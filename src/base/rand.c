/* SPDX-License-Identifier: Apache-2.0
 * System randomness, a seeded stream for tests, and uniform characters from an alphabet.
 */
#include "ma/rand.h"

#include <errno.h>
#include <sys/random.h>

#define CHARS_BLOCK 64u        /* bytes drawn at once */
#define CHARS_SPARE_ROUNDS 16u /* rounds allowed beyond one per character before the source is called broken */

static int system_fill(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    uint8_t *at = p;
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom(at + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            explicit_bzero(p, n);
            return MA_E_IO;
        }
        done += (size_t)got;
    }
    return MA_OK;
}

const struct ma_rand *ma_rand_system(void)
{
    static const struct ma_rand sys = {system_fill, NULL};
    return &sys;
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int seeded_fill(const struct ma_rand *r, void *p, size_t n)
{
    struct ma_rand_seeded *s = r->data;
    uint8_t *at = p;
    while (n) {
        uint64_t w = splitmix64(&s->state);
        size_t k = n < sizeof(w) ? n : sizeof(w);
        for (size_t i = 0; i < k; i++)
            *at++ = (uint8_t)(w >> (8 * i));
        n -= k;
    }
    return MA_OK;
}

void ma_rand_seeded_init(struct ma_rand_seeded *r, uint64_t seed)
{
    *r = (struct ma_rand_seeded){{seeded_fill, r}, seed};
}

/* Bytes at or past the largest multiple of the alphabet's size are dropped: a plain modulo would
 * favour the first characters. */
static size_t take_chars(const uint8_t *bytes, const char *alphabet, size_t size, char *out, size_t n)
{
    size_t limit = 256 - 256 % size, got = 0;
    for (size_t i = 0; i < CHARS_BLOCK && got < n; i++) {
        if (bytes[i] < limit)
            out[got++] = alphabet[bytes[i] % size];
    }
    return got;
}

int ma_rand_chars(const struct ma_rand *r, const char *alphabet, char *out, size_t n)
{
    uint8_t bytes[CHARS_BLOCK];
    size_t size = strlen(alphabet), got = 0;
    int err = size && size <= 256 ? MA_OK : MA_E_INVAL;
    for (size_t round = 0; err == MA_OK && got < n; round++) {
        if (round > n + CHARS_SPARE_ROUNDS)
            err = MA_E_IO;
        else if ((err = r->fill(r, bytes, sizeof(bytes))) == MA_OK)
            got += take_chars(bytes, alphabet, size, out + got, n - got);
    }
    explicit_bzero(bytes, sizeof(bytes));
    if (err != MA_OK)
        explicit_bzero(out, n);
    out[n] = '\0';
    return err;
}

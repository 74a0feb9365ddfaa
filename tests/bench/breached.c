/* SPDX-License-Identifier: Apache-2.0
 * Breached passwords: lines to build a list of, and searches in one.
 * usage: breached lines N          prints N lines, in no order
 *        breached search FILE N    searches N of those passwords and N others for two seconds; prints searches per
 * second
 */
#include "ma/breached.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/clock.h"
#include "ma/crypto.h"

enum { SEARCH_US = 2000000, BATCH = 1000 };

static int hash_of(const char *what, uint64_t i, uint8_t hash[MA_SHA1_LEN])
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s password %llu", what, (unsigned long long)i);
    return ma_sha1(ma_span_of(text, (size_t)n), hash);
}

static int lines(uint64_t n)
{
    uint8_t hash[MA_SHA1_LEN];
    for (uint64_t i = 0; i < n; i++) {
        if (hash_of("breached", i, hash) < 0)
            return EXIT_FAILURE;
        for (size_t k = 0; k < sizeof hash; k++)
            (void)printf("%02X", hash[k]);
        (void)printf(":%llu\n", (unsigned long long)(i % 100 + 1));
    }
    return EXIT_SUCCESS;
}

/* Far apart, so that no search is helped by the one before. */
static uint64_t scatter(uint64_t i, uint64_t n)
{
    return i * 0x9e3779b97f4a7c15u % n;
}

static int search(const char *path, uint64_t n)
{
    struct ma_breached_file *f = NULL;
    char why[256];
    uint8_t hash[MA_SHA1_LEN];
    if (ma_breached_open(path, &f, why) < 0) {
        (void)fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    uint64_t done = 0, wrong = 0;
    int64_t start = ma_mono_us(), now = start;
    for (; now - start < SEARCH_US; now = ma_mono_us())
        for (int i = 0; i < BATCH; i++, done++) {
            bool there = done % 2 == 0;
            int r = hash_of(there ? "breached" : "other", scatter(done, n), hash);
            if (r == MA_OK)
                r = ma_breached_search(f, hash);
            wrong += r != (there ? MA_OK : MA_E_NOTFOUND);
        }
    ma_breached_close(f);
    (void)printf("%.0f\n", (double)done * 1e6 / (double)(now - start));
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (ma_crypto_init() < 0)
        return EXIT_FAILURE;
    if (argc == 3 && strcmp(argv[1], "lines") == 0)
        return lines(strtoull(argv[2], NULL, 10));
    if (argc == 4 && strcmp(argv[1], "search") == 0)
        return search(argv[2], strtoull(argv[3], NULL, 10));
    (void)fputs("usage: breached lines N | breached search FILE N\n", stderr);
    return EXIT_FAILURE;
}

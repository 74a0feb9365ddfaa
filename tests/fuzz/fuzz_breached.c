/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: files of breached passwords. The first byte says whether sums are put right before the file is opened
 * (so that what lies behind them is reached) and whether it is filled up to whole pages. In a file that is found to be
 * whole, every prefix is found.
 */
#include "ma/breached.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/breach/int.h"
#include "ma/crypto.h"

#define PAGES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void put_sums(uint8_t *file, size_t n)
{
    if (n < PAGE_BYTES)
        return;
    demand(ma_sha256(ma_span_of(file, HEADER_DATA), file + HEADER_DATA) == MA_OK);
    for (size_t i = 1; i < n / PAGE_BYTES; i++)
        demand(breach_page_seal(file + i * PAGE_BYTES, i) == MA_OK);
}

static void search_all(const struct ma_breached_file *f, const uint8_t *file, size_t n)
{
    struct ma_breached_info info;
    char why[256];
    ma_breached_describe(f, &info);
    bool whole = ma_breached_verify(f, why) == MA_OK;
    unsigned per = breach_per_page(info.prefix_bytes);
    demand(info.bytes == n);
    for (uint64_t i = 0; i < info.count; i++) {
        uint8_t hash[MA_BREACHED_HASH_LEN] = {0};
        memcpy(hash, file + (i / per + 1) * PAGE_BYTES + i % per * info.prefix_bytes, info.prefix_bytes);
        int r = ma_breached_search(f, hash);
        demand(!whole || r == MA_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    char path[64], why[256];
    struct ma_breached_file *f = NULL;
    if (size < 1 || size > PAGES_MAX * PAGE_BYTES)
        return 0;
    if (!ready)
        demand(ma_crypto_init() == MA_OK);
    ready = true;
    uint8_t *file = calloc(PAGES_MAX, PAGE_BYTES);
    demand(file != NULL);
    size_t n = size - 1;
    memcpy(file, data + 1, n);
    if (data[0] & 2)
        n = (n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (data[0] & 1)
        put_sums(file, n);
    int fd = memfd_create("list", MFD_CLOEXEC);
    demand(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, file, n) == (ssize_t)n);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ma_breached_open(path, &f, why) == MA_OK)
        search_all(f, file, n);
    else
        demand(f == NULL && why[0]);
    ma_breached_close(f);
    (void)close(fd);
    free(file);
    return 0;
}

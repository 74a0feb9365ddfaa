/* SPDX-License-Identifier: Apache-2.0
 * Pages of the breached-password file: writing, reading, sums.
 */
#include "int.h"

#include "ma/crypto.h"

static const char magic[8] = "MABREACH";

enum { AT_VERSION = 8, AT_PREFIX = 12, AT_COUNT = 16, AT_MIN_COUNT = 24, AT_ZEROS = 32, SUM_BYTES = 8 };

int breach_header_write(const struct ma_breached_info *info, uint8_t page[PAGE_BYTES])
{
    memset(page, 0, PAGE_BYTES);
    memcpy(page, magic, sizeof magic);
    breach_put(page + AT_VERSION, FILE_VERSION, 4);
    breach_put(page + AT_PREFIX, info->prefix_bytes, 4);
    breach_put(page + AT_COUNT, info->count, 8);
    breach_put(page + AT_MIN_COUNT, info->min_count, 8);
    return ma_sha256(ma_span_of(page, HEADER_DATA), page + HEADER_DATA);
}

static const char *header_fault(const uint8_t page[PAGE_BYTES], uint64_t bytes, struct ma_breached_info *ret)
{
    uint8_t sum[MA_SHA256_LEN];
    if (memcmp(page, magic, sizeof magic) != 0)
        return "is not a list of breached passwords";
    if (breach_get(page + AT_VERSION, 4) != FILE_VERSION)
        return "has a format that this version does not know";
    if (ma_sha256(ma_span_of(page, HEADER_DATA), sum) < 0 || memcmp(sum, page + HEADER_DATA, sizeof sum) != 0)
        return "has a damaged header";
    *ret = (struct ma_breached_info){
        .count = breach_get(page + AT_COUNT, 8),
        .bytes = bytes,
        .min_count = breach_get(page + AT_MIN_COUNT, 8),
        .prefix_bytes = (unsigned)breach_get(page + AT_PREFIX, 4),
    };
    if (ret->prefix_bytes < MA_BREACHED_PREFIX_MIN || ret->prefix_bytes > MA_BREACHED_PREFIX_MAX)
        return "has prefixes of a length that cannot be";
    uint64_t pages = breach_pages(ret), want;
    if (!ma_add_ok(pages, 1u, &pages) || !ma_mul_ok(pages, (uint64_t)PAGE_BYTES, &want) || want != bytes)
        return want < bytes ? "is longer than it says" : "is cut short";
    return NULL;
}

int breach_header_read(const uint8_t page[PAGE_BYTES], uint64_t bytes, struct ma_breached_info *ret,
                       const char **ret_what)
{
    *ret_what = header_fault(page, bytes, ret);
    return *ret_what ? MA_E_PARSE : MA_OK;
}

static int page_sum(const uint8_t page[PAGE_BYTES], uint64_t number, uint8_t sum[MA_SHA256_LEN])
{
    uint8_t text[8 + PAGE_DATA];
    breach_put(text, number, 8);
    memcpy(text + 8, page, PAGE_DATA);
    return ma_sha256(ma_span_of(text, sizeof text), sum);
}

int breach_page_seal(uint8_t page[PAGE_BYTES], uint64_t number)
{
    uint8_t sum[MA_SHA256_LEN];
    int r = page_sum(page, number, sum);
    if (r == MA_OK)
        memcpy(page + PAGE_DATA, sum, SUM_BYTES);
    return r;
}

int breach_page_check(const uint8_t page[PAGE_BYTES], uint64_t number)
{
    uint8_t sum[MA_SHA256_LEN];
    int r = page_sum(page, number, sum);
    if (r < 0)
        return r;
    return memcmp(page + PAGE_DATA, sum, SUM_BYTES) == 0 ? MA_OK : MA_E_IO;
}

/* SPDX-License-Identifier: Apache-2.0
 * Known-answer tests at start: a miscompiled or replaced library is noticed before it is trusted.
 */
#include "ma/crypto.h"

#include "int.h"

/* FIPS 180-4 example: SHA-256("abc"). */
static bool sha256_ok(void)
{
    static const uint8_t want[MA_SHA256_LEN] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                                0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                                0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t got[MA_SHA256_LEN];

    return ma_sha256(MA_LIT("abc"), got) == MA_OK && memcmp(got, want, sizeof want) == 0;
}

/* RFC 4231 §4.3 and RFC 2202 §3, test case 2. */
static bool hmac_ok(void)
{
    static const uint8_t want256[MA_SHA256_LEN] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                                   0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                                   0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const uint8_t want1[20] = {0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74,
                                      0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79};
    const struct ma_span key = MA_LIT("Jefe");
    const struct ma_span text = MA_LIT("what do ya want for nothing?");
    uint8_t got[MA_SHA256_LEN];

    if (ma_hmac_sha256(key, text, got) != MA_OK || memcmp(got, want256, sizeof want256) != 0)
        return false;
    return ma_hmac_sha1(key, text, got) == MA_OK && memcmp(got, want1, sizeof want1) == 0;
}

/* RFC 5869 A.3. */
static bool hkdf_ok(void)
{
    static const uint8_t want[42] = {0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80,
                                     0x2a, 0x06, 0x3c, 0x5a, 0x31, 0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1,
                                     0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f, 0x3c, 0x73, 0x8d, 0x2d, 0x9d,
                                     0x20, 0x13, 0x95, 0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8};
    uint8_t key[22];
    uint8_t got[sizeof want];

    memset(key, 0x0b, sizeof key);
    return ma_hkdf_sha256(ma_span_of(key, sizeof key), MA_SPAN_NULL, got, sizeof got) == MA_OK &&
           memcmp(got, want, sizeof want) == 0;
}

/* Test case 14 of the GCM specification (McGrew, Viega), and the refusal of a changed tag. */
static bool aead_ok(void)
{
    static const uint8_t zero[MA_AEAD_KEY_LEN] = {0};
    static const uint8_t want[32] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5,
                                     0xd3, 0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99,
                                     0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    uint8_t got[sizeof want];
    uint8_t plain[16];

    if (ma_aead_seal(zero, zero, MA_SPAN_NULL, ma_span_of(zero, 16), got) != MA_OK ||
        memcmp(got, want, sizeof want) != 0 ||
        ma_aead_open(zero, zero, MA_SPAN_NULL, ma_span_of(got, sizeof got), plain) != MA_OK)
        return false;
    got[sizeof got - 1] ^= 1;
    return ma_aead_open(zero, zero, MA_SPAN_NULL, ma_span_of(got, sizeof got), plain) == MA_E_AUTH;
}

int ma_crypto_selftest(void)
{
    return sha256_ok() && hmac_ok() && hkdf_ok() && aead_ok() ? MA_OK : MA_E_CRYPTO;
}

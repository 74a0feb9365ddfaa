/* SPDX-License-Identifier: Apache-2.0
 * AES-256-GCM (NIST SP 800-38D) with 96-bit nonces and 128-bit tags.
 */
#include "ma/crypto.h"

#include "int.h"

#include <limits.h>

static void cipher_ctx_free_p(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

/* The library counts in int. */
static bool fits_int(size_t n)
{
    return n <= INT_MAX - MA_AEAD_TAG_LEN;
}

static bool feed_aad(EVP_CIPHER_CTX *ctx, struct ma_span aad)
{
    int n = 0;

    return aad.n == 0 || EVP_CipherUpdate(ctx, NULL, &n, aad.p, (int)aad.n) == 1;
}

static bool feed_text(EVP_CIPHER_CTX *ctx, struct ma_span in, uint8_t *out)
{
    int n = 0;

    return in.n == 0 || (EVP_CipherUpdate(ctx, out, &n, in.p, (int)in.n) == 1 && (size_t)n == in.n);
}

/* GCM releases nothing at the end, but the call writes through its pointer. */
static bool finish(EVP_CIPHER_CTX *ctx)
{
    uint8_t rest[MA_AEAD_TAG_LEN];
    int n = 0;

    return EVP_CipherFinal_ex(ctx, rest, &n) == 1 && n == 0;
}

int ma_aead_seal(const uint8_t key[MA_AEAD_KEY_LEN], const uint8_t nonce[MA_AEAD_NONCE_LEN], struct ma_span aad,
                 struct ma_span in, uint8_t *out)
{
    const struct ma_crypto_table *tab = ma_crypto_table();
    MA_CLEANUP(cipher_ctx_free_p) EVP_CIPHER_CTX *ctx = tab ? EVP_CIPHER_CTX_new() : NULL;

    if (!fits_int(in.n) || !fits_int(aad.n))
        return MA_E_RANGE;
    if (!ctx || EVP_CipherInit_ex2(ctx, tab->gcm, key, nonce, 1, NULL) != 1 || !feed_aad(ctx, aad) ||
        !feed_text(ctx, in, out) || !finish(ctx) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, MA_AEAD_TAG_LEN, out + in.n) != 1)
        return ma_crypto_fail(tab ? MA_E_NOMEM : MA_E_CRYPTO);
    return MA_OK;
}

int ma_aead_open(const uint8_t key[MA_AEAD_KEY_LEN], const uint8_t nonce[MA_AEAD_NONCE_LEN], struct ma_span aad,
                 struct ma_span in, uint8_t *out)
{
    const struct ma_crypto_table *tab = ma_crypto_table();
    MA_CLEANUP(cipher_ctx_free_p) EVP_CIPHER_CTX *ctx = tab ? EVP_CIPHER_CTX_new() : NULL;
    uint8_t tag[MA_AEAD_TAG_LEN];

    if (in.n < MA_AEAD_TAG_LEN)
        return MA_E_AUTH;
    if (!fits_int(in.n) || !fits_int(aad.n))
        return MA_E_RANGE;
    const struct ma_span text = ma_span_of(in.p, in.n - MA_AEAD_TAG_LEN);
    memcpy(tag, in.p + text.n, sizeof tag);
    if (!ctx || EVP_CipherInit_ex2(ctx, tab->gcm, key, nonce, 0, NULL) != 1 || !feed_aad(ctx, aad) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, MA_AEAD_TAG_LEN, tag) != 1)
        return ma_crypto_fail(tab ? MA_E_NOMEM : MA_E_CRYPTO);
    if (!feed_text(ctx, text, out) || !finish(ctx)) {
        ma_wipe(out, text.n);
        return ma_crypto_fail(MA_E_AUTH);
    }
    return MA_OK;
}

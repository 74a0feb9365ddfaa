/* SPDX-License-Identifier: Apache-2.0
 * SHA-2 digests, HMAC (RFC 2104) and HKDF (RFC 5869). With algorithms that are there and lengths that are
 * right, OpenSSL refuses these for want of memory alone.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

enum { HKDF_BLOCKS_MAX = 255 }; /* RFC 5869 §2.3 */

static EVP_MD_CTX *thread_md(enum ma_md which)
{
    struct ma_crypto_thread *t = ma_crypto_thread();

    if (!t)
        return NULL;
    if (!t->md[which])
        t->md[which] = EVP_MD_CTX_new();
    return t->md[which];
}

int ma_digest(enum ma_md which, struct ma_span in, uint8_t out[MA_MD_MAX_LEN], size_t *ret_n)
{
    const struct ma_crypto_table *tab = ma_crypto_table();
    EVP_MD_CTX *ctx = thread_md(which);
    unsigned n = 0;

    if (!tab)
        return MA_E_CRYPTO;
    /* Initialising with the digest the context already has allocates nothing. */
    if (!ctx || EVP_DigestInit_ex2(ctx, tab->md[which], NULL) != 1 ||
        EVP_DigestUpdate(ctx, ma_span_ptr(in), in.n) != 1 || EVP_DigestFinal_ex(ctx, out, &n) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    *ret_n = n;
    return MA_OK;
}

int ma_sha256(struct ma_span in, uint8_t out[MA_SHA256_LEN])
{
    const struct ma_crypto_table *tab = ma_crypto_table();
    EVP_MD_CTX *ctx = thread_md(MA_MD_SHA256);

    if (!tab)
        return MA_E_CRYPTO;
    if (!ctx || EVP_DigestInit_ex2(ctx, tab->md[MA_MD_SHA256], NULL) != 1 ||
        EVP_DigestUpdate(ctx, ma_span_ptr(in), in.n) != 1 || EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    return MA_OK;
}

int ma_sha1(struct ma_span in, uint8_t out[MA_SHA1_LEN])
{
    uint8_t digest[MA_MD_MAX_LEN];
    size_t n = 0;
    int rc = ma_digest(MA_MD_SHA1, in, digest, &n);

    if (rc == MA_OK && n != MA_SHA1_LEN)
        rc = MA_E_CRYPTO;
    if (rc == MA_OK)
        memcpy(out, digest, MA_SHA1_LEN);
    ma_wipe(digest, sizeof digest);
    return rc;
}

int ma_jws_hash(enum ma_jws_alg alg, struct ma_span in, uint8_t out[MA_JWS_HASH_MAX], size_t *ret_n)
{
    const struct ma_jws_info *info = ma_jws_info(alg);

    return info ? ma_digest(info->md, in, out, ret_n) : MA_E_INVAL;
}

static void mac_ctx_free_p(EVP_MAC_CTX **ctx)
{
    EVP_MAC_CTX_free(*ctx);
}

static int hmac_run(const EVP_MAC_CTX *templ, struct ma_span key, const struct ma_span *parts, size_t n, uint8_t *out,
                    size_t out_n)
{
    /* The copy takes the key to its grave (wiped when freed); a kept context would hold it. */
    MA_CLEANUP(mac_ctx_free_p) EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(templ);
    size_t got = 0;

    /* NULL would mean "keep the key the template has". */
    if (!ctx || EVP_MAC_init(ctx, ma_span_ptr(key), key.n, NULL) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    for (size_t i = 0; i < n; i++) {
        if (EVP_MAC_update(ctx, ma_span_ptr(parts[i]), parts[i].n) != 1)
            return ma_crypto_fail(MA_E_NOMEM);
    }
    if (EVP_MAC_final(ctx, out, &got, out_n) != 1 || got != out_n)
        return ma_crypto_fail(MA_E_NOMEM);
    return MA_OK;
}

int ma_hmac_sha256_parts(struct ma_span key, const struct ma_span *parts, size_t n, uint8_t out[MA_SHA256_LEN])
{
    const struct ma_crypto_table *tab = ma_crypto_table();

    return tab ? hmac_run(tab->hmac_sha256, key, parts, n, out, MA_SHA256_LEN) : MA_E_CRYPTO;
}

int ma_hmac_sha256(struct ma_span key, struct ma_span in, uint8_t out[MA_SHA256_LEN])
{
    return ma_hmac_sha256_parts(key, &in, 1, out);
}

int ma_hmac_sha1(struct ma_span key, struct ma_span in, uint8_t out[20])
{
    const struct ma_crypto_table *tab = ma_crypto_table();

    return tab ? hmac_run(tab->hmac_sha1, key, &in, 1, out, MA_SHA1_LEN) : MA_E_CRYPTO;
}

static void kdf_ctx_free_p(EVP_KDF_CTX **ctx)
{
    EVP_KDF_CTX_free(*ctx);
}

/* OSSL_PARAM has no const; the KDF only reads. */
static OSSL_PARAM octets(const char *name, struct ma_span s)
{
    OSSL_PARAM p = OSSL_PARAM_construct_octet_string(name, NULL, s.n);
    const void *from = ma_span_ptr(s);

    memcpy(&p.data, &from, sizeof p.data);
    return p;
}

int ma_hkdf_sha256(struct ma_span key, struct ma_span info, uint8_t *out, size_t n)
{
    const struct ma_crypto_table *tab = ma_crypto_table();
    MA_CLEANUP(kdf_ctx_free_p) EVP_KDF_CTX *ctx = tab ? EVP_KDF_CTX_new(tab->hkdf) : NULL;
    char digest[] = "SHA2-256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                 octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_INFO, info),
                                 OSSL_PARAM_construct_end()};

    if (!tab || n > HKDF_BLOCKS_MAX * (size_t)MA_SHA256_LEN)
        return MA_E_CRYPTO;
    if (!ctx || EVP_KDF_derive(ctx, out, n, params) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    return MA_OK;
}

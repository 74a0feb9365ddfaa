/* SPDX-License-Identifier: Apache-2.0
 * JWS signatures (RFC 7518 §3, RFC 8037 §3.1) with private keys.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h> /* ECDSA_SIG */
#include <openssl/rsa.h>

static void md_ctx_free_p(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}

static void sig_free_p(ECDSA_SIG **p)
{
    ECDSA_SIG_free(*p);
}

/* DER to raw r‖s of exactly sig_len bytes (RFC 7518 §3.4). */
static int der_to_raw(const uint8_t *der, size_t n, size_t sig_len, uint8_t *out)
{
    const int half = (int)(sig_len / 2);
    MA_CLEANUP(sig_free_p) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    if (!sig || BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half) != half ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half) != half)
        return MA_E_CRYPTO;
    return MA_OK;
}

static bool set_up(EVP_MD_CTX *c, const struct ma_key *k, const struct ma_jws_info *info)
{
    EVP_PKEY_CTX *p = NULL;
    /* Ed25519 hashes the message itself (RFC 8032 §5.1.6). */
    const char *md = k->type == MA_KEY_ED25519 ? NULL : EVP_MD_get0_name(ma_crypto_table()->md[info->md]);
    if (EVP_DigestSignInit_ex(c, &p, md, NULL, NULL, k->pkey, NULL) != 1)
        return false;
    return !info->pss || (EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 &&
                          EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) == 1);
}

int ma_key_sign(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input, uint8_t out[MA_JWS_SIG_MAX],
                size_t *ret_n)
{
    if (!k->has_private || !ma_key_fits(k, alg))
        return MA_E_UNSUPPORTED;
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = sizeof(sig);
    ma_crypto_watch();
    MA_CLEANUP(md_ctx_free_p) EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c)
        return MA_E_NOMEM;
    if (!set_up(c, k, ma_jws_info(alg)) || EVP_DigestSign(c, sig, &n, ma_span_ptr(input), input.n) != 1)
        return ma_crypto_fail(ma_crypto_starved() ? MA_E_NOMEM : MA_E_CRYPTO);
    if (k->type != MA_KEY_RSA && k->type != MA_KEY_ED25519) {
        if (der_to_raw(sig, n, k->sig_len, out) < 0)
            return ma_crypto_fail(ma_crypto_starved() ? MA_E_NOMEM : MA_E_CRYPTO);
        n = k->sig_len;
    } else {
        memcpy(out, sig, n);
    }
    *ret_n = n;
    return MA_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * JWS signature verification (RFC 7515, RFC 7518 §3, RFC 8037 §3.1) on contexts kept per thread and key.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h> /* ECDSA_SIG */
#include <openssl/rsa.h>

/* SEQUENCE of two INTEGERs of up to 66 bytes, each with a possible leading zero. */
#define ECDSA_DER_MAX 144

static bool set_pss(EVP_PKEY_CTX *ctx, const EVP_MD *md)
{
    /* RFC 7518 §3.5: MGF1 with the same hash, a salt as long as the digest. */
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static EVP_PKEY_CTX *context_new(const struct ma_key *k, const struct ma_jws_info *info)
{
    const EVP_MD *md = ma_crypto_table()->md[info->md];
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL); /* takes its own reference */

    if (ctx && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
        (!info->pss || set_pss(ctx, md)))
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* The thread's context for this key and algorithm; the least recently used one makes room. Keys
 * seen once (proofs of possession) so never push out the one every request uses. */
static EVP_PKEY_CTX *context_for(const struct ma_key *k, enum ma_jws_alg alg, const struct ma_jws_info *info)
{
    struct ma_crypto_thread *t = ma_crypto_thread();

    if (!t)
        return NULL;
    struct ma_verify_slot *oldest = &t->slots[0];
    t->tick++;
    for (size_t i = 0; i < MA_COUNT(t->slots); i++) {
        struct ma_verify_slot *s = &t->slots[i];
        if (s->serial == k->serial && s->alg == alg) {
            s->used = t->tick;
            return s->ctx;
        }
        if (s->used < oldest->used)
            oldest = s;
    }
    EVP_PKEY_CTX *ctx = context_new(k, info);
    if (!ctx)
        return NULL;
    EVP_PKEY_CTX_free(oldest->ctx);
    *oldest = (struct ma_verify_slot){k->serial, t->tick, ctx, alg};
    return ctx;
}

static void sig_free_p(ECDSA_SIG **p)
{
    ECDSA_SIG_free(*p);
}

/* Raw r‖s (RFC 7518 §3.4) to the DER that OpenSSL verifies; 0 when that fails. */
static size_t raw_to_der(struct ma_span raw, uint8_t der[ECDSA_DER_MAX])
{
    MA_CLEANUP(sig_free_p) ECDSA_SIG *sig = ECDSA_SIG_new();
    const int half = (int)(raw.n / 2);
    BIGNUM *r = BN_bin2bn(raw.p, half, NULL);
    BIGNUM *s = BN_bin2bn(raw.p + half, half, NULL);

    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return 0;
    }
    const int n = i2d_ECDSA_SIG(sig, NULL);
    if (n <= 0 || n > ECDSA_DER_MAX)
        return 0;
    return i2d_ECDSA_SIG(sig, &der) == n ? (size_t)n : 0;
}

static int verify_hashed(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input, struct ma_span sig)
{
    const struct ma_jws_info *info = ma_jws_info(alg);
    uint8_t digest[MA_MD_MAX_LEN];
    uint8_t der[ECDSA_DER_MAX];
    size_t n = 0;
    /* A context in verify state takes any number of EVP_PKEY_verify calls: nothing to set up or copy. */
    EVP_PKEY_CTX *ctx = context_for(k, alg, info);

    if (!ctx)
        return MA_E_NOMEM;
    const int rc = ma_digest(info->md, input, digest, &n);
    if (rc != MA_OK)
        return rc;
    if (k->type != MA_KEY_RSA) {
        sig = ma_span_of(der, raw_to_der(sig, der));
        if (sig.n == 0)
            return MA_E_NOMEM;
    }
    return EVP_PKEY_verify(ctx, sig.p, sig.n, digest, n) == 1 ? MA_OK : MA_E_AUTH;
}

static void md_ctx_free_p(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}

/* Ed25519 hashes the message itself, twice over: one-shot only (RFC 8032 §5.1.7). */
static int verify_eddsa(const struct ma_key *k, struct ma_span input, struct ma_span sig)
{
    MA_CLEANUP(md_ctx_free_p) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!ctx || EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, k->pkey, NULL) != 1)
        return MA_E_NOMEM;
    return EVP_DigestVerify(ctx, sig.p, sig.n, ma_span_ptr(input), input.n) == 1 ? MA_OK : MA_E_AUTH;
}

int ma_key_verify(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input, struct ma_span sig)
{
    /* RFC 8017 §8.1.2 step 1 and RFC 7518 §3.4: the length is exact, so DER is refused for ES*. */
    if (!ma_key_fits(k, alg) || sig.n != k->sig_len)
        return MA_E_AUTH;
    ma_crypto_watch();
    const int rc = alg == MA_JWS_EDDSA ? verify_eddsa(k, input, sig) : verify_hashed(k, alg, input, sig);
    if (rc == MA_OK)
        return MA_OK;
    return ma_crypto_fail(ma_crypto_starved() ? MA_E_NOMEM : rc);
}

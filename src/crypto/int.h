/* SPDX-License-Identifier: Apache-2.0
 * Private to the crypto module: the fetched algorithms, the per-thread contexts and the key object.
 */
#ifndef MA_CRYPTO_INT_H
#define MA_CRYPTO_INT_H

#include "ma/crypto.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

enum ma_md { MA_MD_SHA256, MA_MD_SHA384, MA_MD_SHA512, MA_MD_SHA1, MA_MD__COUNT };
#define MA_MD_MAX_LEN 64

/* Written by ma_crypto_init and only read afterwards. */
struct ma_crypto_table {
    EVP_MD *md[MA_MD__COUNT];
    EVP_MAC *hmac;
    EVP_MAC_CTX *hmac_sha1;   /* templates: keyed with a constant, duplicated per call */
    EVP_MAC_CTX *hmac_sha256; /* (a template without a key cannot be duplicated) */
    EVP_KDF *hkdf;
    EVP_CIPHER *gcm;
};

/* A verification context ready for one key and algorithm. It holds a reference of its own on the
 * key, so the struct ma_key may go away before it. */
struct ma_verify_slot {
    uint64_t serial; /* 0: empty */
    uint64_t used;   /* the thread's tick when it was last used */
    EVP_PKEY_CTX *ctx;
    enum ma_jws_alg alg;
};
#define MA_VERIFY_SLOTS 16

/* What a thread keeps between calls; freed when the thread ends. */
struct ma_crypto_thread {
    EVP_MD_CTX *md[MA_MD__COUNT];
    uint64_t tick;
    struct ma_verify_slot slots[MA_VERIFY_SLOTS];
};

/* NULL before ma_crypto_init. */
const struct ma_crypto_table *ma_crypto_table(void);
/* Owned by the calling thread; NULL when out of memory or before ma_crypto_init. */
struct ma_crypto_thread *ma_crypto_thread(void);

/* Known-answer tests over the public functions: MA_OK or MA_E_CRYPTO. */
MA_MUST_USE int ma_crypto_selftest(void);

/* Digest with the thread's reusable context; *ret_n is the digest's length. */
MA_MUST_USE int ma_digest(enum ma_md which, struct ma_span in, uint8_t out[MA_MD_MAX_LEN], size_t *ret_n);

struct ma_jws_info {
    const char *name;
    enum ma_key_type key;
    enum ma_md md;
    bool pss;
};
/* NULL for MA_JWS_NONE and values outside the enum. */
const struct ma_jws_info *ma_jws_info(enum ma_jws_alg alg);

struct ma_key {
    EVP_PKEY *pkey;
    uint64_t serial; /* never used twice in a process, so that a cache cannot mistake one key for another */
    size_t sig_len;  /* bytes of a JWS signature */
    enum ma_key_type type;
    bool has_private;
};

/* Wraps a key (NULL is refused) in a struct ma_key with a reference of its own. MA_E_INVAL when it is not one we use.
 */
MA_MUST_USE int ma_key_adopt(EVP_PKEY *pkey, bool has_private, struct ma_key **ret);

/* Drops what OpenSSL queued for this thread (the next reader of the queue would take it for its
 * own failure) and hands the status on. */
static inline int ma_crypto_fail(int err)
{
    ERR_clear_error();
    return err;
}

/* OpenSSL tells a bad signature from one that it had no memory to check only now and then. From the watch on,
 * starved says whether an allocation of this thread has failed. */
void ma_crypto_watch(void);
bool ma_crypto_starved(void);

/* OpenSSL's int and size_t mix: a non-NULL pointer also for an empty span. */
static inline const uint8_t *ma_span_ptr(struct ma_span s)
{
    static const uint8_t nothing[1] = {0};
    return s.p ? s.p : nothing;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Cryptography: spans in, fixed buffers out. The only user of OpenSSL, libargon2 and crypt(3).
 * Algorithms are enums; nothing is looked up by a caller's string. After ma_crypto_init everything
 * is thread-safe unless said otherwise. Failures leave OpenSSL's error queue empty.
 */
#ifndef MA_CRYPTO_H
#define MA_CRYPTO_H

#include "ma/arena.h"
#include "ma/rand.h"

/* Fetches algorithms once and runs known-answer tests; call once before threads start.
 * MA_E_CRYPTO when a test fails. */
MA_MUST_USE int ma_crypto_init(void);
void ma_crypto_cleanup(void);
/* Whether the keys' memory (ma_secure_alloc, private keys) is all locked, so that none of it is ever swapped out. */
bool ma_crypto_memory_locked(void);

/* --- comparing and wiping --- */
bool ma_ct_eq(struct ma_span a, struct ma_span b); /* constant time for equal lengths */
void ma_wipe(void *p, size_t n);
/* Zeroed memory for long-lived keys: locked and guarded pages when the system grants them, else the
 * ordinary heap. Owned (ma_secure_free, which wipes the n bytes); NULL when out of memory. */
void *ma_secure_alloc(size_t n) __attribute__((malloc));
void ma_secure_free(void *p, size_t n);

/* --- digests and MACs --- */
#define MA_SHA256_LEN 32
MA_MUST_USE int ma_sha256(struct ma_span in, uint8_t out[MA_SHA256_LEN]);
/* Only where a format is made of it, like lists of breached passwords: not for anything that collisions would hurt. */
#define MA_SHA1_LEN 20
MA_MUST_USE int ma_sha1(struct ma_span in, uint8_t out[MA_SHA1_LEN]);
MA_MUST_USE int ma_hmac_sha256(struct ma_span key, struct ma_span in, uint8_t out[MA_SHA256_LEN]);
/* The same over the parts one after the other. */
MA_MUST_USE int ma_hmac_sha256_parts(struct ma_span key, const struct ma_span *parts, size_t n,
                                     uint8_t out[MA_SHA256_LEN]);
/* RFC 4226 / 6238 need SHA-1. out: 20 bytes. */
MA_MUST_USE int ma_hmac_sha1(struct ma_span key, struct ma_span in, uint8_t out[20]);
/* RFC 5869 with SHA-256 and no salt. */
MA_MUST_USE int ma_hkdf_sha256(struct ma_span key, struct ma_span info, uint8_t *out, size_t n);

/* --- AES-256-GCM --- */
#define MA_AEAD_KEY_LEN 32
#define MA_AEAD_NONCE_LEN 12
#define MA_AEAD_TAG_LEN 16
/* out receives in.n bytes of ciphertext and then the tag: in.n + MA_AEAD_TAG_LEN. */
MA_MUST_USE int ma_aead_seal(const uint8_t key[MA_AEAD_KEY_LEN], const uint8_t nonce[MA_AEAD_NONCE_LEN],
                             struct ma_span aad, struct ma_span in, uint8_t *out);
/* in is ciphertext and tag; out receives in.n - 16 bytes. MA_E_AUTH when it does not verify
 * (out is wiped then). */
MA_MUST_USE int ma_aead_open(const uint8_t key[MA_AEAD_KEY_LEN], const uint8_t nonce[MA_AEAD_NONCE_LEN],
                             struct ma_span aad, struct ma_span in, uint8_t *out);

/* --- passwords --- */
struct ma_argon2_params {
    uint32_t t_cost; /* iterations */
    uint32_t m_kib;  /* memory */
    uint32_t lanes;
};
#define MA_ARGON2_DEFAULT ((struct ma_argon2_params){2, 19456, 1})
#define MA_PHC_MAX 256
/* PHC string of an Argon2id hash with a fresh 16-byte salt. Slow: hashing lane only. */
MA_MUST_USE int ma_password_hash(const struct ma_rand *r, struct ma_argon2_params p, struct ma_span password,
                                 char out[MA_PHC_MAX]);
/* Checks a password against an Argon2id PHC string or a bcrypt string ($2a$, $2b$, $2y$). MA_OK,
 * MA_E_AUTH (wrong), MA_E_UNSUPPORTED (not such a string, or parameters over the bounds below). Slow. */
MA_MUST_USE int ma_password_verify(const char *stored, struct ma_span password);
/* True when the string is one ma_password_verify takes (format and parameter bounds), for imports. */
bool ma_password_hash_ok(const char *stored);
/* True when the stored string is not Argon2id with at least these parameters. */
bool ma_password_needs_rehash(const char *stored, struct ma_argon2_params p);
#define MA_ARGON2_M_MAX_KIB 262144u
#define MA_ARGON2_T_MAX 16u
#define MA_BCRYPT_COST_MAX 14

/* A key of n bytes (16 to 64) from a passphrase: Argon2id, version 1.3 (RFC 9106). MA_E_UNSUPPORTED for parameters over
 * the bounds above. Slow. */
#define MA_KDF_SALT_LEN 16
MA_MUST_USE int ma_argon2id_key(struct ma_argon2_params p, struct ma_span passphrase,
                                const uint8_t salt[MA_KDF_SALT_LEN], uint8_t *out, size_t n);
/* Asks at the process's terminal, without echo; twice when `twice`. out is NUL-terminated, cap bytes. MA_E_NOTFOUND:
 * there is no terminal; MA_E_INVAL: the two differ, or nothing was given. Not thread-safe. */
MA_MUST_USE int ma_passphrase_ask(const char *prompt, bool twice, char *out, size_t cap);

/* --- asymmetric keys --- */
enum ma_jws_alg {
    MA_JWS_NONE = 0, /* "not an algorithm we know"; never verifies */
    MA_JWS_RS256,
    MA_JWS_RS384,
    MA_JWS_RS512,
    MA_JWS_PS256,
    MA_JWS_PS384,
    MA_JWS_PS512,
    MA_JWS_ES256,
    MA_JWS_ES384,
    MA_JWS_ES512,
    MA_JWS_EDDSA,
    MA_JWS__COUNT
};
const char *ma_jws_alg_name(enum ma_jws_alg alg);      /* "RS256"; static */
enum ma_jws_alg ma_jws_alg_parse(struct ma_span name); /* exact, case-sensitive */

enum ma_key_type { MA_KEY_RSA = 1, MA_KEY_EC_P256, MA_KEY_EC_P384, MA_KEY_EC_P521, MA_KEY_ED25519 };

/* A public or private key, immutable after creation, usable by many threads. */
struct ma_key;
#define MA_RSA_MIN_BITS 2048
#define MA_RSA_MAX_BITS 4096
/* Owned (ma_key_free). RSA from big-endian modulus and exponent: 2048–4096 bits, odd 3 ≤ e < 2^32,
 * else MA_E_INVAL. EC: x and y exactly the field size and on the curve. OKP: 32 bytes. */
MA_MUST_USE int ma_key_rsa(struct ma_span n, struct ma_span e, struct ma_key **ret);
MA_MUST_USE int ma_key_ec(enum ma_key_type curve, struct ma_span x, struct ma_span y, struct ma_key **ret);
MA_MUST_USE int ma_key_ed25519(struct ma_span x, struct ma_key **ret);
/* PEM, public (SPKI) or private (PKCS#8). Same bounds. */
MA_MUST_USE int ma_key_from_pem(struct ma_span pem, struct ma_key **ret);
/* A fresh private key: RSA-2048 or P-256 (or Ed25519). */
MA_MUST_USE int ma_key_generate(enum ma_key_type type, struct ma_key **ret);
void ma_key_free(struct ma_key *k);
enum ma_key_type ma_key_type(const struct ma_key *k);
/* Private key as PKCS#8 PEM; arena. For libjwt and the key file only. */
MA_MUST_USE int ma_key_private_pem(const struct ma_key *k, struct ma_arena *a, struct ma_span *ret);
/* Public members for a JWK (RFC 7517/7518): RSA → n, e; EC → x, y; OKP → x. Unused spans empty. arena. */
struct ma_jwk_public {
    struct ma_span n, e, x, y;
};
MA_MUST_USE int ma_key_public(const struct ma_key *k, struct ma_arena *a, struct ma_jwk_public *ret);

/* True when the key may be used with the algorithm at all (kty and curve match). */
bool ma_key_fits(const struct ma_key *k, enum ma_jws_alg alg);
/* The hash of the algorithm's own size (OIDC Core §3.1.3.6): SHA-256, SHA-384 or SHA-512, which is also Ed25519's.
 * MA_E_INVAL for MA_JWS_NONE. */
#define MA_JWS_HASH_MAX 64
MA_MUST_USE int ma_jws_hash(enum ma_jws_alg alg, struct ma_span in, uint8_t out[MA_JWS_HASH_MAX], size_t *ret_n);

/* Verifies a JWS signature (raw r‖s for ES*, RFC 7518 §3.4) over the signing input. MA_OK,
 * MA_E_AUTH. Keeps a per-thread, per-key template context inside so that nothing is set up per call. */
MA_MUST_USE int ma_key_verify(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input, struct ma_span sig);

/* The same, with ES* signatures as a DER Ecdsa-Sig-Value (RFC 3279 §2.2.3), as X.509 and WebAuthn carry them. */
MA_MUST_USE int ma_key_verify_der(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input,
                                  struct ma_span sig);

/* Signs as ma_key_verify verifies. MA_E_UNSUPPORTED when the key is public or does not fit the algorithm. */
#define MA_JWS_SIG_MAX 512u /* bytes: RSA-4096 */
MA_MUST_USE int ma_key_sign(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input,
                            uint8_t out[MA_JWS_SIG_MAX], size_t *ret_n);

/* --- X.509 (RFC 5280): what an authenticator's attestation certificate says; no chain of trust is built --- */
#define MA_X509_DER_MAX 8192u
struct ma_x509 {
    struct ma_key *key;     /* owned (ma_x509_clear) */
    int version;            /* 3 for v3 */
    bool subject_ok;        /* C, O and CN once each, OU once and "Authenticator Attestation" (WebAuthn §8.2.1) */
    bool basic_constraints; /* the extension is there */
    bool ca;                /* and says so */
    bool has_aaguid;        /* id-fido-gen-ce-aaguid, 1.3.6.1.4.1.45724.1.1.4, is there */
    bool aaguid_critical;
    uint8_t aaguid[16];
};
/* One DER certificate without anything after it. MA_E_PARSE, MA_E_UNSUPPORTED (its key is not one ma_key takes),
 * MA_E_NOMEM. *ret needs no clearing after a failure. */
MA_MUST_USE int ma_x509_read(struct ma_span der, struct ma_x509 *ret);
void ma_x509_clear(struct ma_x509 *c);

#endif

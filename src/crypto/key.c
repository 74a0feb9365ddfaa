/* SPDX-License-Identifier: Apache-2.0
 * Asymmetric keys: made from JWK members, from PEM or fresh, checked once, exported as JWK or PKCS#8.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RSA_E_MAX_BITS 32
#define ED25519_LEN 32
#define EC_FIELD_MAX 66
#define PEM_MAX 65536u

static const struct ma_jws_info jws_algs[MA_JWS__COUNT] = {
    [MA_JWS_RS256] = {"RS256", MA_KEY_RSA, MA_MD_SHA256, false},
    [MA_JWS_RS384] = {"RS384", MA_KEY_RSA, MA_MD_SHA384, false},
    [MA_JWS_RS512] = {"RS512", MA_KEY_RSA, MA_MD_SHA512, false},
    [MA_JWS_PS256] = {"PS256", MA_KEY_RSA, MA_MD_SHA256, true},
    [MA_JWS_PS384] = {"PS384", MA_KEY_RSA, MA_MD_SHA384, true},
    [MA_JWS_PS512] = {"PS512", MA_KEY_RSA, MA_MD_SHA512, true},
    [MA_JWS_ES256] = {"ES256", MA_KEY_EC_P256, MA_MD_SHA256, false},
    [MA_JWS_ES384] = {"ES384", MA_KEY_EC_P384, MA_MD_SHA384, false},
    [MA_JWS_ES512] = {"ES512", MA_KEY_EC_P521, MA_MD_SHA512, false},
    [MA_JWS_EDDSA] = {"EdDSA", MA_KEY_ED25519, MA_MD_SHA512, false}, /* hashes inside: md is ma_jws_hash's */
};

static const struct curve {
    enum ma_key_type type;
    const char *group; /* the name OpenSSL reports */
    size_t field;      /* bytes of a coordinate */
} curves[] = {
    {MA_KEY_EC_P256, "prime256v1", 32},
    {MA_KEY_EC_P384, "secp384r1", 48},
    {MA_KEY_EC_P521, "secp521r1", EC_FIELD_MAX},
};

static void pkey_free_p(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

static void pkey_ctx_free_p(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

static void bn_free_p(BIGNUM **p)
{
    BN_free(*p);
}

static void bld_free_p(OSSL_PARAM_BLD **p)
{
    OSSL_PARAM_BLD_free(*p);
}

static void params_free_p(OSSL_PARAM **p)
{
    OSSL_PARAM_free(*p);
}

static void bio_free_p(BIO **p)
{
    BIO_free(*p);
}

/* --- algorithms --- */

const struct ma_jws_info *ma_jws_info(enum ma_jws_alg alg)
{
    return (unsigned)alg < MA_JWS__COUNT && jws_algs[alg].name ? &jws_algs[alg] : NULL;
}

const char *ma_jws_alg_name(enum ma_jws_alg alg)
{
    const struct ma_jws_info *info = ma_jws_info(alg);

    return info ? info->name : "none";
}

enum ma_jws_alg ma_jws_alg_parse(struct ma_span name)
{
    for (unsigned i = MA_JWS_NONE + 1; i < MA_JWS__COUNT; i++) {
        if (ma_span_eq_str(name, jws_algs[i].name))
            return (enum ma_jws_alg)i;
    }
    return MA_JWS_NONE;
}

bool ma_key_fits(const struct ma_key *k, enum ma_jws_alg alg)
{
    const struct ma_jws_info *info = ma_jws_info(alg);

    return k && info && info->key == k->type;
}

/* --- checks every key passes, wherever it came from --- */

static const struct curve *curve_of(enum ma_key_type type)
{
    for (size_t i = 0; i < MA_COUNT(curves); i++) {
        if (curves[i].type == type)
            return &curves[i];
    }
    return NULL;
}

static const struct curve *curve_of_pkey(const EVP_PKEY *pkey)
{
    char group[64];
    size_t n = 0;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, &n) != 1)
        return NULL;
    for (size_t i = 0; i < MA_COUNT(curves); i++) {
        if (strcmp(curves[i].group, group) == 0)
            return &curves[i];
    }
    return NULL;
}

static bool rsa_ok(const EVP_PKEY *pkey)
{
    MA_CLEANUP(bn_free_p) BIGNUM *n = NULL;
    MA_CLEANUP(bn_free_p) BIGNUM *e = NULL;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return false;
    /* An even modulus is no product of two primes; OpenSSL's parser does not look. */
    return BN_num_bits(n) >= MA_RSA_MIN_BITS && BN_num_bits(n) <= MA_RSA_MAX_BITS && BN_is_odd(n) && BN_is_odd(e) &&
           !BN_is_one(e) && BN_num_bits(e) <= RSA_E_MAX_BITS;
}

/* Finds the type and the length of a JWS signature; false when the key is not one we use. */
static bool classify(const EVP_PKEY *pkey, struct ma_key *k)
{
    if (EVP_PKEY_is_a(pkey, "RSA")) { /* not RSA-PSS: RFC 7518 binds the padding to the algorithm, not the key */
        k->type = MA_KEY_RSA;
        k->sig_len = (size_t)EVP_PKEY_get_size(pkey);
        return rsa_ok(pkey);
    }
    if (EVP_PKEY_is_a(pkey, "ED25519")) {
        k->type = MA_KEY_ED25519;
        k->sig_len = 2 * ED25519_LEN;
        return true;
    }
    const struct curve *c = EVP_PKEY_is_a(pkey, "EC") ? curve_of_pkey(pkey) : NULL;
    if (!c)
        return false;
    k->type = c->type;
    k->sig_len = 2 * c->field;
    return true;
}

int ma_key_adopt(EVP_PKEY *pkey, bool has_private, struct ma_key **ret)
{
    static atomic_uint_fast64_t last_serial;
    struct ma_key found = {.has_private = has_private};

    if (!pkey || !classify(pkey, &found))
        return ma_crypto_fail(MA_E_INVAL);
    struct ma_key *k = malloc(sizeof *k);
    if (!k || EVP_PKEY_up_ref(pkey) != 1) {
        free(k);
        return ma_crypto_fail(MA_E_NOMEM);
    }
    found.pkey = pkey;
    found.serial = atomic_fetch_add_explicit(&last_serial, 1, memory_order_relaxed) + 1;
    *k = found;
    *ret = k;
    return MA_OK;
}

void ma_key_free(struct ma_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

enum ma_key_type ma_key_type(const struct ma_key *k)
{
    return k->type;
}

/* --- from JWK members --- */

/* NULL when the members do not make a key (an EC point off the curve, for one). */
static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    MA_CLEANUP(params_free_p) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    MA_CLEANUP(pkey_ctx_free_p) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return pkey;
}

int ma_key_rsa(struct ma_span n, struct ma_span e, struct ma_key **ret)
{
    *ret = NULL;
    /* Before any arithmetic: one byte more than the bound allows for a leading zero. */
    if (n.n == 0 || n.n > MA_RSA_MAX_BITS / 8 + 1 || e.n == 0 || e.n > RSA_E_MAX_BITS / 8 + 1)
        return MA_E_INVAL;
    MA_CLEANUP(bn_free_p) BIGNUM *bn = BN_bin2bn(n.p, (int)n.n, NULL);
    MA_CLEANUP(bn_free_p) BIGNUM *be = BN_bin2bn(e.p, (int)e.n, NULL);
    MA_CLEANUP(bld_free_p) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (!bn || !be || !bld || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) != 1 ||
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    MA_CLEANUP(pkey_free_p) EVP_PKEY *pkey = from_params("RSA", bld);
    return ma_key_adopt(pkey, false, ret);
}

int ma_key_ec(enum ma_key_type curve, struct ma_span x, struct ma_span y, struct ma_key **ret)
{
    const struct curve *c = curve_of(curve);
    uint8_t point[1 + 2 * EC_FIELD_MAX];

    *ret = NULL;
    /* RFC 7518 §6.2.1.2: the length is the field's, leading zeros included. */
    if (!c || x.n != c->field || y.n != c->field)
        return MA_E_INVAL;
    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(point + 1, x.p, x.n);
    memcpy(point + 1 + c->field, y.p, y.n);
    MA_CLEANUP(bld_free_p) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (!bld || OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * c->field) != 1)
        return ma_crypto_fail(MA_E_NOMEM);
    /* On the curve is enough: these curves have cofactor 1, so the point is in the right group. */
    MA_CLEANUP(pkey_free_p) EVP_PKEY *pkey = from_params("EC", bld);
    return ma_key_adopt(pkey, false, ret);
}

int ma_key_ed25519(struct ma_span x, struct ma_key **ret)
{
    *ret = NULL;
    if (x.n != ED25519_LEN)
        return MA_E_INVAL;
    MA_CLEANUP(pkey_free_p) EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.p, x.n);
    return ma_key_adopt(pkey, false, ret);
}

/* --- from PEM, or fresh --- */

/* Without a callback OpenSSL would ask the terminal for a passphrase. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)u;
    return -1;
}

static bool first_block_is(struct ma_span pem, const char *label)
{
    static const char begin[] = "-----BEGIN ";
    const char *at = memmem(pem.p, pem.n, begin, sizeof begin - 1);

    if (!at)
        return false;
    at += sizeof begin - 1;
    const size_t left = pem.n - (size_t)((const uint8_t *)at - pem.p);
    return left >= strlen(label) && memcmp(at, label, strlen(label)) == 0;
}

int ma_key_from_pem(struct ma_span pem, struct ma_key **ret)
{
    *ret = NULL;
    if (pem.n == 0 || pem.n > PEM_MAX)
        return MA_E_INVAL;
    const bool is_private = first_block_is(pem, "PRIVATE KEY-----");
    if (!is_private && !first_block_is(pem, "PUBLIC KEY-----"))
        return MA_E_INVAL;
    MA_CLEANUP(bio_free_p) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return ma_crypto_fail(MA_E_NOMEM);
    MA_CLEANUP(pkey_free_p)
    EVP_PKEY *pkey = is_private ? PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, NULL, NULL, NULL)
                                : PEM_read_bio_PUBKEY_ex(bio, NULL, no_passphrase, NULL, NULL, NULL);
    const int rc = ma_key_adopt(pkey, is_private, ret);
    ERR_clear_error(); /* the decoders also leave entries behind when they succeed */
    return rc;
}

int ma_key_generate(enum ma_key_type type, struct ma_key **ret)
{
    const struct curve *c = curve_of(type);
    MA_CLEANUP(pkey_free_p) EVP_PKEY *pkey = NULL;

    *ret = NULL;
    if (c)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", c->group);
    else if (type == MA_KEY_RSA)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)MA_RSA_MIN_BITS);
    else if (type == MA_KEY_ED25519)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        return MA_E_INVAL;
    return pkey ? ma_key_adopt(pkey, true, ret) : ma_crypto_fail(MA_E_CRYPTO);
}

/* --- export --- */

int ma_key_private_pem(const struct ma_key *k, struct ma_arena *a, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    if (!k->has_private)
        return MA_E_INVAL;
    MA_CLEANUP(bio_free_p) BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *text = NULL;
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1)
        return ma_crypto_fail(MA_E_CRYPTO);
    const long n = BIO_get_mem_data(bio, &text);
    if (n <= 0 || !text)
        return ma_crypto_fail(MA_E_CRYPTO);
    *ret = ma_arena_dup(a, ma_span_of(text, (size_t)n));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* A big-endian member of `len` bytes, or of the fewest bytes when len is 0. */
static int export_bn(const EVP_PKEY *pkey, const char *name, size_t len, struct ma_arena *a, struct ma_span *ret)
{
    MA_CLEANUP(bn_free_p) BIGNUM *bn = NULL;

    if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1)
        return ma_crypto_fail(MA_E_CRYPTO);
    const size_t n = len ? len : (size_t)BN_num_bytes(bn);
    uint8_t *out = ma_arena_alloc(a, n);
    if (!out)
        return MA_E_NOMEM;
    if (BN_bn2binpad(bn, out, (int)n) != (int)n)
        return ma_crypto_fail(MA_E_CRYPTO);
    *ret = ma_span_of(out, n);
    return MA_OK;
}

static int export_ed25519(const EVP_PKEY *pkey, struct ma_arena *a, struct ma_span *ret)
{
    size_t n = ED25519_LEN;
    uint8_t *out = ma_arena_alloc(a, n);

    if (!out)
        return MA_E_NOMEM;
    if (EVP_PKEY_get_raw_public_key(pkey, out, &n) != 1 || n != ED25519_LEN)
        return ma_crypto_fail(MA_E_CRYPTO);
    *ret = ma_span_of(out, n);
    return MA_OK;
}

int ma_key_public(const struct ma_key *k, struct ma_arena *a, struct ma_jwk_public *ret)
{
    const struct curve *c = curve_of(k->type);

    *ret = (struct ma_jwk_public){0};
    if (k->type == MA_KEY_ED25519)
        return export_ed25519(k->pkey, a, &ret->x);
    if (c) {
        const int rc = export_bn(k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, c->field, a, &ret->x);
        return rc != MA_OK ? rc : export_bn(k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, c->field, a, &ret->y);
    }
    const int rc = export_bn(k->pkey, OSSL_PKEY_PARAM_RSA_N, 0, a, &ret->n);
    return rc != MA_OK ? rc : export_bn(k->pkey, OSSL_PKEY_PARAM_RSA_E, 0, a, &ret->e);
}

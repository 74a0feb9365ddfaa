/* SPDX-License-Identifier: Apache-2.0
 * Keys and JWS verification: RFC vectors, round trips with signatures made by OpenSSL, refusals.
 */
#include "ma/crypto.h"

#include "ma/codec.h"

#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>

#define SIG_MAX 1024
#define INPUT "eyJhbGciOiJhIn0.eyJzdWIiOiJhdXRoMHwxIn0"

static struct ma_arena *arena;

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free(arena);
    ma_crypto_cleanup();
}

static struct ma_span unb64(const char *text)
{
    const size_t cap = strlen(text);
    uint8_t *out = ma_arena_alloc(arena, cap);
    size_t n = 0;

    ck_assert_int_eq(ma_b64url_decode(ma_span_str(text), out, cap, &n), MA_OK);
    return ma_span_of(out, n);
}

/* --- vectors --- */

static const struct vector {
    const char *name;
    enum ma_jws_alg alg;
    enum ma_key_type type;
    const char *one, *two; /* n and e, or x and y */
    const char *input, *sig;
} vectors[] = {
    {"RFC 7515 A.2", MA_JWS_RS256, MA_KEY_RSA,
     "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC"
     "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6"
     "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"
     "yuXpoQ",
     "AQAB",
     "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"
     "lfQ",
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t"
     "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j"
     "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ"
     "Ge77Rw"},
    {"RFC 7515 A.3", MA_JWS_ES256, MA_KEY_EC_P256, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
     "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
     "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"
     "lfQ",
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
    {"RFC 7515 A.4", MA_JWS_ES512, MA_KEY_EC_P521,
     "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
     "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
     "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
     "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZC"
     "PEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"},
    {"RFC 8037 A.4", MA_JWS_EDDSA, MA_KEY_ED25519, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", NULL,
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
};

static struct ma_key *key_from_members(enum ma_key_type type, struct ma_span one, struct ma_span two)
{
    struct ma_key *k = NULL;
    const int rc = type == MA_KEY_RSA       ? ma_key_rsa(one, two, &k)
                   : type == MA_KEY_ED25519 ? ma_key_ed25519(one, &k)
                                            : ma_key_ec(type, one, two, &k);

    ck_assert_int_eq(rc, MA_OK);
    ck_assert_int_eq((int)ma_key_type(k), (int)type);
    return k;
}

START_TEST(rfc_vectors)
{
    const struct vector *v = &vectors[_i];
    struct ma_key *k = key_from_members(v->type, unb64(v->one), v->two ? unb64(v->two) : MA_SPAN_NULL);

    for (int round = 0; round < 3; round++) /* the second finds the context of the first */
        ck_assert_msg(ma_key_verify(k, v->alg, ma_span_str(v->input), unb64(v->sig)) == MA_OK, "%s", v->name);
    ck_assert_int_eq(ma_key_verify(k, v->alg, MA_LIT("something else"), unb64(v->sig)), MA_E_AUTH);
    ma_key_free(k);
}
END_TEST

START_TEST(members_come_back_out)
{
    const struct vector *v = &vectors[_i];
    const struct ma_span one = unb64(v->one), two = v->two ? unb64(v->two) : MA_SPAN_NULL;
    struct ma_key *k = key_from_members(v->type, one, two);
    struct ma_jwk_public pub;
    struct ma_span pem;

    ck_assert_int_eq(ma_key_public(k, arena, &pub), MA_OK);
    ck_assert(ma_span_eq(v->type == MA_KEY_RSA ? pub.n : pub.x, one));
    ck_assert(ma_span_eq(v->type == MA_KEY_RSA ? pub.e : pub.y, two));
    ck_assert_uint_eq(v->type == MA_KEY_RSA ? pub.x.n + pub.y.n : pub.n.n + pub.e.n, 0);
    ck_assert_int_eq(ma_key_private_pem(k, arena, &pem), MA_E_INVAL);
    ma_key_free(k);
}
END_TEST

/* --- round trips: OpenSSL signs, ma_key_verify judges --- */

static const struct alg_row {
    enum ma_jws_alg alg;
    const char *name, *digest; /* digest NULL: one-shot */
    enum ma_key_type type;
    bool pss;
    int half; /* bytes of r and of s */
} algs[] = {
    {MA_JWS_RS256, "RS256", "SHA256", MA_KEY_RSA, false, 0},
    {MA_JWS_RS384, "RS384", "SHA384", MA_KEY_RSA, false, 0},
    {MA_JWS_RS512, "RS512", "SHA512", MA_KEY_RSA, false, 0},
    {MA_JWS_PS256, "PS256", "SHA256", MA_KEY_RSA, true, 0},
    {MA_JWS_PS384, "PS384", "SHA384", MA_KEY_RSA, true, 0},
    {MA_JWS_PS512, "PS512", "SHA512", MA_KEY_RSA, true, 0},
    {MA_JWS_ES256, "ES256", "SHA256", MA_KEY_EC_P256, false, 32},
    {MA_JWS_ES384, "ES384", "SHA384", MA_KEY_EC_P384, false, 48},
    {MA_JWS_ES512, "ES512", "SHA512", MA_KEY_EC_P521, false, 66},
    {MA_JWS_EDDSA, "EdDSA", NULL, MA_KEY_ED25519, false, 0},
};

static EVP_PKEY *make_pkey(enum ma_key_type type)
{
    EVP_PKEY *p = NULL;

    switch (type) {
    case MA_KEY_RSA:
        p = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
        break;
    case MA_KEY_EC_P256:
        p = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    case MA_KEY_EC_P384:
        p = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
        break;
    case MA_KEY_EC_P521:
        p = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521");
        break;
    case MA_KEY_ED25519:
        p = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    ck_assert_ptr_nonnull(p);
    return p;
}

enum pem_form { PEM_SPKI, PEM_PKCS8, PEM_ENCRYPTED, PEM_TRADITIONAL };

static struct ma_span pem_of(EVP_PKEY *p, enum pem_form form)
{
    static const unsigned char pass[] = "secret";
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    int ok = 0;

    if (form == PEM_SPKI)
        ok = PEM_write_bio_PUBKEY(bio, p);
    else if (form == PEM_PKCS8)
        ok = PEM_write_bio_PKCS8PrivateKey(bio, p, NULL, NULL, 0, NULL, NULL);
    else if (form == PEM_ENCRYPTED)
        ok = PEM_write_bio_PrivateKey(bio, p, EVP_aes_128_cbc(), pass, 6, NULL, NULL);
    else
        ok = PEM_write_bio_PrivateKey_traditional(bio, p, NULL, NULL, 0, NULL, NULL);
    ck_assert_int_eq(ok, 1);
    const long n = BIO_get_mem_data(bio, &text);
    const struct ma_span got = ma_arena_dup(arena, ma_span_of(text, (size_t)n));
    BIO_free(bio);
    ck_assert_ptr_nonnull(got.p);
    return got;
}

static struct ma_key *key_from(EVP_PKEY *p, enum pem_form form)
{
    struct ma_key *k = NULL;

    ck_assert_int_eq(ma_key_from_pem(pem_of(p, form), &k), MA_OK);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    return k;
}

/* What OpenSSL makes: DER for EC. salt is ignored unless pss. */
static size_t sign_native(EVP_PKEY *p, const struct alg_row *row, int salt, uint8_t out[SIG_MAX])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t n = SIG_MAX;

    ck_assert_int_eq(EVP_DigestSignInit_ex(ctx, &pctx, row->digest, NULL, NULL, p, NULL), 1);
    if (row->pss) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt), 1);
    }
    ck_assert_int_eq(EVP_DigestSign(ctx, out, &n, (const uint8_t *)INPUT, strlen(INPUT)), 1);
    EVP_MD_CTX_free(ctx);
    return n;
}

/* The JWS form: raw r‖s for EC. */
static size_t sign_jws(EVP_PKEY *p, const struct alg_row *row, uint8_t out[SIG_MAX])
{
    uint8_t der[SIG_MAX];
    const uint8_t *at = der;
    const size_t n = sign_native(p, row, RSA_PSS_SALTLEN_DIGEST, der);

    if (row->half == 0) {
        memcpy(out, der, n);
        return n;
    }
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)n);
    ck_assert_ptr_nonnull(sig);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, row->half), row->half);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + row->half, row->half), row->half);
    ECDSA_SIG_free(sig);
    return (size_t)row->half * 2;
}

START_TEST(round_trip_and_flipped_bits)
{
    const struct alg_row *row = &algs[_i];
    EVP_PKEY *p = make_pkey(row->type);
    struct ma_key *k = key_from(p, PEM_SPKI);
    uint8_t sig[SIG_MAX], input[sizeof INPUT - 1];
    const struct ma_span s = ma_span_of(sig, sign_jws(p, row, sig)), in = ma_span_of(input, sizeof input);

    memcpy(input, INPUT, sizeof input);
    ck_assert_int_eq(ma_key_verify(k, row->alg, in, s), MA_OK);
    for (size_t bit = 0; bit < s.n * 8; bit++) {
        sig[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ck_assert_int_eq(ma_key_verify(k, row->alg, in, s), MA_E_AUTH);
        sig[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t bit = 0; bit < sizeof input * 8; bit++) {
        input[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ck_assert_int_eq(ma_key_verify(k, row->alg, in, s), MA_E_AUTH);
        input[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ck_assert_int_eq(ma_key_verify(k, row->alg, in, s), MA_OK);
    ma_key_free(k);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(signature_lengths_are_exact)
{
    const struct alg_row *row = &algs[_i];
    EVP_PKEY *p = make_pkey(row->type);
    struct ma_key *k = key_from(p, PEM_PKCS8);
    uint8_t sig[SIG_MAX] = {0};
    const size_t n = sign_jws(p, row, sig);

    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n)), MA_OK);
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n - 1)), MA_E_AUTH);
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n + 1)), MA_E_AUTH);
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), MA_SPAN_NULL), MA_E_AUTH);
    memset(sig, 0, sizeof sig); /* r = s = 0: CVE-2022-21449 */
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n)), MA_E_AUTH);
    memset(sig, 0xff, sizeof sig);
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n)), MA_E_AUTH);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ma_key_free(k);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(another_algorithm_never_verifies)
{
    const struct alg_row *row = &algs[_i];
    EVP_PKEY *p = make_pkey(row->type);
    struct ma_key *k = key_from(p, PEM_SPKI);
    uint8_t sig[SIG_MAX];
    const struct ma_span s = ma_span_of(sig, sign_jws(p, row, sig));

    for (int alg = MA_JWS_NONE - 1; alg <= MA_JWS__COUNT + 1; alg++) {
        const int want = alg == (int)row->alg ? MA_OK : MA_E_AUTH;
        ck_assert_int_eq(ma_key_verify(k, (enum ma_jws_alg)alg, MA_LIT(INPUT), s), want);
    }
    for (size_t i = 0; i < MA_COUNT(algs); i++)
        ck_assert(ma_key_fits(k, algs[i].alg) == (algs[i].type == row->type));
    ck_assert(!ma_key_fits(k, MA_JWS_NONE));
    ck_assert(!ma_key_fits(k, MA_JWS__COUNT));
    ma_key_free(k);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(es_signatures_in_der_are_refused)
{
    static const size_t es[] = {6, 7, 8};
    const struct alg_row *row = &algs[es[_i]];
    EVP_PKEY *p = make_pkey(row->type);
    struct ma_key *k = key_from(p, PEM_SPKI);
    uint8_t der[SIG_MAX];

    for (int i = 0; i < 8; i++) {
        const size_t n = sign_native(p, row, 0, der);
        ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(der, n)), MA_E_AUTH);
    }
    ma_key_free(k);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(pss_needs_a_salt_of_the_digest_length)
{
    static const int salts[] = {0, 20, 31, 33, RSA_PSS_SALTLEN_MAX};
    const struct alg_row *row = &algs[3];
    EVP_PKEY *p = make_pkey(MA_KEY_RSA);
    struct ma_key *k = key_from(p, PEM_SPKI);
    uint8_t sig[SIG_MAX];

    for (size_t i = 0; i < MA_COUNT(salts); i++) {
        const size_t n = sign_native(p, row, salts[i], sig);
        ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n)), MA_E_AUTH);
    }
    const size_t n = sign_native(p, row, 32, sig);
    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), ma_span_of(sig, n)), MA_OK);
    ma_key_free(k);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(another_key_never_verifies)
{
    const struct alg_row *row = &algs[_i];
    EVP_PKEY *p = make_pkey(row->type), *other = make_pkey(row->type);
    struct ma_key *k = key_from(other, PEM_SPKI);
    uint8_t sig[SIG_MAX];
    const struct ma_span s = ma_span_of(sig, sign_jws(p, row, sig));

    ck_assert_int_eq(ma_key_verify(k, row->alg, MA_LIT(INPUT), s), MA_E_AUTH);
    ck_assert_int_eq(ma_key_verify(NULL, row->alg, MA_LIT(INPUT), s), MA_E_AUTH);
    ma_key_free(k);
    EVP_PKEY_free(p);
    EVP_PKEY_free(other);
}
END_TEST

START_TEST(an_empty_input_can_be_verified)
{
    const struct vector *v = &vectors[3];
    struct ma_key *k = key_from_members(v->type, unb64(v->one), MA_SPAN_NULL);

    /* RFC 8032 §7.1 TEST 1 has the same key as RFC 8037 A.2. */
    const struct ma_span sig =
        unb64("5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw");
    ck_assert_int_eq(ma_key_verify(k, MA_JWS_EDDSA, MA_SPAN_NULL, sig), MA_OK);
    ck_assert_int_eq(ma_key_verify(k, MA_JWS_EDDSA, MA_LIT("x"), sig), MA_E_AUTH);
    ma_key_free(k);
}
END_TEST

/* --- the per-thread contexts --- */

/* More keys than contexts are kept, freed and made again: a stale context would accept or refuse wrongly. */
START_TEST(contexts_follow_their_keys)
{
    enum { KEYS = 40 };
    const struct alg_row *row = &algs[6];
    EVP_PKEY *p[KEYS];
    struct ma_key *k[KEYS];
    static uint8_t sig[KEYS][SIG_MAX];

    for (size_t i = 0; i < KEYS; i++) {
        p[i] = make_pkey(row->type);
        sign_jws(p[i], row, sig[i]);
        k[i] = key_from(p[i], PEM_SPKI);
    }
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < KEYS; i++) {
            ck_assert_int_eq(ma_key_verify(k[0], row->alg, MA_LIT(INPUT), ma_span_of(sig[0], 64)), MA_OK);
            ck_assert_int_eq(ma_key_verify(k[i], row->alg, MA_LIT(INPUT), ma_span_of(sig[i], 64)), MA_OK);
            ck_assert_int_eq(ma_key_verify(k[i], row->alg, MA_LIT(INPUT), ma_span_of(sig[(i + 1) % KEYS], 64)),
                             MA_E_AUTH);
            /* A new key likely gets the memory of the freed one; its serial number differs. */
            ma_key_free(k[i]);
            k[i] = key_from(p[(i + round) % KEYS], PEM_SPKI);
            ck_assert_int_eq(ma_key_verify(k[i], row->alg, MA_LIT(INPUT), ma_span_of(sig[(i + round) % KEYS], 64)),
                             MA_OK);
            ma_key_free(k[i]);
            k[i] = key_from(p[i], PEM_SPKI);
        }
    }
    for (size_t i = 0; i < KEYS; i++) {
        ma_key_free(k[i]);
        EVP_PKEY_free(p[i]);
    }
}
END_TEST

struct shared {
    struct ma_key *key;
    struct ma_span sig;
    bool failed;
};

static void *verify_in_thread(void *arg)
{
    struct shared *s = arg;
    const struct vector *rsa = &vectors[0];
    bool failed = false;

    for (int i = 0; i < 50; i++) {
        failed = failed || ma_key_verify(s->key, rsa->alg, ma_span_str(rsa->input), s->sig) != MA_OK;
        failed = failed || ma_key_verify(s->key, rsa->alg, MA_LIT("x"), s->sig) != MA_E_AUTH;
    }
    s->failed = failed;
    return NULL;
}

START_TEST(threads_share_a_key)
{
    pthread_t thread[4];
    struct shared shared[MA_COUNT(thread)];
    const struct vector *v = &vectors[0];
    struct ma_key *k = key_from_members(v->type, unb64(v->one), unb64(v->two));
    const struct ma_span sig = unb64(v->sig);

    for (size_t i = 0; i < MA_COUNT(thread); i++) {
        shared[i] = (struct shared){k, sig, true};
        ck_assert_int_eq(pthread_create(&thread[i], NULL, verify_in_thread, &shared[i]), 0);
    }
    for (size_t i = 0; i < MA_COUNT(thread); i++) {
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
        ck_assert(!shared[i].failed);
    }
    ma_key_free(k);
}
END_TEST

/* --- refused keys --- */

/* A number of exactly `bits` bits, odd. */
static struct ma_span number(unsigned bits)
{
    const size_t n = (bits + 7) / 8;
    uint8_t *p = ma_arena_alloc(arena, n);

    ck_assert_ptr_nonnull(p);
    memset(p, 0x55, n);
    p[0] = (uint8_t)(1u << ((bits - 1) % 8));
    p[n - 1] |= 1;
    return ma_span_of(p, n);
}

static const struct {
    const char *name;
    unsigned bits;
    struct ma_span e;
    int rc;
} rsa_rows[] = {
    {"2048", 2048, MA_LIT("\x01\x00\x01"), MA_OK},
    {"3072", 3072, MA_LIT("\x01\x00\x01"), MA_OK},
    {"4096", 4096, MA_LIT("\x01\x00\x01"), MA_OK},
    {"e = 3", 2048, MA_LIT("\x03"), MA_OK},
    {"e = 2^32 - 1", 2048, MA_LIT("\xff\xff\xff\xff"), MA_OK},
    {"1024", 1024, MA_LIT("\x01\x00\x01"), MA_E_INVAL},
    {"2047", 2047, MA_LIT("\x01\x00\x01"), MA_E_INVAL},
    {"4097", 4097, MA_LIT("\x01\x00\x01"), MA_E_INVAL},
    {"8192", 8192, MA_LIT("\x01\x00\x01"), MA_E_INVAL},
    {"e = 1", 2048, MA_LIT("\x01"), MA_E_INVAL},
    {"e = 0", 2048, MA_LIT("\x00"), MA_E_INVAL},
    {"e = 2", 2048, MA_LIT("\x02"), MA_E_INVAL},
    {"e = 65536", 2048, MA_LIT("\x01\x00\x00"), MA_E_INVAL},
    {"e = 2^32 + 1", 2048, MA_LIT("\x01\x00\x00\x00\x01"), MA_E_INVAL},
    {"e of 64 bits", 2048, MA_LIT("\x01\x00\x00\x00\x00\x00\x00\x01"), MA_E_INVAL},
    {"no e", 2048, {NULL, 0}, MA_E_INVAL},
};

START_TEST(rsa_bounds)
{
    struct ma_key *k = NULL;
    const int rc = ma_key_rsa(number(rsa_rows[_i].bits), rsa_rows[_i].e, &k);

    ck_assert_msg(rc == rsa_rows[_i].rc, "%s: %s", rsa_rows[_i].name, ma_err_name(rc));
    ck_assert((k != NULL) == (rc == MA_OK));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ma_key_free(k);
}
END_TEST

START_TEST(rsa_odd_shapes)
{
    struct ma_key *k = NULL;
    uint8_t n[2048 / 8];

    memset(n, 0xff, sizeof n);
    n[sizeof n - 1] = 0xfe;
    ck_assert_int_eq(ma_key_rsa(ma_span_of(n, sizeof n), MA_LIT("\x03"), &k), MA_E_INVAL);
    ck_assert_ptr_null(k);
    ck_assert_int_eq(ma_key_rsa(MA_SPAN_NULL, MA_LIT("\x03"), &k), MA_E_INVAL);
    memset(n, 0, sizeof n);
    ck_assert_int_eq(ma_key_rsa(ma_span_of(n, sizeof n), MA_LIT("\x03"), &k), MA_E_INVAL);
    ck_assert_ptr_null(k);
}
END_TEST

START_TEST(ec_points_off_the_curve_are_refused)
{
    static const size_t ec[] = {1, 2};
    const struct vector *v = &vectors[ec[_i]];
    const struct ma_span x = unb64(v->one), y = unb64(v->two);
    struct ma_key *k = NULL;

    for (size_t i = 0; i < y.n; i++) {
        struct ma_span bad = ma_arena_dup(arena, y);
        uint8_t *p = ma_arena_alloc(arena, y.n);
        memcpy(p, bad.p, y.n);
        p[i] ^= 1;
        ck_assert_int_eq(ma_key_ec(v->type, x, ma_span_of(p, y.n), &k), MA_E_INVAL);
        ck_assert_ptr_null(k);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(ec_and_okp_shapes)
{
    const struct vector *v = &vectors[1];
    const struct ma_span x = unb64(v->one), y = unb64(v->two);
    static const uint8_t zero[66] = {0};
    struct ma_key *k = NULL;

    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P256, ma_span_of(x.p, 31), y, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P256, x, ma_span_of(y.p, 31), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P256, x, MA_SPAN_NULL, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P384, x, y, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_RSA, x, y, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_ED25519, x, y, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P256, ma_span_of(zero, 32), ma_span_of(zero, 32), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ec(MA_KEY_EC_P521, ma_span_of(zero, 66), ma_span_of(zero, 66), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ed25519(ma_span_of(x.p, 31), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_ed25519(MA_SPAN_NULL, &k), MA_E_INVAL);
    ck_assert_ptr_null(k);
}
END_TEST

/* --- PEM --- */

START_TEST(pem_refuses_other_keys)
{
    EVP_PKEY *keys[] = {
        EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024),
        EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"),
        EVP_PKEY_Q_keygen(NULL, NULL, "X25519"),
        EVP_PKEY_Q_keygen(NULL, NULL, "ED448"),
        EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-224"),
    };
    struct ma_key *k = NULL;

    for (size_t i = 0; i < MA_COUNT(keys); i++) {
        ck_assert_ptr_nonnull(keys[i]);
        ck_assert_int_eq(ma_key_from_pem(pem_of(keys[i], PEM_SPKI), &k), MA_E_INVAL);
        ck_assert_int_eq(ma_key_from_pem(pem_of(keys[i], PEM_PKCS8), &k), MA_E_INVAL);
        ck_assert_ptr_null(k);
        EVP_PKEY_free(keys[i]);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(pem_refuses_other_forms)
{
    EVP_PKEY *p = make_pkey(MA_KEY_EC_P256);
    const struct ma_span good = pem_of(p, PEM_PKCS8);
    struct ma_key *k = NULL;

    ck_assert_int_eq(ma_key_from_pem(pem_of(p, PEM_ENCRYPTED), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(pem_of(p, PEM_TRADITIONAL), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(ma_span_of(good.p, good.n / 2), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(MA_SPAN_NULL, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(MA_LIT("not a key"), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(MA_LIT("-----BEGIN "), &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_from_pem(MA_LIT("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), &k),
                     MA_E_INVAL);
    ck_assert_ptr_null(k);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    EVP_PKEY_free(p);
}
END_TEST

START_TEST(generated_keys_sign_and_export)
{
    static const size_t rows[] = {0, 6, 7, 8, 9};
    const struct alg_row *row = &algs[rows[_i]];
    struct ma_key *made = NULL, *again = NULL;
    struct ma_span pem;
    struct ma_jwk_public one, two;
    uint8_t sig[SIG_MAX];

    ck_assert_int_eq(ma_key_generate(row->type, &made), MA_OK);
    ck_assert_int_eq((int)ma_key_type(made), (int)row->type);
    ck_assert_int_eq(ma_key_private_pem(made, arena, &pem), MA_OK);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *p = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(p);
    const struct ma_span s = ma_span_of(sig, sign_jws(p, row, sig));
    ck_assert_int_eq(ma_key_verify(made, row->alg, MA_LIT(INPUT), s), MA_OK);

    ck_assert_int_eq(ma_key_from_pem(pem, &again), MA_OK);
    ck_assert_int_eq(ma_key_public(made, arena, &one), MA_OK);
    ck_assert_int_eq(ma_key_public(again, arena, &two), MA_OK);
    ck_assert(ma_span_eq(one.n, two.n) && ma_span_eq(one.e, two.e) && ma_span_eq(one.x, two.x) &&
              ma_span_eq(one.y, two.y));
    struct ma_key *pub =
        row->type == MA_KEY_RSA ? key_from_members(row->type, one.n, one.e) : key_from_members(row->type, one.x, one.y);
    ck_assert_int_eq(ma_key_verify(pub, row->alg, MA_LIT(INPUT), s), MA_OK);
    BIO_free(bio);
    EVP_PKEY_free(p);
    ma_key_free(made);
    ma_key_free(again);
    ma_key_free(pub);
}
END_TEST

START_TEST(generate_refuses_unknown_types)
{
    struct ma_key *k = NULL;

    ck_assert_int_eq(ma_key_generate((enum ma_key_type)0, &k), MA_E_INVAL);
    ck_assert_int_eq(ma_key_generate((enum ma_key_type)99, &k), MA_E_INVAL);
    ck_assert_ptr_null(k);
    ma_key_free(NULL);
}
END_TEST

/* --- algorithm names --- */

START_TEST(alg_names_round_trip)
{
    ck_assert_str_eq(ma_jws_alg_name(algs[_i].alg), algs[_i].name);
    ck_assert_int_eq((int)ma_jws_alg_parse(ma_span_str(algs[_i].name)), (int)algs[_i].alg);
}
END_TEST

START_TEST(alg_names_are_exact)
{
    static const char *const bad[] = {"",       "none",  "None",  "rs256", "RS256 ",  " RS256", "RS25",
                                      "RS2560", "HS256", "eddsa", "EDDSA", "Ed25519", "ES256K", "RS1"};

    for (size_t i = 0; i < MA_COUNT(bad); i++)
        ck_assert_msg(ma_jws_alg_parse(ma_span_str(bad[i])) == MA_JWS_NONE, "%s", bad[i]);
    ck_assert_int_eq((int)ma_jws_alg_parse(ma_span_of("RS256\0", 6)), MA_JWS_NONE);
    ck_assert_int_eq((int)ma_jws_alg_parse(MA_SPAN_NULL), MA_JWS_NONE);
    ck_assert_str_eq(ma_jws_alg_name(MA_JWS_NONE), "none");
    ck_assert_str_eq(ma_jws_alg_name(MA_JWS__COUNT), "none");
}
END_TEST

static TCase *verify_case(void)
{
    TCase *t = tcase_create("verify");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 20); /* RSA key generation takes its time under a sanitizer */
    tcase_add_loop_test(t, rfc_vectors, 0, MA_COUNT(vectors));
    tcase_add_loop_test(t, round_trip_and_flipped_bits, 0, MA_COUNT(algs));
    tcase_add_loop_test(t, signature_lengths_are_exact, 0, MA_COUNT(algs));
    tcase_add_loop_test(t, another_algorithm_never_verifies, 0, MA_COUNT(algs));
    tcase_add_loop_test(t, another_key_never_verifies, 0, MA_COUNT(algs));
    tcase_add_loop_test(t, es_signatures_in_der_are_refused, 0, 3);
    tcase_add_test(t, pss_needs_a_salt_of_the_digest_length);
    tcase_add_test(t, an_empty_input_can_be_verified);
    tcase_add_test(t, contexts_follow_their_keys);
    tcase_add_test(t, threads_share_a_key);
    return t;
}

static TCase *key_case(void)
{
    TCase *t = tcase_create("key");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 20);
    tcase_add_loop_test(t, members_come_back_out, 0, MA_COUNT(vectors));
    tcase_add_loop_test(t, rsa_bounds, 0, MA_COUNT(rsa_rows));
    tcase_add_test(t, rsa_odd_shapes);
    tcase_add_loop_test(t, ec_points_off_the_curve_are_refused, 0, 2);
    tcase_add_test(t, ec_and_okp_shapes);
    tcase_add_test(t, pem_refuses_other_keys);
    tcase_add_test(t, pem_refuses_other_forms);
    tcase_add_loop_test(t, generated_keys_sign_and_export, 0, 5);
    tcase_add_test(t, generate_refuses_unknown_types);
    tcase_add_loop_test(t, alg_names_round_trip, 0, MA_COUNT(algs));
    tcase_add_test(t, alg_names_are_exact);
    return t;
}

int main(void)
{
    Suite *s = suite_create("keys");

    suite_add_tcase(s, verify_case());
    suite_add_tcase(s, key_case());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

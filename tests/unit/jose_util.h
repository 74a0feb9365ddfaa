/* SPDX-License-Identifier: Apache-2.0
 * Keys and signatures for the tests of tokens: OpenSSL directly, so that what is tested does not
 * sign for itself.
 */
#ifndef MA_TEST_JOSE_UTIL_H
#define MA_TEST_JOSE_UTIL_H

#include "../../src/jose/int.h"
#include "ma/codec.h"

#include <check.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* These helpers also run outside tests, where check's own assertions may not be used. */
#define T_NEED(expr)                                                                                                   \
    do {                                                                                                               \
        if (!(expr)) {                                                                                                 \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr);                                           \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)
#define T_MAYBE __attribute__((unused))

struct t_key {
    struct ma_key *key;
    EVP_PKEY *sign;
    struct ma_arena *arena;
    struct ma_span pem;
};

T_MAYBE static void t_key_make(struct t_key *k, enum ma_key_type type)
{
    k->arena = ma_arena_new(16384, 1u << 20);
    T_NEED(k->arena != NULL);
    T_NEED(ma_key_generate(type, &k->key) == MA_OK);
    T_NEED(ma_key_private_pem(k->key, k->arena, &k->pem) == MA_OK);
    BIO *b = BIO_new_mem_buf(k->pem.p, (int)k->pem.n);
    k->sign = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    T_NEED(k->sign != NULL);
}

T_MAYBE static void t_key_free(struct t_key *k)
{
    ma_key_free(k->key);
    EVP_PKEY_free(k->sign);
    ma_arena_free(k->arena);
}

T_MAYBE static char *t_b64(struct ma_arena *a, struct ma_span s)
{
    char *out = ma_arena_alloc(a, MA_B64URL_LEN(s.n) + 1);
    T_NEED(out != NULL);
    ma_b64url_encode(s, out);
    return out;
}

/* kid NULL: none; extra: further members, each followed by a comma. */
T_MAYBE static char *t_jwk(struct ma_arena *a, const struct t_key *k, const char *kid, const char *extra)
{
    struct ma_jwk_public p;
    T_NEED(ma_key_public(k->key, a, &p) == MA_OK);
    char *id = kid ? ma_arena_printf(a, "\"kid\":\"%s\",", kid) : ma_arena_printf(a, "%s", "");
    switch (ma_key_type(k->key)) {
    case MA_KEY_RSA:
        return ma_arena_printf(a, "{%s%s\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", id, extra, t_b64(a, p.n),
                               t_b64(a, p.e));
    case MA_KEY_ED25519:
        return ma_arena_printf(a, "{%s%s\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}", id, extra, t_b64(a, p.x));
    case MA_KEY_EC_P256:
    case MA_KEY_EC_P384:
    case MA_KEY_EC_P521:
    default:
        return ma_arena_printf(a, "{%s%s\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", id, extra,
                               t_b64(a, p.x), t_b64(a, p.y));
    }
}

/* md NULL: the key hashes by itself. */
T_MAYBE static size_t t_sign_md(const struct t_key *k, const EVP_MD *md, struct ma_span in, uint8_t *out, size_t cap)
{
    size_t n = cap;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    T_NEED(EVP_DigestSignInit(c, NULL, md, NULL, k->sign) == 1);
    T_NEED(EVP_DigestSign(c, out, &n, in.p, in.n) == 1);
    EVP_MD_CTX_free(c);
    return n;
}

T_MAYBE static size_t t_sign_der(const struct t_key *k, struct ma_span in, uint8_t *out, size_t cap)
{
    return t_sign_md(k, ma_key_type(k->key) == MA_KEY_ED25519 ? NULL : EVP_sha256(), in, out, cap);
}

/* RS256, ES256 or EdDSA as the key is; ES256 as raw r and s. */
T_MAYBE static size_t t_sign(const struct t_key *k, struct ma_span in, uint8_t *out, size_t cap)
{
    size_t n = t_sign_der(k, in, out, cap);
    if (ma_key_type(k->key) != MA_KEY_EC_P256)
        return n;
    const unsigned char *p = out;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)n);
    T_NEED(s != NULL);
    T_NEED(BN_bn2binpad(ECDSA_SIG_get0_r(s), out, 32) == 32);
    T_NEED(BN_bn2binpad(ECDSA_SIG_get0_s(s), out + 32, 32) == 32);
    ECDSA_SIG_free(s);
    return 64;
}

T_MAYBE static struct ma_span t_token(struct ma_arena *a, const struct t_key *k, const char *header,
                                      const char *payload)
{
    uint8_t sig[1024];
    char *in = ma_arena_printf(a, "%s.%s", t_b64(a, ma_span_str(header)), t_b64(a, ma_span_str(payload)));
    T_NEED(in != NULL);
    size_t n = t_sign(k, ma_span_str(in), sig, sizeof(sig));
    return ma_span_str(ma_arena_printf(a, "%s.%s", in, t_b64(a, ma_span_of(sig, n))));
}

/* RS384 or RS512 as md is. */
T_MAYBE static struct ma_span t_token_md(struct ma_arena *a, const struct t_key *k, const EVP_MD *md,
                                         const char *header, const char *payload)
{
    uint8_t sig[1024];
    char *in = ma_arena_printf(a, "%s.%s", t_b64(a, ma_span_str(header)), t_b64(a, ma_span_str(payload)));
    T_NEED(in != NULL);
    size_t n = t_sign_md(k, md, ma_span_str(in), sig, sizeof(sig));
    return ma_span_str(ma_arena_printf(a, "%s.%s", in, t_b64(a, ma_span_of(sig, n))));
}

/* A directory of its own for each test program. */
T_MAYBE static void t_dir(char out[64])
{
    (void)snprintf(out, 64, "/tmp/ma_test_XXXXXX");
    T_NEED(mkdtemp(out) != NULL);
}

T_MAYBE static void t_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    T_NEED(f != NULL);
    T_NEED((int)fwrite(text, 1, strlen(text), f) == (int)strlen(text));
    T_NEED(fclose(f) == 0);
}

T_MAYBE static void t_remove_dir(const char *dir)
{
    static const char *const names[] = {"keys/signing.keys", "keys/.signing.keys.new", "keys/real", "jwks.json",
                                        "other.json"};
    char path[160];
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/keys", dir);
    (void)rmdir(path);
    (void)rmdir(dir);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * DPoP proofs: every check of RFC 9449 §4.3, how URLs are compared, nonces, and each proof once.
 */
#include "ma/dpop.h"
#include "jose_util.h"

#include <pthread.h>

#define NOW_S INT64_C(1700000100) /* a slice of nonces begins here */
#define NOW_MS (NOW_S * 1000)
#define URL "https://login.example.com/me/v1/factors"
#define TOKEN "an.access.token"
#define HEAD "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":@}"
#define CLAIMS(jti, htm, htu, iat) "{\"jti\":" jti ",\"htm\":" htm ",\"htu\":" htu ",\"iat\":" iat "}"
#define GOOD_CLAIMS CLAIMS("\"j\"", "\"GET\"", "\"" URL "\"", "1700000100")
#define BAD MA_DPOP_BAD
#define OK MA_DPOP_OK

enum { THREADS = 8, PROOFS = 150, JTI_MAX = 128 };

static struct {
    struct t_key ec, other, rsa, ed;
    struct ma_arena *a;
    struct ma_dpop *d;
} F;

static void setup(void)
{
    F.a = ma_arena_new(65536, 64u << 20);
    T_NEED(F.a != NULL);
    T_NEED(ma_dpop_new(ma_rand_system(), &F.d) == MA_OK);
}

static void teardown(void)
{
    ma_dpop_free(F.d);
    ma_arena_free(F.a);
}

/* --- making and asking --- */

/* The template with the key instead of its '@'. */
static char *header_of(const char *template, const char *jwk)
{
    const char *at = strchr(template, '@');
    return at ? ma_arena_printf(F.a, "%.*s%s%s", (int)(at - template), template, jwk, at + 1)
              : ma_arena_printf(F.a, "%s", template);
}

static struct ma_span proof(const struct t_key *k, const char *alg, const char *claims)
{
    char *head = ma_arena_printf(F.a, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":%s}", alg, t_jwk(F.a, k, NULL, ""));
    return t_token(F.a, k, head, claims);
}

/* extra: further members, each followed by a comma. */
static struct ma_span simple(const struct t_key *k, const char *jti, int64_t iat, const char *extra)
{
    return proof(k, "ES256",
                 ma_arena_printf(F.a, "{%s\"jti\":\"%s\",\"htm\":\"GET\",\"htu\":\"" URL "\",\"iat\":%lld}", extra, jti,
                                 (long long)iat));
}

static enum ma_dpop_verdict ask_at(struct ma_dpop *d, struct ma_span p, const struct ma_dpop_ask *ask, int64_t now_ms,
                                   const char *name)
{
    char jkt[MA_JKT_LEN + 1];
    const char *why = NULL;
    enum ma_dpop_verdict v = ma_dpop_verify(d, F.a, p, ask, now_ms, jkt, &why);
    ck_assert_ptr_nonnull(why);
    ck_assert_msg((v == OK) == (why[0] == '\0'), "%s: verdict %d, \"%s\"", name, v, why);
    ck_assert_msg(v != OK || strlen(jkt) == MA_JKT_LEN, "%s: thumbprint \"%s\"", name, jkt);
    for (const char *c = why; *c; c++) /* it stands in a quoted string of a header */
        ck_assert_msg(*c >= ' ' && *c != '"' && *c != '\\' && *c < 0x7f, "%s: \"%s\"", name, why);
    return v;
}

static const struct ma_dpop_ask GET = {.method = "GET", .url = URL};

static enum ma_dpop_verdict ask(struct ma_span p)
{
    return ask_at(F.d, p, &GET, NOW_MS, "");
}

/* With a memory of its own, so that rows may use one jti. */
static void expect(const char *name, struct ma_span p, const struct ma_dpop_ask *q, enum ma_dpop_verdict want)
{
    struct ma_dpop *d = NULL;
    T_NEED(ma_dpop_new(ma_rand_system(), &d) == MA_OK);
    enum ma_dpop_verdict v = ask_at(d, p, q, NOW_MS, name);
    ma_dpop_free(d);
    ck_assert_msg(v == want, "%s: verdict %d, wanted %d", name, v, want);
}

/* --- RFC 9449's own proofs --- */

#define RFC_HEAD                                                                                                       \
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo" \
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
/* Figure 2 and figure 12. */
static const struct {
    const char *proof;
    struct ma_dpop_ask ask;
    int64_t iat;
} RFC[] = {
    {RFC_HEAD "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2Vu"
              "IiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfb"
              "V37xRZT3Lg",
     {.method = "POST", .url = "https://server.example.com/token"},
     1562262616},
    {RFC_HEAD "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90"
              "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtz"
              "bVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
     {.method = "GET",
      .url = "https://resource.example.org/protectedresource",
      .access_token = MA_LIT("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")},
     1562262618},
};

START_TEST(rfc_9449)
{
    char jkt[MA_JKT_LEN + 1];
    const char *why = NULL;
    struct ma_span p = ma_span_str(RFC[_i].proof);
    ck_assert_int_eq(ma_dpop_verify(F.d, F.a, p, &RFC[_i].ask, RFC[_i].iat * 1000, jkt, &why), OK);
    ck_assert_str_eq(jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"); /* §6.1 */
    ck_assert_int_eq(ma_dpop_verify(F.d, F.a, p, &RFC[_i].ask, NOW_MS, jkt, &why), BAD);
}
END_TEST

/* --- keys and algorithms --- */

/* RFC 7638 §3.3 by hand: the required members in lexicographic order, without white space. */
static char *thumbprint(const char *members)
{
    uint8_t hash[MA_SHA256_LEN];
    ck_assert_int_eq(ma_sha256(ma_span_str(members), hash), MA_OK);
    return t_b64(F.a, ma_span_of(hash, sizeof hash));
}

static const char *jkt_of(const struct t_key *k)
{
    struct ma_jwk_public p;
    T_NEED(ma_key_public(k->key, F.a, &p) == MA_OK);
    if (ma_key_type(k->key) == MA_KEY_RSA)
        return thumbprint(
            ma_arena_printf(F.a, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", t_b64(F.a, p.e), t_b64(F.a, p.n)));
    if (ma_key_type(k->key) == MA_KEY_ED25519)
        return thumbprint(ma_arena_printf(F.a, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", t_b64(F.a, p.x)));
    return thumbprint(ma_arena_printf(F.a, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                                      t_b64(F.a, p.x), t_b64(F.a, p.y)));
}

START_TEST(algorithms)
{
    const struct {
        const char *alg;
        const struct t_key *key;
        enum ma_dpop_verdict want;
    } rows[] = {
        {"ES256", &F.ec, OK},   {"RS256", &F.rsa, OK},  {"EdDSA", &F.ed, OK},
        {"ES256", &F.rsa, BAD}, {"RS256", &F.ec, BAD},  {"EdDSA", &F.ec, BAD},
        {"ES384", &F.ec, BAD},  {"ES512", &F.ec, BAD},  {"PS256", &F.rsa, BAD} /* the signature is PKCS#1's */,
        {"RS384", &F.rsa, BAD}, {"RS512", &F.rsa, BAD}, {"none", &F.ec, BAD},
        {"None", &F.ec, BAD},   {"HS256", &F.ec, BAD},  {"es256", &F.ec, BAD},
        {"ES256K", &F.ec, BAD}, {"", &F.ec, BAD},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        expect(rows[i].alg, proof(rows[i].key, rows[i].alg, GOOD_CLAIMS), &GET, rows[i].want);
}
END_TEST

/* The two that OpenSSL's plain interface does not make. */
START_TEST(further_algorithms)
{
    static const struct {
        enum ma_jws_alg alg;
        enum ma_key_type type;
    } rows[] = {{MA_JWS_PS256, MA_KEY_RSA}, {MA_JWS_ES384, MA_KEY_EC_P384}};
    struct t_key k;
    struct ma_jwk_public p;
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    t_key_make(&k, rows[_i].type);
    T_NEED(ma_key_public(k.key, F.a, &p) == MA_OK);
    char *jwk = rows[_i].type == MA_KEY_RSA ? t_jwk(F.a, &k, NULL, "")
                                            : ma_arena_printf(F.a,
                                                              "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"%s\","
                                                              "\"y\":\"%s\"}",
                                                              t_b64(F.a, p.x), t_b64(F.a, p.y));
    char *head =
        ma_arena_printf(F.a, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":%s}", ma_jws_alg_name(rows[_i].alg), jwk);
    char *in = ma_arena_printf(F.a, "%s.%s", t_b64(F.a, ma_span_str(head)), t_b64(F.a, ma_span_str(GOOD_CLAIMS)));
    T_NEED(ma_key_sign(k.key, rows[_i].alg, ma_span_str(in), sig, &n) == MA_OK);
    char *whole = ma_arena_printf(F.a, "%s.%s", in, t_b64(F.a, ma_span_of(sig, n)));
    expect(ma_jws_alg_name(rows[_i].alg), ma_span_str(whole), &GET, OK);
    t_key_free(&k);
}
END_TEST

START_TEST(thumbprints)
{
    const struct {
        const char *alg;
        const struct t_key *key;
    } rows[] = {{"ES256", &F.ec}, {"RS256", &F.rsa}, {"EdDSA", &F.ed}, {"ES256", &F.other}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        char jkt[MA_JKT_LEN + 1];
        const char *why = NULL;
        struct ma_span p = proof(rows[i].key, rows[i].alg, GOOD_CLAIMS);
        ck_assert_int_eq(ma_dpop_verify(F.d, F.a, p, &GET, NOW_MS, jkt, &why), OK);
        ck_assert_str_eq(jkt, jkt_of(rows[i].key));
    }
    ck_assert_str_ne(jkt_of(&F.ec), jkt_of(&F.other));
}
END_TEST

/* Further members of the key are not part of its name. */
START_TEST(thumbprint_of_the_same_key)
{
    char jkt[MA_JKT_LEN + 1];
    const char *why = NULL;
    char *jwk = t_jwk(F.a, &F.ec, "k1", "\"use\":\"sig\",\"alg\":\"ES256\",\"ext\":true,");
    struct ma_span p = t_token(F.a, &F.ec, header_of(HEAD, jwk), GOOD_CLAIMS);
    ck_assert_int_eq(ma_dpop_verify(F.d, F.a, p, &GET, NOW_MS, jkt, &why), OK);
    ck_assert_str_eq(jkt, jkt_of(&F.ec));
}
END_TEST

/* RFC 7638 §3.1 */
START_TEST(thumbprint_rfc_7638)
{
    static const char n[] =
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw";
    const struct ma_jwk_text text = {.kty = MA_LIT("RSA"), .n = ma_span_str(n), .e = MA_LIT("AQAB")};
    struct ma_key *k = NULL;
    char out[MA_JKT_LEN + 1];
    ck_assert_int_eq(ma_jwk_key(F.a, &text, &k), MA_OK);
    ck_assert_int_eq(ma_jwk_thumbprint(k, F.a, out), MA_OK);
    ma_key_free(k);
    ck_assert_str_eq(out, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}
END_TEST

/* --- the header --- */

static const struct {
    const char *name, *header;
    enum ma_dpop_verdict want;
} HEADERS[] = {
    {"good", HEAD, OK},
    {"unknown members", "{\"typ\":\"dpop+jwt\",\"kid\":\"x\",\"x\":[1],\"alg\":\"ES256\",\"jwk\":@}", OK},
    {"no typ", "{\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ null", "{\"typ\":null,\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ a number", "{\"typ\":1,\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ JWT", "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ of access tokens", "{\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ empty", "{\"typ\":\"\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ with more", "{\"typ\":\"dpop+jwt2\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ with less", "{\"typ\":\"dpop+jw\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"typ with a blank", "{\"typ\":\"dpop+jwt \",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"no alg", "{\"typ\":\"dpop+jwt\",\"jwk\":@}", BAD},
    {"alg a number", "{\"typ\":\"dpop+jwt\",\"alg\":256,\"jwk\":@}", BAD},
    {"alg twice", "{\"typ\":\"dpop+jwt\",\"alg\":\"none\",\"alg\":\"ES256\",\"jwk\":@}", BAD},
    {"no jwk", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\"}", BAD},
    {"jwk null", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":null}", BAD},
    {"jwk as text", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":\"x\"}", BAD},
    {"jwk in a list", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":[@]}", BAD},
    {"jwk empty", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{}}", BAD},
    {"jwk twice", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{},\"jwk\":@}", BAD},
    {"a set of keys", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{\"keys\":[@]}}", BAD},
    {"symmetric", "{\"typ\":\"dpop+jwt\",\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}}", BAD},
    {"crit", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"crit\":[\"exp\"],\"jwk\":@}", BAD},
    {"crit null", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"crit\":null,\"jwk\":@}", BAD},
    {"b64", "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"b64\":true,\"jwk\":@}", BAD},
    {"an array", "[@]", BAD},
    {"text", "\"x\"", BAD},
    {"not JSON", "x", BAD},
    {"more than JSON", HEAD "x", BAD},
};

START_TEST(headers)
{
    for (size_t i = 0; i < MA_COUNT(HEADERS); i++) {
        char *head = header_of(HEADERS[i].header, t_jwk(F.a, &F.ec, NULL, ""));
        expect(HEADERS[i].name, t_token(F.a, &F.ec, head, GOOD_CLAIMS), &GET, HEADERS[i].want);
    }
}
END_TEST

START_TEST(private_members)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    static const char *const values[] = {"\"AQ\"", "\"\"", "null", "[]", "{}", "1", "true"};
    for (size_t i = 0; i < MA_COUNT(members); i++)
        for (size_t j = 0; j < MA_COUNT(values); j++) {
            char *extra = ma_arena_printf(F.a, "\"%s\":%s,", members[i], values[j]);
            char *head = header_of(HEAD, t_jwk(F.a, &F.ec, NULL, extra));
            expect(extra, t_token(F.a, &F.ec, head, GOOD_CLAIMS), &GET, BAD);
        }
}
END_TEST

START_TEST(keys_that_are_none)
{
    struct ma_jwk_public p;
    T_NEED(ma_key_public(F.ec.key, F.a, &p) == MA_OK);
    const char *x = t_b64(F.a, p.x), *y = t_b64(F.a, p.y);
    const struct {
        const char *name, *jwk;
    } rows[] = {
        {"no kty", ma_arena_printf(F.a, "{\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"no crv", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"no y", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\"}", x)},
        {"another curve", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"secp256k1", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"kty RSA", ma_arena_printf(F.a, "{\"kty\":\"RSA\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"kty a number", ma_arena_printf(F.a, "{\"kty\":1,\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", x, y)},
        {"off the curve", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", x, x)},
        {"padded", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s=\",\"y\":\"%s\"}", x, y)},
        {"not base64url", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"!\"}", x)},
        {"empty", ma_arena_printf(F.a, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"\",\"y\":\"\"}%s", "")},
        {"somebody else's", t_jwk(F.a, &F.other, NULL, "")},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        expect(rows[i].name, t_token(F.a, &F.ec, header_of(HEAD, rows[i].jwk), GOOD_CLAIMS), &GET, BAD);
}
END_TEST

/* Below what is safe (RFC 7518 §3.3). */
START_TEST(small_rsa)
{
    EVP_PKEY *small = EVP_RSA_gen(1024);
    BIGNUM *n = NULL;
    uint8_t modulus[128];
    T_NEED(small && EVP_PKEY_get_bn_param(small, "n", &n) == 1);
    T_NEED(BN_bn2binpad(n, modulus, sizeof modulus) == (int)sizeof modulus);
    const struct t_key k = {.key = F.rsa.key, .sign = small};
    char *head = ma_arena_printf(F.a,
                                 "{\"typ\":\"dpop+jwt\",\"alg\":\"RS256\",\"jwk\":{\"kty\":\"RSA\",\"n\":\"%s\","
                                 "\"e\":\"AQAB\"}}",
                                 t_b64(F.a, ma_span_of(modulus, sizeof modulus)));
    expect("1024 bits", t_token(F.a, &k, head, GOOD_CLAIMS), &GET, BAD);
    BN_free(n);
    EVP_PKEY_free(small);
}
END_TEST

/* --- the compact form and the signature --- */

static struct ma_span text(const char *t)
{
    return ma_span_str(t);
}

/* The good proof with its parts replaced; NULL: as it is. */
static struct ma_span pieced(const char *head, const char *body, const char *sig)
{
    struct ma_span p = proof(&F.ec, "ES256", GOOD_CLAIMS), h, b, s;
    T_NEED(ma_jws_split(p, &h, &b, &s));
    return text(ma_arena_printf(F.a, "%.*s.%.*s.%.*s", head ? (int)strlen(head) : (int)h.n,
                                head ? head : (const char *)h.p, body ? (int)strlen(body) : (int)b.n,
                                body ? body : (const char *)b.p, sig ? (int)strlen(sig) : (int)s.n,
                                sig ? sig : (const char *)s.p));
}

START_TEST(compact_forms)
{
    struct ma_span good = proof(&F.ec, "ES256", GOOD_CLAIMS);
    uint8_t zero[64] = {0}, der[128];
    const char *whole = (const char *)good.p;
    const char *dot = strrchr(whole, '.');
    size_t n = t_sign_der(&F.ec, ma_span_of(good.p, (size_t)(dot - whole)), der, sizeof der);
    char *long_body = ma_arena_printf(F.a, "{\"pad\":\"%0*d\",%s", MA_DPOP_MAX, 0, GOOD_CLAIMS + 1);
    const struct {
        const char *name;
        struct ma_span p;
        enum ma_dpop_verdict want;
    } rows[] = {
        {"good", good, OK},
        {"empty", text(""), BAD},
        {"nothing", MA_SPAN_NULL, BAD},
        {"a word", text("abc"), BAD},
        {"dots", text(".."), BAD},
        {"two parts", ma_span_of(good.p, (size_t)(dot - whole)), BAD},
        {"an empty signature", ma_span_of(good.p, (size_t)(dot - whole) + 1), BAD},
        {"four parts", text(ma_arena_printf(F.a, "%s.x", whole)), BAD},
        {"two proofs", text(ma_arena_printf(F.a, "%s, %s", whole, whole)), BAD},
        {"padding", text(ma_arena_printf(F.a, "%s=", whole)), BAD},
        {"a blank", text(ma_arena_printf(F.a, "%s ", whole)), BAD},
        {"cut", ma_span_of(good.p, good.n - 4), BAD},
        {"a zero signature", pieced(NULL, NULL, t_b64(F.a, ma_span_of(zero, sizeof zero))), BAD},
        {"DER", pieced(NULL, NULL, t_b64(F.a, ma_span_of(der, n))), BAD},
        {"another payload",
         pieced(NULL, t_b64(F.a, text(CLAIMS("\"k\"", "\"GET\"", "\"" URL "\"", "1700000100"))), NULL), BAD},
        {"another header", pieced(t_b64(F.a, text(header_of(HEAD, t_jwk(F.a, &F.other, NULL, "")))), NULL, NULL), BAD},
        {"too long", t_token(F.a, &F.ec, header_of(HEAD, t_jwk(F.a, &F.ec, NULL, "")), long_body), BAD},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        expect(rows[i].name, rows[i].p, &GET, rows[i].want);
}
END_TEST

/* --- claims --- */

#define J "\"j\""
#define M "\"GET\""
#define U "\"" URL "\""
#define I "1700000100"
static const struct {
    const char *name, *claims;
    enum ma_dpop_verdict want;
} CLAIM_ROWS[] = {
    {"unknown members", "{\"x\":{},\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", OK},
    {"no jti", "{\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", BAD},
    {"jti empty", CLAIMS("\"\"", M, U, I), BAD},
    {"jti a number", CLAIMS("5", M, U, I), BAD},
    {"jti null", CLAIMS("null", M, U, I), BAD},
    {"jti with NUL", CLAIMS("\"a\\u0000b\"", M, U, I), BAD},
    {"jti twice", "{\"jti\":\"i\",\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", BAD},
    {"no htm", "{\"jti\":\"j\",\"htu\":" U ",\"iat\":" I "}", BAD},
    {"htm of another method", CLAIMS(J, "\"POST\"", U, I), BAD},
    {"htm in lower case", CLAIMS(J, "\"get\"", U, I), BAD}, /* RFC 9110 §9.1: methods are case-sensitive */
    {"htm HEAD", CLAIMS(J, "\"HEAD\"", U, I), BAD},
    {"htm empty", CLAIMS(J, "\"\"", U, I), BAD},
    {"htm with more", CLAIMS(J, "\"GETS\"", U, I), BAD},
    {"htm in a list", CLAIMS(J, "[\"GET\"]", U, I), BAD},
    {"no htu", "{\"jti\":\"j\",\"htm\":\"GET\",\"iat\":" I "}", BAD},
    {"htu a number", CLAIMS(J, M, "1", I), BAD},
    {"htu null", CLAIMS(J, M, "null", I), BAD},
    {"no iat", "{\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U "}", BAD},
    {"iat 300 s ago", CLAIMS(J, M, U, "1699999800"), OK},
    {"iat 301 s ago", CLAIMS(J, M, U, "1699999799"), BAD},
    {"iat in 5 s", CLAIMS(J, M, U, "1700000105"), OK},
    {"iat in 6 s", CLAIMS(J, M, U, "1700000106"), BAD},
    {"iat 0", CLAIMS(J, M, U, "0"), BAD},
    {"iat negative", CLAIMS(J, M, U, "-1"), BAD},
    {"iat the largest", CLAIMS(J, M, U, "9223372036854775807"), BAD},
    {"iat the smallest", CLAIMS(J, M, U, "-9223372036854775808"), BAD},
    {"iat beyond", CLAIMS(J, M, U, "9223372036854775808"), BAD},
    {"iat as text", CLAIMS(J, M, U, "\"1700000100\""), BAD},
    {"iat in milliseconds", CLAIMS(J, M, U, "1700000100000"), BAD},
    {"iat null", CLAIMS(J, M, U, "null"), BAD},
    {"an array", "[" GOOD_CLAIMS "]", BAD},
    {"not JSON", "jti=j", BAD},
    {"nonce a number", "{\"nonce\":1,\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", BAD},
    {"ath not of any token", "{\"ath\":\"x\",\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", OK},
    {"ath a number", "{\"ath\":1,\"jti\":\"j\",\"htm\":\"GET\",\"htu\":" U ",\"iat\":" I "}", BAD},
};

START_TEST(claim_rows)
{
    for (size_t i = 0; i < MA_COUNT(CLAIM_ROWS); i++)
        expect(CLAIM_ROWS[i].name, proof(&F.ec, "ES256", CLAIM_ROWS[i].claims), &GET, CLAIM_ROWS[i].want);
}
END_TEST

START_TEST(jti_lengths)
{
    char jti[JTI_MAX + 2];
    static const struct {
        size_t n;
        enum ma_dpop_verdict want;
    } rows[] = {{1, OK}, {JTI_MAX - 1, OK}, {JTI_MAX, OK}, {JTI_MAX + 1, BAD}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        memset(jti, 'x', rows[i].n);
        jti[rows[i].n] = '\0';
        expect(jti, simple(&F.ec, jti, NOW_S, ""), &GET, rows[i].want);
    }
}
END_TEST

START_TEST(methods)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PATCH", "DELETE"};
    for (size_t i = 0; i < MA_COUNT(names); i++)
        for (size_t j = 0; j < MA_COUNT(names); j++) {
            char *c = ma_arena_printf(F.a, CLAIMS("\"j\"", "\"%s\"", U, I), names[i]);
            const struct ma_dpop_ask q = {.method = names[j], .url = URL};
            expect(names[i], proof(&F.ec, "ES256", c), &q, i == j ? OK : BAD);
        }
}
END_TEST

/* --- URLs --- */

#define B "https://a.example"
static const struct {
    const char *name, *htu, *url;
    enum ma_dpop_verdict want;
} URLS[] = {
    {"equal", B "/x", B "/x", OK},
    {"scheme in upper case", "HTTPS://a.example/x", B "/x", OK},
    {"host in upper case", "https://A.Example/x", B "/x", OK},
    {"default port", "https://a.example:443/x", B "/x", OK},
    {"default port, asked", B "/x", "https://a.example:443/x", OK},
    {"default port of http", "http://a.example:80/x", "http://a.example/x", OK},
    {"empty port", "https://a.example:/x", B "/x", OK},
    {"the other scheme's port", "https://a.example:80/x", B "/x", BAD},
    {"a port", "http://localhost:8080/x", "http://localhost:8080/x", OK},
    {"another port", "http://localhost:8081/x", "http://localhost:8080/x", BAD},
    {"no port where there is one", "http://localhost/x", "http://localhost:8080/x", BAD},
    {"a port that is none", "https://a.example:443x/x", B "/x", BAD},
    {"an address", "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x", OK},
    {"an address in brackets", "http://[::1]:8080/x", "http://[::1]:8080/x", OK},
    {"its default port", "http://[::1]:80/x", "http://[::1]/x", OK},
    {"its case", "http://[2001:DB8::1]/x", "http://[2001:db8::1]/x", OK},
    {"without brackets", "http://::1/x", "http://[::1]/x", BAD},
    {"another scheme", "http://a.example/x", B "/x", BAD},
    {"a scheme of something else", "ftp://a.example/x", B "/x", BAD},
    {"no scheme", "//a.example/x", B "/x", BAD},
    {"one slash", "https:/a.example/x", B "/x", BAD},
    {"a path alone", "/x", B "/x", BAD},
    {"another host", "https://b.example/x", B "/x", BAD},
    {"a host below", "https://b.a.example/x", B "/x", BAD},
    {"a longer host", "https://a.example.org/x", B "/x", BAD},
    {"a host with a dot behind", "https://a.example./x", B "/x", BAD},
    {"a user", "https://u@a.example/x", B "/x", BAD},
    {"a user that looks like the host", "https://a.example@b.example/x", B "/x", BAD},
    {"a user and a password", "https://u:p@a.example/x", B "/x", BAD},
    {"an escaped host", "https://%61.example/x", B "/x", BAD},
    {"no host", "https:///x", B "/x", BAD},
    {"a port alone", "https://:443/x", B "/x", BAD},
    {"query", B "/x?a=b", B "/x", OK},
    {"query, asked", B "/x", B "/x?a=b", OK},
    {"another query", B "/x?c", B "/x?a=b", OK},
    {"fragment", B "/x#f", B "/x", OK},
    {"query and fragment", B "/x?a#b?c/d", B "/x", OK},
    {"a query without a path", B "?a", B "/", OK},
    {"an empty query", B "/x?", B "/x", OK},
    {"no path", B, B "/", OK},
    {"a slash behind", B "/x/", B "/x", BAD},
    {"a slash more", B "//x", B "/x", BAD},
    {"another path", B "/y", B "/x", BAD},
    {"a path below", B "/x/y", B "/x", BAD},
    {"path in upper case", B "/X", B "/x", BAD},
    {"an escaped letter", B "/%78", B "/x", OK},
    {"an escaped letter, asked", B "/x", B "/%78", OK},
    {"an escaped tilde", B "/%7Eu", B "/~u", OK},
    {"bar escaped", B "/passkey%7Cnew", B "/passkey|new", OK},
    {"bar raw", B "/passkey|new", B "/passkey%7Cnew", OK},
    {"bar in lower case", B "/passkey%7cnew", B "/passkey%7Cnew", OK},
    {"bar escaped twice", B "/passkey%257Cnew", B "/passkey%7Cnew", BAD},
    {"bar left out", B "/passkeynew", B "/passkey%7Cnew", BAD},
    {"escapes in lower case", B "/%e2%82%ac", B "/%E2%82%AC", OK},
    {"raw UTF-8", B "/\\u20ac", B "/%E2%82%AC", OK},
    {"an escaped slash is none", B "/a%2Fb", B "/a/b", BAD},
    {"an escaped slash", B "/a%2fb", B "/a%2Fb", OK},
    {"an escaped question mark", B "/x%3Fa", B "/x", BAD},
    {"an escaped number sign", B "/x%23a", B "/x", BAD},
    {"a colon", B "/a:b", B "/a:b", OK},
    {"a blank", B "/a b", B "/a%20b", OK},
    {"a plus is no blank", B "/a+b", B "/a%20b", BAD},
    {"half an escape", B "/x%7", B "/x%7", BAD},
    {"a percent sign alone", B "/x%", B "/x", BAD},
    {"an escape that is none", B "/%zz", B "/%zz", BAD},
    {"dot segments", B "/a/../x", B "/x", BAD},
    {"a backslash", "https:\\\\\\\\a.example/x", B "/x", BAD},
    {"blank before", " " B "/x", B "/x", BAD},
    {"blank behind", B "/x ", B "/x", BAD},
    {"NUL", B "/x\\u0000", B "/x", BAD},
    {"empty", "", B "/x", BAD},
};

START_TEST(urls)
{
    for (size_t i = 0; i < MA_COUNT(URLS); i++) {
        char *c = ma_arena_printf(F.a, CLAIMS("\"j\"", "\"GET\"", "\"%s\"", I), URLS[i].htu);
        const struct ma_dpop_ask q = {.method = "GET", .url = URLS[i].url};
        expect(URLS[i].name, proof(&F.ec, "ES256", c), &q, URLS[i].want);
    }
}
END_TEST

START_TEST(normal_forms)
{
    static const char *const rows[][2] = {
        {"HTTPS://Login.Example.COM:443", "https://login.example.com/"},
        {"http://a:80/%7euser/%2f|%7c\"?x#y", "http://a/~user/%2F%7C%7C%22"},
        {"http://[::A]:0080/;=,@:!$&'()*+", "http://[::a]:0080/;=,@:!$&'()*+"},
    };
    struct ma_span out, again;
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_int_eq(ma_dpop_url(F.a, ma_span_str(rows[i][0]), &out), MA_OK);
        ck_assert_msg(ma_span_eq_str(out, rows[i][1]), "%s: %.*s", rows[i][0], (int)out.n, (const char *)out.p);
        ck_assert_int_eq(ma_dpop_url(F.a, out, &again), MA_OK);
        ck_assert_msg(ma_span_eq(out, again), "%s: not stable", rows[i][0]);
    }
}
END_TEST

/* --- ath --- */

START_TEST(ath)
{
    const char *good = thumbprint(TOKEN), *other = thumbprint("another");
    const struct {
        const char *name, *ath;
        struct ma_span token;
        enum ma_dpop_verdict want;
    } rows[] = {
        {"good", good, MA_LIT(TOKEN), OK},
        {"missing", NULL, MA_LIT(TOKEN), BAD},
        {"of another token", other, MA_LIT(TOKEN), BAD},
        {"empty", "", MA_LIT(TOKEN), BAD},
        {"cut", ma_arena_printf(F.a, "%.42s", good), MA_LIT(TOKEN), BAD},
        {"padded", ma_arena_printf(F.a, "%s=", good), MA_LIT(TOKEN), BAD},
        {"the token itself", TOKEN, MA_LIT(TOKEN), BAD},
        {"superfluous", other, MA_SPAN_NULL, OK},
        {"not needed", NULL, MA_SPAN_NULL, OK},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        const struct ma_dpop_ask q = {.method = "GET", .url = URL, .access_token = rows[i].token};
        char *extra =
            rows[i].ath ? ma_arena_printf(F.a, "\"ath\":\"%s\",", rows[i].ath) : ma_arena_printf(F.a, "%s", "");
        expect(rows[i].name, simple(&F.ec, "j", NOW_S, extra), &q, rows[i].want);
    }
}
END_TEST

/* --- nonces --- */

static enum ma_dpop_verdict with_nonce(const char *nonce, bool required, int64_t now_ms)
{
    static unsigned count;
    const struct ma_dpop_ask q = {.method = "GET", .url = URL, .nonce_required = required};
    char *extra = nonce ? ma_arena_printf(F.a, "\"nonce\":\"%s\",", nonce) : ma_arena_printf(F.a, "%s", "");
    char *jti = ma_arena_printf(F.a, "n%u", ++count);
    return ask_at(F.d, simple(&F.ec, jti, now_ms / 1000, extra), &q, now_ms, nonce ? nonce : "none");
}

/* Good for its slice of time and the next, whether one is required or just there. */
START_TEST(nonces_lapse)
{
    const int64_t slice = MA_DPOP_NONCE_LIFE_S * INT64_C(1000);
    char first[MA_DPOP_NONCE_LEN + 1], late[MA_DPOP_NONCE_LEN + 1], next[MA_DPOP_NONCE_LEN + 1];
    ck_assert_int_eq(ma_dpop_nonce(F.d, NOW_MS, first), MA_OK);
    ck_assert_int_eq(ma_dpop_nonce(F.d, NOW_MS + slice - 1, late), MA_OK);
    ck_assert_int_eq(ma_dpop_nonce(F.d, NOW_MS + slice, next), MA_OK);
    ck_assert_uint_eq(strlen(first), MA_DPOP_NONCE_LEN);
    ck_assert_str_eq(first, late);
    ck_assert_str_ne(first, next);
    bool required = _i == 1;
    ck_assert_int_eq(with_nonce(first, required, NOW_MS), OK);
    ck_assert_int_eq(with_nonce(first, required, NOW_MS + slice), OK);
    ck_assert_int_eq(with_nonce(first, required, NOW_MS + 2 * slice - 1), OK);
    ck_assert_int_eq(with_nonce(first, required, NOW_MS + 2 * slice), MA_DPOP_USE_NONCE);
    ck_assert_int_eq(with_nonce(first, required, NOW_MS - 1), MA_DPOP_USE_NONCE);
    ck_assert_int_eq(with_nonce(next, required, NOW_MS), MA_DPOP_USE_NONCE);
}
END_TEST

START_TEST(nonces_that_are_none)
{
    char good[MA_DPOP_NONCE_LEN + 1], foreign[MA_DPOP_NONCE_LEN + 1];
    struct ma_dpop *d = NULL;
    T_NEED(ma_dpop_new(ma_rand_system(), &d) == MA_OK);
    ck_assert_int_eq(ma_dpop_nonce(F.d, NOW_MS, good), MA_OK);
    ck_assert_int_eq(ma_dpop_nonce(d, NOW_MS, foreign), MA_OK);
    ma_dpop_free(d);
    ck_assert_str_ne(good, foreign);
    const char *const rows[] = {foreign,
                                "",
                                "x",
                                ma_arena_printf(F.a, "%.42s", good),
                                ma_arena_printf(F.a, "%sA", good),
                                ma_arena_printf(F.a, " %s", good)};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_int_eq(with_nonce(rows[i], false, NOW_MS), MA_DPOP_USE_NONCE);
        ck_assert_int_eq(with_nonce(rows[i], true, NOW_MS), MA_DPOP_USE_NONCE);
    }
    ck_assert_int_eq(with_nonce(NULL, true, NOW_MS), MA_DPOP_USE_NONCE);
    ck_assert_int_eq(with_nonce(NULL, false, NOW_MS), OK);
}
END_TEST

/* Whoever cannot sign is not told to fetch a nonce, and a proof that lacked one is not used up. */
START_TEST(nonces_and_the_rest)
{
    const struct ma_dpop_ask strict = {.method = "GET", .url = URL, .nonce_required = true};
    char *head = header_of(HEAD, t_jwk(F.a, &F.other, NULL, ""));
    ck_assert_int_eq(ask_at(F.d, t_token(F.a, &F.ec, head, GOOD_CLAIMS), &strict, NOW_MS, "unsigned"), BAD);
    struct ma_span p = proof(&F.ec, "ES256", GOOD_CLAIMS);
    ck_assert_int_eq(ask_at(F.d, p, &strict, NOW_MS, "without"), MA_DPOP_USE_NONCE);
    ck_assert_int_eq(ask(p), OK);
    ck_assert_int_eq(ask_at(F.d, p, &strict, NOW_MS, "used"), MA_DPOP_USE_NONCE);
}
END_TEST

/* --- each proof once --- */

START_TEST(replayed)
{
    struct ma_span p = simple(&F.ec, "j", NOW_S, "");
    ck_assert_int_eq(ask(p), OK);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(p), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask(simple(&F.ec, "j", NOW_S, "")), MA_DPOP_REPLAYED); /* signed again */
    ck_assert_int_eq(ask(simple(&F.ec, "j", NOW_S - 1, "\"x\":1,")), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask(simple(&F.ec, "J", NOW_S, "")), OK);
    ck_assert_int_eq(ask(simple(&F.ec, "j ", NOW_S, "")), OK);
    ck_assert_int_eq(ask(simple(&F.other, "j", NOW_S, "")), OK);
    ck_assert_int_eq(ask(simple(&F.other, "j", NOW_S, "")), MA_DPOP_REPLAYED);
}
END_TEST

/* As long as the proof could be shown, and not for ever. */
START_TEST(replay_lapses)
{
    const int64_t end = NOW_S + MA_DPOP_FUTURE_S + MA_DPOP_PAST_S;
    struct ma_span p = simple(&F.ec, "j", NOW_S + MA_DPOP_FUTURE_S, "");
    ck_assert_int_eq(ask(p), OK);
    ck_assert_int_eq(ask_at(F.d, p, &GET, end * 1000 + 999, "its last moment"), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask_at(F.d, p, &GET, NOW_MS, "a clock set back"), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask_at(F.d, p, &GET, (end + 1) * 1000, "too old"), BAD);
    struct ma_span q = simple(&F.ec, "j", end + 60, "");
    ck_assert_int_eq(ask_at(F.d, q, &GET, (end + 60) * 1000, "jti anew"), OK);
    ck_assert_int_eq(ask_at(F.d, q, &GET, (end + 60) * 1000, "and again"), MA_DPOP_REPLAYED);
}
END_TEST

/* What is refused for another reason takes no place. */
START_TEST(refused_is_not_used)
{
    const struct ma_dpop_ask post = {.method = "POST", .url = URL};
    const struct ma_dpop_ask elsewhere = {.method = "GET", .url = "https://a.example/"};
    const struct ma_dpop_ask bound = {.method = "GET", .url = URL, .access_token = MA_LIT(TOKEN)};
    struct ma_span p = simple(&F.ec, "j", NOW_S, "");
    ck_assert_int_eq(ask_at(F.d, p, &post, NOW_MS, "method"), BAD);
    ck_assert_int_eq(ask_at(F.d, p, &elsewhere, NOW_MS, "URL"), BAD);
    ck_assert_int_eq(ask_at(F.d, p, &bound, NOW_MS, "ath"), BAD);
    ck_assert_int_eq(ask_at(F.d, p, &GET, NOW_MS - 6000, "early"), BAD);
    ck_assert_int_eq(ask(p), OK);
}
END_TEST

static struct ma_span shared[PROOFS];
static atomic_int accepted[PROOFS], refused[PROOFS];
static pthread_barrier_t gate;

static void *present_all(void *arg)
{
    struct ma_arena *a = ma_arena_new(65536, 16u << 20);
    T_NEED(a != NULL);
    (void)arg;
    for (size_t i = 0; i < PROOFS; i++) {
        char jkt[MA_JKT_LEN + 1];
        const char *why = NULL;
        (void)pthread_barrier_wait(&gate);
        enum ma_dpop_verdict v = ma_dpop_verify(F.d, a, shared[i], &GET, NOW_MS, jkt, &why);
        if (v == OK)
            (void)atomic_fetch_add(&accepted[i], 1);
        if (v == MA_DPOP_REPLAYED)
            (void)atomic_fetch_add(&refused[i], 1);
        ma_arena_reset(a);
    }
    ma_arena_free(a);
    return NULL;
}

START_TEST(threads)
{
    pthread_t t[THREADS];
    for (int i = 0; i < PROOFS; i++)
        shared[i] = simple(&F.ec, ma_arena_printf(F.a, "t%d", i), NOW_S, "");
    ck_assert_int_eq(pthread_barrier_init(&gate, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, present_all, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    (void)pthread_barrier_destroy(&gate);
    for (int i = 0; i < PROOFS; i++) {
        ck_assert_msg(atomic_load(&accepted[i]) == 1, "proof %d was accepted %d times", i, atomic_load(&accepted[i]));
        ck_assert_int_eq(atomic_load(&refused[i]), THREADS - 1);
    }
}
END_TEST

/* --- other names, and no room --- */

static bool remember(const char *issuer, const char *jti, int64_t until_s, int64_t now_s)
{
    return ma_dpop_remember(F.d, ma_span_str(issuer), ma_span_str(jti), until_s * 1000, now_s * 1000);
}

START_TEST(other_names)
{
    const int64_t end = NOW_S + 60;
    ck_assert(remember("ab", "c", end, NOW_S));
    ck_assert(!remember("ab", "c", end, NOW_S));
    ck_assert(!remember("ab", "c", end, end));
    ck_assert(!remember("ab", "c", end + 600, NOW_S));
    ck_assert(remember("a", "bc", end, NOW_S));
    ck_assert(remember("", "abc", end, NOW_S));
    ck_assert(remember("abc", "", end, NOW_S));
    ck_assert(remember("ab", "d", end, NOW_S));
    ck_assert(remember("ab", "c", end + 600, end + 60));
    ck_assert(!remember("ab", "c", end + 600, end + 120));
}
END_TEST

/* --- two steps, places, and the time before --- */

START_TEST(settled_later)
{
    struct ma_dpop_used used;
    const struct ma_dpop_ask later = {.method = "GET", .url = URL, .later = &used};
    struct ma_span p = simple(&F.ec, "j", NOW_S, "");
    const char *why = NULL;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask_at(F.d, p, &later, NOW_MS, "not yet"), OK);
    ck_assert_int_eq(ma_dpop_settle(F.d, MA_DPOP_API, &used, NOW_MS, &why), OK);
    ck_assert_int_eq(ma_dpop_settle(F.d, MA_DPOP_API, &used, NOW_MS, &why), MA_DPOP_REPLAYED);
    ck_assert_str_ne(why, "");
    ck_assert_int_eq(ask_at(F.d, p, &later, NOW_MS, "used"), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask(p), MA_DPOP_REPLAYED);
}
END_TEST

START_TEST(places)
{
    const struct ma_dpop_ask token = {.method = "GET", .url = URL, .place = MA_DPOP_TOKEN_ENDPOINT};
    struct ma_rand_seeded rand;
    struct ma_dpop *d = NULL;
    unsigned taken = 0;
    ma_rand_seeded_init(&rand, 11);
    ck_assert_int_eq(ma_dpop_new_sized(&rand.rand, 1, &d), MA_OK);
    for (unsigned i = 0; i < 4096; i++)
        taken += ma_dpop_remember(d, MA_LIT("i"), ma_span_of(&i, sizeof i), NOW_MS + 60000, NOW_MS);
    ck_assert_uint_eq(taken, MA_REPLAY_SHARDS);
    struct ma_span p = simple(&F.ec, "j", NOW_S, "");
    ck_assert_int_eq(ask_at(d, p, &token, NOW_MS, "token endpoint"), OK);
    ck_assert_int_eq(ask_at(d, p, &token, NOW_MS, "token endpoint"), MA_DPOP_REPLAYED);
    ck_assert_int_eq(ask_at(d, p, &GET, NOW_MS, "API"), OK);
    ma_dpop_free(d);
}
END_TEST

/* A nonce of this process proves that a proof is younger than its memory; iat alone must say so. */
START_TEST(before_the_start)
{
    char nonce[MA_DPOP_NONCE_LEN + 1];
    ck_assert_int_eq(ma_dpop_since_s(F.d), 0);
    ma_dpop_start(F.d, NOW_MS);
    ck_assert_int_eq(ma_dpop_since_s(F.d), NOW_S);
    ck_assert_int_eq(ask(simple(&F.ec, "a", NOW_S - 1, "")), MA_DPOP_USE_NONCE);
    ck_assert_int_eq(ask(simple(&F.ec, "b", NOW_S, "")), OK);
    ck_assert_int_eq(ma_dpop_nonce(F.d, NOW_MS, nonce), MA_OK);
    const char *member = ma_arena_printf(F.a, "\"nonce\":\"%s\",", nonce);
    ck_assert_int_eq(ask(simple(&F.ec, "c", NOW_S - 1, member)), OK);
    ck_assert_int_eq(ask(simple(&F.ec, "c", NOW_S - 1, member)), MA_DPOP_REPLAYED);
}
END_TEST

/* Names of one kind are not those of the other. */
START_TEST(kinds_of_names)
{
    ck_assert_int_eq(ask(simple(&F.ec, "j", NOW_S, "")), OK);
    ck_assert(remember(jkt_of(&F.ec), "j", NOW_S + 60, NOW_S));
}
END_TEST

#define ROOM 2u
#define ALL (ROOM * MA_REPLAY_SHARDS)

static enum ma_replay_verdict add(struct ma_replay *r, unsigned i, int64_t until_s, int64_t now_s)
{
    struct ma_span name = ma_span_of(&i, sizeof i);
    return ma_replay_add(r, &name, 1, until_s, now_s);
}

/* Fills every shard; how many were taken. Names first to first + 4095. */
static unsigned fill(struct ma_replay *r, unsigned first, int64_t until_s, int64_t now_s)
{
    unsigned taken = 0;
    for (unsigned i = first; i < first + 4096; i++)
        taken += add(r, i, until_s, now_s) == MA_REPLAY_NEW;
    return taken;
}

START_TEST(replay_room)
{
    struct ma_rand_seeded rand;
    struct ma_replay *r = NULL;
    ma_rand_seeded_init(&rand, 7);
    ck_assert_int_eq(ma_replay_new(&rand.rand, ROOM, &r), MA_OK);
    ck_assert_uint_eq(fill(r, 0, NOW_S, NOW_S), ALL);
    ck_assert_uint_eq(fill(r, 0, NOW_S, NOW_S), 0);
    unsigned seen = 0, full = 0;
    for (unsigned i = 0; i < 4096; i++) {
        enum ma_replay_verdict v = add(r, i, NOW_S + 900, NOW_S);
        seen += v == MA_REPLAY_SEEN;
        full += v == MA_REPLAY_FULL;
    }
    ck_assert_uint_eq(seen, ALL);
    ck_assert_uint_eq(full, 4096 - ALL);
    ck_assert_uint_eq(fill(r, 10000, NOW_S + 300, NOW_S + MA_REPLAY_SLACK_S), 0);
    ck_assert_uint_eq(fill(r, 10000, NOW_S + 300, NOW_S + MA_REPLAY_SLACK_S + 1), ALL); /* all have lapsed */
    ck_assert_uint_eq(fill(r, 0, NOW_S + 300, NOW_S + 300), 0);
    ma_replay_free(r);
}
END_TEST

/* A name that has lapsed but not been swept may be used again, in a full shard too, and then counts anew. */
START_TEST(replay_same_name_again)
{
    struct ma_replay *r = NULL;
    ck_assert_int_eq(ma_replay_new(ma_rand_system(), 1, &r), MA_OK);
    ck_assert_int_eq(add(r, 1, NOW_S, NOW_S), MA_REPLAY_NEW);
    ck_assert_int_eq(add(r, 1, NOW_S + 1000, NOW_S + 100), MA_REPLAY_NEW);
    ck_assert_int_eq(add(r, 1, NOW_S + 1000, NOW_S + 1000), MA_REPLAY_SEEN);
    ck_assert_uint_eq(fill(r, 2, NOW_S + 1000, NOW_S + 1000), MA_REPLAY_SHARDS - 1);
    ma_replay_free(r);
}
END_TEST

/* Sweeping takes what has lapsed and leaves what lives. */
START_TEST(replay_sweeps)
{
    enum { LIVE = 100, N = 3000 };
    struct ma_replay *r = NULL;
    ck_assert_int_eq(ma_replay_new(ma_rand_system(), 40, &r), MA_OK); /* 2560 in all */
    for (unsigned i = 0; i < LIVE; i++)
        ck_assert_int_eq(add(r, i, NOW_S + 100000, NOW_S), MA_REPLAY_NEW);
    for (unsigned round = 1; round <= 10; round++) {
        int64_t now = NOW_S + round * 1000;
        unsigned taken = 0;
        for (unsigned i = 0; i < N; i++)
            taken += add(r, round * 10000 + i, now + 1, now) == MA_REPLAY_NEW;
        ck_assert_uint_ge(taken, 40 * MA_REPLAY_SHARDS - LIVE - 300); /* few shards are not filled by chance */
        ck_assert_uint_le(taken, 40 * MA_REPLAY_SHARDS);
        for (unsigned i = 0; i < LIVE; i++)
            ck_assert_int_eq(add(r, i, now + 1, now), MA_REPLAY_SEEN);
    }
    ma_replay_free(r);
}
END_TEST

/* Times that are none do no harm. */
START_TEST(replay_times)
{
    struct ma_replay *r = NULL;
    ck_assert_int_eq(ma_replay_new(ma_rand_system(), SIZE_MAX, &r), MA_OK);
    ck_assert_int_eq(add(r, 1, INT64_MAX, NOW_S), MA_REPLAY_NEW);
    ck_assert_int_eq(add(r, 1, INT64_MAX, INT64_MAX), MA_REPLAY_SEEN);
    ck_assert_int_eq(add(r, 2, INT64_MIN, INT64_MIN), MA_REPLAY_NEW);
    ck_assert_int_eq(add(r, 2, 0, 0), MA_REPLAY_SEEN);
    ck_assert_int_eq(add(r, 2, NOW_S, NOW_S), MA_REPLAY_NEW);
    ma_replay_free(r);
}
END_TEST

START_TEST(busy)
{
    struct ma_rand_seeded rand;
    struct ma_dpop *d = NULL;
    ma_rand_seeded_init(&rand, 9);
    ck_assert_int_eq(ma_dpop_new_sized(&rand.rand, ROOM, &d), MA_OK);
    struct ma_span p = simple(&F.ec, "j", NOW_S, "");
    ck_assert_int_eq(ask_at(d, p, &GET, NOW_MS, "first"), OK);
    unsigned taken = 0;
    for (unsigned i = 0; i < 4096; i++) {
        const struct ma_dpop_used used = {.jti = ma_span_of(&i, sizeof i), .until_s = NOW_S + 61};
        const char *why = NULL;
        taken += ma_dpop_settle(d, MA_DPOP_API, &used, NOW_MS, &why) == OK;
    }
    ck_assert_uint_eq(taken, ALL - 1);
    ck_assert_int_eq(ask_at(d, simple(&F.ec, "k", NOW_S, ""), &GET, NOW_MS, "full"), MA_DPOP_BUSY);
    ck_assert_int_eq(ask_at(d, p, &GET, NOW_MS, "used"), MA_DPOP_REPLAYED);
    const int64_t later = NOW_S + 400;
    ck_assert_int_eq(ask_at(d, simple(&F.ec, "k", later, ""), &GET, later * 1000, "later"), OK);
    ma_dpop_free(d);
}
END_TEST

static int no_rand(const struct ma_rand *r, void *p, size_t n)
{
    (void)r, (void)p, (void)n;
    return MA_E_IO;
}

START_TEST(no_randomness)
{
    const struct ma_rand broken = {.fill = no_rand};
    struct ma_dpop *d = NULL;
    struct ma_replay *r = NULL;
    ck_assert_int_eq(ma_dpop_new(&broken, &d), MA_E_IO);
    ck_assert_ptr_null(d);
    ck_assert_int_eq(ma_replay_new(&broken, 1, &r), MA_E_IO);
    ck_assert_ptr_null(r);
    ma_dpop_free(NULL);
    ma_replay_free(NULL);
}
END_TEST

static void add_proofs(TCase *t)
{
    tcase_add_loop_test(t, rfc_9449, 0, MA_COUNT(RFC));
    tcase_add_test(t, algorithms);
    tcase_add_loop_test(t, further_algorithms, 0, 2);
    tcase_add_test(t, thumbprints);
    tcase_add_test(t, thumbprint_of_the_same_key);
    tcase_add_test(t, thumbprint_rfc_7638);
    tcase_add_test(t, headers);
    tcase_add_test(t, private_members);
    tcase_add_test(t, keys_that_are_none);
    tcase_add_test(t, small_rsa);
    tcase_add_test(t, compact_forms);
    tcase_add_test(t, claim_rows);
    tcase_add_test(t, jti_lengths);
    tcase_add_test(t, methods);
    tcase_add_test(t, urls);
    tcase_add_test(t, normal_forms);
    tcase_add_test(t, ath);
    tcase_add_loop_test(t, nonces_lapse, 0, 2);
    tcase_add_test(t, nonces_that_are_none);
    tcase_add_test(t, nonces_and_the_rest);
}

static void add_replay(TCase *t)
{
    tcase_add_test(t, replayed);
    tcase_add_test(t, replay_lapses);
    tcase_add_test(t, refused_is_not_used);
    tcase_add_test(t, threads);
    tcase_add_test(t, other_names);
    tcase_add_test(t, settled_later);
    tcase_add_test(t, places);
    tcase_add_test(t, before_the_start);
    tcase_add_test(t, kinds_of_names);
    tcase_add_test(t, replay_room);
    tcase_add_test(t, replay_same_name_again);
    tcase_add_test(t, replay_sweeps);
    tcase_add_test(t, replay_times);
    tcase_add_test(t, busy);
    tcase_add_test(t, no_randomness);
}

static Suite *suite(void)
{
    Suite *s = suite_create("dpop");
    TCase *t = tcase_create("dpop");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    add_proofs(t);
    add_replay(t);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    if (ma_crypto_init() < 0)
        return EXIT_FAILURE;
    t_key_make(&F.ec, MA_KEY_EC_P256);
    t_key_make(&F.other, MA_KEY_EC_P256);
    t_key_make(&F.rsa, MA_KEY_RSA);
    t_key_make(&F.ed, MA_KEY_ED25519);
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    t_key_free(&F.ec);
    t_key_free(&F.other);
    t_key_free(&F.rsa);
    t_key_free(&F.ed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

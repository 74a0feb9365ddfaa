/* SPDX-License-Identifier: Apache-2.0
 * Tokens: published vectors, forgeries, claims, and the daemon's own tokens with libjwt as the
 * second opinion.
 */
#include "jose_util.h"

#include <jwt.h>
#include <openssl/hmac.h>

static const struct {
    const char *name, *jwks, *token;
    enum ma_jws_alg alg;
} VECTORS[] = {
    {"RFC 7515 A.2 RS256",
     "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQ"
     "p-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzj"
     "b_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlx"
     "vb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4"
     "FRWyuXpoQ\",\"e\":\"AQAB\"}]}",
     "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"
     "mNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
     "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWz"
     "O75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZES"
     "c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlU"
     "PQGe77Rw",
     MA_JWS_RS256},
    {"RFC 7515 A.3 ES256",
     "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\""
     "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
     "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"
     "mNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
     "pmWQxfKTUJqPP3-Kg6NU1Q",
     MA_JWS_ES256},
    {"RFC 7515 A.4 ES512",
     "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5"
     "EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th"
     "-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}]}",
     "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWRO"
     "c-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vc"
     "nwNrmxYbSW9ERBXukOXolLzeO_Jn",
     MA_JWS_ES512},
    {"RFC 7520 4.1 RS256",
     "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"n\":\"n4EPtAOCc9Al"
     "keQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSF"
     "KrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c"
     "S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKn"
     "S2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw\",\"e\":\"AQAB\"}]}",
     "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ"
     "2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCw"
     "gYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ"
     "2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZ"
     "opdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746i"
     "YTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLG"
     "djluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5"
     "y18kDquDg",
     MA_JWS_RS256},
    {"RFC 7520 4.2 PS384",
     "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"n\":\"n4EPtAOCc9Al"
     "keQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSF"
     "KrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c"
     "S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKn"
     "S2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw\",\"e\":\"AQAB\"}]}",
     "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ"
     "2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCw"
     "gYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ"
     "2h0IGJlIHN3ZXB0IG9mZiB0by4.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2Ip"
     "N6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsd"
     "iNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5"
     "awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8D"
     "YM-X72Eaw",
     MA_JWS_PS384},
    {"RFC 7520 4.3 ES512",
     "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"crv\":\"P-521\",\"x\":"
     "\"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt\""
     ",\"y\":\"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-Hq"
     "HZR1\"}]}",
     "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ"
     "2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCw"
     "gYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ"
     "2h0IGJlIHN3ZXB0IG9mZiB0by4.AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu"
     "9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbE"
     "PX6sFY8OcGDqoRuBomu9xQ2",
     MA_JWS_ES512},
    {"RFC 8037 A.4 EdDSA",
     "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGc"
     "vMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
     MA_JWS_EDDSA},
};

#define NOW_S INT64_C(1700000000)
#define BASE "https://login.example.com"
#define CUSTOM "https://id.example.org"

/* Made once in main, before any test forks: keys take long to generate. */
static struct {
    char dir[64];
    struct t_key rsa, ec, ed, other;
    struct ma_jose *jose;
    struct ma_clock_manual clock;
} F;

static struct ma_arena *A;

static void set_up(void)
{
    A = ma_arena_new(65536, 4u << 20);
    ck_assert_ptr_nonnull(A);
}

static void tear_down(void)
{
    ma_arena_free(A);
}

static void open_jose(void)
{
    static const char *const domains[] = {CUSTOM};
    struct ma_arena *a = ma_arena_new(65536, 1u << 20);
    char keys[128];
    char uri[160];
    char why[256];
    t_dir(F.dir);
    (void)snprintf(keys, sizeof(keys), "%s/keys", F.dir);
    (void)snprintf(uri, sizeof(uri), "file:%s/jwks.json", F.dir);
    t_write(uri + 5, ma_arena_printf(a, "{\"keys\":[%s,%s,%s]}", t_jwk(a, &F.rsa, "r1", "\"alg\":\"RS256\","),
                                     t_jwk(a, &F.ec, "e1", "\"alg\":\"ES256\","), t_jwk(a, &F.ed, "d1", "")));
    const uint32_t all = 1u << MA_JWS_RS256 | 1u << MA_JWS_PS256 | 1u << MA_JWS_ES256 | 1u << MA_JWS_EDDSA;
    const struct ma_conf_issuer issuers[] = {{"https://idp.example/", uri, "", all, true},
                                             {"https://aud.example/", uri, "urn:api", 1u << MA_JWS_ES256, false}};
    struct ma_conf conf = {.base_url = BASE,
                           .custom_domains = {domains, 1},
                           .key_directory = keys,
                           .token_service = true,
                           .issuers = issuers,
                           .n_issuers = 2};
    ma_clock_manual_init(&F.clock, NOW_S * 1000);
    int r = ma_jose_open(&conf, &F.clock.clock, ma_rand_system(), NULL, &F.jose, why);
    if (r < 0) {
        (void)fprintf(stderr, "%s\n", why);
        exit(EXIT_FAILURE);
    }
    ma_arena_free(a);
}

static enum ma_token_verdict verify_at(struct ma_span token, int domain, int64_t now_s, const char **reason)
{
    struct ma_token t;
    return ma_token_verify(F.jose, A, token, domain, now_s * 1000, &t, reason);
}

static enum ma_token_verdict verify(struct ma_span token)
{
    const char *reason = NULL;
    return verify_at(token, 0, NOW_S, &reason);
}

/* --- published vectors --- */

START_TEST(vector)
{
    struct ma_jws jws;
    struct ma_jwks *set = NULL;
    ck_assert_int_eq(ma_jwks_parse(ma_span_str(VECTORS[_i].jwks), &set), MA_OK);
    ck_assert_uint_eq(set->n, 1);
    ck_assert_ptr_null(ma_jws_parse(A, ma_span_str(VECTORS[_i].token), &jws));
    ck_assert_int_eq((int)jws.alg, (int)VECTORS[_i].alg);
    ck_assert_msg(ma_jws_check(&jws, set, UINT32_MAX, 0) == MA_JWS_GOOD, "%s", VECTORS[_i].name);
    ck_assert_int_eq((int)ma_jws_check(&jws, set, ~(1u << VECTORS[_i].alg), 0), (int)MA_JWS_WRONG_ALG);
    ma_jwks_unref(set);
}
END_TEST

/* One flipped bit anywhere: another spelling, another token, or no token at all. */
START_TEST(vector_bit_flips)
{
    struct ma_jwks *set = NULL;
    struct ma_span good = ma_span_str(VECTORS[_i].token);
    ck_assert_int_eq(ma_jwks_parse(ma_span_str(VECTORS[_i].jwks), &set), MA_OK);
    uint8_t *copy = malloc(good.n);
    ck_assert_ptr_nonnull(copy);
    for (size_t bit = (size_t)_i; bit < good.n * 8; bit += 37) {
        struct ma_jws jws;
        memcpy(copy, good.p, good.n);
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ (1u << (bit % 8)));
        if (!ma_jws_parse(A, ma_span_of(copy, good.n), &jws))
            ck_assert_int_ne((int)ma_jws_check(&jws, set, UINT32_MAX, 0), (int)MA_JWS_GOOD);
        ma_arena_reset(A);
    }
    free(copy);
    ma_jwks_unref(set);
}
END_TEST

/* --- headers --- */

#define GOOD_PAYLOAD                                                                                                   \
    "{\"iss\":\"https://idp.example/\",\"sub\":\"auth0|alice\",\"aud\":\"" BASE "/me/\",\"azp\":\"spa\","              \
    "\"exp\":1700003600,\"iat\":1700000000}"

enum which { K_RSA, K_EC, K_ED, K_OTHER };
static const struct t_key *key_of(enum which w)
{
    const struct t_key *const v[] = {&F.rsa, &F.ec, &F.ed, &F.other};
    return v[w];
}

static const struct {
    const char *name, *header;
    enum which key;
    enum ma_token_verdict want;
} HEADERS[] = {
    {"RS256", "{\"alg\":\"RS256\",\"kid\":\"r1\"}", K_RSA, MA_TOK_OK},
    {"ES256", "{\"alg\":\"ES256\",\"kid\":\"e1\"}", K_EC, MA_TOK_OK},
    {"EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", K_ED, MA_TOK_OK},
    {"no kid, RSA", "{\"alg\":\"RS256\"}", K_RSA, MA_TOK_OK},
    {"no kid, EC", "{\"alg\":\"ES256\"}", K_EC, MA_TOK_OK},
    {"no kid, a stranger's key", "{\"alg\":\"RS256\"}", K_OTHER, MA_TOK_BAD},
    {"typ JWT", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"JWT\"}", K_RSA, MA_TOK_OK},
    {"typ jwt", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"jwt\"}", K_RSA, MA_TOK_OK},
    {"typ at+jwt", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"at+JWT\"}", K_RSA, MA_TOK_OK},
    {"typ application/at+jwt", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"Application/AT+jwt\"}", K_RSA, MA_TOK_OK},
    {"typ of another token", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"dpop+jwt\"}", K_RSA, MA_TOK_BAD},
    {"typ empty", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"\"}", K_RSA, MA_TOK_BAD},
    {"typ number", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":1}", K_RSA, MA_TOK_BAD},
    {"blanks in the header", "{ \"alg\" : \"RS256\", \"kid\":\"r1\" }", K_RSA, MA_TOK_OK},
    {"unknown member", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"x\":[1]}", K_RSA, MA_TOK_OK},
    {"signature of another key", "{\"alg\":\"RS256\",\"kid\":\"r1\"}", K_OTHER, MA_TOK_BAD},
    {"kid of another type of key", "{\"alg\":\"RS256\",\"kid\":\"e1\"}", K_RSA, MA_TOK_BAD},
    {"alg none", "{\"alg\":\"none\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg NONE", "{\"alg\":\"NONE\"}", K_RSA, MA_TOK_BAD},
    {"alg lower case", "{\"alg\":\"rs256\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg HS256", "{\"alg\":\"HS256\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg the key is not bound to", "{\"alg\":\"PS256\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg outside the issuer's list", "{\"alg\":\"RS512\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg missing", "{\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg null", "{\"alg\":null,\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg number", "{\"alg\":256,\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"alg twice", "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"kid twice", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"kid\":\"r1\"}", K_RSA, MA_TOK_BAD},
    {"kid empty", "{\"alg\":\"RS256\",\"kid\":\"\"}", K_RSA, MA_TOK_BAD},
    {"kid number", "{\"alg\":\"RS256\",\"kid\":1}", K_RSA, MA_TOK_BAD},
    {"kid null", "{\"alg\":\"RS256\",\"kid\":null}", K_RSA, MA_TOK_BAD},
    {"crit", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[\"exp\"]}", K_RSA, MA_TOK_BAD},
    {"crit empty", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[]}", K_RSA, MA_TOK_BAD},
    {"crit null", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":null}", K_RSA, MA_TOK_BAD},
    {"b64 true", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"b64\":true}", K_RSA, MA_TOK_BAD},
    {"b64 false", "{\"alg\":\"RS256\",\"kid\":\"r1\",\"b64\":false}", K_RSA, MA_TOK_BAD},
    {"jku of a stranger", "{\"alg\":\"RS256\",\"jku\":\"https://evil.example/\"}", K_OTHER, MA_TOK_BAD},
    {"array", "[\"RS256\"]", K_RSA, MA_TOK_BAD},
    {"text", "\"RS256\"", K_RSA, MA_TOK_BAD},
    {"trailing text", "{\"alg\":\"RS256\",\"kid\":\"r1\"}x", K_RSA, MA_TOK_BAD},
    {"not JSON", "alg=RS256", K_RSA, MA_TOK_BAD},
};

START_TEST(headers)
{
    struct ma_span t = t_token(A, key_of(HEADERS[_i].key), HEADERS[_i].header, GOOD_PAYLOAD);
    const char *reason = NULL;
    enum ma_token_verdict v = verify_at(t, 0, NOW_S, &reason);
    ck_assert_msg(v == HEADERS[_i].want, "%s: %d, %s", HEADERS[_i].name, (int)v, reason);
}
END_TEST

START_TEST(kid_length)
{
    char kid[300];
    memset(kid, 'k', sizeof(kid));
    kid[256] = 0;
    char *h = ma_arena_printf(A, "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
    ck_assert_int_eq((int)verify(t_token(A, &F.rsa, h, GOOD_PAYLOAD)), (int)MA_TOK_BAD);
    kid[255] = 0;
    h = ma_arena_printf(A, "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
    ck_assert_int_eq((int)verify(t_token(A, &F.rsa, h, GOOD_PAYLOAD)), (int)MA_TOK_NEED_KEYS);
}
END_TEST

/* --- forgeries --- */

static struct ma_span good_token(void)
{
    return t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", GOOD_PAYLOAD);
}

static struct ma_span printf_span(const char *fmt, ...) MA_PRINTF(1, 2);
static struct ma_span printf_span(const char *fmt, ...)
{
    char *s = ma_arena_alloc(A, 16384);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s, 16384, fmt, ap);
    va_end(ap);
    ck_assert_int_lt(n, 16384);
    return ma_span_of(s, (size_t)n);
}

static struct ma_span hmac_token(const char *header, struct ma_span secret)
{
    unsigned char mac[32];
    unsigned int n = sizeof(mac);
    struct ma_span in = printf_span("%s.%s", t_b64(A, ma_span_str(header)), t_b64(A, MA_LIT(GOOD_PAYLOAD)));
    ck_assert_ptr_nonnull(HMAC(EVP_sha256(), secret.p, (int)secret.n, in.p, in.n, mac, &n));
    return printf_span("%s.%s", (const char *)in.p, t_b64(A, ma_span_of(mac, n)));
}

START_TEST(hs256_with_the_public_key)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *pem = NULL;
    ck_assert_int_eq(PEM_write_bio_PUBKEY(b, F.rsa.sign), 1);
    struct ma_span secret = ma_span_of(NULL, 0);
    secret.n = (size_t)BIO_get_mem_data(b, &pem);
    secret.p = (const uint8_t *)pem;
    ck_assert_int_eq((int)verify(hmac_token("{\"alg\":\"HS256\",\"kid\":\"r1\"}", secret)), (int)MA_TOK_BAD);
    ck_assert_int_eq((int)verify(hmac_token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", secret)), (int)MA_TOK_BAD);
    const char *jwk = t_jwk(A, &F.rsa, "r1", "");
    ck_assert_int_eq((int)verify(hmac_token("{\"alg\":\"HS256\"}", ma_span_str(jwk))), (int)MA_TOK_BAD);
    BIO_free(b);
}
END_TEST

START_TEST(embedded_key)
{
    char *h = ma_arena_printf(A, "{\"alg\":\"RS256\",\"jwk\":%s}", t_jwk(A, &F.other, NULL, ""));
    ck_assert_int_eq((int)verify(t_token(A, &F.other, h, GOOD_PAYLOAD)), (int)MA_TOK_BAD);
    h = ma_arena_printf(A, "{\"alg\":\"RS256\",\"kid\":\"r1\",\"jwk\":%s}", t_jwk(A, &F.other, "r1", ""));
    ck_assert_int_eq((int)verify(t_token(A, &F.other, h, GOOD_PAYLOAD)), (int)MA_TOK_BAD);
    ck_assert_int_eq((int)verify(t_token(A, &F.rsa, h, GOOD_PAYLOAD)), (int)MA_TOK_OK);
}
END_TEST

START_TEST(unsigned_forms)
{
    char *p = t_b64(A, MA_LIT(GOOD_PAYLOAD));
    char *h = t_b64(A, MA_LIT("{\"alg\":\"none\"}"));
    ck_assert_int_eq((int)verify(printf_span("%s.%s.", h, p)), (int)MA_TOK_BAD);
    ck_assert_int_eq((int)verify(printf_span("%s.%s", h, p)), (int)MA_TOK_BAD);
    h = t_b64(A, MA_LIT("{\"alg\":\"RS256\",\"kid\":\"r1\"}"));
    ck_assert_int_eq((int)verify(printf_span("%s.%s.", h, p)), (int)MA_TOK_BAD);
    ck_assert_int_eq((int)verify(printf_span("%s.%s.AA", h, p)), (int)MA_TOK_BAD);
}
END_TEST

/* Every other spelling of a good token is no token: a cache keyed by text must not be led astray. */
START_TEST(spellings)
{
    struct ma_span t = good_token();
    const char *s = (const char *)t.p;
    size_t sig = (size_t)(strrchr(s, '.') - s) + 1;
    ck_assert_int_eq((int)verify(t), (int)MA_TOK_OK);
    const struct ma_span bad[] = {
        printf_span("%s=", s),
        printf_span("%s==", s),
        printf_span("%s ", s),
        printf_span(" %s", s),
        printf_span("%s\n", s),
        printf_span("%s.", s),
        printf_span("%s.x", s),
        printf_span(".%s", s),
        printf_span("%sA", s),
        printf_span("%.*s %s", (int)sig + 9, s, s + sig + 9),
        printf_span("%.*s\t%s", 5, s, s + 5),
        printf_span("%.*s=%s", (int)sig - 1, s, s + sig - 1),
        printf_span("%.*s", (int)t.n - 1, s),
        printf_span("%.*s", (int)t.n - 4, s),
        printf_span("%.*s", (int)sig - 1, s),
        printf_span("%s", "."),
        printf_span("%s", ".."),
        printf_span("%s", "a.b.c"),
        printf_span("%s", ""),
        ma_span_of(NULL, 0),
    };
    for (size_t i = 0; i < MA_COUNT(bad); i++)
        ck_assert_msg(verify(bad[i]) == MA_TOK_BAD, "spelling %zu", i);
}
END_TEST

START_TEST(trailing_bits)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct ma_span t = good_token();
    uint8_t *copy = ma_arena_alloc(A, t.n);
    memcpy(copy, t.p, t.n);
    const char *at = strchr(alphabet, copy[t.n - 1]);
    ck_assert_ptr_nonnull(at);
    copy[t.n - 1] = (uint8_t)alphabet[(size_t)(at - alphabet) ^ 1u];
    ck_assert_int_eq((int)verify(ma_span_of(copy, t.n)), (int)MA_TOK_BAD);
}
END_TEST

START_TEST(es256_forms)
{
    uint8_t der[128];
    const char *h = "{\"alg\":\"ES256\",\"kid\":\"e1\"}";
    struct ma_span in = printf_span("%s.%s", t_b64(A, ma_span_str(h)), t_b64(A, MA_LIT(GOOD_PAYLOAD)));
    size_t n = t_sign_der(&F.ec, in, der, sizeof(der));
    const char *s = (const char *)in.p;
    ck_assert_int_eq((int)verify(printf_span("%s.%s", s, t_b64(A, ma_span_of(der, n)))), (int)MA_TOK_BAD);
    uint8_t zero[64] = {0};
    ck_assert_int_eq((int)verify(printf_span("%s.%s", s, t_b64(A, ma_span_of(zero, 64)))), (int)MA_TOK_BAD);
    uint8_t raw[128] = {0};
    n = t_sign(&F.ec, in, raw, sizeof(raw));
    ck_assert_int_eq((int)verify(printf_span("%s.%s", s, t_b64(A, ma_span_of(raw, n)))), (int)MA_TOK_OK);
    ck_assert_int_eq((int)verify(printf_span("%s.%s", s, t_b64(A, ma_span_of(raw, n + 1)))), (int)MA_TOK_BAD);
    ck_assert_int_eq((int)verify(printf_span("%s.%s", s, t_b64(A, ma_span_of(raw, n - 1)))), (int)MA_TOK_BAD);
}
END_TEST

static struct ma_span token_of_length(size_t want)
{
    const char *h = "{\"alg\":\"RS256\",\"kid\":\"r1\"}";
    for (size_t pad = 5000; pad < 6500; pad++) {
        char *fill = ma_arena_zalloc(A, pad + 1);
        memset(fill, 'x', pad);
        char *p = ma_arena_printf(A, "{\"pad\":\"%s\",%s", fill, &GOOD_PAYLOAD[1]);
        size_t n = MA_B64URL_LEN(strlen(h)) + 1 + MA_B64URL_LEN(strlen(p)) + 1 + MA_B64URL_LEN(256);
        if (n == want)
            return t_token(A, &F.rsa, h, p);
        ma_arena_reset(A);
    }
    return MA_SPAN_NULL;
}

START_TEST(length_limit)
{
    struct ma_span t = token_of_length(MA_TOKEN_MAX);
    if (!t.p) /* base64 skips every fourth length */
        t = token_of_length(MA_TOKEN_MAX - 1);
    ck_assert_uint_ge(t.n, MA_TOKEN_MAX - 1);
    ck_assert_int_eq((int)verify(t), (int)MA_TOK_OK);
    t = token_of_length(MA_TOKEN_MAX + 1);
    if (!t.p)
        t = token_of_length(MA_TOKEN_MAX + 2);
    ck_assert_uint_le(t.n, MA_TOKEN_MAX + 2);
    const char *reason = "";
    ck_assert_int_eq((int)verify_at(t, 0, NOW_S, &reason), (int)MA_TOK_BAD);
    ck_assert_str_eq(reason, "the token is too long");
}
END_TEST

/* --- claims --- */

#define ISS "\"iss\":\"https://idp.example/\","
#define SUB "\"sub\":\"auth0|alice\","
#define AUD "\"aud\":\"" BASE "/me/\","
#define AZP "\"azp\":\"spa\","
#define IAT "\"iat\":1700000000,"
#define EXP "\"exp\":1700003600"
static const struct {
    const char *name, *payload;
    bool ok;
} CLAIMS[] = {
    {"good", "{" ISS SUB AUD AZP IAT EXP "}", true},
    {"no iat", "{" ISS SUB AUD AZP EXP "}", true},
    {"no iss", "{" SUB AUD AZP EXP "}", false},
    {"iss without slash", "{\"iss\":\"https://idp.example\"," SUB AUD AZP EXP "}", false},
    {"iss in capitals", "{\"iss\":\"https://IDP.example/\"," SUB AUD AZP EXP "}", false},
    {"iss unknown", "{\"iss\":\"https://evil.example/\"," SUB AUD AZP EXP "}", false},
    {"iss array", "{\"iss\":[\"https://idp.example/\"]," SUB AUD AZP EXP "}", false},
    {"iss null", "{\"iss\":null," SUB AUD AZP EXP "}", false},
    {"iss twice", "{\"iss\":\"https://evil.example/\"," ISS SUB AUD AZP EXP "}", false},
    {"no sub", "{" ISS AUD AZP EXP "}", false},
    {"sub empty", "{" ISS "\"sub\":\"\"," AUD AZP EXP "}", false},
    {"sub number", "{" ISS "\"sub\":7," AUD AZP EXP "}", false},
    {"sub with NUL", "{" ISS "\"sub\":\"a\\u0000b\"," AUD AZP EXP "}", false},
    {"sub twice", "{" ISS SUB "\"sub\":\"auth0|bob\"," AUD AZP EXP "}", false},
    {"no aud", "{" ISS SUB AZP EXP "}", false},
    {"aud list", "{" ISS SUB "\"aud\":[\"x\",\"" BASE "/me/\"]," AZP EXP "}", true},
    {"aud list of one", "{" ISS SUB "\"aud\":[\"" BASE "/me/\"]," AZP EXP "}", true},
    {"aud list empty", "{" ISS SUB "\"aud\":[]," AZP EXP "}", false},
    {"aud list of others", "{" ISS SUB "\"aud\":[\"" BASE "/\",\"" BASE "/me\"]," AZP EXP "}", false},
    {"aud list with a number", "{" ISS SUB "\"aud\":[\"" BASE "/me/\",1]," AZP EXP "}", false},
    {"aud object", "{" ISS SUB "\"aud\":{}," AZP EXP "}", false},
    {"aud without slash", "{" ISS SUB "\"aud\":\"" BASE "/me\"," AZP EXP "}", false},
    {"aud of another domain", "{" ISS SUB "\"aud\":\"" CUSTOM "/me/\"," AZP EXP "}", false},
    {"aud longer", "{" ISS SUB "\"aud\":\"" BASE "/me/x\"," AZP EXP "}", false},
    {"no client", "{" ISS SUB AUD EXP "}", false},
    {"client_id", "{" ISS SUB AUD "\"client_id\":\"spa\"," EXP "}", true},
    {"both equal", "{" ISS SUB AUD AZP "\"client_id\":\"spa\"," EXP "}", true},
    {"both different", "{" ISS SUB AUD AZP "\"client_id\":\"native\"," EXP "}", false},
    {"azp empty", "{" ISS SUB AUD "\"azp\":\"\"," EXP "}", false},
    {"azp empty beside client_id", "{" ISS SUB AUD "\"azp\":\"\",\"client_id\":\"spa\"," EXP "}", false},
    {"azp number", "{" ISS SUB AUD "\"azp\":1," EXP "}", false},
    {"no exp", "{" ISS SUB AUD AZP "\"iat\":1700000000}", false},
    {"exp text", "{" ISS SUB AUD AZP "\"exp\":\"1700003600\"}", false},
    {"exp real", "{" ISS SUB AUD AZP "\"exp\":1700003600.5}", false},
    {"exp with exponent", "{" ISS SUB AUD AZP "\"exp\":1e10}", false},
    {"exp null", "{" ISS SUB AUD AZP "\"exp\":null}", false},
    {"exp true", "{" ISS SUB AUD AZP "\"exp\":true}", false},
    {"exp negative", "{" ISS SUB AUD AZP "\"exp\":-1}", false},
    {"exp over int64", "{" ISS SUB AUD AZP "\"exp\":99999999999999999999}", false},
    {"exp max int64", "{" ISS SUB AUD AZP "\"exp\":9223372036854775807}", false},
    {"exp twice", "{" ISS SUB AUD AZP "\"exp\":1," EXP "}", false},
    {"exp just past the leeway", "{" ISS SUB AUD AZP "\"exp\":1699999940}", false},
    {"exp within the leeway", "{" ISS SUB AUD AZP "\"exp\":1699999941}", true},
    {"nbf at the leeway", "{" ISS SUB AUD AZP "\"nbf\":1700000060," EXP "}", true},
    {"nbf past the leeway", "{" ISS SUB AUD AZP "\"nbf\":1700000061," EXP "}", false},
    {"nbf text", "{" ISS SUB AUD AZP "\"nbf\":\"0\"," EXP "}", false},
    {"nbf real", "{" ISS SUB AUD AZP "\"nbf\":1.5," EXP "}", false},
    {"nbf null", "{" ISS SUB AUD AZP "\"nbf\":null," EXP "}", false},
    {"iat at the leeway", "{" ISS SUB AUD AZP "\"iat\":1700000060," EXP "}", true},
    {"iat past the leeway", "{" ISS SUB AUD AZP "\"iat\":1700000061," EXP "}", false},
    {"iat text", "{" ISS SUB AUD AZP "\"iat\":\"x\"," EXP "}", false},
    {"auth_time text", "{" ISS SUB AUD AZP "\"auth_time\":\"x\"," EXP "}", false},
    {"scope list", "{" ISS SUB AUD AZP "\"scope\":[\"a\"]," EXP "}", false},
    {"amr text", "{" ISS SUB AUD AZP "\"amr\":\"pwd\"," EXP "}", false},
    {"amr with a number", "{" ISS SUB AUD AZP "\"amr\":[1]," EXP "}", false},
    {"cnf without jkt", "{" ISS SUB AUD AZP "\"cnf\":{\"x5t#S256\":\"x\"}," EXP "}", false},
    {"cnf text", "{" ISS SUB AUD AZP "\"cnf\":\"x\"," EXP "}", false},
    {"email_verified as text", "{" ISS SUB AUD AZP "\"email_verified\":\"true\"," EXP "}", true},
    {"unknown claims", "{" ISS SUB AUD AZP "\"x\":{\"y\":[1.5,null]}," EXP "}", true},
    {"array", "[1]", false},
    {"empty object", "{}", false},
    {"not JSON", "hello", false},
    {"trailing text", "{" ISS SUB AUD AZP EXP "} {}", false},
    {"too deep", "{" ISS SUB AUD AZP "\"x\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]," EXP "}", false},
};

START_TEST(claim)
{
    struct ma_span t = t_token(A, &F.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", CLAIMS[_i].payload);
    const char *reason = "";
    enum ma_token_verdict v = verify_at(t, 0, NOW_S, &reason);
    ck_assert_msg(v == (CLAIMS[_i].ok ? MA_TOK_OK : MA_TOK_BAD), "%s: %d, %s", CLAIMS[_i].name, (int)v, reason);
}
END_TEST

START_TEST(sub_length)
{
    static const int lengths[] = {255, 256};
    for (size_t i = 0; i < MA_COUNT(lengths); i++) {
        char *sub = ma_arena_zalloc(A, 300);
        memset(sub, 's', (size_t)lengths[i]);
        char *p = ma_arena_printf(A, "{" ISS "\"sub\":\"%s\"," AUD AZP EXP "}", sub);
        ck_assert_int_eq((int)verify(t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", p)),
                         (int)(lengths[i] == 255 ? MA_TOK_OK : MA_TOK_BAD));
    }
    /* 255 is bytes: 128 letters of two bytes are too many. */
    char *sub = ma_arena_zalloc(A, 300);
    for (size_t i = 0; i < 256; i += 2)
        memcpy(sub + i, "\xc3\xa4", 2);
    char *p = ma_arena_printf(A, "{" ISS "\"sub\":\"%s\"," AUD AZP EXP "}", sub);
    ck_assert_int_eq((int)verify(t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", p)), (int)MA_TOK_BAD);
}
END_TEST

static void eq(struct ma_span s, const char *want)
{
    ck_assert_msg(ma_span_eq_str(s, want), "want %s", want);
}

START_TEST(all_claims_arrive)
{
    struct ma_token t;
    const char *reason = "";
    const char *p = "{" ISS SUB AUD AZP IAT EXP
                    ",\"nbf\":1699999999,\"scope\":\"a b\",\"amr\":[\"pwd\",\"mfa\"],\"auth_time\":1699999000,"
                    "\"gty\":\"password\",\"sid\":\"s1\",\"jti\":\"j1\",\"org_id\":\"org_1\",\"acr\":\"urn:x\","
                    "\"cnf\":{\"jkt\":\"thumb\"},\"email\":\"a@b.example\",\"email_verified\":true,\"name\":\"Al\"}";
    struct ma_span token = t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", p);
    ck_assert_int_eq((int)ma_token_verify(F.jose, A, token, 0, NOW_S * 1000, &t, &reason), (int)MA_TOK_OK);
    ck_assert_int_eq(t.issuer, 1);
    ck_assert_int_eq(t.domain, 0);
    eq(t.iss, "https://idp.example/");
    eq(t.sub, "auth0|alice");
    eq(t.client_id, "spa");
    eq(t.scope, "a b");
    eq(t.jti, "j1");
    eq(t.sid, "s1");
    eq(t.org_id, "org_1");
    eq(t.gty, "password");
    eq(t.acr, "urn:x");
    eq(t.email, "a@b.example");
    eq(t.name, "Al");
    eq(t.cnf_jkt, "thumb");
    ck_assert(t.email_verified);
    ck_assert_uint_eq(t.amr.n, 2);
    eq(t.amr.v[1], "mfa");
    ck_assert_int_eq(t.iat, NOW_S);
    ck_assert_int_eq(t.nbf, NOW_S - 1);
    ck_assert_int_eq(t.exp, NOW_S + 3600);
    ck_assert_int_eq(t.auth_time, NOW_S - 1000);
    ck_assert_uint_eq(t.epoch, ma_jose_epoch(F.jose));
}
END_TEST

START_TEST(absent_claims_are_null)
{
    struct ma_token t;
    const char *reason = "";
    struct ma_span token = t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}",
                                   "{" ISS SUB AUD AZP EXP ",\"email\":null,\"amr\":null}");
    ck_assert_int_eq((int)ma_token_verify(F.jose, A, token, 0, NOW_S * 1000, &t, &reason), (int)MA_TOK_OK);
    ck_assert_ptr_null(t.jti.p);
    ck_assert_ptr_null(t.email.p);
    ck_assert_ptr_null(t.gty.p);
    ck_assert_ptr_null(t.cnf_jkt.p);
    ck_assert_uint_eq(t.amr.n, 0);
    ck_assert_uint_eq(t.scope.n, 0);
    ck_assert_int_eq(t.auth_time, -1);
    ck_assert(!t.email_verified);
}
END_TEST

static const struct {
    const char *name, *iss, *aud;
    int domain;
    bool own, ok; /* own: signed by the daemon */
} DOMAINS[] = {
    {"own at base", BASE "/", BASE "/me/", 0, true, true},
    {"own at custom", CUSTOM "/", CUSTOM "/me/", 1, true, true},
    {"own of base at custom", BASE "/", BASE "/me/", 1, true, false},
    {"own of custom at base", CUSTOM "/", CUSTOM "/me/", 0, true, false},
    {"own iss of base, aud of custom", BASE "/", CUSTOM "/me/", 0, true, false},
    {"own iss of base, aud of custom, at custom", BASE "/", CUSTOM "/me/", 1, true, false},
    {"own without slash", BASE, BASE "/me/", 0, true, false},
    {"own, signed by another issuer", BASE "/", BASE "/me/", 0, false, false},
    {"another issuer, signed by us", "https://idp.example/", BASE "/me/", 0, true, false},
    {"external at base", "https://idp.example/", BASE "/me/", 0, false, true},
    {"external at custom", "https://idp.example/", CUSTOM "/me/", 1, false, true},
    {"external of base at custom", "https://idp.example/", BASE "/me/", 1, false, false},
    {"external with audience", "https://aud.example/", "urn:api", 0, false, true},
    {"external with audience at custom", "https://aud.example/", "urn:api", 1, false, true},
    {"external with audience, other aud", "https://aud.example/", BASE "/me/", 0, false, false},
    {"unknown domain", "https://idp.example/", BASE "/me/", 2, false, false},
    {"negative domain", "https://idp.example/", BASE "/me/", -1, false, false},
};

START_TEST(domain)
{
    struct ma_span t = MA_SPAN_NULL;
    const char *reason = "";
    if (DOMAINS[_i].own) {
        struct ma_mint m = {.iss = DOMAINS[_i].iss,
                            .sub = "auth0|alice",
                            .client_id = "spa",
                            .audience = DOMAINS[_i].aud,
                            .scope = "",
                            .now_s = NOW_S,
                            .ttl_s = 60,
                            .auth_time_s = -1,
                            .jti = "j",
                            .alg = MA_JWS_RS256};
        ck_assert_int_eq(ma_jose_mint(F.jose, A, &m, &t), MA_OK);
    } else {
        char *p =
            ma_arena_printf(A, "{\"iss\":\"%s\",\"aud\":\"%s\"," SUB AZP EXP "}", DOMAINS[_i].iss, DOMAINS[_i].aud);
        t = t_token(A, &F.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", p);
    }
    enum ma_token_verdict v = verify_at(t, DOMAINS[_i].domain, NOW_S, &reason);
    ck_assert_msg((v == MA_TOK_OK) == DOMAINS[_i].ok, "%s: %d, %s", DOMAINS[_i].name, (int)v, reason);
}
END_TEST

/* The second issuer shares the file but lists ES256 only. */
START_TEST(issuer_list_of_algorithms)
{
    const char *p = "{\"iss\":\"https://aud.example/\",\"aud\":\"urn:api\"," SUB AZP EXP "}";
    ck_assert_int_eq((int)verify(t_token(A, &F.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", p)), (int)MA_TOK_OK);
    ck_assert_int_eq((int)verify(t_token(A, &F.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", p)), (int)MA_TOK_BAD);
}
END_TEST

START_TEST(time_problem)
{
    ck_assert_ptr_null(ma_token_time_problem(100, 0, 0, 159999));
    ck_assert_ptr_nonnull(ma_token_time_problem(100, 0, 0, 160000));
    ck_assert_ptr_null(ma_token_time_problem(1000, 160, 160, 100000));
    ck_assert_ptr_nonnull(ma_token_time_problem(1000, 161, 0, 100999));
    ck_assert_ptr_nonnull(ma_token_time_problem(1000, 0, 161, 100999));
}
END_TEST

/* --- own tokens --- */

static struct ma_mint mint_in(void)
{
    static const char *const amr[] = {"pwd", "otp", NULL};
    return (struct ma_mint){.iss = BASE "/",
                            .sub = "auth0|\xc3\xa4lice",
                            .client_id = "spa",
                            .audience = BASE "/me/",
                            .scope = "read:me:factors",
                            .now_s = NOW_S,
                            .ttl_s = 3600,
                            .amr = amr,
                            .auth_time_s = NOW_S - 5,
                            .jti = "j1",
                            .alg = MA_JWS_RS256};
}

static const enum ma_jws_alg SIGNING[] = {MA_JWS_RS256, MA_JWS_ES256};

START_TEST(mint_and_verify)
{
    struct ma_mint m = mint_in();
    m.alg = SIGNING[_i];
    struct ma_span text;
    struct ma_token t;
    const char *reason = "";
    struct ma_jws jws;
    ck_assert_int_eq(ma_jose_mint(F.jose, A, &m, &text), MA_OK);
    ck_assert_ptr_null(ma_jws_parse(A, text, &jws));
    ck_assert_int_eq((int)jws.alg, (int)m.alg);
    ck_assert_int_eq((int)ma_token_verify(F.jose, A, text, 0, NOW_S * 1000, &t, &reason), (int)MA_TOK_OK);
    ck_assert_int_eq(t.issuer, MA_ISSUER_OWN);
    eq(t.sub, m.sub);
    eq(t.client_id, "spa");
    eq(t.scope, "read:me:factors");
    eq(t.jti, "j1");
    ck_assert_uint_eq(t.amr.n, 2);
    eq(t.amr.v[0], "pwd");
    eq(t.amr.v[1], "otp");
    ck_assert_int_eq(t.auth_time, NOW_S - 5);
    ck_assert_int_eq(t.iat, NOW_S);
    ck_assert_int_eq(t.exp, NOW_S + 3600);
    ck_assert_int_eq((int)verify_at(text, 0, NOW_S + 3600 + 59, &reason), (int)MA_TOK_OK);
    ck_assert_int_eq((int)verify_at(text, 0, NOW_S + 3600 + 60, &reason), (int)MA_TOK_BAD);
}
END_TEST

START_TEST(mint_form)
{
    struct ma_mint m = mint_in();
    struct ma_span text;
    m.amr = NULL;
    m.auth_time_s = -1;
    ck_assert_int_eq(ma_jose_mint(F.jose, A, &m, &text), MA_OK);
    struct ma_ring *ring = ma_jose_ring(F.jose);
    char *header = ma_arena_printf(A, "{\"alg\":\"RS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}", ring->jwks->v[0].kid);
    ma_ring_unref(ring);
    struct ma_span start = printf_span("%s.", t_b64(A, ma_span_str(header)));
    ck_assert_uint_gt(text.n, start.n);
    ck_assert(ma_span_eq(ma_span_of(text.p, start.n), start));
    struct ma_jws jws;
    ck_assert_ptr_null(ma_jws_parse(A, text, &jws));
    eq(jws.payload, "{\"aud\":\"" BASE "/me/\",\"azp\":\"spa\",\"client_id\":\"spa\",\"exp\":1700003600,"
                    "\"iat\":1700000000,\"iss\":\"" BASE "/\",\"jti\":\"j1\",\"scope\":\"read:me:factors\","
                    "\"sub\":\"auth0|\xc3\xa4lice\"}");
}
END_TEST

/* libjwt takes no other typ than JWT, so it judges our signatures on tokens of that type. */
START_TEST(libjwt_takes_ours)
{
    static const struct {
        enum ma_jws_alg alg;
        jwt_alg_t theirs;
        bool ec;
    } rows[] = {{MA_JWS_RS256, JWT_ALG_RS256, false},
                {MA_JWS_RS384, JWT_ALG_RS384, false},
                {MA_JWS_RS512, JWT_ALG_RS512, false},
                {MA_JWS_ES256, JWT_ALG_ES256, true}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        const struct t_key *k = rows[i].ec ? &F.ec : &F.rsa;
        uint8_t sig[MA_JWS_SIG_MAX];
        size_t sig_n = 0;
        char *pem = NULL;
        jwt_t *jwt = NULL;
        BIO *pub = BIO_new(BIO_s_mem());
        ck_assert_int_eq(PEM_write_bio_PUBKEY(pub, k->sign), 1);
        int n = (int)BIO_get_mem_data(pub, &pem);
        char *h = ma_arena_printf(A, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", ma_jws_alg_name(rows[i].alg));
        struct ma_span in = printf_span("%s.%s", t_b64(A, ma_span_str(h)), t_b64(A, MA_LIT(GOOD_PAYLOAD)));
        ck_assert_int_eq(ma_key_sign(k->key, rows[i].alg, in, sig, &sig_n), MA_OK);
        struct ma_span t = printf_span("%s.%s", (const char *)in.p, t_b64(A, ma_span_of(sig, sig_n)));
        ck_assert_int_eq(jwt_decode(&jwt, (const char *)t.p, (const unsigned char *)pem, n), 0);
        ck_assert_int_eq((int)jwt_get_alg(jwt), (int)rows[i].theirs);
        ck_assert_str_eq(jwt_get_grant(jwt, "azp"), "spa");
        jwt_free(jwt);
        BIO_free(pub);
    }
}
END_TEST

START_TEST(mint_bad_text)
{
    struct ma_mint m = mint_in();
    struct ma_span text;
    m.sub = "\xff";
    ck_assert_int_lt(ma_jose_mint(F.jose, A, &m, &text), 0);
    m.sub = NULL;
    ck_assert_int_eq(ma_jose_mint(F.jose, A, &m, &text), MA_E_INVAL);
    m = mint_in();
    m.alg = MA_JWS_ES384;
    ck_assert_int_eq(ma_jose_mint(F.jose, A, &m, &text), MA_E_UNSUPPORTED);
}
END_TEST

static const struct {
    enum ma_key_type type;
    enum ma_jws_alg alg;
} SIGNED[] = {
    {MA_KEY_RSA, MA_JWS_RS256},     {MA_KEY_RSA, MA_JWS_RS384},     {MA_KEY_RSA, MA_JWS_RS512},
    {MA_KEY_RSA, MA_JWS_PS256},     {MA_KEY_RSA, MA_JWS_PS384},     {MA_KEY_RSA, MA_JWS_PS512},
    {MA_KEY_EC_P256, MA_JWS_ES256}, {MA_KEY_ED25519, MA_JWS_EDDSA},
};

START_TEST(sign_and_verify)
{
    const struct t_key *k = SIGNED[_i].type == MA_KEY_RSA ? &F.rsa : SIGNED[_i].type == MA_KEY_EC_P256 ? &F.ec : &F.ed;
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    ck_assert_int_eq(ma_key_sign(k->key, SIGNED[_i].alg, MA_LIT("text"), sig, &n), MA_OK);
    for (int alg = MA_JWS_NONE; alg < MA_JWS__COUNT; alg++) {
        int r = ma_key_verify(k->key, (enum ma_jws_alg)alg, MA_LIT("text"), ma_span_of(sig, n));
        ck_assert_int_eq(r, alg == (int)SIGNED[_i].alg ? MA_OK : MA_E_AUTH);
    }
    ck_assert_int_eq(ma_key_verify(k->key, SIGNED[_i].alg, MA_LIT("texT"), ma_span_of(sig, n)), MA_E_AUTH);
    ck_assert_int_eq(ma_key_sign(k->key, MA_JWS_ES384, MA_LIT("text"), sig, &n), MA_E_UNSUPPORTED);
    ck_assert_int_eq(ma_key_sign(k->key, MA_JWS_NONE, MA_LIT("text"), sig, &n), MA_E_UNSUPPORTED);
}
END_TEST

/* What libjwt signs, we take; what is changed, neither takes. */
START_TEST(libjwt_signs_for_us)
{
    static const struct {
        jwt_alg_t alg;
        bool ec;
        const char *kid;
    } rows[] = {{JWT_ALG_RS256, false, "r1"}, {JWT_ALG_ES256, true, "e1"}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        const struct t_key *k = rows[i].ec ? &F.ec : &F.rsa;
        jwt_t *jwt = NULL;
        ck_assert_int_eq(jwt_new(&jwt), 0);
        ck_assert_int_eq(jwt_add_grants_json(jwt, GOOD_PAYLOAD), 0);
        ck_assert_int_eq(jwt_add_header(jwt, "kid", rows[i].kid), 0);
        ck_assert_int_eq(jwt_set_alg(jwt, rows[i].alg, k->pem.p, (int)k->pem.n), 0);
        char *text = jwt_encode_str(jwt);
        ck_assert_ptr_nonnull(text);
        ck_assert_int_eq((int)verify(ma_span_str(text)), (int)MA_TOK_OK);
        free(text);
        jwt_free(jwt);
    }
}
END_TEST

START_TEST(token_service_off)
{
    char keys[128];
    char why[256];
    struct ma_mint m = mint_in();
    struct ma_span text;
    (void)snprintf(keys, sizeof(keys), "%s/keys", F.dir);
    struct ma_conf conf = {.base_url = BASE, .key_directory = keys};
    struct ma_jose *j = NULL;
    ck_assert_int_eq(ma_jose_open(&conf, &F.clock.clock, ma_rand_system(), NULL, &j, why), MA_OK);
    ck_assert_int_eq(ma_jose_mint(j, A, &m, &text), MA_OK);
    struct ma_token t;
    const char *reason = "";
    ck_assert_int_eq((int)ma_token_verify(j, A, text, 0, NOW_S * 1000, &t, &reason), (int)MA_TOK_BAD);
    ma_jose_close(j);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("jws");
    TCase *t = tcase_create("jws");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, vector, 0, MA_COUNT(VECTORS));
    tcase_add_loop_test(t, vector_bit_flips, 0, MA_COUNT(VECTORS));
    tcase_add_loop_test(t, headers, 0, MA_COUNT(HEADERS));
    tcase_add_test(t, kid_length);
    tcase_add_test(t, hs256_with_the_public_key);
    tcase_add_test(t, embedded_key);
    tcase_add_test(t, unsigned_forms);
    tcase_add_test(t, spellings);
    tcase_add_test(t, trailing_bits);
    tcase_add_test(t, es256_forms);
    tcase_add_test(t, length_limit);
    tcase_add_loop_test(t, claim, 0, MA_COUNT(CLAIMS));
    tcase_add_test(t, sub_length);
    tcase_add_test(t, all_claims_arrive);
    tcase_add_test(t, absent_claims_are_null);
    tcase_add_loop_test(t, domain, 0, MA_COUNT(DOMAINS));
    tcase_add_test(t, issuer_list_of_algorithms);
    tcase_add_test(t, time_problem);
    tcase_add_loop_test(t, mint_and_verify, 0, (int)MA_COUNT(SIGNING));
    tcase_add_test(t, mint_form);
    tcase_add_test(t, libjwt_takes_ours);
    tcase_add_test(t, mint_bad_text);
    tcase_add_loop_test(t, sign_and_verify, 0, MA_COUNT(SIGNED));
    tcase_add_test(t, libjwt_signs_for_us);
    tcase_add_test(t, token_service_off);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    if (ma_crypto_init() < 0)
        return EXIT_FAILURE;
    t_key_make(&F.rsa, MA_KEY_RSA);
    t_key_make(&F.other, MA_KEY_RSA);
    t_key_make(&F.ec, MA_KEY_EC_P256);
    t_key_make(&F.ed, MA_KEY_ED25519);
    open_jose();
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    ma_jose_close(F.jose);
    t_key_free(&F.rsa);
    t_key_free(&F.other);
    t_key_free(&F.ec);
    t_key_free(&F.ed);
    t_remove_dir(F.dir);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

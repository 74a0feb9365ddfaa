/* SPDX-License-Identifier: Apache-2.0
 * JWTs that clients sign with keys of their own (RFC 7523).
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/codec.h"

#define ANY_ALGORITHM UINT32_MAX /* the key decides */

int ma_jwt_peek(struct ma_arena *a, struct ma_span compact, struct ma_span *ret)
{
    struct ma_jws jws;
    const char *problem = ma_jws_parse(a, compact, &jws);
    if (problem)
        return problem == MA_JWS_NOMEM ? MA_E_NOMEM : MA_E_AUTH;
    *ret = jws.payload;
    return MA_OK;
}

int ma_jwt_verify_with(struct ma_arena *a, struct ma_span compact, struct ma_span jwks, int64_t now_ms,
                       struct ma_span *ret)
{
    struct ma_jws jws;
    struct ma_jwks *set = NULL;
    const char *problem = ma_jws_parse(a, compact, &jws);
    if (problem)
        return problem == MA_JWS_NOMEM ? MA_E_NOMEM : MA_E_AUTH;
    if (jws.access || jwks.n == 0)
        return MA_E_AUTH;
    int r = ma_jwks_parse(jwks, &set);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_E_AUTH;
    enum ma_jws_verdict v = ma_jws_check(&jws, set, ANY_ALGORITHM, now_ms);
    r = v == MA_JWS_GOOD ? MA_OK : v == MA_JWS_UNCHECKED ? MA_E_NOMEM : MA_E_AUTH;
    ma_jwks_unref(set);
    *ret = jws.payload;
    return r;
}

int ma_rs256_jwk(struct ma_arena *a, struct ma_span n, struct ma_span e, struct ma_span *ret)
{
    const struct ma_jwk_text text = {.kty = MA_LIT("RSA"), .n = n, .e = e};
    struct ma_jwk_public pub;
    struct ma_key *key = NULL;
    int r = ma_jwk_key(a, &text, &key);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_E_INVAL;
    r = ma_key_public(key, a, &pub);
    ma_key_free(key);
    char *modulus = r == MA_OK ? ma_arena_alloc(a, MA_B64URL_LEN(pub.n.n) + 1) : NULL;
    char *exponent = r == MA_OK ? ma_arena_alloc(a, MA_B64URL_LEN(pub.e.n) + 1) : NULL;
    if (!modulus || !exponent)
        return r < 0 ? r : MA_E_NOMEM;
    ma_b64url_encode(pub.n, modulus);
    ma_b64url_encode(pub.e, exponent);
    *ret = ma_span_str(ma_arena_printf(
        a, "{\"alg\":\"RS256\",\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\",\"use\":\"sig\"}", exponent, modulus));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

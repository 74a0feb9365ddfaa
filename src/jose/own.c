/* SPDX-License-Identifier: Apache-2.0
 * Tokens of the daemon's own that come back to it, whatever their age: id_token_hint (OpenID Connect
 * RP-Initiated Logout 1.0 §2).
 */
#include "ma/jose.h"
#include "int.h"

#define ANY_ALGORITHM UINT32_MAX /* the key decides */

int ma_jose_own_claims(struct ma_jose *j, struct ma_arena *a, struct ma_span compact, int64_t now_ms,
                       struct ma_span *ret)
{
    struct ma_jws jws;
    const char *problem = ma_jws_parse_upto(a, compact, MA_ID_TOKEN_MAX, &jws);
    if (problem)
        return problem == MA_JWS_NOMEM ? MA_E_NOMEM : MA_E_AUTH;
    if (jws.access) /* RFC 8725 §3.11: an access token is no id_token */
        return MA_E_AUTH;
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *ring = ma_jose_ring(j);
    enum ma_jws_verdict v = ma_jws_check(&jws, ring->jwks, ANY_ALGORITHM, now_ms);
    if (v != MA_JWS_GOOD)
        return v == MA_JWS_UNCHECKED ? MA_E_NOMEM : MA_E_AUTH;
    *ret = jws.payload;
    return MA_OK;
}

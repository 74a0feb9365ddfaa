/* SPDX-License-Identifier: Apache-2.0
 * DPoP proofs (RFC 9449): verification, nonces, replay. Knows no HTTP and no storage; thread-safe.
 */
#ifndef MA_DPOP_H
#define MA_DPOP_H

#include "ma/crypto.h"
#include "ma/metrics.h"
#include "ma/rand.h"

#define MA_DPOP_MAX 4096         /* bytes of a proof */
#define MA_DPOP_PAST_S 300       /* how old iat may be */
#define MA_DPOP_FUTURE_S 5       /* and how far ahead */
#define MA_DPOP_NONCE_LIFE_S 300 /* a nonce is good for its slice of time and the next */
#define MA_JKT_LEN 43            /* RFC 7638 SHA-256 thumbprint, base64url */

/* Where a name was used. Each place remembers for itself: what floods one leaves the others alone. */
enum ma_dpop_place { MA_DPOP_API, MA_DPOP_TOKEN_ENDPOINT, MA_DPOP_ASSERTIONS, MA_DPOP_PLACE__COUNT };

/* Proofs seen; bounded, sharded. A full one refuses rather than forgets. Owned (ma_dpop_free). */
struct ma_dpop;
/* The nonce key is made at random: nonces of an earlier process are not known. */
MA_MUST_USE int ma_dpop_new(const struct ma_rand *r, struct ma_dpop **ret);
void ma_dpop_free(struct ma_dpop *d);
/* When the memory began: a proof made before it may have been used before it, and needs a nonce of this process
 * (RFC 9449 §8, §11.1). Before the first request. */
void ma_dpop_start(struct ma_dpop *d, int64_t start_ms);

/* That time in seconds; 0: never told. */
int64_t ma_dpop_since_s(const struct ma_dpop *d);

/* What ma_dpop_settle remembers of a proof. */
struct ma_dpop_used {
    char jkt[MA_JKT_LEN + 1];
    struct ma_span jti; /* arena */
    int64_t until_s;
};

/* Counts signature checks there from now on. Before any other thread uses d. */
void ma_dpop_observe(struct ma_dpop *d, struct ma_metrics *m);

struct ma_dpop_ask {
    const char *method;          /* htm: "POST" */
    const char *url;             /* htu: scheme, host, path as the client calls it; query and fragment are ignored */
    struct ma_span access_token; /* ath must be its hash (§4.3); empty: no access token goes with the proof */
    bool nonce_required;
    enum ma_dpop_place place;
    struct ma_dpop_used *later; /* not NULL: it must not have been used, and is remembered by ma_dpop_settle alone */
};
enum ma_dpop_verdict {
    MA_DPOP_OK,
    MA_DPOP_BAD,       /* invalid_dpop_proof; *ret_why says what */
    MA_DPOP_USE_NONCE, /* use_dpop_nonce: none, or one that has lapsed */
    MA_DPOP_REPLAYED,  /* seen before; invalid_dpop_proof */
    MA_DPOP_BUSY       /* no room to remember it: 503 */
};
/* §4.3: typ dpop+jwt, an asymmetric alg (ES256, RS256, ES384, EdDSA, PS256), an embedded public jwk without private
 * members, signature, htm, htu (RFC 3986 §6.2.2 normalised: case of scheme and host, default port, percent-encoding of
 * unreserved characters and of '|'), iat, jti (1 to 128 bytes, never twice for one key), ath, nonce when it is there
 * or required. ret_jkt: thumbprint of the key. *ret_why is static. */
enum ma_dpop_verdict ma_dpop_verify(struct ma_dpop *d, struct ma_arena *a, struct ma_span proof,
                                    const struct ma_dpop_ask *ask, int64_t now_ms, char ret_jkt[MA_JKT_LEN + 1],
                                    const char **ret_why);
/* The other half, when the request was found good: OK, REPLAYED (another request was first) or BUSY. */
enum ma_dpop_verdict ma_dpop_settle(struct ma_dpop *d, enum ma_dpop_place place, const struct ma_dpop_used *used,
                                    int64_t now_ms, const char **ret_why);
/* The nonce to hand out now. */
#define MA_DPOP_NONCE_LEN 43
MA_MUST_USE int ma_dpop_nonce(struct ma_dpop *d, int64_t now_ms, char out[MA_DPOP_NONCE_LEN + 1]);

/* Remembers other one-time names in the same way, in MA_DPOP_ASSERTIONS: the jti of client assertions. False: seen
 * before, or no room. */
bool ma_dpop_remember(struct ma_dpop *d, struct ma_span issuer, struct ma_span jti, int64_t until_ms, int64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Private to authentication: what is remembered about a token and under which versions of the world.
 */
#ifndef MA_API_AUTH_H
#define MA_API_AUTH_H

#include "ma/auth.h"
#include "ma/crypto.h"

struct ma_auth_memo {
    struct ma_principal who;
    int domain;                  /* public origin it was verified for */
    int64_t exp_s, nbf_s, iat_s; /* checked again on every use */
    uint64_t jose_epoch;         /* keys and issuers */
    uint64_t state_epoch;        /* state document */
    uint64_t user_generation;    /* the user's rows */
    bool storable;               /* the facts were read under these versions for certain */
};
/* Copies strings into the arena. Thread-safe. */
bool ma_auth_cache_get(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN], struct ma_arena *a,
                       struct ma_auth_memo *ret);
void ma_auth_cache_put(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN], const struct ma_auth_memo *memo);
void ma_auth_cache_drop(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN]);

#endif

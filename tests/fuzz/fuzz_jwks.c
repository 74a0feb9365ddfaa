/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of key sets: whatever is taken from a document is usable, and is the same when the
 * document is read again.
 */
#include "../../src/jose/int.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void use_key(const struct ma_jwks *s, const struct ma_jwk *k)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    char thumb[44];
    static const uint8_t sig[MA_SIG_MAX] = {0};
    demand(a != NULL && k->kid_n <= MA_KID_MAX && k->kid[k->kid_n] == 0);
    demand(k->algs != 0 && (k->algs & 1u) == 0 && k->algs < 1u << MA_JWS__COUNT);
    demand(ma_jwk_thumbprint(k->key, a, thumb) == MA_OK && strlen(thumb) == 43);
    struct ma_jws jws = {.alg = ma_jwk_alg(k), .input = MA_LIT("a.b"), .sig_n = 64};
    memcpy(jws.sig, sig, sizeof(sig));
    if (k->kid_n)
        jws.kid = ma_span_of(k->kid, k->kid_n);
    demand(ma_jws_check(&jws, s, UINT32_MAX, 0) != MA_JWS_GOOD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        demand(ma_crypto_init() == MA_OK);
    ready = true;
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *s = NULL;
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *again = NULL;
    if (ma_jwks_parse(ma_span_of(data, size), &s) < 0)
        return 0;
    demand(s->n <= MA_JWKS_KEYS_MAX && ma_jwks_parse(ma_span_of(data, size), &again) == MA_OK);
    demand(ma_jwks_same(s, again) && !ma_jwks_lost_any(s, again));
    for (size_t i = 0; i < s->n; i++)
        use_key(s, &s->v[i]);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * What is counted and measured of tokens and keys.
 */
#include "ma/jose.h"

#include "int.h"

void ma_jose_observe(struct ma_jose *j, struct ma_metrics *m)
{
    j->metrics = m;
}

void ma_jose_count(struct ma_metrics *m, enum ma_jws_alg alg, enum ma_jws_verdict v)
{
    static const enum ma_m_signature outcome[] = {
        [MA_JWS_GOOD] = MA_M_SIG_GOOD,
        [MA_JWS_UNKNOWN_KID] = MA_M_SIG_UNKNOWN_KEY,
        [MA_JWS_WRONG_ALG] = MA_M_SIG_WRONG_ALGORITHM,
        [MA_JWS_BAD_SIG] = MA_M_SIG_BAD,
    };
    if (v == MA_JWS_UNCHECKED) /* no memory: there is no outcome to count */
        return;
    ma_metrics_add(m, MA_M_SIGNATURES, (unsigned)alg, outcome[v], 1);
}

static void fetches(struct ma_samples *out, const char *name, uint64_t fetched, uint64_t failed)
{
    ma_sample(out, MA_M_JWKS_FETCHES, name, "succeeded", (double)fetched);
    ma_sample(out, MA_M_JWKS_FETCHES, name, "failed", (double)failed);
}

static void measure_issuer(struct ma_jose *j, struct ma_arena *a, struct ma_issuer *i, struct ma_samples *out)
{
    int64_t now = j->clock->mono_ms(j->clock);
    const char *name = ma_arena_strdup(a, ma_span_str(i->url));
    if (!name)
        return;
    (void)pthread_mutex_lock(&i->lock);
    if (i->keys && i->source != MA_SRC_FILE) {
        ma_sample(out, MA_M_JWKS_AGE, name, NULL, (double)(now - i->loaded_ms) / 1000);
        ma_sample(out, MA_M_JWKS_LIFETIME, name, NULL, (double)i->age_ms / 1000);
    }
    ma_sample(out, MA_M_JWKS_KEYS, name, NULL, i->keys ? (double)i->keys->n : 0);
    fetches(out, name, i->fetched, i->failed);
    (void)pthread_mutex_unlock(&i->lock);
}

static void measure_providers(struct ma_provider_keys *p, struct ma_samples *out)
{
    (void)pthread_mutex_lock(&p->lock);
    uint64_t fetched = p->fetched, failed = p->failed;
    for (size_t k = 0; k < p->n; k++) {
        struct ma_issuer *i = p->v[k].issuer;
        (void)pthread_mutex_lock(&i->lock);
        fetched += i->fetched;
        failed += i->failed;
        (void)pthread_mutex_unlock(&i->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
    fetches(out, "providers", fetched, failed);
}

void ma_jose_measure(struct ma_jose *j, struct ma_arena *a, struct ma_samples *out)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    for (size_t i = 1; i < v->n; i++) /* the own issuer has no fetches */
        measure_issuer(j, a, v->v[i], out);
    measure_providers(&j->providers, out);
}

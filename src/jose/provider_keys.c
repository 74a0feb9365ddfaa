/* SPDX-License-Identifier: Apache-2.0
 * The key sets of identity providers, remembered by their URI; each fetched as issuers' sets are.
 */
#include "ma/jose.h"
#include "int.h"

#include <strings.h>

void ma_provider_keys_init(struct ma_provider_keys *p)
{
    (void)pthread_mutex_init(&p->lock, NULL);
}

void ma_provider_keys_clear(struct ma_provider_keys *p)
{
    for (size_t k = 0; k < p->n; k++)
        ma_issuer_unref(p->v[k].issuer);
    p->n = 0;
    (void)pthread_mutex_destroy(&p->lock);
}

/* A discovery document may name any URI: none of them is to be read as a file's. */
static bool is_web(const char *uri)
{
    if (strncasecmp(uri, "https://", 8) != 0 && strncasecmp(uri, "http://", 7) != 0)
        return false;
    return strlen(uri) <= MA_JWKS_URI_MAX;
}

static struct ma_provider_set *find(struct ma_provider_keys *p, const char *uri)
{
    for (size_t k = 0; k < p->n; k++) {
        if (strcmp(p->v[k].issuer->jwks_uri, uri) == 0)
            return &p->v[k];
    }
    return NULL;
}

/* A free place, or the one whose set was asked for longest ago; who is using that one has a reference. */
static struct ma_provider_set *make_room(struct ma_provider_keys *p)
{
    if (p->n < MA_PROVIDER_SETS_MAX)
        return &p->v[p->n++];
    struct ma_provider_set *oldest = &p->v[0];
    for (size_t k = 1; k < p->n; k++) {
        if (p->v[k].used < oldest->used)
            oldest = &p->v[k];
    }
    (void)pthread_mutex_lock(&oldest->issuer->lock);
    p->fetched += oldest->issuer->fetched; /* counters do not go back */
    p->failed += oldest->issuer->failed;
    (void)pthread_mutex_unlock(&oldest->issuer->lock);
    ma_issuer_unref(oldest->issuer);
    return oldest;
}

static int add(struct ma_provider_keys *p, const char *uri, struct ma_provider_set **ret)
{
    const struct ma_conf_issuer c = {uri, uri, "", UINT32_MAX, false};
    struct ma_issuer *i = NULL;
    int r = ma_issuer_new(&c, &i);
    if (r < 0)
        return r;
    i->forced_every_ms = MA_PROVIDER_REFRESH_MS;
    i->apart = true;
    *ret = make_room(p);
    (*ret)->issuer = i;
    return MA_OK;
}

int ma_provider_keys_get(struct ma_provider_keys *p, const char *jwks_uri, struct ma_issuer **ret)
{
    int r = MA_OK;
    if (!is_web(jwks_uri))
        return MA_E_INVAL;
    (void)pthread_mutex_lock(&p->lock);
    struct ma_provider_set *s = find(p, jwks_uri);
    if (!s)
        r = add(p, jwks_uri, &s);
    if (r == MA_OK) {
        s->used = ++p->tick;
        *ret = ma_issuer_ref(s->issuer);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * Memory of verified tokens: a token seen before costs a hash and a lookup.
 */
#include "auth.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ma/crypto.h"

enum { WAYS = 8, SETS = MA_AUTH_CACHE_SLOTS / WAYS, LOCKS = 64 };

struct entry {
    uint8_t hash[MA_SHA256_LEN];
    struct ma_auth_memo memo; /* spans point behind the struct */
    uint8_t text[];
};

struct ma_auth_cache {
    pthread_mutex_t lock[LOCKS];
    struct entry *slot[SETS][WAYS];
    uint8_t turn[SETS];
};

int ma_auth_cache_new(const struct ma_rand *r, struct ma_auth_cache **ret)
{
    (void)r;
    struct ma_auth_cache *c = calloc(1, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&c->lock[i], NULL);
    *ret = c;
    return MA_OK;
}

static void entry_free(struct entry *e)
{
    if (e)
        ma_wipe(e, sizeof *e);
    free(e);
}

void ma_auth_cache_free(struct ma_auth_cache *c)
{
    if (!c)
        return;
    for (size_t s = 0; s < SETS; s++)
        for (size_t w = 0; w < WAYS; w++)
            entry_free(c->slot[s][w]);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&c->lock[i]);
    free(c);
}

/* SHA-256 output is uniform: its first bytes choose the set. */
static size_t set_of(const uint8_t hash[MA_SHA256_LEN])
{
    return ((size_t)hash[0] | (size_t)hash[1] << 8) % SETS;
}

static size_t find(const struct ma_auth_cache *c, size_t set, const uint8_t hash[MA_SHA256_LEN])
{
    for (size_t w = 0; w < WAYS; w++)
        if (c->slot[set][w] && memcmp(c->slot[set][w]->hash, hash, MA_SHA256_LEN) == 0)
            return w;
    return WAYS;
}

/* The strings of a memo, which live behind its entry. */
enum { TEXTS = 6 };
static void texts_of(struct ma_principal *who, struct ma_span *ret[TEXTS])
{
    struct ma_span *all[TEXTS] = {&who->user_id, &who->client_id, &who->org_id, &who->sid, &who->jkt, &who->jti};
    memcpy(ret, all, sizeof all);
}

static bool copy_texts(struct ma_principal *who, struct ma_arena *a)
{
    struct ma_span *text[TEXTS];
    texts_of(who, text);
    for (size_t i = 0; i < TEXTS; i++) {
        if (!text[i]->p)
            continue;
        *text[i] = ma_arena_dup(a, *text[i]);
        if (!text[i]->p)
            return false;
    }
    return true;
}

bool ma_auth_cache_get(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN], struct ma_arena *a,
                       struct ma_auth_memo *ret)
{
    size_t set = set_of(hash);
    pthread_mutex_t *lock = &c->lock[set % LOCKS];
    (void)pthread_mutex_lock(lock);
    size_t w = find(c, set, hash);
    bool found = w < WAYS;
    if (found) {
        *ret = c->slot[set][w]->memo;
        found = copy_texts(&ret->who, a);
    }
    (void)pthread_mutex_unlock(lock);
    return found;
}

static void append(uint8_t *text, size_t *at, struct ma_span *s)
{
    if (!s->p)
        return;
    memcpy(text + *at, s->p, s->n);
    text[*at + s->n] = '\0';
    s->p = text + *at;
    *at += s->n + 1;
}

static struct entry *entry_new(const uint8_t hash[MA_SHA256_LEN], const struct ma_auth_memo *memo)
{
    struct ma_auth_memo copy = *memo;
    struct ma_span *text[TEXTS];
    texts_of(&copy.who, text);
    size_t at = 0, n = 0;
    for (size_t i = 0; i < TEXTS; i++)
        n += text[i]->p ? text[i]->n + 1 : 0;
    struct entry *e = malloc(sizeof *e + n);
    if (!e)
        return NULL;
    for (size_t i = 0; i < TEXTS; i++)
        append(e->text, &at, text[i]);
    memcpy(e->hash, hash, MA_SHA256_LEN);
    e->memo = copy;
    return e;
}

void ma_auth_cache_put(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN], const struct ma_auth_memo *memo)
{
    struct entry *e = entry_new(hash, memo);
    if (!e)
        return; /* forgetting is always safe */
    size_t set = set_of(hash);
    pthread_mutex_t *lock = &c->lock[set % LOCKS];
    (void)pthread_mutex_lock(lock);
    size_t w = find(c, set, hash);
    for (size_t i = 0; w == WAYS && i < WAYS; i++)
        if (!c->slot[set][i])
            w = i;
    if (w == WAYS)
        w = c->turn[set]++ % WAYS;
    struct entry *old = c->slot[set][w];
    c->slot[set][w] = e;
    (void)pthread_mutex_unlock(lock);
    entry_free(old);
}

void ma_auth_cache_drop(struct ma_auth_cache *c, const uint8_t hash[MA_SHA256_LEN])
{
    size_t set = set_of(hash);
    pthread_mutex_t *lock = &c->lock[set % LOCKS];
    (void)pthread_mutex_lock(lock);
    size_t w = find(c, set, hash);
    struct entry *old = w < WAYS ? c->slot[set][w] : NULL;
    if (old)
        c->slot[set][w] = NULL;
    (void)pthread_mutex_unlock(lock);
    entry_free(old);
}

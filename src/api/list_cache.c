/* SPDX-License-Identifier: Apache-2.0
 * A direct-mapped memory of list answers behind sharded locks.
 */
#include "list_cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "ma/crypto.h"

enum { LOCKS = 64 };

struct answer {
    struct ma_list_version version;
    int64_t valid_until_ms;
    size_t n_user, n_body;
    uint8_t bytes[]; /* user id, body */
};

struct ma_list_cache {
    pthread_mutex_t lock[LOCKS];
    struct answer *slot[MA_LIST_CACHE_SLOTS];
};

int ma_list_cache_new(struct ma_list_cache **ret)
{
    struct ma_list_cache *c = calloc(1, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&c->lock[i], NULL);
    *ret = c;
    return MA_OK;
}

static void answer_free(struct answer *a)
{
    if (a)
        ma_wipe(a, sizeof *a + a->n_user + a->n_body);
    free(a);
}

void ma_list_cache_free(struct ma_list_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < MA_LIST_CACHE_SLOTS; i++)
        answer_free(c->slot[i]);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&c->lock[i]);
    free(c);
}

static size_t slot_of(struct ma_span user_id)
{
    return ma_span_hash(user_id) % MA_LIST_CACHE_SLOTS;
}

static bool holds(const struct answer *a, struct ma_span user_id, struct ma_list_version v, int64_t now_ms)
{
    return a && ma_span_eq(ma_span_of(a->bytes, a->n_user), user_id) &&
           a->version.user_generation == v.user_generation && a->version.state_epoch == v.state_epoch &&
           now_ms < a->valid_until_ms;
}

bool ma_list_cache_get(struct ma_list_cache *c, struct ma_span user_id, struct ma_list_version now_version,
                       int64_t now_ms, struct ma_buf *out)
{
    size_t slot = slot_of(user_id);
    (void)pthread_mutex_lock(&c->lock[slot % LOCKS]);
    const struct answer *a = c->slot[slot];
    bool found = holds(a, user_id, now_version, now_ms);
    if (found)
        ma_buf_put(out, a->bytes + a->n_user, a->n_body);
    (void)pthread_mutex_unlock(&c->lock[slot % LOCKS]);
    return found;
}

void ma_list_cache_put(struct ma_list_cache *c, struct ma_span user_id, struct ma_list_version version,
                       int64_t valid_until_ms, struct ma_span body)
{
    if (body.n > MA_LIST_CACHE_BODY_MAX)
        return;
    struct answer *a = malloc(sizeof *a + user_id.n + body.n);
    if (!a)
        return; /* forgetting is always safe */
    a->version = version;
    a->valid_until_ms = valid_until_ms;
    a->n_user = user_id.n;
    a->n_body = body.n;
    memcpy(a->bytes, user_id.p, user_id.n);
    memcpy(a->bytes + user_id.n, body.p, body.n);
    size_t slot = slot_of(user_id);
    (void)pthread_mutex_lock(&c->lock[slot % LOCKS]);
    struct answer *old = c->slot[slot];
    c->slot[slot] = a;
    (void)pthread_mutex_unlock(&c->lock[slot % LOCKS]);
    answer_free(old);
}

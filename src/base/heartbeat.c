/* SPDX-License-Identifier: Apache-2.0
 * One record per thread in a list; the thread finds its own through a thread-local pointer.
 */
#include "ma/heartbeat.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { SIGNS_PER_LIMIT = 4, RESTING = -1 };

struct beat {
    struct beat *next;
    const char *name;
    _Atomic int64_t at_ms; /* RESTING: owes nothing */
};

struct ma_heartbeats {
    int64_t limit_ms;
    pthread_mutex_t lock; /* guards the list */
    struct beat *list;
};

static _Thread_local struct beat *mine;

int64_t ma_heartbeats_now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int ma_heartbeats_new(int64_t limit_ms, struct ma_heartbeats **ret)
{
    struct ma_heartbeats *h = calloc(1, sizeof *h);
    if (!h)
        return MA_E_NOMEM;
    h->limit_ms = limit_ms;
    (void)pthread_mutex_init(&h->lock, NULL);
    *ret = h;
    return MA_OK;
}

void ma_heartbeats_free(struct ma_heartbeats *h)
{
    if (!h)
        return;
    for (struct beat *b = h->list, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

int ma_heartbeat_join(struct ma_heartbeats *h, const char *name)
{
    mine = NULL;
    if (!h || h->limit_ms <= 0)
        return MA_OK;
    struct beat *b = calloc(1, sizeof *b);
    if (!b)
        return MA_E_NOMEM;
    b->name = name;
    atomic_store(&b->at_ms, ma_heartbeats_now_ms());
    (void)pthread_mutex_lock(&h->lock);
    b->next = h->list;
    h->list = b;
    (void)pthread_mutex_unlock(&h->lock);
    mine = b;
    return MA_OK;
}

void ma_heartbeat(void)
{
    if (mine)
        atomic_store_explicit(&mine->at_ms, ma_heartbeats_now_ms(), memory_order_relaxed);
}

void ma_heartbeat_rest(void)
{
    if (mine)
        atomic_store_explicit(&mine->at_ms, RESTING, memory_order_relaxed);
}

int64_t ma_heartbeats_nap_ms(const struct ma_heartbeats *h, int64_t ms)
{
    if (!h || h->limit_ms <= 0)
        return ms;
    int64_t nap = h->limit_ms / SIGNS_PER_LIMIT;
    nap = nap > 0 ? nap : 1;
    return nap < ms ? nap : ms;
}

const char *ma_heartbeats_late(struct ma_heartbeats *h, int64_t now_ms)
{
    const char *late = NULL;
    (void)pthread_mutex_lock(&h->lock);
    for (const struct beat *b = h->list; b && !late; b = b->next) {
        int64_t at = atomic_load_explicit(&b->at_ms, memory_order_relaxed);
        if (at != RESTING && now_ms - at > h->limit_ms)
            late = b->name;
    }
    (void)pthread_mutex_unlock(&h->lock);
    return late;
}

/* SPDX-License-Identifier: Apache-2.0
 * Request token buckets: sets of eight entries behind sharded locks, keyed by a keyed hash.
 */
#include "ma/limit.h"

#include <pthread.h>
#include <stdlib.h>

enum { SHARDS = 64, SETS_PER_SHARD = 128, WAYS = 8 };

/* Requests keep the time they began at, so a bucket may be a little ahead of one; more is a clock that was set back. */
enum { CLOCK_SLACK_MS = 60000 };

/* Tokens are counted in millionths so that slow refills lose nothing to rounding. */
#define MICRO 1000000

struct entry {
    uint64_t key; /* 0: empty */
    int64_t at_ms;
    int64_t micro; /* tokens left, in millionths, at at_ms */
    int64_t full;  /* bucket size, in millionths */
    int64_t rest;  /* what division left of the last refill, in millionths × milliseconds */
    int64_t full_at_ms;
};

struct shard {
    pthread_mutex_t lock;
    struct entry e[SETS_PER_SHARD][WAYS];
};

struct ma_limits {
    uint64_t seed[2];
    struct ma_metrics *metrics;
    struct shard shard[SHARDS];
};

int ma_limits_new(const struct ma_rand *r, struct ma_limits **ret)
{
    struct ma_limits *l = calloc(1, sizeof *l);
    if (!l)
        return MA_E_NOMEM;
    if (r->fill(r, l->seed, sizeof l->seed) < 0) {
        free(l);
        return MA_E_IO;
    }
    for (size_t i = 0; i < SHARDS; i++)
        (void)pthread_mutex_init(&l->shard[i].lock, NULL);
    *ret = l;
    return MA_OK;
}

void ma_limits_observe(struct ma_limits *l, struct ma_metrics *m)
{
    l->metrics = m;
}

void ma_limits_free(struct ma_limits *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < SHARDS; i++)
        (void)pthread_mutex_destroy(&l->shard[i].lock);
    free(l);
}

/* A keyed multiply-xorshift over the bytes: collisions cannot be arranged without the seed. */
static uint64_t key_hash(const struct ma_limits *l, enum ma_bucket b, struct ma_span key)
{
    uint64_t h = l->seed[0] ^ ((uint64_t)b * 0x9e3779b97f4a7c15u) ^ key.n;
    for (size_t i = 0; i < key.n; i += 8) {
        uint64_t word = 0;
        size_t left = key.n - i;
        memcpy(&word, key.p + i, left < 8 ? left : 8);
        h = (h ^ word) * (l->seed[1] | 1);
        h ^= h >> 29;
    }
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 32;
    return h ? h : 1;
}

/* Exact as long as a period is at most a day and the bucket at most 10^9 tokens: the elapsed time is cut to one
 * period, in which the bucket fills wholly. */
static void refill(struct entry *e, int64_t limit, int64_t period_ms, int64_t now_ms)
{
    int64_t full = limit * MICRO;
    int64_t elapsed = now_ms - e->at_ms;
    if (e->full != full) { /* the limit was reconfigured: keep what was spent */
        int64_t spent = e->full - e->micro;
        e->micro = full > spent ? full - spent : 0;
        e->full = full;
    }
    if (elapsed < -CLOCK_SLACK_MS)
        e->at_ms = now_ms;
    if (elapsed <= 0)
        return;
    __extension__ typedef __int128 wide;
    wide gain = (wide)full * (elapsed < period_ms ? elapsed : period_ms) + e->rest;
    wide level = e->micro + gain / period_ms;
    e->micro = level < full ? (int64_t)level : full;
    e->rest = level < full ? (int64_t)(gain % period_ms) : 0;
    e->at_ms = now_ms;
}

/* The key's entry. Where there is none: NULL, or with `add` the fullest one of its set emptied for it: a full bucket
 * equals no bucket, and the one that will be full first loses least. */
static struct entry *find(struct entry *set, uint64_t key, int64_t limit, int64_t now_ms, bool add)
{
    struct entry *victim = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (victim->key == 0)
            continue;
        if (set[i].key == 0 || set[i].full_at_ms < victim->full_at_ms)
            victim = &set[i];
    }
    if (!add)
        return NULL;
    *victim = (struct entry){.key = key, .at_ms = now_ms, .micro = limit * MICRO, .full = limit * MICRO};
    return victim;
}

/* How long so many millionths take to come back. */
static int64_t wait_ms(const struct entry *e, int64_t missing, int64_t period_ms)
{
    __extension__ typedef __int128 wide;
    wide ms = ((wide)missing * period_ms - e->rest + e->full - 1) / e->full;
    return (int64_t)ms;
}

static void bucket(struct ma_limits *l, enum ma_bucket b, struct ma_span key, int64_t limit, int64_t period_ms,
                   int64_t now_ms, bool take, struct ma_limit_state *ret)
{
    int64_t now_s = now_ms / 1000;
    if (limit <= 0) {
        *ret = (struct ma_limit_state){true, MA_LIMIT_OFF, MA_LIMIT_OFF, now_s, 0};
        return;
    }
    uint64_t h = key_hash(l, b, key);
    struct shard *s = &l->shard[h % SHARDS];
    (void)pthread_mutex_lock(&s->lock);
    struct entry *e = find(s->e[(h / SHARDS) % SETS_PER_SHARD], h, limit, now_ms, take);
    if (!e) { /* never spent */
        (void)pthread_mutex_unlock(&s->lock);
        *ret = (struct ma_limit_state){true, limit, limit, now_s, 0};
        return;
    }
    refill(e, limit, period_ms, now_ms);
    bool allowed = e->micro >= MICRO;
    if (allowed && take)
        e->micro -= MICRO;
    int64_t next_ms = e->micro >= e->full ? 0 : wait_ms(e, MICRO - e->micro % MICRO, period_ms);
    e->full_at_ms = e->at_ms + wait_ms(e, e->full - e->micro, period_ms);
    *ret = (struct ma_limit_state){.allowed = allowed,
                                   .limit = limit,
                                   .remaining = e->micro / MICRO,
                                   .reset_s = (now_ms + next_ms + 999) / 1000,
                                   .retry_after_s = allowed ? 0 : (next_ms + 999) / 1000};
    (void)pthread_mutex_unlock(&s->lock);
    if (allowed)
        return;
    if (ret->retry_after_s < 1)
        ret->retry_after_s = 1;
    ma_metrics_add(l->metrics, MA_M_RATE_LIMITED, b, 0, 1);
}

void ma_limit_take(struct ma_limits *l, enum ma_bucket b, struct ma_span key, int64_t limit, int64_t period_ms,
                   int64_t now_ms, struct ma_limit_state *ret)
{
    bucket(l, b, key, limit, period_ms, now_ms, true, ret);
}

void ma_limit_peek(struct ma_limits *l, enum ma_bucket b, struct ma_span key, int64_t limit, int64_t period_ms,
                   int64_t now_ms, struct ma_limit_state *ret)
{
    bucket(l, b, key, limit, period_ms, now_ms, false, ret);
}

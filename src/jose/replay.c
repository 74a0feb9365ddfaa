/* SPDX-License-Identifier: Apache-2.0
 * Names seen once: shards of open addressing, where a name stays until it has lapsed and a full shard takes no more.
 */
#include "ma/jose.h"
#include "int.h"

#include <stdlib.h>

enum { TAG = 16, KEY = 32 };

struct slot {
    uint8_t tag[TAG]; /* of a keyed digest: nobody can aim at a shard, or make two names one */
    uint32_t until_s; /* 0: never used, which ends a search */
};
struct shard {
    pthread_mutex_t lock;
    struct slot *slot; /* NULL: nothing yet */
    size_t used;       /* slots with a name, lapsed or not */
    uint32_t first_s;  /* no name lapses before */
};
struct ma_replay {
    uint8_t *key;
    size_t room;
    struct shard shard[MA_REPLAY_SHARDS];
};

int ma_replay_new(const struct ma_rand *rand, size_t room, struct ma_replay **ret)
{
    struct ma_replay *r = calloc(1, sizeof *r);
    if (!r)
        return MA_E_NOMEM;
    for (size_t i = 0; i < MA_REPLAY_SHARDS; i++)
        (void)pthread_mutex_init(&r->shard[i].lock, NULL);
    r->room = room < MA_REPLAY_ROOM ? room : MA_REPLAY_ROOM;
    r->key = ma_secure_alloc(KEY);
    int err = r->key ? rand->fill(rand, r->key, KEY) : MA_E_NOMEM;
    if (err < 0) {
        ma_replay_free(r);
        return err;
    }
    *ret = r;
    return MA_OK;
}

void ma_replay_free(struct ma_replay *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < MA_REPLAY_SHARDS; i++) {
        (void)pthread_mutex_destroy(&r->shard[i].lock);
        free(r->shard[i].slot);
    }
    ma_secure_free(r->key, KEY);
    free(r);
}

static size_t home(const uint8_t tag[TAG])
{
    uint64_t h;
    memcpy(&h, tag, sizeof h);
    return h % MA_REPLAY_SLOTS;
}

/* The name's slot, or the free one where it belongs. There always is a free one. */
static struct slot *search(struct slot *table, const uint8_t tag[TAG])
{
    size_t i = home(tag);
    while (table[i].until_s != 0 && memcmp(table[i].tag, tag, TAG) != 0)
        i = (i + 1) % MA_REPLAY_SLOTS;
    return &table[i];
}

static bool lives(const struct slot *s, uint32_t now_s)
{
    return s->until_s >= now_s;
}

static void put(struct shard *sh, struct slot *s, const uint8_t tag[TAG], uint32_t until_s)
{
    if (s->until_s == 0)
        sh->used++;
    memcpy(s->tag, tag, TAG);
    s->until_s = until_s;
    if (until_s < sh->first_s)
        sh->first_s = until_s;
}

/* A fresh table with what lives. The old one stays when there is no memory for another. */
static void sweep(struct shard *sh, uint32_t now_s)
{
    struct slot *fresh = calloc(MA_REPLAY_SLOTS, sizeof *fresh);
    if (!fresh)
        return;
    struct slot *old = sh->slot;
    sh->slot = fresh;
    sh->used = 0;
    sh->first_s = UINT32_MAX;
    for (size_t i = 0; i < MA_REPLAY_SLOTS; i++)
        if (old[i].until_s != 0 && lives(&old[i], now_s))
            put(sh, search(fresh, old[i].tag), old[i].tag, old[i].until_s);
    free(old);
}

static bool has_room(const struct ma_replay *r, struct shard *sh, uint32_t now_s)
{
    if (!sh->slot) {
        sh->slot = calloc(MA_REPLAY_SLOTS, sizeof *sh->slot);
        sh->first_s = UINT32_MAX;
    }
    if (sh->slot && sh->used >= r->room && sh->first_s < now_s)
        sweep(sh, now_s);
    return sh->slot && sh->used < r->room;
}

static enum ma_replay_verdict add(const struct ma_replay *r, struct shard *sh, const uint8_t tag[TAG], uint32_t until_s,
                                  uint32_t now_s)
{
    struct slot *s = sh->slot ? search(sh->slot, tag) : NULL;
    if (s && s->until_s != 0 && lives(s, now_s))
        return MA_REPLAY_SEEN;
    if (s && s->until_s != 0) { /* its own slot, lapsed */
        put(sh, s, tag, until_s);
        return MA_REPLAY_NEW;
    }
    if (!has_room(r, sh, now_s))
        return MA_REPLAY_FULL;
    put(sh, search(sh->slot, tag), tag, until_s);
    return MA_REPLAY_NEW;
}

static bool has(struct shard *sh, const uint8_t tag[TAG], uint32_t now_s)
{
    const struct slot *s = sh->slot ? search(sh->slot, tag) : NULL;
    return s && s->until_s != 0 && lives(s, now_s);
}

static uint32_t seconds(int64_t s)
{
    return s < 1 ? 1 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static struct shard *shard_of(struct ma_replay *r, const struct ma_span *parts, size_t n, uint8_t digest[MA_SHA256_LEN])
{
    if (ma_hmac_sha256_parts(ma_span_of(r->key, KEY), parts, n, digest) < 0)
        return NULL;
    return &r->shard[digest[MA_SHA256_LEN - 1] % MA_REPLAY_SHARDS];
}

bool ma_replay_seen(struct ma_replay *r, const struct ma_span *parts, size_t n, int64_t now_s)
{
    uint8_t digest[MA_SHA256_LEN];
    struct shard *sh = shard_of(r, parts, n, digest);
    if (!sh)
        return true;
    (void)pthread_mutex_lock(&sh->lock);
    bool seen = has(sh, digest, seconds(now_s));
    (void)pthread_mutex_unlock(&sh->lock);
    return seen;
}

enum ma_replay_verdict ma_replay_add(struct ma_replay *r, const struct ma_span *parts, size_t n, int64_t until_s,
                                     int64_t now_s)
{
    uint8_t digest[MA_SHA256_LEN];
    struct shard *sh = shard_of(r, parts, n, digest);
    if (!sh)
        return MA_REPLAY_FULL;
    int64_t last_s = until_s < UINT32_MAX ? until_s + MA_REPLAY_SLACK_S : until_s;
    (void)pthread_mutex_lock(&sh->lock);
    enum ma_replay_verdict v = add(r, sh, digest, seconds(last_s), seconds(now_s));
    (void)pthread_mutex_unlock(&sh->lock);
    return v;
}

/* SPDX-License-Identifier: Apache-2.0
 * Uses of sign-ins, noted in memory.
 */
#include "ma/seen.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAYS = 4, SETS = MA_SEEN_MAX / WAYS };

struct entry {
    int64_t at;   /* 0: free */
    bool pending; /* not written yet */
    uint8_t n_user, n_sid, n_client;
    char user[MA_SEEN_USER_MAX], sid[MA_SEEN_SID_MAX], client[MA_SEEN_CLIENT_MAX];
};

struct set {
    pthread_mutex_t lock;
    struct entry v[WAYS];
};

struct ma_seen {
    struct set set[SETS];
    size_t next; /* where flushing goes on; the writer's */
};

struct key {
    struct ma_span user, sid, client; /* client empty: anybody */
};

int ma_seen_new(struct ma_seen **ret)
{
    struct ma_seen *s = calloc(1, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    for (size_t i = 0; i < SETS; i++)
        (void)pthread_mutex_init(&s->set[i].lock, NULL);
    *ret = s;
    return MA_OK;
}

void ma_seen_free(struct ma_seen *s)
{
    for (size_t i = 0; s && i < SETS; i++)
        (void)pthread_mutex_destroy(&s->set[i].lock);
    free(s);
}

static struct set *set_of(struct ma_seen *s, const struct key *k)
{
    uint64_t h = ma_span_hash(k->user) ^ ma_span_hash(k->sid) * 3 ^ ma_span_hash(k->client) * 5;
    return &s->set[h % SETS];
}

static bool is_it(const struct entry *e, const struct key *k)
{
    return e->at && ma_span_eq(ma_span_of(e->user, e->n_user), k->user) &&
           ma_span_eq(ma_span_of(e->sid, e->n_sid), k->sid) &&
           ma_span_eq(ma_span_of(e->client, e->n_client), k->client);
}

static struct entry *find(struct set *set, const struct key *k)
{
    for (size_t w = 0; w < WAYS; w++)
        if (is_it(&set->v[w], k))
            return &set->v[w];
    return NULL;
}

/* A place for another sign-in: free, or the oldest of the written ones. NULL: all wait to be written. */
static struct entry *make_room(struct set *set)
{
    struct entry *best = NULL;
    for (size_t w = 0; w < WAYS; w++)
        if (!set->v[w].pending && (!best || set->v[w].at < best->at))
            best = &set->v[w];
    return best;
}

static void fill(struct entry *e, const struct key *k)
{
    e->n_user = (uint8_t)k->user.n;
    e->n_sid = (uint8_t)k->sid.n;
    e->n_client = (uint8_t)k->client.n;
    memcpy(e->user, k->user.p, k->user.n);
    memcpy(e->sid, k->sid.p, k->sid.n);
    if (k->client.n)
        memcpy(e->client, k->client.p, k->client.n);
}

/* False when it was noted a moment ago. */
static bool note(struct ma_seen *s, const struct key *k, int64_t now)
{
    struct set *set = set_of(s, k);
    (void)pthread_mutex_lock(&set->lock);
    struct entry *e = find(set, k);
    bool fresh = !e || now - e->at >= MA_SEEN_STEP_MS;
    if (!e && (e = make_room(set)))
        fill(e, k);
    if (e && fresh) {
        e->at = now;
        e->pending = true;
    }
    (void)pthread_mutex_unlock(&set->lock);
    return fresh;
}

static bool fits(const struct key *k)
{
    return k->user.n > 0 && k->user.n <= MA_SEEN_USER_MAX && k->sid.n > 0 && k->sid.n <= MA_SEEN_SID_MAX &&
           k->client.n <= MA_SEEN_CLIENT_MAX;
}

void ma_seen_note(struct ma_seen *s, struct ma_span user_id, struct ma_span sid, struct ma_span client_id, int64_t now)
{
    const struct key client = {user_id, sid, client_id}, anybody = {user_id, sid, MA_SPAN_NULL};
    if (s && client_id.n > 0 && fits(&client) && note(s, &client, now))
        (void)note(s, &anybody, now);
}

int64_t ma_seen_at(struct ma_seen *s, struct ma_span user_id, struct ma_span sid, struct ma_span client_id)
{
    const struct key k = {user_id, sid, client_id};
    if (!s || !fits(&k))
        return 0;
    struct set *set = set_of(s, &k);
    (void)pthread_mutex_lock(&set->lock);
    const struct entry *e = find(set, &k);
    int64_t at = e ? e->at : 0;
    (void)pthread_mutex_unlock(&set->lock);
    return at;
}

/* The next one that waits, copied out. */
static bool take(struct set *set, struct entry *ret)
{
    bool found = false;
    (void)pthread_mutex_lock(&set->lock);
    for (size_t w = 0; w < WAYS && !found; w++) {
        found = set->v[w].pending;
        if (found) {
            set->v[w].pending = false;
            *ret = set->v[w];
        }
    }
    (void)pthread_mutex_unlock(&set->lock);
    return found;
}

int ma_seen_flush(struct ma_seen *s, struct ma_db *db, int limit)
{
    int n = 0;
    for (size_t i = 0; i < SETS && n < limit; i++) {
        struct entry e;
        struct set *set = &s->set[s->next];
        while (n < limit && take(set, &e)) {
            int r = ma_signin_used(db, ma_span_of(e.user, e.n_user), ma_span_of(e.sid, e.n_sid),
                                   ma_span_of(e.client, e.n_client), e.at);
            if (r < 0)
                return r;
            n++;
        }
        if (n < limit)
            s->next = (s->next + 1) % SETS;
    }
    return n;
}

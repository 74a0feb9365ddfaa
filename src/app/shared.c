/* SPDX-License-Identifier: Apache-2.0
 * What threads share and replace: the configuration and state snapshots, user generations, the
 * stopping flag.
 */
#include "int.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { GENERATIONS = 8192 }; /* users share slots: a collision costs a needless look-up, never a stale fact */

struct ma_conf_ref {
    struct ma_conf *conf;
    _Atomic int refs;
};

struct ma_app_shared {
    pthread_mutex_t lock;    /* guards conf and state */
    pthread_mutex_t loading; /* held from before a state is read until it is installed */
    struct ma_conf_ref *conf;
    struct ma_state *state;
    _Atomic uint64_t generation[GENERATIONS];
    _Atomic uint64_t commits;
    _Atomic size_t large; /* bytes of large answers under way */
    _Atomic bool stopping;
};

struct ma_conf_ref *ma_conf_ref_new(struct ma_conf *conf)
{
    struct ma_conf_ref *r = calloc(1, sizeof *r);
    if (!r) {
        ma_conf_free(conf);
        return NULL;
    }
    r->conf = conf;
    atomic_store(&r->refs, 1);
    return r;
}

const struct ma_conf *ma_conf_ref_get(const struct ma_conf_ref *r)
{
    return r->conf;
}

void ma_conf_unref(struct ma_conf_ref *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
        return;
    ma_conf_free(r->conf);
    free(r);
}

struct ma_app_shared *ma_shared_new(struct ma_conf *conf)
{
    struct ma_app_shared *s = calloc(1, sizeof *s);
    if (!s) {
        ma_conf_free(conf);
        return NULL;
    }
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->loading, NULL);
    s->conf = ma_conf_ref_new(conf);
    if (!s->conf) {
        ma_shared_free(s);
        return NULL;
    }
    return s;
}

void ma_shared_free(struct ma_app_shared *s)
{
    if (!s)
        return;
    ma_conf_unref(s->conf);
    ma_state_unref(s->state);
    (void)pthread_mutex_destroy(&s->loading);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct ma_conf_ref *ma_app_conf(const struct ma_app *app)
{
    struct ma_app_shared *s = app->shared;
    (void)pthread_mutex_lock(&s->lock);
    struct ma_conf_ref *r = s->conf;
    atomic_fetch_add(&r->refs, 1);
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

struct ma_state *ma_app_state(const struct ma_app *app)
{
    struct ma_app_shared *s = app->shared;
    (void)pthread_mutex_lock(&s->lock);
    struct ma_state *st = s->state ? ma_state_ref(s->state) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return st;
}

void ma_shared_set_conf(struct ma_app_shared *s, struct ma_conf_ref *fresh)
{
    (void)pthread_mutex_lock(&s->lock);
    struct ma_conf_ref *old = s->conf;
    s->conf = fresh;
    (void)pthread_mutex_unlock(&s->lock);
    ma_conf_unref(old);
}

void ma_shared_loading(struct ma_app_shared *s, bool begin)
{
    (void)(begin ? pthread_mutex_lock : pthread_mutex_unlock)(&s->loading);
}

void ma_shared_set_state(struct ma_app_shared *s, struct ma_state *fresh)
{
    (void)pthread_mutex_lock(&s->lock);
    struct ma_state *old = s->state;
    s->state = fresh;
    (void)pthread_mutex_unlock(&s->lock);
    ma_state_unref(old);
}

static size_t slot_of(struct ma_span user_id)
{
    return ma_span_hash(user_id) % GENERATIONS;
}

uint64_t ma_app_user_generation(const struct ma_app *app, struct ma_span user_id)
{
    return atomic_load_explicit(&app->shared->generation[slot_of(user_id)], memory_order_acquire);
}

bool ma_app_large_take(const struct ma_app *app, size_t n)
{
    size_t before = atomic_fetch_add(&app->shared->large, n);
    if (n <= MA_LARGE_ANSWERS_MAX && before <= MA_LARGE_ANSWERS_MAX - n)
        return true;
    atomic_fetch_sub(&app->shared->large, n);
    return false;
}

void ma_app_large_give(const struct ma_app *app, size_t n)
{
    atomic_fetch_sub(&app->shared->large, n);
}

void ma_app_user_changed(const struct ma_app *app, struct ma_span user_id)
{
    atomic_fetch_add_explicit(&app->shared->generation[slot_of(user_id)], 1, memory_order_release);
}

uint64_t ma_app_commits(const struct ma_app *app)
{
    return atomic_load_explicit(&app->shared->commits, memory_order_acquire);
}

void ma_app_count_commit(const struct ma_app *app)
{
    atomic_fetch_add_explicit(&app->shared->commits, 1, memory_order_release);
}

bool ma_app_may_remember(const struct ma_app *app, const struct ma_ctx *ctx)
{
    return ma_app_commits(app) == ctx->snapshot_commits;
}

bool ma_app_stopping(const struct ma_app *app)
{
    return atomic_load_explicit(&app->shared->stopping, memory_order_relaxed);
}

void ma_shared_set_stopping(struct ma_app_shared *s)
{
    atomic_store(&s->stopping, true);
}

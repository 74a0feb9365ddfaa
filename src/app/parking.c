/* SPDX-License-Identifier: Apache-2.0
 * Requests that wait without a thread.
 */
#include "ma/parking.h"

#include <pthread.h>
#include <stdlib.h>

#include "ma/app.h"
#include "ma/http.h"
#include "ma/lanes.h"

struct ma_parking {
    const struct ma_app *app;
    pthread_mutex_t lock;
    struct ma_ctx *head; /* linked by queue_next */
    size_t n;
    bool closed;
};

int ma_parking_new(const struct ma_app *app, struct ma_parking **ret)
{
    struct ma_parking *p = calloc(1, sizeof *p);
    if (!p)
        return MA_E_NOMEM;
    p->app = app;
    (void)pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return MA_OK;
}

void ma_parking_free(struct ma_parking *p)
{
    if (!p)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

static int64_t mono(const struct ma_app *app)
{
    return app->clock->mono_ms(app->clock);
}

int ma_park(struct ma_ctx *ctx, struct ma_span key, int64_t wait_ms, ma_step step)
{
    if (!ctx->park.begun) {
        ctx->park.begun = true;
        ctx->park.until_ms = mono(ctx->app) + wait_ms;
    }
    ctx->park.key = key;
    ctx->park.due = true;
    return ma_next(ctx, MA_LANE_WRITE, step);
}

bool ma_parking_take(struct ma_parking *p, struct ma_ctx *ctx)
{
    size_t same = 0;
    ctx->park.due = false;
    (void)pthread_mutex_lock(&p->lock);
    for (const struct ma_ctx *c = p->head; c; c = c->queue_next)
        same += ma_span_eq(c->who.user_id, ctx->who.user_id);
    bool room = !p->closed && p->n < MA_PARKED_MAX && same < MA_PARKED_PER_USER;
    if (room) {
        ctx->queue_next = p->head;
        p->head = ctx;
        p->n++;
    } else {
        ctx->park.over = true;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return room;
}

/* Back to its lane, in the time that it is by now. */
static void go_on(const struct ma_app *app, struct ma_ctx *ctx)
{
    ctx->now_ms = app->clock->wall_ms(app->clock);
    if (ma_lane_reserve(app->lanes, ctx->step_lane)) {
        ma_lane_push(app->lanes, ctx->step_lane, ctx);
        return;
    }
    ctx->step = NULL;
    (void)ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The server is busy.", 1);
    ma_http_resume(ctx);
}

/* Takes out what `key` names (p == NULL: all), or whose time was up at `now`; the others stay. */
static void release(struct ma_parking *p, struct ma_span key, int64_t now, bool all)
{
    struct ma_ctx *out = NULL;
    (void)pthread_mutex_lock(&p->lock);
    for (struct ma_ctx **link = &p->head; *link;) {
        struct ma_ctx *c = *link;
        bool late = all || c->park.until_ms <= now;
        if (!late && !(key.p && ma_span_eq(c->park.key, key))) {
            link = &c->queue_next;
            continue;
        }
        c->park.over = late;
        *link = c->queue_next;
        c->queue_next = out;
        out = c;
        p->n--;
    }
    (void)pthread_mutex_unlock(&p->lock);
    for (struct ma_ctx *next; out; out = next) {
        next = out->queue_next;
        go_on(p->app, out); /* not ours any more */
    }
}

void ma_parking_wake(struct ma_parking *p, struct ma_span key)
{
    if (key.p)
        release(p, key, INT64_MIN, false);
}

void ma_parking_tick(struct ma_parking *p)
{
    release(p, MA_SPAN_NULL, mono(p->app), false);
}

void ma_parking_close(struct ma_parking *p)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->closed = true;
    (void)pthread_mutex_unlock(&p->lock);
    release(p, MA_SPAN_NULL, 0, true);
}

size_t ma_parking_count(struct ma_parking *p)
{
    (void)pthread_mutex_lock(&p->lock);
    size_t n = p->n;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}

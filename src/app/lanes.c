/* SPDX-License-Identifier: Apache-2.0
 * Lane threads: the group-committing writer, the hashing and the network lane.
 */
#include "ma/lanes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ma/api.h"
#include "ma/app.h"
#include "ma/heartbeat.h"
#include "ma/httpc.h"
#include "ma/metrics.h"

enum { HOUSEKEEPING_MS = 15000, HOUSEKEEPING_BUSY_MS = 200, LANE_THREADS_MAX = 64, NAP_MS = 60000 };

/* A function that some other thread wants in the writer's transaction; lives on that thread's stack. */
struct write_job {
    struct write_job *next;
    int (*fn)(struct ma_db *, void *);
    void *arg;
    int result;
    bool done;
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* something to do, or stop */
    pthread_cond_t job_done; /* WRITE: some write_job is finished */
    struct ma_ctx *head, **tail;
    struct write_job *jobs, **jobs_tail;
    bool stop;
    struct {
        uint64_t wanted, done; /* wishes so far: expressed, fulfilled */
        int64_t max_bytes;     /* of the largest wish that is open */
        int result;            /* of the rewriting for those that are done */
        uint64_t rewritten;
        int newest_result;    /* of the rewriting for wish `rewritten`; both the writer's alone */
    } scrub;                  /* WRITE */
    _Atomic int64_t reserved; /* places taken: queued or about to be */
    struct {
        uint64_t key; /* 0: nothing that is bounded */
        bool provider;
    } running[LANE_THREADS_MAX]; /* NET: what each thread is doing */
    pthread_t threads[LANE_THREADS_MAX];
    size_t n_threads;
};

struct ma_lanes {
    struct ma_lanes_env env;
    struct lane lane[MA_LANE__COUNT];
    _Atomic uint64_t commits, requests;
    _Atomic bool closed; /* nothing new is taken */
};

struct thread_arg {
    struct ma_lanes *lanes;
    enum ma_lane lane;
    size_t number;
};

static _Thread_local struct ma_httpc *this_httpc;

struct ma_httpc *ma_lane_httpc(void)
{
    return this_httpc;
}

/* --- queues --- */

static void lane_init(struct lane *l)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->wake, &attr);
    (void)pthread_cond_init(&l->job_done, &attr);
    (void)pthread_condattr_destroy(&attr);
    l->tail = &l->head;
    l->jobs_tail = &l->jobs;
}

bool ma_lane_reserve(struct ma_lanes *l, enum ma_lane lane)
{
    struct lane *q = &l->lane[lane];
    if (atomic_fetch_add(&q->reserved, 1) < l->env.queue && !atomic_load(&l->closed))
        return true;
    atomic_fetch_sub(&q->reserved, 1);
    return false;
}

void ma_lane_push(struct ma_lanes *l, enum ma_lane lane, struct ma_ctx *ctx)
{
    struct lane *q = &l->lane[lane];
    ctx->queue_next = NULL;
    ctx->queue_at_us = ma_mono_us();
    (void)pthread_mutex_lock(&q->lock);
    bool was_empty = q->head == NULL;
    *q->tail = ctx;
    q->tail = &ctx->queue_next;
    if (was_empty || lane != MA_LANE_WRITE) /* under the lock: without it the lane may be gone already */
        (void)pthread_cond_signal(&q->wake);
    (void)pthread_mutex_unlock(&q->lock);
}

size_t ma_lane_depth(const struct ma_lanes *l, enum ma_lane lane)
{
    int64_t n = atomic_load(&l->lane[lane].reserved);
    return n > 0 ? (size_t)n : 0;
}

static void waited(const struct ma_lanes *l, enum ma_lane lane, struct ma_ctx *ctx, int64_t now_us)
{
    int64_t us = now_us - ctx->queue_at_us;
    ctx->queued_us += us;
    ma_metrics_observe(l->env.metrics, MA_M_LANE_WAIT, lane, us);
}

/* Takes up to max contexts; the lock is held. */
static struct ma_ctx *take(const struct ma_lanes *l, struct lane *q, int64_t max, int64_t *ret_n)
{
    struct ma_ctx *first = q->head, **link = &q->head;
    int64_t n = 0, now = ma_mono_us();
    for (; *link && n < max; link = &(*link)->queue_next, n++)
        waited(l, MA_LANE_WRITE, *link, now);
    struct ma_ctx *rest = *link;
    *link = NULL;
    q->head = rest;
    if (!rest)
        q->tail = &q->head;
    *ret_n = n;
    return n ? first : NULL;
}

static void timed_wait(struct lane *q, int64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_cond_timedwait(&q->wake, &q->lock, &until);
}

/* --- the writer --- */

/* What is left about a request that was rolled back goes in whole or not at all. */
static int leave_trace(struct ma_lanes *l, struct ma_ctx *ctx)
{
    struct ma_db *db = l->env.writer;
    int r = ma_db_savepoint(db);
    if (r < 0)
        return r;
    if (l->env.rolled_back(ctx) == MA_OK)
        return ma_db_release(db);
    ma_db_rollback_to(db);
    return ma_db_in_transaction(db) ? MA_OK : MA_E_DB;
}

static void run_in_savepoint(struct ma_lanes *l, struct ma_ctx *ctx, int *batch_err)
{
    struct ma_db *db = l->env.writer;
    ctx->db = db;
    int r = ma_db_savepoint(db);
    if (r < 0) {
        *batch_err = r;
        return;
    }
    r = ma_run_step(ctx);
    if (r == MA_OK || r == MA_E_NEXT || ctx->keep) {
        r = ma_db_release(db);
    } else {
        ma_db_rollback_to(db);
        ma_counts_settle(ctx, false);
        ctx->user_changed = ctx->wake_courier = false;
        ctx->wakes = MA_SPAN_NULL;
        r = ma_db_in_transaction(db) ? MA_OK : MA_E_DB; /* a full disk ends the whole transaction */
        if (r == MA_OK && ctx->audit.due)
            r = leave_trace(l, ctx);
    }
    if (r < 0)
        *batch_err = r;
}

static void run_job(struct ma_lanes *l, struct write_job *job, int *batch_err)
{
    int r = ma_db_savepoint(l->env.writer);
    if (r < 0) {
        *batch_err = job->result = r;
        return;
    }
    job->result = job->fn(l->env.writer, job->arg);
    if (job->result < 0)
        ma_db_rollback_to(l->env.writer);
    else if ((r = ma_db_release(l->env.writer)) < 0)
        *batch_err = r;
    if (!ma_db_in_transaction(l->env.writer))
        *batch_err = job->result < 0 ? job->result : MA_E_DB;
}

/* One transaction for everything taken; nothing is acknowledged before its commit. */
static int transact(struct ma_lanes *l, struct ma_ctx *batch, struct write_job *jobs)
{
    int err = ma_db_begin(l->env.writer);
    if (err < 0)
        return err;
    for (struct ma_ctx *c = batch; c && err == MA_OK; c = c->queue_next) {
        const struct ma_trace *before = ma_trace_enter(&c->trace);
        run_in_savepoint(l, c, &err);
        (void)ma_trace_enter(before);
    }
    for (struct write_job *j = jobs; j && err == MA_OK; j = j->next)
        run_job(l, j, &err);
    if (err == MA_OK)
        err = ma_db_commit(l->env.writer);
    if (err < 0)
        ma_db_rollback(l->env.writer);
    else
        l->env.count_commit(l->env.app);
    return err;
}

static void finish_jobs(struct lane *q, struct write_job *jobs, int err)
{
    if (!jobs)
        return;
    (void)pthread_mutex_lock(&q->lock);
    for (struct write_job *j = jobs, *next; j; j = next) {
        next = j->next;
        if (err < 0)
            j->result = err;
        j->done = true;
    }
    (void)pthread_cond_broadcast(&q->job_done);
    (void)pthread_mutex_unlock(&q->lock);
}

static void finish_batch(struct ma_lanes *l, struct ma_ctx *batch, int err)
{
    for (struct ma_ctx *c = batch, *next; c; c = next) {
        next = c->queue_next;
        if (err < 0) {
            c->step = NULL;
            c->user_changed = c->wake_courier = c->wake_clerk = c->park.due = false;
            c->wakes = MA_SPAN_NULL;
            (void)ma_fail(c, err, "commit");
        }
        ma_counts_settle(c, err == MA_OK);
        l->env.committed(l->env.app, c);
        atomic_fetch_sub(&l->lane[MA_LANE_WRITE].reserved, 1);
        l->env.finished(c); /* not ours any more */
    }
}

/* Returns the milliseconds until the next time. */
static int64_t housekeep(struct ma_lanes *l)
{
    bool more = false;
    if (ma_db_begin(l->env.writer) < 0)
        return HOUSEKEEPING_MS;
    if (l->env.housekeeping(l->env.app, l->env.writer, &more) == MA_OK && ma_db_commit(l->env.writer) == MA_OK) {
        l->env.count_commit(l->env.app);
        ma_db_checkpoint(l->env.writer, false);
    } else {
        ma_db_rollback(l->env.writer);
    }
    return more ? HOUSEKEEPING_BUSY_MS : HOUSEKEEPING_MS;
}

static void write_round(struct ma_lanes *l, struct ma_ctx *batch, int64_t n, struct write_job *jobs)
{
    int64_t began_us = ma_mono_us();
    int err = transact(l, batch, jobs);
    ma_metrics_observe(l->env.metrics, MA_M_COMMIT_TIME, 0, ma_mono_us() - began_us);
    if (n > 0)
        ma_metrics_observe(l->env.metrics, MA_M_BATCH, 0, n);
    if (err < 0)
        ma_metrics_add(l->env.metrics, MA_M_COMMIT_FAILED, 0, 0, 1);
    if (err < 0)
        ma_log(l->env.log, MA_LOG_ERROR, "db.commit_failed", MA_KV_S("error", ma_err_text(err)),
               MA_KV_I("requests", n));
    atomic_fetch_add_explicit(&l->commits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->requests, (uint64_t)n, memory_order_relaxed);
    finish_batch(l, batch, err);
    finish_jobs(&l->lane[MA_LANE_WRITE], jobs, err);
}

/* Outside any transaction. Rewrites once for all wishes up to this one; a reader in the way of cutting the log is asked
 * again a second later. */
static void scrub(struct ma_lanes *l, uint64_t wanted, int64_t max_bytes)
{
    struct lane *q = &l->lane[MA_LANE_WRITE];
    if (q->scrub.rewritten != wanted) {
        ma_heartbeat_rest(); /* as long as the file is large, in one call */
        q->scrub.newest_result = ma_db_scrub(l->env.writer, max_bytes);
        ma_heartbeat();
        q->scrub.rewritten = wanted;
    }
    if (ma_db_truncate_wal(l->env.writer) != MA_OK)
        return;
    (void)pthread_mutex_lock(&q->lock);
    q->scrub.done = wanted;
    q->scrub.result = q->scrub.newest_result;
    (void)pthread_cond_broadcast(&q->job_done);
    (void)pthread_mutex_unlock(&q->lock);
}

static void *writer_main(void *arg)
{
    struct ma_lanes *l = arg;
    struct lane *q = &l->lane[MA_LANE_WRITE];
    uint64_t wish = 0; /* the newest one that was tried */
    int64_t keep_at_us = ma_mono_us() + (int64_t)HOUSEKEEPING_MS * 1000;
    if (ma_heartbeat_join(l->env.heartbeats, "writer") < 0)
        ma_log(l->env.log, MA_LOG_ERROR, "lane.unwatched", MA_KV_S("lane", "writer"));
    const int64_t nap_ms = ma_heartbeats_nap_ms(l->env.heartbeats, 1000);
    (void)pthread_mutex_lock(&q->lock);
    for (;;) {
        ma_heartbeat();
        if (!q->head && !q->jobs && q->scrub.wanted == wish) {
            if (q->stop && atomic_load(&q->reserved) == 0)
                break;
            timed_wait(q, q->stop ? 1 : nap_ms);
        }
        int64_t n = 0;
        struct ma_ctx *batch = take(l, q, l->env.write_batch, &n);
        struct write_job *jobs = q->jobs;
        q->jobs = NULL;
        q->jobs_tail = &q->jobs;
        wish = q->scrub.wanted;
        int64_t scrub_max = q->scrub.max_bytes;
        bool wished = q->scrub.done != wish;
        (void)pthread_mutex_unlock(&q->lock);
        if (batch || jobs)
            write_round(l, batch, n, jobs);
        if (wished)
            scrub(l, wish, scrub_max);
        if (ma_mono_us() >= keep_at_us)
            keep_at_us = ma_mono_us() + housekeep(l) * 1000;
        (void)pthread_mutex_lock(&q->lock);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return NULL;
}

int ma_lanes_write(struct ma_lanes *l, int (*fn)(struct ma_db *, void *), void *arg)
{
    struct lane *q = &l->lane[MA_LANE_WRITE];
    struct write_job job = {.fn = fn, .arg = arg};
    (void)pthread_mutex_lock(&q->lock);
    if (q->stop) {
        (void)pthread_mutex_unlock(&q->lock);
        return MA_E_BUSY;
    }
    *q->jobs_tail = &job;
    q->jobs_tail = &job.next;
    (void)pthread_cond_signal(&q->wake);
    ma_heartbeat_rest(); /* the writer's own signs count meanwhile */
    while (!job.done)
        (void)pthread_cond_wait(&q->job_done, &q->lock);
    (void)pthread_mutex_unlock(&q->lock);
    ma_heartbeat();
    return job.result;
}

int ma_lanes_scrub(struct ma_lanes *l, int64_t max_bytes, int64_t wait_ms)
{
    struct lane *q = &l->lane[MA_LANE_WRITE];
    struct timespec until;
    int rc = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    (void)pthread_mutex_lock(&q->lock);
    bool none_open = q->scrub.wanted == q->scrub.done, unbounded = max_bytes == 0;
    if (none_open || unbounded || (q->scrub.max_bytes != 0 && q->scrub.max_bytes < max_bytes))
        q->scrub.max_bytes = max_bytes;
    uint64_t mine = ++q->scrub.wanted;
    (void)pthread_cond_signal(&q->wake);
    while (q->scrub.done < mine && rc == 0 && !q->stop)
        rc = pthread_cond_timedwait(&q->job_done, &q->lock, &until);
    int r = q->scrub.done >= mine ? q->scrub.result : MA_E_TIMEOUT;
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

bool ma_lanes_stopped(struct ma_lanes *l)
{
    struct lane *q = &l->lane[MA_LANE_WRITE];
    (void)pthread_mutex_lock(&q->lock);
    bool stop = q->stop;
    (void)pthread_mutex_unlock(&q->lock);
    return stop;
}

/* --- hashing and network lanes --- */

/* Whether another of this key may run: a provider that hangs holds some threads, never all. */
static bool may_run(const struct lane *q, const struct ma_ctx *ctx)
{
    size_t same = 0, providers = 0;
    for (size_t i = 0; i < LANE_THREADS_MAX; i++) {
        same += ctx->net_key && q->running[i].key == ctx->net_key;
        providers += q->running[i].provider;
    }
    return same < MA_NET_PER_KEY && (!ctx->net_provider || providers < MA_NET_THREADS - MA_NET_RESERVED);
}

/* Takes the first context whose key has room; the lock is held. */
static struct ma_ctx *take_runnable(const struct ma_lanes *l, enum ma_lane lane, struct lane *q)
{
    struct ma_ctx **link = &q->head;
    while (*link && !may_run(q, *link))
        link = &(*link)->queue_next;
    struct ma_ctx *ctx = *link;
    if (!ctx)
        return NULL;
    *link = ctx->queue_next;
    if (!*link)
        q->tail = link;
    ctx->queue_next = NULL;
    waited(l, lane, ctx, ma_mono_us());
    return ctx;
}

static struct ma_ctx *wait_one(struct ma_lanes *l, enum ma_lane lane, size_t number, int64_t nap_ms)
{
    struct lane *q = &l->lane[lane];
    (void)pthread_mutex_lock(&q->lock);
    if (q->running[number].key || q->running[number].provider) { /* somebody may have waited for what is free now */
        q->running[number].key = 0;
        q->running[number].provider = false;
        (void)pthread_cond_signal(&q->wake);
    }
    struct ma_ctx *ctx = take_runnable(l, lane, q);
    while (!ctx && !(q->stop && atomic_load(&q->reserved) == 0)) { /* a place that was taken is still used */
        timed_wait(q, q->stop ? 1 : nap_ms);
        ma_heartbeat();
        ctx = take_runnable(l, lane, q);
    }
    if (ctx) {
        q->running[number].key = ctx->net_key;
        q->running[number].provider = ctx->net_provider;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return ctx;
}

static void lane_loop(struct ma_lanes *l, enum ma_lane lane, size_t number, struct ma_db *reader)
{
    struct lane *q = &l->lane[lane];
    const int64_t nap_ms = ma_heartbeats_nap_ms(l->env.heartbeats, NAP_MS);
    if (ma_heartbeat_join(l->env.heartbeats, lane == MA_LANE_NET ? "network lane" : "hashing lane") < 0)
        ma_log(l->env.log, MA_LOG_ERROR, "lane.unwatched");
    for (struct ma_ctx *ctx = wait_one(l, lane, number, nap_ms); ctx; ctx = wait_one(l, lane, number, nap_ms)) {
        ma_heartbeat();
        const struct ma_trace *before = ma_trace_enter(&ctx->trace);
        ctx->db = reader;
        if (reader) {
            (void)ma_run_step(ctx);
        } else {
            ctx->step = NULL;
            (void)ma_fail(ctx, MA_E_DB, "lane");
        }
        (void)ma_trace_enter(before);
        atomic_fetch_sub(&q->reserved, 1);
        l->env.finished(ctx);
    }
}

static void *lane_main(void *arg)
{
    struct thread_arg *t = arg;
    struct ma_lanes *l = t->lanes;
    enum ma_lane lane = t->lane;
    size_t number = t->number;
    free(t);
    char why[256] = "";
    struct ma_db *reader = NULL;
    if (ma_db_open(l->env.database, MA_DB_READER, l->env.log, &reader, why) < 0 ||
        (lane == MA_LANE_NET && ma_httpc_new(&this_httpc) < 0)) {
        ma_log(l->env.log, MA_LOG_ERROR, "lane.start_failed", MA_KV_S("why", why));
        ma_db_close(reader);
        reader = NULL;
    }
    lane_loop(l, lane, number, reader);
    ma_httpc_free(this_httpc);
    this_httpc = NULL;
    ma_db_close(reader);
    return NULL;
}

/* --- lifecycle --- */

static int start_threads(struct ma_lanes *l, enum ma_lane lane, size_t n)
{
    struct lane *q = &l->lane[lane];
    for (size_t i = 0; i < n && i < LANE_THREADS_MAX; i++) {
        struct thread_arg *t = malloc(sizeof *t);
        if (!t)
            return MA_E_NOMEM;
        *t = (struct thread_arg){l, lane, i};
        if (pthread_create(&q->threads[q->n_threads], NULL, lane_main, t) != 0) {
            free(t);
            return MA_E_NOMEM;
        }
        q->n_threads++;
    }
    return MA_OK;
}

int ma_lanes_start(const struct ma_lanes_env *env, struct ma_lanes **ret, char why[256])
{
    struct ma_lanes *l = calloc(1, sizeof *l);
    if (!l)
        return MA_E_NOMEM;
    l->env = *env;
    for (size_t i = 0; i < MA_LANE__COUNT; i++)
        lane_init(&l->lane[i]);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct lane *w = &l->lane[MA_LANE_WRITE];
    int r = pthread_create(&w->threads[0], NULL, writer_main, l) == 0 ? MA_OK : MA_E_NOMEM;
    if (r == MA_OK) {
        w->n_threads = 1;
        r = start_threads(l, MA_LANE_CPU, cpus > 1 ? (size_t)cpus / 2 : 1);
    }
    if (r == MA_OK)
        r = start_threads(l, MA_LANE_NET, MA_NET_THREADS);
    if (r < 0) {
        (void)snprintf(why, 256, "cannot start a thread");
        ma_lanes_stop(l);
        ma_lanes_free(l);
        return r;
    }
    *ret = l;
    return MA_OK;
}

static void lane_stop(struct lane *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->stop = true;
    (void)pthread_cond_broadcast(&q->wake);
    (void)pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; i < q->n_threads; i++)
        (void)pthread_join(q->threads[i], NULL);
}

void ma_lanes_stop(struct ma_lanes *l)
{
    if (!l)
        return;
    atomic_store(&l->closed, true);
    /* The writer last: what the others finish may still have to be written. */
    lane_stop(&l->lane[MA_LANE_NET]);
    lane_stop(&l->lane[MA_LANE_CPU]);
    lane_stop(&l->lane[MA_LANE_WRITE]);
}

void ma_lanes_free(struct ma_lanes *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < MA_LANE__COUNT; i++) {
        (void)pthread_mutex_destroy(&l->lane[i].lock);
        (void)pthread_cond_destroy(&l->lane[i].wake);
        (void)pthread_cond_destroy(&l->lane[i].job_done);
    }
    free(l);
}

void ma_lanes_counters(const struct ma_lanes *l, uint64_t *commits, uint64_t *requests)
{
    *commits = atomic_load(&l->commits);
    *requests = atomic_load(&l->requests);
}

/* SPDX-License-Identifier: Apache-2.0
 * A sender: one thread that sends what the courier gives it, in order, so that a slow provider holds up nobody else.
 * It opens no letter and writes no result; both are the courier's.
 */
#include "ma/outbox.h"

#include "ma/heartbeat.h"
#include "push_int.h"

#include <pthread.h>
#include <stdlib.h>

#define JOB_ARENA_MAX (2u * 1024 * 1024) /* one letter, composed and encoded */

struct ma_sender {
    struct ma_sender_env env;
    struct ma_httpc *http;
    struct ma_push_cache *cache; /* the thread's */

    pthread_mutex_t lock; /* guards the rest; a job's other members belong to the thread while it is RUNNING, else to
                             the courier's */
    pthread_cond_t more;
    struct ma_job jobs[MA_SENDER_JOBS];
    uint64_t serial;
    bool stopping;
    bool started; /* the courier's thread only */
    pthread_t thread;
};

int ma_sender_new(const struct ma_sender_env *env, struct ma_sender **ret)
{
    struct ma_sender *s = calloc(1, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    s->env = *env;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->more, NULL);
    s->cache = ma_push_cache_new();
    int r = s->cache ? ma_httpc_new(&s->http) : MA_E_NOMEM;
    for (size_t i = 0; r == MA_OK && i < MA_SENDER_JOBS; i++) {
        s->jobs[i].a = ma_arena_new(MA_ARENA_FIRST, JOB_ARENA_MAX);
        r = s->jobs[i].a ? MA_OK : MA_E_NOMEM;
    }
    if (r < 0) {
        ma_sender_free(s);
        return r;
    }
    *ret = s;
    return MA_OK;
}

/* The first job in this state, in their order, or NULL. Call with the lock held. */
static struct ma_job *first(struct ma_sender *s, int state)
{
    struct ma_job *best = NULL;
    for (size_t i = 0; i < MA_SENDER_JOBS; i++) {
        struct ma_job *j = &s->jobs[i];
        if ((int)j->state == state && (!best || j->serial < best->serial))
            best = j;
    }
    return best;
}

static bool goes_on(int result)
{
    return result == MA_OK || result == MA_E_INVAL || result == MA_E_UNSUPPORTED;
}

static void end(struct ma_sender *s, struct ma_job *job)
{
    job->state = MA_JOB_ENDED;
    if (goes_on(job->result))
        return;
    /* the provider is not well: what waits goes back, and the courier decides when it is due */
    for (size_t i = 0; i < MA_SENDER_JOBS; i++)
        if (s->jobs[i].state == MA_JOB_WAITING) {
            s->jobs[i].tried = false;
            s->jobs[i].state = MA_JOB_ENDED;
        }
}

static void run(struct ma_sender *s, struct ma_job *job)
{
    const struct ma_trace *before = ma_trace_enter(&job->trace);
    job->send.http = s->http;
    job->send.cache = s->cache;
    job->send.clock = s->env.clock;
    job->tried = true;
    job->result = ma_send_letter(&job->send);
    (void)ma_trace_enter(before);
}

static void *sender_main(void *arg)
{
    struct ma_sender *s = arg;
    if (ma_heartbeat_join(s->env.heartbeats, s->env.name) < 0)
        ma_log(s->env.log, MA_LOG_ERROR, "delivery.unwatched");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct ma_job *job = first(s, MA_JOB_WAITING);
        if (!job) {
            ma_heartbeat_rest();
            pthread_cond_wait(&s->more, &s->lock);
            continue;
        }
        ma_heartbeat();
        job->state = MA_JOB_RUNNING;
        pthread_mutex_unlock(&s->lock);
        run(s, job);
        pthread_mutex_lock(&s->lock);
        end(s, job);
        s->env.wake(s->env.wake_arg);
    }
    pthread_mutex_unlock(&s->lock);
    ma_heartbeat_rest();
    return NULL;
}

/* --- for the courier --- */

struct ma_job *ma_sender_job(struct ma_sender *s)
{
    pthread_mutex_lock(&s->lock);
    struct ma_job *job = first(s, MA_JOB_FREE);
    pthread_mutex_unlock(&s->lock);
    return job;
}

int ma_sender_start(struct ma_sender *s, struct ma_job *job, const struct ma_job *with)
{
    if (!s->started && pthread_create(&s->thread, NULL, sender_main, s) != 0)
        return MA_E_NOMEM;
    s->started = true;
    pthread_mutex_lock(&s->lock);
    *job = *with;
    job->send.letter = &job->letter;
    job->serial = ++s->serial;
    job->state = MA_JOB_WAITING;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    return MA_OK;
}

struct ma_job *ma_sender_take(struct ma_sender *s)
{
    pthread_mutex_lock(&s->lock);
    struct ma_job *job = first(s, MA_JOB_ENDED);
    if (job)
        job->state = MA_JOB_TAKEN;
    pthread_mutex_unlock(&s->lock);
    return job;
}

static void clear(struct ma_job *job)
{
    struct ma_arena *a = job->a;
    ma_transports_free(job->send.transports);
    ma_arena_reset(a);
    *job = (struct ma_job){.a = a};
}

void ma_sender_release(struct ma_sender *s)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < MA_SENDER_JOBS; i++)
        if (s->jobs[i].state == MA_JOB_TAKEN)
            clear(&s->jobs[i]);
    pthread_mutex_unlock(&s->lock);
}

bool ma_sender_has(struct ma_sender *s, struct ma_span row_id)
{
    bool has = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < MA_SENDER_JOBS; i++)
        has = has || (s->jobs[i].state != MA_JOB_FREE && ma_span_eq(s->jobs[i].row.id, row_id));
    pthread_mutex_unlock(&s->lock);
    return has;
}

size_t ma_sender_busy(struct ma_sender *s)
{
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < MA_SENDER_JOBS; i++)
        n += s->jobs[i].state != MA_JOB_FREE;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void ma_sender_cancel(struct ma_sender *s)
{
    ma_httpc_cancel(s->http);
}

void ma_sender_stop(struct ma_sender *s)
{
    if (!s->started)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->started = false;
}

void ma_sender_free(struct ma_sender *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < MA_SENDER_JOBS; i++) {
        ma_transports_free(s->jobs[i].send.transports);
        ma_arena_free(s->jobs[i].a);
    }
    if (s->http)
        ma_httpc_free(s->http);
    ma_push_cache_free(s->cache);
    (void)pthread_cond_destroy(&s->more);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

/* SPDX-License-Identifier: Apache-2.0
 * The thread that makes copies for users who asked for one, and erases those whose time is over.
 */
#include "int.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ma/lanes.h"
#include "ma/leaving.h"

/* Looking costs two lookups in indexes that are empty but for what is to be done. */
enum { LOOK_S = 2, AGAIN_S = 30, SCRUB_WAIT_MS = 10000 };

struct ma_clerk {
    struct ma_app *app;
    struct ma_db *reader; /* the thread's own */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool started, poked, stop;
    pthread_t thread;
};

static bool stopping(struct ma_clerk *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    return stop;
}

static int clerk_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    const struct ma_clerk *c = arg;
    return fn(c->reader, fn_arg);
}

static int clerk_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    const struct ma_clerk *c = arg;
    return ma_lanes_write(c->app->lanes, fn, fn_arg);
}

static bool clerk_more(void *arg)
{
    return !stopping(arg);
}

static struct ma_clerk_env env_of(struct ma_clerk *c)
{
    struct ma_conf_ref *ref = ma_app_conf(c->app);
    struct ma_clerk_env env = {
        .vault = c->app->vault,
        .rand = c->app->rand,
        .log = c->app->log,
        .metrics = c->app->metrics,
        .now_ms = c->app->clock->wall_ms(c->app->clock),
        .export_ttl_ms = ma_conf_ref_get(ref)->account.export_ttl * 1000,
        .arg = c,
        .read = clerk_read,
        .write = clerk_write,
        .more = clerk_more,
    };
    ma_conf_unref(ref);
    return env;
}

static int make_copies(struct ma_clerk *c)
{
    for (;;) {
        const struct ma_clerk_env env = env_of(c);
        int r = ma_export_make(&env);
        if (r != MA_OK)
            return r == MA_E_NOTFOUND ? MA_OK : r;
    }
}

/* Organizations lost members, and what was deleted leaves the files too. */
static int clean_up(struct ma_clerk *c)
{
    int r = ma_app_state_reload(c->app, c->reader);
    int scrubbed = ma_lanes_scrub(c->app->lanes, MA_DB_SCRUB_MAX, SCRUB_WAIT_MS);
    if (scrubbed == MA_E_RANGE)
        ma_log(c->app->log, MA_LOG_WARN, "account.pages_left",
               MA_KV_S("why", "the database is too large to be rewritten by the way: run myaccountctl vacuum"));
    else if (scrubbed < 0 && scrubbed != MA_E_TIMEOUT) /* that one is tried on by itself */
        r = scrubbed;
    return r;
}

static int erase(struct ma_clerk *c)
{
    size_t n = 0, all = 0;
    int r = MA_OK;
    do {
        const struct ma_clerk_env env = env_of(c);
        r = ma_erase_due(&env, &n);
        all += n;
    } while (r == MA_OK && n == MA_ERASE_AT_ONCE);
    int cleaned = all > 0 ? clean_up(c) : MA_OK;
    return r < 0 ? r : cleaned;
}

/* False: stop. */
static bool wait_for_work(struct ma_clerk *c, int seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    (void)pthread_mutex_lock(&c->lock);
    int rc = 0;
    while (!c->stop && !c->poked && rc == 0)
        rc = pthread_cond_timedwait(&c->wake, &c->lock, &until);
    c->poked = false;
    bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    return !stop;
}

static void *clerk_main(void *arg)
{
    struct ma_clerk *c = arg;
    int r = MA_OK;
    do {
        r = make_copies(c);
        int erased = stopping(c) ? MA_OK : erase(c);
        r = r < 0 ? r : erased;
        if (r < 0 && !stopping(c))
            ma_log(c->app->log, MA_LOG_ERROR, "clerk.failed", MA_KV_S("error", ma_err_text(r)));
    } while (wait_for_work(c, r < 0 ? AGAIN_S : LOOK_S));
    return NULL;
}

int ma_clerk_new(struct ma_app *app)
{
    pthread_condattr_t attr;
    struct ma_clerk *c = calloc(1, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    c->app = app;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    app->clerk = c;
    return MA_OK;
}

int ma_clerk_start(struct ma_clerk *c, const char *database, char why[256])
{
    int r = ma_db_open(database, MA_DB_READER, c->app->log, &c->reader, why);
    if (r < 0)
        return r;
    c->started = pthread_create(&c->thread, NULL, clerk_main, c) == 0;
    if (c->started)
        return MA_OK;
    (void)snprintf(why, 256, "the thread for copies and erasures cannot be started");
    return MA_E_NOMEM;
}

void ma_clerk_poke(struct ma_clerk *c)
{
    (void)pthread_mutex_lock(&c->lock);
    c->poked = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
}

void ma_clerk_stop(struct ma_clerk *c)
{
    if (!c || !c->started)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_join(c->thread, NULL);
    c->started = false;
}

void ma_clerk_free(struct ma_clerk *c)
{
    if (!c)
        return;
    ma_db_close(c->reader);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_cond_destroy(&c->wake);
    free(c);
}

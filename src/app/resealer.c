/* SPDX-License-Identifier: Apache-2.0
 * The thread that seals everything anew while there is more than one vault key, and lets old keys go.
 */
#include "int.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ma/lanes.h"
#include "ma/reseal.h"

enum { BUSY_S = 5, IDLE_S = 60 }; /* between passes: while keys wait to go, and otherwise */

struct ma_resealer {
    struct ma_app *app;
    struct ma_db *reader; /* the thread's own, during a pass */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool poked, stop;
    int64_t quiet_since; /* wall clock: nothing was found under an old key since; 0: something was */
    size_t keys_seen;    /* in the ring when quiet_since was set */
    pthread_t thread;
};

static bool stopping(struct ma_resealer *r)
{
    (void)pthread_mutex_lock(&r->lock);
    bool stop = r->stop;
    (void)pthread_mutex_unlock(&r->lock);
    return stop;
}

static int pass_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct ma_resealer *r = arg;
    return fn(r->reader, fn_arg);
}

static int pass_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct ma_resealer *r = arg;
    return ma_lanes_write(r->app->lanes, fn, fn_arg);
}

static bool pass_more(void *arg)
{
    return !stopping(arg);
}

/* Old keys go once nothing has been found under them for a while. */
static void settle(struct ma_resealer *r, const struct ma_reseal_pass *pass)
{
    struct ma_reseal_status s;
    char why[256] = "";
    size_t n = 0;
    int64_t now = r->app->clock->wall_ms(r->app->clock);
    int err = ma_reseal_status(r->reader, r->app->vault, &s);
    bool quiet = err == MA_OK && s.waiting == 0 && pass->resealed == 0 && pass->missed == 0;
    if (!quiet) {
        r->quiet_since = 0;
    } else if (r->quiet_since == 0 || r->keys_seen != s.n_keys || now < r->quiet_since) {
        r->quiet_since = now;
        r->keys_seen = s.n_keys;
    } else if (now - r->quiet_since >= MA_RESEAL_QUIET_MS) {
        err = ma_reseal_retire(r->app->vault, &s, &n, why);
        if (err == MA_OK)
            ma_log(r->app->log, MA_LOG_INFO, "vault.keys_retired", MA_KV_I("keys", (int64_t)n));
        r->quiet_since = 0;
    }
    if (err < 0)
        ma_log(r->app->log, MA_LOG_ERROR, "vault.retire_failed", MA_KV_S("why", why),
               MA_KV_S("error", ma_err_text(err)));
}

static void one_pass(struct ma_resealer *r)
{
    const struct ma_reseal_env env = {r->app->vault, r, pass_read, pass_write, pass_more};
    struct ma_reseal_pass pass;
    char why[256] = "";
    struct ma_conf_ref *ref = ma_app_conf(r->app);
    int err = ma_db_open(ma_conf_ref_get(ref)->database, MA_DB_READER, r->app->log, &r->reader, why);
    ma_conf_unref(ref);
    if (err == MA_OK)
        err = ma_reseal_run(&env, &pass);
    if (err == MA_OK && (pass.resealed > 0 || pass.failed > 0))
        ma_log(r->app->log, pass.failed ? MA_LOG_WARN : MA_LOG_INFO, "vault.resealed", MA_KV_I("values", pass.resealed),
               MA_KV_I("failed", pass.failed));
    if (err == MA_OK)
        settle(r, &pass);
    else if (!stopping(r))
        ma_log(r->app->log, MA_LOG_ERROR, "vault.reseal_failed", MA_KV_S("why", why),
               MA_KV_S("error", ma_err_text(err)));
    ma_db_close(r->reader);
    r->reader = NULL;
}

static bool work_left(struct ma_resealer *r)
{
    struct ma_vault_key_info keys[MA_VAULT_KEYS_MAX];
    return ma_vault_keys(r->app->vault, keys) > 1;
}

/* False: stop. */
static bool wait_for_work(struct ma_resealer *r, int seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    (void)pthread_mutex_lock(&r->lock);
    int rc = 0;
    while (!r->stop && !r->poked && rc == 0)
        rc = pthread_cond_timedwait(&r->wake, &r->lock, &until);
    r->poked = false;
    bool stop = r->stop;
    (void)pthread_mutex_unlock(&r->lock);
    return !stop;
}

static void *resealer_main(void *arg)
{
    struct ma_resealer *r = arg;
    do {
        if (work_left(r))
            one_pass(r);
    } while (wait_for_work(r, work_left(r) ? BUSY_S : IDLE_S));
    return NULL;
}

int ma_resealer_start(struct ma_app *app, char why[256])
{
    pthread_condattr_t attr;
    struct ma_resealer *r = calloc(1, sizeof *r);
    if (!r)
        return MA_E_NOMEM;
    r->app = app;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&r->thread, NULL, resealer_main, r) != 0) {
        (void)snprintf(why, 256, "the resealing thread cannot be started");
        (void)pthread_mutex_destroy(&r->lock);
        (void)pthread_cond_destroy(&r->wake);
        free(r);
        return MA_E_NOMEM;
    }
    app->resealer = r;
    return MA_OK;
}

void ma_resealer_poke(struct ma_resealer *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->poked = true;
    (void)pthread_cond_signal(&r->wake);
    (void)pthread_mutex_unlock(&r->lock);
}

void ma_resealer_stop(struct ma_resealer *r)
{
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->lock);
    r->stop = true;
    (void)pthread_cond_signal(&r->wake);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
    (void)pthread_mutex_destroy(&r->lock);
    (void)pthread_cond_destroy(&r->wake);
    free(r);
}

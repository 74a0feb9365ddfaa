/* SPDX-License-Identifier: Apache-2.0
 * Builds the daemon from its configuration, part by part, and takes it down in the opposite order.
 */
#include "int.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/accounts.h"
#include "ma/admin.h"
#include "ma/api.h"
#include "ma/audit.h"
#include "ma/audit_hook.h"
#include "ma/auth.h"
#include "ma/authenticators.h"
#include "ma/breached.h"
#include "ma/geo.h"
#include "ma/dpop.h"
#include "ma/heartbeat.h"
#include "ma/http.h"
#include "ma/lanes.h"
#include "ma/leavers.h"
#include "ma/methods.h"
#include "ma/metrics.h"
#include "ma/oauth.h"
#include "ma/parking.h"
#include "ma/sdnotify.h"
#include "ma/seen.h"
#include "ma/tls.h"
#include "ma/ui.h"

_Static_assert(MA_HTTP_MORE_MAX >= MA_SD_SOCKETS_MAX, "a server for each passed socket");

enum { EXPIRE_BATCH = 500, EXPIRE_GRACE_MS = 3600000, DAY_MS = 86400000 };

/* --- what lanes call back --- */

static void finished(struct ma_ctx *ctx)
{
    if (ctx->step && ctx->park.due && ma_parking_take(ctx->app->parking, ctx))
        return;
    if (ctx->step && ctx->step_lane != MA_LANE_READ) {
        if (ma_lane_reserve(ctx->app->lanes, ctx->step_lane)) {
            ma_lane_push(ctx->app->lanes, ctx->step_lane, ctx);
            return;
        }
        ma_metrics_add(ctx->app->metrics, MA_M_LANE_REFUSED, ctx->step_lane, 0, 1);
        ctx->step = NULL;
        (void)ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The server is busy.", 1);
    }
    ma_http_resume(ctx);
}

static void committed(const struct ma_app *app, struct ma_ctx *ctx)
{
    if (ctx->user_changed)
        ma_app_user_changed(app, ctx->who.user_id);
    if (ctx->wake_courier)
        ma_courier_wake(app->courier);
    ma_parking_wake(app->parking, ctx->wakes);
    ctx->wakes = MA_SPAN_NULL;
    if (ctx->wake_clerk)
        ma_clerk_poke(app->clerk);
    ctx->user_changed = ctx->wake_courier = ctx->wake_clerk = ctx->keep = false;
}

/* Removes what the configuration does not keep. A trail that does not verify keeps everything and does not stop the
 * rest. Returns the count or an error. */
static int retain_audit(const struct ma_app *app, struct ma_db *db, int64_t now)
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    int64_t days = ma_conf_ref_get(ref)->audit.retention_days;
    ma_conf_unref(ref);
    if (days == 0)
        return 0;
    int n = ma_audit_retain(db, now - days * DAY_MS, EXPIRE_BATCH);
    if (n > 0)
        ma_log(app->log, MA_LOG_INFO, "audit.removed", MA_KV_I("rows", n));
    if (n != MA_E_AUTH)
        return n;
    ma_log(app->log, MA_LOG_ERROR, "audit.retention_stopped", MA_KV_S("reason", "the trail does not verify"));
    return 0;
}

/* Lapsed enrolments stay for a while, so that a late confirmation hears "expired" and not "unknown". */
static int housekeeping(const struct ma_app *app, struct ma_db *db, bool *ret_more)
{
    int64_t now = app->clock->wall_ms(app->clock);
    int unanswered = ma_push_expire(db, now, EXPIRE_BATCH);
    int n[] = {
        unanswered,
        ma_expire_pending(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_connect_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_account_lapse(db, now, now - MA_ACCOUNT_IDLE_MS, EXPIRE_BATCH),
        ma_sessions_expire(db, now, EXPIRE_BATCH),
        ma_flows_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_challenges_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_codes_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_revocations_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_families_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
        ma_notices_expire(db, now, EXPIRE_BATCH), /* at once: they keep secrets */
        ma_resets_expire(db, now, EXPIRE_BATCH),
        ma_exports_expire(db, now, EXPIRE_BATCH), /* at once: they hold all there is */
        retain_audit(app, db, now),
        ma_seen_flush(app->seen, db, EXPIRE_BATCH),
        ma_shared_counters_expire(db, now - EXPIRE_GRACE_MS, EXPIRE_BATCH),
    };
    *ret_more = false;
    for (size_t i = 0; i < MA_COUNT(n); i++) {
        if (n[i] < 0)
            return n[i];
        *ret_more |= n[i] >= EXPIRE_BATCH;
    }
    ma_metrics_add(app->metrics, MA_M_PUSH, MA_M_PUSH_EXPIRED, 0, unanswered);
    return MA_OK;
}

/* --- state --- */

void ma_app_audiences(const struct ma_conf *conf, struct ma_arena *a, struct ma_span **ret, size_t *ret_n)
{
    size_t n = conf->custom_domains.n + 1;
    *ret_n = 0;
    *ret = ma_arena_calloc(a, n, sizeof **ret);
    for (size_t i = 0; *ret && i < n; i++) {
        const char *origin = i ? conf->custom_domains.v[i - 1] : conf->base_url;
        (*ret)[i] = ma_span_str(ma_arena_printf(a, "%s/me/", origin));
        if ((*ret)[i].p)
            *ret_n = i + 1;
    }
}

/* "login.example.com" of "https://login.example.com": the tenant's name until the state document gives one. */
static const char *host_of(const char *origin)
{
    const char *sep = strstr(origin, "://");
    return sep ? sep + 3 : origin;
}

static int load_state(struct ma_app *app, struct ma_db *db)
{
    char why[256] = "";
    struct ma_state *fresh = NULL;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    if (!a)
        return MA_E_NOMEM;
    struct ma_conf_ref *ref = ma_app_conf(app);
    const struct ma_conf *conf = ma_conf_ref_get(ref);
    struct ma_span *audiences = NULL;
    size_t n = 0;
    ma_app_audiences(conf, a, &audiences, &n);
    int r = ma_state_load(db, audiences, n, host_of(conf->base_url), &fresh, why);
    ma_conf_unref(ref);
    if (r < 0) {
        ma_log(app->log, MA_LOG_ERROR, "state.load_failed", MA_KV_S("why", why), MA_KV_S("error", ma_err_text(r)));
        return r;
    }
    ma_shared_set_state(app->shared, fresh);
    return MA_OK;
}

int ma_app_state_reload(struct ma_app *app, struct ma_db *db)
{
    ma_shared_loading(app->shared, true);
    int r = load_state(app, db);
    ma_shared_loading(app->shared, false);
    return r;
}

const char *ma_app_not_ready(const struct ma_app *app, struct ma_db *reader)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    struct ma_object o;
    if (ma_app_stopping(app))
        return "stopping";
    if (!a)
        return "out of memory";
    int r = ma_object_get(reader, a, MA_LIT("api"), MA_LIT(""), &o);
    if (r < 0 && r != MA_E_NOTFOUND)
        return "the database cannot be read";
    struct ma_conf_ref *ref = ma_app_conf(app);
    bool full = ma_lane_depth(app->lanes, MA_LANE_WRITE) >= (size_t)ma_conf_ref_get(ref)->limits.queue;
    ma_conf_unref(ref);
    return full ? "the write queue is full" : NULL;
}

/* --- start --- */

static int open_storage(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    int r = ma_vault_open(conf->key_directory, app->rand, &app->vault, why);
    if (r == MA_OK)
        r = ma_db_open(conf->database, MA_DB_WRITER, app->log, &app->writer, why);
    if (r == MA_OK)
        r = ma_migrate(app->writer, app->clock->wall_ms(app->clock), why);
    if (r == MA_OK)
        r = ma_state_bind_vault(app->writer, app->vault, app->clock->wall_ms(app->clock), why);
    if (r == MA_OK)
        r = ma_audit_open(app->writer, app->vault, conf->key_directory, app->rand, app->log, &app->audit, why);
    if (r == MA_OK)
        r = ma_jose_open(conf, app->clock, app->rand, app->log, &app->jose, why);
    if (r == MA_OK)
        ma_jose_observe(app->jose, app->metrics);
    if (r == MA_OK)
        r = ma_templates_load(conf->delivery.templates, &app->templates, why);
    if (r == MA_OK)
        r = ma_app_state_reload(app, app->writer);
    return r;
}

static int start_lanes(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    struct ma_lanes_env env = {
        .app = app,
        .database = conf->database,
        .writer = app->writer,
        .log = app->log,
        .metrics = app->metrics,
        .heartbeats = app->heartbeats,
        .queue = conf->limits.queue,
        .write_batch = conf->limits.write_batch,
        .finished = finished,
        .rolled_back = ma_audit_failure,
        .housekeeping = housekeeping,
        .count_commit = ma_app_count_commit,
        .committed = committed,
    };
    int r = ma_limits_new(app->rand, &app->limits);
    if (r == MA_OK)
        ma_limits_observe(app->limits, app->metrics);
    if (r == MA_OK)
        r = ma_auth_cache_new(app->rand, &app->auth_cache);
    if (r == MA_OK)
        r = ma_dpop_new(app->rand, &app->dpop);
    if (r == MA_OK)
        ma_dpop_start(app->dpop, app->clock->wall_ms(app->clock));
    ma_dpop_observe(app->dpop, app->metrics);
    if (r == MA_OK)
        r = ma_list_cache_new(&app->list_cache);
    if (r == MA_OK)
        r = ma_seen_new(&app->seen);
    if (r == MA_OK)
        r = ma_providers_new(&app->providers);
    if (r == MA_OK)
        r = ma_refreshes_new(&app->refreshes);
    if (r == MA_OK)
        r = ma_parking_new(app, &app->parking);
    return r == MA_OK ? ma_lanes_start(&env, &app->lanes, why) : r;
}

static int write_through(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    return ma_lanes_write(arg, fn, fn_arg);
}

static int start_courier(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    struct ma_courier_env env = {
        .database = conf->database,
        .clock = app->clock,
        .log = app->log,
        .metrics = app->metrics,
        .vault = app->vault,
        .heartbeats = app->heartbeats,
        .write = write_through,
        .write_arg = app->lanes,
    };
    int r = ma_courier_start(&env, conf, &app->courier, why);
    return r == MA_OK ? ma_audit_hook_start(&env, conf, &app->audit_hook, why) : r;
}

/* The rows of the API and, where it is on, of the token service; they live as long as the app. */
static int join_routes(struct ma_app *app, const struct ma_conf *conf, struct ma_http_env *env)
{
    size_t n = 0, more = 0, n_pages = 0, n_ui = 0;
    const struct ma_route *api = ma_api_routes(&n), *oauth = ma_oauth_routes(&more), *pages = ma_page_routes(&n_pages);
    const struct ma_route *ui = ma_ui_routes(&n_ui);
    struct ma_route *all = calloc(n + n_pages + n_ui + more, sizeof *all);
    if (!all)
        return MA_E_NOMEM;
    memcpy(all, api, n * sizeof *all);
    memcpy(all + n, pages, n_pages * sizeof *all);
    n += n_pages;
    memcpy(all + n, ui, n_ui * sizeof *all);
    n += n_ui;
    if (conf->token_service)
        memcpy(all + n, oauth, more * sizeof *all);
    app->routes = env->routes = all;
    env->n_routes = n + (conf->token_service ? more : 0);
    return MA_OK;
}

/* On the sockets that the service manager passed; without any, on `listen`. */
static int start_api(struct ma_app *app, const struct ma_conf *conf, const struct ma_sd_sockets *passed, char why[256])
{
    struct ma_http_env env = {.app = app, .listen = conf->listen, .threads = conf->http_threads, .tls = app->tls};
    if (join_routes(app, conf, &env) < 0)
        return MA_E_NOMEM;
    env.fd = passed->n_http ? passed->http[0] : -1;
    int r = ma_http_start(&env, &app->http, why);
    for (size_t i = 1; i < passed->n_http && r == MA_OK; i++) {
        env.fd = passed->http[i];
        r = ma_http_start(&env, &app->more[i - 1], why);
        app->n_more += r == MA_OK;
    }
    if (r == MA_OK && passed->n_http)
        ma_log(app->log, MA_LOG_INFO, "listen.passed", MA_KV_I("sockets", passed->n_http));
    return r;
}

static int start_listeners(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    struct ma_sd_sockets passed;
    int r = ma_sd_listen(&passed, why);
    if (r == MA_OK)
        r = start_api(app, conf, &passed, why);
    if (r == MA_OK && (conf->metrics_listen[0] || passed.metrics >= 0)) {
        struct ma_http_env health = {.app = app, .listen = conf->metrics_listen, .fd = passed.metrics, .threads = 1};
        health.routes = ma_api_health_routes(&health.n_routes);
        health.first_row = ma_app_health_row();
        r = ma_http_start(&health, &app->health, why);
    }
    return r;
}

static int open_ui(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    struct ma_ui *ui = NULL;
    int r = ma_ui_open(conf->ui_directory, &ui, why);
    app->ui = ui;
    return r;
}

static int open_breached(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    app->breached = ma_breached_new(app->log);
    return app->breached ? ma_breached_load(app->breached, conf->password_policy.breached_file, why) : MA_E_NOMEM;
}

static int open_lists(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    app->geo = ma_geo_new(conf->database);
    app->authenticators = ma_authenticators_new();
    int r = app->geo && app->authenticators ? ma_geo_load(app->geo, conf->geo.database, why) : MA_E_NOMEM;
    return r == MA_OK ? ma_authenticators_load(app->authenticators, conf->webauthn.authenticators, why) : r;
}

static int start_parts(struct ma_app *app, const struct ma_conf *conf, char why[256])
{
    int r = open_storage(app, conf, why);
    if (r == MA_OK)
        r = ma_clerk_new(app);
    if (r == MA_OK)
        r = start_lanes(app, conf, why);
    if (r == MA_OK)
        r = start_courier(app, conf, why);
    if (r == MA_OK)
        r = ma_jose_start(app->jose);
    if (r == MA_OK)
        r = ma_resealer_start(app, why);
    if (r == MA_OK)
        r = ma_clerk_start(app->clerk, conf->database, why);
    if (r == MA_OK)
        r = ma_app_start_admin(app, why);
    if (r == MA_OK)
        r = open_breached(app, conf, why);
    if (r == MA_OK)
        r = open_lists(app, conf, why);
    if (r == MA_OK)
        r = open_ui(app, conf, why);
    if (r == MA_OK)
        r = ma_app_tls_open(conf, app->log, &app->tls, why);
    if (r == MA_OK)
        r = start_listeners(app, conf, why);
    return r;
}

int ma_app_start(struct ma_conf *conf, const struct ma_clock *clock, struct ma_log *log, struct ma_app **ret,
                 char why[512])
{
    char part[256] = "";
    struct ma_app *app = calloc(1, sizeof *app);
    if (!app) {
        ma_conf_free(conf);
        return MA_E_NOMEM;
    }
    app->clock = clock;
    app->rand = ma_rand_system();
    app->log = log;
    app->shared = ma_shared_new(conf);
    app->first = app->shared ? ma_app_conf(app) : NULL;
    /* A sign may be half as old as the silence that the service manager allows. */
    int r = ma_heartbeats_new(ma_sd_watchdog_usec() / 2000, &app->heartbeats);
    if (r == MA_OK)
        r = app->shared ? ma_app_metrics_new(app) : MA_E_NOMEM;
    if (r == MA_OK)
        r = start_parts(app, conf, part);
    if (r < 0) {
        (void)snprintf(why, 512, "%s", part[0] ? part : ma_err_text(r));
        ma_app_stop(app);
        return r;
    }
    *ret = app;
    return MA_OK;
}

const char *ma_app_stuck(const struct ma_app *app)
{
    return ma_heartbeats_late(app->heartbeats, ma_heartbeats_now_ms());
}

const char *ma_app_address(const struct ma_app *app)
{
    return ma_http_address(app->http);
}

/* --- stop --- */

static void drain(struct ma_app *app)
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    int64_t ms = ma_conf_ref_get(ref)->limits.drain_timeout * 1000;
    ma_conf_unref(ref);
    ma_shared_set_stopping(app->shared);
    if (app->http) {
        ma_http_quiesce(app->http);
        for (size_t i = 0; i < app->n_more; i++)
            ma_http_quiesce(app->more[i]);
        ma_parking_close(app->parking);
        ma_http_drain(app->http, ms);
        for (size_t i = 0; i < app->n_more; i++)
            ma_http_drain(app->more[i], ms);
    }
}

/* What was noted of uses and not written yet. Nobody else has the writer by now. */
static void flush_seen(struct ma_app *app)
{
    if (!app->writer || !app->seen || ma_db_begin(app->writer) < 0)
        return;
    if (ma_seen_flush(app->seen, app->writer, MA_SEEN_MAX) < 0 || ma_db_commit(app->writer) < 0)
        ma_db_rollback(app->writer);
}

void ma_app_stop(struct ma_app *app)
{
    if (!app)
        return;
    if (app->shared)
        drain(app);
    ma_admin_stop(app->admin);
    ma_resealer_stop(app->resealer);
    ma_clerk_stop(app->clerk);
    ma_audit_hook_stop(app->audit_hook);
    if (app->courier)
        ma_courier_stop(app->courier);
    if (app->jose)
        ma_jose_stop(app->jose);
    /* Every suspended request is finished by its lane before the HTTP threads end. */
    ma_parking_close(app->parking);
    ma_lanes_stop(app->lanes);
    ma_http_stop(app->http);
    for (size_t i = 0; i < app->n_more; i++)
        ma_http_stop(app->more[i]);
    ma_http_stop(app->health);
    ma_tls_free(app->tls);
    flush_seen(app);
    ma_parking_free(app->parking);
    ma_lanes_free(app->lanes); /* a late request may still have asked for a place */
    ma_audit_hook_free(app->audit_hook);
    ma_courier_free(app->courier);
    ma_clerk_free(app->clerk);
    ma_auth_cache_free(app->auth_cache);
    ma_dpop_free(app->dpop);
    ma_list_cache_free(app->list_cache);
    ma_seen_free(app->seen);
    ma_providers_free(app->providers);
    ma_refreshes_free(app->refreshes);
    ma_limits_free(app->limits);
    ma_templates_free(app->templates);
    ma_breached_free(app->breached);
    ma_geo_free(app->geo);
    ma_authenticators_free(app->authenticators);
    ma_ui_free((struct ma_ui *)(uintptr_t)app->ui);
    if (app->jose)
        ma_jose_close(app->jose);
    ma_conf_unref(app->first);
    ma_shared_free(app->shared);
    /* The writer last: its close checkpoints the log. */
    ma_db_close(app->writer);
    ma_audit_close(app->audit);
    ma_vault_close(app->vault);
    ma_metrics_free(app->metrics);
    free((void *)(uintptr_t)app->routes);
    ma_heartbeats_free(app->heartbeats);
    free(app);
}

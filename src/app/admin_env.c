/* SPDX-License-Identifier: Apache-2.0
 * What the admin socket may do with the running daemon.
 */
#include "int.h"

#include "ma/accounts.h"
#include "ma/admin.h"
#include "ma/api.h"
#include "ma/jsonw.h"
#include "ma/lanes.h"

static int admin_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct ma_app *app = arg;
    return ma_lanes_write(app->lanes, fn, fn_arg);
}

static int admin_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct ma_app *app = arg;
    struct ma_db *db = NULL;
    char why[256];
    struct ma_conf_ref *ref = ma_app_conf(app);
    int r = ma_db_open(ma_conf_ref_get(ref)->database, MA_DB_READER, app->log, &db, why);
    ma_conf_unref(ref);
    if (r == MA_OK)
        r = fn(db, fn_arg);
    ma_db_close(db);
    return r;
}

static int reload_state(struct ma_db *db, void *arg)
{
    return ma_app_state_reload(arg, db);
}

static void admin_changed(void *arg)
{
    struct ma_app *app = arg;
    int r = admin_read(app, reload_state, app);
    if (r < 0)
        ma_log(app->log, MA_LOG_ERROR, "state.reload_failed", MA_KV_S("error", ma_err_text(r)));
    ma_courier_wake(app->courier);
}

struct health {
    struct ma_app *app;
    struct ma_buf *out;
};

static int write_health(struct ma_db *db, void *arg)
{
    struct health *h = arg;
    uint64_t commits = 0, requests = 0;
    const char *fault = ma_app_not_ready(h->app, db);
    ma_lanes_counters(h->app->lanes, &commits, &requests);
    struct ma_jw w;
    ma_jw_init(&w, h->out);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "status", fault ? "unavailable" : "ok");
    if (fault)
        ma_jw_kcstr(&w, "reason", fault);
    ma_jw_kint(&w, "commits", (int64_t)commits);
    ma_jw_kint(&w, "committed_requests", (int64_t)requests);
    ma_jw_key(&w, "queued");
    ma_jw_obj(&w);
    ma_jw_kint(&w, "write", (int64_t)ma_lane_depth(h->app->lanes, MA_LANE_WRITE));
    ma_jw_kint(&w, "cpu", (int64_t)ma_lane_depth(h->app->lanes, MA_LANE_CPU));
    ma_jw_kint(&w, "net", (int64_t)ma_lane_depth(h->app->lanes, MA_LANE_NET));
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    return fault ? MA_E_BUSY : ma_buf_err(h->out);
}

static int admin_health(void *arg, struct ma_buf *out)
{
    struct health h = {arg, out};
    return admin_read(arg, write_health, &h);
}

static int write_metrics(struct ma_db *db, void *arg)
{
    struct health *h = arg;
    return ma_app_metrics_text(h->app, db, h->out);
}

static int admin_metrics(void *arg, struct ma_buf *out)
{
    struct health h = {arg, out};
    return admin_read(arg, write_metrics, &h);
}

/* --- connected accounts --- */

struct check {
    struct ma_app *app;
    const struct ma_account_check *in;
    const char **status;
    int64_t *expires_in_s;
};

static const char *status_text(enum ma_vault_verdict v)
{
    switch (v) {
    case MA_VAULT_OK:
        return "ok";
    case MA_VAULT_RECONNECT:
        return "needs_reconnect";
    case MA_VAULT_UNAVAILABLE:
        return "unavailable";
    case MA_VAULT_NO_ACCOUNT:
    case MA_VAULT_NO_SCOPE:
        break;
    }
    return "disabled";
}

static int run_check(struct ma_vault_env *env, const struct check *c)
{
    struct ma_vault_ask ask = {.user_id = c->in->user_id, .connection = c->in->connection, .login_hint = c->in->id};
    struct ma_vault_grant grant;
    int r = ma_vault_access_token(env, &ask, &grant);
    *c->status = status_text(grant.verdict);
    *c->expires_in_s = grant.expires_in_s;
    return r;
}

static int check_with(struct ma_db *db, void *arg)
{
    const struct check *c = arg;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(16384, MA_ARENA_MAX);
    struct ma_httpc *httpc = NULL;
    int r = a ? ma_httpc_new(&httpc) : MA_E_NOMEM;
    if (r < 0)
        return r;
    struct ma_conf_ref *ref = ma_app_conf(c->app);
    struct ma_state *state = ma_app_state(c->app);
    struct ma_vault_env env = {
        .app = c->app,
        .conf = ma_conf_ref_get(ref),
        .state = state,
        .reader = db,
        .httpc = httpc,
        .arena = a,
        .now_ms = c->app->clock->wall_ms(c->app->clock),
    };
    r = run_check(&env, c);
    ma_state_unref(state);
    ma_conf_unref(ref);
    ma_httpc_free(httpc);
    return r;
}

static int admin_check(void *arg, const struct ma_account_check *in, const char **ret_status, int64_t *ret_expires_in_s)
{
    struct check c = {arg, in, ret_status, ret_expires_in_s};
    return admin_read(arg, check_with, &c);
}

enum { FORGET_WAIT_MS = 10000, REWRITE_WAIT_MS = 3600000 };

static int admin_forget(void *arg, int64_t max_bytes)
{
    const struct ma_app *app = arg;
    return ma_lanes_scrub(app->lanes, max_bytes, max_bytes > 0 ? FORGET_WAIT_MS : REWRITE_WAIT_MS);
}

static void admin_reseal(void *arg)
{
    const struct ma_app *app = arg;
    ma_resealer_poke(app->resealer);
}

/* --- telling users --- */

static int admin_tell(void *arg, struct ma_db *db, const struct ma_admin_news *news)
{
    struct ma_app *app = arg;
    struct ma_conf_ref *ref = ma_app_conf(app);
    struct ma_admin_teller t = {
        .conf = ma_conf_ref_get(ref),
        .vault = app->vault,
        .templates = app->templates, /* the writer's to read: it is the one that replaces them */
        .rand = app->rand,
        .now_ms = app->clock->wall_ms(app->clock),
    };
    int r = ma_admin_tell(&t, db, news);
    ma_conf_unref(ref);
    return r;
}

int ma_app_start_admin(struct ma_app *app, char why[256])
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    struct ma_admin_env env = {
        .conf = ma_conf_ref_get(ref),
        .arg = app,
        .write = admin_write,
        .read = admin_read,
        .state_changed = admin_changed,
        .health = admin_health,
        .metrics = admin_metrics,
        .check_account = admin_check,
        .reseal = admin_reseal,
        .forget = admin_forget,
        .tell = admin_tell,
        .routes = ma_api_routes_text,
        .jose = app->jose,
        .vault = app->vault,
        .clock = app->clock,
        .rand = app->rand,
        .log = app->log,
    };
    int r = ma_admin_start(&env, &app->admin, why);
    ma_conf_unref(ref);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * SIGHUP: the configuration and key files are read again; what is wrong leaves the old in place.
 */
#include "int.h"

#include <errno.h>

#include "ma/admin.h"
#include "ma/audit_hook.h"
#include "ma/authenticators.h"
#include "ma/breached.h"
#include "ma/geo.h"
#include "ma/http.h"
#include "ma/lanes.h"

static void reopen_at(struct ma_app *app, const char *path)
{
    char text[128];
    if (ma_log_reopen(app->log, path) < 0)
        ma_log(app->log, MA_LOG_ERROR, "log.file_kept", MA_KV_S("path", path),
               MA_KV_S("error", strerror_r(errno, text, sizeof text)));
}

void ma_app_log_reopen(struct ma_app *app)
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    reopen_at(app, ma_conf_ref_get(ref)->log_file);
    ma_conf_unref(ref);
    ma_log(app->log, MA_LOG_INFO, "log.reopened");
}

struct swap {
    struct ma_app *app;
    struct ma_templates *fresh;
};

/* On the writer's thread, the only one that renders messages. */
static int swap_templates(struct ma_db *db, void *arg)
{
    (void)db;
    struct swap *s = arg;
    struct ma_templates *old = s->app->templates;
    s->app->templates = s->fresh;
    s->fresh = old;
    return MA_OK;
}

static void reload_templates(struct ma_app *app, const struct ma_conf *conf)
{
    char why[256] = "";
    struct swap s = {app, NULL};
    if (ma_templates_load(conf->delivery.templates, &s.fresh, why) < 0) {
        ma_log(app->log, MA_LOG_ERROR, "reload.templates_kept", MA_KV_S("why", why));
        return;
    }
    if (ma_lanes_write(app->lanes, swap_templates, &s) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.templates_kept", MA_KV_S("why", "the writer is busy"));
    ma_templates_free(s.fresh);
}

static int state_again(struct ma_app *app, const char *database)
{
    struct ma_db *db = NULL;
    char why[256];
    int r = ma_db_open(database, MA_DB_READER, app->log, &db, why);
    if (r == MA_OK)
        r = ma_app_state_reload(app, db);
    ma_db_close(db);
    return r;
}

int ma_app_log_json(const struct ma_conf *conf)
{
    return strcmp(conf->log_format, "auto") == 0 ? -1 : strcmp(conf->log_format, "json") == 0;
}

/* What needs a restart is named and stays as it is: half of it in force would be worse than none. */
static int keep_running(struct ma_app *app, struct ma_conf *fresh, char keys[256])
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    ma_conf_needs_restart(ma_conf_ref_get(ref), fresh, keys);
    int r = ma_conf_keep(fresh, ma_conf_ref_get(ref));
    ma_conf_unref(ref);
    return r;
}

/* The file before level and form, so that the old one hears why. */
static void reload_log(struct ma_app *app, const struct ma_conf *fresh)
{
    struct ma_conf_ref *ref = ma_app_conf(app);
    bool moved = strcmp(ma_conf_ref_get(ref)->log_file, fresh->log_file) != 0;
    ma_conf_unref(ref);
    if (moved)
        reopen_at(app, fresh->log_file);
    ma_log_configure(app->log, ma_log_level_parse(fresh->log_level), ma_app_log_json(fresh));
}

static void reload_lists(struct ma_app *app, const struct ma_conf *conf)
{
    char why[256] = "";
    if (ma_geo_load(app->geo, conf->geo.database, why) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.geo_kept", MA_KV_S("why", why));
    if (ma_authenticators_load(app->authenticators, conf->webauthn.authenticators, why) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.authenticators_kept", MA_KV_S("why", why));
}

void ma_app_reload(struct ma_app *app)
{
    char why[512] = "", keys[256] = "";
    struct ma_conf *conf = NULL;
    struct ma_conf_ref *now = ma_app_conf(app);
    int r = ma_conf_load(ma_conf_ref_get(now)->path, &conf, why);
    ma_conf_unref(now);
    if (r < 0) {
        ma_log(app->log, MA_LOG_ERROR, "reload.refused", MA_KV_S("why", why));
        return;
    }
    struct ma_conf_ref *fresh = ma_conf_ref_new(conf);
    if (!fresh || keep_running(app, conf, keys) < 0) {
        ma_conf_unref(fresh);
        ma_log(app->log, MA_LOG_ERROR, "reload.refused", MA_KV_S("why", ma_err_text(MA_E_NOMEM)));
        return;
    }
    reload_log(app, conf);
    if (keys[0])
        ma_log(app->log, MA_LOG_WARN, "reload.needs_restart", MA_KV_S("keys", keys));
    if (ma_jose_reload(app->jose, conf, why) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.issuers_kept", MA_KV_S("why", why));
    reload_templates(app, conf);
    ma_courier_reload(app->courier, conf);
    ma_audit_hook_reload(app->audit_hook, conf);
    ma_admin_reload(app->admin, conf);
    ma_http_reload(app->http, conf);
    ma_app_tls_reload(app, conf);
    if (ma_breached_load(app->breached, conf->password_policy.breached_file, why) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.breached_kept", MA_KV_S("why", why));
    reload_lists(app, conf);
    for (size_t i = 0; i < app->n_more; i++)
        ma_http_reload(app->more[i], conf);
    if (app->health)
        ma_http_reload(app->health, conf);
    char database[4096];
    size_t n = strlen(conf->database);
    bool fits = n < sizeof database;
    if (fits)
        memcpy(database, conf->database, n + 1);
    ma_shared_set_conf(app->shared, fresh);
    if (!fits || state_again(app, database) < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.state_kept");
    ma_log(app->log, MA_LOG_INFO, "reloaded");
}

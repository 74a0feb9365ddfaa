/* SPDX-License-Identifier: Apache-2.0
 * The files behind TLS of the listener, at start, at SIGHUP and for --check.
 */
#include "int.h"

#include <stdio.h>
#include <unistd.h>

#include "ma/authenticators.h"
#include "ma/breached.h"
#include "ma/geo.h"
#include "ma/outbox.h"
#include "ma/tls.h"

enum { FILES_ARENA_MAX = 1 << 20 };

/* Both files in the arena, which is wiped when it goes. */
static int read_files(const struct ma_conf *conf, struct ma_arena *a, struct ma_tls_pem *ret, char why[256])
{
    char text[256] = "";
    const char *key = "tls.certificate";
    int r = ma_public_load(a, conf->tls.certificate, MA_TLS_PEM_MAX, &ret->certificate, text);
    if (r == MA_OK) {
        key = "tls.key";
        r = ma_secret_load(a, conf->tls.key, &ret->key, text);
    }
    if (r < 0)
        (void)snprintf(why, 256, "%s: %.230s", key, text[0] ? text : ma_err_text(r));
    return r;
}

/* A certificate for other names is no reason to stop: a test, or a client that knows better. */
static void warn_names(const struct ma_conf *conf, struct ma_tls *t, struct ma_log *log)
{
    for (size_t i = 0; i <= conf->custom_domains.n; i++) {
        const char *origin = i ? conf->custom_domains.v[i - 1] : conf->base_url;
        if (!ma_tls_covers(t, origin))
            ma_log(log, MA_LOG_WARN, "tls.certificate_names", MA_KV_S("missing", origin));
    }
}

int ma_app_tls_open(const struct ma_conf *conf, struct ma_log *log, struct ma_tls **ret, char why[256])
{
    struct ma_tls_pem pem;
    *ret = NULL;
    if (!*conf->tls.certificate)
        return MA_OK;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, FILES_ARENA_MAX);
    if (!a)
        return MA_E_NOMEM;
    int r = read_files(conf, a, &pem, why);
    if (r == MA_OK)
        r = ma_tls_new(&pem, strcmp(conf->tls.min_version, "1.3") == 0, ret, why);
    if (r == MA_OK)
        warn_names(conf, *ret, log);
    return r;
}

void ma_app_tls_reload(struct ma_app *app, const struct ma_conf *conf)
{
    char why[256] = "";
    struct ma_tls_pem pem;
    if (!app->tls != !*conf->tls.certificate) {
        ma_log(app->log, MA_LOG_WARN, "reload.needs_restart", MA_KV_S("keys", "tls.certificate"));
        return;
    }
    if (!app->tls)
        return;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, FILES_ARENA_MAX);
    int r = a ? read_files(conf, a, &pem, why) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_tls_replace(app->tls, &pem, why);
    if (r < 0)
        ma_log(app->log, MA_LOG_ERROR, "reload.certificate_kept", MA_KV_S("why", why[0] ? why : ma_err_text(r)));
    else
        warn_names(conf, app->tls, app->log);
}

static int check_breached(const struct ma_conf *conf, char why[256])
{
    struct ma_breached *b = ma_breached_new(NULL);
    int r = b ? ma_breached_load(b, conf->password_policy.breached_file, why) : MA_E_NOMEM;
    ma_breached_free(b);
    return r;
}

static int check_lists(const struct ma_conf *conf, char why[256])
{
    struct ma_geo *geo = ma_geo_new(conf->database);
    struct ma_authenticators *list = ma_authenticators_new();
    int r = geo && list ? ma_geo_load(geo, conf->geo.database, why) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_authenticators_load(list, conf->webauthn.authenticators, why);
    ma_authenticators_free(list);
    ma_geo_free(geo);
    return r;
}

int ma_app_check(const struct ma_conf *conf, char why[512])
{
    char text[256] = "";
    struct ma_tls *t = NULL;
    struct ma_log *log = ma_log_new(STDERR_FILENO, MA_LOG_WARN, -1);
    int r = ma_app_tls_open(conf, log, &t, text);
    const struct ma_clock *clock = ma_clock_system();
    ma_tls_remind(t, clock->wall_ms(clock), log);
    ma_tls_free(t);
    if (r == MA_OK)
        r = check_breached(conf, text);
    if (r == MA_OK)
        r = ma_delivery_check(conf, text);
    if (r == MA_OK)
        r = check_lists(conf, text);
    ma_log_free(log);
    if (r < 0)
        (void)snprintf(why, 512, "%s", text[0] ? text : ma_err_text(r));
    return r;
}

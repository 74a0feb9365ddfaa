/* SPDX-License-Identifier: Apache-2.0
 * Telling users what the operator changed about them. Links in these messages end access and tell the operator; what
 * the operator decided is not undone by whoever reads the mail.
 */
#include "ma/admin.h"

#include "ma/jsonr.h"
#include "ma/notify.h"
#include "int.h"

/* The name that the state document gives the tenant, or the host of base_url. */
static int tenant_name(struct ma_db *db, struct ma_arena *a, const char *base_url, struct ma_span *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_object o;
    const char *host = strstr(base_url, "://");
    *ret = ma_span_str(host ? host + 3 : base_url);
    int r = ma_object_get(db, a, MA_LIT("tenant"), MA_LIT(""), &o);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r == MA_OK)
        r = ma_json_parse(o.json, &j);
    struct ma_span name;
    if (r == MA_OK && ma_json_at(j, MA_LIT("friendly_name"), a, &name) == MA_OK && name.n > 0)
        *ret = name;
    return r;
}

int ma_admin_tell(const struct ma_admin_teller *t, struct ma_db *db, const struct ma_admin_news *news)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(16384, MA_ARENA_MAX);
    struct ma_notice notice = {.user_id = news->user_id};
    struct ma_notify_env env = {
        .db = db,
        .vault = t->vault,
        .templates = t->templates,
        .rand = t->rand,
        .arena = a,
        .conf = t->conf,
        .origin = t->conf->base_url,
        .browser = MA_LIT("none (changed by the operator)"),
        .address = MA_LIT("none"),
        .now_ms = t->now_ms,
    };
    bool sent = false;
    if (!a)
        return MA_E_NOMEM;
    int r = tenant_name(db, a, t->conf->base_url, &env.tenant);
    /* Where the account's own address changes, the former one hears of it too. */
    if (r == MA_OK)
        r = news->before ? ma_notify_reach_users(&env, news->before, news->after, &notice)
                         : ma_notify_reach(&env, news->user_id, &notice);
    struct ma_change c = {.event = news->event, .subject = news->subject, .what = ma_span_str(news->what)};
    return r == MA_OK ? ma_notify_send(&env, &notice, &c, &sent) : r;
}

int ma_cmd_tell(const struct ma_cmd *c, struct ma_db *db, const struct ma_admin_news *news)
{
    return c->env->tell ? c->env->tell(c->env->arg, db, news) : MA_OK;
}

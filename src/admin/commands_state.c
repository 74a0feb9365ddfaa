/* SPDX-License-Identifier: Apache-2.0
 * Commands on the state as a whole: apply, export, routes, health, check-config.
 */
#include "ma/admin.h"

#include "ma/jsonr.h"
#include "ma/state.h"
#include "int.h"

/* --- apply --- */
struct apply_job {
    struct ma_cmd *c;
    struct ma_verrs errs;
    bool changed;
};

static int64_t count_lines(struct ma_span text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

/* What the operator did is on record, in the transaction that did it. */
static int audit_apply(struct apply_job *job, struct ma_db *db)
{
    long long changes = (long long)count_lines(ma_buf_view(job->c->out));
    const char *detail = ma_arena_printf(job->c->a, "{\"actor\":\"operator\",\"changes\":%lld}", changes);
    if (!detail)
        return MA_E_NOMEM;
    struct ma_audit_row row = {
        .at = ma_cmd_now(job->c), .type = MA_LIT("sapi"), .operation = MA_LIT("apply"), .detail = ma_span_str(detail)};
    return ma_audit_insert(db, &row);
}

static bool same(struct ma_span a, struct ma_span b)
{
    return (a.p == NULL) == (b.p == NULL) && ma_span_eq(a, b);
}

/* Users hear of what the document changed about them; new users of nothing. */
static int user_changed(void *arg, struct ma_db *db, const struct ma_user *before, const struct ma_user *after,
                        bool password)
{
    const struct ma_cmd *c = arg;
    bool mail = !same(before->email, after->email), phone = !same(before->phone_number, after->phone_number);
    struct ma_admin_news news = {.event = MA_EVENT_ADDRESS_CHANGED,
                                 .user_id = after->user_id,
                                 .what = mail && phone ? "the e-mail address and the phone number"
                                         : mail        ? "the e-mail address"
                                                       : "the phone number",
                                 .before = before,
                                 .after = after};
    int rc = mail || phone ? ma_cmd_tell(c, db, &news) : MA_OK;
    if (rc != MA_OK || !password)
        return rc;
    news.event = MA_EVENT_PASSWORD_CHANGED;
    news.what = "the password";
    return ma_cmd_tell(c, db, &news);
}

static int apply_fn(struct ma_db *db, void *arg)
{
    struct apply_job *job = arg;
    struct ma_cmd *c = job->c;
    struct ma_apply_env env = {.db = db,
                               .vault = c->env->vault,
                               .rand = c->env->rand,
                               .now_ms = ma_cmd_now(c),
                               .changed = user_changed,
                               .changed_arg = c,
                               .dry_run = (c->args->given & MA_OPT_DRY_RUN) != 0};
    ma_buf_clear(c->out); /* a transaction may be tried again */
    job->errs.n = 0;
    int rc = ma_state_apply(&env, c->payload, c->out, &job->errs);
    if (rc != MA_OK || env.dry_run)
        return rc;
    job->changed = !ma_span_eq_str(ma_buf_view(c->out), "no changes\n");
    return job->changed ? audit_apply(job, db) : MA_OK;
}

/* "POINTER: detail"; the decoder words details as "data<pointer> must …", which would say it twice. */
static void put_errors(struct ma_cmd *c, const struct ma_verrs *errs)
{
    for (size_t i = 0; i < errs->n; i++) {
        const char *detail = errs->v[i].detail, *pointer = errs->v[i].pointer;
        const char *rest = strncmp(detail, "data", 4) == 0 ? strchr(detail, ' ') : NULL;
        (void)ma_cmd_fail(c, "%s: %s", *pointer ? pointer : "document", rest ? rest + 1 : detail);
    }
    if (errs->n == MA_VERR_MAX)
        (void)ma_cmd_fail(c, "document: there may be more errors than these");
}

int ma_cmd_apply(struct ma_cmd *c)
{
    struct apply_job job = {.c = c, .errs = {.arena = c->a}};
    bool dry = (c->args->given & MA_OPT_DRY_RUN) != 0;
    int rc = (dry ? c->env->read : c->env->write)(c->env->arg, apply_fn, &job);
    if (rc == MA_OK) {
        if (job.changed)
            ma_cmd_changed(c);
        return MA_EXIT_OK;
    }
    ma_buf_clear(c->out); /* nothing of it happened */
    put_errors(c, &job.errs);
    return job.errs.n > 0 ? MA_EXIT_FAILED : ma_cmd_fail_rc(c, "apply", rc);
}

/* --- export --- */
static int export_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    int rc = ma_db_read_begin(db); /* one snapshot for all pages */
    if (rc != MA_OK)
        return rc;
    rc = ma_state_export(db, c->out);
    ma_db_read_end(db);
    return rc;
}

int ma_cmd_export(struct ma_cmd *c)
{
    int rc = c->env->read(c->env->arg, export_fn, c);
    if (rc == MA_OK)
        return MA_EXIT_OK;
    ma_buf_clear(c->out);
    return ma_cmd_fail_rc(c, "export", rc);
}

/* --- what needs no database --- */
int ma_cmd_routes(struct ma_cmd *c)
{
    const char *text = c->env->routes ? c->env->routes(c->a) : NULL;
    if (!text)
        return ma_cmd_fail_rc(c, "routes", MA_E_NOMEM);
    ma_buf_str(c->out, text);
    return MA_EXIT_OK;
}

int ma_cmd_health(struct ma_cmd *c)
{
    if (!c->env->health)
        return ma_cmd_fail(c, "health: the daemon does not run");
    int rc = c->env->health(c->env->arg, c->out);
    ma_buf_byte(c->out, '\n');
    return rc == MA_OK ? MA_EXIT_OK : ma_cmd_fail(c, "health: not ready");
}

int ma_cmd_metrics(struct ma_cmd *c)
{
    if (!c->env->metrics)
        return ma_cmd_fail(c, "metrics: the daemon does not run");
    int rc = c->env->metrics(c->env->arg, c->out);
    return rc == MA_OK ? MA_EXIT_OK : ma_cmd_fail_rc(c, "metrics", rc);
}

int ma_cmd_check_config(struct ma_cmd *c)
{
    ma_buf_printf(c->out, "%s: ok\n", c->env->conf->path); /* it was loaded to get here */
    return MA_EXIT_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * Commands on users and their methods, and dead letters.
 */
#include "ma/admin.h"

#include "ma/jsonw.h"
#include "ma/notify.h"
#include "int.h"

#define MA_USER_ID_BYTES 1024

/* --- pieces --- */
static void put_text(struct ma_jw *w, const char *key, struct ma_span s)
{
    if (s.p)
        ma_jw_kstr(w, key, s);
}

static void put_date(struct ma_jw *w, const char *key, int64_t ms)
{
    if (ms != 0)
        ma_jw_kdate(w, key, ms);
}

static void put_user_members(struct ma_jw *w, const struct ma_user *u)
{
    ma_jw_kstr(w, "user_id", u->user_id);
    put_text(w, "email", u->email);
    ma_jw_kbool(w, "email_verified", u->email_verified);
    put_text(w, "name", u->name);
    put_text(w, "phone_number", u->phone_number);
    put_text(w, "connection", u->connection);
    ma_jw_key(w, "roles");
    ma_jw_raw(w, u->roles);
    ma_jw_key(w, "permissions");
    ma_jw_raw(w, u->permissions);
    ma_jw_kbool(w, "blocked", u->blocked);
    put_date(w, "leaving_since", u->leaving_since);
    put_date(w, "leaves_at", u->leaves_at);
    put_date(w, "created_at", u->created_at);
    put_date(w, "updated_at", u->updated_at);
}

static void put_method(struct ma_jw *w, const struct ma_method *m)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", m->id);
    ma_jw_kcstr(w, "type", ma_factor_name(m->type));
    ma_jw_kbool(w, "confirmed", m->confirmed);
    put_text(w, "name", m->name);
    put_text(w, m->type == MA_FACTOR_EMAIL ? "email" : "phone_number", m->address);
    put_date(w, "created_at", m->created_at);
    put_date(w, "last_auth_at", m->last_auth_at);
    put_date(w, "expires_at", m->expires_at);
    ma_jw_obj_end(w);
}

static int put_methods(struct ma_cmd *c, struct ma_db *db, struct ma_jw *w, struct ma_span user_id)
{
    struct ma_method *list = ma_arena_calloc(c->a, MA_METHODS_MAX, sizeof *list);
    size_t n = 0;
    if (!list)
        return MA_E_NOMEM;
    int rc = ma_method_list(db, c->a, user_id, ma_cmd_now(c), list, MA_METHODS_MAX, &n);
    ma_jw_arr(w);
    for (size_t i = 0; rc == MA_OK && i < n; i++)
        put_method(w, &list[i]);
    ma_jw_arr_end(w);
    return rc;
}

static int put_password(struct ma_cmd *c, struct ma_db *db, struct ma_jw *w, struct ma_span user_id)
{
    struct ma_password_row row;
    int rc = ma_password_get(db, c->a, user_id, &row);
    if (rc != MA_OK)
        return rc == MA_E_NOTFOUND ? MA_OK : rc;
    ma_jw_key(w, "password");
    ma_jw_obj(w);
    put_date(w, "created_at", row.created_at);
    put_date(w, "changed_at", row.changed_at);
    ma_jw_obj_end(w);
    return MA_OK;
}

/* How many, and no more: tokens and what the provider says of the user are sealed. */
static int put_accounts(struct ma_db *db, struct ma_jw *w, struct ma_span user_id)
{
    int64_t n = 0;
    int rc = ma_account_count(db, user_id, &n);
    ma_jw_kint(w, "connected_accounts", n);
    return rc;
}

/* Runs fn and turns its status into an exit code; MA_E_NOTFOUND says what is missing. */
static int finish(struct ma_cmd *c, int rc, const char *missing)
{
    if (rc == MA_OK)
        return MA_EXIT_OK;
    ma_buf_clear(c->out);
    return rc == MA_E_NOTFOUND ? ma_cmd_fail(c, "%s: no such %s", c->args->command.p, missing)
                               : ma_cmd_fail_rc(c, (const char *)c->args->command.p, rc);
}

/* --- user --- */
static int user_list_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user *page = ma_arena_calloc(c->a, MA_ADMIN_PAGE, sizeof *page);
    struct ma_arena *rows MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_ADMIN_ARENA_MAX);
    uint8_t after[MA_USER_ID_BYTES];
    size_t n_after = 0, n = MA_ADMIN_PAGE;
    if (!page || !rows)
        return MA_E_NOMEM;
    while (n == MA_ADMIN_PAGE && ma_buf_err(c->out) == MA_OK) {
        ma_arena_reset(rows);
        int rc = ma_user_list(db, rows, ma_span_of(after, n_after), MA_ADMIN_PAGE, page, &n);
        if (rc != MA_OK)
            return rc;
        for (size_t i = 0; i < n; i++) {
            struct ma_jw w;
            ma_jw_init(&w, c->out);
            ma_jw_obj(&w);
            put_user_members(&w, &page[i]);
            ma_jw_obj_end(&w);
            ma_buf_byte(c->out, '\n');
        }
        if (n == 0 || page[n - 1].user_id.n > sizeof after)
            break;
        n_after = page[n - 1].user_id.n;
        memcpy(after, page[n - 1].user_id.p, n_after);
    }
    return MA_OK;
}

int ma_cmd_user_list(struct ma_cmd *c)
{
    return finish(c, c->env->read(c->env->arg, user_list_fn, c), "user");
}

static int user_show_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user u;
    struct ma_jw w;
    int rc = ma_user_get(db, c->a, c->args->positional[0], &u);
    if (rc != MA_OK)
        return rc;
    ma_jw_init(&w, c->out);
    ma_jw_obj(&w);
    put_user_members(&w, &u);
    rc = put_password(c, db, &w, u.user_id);
    ma_jw_key(&w, "authentication_methods");
    if (rc == MA_OK)
        rc = put_methods(c, db, &w, u.user_id);
    if (rc == MA_OK)
        rc = put_accounts(db, &w, u.user_id);
    ma_jw_obj_end(&w);
    ma_buf_byte(c->out, '\n');
    return rc;
}

int ma_cmd_user_show(struct ma_cmd *c)
{
    return finish(c, c->env->read(c->env->arg, user_show_fn, c), "user");
}

/* --- method --- */
static int method_list_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user u;
    struct ma_jw w;
    int rc = ma_user_get(db, c->a, c->args->positional[0], &u);
    ma_jw_init(&w, c->out);
    if (rc == MA_OK)
        rc = put_methods(c, db, &w, u.user_id);
    ma_buf_byte(c->out, '\n');
    return rc;
}

int ma_cmd_method_list(struct ma_cmd *c)
{
    return finish(c, c->env->read(c->env->arg, method_list_fn, c), "user");
}

struct reset_job {
    struct ma_cmd *c;
    size_t n;
    const char *missing;
};

static int audit_reset(struct ma_cmd *c, struct ma_db *db, struct ma_span method_id)
{
    const char *detail = ma_arena_printf(c->a, "{\"actor\":\"operator\",\"uid\":%lld}", (long long)c->env->peer_uid);
    struct ma_audit_row row = {.at = ma_cmd_now(c),
                               .type = MA_LIT("my_account_authentication_method_succeeded"),
                               .operation = MA_LIT("delete"),
                               .user_id = c->args->positional[0],
                               .method_id = method_id,
                               .detail = ma_span_str(detail)};
    return detail ? ma_audit_insert(db, &row) : MA_E_NOMEM;
}

/* What an operator takes away is not kept: a link in a mail does not bring it back. */
static int tell_removed(struct reset_job *job, struct ma_db *db, struct ma_span id, const char *what)
{
    struct ma_admin_news news = {
        .event = MA_EVENT_FACTOR_REMOVED, .user_id = job->c->args->positional[0], .subject = id, .what = what};
    return ma_cmd_tell(job->c, db, &news);
}

/* Drops a method with the enrolment sessions that would confirm it. */
static int reset_one(struct reset_job *job, struct ma_db *db, struct ma_span id)
{
    struct ma_span user_id = job->c->args->positional[0];
    int rc = ma_enrolment_delete_method(db, user_id, id);
    if (rc == MA_OK || rc == MA_E_NOTFOUND)
        rc = ma_method_delete(db, user_id, id);
    if (rc != MA_OK)
        return rc;
    job->n++;
    return audit_reset(job->c, db, id);
}

/* A device's authenticator may have gone with it. */
static int reset_listed(struct reset_job *job, struct ma_db *db, struct ma_span id)
{
    int rc = reset_one(job, db, id);
    return rc == MA_E_NOTFOUND ? MA_OK : rc;
}

static int reset_all(struct reset_job *job, struct ma_db *db)
{
    struct ma_cmd *c = job->c;
    struct ma_span user_id = c->args->positional[0];
    struct ma_method *list = ma_arena_calloc(c->a, MA_METHODS_MAX, sizeof *list);
    size_t n = 0;
    if (!list)
        return MA_E_NOMEM;
    int rc = ma_method_list(db, c->a, user_id, ma_cmd_now(c), list, MA_METHODS_MAX, &n);
    for (size_t i = 0; rc == MA_OK && i < n; i++)
        rc = reset_listed(job, db, list[i].id);
    return rc == MA_OK ? ma_method_delete_all(db, user_id) : rc; /* lapsed ones too */
}

static int reset_told(struct reset_job *job, struct ma_db *db, struct ma_span id)
{
    struct ma_method m;
    struct ma_cmd *c = job->c;
    int rc = ma_method_get(db, c->a, c->args->positional[0], id, ma_cmd_now(c), &m);
    if (rc == MA_OK)
        rc = reset_one(job, db, id);
    if (rc != MA_OK || !m.confirmed)
        return rc;
    struct ma_span what = ma_what_factor(c->a, m.type, m.address);
    return what.p ? tell_removed(job, db, id, (const char *)what.p) : MA_E_NOMEM;
}

static int method_reset_fn(struct ma_db *db, void *arg)
{
    struct reset_job *job = arg;
    struct ma_cmd *c = job->c;
    struct ma_user u;
    job->n = 0;
    job->missing = "user";
    int rc = ma_user_get(db, c->a, c->args->positional[0], &u);
    if (rc != MA_OK)
        return rc;
    job->missing = "method";
    if (c->args->n_positional == 2)
        return reset_told(job, db, c->args->positional[1]);
    rc = reset_all(job, db);
    if (rc == MA_OK && job->n > 0)
        rc = tell_removed(job, db, MA_SPAN_NULL, "every way to sign in but the password");
    /* Sessions and refresh tokens remember second factors that are gone. */
    struct ma_signins_ended ended;
    return rc == MA_OK || rc == MA_E_NOTFOUND ? ma_signins_end(db, u.user_id, MA_SPAN_NULL, ma_cmd_now(c), &ended) : rc;
}

int ma_cmd_method_reset(struct ma_cmd *c)
{
    struct reset_job job = {.c = c, .missing = "user"};
    int rc = c->env->write(c->env->arg, method_reset_fn, &job);
    int code = finish(c, rc, job.missing);
    if (code != MA_EXIT_OK)
        return code;
    ma_cmd_changed(c);
    ma_buf_printf(c->out, "%zu method%s deleted\n", job.n, job.n == 1 ? "" : "s");
    return MA_EXIT_OK;
}

/* --- outbox --- */
#define MA_DEAD_MAX 10000 /* dead letters listed at most */

static int outbox_list_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_outbox_row *rows = ma_arena_calloc(c->a, MA_DEAD_MAX, sizeof *rows);
    size_t n = 0;
    if (!rows)
        return MA_E_NOMEM;
    int rc = ma_outbox_dead(db, c->a, rows, MA_DEAD_MAX, &n);
    for (size_t i = 0; rc == MA_OK && i < n; i++) {
        struct ma_jw w;
        ma_jw_init(&w, c->out);
        ma_jw_obj(&w);
        ma_jw_kstr(&w, "id", rows[i].id);
        ma_jw_kstr(&w, "channel", rows[i].channel);
        put_text(&w, "user_id", rows[i].user_id);
        ma_jw_kint(&w, "attempts", rows[i].attempts);
        put_date(&w, "created_at", rows[i].created_at);
        put_text(&w, "last_error", rows[i].last_error);
        ma_jw_obj_end(&w);
        ma_buf_byte(c->out, '\n');
    }
    return rc;
}

int ma_cmd_outbox_list(struct ma_cmd *c)
{
    return finish(c, c->env->read(c->env->arg, outbox_list_fn, c), "message");
}

static int outbox_retry_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    return ma_outbox_revive(db, c->args->n_positional ? c->args->positional[0] : MA_LIT(""), ma_cmd_now(c));
}

int ma_cmd_outbox_retry(struct ma_cmd *c)
{
    int code = finish(c, c->env->write(c->env->arg, outbox_retry_fn, c), "dead message");
    if (code == MA_EXIT_OK) {
        ma_cmd_changed(c); /* wakes the courier */
        ma_buf_str(c->out, "due again\n");
    }
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 * A link that sets a new password, for the operator to hand on: where the one in the mail ran out or never arrived.
 */
#include "ma/admin.h"

#include "ma/notify.h"
#include "int.h"

struct link_job {
    struct ma_cmd *c;
    char token[MA_TOKEN_LEN + 1];
    const char *missing;
};

static int make_link(struct ma_db *db, void *arg)
{
    struct link_job *job = arg;
    struct ma_cmd *c = job->c;
    struct ma_span id = c->args->positional[0];
    struct ma_user u;
    struct ma_password_row password;
    const struct ma_reset_env env = {
        .db = db, .vault = c->env->vault, .rand = c->env->rand, .conf = c->env->conf, .now_ms = ma_cmd_now(c)};
    job->missing = "no such user";
    int rc = ma_user_get(db, c->a, id, &u);
    if (rc != MA_OK)
        return rc;
    job->missing = "the user has no password here";
    /* the page wants the policy of the user's connection */
    rc = u.connection.p ? ma_password_get(db, c->a, id, &password) : MA_E_NOTFOUND;
    if (rc == MA_OK)
        rc = ma_reset_make(&env, id, job->token);
    return rc == MA_OK ? ma_cmd_audit_row(c, db, "sapi", "reset_link", id, "") : rc;
}

int ma_cmd_user_reset_link(struct ma_cmd *c)
{
    struct link_job job = {.c = c};
    int rc = c->env->write(c->env->arg, make_link, &job);
    if (rc == MA_E_NOTFOUND)
        return ma_cmd_fail(c, "%s", job.missing);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "user reset-link", rc);
    ma_buf_printf(c->out, "%s" MA_RESET_PATH "?token=%s\n", c->env->conf->base_url, job.token);
    return MA_EXIT_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * Handing out everything about a user, and erasing it.
 */
#include "ma/admin.h"

#include "int.h"
#include "ma/personal.h"

static int fail(struct ma_cmd *c, int rc)
{
    const char *name = (const char *)c->args->command.p;
    ma_buf_clear(c->out);
    return rc == MA_E_NOTFOUND ? ma_cmd_fail(c, "%s: no such user", name) : ma_cmd_fail_rc(c, name, rc);
}

/* --- export --- */

/* Who asked is on record before anything is handed out. */
static int record_export(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user u;
    int rc = ma_user_get(db, c->a, c->args->positional[0], &u);
    return rc == MA_OK ? ma_cmd_audit_row(c, db, "sapi", "user export", c->args->positional[0], "") : rc;
}

static int to_output(void *arg, struct ma_span text)
{
    struct ma_cmd *c = arg;
    ma_buf_span(c->out, text);
    return ma_buf_err(c->out);
}

static int export_fn(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    const struct ma_personal_sink sink = {to_output, c};
    return ma_personal_write(db, c->env->vault, c->args->positional[0], ma_cmd_now(c), &sink);
}

int ma_cmd_user_export(struct ma_cmd *c)
{
    int rc = c->env->write(c->env->arg, record_export, c);
    if (rc == MA_OK)
        rc = c->env->read(c->env->arg, export_fn, c);
    return rc == MA_OK ? MA_EXIT_OK : fail(c, rc);
}

/* --- delete --- */

static int forget(struct ma_cmd *c, int64_t max_bytes)
{
    return c->env->forget ? c->env->forget(c->env->arg, max_bytes) : MA_OK;
}

/* The user is gone, whatever became of the files: a warning, no failure. */
static void say_forgotten(struct ma_cmd *c, int rc)
{
    if (rc == MA_E_RANGE)
        ma_buf_str(c->out,
                   "the database is too large to be rewritten by the way: unused parts of its pages may still hold "
                   "copies until you run \"myaccountctl vacuum\"\n");
    else if (rc == MA_E_TIMEOUT || rc == MA_E_BUSY)
        ma_buf_str(c->out, "the database's log still holds earlier pages: somebody reads, it is cut when that ends\n");
    else if (rc != MA_OK)
        ma_buf_printf(c->out,
                      "unused parts of the database's pages may still hold copies: %s; run \"myaccountctl "
                      "vacuum\"\n",
                      ma_err_text(rc));
}

static int user_exists(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user u;
    return ma_user_get(db, c->a, c->args->positional[0], &u);
}

static int erase_rows(struct ma_db *db, struct ma_erase *e)
{
    return ma_personal_erase(db, e->user_id, ma_cmd_now(e->c));
}

/* The trail stays and does not name the user any more. */
int ma_cmd_user_delete(struct ma_cmd *c)
{
    struct ma_erase e = {
        .c = c, .user_id = c->args->positional[0], .last = erase_rows, .type = "sdu", .operation = "delete"};
    int rc = c->env->read(c->env->arg, user_exists, c);
    if (rc == MA_OK)
        rc = ma_cmd_erase(&e);
    if (rc != MA_OK)
        return fail(c, rc);
    ma_cmd_changed(c);
    ma_buf_printf(c->out, "user %s deleted; %lld row%s of the audit trail name %s now\n", (const char *)e.user_id.p,
                  (long long)e.rows, e.rows == 1 ? "" : "s", e.pseudonym);
    say_forgotten(c, forget(c, MA_DB_SCRUB_MAX));
    return MA_EXIT_OK;
}

/* --- vacuum --- */

int ma_cmd_vacuum(struct ma_cmd *c)
{
    int rc = forget(c, 0);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "vacuum", rc);
    ma_buf_str(c->out, "the database is rewritten: nothing that was deleted is left in its files\n");
    return MA_EXIT_OK;
}

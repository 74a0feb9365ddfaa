/* SPDX-License-Identifier: Apache-2.0
 * Commands on connected accounts. What they print never holds a provider's token.
 */
#include "ma/admin.h"

#include "ma/jsonw.h"
#include "int.h"

enum { ACCOUNTS_MAX = 1000 };

struct found {
    struct ma_cmd *c;
    struct ma_account *v;
    size_t n;
};

static int read_accounts(struct ma_db *db, void *arg)
{
    struct found *f = arg;
    struct ma_user u;
    f->v = ma_arena_calloc(f->c->a, ACCOUNTS_MAX, sizeof *f->v);
    if (!f->v)
        return MA_E_NOMEM;
    int rc = ma_user_get(db, f->c->a, f->c->args->positional[0], &u);
    return rc == MA_OK ? ma_account_list(db, f->c->a, u.user_id, f->v, ACCOUNTS_MAX, &f->n) : rc;
}

static int find_accounts(struct ma_cmd *c, struct found *f)
{
    *f = (struct found){.c = c};
    int rc = c->env->read(c->env->arg, read_accounts, f);
    if (rc == MA_E_NOTFOUND)
        return ma_cmd_fail(c, "%s: no such user", c->args->command.p);
    return rc == MA_OK ? MA_EXIT_OK : ma_cmd_fail_rc(c, (const char *)c->args->command.p, rc);
}

static void put_begin(struct ma_jw *w, struct ma_cmd *c, const struct ma_account *acc)
{
    ma_jw_init(w, c->out);
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", acc->id);
    ma_jw_kstr(w, "connection", acc->connection);
}

static void put_end(struct ma_jw *w, struct ma_cmd *c)
{
    ma_jw_obj_end(w);
    ma_buf_byte(c->out, '\n');
}

int ma_cmd_account_list(struct ma_cmd *c)
{
    struct found f;
    struct ma_jw w;
    int code = find_accounts(c, &f);
    for (size_t i = 0; code == MA_EXIT_OK && i < f.n; i++) {
        const struct ma_account *acc = &f.v[i];
        put_begin(&w, c, acc);
        ma_jw_kstr(&w, "subject", acc->subject);
        ma_jw_kstr(&w, "client_id", acc->client_id);
        ma_jw_kstr(&w, "scope", acc->scopes);
        ma_jw_kbool(&w, "needs_reconnect", acc->needs_reconnect);
        ma_jw_kdate(&w, "created_at", acc->created_at);
        ma_jw_kdate(&w, "updated_at", acc->updated_at);
        ma_jw_kdate(&w, "used_at", acc->used_at);
        put_end(&w, c);
    }
    return code;
}

static int check_one(struct ma_cmd *c, const struct ma_account *acc)
{
    struct ma_account_check in = {acc->user_id, acc->connection, acc->id};
    const char *status = "failed";
    int64_t expires_in_s = -1;
    struct ma_jw w;
    int rc = c->env->check_account(c->env->arg, &in, &status, &expires_in_s);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "account check", rc);
    put_begin(&w, c, acc);
    ma_jw_kcstr(&w, "status", status);
    if (expires_in_s >= 0)
        ma_jw_kint(&w, "expires_in", expires_in_s);
    put_end(&w, c);
    return MA_EXIT_OK;
}

int ma_cmd_account_check(struct ma_cmd *c)
{
    struct found f;
    struct ma_span only = c->args->n_positional > 1 ? c->args->positional[1] : MA_SPAN_NULL;
    size_t checked = 0;
    if (!c->env->check_account)
        return ma_cmd_fail(c, "account check: the daemon does not run");
    int code = find_accounts(c, &f);
    for (size_t i = 0; code == MA_EXIT_OK && i < f.n; i++) {
        if (only.p && !ma_span_eq(only, f.v[i].id))
            continue;
        code = check_one(c, &f.v[i]);
        checked++;
    }
    if (code == MA_EXIT_OK && only.p && checked == 0)
        return ma_cmd_fail(c, "account check: no such account");
    return code;
}

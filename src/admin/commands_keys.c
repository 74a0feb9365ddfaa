/* SPDX-License-Identifier: Apache-2.0
 * Commands on signing keys and on the keys of the vault.
 */
#include "ma/admin.h"

#include "ma/jsonw.h"
#include "ma/reseal.h"
#include "int.h"

static int status_fn(struct ma_db *db, void *arg)
{
    struct ma_reseal_status *s = ((void **)arg)[0];
    return ma_reseal_status(db, ((void **)arg)[1], s);
}

static int get_status(struct ma_cmd *c, struct ma_reseal_status **ret)
{
    *ret = ma_arena_calloc(c->a, 1, sizeof **ret);
    void *arg[] = {*ret, c->env->vault};
    return *ret ? c->env->read(c->env->arg, status_fn, arg) : MA_E_NOMEM;
}

/* --- list --- */

static void put_status(struct ma_buf *out, const struct ma_reseal_status *s)
{
    struct ma_jw w;
    ma_jw_init(&w, out);
    ma_jw_obj(&w);
    ma_jw_key(&w, "vault");
    ma_jw_arr(&w);
    for (size_t i = 0; i < s->n_keys; i++) {
        ma_jw_obj(&w);
        ma_jw_kint(&w, "id", s->keys[i].key.id);
        ma_jw_kcstr(&w, "state", s->keys[i].key.seals ? "sealing" : "opening");
        ma_jw_kdate(&w, "created_at", s->keys[i].key.created_s * 1000);
        ma_jw_kint(&w, "values", s->keys[i].values);
        ma_jw_obj_end(&w);
    }
    ma_jw_arr_end(&w);
    ma_jw_kint(&w, "values", s->values);
    ma_jw_kint(&w, "waiting", s->waiting);
    ma_jw_kint(&w, "percent", ma_reseal_percent(s));
    if (s->orphans > 0)
        ma_jw_kint(&w, "sealed_with_missing_keys", s->orphans);
    ma_jw_obj_end(&w);
    ma_buf_byte(out, '\n');
}

int ma_cmd_keys_list(struct ma_cmd *c)
{
    struct ma_reseal_status *s = NULL;
    struct ma_span keys;
    int rc = ma_jose_keys(c->env->jose, c->a, &keys);
    if (rc == MA_OK)
        rc = get_status(c, &s);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "keys list", rc);
    ma_buf_span(c->out, keys);
    ma_buf_byte(c->out, '\n');
    put_status(c->out, s);
    return MA_EXIT_OK;
}

/* --- sealing anew, here and now, where no daemon does it --- */

static const char *progress_line(struct ma_cmd *c, const struct ma_reseal_status *s)
{
    uint32_t newest = ma_vault_newest(c->env->vault);
    if (s->waiting == 0)
        return ma_arena_printf(c->a, "100 %%: %lld values are sealed with vault key %u", (long long)s->values, newest);
    return ma_arena_printf(c->a, "%d %%: %lld of %lld values wait for vault key %u", ma_reseal_percent(s),
                           (long long)s->waiting, (long long)s->values, newest);
}

static int report(struct ma_cmd *c, const struct ma_reseal_status *s)
{
    const char *line = progress_line(c, s);
    if (!line)
        return MA_E_NOMEM;
    ma_buf_printf(c->out, "%s\n", line);
    if (s->orphans > 0)
        ma_buf_printf(c->err, "%lld values are sealed with keys that are not in the ring (%u is one)\n",
                      (long long)s->orphans, s->orphans_key);
    return MA_OK;
}

struct local_pass {
    struct ma_cmd *c;
    int64_t batches;
};

static int local_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    const struct ma_admin_env *env = ((struct local_pass *)arg)->c->env;
    return env->read(env->arg, fn, fn_arg);
}

static int local_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    const struct ma_admin_env *env = ((struct local_pass *)arg)->c->env;
    return env->write(env->arg, fn, fn_arg);
}

enum { BATCHES_PER_LINE = 16 };

static bool local_more(void *arg)
{
    struct local_pass *p = arg;
    const struct ma_admin_env *env = p->c->env;
    struct ma_reseal_status *s = NULL;
    if (env->progress && ++p->batches % BATCHES_PER_LINE == 0 && get_status(p->c, &s) == MA_OK && s->waiting > 0) {
        const char *line = progress_line(p->c, s);
        if (line)
            env->progress(env->arg, line);
    }
    return true;
}

/* Nobody else works on the database: what one pass leaves, no pass can do. */
static int reseal_here(struct ma_cmd *c)
{
    struct local_pass arg = {c, 0};
    const struct ma_reseal_env env = {c->env->vault, &arg, local_read, local_write, local_more};
    struct ma_reseal_pass pass;
    struct ma_reseal_status *s = NULL;
    char why[256] = "";
    size_t gone = 0;
    int rc = ma_reseal_run(&env, &pass);
    if (rc == MA_OK)
        rc = get_status(c, &s);
    if (rc == MA_OK)
        rc = report(c, s);
    if (rc == MA_OK)
        rc = ma_reseal_retire(c->env->vault, s, &gone, why);
    if (rc != MA_OK)
        return why[0] ? ma_cmd_fail(c, "keys: %s", why) : ma_cmd_fail_rc(c, "keys", rc);
    if (gone > 0)
        ma_buf_printf(c->out, "%zu old vault key%s removed\n", gone, gone == 1 ? "" : "s");
    if (pass.failed > 0)
        return ma_cmd_fail(c, "keys: %lld values do not open and stay as they are", (long long)pass.failed);
    return MA_EXIT_OK;
}

int ma_cmd_keys_reseal(struct ma_cmd *c)
{
    struct ma_reseal_status *s = NULL;
    if (!c->env->reseal)
        return reseal_here(c);
    c->env->reseal(c->env->arg);
    int rc = get_status(c, &s);
    if (rc == MA_OK)
        rc = report(c, s);
    return rc == MA_OK ? MA_EXIT_OK : ma_cmd_fail_rc(c, "keys reseal", rc);
}

/* --- rotate --- */

struct rotated {
    struct ma_cmd *c;
    uint32_t id;
};

static int audit_rotated(struct ma_db *db, void *arg)
{
    struct rotated *r = arg;
    const char *detail = ma_arena_printf(r->c->a, ",\"vault_key\":%u", r->id);
    return detail ? ma_cmd_audit_row(r->c, db, "sapi", "keys rotate", MA_SPAN_NULL, detail) : MA_E_NOMEM;
}

static int rotate_vault(struct ma_cmd *c)
{
    struct rotated r = {c, 0};
    char why[256] = "";
    int rc = ma_vault_rotate(c->env->vault, ma_cmd_now(c) / 1000, &r.id, why);
    if (rc != MA_OK)
        return ma_cmd_fail(c, "keys rotate: %s", why);
    rc = c->env->write(c->env->arg, audit_rotated, &r);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "keys rotate: the new key is in use, but that is not on record", rc);
    ma_buf_printf(c->out, "vault key %u seals from now on\n", r.id);
    return ma_cmd_keys_reseal(c);
}

/* A signing key verifies until the longest token it may have signed has expired, leeway included. */
static int rotate_signing(struct ma_cmd *c, enum ma_jws_alg alg)
{
    char kid[65];
    int rc = ma_jose_rotate(c->env->jose, alg, MA_ADMIN_TTL_MAX_S + MA_CLOCK_LEEWAY_S, kid);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "keys rotate", rc);
    ma_cmd_changed(c);
    ma_buf_printf(c->out, "%s %s\n", ma_jws_alg_name(alg), kid);
    return MA_EXIT_OK;
}

static int rotate_algorithms(struct ma_cmd *c, struct ma_span only)
{
    static const enum ma_jws_alg all[] = {MA_JWS_RS256, MA_JWS_ES256};
    bool known = !only.p;
    int rc = MA_EXIT_OK;
    for (size_t i = 0; rc == MA_EXIT_OK && i < MA_COUNT(all); i++) {
        if (only.p && !ma_span_eq_str(only, ma_jws_alg_name(all[i])))
            continue;
        known = true;
        rc = rotate_signing(c, all[i]);
    }
    if (known)
        return rc;
    (void)ma_cmd_fail(c, "keys rotate: RS256 or ES256");
    return MA_EXIT_USAGE;
}

int ma_cmd_keys_rotate(struct ma_cmd *c)
{
    bool vault = (c->args->given & MA_OPT_VAULT) != 0;
    if (vault && c->args->n_positional > 0) {
        (void)ma_cmd_fail(c, "keys rotate: an algorithm is of signing keys, not of the vault's");
        return MA_EXIT_USAGE;
    }
    if (!vault && (c->args->given & MA_OPT_WATCH)) {
        (void)ma_cmd_fail(c, "keys rotate: --watch goes with --vault");
        return MA_EXIT_USAGE;
    }
    if (vault)
        return rotate_vault(c);
    return rotate_algorithms(c, c->args->n_positional > 0 ? c->args->positional[0] : MA_SPAN_NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Erasing users whose time is over.
 */
#include "ma/leaving.h"

#include <stdio.h>

#include "ma/audit.h"
#include "ma/personal.h"

struct departure {
    const struct ma_clerk_env *env;
    struct ma_span user_id;
    char pseudonym[MA_AUDIT_PSEUDONYM_LEN + 1];
    bool begun;    /* the user's row names the pseudonym already */
    int64_t rows;  /* of the trail, erased so far */
    size_t latest; /* of them, in the transaction that runs */
};

/* The first step shuts the door in the same transaction. */
static int batch_fn(struct ma_db *db, void *arg)
{
    struct departure *d = arg;
    struct ma_span pseudonym = ma_span_str(d->pseudonym);
    int r = d->begun ? MA_OK : ma_leaving_erase(db, d->user_id, d->env->now_ms, pseudonym);
    return r == MA_OK ? ma_audit_pseudonymise(db, d->user_id, pseudonym, &d->latest) : r;
}

static int record(struct ma_db *db, const struct departure *d, int64_t rows)
{
    char detail[96];
    (void)snprintf(detail, sizeof detail, "{\"actor\":\"user\",\"erased_rows\":%lld}", (long long)rows);
    struct ma_audit_row row = {.at = d->env->now_ms,
                               .type = MA_LIT("sdu"),
                               .operation = MA_LIT("delete"),
                               .user_id = ma_span_str(d->pseudonym),
                               .detail = ma_span_str(detail)};
    return ma_audit_insert(db, &row);
}

/* Rows that joined since the last batch, the user, and the row that tells of it. */
static int last_fn(struct ma_db *db, void *arg)
{
    struct departure *d = arg;
    size_t more = 0;
    int r = MA_OK;
    d->latest = 0;
    do {
        r = ma_audit_pseudonymise(db, d->user_id, ma_span_str(d->pseudonym), &more);
        d->latest += more;
    } while (r == MA_OK && more == MA_AUDIT_BATCH);
    if (r == MA_OK)
        r = ma_personal_erase(db, d->user_id, d->env->now_ms);
    return r == MA_OK ? record(db, d, d->rows + (int64_t)d->latest) : r;
}

static int erase(struct departure *d)
{
    const struct ma_clerk_env *env = d->env;
    int r = MA_OK;
    do {
        d->latest = 0;
        r = env->write(env->arg, batch_fn, d);
        if (r == MA_OK) {
            d->begun = true;
            d->rows += (int64_t)d->latest;
        }
        if (r == MA_OK && env->more && !env->more(env->arg))
            r = MA_E_BUSY; /* the next start goes on */
    } while (r == MA_OK && d->latest == MA_AUDIT_BATCH);
    return r == MA_OK ? env->write(env->arg, last_fn, d) : r;
}

static int begin(const struct ma_clerk_env *env, const struct ma_leaver *l, struct departure *ret)
{
    *ret = (struct departure){.env = env, .user_id = l->user_id, .begun = l->pseudonym.p != NULL};
    if (!ret->begun)
        return ma_audit_pseudonym(env->rand, ret->pseudonym);
    if (l->pseudonym.n >= sizeof ret->pseudonym)
        return MA_E_RANGE;
    memcpy(ret->pseudonym, l->pseudonym.p, l->pseudonym.n);
    return MA_OK;
}

struct due {
    const struct ma_clerk_env *env;
    struct ma_arena *a;
    struct ma_leaver v[MA_ERASE_AT_ONCE];
    size_t n;
};

static int find_fn(struct ma_db *db, void *arg)
{
    struct due *due = arg;
    return ma_leaving_due(db, due->a, due->env->now_ms, due->v, MA_ERASE_AT_ONCE, &due->n);
}

/* Came back in time, or an operator was faster: nothing is to be done. */
static bool settled(int r)
{
    return r == MA_E_CONFLICT || r == MA_E_NOTFOUND;
}

int ma_erase_due(const struct ma_clerk_env *env, size_t *ret_n)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    struct due due = {.env = env, .a = a};
    *ret_n = 0;
    int r = a ? env->read(env->arg, find_fn, &due) : MA_E_NOMEM, failed = MA_OK;
    for (size_t i = 0; r == MA_OK && i < due.n; i++) {
        struct departure d;
        int one = begin(env, &due.v[i], &d);
        if (one == MA_OK)
            one = erase(&d);
        if (one == MA_OK) {
            ++*ret_n;
            ma_metrics_add(env->metrics, MA_M_LEAVING, MA_M_ERASED, 0, 1);
            ma_log(env->log, MA_LOG_INFO, "account.erased", MA_KV_S("pseudonym", d.pseudonym));
        } else if (one == MA_E_BUSY) {
            r = one;
        } else if (!settled(one)) { /* the others are not to wait for this one */
            ma_log(env->log, MA_LOG_ERROR, "account.erase_failed", MA_KV_S("error", ma_err_text(one)));
            failed = one;
        }
    }
    return r < 0 ? r : failed;
}

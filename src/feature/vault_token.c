/* SPDX-License-Identifier: Apache-2.0
 * A fresh access token out of the vault: which account is meant, whether its token lasts, and one
 * refresh at a time.
 */
#include "connect_int.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

/* --- one refresh per account --- */

/* An account being refreshed; lives on the refreshing thread's stack. */
struct refresh {
    struct refresh *next;
    struct ma_span id;
};
struct ma_refreshes {
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct refresh *first;
};

int ma_refreshes_new(struct ma_refreshes **ret)
{
    struct ma_refreshes *r = calloc(1, sizeof *r);
    if (!r)
        return MA_E_NOMEM;
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->done, NULL);
    *ret = r;
    return MA_OK;
}

void ma_refreshes_free(struct ma_refreshes *r)
{
    if (!r)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    (void)pthread_cond_destroy(&r->done);
    free(r);
}

/* The link to the account's entry, or to the end; the lock is held. */
static struct refresh **find(struct ma_refreshes *r, struct ma_span id)
{
    struct refresh **link = &r->first;
    while (*link && !ma_span_eq((*link)->id, id))
        link = &(*link)->next;
    return link;
}

/* True when this thread is to refresh; false after having waited for another one. */
static bool enter(struct ma_refreshes *r, struct refresh *mine)
{
    (void)pthread_mutex_lock(&r->lock);
    struct refresh **link = find(r, mine->id);
    bool waited = *link != NULL;
    while (*find(r, mine->id))
        (void)pthread_cond_wait(&r->done, &r->lock);
    if (!waited) {
        mine->next = r->first;
        r->first = mine;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return !waited;
}

static void leave(struct ma_refreshes *r, struct refresh *mine)
{
    (void)pthread_mutex_lock(&r->lock);
    struct refresh **link = find(r, mine->id);
    if (*link == mine)
        *link = mine->next;
    (void)pthread_cond_broadcast(&r->done);
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- which account --- */

struct claims {
    struct ma_span email;
};

/* The e-mail among the sealed claims; empty when there is none. */
static struct ma_span email_of(const struct ma_vault_env *env, const struct ma_account *acc)
{
    static const struct ma_jfield fields[] = {
        {.name = "email", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct claims, email)}};
    static const struct ma_shape shape = MA_SHAPE_OPEN(struct claims, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = env->arena};
    struct claims c = {MA_SPAN_NULL};
    struct ma_span text;
    if (ma_account_unseal(env->app->vault, env->arena, acc, "claims", acc->claims, &text) < 0 ||
        ma_json_parse(text, &j) < 0 || ma_json_decode(j, env->arena, &shape, &c, &errs) < 0)
        return MA_SPAN_NULL;
    return c.email;
}

enum hint { HINT_SUBJECT, HINT_EMAIL, HINT_ID, HINT__COUNT };

static bool hint_fits(const struct ma_vault_env *env, const struct ma_account *acc, struct ma_span hint, enum hint kind)
{
    if (kind == HINT_SUBJECT)
        return ma_span_eq(acc->subject, hint);
    if (kind == HINT_ID)
        return ma_span_eq(acc->id, hint);
    struct ma_span email = email_of(env, acc);
    return email.n == hint.n && email.n > 0 && strncasecmp((const char *)email.p, (const char *)hint.p, hint.n) == 0;
}

static bool has_scopes(const struct ma_vault_env *env, const struct ma_account *acc, const struct ma_span_list *asked)
{
    struct ma_span_list have;
    if (asked->n == 0)
        return true;
    if (ma_words_split(env->arena, acc->scopes, &have) < 0)
        return false;
    for (size_t i = 0; i < asked->n; i++) {
        bool found = false;
        for (size_t k = 0; k < have.n && !found; k++)
            found = ma_span_eq(have.v[k], asked->v[i]);
        if (!found)
            return false;
    }
    return true;
}

/* Keeps those of the list that fit, in order: with a hint, all that it names in the first way that names any. */
static size_t keep_fitting(const struct ma_vault_env *env, const struct ma_vault_ask *ask, struct ma_account *v,
                           size_t n)
{
    size_t kept = 0, named = 0;
    for (size_t i = 0; i < n; i++)
        if (ma_span_eq(v[i].connection, ask->connection))
            v[kept++] = v[i];
    if (ask->login_hint.n == 0)
        return kept;
    for (int kind = 0; kind < HINT__COUNT && named == 0; kind++)
        for (size_t i = 0; i < kept; i++)
            if (hint_fits(env, &v[i], ask->login_hint, (enum hint)kind))
                v[named++] = v[i];
    return named;
}

/* The account meant: fitting, with the scopes, and rather one that works than one that does not. */
static int pick(const struct ma_vault_env *env, const struct ma_vault_ask *ask, struct ma_account *ret,
                enum ma_vault_verdict *verdict)
{
    struct ma_account *v = ma_arena_calloc(env->arena, MA_ACCOUNTS_MAX, sizeof *v);
    size_t n = 0;
    const struct ma_account *best = NULL;
    if (!v)
        return MA_E_NOMEM;
    int r = ma_account_list(env->reader, env->arena, ask->user_id, v, MA_ACCOUNTS_MAX, &n);
    if (r < 0)
        return r;
    n = keep_fitting(env, ask, v, n);
    *verdict = n ? MA_VAULT_NO_SCOPE : MA_VAULT_NO_ACCOUNT;
    for (size_t i = 0; i < n; i++)
        if (has_scopes(env, &v[i], &ask->scopes) && (!best || (best->needs_reconnect && !v[i].needs_reconnect)))
            best = &v[i];
    if (!best)
        return MA_OK;
    *ret = *best;
    *verdict = best->needs_reconnect ? MA_VAULT_RECONNECT : MA_VAULT_OK;
    return MA_OK;
}

/* --- handing out --- */

static bool is_fresh(const struct ma_account *acc, int64_t now_ms)
{
    return acc->access_token.p &&
           (acc->access_expires_at == 0 || acc->access_expires_at - MA_ACCESS_MARGIN_MS > now_ms);
}

struct touch {
    const struct ma_account *acc;
    int64_t now;
};

static int touch(struct ma_db *db, void *arg)
{
    const struct touch *t = arg;
    return ma_account_used(db, t->acc->user_id, t->acc->id, t->now);
}

static int hand_out(const struct ma_vault_env *env, const struct ma_account *acc, struct ma_vault_grant *ret)
{
    struct touch t = {acc, env->now_ms};
    int r = ma_account_unseal(env->app->vault, env->arena, acc, "access_token", acc->access_token, &ret->access_token);
    if (r < 0)
        return r;
    ret->verdict = MA_VAULT_OK;
    ret->scope = acc->scopes;
    ret->expires_in_s = acc->access_expires_at ? (acc->access_expires_at - env->now_ms) / 1000 : -1;
    /* Not remembering the use is no reason to withhold the token. */
    if (env->now_ms - acc->used_at >= MA_ACCOUNT_USED_MS && ma_lanes_write(env->app->lanes, touch, &t) < 0)
        ma_log(env->app->log, MA_LOG_WARN, "vault.use_not_noted", MA_KV_SPAN("account", acc->id));
    return MA_OK;
}

/* --- refreshing --- */

static int store(struct ma_db *db, void *arg)
{
    return ma_account_refreshed(db, arg);
}

static int store_failure(struct ma_db *db, void *arg)
{
    const struct touch *t = arg;
    return ma_account_fail(db, t->acc->user_id, t->acc->id, t->acc->version, t->now);
}

/* The words providers have for "this refresh token is dead": RFC 6749 §5.2 and two dialects. */
static bool is_dead(const char *error)
{
    static const char *const words[] = {"invalid_grant", "bad_refresh_token", "invalid_refresh_token", "token_revoked"};
    for (size_t i = 0; i < MA_COUNT(words); i++)
        if (strcmp(error, words[i]) == 0)
            return true;
    return false;
}

static int refused(const struct ma_vault_env *env, const struct ma_account *acc, int err,
                   const struct ma_provider_fault *fault, struct ma_vault_grant *ret)
{
    struct touch t = {acc, env->now_ms};
    bool dead = err == MA_E_AUTH && is_dead(fault->error);
    ma_log(env->app->log, MA_LOG_WARN, dead ? "vault.needs_reconnect" : "vault.refresh_failed",
           MA_KV_SPAN("account", acc->id), MA_KV_SPAN("connection", acc->connection),
           MA_KV_S("error", ma_err_name(err)), MA_KV_S("provider_error", fault->error), MA_KV_S("why", fault->why));
    ret->verdict = dead ? MA_VAULT_RECONNECT : MA_VAULT_UNAVAILABLE;
    int r = dead ? ma_lanes_write(env->app->lanes, store_failure, &t) : MA_OK;
    return r == MA_E_CONFLICT ? MA_OK : r; /* connected anew meanwhile: the next call finds that */
}

/* What the provider gave replaces what there was; what it left out stays. */
static int take_over(const struct ma_vault_env *env, const struct ma_preset *preset, const struct ma_provider_tokens *t,
                     struct ma_account *acc)
{
    struct ma_vault *v = env->app->vault;
    int r = ma_account_seal(v, env->arena, acc, "access_token", t->access_token, &acc->access_token);
    struct ma_provider_tokens timed = *t;
    timed.refresh_token = t->refresh_token.p ? t->refresh_token : MA_LIT("kept");
    acc->access_expires_at = ma_access_expiry(preset, &timed, env->now_ms);
    acc->updated_at = acc->used_at = env->now_ms;
    if (r == MA_OK && t->refresh_token.p)
        r = ma_account_seal(v, env->arena, acc, "refresh_token", t->refresh_token, &acc->refresh_token);
    if (t->refresh_token.p && t->refresh_expires_in_s > 0)
        acc->refresh_expires_at = ma_refresh_expiry(t, env->now_ms);
    return r == MA_OK && t->has_scopes ? ma_words_join(env->arena, &t->scopes, &acc->scopes) : r;
}

static int call_provider(const struct ma_vault_env *env, const struct ma_state_connection *c,
                         const struct ma_account *acc, struct ma_provider_tokens *t, struct ma_provider_fault *fault)
{
    struct ma_provider_env penv = ma_provider_env_of(env->app, env->conf, env->httpc, env->arena);
    struct ma_provider provider;
    struct ma_span secret, refresh_token;
    int r = ma_connection_secret(env->reader, env->app->vault, env->arena, acc->connection, &secret);
    if (r == MA_OK)
        r = ma_account_unseal(env->app->vault, env->arena, acc, "refresh_token", acc->refresh_token, &refresh_token);
    if (r < 0)
        return r;
    r = ma_provider_resolve(&penv, c, secret, &provider, fault);
    return r == MA_OK ? ma_provider_refresh(&penv, &provider, refresh_token, t, fault) : r;
}

static int refresh(const struct ma_vault_env *env, const struct ma_state_connection *c, struct ma_account *acc,
                   struct ma_vault_grant *ret)
{
    struct ma_provider_tokens t;
    struct ma_provider_fault fault = {"", ""};
    int r = call_provider(env, c, acc, &t, &fault);
    if (r == MA_E_NOMEM || r == MA_E_DB || r == MA_E_CRYPTO)
        return r;
    if (r < 0)
        return refused(env, acc, r, &fault, ret);
    r = take_over(env, c->provider.preset, &t, acc);
    if (r == MA_OK)
        r = ma_lanes_write(env->app->lanes, store, acc);
    if (r == MA_E_CONFLICT) { /* deleted, or connected anew, while the provider was asked */
        ret->verdict = MA_VAULT_UNAVAILABLE;
        return MA_OK;
    }
    return r == MA_OK ? hand_out(env, acc, ret) : r;
}

/* With the account to itself: what another thread stored a moment ago counts. */
static int refresh_alone(const struct ma_vault_env *env, const struct ma_state_connection *c, struct ma_account *acc,
                         struct ma_vault_grant *ret)
{
    int r = ma_account_get(env->reader, env->arena, acc->user_id, acc->id, acc);
    if (r == MA_E_NOTFOUND) {
        ret->verdict = MA_VAULT_NO_ACCOUNT;
        return MA_OK;
    }
    if (r < 0)
        return r;
    if (is_fresh(acc, env->now_ms))
        return hand_out(env, acc, ret);
    ret->verdict = MA_VAULT_RECONNECT;
    if (acc->needs_reconnect || !acc->refresh_token.p)
        return MA_OK;
    if (acc->refresh_expires_at && acc->refresh_expires_at <= env->now_ms) { /* the provider said so; no need to ask */
        struct touch t = {acc, env->now_ms};
        int failed = ma_lanes_write(env->app->lanes, store_failure, &t);
        return failed == MA_E_CONFLICT ? MA_OK : failed;
    }
    return refresh(env, c, acc, ret);
}

int ma_vault_access_token(const struct ma_vault_env *env, const struct ma_vault_ask *ask, struct ma_vault_grant *ret)
{
    const struct ma_state_connection *c = ma_state_connection(env->state, ask->connection);
    struct ma_account acc;
    *ret = (struct ma_vault_grant){.verdict = MA_VAULT_NO_ACCOUNT, .expires_in_s = -1};
    if (!c || c->database || !c->connected_accounts)
        return MA_OK;
    int r = pick(env, ask, &acc, &ret->verdict);
    if (r < 0 || ret->verdict == MA_VAULT_NO_ACCOUNT || ret->verdict == MA_VAULT_NO_SCOPE)
        return r;
    ret->account = acc.id;
    if (ret->verdict == MA_VAULT_RECONNECT)
        return MA_OK;
    if (is_fresh(&acc, env->now_ms))
        return hand_out(env, &acc, ret);
    struct refresh mine = {NULL, ret->account};
    if (enter(env->app->refreshes, &mine)) {
        r = refresh_alone(env, c, &acc, ret);
        leave(env->app->refreshes, &mine);
        return r;
    }
    r = pick(env, ask, &acc, &ret->verdict);
    if (r < 0 || ret->verdict != MA_VAULT_OK)
        return r;
    ret->account = acc.id;
    ret->verdict = MA_VAULT_UNAVAILABLE; /* the refresh that was waited for brought nothing */
    return is_fresh(&acc, env->now_ms) ? hand_out(env, &acc, ret) : MA_OK;
}

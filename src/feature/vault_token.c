/* SPDX-License-Identifier: Apache-2.0
 * A fresh access token out of the vault: which account is meant, whether its token lasts, and one
 * refresh at a time.
 */
#include "connect_int.h"
#include "ma/heartbeat.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

/* --- one refresh per account --- */

/* An account being refreshed; lives on the refreshing thread's stack. */
struct refresh {
    struct refresh *next;
    struct ma_span id;
};
/* What a provider gave and the database did not take: the account as it is to be stored, sealed as it would be. The
 * token it replaces must not be shown to the provider again: one that rotates (RFC 9700 §4.14.2) takes that for theft
 * and ends all of them. */
struct unstored {
    struct unstored *next;
    struct ma_arena *arena;
    struct ma_account acc;
};
struct ma_refreshes {
    pthread_mutex_t lock;
    pthread_cond_t done;
    pthread_cond_t pause; /* nobody signals it */
    struct refresh *first;
    struct unstored *unstored;
    size_t n_unstored;
    int64_t tries_ms; /* how long storing is tried */
};

enum {
    STORE_RETRY_MS = 100,      /* the first pause before storing once more; they double */
    STORE_RETRY_MAX_MS = 2000, /* the longest one */
    STORE_TRIES_MS = 20000,    /* all of them together */
    UNSTORED_MAX = 1000,       /* with so many waiting to be stored no provider is asked any more */
    UNSTORED_BYTES = 262144    /* of one: its sealed values and names */
};

int ma_refreshes_new(struct ma_refreshes **ret)
{
    struct ma_refreshes *r = calloc(1, sizeof *r);
    if (!r)
        return MA_E_NOMEM;
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->done, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->pause, &attr);
    (void)pthread_condattr_destroy(&attr);
    r->tries_ms = STORE_TRIES_MS;
    *ret = r;
    return MA_OK;
}

void ma_refreshes_patience(struct ma_refreshes *r, int64_t tries_ms)
{
    r->tries_ms = tries_ms;
}

void ma_refreshes_free(struct ma_refreshes *r)
{
    if (!r)
        return;
    for (struct unstored *u = r->unstored, *next; u; u = next) {
        next = u->next;
        ma_arena_free(u->arena);
        free(u);
    }
    (void)pthread_cond_destroy(&r->pause);
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
    ma_heartbeat_rest(); /* whoever refreshes gives signs of its own */
    while (*find(r, mine->id))
        (void)pthread_cond_wait(&r->done, &r->lock);
    ma_heartbeat();
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

/* --- tokens that could not be stored --- */

static struct unstored *find_unstored(struct ma_refreshes *r, struct ma_span id)
{
    struct unstored *u = r->unstored;
    while (u && !ma_span_eq(u->acc.id, id))
        u = u->next;
    return u;
}

static bool copy(struct ma_arena *a, struct ma_span *s)
{
    if (!s->p)
        return true;
    *s = ma_arena_dup(a, *s);
    return s->p != NULL;
}

/* Keeps what store() needs. There is room: with UNSTORED_MAX of them nobody asks for more. */
static bool keep_unstored(struct ma_refreshes *r, const struct ma_account *acc)
{
    struct unstored *u = calloc(1, sizeof *u);
    struct ma_arena *a = u ? ma_arena_new(4096, UNSTORED_BYTES) : NULL;
    if (a) {
        *u = (struct unstored){.arena = a, .acc = *acc};
        u->acc.connection = u->acc.provider = u->acc.subject = u->acc.client_id = u->acc.org_id = u->acc.claims =
            MA_SPAN_NULL;
    }
    if (!a || !copy(a, &u->acc.id) || !copy(a, &u->acc.user_id) || !copy(a, &u->acc.scopes) ||
        !copy(a, &u->acc.access_token) || !copy(a, &u->acc.refresh_token)) {
        ma_arena_free(a);
        free(u);
        return false;
    }
    (void)pthread_mutex_lock(&r->lock);
    u->next = r->unstored;
    r->unstored = u;
    r->n_unstored++;
    (void)pthread_mutex_unlock(&r->lock);
    return true;
}

/* The account's entry stays where it is while this thread has the account to itself. */
static const struct ma_account *get_unstored(struct ma_refreshes *r, struct ma_span id, bool *ret_full)
{
    (void)pthread_mutex_lock(&r->lock);
    const struct unstored *u = find_unstored(r, id);
    *ret_full = r->n_unstored >= UNSTORED_MAX;
    (void)pthread_mutex_unlock(&r->lock);
    return u ? &u->acc : NULL;
}

static void drop_unstored(struct ma_refreshes *r, struct ma_span id)
{
    (void)pthread_mutex_lock(&r->lock);
    struct unstored **link = &r->unstored, *u;
    while (*link && !ma_span_eq((*link)->acc.id, id))
        link = &(*link)->next;
    u = *link;
    if (u) {
        *link = u->next;
        r->n_unstored--;
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (u)
        ma_arena_free(u->arena);
    free(u);
}

static void pause_ms(struct ma_refreshes *r, int64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_mutex_lock(&r->lock);
    while (pthread_cond_timedwait(&r->pause, &r->lock, &until) == 0)
        ;
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- which account --- */

struct claims {
    struct ma_span email;
};

/* Whether the e-mail among the sealed claims is this one. In memory of its own: a user may have many accounts. */
static bool has_email(const struct ma_vault_env *env, const struct ma_account *acc, struct ma_span email)
{
    static const struct ma_jfield fields[] = {
        {.name = "email", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct claims, email)}};
    static const struct ma_shape shape = MA_SHAPE_OPEN(struct claims, fields);
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = a};
    struct claims c = {MA_SPAN_NULL};
    struct ma_span sealed, text;
    if (!a || ma_account_claims(env->reader, a, acc->user_id, acc->id, &sealed) < 0 ||
        ma_account_unseal(env->app->vault, a, acc, "claims", sealed, &text) < 0 || ma_json_parse(text, &j) < 0 ||
        ma_json_decode(j, a, &shape, &c, &errs) < 0)
        return false;
    return c.email.n == email.n && email.n > 0 &&
           strncasecmp((const char *)c.email.p, (const char *)email.p, email.n) == 0;
}

enum hint { HINT_SUBJECT, HINT_EMAIL, HINT_ID, HINT__COUNT };

static bool hint_fits(const struct ma_vault_env *env, const struct ma_account *acc, struct ma_span hint, enum hint kind)
{
    if (kind == HINT_SUBJECT)
        return ma_span_eq(acc->subject, hint);
    if (kind == HINT_ID)
        return ma_span_eq(acc->id, hint);
    return has_email(env, acc, hint);
}

static bool has_scopes(const struct ma_vault_env *env, const struct ma_account *acc, const struct ma_span_list *asked)
{
    struct ma_span_list have;
    if (asked->n == 0)
        return true;
    if (ma_words_split(env->arena, acc->scopes, &have) < 0)
        return false;
    for (size_t i = 0; i < asked->n; i++)
        if (!ma_span_list_has(&have, asked->v[i]))
            return false;
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

/* What another provider gave is of no use at the one that the connection leads to now, and not its to see. */
static bool is_usable(const struct ma_state_connection *c, const struct ma_account *acc)
{
    return !acc->needs_reconnect && ma_span_eq(acc->provider, ma_connection_identity(c));
}

/* The account meant: fitting, with the scopes, and rather one that works than one that does not. */
static int pick(const struct ma_vault_env *env, const struct ma_vault_ask *ask, const struct ma_state_connection *c,
                struct ma_account *ret, enum ma_vault_verdict *verdict)
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
        if (has_scopes(env, &v[i], &ask->scopes) && (!best || (!is_usable(c, best) && is_usable(c, &v[i]))))
            best = &v[i];
    if (!best)
        return MA_OK;
    r = ma_account_get(env->reader, env->arena, best->user_id, best->id, ret);
    if (r == MA_OK)
        *verdict = is_usable(c, ret) ? MA_VAULT_OK : MA_VAULT_RECONNECT;
    else if (r == MA_E_NOTFOUND) /* deleted between the two looks */
        *verdict = MA_VAULT_NO_ACCOUNT;
    return r == MA_E_NOTFOUND ? MA_OK : r;
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

/* Until it is stored, or surely cannot be: the account changed meanwhile, or time is up. */
static int store_surely(const struct ma_vault_env *env, struct ma_account *acc)
{
    int64_t pause = STORE_RETRY_MS, waited = 0;
    int r = ma_lanes_write(env->app->lanes, store, acc);
    while (r != MA_OK && r != MA_E_CONFLICT && waited < env->app->refreshes->tries_ms &&
           !ma_lanes_stopped(env->app->lanes)) {
        if (waited == 0)
            ma_log(env->app->log, MA_LOG_WARN, "vault.store_failed", MA_KV_SPAN("account", acc->id),
                   MA_KV_S("error", ma_err_name(r)));
        pause_ms(env->app->refreshes, pause);
        waited += pause;
        pause = pause * 2 < STORE_RETRY_MAX_MS ? pause * 2 : STORE_RETRY_MAX_MS;
        r = ma_lanes_write(env->app->lanes, store, acc);
    }
    return r;
}

/* The account went while the provider was asked: what came is nobody's. */
static void revoke_orphan(const struct ma_vault_env *env, const struct ma_account *acc,
                          const struct ma_provider_tokens *t)
{
    struct ma_leftover left = ma_leftover_of(acc->connection, acc->provider, t->refresh_token, t->access_token);
    const struct ma_state_connection *c = ma_leftover_connection(env->state, &left);
    struct ma_provider_fault fault = {"", ""};
    struct ma_account now;
    struct ma_span secret;
    /* Connected anew, it may live by the same grant, which revoking may end (RFC 7009 §2.1). */
    if (!c || ma_account_get(env->reader, env->arena, acc->user_id, acc->id, &now) != MA_E_NOTFOUND)
        return;
    int r = ma_connection_secret(env->reader, env->app->vault, env->arena, acc->connection, &secret);
    if (r == MA_OK) {
        struct ma_provider_env penv = ma_provider_env_of(env->app, env->conf, env->httpc, env->arena);
        r = ma_leftover_revoke(&penv, c, secret, &left, &fault);
    }
    if (r < 0)
        ma_log(env->app->log, MA_LOG_WARN, "vault.revocation_failed", MA_KV_SPAN("connection", acc->connection),
               MA_KV_S("error", ma_err_name(r)), MA_KV_S("provider_error", fault.error), MA_KV_S("why", fault.why));
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
    if (r < 0)
        return r;
    r = store_surely(env, acc);
    if (r == MA_E_CONFLICT) { /* deleted, or connected anew, while the provider was asked */
        ret->verdict = MA_VAULT_UNAVAILABLE;
        revoke_orphan(env, acc, &t);
        return MA_OK;
    }
    if (r == MA_OK)
        return hand_out(env, acc, ret);
    if (!keep_unstored(env->app->refreshes, acc))
        ma_log(env->app->log, MA_LOG_ERROR, "vault.token_lost", MA_KV_SPAN("account", acc->id));
    return r;
}

/* What an earlier refresh brought and could not be stored comes before anything else. */
static int store_late(const struct ma_vault_env *env, const struct ma_account *unstored, struct ma_account *acc,
                      struct ma_vault_grant *ret)
{
    struct ma_account late = *unstored;
    int r = ma_lanes_write(env->app->lanes, store, &late);
    ret->verdict = MA_VAULT_UNAVAILABLE;
    if (r < 0 && r != MA_E_CONFLICT)
        return r;
    drop_unstored(env->app->refreshes, acc->id);
    return ma_account_get(env->reader, env->arena, acc->user_id, acc->id, acc);
}

/* The account as it is now, with what was not stored yet. */
static int load_alone(const struct ma_vault_env *env, struct ma_account *acc, struct ma_vault_grant *ret,
                      bool *ret_full)
{
    int r = ma_account_get(env->reader, env->arena, acc->user_id, acc->id, acc);
    const struct ma_account *unstored = get_unstored(env->app->refreshes, acc->id, ret_full);
    if (r == MA_OK && unstored)
        r = store_late(env, unstored, acc, ret);
    else if (r == MA_E_NOTFOUND && unstored)
        drop_unstored(env->app->refreshes, acc->id);
    return r;
}

/* With the account to itself: what another thread stored a moment ago counts. */
static int refresh_alone(const struct ma_vault_env *env, const struct ma_state_connection *c, struct ma_account *acc,
                         struct ma_vault_grant *ret)
{
    bool full = false;
    int r = load_alone(env, acc, ret, &full);
    if (r == MA_E_NOTFOUND) {
        ret->verdict = MA_VAULT_NO_ACCOUNT;
        return MA_OK;
    }
    if (r < 0)
        return r;
    ret->verdict = MA_VAULT_RECONNECT;
    if (!is_usable(c, acc))
        return MA_OK;
    if (is_fresh(acc, env->now_ms))
        return hand_out(env, acc, ret);
    if (!acc->refresh_token.p)
        return MA_OK;
    if (acc->refresh_expires_at && acc->refresh_expires_at <= env->now_ms) { /* the provider said so; no need to ask */
        struct touch t = {acc, env->now_ms};
        int failed = ma_lanes_write(env->app->lanes, store_failure, &t);
        return failed == MA_E_CONFLICT ? MA_OK : failed;
    }
    ret->verdict = MA_VAULT_UNAVAILABLE;
    return full ? MA_OK : refresh(env, c, acc, ret);
}

/* After another thread's refresh: what is there counts until it lapses, however soon that is. */
static int take_theirs(const struct ma_vault_env *env, const struct ma_vault_ask *ask,
                       const struct ma_state_connection *c, struct ma_vault_grant *ret)
{
    struct ma_account acc;
    int64_t now = env->app->clock->wall_ms(env->app->clock);
    int r = pick(env, ask, c, &acc, &ret->verdict);
    if (r < 0 || ret->verdict != MA_VAULT_OK)
        return r;
    ret->account = acc.id;
    bool lives = acc.access_token.p && acc.access_expires_at > now;
    ret->verdict = MA_VAULT_UNAVAILABLE; /* the refresh that was waited for brought nothing */
    return lives || is_fresh(&acc, env->now_ms) ? hand_out(env, &acc, ret) : MA_OK;
}

int ma_vault_access_token(const struct ma_vault_env *env, const struct ma_vault_ask *ask, struct ma_vault_grant *ret)
{
    const struct ma_state_connection *c = ma_state_connection(env->state, ask->connection);
    struct ma_account acc;
    *ret = (struct ma_vault_grant){.verdict = MA_VAULT_NO_ACCOUNT, .expires_in_s = -1};
    if (!c || c->database || !c->connected_accounts)
        return MA_OK;
    int r = pick(env, ask, c, &acc, &ret->verdict);
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
    return take_theirs(env, ask, c, ret);
}

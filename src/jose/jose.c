/* SPDX-License-Identifier: Apache-2.0
 * The module's object: issuers as configured, the own ring, background threads, and the one
 * question everybody asks: is this token good?
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/jsonw.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_S 1 /* seconds between two rounds of the background threads */
#define KEYS_TEXT_MAX 65536u

/* --- snapshots --- */

void ma_view_unref(struct ma_view *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; v->v && i < v->n; i++)
        ma_issuer_unref(v->v[i]);
    for (size_t i = 0; v->iss && v->aud && i < v->n_domains; i++) {
        free(v->iss[i]);
        free(v->aud[i]);
    }
    free(v->iss);
    free(v->aud);
    free(v->v);
    free(v);
}

void ma_view_unref_p(struct ma_view **v)
{
    ma_view_unref(*v);
    *v = NULL;
}

struct ma_view *ma_jose_view(struct ma_jose *j)
{
    (void)pthread_mutex_lock(&j->lock);
    struct ma_view *v = j->view;
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&j->lock);
    return v;
}

struct ma_ring *ma_jose_ring(struct ma_jose *j)
{
    (void)pthread_mutex_lock(&j->lock);
    struct ma_ring *r = ma_ring_ref(j->ring);
    (void)pthread_mutex_unlock(&j->lock);
    return r;
}

uint64_t ma_jose_epoch(const struct ma_jose *j)
{
    return atomic_load_explicit(&j->epoch, memory_order_relaxed);
}

static void bump(struct ma_jose *j)
{
    atomic_fetch_add_explicit(&j->epoch, 1, memory_order_release);
}

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 1;
    char *s = malloc(n);
    if (s)
        (void)snprintf(s, n, "%s%s", a, b);
    return s;
}

static int add_domains(struct ma_view *v, const struct ma_conf *conf)
{
    v->n_domains = 1 + conf->custom_domains.n;
    v->iss = calloc(v->n_domains, sizeof(*v->iss));
    v->aud = calloc(v->n_domains, sizeof(*v->aud));
    if (!v->iss || !v->aud)
        return MA_E_NOMEM;
    for (size_t d = 0; d < v->n_domains; d++) {
        const char *origin = d ? conf->custom_domains.v[d - 1] : conf->base_url;
        v->iss[d] = join(origin, "/");
        v->aud[d] = join(origin, "/me/");
        if (!v->iss[d] || !v->aud[d])
            return MA_E_NOMEM;
    }
    return MA_OK;
}

static bool same_source(const struct ma_issuer *i, const struct ma_conf_issuer *c)
{
    return strcmp(i->url, c->url) == 0 && strcmp(i->jwks_uri, c->jwks_uri) == 0;
}

static bool same_rules(const struct ma_issuer *i, const struct ma_conf_issuer *c)
{
    return strcmp(i->audience, c->audience) == 0 && i->algorithms == c->algorithms && i->provision == c->provision;
}

static struct ma_issuer *find_source(const struct ma_view *old, const struct ma_conf_issuer *c)
{
    for (size_t i = 1; old && i < old->n; i++) {
        if (same_source(old->v[i], c))
            return old->v[i];
    }
    return NULL;
}

static int add_issuer(struct ma_view *v, const struct ma_view *old, const struct ma_conf_issuer *c)
{
    struct ma_issuer *known = find_source(old, c);
    if (known && same_rules(known, c)) {
        v->v[v->n++] = ma_issuer_ref(known);
        return MA_OK;
    }
    int r = ma_issuer_new(c, &v->v[v->n]);
    if (r < 0)
        return r;
    if (known)
        ma_issuer_inherit(v->v[v->n], known);
    v->n++;
    return MA_OK;
}

/* Issuers that are as before keep their object, and with it keys and throttles. */
static int make_view(const struct ma_conf *conf, struct ma_view *old, struct ma_view **ret)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = calloc(1, sizeof(*v));
    if (!v)
        return MA_E_NOMEM;
    atomic_init(&v->refs, 1);
    v->own = conf->token_service;
    v->policy = (struct ma_net_policy){conf->network.allow_private, conf->network.allow_http_loopback};
    v->v = calloc(1 + conf->n_issuers, sizeof(struct ma_issuer *));
    if (!v->v)
        return MA_E_NOMEM;
    int r = add_domains(v, conf);
    if (r == MA_OK && old)
        v->v[v->n++] = ma_issuer_ref(old->v[MA_ISSUER_OWN]);
    else if (r == MA_OK && (r = ma_issuer_new(NULL, &v->v[0])) == MA_OK)
        v->n = 1;
    for (size_t i = 0; r == MA_OK && i < conf->n_issuers; i++)
        r = add_issuer(v, old, &conf->issuers[i]);
    if (r < 0)
        return r;
    *ret = v;
    v = NULL;
    return MA_OK;
}

static bool same_view(const struct ma_view *a, const struct ma_view *b)
{
    if (a->own != b->own || a->n != b->n || a->n_domains != b->n_domains)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i] != b->v[i])
            return false;
    }
    for (size_t d = 0; d < a->n_domains; d++) {
        if (strcmp(a->iss[d], b->iss[d]) != 0)
            return false;
    }
    return true;
}

/* Reads the `file:` issuers; all of them, and reports the first that fails. */
static int read_files(struct ma_jose *j, const struct ma_view *v, char why[256])
{
    char text[256];
    int first = MA_OK;
    for (size_t i = 1; i < v->n; i++) {
        if (v->v[i]->source != MA_SRC_FILE)
            continue;
        int r = ma_issuer_fetch(j, v->v[i], NULL, &v->policy, MA_FETCH_PLAIN, text);
        if (r == MA_OK || first < 0)
            continue;
        first = r;
        (void)snprintf(why, 256, "issuer %.60s: %.180s", v->v[i]->url, text);
    }
    return first;
}

/* --- the own ring; call with ring_lock held --- */

static size_t count_retired(const struct ma_jwks *s, int64_t now_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->v[i].retires_ms != 0 && s->v[i].retires_ms <= now_ms;
    return n;
}

static void install_ring(struct ma_jose *j, struct ma_ring *ring, const struct ma_file_sig *sig)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    struct ma_issuer *own = v->v[MA_ISSUER_OWN];
    j->ring_sig = *sig;
    j->retired = count_retired(ring->jwks, j->clock->wall_ms(j->clock));
    (void)pthread_mutex_lock(&j->lock);
    struct ma_ring *old = j->ring;
    j->ring = ring;
    (void)pthread_mutex_unlock(&j->lock);
    (void)pthread_mutex_lock(&own->lock);
    ma_issuer_install(j, own, ma_jwks_ref(ring->jwks), MA_JWKS_AGE_MAX_S);
    (void)pthread_mutex_unlock(&own->lock);
    ma_ring_unref(old);
}

static int reread_locked(struct ma_jose *j)
{
    char why[256] = "";
    struct ma_ring *ring = NULL;
    struct ma_file_sig sig;
    MA_CLEANUP(ma_free_p) char *path = join(j->dir, "/signing.keys");
    if (!path)
        return MA_E_NOMEM;
    sig = ma_file_sig(path);
    if (ma_file_sig_same(&sig, &j->ring_sig))
        return MA_OK;
    j->ring_sig = sig; /* what cannot be read is not tried again until it changes */
    int r = ma_ring_load(j->dir, &ring, &sig, why);
    if (r == MA_OK)
        install_ring(j, ring, &sig);
    else
        ma_log(j->log, MA_LOG_WARN, "keys.unreadable", MA_KV_S("why", why));
    return r;
}

int ma_jose_reread(struct ma_jose *j)
{
    (void)pthread_mutex_lock(&j->ring_lock);
    int r = reread_locked(j);
    (void)pthread_mutex_unlock(&j->ring_lock);
    return r;
}

int ma_jose_rotate(struct ma_jose *j, enum ma_jws_alg alg, int64_t retire_after_s, char ret_kid[65])
{
    char why[256] = "";
    struct ma_ring *ring = NULL;
    struct ma_file_sig sig;
    (void)pthread_mutex_lock(&j->ring_lock);
    int r = ma_ring_rotate(j->dir, alg, j->clock->wall_ms(j->clock) / 1000, retire_after_s, &ring, &sig, why);
    if (r == MA_OK) {
        (void)snprintf(ret_kid, 65, "%.64s", ring->jwks->v[ring->n - 1].kid);
        install_ring(j, ring, &sig);
    } else {
        ma_log(j->log, MA_LOG_ERROR, "keys.rotate_failed", MA_KV_S("why", why));
    }
    (void)pthread_mutex_unlock(&j->ring_lock);
    return r;
}

int ma_jose_jwks(struct ma_jose *j, struct ma_arena *a, struct ma_span *ret)
{
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *ring = ma_jose_ring(j);
    return ma_jwks_write(ring->jwks, a, j->clock->wall_ms(j->clock), ret);
}

int ma_jose_keys(struct ma_jose *j, struct ma_arena *a, struct ma_span *ret)
{
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *ring = ma_jose_ring(j);
    int64_t now_ms = j->clock->wall_ms(j->clock);
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 512, KEYS_TEXT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_arr(&w);
    for (size_t i = 0; i < ring->n; i++) {
        const struct ma_ring_key *k = &ring->v[i];
        if (k->retires_s != 0 && k->retires_s * 1000 <= now_ms)
            continue;
        ma_jw_obj(&w);
        ma_jw_kcstr(&w, "kid", ring->jwks->v[i].kid);
        enum ma_jws_alg alg = ma_jwk_alg(&ring->jwks->v[i]);
        ma_jw_kcstr(&w, "alg", ma_jws_alg_name(alg));
        ma_jw_kcstr(&w, "state", ma_ring_signer(ring, alg) == &ring->jwks->v[i] ? "signing" : "verifying");
        ma_jw_kdate(&w, "created_at", k->created_s * 1000);
        ma_jw_key(&w, "retires_at");
        if (k->retires_s)
            ma_jw_date(&w, k->retires_s * 1000);
        else
            ma_jw_null(&w);
        ma_jw_obj_end(&w);
    }
    ma_jw_arr_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* --- life --- */

static int open_parts(struct ma_jose *j, const struct ma_conf *conf, char why[256])
{
    struct ma_ring *ring = NULL;
    struct ma_file_sig sig;
    int r = make_view(conf, NULL, &j->view);
    if (r == MA_OK)
        r = ma_ring_open(j->dir, j->clock->wall_ms(j->clock) / 1000, &ring, &sig, why);
    if (r < 0)
        return r;
    install_ring(j, ring, &sig);
    return read_files(j, j->view, why);
}

int ma_jose_open(const struct ma_conf *conf, const struct ma_clock *clock, const struct ma_rand *rand,
                 struct ma_log *log, struct ma_jose **ret, char why[256])
{
    struct ma_jose *j = calloc(1, sizeof(*j));
    (void)snprintf(why, 256, "out of memory");
    if (!j)
        return MA_E_NOMEM;
    j->clock = clock;
    j->rand = rand;
    j->log = log;
    atomic_init(&j->epoch, 1);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&j->stop_cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_mutex_init(&j->ring_lock, NULL);
    (void)pthread_mutex_init(&j->stop_lock, NULL);
    ma_provider_keys_init(&j->providers);
    j->dir = strdup(conf->key_directory);
    int r = j->dir ? open_parts(j, conf, why) : MA_E_NOMEM;
    if (r < 0) {
        ma_jose_close(j);
        return r;
    }
    why[0] = 0;
    *ret = j;
    return MA_OK;
}

void ma_jose_close(struct ma_jose *j)
{
    if (!j)
        return;
    ma_jose_stop(j);
    ma_view_unref(j->view);
    ma_ring_unref(j->ring);
    ma_provider_keys_clear(&j->providers);
    (void)pthread_mutex_destroy(&j->lock);
    (void)pthread_mutex_destroy(&j->ring_lock);
    (void)pthread_mutex_destroy(&j->stop_lock);
    (void)pthread_cond_destroy(&j->stop_cond);
    free(j->dir);
    free(j);
}

int ma_jose_reload(struct ma_jose *j, const struct ma_conf *conf, char why[256])
{
    struct ma_view *now = NULL;
    why[0] = 0;
    MA_CLEANUP(ma_view_unref_p) struct ma_view *old = ma_jose_view(j);
    int r = make_view(conf, old, &now);
    if (r < 0) {
        (void)snprintf(why, 256, "out of memory");
        return r;
    }
    MA_CLEANUP(ma_view_unref_p) struct ma_view *held = now;
    atomic_fetch_add_explicit(&held->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&j->lock);
    struct ma_view *swapped = j->view;
    j->view = now;
    (void)pthread_mutex_unlock(&j->lock);
    if (!same_view(swapped, held))
        bump(j);
    ma_view_unref(swapped);
    r = read_files(j, held, why);
    int own = ma_jose_reread(j);
    if (r == MA_OK && own < 0)
        (void)snprintf(why, 256, "the own key ring cannot be read");
    return r < 0 ? r : own;
}

/* --- background --- */

void ma_jose_watch(struct ma_jose *j)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    for (size_t i = 1; i < v->n; i++)
        ma_issuer_watch(j, v->v[i]);
    (void)pthread_mutex_lock(&j->ring_lock);
    (void)!reread_locked(j);
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *ring = ma_jose_ring(j);
    size_t retired = count_retired(ring->jwks, j->clock->wall_ms(j->clock));
    if (retired != j->retired)
        bump(j);
    j->retired = retired;
    (void)pthread_mutex_unlock(&j->ring_lock);
}

void ma_jose_refresh(struct ma_jose *j, struct ma_httpc *c)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    for (size_t i = 1; i < v->n; i++)
        ma_issuer_refresh(j, v->v[i], c, &v->policy);
}

/* False when it is time to go. */
static bool pause_tick(struct ma_jose *j)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TICK_S;
    (void)pthread_mutex_lock(&j->stop_lock);
    int rc = 0;
    while (!j->stopping && rc == 0)
        rc = pthread_cond_timedwait(&j->stop_cond, &j->stop_lock, &until);
    bool go_on = !j->stopping;
    (void)pthread_mutex_unlock(&j->stop_lock);
    return go_on;
}

static void *watcher_main(void *arg)
{
    struct ma_jose *j = arg;
    while (pause_tick(j))
        ma_jose_watch(j);
    return NULL;
}

/* Whom ma_jose_stop is to interrupt. */
static void lend_client(struct ma_jose *j, struct ma_httpc *c)
{
    (void)pthread_mutex_lock(&j->stop_lock);
    j->client = c;
    if (c && j->stopping)
        ma_httpc_cancel(c);
    (void)pthread_mutex_unlock(&j->stop_lock);
}

/* On a thread of its own, so that an unreachable provider does not delay the files. */
static void *refresher_main(void *arg)
{
    struct ma_jose *j = arg;
    struct ma_httpc *c = NULL;
    if (ma_httpc_new(&c) < 0) {
        ma_log(j->log, MA_LOG_ERROR, "jwks.no_client", MA_KV_S("why", "out of memory"));
        return NULL;
    }
    lend_client(j, c);
    do
        ma_jose_refresh(j, c);
    while (pause_tick(j));
    lend_client(j, NULL);
    ma_httpc_free(c);
    return NULL;
}

int ma_jose_start(struct ma_jose *j)
{
    if (j->started)
        return MA_E_CONFLICT;
    if (pthread_create(&j->watcher, NULL, watcher_main, j) != 0)
        return MA_E_NOMEM;
    if (pthread_create(&j->refresher, NULL, refresher_main, j) == 0) {
        j->started = true;
        return MA_OK;
    }
    (void)pthread_mutex_lock(&j->stop_lock);
    j->stopping = true;
    (void)pthread_cond_broadcast(&j->stop_cond);
    (void)pthread_mutex_unlock(&j->stop_lock);
    (void)pthread_join(j->watcher, NULL);
    j->stopping = false;
    return MA_E_NOMEM;
}

void ma_jose_stop(struct ma_jose *j)
{
    if (!j->started)
        return;
    (void)pthread_mutex_lock(&j->stop_lock);
    j->stopping = true;
    if (j->client)
        ma_httpc_cancel(j->client);
    (void)pthread_cond_broadcast(&j->stop_cond);
    (void)pthread_mutex_unlock(&j->stop_lock);
    (void)pthread_join(j->watcher, NULL);
    (void)pthread_join(j->refresher, NULL);
    j->started = j->stopping = false;
}

/* --- the question --- */

static enum ma_token_verdict from_jws(enum ma_jws_verdict v, const char **reason)
{
    switch (v) {
    case MA_JWS_GOOD:
        *reason = "";
        return MA_TOK_OK;
    case MA_JWS_WRONG_ALG:
        *reason = "the token's algorithm is not allowed for the key or the issuer";
        return MA_TOK_BAD;
    case MA_JWS_UNKNOWN_KID:
        *reason = "the token's key is not known";
        return MA_TOK_NEED_KEYS;
    case MA_JWS_UNCHECKED:
        *reason = MA_JWS_NOMEM;
        return MA_TOK_NOMEM;
    case MA_JWS_BAD_SIG:
    default:
        *reason = "the token's signature does not verify";
        return MA_TOK_BAD;
    }
}

static enum ma_token_verdict check_signature(struct ma_jose *j, struct ma_issuer *i, const struct ma_jws *jws,
                                             int64_t now_ms, const char **reason)
{
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *keys = ma_issuer_keys(i);
    enum ma_token_verdict v = MA_TOK_NEED_KEYS;
    *reason = "there are no keys of the token's issuer";
    if (keys) {
        enum ma_jws_verdict found = ma_jws_check(jws, keys, i->algorithms, now_ms);
        ma_jose_count(j->metrics, jws->alg, found);
        v = from_jws(found, reason);
    }
    return v == MA_TOK_NEED_KEYS ? ma_issuer_may_ask(j, i, keys) : v;
}

static enum ma_token_verdict verify_for(struct ma_jose *j, struct ma_arena *a, struct ma_span compact, int host_domain,
                                        const char *audience, int64_t now_ms, struct ma_token *ret,
                                        const char **ret_reason)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    struct ma_jws jws;
    *ret = (struct ma_token){0};
    /* Before any key is looked at: a set that changes meanwhile leaves an epoch that is already over. */
    ret->epoch = atomic_load_explicit(&j->epoch, memory_order_acquire);
    if (host_domain < 0 || (size_t)host_domain >= v->n_domains) {
        *ret_reason = "the request came to an unknown domain";
        return MA_TOK_BAD;
    }
    struct ma_expect expect = {v, host_domain, now_ms, audience};
    /* Claims first: only a token that would otherwise be good may cost a signature check or cause a fetch. */
    const char *problem = ma_jws_parse(a, compact, &jws);
    if (!problem)
        problem = ma_claims_check(a, jws.payload, &expect, ret);
    /* RFC 8725 §3.11: the own keys sign more than access tokens, and those always say what they are. */
    if (!problem && ret->issuer == MA_ISSUER_OWN && !jws.access)
        problem = "the token is of another type";
    if (problem) {
        *ret_reason = problem;
        return problem == MA_JWS_NOMEM ? MA_TOK_NOMEM : MA_TOK_BAD;
    }
    enum ma_token_verdict verdict = check_signature(j, v->v[ret->issuer], &jws, now_ms, ret_reason);
    if (verdict == MA_TOK_OK)
        ma_jws_remember(compact, &jws);
    return verdict;
}

enum ma_token_verdict ma_token_verify(struct ma_jose *j, struct ma_arena *a, struct ma_span compact, int host_domain,
                                      int64_t now_ms, struct ma_token *ret, const char **ret_reason)
{
    return verify_for(j, a, compact, host_domain, NULL, now_ms, ret, ret_reason);
}

enum ma_token_verdict ma_token_verify_for(struct ma_jose *j, struct ma_arena *a, struct ma_span compact,
                                          int host_domain, const char *audience, int64_t now_ms, struct ma_token *ret,
                                          const char **ret_reason)
{
    return verify_for(j, a, compact, host_domain, audience, now_ms, ret, ret_reason);
}

int ma_jose_fetch(struct ma_jose *j, struct ma_httpc *c, int issuer)
{
    char why[256];
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    if (issuer < 0 || (size_t)issuer >= v->n)
        return MA_E_NOTFOUND;
    return ma_issuer_fetch(j, v->v[issuer], c, &v->policy, MA_FETCH_FORCED, why);
}

bool ma_jose_is_own_audience(struct ma_jose *j, struct ma_span audience)
{
    MA_CLEANUP(ma_view_unref_p) struct ma_view *v = ma_jose_view(j);
    for (size_t i = 0; i < v->n_domains; i++)
        if (ma_span_eq_str(audience, v->aud[i]))
            return true;
    return false;
}

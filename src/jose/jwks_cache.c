/* SPDX-License-Identifier: Apache-2.0
 * Issuers and their cached key sets: where keys come from, when they are fetched again, who waits
 * for whom, and when an old set must go.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/jsonr.h"
#include "ma/heartbeat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FETCH_TIMEOUT_MS 5000L /* each of the one or two requests of a fetch */
#define FETCH_ARENA_MAX (4u << 20)
#define FILE_LOOKS 3 /* a change is read again that often: two writes may share a timestamp */
#define DISCOVERY_PATH "/.well-known/openid-configuration"

int ma_issuer_new(const struct ma_conf_issuer *c, struct ma_issuer **ret)
{
    static const struct ma_conf_issuer own = {"", "", "", UINT32_MAX, false};
    const struct ma_conf_issuer *from = c ? c : &own;
    struct ma_issuer *i = calloc(1, sizeof(*i));
    if (!i)
        return MA_E_NOMEM;
    atomic_init(&i->refs, 1);
    (void)pthread_mutex_init(&i->lock, NULL);
    (void)pthread_cond_init(&i->done, NULL);
    i->url = strdup(from->url);
    i->jwks_uri = strdup(from->jwks_uri);
    i->audience = strdup(from->audience);
    i->algorithms = from->algorithms;
    i->provision = from->provision;
    i->forced_ms = i->failed_ms = i->refresh_ms = INT64_MIN;
    i->stale_ms = INT64_MAX;
    i->forced_every_ms = MA_FORCED_REFRESH_MS;
    if (!i->url || !i->jwks_uri || !i->audience) {
        ma_issuer_unref(i);
        return MA_E_NOMEM;
    }
    i->source = !c ? MA_SRC_OWN : i->jwks_uri[0] ? MA_SRC_URL : MA_SRC_DISCOVERY;
    if (strncmp(i->jwks_uri, "file:", 5) == 0) {
        i->source = MA_SRC_FILE;
        i->path = i->jwks_uri + 5;
    }
    *ret = i;
    return MA_OK;
}

struct ma_issuer *ma_issuer_ref(struct ma_issuer *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void ma_issuer_unref(struct ma_issuer *i)
{
    if (!i || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
        return;
    ma_jwks_unref(i->keys);
    free(i->url);
    free(i->jwks_uri);
    free(i->audience);
    (void)pthread_cond_destroy(&i->done);
    (void)pthread_mutex_destroy(&i->lock);
    free(i);
}

void ma_issuer_unref_p(struct ma_issuer **i)
{
    ma_issuer_unref(*i);
    *i = NULL;
}

struct ma_jwks *ma_issuer_keys(struct ma_issuer *i)
{
    (void)pthread_mutex_lock(&i->lock);
    struct ma_jwks *s = i->keys ? ma_jwks_ref(i->keys) : NULL;
    (void)pthread_mutex_unlock(&i->lock);
    return s;
}

void ma_issuer_inherit(struct ma_issuer *to, struct ma_issuer *from)
{
    (void)pthread_mutex_lock(&from->lock);
    to->keys = from->keys ? ma_jwks_ref(from->keys) : NULL;
    to->refresh_ms = from->refresh_ms;
    to->stale_ms = from->stale_ms;
    to->sig = from->sig;
    to->loaded_ms = from->loaded_ms;
    to->age_ms = from->age_ms;
    to->fetched = from->fetched;
    to->failed = from->failed;
    (void)pthread_mutex_unlock(&from->lock);
}

static int64_t now_of(const struct ma_jose *j)
{
    return j->clock->mono_ms(j->clock);
}

/* Call with the lock held. */
static bool has_keys(const struct ma_issuer *i, int64_t now)
{
    return i->keys && now < i->stale_ms;
}

struct ma_jwks *ma_issuer_keys_unless_stale(struct ma_jose *j, struct ma_issuer *i)
{
    int64_t now = now_of(j);
    (void)pthread_mutex_lock(&i->lock);
    struct ma_jwks *s = has_keys(i, now) ? ma_jwks_ref(i->keys) : NULL;
    (void)pthread_mutex_unlock(&i->lock);
    return s;
}

void ma_issuer_install(struct ma_jose *j, struct ma_issuer *i, struct ma_jwks *set, int64_t max_age_s)
{
    struct ma_jwks *old = i->keys;
    int64_t age_s = max_age_s < 0 ? MA_JWKS_AGE_DEFAULT_S : max_age_s;
    if (age_s < MA_JWKS_AGE_MIN_S)
        age_s = MA_JWKS_AGE_MIN_S;
    if (age_s > MA_JWKS_AGE_MAX_S)
        age_s = MA_JWKS_AGE_MAX_S;
    int64_t age_ms = age_s * 1000;
    i->keys = set;
    i->loaded_ms = now_of(j);
    i->age_ms = age_ms;
    i->failures = 0;
    i->failed_ms = INT64_MIN;
    i->refresh_ms = now_of(j) + age_ms - age_ms / 10; /* before it lapses */
    bool network = i->source == MA_SRC_URL || i->source == MA_SRC_DISCOVERY;
    i->stale_ms = network ? now_of(j) + age_ms + MA_JWKS_STALE_MS : INT64_MAX;
    bool lost = !i->apart && ma_jwks_lost_any(old, set);
    /* After the swap: whoever read the epoch before this line may hold the old set, and its token dies with it. */
    if (lost)
        atomic_fetch_add_explicit(&j->epoch, 1, memory_order_release);
    if (!ma_jwks_same(old, set))
        ma_log(j->log, MA_LOG_INFO, "jwks.loaded", MA_KV_S("issuer", i->source == MA_SRC_OWN ? "own" : i->url),
               MA_KV_I("keys", set ? set->n : 0), MA_KV_I("lost", lost));
    ma_jwks_unref(old);
}

static bool within(int64_t then_ms, int64_t now_ms, int64_t span_ms)
{
    return then_ms != INT64_MIN && now_ms - then_ms < span_ms;
}

enum ma_token_verdict ma_issuer_may_ask(struct ma_jose *j, struct ma_issuer *i, const struct ma_jwks *used)
{
    int64_t now = now_of(j);
    enum ma_token_verdict v = MA_TOK_NEED_KEYS;
    (void)pthread_mutex_lock(&i->lock);
    /* A fetch under way, or one that ended since, may have brought the key: ask (and join) whatever the throttle. */
    if (!i->fetching && i->keys == used) {
        if (used && within(i->forced_ms, now, i->forced_every_ms))
            v = MA_TOK_BAD;
        else if (!used && within(i->failed_ms, now, MA_FIRST_FETCH_MS))
            v = MA_TOK_NO_KEYS;
    }
    (void)pthread_mutex_unlock(&i->lock);
    return v;
}

/* --- sources --- */

static int load_file(struct ma_issuer *i, struct ma_jwks **ret, char why[256])
{
    MA_CLEANUP(ma_buf_free) struct ma_buf b;
    struct stat st;
    ma_buf_init(&b, MA_JWKS_BYTES_MAX + 4096);
    MA_CLEANUP(ma_jose_fd_close_p) int fd = open(i->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? ma_jose_read_all(fd, &b) : MA_E_IO;
    if (r < 0) {
        (void)snprintf(why, 256, "%.200s: cannot be read", i->path);
        return r;
    }
    r = ma_jwks_parse(ma_buf_view(&b), ret);
    if (r < 0)
        (void)snprintf(why, 256, "%.200s: not a usable JWKS", i->path);
    return r;
}

static int get(struct ma_httpc *c, const struct ma_net_policy *policy, const char *url, struct ma_arena *a,
               struct ma_http_answer *ret, char why[256])
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    struct ma_http_call call = {.method = "GET",
                                .url = url,
                                .headers = headers,
                                .timeout_ms = FETCH_TIMEOUT_MS,
                                .response_max = MA_JWKS_BYTES_MAX,
                                .policy = *policy};
    int r = ma_httpc_call(c, &call, a, ret, why);
    if (r < 0 || ret->status == 200)
        return r;
    (void)snprintf(why, 256, "HTTP status %ld", ret->status);
    return MA_E_UPSTREAM;
}

struct discovery {
    struct ma_span issuer, jwks_uri;
};
static const struct ma_jfield DISCOVERY_FIELDS[] = {
    {.name = "issuer", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct discovery, issuer)},
    {.name = "jwks_uri",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct discovery, jwks_uri),
     .min = 1,
     .max = 2048},
};
static const struct ma_shape DISCOVERY_SHAPE = MA_SHAPE_OPEN(struct discovery, DISCOVERY_FIELDS);

static int parse_discovery(const struct ma_issuer *i, struct ma_arena *a, struct ma_span text, const char **ret,
                           char why[256])
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct discovery d = {{NULL, 0}, {NULL, 0}};
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(text, &doc);
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &DISCOVERY_SHAPE, &d, &errs);
    if (r < 0)
        (void)snprintf(why, 256, "malformed openid-configuration");
    /* OpenID Connect Discovery 1.0 §4.3: the issuer MUST be identical. */
    if (r == MA_OK && !ma_span_eq_str(d.issuer, i->url)) {
        (void)snprintf(why, 256, "openid-configuration names another issuer");
        r = MA_E_UPSTREAM;
    }
    *ret = (const char *)d.jwks_uri.p;
    return r;
}

static int discover(const struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy,
                    struct ma_arena *a, const char **ret, char why[256])
{
    struct ma_http_answer ans;
    size_t n = strlen(i->url);
    while (n && i->url[n - 1] == '/')
        n--;
    const char *url = ma_arena_printf(a, "%.*s" DISCOVERY_PATH, (int)n, i->url);
    if (!url)
        return MA_E_NOMEM;
    int r = get(c, policy, url, a, &ans, why);
    return r < 0 ? r : parse_discovery(i, a, ans.body, ret, why);
}

static int load_url(const struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy,
                    struct ma_jwks **ret, int64_t *max_age_s, char why[256])
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, FETCH_ARENA_MAX);
    const char *url = i->jwks_uri;
    struct ma_http_answer ans;
    if (!a)
        return MA_E_NOMEM;
    int r = i->source == MA_SRC_DISCOVERY ? discover(i, c, policy, a, &url, why) : MA_OK;
    if (r == MA_OK)
        r = get(c, policy, url, a, &ans, why);
    if (r < 0)
        return r;
    *max_age_s = ans.max_age_s;
    r = ma_jwks_parse(ans.body, ret);
    if (r < 0)
        (void)snprintf(why, 256, "not a usable JWKS");
    return r == MA_OK || r == MA_E_NOMEM ? r : MA_E_UPSTREAM;
}

static int load(struct ma_jose *j, struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy,
                struct ma_jwks **ret, int64_t *max_age_s, char why[256])
{
    switch (i->source) {
    case MA_SRC_OWN:
        return ma_jose_reread(j); /* installs by itself */
    case MA_SRC_FILE:
        return load_file(i, ret, why);
    case MA_SRC_URL:
    case MA_SRC_DISCOVERY:
    default:
        return c ? load_url(i, c, policy, ret, max_age_s, why) : MA_E_INVAL;
    }
}

/* --- single flight --- */

static int64_t backoff_ms(int failures)
{
    int64_t ms = MA_FIRST_FETCH_MS;
    for (int k = 1; k < failures && ms < MA_BACKOFF_MAX_MS; k++)
        ms *= 2;
    return ms < MA_BACKOFF_MAX_MS ? ms : MA_BACKOFF_MAX_MS;
}

static int wait_for_flight(struct ma_issuer *i)
{
    uint64_t round = i->round;
    ma_heartbeat_rest(); /* a transfer ends by its own time-outs */
    while (i->fetching && i->round == round)
        (void)pthread_cond_wait(&i->done, &i->lock);
    ma_heartbeat();
    return i->last_result;
}

static bool due(const struct ma_issuer *i, int64_t now)
{
    return !has_keys(i, now) || now >= i->refresh_ms;
}

/* What is due goes by refresh_ms, which moves with every failure, as long as there are keys to go on with. */
static bool throttled(const struct ma_issuer *i, enum ma_fetch how, int64_t now)
{
    if (how == MA_FETCH_PLAIN)
        return false;
    if (how == MA_FETCH_DUE)
        return !has_keys(i, now) && within(i->failed_ms, now, MA_FIRST_FETCH_MS);
    return i->keys ? within(i->forced_ms, now, i->forced_every_ms) : within(i->failed_ms, now, MA_FIRST_FETCH_MS);
}

static void record_failure(struct ma_jose *j, struct ma_issuer *i, enum ma_fetch how, int r, const char *why)
{
    i->failures++;
    i->failed++;
    i->refresh_ms = now_of(j) + backoff_ms(i->failures);
    if (how != MA_FETCH_PLAIN)
        i->failed_ms = now_of(j);
    ma_log(j->log, MA_LOG_WARN, "jwks.failed", MA_KV_S("issuer", i->source == MA_SRC_OWN ? "own" : i->url),
           MA_KV_S("error", ma_err_name(r)), MA_KV_S("why", why), MA_KV_I("keys_kept", i->keys ? i->keys->n : 0));
}

static void land(struct ma_jose *j, struct ma_issuer *i, struct ma_jwks *set, int64_t max_age_s, int r,
                 enum ma_fetch how, const char *why)
{
    (void)pthread_mutex_lock(&i->lock);
    if (r < 0)
        record_failure(j, i, how, r, why);
    else if (i->source != MA_SRC_OWN)
        ma_issuer_install(j, i, set, max_age_s);
    i->fetched += r == MA_OK;
    i->fetching = false;
    i->round++;
    i->last_result = r;
    (void)pthread_cond_broadcast(&i->done);
    (void)pthread_mutex_unlock(&i->lock);
}

/* MA_E_NEXT: the caller is the one to fetch. */
static int take_off(struct ma_jose *j, struct ma_issuer *i, enum ma_fetch how)
{
    int r = MA_E_NEXT;
    (void)pthread_mutex_lock(&i->lock);
    if (how == MA_FETCH_DUE && !due(i, now_of(j))) {
        r = MA_OK;
    } else if (i->fetching) {
        r = wait_for_flight(i);
    } else if (throttled(i, how, now_of(j))) {
        r = MA_E_BUSY;
    } else {
        i->fetching = true;
        if (how == MA_FETCH_FORCED)
            i->forced_ms = now_of(j);
    }
    (void)pthread_mutex_unlock(&i->lock);
    return r;
}

int ma_issuer_fetch(struct ma_jose *j, struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy,
                    enum ma_fetch how, char why[256])
{
    why[0] = 0;
    int r = take_off(j, i, how);
    if (r != MA_E_NEXT)
        return r;
    struct ma_jwks *set = NULL;
    int64_t max_age_s = -1;
    struct ma_file_sig sig = i->source == MA_SRC_FILE ? ma_file_sig(i->path) : (struct ma_file_sig){0};
    r = load(j, i, c, policy, &set, &max_age_s, why);
    if (i->source == MA_SRC_FILE) {
        (void)pthread_mutex_lock(&i->lock);
        i->sig = sig;
        (void)pthread_mutex_unlock(&i->lock);
    }
    land(j, i, set, max_age_s, r, how, why);
    return r;
}

void ma_issuer_watch(struct ma_jose *j, struct ma_issuer *i)
{
    char why[256];
    if (i->source != MA_SRC_FILE)
        return;
    struct ma_file_sig now = ma_file_sig(i->path);
    (void)pthread_mutex_lock(&i->lock);
    bool changed = !ma_file_sig_same(&now, &i->sig);
    bool look = changed || i->recheck > 0;
    if (changed)
        i->recheck = FILE_LOOKS;
    else if (look)
        i->recheck--;
    (void)pthread_mutex_unlock(&i->lock);
    if (look)
        (void)!ma_issuer_fetch(j, i, NULL, NULL, MA_FETCH_PLAIN, why);
}

void ma_issuer_refresh(struct ma_jose *j, struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy)
{
    char why[256];
    if (i->source != MA_SRC_URL && i->source != MA_SRC_DISCOVERY)
        return;
    int64_t now = now_of(j);
    (void)pthread_mutex_lock(&i->lock);
    bool due = now >= i->refresh_ms;
    (void)pthread_mutex_unlock(&i->lock);
    if (due)
        (void)!ma_issuer_fetch(j, i, c, policy, MA_FETCH_PLAIN, why);
    now = now_of(j);
    (void)pthread_mutex_lock(&i->lock);
    if (i->keys && now >= i->stale_ms) {
        int64_t retry = i->refresh_ms;
        ma_issuer_install(j, i, NULL, 0);
        i->refresh_ms = retry;
    }
    (void)pthread_mutex_unlock(&i->lock);
}

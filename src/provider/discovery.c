/* SPDX-License-Identifier: Apache-2.0
 * Discovery documents (OpenID Connect Discovery 1.0 §4, RFC 8414 §3): where they are, what is taken
 * from them, and a bounded memory of them in which each is fetched by one thread at a time.
 */
#include "ma/provider.h"
#include "int.h"
#include "ma/heartbeat.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define OPENID_PATH "/.well-known/openid-configuration"
#define RFC8414_PATH "/.well-known/oauth-authorization-server"
#define DOC_ARENA_FIRST 1024u
#define DOC_ARENA_MAX 65536u

/* What is known about one issuer. Stays in its place while pins > 0. */
struct slot {
    char *issuer; /* NULL: free */
    bool rfc8414;
    struct ma_discovered *doc; /* NULL: none yet */
    int64_t due_ms;            /* monotonic: until then neither the document nor the failure is questioned */
    int result;                /* of the last fetch */
    char why[256];
    bool fetching;
    uint64_t round; /* fetches that have ended */
    unsigned pins;  /* threads that fetch or wait */
    uint64_t used;  /* tick of the last use */
};

struct ma_providers {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    uint64_t tick;
    struct slot slots[MA_DISCOVERY_MAX];
};

int ma_providers_new(struct ma_providers **ret)
{
    struct ma_providers *p = calloc(1, sizeof(*p));
    *ret = p;
    if (!p)
        return MA_E_NOMEM;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->landed, NULL);
    return MA_OK;
}

static void slot_clear(struct slot *s)
{
    ma_discovered_unref(s->doc);
    free(s->issuer);
    *s = (struct slot){.issuer = NULL};
}

void ma_providers_free(struct ma_providers *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < MA_DISCOVERY_MAX; i++)
        slot_clear(&p->slots[i]);
    (void)pthread_cond_destroy(&p->landed);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* --- documents --- */

static struct ma_discovered *doc_ref(struct ma_discovered *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void ma_discovered_unref(struct ma_discovered *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    ma_arena_free(d->arena);
    free(d);
}

void ma_discovered_unref_p(struct ma_discovered **d)
{
    ma_discovered_unref(*d);
    *d = NULL;
}

static int doc_new(struct ma_discovered **ret)
{
    struct ma_discovered *d = calloc(1, sizeof(*d));
    if (!d)
        return MA_E_NOMEM;
    atomic_init(&d->refs, 1);
    d->arena = ma_arena_new(DOC_ARENA_FIRST, DOC_ARENA_MAX);
    if (!d->arena) {
        free(d);
        return MA_E_NOMEM;
    }
    *ret = d;
    return MA_OK;
}

struct doc_members {
    struct ma_span issuer, authorization, token, jwks, userinfo, revocation;
    bool iss_supported;
};
#define DOC_URL(member, text)                                                                                          \
    {                                                                                                                  \
        .name = (text), .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct doc_members, member)              \
    }
static const struct ma_jfield DOC_FIELDS[] = {
    {.name = "issuer", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct doc_members, issuer)},
    DOC_URL(authorization, "authorization_endpoint"),
    DOC_URL(token, "token_endpoint"),
    DOC_URL(jwks, "jwks_uri"),
    DOC_URL(userinfo, "userinfo_endpoint"),
    DOC_URL(revocation, "revocation_endpoint"),
    {.name = "authorization_response_iss_parameter_supported",
     .type = MA_F_BOOL,
     .flags = MA_NULLOK,
     .off = offsetof(struct doc_members, iss_supported)},
};
static const struct ma_shape DOC_SHAPE = MA_SHAPE_OPEN(struct doc_members, DOC_FIELDS);

/* The document's own copy of a URL; an empty one counts as absent. */
static int keep_url(struct ma_discovered *d, struct ma_span s, const char **ret)
{
    if (!s.n)
        return MA_OK;
    if (!ma_endpoint_ok(s))
        return MA_E_PARSE;
    *ret = ma_arena_strdup(d->arena, s);
    return *ret ? MA_OK : MA_E_NOMEM;
}

static int keep_urls(struct ma_discovered *d, const struct doc_members *m)
{
    int r = keep_url(d, m->authorization, &d->authorization_endpoint);
    if (r == MA_OK)
        r = keep_url(d, m->token, &d->token_endpoint);
    if (r == MA_OK)
        r = keep_url(d, m->jwks, &d->jwks_uri);
    if (r == MA_OK)
        r = keep_url(d, m->userinfo, &d->userinfo_endpoint);
    if (r == MA_OK)
        r = keep_url(d, m->revocation, &d->revocation_endpoint);
    return r;
}

static int parse(struct ma_arena *a, const char *issuer, struct ma_span text, struct ma_discovered **ret,
                 struct ma_provider_fault *fault)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    MA_CLEANUP(ma_discovered_unref_p) struct ma_discovered *d = NULL;
    struct doc_members m = {.iss_supported = false};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, a, &DOC_SHAPE, &m, NULL);
    /* OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3: MUST be identical. */
    if (r == MA_OK && !ma_span_eq_str(m.issuer, issuer))
        return ma_provider_fail(fault, MA_E_UPSTREAM, "discovery: the document names another issuer");
    if (r == MA_OK)
        r = doc_new(&d);
    if (r == MA_OK)
        r = keep_urls(d, &m);
    if (r == MA_E_NOMEM)
        return r;
    if (r < 0)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "discovery: malformed document");
    d->iss_supported = m.iss_supported;
    *ret = d;
    d = NULL;
    return MA_OK;
}

/* --- fetching --- */

/* The issuer without one slash at its end, and how much of it is scheme and host. */
static struct ma_span issuer_stem(const char *issuer, size_t *ret_host)
{
    struct ma_span s = ma_span_str(issuer);
    const char *host = strstr(issuer, "://");
    *ret_host = (size_t)(host - issuer) + 3 + strcspn(host + 3, "/");
    if (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

/* RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID Connect Discovery §4.1 behind it. */
static const char *well_known(struct ma_arena *a, const char *issuer, bool rfc8414)
{
    size_t host;
    struct ma_span s = issuer_stem(issuer, &host);
    if (!rfc8414)
        return ma_arena_printf(a, "%.*s" OPENID_PATH, (int)s.n, issuer);
    return ma_arena_printf(a, "%.*s" RFC8414_PATH "%.*s", (int)host, issuer, (int)(s.n - host), issuer + host);
}

/* *answered: something came back, so another place may be tried. */
static int fetch_from(const struct ma_provider_env *env, const char *issuer, bool rfc8414, struct ma_discovered **ret,
                      int64_t *max_age_s, bool *answered, struct ma_provider_fault *fault)
{
    struct ma_http_answer ans;
    const char *url = well_known(env->arena, issuer, rfc8414);
    *answered = false;
    if (!url)
        return MA_E_NOMEM;
    int r = ma_provider_get(env, url, "discovery", MA_SPAN_NULL, &ans, fault);
    if (r < 0)
        return r;
    *answered = true;
    *max_age_s = ans.max_age_s;
    if (ans.status != 200)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "discovery: HTTP status %ld", ans.status);
    return parse(env->arena, issuer, ans.body, ret, fault);
}

static int fetch(const struct ma_provider_env *env, const char *issuer, bool rfc8414, struct ma_discovered **ret,
                 int64_t *max_age_s, struct ma_provider_fault *fault)
{
    bool answered = false;
    int r = fetch_from(env, issuer, false, ret, max_age_s, &answered, fault);
    if (r == MA_E_UPSTREAM && answered && rfc8414)
        r = fetch_from(env, issuer, true, ret, max_age_s, &answered, fault);
    return r;
}

/* --- memory: all of it under the lock --- */

static struct slot *find_slot(struct ma_providers *c, const char *issuer, bool rfc8414)
{
    struct slot *oldest = NULL;
    for (size_t i = 0; i < MA_DISCOVERY_MAX; i++) {
        struct slot *s = &c->slots[i];
        if (s->issuer && s->rfc8414 == rfc8414 && strcmp(s->issuer, issuer) == 0)
            return s;
        if (!s->pins && (!oldest || s->used < oldest->used))
            oldest = s;
    }
    return oldest;
}

/* The issuer's place, made if need be at the cost of the one that was not used for longest. NULL: no memory, or every
 * place is being waited for. */
static struct slot *take_slot(struct ma_providers *c, const char *issuer, bool rfc8414)
{
    struct slot *s = find_slot(c, issuer, rfc8414);
    if (!s)
        return NULL;
    if (!s->issuer || s->rfc8414 != rfc8414 || strcmp(s->issuer, issuer) != 0) {
        slot_clear(s);
        s->issuer = strdup(issuer);
        s->rfc8414 = rfc8414;
        if (!s->issuer)
            return NULL;
    }
    s->used = ++c->tick;
    s->pins++;
    return s;
}

/* MA_E_NEXT: the caller is the one to fetch. An old document is good enough while another thread fetches. */
static int enter(struct ma_providers *c, struct slot *s, int64_t now_ms)
{
    if (s->fetching && !s->doc) {
        uint64_t round = s->round;
        ma_heartbeat_rest(); /* whoever fetches gives signs of its own */
        while (s->round == round)
            (void)pthread_cond_wait(&c->landed, &c->lock);
        ma_heartbeat();
        return s->doc ? MA_OK : s->result;
    }
    if (s->doc && (s->fetching || now_ms < s->due_ms))
        return MA_OK;
    if (!s->doc && s->result < 0 && now_ms < s->due_ms)
        return s->result;
    s->fetching = true;
    return MA_E_NEXT;
}

static int64_t age_ms(int64_t max_age_s)
{
    int64_t s = max_age_s < 0 ? MA_DISCOVERY_AGE_DEFAULT_S : max_age_s;
    s = s < MA_DISCOVERY_AGE_MIN_S ? MA_DISCOVERY_AGE_MIN_S : s;
    s = s > MA_DISCOVERY_AGE_MAX_S ? MA_DISCOVERY_AGE_MAX_S : s;
    return s * 1000;
}

/* The end of a fetch. Being short of memory is no news about the provider and not remembered. */
static int land(struct ma_providers *c, struct slot *s, struct ma_discovered *fresh, int r, int64_t max_age_s,
                int64_t now_ms, const struct ma_provider_fault *fault)
{
    s->result = r;
    (void)snprintf(s->why, sizeof(s->why), "%s", fault->why);
    if (r == MA_OK) {
        ma_discovered_unref(s->doc);
        s->doc = fresh;
        s->due_ms = now_ms + age_ms(max_age_s);
    } else {
        s->due_ms = r == MA_E_NOMEM ? now_ms : now_ms + (s->doc ? MA_DISCOVERY_STALE_MS : MA_DISCOVERY_FAILED_MS);
    }
    s->fetching = false;
    s->round++;
    (void)pthread_cond_broadcast(&c->landed);
    return s->doc ? MA_OK : r;
}

static int fetch_unlocked(const struct ma_provider_env *env, struct slot *s, const char *issuer, bool rfc8414,
                          struct ma_provider_fault *fault)
{
    struct ma_providers *c = env->cache;
    struct ma_discovered *fresh = NULL;
    int64_t max_age_s = -1;
    (void)pthread_mutex_unlock(&c->lock);
    int r = fetch(env, issuer, rfc8414, &fresh, &max_age_s, fault);
    if (r < 0)
        ma_log(env->log, MA_LOG_WARN, "provider.discovery_failed", MA_KV_S("issuer", issuer),
               MA_KV_S("error", ma_err_name(r)), MA_KV_S("why", fault->why));
    int64_t now_ms = env->clock->mono_ms(env->clock);
    (void)pthread_mutex_lock(&c->lock);
    return land(c, s, fresh, r, max_age_s, now_ms, fault);
}

/* RFC 8414 §2: a URL without query and fragment; without them the well-known path can be joined. */
static bool discoverable(const char *issuer)
{
    return ma_endpoint_ok(ma_span_str(issuer)) && !strchr(issuer, '?') && !strchr(issuer, '{');
}

int ma_discover(const struct ma_provider_env *env, const char *issuer, bool rfc8414, struct ma_discovered **ret,
                struct ma_provider_fault *fault)
{
    struct ma_providers *c = env->cache;
    if (!discoverable(issuer))
        return ma_provider_fail(fault, MA_E_INVAL, "discovery: not possible with this issuer");
    int64_t now_ms = env->clock->mono_ms(env->clock);
    (void)pthread_mutex_lock(&c->lock);
    struct slot *s = take_slot(c, issuer, rfc8414);
    int r = s ? enter(c, s, now_ms) : ma_provider_fail(fault, MA_E_UPSTREAM, "discovery: too many at once");
    if (s && r == MA_E_NEXT)
        r = fetch_unlocked(env, s, issuer, rfc8414, fault);
    if (s && r < 0)
        (void)snprintf(fault->why, sizeof(fault->why), "%s", s->why);
    if (s && r == MA_OK) {
        *ret = doc_ref(s->doc);
        fault->why[0] = '\0'; /* an old document serves although the fetch failed */
    }
    if (s)
        s->pins--;
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

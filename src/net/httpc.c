/* SPDX-License-Identifier: Apache-2.0
 * Outgoing HTTP on libcurl's easy interface, one handle (and its connections) per client.
 */
#include "ma/httpc.h"
#include "int.h"
#include "ma/buf.h"
#include "ma/codec.h"
#include "ma/heartbeat.h"
#include "ma/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define RESPONSE_MAX_DEFAULT 262144u /* bytes of a body */
#define HEADERS_MAX 65536u           /* bytes of all header lines */
#define MAX_AGE_MAX 31536000         /* seconds; RFC 9111 §1.2.2 lets a cache cap it */
#define CACHE_CONTROL "cache-control:"

int ma_httpc_global_init(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? MA_OK : MA_E_NOMEM;
}

int ma_httpc_new(struct ma_httpc **ret)
{
    struct ma_httpc *c = calloc(1, sizeof(*c));
    if (!c)
        return MA_E_NOMEM;
    c->h = curl_easy_init();
    c->mail = curl_easy_init();
    if (!c->h || !c->mail) {
        ma_httpc_free(c);
        return MA_E_NOMEM;
    }
    *ret = c;
    return MA_OK;
}

void ma_httpc_free(struct ma_httpc *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->h);
    curl_easy_cleanup(c->mail);
    free(c);
}

void ma_httpc_cancel(struct ma_httpc *c)
{
    atomic_store(&c->cancelled, true);
}

static int on_progress(void *clientp, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
    (void)dltotal;
    (void)dlnow;
    (void)ultotal;
    (void)ulnow;
    const struct ma_httpc *c = clientp;
    ma_heartbeat(); /* who waits for a provider lives; the time-outs end it */
    return atomic_load(&c->cancelled) ? 1 : 0;
}

bool ma_net_cancellable(CURL *h, struct ma_httpc *c)
{
    return curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_XFERINFODATA, c) == CURLE_OK;
}

struct transfer {
    struct ma_buf body;
    size_t header_bytes;
    int64_t max_age_s;
    bool too_large;
};

static void transfer_done(struct transfer *t)
{
    ma_buf_free(&t->body);
}

/* CURLOPT_MAXFILESIZE does nothing for a body of unknown length in this version: a short return stops it. */
static size_t on_body(char *p, size_t size, size_t n, void *userdata)
{
    struct transfer *t = userdata;
    (void)size; /* always 1 */
    ma_buf_put(&t->body, p, n);
    if (ma_buf_err(&t->body) == MA_OK)
        return n;
    t->too_large = ma_buf_err(&t->body) == MA_E_RANGE;
    return 0;
}

/* RFC 9111 §5.2.2.1: the max-age directive among others; -1 when it is not there. */
static int64_t parse_max_age(struct ma_span s)
{
    static const char name[] = "max-age=";
    while (s.n) {
        const uint8_t *comma = memchr(s.p, ',', s.n);
        struct ma_span d = ma_trim(comma ? ma_span_of(s.p, (size_t)(comma - s.p)) : s);
        s = comma ? ma_span_of(comma + 1, s.n - (size_t)(comma - s.p) - 1) : MA_SPAN_NULL;
        if (d.n < sizeof(name) || strncasecmp((const char *)d.p, name, sizeof(name) - 1) != 0)
            continue;
        int64_t v = 0;
        size_t i = sizeof(name) - 1;
        for (; i < d.n && d.p[i] >= '0' && d.p[i] <= '9'; i++)
            v = v > MAX_AGE_MAX ? v : v * 10 + (d.p[i] - '0');
        return i == d.n ? (v > MAX_AGE_MAX ? MAX_AGE_MAX : v) : -1;
    }
    return -1;
}

static size_t on_header(char *p, size_t size, size_t n, void *userdata)
{
    struct transfer *t = userdata;
    (void)size;
    t->header_bytes += n;
    if (t->header_bytes > HEADERS_MAX) {
        t->too_large = true;
        return 0;
    }
    size_t k = sizeof(CACHE_CONTROL) - 1;
    if (n > k && strncasecmp(p, CACHE_CONTROL, k) == 0) {
        struct ma_span v = ma_span_of(p + k, n - k);
        while (v.n && (v.p[v.n - 1] == '\r' || v.p[v.n - 1] == '\n'))
            v.n--;
        t->max_age_s = parse_max_age(v);
    }
    return n;
}

/* https, or http where the policy has it; a host; no user information. NULL: good, with the scheme in *plain. */
static const char *url_problem(const char *url, const struct ma_net_policy *p, bool *plain)
{
    if (!url || strnlen(url, MA_NET_URL_MAX + 1) > MA_NET_URL_MAX || ma_net_has_ctl(url))
        return "unusable URL";
    *plain = strncasecmp(url, "http://", 7) == 0;
    if (!*plain && strncasecmp(url, "https://", 8) != 0)
        return "only https is allowed";
    if (*plain && !p->allow_http_loopback)
        return "plain http is not allowed";
    const char *authority = url + (*plain ? 7 : 8);
    size_t n = strcspn(authority, "/?#");
    if (n == 0 || memchr(authority, '@', n))
        return "unusable URL";
    return NULL;
}

static void slist_free(struct curl_slist **l)
{
    curl_slist_free_all(*l);
}

static int add_header(struct curl_slist **l, const char *line)
{
    if (ma_net_has_ctl(line))
        return MA_E_INVAL;
    struct curl_slist *more = curl_slist_append(*l, line);
    if (!more)
        return MA_E_NOMEM;
    *l = more;
    return MA_OK;
}

static int make_headers(const struct ma_http_call *call, struct curl_slist **l)
{
    char trace[sizeof "traceparent: " + MA_TRACEPARENT_LEN] = "traceparent: ";
    int r = add_header(l, "Expect:"); /* no 100-continue round trip */
    if (r == MA_OK && ma_traceparent_write(ma_trace_current(), trace + strlen(trace)))
        r = add_header(l, trace);
    for (size_t i = 0; r == MA_OK && call->headers && call->headers[i]; i++)
        r = add_header(l, call->headers[i]);
    return r;
}

static bool set_method(CURL *h, const struct ma_http_call *call)
{
    bool post = strcmp(call->method, "POST") == 0;
    if (!post && call->body.n == 0 && strcmp(call->method, "GET") == 0)
        return curl_easy_setopt(h, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    if (call->body.n > INT32_MAX)
        return false;
    return curl_easy_setopt(h, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body.n ? (const char *)call->body.p : "") == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)call->body.n) == CURLE_OK &&
           (post || curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK);
}

static bool set_basic(CURL *h, const struct ma_http_call *call)
{
    if (!call->basic_user)
        return true;
    /* RFC 7617 §2: a user-id with a colon cannot be told from the password. */
    if (strchr(call->basic_user, ':'))
        return false;
    return curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_USERNAME, call->basic_user) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_PASSWORD, call->basic_password ? call->basic_password : "") == CURLE_OK;
}

void ma_httpc_limit(struct ma_httpc *c, int64_t call_max_ms)
{
    c->call_max_ms = call_max_ms;
}

static long time_of(const struct ma_httpc *c, const struct ma_http_call *call)
{
    long max = (long)c->call_max_ms;
    return max > 0 && (call->timeout_ms == 0 || call->timeout_ms > max) ? max : call->timeout_ms;
}

/* TLS agrees on the version (ALPN, RFC 7301); in the clear there is nothing to ask. */
static long version_of(const struct ma_http_call *call, const struct ma_guard *g)
{
    if (!call->http2)
        return CURL_HTTP_VERSION_1_1;
    return g->public_ok ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

static bool set_up(struct ma_httpc *c, const struct ma_http_call *call, struct ma_guard *g, struct transfer *t,
                   struct curl_slist *headers)
{
    CURL *h = c->h;
    return ma_net_common(h, g, g->public_ok ? "https" : "http", time_of(c, call)) && ma_net_cancellable(h, c) &&
           ma_net_trust(h, call->ca) && curl_easy_setopt(h, CURLOPT_HTTP_VERSION, version_of(call, g)) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_URL, call->url) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_USERAGENT, "myaccountd") == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->body.max) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HEADERDATA, t) == CURLE_OK && set_method(h, call) && set_basic(h, call);
}

static int explain(struct ma_httpc *c, CURLcode rc, const struct ma_guard *g, const struct transfer *t, char why[256])
{
    if (t->too_large || rc == CURLE_FILESIZE_EXCEEDED) {
        (void)snprintf(why, 256, "the answer is too large");
        return MA_E_RANGE;
    }
    if (rc == CURLE_OPERATION_TIMEDOUT) {
        (void)snprintf(why, 256, "timed out");
        return MA_E_TIMEOUT;
    }
    if (rc == CURLE_OUT_OF_MEMORY || ma_buf_err(&t->body) == MA_E_NOMEM) {
        (void)snprintf(why, 256, "out of memory");
        return MA_E_NOMEM;
    }
    if (g->refused && !g->seen_loopback && !g->seen_elsewhere)
        (void)snprintf(why, 256, "address %s is not allowed", g->last);
    else
        (void)snprintf(why, 256, "%.250s", c->error[0] ? c->error : curl_easy_strerror(rc));
    return MA_E_UPSTREAM;
}

static bool version_ok(CURL *h, const struct ma_http_call *call)
{
    long version = 0;
    return !call->http2 || (curl_easy_getinfo(h, CURLINFO_HTTP_VERSION, &version) == CURLE_OK &&
                            version == (long)CURL_HTTP_VERSION_2_0);
}

static int take_answer(CURL *h, const struct transfer *t, struct ma_arena *a, struct ma_http_answer *ret)
{
    char *type = NULL;
    curl_off_t retry = 0;
    *ret = (struct ma_http_answer){.max_age_s = t->max_age_s};
    (void)curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &ret->status);
    if (curl_easy_getinfo(h, CURLINFO_RETRY_AFTER, &retry) == CURLE_OK && retry > 0)
        ret->retry_after_s = retry < MAX_AGE_MAX ? retry : MAX_AGE_MAX;
    (void)curl_easy_getinfo(h, CURLINFO_CONTENT_TYPE, &type);
    ret->body = ma_arena_dup(a, ma_buf_view(&t->body));
    ret->content_type = ma_arena_dup(a, ma_span_str(type));
    return ret->body.p && ret->content_type.p ? MA_OK : MA_E_NOMEM;
}

/* The guard is not asked about a connection that is used again, so one made under another policy must go. */
static int same_policy(struct ma_httpc *c, const struct ma_net_policy *p)
{
    if (c->policy.allow_private == p->allow_private && c->policy.allow_http_loopback == p->allow_http_loopback)
        return MA_OK;
    CURL *fresh = curl_easy_init();
    if (!fresh)
        return MA_E_NOMEM;
    curl_easy_cleanup(c->h);
    c->h = fresh;
    c->policy = *p;
    return MA_OK;
}

int ma_httpc_call(struct ma_httpc *c, const struct ma_http_call *call, struct ma_arena *a, struct ma_http_answer *ret,
                  char why[256])
{
    bool plain = false;
    why[0] = 0;
    const char *problem = url_problem(call->url, &call->policy, &plain);
    if (problem) {
        (void)snprintf(why, 256, "%s", problem);
        return MA_E_UPSTREAM;
    }
    struct ma_guard g;
    ma_guard_init(&g, &call->policy, plain);
    MA_CLEANUP(transfer_done) struct transfer t = {.max_age_s = -1};
    ma_buf_init(&t.body, call->response_max ? call->response_max : RESPONSE_MAX_DEFAULT);
    MA_CLEANUP(slist_free) struct curl_slist *headers = NULL;
    int r = make_headers(call, &headers);
    if (r == MA_OK)
        r = same_policy(c, &call->policy);
    if (r < 0) {
        (void)snprintf(why, 256, "%s", r == MA_E_INVAL ? "unusable header" : "out of memory");
        return r;
    }
    c->error[0] = 0;
    if (set_up(c, call, &g, &t, headers)) {
        CURLcode rc = curl_easy_perform(c->h);
        r = rc == CURLE_OK ? take_answer(c->h, &t, a, ret) : explain(c, rc, &g, &t, why);
        if (r == MA_OK && !version_ok(c->h, call)) {
            (void)snprintf(why, 256, "the server does not speak HTTP/2");
            r = MA_E_UPSTREAM;
        }
    } else {
        (void)snprintf(why, 256, "unusable request");
        r = MA_E_INVAL;
    }
    curl_easy_reset(c->h); /* keeps the connections, forgets pointers to this frame and credentials */
    return r;
}

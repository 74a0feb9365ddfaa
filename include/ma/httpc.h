/* SPDX-License-Identifier: Apache-2.0
 * Outgoing HTTP and SMTP with one policy: https (http on loopback when allowed), no redirects, no
 * proxy, address filter at the socket, bounded size and time. The only user of libcurl.
 * A call made for a request that is part of a trace passes the trace on (traceparent).
 * A client belongs to one thread. Blocking: network lane, JWKS and courier threads only.
 */
#ifndef MA_HTTPC_H
#define MA_HTTPC_H

#include "ma/arena.h"

struct ma_net_policy {
    bool allow_private;       /* private addresses may be reached */
    bool allow_http_loopback; /* http:// to loopback */
};

MA_MUST_USE int ma_httpc_global_init(void); /* once, before threads */

struct ma_httpc;
MA_MUST_USE int ma_httpc_new(struct ma_httpc **ret);
void ma_httpc_free(struct ma_httpc *c);
/* No later call takes longer, whatever it asks for; 0: as it asks. */
void ma_httpc_limit(struct ma_httpc *c, int64_t call_max_ms);
/* Ends the call in flight (MA_E_UPSTREAM, within about a second) and every later one at once. The only function
 * that another thread may call. */
void ma_httpc_cancel(struct ma_httpc *c);

struct ma_http_call {
    const char *method; /* "GET", "POST" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    struct ma_span body;
    const char *basic_user, *basic_password; /* HTTP Basic; NULL: none */
    bool http2;                              /* HTTP/2 (RFC 9113) and nothing else; plain http by prior knowledge */
    struct ma_span ca;                       /* PEM of authorities trusted beside the system's; empty: none */
    long timeout_ms;                         /* total; 0: 10,000 */
    size_t response_max;                     /* bytes; 0: 256 KiB */
    struct ma_net_policy policy;
};
struct ma_http_answer {
    long status;
    struct ma_span body;         /* arena */
    struct ma_span content_type; /* arena; empty when absent */
    int64_t max_age_s;           /* Cache-Control max-age; -1 when absent */
    int64_t retry_after_s;       /* Retry-After (RFC 9110 §10.2.3), a date as seconds from now; 0 when absent */
};
/* MA_OK for any HTTP status; MA_E_UPSTREAM (unreachable, TLS, refused by policy), MA_E_TIMEOUT,
 * MA_E_RANGE (too large). `why` is for the log: never contains the body or credentials. */
MA_MUST_USE int ma_httpc_call(struct ma_httpc *c, const struct ma_http_call *call, struct ma_arena *a,
                              struct ma_http_answer *ret, char why[256]);

struct ma_mail {
    const char *url;      /* smtp://[user@]host:port or smtps:// */
    const char *password; /* NULL or "": none */
    const char *from, *to;
    struct ma_span ca;      /* as in ma_http_call */
    struct ma_span message; /* RFC 5322, CRLF lines */
    long timeout_ms;
    struct ma_net_policy policy; /* mail relays are operator-named: private and loopback are always allowed */
};
/* MA_OK, MA_E_UPSTREAM (try again), MA_E_INVAL (refused for good: a 5xx reply), MA_E_TIMEOUT.
 * smtp:// uses STARTTLS when the server offers it; credentials never go over a clear connection
 * except to loopback. */
MA_MUST_USE int ma_httpc_mail(struct ma_httpc *c, const struct ma_mail *m, char why[256]);

#endif

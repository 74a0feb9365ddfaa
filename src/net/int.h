/* SPDX-License-Identifier: Apache-2.0
 * Private to the net module: address classes, the socket guard and the shared curl set-up.
 */
#ifndef MA_NET_INT_H
#define MA_NET_INT_H

#include "ma/httpc.h"
#include "ma/netaddr.h"
#include <curl/curl.h>
#include <stdatomic.h>

/* What an address is, judged by the IANA special-purpose registries. */
enum ma_addr_class {
    MA_ADDR_PUBLIC,   /* globally reachable unicast */
    MA_ADDR_LOOPBACK, /* 127.0.0.0/8, ::1 */
    MA_ADDR_PRIVATE,  /* RFC 1918, RFC 6598 shared space, RFC 4193 unique local */
    MA_ADDR_REFUSED   /* everything else: link-local, multicast, documentation, reserved, … */
};
enum ma_addr_class ma_addr_classify(const struct ma_addr *a);

/* Which addresses a connection may go to, and what the callback saw. */
struct ma_guard {
    bool public_ok, private_ok, loopback_ok;
    bool refused;        /* an address was turned down */
    bool seen_loopback;  /* a socket to a loopback address was opened */
    bool seen_elsewhere; /* a socket to any other address was opened */
    char last[MA_ADDR_TEXT];
};
/* The rules for a scheme: https (or mail) to public addresses and, when allowed, private and
 * loopback ones; plain http to loopback only. */
void ma_guard_init(struct ma_guard *g, const struct ma_net_policy *p, bool plain_http);
bool ma_guard_allows(const struct ma_guard *g, const struct ma_addr *a);
/* CURLOPT_OPENSOCKETFUNCTION; clientp is a struct ma_guard. */
curl_socket_t ma_guard_open(void *clientp, curlsocktype purpose, struct curl_sockaddr *address);

struct ma_httpc {
    CURL *h;                     /* HTTP, with its connections */
    CURL *mail;                  /* SMTP: never shares a connection with HTTP */
    struct ma_net_policy policy; /* under which h's open connections were made */
    int64_t call_max_ms;         /* 0: none */
    char error[CURL_ERROR_SIZE];
    atomic_bool cancelled;
};

#define MA_NET_CONNECT_MS 5000L  /* longest wait for a connection */
#define MA_NET_TIMEOUT_MS 10000L /* default for a whole call */
#define MA_NET_URL_MAX 4096u     /* bytes of a URL */

struct ma_lopt {
    CURLoption opt;
    long v;
};
/* Sets long options; false when libcurl refuses one. */
bool ma_net_set(CURL *h, const struct ma_lopt *v, size_t n);
/* What every handle gets: guard, no proxy, no redirect, TLS rules, time limits, the one scheme. */
bool ma_net_common(CURL *h, struct ma_guard *g, const char *scheme, long timeout_ms);
/* Makes a transfer on h end soon after ma_httpc_cancel. */
bool ma_net_cancellable(CURL *h, struct ma_httpc *c);
/* Authorities beside the system's, PEM, borrowed until the handle is reset; empty: none. */
bool ma_net_trust(CURL *h, struct ma_span ca);
/* True when s holds a byte that could end or split a protocol line. */
bool ma_net_has_ctl(const char *s);

#endif

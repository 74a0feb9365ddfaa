/* SPDX-License-Identifier: Apache-2.0
 * The HTTP front end over libmicrohttpd: connections, framing checks, deadlines, routing.
 */
#ifndef MA_HTTP_H
#define MA_HTTP_H

#include "ma/ctx.h"

struct ma_http_server;
struct ma_tls;
struct ma_http_env {
    const struct ma_app *app;
    const char *listen; /* host:port, [v6]:port, unix:/path */
    struct ma_tls *tls; /* borrowed; NULL: plain HTTP */
    int fd;      /* a socket that listens already, taken over on success and failure; -1: make one for `listen` */
    int threads; /* 0: online CPUs */
    const struct ma_route *routes;
    size_t n_routes;
    size_t first_row; /* of these among the rows that ma_metrics_new was told */
};
/* Starts listening. `why` names the address and the fault. */
MA_MUST_USE int ma_http_start(const struct ma_http_env *env, struct ma_http_server **ret, char why[256]);
/* Stops accepting; requests in flight go on. */
void ma_http_quiesce(struct ma_http_server *s);
/* Waits until no request is in flight or the deadline passed. */
void ma_http_drain(struct ma_http_server *s, int64_t timeout_ms);
/* Ends it; every suspended request must have been finished. */
void ma_http_stop(struct ma_http_server *s);
/* New deadlines from a reloaded configuration. */
void ma_http_reload(struct ma_http_server *s, const struct ma_conf *conf);
const char *ma_http_address(const struct ma_http_server *s);
/* A lane finished with this context: hands it back to its HTTP thread. */
void ma_http_resume(struct ma_ctx *ctx);

/* --- pieces with tests of their own --- */

/* Splits and decodes the raw target into req: MA_OK, MA_E_PARSE (400), MA_E_RANGE (414). Only origin-form;
 * %00, %2F, %5C, dot segments and invalid UTF-8 are refused; one trailing slash is tolerated; segments that still hold
 * "%7C" after decoding are decoded once more. */
MA_MUST_USE int ma_target_parse(struct ma_arena *a, struct ma_span raw, struct ma_req *req);

/* Routes as a trie over segments. Fails (MA_E_INVAL) on duplicate or ambiguous rows, unknown scopes and public rows
 * without the explicit mark. Owned (ma_router_free). */
struct ma_router;
MA_MUST_USE int ma_router_new(const struct ma_route *routes, size_t n, struct ma_router **ret, char why[256]);
void ma_router_free(struct ma_router *r);
/* The row for verb and path, params filled; NULL when there is none: then *ret_allow is the bit set of verbs that the
 * path has (0: unknown path). */
const struct ma_route *ma_router_find(const struct ma_router *r, struct ma_req *req, unsigned *ret_allow);
/* "GET, HEAD, OPTIONS" for a verb set; arena. */
const char *ma_allow_text(struct ma_arena *a, unsigned allow);

/* Client address and public origin from the peer and the forwarding headers of trusted proxies (RFC 7239,
 * X-Forwarded-*). */
void ma_forwarded_apply(struct ma_ctx *ctx, const struct ma_addr *peer);

/* Keeps the x-request-id of a trusted proxy where it is safe to show, and joins the trace of a valid traceparent,
 * whoever sent it: it is nothing but random digits. Needs the headers and the target. */
void ma_correlate(struct ma_ctx *ctx, const struct ma_addr *peer);

/* CORS (Fetch standard; decided here: preflight by "known to any client", the request by its token's client). */
void ma_cors_preflight(struct ma_ctx *ctx, unsigned allow);
/* Before authentication: may this origin read errors? Sets ctx->cors_known. */
void ma_cors_begin(struct ma_ctx *ctx);
/* After authentication: MA_OK, or a 403 without CORS headers. */
MA_MUST_USE int ma_cors_check_client(struct ma_ctx *ctx, const struct ma_state_client *client);
/* Adds the CORS headers (and Vary: Origin) that the answer needs. */
void ma_cors_finish(struct ma_ctx *ctx);

/* One access line; batched. */
void ma_access_log(const struct ma_ctx *ctx);

#endif

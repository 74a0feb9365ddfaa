/* SPDX-License-Identifier: Apache-2.0
 * One request from its first byte to its last: what came in, who asked, what goes out, and the
 * lane it runs in. A context belongs to exactly one of {HTTP thread, lane queue, lane thread} at a
 * time; everything it points to dies with its arena.
 */
#ifndef MA_CTX_H
#define MA_CTX_H

#include <stdatomic.h>

#include "ma/arena.h"
#include "ma/conf.h"
#include "ma/db.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"
#include "ma/log.h"
#include "ma/metrics.h"
#include "ma/netaddr.h"
#include "ma/problem.h"
#include "ma/scope.h"
#include "ma/state.h"
#include "ma/trace.h"

struct ma_app;
struct ma_ctx;
struct ma_route;

enum ma_verb { MA_GET, MA_POST, MA_PATCH, MA_DELETE, MA_VERB__COUNT, MA_OPTIONS, MA_HEAD, MA_VERB_OTHER };

/* "GET"; "OTHER" for what has no name here. Static. */
const char *ma_verb_name(enum ma_verb verb);

enum ma_lane {
    MA_LANE_READ,  /* inline on the HTTP thread: no blocking call, no write, no hash */
    MA_LANE_WRITE, /* the one writer: group commit */
    MA_LANE_CPU,   /* password hashing */
    MA_LANE_NET,   /* anything that calls out */
    MA_LANE__COUNT
};

/* A step of a request's work. Returns MA_OK (the answer is in ctx->resp), MA_E_PROBLEM (an error
 * answer is), MA_E_NEXT (ma_next was called), or another error (answered 500/503 by the dispatcher). */
typedef int (*ma_step)(struct ma_ctx *);

/* The bucket class of a route. */
enum ma_rate_class { MA_RATE_NONE, MA_RATE_READ, MA_RATE_WRITE };

/* What errors of a route look like, and how its body is read. */
enum ma_route_style {
    MA_STYLE_API,   /* the error object of /me/v1; bodies are application/json */
    MA_STYLE_OAUTH, /* {"error","error_description"} (RFC 6749 §5.2); the operation reads the body itself */
    MA_STYLE_PAGE,  /* a page for a person; likewise */
    MA_STYLE_DEVICE /* {"statusCode","error","message","errorCode"}; bodies are application/json */
};

struct ma_route {
    enum ma_verb verb;
    const char *path; /* "/me/v1/authentication-methods/{id}" */
    const char *op;   /* operationId: logs, audit, contract test */
    ma_scopes scopes; /* MA_PUBLIC must be written explicitly */
    enum ma_lane lane;
    uint32_t body_max; /* 0: the operation takes no body (one that is sent is ignored up to 4 KiB) */
    enum ma_rate_class rate;
    ma_step prepare; /* inline, before fn: decode and validate; NULL: nothing. May choose another way with ma_next */
    ma_step fn;      /* runs in lane */
    enum ma_route_style style;
};

#define MA_TARGET_MAX 8192 /* bytes of path and query */
#define MA_SEGMENTS_MAX 12
#define MA_QUERY_MAX 32 /* pairs */
#define MA_PARAMS_MAX 2
#define MA_IGNORED_BODY_MAX 4096

struct ma_pair {
    struct ma_span name, value;
};

struct ma_req {
    enum ma_verb verb;
    bool head;                                /* HEAD: run as GET, no body */
    struct ma_span target;                    /* raw, arena */
    struct ma_span path;                      /* raw path without query, part of target */
    struct ma_span segments[MA_SEGMENTS_MAX]; /* decoded */
    size_t n_segments;
    struct ma_pair query[MA_QUERY_MAX]; /* decoded */
    size_t n_query;
    struct ma_span params[MA_PARAMS_MAX]; /* route parameters in order */
    size_t n_params;
    struct ma_span authorization, dpop, content_type, origin, host, user_agent, if_none_match, cookie;
    struct ma_span accept_encoding;
    struct ma_span forwarded, x_forwarded_for, x_forwarded_proto, x_forwarded_host;
    struct ma_span auth0_forwarded_for; /* end user's address that a client's own server names */
    struct ma_span x_request_id, traceparent;
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool has_body; /* Content-Length > 0 or chunked */
    size_t body_received;
    struct ma_buf body;
    bool body_overflow;
    struct ma_addr client; /* after trusted proxies */
    int domain;            /* public origin of the request: 0 base_url, 1+i custom_domains[i] */
};

struct ma_header {
    const char *name, *value;
};
#define MA_RESP_HEADERS 24
struct ma_resp {
    int status;
    const char *content_type; /* NULL: no body */
    struct ma_header headers[MA_RESP_HEADERS];
    size_t n_headers;
    struct ma_buf body;
    size_t large; /* room that was taken for a body outside the arena; 0: it is in the arena */
    bool close;
    bool incomplete; /* a header is missing for want of room: this answer may not be sent */
};

/* The authenticated caller. */
struct ma_principal {
    struct ma_span user_id, client_id;
    struct ma_span org_id, sid, jkt; /* of the token; p == NULL: it has none */
    struct ma_span jti;              /* of a token of the own issuer */
    ma_scopes token_scopes;
    int64_t auth_time_s; /* -1: none */
    bool amr_mfa;        /* amr shows a second factor */
    bool amr_passkey;    /* amr shows a user-verifying passkey ("phr") */
    bool client_credentials;
    bool revoked; /* the token was, before it expired */
    bool user_known, user_blocked, user_leaving, has_factor;
    bool has_database; /* the user has a database identity */
    ma_scopes rbac;
};

/* A counter's next step, once the transaction is committed. */
struct ma_count {
    enum ma_metric id;
    uint8_t a, b;
};
#define MA_CTX_COUNTS 4

struct ma_ctx {
    const struct ma_app *app;
    struct ma_conf_ref *conf_ref; /* keeps conf alive */
    const struct ma_conf *conf;
    struct ma_state *state;
    struct ma_log *log;
    uint64_t snapshot_commits; /* commits that the HTTP thread's snapshot is known to show */
    struct ma_db *db;          /* of whoever runs the step: reader inline and in CPU/NET, writer in WRITE */
    struct ma_arena *arena;
    const struct ma_route *route;
    struct ma_req req;
    struct ma_resp resp;
    struct ma_principal who;
    int64_t now_ms;     /* read once per request */
    int64_t started_us; /* monotonic, for the access line */
    int64_t queued_us;  /* time spent in queues */
    char request_id[MA_REQUEST_ID_MAX + 1];
    struct ma_trace trace; /* whom threads work for while they run a step of it */
    bool cors_known;       /* the Origin may read the answer */
    bool cors_public;      /* any may: it is the same for everybody */
    struct {
        bool set;
        int64_t limit, remaining, reset_s;
    } rate;               /* the x-ratelimit headers */
    bool counts_failures; /* the token service's: a failure of this request counts against its address */
    struct ma_json *json; /* parsed body; owned by the context */
    struct ma_verrs *errs;
    void *scratch;            /* what one step leaves for the next; arena */
    struct ma_span proof_jkt; /* key of the DPoP proof that came along, once it was verified */
    bool keys_tried;          /* the issuer's keys were fetched for this request already */

    /* lanes */
    ma_step step; /* what runs next */
    enum ma_lane step_lane;
    uint64_t net_key;     /* NET: whom it calls; only a few of one key run at a time. 0: no bound */
    bool net_provider;    /* NET: it calls an identity provider: these together leave some threads to the others */
    bool keep;            /* WRITE: commit although the answer is an error (attempt counters) */
    bool user_changed;    /* WRITE: what is remembered about the user is stale after the commit */
    bool wake_courier;    /* WRITE: a message joined the outbox */
    bool wake_clerk;      /* WRITE: a copy is to be made, or a user leaves */
    struct ma_span wakes; /* WRITE: parked requests that wait for this are to go on after the commit; p == NULL: none */
    struct {
        bool due, begun, over; /* it is to be parked; was before; has waited enough */
        struct ma_span key;    /* what it waits for */
        int64_t until_ms;      /* monotonic */
    } park;                    /* see ma/parking.h */
    struct {
        bool due;         /* WRITE: leave an audit row about a failure */
        const char *type; /* of that row; NULL: that of authentication methods */
        const char *operation, *method_type;
        struct ma_span method_id;
    } audit;
    struct ma_count counts[MA_CTX_COUNTS]; /* WRITE: what the commit makes true (ma_count_later) */
    size_t n_counts;
    struct ma_ctx *queue_next;
    int64_t queue_at_us;

    atomic_int returned; /* a lane gave it back: what the lane wrote is visible to whoever has seen this */

    /* HTTP thread only */
    void *connection; /* struct MHD_Connection */
    int phase;
    struct ma_ctx *free_next;
};

/* --- answering (src/http/answer.c) --- */

/* Records an error answer: the catalogue row, with a detail of its own when not NULL (arena or static).
 * Always returns MA_E_PROBLEM. */
int ma_problem(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail);
/* An answer in the style of devices, with a code of its own. Always returns MA_E_PROBLEM. */
int ma_problem_device(struct ma_ctx *ctx, int status, const char *code, const char *message);
/* A 400 validation error with everything collected in ctx->errs. */
int ma_problem_validation(struct ma_ctx *ctx);
/* A 400 validation error with one pointer. */
int ma_problem_at(struct ma_ctx *ctx, const char *pointer, const char *detail);
/* 429 with Retry-After in whole seconds, at least 1. */
int ma_problem_retry(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail, int64_t retry_after_s);
/* Adds a header; name is static, value arena or static. Too many headers or a NULL value are dropped with a log line.
 */
void ma_header(struct ma_ctx *ctx, const char *name, const char *value);
/* Starts a JSON answer: the writer appends to ctx->resp.body. */
void ma_reply_json(struct ma_ctx *ctx, int status, struct ma_jw *w);
/* The same with a body that is too large for an arena: of at most max bytes, wiped and released with the request.
 * MA_OK; or 503, MA_E_NOMEM when there is no room for it. */
MA_MUST_USE int ma_reply_json_large(struct ma_ctx *ctx, int status, struct ma_jw *w, size_t max);
/* Releases such a body; nothing otherwise. */
void ma_reply_release(struct ma_ctx *ctx);
/* Ends it: MA_OK, or MA_E_NOMEM when the body did not fit. */
MA_MUST_USE int ma_reply_end(struct ma_ctx *ctx);
/* An answer without body. */
int ma_reply_empty(struct ma_ctx *ctx, int status);

/* --- counting (src/http/count.c) --- */

/* WRITE: counts one when the step's changes are committed, and nothing when they are not. */
void ma_count_later(struct ma_ctx *ctx, enum ma_metric id, unsigned a, unsigned b);
/* The writer: the changes stand, or are gone. */
void ma_counts_settle(struct ma_ctx *ctx, bool committed);

/* The public origin of the request, "https://login.example.com". Borrowed from conf. */
const char *ma_ctx_origin(const struct ma_ctx *ctx);
/* Hands the request to another lane; returns MA_E_NEXT. */
int ma_next(struct ma_ctx *ctx, enum ma_lane lane, ma_step step);
/* The first value of a query parameter, or p == NULL. */
struct ma_span ma_query(const struct ma_ctx *ctx, const char *name);
/* Decodes the JSON body into the zeroed struct at out, or answers 400 (E_PROBLEM). */
MA_MUST_USE int ma_body(struct ma_ctx *ctx, const struct ma_shape *shape, void *out);

#endif

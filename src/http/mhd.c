/* SPDX-License-Identifier: Apache-2.0
 * The only file that speaks to libmicrohttpd: its callbacks turn bytes into a ma_ctx and a ma_ctx
 * into a response.
 */
#include "int.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ma/api.h"
#include "ma/app.h"
#include "ma/codec.h"
#include "ma/heartbeat.h"
#include "ma/lanes.h"
#include "ma/metrics.h"
#include "ma/parking.h"
#include "ma/tls.h"

/* A request line and a token of 8 KiB each, and 16 KiB for the rest, or for the longest Location of an answer (a
 * client's state on its way back) beside an ordinary request: the library wipes all of it for every request. */
enum {
    CONNECTION_MEMORY = 32 * 1024,
    DRAIN_MAX = 64 * 1024,
    FREE_CONTEXTS_MAX = 256,
    ECHO_MAX = 256,
    SPARE_DESCRIPTORS = 128,
    ARGUMENTS_MAX = 2 * MA_QUERY_MAX, /* of a target: more cannot be answered as they should, see on_target */
    ARGUMENT_RECORD = 64              /* bytes that the library keeps of each, rounded up */
};

enum phase { PH_NEW, PH_BODY, PH_WAIT, PH_SENT };

/* What one HTTP thread owns: its read-only connection and contexts to use again. Opening a snapshot costs more than
 * a keyed read, so it stays open over requests until something was committed, or the timer ends it: an old snapshot
 * would keep the write-ahead log from being reset. */
struct ma_worker {
    struct ma_worker *next;
    struct ma_http_server *server;
    pthread_mutex_t lock; /* the thread's own while a request runs; otherwise the timer may end the snapshot */
    struct ma_db *reader;
    bool snapshot;
    uint64_t snapshot_commit; /* commits the snapshot is known to show */
    struct ma_ctx *free_list;
    size_t n_free;
    uint64_t request_no;
    char prefix[17];
};

struct ma_http_server {
    struct ma_http_env env;
    struct MHD_Daemon *daemon;
    struct ma_router *router;
    struct ma_deadlines *deadlines;
    pthread_mutex_t lock; /* guards workers */
    struct ma_worker *workers;
    int listen_fd;
    struct ma_listen_file listen_file;
    _Atomic int in_flight;
    char address[128];
};

static _Thread_local struct ma_worker *this_worker;

/* --- workers and contexts --- */

static struct ma_worker *worker_new(struct ma_http_server *s)
{
    struct ma_worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->server = s;
    char why[256];
    struct ma_conf_ref *conf = ma_app_conf(s->env.app);
    int r = ma_db_open(ma_conf_ref_get(conf)->database, MA_DB_READER, s->env.app->log, &w->reader, why);
    ma_conf_unref(conf);
    if (r == MA_OK)
        r = ma_heartbeat_join(s->env.app->heartbeats, "HTTP thread");
    if (r < 0 || ma_rand_chars(s->env.app->rand, "0123456789abcdef", w->prefix, 16) < 0) {
        ma_log(s->env.app->log, MA_LOG_ERROR, "http.worker_failed", MA_KV_S("why", why));
        ma_db_close(w->reader);
        free(w);
        return NULL;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_mutex_lock(&s->lock);
    w->next = s->workers;
    s->workers = w;
    (void)pthread_mutex_unlock(&s->lock);
    return w;
}

static struct ma_worker *worker_get(struct ma_http_server *s)
{
    if (!this_worker || this_worker->server != s)
        this_worker = worker_new(s);
    return this_worker;
}

static void snapshot_end(struct ma_worker *w)
{
    if (w->snapshot)
        ma_db_read_end(w->reader);
    w->snapshot = false;
}

/* Everything that was acknowledged before this call is visible after it: the writer counts a commit before it
 * answers for it. */
static void snapshot_begin(struct ma_worker *w)
{
    uint64_t commits = ma_app_commits(w->server->env.app);
    if (w->snapshot && w->snapshot_commit == commits)
        return;
    snapshot_end(w);
    w->snapshot = ma_db_read_begin(w->reader) == MA_OK;
    w->snapshot_commit = commits;
}

static void on_tick(void *arg)
{
    struct ma_http_server *s = arg;
    ma_log_flush(s->env.app->log);
    ma_parking_tick(s->env.app->parking);
    ma_tls_remind(s->env.tls, s->env.app->clock->wall_ms(s->env.app->clock), s->env.app->log);
    (void)pthread_mutex_lock(&s->lock);
    for (struct ma_worker *w = s->workers; w; w = w->next) {
        if (pthread_mutex_trylock(&w->lock) != 0)
            continue; /* busy, hence not idle on an old snapshot */
        snapshot_end(w);
        (void)pthread_mutex_unlock(&w->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void ctx_free(struct ma_ctx *ctx)
{
    ma_arena_free(ctx->arena);
    free(ctx);
}

static void worker_free(struct ma_worker *w)
{
    while (w->free_list) {
        struct ma_ctx *ctx = w->free_list;
        w->free_list = ctx->free_next;
        ctx_free(ctx);
    }
    snapshot_end(w);
    ma_db_close(w->reader);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static struct ma_ctx *ctx_get(struct ma_worker *w)
{
    struct ma_ctx *ctx = w->free_list;
    struct ma_arena *arena;
    if (ctx) {
        w->free_list = ctx->free_next;
        w->n_free--;
        arena = ctx->arena;
    } else {
        ctx = malloc(sizeof *ctx);
        arena = ctx ? ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX) : NULL;
        if (!arena) {
            free(ctx);
            return NULL;
        }
    }
    memset(ctx, 0, sizeof *ctx);
    ctx->arena = arena;
    return ctx;
}

static void ctx_put(struct ma_ctx *ctx)
{
    ma_json_free_p(&ctx->json);
    ma_reply_release(ctx);
    ma_state_unref(ctx->state);
    ma_conf_unref(ctx->conf_ref);
    struct ma_worker *w = this_worker;
    if (!w || w->n_free >= FREE_CONTEXTS_MAX) {
        ctx_free(ctx);
        return;
    }
    ma_arena_reset(ctx->arena);
    ctx->free_next = w->free_list;
    w->free_list = ctx;
    w->n_free++;
}

static int ctx_begin(struct ma_http_server *s, struct ma_worker *w, struct ma_ctx *ctx)
{
    const struct ma_app *app = s->env.app;
    ctx->app = app;
    ctx->log = app->log;
    ctx->db = w->reader;
    ctx->conf_ref = ma_app_conf(app);
    ctx->conf = ma_conf_ref_get(ctx->conf_ref);
    ctx->state = ma_app_state(app);
    ctx->now_ms = app->clock->wall_ms(app->clock);
    ctx->started_us = ma_mono_us();
    ctx->req.content_length = -1;
    uint64_t no = w->request_no++;
    (void)memcpy(ctx->request_id, w->prefix, 16);
    for (int i = 31; i >= 16; i--, no >>= 4)
        ctx->request_id[i] = "0123456789abcdef"[no & 15];
    ctx->trace.request_id = ctx->request_id;
    return MA_OK;
}

/* --- responses --- */

static const char *text_int(struct ma_ctx *ctx, int64_t v)
{
    char tmp[24];
    size_t i = sizeof tmp;
    tmp[--i] = '\0';
    uint64_t u = v < 0 ? 0 : (uint64_t)v;
    do {
        tmp[--i] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    return ma_arena_strdup(ctx->arena, ma_span_of(tmp + i, sizeof tmp - 1 - i));
}

static bool has_header(const struct ma_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->resp.n_headers; i++)
        if (strcmp(ctx->resp.headers[i].name, name) == 0)
            return true;
    return false;
}

static void common_headers(struct ma_ctx *ctx)
{
    /* What is refused before its path is known has a target only. */
    struct ma_span path = ctx->req.path.n ? ctx->req.path : ctx->req.target;
    bool api = path.n >= 4 && memcmp(path.p, "/me/", 4) == 0;
    if (ctx->resp.content_type)
        ma_header(ctx, "Content-Type", ctx->resp.content_type);
    if (ctx->rate.set) {
        ma_header(ctx, "x-ratelimit-limit", text_int(ctx, ctx->rate.limit));
        ma_header(ctx, "x-ratelimit-remaining", text_int(ctx, ctx->rate.remaining));
        ma_header(ctx, "x-ratelimit-reset", text_int(ctx, ctx->rate.reset_s));
    }
    if (api && !has_header(ctx, "Cache-Control"))
        ma_header(ctx, "Cache-Control", "no-store");
    ma_header(ctx, "x-request-id", ctx->request_id);
    ma_cors_finish(ctx);
    if (this_worker->server->env.tls && ctx->conf->tls.hsts_max_age > 0) /* RFC 6797 section 7.1 */
        ma_header(ctx, "Strict-Transport-Security",
                  ma_arena_printf(ctx->arena, "max-age=%lld", (long long)ctx->conf->tls.hsts_max_age));
    if (ctx->resp.close)
        ma_header(ctx, "Connection", "close");
}

/* Before the answer leaves: who has received it finds it counted. */
static void count_answer(const struct ma_ctx *ctx)
{
    const struct ma_http_env *env = &this_worker->server->env;
    struct ma_metrics *m = ctx->app->metrics;
    size_t row = ctx->route ? env->first_row + (size_t)(ctx->route - env->routes) : MA_M_NO_ROW;
    unsigned op = ma_metrics_operation(m, row);
    ma_metrics_add(m, MA_M_REQUESTS, op, ma_metrics_status(ctx->resp.status), 1);
    ma_metrics_observe(m, MA_M_REQUEST_TIME, op, ma_mono_us() - ctx->started_us);
}

/* An answer without one of its headers could be kept by a cache or shown in a frame: then there is none, and the
 * connection ends. */
static bool add_headers(struct MHD_Response *response, const struct ma_ctx *ctx)
{
    for (size_t i = 0; i < ctx->resp.n_headers; i++) {
        const struct ma_header *h = &ctx->resp.headers[i];
        if (MHD_add_response_header(response, h->name, h->value) == MHD_YES)
            continue;
        ma_log(ctx->log, MA_LOG_ERROR, "response.header_refused", MA_KV_S("name", h->name));
        return false;
    }
    return !ctx->resp.incomplete;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct ma_ctx *ctx)
{
    common_headers(ctx);
    count_answer(ctx);
    struct ma_span body = ctx->resp.content_type ? ma_buf_view(&ctx->resp.body) : MA_SPAN_NULL;
    /* The API takes a non-const pointer but PERSISTENT memory is only read. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.n, ctx->resp.body.p ? (void *)ctx->resp.body.p : (void *)ctx, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    ctx->phase = PH_SENT;
    enum MHD_Result ok = MHD_NO;
    if (add_headers(response, ctx))
        ok = MHD_queue_response(connection, (unsigned)ctx->resp.status, response);
    MHD_destroy_response(response);
    return ok;
}

/* --- one request --- */

static struct ma_conn *conn_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void peer_address(struct MHD_Connection *connection, struct ma_addr *ret)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *ret = (struct ma_addr){.unix_peer = true};
    if (info && info->client_addr)
        ma_addr_from_sockaddr(info->client_addr, ret);
}

/* Its line in the log, and everything it held. */
static void ctx_end(struct ma_http_server *s, struct ma_ctx *ctx)
{
    if (ctx->phase != PH_SENT)
        ma_metrics_add(ctx->app->metrics, MA_M_ABORTED, 0, 0, 1);
    const struct ma_trace *before = ma_trace_enter(&ctx->trace);
    ma_heartbeat();
    ma_access_log(ctx);
    ma_heartbeat_rest();
    (void)ma_trace_enter(before);
    ctx_put(ctx);
    atomic_fetch_sub_explicit(&s->in_flight, 1, memory_order_release);
}

/* Whether the library can keep what it makes of the query in the connection's memory. */
static bool query_fits(const char *uri)
{
    const char *q = strchr(uri, '?');
    size_t arguments = 0;
    for (; q; q = strchr(q + 1, '&'))
        arguments++;
    return arguments <= ARGUMENTS_MAX &&
           (arguments == 0 || strlen(uri) + arguments * ARGUMENT_RECORD <= CONNECTION_MEMORY - 8 * 1024);
}

#define TOO_MANY                                                                                                       \
    "{\"type\":\"about:blank\",\"status\":400,\"title\":\"Bad Request\",\"detail\":\"Too many parameters\"}\n"

/* The library falls silent when it has no memory for the arguments of a query; it has not looked at them yet. Nothing
 * can be queued this early, so the answer goes to the socket as it stands, and the connection ends. */
static void cut_off(const struct ma_http_server *s, struct MHD_Connection *connection, struct ma_ctx *ctx)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 89\r\n\r\n" TOO_MANY;
    _Static_assert(sizeof TOO_MANY - 1 == 89, "the length that the header states");
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return;
    ctx->resp.status = 400;
    if (!s->env.tls) /* within TLS it would be no answer */
        (void)send(info->connect_fd, answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(info->connect_fd, SHUT_RDWR);
}

static void *on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct ma_http_server *s = cls;
    struct ma_conn *conn = conn_of(connection);
    struct ma_worker *w = conn ? worker_get(s) : NULL;
    ma_heartbeat_rest(); /* until the whole header is there */
    struct ma_ctx *ctx = w ? ctx_get(w) : NULL;
    if (!ctx)
        return NULL;
    (void)ctx_begin(s, w, ctx);
    atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_relaxed);
    ma_conn_hold(conn, ctx);
    peer_address(connection, &ctx->req.client);
    if (!query_fits(uri))
        cut_off(s, connection, ctx);
    ctx->req.target = ma_arena_dup(ctx->arena, ma_span_str(uri));
    return ctx;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_n, const char *value,
                                 size_t value_n)
{
    (void)kind;
    struct ma_screen *screen = cls;
    if (strlen(key) != key_n || (value && strlen(value) != value_n))
        screen->fault = "NUL in a header";
    screen->end = value ? value + value_n : key + key_n;
    ma_screen_header(screen, ma_span_of(key, key_n), ma_span_of(value ? value : "", value ? value_n : 0));
    return MHD_YES;
}

/* The library takes a line that begins with a colon for the end of the header, and what follows for the next request.
 * Then more than the ends of two lines stand between the last value and the end of what it took. */
static bool header_is_cut(struct MHD_Connection *connection, const char *method, const char *last)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info && last && (uintptr_t)method + info->header_size - (uintptr_t)last > strlen("\r\n\r\n");
}

/* A framing fault ends the connection: what follows on it cannot be trusted to begin where we think. */
static enum MHD_Result refuse(struct MHD_Connection *connection, struct ma_ctx *ctx, enum ma_problem_id id,
                              const char *detail)
{
    (void)ma_problem(ctx, id, detail);
    ctx->resp.close = true;
    return send_answer(connection, ctx);
}

static void not_found(struct ma_ctx *ctx, const char *method)
{
    struct ma_span path = ctx->req.path;
    if (path.n >= 6 && memcmp(path.p, "/me/v1", 6) == 0 && (path.n == 6 || path.p[6] == '/'))
        path = ma_span_str(ma_arena_printf(ctx->arena, "/me%.*s", (int)(path.n - 6), (const char *)path.p + 6));
    size_t echo = path.n < ECHO_MAX ? path.n : ECHO_MAX;
    while (echo > 0 && echo < path.n && (path.p[echo] & 0xc0) == 0x80)
        echo--; /* not inside a character */
    if (!ma_utf8_valid(ma_span_of(path.p, echo))) {
        (void)ma_problem(ctx, MA_P_NOT_FOUND, NULL);
        return;
    }
    (void)ma_problem(ctx, MA_P_NOT_FOUND,
                     ma_arena_printf(ctx->arena, "The requested resource %s %.*s was not found.", method, (int)echo,
                                     (const char *)path.p));
}

/* Finds the route, or answers for the path as a whole. */
static void route(struct ma_http_server *s, struct ma_ctx *ctx, const char *method)
{
    unsigned allow = 0;
    ctx->route = ma_router_find(s->router, &ctx->req, &allow);
    ma_cors_begin(ctx);
    if (ctx->route)
        return;
    if (allow == 0)
        not_found(ctx, method);
    else if (ctx->req.verb == MA_OPTIONS)
        ma_cors_preflight(ctx, allow);
    else {
        (void)ma_problem(ctx, MA_P_METHOD, NULL);
        ma_header(ctx, "Allow", ma_allow_text(ctx->arena, allow));
    }
}

static size_t body_max(const struct ma_ctx *ctx)
{
    size_t max = ctx->route && ctx->route->body_max ? ctx->route->body_max : MA_IGNORED_BODY_MAX;
    size_t configured = (size_t)ctx->conf->limits.body_bytes;
    return max < configured ? max : configured;
}

static enum MHD_Result first_call(struct ma_http_server *s, struct MHD_Connection *connection, struct ma_ctx *ctx,
                                  const char *method, const char *version)
{
    struct ma_screen screen = {.req = &ctx->req, .arena = ctx->arena};
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &screen);
    ma_conn_header_done(s->deadlines, conn_of(connection), false);
    const char *fault = ma_screen_finish(&screen, strcmp(version, "HTTP/1.1") == 0);
    if (!fault && header_is_cut(connection, method, screen.end))
        fault = "Malformed header";
    if (screen.out_of_memory || !ctx->req.target.p)
        return MHD_NO;
    struct ma_addr peer = ctx->req.client;
    ma_correlate(ctx, &peer);
    if (fault)
        return refuse(connection, ctx, MA_P_BAD_REQUEST, fault);
    ma_forwarded_apply(ctx, &peer);
    ctx->req.verb = ma_verb_parse(method);
    ctx->req.head = ctx->req.verb == MA_HEAD;
    int r = ma_target_parse(ctx->arena, ctx->req.target, &ctx->req);
    if (r < 0)
        return refuse(connection, ctx, r == MA_E_RANGE ? MA_P_TARGET_TOO_LONG : MA_P_BAD_REQUEST,
                      r == MA_E_RANGE ? NULL : "Malformed request target");
    route(s, ctx, ctx->req.verb == MA_VERB_OTHER ? "request" : method);
    if (ctx->req.has_body && ctx->req.content_length > (int64_t)body_max(ctx))
        return refuse(connection, ctx, MA_P_TOO_LARGE, NULL);
    if (ma_app_stopping(ctx->app)) {
        (void)ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The server is stopping.", 1);
        ctx->resp.close = true;
    }
    ctx->phase = PH_BODY;
    if (ctx->req.has_body) {
        ma_buf_init_arena(&ctx->req.body, ctx->arena, ctx->req.chunked ? 1024 : (size_t)ctx->req.content_length,
                          body_max(ctx));
        ma_conn_header_done(s->deadlines, conn_of(connection), true);
    }
    return MHD_YES;
}

/* Over the limit the rest is drained, a bounded amount, so that the answer can be read; then the line is cut. */
static enum MHD_Result take_body(struct ma_ctx *ctx, const char *data, size_t *n)
{
    ctx->req.body_received += *n;
    if (ctx->req.body_received > body_max(ctx) + DRAIN_MAX)
        return MHD_NO;
    ma_buf_put(&ctx->req.body, data, *n);
    ctx->req.body_overflow = ma_buf_err(&ctx->req.body) < 0;
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result hand_over(struct MHD_Connection *connection, struct ma_ctx *ctx)
{
    if (!ma_lane_reserve(ctx->app->lanes, ctx->step_lane)) {
        ma_metrics_add(ctx->app->metrics, MA_M_LANE_REFUSED, ctx->step_lane, 0, 1);
        (void)ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The server is busy.", 1);
        return send_answer(connection, ctx);
    }
    ctx->phase = PH_WAIT;
    ctx->connection = connection;
    atomic_store_explicit(&ctx->returned, 0, memory_order_relaxed);
    MHD_suspend_connection(connection); /* before anybody else can resume it */
    ma_lane_push(ctx->app->lanes, ctx->step_lane, ctx);
    return MHD_YES;
}

static enum MHD_Result run(struct MHD_Connection *connection, struct ma_ctx *ctx)
{
    struct ma_worker *w = this_worker;
    (void)pthread_mutex_lock(&w->lock);
    snapshot_begin(w);
    ctx->db = w->reader;
    ctx->snapshot_commits = w->snapshot_commit;
    int r = ma_pipeline(ctx);
    (void)pthread_mutex_unlock(&w->lock);
    if (r == MA_E_NEXT)
        return hand_over(connection, ctx);
    return send_answer(connection, ctx);
}

static enum MHD_Result last_call(struct MHD_Connection *connection, struct ma_ctx *ctx)
{
    if (ctx->req.has_body)
        ma_conn_body_done(conn_of(connection));
    /* Trailers are cut as headers are, and their size is not told: whatever follows is no request. */
    if (ctx->req.chunked && MHD_get_connection_values_n(connection, MHD_FOOTER_KIND, NULL, NULL) > 0)
        ctx->resp.close = true;
    if (ctx->req.body_overflow && ctx->resp.status == 0)
        (void)ma_problem(ctx, MA_P_TOO_LARGE, NULL);
    if (ctx->resp.status != 0) /* answered by routing or framing */
        return send_answer(connection, ctx);
    return run(connection, ctx);
}

static enum MHD_Result go_on(struct ma_http_server *s, struct MHD_Connection *connection, struct ma_ctx *ctx,
                             const char *method, const char *version, const char *upload_data, size_t *upload_data_size)
{
    switch (ctx->phase) {
    case PH_NEW:
        return first_call(s, connection, ctx, method, version);
    case PH_BODY:
        if (*upload_data_size > 0)
            return take_body(ctx, upload_data, upload_data_size);
        return last_call(connection, ctx);
    case PH_WAIT:
        (void)atomic_load_explicit(&ctx->returned, memory_order_acquire);
        if (ctx->step)
            return run(connection, ctx);
        return send_answer(connection, ctx);
    default:
        return MHD_NO;
    }
}

/* Between its calls a thread waits for connections, which need not come. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload_data, size_t *upload_data_size,
                                  void **con_cls)
{
    (void)url;
    struct ma_ctx *ctx = *con_cls;
    if (!ctx)
        return MHD_NO;
    ma_heartbeat();
    const struct ma_trace *before = ma_trace_enter(&ctx->trace);
    enum MHD_Result r = go_on(cls, connection, ctx, method, version, upload_data, upload_data_size);
    (void)ma_trace_enter(before);
    ma_heartbeat_rest();
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct ma_http_server *s = cls;
    struct ma_ctx *ctx = *con_cls;
    *con_cls = NULL;
    if (!ctx)
        return;
    struct ma_conn *c = conn_of(connection);
    if (c) {
        (void)ma_conn_release(c);
        ma_conn_idle(s->deadlines, c);
    }
    ctx_end(s, ctx);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct ma_http_server *s = cls;
    bool opened = code == MHD_CONNECTION_NOTIFY_STARTED;
    ma_metrics_add(s->env.app->metrics, MA_M_CONNECTIONS, 0, 0, opened ? 1 : -1);
    if (opened) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct ma_conn *c = info ? ma_conn_open(s->deadlines, info->connect_fd) : NULL;
        *socket_context = c;
        if (c)
            *ma_conn_identity(c) = ma_tls_identity_get(s->env.tls);
    } else {
        if (*socket_context)
            ma_tls_identity_unref(*ma_conn_identity(*socket_context));
        /* A header that the library gave up on (no memory for its cookies) ends without on_completed. */
        struct ma_ctx *left = ma_conn_release(*socket_context);
        if (left)
            ctx_end(s, left);
        ma_conn_close(s->deadlines, *socket_context);
        *socket_context = NULL;
    }
}

struct ma_tls_identity *ma_tls_identity_of(void *connection)
{
    struct ma_conn *c = connection ? conn_of(connection) : NULL;
    return c ? *ma_conn_identity(c) : NULL;
}

static size_t keep_raw(void *cls, struct MHD_Connection *connection, char *s)
{
    (void)cls;
    (void)connection;
    return strlen(s);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
    struct ma_http_server *s = cls;
    char line[256];
    (void)vsnprintf(line, sizeof line, fmt, ap);
    ma_log(s->env.app->log, MA_LOG_DEBUG, "http.library", MA_KV_S("message", line));
}

void ma_http_resume(struct ma_ctx *ctx)
{
    struct MHD_Connection *connection = ctx->connection;
    atomic_store_explicit(&ctx->returned, 1, memory_order_release); /* not ours from here on */
    MHD_resume_connection(connection);
}

/* --- lifecycle --- */

/* Connections leave descriptors for the database, the admin socket and outgoing calls. */
static unsigned connection_limit(const struct ma_http_server *s, const struct ma_conf *conf)
{
    struct rlimit files;
    int64_t want = conf->limits.connections;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY ||
        (int64_t)files.rlim_cur - SPARE_DESCRIPTORS >= want)
        return (unsigned)want;
    int64_t have = (int64_t)files.rlim_cur - SPARE_DESCRIPTORS;
    have = have > SPARE_DESCRIPTORS / 4 ? have : SPARE_DESCRIPTORS / 4;
    ma_log(s->env.app->log, MA_LOG_WARN, "http.connections_clamped", MA_KV_I("limits_connections", want),
           MA_KV_I("descriptors", files.rlim_cur), MA_KV_I("connections", have));
    return (unsigned)have;
}

static struct MHD_Daemon *start_daemon(struct ma_http_server *s, const struct ma_conf *conf)
{
    unsigned threads = s->env.threads > 0 ? (unsigned)s->env.threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct ma_tls *t = s->env.tls;
    struct MHD_OptionItem tls[] = {
        {t ? MHD_OPTION_HTTPS_CERT_CALLBACK2 : MHD_OPTION_END, 0, (void *)(uintptr_t)ma_tls_retrieve()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, t ? (void *)(uintptr_t)ma_tls_priority(t) : NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(
        flags | (t ? MHD_USE_TLS : 0u), 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
        MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_UNESCAPE_CALLBACK, keep_raw, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_CONNECTION_LIMIT, connection_limit(s, conf),
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)conf->limits.connections_per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)conf->limits.keep_alive, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_ARRAY, pool, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

void ma_http_reload(struct ma_http_server *s, const struct ma_conf *conf)
{
    ma_deadlines_set(s->deadlines,
                     (struct ma_deadline_limits){conf->limits.header_timeout * 1000, conf->limits.body_timeout * 1000,
                                                 conf->limits.keep_alive * 1000});
}

static void server_free(struct ma_http_server *s)
{
    ma_deadlines_free(s->deadlines); /* first: its timer walks the workers */
    while (s->workers) {
        struct ma_worker *w = s->workers;
        s->workers = w->next;
        worker_free(w);
    }
    ma_router_free(s->router);
    if (s->listen_fd >= 0)
        (void)close(s->listen_fd);
    ma_listen_remove(&s->listen_file);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static int open_listener(struct ma_http_server *s, char why[256])
{
    if (s->env.fd < 0)
        return ma_listen(s->env.listen, &s->listen_fd, &s->listen_file, s->address, why);
    s->listen_fd = s->env.fd;
    ma_listen_describe(s->listen_fd, s->address);
    return MA_OK;
}

int ma_http_start(const struct ma_http_env *env, struct ma_http_server **ret, char why[256])
{
    struct ma_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    s->env = *env;
    s->listen_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    struct ma_conf_ref *ref = ma_app_conf(env->app);
    const struct ma_conf *conf = ma_conf_ref_get(ref);
    int r = ma_router_new(env->routes, env->n_routes, &s->router, why);
    if (r == MA_OK)
        r = ma_deadlines_new(env->app->clock, on_tick, s, &s->deadlines);
    if (r == MA_OK) {
        ma_http_reload(s, conf);
        r = open_listener(s, why);
    }
    if (r == MA_OK) {
        s->daemon = start_daemon(s, conf);
        if (!s->daemon) {
            (void)snprintf(why, 256, "listen %s: the HTTP library did not start", s->address);
            r = MA_E_IO;
        }
    }
    ma_conf_unref(ref);
    if (r < 0) {
        server_free(s);
        return r;
    }
    *ret = s;
    return MA_OK;
}

void ma_http_quiesce(struct ma_http_server *s)
{
    /* Closing the returned socket matters: its backlog would go on taking connections. */
    int fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0)
        (void)close(fd);
    s->listen_fd = -1;
    ma_listen_remove(&s->listen_file);
}

void ma_http_drain(struct ma_http_server *s, int64_t timeout_ms)
{
    const struct timespec step = {0, 5 * 1000 * 1000};
    for (int64_t waited = 0; atomic_load(&s->in_flight) > 0 && waited < timeout_ms; waited += 5)
        (void)nanosleep(&step, NULL);
    int left = atomic_load(&s->in_flight);
    if (left > 0)
        ma_log(s->env.app->log, MA_LOG_WARN, "http.drain_timeout", MA_KV_I("requests", left));
}

void ma_http_stop(struct ma_http_server *s)
{
    if (!s)
        return;
    MHD_stop_daemon(s->daemon);
    server_free(s);
}

const char *ma_http_address(const struct ma_http_server *s)
{
    return s->address;
}

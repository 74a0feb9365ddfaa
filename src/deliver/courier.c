/* SPDX-License-Identifier: Apache-2.0
 * The courier: one thread that sends what is due and records what became of it.
 *
 * Delivery is at least once. Results of a round are written in one transaction; until they are, nothing
 * further is sent, so that a database that cannot write does not make messages repeat. A crash between
 * sending and writing repeats at most the messages of that round.
 */
#include "ma/outbox.h"

#include "int.h"
#include "ma/metrics.h"
#include "ma/trace.h"

#include "ma/heartbeat.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUND_MAX 32                      /* rows sent between two writes */
#define ROWS_ARENA_MAX (8u * 1024 * 1024) /* ROUND_MAX payloads of MA_LETTER_MAX and their rows */
#define WORK_ARENA_MAX (2u * 1024 * 1024) /* one letter, composed and encoded */
#define POLL_WAITING_MS 1000              /* with rows waiting: the wall clock may be set meanwhile */
#define POLL_IDLE_MS 5000                 /* with none: whoever enqueues wakes us, this heals what did not */
#define TROUBLE_MS 1000                   /* the database did not answer */
#define REASON_MAX 160                    /* bytes of last_error */

enum verdict { SENT, REFUSED, NOT_ACCEPTED, UNKNOWN };

struct result {
    char id[65];
    enum { RESULT_DONE, RESULT_RETRY, RESULT_DEFER } action;
    bool dead;
    int64_t next_at;
    char reason[REASON_MAX];
};

/* What is known about one channel's transport; while it is held its rows are put off unsent. */
struct line {
    int failures; /* in a row */
    int64_t held_until;
};

struct ma_courier {
    const struct ma_clock *clock;
    struct ma_log *log;
    struct ma_metrics *metrics;
    struct ma_vault *vault;
    struct ma_heartbeats *heartbeats;
    int (*write)(void *write_arg, int (*fn)(struct ma_db *, void *), void *arg);
    void *write_arg;

    struct ma_db *db;
    struct ma_httpc *http;
    struct ma_arena *rows, *work;
    struct ma_transports *transports; /* the thread's own */
    struct line lines[MA_CHANNEL__COUNT];
    struct result results[ROUND_MAX]; /* not yet written */
    size_t n_results;

    _Atomic(struct ma_transports *) fresh; /* handed over by reload */
    atomic_bool stopping;
    int event;
    pthread_t thread;
    bool stopped; /* joined; the owner's thread only */
};

static int64_t now_ms(const struct ma_courier *c)
{
    return c->clock->wall_ms(c->clock);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* Up to a quarter more, fixed by the row (FNV-1a of its id), so that rows that failed together part. */
static int64_t spread(int64_t delay, struct ma_span id)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < id.n; i++)
        h = (h ^ id.p[i]) * 16777619u;
    return delay + (int64_t)(h % 1024u) * delay / 4096;
}

static int64_t doubled(int64_t first, int times, int64_t most)
{
    int64_t delay = first;
    for (int i = 0; i < times && delay < most; i++)
        delay *= 2;
    return delay < most ? delay : most;
}

/* --- recording results --- */

static int write_result(struct ma_db *db, const struct result *res)
{
    struct ma_span id = ma_span_str(res->id);
    int r = MA_OK;
    switch (res->action) {
    case RESULT_DONE:
        r = ma_outbox_done(db, id);
        break;
    case RESULT_RETRY:
        r = ma_outbox_retry(db, id, res->next_at, res->dead, ma_span_str(res->reason));
        break;
    case RESULT_DEFER:
        r = ma_outbox_defer(db, id, res->next_at);
        break;
    }
    /* the row went away with its user */
    return r == MA_E_NOTFOUND || r == MA_E_CONFLICT ? MA_OK : r;
}

static int write_results(struct ma_db *db, void *arg)
{
    const struct ma_courier *c = arg;
    for (size_t i = 0; i < c->n_results; i++) {
        int r = write_result(db, &c->results[i]);
        if (r < 0)
            return r;
    }
    return MA_OK;
}

static int flush(struct ma_courier *c)
{
    if (c->n_results == 0)
        return MA_OK;
    int r = c->write(c->write_arg, write_results, c);
    if (r < 0)
        ma_log(c->log, MA_LOG_ERROR, "delivery.record_failed", MA_KV_S("error", ma_err_text(r)),
               MA_KV_I("messages", c->n_results));
    else
        c->n_results = 0;
    return r;
}

static struct result *add_result(struct ma_courier *c, const struct ma_outbox_row *row)
{
    struct result *res = &c->results[c->n_results++];
    *res = (struct result){.action = RESULT_DONE};
    snprintf(res->id, sizeof res->id, "%.*s", (int)(row->id.n > 64 ? 64 : row->id.n), (const char *)row->id.p);
    return res;
}

static enum ma_channel channel_parse(struct ma_span name)
{
    int c = 0;
    while (c < MA_CHANNEL__COUNT && !ma_span_eq_str(name, ma_channel_name((enum ma_channel)c)))
        c++;
    return (enum ma_channel)c;
}

static void count(struct ma_courier *c, const struct ma_outbox_row *row, enum ma_m_delivery outcome)
{
    ma_metrics_add(c->metrics, MA_M_DELIVERIES, channel_parse(row->channel), outcome, 1);
}

static void bury(struct ma_courier *c, const struct ma_outbox_row *row, const char *reason)
{
    count(c, row, MA_M_DEAD);
    struct result *res = add_result(c, row);
    res->action = RESULT_RETRY;
    res->dead = true;
    res->next_at = now_ms(c);
    snprintf(res->reason, sizeof res->reason, "%.*s", REASON_MAX - 1, reason);
    ma_log(c->log, MA_LOG_ERROR, "delivery.dead", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("reason", res->reason));
}

static void put_off(struct ma_courier *c, const struct ma_outbox_row *row, int64_t next_at)
{
    struct result *res = add_result(c, row);
    res->action = RESULT_DEFER;
    res->next_at = next_at;
}

/* --- judging --- */

static enum verdict judge(int r)
{
    switch (r) {
    case MA_OK:
        return SENT;
    case MA_E_INVAL:
    case MA_E_UNSUPPORTED:
        return REFUSED;
    case MA_E_UPSTREAM:
    case MA_E_BUSY:
    case MA_E_IO:
    case MA_E_FULL:
    case MA_E_NOMEM:
        return NOT_ACCEPTED;
    default:
        return UNKNOWN;
    }
}

static bool holds(const char *text, struct ma_span part)
{
    return part.n > 0 && memmem(text, strlen(text), part.p, part.n) != NULL;
}

/* Providers quote addresses and texts in their replies; a reason is kept in clear, so such a reply is not. */
static void reason_of(const struct ma_send *s, int err, char out[REASON_MAX])
{
    bool quotes = holds(s->why, s->letter->to) || holds(s->why, s->letter->code);
    const char *text = s->why[0] && !quotes ? s->why : ma_err_text(err);
    snprintf(out, REASON_MAX, "%.*s%s", REASON_MAX - 40, text, quotes ? " (the reply is withheld)" : "");
}

static void sent(struct ma_courier *c, const struct ma_outbox_row *row, struct line *line, const char *to)
{
    add_result(c, row);
    count(c, row, MA_M_SENT);
    if (line->failures > 0)
        ma_log(c->log, MA_LOG_INFO, "delivery.recovered", MA_KV_SPAN("channel", row->channel));
    *line = (struct line){0};
    ma_log(c->log, MA_LOG_INFO, "delivery.sent", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("to", to));
}

/* The row waits; so does its channel, for a while, lest every row tries a transport that is down. */
static void failed(struct ma_courier *c, const struct ma_outbox_row *row, struct line *line, enum verdict verdict,
                   const char *reason)
{
    int64_t now = now_ms(c);
    line->held_until = now + doubled(MA_OUTBOX_BACKOFF_MS, line->failures, MA_OUTBOX_PROBE_MS);
    if (line->failures < 64)
        line->failures++;
    int64_t age = now - row->created_at;
    if (verdict == UNKNOWN ? row->attempts + 1 >= MA_OUTBOX_TRIES : age >= MA_OUTBOX_KEEP_MS) {
        bury(c, row, reason);
        return;
    }
    count(c, row, MA_M_RETRIED);
    if (verdict == UNKNOWN) {
        struct result *res = add_result(c, row);
        res->action = RESULT_RETRY;
        res->next_at = now + spread(doubled(MA_OUTBOX_BACKOFF_MS, row->attempts, MA_OUTBOX_BACKOFF_MAX_MS), row->id);
        snprintf(res->reason, sizeof res->reason, "%s", reason);
    } else {
        /* waiting as long as it has waited doubles the delay each time */
        put_off(c, row, now + spread(clamp(age, MA_OUTBOX_BACKOFF_MS, MA_OUTBOX_PROBE_MS), row->id));
    }
    ma_log(c->log, MA_LOG_WARN, "delivery.failed", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("reason", reason), MA_KV_I("attempts", row->attempts + 1));
}

/* --- sending --- */

static void deliver(struct ma_courier *c, const struct ma_outbox_row *row, const struct ma_letter *letter,
                    struct line *line)
{
    struct ma_send s = {.http = c->http, .transports = c->transports, .a = c->work, .letter = letter};
    s.id = ma_arena_strdup(c->work, row->id);
    int r = s.id ? ma_send_letter(&s) : MA_E_NOMEM;
    char reason[REASON_MAX];
    char to[MA_MASKED_MAX];
    enum verdict verdict = judge(r);
    if (verdict == SENT) {
        ma_address_mask(letter->to, to);
        sent(c, row, line, to);
        return;
    }
    reason_of(&s, r, reason);
    if (verdict == REFUSED)
        bury(c, row, reason);
    else
        failed(c, row, line, verdict, reason);
}

/* On behalf of the request that wrote the letter, in a span of our own. */
static void send_row(struct ma_courier *c, const struct ma_outbox_row *row, struct line *line)
{
    struct ma_letter letter;
    struct ma_trace trace = {.request_id = NULL};
    int r = ma_letter_open(c->vault, c->work, row, &letter);
    if (r == MA_E_NOMEM) {
        put_off(c, row, now_ms(c) + TROUBLE_MS);
        return;
    }
    if (r < 0 || letter.channel != channel_parse(row->channel)) {
        bury(c, row, "the sealed message cannot be opened");
        return;
    }
    if (letter.request_id.p) /* arena strings end with NUL */
        trace.request_id = (const char *)letter.request_id.p;
    if (letter.traceparent.p && ma_traceparent_parse(letter.traceparent, &trace))
        ma_trace_begin_span(&trace, ma_rand_system());
    const struct ma_trace *before = ma_trace_enter(&trace);
    deliver(c, row, &letter, line);
    (void)ma_trace_enter(before);
}

static void handle_row(struct ma_courier *c, const struct ma_outbox_row *row)
{
    enum ma_channel channel = channel_parse(row->channel);
    if (channel == MA_CHANNEL__COUNT) {
        bury(c, row, "the channel is unknown");
        return;
    }
    struct line *line = &c->lines[channel];
    int64_t now = now_ms(c);
    if (now < line->held_until) {
        /* a clock that was set back does not hold a channel for longer than a probe takes */
        line->held_until = clamp(line->held_until, now, now + MA_OUTBOX_PROBE_MS);
        put_off(c, row, line->held_until);
        return;
    }
    send_row(c, row, line);
    ma_arena_reset(c->work);
}

static void adopt(struct ma_courier *c)
{
    struct ma_transports *fresh = atomic_exchange(&c->fresh, NULL);
    if (!fresh)
        return;
    ma_transports_inherit(fresh, c->transports);
    ma_transports_free(c->transports);
    c->transports = fresh;
    /* the provider may be another one now */
    memset(c->lines, 0, sizeof c->lines);
}

/* How long until something is due, when nothing wakes us earlier. */
static int64_t until_next(struct ma_courier *c)
{
    int64_t at = 0;
    int r = ma_outbox_next(c->db, &at);
    if (r == MA_E_NOTFOUND)
        return POLL_IDLE_MS;
    return r < 0 ? TROUBLE_MS : clamp(at - now_ms(c), 1, POLL_WAITING_MS);
}

/* Sends what is due. Returns the milliseconds to wait before the next round; 0: there is more. */
static int64_t run_round(struct ma_courier *c)
{
    adopt(c);
    if (flush(c) < 0)
        return TROUBLE_MS;
    struct ma_outbox_row due[ROUND_MAX];
    size_t n = 0;
    ma_arena_reset(c->rows);
    int r = ma_outbox_due(c->db, c->rows, now_ms(c), due, ROUND_MAX, &n);
    if (r < 0) {
        ma_log(c->log, MA_LOG_ERROR, "delivery.read_failed", MA_KV_S("error", ma_err_text(r)));
        return TROUBLE_MS;
    }
    for (size_t i = 0; i < n && !atomic_load(&c->stopping); i++)
        handle_row(c, &due[i]);
    if (flush(c) < 0)
        return TROUBLE_MS;
    return n == ROUND_MAX ? 0 : until_next(c);
}

static void wait_for_work(struct ma_courier *c, int64_t ms)
{
    struct pollfd p = {.fd = c->event, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, (int)ms) > 0 && read(c->event, &count, sizeof count) < 0)
        return; /* taken already: nothing to do */
}

static void *courier_main(void *arg)
{
    struct ma_courier *c = arg;
    if (ma_heartbeat_join(c->heartbeats, "courier") < 0)
        ma_log(c->log, MA_LOG_ERROR, "delivery.unwatched");
    while (!atomic_load(&c->stopping)) {
        ma_heartbeat();
        wait_for_work(c, ma_heartbeats_nap_ms(c->heartbeats, run_round(c)));
    }
    return NULL;
}

/* --- starting and stopping --- */

static void warn_of_spool(struct ma_courier *c, const struct ma_transports *t)
{
    if (t->spool_fault[0])
        ma_log(c->log, MA_LOG_WARN, "delivery.spool_unavailable", MA_KV_S("reason", t->spool_fault));
}

static void courier_free(struct ma_courier *c)
{
    ma_transports_free(atomic_exchange(&c->fresh, NULL));
    ma_transports_free(c->transports);
    if (c->http)
        ma_httpc_free(c->http);
    if (c->db)
        ma_db_close(c->db);
    ma_arena_free(c->rows);
    ma_arena_free(c->work);
    if (c->event >= 0)
        close(c->event);
    free(c);
}

static int open_parts(struct ma_courier *c, const char *database, const struct ma_conf *conf, char why[256])
{
    int r = ma_transports_new(conf, &c->transports, why);
    if (r == MA_OK)
        r = ma_db_open(database, MA_DB_READER, c->log, &c->db, why);
    if (r < 0)
        return r;
    warn_of_spool(c, c->transports);
    snprintf(why, 256, "the courier cannot be set up");
    c->rows = ma_arena_new(MA_ARENA_FIRST, ROWS_ARENA_MAX);
    c->work = ma_arena_new(MA_ARENA_FIRST, WORK_ARENA_MAX);
    c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!c->rows || !c->work || c->event < 0)
        return MA_E_NOMEM;
    return ma_httpc_new(&c->http);
}

int ma_courier_start(const struct ma_courier_env *env, const struct ma_conf *conf, struct ma_courier **ret,
                     char why[256])
{
    snprintf(why, 256, "out of memory");
    struct ma_courier *c = calloc(1, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    c->event = -1;
    c->clock = env->clock;
    c->log = env->log;
    c->metrics = env->metrics;
    c->vault = env->vault;
    c->heartbeats = env->heartbeats;
    c->write = env->write;
    c->write_arg = env->write_arg;
    int r = open_parts(c, env->database, conf, why);
    if (r == MA_OK && pthread_create(&c->thread, NULL, courier_main, c) != 0) {
        snprintf(why, 256, "the courier thread cannot be started");
        r = MA_E_NOMEM;
    }
    if (r < 0) {
        courier_free(c);
        return r;
    }
    why[0] = 0;
    *ret = c;
    return MA_OK;
}

void ma_courier_reload(struct ma_courier *c, const struct ma_conf *conf)
{
    char why[256];
    struct ma_transports *t = NULL;
    int r = ma_transports_new(conf, &t, why);
    if (r < 0) {
        ma_log(c->log, MA_LOG_ERROR, "delivery.reload_failed", MA_KV_S("reason", why));
        return;
    }
    warn_of_spool(c, t);
    ma_transports_free(atomic_exchange(&c->fresh, t));
    ma_courier_wake(c);
}

void ma_courier_wake(struct ma_courier *c)
{
    /* the only failure is a counter that is full: then the thread is awake anyway */
    uint64_t one = 1;
    if (write(c->event, &one, sizeof one) < 0)
        return;
}

void ma_courier_stop(struct ma_courier *c)
{
    if (!c || c->stopped)
        return;
    atomic_store(&c->stopping, true);
    ma_courier_wake(c);
    ma_httpc_cancel(c->http); /* a provider that hangs does not hold up the end */
    pthread_join(c->thread, NULL);
    c->stopped = true;
}

void ma_courier_free(struct ma_courier *c)
{
    if (!c)
        return;
    ma_courier_stop(c);
    courier_free(c);
}

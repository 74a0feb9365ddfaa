/* SPDX-License-Identifier: Apache-2.0
 * The courier: one thread that sends what is due and records what became of it.
 *
 * Delivery is at least once. Results of a round are written in one transaction; until they are, nothing
 * further is sent, so that a database that cannot write does not make messages repeat. A crash between
 * sending and writing repeats at most the messages of that round.
 *
 * Push goes by senders, a thread for each provider: they get opened letters, and what they hand back is settled here.
 * What a sender holds is due in the database all the while, and left alone.
 */
#include "ma/outbox.h"

#include "courier_int.h"
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

#define ROWS_ARENA_MAX (16u * 1024 * 1024) /* MA_OUTCOMES_MAX payloads of MA_LETTER_MAX and their rows */
#define SENDER_FULL_MS 1000                /* a row that finds no place in its sender */
#define WORK_ARENA_MAX (2u * 1024 * 1024)  /* one letter, composed and encoded */
#define POLL_WAITING_MS 1000               /* with rows waiting: the wall clock may be set meanwhile */
#define POLL_IDLE_MS 5000                  /* with none: whoever enqueues wakes us, this heals what did not */
#define TROUBLE_MS 1000                    /* the database did not answer */

struct ma_courier {
    const struct ma_clock *clock;
    struct ma_log *log;
    struct ma_vault *vault;
    struct ma_heartbeats *heartbeats;
    int (*write)(void *write_arg, int (*fn)(struct ma_db *, void *), void *arg);
    void *write_arg;

    struct ma_db *db;
    struct ma_httpc *http;
    struct ma_arena *rows, *work;
    struct ma_transports *transports; /* the thread's own */
    struct ma_sender *senders[MA_SENDERS];
    struct ma_outcomes out;

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

static int flush(struct ma_courier *c)
{
    if (c->out.n == 0)
        return MA_OK;
    int r = c->write(c->write_arg, ma_outcomes_write, &c->out);
    if (r < 0)
        ma_log(c->log, MA_LOG_ERROR, "delivery.record_failed", MA_KV_S("error", ma_err_text(r)),
               MA_KV_I("messages", c->out.n));
    else
        c->out.n = 0;
    for (size_t i = 0; i < MA_SENDERS && r == MA_OK; i++)
        ma_sender_release(c->senders[i]);
    return r;
}

/* --- sending --- */

static void deliver(struct ma_courier *c, const struct ma_outbox_row *row, const struct ma_letter *letter)
{
    struct ma_send s = {
        .http = c->http, .transports = c->transports, .a = c->work, .clock = c->clock, .letter = letter};
    s.id = ma_arena_strdup(c->work, row->id);
    ma_outcome_settle(&c->out, row, &s, s.id ? ma_send_letter(&s) : MA_E_NOMEM);
}

/* On behalf of the request that wrote the letter, in a span of our own. */
static struct ma_trace trace_of(const struct ma_letter *letter)
{
    struct ma_trace trace = {.request_id = NULL};
    if (letter->request_id.p) /* arena strings end with NUL */
        trace.request_id = (const char *)letter->request_id.p;
    if (letter->traceparent.p && ma_traceparent_parse(letter->traceparent, &trace))
        ma_trace_begin_span(&trace, ma_rand_system());
    return trace;
}

/* --- senders --- */

/* The sender of a line, or NULL where the courier's own thread sends. */
static struct ma_sender *sender_of(const struct ma_courier *c, int line)
{
    if (line == MA_CHANNEL_PUSH)
        return c->transports->by[line].kind == MA_TRANSPORT_HTTP ? c->senders[0] : NULL;
    return line >= MA_CHANNEL__COUNT ? c->senders[1 + line - MA_CHANNEL__COUNT] : NULL;
}

static bool copy_row(struct ma_arena *a, const struct ma_outbox_row *row, struct ma_outbox_row *ret)
{
    *ret = (struct ma_outbox_row){.id = ma_arena_dup(a, row->id),
                                  .channel = ma_arena_dup(a, row->channel),
                                  .user_id = ma_arena_dup(a, row->user_id),
                                  .attempts = row->attempts,
                                  .created_at = row->created_at};
    return ret->id.p && ret->channel.p && ret->user_id.p;
}

/* The letter is in c->work, which changes hands with it: nothing of it is copied. */
static void dispatch(struct ma_courier *c, struct ma_sender *sender, const struct ma_outbox_row *row,
                     const struct ma_letter *letter, const struct ma_trace *trace)
{
    struct ma_job *job = ma_sender_job(sender);
    struct ma_outbox_row own;
    if (!job || !copy_row(c->work, row, &own)) {
        ma_outcome_put_off(&c->out, row, now_ms(c) + SENDER_FULL_MS);
        return;
    }
    const struct ma_job filled = {
        .a = c->work,
        .row = own,
        .letter = *letter,
        .trace = *trace,
        /* arena copies end with NUL */
        .send = {.transports = ma_transports_ref(c->transports), .a = c->work, .id = (const char *)own.id.p}};
    struct ma_arena *empty = job->a;
    if (ma_sender_start(sender, job, &filled) == MA_OK) {
        c->work = empty;
        return;
    }
    ma_transports_free(filled.send.transports);
    ma_log(c->log, MA_LOG_ERROR, "delivery.no_thread");
    ma_outcome_put_off(&c->out, row, now_ms(c) + TROUBLE_MS);
}

/* Results of what the senders have sent, as far as there is room. */
static void collect(struct ma_courier *c)
{
    for (size_t i = 0; i < MA_SENDERS; i++) {
        struct ma_job *job = NULL;
        while (c->out.n < MA_OUTCOMES_MAX && (job = ma_sender_take(c->senders[i]))) {
            const struct ma_trace *before = ma_trace_enter(&job->trace);
            const struct ma_line_state *line = &c->out.lines[ma_letter_line(job->send.transports, &job->letter)];
            if (job->tried)
                ma_outcome_settle(&c->out, &job->row, &job->send, job->result);
            else
                ma_outcome_put_off(&c->out, &job->row, line->held_until > now_ms(c) ? line->held_until : now_ms(c));
            (void)ma_trace_enter(before);
        }
    }
}

static size_t in_senders(struct ma_courier *c)
{
    size_t n = 0;
    for (size_t i = 0; i < MA_SENDERS; i++)
        n += ma_sender_busy(c->senders[i]);
    return n;
}

static bool is_in_sender(struct ma_courier *c, struct ma_span id)
{
    for (size_t i = 0; i < MA_SENDERS; i++)
        if (ma_sender_has(c->senders[i], id))
            return true;
    return false;
}

/* --- one row --- */

/* A sign-in that a push service can no longer tell anybody of in time. */
static bool lapsed(const struct ma_courier *c, const struct ma_outbox_row *row, int line)
{
    return line >= MA_CHANNEL__COUNT && now_ms(c) - row->created_at >= MA_PUSH_TTL_MS;
}

static void send_row(struct ma_courier *c, const struct ma_outbox_row *row, const struct ma_letter *letter)
{
    int line = ma_letter_line(c->transports, letter);
    struct ma_sender *sender = sender_of(c, line);
    const struct ma_trace trace = trace_of(letter);
    const struct ma_trace *before = ma_trace_enter(&trace);
    if (lapsed(c, row, line))
        ma_outcome_bury(&c->out, row, "the sign-in lapsed before its push could be delivered");
    else if (ma_outcome_held(&c->out, row, line))
        ; /* put off */
    else if (sender)
        dispatch(c, sender, row, letter, &trace);
    else
        deliver(c, row, letter);
    (void)ma_trace_enter(before);
}

static void handle_row(struct ma_courier *c, const struct ma_outbox_row *row)
{
    struct ma_letter letter;
    enum ma_channel channel = ma_channel_parse(row->channel);
    if (channel == MA_CHANNEL__COUNT) {
        ma_outcome_bury(&c->out, row, "the channel is unknown");
        return;
    }
    int r = ma_letter_open(c->vault, c->work, row, &letter);
    if (r == MA_E_NOMEM)
        ma_outcome_put_off(&c->out, row, now_ms(c) + TROUBLE_MS);
    else if (r < 0 || letter.channel != channel)
        ma_outcome_bury(&c->out, row, "the sealed message cannot be opened");
    else
        send_row(c, row, &letter);
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
    memset(c->out.lines, 0, sizeof c->out.lines);
}

/* How long until something is due, when nothing wakes us earlier. */
static int64_t until_next(struct ma_courier *c)
{
    int64_t at = 0;
    if (in_senders(c) > 0)
        return POLL_WAITING_MS; /* they wake us, and their rows are due until then */
    int r = ma_outbox_next(c->db, &at);
    if (r == MA_E_NOTFOUND)
        return POLL_IDLE_MS;
    return r < 0 ? TROUBLE_MS : ma_clamp(at - now_ms(c), 1, POLL_WAITING_MS);
}

/* Sends what is due. Returns the milliseconds to wait before the next round; 0: there is more. */
static int64_t run_round(struct ma_courier *c)
{
    adopt(c);
    collect(c);
    if (flush(c) < 0)
        return TROUBLE_MS;
    struct ma_outbox_row due[MA_OUTCOMES_MAX];
    size_t n = 0, handled = 0, max = MA_ROUND_MAX + in_senders(c);
    ma_arena_reset(c->rows);
    int r = ma_outbox_due(c->db, c->rows, now_ms(c), due, max, &n);
    if (r < 0) {
        ma_log(c->log, MA_LOG_ERROR, "delivery.read_failed", MA_KV_S("error", ma_err_text(r)));
        return TROUBLE_MS;
    }
    for (size_t i = 0; i < n && handled < MA_ROUND_MAX && !atomic_load(&c->stopping); i++) {
        if (is_in_sender(c, due[i].id))
            continue;
        handle_row(c, &due[i]);
        handled++;
    }
    if (flush(c) < 0)
        return TROUBLE_MS;
    return n == max && handled > 0 ? 0 : until_next(c);
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
    for (size_t i = 0; i < MA_SENDERS; i++)
        ma_sender_stop(c->senders[i]);
    collect(c);
    (void)flush(c); /* logged; what was sent and could not be written is sent again */
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
    for (size_t i = 0; i < MA_SENDERS; i++)
        ma_sender_free(c->senders[i]);
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

static void wake_courier(void *arg)
{
    ma_courier_wake(arg);
}

static int open_senders(struct ma_courier *c)
{
    static const char *const names[MA_SENDERS] = {"push", "push-fcm", "push-apns"};
    int r = MA_OK;
    for (size_t i = 0; i < MA_SENDERS && r == MA_OK; i++) {
        const struct ma_sender_env env = {names[i], c->log, c->heartbeats, c->clock, wake_courier, c};
        r = ma_sender_new(&env, &c->senders[i]);
    }
    return r;
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
    r = ma_httpc_new(&c->http);
    return r < 0 ? r : open_senders(c);
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
    c->out = (struct ma_outcomes){.clock = env->clock, .log = env->log, .metrics = env->metrics};
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
    for (size_t i = 0; i < MA_SENDERS; i++)
        ma_sender_cancel(c->senders[i]);
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

/* SPDX-License-Identifier: Apache-2.0
 * The thread that posts the audit trail, batch after batch, and keeps the cursor.
 */
#include "ma/audit_hook.h"

#include "audit_int.h"
#include "ma/heartbeat.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ARENA_MAX (16u * 1024u * 1024u) /* a batch's rows and its body */
#define REASON_MAX 160                  /* bytes of last_error */

struct ma_audit_hook {
    struct ma_courier_env env;
    struct ma_db *db;
    struct ma_httpc *http;
    struct ma_arena *a;                /* of one round */
    struct ma_hook_settings *settings; /* the thread's own */
    struct ma_audit_delivery cursor;   /* as the database has it; its text is `reason` */
    char reason[REASON_MAX];
    bool cursor_known;
    _Atomic(struct ma_hook_settings *) fresh; /* handed over by reload */
    atomic_bool stopping;
    int event;
    pthread_t thread;
    bool running;
};

static int64_t now_ms(const struct ma_audit_hook *h)
{
    return h->env.clock->wall_ms(h->env.clock);
}

/* --- the cursor --- */

static int put_cursor(struct ma_db *db, void *arg)
{
    return ma_audit_delivery_put(db, arg);
}

/* Writes the cursor; ours changes with the database's only. */
static int move(struct ma_audit_hook *h, struct ma_audit_delivery d, const char *reason)
{
    char text[REASON_MAX];
    (void)snprintf(text, sizeof text, "%s", reason);
    d.last_error = text[0] ? ma_span_str(text) : MA_SPAN_NULL;
    int r = h->env.write(h->env.write_arg, put_cursor, &d);
    if (r != MA_OK) {
        ma_log(h->env.log, MA_LOG_ERROR, "audit.webhook_record_failed", MA_KV_S("error", ma_err_text(r)));
        return r;
    }
    memcpy(h->reason, text, sizeof text);
    h->cursor = d;
    h->cursor.last_error = h->reason[0] ? ma_span_str(h->reason) : MA_SPAN_NULL;
    return MA_OK;
}

/* The first time, the webhook begins behind what is there. */
static int know_cursor(struct ma_audit_hook *h)
{
    struct ma_audit_delivery d = {0};
    int r = ma_audit_delivery_get(h->db, h->a, &d);
    if (r == MA_OK) {
        h->cursor = d;
        (void)snprintf(h->reason, sizeof h->reason, "%.*s", (int)d.last_error.n, (const char *)d.last_error.p);
        h->cursor.last_error = h->reason[0] ? ma_span_str(h->reason) : MA_SPAN_NULL;
    } else if (r == MA_E_NOTFOUND) {
        r = ma_audit_newest(h->db, &d.done_to);
        d.batch_to = d.done_to;
        if (r == MA_OK)
            r = move(h, d, "");
    }
    h->cursor_known = r == MA_OK;
    return r;
}

/* --- sending --- */

static int64_t backoff(int attempts)
{
    int64_t delay = MA_OUTBOX_BACKOFF_MS;
    for (int i = 0; i < attempts && delay < MA_OUTBOX_BACKOFF_MAX_MS; i++)
        delay *= 2;
    return delay < MA_OUTBOX_BACKOFF_MAX_MS ? delay : MA_OUTBOX_BACKOFF_MAX_MS;
}

static int failed(struct ma_audit_hook *h, const char *why)
{
    struct ma_audit_delivery d = h->cursor;
    d.next_at = now_ms(h) + backoff(d.attempts);
    if (d.attempts < INT32_MAX)
        d.attempts++;
    ma_log(h->env.log, d.attempts == 1 ? MA_LOG_WARN : MA_LOG_INFO, "audit.webhook_failed", MA_KV_S("reason", why),
           MA_KV_I("attempts", d.attempts), MA_KV_I("from", d.done_to + 1));
    return move(h, d, why);
}

static int taken(struct ma_audit_hook *h, size_t n)
{
    struct ma_audit_delivery d = h->cursor;
    if (d.attempts > 0)
        ma_log(h->env.log, MA_LOG_INFO, "audit.webhook_recovered");
    ma_log(h->env.log, MA_LOG_DEBUG, "audit.webhook_sent", MA_KV_I("rows", (int64_t)n), MA_KV_I("to", d.batch_to));
    d.done_to = d.batch_to;
    d.attempts = 0;
    d.next_at = 0;
    return move(h, d, "");
}

/* Rows behind the cursor, up to the end of a batch that was begun. */
static int read_batch(struct ma_audit_hook *h, struct ma_hook_batch *b)
{
    b->rows = ma_arena_calloc(h->a, h->settings->batch, sizeof *b->rows);
    if (!b->rows)
        return MA_E_NOMEM;
    int r = ma_audit_list(h->db, h->a, MA_SPAN_NULL, 0, h->cursor.done_to, b->rows, h->settings->batch, &b->n);
    while (r == MA_OK && h->cursor.batch_to > h->cursor.done_to && b->n > 0 &&
           b->rows[b->n - 1].id > h->cursor.batch_to)
        b->n--;
    return r;
}

/* The batch's end is on record before anything is sent: what is sent again is the same. */
static int begin_batch(struct ma_audit_hook *h, struct ma_hook_batch *b)
{
    struct ma_audit_delivery d = h->cursor;
    d.batch_to = b->rows[b->n - 1].id;
    return d.batch_to == h->cursor.batch_to ? MA_OK : move(h, d, h->reason);
}

static int send_batch(struct ma_audit_hook *h, struct ma_hook_batch *b)
{
    struct ma_span body;
    char id[MA_HOOK_ID_MAX], why[256] = "";
    size_t fit = 0;
    int r = ma_hook_body(h->a, h->settings, b, &body, &fit);
    if (r == MA_OK) {
        b->n = fit;
        r = begin_batch(h, b);
    }
    if (r != MA_OK)
        return r;
    ma_hook_batch_id(h->env.vault, b, id);
    r = ma_hook_call(h->http, h->a, h->settings, id, now_ms(h) / 1000, body, why);
    if (atomic_load(&h->stopping) && r != MA_OK)
        return MA_E_BUSY;
    return r == MA_OK ? taken(h, b->n) : failed(h, why[0] ? why : ma_err_text(r));
}

/* Retention may have been faster than the receiver: the gap is told, and not waited for. */
static void tell_gap(struct ma_audit_hook *h, int64_t to)
{
    if (to > h->cursor.done_to)
        ma_log(h->env.log, MA_LOG_WARN, "audit.webhook_gap", MA_KV_I("from", h->cursor.done_to + 1), MA_KV_I("to", to));
}

static int skip_removed(struct ma_audit_hook *h)
{
    struct ma_audit_delivery d = h->cursor;
    d.done_to = d.batch_to;
    tell_gap(h, d.done_to);
    return move(h, d, "");
}

static int64_t wait_for_try(const struct ma_audit_hook *h)
{
    int64_t ms = h->cursor.next_at - now_ms(h);
    if (ms > MA_OUTBOX_BACKOFF_MAX_MS) /* the clock was set back */
        return 0;
    return ms < 1 ? 0 : ms > MA_AUDIT_POLL_MS ? MA_AUDIT_POLL_MS : ms;
}

static void adopt(struct ma_audit_hook *h)
{
    struct ma_hook_settings *fresh = atomic_exchange(&h->fresh, NULL);
    if (!fresh)
        return;
    ma_hook_settings_free(h->settings);
    h->settings = fresh;
    h->cursor.next_at = 0; /* the receiver may be another one now */
}

/* Returns the milliseconds until the next round; 0: there is more. */
static int64_t run_round(struct ma_audit_hook *h)
{
    struct ma_hook_batch b = {0};
    adopt(h);
    ma_arena_reset(h->a);
    if (!h->settings->url[0])
        return MA_AUDIT_POLL_MS;
    if (!h->cursor_known && know_cursor(h) != MA_OK)
        return MA_AUDIT_POLL_MS;
    int64_t ms = wait_for_try(h);
    if (ms > 0)
        return ms;
    int r = read_batch(h, &b);
    if (r == MA_OK && b.n == 0 && h->cursor.batch_to > h->cursor.done_to) {
        r = skip_removed(h);
    } else if (r == MA_OK && b.n > 0) {
        if (h->cursor.batch_to == h->cursor.done_to)
            tell_gap(h, b.rows[0].id - 1);
        r = send_batch(h, &b);
    }
    if (r != MA_OK && !atomic_load(&h->stopping))
        ma_log(h->env.log, MA_LOG_ERROR, "audit.webhook_trouble", MA_KV_S("error", ma_err_text(r)));
    return r == MA_OK && b.n > 0 && h->cursor.attempts == 0 ? 0 : MA_AUDIT_POLL_MS;
}

static void wait_for_work(struct ma_audit_hook *h, int64_t ms)
{
    struct pollfd p = {.fd = h->event, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, (int)ms) > 0 && read(h->event, &count, sizeof count) < 0)
        return; /* taken already: nothing to do */
}

static void *hook_main(void *arg)
{
    struct ma_audit_hook *h = arg;
    if (ma_heartbeat_join(h->env.heartbeats, "audit webhook") < 0)
        ma_log(h->env.log, MA_LOG_ERROR, "audit.webhook_unwatched");
    while (!atomic_load(&h->stopping)) {
        ma_heartbeat();
        wait_for_work(h, ma_heartbeats_nap_ms(h->env.heartbeats, run_round(h)));
    }
    return NULL;
}

/* --- starting and stopping --- */

static void wake(struct ma_audit_hook *h)
{
    /* the only failure is a counter that is full: then the thread is awake anyway */
    uint64_t one = 1;
    if (write(h->event, &one, sizeof one) < 0)
        return;
}

static int open_parts(struct ma_audit_hook *h, const struct ma_conf *conf, char why[256])
{
    int r = ma_hook_settings_new(conf, &h->settings, why);
    if (r == MA_OK)
        r = ma_db_open(h->env.database, MA_DB_READER, h->env.log, &h->db, why);
    h->env.database = NULL; /* the caller's */
    if (r != MA_OK)
        return r;
    (void)snprintf(why, 256, "the audit webhook cannot be set up");
    h->a = ma_arena_new(MA_ARENA_FIRST, ARENA_MAX);
    h->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!h->a || h->event < 0)
        return MA_E_NOMEM;
    r = ma_httpc_new(&h->http);
    if (r != MA_OK)
        return r;
    h->running = pthread_create(&h->thread, NULL, hook_main, h) == 0;
    return h->running ? MA_OK : MA_E_NOMEM;
}

int ma_audit_hook_start(const struct ma_courier_env *env, const struct ma_conf *conf, struct ma_audit_hook **ret,
                        char why[256])
{
    *ret = NULL;
    (void)snprintf(why, 256, "out of memory");
    struct ma_audit_hook *h = calloc(1, sizeof *h);
    if (!h)
        return MA_E_NOMEM;
    h->env = *env;
    h->event = -1;
    int r = open_parts(h, conf, why);
    if (r != MA_OK) {
        ma_audit_hook_free(h);
        return r;
    }
    why[0] = '\0';
    *ret = h;
    return MA_OK;
}

void ma_audit_hook_reload(struct ma_audit_hook *h, const struct ma_conf *conf)
{
    char why[256];
    struct ma_hook_settings *s = NULL;
    if (ma_hook_settings_new(conf, &s, why) != MA_OK) {
        ma_log(h->env.log, MA_LOG_ERROR, "audit.webhook_kept", MA_KV_S("reason", why));
        return;
    }
    ma_hook_settings_free(atomic_exchange(&h->fresh, s));
    wake(h);
}

void ma_audit_hook_stop(struct ma_audit_hook *h)
{
    if (!h || !h->running)
        return;
    atomic_store(&h->stopping, true);
    wake(h);
    ma_httpc_cancel(h->http);
    (void)pthread_join(h->thread, NULL);
    h->running = false;
}

void ma_audit_hook_free(struct ma_audit_hook *h)
{
    if (!h)
        return;
    ma_audit_hook_stop(h);
    ma_hook_settings_free(atomic_exchange(&h->fresh, NULL));
    ma_hook_settings_free(h->settings);
    ma_httpc_free(h->http);
    ma_db_close(h->db);
    ma_arena_free(h->a);
    if (h->event >= 0)
        (void)close(h->event);
    free(h);
}

/* SPDX-License-Identifier: Apache-2.0
 * Absolute deadlines for headers and bodies. libmicrohttpd only knows an idle timeout, which a
 * client that drips bytes never meets, so a timer thread shuts late sockets down.
 */
#include "int.h"

#include <netinet/in.h>
#include <linux/tcp.h> /* not netinet/tcp.h: its tcp_info lacks tcpi_bytes_received */
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { TICK_MS = 200 };

enum conn_state { CONN_HEADER, CONN_BODY, CONN_BUSY, CONN_IDLE };

struct ma_conn {
    struct ma_conn *prev, *next;
    int fd;
    bool local; /* a UNIX socket */
    struct ma_tls_identity *identity;
    struct ma_ctx *held; /* HTTP thread only */
    _Atomic int state;
    _Atomic uint32_t requests; /* completed ones: tells the timer that its notes are stale */
    _Atomic int64_t since_ms;  /* when the state's deadline began to run */
    /* timer thread only */
    uint32_t noted_requests;
    uint64_t noted_bytes;
    int64_t dripping_since_ms; /* 0: the next header has not begun */
};

struct ma_deadlines {
    const struct ma_clock *clock;
    void (*tick)(void *);
    void *tick_arg;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop_cond;
    bool stop;
    _Atomic int64_t header_ms, body_ms, keep_alive_ms;
    struct ma_conn head; /* ring */
};

static int64_t mono(const struct ma_deadlines *d)
{
    return d->clock->mono_ms(d->clock);
}

/* Bytes the kernel has received on the connection; false where it cannot tell (UNIX sockets). */
static bool bytes_received(int fd, uint64_t *ret)
{
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t n = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
        return false;
    *ret = info.tcpi_bytes_received;
    return true;
}

/* Between requests nothing tells us that a header has begun but the byte count. */
static bool idle_is_late(const struct ma_deadlines *d, struct ma_conn *c, int64_t now)
{
    uint64_t bytes = 0;
    uint32_t requests = atomic_load(&c->requests);
    if (!bytes_received(c->fd,
                        &bytes)) /* a UNIX socket: the whole of the next header within idle time and header time */
        return now - atomic_load(&c->since_ms) > atomic_load(&d->keep_alive_ms) + atomic_load(&d->header_ms);
    if (requests != c->noted_requests) {
        c->noted_requests = requests;
        c->noted_bytes = bytes;
        c->dripping_since_ms = 0;
        return false;
    }
    if (bytes == c->noted_bytes)
        return false;
    if (c->dripping_since_ms == 0)
        c->dripping_since_ms = now;
    return now - c->dripping_since_ms > atomic_load(&d->header_ms);
}

static bool is_late(const struct ma_deadlines *d, struct ma_conn *c, int64_t now)
{
    switch (atomic_load(&c->state)) {
    case CONN_HEADER:
        return now - atomic_load(&c->since_ms) > atomic_load(&d->header_ms);
    case CONN_BODY:
        return now - atomic_load(&c->since_ms) > atomic_load(&d->body_ms);
    case CONN_IDLE:
        return idle_is_late(d, c, now);
    default:
        return false;
    }
}

static void sweep(struct ma_deadlines *d)
{
    int64_t now = mono(d);
    for (struct ma_conn *c = d->head.next; c != &d->head; c = c->next)
        if (is_late(d, c, now))
            (void)shutdown(c->fd, SHUT_RDWR);
}

static void *timer(void *arg)
{
    struct ma_deadlines *d = arg;
    (void)pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)TICK_MS * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&d->stop_cond, &d->lock, &until);
        sweep(d);
        (void)pthread_mutex_unlock(&d->lock);
        d->tick(d->tick_arg); /* may block on the log: connections come and go meanwhile */
        (void)pthread_mutex_lock(&d->lock);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

int ma_deadlines_new(const struct ma_clock *clock, void (*tick)(void *), void *arg, struct ma_deadlines **ret)
{
    struct ma_deadlines *d = calloc(1, sizeof *d);
    if (!d)
        return MA_E_NOMEM;
    d->clock = clock;
    d->tick = tick;
    d->tick_arg = arg;
    d->head.next = d->head.prev = &d->head;
    (void)pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->stop_cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&d->thread, NULL, timer, d) != 0) {
        free(d);
        return MA_E_NOMEM;
    }
    *ret = d;
    return MA_OK;
}

void ma_deadlines_set(struct ma_deadlines *d, struct ma_deadline_limits limits)
{
    atomic_store(&d->header_ms, limits.header_ms);
    atomic_store(&d->body_ms, limits.body_ms);
    atomic_store(&d->keep_alive_ms, limits.keep_alive_ms);
}

void ma_deadlines_free(struct ma_deadlines *d)
{
    if (!d)
        return;
    (void)pthread_mutex_lock(&d->lock);
    d->stop = true;
    (void)pthread_cond_signal(&d->stop_cond);
    (void)pthread_mutex_unlock(&d->lock);
    (void)pthread_join(d->thread, NULL);
    (void)pthread_cond_destroy(&d->stop_cond);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

struct ma_conn *ma_conn_open(struct ma_deadlines *d, int fd)
{
    struct ma_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    uint64_t bytes;
    c->fd = fd;
    c->local = !bytes_received(fd, &bytes);
    atomic_store(&c->since_ms, mono(d));
    (void)pthread_mutex_lock(&d->lock);
    c->next = &d->head;
    c->prev = d->head.prev;
    c->prev->next = c->next->prev = c;
    (void)pthread_mutex_unlock(&d->lock);
    return c;
}

void ma_conn_close(struct ma_deadlines *d, struct ma_conn *c)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&d->lock);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    (void)pthread_mutex_unlock(&d->lock);
    free(c);
}

struct ma_tls_identity **ma_conn_identity(struct ma_conn *c)
{
    return &c->identity;
}

void ma_conn_hold(struct ma_conn *c, struct ma_ctx *ctx)
{
    c->held = ctx;
}

struct ma_ctx *ma_conn_release(struct ma_conn *c)
{
    struct ma_ctx *ctx = c ? c->held : NULL;
    if (c)
        c->held = NULL;
    return ctx;
}

void ma_conn_header_done(struct ma_deadlines *d, struct ma_conn *c, bool has_body)
{
    if (has_body)
        atomic_store(&c->since_ms, mono(d));
    atomic_store_explicit(&c->state, has_body ? CONN_BODY : CONN_BUSY, memory_order_release);
}

void ma_conn_body_done(struct ma_conn *c)
{
    atomic_store_explicit(&c->state, CONN_BUSY, memory_order_release);
}

void ma_conn_idle(struct ma_deadlines *d, struct ma_conn *c)
{
    if (c->local)
        atomic_store(&c->since_ms, mono(d));
    atomic_fetch_add_explicit(&c->requests, 1, memory_order_relaxed);
    atomic_store_explicit(&c->state, CONN_IDLE, memory_order_release);
}

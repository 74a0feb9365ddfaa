/* SPDX-License-Identifier: Apache-2.0
 * A server thread on 127.0.0.1 for tests of outgoing calls: canned HTTP answers by path, counted;
 * or a scripted SMTP relay that records what it is told. One connection at a time.
 */
#ifndef MA_TEST_TINY_SERVER_H
#define MA_TEST_TINY_SERVER_H

#include "ma/base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TS_MAYBE __attribute__((unused))
#define TS_ROUTES 12
#define TS_TEXT 65536

struct ts_route {
    const char *path;
    const char *head; /* status line and headers without the last empty line; NULL: say nothing until let go */
    const char *body;
    int hits;
};
struct ts {
    int fd, port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct ts_route routes[TS_ROUTES];
    bool hold;          /* answers wait until this is cleared */
    int waiting;        /* answers that are waiting */
    char last[TS_TEXT]; /* the last request, or the whole SMTP talk of the client */
    /* SMTP */
    bool smtp;
    const char *ehlo;                                       /* extra EHLO lines, "250-X\r\n…" */
    const char *mail, *rcpt, *data, *end, *auth, *greeting; /* replies; NULL: the usual */
};

static inline bool ts_send(int fd, const char *s)
{
    size_t n = strlen(s);
    while (n) {
        ssize_t k = send(fd, s, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        s += k;
        n -= (size_t)k;
    }
    return true;
}

static inline struct ts_route *ts_find(struct ts *t, const char *request)
{
    const char *p = strchr(request, ' ');
    for (size_t i = 0; p && i < TS_ROUTES; i++) {
        size_t n = t->routes[i].path ? strlen(t->routes[i].path) : 0;
        if (n && strncmp(p + 1, t->routes[i].path, n) == 0 && (p[1 + n] == ' ' || p[1 + n] == '?'))
            return &t->routes[i];
    }
    return NULL;
}

/* Header and, when there is a Content-Length, body. */
static inline size_t ts_read_request(int fd, char *buf)
{
    size_t n = 0;
    size_t want = SIZE_MAX;
    while (n < want && n < TS_TEXT - 1) {
        ssize_t k = recv(fd, buf + n, TS_TEXT - 1 - n, 0);
        if (k <= 0)
            return n;
        n += (size_t)k;
        buf[n] = 0;
        const char *end = strstr(buf, "\r\n\r\n");
        const char *len = strstr(buf, "Content-Length:");
        if (end && want == SIZE_MAX)
            want = (size_t)(end - buf) + 4 + (len && len < end ? strtoul(len + 15, NULL, 10) : 0);
    }
    return n;
}

static inline void ts_answer(struct ts *t, int fd, const struct ts_route *r)
{
    char head[1024];
    if (!r || !r->head) {
        (void)ts_send(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    (void)t;
    (void)snprintf(head, sizeof(head), "%s\r\nConnection: close\r\n\r\n", r->head);
    if (ts_send(fd, head))
        (void)ts_send(fd, r->body);
}

static inline void ts_http(struct ts *t, int fd)
{
    static __thread char buf[TS_TEXT];
    if (ts_read_request(fd, buf) == 0)
        return;
    (void)pthread_mutex_lock(&t->lock);
    (void)snprintf(t->last, sizeof(t->last), "%s", buf);
    struct ts_route *r = ts_find(t, buf);
    if (r)
        r->hits++;
    t->waiting++;
    (void)pthread_cond_broadcast(&t->cond);
    while (t->hold)
        (void)pthread_cond_wait(&t->cond, &t->lock);
    t->waiting--;
    struct ts_route copy = r ? *r : (struct ts_route){0};
    (void)pthread_mutex_unlock(&t->lock);
    ts_answer(t, fd, r ? &copy : NULL);
}

static inline bool ts_smtp_line(struct ts *t, int fd, const char *line, bool *in_data)
{
    static const char *const verbs[] = {"MAIL", "RCPT", "DATA", "AUTH", "EHLO", "HELO", "QUIT"};
    const char *const replies[] = {t->mail ? t->mail : "250 ok\r\n",
                                   t->rcpt ? t->rcpt : "250 ok\r\n",
                                   t->data ? t->data : "354 go on\r\n",
                                   t->auth ? t->auth : "334 \r\n",
                                   NULL,
                                   "250 tiny\r\n",
                                   "221 bye\r\n"};
    if (*in_data) {
        if (strcmp(line, ".\r\n") != 0)
            return true;
        *in_data = false;
        return ts_send(fd, t->end ? t->end : "250 queued\r\n");
    }
    for (size_t i = 0; i < MA_COUNT(verbs); i++) {
        if (strncmp(line, verbs[i], 4) != 0)
            continue;
        if (!replies[i])
            return ts_send(fd, "250-tiny\r\n") && (!t->ehlo || ts_send(fd, t->ehlo)) && ts_send(fd, "250 HELP\r\n");
        *in_data = i == 2 && replies[i][0] == '3';
        return ts_send(fd, replies[i]) && i != MA_COUNT(verbs) - 1;
    }
    return ts_send(fd, strstr(t->last, "AUTH") ? "235 ok\r\n" : "500 what\r\n");
}

static inline void ts_smtp(struct ts *t, int fd)
{
    char line[2048];
    size_t n = 0;
    bool in_data = false;
    if (!ts_send(fd, t->greeting ? t->greeting : "220 tiny\r\n"))
        return;
    for (;;) {
        char c = 0;
        if (recv(fd, &c, 1, 0) != 1 || n + 2 > sizeof(line))
            return;
        line[n++] = c;
        if (c != '\n')
            continue;
        line[n] = 0;
        (void)pthread_mutex_lock(&t->lock);
        size_t used = strlen(t->last);
        (void)snprintf(t->last + used, sizeof(t->last) - used, "%s", line);
        (void)pthread_mutex_unlock(&t->lock);
        n = 0;
        if (!ts_smtp_line(t, fd, line, &in_data))
            return;
    }
}

static inline void *ts_main(void *arg)
{
    struct ts *t = arg;
    for (;;) {
        int c = accept(t->fd, NULL, NULL);
        if (c < 0)
            return NULL;
        if (t->smtp)
            ts_smtp(t, c);
        else
            ts_http(t, c);
        (void)shutdown(c, SHUT_WR);
        char rest[512];
        struct timeval soon = {1, 0};
        (void)setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
        while (recv(c, rest, sizeof(rest), 0) > 0)
            ;
        (void)close(c);
    }
}

TS_MAYBE static bool ts_start(struct ts *t)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(in);
    t->fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->cond, NULL);
    if (t->fd < 0 || bind(t->fd, (const struct sockaddr *)&in, n) != 0 || listen(t->fd, 16) != 0 ||
        getsockname(t->fd, (struct sockaddr *)&in, &n) != 0)
        return false;
    t->port = ntohs(in.sin_port);
    return pthread_create(&t->thread, NULL, ts_main, t) == 0;
}

TS_MAYBE static void ts_stop(struct ts *t)
{
    (void)shutdown(t->fd, SHUT_RDWR);
    (void)pthread_join(t->thread, NULL);
    (void)close(t->fd);
}

TS_MAYBE static void ts_hold(struct ts *t, bool hold)
{
    (void)pthread_mutex_lock(&t->lock);
    t->hold = hold;
    (void)pthread_cond_broadcast(&t->cond);
    (void)pthread_mutex_unlock(&t->lock);
}

/* Returns when an answer is being held. */
TS_MAYBE static void ts_wait_held(struct ts *t)
{
    (void)pthread_mutex_lock(&t->lock);
    while (t->waiting == 0)
        (void)pthread_cond_wait(&t->cond, &t->lock);
    (void)pthread_mutex_unlock(&t->lock);
}

TS_MAYBE static int ts_hits(struct ts *t, size_t route)
{
    (void)pthread_mutex_lock(&t->lock);
    int n = t->routes[route].hits;
    (void)pthread_mutex_unlock(&t->lock);
    return n;
}

#endif

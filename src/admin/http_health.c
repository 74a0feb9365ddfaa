/* SPDX-License-Identifier: Apache-2.0
 * GET /health/live, /health/ready and /metrics on the admin socket, for monitors that speak HTTP to a UNIX
 * socket (curl --unix-socket): one request, one answer, then the connection ends.
 */
#include "int.h"
#include "ma/metrics.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, ANSWER_HEAD_MAX = 1024 };

static bool readable(int fd, const struct ma_frame_wait *wait)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = wait->stop, .events = POLLIN}};
    return poll(p, 2, wait->timeout_ms) > 0 && p[1].revents == 0 && p[0].revents != 0;
}

enum ma_admin_speech ma_admin_listen(int fd, const struct ma_frame_wait *wait)
{
    char first = 0;
    if (!readable(fd, wait) || recv(fd, &first, 1, MSG_PEEK) != 1)
        return MA_SPEECH_NONE;
    return first == 'G' || first == 'H' ? MA_SPEECH_HTTP : MA_SPEECH_FRAME;
}

/* Reads up to the end of the header; a body is not taken. */
static bool read_head(int fd, const struct ma_frame_wait *wait, char head[HEAD_MAX + 1])
{
    size_t n = 0;
    while (n < HEAD_MAX && readable(fd, wait)) {
        ssize_t got = recv(fd, head + n, HEAD_MAX - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

static bool asks_for(const char *head, const char *path)
{
    const char *target = strchr(head, ' ');
    size_t n = strlen(path);
    return target && strncmp(target + 1, path, n) == 0 && (target[1 + n] == ' ' || target[1 + n] == '?');
}

/* An id of its own for every answer, as on the other listeners. */
static void name_request(const struct ma_rand *rand, char out[33])
{
    if (ma_rand_chars(rand, "0123456789abcdef", out, 32) < 0)
        (void)snprintf(out, 33, "unknown");
}

struct reply {
    const char *status, *type;
    struct ma_buf body;
};

static void send_all(int fd, struct ma_span s)
{
    while (s.n > 0) {
        ssize_t done = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        s.p += done;
        s.n -= (size_t)done;
    }
}

static void answer(int fd, bool body, const struct ma_rand *rand, const struct reply *r)
{
    char id[33], head[ANSWER_HEAD_MAX];
    name_request(rand, id);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                     "x-request-id: %s\r\nConnection: close\r\n\r\n",
                     r->status, r->type, r->body.n, id);
    send_all(fd, ma_span_of(head, (size_t)n));
    if (body)
        send_all(fd, ma_buf_view(&r->body));
}

static void decide(const char *head, const struct ma_admin_env *env, struct reply *r)
{
    if (asks_for(head, "/metrics") && env->metrics) {
        r->type = MA_METRICS_TYPE;
        if (env->metrics(env->arg, &r->body) != MA_OK)
            r->status = "503 Service Unavailable";
    } else if (asks_for(head, "/health/live")) {
        ma_buf_str(&r->body, "{\"status\":\"ok\"}");
    } else if (!asks_for(head, "/health/ready") || !env->health) {
        r->status = "404 Not Found";
    } else if (env->health(env->arg, &r->body) != MA_OK) {
        r->status = "503 Service Unavailable";
    }
}

void ma_admin_http(int fd, const struct ma_frame_wait *wait, const struct ma_admin_env *env)
{
    char head[HEAD_MAX + 1] = "";
    struct reply r = {.status = "200 OK", .type = "application/json; charset=utf-8"};
    if (!read_head(fd, wait, head))
        return;
    ma_buf_init(&r.body, MA_METRICS_TEXT_MAX);
    decide(head, env, &r);
    answer(fd, head[0] == 'G', env->rand, &r);
    ma_buf_free(&r.body);
}

/* SPDX-License-Identifier: Apache-2.0
 * GET /health/live and /health/ready on the admin socket, for monitors that speak HTTP to a UNIX
 * socket (curl --unix-socket): one request, one answer, then the connection ends.
 */
#include "int.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, ANSWER_MAX = 8192 };

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

static void answer(int fd, bool body, const char *status, const struct ma_buf *json)
{
    struct ma_buf b;
    ma_buf_init(&b, ANSWER_MAX);
    ma_buf_printf(&b,
                  "HTTP/1.1 %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n"
                  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                  status, json->n);
    if (body)
        ma_buf_span(&b, ma_buf_view(json));
    for (size_t at = 0; ma_buf_err(&b) == MA_OK && at < b.n;) {
        ssize_t done = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        if (done <= 0)
            break;
        at += (size_t)done;
    }
    ma_buf_free(&b);
}

void ma_admin_http(int fd, const struct ma_frame_wait *wait, const struct ma_admin_env *env)
{
    char head[HEAD_MAX + 1] = "";
    struct ma_buf json;
    const char *status = "200 OK";
    if (!read_head(fd, wait, head))
        return;
    ma_buf_init(&json, ANSWER_MAX / 2);
    if (asks_for(head, "/health/live"))
        ma_buf_str(&json, "{\"status\":\"ok\"}");
    else if (!asks_for(head, "/health/ready") || !env->health)
        status = "404 Not Found";
    else if (env->health(env->arg, &json) != MA_OK)
        status = "503 Service Unavailable";
    answer(fd, head[0] == 'G', status, &json);
    ma_buf_free(&json);
}

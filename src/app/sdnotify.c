/* SPDX-License-Identifier: Apache-2.0
 * One datagram to the service manager, and how often it wants one.
 */
#include "ma/sdnotify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STATE_MAX = 512 };

static void send_state(const char *path, const char *state, size_t n)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, path, strlen(path));
    if (path[0] == '@')
        sa.sun_path[0] = '\0'; /* abstract namespace */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)sendto(fd, state, n, MSG_NOSIGNAL, (const struct sockaddr *)&sa, len);
    (void)close(fd);
}

void ma_sd_notify(const char *fmt, ...)
{
    const char *path = secure_getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@') || path[1] == '\0' ||
        strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return;
    char state[STATE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(state, sizeof state, fmt, ap);
    va_end(ap);
    if (n > 0)
        send_state(path, state, n < STATE_MAX ? (size_t)n : STATE_MAX - 1);
}

/* A whole decimal number above zero, or 0. */
static int64_t number_of(const char *text)
{
    char *end = NULL;
    if (!text || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? v : 0;
}

int64_t ma_sd_watchdog_usec(void)
{
    const char *pid = secure_getenv("WATCHDOG_PID");
    if (pid && number_of(pid) != getpid())
        return 0; /* meant for another process */
    return number_of(secure_getenv("WATCHDOG_USEC"));
}

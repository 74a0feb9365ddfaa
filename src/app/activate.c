/* SPDX-License-Identifier: Apache-2.0
 * Socket activation: listening sockets that the service manager made and passed.
 */
#include "ma/sdnotify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */

static bool env_number(const char *name, long *ret)
{
    const char *text = secure_getenv(name);
    char *end = NULL;
    if (!text || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *ret = strtol(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), t = strlen(tail);
    return n >= t && strcmp(text + n - t, tail) == 0;
}

static int option_of(int fd, int option)
{
    int v = -1;
    socklen_t n = sizeof v;
    return getsockopt(fd, SOL_SOCKET, option, &v, &n) == 0 ? v : -1;
}

static const char *fault_of(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (option_of(fd, SO_TYPE) != SOCK_STREAM)
        return "is not a stream socket";
    if (option_of(fd, SO_ACCEPTCONN) != 1)
        return "does not listen (the socket unit needs Accept=no)";
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return "cannot be prepared";
    return NULL;
}

/* NULL, or what is wrong. A socket unit without FileDescriptorName= passes its own name; "unknown" stands for none. */
static const char *take(struct ma_sd_sockets *s, const char *name, int fd)
{
    const char *fault = fault_of(fd);
    if (fault)
        return fault;
    if (strcmp(name, "metrics") == 0) {
        if (s->metrics >= 0)
            return "is the second one of this name";
        s->metrics = fd;
        return NULL;
    }
    if (*name != '\0' && strcmp(name, "http") != 0 && strcmp(name, "unknown") != 0 && !ends_with(name, ".socket"))
        return "is neither http nor metrics";
    s->http[s->n_http++] = fd;
    return NULL;
}

static int take_all(struct ma_sd_sockets *s, int n, const char *names, char why[256])
{
    for (int i = 0; i < n; i++) {
        size_t len = strcspn(names, ":");
        char name[64];
        (void)snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), names);
        const char *fault = take(s, name, FIRST_FD + i);
        if (fault) {
            (void)snprintf(why, 256, "socket activation: socket %d, \"%s\", %s", i + 1, name, fault);
            return MA_E_INVAL;
        }
        names += len + (names[len] == ':');
    }
    return MA_OK;
}

int ma_sd_listen(struct ma_sd_sockets *ret, char why[256])
{
    long pid = 0, n = 0;
    int r = MA_OK;
    *ret = (struct ma_sd_sockets){.metrics = -1};
    if (!env_number("LISTEN_PID", &pid) || pid != getpid() || !env_number("LISTEN_FDS", &n))
        return MA_OK;
    const char *names = secure_getenv("LISTEN_FDNAMES");
    if (n > MA_SD_SOCKETS_MAX) {
        (void)snprintf(why, 256, "socket activation: more than %d sockets", MA_SD_SOCKETS_MAX);
        r = MA_E_INVAL;
    } else {
        r = take_all(ret, (int)n, names ? names : "", why);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return r;
}

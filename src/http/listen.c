/* SPDX-License-Identifier: Apache-2.0
 * Listening sockets from configuration text.
 */
#include "int.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int fail(int fd, const char *listen, const char *what, char why[256])
{
    char text[128];
    (void)snprintf(why, 256, "listen %s: %s: %s", listen, what, strerror_r(errno, text, sizeof text));
    if (fd >= 0)
        (void)close(fd);
    return MA_E_IO;
}

static int listen_unix(const char *listen_text, const char *path, int *ret_fd, char why[256])
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path) {
        (void)snprintf(why, 256, "listen: the socket path is longer than %zu bytes", sizeof sa.sun_path - 1);
        return MA_E_INVAL;
    }
    memcpy(sa.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, listen_text, "socket", why);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(path); /* left behind by a daemon that was killed; the database lock keeps a live one away */
    if (bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
        return fail(fd, listen_text, "bind", why);
    if (chmod(path, 0660) < 0 || listen(fd, BACKLOG) < 0)
        return fail(fd, listen_text, "listen", why);
    *ret_fd = fd;
    return MA_OK;
}

static int bind_first(const struct addrinfo *list, const char *listen_text, int *ret_fd, char why[256])
{
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, listen_text, "socket", why);
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, list->ai_addr, list->ai_addrlen) < 0)
        return fail(fd, listen_text, "bind", why);
    if (listen(fd, BACKLOG) < 0)
        return fail(fd, listen_text, "listen", why);
    *ret_fd = fd;
    return MA_OK;
}

static int listen_tcp(const char *listen_text, int *ret_fd, char why[256])
{
    char host[256] = "";
    const char *colon = strrchr(listen_text, ':');
    size_t n = colon ? (size_t)(colon - listen_text) : 0;
    if (!colon || n >= sizeof host) {
        (void)snprintf(why, 256, "listen: \"%s\" is not host:port, [v6]:port or unix:/path", listen_text);
        return MA_E_INVAL;
    }
    bool v6 = n >= 2 && listen_text[0] == '[' && listen_text[n - 1] == ']';
    memcpy(host, listen_text + (v6 ? 1 : 0), n - (v6 ? 2 : 0));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    int e = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &list);
    if (e != 0) {
        (void)snprintf(why, 256, "listen %s: %s", listen_text, gai_strerror(e));
        return MA_E_INVAL;
    }
    int r = bind_first(list, listen_text, ret_fd, why);
    freeaddrinfo(list);
    return r;
}

static void describe(int fd, const char *listen_text, char address[128])
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    char host[64], port[16];
    if (strncmp(listen_text, "unix:", 5) != 0 && getsockname(fd, (struct sockaddr *)&sa, &n) == 0 &&
        getnameinfo((const struct sockaddr *)&sa, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        (void)snprintf(address, 128, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    else
        (void)snprintf(address, 128, "%s", listen_text);
}

int ma_listen(const char *listen_text, int *ret_fd, char address[128], char why[256])
{
    bool local = strncmp(listen_text, "unix:", 5) == 0;
    int r = local ? listen_unix(listen_text, listen_text + 5, ret_fd, why) : listen_tcp(listen_text, ret_fd, why);
    if (r == MA_OK)
        describe(*ret_fd, listen_text, address);
    return r;
}

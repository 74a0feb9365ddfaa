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

/* A file that a killed daemon left behind goes; a live listener and files of other kinds stay. */
static int clear_path(const struct sockaddr_un *sa, const char *listen_text, char why[256])
{
    struct stat st;
    if (lstat(sa->sun_path, &st) != 0)
        return errno == ENOENT ? MA_OK : fail(-1, listen_text, "look at it", why);
    if (!S_ISSOCK(st.st_mode)) {
        (void)snprintf(why, 256, "listen %s: the file is there and is not a socket", listen_text);
        return MA_E_EXISTS;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, listen_text, "socket", why);
    int r = connect(fd, (const struct sockaddr *)sa, sizeof *sa);
    bool nobody = r != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    if (!nobody) {
        (void)snprintf(why, 256, "listen %s: another process listens there", listen_text);
        return MA_E_BUSY;
    }
    return unlink(sa->sun_path) == 0 ? MA_OK : fail(-1, listen_text, "replace", why);
}

static int listen_unix(const char *listen_text, const char *path, struct ma_listen_file *file, int *ret_fd,
                       char why[256])
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof sa.sun_path) {
        (void)snprintf(why, 256, "listen: the socket path is longer than %zu bytes", sizeof sa.sun_path - 1);
        return MA_E_INVAL;
    }
    memcpy(sa.sun_path, path, strlen(path));
    int r = clear_path(&sa, listen_text, why);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, listen_text, "socket", why);
    if (bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
        return fail(fd, listen_text, "bind", why);
    /* nobody can connect before listen, so the mode is right before it matters */
    if (chmod(path, 0660) < 0 || lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0)
        return fail(fd, listen_text, "listen", why);
    memcpy(file->path, sa.sun_path, sizeof file->path);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    *ret_fd = fd;
    return MA_OK;
}

void ma_listen_remove(struct ma_listen_file *file)
{
    struct stat st;
    if (file->ino != 0 && lstat(file->path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
        (void)unlink(file->path);
    file->ino = 0;
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

void ma_listen_describe(int fd, char address[128])
{
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } at = {.storage = {0}};
    socklen_t n = sizeof at.storage;
    char host[64], port[16];
    (void)snprintf(address, 128, "a passed socket");
    if (getsockname(fd, &at.sa, &n) != 0)
        return;
    if (at.sa.sa_family == AF_UNIX)
        (void)snprintf(address, 128, "unix:%.107s", at.un.sun_path);
    else if (getnameinfo(&at.sa, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        (void)snprintf(address, 128, at.sa.sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int ma_listen(const char *listen_text, int *ret_fd, struct ma_listen_file *file, char address[128], char why[256])
{
    bool local = strncmp(listen_text, "unix:", 5) == 0;
    int r = local ? listen_unix(listen_text, listen_text + 5, file, ret_fd, why) : listen_tcp(listen_text, ret_fd, why);
    if (r == MA_OK)
        ma_listen_describe(*ret_fd, address);
    return r;
}

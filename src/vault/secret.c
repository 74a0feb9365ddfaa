/* SPDX-License-Identifier: Apache-2.0
 * Files that hold secrets: who may own them, who may read them, and references to them.
 */
#include "ma/vault.h"

#include "int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Anything beyond rw for the owner and r for the group: mode ≤ 0640. */
#define MODE_REFUSED 0137u
#define PATH_SHOWN_MAX 4096

void ma_fd_close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

int ma_why_errno(char why[MA_WHY_MAX], int err_code, const char *what, int err)
{
    char text[96];

    snprintf(why, MA_WHY_MAX, "%.150s: %s", what, strerror_r(err, text, sizeof text));
    return err_code;
}

static int open_errno(int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
        return MA_E_NOTFOUND;
    case EACCES:
    case EPERM:
        return MA_E_PERM;
    default:
        return MA_E_IO;
    }
}

static int check_file(int fd, const char *shown, char why[MA_WHY_MAX])
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return ma_why_errno(why, MA_E_IO, shown, errno);
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, MA_WHY_MAX, "%.150s: not a regular file", shown);
        return MA_E_PERM;
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        snprintf(why, MA_WHY_MAX, "%.150s: owned by uid %u, must be root or uid %u", shown, st.st_uid, geteuid());
        return MA_E_PERM;
    }
    if ((st.st_mode & MODE_REFUSED) != 0) {
        snprintf(why, MA_WHY_MAX, "%.150s: mode %04o is too open, must be 0640 or less", shown, st.st_mode & 07777u);
        return MA_E_PERM;
    }
    return MA_OK;
}

/* Fills buf with what is there; one byte more than fits is MA_E_RANGE. */
static int read_all(int fd, const char *shown, uint8_t *buf, size_t cap, size_t *ret_n, char why[MA_WHY_MAX])
{
    size_t n = 0;
    uint8_t more;

    for (;;) {
        const ssize_t got = read(fd, n < cap ? buf + n : &more, n < cap ? cap - n : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ma_why_errno(why, MA_E_IO, shown, errno);
        if (got == 0)
            break;
        if (n == cap) {
            ma_wipe(&more, 1);
            snprintf(why, MA_WHY_MAX, "%.150s: larger than %zu bytes", shown, cap);
            return MA_E_RANGE;
        }
        n += (size_t)got;
    }
    *ret_n = n;
    return MA_OK;
}

int ma_secret_read_at(int dirfd, const char *name, const char *shown, uint8_t *buf, size_t cap, size_t *ret_n,
                      char why[MA_WHY_MAX])
{
    /* O_NONBLOCK: a FIFO in its place must not hang the start. */
    MA_CLEANUP(ma_fd_close_p) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    *ret_n = 0;
    if (fd < 0 && errno == ELOOP) {
        snprintf(why, MA_WHY_MAX, "%.150s: is a symbolic link", shown);
        return MA_E_PERM;
    }
    if (fd < 0)
        return ma_why_errno(why, open_errno(errno), shown, errno);
    const int rc = check_file(fd, shown, why);
    return rc != MA_OK ? rc : read_all(fd, shown, buf, cap, ret_n, why);
}

int ma_vault_file_read(const struct ma_vault_dir *d, const char *name, uint8_t *buf, size_t cap, size_t *ret_n,
                       char why[MA_WHY_MAX])
{
    char shown[PATH_SHOWN_MAX];

    snprintf(shown, sizeof shown, "%s/%s", d->name, name);
    return ma_secret_read_at(d->fd, name, shown, buf, cap, ret_n, why);
}

static bool write_all(int fd, struct ma_span s)
{
    while (s.n > 0) {
        const ssize_t put = write(fd, s.p, s.n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        s = ma_span_of(s.p + put, s.n - (size_t)put);
    }
    return true;
}

int ma_vault_file_create(const struct ma_vault_dir *d, const char *name, struct ma_span text, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ma_fd_close_p)
    int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    char shown[PATH_SHOWN_MAX];

    snprintf(shown, sizeof shown, "%s/%s", d->name, name);
    if (fd < 0)
        return ma_why_errno(why, errno == EEXIST ? MA_E_EXISTS : errno == EACCES ? MA_E_PERM : MA_E_IO, shown, errno);
    if (!write_all(fd, text) || fsync(fd) != 0 || fsync(d->fd) != 0) {
        const int err = errno;
        unlinkat(d->fd, name, 0); /* half a key file is worse than none */
        return ma_why_errno(why, MA_E_IO, shown, err);
    }
    return MA_OK;
}

int ma_vault_file_replace(const struct ma_vault_dir *d, const char *name, const char *next, struct ma_span text,
                          char why[MA_WHY_MAX])
{
    if (unlinkat(d->fd, next, 0) != 0 && errno != ENOENT) /* what a crash left behind */
        return ma_why_errno(why, MA_E_IO, d->name, errno);
    const int rc = ma_vault_file_create(d, next, text, why);
    if (rc != MA_OK)
        return rc;
    if (renameat(d->fd, next, d->fd, name) != 0 || fsync(d->fd) != 0) {
        const int err = errno;
        unlinkat(d->fd, next, 0);
        return ma_why_errno(why, MA_E_IO, d->name, err);
    }
    return MA_OK;
}

static int name_it(const struct ma_vault_dir *d, const char *aside, const char *name, bool force)
{
    const int rc = force ? renameat(d->fd, aside, d->fd, name) : renameat2(d->fd, aside, d->fd, name, RENAME_NOREPLACE);

    return rc == 0 ? fsync(d->fd) : rc;
}

int ma_secret_write(const char *path, struct ma_span text, bool force, char why[256])
{
    char dir[PATH_SHOWN_MAX], aside[NAME_MAX + 1];
    const char *const slash = strrchr(path, '/');
    const char *const name = slash ? slash + 1 : path;

    why[0] = '\0';
    if ((size_t)(name - path) >= sizeof dir ||
        (size_t)snprintf(aside, sizeof aside, ".%s.partial", name) >= sizeof aside || *name == '\0') {
        snprintf(why, MA_WHY_MAX, "%.150s: not a file's name", path);
        return MA_E_INVAL;
    }
    (void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(name - path) : 1, slash ? path : ".");
    const struct ma_vault_dir d = {open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir};
    MA_CLEANUP(ma_fd_close_p) int fd = d.fd;
    if (fd < 0)
        return ma_why_errno(why, open_errno(errno), dir, errno);
    if (!force && faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return ma_why_errno(why, MA_E_EXISTS, path, EEXIST);
    (void)unlinkat(fd, aside, 0);
    const int rc = ma_vault_file_create(&d, aside, text, why);
    if (rc != MA_OK || name_it(&d, aside, name, force) == 0)
        return rc;
    const int err = errno;
    (void)unlinkat(fd, aside, 0);
    return ma_why_errno(why, err == EEXIST ? MA_E_EXISTS : MA_E_IO, path, err);
}

/* --- references --- */

/* The path a reference means. MA_E_INVAL for forms we do not know. */
static int ref_path(struct ma_arena *a, const char *ref, const char **ret, char why[MA_WHY_MAX])
{
    static const char file[] = "file:";
    static const char cred[] = "cred:";

    if (strncmp(ref, file, sizeof file - 1) == 0 && ref[sizeof file - 1] == '/') {
        *ret = ref + sizeof file - 1;
        return MA_OK;
    }
    const char *name = ref + sizeof cred - 1;
    /* systemd.exec(5): a credential is one file directly in the directory. */
    if (strncmp(ref, cred, sizeof cred - 1) != 0 || *name == '\0' || *name == '.' || strchr(name, '/')) {
        snprintf(why, MA_WHY_MAX, "a secret reference must be file:/path or cred:name");
        return MA_E_INVAL;
    }
    const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
    if (!dir || *dir != '/') {
        snprintf(why, MA_WHY_MAX, "cred:%.100s: CREDENTIALS_DIRECTORY is not set", name);
        return MA_E_NOTFOUND;
    }
    *ret = ma_arena_printf(a, "%s/%s", dir, name);
    return *ret ? MA_OK : MA_E_NOMEM;
}

struct secret_buf {
    uint8_t *p;
};

static void secret_buf_free_p(struct secret_buf *b)
{
    ma_secure_free(b->p, MA_SECRET_FILE_MAX);
}

int ma_secret_load(struct ma_arena *a, const char *ref, struct ma_span *ret, char why[256])
{
    const char *path = NULL;
    size_t n = 0;

    *ret = MA_SPAN_NULL;
    why[0] = '\0';
    int rc = ref_path(a, ref ? ref : "", &path, why);
    if (rc != MA_OK)
        return rc;
    MA_CLEANUP(secret_buf_free_p) struct secret_buf buf = {ma_secure_alloc(MA_SECRET_FILE_MAX)};
    if (!buf.p)
        return MA_E_NOMEM;
    rc = ma_secret_read_at(AT_FDCWD, path, path, buf.p, MA_SECRET_FILE_MAX, &n, why);
    if (rc != MA_OK)
        return rc;
    if (n > 0 && buf.p[n - 1] == '\n')
        n--;
    if (n == 0) {
        snprintf(why, MA_WHY_MAX, "%.150s: is empty", path);
        return MA_E_INVAL;
    }
    *ret = ma_arena_dup(a, ma_span_of(buf.p, n));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

int ma_public_load(struct ma_arena *a, const char *ref, size_t max, struct ma_span *ret, char why[256])
{
    const char *path = ref;
    size_t n = 0;

    *ret = MA_SPAN_NULL;
    why[0] = '\0';
    int rc = *ref == '/' ? MA_OK : ref_path(a, ref, &path, why);
    if (rc != MA_OK)
        return rc;
    uint8_t *p = ma_arena_alloc(a, max);
    if (!p)
        return MA_E_NOMEM;
    MA_CLEANUP(ma_fd_close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return ma_why_errno(why, open_errno(errno), path, errno);
    rc = read_all(fd, path, p, max, &n, why);
    *ret = ma_span_of(p, n);
    return rc;
}

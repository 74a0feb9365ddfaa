/* SPDX-License-Identifier: Apache-2.0
 * The spool: one complete file per message in a directory, named by an ascending sequence.
 */
#include "ma/outbox.h"

#include "int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEQUENCE_DIGITS 20
#define TEMP_NAME ".ma-spool.tmp" /* one writer per directory: one name is enough */
#define NAME_TRIES 64             /* names taken by others that are stepped over before giving up */

static void close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void closedir_p(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* The sequence a file name starts with; false when it is not one of ours. */
static bool sequence_parse(const char *name, uint64_t *ret)
{
    uint64_t v = 0;
    for (int i = 0; i < SEQUENCE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        if (!ma_mul_ok(v, (uint64_t)10, &v) || !ma_add_ok(v, (uint64_t)(name[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return name[SEQUENCE_DIGITS] == '-' && v < UINT64_MAX;
}

static int highest_sequence(int dirfd, uint64_t *ret)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return MA_E_IO;
    DIR *d MA_CLEANUP(closedir_p) = fdopendir(fd);
    if (!d) {
        close(fd);
        return MA_E_IO;
    }
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        uint64_t v;
        if (sequence_parse(e->d_name, &v) && v > *ret)
            *ret = v;
    }
    return MA_OK;
}

static int report(const char *path, const char *what, int err, char why[256])
{
    char text[80];
    snprintf(why, 256, "spool %.120s: %s: %s", path, what, strerror_r(err, text, sizeof text));
    return err == ENOSPC || err == EDQUOT ? MA_E_FULL : MA_E_IO;
}

/* A descriptor of the directory, or -1 with errno set. */
static int open_directory(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

/* Opens, or opens anew: the count never goes back. 0, or -1 with errno set. */
static int attach(struct ma_spool *s)
{
    int fd = open_directory(s->path);
    if (fd < 0)
        return -1;
    ma_spool_close(s);
    s->fd = fd;
    struct stat st;
    if (fstat(fd, &st) < 0 || highest_sequence(fd, &s->sequence) < 0) {
        int err = errno;
        ma_spool_close(s);
        errno = err;
        return -1;
    }
    s->dev = (uint64_t)st.st_dev;
    s->ino = (uint64_t)st.st_ino;
    return 0;
}

int ma_spool_open(struct ma_arena *a, const char *path, struct ma_spool *ret, char why[256])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    *ret = (struct ma_spool){.path = ma_arena_strdup(a, ma_span_of(path, n)), .fd = -1};
    if (!ret->path)
        return MA_E_NOMEM;
    if (path[0] != '/') {
        snprintf(why, 256, "spool %.120s: the directory must be an absolute path", path);
        return MA_E_INVAL;
    }
    return attach(ret) < 0 ? report(ret->path, "cannot use the directory", errno, why) : MA_OK;
}

void ma_spool_close(struct ma_spool *s)
{
    close_p(&s->fd);
    s->fd = -1;
}

static int write_all(int fd, struct ma_span s)
{
    while (s.n > 0) {
        ssize_t done = write(fd, s.p, s.n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        s = ma_span_of(s.p + done, s.n - (size_t)done);
    }
    return 0;
}

static int write_temp(int dirfd, struct ma_span json)
{
    /* what an interrupted run left under this name is incomplete by definition */
    if (unlinkat(dirfd, TEMP_NAME, 0) < 0 && errno != ENOENT)
        return -1;
    int fd MA_CLEANUP(close_p) = openat(dirfd, TEMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (write_all(fd, json) < 0 || write_all(fd, MA_LIT("\n")) < 0)
        return -1;
    return fsync(fd);
}

/* Renames without replacing; file systems that cannot promise that get a plain rename. */
static int rename_new(int dirfd, const char *name)
{
    if (renameat2(dirfd, TEMP_NAME, dirfd, name, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? renameat(dirfd, TEMP_NAME, dirfd, name) : -1;
}

static int publish(struct ma_spool *s, const char *channel)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        char name[64];
        s->sequence++;
        snprintf(name, sizeof name, "%0*llu-%s.json", SEQUENCE_DIGITS, (unsigned long long)s->sequence, channel);
        if (rename_new(s->fd, name) == 0)
            return fsync(s->fd);
        if (errno != EEXIST)
            return -1;
        /* somebody else counts here too: go on after the highest */
        if (highest_sequence(s->fd, &s->sequence) < 0)
            return -1;
    }
    errno = EEXIST;
    return -1;
}

/* Not open yet, or removed (and perhaps made again) since it was opened. */
static bool detached(const struct ma_spool *s)
{
    struct stat st;
    return s->fd < 0 || (fstat(s->fd, &st) == 0 && st.st_nlink == 0);
}

int ma_spool_write(struct ma_spool *s, const char *channel, struct ma_span json, char why[256])
{
    if (detached(s) && attach(s) < 0)
        return report(s->path, "cannot use the directory", errno, why);
    if (write_temp(s->fd, json) < 0 || publish(s, channel) < 0) {
        int err = errno;
        (void)unlinkat(s->fd, TEMP_NAME, 0);
        return report(s->path, "cannot write a message", err, why);
    }
    return MA_OK;
}

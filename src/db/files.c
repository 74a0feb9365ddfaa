/* SPDX-License-Identifier: Apache-2.0
 * The database's files: its directory, its lock file, modes, and saying what is wrong with them.
 */
#include "ma/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "int.h"

int ma_db_why(char why[MA_WHY_MAX], int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, MA_WHY_MAX, fmt, ap);
    va_end(ap);
    return err;
}

static int errno_code(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return MA_E_NOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return MA_E_PERM;
    case ENOSPC:
    case EDQUOT:
        return MA_E_FULL;
    case ENOMEM:
        return MA_E_NOMEM;
    default:
        return MA_E_IO;
    }
}

int ma_db_why_errno(char why[MA_WHY_MAX], const char *what, const char *path)
{
    int e = errno;
    char text[96] = "";
    return ma_db_why(why, errno_code(e), "%s %s: %s", what, path, strerror_r(e, text, sizeof(text)));
}

static int sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int r = fsync(fd);
    (void)close(fd);
    return r;
}

static int check_directory(const char *path, char dir[PATH_MAX], char why[MA_WHY_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= PATH_MAX)
        return ma_db_why(why, MA_E_RANGE, "database path is too long");
    memcpy(dir, slash ? path : ".", n);
    dir[n] = '\0';
    if (slash == path)
        memcpy(dir, "/", 2);
    struct stat st;
    if (stat(dir, &st) != 0)
        return ma_db_why_errno(why, "database directory", dir);
    if (!S_ISDIR(st.st_mode))
        return ma_db_why(why, MA_E_NOTFOUND, "database directory %s is not a directory", dir);
    return MA_OK;
}

/* flock belongs to the open file, so a second writer is refused within one process too. The file
 * stays: removing it would let two processes hold locks on two files of the same name. */
static int take_lock(const char *path, int *ret_fd, char why[MA_WHY_MAX])
{
    char lock[PATH_MAX + 8];
    if (snprintf(lock, sizeof(lock), "%s.lock", path) >= PATH_MAX)
        return ma_db_why(why, MA_E_RANGE, "database path is too long");
    *ret_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (*ret_fd < 0)
        return ma_db_why_errno(why, "cannot write in the database directory: lock file", lock);
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
        return MA_OK;
    if (errno == EWOULDBLOCK)
        return ma_db_why(why, MA_E_BUSY, "database %s is in use by another process (it holds %s)", path, lock);
    return ma_db_why_errno(why, "cannot lock", lock);
}

/* The file is made here because SQLite's would have the mode the umask leaves. An existing file is
 * not opened: closing it would drop the locks SQLite holds for other connections of this process. */
static int create_file(const char *path, const char *dir, char why[MA_WHY_MAX])
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? MA_OK : ma_db_why_errno(why, "cannot create database", path);
    (void)close(fd);
    return sync_directory(dir) == 0 ? MA_OK : ma_db_why_errno(why, "cannot sync directory", dir);
}

/* A symbolic link and its target must have the same lock file. */
static int real_path(const char *path, char out[PATH_MAX], char why[MA_WHY_MAX])
{
    if (realpath(path, out))
        return MA_OK;
    if (errno != ENOENT)
        return ma_db_why_errno(why, "database", path);
    if (snprintf(out, PATH_MAX, "%s", path) >= PATH_MAX)
        return ma_db_why(why, MA_E_RANGE, "database path is too long");
    return MA_OK;
}

int ma_db_lock(const char *path, char real[PATH_MAX], int *ret_lock, char why[MA_WHY_MAX])
{
    char dir[PATH_MAX];
    int r = real_path(path, real, why);
    if (r == MA_OK)
        r = check_directory(real, dir, why);
    return r == MA_OK ? take_lock(real, ret_lock, why) : r;
}

int ma_db_files(const char *path, bool writer, char real[PATH_MAX], int *ret_lock, char why[MA_WHY_MAX])
{
    char dir[PATH_MAX];
    int r = real_path(path, real, why);
    if (r == MA_OK)
        r = check_directory(real, dir, why);
    if (r == MA_OK && writer)
        r = take_lock(real, ret_lock, why);
    if (r == MA_OK && writer)
        r = create_file(real, dir, why);
    if (r != MA_OK)
        return r;
    struct stat st;
    if (stat(real, &st) != 0)
        return ma_db_why_errno(why, "database", real);
    return S_ISREG(st.st_mode) ? MA_OK : ma_db_why(why, MA_E_IO, "database %s is not a regular file", real);
}

int ma_db_file_sync(int fd, const char *path, char why[MA_WHY_MAX])
{
    char dir[PATH_MAX];
    int r = check_directory(path, dir, why);
    if (r != MA_OK)
        return r;
    return fsync(fd) == 0 && sync_directory(dir) == 0 ? MA_OK : ma_db_why_errno(why, "cannot sync", path);
}

/* SPDX-License-Identifier: Apache-2.0
 * A copy of the running database: written aside, examined, made durable, and then given its name.
 */
#include "ma/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "int.h"

#define ATTEMPTS 3 /* at the file aside, when somebody finishes with it as we open it */

struct aside {
    char path[PATH_MAX + 16];
    int fd;
    bool keep;
};

static void aside_close(struct aside *a)
{
    if (a->fd < 0)
        return;
    if (!a->keep)
        (void)unlink(a->path);
    (void)close(a->fd); /* and its lock */
}

/* Whether the two names are one file. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The database must not be replaced by its own copy, nor what belongs to it. */
static int refuse_own(const struct ma_db *db, const char *to, char why[MA_WHY_MAX])
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < MA_COUNT(suffixes); i++) {
        char own[PATH_MAX + 8];
        (void)snprintf(own, sizeof own, "%s%s", ma_db_path(db), suffixes[i]);
        if (strcmp(own, to) == 0 || same_file(own, to))
            return ma_db_why(why, MA_E_INVAL, "%.150s belongs to the database itself", to);
    }
    return MA_OK;
}

static int refuse_taken(const char *to, bool force, char why[MA_WHY_MAX])
{
    struct stat st;
    if (lstat(to, &st) != 0)
        return errno == ENOENT ? MA_OK : ma_db_why_errno(why, "backup", to);
    if (!force)
        return ma_db_why(why, MA_E_EXISTS, "%.150s exists already (--force replaces it)", to);
    return S_ISREG(st.st_mode) ? MA_OK : ma_db_why(why, MA_E_EXISTS, "%.150s is not a regular file", to);
}

/* True when the name still means the open file. */
static bool still_there(const struct aside *a)
{
    struct stat open_file, named;
    return fstat(a->fd, &open_file) == 0 && lstat(a->path, &named) == 0 && open_file.st_ino == named.st_ino &&
           open_file.st_dev == named.st_dev;
}

/* One writer at a time; what a crash left behind is begun anew. MA_E_CONFLICT: look again. */
static int aside_open(struct aside *a, char why[MA_WHY_MAX])
{
    a->fd = open(a->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (a->fd < 0)
        return ma_db_why_errno(why, "cannot create", a->path);
    if (flock(a->fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(a->fd);
        a->fd = -1;
        return ma_db_why(why, MA_E_BUSY, "another backup is written to %.150s", a->path);
    }
    if (!still_there(a)) {
        (void)close(a->fd);
        a->fd = -1;
        return MA_E_CONFLICT;
    }
    if (fchmod(a->fd, 0600) != 0 || ftruncate(a->fd, 0) != 0)
        return ma_db_why_errno(why, "cannot write", a->path);
    return MA_OK;
}

static int examine(const char *path, struct ma_db_copy *ret, char why[MA_WHY_MAX])
{
    struct ma_db *copy = NULL;
    struct stat st;
    int r = ma_db_open(path, MA_DB_READER, NULL, &copy, why);
    if (r == MA_OK)
        r = ma_db_check(copy, why);
    if (r == MA_OK)
        r = ma_db_schema(copy, &ret->schema, why);
    ma_db_close(copy);
    if (r == MA_OK && stat(path, &st) != 0)
        r = ma_db_why_errno(why, "backup", path);
    ret->bytes = r == MA_OK ? (int64_t)st.st_size : 0;
    return r;
}

/* Where the file system knows no "unless it is there", a second name does the same. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(from, to) == 0 ? unlink(from) : -1;
}

static int give_name(struct aside *a, const char *to, bool force, char why[MA_WHY_MAX])
{
    if ((force ? rename(a->path, to) : rename_new(a->path, to)) != 0)
        return errno == EEXIST ? ma_db_why(why, MA_E_EXISTS, "%.150s exists already", to)
                               : ma_db_why_errno(why, "cannot name", to);
    a->keep = true;
    return ma_db_file_sync(a->fd, to, why);
}

static int copy_aside(struct ma_db *db, struct aside *a, char why[MA_WHY_MAX])
{
    int r = MA_E_CONFLICT;
    for (int i = 0; i < ATTEMPTS && r == MA_E_CONFLICT; i++)
        r = aside_open(a, why);
    if (r == MA_OK)
        r = ma_db_copy_into(db, a->path, why);
    if (r == MA_OK) /* VACUUM INTO does not sync */
        r = ma_db_file_sync(a->fd, a->path, why);
    return r;
}

int ma_db_backup(struct ma_db *db, const char *to, bool force, struct ma_db_copy *ret, char why[MA_WHY_MAX])
{
    struct aside a MA_CLEANUP(aside_close) = {.fd = -1};
    why[0] = '\0';
    if (snprintf(a.path, sizeof a.path, "%s.partial", to) >= PATH_MAX)
        return ma_db_why(why, MA_E_RANGE, "the path is too long");
    int r = refuse_own(db, to, why);
    if (r == MA_OK)
        r = refuse_taken(to, force, why);
    if (r == MA_OK)
        r = copy_aside(db, &a, why);
    if (r == MA_OK)
        r = examine(a.path, ret, why);
    return r == MA_OK ? give_name(&a, to, force, why) : r;
}

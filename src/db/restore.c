/* SPDX-License-Identifier: Apache-2.0
 * Putting a copy in the place of the database, under the database's lock.
 *
 * The order matters for a crash at any point: the copy is complete and examined before anything is touched; the
 * replaced database gets a second name before it loses its first; its log, once folded in, goes before the copy comes,
 * so that the engine never applies the log of one database to another.
 */
#include "ma/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "int.h"

#define COPY_CHUNK 65536

struct place {
    char real[PATH_MAX], copy[PATH_MAX + 16];
    int lock;
};

static void remove_copy(const struct place *p)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock"};
    for (size_t i = 0; i < MA_COUNT(suffixes); i++) {
        char name[PATH_MAX + 32];
        (void)snprintf(name, sizeof name, "%s%s", p->copy, suffixes[i]);
        (void)unlink(name);
    }
}

static void place_end(struct place *p)
{
    if (p->lock < 0)
        return;
    remove_copy(p);
    (void)close(p->lock);
}

static void fd_close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static int copy_bytes(int from, int to, const char *name, char why[MA_WHY_MAX])
{
    uint8_t chunk[COPY_CHUNK];
    if (lseek(from, 0, SEEK_SET) != 0)
        return ma_db_why_errno(why, "cannot read", name);
    for (;;) {
        ssize_t n = read(from, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ma_db_why_errno(why, "cannot read", name);
        if (n == 0)
            return MA_OK;
        if (!write_all(to, chunk, (size_t)n))
            return ma_db_why_errno(why, "cannot write beside the database, copying", name);
    }
}

static int take_copy(const struct place *p, const struct ma_db_restore *r, char why[MA_WHY_MAX])
{
    remove_copy(p);
    MA_CLEANUP(fd_close_p) int fd = open(p->copy, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return ma_db_why_errno(why, "cannot create", p->copy);
    int rc = copy_bytes(r->from, fd, r->from_name, why);
    return rc == MA_OK ? ma_db_file_sync(fd, p->copy, why) : rc;
}

/* As it came: nothing is repaired. */
static int examine(const struct place *p, struct ma_db_restored *ret, char why[MA_WHY_MAX])
{
    struct ma_db *db = NULL;
    int rc = ma_db_open(p->copy, MA_DB_READER, NULL, &db, why);
    if (rc == MA_OK)
        rc = ma_db_check(db, why);
    if (rc == MA_OK)
        rc = ma_db_schema(db, &ret->schema, why);
    ma_db_close(db);
    return rc;
}

static int prepare(const struct place *p, const struct ma_db_restore *r, char why[MA_WHY_MAX])
{
    struct ma_db *db = NULL;
    int rc = ma_db_open(p->copy, MA_DB_WRITER, NULL, &db, why);
    if (rc == MA_OK)
        rc = ma_migrate(db, r->now_ms, why);
    if (rc == MA_OK)
        rc = r->check(r->arg, db, why);
    ma_db_close(db); /* its log is folded in */
    return rc;
}

static bool there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* A second name for the database, and for the log if it could not be folded in. */
static int keep_old(const struct place *p, int64_t now_ms, struct ma_db_restored *ret, char why[MA_WHY_MAX])
{
    char wal[PATH_MAX + 8], kept_wal[PATH_MAX + 96], stamp[32];
    time_t s = (time_t)(now_ms / 1000);
    struct tm tm;
    ret->kept[0] = '\0';
    if (!there(p->real))
        return MA_OK;
    ma_db_fold_log(p->real);
    if (!gmtime_r(&s, &tm) || strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm) == 0)
        return ma_db_why(why, MA_E_RANGE, "the clock is wrong");
    (void)snprintf(ret->kept, sizeof ret->kept, "%s.replaced-%s", p->real, stamp);
    (void)snprintf(wal, sizeof wal, "%s-wal", p->real);
    (void)snprintf(kept_wal, sizeof kept_wal, "%s-wal", ret->kept);
    if (link(p->real, ret->kept) != 0)
        return ma_db_why_errno(why, "cannot keep the replaced database as", ret->kept);
    if (there(wal) && link(wal, kept_wal) != 0)
        return ma_db_why_errno(why, "cannot keep the replaced log as", kept_wal);
    return MA_OK;
}

static int swap(const struct place *p, char why[MA_WHY_MAX])
{
    char name[PATH_MAX + 8];
    static const char *const logs[] = {"-wal", "-shm"};
    for (size_t i = 0; i < MA_COUNT(logs); i++) {
        (void)snprintf(name, sizeof name, "%s%s", p->real, logs[i]);
        if (unlink(name) != 0 && errno != ENOENT)
            return ma_db_why_errno(why, "cannot remove", name);
    }
    MA_CLEANUP(fd_close_p) int fd = open(p->copy, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || rename(p->copy, p->real) != 0)
        return ma_db_why_errno(why, "cannot replace", p->real);
    return ma_db_file_sync(fd, p->real, why);
}

int ma_db_restore(const char *path, const struct ma_db_restore *r, struct ma_db_restored *ret, char why[MA_WHY_MAX])
{
    struct place p MA_CLEANUP(place_end) = {.lock = -1};
    why[0] = '\0';
    *ret = (struct ma_db_restored){.schema = 0};
    int rc = ma_db_lock(path, p.real, &p.lock, why);
    if (rc != MA_OK) {
        fd_close_p(&p.lock);
        p.lock = -1;
        return rc;
    }
    if (snprintf(p.copy, sizeof p.copy, "%s.restoring", p.real) >= PATH_MAX)
        return ma_db_why(why, MA_E_RANGE, "the path is too long");
    rc = take_copy(&p, r, why);
    if (rc == MA_OK)
        rc = examine(&p, ret, why);
    if (rc == MA_OK)
        rc = prepare(&p, r, why);
    if (rc == MA_OK)
        rc = keep_old(&p, r->now_ms, ret, why);
    return rc == MA_OK ? swap(&p, why) : rc;
}

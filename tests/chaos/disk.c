/* SPDX-License-Identifier: Apache-2.0
 * A disk that fails: a layer over SQLite's own file system that answers chosen calls with an error. A write that
 * fails may have written its first half.
 */
#include "faults.h"

#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

struct chaos_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this structure */
};

static sqlite3_vfs *under;
static sqlite3_vfs layer;
static sqlite3_io_methods methods;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct chaos_file *)f)->real;
}

/* SQLITE_OK, or the error that this call is to give. */
static int refused(int64_t kind, int own)
{
    struct chaos_faults *all = chaos_faults;
    if (!all || !chaos_due(&all->io, kind))
        return SQLITE_OK;
    int code = (int)atomic_load(&all->io.code);
    return code ? code : own;
}

static int f_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    int rc = refused(CHAOS_READ, SQLITE_IOERR_READ);
    return rc ? rc : real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    int rc = refused(CHAOS_WRITE, SQLITE_IOERR_WRITE);
    if (rc == SQLITE_OK)
        return real_of(f)->pMethods->xWrite(real_of(f), from, n, at);
    if (n > 1)
        (void)real_of(f)->pMethods->xWrite(real_of(f), from, n / 2, at);
    return rc;
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    int rc = refused(CHAOS_TRUNCATE, SQLITE_IOERR_TRUNCATE);
    return rc ? rc : real_of(f)->pMethods->xTruncate(real_of(f), n);
}

static int f_sync(sqlite3_file *f, int flags)
{
    int rc = refused(CHAOS_SYNC, SQLITE_IOERR_FSYNC);
    return rc ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *n)
{
    int rc = refused(CHAOS_SIZE, SQLITE_IOERR_FSTAT);
    return rc ? rc : real_of(f)->pMethods->xFileSize(real_of(f), n);
}

static int f_lock(sqlite3_file *f, int level)
{
    int rc = refused(CHAOS_LOCK, SQLITE_IOERR_LOCK);
    return rc ? rc : real_of(f)->pMethods->xLock(real_of(f), level);
}

static int f_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int f_check_lock(sqlite3_file *f, int *held)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), held);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int f_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    int rc = refused(CHAOS_SHM, SQLITE_IOERR_SHMMAP);
    return rc ? rc : real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

/* Only taking a lock fails: nobody can give one back that the system keeps. */
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    int rc = flags & SQLITE_SHM_LOCK ? refused(CHAOS_LOCK, SQLITE_IOERR_SHMLOCK) : SQLITE_OK;
    return rc ? rc : real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int f_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static int layer_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    struct chaos_file *f = (struct chaos_file *)file;
    f->base.pMethods = NULL;
    f->real = (sqlite3_file *)(f + 1);
    int rc = refused(CHAOS_OPEN, SQLITE_CANTOPEN);
    if (rc == SQLITE_OK)
        rc = under->xOpen(under, name, f->real, flags, ret_flags);
    if (rc == SQLITE_OK)
        f->base.pMethods = &methods;
    return rc;
}

__attribute__((constructor)) static void register_layer(void)
{
    under = sqlite3_vfs_find(NULL);
    if (!under)
        return;
    methods = (sqlite3_io_methods){
        .iVersion = 2,
        .xClose = f_close,
        .xRead = f_read,
        .xWrite = f_write,
        .xTruncate = f_truncate,
        .xSync = f_sync,
        .xFileSize = f_size,
        .xLock = f_lock,
        .xUnlock = f_unlock,
        .xCheckReservedLock = f_check_lock,
        .xFileControl = f_control,
        .xSectorSize = f_sector,
        .xDeviceCharacteristics = f_device,
        .xShmMap = f_shm_map,
        .xShmLock = f_shm_lock,
        .xShmBarrier = f_shm_barrier,
        .xShmUnmap = f_shm_unmap,
    };
    layer = *under;
    layer.pNext = NULL;
    layer.zName = "chaos";
    layer.szOsFile = (int)sizeof(struct chaos_file) + under->szOsFile;
    layer.xOpen = layer_open;
    (void)sqlite3_vfs_register(&layer, 1);
}

/* SPDX-License-Identifier: Apache-2.0
 * Searching a file of breached passwords, and the list that the daemon replaces at SIGHUP.
 */
#include "int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma/crypto.h"

#define GUESSES_MAX 8 /* by interpolation; then the range is halved */

struct ma_breached_file {
    struct breach_map map;
    struct ma_breached_info info;
    uint64_t pages;
    unsigned per_page;
};

static void close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static void file_free_p(struct ma_breached_file **f)
{
    ma_breached_close(*f);
}

/* --- opening --- */

static int fault(char why[256], const char *path, const char *what, int code)
{
    (void)snprintf(why, 256, "%.180s: %s", path, what);
    return code;
}

static int fault_errno(char why[256], const char *path)
{
    char text[128];
    int e = errno;
    (void)fault(why, path, strerror_r(e, text, sizeof text), 0);
    return e == ENOENT || e == ENOTDIR ? MA_E_NOTFOUND : e == EACCES || e == EPERM ? MA_E_PERM : MA_E_IO;
}

static int check_stat(const char *path, const struct stat *st, char why[256])
{
    if (!S_ISREG(st->st_mode))
        return fault(why, path, "is not a regular file", MA_E_PERM);
    if (st->st_mode & S_IWOTH)
        return fault(why, path, "may be written by everybody", MA_E_PERM);
    if (st->st_size < (off_t)PAGE_BYTES || st->st_size % PAGE_BYTES != 0)
        return fault(why, path, "is cut short, or is not a list of breached passwords", MA_E_PARSE);
    return MA_OK;
}

static uint64_t page_records(const struct ma_breached_file *f, uint64_t page)
{
    return page + 1 < f->pages ? f->per_page : f->info.count - (f->pages - 1) * f->per_page;
}

/* Page of prefixes, from 0. NULL when it is damaged. */
static const uint8_t *page_at(const struct ma_breached_file *f, uint64_t page)
{
    const uint8_t *p = f->map.p + (page + 1) * PAGE_BYTES;
    return breach_page_check(p, page + 1) == MA_OK && !breach_map_hurt(&f->map) ? p : NULL;
}

/* The header, and the two pages that bound the list. */
static int check_content(struct ma_breached_file *f, const char *path, char why[256])
{
    const char *what = NULL;
    int r = breach_header_read(f->map.p, f->map.n, &f->info, &what);
    if (r < 0)
        return fault(why, path, what, r);
    f->pages = breach_pages(&f->info);
    f->per_page = breach_per_page(f->info.prefix_bytes);
    if (f->pages > 0 && (!page_at(f, 0) || !page_at(f, f->pages - 1)))
        return fault(why, path, "is damaged", MA_E_PARSE);
    return MA_OK;
}

int ma_breached_open(const char *path, struct ma_breached_file **ret, char why[256])
{
    struct stat st;
    *ret = NULL;
    MA_CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fault_errno(why, path);
    int r = check_stat(path, &st, why);
    if (r < 0)
        return r;
    MA_CLEANUP(file_free_p) struct ma_breached_file *f = calloc(1, sizeof *f);
    if (!f)
        return fault(why, path, ma_err_text(MA_E_NOMEM), MA_E_NOMEM);
    r = breach_map_open(fd, (size_t)st.st_size, &f->map);
    if (r == MA_E_RANGE)
        return fault(why, path, "too many lists are open", r);
    if (r < 0)
        return fault_errno(why, path);
    r = check_content(f, path, why);
    if (r == MA_OK) {
        *ret = f;
        f = NULL;
    }
    return r;
}

void ma_breached_close(struct ma_breached_file *f)
{
    if (!f)
        return;
    breach_map_close(&f->map);
    free(f);
}

void ma_breached_describe(const struct ma_breached_file *f, struct ma_breached_info *ret)
{
    *ret = f->info;
}

/* --- searching --- */

static int search_page(const uint8_t *page, uint64_t n, unsigned len, const uint8_t *want)
{
    uint64_t lo = 0, hi = n;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int c = memcmp(page + mid * len, want, len);
        if (c == 0)
            return MA_OK;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return MA_E_NOTFOUND;
}

/* Prefixes spread evenly: where in [lo, hi), whose prefixes lie from a to b, should one be? */
static uint64_t guess(uint64_t lo, uint64_t hi, uint64_t a, uint64_t b, uint64_t want)
{
    if (want <= a || b <= a)
        return lo;
    uint64_t at = lo + (uint64_t)((long double)(hi - lo) * ((long double)(want - a) / (long double)(b - a)));
    return at < hi ? at : hi - 1;
}

int ma_breached_search(const struct ma_breached_file *f, const uint8_t hash[MA_BREACHED_HASH_LEN])
{
    unsigned len = f->info.prefix_bytes;
    uint64_t lo = 0, hi = f->pages, a = 0, b = UINT64_MAX, want = breach_get(hash, 8);
    for (int step = 0; lo < hi; step++) {
        uint64_t at = step < GUESSES_MAX ? guess(lo, hi, a, b, want) : lo + (hi - lo) / 2;
        const uint8_t *page = page_at(f, at);
        if (!page)
            return MA_E_IO;
        uint64_t n = page_records(f, at);
        const uint8_t *last = page + (n - 1) * len;
        if (memcmp(hash, page, len) < 0) {
            hi = at;
            b = breach_get(page, len < 8 ? len : 8) << (len < 8 ? 64 - 8 * len : 0);
        } else if (memcmp(hash, last, len) > 0) {
            lo = at + 1;
            a = breach_get(last, len < 8 ? len : 8) << (len < 8 ? 64 - 8 * len : 0);
        } else {
            int r = search_page(page, n, len, hash);
            return breach_map_hurt(&f->map) ? MA_E_IO : r;
        }
    }
    return MA_E_NOTFOUND;
}

int ma_breached_verify(const struct ma_breached_file *f, char why[256])
{
    unsigned len = f->info.prefix_bytes;
    uint8_t last[MA_BREACHED_PREFIX_MAX];
    for (uint64_t i = 0; i < f->pages; i++) {
        const uint8_t *page = page_at(f, i);
        if (!page) {
            (void)snprintf(why, 256, "page %llu is damaged", (unsigned long long)i + 1);
            return MA_E_PARSE;
        }
        uint64_t n = page_records(f, i);
        for (uint64_t k = 0; k < n; k++) {
            if ((i > 0 || k > 0) && memcmp(last, page + k * len, len) >= 0) {
                (void)snprintf(why, 256, "page %llu is out of order", (unsigned long long)i + 1);
                return MA_E_PARSE;
            }
            memcpy(last, page + k * len, len);
        }
    }
    return MA_OK;
}

/* --- the daemon's --- */

struct ma_breached {
    pthread_rwlock_t lock;
    struct ma_breached_file *file;
    struct ma_log *log;
    _Atomic bool told; /* that the file is damaged */
};

struct ma_breached *ma_breached_new(struct ma_log *log)
{
    struct ma_breached *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->log = log;
    pthread_rwlockattr_t attr; /* or a crowd of searches would keep a new file waiting for ever */
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&b->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    return b;
}

void ma_breached_free(struct ma_breached *b)
{
    if (!b)
        return;
    ma_breached_close(b->file);
    (void)pthread_rwlock_destroy(&b->lock);
    free(b);
}

int ma_breached_load(struct ma_breached *b, const char *path, char why[256])
{
    struct ma_breached_file *fresh = NULL;
    int r = *path ? ma_breached_open(path, &fresh, why) : MA_OK;
    if (r < 0)
        return r;
    (void)pthread_rwlock_wrlock(&b->lock);
    struct ma_breached_file *old = b->file;
    b->file = fresh;
    atomic_store(&b->told, false);
    (void)pthread_rwlock_unlock(&b->lock);
    ma_breached_close(old);
    return MA_OK;
}

int ma_breached_has(struct ma_breached *b, struct ma_span password)
{
    uint8_t hash[MA_BREACHED_HASH_LEN];
    if (!b)
        return MA_E_NOTFOUND;
    (void)pthread_rwlock_rdlock(&b->lock);
    int r = b->file ? ma_sha1(password, hash) : MA_E_NOTFOUND;
    if (r == MA_OK)
        r = ma_breached_search(b->file, hash);
    (void)pthread_rwlock_unlock(&b->lock);
    ma_wipe(hash, sizeof hash);
    if (r < 0 && r != MA_E_NOTFOUND && !atomic_exchange(&b->told, true))
        ma_log(b->log, MA_LOG_ERROR, "breached.unreadable", MA_KV_S("why", "the list is damaged, or was cut off"));
    return r;
}

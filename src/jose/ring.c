/* SPDX-License-Identifier: Apache-2.0
 * The daemon's own signing keys on disk: key_directory/signing.keys, private (0600), replaced as a
 * whole and never edited in place.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_FILE "signing.keys"
#define RING_TEMP ".signing.keys.new"
#define RING_BYTES_MAX 1048576u
#define RING_ARENA_MAX (8u << 20)
#define OWN_KID_MAX 64u
#define MODE_REFUSED 0137u /* more than 0640 */

struct ma_ring *ma_ring_ref(struct ma_ring *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void ma_ring_unref(struct ma_ring *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    ma_jwks_unref(r->jwks);
    free(r);
}

void ma_ring_unref_p(struct ma_ring **r)
{
    ma_ring_unref(*r);
    *r = NULL;
}

const struct ma_jwk *ma_ring_signer(const struct ma_ring *r, enum ma_jws_alg alg)
{
    for (size_t i = r->n; i-- > 0;) {
        if (r->v[i].retires_s == 0 && ma_jwk_alg(&r->jwks->v[i]) == alg)
            return &r->jwks->v[i];
    }
    return NULL;
}

static struct ma_file_sig sig_of(const struct stat *st)
{
    return (struct ma_file_sig){.mtime_s = st->st_mtim.tv_sec,
                                .mtime_ns = st->st_mtim.tv_nsec,
                                .ctime_s = st->st_ctim.tv_sec,
                                .ctime_ns = st->st_ctim.tv_nsec,
                                .size = st->st_size,
                                .ino = st->st_ino,
                                .dev = st->st_dev};
}

struct ma_file_sig ma_file_sig(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? sig_of(&st) : (struct ma_file_sig){0};
}

bool ma_file_sig_same(const struct ma_file_sig *a, const struct ma_file_sig *b)
{
    return a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns && a->ctime_s == b->ctime_s &&
           a->ctime_ns == b->ctime_ns && a->size == b->size && a->ino == b->ino && a->dev == b->dev;
}

void ma_jose_fd_close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static int fail(char why[256], int err, const char *dir, const char *what)
{
    (void)snprintf(why, 256, "%.150s/" RING_FILE ": %.80s", dir, what);
    return err;
}

static int fail_errno(char why[256], const char *dir)
{
    int e = errno;
    char text[64];
    return fail(why, e == EACCES || e == EPERM || e == ELOOP ? MA_E_PERM : MA_E_IO, dir,
                strerror_r(e, text, sizeof(text)));
}

/* --- reading --- */

/* The directory, with nobody else able to put files into it. */
static int open_dir(const char *dir, struct stat *st, char why[256])
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(why, dir);
    if (fstat(fd, st) != 0 || (st->st_uid != 0 && st->st_uid != geteuid() && geteuid() != 0) ||
        (st->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        (void)close(fd);
        return fail(why, MA_E_PERM, dir, "the directory has another owner or is writable for others");
    }
    return fd;
}

static const char *file_problem(const struct stat *st, const struct stat *dir)
{
    if (!S_ISREG(st->st_mode))
        return "not a regular file";
    /* root may work on the files of the daemon's user, who owns the directory. */
    bool ours = st->st_uid == 0 || st->st_uid == geteuid() || (geteuid() == 0 && st->st_uid == dir->st_uid);
    if (!ours)
        return "has another owner";
    if (st->st_mode & MODE_REFUSED)
        return "is open to others; its mode must be 0600";
    return st->st_size > RING_BYTES_MAX ? "is too large" : NULL;
}

int ma_jose_read_all(int fd, struct ma_buf *b)
{
    for (;;) {
        uint8_t *p = ma_buf_reserve(b, 4096);
        if (!p)
            return ma_buf_err(b);
        ssize_t k = read(fd, p, 4096);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return MA_E_IO;
        if (k == 0)
            return MA_OK;
        b->n += (size_t)k;
    }
}

static int read_file(int dirfd, const struct stat *dir_st, const char *dir, struct ma_buf *b, struct ma_file_sig *sig,
                     char why[256])
{
    MA_CLEANUP(ma_jose_fd_close_p)
    int fd = openat(dirfd, RING_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return fail(why, MA_E_NOTFOUND, dir, "no such file");
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail_errno(why, dir);
    const char *problem = file_problem(&st, dir_st);
    if (problem)
        return fail(why, MA_E_PERM, dir, problem);
    int r = ma_jose_read_all(fd, b);
    *sig = sig_of(&st);
    return r < 0 ? fail(why, r, dir, "cannot be read") : MA_OK;
}

struct entry {
    struct ma_span kid, alg, private_key;
    int64_t created_at, retires_at;
};
static const struct ma_jfield ENTRY_FIELDS[] = {
    {.name = "kid",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct entry, kid),
     .min = 1,
     .max = OWN_KID_MAX},
    {.name = "alg", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct entry, alg), .max = 16},
    {.name = "created_at", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct entry, created_at)},
    {.name = "retires_at", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct entry, retires_at)},
    {.name = "private_key",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct entry, private_key),
     .max = 16384},
};
static const struct ma_shape ENTRY_SHAPE = MA_SHAPE(struct entry, ENTRY_FIELDS);
struct ring_doc {
    struct ma_objlist keys;
};
static const struct ma_jfield RING_FIELDS[] = {
    {.name = "keys",
     .type = MA_F_OBJLIST,
     .flags = MA_REQ,
     .off = offsetof(struct ring_doc, keys),
     .max_items = MA_JWKS_KEYS_MAX,
     .sub = &ENTRY_SHAPE},
};
static const struct ma_shape RING_SHAPE = MA_SHAPE(struct ring_doc, RING_FIELDS);

static int parse_entries(struct ma_arena *a, struct ma_span text, struct ring_doc *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    *ret = (struct ring_doc){{NULL, 0}};
    int r = ma_json_parse(text, &doc);
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &RING_SHAPE, ret, &errs);
    return r == MA_OK || r == MA_E_NOMEM ? r : MA_E_PARSE;
}

/* A kid goes into JSON and log lines unescaped. */
static bool kid_ok(struct ma_span kid)
{
    for (size_t i = 0; i < kid.n; i++) {
        uint8_t c = kid.p[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
        if (!word)
            return false;
    }
    return kid.n > 0 && kid.n <= OWN_KID_MAX;
}

static int add_entry(struct ma_ring *r, struct ma_arena *a, const struct entry *e)
{
    struct ma_key *key = NULL;
    struct ma_span pem;
    enum ma_jws_alg alg = ma_jws_alg_parse(e->alg);
    if (!kid_ok(e->kid) || alg == MA_JWS_NONE || e->retires_at < 0)
        return MA_E_PARSE;
    if (ma_key_from_pem(e->private_key, &key) < 0)
        return MA_E_PARSE;
    if (ma_key_private_pem(key, a, &pem) < 0) { /* a public key cannot sign */
        ma_key_free(key);
        return MA_E_PARSE;
    }
    int err = ma_jwks_add(r->jwks, key, e->kid, alg, e->retires_at * 1000);
    if (err < 0)
        return err == MA_E_NOMEM ? err : MA_E_PARSE;
    r->v[r->n++] = (struct ma_ring_key){e->created_at, e->retires_at};
    return MA_OK;
}

static int build(struct ma_arena *a, struct ma_span text, struct ma_ring **ret)
{
    struct ring_doc d;
    int err = parse_entries(a, text, &d);
    if (err < 0)
        return err;
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *r = calloc(1, sizeof(*r));
    if (!r)
        return MA_E_NOMEM;
    atomic_init(&r->refs, 1);
    r->jwks = ma_jwks_new(d.keys.n);
    if (!r->jwks)
        return MA_E_NOMEM;
    const struct entry *e = d.keys.v;
    for (size_t i = 0; i < d.keys.n && err == MA_OK; i++)
        err = add_entry(r, a, &e[i]);
    if (err == MA_OK && (r->n == 0 || r->v[r->n - 1].retires_s != 0))
        err = MA_E_PARSE;
    if (err < 0)
        return err;
    *ret = r;
    r = NULL;
    return MA_OK;
}

static int load_at(int dirfd, const struct stat *dir_st, const char *dir, struct ma_arena *a, struct ma_ring **ret,
                   struct ma_file_sig *sig, char why[256])
{
    MA_CLEANUP(ma_buf_free) struct ma_buf text;
    ma_buf_init(&text, RING_BYTES_MAX + 4096);
    int r = read_file(dirfd, dir_st, dir, &text, sig, why);
    if (r < 0)
        return r;
    r = build(a, ma_buf_view(&text), ret);
    return r < 0 ? fail(why, r, dir, r == MA_E_NOMEM ? "out of memory" : "is not a valid key ring") : MA_OK;
}

int ma_ring_load(const char *dir, struct ma_ring **ret, struct ma_file_sig *sig, char why[256])
{
    struct stat st;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, RING_ARENA_MAX);
    MA_CLEANUP(ma_jose_fd_close_p) int dirfd = open_dir(dir, &st, why);
    if (dirfd < 0)
        return dirfd;
    return a ? load_at(dirfd, &st, dir, a, ret, sig, why) : MA_E_NOMEM;
}

/* --- writing --- */

static int write_all(int fd, struct ma_span s)
{
    while (s.n) {
        ssize_t k = write(fd, s.p, s.n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return MA_E_IO;
        s = ma_span_of(s.p + k, s.n - (size_t)k);
    }
    return MA_OK;
}

/* Aside, synced, renamed, directory synced: after a crash either the old file is there or the new one. */
static int replace_file(int dirfd, const struct stat *dir_st, const char *dir, struct ma_span text, char why[256])
{
    (void)unlinkat(dirfd, RING_TEMP, 0);
    MA_CLEANUP(ma_jose_fd_close_p)
    int fd = openat(dirfd, RING_TEMP, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(why, dir);
    bool hand_over = geteuid() == 0 && dir_st->st_uid != 0;
    bool ok = fchmod(fd, 0600) == 0 && (!hand_over || fchown(fd, dir_st->st_uid, dir_st->st_gid) == 0) &&
              write_all(fd, text) == MA_OK && fsync(fd) == 0 && renameat(dirfd, RING_TEMP, dirfd, RING_FILE) == 0 &&
              fsync(dirfd) == 0;
    if (ok)
        return MA_OK;
    int r = fail_errno(why, dir);
    (void)unlinkat(dirfd, RING_TEMP, 0);
    return r;
}

static int fresh_entry(struct ma_arena *a, enum ma_jws_alg alg, int64_t now_s, struct entry *ret)
{
    struct ma_key *key = NULL;
    char *kid = ma_arena_zalloc(a, 44);
    if (!kid)
        return MA_E_NOMEM;
    int r = ma_key_generate(alg == MA_JWS_ES256 ? MA_KEY_EC_P256 : MA_KEY_RSA, &key);
    if (r < 0)
        return r;
    *ret = (struct entry){.alg = ma_span_str(ma_jws_alg_name(alg)), .created_at = now_s};
    r = ma_jwk_thumbprint(key, a, kid);
    if (r == MA_OK)
        r = ma_key_private_pem(key, a, &ret->private_key);
    ret->kid = ma_span_str(kid);
    ma_key_free(key);
    return r;
}

static void put_entry(struct ma_jw *w, const struct entry *e)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "kid", e->kid);
    ma_jw_kstr(w, "alg", e->alg);
    ma_jw_kint(w, "created_at", e->created_at);
    ma_jw_kint(w, "retires_at", e->retires_at);
    ma_jw_kstr(w, "private_key", e->private_key);
    ma_jw_obj_end(w);
}

/* What is to be made, one key for each algorithm, and when those of the same algorithm retire. */
struct making {
    const enum ma_jws_alg *algs;
    size_t n;
    int64_t now_s, retire_after_s;
};

static bool is_made(const struct making *m, struct ma_span alg)
{
    for (size_t i = 0; i < m->n; i++) {
        if (ma_span_eq_str(alg, ma_jws_alg_name(m->algs[i])))
            return true;
    }
    return false;
}

static int put_fresh(struct ma_jw *w, struct ma_arena *a, const struct making *m)
{
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < m->n; i++) {
        struct entry fresh;
        r = fresh_entry(a, m->algs[i], m->now_s, &fresh);
        if (r == MA_OK)
            put_entry(w, &fresh);
    }
    return r;
}

/* Writes the entries that have not retired, with their retirement, and the fresh ones behind them. */
static int write_ring(int dirfd, const struct stat *dir_st, const char *dir, struct ma_arena *a, struct ring_doc *d,
                      const struct making *m, char why[256])
{
    MA_CLEANUP(ma_buf_free) struct ma_buf b;
    struct ma_jw w;
    ma_buf_init(&b, RING_BYTES_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "keys");
    ma_jw_arr(&w);
    struct entry *e = d->keys.v;
    for (size_t i = 0; i < d->keys.n; i++) {
        if (e[i].retires_at != 0 && e[i].retires_at <= m->now_s)
            continue;
        if (e[i].retires_at == 0 && is_made(m, e[i].alg))
            e[i].retires_at = m->now_s + m->retire_after_s;
        put_entry(&w, &e[i]);
    }
    int r = put_fresh(&w, a, m);
    if (r < 0)
        return fail(why, r, dir, "cannot make a key");
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    ma_buf_byte(&b, '\n');
    if (ma_buf_err(&b) < 0)
        return fail(why, ma_buf_err(&b), dir, "out of memory");
    return replace_file(dirfd, dir_st, dir, ma_buf_view(&b), why);
}

/* One writer at a time over all processes: an advisory lock on the directory, released when dirfd is closed. */
static int lock_dir(int dirfd, const char *dir, char why[256])
{
    while (flock(dirfd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return fail_errno(why, dir);
    }
    return MA_OK;
}

static const enum ma_jws_alg SIGNING[] = {MA_JWS_RS256, MA_JWS_ES256};

static bool signs(const struct entry *e, size_t n, enum ma_jws_alg alg)
{
    for (size_t i = 0; i < n; i++) {
        if (e[i].retires_at == 0 && ma_span_eq_str(e[i].alg, ma_jws_alg_name(alg)))
            return true;
    }
    return false;
}

static bool is_complete(const struct ma_ring *r)
{
    for (size_t i = 0; i < MA_COUNT(SIGNING); i++) {
        if (!ma_ring_signer(r, SIGNING[i]))
            return false;
    }
    return true;
}

/* Makes what is missing: the file, or the key of an algorithm that an older version did not have. */
static int complete(int dirfd, const struct stat *st, const char *dir, struct ma_arena *a, int64_t now_s, char why[256])
{
    enum ma_jws_alg missing[MA_COUNT(SIGNING)];
    struct making m = {.algs = missing, .now_s = now_s};
    struct ring_doc d = {{NULL, 0}};
    struct ma_file_sig sig;
    MA_CLEANUP(ma_buf_free) struct ma_buf text;
    ma_buf_init(&text, RING_BYTES_MAX + 4096);
    int r = lock_dir(dirfd, dir, why);
    if (r == MA_OK) /* somebody else may have been first */
        r = read_file(dirfd, st, dir, &text, &sig, why);
    if (r == MA_OK)
        r = parse_entries(a, ma_buf_view(&text), &d);
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    for (size_t i = 0; i < MA_COUNT(SIGNING); i++) {
        if (!signs(d.keys.v, d.keys.n, SIGNING[i]))
            missing[m.n++] = SIGNING[i];
    }
    return m.n > 0 ? write_ring(dirfd, st, dir, a, &d, &m, why) : MA_OK;
}

int ma_ring_open(const char *dir, int64_t now_s, struct ma_ring **ret, struct ma_file_sig *sig, char why[256])
{
    struct stat st;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, RING_ARENA_MAX);
    if (!a)
        return MA_E_NOMEM;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return fail_errno(why, dir);
    MA_CLEANUP(ma_jose_fd_close_p) int dirfd = open_dir(dir, &st, why);
    if (dirfd < 0)
        return dirfd;
    int r = load_at(dirfd, &st, dir, a, ret, sig, why);
    if (r == MA_OK && is_complete(*ret))
        return MA_OK;
    if (r == MA_OK)
        ma_ring_unref_p(ret);
    if (r == MA_OK || r == MA_E_NOTFOUND)
        r = complete(dirfd, &st, dir, a, now_s, why);
    return r < 0 ? r : load_at(dirfd, &st, dir, a, ret, sig, why);
}

int ma_ring_rotate(const char *dir, enum ma_jws_alg alg, int64_t now_s, int64_t retire_after_s, struct ma_ring **ret,
                   struct ma_file_sig *sig, char why[256])
{
    const struct making m = {&alg, 1, now_s, retire_after_s};
    struct stat st;
    struct ring_doc d;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, RING_ARENA_MAX);
    MA_CLEANUP(ma_jose_fd_close_p) int dirfd = open_dir(dir, &st, why);
    MA_CLEANUP(ma_buf_free) struct ma_buf text;
    ma_buf_init(&text, RING_BYTES_MAX + 4096);
    if (dirfd < 0 || !a)
        return dirfd < 0 ? dirfd : MA_E_NOMEM;
    if (retire_after_s < 0 || (alg != MA_JWS_RS256 && alg != MA_JWS_ES256))
        return MA_E_INVAL;
    int r = lock_dir(dirfd, dir, why);
    if (r == MA_OK)
        r = read_file(dirfd, &st, dir, &text, sig, why);
    if (r < 0)
        return r;
    r = parse_entries(a, ma_buf_view(&text), &d);
    if (r == MA_OK && d.keys.n >= MA_JWKS_KEYS_MAX)
        r = MA_E_RANGE;
    if (r < 0)
        return fail(why, r, dir, "is not a valid key ring, or is full");
    r = write_ring(dirfd, &st, dir, a, &d, &m, why);
    return r < 0 ? r : load_at(dirfd, &st, dir, a, ret, sig, why);
}

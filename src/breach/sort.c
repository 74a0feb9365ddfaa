/* SPDX-License-Identifier: Apache-2.0
 * External merge sort of prefixes: runs that fit into memory go to a file, and are merged from there. Input that comes
 * sorted makes one run.
 */
#include "int.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define RUN_BUFFER_MIN 4096u

struct run {
    off_t at, end;                        /* in the file */
    uint8_t last[MA_BREACHED_PREFIX_MAX]; /* while runs are written */
    uint8_t *buf;                         /* while they are merged: part of the one block */
    size_t n, pos;
};

struct breach_sort {
    int fd;
    unsigned len;
    size_t memory, n, cap; /* n, cap: bytes */
    uint8_t *block;
    bool sorted; /* what is in the block */
    off_t size;  /* of the file */
    struct run *runs;
    size_t n_runs;
};

int breach_sort_new(int fd, unsigned prefix_bytes, size_t memory, struct breach_sort **ret)
{
    struct breach_sort *s = calloc(1, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    s->fd = fd;
    s->len = prefix_bytes;
    s->memory = memory;
    s->cap = memory / 2 / prefix_bytes * prefix_bytes; /* qsort takes as much again */
    s->sorted = true;
    s->block = malloc(s->cap);
    if (!s->block) {
        free(s);
        return MA_E_NOMEM;
    }
    *ret = s;
    return MA_OK;
}

void breach_sort_free(struct breach_sort *s)
{
    if (!s)
        return;
    free(s->block);
    free(s->runs);
    free(s);
}

/* --- runs --- */

static int compare(const void *a, const void *b, void *len)
{
    return memcmp(a, b, *(const unsigned *)len);
}

static int write_at(int fd, const uint8_t *p, size_t n, off_t at)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, p, n, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? MA_E_FULL : MA_E_IO;
        p += put;
        n -= (size_t)put;
        at += put;
    }
    return MA_OK;
}

/* The run that the block goes to: the one before where it only goes on from there. */
static struct run *run_for_block(struct breach_sort *s)
{
    if (s->n_runs > 0 && memcmp(s->runs[s->n_runs - 1].last, s->block, s->len) <= 0)
        return &s->runs[s->n_runs - 1];
    struct run *v = reallocarray(s->runs, s->n_runs + 1, sizeof *v);
    if (!v)
        return NULL;
    s->runs = v;
    v[s->n_runs] = (struct run){.at = s->size};
    return &v[s->n_runs++];
}

static int flush(struct breach_sort *s)
{
    if (s->n == 0)
        return MA_OK;
    if (!s->sorted)
        qsort_r(s->block, s->n / s->len, s->len, compare, &s->len);
    struct run *run = run_for_block(s);
    if (!run)
        return MA_E_NOMEM;
    int r = write_at(s->fd, s->block, s->n, s->size);
    if (r < 0)
        return r;
    s->size += (off_t)s->n;
    run->end = s->size;
    memcpy(run->last, s->block + s->n - s->len, s->len);
    s->n = 0;
    s->sorted = true;
    return MA_OK;
}

int breach_sort_add(struct breach_sort *s, const uint8_t *prefix)
{
    if (s->n == s->cap) {
        int r = flush(s);
        if (r < 0)
            return r;
    }
    uint8_t *to = s->block + s->n;
    if (s->n > 0 && memcmp(to - s->len, prefix, s->len) > 0)
        s->sorted = false;
    memcpy(to, prefix, s->len);
    s->n += s->len;
    return MA_OK;
}

/* --- merging --- */

/* The next part of a run into its buffer. MA_E_NOTFOUND: there is no more. */
static int fill(struct breach_sort *s, struct run *run, size_t room)
{
    size_t left = (size_t)(run->end - run->at), want = left < room ? left : room;
    run->pos = run->n = 0;
    while (run->n < want) {
        ssize_t got = pread(s->fd, run->buf + run->n, want - run->n, run->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return MA_E_IO;
        run->n += (size_t)got;
        run->at += got;
    }
    return want > 0 ? MA_OK : MA_E_NOTFOUND;
}

/* A heap of runs by their next prefix. */
struct heap {
    struct run **v;
    size_t n;
    unsigned len;
};

static bool before(const struct heap *h, size_t a, size_t b)
{
    return memcmp(h->v[a]->buf + h->v[a]->pos, h->v[b]->buf + h->v[b]->pos, h->len) < 0;
}

static void sink(struct heap *h, size_t i)
{
    for (;;) {
        size_t least = i, child = 2 * i + 1;
        if (child < h->n && before(h, child, least))
            least = child;
        if (child + 1 < h->n && before(h, child + 1, least))
            least = child + 1;
        if (least == i)
            return;
        struct run *t = h->v[i];
        h->v[i] = h->v[least];
        h->v[least] = t;
        i = least;
    }
}

static int heap_start(struct breach_sort *s, struct heap *h, size_t room)
{
    for (size_t i = 0; i < s->n_runs; i++) {
        s->runs[i].buf = s->block + i * room;
        int r = fill(s, &s->runs[i], room);
        if (r < 0)
            return r;
        h->v[h->n++] = &s->runs[i];
    }
    for (size_t i = h->n / 2; i-- > 0;)
        sink(h, i);
    return MA_OK;
}

/* Past the prefix at the top. */
static int heap_next(struct breach_sort *s, struct heap *h, size_t room)
{
    struct run *top = h->v[0];
    top->pos += s->len;
    int r = top->pos < top->n ? MA_OK : fill(s, top, room);
    if (r == MA_E_NOTFOUND) {
        h->v[0] = h->v[--h->n];
        r = MA_OK;
    }
    sink(h, 0);
    return r;
}

static int merge(struct breach_sort *s, struct heap *h, size_t room, int (*put)(void *, const uint8_t *), void *arg)
{
    uint8_t last[MA_BREACHED_PREFIX_MAX];
    bool any = false;
    int r = heap_start(s, h, room);
    while (r == MA_OK && h->n > 0) {
        const uint8_t *next = h->v[0]->buf + h->v[0]->pos;
        if (!any || memcmp(last, next, s->len) != 0) {
            memcpy(last, next, s->len);
            any = true;
            r = put(arg, next);
        }
        if (r == MA_OK)
            r = heap_next(s, h, room);
    }
    return r;
}

int breach_sort_merge(struct breach_sort *s, int (*put)(void *arg, const uint8_t *prefix), void *arg)
{
    int r = flush(s);
    if (r < 0 || s->n_runs == 0)
        return r;
    size_t room = s->cap / s->n_runs / s->len * s->len;
    if (room < RUN_BUFFER_MIN && s->n_runs > 1)
        return MA_E_RANGE;
    struct heap h = {calloc(s->n_runs, sizeof *h.v), 0, s->len};
    if (!h.v)
        return MA_E_NOMEM;
    r = merge(s, &h, room, put, arg);
    free(h.v);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * From the public text format of breached passwords' hashes to the file that is searched.
 */
#include "int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20, WRITE_PAGES = 256, HEX = 2 * MA_BREACHED_HASH_LEN };

struct out {
    int fd; /* of the file under its temporary name */
    char *temporary;
    uint8_t *pages; /* WRITE_PAGES of them */
    size_t full;    /* of those */
    unsigned records;
    struct ma_breached_info info;
    uint64_t next; /* number of the next page */
};

struct job {
    const struct ma_breached_build *in;
    struct ma_breached_built *ret;
    char *why;
    char *directory;
    int input, scratch;
    uint8_t *text; /* READ_BYTES */
    struct breach_sort *sort;
    struct out out;
};

static int fault(struct job *j, const char *what, int code)
{
    if (!j->why[0])
        (void)snprintf(j->why, 256, "%.240s", what);
    return code;
}

static int fault_errno(struct job *j, const char *path)
{
    char text[96], line[256];
    int e = errno;
    (void)snprintf(line, sizeof line, "%.150s: %s", path, strerror_r(e, text, sizeof text));
    return fault(j, line, e == ENOSPC || e == EDQUOT || e == EFBIG ? MA_E_FULL : MA_E_IO);
}

/* --- writing --- */

static int flush_pages(struct job *j)
{
    struct out *o = &j->out;
    const uint8_t *p = o->pages;
    for (size_t left = o->full * PAGE_BYTES; left > 0;) {
        ssize_t n = write(o->fd, p, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fault_errno(j, o->temporary);
        p += n;
        left -= (size_t)n;
    }
    o->full = 0;
    return MA_OK;
}

static int end_page(struct job *j)
{
    struct out *o = &j->out;
    uint8_t *page = o->pages + o->full * PAGE_BYTES;
    size_t used = (size_t)o->records * o->info.prefix_bytes;
    memset(page + used, 0xff, PAGE_DATA - used);
    int r = breach_page_seal(page, o->next++);
    o->records = 0;
    o->full++;
    return r == MA_OK && o->full == WRITE_PAGES ? flush_pages(j) : r;
}

static int put_prefix(void *arg, const uint8_t *prefix)
{
    struct job *j = arg;
    struct out *o = &j->out;
    unsigned len = o->info.prefix_bytes;
    memcpy(o->pages + o->full * PAGE_BYTES + (size_t)o->records * len, prefix, len);
    o->info.count++;
    return ++o->records == breach_per_page(len) ? end_page(j) : MA_OK;
}

static int finish(struct job *j)
{
    struct out *o = &j->out;
    uint8_t header[PAGE_BYTES];
    int r = o->records > 0 ? end_page(j) : MA_OK;
    if (r == MA_OK)
        r = flush_pages(j);
    o->info.bytes = (breach_pages(&o->info) + 1) * PAGE_BYTES;
    if (r == MA_OK)
        r = breach_header_write(&o->info, header);
    if (r < 0)
        return r;
    if (pwrite(o->fd, header, sizeof header, 0) != (ssize_t)sizeof header || fchmod(o->fd, 0644) < 0 ||
        fsync(o->fd) < 0 || rename(o->temporary, j->in->output) < 0)
        return fault_errno(j, j->in->output);
    free(o->temporary);
    o->temporary = NULL;
    int dir = open(j->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        (void)fsync(dir);
        (void)close(dir);
    }
    j->ret->info = o->info;
    return MA_OK;
}

/* --- reading --- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_count(struct ma_span s, uint64_t *ret)
{
    *ret = 1;
    if (s.n == 0)
        return true;
    if (s.p[0] != ':' || s.n == 1 || s.n > 19)
        return false;
    *ret = 0;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        *ret = *ret * 10 + (uint64_t)(s.p[i] - '0');
    }
    return true;
}

static bool parse_line(struct ma_span line, uint8_t hash[MA_BREACHED_HASH_LEN], uint64_t *ret_count)
{
    if (line.n < HEX)
        return false;
    for (size_t i = 0; i < MA_BREACHED_HASH_LEN; i++) {
        int hi = hex_digit(line.p[2 * i]), lo = hex_digit(line.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        hash[i] = (uint8_t)(hi << 4 | lo);
    }
    return parse_count(ma_span_of(line.p + HEX, line.n - HEX), ret_count);
}

static int take_line(struct job *j, struct ma_span line)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    uint8_t hash[MA_BREACHED_HASH_LEN];
    uint64_t count = 0;
    if (++j->ret->lines == 1 && line.n >= sizeof bom && memcmp(line.p, bom, sizeof bom) == 0)
        line = ma_span_of(line.p + sizeof bom, line.n - sizeof bom);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0)
        return MA_OK;
    if (!parse_line(line, hash, &count)) {
        char text[128];
        (void)snprintf(text, sizeof text, "line %llu: not 40 hexadecimal digits and, perhaps, a colon and a count",
                       (unsigned long long)j->ret->lines);
        return fault(j, text, MA_E_PARSE);
    }
    if (count < j->in->min_count)
        return MA_OK;
    j->ret->kept++;
    return breach_sort_add(j->sort, hash);
}

/* Whole lines of the buffer; what is left of the last one moves to its front. */
static int take_lines(struct job *j, size_t *n, bool at_end)
{
    const uint8_t *p = j->text, *end = p + *n;
    int r = MA_OK;
    while (r == MA_OK && p < end) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl && !at_end)
            break;
        const uint8_t *stop = nl ? nl : end;
        r = take_line(j, ma_span_of(p, (size_t)(stop - p)));
        p = nl ? nl + 1 : end;
    }
    *n = (size_t)(end - p);
    memmove(j->text, p, *n);
    if (r == MA_OK && *n == READ_BYTES)
        return fault(j, "a line is longer than a hash and a count can be", MA_E_PARSE);
    return r;
}

static int read_input(struct job *j)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = read(j->input, j->text + n, READ_BYTES - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fault_errno(j, j->in->input);
        n += (size_t)got;
        int r = take_lines(j, &n, got == 0);
        if (r < 0 || got == 0)
            return r;
    }
}

/* --- the whole --- */

static int open_scratch(struct job *j)
{
    char *name = NULL;
    j->scratch = open(j->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (j->scratch >= 0)
        return MA_OK;
    if (asprintf(&name, "%s/.breached-XXXXXX", j->directory) < 0)
        return MA_E_NOMEM;
    j->scratch = mkostemp(name, O_CLOEXEC);
    int r = j->scratch < 0 ? fault_errno(j, name) : MA_OK;
    if (r == MA_OK)
        (void)unlink(name);
    free(name);
    return r;
}

static int open_files(struct job *j)
{
    const char *slash = strrchr(j->in->output, '/');
    j->directory =
        slash ? strndup(j->in->output, slash == j->in->output ? 1 : (size_t)(slash - j->in->output)) : strdup(".");
    if (!j->directory || asprintf(&j->out.temporary, "%s/.breached-XXXXXX", j->directory) < 0) {
        j->out.temporary = NULL;
        return MA_E_NOMEM;
    }
    j->input = strcmp(j->in->input, "-") == 0 ? dup(STDIN_FILENO) : open(j->in->input, O_RDONLY | O_CLOEXEC);
    if (j->input < 0)
        return fault_errno(j, j->in->input);
    j->out.fd = mkostemp(j->out.temporary, O_CLOEXEC);
    if (j->out.fd < 0) {
        int r = fault_errno(j, j->in->output);
        free(j->out.temporary);
        j->out.temporary = NULL;
        return r;
    }
    if (lseek(j->out.fd, PAGE_BYTES, SEEK_SET) < 0)
        return fault_errno(j, j->in->output);
    return open_scratch(j);
}

static int work(struct job *j)
{
    int r = open_files(j);
    if (r == MA_OK)
        r = breach_sort_new(j->scratch, j->in->prefix_bytes, (size_t)j->in->memory_mib << 20, &j->sort);
    if (r == MA_OK)
        r = read_input(j);
    if (r == MA_OK)
        r = breach_sort_merge(j->sort, put_prefix, j);
    if (r == MA_E_RANGE)
        return fault(j, "the input is too long for so little memory", r);
    return r == MA_OK ? finish(j) : r;
}

static void clean_up(struct job *j)
{
    const int fds[] = {j->input, j->scratch, j->out.fd};
    for (size_t i = 0; i < MA_COUNT(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    if (j->out.temporary)
        (void)unlink(j->out.temporary);
    breach_sort_free(j->sort);
    free(j->out.temporary);
    free(j->out.pages);
    free(j->directory);
    free(j->text);
}

int ma_breached_make(const struct ma_breached_build *in, struct ma_breached_built *ret, char why[256])
{
    struct job j = {.in = in, .ret = ret, .why = why, .input = -1, .scratch = -1, .out = {.fd = -1, .next = 1}};
    why[0] = '\0';
    *ret = (struct ma_breached_built){0};
    j.out.info = (struct ma_breached_info){.prefix_bytes = in->prefix_bytes, .min_count = in->min_count};
    j.text = malloc(READ_BYTES);
    j.out.pages = malloc((size_t)WRITE_PAGES * PAGE_BYTES);
    int r = j.text && j.out.pages ? work(&j) : MA_E_NOMEM;
    clean_up(&j);
    if (r < 0)
        (void)fault(&j, ma_err_text(r), r);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * Structured log lines: JSON or key=value, one write(2) each.
 */
#include "ma/log.h"

#include "ma/clock.h"
#include "ma/codec.h"
#include "ma/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_CAP 4096u /* PIPE_BUF on Linux: a line of this size reaches a pipe whole */
#define STR_CUT 256u   /* bytes of a string field that are kept */
#define TAIL_CAP 24u   /* room kept for the mark of a cut line, the closing brace and the newline */

_Static_assert(LINE_CAP <= PIPE_BUF, "a longer line could be torn by another writer");

#define HELD_CAP 49152u /* lines held back for one write(2) */

struct ma_log {
    _Atomic int max_level;
    _Atomic bool json, journal; /* of fd */
    pthread_mutex_t lock;       /* guards what follows */
    int json_wanted;            /* < 0: as fd asks for */
    int fd, first_fd;           /* first_fd is borrowed; fd is ours when it is another */
    size_t n_held;
    char held[HELD_CAP];
};

struct line {
    char p[LINE_CAP];
    size_t n;
    bool full; /* something did not fit */
};

static void line_put(struct line *l, const void *p, size_t n)
{
    if (l->full || n > LINE_CAP - TAIL_CAP - l->n) {
        l->full = true;
        return;
    }
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static void line_str(struct line *l, const char *s)
{
    line_put(l, s, strlen(s));
}

static MA_PRINTF(2, 3) void line_printf(struct line *l, const char *fmt, ...)
{
    char tmp[64];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(tmp, sizeof(tmp), fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof(tmp))
        line_put(l, tmp, (size_t)n);
}

static void line_int(struct line *l, int64_t v)
{
    char tmp[24];
    size_t at = sizeof(tmp);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        tmp[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        tmp[--at] = '-';
    line_put(l, tmp + at, sizeof(tmp) - at);
}

/* Length of the run of bytes that stand for themselves: printable ASCII without quote and backslash. */
static size_t plain_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= 0x20 && p[i] < 0x7F && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

/* One code point at p; *ret_n is its length. Malformed bytes count as U+FFFD, one at a time. */
static uint32_t code_point(const uint8_t *p, size_t left, size_t *ret_n)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    *ret_n = 1;
    if (n > left || !ma_utf8_valid(ma_span_of(p, n)))
        return 0xFFFD;
    *ret_n = n;
    if (n == 1)
        return p[0];
    uint32_t cp = p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        cp = cp << 6 | (p[i] & 0x3Fu);
    return cp;
}

/* Controls would let a client forge lines or drive a terminal; U+2028/2029 split lines in viewers. */
static bool must_escape(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x2028 || cp == 0x2029 || cp == 0xFFFD;
}

static void line_quoted(struct line *l, struct ma_span s)
{
    bool cut = s.n > STR_CUT;
    size_t n = cut ? STR_CUT : s.n;
    while (cut && n && (s.p[n] & 0xC0) == 0x80) /* not in the middle of a character */
        n--;
    line_put(l, "\"", 1);
    for (size_t i = 0, step = 0; i < n; i += step) {
        step = plain_run(s.p + i, n - i);
        if (step > 0) {
            line_put(l, s.p + i, step);
            continue;
        }
        uint32_t cp = code_point(s.p + i, n - i, &step);
        if (must_escape(cp)) {
            line_printf(l, "\\u%04" PRIx32, cp);
            continue;
        }
        if (cp == '"' || cp == '\\')
            line_put(l, "\\", 1);
        line_put(l, s.p + i, step);
    }
    line_str(l, cut ? "...\"" : "\"");
}

/* key=value text needs no quotes when it is made of these bytes only. */
static bool is_plain(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '=')
            return false;
    }
    return s.n > 0 && s.n <= STR_CUT;
}

static void line_text(struct line *l, struct ma_span s, bool json)
{
    if (!s.p)
        line_str(l, json ? "null" : "-");
    else if (!json && is_plain(s))
        line_put(l, s.p, s.n);
    else
        line_quoted(l, s);
}

static void line_key(struct line *l, const char *key, bool json)
{
    line_str(l, json ? ",\"" : " ");
    line_str(l, key);
    line_str(l, json ? "\":" : "=");
}

/* A field that does not fit is taken back whole, so that the line stays well-formed. */
static void line_field(struct line *l, const struct ma_kv *kv, bool json)
{
    size_t start = l->n;
    line_key(l, kv->key, json);
    if (kv->type == MA_KV_STR)
        line_text(l, kv->s, json);
    else if (kv->type == MA_KV_INT)
        line_int(l, kv->i);
    else
        line_printf(l, "\"[%" PRId64 " bytes]\"", kv->i);
    if (l->full)
        l->n = start;
}

static const char *level_name(enum ma_log_level level)
{
    switch (level) {
    case MA_LOG_ERROR:
        return "error";
    case MA_LOG_WARN:
        return "warn";
    case MA_LOG_INFO:
        return "info";
    case MA_LOG_DEBUG:
        break;
    }
    return "debug";
}

enum ma_log_level ma_log_level_parse(const char *name)
{
    static const enum ma_log_level levels[] = {MA_LOG_ERROR, MA_LOG_WARN, MA_LOG_DEBUG};
    for (size_t i = 0; i < MA_COUNT(levels); i++)
        if (strcmp(name, level_name(levels[i])) == 0)
            return levels[i];
    return MA_LOG_INFO;
}

static void line_head(struct line *l, bool journal, bool json, enum ma_log_level level, const char *event)
{
    char when[MA_ISO_LEN + 1];
    ma_iso_ms(ma_clock_system()->wall_ms(ma_clock_system()), when);
    if (journal)
        line_printf(l, "<%d>", (int)level);
    line_str(l, json ? "{\"ts\":\"" : "ts=");
    line_str(l, when);
    line_str(l, json ? "\",\"level\":\"" : " level=");
    line_str(l, level_name(level));
    line_str(l, json ? "\",\"event\":" : " event=");
    line_text(l, ma_span_str(event), json);
}

/* Whom the thread works for: before the fields, so that no line is too long for it. True when it named the request. */
static bool line_trace(struct line *l, bool json)
{
    const struct ma_trace *t = ma_trace_current();
    if (!t || !t->request_id)
        return false;
    const struct ma_kv of[] = {MA_KV_S("request_id", t->request_id), MA_KV_S("trace_id", t->trace_id),
                               MA_KV_S("span_id", t->span_id), MA_KV_S("parent_span_id", t->parent_id)};
    for (size_t i = 0; i < (t->trace_id[0] ? MA_COUNT(of) : 1); i++)
        line_field(l, &of[i], json);
    return true;
}

static void line_end(struct line *l, bool json)
{
    static const char cut_json[] = ",\"cut\":true", cut_text[] = " cut=true";
    const char *cut = !l->full ? "" : json ? cut_json : cut_text;
    size_t n = strlen(cut);
    _Static_assert(sizeof(cut_json) + 2 <= TAIL_CAP, "the tail has its own room");
    memcpy(l->p + l->n, cut, n);
    l->n += n;
    if (json)
        l->p[l->n++] = '}';
    l->p[l->n++] = '\n';
}

/* systemd.exec(5), JOURNAL_STREAM: "device:inode" of the stream that is the journal. */
static bool is_journal(int fd)
{
    const char *want = secure_getenv("JOURNAL_STREAM");
    struct stat st;
    if (!want || fstat(fd, &st) != 0)
        return false;
    char have[64];
    int n = snprintf(have, sizeof(have), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return n > 0 && strcmp(want, have) == 0;
}

static void judge(struct ma_log *lg)
{
    atomic_store(&lg->json, lg->json_wanted < 0 ? !isatty(lg->fd) : lg->json_wanted != 0);
    atomic_store(&lg->journal, is_journal(lg->fd));
}

struct ma_log *ma_log_new(int fd, enum ma_log_level max_level, int json)
{
    struct ma_log *lg = malloc(sizeof(*lg));
    if (!lg)
        return NULL;
    atomic_store(&lg->max_level, (int)max_level);
    lg->json_wanted = json;
    lg->fd = lg->first_fd = fd;
    judge(lg);
    lg->n_held = 0;
    (void)pthread_mutex_init(&lg->lock, NULL);
    return lg;
}

void ma_log_configure(struct ma_log *lg, enum ma_log_level max_level, int json)
{
    atomic_store(&lg->max_level, (int)max_level);
    (void)pthread_mutex_lock(&lg->lock);
    lg->json_wanted = json;
    judge(lg);
    (void)pthread_mutex_unlock(&lg->lock);
}

void ma_log_free(struct ma_log *lg)
{
    if (!lg)
        return;
    ma_log_flush(lg);
    if (lg->fd != lg->first_fd)
        (void)close(lg->fd);
    (void)pthread_mutex_destroy(&lg->lock);
    free(lg);
}

/* The lock is held, so that lines keep their order. */
static void write_out(struct ma_log *lg, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(lg->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) /* nobody reads: a daemon does not stop for its log */
            return;
        p += done;
        n -= (size_t)done;
    }
}

static void flush_held(struct ma_log *lg)
{
    write_out(lg, lg->held, lg->n_held);
    lg->n_held = 0;
}

void ma_log_flush(struct ma_log *lg)
{
    if (!lg)
        return;
    int saved = errno;
    (void)pthread_mutex_lock(&lg->lock);
    flush_held(lg);
    (void)pthread_mutex_unlock(&lg->lock);
    errno = saved;
}

/* A descriptor, or -1 with errno. Whoever can write to the directory could put a link or a pipe there. */
static int open_file(const char *path)
{
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, flags | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR);
        if (fd >= 0)
            (void)fchmod(fd, S_IRUSR | S_IWUSR | S_IRGRP); /* whatever the umask */
    }
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        (void)close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

int ma_log_reopen(struct ma_log *lg, const char *path)
{
    int fd = *path ? open_file(path) : lg->first_fd;
    if (fd < 0)
        return errno == EINVAL ? MA_E_INVAL : MA_E_IO;
    (void)pthread_mutex_lock(&lg->lock);
    flush_held(lg);
    int old = lg->fd;
    lg->fd = fd;
    judge(lg);
    (void)pthread_mutex_unlock(&lg->lock);
    if (old != lg->first_fd && old != fd)
        (void)close(old);
    return MA_OK;
}

static void emit(struct ma_log *lg, const struct line *l, bool hold)
{
    (void)pthread_mutex_lock(&lg->lock);
    if (lg->n_held + l->n > HELD_CAP)
        flush_held(lg);
    if (hold) {
        memcpy(lg->held + lg->n_held, l->p, l->n);
        lg->n_held += l->n;
    } else {
        flush_held(lg);
        write_out(lg, l->p, l->n);
    }
    (void)pthread_mutex_unlock(&lg->lock);
}

static void compose(struct ma_log *lg, enum ma_log_level level, const char *event, const struct ma_kv *kv, size_t n,
                    bool hold)
{
    if (!lg || (int)level > atomic_load_explicit(&lg->max_level, memory_order_relaxed))
        return;
    const bool json = atomic_load(&lg->json); /* the same for the whole line */
    int saved = errno;                        /* logging must not disturb the error that is being handled */
    struct line l MA_UNINITIALIZED;
    l.n = 0;
    l.full = false;
    line_head(&l, atomic_load(&lg->journal), json, level, event);
    const bool named = line_trace(&l, json);
    for (size_t i = 0; i < n && !l.full; i++)
        if (!named || strcmp(kv[i].key, "request_id") != 0)
            line_field(&l, &kv[i], json);
    line_end(&l, json);
    emit(lg, &l, hold);
    errno = saved;
}

void ma_log_write(struct ma_log *lg, enum ma_log_level level, const char *event, const struct ma_kv *kv, size_t n)
{
    compose(lg, level, event, kv, n, false);
}

void ma_log_hold(struct ma_log *lg, enum ma_log_level level, const char *event, const struct ma_kv *kv, size_t n)
{
    compose(lg, level, event, kv, n, true);
}

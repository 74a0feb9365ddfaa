/* SPDX-License-Identifier: Apache-2.0
 * Structured events on stderr or in a file: an event name that is a constant, and typed fields.
 * One line each: JSON (default when stderr is not a terminal) or key=value; "<N>" priority
 * prefix when stderr is the journal (JOURNAL_STREAM). Thread-safe; lines are never torn.
 * A line of a thread that works for a request (ma_trace_enter) says for which one: request_id, and in a trace
 * trace_id, span_id and parent_span_id, stand before its own fields.
 * Strings are escaped and cut at 256 bytes. Never pass a secret: MA_KV_SECRET prints a length.
 */
#ifndef MA_LOG_H
#define MA_LOG_H

#include "ma/base.h"

enum ma_log_level { MA_LOG_ERROR = 3, MA_LOG_WARN = 4, MA_LOG_INFO = 6, MA_LOG_DEBUG = 7 };

enum ma_kv_type { MA_KV_STR, MA_KV_INT, MA_KV_LEN };
struct ma_kv {
    const char *key;
    enum ma_kv_type type;
    struct ma_span s;
    int64_t i;
};
#define MA_KV_S(k, cstr) ((struct ma_kv){(k), MA_KV_STR, ma_span_str(cstr), 0})
#define MA_KV_SPAN(k, span) ((struct ma_kv){(k), MA_KV_STR, (span), 0})
#define MA_KV_I(k, v) ((struct ma_kv){(k), MA_KV_INT, {NULL, 0}, (int64_t)(v)})
#define MA_KV_SECRET(k, span) ((struct ma_kv){(k), MA_KV_LEN, {NULL, 0}, (int64_t)(span).n})

/* "error", "warn", "info" (also for anything else), "debug". */
enum ma_log_level ma_log_level_parse(const char *name);

struct ma_log;

/* Owned (ma_log_free). fd is borrowed. json < 0: decide by isatty(fd). */
struct ma_log *ma_log_new(int fd, enum ma_log_level max_level, int json);
/* Another level and form from now on; json < 0 decides anew at each ma_log_reopen. Thread-safe. */
void ma_log_configure(struct ma_log *lg, enum ma_log_level max_level, int json);
void ma_log_free(struct ma_log *lg);
/* Goes on in the file at `path`, opened anew (appended to; made with mode 0640 where it is missing), or at the first
 * descriptor again for "". Held lines are written to the old one before. Anything but a regular file is refused, a link
 * at the end of the path too; then the old one stays. MA_E_IO with errno set, MA_E_INVAL. Thread-safe. */
MA_MUST_USE int ma_log_reopen(struct ma_log *lg, const char *path);
void ma_log_write(struct ma_log *lg, enum ma_log_level level, const char *event, const struct ma_kv *kv, size_t n);

/* As ma_log_write, but the line may wait for the next line that does not, for ma_log_flush, or until enough of
 * them are there: for lines that come with every request. */
void ma_log_hold(struct ma_log *lg, enum ma_log_level level, const char *event, const struct ma_kv *kv, size_t n);
/* Writes what is held. Thread-safe. */
void ma_log_flush(struct ma_log *lg);

/* ma_log(lg, MA_LOG_INFO, "ready", MA_KV_S("address", a)); lg may be NULL (nothing happens). */
#define ma_log(lg, level, event, ...)                                                                                  \
    ma_log_write((lg), (level), (event), (const struct ma_kv[]){{"", MA_KV_INT, {NULL, 0}, 0}, __VA_ARGS__} + 1,       \
                 sizeof((const struct ma_kv[]){{"", MA_KV_INT, {NULL, 0}, 0}, __VA_ARGS__}) / sizeof(struct ma_kv) -   \
                     1)

#endif

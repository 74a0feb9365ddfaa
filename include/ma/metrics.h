/* SPDX-License-Identifier: Apache-2.0
 * What the daemon counts, and its text for Prometheus (exposition format 0.0.4).
 *
 * One table (metrics.def) defines every metric; README's table and the text are made from it. Labels have
 * fixed values: nothing that a client sends ever becomes one. Counting is lock-free: each thread adds to one of
 * MA_METRIC_SHARDS copies, which only reading sums up. Thread-safe throughout; a NULL struct ma_metrics counts nothing.
 */
#ifndef MA_METRICS_H
#define MA_METRICS_H

#include "ma/arena.h"
#include "ma/buf.h"

#define MA_METRIC_SHARDS 16u

enum ma_metric {
#define METRIC(id, kind, name, a, b, bounds, help) MA_M_##id,
#include "ma/metrics.def"
#undef METRIC
    MA_M__COUNT
};

/* Label values, in the order of their names in src/metrics/labels.c. Lanes, buckets, channels, factors and algorithms
 * are counted by the enums of their own modules. */
enum ma_m_cache { MA_M_CACHE_TOKEN, MA_M_CACHE_LIST };
enum ma_m_lookup { MA_M_HIT, MA_M_MISS };
enum ma_m_signature { MA_M_SIG_GOOD, MA_M_SIG_BAD, MA_M_SIG_UNKNOWN_KEY, MA_M_SIG_WRONG_ALGORITHM };
enum ma_m_delivery { MA_M_SENT, MA_M_RETRIED, MA_M_DEAD };
enum ma_m_outcome { MA_M_SUCCEEDED, MA_M_FAILED, MA_M_LIMITED };
enum ma_m_enrolment { MA_M_STARTED, MA_M_CONFIRMED, MA_M_REFUSED };
enum ma_m_account { MA_M_CONNECT, MA_M_DISCONNECT };
enum ma_m_grant { MA_M_GRANT_CODE, MA_M_GRANT_REFRESH, MA_M_GRANT_VAULT };
enum ma_m_bucket {                         /* beside those of enum ma_bucket */
                   MA_M_BUCKET_CODES = 22, /* MA_BUCKET__COUNT */
                   MA_M_BUCKET_EMAIL,
                   MA_M_BUCKET_SMS,
                   MA_M_BUCKET_PASSWORD_REUSE,
                   MA_M_BUCKET_PUSH,
                   MA_M_BUCKET_PUSH_REJECTED,
                   MA_M_BUCKET_EXPORTS
};
enum ma_m_push { MA_M_PUSH_SENT, MA_M_PUSH_APPROVED, MA_M_PUSH_REJECTED, MA_M_PUSH_EXPIRED };
enum ma_m_leaving { MA_M_LEFT, MA_M_RETURNED, MA_M_ERASED };
enum ma_m_outbox { MA_M_WAITING, MA_M_DEAD_LETTER };

struct ma_metrics;
/* operations: names of the rows of the route tables, borrowed for life; a name may stand there more than once. Owned
 * (ma_metrics_free). */
MA_MUST_USE int ma_metrics_new(const char *const *operations, size_t n, struct ma_metrics **ret);
void ma_metrics_free(struct ma_metrics *m);
/* The label value of a row; MA_M_NO_ROW: of requests that no row answers. */
#define MA_M_NO_ROW ((size_t)-1)
unsigned ma_metrics_operation(const struct ma_metrics *m, size_t row);
/* The label value of an HTTP status. */
unsigned ma_metrics_status(int status);

/* Adds to a counter, or to a level (negative n takes away). a, b: label values; 0 where the metric has none. A value
 * that is out of range counts nothing. */
void ma_metrics_add(struct ma_metrics *m, enum ma_metric id, unsigned a, unsigned b, int64_t n);
/* One observation of a histogram, in microseconds or in pieces as its kind says; negative counts as 0. */
void ma_metrics_observe(struct ma_metrics *m, enum ma_metric id, unsigned a, int64_t value);

/* The sum over all shards, for tests. */
int64_t ma_metrics_value(const struct ma_metrics *m, enum ma_metric id, unsigned a, unsigned b);

/* A value read when the text is made. */
struct ma_sample {
    enum ma_metric id;
    const char *a, *b; /* label values; NULL: the metric has no such label. Arena or static; escaped when written */
    double value;
};
#define MA_SAMPLES_MAX 512
struct ma_samples {
    size_t n;
    struct ma_sample v[MA_SAMPLES_MAX]; /* what does not fit is left out */
};
void ma_sample(struct ma_samples *s, enum ma_metric id, const char *a, const char *b, double value);

/* The whole text: every family that has something to show, with HELP and TYPE. Labelled by operation and status only
 * what has occurred. */
#define MA_METRICS_TEXT_MAX (512u * 1024) /* bytes */
#define MA_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
void ma_metrics_write(const struct ma_metrics *m, const struct ma_samples *samples, struct ma_buf *out);
/* The names of a label's values by metric and position (0: a, 1: b), for tests; NULL past the end. Static. */
const char *ma_metrics_label_value(enum ma_metric id, int position, unsigned value);
/* README's table, Markdown rows; arena. NULL when out of memory. */
const char *ma_metrics_markdown(struct ma_arena *a);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Private to the metrics module: definitions, label names and cells.
 */
#ifndef MA_METRICS_INT_H
#define MA_METRICS_INT_H

#include "ma/metrics.h"

#include <stdatomic.h>

enum metric_kind { KIND_COUNTER, KIND_LEVEL, KIND_SECONDS, KIND_PIECES, KIND_GAUGE, KIND_TOTAL };

enum metric_label {
    LABEL_NONE,
    LABEL_OPERATION, /* its values are the route table's */
    LABEL_STATUS,
    LABEL_LANE,
    LABEL_CACHE,
    LABEL_LOOKUP,
    LABEL_ALGORITHM,
    LABEL_SIGNATURE,
    LABEL_BUCKET,
    LABEL_FACTOR,
    LABEL_OUTCOME,
    LABEL_PUSH,
    LABEL_RESULT,
    LABEL_ENROLMENT,
    LABEL_ACCOUNT,
    LABEL_LEAVING,
    LABEL_GRANT,
    LABEL_CHANNEL,
    LABEL_OUTBOX,
    LABEL_DELIVERY,
    LABEL_ISSUER,  /* of the configuration; only of values that are read */
    LABEL_VERSION, /* likewise */
    LABEL__COUNT
};

struct label {
    const char *name;
    const char *const *values; /* NULL inside: never shown */
    unsigned n;
    const char *meaning; /* README, where the values are not listed */
};
extern const struct label ma_metric_labels[LABEL__COUNT];

struct bounds {
    unsigned n;
    const int64_t *v;        /* upper bounds, ascending; microseconds or pieces */
    const char *const *text; /* as they are written */
};
enum metric_bounds { BOUNDS_NONE, BOUNDS_LATENCY, BOUNDS_BATCH, BOUNDS__COUNT };
extern const struct bounds ma_metric_bounds[BOUNDS__COUNT];

struct metric {
    enum metric_kind kind;
    const char *name, *help;
    enum metric_label a, b;
    enum metric_bounds bounds;
};
extern const struct metric ma_metric_defs[MA_M__COUNT];

static inline bool ma_metric_is_histogram(const struct metric *d)
{
    return d->kind == KIND_SECONDS || d->kind == KIND_PIECES;
}
static inline bool ma_metric_is_counted(const struct metric *d)
{
    return d->kind != KIND_GAUGE && d->kind != KIND_TOTAL;
}

#define CACHE_LINE 64u

/* Cells of one metric lie behind each other: [a][b] of a counter; of a histogram [a][bucket…, above all, sum]. */
struct ma_metrics {
    const char **operations; /* distinct names, then "none" */
    unsigned n_operations;
    unsigned *row; /* of the route tables → index into operations */
    size_t n_rows;
    size_t first[MA_M__COUNT]; /* index of a metric's first cell */
    size_t cells;              /* of a shard, a whole number of cache lines */
    void *mem;                 /* what was allocated */
    _Atomic int64_t *cell;     /* MA_METRIC_SHARDS × cells, at a cache line */
};

/* How many values a label has. */
unsigned ma_metric_dim(const struct ma_metrics *m, enum metric_label l);
/* The width of one row of cells: values of b, or buckets and sum. */
unsigned ma_metric_width(const struct ma_metrics *m, enum ma_metric id);
/* The sum of one cell over the shards; `at` counts from the metric's first cell. */
int64_t ma_metric_sum(const struct ma_metrics *m, enum ma_metric id, size_t at);

#endif

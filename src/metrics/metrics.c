/* SPDX-License-Identifier: Apache-2.0
 * Counting: cells in shards, one per thread as far as they go round.
 */
#include "ma/metrics.h"

#include "int.h"

#include <stdlib.h>

static _Atomic unsigned next_shard;
static _Thread_local unsigned my_shard; /* 1 + its number; 0: not chosen yet */

/* --- layout --- */

unsigned ma_metric_dim(const struct ma_metrics *m, enum metric_label l)
{
    return l == LABEL_OPERATION ? m->n_operations : ma_metric_labels[l].n;
}

unsigned ma_metric_width(const struct ma_metrics *m, enum ma_metric id)
{
    const struct metric *d = &ma_metric_defs[id];
    if (ma_metric_is_histogram(d))
        return ma_metric_bounds[d->bounds].n + 2;
    return ma_metric_dim(m, d->b);
}

static void lay_out(struct ma_metrics *m)
{
    const size_t line = CACHE_LINE / sizeof *m->cell;
    size_t at = 0;
    for (unsigned id = 0; id < MA_M__COUNT; id++) {
        const struct metric *d = &ma_metric_defs[id];
        m->first[id] = at;
        if (ma_metric_is_counted(d))
            at += (size_t)ma_metric_dim(m, d->a) * ma_metric_width(m, (enum ma_metric)id);
    }
    m->cells = (at + line - 1) / line * line;
}

static unsigned find_operation(const struct ma_metrics *m, const char *name)
{
    unsigned i = 0;
    while (i < m->n_operations && strcmp(m->operations[i], name) != 0)
        i++;
    return i;
}

static void name_operations(struct ma_metrics *m, const char *const *operations, size_t n)
{
    m->n_rows = n;
    for (size_t i = 0; i < n; i++) {
        m->row[i] = find_operation(m, operations[i]);
        if (m->row[i] == m->n_operations)
            m->operations[m->n_operations++] = operations[i];
    }
    m->operations[m->n_operations++] = "none";
}

int ma_metrics_new(const char *const *operations, size_t n, struct ma_metrics **ret)
{
    struct ma_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return MA_E_NOMEM;
    m->operations = calloc(n + 1, sizeof *m->operations);
    m->row = calloc(n + 1, sizeof *m->row);
    if (m->operations && m->row) {
        name_operations(m, operations, n);
        lay_out(m);
        m->mem = calloc(1, MA_METRIC_SHARDS * m->cells * sizeof *m->cell + CACHE_LINE);
    }
    if (!m->mem) {
        ma_metrics_free(m);
        return MA_E_NOMEM;
    }
    uintptr_t at = ((uintptr_t)m->mem + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    m->cell = (_Atomic int64_t *)at;
    *ret = m;
    return MA_OK;
}

void ma_metrics_free(struct ma_metrics *m)
{
    if (!m)
        return;
    free(m->operations);
    free(m->row);
    free(m->mem);
    free(m);
}

unsigned ma_metrics_operation(const struct ma_metrics *m, size_t row)
{
    if (!m)
        return 0;
    return row < m->n_rows ? m->row[row] : m->n_operations - 1;
}

/* --- counting --- */

static unsigned shard(void)
{
    if (my_shard == 0)
        my_shard = atomic_fetch_add_explicit(&next_shard, 1, memory_order_relaxed) % MA_METRIC_SHARDS + 1;
    return my_shard - 1;
}

/* Relaxed: nothing is published by a count, and a reader may see it a moment late. */
static void add(struct ma_metrics *m, size_t at, int64_t n)
{
    atomic_fetch_add_explicit(&m->cell[shard() * m->cells + at], n, memory_order_relaxed);
}

void ma_metrics_add(struct ma_metrics *m, enum ma_metric id, unsigned a, unsigned b, int64_t n)
{
    if (!m)
        return;
    const struct metric *d = &ma_metric_defs[id];
    unsigned width = ma_metric_dim(m, d->b);
    if (!ma_metric_is_counted(d) || ma_metric_is_histogram(d) || a >= ma_metric_dim(m, d->a) || b >= width)
        return;
    add(m, m->first[id] + (size_t)a * width + b, n);
}

void ma_metrics_observe(struct ma_metrics *m, enum ma_metric id, unsigned a, int64_t value)
{
    if (!m)
        return;
    const struct metric *d = &ma_metric_defs[id];
    if (!ma_metric_is_histogram(d) || a >= ma_metric_dim(m, d->a))
        return;
    const struct bounds *bounds = &ma_metric_bounds[d->bounds];
    unsigned i = 0;
    value = value > 0 ? value : 0;
    while (i < bounds->n && value > bounds->v[i])
        i++;
    size_t row = m->first[id] + (size_t)a * (bounds->n + 2);
    add(m, row + i, 1);
    add(m, row + bounds->n + 1, value);
}

/* --- reading --- */

int64_t ma_metric_sum(const struct ma_metrics *m, enum ma_metric id, size_t at)
{
    int64_t sum = 0;
    for (size_t s = 0; s < MA_METRIC_SHARDS; s++)
        sum += atomic_load_explicit(&m->cell[s * m->cells + m->first[id] + at], memory_order_relaxed);
    return sum;
}

int64_t ma_metrics_value(const struct ma_metrics *m, enum ma_metric id, unsigned a, unsigned b)
{
    return ma_metric_sum(m, id, (size_t)a * ma_metric_width(m, id) + b);
}

void ma_sample(struct ma_samples *s, enum ma_metric id, const char *a, const char *b, double value)
{
    if (s->n < MA_SAMPLES_MAX)
        s->v[s->n++] = (struct ma_sample){id, a, b, value};
}

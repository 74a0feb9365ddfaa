/* SPDX-License-Identifier: Apache-2.0
 * The exposition text (version 0.0.4) and README's table.
 */
#include "ma/metrics.h"

#include "int.h"

#include <inttypes.h>

static const char *const kind_names[] = {
    [KIND_COUNTER] = "counter",  [KIND_LEVEL] = "gauge", [KIND_SECONDS] = "histogram",
    [KIND_PIECES] = "histogram", [KIND_GAUGE] = "gauge", [KIND_TOTAL] = "counter",
};

/* --- one line --- */

/* A label value: backslash, quote and newline are escaped. */
static void put_value(struct ma_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"')
            ma_buf_byte(b, '\\');
        if (*s == '\n')
            ma_buf_str(b, "\\n");
        else
            ma_buf_byte(b, (uint8_t)*s);
    }
}

struct labels {
    const char *name[3], *value[3];
    size_t n;
};

static void label(struct labels *l, const char *name, const char *value)
{
    if (value)
        l->name[l->n] = name, l->value[l->n++] = value;
}

static void put_name(struct ma_buf *b, const char *name, const char *suffix, const struct labels *l)
{
    ma_buf_str(b, name);
    ma_buf_str(b, suffix);
    for (size_t i = 0; i < l->n; i++) {
        ma_buf_str(b, i ? "," : "{");
        ma_buf_str(b, l->name[i]);
        ma_buf_str(b, "=\"");
        put_value(b, l->value[i]);
        ma_buf_byte(b, '"');
    }
    ma_buf_str(b, l->n ? "} " : " ");
}

static void put_int(struct ma_buf *b, int64_t v)
{
    ma_buf_printf(b, "%" PRId64 "\n", v);
}

/* --- families --- */

static void head(struct ma_buf *b, const struct metric *d)
{
    ma_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name, kind_names[d->kind]);
}

static const char *value_of(const struct ma_metrics *m, enum metric_label l, unsigned i)
{
    return l == LABEL_OPERATION ? m->operations[i] : ma_metric_labels[l].values ? ma_metric_labels[l].values[i] : NULL;
}

static bool shown(const struct ma_metrics *m, enum metric_label l, unsigned i)
{
    return l == LABEL_NONE || value_of(m, l, i);
}

static void write_counter(const struct ma_metrics *m, enum ma_metric id, struct ma_buf *out)
{
    const struct metric *d = &ma_metric_defs[id];
    unsigned na = ma_metric_dim(m, d->a), nb = ma_metric_dim(m, d->b);
    for (unsigned a = 0; a < na; a++)
        for (unsigned b = 0; b < nb; b++) {
            int64_t v = ma_metric_sum(m, id, (size_t)a * nb + b);
            if (!shown(m, d->a, a) || !shown(m, d->b, b) || (v == 0 && d->a == LABEL_OPERATION))
                continue;
            struct labels l = {.n = 0};
            label(&l, ma_metric_labels[d->a].name, value_of(m, d->a, a));
            label(&l, ma_metric_labels[d->b].name, value_of(m, d->b, b));
            put_name(out, d->name, "", &l);
            put_int(out, v);
        }
}

/* Buckets are cumulative in the text. The count is the last of them, so that the lines agree with each other whatever
 * is being counted meanwhile. */
static void write_histogram_row(const struct ma_metrics *m, enum ma_metric id, unsigned a, struct ma_buf *out)
{
    const struct metric *d = &ma_metric_defs[id];
    const struct bounds *bounds = &ma_metric_bounds[d->bounds];
    const char *value = value_of(m, d->a, a), *name = ma_metric_labels[d->a].name;
    size_t row = (size_t)a * (bounds->n + 2);
    struct labels plain = {.n = 0};
    label(&plain, name, value);
    int64_t count = 0;
    for (unsigned i = 0; i <= bounds->n; i++)
        count += ma_metric_sum(m, id, row + i);
    if (count == 0 && d->a == LABEL_OPERATION)
        return;
    int64_t below = 0;
    for (unsigned i = 0; i <= bounds->n; i++) {
        struct labels l = plain;
        label(&l, "le", i < bounds->n ? bounds->text[i] : "+Inf");
        below = i < bounds->n ? below + ma_metric_sum(m, id, row + i) : count > below ? count : below;
        put_name(out, d->name, "_bucket", &l);
        put_int(out, below);
    }
    int64_t sum = ma_metric_sum(m, id, row + bounds->n + 1);
    put_name(out, d->name, "_sum", &plain);
    if (d->kind == KIND_SECONDS)
        ma_buf_printf(out, "%" PRId64 ".%06" PRId64 "\n", sum / 1000000, sum % 1000000);
    else
        put_int(out, sum);
    put_name(out, d->name, "_count", &plain);
    put_int(out, below);
}

static void write_histogram(const struct ma_metrics *m, enum ma_metric id, struct ma_buf *out)
{
    const struct metric *d = &ma_metric_defs[id];
    for (unsigned a = 0; a < ma_metric_dim(m, d->a); a++)
        if (shown(m, d->a, a))
            write_histogram_row(m, id, a, out);
}

static bool has_sample(const struct ma_samples *s, enum ma_metric id)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].id == id)
            return true;
    return false;
}

static void write_samples(const struct ma_samples *s, enum ma_metric id, struct ma_buf *out)
{
    const struct metric *d = &ma_metric_defs[id];
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].id != id)
            continue;
        struct labels l = {.n = 0};
        label(&l, ma_metric_labels[d->a].name, s->v[i].a);
        label(&l, ma_metric_labels[d->b].name, s->v[i].b);
        put_name(out, d->name, "", &l);
        ma_buf_printf(out, "%.15g\n", s->v[i].value);
    }
}

/* Whether anything was counted in a family that only shows what has occurred. */
static bool has_count(const struct ma_metrics *m, enum ma_metric id)
{
    const struct metric *d = &ma_metric_defs[id];
    size_t n = (size_t)ma_metric_dim(m, d->a) * ma_metric_width(m, id);
    if (d->a != LABEL_OPERATION)
        return true;
    for (size_t i = 0; i < n; i++)
        if (ma_metric_sum(m, id, i) != 0)
            return true;
    return false;
}

void ma_metrics_write(const struct ma_metrics *m, const struct ma_samples *samples, struct ma_buf *out)
{
    for (unsigned i = 0; i < MA_M__COUNT; i++) {
        enum ma_metric id = (enum ma_metric)i;
        const struct metric *d = &ma_metric_defs[id];
        bool counted = ma_metric_is_counted(d);
        if (counted ? !has_count(m, id) : !has_sample(samples, id))
            continue;
        head(out, d);
        if (!counted)
            write_samples(samples, id, out);
        else if (ma_metric_is_histogram(d))
            write_histogram(m, id, out);
        else
            write_counter(m, id, out);
    }
}

/* --- README --- */

static void put_label_doc(struct ma_buf *b, enum metric_label l, const char *before)
{
    const struct label *label = &ma_metric_labels[l];
    if (l == LABEL_NONE)
        return;
    ma_buf_printf(b, "%s`%s`", before, label->name);
    if (label->meaning)
        ma_buf_printf(b, " (%s)", label->meaning);
    for (unsigned i = 0, n = 0; !label->meaning && i < label->n; i++)
        if (label->values[i])
            ma_buf_printf(b, "%s%s", n++ ? ", " : ": ", label->values[i]);
}

const char *ma_metrics_markdown(struct ma_arena *a)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 8192, 65536);
    ma_buf_str(&b, "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for (unsigned i = 0; i < MA_M__COUNT; i++) {
        const struct metric *d = &ma_metric_defs[i];
        ma_buf_printf(&b, "| `%s` | %s | ", d->name, kind_names[d->kind]);
        put_label_doc(&b, d->a, "");
        put_label_doc(&b, d->b, "; ");
        ma_buf_printf(&b, " | %s |\n", d->help);
    }
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) < 0 ? NULL : (const char *)b.p;
}

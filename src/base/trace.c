/* SPDX-License-Identifier: Apache-2.0
 * Request ids, traceparent, and whom a thread works for.
 */
#include "ma/trace.h"

#include <stdio.h>

static _Thread_local const struct ma_trace *current;

const struct ma_trace *ma_trace_enter(const struct ma_trace *t)
{
    const struct ma_trace *before = current;
    current = t;
    return before;
}

const struct ma_trace *ma_trace_current(void)
{
    return current;
}

static bool is_id_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool ma_request_id_ok(struct ma_span id)
{
    for (size_t i = 0; i < id.n && i <= MA_REQUEST_ID_MAX; i++)
        if (!is_id_char(id.p[i]))
            return false;
    return id.n > 0 && id.n <= MA_REQUEST_ID_MAX;
}

/* --- traceparent --- */

/* "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff" */
enum { AT_TRACE = 3, AT_PARENT = 36, AT_FLAGS = 53, FLAG_SAMPLED = 1 };

static bool lower_hex(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            return false;
    return true;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != '0')
            return false;
    return true;
}

static unsigned hex_value(uint8_t c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* Length and version: 00 is exactly so long; what a later version adds stands behind a dash. */
static bool frame_ok(struct ma_span h)
{
    if (h.n < MA_TRACEPARENT_LEN || !lower_hex(h.p, 2) || memcmp(h.p, "ff", 2) == 0)
        return false;
    if (h.n == MA_TRACEPARENT_LEN)
        return true;
    return memcmp(h.p, "00", 2) != 0 && h.p[MA_TRACEPARENT_LEN] == '-';
}

bool ma_traceparent_parse(struct ma_span h, struct ma_trace *t)
{
    if (!frame_ok(h) || h.p[AT_TRACE - 1] != '-' || h.p[AT_PARENT - 1] != '-' || h.p[AT_FLAGS - 1] != '-')
        return false;
    const uint8_t *trace = h.p + AT_TRACE, *parent = h.p + AT_PARENT, *flags = h.p + AT_FLAGS;
    if (!lower_hex(trace, MA_TRACE_ID_LEN) || !lower_hex(parent, MA_SPAN_ID_LEN) || !lower_hex(flags, 2) ||
        all_zero(trace, MA_TRACE_ID_LEN) || all_zero(parent, MA_SPAN_ID_LEN))
        return false;
    memcpy(t->trace_id, trace, MA_TRACE_ID_LEN);
    memcpy(t->parent_id, parent, MA_SPAN_ID_LEN);
    t->trace_id[MA_TRACE_ID_LEN] = t->parent_id[MA_SPAN_ID_LEN] = '\0';
    t->sampled = (hex_value(flags[1]) & FLAG_SAMPLED) != 0;
    return true;
}

void ma_trace_begin_span(struct ma_trace *t, const struct ma_rand *rand)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t id = 0;
    if (!t->trace_id[0])
        return;
    if (rand->fill(rand, &id, sizeof id) < 0) {
        t->trace_id[0] = t->parent_id[0] = '\0';
        return;
    }
    id = id ? id : 1; /* zero is no id */
    for (size_t i = MA_SPAN_ID_LEN; i > 0; id >>= 4)
        t->span_id[--i] = hex[id & 15];
    t->span_id[MA_SPAN_ID_LEN] = '\0';
}

bool ma_traceparent_write(const struct ma_trace *t, char out[MA_TRACEPARENT_LEN + 1])
{
    out[0] = '\0';
    if (!t || !t->trace_id[0] || !t->span_id[0])
        return false;
    (void)snprintf(out, MA_TRACEPARENT_LEN + 1, "00-%s-%s-%s", t->trace_id, t->span_id, t->sampled ? "01" : "00");
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: traceparent headers and request ids. What is taken is exactly what a second reading takes, and what is
 * written from it is taken again.
 */
#include "ma/trace.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static bool among(uint8_t c, const char *set)
{
    return c && strchr(set, c);
}

/* The recommendation's grammar, digit by digit: 'h' hexadecimal, '-' itself. */
static bool second_opinion(struct ma_span h)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    bool trace = false, parent = false;
    if (h.n < sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        if (!among(h.p[i], form[i] == 'h' ? "0123456789abcdef" : "-"))
            return false;
        trace |= i > 2 && i < 35 && h.p[i] != '0';
        parent |= i > 35 && i < 52 && h.p[i] != '0';
    }
    bool first = h.p[0] == '0' && h.p[1] == '0', last = h.p[0] == 'f' && h.p[1] == 'f';
    bool tail = h.n > sizeof form - 1;
    return trace && parent && !last && !(tail && (first || h.p[sizeof form - 1] != '-'));
}

static bool plain_id(struct ma_span id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!among(id.p[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"))
            return false;
    return id.n >= 1 && id.n <= 64;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_span in = ma_span_of(data, size);
    struct ma_trace t = {.request_id = NULL}, again = {.request_id = NULL};
    char text[MA_TRACEPARENT_LEN + 1];
    demand(ma_request_id_ok(in) == plain_id(in));
    bool good = ma_traceparent_parse(in, &t);
    demand(good == second_opinion(in));
    ma_trace_begin_span(&t, ma_rand_system());
    demand(ma_traceparent_write(&t, text) == good);
    if (!good)
        return 0;
    demand(ma_traceparent_parse(ma_span_str(text), &again));
    demand(strcmp(again.trace_id, t.trace_id) == 0 && strcmp(again.parent_id, t.span_id) == 0);
    demand(again.sampled == t.sampled && memcmp(t.trace_id, data + 3, MA_TRACE_ID_LEN) == 0);
    return 0;
}

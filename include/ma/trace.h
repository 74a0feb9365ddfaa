/* SPDX-License-Identifier: Apache-2.0
 * Correlation: the id of a request, and its place in a distributed trace (W3C Trace Context, Recommendation of
 * 23 November 2021). Whoever works for a request says so to its thread; log lines and outgoing calls of that thread
 * then carry the ids. Nothing here may hold a secret: ids are shown in logs, answers and calls to others.
 */
#ifndef MA_TRACE_H
#define MA_TRACE_H

#include "ma/rand.h"

#define MA_REQUEST_ID_MAX 64  /* characters; longer than any usual id, shorter than any token */
#define MA_TRACE_ID_LEN 32    /* hexadecimal digits */
#define MA_SPAN_ID_LEN 16     /* hexadecimal digits */
#define MA_TRACEPARENT_LEN 55 /* characters of version 00 */

struct ma_trace {
    const char *request_id;             /* borrowed; NULL: none */
    char trace_id[MA_TRACE_ID_LEN + 1]; /* "": in no trace */
    char parent_id[MA_SPAN_ID_LEN + 1]; /* the caller's span */
    char span_id[MA_SPAN_ID_LEN + 1];   /* our own: what calls of ours name as their parent */
    bool sampled;
};

/* 1 to MA_REQUEST_ID_MAX characters of [A-Za-z0-9._-]: safe in a header, a log line and a file name. */
bool ma_request_id_ok(struct ma_span id);

/* Reads a traceparent header into trace_id, parent_id and sampled. False, with *t untouched, for what the
 * recommendation calls invalid (§3.2.2.1 to §3.2.2.5): another length or a tail in version 00, version ff, ids that
 * are zero or not lower-case hexadecimal. Of a later version the four known fields are read. */
bool ma_traceparent_parse(struct ma_span header, struct ma_trace *t);
/* Gives t a span of its own. On failure t is in no trace. */
void ma_trace_begin_span(struct ma_trace *t, const struct ma_rand *rand);
/* "00-trace-span-flags" for an outgoing call; flags but "sampled" are zero (§3.2.2.5). False, out "": no trace. */
bool ma_traceparent_write(const struct ma_trace *t, char out[MA_TRACEPARENT_LEN + 1]);

/* The calling thread works for t (borrowed until the next call; NULL: for nobody). Returns whom it worked for before,
 * to be given back at the end. */
const struct ma_trace *ma_trace_enter(const struct ma_trace *t);
/* Whom the calling thread works for, or NULL. */
const struct ma_trace *ma_trace_current(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The request target (RFC 9112 §3.2, origin-form only) decoded once, by us: libmicrohttpd decodes
 * too early and in place.
 */
#include "ma/http.h"

#include "ma/codec.h"

static bool is_dot_segment(struct ma_span s)
{
    return ma_span_eq_str(s, ".") || ma_span_eq_str(s, "..");
}

static bool has_separator(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || s.p[i] == '\\')
            return true;
    return false;
}

static bool still_encoded(struct ma_span s)
{
    for (size_t i = 0; i + 2 < s.n; i++)
        if (s.p[i] == '%' && s.p[i + 1] == '7' && (s.p[i + 2] | 0x20) == 'c')
            return true;
    return false;
}

/* Characters that may stand raw in a path: RFC 3986 pchar, and '|' which clients leave as it is. */
static bool raw_ok(struct ma_span raw)
{
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] <= 0x20 || raw.p[i] == 0x7f || raw.p[i] == '\\' || raw.p[i] == '#')
            return false;
    return true;
}

static int decode_segment(struct ma_arena *a, struct ma_span raw, struct ma_span *ret)
{
    struct ma_span s;
    int r = ma_pct_decode(a, raw, false, &s);
    if (r == MA_OK && still_encoded(s)) /* a client that encoded an already encoded id */
        r = ma_pct_decode(a, s, false, &s);
    if (r < 0)
        return r;
    if (is_dot_segment(s) || has_separator(s) || !ma_utf8_valid(s))
        return MA_E_PARSE;
    *ret = s;
    return MA_OK;
}

static int parse_path(struct ma_arena *a, struct ma_req *req)
{
    struct ma_span rest = {req->path.p + 1, req->path.n - 1};
    if (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;                         /* one trailing slash is tolerated */
    for (bool more = rest.n > 0; more;) { /* what follows the last slash is a segment even when it is empty */
        const uint8_t *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        size_t n = slash ? (size_t)(slash - rest.p) : rest.n;
        if (req->n_segments == MA_SEGMENTS_MAX)
            return MA_OK; /* deeper than any route: not found, whatever follows */
        int r = decode_segment(a, ma_span_of(rest.p, n), &req->segments[req->n_segments]);
        if (r < 0)
            return r;
        req->n_segments++;
        more = slash != NULL;
        rest = slash ? ma_span_of(slash + 1, rest.n - n - 1) : MA_SPAN_NULL;
    }
    return MA_OK;
}

static int parse_pair(struct ma_arena *a, struct ma_span raw, struct ma_req *req)
{
    if (raw.n == 0)
        return MA_OK;
    if (req->n_query == MA_QUERY_MAX)
        return MA_E_PARSE;
    const uint8_t *eq = memchr(raw.p, '=', raw.n);
    size_t n = eq ? (size_t)(eq - raw.p) : raw.n;
    struct ma_pair *pair = &req->query[req->n_query];
    int r = ma_pct_decode(a, ma_span_of(raw.p, n), true, &pair->name);
    if (r == MA_OK)
        r = ma_pct_decode(a, eq ? ma_span_of(eq + 1, raw.n - n - 1) : ma_span_of(raw.p, 0), true, &pair->value);
    if (r < 0)
        return r;
    if (!ma_utf8_valid(pair->name) || !ma_utf8_valid(pair->value))
        return MA_E_PARSE;
    req->n_query++;
    return MA_OK;
}

static int parse_query(struct ma_arena *a, struct ma_span q, struct ma_req *req)
{
    while (q.n > 0) {
        const uint8_t *amp = memchr(q.p, '&', q.n);
        size_t n = amp ? (size_t)(amp - q.p) : q.n;
        int r = parse_pair(a, ma_span_of(q.p, n), req);
        if (r < 0)
            return r;
        q = amp ? ma_span_of(amp + 1, q.n - n - 1) : MA_SPAN_NULL;
    }
    return MA_OK;
}

int ma_target_parse(struct ma_arena *a, struct ma_span raw, struct ma_req *req)
{
    if (raw.n > MA_TARGET_MAX)
        return MA_E_RANGE;
    if (raw.n == 0 || raw.p[0] != '/' || !raw_ok(raw))
        return MA_E_PARSE;
    req->target = raw;
    const uint8_t *q = memchr(raw.p, '?', raw.n);
    req->path = ma_span_of(raw.p, q ? (size_t)(q - raw.p) : raw.n);
    int r = parse_path(a, req);
    if (r == MA_OK && q)
        r = parse_query(a, ma_span_of(q + 1, raw.n - req->path.n - 1), req);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: request targets and routing. What is accepted is clean and survives being written out and read again;
 * the router agrees with a plain walk over the table.
 */
#include "ma/http.h"

#include <stdlib.h>

#include "ma/api.h"
#include "ma/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void check_segment(struct ma_span s)
{
    demand(s.p && ma_utf8_valid(s));
    demand(!ma_span_eq_str(s, ".") && !ma_span_eq_str(s, ".."));
    for (size_t i = 0; i < s.n; i++)
        demand(s.p[i] != '/' && s.p[i] != '\\' && s.p[i] != 0);
}

static void check_request(const struct ma_req *req, struct ma_span raw)
{
    demand(raw.n > 0 && raw.n <= MA_TARGET_MAX && raw.p[0] == '/');
    demand(req->target.p == raw.p && req->target.n == raw.n && req->path.p == raw.p && req->path.n <= raw.n);
    demand(req->n_segments <= MA_SEGMENTS_MAX && req->n_query <= MA_QUERY_MAX);
    for (size_t i = 0; i < req->n_segments; i++)
        check_segment(req->segments[i]);
    for (size_t i = 0; i < req->n_query; i++) {
        demand(ma_utf8_valid(req->query[i].name) && ma_utf8_valid(req->query[i].value));
        demand(!memchr(req->query[i].value.p, 0, req->query[i].value.n));
    }
}

/* A segment that still looks encoded after decoding would be decoded once more. */
static bool decodes_again(struct ma_span s)
{
    return memmem(s.p, s.n, "%7c", 3) || memmem(s.p, s.n, "%7C", 3);
}

static void check_round_trip(struct ma_arena *a, const struct ma_req *req)
{
    struct ma_buf b;
    struct ma_req again = {.content_length = -1};
    ma_buf_init_arena(&b, a, 256, 1u << 20);
    ma_buf_byte(&b, '/');
    for (size_t i = 0; i < req->n_segments; i++) {
        if (decodes_again(req->segments[i]))
            return;
        const char *text = ma_pct_encode(a, req->segments[i]);
        if (!text)
            return;
        ma_buf_str(&b, text);
        ma_buf_byte(&b, '/'); /* the last one is the slash that is tolerated */
    }
    if (ma_buf_err(&b) < 0 || b.n > MA_TARGET_MAX)
        return;
    int r = ma_target_parse(a, ma_buf_view(&b), &again);
    if (r == MA_E_NOMEM)
        return;
    demand(r == MA_OK && again.n_segments == req->n_segments);
    for (size_t i = 0; i < req->n_segments; i++)
        demand(ma_span_eq(again.segments[i], req->segments[i]));
}

/* --- the router's answer by another way --- */

/* Segment i of a pattern; p == NULL past its end. */
static struct ma_span pattern_segment(const char *path, size_t i)
{
    const char *p = path + 1;
    for (; i > 0 && *p; i--) {
        p += strcspn(p, "/");
        if (!*p)
            return MA_SPAN_NULL;
        p++;
    }
    return *p ? ma_span_of(p, strcspn(p, "/")) : MA_SPAN_NULL;
}

static bool matches(const char *path, const struct ma_req *req)
{
    for (size_t i = 0; i < req->n_segments; i++) {
        struct ma_span want = pattern_segment(path, i);
        bool param = want.n > 0 && want.p[0] == '{';
        if (!want.p || (param ? req->segments[i].n == 0 : !ma_span_eq(want, req->segments[i])))
            return false;
    }
    return pattern_segment(path, req->n_segments).p == NULL;
}

static void check_route(const struct ma_router *router, const struct ma_route *routes, size_t n, struct ma_req *req)
{
    unsigned allow = 0, want_allow = 0;
    const struct ma_route *want = NULL;
    enum ma_verb verb = req->verb == MA_HEAD ? MA_GET : req->verb;
    for (size_t i = 0; i < n; i++) {
        if (!matches(routes[i].path, req))
            continue;
        want_allow |= 1u << routes[i].verb;
        if (routes[i].verb == verb)
            want = &routes[i];
    }
    demand(ma_router_find(router, req, &allow) == want && allow == want_allow);
    demand(req->n_params <= MA_PARAMS_MAX);
    for (size_t i = 0; want && i < req->n_params; i++)
        demand(req->params[i].n > 0);
}

static const struct ma_router *shared_router(const struct ma_route *routes, size_t n)
{
    static struct ma_router *router;
    char why[256];
    if (!router)
        demand(ma_router_new(routes, n, &router, why) == MA_OK);
    return router;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum ma_verb verbs[] = {MA_GET, MA_POST, MA_PATCH, MA_DELETE, MA_OPTIONS, MA_HEAD, MA_VERB_OTHER};
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    size_t n = 0;
    const struct ma_route *routes = ma_api_routes(&n);
    if (!a)
        return 0;
    struct ma_span raw = ma_span_of(data, size);
    struct ma_req req = {.content_length = -1};
    int r = ma_target_parse(a, raw, &req);
    demand(r == MA_OK || r == MA_E_PARSE || r == MA_E_RANGE || r == MA_E_NOMEM);
    demand(size <= MA_TARGET_MAX || r == MA_E_RANGE);
    if (r != MA_OK)
        return 0;
    check_request(&req, raw);
    check_round_trip(a, &req);
    for (size_t i = 0; i < MA_COUNT(verbs); i++) {
        req.verb = verbs[i];
        check_route(shared_router(routes, n), routes, n, &req);
    }
    return 0;
}

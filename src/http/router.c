/* SPDX-License-Identifier: Apache-2.0
 * The route table as a trie over path segments, built once at start.
 */
#include "ma/http.h"

#include <stdio.h>
#include <stdlib.h>

struct node {
    struct ma_span literal; /* p == NULL: a parameter */
    struct node *child, *sibling;
    const struct ma_route *route[MA_VERB__COUNT];
};

struct ma_router {
    struct node root;
    struct node *pool;
    size_t used, cap;
};

static struct node *new_node(struct ma_router *r, struct ma_span literal)
{
    if (r->used == r->cap)
        return NULL;
    struct node *n = &r->pool[r->used++];
    n->literal = literal;
    return n;
}

static struct node *child_for(struct ma_router *r, struct node *parent, struct ma_span segment)
{
    bool param = segment.n > 0 && segment.p[0] == '{';
    struct ma_span literal = param ? MA_SPAN_NULL : segment;
    struct node **link = &parent->child;
    for (; *link; link = &(*link)->sibling)
        if (((*link)->literal.p == NULL) == param && (param || ma_span_eq((*link)->literal, literal)))
            return *link;
    /* Parameters stand last, so that a literal sibling always wins. */
    struct node *n = new_node(r, literal);
    if (!n)
        return NULL;
    if (param || !parent->child) {
        *link = n;
        return n;
    }
    n->sibling = parent->child;
    parent->child = n;
    return n;
}

static const char *row_fault(const struct ma_route *route)
{
    if (!route->fn || !route->op || !route->path || route->path[0] != '/')
        return "is incomplete";
    size_t params = 0;
    for (const char *p = route->path; *p; p++)
        params += *p == '{';
    if (params > MA_PARAMS_MAX)
        return "has too many parameters";
    if (route->scopes == 0)
        return "names no scope and is not marked MA_PUBLIC";
    if ((route->scopes & MA_PUBLIC) && route->scopes != MA_PUBLIC)
        return "is public and names scopes";
    for (ma_scopes rest = route->scopes & ~MA_PUBLIC; rest; rest &= rest - 1)
        if (!ma_scope_name(rest & (~rest + 1)))
            return "names an unknown scope";
    if (route->verb >= MA_VERB__COUNT)
        return "has a method that is derived";
    return NULL;
}

static const char *insert(struct ma_router *r, const struct ma_route *route)
{
    struct node *n = &r->root;
    const char *p = route->path + 1;
    while (*p) {
        size_t len = strcspn(p, "/");
        n = child_for(r, n, ma_span_of(p, len));
        if (!n)
            return "has too many segments";
        p += len;
        if (*p == '/')
            p++;
    }
    if (n->route[route->verb])
        return "is a duplicate";
    n->route[route->verb] = route;
    return NULL;
}

int ma_router_new(const struct ma_route *routes, size_t n, struct ma_router **ret, char why[256])
{
    struct ma_router *r = calloc(1, sizeof *r);
    if (!r)
        return MA_E_NOMEM;
    r->cap = n * MA_SEGMENTS_MAX + 1;
    r->pool = calloc(r->cap, sizeof *r->pool);
    const char *fault = r->pool ? NULL : "out of memory";
    size_t i = 0;
    for (; i < n && !fault; i++) {
        fault = row_fault(&routes[i]);
        if (!fault)
            fault = insert(r, &routes[i]);
    }
    if (fault) {
        (void)snprintf(why, 256, "route %s %s", i ? routes[i - 1].path : "", fault);
        ma_router_free(r);
        return MA_E_INVAL;
    }
    *ret = r;
    return MA_OK;
}

void ma_router_free(struct ma_router *r)
{
    if (!r)
        return;
    free(r->pool);
    free(r);
}

static const struct node *walk(const struct ma_router *r, struct ma_req *req)
{
    const struct node *n = &r->root;
    for (size_t i = 0; i < req->n_segments && n; i++) {
        const struct node *c = n->child;
        while (c && c->literal.p && !ma_span_eq(c->literal, req->segments[i]))
            c = c->sibling;
        if (c && !c->literal.p) {
            if (req->n_params == MA_PARAMS_MAX || req->segments[i].n == 0)
                return NULL;
            req->params[req->n_params++] = req->segments[i];
        }
        n = c;
    }
    return n;
}

const struct ma_route *ma_router_find(const struct ma_router *r, struct ma_req *req, unsigned *ret_allow)
{
    *ret_allow = 0;
    req->n_params = 0;
    const struct node *n = walk(r, req);
    if (!n)
        return NULL;
    for (unsigned v = 0; v < MA_VERB__COUNT; v++)
        if (n->route[v])
            *ret_allow |= 1u << v;
    enum ma_verb verb = req->verb == MA_HEAD ? MA_GET : req->verb;
    return verb < MA_VERB__COUNT ? n->route[verb] : NULL;
}

const char *ma_allow_text(struct ma_arena *a, unsigned allow)
{
    char text[64] = "";
    size_t n = 0;
    for (unsigned v = 0; v < MA_VERB__COUNT; v++)
        if (allow & (1u << v))
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s, ", ma_verb_name((enum ma_verb)v),
                                  v == MA_GET ? ", HEAD" : "");
    return ma_arena_printf(a, "%sOPTIONS", text);
}

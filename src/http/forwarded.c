/* SPDX-License-Identifier: Apache-2.0
 * Client address and public origin behind trusted proxies (RFC 7239 Forwarded, X-Forwarded-*).
 */
#include "ma/http.h"

#include <strings.h>

#include "ma/app.h"
#include "ma/codec.h"

/* A UNIX socket peer is on this machine by construction; it is trusted when any proxy is configured. */
static bool trusted(const struct ma_conf *conf, const struct ma_addr *a)
{
    if (a->unix_peer)
        return conf->trusted_proxies.n > 0;
    for (size_t i = 0; i < conf->trusted_proxies.n; i++) {
        struct ma_cidr c;
        if (ma_cidr_parse(ma_span_str(conf->trusted_proxies.v[i]), &c) == MA_OK && ma_cidr_has(&c, a))
            return true;
    }
    return false;
}

static struct ma_span last_item(struct ma_span *list)
{
    size_t at = list->n;
    while (at > 0 && list->p[at - 1] != ',')
        at--;
    struct ma_span item = ma_trim(ma_span_of(list->p + at, list->n - at));
    list->n = at > 0 ? at - 1 : 0;
    return item;
}

static struct ma_span unquote(struct ma_span s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        return ma_span_of(s.p + 1, s.n - 2);
    return s;
}

/* The value of a parameter ("for", "proto", "host") of one Forwarded element. */
static struct ma_span forwarded_param(struct ma_span element, const char *name)
{
    size_t len = strlen(name);
    while (element.n > 0) {
        const uint8_t *semi = memchr(element.p, ';', element.n);
        size_t n = semi ? (size_t)(semi - element.p) : element.n;
        struct ma_span pair = ma_trim(ma_span_of(element.p, n));
        if (pair.n > len && pair.p[len] == '=' && strncasecmp((const char *)pair.p, name, len) == 0)
            return unquote(ma_span_of(pair.p + len + 1, pair.n - len - 1));
        element = semi ? ma_span_of(semi + 1, element.n - n - 1) : MA_SPAN_NULL;
    }
    return MA_SPAN_NULL;
}

/* "192.0.2.1:4711" and "[2001:db8::1]:4711" carry a port that is not part of the address. */
static int parse_node(struct ma_span s, struct ma_addr *ret)
{
    if (s.n > 0 && s.p[0] == '[') {
        const uint8_t *end = memchr(s.p, ']', s.n);
        return end ? ma_addr_parse(ma_span_of(s.p, (size_t)(end - s.p) + 1), ret) : MA_E_PARSE;
    }
    const uint8_t *colon = memchr(s.p, ':', s.n);
    if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon - s.p) - 1))
        s.n = (size_t)(colon - s.p);
    return ma_addr_parse(s, ret);
}

/* What one family of headers says: the address of the client, and the host and scheme it asked for. */
struct claim {
    struct ma_addr client;
    struct ma_span host, proto;
};

/* Walks a list from the nearest hop outwards as long as the hop that added the entry is trusted. */
static struct claim walk(const struct ma_conf *conf, const struct ma_addr *peer, struct ma_span list, bool standard)
{
    struct claim c = {.client = *peer};
    while (trusted(conf, &c.client) && list.n > 0) {
        struct ma_span item = last_item(&list);
        struct ma_span node = standard ? forwarded_param(item, "for") : item;
        if (standard) {
            c.host = forwarded_param(item, "host");
            c.proto = forwarded_param(item, "proto");
        }
        struct ma_addr next;
        if (node.n == 0 || parse_node(node, &next) < 0)
            break;
        c.client = next;
    }
    return c;
}

static struct claim claim_standard(const struct ma_ctx *ctx, const struct ma_addr *peer)
{
    return walk(ctx->conf, peer, ctx->req.forwarded, true);
}

static struct claim claim_x(const struct ma_ctx *ctx, const struct ma_addr *peer)
{
    struct ma_span hosts = ctx->req.x_forwarded_host, protos = ctx->req.x_forwarded_proto;
    struct claim c = walk(ctx->conf, peer, ctx->req.x_forwarded_for, false);
    c.host = hosts.p ? last_item(&hosts) : MA_SPAN_NULL;
    c.proto = protos.p ? last_item(&protos) : MA_SPAN_NULL;
    return c;
}

/* A proxy sets one family and may pass the other through as the client sent it. Where both are there and disagree,
 * nobody can tell which one is the proxy's: neither is believed. */
static struct claim believe(const struct ma_ctx *ctx, const struct ma_addr *peer)
{
    struct claim nothing = {.client = *peer};
    bool x = ctx->req.x_forwarded_for.p || ctx->req.x_forwarded_host.p || ctx->req.x_forwarded_proto.p;
    if (!ctx->req.forwarded.p)
        return x ? claim_x(ctx, peer) : nothing;
    struct claim a = claim_standard(ctx, peer);
    if (!x)
        return a;
    struct claim b = claim_x(ctx, peer);
    bool same = memcmp(a.client.b, b.client.b, sizeof a.client.b) == 0 && ma_span_eq(a.host, b.host) &&
                ma_span_eq(a.proto, b.proto);
    return same ? a : nothing;
}

static bool origin_matches(const char *origin, struct ma_span host, struct ma_span proto)
{
    const char *sep = strstr(origin, "://");
    if (!sep)
        return false;
    size_t scheme = (size_t)(sep - origin);
    if (proto.n > 0 && (proto.n != scheme || strncasecmp(origin, (const char *)proto.p, scheme) != 0))
        return false;
    const char *authority = sep + 3;
    return strlen(authority) == host.n && host.n > 0 && strncasecmp(authority, (const char *)host.p, host.n) == 0;
}

/* A host that is none of our public origins (an address, a health check) counts as base_url. */
static int domain_of(const struct ma_conf *conf, struct ma_span host, struct ma_span proto)
{
    for (size_t i = 0; i < conf->custom_domains.n; i++)
        if (origin_matches(conf->custom_domains.v[i], host, proto))
            return (int)i + 1;
    return 0;
}

/* --- correlation --- */

/* A client that puts a token, a cookie or a ticket there does not get it logged: what is part of a header or a target
 * that holds secrets is no id. Shorter ones are no secret of ours, and found there by chance. */
enum { SECRET_MIN = 16 };

static bool occurs(struct ma_span in, struct ma_span id)
{
    return in.n >= id.n && memmem(in.p, in.n, id.p, id.n) != NULL;
}

static bool is_safe_id(const struct ma_req *req, struct ma_span id)
{
    return ma_request_id_ok(id) && (id.n < SECRET_MIN || !(occurs(req->authorization, id) || occurs(req->cookie, id) ||
                                                           occurs(req->dpop, id) || occurs(req->target, id)));
}

void ma_correlate(struct ma_ctx *ctx, const struct ma_addr *peer)
{
    struct ma_span id = ctx->req.x_request_id;
    if (id.n > 0 && ctx->conf->trusted_proxies.n > 0 && trusted(ctx->conf, peer) && is_safe_id(&ctx->req, id)) {
        memcpy(ctx->request_id, id.p, id.n);
        ctx->request_id[id.n] = '\0';
    }
    if (ctx->req.traceparent.n > 0 && ma_traceparent_parse(ctx->req.traceparent, &ctx->trace))
        ma_trace_begin_span(&ctx->trace, ctx->app->rand);
}

void ma_forwarded_apply(struct ma_ctx *ctx, const struct ma_addr *peer)
{
    ctx->req.client = *peer;
    struct ma_span host = ctx->req.host, proto = MA_SPAN_NULL;
    if (ctx->conf->trusted_proxies.n > 0 && trusted(ctx->conf, peer)) {
        struct claim c = believe(ctx, peer);
        ctx->req.client = c.client;
        if (c.host.n > 0)
            host = c.host;
        proto = c.proto;
    }
    ctx->req.domain = ctx->conf->custom_domains.n ? domain_of(ctx->conf, host, proto) : 0;
}

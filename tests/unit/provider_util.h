/* SPDX-License-Identifier: Apache-2.0
 * A provider on 127.0.0.1 and a connection to it, for the tests of the provider module.
 */
#ifndef MA_TEST_PROVIDER_UTIL_H
#define MA_TEST_PROVIDER_UTIL_H

#include "../../src/provider/int.h"
#include "tiny_server.h"

#include <check.h>

#define P_MAYBE __attribute__((unused))
#define P_NOW_S INT64_C(1700000000)
#define P_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json"
#define P_STATUS(line) "HTTP/1.1 " line

static struct {
    struct ma_arena *a;
    struct ma_clock_manual clock;
    struct ts web;
    struct ma_httpc *c;
    struct ma_providers *cache;
    struct ma_provider_env env;
    struct ma_provider_fault fault;
    struct ma_provider p;
    struct ma_state_connection conn;
    char base[64];
} P;

P_MAYBE static void p_set_up(void)
{
    memset(&P, 0, sizeof(P));
    P.a = ma_arena_new(65536, 8u << 20);
    ma_clock_manual_init(&P.clock, P_NOW_S * 1000);
    ck_assert(ts_start(&P.web));
    (void)snprintf(P.base, sizeof(P.base), "http://127.0.0.1:%d", P.web.port);
    ck_assert_int_eq(ma_httpc_new(&P.c), MA_OK);
    ck_assert_int_eq(ma_providers_new(&P.cache), MA_OK);
    P.env = (struct ma_provider_env){
        .cache = P.cache, .httpc = P.c, .clock = &P.clock.clock, .arena = P.a, .policy = {.allow_http_loopback = true}};
}

P_MAYBE static void p_tear_down(void)
{
    ts_hold(&P.web, false);
    ts_stop(&P.web);
    ma_httpc_free(P.c);
    ma_providers_free(P.cache);
    ma_arena_free(P.a);
}

P_MAYBE static void p_web(size_t i, const char *path, const char *head, const char *body)
{
    (void)pthread_mutex_lock(&P.web.lock);
    P.web.routes[i].path = path;
    P.web.routes[i].head = head;
    P.web.routes[i].body = body;
    (void)pthread_mutex_unlock(&P.web.lock);
}

/* A URL at the server. */
P_MAYBE static const char *p_url(const char *path)
{
    const char *s = ma_arena_printf(P.a, "%s%s", P.base, path);
    ck_assert_ptr_nonnull(s);
    return s;
}

/* Words between blanks, as a list. */
P_MAYBE static struct ma_span_list p_list(const char *words)
{
    struct ma_span rest = ma_span_str(words);
    struct ma_span_list l = {ma_arena_calloc(P.a, 400, sizeof(struct ma_span)), 0};
    ck_assert_ptr_nonnull(l.v);
    while (ma_next_word(&rest, " ", &l.v[l.n]))
        l.n++;
    return l;
}

/* The words of a list, joined by blanks. */
P_MAYBE static const char *p_join(const struct ma_span_list *l)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, P.a, 256, 1u << 20);
    for (size_t i = 0; i < l->n; i++)
        ma_buf_printf(&b, "%s%.*s", i ? " " : "", (int)l->v[i].n, (const char *)l->v[i].p);
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

P_MAYBE static const char *p_text(struct ma_span s)
{
    const char *t = s.p ? ma_arena_strdup(P.a, s) : "(none)";
    ck_assert_ptr_nonnull(t);
    return t;
}

/* A connection as the state document would make it of the row alone. */
P_MAYBE static void p_connect(const struct ma_preset *row, const char *scopes)
{
    ck_assert_ptr_nonnull(row);
    P.conn = (struct ma_state_connection){.name = MA_LIT("c"),
                                          .strategy = ma_span_str(row->name),
                                          .connected_accounts = true,
                                          .provider = {.preset = row,
                                                       .client_id = MA_LIT("cid"),
                                                       .scopes = p_list(scopes),
                                                       .scope_separator = row->scope_separator,
                                                       .auth = row->auth,
                                                       .pkce = row->pkce}};
}

P_MAYBE static int p_resolve(const char *secret)
{
    return ma_provider_resolve(&P.env, &P.conn, ma_span_str(secret), &P.p, &P.fault);
}

/* Endpoints at the server, nothing to discover. */
P_MAYBE static void p_endpoints(void)
{
    struct ma_state_provider *o = &P.conn.provider;
    o->authorization_endpoint = ma_span_str(p_url("/authorize"));
    o->token_endpoint = ma_span_str(p_url("/token"));
    o->jwks_uri = ma_span_str(p_url("/jwks"));
    o->userinfo_endpoint = ma_span_str(p_url("/userinfo"));
    o->revocation_endpoint = ma_span_str(p_url("/revoke"));
    o->issuer = ma_span_str(P.base);
}

/* What the server was sent last: the first line, and what follows the header. */
P_MAYBE static const char *p_sent_body(void)
{
    const char *end = strstr(P.web.last, "\r\n\r\n");
    return end ? end + 4 : "(no request)";
}
P_MAYBE static const char *p_sent_header(const char *name)
{
    const char *at = strstr(P.web.last, ma_arena_printf(P.a, "\r\n%s: ", name));
    const char *end = at ? strstr(at + 2, "\r\n") : NULL;
    size_t skip = strlen(name) + 4;
    return end ? p_text(ma_span_of(at + skip, (size_t)(end - at) - skip)) : "(none)";
}

#define P_OK(call)                                                                                                     \
    do {                                                                                                               \
        int p_r = (call);                                                                                              \
        ck_assert_msg(p_r == MA_OK, "%s: %s %s", ma_err_name(p_r), P.fault.error, P.fault.why);                        \
    } while (0)

#endif

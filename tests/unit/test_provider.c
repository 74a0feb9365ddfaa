/* SPDX-License-Identifier: Apache-2.0
 * Providers before any token: where endpoints come from, the memory of discovery documents, scopes
 * and authorization URLs.
 */
#include "provider_util.h"

static const struct ma_preset OIDC = {.name = "oidc",
                                      .oidc = true,
                                      .offline = MA_OFFLINE_SCOPE,
                                      .offline_params = "prompt=consent",
                                      .scopes = "openid",
                                      .scope_param = "scope",
                                      .scope_separator = ' ',
                                      .user_id_field = "sub",
                                      .auth = MA_AUTH_BASIC,
                                      .pkce = true};
static const struct ma_preset OAUTH = {.name = "oauth2",
                                       .offline = MA_OFFLINE_SCOPE,
                                       .scopes = "",
                                       .scope_param = "scope",
                                       .scope_separator = ' ',
                                       .user_id_field = "id",
                                       .auth = MA_AUTH_BASIC,
                                       .pkce = true};
/* A row that knows its provider. */
static const struct ma_preset ROW = {.name = "row",
                                     .oidc = true,
                                     .issuer = "https://row.example",
                                     .authorization_endpoint = "https://row.example/a",
                                     .token_endpoint = "https://row.example/t",
                                     .jwks_uri = "https://row.example/j",
                                     .userinfo_endpoint = "https://row.example/u",
                                     .revocation_endpoint = "https://row.example/r",
                                     .scopes = "openid",
                                     .scope_param = "scope",
                                     .scope_separator = ' '};

/* --- discovery --- */

#define OPENID "/.well-known/openid-configuration"
#define RFC8414 "/.well-known/oauth-authorization-server"

/* A document whose issuer is the server's address and `path`. */
static const char *document(const char *path, const char *more)
{
    return ma_arena_printf(P.a,
                           "{\"issuer\":\"%s%s\",\"authorization_endpoint\":\"%s/a?x=1\",\"token_endpoint\":\"%s/t\","
                           "\"jwks_uri\":\"%s/j\",\"userinfo_endpoint\":\"%s/u\",\"revocation_endpoint\":\"%s/r\"%s}",
                           P.base, path, P.base, P.base, P.base, P.base, P.base, more);
}

static void use_issuer(const struct ma_preset *row, const char *path)
{
    p_connect(row, "");
    P.conn.provider.issuer = ma_span_str(p_url(path));
}

START_TEST(discovered)
{
    use_issuer(&OIDC, "/");
    p_web(0, OPENID, P_JSON, document("/", ",\"authorization_response_iss_parameter_supported\":true,\"z\":[1]"));
    P_OK(p_resolve("s"));
    ck_assert_str_eq(P.p.issuer, p_url("/"));
    ck_assert_str_eq(P.p.authorization_endpoint, p_url("/a?x=1"));
    ck_assert_str_eq(P.p.token_endpoint, p_url("/t"));
    ck_assert_str_eq(P.p.jwks_uri, p_url("/j"));
    ck_assert_str_eq(P.p.userinfo_endpoint, p_url("/u"));
    ck_assert_str_eq(P.p.revocation_endpoint, p_url("/r"));
    ck_assert(P.p.iss_expected);
    ck_assert_ptr_eq(P.p.connection, &P.conn);
    ck_assert(ma_span_eq_str(P.p.client_secret, "s"));
    ck_assert_str_eq(P.fault.why, "");
    ck_assert_str_eq(p_sent_header("Accept"), "application/json");
    ck_assert_str_eq(p_sent_header("Authorization"), "(none)");
}
END_TEST

/* The browser follows the authorization endpoint, where the policy of the daemon's own calls does not look. */
START_TEST(authorization_endpoint_is_https)
{
    static const struct {
        const char *url;
        bool ok;
    } urls[] = {{"https://idp.example/a", true},          {"http://localhost/a", true},
                {"http://127.0.0.1:8080/a", true},        {"http://idp.example/a", false},
                {"http://localhost.evil.example", false}, {"http://127.0.0.1@evil.example/a", false}};
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON,
          ma_arena_printf(P.a,
                          "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s\",\"token_endpoint\":\"%s/t\","
                          "\"jwks_uri\":\"%s/j\"}",
                          P.base, urls[_i].url, P.base, P.base));
    ck_assert_msg((p_resolve("s") == MA_OK) == urls[_i].ok, "%s", urls[_i].url);
}
END_TEST

/* The calls of a step share its time: what is left bounds each, and with too little none is begun. */
START_TEST(time_is_up)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON, document("", ""));
    P.env.deadline_ms = P.clock.now_ms + MA_PROVIDER_CALL_MIN_MS - 1;
    ck_assert_int_eq(p_resolve("s"), MA_E_TIMEOUT);
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
    ma_clock_manual_advance(&P.clock, MA_DISCOVERY_FAILED_MS);
    P.env.deadline_ms = P.clock.now_ms + MA_PROVIDER_CALL_MIN_MS;
    P_OK(p_resolve("s"));
}
END_TEST

/* Where the document is looked for, in this order. */
static const struct {
    const char *name;
    const struct ma_preset *row;
    const char *path, *first, *second; /* second: used when the first answers 404; NULL: none */
} PLACES[] = {
    {"root", &OIDC, "", OPENID, NULL},
    {"root with slash", &OIDC, "/", OPENID, NULL},
    {"path", &OIDC, "/t1", "/t1" OPENID, NULL},
    {"path with slash", &OIDC, "/t1/", "/t1" OPENID, NULL},
    {"two slashes", &OIDC, "/t1//", "/t1/" OPENID, NULL},
    {"oauth root", &OAUTH, "", OPENID, RFC8414},
    {"oauth root with slash", &OAUTH, "/", OPENID, RFC8414},
    {"oauth path", &OAUTH, "/t1/b", "/t1/b" OPENID, RFC8414 "/t1/b"},
    {"oauth path with slash", &OAUTH, "/t1/", "/t1" OPENID, RFC8414 "/t1"},
};

START_TEST(places)
{
    const char *second = PLACES[_i].second ? PLACES[_i].second : RFC8414;
    use_issuer(PLACES[_i].row, PLACES[_i].path);
    p_web(0, PLACES[_i].first, P_JSON, document(PLACES[_i].path, ""));
    p_web(1, second, P_JSON, document(PLACES[_i].path, ""));
    P_OK(p_resolve(NULL));
    ck_assert(!P.p.iss_expected);
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
    ck_assert_int_eq(ts_hits(&P.web, 1), 0);
    ma_providers_free(P.cache);
    ck_assert_int_eq(ma_providers_new(&P.cache), MA_OK);
    P.env.cache = P.cache;
    p_web(0, PLACES[_i].first, P_STATUS("404 No"), "");
    ck_assert_msg(p_resolve(NULL) == (PLACES[_i].second ? MA_OK : MA_E_UPSTREAM), "%s", PLACES[_i].name);
    ck_assert_int_eq(ts_hits(&P.web, 1), PLACES[_i].second ? 1 : 0);
}
END_TEST

static const struct {
    const char *name, *head, *body; /* %s is the server's address */
} BAD_DOCS[] = {
    {"404", P_STATUS("404 No"), "{}"},
    {"500", P_STATUS("500 No"), "{\"issuer\":\"%s\"}"},
    {"204", P_STATUS("204 No Content"), ""},
    {"redirect", P_STATUS("302 Found\r\nLocation: /other"), ""},
    {"HTML", P_STATUS("200 OK"), "<html></html>"},
    {"array", P_JSON, "[]"},
    {"cut", P_JSON, "{\"issuer\":\"%s\""},
    {"no issuer", P_JSON, "{\"token_endpoint\":\"https://x.example/t\"}"},
    {"issuer null", P_JSON, "{\"issuer\":null}"},
    {"issuer with a slash more", P_JSON, "{\"issuer\":\"%s/\"}"},
    {"issuer in another case", P_JSON, "{\"issuer\":\"HTTP%s\"}"},
    {"issuer twice", P_JSON, "{\"issuer\":\"%1$s\",\"issuer\":\"%1$s\"}"},
    {"endpoint a number", P_JSON, "{\"issuer\":\"%s\",\"token_endpoint\":1}"},
    {"endpoint of script", P_JSON, "{\"issuer\":\"%s\",\"authorization_endpoint\":\"javascript:alert(1)//\"}"},
    {"endpoint of files", P_JSON, "{\"issuer\":\"%s\",\"token_endpoint\":\"file:///etc/passwd\"}"},
    {"endpoint without host", P_JSON, "{\"issuer\":\"%s\",\"token_endpoint\":\"https://\"}"},
    {"endpoint relative", P_JSON, "{\"issuer\":\"%s\",\"token_endpoint\":\"/t\"}"},
    {"endpoint with a line end", P_JSON, "{\"issuer\":\"%s\",\"jwks_uri\":\"https://x.example/\\r\\nX: y\"}"},
    {"endpoint with a blank", P_JSON, "{\"issuer\":\"%s\",\"jwks_uri\":\"https://x.example/a b\"}"},
    {"endpoint with a fragment", P_JSON, "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/#f\"}"},
    {"endpoint not ASCII", P_JSON, "{\"issuer\":\"%s\",\"userinfo_endpoint\":\"https://x.example/\\u00e4\"}"},
    {"iss supported as text", P_JSON,
     "{\"issuer\":\"%s\",\"authorization_response_iss_parameter_supported\":\"true\"}"},
};

/* The table's text with the address put in, wherever it stands. */
static const char *filled(const char *text)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, P.a, 256, 65536);
    while (*text) {
        size_t n = strncmp(text, "%1$s", 4) == 0 ? 4 : strncmp(text, "%s", 2) == 0 ? 2 : 0;
        if (n)
            ma_buf_str(&b, P.base);
        else
            ma_buf_byte(&b, (uint8_t)*text);
        text += n ? n : 1;
    }
    ma_buf_byte(&b, 0);
    return (const char *)b.p;
}

START_TEST(bad_documents)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, BAD_DOCS[_i].head, filled(BAD_DOCS[_i].body));
    p_web(1, "/other", P_JSON, document("", ""));
    int r = p_resolve(NULL);
    ck_assert_msg(r == MA_E_UPSTREAM, "%s: %s", BAD_DOCS[_i].name, ma_err_name(r));
    ck_assert_ptr_nonnull(strstr(P.fault.why, "discovery: "));
    ck_assert_str_eq(P.fault.error, "");
    ck_assert_int_eq(ts_hits(&P.web, 1), 0);
}
END_TEST

START_TEST(large_document)
{
    use_issuer(&OIDC, "");
    char *s = ma_arena_alloc(P.a, MA_PROVIDER_ANSWER_MAX + 2);
    memset(s, ' ', MA_PROVIDER_ANSWER_MAX + 1);
    s[MA_PROVIDER_ANSWER_MAX + 1] = 0;
    p_web(0, OPENID, P_JSON, s);
    ck_assert_int_eq(p_resolve(NULL), MA_E_RANGE);
}
END_TEST

static const char *const NO_DISCOVERY[] = {"https://x.example/{tenantid}/",
                                           "https://x.example/?a",
                                           "ftp://x.example/",
                                           "https://x.example/#f",
                                           "x.example",
                                           "https://x .example/"};

START_TEST(issuers_without_discovery)
{
    p_connect(&OIDC, "");
    P.conn.provider.issuer = ma_span_str(NO_DISCOVERY[_i]);
    ck_assert_msg(p_resolve(NULL) == MA_E_INVAL, "%s", NO_DISCOVERY[_i]);
    ck_assert_str_ne(P.fault.why, "");
    /* With all endpoints given nothing is looked up. */
    struct ma_state_provider *o = &P.conn.provider;
    o->authorization_endpoint = o->token_endpoint = o->jwks_uri = MA_LIT("https://x.example/e");
    P_OK(p_resolve(NULL));
    ck_assert_str_eq(P.p.issuer, NO_DISCOVERY[_i]);
}
END_TEST

static void advance_s(int64_t s)
{
    ma_clock_manual_advance(&P.clock, s * 1000);
}

static const struct {
    const char *head;
    int64_t age_s;
} AGES[] = {
    {P_JSON, 3600},
    {P_JSON "\r\nCache-Control: no-store", 3600},
    {P_JSON "\r\nCache-Control: max-age=0", 60},
    {P_JSON "\r\nCache-Control: max-age=59", 60},
    {P_JSON "\r\nCache-Control: max-age=61", 61},
    {P_JSON "\r\nCache-Control: public, max-age=86400", 86400},
    {P_JSON "\r\nCache-Control: max-age=86401", 86400},
    {P_JSON "\r\nCache-Control: max-age=99999999999999999999", 86400},
};

START_TEST(ages)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, AGES[_i].head, document("", ""));
    P_OK(p_resolve(NULL));
    advance_s(AGES[_i].age_s - 1);
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
    advance_s(1);
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 2);
}
END_TEST

START_TEST(old_document_serves_on)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON, document("", ""));
    P_OK(p_resolve(NULL));
    p_web(0, OPENID, P_STATUS("503 No"), "");
    advance_s(3600);
    P_OK(p_resolve(NULL));
    ck_assert_str_eq(P.p.token_endpoint, p_url("/t"));
    ck_assert_str_eq(P.fault.why, "");
    ck_assert_int_eq(ts_hits(&P.web, 0), 2);
    /* A dead provider is asked once in a while only. */
    advance_s(59);
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 2);
    advance_s(1);
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 3);
    advance_s(86400 * 30);
    p_web(0, OPENID, P_JSON, document("", ",\"authorization_response_iss_parameter_supported\":true"));
    P_OK(p_resolve(NULL));
    ck_assert(P.p.iss_expected);
}
END_TEST

START_TEST(failure_is_remembered)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_STATUS("500 No"), "");
    ck_assert_int_eq(p_resolve(NULL), MA_E_UPSTREAM);
    ck_assert_str_eq(P.fault.why, "discovery: HTTP status 500");
    p_web(0, OPENID, P_JSON, document("", ""));
    ma_clock_manual_advance(&P.clock, MA_DISCOVERY_FAILED_MS - 1);
    ck_assert_int_eq(p_resolve(NULL), MA_E_UPSTREAM);
    ck_assert_str_eq(P.fault.why, "discovery: HTTP status 500");
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
    ma_clock_manual_advance(&P.clock, 1);
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 2);
}
END_TEST

/* Plain http is only for loopback where it is allowed: the policy of outgoing calls holds here too. */
START_TEST(policy_holds)
{
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON, document("", ""));
    P.env.policy.allow_http_loopback = false;
    ck_assert_int_eq(p_resolve(NULL), MA_E_UPSTREAM);
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
}
END_TEST

/* The same issuer for an oauth2 row has places of its own. */
START_TEST(kinds_are_apart)
{
    use_issuer(&OIDC, "");
    p_web(0, RFC8414, P_JSON, document("", ""));
    ck_assert_int_eq(p_resolve(NULL), MA_E_UPSTREAM);
    use_issuer(&OAUTH, "");
    P_OK(p_resolve(NULL));
    use_issuer(&OIDC, "");
    ck_assert_int_eq(p_resolve(NULL), MA_E_UPSTREAM);
}
END_TEST

/* One more than are remembered: the one that was not used for longest is fetched again, the others are not. */
START_TEST(memory_is_bounded)
{
    p_web(0, "/keep" OPENID, P_JSON, document("/keep", ""));
    p_web(1, "/first" OPENID, P_JSON, document("/first", ""));
    use_issuer(&OIDC, "/keep");
    P_OK(p_resolve(NULL));
    use_issuer(&OIDC, "/first");
    P_OK(p_resolve(NULL));
    for (int i = 0; i < MA_DISCOVERY_MAX - 1; i++) {
        MA_CLEANUP(ma_discovered_unref_p) struct ma_discovered *d = NULL;
        char issuer[64];
        use_issuer(&OIDC, "/keep");
        P_OK(p_resolve(NULL));
        /* Refused by the policy before anything is sent. */
        (void)snprintf(issuer, sizeof(issuer), "https://127.0.0.1:1/%d", i);
        ck_assert_int_eq(ma_discover(&P.env, issuer, false, &d, &P.fault), MA_E_UPSTREAM);
    }
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
    use_issuer(&OIDC, "/first");
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 1), 2);
    use_issuer(&OIDC, "/keep");
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
}
END_TEST

/* --- many threads --- */

#define THREADS 6
struct asker {
    pthread_t thread;
    struct ma_provider_env env;
    struct ma_state_connection conn;
    int result;
    char token_endpoint[128];
};

static void *ask(void *arg)
{
    struct asker *k = arg;
    struct ma_provider p;
    struct ma_provider_fault fault;
    k->result = ma_provider_resolve(&k->env, &k->conn, MA_SPAN_NULL, &p, &fault);
    if (k->result == MA_OK)
        (void)snprintf(k->token_endpoint, sizeof(k->token_endpoint), "%s", p.token_endpoint);
    return NULL;
}

static void start_askers(struct asker *v)
{
    for (size_t i = 0; i < THREADS; i++) {
        v[i] = (struct asker){.env = P.env, .conn = P.conn};
        v[i].env.arena = ma_arena_new(16384, 1u << 20);
        ck_assert_int_eq(ma_httpc_new(&v[i].env.httpc), MA_OK);
        ck_assert_int_eq(pthread_create(&v[i].thread, NULL, ask, &v[i]), 0);
    }
}

static void join_askers(struct asker *v, int want)
{
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(v[i].thread, NULL), 0);
        ck_assert_int_eq(v[i].result, want);
        if (want == MA_OK)
            ck_assert_str_eq(v[i].token_endpoint, p_url("/t"));
        ma_httpc_free(v[i].env.httpc);
        ma_arena_free(v[i].env.arena);
    }
}

START_TEST(one_fetch_for_all)
{
    struct asker v[THREADS];
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON, document("", ""));
    ts_hold(&P.web, true);
    start_askers(v);
    ts_wait_held(&P.web);
    ts_hold(&P.web, false);
    join_askers(v, MA_OK);
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
}
END_TEST

START_TEST(one_failure_for_all)
{
    struct asker v[THREADS];
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_STATUS("500 No"), "");
    ts_hold(&P.web, true);
    start_askers(v);
    ts_wait_held(&P.web);
    ts_hold(&P.web, false);
    join_askers(v, MA_E_UPSTREAM);
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
}
END_TEST

/* Only the thread that fetches waits when there is an old document. */
START_TEST(nobody_waits_for_a_second_fetch)
{
    struct asker v[THREADS];
    use_issuer(&OIDC, "");
    p_web(0, OPENID, P_JSON, document("", ""));
    P_OK(p_resolve(NULL));
    advance_s(3600);
    ts_hold(&P.web, true);
    start_askers(v);
    ts_wait_held(&P.web);
    P_OK(p_resolve(NULL)); /* while the answer is held */
    ts_hold(&P.web, false);
    join_askers(v, MA_OK);
    ck_assert_int_eq(ts_hits(&P.web, 0), 2);
}
END_TEST

/* --- where endpoints come from --- */

START_TEST(preset_alone)
{
    p_connect(&ROW, "");
    P_OK(p_resolve(NULL));
    ck_assert_str_eq(P.p.issuer, "https://row.example");
    ck_assert_str_eq(P.p.authorization_endpoint, "https://row.example/a");
    ck_assert_str_eq(P.p.token_endpoint, "https://row.example/t");
    ck_assert_str_eq(P.p.jwks_uri, "https://row.example/j");
    ck_assert_str_eq(P.p.userinfo_endpoint, "https://row.example/u");
    ck_assert_str_eq(P.p.revocation_endpoint, "https://row.example/r");
    ck_assert(!P.p.iss_expected);
}
END_TEST

START_TEST(connection_over_preset)
{
    struct ma_state_provider *o = &P.conn.provider;
    p_connect(&ROW, "");
    o->issuer = MA_LIT("https://row.example");
    o->token_endpoint = MA_LIT("https://mine.example/t");
    o->revocation_endpoint = MA_LIT("https://mine.example/r");
    P_OK(p_resolve(NULL));
    ck_assert_str_eq(P.p.authorization_endpoint, "https://row.example/a");
    ck_assert_str_eq(P.p.token_endpoint, "https://mine.example/t");
    ck_assert_str_eq(P.p.revocation_endpoint, "https://mine.example/r");
    ck_assert_str_eq(P.p.jwks_uri, "https://row.example/j");
}
END_TEST

/* Another issuer: nothing of the row's provider is used, what is missing is discovered. */
START_TEST(another_issuer)
{
    use_issuer(&ROW, "");
    P.conn.provider.token_endpoint = MA_LIT("https://mine.example/t");
    p_web(0, OPENID, P_JSON, document("", ""));
    P_OK(p_resolve(NULL));
    ck_assert_str_eq(P.p.issuer, P.base);
    ck_assert_str_eq(P.p.authorization_endpoint, p_url("/a?x=1"));
    ck_assert_str_eq(P.p.token_endpoint, "https://mine.example/t");
    ck_assert_str_eq(P.p.jwks_uri, p_url("/j"));
    ck_assert_str_eq(P.p.userinfo_endpoint, p_url("/u"));
    ck_assert_str_eq(P.p.revocation_endpoint, p_url("/r"));
}
END_TEST

START_TEST(nothing_missing_nothing_fetched)
{
    p_connect(&OIDC, "");
    p_endpoints();
    P.conn.provider.userinfo_endpoint = P.conn.provider.revocation_endpoint = MA_SPAN_NULL;
    p_web(0, OPENID, P_JSON, document("", ""));
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
    ck_assert_ptr_null(P.p.userinfo_endpoint);
    ck_assert_ptr_null(P.p.revocation_endpoint);
    /* Revocation is wanted: looked for, but nothing that stops the rest. */
    P.conn.provider.revoke_on_delete = true;
    P_OK(p_resolve(NULL));
    ck_assert_int_eq(ts_hits(&P.web, 0), 1);
    ck_assert_str_eq(P.p.revocation_endpoint, p_url("/r"));
    P.conn.provider.issuer = ma_span_str(p_url("/gone"));
    P_OK(p_resolve(NULL));
    ck_assert_ptr_null(P.p.revocation_endpoint);
    ck_assert_str_eq(P.fault.why, "");
}
END_TEST

/* A document that lacks what the row needs; 0 is MA_OK. */
static const struct {
    const char *name;
    const struct ma_preset *row;
    const char *doc;
    int want;
} LACKS[] = {
    {"oidc, all it needs", &OIDC,
     "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/a\",\"token_endpoint\":\"https://x.example/t\","
     "\"jwks_uri\":\"https://x.example/j\",\"userinfo_endpoint\":\"\",\"revocation_endpoint\":null}",
     MA_OK},
    {"oidc, no jwks_uri", &OIDC,
     "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/a\",\"token_endpoint\":\"https://x.example/"
     "t\"}",
     MA_E_INVAL},
    {"oidc, no token", &OIDC,
     "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/a\",\"jwks_uri\":\"https://x.example/j\"}",
     MA_E_INVAL},
    {"oidc, no authorization", &OIDC,
     "{\"issuer\":\"%s\",\"token_endpoint\":\"https://x.example/t\",\"jwks_uri\":\"https://x.example/j\"}", MA_E_INVAL},
    {"oauth2, all it needs", &OAUTH,
     "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/a\",\"token_endpoint\":\"https://x.example/t\","
     "\"userinfo_endpoint\":\"https://x.example/u\"}",
     MA_OK},
    {"oauth2, no userinfo", &OAUTH,
     "{\"issuer\":\"%s\",\"authorization_endpoint\":\"https://x.example/a\",\"token_endpoint\":\"https://x.example/"
     "t\"}",
     MA_E_INVAL},
};

START_TEST(lacking_documents)
{
    use_issuer(LACKS[_i].row, "");
    p_web(0, OPENID, P_JSON, filled(LACKS[_i].doc));
    int r = p_resolve(NULL);
    ck_assert_msg(r == LACKS[_i].want, "%s: %s", LACKS[_i].name, ma_err_name(r));
    ck_assert_int_eq(P.fault.why[0] == '\0', r == MA_OK);
    if (r == MA_OK)
        ck_assert_ptr_null(P.p.revocation_endpoint);
}
END_TEST

START_TEST(unusable_connections)
{
    p_connect(&OIDC, "");
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL); /* no issuer */
    p_endpoints();
    P.conn.provider.issuer = MA_SPAN_NULL;
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL); /* an id_token could not be checked */
    p_endpoints();
    P.conn.provider.token_endpoint = MA_LIT("javascript:1");
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL);
    p_endpoints();
    P.conn.provider.client_id = MA_SPAN_NULL;
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL);
    P.conn = (struct ma_state_connection){.database = true};
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL);
    ck_assert_str_ne(P.fault.why, "");
    p_connect(&OAUTH, "");
    ck_assert_int_eq(p_resolve(NULL), MA_E_INVAL);
    ck_assert_ptr_nonnull(strstr(P.fault.why, "authorization_endpoint"));
}
END_TEST

/* The id stands beside the token: userinfo is not needed. */
START_TEST(token_member_needs_no_userinfo)
{
    struct ma_preset row = OAUTH;
    row.token_member = "authed_user";
    p_connect(&row, "");
    p_endpoints();
    P.conn.provider.userinfo_endpoint = P.conn.provider.issuer = MA_SPAN_NULL;
    P_OK(p_resolve(NULL));
}
END_TEST

/* --- scopes --- */

static const struct {
    const char *name, *preset, *configured, *asked, *want;
} SCOPES[] = {
    {"nothing", "", "", "", ""},
    {"the preset's", "openid", "", "", "openid"},
    {"configured", "openid", "profile openid b", "", "b openid profile"},
    {"asked replaces", "openid", "profile b", "c a", "a c openid"},
    {"offline_access is kept", "openid", "profile offline_access", "c", "c offline_access openid"},
    {"offline_access asked twice", "openid", "offline_access", "offline_access c", "c offline_access openid"},
    {"offline_access only asked", "", "a", "offline_access", "offline_access"},
    {"each once", "openid profile", "a a openid a", "", "a openid profile"},
    {"sorted by bytes", "", "b B a A aa a:x https://z.example/x", "", "A B a a:x aa b https://z.example/x"},
};

START_TEST(scopes)
{
    struct ma_preset row = OIDC;
    struct ma_span_list got, asked = p_list(SCOPES[_i].asked);
    row.scopes = SCOPES[_i].preset;
    p_connect(&row, SCOPES[_i].configured);
    ck_assert_int_eq(ma_provider_scopes(P.a, &P.conn, &asked, &got), MA_OK);
    ck_assert_msg(strcmp(p_join(&got), SCOPES[_i].want) == 0, "%s: %s", SCOPES[_i].name, p_join(&got));
    if (asked.n == 0) {
        ck_assert_int_eq(ma_provider_scopes(P.a, &P.conn, NULL, &got), MA_OK);
        ck_assert_str_eq(p_join(&got), SCOPES[_i].want);
    }
}
END_TEST

START_TEST(scopes_refused)
{
    static const char *const bad[] = {"a b", "", "a\"b", "a\\b", "a\n", "\xc3\xa4", "a\x7f"};
    p_connect(&OIDC, "");
    for (size_t i = 0; i < MA_COUNT(bad); i++) {
        struct ma_span one = ma_span_str(bad[i]);
        struct ma_span_list got, asked = {&one, 1};
        ck_assert_msg(ma_provider_scopes(P.a, &P.conn, &asked, &got) == MA_E_INVAL, "%zu", i);
    }
}
END_TEST

/* --- authorization URLs --- */

#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" /* RFC 7636 appendix B */
#define CHALLENGE "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
#define CALLBACK "https://id.example/me/v1/connected-accounts/callback"
#define CALLBACK_ENC "https%3A%2F%2Fid.example%2Fme%2Fv1%2Fconnected-accounts%2Fcallback"
#define HEAD "response_type=code&client_id=cid&redirect_uri=" CALLBACK_ENC

static const char *authorize(const struct ma_param *params, size_t n)
{
    struct ma_span_list l;
    const char *url = NULL;
    ck_assert_int_eq(ma_provider_scopes(P.a, &P.conn, NULL, &l), MA_OK);
    struct ma_authorize in = {.redirect_uri = CALLBACK,
                              .state = "st+/=",
                              .nonce = "no",
                              .verifier = VERIFIER,
                              .scopes = &l,
                              .params = params,
                              .n_params = n};
    P.p.connection = &P.conn;
    ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &in, &url), MA_OK);
    return url;
}

static const struct {
    const char *preset, *scopes, *params, *want;
} GOLDEN[] = {
    {"google-oauth2", "offline_access https://www.googleapis.com/auth/calendar", "",
     "https://accounts.google.com/o/oauth2/v2/auth?" HEAD
     "&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcalendar%20openid%20profile&state=st%2B%2F%3D&nonce=no" CHALLENGE
     "&access_type=offline&prompt=consent"},
    {"google-oauth2", "", "hd=example.com&access_type=online",
     "https://accounts.google.com/o/oauth2/v2/auth?" HEAD "&scope=openid%20profile&state=st%2B%2F%3D&nonce=no" CHALLENGE
     "&access_type=online&prompt=consent&hd=example.com"},
    {"github", "offline_access repo read:user", "",
     "https://github.com/login/oauth/authorize?" HEAD "&scope=read%3Auser%20repo&state=st%2B%2F%3D" CHALLENGE},
    {"github", "", "allow_signup=false",
     "https://github.com/login/oauth/authorize?" HEAD "&state=st%2B%2F%3D" CHALLENGE "&allow_signup=false"},
    {"slack", "offline_access users:read chat:write", "team=T1",
     "https://slack.com/oauth/v2/authorize?" HEAD "&user_scope=chat%3Awrite%2Cusers%3Aread&state=st%2B%2F%3D&team=T1"},
    {"windowslive", "offline_access Files.Read", "",
     "https://login.microsoftonline.com/consumers/oauth2/v2.0/authorize?" HEAD
     "&scope=Files.Read%20offline_access%20openid%20profile&state=st%2B%2F%3D&nonce=no" CHALLENGE},
    {"discord", "offline_access guilds", "",
     "https://discord.com/oauth2/authorize?" HEAD "&scope=guilds%20identify&state=st%2B%2F%3D" CHALLENGE},
};

START_TEST(golden_urls)
{
    p_connect(ma_preset_find(ma_span_str(GOLDEN[_i].preset)), GOLDEN[_i].scopes);
    P.conn.provider.authorization_params = ma_span_str(GOLDEN[_i].params);
    P_OK(p_resolve("s"));
    ck_assert_str_eq(authorize(NULL, 0), GOLDEN[_i].want);
}
END_TEST

static const struct {
    const char *name, *endpoint, *scopes;
    bool pkce;
    const char *want;
} PLAIN[] = {
    {"without offline", "https://x.example/a", "profile", true,
     "https://x.example/a?" HEAD "&scope=openid%20profile&state=st%2B%2F%3D&nonce=no" CHALLENGE},
    {"with offline", "https://x.example/a", "offline_access", true,
     "https://x.example/a?" HEAD "&scope=offline_access%20openid&state=st%2B%2F%3D&nonce=no" CHALLENGE
     "&prompt=consent"},
    {"without PKCE", "https://x.example/a", "", false,
     "https://x.example/a?" HEAD "&scope=openid&state=st%2B%2F%3D&nonce=no"},
    {"query kept", "https://x.example/a?p=B2C_1", "", false,
     "https://x.example/a?p=B2C_1&" HEAD "&scope=openid&state=st%2B%2F%3D&nonce=no"},
    {"empty query", "https://x.example/a?", "", false,
     "https://x.example/a?" HEAD "&scope=openid&state=st%2B%2F%3D&nonce=no"},
    {"query with its own &", "https://x.example/a?p=1&", "", false,
     "https://x.example/a?p=1&" HEAD "&scope=openid&state=st%2B%2F%3D&nonce=no"},
};

START_TEST(plain_urls)
{
    p_connect(&OIDC, PLAIN[_i].scopes);
    P.conn.provider.pkce = PLAIN[_i].pkce;
    P.p.authorization_endpoint = PLAIN[_i].endpoint;
    const char *got = authorize(NULL, 0);
    ck_assert_msg(strcmp(got, PLAIN[_i].want) == 0, "%s: %s", PLAIN[_i].name, got);
}
END_TEST

/* The value of a parameter in a URL, encoded; NULL: not there. How often it is there in *n. */
static const char *param(const char *url, const char *name, int *n)
{
    struct ma_span rest = ma_span_str(strchr(url, '?') + 1), word;
    const char *found = NULL;
    size_t k = strlen(name);
    *n = 0;
    while (ma_next_word(&rest, "&", &word)) {
        if (word.n <= k || memcmp(word.p, name, k) != 0 || word.p[k] != '=')
            continue;
        found = p_text(ma_span_of(word.p + k + 1, word.n - k - 1));
        (*n)++;
    }
    return found;
}

static const struct {
    const char *name, *configured;
    bool offline; /* the preset adds prompt=consent */
    const char *client, *want;
} PROMPTS[] = {
    {"nothing", "", false, NULL, NULL},
    {"preset", "", true, NULL, "consent"},
    {"client", "", false, "login", "login"},
    {"joined", "", true, "login", "consent%20login"},
    {"said twice", "", true, "consent", "consent"},
    {"joined, each once", "", true, "select_account consent  login login", "consent%20select_account%20login"},
    {"none from the client", "", true, "none", "none"},
    {"none among others", "", true, "login none", "login%20none"},
    {"none from the connection", "prompt=none", true, "login", "login"},
    {"none from the connection alone", "prompt=none", true, NULL, "none"},
    {"connection over preset", "prompt=select_account", true, NULL, "select_account"},
    {"connection and client", "prompt=select_account", true, "consent", "select_account%20consent"},
    {"empty from the client", "", true, "", "consent"},
};

START_TEST(prompts)
{
    int n;
    struct ma_param params[] = {{"prompt", ma_span_str(PROMPTS[_i].client)}};
    p_connect(&OIDC, PROMPTS[_i].offline ? "offline_access" : "");
    P.conn.provider.authorization_params = ma_span_str(PROMPTS[_i].configured);
    P.p.authorization_endpoint = "https://x.example/a";
    const char *url = authorize(params, PROMPTS[_i].client ? 1 : 0), *got = param(url, "prompt", &n);
    ck_assert_msg((got ? n : -1) == (PROMPTS[_i].want ? 1 : -1), "%s: %s", PROMPTS[_i].name, url);
    if (PROMPTS[_i].want)
        ck_assert_msg(strcmp(got, PROMPTS[_i].want) == 0, "%s: %s", PROMPTS[_i].name, got);
}
END_TEST

/* Later over earlier, and everything encoded. */
START_TEST(client_parameters)
{
    struct ma_param params[] = {{"login_hint", MA_LIT("a b&state=evil#x\r\n")},
                                {"access_type", MA_LIT("online")},
                                {"x&state", MA_LIT("1")},
                                {"login_hint", MA_LIT("\xc3\xa4+%26@x.example")}};
    int n;
    p_connect(ma_preset_find(MA_LIT("google-oauth2")), "");
    P_OK(p_resolve(NULL));
    P.conn.provider.authorization_params = MA_LIT("hd=a%26b+c");
    const char *url = authorize(params, 1);
    ck_assert_str_eq(param(url, "login_hint", &n), "a%20b%26state%3Devil%23x%0D%0A");
    url = authorize(params, MA_COUNT(params));
    ck_assert_str_eq(param(url, "login_hint", &n), "%C3%A4%2B%2526%40x.example");
    ck_assert_int_eq(n, 1);
    ck_assert_str_eq(param(url, "access_type", &n), "online");
    ck_assert_int_eq(n, 1);
    ck_assert_str_eq(param(url, "x%26state", &n), "1");
    ck_assert_str_eq(param(url, "hd", &n), "a%26b%20c");
    ck_assert_str_eq(param(url, "state", &n), "st%2B%2F%3D");
    ck_assert_int_eq(n, 1);
    ck_assert_ptr_null(strpbrk(url, " \r\n#"));
}
END_TEST

static const char *const OURS[] = {"response_type", "client_id", "redirect_uri",   "scope",
                                   "state",         "nonce",     "code_challenge", "code_challenge_method",
                                   "client_secret", "request",   "request_uri",    "response_mode",
                                   "user_scope",    ""};

/* Nobody sets what makes the request the daemon's own: not the client, not the connection, with PKCE or without. */
START_TEST(injection)
{
    static const char *const rows[] = {"google-oauth2", "github", "slack", "oidc", "oauth2"};
    for (size_t i = 0; i < 2 * MA_COUNT(rows); i++) {
        p_connect(ma_preset_find(ma_span_str(rows[i / 2])), "a");
        P.conn.provider.pkce = i % 2;
        P.p = (struct ma_provider){.authorization_endpoint = "https://x.example/a"};
        const char *clean = authorize(NULL, 0);
        struct ma_param params[] = {{OURS[_i], MA_LIT("evil")}, {OURS[_i], MA_LIT("evil")}};
        ck_assert_str_eq(authorize(params, 2), clean);
        P.conn.provider.authorization_params =
            ma_span_str(ma_arena_printf(P.a, "%s=evil&&%s&=evil&%s=", OURS[_i], OURS[_i], OURS[_i]));
        ck_assert_str_eq(authorize(NULL, 0), clean);
    }
}
END_TEST

START_TEST(urls_refused)
{
    const char *url;
    struct ma_param params[80];
    struct ma_span_list l = {NULL, 0};
    p_connect(&OIDC, "");
    P.p = (struct ma_provider){.connection = &P.conn, .authorization_endpoint = "https://x.example/a"};
    struct ma_authorize in = {
        .redirect_uri = CALLBACK, .state = "s", .nonce = "n", .verifier = VERIFIER, .scopes = &l, .params = params};
    ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &in, &url), MA_OK);
    P.conn.provider.authorization_params = MA_LIT("a=%zz");
    ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &in, &url), MA_E_INVAL);
    P.conn.provider.authorization_params = MA_SPAN_NULL;
    for (size_t i = 0; i < MA_COUNT(params); i++)
        params[i] = (struct ma_param){ma_arena_printf(P.a, "p%zu", i), MA_LIT("v")};
    in.n_params = MA_COUNT(params);
    ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &in, &url), MA_E_RANGE);
    char *big = ma_arena_alloc(P.a, 40000);
    memset(big, 'a', 40000);
    params[0].value = ma_span_of(big, 40000);
    in.n_params = 1;
    ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &in, &url), MA_E_RANGE);
    in.n_params = 0;
    struct ma_authorize lack[] = {in, in, in, in};
    lack[0].redirect_uri = lack[1].state = lack[2].nonce = lack[3].verifier = NULL;
    for (size_t i = 0; i < MA_COUNT(lack); i++)
        ck_assert_int_eq(ma_provider_authorize_url(P.a, &P.p, &lack[i], &url), MA_E_INVAL);
}
END_TEST

int main(void)
{
    if (ma_crypto_init() != MA_OK || ma_httpc_global_init() != MA_OK)
        return EXIT_FAILURE;
    Suite *s = suite_create("provider");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, p_set_up, p_tear_down);
    tcase_add_test(tc, discovered);
    tcase_add_loop_test(tc, authorization_endpoint_is_https, 0, 6);
    tcase_add_test(tc, time_is_up);
    tcase_add_loop_test(tc, places, 0, (int)MA_COUNT(PLACES));
    tcase_add_loop_test(tc, bad_documents, 0, (int)MA_COUNT(BAD_DOCS));
    tcase_add_test(tc, large_document);
    tcase_add_loop_test(tc, issuers_without_discovery, 0, (int)MA_COUNT(NO_DISCOVERY));
    tcase_add_loop_test(tc, ages, 0, (int)MA_COUNT(AGES));
    tcase_add_test(tc, old_document_serves_on);
    tcase_add_test(tc, failure_is_remembered);
    tcase_add_test(tc, policy_holds);
    tcase_add_test(tc, kinds_are_apart);
    tcase_add_test(tc, memory_is_bounded);
    tcase_add_test(tc, one_fetch_for_all);
    tcase_add_test(tc, one_failure_for_all);
    tcase_add_test(tc, nobody_waits_for_a_second_fetch);
    tcase_add_test(tc, preset_alone);
    tcase_add_test(tc, connection_over_preset);
    tcase_add_test(tc, another_issuer);
    tcase_add_test(tc, nothing_missing_nothing_fetched);
    tcase_add_loop_test(tc, lacking_documents, 0, (int)MA_COUNT(LACKS));
    tcase_add_test(tc, unusable_connections);
    tcase_add_test(tc, token_member_needs_no_userinfo);
    tcase_add_loop_test(tc, scopes, 0, (int)MA_COUNT(SCOPES));
    tcase_add_test(tc, scopes_refused);
    tcase_add_loop_test(tc, golden_urls, 0, (int)MA_COUNT(GOLDEN));
    tcase_add_loop_test(tc, plain_urls, 0, (int)MA_COUNT(PLAIN));
    tcase_add_loop_test(tc, prompts, 0, (int)MA_COUNT(PROMPTS));
    tcase_add_test(tc, client_parameters);
    tcase_add_loop_test(tc, injection, 0, (int)MA_COUNT(OURS));
    tcase_add_test(tc, urls_refused);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

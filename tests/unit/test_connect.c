/* SPDX-License-Identifier: Apache-2.0
 * Connecting an account, step by step and without a network: who may start, follow and complete a flow, what ends it,
 * and what it leaves behind.
 */
#include "../../src/feature/connect_int.h"

#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/methods.h"

#define CALLBACK "https://app.example.com/cb"
#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  /* RFC 7636 appendix B */
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" /* of it */

static const char document[] =
    "{\"clients\":[{\"client_id\":\"spa\",\"callbacks\":[\"" CALLBACK "\",\"https://app.example.com/two?x=1\"]},"
    "{\"client_id\":\"other\",\"callbacks\":[\"" CALLBACK "\"]}],\"connections\":["
    "{\"name\":\"acme\",\"strategy\":\"oauth2\",\"connected_accounts\":{\"active\":true},\"options\":{"
    "\"authorization_endpoint\":\"https://acme.example/authorize?tenant=1\",\"token_endpoint\":"
    "\"https://acme.example/token\",\"userinfo_endpoint\":\"https://acme.example/userinfo\",\"user_id_field\":\"id\","
    "\"client_id\":\"cid\",\"client_secret\":\"s3\",\"scopes\":[\"read\",\"offline_access\"]}},"
    "{\"name\":\"alias\",\"strategy\":\"oauth2\",\"connected_accounts\":{\"active\":true},\"options\":{"
    "\"authorization_endpoint\":\"https://acme.example/authorize\",\"token_endpoint\":"
    "\"https://acme.example/token\",\"userinfo_endpoint\":\"https://acme.example/userinfo\",\"user_id_field\":\"id\","
    "\"client_id\":\"cid\",\"client_secret\":\"s3\",\"issuer\":\"https://acme.example\","
    "\"callback_path\":\"/login/callback\"}},"
    "{\"name\":\"lab\",\"strategy\":\"gitlab\",\"connected_accounts\":{\"active\":true},"
    "\"options\":{\"client_id\":\"cid\",\"client_secret\":\"s\"}},"
    "{\"name\":\"ms\",\"strategy\":\"waad\",\"connected_accounts\":{\"active\":true},"
    "\"options\":{\"client_id\":\"cid\",\"client_secret\":\"s\"}},"
    "{\"name\":\"asleep\",\"strategy\":\"github\",\"options\":{\"client_id\":\"cid\",\"client_secret\":\"s\"}},"
    "{\"name\":\"theirs\",\"strategy\":\"github\",\"connected_accounts\":{\"active\":true},"
    "\"enabled_clients\":[\"other\"],\"options\":{\"client_id\":\"cid\",\"client_secret\":\"s\"}}]}";

static struct ma_fix f;

/* The flow of the test, as its parties know it: all survives the request that made it. */
static struct flow {
    char session[MA_SESSION_LEN + 1], ticket[MA_UUID_LEN + 1];                                  /* the client */
    char state[MA_TOKEN_LEN + 1], cookie_name[MA_CONNECT_COOKIE_MAX], cookie[MA_TOKEN_LEN + 1]; /* the browser */
    char code[MA_TOKEN_LEN + 1];
    char url[4096];
} flow;

/* Whose token calls the API. */
static struct caller {
    const char *user, *client, *jkt, *org;
} caller;

static struct ma_leftover left; /* of the last completion */

static struct {
    const char *subject, *access, *refresh;
    int64_t access_expires_in_ms, refresh_expires_in_ms; /* 0: not known */
} given;

static void setup(void)
{
    ma_fix_open(&f, "custom_domains = {\"https://login.custom.example\"}");
    T_OK(ma_providers_new(&f.app.providers));
    ma_fix_apply(&f, document);
    caller = (struct caller){MA_FIX_ALICE, "spa", NULL, NULL};
    given.subject = "42";
    given.access = "at-1";
    given.refresh = "rt-1";
    given.access_expires_in_ms = 3600000;
    given.refresh_expires_in_ms = 0;
}

static void teardown(void)
{
    ma_providers_free(f.app.providers);
    ma_fix_close(&f);
}

static struct ma_ctx *call_api(void)
{
    struct ma_ctx *ctx = ma_fix_request(&f, caller.user, caller.client);
    ctx->who.jkt = caller.jkt ? ma_span_str(caller.jkt) : MA_SPAN_NULL;
    ctx->who.org_id = caller.org ? ma_span_str(caller.org) : MA_SPAN_NULL;
    return ctx;
}

/* --- starting --- */

static const struct ma_connect_request usual = {.connection = {(const uint8_t *)"acme", 4},
                                                .redirect_uri = {(const uint8_t *)CALLBACK, sizeof CALLBACK - 1},
                                                .state = {(const uint8_t *)"s+/=", 4},
                                                .code_challenge = {(const uint8_t *)CHALLENGE, sizeof CHALLENGE - 1}};

static int begin(const struct ma_connect_request *in)
{
    struct ma_connect_begun begun = {NULL, NULL, 0};
    struct ma_ctx *ctx = call_api();
    int r = MA_FIX_WRITE(&f, ma_connect_begin(ctx, in, &begun));
    if (r != MA_OK)
        return r;
    ck_assert_int_eq(begun.expires_in_s, f.conf->enrollment.connect_ttl);
    ck_assert_uint_eq(strlen(begun.auth_session), MA_SESSION_LEN);
    ck_assert_uint_eq(strlen(begun.ticket), MA_UUID_LEN);
    (void)snprintf(flow.session, sizeof flow.session, "%s", begun.auth_session);
    (void)snprintf(flow.ticket, sizeof flow.ticket, "%s", begun.ticket);
    return r;
}

static const struct {
    const char *name, *client, *connection, *redirect_uri, *pointer;
    int status; /* 0: fine */
} starts[] = {
    {"usual", "spa", "acme", CALLBACK, "", 0},
    {"callback with a query", "spa", "acme", "https://app.example.com/two?x=1", "", 0},
    {"enabled client", "other", "theirs", CALLBACK, "", 0},
    {"unknown connection", "spa", "nowhere", CALLBACK, "/connection", 400},
    {"connection of another case", "spa", "Acme", CALLBACK, "/connection", 400},
    {"empty connection", "spa", "", CALLBACK, "/connection", 400},
    {"database", "spa", "db", CALLBACK, NULL, 403},
    {"not active", "spa", "asleep", CALLBACK, NULL, 403},
    {"client not enabled", "spa", "theirs", CALLBACK, NULL, 403},
    {"unknown callback", "spa", "acme", "https://evil.example/cb", "/redirect_uri", 400},
    {"slash more", "spa", "acme", CALLBACK "/", "/redirect_uri", 400},
    {"query more", "spa", "acme", CALLBACK "?x", "/redirect_uri", 400},
    {"fragment more", "spa", "acme", CALLBACK "#x", "/redirect_uri", 400},
    {"host in capitals", "spa", "acme", "https://APP.example.com/cb", "/redirect_uri", 400},
    {"port written out", "spa", "acme", "https://app.example.com:443/cb", "/redirect_uri", 400},
    {"prefix", "spa", "acme", "https://app.example.com/c", "/redirect_uri", 400},
    {"another client's callback", "other", "acme", "https://app.example.com/two?x=1", "/redirect_uri", 400},
    {"client without callbacks", "third", "acme", CALLBACK, "/redirect_uri", 400},
    {"unknown client", "ghost", "acme", CALLBACK, "/redirect_uri", 400},
};

START_TEST(test_begin)
{
    struct ma_connect_request in = usual;
    in.connection = ma_span_str(starts[_i].connection);
    in.redirect_uri = ma_span_str(starts[_i].redirect_uri);
    caller.client = starts[_i].client;
    int r = begin(&in);
    if (!starts[_i].status) {
        T_OK(r);
        return;
    }
    ma_fix_expect_problem(&f, r, starts[_i].status, NULL, starts[_i].name);
    if (starts[_i].pointer) {
        char want[64];
        (void)snprintf(want, sizeof want, "\"pointer\":\"%s\"", starts[_i].pointer);
        ck_assert_msg(ma_fix_body_has(&f, want), "%s", starts[_i].name);
    }
}
END_TEST

/* As long as the wire allows, in characters that grow most: three bytes of UTF-8, nine when encoded. */
START_TEST(test_begin_with_the_longest_params)
{
    struct ma_connect_request in = usual;
    static char hint[4096 * 3 + 1], acr[1024 * 3 + 1];
    for (size_t i = 0; i < sizeof hint - 1; i++)
        hint[i] = "\xe2\x82\xac"[i % 3];
    memcpy(acr, hint, sizeof acr - 1);
    struct ma_param params[] = {{"id_token_hint", ma_span_str(hint)}, {"acr_values", ma_span_str(acr)}};
    in.params = params;
    in.n_params = 2;
    int r = begin(&in); /* stored, or refused as the caller's fault: not a failure of the daemon */
    ck_assert_msg(r == MA_OK || (r == MA_E_PROBLEM && f.ctx.resp.status == 400), "%s", ma_err_name(r));
}
END_TEST

/* What could not be returned to the client is not taken. */
START_TEST(test_begin_with_a_long_state)
{
    static char state[4096 * 2 + 1];
    struct ma_connect_request in = usual;
    for (size_t i = 0; i < sizeof state - 1; i++)
        state[i] = "\xc3\xa4"[i % 2];
    in.state = ma_span_str(state);
    ma_fix_expect_problem(&f, begin(&in), 400, NULL, "long state");
    ck_assert(ma_fix_body_has(&f, "\"pointer\":\"/state\""));
    memset(state, '/', 4096); /* the longest in ASCII: every byte becomes three */
    in.state = ma_span_of(state, 4096);
    T_OK(begin(&in));
}
END_TEST

/* --- the browser --- */

static struct ma_span jar(const struct ma_ctx *ctx, const char *name)
{
    (void)ctx;
    return flow.cookie_name[0] && strcmp(name, flow.cookie_name) == 0 ? ma_span_str(flow.cookie) : MA_SPAN_NULL;
}

static struct ma_span empty_jar(const struct ma_ctx *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return MA_SPAN_NULL;
}

/* The right name, a value that is not right. */
static struct ma_span wrong_jar(const struct ma_ctx *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, flow.cookie_name) == 0 ? MA_LIT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") : MA_SPAN_NULL;
}

static struct ma_ctx *browse(void)
{
    struct ma_ctx *ctx = ma_fix_request(&f, "", "");
    ctx->req.verb = MA_GET;
    return ctx;
}

static enum ma_connect_refusal ticket(const char *text, ma_cookie_reader cookie, struct ma_connect_leg *leg)
{
    enum ma_connect_refusal why = MA_CONNECT_STRANGER;
    *leg = (struct ma_connect_leg){.resumed = false};
    T_OK(ma_connect_ticket(&f.ctx, ma_span_str(text), cookie, leg, &why));
    return why;
}

static enum ma_connect_refusal callback(const char *state, ma_cookie_reader cookie, struct ma_connect_leg *leg)
{
    enum ma_connect_refusal why = MA_CONNECT_FINE;
    *leg = (struct ma_connect_leg){.resumed = false};
    T_OK(ma_connect_callback(&f.ctx, ma_span_str(state), cookie, leg, &why));
    return why;
}

static enum ma_connect_refusal ticket_now(ma_cookie_reader cookie)
{
    struct ma_connect_leg leg;
    (void)browse();
    return ticket(flow.ticket, cookie, &leg);
}

static enum ma_connect_refusal callback_now(ma_cookie_reader cookie)
{
    struct ma_connect_leg leg;
    (void)browse();
    return callback(flow.state, cookie, &leg);
}

/* The browser opens the link and is sent to the provider. */
static void go(void)
{
    struct ma_connect_leg leg;
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(ticket(flow.ticket, jar, &leg), MA_CONNECT_FINE);
    ck_assert(!leg.resumed);
    T_OK(ma_connect_prepare(ctx, &leg));
    ck_assert_ptr_null(leg.error);
    T_OK(MA_FIX_WRITE(&f, ma_connect_launch(ctx, &leg)));
    memcpy(flow.state, leg.state, sizeof flow.state);
    memcpy(flow.cookie_name, leg.cookie_name, sizeof flow.cookie_name);
    memcpy(flow.cookie, leg.cookie, sizeof flow.cookie);
    (void)snprintf(flow.url, sizeof flow.url, "%s", leg.authorize_url);
}

/* It comes back; what the provider would tell is `given`. */
static void settle_with(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    static const struct ma_span scopes[] = {{(const uint8_t *)"offline_access", 14}, {(const uint8_t *)"read", 4}};
    struct ma_connect_result got = {
        .subject = ma_span_str(given.subject),
        .access_token = ma_span_str(given.access),
        .refresh_token = given.refresh ? ma_span_str(given.refresh) : MA_SPAN_NULL,
        .claims = MA_LIT("{\"email\":\"a@acme.example\"}"),
        .scopes = {ma_arena_calloc(f.arena, 2, sizeof *scopes), 2},
        .access_expires_at = given.access_expires_in_ms ? f.clock.now_ms + given.access_expires_in_ms : 0,
        .refresh_expires_at = given.refresh_expires_in_ms ? f.clock.now_ms + given.refresh_expires_in_ms : 0,
    };
    struct ma_span text;
    memcpy(got.scopes.v, scopes, sizeof scopes);
    T_OK(ma_connect_result_write(f.arena, &got, &text));
    T_OK(ma_connect_seal(ctx, &leg->row, "result", text, &leg->row.result));
    T_OK(ma_id_token(f.app.rand, leg->code));
    memcpy(flow.code, leg->code, sizeof flow.code);
    T_OK(MA_FIX_WRITE(&f, ma_connect_settle(ctx, leg)));
}

static void come_back(void)
{
    struct ma_connect_leg leg;
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(callback(flow.state, jar, &leg), MA_CONNECT_FINE);
    T_OK(MA_FIX_WRITE(&f, ma_connect_claim(ctx, &leg)));
    settle_with(ctx, &leg);
    ck_assert_ptr_null(leg.error);
}

static void connect_until_code(const struct ma_connect_request *in)
{
    flow = (struct flow){.code = ""};
    T_OK(begin(in));
    go();
    come_back();
}

/* Rows found by user, session. */
static enum ma_connect_stage stage(void)
{
    struct ma_ctx *ctx = call_api();
    struct ma_connect row;
    struct ma_span mac = ma_connect_mac(ctx, "connect-session", ctx->who.user_id, flow.session, strlen(flow.session));
    T_OK(ma_connect_get(ctx->db, ctx->arena, ctx->who.user_id, mac, &row));
    ck_assert((row.stage == MA_CONNECT_OVER) == (row.secret.p == NULL && row.result.p == NULL) ||
              row.stage == MA_CONNECT_NEW);
    return row.stage;
}

START_TEST(test_tickets)
{
    struct ma_connect_leg leg;
    static const char *const wrong[] = {"", "9375f326-5846-4b57-ae8b-8042573f7c1f",
                                        "9375f326-5846-4b57-ae8b-8042573f7c1", "x"};
    T_OK(begin(&usual));
    (void)browse();
    for (size_t i = 0; i < MA_COUNT(wrong); i++)
        ck_assert_int_eq(ticket(wrong[i], jar, &leg), MA_CONNECT_UNKNOWN);
    char upper[MA_UUID_LEN + 1];
    for (size_t i = 0; i <= MA_UUID_LEN; i++)
        upper[i] = flow.ticket[i] >= 'a' && flow.ticket[i] <= 'f' ? (char)(flow.ticket[i] - 32) : flow.ticket[i];
    ck_assert_int_eq(ticket(upper, jar, &leg), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(ticket(flow.ticket, jar, &leg), MA_CONNECT_FINE);
    T_STR(f.ctx.who.user_id, MA_FIX_ALICE);
    T_STR(f.ctx.who.client_id, "spa");
    ck_assert_uint_ne(f.ctx.net_key, 0);
    T_STR(leg.row.client_state, "s+/=");
    T_STR(leg.row.scopes, "offline_access read");
    ma_fix_advance(&f, f.conf->enrollment.connect_ttl * 1000 - 1);
    ck_assert_int_eq(ticket_now(jar), MA_CONNECT_FINE);
    ma_fix_advance(&f, 1);
    ck_assert_int_eq(ticket_now(jar), MA_CONNECT_UNKNOWN);
}
END_TEST

/* Neither session nor state stand for a ticket, and nothing of the flow is stored as it is. */
START_TEST(test_texts_are_kept_as_macs)
{
    struct ma_connect_leg leg;
    struct ma_connect_request req = usual;
    struct ma_param hint = {"login_hint", MA_LIT("whose-login")};
    req.state = MA_LIT("the-clients-state");
    req.params = &hint;
    req.n_params = 1;
    connect_until_code(&req);
    ck_assert_ptr_nonnull(strstr(flow.url, "login_hint=whose-login"));
    (void)browse();
    ck_assert_int_eq(callback(flow.code, jar, &leg), MA_CONNECT_UNKNOWN);
    const char *const secrets[] = {flow.session, flow.ticket, flow.state,          flow.cookie,  flow.code,
                                   "at-1",       "rt-1",      "the-clients-state", "whose-login"};
    char path[128];
    static char bytes[1 << 22];
    static const char *const ends[] = {"", "-wal"};
    for (size_t e = 0; e < MA_COUNT(ends); e++) {
        (void)snprintf(path, sizeof path, "%s%s", f.database, ends[e]);
        FILE *in = fopen(path, "re");
        size_t n = in ? fread(bytes, 1, sizeof bytes, in) : 0;
        ck_assert(e > 0 || n > 0);
        for (size_t i = 0; i < MA_COUNT(secrets); i++)
            ck_assert_msg(!memmem(bytes, n, secrets[i], strlen(secrets[i])), "%zu in %s", i, path);
        if (in)
            (void)fclose(in);
    }
}
END_TEST

START_TEST(test_trim)
{
    char tickets[MA_CONNECTS_MAX + 2][MA_UUID_LEN + 1];
    struct ma_connect_leg leg;
    for (size_t i = 0; i < MA_COUNT(tickets); i++) {
        T_OK(begin(&usual));
        memcpy(tickets[i], flow.ticket, sizeof tickets[i]);
        ma_fix_advance(&f, 1);
    }
    caller.user = MA_FIX_BOB;
    T_OK(begin(&usual)); /* does not push out alice's */
    (void)browse();
    for (size_t i = 0; i < MA_COUNT(tickets); i++)
        ck_assert_msg(ticket(tickets[i], jar, &leg) == (i < 2 ? MA_CONNECT_UNKNOWN : MA_CONNECT_FINE), "%zu", i);
}
END_TEST

/* Changes of the state document while the browser is on its way. */
static const struct {
    const char *name, *document;
    int status; /* of the completion; 0: fine */
} changes[] = {
    {"switched off", "{\"connections\":[{\"name\":\"acme\",\"connected_accounts\":{\"active\":false}}]}", 403},
    {"not for this client", "{\"connections\":[{\"name\":\"acme\",\"enabled_clients\":[\"other\"]}]}", 403},
    /* the code reached the callback already */
    {"callback gone", "{\"clients\":[{\"client_id\":\"spa\",\"callbacks\":[\"https://app.example.com/new\"]}]}", 0},
    {"another token endpoint",
     "{\"connections\":[{\"name\":\"acme\",\"options\":{\"token_endpoint\":\"https://moved.example/token\"}}]}", 404},
    {"an issuer", "{\"connections\":[{\"name\":\"acme\",\"options\":{\"issuer\":\"https://moved.example\"}}]}", 404},
};

START_TEST(test_changed_meanwhile)
{
    T_OK(begin(&usual));
    ck_assert_int_eq(ticket_now(jar), MA_CONNECT_FINE);
    if (_i % 2)
        go();
    ma_fix_apply(&f, changes[_i / 2].document);
    ck_assert_msg((_i % 2 ? callback_now(jar) : ticket_now(jar)) == MA_CONNECT_UNKNOWN, "%s", changes[_i / 2].name);
}
END_TEST

START_TEST(test_completed_after_a_change)
{
    struct ma_account acc;
    connect_until_code(&usual);
    ma_fix_apply(&f, changes[_i].document);
    struct ma_ctx *ctx = call_api();
    struct ma_connect_proof in = {ma_span_str(flow.session), ma_span_str(flow.code), MA_LIT(CALLBACK),
                                  MA_LIT(VERIFIER)};
    int r = MA_FIX_WRITE(&f, ma_connect_complete_account(ctx, &in, &acc, &left));
    if (changes[_i].status)
        ma_fix_expect_problem(&f, r, changes[_i].status, NULL, changes[_i].name);
    else
        T_OK(r);
}
END_TEST

START_TEST(test_another_origin)
{
    struct ma_connect_leg leg;
    T_OK(begin(&usual));
    browse()->req.domain = 1;
    ck_assert_int_eq(ticket(flow.ticket, jar, &leg), MA_CONNECT_UNKNOWN);
    go();
    browse()->req.domain = 1;
    ck_assert_int_eq(callback(flow.state, jar, &leg), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(callback_now(jar), MA_CONNECT_FINE);
}
END_TEST

START_TEST(test_reload)
{
    struct ma_connect_leg leg;
    T_OK(begin(&usual));
    go();
    ck_assert_int_eq(ticket_now(empty_jar), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(ticket_now(wrong_jar), MA_CONNECT_UNKNOWN);
    ma_fix_advance(&f, MA_TICKET_RELOAD_MS - 1);
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(ticket(flow.ticket, jar, &leg), MA_CONNECT_FINE);
    ck_assert(leg.resumed);
    T_OK(ma_connect_prepare(ctx, &leg));
    T_OK(MA_FIX_WRITE(&f, ma_connect_launch(ctx, &leg)));
    ck_assert_str_eq(leg.authorize_url, flow.url);
    ck_assert_str_eq(leg.state, flow.state);
    ma_fix_advance(&f, 1);
    ck_assert_int_eq(ticket_now(jar), MA_CONNECT_UNKNOWN);
    come_back();
    ck_assert_int_eq(ticket_now(jar), MA_CONNECT_UNKNOWN);
}
END_TEST

/* Two browsers with the same new ticket: one is sent on. */
START_TEST(test_ticket_raced)
{
    struct ma_connect_leg a, b;
    T_OK(begin(&usual));
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(ticket(flow.ticket, empty_jar, &a), MA_CONNECT_FINE);
    ck_assert_int_eq(ticket(flow.ticket, empty_jar, &b), MA_CONNECT_FINE);
    T_OK(ma_connect_prepare(ctx, &a));
    T_OK(ma_connect_prepare(ctx, &b));
    ck_assert_str_ne(a.state, b.state);
    T_OK(MA_FIX_WRITE(&f, ma_connect_launch(ctx, &a)));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_connect_launch(ctx, &b)));
    b.error = b.error_description = "x"; /* nor does a failure of the slower one end the other's flow */
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_connect_launch(ctx, &b)));
    ck_assert_int_eq(stage(), MA_CONNECT_STARTED);
}
END_TEST

/* The value of a parameter in a URL; empty when it is not there exactly once. */
static struct ma_span param(const char *url, const char *name)
{
    const char *q = strchr(url, '?');
    struct ma_span rest = ma_span_str(q ? q + 1 : ""), n, v, found = MA_LIT("");
    size_t times = 0;
    while (ma_form_next(f.arena, &rest, &n, &v) == MA_OK)
        if (ma_span_eq_str(n, name)) {
            found = v;
            times++;
        }
    return times == 1 ? found : MA_LIT("");
}

START_TEST(test_authorize_url)
{
    struct ma_connect_request in = usual;
    struct ma_param params[] = {{"login_hint", MA_LIT("a&b=\xc3\xa4+ %")},
                                {"prompt", MA_LIT("login")},
                                {"redirect_uri", MA_LIT("https://evil.example")},
                                {"state", MA_LIT("evil")}};
    struct ma_span scopes[] = {MA_LIT("write"), MA_LIT("read")};
    in.params = params;
    in.n_params = 4;
    in.scopes = (struct ma_span_list){scopes, 2};
    T_OK(begin(&in));
    go();
    ck_assert_int_eq(strncmp(flow.url, "https://acme.example/authorize?tenant=1&", 40), 0);
    T_STR(param(flow.url, "client_id"), "cid");
    T_STR(param(flow.url, "response_type"), "code");
    T_STR(param(flow.url, "state"), flow.state);
    T_STR(param(flow.url, "redirect_uri"), "https://login.example.com/me/v1/connected-accounts/callback");
    T_STR(param(flow.url, "code_challenge_method"), "S256");
    T_STR(param(flow.url, "login_hint"), "a&b=\xc3\xa4+ %");
    T_STR(param(flow.url, "prompt"), "login");
    T_STR(param(flow.url, "tenant"), "1");
    ck_assert_str_eq(flow.cookie_name, "__Host-myaccount-connect");
    in.connection = MA_LIT("alias");
    T_OK(begin(&in));
    go();
    T_STR(param(flow.url, "redirect_uri"), "https://login.example.com/login/callback");
}
END_TEST

/* As many and as long scopes as the wire allows: the browser is sent somewhere, or told why not. */
START_TEST(test_longest_scopes)
{
    static char texts[100][256];
    struct ma_span scopes[100];
    struct ma_connect_leg leg;
    struct ma_connect_request in = usual;
    for (size_t i = 0; i < MA_COUNT(scopes); i++) {
        memset(texts[i], '/', 255);
        (void)snprintf(texts[i], 8, "%03zu", i);
        texts[i][3] = '/';
        scopes[i] = ma_span_of(texts[i], 255);
    }
    in.scopes = (struct ma_span_list){scopes, MA_COUNT(scopes)};
    T_OK(begin(&in));
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(ticket(flow.ticket, jar, &leg), MA_CONNECT_FINE);
    T_OK(ma_connect_prepare(ctx, &leg));
    ck_assert(leg.error || leg.authorize_url);
}
END_TEST

START_TEST(test_cookie_of_plain_http)
{
    f.conf->base_url = "http://127.0.0.1:3001";
    T_OK(begin(&usual));
    go();
    ck_assert_str_eq(flow.cookie_name, "myaccount-connect");
}
END_TEST

/* --- coming back --- */

START_TEST(test_callbacks)
{
    struct ma_connect_leg leg;
    T_OK(begin(&usual));
    go();
    struct flow first = flow;
    flow = (struct flow){.code = ""};
    T_OK(begin(&usual));
    go();
    ck_assert_str_eq(first.cookie_name, flow.cookie_name);
    ck_assert_str_ne(first.cookie, flow.cookie); /* another browser, which had none */
    ck_assert_int_eq(callback_now(empty_jar), MA_CONNECT_STRANGER);
    ck_assert_int_eq(callback_now(wrong_jar), MA_CONNECT_STRANGER);
    (void)browse();
    ck_assert_int_eq(callback(first.state, jar, &leg), MA_CONNECT_STRANGER);
    struct flow second = flow;
    flow = first; /* the other flow's value under this one's name */
    ck_assert_int_eq(callback(second.state, jar, &leg), MA_CONNECT_STRANGER);
    flow = second;
    ck_assert_int_eq(callback("", jar, &leg), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(callback(flow.ticket, jar, &leg), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(callback(flow.cookie, jar, &leg), MA_CONNECT_UNKNOWN);
    ck_assert_int_eq(callback_now(jar), MA_CONNECT_FINE);
    T_STR(f.ctx.who.user_id, MA_FIX_ALICE);
    ma_fix_advance(&f, f.conf->enrollment.connect_ttl * 1000);
    ck_assert_int_eq(callback_now(jar), MA_CONNECT_UNKNOWN);
}
END_TEST

START_TEST(test_callback_once)
{
    struct ma_connect_leg a, b;
    T_OK(begin(&usual));
    go();
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(callback(flow.state, jar, &a), MA_CONNECT_FINE);
    ck_assert_int_eq(callback(flow.state, jar, &b), MA_CONNECT_FINE);
    T_OK(MA_FIX_WRITE(&f, ma_connect_claim(ctx, &a)));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_connect_claim(ctx, &b)));
    ck_assert_int_eq(callback(flow.state, jar, &b), MA_CONNECT_UNKNOWN);
}
END_TEST

/* What the provider's redirect may say, where nothing is asked of it then. */
static const struct {
    const char *name, *connection, *code, *error, *description, *iss; /* NULL: absent */
    const char *want, *want_description;
} answers[] = {
    {"denied", "acme", NULL, "access_denied", "No, thanks.", NULL, "access_denied", "No, thanks."},
    {"without words", "acme", NULL, "login_required", NULL, NULL, "login_required",
     "The identity provider refused the request."},
    {"error beside a code", "acme", "c", "access_denied", "x", NULL, "access_denied", "x"},
    {"empty error", "acme", NULL, "", "x", NULL, "server_error", "x"},
    {"error not clean", "acme", NULL, "a\"b", "x", NULL, "server_error", "x"},
    {"error with line end", "acme", NULL, "a\nb", "x", NULL, "server_error", "x"},
    {"error of 65", "acme", NULL, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", NULL,
     "server_error", "x"},
    {"words not ASCII", "acme", NULL, "e", "\xc3\xa4", NULL, "e", "The identity provider refused the request."},
    {"neither", "acme", NULL, NULL, NULL, NULL, "server_error", "The identity provider's answer was not accepted."},
    {"empty code", "acme", "", NULL, NULL, NULL, "server_error", "The identity provider's answer was not accepted."},
    {"another's iss", "alias", "c", NULL, NULL, "https://evil.example", "server_error",
     "The identity provider's answer was not accepted."},
    {"another's iss with an error", "alias", NULL, "access_denied", "x", "https://evil.example", "server_error",
     "The identity provider's answer was not accepted."},
    {"iss with a slash", "alias", "c", NULL, NULL, "https://acme.example/", "server_error",
     "The identity provider's answer was not accepted."},
    {"its own iss", "alias", NULL, "access_denied", "x", "https://acme.example", "access_denied", "x"},
    {"a known one's iss", "acme", "c", NULL, NULL, "https://gitlab.com", "server_error",
     "The identity provider's answer was not accepted."},
    {"a known one's iss with an error", "acme", NULL, "access_denied", "x", "https://gitlab.com", "server_error",
     "The identity provider's answer was not accepted."},
    {"iss of the same place, by another's name", "acme", NULL, "access_denied", "x", "https://acme.example",
     "access_denied", "x"},
    {"iss nobody knows", "acme", NULL, "access_denied", "x", "https://acme.other.example", "access_denied", "x"},
    {"template filled in", "ms", NULL, "access_denied", "x", "https://login.microsoftonline.com/t1/v2.0",
     "access_denied", "x"},
    {"no iss", "alias", NULL, "access_denied", "x", NULL, "access_denied", "x"},
};

static struct ma_span some(const char *s)
{
    return s ? ma_span_str(s) : MA_SPAN_NULL;
}

static void last_audit(const char *type, const char *detail)
{
    struct ma_audit_row rows[64];
    size_t n = 0;
    T_OK(ma_audit_list(f.app.writer, f.arena, ma_span_str(MA_FIX_ALICE), 0, 0, rows, MA_COUNT(rows), &n));
    ck_assert_uint_gt(n, 0);
    T_STR(rows[n - 1].type, type);
    ck_assert_msg(memmem(rows[n - 1].detail.p, rows[n - 1].detail.n, detail, strlen(detail)), "%.*s",
                  (int)rows[n - 1].detail.n, (const char *)rows[n - 1].detail.p);
}

START_TEST(test_answers_that_fail)
{
    struct ma_connect_leg leg;
    struct ma_connect_request req = usual;
    struct ma_callback in = {.code = some(answers[_i].code),
                             .error = some(answers[_i].error),
                             .error_description = some(answers[_i].description),
                             .iss = some(answers[_i].iss)};
    req.connection = ma_span_str(answers[_i].connection);
    T_OK(begin(&req));
    go();
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(callback(flow.state, jar, &leg), MA_CONNECT_FINE);
    T_OK(MA_FIX_WRITE(&f, ma_connect_claim(ctx, &leg)));
    T_OK(ma_connect_redeem(ctx, &in, &leg));
    ck_assert_msg(leg.error && strcmp(leg.error, answers[_i].want) == 0, "%s: %s", answers[_i].name, leg.error);
    ck_assert_str_eq(leg.error_description, answers[_i].want_description);
    T_OK(MA_FIX_WRITE(&f, ma_connect_settle(ctx, &leg)));
    last_audit(MA_AUDIT_CONNECT_FAILED, answers[_i].want);
    ck_assert_int_eq(stage(), MA_CONNECT_OVER);
    ck_assert_int_eq(callback_now(jar), MA_CONNECT_UNKNOWN);
}
END_TEST

START_TEST(test_settled_too_late)
{
    struct ma_connect_leg leg;
    T_OK(begin(&usual));
    go();
    struct ma_ctx *ctx = browse();
    ck_assert_int_eq(callback(flow.state, jar, &leg), MA_CONNECT_FINE);
    T_OK(MA_FIX_WRITE(&f, ma_connect_claim(ctx, &leg)));
    ma_fix_advance(&f, f.conf->enrollment.connect_ttl * 1000);
    settle_with(ctx, &leg);
    ck_assert_str_eq(leg.error, "invalid_request");
    ck_assert_int_eq(stage(), MA_CONNECT_OVER);
}
END_TEST

/* --- completing --- */

static int complete(const char *code, const char *redirect_uri, const char *verifier, struct ma_account *acc)
{
    struct ma_ctx *ctx = call_api();
    struct ma_connect_proof in = {ma_span_str(flow.session), ma_span_str(code), ma_span_str(redirect_uri),
                                  some(verifier)};
    return MA_FIX_WRITE(&f, ma_connect_complete_account(ctx, &in, acc, &left));
}

static int complete_now(struct ma_account *acc)
{
    return complete(flow.code, CALLBACK, VERIFIER, acc);
}

/* Alice's accounts; token texts are opened. */
static size_t accounts(struct ma_account v[MA_ACCOUNTS_MAX])
{
    struct ma_account *list = NULL;
    size_t n = 0;
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_OK(ma_accounts_list(ctx, &list, &n));
    memcpy(v, list, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        T_OK(ma_account_get(ctx->db, ctx->arena, v[i].user_id, v[i].id, &v[i]));
        if (v[i].access_token.p)
            T_OK(ma_account_unseal(f.app.vault, f.arena, &v[i], "access_token", v[i].access_token, &v[i].access_token));
        if (v[i].refresh_token.p)
            T_OK(ma_account_unseal(f.app.vault, f.arena, &v[i], "refresh_token", v[i].refresh_token,
                                   &v[i].refresh_token));
    }
    return n;
}

START_TEST(test_complete)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    caller.jkt = "jkt-1";
    caller.org = "org_1";
    given.refresh_expires_in_ms = 86400000;
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    ck_assert_uint_eq(acc.id.n, MA_ACCOUNT_ID_LEN);
    ck_assert_int_eq(stage(), MA_CONNECT_OVER);
    last_audit(MA_AUDIT_CONNECTED, "\"idp_user_id\":\"42\"");
    T_PROBLEM(&f, 404, "Invalid or expired session", complete_now(&acc));
    ck_assert_uint_eq(accounts(v), 1);
    T_STR(v[0].connection, "acme");
    T_STR(v[0].subject, "42");
    T_STR(v[0].client_id, "spa");
    T_STR(v[0].org_id, "org_1");
    T_STR(v[0].scopes, "offline_access read");
    T_STR(v[0].access_token, "at-1");
    T_STR(v[0].refresh_token, "rt-1");
    ck_assert_int_eq(v[0].access_expires_at, MA_FIX_START + 3600000);
    ck_assert_int_eq(v[0].refresh_expires_at, MA_FIX_START + 86400000);
    ck_assert(v[0].version == 1 && v[0].created_at == MA_FIX_START && !v[0].needs_reconnect);
}
END_TEST

static const struct {
    const char *name;
    struct caller caller;
    const char *code, *redirect_uri, *verifier; /* NULL: the right one; verifier "-": none */
    int status;
} wrong[] = {
    {"code", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, "wrong", NULL, NULL, 404},
    {"empty code", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, "", NULL, NULL, 404},
    {"user", {MA_FIX_BOB, "spa", "jkt-1", "org_1"}, NULL, NULL, NULL, 404},
    {"client", {MA_FIX_ALICE, "other", "jkt-1", "org_1"}, NULL, NULL, NULL, 404},
    {"key", {MA_FIX_ALICE, "spa", "jkt-2", "org_1"}, NULL, NULL, NULL, 404},
    {"no key", {MA_FIX_ALICE, "spa", NULL, "org_1"}, NULL, NULL, NULL, 404},
    {"organization", {MA_FIX_ALICE, "spa", "jkt-1", "org_2"}, NULL, NULL, NULL, 404},
    {"no organization", {MA_FIX_ALICE, "spa", "jkt-1", NULL}, NULL, NULL, NULL, 404},
    {"no verifier", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, NULL, NULL, "-", 404},
    {"the challenge", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, NULL, NULL, CHALLENGE, 404},
    {"another verifier", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, NULL, NULL, VERIFIER "x", 404},
    {"redirect_uri", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, NULL, "https://app.example.com/two?x=1", NULL, 400},
    {"redirect_uri with slash", {MA_FIX_ALICE, "spa", "jkt-1", "org_1"}, NULL, CALLBACK "/", NULL, 400},
};

/* Refused, and the right caller is not hurt by it. */
START_TEST(test_complete_refused)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    caller.jkt = "jkt-1";
    caller.org = "org_1";
    connect_until_code(&usual);
    const struct caller right = caller;
    const char *verifier = wrong[_i].verifier ? wrong[_i].verifier : VERIFIER;
    caller = wrong[_i].caller;
    int r = complete(wrong[_i].code ? wrong[_i].code : flow.code,
                     wrong[_i].redirect_uri ? wrong[_i].redirect_uri : CALLBACK,
                     strcmp(verifier, "-") == 0 ? NULL : verifier, &acc);
    ma_fix_expect_problem(&f, r, wrong[_i].status, wrong[_i].status == 404 ? "Invalid or expired session" : NULL,
                          wrong[_i].name);
    ck_assert(!f.ctx.keep);
    ck_assert_uint_eq(accounts(v), 0);
    caller = right;
    T_OK(complete_now(&acc));
}
END_TEST

START_TEST(test_complete_without_pkce)
{
    struct ma_account acc;
    struct ma_connect_request in = usual;
    in.code_challenge = MA_SPAN_NULL;
    connect_until_code(&in);
    T_PROBLEM(&f, 404, "Invalid or expired session", complete_now(&acc));
    T_OK(complete(flow.code, CALLBACK, NULL, &acc));
}
END_TEST

START_TEST(test_complete_with_a_key_that_came_later)
{
    struct ma_account acc;
    connect_until_code(&usual);
    caller.jkt = "jkt-1";
    T_PROBLEM(&f, 404, NULL, complete_now(&acc));
}
END_TEST

START_TEST(test_complete_too_early)
{
    struct ma_account acc;
    flow = (struct flow){.code = "x"};
    T_OK(begin(&usual));
    T_PROBLEM(&f, 404, NULL, complete_now(&acc));
    go();
    T_PROBLEM(&f, 404, NULL, complete_now(&acc));
    come_back();
    T_OK(complete_now(&acc));
}
END_TEST

START_TEST(test_complete_too_late)
{
    struct ma_account acc;
    f.conf->enrollment.connect_code_ttl = _i ? 86400 : 60;
    connect_until_code(&usual);
    ma_fix_advance(&f, (_i ? f.conf->enrollment.connect_ttl : 60) * 1000);
    T_PROBLEM(&f, 404, "Invalid or expired session", complete_now(&acc));
    ma_fix_advance(&f, -1);
    T_OK(complete_now(&acc));
}
END_TEST

START_TEST(test_sessions_of_others_flows)
{
    struct ma_account acc;
    connect_until_code(&usual);
    struct flow first = flow;
    connect_until_code(&usual);
    T_PROBLEM(&f, 404, NULL, complete(first.code, CALLBACK, VERIFIER, &acc)); /* one's code, the other's session */
    T_OK(complete_now(&acc));
}
END_TEST

/* --- refusals that end the flow --- */

static void expect_over(const char *detail)
{
    struct ma_account acc;
    ck_assert(f.ctx.keep);
    last_audit(MA_AUDIT_CONNECT_FAILED, detail);
    ck_assert_int_eq(stage(), MA_CONNECT_OVER);
    T_PROBLEM(&f, 404, "Invalid or expired session", complete_now(&acc));
}

START_TEST(test_no_offline_access)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    given.refresh = NULL;
    connect_until_code(&usual);
    T_PROBLEM(&f, 400, "offline access not granted: the provider gave no refresh token", complete_now(&acc));
    expect_over("offline access not granted");
    ck_assert_uint_eq(accounts(v), 0);
    given.access_expires_in_ms = 0; /* a token that does not lapse needs none */
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    ck_assert_uint_eq(accounts(v), 1);
    ck_assert(!v[0].refresh_token.p && v[0].access_expires_at == 0 && v[0].refresh_expires_at == 0);
}
END_TEST

START_TEST(test_somebody_elses)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    caller.user = MA_FIX_BOB;
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    caller.user = MA_FIX_ALICE;
    given.access = "at-2";
    connect_until_code(&usual);
    T_PROBLEM(&f, 409, NULL, complete_now(&acc));
    ck_assert(!ma_fix_body_has(&f, MA_FIX_BOB));
    expect_over("connected by another user");
    ck_assert_uint_eq(accounts(v), 0);
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    struct ma_account_name name = {MA_LIT("acme"), MA_LIT("https://acme.example"), MA_LIT("42")};
    T_OK(ma_account_owner(ctx->db, ctx->arena, &name, &acc));
    T_STR(acc.user_id, MA_FIX_BOB);
    ck_assert_int_eq(acc.version, 1);
}
END_TEST

START_TEST(test_reconnect)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    char id[MA_ACCOUNT_ID_LEN + 1];
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    (void)snprintf(id, sizeof id, "%.*s", (int)acc.id.n, (const char *)acc.id.p);
    T_OK(MA_FIX_WRITE(&f, ma_account_fail(f.app.writer, ma_span_str(MA_FIX_ALICE), ma_span_str(id), 1, MA_FIX_START)));
    ck_assert(accounts(v) == 1 && v[0].needs_reconnect);
    ma_fix_advance(&f, 5000);
    given.access = "at-2";
    given.refresh = "rt-2";
    caller.org = "org_9";
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    T_STR(acc.id, id);
    ck_assert_int_eq(acc.created_at, MA_FIX_START);
    ck_assert_uint_eq(accounts(v), 1);
    T_STR(v[0].id, id);
    T_STR(v[0].access_token, "at-2");
    T_STR(v[0].refresh_token, "rt-2");
    T_STR(v[0].org_id, "org_9");
    ck_assert(!v[0].needs_reconnect && v[0].version == 3 && v[0].created_at == MA_FIX_START);
    ck_assert_int_eq(v[0].updated_at, MA_FIX_START + 5000);
    given.subject = "43"; /* another user of the provider is another account */
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    ck_assert_uint_eq(accounts(v), 2);
    T_STR(v[0].subject, "43");
}
END_TEST

/* The connection has come to lead elsewhere: the same subject is somebody else there. */
START_TEST(test_another_provider)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    caller.user = MA_FIX_BOB;
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    caller.user = MA_FIX_ALICE;
    ma_fix_apply(&f, changes[3].document);
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    T_STR(acc.provider, "https://moved.example");
    ck_assert_uint_eq(accounts(v), 1);
}
END_TEST

/* What a refusal leaves over is told to the provider, unless an account may live by the same grant. */
START_TEST(test_leftovers)
{
    struct ma_account acc;
    ma_fix_apply(&f, "{\"connections\":[{\"name\":\"acme\",\"options\":{\"revocation_endpoint\":"
                     "\"https://acme.example/revoke\"}}]}");
    given.refresh = NULL;
    connect_until_code(&usual);
    T_PROBLEM(&f, 400, NULL, complete_now(&acc));
    T_STR(left.token, "at-1");
    ck_assert_str_eq(left.hint, "access_token");
    ck_assert(ma_accounts_must_revoke(&f.ctx, &left) && f.ctx.net_provider && f.ctx.net_key);
    given.refresh = "rt-1";
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    ck_assert(!left.token.p && !ma_accounts_must_revoke(&f.ctx, &left));
    caller.user = MA_FIX_BOB;
    connect_until_code(&usual);
    T_PROBLEM(&f, 409, NULL, complete_now(&acc));
    ck_assert(!left.token.p);
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    struct ma_account *list = NULL;
    size_t n = 0;
    T_OK(ma_accounts_list(ctx, &list, &n));
    ck_assert_uint_eq(n, 1);
    T_OK(MA_FIX_WRITE(&f, ma_accounts_delete(ctx, list[0].id, &acc)));
    T_OK(ma_accounts_leftover(ctx, &acc, &left));
    T_STR(left.token, "rt-1");
    ck_assert(ma_accounts_must_revoke(ctx, &left));
    ma_fix_apply(&f, changes[3].document); /* not sent to another provider */
    ctx->state = f.state;
    ck_assert(!ma_accounts_must_revoke(ctx, &left));
}
END_TEST

START_TEST(test_as_many_as_there_may_be)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    T_OK(ma_db_begin(f.app.writer));
    for (int i = 0; i < MA_ACCOUNTS_MAX; i++) {
        char id[32], subject[32];
        (void)snprintf(id, sizeof id, "cac_%d", i);
        (void)snprintf(subject, sizeof subject, "s%d", i);
        acc = (struct ma_account){.id = ma_span_str(id),
                                  .user_id = MA_LIT(MA_FIX_ALICE),
                                  .connection = MA_LIT("acme"),
                                  .provider = MA_LIT("https://acme.example"),
                                  .subject = ma_span_str(subject),
                                  .client_id = MA_LIT("spa"),
                                  .scopes = MA_LIT("read"),
                                  .claims = MA_LIT("x")};
        T_OK(ma_account_insert(f.app.writer, &acc));
    }
    T_OK(ma_db_commit(f.app.writer));
    connect_until_code(&usual);
    T_PROBLEM(&f, 400, "too_many_entities", complete_now(&acc));
    expect_over("too_many_entities");
    given.subject = "s7"; /* one of those there are may be connected again */
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    T_STR(acc.id, "cac_7");
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_OK(MA_FIX_WRITE(&f, ma_accounts_delete(ctx, MA_LIT("cac_8"), &acc)));
    given.subject = "new";
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    struct ma_account *list = v;
    size_t n = 0;
    ctx = call_api();
    T_OK(ma_accounts_list(ctx, &list, &n));
    ck_assert_uint_eq(n, MA_ACCOUNTS_MAX);
}
END_TEST

/* --- deleting --- */

START_TEST(test_delete)
{
    struct ma_account acc, v[MA_ACCOUNTS_MAX];
    char id[MA_ACCOUNT_ID_LEN + 1];
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
    (void)snprintf(id, sizeof id, "%.*s", (int)acc.id.n, (const char *)acc.id.p);
    struct ma_ctx *ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 404, NULL, MA_FIX_WRITE(&f, ma_accounts_delete(ctx, ma_span_str(id), &acc)));
    ck_assert_uint_eq(accounts(v), 1);
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "other");
    T_OK(MA_FIX_WRITE(&f, ma_accounts_delete(ctx, ma_span_str(id), &acc)));
    T_STR(acc.subject, "42");
    last_audit(MA_AUDIT_DISCONNECTED, id);
    ck_assert_uint_eq(accounts(v), 0);
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_PROBLEM(&f, 404, NULL, MA_FIX_WRITE(&f, ma_accounts_delete(ctx, ma_span_str(id), &acc)));
    last_audit(MA_AUDIT_DISCONNECT_FAILED, "");
    T_OK(ma_accounts_leftover(ctx, &acc, &left)); /* not wanted of this connection: nothing is asked of anybody */
    ck_assert(!left.token.p && !ma_accounts_must_revoke(ctx, &left));
    ma_accounts_revoke(ctx, &left);
    connect_until_code(&usual); /* and the provider account is free again */
    caller.user = MA_FIX_BOB;
    connect_until_code(&usual);
    T_OK(complete_now(&acc));
}
END_TEST

/* --- what is kept --- */

/* As deep as an answer's JSON may be. */
#define DEEP "{\"email\":null,\"n\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"
_Static_assert(MA_JSON_DEPTH_MAX == 16, "of the text above");

START_TEST(test_result_round_trip)
{
    struct ma_span scopes[] = {MA_LIT("a"), MA_LIT("b\xc3\xa4")}, text;
    struct ma_connect_result in = {.subject = MA_LIT("s\"\\"),
                                   .access_token = MA_LIT("at"),
                                   .claims = MA_LIT(DEEP),
                                   .scopes = {scopes, 2},
                                   .access_expires_at = MA_FIX_START,
                                   .refresh_expires_at = 0},
                             out;
    T_OK(ma_connect_result_write(f.arena, &in, &text));
    T_OK(ma_connect_result_read(f.arena, text, &out));
    ck_assert(ma_span_eq(out.subject, in.subject) && ma_span_eq(out.access_token, in.access_token));
    ck_assert(!out.refresh_token.p && out.scopes.n == 2 && ma_span_eq(out.scopes.v[1], scopes[1]));
    ck_assert(out.access_expires_at == MA_FIX_START && out.refresh_expires_at == 0);
    T_STR(out.claims, DEEP);
    ck_assert_int_lt(ma_connect_result_read(f.arena, MA_LIT("{}"), &out), 0);
    ck_assert_int_lt(ma_connect_result_read(f.arena, MA_LIT("["), &out), 0);
}
END_TEST

START_TEST(test_words)
{
    static const struct {
        const char *text, *joined;
        size_t n;
    } rows[] = {{"", "", 0},       {" ", "", 0},           {"a", "a", 1},
                {"a b", "a b", 2}, {"  a   b ", "a b", 2}, {"a\tb", "a\tb", 1}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_span_list l;
        struct ma_span joined;
        T_OK(ma_words_split(f.arena, ma_span_str(rows[i].text), &l));
        ck_assert_uint_eq(l.n, rows[i].n);
        T_OK(ma_words_join(f.arena, &l, &joined));
        T_STR(joined, rows[i].joined);
        ck_assert_ptr_nonnull(joined.p);
    }
}
END_TEST

START_TEST(test_expiry)
{
    static const struct {
        int64_t assumed, expires, refresh_expires;
        bool refresh;
        int64_t want, want_refresh; /* s from now; 0: none */
    } rows[] = {
        {0, 100, -1, true, 100, 0}, {0, 100, -1, false, 100, 0},    {0, -1, -1, false, 0, 0},
        {0, -1, -1, true, 3600, 0}, {7200, -1, 50, true, 7200, 50}, {7200, 60, 50, true, 60, 50},
        {0, 60, 50, false, 60, 0},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_preset preset = {.assumed_lifetime_s = rows[i].assumed};
        struct ma_provider_tokens t = {.expires_in_s = rows[i].expires,
                                       .refresh_expires_in_s = rows[i].refresh_expires,
                                       .refresh_token = rows[i].refresh ? MA_LIT("r") : MA_SPAN_NULL};
        int64_t want = rows[i].want ? MA_FIX_START + rows[i].want * 1000 : 0;
        int64_t want_refresh = rows[i].want_refresh ? MA_FIX_START + rows[i].want_refresh * 1000 : 0;
        ck_assert_msg(ma_access_expiry(&preset, &t, MA_FIX_START) == want, "row %zu", i);
        ck_assert_msg(ma_refresh_expiry(&t, MA_FIX_START) == want_refresh, "row %zu", i);
    }
}
END_TEST

START_TEST(test_connection_secret)
{
    struct ma_span secret;
    T_OK(ma_connection_secret(f.app.writer, f.app.vault, f.arena, MA_LIT("acme"), &secret));
    T_STR(secret, "s3");
    T_OK(ma_connection_secret(f.app.writer, f.app.vault, f.arena, MA_LIT("db"), &secret));
    ck_assert_uint_eq(secret.n, 0);
}
END_TEST

static TCase *flow_case(void)
{
    TCase *tc = tcase_create("flow");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_begin, 0, (int)MA_COUNT(starts));
    tcase_add_test(tc, test_begin_with_the_longest_params);
    tcase_add_test(tc, test_begin_with_a_long_state);
    tcase_add_test(tc, test_tickets);
    tcase_add_test(tc, test_texts_are_kept_as_macs);
    tcase_add_test(tc, test_trim);
    tcase_add_loop_test(tc, test_changed_meanwhile, 0, 2 * (int)MA_COUNT(changes));
    tcase_add_loop_test(tc, test_completed_after_a_change, 0, (int)MA_COUNT(changes));
    tcase_add_test(tc, test_another_origin);
    tcase_add_test(tc, test_reload);
    tcase_add_test(tc, test_ticket_raced);
    tcase_add_test(tc, test_authorize_url);
    tcase_add_test(tc, test_longest_scopes);
    tcase_add_test(tc, test_cookie_of_plain_http);
    tcase_add_test(tc, test_callbacks);
    tcase_add_test(tc, test_callback_once);
    tcase_add_loop_test(tc, test_answers_that_fail, 0, (int)MA_COUNT(answers));
    tcase_add_test(tc, test_settled_too_late);
    return tc;
}

static TCase *complete_case(void)
{
    TCase *tc = tcase_create("complete");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_complete);
    tcase_add_loop_test(tc, test_complete_refused, 0, (int)MA_COUNT(wrong));
    tcase_add_test(tc, test_complete_without_pkce);
    tcase_add_test(tc, test_complete_with_a_key_that_came_later);
    tcase_add_test(tc, test_complete_too_early);
    tcase_add_loop_test(tc, test_complete_too_late, 0, 2);
    tcase_add_test(tc, test_sessions_of_others_flows);
    tcase_add_test(tc, test_no_offline_access);
    tcase_add_test(tc, test_somebody_elses);
    tcase_add_test(tc, test_reconnect);
    tcase_add_test(tc, test_another_provider);
    tcase_add_test(tc, test_leftovers);
    tcase_add_test(tc, test_as_many_as_there_may_be);
    tcase_add_test(tc, test_delete);
    tcase_add_test(tc, test_result_round_trip);
    tcase_add_test(tc, test_words);
    tcase_add_test(tc, test_expiry);
    tcase_add_test(tc, test_connection_secret);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("connect");
    suite_add_tcase(s, flow_case());
    suite_add_tcase(s, complete_case());
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

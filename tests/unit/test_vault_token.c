/* SPDX-License-Identifier: Apache-2.0
 * Fresh access tokens out of the vault: which account is meant, when its token lasts, and refreshing at a provider
 * that rotates, refuses, fails, hesitates, and is asked by many at once.
 */
#include "../../src/feature/connect_int.h"

#include "../support/fixture.h"
#include "tiny_server.h"

#include <stdatomic.h>

#define JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json"
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Type: application/json"
#define HOUR 3600000

static struct ma_fix f;
static struct ts web;
static struct ma_lanes *lanes;
static bool stopped;

/* --- the lanes: only the writer's jobs are used --- */

static void finished(struct ma_ctx *ctx)
{
    (void)ctx;
}

static int leave_nothing(struct ma_ctx *ctx)
{
    (void)ctx;
    return MA_OK;
}
static int housekeeping(const struct ma_app *app, struct ma_db *db, bool *ret_more)
{
    (void)app;
    (void)db;
    *ret_more = false;
    return MA_OK;
}
static void count_commit(const struct ma_app *app)
{
    (void)app;
}
static void committed(const struct ma_app *app, struct ma_ctx *ctx)
{
    (void)app;
    (void)ctx;
}

/* From here on the database's writer is the lane's. */
static void start(void)
{
    char why[256] = "";
    struct ma_lanes_env env = {.app = &f.app,
                               .database = f.database,
                               .writer = f.app.writer,
                               .queue = 64,
                               .write_batch = 8,
                               .finished = finished,
                               .rolled_back = leave_nothing,
                               .housekeeping = housekeeping,
                               .count_commit = count_commit,
                               .committed = committed};
    T_OK(ma_lanes_start(&env, &lanes, why));
    f.app.lanes = lanes;
}

static void answer(const char *head, const char *body)
{
    (void)pthread_mutex_lock(&web.lock);
    web.routes[0].head = head;
    web.routes[0].body = body;
    (void)pthread_mutex_unlock(&web.lock);
}

static void setup(void)
{
    char text[2048], why[256] = "";
    lanes = NULL;
    web = (struct ts){.routes = {{.path = "/token"}}};
    ck_assert(ts_start(&web));
    answer(JSON, "{\"access_token\":\"at-new\",\"expires_in\":3600,\"refresh_token\":\"rt-new\"}");
    ma_fix_open(&f, "");
    ma_vault_close(f.app.vault); /* the fixture's randomness is for one thread */
    T_OK(ma_vault_open(f.dir, ma_rand_system(), &f.app.vault, why));
    f.conf->network.allow_http_loopback = true;
    T_OK(ma_providers_new(&f.app.providers));
    T_OK(ma_refreshes_new(&f.app.refreshes));
    (void)snprintf(
        text, sizeof text,
        "{\"connections\":[{\"name\":\"acme\",\"strategy\":\"oauth2\",\"connected_accounts\":{\"active\":true},"
        "\"options\":{\"authorization_endpoint\":\"http://127.0.0.1:%d/authorize\",\"token_endpoint\":"
        "\"http://127.0.0.1:%d/token\",\"userinfo_endpoint\":\"http://127.0.0.1:%d/userinfo\","
        "\"user_id_field\":\"id\",\"client_id\":\"cid\",\"client_secret\":\"s3\","
        "\"scopes\":[\"read\",\"offline_access\"]}},"
        "{\"name\":\"asleep\",\"strategy\":\"github\",\"options\":{\"client_id\":\"c\",\"client_secret\":\"s\"}},"
        "{\"name\":\"hub\",\"strategy\":\"github\",\"connected_accounts\":{\"active\":true},"
        "\"options\":{\"client_id\":\"c\",\"client_secret\":\"s\"}}]}",
        web.port, web.port, web.port);
    ma_fix_apply(&f, text);
    (void)ma_fix_request(&f, MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ts_hold(&web, false);
    if (!stopped)
        ma_lanes_stop(lanes);
    ma_lanes_free(lanes);
    ts_stop(&web);
    ma_refreshes_free(f.app.refreshes);
    ma_providers_free(f.app.providers);
    ma_fix_close(&f);
}

/* --- accounts --- */

struct row {
    const char *id, *subject, *email; /* email NULL: none */
    const char *scopes, *refresh;     /* refresh NULL: none */
    int64_t expires_in_ms;            /* of the access token "at-<id>"; 0: does not lapse */
    int64_t age_ms;
    bool reconnect;
    const char *user, *connection; /* NULL: alice, acme */
};

static struct ma_account sealed(const struct row *r)
{
    const char *here = ma_arena_printf(f.arena, "http://127.0.0.1:%d", web.port);
    struct ma_account acc = {
        .id = ma_span_str(r->id),
        .provider = ma_span_str(r->connection ? "https://github.com" : here),
        .user_id = ma_span_str(r->user ? r->user : MA_FIX_ALICE),
        .connection = ma_span_str(r->connection ? r->connection : "acme"),
        .subject = ma_span_str(r->subject),
        .client_id = MA_LIT("spa"),
        .scopes = ma_span_str(r->scopes),
        .access_expires_at = r->expires_in_ms ? f.clock.now_ms + r->expires_in_ms : 0,
        .created_at = f.clock.now_ms - r->age_ms,
        .updated_at = f.clock.now_ms - r->age_ms,
        .used_at = f.clock.now_ms,
        .version = 1,
    };
    const char *access = ma_arena_printf(f.arena, "at-%s", r->id);
    const char *claims =
        r->email ? ma_arena_printf(f.arena, "{\"email\":\"%s\",\"x\":[1]}", r->email) : "{\"email\":null}";
    ck_assert(access && claims);
    T_OK(ma_account_seal(f.app.vault, f.arena, &acc, "access_token", ma_span_str(access), &acc.access_token));
    T_OK(ma_account_seal(f.app.vault, f.arena, &acc, "claims", ma_span_str(claims), &acc.claims));
    if (r->refresh)
        T_OK(ma_account_seal(f.app.vault, f.arena, &acc, "refresh_token", ma_span_str(r->refresh), &acc.refresh_token));
    return acc;
}

/* Before start(). */
static void put(const struct row *r)
{
    struct ma_account acc = sealed(r);
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_account_insert(f.app.writer, &acc));
    if (r->reconnect)
        T_OK(ma_account_fail(f.app.writer, acc.user_id, acc.id, 1, f.clock.now_ms));
    T_OK(ma_db_commit(f.app.writer));
}

static const struct row lapsed = {"a", "42", NULL, "offline_access read", "rt-old", -1000, HOUR, false, NULL, NULL};

/* What is stored, opened. */
struct stored {
    struct ma_account acc;
    struct ma_span access, refresh;
    bool found;
};

static struct stored look(const char *id)
{
    struct stored s = {.found = false};
    struct ma_db *db = NULL;
    char why[256] = "";
    T_OK(ma_db_open(f.database, MA_DB_READER, NULL, &db, why));
    int r = ma_account_get(db, f.arena, ma_span_str(MA_FIX_ALICE), ma_span_str(id), &s.acc);
    ma_db_close(db);
    if (r == MA_E_NOTFOUND)
        return s;
    T_OK(r);
    s.found = true;
    if (s.acc.access_token.p)
        T_OK(ma_account_unseal(f.app.vault, f.arena, &s.acc, "access_token", s.acc.access_token, &s.access));
    if (s.acc.refresh_token.p)
        T_OK(ma_account_unseal(f.app.vault, f.arena, &s.acc, "refresh_token", s.acc.refresh_token, &s.refresh));
    return s;
}

/* --- asking, as any thread does it --- */

struct asked {
    struct ma_vault_ask ask;
    int result;
    struct ma_vault_grant grant;
    char token[64], scope[128], account[64];
    pthread_t thread;
};

static void text_of(char *to, size_t cap, struct ma_span s)
{
    (void)snprintf(to, cap, "%.*s", (int)s.n, s.p ? (const char *)s.p : "");
}

static void *ask_thread(void *arg)
{
    struct asked *a = arg;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *arena = ma_arena_new(16384, MA_ARENA_MAX);
    struct ma_httpc *httpc = NULL;
    struct ma_db *db = NULL;
    char why[256] = "";
    a->result =
        arena && ma_httpc_new(&httpc) == MA_OK ? ma_db_open(f.database, MA_DB_READER, NULL, &db, why) : MA_E_NOMEM;
    struct ma_vault_env env = {.app = &f.app,
                               .conf = f.conf,
                               .state = f.state,
                               .reader = db,
                               .httpc = httpc,
                               .arena = arena,
                               .now_ms = f.clock.now_ms};
    if (a->result == MA_OK)
        a->result = ma_vault_access_token(&env, &a->ask, &a->grant);
    text_of(a->token, sizeof a->token, a->grant.access_token);
    text_of(a->scope, sizeof a->scope, a->grant.scope);
    text_of(a->account, sizeof a->account, a->grant.account);
    ma_db_close(db);
    ma_httpc_free(httpc);
    return NULL;
}

static struct asked usual(void)
{
    return (struct asked){.ask = {.user_id = MA_LIT(MA_FIX_ALICE), .connection = MA_LIT("acme")}};
}

static struct asked ask_with(const char *hint)
{
    struct asked a = usual();
    a.ask.login_hint = ma_span_str(hint);
    (void)ask_thread(&a);
    T_OK(a.result);
    return a;
}

static struct asked ask(void)
{
    return ask_with("");
}

/* --- which account --- */

static const struct row many[] = {
    {"old", "u1", "one@x.example", "read write", "r", HOUR, 5000, false, NULL, NULL},
    {"mid", "u2", "Two@x.example", "read", "r", HOUR, 4000, false, NULL, NULL},
    {"new", "u3", "one@x.example", "read", "r", HOUR, 3000, false, NULL, NULL},
    /* subject and e-mail of this one are names of others */
    {"odd", "one@x.example", "u1", "read", "r", HOUR, 6000, false, NULL, NULL},
    {"u2", "u5", NULL, "read", "r", HOUR, 7000, false, NULL, NULL},
    {"bobs", "u6", "bob@x.example", "read admin", "r", HOUR, 0, false, MA_FIX_BOB, NULL},
    {"hubs", "u7", "hub@x.example", "read repo", "r", HOUR, 0, false, NULL, "hub"},
    {"slept", "u8", "s@x.example", "read", "r", HOUR, 0, false, NULL, "asleep"},
    {"dead", "u9", "dead@x.example", "read", "r", HOUR, 1000, true, NULL, NULL},
};

static const struct {
    const char *name, *connection, *hint, *scopes[3];
    enum ma_vault_verdict verdict;
    const char *account; /* NULL: none */
} picks[] = {
    {"newest that works", "acme", "", {NULL}, MA_VAULT_OK, "new"},
    {"subject", "acme", "u2", {NULL}, MA_VAULT_OK, "mid"},
    {"subject before e-mail", "acme", "one@x.example", {NULL}, MA_VAULT_OK, "odd"},
    {"e-mail", "acme", "two@x.example", {NULL}, MA_VAULT_OK, "mid"},
    {"subject before e-mail of another", "acme", "u1", {NULL}, MA_VAULT_OK, "old"},
    {"id", "acme", "old", {NULL}, MA_VAULT_OK, "old"},
    {"subject before id", "acme", "u2", {NULL}, MA_VAULT_OK, "mid"},
    {"subject in another case", "acme", "U2", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"unknown hint", "acme", "nobody", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"part of an e-mail", "acme", "two@x", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"another user's", "acme", "bobs", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"another user's e-mail", "acme", "bob@x.example", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"another connection's", "acme", "u7", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"another connection", "hub", "", {NULL}, MA_VAULT_OK, "hubs"},
    {"connection switched off", "asleep", "", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"database", "db", "", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"unknown connection", "nowhere", "", {NULL}, MA_VAULT_NO_ACCOUNT, NULL},
    {"one scope", "acme", "", {"read", NULL}, MA_VAULT_OK, "new"},
    {"scopes of an older one", "acme", "", {"write", "read", NULL}, MA_VAULT_OK, "old"},
    {"scope nobody has", "acme", "", {"admin", NULL}, MA_VAULT_NO_SCOPE, NULL},
    {"scope in another case", "acme", "", {"Read", NULL}, MA_VAULT_NO_SCOPE, NULL},
    {"part of a scope", "acme", "", {"rea", NULL}, MA_VAULT_NO_SCOPE, NULL},
    {"two scopes in one", "acme", "", {"read write", NULL}, MA_VAULT_NO_SCOPE, NULL},
    {"hint without the scope", "acme", "u2", {"write", NULL}, MA_VAULT_NO_SCOPE, NULL},
    {"hint at one that is dead", "acme", "u9", {NULL}, MA_VAULT_RECONNECT, "dead"},
};

START_TEST(test_pick)
{
    struct asked a = usual();
    struct ma_span scopes[3];
    size_t n = 0;
    for (size_t i = 0; i < MA_COUNT(many); i++)
        put(&many[i]);
    start();
    for (; picks[_i].scopes[n]; n++)
        scopes[n] = ma_span_str(picks[_i].scopes[n]);
    a.ask.connection = ma_span_str(picks[_i].connection);
    a.ask.login_hint = ma_span_str(picks[_i].hint);
    a.ask.scopes = (struct ma_span_list){scopes, n};
    (void)ask_thread(&a);
    T_OK(a.result);
    ck_assert_msg(a.grant.verdict == picks[_i].verdict, "%s: %d", picks[_i].name, (int)a.grant.verdict);
    ck_assert_str_eq(a.account, picks[_i].account ? picks[_i].account : "");
    ck_assert_int_eq(strcmp(a.token, "") == 0, picks[_i].verdict != MA_VAULT_OK);
    ck_assert_int_eq(ts_hits(&web, 0), 0);
}
END_TEST

/* Two accounts with the hinted e-mail: the one that was granted the scope is the one that is meant. */
START_TEST(test_same_email_other_scopes)
{
    struct asked a = usual();
    struct ma_span write = MA_LIT("write");
    put(&(struct row){"with", "s1", "me@x.example", "read write", "r", HOUR, 2000, false, NULL, NULL});
    put(&(struct row){"without", "s2", "me@x.example", "read", "r", HOUR, 1000, false, NULL, NULL});
    start();
    ck_assert_str_eq(ask_with("me@x.example").account, "without"); /* the newer one, when it makes no difference */
    a.ask.login_hint = MA_LIT("me@x.example");
    a.ask.scopes = (struct ma_span_list){&write, 1};
    (void)ask_thread(&a);
    T_OK(a.result);
    ck_assert_int_eq(a.grant.verdict, MA_VAULT_OK);
    ck_assert_str_eq(a.account, "with");
}
END_TEST

/* --- how long a token lasts --- */

static const struct {
    int64_t left_ms;
    bool fresh;
    int64_t expires_in_s;
} margins[] = {
    {0, true, -1},
    {MA_ACCESS_MARGIN_MS + 1, true, 30},
    {MA_ACCESS_MARGIN_MS, false, 3600},
    {MA_ACCESS_MARGIN_MS - 1, false, 3600},
    {1, false, 3600},
    {-1, false, 3600},
    {HOUR, true, 3600},
};

START_TEST(test_margin)
{
    struct row r = lapsed;
    r.expires_in_ms = margins[_i].left_ms;
    put(&r);
    start();
    struct asked a = ask();
    ck_assert_int_eq(a.grant.verdict, MA_VAULT_OK);
    ck_assert_str_eq(a.token, margins[_i].fresh ? "at-a" : "at-new");
    ck_assert_int_eq(a.grant.expires_in_s, margins[_i].expires_in_s);
    ck_assert_int_eq(ts_hits(&web, 0), margins[_i].fresh ? 0 : 1);
}
END_TEST

START_TEST(test_lapsed_without_refresh_token)
{
    struct row r = lapsed;
    r.refresh = NULL;
    put(&r);
    start();
    struct asked a = ask();
    ck_assert_int_eq(a.grant.verdict, MA_VAULT_RECONNECT);
    ck_assert_str_eq(a.token, "");
    ck_assert_int_eq(ts_hits(&web, 0), 0);
}
END_TEST

/* The provider said how long its refresh token lasts: it is not asked with one that has lapsed. */
START_TEST(test_lapsed_refresh_token)
{
    struct ma_account acc = sealed(&lapsed);
    acc.refresh_expires_at = f.clock.now_ms + _i;
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_account_insert(f.app.writer, &acc));
    T_OK(ma_db_commit(f.app.writer));
    start();
    struct asked a = ask();
    struct stored s = look("a");
    ck_assert_int_eq(a.grant.verdict, _i ? MA_VAULT_OK : MA_VAULT_RECONNECT);
    ck_assert_int_eq(ts_hits(&web, 0), _i);
    ck_assert_int_eq(s.acc.needs_reconnect, !_i);
    ck_assert_int_eq(s.acc.refresh_token.p != NULL, _i);
}
END_TEST

START_TEST(test_use_is_noted)
{
    struct row r = lapsed;
    r.expires_in_ms = 24 * HOUR;
    put(&r);
    start();
    int64_t then = f.clock.now_ms;
    ma_fix_advance(&f, MA_ACCOUNT_USED_MS - 1);
    ck_assert_str_eq(ask().token, "at-a");
    ck_assert_int_eq(look("a").acc.used_at, then);
    ma_fix_advance(&f, 1);
    ck_assert_str_eq(ask().token, "at-a");
    struct stored s = look("a");
    ck_assert_int_eq(s.acc.used_at, then + MA_ACCOUNT_USED_MS);
    ck_assert_int_eq(s.acc.version, 1);
}
END_TEST

/* A token is handed out although its use cannot be written down. */
START_TEST(test_use_cannot_be_noted)
{
    struct row r = lapsed;
    r.expires_in_ms = 24 * HOUR;
    put(&r);
    start();
    ma_lanes_stop(lanes);
    stopped = true;
    ma_fix_advance(&f, MA_ACCOUNT_USED_MS);
    ck_assert_str_eq(ask().token, "at-a");
}
END_TEST

/* A refreshed token that cannot be stored is not handed out: what the provider rotated must not be lost unseen. */
START_TEST(test_refresh_cannot_be_stored)
{
    struct asked a = usual();
    put(&lapsed);
    start();
    ma_lanes_stop(lanes);
    stopped = true;
    (void)ask_thread(&a);
    ck_assert_int_lt(a.result, 0);
    ck_assert_str_eq(a.token, "");
}
END_TEST

static int job_delete(struct ma_db *db, void *arg);

/* --- refreshed tokens that cannot be stored at once --- */

enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 16 }; /* beyond the repositories' own */
static struct ma_sql break_it = {
    Q_FIRST, "CREATE TRIGGER broken BEFORE UPDATE ON accounts BEGIN SELECT abs(-9223372036854775807 - 1); END"};
static struct ma_sql mend_it = {Q_FIRST + 1, "DROP TRIGGER broken"};

static int job_run(struct ma_db *db, void *arg)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, arg, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

static int job_nothing(struct ma_db *db, void *arg)
{
    (void)db;
    (void)arg;
    return MA_OK;
}

/* The database fails for a moment, just when the provider has rotated: what it gave is stored a little later. */
START_TEST(test_stored_at_last)
{
    struct asked a = usual();
    put(&lapsed);
    start();
    T_OK(ma_lanes_write(lanes, job_run, &break_it));
    ck_assert_int_eq(pthread_create(&a.thread, NULL, ask_thread, &a), 0);
    while (ts_hits(&web, 0) == 0)
        (void)sched_yield();
    for (int i = 0; i < 200; i++) /* time for the first try */
        T_OK(ma_lanes_write(lanes, job_nothing, NULL));
    T_OK(ma_lanes_write(lanes, job_run, &mend_it));
    ck_assert_int_eq(pthread_join(a.thread, NULL), 0);
    T_OK(a.result);
    ck_assert_str_eq(a.token, "at-new");
    T_STR(look("a").refresh, "rt-new");
    ck_assert_int_eq(ts_hits(&web, 0), 1);
}
END_TEST

/* It fails for longer: the provider does not see the token again that it has replaced. */
START_TEST(test_stored_later)
{
    struct asked a = usual();
    put(&lapsed);
    ma_refreshes_patience(f.app.refreshes, 0);
    start();
    T_OK(ma_lanes_write(lanes, job_run, &break_it));
    for (int i = 0; i < 3; i++) {
        (void)ask_thread(&a);
        ck_assert_int_lt(a.result, 0);
        ck_assert_str_eq(a.token, "");
        ck_assert_int_eq(ts_hits(&web, 0), 1);
        T_STR(look("a").refresh, "rt-old");
    }
    T_OK(ma_lanes_write(lanes, job_run, &mend_it));
    ck_assert_str_eq(ask().token, "at-new");
    ck_assert_int_eq(ts_hits(&web, 0), 1);
    struct stored s = look("a");
    T_STR(s.refresh, "rt-new");
    ck_assert_int_eq(s.acc.version, 2);
    ma_fix_advance(&f, HOUR);
    ck_assert_str_eq(ask().token, "at-new"); /* and refreshing goes on */
    ck_assert_ptr_nonnull(strstr(web.last, "refresh_token=rt-new"));
}
END_TEST

/* What is in memory when the account is deleted, or the daemon ends, is let go. */
START_TEST(test_never_stored)
{
    struct asked a = usual();
    put(&lapsed);
    struct ma_account acc = sealed(&lapsed);
    ma_refreshes_patience(f.app.refreshes, 0);
    start();
    T_OK(ma_lanes_write(lanes, job_run, &break_it));
    (void)ask_thread(&a);
    ck_assert_int_lt(a.result, 0);
    if (_i)
        T_OK(ma_lanes_write(lanes, job_delete, &acc));
    ck_assert_int_eq(_i ? (int)ask().grant.verdict : MA_VAULT_NO_ACCOUNT, MA_VAULT_NO_ACCOUNT);
}
END_TEST

/* The connection leads to another provider now: nothing is sent there, nor handed out. */
START_TEST(test_another_provider)
{
    struct row r = lapsed;
    r.expires_in_ms = _i ? HOUR : -1000;
    struct ma_account acc = sealed(&r);
    acc.provider = MA_LIT("https://before.example");
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_account_insert(f.app.writer, &acc));
    T_OK(ma_db_commit(f.app.writer));
    start();
    struct asked a = ask();
    ck_assert_int_eq(a.grant.verdict, MA_VAULT_RECONNECT);
    ck_assert_str_eq(a.token, "");
    ck_assert_int_eq(ts_hits(&web, 0), 0);
    T_STR(look("a").refresh, "rt-old"); /* the connection may be led back */
}
END_TEST

/* --- refreshing --- */

static const struct {
    const char *name, *body;
    const char *refresh, *scope;                    /* stored afterwards */
    int64_t expires_in_s, access_ms, refresh_at_ms; /* of the grant; stored, from now; 0: none */
} refreshes[] = {
    {"rotated", "{\"access_token\":\"at-new\",\"expires_in\":100,\"refresh_token\":\"rt-new\"}", "rt-new",
     "offline_access read", 100, 100000, 0},
    {"kept", "{\"access_token\":\"at-new\",\"expires_in\":100}", "rt-old", "offline_access read", 100, 100000, 0},
    {"without time", "{\"access_token\":\"at-new\"}", "rt-old", "offline_access read", 3600, HOUR, 0},
    {"narrower", "{\"access_token\":\"at-new\",\"expires_in\":100,\"scope\":\"read\"}", "rt-old", "read", 100, 100000,
     0},
    {"with the refresh token's time",
     "{\"access_token\":\"at-new\",\"expires_in\":100,\"refresh_token\":\"rt-new\",\"refresh_token_expires_in\":7200}",
     "rt-new", "offline_access read", 100, 100000, 7200000},
    {"lapsed at once", "{\"access_token\":\"at-new\",\"expires_in\":0}", "rt-old", "offline_access read", 0, -1, 0},
};

START_TEST(test_refresh)
{
    put(&lapsed);
    answer(JSON, refreshes[_i].body);
    start();
    struct asked a = ask();
    ck_assert_msg(a.grant.verdict == MA_VAULT_OK, "%s: %d", refreshes[_i].name, (int)a.grant.verdict);
    ck_assert_str_eq(a.token, "at-new");
    ck_assert_str_eq(a.account, "a");
    ck_assert_str_eq(a.scope, refreshes[_i].scope);
    ck_assert_int_eq(a.grant.expires_in_s, refreshes[_i].expires_in_s);
    struct stored s = look("a");
    T_STR(s.access, "at-new");
    T_STR(s.refresh, refreshes[_i].refresh);
    T_STR(s.acc.scopes, refreshes[_i].scope);
    ck_assert_int_eq(s.acc.version, 2);
    ck_assert_int_eq(s.acc.access_expires_at,
                     refreshes[_i].access_ms < 0 ? f.clock.now_ms : f.clock.now_ms + refreshes[_i].access_ms);
    ck_assert_int_eq(s.acc.refresh_expires_at,
                     refreshes[_i].refresh_at_ms ? f.clock.now_ms + refreshes[_i].refresh_at_ms : 0);
    ck_assert(s.acc.used_at == f.clock.now_ms && s.acc.updated_at == f.clock.now_ms && !s.acc.needs_reconnect);
    ck_assert_ptr_nonnull(strstr(web.last, "grant_type=refresh_token"));
    ck_assert_ptr_nonnull(strstr(web.last, "refresh_token=rt-old"));
    if (refreshes[_i].access_ms > 0)
        ck_assert_str_eq(ask().token, "at-new"); /* from the vault now */
    ck_assert_int_eq(ts_hits(&web, 0), 1);
}
END_TEST

/* The refreshed token lapses in turn; the rotated refresh token is what is sent then. */
START_TEST(test_refresh_again)
{
    put(&lapsed);
    start();
    ck_assert_str_eq(ask().token, "at-new");
    ma_fix_advance(&f, HOUR);
    answer(JSON, "{\"access_token\":\"at-3\",\"expires_in\":100,\"refresh_token\":\"rt-3\"}");
    ck_assert_str_eq(ask().token, "at-3");
    ck_assert_ptr_nonnull(strstr(web.last, "refresh_token=rt-new"));
    struct stored s = look("a");
    T_STR(s.refresh, "rt-3");
    ck_assert_int_eq(s.acc.version, 3);
}
END_TEST

static const struct {
    const char *name, *head, *body;
    bool dead;
} failures[] = {
    {"invalid_grant", STATUS("400 Bad"), "{\"error\":\"invalid_grant\"}", true},
    {"invalid_grant with 401", STATUS("401 No"), "{\"error\":\"invalid_grant\",\"error_description\":\"x\"}", true},
    {"invalid_grant with 200", JSON, "{\"error\":\"invalid_grant\"}", true},
    {"GitHub's", JSON, "{\"error\":\"bad_refresh_token\"}", true},
    {"Slack's", JSON, "{\"ok\":false,\"error\":\"token_revoked\"}", true},
    {"Slack's other", JSON, "{\"ok\":false,\"error\":\"invalid_refresh_token\"}", true},
    {"our own mistake", STATUS("401 No"), "{\"error\":\"invalid_client\"}", false},
    {"not allowed", STATUS("400 Bad"), "{\"error\":\"unauthorized_client\"}", false},
    {"word in capitals", STATUS("400 Bad"), "{\"error\":\"INVALID_GRANT\"}", false},
    {"busy", STATUS("503 Busy"), "", false},
    {"broken", STATUS("500 No"), "<html>", false},
    {"busy in JSON", STATUS("503 Busy"), "{\"error\":\"temporarily_unavailable\"}", false},
    {"400 without a word", STATUS("400 Bad"), "", false},
    {"too many", STATUS("429 Slow"), "{}", false},
    {"moved", STATUS("302 Found\r\nLocation: /token"), "", false},
    {"garbage", JSON, "garbage", false},
    {"no token", JSON, "{}", false},
    {"empty token", JSON, "{\"access_token\":\"\"}", false},
    {"token a number", JSON, "{\"access_token\":1}", false},
    {"nothing at all", NULL, "", false},
};

START_TEST(test_refresh_fails)
{
    put(&lapsed);
    put(&(struct row){"b", "43", NULL, "read", "rt-b", HOUR, 2 * HOUR, false, NULL, NULL});
    answer(failures[_i].head, failures[_i].body);
    start();
    struct asked a = ask_with("42");
    ck_assert_msg(a.grant.verdict == (failures[_i].dead ? MA_VAULT_RECONNECT : MA_VAULT_UNAVAILABLE), "%s: %d",
                  failures[_i].name, (int)a.grant.verdict);
    ck_assert_str_eq(a.token, "");
    ck_assert_str_eq(a.account, "a");
    struct stored s = look("a");
    ck_assert_int_eq(s.acc.needs_reconnect, failures[_i].dead);
    if (!failures[_i].dead) {
        T_STR(s.access, "at-a");
        T_STR(s.refresh, "rt-old");
        ck_assert_int_eq(s.acc.version, 1);
    } else {
        ck_assert(!s.acc.access_token.p && !s.acc.refresh_token.p && s.acc.version == 2);
    }
    ck_assert_str_eq(ask_with("43").token, "at-b"); /* the other account is as it was */
    answer(JSON, "{\"access_token\":\"at-new\",\"expires_in\":100}");
    int hits = ts_hits(&web, 0);
    a = ask_with("42");
    ck_assert_int_eq(a.grant.verdict, failures[_i].dead ? MA_VAULT_RECONNECT : MA_VAULT_OK);
    ck_assert_int_eq(ts_hits(&web, 0), failures[_i].dead ? hits : hits + 1); /* nobody asks with a dead token */
}
END_TEST

START_TEST(test_provider_is_down)
{
    put(&lapsed);
    start();
    ts_stop(&web);
    ck_assert_int_eq(ask().grant.verdict, MA_VAULT_UNAVAILABLE);
    T_STR(look("a").refresh, "rt-old");
    ck_assert(ts_start(&web));
}
END_TEST

START_TEST(test_policy_is_asked)
{
    put(&lapsed);
    f.conf->network.allow_http_loopback = false;
    start();
    ck_assert_int_eq(ask().grant.verdict, MA_VAULT_UNAVAILABLE);
    ck_assert_int_eq(ts_hits(&web, 0), 0);
}
END_TEST

/* --- many at once --- */

enum { THREADS = 8 };

START_TEST(test_one_refresh_for_many)
{
    static struct asked a[THREADS];
    put(&lapsed);
    start();
    ts_hold(&web, true);
    for (size_t i = 0; i < THREADS; i++) {
        a[i] = usual();
        ck_assert_int_eq(pthread_create(&a[i].thread, NULL, ask_thread, &a[i]), 0);
        if (i == 0)
            ts_wait_held(&web);
    }
    for (int i = 0; i < 2000; i++) /* time for the others to come and wait */
        (void)sched_yield();
    ts_hold(&web, false);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(a[i].thread, NULL), 0);
        T_OK(a[i].result);
        ck_assert_int_eq(a[i].grant.verdict, MA_VAULT_OK);
        ck_assert_str_eq(a[i].token, "at-new");
        ck_assert_int_eq(a[i].grant.expires_in_s, 3600);
    }
    ck_assert_int_eq(ts_hits(&web, 0), 1);
    ck_assert_int_eq(look("a").acc.version, 2);
}
END_TEST

/* A token that lives shorter than the margin serves all who waited for it. */
START_TEST(test_short_lived_for_many)
{
    static struct asked a[THREADS];
    put(&lapsed);
    answer(JSON, "{\"access_token\":\"at-new\",\"expires_in\":20}");
    start();
    ts_hold(&web, true);
    for (size_t i = 0; i < THREADS; i++) {
        a[i] = usual();
        ck_assert_int_eq(pthread_create(&a[i].thread, NULL, ask_thread, &a[i]), 0);
        if (i == 0)
            ts_wait_held(&web);
    }
    for (int i = 0; i < 2000; i++) /* time for the others to come and wait */
        (void)sched_yield();
    ts_hold(&web, false);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(a[i].thread, NULL), 0);
        T_OK(a[i].result);
        ck_assert_str_eq(a[i].token, "at-new");
    }
}
END_TEST

START_TEST(test_one_refusal_for_many)
{
    static struct asked a[THREADS];
    put(&lapsed);
    answer(STATUS("400 Bad"), "{\"error\":\"invalid_grant\"}");
    start();
    ts_hold(&web, true);
    for (size_t i = 0; i < THREADS; i++) {
        a[i] = usual();
        ck_assert_int_eq(pthread_create(&a[i].thread, NULL, ask_thread, &a[i]), 0);
        if (i == 0)
            ts_wait_held(&web);
    }
    ts_hold(&web, false);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(a[i].thread, NULL), 0);
        T_OK(a[i].result);
        ck_assert_int_eq(a[i].grant.verdict, MA_VAULT_RECONNECT);
    }
    ck_assert_int_eq(ts_hits(&web, 0), 1);
}
END_TEST

/* Different accounts do not wait for each other: each is refreshed once, whoever comes first. */
START_TEST(test_accounts_side_by_side)
{
    static struct asked a[THREADS];
    static const char *const subjects[] = {"s0", "s1"};
    struct row r = lapsed;
    for (size_t i = 0; i < 2; i++) {
        r.id = i ? "b" : "a";
        r.subject = subjects[i];
        put(&r);
    }
    start();
    for (size_t i = 0; i < THREADS; i++) {
        a[i] = usual();
        a[i].ask.login_hint = ma_span_str(subjects[i % 2]);
        ck_assert_int_eq(pthread_create(&a[i].thread, NULL, ask_thread, &a[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(a[i].thread, NULL), 0);
        T_OK(a[i].result);
        ck_assert_str_eq(a[i].token, "at-new");
        ck_assert_str_eq(a[i].account, i % 2 ? "b" : "a");
    }
    ck_assert_int_eq(ts_hits(&web, 0), 2);
}
END_TEST

/* --- changed while the provider is asked --- */

static int job_delete(struct ma_db *db, void *arg)
{
    const struct ma_account *acc = arg;
    return ma_account_delete(db, acc->user_id, acc->id);
}

static int job_reconnect(struct ma_db *db, void *arg)
{
    return ma_account_reconnect(db, arg);
}

static const struct {
    const char *name, *head, *body;
    int (*job)(struct ma_db *, void *);
} meanwhile[] = {
    {"deleted", JSON, "{\"access_token\":\"at-new\",\"expires_in\":100,\"refresh_token\":\"rt-new\"}", job_delete},
    {"connected anew", JSON, "{\"access_token\":\"at-new\",\"expires_in\":100}", job_reconnect},
    {"deleted, refused", STATUS("400 Bad"), "{\"error\":\"invalid_grant\"}", job_delete},
    {"connected anew, refused", STATUS("400 Bad"), "{\"error\":\"invalid_grant\"}", job_reconnect},
};

START_TEST(test_changed_meanwhile)
{
    struct asked a = usual();
    struct row r = lapsed;
    put(&lapsed);
    r.refresh = "rt-anew";
    r.expires_in_ms = HOUR;
    struct ma_account anew = sealed(&r);
    answer(meanwhile[_i].head, meanwhile[_i].body);
    start();
    ts_hold(&web, true);
    ck_assert_int_eq(pthread_create(&a.thread, NULL, ask_thread, &a), 0);
    ts_wait_held(&web);
    T_OK(ma_lanes_write(lanes, meanwhile[_i].job, &anew));
    ts_hold(&web, false);
    ck_assert_int_eq(pthread_join(a.thread, NULL), 0);
    T_OK(a.result);
    ck_assert_str_eq(a.token, "");
    ck_assert_int_ne(a.grant.verdict, MA_VAULT_OK);
    struct stored s = look("a");
    ck_assert_int_eq(s.found, meanwhile[_i].job == job_reconnect);
    if (s.found) {
        T_STR(s.refresh, "rt-anew");
        T_STR(s.access, "at-a");
        ck_assert(!s.acc.needs_reconnect && s.acc.version == 2);
    }
}
END_TEST

/* Whoever waited for a refresh whose account was deleted meanwhile finds none, and comes back. */
START_TEST(test_deleted_under_waiters)
{
    static struct asked a[THREADS];
    put(&lapsed);
    struct ma_account acc = sealed(&lapsed);
    start();
    ts_hold(&web, true);
    for (size_t i = 0; i < THREADS; i++) {
        a[i] = usual();
        ck_assert_int_eq(pthread_create(&a[i].thread, NULL, ask_thread, &a[i]), 0);
        if (i == 0)
            ts_wait_held(&web);
    }
    T_OK(ma_lanes_write(lanes, job_delete, &acc));
    ts_hold(&web, false);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(a[i].thread, NULL), 0);
        T_OK(a[i].result);
        ck_assert_int_eq(a[i].grant.verdict, i == 0 ? MA_VAULT_UNAVAILABLE : MA_VAULT_NO_ACCOUNT);
        ck_assert_str_eq(a[i].token, "");
    }
    ck_assert_int_eq(ts_hits(&web, 0), 1);
}
END_TEST

START_TEST(test_free_nothing)
{
    ma_refreshes_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vault_token");
    TCase *tc = tcase_create("vault_token");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_pick, 0, (int)MA_COUNT(picks));
    tcase_add_test(tc, test_same_email_other_scopes);
    tcase_add_loop_test(tc, test_margin, 0, (int)MA_COUNT(margins));
    tcase_add_test(tc, test_lapsed_without_refresh_token);
    tcase_add_loop_test(tc, test_lapsed_refresh_token, 0, 2);
    tcase_add_test(tc, test_use_is_noted);
    tcase_add_test(tc, test_use_cannot_be_noted);
    tcase_add_test(tc, test_refresh_cannot_be_stored);
    tcase_add_loop_test(tc, test_refresh, 0, (int)MA_COUNT(refreshes));
    tcase_add_test(tc, test_refresh_again);
    tcase_add_loop_test(tc, test_refresh_fails, 0, (int)MA_COUNT(failures));
    tcase_add_test(tc, test_provider_is_down);
    tcase_add_test(tc, test_policy_is_asked);
    tcase_add_test(tc, test_one_refresh_for_many);
    tcase_add_test(tc, test_one_refusal_for_many);
    tcase_add_test(tc, test_accounts_side_by_side);
    tcase_add_loop_test(tc, test_changed_meanwhile, 0, (int)MA_COUNT(meanwhile));
    tcase_add_test(tc, test_deleted_under_waiters);
    tcase_add_test(tc, test_stored_at_last);
    tcase_add_test(tc, test_stored_later);
    tcase_add_loop_test(tc, test_never_stored, 0, 2);
    tcase_add_loop_test(tc, test_another_provider, 0, 2);
    tcase_add_test(tc, test_short_lived_for_many);
    tcase_add_test(tc, test_free_nothing);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

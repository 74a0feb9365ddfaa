/* SPDX-License-Identifier: Apache-2.0
 * Connections of the state document: what becomes of their members, what is refused, and who may use them.
 */
#include "ma/state.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/state/int.h"
#include "ma/crypto.h"

#define T_OK(expr)                                                                                                     \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == MA_OK, "%s: %s", #expr, ma_err_name(t_r));                                                \
    } while (0)
#define NOW 1700000000000
#define EQ(span, text) ck_assert_msg(ma_span_eq_str(span, text), #span " is \"%.*s\"", (int)(span).n, (span).p)

static char dir[64], path[96], keys[96], why[256];
static struct ma_db *db;
static struct ma_vault *vault;
static struct ma_arena *arena;
static struct ma_rand_seeded seeded;
static struct ma_buf report;
static struct ma_verrs errs;

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_connections_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    ma_rand_seeded_init(&seeded, 1);
    ck_assert_msg(ma_db_open(path, MA_DB_WRITER, NULL, &db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(keys, ma_rand_system(), &vault, why) == MA_OK, "%s", why);
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)16 << 20);
    ma_buf_init(&report, 1 << 20);
}

static void teardown(void)
{
    static const char *const files[] = {
        "t.db", "t.db-wal", "t.db-shm", "t.db.lock", "keys/vault.keys", "keys/vault.canary", "keys/pepper"};
    ma_buf_free(&report);
    ma_vault_close(vault);
    ma_db_close(db);
    ma_arena_free(arena);
    ma_crypto_cleanup();
    for (size_t i = 0; i < MA_COUNT(files); i++) {
        char file[160];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(keys);
    (void)rmdir(dir);
}

static int apply(struct ma_span doc)
{
    struct ma_apply_env env = {.db = db, .vault = vault, .rand = &seeded.rand, .now_ms = NOW};
    ma_buf_clear(&report);
    errs = (struct ma_verrs){.arena = arena};
    T_OK(ma_db_begin(db));
    int rc = ma_state_apply(&env, doc, &report, &errs);
    if (rc == MA_OK)
        T_OK(ma_db_commit(db));
    else
        ma_db_rollback(db);
    return rc;
}

/* A document of one connection with these members. */
static struct ma_span one(const char *members)
{
    const char *doc = ma_arena_printf(arena, "{\"connections\":[{\"name\":\"c\",%s}]}", members);
    ck_assert_ptr_nonnull(doc);
    return ma_span_str(doc);
}

static void apply_ok(struct ma_span doc)
{
    int rc = apply(doc);
    ck_assert_msg(rc == MA_OK, "%.*s: %s at \"%s\": %s", (int)doc.n, (const char *)doc.p, ma_err_name(rc),
                  errs.n ? errs.v[0].pointer : "", errs.n ? errs.v[0].detail : "");
}

/* The snapshot after the connection "c" has these members; the caller unrefs *ret. */
static const struct ma_state_connection *loaded(struct ma_state **ret)
{
    ck_assert_msg(ma_state_load(db, NULL, 0, "x", ret, why) == MA_OK, "%s", why);
    const struct ma_state_connection *c = ma_state_connection(*ret, MA_LIT("c"));
    ck_assert_ptr_nonnull(c);
    return c;
}

static const struct ma_state_connection *with(const char *members, struct ma_state **ret)
{
    apply_ok(one(members));
    return loaded(ret);
}

/* --- members --- */

START_TEST(every_member)
{
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = with(
        "\"strategy\":\"oidc\",\"preset\":\"gitlab\",\"connected_accounts\":{\"active\":true},"
        "\"enabled_clients\":[\"spa\",\"web\"],\"revocation_endpoint\":\"https://i.example/revoke\",\"pkce\":false,"
        "\"token_endpoint_auth_method\":\"private_key_jwt\",\"options\":{\"issuer\":\"https://i.example/t/\","
        "\"authorization_endpoint\":\"https://i.example/a?x=y\",\"token_endpoint\":\"https://i.example/t\","
        "\"jwks_uri\":\"https://i.example/j\",\"userinfo_endpoint\":\"https://i.example/u\",\"client_id\":\"us\","
        "\"client_secret\":\"s\",\"scopes\":[\"openid\",\"offline_access\"],\"scope_separator\":\",\","
        "\"user_id_field\":\"data.user-id.x_1\",\"authorization_params\":\"hd=a.example&display=page\","
        "\"callback_path\":\"/login/callback\",\"revoke_on_delete\":true}",
        &s);
    const struct ma_state_provider *p = &c->provider;
    EQ(c->strategy, "oidc");
    ck_assert(!c->database && c->connected_accounts && !c->all_clients);
    ck_assert_uint_eq(c->enabled_clients.n, 2);
    EQ(c->enabled_clients.v[1], "web");
    ck_assert_ptr_eq(p->preset, ma_preset_find(MA_LIT("gitlab")));
    EQ(p->issuer, "https://i.example/t/");
    EQ(p->authorization_endpoint, "https://i.example/a?x=y");
    EQ(p->token_endpoint, "https://i.example/t");
    EQ(p->jwks_uri, "https://i.example/j");
    EQ(p->userinfo_endpoint, "https://i.example/u");
    EQ(p->revocation_endpoint, "https://i.example/revoke");
    EQ(p->client_id, "us");
    ck_assert_uint_eq(p->scopes.n, 2);
    EQ(p->scopes.v[1], "offline_access");
    EQ(p->user_id_field, "data.user-id.x_1");
    EQ(p->authorization_params, "hd=a.example&display=page");
    ck_assert_int_eq(p->scope_separator, ',');
    ck_assert_int_eq(p->auth, MA_AUTH_PRIVATE_KEY_JWT);
    ck_assert(!p->pkce && p->revoke_on_delete && p->login_callback);
    ma_state_unref(s);
}
END_TEST

START_TEST(silence_means_the_preset)
{
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = with("\"strategy\":\"slack\"", &s);
    const struct ma_state_provider *p = &c->provider;
    ck_assert_ptr_eq(p->preset, ma_preset_find(MA_LIT("slack")));
    ck_assert(c->all_clients && !c->connected_accounts);
    ck_assert_uint_eq(c->enabled_clients.n + p->scopes.n, 0);
    ck_assert_uint_eq(p->issuer.n + p->authorization_endpoint.n + p->token_endpoint.n + p->jwks_uri.n +
                          p->userinfo_endpoint.n + p->revocation_endpoint.n + p->client_id.n + p->user_id_field.n +
                          p->authorization_params.n,
                      0);
    ck_assert_int_eq(p->scope_separator, ',');
    ck_assert_int_eq(p->auth, MA_AUTH_BASIC);
    ck_assert(!p->pkce && !p->revoke_on_delete && !p->login_callback);
    ma_state_unref(s);
}
END_TEST

START_TEST(databases_have_no_provider)
{
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = with("\"strategy\":\"auth0\",\"preset\":\"github\"", &s);
    ck_assert(c->database && !c->provider.preset && !c->provider.pkce);
    ma_state_unref(s);
}
END_TEST

/* Members of two places, the connection's own first. */
static const struct place_row {
    const char *name, *members;
    const char *preset;
    enum ma_client_auth auth;
    bool pkce, revoke;
    const char *revocation;
} place_rows[] = {
    {"neither", "\"options\":{}", "oidc", MA_AUTH_BASIC, true, false, ""},
    {"options",
     "\"options\":{\"preset\":\"box\",\"pkce\":true,\"token_endpoint_auth_method\":\"none\","
     "\"revocation_endpoint\":\"https://o/\"}",
     "box", MA_AUTH_NONE, true, true, "https://o/"},
    {"connection",
     "\"preset\":\"box\",\"pkce\":true,\"token_endpoint_auth_method\":\"client_secret_basic\","
     "\"revocation_endpoint\":\"https://c/\"",
     "box", MA_AUTH_BASIC, true, true, "https://c/"},
    {"both",
     "\"preset\":\"github\",\"pkce\":\"disabled\",\"token_endpoint_auth_method\":\"client_secret_post\","
     "\"revocation_endpoint\":\"https://c/\",\"options\":{\"preset\":\"box\",\"pkce\":true,"
     "\"token_endpoint_auth_method\":\"none\",\"revocation_endpoint\":\"https://o/\"}",
     "github", MA_AUTH_POST, false, true, "https://c/"},
    {"none at the connection counts",
     "\"token_endpoint_auth_method\":\"none\",\"options\":{\"token_endpoint_auth_method\":\"private_key_jwt\"}", "oidc",
     MA_AUTH_NONE, true, false, ""},
    {"an empty endpoint says nothing",
     "\"revocation_endpoint\":\"\",\"options\":{\"revocation_endpoint\":\"https://o/\"}", "oidc", MA_AUTH_BASIC, true,
     true, "https://o/"},
    {"null says nothing",
     "\"pkce\":null,\"preset\":null,\"token_endpoint_auth_method\":null,"
     "\"options\":{\"pkce\":false,\"preset\":\"gitlab\",\"token_endpoint_auth_method\":\"client_secret_post\"}",
     "gitlab", MA_AUTH_POST, false, false, ""},
    {"the preset's auth", "\"preset\":\"box\"", "box", MA_AUTH_POST, false, false, ""},
    {"auto", "\"preset\":\"box\",\"pkce\":\"auto\"", "box", MA_AUTH_POST, true, false, ""},
    {"S256", "\"preset\":\"box\",\"pkce\":\"S256\"", "box", MA_AUTH_POST, true, false, ""},
    {"revoke where it is known", "\"options\":{\"revoke_on_delete\":true}", "oidc", MA_AUTH_BASIC, true, true, ""},
    {"an endpoint that is not for deleted accounts",
     "\"revocation_endpoint\":\"https://c/\",\"options\":{\"revoke_on_delete\":false}", "oidc", MA_AUTH_BASIC, true,
     false, "https://c/"},
};

START_TEST(places)
{
    const struct place_row *row = &place_rows[_i];
    struct ma_state *s = NULL;
    const char *members = ma_arena_printf(arena, "\"strategy\":\"oidc\",%s", row->members);
    const struct ma_state_provider *p = &with(members, &s)->provider;
    ck_assert_ptr_nonnull(p->preset);
    ck_assert_str_eq(p->preset->name, row->preset);
    ck_assert_int_eq(p->auth, row->auth);
    ck_assert_int_eq(p->pkce, row->pkce);
    ck_assert_int_eq(p->revoke_on_delete, row->revoke);
    EQ(p->revocation_endpoint, row->revocation);
    ma_state_unref(s);
}
END_TEST

START_TEST(other_values_of_choices)
{
    struct ma_state *s = NULL;
    const struct ma_state_provider *p =
        &with("\"strategy\":\"slack\",\"options\":{\"scope_separator\":\" \",\"user_id_field\":\"\","
              "\"authorization_params\":\"\",\"callback_path\":\"/me/v1/connected-accounts/callback\"}",
              &s)
             ->provider;
    ck_assert_int_eq(p->scope_separator, ' ');
    ck_assert(!p->login_callback);
    ma_state_unref(s);
}
END_TEST

/* What an older version let into the database must not keep the daemon from starting. */
START_TEST(stored_leftovers)
{
    struct ma_state *s = NULL;
    struct ma_object o = {MA_LIT("connection"), MA_LIT("c"),
                          MA_LIT("{\"name\":\"c\",\"strategy\":\"myspace\",\"pkce\":\"plain\","
                                 "\"connected_accounts\":{\"active\":true}}")};
    T_OK(ma_db_begin(db));
    T_OK(ma_object_put(db, &o, NOW));
    T_OK(ma_db_commit(db));
    const struct ma_state_connection *c = loaded(&s);
    ck_assert(!c->provider.preset && c->provider.pkce);
    ck_assert(!ma_state_connectable(c, MA_LIT("spa")));
    ma_state_unref(s);
}
END_TEST

/* --- who may use it --- */

#define USABLE "\"strategy\":\"oidc\",\"options\":{\"issuer\":\"https://i/\",\"client_id\":\"us\"}"
#define ACTIVE "\"connected_accounts\":{\"active\":true}"
static const struct client_row {
    const char *name, *members, *client;
    bool want;
} client_rows[] = {
    {"all", USABLE "," ACTIVE, "spa", true},
    {"all, null", USABLE "," ACTIVE ",\"enabled_clients\":null", "spa", true},
    {"none", USABLE "," ACTIVE ",\"enabled_clients\":[]", "spa", false},
    {"named", USABLE "," ACTIVE ",\"enabled_clients\":[\"web\",\"spa\"]", "spa", true},
    {"not named", USABLE "," ACTIVE ",\"enabled_clients\":[\"web\",\"spa2\"]", "spa", false},
    {"other case", USABLE "," ACTIVE ",\"enabled_clients\":[\"SPA\"]", "spa", false},
    {"no client", USABLE "," ACTIVE ",\"enabled_clients\":[\"web\"]", "", false},
    {"switched off", USABLE ",\"connected_accounts\":{\"active\":false},\"enabled_clients\":[\"spa\"]", "spa", false},
    {"never switched on", USABLE, "spa", false},
    {"database", "\"strategy\":\"auth0\"", "spa", false},
    {"database that names it", "\"strategy\":\"auth0\",\"enabled_clients\":[\"spa\"]", "spa", false},
};

START_TEST(connectable)
{
    const struct client_row *row = &client_rows[_i];
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = with(row->members, &s);
    ck_assert_msg(ma_state_connectable(c, ma_span_str(row->client)) == row->want, "%s", row->name);
    ma_state_unref(s);
}
END_TEST

START_TEST(a_list_can_be_taken_back)
{
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = with(USABLE "," ACTIVE ",\"enabled_clients\":[]", &s);
    ck_assert(!ma_state_connectable(c, MA_LIT("spa")));
    ma_state_unref(s);
    c = with(ACTIVE, &s);
    ck_assert_msg(!ma_state_connectable(c, MA_LIT("spa")), "left out changes nothing");
    ma_state_unref(s);
    c = with("\"enabled_clients\":null", &s);
    ck_assert_msg(ma_state_connectable(c, MA_LIT("spa")), "null takes it away");
    ma_state_unref(s);
}
END_TEST

/* --- what is refused, and where --- */

#define OIDC "\"strategy\":\"oidc\","
#define OPTIONS(text) "\"strategy\":\"oidc\",\"options\":{" text "}"
#define PLAIN(text) "\"strategy\":\"oauth2\"," ACTIVE ",\"options\":{\"client_id\":\"us\"" text "}"
#define PARAMS(text) OPTIONS("\"authorization_params\":\"" text "\"")
#define AT_PARAMS "/connections/0/options/authorization_params"
static const struct bad_row {
    const char *name, *members, *pointer;
} bad_rows[] = {
    {"strategy", "\"strategy\":\"google\"", "/connections/0/strategy"},
    {"strategy case", "\"strategy\":\"OIDC\"", "/connections/0/strategy"},
    {"preset", OIDC "\"preset\":\"auth0\"", "/connections/0/preset"},
    {"preset in options", OPTIONS("\"preset\":\"google\""), "/connections/0/options/preset"},
    {"preset of a database", "\"strategy\":\"auth0\",\"preset\":\"nobody\"", "/connections/0/preset"},
    {"plain pkce", OIDC "\"pkce\":\"plain\"", "/connections/0/pkce"},
    {"plain pkce in options", OPTIONS("\"pkce\":\"plain\""), "/connections/0/options/pkce"},
    {"pkce number", OPTIONS("\"pkce\":1"), "/connections/0/options/pkce"},
    {"auth method", OIDC "\"token_endpoint_auth_method\":\"tls_client_auth\"",
     "/connections/0/token_endpoint_auth_method"},
    {"auth method in options", OPTIONS("\"token_endpoint_auth_method\":\"\""),
     "/connections/0/options/token_endpoint_auth_method"},
    {"revocation endpoint", OIDC "\"revocation_endpoint\":\"javascript:x\"", "/connections/0/revocation_endpoint"},
    {"enabled clients", OIDC "\"enabled_clients\":\"spa\"", "/connections/0/enabled_clients"},
    {"enabled client", OIDC "\"enabled_clients\":[\"spa\",\"\"]", "/connections/0/enabled_clients/1"},
    {"issuer scheme", OPTIONS("\"issuer\":\"file:///etc\""), "/connections/0/options/issuer"},
    {"issuer query", OPTIONS("\"issuer\":\"https://i.example/?a=b\""), "/connections/0/options/issuer"},
    {"issuer empty query", OPTIONS("\"issuer\":\"https://i.example/?\""), "/connections/0/options/issuer"},
    {"issuer fragment", OPTIONS("\"issuer\":\"https://i.example/#x\""), "/connections/0/options/issuer"},
    {"issuer no host", OPTIONS("\"issuer\":\"https:///x\""), "/connections/0/options/issuer"},
    {"endpoint with a user", OPTIONS("\"token_endpoint\":\"https://a@i.example/\""),
     "/connections/0/options/token_endpoint"},
    {"client id", OPTIONS("\"client_id\":\"\""), "/connections/0/options/client_id"},
    {"scope", OPTIONS("\"scopes\":[\"a\",\"b c\"]"), "/connections/0/options/scopes/1"},
    {"separator", OPTIONS("\"scope_separator\":\";\""), "/connections/0/options/scope_separator"},
    {"callback path", OPTIONS("\"callback_path\":\"/callback\""), "/connections/0/options/callback_path"},
    {"revoke on delete", OPTIONS("\"revoke_on_delete\":\"yes\""), "/connections/0/options/revoke_on_delete"},
    {"id field dot", OPTIONS("\"user_id_field\":\".id\""), "/connections/0/options/user_id_field"},
    {"id field end", OPTIONS("\"user_id_field\":\"a.\""), "/connections/0/options/user_id_field"},
    {"id field twice", OPTIONS("\"user_id_field\":\"a..b\""), "/connections/0/options/user_id_field"},
    {"id field index", OPTIONS("\"user_id_field\":\"a[0]\""), "/connections/0/options/user_id_field"},
    {"params escape", PARAMS("a=%zz"), AT_PARAMS},
    {"params cut escape", PARAMS("a=b&c=%4"), AT_PARAMS},
    {"params nul", PARAMS("a=%00"), AT_PARAMS},
    {"params control", PARAMS("a=%0d%0aSet-Cookie"), AT_PARAMS},
    {"params not UTF-8", PARAMS("a=%ff"), AT_PARAMS},
    {"params blank", PARAMS("a=b c"), AT_PARAMS},
    {"params fragment", PARAMS("a=b#c"), AT_PARAMS},
    {"params without name", PARAMS("a=b&=c"), AT_PARAMS},
    {"params client_id", PARAMS("client_id=x"), AT_PARAMS},
    {"params client_secret", PARAMS("client_secret=x"), AT_PARAMS},
    {"params redirect_uri", PARAMS("a=b&redirect_uri=x"), AT_PARAMS},
    {"params response_type", PARAMS("response_type=token"), AT_PARAMS},
    {"params response_mode", PARAMS("response_mode=fragment"), AT_PARAMS},
    {"params state", PARAMS("state="), AT_PARAMS},
    {"params state alone", PARAMS("state"), AT_PARAMS},
    {"params nonce", PARAMS("nonce=x"), AT_PARAMS},
    {"params scope", PARAMS("scope=x"), AT_PARAMS},
    {"params user_scope", PARAMS("user_scope=x"), AT_PARAMS},
    {"params challenge", PARAMS("code_challenge=x"), AT_PARAMS},
    {"params method", PARAMS("code_challenge_method=plain"), AT_PARAMS},
    {"params request", PARAMS("request=x"), AT_PARAMS},
    {"params request_uri", PARAMS("request_uri=x"), AT_PARAMS},
    {"params escaped name", PARAMS("%73tate=x"), AT_PARAMS},
    {"active database", "\"strategy\":\"auth0\"," ACTIVE, "/connections/0/connected_accounts/active"},
    {"no client id", "\"strategy\":\"github\"," ACTIVE, "/connections/0/options"},
    {"no issuer", OIDC ACTIVE ",\"options\":{\"client_id\":\"us\"}", "/connections/0/options"},
    {"endpoints but no issuer",
     OIDC ACTIVE ",\"options\":{\"client_id\":\"us\",\"authorization_endpoint\":\"https://a/\",\"token_endpoint\":"
                 "\"https://t/\",\"jwks_uri\":\"https://j/\"}",
     "/connections/0/options"},
    {"nothing of oauth2", PLAIN(""), "/connections/0/options"},
    {"no authorization endpoint", PLAIN(",\"token_endpoint\":\"https://t/\",\"userinfo_endpoint\":\"https://u/\""),
     "/connections/0/options"},
    {"no token endpoint", PLAIN(",\"authorization_endpoint\":\"https://a/\",\"userinfo_endpoint\":\"https://u/\""),
     "/connections/0/options"},
    {"no userinfo endpoint", PLAIN(",\"authorization_endpoint\":\"https://a/\",\"token_endpoint\":\"https://t/\""),
     "/connections/0/options"},
};

START_TEST(refused)
{
    const struct bad_row *row = &bad_rows[_i];
    struct ma_object *o = NULL;
    size_t n = 1;
    int rc = apply(one(row->members));
    ck_assert_msg(rc == MA_E_INVAL, "%s: %s", row->name, ma_err_name(rc));
    ck_assert_msg(errs.n >= 1 && strcmp(errs.v[0].pointer, row->pointer) == 0, "%s: at \"%s\": %s", row->name,
                  errs.n ? errs.v[0].pointer : "", errs.n ? errs.v[0].detail : "");
    T_OK(ma_object_list(db, arena, &o, &n));
    ck_assert_msg(n == 0, "%s: something was written", row->name);
}
END_TEST

START_TEST(too_long)
{
    char text[1100];
    memset(text, 'a', sizeof text);
    apply_ok(one(ma_arena_printf(arena, OPTIONS("\"user_id_field\":\"%.128s\""), text)));
    apply_ok(one(ma_arena_printf(arena, OPTIONS("\"authorization_params\":\"%.1024s\""), text)));
    ck_assert_int_eq(apply(one(ma_arena_printf(arena, OPTIONS("\"user_id_field\":\"%.129s\""), text))), MA_E_INVAL);
    ck_assert_int_eq(apply(one(ma_arena_printf(arena, OPTIONS("\"authorization_params\":\"%.1025s\""), text))),
                     MA_E_INVAL);
}
END_TEST

START_TEST(every_lack_is_told)
{
    ck_assert_int_eq(apply(one("\"strategy\":\"oauth2\"," ACTIVE)), MA_E_INVAL);
    ck_assert_uint_eq(errs.n, 4);
    static const char *const lacks[] = {"'client_id'", "'authorization_endpoint'", "'token_endpoint'",
                                        "'userinfo_endpoint'"};
    for (size_t i = 0; i < MA_COUNT(lacks); i++)
        ck_assert_msg(strstr(errs.v[i].detail, lacks[i]) != NULL, "%s", errs.v[i].detail);
}
END_TEST

/* --- what is enough --- */

static const struct good_row {
    const char *name, *members;
} good_rows[] = {
    {"oidc with an issuer", USABLE "," ACTIVE},
    {"issuer on loopback", OIDC ACTIVE ",\"options\":{\"issuer\":\"http://127.0.0.1:3000\",\"client_id\":\"us\"}"},
    {"oauth2 with endpoints",
     PLAIN(",\"authorization_endpoint\":\"https://a/\",\"token_endpoint\":\"https://t/\",\"userinfo_endpoint\":"
           "\"https://u/\"")},
    {"oauth2 with an issuer", PLAIN(",\"issuer\":\"https://i/\"")},
    {"github", "\"strategy\":\"github\"," ACTIVE ",\"options\":{\"client_id\":\"us\"}"},
    {"slack has no userinfo", "\"strategy\":\"slack\"," ACTIVE ",\"options\":{\"client_id\":\"us\"}"},
    {"google", "\"strategy\":\"google-oauth2\"," ACTIVE ",\"options\":{\"client_id\":\"us\"}"},
    {"microsoft", "\"strategy\":\"waad\"," ACTIVE ",\"options\":{\"client_id\":\"us\"}"},
    {"oidc with a preset", OIDC "\"preset\":\"gitlab\"," ACTIVE ",\"options\":{\"client_id\":\"us\"}"},
    {"oauth2 with a preset in options",
     "\"strategy\":\"oauth2\"," ACTIVE ",\"options\":{\"client_id\":\"us\",\"preset\":\"discord\"}"},
    {"private key, no secret", USABLE "," ACTIVE ",\"token_endpoint_auth_method\":\"private_key_jwt\""},
    {"inactive and empty", "\"strategy\":\"oauth2\""},
    {"clients that are not there", OIDC "\"enabled_clients\":[\"nobody\"]"},
    {"params", PARAMS("hd=a%2Eb&prompt=select_account&x=&states=1&y=%C3%A9&z=a+b")},
    {"params without a value", PARAMS("force_login&&a=b")},
};

START_TEST(taken)
{
    apply_ok(one(good_rows[_i].members));
}
END_TEST

START_TEST(switched_on_later)
{
    apply_ok(one("\"strategy\":\"oauth2\",\"options\":{\"client_id\":\"us\"}"));
    ck_assert_int_eq(apply(one(ACTIVE)), MA_E_INVAL);
    ck_assert_str_eq(errs.v[0].pointer, "/connections/0/options");
    apply_ok(one(ACTIVE ",\"options\":{\"issuer\":\"https://i/\"}"));
    ck_assert_int_eq(apply(one("\"options\":{\"issuer\":null}")), MA_E_INVAL);
}
END_TEST

/* --- secrets --- */

START_TEST(export_leaves_secrets_out)
{
    struct ma_buf out;
    struct ma_span sealed, plain;
    struct ma_seal_id id = {"object_secrets", "client_secret", MA_LIT("connection|c"), MA_LIT("")};
    apply_ok(one("\"strategy\":\"github\",\"pkce\":true," ACTIVE ",\"options\":{\"client_id\":\"us\",\"client_secret\":"
                 "\"s3cr3t-there\",\"authorization_params\":\"allow_signup=false\"}"));
    ma_buf_init(&out, 1 << 20);
    T_OK(ma_state_export(db, &out));
    ck_assert_ptr_null(memmem(out.p, out.n, "s3cr3t", 6));
    ck_assert_ptr_null(memmem(out.p, out.n, "client_secret", 13));
    ck_assert_ptr_nonnull(memmem(out.p, out.n, "allow_signup=false", 18));
    apply_ok(ma_buf_view(&out));
    T_OK(ma_object_secret_get(db, arena, MA_LIT("connection"), MA_LIT("c"), MA_LIT("client_secret"), &sealed));
    T_OK(ma_vault_open_blob(vault, arena, &id, sealed, &plain));
    EQ(plain, "s3cr3t-there");
    struct ma_state *s = NULL;
    const struct ma_state_connection *c = loaded(&s);
    ck_assert_ptr_null(memmem(c->json.p, c->json.n, "s3cr3t", 6));
    ma_state_unref(s);
    ma_buf_free(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_connections");
    TCase *t = tcase_create("connections");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_member);
    tcase_add_test(t, silence_means_the_preset);
    tcase_add_test(t, databases_have_no_provider);
    tcase_add_loop_test(t, places, 0, (int)MA_COUNT(place_rows));
    tcase_add_test(t, other_values_of_choices);
    tcase_add_test(t, stored_leftovers);
    tcase_add_loop_test(t, connectable, 0, (int)MA_COUNT(client_rows));
    tcase_add_test(t, a_list_can_be_taken_back);
    tcase_add_loop_test(t, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_test(t, too_long);
    tcase_add_test(t, every_lack_is_told);
    tcase_add_loop_test(t, taken, 0, (int)MA_COUNT(good_rows));
    tcase_add_test(t, switched_on_later);
    tcase_add_test(t, export_leaves_secrets_out);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

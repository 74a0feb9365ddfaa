/* SPDX-License-Identifier: Apache-2.0
 * Clients, grants, organizations and rules of the state document: defaults, what is refused, and how they are found.
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
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_clients_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    ma_rand_seeded_init(&seeded, 1);
    ck_assert_msg(ma_db_open(path, MA_DB_WRITER, NULL, &db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(keys, ma_rand_system(), &vault, why) == MA_OK, "%s", why);
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)256 << 20);
    ma_buf_init(&report, 16 << 20);
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

static void apply_ok(const char *doc)
{
    int rc = apply(ma_span_str(doc));
    ck_assert_msg(rc == MA_OK, "%s: %s at \"%s\": %s", doc, ma_err_name(rc), errs.n ? errs.v[0].pointer : "",
                  errs.n ? errs.v[0].detail : "");
}

static struct ma_state *load(void)
{
    struct ma_state *s = NULL;
    ck_assert_msg(ma_state_load(db, NULL, 0, "x", &s, why) == MA_OK, "%s", why);
    return s;
}

/* The client "c" after a document of it with these members (each behind a comma); the caller unrefs *ret. */
static const struct ma_state_client *with(const char *members, struct ma_state **ret)
{
    const char *doc = ma_arena_printf(arena, "{\"clients\":[{\"client_id\":\"c\"%s}]}", members);
    ck_assert_ptr_nonnull(doc);
    apply_ok(doc);
    *ret = load();
    const struct ma_state_client *c = ma_state_client(*ret, MA_LIT("c"));
    ck_assert_ptr_nonnull(c);
    return c;
}

/* --- what is refused, and where --- */

#define C "\"clients\":[{\"client_id\":\"c\"}]"
#define POLICY(members) "{" C ",\"policies\":[{\"client_id\":\"c\",\"scope\":[\"a\"]" members "}]}"
#define CLIENT(members) "{\"clients\":[{\"client_id\":\"c\"," members "}]}"

static const struct bad_row {
    const char *doc, *pointer;
} bad_rows[] = {
    {CLIENT("\"token_endpoint_auth_method\":\"basic\""), "/clients/0/token_endpoint_auth_method"},
    {CLIENT("\"token_endpoint_auth_method\":\"private_key_jwt\""), "/clients/0"},
    {CLIENT("\"token_endpoint_auth_method\":\"private_key_jwt\",\"jwks\":null"), "/clients/0"},
    {CLIENT("\"token_endpoint_auth_method\":\"private_key_jwt\",\"jwks\":{\"keys\":[]}"), "/clients/0/jwks/keys"},
    {CLIENT("\"jwks\":[]"), "/clients/0/jwks"},
    {CLIENT("\"jwks\":{}"), "/clients/0/jwks"},
    {CLIENT("\"jwks\":{\"keys\":[{\"kid\":\"1\"}]}"), "/clients/0/jwks/keys/0"},
    {CLIENT("\"grant_types\":\"password\""), "/clients/0/grant_types"},
    {CLIENT("\"grant_types\":[\"password\",\"\"]"), "/clients/0/grant_types/1"},
    {CLIENT("\"allowed_logout_urls\":[\"https://a/\",\"/out\"]"), "/clients/0/allowed_logout_urls/1"},
    {CLIENT("\"allowed_logout_urls\":\"https://a/\""), "/clients/0/allowed_logout_urls"},
    {CLIENT("\"resource_server_identifier\":\"a b\""), "/clients/0/resource_server_identifier"},
    {CLIENT("\"resource_server_identifier\":1"), "/clients/0/resource_server_identifier"},
    {CLIENT("\"refresh_token\":{\"rotation_type\":\"none\"}"), "/clients/0/refresh_token/rotation_type"},
    {CLIENT("\"refresh_token\":{\"expiration_type\":\"never\"}"), "/clients/0/refresh_token/expiration_type"},
    {CLIENT("\"refresh_token\":{\"leeway\":-1}"), "/clients/0/refresh_token/leeway"},
    {CLIENT("\"refresh_token\":{\"token_lifetime\":0}"), "/clients/0/refresh_token/token_lifetime"},
    {CLIENT("\"refresh_token\":{\"idle_token_lifetime\":1.5}"), "/clients/0/refresh_token/idle_token_lifetime"},
    {CLIENT("\"refresh_token\":{\"infinite_token_lifetime\":1}"), "/clients/0/refresh_token/infinite_token_lifetime"},
    {CLIENT("\"refresh_token\":{\"policies\":[{\"scope\":[]}]}"), "/clients/0/refresh_token/policies/0"},
    {CLIENT("\"refresh_token\":{\"policies\":[{\"audience\":\"u:a\",\"scope\":[\"a b\"]}]}"),
     "/clients/0/refresh_token/policies/0"},
    {"{\"tenant\":{\"allowed_logout_urls\":[\"out\"]}}", "/tenant/allowed_logout_urls/0"},
    {"{\"tenant\":{\"session_lifetime\":0}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":-1}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":8761}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":1e300}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":0.0001}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":\"168\"}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"session_lifetime\":[1]}}", "/tenant/session_lifetime"},
    {"{\"tenant\":{\"idle_session_lifetime\":true}}", "/tenant/idle_session_lifetime"},
    {"{\"policies\":[{\"client_id\":\"c\",\"scope\":[\"a\"],\"skip\":true}]}", "/policies/0/client_id"},
    {POLICY(""), "/policies/0"},
    {POLICY(",\"require\":[]"), "/policies/0"},
    {POLICY(",\"require\":[\"otp\",\"sms-code\"]"), "/policies/0/require/1"},
    {POLICY(",\"require\":[\"password\"]"), "/policies/0/require/0"},
    {POLICY(",\"require\":[\"OTP\"]"), "/policies/0/require/0"},
    {POLICY(",\"require\":\"otp\""), "/policies/0/require"},
    {POLICY(",\"require\":[\"otp\"],\"skip\":true"), "/policies/0/skip"},
    {POLICY(",\"max_age\":1,\"skip\":true"), "/policies/0/skip"},
    {POLICY(",\"require\":[\"otp\"],\"max_age\":-1"), "/policies/0/max_age"},
    {"{" C ",\"policies\":[{\"client_id\":\"c\",\"scope\":[],\"skip\":true}]}", "/policies/0/scope"},
    {"{" C ",\"policies\":[{\"client_id\":\"c\",\"scope\":[\"a\",\"a b\"],\"skip\":true}]}", "/policies/0/scope/1"},
    {"{\"organizations\":[{\"name\":\"x\"}]}", "/organizations/0"},
    {"{\"organizations\":[{\"id\":\"a b\"}]}", "/organizations/0/id"},
    {"{\"organizations\":[{\"id\":\"a\",\"members\":[\"u\",1]}]}", "/organizations/0/members/1"},
    {"{\"organizations\":[{\"id\":\"o\"},{\"id\":\"o\"}]}", "/organizations/1"},
    {"{\"organizations\":[{\"id\":\"o\",\"name\":\"acme\"},{\"id\":\"p\",\"name\":\"Acme\"}]}",
     "/organizations/1/name"},
};

START_TEST(refused)
{
    const struct bad_row *row = &bad_rows[_i];
    int rc = apply(ma_span_str(row->doc));
    ck_assert_msg(rc == MA_E_INVAL, "%s: %s", row->doc, ma_err_name(rc));
    ck_assert_uint_ge(errs.n, 1);
    ck_assert_msg(strcmp(errs.v[0].pointer, row->pointer) == 0, "%s: at \"%s\": %s", row->doc, errs.v[0].pointer,
                  errs.v[0].detail);
}
END_TEST

START_TEST(keys_may_come_first)
{
    apply_ok(CLIENT("\"jwks\":{\"keys\":[{\"kty\":\"EC\"}]}"));
    apply_ok(CLIENT("\"token_endpoint_auth_method\":\"private_key_jwt\""));
    ck_assert_int_eq(apply(MA_LIT(CLIENT("\"jwks\":null"))), MA_E_INVAL);
    ck_assert_str_eq(errs.v[0].pointer, "/clients/0");
    /* a secret may be stored already, or be generated elsewhere: nothing is asked for */
    apply_ok("{\"clients\":[{\"client_id\":\"d\",\"token_endpoint_auth_method\":\"client_secret_basic\"}]}");
}
END_TEST

/* --- authentication at the token endpoint --- */

static const struct auth_row {
    const char *members;
    enum ma_client_auth auth;
    bool named, rotating;
} auth_rows[] = {
    {"", MA_AUTH_POST, false, false},
    {",\"app_type\":\"spa\"", MA_AUTH_NONE, false, true},
    {",\"app_type\":\"native\"", MA_AUTH_NONE, false, true},
    {",\"app_type\":\"regular_web\"", MA_AUTH_POST, false, false},
    {",\"app_type\":\"non_interactive\"", MA_AUTH_POST, false, false},
    {",\"app_type\":\"resource_server\"", MA_AUTH_POST, false, false},
    {",\"app_type\":\"spa\",\"token_endpoint_auth_method\":null", MA_AUTH_NONE, false, true},
    {",\"token_endpoint_auth_method\":\"none\"", MA_AUTH_NONE, true, true},
    {",\"app_type\":\"native\",\"token_endpoint_auth_method\":\"client_secret_post\"", MA_AUTH_POST, true, false},
    {",\"token_endpoint_auth_method\":\"client_secret_basic\"", MA_AUTH_BASIC, true, false},
    {",\"token_endpoint_auth_method\":\"private_key_jwt\",\"jwks\":{\"keys\":[{\"kty\":\"RSA\"}]}",
     MA_AUTH_PRIVATE_KEY_JWT, true, false},
    {",\"refresh_token\":{\"rotation_type\":\"rotating\"}", MA_AUTH_POST, false, true},
    {",\"app_type\":\"spa\",\"refresh_token\":{\"rotation_type\":\"non-rotating\"}", MA_AUTH_NONE, false, false},
    {",\"app_type\":\"spa\",\"refresh_token\":{\"rotation_type\":null}", MA_AUTH_NONE, false, true},
};

START_TEST(authentication)
{
    const struct auth_row *row = &auth_rows[_i];
    struct ma_state *s;
    const struct ma_state_client *c = with(row->members, &s);
    ck_assert_msg(c->auth == row->auth && c->auth_named == row->named, "%s: %d", row->members, (int)c->auth);
    ck_assert_msg(c->refresh.rotating == row->rotating, "%s", row->members);
    ma_state_unref(s);
}
END_TEST

START_TEST(client_members)
{
    struct ma_state *s;
    const struct ma_state_client *c = with("", &s);
    ck_assert_uint_eq(c->jwks.n + c->resource_server_identifier.n + c->allowed_logout_urls.n + c->n_grants, 0);
    ck_assert_ptr_null(c->grant_types.v);
    ma_state_unref(s);
    c = with(",\"callbacks\":[\"https://a/cb\"],\"allowed_logout_urls\":[\"https://a/out\",\"app://out\"],"
             "\"resource_server_identifier\":\"https://api.example/\",\"grant_types\":[\"x\"],"
             "\"jwks\":{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\"}]}",
             &s);
    ck_assert_uint_eq(c->allowed_logout_urls.n, 2);
    EQ(c->allowed_logout_urls.v[1], "app://out");
    EQ(c->resource_server_identifier, "https://api.example/");
    EQ(c->jwks, "{\"keys\":[{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"AA\"}]}");
    ck_assert_uint_eq(c->grant_types.n, 1);
    ma_state_unref(s);
    c = with(",\"jwks\":null,\"allowed_logout_urls\":null", &s);
    ck_assert_uint_eq(c->jwks.n + c->allowed_logout_urls.n, 0);
    ma_state_unref(s);
}
END_TEST

/* --- refresh tokens --- */

static const struct refresh_row {
    const char *members;
    int64_t leeway, lifetime, idle;
} refresh_rows[] = {
    {"", 0, 31557600, 2592000},
    {"\"leeway\":30", 30, 31557600, 2592000},
    {"\"token_lifetime\":100,\"idle_token_lifetime\":50", 0, 100, 50},
    {"\"token_lifetime\":100,\"infinite_token_lifetime\":true", 0, 0, 2592000},
    {"\"idle_token_lifetime\":50,\"infinite_idle_token_lifetime\":true", 0, 31557600, 0},
    {"\"infinite_token_lifetime\":false,\"infinite_idle_token_lifetime\":false", 0, 31557600, 2592000},
    {"\"expiration_type\":\"expiring\"", 0, 31557600, 2592000},
    {"\"expiration_type\":\"non-expiring\"", 0, 0, 0},
    {"\"expiration_type\":\"non-expiring\",\"leeway\":0,\"infinite_token_lifetime\":true,"
     "\"infinite_idle_token_lifetime\":true,\"token_lifetime\":31557600,\"idle_token_lifetime\":2592000,"
     "\"rotation_type\":\"non-rotating\"",
     0, 0, 0},
};

START_TEST(refresh_lifetimes)
{
    const struct refresh_row *row = &refresh_rows[_i];
    struct ma_state *s;
    const struct ma_state_client *c = with(ma_arena_printf(arena, ",\"refresh_token\":{%s}", row->members), &s);
    ck_assert_msg(c->refresh.leeway_s == row->leeway && c->refresh.lifetime_s == row->lifetime &&
                      c->refresh.idle_s == row->idle,
                  "%s: %lld %lld %lld", row->members, (long long)c->refresh.leeway_s, (long long)c->refresh.lifetime_s,
                  (long long)c->refresh.idle_s);
    ck_assert(!c->refresh.has_policies);
    ck_assert_uint_eq(c->refresh.n_policies, 0);
    ma_state_unref(s);
}
END_TEST

START_TEST(refresh_policies)
{
    struct ma_state *s;
    const struct ma_state_client *c = with(",\"refresh_token\":{\"policies\":[]}", &s);
    ck_assert(c->refresh.has_policies);
    ck_assert_uint_eq(c->refresh.n_policies, 0);
    ma_state_unref(s);
    c = with(",\"refresh_token\":{\"policies\":[{\"audience\":\"u:a\",\"scope\":[\"1\",\"2\"]},"
             "{\"audience\":\"u:b\",\"scope\":[]},{\"audience\":\"u:a\",\"scope\":[\"2\",\"3\"]}]}",
             &s);
    ck_assert_uint_eq(c->refresh.n_policies, 2);
    EQ(c->refresh.policies[0].audience, "u:a");
    ck_assert_uint_eq(c->refresh.policies[0].scope.n, 3);
    EQ(c->refresh.policies[0].scope.v[2], "3");
    EQ(c->refresh.policies[1].audience, "u:b");
    ck_assert_uint_eq(c->refresh.policies[1].scope.n, 0);
    ma_state_unref(s);
    c = with(",\"refresh_token\":{\"policies\":null}", &s);
    ck_assert(!c->refresh.has_policies);
    ma_state_unref(s);
}
END_TEST

/* --- what it may have --- */

START_TEST(grants_by_audience)
{
    static const struct ma_span ours = {(const uint8_t *)"https://b/me/", 13};
    struct ma_state *s = NULL;
    apply_ok("{\"clients\":[{\"client_id\":\"a\"},{\"client_id\":\"c\"},{\"client_id\":\"c|\"}],\"client_grants\":["
             "{\"client_id\":\"c\",\"audience\":\"https://z/\",\"scope\":[\"1\",\"2\"]},"
             "{\"client_id\":\"c\",\"audience\":\"https://b/me/\",\"scope\":[\"read:me:factors\",\"x\"]},"
             "{\"client_id\":\"c\",\"audience\":\"https://machine/\",\"subject_type\":\"client\",\"scope\":[\"m\"]},"
             "{\"client_id\":\"c|\",\"audience\":\"https://c/\",\"scope\":[\"other\"]},"
             "{\"client_id\":\"c\",\"audience\":\"https://c/\"}]}");
    apply_ok("{\"client_grants\":[{\"client_id\":\"c\",\"audience\":\"https://z/\",\"scope\":[\"3\"]}]}");
    ck_assert_msg(ma_state_load(db, &ours, 1, "x", &s, why) == MA_OK, "%s", why);
    const struct ma_state_client *c = ma_state_client(s, MA_LIT("c"));
    ck_assert_uint_eq(c->n_grants, 3);
    EQ(c->grants[0].audience, "https://b/me/");
    EQ(c->grants[1].audience, "https://c/");
    EQ(c->grants[2].audience, "https://z/");
    ck_assert_uint_eq(c->grant, MA_SC_READ_FACTORS);
    ck_assert_uint_eq(ma_state_grant(c, MA_LIT("https://b/me/"))->scope.n, 2);
    ck_assert_uint_eq(ma_state_grant(c, MA_LIT("https://c/"))->scope.n, 0);
    EQ(ma_state_grant(c, MA_LIT("https://z/"))->scope.v[0], "3");
    ck_assert_ptr_null(ma_state_grant(c, MA_LIT("https://machine/")));
    ck_assert_ptr_null(ma_state_grant(c, MA_LIT("https://c")));
    ck_assert_ptr_null(ma_state_grant(c, MA_LIT("")));
    EQ(ma_state_grant(ma_state_client(s, MA_LIT("c|")), MA_LIT("https://c/"))->scope.v[0], "other");
    ck_assert_ptr_null(ma_state_grant(ma_state_client(s, MA_LIT("a")), MA_LIT("https://c/")));
    ma_state_unref(s);
}
END_TEST

START_TEST(many_grants)
{
    struct ma_buf doc;
    ma_buf_init(&doc, 8 << 20);
    ma_buf_str(&doc, "{\"clients\":[{\"client_id\":\"c0\"},{\"client_id\":\"c1\"},{\"client_id\":\"c2\"}],"
                     "\"client_grants\":[");
    for (int i = 0; i < 3000; i++)
        ma_buf_printf(&doc, "%s{\"client_id\":\"c%d\",\"audience\":\"https://api/%d\",\"scope\":[\"s%d\"]}",
                      i ? "," : "", i % 3, i, i);
    ma_buf_str(&doc, "]}");
    ck_assert_int_eq(apply(ma_buf_view(&doc)), MA_OK);
    struct ma_state *s = load();
    for (int i = 0; i < 3000; i++) {
        struct ma_span audience = ma_span_str(ma_arena_printf(arena, "https://api/%d", i));
        for (size_t k = 0; k < 3; k++) {
            const struct ma_state_audience *g = ma_state_grant(&s->clients[k], audience);
            ck_assert((g != NULL) == ((size_t)i % 3 == k));
            ck_assert(!g || ma_span_eq_str(g->scope.v[0], ma_arena_printf(arena, "s%d", i)));
        }
    }
    ma_state_unref(s);
    ma_buf_free(&doc);
}
END_TEST

#define REALM "http://auth0.com/oauth/grant-type/password-realm"
#define MFA_OTP "http://auth0.com/oauth/grant-type/mfa-otp"
#define MFA_OOB "http://auth0.com/oauth/grant-type/mfa-oob"
#define MFA_RECOVERY "http://auth0.com/oauth/grant-type/mfa-recovery-code"
#define WEBAUTHN "urn:okta:params:oauth:grant-type:webauthn"
#define EXCHANGE "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token"
enum { CODE = 1, REFRESH = 2, PASSWORDS = 4, MFAS = 8, KEYS = 16, EXCHANGES = 32, MACHINE = 64, OTP = 128 };
static const struct grant_name {
    const char *name;
    int bit;
} grant_names[] = {
    {"authorization_code", CODE}, {"refresh_token", REFRESH},
    {"password", PASSWORDS},      {REALM, PASSWORDS},
    {MFA_OTP, MFAS | OTP},        {MFA_OOB, MFAS},
    {MFA_RECOVERY, MFAS},         {WEBAUTHN, KEYS},
    {EXCHANGE, EXCHANGES},        {"client_credentials", MACHINE},
};
static const struct may_row {
    const char *members;
    int want;
} may_rows[] = {
    {"", CODE | REFRESH | MFAS},
    {",\"app_type\":\"spa\"", CODE | REFRESH | MFAS},
    {",\"app_type\":\"native\"", CODE | REFRESH | MFAS},
    {",\"app_type\":\"non_interactive\"", 0},
    {",\"app_type\":\"resource_server\"", 0},
    {",\"app_type\":\"spa\",\"grant_types\":[]", 0},
    {",\"grant_types\":null", CODE | REFRESH | MFAS},
    {",\"app_type\":\"resource_server\",\"grant_types\":[\"" EXCHANGE "\"]", EXCHANGES},
    {",\"grant_types\":[\"authorization_code\"]", CODE | MFAS},
    {",\"grant_types\":[\"refresh_token\"]", REFRESH | MFAS},
    {",\"grant_types\":[\"password\"]", PASSWORDS | MFAS},
    {",\"grant_types\":[\"" REALM "\"]", PASSWORDS | MFAS},
    {",\"grant_types\":[\"" WEBAUTHN "\"]", KEYS | MFAS},
    {",\"grant_types\":[\"" MFA_OTP "\"]", OTP},
    {",\"grant_types\":[\"client_credentials\",\"implicit\",\"urn:of:another:system\",\"Password\"]", MACHINE},
};

START_TEST(grant_types)
{
    const struct may_row *row = &may_rows[_i];
    struct ma_state *s;
    const struct ma_state_client *c = with(row->members, &s);
    for (size_t i = 0; i < MA_COUNT(grant_names); i++)
        ck_assert_msg(ma_state_client_may(c, grant_names[i].name) == ((row->want & grant_names[i].bit) != 0), "%s: %s",
                      row->members, grant_names[i].name);
    ck_assert(!ma_state_client_may(c, ""));
    ck_assert(!ma_state_client_may(c, "authorization"));
    ma_state_unref(s);
}
END_TEST

/* --- the tenant --- */

static const struct hours_row {
    const char *json;
    int64_t seconds;
} hours_rows[] = {
    {"1", 3600},        {"168", 604800}, {"0.5", 1800},    {"0.0166667", 60},
    {"8760", 31536000}, {"1e1", 36000},  {"null", 604800},
};

START_TEST(session_hours)
{
    const struct hours_row *row = &hours_rows[_i];
    apply_ok(ma_arena_printf(arena, "{\"tenant\":{\"session_lifetime\":%s}}", row->json));
    struct ma_state *s = load();
    ck_assert_int_eq(s->tenant.session_lifetime_s, row->seconds);
    ck_assert_int_eq(s->tenant.idle_session_lifetime_s, 259200);
    ma_state_unref(s);
    struct ma_buf out;
    ma_buf_init(&out, 1 << 20);
    T_OK(ma_state_export(db, &out));
    T_OK(apply(ma_buf_view(&out)));
    EQ(ma_buf_view(&report), "no changes\n");
    ma_buf_free(&out);
}
END_TEST

START_TEST(tenant_defaults)
{
    struct ma_state *s = load();
    ck_assert_int_eq(s->tenant.session_lifetime_s, 604800);
    ck_assert_int_eq(s->tenant.idle_session_lifetime_s, 259200);
    ck_assert_uint_eq(s->tenant.allowed_logout_urls.n, 0);
    ma_state_unref(s);
    apply_ok("{\"tenant\":{\"idle_session_lifetime\":2,\"allowed_logout_urls\":[\"https://a/\"]}}");
    s = load();
    ck_assert_int_eq(s->tenant.idle_session_lifetime_s, 7200);
    EQ(s->tenant.allowed_logout_urls.v[0], "https://a/");
    ma_state_unref(s);
}
END_TEST

/* --- organizations --- */

START_TEST(organizations_by_id_and_name)
{
    struct ma_state *s = load();
    ck_assert_uint_eq(s->n_organizations, 0);
    ck_assert_ptr_null(ma_state_organization(s, MA_LIT("acme")));
    ma_state_unref(s);
    apply_ok("{\"organizations\":[{\"id\":\"org_2\",\"name\":\"Acme\",\"display_name\":\"Acme Inc.\","
             "\"members\":[\"u|1\",\"u|2\",\"u|1\"]},{\"id\":\"org_1\"},{\"id\":\"org_3\",\"name\":\"acme-2\"}]}");
    s = load();
    ck_assert_uint_eq(s->n_organizations, 3);
    const struct ma_state_organization *o = s->organizations;
    EQ(o[0].id, "org_1");
    EQ(o[0].name, "org_1");
    ck_assert_ptr_null(o[0].display_name.p);
    EQ(o[1].id, "org_2");
    EQ(o[1].name, "Acme");
    EQ(o[1].display_name, "Acme Inc.");
    ck_assert_ptr_eq(ma_state_organization(s, MA_LIT("org_2")), &o[1]);
    ck_assert_ptr_eq(ma_state_organization(s, MA_LIT("aCME")), &o[1]);
    ck_assert_ptr_eq(ma_state_organization(s, MA_LIT("acme-2")), &o[2]);
    ck_assert_ptr_eq(ma_state_organization(s, MA_LIT("org_1")), &o[0]);
    ck_assert_ptr_null(ma_state_organization(s, MA_LIT("ORG_1")));
    ck_assert_ptr_null(ma_state_organization(s, MA_LIT("Acme Inc.")));
    ck_assert_ptr_null(ma_state_organization(s, MA_LIT("")));
    char overlong[1000];
    memset(overlong, 'a', sizeof overlong);
    ck_assert_ptr_null(ma_state_organization(s, ma_span_of(overlong, sizeof overlong)));
    ck_assert(ma_state_is_member(&o[1], MA_LIT("u|1")) && ma_state_is_member(&o[1], MA_LIT("u|2")));
    ck_assert(!ma_state_is_member(&o[1], MA_LIT("U|1")) && !ma_state_is_member(&o[1], MA_LIT("")));
    ck_assert(!ma_state_is_member(&o[0], MA_LIT("u|1")));
    ma_state_unref(s);
}
END_TEST

START_TEST(organization_names_stay_apart)
{
    apply_ok("{\"organizations\":[{\"id\":\"z\",\"name\":\"acme\"},{\"id\":\"a\",\"name\":\"other\"}]}");
    ck_assert_int_eq(apply(MA_LIT("{\"organizations\":[{\"id\":\"n\"},{\"id\":\"a\",\"name\":\"ACME\"}]}")),
                     MA_E_INVAL);
    ck_assert_str_eq(errs.v[0].pointer, "/organizations/1/name");
    /* the same again, and an exchange of names, are fine */
    apply_ok("{\"organizations\":[{\"id\":\"z\",\"name\":\"acme\"}]}");
    EQ(ma_buf_view(&report), "no changes\n");
    apply_ok("{\"organizations\":[{\"id\":\"z\",\"name\":\"other\"},{\"id\":\"a\",\"name\":\"acme\"}]}");
    apply_ok("{\"organizations\":[{\"id\":\"z\",\"name\":null},{\"id\":\"b\",\"name\":\"other\"}]}");
}
END_TEST

/* user ids share long beginnings: what tells them apart is the end */
#define MEMBER(i) ma_arena_printf(arena, "auth0|0000000000000000%06d", i)

START_TEST(many_members)
{
    enum { N = 100000 };
    struct ma_buf doc;
    ma_buf_init(&doc, 16 << 20);
    ma_buf_str(&doc, "{\"organizations\":[{\"id\":\"o\",\"members\":[");
    for (int i = 0; i < N; i++)
        ma_buf_printf(&doc, "%s\"auth0|0000000000000000%06d\"", i ? "," : "", i);
    ma_buf_str(&doc, "]},{\"id\":\"p\"}]}");
    ck_assert_int_eq(apply(ma_buf_view(&doc)), MA_OK);
    struct ma_state *s = load();
    const struct ma_state_organization *o = ma_state_organization(s, MA_LIT("o"));
    for (int i = 0; i < N; i++)
        ck_assert(ma_state_is_member(o, ma_span_str(MEMBER(i))));
    for (int i = N; i < N + 1000; i++)
        ck_assert(!ma_state_is_member(o, ma_span_str(MEMBER(i))));
    ck_assert(!ma_state_is_member(ma_state_organization(s, MA_LIT("p")), ma_span_str(MEMBER(1))));
    ma_state_unref(s);
    ck_assert_int_eq(apply(ma_buf_view(&doc)), MA_OK);
    EQ(ma_buf_view(&report), "no changes\n");
    ma_buf_free(&doc);
}
END_TEST

/* --- rules --- */

#define B(f) (1u << MA_FACTOR_##f)
#define ALL (B(TOTP) | B(PHONE) | B(EMAIL) | B(PUSH) | B(WEBAUTHN_ROAMING) | B(WEBAUTHN_PLATFORM) | B(RECOVERY))
static const struct factor_row {
    const char *names;
    uint32_t want;
} factor_rows[] = {
    {"\"otp\"", B(TOTP)},
    {"\"totp\"", B(TOTP)},
    {"\"phone\"", B(PHONE)},
    {"\"sms\"", B(PHONE)},
    {"\"voice\"", B(PHONE)},
    {"\"email\"", B(EMAIL)},
    {"\"push-notification\"", B(PUSH)},
    {"\"push\"", B(PUSH)},
    {"\"webauthn\"", B(WEBAUTHN_ROAMING) | B(WEBAUTHN_PLATFORM)},
    {"\"webauthn-roaming\"", B(WEBAUTHN_ROAMING)},
    {"\"webauthn-platform\"", B(WEBAUTHN_PLATFORM)},
    {"\"recovery-code\"", B(RECOVERY)},
    {"\"passkey\"", B(PASSKEY)},
    {"\"any\"", ALL},
    {"\"mfa\"", ALL},
    {"\"otp\",\"sms\",\"passkey\"", B(TOTP) | B(PHONE) | B(PASSKEY)},
};

START_TEST(rule_factors)
{
    const struct factor_row *row = &factor_rows[_i];
    apply_ok(ma_arena_printf(arena, POLICY(",\"require\":[%s]"), row->names));
    struct ma_state *s = load();
    ck_assert_uint_eq(s->n_rules, 1);
    ck_assert_msg(s->rules[0].require == row->want, "%s: %x", row->names, s->rules[0].require);
    ck_assert_int_eq(s->rules[0].max_age_s, -1);
    ck_assert(!s->rules[0].skip);
    ma_state_unref(s);
}
END_TEST

START_TEST(rules_in_order)
{
    apply_ok("{\"clients\":[{\"client_id\":\"c\"},{\"client_id\":\"b\"}],\"policies\":["
             "{\"client_id\":\"c\",\"scope\":[\"z\",\"y\"],\"skip\":true},"
             "{\"client_id\":\"c\",\"scope\":[\"a\"],\"require\":[\"otp\"],\"max_age\":0},"
             "{\"client_id\":\"b\",\"scope\":[\"x\"],\"require\":[\"any\"],\"max_age\":900}]}");
    struct ma_state *s = load();
    ck_assert_uint_eq(s->n_rules, 3);
    EQ(s->rules[0].client_id, "b");
    ck_assert_int_eq(s->rules[0].max_age_s, 900);
    EQ(s->rules[1].scope.v[0], "a");
    ck_assert_int_eq(s->rules[1].max_age_s, 0);
    ck_assert(s->rules[2].skip);
    ck_assert_uint_eq(s->rules[2].require, 0);
    ck_assert_int_eq(s->rules[2].max_age_s, -1);
    ck_assert_uint_eq(s->rules[2].scope.n, 2);
    ma_state_unref(s);
    /* the order of scopes does not make another rule; its other members are merged */
    apply_ok("{\"policies\":[{\"client_id\":\"c\",\"scope\":[\"y\",\"z\"],\"skip\":null,\"require\":[\"email\"]}]}");
    s = load();
    ck_assert_uint_eq(s->n_rules, 3);
    ck_assert(!s->rules[2].skip);
    ck_assert_uint_eq(s->rules[2].require, B(EMAIL));
    ma_state_unref(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_clients");
    TCase *t = tcase_create("clients");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_test(t, keys_may_come_first);
    tcase_add_loop_test(t, authentication, 0, (int)MA_COUNT(auth_rows));
    tcase_add_test(t, client_members);
    tcase_add_loop_test(t, refresh_lifetimes, 0, (int)MA_COUNT(refresh_rows));
    tcase_add_test(t, refresh_policies);
    tcase_add_test(t, grants_by_audience);
    tcase_add_test(t, many_grants);
    tcase_add_loop_test(t, grant_types, 0, (int)MA_COUNT(may_rows));
    tcase_add_loop_test(t, session_hours, 0, (int)MA_COUNT(hours_rows));
    tcase_add_test(t, tenant_defaults);
    tcase_add_test(t, organizations_by_id_and_name);
    tcase_add_test(t, organization_names_stay_apart);
    tcase_add_test(t, many_members);
    tcase_add_loop_test(t, rule_factors, 0, (int)MA_COUNT(factor_rows));
    tcase_add_test(t, rules_in_order);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * The state document: validation with pointers, merging, secrets, users, export, and the snapshot.
 */
#include "ma/state.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/state/int.h"
#include "ma/crypto.h"

#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s", #expr, ma_err_name(t_r), ma_err_name(want));                    \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define NOW 1700000000000
#define ALICE MA_LIT("auth0|alice")
#define DB_CONNECTION "\"connections\":[{\"name\":\"db\",\"strategy\":\"auth0\"}]"
#define REPORT_MAX ((size_t)16 << 20)

static char dir[64], path[96], why[256];
static struct ma_db *db;
static struct ma_vault *vault;
static struct ma_arena *arena;
static struct ma_rand_seeded seeded;
static struct ma_buf report;
static struct ma_verrs errs;

static void setup(void)
{
    char keys[96];
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_state_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    ma_rand_seeded_init(&seeded, 1);
    ck_assert_msg(ma_db_open(path, MA_DB_WRITER, NULL, &db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(keys, ma_rand_system(), &vault, why) == MA_OK, "%s", why);
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)64 << 20);
    ma_buf_init(&report, REPORT_MAX);
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
    char keys[96];
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    (void)rmdir(keys);
    (void)rmdir(dir);
}

static int apply_at(struct ma_span doc, int64_t now, bool dry)
{
    struct ma_apply_env env = {.db = db, .vault = vault, .rand = &seeded.rand, .now_ms = now, .dry_run = dry};
    ma_buf_clear(&report);
    errs = (struct ma_verrs){.arena = arena};
    T_OK(ma_db_begin(db));
    int rc = ma_state_apply(&env, doc, &report, &errs);
    if (rc == MA_OK)
        T_OK(ma_db_commit(db));
    else
        ma_db_rollback(db);
    ma_buf_byte(&report, 0);
    return rc;
}

static int apply(const char *doc)
{
    return apply_at(ma_span_str(doc), NOW, false);
}

static void apply_ok(const char *doc)
{
    int rc = apply(doc);
    ck_assert_msg(rc == MA_OK, "%s: %s at \"%s\": %s", doc, ma_err_name(rc), errs.n ? errs.v[0].pointer : "",
                  errs.n ? errs.v[0].detail : "");
}

static const char *reported(void)
{
    return (const char *)report.p;
}

static struct ma_state *load_with(const struct ma_span *audiences, size_t n)
{
    struct ma_state *s = NULL;
    int rc = ma_state_load(db, audiences, n, "login.example.com", &s, why);
    ck_assert_msg(rc == MA_OK, "%s: %s", ma_err_name(rc), why);
    return s;
}

static struct ma_state *load(void)
{
    static const struct ma_span audience = {(const uint8_t *)"https://login.example.com/me/", 29};
    return load_with(&audience, 1);
}

static void user_ok(struct ma_user *u, struct ma_span id)
{
    T_OK(ma_user_get(db, arena, id, u));
}

/* --- what is refused, and where --- */
static const struct bad_row {
    const char *name, *doc, *pointer;
} bad_rows[] = {
    {"not json", "{", ""},
    {"trailing text", "{} x", ""},
    {"duplicate member", "{\"api\":{},\"api\":{}}", ""},
    {"array", "[]", ""},
    {"null", "null", ""},
    {"unknown member", "{\"userz\":[]}", "/userz"},
    {"users no list", "{\"users\":{}}", "/users"},
    {"clients null", "{\"clients\":null}", "/clients"},
    {"api no object", "{\"api\":[]}", "/api"},
    {"api wrong type", "{\"api\":{\"active\":1}}", "/api/active"},
    {"api unknown", "{\"api\":{\"activ\":true}}", "/api/activ"},
    {"user access", "{\"api\":{\"user_access_policy\":\"allow\"}}", "/api/user_access_policy"},
    {"client access", "{\"api\":{\"client_access_policy\":\"allow_all\"}}", "/api/client_access_policy"},
    {"lifetime zero", "{\"api\":{\"token_lifetime\":0}}", "/api/token_lifetime"},
    {"lifetime real", "{\"api\":{\"token_lifetime\":1e3}}", "/api/token_lifetime"},
    {"default policy", "{\"api\":{\"default_policy\":{\"require_2fa\":\"yes\"}}}", "/api/default_policy/require_2fa"},
    {"mfa policy", "{\"tenant\":{\"mfa_policy\":\"often\"}}", "/tenant/mfa_policy"},
    {"rp id", "{\"tenant\":{\"rp\":{\"id\":\"https://x\"}}}", "/tenant/rp/id"},
    {"factor unknown", "{\"factors\":{\"sms\":true}}", "/factors/sms"},
    {"factor type", "{\"factors\":{\"push-notification\":1}}", "/factors/push-notification"},
    {"connection without strategy", "{\"connections\":[{\"name\":\"x\"}]}", "/connections/0"},
    {"connection without name", "{\"connections\":[{\"strategy\":\"auth0\"}]}", "/connections/0"},
    {"connection name null", "{\"connections\":[{\"name\":null,\"strategy\":\"auth0\"}]}", "/connections/0/name"},
    {"connection twice",
     "{\"connections\":[{\"name\":\"x\",\"strategy\":\"auth0\"},{\"name\":\"x\",\"strategy\":\"auth0\"}]}",
     "/connections/1"},
    {"min length",
     "{\"connections\":[{\"name\":\"x\",\"strategy\":\"auth0\",\"password_policy\":{\"complexity\":"
     "{\"min_length\":73}}}]}",
     "/connections/0/password_policy/complexity/min_length"},
    {"character type",
     "{\"connections\":[{\"name\":\"x\",\"strategy\":\"auth0\",\"password_policy\":{\"complexity\":"
     "{\"character_types\":[\"upper\"]}}}]}",
     "/connections/0/password_policy/complexity/character_types/0"},
    {"issuer", "{\"connections\":[{\"name\":\"x\",\"strategy\":\"oidc\",\"options\":{\"issuer\":\"ftp://x/\"}}]}",
     "/connections/0/options/issuer"},
    {"pkce", "{\"connections\":[{\"name\":\"x\",\"strategy\":\"oidc\",\"pkce\":\"s256\"}]}", "/connections/0/pkce"},
    {"app type", "{\"clients\":[{\"client_id\":\"c\",\"app_type\":\"web\"}]}", "/clients/0/app_type"},
    {"mobile member", "{\"clients\":[{\"client_id\":\"c\",\"mobile\":{\"ios\":1}}]}", "/clients/0/mobile/ios"},
    {"mobile unknown", "{\"clients\":[{\"client_id\":\"c\",\"mobile\":{\"tv\":{}}}]}", "/clients/0/mobile/tv"},
    {"second client", "{\"clients\":[{\"client_id\":\"c\"},{\"client_id\":\"d\",\"nam\":\"D\"}]}", "/clients/1/nam"},
    {"client id blank", "{\"clients\":[{\"client_id\":\"a b\"}]}", "/clients/0/client_id"},
    {"origin with path", "{\"clients\":[{\"client_id\":\"c\",\"allowed_origins\":[\"http://a\",\"http://b/x\"]}]}",
     "/clients/0/allowed_origins/1"},
    {"web origin", "{\"clients\":[{\"client_id\":\"c\",\"web_origins\":[\"example.com\"]}]}",
     "/clients/0/web_origins/0"},
    {"callback", "{\"clients\":[{\"client_id\":\"c\",\"callbacks\":[\"/cb\"]}]}", "/clients/0/callbacks/0"},
    {"rotation", "{\"clients\":[{\"client_id\":\"c\",\"refresh_token\":{\"rotation_type\":\"none\"}}]}",
     "/clients/0/refresh_token/rotation_type"},
    {"refresh policy",
     "{\"clients\":[{\"client_id\":\"c\",\"refresh_token\":{\"policies\":[{\"audience\":\"u:a\"}]}}]}",
     "/clients/0/refresh_token/policies/0"},
    {"jwks", "{\"clients\":[{\"client_id\":\"c\",\"jwks\":{\"keys\":[{\"kid\":\"1\"}]}}]}", "/clients/0/jwks/keys/0"},
    {"grant of no client", "{\"client_grants\":[{\"client_id\":\"c\",\"audience\":\"https://a/\"}]}",
     "/client_grants/0/client_id"},
    {"grant subject",
     "{\"clients\":[{\"client_id\":\"c\"}],\"client_grants\":[{\"client_id\":\"c\",\"audience\":"
     "\"https://a/\",\"subject_type\":\"users\"}]}",
     "/client_grants/0/subject_type"},
    {"grant twice",
     "{\"clients\":[{\"client_id\":\"c\"}],\"client_grants\":[{\"client_id\":\"c\",\"audience\":"
     "\"https://a/\"},{\"client_id\":\"c\",\"audience\":\"https://a/\",\"subject_type\":\"user\"}]}",
     "/client_grants/1"},
    {"grant scope",
     "{\"clients\":[{\"client_id\":\"c\"}],\"client_grants\":[{\"client_id\":\"c\",\"audience\":"
     "\"https://a/\",\"scope\":[\"a b\"]}]}",
     "/client_grants/0/scope/0"},
    {"role permission", "{\"roles\":[{\"name\":\"r\",\"permissions\":[1]}]}", "/roles/0/permissions/0"},
    {"organization", "{\"organizations\":[{\"name\":\"x\"}]}", "/organizations/0"},
    {"policy both",
     "{\"clients\":[{\"client_id\":\"c\"}],\"policies\":[{\"client_id\":\"c\",\"scope\":[\"a\"],"
     "\"require\":[\"otp\"],\"skip\":true}]}",
     "/policies/0/skip"},
    {"policy neither", "{\"clients\":[{\"client_id\":\"c\"}],\"policies\":[{\"client_id\":\"c\",\"scope\":[\"a\"]}]}",
     "/policies/0"},
    {"user blocked",
     "{\"users\":[{\"user_id\":\"a\"},{\"user_id\":\"b\"},{\"user_id\":\"c\"},"
     "{\"user_id\":\"d\",\"blocked\":\"no\"}]}",
     "/users/3/blocked"},
    {"user without id", "{\"users\":[{\"email\":\"a@b.c\"}]}", "/users/0"},
    {"user no object", "{\"users\":[\"a\"]}", "/users/0"},
    {"user id blank", "{\"users\":[{\"user_id\":\"a b\"}]}", "/users/0/user_id"},
    {"user id tab", "{\"users\":[{\"user_id\":\"a\\tb\"}]}", "/users/0/user_id"},
    {"user twice", "{\"users\":[{\"user_id\":\"a\"},{\"user_id\":\"a\"}]}", "/users/1/user_id"},
    {"email", "{\"users\":[{\"user_id\":\"a\",\"email\":\"nobody\"}]}", "/users/0/email"},
    {"email two at", "{\"users\":[{\"user_id\":\"a\",\"email\":\"a@b@c.d\"}]}", "/users/0/email"},
    {"phone", "{\"users\":[{\"user_id\":\"a\",\"phone_number\":\"0155512\"}]}", "/users/0/phone_number"},
    {"phone long", "{\"users\":[{\"user_id\":\"a\",\"phone_number\":\"+1234567890123456\"}]}", "/users/0/phone_number"},
    {"role unknown", "{\"users\":[{\"user_id\":\"a\",\"roles\":[\"r\"]}]}", "/users/0/roles/0"},
    {"connection unknown", "{\"users\":[{\"user_id\":\"a\",\"connection\":\"db\"}]}", "/users/0/connection"},
    {"connection not a database",
     "{\"connections\":[{\"name\":\"x\",\"strategy\":\"oidc\"}],\"users\":[{\"user_id\":\"a\",\"connection\":\"x\"}]}",
     "/users/0/connection"},
    {"empty password", "{" DB_CONNECTION ",\"users\":[{\"user_id\":\"a\",\"password\":\"\"}]}", "/users/0/password"},
    {"hash",
     "{" DB_CONNECTION ",\"users\":[{\"user_id\":\"a\",\"password_hash\":\"5f4dcc3b5aa765d61d8327deb882cf99\"}]}",
     "/users/0/password_hash"},
    {"password and hash",
     "{" DB_CONNECTION ",\"users\":[{\"user_id\":\"a\",\"password\":\"x\",\"password_hash\":"
     "\"$2b$04$bBYkPXoKbGnTbBLVoIqeTOoX7uSJWr0xwCmSlZ7mXbEXLRTl4IHYy\"}]}",
     "/users/0/password_hash"},
    {"password without connection", "{\"users\":[{\"user_id\":\"a\",\"password\":\"x\"}]}", "/users/0"},
};

START_TEST(refused)
{
    const struct bad_row *row = &bad_rows[_i];
    int rc = apply(row->doc);
    ck_assert_msg(rc == MA_E_INVAL || rc == MA_E_PARSE, "%s: %s", row->name, ma_err_name(rc));
    ck_assert_msg(errs.n >= 1, "%s: no error", row->name);
    ck_assert_msg(strcmp(errs.v[0].pointer, row->pointer) == 0, "%s: at \"%s\": %s", row->name, errs.v[0].pointer,
                  errs.v[0].detail);
    struct ma_object *o = NULL;
    size_t n = 1;
    T_OK(ma_object_list(db, arena, &o, &n));
    ck_assert_msg(n == 0, "%s: something was written", row->name);
}
END_TEST

START_TEST(all_errors_are_collected)
{
    T_IS(MA_E_INVAL, apply("{\"api\":{\"active\":0},\"clients\":[{\"client_id\":\"c\",\"x\":1}],\"nope\":1,"
                           "\"users\":[{\"user_id\":\"a\",\"blocked\":1},{}]}"));
    ck_assert_uint_eq(errs.n, 5);
    ck_assert_str_eq(errs.v[0].pointer, "/nope");
    ck_assert_str_eq(errs.v[1].pointer, "/api/active");
    ck_assert_str_eq(errs.v[2].pointer, "/clients/0/x");
    ck_assert_str_eq(errs.v[3].pointer, "/users/0/blocked");
    ck_assert_str_eq(errs.v[4].pointer, "/users/1");
}
END_TEST

START_TEST(many_errors_still_refuse)
{
    struct ma_buf doc;
    ma_buf_init(&doc, 1 << 20);
    ma_buf_str(&doc, "{\"users\":[");
    for (int i = 0; i < 100; i++)
        ma_buf_printf(&doc, "%s{\"user_id\":\"u%d\",\"email\":\"bad\"}", i ? "," : "", i);
    ma_buf_str(&doc, "]}");
    T_IS(MA_E_INVAL, apply_at(ma_buf_view(&doc), NOW, false));
    ck_assert_uint_eq(errs.n, MA_VERR_MAX);
    ma_buf_free(&doc);
}
END_TEST

START_TEST(user_id_bounds)
{
    char doc[2048], id[300];
    memset(id, 'u', sizeof id);
    (void)snprintf(doc, sizeof doc, "{\"users\":[{\"user_id\":\"%.*s\"}]}", 255, id);
    apply_ok(doc);
    (void)snprintf(doc, sizeof doc, "{\"users\":[{\"user_id\":\"%.*s\"}]}", 256, id);
    T_IS(MA_E_INVAL, apply(doc));
    /* 128 characters of two bytes: short enough as text, too long as bytes */
    size_t n = 0;
    for (; n < 256; n += 2)
        memcpy(id + n, "\xc3\xa9", 2);
    (void)snprintf(doc, sizeof doc, "{\"users\":[{\"user_id\":\"%.*s\"}]}", 256, id);
    T_IS(MA_E_INVAL, apply(doc));
}
END_TEST

/* --- merging and idempotence --- */
static const char full[] =
    "{\"api\":{\"active\":true,\"user_access_policy\":\"allow_all\",\"client_access_policy\":\"deny_all\","
    "\"default_policy\":{\"require_2fa\":true},\"token_lifetime\":600},"
    "\"tenant\":{\"friendly_name\":\"Example\",\"mfa_policy\":\"confidence-score\",\"rp\":{\"id\":\"example.com\"}},"
    "\"factors\":{\"totp\":false,\"push-notification\":true},"
    "\"connections\":[{\"name\":\"db\",\"strategy\":\"auth0\",\"password_policy\":{\"complexity\":{\"min_length\":12,"
    "\"character_types\":[\"special\",\"number\"]},\"history\":{\"active\":true,\"size\":3}}},"
    "{\"name\":\"acme\",\"strategy\":\"oidc\",\"connected_accounts\":{\"active\":true},\"pkce\":true,"
    "\"options\":{\"issuer\":\"https://idp.acme.example/\",\"authorization_endpoint\":\"\",\"client_id\":\"us\","
    "\"client_secret\":\"s3cr3t-of-acme\",\"scopes\":[\"openid\"]}}],"
    "\"clients\":[{\"client_id\":\"spa\",\"name\":\"My SPA\",\"app_type\":\"spa\",\"is_first_party\":true,"
    "\"client_secret\":\"s3cr3t-of-spa\",\"callbacks\":[\"https://App.example.com:443/cb\",\"com.example://cb\"],"
    "\"allowed_origins\":[\"http://localhost:3000\",\"https://*.preview.example.com\"],"
    "\"web_origins\":[\"http://localhost:3000\"],\"cross_origin_authentication\":true,"
    "\"grant_types\":[\"authorization_code\",\"refresh_token\"],\"require_dpop\":true,"
    "\"refresh_token\":{\"rotation_type\":\"rotating\",\"expiration_type\":\"expiring\",\"leeway\":0,"
    "\"token_lifetime\":100,\"idle_token_lifetime\":50,\"policies\":[{\"audience\":\"https://a/\",\"scope\":[\"x\"]}]},"
    "\"token_endpoint_auth_method\":\"none\",\"jwks\":{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]},"
    "\"mobile\":{\"ios\":{\"team_id\":\"T\"}}},"
    "{\"client_id\":\"third\",\"is_first_party\":false,\"allowed_origins\":[\"https://third.example\"]},"
    "{\"client_id\":\"quiet\",\"cross_origin_authentication\":false,\"allowed_origins\":[\"https://quiet.example\"]}],"
    "\"client_grants\":[{\"client_id\":\"spa\",\"audience\":\"https://login.example.com/me/"
    "\",\"subject_type\":\"user\","
    "\"scope\":[\"read:me:factors\",\"else:where\"]},"
    "{\"client_id\":\"third\",\"audience\":\"https://login.example.com/me/\",\"subject_type\":\"client\","
    "\"scope\":[\"read:me:factors\"]},"
    "{\"client_id\":\"quiet\",\"audience\":\"https://other.example/\",\"scope\":[\"read:me:factors\"]}],"
    "\"roles\":[{\"name\":\"member\",\"permissions\":[\"read:me:factors\",\"x:y\"]}],"
    "\"organizations\":[{\"id\":\"org_1\",\"name\":\"acme\",\"display_name\":\"Acme\",\"members\":[\"auth0|alice\"]}],"
    "\"policies\":[{\"client_id\":\"spa\",\"scope\":[\"b\",\"a\"],\"require\":[\"otp\"],\"max_age\":900},"
    "{\"client_id\":\"spa\",\"scope\":[\"c\"],\"skip\":true}],"
    "\"users\":[{\"user_id\":\"auth0|alice\",\"email\":\"alice@example.com\",\"email_verified\":true,"
    "\"name\":\"Alice "
    "\\u00c9\",\"phone_number\":\"+15551230001\",\"connection\":\"db\",\"password\":\"Alice-Passw0rd\","
    "\"roles\":[\"member\"],\"permissions\":[\"read:me:factors\"],\"blocked\":false},"
    "{\"user_id\":\"ext|bob\"}]}";

START_TEST(apply_twice_changes_nothing)
{
    apply_ok(full);
    ck_assert_ptr_nonnull(strstr(reported(), "api created\n"));
    ck_assert_ptr_nonnull(strstr(reported(), "client spa created\n"));
    ck_assert_ptr_nonnull(strstr(reported(), "user auth0|alice created\n"));
    ck_assert_ptr_nonnull(strstr(reported(), "client_grant spa|https://login.example.com/me/|user created\n"));
    struct ma_password_row before, after;
    struct ma_span history[8];
    size_t n = 0;
    T_OK(ma_password_get(db, arena, ALICE, &before));
    T_OK(apply_at(ma_span_str(full), NOW + 5000, false));
    ck_assert_str_eq(reported(), "no changes\n");
    T_OK(ma_password_get(db, arena, ALICE, &after));
    ck_assert(ma_span_eq(before.hash, after.hash));
    ck_assert_int_eq(after.changed_at, 0);
    T_OK(ma_password_history(db, arena, ALICE, 8, history, &n));
    ck_assert_uint_eq(n, 1);
    struct ma_user u;
    user_ok(&u, ALICE);
    ck_assert_int_eq(u.updated_at, NOW);
}
END_TEST

START_TEST(lists_are_merged_by_key)
{
    struct ma_object o;
    apply_ok(full);
    apply_ok("{\"clients\":[{\"client_id\":\"spa\",\"name\":\"Renamed\",\"mobile\":null}]}");
    ck_assert_str_eq(reported(), "client spa updated\n");
    T_OK(ma_object_get(db, arena, MA_LIT("client"), MA_LIT("spa"), &o));
    ck_assert_ptr_nonnull(memmem(o.json.p, o.json.n, "\"Renamed\"", 9));
    ck_assert_ptr_nonnull(memmem(o.json.p, o.json.n, "\"refresh_token\"", 15));
    ck_assert_ptr_null(memmem(o.json.p, o.json.n, "\"mobile\"", 8));
    T_OK(ma_object_get(db, arena, MA_LIT("client"), MA_LIT("third"), &o));
    /* nested objects merge, lists are replaced */
    apply_ok("{\"connections\":[{\"name\":\"db\",\"password_policy\":{\"complexity\":{\"min_length\":9}}}],"
             "\"policies\":[{\"client_id\":\"spa\",\"scope\":[\"a\",\"b\"],\"require\":[\"otp\"],\"max_age\":60}]}");
    ck_assert_str_eq(reported(), "connection db updated\npolicy spa|a b updated\n");
    struct ma_state *s = load();
    const struct ma_state_connection *c = ma_state_connection(s, MA_LIT("db"));
    ck_assert_int_eq(c->password_policy.min_length, 9);
    ck_assert_int_eq(c->password_policy.history_size, 3);
    ma_state_unref(s);
}
END_TEST

START_TEST(strategy_is_final)
{
    apply_ok(full);
    T_IS(MA_E_INVAL, apply("{\"connections\":[{\"name\":\"db\",\"strategy\":\"oidc\"}]}"));
    ck_assert_str_eq(errs.v[0].pointer, "/connections/0/strategy");
}
END_TEST

START_TEST(users_are_updated_member_by_member)
{
    struct ma_user u;
    apply_ok(full);
    apply_ok("{\"users\":[{\"user_id\":\"auth0|alice\",\"blocked\":true,\"phone_number\":null}]}");
    ck_assert_str_eq(reported(), "user auth0|alice updated\n");
    user_ok(&u, ALICE);
    ck_assert(u.blocked && u.email_verified);
    ck_assert(ma_span_eq_str(u.email, "alice@example.com"));
    ck_assert_ptr_null(u.phone_number.p);
    ck_assert(ma_span_eq_str(u.roles, "[\"member\"]"));
    ck_assert(ma_span_eq_str(u.connection, "db"));
    apply_ok("{\"users\":[{\"user_id\":\"auth0|alice\",\"roles\":[]}]}");
    user_ok(&u, ALICE);
    ck_assert(ma_span_eq_str(u.roles, "[]"));
    ck_assert(u.blocked);
}
END_TEST

START_TEST(passwords)
{
    struct ma_password_row row;
    struct ma_user u;
    static const char bcrypt[] = "$2b$04$bBYkPXoKbGnTbBLVoIqeTOoX7uSJWr0xwCmSlZ7mXbEXLRTl4IHYy";
    char doc[512];
    apply_ok("{" DB_CONNECTION ",\"users\":[{\"user_id\":\"auth0|alice\",\"password\":\"first\"}]}");
    user_ok(&u, ALICE);
    ck_assert_msg(ma_span_eq_str(u.connection, "db"), "the only database connection is taken");
    T_OK(ma_password_get(db, arena, ALICE, &row));
    T_OK(ma_password_verify((const char *)row.hash.p, MA_LIT("first")));
    T_OK(apply_at(MA_LIT("{\"users\":[{\"user_id\":\"auth0|alice\",\"password\":\"second\"}]}"), NOW + 1, false));
    ck_assert_str_eq(reported(), "user auth0|alice updated\n");
    T_OK(ma_password_get(db, arena, ALICE, &row));
    T_OK(ma_password_verify((const char *)row.hash.p, MA_LIT("second")));
    ck_assert_int_eq(row.changed_at, NOW + 1);
    (void)snprintf(doc, sizeof doc, "{\"users\":[{\"user_id\":\"auth0|alice\",\"password_hash\":\"%s\"}]}", bcrypt);
    apply_ok(doc);
    T_OK(ma_password_get(db, arena, ALICE, &row));
    ck_assert(ma_span_eq_str(row.hash, bcrypt));
    apply_ok(doc);
    ck_assert_str_eq(reported(), "no changes\n");
}
END_TEST

START_TEST(dry_run_writes_nothing)
{
    struct ma_object *o = NULL;
    struct ma_user u;
    size_t n = 1;
    T_OK(apply_at(ma_span_str(full), NOW, true));
    ck_assert_ptr_nonnull(strstr(reported(), "client spa created\n"));
    ck_assert_ptr_nonnull(strstr(reported(), "user auth0|alice created\n"));
    T_OK(ma_object_list(db, arena, &o, &n));
    ck_assert_uint_eq(n, 0);
    T_IS(MA_E_NOTFOUND, ma_user_get(db, arena, ALICE, &u));
    apply_ok(full);
    T_OK(apply_at(ma_span_str(full), NOW, true));
    ck_assert_str_eq(reported(), "no changes\n");
}
END_TEST

/* --- secrets --- */
static bool file_holds(const char *suffix, const char *text)
{
    char name[128];
    static uint8_t bytes[8 << 20];
    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "rb");
    if (!f)
        return false;
    size_t n = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    return memmem(bytes, n, text, strlen(text)) != NULL;
}

START_TEST(secrets_are_sealed)
{
    struct ma_span sealed, again;
    static const char *const secrets[] = {"s3cr3t-of-spa", "s3cr3t-of-acme", "Alice-Passw0rd"};
    apply_ok(full);
    for (size_t i = 0; i < MA_COUNT(secrets); i++)
        ck_assert_msg(!file_holds("", secrets[i]) && !file_holds("-wal", secrets[i]), "%s is stored", secrets[i]);
    ck_assert_msg(file_holds("", "My SPA") || file_holds("-wal", "My SPA"), "the check can find text");
    T_OK(ma_object_secret_get(db, arena, MA_LIT("client"), MA_LIT("spa"), MA_LIT("client_secret"), &sealed));
    struct ma_seal_id id = {"object_secrets", "client_secret", MA_LIT("client|spa"), MA_LIT("")};
    struct ma_span plain;
    T_OK(ma_vault_open_blob(vault, arena, &id, sealed, &plain));
    ck_assert(ma_span_eq_str(plain, "s3cr3t-of-spa"));
    /* left out: kept; the same: untouched; another: sealed anew */
    apply_ok("{\"clients\":[{\"client_id\":\"spa\",\"client_secret\":\"s3cr3t-of-spa\"}]}");
    ck_assert_str_eq(reported(), "no changes\n");
    T_OK(ma_object_secret_get(db, arena, MA_LIT("client"), MA_LIT("spa"), MA_LIT("client_secret"), &again));
    ck_assert(ma_span_eq(sealed, again));
    apply_ok("{\"clients\":[{\"client_id\":\"spa\",\"client_secret\":\"another\"}]}");
    ck_assert_str_eq(reported(), "client spa updated\n");
    T_OK(ma_object_secret_get(db, arena, MA_LIT("connection"), MA_LIT("acme"), MA_LIT("client_secret"), &sealed));
}
END_TEST

/* --- export --- */
START_TEST(export_round_trip)
{
    struct ma_buf out, second;
    apply_ok(full);
    ma_buf_init(&out, 1 << 20);
    ma_buf_init(&second, 1 << 20);
    T_OK(ma_state_export(db, &out));
    ck_assert_ptr_null(memmem(out.p, out.n, "s3cr3t", 6));
    ck_assert_ptr_null(memmem(out.p, out.n, "$argon2", 7));
    ck_assert_ptr_null(memmem(out.p, out.n, "secret", 6));
    T_OK(apply_at(ma_buf_view(&out), NOW, false));
    ck_assert_str_eq(reported(), "no changes\n");
    T_OK(ma_state_export(db, &second));
    ck_assert(ma_span_eq(ma_buf_view(&out), ma_buf_view(&second)));
    ma_buf_free(&out);
    ma_buf_free(&second);
}
END_TEST

START_TEST(export_of_nothing)
{
    struct ma_buf out;
    ma_buf_init(&out, 1 << 20);
    T_OK(ma_state_export(db, &out));
    T_OK(apply_at(ma_buf_view(&out), NOW, false));
    ck_assert_str_eq(reported(), "no changes\n");
    ma_buf_free(&out);
}
END_TEST

/* --- the snapshot --- */
START_TEST(defaults)
{
    struct ma_state *s = load();
    ck_assert(s->api.active && s->api.allow_skipping_user_consent);
    ck_assert(!s->api.enforce_rbac && !s->api.require_2fa && !s->api.require_dpop);
    ck_assert_int_eq(s->api.user_access_policy, MA_ACCESS_REQUIRE_GRANT);
    ck_assert_int_eq(s->api.token_lifetime, 86400);
    ck_assert(ma_span_eq_str(s->tenant.friendly_name, "login.example.com"));
    ck_assert_int_eq(s->tenant.mfa_policy, 0);
    ck_assert_ptr_null(s->tenant.rp_id.p);
    ck_assert_uint_eq(s->factors, ((1u << MA_FACTOR__COUNT) - 1) & ~(1u << MA_FACTOR_PUSH));
    ck_assert_uint_eq(s->n_clients + s->n_connections + s->n_roles + s->origins.n, 0);
    ck_assert_ptr_null(ma_state_client(s, MA_LIT("spa")));
    ck_assert(!ma_state_any_origin(s, MA_LIT("http://localhost:3000")));
    struct ma_state *t = load();
    ck_assert_uint_gt(t->epoch, s->epoch);
    ck_assert_ptr_eq(ma_state_ref(t), t);
    ma_state_unref(t);
    ma_state_unref(t);
    ma_state_unref(s);
    ma_state_unref(NULL);
}
END_TEST

START_TEST(snapshot_of_everything)
{
    apply_ok(full);
    struct ma_state *s = load();
    ck_assert_int_eq(s->api.user_access_policy, MA_ACCESS_ALLOW_ALL);
    ck_assert(s->api.require_2fa && s->api.active);
    ck_assert_int_eq(s->api.token_lifetime, 600);
    ck_assert_int_eq(s->tenant.mfa_policy, 1);
    ck_assert(ma_span_eq_str(s->tenant.rp_id, "example.com"));
    ck_assert_uint_eq(s->factors, ((1u << MA_FACTOR__COUNT) - 1) & ~(1u << MA_FACTOR_TOTP));
    const struct ma_state_client *c = ma_state_client(s, MA_LIT("spa"));
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->app_type, 0);
    ck_assert(c->is_first_party && c->require_dpop && c->has_grant);
    ck_assert_uint_eq(c->grant, MA_SC_READ_FACTORS);
    ck_assert_uint_eq(c->grant_types.n, 2);
    ck_assert_ptr_nonnull(memmem(c->json.p, c->json.n, "\"jwks\"", 6));
    ck_assert_msg(!ma_state_client(s, MA_LIT("third"))->has_grant, "a client-credentials grant is no user grant");
    ck_assert_msg(!ma_state_client(s, MA_LIT("quiet"))->has_grant, "another audience is not ours");
    const struct ma_state_connection *db_conn = ma_state_connection(s, MA_LIT("db"));
    ck_assert(db_conn->database && !db_conn->connected_accounts);
    ck_assert_int_eq(db_conn->password_policy.min_length, 12);
    ck_assert_uint_eq(db_conn->password_policy.character_types, 4 | 8);
    ck_assert(db_conn->password_policy.dictionary_active && db_conn->password_policy.profile_active);
    ck_assert_int_eq(db_conn->password_policy.max_length_exceeded, 1);
    ck_assert_uint_eq(db_conn->password_policy.blocked_fields.n, 2);
    const struct ma_state_connection *acme = ma_state_connection(s, MA_LIT("acme"));
    ck_assert(!acme->database && acme->connected_accounts);
    ck_assert_uint_eq(ma_state_role(s, MA_LIT("member"))->permissions, MA_SC_READ_FACTORS);
    ck_assert_ptr_null(ma_state_role(s, MA_LIT("membe")));
    ma_state_unref(s);
}
END_TEST

START_TEST(grants_add_up_over_audiences)
{
    static const struct ma_span audiences[] = {{(const uint8_t *)"https://a/me/", 13},
                                               {(const uint8_t *)"https://b/me/", 13}};
    apply_ok("{\"clients\":[{\"client_id\":\"c\"}],\"client_grants\":["
             "{\"client_id\":\"c\",\"audience\":\"https://a/me/\",\"scope\":[\"read:me:factors\"]},"
             "{\"client_id\":\"c\",\"audience\":\"https://b/me/\",\"scope\":[\"read:me:consents\"]}]}");
    struct ma_state *s = load_with(audiences, 2);
    ck_assert_uint_eq(ma_state_client(s, MA_LIT("c"))->grant, MA_SC_READ_FACTORS | MA_SC_READ_CONSENTS);
    ma_state_unref(s);
    s = load_with(audiences, 1);
    ck_assert_uint_eq(ma_state_client(s, MA_LIT("c"))->grant, MA_SC_READ_FACTORS);
    ma_state_unref(s);
}
END_TEST

static const struct access_row {
    const char *text;
    enum ma_user_access want;
} access_rows[] = {
    {"require_client_grant", MA_ACCESS_REQUIRE_GRANT},
    {"allow_all", MA_ACCESS_ALLOW_ALL},
    {"deny_all", MA_ACCESS_DENY_ALL},
};

START_TEST(user_access_policy)
{
    char doc[128];
    (void)snprintf(doc, sizeof doc, "{\"api\":{\"user_access_policy\":\"%s\"}}", access_rows[_i].text);
    apply_ok(doc);
    struct ma_state *s = load();
    ck_assert_int_eq(s->api.user_access_policy, access_rows[_i].want);
    ma_state_unref(s);
}
END_TEST

static const struct origin_row {
    const char *origin;
    bool spa, any;
} origin_rows[] = {
    {"http://localhost:3000", true, true},
    {"HTTP://LOCALHOST:3000", true, true},
    {"http://localhost:3001", false, false},
    {"https://localhost:3000", false, false},
    {"http://localhost", false, false},
    {"https://app.example.com", true, true}, /* of a callback, default port dropped */
    {"https://app.example.com:443", true, true},
    {"https://app.example.com:444", false, false},
    {"https://x.preview.example.com", true, true},
    {"https://a.b.preview.example.com", true, true},
    {"https://preview.example.com", false, false},
    {"https://.preview.example.com", false, false},
    {"https://evilpreview.example.com", false, false},
    {"https://x.preview.example.com.evil.example", false, false},
    {"https://x.preview.example.com:8443", false, false},
    {"https://evil.example/.preview.example.com", false, false},
    {"https://evil.example#.preview.example.com", false, false},
    {"https://user@x.preview.example.com", false, false},
    {"https://*.preview.example.com", false, false},
    {"http://x.preview.example.com", false, false},
    {"com.example://cb", false, false},
    {"null", false, false},
    {"", false, false},
    {"https://third.example", false, false},
    {"https://quiet.example", false, false},
};

START_TEST(origins)
{
    const struct origin_row *row = &origin_rows[_i];
    apply_ok(full);
    struct ma_state *s = load();
    struct ma_span o = ma_span_str(row->origin);
    ck_assert_msg(ma_state_client_origin(ma_state_client(s, MA_LIT("spa")), o) == row->spa, "%s", row->origin);
    ck_assert_msg(ma_state_any_origin(s, o) == row->any, "%s", row->origin);
    ck_assert(!ma_state_client_origin(ma_state_client(s, MA_LIT("third")), o));
    ck_assert(!ma_state_client_origin(ma_state_client(s, MA_LIT("quiet")), o));
    ck_assert_uint_eq(s->origins.n, 3);
    ma_state_unref(s);
}
END_TEST

static const struct normal_row {
    const char *url;
    bool bare;
    const char *want; /* NULL: refused */
} normal_rows[] = {
    {"https://Example.COM", true, "https://example.com"},
    {"https://example.com/", true, NULL},
    {"https://example.com/a?b#c", false, "https://example.com"},
    {"http://example.com:80", true, "http://example.com"},
    {"http://example.com:443", true, "http://example.com:443"},
    {"http://[::1]:8080", true, "http://[::1]:8080"},
    {"http://[::1", true, NULL},
    {"capacitor://localhost", true, "capacitor://localhost"},
    {"http://example.com:", true, NULL},
    {"http://example.com:0", true, NULL},
    {"http://example.com:65536", true, NULL},
    {"http://example.com:123456", true, NULL},
    {"http://example.com:8a", true, NULL},
    {"http://user@example.com", true, NULL},
    {"http://exa mple.com", true, NULL},
    {"http://", true, NULL},
    {"://example.com", true, NULL},
    {"1http://example.com", true, NULL},
    {"http://*", true, NULL},
    {"http://a.*.example.com", true, NULL},
    {"http://*.example.com", true, "http://*.example.com"},
    {"mailto:x@example.com", false, NULL},
};

START_TEST(origin_spelling)
{
    const struct normal_row *row = &normal_rows[_i];
    char out[MA_ORIGIN_MAX];
    int rc = ma_origin_of(ma_span_str(row->url), row->bare, out);
    ck_assert_msg((rc == MA_OK) == (row->want != NULL), "%s: %s", row->url, ma_err_name(rc));
    if (row->want)
        ck_assert_str_eq(out, row->want);
}
END_TEST

START_TEST(overlong_origin)
{
    char url[MA_ORIGIN_MAX + 64], out[MA_ORIGIN_MAX];
    memset(url, 'a', sizeof url);
    memcpy(url, "https://", 8);
    T_IS(MA_E_INVAL, ma_origin_of(ma_span_of(url, sizeof url), true, out));
    T_OK(ma_origin_of(ma_span_of(url, MA_ORIGIN_MAX - 1), true, out));
}
END_TEST

/* --- size --- */
static void many_users(struct ma_buf *doc, int n)
{
    ma_buf_init(doc, (size_t)64 << 20);
    ma_buf_str(doc, "{" DB_CONNECTION ",\"roles\":[{\"name\":\"r\"}],\"users\":[");
    for (int i = 0; i < n; i++)
        ma_buf_printf(doc,
                      "%s{\"user_id\":\"auth0|%d\",\"email\":\"u%d@example.com\",\"email_verified\":true,"
                      "\"name\":\"User %d\",\"connection\":\"db\",\"roles\":[\"r\"],\"password_hash\":"
                      "\"$2b$04$bBYkPXoKbGnTbBLVoIqeTOoX7uSJWr0xwCmSlZ7mXbEXLRTl4IHYy\"}",
                      i ? "," : "", i, i, i);
    ma_buf_str(doc, "]}");
}

START_TEST(two_thousand_users)
{
    struct ma_buf doc, out;
    struct ma_user u;
    many_users(&doc, 2000);
    T_OK(apply_at(ma_buf_view(&doc), NOW, false));
    user_ok(&u, MA_LIT("auth0|1999"));
    ck_assert(ma_span_eq_str(u.email, "u1999@example.com"));
    T_OK(apply_at(ma_buf_view(&doc), NOW, false));
    ck_assert_str_eq(reported(), "no changes\n");
    ma_buf_init(&out, 4 << 20);
    T_OK(ma_state_export(db, &out));
    T_OK(apply_at(ma_buf_view(&out), NOW, false));
    ck_assert_str_eq(reported(), "no changes\n");
    ma_buf_free(&out);
    ma_buf_free(&doc);
}
END_TEST

START_TEST(demo_state_is_valid)
{
    static char text[65536];
    FILE *f = fopen("conf/demo.json", "rb");
    ck_assert_msg(f != NULL, "unit tests run from the top of the repository");
    size_t n = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    int rc = apply_at(ma_span_of(text, n), NOW, false);
    ck_assert_msg(rc == MA_OK, "%s: %s", errs.n ? errs.v[0].pointer : "", errs.n ? errs.v[0].detail : "");
    T_OK(apply_at(ma_span_of(text, n), NOW, false));
    ck_assert_str_eq(reported(), "no changes\n");
}
END_TEST

START_TEST(index_of_keys)
{
    static struct ma_span keys[3000];
    struct ma_index ix;
    T_OK(ma_index_init(&ix, arena, keys, sizeof keys[0], MA_COUNT(keys)));
    for (size_t i = 0; i < MA_COUNT(keys); i++) {
        keys[i] = ma_span_str(ma_arena_printf(arena, "key-%zu", i));
        ck_assert(ma_index_add(&ix, i));
        ck_assert(!ma_index_add(&ix, i));
    }
    for (size_t i = 0; i < MA_COUNT(keys); i++)
        ck_assert_uint_eq(ma_index_find(&ix, keys[i]), i);
    ck_assert_uint_eq(ma_index_find(&ix, MA_LIT("key-3000")), SIZE_MAX);
    ck_assert_uint_eq(ma_index_find(&ix, MA_LIT("")), SIZE_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_test(t, all_errors_are_collected);
    tcase_add_test(t, many_errors_still_refuse);
    tcase_add_test(t, user_id_bounds);
    tcase_add_test(t, apply_twice_changes_nothing);
    tcase_add_test(t, lists_are_merged_by_key);
    tcase_add_test(t, strategy_is_final);
    tcase_add_test(t, users_are_updated_member_by_member);
    tcase_add_test(t, passwords);
    tcase_add_test(t, dry_run_writes_nothing);
    tcase_add_test(t, secrets_are_sealed);
    tcase_add_test(t, export_round_trip);
    tcase_add_test(t, export_of_nothing);
    tcase_add_test(t, defaults);
    tcase_add_test(t, snapshot_of_everything);
    tcase_add_test(t, grants_add_up_over_audiences);
    tcase_add_loop_test(t, user_access_policy, 0, (int)MA_COUNT(access_rows));
    tcase_add_loop_test(t, origins, 0, (int)MA_COUNT(origin_rows));
    tcase_add_loop_test(t, origin_spelling, 0, (int)MA_COUNT(normal_rows));
    tcase_add_test(t, overlong_origin);
    tcase_add_test(t, two_thousand_users);
    tcase_add_test(t, demo_state_is_valid);
    tcase_add_test(t, index_of_keys);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

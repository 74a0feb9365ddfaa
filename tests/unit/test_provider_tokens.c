/* SPDX-License-Identifier: Apache-2.0
 * Providers with tokens: what is sent to the token, userinfo and revocation endpoints, byte by byte,
 * and what is made of their answers.
 */
#include "jose_util.h"
#include "provider_util.h"

#include <sys/stat.h>

static const struct ma_preset OIDC = {.name = "oidc",
                                      .oidc = true,
                                      .scopes = "openid",
                                      .scope_param = "scope",
                                      .scope_separator = ' ',
                                      .user_id_field = "sub",
                                      .auth = MA_AUTH_POST,
                                      .pkce = true};
static const struct ma_preset OAUTH = {.name = "oauth2",
                                       .scopes = "",
                                       .scope_param = "scope",
                                       .scope_separator = ' ',
                                       .user_id_field = "id",
                                       .auth = MA_AUTH_POST,
                                       .pkce = true};
static const struct ma_preset MEMBER = {.name = "member",
                                        .scopes = "",
                                        .scope_param = "user_scope",
                                        .scope_separator = ',',
                                        .token_member = "authed_user",
                                        .user_id_field = "id",
                                        .auth = MA_AUTH_BASIC,
                                        .pkce = false};

/* Keys are made once in main, before any test forks. */
static struct t_key KEY;
static char *RING;
static struct ma_provider_tokens T;
static struct ma_identity I;

/* A connection of the row with everything at the server, and its secret. */
static void use(const struct ma_preset *row, const char *secret)
{
    p_connect(row, "");
    p_endpoints();
    P_OK(p_resolve(secret));
}

static int redeem(void)
{
    return ma_provider_redeem(&P.env, &P.p, MA_LIT("co/de+1"), "https://id.example/cb?x=1", "veri-fier", &T, &P.fault);
}

static int refresh(void)
{
    return ma_provider_refresh(&P.env, &P.p, MA_LIT("re fresh&1"), &T, &P.fault);
}

/* --- requests --- */

#define REDEEM "grant_type=authorization_code&code=co%2Fde%2B1&redirect_uri=https%3A%2F%2Fid.example%2Fcb%3Fx%3D1"
#define PLAIN_TOKEN "{\"access_token\":\"at\",\"token_type\":\"Bearer\"}"

static const struct {
    const char *name;
    enum ma_client_auth auth;
    bool pkce;
    const char *id, *secret;
    const char *authorization; /* "(none)" */
    const char *body;
} AUTHS[] = {
    {"basic", MA_AUTH_BASIC, true, "cid", "s3cret", "Basic Y2lkOnMzY3JldA==", REDEEM "&code_verifier=veri-fier"},
    /* base64("c%3Ai%20d%2B:s%3A%25%20%C3%A4~"), RFC 6749 §2.3.1 */
    {"basic, encoded", MA_AUTH_BASIC, false, "c:i d+", "s:% \xc3\xa4~",
     "Basic YyUzQWklMjBkJTJCOnMlM0ElMjUlMjAlQzMlQTR+", REDEEM},
    {"basic without secret", MA_AUTH_BASIC, true, "cid", "", "(none)", REDEEM "&code_verifier=veri-fier&client_id=cid"},
    {"post", MA_AUTH_POST, true, "c&id", "s=&+ %", "(none)",
     REDEEM "&code_verifier=veri-fier&client_id=c%26id&client_secret=s%3D%26%2B%20%25"},
    {"post without PKCE", MA_AUTH_POST, false, "cid", "s", "(none)", REDEEM "&client_id=cid&client_secret=s"},
    {"post without secret", MA_AUTH_POST, true, "cid", NULL, "(none)", REDEEM "&code_verifier=veri-fier&client_id=cid"},
    {"none", MA_AUTH_NONE, true, "cid", NULL, "(none)", REDEEM "&code_verifier=veri-fier&client_id=cid"},
    {"none with a secret", MA_AUTH_NONE, true, "cid", "s", "(none)", REDEEM "&code_verifier=veri-fier&client_id=cid"},
};

START_TEST(client_authentication)
{
    use(&OAUTH, AUTHS[_i].secret);
    P.conn.provider.auth = AUTHS[_i].auth;
    P.conn.provider.pkce = AUTHS[_i].pkce;
    P.conn.provider.client_id = ma_span_str(AUTHS[_i].id);
    p_web(0, "/token", P_JSON, PLAIN_TOKEN);
    P_OK(redeem());
    ck_assert_int_eq(strncmp(P.web.last, "POST /token HTTP/1.1\r\n", 22), 0);
    ck_assert_str_eq(p_sent_header("Authorization"), AUTHS[_i].authorization);
    ck_assert_str_eq(p_sent_header("Content-Type"), "application/x-www-form-urlencoded");
    ck_assert_str_eq(p_sent_header("Accept"), "application/json");
    ck_assert_msg(strcmp(p_sent_body(), AUTHS[_i].body) == 0, "%s: %s", AUTHS[_i].name, p_sent_body());
}
END_TEST

START_TEST(no_secret_and_no_pkce)
{
    static const enum ma_client_auth how[] = {MA_AUTH_BASIC, MA_AUTH_POST};
    p_web(0, "/token", P_JSON, PLAIN_TOKEN);
    for (size_t i = 0; i < MA_COUNT(how); i++) {
        use(&OAUTH, "");
        P.conn.provider.auth = how[i];
        P.conn.provider.pkce = false;
        ck_assert_int_eq(redeem(), MA_E_INVAL);
        ck_assert_str_ne(P.fault.why, "");
    }
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
}
END_TEST

START_TEST(refresh_request)
{
    use(&OAUTH, "s");
    p_web(0, "/token", P_JSON, PLAIN_TOKEN);
    P_OK(refresh());
    ck_assert_str_eq(p_sent_body(),
                     "grant_type=refresh_token&refresh_token=re%20fresh%261&client_id=cid&client_secret=s");
    ck_assert_str_eq(p_text(T.access_token), "at");
}
END_TEST

START_TEST(revocation)
{
    static const struct {
        const char *head, *body;
        int want;
        const char *error;
    } rows[] = {
        {P_STATUS("200 OK"), "", MA_OK, ""},
        {P_STATUS("204 No Content"), "", MA_OK, ""},
        {P_JSON, "{\"error\":\"whatever\"}", MA_OK, ""},
        {P_STATUS("400 No"), "{\"error\":\"unsupported_token_type\"}", MA_E_AUTH, "unsupported_token_type"},
        {P_STATUS("503 No"), "", MA_E_UPSTREAM, ""},
        {P_STATUS("302 Found\r\nLocation: /other"), "", MA_E_UPSTREAM, ""},
    };
    use(&OAUTH, "s");
    P.conn.provider.auth = MA_AUTH_BASIC;
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        p_web(0, "/revoke", rows[i].head, rows[i].body);
        int r = ma_provider_revoke(&P.env, &P.p, MA_LIT("to+ken"), "refresh_token", &P.fault);
        ck_assert_msg(r == rows[i].want, "%zu: %s", i, ma_err_name(r));
        ck_assert_str_eq(P.fault.error, rows[i].error);
        ck_assert_str_eq(p_sent_body(), "token=to%2Bken&token_type_hint=refresh_token");
        ck_assert_str_eq(p_sent_header("Authorization"), "Basic Y2lkOnM=");
    }
    P.p.revocation_endpoint = NULL;
    ck_assert_int_eq(ma_provider_revoke(&P.env, &P.p, MA_LIT("t"), "access_token", &P.fault), MA_E_UNSUPPORTED);
}
END_TEST

/* --- answers --- */

static const struct {
    const char *name;
    const struct ma_preset *row;
    const char *body;
    const char *access, *refresh, *id, *scopes; /* scopes NULL: the answer does not say */
    int64_t lives, refresh_lives;
    const char *user;
} GOOD[] = {
    {"least", &OAUTH, "{\"access_token\":\"at\"}", "at", "(none)", "(none)", NULL, -1, -1, "(none)"},
    {"all of it", &OAUTH,
     "{\"access_token\":\"at\",\"token_type\":\"bearer\",\"refresh_token\":\"rt\",\"id_token\":\"a.b.c\","
     "\"expires_in\":3600,\"refresh_token_expires_in\":7200,\"scope\":\"b a\",\"id\":\"u\"}",
     "at", "rt", "a.b.c", "a b", 3600, 7200, "(none)"},
    {"nulls and empty texts", &OAUTH,
     "{\"access_token\":\"at\",\"token_type\":null,\"refresh_token\":null,\"id_token\":\"\",\"expires_in\":null,"
     "\"scope\":null,\"error\":null}",
     "at", "(none)", "(none)", NULL, -1, -1, "(none)"},
    {"type in capitals", &OAUTH, "{\"access_token\":\"at\",\"token_type\":\"BEARER\"}", "at", "(none)", "(none)", NULL,
     -1, -1, "(none)"},
    {"numbers as text", &OAUTH,
     "{\"access_token\":\"at\",\"expires_in\":\"3599\",\"refresh_expires_in\":\"10\",\"scope\":\"\"}", "at", "(none)",
     "(none)", "", 3599, 10, "(none)"},
    {"refresh token that stays", &OAUTH, "{\"access_token\":\"at\",\"expires_in\":0,\"refresh_expires_in\":0}", "at",
     "(none)", "(none)", NULL, 0, -1, "(none)"},
    {"zero, then a number", &OAUTH,
     "{\"access_token\":\"at\",\"refresh_token_expires_in\":0,\"x_refresh_token_expires_in\":8726400}", "at", "(none)",
     "(none)", NULL, -1, 8726400, "(none)"},
    {"no lifetimes", &OAUTH, "{\"access_token\":\"at\",\"expires_in\":-1,\"refresh_expires_in\":\"soon\"}", "at",
     "(none)", "(none)", NULL, 3600, -1, "(none)"},
    {"lifetime null", &OAUTH, "{\"access_token\":\"at\",\"expires_in\":null}", "at", "(none)", "(none)", NULL, -1, -1,
     "(none)"},
    {"lifetime empty", &OAUTH, "{\"access_token\":\"at\",\"expires_in\":\"\"}", "at", "(none)", "(none)", NULL, 3600,
     -1, "(none)"},
    {"lifetime below the member", &MEMBER, "{\"authed_user\":{\"id\":\"U1\",\"access_token\":\"x\",\"expires_in\":[]}}",
     "x", "(none)", "(none)", NULL, 3600, -1, "U1"},
    {"lifetimes of other types", &OAUTH,
     "{\"access_token\":\"at\",\"expires_in\":3600.5,\"refresh_expires_in\":{\"a\":1}}", "at", "(none)", "(none)", NULL,
     3600, -1, "(none)"},
    {"lifetimes beyond reason", &OAUTH,
     "{\"access_token\":\"at\",\"expires_in\":9223372036854775807,\"refresh_expires_in\":\"99999999999999999999999\"}",
     "at", "(none)", "(none)", NULL, INT64_C(3153600000), INT64_C(3153600000), "(none)"},
    {"scopes by commas", &OAUTH, "{\"access_token\":\"at\",\"scope\":\"repo,read:user, ,repo\"}", "at", "(none)",
     "(none)", "read:user repo", -1, -1, "(none)"},
    {"scopes as a list", &OAUTH, "{\"access_token\":\"at\",\"scope\":[\"b\",\"a c\",\"b\"]}", "at", "(none)", "(none)",
     "a b c", -1, -1, "(none)"},
    {"scopes that are none", &OAUTH, "{\"access_token\":\"at\",\"scope\":\"ok \\u0007x \\u00e4 a\\\"b\"}", "at",
     "(none)", "(none)", "ok", -1, -1, "(none)"},
    {"error of another type", &OAUTH, "{\"access_token\":\"at\",\"error\":0,\"ok\":1}", "at", "(none)", "(none)", NULL,
     -1, -1, "(none)"},
    {"ok true", &OAUTH, "{\"ok\":true,\"error\":\"\",\"access_token\":\"at\"}", "at", "(none)", "(none)", NULL, -1, -1,
     "(none)"},
    {"member", &MEMBER,
     "{\"ok\":true,\"access_token\":\"xoxb\",\"token_type\":\"bot\",\"scope\":\"bots\",\"expires_in\":1,"
     "\"authed_user\":{\"id\":\"U1\",\"scope\":\"b,a\",\"access_token\":\"xoxp\",\"token_type\":\"user\","
     "\"refresh_token\":\"xoxe\",\"expires_in\":43200}}",
     "xoxp", "xoxe", "(none)", "a b", 43200, -1, "U1"},
    {"member without a token", &MEMBER,
     "{\"ok\":true,\"access_token\":\"xoxp\",\"token_type\":\"user\",\"expires_in\":5,\"authed_user\":{\"id\":17}}",
     "xoxp", "(none)", "(none)", NULL, 5, -1, "17"},
    {"member is not there", &MEMBER, "{\"ok\":true,\"access_token\":\"xoxp\",\"token_type\":\"user\"}", "xoxp",
     "(none)", "(none)", NULL, -1, -1, "(none)"},
    {"member of another type", &MEMBER, "{\"access_token\":\"at\",\"authed_user\":\"U1\"}", "at", "(none)", "(none)",
     NULL, -1, -1, "(none)"},
};

START_TEST(good_answers)
{
    use(GOOD[_i].row, "s");
    p_web(0, "/token", P_JSON, GOOD[_i].body);
    int r = redeem();
    ck_assert_msg(r == MA_OK, "%s: %s %s", GOOD[_i].name, ma_err_name(r), P.fault.why);
    ck_assert_str_eq(p_text(T.access_token), GOOD[_i].access);
    ck_assert_str_eq(p_text(T.refresh_token), GOOD[_i].refresh);
    ck_assert_str_eq(p_text(T.id_token), GOOD[_i].id);
    ck_assert_int_eq(T.has_scopes, GOOD[_i].scopes != NULL);
    ck_assert_msg(strcmp(p_join(&T.scopes), GOOD[_i].scopes ? GOOD[_i].scopes : "") == 0, "%s", GOOD[_i].name);
    ck_assert_int_eq(T.expires_in_s, GOOD[_i].lives);
    ck_assert_int_eq(T.refresh_expires_in_s, GOOD[_i].refresh_lives);
    ck_assert_str_eq(p_text(T.user_id), GOOD[_i].user);
}
END_TEST

#define SECRETIVE "sEcReT"
static const struct {
    const char *name, *head, *body;
    int want;
    const char *error;
} BAD[] = {
    {"invalid_grant", P_STATUS("400 No"), "{\"error\":\"invalid_grant\",\"error_description\":\"" SECRETIVE "\"}",
     MA_E_AUTH, "invalid_grant"},
    {"error with 200", P_JSON, "{\"error\":\"bad_verification_code\",\"error_description\":\"" SECRETIVE "\"}",
     MA_E_AUTH, "bad_verification_code"},
    {"error with 200 and a token", P_JSON, "{\"access_token\":\"at\",\"error\":\"invalid_grant\"}", MA_E_AUTH,
     "invalid_grant"},
    {"ok false", P_JSON, "{\"ok\":false,\"error\":\"invalid_code\"}", MA_E_AUTH, "invalid_code"},
    {"ok false alone", P_JSON, "{\"ok\":false,\"access_token\":\"at\"}", MA_E_AUTH, ""},
    {"error with 500", P_STATUS("500 No"), "{\"error\":\"invalid_grant\"}", MA_E_AUTH, "invalid_grant"},
    {"error with 404", P_STATUS("404 No"), "{\"error\":\"invalid_client\"}", MA_E_AUTH, "invalid_client"},
    {"error to be cleaned", P_JSON, "{\"error\":\"<b>a.b-c_D9</b>\\r\\n%\\u00e4\"}", MA_E_AUTH, "ba.b-c_D9b"},
    {"error cleaned away", P_JSON, "{\"error\":\"<>\"}", MA_E_AUTH, ""},
    {"error too long", P_JSON,
     "{\"error\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", MA_E_AUTH,
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"error an object", P_STATUS("400 No"), "{\"error\":{\"message\":\"" SECRETIVE "\"}}", MA_E_AUTH, ""},
    {"error an object, 500", P_STATUS("500 No"), "{\"error\":{\"message\":\"" SECRETIVE "\"}}", MA_E_UPSTREAM, ""},
    {"400", P_STATUS("400 No"), "", MA_E_AUTH, ""},
    {"401", P_STATUS("401 No"), "<html>" SECRETIVE, MA_E_AUTH, ""},
    {"403", P_STATUS("403 No"), "[]", MA_E_AUTH, ""},
    {"404", P_STATUS("404 No"), "", MA_E_UPSTREAM, ""},
    {"408", P_STATUS("408 No"), "", MA_E_UPSTREAM, ""},
    {"429", P_STATUS("429 No"), "{}", MA_E_UPSTREAM, ""},
    {"500", P_STATUS("500 No"), "", MA_E_UPSTREAM, ""},
    {"503", P_STATUS("503 No"), "{\"access_token\":\"at\"}", MA_E_UPSTREAM, ""},
    {"redirect", P_STATUS("302 Found\r\nLocation: /other"), "{\"access_token\":\"at\"}", MA_E_UPSTREAM, ""},
    {"redirect with the request", P_STATUS("307 Again\r\nLocation: /other"), "", MA_E_UPSTREAM, ""},
    {"204", P_STATUS("204 No Content"), "", MA_E_UPSTREAM, ""},
    {"nothing", P_JSON, "", MA_E_UPSTREAM, ""},
    {"form text", P_STATUS("200 OK"), "access_token=" SECRETIVE "&token_type=bearer", MA_E_UPSTREAM, ""},
    {"HTML", P_STATUS("200 OK"), "<html>" SECRETIVE "</html>", MA_E_UPSTREAM, ""},
    {"array", P_JSON, "[{\"access_token\":\"" SECRETIVE "\"}]", MA_E_UPSTREAM, ""},
    {"text", P_JSON, "\"" SECRETIVE "\"", MA_E_UPSTREAM, ""},
    {"cut", P_JSON, "{\"access_token\":\"" SECRETIVE "\"", MA_E_UPSTREAM, ""},
    {"twice", P_JSON, "{\"access_token\":\"" SECRETIVE "\",\"access_token\":\"x\"}", MA_E_UPSTREAM, ""},
    {"too deep", P_JSON, "{\"a\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]],\"access_token\":\"at\"}", MA_E_UPSTREAM, ""},
    {"shorter than it says", P_STATUS("200 OK\r\nContent-Length: 999"), PLAIN_TOKEN, MA_E_UPSTREAM, ""},
    {"no token", P_JSON, "{\"token_type\":\"bearer\"}", MA_E_UPSTREAM, ""},
    {"empty token", P_JSON, "{\"access_token\":\"\"}", MA_E_UPSTREAM, ""},
    {"token a number", P_JSON, "{\"access_token\":17}", MA_E_UPSTREAM, ""},
    {"refresh token an object", P_JSON, "{\"access_token\":\"" SECRETIVE "\",\"refresh_token\":{}}", MA_E_UPSTREAM, ""},
    {"token with a line end", P_JSON, "{\"access_token\":\"" SECRETIVE "\\r\\nX: y\"}", MA_E_UPSTREAM, ""},
    {"token with DEL", P_JSON, "{\"access_token\":\"" SECRETIVE "\\u007f\"}", MA_E_UPSTREAM, ""},
    {"refresh token with a tab", P_JSON, "{\"access_token\":\"at\",\"refresh_token\":\"" SECRETIVE "\\t\"}",
     MA_E_UPSTREAM, ""},
    {"token of another type", P_JSON, "{\"access_token\":\"at\",\"token_type\":\"DPoP\"}", MA_E_UPSTREAM, ""},
    {"type of another row", P_JSON, "{\"access_token\":\"at\",\"token_type\":\"user\"}", MA_E_UPSTREAM, ""},
    {"type a number", P_JSON, "{\"access_token\":\"at\",\"token_type\":1}", MA_E_UPSTREAM, ""},
    {"scope a number", P_JSON, "{\"access_token\":\"at\",\"scope\":1}", MA_E_UPSTREAM, ""},
};

START_TEST(bad_answers)
{
    use(&OAUTH, SECRETIVE);
    p_web(0, "/token", BAD[_i].head, BAD[_i].body);
    p_web(1, "/other", P_JSON, PLAIN_TOKEN);
    for (int i = 0; i < 2; i++) {
        int r = i ? refresh() : redeem();
        ck_assert_msg(r == BAD[_i].want, "%s: %s %s", BAD[_i].name, ma_err_name(r), P.fault.why);
        ck_assert_str_eq(P.fault.error, BAD[_i].error);
        ck_assert_str_ne(P.fault.why, "");
        ck_assert_msg(!strstr(P.fault.why, SECRETIVE), "%s: %s", BAD[_i].name, P.fault.why);
    }
    ck_assert_int_eq(ts_hits(&P.web, 1), 0);
}
END_TEST

START_TEST(sizes)
{
    static const char *const members[] = {"access_token", "refresh_token", "id_token"};
    char *text = ma_arena_zalloc(P.a, MA_PROVIDER_ANSWER_MAX + 1);
    use(&OAUTH, "s");
    for (size_t i = 0; i < MA_COUNT(members); i++) {
        for (size_t n = MA_PROVIDER_TOKEN_MAX; n <= MA_PROVIDER_TOKEN_MAX + 1; n++) {
            memset(text, 'x', n);
            text[n] = 0;
            const char *body =
                ma_arena_printf(P.a, "{\"%s\":\"%s\"%s}", members[i], text, i ? ",\"access_token\":\"at\"" : "");
            p_web(0, "/token", P_JSON, body);
            ck_assert_int_eq(redeem(), n > MA_PROVIDER_TOKEN_MAX ? MA_E_RANGE : MA_OK);
        }
    }
    memset(text, ' ', MA_PROVIDER_ANSWER_MAX);
    text[MA_PROVIDER_ANSWER_MAX] = 0;
    p_web(0, "/token", P_JSON, ma_arena_printf(P.a, "%s" PLAIN_TOKEN, text));
    ck_assert_int_eq(redeem(), MA_E_RANGE);
}
END_TEST

/* The largest token that is taken can be sent back, though every byte of it becomes three. */
START_TEST(large_refresh_token)
{
    char *text = ma_arena_alloc(P.a, MA_PROVIDER_TOKEN_MAX);
    memset(text, '+', MA_PROVIDER_TOKEN_MAX);
    use(&OAUTH, "s");
    p_web(0, "/token", P_JSON, PLAIN_TOKEN);
    P_OK(ma_provider_refresh(&P.env, &P.p, ma_span_of(text, MA_PROVIDER_TOKEN_MAX), &T, &P.fault));
    ck_assert_uint_eq(strlen(p_sent_body()),
                      strlen("grant_type=refresh_token&refresh_token=&client_id=cid&client_secret=s") +
                          3 * MA_PROVIDER_TOKEN_MAX);
}
END_TEST

START_TEST(many_scopes)
{
    struct ma_buf b;
    use(&OAUTH, "s");
    ma_buf_init_arena(&b, P.a, 4096, 65536);
    ma_buf_str(&b, "{\"access_token\":\"at\",\"scope\":\"");
    for (int i = 0; i < 2 * MA_PROVIDER_SCOPES_MAX + 10; i++)
        ma_buf_printf(&b, "s%d s%d,", i / 2, i / 2);
    ma_buf_str(&b, "\"}");
    ma_buf_byte(&b, 0);
    p_web(0, "/token", P_JSON, (const char *)b.p);
    P_OK(redeem());
    ck_assert_uint_eq(T.scopes.n, MA_PROVIDER_SCOPES_MAX);
    for (size_t i = 1; i < T.scopes.n; i++)
        ck_assert_int_lt(strcmp(p_text(T.scopes.v[i - 1]), p_text(T.scopes.v[i])), 0);
}
END_TEST

START_TEST(unreachable)
{
    use(&OAUTH, SECRETIVE);
    P.p.token_endpoint = "https://127.0.0.1:1/token";
    ck_assert_int_eq(redeem(), MA_E_UPSTREAM);
    ck_assert_ptr_nonnull(strstr(P.fault.why, "token endpoint: "));
    P.p.token_endpoint = "ftp://127.0.0.1/token";
    ck_assert_int_eq(refresh(), MA_E_UPSTREAM);
    ck_assert_ptr_null(strstr(P.fault.why, SECRETIVE));
}
END_TEST

/* --- userinfo --- */

static void got_token(void)
{
    T = (struct ma_provider_tokens){.access_token = MA_LIT("at-1"), .expires_in_s = -1, .refresh_expires_in_s = -1};
}

static int identify(const char *nonce, int64_t max_age_s)
{
    return ma_provider_identify(&P.env, &P.p, &T, nonce, max_age_s, &I, &P.fault);
}

static const struct {
    const char *name, *field, *head, *body; /* field NULL: the preset's */
    int want;
    const char *subject, *email, *full_name;
} USERINFO[] = {
    {"text", NULL, P_JSON, "{\"id\":\"u-1\",\"email\":\"a@x.example\",\"name\":\"A \\u00e4\"}", MA_OK, "u-1",
     "a@x.example", "A \xc3\xa4"},
    {"number", NULL, P_JSON, "{\"id\":583231,\"email\":null,\"name\":7}", MA_OK, "583231", "(none)", "(none)"},
    {"large number", NULL, P_JSON, "{\"id\":9223372036854775807}", MA_OK, "9223372036854775807", "(none)", "(none)"},
    {"negative number", NULL, P_JSON, "{\"id\":-3}", MA_OK, "-3", "(none)", "(none)"},
    {"another field", "sub", P_JSON, "{\"id\":1,\"sub\":\"s\"}", MA_OK, "s", "(none)", "(none)"},
    {"nested", "data.user.id", P_JSON, "{\"data\":{\"user\":{\"id\":\"n\"}},\"id\":1}", MA_OK, "n", "(none)", "(none)"},
    {"in a list", "data.0.id", P_JSON, "{\"data\":[{\"id\":\"first\"},{\"id\":\"second\"}]}", MA_OK, "first", "(none)",
     "(none)"},
    {"odd mail and name", NULL, P_JSON, "{\"id\":1,\"email\":\"a\\n@x\",\"name\":\"\"}", MA_OK, "1", "(none)",
     "(none)"},
    {"real", NULL, P_JSON, "{\"id\":1.0}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"boolean", NULL, P_JSON, "{\"id\":true}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"null", NULL, P_JSON, "{\"id\":null}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"object", NULL, P_JSON, "{\"id\":{}}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"empty", NULL, P_JSON, "{\"id\":\"\"}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"line end", NULL, P_JSON, "{\"id\":\"a\\nb\"}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"control of C1", NULL, P_JSON, "{\"id\":\"a\\u0085\"}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"missing", NULL, P_JSON, "{\"sub\":\"x\"}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"path too long", "id.x", P_JSON, "{\"id\":\"x\"}", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"list at the top", "0.id", P_JSON, "[{\"id\":\"x\"}]", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"garbage", NULL, P_JSON, "id=1", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"signed answer", NULL, P_STATUS("200 OK\r\nContent-Type: application/jwt"), "e30.e30.", MA_E_UPSTREAM, NULL, NULL,
     NULL},
    {"401", NULL, P_STATUS("401 No"), "{\"message\":\"Bad credentials\",\"id\":1}", MA_E_AUTH, NULL, NULL, NULL},
    {"503", NULL, P_STATUS("503 No"), "", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"redirect", NULL, P_STATUS("302 Found\r\nLocation: /other"), "", MA_E_UPSTREAM, NULL, NULL, NULL},
    {"200 with an error", NULL, P_JSON, "{\"ok\":false,\"error\":\"missing_scope\",\"id\":1}", MA_E_AUTH, NULL, NULL,
     NULL},
};

/* Of what is too much to keep, what names the user is kept. */
START_TEST(large_userinfo)
{
    static char pad[MA_PROVIDER_CLAIMS_MAX];
    use(&OAUTH, "s");
    got_token();
    P.conn.provider.user_id_field = MA_LIT("id");
    memset(pad, 'x', sizeof pad - 1);
    p_web(0, "/userinfo", P_JSON,
          ma_arena_printf(P.a, "{\"id\":7,\"email\":\"e@x.example\",\"name\":\"N\",\"pad\":\"%s\"}", pad));
    P_OK(identify(NULL, -1));
    ck_assert_str_eq(p_text(I.claims), "{\"id\":\"7\",\"email\":\"e@x.example\",\"name\":\"N\"}");
}
END_TEST

START_TEST(userinfo)
{
    use(&OAUTH, "s");
    got_token();
    P.conn.provider.user_id_field = ma_span_str(USERINFO[_i].field);
    p_web(0, "/userinfo", USERINFO[_i].head, USERINFO[_i].body);
    p_web(1, "/other", P_JSON, "{\"id\":\"x\"}");
    int r = identify(NULL, -1);
    ck_assert_msg(r == USERINFO[_i].want, "%s: %s %s", USERINFO[_i].name, ma_err_name(r), P.fault.why);
    ck_assert_int_eq(strncmp(P.web.last, "GET /userinfo HTTP/1.1\r\n", 24), 0);
    ck_assert_str_eq(p_sent_header("Authorization"), "Bearer at-1");
    ck_assert_str_eq(p_sent_header("Accept"), "application/json");
    ck_assert_int_eq(ts_hits(&P.web, 1), 0);
    if (r != MA_OK)
        return;
    ck_assert_str_eq(p_text(I.subject), USERINFO[_i].subject);
    ck_assert_str_eq(p_text(I.email), USERINFO[_i].email);
    ck_assert_str_eq(p_text(I.name), USERINFO[_i].full_name);
    ck_assert_str_eq(p_text(I.claims), USERINFO[_i].body);
}
END_TEST

START_TEST(subject_sizes)
{
    char id[MA_SUBJECT_MAX + 2];
    use(&OAUTH, "s");
    got_token();
    for (size_t n = MA_SUBJECT_MAX; n <= MA_SUBJECT_MAX + 1; n++) {
        memset(id, 'u', n);
        id[n] = 0;
        p_web(0, "/userinfo", P_JSON, ma_arena_printf(P.a, "{\"id\":\"%s\"}", id));
        ck_assert_int_eq(identify(NULL, -1), n > MA_SUBJECT_MAX ? MA_E_UPSTREAM : MA_OK);
    }
}
END_TEST

/* What an oauth2 row says in an id_token nobody verifies, so nobody believes it either. */
START_TEST(oauth2_ignores_id_tokens)
{
    use(&OAUTH, "s");
    got_token();
    T.id_token = MA_LIT("e30.e30.");
    p_web(0, "/userinfo", P_JSON, "{\"id\":\"u\"}");
    P_OK(identify("n", -1));
    ck_assert_str_eq(p_text(I.subject), "u");
}
END_TEST

START_TEST(beside_the_token)
{
    use(&MEMBER, "s");
    p_web(0, "/token", P_JSON,
          "{\"ok\":true,\"authed_user\":{\"id\":\"U\\\"1\",\"access_token\":\"" SECRETIVE
          "\",\"token_type\":\"user\"}}");
    p_web(1, "/userinfo", P_JSON, "{\"id\":\"x\"}");
    P_OK(redeem());
    P_OK(identify(NULL, -1));
    ck_assert_str_eq(p_text(I.subject), "U\"1");
    ck_assert_str_eq(p_text(I.claims), "{\"id\":\"U\\\"1\"}");
    ck_assert_int_eq(ts_hits(&P.web, 1), 0);
    /* Not there: userinfo, as for anybody. */
    T.user_id = MA_SPAN_NULL;
    P_OK(identify(NULL, -1));
    ck_assert_str_eq(p_text(I.subject), "x");
    P.p.userinfo_endpoint = NULL;
    ck_assert_int_eq(identify(NULL, -1), MA_E_INVAL);
}
END_TEST

/* --- with keys --- */

static struct {
    char dir[64], keys[96];
    struct ma_conf conf;
    char why[256];
} J;

static void keys_set_up(void)
{
    char path[128];
    p_set_up();
    t_dir(J.dir);
    (void)snprintf(J.keys, sizeof(J.keys), "%s/keys", J.dir);
    J.conf = (struct ma_conf){.base_url = "https://id.example", .key_directory = J.keys, .token_service = true};
    ck_assert_int_eq(mkdir(J.keys, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/signing.keys", J.keys);
    t_write(path, RING);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_msg(ma_jose_open(&J.conf, &P.clock.clock, ma_rand_system(), NULL, &P.env.jose, J.why) == MA_OK, "%s",
                  J.why);
    p_web(7, "/jwks", P_JSON, ma_arena_printf(P.a, "{\"keys\":[%s]}", t_jwk(P.a, &KEY, "k1", "")));
}

static void keys_tear_down(void)
{
    ma_jose_close(P.env.jose);
    t_remove_dir(J.dir);
    p_tear_down();
}

/* The value of one field of form text, decoded. */
static struct ma_span field(const char *form, const char *name)
{
    struct ma_span rest = ma_span_str(form), n, v;
    while (ma_form_next(P.a, &rest, &n, &v) == MA_OK) {
        if (ma_span_eq_str(n, name))
            return v;
    }
    return MA_SPAN_NULL;
}

START_TEST(private_key_jwt)
{
    static const char start[] = REDEEM "&code_verifier=veri-fier&client_id=cid&client_assertion_type="
                                       "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
                                       "&client_assertion=";
    struct ma_jws jws;
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_span v;
    p_web(0, "/token", P_JSON, PLAIN_TOKEN);
    p_web(1, "/revoke", P_JSON, "");
    use(&OAUTH, SECRETIVE);
    P.conn.provider.auth = MA_AUTH_PRIVATE_KEY_JWT;
    P_OK(redeem());
    ck_assert_int_eq(strncmp(p_sent_body(), start, strlen(start)), 0);
    ck_assert_ptr_null(strstr(P.web.last, SECRETIVE));
    ck_assert_str_eq(p_sent_header("Authorization"), "(none)");
    ck_assert_ptr_null(ma_jws_parse(P.a, field(p_sent_body(), "client_assertion"), &jws));
    ck_assert_int_eq(ma_json_parse(jws.payload, &j), MA_OK);
    ck_assert_int_eq(ma_json_at(j, MA_LIT("aud"), P.a, &v), MA_OK);
    ck_assert_str_eq(p_text(v), p_url("/token"));
    ck_assert_int_eq(ma_json_at(j, MA_LIT("sub"), P.a, &v), MA_OK);
    ck_assert_str_eq(p_text(v), "cid");
    ck_assert_int_eq(ma_json_at(j, MA_LIT("iat"), P.a, &v), MA_OK);
    ck_assert_str_eq(p_text(v), "1700000000");
    P_OK(ma_provider_revoke(&P.env, &P.p, MA_LIT("t"), "access_token", &P.fault));
    ma_json_free_p(&j);
    ck_assert_ptr_null(ma_jws_parse(P.a, field(p_sent_body(), "client_assertion"), &jws));
    ck_assert_int_eq(ma_json_parse(jws.payload, &j), MA_OK);
    ck_assert_int_eq(ma_json_at(j, MA_LIT("aud"), P.a, &v), MA_OK);
    ck_assert_str_eq(p_text(v), p_url("/revoke"));
}
END_TEST

#define NONCE "\"nonce\":\"n-1\","
/* Claims of a token for "cid"; `more` ends with a comma. */
static void got_id_token(const char *more)
{
    got_token();
    T.id_token = t_token(
        P.a, &KEY, "{\"alg\":\"ES256\",\"kid\":\"k1\"}",
        ma_arena_printf(P.a, "{%s\"iss\":\"%s\",\"aud\":\"cid\",\"iat\":1699999990,\"exp\":1700000300}", more, P.base));
}

static const struct {
    const char *name, *claims, *field, *nonce;
    int64_t max_age_s;
    int want;
    const char *subject, *email, *full_name;
} ID_TOKENS[] = {
    {"good", NONCE "\"sub\":\"u1\",\"email\":\"a@x.example\",\"name\":\"A\",", NULL, "n-1", -1, MA_OK, "u1",
     "a@x.example", "A"},
    {"no nonce asked", "\"sub\":\"u1\",", NULL, NULL, -1, MA_OK, "u1", "(none)", "(none)"},
    {"profile of other types", NONCE "\"sub\":\"u1\",\"email\":1,\"name\":[],", NULL, "n-1", -1, MA_OK, "u1", "(none)",
     "(none)"},
    {"profile with controls", NONCE "\"sub\":\"u1\",\"email\":\"a\\u0000b\",", NULL, "n-1", -1, MA_E_AUTH, NULL, NULL,
     NULL},
    {"another claim", NONCE "\"sub\":\"u1\",\"oid\":\"o1\",", "oid", "n-1", -1, MA_OK, "o1", "(none)", "(none)"},
    {"another claim, a number", NONCE "\"sub\":\"u1\",\"x\":{\"id\":5},", "x.id", "n-1", -1, MA_OK, "5", "(none)",
     "(none)"},
    {"another claim, missing", NONCE "\"sub\":\"u1\",", "oid", "n-1", -1, MA_E_UPSTREAM, NULL, NULL, NULL},
    {"another nonce", NONCE "\"sub\":\"u1\",", NULL, "n-2", -1, MA_E_AUTH, NULL, NULL, NULL},
    {"no nonce", "\"sub\":\"u1\",", NULL, "n-1", -1, MA_E_AUTH, NULL, NULL, NULL},
    {"no sub", NONCE, NULL, "n-1", -1, MA_E_AUTH, NULL, NULL, NULL},
    {"of another access token", NONCE "\"sub\":\"u1\",\"at_hash\":\"MTIzNDU2Nzg5MDEyMzQ1Ng\",", NULL, "n-1", -1,
     MA_E_AUTH, NULL, NULL, NULL},
    {"fresh enough", NONCE "\"sub\":\"u1\",\"auth_time\":1699999900,", NULL, "n-1", 100, MA_OK, "u1", "(none)",
     "(none)"},
    {"too old", NONCE "\"sub\":\"u1\",\"auth_time\":1699990000,", NULL, "n-1", 100, MA_E_AUTH, NULL, NULL, NULL},
};

START_TEST(id_tokens)
{
    use(&OIDC, "s");
    got_id_token(ID_TOKENS[_i].claims);
    P.conn.provider.user_id_field = ma_span_str(ID_TOKENS[_i].field);
    p_web(0, "/userinfo", P_JSON, "{\"sub\":\"userinfo\"}");
    int r = identify(ID_TOKENS[_i].nonce, ID_TOKENS[_i].max_age_s);
    ck_assert_msg(r == ID_TOKENS[_i].want, "%s: %s %s", ID_TOKENS[_i].name, ma_err_name(r), P.fault.why);
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
    ck_assert_int_eq(P.fault.why[0] == '\0', r == MA_OK);
    if (r != MA_OK)
        return;
    ck_assert_str_eq(p_text(I.subject), ID_TOKENS[_i].subject);
    ck_assert_str_eq(p_text(I.email), ID_TOKENS[_i].email);
    ck_assert_str_eq(p_text(I.name), ID_TOKENS[_i].full_name);
    ck_assert_ptr_nonnull(strstr(p_text(I.claims), "\"aud\":\"cid\""));
}
END_TEST

START_TEST(id_token_settings)
{
    use(&OIDC, "s");
    got_id_token("\"sub\":\"u1\",");
    P.conn.provider.client_id = MA_LIT("other");
    ck_assert_int_eq(identify(NULL, -1), MA_E_AUTH);
    P.conn.provider.client_id = MA_LIT("cid");
    P.p.issuer = "https://other.example";
    ck_assert_int_eq(identify(NULL, -1), MA_E_AUTH);
    P.p.issuer = P.base;
    P_OK(identify(NULL, -1));
    P.p.jwks_uri = NULL;
    ck_assert_int_eq(identify(NULL, -1), MA_E_INVAL);
    P.p.jwks_uri = p_url("/none");
    ck_assert_int_eq(identify(NULL, -1), MA_E_UPSTREAM);
}
END_TEST

/* With the scope openid there has to be one; userinfo is no way around it. */
START_TEST(id_token_missing)
{
    struct ma_preset row = OIDC;
    use(&OIDC, "s");
    got_token();
    p_web(0, "/userinfo", P_JSON, "{\"sub\":\"u\"}");
    ck_assert_int_eq(identify("n", -1), MA_E_AUTH);
    row.scopes = "";
    use(&row, "s");
    P.conn.provider.scopes = p_list("a openid");
    ck_assert_int_eq(identify("n", -1), MA_E_AUTH);
    P.conn.provider.scopes = p_list("a");
    T.scopes = p_list("openid");
    ck_assert_int_eq(identify("n", -1), MA_E_AUTH);
    ck_assert_int_eq(ts_hits(&P.web, 0), 0);
    T.scopes = p_list("a");
    P_OK(identify("n", -1));
    ck_assert_str_eq(p_text(I.subject), "u");
}
END_TEST

/* --- real rows --- */

static const struct {
    const char *preset, *body, *access, *user;
} ROWS[] = {
    {"github", "{\"access_token\":\"gho_1\",\"token_type\":\"bearer\",\"scope\":\"repo,gist\"}", "gho_1", "(none)"},
    {"slack",
     "{\"ok\":true,\"app_id\":\"A1\",\"authed_user\":{\"id\":\"U1\",\"scope\":\"a,b\",\"access_token\":\"xoxp-1\","
     "\"token_type\":\"user\"},\"team\":{\"id\":\"T1\"},\"enterprise\":null}",
     "xoxp-1", "U1"},
};

START_TEST(rows)
{
    p_connect(ma_preset_find(ma_span_str(ROWS[_i].preset)), "");
    P.conn.provider.token_endpoint = ma_span_str(p_url("/token"));
    P_OK(p_resolve("s"));
    p_web(0, "/token", P_JSON, ROWS[_i].body);
    P_OK(redeem());
    ck_assert_str_eq(p_text(T.access_token), ROWS[_i].access);
    ck_assert_str_eq(p_text(T.user_id), ROWS[_i].user);
    ck_assert_uint_eq(T.scopes.n, 2);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("provider_tokens");
    TCase *t = tcase_create("plain");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, p_set_up, p_tear_down);
    tcase_add_loop_test(t, client_authentication, 0, (int)MA_COUNT(AUTHS));
    tcase_add_test(t, no_secret_and_no_pkce);
    tcase_add_test(t, refresh_request);
    tcase_add_test(t, revocation);
    tcase_add_loop_test(t, good_answers, 0, (int)MA_COUNT(GOOD));
    tcase_add_loop_test(t, bad_answers, 0, (int)MA_COUNT(BAD));
    tcase_add_test(t, sizes);
    tcase_add_test(t, large_refresh_token);
    tcase_add_test(t, many_scopes);
    tcase_add_test(t, unreachable);
    tcase_add_loop_test(t, userinfo, 0, (int)MA_COUNT(USERINFO));
    tcase_add_test(t, subject_sizes);
    tcase_add_test(t, large_userinfo);
    tcase_add_test(t, oauth2_ignores_id_tokens);
    tcase_add_test(t, beside_the_token);
    tcase_add_loop_test(t, rows, 0, (int)MA_COUNT(ROWS));
    suite_add_tcase(s, t);
    t = tcase_create("keys");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, keys_set_up, keys_tear_down);
    tcase_add_test(t, private_key_jwt);
    tcase_add_loop_test(t, id_tokens, 0, (int)MA_COUNT(ID_TOKENS));
    tcase_add_test(t, id_token_settings);
    tcase_add_test(t, id_token_missing);
    suite_add_tcase(s, t);
    return s;
}

static char *make_ring(void)
{
    struct ma_ring *r = NULL;
    struct ma_file_sig sig;
    char dir[64], keys[96], path[128], why[256];
    char *text = calloc(1, 8192);
    t_dir(dir);
    (void)snprintf(keys, sizeof(keys), "%s/keys", dir);
    T_NEED(text && ma_ring_open(keys, P_NOW_S, &r, &sig, why) == MA_OK);
    ma_ring_unref(r);
    (void)snprintf(path, sizeof(path), "%s/signing.keys", keys);
    FILE *f = fopen(path, "r");
    T_NEED(f && fread(text, 1, 8191, f) > 0);
    (void)fclose(f);
    t_remove_dir(dir);
    return text;
}

int main(void)
{
    if (ma_crypto_init() < 0 || ma_httpc_global_init() < 0)
        return EXIT_FAILURE;
    t_key_make(&KEY, MA_KEY_EC_P256);
    RING = make_ring();
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    free(RING);
    t_key_free(&KEY);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

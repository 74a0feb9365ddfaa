/* SPDX-License-Identifier: Apache-2.0
 * Tokens of identity providers: every rule of OpenID Connect Core §3.1.3.7, where the keys come
 * from and when they are fetched again; and the assertions the daemon signs for providers.
 */
#include "jose_util.h"
#include "ma/jsonr.h"
#include "ma/provider.h"
#include "tiny_server.h"

#include <sys/stat.h>

_Static_assert(MA_ID_TOKEN_MAX == MA_PROVIDER_TOKEN_MAX, "an id_token that is taken from an answer can be verified");

#define NOW_S INT64_C(1700000000)
#define BASE "https://login.example.com"
#define IDP "https://idp.example"
#define CLIENT "client-1"
#define TENANTS "https://login.idp.example/{tenantid}/v2.0"
#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json"

/* Keys are made once in main, before any test forks. */
static struct t_key E1, E2, R1, D1;
static char *RING; /* text of a key ring, to start from */

static struct {
    char dir[64], keys[96], uri[64];
    struct ma_arena *a;
    struct ma_clock_manual clock;
    struct ma_rand_seeded rand;
    struct ma_conf conf;
    struct ma_jose *j;
    struct ma_httpc *c;
    struct ts web;
    struct ma_id_token_ask ask;
    struct ma_id_token got;
    char why[256];
} F;

static void web(const char *head, const char *body)
{
    (void)pthread_mutex_lock(&F.web.lock);
    F.web.routes[0].path = "/jwks";
    F.web.routes[0].head = head;
    F.web.routes[0].body = body;
    (void)pthread_mutex_unlock(&F.web.lock);
}

static char *set_of(const char *one, const char *two, const char *three)
{
    return ma_arena_printf(F.a, "{\"keys\":[%s%s%s%s%s]}", one, two[0] ? "," : "", two, three[0] ? "," : "", three);
}
static char *set_1(void)
{
    return set_of(t_jwk(F.a, &E1, "e1", ""), t_jwk(F.a, &R1, "r1", ""), t_jwk(F.a, &D1, "d1", ""));
}
static char *set_2(void)
{
    return set_of(t_jwk(F.a, &E2, "e2", ""), "", "");
}

static void paths(void)
{
    t_dir(F.dir);
    (void)snprintf(F.keys, sizeof(F.keys), "%s/keys", F.dir);
    F.a = ma_arena_new(65536, 64u << 20);
}

/* With a ring that is there already: making one takes long. */
static void open_it(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/signing.keys", F.keys);
    ck_assert_int_eq(mkdir(F.keys, 0700), 0);
    t_write(path, RING);
    ck_assert_int_eq(chmod(path, 0600), 0);
    F.conf = (struct ma_conf){.base_url = BASE, .key_directory = F.keys, .token_service = true};
    ck_assert_int_eq(ma_jose_open(&F.conf, &F.clock.clock, &F.rand.rand, NULL, &F.j, F.why), MA_OK);
}

static void set_up(void)
{
    memset(&F, 0, sizeof(F));
    paths();
    ma_clock_manual_init(&F.clock, NOW_S * 1000);
    ma_rand_seeded_init(&F.rand, 7);
    ck_assert_int_eq(ma_httpc_new(&F.c), MA_OK);
    ck_assert(ts_start(&F.web));
    (void)snprintf(F.uri, sizeof(F.uri), "http://127.0.0.1:%d/jwks", F.web.port);
    open_it();
    web(OK_HEAD, set_1());
    F.ask = (struct ma_id_token_ask){.issuer = IDP,
                                     .jwks_uri = F.uri,
                                     .client_id = CLIENT,
                                     .nonce = MA_LIT("n-0S6_WzA2Mj"),
                                     .max_age_s = -1,
                                     .policy = {.allow_http_loopback = true}};
}

static void tear_down(void)
{
    ma_jose_close(F.j);
    ma_httpc_free(F.c);
    ts_hold(&F.web, false);
    ts_stop(&F.web);
    ma_arena_free(F.a);
    t_remove_dir(F.dir);
}

static int hits(void)
{
    return ts_hits(&F.web, 0);
}

/* --- tokens --- */

struct change {
    const char *name, *text; /* JSON; NULL: the claim is left out */
};
#define CHANGES 4

/* The usual claims, with some replaced, added or left out. */
static char *payload(const struct change *v)
{
    static const struct change usual[] = {
        {"iss", "\"" IDP "\""}, {"sub", "\"248289761001\""},   {"aud", "\"" CLIENT "\""},   {"exp", "1700000300"},
        {"iat", "1700000000"},  {"nonce", "\"n-0S6_WzA2Mj\""}, {"email", "\"a@b.example\""}};
    struct ma_buf b;
    ma_buf_init_arena(&b, F.a, 512, 65536);
    for (size_t i = 0; i < MA_COUNT(usual); i++) {
        bool same = true;
        for (size_t k = 0; v && k < CHANGES && v[k].name; k++)
            same = same && strcmp(v[k].name, usual[i].name) != 0;
        if (same)
            ma_buf_printf(&b, "%c\"%s\":%s", b.n ? ',' : '{', usual[i].name, usual[i].text);
    }
    for (size_t k = 0; v && k < CHANGES && v[k].name; k++)
        if (v[k].text)
            ma_buf_printf(&b, ",\"%s\":%s", v[k].name, v[k].text);
    ma_buf_str(&b, "}");
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (char *)b.p;
}

static struct ma_span token_1(void)
{
    return t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(NULL));
}
static struct ma_span token_2(void)
{
    return t_token(F.a, &E2, "{\"alg\":\"ES256\",\"kid\":\"e2\"}", payload(NULL));
}

static int verify(struct ma_span t)
{
    (void)snprintf(F.why, sizeof(F.why), "untouched");
    return ma_id_token_verify(F.j, F.c, F.a, t, &F.ask, NOW_S * 1000, &F.got, F.why);
}
static int v1(void)
{
    return verify(token_1());
}
static int v2(void)
{
    return verify(token_2());
}

START_TEST(good)
{
    const char *p = payload((const struct change[CHANGES]){{"name", "\"J\\u00e4ne\""}});
    struct ma_span t = t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"JWT\"}", p);
    ck_assert_msg(verify(t) == MA_OK, "%s", F.why);
    ck_assert_str_eq(F.why, "");
    ck_assert(ma_span_eq_str(F.got.sub, "248289761001"));
    ck_assert(ma_span_eq_str(F.got.email, "a@b.example"));
    ck_assert(ma_span_eq_str(F.got.name, "J\xc3\xa4ne"));
    ck_assert(ma_span_eq_str(F.got.claims, p));
    ck_assert_int_eq(hits(), 1);
}
END_TEST

/* --- claims --- */

static const struct {
    const char *name;
    struct change changes[CHANGES];
    const char *why; /* part of it; NULL: the token is good */
} CLAIMS[] = {
    {"iss missing", {{"iss", NULL}}, "missing or has the wrong type"},
    {"iss of another", {{"iss", "\"https://evil.example\""}}, "another issuer"},
    {"iss with slash", {{"iss", "\"" IDP "/\""}}, "another issuer"},
    {"iss in capitals", {{"iss", "\"HTTPS://IDP.EXAMPLE\""}}, "another issuer"},
    {"iss a prefix", {{"iss", "\"https://idp.exampl\""}}, "another issuer"},
    {"iss a list", {{"iss", "[\"" IDP "\"]"}}, "wrong type"},
    {"aud list of one", {{"aud", "[\"" CLIENT "\"]"}}, NULL},
    {"aud missing", {{"aud", NULL}}, "missing"},
    {"aud of another", {{"aud", "\"client-2\""}}, "another audience"},
    {"aud empty", {{"aud", "\"\""}}, "another audience"},
    {"aud empty list", {{"aud", "[]"}}, "another audience"},
    {"aud a number", {{"aud", "1"}}, "wrong type"},
    {"aud list with a number", {{"aud", "[\"" CLIENT "\",1]"}, {"azp", "\"" CLIENT "\""}}, "wrong type"},
    {"aud several without azp", {{"aud", "[\"" CLIENT "\",\"x\"]"}}, "no authorized party"},
    {"aud several, azp null", {{"aud", "[\"" CLIENT "\",\"x\"]"}, {"azp", "null"}}, "no authorized party"},
    {"aud several with azp", {{"aud", "[\"x\",\"" CLIENT "\"]"}, {"azp", "\"" CLIENT "\""}}, NULL},
    {"aud several, azp of another", {{"aud", "[\"x\",\"" CLIENT "\"]"}, {"azp", "\"x\""}}, "another authorized party"},
    {"aud several without us", {{"aud", "[\"x\",\"y\"]"}, {"azp", "\"" CLIENT "\""}}, "another audience"},
    {"azp", {{"azp", "\"" CLIENT "\""}}, NULL},
    {"azp null", {{"azp", "null"}}, NULL},
    {"azp of another", {{"azp", "\"client-2\""}}, "another authorized party"},
    {"azp empty", {{"azp", "\"\""}}, "another authorized party"},
    {"azp a list", {{"azp", "[\"" CLIENT "\"]"}}, "wrong type"},
    {"exp missing", {{"exp", NULL}}, "missing"},
    {"exp text", {{"exp", "\"1700000300\""}}, "wrong type"},
    {"exp negative", {{"exp", "-1"}}, "wrong type"},
    {"exp huge", {{"exp", "9223372036854775807"}}, "wrong type"},
    {"exp real", {{"exp", "1e99"}}, "wrong type"},
    {"exp within leeway", {{"exp", "1699999941"}}, NULL},
    {"exp over", {{"exp", "1699999940"}}, "expired"},
    {"iat missing", {{"iat", NULL}}, "missing"},
    {"iat null", {{"iat", "null"}}, "missing or has the wrong type"},
    {"iat within leeway", {{"iat", "1700000060"}}, NULL},
    {"iat in the future", {{"iat", "1700000061"}}, "in the future"},
    {"iat long ago", {{"iat", "1600000000"}}, NULL},
    {"nbf within leeway", {{"nbf", "1700000060"}}, NULL},
    {"nbf in the future", {{"nbf", "1700000061"}}, "not valid yet"},
    {"nonce missing", {{"nonce", NULL}}, "nonce"},
    {"nonce null", {{"nonce", "null"}}, "nonce"},
    {"nonce empty", {{"nonce", "\"\""}}, "nonce"},
    {"nonce of another", {{"nonce", "\"n-0S6_WzA2Mk\""}}, "nonce"},
    {"nonce a prefix", {{"nonce", "\"n-0S6_WzA2M\""}}, "nonce"},
    {"nonce longer", {{"nonce", "\"n-0S6_WzA2Mjj\""}}, "nonce"},
    {"nonce a list", {{"nonce", "[\"n-0S6_WzA2Mj\"]"}}, "wrong type"},
    {"sub missing", {{"sub", NULL}}, "missing"},
    {"sub empty", {{"sub", "\"\""}}, "wrong type"},
    {"sub a number", {{"sub", "248289761001"}}, "wrong type"},
    {"sub with newline", {{"sub", "\"a\\nb\""}}, "subject"},
    {"sub with DEL", {{"sub", "\"a\\u007f\""}}, "subject"},
    {"sub with C1", {{"sub", "\"a\\u0085\""}}, "subject"},
    {"sub with NUL", {{"sub", "\"a\\u0000\""}}, "malformed"},
    {"sub of another script", {{"sub", "\"\\u00e4\\ud83d\\ude00\""}}, NULL},
    {"sub twice", {{"name", "\"x\""}, {"sub", "\"a\",\"sub\":\"b\""}}, "malformed"},
    {"email null", {{"email", "null"}}, NULL},
    {"name null", {{"name", "null"}}, NULL},
    {"email a number", {{"email", "1"}, {"name", "{}"}}, NULL},
    {"auth_time text, not asked for", {{"auth_time", "\"x\""}}, NULL},
    {"at_hash without an access token", {{"at_hash", "\"x\""}}, NULL},
    {"unknown claims", {{"x", "{\"y\":[1.5,null]}"}}, NULL},
};

START_TEST(claim)
{
    struct ma_span t = t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(CLAIMS[_i].changes));
    int r = verify(t);
    if (!CLAIMS[_i].why) {
        ck_assert_msg(r == MA_OK, "%s: %s", CLAIMS[_i].name, F.why);
        return;
    }
    ck_assert_msg(r == MA_E_AUTH, "%s: %s", CLAIMS[_i].name, ma_err_name(r));
    ck_assert_msg(strstr(F.why, CLAIMS[_i].why) != NULL, "%s: %s", CLAIMS[_i].name, F.why);
    ck_assert_ptr_null(F.got.sub.p);
    /* What is not good costs no fetch. */
    ck_assert_int_eq(hits(), 0);
}
END_TEST

START_TEST(texts_of_the_wrong_type_are_absent)
{
    const struct change v[CHANGES] = {{"email", "null"}, {"name", "[\"x\"]"}};
    ck_assert_int_eq(verify(t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v))), MA_OK);
    ck_assert_ptr_null(F.got.email.p);
    ck_assert_ptr_null(F.got.name.p);
}
END_TEST

START_TEST(payload_that_is_no_object)
{
    static const char *const texts[] = {"[]", "null", "\"x\"", "{", "{} x", "{\"a\":\xff}"};
    for (size_t i = 0; i < MA_COUNT(texts); i++)
        ck_assert_int_eq(verify(t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", texts[i])), MA_E_AUTH);
}
END_TEST

/* Characters are not bytes. */
START_TEST(length_of_sub)
{
    static const struct {
        const char *unit;
        size_t n;
        int want;
    } rows[] = {{"a", 255, MA_OK}, {"a", 256, MA_E_AUTH}, {"\xc3\xa4", 127, MA_OK}, {"\xc3\xa4", 128, MA_E_AUTH}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_buf b;
        ma_buf_init_arena(&b, F.a, 600, 600);
        ma_buf_byte(&b, '"');
        for (size_t k = 0; k < rows[i].n; k++)
            ma_buf_str(&b, rows[i].unit);
        ma_buf_put(&b, "\"", 2);
        const struct change v[CHANGES] = {{"sub", (const char *)b.p}};
        ck_assert_int_eq(verify(t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v))), rows[i].want);
    }
}
END_TEST

START_TEST(nonce_that_was_not_asked_for)
{
    F.ask.nonce = MA_SPAN_NULL;
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

static const struct {
    const char *name, *iss, *tid, *want; /* want: the issuer that is asked for */
    bool ok;
} TENANT[] = {
    {"good", "https://login.idp.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
     "\"9188040d-6c67-4c5b-b112-36a304b66dad\"", TENANTS, true},
    {"capitals", "https://login.idp.example/ABCDEF01/v2.0", "\"ABCDEF01\"", TENANTS, true},
    {"of another tenant", "https://login.idp.example/abc/v2.0", "\"abd\"", TENANTS, false},
    {"no tid", "https://login.idp.example/abc/v2.0", NULL, TENANTS, false},
    {"tid empty", "https://login.idp.example//v2.0", "\"\"", TENANTS, false},
    {"tid null", "https://login.idp.example/abc/v2.0", "null", TENANTS, false},
    {"tid a number", "https://login.idp.example/1/v2.0", "1", TENANTS, false},
    {"tid not hexadecimal", "https://login.idp.example/xyz/v2.0", "\"xyz\"", TENANTS, false},
    {"tid with a path", "https://login.idp.example/a/b/v2.0", "\"a/b\"", TENANTS, false},
    {"tid with dots", "https://login.idp.example/../v2.0", "\"..\"", TENANTS, false},
    {"tid of 65", "https://login.idp.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/v2.0",
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", TENANTS, false},
    {"the mark itself", TENANTS, "\"abc\"", TENANTS, false},
    {"another host", "https://evil.example/abc/v2.0", "\"abc\"", TENANTS, false},
    {"no mark: tid is nothing", IDP, "\"whatever\"", IDP, true},
    {"mark at the end", "https://idp.example/abc", "\"abc\"", "https://idp.example/{tenantid}", true},
};

START_TEST(tenant)
{
    char *iss = ma_arena_printf(F.a, "\"%s\"", TENANT[_i].iss);
    const struct change v[CHANGES] = {{"iss", iss}, {"tid", TENANT[_i].tid}};
    F.ask.issuer = TENANT[_i].want;
    int r = verify(t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v)));
    ck_assert_msg(r == (TENANT[_i].ok ? MA_OK : MA_E_AUTH), "%s: %s", TENANT[_i].name, F.why);
}
END_TEST

static const struct {
    const char *name, *auth_time;
    int64_t max_age_s;
    bool ok;
} AGES[] = {
    {"not asked for", NULL, -1, true},
    {"not asked for, long ago", "1", -1, true},
    {"recent", "1699999900", 100, true},
    {"within leeway", "1699999840", 100, true},
    {"too old", "1699999839", 100, false},
    {"zero, at once", "1700000000", 0, true},
    {"zero, within leeway", "1699999940", 0, true},
    {"zero, too old", "1699999939", 0, false},
    {"the largest", "1", INT64_MAX, true},
    {"missing", NULL, 100, false},
    {"missing, the largest", NULL, INT64_MAX, false},
    {"text", "\"1700000000\"", INT64_MAX, false},
    {"negative", "-1", INT64_MAX, false},
    {"null", "null", INT64_MAX, false},
    {"a little ahead", "1700000060", 100, true},
    {"in the future", "1700000061", 100, false},
};

START_TEST(max_age)
{
    const struct change v[CHANGES] = {{"auth_time", AGES[_i].auth_time}};
    F.ask.max_age_s = AGES[_i].max_age_s;
    int r = verify(t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v)));
    ck_assert_msg(r == (AGES[_i].ok ? MA_OK : MA_E_AUTH), "%s: %s", AGES[_i].name, F.why);
}
END_TEST

/* --- at_hash --- */

/* An access token and its at_hash from OpenID Connect Core, appendix A.3. */
#define A_3_TOKEN "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
#define A_3_HASH "\"77QmUPtjPfzWtF2AnpK9RQ\""

static const char *hash_text(const EVP_MD *md, const char *text)
{
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    ck_assert_int_eq(EVP_Digest(text, strlen(text), out, &n, md, NULL), 1);
    return ma_arena_printf(F.a, "\"%s\"", t_b64(F.a, ma_span_of(out, n / 2)));
}

static int with_hash(const struct t_key *k, const EVP_MD *md, const char *header, const char *at_hash)
{
    const struct change v[CHANGES] = {{"at_hash", at_hash}};
    const char *p = payload(v);
    return verify(md ? t_token_md(F.a, k, md, header, p) : t_token(F.a, k, header, p));
}

START_TEST(at_hash)
{
    const char *h = "{\"alg\":\"RS256\",\"kid\":\"r1\"}";
    F.ask.access_token = MA_LIT(A_3_TOKEN);
    ck_assert_int_eq(with_hash(&R1, NULL, h, A_3_HASH), MA_OK);
    ck_assert_int_eq(with_hash(&R1, NULL, h, NULL), MA_OK);
    ck_assert_int_eq(with_hash(&R1, NULL, h, "null"), MA_OK);
    ck_assert_int_eq(with_hash(&R1, NULL, h, "\"77QmUPtjPfzWtF2AnpK9RR\""), MA_E_AUTH);
    ck_assert_ptr_nonnull(strstr(F.why, "another access token"));
    ck_assert_int_eq(with_hash(&R1, NULL, h, "\"\""), MA_E_AUTH);
    ck_assert_int_eq(with_hash(&R1, NULL, h, "\"77QmUPtjPfzWtF2AnpK9RQ==\""), MA_E_AUTH);
    ck_assert_int_eq(with_hash(&R1, NULL, h, "1"), MA_E_AUTH);
    F.ask.access_token = MA_LIT(A_3_TOKEN "x");
    ck_assert_int_eq(with_hash(&R1, NULL, h, A_3_HASH), MA_E_AUTH);
}
END_TEST

/* The hash is the algorithm's, and no other size will do. */
START_TEST(at_hash_sizes)
{
    const EVP_MD *const hashes[] = {EVP_sha256(), EVP_sha384(), EVP_sha512()};
    const struct {
        const struct t_key *k;
        const EVP_MD *sign;
        const char *header;
        size_t hash;
    } rows[] = {{&E1, NULL, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", 0},
                {&R1, EVP_sha384(), "{\"alg\":\"RS384\",\"kid\":\"r1\"}", 1},
                {&R1, EVP_sha512(), "{\"alg\":\"RS512\",\"kid\":\"r1\"}", 2},
                {&D1, NULL, "{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", 2}};
    F.ask.access_token = MA_LIT("ya29.token");
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        for (size_t h = 0; h < MA_COUNT(hashes); h++) {
            int r = with_hash(rows[i].k, rows[i].sign, rows[i].header, hash_text(hashes[h], "ya29.token"));
            ck_assert_msg(r == (h == rows[i].hash ? MA_OK : MA_E_AUTH), "%s, %zu: %s", rows[i].header, h, F.why);
        }
    }
}
END_TEST

START_TEST(jws_hash)
{
    uint8_t out[MA_JWS_HASH_MAX];
    size_t n = 0;
    ck_assert_int_eq(ma_jws_hash(MA_JWS_NONE, MA_LIT("x"), out, &n), MA_E_INVAL);
    ck_assert_int_eq(ma_jws_hash(MA_JWS__COUNT, MA_LIT("x"), out, &n), MA_E_INVAL);
    static const struct {
        enum ma_jws_alg alg;
        size_t n;
    } rows[] = {{MA_JWS_RS256, 32}, {MA_JWS_PS256, 32}, {MA_JWS_ES256, 32}, {MA_JWS_RS384, 48}, {MA_JWS_PS384, 48},
                {MA_JWS_ES384, 48}, {MA_JWS_RS512, 64}, {MA_JWS_PS512, 64}, {MA_JWS_ES512, 64}, {MA_JWS_EDDSA, 64}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_int_eq(ma_jws_hash(rows[i].alg, MA_LIT("x"), out, &n), MA_OK);
        ck_assert_uint_eq(n, rows[i].n);
    }
}
END_TEST

/* --- header and signature --- */

static const struct {
    const char *name, *header;
    const struct t_key *k;
    bool ok;
} HEADERS[] = {
    {"ES256", "{\"alg\":\"ES256\",\"kid\":\"e1\"}", &E1, true},
    {"RS256", "{\"alg\":\"RS256\",\"kid\":\"r1\"}", &R1, true},
    {"EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", &D1, true},
    {"typ JWT", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"JWT\"}", &E1, true},
    {"no kid", "{\"alg\":\"ES256\"}", &E1, true},
    {"none", "{\"alg\":\"none\"}", &E1, false},
    {"none with kid", "{\"alg\":\"none\",\"kid\":\"e1\"}", &E1, false},
    {"None", "{\"alg\":\"None\",\"kid\":\"e1\"}", &E1, false},
    {"HS256", "{\"alg\":\"HS256\",\"kid\":\"e1\"}", &E1, false},
    {"HS512", "{\"alg\":\"HS512\"}", &E1, false},
    {"alg of another key", "{\"alg\":\"RS256\",\"kid\":\"e1\"}", &E1, false},
    {"signed by another key", "{\"alg\":\"ES256\",\"kid\":\"e1\"}", &E2, false},
    {"signed by another key, no kid", "{\"alg\":\"ES256\"}", &E2, false},
    {"unknown kid", "{\"alg\":\"ES256\",\"kid\":\"e9\"}", &E1, false},
    {"at+jwt", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"at+jwt\"}", &E1, false},
    {"AT+JWT", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"AT+JWT\"}", &E1, false},
    {"application/at+jwt", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"application/at+jwt\"}", &E1, false},
    {"logout+jwt", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"logout+jwt\"}", &E1, false},
    {"crit", "{\"alg\":\"ES256\",\"kid\":\"e1\",\"crit\":[\"x\"]}", &E1, false},
};

START_TEST(header)
{
    int r = verify(t_token(F.a, HEADERS[_i].k, HEADERS[_i].header, payload(NULL)));
    ck_assert_msg(r == (HEADERS[_i].ok ? MA_OK : MA_E_AUTH), "%s: %s, %s", HEADERS[_i].name, ma_err_name(r), F.why);
}
END_TEST

/* What a thread remembers of a header includes that it is an access token's. */
START_TEST(remembered_access_token_header)
{
    static const char *const typ[] = {"at+jwt", "JWT"};
    for (size_t i = 0; i < MA_COUNT(typ); i++) {
        struct ma_jws jws;
        const char *h = ma_arena_printf(F.a, "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"%s\"}", typ[i]);
        struct ma_span t = t_token(F.a, &E1, h, payload(NULL));
        for (int k = 0; k < 2; k++) {
            ck_assert_ptr_null(ma_jws_parse(F.a, t, &jws));
            ck_assert_int_eq(jws.access, i == 0);
            ma_jws_remember(t, &jws);
        }
        ck_assert_int_eq(verify(t), i == 0 ? MA_E_AUTH : MA_OK);
        ck_assert(i != 0 || strstr(F.why, "access token"));
    }
}
END_TEST

/* The HMAC of a public key's text is nobody's signature (RFC 8725 §2.1). */
START_TEST(hmac_with_a_public_key)
{
    uint8_t mac[MA_SHA256_LEN];
    char *in = ma_arena_printf(F.a, "%s.%s", t_b64(F.a, MA_LIT("{\"alg\":\"HS256\",\"kid\":\"r1\"}")),
                               t_b64(F.a, ma_span_str(payload(NULL))));
    ck_assert_int_eq(ma_hmac_sha256(ma_span_str(t_jwk(F.a, &R1, "r1", "")), ma_span_str(in), mac), MA_OK);
    char *t = ma_arena_printf(F.a, "%s.%s", in, t_b64(F.a, ma_span_of(mac, sizeof(mac))));
    ck_assert_int_eq(verify(ma_span_str(t)), MA_E_AUTH);
    ck_assert_ptr_nonnull(strstr(F.why, "not supported"));
    ck_assert_int_eq(verify(ma_span_str(ma_arena_printf(F.a, "%s.", in))), MA_E_AUTH);
}
END_TEST

START_TEST(forms)
{
    static const char *const texts[] = {"", ".", "..", "a.b", "a.b.c", "a.b.c.d", "....", "\xff\xff.x.y"};
    for (size_t i = 0; i < MA_COUNT(texts); i++)
        ck_assert_int_eq(verify(ma_span_str(texts[i])), MA_E_AUTH);
    ck_assert_int_eq(verify(MA_SPAN_NULL), MA_E_AUTH);
    struct ma_span t = token_1();
    for (size_t n = 0; n < t.n; n += 7)
        ck_assert_int_eq(verify(ma_span_of(t.p, n)), MA_E_AUTH);
    ck_assert_int_eq(verify(t), MA_OK);
}
END_TEST

static struct ma_span token_with_pad(size_t pad)
{
    char *text = ma_arena_alloc(F.a, pad + 3);
    memset(text, 'x', pad + 2);
    text[0] = text[pad + 1] = '"';
    text[pad + 2] = 0;
    const struct change v[CHANGES] = {{"groups", text}};
    return t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v));
}

START_TEST(length)
{
    size_t most = 0;
    for (size_t pad = 11900; pad < 12300; pad += 3) {
        struct ma_span t = token_with_pad(pad);
        ck_assert_int_eq(verify(t), t.n <= MA_ID_TOKEN_MAX ? MA_OK : MA_E_AUTH);
        most = t.n <= MA_ID_TOKEN_MAX ? t.n : most;
    }
    ck_assert_uint_ge(most, MA_ID_TOKEN_MAX - 4);
    ck_assert_ptr_nonnull(strstr(F.why, "too long"));
    /* Access tokens keep their own bound. */
    struct ma_jws jws;
    ck_assert_ptr_nonnull(ma_jws_parse(F.a, token_with_pad(11900), &jws));
}
END_TEST

START_TEST(asks_that_are_not_whole)
{
    const struct ma_id_token_ask whole = F.ask;
    const struct change v[CHANGES] = {{"aud", "\"\""}};
    struct ma_span t = t_token(F.a, &E1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", payload(v));
    F.ask.client_id = "";
    ck_assert_int_eq(verify(t), MA_E_AUTH);
    F.ask.client_id = NULL;
    ck_assert_int_eq(verify(t), MA_E_AUTH);
    F.ask = whole;
    F.ask.issuer = NULL;
    ck_assert_int_eq(v1(), MA_E_AUTH);
    F.ask = whole;
    F.ask.jwks_uri = NULL;
    ck_assert_int_eq(v1(), MA_E_AUTH);
    ck_assert_int_eq(hits(), 0);
}
END_TEST

/* --- keys --- */

START_TEST(fetched_once)
{
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(v1(), MA_OK);
    ck_assert_int_eq(hits(), 1);
}
END_TEST

START_TEST(rotation)
{
    ck_assert_int_eq(v1(), MA_OK);
    uint64_t epoch = ma_jose_epoch(F.j);
    web(OK_HEAD, set_2());
    ck_assert_msg(v2() == MA_OK, "%s", F.why);
    ck_assert_int_eq(hits(), 2);
    /* No access token depends on a provider's keys. */
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    /* Back again: too soon to ask, and 10 s later it is not. */
    web(OK_HEAD, set_1());
    ck_assert_int_eq(v1(), MA_E_AUTH);
    ck_assert_ptr_nonnull(strstr(F.why, "key is not known"));
    ck_assert_int_eq(hits(), 2);
    ma_clock_manual_advance(&F.clock, MA_PROVIDER_REFRESH_MS - 1);
    ck_assert_int_eq(v1(), MA_E_AUTH);
    ck_assert_int_eq(hits(), 2);
    ma_clock_manual_advance(&F.clock, 1);
    ck_assert_int_eq(v1(), MA_OK);
    ck_assert_int_eq(hits(), 3);
}
END_TEST

/* Without a kid, a signature that does not verify is the only sign. */
START_TEST(rotation_without_kid)
{
    struct ma_span t = t_token(F.a, &E2, "{\"alg\":\"ES256\"}", payload(NULL));
    ck_assert_int_eq(v1(), MA_OK);
    web(OK_HEAD, set_2());
    ck_assert_int_eq(verify(t), MA_OK);
    ck_assert_int_eq(hits(), 2);
}
END_TEST

START_TEST(unknown_kid_that_stays_unknown)
{
    ck_assert_int_eq(v2(), MA_E_AUTH);
    ck_assert_int_eq(hits(), 2);
    ck_assert_int_eq(v2(), MA_E_AUTH);
    ck_assert_int_eq(hits(), 2);
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

START_TEST(unknown_kid_while_the_provider_is_down)
{
    ck_assert_int_eq(v1(), MA_OK);
    web("HTTP/1.1 500 Oops\r\nContent-Length: 0", "");
    ck_assert_int_eq(v2(), MA_E_UPSTREAM);
    ck_assert_int_eq(v1(), MA_OK);
    ck_assert_int_eq(v2(), MA_E_AUTH); /* throttled: all that is known is that the kid is not */
}
END_TEST

static const struct {
    const char *name, *head, *body;
} BAD_WEB[] = {
    {"500", "HTTP/1.1 500 Oops", "{\"keys\":[]}"},
    {"404", "HTTP/1.1 404 Not Found", ""},
    {"redirect", "HTTP/1.1 302 Found\r\nLocation: /jwks2", ""},
    {"HTML", OK_HEAD, "<html></html>"},
    {"nothing", OK_HEAD, ""},
    {"no keys member", OK_HEAD, "{}"},
    {"cut", OK_HEAD, "{\"keys\":["},
    {"keys twice", OK_HEAD, "{\"keys\":[],\"keys\":[]}"},
};

START_TEST(bad_answer)
{
    web(BAD_WEB[_i].head, BAD_WEB[_i].body);
    ck_assert_msg(v1() == MA_E_UPSTREAM, "%s: %s", BAD_WEB[_i].name, F.why);
    ck_assert_ptr_nonnull(strstr(F.why, "keys cannot be had"));
    ck_assert_int_eq(hits(), 1);
    /* Not asked again at once, but soon. */
    web(OK_HEAD, set_1());
    ck_assert_int_eq(v1(), MA_E_UPSTREAM);
    ck_assert_int_eq(hits(), 1);
    ma_clock_manual_advance(&F.clock, MA_FIRST_FETCH_MS);
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

/* However often it failed before: a login is never kept waiting for longer than the first pause. */
START_TEST(down_for_long)
{
    web("HTTP/1.1 500 Oops", "");
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(v1(), MA_E_UPSTREAM);
        ck_assert_int_eq(hits(), i + 1);
        ma_clock_manual_advance(&F.clock, MA_FIRST_FETCH_MS);
    }
    web(OK_HEAD, set_1());
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

/* A set without usable keys is a set. */
START_TEST(empty_set)
{
    web(OK_HEAD, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"e1\"}]}");
    ck_assert_int_eq(v1(), MA_E_AUTH);
    ck_assert_ptr_nonnull(strstr(F.why, "key is not known"));
}
END_TEST

START_TEST(nobody_there)
{
    struct ts other = {0};
    char uri[64];
    ck_assert(ts_start(&other));
    (void)snprintf(uri, sizeof(uri), "http://127.0.0.1:%d/jwks", other.port);
    ts_stop(&other);
    F.ask.jwks_uri = uri;
    ck_assert_int_eq(v1(), MA_E_UPSTREAM);
}
END_TEST

START_TEST(policy_is_the_callers)
{
    F.ask.policy = (struct ma_net_policy){0};
    ck_assert_int_eq(v1(), MA_E_UPSTREAM);
    ck_assert_int_eq(hits(), 0);
}
END_TEST

/* A discovery document decides what jwks_uri is: it may not lead to a file. */
START_TEST(uris_that_are_refused)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/jwks.json", F.dir);
    t_write(path, set_1());
    const char *const uris[] = {"",
                                ma_arena_printf(F.a, "file:%s", path),
                                ma_arena_printf(F.a, "FILE://%s", path),
                                path,
                                "ftp://127.0.0.1/jwks",
                                "https",
                                "javascript:0"};
    for (size_t i = 0; i < MA_COUNT(uris); i++) {
        F.ask.jwks_uri = uris[i];
        ck_assert_msg(v1() == MA_E_UPSTREAM, "%s", uris[i]);
    }
    char *long_uri = ma_arena_alloc(F.a, MA_JWKS_URI_MAX + 2);
    memset(long_uri, 'x', MA_JWKS_URI_MAX + 1);
    memcpy(long_uri, "https://", 8);
    long_uri[MA_JWKS_URI_MAX + 1] = 0;
    struct ma_issuer *i = NULL;
    ck_assert_int_eq(ma_provider_keys_get(&F.j->providers, long_uri, &i), MA_E_INVAL);
    long_uri[MA_JWKS_URI_MAX] = 0;
    ck_assert_int_eq(ma_provider_keys_get(&F.j->providers, long_uri, &i), MA_OK);
    ma_issuer_unref(i);
}
END_TEST

static const struct {
    const char *name, *head;
    int64_t due_ms; /* nine tenths of the age */
} MAX_AGES[] = {
    {"silent", OK_HEAD, 540000},
    {"an hour", OK_HEAD "\r\nCache-Control: public, max-age=3600", 3240000},
    {"tiny", OK_HEAD "\r\nCache-Control: max-age=1", 54000},
    {"a year", OK_HEAD "\r\nCache-Control: max-age=31536000", 77760000},
};

START_TEST(past_its_age)
{
    web(MAX_AGES[_i].head, set_1());
    ck_assert_int_eq(v1(), MA_OK);
    ma_clock_manual_advance(&F.clock, MAX_AGES[_i].due_ms - 1);
    ck_assert_int_eq(v1(), MA_OK);
    ck_assert_msg(hits() == 1, "%s", MAX_AGES[_i].name);
    /* A key that the provider withdrew ends with the set's age, also for a token that names it. */
    web(OK_HEAD, set_2());
    ma_clock_manual_advance(&F.clock, 1);
    ck_assert_int_eq(v1(), MA_E_AUTH);
    ck_assert_msg(hits() >= 2, "%s", MAX_AGES[_i].name);
    ck_assert_int_eq(v2(), MA_OK);
}
END_TEST

START_TEST(old_set_serves_while_the_provider_is_down)
{
    ck_assert_int_eq(v1(), MA_OK);
    web("HTTP/1.1 503 Later", "");
    const int64_t stale_ms = MA_JWKS_AGE_DEFAULT_S * 1000 + MA_JWKS_STALE_MS;
    ma_clock_manual_advance(&F.clock, MA_JWKS_AGE_DEFAULT_S * 1000);
    ck_assert_int_eq(v1(), MA_OK);
    ck_assert_int_eq(hits(), 2);
    ck_assert_int_eq(v1(), MA_OK); /* not tried at every token */
    ck_assert_int_eq(hits(), 2);
    ma_clock_manual_advance(&F.clock, MA_BACKOFF_MAX_MS);
    ck_assert_int_eq(v1(), MA_OK);
    ck_assert_int_eq(hits(), 3);
    F.clock.now_ms = NOW_S * 1000;
    ma_clock_manual_advance(&F.clock, stale_ms - 1);
    ck_assert_int_eq(v1(), MA_OK);
    /* Gone, and back when the provider is. */
    ma_clock_manual_advance(&F.clock, 1);
    ck_assert_int_eq(v1(), MA_E_UPSTREAM);
    web(OK_HEAD, set_1());
    ma_clock_manual_advance(&F.clock, MA_FIRST_FETCH_MS);
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

START_TEST(sets_are_per_uri)
{
    char other[80];
    (void)snprintf(other, sizeof(other), "%s?b", F.uri);
    ck_assert_int_eq(v1(), MA_OK);
    F.ask.jwks_uri = other;
    web(OK_HEAD, set_2());
    ck_assert_int_eq(v2(), MA_OK);
    ck_assert_int_eq(v1(), MA_E_AUTH);
    F.ask.jwks_uri = F.uri;
    ck_assert_int_eq(v1(), MA_OK);
}
END_TEST

static struct ma_issuer *set_number(size_t n)
{
    struct ma_issuer *i = NULL;
    ck_assert_int_eq(ma_provider_keys_get(&F.j->providers, ma_arena_printf(F.a, "https://p%zu.example/jwks", n), &i),
                     MA_OK);
    return i;
}

START_TEST(least_recently_used_gives_way)
{
    struct ma_issuer *first = set_number(0);
    for (size_t n = 1; n < MA_PROVIDER_SETS_MAX; n++)
        ma_issuer_unref(set_number(n));
    ck_assert_uint_eq(F.j->providers.n, MA_PROVIDER_SETS_MAX);
    struct ma_issuer *second = set_number(1);
    struct ma_issuer *again = set_number(0);
    ck_assert_ptr_eq(again, first);
    ma_issuer_unref(again);
    again = set_number(1);
    ck_assert_ptr_eq(again, second);
    ma_issuer_unref(again);
    /* Two more: 2 and 3 go; 0 and 1 were used since. */
    ma_issuer_unref(set_number(1000));
    ma_issuer_unref(set_number(1001));
    ck_assert_uint_eq(F.j->providers.n, MA_PROVIDER_SETS_MAX);
    for (size_t k = 0; k < MA_PROVIDER_SETS_MAX; k++) {
        ck_assert_str_ne(F.j->providers.v[k].issuer->url, "https://p2.example/jwks");
        ck_assert_str_ne(F.j->providers.v[k].issuer->url, "https://p3.example/jwks");
    }
    again = set_number(0);
    ck_assert_ptr_eq(again, first);
    ma_issuer_unref(again);
    /* Pushed out while in use: who has it keeps it. */
    for (size_t n = 2000; n < 2000 + MA_PROVIDER_SETS_MAX; n++)
        ma_issuer_unref(set_number(n));
    ck_assert_str_eq(first->url, "https://p0.example/jwks");
    ma_issuer_unref(first);
    ma_issuer_unref(second);
}
END_TEST

/* --- threads --- */

struct job {
    pthread_t thread;
    struct ma_span token;
    int rounds, bad;
};

static void *verifier(void *arg)
{
    struct job *job = arg;
    struct ma_httpc *c = NULL;
    struct ma_arena *a = ma_arena_new(16384, 1u << 20);
    job->bad = job->rounds;
    if (!a || ma_httpc_new(&c) != MA_OK)
        return NULL;
    for (int i = 0; i < job->rounds; i++) {
        struct ma_id_token out;
        char why[256];
        if (ma_id_token_verify(F.j, c, a, job->token, &F.ask, NOW_S * 1000, &out, why) == MA_OK)
            job->bad--;
        ma_arena_reset(a);
    }
    ma_httpc_free(c);
    ma_arena_free(a);
    return NULL;
}

#define JOBS 6
static void start(struct job *job, size_t n, struct ma_span token)
{
    for (size_t i = 0; i < n; i++) {
        job[i] = (struct job){.token = token, .rounds = 20};
        ck_assert_int_eq(pthread_create(&job[i].thread, NULL, verifier, &job[i]), 0);
    }
}
static void finish(struct job *job, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(job[i].thread, NULL);
        ck_assert_int_eq(job[i].bad, 0);
    }
}

START_TEST(many_at_once_fetch_once)
{
    struct job jobs[JOBS];
    ts_hold(&F.web, true);
    start(jobs, JOBS, token_1());
    ts_wait_held(&F.web);
    ts_hold(&F.web, false);
    finish(jobs, JOBS);
    ck_assert_int_eq(hits(), 1);
    /* The same when the set is past its age. */
    ma_clock_manual_advance(&F.clock, MA_JWKS_AGE_DEFAULT_S * 1000);
    start(jobs, JOBS, token_1());
    finish(jobs, JOBS);
    ck_assert_int_eq(hits(), 2);
}
END_TEST

/* All of them see the unknown kid; one asks, and the others find what it brought. */
START_TEST(many_at_once_after_a_rotation)
{
    struct job jobs[JOBS];
    ck_assert_int_eq(v1(), MA_OK);
    web(OK_HEAD, set_2());
    start(jobs, JOBS, token_2());
    finish(jobs, JOBS);
    ck_assert_int_eq(hits(), 2);
}
END_TEST

/* Who has the keys waits for nobody, and another provider's delay is none of ours. */
START_TEST(slow_provider_delays_only_itself)
{
    struct job slow;
    ck_assert_int_eq(v1(), MA_OK);
    ts_hold(&F.web, true);
    start(&slow, 1, token_2()); /* an unknown kid */
    ts_wait_held(&F.web);
    ck_assert_int_eq(v1(), MA_OK);
    struct ma_issuer *i = set_number(1);
    ma_issuer_unref(i);
    web(OK_HEAD, set_2());
    ts_hold(&F.web, false);
    finish(&slow, 1);
    ck_assert_int_eq(hits(), 2);
}
END_TEST

/* --- client assertions --- */

static struct ma_span assertion(void)
{
    struct ma_span t = MA_SPAN_NULL;
    ck_assert_int_eq(ma_jose_client_assertion(F.j, F.a, CLIENT, IDP "/token", NOW_S, &t), MA_OK);
    return t;
}

struct assertion_claims {
    struct ma_span iss, sub, aud, jti;
    int64_t iat, exp;
};
#define AF(member, t)                                                                                                  \
    {                                                                                                                  \
        .name = #member, .type = (t), .flags = MA_REQ, .off = offsetof(struct assertion_claims, member)                \
    }
/* Closed: nothing else is in it. */
static const struct ma_jfield ASSERTION_FIELDS[] = {AF(iss, MA_F_STR), AF(sub, MA_F_STR), AF(aud, MA_F_STR),
                                                    AF(jti, MA_F_STR), AF(iat, MA_F_INT), AF(exp, MA_F_INT)};
static const struct ma_shape ASSERTION_SHAPE = MA_SHAPE(struct assertion_claims, ASSERTION_FIELDS);

static struct assertion_claims read_assertion(struct ma_span payload_text)
{
    struct assertion_claims c = {0};
    struct ma_verrs errs = {.n = 0, .arena = F.a};
    struct ma_json *doc = NULL;
    ck_assert_int_eq(ma_json_parse(payload_text, &doc), MA_OK);
    ck_assert_int_eq(ma_json_decode(doc, F.a, &ASSERTION_SHAPE, &c, &errs), MA_OK);
    ma_json_free(doc);
    return c;
}

START_TEST(assertion_is_good)
{
    struct ma_jws jws;
    struct ma_span text;
    struct ma_jwks *set = NULL;
    struct ma_span t = assertion();
    ck_assert_ptr_null(ma_jws_parse(F.a, t, &jws));
    ck_assert_int_eq(ma_jose_jwks(F.j, F.a, &text), MA_OK);
    ck_assert_int_eq(ma_jwks_parse(text, &set), MA_OK);
    ck_assert_int_eq(ma_jws_check(&jws, set, UINT32_MAX, NOW_S * 1000), MA_JWS_GOOD);
    struct ma_span start_text = ma_span_str(t_b64(
        F.a, ma_span_str(ma_arena_printf(F.a, "{\"alg\":\"RS256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", set->v[0].kid))));
    ck_assert(ma_span_eq(ma_span_of(t.p, start_text.n), start_text) && t.p[start_text.n] == '.');
    ma_jwks_unref(set);
    struct assertion_claims c = read_assertion(jws.payload);
    ck_assert(ma_span_eq_str(c.iss, CLIENT));
    ck_assert(ma_span_eq_str(c.sub, CLIENT));
    ck_assert(ma_span_eq_str(c.aud, IDP "/token"));
    ck_assert_int_eq(c.iat, NOW_S);
    ck_assert_int_eq(c.exp, NOW_S + MA_ASSERTION_TTL_S);
    ck_assert_uint_eq(c.jti.n, MA_B64URL_LEN(16));
    /* Used once (RFC 7523 §3, point 7). */
    ck_assert_ptr_null(ma_jws_parse(F.a, assertion(), &jws));
    ck_assert(!ma_span_eq(read_assertion(jws.payload).jti, c.jti));
    ck_assert_uint_eq(t.p[t.n], 0);
}
END_TEST

static int no_rand(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}

START_TEST(assertion_refusals)
{
    static const struct {
        const char *client, *audience;
    } rows[] = {{NULL, "x"}, {"", "x"}, {"x", NULL}, {"x", ""}, {"\xff", "x"}, {"x", "\xff"}};
    struct ma_span t = MA_SPAN_NULL;
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert_int_eq(ma_jose_client_assertion(F.j, F.a, rows[i].client, rows[i].audience, NOW_S, &t), MA_E_INVAL);
    F.rand.rand.fill = no_rand;
    ck_assert_int_eq(ma_jose_client_assertion(F.j, F.a, "x", "x", NOW_S, &t), MA_E_IO);
    ck_assert_ptr_null(t.p);
}
END_TEST

/* The own keys sign both: an assertion whose claims look like an access token's is none for its type. */
START_TEST(assertion_is_no_access_token)
{
    struct ma_ring *ring = ma_jose_ring(F.j);
    const char *reason = NULL;
    const char *const typ[] = {"at+jwt", "JWT"};
    for (size_t i = 0; i < MA_COUNT(typ); i++) {
        struct ma_token out;
        uint8_t sig[MA_JWS_SIG_MAX];
        size_t n = 0;
        char *h =
            ma_arena_printf(F.a, "{\"alg\":\"RS256\",\"kid\":\"%s\",\"typ\":\"%s\"}", ring->jwks->v[0].kid, typ[i]);
        char *in = ma_arena_printf(F.a, "%s.%s", t_b64(F.a, ma_span_str(h)),
                                   t_b64(F.a, MA_LIT("{\"iss\":\"" BASE "/\",\"aud\":\"" BASE "/me/\",\"sub\":\"s\","
                                                     "\"client_id\":\"c\",\"exp\":1700000060}")));
        ck_assert_int_eq(ma_key_sign(ring->jwks->v[0].key, MA_JWS_RS256, ma_span_str(in), sig, &n), MA_OK);
        char *t = ma_arena_printf(F.a, "%s.%s", in, t_b64(F.a, ma_span_of(sig, n)));
        enum ma_token_verdict v = ma_token_verify(F.j, F.a, ma_span_str(t), 0, NOW_S * 1000, &out, &reason);
        ck_assert_int_eq((int)v, i == 0 ? (int)MA_TOK_OK : (int)MA_TOK_BAD);
    }
    ck_assert_str_eq(reason, "the token is of another type");
    ma_ring_unref(ring);
}
END_TEST

static void add_claim_tests(TCase *t)
{
    tcase_add_test(t, good);
    tcase_add_loop_test(t, claim, 0, MA_COUNT(CLAIMS));
    tcase_add_test(t, texts_of_the_wrong_type_are_absent);
    tcase_add_test(t, payload_that_is_no_object);
    tcase_add_test(t, length_of_sub);
    tcase_add_test(t, nonce_that_was_not_asked_for);
    tcase_add_loop_test(t, tenant, 0, MA_COUNT(TENANT));
    tcase_add_loop_test(t, max_age, 0, MA_COUNT(AGES));
    tcase_add_test(t, at_hash);
    tcase_add_test(t, at_hash_sizes);
    tcase_add_test(t, jws_hash);
    tcase_add_loop_test(t, header, 0, MA_COUNT(HEADERS));
    tcase_add_test(t, remembered_access_token_header);
    tcase_add_test(t, hmac_with_a_public_key);
    tcase_add_test(t, forms);
    tcase_add_test(t, length);
    tcase_add_test(t, asks_that_are_not_whole);
}

static void add_key_tests(TCase *t)
{
    tcase_add_test(t, fetched_once);
    tcase_add_test(t, rotation);
    tcase_add_test(t, rotation_without_kid);
    tcase_add_test(t, unknown_kid_that_stays_unknown);
    tcase_add_test(t, unknown_kid_while_the_provider_is_down);
    tcase_add_loop_test(t, bad_answer, 0, MA_COUNT(BAD_WEB));
    tcase_add_test(t, down_for_long);
    tcase_add_test(t, empty_set);
    tcase_add_test(t, nobody_there);
    tcase_add_test(t, policy_is_the_callers);
    tcase_add_test(t, uris_that_are_refused);
    tcase_add_loop_test(t, past_its_age, 0, MA_COUNT(MAX_AGES));
    tcase_add_test(t, old_set_serves_while_the_provider_is_down);
    tcase_add_test(t, sets_are_per_uri);
    tcase_add_test(t, least_recently_used_gives_way);
    tcase_add_test(t, many_at_once_fetch_once);
    tcase_add_test(t, many_at_once_after_a_rotation);
    tcase_add_test(t, slow_provider_delays_only_itself);
}

static Suite *suite(void)
{
    Suite *s = suite_create("id_token");
    TCase *t = tcase_create("id_token");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    add_claim_tests(t);
    add_key_tests(t);
    tcase_add_test(t, assertion_is_good);
    tcase_add_test(t, assertion_refusals);
    tcase_add_test(t, assertion_is_no_access_token);
    suite_add_tcase(s, t);
    return s;
}

static char *make_ring(void)
{
    struct ma_ring *r = NULL;
    struct ma_file_sig sig;
    char path[128];
    char *text = calloc(1, 8192);
    paths();
    T_NEED(text && ma_ring_open(F.keys, NOW_S, &r, &sig, F.why) == MA_OK);
    ma_ring_unref(r);
    (void)snprintf(path, sizeof(path), "%s/signing.keys", F.keys);
    FILE *f = fopen(path, "r");
    T_NEED(f && fread(text, 1, 8191, f) > 0);
    (void)fclose(f);
    ma_arena_free(F.a);
    t_remove_dir(F.dir);
    return text;
}

int main(void)
{
    if (ma_crypto_init() < 0 || ma_httpc_global_init() < 0)
        return EXIT_FAILURE;
    t_key_make(&E1, MA_KEY_EC_P256);
    t_key_make(&E2, MA_KEY_EC_P256);
    t_key_make(&R1, MA_KEY_RSA);
    t_key_make(&D1, MA_KEY_ED25519);
    RING = make_ring();
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    free(RING);
    t_key_free(&E1);
    t_key_free(&E2);
    t_key_free(&R1);
    t_key_free(&D1);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Key sets: what is taken from a document, files that change, fetching with throttle and single
 * flight, sets that grow old, and the own ring.
 */
#include "jose_util.h"
#include "tiny_server.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NOW_S INT64_C(1700000000)
#define BASE "https://login.example.com"

/* Keys are made once in main, before any test forks. */
static struct t_key K1, E1, E2;
static char *RING; /* text of a key ring, to start from */

static struct {
    char dir[64], keys[96], file[96], file_uri[104], web_uri[64], issuer[64];
    struct ma_arena *a;
    struct ma_clock_manual clock;
    struct ma_conf conf;
    struct ma_conf_issuer issuers[2];
    struct ma_jose *j;
    struct ma_httpc *c;
    struct ts web;
    char why[256];
} F;

static void set_up(void)
{
    memset(&F, 0, sizeof(F));
    t_dir(F.dir);
    (void)snprintf(F.keys, sizeof(F.keys), "%s/keys", F.dir);
    (void)snprintf(F.file, sizeof(F.file), "%s/jwks.json", F.dir);
    (void)snprintf(F.file_uri, sizeof(F.file_uri), "file:%s", F.file);
    F.a = ma_arena_new(65536, 8u << 20);
    ma_clock_manual_init(&F.clock, NOW_S * 1000);
    F.conf = (struct ma_conf){.base_url = BASE,
                              .key_directory = F.keys,
                              .token_service = true,
                              .issuers = F.issuers,
                              .network = {.allow_http_loopback = true}};
}

static void tear_down(void)
{
    ma_jose_close(F.j);
    ma_httpc_free(F.c);
    if (F.web.port) {
        ts_hold(&F.web, false);
        ts_stop(&F.web);
    }
    ma_arena_free(F.a);
    t_remove_dir(F.dir);
}

static void issuer(const char *url, const char *uri)
{
    F.issuers[F.conf.n_issuers++] = (struct ma_conf_issuer){url, uri, "", UINT32_MAX, true};
}

static int open_fresh(void)
{
    return ma_jose_open(&F.conf, &F.clock.clock, ma_rand_system(), NULL, &F.j, F.why);
}

/* With a ring that is there already: making one takes long. */
static int open_it(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/signing.keys", F.keys);
    if (mkdir(F.keys, 0700) == 0) {
        t_write(path, RING);
        ck_assert_int_eq(chmod(path, 0600), 0);
    }
    return open_fresh();
}

static char *set_of(const char *one, const char *two)
{
    return ma_arena_printf(F.a, "{\"keys\":[%s%s%s]}", one, two[0] ? "," : "", two);
}

static char *set_1(void)
{
    return set_of(t_jwk(F.a, &E1, "e1", ""), "");
}
static char *set_2(void)
{
    return set_of(t_jwk(F.a, &E2, "e2", ""), "");
}
static char *set_12(void)
{
    return set_of(t_jwk(F.a, &E1, "e1", ""), t_jwk(F.a, &E2, "e2", ""));
}

static struct ma_span token(const struct t_key *k, const char *kid, const char *iss)
{
    const char *h = ma_arena_printf(F.a, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    const char *p = ma_arena_printf(
        F.a, "{\"iss\":\"%s\",\"aud\":\"" BASE "/me/\",\"sub\":\"s\",\"azp\":\"spa\",\"exp\":1800000000}", iss);
    return t_token(F.a, k, h, p);
}

static enum ma_token_verdict check(struct ma_span t)
{
    struct ma_token out;
    const char *reason = NULL;
    return ma_token_verify(F.j, F.a, t, 0, NOW_S * 1000, &out, &reason);
}
#define IDP "https://idp.example/"
static int v1(void)
{
    return (int)check(token(&E1, "e1", F.issuers[0].url));
}
static int v2(void)
{
    return (int)check(token(&E2, "e2", F.issuers[0].url));
}

/* --- documents --- */

#define X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define GOOD_EC "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
static const struct {
    const char *name, *text;
    int keys; /* -1: the document is refused */
} DOCS[] = {
    {"good", "{\"keys\":[{" GOOD_EC "}]}", 1},
    {"empty list", "{\"keys\":[]}", 0},
    {"unknown members", "{\"keys\":[{" GOOD_EC ",\"z\":1}],\"more\":[]}", 1},
    {"use sig", "{\"keys\":[{\"use\":\"sig\"," GOOD_EC "}]}", 1},
    {"use enc", "{\"keys\":[{\"use\":\"enc\"," GOOD_EC "}]}", 0},
    {"use number", "{\"keys\":[{\"use\":1," GOOD_EC "}]}", 0},
    {"key_ops verify", "{\"keys\":[{\"key_ops\":[\"sign\",\"verify\"]," GOOD_EC "}]}", 1},
    {"key_ops encrypt", "{\"keys\":[{\"key_ops\":[\"encrypt\"]," GOOD_EC "}]}", 0},
    {"key_ops empty", "{\"keys\":[{\"key_ops\":[]," GOOD_EC "}]}", 0},
    {"key_ops text", "{\"keys\":[{\"key_ops\":\"verify\"," GOOD_EC "}]}", 0},
    {"alg fits", "{\"keys\":[{\"alg\":\"ES256\"," GOOD_EC "}]}", 1},
    {"alg of another curve", "{\"keys\":[{\"alg\":\"ES384\"," GOOD_EC "}]}", 0},
    {"alg of another type", "{\"keys\":[{\"alg\":\"RS256\"," GOOD_EC "}]}", 0},
    {"alg unknown", "{\"keys\":[{\"alg\":\"ECDH-ES\"," GOOD_EC "}]}", 0},
    {"alg none", "{\"keys\":[{\"alg\":\"none\"," GOOD_EC "}]}", 0},
    {"alg null", "{\"keys\":[{\"alg\":null," GOOD_EC "}]}", 1},
    {"kid number", "{\"keys\":[{\"kid\":1," GOOD_EC "}]}", 0},
    {"kid twice", "{\"keys\":[{\"kid\":\"a\"," GOOD_EC "},{\"kid\":\"a\"," GOOD_EC "}]}", 1},
    {"no kid twice", "{\"keys\":[{" GOOD_EC "},{" GOOD_EC "}]}", 2},
    {"kid escaped", "{\"keys\":[{\"kid\":\"a\\u0062\\\"\"," GOOD_EC "}]}", 1},
    {"oct", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}]}", 0},
    {"kty unknown", "{\"keys\":[{\"kty\":\"weird\"}]}", 0},
    {"kty missing", "{\"keys\":[{\"crv\":\"P-256\"}]}", 0},
    {"kty number", "{\"keys\":[{\"kty\":7}]}", 0},
    {"empty key", "{\"keys\":[{}]}", 0},
    {"crv unknown", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" X "\",\"y\":\"" Y "\"}]}", 0},
    {"crv of another size", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\"}]}", 0},
    {"off the curve", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\"}]}", 0},
    {"y missing", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}]}", 0},
    {"x with padding", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "=\",\"y\":\"" Y "\"}]}", 0},
    {"x short", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"" Y "\"}]}", 0},
    {"RSA tiny", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"sXch\",\"e\":\"AQAB\"}]}", 0},
    {"RSA without n", "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\"}]}", 0},
    {"Ed25519",
     "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}", 1},
    {"Ed25519 short", "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrc\"}]}", 0},
    {"X25519",
     "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}", 0},
    {"a bad one between good ones", "{\"keys\":[{" GOOD_EC ",\"kid\":\"a\"},{\"kty\":1},{" GOOD_EC ",\"kid\":\"b\"}]}",
     2},
    {"no keys member", "{}", -1},
    {"keys an object", "{\"keys\":{}}", -1},
    {"keys null", "{\"keys\":null}", -1},
    {"keys of text", "{\"keys\":[\"x\"]}", -1},
    {"keys twice", "{\"keys\":[],\"keys\":[{" GOOD_EC "}]}", -1},
    {"a member of a key twice", "{\"keys\":[{" GOOD_EC ",\"kty\":\"EC\"}]}", -1},
    {"array", "[]", -1},
    {"cut", "{\"keys\":[{" GOOD_EC, -1},
    {"trailing text", "{\"keys\":[]} x", -1},
    {"nothing", "", -1},
    {"HTML", "<html></html>", -1},
};

START_TEST(document)
{
    struct ma_jwks *s = NULL;
    int r = ma_jwks_parse(ma_span_str(DOCS[_i].text), &s);
    if (DOCS[_i].keys < 0) {
        ck_assert_msg(r == MA_E_PARSE, "%s: %s", DOCS[_i].name, ma_err_name(r));
        return;
    }
    ck_assert_msg(r == MA_OK, "%s: %s", DOCS[_i].name, ma_err_name(r));
    ck_assert_msg((int)s->n == DOCS[_i].keys, "%s: %zu", DOCS[_i].name, s->n);
    ma_jwks_unref(s);
}
END_TEST

START_TEST(document_limits)
{
    static const struct {
        size_t keys;
        int want;
    } rows[] = {{MA_JWKS_KEYS_MAX, MA_OK}, {MA_JWKS_KEYS_MAX + 1, MA_E_PARSE}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_buf b;
        struct ma_jwks *s = NULL;
        ma_buf_init_arena(&b, F.a, 65536, 1u << 20);
        ma_buf_str(&b, "{\"keys\":[");
        for (size_t k = 0; k < rows[i].keys; k++)
            ma_buf_printf(&b, "%s{" GOOD_EC ",\"kid\":\"%zu\"}", k ? "," : "", k);
        ma_buf_str(&b, "]}");
        ck_assert_int_eq(ma_jwks_parse(ma_buf_view(&b), &s), rows[i].want);
        ma_jwks_unref(s);
    }
    char *blank = ma_arena_alloc(F.a, MA_JWKS_BYTES_MAX + 1);
    memset(blank, ' ', MA_JWKS_BYTES_MAX + 1);
    memcpy(blank, "{\"keys\":[]}", 11);
    struct ma_jwks *s = NULL;
    ck_assert_int_eq(ma_jwks_parse(ma_span_of(blank, MA_JWKS_BYTES_MAX), &s), MA_OK);
    ma_jwks_unref(s);
    ck_assert_int_eq(ma_jwks_parse(ma_span_of(blank, MA_JWKS_BYTES_MAX + 1), &s), MA_E_RANGE);
}
END_TEST

START_TEST(algorithms_of_a_key)
{
    struct ma_jwks *s = NULL;
    const uint32_t rsa = 1u << MA_JWS_RS256 | 1u << MA_JWS_RS384 | 1u << MA_JWS_RS512 | 1u << MA_JWS_PS256 |
                         1u << MA_JWS_PS384 | 1u << MA_JWS_PS512;
    ck_assert_int_eq(
        ma_jwks_parse(ma_span_str(set_of(t_jwk(F.a, &K1, "a", ""), t_jwk(F.a, &K1, "b", "\"alg\":\"PS384\","))), &s),
        MA_OK);
    ck_assert_uint_eq(s->n, 2);
    ck_assert_uint_eq(s->v[0].algs, rsa);
    ck_assert_uint_eq(s->v[1].algs, 1u << MA_JWS_PS384);
    ma_jwks_unref(s);
    ck_assert_int_eq(ma_jwks_parse(ma_span_str(set_1()), &s), MA_OK);
    ck_assert_uint_eq(s->v[0].algs, 1u << MA_JWS_ES256);
    ma_jwks_unref(s);
}
END_TEST

/* RFC 7638 §3.1 */
START_TEST(thumbprint)
{
    struct ma_jwks *s = NULL;
    char out[44];
    ck_assert_int_eq(
        ma_jwks_parse(
            MA_LIT(
                "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86z"
                "wu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4Qy"
                "Q5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTW"
                "hAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\","
                "\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}]}"),
            &s),
        MA_OK);
    ck_assert_uint_eq(s->n, 1);
    ck_assert_int_eq(ma_jwk_thumbprint(s->v[0].key, F.a, out), MA_OK);
    ck_assert_str_eq(out, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    ma_jwks_unref(s);
}
END_TEST

/* --- files --- */

START_TEST(file_changes)
{
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_msg(open_it() == MA_OK, "%s", F.why);
    uint64_t epoch = ma_jose_epoch(F.j);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    /* A key more: nothing that was remembered dies. */
    t_write(F.file, set_12());
    ma_jose_watch(F.j);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq(v2(), MA_TOK_OK);
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    /* A key gone: at once, and the epoch says so. */
    t_write(F.file, set_2());
    ma_jose_watch(F.j);
    ck_assert_int_ne(v1(), MA_TOK_OK);
    ck_assert_int_eq(v2(), MA_TOK_OK);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
}
END_TEST

START_TEST(file_key_swapped_under_its_kid)
{
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_int_eq(open_it(), MA_OK);
    uint64_t epoch = ma_jose_epoch(F.j);
    t_write(F.file, set_of(t_jwk(F.a, &E2, "e1", ""), ""));
    ma_jose_watch(F.j);
    ck_assert_int_eq(v1(), MA_TOK_BAD);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
}
END_TEST

START_TEST(file_broken_or_gone_keeps_the_keys)
{
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_int_eq(open_it(), MA_OK);
    uint64_t epoch = ma_jose_epoch(F.j);
    t_write(F.file, "{\"keys\":[");
    ma_jose_watch(F.j);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq(unlink(F.file), 0);
    ma_jose_watch(F.j);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    t_write(F.file, set_2());
    ma_jose_watch(F.j);
    ck_assert_int_eq(v2(), MA_TOK_OK);
}
END_TEST

START_TEST(file_missing_at_the_start)
{
    issuer(IDP, F.file_uri);
    ck_assert_int_lt(open_it(), 0);
    ck_assert_ptr_nonnull(strstr(F.why, F.file));
    ck_assert_ptr_nonnull(strstr(F.why, IDP));
    ck_assert_ptr_null(F.j);
}
END_TEST

START_TEST(file_not_regular)
{
    issuer(IDP, F.file_uri);
    ck_assert_int_eq(mkfifo(F.file, 0600), 0);
    ck_assert_int_lt(open_it(), 0);
}
END_TEST

/* A stranger's kid reads the file again, once in a while. */
START_TEST(file_unknown_kid)
{
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_int_eq(open_it(), MA_OK);
    ck_assert_int_eq(v2(), MA_TOK_NEED_KEYS);
    t_write(F.file, set_12());
    ck_assert_int_eq(ma_jose_fetch(F.j, NULL, 1), MA_OK);
    ck_assert_int_eq(v2(), MA_TOK_OK);
    ck_assert_int_eq((int)check(token(&E2, "e3", IDP)), MA_TOK_BAD);
    ma_clock_manual_advance(&F.clock, 30000);
    ck_assert_int_eq((int)check(token(&E2, "e3", IDP)), MA_TOK_NEED_KEYS);
}
END_TEST

START_TEST(reload)
{
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_int_eq(open_it(), MA_OK);
    uint64_t epoch = ma_jose_epoch(F.j);
    /* The same again: nothing happens. */
    ck_assert_msg(ma_jose_reload(F.j, &F.conf, F.why) == MA_OK, "%s", F.why);
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    /* Another list of algorithms: the keys stay, the rule is new. */
    F.issuers[0].algorithms = 1u << MA_JWS_RS256;
    ck_assert_int_eq(ma_jose_reload(F.j, &F.conf, F.why), MA_OK);
    ck_assert_int_eq(v1(), MA_TOK_BAD);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
    epoch = ma_jose_epoch(F.j);
    /* A second issuer whose file is not there: reported, and the first works on. */
    F.issuers[0].algorithms = UINT32_MAX;
    char missing[128];
    (void)snprintf(missing, sizeof(missing), "file:%s/other.json", F.dir);
    issuer("https://other.example/", missing);
    ck_assert_int_lt(ma_jose_reload(F.j, &F.conf, F.why), 0);
    ck_assert_ptr_nonnull(strstr(F.why, "other.json"));
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq((int)check(token(&E2, "e2", "https://other.example/")), MA_TOK_NEED_KEYS);
    t_write(missing + 5, set_2());
    ma_jose_watch(F.j);
    ck_assert_int_eq((int)check(token(&E2, "e2", "https://other.example/")), MA_TOK_OK);
    /* An issuer that leaves takes its tokens along. */
    epoch = ma_jose_epoch(F.j);
    F.conf.n_issuers = 1;
    ck_assert_int_eq(ma_jose_reload(F.j, &F.conf, F.why), MA_OK);
    ck_assert_int_eq((int)check(token(&E2, "e2", "https://other.example/")), MA_TOK_BAD);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
}
END_TEST

/* --- the network --- */

static void web(size_t i, const char *path, const char *head, const char *body)
{
    (void)pthread_mutex_lock(&F.web.lock);
    F.web.routes[i].path = path;
    F.web.routes[i].head = head;
    F.web.routes[i].body = body;
    (void)pthread_mutex_unlock(&F.web.lock);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json"

static void open_web(const char *url)
{
    ck_assert(ts_start(&F.web));
    (void)snprintf(F.web_uri, sizeof(F.web_uri), "http://127.0.0.1:%d/jwks", F.web.port);
    (void)snprintf(F.issuer, sizeof(F.issuer), "http://127.0.0.1:%d/", F.web.port);
    issuer(url ? url : F.issuer, url ? F.web_uri : "");
    ck_assert_int_eq(ma_httpc_new(&F.c), MA_OK);
    ck_assert_int_eq(open_it(), MA_OK);
}

START_TEST(web_fetch_and_rotation)
{
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    /* The first fetch counts for the throttle of forced ones. */
    web(0, "/jwks", OK_HEAD, set_12());
    ck_assert_int_eq(v2(), MA_TOK_BAD);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_E_BUSY);
    ma_clock_manual_advance(&F.clock, MA_FORCED_REFRESH_MS);
    ck_assert_int_eq(v2(), MA_TOK_NEED_KEYS);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ck_assert_int_eq(v2(), MA_TOK_OK);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 2), MA_E_NOTFOUND);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, -1), MA_E_NOTFOUND);
}
END_TEST

START_TEST(web_first_fetch_fails)
{
    open_web(IDP);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_E_UPSTREAM);
    ck_assert_int_eq(v1(), MA_TOK_NO_KEYS);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_E_BUSY);
    ma_clock_manual_advance(&F.clock, MA_FIRST_FETCH_MS);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    web(0, "/jwks", OK_HEAD, set_1());
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ck_assert_int_eq(v1(), MA_TOK_OK);
}
END_TEST

static const struct {
    const char *name, *head, *body;
} BAD_WEB[] = {
    {"500", "HTTP/1.1 500 No", "{\"keys\":[]}"},
    {"204", "HTTP/1.1 204 No Content", ""},
    {"redirect", "HTTP/1.1 302 Found\r\nLocation: /other", ""},
    {"HTML", "HTTP/1.1 200 OK", "<html></html>"},
    {"cut", "HTTP/1.1 200 OK", "{\"keys\":["},
    {"shorter than it says", "HTTP/1.1 200 OK\r\nContent-Length: 999", "{\"keys\":[]}"},
};

START_TEST(web_bad_answer_keeps_the_keys)
{
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    web(1, "/other", OK_HEAD, set_2());
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ma_clock_manual_advance(&F.clock, MA_FORCED_REFRESH_MS);
    web(0, "/jwks", BAD_WEB[_i].head, BAD_WEB[_i].body);
    ck_assert_msg(ma_jose_fetch(F.j, F.c, 1) < 0, "%s", BAD_WEB[_i].name);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq(ts_hits(&F.web, 1), 0);
    /* A failed forced refresh counts too: the throttle fails closed. */
    ck_assert_int_eq(v2(), MA_TOK_BAD);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_E_BUSY);
}
END_TEST

START_TEST(web_loopback_needs_leave)
{
    F.conf.network.allow_http_loopback = false;
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_E_UPSTREAM);
    ck_assert_int_eq(ts_hits(&F.web, 0), 0);
}
END_TEST

/* What the background does, with the clock in our hands. */
START_TEST(web_ages)
{
    open_web(IDP);
    web(0, "/jwks", OK_HEAD "\r\nCache-Control: max-age=100", set_1());
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ma_clock_manual_advance(&F.clock, 89999);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    ma_clock_manual_advance(&F.clock, 1);
    web(0, "/jwks", OK_HEAD, set_2());
    uint64_t epoch = ma_jose_epoch(F.j);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
    ck_assert_int_eq(v2(), MA_TOK_OK);
    ck_assert_int_ne(v1(), MA_TOK_OK);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
    /* Without a max-age: ten minutes, less a tenth. */
    ma_clock_manual_advance(&F.clock, 539999);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
    ma_clock_manual_advance(&F.clock, 1);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 3);
}
END_TEST

static const struct {
    const char *head;
    int64_t refresh_ms;
} AGES[] = {
    {OK_HEAD "\r\nCache-Control: max-age=1", 54000},
    {OK_HEAD "\r\nCache-Control: max-age=0", 54000},
    {OK_HEAD "\r\nCache-Control: max-age=999999999999999999999", INT64_C(77760000)},
    {OK_HEAD "\r\nCache-Control: max-age=3600", 3240000},
    {OK_HEAD "\r\nCache-Control: no-store", 540000},
};

START_TEST(web_age_clamps)
{
    open_web(IDP);
    web(0, "/jwks", AGES[_i].head, set_1());
    ma_jose_refresh(F.j, F.c);
    ma_clock_manual_advance(&F.clock, AGES[_i].refresh_ms - 1);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    ma_clock_manual_advance(&F.clock, 1);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
}
END_TEST

START_TEST(web_stale_then_gone)
{
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ma_jose_refresh(F.j, F.c);
    web(0, "/jwks", "HTTP/1.1 503 No", "");
    uint64_t epoch = ma_jose_epoch(F.j);
    ma_clock_manual_advance(&F.clock, 540000);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
    /* Not again before the pause is over, which doubles. */
    ma_clock_manual_advance(&F.clock, 4999);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 2);
    ma_clock_manual_advance(&F.clock, 1);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 3);
    ma_clock_manual_advance(&F.clock, 9999);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(ts_hits(&F.web, 0), 3);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    ma_clock_manual_advance(&F.clock, 600000 + MA_JWKS_STALE_MS);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
}
END_TEST

/* Failing in the background does not close the door on the first request. */
START_TEST(web_background_failure_is_not_held_against_requests)
{
    open_web(IDP);
    ma_jose_refresh(F.j, F.c);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    web(0, "/jwks", OK_HEAD, set_1());
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ck_assert_int_eq(v1(), MA_TOK_OK);
}
END_TEST

START_TEST(web_discovery)
{
    open_web(NULL);
    web(0, "/jwks", OK_HEAD, set_1());
    web(1, "/.well-known/openid-configuration", OK_HEAD,
        ma_arena_printf(F.a, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s\",\"x\":1}", F.issuer, F.web_uri));
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    ck_assert_int_eq(ts_hits(&F.web, 1), 1);
}
END_TEST

/* %1: the issuer, %2: the jwks_uri */
static const char *const BAD_DISCOVERY[] = {
    "{\"issuer\":\"https://evil.example/\",\"jwks_uri\":\"%2\"}",
    "{\"jwks_uri\":\"%2\"}",
    "{\"issuer\":\"%1\"}",
    "{\"issuer\":\"%1\",\"jwks_uri\":\"file:///etc/passwd\"}",
    "{\"issuer\":\"%1\",\"jwks_uri\":\"https://169.254.169.254/x\"}",
    "{\"issuer\":\"%1\",\"jwks_uri\":7}",
    "{\"issuer\":\"%1\",\"issuer\":\"%1\",\"jwks_uri\":\"%2\"}",
    "[]",
    "not found",
};

static char *fill(const char *fmt)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, F.a, 512, 4096);
    for (; *fmt; fmt++) {
        if (*fmt == '%')
            ma_buf_str(&b, *++fmt == '1' ? F.issuer : F.web_uri);
        else
            ma_buf_byte(&b, (uint8_t)*fmt);
    }
    ma_buf_byte(&b, 0);
    return (char *)b.p;
}

START_TEST(web_bad_discovery)
{
    open_web(NULL);
    web(0, "/jwks", OK_HEAD, set_1());
    web(1, "/.well-known/openid-configuration", OK_HEAD, fill(BAD_DISCOVERY[_i]));
    ck_assert_msg(ma_jose_fetch(F.j, F.c, 1) < 0, "%s", BAD_DISCOVERY[_i]);
    ck_assert_int_eq(ts_hits(&F.web, 0), 0);
    ck_assert_int_eq(v1(), MA_TOK_NO_KEYS);
}
END_TEST

static void *fetcher(void *arg)
{
    struct ma_httpc *c = NULL;
    int *r = arg;
    if (ma_httpc_new(&c) == MA_OK)
        *r = ma_jose_fetch(F.j, c, 1);
    ma_httpc_free(c);
    return NULL;
}

/* One asks, eight wait, one request goes out. */
START_TEST(web_single_flight)
{
    enum { N = 8 };
    pthread_t first;
    pthread_t rest[N];
    int first_r = 1;
    int rest_r[N];
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ts_hold(&F.web, true);
    ck_assert_int_eq(pthread_create(&first, NULL, fetcher, &first_r), 0);
    ts_wait_held(&F.web);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
    for (size_t i = 0; i < N; i++) {
        rest_r[i] = 1;
        ck_assert_int_eq(pthread_create(&rest[i], NULL, fetcher, &rest_r[i]), 0);
    }
    ts_hold(&F.web, false);
    (void)pthread_join(first, NULL);
    ck_assert_int_eq(first_r, MA_OK);
    for (size_t i = 0; i < N; i++) {
        (void)pthread_join(rest[i], NULL);
        /* Who came after the landing finds the throttle instead, and the keys. */
        ck_assert(rest_r[i] == MA_OK || rest_r[i] == MA_E_BUSY);
    }
    ck_assert_int_eq(ts_hits(&F.web, 0), 1);
    ck_assert_int_eq(v1(), MA_TOK_OK);
}
END_TEST

/* While a fetch is under way an unknown kid waits for it, whatever the throttle says. */
START_TEST(web_unknown_kid_joins_the_flight)
{
    pthread_t t;
    int r = 1;
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ck_assert_int_eq(ma_jose_fetch(F.j, F.c, 1), MA_OK);
    ma_clock_manual_advance(&F.clock, MA_FORCED_REFRESH_MS);
    web(0, "/jwks", OK_HEAD, set_12());
    ts_hold(&F.web, true);
    ck_assert_int_eq(pthread_create(&t, NULL, fetcher, &r), 0);
    ts_wait_held(&F.web);
    ck_assert_int_eq(v2(), MA_TOK_NEED_KEYS);
    ck_assert_int_eq(v1(), MA_TOK_OK);
    ts_hold(&F.web, false);
    (void)pthread_join(t, NULL);
    ck_assert_int_eq(v2(), MA_TOK_OK);
}
END_TEST

/* A provider that does not answer delays nobody's shutdown. */
START_TEST(web_stop_interrupts)
{
    open_web(IDP);
    web(0, "/jwks", OK_HEAD, set_1());
    ts_hold(&F.web, true);
    ck_assert_int_eq(ma_jose_start(F.j), MA_OK);
    ts_wait_held(&F.web);
    ma_jose_stop(F.j);
    ck_assert_int_eq(v1(), MA_TOK_NEED_KEYS);
}
END_TEST

/* Readers, a swapping file and reloads at the same time; for the thread sanitizer. */
static void *reader(void *arg)
{
    struct ma_arena *a = ma_arena_new(16384, 1u << 20);
    const struct ma_span *t = arg;
    for (int i = 0; i < 200; i++) {
        struct ma_token out;
        const char *reason = NULL;
        enum ma_token_verdict v = ma_token_verify(F.j, a, *t, 0, NOW_S * 1000, &out, &reason);
        if (v != MA_TOK_OK)
            return (void *)1;
        ma_arena_reset(a);
    }
    ma_arena_free(a);
    return NULL;
}

START_TEST(many_readers)
{
    enum { N = 4 };
    pthread_t t[N];
    issuer(IDP, F.file_uri);
    t_write(F.file, set_1());
    ck_assert_int_eq(open_it(), MA_OK);
    struct ma_span good = token(&E1, "e1", IDP);
    ck_assert_int_eq(ma_jose_start(F.j), MA_OK);
    ck_assert_int_eq(ma_jose_start(F.j), MA_E_CONFLICT);
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, reader, &good), 0);
    for (int i = 0; i < 20; i++) {
        t_write(F.file, i % 2 ? set_1() : set_12());
        ma_jose_watch(F.j);
        ck_assert_int_eq(ma_jose_reload(F.j, &F.conf, F.why), MA_OK);
    }
    for (size_t i = 0; i < N; i++) {
        void *bad = NULL;
        (void)pthread_join(t[i], &bad);
        ck_assert_ptr_null(bad);
    }
    ma_jose_stop(F.j);
}
END_TEST

/* --- the own ring --- */

static struct ma_span mint_with(enum ma_jws_alg alg)
{
    struct ma_span t = MA_SPAN_NULL;
    struct ma_mint m = {.iss = BASE "/",
                        .sub = "s",
                        .client_id = "spa",
                        .audience = BASE "/me/",
                        .scope = "",
                        .now_s = NOW_S,
                        .ttl_s = 86400,
                        .auth_time_s = -1,
                        .jti = "j",
                        .alg = alg};
    ck_assert_int_eq(ma_jose_mint(F.j, F.a, &m, &t), MA_OK);
    return t;
}

static struct ma_span mint(void)
{
    return mint_with(MA_JWS_RS256);
}

static int check_at(struct ma_span t, int64_t s)
{
    struct ma_token out;
    const char *reason = NULL;
    return (int)ma_token_verify(F.j, F.a, t, 0, s * 1000, &out, &reason);
}

/* How many keys of this algorithm are published. */
static size_t published_of(enum ma_jws_alg alg)
{
    size_t of = 0;
    struct ma_span text;
    struct ma_jwks *s = NULL;
    ck_assert_int_eq(ma_jose_jwks(F.j, F.a, &text), MA_OK);
    ck_assert_int_eq(ma_jwks_parse(text, &s), MA_OK);
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        char thumb[44];
        ck_assert_int_eq(ma_jwk_thumbprint(s->v[i].key, F.a, thumb), MA_OK);
        ck_assert_str_eq(s->v[i].kid, thumb);
        ck_assert(s->v[i].algs == 1u << MA_JWS_RS256 || s->v[i].algs == 1u << MA_JWS_ES256);
        of += s->v[i].algs == 1u << alg;
    }
    const char *cstr = ma_arena_strdup(F.a, text);
    ck_assert_ptr_nonnull(strstr(cstr, "\"use\":\"sig\""));
    ck_assert_ptr_null(strstr(cstr, "\"d\""));
    ck_assert_ptr_null(strstr(cstr, "PRIVATE"));
    ma_jwks_unref(s);
    return of;
}

static size_t published(void)
{
    return published_of(MA_JWS_RS256);
}

static char *ring_path(const char *name)
{
    return ma_arena_printf(F.a, "%s/%s", F.keys, name);
}

START_TEST(ring_is_made_once)
{
    struct stat st;
    ck_assert_msg(open_fresh() == MA_OK, "%s", F.why);
    struct ma_span t = mint();
    struct ma_span es = mint_with(MA_JWS_ES256);
    ck_assert_uint_eq(published(), 1);
    ck_assert_uint_eq(published_of(MA_JWS_ES256), 1);
    ck_assert_int_eq(stat(F.keys, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(ring_path("signing.keys"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ma_jose_close(F.j);
    F.j = NULL;
    ck_assert_int_eq(open_it(), MA_OK);
    ck_assert_int_eq(check_at(t, NOW_S), MA_TOK_OK);
    ck_assert_int_eq(check_at(es, NOW_S), MA_TOK_OK);
}
END_TEST

/* A directory of a version that knew RS256 alone: its key stays, and the other one joins it. */
START_TEST(ring_gets_what_it_lacks)
{
    struct ma_jws jws;
    char *text = ma_arena_strdup(F.a, ma_span_str(RING));
    char *second = strstr(text, "},{");
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_nonnull(strstr(second, "ES256"));
    second[1] = 0;
    ck_assert_int_eq(mkdir(F.keys, 0700), 0);
    t_write(ring_path("signing.keys"), ma_arena_printf(F.a, "%s]}\n", text));
    ck_assert_int_eq(chmod(ring_path("signing.keys"), 0600), 0);
    ck_assert_msg(open_fresh() == MA_OK, "%s", F.why);
    ck_assert_ptr_null(ma_jws_parse(F.a, mint(), &jws));
    ck_assert_ptr_nonnull(strstr(text, ma_arena_strdup(F.a, jws.kid)));
    struct ma_span es = mint_with(MA_JWS_ES256);
    ma_jose_close(F.j);
    F.j = NULL;
    ck_assert_int_eq(open_fresh(), MA_OK); /* it was made once */
    ck_assert_int_eq(check_at(es, NOW_S), MA_TOK_OK);
    ck_assert_uint_eq(published(), 1);
    ck_assert_uint_eq(published_of(MA_JWS_ES256), 1);
}
END_TEST

START_TEST(ring_rotates_one_algorithm)
{
    char kid[65];
    struct ma_jws jws;
    ck_assert_int_eq(open_it(), MA_OK);
    struct ma_span rs = mint(), es = mint_with(MA_JWS_ES256);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_ES384, 3600, kid), MA_E_INVAL);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_ES256, 3600, kid), MA_OK);
    ck_assert_uint_eq(published(), 1);
    ck_assert_uint_eq(published_of(MA_JWS_ES256), 2);
    ck_assert_ptr_null(ma_jws_parse(F.a, mint_with(MA_JWS_ES256), &jws));
    ck_assert(ma_span_eq_str(jws.kid, kid));
    ck_assert_ptr_null(ma_jws_parse(F.a, mint(), &jws));
    ck_assert(!ma_span_eq_str(jws.kid, kid));
    ma_clock_manual_advance(&F.clock, 3600000);
    ck_assert_int_eq(check_at(es, NOW_S + 3600), MA_TOK_BAD);
    ck_assert_int_eq(check_at(rs, NOW_S + 3600), MA_TOK_OK);
}
END_TEST

START_TEST(ring_rotation)
{
    char kid[65];
    struct ma_span text;
    ck_assert_int_eq(open_it(), MA_OK);
    struct ma_span old = mint();
    uint64_t epoch = ma_jose_epoch(F.j);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_RS256, -1, kid), MA_E_INVAL);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_RS256, 3600, kid), MA_OK);
    ck_assert_uint_eq(strlen(kid), 43);
    struct ma_span new = mint();
    struct ma_jws jws;
    ck_assert_ptr_null(ma_jws_parse(F.a, new, &jws));
    ck_assert(ma_span_eq_str(jws.kid, kid));
    ck_assert_int_eq(check_at(old, NOW_S), MA_TOK_OK);
    ck_assert_int_eq(check_at(new, NOW_S), MA_TOK_OK);
    ck_assert_uint_eq(published(), 2);
    ck_assert_int_eq(ma_jose_keys(F.j, F.a, &text), MA_OK);
    const char *list = ma_arena_strdup(F.a, text);
    ck_assert_ptr_nonnull(strstr(list, "\"state\":\"verifying\",\"created_at\":\"2023-11-14T22:13:20.000Z\","
                                       "\"retires_at\":\"2023-11-14T23:13:20.000Z\""));
    ck_assert_ptr_nonnull(strstr(list, "\"state\":\"signing\""));
    ck_assert_ptr_nonnull(strstr(list, "\"retires_at\":null"));
    /* An hour later the old key is past. */
    ck_assert_uint_eq(ma_jose_epoch(F.j), epoch);
    ma_clock_manual_advance(&F.clock, 3600000);
    ck_assert_int_eq(check_at(old, NOW_S + 3600), MA_TOK_BAD);
    ck_assert_int_eq(check_at(new, NOW_S + 3600), MA_TOK_OK);
    ck_assert_uint_eq(published(), 1);
    ma_jose_watch(F.j);
    ck_assert_uint_gt(ma_jose_epoch(F.j), epoch);
    /* And the next rotation forgets it. */
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_RS256, 3600, kid), MA_OK);
    struct ma_ring *r = ma_jose_ring(F.j);
    ck_assert_uint_eq(r->n, 3); /* two of RS256, one of ES256 */
    ma_ring_unref(r);
}
END_TEST

START_TEST(ring_rotated_by_another_process)
{
    char kid[65];
    struct ma_jose *other = NULL;
    ck_assert_int_eq(open_it(), MA_OK);
    ck_assert_int_eq(ma_jose_open(&F.conf, &F.clock.clock, ma_rand_system(), NULL, &other, F.why), MA_OK);
    ck_assert_int_eq(ma_jose_rotate(other, MA_JWS_RS256, 3600, kid), MA_OK);
    ma_jose_close(other);
    ck_assert_uint_eq(published(), 1);
    ck_assert_int_eq(ma_jose_reread(F.j), MA_OK);
    ck_assert_uint_eq(published(), 2);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_RS256, 3600, kid), MA_OK);
    ck_assert_uint_eq(published(), 3);
}
END_TEST

START_TEST(ring_damage_keeps_the_keys)
{
    ck_assert_int_eq(open_it(), MA_OK);
    struct ma_span t = mint();
    t_write(ring_path("signing.keys"), "{\"keys\":[]}");
    ck_assert_int_lt(ma_jose_reread(F.j), 0);
    ma_jose_watch(F.j);
    ck_assert_int_eq(check_at(t, NOW_S), MA_TOK_OK);
    ck_assert_uint_eq(published(), 1);
}
END_TEST

static const char *const BAD_RINGS[] = {
    "",
    "{}",
    "{\"keys\":[]}",
    "{\"keys\":[{}]}",
    "[]",
    "{\"keys\":[{\"kid\":\"a\",\"alg\":\"RS256\",\"created_at\":1,\"retires_at\":0,\"private_key\":\"x\"}]}",
};

START_TEST(ring_damaged_at_the_start)
{
    ck_assert_int_eq(mkdir(F.keys, 0700), 0);
    t_write(ring_path("signing.keys"), BAD_RINGS[_i]);
    ck_assert_int_eq(chmod(ring_path("signing.keys"), 0600), 0);
    ck_assert_int_eq(open_it(), MA_E_PARSE);
    ck_assert_ptr_nonnull(strstr(F.why, "signing.keys"));
}
END_TEST

START_TEST(ring_permissions)
{
    static const mode_t modes[] = {0604, 0666, 0660, 0700};
    ck_assert_int_eq(open_it(), MA_OK);
    ma_jose_close(F.j);
    F.j = NULL;
    for (size_t i = 0; i < MA_COUNT(modes); i++) {
        ck_assert_int_eq(chmod(ring_path("signing.keys"), modes[i]), 0);
        ck_assert_int_eq(open_it(), MA_E_PERM);
        ck_assert_ptr_nonnull(strstr(F.why, "signing.keys"));
    }
    ck_assert_int_eq(chmod(ring_path("signing.keys"), 0600), 0);
    ck_assert_int_eq(chmod(F.keys, 0770), 0);
    ck_assert_int_eq(open_it(), MA_E_PERM);
    ck_assert_int_eq(chmod(F.keys, 0700), 0);
    ck_assert_int_eq(rename(ring_path("signing.keys"), ring_path("real")), 0);
    ck_assert_int_eq(symlink("real", ring_path("signing.keys")), 0);
    ck_assert_int_eq(open_it(), MA_E_PERM);
    ck_assert_int_eq(unlink(ring_path("signing.keys")), 0);
    ck_assert_int_eq(mkfifo(ring_path("signing.keys"), 0600), 0);
    ck_assert_int_eq(open_it(), MA_E_PERM);
}
END_TEST

START_TEST(ring_file_holds_no_loose_end)
{
    char kid[65];
    ck_assert_int_eq(open_it(), MA_OK);
    ck_assert_int_eq(ma_jose_rotate(F.j, MA_JWS_RS256, 3600, kid), MA_OK);
    ck_assert_int_ne(access(ring_path(".signing.keys.new"), F_OK), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("jwks");
    TCase *t = tcase_create("jwks");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, document, 0, MA_COUNT(DOCS));
    tcase_add_test(t, document_limits);
    tcase_add_test(t, algorithms_of_a_key);
    tcase_add_test(t, thumbprint);
    tcase_add_test(t, file_changes);
    tcase_add_test(t, file_key_swapped_under_its_kid);
    tcase_add_test(t, file_broken_or_gone_keeps_the_keys);
    tcase_add_test(t, file_missing_at_the_start);
    tcase_add_test(t, file_not_regular);
    tcase_add_test(t, file_unknown_kid);
    tcase_add_test(t, reload);
    tcase_add_test(t, web_fetch_and_rotation);
    tcase_add_test(t, web_first_fetch_fails);
    tcase_add_loop_test(t, web_bad_answer_keeps_the_keys, 0, MA_COUNT(BAD_WEB));
    tcase_add_test(t, web_loopback_needs_leave);
    tcase_add_test(t, web_ages);
    tcase_add_loop_test(t, web_age_clamps, 0, MA_COUNT(AGES));
    tcase_add_test(t, web_stale_then_gone);
    tcase_add_test(t, web_background_failure_is_not_held_against_requests);
    tcase_add_test(t, web_discovery);
    tcase_add_loop_test(t, web_bad_discovery, 0, MA_COUNT(BAD_DISCOVERY));
    tcase_add_test(t, web_single_flight);
    tcase_add_test(t, web_unknown_kid_joins_the_flight);
    tcase_add_test(t, web_stop_interrupts);
    tcase_add_test(t, many_readers);
    tcase_add_test(t, ring_is_made_once);
    tcase_add_test(t, ring_gets_what_it_lacks);
    tcase_add_test(t, ring_rotates_one_algorithm);
    tcase_add_test(t, ring_rotation);
    tcase_add_test(t, ring_rotated_by_another_process);
    tcase_add_test(t, ring_damage_keeps_the_keys);
    tcase_add_loop_test(t, ring_damaged_at_the_start, 0, MA_COUNT(BAD_RINGS));
    tcase_add_test(t, ring_permissions);
    tcase_add_test(t, ring_file_holds_no_loose_end);
    suite_add_tcase(s, t);
    return s;
}

static char *make_ring(void)
{
    struct ma_ring *r = NULL;
    struct ma_file_sig sig;
    char *text = calloc(1, 8192);
    set_up();
    T_NEED(text && ma_ring_open(F.keys, NOW_S, &r, &sig, F.why) == MA_OK);
    ma_ring_unref(r);
    FILE *f = fopen(ring_path("signing.keys"), "r");
    T_NEED(f && fread(text, 1, 8191, f) > 0);
    (void)fclose(f);
    tear_down();
    return text;
}

int main(void)
{
    if (ma_crypto_init() < 0 || ma_httpc_global_init() < 0)
        return EXIT_FAILURE;
    t_key_make(&K1, MA_KEY_RSA);
    t_key_make(&E1, MA_KEY_EC_P256);
    t_key_make(&E2, MA_KEY_EC_P256);
    RING = make_ring();
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    free(RING);
    t_key_free(&K1);
    t_key_free(&E1);
    t_key_free(&E2);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of tokens: the input as a compact token, and the input as "header LF payload" in a
 * token signed for it, so that what lies behind the signature is reached too.
 */
#include "ma/codec.h"
#include "../../src/jose/int.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_MS INT64_C(1700000000000)
#define BASE "https://login.example.com"
#define ARENA_BYTES ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 7515 A.3 and RFC 8037 A.4, without kid. */
static const char RFC_KEYS[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static struct ma_jose *jose;
static struct ma_key *key;
static struct ma_jwks *rfc;
static struct ma_clock_manual clock_now;
static struct ma_arena *arena;

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static char *b64(struct ma_span s)
{
    char *out = ma_arena_alloc(arena, MA_B64URL_LEN(s.n) + 1);
    demand(out != NULL);
    ma_b64url_encode(s, out);
    return out;
}

static void write_jwks(const char *path)
{
    struct ma_jwk_public p;
    FILE *f = fopen(path, "w");
    demand(f && ma_key_public(key, arena, &p) == MA_OK);
    demand(fprintf(f, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e1\",\"x\":\"%s\",\"y\":\"%s\"}]}",
                   b64(p.x), b64(p.y)) > 0);
    demand(fclose(f) == 0);
}

static void open_once(void)
{
    char dir[] = "/tmp/ma_fuzz_jwt_XXXXXX";
    char keys[64];
    char uri[64];
    char why[256];
    if (jose)
        return;
    demand(mkdtemp(dir) != NULL && ma_crypto_init() == MA_OK);
    (void)snprintf(keys, sizeof(keys), "%s/keys", dir);
    (void)snprintf(uri, sizeof(uri), "file:%s/jwks", dir);
    arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    demand(arena && ma_key_generate(MA_KEY_EC_P256, &key) == MA_OK);
    write_jwks(uri + 5);
    const struct ma_conf_issuer issuer = {"https://idp.example/", uri, "", UINT32_MAX, true};
    const struct ma_conf conf = {
        .base_url = BASE, .key_directory = keys, .token_service = true, .issuers = &issuer, .n_issuers = 1};
    ma_clock_manual_init(&clock_now, NOW_MS);
    demand(ma_jose_open(&conf, &clock_now.clock, ma_rand_system(), NULL, &jose, why) == MA_OK);
    demand(ma_jwks_parse(ma_span_str(RFC_KEYS), &rfc) == MA_OK && rfc->n == 2);
    (void)unlink(uri + 5);
    (void)snprintf(why, sizeof(why), "%s/signing.keys", keys);
    (void)unlink(why);
    (void)rmdir(keys);
    (void)rmdir(dir);
}

/* Only one spelling of a token is read: encoding the parts again gives the same text. */
static void raw(struct ma_span in)
{
    struct ma_jws jws;
    struct ma_token t;
    const char *reason = NULL;
    if (ma_jws_parse(arena, in, &jws))
        return;
    demand(in.n <= MA_TOKEN_MAX && jws.sig_n <= MA_SIG_MAX && jws.input.n < in.n);
    char *sig = b64(ma_span_of(jws.sig, jws.sig_n));
    demand(ma_span_eq_str(ma_span_of(in.p + jws.input.n + 1, in.n - jws.input.n - 1), sig));
    char *payload = b64(jws.payload);
    demand(jws.input.n > strlen(payload) &&
           memcmp(jws.input.p + jws.input.n - strlen(payload), payload, strlen(payload)) == 0);
    (void)ma_jws_check(&jws, rfc, UINT32_MAX, NOW_MS);
    /* Nobody but this program knows the keys. */
    demand(ma_token_verify(jose, arena, in, 0, NOW_MS, &t, &reason) != MA_TOK_OK);
    demand(reason != NULL);
}

static void composed(struct ma_span header, struct ma_span payload)
{
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    struct ma_token t;
    const char *reason = NULL;
    char *input = ma_arena_printf(arena, "%s.%s", b64(header), b64(payload));
    demand(input && ma_key_sign(key, MA_JWS_ES256, ma_span_str(input), sig, &n) == MA_OK);
    char *text = ma_arena_printf(arena, "%s.%s", input, b64(ma_span_of(sig, n)));
    demand(text != NULL);
    enum ma_token_verdict v = ma_token_verify(jose, arena, ma_span_str(text), 0, NOW_MS, &t, &reason);
    demand(reason != NULL && v != MA_TOK_NOMEM);
    if (v != MA_TOK_OK)
        return;
    demand(t.issuer == 1 && ma_span_eq_str(t.iss, "https://idp.example/") && t.domain == 0);
    demand(t.sub.n > 0 && t.sub.n <= 255 && t.client_id.n > 0 && t.client_id.n <= 255);
    demand(ma_utf8_valid(t.sub) && !memchr(t.sub.p, 0, t.sub.n));
    demand(ma_token_time_problem(t.exp, t.nbf, t.iat, NOW_MS) == NULL && t.auth_time >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4 * MA_TOKEN_MAX)
        return 0;
    open_once();
    ma_arena_reset(arena);
    raw(ma_span_of(data, size));
    const uint8_t *lf = size ? memchr(data, '\n', size) : NULL;
    if (lf)
        composed(ma_span_of(data, (size_t)(lf - data)), ma_span_of(lf + 1, size - (size_t)(lf - data) - 1));
    return 0;
}

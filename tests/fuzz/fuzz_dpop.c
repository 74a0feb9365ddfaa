/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of DPoP proofs: the input as a compact proof, as a URL, and as "header LF claims" in a proof signed for
 * it, where '@' in the header stands for the key.
 */
#include "ma/codec.h"
#include "ma/dpop.h"
#include "../../src/jose/int.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_MS INT64_C(1562262617000) /* between the proofs of RFC 9449 */
#define URL "https://server.example.com/token"
#define TOKEN "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU" /* of RFC 9449 §7.1 */
#define ARENA_BYTES ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where there is a leak checker. OpenSSL keeps its generators' ciphers behind pointers in locked memory, which it does
 * not look at. */
extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

static struct ma_dpop *dpop; /* of one input: what was seen before does not matter */
static struct ma_key *key;
static struct ma_arena *arena;
static const char *jwk;
static char own_jkt[MA_JKT_LEN + 1];

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

static void make_key(void)
{
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    if (__lsan_disable)
        __lsan_disable();
    demand(ma_crypto_init() == MA_OK && ma_key_generate(MA_KEY_EC_P256, &key) == MA_OK);
    demand(ma_key_sign(key, MA_JWS_ES256, MA_LIT("x"), sig, &n) == MA_OK);
    if (__lsan_enable)
        __lsan_enable();
}

static void open_once(void)
{
    static char text[256];
    struct ma_jwk_public p;
    if (arena)
        return;
    make_key();
    arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    demand(arena && ma_key_public(key, arena, &p) == MA_OK);
    demand(snprintf(text, sizeof text, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", b64(p.x),
                    b64(p.y)) < (int)sizeof text);
    jwk = text;
    demand(ma_jwk_thumbprint(key, arena, own_jkt) == MA_OK);
}

/* What is accepted is so once; what is refused says why, in words that may stand in a header. */
static bool present(struct ma_span proof, const struct ma_dpop_ask *ask, char jkt[MA_JKT_LEN + 1])
{
    const char *why = NULL;
    enum ma_dpop_verdict v = ma_dpop_verify(dpop, arena, proof, ask, NOW_MS, jkt, &why);
    demand(why && (v == MA_DPOP_OK) == (why[0] == '\0') && !strpbrk(why, "\"\\\r\n"));
    if (v != MA_DPOP_OK)
        return false;
    demand(proof.n <= MA_DPOP_MAX && strlen(jkt) == MA_JKT_LEN);
    demand(ma_dpop_verify(dpop, arena, proof, ask, NOW_MS, jkt, &why) == MA_DPOP_REPLAYED);
    return true;
}

static void raw(struct ma_span in)
{
    static const struct ma_dpop_ask plain = {.method = "POST", .url = URL};
    const struct ma_dpop_ask bound = {
        .method = "GET", .url = "https://resource.example.org/protectedresource", .access_token = MA_LIT(TOKEN)};
    char jkt[MA_JKT_LEN + 1];
    /* Nobody but the authors of RFC 9449 has their key, and nobody has this program's. */
    if (present(in, &plain, jkt))
        demand(strcmp(jkt, own_jkt) != 0);
    (void)present(in, &bound, jkt);
}

static bool url_byte(uint8_t c)
{
    return c > ' ' && c < 0x7f && !strchr("\"<>\\^`{|}?#", c);
}

/* A normal form is its own, and a URL without anything that could end it. */
static void url(struct ma_span in)
{
    struct ma_span once, twice;
    int r = ma_dpop_url(arena, in, &once);
    demand(r == MA_OK || r == MA_E_PARSE);
    if (r != MA_OK)
        return;
    demand(once.n > 8 && memcmp(once.p, "http", 4) == 0 && memchr(once.p + 8, '/', once.n - 8));
    for (size_t i = 0; i < once.n; i++)
        demand(url_byte(once.p[i]) && (once.p[i] != '%' || once.n - i >= 3));
    demand(ma_dpop_url(arena, once, &twice) == MA_OK && ma_span_eq(once, twice));
}

static void composed(struct ma_span header, struct ma_span claims)
{
    static const struct ma_dpop_ask ask = {.method = "POST", .url = URL};
    uint8_t sig[MA_JWS_SIG_MAX];
    char jkt[MA_JKT_LEN + 1];
    size_t n = 0;
    const uint8_t *at = header.n ? memchr(header.p, '@', header.n) : NULL;
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, header.n + 256, header.n + 512);
    ma_buf_put(&b, header.p, at ? (size_t)(at - header.p) : header.n);
    if (at) {
        ma_buf_str(&b, jwk);
        ma_buf_put(&b, at + 1, header.n - (size_t)(at - header.p) - 1);
    }
    demand(ma_buf_err(&b) == MA_OK);
    char *input = ma_arena_printf(arena, "%s.%s", b64(ma_buf_view(&b)), b64(claims));
    demand(input && ma_key_sign(key, MA_JWS_ES256, ma_span_str(input), sig, &n) == MA_OK);
    char *proof = ma_arena_printf(arena, "%s.%s", input, b64(ma_span_of(sig, n)));
    demand(proof != NULL);
    if (present(ma_span_str(proof), &ask, jkt))
        demand(at && strcmp(jkt, own_jkt) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4 * MA_DPOP_MAX)
        return 0;
    open_once();
    ma_arena_reset(arena);
    demand(ma_dpop_new(ma_rand_system(), &dpop) == MA_OK);
    raw(ma_span_of(data, size));
    url(ma_span_of(data, size));
    const uint8_t *lf = size ? memchr(data, '\n', size) : NULL;
    if (lf)
        composed(ma_span_of(data, (size_t)(lf - data)), ma_span_of(lf + 1, size - (size_t)(lf - data) - 1));
    ma_dpop_free(dpop);
    return 0;
}

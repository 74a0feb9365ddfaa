/* SPDX-License-Identifier: Apache-2.0
 * JSON Web Keys (RFC 7517, 7518 §6, 8037 §2): parsing sets, comparing them, writing the own one.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#include <stdlib.h>

#define PARAM_MAX 1024u             /* bytes of a decoded key parameter */
#define JWKS_ARENA_MAX (4u << 20)   /* bytes while a document is parsed */
#define WRITE_MAX MA_JWKS_BYTES_MAX /* bytes of the own document */

struct ma_jwks *ma_jwks_new(size_t cap)
{
    struct ma_jwks *s = calloc(1, sizeof(*s) + cap * sizeof(s->v[0]));
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->cap = cap;
    return s;
}

struct ma_jwks *ma_jwks_ref(struct ma_jwks *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void ma_jwks_unref(struct ma_jwks *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n; i++)
        ma_key_free(s->v[i].key);
    free(s);
}

void ma_jwks_unref_p(struct ma_jwks **s)
{
    ma_jwks_unref(*s);
    *s = NULL;
}

static uint32_t fitting_algs(const struct ma_key *key, enum ma_jws_alg only)
{
    uint32_t bits = 0;
    for (int alg = MA_JWS_NONE + 1; alg < MA_JWS__COUNT; alg++) {
        if ((only == MA_JWS_NONE || (int)only == alg) && ma_key_fits(key, (enum ma_jws_alg)alg))
            bits |= 1u << (unsigned)alg;
    }
    return bits;
}

static int digest_key(struct ma_jwk *k)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    struct ma_jwk_public pub;
    if (!a || ma_key_public(k->key, a, &pub) < 0)
        return MA_E_NOMEM;
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 2048, MA_ARENA_MAX);
    ma_buf_printf(&b, "%zu.%u.%d.%zu.%zu.%zu.", k->kid_n, (unsigned)k->algs, (int)ma_key_type(k->key), pub.n.n, pub.e.n,
                  pub.x.n);
    ma_buf_put(&b, k->kid, k->kid_n);
    ma_buf_span(&b, pub.n);
    ma_buf_span(&b, pub.e);
    ma_buf_span(&b, pub.x);
    ma_buf_span(&b, pub.y);
    return ma_buf_err(&b) < 0 ? ma_buf_err(&b) : ma_sha256(ma_buf_view(&b), k->digest);
}

int ma_jwks_add(struct ma_jwks *s, struct ma_key *key, struct ma_span kid, enum ma_jws_alg alg, int64_t retires_ms)
{
    uint32_t algs = fitting_algs(key, alg);
    int r = s->n < s->cap && kid.n <= MA_KID_MAX ? MA_OK : MA_E_RANGE;
    if (r == MA_OK && algs == 0)
        r = MA_E_INVAL;
    if (r == MA_OK) {
        struct ma_jwk *k = &s->v[s->n];
        *k = (struct ma_jwk){.kid_n = kid.n, .key = key, .algs = algs, .retires_ms = retires_ms};
        if (kid.n)
            memcpy(k->kid, kid.p, kid.n);
        r = digest_key(k);
    }
    if (r == MA_OK)
        s->n++;
    else
        ma_key_free(key);
    return r;
}

static bool holds(const struct ma_jwks *s, const struct ma_jwk *k)
{
    for (size_t i = 0; i < s->n; i++) {
        if (memcmp(s->v[i].digest, k->digest, sizeof(k->digest)) == 0)
            return true;
    }
    return false;
}

bool ma_jwks_lost_any(const struct ma_jwks *old, const struct ma_jwks *now)
{
    for (size_t i = 0; old && i < old->n; i++) {
        if (!now || !holds(now, &old->v[i]))
            return true;
    }
    return false;
}

bool ma_jwks_same(const struct ma_jwks *a, const struct ma_jwks *b)
{
    return a && b && a->n == b->n && !ma_jwks_lost_any(a, b) && !ma_jwks_lost_any(b, a);
}

/* --- parsing --- */

/* Members are taken as raw text first, so that a key with a member of a wrong type is left out instead of
 * spoiling the whole set (RFC 7517 §5: "Implementations SHOULD ignore JWKs … that have missing or out-of-range
 * values"). */
enum member { M_KTY, M_KID, M_USE, M_ALG, M_CRV, M_KEY_OPS, M_N, M_E, M_X, M_Y, M__COUNT };
static const char *const MEMBER_NAMES[M__COUNT] = {"kty", "kid", "use", "alg", "crv", "key_ops", "n", "e", "x", "y"};

struct raw_key {
    struct ma_span m[M__COUNT];
};
#define RAW(i, text)                                                                                                   \
    {                                                                                                                  \
        .name = (text), .type = MA_F_RAW, .flags = MA_NULLOK,                                                          \
        .off = offsetof(struct raw_key, m) + (i) * sizeof(struct ma_span)                                              \
    }
static const struct ma_jfield RAW_FIELDS[] = {
    RAW(M_KTY, "kty"),         RAW(M_KID, "kid"), RAW(M_USE, "use"), RAW(M_ALG, "alg"), RAW(M_CRV, "crv"),
    RAW(M_KEY_OPS, "key_ops"), RAW(M_N, "n"),     RAW(M_E, "e"),     RAW(M_X, "x"),     RAW(M_Y, "y"),
};
static const struct ma_shape RAW_SHAPE = MA_SHAPE_OPEN(struct raw_key, RAW_FIELDS);

struct jwks_doc {
    struct ma_objlist keys;
};
static const struct ma_jfield DOC_FIELDS[] = {
    {.name = "keys",
     .type = MA_F_OBJLIST,
     .flags = MA_REQ,
     .off = offsetof(struct jwks_doc, keys),
     .max_items = MA_JWKS_KEYS_MAX,
     .sub = &RAW_SHAPE},
};
static const struct ma_shape DOC_SHAPE = MA_SHAPE_OPEN(struct jwks_doc, DOC_FIELDS);

struct jwk {
    struct ma_span kty, kid, use, alg, crv, n, e, x, y;
    struct ma_span_list key_ops;
    bool has_ops, has_use, has_alg;
};
#define STR(member, limit)                                                                                             \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .off = offsetof(struct jwk, member), .max = (limit)                         \
    }
static const struct ma_jfield JWK_FIELDS[] = {
    STR(kty, 16),
    STR(kid, MA_KID_MAX),
    {.name = "use",
     .type = MA_F_STR,
     .off = offsetof(struct jwk, use),
     .has_off = offsetof(struct jwk, has_use),
     .max = 32},
    {.name = "alg",
     .type = MA_F_STR,
     .off = offsetof(struct jwk, alg),
     .has_off = offsetof(struct jwk, has_alg),
     .max = 32},
    STR(crv, 16),
    {.name = "key_ops",
     .type = MA_F_STRLIST,
     .off = offsetof(struct jwk, key_ops),
     .has_off = offsetof(struct jwk, has_ops),
     .max_items = 16},
    STR(n, PARAM_MAX),
    STR(e, PARAM_MAX),
    STR(x, PARAM_MAX),
    STR(y, PARAM_MAX),
};
static const struct ma_shape JWK_SHAPE = MA_SHAPE_OPEN(struct jwk, JWK_FIELDS);

static int decode_key(struct ma_arena *a, const struct raw_key *raw, struct jwk *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 1024, MA_JWKS_BYTES_MAX);
    struct ma_jw w;
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    for (size_t i = 0; i < M__COUNT; i++) {
        if (!raw->m[i].p)
            continue;
        ma_jw_key(&w, MEMBER_NAMES[i]);
        ma_jw_raw(&w, raw->m[i]);
    }
    ma_jw_obj_end(&w);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(ma_buf_view(&b), &doc);
    return r < 0 ? r : ma_json_decode(doc, a, &JWK_SHAPE, ret, &errs);
}

static struct ma_span param(struct ma_arena *a, struct ma_span text)
{
    size_t n = 0;
    uint8_t *p = ma_arena_alloc(a, PARAM_MAX);
    if (!p || text.n == 0 || ma_b64url_decode(text, p, PARAM_MAX, &n) < 0)
        return MA_SPAN_NULL;
    return ma_span_of(p, n);
}

/* RFC 7517 §4.2, §4.3: for signatures, and for checking them. */
static bool for_verifying(const struct jwk *k)
{
    if (k->has_use && !ma_span_eq_str(k->use, "sig"))
        return false;
    for (size_t i = 0; k->has_ops && i < k->key_ops.n; i++) {
        if (ma_span_eq_str(k->key_ops.v[i], "verify"))
            return true;
    }
    return !k->has_ops;
}

static int build_key(struct ma_arena *a, const struct jwk *k, struct ma_key **ret)
{
    if (ma_span_eq_str(k->kty, "RSA"))
        return ma_key_rsa(param(a, k->n), param(a, k->e), ret);
    if (ma_span_eq_str(k->kty, "OKP") && ma_span_eq_str(k->crv, "Ed25519"))
        return ma_key_ed25519(param(a, k->x), ret);
    static const struct {
        const char *crv;
        enum ma_key_type type;
    } curves[] = {{"P-256", MA_KEY_EC_P256}, {"P-384", MA_KEY_EC_P384}, {"P-521", MA_KEY_EC_P521}};
    for (size_t i = 0; ma_span_eq_str(k->kty, "EC") && i < MA_COUNT(curves); i++) {
        if (ma_span_eq_str(k->crv, curves[i].crv))
            return ma_key_ec(curves[i].type, param(a, k->x), param(a, k->y), ret);
    }
    return MA_E_UNSUPPORTED;
}

int ma_jwk_key(struct ma_arena *a, const struct ma_jwk_text *text, struct ma_key **ret)
{
    const struct jwk k = {.kty = text->kty, .crv = text->crv, .n = text->n, .e = text->e, .x = text->x, .y = text->y};
    return build_key(a, &k, ret);
}

static bool has_kid(const struct ma_jwks *s, struct ma_span kid)
{
    for (size_t i = 0; kid.n && i < s->n; i++) {
        if (ma_span_eq(ma_span_of(s->v[i].kid, s->v[i].kid_n), kid))
            return true;
    }
    return false;
}

/* MA_E_NOMEM, or MA_OK whether the key was taken or left out. */
static int add_key(struct ma_arena *a, struct ma_jwks *s, const struct raw_key *raw)
{
    struct jwk k = {0};
    struct ma_key *key = NULL;
    int r = decode_key(a, raw, &k);
    enum ma_jws_alg alg = MA_JWS_NONE;
    if (r == MA_OK && k.has_alg) {
        alg = ma_jws_alg_parse(k.alg);
        r = alg == MA_JWS_NONE ? MA_E_UNSUPPORTED : MA_OK;
    }
    if (r == MA_OK && (!for_verifying(&k) || k.kid.n > MA_KID_MAX || has_kid(s, k.kid)))
        r = MA_E_UNSUPPORTED;
    if (r == MA_OK)
        r = build_key(a, &k, &key);
    if (r == MA_OK)
        r = ma_jwks_add(s, key, k.kid, alg, 0);
    return r == MA_E_NOMEM ? r : MA_OK;
}

int ma_jwks_parse(struct ma_span text, struct ma_jwks **ret)
{
    if (text.n > MA_JWKS_BYTES_MAX)
        return MA_E_RANGE;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, JWKS_ARENA_MAX);
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct jwks_doc d = {{NULL, 0}};
    if (!a)
        return MA_E_NOMEM;
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(text, &doc);
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &DOC_SHAPE, &d, &errs);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_E_PARSE;
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *s = ma_jwks_new(d.keys.n);
    const struct raw_key *raw = d.keys.v;
    if (!s)
        return MA_E_NOMEM;
    for (size_t i = 0; i < d.keys.n && r == MA_OK; i++)
        r = add_key(a, s, &raw[i]);
    if (r < 0)
        return r;
    *ret = s;
    s = NULL;
    return MA_OK;
}

/* --- writing --- */

static char *b64(struct ma_arena *a, struct ma_span s)
{
    char *out = ma_arena_alloc(a, MA_B64URL_LEN(s.n) + 1);
    if (out)
        ma_b64url_encode(s, out);
    return out;
}

/* The members RFC 7638 §3.2 requires, in its order; a JWK may hold them in that order too. */
static int put_public(struct ma_buf *b, struct ma_arena *a, const struct ma_key *key)
{
    static const char *const crv[] = {[MA_KEY_EC_P256] = "P-256",
                                      [MA_KEY_EC_P384] = "P-384",
                                      [MA_KEY_EC_P521] = "P-521",
                                      [MA_KEY_ED25519] = "Ed25519"};
    struct ma_jwk_public pub;
    int r = ma_key_public(key, a, &pub);
    if (r < 0)
        return r;
    enum ma_key_type t = ma_key_type(key);
    const char *first = b64(a, t == MA_KEY_RSA ? pub.e : pub.x);
    const char *second = t == MA_KEY_ED25519 ? "" : b64(a, t == MA_KEY_RSA ? pub.n : pub.y);
    if (!first || !second)
        return MA_E_NOMEM;
    if (t == MA_KEY_RSA)
        ma_buf_printf(b, "\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"", first, second);
    else if (t == MA_KEY_ED25519)
        ma_buf_printf(b, "\"crv\":\"%s\",\"kty\":\"OKP\",\"x\":\"%s\"", crv[t], first);
    else
        ma_buf_printf(b, "\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"", crv[t], first, second);
    return ma_buf_err(b);
}

int ma_jwk_thumbprint(const struct ma_key *key, struct ma_arena *a, char out[44])
{
    struct ma_buf b;
    uint8_t hash[MA_SHA256_LEN];
    ma_buf_init_arena(&b, a, 1024, WRITE_MAX);
    ma_buf_byte(&b, '{');
    int r = put_public(&b, a, key);
    ma_buf_byte(&b, '}');
    if (r == MA_OK)
        r = ma_buf_err(&b) < 0 ? ma_buf_err(&b) : ma_sha256(ma_buf_view(&b), hash);
    if (r == MA_OK)
        ma_b64url_encode(ma_span_of(hash, sizeof(hash)), out);
    return r;
}

enum ma_jws_alg ma_jwk_alg(const struct ma_jwk *k)
{
    return k->algs ? (enum ma_jws_alg)__builtin_ctz(k->algs) : MA_JWS_NONE;
}

int ma_jwks_write(const struct ma_jwks *s, struct ma_arena *a, int64_t now_ms, struct ma_span *ret)
{
    struct ma_buf b;
    bool comma = false;
    ma_buf_init_arena(&b, a, 2048, WRITE_MAX);
    ma_buf_str(&b, "{\"keys\":[");
    for (size_t i = 0; i < s->n; i++) {
        const struct ma_jwk *k = &s->v[i];
        if (k->retires_ms != 0 && k->retires_ms <= now_ms)
            continue;
        ma_buf_printf(&b, "%s{\"alg\":\"%s\",\"kid\":\"%s\",\"use\":\"sig\",", comma ? "," : "",
                      ma_jws_alg_name(ma_jwk_alg(k)), k->kid);
        comma = true;
        int r = put_public(&b, a, k->key);
        if (r < 0)
            return r;
        ma_buf_byte(&b, '}');
    }
    ma_buf_str(&b, "]}");
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

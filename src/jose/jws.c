/* SPDX-License-Identifier: Apache-2.0
 * JWS compact serialisation (RFC 7515): strict splitting and header checks, and the signature
 * check in which the key, never the token, decides the algorithm (RFC 8725 §3.1).
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"

#include <strings.h>

const char MA_JWS_NOMEM[] = "out of memory";

struct header {
    struct ma_span alg, kid, typ, crit, b64;
    bool has_typ, has_kid;
};
static const struct ma_jfield HEADER_FIELDS[] = {
    {.name = "alg", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct header, alg), .min = 1, .max = 16},
    {.name = "kid",
     .type = MA_F_STR,
     .off = offsetof(struct header, kid),
     .has_off = offsetof(struct header, has_kid),
     .min = 1,
     .max = MA_KID_MAX},
    {.name = "typ",
     .type = MA_F_STR,
     .off = offsetof(struct header, typ),
     .has_off = offsetof(struct header, has_typ),
     .max = 64},
    {.name = "crit", .type = MA_F_RAW, .off = offsetof(struct header, crit)},
    {.name = "b64", .type = MA_F_RAW, .off = offsetof(struct header, b64)},
};
/* jwk, jku, x5u, x5c: a key the token brings along is never looked at (RFC 8725 §3.10). */
static const struct ma_shape HEADER_SHAPE = MA_SHAPE_OPEN(struct header, HEADER_FIELDS);

static bool same_word(struct ma_span s, const char *lower)
{
    return s.n == strlen(lower) && strncasecmp((const char *)s.p, lower, s.n) == 0;
}

/* RFC 9068 §2.1: the media type may have lost its prefix. */
static bool typ_access(const struct header *h)
{
    return h->has_typ && (same_word(h->typ, "at+jwt") || same_word(h->typ, "application/at+jwt"));
}

/* RFC 9068 §4 and RFC 8725 §3.11: an access token, or one whose issuer does not type its tokens. */
static bool typ_ok(const struct header *h)
{
    return !h->has_typ || same_word(h->typ, "jwt") || typ_access(h);
}

const char *ma_jws_decode_part(struct ma_arena *a, struct ma_span part, const char *problem, struct ma_span *ret)
{
    size_t cap = part.n / 4 * 3 + 3;
    size_t n = 0;
    uint8_t *p = ma_arena_alloc(a, cap);
    if (!p)
        return MA_JWS_NOMEM;
    if (ma_b64url_decode(part, p, cap, &n) < 0)
        return problem;
    *ret = ma_span_of(p, n);
    return NULL;
}

static const char *parse_header(struct ma_arena *a, struct ma_span text, struct ma_jws *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct header h = {0};
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(text, &doc);
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &HEADER_SHAPE, &h, &errs);
    if (r == MA_E_NOMEM)
        return MA_JWS_NOMEM;
    if (r < 0)
        return "the token's header is malformed";
    /* RFC 7515 §4.1.11: an extension that must be understood and is not; RFC 7797 §3 among them. */
    if (h.crit.p || h.b64.p)
        return "the token's header asks for an extension";
    if (!typ_ok(&h))
        return "the token is of another type";
    if (h.kid.n > MA_KID_MAX)
        return "the token's kid is too long";
    ret->alg = ma_jws_alg_parse(h.alg);
    if (ret->alg == MA_JWS_NONE)
        return "the token's algorithm is not supported";
    ret->kid = h.has_kid ? h.kid : MA_SPAN_NULL;
    ret->access = typ_access(&h);
    return NULL;
}

/* All tokens of one key carry the same header, letter for letter: what it says is remembered by its text. A memo
 * holds nothing but what parsing that text gives, so it can be neither stale nor wrong. */
enum { MEMOS = 4, MEMO_TEXT_MAX = 512 };
struct memo {
    size_t n;
    enum ma_jws_alg alg;
    bool access;
    size_t kid_n;
    uint8_t kid[MA_KID_MAX];
    uint8_t text[MEMO_TEXT_MAX];
};
static _Thread_local struct memo memos[MEMOS];
static _Thread_local unsigned next_memo;

static bool recall(struct ma_arena *a, struct ma_span head, struct ma_jws *ret)
{
    for (size_t i = 0; i < MEMOS; i++) {
        const struct memo *m = &memos[i];
        if (!ma_span_eq(ma_span_of(m->text, m->n), head))
            continue;
        ret->alg = m->alg;
        ret->access = m->access;
        ret->kid = m->kid_n ? ma_arena_dup(a, ma_span_of(m->kid, m->kid_n)) : MA_SPAN_NULL;
        return m->kid_n == 0 || ret->kid.p;
    }
    return false;
}

void ma_jws_remember(struct ma_span compact, const struct ma_jws *jws)
{
    const uint8_t *dot = compact.n ? memchr(compact.p, '.', compact.n) : NULL;
    size_t n = dot ? (size_t)(dot - compact.p) : 0;
    if (n == 0 || n > MEMO_TEXT_MAX || jws->kid.n > MA_KID_MAX)
        return;
    for (size_t i = 0; i < MEMOS; i++)
        if (ma_span_eq(ma_span_of(memos[i].text, memos[i].n), ma_span_of(compact.p, n)))
            return;
    struct memo *m = &memos[next_memo++ % MEMOS];
    m->n = n;
    m->alg = jws->alg;
    m->access = jws->access;
    m->kid_n = jws->kid.n;
    memcpy(m->text, compact.p, n);
    if (jws->kid.n)
        memcpy(m->kid, jws->kid.p, jws->kid.n);
}

static const char *read_header(struct ma_arena *a, struct ma_span head, struct ma_jws *ret)
{
    struct ma_span text = MA_SPAN_NULL;
    if (recall(a, head, ret))
        return NULL;
    const char *problem = ma_jws_decode_part(a, head, "the token's header is not base64url", &text);
    return problem ? problem : parse_header(a, text, ret);
}

/* Exactly three parts; the third may not hold a dot because its decoder refuses one. */
bool ma_jws_split(struct ma_span s, struct ma_span *head, struct ma_span *body, struct ma_span *sig)
{
    const uint8_t *d1 = s.n ? memchr(s.p, '.', s.n) : NULL;
    if (!d1)
        return false;
    *head = ma_span_of(s.p, (size_t)(d1 - s.p));
    struct ma_span rest = ma_span_of(d1 + 1, s.n - head->n - 1);
    const uint8_t *d2 = rest.n ? memchr(rest.p, '.', rest.n) : NULL;
    if (!d2)
        return false;
    *body = ma_span_of(rest.p, (size_t)(d2 - rest.p));
    *sig = ma_span_of(d2 + 1, rest.n - body->n - 1);
    return head->n > 0 && body->n > 0 && sig->n > 0;
}

const char *ma_jws_parse(struct ma_arena *a, struct ma_span compact, struct ma_jws *ret)
{
    return ma_jws_parse_upto(a, compact, MA_TOKEN_MAX, ret);
}

const char *ma_jws_parse_upto(struct ma_arena *a, struct ma_span compact, size_t max, struct ma_jws *ret)
{
    struct ma_span head;
    struct ma_span body;
    struct ma_span sig;
    if (compact.n > max)
        return "the token is too long";
    if (!ma_jws_split(compact, &head, &body, &sig))
        return "the token does not have three parts";
    const char *problem = read_header(a, head, ret);
    if (!problem)
        problem = ma_jws_decode_part(a, body, "the token's payload is not base64url", &ret->payload);
    if (problem)
        return problem;
    if (sig.n > MA_B64URL_LEN(MA_SIG_MAX) || ma_b64url_decode(sig, ret->sig, sizeof(ret->sig), &ret->sig_n) < 0)
        return "the token's signature is not base64url";
    ret->input = ma_span_of(compact.p, head.n + 1 + body.n);
    return NULL;
}

static bool usable(const struct ma_jwk *k, uint32_t alg_bit, int64_t now_ms)
{
    return (k->algs & alg_bit) != 0 && (k->retires_ms == 0 || k->retires_ms > now_ms);
}

static enum ma_jws_verdict check_with(const struct ma_jws *jws, const struct ma_jwk *k)
{
    int r = ma_key_verify(k->key, jws->alg, jws->input, ma_span_of(jws->sig, jws->sig_n));
    if (r == MA_OK)
        return MA_JWS_GOOD;
    return r == MA_E_NOMEM ? MA_JWS_UNCHECKED : MA_JWS_BAD_SIG;
}

static enum ma_jws_verdict check_by_kid(const struct ma_jws *jws, const struct ma_jwks *set, uint32_t bit,
                                        int64_t now_ms)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct ma_jwk *k = &set->v[i];
        if (!ma_span_eq(ma_span_of(k->kid, k->kid_n), jws->kid))
            continue;
        return usable(k, bit, now_ms) ? check_with(jws, k) : MA_JWS_WRONG_ALG;
    }
    return MA_JWS_UNKNOWN_KID;
}

enum ma_jws_verdict ma_jws_check(const struct ma_jws *jws, const struct ma_jwks *set, uint32_t algorithms,
                                 int64_t now_ms)
{
    uint32_t bit = 1u << (unsigned)jws->alg;
    if (jws->alg <= MA_JWS_NONE || jws->alg >= MA_JWS__COUNT || (algorithms & bit) == 0)
        return MA_JWS_WRONG_ALG;
    if (jws->kid.p)
        return check_by_kid(jws, set, bit, now_ms);
    enum ma_jws_verdict v = MA_JWS_WRONG_ALG;
    size_t tries = 0;
    for (size_t i = 0; i < set->n && tries < MA_KID_LESS_TRIES && v != MA_JWS_GOOD && v != MA_JWS_UNCHECKED; i++) {
        if (!usable(&set->v[i], bit, now_ms))
            continue;
        v = check_with(jws, &set->v[i]);
        tries++;
    }
    return v;
}

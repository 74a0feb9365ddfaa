/* SPDX-License-Identifier: Apache-2.0
 * DPoP proofs (RFC 9449 §4): the header with its key, the claims, the signature, nonces, and each proof once.
 */
#include "ma/dpop.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"

#include <stdlib.h>
#include <strings.h>

#define JTI_MAX 128u                   /* bytes */
#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define PARAM_TEXT_MAX 1024            /* characters of a key's parameter */
#define NONCE_KEY 32u

struct ma_dpop {
    uint8_t *nonce_key;
    struct ma_replay *seen[MA_DPOP_PLACE__COUNT];
    int64_t start_s;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
};

int ma_dpop_new_sized(const struct ma_rand *r, size_t room, struct ma_dpop **ret)
{
    struct ma_dpop *d = calloc(1, sizeof *d);
    if (!d)
        return MA_E_NOMEM;
    d->nonce_key = ma_secure_alloc(NONCE_KEY);
    int err = d->nonce_key ? r->fill(r, d->nonce_key, NONCE_KEY) : MA_E_NOMEM;
    for (size_t i = 0; err == MA_OK && i < MA_COUNT(d->seen); i++)
        err = ma_replay_new(r, room, &d->seen[i]);
    if (err < 0) {
        ma_dpop_free(d);
        return err;
    }
    *ret = d;
    return MA_OK;
}

int ma_dpop_new(const struct ma_rand *r, struct ma_dpop **ret)
{
    return ma_dpop_new_sized(r, MA_REPLAY_ROOM, ret);
}

void ma_dpop_start(struct ma_dpop *d, int64_t start_ms)
{
    d->start_s = start_ms / 1000;
}

int64_t ma_dpop_since_s(const struct ma_dpop *d)
{
    return d->start_s;
}

void ma_dpop_observe(struct ma_dpop *d, struct ma_metrics *m)
{
    d->metrics = m;
}

void ma_dpop_free(struct ma_dpop *d)
{
    if (!d)
        return;
    ma_secure_free(d->nonce_key, NONCE_KEY);
    for (size_t i = 0; i < MA_COUNT(d->seen); i++)
        ma_replay_free(d->seen[i]);
    free(d);
}

/* --- the header (§4.2) --- */

enum secret { S_D, S_P, S_Q, S_DP, S_DQ, S_QI, S_OTH, S_K, S__COUNT };
struct key_members {
    struct ma_jwk_text text;
    struct ma_span secret[S__COUNT]; /* p != NULL: it is there, whatever its type */
};
struct header {
    struct ma_span typ, alg, crit, b64;
    struct key_members jwk;
};
#define PARAM(member)                                                                                                  \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .off = offsetof(struct key_members, text.member), .max = PARAM_TEXT_MAX     \
    }
#define SECRET(i, text)                                                                                                \
    {                                                                                                                  \
        .name = (text), .type = MA_F_RAW, .off = offsetof(struct key_members, secret) + (i) * sizeof(struct ma_span)   \
    }
static const struct ma_jfield KEY_FIELDS[] = {
    PARAM(kty),
    PARAM(crv),
    PARAM(n),
    PARAM(e),
    PARAM(x),
    PARAM(y),
    SECRET(S_D, "d"),
    SECRET(S_P, "p"),
    SECRET(S_Q, "q"),
    SECRET(S_DP, "dp"),
    SECRET(S_DQ, "dq"),
    SECRET(S_QI, "qi"),
    SECRET(S_OTH, "oth"),
    SECRET(S_K, "k"),
};
static const struct ma_shape KEY_SHAPE = MA_SHAPE_OPEN(struct key_members, KEY_FIELDS);
static const struct ma_jfield HEADER_FIELDS[] = {
    {.name = "typ", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct header, typ), .max = 64},
    {.name = "alg", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct header, alg), .max = 16},
    {.name = "jwk", .type = MA_F_OBJ, .flags = MA_REQ, .off = offsetof(struct header, jwk), .sub = &KEY_SHAPE},
    {.name = "crit", .type = MA_F_RAW, .off = offsetof(struct header, crit)},
    {.name = "b64", .type = MA_F_RAW, .off = offsetof(struct header, b64)},
};
static const struct ma_shape HEADER_SHAPE = MA_SHAPE_OPEN(struct header, HEADER_FIELDS);

/* --- the claims --- */

struct claims {
    struct ma_span jti, htm, htu, ath, nonce;
    int64_t iat;
    bool has_ath, has_nonce;
};
#define CLAIM(member, ...)                                                                                             \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .off = offsetof(struct claims, member), __VA_ARGS__                         \
    }
static const struct ma_jfield CLAIM_FIELDS[] = {
    CLAIM(jti, .flags = MA_REQ),
    CLAIM(htm, .flags = MA_REQ),
    CLAIM(htu, .flags = MA_REQ),
    {.name = "iat", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct claims, iat), .min = 0, .max = TIME_MAX},
    CLAIM(ath, .has_off = offsetof(struct claims, has_ath)),
    CLAIM(nonce, .has_off = offsetof(struct claims, has_nonce)),
};
static const struct ma_shape CLAIMS_SHAPE = MA_SHAPE_OPEN(struct claims, CLAIM_FIELDS);

/* NULL, `problem`, or MA_JWS_NOMEM. */
static const char *decode(struct ma_arena *a, struct ma_span text, const struct ma_shape *shape, void *out,
                          const char *problem)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(text, &doc);
    if (r == MA_OK)
        r = ma_json_decode(doc, a, shape, out, &errs);
    return r == MA_OK ? NULL : r == MA_E_NOMEM ? MA_JWS_NOMEM : problem;
}

/* --- htu --- */

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* RFC 3986 §3.3 pchar and the slash, without the percent sign. */
static bool stands_raw(uint8_t c)
{
    return is_unreserved(c) || (c != 0 && strchr("!$&'()*+,;=:@/", c) != NULL);
}

/* Two digits of either case, as encodeURIComponent and others write them. */
static bool read_escape(const uint8_t *digits, uint8_t *ret)
{
    const uint8_t low[2] = {lower(digits[0]), lower(digits[1])};
    size_t n = 0;
    return ma_hex_decode(ma_span_of(low, sizeof low), ret, 1, &n) == MA_OK;
}

static void put_escape(struct ma_buf *b, uint8_t c)
{
    static const char hex[] = "0123456789ABCDEF";
    ma_buf_byte(b, '%');
    ma_buf_byte(b, (uint8_t)hex[c >> 4]);
    ma_buf_byte(b, (uint8_t)hex[c & 15]);
}

/* RFC 3986 §6.2.2.1, §6.2.2.2: escapes in upper case, none where none is needed; what may not stand raw is written as
 * an escape, so that '|' and "%7C" are one. Dot segments stay: no path of ours has any. */
static int put_path(struct ma_buf *b, struct ma_span path)
{
    if (path.n == 0) /* §6.2.3 */
        ma_buf_byte(b, '/');
    for (size_t i = 0; i < path.n; i++) {
        uint8_t c = path.p[i];
        bool escaped = c == '%';
        if (escaped && (path.n - i < 3 || !read_escape(path.p + i + 1, &c)))
            return MA_E_PARSE;
        if (escaped)
            i += 2;
        if (escaped ? is_unreserved(c) : stands_raw(c))
            ma_buf_byte(b, c);
        else
            put_escape(b, c);
    }
    return MA_OK;
}

static bool starts_with_ci(struct ma_span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp((const char *)s.p, prefix, n) == 0;
}

static bool all_digits(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

/* A name, an address, or an address in brackets; no user information. */
static bool host_ok(struct ma_span host)
{
    bool brackets = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    for (size_t i = 0; i < host.n; i++) {
        bool edge = brackets && (i == 0 || i == host.n - 1);
        if (!edge && !is_unreserved(host.p[i]) && !(brackets && host.p[i] == ':'))
            return false;
    }
    return host.n > 0;
}

/* §6.2.2.1, §6.2.3: host in lower case, no default or empty port. */
static int put_authority(struct ma_buf *b, struct ma_span authority, const char *default_port)
{
    struct ma_span host = authority, port = MA_SPAN_NULL;
    const uint8_t *colon = authority.n ? memrchr(authority.p, ':', authority.n) : NULL;
    if (colon && !memchr(colon, ']', authority.n - (size_t)(colon - authority.p))) {
        host.n = (size_t)(colon - authority.p);
        port = ma_span_of(colon + 1, authority.n - host.n - 1);
    }
    if (!host_ok(host) || !all_digits(port))
        return MA_E_PARSE;
    for (size_t i = 0; i < host.n; i++)
        ma_buf_byte(b, lower(host.p[i]));
    if (port.n > 0 && !ma_span_eq_str(port, default_port)) {
        ma_buf_byte(b, ':');
        ma_buf_span(b, port);
    }
    return MA_OK;
}

static size_t until_any(struct ma_span s, const char *stops)
{
    size_t i = 0;
    while (i < s.n && (s.p[i] == 0 || !strchr(stops, s.p[i])))
        i++;
    return i;
}

int ma_dpop_url(struct ma_arena *a, struct ma_span url, struct ma_span *ret)
{
    static const char http[] = "http://", https[] = "https://";
    bool tls = starts_with_ci(url, https);
    if (!tls && !starts_with_ci(url, http))
        return MA_E_PARSE;
    const char *scheme = tls ? https : http;
    struct ma_span rest = ma_span_of(url.p + strlen(scheme), url.n - strlen(scheme));
    rest.n = until_any(rest, "?#"); /* §4.3 check 9: "ignoring any query and fragment parts" */
    size_t n = until_any(rest, "/");
    struct ma_buf b;
    ma_buf_init_arena(&b, a, url.n + 8, 3 * url.n + 8);
    ma_buf_str(&b, scheme);
    int r = put_authority(&b, ma_span_of(rest.p, n), tls ? "443" : "80");
    if (r == MA_OK)
        r = put_path(&b, ma_span_of(rest.p + n, rest.n - n));
    if (r == MA_OK)
        r = ma_buf_err(&b);
    *ret = ma_buf_view(&b);
    return r;
}

static const char *check_url(struct ma_arena *a, struct ma_span htu, const char *url)
{
    struct ma_span theirs, ours;
    int r = ma_dpop_url(a, htu, &theirs);
    if (r == MA_E_PARSE)
        return "htu of the DPoP proof is not a URL";
    if (r == MA_OK)
        r = ma_dpop_url(a, ma_span_str(url), &ours);
    if (r == MA_E_NOMEM)
        return MA_JWS_NOMEM;
    return r == MA_OK && ma_span_eq(theirs, ours) ? NULL : "the DPoP proof is for another URL";
}

/* --- ath, nonces --- */

static const char *check_ath(const struct claims *c, struct ma_span token)
{
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1];
    if (token.n == 0)
        return NULL;
    if (!c->has_ath)
        return "the DPoP proof has no ath";
    if (ma_sha256(token, hash) < 0)
        return MA_JWS_NOMEM;
    ma_b64url_encode(ma_span_of(hash, sizeof hash), text);
    return ma_ct_eq(c->ath, ma_span_str(text)) ? NULL : "the DPoP proof is for another access token";
}

static int nonce_of(const struct ma_dpop *d, int64_t slice, char out[MA_DPOP_NONCE_LEN + 1])
{
    uint8_t mac[MA_SHA256_LEN];
    int r = ma_hmac_sha256(ma_span_of(d->nonce_key, NONCE_KEY), ma_span_of(&slice, sizeof slice), mac);
    if (r == MA_OK)
        ma_b64url_encode(ma_span_of(mac, sizeof mac), out);
    return r;
}

static int64_t slice_at(int64_t now_ms)
{
    return now_ms / 1000 / MA_DPOP_NONCE_LIFE_S;
}

int ma_dpop_nonce(struct ma_dpop *d, int64_t now_ms, char out[MA_DPOP_NONCE_LEN + 1])
{
    return nonce_of(d, slice_at(now_ms), out);
}

static bool nonce_good(const struct ma_dpop *d, struct ma_span nonce, int64_t now_ms)
{
    char text[MA_DPOP_NONCE_LEN + 1];
    bool good = false;
    for (int64_t back = 0; back <= 1; back++)
        if (nonce_of(d, slice_at(now_ms) - back, text) == MA_OK)
            good |= ma_ct_eq(nonce, ma_span_str(text));
    return good;
}

/* --- one proof --- */

struct proof {
    struct ma_span input, sig;
    struct header header;
    struct claims claims;
    enum ma_jws_alg alg;
};

static bool alg_ok(enum ma_jws_alg alg)
{
    return alg == MA_JWS_ES256 || alg == MA_JWS_RS256 || alg == MA_JWS_ES384 || alg == MA_JWS_EDDSA ||
           alg == MA_JWS_PS256;
}

static const char *check_header(struct proof *p)
{
    const struct header *h = &p->header;
    if (h->crit.p || h->b64.p) /* RFC 7515 §4.1.11, RFC 7797 §3 */
        return "the DPoP proof's header asks for an extension";
    if (!ma_span_eq_str(h->typ, "dpop+jwt"))
        return "the DPoP proof's typ is not dpop+jwt";
    p->alg = ma_jws_alg_parse(h->alg);
    if (!alg_ok(p->alg))
        return "the DPoP proof's algorithm is not supported";
    for (size_t i = 0; i < S__COUNT; i++)
        if (h->jwk.secret[i].p) /* §4.3 check 7 */
            return "the DPoP proof's jwk holds a private key";
    return NULL;
}

static const char *parse(struct ma_arena *a, struct ma_span compact, struct proof *p)
{
    static const char encoding[] = "the DPoP proof is not base64url";
    struct ma_span head, body, sig, text;
    if (compact.n > MA_DPOP_MAX)
        return "the DPoP proof is too long";
    if (!ma_jws_split(compact, &head, &body, &sig))
        return "the DPoP proof does not have three parts";
    p->input = ma_span_of(compact.p, head.n + 1 + body.n);
    const char *problem = ma_jws_decode_part(a, head, encoding, &text);
    if (!problem)
        problem = decode(a, text, &HEADER_SHAPE, &p->header, "the DPoP proof's header is malformed");
    if (!problem)
        problem = check_header(p);
    if (!problem)
        problem = ma_jws_decode_part(a, body, encoding, &text);
    if (!problem)
        problem =
            decode(a, text, &CLAIMS_SHAPE, &p->claims, "a claim of the DPoP proof is missing or has the wrong type");
    return problem ? problem : ma_jws_decode_part(a, sig, encoding, &p->sig);
}

static const char *check_claims(struct ma_arena *a, const struct claims *c, const struct ma_dpop_ask *ask,
                                int64_t now_s)
{
    if (c->jti.n == 0 || c->jti.n > JTI_MAX)
        return "jti of the DPoP proof is empty or too long";
    if (!ma_span_eq_str(c->htm, ask->method))
        return "the DPoP proof is for another method";
    if (c->iat < now_s - MA_DPOP_PAST_S) /* §11.1 */
        return "the DPoP proof is too old";
    if (c->iat > now_s + MA_DPOP_FUTURE_S)
        return "the DPoP proof was made in the future";
    const char *problem = check_url(a, c->htu, ask->url);
    return problem ? problem : check_ath(c, ask->access_token);
}

static void key_free_p(struct ma_key **k)
{
    ma_key_free(*k);
}

static const char *check_signature(struct ma_metrics *m, struct ma_arena *a, const struct proof *p,
                                   char jkt[MA_JKT_LEN + 1])
{
    MA_CLEANUP(key_free_p) struct ma_key *key = NULL;
    int r = ma_jwk_key(a, &p->header.jwk.text, &key);
    if (r == MA_OK && !ma_key_fits(key, p->alg))
        r = MA_E_UNSUPPORTED;
    if (r < 0)
        return r == MA_E_NOMEM ? MA_JWS_NOMEM : "the DPoP proof's jwk is not a key for its algorithm";
    r = ma_key_verify(key, p->alg, p->input, p->sig);
    ma_jose_count(m, p->alg, r == MA_OK ? MA_JWS_GOOD : MA_JWS_BAD_SIG);
    if (r < 0)
        return r == MA_E_NOMEM ? MA_JWS_NOMEM : "the DPoP proof's signature is wrong";
    return ma_jwk_thumbprint(key, a, jkt) == MA_OK ? NULL : MA_JWS_NOMEM;
}

static enum ma_dpop_verdict replayed(const char **ret_why)
{
    *ret_why = "the DPoP proof was used before";
    return MA_DPOP_REPLAYED;
}

enum ma_dpop_verdict ma_dpop_settle(struct ma_dpop *d, enum ma_dpop_place place, const struct ma_dpop_used *used,
                                    int64_t now_ms, const char **ret_why)
{
    const struct ma_span parts[] = {ma_span_str(used->jkt), used->jti};
    *ret_why = "";
    switch (ma_replay_add(d->seen[place], parts, MA_COUNT(parts), used->until_s, now_ms / 1000)) {
    case MA_REPLAY_NEW:
        return MA_DPOP_OK;
    case MA_REPLAY_SEEN:
        return replayed(ret_why);
    case MA_REPLAY_FULL:
        break;
    }
    *ret_why = "there is no room to remember the DPoP proof";
    return MA_DPOP_BUSY;
}

/* Only a proof that is good in everything else takes a place. */
static enum ma_dpop_verdict remember(struct ma_dpop *d, const struct ma_dpop_ask *ask, const struct claims *c,
                                     const char *jkt, int64_t now_ms, const char **ret_why)
{
    struct ma_dpop_used used = {.jti = c->jti, .until_s = c->iat + MA_DPOP_PAST_S};
    memcpy(used.jkt, jkt, sizeof used.jkt);
    if (!ask->later)
        return ma_dpop_settle(d, ask->place, &used, now_ms, ret_why);
    const struct ma_span parts[] = {ma_span_str(used.jkt), used.jti};
    *ask->later = used;
    return ma_replay_seen(d->seen[ask->place], parts, MA_COUNT(parts), now_ms / 1000) ? replayed(ret_why) : MA_DPOP_OK;
}

/* §8. Nonces are of this process alone: one that is good was given after the start, so that the proof is no older. */
static const char *nonce_problem(const struct ma_dpop *d, const struct claims *c, const struct ma_dpop_ask *ask,
                                 int64_t now_ms)
{
    if (c->has_nonce)
        return nonce_good(d, c->nonce, now_ms) ? NULL : "the DPoP proof's nonce has lapsed";
    if (ask->nonce_required)
        return "the DPoP proof needs a nonce";
    return c->iat < d->start_s ? "the DPoP proof is older than this server's memory" : NULL;
}

enum ma_dpop_verdict ma_dpop_verify(struct ma_dpop *d, struct ma_arena *a, struct ma_span proof,
                                    const struct ma_dpop_ask *ask, int64_t now_ms, char ret_jkt[MA_JKT_LEN + 1],
                                    const char **ret_why)
{
    const int64_t now_s = now_ms / 1000;
    struct proof p = {.alg = MA_JWS_NONE};
    ret_jkt[0] = '\0';
    /* What is cheap comes before the signature. */
    const char *problem = parse(a, proof, &p);
    if (!problem)
        problem = check_claims(a, &p.claims, ask, now_s);
    if (!problem)
        problem = check_signature(d->metrics, a, &p, ret_jkt);
    *ret_why = problem ? problem : "";
    if (problem)
        return problem == MA_JWS_NOMEM ? MA_DPOP_BUSY : MA_DPOP_BAD;
    problem = nonce_problem(d, &p.claims, ask, now_ms);
    *ret_why = problem ? problem : "";
    return problem ? MA_DPOP_USE_NONCE : remember(d, ask, &p.claims, ret_jkt, now_ms, ret_why);
}

/* The issuer's length goes first: its end and the name's beginning cannot be confused. */
bool ma_dpop_remember(struct ma_dpop *d, struct ma_span issuer, struct ma_span jti, int64_t until_ms, int64_t now_ms)
{
    const uint64_t n = issuer.n;
    const struct ma_span parts[] = {ma_span_of(&n, sizeof n), issuer, jti};
    return ma_replay_add(d->seen[MA_DPOP_ASSERTIONS], parts, MA_COUNT(parts), until_ms / 1000 + 1, now_ms / 1000) ==
           MA_REPLAY_NEW;
}

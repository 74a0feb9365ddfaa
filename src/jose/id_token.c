/* SPDX-License-Identifier: Apache-2.0
 * Tokens of identity providers (OpenID Connect Core §3.1.3.7): the claims first, then the signature
 * with keys that are fetched when they are missing, old, or do not have the token's kid.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"

#include <stdio.h>

#define SUB_MAX 255u                   /* bytes; OIDC Core §2 */
#define TENANT_MAX 64u                 /* bytes of a tid claim */
#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define AUD_ITEMS_MAX 32u
#define TENANT_MARK "{tenantid}"

struct claims {
    struct ma_span iss, sub, azp, nonce, at_hash, tid;
    struct ma_span_list aud;
    int64_t exp, iat, nbf;
    bool has_azp, has_nonce, has_at_hash;
    struct ma_span email, name;
    int64_t auth_time; /* 0: none */
};
#define F(member, t, ...)                                                                                              \
    {                                                                                                                  \
        .name = #member, .type = (t), .off = offsetof(struct claims, member), __VA_ARGS__                              \
    }
#define HAS(member) .has_off = offsetof(struct claims, has_##member)
static const struct ma_jfield CLAIM_FIELDS[] = {
    F(iss, MA_F_STR, .flags = MA_REQ, .min = 1),
    F(sub, MA_F_STR, .flags = MA_REQ, .min = 1, .max = SUB_MAX),
    F(aud, MA_F_STR_OR_LIST, .flags = MA_REQ, .max_items = AUD_ITEMS_MAX),
    F(exp, MA_F_INT, .flags = MA_REQ, .max = TIME_MAX),
    F(iat, MA_F_INT, .flags = MA_REQ, .max = TIME_MAX),
    F(nbf, MA_F_INT, .flags = MA_NULLOK, .max = TIME_MAX),
    F(azp, MA_F_STR, .flags = MA_NULLOK, HAS(azp)),
    F(nonce, MA_F_STR, .flags = MA_NULLOK, HAS(nonce)),
    F(at_hash, MA_F_STR, .flags = MA_NULLOK, HAS(at_hash)),
};
static const struct ma_shape CLAIMS_SHAPE = MA_SHAPE_OPEN(struct claims, CLAIM_FIELDS);

/* Claims whose wrong type is nobody's harm, each on its own: it counts as absent. */
static const struct ma_jfield EMAIL_FIELD[] = {F(email, MA_F_STR, .min = 1)};
static const struct ma_jfield NAME_FIELD[] = {F(name, MA_F_STR, .min = 1)};
static const struct ma_jfield TID_FIELD[] = {F(tid, MA_F_STR, .min = 1, .max = TENANT_MAX)};
static const struct ma_jfield AUTH_TIME_FIELD[] = {F(auth_time, MA_F_INT, .min = 1, .max = TIME_MAX)};
static const struct ma_shape LENIENT_SHAPES[] = {
    MA_SHAPE_OPEN(struct claims, EMAIL_FIELD),
    MA_SHAPE_OPEN(struct claims, NAME_FIELD),
    MA_SHAPE_OPEN(struct claims, TID_FIELD),
    MA_SHAPE_OPEN(struct claims, AUTH_TIME_FIELD),
};

static const char *decode(struct ma_arena *a, struct ma_span payload, struct claims *c)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(payload, &doc);
    if (r == MA_E_PARSE)
        return "the token's payload is malformed";
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &CLAIMS_SHAPE, c, &errs);
    if (r != MA_OK)
        return r == MA_E_NOMEM ? MA_JWS_NOMEM : "a claim of the token is missing or has the wrong type";
    for (size_t i = 0; i < MA_COUNT(LENIENT_SHAPES); i++) {
        errs.n = 0;
        if (ma_json_decode(doc, a, &LENIENT_SHAPES[i], c, &errs) == MA_E_NOMEM)
            return MA_JWS_NOMEM;
    }
    return NULL;
}

static bool is_tenant(struct ma_span s)
{
    if (s.n == 0 || s.n > TENANT_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t ch = s.p[i];
        if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F') || ch == '-'))
            return false;
    }
    return true;
}

/* OIDC Core §3.1.3.7, point 2. A provider with many tenants signs for all of them with the same keys. */
static const char *check_issuer(struct ma_arena *a, const struct claims *c, const char *issuer)
{
    const char *want = issuer;
    const char *mark = strstr(issuer, TENANT_MARK);
    if (mark && !is_tenant(c->tid))
        return "the token names no tenant";
    if (mark)
        want = ma_arena_printf(a, "%.*s%.*s%s", (int)(mark - issuer), issuer, (int)c->tid.n, (const char *)c->tid.p,
                               mark + strlen(TENANT_MARK));
    if (!want)
        return MA_JWS_NOMEM;
    return ma_span_eq_str(c->iss, want) ? NULL : "the token is of another issuer";
}

/* OIDC Core §3.1.3.7, points 3 to 5. */
static const char *check_audience(const struct claims *c, const char *client_id)
{
    bool found = false;
    for (size_t i = 0; i < c->aud.n && !found; i++)
        found = ma_span_eq_str(c->aud.v[i], client_id);
    if (!found)
        return "the token is for another audience";
    if (c->aud.n > 1 && !c->has_azp)
        return "the token has several audiences and no authorized party";
    return !c->has_azp || ma_span_eq_str(c->azp, client_id) ? NULL : "the token is for another authorized party";
}

/* OIDC Core §3.1.3.7, points 9, 10, 12 and 13. */
static const char *check_times(const struct claims *c, int64_t max_age_s, int64_t now_ms)
{
    const char *problem = ma_token_time_problem(c->exp, c->nbf, c->iat, now_ms);
    if (problem || max_age_s < 0)
        return problem;
    if (c->auth_time == 0)
        return "the token does not say when the user authenticated";
    int64_t age_s = now_ms / 1000 - c->auth_time;
    if (age_s < -MA_CLOCK_LEEWAY_S)
        return "the user authenticated in the future";
    return age_s - MA_CLOCK_LEEWAY_S > max_age_s ? "the user authenticated too long ago" : NULL;
}

/* OIDC Core §3.1.3.7, point 11. */
static const char *check_nonce(const struct claims *c, struct ma_span nonce)
{
    if (nonce.n == 0)
        return NULL;
    return c->has_nonce && ma_ct_eq(c->nonce, nonce) ? NULL : "the token's nonce is another one";
}

/* OIDC Core §3.1.3.8 and §3.1.3.6: the left half of the access token's hash. */
static const char *check_at_hash(const struct claims *c, enum ma_jws_alg alg, struct ma_span access_token)
{
    uint8_t hash[MA_JWS_HASH_MAX];
    char text[MA_B64URL_LEN(MA_JWS_HASH_MAX / 2) + 1];
    size_t n = 0;
    if (!c->has_at_hash || access_token.n == 0)
        return NULL;
    if (ma_jws_hash(alg, access_token, hash, &n) < 0)
        return "the access token cannot be compared";
    ma_b64url_encode(ma_span_of(hash, n / 2), text);
    return ma_ct_eq(c->at_hash, ma_span_str(text)) ? NULL : "the token belongs to another access token";
}

static const char *check_subject(struct ma_span sub)
{
    return sub.n > SUB_MAX || ma_utf8_has_control(sub) ? "the token's subject is too long or not plain text" : NULL;
}

static const char *check_claims(struct ma_arena *a, const struct ma_jws *jws, const struct ma_id_token_ask *ask,
                                int64_t now_ms, struct claims *c)
{
    const char *problem = decode(a, jws->payload, c);
    if (!problem)
        problem = check_issuer(a, c, ask->issuer);
    if (!problem)
        problem = check_audience(c, ask->client_id);
    if (!problem)
        problem = check_times(c, ask->max_age_s, now_ms);
    if (!problem)
        problem = check_nonce(c, ask->nonce);
    if (!problem)
        problem = check_at_hash(c, jws->alg, ask->access_token);
    return problem ? problem : check_subject(c->sub);
}

/* --- the signature --- */

struct lookup {
    struct ma_jose *j;
    struct ma_httpc *c;
    struct ma_issuer *set;
    const struct ma_net_policy *policy;
    int64_t now_ms;
};

static int no_keys(int r, char why[256])
{
    if (r == MA_E_NOMEM)
        return r;
    char reason[160];
    (void)snprintf(reason, sizeof(reason), "%.150s", why);
    (void)snprintf(why, 256, "the provider's keys cannot be had%s%s", reason[0] ? ": " : "", reason);
    return MA_E_UPSTREAM;
}

static int from_verdict(enum ma_jws_verdict v, char why[256])
{
    static const char *const texts[] = {
        [MA_JWS_GOOD] = "",
        [MA_JWS_UNKNOWN_KID] = "the token's key is not known",
        [MA_JWS_WRONG_ALG] = "the token's algorithm is not allowed for the key",
        [MA_JWS_BAD_SIG] = "the token's signature does not verify",
        [MA_JWS_UNCHECKED] = "out of memory",
    };
    (void)snprintf(why, 256, "%s", texts[v]);
    if (v == MA_JWS_UNCHECKED)
        return MA_E_NOMEM;
    return v == MA_JWS_GOOD ? MA_OK : MA_E_AUTH;
}

/* Keys may have been replaced since they were fetched. Without a kid nothing else tells. */
static bool maybe_rotated(const struct ma_jws *jws, enum ma_jws_verdict v)
{
    return v == MA_JWS_UNKNOWN_KID || (v != MA_JWS_GOOD && v != MA_JWS_UNCHECKED && !jws->kid.p);
}

static enum ma_jws_verdict checked(const struct lookup *l, const struct ma_jws *jws, const struct ma_jwks *keys)
{
    enum ma_jws_verdict v = ma_jws_check(jws, keys, UINT32_MAX, l->now_ms);
    ma_jose_count(l->j->metrics, jws->alg, v);
    return v;
}

static int check_again(const struct lookup *l, const struct ma_jws *jws, const struct ma_jwks *used,
                       enum ma_jws_verdict v, char why[256])
{
    int r = ma_issuer_fetch(l->j, l->set, l->c, l->policy, MA_FETCH_FORCED, why);
    /* Also when this fetch was throttled: somebody else's may have brought the key. */
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *keys = ma_issuer_keys_unless_stale(l->j, l->set);
    if (keys && keys != used)
        return from_verdict(checked(l, jws, keys), why);
    return r == MA_OK || r == MA_E_BUSY ? from_verdict(v, why) : no_keys(r, why);
}

static int check_signature(const struct lookup *l, const struct ma_jws *jws, char why[256])
{
    int r = ma_issuer_fetch(l->j, l->set, l->c, l->policy, MA_FETCH_DUE, why);
    MA_CLEANUP(ma_jwks_unref_p) struct ma_jwks *keys = ma_issuer_keys_unless_stale(l->j, l->set);
    if (!keys)
        return no_keys(r, why);
    enum ma_jws_verdict v = checked(l, jws, keys);
    return maybe_rotated(jws, v) ? check_again(l, jws, keys, v, why) : from_verdict(v, why);
}

static int check_with_keys(struct ma_jose *j, struct ma_httpc *c, const struct ma_jws *jws,
                           const struct ma_id_token_ask *ask, int64_t now_ms, char why[256])
{
    MA_CLEANUP(ma_issuer_unref_p) struct ma_issuer *set = NULL;
    why[0] = 0;
    int r = ma_provider_keys_get(&j->providers, ask->jwks_uri, &set);
    if (r < 0)
        return no_keys(r, why);
    const struct lookup l = {j, c, set, &ask->policy, now_ms};
    return check_signature(&l, jws, why);
}

/* An empty client_id would match an empty audience, so what is missing is refused instead of compared. */
static const char *ask_problem(const struct ma_id_token_ask *ask)
{
    bool whole = ask->issuer && ask->issuer[0] && ask->client_id && ask->client_id[0] && ask->jwks_uri;
    return whole ? NULL : "the provider's issuer, keys or client are not known";
}

int ma_id_token_verify(struct ma_jose *j, struct ma_httpc *c, struct ma_arena *a, struct ma_span compact,
                       const struct ma_id_token_ask *ask, int64_t now_ms, struct ma_id_token *ret, char why[256])
{
    struct ma_jws jws;
    struct claims claims = {0};
    *ret = (struct ma_id_token){0};
    const char *problem = ask_problem(ask);
    if (!problem)
        problem = ma_jws_parse_upto(a, compact, MA_ID_TOKEN_MAX, &jws);
    /* RFC 9068 §5: an access token is nobody's identity. */
    if (!problem && jws.access)
        problem = "the token is an access token";
    /* Claims first: only a token that would otherwise be good may cost a signature check or cause a fetch. */
    if (!problem)
        problem = check_claims(a, &jws, ask, now_ms, &claims);
    if (problem) {
        (void)snprintf(why, 256, "%s", problem);
        return problem == MA_JWS_NOMEM ? MA_E_NOMEM : MA_E_AUTH;
    }
    int r = check_with_keys(j, c, &jws, ask, now_ms, why);
    if (r == MA_OK)
        *ret = (struct ma_id_token){claims.sub, claims.email, claims.name, jws.payload};
    return r;
}

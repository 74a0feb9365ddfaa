/* SPDX-License-Identifier: Apache-2.0
 * Minting access tokens (RFC 9068), client assertions (RFC 7523) and what other services ask for: libjwt holds header
 * and claims, a key of ours signs.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#include <jwt.h>
#include <stdlib.h>

#define AMR_TEXT_MAX 4096u
#define ASSERTION_ID_BYTES 16u

static void jwt_free_p(jwt_t **t)
{
    jwt_free(*t);
}

static int from_errno(int rc)
{
    return rc == 0 ? MA_OK : MA_E_NOMEM; /* what is added is well-formed: only room can be missing */
}

struct grant {
    const char *name, *value;
};
static int add_strings(jwt_t *t, const struct grant *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!v[i].value)
            return MA_E_INVAL;
        if (jwt_add_grant(t, v[i].name, v[i].value) != 0)
            return ma_json_starved() ? MA_E_NOMEM : MA_E_INVAL; /* not UTF-8 */
    }
    return MA_OK;
}

static int add_life(jwt_t *t, int64_t iat_s, int64_t ttl_s)
{
    int rc = jwt_add_grant_int(t, "iat", (long)iat_s);
    if (rc == 0)
        rc = jwt_add_grant_int(t, "exp", (long)(iat_s + ttl_s));
    return from_errno(rc);
}

static int add_access_claims(jwt_t *t, const struct ma_mint *m)
{
    /* RFC 9068 §2.2; azp repeats client_id for consumers of the OpenID habit. */
    const struct grant v[] = {
        {"iss", m->iss},       {"sub", m->sub},     {"aud", m->audience}, {"client_id", m->client_id},
        {"azp", m->client_id}, {"scope", m->scope}, {"jti", m->jti}};
    int r = add_strings(t, v, MA_COUNT(v));
    if (r == MA_OK)
        r = add_life(t, m->now_s, m->ttl_s);
    if (r == MA_OK && m->auth_time_s >= 0)
        r = from_errno(jwt_add_grant_int(t, "auth_time", (long)m->auth_time_s));
    return r;
}

static int add_amr(jwt_t *t, struct ma_arena *a, const char *const *amr)
{
    if (!amr || !amr[0])
        return MA_OK;
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 256, AMR_TEXT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "amr");
    ma_jw_arr(&w);
    for (size_t i = 0; amr[i]; i++)
        ma_jw_cstr(&w, amr[i]);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    ma_buf_byte(&b, 0);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    return from_errno(jwt_add_grants_json(t, (const char *)b.p));
}

static int add_headers(jwt_t *t, const char *kid, enum ma_jws_alg alg, const char *typ)
{
    int rc = jwt_add_header(t, "alg", ma_jws_alg_name(alg));
    if (rc == 0)
        rc = jwt_add_header(t, "kid", kid);
    if (rc == 0)
        rc = jwt_add_header(t, "typ", typ);
    return from_errno(rc);
}

static void put_b64(struct ma_buf *b, struct ma_span s)
{
    uint8_t *p = ma_buf_reserve(b, MA_B64URL_LEN(s.n) + 1);
    if (!p)
        return;
    ma_b64url_encode(s, (char *)p);
    b->n += MA_B64URL_LEN(s.n);
}

/* libjwt 1.10 puts typ "JWT" over whatever was set when it encodes by itself, so its two JSON texts are taken and
 * put together here. */
static int encode(jwt_t *t, const struct ma_key *key, enum ma_jws_alg alg, struct ma_buf *b)
{
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    MA_CLEANUP(ma_free_p) char *header = jwt_get_headers_json(t, NULL);
    MA_CLEANUP(ma_free_p) char *claims = jwt_get_grants_json(t, NULL);
    if (!header || !claims || ma_json_starved()) /* nothing is signed that may not say what it should */
        return MA_E_NOMEM;
    put_b64(b, ma_span_str(header));
    ma_buf_byte(b, '.');
    put_b64(b, ma_span_str(claims));
    int r = ma_buf_err(b);
    if (r == MA_OK)
        r = ma_key_sign(key, alg, ma_buf_view(b), sig, &n);
    if (r < 0)
        return r;
    ma_buf_byte(b, '.');
    put_b64(b, ma_span_of(sig, n));
    return ma_buf_err(b);
}

struct signer {
    const struct ma_key *key;
    enum ma_jws_alg alg;
    const char *kid;
};

/* Header and signature around the claims in t. */
static int sign(struct ma_arena *a, jwt_t *t, const struct signer *by, const char *typ, struct ma_span *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 2048, strcmp(typ, "at+jwt") == 0 ? MA_TOKEN_MAX : MA_ID_TOKEN_MAX);
    int r = add_headers(t, by->kid, by->alg, typ);
    if (r == MA_OK)
        r = encode(t, by->key, by->alg, &b);
    if (r < 0)
        return r;
    *ret = ma_arena_dup(a, ma_buf_view(&b)); /* with its NUL */
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* The same with the own key of this algorithm. */
static int finish(struct ma_jose *j, struct ma_arena *a, jwt_t *t, enum ma_jws_alg alg, const char *typ,
                  struct ma_span *ret)
{
    MA_CLEANUP(ma_ring_unref_p) struct ma_ring *ring = ma_jose_ring(j);
    const struct ma_jwk *key = ma_ring_signer(ring, alg);
    if (!key)
        return MA_E_UNSUPPORTED;
    const struct signer by = {key->key, alg, key->kid};
    return sign(a, t, &by, typ, ret);
}

int ma_jose_mint(struct ma_jose *j, struct ma_arena *a, const struct ma_mint *m, struct ma_span *ret)
{
    MA_CLEANUP(jwt_free_p) jwt_t *t = NULL;
    ma_json_watch();
    if (jwt_new(&t) != 0)
        return MA_E_NOMEM;
    int r = add_access_claims(t, m);
    if (r == MA_OK)
        r = add_amr(t, a, m->amr);
    return r == MA_OK ? finish(j, a, t, m->alg, "at+jwt", ret) : r; /* RFC 9068 §2.1 */
}

int ma_jose_client_assertion(struct ma_jose *j, struct ma_arena *a, const char *client_id, const char *audience,
                             int64_t now_s, struct ma_span *ret)
{
    MA_CLEANUP(jwt_free_p) jwt_t *t = NULL;
    uint8_t id[ASSERTION_ID_BYTES];
    char jti[MA_B64URL_LEN(ASSERTION_ID_BYTES) + 1];
    if (!client_id || !client_id[0] || !audience || !audience[0])
        return MA_E_INVAL;
    int r = j->rand->fill(j->rand, id, sizeof(id));
    if (r < 0)
        return r;
    ma_b64url_encode(ma_span_of(id, sizeof(id)), jti);
    ma_json_watch();
    if (jwt_new(&t) != 0)
        return MA_E_NOMEM;
    /* RFC 7523 §3, points 1 to 3 and 7. */
    const struct grant v[] = {{"iss", client_id}, {"sub", client_id}, {"aud", audience}, {"jti", jti}};
    r = add_strings(t, v, MA_COUNT(v));
    if (r == MA_OK)
        r = add_life(t, now_s, MA_ASSERTION_TTL_S);
    return r == MA_OK ? finish(j, a, t, MA_JWS_RS256, "JWT", ret) : r;
}

int ma_jose_sign(struct ma_jose *j, struct ma_arena *a, enum ma_jws_alg alg, const char *typ, const char *claims,
                 struct ma_span *ret)
{
    MA_CLEANUP(jwt_free_p) jwt_t *t = NULL;
    ma_json_watch();
    if (jwt_new(&t) != 0)
        return MA_E_NOMEM;
    int r = from_errno(jwt_add_grants_json(t, claims));
    return r == MA_OK ? finish(j, a, t, alg, typ, ret) : r;
}

int ma_jwt_sign_with(struct ma_arena *a, const struct ma_key *key, enum ma_jws_alg alg, const char *kid,
                     const char *claims, struct ma_span *ret)
{
    MA_CLEANUP(jwt_free_p) jwt_t *t = NULL;
    const struct signer by = {key, alg, kid};
    ma_json_watch();
    if (jwt_new(&t) != 0)
        return MA_E_NOMEM;
    int r = from_errno(jwt_add_grants_json(t, claims));
    return r == MA_OK ? sign(a, t, &by, "JWT", ret) : r;
}

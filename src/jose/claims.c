/* SPDX-License-Identifier: Apache-2.0
 * The claims of an access token (RFC 7519, RFC 9068): strict types, issuer and audience of the
 * domain the request came to, time with a small leeway.
 */
#include "ma/jose.h"
#include "int.h"
#include "ma/jsonr.h"

#define SUB_MAX 255u                   /* bytes */
#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define AUD_ITEMS_MAX 32u
#define AMR_ITEMS_MAX 32u

struct confirmation {
    struct ma_span jkt;
};
static const struct ma_jfield CNF_FIELDS[] = {
    {.name = "jkt", .type = MA_F_STR, .off = offsetof(struct confirmation, jkt), .min = 1, .max = 64},
};
static const struct ma_shape CNF_SHAPE = MA_SHAPE_OPEN(struct confirmation, CNF_FIELDS);

struct claims {
    struct ma_span iss, sub, azp, client_id, scope;
    struct ma_span jti, sid, org_id, gty, acr, email, name, email_verified;
    struct ma_span_list aud, amr;
    struct confirmation cnf;
    int64_t exp, nbf, iat, auth_time;
    bool has_azp, has_client_id, has_cnf, has_auth_time, has_jti, has_sid, has_org_id, has_gty, has_acr, has_email,
        has_name;
};
#define F(member, t, ...)                                                                                              \
    {                                                                                                                  \
        .name = #member, .type = (t), .off = offsetof(struct claims, member), __VA_ARGS__                              \
    }
#define HAS(member) .has_off = offsetof(struct claims, has_##member)
#define WORD(member) F(member, MA_F_STR, .flags = MA_NULLOK, HAS(member))
#define TIME(member, ...) F(member, MA_F_INT, .min = 0, .max = TIME_MAX, __VA_ARGS__)
static const struct ma_jfield CLAIM_FIELDS[] = {
    F(iss, MA_F_STR, .flags = MA_REQ, .min = 1),
    F(sub, MA_F_STR, .flags = MA_REQ, .min = 1, .max = SUB_MAX),
    F(aud, MA_F_STR_OR_LIST, .flags = MA_REQ, .max_items = AUD_ITEMS_MAX),
    TIME(exp, .flags = MA_REQ),
    TIME(nbf, .flags = 0),
    TIME(iat, .flags = 0),
    TIME(auth_time, HAS(auth_time)),
    F(azp, MA_F_STR, .min = 1, .max = 255, HAS(azp)),
    F(client_id, MA_F_STR, .min = 1, .max = 255, HAS(client_id)),
    F(scope, MA_F_STR, .flags = MA_NULLOK),
    F(amr, MA_F_STRLIST, .flags = MA_NULLOK, .max_items = AMR_ITEMS_MAX),
    F(cnf, MA_F_OBJ, .sub = &CNF_SHAPE, HAS(cnf)),
    WORD(jti),
    WORD(sid),
    WORD(org_id),
    WORD(gty),
    WORD(acr),
    WORD(email),
    WORD(name),
    /* Some providers send "true": anything but the literal counts as unverified. */
    F(email_verified, MA_F_RAW, .flags = MA_NULLOK),
};
static const struct ma_shape CLAIMS_SHAPE = MA_SHAPE_OPEN(struct claims, CLAIM_FIELDS);

static const char *decode(struct ma_arena *a, struct ma_span payload, struct claims *c)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    int r = ma_json_parse(payload, &doc);
    if (r == MA_E_PARSE)
        return "the token's payload is malformed";
    if (r == MA_OK)
        r = ma_json_decode(doc, a, &CLAIMS_SHAPE, c, &errs);
    if (r == MA_E_NOMEM)
        return MA_JWS_NOMEM;
    return r == MA_OK ? NULL : "a claim of the token is missing or has the wrong type";
}

/* The index in the view, or -1. The own issuer comes first, so nobody else can be configured over it. */
static int find_issuer(const struct ma_expect *e, struct ma_span iss, const char **problem)
{
    const struct ma_view *v = e->view;
    for (size_t d = 0; v->own && d < v->n_domains; d++) {
        if (!ma_span_eq_str(iss, v->iss[d]))
            continue;
        *problem = (int)d == e->host_domain ? NULL : "the token is for another domain";
        return MA_ISSUER_OWN;
    }
    for (size_t i = 1; i < v->n; i++) {
        if (ma_span_eq_str(iss, v->v[i]->url)) {
            *problem = NULL;
            return (int)i;
        }
    }
    *problem = "the token's issuer is not known";
    return -1;
}

static bool aud_has(const struct ma_span_list *aud, const char *want)
{
    for (size_t i = 0; i < aud->n; i++) {
        if (ma_span_eq_str(aud->v[i], want))
            return true;
    }
    return false;
}

static const char *check_parties(const struct claims *c, const struct ma_expect *e, struct ma_token *ret)
{
    const char *problem = NULL;
    ret->issuer = find_issuer(e, c->iss, &problem);
    if (problem)
        return problem;
    const char *audience = e->audience ? e->audience : e->view->aud[e->host_domain];
    if (e->audience && ret->issuer != MA_ISSUER_OWN)
        return "the token is from another issuer";
    if (ret->issuer != MA_ISSUER_OWN && e->view->v[ret->issuer]->audience[0])
        audience = e->view->v[ret->issuer]->audience;
    if (!aud_has(&c->aud, audience))
        return "the token is for another audience";
    ret->domain = e->host_domain;
    if (!c->has_azp && !c->has_client_id)
        return "the token names no client";
    if (c->has_azp && c->has_client_id && !ma_span_eq(c->azp, c->client_id))
        return "the token names two clients";
    ret->client_id = c->has_client_id ? c->client_id : c->azp;
    return c->sub.n <= SUB_MAX && ret->client_id.n <= SUB_MAX ? NULL : "the token's subject or client is too long";
}

const char *ma_token_time_problem(int64_t exp, int64_t nbf, int64_t iat, int64_t now_ms)
{
    const int64_t leeway = MA_CLOCK_LEEWAY_S;
    const int64_t now_s = now_ms / 1000;
    /* RFC 7519 §4.1.4, §4.1.5 */
    if (exp + leeway <= now_s)
        return "the token has expired";
    if (nbf > now_s + leeway)
        return "the token is not valid yet";
    return iat > now_s + leeway ? "the token was issued in the future" : NULL;
}

static struct ma_span maybe(bool has, struct ma_span s)
{
    return has ? s : MA_SPAN_NULL;
}

static void copy_claims(const struct claims *c, struct ma_token *t)
{
    t->iss = c->iss;
    t->sub = c->sub;
    t->scope = c->scope;
    t->aud = c->aud;
    t->jti = maybe(c->has_jti, c->jti);
    t->sid = maybe(c->has_sid, c->sid);
    t->org_id = maybe(c->has_org_id, c->org_id);
    t->gty = maybe(c->has_gty, c->gty);
    t->acr = maybe(c->has_acr, c->acr);
    t->email = maybe(c->has_email, c->email);
    t->name = maybe(c->has_name, c->name);
    t->email_verified = ma_span_eq_str(c->email_verified, "true");
    t->amr = c->amr;
    t->iat = c->iat;
    t->nbf = c->nbf;
    t->exp = c->exp;
    t->auth_time = c->has_auth_time ? c->auth_time : -1;
    t->cnf_jkt = maybe(c->has_cnf, c->cnf.jkt);
}

const char *ma_claims_check(struct ma_arena *a, struct ma_span payload, const struct ma_expect *e, struct ma_token *ret)
{
    struct claims c = {0};
    const char *problem = decode(a, payload, &c);
    if (!problem)
        problem = check_parties(&c, e, ret);
    if (problem)
        return problem;
    /* RFC 7800 §3.1: bound to something this server cannot check. */
    if (c.has_cnf && !c.cnf.jkt.p)
        return "the token is bound to a key in an unsupported way";
    copy_claims(&c, ret);
    return ma_token_time_problem(c.exp, c.nbf, c.iat, e->now_ms);
}

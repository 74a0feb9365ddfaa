/* SPDX-License-Identifier: Apache-2.0
 * Who the tokens belong to: the id_token's claims, what stood beside the token, or userinfo.
 */
#include "ma/provider.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/jsonw.h"

#define CLAIM_MAX 1024u /* bytes of an e-mail address or a name that are worth telling */
#define CLAIMS_MAX 4096u

static int take_subject(struct ma_span s, struct ma_identity *ret, struct ma_provider_fault *fault)
{
    if (s.n == 0 || s.n > MA_SUBJECT_MAX || ma_utf8_has_control(s))
        return ma_provider_fail(fault, MA_E_UPSTREAM, "the user's id is empty, too long or holds control characters");
    ret->subject = s;
    return MA_OK;
}

static struct ma_span worth_telling(struct ma_span s)
{
    return s.n && s.n <= CLAIM_MAX && !ma_utf8_has_control(s) ? s : MA_SPAN_NULL;
}

static bool openid_asked(const struct ma_state_provider *o, const struct ma_provider_tokens *t)
{
    struct ma_span rest = ma_span_str(o->preset->scopes), word;
    while (ma_next_word(&rest, " ", &word)) {
        if (ma_span_eq_str(word, "openid"))
            return true;
    }
    return ma_span_list_has(&o->scopes, MA_LIT("openid")) || ma_span_list_has(&t->scopes, MA_LIT("openid"));
}

/* --- id_token --- */

/* The subject is `sub`, unless the connection goes by another claim. */
static int subject_of_claims(const struct ma_provider_env *env, const struct ma_provider *p,
                             const struct ma_id_token *token, struct ma_identity *ret, struct ma_provider_fault *fault)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_span field = ma_user_id_field(p->connection), id = MA_SPAN_NULL;
    if (ma_span_eq_str(field, "sub"))
        return take_subject(token->sub, ret, fault);
    int r = ma_json_parse(token->claims, &j);
    if (r == MA_OK)
        r = ma_json_at(j, field, env->arena, &id);
    if (r == MA_E_NOMEM)
        return r;
    return r < 0 ? ma_provider_fail(fault, MA_E_UPSTREAM, "the id_token lacks the claim that identifies the user")
                 : take_subject(id, ret, fault);
}

static int from_id_token(const struct ma_provider_env *env, const struct ma_provider *p,
                         const struct ma_provider_tokens *t, const char *nonce, int64_t max_age_s,
                         struct ma_identity *ret, struct ma_provider_fault *fault)
{
    struct ma_id_token token = {.sub = {NULL, 0}};
    const char *client_id = ma_arena_strdup(env->arena, p->connection->provider.client_id);
    if (!client_id)
        return MA_E_NOMEM;
    if (!p->issuer || !p->jwks_uri)
        return ma_provider_fail(fault, MA_E_INVAL, "without issuer and jwks_uri no id_token can be verified");
    struct ma_id_token_ask ask = {.issuer = p->issuer,
                                  .jwks_uri = p->jwks_uri,
                                  .client_id = client_id,
                                  .nonce = ma_span_str(nonce),
                                  .access_token = t->access_token,
                                  .max_age_s = max_age_s,
                                  .policy = env->policy};
    int64_t time_ms = 0;
    int r = ma_provider_time(env, "jwks_uri", &time_ms, fault);
    if (r < 0)
        return r;
    ma_httpc_limit(env->httpc, time_ms);
    r = ma_id_token_verify(env->jose, env->httpc, env->arena, t->id_token, &ask, env->clock->wall_ms(env->clock),
                           &token, fault->why);
    ma_httpc_limit(env->httpc, 0);
    if (r < 0)
        return r;
    ret->email = worth_telling(token.email);
    ret->name = worth_telling(token.name);
    ret->claims = token.claims;
    return subject_of_claims(env, p, &token, ret, fault);
}

/* --- beside the token --- */

/* Not the object it was found in: that holds the tokens. */
static int from_token_answer(const struct ma_provider_env *env, const struct ma_provider *p,
                             const struct ma_provider_tokens *t, struct ma_identity *ret,
                             struct ma_provider_fault *fault)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, env->arena, 256, CLAIMS_MAX);
    ma_jw_init(&w, &b);
    int r = take_subject(t->user_id, ret, fault);
    if (r < 0)
        return r;
    ma_jw_obj(&w);
    ma_jw_key_span(&w, ma_user_id_field(p->connection));
    ma_jw_str(&w, t->user_id);
    ma_jw_obj_end(&w);
    ret->claims = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* --- userinfo (OpenID Connect Core §5.3) --- */

struct userinfo {
    struct ma_span email, name;
};
static const struct ma_jfield EMAIL_FIELD[] = {
    {.name = "email", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct userinfo, email)}};
static const struct ma_jfield NAME_FIELD[] = {
    {.name = "name", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct userinfo, name)}};
static const struct ma_shape EMAIL_SHAPE = MA_SHAPE_OPEN(struct userinfo, EMAIL_FIELD);
static const struct ma_shape NAME_SHAPE = MA_SHAPE_OPEN(struct userinfo, NAME_FIELD);

/* Each on its own: one of another type is as good as absent. */
static int take_profile(const struct ma_provider_env *env, const struct ma_json *j, struct ma_identity *ret)
{
    struct userinfo u = {.email = {NULL, 0}};
    if (ma_json_decode(j, env->arena, &EMAIL_SHAPE, &u, NULL) == MA_E_NOMEM ||
        ma_json_decode(j, env->arena, &NAME_SHAPE, &u, NULL) == MA_E_NOMEM)
        return MA_E_NOMEM;
    ret->email = worth_telling(u.email);
    ret->name = worth_telling(u.name);
    return MA_OK;
}

static int from_userinfo(const struct ma_provider_env *env, const struct ma_provider *p,
                         const struct ma_provider_tokens *t, struct ma_identity *ret, struct ma_provider_fault *fault)
{
    static const char what[] = "userinfo endpoint";
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_http_answer ans;
    struct ma_span id = MA_SPAN_NULL;
    if (!p->userinfo_endpoint)
        return ma_provider_fail(fault, MA_E_INVAL, "the connection has no userinfo_endpoint");
    int r = ma_provider_get(env, p->userinfo_endpoint, what, t->access_token, &ans, fault);
    if (r == MA_OK)
        r = ma_provider_judge(env, &ans, what, &j, fault);
    if (r < 0)
        return r;
    if (!j)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "%s: the answer is no JSON object", what);
    r = ma_json_at(j, ma_user_id_field(p->connection), env->arena, &id);
    if (r == MA_E_NOTFOUND)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "%s: the answer has no user id where one is expected", what);
    if (r == MA_OK)
        r = take_subject(id, ret, fault);
    if (r == MA_OK)
        r = take_profile(env, j, ret);
    ret->claims = ans.body;
    return r;
}

/* --- how much of it is kept --- */

static int shorten_claims(struct ma_arena *a, const struct ma_provider *p, struct ma_identity *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 1024, MA_PROVIDER_CLAIMS_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key_span(&w, ma_user_id_field(p->connection));
    ma_jw_str(&w, ret->subject);
    if (ret->email.p)
        ma_jw_kstr(&w, "email", ret->email);
    if (ret->name.p)
        ma_jw_kstr(&w, "name", ret->name);
    ma_jw_obj_end(&w);
    ret->claims = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static int identify(const struct ma_provider_env *env, const struct ma_provider *p, const struct ma_provider_tokens *t,
                    const char *nonce, int64_t max_age_s, struct ma_identity *ret, struct ma_provider_fault *fault)
{
    const struct ma_state_provider *o = &p->connection->provider;
    if (o->preset->oidc && t->id_token.n)
        return from_id_token(env, p, t, nonce, max_age_s, ret, fault);
    /* OpenID Connect Core §3.1.3.3: the scope openid brings one. */
    if (o->preset->oidc && openid_asked(o, t))
        return ma_provider_fail(fault, MA_E_AUTH, "the provider sent no id_token");
    if (t->user_id.n)
        return from_token_answer(env, p, t, ret, fault);
    return from_userinfo(env, p, t, ret, fault);
}

int ma_provider_identify(const struct ma_provider_env *env, const struct ma_provider *p,
                         const struct ma_provider_tokens *t, const char *nonce, int64_t max_age_s,
                         struct ma_identity *ret, struct ma_provider_fault *fault)
{
    *fault = (struct ma_provider_fault){.error = ""};
    *ret = (struct ma_identity){.subject = {NULL, 0}};
    int r = identify(env, p, t, nonce, max_age_s, ret, fault);
    return r == MA_OK && ret->claims.n > MA_PROVIDER_CLAIMS_MAX ? shorten_claims(env->arena, p, ret) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * GET and POST /userinfo (OpenID Connect Core §5.3), and the discovery document.
 */
#include "int.h"

#include <strings.h>

#include "ma/codec.h"
#include "ma/http.h"
#include "ma/limit.h"

/* --- userinfo --- */

static int refuse(struct ma_ctx *ctx, const char *scheme, const char *error, const char *why)
{
    (void)ma_oauth_fail(ctx, 401, error, why);
    ma_header(ctx, "WWW-Authenticate",
              ma_arena_printf(ctx->arena, "%s error=\"%s\", error_description=\"%s\"", scheme, error, why));
    return MA_E_PROBLEM;
}

static struct ma_span credentials(struct ma_span header, const char *scheme)
{
    size_t n = strlen(scheme);
    if (header.n <= n || strncasecmp((const char *)header.p, scheme, n) != 0 || header.p[n] != ' ')
        return MA_SPAN_NULL;
    return ma_trim(ma_span_of(header.p + n, header.n - n));
}

/* RFC 9449 §7.1: a bound token with a proof, an unbound one without. */
static int check_proof(struct ma_ctx *ctx, const struct ma_token *t, struct ma_span token, bool dpop)
{
    char jkt[MA_JKT_LEN + 1];
    const char *why = "";
    if (!dpop)
        return t->cnf_jkt.p ? refuse(ctx, "DPoP", "invalid_token", "the token is bound to a key") : MA_OK;
    if (!t->cnf_jkt.p || !ctx->req.dpop.p)
        return refuse(ctx, "DPoP", "invalid_token", "the token is not bound to a key, or there is no proof");
    struct ma_dpop_ask ask = {.method = ma_verb_name(ctx->req.verb),
                              .url = ma_arena_printf(ctx->arena, "%s/userinfo", ma_ctx_origin(ctx)),
                              .access_token = token};
    if (!ask.url)
        return MA_E_NOMEM;
    enum ma_dpop_verdict v = ma_dpop_verify(ctx->app->dpop, ctx->arena, ctx->req.dpop, &ask, ctx->now_ms, jkt, &why);
    if (v == MA_DPOP_BUSY)
        return MA_E_BUSY;
    if (v != MA_DPOP_OK) /* RFC 9449 §9; the fresh nonce comes with every error of a request that has a proof */
        return refuse(ctx, "DPoP", v == MA_DPOP_USE_NONCE ? "use_dpop_nonce" : "invalid_dpop_proof", why);
    return ma_span_eq_str(t->cnf_jkt, jkt) ? MA_OK : refuse(ctx, "DPoP", "invalid_token", "the key is another one");
}

/* As many as reads of the API, in a bucket of its own. */
static int limit_user(struct ma_ctx *ctx, struct ma_span user_id)
{
    struct ma_limit_state s;
    int64_t limit = ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.user_reads : 0;
    ma_limit_take(ctx->app->limits, MA_BUCKET_USERINFO, user_id, limit, 60000, ctx->now_ms, &s);
    ctx->rate.set = true;
    ctx->rate.limit = s.limit;
    ctx->rate.remaining = s.remaining;
    ctx->rate.reset_s = s.reset_s;
    return s.allowed ? MA_OK : ma_problem_retry(ctx, MA_P_RATE, NULL, s.retry_after_s);
}

int ma_op_userinfo(struct ma_ctx *ctx)
{
    struct ma_span bearer = credentials(ctx->req.authorization, "Bearer");
    struct ma_span dpop = credentials(ctx->req.authorization, "DPoP");
    struct ma_span token = dpop.p ? dpop : bearer;
    struct ma_token t;
    struct ma_user u;
    struct ma_jw w;
    const char *why = "";
    if (!token.p) {
        (void)ma_oauth_fail(ctx, 401, "invalid_token", "No access token.");
        ma_header(ctx, "WWW-Authenticate", "Bearer");
        return MA_E_PROBLEM;
    }
    const char *audience = ma_arena_printf(ctx->arena, "%s/userinfo", ma_ctx_origin(ctx));
    if (!audience)
        return MA_E_NOMEM;
    if (ma_token_verify_for(ctx->app->jose, ctx->arena, token, ctx->req.domain, audience, ctx->now_ms, &t, &why) !=
        MA_TOK_OK)
        return refuse(ctx, "Bearer", "invalid_token", why);
    if (!ma_scope_has(t.scope, "openid"))
        return refuse(ctx, "Bearer", "invalid_token", "the token does not carry openid");
    int r = ma_cors_check_client(ctx, ma_state_client(ctx->state, t.client_id));
    if (r == MA_OK)
        r = limit_user(ctx, t.sub);
    if (r == MA_OK)
        r = check_proof(ctx, &t, token, dpop.p != NULL);
    bool revoked = true;
    if (r == MA_OK)
        r = ma_access_revoked(ctx, &t, &revoked);
    if (r == MA_OK && revoked)
        return refuse(ctx, dpop.p ? "DPoP" : "Bearer", "invalid_token", "the token was revoked");
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, t.sub, &u);
    if (r == MA_E_NOTFOUND || (r == MA_OK && (u.blocked || ma_user_is_leaving(&u))))
        return refuse(ctx, "Bearer", "invalid_token", "the user is gone, leaving or blocked");
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "sub", u.user_id);
    ma_put_user_claims(&w, &u, t.scope);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "no-store");
    return ma_reply_end(ctx);
}

/* --- discovery (OpenID Connect Discovery §3, RFC 8414 §2) --- */

static void put_list(struct ma_jw *w, const char *key, const char *const *v)
{
    ma_jw_key(w, key);
    ma_jw_arr(w);
    for (; *v; v++)
        ma_jw_cstr(w, *v);
    ma_jw_arr_end(w);
}

int ma_op_discovery(struct ma_ctx *ctx)
{
    static const char *const urls[][2] = {
        {"issuer", "/"},
        {"authorization_endpoint", "/authorize"},
        {"token_endpoint", "/oauth/token"},
        {"userinfo_endpoint", "/userinfo"},
        {"jwks_uri", "/.well-known/jwks.json"},
        {"revocation_endpoint", "/oauth/revoke"},
        {"introspection_endpoint", "/oauth/introspect"},
        {"end_session_endpoint", "/oidc/logout"},
        {"mfa_challenge_endpoint", "/mfa/challenge"},
    };
    static const char *const scopes[] = {"openid", "profile", "email", "phone", "offline_access", NULL};
    static const char *const code[] = {"code", NULL}, *const s256[] = {"S256", NULL},
                             *const subject[] = {"public", NULL};
    static const char *const modes[] = {"query", "fragment", "form_post", "web_message", NULL};
    static const char *const id_algs[] = {"RS256", "ES256", NULL};
    static const char *const auth[] = {"none", "client_secret_basic", "client_secret_post", "private_key_jwt", NULL};
    static const char *const auth_algs[] = {"RS256", "RS384", "PS256", "ES256", "ES384", NULL};
    static const char *const dpop[] = {"ES256", "RS256", "ES384", "PS256", "EdDSA", NULL};
    static const char *const claims[] = {
        "acr",         "amr",        "aud",          "auth_time", "email", "exp",      "email_verified",
        "family_name", "given_name", "iat",          "iss",       "name",  "nickname", "nonce",
        "org_id",      "picture",    "phone_number", "sid",       "sub",   NULL};
    static const char *const grants[] = {"authorization_code",
                                         "refresh_token",
                                         "password",
                                         "http://auth0.com/oauth/grant-type/password-realm",
                                         "urn:okta:params:oauth:grant-type:webauthn",
                                         "http://auth0.com/oauth/grant-type/mfa-otp",
                                         "http://auth0.com/oauth/grant-type/mfa-oob",
                                         "http://auth0.com/oauth/grant-type/mfa-recovery-code",
                                         "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-"
                                         "token",
                                         NULL};
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    for (size_t i = 0; i < MA_COUNT(urls); i++)
        ma_jw_kcstr(&w, urls[i][0], ma_arena_printf(ctx->arena, "%s%s", ma_ctx_origin(ctx), urls[i][1]));
    put_list(&w, "scopes_supported", scopes);
    put_list(&w, "response_types_supported", code);
    put_list(&w, "response_modes_supported", modes);
    put_list(&w, "grant_types_supported", grants);
    put_list(&w, "code_challenge_methods_supported", s256);
    put_list(&w, "subject_types_supported", subject);
    put_list(&w, "id_token_signing_alg_values_supported", id_algs);
    put_list(&w, "token_endpoint_auth_methods_supported", auth);
    put_list(&w, "token_endpoint_auth_signing_alg_values_supported", auth_algs);
    put_list(&w, "dpop_signing_alg_values_supported", dpop);
    put_list(&w, "claims_supported", claims);
    ma_jw_kbool(&w, "authorization_response_iss_parameter_supported", true); /* RFC 9207 §3 */
    ma_jw_kbool(&w, "request_parameter_supported", false);
    ma_jw_kbool(&w, "request_uri_parameter_supported", false);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "public, max-age=300");
    return ma_reply_end(ctx);
}

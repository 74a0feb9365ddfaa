/* SPDX-License-Identifier: Apache-2.0
 * Tokens and the answer that carries them (RFC 6749 §5.1, RFC 9068, OpenID Connect Core §2 and §3.1.3.3).
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

/* ID_CLAIMS_MAX: room for the longest profile (four names and a picture, 6 KiB) beside the longest nonce (3 KiB): users
 * whose token cannot be made could not sign in to shorten their names. */
enum { CLAIMS_MAX = 6144, ID_CLAIMS_MAX = 11264, USERINFO_TTL_S = 86400 };

struct made {
    struct ma_span access_token, id_token;
    int64_t expires_in;
};

static const char *origin_and(struct ma_ctx *ctx, const char *path)
{
    return ma_arena_printf(ctx->arena, "%s%s", ma_ctx_origin(ctx), path);
}

/* What the claims say of how the user signed in: a passkey that counts as two factors shows itself as "phr". */
static void put_authn(struct ma_jw *w, const struct ma_issue *is)
{
    const char *names[MA_AMR_NAMES_MAX];
    ma_amr_names(is->authn.amr, names);
    ma_jw_kint(w, "auth_time", ma_auth_time(&is->authn));
    ma_jw_key(w, "amr");
    ma_jw_arr(w);
    for (size_t i = 0; i < MA_AMR_NAMES_MAX && names[i]; i++)
        ma_jw_cstr(w, names[i]);
    ma_jw_arr_end(w);
    if (is->authn.amr & MA_AMR_MFA)
        ma_jw_kcstr(w, "acr", MA_ACR_MULTI_FACTOR);
}

static void put_span(struct ma_jw *w, const char *key, struct ma_span v)
{
    if (v.p)
        ma_jw_kstr(w, key, v);
}

static void put_audience(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_issue *is)
{
    const char *userinfo = origin_and(ctx, "/userinfo");
    ma_jw_key(w, "aud");
    if (is->granted.audience.n == 0) {
        ma_jw_cstr(w, userinfo);
    } else if (!is->granted.openid) {
        ma_jw_str(w, is->granted.audience);
    } else {
        ma_jw_arr(w);
        ma_jw_str(w, is->granted.audience);
        ma_jw_cstr(w, userinfo);
        ma_jw_arr_end(w);
    }
}

static int64_t lifetime(struct ma_ctx *ctx, const struct ma_issue *is)
{
    int64_t ttl = is->granted.is_api ? ctx->state->api.token_lifetime : USERINFO_TTL_S;
    int64_t left = is->token_until_ms ? (is->token_until_ms - ctx->now_ms) / 1000 : ttl;
    if (left < 1)
        left = 1;
    return left < ttl ? left : ttl;
}

static int sign(struct ma_ctx *ctx, enum ma_signing_alg alg, const char *typ, struct ma_buf *b, struct ma_span *ret)
{
    ma_buf_byte(b, 0);
    if (ma_buf_err(b) < 0)
        return ma_buf_err(b);
    return ma_jose_sign(ctx->app->jose, ctx->arena, alg == MA_SIGNING_ES256 ? MA_JWS_ES256 : MA_JWS_RS256, typ,
                        (const char *)b->p, ret);
}

static int access_token(struct ma_ctx *ctx, const struct ma_issue *is, struct made *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    char jti[MA_TOKEN_LEN + 1];
    int r = is->jti ? MA_OK : ma_id_token(ctx->app->rand, jti);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 1024, CLAIMS_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "iss", origin_and(ctx, "/"));
    ma_jw_kstr(&w, "sub", is->user.user_id);
    put_audience(ctx, &w, is);
    ma_jw_kint(&w, "iat", ctx->now_ms / 1000);
    ma_jw_kint(&w, "exp", ctx->now_ms / 1000 + ret->expires_in);
    ma_jw_kstr(&w, "client_id", is->client->client_id);
    ma_jw_kstr(&w, "azp", is->client->client_id);
    ma_jw_kstr(&w, "scope", is->granted.scope);
    ma_jw_kcstr(&w, "jti", is->jti ? is->jti : jti);
    put_authn(&w, is);
    put_span(&w, "sid", is->session_id.p ? is->session_id : is->sid);
    put_span(&w, "org_id", is->org_id);
    if (is->gty)
        ma_jw_kcstr(&w, "gty", is->gty);
    if (is->jkt.p) { /* RFC 9449 §6.1 */
        ma_jw_key(&w, "cnf");
        ma_jw_obj(&w);
        ma_jw_kstr(&w, "jkt", is->jkt);
        ma_jw_obj_end(&w);
    }
    ma_jw_obj_end(&w);
    return sign(ctx, ctx->state->api.signing_alg, "at+jwt", &b, &ret->access_token);
}

/* What a consent to the token is kept under: the audience beside userinfo; "" when there is none. */
static int consented_audience(struct ma_ctx *ctx, const struct ma_token *t, struct ma_span *ret)
{
    const char *userinfo = origin_and(ctx, "/userinfo");
    if (!userinfo)
        return MA_E_NOMEM;
    *ret = MA_LIT("");
    for (size_t i = 0; i < t->aud.n && ret->n == 0; i++)
        if (!ma_span_eq_str(t->aud.v[i], userinfo))
            *ret = t->aud.v[i];
    return MA_OK;
}

int ma_access_revoked(struct ma_ctx *ctx, const struct ma_token *t, bool *ret)
{
    struct ma_user u;
    struct ma_access access = {t->sub, t->jti, t->sid, t->client_id, MA_SPAN_NULL, t->iat};
    int r = consented_audience(ctx, t, &access.audience);
    if (r == MA_OK)
        r = ma_revoked(ctx->db, &access, ctx->now_ms, ret);
    if (r < 0 || *ret)
        return r;
    r = ma_user_get(ctx->db, ctx->arena, t->sub, &u);
    *ret = r == MA_OK && t->iat * 1000 < u.tokens_after; /* all access of the user was ended since */
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

void ma_put_user_claims(struct ma_jw *w, const struct ma_user *u, struct ma_span scope)
{
    if (ma_scope_has(scope, "profile")) {
        put_span(w, "name", u->name);
        put_span(w, "given_name", u->given_name);
        put_span(w, "family_name", u->family_name);
        put_span(w, "nickname", u->nickname);
        put_span(w, "picture", u->picture);
        ma_jw_kint(w, "updated_at", u->updated_at / 1000);
    }
    if (ma_scope_has(scope, "email") && u->email.p) {
        ma_jw_kstr(w, "email", u->email);
        ma_jw_kbool(w, "email_verified", u->email_verified);
    }
    if (ma_scope_has(scope, "phone"))
        put_span(w, "phone_number", u->phone_number);
}

static struct ma_span small_letters(struct ma_ctx *ctx, struct ma_span text)
{
    char *out = ma_arena_strdup(ctx->arena, text);
    for (size_t i = 0; out && i < text.n; i++)
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] + ('a' - 'A'));
    return out ? ma_span_of(out, text.n) : MA_SPAN_NULL;
}

static int id_token(struct ma_ctx *ctx, const struct ma_issue *is, struct made *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    if (!is->granted.openid)
        return MA_OK;
    ma_buf_init_arena(&b, ctx->arena, 1024, ID_CLAIMS_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "iss", origin_and(ctx, "/"));
    ma_jw_kstr(&w, "sub", is->user.user_id);
    ma_jw_kstr(&w, "aud", is->client->client_id);
    ma_jw_kint(&w, "iat", ctx->now_ms / 1000);
    ma_jw_kint(&w, "exp", ctx->now_ms / 1000 + MA_ID_TOKEN_TTL_S);
    put_span(&w, "nonce", is->nonce);
    put_authn(&w, is);
    put_span(&w, "sid", is->session_id);
    if (is->org_id.p) {
        const struct ma_state_organization *o = ma_state_organization(ctx->state, is->org_id);
        ma_jw_kstr(&w, "org_id", is->org_id);
        if (o) /* in small letters: SDKs compare it so (wire contract 7.10) */
            put_span(&w, "org_name", small_letters(ctx, o->name));
    }
    ma_put_user_claims(&w, &is->user, is->granted.scope);
    ma_jw_obj_end(&w);
    return sign(ctx, is->client->id_token_alg, "JWT", &b, &ret->id_token);
}

int ma_issue_reply(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    const struct ma_issue *is = o->issue;
    struct made made = {.expires_in = lifetime(ctx, is)};
    struct ma_jw w;
    int r = ma_oauth_settle_proof(ctx, o);
    if (r == MA_OK)
        r = access_token(ctx, is, &made);
    if (r == MA_OK)
        r = id_token(ctx, is, &made);
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "access_token", made.access_token);
    if (made.id_token.p)
        ma_jw_kstr(&w, "id_token", made.id_token);
    if (is->refresh_token)
        ma_jw_kcstr(&w, "refresh_token", is->refresh_token);
    ma_jw_kcstr(&w, "token_type", is->jkt.p ? "DPoP" : "Bearer");
    ma_jw_kint(&w, "expires_in", made.expires_in);
    ma_jw_kstr(&w, "scope", is->granted.scope);
    if (is->recovery_code)
        ma_jw_kcstr(&w, "recovery_code", is->recovery_code);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

int ma_signed_in(struct ma_ctx *ctx, const struct ma_oauth *o, int r)
{
    if (r != MA_E_NEXT)
        return r;
    int audited = ma_audit_signed_in(ctx, "s", &o->issue->user, o->client->client_id, &o->issue->authn);
    return audited < 0 ? audited : r;
}

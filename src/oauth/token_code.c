/* SPDX-License-Identifier: Apache-2.0
 * The authorization code grant (RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9449 §10).
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

static int refuse(struct ma_ctx *ctx, const struct ma_code *code, const char *why)
{
    if (!code) /* nobody's: anybody could fill the trail */
        return ma_oauth_fail(ctx, 403, "invalid_grant", why);
    int r = ma_audit_signin(ctx, "feacft", code->user_id, ctx->who.client_id, MA_SPAN_NULL);
    if (r < 0)
        return r;
    ctx->keep = true;
    return ma_oauth_fail(ctx, 403, "invalid_grant", why);
}

/* The jti of the access token that a code brings: known again when the code is. arena, NULL on failure. */
static const char *jti_of(struct ma_ctx *ctx, const struct ma_code *code)
{
    uint8_t mac[32];
    char *text = ma_arena_alloc(ctx->arena, MA_B64URL_LEN(sizeof mac) + 1);
    if (!text || ma_vault_mac(ctx->app->vault, "code-jti", MA_LIT(""), code->code_mac, mac) < 0)
        return NULL;
    ma_b64url_encode(ma_span_of(mac, sizeof mac), text);
    return text;
}

/* A code shown twice may have been stolen: what its first use brought dies (RFC 6749 §4.1.2). */
static int refuse_used(struct ma_ctx *ctx, const struct ma_code *code)
{
    const char *jti = jti_of(ctx, code);
    int r = jti ? ma_revoke_token(ctx->db, code->user_id, ma_span_str(jti), ctx->now_ms) : MA_E_NOMEM;
    if (r == MA_OK && code->family_id.p)
        r = ma_family_revoke(ctx->db, code->user_id, code->family_id, ctx->now_ms);
    if (r < 0 && r != MA_E_CONFLICT)
        return r;
    ctx->who.user_id = code->user_id;
    ctx->user_changed = true;
    return refuse(ctx, code, "Invalid authorization code");
}

/* Without a challenge there may be no verifier either: somebody took the challenge away (RFC 9700 §2.1.1). */
static bool verifier_fits(struct ma_span challenge, struct ma_span verifier)
{
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1];
    if (!challenge.p || !verifier.p)
        return !challenge.p && !verifier.p;
    if (ma_sha256(verifier, hash) < 0)
        return false;
    ma_b64url_encode(ma_span_of(hash, sizeof hash), text);
    return ma_ct_eq(ma_span_str(text), challenge);
}

/* Why the code is not good for this request; NULL when it is. */
static const char *problem_of(const struct ma_oauth *o, const struct ma_code *code,
                              const struct ma_authorize_request *req)
{
    if (!ma_span_eq(code->client_id, o->client->client_id))
        return "Invalid authorization code";
    /* RFC 6749 §4.1.3: required where it was in the authorization request. */
    if (o->in.redirect_uri.p ? !ma_span_eq(o->in.redirect_uri, code->redirect_uri) : !req->redirect_implied)
        return "redirect_uri differs from the one of the authorization request.";
    if (!verifier_fits(req->code_challenge, o->in.code_verifier))
        return "Failed to verify code verifier";
    if (req->dpop_jkt.p && !ma_span_eq(req->dpop_jkt, o->jkt))
        return "The authorization code is bound to another DPoP key.";
    return NULL;
}

static int fill(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_code *code,
                const struct ma_authorize_request *req, struct ma_issue *is)
{
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    size_t n = 0;
    const char *why = NULL;
    *is = (struct ma_issue){.client = o->client,
                            .authn = req->authn,
                            .org_id = req->org_id,
                            .nonce = req->nonce,
                            .jti = jti_of(ctx, code),
                            .session_id = code->session_id,
                            .jkt = o->jkt};
    int r = is->jti ? ma_user_get(ctx->db, ctx->arena, code->user_id, &is->user) : MA_E_NOMEM;
    if (r == MA_E_NOTFOUND || (r == MA_OK && is->user.blocked))
        return refuse(ctx, code, r == MA_OK ? "user is blocked" : "Invalid authorization code");
    if (r < 0)
        return r;
    if (!ma_scope_grant(ctx, o->client, &is->user, req->granted_audience, req->granted_scope, &is->granted, &why))
        return ma_oauth_fail(ctx, 403, "access_denied", why);
    r = ma_oauth_require_dpop(ctx, o, is->granted.audience);
    if (r == MA_OK)
        r = ma_refuse_leaving(ctx, &is->user, &is->granted);
    if (r == MA_OK)
        r = ma_signin_factors(ctx, &is->user, v, &n);
    if (r == MA_OK)
        r = ma_require_consent(ctx, is);
    if (r == MA_OK)
        r = ma_still_member(ctx, is->org_id, is->user.user_id);
    if (r != MA_OK)
        return r;
    struct ma_assurance_out a = ma_assure(ctx, o->client, &is->granted, ma_factors_bits(v, n), &is->authn, true);
    is->token_until_ms = a.token_until_ms;
    /* The window may have closed, or the policy changed, since the code was made. */
    return a.verdict == MA_ASSURED ? MA_OK
                                   : refuse(ctx, code, "The sign-in no longer meets the policy; sign in again.");
}

static int exchange(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_code code;
    struct ma_authorize_request req;
    char family[MA_FAMILY_ID_LEN + 1];
    uint8_t mac[32];
    int r = ma_vault_mac(ctx->app->vault, "code", MA_LIT(""), o->in.code, mac);
    if (r == MA_OK)
        r = ma_code_get(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), &code);
    if (r == MA_E_NOTFOUND)
        return refuse(ctx, NULL, "Invalid authorization code");
    if (r == MA_OK)
        r = ma_request_read(ctx, code.data, &req);
    if (r < 0)
        return r;
    /* Only its own client can end what a code brought. */
    if (code.used_at && ma_span_eq(code.client_id, o->client->client_id))
        return refuse_used(ctx, &code);
    const char *problem = code.expires_at <= ctx->now_ms ? "Invalid authorization code" : problem_of(o, &code, &req);
    if (problem)
        return refuse(ctx, &code, problem);
    o->issue = ma_arena_zalloc(ctx->arena, sizeof *o->issue);
    if (!o->issue)
        return MA_E_NOMEM;
    r = fill(ctx, o, &code, &req, o->issue);
    if (r == MA_OK)
        r = ma_family_begin(ctx, o->issue, family);
    if (r == MA_OK)
        r = ma_code_use(ctx->db, code.code_mac, family[0] ? ma_span_str(family) : MA_SPAN_NULL, ctx->now_ms);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "seacft", code.user_id, code.client_id, MA_SPAN_NULL);
    return r == MA_OK ? ma_next(ctx, MA_LANE_READ, ma_issue_reply) : r;
}

int ma_grant_code(struct ma_ctx *ctx, struct ma_oauth *o)
{
    return o->in.code.p ? ma_next(ctx, MA_LANE_WRITE, exchange) : ma_oauth_missing(ctx, "code");
}

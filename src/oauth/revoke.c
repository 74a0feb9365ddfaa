/* SPDX-License-Identifier: Apache-2.0
 * POST /oauth/revoke (RFC 7009) and POST /oauth/introspect (RFC 7662).
 */
#include "int.h"

/* An access token of the own issuer, for its API here or for userinfo; one that was revoked is none. */
static int find_access(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_token *t, bool *ret_found)
{
    const char *why = NULL;
    bool revoked = true;
    const char *userinfo = ma_arena_printf(ctx->arena, "%s/userinfo", ma_ctx_origin(ctx));
    if (!userinfo)
        return MA_E_NOMEM;
    *ret_found =
        ma_token_verify(ctx->app->jose, ctx->arena, o->in.token, ctx->req.domain, ctx->now_ms, t, &why) == MA_TOK_OK ||
        ma_token_verify_for(ctx->app->jose, ctx->arena, o->in.token, ctx->req.domain, userinfo, ctx->now_ms, t, &why) ==
            MA_TOK_OK;
    if (!*ret_found || t->issuer != MA_ISSUER_OWN)
        return MA_OK;
    int r = ma_access_revoked(ctx, t, &revoked);
    *ret_found = !revoked;
    return r;
}

/* --- revocation --- */

static int revoke_access(struct ma_ctx *ctx, const struct ma_token *t)
{
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, t->sub, &u);
    if (r == MA_OK)
        r = ma_revoke_token(ctx->db, t->sub, t->jti, ctx->now_ms);
    if (r < 0 && r != MA_E_NOTFOUND) /* a user who is gone took every token along */
        return r;
    ctx->who.user_id = t->sub;
    ctx->user_changed = true;
    (void)ma_reply_empty(ctx, 200);
    ma_oauth_headers(ctx);
    return MA_OK;
}

static int revoke(struct ma_ctx *ctx)
{
    const struct ma_oauth *o = ctx->scratch;
    if (o->more)
        return revoke_access(ctx, o->more);
    struct ma_family f;
    int64_t generation = 0;
    int r = ma_refresh_find(ctx, o->in.token, &f, &generation);
    if (r == MA_OK && ma_span_eq(f.client_id, o->client->client_id)) {
        r = ma_family_revoke(ctx->db, f.user_id, f.id, ctx->now_ms);
        if (r == MA_OK)
            r = ma_audit_signin(ctx, "srrt", f.user_id, f.client_id, MA_SPAN_NULL);
    }
    if (r < 0 && r != MA_E_AUTH && r != MA_E_CONFLICT)
        return r;
    /* §2.2: a token that is not known is as good as revoked. */
    (void)ma_reply_empty(ctx, 200);
    ma_oauth_headers(ctx);
    return MA_OK;
}

int ma_op_revoke(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    int r = ma_oauth_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    if (!o->in.token.p)
        return ma_oauth_missing(ctx, "token");
    struct ma_token *t = ma_arena_zalloc(ctx->arena, sizeof *t);
    bool found = false;
    r = t ? find_access(ctx, o, t, &found) : MA_E_NOMEM;
    if (r < 0)
        return r;
    if (found && t->issuer == MA_ISSUER_OWN && t->jti.p && ma_span_eq(t->client_id, o->client->client_id))
        o->more = t;
    return ma_next(ctx, MA_LANE_WRITE, revoke);
}

/* --- introspection --- */

static int inactive(struct ma_ctx *ctx)
{
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kbool(&w, "active", false);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

static void begin(struct ma_ctx *ctx, struct ma_jw *w)
{
    ma_reply_json(ctx, 200, w);
    ma_jw_obj(w);
    ma_jw_kbool(w, "active", true);
    ma_jw_kcstr(w, "iss", ma_arena_printf(ctx->arena, "%s/", ma_ctx_origin(ctx)));
}

static int end(struct ma_ctx *ctx, struct ma_jw *w)
{
    ma_jw_obj_end(w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

static int about_access(struct ma_ctx *ctx, const struct ma_token *t)
{
    struct ma_jw w;
    begin(ctx, &w);
    ma_jw_kstr(&w, "sub", t->sub);
    ma_jw_kstr(&w, "client_id", t->client_id);
    ma_jw_kstr(&w, "scope", t->scope);
    ma_jw_kint(&w, "iat", t->iat);
    ma_jw_kint(&w, "exp", t->exp);
    ma_jw_kcstr(&w, "token_type", t->cnf_jkt.p ? "DPoP" : "Bearer");
    if (t->cnf_jkt.p) { /* RFC 9449 §6.2 */
        ma_jw_key(&w, "cnf");
        ma_jw_obj(&w);
        ma_jw_kstr(&w, "jkt", t->cnf_jkt);
        ma_jw_obj_end(&w);
    }
    return end(ctx, &w);
}

static int about_refresh(struct ma_ctx *ctx, const struct ma_family *f)
{
    struct ma_jw w;
    begin(ctx, &w);
    ma_jw_kstr(&w, "sub", f->user_id);
    ma_jw_kstr(&w, "client_id", f->client_id);
    ma_jw_kstr(&w, "scope", f->scope);
    ma_jw_kint(&w, "iat", f->created_at / 1000);
    if (f->expires_at)
        ma_jw_kint(&w, "exp", f->expires_at / 1000);
    return end(ctx, &w);
}

/* §4: others learn nothing of a client's tokens, but for the servers that are called with them. */
static bool may_look(const struct ma_oauth *o, const struct ma_token *t)
{
    return o->client->resource_server_identifier.n > 0 || ma_span_eq(t->client_id, o->client->client_id);
}

static bool user_lives(struct ma_ctx *ctx, struct ma_span user_id)
{
    struct ma_user u;
    return ma_user_get(ctx->db, ctx->arena, user_id, &u) == MA_OK && !u.blocked && !ma_user_is_leaving(&u);
}

int ma_op_introspect(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    struct ma_token t;
    struct ma_family f;
    int64_t generation = 0;
    bool good = false;
    int r = ma_oauth_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    if (!o->authenticated) /* §2.1: not for everybody */
        return ma_oauth_fail_client(ctx, "Introspection is for clients that authenticate.");
    if (!o->in.token.p)
        return ma_oauth_missing(ctx, "token");
    r = find_access(ctx, o, &t, &good);
    if (r < 0)
        return r;
    if (good)
        return t.issuer == MA_ISSUER_OWN && may_look(o, &t) && user_lives(ctx, t.sub) ? about_access(ctx, &t)
                                                                                      : inactive(ctx);
    r = ma_refresh_find(ctx, o->in.token, &f, &generation);
    if (r < 0)
        return r == MA_E_AUTH ? inactive(ctx) : r;
    bool live = !f.revoked_at && generation == f.generation && (!f.expires_at || f.expires_at > ctx->now_ms) &&
                (!f.idle_at || f.idle_at > ctx->now_ms) && ma_span_eq(f.client_id, o->client->client_id);
    return live && user_lives(ctx, f.user_id) ? about_refresh(ctx, &f) : inactive(ctx);
}

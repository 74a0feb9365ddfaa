/* SPDX-License-Identifier: Apache-2.0
 * The password grants (RFC 6749 §4.3), for clients that are allowed them by name.
 */
#include "int.h"

enum { PASSWORD_MAX = 1024, IDENTIFIER_MAX = 320 };

static int finish(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_signin *s = o->more;
    int r = ma_signin_password_done(ctx, s);
    if (r < 0)
        return r;
    ctx->keep = true;
    if (s->verdict != MA_SIGNIN_OK)
        return ma_oauth_fail_verdict(ctx, s->verdict, s->retry_after_s, "Wrong email or password.");
    struct ma_authn authn = {.auth_at = ctx->now_ms, .amr = MA_AMR_PWD};
    ctx->who.user_id = s->user.user_id;
    return ma_signed_in(ctx, o, ma_login_finish(ctx, o, &s->user, &authn, "password"));
}

static int check(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_signin *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    o->more = s;
    int r = ma_signin_password(ctx, o->in.username, o->in.realm.p ? o->in.realm : MA_LIT(""), o->in.password, s);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, finish) : r;
}

int ma_grant_password(struct ma_ctx *ctx, struct ma_oauth *o)
{
    if (!o->in.username.p)
        return ma_oauth_missing(ctx, "username");
    if (!o->in.password.p)
        return ma_oauth_missing(ctx, "password");
    if (o->in.username.n > IDENTIFIER_MAX || o->in.password.n > PASSWORD_MAX)
        return ma_oauth_fail(ctx, 403, "invalid_grant", "Wrong email or password.");
    return ma_next(ctx, MA_LANE_CPU, check);
}

/* SPDX-License-Identifier: Apache-2.0
 * POST /oauth/token: one table of grants.
 */
#include "int.h"

static const struct {
    const char *name;
    int (*fn)(struct ma_ctx *, struct ma_oauth *);
} grants[] = {
    {"authorization_code", ma_grant_code},
    {"refresh_token", ma_grant_refresh},
    {"password", ma_grant_password},
    {"http://auth0.com/oauth/grant-type/password-realm", ma_grant_password},
    {"urn:okta:params:oauth:grant-type:webauthn", ma_grant_webauthn},
    {"http://auth0.com/oauth/grant-type/mfa-otp", ma_grant_mfa_otp},
    {"http://auth0.com/oauth/grant-type/mfa-oob", ma_grant_mfa_oob},
    {"http://auth0.com/oauth/grant-type/mfa-recovery-code", ma_grant_mfa_recovery},
    {"urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token", ma_grant_vault},
};

static int refuse_machine(struct ma_ctx *ctx, struct ma_oauth *o)
{
    const char *api = ma_api_audience(ctx);
    if (api && ma_span_eq_str(o->in.audience, api))
        return ma_oauth_fail(ctx, 403, "access_denied",
                             "This API takes no client credentials: it is about the user who is signed in.");
    return ma_oauth_fail(ctx, 400, "unsupported_grant_type", "Grant type not supported");
}

int ma_op_token(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    int r = ma_oauth_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    if (!o->in.grant_type.p)
        return ma_oauth_missing(ctx, "grant_type");
    for (size_t i = 0; i < MA_COUNT(grants); i++) {
        if (!ma_span_eq_str(o->in.grant_type, grants[i].name))
            continue;
        if (ma_state_client_may(o->client, grants[i].name))
            return grants[i].fn(ctx, o);
        return ma_oauth_fail(
            ctx, 403, "unauthorized_client",
            ma_arena_printf(ctx->arena, "Grant type '%s' not allowed for the client.", grants[i].name));
    }
    if (ma_span_eq_str(o->in.grant_type, "client_credentials"))
        return refuse_machine(ctx, o);
    return ma_oauth_fail(ctx, 400, "unsupported_grant_type", "Grant type not supported");
}

/* SPDX-License-Identifier: Apache-2.0
 * The table of known identity providers. A new provider is a new row: no code asks for a name.
 */
#include "ma/preset.h"

#define MA_PRESET_LIFETIME_S 3600           /* the usual hour */
#define MA_PRESET_SALESFORCE_LIFETIME_S 900 /* the shortest session an organization can set */
#define MA_MICROSOFT "https://login.microsoftonline.com/"
#define MA_MICROSOFT_CONSUMERS "9188040d-6c67-4c5b-b112-36a304b66dad" /* the tenant of personal accounts */

/* Scopes go into one `scope`, separated by blanks (RFC 6749 §3.3). */
#define SCOPES(list) .scopes = (list), .scope_param = "scope", .scope_separator = ' '
#define HOUR .assumed_lifetime_s = MA_PRESET_LIFETIME_S

/* A refresh token comes with access_type=offline, and again only after a new consent. */
#define GOOGLE                                                                                                         \
    .oidc = true, .issuer = "https://accounts.google.com",                                                             \
    .authorization_endpoint = "https://accounts.google.com/o/oauth2/v2/auth",                                          \
    .token_endpoint = "https://oauth2.googleapis.com/token", .jwks_uri = "https://www.googleapis.com/oauth2/v3/certs", \
    .userinfo_endpoint = "https://openidconnect.googleapis.com/v1/userinfo",                                           \
    .revocation_endpoint = "https://oauth2.googleapis.com/revoke", .offline = MA_OFFLINE_PARAMS,                       \
    .offline_params = "access_type=offline&prompt=consent", SCOPES("openid profile"), .user_id_field = "sub",          \
    .auth = MA_AUTH_POST, .pkce = true, HOUR

#define MICROSOFT(tenant)                                                                                              \
    .oidc = true, .authorization_endpoint = MA_MICROSOFT tenant "/oauth2/v2.0/authorize",                              \
    .token_endpoint = MA_MICROSOFT tenant "/oauth2/v2.0/token",                                                        \
    .jwks_uri = MA_MICROSOFT tenant "/discovery/v2.0/keys",                                                            \
    .userinfo_endpoint = "https://graph.microsoft.com/oidc/userinfo", .offline = MA_OFFLINE_SCOPE,                     \
    SCOPES("openid profile"), .user_id_field = "sub", .auth = MA_AUTH_POST, .pkce = true, HOUR

static const struct ma_preset presets[] = {
    /* Without consent a provider may leave out the refresh token (OpenID Connect Core §11). */
    {.name = "oidc",
     .oidc = true,
     .offline = MA_OFFLINE_SCOPE,
     .offline_params = "prompt=consent",
     SCOPES("openid"),
     .user_id_field = "sub",
     .auth = MA_AUTH_BASIC,
     .pkce = true,
     HOUR},
    {.name = "oauth2",
     .offline = MA_OFFLINE_SCOPE,
     SCOPES(""),
     .user_id_field = "id",
     .auth = MA_AUTH_BASIC,
     .pkce = true,
     HOUR},
    {.name = "google-oauth2", GOOGLE},
    {.name = "google-apps", GOOGLE}, /* accounts of a workspace: the same servers */
    /* Some applications' tokens never expire and have no refresh token; others get one unasked. */
    {.name = "github",
     .authorization_endpoint = "https://github.com/login/oauth/authorize",
     .token_endpoint = "https://github.com/login/oauth/access_token",
     .userinfo_endpoint = "https://api.github.com/user",
     .offline = MA_OFFLINE_GIVEN,
     SCOPES(""),
     .user_id_field = "id",
     .auth = MA_AUTH_POST,
     .pkce = true,
     HOUR},
    {.name = "windowslive", .issuer = MA_MICROSOFT MA_MICROSOFT_CONSUMERS "/v2.0", MICROSOFT("consumers")},
    {.name = "waad", .issuer = MA_MICROSOFT "{tenantid}/v2.0", MICROSOFT("organizations")},
    /* User tokens, not the application's own. An application that turns PKCE on there becomes a public client. */
    {.name = "slack",
     .authorization_endpoint = "https://slack.com/oauth/v2/authorize",
     .token_endpoint = "https://slack.com/api/oauth.v2.access",
     .offline = MA_OFFLINE_GIVEN,
     .scopes = "",
     .scope_param = "user_scope",
     .scope_separator = ',',
     .token_member = "authed_user",
     .user_id_field = "id",
     .auth = MA_AUTH_BASIC,
     .pkce = false,
     HOUR},
    {.name = "gitlab",
     .oidc = true,
     .issuer = "https://gitlab.com",
     .authorization_endpoint = "https://gitlab.com/oauth/authorize",
     .token_endpoint = "https://gitlab.com/oauth/token",
     .jwks_uri = "https://gitlab.com/oauth/discovery/keys",
     .userinfo_endpoint = "https://gitlab.com/oauth/userinfo",
     .revocation_endpoint = "https://gitlab.com/oauth/revoke",
     .offline = MA_OFFLINE_GIVEN,
     SCOPES("openid"),
     .user_id_field = "sub",
     .auth = MA_AUTH_BASIC,
     .pkce = true,
     HOUR},
    {.name = "box",
     .authorization_endpoint = "https://account.box.com/api/oauth2/authorize",
     .token_endpoint = "https://api.box.com/oauth2/token",
     .userinfo_endpoint = "https://api.box.com/2.0/users/me",
     .revocation_endpoint = "https://api.box.com/oauth2/revoke",
     .offline = MA_OFFLINE_GIVEN,
     SCOPES(""),
     .user_id_field = "id",
     .auth = MA_AUTH_POST,
     .pkce = false,
     HOUR},
    {.name = "salesforce",
     .oidc = true,
     .issuer = "https://login.salesforce.com",
     .authorization_endpoint = "https://login.salesforce.com/services/oauth2/authorize",
     .token_endpoint = "https://login.salesforce.com/services/oauth2/token",
     .jwks_uri = "https://login.salesforce.com/id/keys",
     .userinfo_endpoint = "https://login.salesforce.com/services/oauth2/userinfo",
     .revocation_endpoint = "https://login.salesforce.com/services/oauth2/revoke",
     .offline = MA_OFFLINE_SCOPE,
     SCOPES("openid"),
     .user_id_field = "sub",
     .auth = MA_AUTH_POST,
     .pkce = true,
     .assumed_lifetime_s = MA_PRESET_SALESFORCE_LIFETIME_S},
    {.name = "spotify",
     .authorization_endpoint = "https://accounts.spotify.com/authorize",
     .token_endpoint = "https://accounts.spotify.com/api/token",
     .userinfo_endpoint = "https://api.spotify.com/v1/me",
     .offline = MA_OFFLINE_GIVEN,
     SCOPES(""),
     .user_id_field = "id",
     .auth = MA_AUTH_BASIC,
     .pkce = true,
     HOUR},
    {.name = "discord",
     .authorization_endpoint = "https://discord.com/oauth2/authorize",
     .token_endpoint = "https://discord.com/api/oauth2/token",
     .userinfo_endpoint = "https://discord.com/api/users/@me",
     .revocation_endpoint = "https://discord.com/api/oauth2/token/revoke",
     .offline = MA_OFFLINE_GIVEN,
     SCOPES("identify"),
     .user_id_field = "id",
     .auth = MA_AUTH_BASIC,
     .pkce = true,
     HOUR},
};

const struct ma_preset *ma_preset_find(struct ma_span name)
{
    for (size_t i = 0; i < MA_COUNT(presets); i++) {
        if (ma_span_eq_str(name, presets[i].name))
            return &presets[i];
    }
    return NULL;
}

const struct ma_preset *ma_presets(size_t *ret_n)
{
    *ret_n = MA_COUNT(presets);
    return presets;
}

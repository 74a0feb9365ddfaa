/* SPDX-License-Identifier: Apache-2.0
 * The routes of the token service.
 */
#include "int.h"

#include "login_int.h"
#include "security_int.h"

enum { SMALL = 16384, FORM = 65536, SECURITY_FORM = 8192 };

#define OAUTH(verb, path, op, body, fn)                                                                                \
    {                                                                                                                  \
        verb, path, op, MA_PUBLIC, MA_LANE_READ, body, MA_RATE_NONE, NULL, fn, MA_STYLE_OAUTH                          \
    }
#define PAGE(verb, path, op, body, fn)                                                                                 \
    {                                                                                                                  \
        verb, path, op, MA_PUBLIC, MA_LANE_READ, body, MA_RATE_NONE, NULL, fn, MA_STYLE_PAGE                           \
    }

static const struct ma_route routes[] = {
    OAUTH(MA_GET, "/.well-known/openid-configuration", "getDiscovery", 0, ma_op_discovery),
    OAUTH(MA_GET, "/.well-known/oauth-authorization-server", "getServerMetadata", 0, ma_op_discovery),
    OAUTH(MA_POST, "/oauth/token", "token", FORM, ma_op_token),
    OAUTH(MA_POST, "/oauth/revoke", "revoke", SMALL, ma_op_revoke),
    OAUTH(MA_POST, "/oauth/introspect", "introspect", SMALL, ma_op_introspect),
    OAUTH(MA_GET, "/userinfo", "getUserinfo", 0, ma_op_userinfo),
    OAUTH(MA_POST, "/userinfo", "postUserinfo", SMALL, ma_op_userinfo),
    OAUTH(MA_POST, "/mfa/challenge", "mfaChallenge", SMALL, ma_op_mfa_challenge),
    OAUTH(MA_GET, "/mfa/authenticators", "mfaAuthenticators", 0, ma_op_mfa_authenticators),
    OAUTH(MA_POST, "/mfa/associate", "mfaAssociate", SMALL, ma_op_mfa_associate),
    OAUTH(MA_DELETE, "/mfa/authenticators/{id}", "mfaDelete", 0, ma_op_mfa_delete),
    OAUTH(MA_POST, "/passkey/challenge", "passkeyChallenge", SMALL, ma_op_passkey_challenge),
    OAUTH(MA_POST, "/passkey/register", "passkeyRegister", SMALL, ma_op_passkey_register),
    PAGE(MA_GET, "/authorize", "authorize", 0, ma_op_authorize),
    PAGE(MA_POST, "/authorize", "postAuthorize", SMALL, ma_op_authorize),
    PAGE(MA_GET, "/u/login", "loginPage", 0, ma_op_login_page),
    PAGE(MA_POST, "/u/login", "loginPost", FORM, ma_op_login_post),
    OAUTH(MA_GET, "/u/login/wait", "loginWait", 0, ma_op_login_wait),
    PAGE(MA_GET, "/v2/logout", "logout", 0, ma_op_logout),
    PAGE(MA_GET, "/oidc/logout", "oidcLogout", 0, ma_op_oidc_logout),
    PAGE(MA_POST, "/oidc/logout", "postOidcLogout", SMALL, ma_op_oidc_logout),
};

/* Pages that are there without the token service too. */
static const struct ma_route page_routes[] = {
    PAGE(MA_GET, MA_UNDO_PATH, "notMePage", 0, ma_op_undo_page),
    PAGE(MA_POST, MA_UNDO_PATH, "notMePost", SECURITY_FORM, ma_op_undo_post),
    PAGE(MA_GET, MA_RESET_PATH, "newPasswordPage", 0, ma_op_reset_page),
    PAGE(MA_POST, MA_RESET_PATH, "newPasswordPost", SECURITY_FORM, ma_op_reset_post),
    PAGE(MA_GET, MA_RESTORE_PATH, "keepAccountPage", 0, ma_op_restore_page),
    PAGE(MA_POST, MA_RESTORE_PATH, "keepAccountPost", SECURITY_FORM, ma_op_restore_post),
};

const struct ma_route *ma_page_routes(size_t *ret_n)
{
    *ret_n = MA_COUNT(page_routes);
    return page_routes;
}

const struct ma_route *ma_oauth_routes(size_t *ret_n)
{
    *ret_n = MA_COUNT(routes);
    return routes;
}

/* SPDX-License-Identifier: Apache-2.0
 * The route table. Method, path, scopes, lane, limits and handlers of every operation stand here and
 * nowhere else: 405, OPTIONS, HEAD, documentation and the contract test are derived.
 */
#include "connected.h"
#include "device.h"
#include "int.h"
#include "ma/oauth.h"
#include "ma/ui.h"
#include "ma/web.h"

#include <stdio.h>

#define METHODS "/me/v1/authentication-methods"
#define CONNECTED "/me/v1/connected-accounts"
#define SESSIONS "/me/v1/sessions"
#define PROFILE "/me/v1/profile"
#define DEVICES MA_PUSH_PATH "/api"
#define EXPORTS "/me/v1/exports"
enum { SMALL = 4096, CONNECT_BODY = 65536 };

static const struct ma_route routes[] = {
    {MA_GET, "/me/v1/factors", "getFactors", MA_SC_READ_FACTORS, MA_LANE_READ, 0, MA_RATE_READ, NULL, ma_op_get_factors,
     MA_STYLE_API},
    {MA_GET, METHODS, "getAuthenticationMethods", MA_SC_READ_METHODS, MA_LANE_READ, 0, MA_RATE_READ,
     ma_op_list_methods_prepare, ma_op_list_methods, MA_STYLE_API},
    {MA_POST, METHODS, "createAuthenticationMethod", MA_SC_CREATE_METHODS, MA_LANE_WRITE, SMALL, MA_RATE_WRITE,
     ma_op_create_method_prepare, ma_op_create_method, MA_STYLE_API},
    {MA_GET, METHODS "/{id}", "getAuthenticationMethod", MA_SC_READ_METHODS, MA_LANE_READ, 0, MA_RATE_READ, NULL,
     ma_op_get_method, MA_STYLE_API},
    {MA_PATCH, METHODS "/{id}", "updateAuthenticationMethod", MA_SC_UPDATE_METHODS, MA_LANE_WRITE, SMALL, MA_RATE_WRITE,
     ma_op_update_method_prepare, ma_op_update_method, MA_STYLE_API},
    {MA_DELETE, METHODS "/{id}", "deleteAuthenticationMethod", MA_SC_DELETE_METHODS, MA_LANE_WRITE, 0, MA_RATE_WRITE,
     NULL, ma_op_delete_method, MA_STYLE_API},
    {MA_POST, METHODS "/{id}/verify", "confirmAuthenticationMethod", MA_SC_CREATE_METHODS, MA_LANE_WRITE, SMALL * 4,
     MA_RATE_WRITE, ma_op_verify_method_prepare, ma_op_verify_method, MA_STYLE_API},
    {MA_POST, CONNECTED "/connect", "createConnectedAccountRequest", MA_SC_CREATE_CONNECTED, MA_LANE_WRITE,
     CONNECT_BODY, MA_RATE_WRITE, ma_op_connect_prepare, ma_op_connect, MA_STYLE_API},
    {MA_POST, CONNECTED "/complete", "completeConnectedAccountRequest", MA_SC_CREATE_CONNECTED, MA_LANE_WRITE,
     SMALL * 2, MA_RATE_WRITE, ma_op_complete_prepare, ma_op_complete, MA_STYLE_API},
    {MA_GET, CONNECTED "/accounts", "getConnectedAccounts", MA_SC_READ_CONNECTED, MA_LANE_READ, 0, MA_RATE_READ,
     ma_op_list_accounts_prepare, ma_op_list_accounts, MA_STYLE_API},
    {MA_DELETE, CONNECTED "/accounts/{id}", "deleteConnectedAccount", MA_SC_DELETE_CONNECTED, MA_LANE_WRITE, 0,
     MA_RATE_WRITE, ma_op_delete_account_prepare, ma_op_delete_account, MA_STYLE_API},
    {MA_GET, CONNECTED "/connections", "getConnectedAccountsConnections", MA_SC_READ_CONNECTED, MA_LANE_READ, 0,
     MA_RATE_READ, ma_op_list_connections_prepare, ma_op_list_connections, MA_STYLE_API},
    {MA_GET, "/me/v1/consents", "getConsents", MA_SC_READ_CONSENTS, MA_LANE_READ, 0, MA_RATE_READ, NULL,
     ma_op_list_consents, MA_STYLE_API},
    {MA_GET, "/me/v1/consents/{consent_id}", "getConsent", MA_SC_READ_CONSENTS, MA_LANE_READ, 0, MA_RATE_READ, NULL,
     ma_op_get_consent, MA_STYLE_API},
    {MA_DELETE, "/me/v1/consents/{consent_id}", "deleteConsent", MA_SC_DELETE_CONSENTS, MA_LANE_WRITE, 0, MA_RATE_WRITE,
     NULL, ma_op_delete_consent, MA_STYLE_API},
    {MA_GET, METHODS "/{id}/details", "getAuthenticationMethodDetails", MA_SC_READ_METHODS, MA_LANE_READ, 0,
     MA_RATE_READ, NULL, ma_op_method_details, MA_STYLE_API},
    {MA_GET, SESSIONS, "getSessions", MA_SC_READ_SESSIONS, MA_LANE_READ, 0, MA_RATE_READ, ma_op_list_sessions_prepare,
     ma_op_list_sessions, MA_STYLE_API},
    {MA_DELETE, SESSIONS, "deleteOtherSessions", MA_SC_DELETE_SESSIONS, MA_LANE_WRITE, 0, MA_RATE_WRITE,
     ma_op_delete_sessions_prepare, ma_op_delete_sessions, MA_STYLE_API},
    {MA_DELETE, SESSIONS "/{id}", "deleteSession", MA_SC_DELETE_SESSIONS, MA_LANE_WRITE, 0, MA_RATE_WRITE, NULL,
     ma_op_delete_session, MA_STYLE_API},
    {MA_GET, "/me/v1/activity", "getActivity", MA_SC_READ_ACTIVITY, MA_LANE_READ, 0, MA_RATE_READ,
     ma_op_list_activity_prepare, ma_op_list_activity, MA_STYLE_API},
    {MA_GET, PROFILE, "getProfile", MA_SC_READ_PROFILE, MA_LANE_READ, 0, MA_RATE_READ, NULL, ma_op_get_profile,
     MA_STYLE_API},
    {MA_PATCH, PROFILE, "updateProfile", MA_SC_UPDATE_PROFILE, MA_LANE_WRITE, CONNECT_BODY, MA_RATE_WRITE,
     ma_op_update_profile_prepare, ma_op_update_profile, MA_STYLE_API},
    {MA_POST, EXPORTS, "createExport", MA_SC_CREATE_EXPORTS, MA_LANE_WRITE, 0, MA_RATE_WRITE, NULL, ma_op_create_export,
     MA_STYLE_API},
    {MA_GET, EXPORTS "/{id}", "getExport", MA_SC_READ_EXPORTS, MA_LANE_READ, 0, MA_RATE_READ, NULL, ma_op_get_export,
     MA_STYLE_API},
    {MA_DELETE, "/me/v1/account", "deleteAccount", MA_SC_DELETE_ACCOUNT, MA_LANE_WRITE, 0, MA_RATE_WRITE,
     ma_op_leave_prepare, ma_op_leave, MA_STYLE_API},
    {MA_POST, "/me/v1/account/restore", "restoreAccount", MA_SC_DELETE_ACCOUNT, MA_LANE_WRITE, 0, MA_RATE_WRITE, NULL,
     ma_op_restore_account, MA_STYLE_API},
    {MA_GET, "/me/v1/openapi.json", "getOpenApi", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_openapi,
     MA_STYLE_API},
    {MA_GET, "/me/v1/organizations", "getOrganizations", MA_SC_READ_ORGANIZATIONS, MA_LANE_READ, 0, MA_RATE_READ,
     ma_op_list_organizations_prepare, ma_op_list_organizations, MA_STYLE_API},
    {MA_GET, MA_CONNECT_PATH, "visitConnect", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_connect_visit,
     MA_STYLE_PAGE},
    {MA_GET, CONNECTED "/callback", "connectCallback", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL,
     ma_op_connect_callback, MA_STYLE_PAGE},
    {MA_GET, "/login/callback", "loginCallback", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_connect_callback,
     MA_STYLE_PAGE},
    {MA_GET, "/u/assets/{name}", "getPageAsset", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_page_asset,
     MA_STYLE_PAGE},
    {MA_GET, "/.well-known/jwks.json", "getJwks", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_jwks,
     MA_STYLE_API},
    {MA_GET, "/.well-known/webauthn", "getRelatedOrigins", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL,
     ma_op_related_origins, MA_STYLE_API},
    {MA_GET, "/.well-known/apple-app-site-association", "getAppleAssociation", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE,
     NULL, ma_op_apple_association, MA_STYLE_API},
    {MA_GET, "/.well-known/assetlinks.json", "getAssetLinks", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL,
     ma_op_asset_links, MA_STYLE_API},
    {MA_POST, DEVICES "/enroll", "enrollDevice", MA_PUBLIC, MA_LANE_WRITE, SMALL * 2, MA_RATE_NONE,
     ma_op_device_enrol_prepare, ma_op_device_enrol, MA_STYLE_DEVICE},
    {MA_POST, DEVICES "/resolve-transaction", "resolveTransaction", MA_PUBLIC, MA_LANE_WRITE, SMALL * 2, MA_RATE_NONE,
     ma_op_device_answer_prepare, ma_op_device_answer, MA_STYLE_DEVICE},
    {MA_PATCH, DEVICES "/device-accounts/{id}", "updateDevice", MA_PUBLIC, MA_LANE_WRITE, SMALL * 2, MA_RATE_NONE,
     ma_op_device_update_prepare, ma_op_device_update, MA_STYLE_DEVICE},
    {MA_DELETE, DEVICES "/device-accounts/{id}", "deleteDevice", MA_PUBLIC, MA_LANE_WRITE, 0, MA_RATE_NONE,
     ma_op_device_delete_prepare, ma_op_device_delete, MA_STYLE_DEVICE},
    {MA_GET, "/api-errors/{code}", "explainError", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_explain_error,
     MA_STYLE_API},
};

/* The listener of metrics_listen: no users there, nothing to authenticate. */
static const struct ma_route health_routes[] = {
    {MA_GET, "/health/live", "healthLive", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_health_live,
     MA_STYLE_API},
    {MA_GET, "/health/ready", "healthReady", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_health_ready,
     MA_STYLE_API},
    {MA_GET, "/metrics", "metrics", MA_PUBLIC, MA_LANE_READ, 0, MA_RATE_NONE, NULL, ma_op_metrics, MA_STYLE_API},
};

const struct ma_route *ma_api_routes(size_t *ret_n)
{
    *ret_n = MA_COUNT(routes);
    return routes;
}

const struct ma_route *ma_api_health_routes(size_t *ret_n)
{
    *ret_n = MA_COUNT(health_routes);
    return health_routes;
}

static const char *const lanes[] = {"read", "write", "cpu", "net"};

static void scopes_text(ma_scopes scopes, struct ma_buf *b)
{
    if (scopes == MA_PUBLIC)
        ma_buf_str(b, "public");
    for (ma_scopes rest = scopes & ~MA_PUBLIC; rest; rest &= rest - 1) {
        if (rest != (scopes & ~MA_PUBLIC))
            ma_buf_byte(b, ',');
        ma_buf_str(b, ma_scope_name(rest & (~rest + 1)));
    }
}

static void list_rows(struct ma_buf *b, const struct ma_route *r, size_t n, const char *before, const char *sep,
                      const char *after)
{
    for (; n > 0; r++, n--) {
        ma_buf_printf(b, "%s%s %s%s%s%s", before, ma_verb_name(r->verb), r->path, sep, r->op, sep);
        scopes_text(r->scopes, b);
        ma_buf_printf(b, "%s%s%s%u%s\n", sep, lanes[r->lane], sep, r->body_max, after);
    }
}

/* Both tables, whether or not the token service is on. */
static const char *list(struct ma_arena *a, const char *before, const char *sep, const char *after)
{
    size_t n = 0, n_pages = 0, n_ui = 0;
    const struct ma_route *oauth = ma_oauth_routes(&n), *pages = ma_page_routes(&n_pages), *ui = ma_ui_routes(&n_ui);
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 4096, 65536);
    list_rows(&b, routes, MA_COUNT(routes), before, sep, after);
    list_rows(&b, oauth, n, before, sep, after);
    list_rows(&b, pages, n_pages, before, sep, after);
    list_rows(&b, ui, n_ui, before, sep, after);
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) < 0 ? NULL : (const char *)b.p;
}

const char *ma_api_routes_text(struct ma_arena *a)
{
    return list(a, "", " ", "");
}

const char *ma_api_routes_markdown(struct ma_arena *a)
{
    return list(a, "| `", "` | `", "` |");
}

/* SPDX-License-Identifier: Apache-2.0
 * The state document's members, types and bounds, and the defaults of what it may leave out.
 */
#include "ma/state.h"

#include "int.h"

/* Optional members take null, which in a merge patch removes them (RFC 7396 §2). */
#define OPT(T, m, ftype, ...)                                                                                          \
    {                                                                                                                  \
        .name = #m, .type = (ftype), .flags = MA_NULLOK, .off = offsetof(T, m), __VA_ARGS__                            \
    }
#define REQ(T, m, ftype, ...)                                                                                          \
    {                                                                                                                  \
        .name = #m, .type = (ftype), .flags = MA_REQ, .off = offsetof(T, m), __VA_ARGS__                               \
    }
/* A member whose name is not the struct's. */
#define AS(T, json, m, ftype, ...)                                                                                     \
    {                                                                                                                  \
        .name = (json), .type = (ftype), .flags = MA_NULLOK, .off = offsetof(T, m), __VA_ARGS__                        \
    }
/* An object whose members are flattened into the struct around it. */
#define INLINE(json, shape)                                                                                            \
    {                                                                                                                  \
        .name = (json), .type = MA_F_OBJ, .flags = MA_NULLOK, .off = 0, .sub = &(shape)                                \
    }
#define TEXT(lo, hi) .min = (lo), .max = (hi)
#define CHECK(fn, text) .check = (fn), .check_text = (text)
#define PRINTABLE CHECK(ma_fmt_printable, "must be printable, without blanks, at most 255 bytes")
#define CLEAN CHECK(ma_fmt_no_control, "must not hold control characters")
#define HTTP_URL CHECK(ma_fmt_http_or_empty, "must be an http or https URL")

/* --- single objects --- */
static const char *const user_access[] = {"require_client_grant", "allow_all", "deny_all", NULL};
static const char *const client_access[] = {"deny_all", NULL};
static const char *const signing_algs[] = {"RS256", "ES256", NULL};
_Static_assert(MA_COUNT(signing_algs) == MA_SIGNING__COUNT + 1, "in the order of enum ma_signing_alg");
static const struct ma_jfield default_policy_fields[] = {
    OPT(struct ma_doc_api, require_2fa, MA_F_BOOL),
};
static const struct ma_shape default_policy = MA_SHAPE(struct ma_doc_api, default_policy_fields);
static const struct ma_jfield api_fields[] = {
    OPT(struct ma_doc_api, active, MA_F_BOOL),
    OPT(struct ma_doc_api, user_access_policy, MA_F_ENUM, .names = user_access),
    OPT(struct ma_doc_api, client_access_policy, MA_F_ENUM, .names = client_access),
    OPT(struct ma_doc_api, enforce_rbac, MA_F_BOOL),
    OPT(struct ma_doc_api, allow_skipping_user_consent, MA_F_BOOL),
    INLINE("default_policy", default_policy),
    OPT(struct ma_doc_api, token_lifetime, MA_F_INT, .min = 1, .max = MA_TOKEN_LIFETIME_MAX),
    OPT(struct ma_doc_api, require_dpop, MA_F_BOOL),
    OPT(struct ma_doc_api, signing_alg, MA_F_ENUM, .names = signing_algs),
};
const struct ma_shape ma_shape_api = MA_SHAPE(struct ma_doc_api, api_fields);
const char ma_defaults_api[] =
    "{\"active\":true,\"user_access_policy\":\"require_client_grant\",\"client_access_policy\":\"deny_all\","
    "\"enforce_rbac\":false,\"allow_skipping_user_consent\":true,\"default_policy\":{\"require_2fa\":false},"
    "\"token_lifetime\":86400,\"require_dpop\":false,\"signing_alg\":\"RS256\"}";

static const char *const mfa_policy[] = {"never", "always", "confidence-score", NULL};
static const struct ma_jfield rp_fields[] = {
    AS(struct ma_doc_tenant, "id", rp_id, MA_F_STR, TEXT(1, MA_ID_MAX), CHECK(ma_fmt_domain, "must be a domain name")),
    AS(struct ma_doc_tenant, "name", rp_name, MA_F_STR, TEXT(1, MA_ID_MAX), CLEAN),
};
static const struct ma_shape rp = MA_SHAPE(struct ma_doc_tenant, rp_fields);
static const struct ma_jfield tenant_fields[] = {
    OPT(struct ma_doc_tenant, friendly_name, MA_F_STR, TEXT(1, MA_ID_MAX), CLEAN),
    OPT(struct ma_doc_tenant, mfa_policy, MA_F_ENUM, .names = mfa_policy),
    INLINE("rp", rp),
    OPT(struct ma_doc_tenant, allowed_logout_urls, MA_F_STRLIST, TEXT(1, MA_URL_MAX)),
    OPT(struct ma_doc_tenant, session_lifetime, MA_F_RAW),
    OPT(struct ma_doc_tenant, idle_session_lifetime, MA_F_RAW),
};
const struct ma_shape ma_shape_tenant = MA_SHAPE(struct ma_doc_tenant, tenant_fields);
const char ma_defaults_tenant[] = "{\"mfa_policy\":\"never\",\"session_lifetime\":168,\"idle_session_lifetime\":72}";

#define FACTOR(name, id) AS(struct ma_doc_factors, name, on[id], MA_F_BOOL)
static const struct ma_jfield factors_fields[] = {
    FACTOR("totp", MA_FACTOR_TOTP),
    FACTOR("email", MA_FACTOR_EMAIL),
    FACTOR("phone", MA_FACTOR_PHONE),
    FACTOR("push-notification", MA_FACTOR_PUSH),
    FACTOR("recovery-code", MA_FACTOR_RECOVERY),
    FACTOR("webauthn-roaming", MA_FACTOR_WEBAUTHN_ROAMING),
    FACTOR("webauthn-platform", MA_FACTOR_WEBAUTHN_PLATFORM),
    FACTOR("passkey", MA_FACTOR_PASSKEY),
    FACTOR("password", MA_FACTOR_PASSWORD),
};
const struct ma_shape ma_shape_factors = MA_SHAPE(struct ma_doc_factors, factors_fields);
const char ma_defaults_factors[] =
    "{\"totp\":true,\"email\":true,\"phone\":true,\"push-notification\":false,\"recovery-code\":true,"
    "\"webauthn-roaming\":true,\"webauthn-platform\":true,\"passkey\":true,\"password\":true}";

/* --- connections --- */
static const char *const character_types[] = {"lowercase", "uppercase", "number", "special", NULL};
static const char *const type_rules[] = {"all", "three_of_four", NULL};
static const char *const allow_block[] = {"allow", "block", NULL};
static const char *const truncate_error[] = {"truncate", "error", NULL};
static const char *const dictionaries[] = {"en_10k", "en_100k", NULL};
static const struct ma_jfield complexity_fields[] = {
    OPT(struct ma_password_policy, min_length, MA_F_INT, .min = 1, .max = 72),
    OPT(struct ma_password_policy, character_types, MA_F_ENUMSET, .names = character_types),
    OPT(struct ma_password_policy, character_type_rule, MA_F_ENUM, .names = type_rules),
    OPT(struct ma_password_policy, identical_characters, MA_F_ENUM, .names = allow_block),
    OPT(struct ma_password_policy, sequential_characters, MA_F_ENUM, .names = allow_block),
    OPT(struct ma_password_policy, max_length_exceeded, MA_F_ENUM, .names = truncate_error),
};
static const struct ma_shape complexity = MA_SHAPE(struct ma_password_policy, complexity_fields);
static const struct ma_jfield profile_fields[] = {
    AS(struct ma_password_policy, "active", profile_active, MA_F_BOOL),
    OPT(struct ma_password_policy, blocked_fields, MA_F_STRLIST, TEXT(1, 100), .max_items = 50),
};
static const struct ma_shape profile = MA_SHAPE(struct ma_password_policy, profile_fields);
static const struct ma_jfield history_fields[] = {
    AS(struct ma_password_policy, "active", history_active, MA_F_BOOL),
    AS(struct ma_password_policy, "size", history_size, MA_F_INT, .min = 1, .max = 24),
};
static const struct ma_shape history = MA_SHAPE(struct ma_password_policy, history_fields);
static const struct ma_jfield dictionary_fields[] = {
    AS(struct ma_password_policy, "active", dictionary_active, MA_F_BOOL),
    AS(struct ma_password_policy, "default", dictionary, MA_F_ENUM, .names = dictionaries),
};
static const struct ma_shape dictionary = MA_SHAPE(struct ma_password_policy, dictionary_fields);
static const struct ma_jfield policy_fields[] = {
    INLINE("complexity", complexity),
    INLINE("profile_data", profile),
    INLINE("history", history),
    INLINE("dictionary", dictionary),
};
static const struct ma_shape password_policy = MA_SHAPE(struct ma_password_policy, policy_fields);

static const char *const endpoint_auth[] = {"none", "client_secret_post", "client_secret_basic", "private_key_jwt",
                                            NULL};
_Static_assert(MA_COUNT(endpoint_auth) == MA_AUTH__COUNT + 1, "in the order of enum ma_client_auth");
static const char *const separators[] = {" ", ",", NULL};
static const char *const callback_paths[] = {"/me/v1/connected-accounts/callback", "/login/callback", NULL};
/* Members that stand at the connection or in its options. */
#define HABITS(T)                                                                                                      \
    AS(T, "preset", habits.preset, MA_F_STR, TEXT(1, 64), CHECK(ma_fmt_strategy, "must be a known provider")),         \
        AS(T, "revocation_endpoint", habits.revocation_endpoint, MA_F_STR, TEXT(0, MA_URL_MAX), HTTP_URL),             \
        AS(T, "pkce", habits.pkce, MA_F_RAW),                                                                          \
        AS(T, "token_endpoint_auth_method", habits.token_endpoint_auth_method, MA_F_ENUM, .names = endpoint_auth,      \
           .has_off = offsetof(T, habits.has_auth))
static const struct ma_jfield options_fields[] = {
    OPT(struct ma_doc_options, issuer, MA_F_STR, TEXT(0, MA_URL_MAX),
        CHECK(ma_fmt_issuer_or_empty, "must be an http or https URL without query and fragment")),
    OPT(struct ma_doc_options, authorization_endpoint, MA_F_STR, TEXT(0, MA_URL_MAX), HTTP_URL),
    OPT(struct ma_doc_options, token_endpoint, MA_F_STR, TEXT(0, MA_URL_MAX), HTTP_URL),
    OPT(struct ma_doc_options, jwks_uri, MA_F_STR, TEXT(0, MA_URL_MAX), HTTP_URL),
    OPT(struct ma_doc_options, userinfo_endpoint, MA_F_STR, TEXT(0, MA_URL_MAX), HTTP_URL),
    OPT(struct ma_doc_options, client_id, MA_F_STR, TEXT(1, 1024), CLEAN),
    OPT(struct ma_doc_options, client_secret, MA_F_STR, TEXT(1, 4096)),
    OPT(struct ma_doc_options, scopes, MA_F_STRLIST, TEXT(1, 512), .max_items = 200),
    OPT(struct ma_doc_options, scope_separator, MA_F_ENUM, .names = separators,
        .has_off = offsetof(struct ma_doc_options, has_scope_separator)),
    OPT(struct ma_doc_options, user_id_field, MA_F_STR, TEXT(0, 128),
        CHECK(ma_fmt_member_path, "must be names joined by dots")),
    OPT(struct ma_doc_options, authorization_params, MA_F_STR, TEXT(0, 1024)),
    OPT(struct ma_doc_options, callback_path, MA_F_ENUM, .names = callback_paths),
    OPT(struct ma_doc_options, revoke_on_delete, MA_F_BOOL,
        .has_off = offsetof(struct ma_doc_options, has_revoke_on_delete)),
    OPT(struct ma_doc_options, disable_signup, MA_F_BOOL),
    HABITS(struct ma_doc_options),
};
static const struct ma_shape options = MA_SHAPE(struct ma_doc_options, options_fields);
static const struct ma_jfield accounts_fields[] = {
    AS(struct ma_doc_connection, "active", connected_accounts, MA_F_BOOL),
};
static const struct ma_shape accounts = MA_SHAPE(struct ma_doc_connection, accounts_fields);
static const struct ma_jfield connection_fields[] = {
    REQ(struct ma_doc_connection, name, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    OPT(struct ma_doc_connection, strategy, MA_F_STR, TEXT(1, 64),
        CHECK(ma_fmt_strategy, "must be auth0, oidc, oauth2 or a known provider")),
    AS(struct ma_doc_connection, "password_policy", policy, MA_F_OBJ, .sub = &password_policy),
    INLINE("connected_accounts", accounts),
    OPT(struct ma_doc_connection, options, MA_F_OBJ, .sub = &options),
    OPT(struct ma_doc_connection, enabled_clients, MA_F_STRLIST, TEXT(1, MA_ID_MAX), .max_items = 10000,
        .has_off = offsetof(struct ma_doc_connection, has_enabled_clients)),
    HABITS(struct ma_doc_connection),
};
const struct ma_shape ma_shape_connection = MA_SHAPE(struct ma_doc_connection, connection_fields);
const char ma_defaults_connection[] =
    "{\"connected_accounts\":{\"active\":false},\"password_policy\":{"
    "\"complexity\":{\"min_length\":8,\"character_types\":[\"lowercase\",\"uppercase\",\"number\"],"
    "\"character_type_rule\":\"all\",\"identical_characters\":\"allow\",\"sequential_characters\":\"allow\","
    "\"max_length_exceeded\":\"error\"},"
    "\"profile_data\":{\"active\":true,\"blocked_fields\":[\"email\",\"name\"]},"
    "\"history\":{\"active\":true,\"size\":5},\"dictionary\":{\"active\":true,\"default\":\"en_10k\"}}}";

/* --- clients --- */
static const char *const app_types[] = {"spa", "native", "regular_web", "non_interactive", "resource_server", NULL};
_Static_assert(MA_COUNT(app_types) == MA_APP__COUNT + 1, "in the order of enum ma_app_type");
static const struct ma_jfield jwt_fields[] = {
    AS(struct ma_doc_client, "alg", id_token_alg, MA_F_ENUM, .names = signing_algs),
};
static const struct ma_shape jwt_configuration = MA_SHAPE(struct ma_doc_client, jwt_fields);
static const char *const rotation[] = {"rotating", "non-rotating", NULL};
static const char *const expiration[] = {"expiring", "non-expiring", NULL};
static const struct ma_jfield rule_fields[] = {
    REQ(struct ma_doc_grant_rule, audience, MA_F_STR, TEXT(1, MA_URL_MAX), PRINTABLE),
    REQ(struct ma_doc_grant_rule, scope, MA_F_STRLIST, TEXT(1, 280)),
};
static const struct ma_shape rule = MA_SHAPE(struct ma_doc_grant_rule, rule_fields);
static const struct ma_jfield refresh_fields[] = {
    OPT(struct ma_doc_refresh, rotation_type, MA_F_ENUM, .names = rotation,
        .has_off = offsetof(struct ma_doc_refresh, has_rotation_type)),
    OPT(struct ma_doc_refresh, expiration_type, MA_F_ENUM, .names = expiration),
    OPT(struct ma_doc_refresh, leeway, MA_F_INT, .min = 0, .max = MA_TOKEN_LIFETIME_MAX),
    OPT(struct ma_doc_refresh, token_lifetime, MA_F_INT, .min = 1, .max = INT32_MAX),
    OPT(struct ma_doc_refresh, idle_token_lifetime, MA_F_INT, .min = 1, .max = INT32_MAX),
    OPT(struct ma_doc_refresh, infinite_token_lifetime, MA_F_BOOL),
    OPT(struct ma_doc_refresh, infinite_idle_token_lifetime, MA_F_BOOL),
    OPT(struct ma_doc_refresh, policies, MA_F_OBJLIST, .sub = &rule,
        .has_off = offsetof(struct ma_doc_refresh, has_policies)),
};
static const struct ma_shape refresh = MA_SHAPE(struct ma_doc_refresh, refresh_fields);
/* RFC 7517 §4.1: every key names its type; the other members are its own business. */
static const struct ma_jfield jwk_fields[] = {
    REQ(struct ma_doc_jwk, kty, MA_F_STR, TEXT(1, 16)),
};
static const struct ma_shape jwk = MA_SHAPE_OPEN(struct ma_doc_jwk, jwk_fields);
static const struct ma_jfield jwks_fields[] = {
    REQ(struct ma_doc_jwks, keys, MA_F_OBJLIST, .sub = &jwk, .max_items = 100),
};
static const struct ma_shape jwks = MA_SHAPE_OPEN(struct ma_doc_jwks, jwks_fields);
static const struct ma_jfield ios_fields[] = {
    OPT(struct ma_doc_ios, team_id, MA_F_STR, TEXT(0, 64), PRINTABLE),
    OPT(struct ma_doc_ios, app_bundle_identifier, MA_F_STR, TEXT(0, 255), PRINTABLE),
};
static const struct ma_shape ios = MA_SHAPE(struct ma_doc_ios, ios_fields);
static const struct ma_jfield android_fields[] = {
    OPT(struct ma_doc_android, app_package_name, MA_F_STR, TEXT(0, 255), PRINTABLE),
    OPT(struct ma_doc_android, sha256_cert_fingerprints, MA_F_STRLIST, TEXT(0, 128), .max_items = 20),
};
static const struct ma_shape android = MA_SHAPE(struct ma_doc_android, android_fields);
static const struct ma_jfield mobile_fields[] = {
    OPT(struct ma_doc_mobile, ios, MA_F_OBJ, .sub = &ios),
    OPT(struct ma_doc_mobile, android, MA_F_OBJ, .sub = &android),
};
static const struct ma_shape mobile = MA_SHAPE(struct ma_doc_mobile, mobile_fields);
static const struct ma_jfield client_fields[] = {
    REQ(struct ma_doc_client, client_id, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    OPT(struct ma_doc_client, name, MA_F_STR, TEXT(1, MA_ID_MAX), CLEAN),
    OPT(struct ma_doc_client, app_type, MA_F_ENUM, .names = app_types),
    OPT(struct ma_doc_client, is_first_party, MA_F_BOOL),
    OPT(struct ma_doc_client, client_secret, MA_F_STR, TEXT(1, 4096)),
    OPT(struct ma_doc_client, callbacks, MA_F_STRLIST, TEXT(1, MA_URL_MAX)),
    OPT(struct ma_doc_client, allowed_origins, MA_F_STRLIST, TEXT(1, MA_URL_MAX)),
    OPT(struct ma_doc_client, web_origins, MA_F_STRLIST, TEXT(1, MA_URL_MAX)),
    OPT(struct ma_doc_client, cross_origin_authentication, MA_F_BOOL),
    OPT(struct ma_doc_client, grant_types, MA_F_STRLIST, TEXT(1, 255), .max_items = 50,
        .has_off = offsetof(struct ma_doc_client, has_grant_types)),
    OPT(struct ma_doc_client, allowed_logout_urls, MA_F_STRLIST, TEXT(1, MA_URL_MAX)),
    OPT(struct ma_doc_client, resource_server_identifier, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    OPT(struct ma_doc_client, require_dpop, MA_F_BOOL),
    OPT(struct ma_doc_client, is_token_endpoint_ip_header_trusted, MA_F_BOOL),
    INLINE("jwt_configuration", jwt_configuration),
    AS(struct ma_doc_client, "refresh_token", refresh, MA_F_OBJ, .sub = &refresh),
    OPT(struct ma_doc_client, token_endpoint_auth_method, MA_F_ENUM, .names = endpoint_auth,
        .has_off = offsetof(struct ma_doc_client, has_auth)),
    OPT(struct ma_doc_client, jwks, MA_F_OBJ, .sub = &jwks, .has_off = offsetof(struct ma_doc_client, has_jwks)),
    OPT(struct ma_doc_client, mobile, MA_F_OBJ, .sub = &mobile),
};
const struct ma_shape ma_shape_client = MA_SHAPE(struct ma_doc_client, client_fields);
const char ma_defaults_client[] =
    "{\"app_type\":\"regular_web\",\"is_first_party\":true,\"cross_origin_authentication\":true,"
    "\"require_dpop\":false,\"is_token_endpoint_ip_header_trusted\":false}";

/* --- grants, roles, organizations, policies --- */
static const char *const subject_types[] = {"user", "client", NULL};
static const struct ma_jfield grant_fields[] = {
    REQ(struct ma_doc_grant, client_id, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    REQ(struct ma_doc_grant, audience, MA_F_STR, TEXT(1, MA_URL_MAX), CHECK(ma_fmt_uri, "must match format \"uri\"")),
    OPT(struct ma_doc_grant, subject_type, MA_F_ENUM, .names = subject_types),
    OPT(struct ma_doc_grant, scope, MA_F_STRLIST, TEXT(1, 280)),
};
const struct ma_shape ma_shape_grant = MA_SHAPE(struct ma_doc_grant, grant_fields);
static const struct ma_jfield role_fields[] = {
    REQ(struct ma_doc_role, name, MA_F_STR, TEXT(1, MA_ID_MAX), CLEAN),
    OPT(struct ma_doc_role, permissions, MA_F_STRLIST, TEXT(1, 280)),
};
const struct ma_shape ma_shape_role = MA_SHAPE(struct ma_doc_role, role_fields);
static const struct ma_jfield organization_fields[] = {
    REQ(struct ma_doc_organization, id, MA_F_STR, TEXT(1, 64), PRINTABLE),
    OPT(struct ma_doc_organization, name, MA_F_STR, TEXT(1, 64), PRINTABLE),
    OPT(struct ma_doc_organization, display_name, MA_F_STR, TEXT(1, MA_ID_MAX), CLEAN),
    OPT(struct ma_doc_organization, members, MA_F_STRLIST, TEXT(1, MA_ID_MAX), .max_items = MA_MEMBERS_MAX),
};
const struct ma_shape ma_shape_organization = MA_SHAPE(struct ma_doc_organization, organization_fields);
static const struct ma_jfield rules_fields[] = {
    REQ(struct ma_doc_policy, client_id, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    REQ(struct ma_doc_policy, scope, MA_F_STRLIST, TEXT(1, 280)),
    OPT(struct ma_doc_policy, require, MA_F_STRLIST, TEXT(1, 64), .max_items = 20,
        .has_off = offsetof(struct ma_doc_policy, has_require)),
    OPT(struct ma_doc_policy, max_age, MA_F_INT, .min = 0, .max = MA_TOKEN_LIFETIME_MAX,
        .has_off = offsetof(struct ma_doc_policy, has_max_age)),
    OPT(struct ma_doc_policy, skip, MA_F_BOOL),
};
const struct ma_shape ma_shape_policy = MA_SHAPE(struct ma_doc_policy, rules_fields);

/* --- users --- */
static const struct ma_jfield user_fields[] = {
    REQ(struct ma_doc_user, user_id, MA_F_STR, TEXT(1, MA_ID_MAX), PRINTABLE),
    OPT(struct ma_doc_user, email, MA_F_STR, TEXT(1, 320), CHECK(ma_fmt_email, "must match format \"email\"")),
    OPT(struct ma_doc_user, email_verified, MA_F_BOOL, .has_off = offsetof(struct ma_doc_user, has_email_verified)),
    OPT(struct ma_doc_user, name, MA_F_STR, TEXT(1, 300), CLEAN),
    OPT(struct ma_doc_user, phone_number, MA_F_STR, TEXT(1, 16), CHECK(ma_fmt_phone, "must be an E.164 phone number")),
    OPT(struct ma_doc_user, connection, MA_F_STR, TEXT(1, MA_ID_MAX)),
    OPT(struct ma_doc_user, password, MA_F_STR, TEXT(1, 1024)),
    OPT(struct ma_doc_user, password_hash, MA_F_STR, TEXT(1, MA_ID_MAX)),
    OPT(struct ma_doc_user, roles, MA_F_STRLIST, TEXT(1, MA_ID_MAX),
        .has_off = offsetof(struct ma_doc_user, has_roles)),
    OPT(struct ma_doc_user, permissions, MA_F_STRLIST, TEXT(1, 280),
        .has_off = offsetof(struct ma_doc_user, has_permissions)),
    OPT(struct ma_doc_user, blocked, MA_F_BOOL, .has_off = offsetof(struct ma_doc_user, has_blocked)),
};
const struct ma_shape ma_shape_user = MA_SHAPE(struct ma_doc_user, user_fields);

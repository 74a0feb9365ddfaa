/* SPDX-License-Identifier: Apache-2.0
 * What is known about identity providers by name: endpoints and habits, as one table. A connection's
 * `preset`, or else its strategy, names the row; "oidc" and "oauth2" are the rows of providers that
 * have no habits. What the connection says itself always wins over the row.
 */
#ifndef MA_PRESET_H
#define MA_PRESET_H

#include "ma/base.h"

/* How the daemon authenticates at the provider's token endpoint (RFC 6749 §2.3, RFC 7523 §2.2). */
enum ma_client_auth { MA_AUTH_NONE, MA_AUTH_POST, MA_AUTH_BASIC, MA_AUTH_PRIVATE_KEY_JWT, MA_AUTH__COUNT };

/* How a refresh token is asked for. */
enum ma_offline {
    MA_OFFLINE_SCOPE,  /* with the scope offline_access; `offline_params` go along with that scope */
    MA_OFFLINE_PARAMS, /* with `offline_params` alone: the scope is not sent */
    MA_OFFLINE_GIVEN   /* it comes unasked, or there is none: the scope is not sent */
};

struct ma_preset {
    const char *name;
    bool oidc;          /* scope openid brings an id_token (OpenID Connect Core); otherwise plain OAuth 2.0 */
    const char *issuer; /* "{tenantid}" in it stands for the id_token's tid claim; NULL: none */
    const char *authorization_endpoint, *token_endpoint;            /* NULL: from the connection or from discovery */
    const char *jwks_uri, *userinfo_endpoint, *revocation_endpoint; /* NULL likewise, or none */
    enum ma_offline offline;
    const char *offline_params; /* form-encoded, or NULL */
    const char *scopes;         /* blank-separated; always asked for, since they identify the user; "" none */
    const char *scope_param;    /* "scope" */
    char scope_separator;       /* between the scopes of a request; answers are split at blanks and commas */
    const char *token_member;   /* member of the token answer that holds the user's token; NULL: the answer itself */
    const char *user_id_field;  /* dotted path to the user's id: in userinfo, or below token_member; "sub" for OIDC */
    enum ma_client_auth auth;
    bool pkce;                  /* sends a code_challenge (RFC 7636, S256) */
    int64_t assumed_lifetime_s; /* of an access token with a refresh token whose answer has no expires_in */
};

/* NULL when there is no such row. Static. */
const struct ma_preset *ma_preset_find(struct ma_span name);
/* All rows, for documentation and tests. Static. */
const struct ma_preset *ma_presets(size_t *ret_n);

#endif

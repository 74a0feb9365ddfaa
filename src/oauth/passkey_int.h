/* SPDX-License-Identifier: Apache-2.0
 * What the challenge of a native passkey sign-in or sign-up and the token call that answers it share.
 */
#ifndef MA_OAUTH_PASSKEY_INT_H
#define MA_OAUTH_PASSKEY_INT_H

#include "int.h"

#define MA_PASSKEY_KIND "passkey"
#define MA_PASSKEY_GRANT "urn:okta:params:oauth:grant-type:webauthn"

/* Kept as JSON in flows.data. Spans p == NULL: not there. */
struct ma_passkey_flow {
    struct ma_span challenge; /* base64url */
    struct ma_span rp_id, realm, organization;
    struct ma_span user_handle;               /* a sign-up: base64url */
    struct ma_span email, name, phone_number; /* likewise */
};
/* Write. */
MA_MUST_USE int ma_passkey_flow_open(struct ma_ctx *ctx, const struct ma_passkey_flow *in,
                                     char token[MA_TOKEN_LEN + 1]);
MA_MUST_USE int ma_passkey_flow_read(struct ma_ctx *ctx, struct ma_span json, struct ma_passkey_flow *ret);

/* The beginning of both endpoints: the client is first-party and allowed the grant, passkeys are on, and a realm is a
 * database connection that the client may use. An answer otherwise. Inline. */
MA_MUST_USE int ma_passkey_begin(struct ma_ctx *ctx, struct ma_oauth **ret);
/* Whether users of the client may come from this connection. */
bool ma_passkey_connection(const struct ma_ctx *ctx, const struct ma_state_connection *c);

/* The token call of a sign-up (passkey_signup.c): authn_response is the JSON text of an attestation. CPU lane. */
MA_MUST_USE int ma_passkey_signup(struct ma_ctx *ctx, const struct ma_flow *flow, const struct ma_passkey_flow *kept,
                                  struct ma_span challenge, struct ma_span authn_response);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The browser's answer to creation options, as it arrives in a verify body.
 */
#ifndef MA_API_ATTESTATION_BODY_H
#define MA_API_ATTESTATION_BODY_H

#include "ma/passkey_wire.h"

struct ma_attestation_body {
    struct ma_span auth_session;
    struct ma_attestation_response response; /* decoded from base64url */
};
/* Decodes the request's body, or answers 400 with a pointer to the member at fault. */
MA_MUST_USE int ma_attestation_body(struct ma_ctx *ctx, struct ma_attestation_body *ret);

#endif

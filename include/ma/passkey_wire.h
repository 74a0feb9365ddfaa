/* SPDX-License-Identifier: Apache-2.0
 * Passkey registration on the wire: what browsers are given and what they answer (wire contract 3.1, 3.3). Enrolments
 * of users who are signed in and sign-ups share it.
 */
#ifndef MA_PASSKEY_WIRE_H
#define MA_PASSKEY_WIRE_H

#include "ma/jsonw.h"
#include "ma/passkey.h"

/* "authn_params_public_key" and its value. */
void ma_write_creation_options(struct ma_jw *w, const struct ma_creation_options *o);
/* Decodes the JSON text of an authn_response. MA_E_PARSE when it is none. */
MA_MUST_USE int ma_attestation_parse(struct ma_ctx *ctx, struct ma_span text, struct ma_attestation_response *ret);

#endif

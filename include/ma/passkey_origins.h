/* SPDX-License-Identifier: Apache-2.0
 * Which origins may run WebAuthn ceremonies, and the apps that clients name.
 */
#ifndef MA_PASSKEY_ORIGINS_H
#define MA_PASSKEY_ORIGINS_H

#include "ma/ctx.h"

/* The host of "https://host[:port]", without port. Borrowed. */
struct ma_span ma_origin_host(struct ma_span origin);
/* True when the host is the relying party id or below it. */
bool ma_host_under(struct ma_span host, struct ma_span rp_id);
/* The origins that the verifier may accept for this request: the public ones, those of the configuration, the calling
 * client's apps, and the one the client data name when the calling client lends it and it is under the relying party
 * id. Arena array of arena strings. */
MA_MUST_USE int ma_passkey_origins(struct ma_ctx *ctx, struct ma_span rp_id, struct ma_span client_data_json,
                                   const char *const **ret, size_t *ret_n);
/* android: {app_package_name, sha256_cert_fingerprints}, ios: {team_id, app_bundle_identifier} of a client's `mobile`.
 */
struct ma_mobile {
    struct ma_span team_id, bundle, package;
    struct ma_span_list fingerprints;
};
/* False when the client names no app. Strings are arena. */
bool ma_client_mobile(struct ma_arena *a, const struct ma_state_client *c, struct ma_mobile *ret);

#endif

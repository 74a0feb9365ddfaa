/* SPDX-License-Identifier: Apache-2.0
 * What the files about push notifications share.
 */
#ifndef MA_PUSH_INT_H
#define MA_PUSH_INT_H

#include "ma/push.h"
#include "ma/signin.h"
#include "ma/vault.h"

/* Sealed values of a device: column "seed" or "push_token". */
struct ma_seal_id ma_push_seal_id(struct ma_span user_id, struct ma_span method_id, const char *column);
MA_MUST_USE int ma_push_seal_token(struct ma_ctx *ctx, struct ma_push_device *d, struct ma_span token);
MA_MUST_USE int ma_push_open_token(struct ma_ctx *ctx, const struct ma_push_device *d, struct ma_span *ret);
/* MACs of what devices are given. */
MA_MUST_USE int ma_push_token_mac(struct ma_ctx *ctx, struct ma_span device_id, struct ma_span token, uint8_t out[32]);
MA_MUST_USE int ma_push_transaction_mac(struct ma_ctx *ctx, struct ma_span token, uint8_t out[32]);
MA_MUST_USE int ma_push_answer_mac(struct ma_ctx *ctx, struct ma_span token_mac, struct ma_span challenge,
                                   uint8_t out[32]);
MA_MUST_USE int ma_push_number_mac(struct ma_ctx *ctx, struct ma_span token_mac, struct ma_span number,
                                   uint8_t out[32]);
/* "<origin>/appliance-mfa"; arena, NULL when out of memory. */
const char *ma_push_base(struct ma_ctx *ctx, struct ma_span origin);
/* Makes ctx->who this user. *ret_open false: gone, blocked, or the factor is switched off. */
MA_MUST_USE int ma_push_become(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span client_id, bool *ret_open);
/* Whether policy.push_number_matching is "required", and whether this device is to send a number along. */
bool ma_push_matching_required(const struct ma_ctx *ctx);
bool ma_push_matches(const struct ma_ctx *ctx, const struct ma_push_device *d);
/* How many sign-ins a user may reject before no more are sent for a while. */
struct ma_counter_rule ma_rule_push_rejected(const struct ma_ctx *ctx);

/* Asks a device about a sign-in; as ma_challenge_start. Write. */
MA_MUST_USE int ma_push_ask(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                            struct ma_challenge_started *ret);

#endif

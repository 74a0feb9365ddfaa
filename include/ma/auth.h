/* SPDX-License-Identifier: Apache-2.0
 * From the Authorization header to ctx->who: token verification with a memory of verified tokens,
 * the facts about the user, and provisioning at first sight.
 */
#ifndef MA_AUTH_H
#define MA_AUTH_H

#include "ma/ctx.h"

/* Remembered tokens, by SHA-256; bounded; thread-safe. Owned (ma_auth_cache_free). */
struct ma_auth_cache;
MA_MUST_USE int ma_auth_cache_new(const struct ma_rand *r, struct ma_auth_cache **ret);
void ma_auth_cache_free(struct ma_auth_cache *c);
#define MA_AUTH_CACHE_SLOTS 16384 /* remembered tokens at most */

/* Fills ctx->who. MA_OK; MA_E_PROBLEM (401, 429 or 503 recorded); MA_E_NEXT (keys must be fetched, or the user
 * provisioned: ctx->step and lane are set and the pipeline starts again afterwards). */
MA_MUST_USE int ma_authenticate(struct ma_ctx *ctx);

#endif

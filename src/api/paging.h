/* SPDX-License-Identifier: Apache-2.0
 * Pages of a list: how many, and from where on.
 */
#ifndef MA_API_PAGING_H
#define MA_API_PAGING_H

#include "ma/ctx.h"

#define MA_CURSOR_KEY_MAX 320 /* bytes that name a place in a list */

/* take from the query: within [1, max], else `normal` when it is absent. A 400 otherwise. */
MA_MUST_USE int ma_take(struct ma_ctx *ctx, int64_t normal, int64_t max, size_t *ret);
/* A cursor is base64url of a key and its MAC over list, user and key: nobody else's fits, none can be made up. arena;
 * NULL when out of memory. */
const char *ma_cursor_make(struct ma_ctx *ctx, const char *list, struct ma_span key);
/* The key of the cursor in `from` (or `next`, which some clients send); p == NULL when there is none. 400 for one that
 * was not made here. */
MA_MUST_USE int ma_cursor_read(struct ma_ctx *ctx, const char *list, struct ma_span *ret_key);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Remembered answers of GET /authentication-methods: valid until the user's rows, the state document
 * or the configuration change, or a pending enrolment lapses.
 */
#ifndef MA_API_LIST_CACHE_H
#define MA_API_LIST_CACHE_H

#include "ma/api.h"

#define MA_LIST_CACHE_SLOTS 2048    /* users remembered at most */
#define MA_LIST_CACHE_BODY_MAX 8192 /* bytes; a longer answer is not remembered */

struct ma_list_version {
    uint64_t user_generation; /* read before the rows were */
    uint64_t state_epoch;     /* goes up with every reload as well */
};
/* Appends the remembered body and returns true when it is still good. Thread-safe. */
bool ma_list_cache_get(struct ma_list_cache *c, struct ma_span user_id, struct ma_list_version now_version,
                       int64_t now_ms, struct ma_buf *out);
/* Forgets whoever was in the slot. Thread-safe. */
void ma_list_cache_put(struct ma_list_cache *c, struct ma_span user_id, struct ma_list_version version,
                       int64_t valid_until_ms, struct ma_span body);

#endif

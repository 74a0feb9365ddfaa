/* SPDX-License-Identifier: Apache-2.0
 * What a User-Agent header says, in a few words for people.
 */
#ifndef MA_USER_AGENT_H
#define MA_USER_AGENT_H

#include "ma/arena.h"

#define MA_USER_AGENT_MAX 256 /* bytes of an unrecognised header that are kept */

/* "Chrome 131.0.0 / Mac OS X 10.15.7" of a recognised browser and system; otherwise the header itself, cut. p == NULL
 * for an empty header or when out of memory. arena. */
struct ma_span ma_user_agent_label(struct ma_arena *a, struct ma_span user_agent);
/* The same, but p == NULL for what is not recognised: nothing of the header's own words. */
struct ma_span ma_user_agent_known(struct ma_arena *a, struct ma_span user_agent);

#endif

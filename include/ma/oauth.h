/* SPDX-License-Identifier: Apache-2.0
 * The daemon's own token service: OAuth 2.0 (RFC 6749, RFC 9700), OpenID Connect, DPoP (RFC 9449) and
 * the hosted vendor's grants around them. Present only with token_service = true.
 */
#ifndef MA_OAUTH_H
#define MA_OAUTH_H

#include "ma/ctx.h"

/* The rows that join the route table. Static. */
const struct ma_route *ma_oauth_routes(size_t *ret_n);

#endif

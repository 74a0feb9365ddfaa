/* SPDX-License-Identifier: Apache-2.0
 * The daemon's own token service: OAuth 2.0 (RFC 6749, RFC 9700), OpenID Connect, DPoP (RFC 9449) and
 * the hosted vendor's grants around them. Present only with token_service = true.
 */
#ifndef MA_OAUTH_H
#define MA_OAUTH_H

#include "ma/ctx.h"

/* The user that the request's browser is signed in as here; p == NULL: none. arena. Any lane. */
MA_MUST_USE int ma_browser_user(struct ma_ctx *ctx, struct ma_span *ret);

/* The rows that join the route table. Static. */
const struct ma_route *ma_oauth_routes(size_t *ret_n);
/* Rows that are there whether or not the token service is: the pages behind links of security notices. Static. */
const struct ma_route *ma_page_routes(size_t *ret_n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the pages behind the links of security notices share.
 *
 * A GET shows what a POST would do and does nothing: mail scanners open links. The token in the link is the whole
 * credential, and nobody who makes a browser send a form knows it; a POST must come from our own origin where the
 * browser says so, and carry a proof that the page made for this very link a short while ago. No cookies: the pages
 * work in whatever a mail program shows links in, and without scripts.
 */
#ifndef MA_OAUTH_SECURITY_INT_H
#define MA_OAUTH_SECURITY_INT_H

#include "login_int.h"
#include "ma/notify.h"

#define MA_LINKS_PER_MINUTE 60        /* of one address */
#define MA_LINK_FORM_TTL_MS 3600000LL /* how long a page's form may lie about */

/* 429 when this address opens too many links. */
MA_MUST_USE int ma_link_limit(struct ma_ctx *ctx);
/* <form …> to this path with the link's token, an action and the page's proof. */
MA_MUST_USE int ma_link_form(struct ma_html *h, const char *path, struct ma_span token, const char *action);
/* Reads a form of such a page: limits, origin, proof. ret->state is the token. An answer otherwise. */
MA_MUST_USE int ma_link_read(struct ma_ctx *ctx, struct ma_login_form *ret);
/* The page for links that do not work, whatever the reason. */
MA_MUST_USE int ma_link_dead(struct ma_ctx *ctx);

int ma_op_undo_page(struct ma_ctx *ctx);
int ma_op_undo_post(struct ma_ctx *ctx);
int ma_op_reset_page(struct ma_ctx *ctx);
int ma_op_reset_post(struct ma_ctx *ctx);
int ma_op_restore_page(struct ma_ctx *ctx);
int ma_op_restore_post(struct ma_ctx *ctx);

#endif

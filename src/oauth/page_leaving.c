/* SPDX-License-Identifier: Apache-2.0
 * The page for users who sign in while their account is about to be deleted.
 */
#include "login_int.h"

#include "ma/notify.h"

void ma_html_leaving(struct ma_html *h, const struct ma_user *u)
{
    struct ma_span until = ma_when(h->ctx->arena, u->leaves_at), since = ma_when(h->ctx->arena, u->leaving_since);
    ma_html_raw(h, "<p>This account is going to be deleted on <strong>");
    ma_html_text(h, until);
    ma_html_raw(h, "</strong>, with everything in it. That was asked for on ");
    ma_html_text(h, since);
    ma_html_raw(h, ". Until then it is locked, and can be kept.</p>\n");
}

int ma_page_leaving(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Keep your account?", ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_leaving(&h, &l->user);
    ma_html_form(&h, l, "keep", NULL, NULL);
    ma_html_submit(&h, "Keep my account");
    ma_html_form(&h, l, "leave", "second", NULL);
    ma_html_submit(&h, "Let it be deleted");
    ma_html_whose(&h, l);
    return ma_html_end(&h);
}

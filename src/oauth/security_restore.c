/* SPDX-License-Identifier: Apache-2.0
 * /security/keep-account: the page behind the link of the message that an account is going to be deleted.
 */
#include "security_int.h"

static int ask(struct ma_ctx *ctx, const struct ma_user *u, struct ma_span token)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Keep your account?", "", false);
    ma_html_leaving(&h, u);
    ma_html_para(&h, NULL, "The button keeps it as it was. If you want it to be deleted, close this page.");
    int r = ma_link_form(&h, MA_RESTORE_PATH, token, "keep");
    if (r < 0)
        return r;
    ma_html_submit(&h, "Keep my account");
    return ma_html_end(&h);
}

static int kept(struct ma_ctx *ctx, bool now)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, now ? "Your account stays" : "Your account stays already", "", false);
    ma_html_para(&h, "note", "It will not be deleted. Sign in to your applications as you always do.");
    if (now)
        ma_html_para(&h, "soft",
                     "Was it not you who asked to delete it? Then change your password and look through your ways to "
                     "sign in.");
    return ma_html_end(&h);
}

int ma_op_restore_page(struct ma_ctx *ctx)
{
    struct ma_user u;
    struct ma_span token = ma_query(ctx, "token");
    int r = ma_link_limit(ctx);
    if (r == MA_OK)
        r = ma_return_find(ctx, token, &u);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    if (r < 0)
        return r;
    return ma_user_is_leaving(&u) ? ask(ctx, &u, token) : kept(ctx, false);
}

/* WRITE: the link is looked up again, for the writer's view is the one that holds. */
static int keep(struct ma_ctx *ctx)
{
    const struct ma_login_form *form = ctx->scratch;
    struct ma_user u;
    bool stays = false;
    int r = ma_return_find(ctx, form->state, &u);
    if (r == MA_OK)
        r = ma_return(ctx, "link", &stays);
    if (stays)
        return kept(ctx, false);
    if (r == MA_E_NOTFOUND || r == MA_E_CONFLICT)
        return ma_link_dead(ctx);
    return r == MA_OK ? kept(ctx, true) : r;
}

int ma_op_restore_post(struct ma_ctx *ctx)
{
    struct ma_login_form *form = ma_arena_zalloc(ctx->arena, sizeof *form);
    struct ma_user u;
    if (!form)
        return MA_E_NOMEM;
    ctx->scratch = form;
    int r = ma_link_read(ctx, form);
    if (r != MA_OK)
        return r;
    r = ma_return_find(ctx, form->state, &u);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, keep) : r;
}

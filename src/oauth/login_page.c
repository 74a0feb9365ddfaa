/* SPDX-License-Identifier: Apache-2.0
 * GET /u/login: the page of the step that a login is at, or the way back to the client when nothing is left to do.
 */
#include "login_int.h"

/* The writer's view counts: the login may have gone on in another tab. */
static int finish(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    enum ma_login_found found = MA_LOGIN_OVER;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = ma_login_load(ctx, ma_query(ctx, "state"), l, &found);
    if (r < 0)
        return r;
    if (found != MA_LOGIN_FINE)
        return ma_login_refuse(ctx, l, found);
    r = ma_login_examine(ctx, l, &step);
    if (r < 0)
        return r;
    if (step == MA_STEP_REFUSED || (step == MA_STEP_DONE && l->st.session_id.p))
        return ma_login_finish_flow(ctx, l, step);
    r = ma_login_advance(ctx, l, false);
    if (r == MA_OK)
        r = ma_login_save(ctx, l);
    if (r == MA_OK)
        r = ma_redirect(ctx, ma_login_url(ctx, l));
    if (r == MA_OK && l->new_cookie)
        ma_browser_session_cookie(ctx, l->new_cookie);
    return r;
}

static int show(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step step)
{
    switch (step) {
    case MA_STEP_CHALLENGE:
        return ma_login_choice(l, l->st.method) ? ma_page_challenge(ctx, l) : ma_next(ctx, MA_LANE_WRITE, finish);
    case MA_STEP_RECOVERY:
        return ma_page_recovery(ctx, l);
    case MA_STEP_ENROL:
        return ma_page_enrol(ctx, l, false);
    case MA_STEP_OFFER:
        return ma_page_enrol(ctx, l, true);
    case MA_STEP_CONFIRM:
        return ma_page_confirm(ctx, l);
    case MA_STEP_CONSENT:
        return ma_page_consent(ctx, l);
    case MA_STEP_UNMET:
        return ma_page_unmet(ctx, l);
    case MA_STEP_DONE:
    case MA_STEP_REFUSED:
        return ma_next(ctx, MA_LANE_WRITE, finish);
    case MA_STEP_IDENTIFY:
    default:
        return ma_page_identify(ctx, l);
    }
}

int ma_op_login_page(struct ma_ctx *ctx)
{
    struct ma_login *l = ma_arena_zalloc(ctx->arena, sizeof *l);
    enum ma_login_found found = MA_LOGIN_OVER;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    if (!l)
        return MA_E_NOMEM;
    ctx->scratch = l;
    int r = ma_login_load(ctx, ma_query(ctx, "state"), l, &found);
    if (r < 0)
        return r;
    if (found != MA_LOGIN_FINE)
        return ma_login_refuse(ctx, l, found);
    r = ma_login_examine(ctx, l, &step);
    return r == MA_OK ? show(ctx, l, step) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * GET /u/login: the page of the step that a login is at, or the way back to the client when nothing is left to do.
 */
#include "login_int.h"
#include "ma/limit.h"

/* What a device did since the page was shown last. */
static int take_device(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step step)
{
    const struct ma_factor_choice *c = ma_login_choice(l, l->st.method);
    if (step == MA_STEP_CHALLENGE && c && c->type == MA_FACTOR_PUSH && l->st.oob.p)
        return ma_login_device(ctx, l);
    return step == MA_STEP_CONFIRM && l->st.enrol == MA_FACTOR_PUSH ? ma_login_confirm_device(ctx, l) : MA_OK;
}

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
    r = take_device(ctx, l, step);
    if (r == MA_OK)
        r = ma_login_advance(ctx, l, false);
    if (r == MA_OK)
        r = ma_login_save(ctx, l);
    if (r == MA_OK)
        r = ma_redirect(ctx, ma_login_url(ctx, l));
    if (r == MA_OK && l->new_cookie)
        ma_browser_session_cookie(ctx, l->new_cookie);
    return r;
}

/* Whether a device is done with what the page waits for. */
static int is_answered(struct ma_ctx *ctx, const struct ma_login *l, enum ma_login_step step, bool *ret)
{
    const struct ma_factor_choice *c = ma_login_choice(l, l->st.method);
    bool waits = false, asked = step == MA_STEP_CHALLENGE ? c && c->type == MA_FACTOR_PUSH && l->st.oob.p
                                                          : step == MA_STEP_CONFIRM && l->st.enrol == MA_FACTOR_PUSH;
    int r = asked ? ma_login_waits(ctx, l, step, &waits) : MA_OK;
    *ret = asked && !waits;
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
    case MA_STEP_LEAVING:
        return ma_page_leaving(ctx, l);
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
    bool answered = false;
    r = ma_login_examine(ctx, l, &step);
    if (r == MA_OK)
        r = is_answered(ctx, l, step, &answered);
    if (r < 0)
        return r;
    return answered ? ma_next(ctx, MA_LANE_WRITE, finish) : show(ctx, l, step);
}

/* --- GET /u/login/wait --- */

static int may_ask(struct ma_ctx *ctx, const struct ma_login *l)
{
    enum { POLLS_PER_MINUTE = 60, MINUTE_MS = 60000 };
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_POLL, l->flow.token_mac,
                  ctx->conf->rate_limit.enabled ? POLLS_PER_MINUTE : 0, MINUTE_MS, ctx->now_ms, &s);
    return s.allowed ? MA_OK : ma_problem_retry(ctx, MA_P_TOO_MANY, NULL, s.retry_after_s);
}

int ma_op_login_wait(struct ma_ctx *ctx)
{
    struct ma_login *l = ma_arena_zalloc(ctx->arena, sizeof *l);
    enum ma_login_found found = MA_LOGIN_OVER;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    bool waits = false;
    struct ma_jw w;
    int r = l ? ma_login_load(ctx, ma_query(ctx, "state"), l, &found) : MA_E_NOMEM;
    if (r == MA_OK && found == MA_LOGIN_FINE)
        r = may_ask(ctx, l);
    if (r == MA_OK && found == MA_LOGIN_FINE)
        r = ma_login_examine(ctx, l, &step);
    if (r == MA_OK && found == MA_LOGIN_FINE)
        r = ma_login_waits(ctx, l, step, &waits);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kbool(&w, "waiting", waits);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "no-store");
    ma_header(ctx, "X-Content-Type-Options", "nosniff");
    return ma_reply_end(ctx);
}

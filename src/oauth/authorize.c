/* SPDX-License-Identifier: Apache-2.0
 * GET and POST /authorize (RFC 6749 §4.1, OIDC Core §3.1.2): an answer from the browser's session where it is good
 * enough, else the hosted page; with prompt=none always an answer.
 */
#include "login_int.h"

/* --- single sign-on --- */

static bool session_serves(struct ma_ctx *ctx, const struct ma_authorize_request *q, const struct ma_session *s)
{
    if (q->prompt_login || q->prompt_select || (q->hint_sub.p && !ma_span_eq(q->hint_sub, s->user_id)))
        return false;
    if (q->max_age_s >= 0 && ctx->now_ms - s->authn.auth_at > q->max_age_s * 1000)
        return false;
    const struct ma_state_organization *o =
        q->organization.p ? ma_state_organization(ctx->state, q->organization) : NULL;
    return !q->organization.p || (o && ma_state_is_member(o, s->user_id));
}

/* What the session brings along; st stays empty without one. */
static int adopt_session(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_session s;
    int r = ma_browser_session(ctx, &s);
    l->st = (struct ma_login_state){.user_id = MA_SPAN_NULL};
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r < 0 || !session_serves(ctx, &l->req, &s))
        return r;
    l->st.user_id = s.user_id;
    l->st.session_id = s.id;
    l->st.authn = s.authn;
    return MA_OK;
}

/* --- prompt=none --- */

/* SDKs compare these texts (wire contract 7.1 and 6.3). */
static void silent_error(struct ma_login *l, enum ma_login_step step)
{
    switch (step) {
    case MA_STEP_REFUSED: /* says why itself */
        return;
    case MA_STEP_IDENTIFY:
        l->error = "login_required";
        l->description = "Login required";
        return;
    case MA_STEP_CHALLENGE:
        l->error = "login_required";
        l->description = "Multifactor authentication required";
        return;
    case MA_STEP_CONSENT:
        l->error = "consent_required";
        l->description = "Consent required";
        return;
    default:
        l->error = "interaction_required";
        l->description = "Interaction required";
    }
}

/* What nobody is signed in for leaves no row: anybody could fill the trail. */
static int refuse(struct ma_ctx *ctx, struct ma_login *l)
{
    int r = l->st.user_id.p ? ma_login_audit(ctx, l, l->req.prompt_none ? "fsa" : "f") : MA_OK;
    return r == MA_OK ? ma_respond_error(ctx, &l->req, l->error, l->description) : r;
}

/* WRITE: what is found here is what holds. */
static int carry_out(struct ma_ctx *ctx)
{
    struct ma_login *l = ctx->scratch;
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = adopt_session(ctx, l);
    if (r == MA_OK)
        r = ma_login_examine(ctx, l, &step);
    if (r < 0)
        return r;
    if (step == MA_STEP_DONE)
        return ma_login_issue(ctx, l);
    if (l->req.prompt_none || step == MA_STEP_REFUSED) {
        silent_error(l, step);
        return refuse(ctx, l);
    }
    if (step == MA_STEP_IDENTIFY)
        ma_login_restart(l);
    return ma_login_open(ctx, l);
}

static int fault_page(struct ma_ctx *ctx, const struct ma_authorize_fault *f)
{
    return ma_page(ctx, 400, "This sign-in request is not valid", f->description);
}

int ma_op_authorize(struct ma_ctx *ctx)
{
    struct ma_login *l = ma_arena_zalloc(ctx->arena, sizeof *l);
    struct ma_authorize_fault fault = {NULL, NULL, false};
    if (!l)
        return MA_E_NOMEM;
    ctx->scratch = l;
    int r = ma_authorize_parse(ctx, &l->req, &l->client, &fault);
    if (r < 0)
        return r;
    if (fault.error)
        return fault.page ? fault_page(ctx, &fault) : ma_respond_error(ctx, &l->req, fault.error, fault.description);
    ctx->who.client_id = l->client->client_id;
    if (l->req.prompt_none) { /* answered at once when nobody is signed in: the writer is spared */
        r = adopt_session(ctx, l);
        if (r == MA_OK && !l->st.user_id.p) {
            silent_error(l, MA_STEP_IDENTIFY);
            return ma_respond_error(ctx, &l->req, l->error, l->description);
        }
    }
    if (r == MA_OK)
        r = ma_oauth_flow_limit(ctx);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, carry_out) : r;
}

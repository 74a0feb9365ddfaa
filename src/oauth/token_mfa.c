/* SPDX-License-Identifier: Apache-2.0
 * The three grants that complete an mfa_token: a TOTP code, a code that was sent, a recovery code.
 */
#include "int.h"
#include "ma/limit.h"
#include "ma/push.h"

struct proof {
    struct ma_flow flow;
    struct ma_user user;
    struct ma_pending pending;
};

/* --- the flow --- */

static int refuse_token(struct ma_ctx *ctx)
{
    return ma_oauth_fail(ctx, 403, "invalid_grant", "Malformed mfa_token");
}

static int find(struct ma_ctx *ctx, struct ma_oauth *o, struct proof *p)
{
    int r = ma_flow_find(ctx, "mfa", o->in.mfa_token, &p->flow);
    if (r == MA_E_EXPIRED && p->flow.consumed_at == 0)
        return ma_oauth_fail(ctx, 401, "expired_token", "mfa_token is expired");
    if (r == MA_E_NOTFOUND || r == MA_E_EXPIRED || (r == MA_OK && !ma_span_eq(p->flow.client_id, o->client->client_id)))
        return refuse_token(ctx);
    if (r == MA_OK)
        r = ma_pending_read(ctx, p->flow.data, &p->pending);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, p->flow.user_id, &p->user);
    if (r == MA_E_NOTFOUND)
        return refuse_token(ctx);
    if (r < 0)
        return r;
    if (p->pending.jkt.p && !ma_span_eq(p->pending.jkt, o->jkt))
        return ma_oauth_fail(ctx, 400, "invalid_dpop_proof", "The mfa_token is bound to another DPoP key.");
    ctx->who.user_id = p->user.user_id;
    return MA_OK;
}

/* One more wrong code; the last one ends the mfa_token. */
static int count_miss(struct ma_ctx *ctx, struct proof *p)
{
    p->flow.attempts++;
    int r = p->flow.attempts < MA_FLOW_TRIES ? ma_flow_update(ctx->db, &p->flow)
                                             : ma_flow_consume(ctx->db, p->flow.token_mac, ctx->now_ms);
    return r == MA_E_CONFLICT ? MA_OK : r;
}

static int refuse(struct ma_ctx *ctx, struct proof *p, const struct ma_factor_proof *f, const char *wrong)
{
    int r = f->verdict == MA_SIGNIN_WRONG || f->verdict == MA_SIGNIN_REJECTED ? count_miss(ctx, p) : MA_OK;
    if (r < 0)
        return r;
    ctx->keep = true;
    return ma_oauth_fail_verdict(ctx, f->verdict, f->retry_after_s, wrong);
}

/* Whether the factor is one of those that were asked for. */
static bool counts(const struct proof *p, struct ma_span method_id)
{
    return (p->pending.factors & 1u << ma_factor_of_id(method_id)) != 0;
}

static int factors_of(struct ma_ctx *ctx, const struct proof *p, uint32_t *ret)
{
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    size_t n = 0;
    int r = ma_signin_factors(ctx, &p->user, v, &n);
    *ret = ma_factors_bits(v, n);
    return r;
}

/* A refresh that was held up is no sign-in. */
static int complete(struct ma_ctx *ctx, struct ma_oauth *o, const struct proof *p, uint32_t amr)
{
    int r = ma_mfa_complete(ctx, o, &p->flow, amr);
    return p->pending.family_id.p ? r : ma_signed_in(ctx, o, r);
}

/* --- a factor that is being enrolled (/mfa/associate) --- */

static bool enrols(const struct proof *p, bool totp)
{
    return p->pending.enrol_method.p && (ma_factor_of_id(p->pending.enrol_method) == MA_FACTOR_TOTP) == totp;
}

/* What the confirmation refused in its own words. Nothing but a wrong code is kept. */
static int refuse_new(struct ma_ctx *ctx, struct proof *p, const char *wrong)
{
    if (ctx->resp.status == 429)
        return MA_E_PROBLEM;
    int r = ctx->keep ? count_miss(ctx, p) : MA_OK;
    return r < 0 ? r : ma_oauth_fail(ctx, 403, "invalid_grant", wrong);
}

/* Confirming it shows it: the code proves the new factor. The recovery code that was shown with it holds from now on.
 */
static int confirm_new(struct ma_ctx *ctx, struct ma_oauth *o, struct proof *p, struct ma_span code, const char *wrong)
{
    const struct ma_pending *w = &p->pending;
    struct ma_method_view view;
    uint32_t factors = 0;
    int r = factors_of(ctx, p, &factors);
    if (r < 0)
        return r;
    if (factors != 0) /* enrolled elsewhere since: that factor is to be shown */
        return ma_oauth_fail(ctx, 400, "invalid_request", "User is already enrolled");
    ma_audit_on_failure(ctx, "verify", ma_factor_name(ma_factor_of_id(w->enrol_method)), w->enrol_method);
    r = ma_confirm(ctx, w->enrol_method, w->enrol_session, code, &view);
    if (r == MA_E_PROBLEM)
        return refuse_new(ctx, p, wrong);
    uint32_t amr = r == MA_OK ? ma_amr_of_factors(1u << view.type) : 0;
    if (r == MA_OK && w->recovery_session.p)
        r = ma_confirm(ctx, w->recovery_method, w->recovery_session, MA_SPAN_NULL, &view);
    if (r < 0 && r != MA_E_PROBLEM) /* a recovery code that gave way to a newer one is no loss */
        return r;
    return complete(ctx, o, p, amr);
}

/* --- a device --- */

/* RFC 8628 section 3.5: who asks too often is told so. */
static int refuse_pending(struct ma_ctx *ctx, struct ma_span oob_code)
{
    enum { POLLS = 3, PERIOD_MS = 10000 };
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_POLL, oob_code, ctx->conf->rate_limit.enabled ? POLLS : 0, PERIOD_MS,
                  ctx->now_ms, &s);
    if (s.allowed)
        return ma_oauth_fail_verdict(ctx, MA_SIGNIN_PENDING, 0, "");
    (void)ma_oauth_fail(ctx, 400, "slow_down", "You are polling too quickly. Slow down.");
    ma_header(ctx, "Retry-After", ma_arena_printf(ctx->arena, "%lld", (long long)s.retry_after_s));
    return MA_E_PROBLEM;
}

/* As confirm_new for a device: that it came is what shows it. */
static int confirm_device(struct ma_ctx *ctx, struct ma_oauth *o, struct proof *p)
{
    const struct ma_pending *w = &p->pending;
    struct ma_method_view view;
    bool pending = false;
    uint32_t factors = 0;
    int r = factors_of(ctx, p, &factors);
    if (r < 0)
        return r;
    if (factors != 0) /* enrolled elsewhere since: that factor is to be shown */
        return ma_oauth_fail(ctx, 400, "invalid_request", "User is already enrolled");
    r = ma_push_confirm(ctx, w->enrol_method, w->enrol_session, &pending, &view);
    if (r == MA_E_PROBLEM)
        return refuse_new(ctx, p, "The enrolment has expired.");
    if (r == MA_OK && pending)
        return refuse_pending(ctx, w->enrol_session);
    if (r == MA_OK && w->recovery_session.p)
        r = ma_confirm(ctx, w->recovery_method, w->recovery_session, MA_SPAN_NULL, &view);
    if (r < 0 && r != MA_E_PROBLEM) /* a recovery code that gave way to a newer one is no loss */
        return r;
    return complete(ctx, o, p, ma_amr_of_factors(1u << MA_FACTOR_PUSH));
}

/* --- the grants --- */

static int otp(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_factor_proof f;
    struct proof p;
    int r = find(ctx, o, &p);
    if (r != MA_OK)
        return r;
    if (enrols(&p, true))
        return confirm_new(ctx, o, &p, o->in.otp, "Invalid otp_code.");
    if (!(p.pending.factors & 1u << MA_FACTOR_TOTP))
        return ma_oauth_fail(ctx, 403, "invalid_grant", "Invalid otp_code.");
    r = ma_prove_totp(ctx, &p.user, MA_SPAN_NULL, o->in.otp, &f);
    if (r < 0)
        return r;
    return f.verdict == MA_SIGNIN_OK ? complete(ctx, o, &p, f.amr) : refuse(ctx, &p, &f, "Invalid otp_code.");
}

static int oob(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_factor_proof f;
    struct proof p;
    int r = find(ctx, o, &p);
    if (r != MA_OK)
        return r;
    const bool enrolment = enrols(&p, false) && ma_span_eq(o->in.oob_code, p.pending.enrol_session);
    if (enrolment && ma_factor_of_id(p.pending.enrol_method) == MA_FACTOR_PUSH)
        return confirm_device(ctx, o, &p);
    r = ma_prove_push(ctx, p.flow.token_mac, &p.user, o->in.oob_code, &f);
    if (r == MA_OK && f.verdict == MA_SIGNIN_PENDING)
        return refuse_pending(ctx, o->in.oob_code);
    if (r < 0 && r != MA_E_INVAL)
        return r;
    const bool typed = enrolment || r == MA_E_INVAL;
    if (typed && !o->in.binding_code.p)
        return ma_oauth_missing(ctx, "binding_code");
    if (enrolment)
        return confirm_new(ctx, o, &p, o->in.binding_code, "Invalid binding_code.");
    if (typed)
        r = ma_prove_oob(ctx, p.flow.token_mac, &p.user, o->in.oob_code, o->in.binding_code, &f);
    if (r < 0)
        return r;
    if (f.verdict != MA_SIGNIN_OK || !counts(&p, f.method_id))
        return refuse(ctx, &p, &f, "Invalid binding_code.");
    return complete(ctx, o, &p, f.amr);
}

/* A recovery code stands in for a factor that the user has and cannot show; not where a rule names the factors. */
static int recovery_helps(struct ma_ctx *ctx, const struct ma_oauth *o, const struct proof *p, bool *ret)
{
    struct ma_authn then = {p->pending.authn.auth_at, ctx->now_ms, p->pending.authn.amr | MA_AMR_RECOVERY | MA_AMR_MFA};
    struct ma_granted g;
    const char *why = NULL;
    uint32_t factors = 0;
    int r = factors_of(ctx, p, &factors);
    if (r < 0)
        return r;
    *ret = (factors & p->pending.factors) != 0 &&
           ma_scope_grant(ctx, o->client, &p->user, p->pending.audience, p->pending.scope, &g, &why) &&
           ma_assure(ctx, o->client, &g, factors, &then, !p->pending.family_id.p).verdict == MA_ASSURED;
    return MA_OK;
}

static int recovery(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_factor_proof f;
    struct proof p;
    int r = find(ctx, o, &p);
    if (r != MA_OK)
        return r;
    bool helps = false;
    r = recovery_helps(ctx, o, &p, &helps);
    if (r < 0)
        return r;
    if (!helps)
        return ma_oauth_fail(ctx, 403, "invalid_grant", "MFA Authorization rejected.");
    r = ma_prove_recovery(ctx, &p.user, o->in.recovery_code, &f);
    if (r < 0)
        return r;
    if (f.verdict != MA_SIGNIN_OK)
        return refuse(ctx, &p, &f, "MFA Authorization rejected.");
    r = complete(ctx, o, &p, f.amr);
    if (r == MA_E_NEXT)
        o->issue->recovery_code = f.new_recovery_code;
    return r;
}

int ma_grant_mfa_otp(struct ma_ctx *ctx, struct ma_oauth *o)
{
    if (!o->in.mfa_token.p)
        return ma_oauth_missing(ctx, "mfa_token");
    if (!o->in.otp.p)
        return ma_oauth_missing(ctx, "otp");
    return ma_next(ctx, MA_LANE_WRITE, otp);
}

int ma_grant_mfa_oob(struct ma_ctx *ctx, struct ma_oauth *o)
{
    if (!o->in.mfa_token.p)
        return ma_oauth_missing(ctx, "mfa_token");
    if (!o->in.oob_code.p)
        return ma_oauth_missing(ctx, "oob_code");
    return ma_next(ctx, MA_LANE_WRITE, oob); /* a device needs no binding_code */
}

int ma_grant_mfa_recovery(struct ma_ctx *ctx, struct ma_oauth *o)
{
    if (!o->in.mfa_token.p)
        return ma_oauth_missing(ctx, "mfa_token");
    if (!o->in.recovery_code.p)
        return ma_oauth_missing(ctx, "recovery_code");
    return ma_next(ctx, MA_LANE_WRITE, recovery);
}

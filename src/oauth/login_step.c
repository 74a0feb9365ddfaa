/* SPDX-License-Identifier: Apache-2.0
 * What a login needs next, from what the user has shown and what the request, the client and the policies ask for.
 */
#include "login_int.h"

#define ENROLLABLE                                                                                                     \
    (1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_EMAIL | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_PUSH | MA_FACTORS_WEBAUTHN)

static int refused(struct ma_login *l, const char *error, const char *description, enum ma_login_step *ret)
{
    l->error = error;
    l->description = description;
    *ret = MA_STEP_REFUSED;
    return MA_OK;
}

/* The client hears of it once the user has, who is told what is missing. */
static int unmet(struct ma_login *l, enum ma_login_step *ret)
{
    if (l->req.prompt_none || l->st.left)
        return refused(l, "unmet_authentication_requirements",
                       "The authentication requirements for this API cannot be met. Log in again.", ret);
    *ret = MA_STEP_UNMET;
    return MA_OK;
}

/* --- who it is --- */

/* *ret_known false: nobody yet, or not any more. */
static int find_user(struct ma_ctx *ctx, struct ma_login *l, bool *ret_known)
{
    struct ma_session s;
    *ret_known = false;
    if (!l->st.user_id.p)
        return MA_OK;
    int r = ma_user_get(ctx->db, ctx->arena, l->st.user_id, &l->user);
    if (r == MA_OK && l->st.session_id.p)
        r = ma_session_get(ctx->db, ctx->arena, l->st.user_id, l->st.session_id, ctx->now_ms, &s);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r < 0)
        return r;
    *ret_known = true;
    ctx->who.user_id = l->user.user_id;
    ctx->who.client_id = l->client->client_id;
    ctx->who.user_known = true;
    ctx->who.has_database = l->user.connection.p != NULL;
    return MA_OK;
}

/* Whether this user may have what is asked at all; *ret is DONE then. */
static int may_have(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret)
{
    const char *why = NULL;
    const struct ma_state_organization *o =
        l->req.organization.p ? ma_state_organization(ctx->state, l->req.organization) : NULL;
    *ret = MA_STEP_DONE;
    if (l->user.blocked)
        return refused(l, "access_denied", "user is blocked", ret);
    if (ma_user_is_leaving(&l->user) && !ma_user_may_return(&l->user, ctx->now_ms))
        return refused(l, "access_denied", "The account is deleted", ret);
    if (l->req.hint_sub.p && !ma_span_eq(l->req.hint_sub, l->user.user_id))
        return refused(l, "login_required", "Another user signed in than the one of the id_token_hint", ret);
    if (l->req.organization.p && !(o && ma_state_is_member(o, l->user.user_id)))
        return refused(l, "access_denied", "user is not part of the organization", ret);
    if (!ma_scope_grant(ctx, l->client, &l->user, l->req.audience, l->req.scope, &l->granted, &why))
        return refused(l, "access_denied", why ? why : "Access denied", ret);
    return MA_OK;
}

/* --- how well they showed it --- */

/* The classic way to ask for a second factor: acr_values (wire contract 6.4). */
static struct ma_assurance_out assure(struct ma_ctx *ctx, const struct ma_login *l, const struct ma_authn *authn,
                                      uint32_t factors)
{
    struct ma_assurance_out out = ma_assure(ctx, l->client, &l->granted, factors, authn, l->st.fresh);
    if (out.verdict != MA_ASSURED || !ma_authorize_wants_mfa(&l->req) ||
        ma_assurance_mfa_at(authn, ctx->conf->policy.passkey_satisfies_2fa) != 0)
        return out;
    out.offer = false;
    out.factors = factors ? factors : ENROLLABLE;
    out.verdict = factors ? MA_ASSURE_CHALLENGE : l->st.fresh ? MA_ASSURE_ENROLL : MA_ASSURE_UNMET;
    return out;
}

static bool recovery_helps(struct ma_ctx *ctx, const struct ma_login *l, uint32_t factors)
{
    struct ma_authn then = l->st.authn;
    then.amr |= MA_AMR_RECOVERY | MA_AMR_MFA;
    then.mfa_at = ctx->now_ms;
    return assure(ctx, l, &then, factors).verdict == MA_ASSURED;
}

/* Leaves those choices that bring the user on. */
static void narrow(struct ma_ctx *ctx, struct ma_login *l, uint32_t wanted, uint32_t factors)
{
    bool recovery = recovery_helps(ctx, l, factors);
    size_t n = 0;
    for (size_t i = 0; i < l->n_choices; i++) {
        enum ma_factor type = l->choices[i].type;
        if (type == MA_FACTOR_RECOVERY ? recovery : (wanted & 1u << type) != 0)
            l->choices[n++] = l->choices[i];
    }
    l->n_choices = n;
}

static bool has_factor(const struct ma_login *l)
{
    for (size_t i = 0; i < l->n_choices; i++)
        if (l->choices[i].type != MA_FACTOR_RECOVERY)
            return true;
    return false;
}

static uint32_t enrollable(struct ma_ctx *ctx, const struct ma_login *l, uint32_t wanted)
{
    uint32_t open = ENROLLABLE & ma_factors_open(ctx) & (wanted ? wanted : ENROLLABLE);
    if ((l->st.authn.amr & MA_AMR_PASSKEY) && !(l->st.authn.amr & MA_AMR_PWD)) /* no second factor after another one */
        open &= ~(1u << MA_FACTOR_PASSKEY);
    return l->user.email.p ? open : open & ~(1u << MA_FACTOR_EMAIL);
}

/* A silent request cannot sign in again; everybody else can, where that helps. */
static int sign_in_again(struct ma_login *l, bool helps, enum ma_login_step *ret)
{
    if (l->req.prompt_none || !helps)
        return unmet(l, ret);
    *ret = MA_STEP_IDENTIFY;
    return MA_OK;
}

static int enrol(struct ma_login *l, enum ma_login_step *ret)
{
    if (!l->enrol_open || !l->st.fresh)
        return sign_in_again(l, !l->st.fresh, ret);
    *ret = l->st.enrol ? MA_STEP_CONFIRM : MA_STEP_ENROL;
    return MA_OK;
}

static int judge(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret)
{
    int r = ma_signin_factors(ctx, &l->user, l->choices, &l->n_choices);
    if (r < 0)
        return r;
    uint32_t factors = ma_factors_bits(l->choices, l->n_choices);
    struct ma_assurance_out out = assure(ctx, l, &l->st.authn, factors);
    l->assured = out.verdict == MA_ASSURED;
    l->missing = out.factors;
    l->enrol_open = enrollable(ctx, l, out.factors);
    switch (out.verdict) {
    case MA_ASSURED:
        if (out.offer && l->st.fresh && l->enrol_open && !l->st.declined)
            *ret = l->st.enrol ? MA_STEP_CONFIRM : MA_STEP_OFFER;
        return MA_OK;
    case MA_ASSURE_CHALLENGE:
        narrow(ctx, l, out.factors, factors);
        *ret = MA_STEP_CHALLENGE;
        return has_factor(l) ? MA_OK : sign_in_again(l, !l->st.fresh, ret);
    case MA_ASSURE_ENROLL:
        return enrol(l, ret);
    case MA_ASSURE_UNMET: /* the sign-in is too old */
    default:
        return sign_in_again(l, true, ret);
    }
}

static int consent(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret)
{
    bool covered = false;
    int r = ma_consent_covers(ctx, l->client, l->user.user_id, &l->granted, &covered);
    if (r < 0 || l->st.consented || (covered && !l->req.prompt_consent))
        return r;
    if (l->st.denied)
        return refused(l, "access_denied", "User did not authorize the request", ret);
    *ret = MA_STEP_CONSENT;
    return MA_OK;
}

/* Once everything was shown that the user has to show: before the account may be set up further or used. */
static int leaving(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret)
{
    bool shown = *ret == MA_STEP_DONE || *ret == MA_STEP_OFFER || *ret == MA_STEP_ENROL;
    if (!shown || !ma_leaving_stops(ctx, &l->user, &l->granted))
        return MA_OK;
    if (l->st.left)
        return refused(l, "access_denied", "The user lets the account be deleted", ret);
    *ret = MA_STEP_LEAVING;
    return MA_OK;
}

int ma_login_examine(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret)
{
    bool known = false;
    *ret = MA_STEP_IDENTIFY;
    l->assured = false;
    int r = find_user(ctx, l, &known);
    if (r < 0 || !known)
        return r;
    r = may_have(ctx, l, ret);
    if (r < 0 || *ret != MA_STEP_DONE)
        return r;
    if (l->st.recovery.p) {
        *ret = MA_STEP_RECOVERY;
        return MA_OK;
    }
    r = judge(ctx, l, ret);
    if (r == MA_OK)
        r = leaving(ctx, l, ret);
    return r == MA_OK && *ret == MA_STEP_DONE ? consent(ctx, l, ret) : r;
}

/* --- the second factor to ask for --- */

const struct ma_factor_choice *ma_login_choice(const struct ma_login *l, struct ma_span method)
{
    for (size_t i = 0; method.p && i < l->n_choices; i++)
        if (ma_span_eq(l->choices[i].id, method))
            return &l->choices[i];
    return NULL;
}

/* Lower comes first among those never used: a device that was enrolled to be asked (an authenticator came with it),
 * what costs no message, then what works without a script. */
static int rank(enum ma_factor type)
{
    switch (type) {
    case MA_FACTOR_PUSH:
        return 0;
    case MA_FACTOR_TOTP:
        return 1;
    case MA_FACTOR_PHONE:
        return 2;
    case MA_FACTOR_EMAIL:
        return 3;
    case MA_FACTOR_RECOVERY:
        return 5;
    default:
        return 4;
    }
}

static bool before(const struct ma_factor_choice *a, const struct ma_factor_choice *b)
{
    if ((a->type == MA_FACTOR_RECOVERY) != (b->type == MA_FACTOR_RECOVERY))
        return b->type == MA_FACTOR_RECOVERY;
    if (a->last_auth_at != b->last_auth_at)
        return a->last_auth_at > b->last_auth_at;
    return rank(a->type) < rank(b->type);
}

static const struct ma_factor_choice *preferred(const struct ma_login *l)
{
    const struct ma_factor_choice *best = &l->choices[0];
    for (size_t i = 1; i < l->n_choices; i++)
        if (before(&l->choices[i], best))
            best = &l->choices[i];
    return best;
}

static void forget_method(struct ma_login *l)
{
    l->st.method = l->st.oob = l->st.key = l->st.number = MA_SPAN_NULL;
}

int ma_login_advance(struct ma_ctx *ctx, struct ma_login *l, bool may_send)
{
    enum ma_login_step step = MA_STEP_IDENTIFY;
    int r = ma_login_examine(ctx, l, &step);
    if (r < 0)
        return r;
    if (l->first_shown && (step == MA_STEP_CHALLENGE || step == MA_STEP_ENROL))
        r = ma_login_audit(ctx, l, "mfar");
    if (r < 0)
        return r;
    if (step == MA_STEP_CHALLENGE)
        return ma_login_choice(l, l->st.method) ? MA_OK : ma_login_choose(ctx, l, preferred(l)->id, may_send);
    forget_method(l);
    if (l->assured && !l->st.session_id.p && step != MA_STEP_LEAVING)
        return ma_browser_session_begin(ctx, l->user.user_id, l->req.organization, &l->st.authn, &l->st.session_id,
                                        &l->new_cookie);
    return MA_OK;
}

/* --- the end --- */

/* What was shown here joins the session, unless it knows better already. */
static int settle_session(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_session s;
    int r = ma_session_get(ctx->db, ctx->arena, l->user.user_id, l->st.session_id, ctx->now_ms, &s);
    if (r < 0)
        return r;
    if (l->st.authn.mfa_at > s.authn.mfa_at)
        s.authn = l->st.authn;
    else
        l->st.authn = s.authn;
    if (l->req.organization.p)
        s.org_id = l->req.organization;
    return ma_browser_session_touch(ctx, &s);
}

int ma_login_issue(struct ma_ctx *ctx, struct ma_login *l)
{
    char code[MA_TOKEN_LEN + 1];
    int r = settle_session(ctx, l);
    if (r < 0)
        return r;
    l->req.granted_scope = l->granted.scope;
    l->req.granted_audience = l->granted.audience;
    l->req.org_id = l->req.organization;
    l->req.authn = l->st.authn;
    r = ma_code_make(ctx, &l->req, l->user.user_id, l->st.session_id, code);
    if (r == MA_OK)
        r = ma_audit_signed_in(ctx, l->req.prompt_none ? "ssa" : "s", &l->user, l->client->client_id, &l->st.authn);
    return r == MA_OK ? ma_respond_code(ctx, &l->req, ma_arena_strdup(ctx->arena, ma_span_str(code))) : r;
}

int ma_login_audit(struct ma_ctx *ctx, const struct ma_login *l, const char *type)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    if (l->error) {
        ma_jw_kcstr(&w, "error", l->error);
        ma_jw_kcstr(&w, "error_description", l->description);
    }
    ma_jw_obj_end(&w);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    return ma_audit_signin(ctx, type, l->st.user_id, l->client->client_id, l->error ? ma_buf_view(&b) : MA_LIT(""));
}

int ma_login_finish_flow(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step step)
{
    int r = ma_login_consume(ctx, l);
    if (r == MA_E_CONFLICT)
        return ma_login_refuse(ctx, l, MA_LOGIN_OVER);
    if (r == MA_OK && step == MA_STEP_REFUSED)
        r = ma_login_audit(ctx, l, "f");
    if (r == MA_OK)
        r = step == MA_STEP_REFUSED ? ma_respond_error(ctx, &l->req, l->error, l->description) : ma_login_issue(ctx, l);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * A second factor before the tokens: the mfa_token, what it waits for, and going on once it was shown.
 */
#include "int.h"

#include "ma/codec.h"

const char *ma_mfa_type(enum ma_factor f)
{
    return f == MA_FACTOR_TOTP ? "otp" : ma_factor_name(f);
}

/* --- asking --- */

static int open_flow(struct ma_ctx *ctx, const struct ma_issue *is, const struct ma_family *f, int64_t generation,
                     uint32_t factors, char token[MA_TOKEN_LEN + 1])
{
    struct ma_pending p = {
        .audience = is->granted.audience,
        .scope = is->granted.scope,
        .org_id = is->org_id,
        .nonce = is->nonce,
        .session_id = is->session_id,
        .jkt = is->jkt,
        .gty = ma_span_str(is->gty),
        .family_id = f ? f->id : MA_SPAN_NULL,
        .generation = generation,
        .authn = is->authn,
        .factors = factors,
    };
    struct ma_flow row = {
        .kind = MA_LIT("mfa"),
        .user_id = is->user.user_id,
        .client_id = is->client->client_id,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + MA_MFA_TTL_MS,
    };
    int r = ma_pending_write(ctx, &p, &row.data);
    return r == MA_OK ? ma_flow_open(ctx, &row, token) : r;
}

static void put_type(struct ma_jw *w, enum ma_factor f)
{
    ma_jw_obj(w);
    ma_jw_kcstr(w, "type", ma_mfa_type(f));
    ma_jw_obj_end(w);
}

/* What an application may enrol at /mfa/associate; where that is nothing, what the hosted page can. */
static uint32_t enrollable(const struct ma_ctx *ctx, uint32_t wanted)
{
    const uint32_t here = 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL | 1u << MA_FACTOR_PUSH;
    uint32_t on = wanted & ma_factors_enabled(ctx);
    return on & here ? on & here : on & MA_FACTORS_WEBAUTHN;
}

/* Each type once; a recovery code stands in for any factor. */
static void put_requirements(struct ma_jw *w, const struct ma_assurance_out *need, const struct ma_factor_choice *v,
                             size_t n)
{
    uint32_t shown = 0;
    bool enrol = need->verdict == MA_ASSURE_ENROLL;
    ma_jw_key(w, "mfa_requirements");
    ma_jw_obj(w);
    ma_jw_key(w, enrol ? "enroll" : "challenge");
    ma_jw_arr(w);
    for (int f = 0; enrol && f < MA_FACTOR__COUNT; f++)
        if (need->factors & 1u << f)
            put_type(w, (enum ma_factor)f);
    for (size_t i = 0; !enrol && i < n; i++) {
        uint32_t bit = 1u << v[i].type;
        if ((shown & bit) || !((need->factors | 1u << MA_FACTOR_RECOVERY) & bit))
            continue;
        shown |= bit;
        put_type(w, v[i].type);
    }
    ma_jw_arr_end(w);
    ma_jw_obj_end(w);
}

int ma_mfa_required(struct ma_ctx *ctx, const struct ma_issue *is, const struct ma_family *f, int64_t generation,
                    const struct ma_assurance_out *need, const struct ma_factor_choice *choices, size_t n)
{
    char token[MA_TOKEN_LEN + 1];
    struct ma_jw w;
    struct ma_assurance_out asked = *need;
    if (need->verdict == MA_ASSURE_ENROLL)
        asked.factors = enrollable(ctx, need->factors);
    if (asked.factors == 0)
        return ma_oauth_unmet(ctx);
    int r = open_flow(ctx, is, f, generation, asked.factors, token);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "mfar", is->user.user_id, is->client->client_id, MA_SPAN_NULL);
    if (r < 0)
        return r;
    ctx->keep = true;
    ma_reply_json(ctx, 403, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "error", "mfa_required");
    ma_jw_kcstr(&w, "error_description", "Multifactor authentication required");
    ma_jw_kcstr(&w, "mfa_token", token);
    put_requirements(&w, &asked, choices, n);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_buf_err(&ctx->resp.body) < 0 ? ma_buf_err(&ctx->resp.body) : MA_E_PROBLEM;
}

/* --- going on --- */

static int refuse(struct ma_ctx *ctx)
{
    return ma_oauth_fail(ctx, 403, "invalid_grant", "Malformed mfa_token");
}

/* The grant may have shrunk while the user looked for the phone: it is asked again. */
static int grant_again(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_pending *p, struct ma_issue *is)
{
    const char *why = NULL;
    if (is->user.blocked)
        return ma_oauth_fail(ctx, 403, "unauthorized", "user is blocked");
    if (!ma_scope_grant(ctx, o->client, &is->user, p->audience, p->scope, &is->granted, &why))
        return ma_oauth_fail(ctx, 403, "access_denied", why);
    int r = ma_refuse_leaving(ctx, &is->user, &is->granted);
    if (r == MA_OK)
        r = ma_require_consent(ctx, is);
    return r == MA_OK ? ma_still_member(ctx, p->org_id, is->user.user_id) : r;
}

/* What was shown is the second factor now; the first one stays. Bits of earlier second factors must not go on under the
 * new time: a rule may ask for one of them. */
static struct ma_authn stepped_up(const struct ma_ctx *ctx, const struct ma_authn *before, uint32_t amr)
{
    return (struct ma_authn){before->auth_at, ctx->now_ms, ma_amr_first(before->amr) | amr | MA_AMR_MFA};
}

/* The factor that was shown may not be the one that a rule asks for: then the next one is due. */
static int assure_again(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_pending *p)
{
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    struct ma_family f;
    size_t n = 0;
    bool refresh = p->family_id.p != NULL;
    int r = ma_signin_factors(ctx, &is->user, v, &n);
    if (r == MA_OK && refresh)
        r = ma_family_get(ctx->db, ctx->arena, p->family_id, &f);
    if (r == MA_E_NOTFOUND)
        return ma_oauth_fail(ctx, 403, "invalid_grant", "Unknown or invalid refresh token.");
    if (r < 0)
        return r;
    struct ma_assurance_out a = ma_assure(ctx, is->client, &is->granted, ma_factors_bits(v, n), &is->authn, !refresh);
    is->token_until_ms = a.token_until_ms;
    if (a.verdict == MA_ASSURED)
        return MA_OK;
    if (a.verdict == MA_ASSURE_UNMET)
        return ma_oauth_unmet(ctx);
    return ma_mfa_required(ctx, is, refresh ? &f : NULL, p->generation, &a, v, n);
}

static int continue_family(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_pending *p)
{
    struct ma_family f;
    int r = ma_family_get(ctx->db, ctx->arena, p->family_id, &f);
    bool over = r == MA_E_NOTFOUND ||
                (r == MA_OK && (f.revoked_at || (f.expires_at && f.expires_at <= ctx->now_ms) ||
                                (f.idle_at && f.idle_at <= ctx->now_ms) || !ma_span_eq(f.user_id, is->user.user_id) ||
                                !ma_span_eq(f.client_id, is->client->client_id)));
    if (over)
        return ma_oauth_fail(ctx, 403, "invalid_grant", "Unknown or invalid refresh token.");
    if (r == MA_OK)
        r = ma_family_step_up(ctx->db, f.user_id, f.id, &is->authn);
    /* The token that was shown may have a successor by now; whoever passed the challenge gets the newest. */
    if (r == MA_OK)
        r = ma_family_continue(ctx, is, &f, f.generation);
    return r;
}

int ma_mfa_complete(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_flow *flow, uint32_t amr)
{
    struct ma_issue *is = ma_arena_zalloc(ctx->arena, sizeof *is);
    char family[MA_FAMILY_ID_LEN + 1];
    struct ma_pending p;
    if (!is)
        return MA_E_NOMEM;
    int r = ma_pending_read(ctx, flow->data, &p);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, flow->user_id, &is->user);
    if (r < 0)
        return r == MA_E_NOTFOUND ? refuse(ctx) : r;
    is->client = o->client;
    r = grant_again(ctx, o, &p, is);
    if (r == MA_OK)
        r = ma_flow_consume(ctx->db, flow->token_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT)
        return refuse(ctx);
    if (r != MA_OK)
        return r;
    ctx->keep = true; /* the factor was used, whatever comes of it */
    is->authn = stepped_up(ctx, &p.authn, amr);
    is->org_id = p.org_id;
    is->nonce = p.nonce;
    is->session_id = p.session_id;
    is->jkt = p.jkt.p ? p.jkt : o->jkt;
    is->gty = p.gty.p ? (const char *)p.gty.p : NULL;
    o->issue = is;
    r = assure_again(ctx, is, &p);
    if (r == MA_OK)
        r = p.family_id.p ? continue_family(ctx, is, &p) : ma_family_begin(ctx, is, family);
    return r == MA_OK ? ma_next(ctx, MA_LANE_READ, ma_issue_reply) : r;
}

int ma_login_finish(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_user *user, const struct ma_authn *authn,
                    const char *gty)
{
    struct ma_issue *is = ma_arena_zalloc(ctx->arena, sizeof *is);
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    char family[MA_FAMILY_ID_LEN + 1];
    size_t n = 0;
    const char *why = NULL;
    if (!is)
        return MA_E_NOMEM;
    *is = (struct ma_issue){.client = o->client, .user = *user, .authn = *authn, .jkt = o->jkt, .gty = gty};
    o->issue = is;
    if (!ma_scope_grant(ctx, o->client, user, o->in.audience, o->in.scope, &is->granted, &why))
        return ma_oauth_fail(ctx, 403, "access_denied", why);
    int r = ma_oauth_require_dpop(ctx, o, is->granted.audience);
    if (r == MA_OK)
        r = ma_refuse_leaving(ctx, user, &is->granted);
    if (r == MA_OK)
        r = ma_require_consent(ctx, is);
    if (r == MA_OK)
        r = ma_organization_of(ctx, o->in.organization, user->user_id, &is->org_id);
    if (r == MA_OK)
        r = ma_signin_factors(ctx, user, v, &n);
    if (r != MA_OK)
        return r;
    struct ma_assurance_out a = ma_assure(ctx, o->client, &is->granted, ma_factors_bits(v, n), authn, true);
    if (a.verdict == MA_ASSURE_CHALLENGE || a.verdict == MA_ASSURE_ENROLL)
        return ma_mfa_required(ctx, is, NULL, 0, &a, v, n);
    if (a.verdict == MA_ASSURE_UNMET)
        return ma_oauth_unmet(ctx);
    is->token_until_ms = a.token_until_ms;
    r = ma_family_begin(ctx, is, family);
    return r == MA_OK ? ma_next(ctx, MA_LANE_READ, ma_issue_reply) : r;
}

int ma_organization_of(struct ma_ctx *ctx, struct ma_span wanted, struct ma_span user_id, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    if (!wanted.p)
        return MA_OK;
    const struct ma_state_organization *o = ma_state_organization(ctx->state, wanted);
    if (!o || !ma_state_is_member(o, user_id))
        return ma_oauth_fail(ctx, 403, "access_denied", "The user is not a member of this organization.");
    *ret = o->id;
    return MA_OK;
}

int ma_still_member(struct ma_ctx *ctx, struct ma_span org_id, struct ma_span user_id)
{
    struct ma_span same;
    return ma_organization_of(ctx, org_id, user_id, &same);
}

int ma_require_consent(struct ma_ctx *ctx, const struct ma_issue *is)
{
    bool covered = false;
    int r = ma_consent_covers(ctx, is->client, is->user.user_id, &is->granted, &covered);
    if (r < 0)
        return r;
    return covered ? MA_OK : ma_oauth_fail(ctx, 403, "consent_required", "Consent required");
}

int ma_oauth_unmet(struct ma_ctx *ctx)
{
    return ma_oauth_fail(ctx, 403, "unmet_authentication_requirements",
                         "The authentication requirements for this API cannot be met. Log in again.");
}

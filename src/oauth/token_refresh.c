/* SPDX-License-Identifier: Apache-2.0
 * The refresh token grant (RFC 6749 §6), for one audience at a time, with the assurance question asked
 * anew each time.
 */
#include "int.h"

enum { AGAIN_S = 2 }; /* when to try again after a failure of ours */

#define UNKNOWN "Unknown or invalid refresh token."

struct refusal {
    struct ma_span user_id;
    const char *why;
};

/* WRITE: the row, then the answer. */
static int note(struct ma_ctx *ctx)
{
    const struct refusal *f = ((struct ma_oauth *)ctx->scratch)->more;
    int r = ma_audit_signin(ctx, "fertft", f->user_id, ctx->who.client_id, MA_SPAN_NULL);
    if (r < 0)
        return r;
    ctx->keep = true;
    return ma_oauth_fail(ctx, 403, "invalid_grant", f->why);
}

/* One row a minute and family; what is refused otherwise costs no write. In any lane: the writer is entered, or gone
 * through again, for the row alone. */
static int refuse(struct ma_ctx *ctx, const struct ma_family *family, const char *why)
{
    struct ma_oauth *o = ctx->scratch;
    if (!ma_gate_notice(ctx, "refresh", family->id))
        return ma_oauth_fail(ctx, 403, "invalid_grant", why);
    struct refusal *f = ma_arena_zalloc(ctx->arena, sizeof *f);
    if (!f)
        return MA_E_NOMEM;
    *f = (struct refusal){family->user_id, why};
    o->more = f;
    return ma_next(ctx, MA_LANE_WRITE, note);
}

static bool is_over(const struct ma_ctx *ctx, const struct ma_family *f)
{
    return f->revoked_at || (f->expires_at && f->expires_at <= ctx->now_ms) ||
           (f->idle_at && f->idle_at <= ctx->now_ms);
}

static int find(struct ma_ctx *ctx, struct ma_oauth *o, struct ma_family *f, int64_t *generation)
{
    int r = ma_refresh_find(ctx, o->in.refresh_token, f, generation);
    if (r == MA_E_AUTH) /* what belongs to nobody leaves no row: anybody could fill the trail */
        return ma_oauth_fail(ctx, 403, "invalid_grant", UNKNOWN);
    if (r < 0)
        return r;
    if (is_over(ctx, f) || !ma_span_eq(f->client_id, o->client->client_id))
        return refuse(ctx, f, UNKNOWN);
    if (f->jkt.p && !ma_span_eq(f->jkt, o->jkt)) /* RFC 9449 §5 */
        return refuse(ctx, f, "The refresh token is bound to another DPoP key.");
    return MA_OK;
}

static int find_user(struct ma_ctx *ctx, const struct ma_family *f, struct ma_user *ret)
{
    int r = ma_user_get(ctx->db, ctx->arena, f->user_id, ret);
    if (r == MA_E_NOTFOUND)
        return refuse(ctx, f, "The refresh_token was generated for a user who doesn't exist anymore.");
    if (r == MA_OK && ret->blocked)
        return refuse(ctx, f, "user is blocked");
    if (r == MA_OK && ma_user_is_leaving(ret))
        return refuse(ctx, f, "The account is about to be deleted.");
    return r;
}

/* Assurance before anything changes: a token that must wait for a second factor is not used up. */
static int assure(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_family *f, int64_t generation)
{
    struct ma_factor_choice v[MA_FACTORS_SHOWN_MAX];
    size_t n = 0;
    int r = ma_signin_factors(ctx, &is->user, v, &n);
    if (r < 0)
        return r;
    struct ma_assurance_out a = ma_assure(ctx, is->client, &is->granted, ma_factors_bits(v, n), &is->authn, false);
    is->token_until_ms = a.token_until_ms;
    switch (a.verdict) {
    case MA_ASSURED:
        return MA_OK;
    case MA_ASSURE_CHALLENGE:
    case MA_ASSURE_ENROLL:
        return ma_mfa_required(ctx, is, f, generation, &a, v, n);
    case MA_ASSURE_UNMET:
        break;
    }
    return ma_oauth_unmet(ctx);
}

/* What a rotated token's answer needs if it cannot be given. */
struct rotation {
    struct ma_family before;
    int failed;
};

/* Nothing was changed, says a 503: the token that was shown must go on working, for its successor is in no hands. */
static int give_back(struct ma_ctx *ctx)
{
    const struct rotation *ro = ((struct ma_oauth *)ctx->scratch)->more;
    int r = ma_family_rotate_back(ctx->db, &ro->before);
    if (r < 0 && r != MA_E_CONFLICT) /* revoked or used meanwhile: there is nothing to give back */
        return r;
    ctx->keep = true;
    ma_log(ctx->log, MA_LOG_ERROR, "token.given_back", MA_KV_S("error", ma_err_name(ro->failed)),
           MA_KV_S("request_id", ctx->request_id));
    return ma_problem_retry(ctx, MA_P_UNAVAILABLE, NULL, AGAIN_S);
}

static int answer(struct ma_ctx *ctx)
{
    struct rotation *ro = ((struct ma_oauth *)ctx->scratch)->more;
    int r = ma_issue_reply(ctx);
    if (r == MA_OK || r == MA_E_PROBLEM || r == MA_E_NEXT || !ro)
        return r;
    ro->failed = r;
    return ma_next(ctx, MA_LANE_WRITE, give_back);
}

static int rotate(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_family *f, int64_t generation)
{
    struct ma_oauth *o = ctx->scratch;
    struct rotation *ro = ma_arena_zalloc(ctx->arena, sizeof *ro);
    if (!ro)
        return MA_E_NOMEM;
    ro->before = *f;
    o->more = is->client->refresh.rotating ? ro : NULL;
    return ma_family_continue(ctx, is, f, generation);
}

static int exchange(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct ma_issue *is = ma_arena_zalloc(ctx->arena, sizeof *is);
    struct ma_family f;
    int64_t generation = 0;
    const char *why = NULL;
    if (!is)
        return MA_E_NOMEM;
    o->issue = is;
    int r = find(ctx, o, &f, &generation);
    if (r == MA_OK)
        r = find_user(ctx, &f, &is->user);
    if (r != MA_OK)
        return r;
    o->more = NULL;
    is->client = o->client;
    is->authn = f.authn;
    is->org_id = f.org_id;
    is->session_id = f.session_id;
    is->jkt = o->jkt;
    is->gty = "refresh_token";
    /* Reuse is judged before anything that could be refused: a stolen token's first sign must not wait. */
    bool old = generation != f.generation;
    if (old)
        r = ma_family_continue(ctx, is, &f, generation);
    if (r == MA_E_AUTH) {
        ctx->keep = true;
        return ma_oauth_fail(ctx, 403, "invalid_grant", UNKNOWN);
    }
    if (r != MA_OK)
        return r;
    if (!ma_scope_refresh(ctx, o->client, &is->user, &f, o->in.audience, o->in.scope, &is->granted, &why))
        return ma_oauth_fail(ctx, 403, "access_denied", why);
    r = ma_oauth_require_dpop(ctx, o, is->granted.audience);
    if (r == MA_OK)
        r = ma_require_consent(ctx, is);
    if (r == MA_OK)
        r = ma_still_member(ctx, f.org_id, f.user_id);
    if (r == MA_OK) /* within the leeway an old one gets the answer of the first */
        r = assure(ctx, is, &f, f.generation);
    if (r == MA_OK && !old)
        r = rotate(ctx, is, &f, generation);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "sertft", f.user_id, f.client_id, MA_SPAN_NULL);
    return r == MA_OK ? ma_next(ctx, MA_LANE_READ, answer) : r;
}

int ma_grant_refresh(struct ma_ctx *ctx, struct ma_oauth *o)
{
    struct ma_family f;
    struct ma_user u;
    int64_t generation = 0;
    if (!o->in.refresh_token.p)
        return ma_oauth_fail(ctx, 400, "invalid_request", "Missing Refresh Token");
    /* What is no good is told here, without the writer; what seems good is judged again by it. */
    int r = find(ctx, o, &f, &generation);
    if (r == MA_OK)
        r = find_user(ctx, &f, &u);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, exchange) : r;
}

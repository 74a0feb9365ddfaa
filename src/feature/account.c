/* SPDX-License-Identifier: Apache-2.0
 * Signing out, and taking consents back.
 */
#include "ma/account.h"

#include "int.h"
#include "ma/codec.h"

#define SESSION_DONE "my_account_session_succeeded"
#define SESSION_FAILED "my_account_session_failed"
#define CONSENT_DONE "my_account_consent_succeeded"
#define CONSENT_FAILED "my_account_consent_failed"
#define SESSION_PREFIX "ses_"
enum { DETAIL_MAX = 2048 };

struct ma_place ma_place_of(const struct ma_ctx *ctx)
{
    char ip[MA_ADDR_TEXT];
    struct ma_span agent = ctx->req.user_agent;
    if (agent.n > MA_AGENT_KEPT_MAX)
        agent.n = MA_AGENT_KEPT_MAX;
    while (agent.n > 0 && !ma_utf8_valid(agent)) /* cut within a character */
        agent.n--;
    ma_addr_format(&ctx->req.client, ip);
    return (struct ma_place){ip[0] ? ma_arena_dup(ctx->arena, ma_span_str(ip)) : MA_SPAN_NULL,
                             agent.n ? agent : MA_SPAN_NULL};
}

/* The session of the request's token, where the own issuer says so. */
static struct ma_span own_sid(const struct ma_ctx *ctx)
{
    return ctx->who.jti.p ? ctx->who.sid : MA_SPAN_NULL;
}

bool ma_signin_is_current(const struct ma_ctx *ctx, const struct ma_signin_row *row)
{
    struct ma_span sid = own_sid(ctx);
    return sid.p && ma_span_eq(sid, row->session_id.p ? row->session_id : row->id);
}

static struct ma_span detail_of(struct ma_buf *b)
{
    return ma_buf_err(b) < 0 ? MA_LIT("{}") : ma_buf_view(b);
}

static int no_session(struct ma_ctx *ctx)
{
    return ma_problem(ctx, MA_P_NO_RESOURCE, "The session does not exist.");
}

static bool is_session_id(struct ma_span id)
{
    const size_t n = sizeof SESSION_PREFIX - 1;
    return id.n > n && memcmp(id.p, SESSION_PREFIX, n) == 0;
}

int ma_account_sign_out(struct ma_ctx *ctx, struct ma_span id)
{
    struct ma_session s;
    struct ma_buf b;
    struct ma_jw w;
    bool browser = is_session_id(id);
    ma_audit_failure_as(ctx, SESSION_FAILED, "delete");
    int r = browser ? ma_session_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &s) : MA_OK;
    if (r == MA_OK)
        r = browser ? ma_signin_end_session(ctx->db, ctx->who.user_id, id, ctx->now_ms)
                    : ma_signin_end_family(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms);
    if (r == MA_E_NOTFOUND)
        return no_session(ctx);
    if (r == MA_OK)
        r = ma_push_pending_end(ctx->db, ctx->who.user_id);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    ma_buf_init_arena(&b, ctx->arena, 128, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "session_id", id);
    ma_jw_kcstr(&w, "kind", browser ? "browser" : "application");
    ma_jw_obj_end(&w);
    return ma_audit_operation(ctx, SESSION_DONE, "delete", detail_of(&b));
}

int ma_account_sign_out_others(struct ma_ctx *ctx)
{
    struct ma_signins_ended ended;
    ma_audit_failure_as(ctx, SESSION_FAILED, "delete_others");
    int r = ma_signins_end(ctx->db, ctx->who.user_id, own_sid(ctx), ctx->now_ms, &ended);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    const char *detail = ma_arena_printf(ctx->arena, "{\"ended\":{\"sessions\":%lld,\"refresh_tokens\":%lld}}",
                                         (long long)ended.sessions, (long long)ended.families);
    return detail ? ma_audit_operation(ctx, SESSION_DONE, "delete_others", ma_span_str(detail)) : MA_E_NOMEM;
}

int ma_account_withdraw(struct ma_ctx *ctx, struct ma_span consent_id)
{
    struct ma_consent c;
    struct ma_buf b;
    struct ma_jw w;
    ma_audit_failure_as(ctx, CONSENT_FAILED, "delete");
    int r = ma_consent_get(ctx->db, ctx->arena, ctx->who.user_id, consent_id, &c);
    if (r == MA_E_NOTFOUND || (r == MA_OK && c.expires_at && c.expires_at <= ctx->now_ms))
        return ma_problem(ctx, MA_P_NO_RESOURCE, "The consent does not exist.");
    if (r == MA_OK)
        r = ma_consent_delete(ctx->db, ctx->who.user_id, consent_id);
    if (r == MA_OK)
        r = ma_families_revoke_audience(ctx->db, ctx->who.user_id, c.client_id, c.audience, ctx->now_ms);
    if (r >= 0)
        r = ma_revoke_audience(ctx->db, ctx->who.user_id, c.client_id, c.audience, ctx->now_ms);
    if (r >= 0)
        r = ma_push_pending_end(ctx->db, ctx->who.user_id);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    ma_buf_init_arena(&b, ctx->arena, 128, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "consent_id", c.id);
    ma_jw_kstr(&w, "consented_client_id", c.client_id);
    ma_jw_kstr(&w, "audience", c.audience);
    ma_jw_obj_end(&w);
    return ma_audit_operation(ctx, CONSENT_DONE, "delete", detail_of(&b));
}

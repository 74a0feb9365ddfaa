/* SPDX-License-Identifier: Apache-2.0
 * Confirming enrolments: one code, one winner, counted failures.
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/notify.h"

int ma_session_require(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, struct ma_enrolment *e)
{
    int r = ma_session_find(ctx, auth_session, ma_factor_of_id(id), id, e);
    if (r == MA_E_NOTFOUND)
        return ma_session_refuse_for(ctx, id);
    if (r == MA_E_EXPIRED) {
        /* Somebody else's id stays unknown even with a session of one's own. */
        return ma_span_eq(e->method_id, id) ? ma_session_refuse(ctx) : ma_session_refuse_for(ctx, id);
    }
    return r;
}

static int pending_method(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, struct ma_method *m,
                          struct ma_enrolment *e)
{
    int r = ma_session_require(ctx, id, auth_session, e);
    if (r < 0)
        return r;
    r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, m);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    return r == MA_OK && m->confirmed ? ma_session_refuse(ctx) : r;
}

/* MA_OK with the step to remember, or MA_E_AUTH. */
static int check_code(struct ma_ctx *ctx, const struct ma_method *m, const struct ma_enrolment *e, struct ma_span code,
                      int64_t *ret_step)
{
    uint8_t mac[32];
    *ret_step = 0;
    if (m->type == MA_FACTOR_RECOVERY)
        return MA_OK; /* shown once; the session is the proof */
    if (m->type == MA_FACTOR_TOTP)
        return ma_totp_check(ctx, m, code, ret_step);
    int r = ma_code_mac(ctx, e->session_mac, code, mac);
    if (r < 0)
        return r;
    return ma_ct_eq(ma_span_of(mac, sizeof mac), e->code_mac) ? MA_OK : MA_E_AUTH;
}

/* The failure is counted although the answer is an error: the writer keeps it. */
static int wrong_code(struct ma_ctx *ctx, const struct ma_enrolment *e)
{
    struct ma_counter_rule rule = ma_rule_otp_failures(ctx);
    struct ma_counter_state s;
    int attempts = 0;
    int r = ma_enrolment_fail(ctx->db, ctx->who.user_id, e->session_mac, MA_SESSION_TRIES, ctx->now_ms, &attempts);
    if (r == MA_OK)
        r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0)
        return r;
    (void)ma_problem(ctx, MA_P_BAD_REQUEST, "invalid_code");
    r = ma_audit_failure(ctx);
    if (r < 0)
        return r;
    ctx->keep = true;
    ctx->user_changed = true; /* the last miss takes the pending method along */
    return MA_E_PROBLEM;
}

static int too_many_failures(struct ma_ctx *ctx)
{
    struct ma_counter_rule rule = ma_rule_otp_failures(ctx);
    struct ma_counter_state s;
    int r = ma_counter_get(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0 || s.allowed)
        return r;
    ma_counter_refused(ctx, &rule);
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many wrong codes; try again later.",
                            (s.retry_after_ms + 999) / 1000);
}

/* A new recovery code takes the place of the one before, which is kept for a while. */
static int tell(struct ma_ctx *ctx, const struct ma_notice *n, const struct ma_method *m, struct ma_span replaced)
{
    struct ma_change c = {.event = replaced.p ? MA_EVENT_RECOVERY_CODE_REPLACED : MA_EVENT_FACTOR_ADDED,
                          .subject = m->id,
                          .what = ma_what_factor(ctx->arena, m->type, m->address),
                          .kept = replaced};
    return ma_notice_send(ctx, n, &c);
}

static int settle(struct ma_ctx *ctx, struct ma_method *m, const struct ma_enrolment *e, int64_t step)
{
    struct ma_notice notice;
    struct ma_span replaced = MA_SPAN_NULL;
    int r = ma_enrolment_consume(ctx->db, ctx->who.user_id, e->session_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT)
        return ma_session_refuse(ctx);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    if (r == MA_OK && m->type == MA_FACTOR_RECOVERY)
        r = ma_keep_recovery(ctx, &replaced);
    if (r == MA_OK && m->type == MA_FACTOR_RECOVERY) /* the new code replaces the old one in this very transaction */
        r = ma_method_delete_others(ctx->db, ctx->who.user_id, m->type, true, MA_SPAN_NULL, m->id);
    if (r == MA_OK)
        r = ma_method_confirm(ctx->db, ctx->who.user_id, m->id, step, ctx->now_ms);
    if (r == MA_E_CONFLICT)
        return ma_session_refuse(ctx);
    if (r < 0)
        return r;
    m->confirmed = true;
    m->expires_at = 0;
    ctx->user_changed = true;
    r = tell(ctx, &notice, m, replaced);
    return r == MA_OK ? ma_audit_method(ctx, "verify", m->type, m->id) : r;
}

/* Two pending enrolments of one address may both be confirmed otherwise. */
static int refuse_second(struct ma_ctx *ctx, const struct ma_method *m)
{
    int r = ma_require_room(ctx, m->type);
    return r == MA_OK && m->address.p
               ? ma_require_new_address(ctx, m->type, m->address, "This address is enrolled already.")
               : r;
}

int ma_confirm(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, struct ma_span code,
               struct ma_method_view *ret)
{
    struct ma_method m;
    struct ma_enrolment e;
    int64_t step = 0;
    int r = pending_method(ctx, id, auth_session, &m, &e);
    if (r == MA_OK && m.type != MA_FACTOR_RECOVERY)
        r = too_many_failures(ctx);
    if (r == MA_OK)
        r = check_code(ctx, &m, &e, ma_trim(code), &step);
    if (r == MA_E_AUTH)
        return wrong_code(ctx, &e);
    if (r == MA_OK)
        r = refuse_second(ctx, &m);
    if (r == MA_OK)
        r = settle(ctx, &m, &e, step);
    if (r < 0)
        return r;
    ma_view_of(&m, ret);
    return MA_OK;
}

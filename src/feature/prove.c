/* SPDX-License-Identifier: Apache-2.0
 * Second factors that are typed: TOTP codes, codes that were sent, recovery codes.
 */
#include "ma/signin.h"

#include "int.h"

#include "ma/account.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/notify.h"

enum { RECOVERY_LEN = 24 };

/* --- failures --- */

/* Looks before a code is compared: MA_OK with the verdict TOO_MANY ends it. */
static int hold_up(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span method_id,
                   struct ma_factor_proof *ret)
{
    struct ma_counter_rule rule = ma_rule_otp_failures(ctx);
    struct ma_counter_state s;
    ctx->who.user_id = user->user_id;
    int r = ma_counter_get(ctx->db, user->user_id, &rule, ctx->now_ms, &s);
    if (r == MA_OK && !s.allowed) {
        ma_counter_refused(ctx, &rule);
        ret->verdict = MA_SIGNIN_TOO_MANY;
        ret->retry_after_s = (s.retry_after_ms + 999) / 1000;
    }
    if (r < 0 || !s.allowed || !method_id.p)
        return r;
    r = ma_guess_method(ctx, method_id, &ret->retry_after_s);
    if (ret->retry_after_s > 0)
        ret->verdict = MA_SIGNIN_TOO_MANY;
    return r;
}

/* The wrong code that empties the bucket is also the row that says so: what comes after it writes nothing. */
static int wrong(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id, struct ma_factor_proof *ret)
{
    struct ma_counter_rule rule = ma_rule_otp_failures(ctx);
    struct ma_counter_state s;
    const bool recovery = type == MA_FACTOR_RECOVERY;
    ret->verdict = MA_SIGNIN_WRONG;
    int r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r == MA_OK)
        r = ma_guess_method_failed(ctx, method_id);
    if (r == MA_OK)
        r = ma_audit_factor(ctx, recovery ? "gd_recovery_failed" : "gd_auth_failed", type, method_id);
    if (r == MA_OK && s.remaining == 0)
        r = ma_audit_factor(ctx, recovery ? "gd_recovery_rate_limit_exceed" : "gd_otp_rate_limit_exceed", type,
                            method_id);
    return r;
}

static int proven(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id, struct ma_factor_proof *ret)
{
    ret->verdict = MA_SIGNIN_OK;
    ret->amr = ma_amr_of_factors(1u << type) | MA_AMR_MFA;
    ret->method_id = method_id;
    ctx->user_changed = true; /* lists show when a method was used */
    return ma_audit_factor(ctx, type == MA_FACTOR_RECOVERY ? "gd_recovery_succeed" : "gd_auth_succeed", type,
                           method_id);
}

/* --- totp --- */

/* MA_OK with the method the code belongs to, and its step; MA_E_AUTH; MA_E_NOTFOUND when there is no method. */
static int match_totp(struct ma_ctx *ctx, struct ma_span method_id, struct ma_span code, struct ma_span *ret_id,
                      int64_t *ret_step)
{
    struct ma_method *m = ma_arena_alloc(ctx->arena, MA_METHODS_MAX * sizeof *m);
    size_t n = 0;
    bool any = false;
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        if (m[i].type != MA_FACTOR_TOTP || !m[i].confirmed || (method_id.p && !ma_span_eq(m[i].id, method_id)))
            continue;
        any = true;
        int64_t wait_s = 0;
        r = ma_guess_method(ctx, m[i].id, &wait_s);
        if (r == MA_OK && wait_s > 0)
            continue; /* as if its code were wrong */
        *ret_id = m[i].id;
        if (r == MA_OK)
            r = ma_totp_check(ctx, &m[i], code, ret_step);
        if (r != MA_E_AUTH)
            return r;
    }
    return any ? MA_E_AUTH : MA_E_NOTFOUND;
}

int ma_prove_totp(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span method_id, struct ma_span code,
                  struct ma_factor_proof *ret)
{
    struct ma_span id = MA_SPAN_NULL;
    struct ma_place from = ma_place_of(ctx);
    int64_t step = 0;
    *ret = (struct ma_factor_proof){.verdict = MA_SIGNIN_NO_FACTOR};
    if (!(ma_factors_enabled(ctx) & 1u << MA_FACTOR_TOTP))
        return MA_OK;
    int r = hold_up(ctx, user, method_id, ret);
    if (r < 0 || ret->verdict == MA_SIGNIN_TOO_MANY)
        return r;
    r = match_totp(ctx, method_id, ma_trim(code), &id, &step);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r == MA_OK) /* RFC 6238 §5.2: a step is accepted once, also when two requests bring it at the same time */
        r = ma_method_totp_advance(ctx->db, user->user_id, id, step, ctx->now_ms, &from);
    if (r == MA_E_AUTH || r == MA_E_CONFLICT)
        return wrong(ctx, MA_FACTOR_TOTP, id, ret);
    return r == MA_OK ? proven(ctx, MA_FACTOR_TOTP, id, ret) : r;
}

/* --- codes that were sent --- */

static int miss(struct ma_ctx *ctx, const struct ma_challenge *c, struct ma_factor_proof *ret)
{
    int64_t attempts = 0;
    int r = ma_challenge_fail(ctx->db, c->user_id, c->id_mac, MA_CHALLENGE_TRIES, ctx->now_ms, &attempts);
    return r == MA_OK ? wrong(ctx, c->type, c->method_id, ret) : r;
}

static int hit(struct ma_ctx *ctx, const struct ma_challenge *c, const struct ma_method_view *m,
               struct ma_factor_proof *ret)
{
    struct ma_place from = ma_place_of(ctx);
    int r = ma_challenge_consume(ctx->db, c->user_id, c->id_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT) {
        ret->verdict = MA_SIGNIN_EXPIRED;
        return MA_OK;
    }
    if (r == MA_OK && !m->automatic)
        r = ma_method_used(ctx->db, c->user_id, c->method_id, ctx->now_ms, &from);
    return r == MA_OK ? proven(ctx, c->type, c->method_id, ret) : r;
}

int ma_prove_oob(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user, struct ma_span oob_code,
                 struct ma_span code, struct ma_factor_proof *ret)
{
    uint8_t mac[32];
    struct ma_challenge c;
    struct ma_method_view m;
    *ret = (struct ma_factor_proof){.verdict = MA_SIGNIN_EXPIRED};
    int r = ma_challenge_find(ctx, user, flow_mac, oob_code, &c);
    if (r == MA_E_EXPIRED || (r == MA_OK && !c.code_mac.p))
        return MA_OK;
    if (r == MA_OK)
        r = hold_up(ctx, user, c.method_id, ret);
    if (r < 0 || ret->verdict == MA_SIGNIN_TOO_MANY)
        return r;
    r = ma_second_factor(ctx, user, c.method_id, &m);
    if (r == MA_E_NOTFOUND) { /* deleted or switched off since */
        ret->verdict = MA_SIGNIN_NO_FACTOR;
        return MA_OK;
    }
    if (r == MA_OK)
        r = ma_code_mac(ctx, c.id_mac, ma_trim(code), mac);
    if (r < 0)
        return r;
    return ma_ct_eq(ma_span_of(mac, sizeof mac), c.code_mac) ? hit(ctx, &c, &m, ret) : miss(ctx, &c, ret);
}

/* --- recovery codes --- */

/* As people copy them: in groups, in small letters. arena. */
static struct ma_span as_issued(struct ma_arena *a, struct ma_span in)
{
    char *out = ma_arena_alloc(a, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < in.n; i++) {
        uint8_t c = in.p[i];
        if (c == ' ' || c == '-')
            continue;
        out[n++] = (char)(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
    }
    return ma_span_of(out, n);
}

static int recovery_mac(struct ma_ctx *ctx, struct ma_span code, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "recovery-code", ctx->who.user_id, code, out);
}

static int find_recovery(struct ma_ctx *ctx, struct ma_method *ret)
{
    struct ma_method *m = ma_arena_alloc(ctx->arena, MA_METHODS_MAX * sizeof *m);
    size_t n = 0;
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        if (m[i].type == MA_FACTOR_RECOVERY && m[i].confirmed) {
            *ret = m[i];
            return MA_OK;
        }
    }
    return r < 0 ? r : MA_E_NOTFOUND;
}

/* The used code is gone before the new one is there: never are two good. */
static int replace(struct ma_ctx *ctx, struct ma_span used_id, struct ma_factor_proof *ret)
{
    char id[MA_METHOD_ID_MAX];
    uint8_t mac[32];
    char *code = ma_arena_alloc(ctx->arena, RECOVERY_LEN + 1);
    int r = code ? ma_method_delete(ctx->db, ctx->who.user_id, used_id) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_rand_chars(ctx->app->rand, MA_ALNUM36, code, RECOVERY_LEN);
    if (r == MA_OK)
        r = recovery_mac(ctx, ma_span_of(code, RECOVERY_LEN), mac);
    if (r == MA_OK)
        r = ma_id_method(ctx->app->rand, ma_factor_name(MA_FACTOR_RECOVERY), id);
    if (r < 0)
        return r;
    struct ma_notice notice;
    struct ma_method m = {.id = ma_arena_dup(ctx->arena, ma_span_str(id)),
                          .type = MA_FACTOR_RECOVERY,
                          .confirmed = true,
                          .secret = ma_span_of(mac, sizeof mac),
                          .created_at = ctx->now_ms};
    if (!m.id.p)
        return MA_E_NOMEM;
    ret->new_recovery_code = code;
    struct ma_change c = {.event = MA_EVENT_RECOVERY_CODE_USED,
                          .subject = m.id,
                          .what = ma_what_factor(ctx->arena, m.type, MA_SPAN_NULL)};
    r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_method_insert(ctx->db, ctx->who.user_id, &m);
    if (r == MA_OK)
        r = ma_notice_send(ctx, &notice, &c);
    return r == MA_OK ? proven(ctx, m.type, m.id, ret) : r;
}

int ma_prove_recovery(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span code, struct ma_factor_proof *ret)
{
    uint8_t mac[32];
    struct ma_method m = {.id = MA_SPAN_NULL};
    *ret = (struct ma_factor_proof){.verdict = MA_SIGNIN_NO_FACTOR};
    if (!(ma_factors_enabled(ctx) & 1u << MA_FACTOR_RECOVERY))
        return MA_OK;
    int r = hold_up(ctx, user, MA_SPAN_NULL, ret);
    if (r < 0 || ret->verdict == MA_SIGNIN_TOO_MANY)
        return r;
    r = find_recovery(ctx, &m);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    struct ma_span typed = as_issued(ctx->arena, code);
    if (r == MA_OK)
        r = typed.p ? recovery_mac(ctx, typed, mac) : MA_E_NOMEM;
    if (r < 0)
        return r;
    return ma_ct_eq(ma_span_of(mac, sizeof mac), m.secret) ? replace(ctx, m.id, ret) : wrong(ctx, m.type, m.id, ret);
}

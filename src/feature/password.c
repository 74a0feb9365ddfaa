/* SPDX-License-Identifier: Apache-2.0
 * Changing the password: rules and history in the hashing lane, the change itself in the writer.
 */
#include "int.h"

#include <stdio.h>

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/notify.h"

enum { HISTORY_MAX = 24 };

static int session_of(struct ma_ctx *ctx, struct ma_span auth_session, struct ma_enrolment *e)
{
    int r = ma_session_find(ctx, auth_session, MA_FACTOR_PASSWORD, MA_LIT("password|new"), e);
    return r == MA_E_NOTFOUND || r == MA_E_EXPIRED ? ma_session_refuse(ctx) : r;
}

static int broken(struct ma_ctx *ctx, const char *text)
{
    if (!ctx->errs)
        return MA_E_NOMEM;
    ma_verr_add(ctx->errs, "/new_password", text, "new_password");
    return MA_OK;
}

/* The current password was just proven, so a string from an import can give way to one of ours. */
static int upgrade(struct ma_ctx *ctx, struct ma_span stored, struct ma_span password, struct ma_new_password *np)
{
    if (!ma_password_needs_rehash((const char *)stored.p, MA_ARGON2_DEFAULT) || stored.n >= sizeof np->old_hash)
        return MA_OK;
    memcpy(np->old_hash, stored.p, stored.n);
    np->old_hash[stored.n] = '\0';
    return ma_password_hash(ctx->app->rand, MA_ARGON2_DEFAULT, password, np->hash);
}

/* History counts the current password, the initial one included. */
static int check_history(struct ma_ctx *ctx, const struct ma_password_policy *p, struct ma_span password,
                         struct ma_new_password *np)
{
    struct ma_span hashes[HISTORY_MAX];
    size_t n = 0;
    int64_t size = p->history_active ? p->history_size : 0;
    if (size <= 0)
        return MA_OK;
    int r = ma_password_history(ctx->db, ctx->arena, ctx->who.user_id, (int)(size < HISTORY_MAX ? size : HISTORY_MAX),
                                hashes, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        int match = ma_password_verify((const char *)hashes[i].p, password);
        if (match == MA_OK) {
            np->reused = true;
            r = broken(ctx, MA_PASSWORD_HISTORY_TEXT);
            return r == MA_OK && i == 0 ? upgrade(ctx, hashes[0], password, np) : r;
        }
        if (match != MA_E_AUTH && match != MA_E_UNSUPPORTED)
            r = match;
    }
    return r;
}

static int check_rules(struct ma_ctx *ctx, const struct ma_password_policy *p, struct ma_span password,
                       struct ma_span *ret_effective)
{
    struct ma_user u;
    const char *rules[MA_PASSWORD_RULES_MAX];
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    struct ma_password_profile profile = {.email = u.email, .name = u.name, .phone_number = u.phone_number};
    size_t n = ma_password_check(ctx->arena, p, password, &profile, ctx->app->breached, rules, ret_effective);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        r = broken(ctx, rules[i]);
    return r;
}

static struct ma_counter_rule reuse_rule(const struct ma_ctx *ctx)
{
    return (struct ma_counter_rule){"password_reuse", ctx->conf->rate_limit.otp_failures_per_hour, 3600000};
}

static int too_many_guesses(struct ma_ctx *ctx)
{
    struct ma_counter_rule rule = reuse_rule(ctx);
    struct ma_counter_state s;
    int r = ma_counter_get(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0 || s.allowed)
        return r;
    ma_counter_refused(ctx, &rule);
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many used passwords; try again later.",
                            (s.retry_after_ms + 999) / 1000);
}

int ma_password_judge(struct ma_ctx *ctx, struct ma_span password, struct ma_new_password *ret)
{
    struct ma_user u;
    int r = too_many_guesses(ctx);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    const struct ma_state_connection *c = u.connection.p ? ma_state_connection(ctx->state, u.connection) : NULL;
    if (!c)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "The user's database connection is not configured.");
    struct ma_span effective = password;
    ctx->errs->n = 0;
    r = check_rules(ctx, &c->password_policy, password, &effective);
    /* History tells what was used before: only somebody who could set this very password hears it, and not often. */
    if (r == MA_OK && ctx->errs->n == 0)
        r = check_history(ctx, &c->password_policy, effective, ret);
    if (r < 0 || ctx->errs->n > 0)
        return r;
    ret->history = c->password_policy.history_active ? (int)c->password_policy.history_size : 0;
    return ma_password_hash(ctx->app->rand, MA_ARGON2_DEFAULT, effective, ret->hash);
}

int ma_password_prepare(struct ma_ctx *ctx, struct ma_span auth_session, struct ma_span password,
                        struct ma_new_password *ret)
{
    struct ma_enrolment e;
    int r = session_of(ctx, auth_session, &e);
    if (r < 0)
        return r;
    ret->session_mac = e.session_mac;
    r = ma_password_judge(ctx, password, ret);
    return r == MA_OK && ctx->errs->n > 0 ? ma_problem_validation(ctx) : r;
}

/* Hitting upon a used password is a guess that came true: it costs like a wrong code. */
int ma_password_count_reuse(struct ma_ctx *ctx)
{
    struct ma_counter_rule rule = reuse_rule(ctx);
    struct ma_counter_state s;
    return ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
}

static int count_reuse(struct ma_ctx *ctx, const struct ma_new_password *np)
{
    int attempts = 0;
    int r = ma_enrolment_fail(ctx->db, ctx->who.user_id, np->session_mac, MA_SESSION_TRIES, ctx->now_ms, &attempts);
    if (r == MA_OK || r == MA_E_CONFLICT || r == MA_E_NOTFOUND)
        r = ma_password_count_reuse(ctx);
    return r;
}

int ma_password_refused(struct ma_ctx *ctx, const struct ma_new_password *np)
{
    int r = np->reused ? count_reuse(ctx, np) : MA_OK;
    int audited = ma_audit_failure(ctx);
    if (audited < 0)
        return audited;
    ctx->keep = true;
    if (r < 0)
        return r;
    if (!np->old_hash[0])
        return MA_E_PROBLEM;
    r = ma_password_rehash(ctx->db, ctx->who.user_id, ma_span_str(np->old_hash), ma_span_str(np->hash));
    return r == MA_OK || r == MA_E_CONFLICT || r == MA_E_NOTFOUND ? MA_E_PROBLEM : r;
}

int ma_password_change(struct ma_ctx *ctx, const struct ma_new_password *np, struct ma_method_view *ret)
{
    struct ma_signins_ended ended;
    struct ma_notice notice;
    int r = ma_enrolment_consume(ctx->db, ctx->who.user_id, np->session_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT)
        return ma_session_refuse(ctx);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_password_set(ctx->db, ctx->who.user_id, ma_span_str(np->hash), np->history, ctx->now_ms);
    if (r == MA_OK) /* whoever signed in with the old one does so no longer; this sign-in stays */
        r = ma_signins_end(ctx->db, ctx->who.user_id, ctx->who.sid, ctx->now_ms, &ended);
    if (r == MA_OK)
        r = ma_password_view(ctx, ret);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    struct ma_change c = {.event = MA_EVENT_PASSWORD_CHANGED,
                          .subject = ret->id,
                          .what = ma_what_factor(ctx->arena, MA_FACTOR_PASSWORD, MA_SPAN_NULL)};
    r = ma_notice_send(ctx, &notice, &c);
    return r == MA_OK ? ma_audit_method(ctx, "verify", MA_FACTOR_PASSWORD, ret->id) : r;
}

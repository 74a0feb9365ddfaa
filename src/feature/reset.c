/* SPDX-License-Identifier: Apache-2.0
 * Setting a new password through a link, after a change of the password was reported, or after the right one was
 * refused because it is known from a breach, or because the operator made a link: the only times there are, so nobody
 * can ask for one. A link replaces the password and nothing else: second factors stay.
 */
#include "ma/signin.h"

#include "int.h"
#include "notify_int.h"

enum { HOUR_MS = 3600000 };

static int token_mac(struct ma_vault *v, struct ma_span token, uint8_t out[32])
{
    return ma_vault_mac(v, "password-reset", MA_LIT(""), token, out);
}

int ma_reset_make(const struct ma_reset_env *env, struct ma_span user_id, char token[MA_TOKEN_LEN + 1])
{
    uint8_t mac[32];
    int r = ma_id_token(env->rand, token);
    if (r == MA_OK)
        r = token_mac(env->vault, ma_span_of(token, MA_TOKEN_LEN), mac);
    if (r < 0)
        return r;
    struct ma_reset row = {.token_mac = ma_span_of(mac, sizeof mac),
                           .user_id = user_id,
                           .created_at = env->now_ms,
                           .expires_at = env->now_ms + env->conf->notifications.reset_ttl * 1000};
    return ma_reset_insert(env->db, &row);
}

static int send_link(struct ma_ctx *ctx, const struct ma_reach *reach, size_t n, const char *token)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    struct ma_message m = {.user_id = ctx->who.user_id,
                           .template_name = "password-reset",
                           .minutes = (int)((ctx->conf->notifications.reset_ttl + 59) / 60),
                           .link = ma_arena_printf(ctx->arena, "%s" MA_RESET_PATH "?token=%s", env.origin, token)};
    if (!m.link)
        return MA_E_NOMEM;
    ctx->wake_courier = true;
    return ma_notify_letter(&env, reach, n, &m, "password_reset", MA_SPAN_NULL);
}

static int send_limited(struct ma_ctx *ctx, const struct ma_counter_rule *rule, const struct ma_reach *reach, size_t n,
                        bool *ret_sent)
{
    struct ma_counter_state s;
    char token[MA_TOKEN_LEN + 1];
    *ret_sent = false;
    int r = ma_counter_take(ctx->db, ctx->who.user_id, rule, ctx->now_ms, &s);
    if (r < 0 || !s.allowed)
        return r;
    const struct ma_reset_env env = {
        .db = ctx->db, .vault = ctx->app->vault, .rand = ctx->app->rand, .conf = ctx->conf, .now_ms = ctx->now_ms};
    r = ma_reset_make(&env, ctx->who.user_id, token);
    if (r == MA_OK)
        r = send_link(ctx, reach, n, token);
    *ret_sent = r == MA_OK;
    return r;
}

int ma_reset_send(struct ma_ctx *ctx, const struct ma_reach *reach, size_t n, bool *ret_sent)
{
    static const struct ma_counter_rule rule = {"password_resets", MA_RESETS_PER_HOUR, HOUR_MS};
    return send_limited(ctx, &rule, reach, n, ret_sent);
}

/* A bucket of its own: who knows the breached password must not use up the links of a reported change. */
int ma_reset_offer(struct ma_ctx *ctx, struct ma_span user_id, bool *ret_sent)
{
    static const struct ma_counter_rule rule = {"breach_resets", MA_BREACH_RESETS_PER_HOUR, HOUR_MS};
    const struct ma_principal who = ctx->who;
    struct ma_notice notice;
    *ret_sent = false;
    ctx->who.user_id = user_id;
    int r = ma_notice_before(ctx, &notice);
    if (r == MA_OK && notice.n > 0)
        r = send_limited(ctx, &rule, notice.reach, notice.n, ret_sent);
    ctx->who = who;
    return r;
}

/* A password that was set meanwhile needs no link any more. */
static int still_needed(struct ma_ctx *ctx, const struct ma_reset *reset)
{
    struct ma_password_row row;
    int r = ma_password_get(ctx->db, ctx->arena, reset->user_id, &row);
    if (r < 0)
        return r;
    int64_t set_at = row.changed_at ? row.changed_at : row.created_at;
    return row.must_reset || set_at < reset->created_at ? MA_OK : MA_E_NOTFOUND;
}

int ma_reset_find(struct ma_ctx *ctx, struct ma_span token, struct ma_reset *ret,
                  const struct ma_password_policy **ret_policy)
{
    uint8_t mac[32];
    struct ma_user u;
    if (token.n != MA_TOKEN_LEN)
        return MA_E_NOTFOUND;
    int r = token_mac(ctx->app->vault, token, mac);
    if (r == MA_OK)
        r = ma_reset_by_token(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), ret);
    if (r == MA_OK && (ret->used_at != 0 || ret->expires_at <= ctx->now_ms))
        r = MA_E_NOTFOUND;
    if (r == MA_OK)
        r = still_needed(ctx, ret);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, ret->user_id, &u);
    if (r < 0)
        return r;
    const struct ma_state_connection *c = u.connection.p ? ma_state_connection(ctx->state, u.connection) : NULL;
    if (!c)
        return MA_E_NOTFOUND;
    ctx->who = (struct ma_principal){.user_id = u.user_id, .user_known = true, .has_database = true, .auth_time_s = -1};
    *ret_policy = &c->password_policy;
    return MA_OK;
}

int ma_reset_prepare(struct ma_ctx *ctx, struct ma_span password, struct ma_new_password *ret)
{
    *ret = (struct ma_new_password){.session_mac = MA_SPAN_NULL};
    if (!ctx->errs)
        ctx->errs = ma_arena_zalloc(ctx->arena, sizeof *ctx->errs);
    if (!ctx->errs)
        return MA_E_NOMEM;
    ctx->errs->arena = ctx->arena;
    return ma_password_judge(ctx, password, ret);
}

int ma_reset_refused(struct ma_ctx *ctx)
{
    return ma_password_count_reuse(ctx);
}

int ma_reset_finish(struct ma_ctx *ctx, const struct ma_reset *reset, const struct ma_new_password *np)
{
    struct ma_signins_ended ended;
    struct ma_notice notice;
    int r = still_needed(ctx, reset);
    if (r == MA_OK)
        r = ma_reset_use(ctx->db, reset->user_id, reset->token_mac, ctx->now_ms);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_E_CONFLICT : r;
    r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_password_set(ctx->db, reset->user_id, ma_span_str(np->hash), np->history, ctx->now_ms);
    if (r == MA_OK)
        r = ma_end_access(ctx, &ended);
    if (r == MA_OK)
        r = ma_audit_signin(ctx, "scp", reset->user_id, MA_SPAN_NULL, MA_LIT("{\"actor\":\"reset_link\"}"));
    struct ma_change c = {.event = MA_EVENT_PASSWORD_CHANGED,
                          .subject = ma_password_method_id(ctx->arena, reset->user_id),
                          .what = ma_what_factor(ctx->arena, MA_FACTOR_PASSWORD, MA_SPAN_NULL)};
    return r == MA_OK ? ma_notice_send(ctx, &notice, &c) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * Leaving, and thinking better of it.
 */
#include "ma/leaving.h"

#include "int.h"
#include "ma/notify.h"
#include "notify_int.h"

#define DONE "my_account_account_succeeded"
#define FAILED "my_account_account_failed"
enum { DAY_MS = 86400000 };

/* --- telling --- */

/* The message goes out whatever notices are switched off: with the link it is part of the matter. */
static int tell(struct ma_ctx *ctx, const char *template_name, const char *operation, const char *link,
                int64_t leaves_at)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    struct ma_notice to;
    int r = ma_notify_reach(&env, ctx->who.user_id, &to);
    if (r < 0 || to.n == 0)
        return r;
    struct ma_message m = {.user_id = ctx->who.user_id,
                           .template_name = template_name,
                           .name = to.name,
                           .when = ma_when(ctx->arena, ctx->now_ms),
                           .until = leaves_at ? ma_when(ctx->arena, leaves_at) : MA_SPAN_NULL,
                           .browser = env.browser,
                           .address = env.address,
                           .link = link};
    ctx->wake_courier = true;
    return ma_notify_letter(&env, to.reach, to.n, &m, operation, MA_SPAN_NULL);
}

/* --- leaving --- */

static int count(struct ma_ctx *ctx)
{
    const struct ma_counter_rule rule = {"leavings", MA_LEAVINGS_PER_DAY, DAY_MS};
    struct ma_counter_state s;
    int r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0 || s.allowed)
        return r;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "The account was to be deleted too often today; try again later.",
                            (s.retry_after_ms + 999) / 1000);
}

static int new_link(struct ma_ctx *ctx, uint8_t mac[32], const char **ret)
{
    char token[MA_TOKEN_LEN + 1];
    int r = ma_id_token(ctx->app->rand, token);
    if (r == MA_OK)
        r = ma_vault_mac(ctx->app->vault, "restore", MA_LIT(""), ma_span_of(token, MA_TOKEN_LEN), mac);
    *ret = r == MA_OK ? ma_arena_printf(ctx->arena, "%s" MA_RESTORE_PATH "?token=%s", ma_ctx_origin(ctx), token) : NULL;
    return r == MA_OK && !*ret ? MA_E_NOMEM : r;
}

static int audit_left(struct ma_ctx *ctx, const struct ma_signins_ended *ended, int64_t leaves_at)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, 1024);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kdate(&w, "leaves_at", leaves_at);
    ma_jw_key(&w, "ended");
    ma_jw_obj(&w);
    ma_jw_kint(&w, "sessions", ended->sessions);
    ma_jw_kint(&w, "refresh_tokens", ended->families);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    int r = ma_buf_err(&b);
    return r == MA_OK ? ma_audit_operation(ctx, DONE, "delete", ma_buf_view(&b)) : r;
}

int ma_leave(struct ma_ctx *ctx, int64_t *ret_leaves_at)
{
    struct ma_signins_ended ended;
    uint8_t mac[32];
    const char *link = NULL;
    int64_t at = ctx->now_ms + ctx->conf->account.grace_period * 1000;
    ma_audit_failure_as(ctx, FAILED, "delete");
    int r = count(ctx);
    if (r == MA_OK)
        r = new_link(ctx, mac, &link);
    if (r == MA_OK)
        r = ma_leaving_begin(ctx->db, ctx->who.user_id, ctx->now_ms, at, ma_span_of(mac, sizeof mac));
    if (r == MA_E_CONFLICT)
        return ma_problem(ctx, MA_P_CONFLICT, "The account is about to be deleted already.");
    if (r == MA_OK && at > ctx->now_ms) /* a message would go with its user otherwise */
        r = tell(ctx, "account-leaving", "account_leaving", link, at);
    if (r == MA_OK)
        r = ma_end_access(ctx, &ended);
    if (r == MA_OK)
        r = audit_left(ctx, &ended, at);
    if (r != MA_OK)
        return r;
    ma_count_later(ctx, MA_M_LEAVING, MA_M_LEFT, 0);
    ma_log(ctx->log, MA_LOG_INFO, "account.leaving", MA_KV_SPAN("user_id", ctx->who.user_id),
           MA_KV_S("request_id", ctx->request_id));
    ctx->user_changed = ctx->wake_clerk = true;
    *ret_leaves_at = at;
    return MA_OK;
}

/* --- coming back --- */

int ma_return(struct ma_ctx *ctx, const char *how, bool *ret_stays)
{
    struct ma_user u;
    *ret_stays = false;
    int r = ma_leaving_end(ctx->db, ctx->who.user_id, ctx->now_ms);
    if (r == MA_E_CONFLICT) {
        r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
        *ret_stays = r == MA_OK && !ma_user_is_leaving(&u);
        return r == MA_OK || r == MA_E_NOTFOUND ? MA_E_CONFLICT : r;
    }
    if (r == MA_OK)
        r = tell(ctx, "account-restored", "account_restored", NULL, 0);
    const char *detail = ma_arena_printf(ctx->arena, "{\"by\":\"%s\"}", how);
    if (r == MA_OK)
        r = detail ? ma_audit_operation(ctx, DONE, "restore", ma_span_str(detail)) : MA_E_NOMEM;
    if (r != MA_OK)
        return r;
    ma_count_later(ctx, MA_M_LEAVING, MA_M_RETURNED, 0);
    ctx->user_changed = true;
    return MA_OK;
}

int ma_return_find(struct ma_ctx *ctx, struct ma_span token, struct ma_user *ret)
{
    uint8_t mac[32];
    if (token.n != MA_TOKEN_LEN)
        return MA_E_NOTFOUND;
    int r = ma_vault_mac(ctx->app->vault, "restore", MA_LIT(""), token, mac);
    if (r == MA_OK)
        r = ma_leaving_by_link(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), ret);
    if (r < 0)
        return r;
    if (ma_user_is_leaving(ret) && !ma_user_may_return(ret, ctx->now_ms))
        return MA_E_NOTFOUND;
    ctx->who = (struct ma_principal){
        .user_id = ret->user_id, .user_known = true, .has_database = ret->connection.p != NULL, .auth_time_s = -1};
    return MA_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * "This was not me": undoing a change from the link in the message about it (see ma/notify.h for what that is worth).
 */
#include "int.h"
#include "ma/leavers.h"
#include "notify_int.h"

static const char *const outcomes[MA_UNDONE__COUNT] = {
    [MA_UNDONE_REMOVED] = "removed",
    [MA_UNDONE_GONE_ALREADY] = "gone_already",
    [MA_UNDONE_RESTORED] = "restored",
    [MA_UNDONE_PRESENT] = "present",
    [MA_UNDONE_TAKEN] = "taken",
    [MA_UNDONE_TAKEN_BACK] = "taken_back",
    [MA_UNDONE_RESET] = "reset",
    [MA_UNDONE_NO_PASSWORD] = "no_password",
    [MA_UNDONE_NOT_ACCOUNT] = "account_not_restorable",
    [MA_UNDONE_NOT_ADDRESS] = "address_not_restorable",
    [MA_UNDONE_NOT_KEPT] = "not_kept",
    [MA_UNDONE_SUPERSEDED] = "superseded",
    [MA_UNDONE_NO_ROOM] = "no_room",
};

/* --- finding --- */

static int load(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_span info;
    struct ma_user user;
    struct ma_password_row password;
    int r = ma_user_get(ctx->db, ctx->arena, u->row.user_id, &user);
    if (r < 0)
        return r;
    ctx->who = (struct ma_principal){
        .user_id = user.user_id, .user_known = true, .has_database = user.connection.p != NULL, .auth_time_s = -1};
    r = ma_notice_unseal(ctx->app->vault, ctx->arena, &u->row, "info", u->row.info, &info);
    if (r == MA_OK)
        r = ma_notice_info_read(ctx->arena, info, &u->info);
    if (r < 0)
        return r == MA_E_AUTH ? MA_E_CRYPTO : r;
    u->outcome = MA_UNDONE__COUNT;
    for (int i = 0; u->row.outcome.p && i < MA_UNDONE__COUNT; i++)
        if (ma_span_eq_str(u->row.outcome, outcomes[i]))
            u->outcome = (enum ma_undone)i;
    if (u->outcome != MA_UNDONE_RESET)
        return MA_OK;
    r = ma_password_get(ctx->db, ctx->arena, user.user_id, &password);
    u->password_blocked = r == MA_OK && password.must_reset;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

int ma_undo_find(struct ma_ctx *ctx, struct ma_span token, struct ma_undo *ret)
{
    uint8_t mac[32];
    *ret = (struct ma_undo){.event = MA_EVENT__COUNT, .left = {.token = MA_SPAN_NULL}};
    if (token.n != MA_TOKEN_LEN)
        return MA_E_NOTFOUND;
    int r = ma_vault_mac(ctx->app->vault, "notice", MA_LIT(""), token, mac);
    if (r == MA_OK)
        r = ma_notice_by_token(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), &ret->row);
    if (r < 0)
        return r;
    ret->event = ma_event_parse(ret->row.event);
    if (ret->row.expires_at <= ctx->now_ms || ret->event == MA_EVENT__COUNT)
        return MA_E_NOTFOUND;
    return load(ctx, ret);
}

/* --- ending access --- */

int ma_end_access(struct ma_ctx *ctx, struct ma_signins_ended *ret)
{
    struct ma_span user = ctx->who.user_id;
    int r = ma_signins_end(ctx->db, user, MA_SPAN_NULL, ctx->now_ms, ret);
    if (r == MA_OK)
        r = ma_enrolments_delete_user(ctx->db, user);
    if (r == MA_OK)
        r = ma_method_delete_pending(ctx->db, user);
    if (r == MA_OK)
        r = ma_connect_trim(ctx->db, user, 0);
    if (r == MA_OK)
        r = ma_user_tokens_end(ctx->db, user, ctx->now_ms);
    ctx->user_changed = true;
    return r;
}

/* --- undoing --- */

static int void_event(struct ma_ctx *ctx, const struct ma_undo *u, enum ma_event event, struct ma_span subject)
{
    return ma_notice_void(ctx->db, &u->row, ma_span_str(ma_event_name(event)), subject,
                          ma_span_str(outcomes[MA_UNDONE_SUPERSEDED]), ctx->now_ms);
}

static int remove_factor(struct ma_ctx *ctx, struct ma_undo *u)
{
    int r = ma_method_delete(ctx->db, ctx->who.user_id, u->row.subject);
    u->outcome = r == MA_E_NOTFOUND ? MA_UNDONE_GONE_ALREADY : MA_UNDONE_REMOVED;
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    /* What somebody added and removed again must not come back by the link about its removal. */
    return void_event(ctx, u, MA_EVENT_FACTOR_REMOVED, u->row.subject);
}

static enum ma_undone outcome_of(enum ma_restored how)
{
    switch (how) {
    case MA_RESTORE_PRESENT:
        return MA_UNDONE_PRESENT;
    case MA_RESTORE_NO_ROOM:
        return MA_UNDONE_NO_ROOM;
    case MA_RESTORE_TAKEN:
        return MA_UNDONE_TAKEN;
    case MA_RESTORE_GONE:
        return MA_UNDONE_GONE_ALREADY;
    case MA_RESTORED:
        break;
    }
    return MA_UNDONE_RESTORED;
}

static int open_kept(struct ma_ctx *ctx, const struct ma_undo *u, struct ma_span *ret)
{
    if (!u->row.kept.p)
        return MA_E_NOTFOUND;
    int r = ma_notice_unseal(ctx->app->vault, ctx->arena, &u->row, "kept", u->row.kept, ret);
    return r == MA_E_AUTH ? MA_E_CRYPTO : r;
}

static int restore_factor(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_span kept;
    enum ma_restored how = MA_RESTORE_GONE;
    if (!u->row.kept.p) {
        u->outcome = MA_UNDONE_NOT_KEPT;
        return MA_OK;
    }
    int r = open_kept(ctx, u, &kept);
    if (r == MA_OK)
        r = ma_factor_of_id(u->row.subject) == MA_FACTOR_PASSWORD ? ma_restore_password(ctx, kept, &how)
                                                                  : ma_restore_method(ctx, kept, &how);
    u->outcome = outcome_of(how);
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

/* The former code holds again. Those made since were somebody else's: links about them bring none of them back. */
static int restore_recovery(struct ma_ctx *ctx, struct ma_undo *u)
{
    int r = ma_method_delete_others(ctx->db, ctx->who.user_id, MA_FACTOR_RECOVERY, true, MA_SPAN_NULL, MA_SPAN_NULL);
    if (r == MA_OK)
        r = void_event(ctx, u, MA_EVENT_RECOVERY_CODE_REPLACED, MA_SPAN_NULL);
    if (r == MA_OK)
        r = void_event(ctx, u, MA_EVENT_RECOVERY_CODE_USED, MA_SPAN_NULL);
    if (r == MA_OK)
        r = void_event(ctx, u, MA_EVENT_FACTOR_REMOVED, u->row.subject);
    return r == MA_OK ? restore_factor(ctx, u) : r;
}

static int take_back(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_span kept;
    enum ma_restored how = MA_RESTORE_GONE;
    int r = open_kept(ctx, u, &kept);
    if (r == MA_OK)
        r = ma_restore_settings(ctx, u->row.subject, kept, &how);
    u->outcome = how == MA_RESTORED ? MA_UNDONE_TAKEN_BACK : MA_UNDONE_GONE_ALREADY;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

/* Whatever the password is by now, it may be the one somebody else set: it signs nobody in any more. */
static int block_password(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_span id = ma_password_method_id(ctx->arena, ctx->who.user_id);
    if (!id.p)
        return MA_E_NOMEM;
    u->outcome = MA_UNDONE_RESET;
    int r = ma_password_must_reset(ctx->db, ctx->who.user_id);
    if (r == MA_E_NOTFOUND) {
        u->outcome = MA_UNDONE_NO_PASSWORD;
        r = MA_OK;
    } else if (r == MA_OK) {
        r = ma_reset_send(ctx, u->info.reach, u->info.n, &u->link_sent);
    }
    return r == MA_OK ? void_event(ctx, u, MA_EVENT_FACTOR_REMOVED, id) : r;
}

static int remove_account(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_account acc;
    u->outcome = MA_UNDONE_GONE_ALREADY;
    int r = ma_account_get(ctx->db, ctx->arena, ctx->who.user_id, u->row.subject, &acc);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r == MA_OK)
        r = ma_account_delete(ctx->db, ctx->who.user_id, u->row.subject);
    if (r < 0)
        return r;
    u->outcome = MA_UNDONE_REMOVED;
    if (ma_accounts_leftover(ctx, &acc, &u->left) < 0) /* a token nobody can open is of no use to anybody */
        u->left.token = MA_SPAN_NULL;
    struct ma_audited_account a = {.connection = acc.connection, .id = acc.id, .subject = acc.subject};
    return ma_audit_account(ctx, MA_AUDIT_DISCONNECTED, &a);
}

static int remove_export(struct ma_ctx *ctx, struct ma_undo *u)
{
    int r = ma_export_delete(ctx->db, ctx->who.user_id, u->row.subject);
    u->outcome = r == MA_E_NOTFOUND ? MA_UNDONE_GONE_ALREADY : MA_UNDONE_REMOVED;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static int undo(struct ma_ctx *ctx, struct ma_undo *u)
{
    switch (u->event) {
    case MA_EVENT_FACTOR_ADDED:
        return remove_factor(ctx, u);
    case MA_EVENT_RECOVERY_CODE_USED:
        return remove_factor(ctx, u);
    case MA_EVENT_FACTOR_REMOVED:
        return restore_factor(ctx, u);
    case MA_EVENT_RECOVERY_CODE_REPLACED:
        return restore_recovery(ctx, u);
    case MA_EVENT_FACTOR_CHANGED:
        return take_back(ctx, u);
    case MA_EVENT_PASSWORD_CHANGED:
        return block_password(ctx, u);
    case MA_EVENT_ACCOUNT_ADDED:
        return remove_account(ctx, u);
    case MA_EVENT_ACCOUNT_REMOVED:
        u->outcome = MA_UNDONE_NOT_ACCOUNT;
        return MA_OK;
    case MA_EVENT_DATA_EXPORTED:
        return remove_export(ctx, u);
    case MA_EVENT_ADDRESS_CHANGED:
    case MA_EVENT__COUNT:
        break;
    }
    u->outcome = MA_UNDONE_NOT_ADDRESS;
    return MA_OK;
}

/* --- telling of it --- */

static int audit(struct ma_ctx *ctx, const struct ma_undo *u, const struct ma_signins_ended *ended)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    const char *detail = ma_arena_printf(
        ctx->arena,
        "{\"outcome\":\"%s\",\"sessions_ended\":%lld,\"refresh_tokens_revoked\":%lld,\"reported_after_s\":%lld}",
        outcomes[u->outcome], (long long)ended->sessions, (long long)ended->families,
        (long long)((ctx->now_ms - u->row.created_at) / 1000));
    ma_log(ctx->log, MA_LOG_WARN, "security.reported", MA_KV_SPAN("user_id", ctx->who.user_id),
           MA_KV_S("event", ma_event_name(u->event)), MA_KV_S("outcome", outcomes[u->outcome]));
    return ma_notify_audit(&env, u->outcome == MA_UNDONE_NO_ROOM ? MA_AUDIT_NOT_UNDONE : MA_AUDIT_UNDONE,
                           ctx->who.user_id, ma_event_name(u->event), u->row.subject, detail);
}

/* Without a link: there is no undo of an undo. */
static int tell(struct ma_ctx *ctx, const struct ma_undo *u)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    struct ma_user user;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &user);
    if (r < 0)
        return r;
    struct ma_message m = {.user_id = ctx->who.user_id,
                           .template_name = "change-undone",
                           .name = user.name,
                           .what = u->info.what,
                           .when = ma_when(ctx->arena, ctx->now_ms),
                           .browser = env.browser,
                           .address = env.address};
    ctx->wake_courier = true;
    return ma_notify_letter(&env, u->info.reach, u->info.n, &m, "undone", u->row.subject);
}

int ma_undo_run(struct ma_ctx *ctx, struct ma_undo *u)
{
    struct ma_signins_ended ended;
    if (u->row.used_at != 0)
        return MA_E_CONFLICT;
    /* First, so that nothing under way takes the room of what comes back. */
    int r = ma_end_access(ctx, &ended);
    if (r == MA_OK)
        r = undo(ctx, u);
    if (r == MA_OK && u->outcome != MA_UNDONE_NO_ROOM)
        r = ma_notice_use(ctx->db, ctx->who.user_id, u->row.id, ma_span_str(outcomes[u->outcome]), ctx->now_ms);
    if (r == MA_OK)
        r = audit(ctx, u, &ended);
    return r == MA_OK && u->outcome != MA_UNDONE_NO_ROOM ? tell(ctx, u) : r;
}

int ma_undo_resend(struct ma_ctx *ctx, const struct ma_undo *u, bool *ret_sent)
{
    *ret_sent = false;
    return u->password_blocked ? ma_reset_send(ctx, u->info.reach, u->info.n, ret_sent) : MA_OK;
}

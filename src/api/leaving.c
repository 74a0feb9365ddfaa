/* SPDX-License-Identifier: Apache-2.0
 * DELETE /account and POST /account/restore: leaving, and thinking better of it.
 */
#include "int.h"

#include "ma/leaving.h"
#include "ma/methods.h"

int ma_op_leave_prepare(struct ma_ctx *ctx)
{
    return ctx->conf->account.delete_step_up ? ma_api_require_fresh(ctx) : MA_OK;
}

int ma_op_leave(struct ma_ctx *ctx)
{
    int64_t leaves_at = 0;
    struct ma_jw w;
    int r = ma_leave(ctx, &leaves_at);
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 202, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "status", "leaving");
    ma_jw_kdate(&w, "leaves_at", leaves_at);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

/* Who is not leaving has what was asked for. */
int ma_op_restore_account(struct ma_ctx *ctx)
{
    bool stays = false;
    struct ma_jw w;
    ma_audit_failure_as(ctx, "my_account_account_failed", "restore");
    int r = ma_return(ctx, "api", &stays);
    if (r == MA_E_CONFLICT && !stays)
        return ma_problem(ctx, MA_P_CONFLICT, "The time to keep the account is over.");
    if (r < 0 && !stays)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "status", "active");
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

/* SPDX-License-Identifier: Apache-2.0
 * New users who sign up with a passkey and nothing else.
 */
#include "ma/id.h"
#include "ma/signin.h"

#include "int.h"

enum { USER_ID_HEX = 24 };

int ma_signup_taken(struct ma_ctx *ctx, struct ma_span email, struct ma_span phone_number, bool *ret)
{
    struct ma_user one;
    size_t n = 0, m = 0;
    int r = ma_user_by_email(ctx->db, ctx->arena, email, MA_SPAN_NULL, &one, 1, &n);
    if (r == MA_OK && phone_number.p)
        r = ma_user_by_phone(ctx->db, ctx->arena, phone_number, MA_SPAN_NULL, &one, 1, &m);
    *ret = n > 0 || m > 0;
    return r;
}

static int require_free(struct ma_ctx *ctx, const struct ma_signup *in)
{
    struct ma_credential c;
    struct ma_span owner;
    bool taken = false;
    int r = ma_signup_taken(ctx, in->email, in->phone_number, &taken);
    if (r == MA_OK && taken)
        return MA_E_EXISTS;
    if (r == MA_OK) /* WebAuthn Level 3 §7.1 step 26 */
        r = ma_credential_find(ctx->db, ctx->arena, in->credential->credential_id, &c, &owner);
    return r == MA_E_NOTFOUND ? MA_OK : r == MA_OK ? MA_E_EXISTS : r;
}

static int insert_user(struct ma_ctx *ctx, const struct ma_signup *in, struct ma_user *ret)
{
    char random[33];
    int r = ma_id_request(ctx->app->rand, random);
    if (r < 0)
        return r;
    const char *id = ma_arena_printf(ctx->arena, "auth0|%.*s", USER_ID_HEX, random);
    if (!id)
        return MA_E_NOMEM;
    *ret = (struct ma_user){.user_id = ma_span_str(id),
                            .email = in->email,
                            .name = in->name,
                            .phone_number = in->phone_number,
                            .connection = in->connection,
                            .roles = MA_LIT("[]"),
                            .permissions = MA_LIT("[]"),
                            .created_at = ctx->now_ms,
                            .updated_at = ctx->now_ms};
    return ma_user_insert(ctx->db, ret);
}

static int insert_passkey(struct ma_ctx *ctx, const struct ma_signup *in, struct ma_span user_id)
{
    char id[MA_METHOD_ID_MAX];
    struct ma_method m = {
        .type = MA_FACTOR_PASSKEY, .confirmed = true, .created_at = ctx->now_ms, .last_auth_at = ctx->now_ms};
    struct ma_credential row = *in->credential;
    int r = ma_user_handle_insert(ctx->db, user_id, in->user_handle, ctx->now_ms);
    if (r == MA_OK)
        r = ma_id_method(ctx->app->rand, ma_factor_name(MA_FACTOR_PASSKEY), id);
    if (r < 0)
        return r;
    m.id = row.method_id = ma_span_str(id);
    row.user_handle = in->user_handle;
    r = ma_method_insert(ctx->db, user_id, &m);
    return r == MA_OK ? ma_credential_insert(ctx->db, user_id, &row) : r;
}

int ma_signup_passkey(struct ma_ctx *ctx, const struct ma_signup *in, struct ma_user *ret)
{
    int r = require_free(ctx, in);
    if (r < 0)
        return r;
    r = insert_user(ctx, in, ret);
    if (r == MA_OK)
        r = insert_passkey(ctx, in, ret->user_id);
    if (r < 0)
        return r == MA_E_EXISTS ? MA_E_DB : r; /* all was free: to be undone, not to be told */
    ctx->who.user_id = ret->user_id;
    ctx->user_changed = true;
    return ma_audit_signin(ctx, "ss", ret->user_id, ctx->who.client_id,
                           MA_LIT("{\"authentication_methods\":[\"passkey\"]}"));
}

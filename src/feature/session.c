/* SPDX-License-Identifier: Apache-2.0
 * Enrolment sessions: random for the caller, hashed at rest, bound to user, client, type and method,
 * good for one success and a few failures.
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

int64_t ma_enrol_ttl_ms(const struct ma_ctx *ctx, enum ma_factor type)
{
    switch (type) {
    case MA_FACTOR_TOTP:
        return ctx->conf->enrollment.totp_ttl * 1000;
    case MA_FACTOR_RECOVERY:
        return ctx->conf->enrollment.recovery_ttl * 1000;
    case MA_FACTOR_PASSWORD:
        return ctx->conf->enrollment.password_ttl * 1000;
    case MA_FACTOR_PUSH:
        return ctx->conf->enrollment.push_ttl * 1000;
    case MA_FACTOR_PASSKEY:
    case MA_FACTOR_WEBAUTHN_PLATFORM:
    case MA_FACTOR_WEBAUTHN_ROAMING:
        return ctx->conf->enrollment.passkey_ttl * 1000;
    case MA_FACTOR_PHONE:
    case MA_FACTOR_EMAIL:
    case MA_FACTOR__COUNT:
        break;
    }
    return ctx->conf->enrollment.otp_ttl * 1000;
}

static int session_mac(struct ma_ctx *ctx, struct ma_span auth_session, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "session", ctx->who.user_id, auth_session, out);
}

int ma_code_mac(struct ma_ctx *ctx, struct ma_span mac, struct ma_span code, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "otp", mac, code, out);
}

int ma_session_open(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id, struct ma_span code,
                    const char **ret_session)
{
    return ma_session_open_with(ctx, type, method_id, code, MA_SPAN_NULL, ret_session);
}

int ma_session_open_with(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id, struct ma_span code,
                         struct ma_span data, const char **ret_session)
{
    char *text = ma_arena_alloc(ctx->arena, MA_SESSION_LEN + 1);
    uint8_t mac[32], code_mac[32];
    if (!text)
        return MA_E_NOMEM;
    int r = ma_id_session(ctx->app->rand, text);
    if (r == MA_OK)
        r = session_mac(ctx, ma_span_of(text, MA_SESSION_LEN), mac);
    if (r == MA_OK && code.n > 0)
        r = ma_code_mac(ctx, ma_span_of(mac, sizeof mac), code, code_mac);
    if (r < 0)
        return r;
    struct ma_enrolment row = {
        .session_mac = ma_span_of(mac, sizeof mac),
        .user_id = ctx->who.user_id,
        .client_id = ctx->who.client_id,
        .type = type,
        .method_id = method_id,
        .code_mac = code.n > 0 ? ma_span_of(code_mac, sizeof code_mac) : MA_SPAN_NULL,
        .data = data,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + ma_enrol_ttl_ms(ctx, type),
    };
    *ret_session = text;
    return ma_enrolment_insert(ctx->db, &row);
}

int ma_session_refuse(struct ma_ctx *ctx)
{
    return ma_problem(ctx, MA_P_BAD_REQUEST, "Invalid or expired session");
}

int ma_method_unknown(struct ma_ctx *ctx)
{
    return ma_problem(ctx, MA_P_NO_RESOURCE, "The authentication method does not exist.");
}

int ma_session_refuse_for(struct ma_ctx *ctx, struct ma_span id)
{
    struct ma_method m;
    int r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &m);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    return r < 0 ? r : ma_session_refuse(ctx);
}

int ma_session_find(struct ma_ctx *ctx, struct ma_span auth_session, enum ma_factor type, struct ma_span method_id,
                    struct ma_enrolment *ret)
{
    uint8_t *mac = ma_arena_alloc(ctx->arena, 32);
    if (!mac)
        return MA_E_NOMEM;
    int r = session_mac(ctx, auth_session, mac);
    if (r < 0)
        return r;
    r = ma_enrolment_get(ctx->db, ctx->arena, ctx->who.user_id, ma_span_of(mac, 32), ret);
    if (r == MA_E_NOTFOUND)
        return r;
    if (r < 0)
        return r;
    bool usable = ret->consumed_at == 0 && ret->expires_at > ctx->now_ms && ret->type == type &&
                  ma_span_eq(ret->client_id, ctx->who.client_id) && ma_span_eq(ret->method_id, method_id);
    return usable ? MA_OK : MA_E_EXPIRED;
}

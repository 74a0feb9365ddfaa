/* SPDX-License-Identifier: Apache-2.0
 * Challenges: a code sent or an assertion asked for, bound to one flow, one user and one method.
 */
#include "ma/signin.h"

#include "int.h"
#include "push_int.h"
#include "ma/crypto.h"

enum { OTP_LEN = 6, RP_ID_MAX = 255 };

static int name_mac(struct ma_ctx *ctx, struct ma_span oob_code, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "challenge", ctx->who.user_id, oob_code, out);
}

int ma_challenge_name(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                      struct ma_challenge_started *ret, struct ma_challenge *row)
{
    char *token = ma_arena_alloc(ctx->arena, MA_TOKEN_LEN + 1);
    uint8_t *mac = ma_arena_alloc(ctx->arena, 32);
    if (!token || !mac)
        return MA_E_NOMEM;
    int r = ma_id_token(ctx->app->rand, token);
    if (r == MA_OK)
        r = name_mac(ctx, ma_span_of(token, MA_TOKEN_LEN), mac);
    *row = (struct ma_challenge){
        .id_mac = ma_span_of(mac, 32),
        .flow_mac = flow_mac,
        .user_id = ctx->who.user_id,
        .method_id = m->id,
        .type = m->type,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + ma_enrol_ttl_ms(ctx, m->type),
    };
    ret->oob_code = token;
    return r;
}

/* --- codes --- */

/* The preferred way to a phone, or the other where there is none. */
static enum ma_channel channel_of(const struct ma_ctx *ctx, const struct ma_method_view *m)
{
    if (m->type == MA_FACTOR_EMAIL)
        return MA_CHANNEL_EMAIL;
    bool sms = ctx->conf->delivery.sms[0] != '\0', voice = ctx->conf->delivery.voice[0] != '\0';
    return voice && (m->voice || !sms) ? MA_CHANNEL_VOICE : MA_CHANNEL_SMS;
}

static int audit_sent(struct ma_ctx *ctx, const struct ma_method_view *m, enum ma_channel channel)
{
    const char *type = channel == MA_CHANNEL_EMAIL   ? "gd_send_email"
                       : channel == MA_CHANNEL_VOICE ? "gd_send_voice"
                                                     : "gd_send_sms";
    return ma_audit_factor(ctx, type, m->type, m->id);
}

static int start_code(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                      struct ma_challenge_started *ret)
{
    char code[OTP_LEN + 1];
    uint8_t mac[32];
    struct ma_challenge row;
    int r = ma_message_take(ctx, m->type, m->address, &ret->retry_after_s);
    if (r < 0)
        return r;
    if (ret->retry_after_s > 0) {
        ret->verdict = MA_SIGNIN_TOO_MANY;
        return MA_OK;
    }
    r = ma_challenge_name(ctx, flow_mac, m, ret, &row);
    if (r == MA_OK)
        r = ma_rand_chars(ctx->app->rand, MA_DIGITS, code, OTP_LEN);
    if (r == MA_OK)
        r = ma_code_mac(ctx, row.id_mac, ma_span_of(code, OTP_LEN), mac);
    if (r < 0)
        return r;
    row.code_mac = ma_span_of(mac, sizeof mac);
    struct ma_code_letter letter = {.channel = channel_of(ctx, m),
                                    .to = m->address,
                                    .code = ma_span_of(code, OTP_LEN),
                                    .ttl_ms = row.expires_at - row.created_at};
    r = ma_challenge_insert(ctx->db, &row);
    if (r == MA_OK)
        r = ma_send_code(ctx, "login-code", &letter);
    ma_wipe(code, sizeof code);
    return r == MA_OK ? audit_sent(ctx, m, letter.channel) : r;
}

/* --- assertions --- */

static int start_webauthn(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                          struct ma_challenge_started *ret)
{
    struct ma_challenge row;
    struct ma_buf b;
    if (!m->credential) {
        ret->verdict = MA_SIGNIN_NO_FACTOR;
        return MA_OK;
    }
    int r = ma_rp_id(ctx, &ret->rp_id);
    if (r == MA_OK)
        r = ctx->app->rand->fill(ctx->app->rand, ret->challenge, sizeof ret->challenge);
    if (r == MA_OK)
        r = ma_challenge_name(ctx, flow_mac, m, ret, &row);
    if (r < 0)
        return r;
    ret->credentials = m->credential;
    ret->n_credentials = 1;
    /* What verification must know again: the challenge and the relying party id it was made for. */
    ma_buf_init_arena(&b, ctx->arena, 128, MA_CHALLENGE_LEN + RP_ID_MAX);
    ma_buf_put(&b, ret->challenge, sizeof ret->challenge);
    ma_buf_span(&b, ret->rp_id);
    row.data = ma_buf_view(&b);
    r = ma_buf_err(&b) < 0 ? MA_E_NOMEM : ma_challenge_insert(ctx->db, &row);
    return r == MA_OK ? ma_audit_factor(ctx, "gd_start_auth", m->type, m->id) : r;
}

/* --- both --- */

int ma_challenge_start(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                       struct ma_span method_id, struct ma_challenge_started *ret)
{
    struct ma_method_view m;
    *ret = (struct ma_challenge_started){.verdict = MA_SIGNIN_NO_FACTOR};
    int r = ma_second_factor(ctx, user, method_id, &m);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    ret->type = m.type;
    ret->method_id = m.id;
    if (m.type != MA_FACTOR_PUSH && m.type != MA_FACTOR_EMAIL && m.type != MA_FACTOR_PHONE &&
        !(MA_FACTORS_WEBAUTHN & 1u << m.type))
        return MA_OK; /* their codes are there without being asked for */
    ret->verdict = MA_SIGNIN_OK;
    if (m.type == MA_FACTOR_PUSH)
        return ma_push_ask(ctx, flow_mac, &m, ret);
    return MA_FACTORS_WEBAUTHN & 1u << m.type ? start_webauthn(ctx, flow_mac, &m, ret)
                                              : start_code(ctx, flow_mac, &m, ret);
}

int ma_challenge_find(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span flow_mac, struct ma_span oob_code,
                      struct ma_challenge *ret)
{
    uint8_t mac[32];
    ctx->who.user_id = user->user_id;
    int r = name_mac(ctx, oob_code, mac);
    if (r == MA_OK)
        r = ma_challenge_get(ctx->db, ctx->arena, user->user_id, ma_span_of(mac, sizeof mac), ret);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_E_EXPIRED : r;
    bool open = ret->consumed_at == 0 && ret->expires_at > ctx->now_ms;
    return open && ma_span_eq(ret->flow_mac, flow_mac) ? MA_OK : MA_E_EXPIRED;
}

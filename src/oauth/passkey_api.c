/* SPDX-License-Identifier: Apache-2.0
 * POST /passkey/challenge: what a native sign-in with a passkey begins with (wire contract 3.5).
 */
#include "passkey_int.h"

#include "ma/codec.h"

enum { TEXT_MAX = 1024 };

/* --- what is kept --- */

#define AT(wire, member)                                                                                               \
    {                                                                                                                  \
        .name = wire, .type = MA_F_STR, .off = offsetof(struct ma_passkey_flow, member), .max = TEXT_MAX               \
    }
static const struct ma_jfield fields[] = {
    AT("challenge", challenge),     AT("rp_id", rp_id), AT("realm", realm), AT("organization", organization),
    AT("user_handle", user_handle), AT("email", email), AT("name", name),   AT("phone_number", phone_number),
};
#undef AT
static const struct ma_shape shape = MA_SHAPE(struct ma_passkey_flow, fields);

int ma_passkey_flow_read(struct ma_ctx *ctx, struct ma_span json, struct ma_passkey_flow *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    *ret = (struct ma_passkey_flow){.challenge = MA_SPAN_NULL};
    int r = ma_json_parse(json, &j);
    return r == MA_OK ? ma_json_decode(j, ctx->arena, &shape, ret, &errs) : r;
}

static int flow_write(struct ma_ctx *ctx, const struct ma_passkey_flow *in, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    for (size_t i = 0; i < MA_COUNT(fields); i++) {
        const struct ma_span *s = (const struct ma_span *)(const void *)((const char *)in + fields[i].off);
        if (s->p)
            ma_jw_kstr(&w, fields[i].name, *s);
    }
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_passkey_flow_open(struct ma_ctx *ctx, const struct ma_passkey_flow *in, char token[MA_TOKEN_LEN + 1])
{
    struct ma_flow row = {
        .kind = MA_LIT(MA_PASSKEY_KIND),
        .client_id = ctx->who.client_id,
        .expires_at = ctx->now_ms + MA_PASSKEY_TTL_MS,
    };
    int r = flow_write(ctx, in, &row.data);
    return r == MA_OK ? ma_flow_open(ctx, &row, token) : r;
}

/* --- who may --- */

static int check_client(struct ma_ctx *ctx, const struct ma_oauth *o)
{
    if (!o->client->is_first_party)
        return ma_oauth_fail(ctx, 400, "unauthorized_client",
                             "Third-party clients cannot sign users in with passkeys.");
    if (!ma_state_client_may(o->client, MA_PASSKEY_GRANT))
        return ma_oauth_fail(ctx, 400, "unauthorized_client",
                             "Grant type '" MA_PASSKEY_GRANT "' not allowed for the client.");
    if (!(ma_factors_enabled(ctx) & 1u << MA_FACTOR_PASSKEY))
        return ma_oauth_fail(ctx, 404, "not_found", "Passkeys are not enabled.");
    return MA_OK;
}

bool ma_passkey_connection(const struct ma_ctx *ctx, const struct ma_state_connection *c)
{
    return c && c->database && ma_state_enabled_for(c, ctx->who.client_id);
}

int ma_passkey_begin(struct ma_ctx *ctx, struct ma_oauth **ret)
{
    int r = ma_oauth_begin(ctx, ret);
    if (r == MA_OK)
        r = check_client(ctx, *ret);
    if (r != MA_OK)
        return r;
    const struct ma_oauth_params *in = &(*ret)->in;
    if (in->realm.p && !ma_passkey_connection(ctx, ma_state_connection(ctx->state, in->realm)))
        return ma_oauth_fail(ctx, 400, "invalid_request", "realm does not name a database connection of the client.");
    return MA_OK;
}

/* --- POST /passkey/challenge --- */

static int challenge(struct ma_ctx *ctx)
{
    const struct ma_oauth *o = ctx->scratch;
    struct ma_passkey_flow p = {.realm = o->in.realm, .organization = o->in.organization};
    char token[MA_TOKEN_LEN + 1], text[MA_TOKEN_LEN + 1];
    struct ma_jw w;
    int r = ma_id_token(ctx->app->rand, text); /* 32 random bytes in base64url */
    p.challenge = ma_span_of(text, MA_TOKEN_LEN);
    if (r == MA_OK)
        r = ma_rp_id(ctx, &p.rp_id);
    if (r == MA_OK)
        r = ma_passkey_flow_open(ctx, &p, token);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "auth_session", token);
    ma_jw_key(&w, "authn_params_public_key");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "challenge", text);
    ma_jw_kint(&w, "timeout", MA_WEBAUTHN_TIMEOUT_MS);
    ma_jw_kstr(&w, "rpId", p.rp_id);
    ma_jw_kcstr(&w, "userVerification", ctx->conf->webauthn.require_uv ? "required" : "preferred");
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    ma_oauth_headers(ctx);
    return ma_reply_end(ctx);
}

int ma_op_passkey_challenge(struct ma_ctx *ctx)
{
    struct ma_oauth *o = NULL;
    int r = ma_passkey_begin(ctx, &o);
    if (r != MA_OK)
        return r;
    if (o->in.organization.p && !ma_state_organization(ctx->state, o->in.organization))
        return ma_oauth_fail(ctx, 400, "invalid_request", "organization does not name an organization.");
    r = ma_oauth_flow_limit(ctx);
    return r == MA_OK ? ma_next(ctx, MA_LANE_WRITE, challenge) : r;
}

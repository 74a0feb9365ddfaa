/* SPDX-License-Identifier: Apache-2.0
 * POST /authentication-methods/{id}/verify: confirms an enrolment.
 */
#include "attestation_body.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/parking.h"
#include "ma/push.h"
#include "method_json.h"

enum { SESSION_MAX = 512, CODE_MAX = 64 };

struct body {
    struct ma_span auth_session, otp_code, new_password;
    struct ma_span ignored;
};

static bool has_no_control(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

/* id, type and location travel along from clients that send their whole option object. */
#define F_COMMON                                                                                                       \
    {.name = "auth_session",                                                                                           \
     .type = MA_F_STR,                                                                                                 \
     .flags = MA_REQ,                                                                                                  \
     .off = offsetof(struct body, auth_session),                                                                       \
     .max = SESSION_MAX},                                                                                              \
        {.name = "id", .type = MA_F_RAW, .off = offsetof(struct body, ignored)},                                       \
        {.name = "type", .type = MA_F_RAW, .off = offsetof(struct body, ignored)},                                     \
    {                                                                                                                  \
        .name = "location", .type = MA_F_RAW, .off = offsetof(struct body, ignored)                                    \
    }

static const struct ma_jfield f_code[] = {
    F_COMMON,
    {.name = "otp_code", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct body, otp_code), .max = CODE_MAX}};
static const struct ma_shape code_shape = MA_SHAPE(struct body, f_code);
static const struct ma_jfield f_session[] = {F_COMMON};
static const struct ma_shape session_shape = MA_SHAPE(struct body, f_session);
static const struct ma_jfield f_password[] = {F_COMMON,
                                              {.name = "new_password",
                                               .type = MA_F_STR,
                                               .flags = MA_REQ,
                                               .off = offsetof(struct body, new_password),
                                               .min = 1,
                                               .max = MA_PASSWORD_MAX_UNITS,
                                               .check = has_no_control,
                                               .check_text = "must NOT have control characters"}};
static const struct ma_shape password_shape = MA_SHAPE(struct body, f_password);

static int reply(struct ma_ctx *ctx, const struct ma_method_view *v)
{
    struct ma_jw w;
    ma_reply_json(ctx, 201, &w);
    ma_method_location(ctx, v->id);
    ma_write_method(&w, v);
    return ma_reply_end(ctx);
}

/* --- password: hashing lane, then the writer --- */

static int change_password(struct ma_ctx *ctx)
{
    struct ma_method_view v;
    ma_audit_on_failure(ctx, "verify", ma_factor_name(MA_FACTOR_PASSWORD), ctx->req.params[0]);
    int r = ma_password_change(ctx, ctx->scratch, &v);
    return r == MA_OK ? reply(ctx, &v) : r;
}

static int record_refusal(struct ma_ctx *ctx)
{
    ma_audit_on_failure(ctx, "verify", ma_factor_name(MA_FACTOR_PASSWORD), ctx->req.params[0]);
    return ma_password_refused(ctx, ctx->scratch);
}

static int hash_password(struct ma_ctx *ctx)
{
    const struct body *b = ctx->scratch;
    struct ma_new_password *np = ma_arena_zalloc(ctx->arena, sizeof *np);
    if (!np)
        return MA_E_NOMEM;
    int r = ma_password_prepare(ctx, b->auth_session, b->new_password, np);
    if (r < 0 && r != MA_E_PROBLEM)
        return r;
    ctx->scratch = np;
    return ma_next(ctx, MA_LANE_WRITE, r == MA_OK ? change_password : record_refusal);
}

/* "password|new", or the permanent id that the enrolment will have. */
static bool names_password(struct ma_ctx *ctx, struct ma_span id)
{
    if (ma_span_eq_str(id, "password|new"))
        return true;
    const size_t prefix = sizeof "password|" - 1;
    char own[MA_B64URL_LEN(1024) + 1];
    if (ctx->who.user_id.n > 1024)
        return false;
    ma_b64url_encode(ctx->who.user_id, own);
    return id.n > prefix && ma_span_eq_str(ma_span_of(id.p + prefix, id.n - prefix), own);
}

/* --- passkeys and security keys: verified in the hashing lane, stored by the writer --- */

static int store_credential(struct ma_ctx *ctx)
{
    struct ma_method_view v;
    struct ma_span id = ctx->req.params[0];
    ma_audit_on_failure(ctx, "verify", ma_factor_name(ma_factor_of_id(id)), id);
    int r = ma_webauthn_finish(ctx, ctx->scratch, &v);
    return r == MA_OK ? reply(ctx, &v) : r;
}

static int refuse_credential(struct ma_ctx *ctx)
{
    struct ma_span id = ctx->req.params[0];
    ma_audit_on_failure(ctx, "verify", ma_factor_name(ma_factor_of_id(id)), id);
    return ma_webauthn_refused(ctx, ctx->scratch);
}

static int verify_credential(struct ma_ctx *ctx)
{
    const struct ma_attestation_body *b = ctx->scratch;
    struct ma_new_credential *nc = NULL;
    int r = ma_webauthn_prepare(ctx, ctx->req.params[0], b->auth_session, &b->response, &nc);
    if (r < 0 && r != MA_E_PROBLEM)
        return r;
    ctx->scratch = nc;
    return ma_next(ctx, MA_LANE_WRITE, r == MA_OK ? store_credential : refuse_credential);
}

static int prepare_credential(struct ma_ctx *ctx)
{
    struct ma_attestation_body *b = ma_arena_zalloc(ctx->arena, sizeof *b);
    if (!b)
        return MA_E_NOMEM;
    ctx->scratch = b;
    int r = ma_attestation_body(ctx, b);
    return r == MA_OK ? ma_next(ctx, MA_LANE_CPU, verify_credential) : r;
}

/* --- a device: it may be on its way --- */

static int confirm_device(struct ma_ctx *ctx)
{
    const struct body *b = ctx->scratch;
    const int64_t wait_ms = ctx->conf->enrollment.push_wait * 1000;
    struct ma_method_view v;
    struct ma_span id = ctx->req.params[0];
    bool pending = false;
    ma_audit_on_failure(ctx, "verify", ma_factor_name(MA_FACTOR_PUSH), id);
    int r = ma_push_confirm(ctx, id, b->auth_session, &pending, &v);
    if (r < 0)
        return r;
    if (!pending)
        return reply(ctx, &v);
    ctx->audit.due = false; /* nothing failed */
    if (wait_ms > 0 && !ctx->park.over)
        return ma_park(ctx, id, wait_ms, confirm_device);
    return ma_problem(ctx, MA_P_BAD_REQUEST, "authorization_pending");
}

static int prepare_device(struct ma_ctx *ctx, struct body *b)
{
    int r = ma_body(ctx, &session_shape, b);
    return r < 0 ? r : ma_next(ctx, MA_LANE_WRITE, confirm_device);
}

/* --- dispatch by the id's type --- */

int ma_op_verify_method_prepare(struct ma_ctx *ctx)
{
    struct ma_span id = ctx->req.params[0];
    struct body *b = ma_arena_zalloc(ctx->arena, sizeof *b);
    if (!b)
        return MA_E_NOMEM;
    ctx->scratch = b;
    switch (ma_factor_of_id(id)) {
    case MA_FACTOR_TOTP:
    case MA_FACTOR_EMAIL:
    case MA_FACTOR_PHONE:
        return ma_body(ctx, &code_shape, b);
    case MA_FACTOR_RECOVERY:
        return ma_body(ctx, &session_shape, b);
    case MA_FACTOR_PASSWORD: {
        int r = ma_body(ctx, &password_shape, b);
        if (r < 0)
            return r;
        return names_password(ctx, id) ? ma_next(ctx, MA_LANE_CPU, hash_password) : ma_method_unknown(ctx);
    }
    case MA_FACTOR_PASSKEY:
        if (!ma_span_eq_str(id, "passkey|new"))
            break;
        return prepare_credential(ctx);
    case MA_FACTOR_WEBAUTHN_PLATFORM:
    case MA_FACTOR_WEBAUTHN_ROAMING:
        return prepare_credential(ctx);
    case MA_FACTOR_PUSH:
        return prepare_device(ctx, b);
    case MA_FACTOR__COUNT:
        break;
    }
    /* Nothing of such a type can belong to anybody; a body that is no JSON is still said to be none. */
    int r = ma_body(ctx, &(const struct ma_shape){sizeof(struct body), NULL, 0, true}, b);
    return r < 0 ? r : ma_method_unknown(ctx);
}

int ma_op_verify_method(struct ma_ctx *ctx)
{
    const struct body *b = ctx->scratch;
    struct ma_method_view v;
    struct ma_span id = ctx->req.params[0];
    ma_audit_on_failure(ctx, "verify", ma_factor_name(ma_factor_of_id(id)), id);
    int r = ma_confirm(ctx, id, b->auth_session, b->otp_code, &v);
    return r == MA_OK ? reply(ctx, &v) : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * POST /authentication-methods: starts an enrolment.
 */
#include "int.h"
#include "ma/codec.h"
#include "ma/passkey.h"
#include "ma/push.h"
#include "method_json.h"

enum { ADDRESS_MAX = 512 };

static const char *const type_names[] = {"password", "passkey", "webauthn-platform", "webauthn-roaming", "totp",
                                         "phone",    "email",   "push-notification", "recovery-code",    NULL};
static const char *const phone_names[] = {"sms", "voice", NULL};

struct body {
    int type;
    struct ma_span email, phone_number, connection, identity_user_id;
    int preferred;
    bool use_exclude_credentials;
};

static bool is_connection_name(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

static bool has_no_blank(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20)
            return false;
    return true;
}

#define F_TYPE                                                                                                         \
    {                                                                                                                  \
        .name = "type", .type = MA_F_ENUM, .flags = MA_REQ, .off = offsetof(struct body, type), .names = type_names    \
    }
#define F_IDENTITY                                                                                                     \
    {.name = "connection",                                                                                             \
     .type = MA_F_STR,                                                                                                 \
     .off = offsetof(struct body, connection),                                                                         \
     .min = 1,                                                                                                         \
     .max = 128,                                                                                                       \
     .check = is_connection_name,                                                                                      \
     .check_text = "must match pattern \"^[a-zA-Z0-9-]+$\""},                                                          \
    {                                                                                                                  \
        .name = "identity_user_id", .type = MA_F_STR, .off = offsetof(struct body, identity_user_id), .min = 1,        \
        .max = 255, .check = has_no_blank, .check_text = "must match pattern \"^\\S+$\""                               \
    }

static const struct ma_jfield f_type[] = {F_TYPE};
static const struct ma_shape any_shape = MA_SHAPE_OPEN(struct body, f_type);
static const struct ma_shape plain_shape = MA_SHAPE(struct body, f_type);

static const struct ma_jfield f_email[] = {
    F_TYPE,
    {.name = "email", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct body, email), .max = ADDRESS_MAX}};
static const struct ma_shape email_shape = MA_SHAPE(struct body, f_email);

static const struct ma_jfield f_phone[] = {F_TYPE,
                                           {.name = "phone_number",
                                            .type = MA_F_STR,
                                            .flags = MA_REQ,
                                            .off = offsetof(struct body, phone_number),
                                            .max = ADDRESS_MAX},
                                           {.name = "preferred_authentication_method",
                                            .type = MA_F_ENUM,
                                            .off = offsetof(struct body, preferred),
                                            .names = phone_names}};
static const struct ma_shape phone_shape = MA_SHAPE(struct body, f_phone);

static const struct ma_jfield f_passkey[] = {
    F_TYPE,
    F_IDENTITY,
    {.name = "use_exclude_credentials", .type = MA_F_BOOL, .off = offsetof(struct body, use_exclude_credentials)}};
static const struct ma_shape passkey_shape = MA_SHAPE_OPEN(struct body, f_passkey);

static const struct ma_jfield f_password[] = {F_TYPE, F_IDENTITY};
static const struct ma_shape password_shape = MA_SHAPE(struct body, f_password);

static const struct ma_shape *shape_of(int type)
{
    switch (type) {
    case MA_FACTOR_EMAIL:
        return &email_shape;
    case MA_FACTOR_PHONE:
        return &phone_shape;
    case MA_FACTOR_PASSWORD:
        return &password_shape;
    case MA_FACTOR_PASSKEY:
        return &passkey_shape;
    case MA_FACTOR_TOTP:
    case MA_FACTOR_PUSH:
    case MA_FACTOR_RECOVERY:
    case MA_FACTOR_WEBAUTHN_PLATFORM:
    case MA_FACTOR_WEBAUTHN_ROAMING:
        return &plain_shape;
    default:
        return &any_shape; /* refused by type before its members matter */
    }
}

static int normalise(struct ma_ctx *ctx, struct body *b)
{
    int r = MA_OK;
    if (b->type == MA_FACTOR_EMAIL) {
        r = ma_email_normalise(ctx->arena, b->email, &b->email);
        if (r == MA_E_PARSE)
            return ma_problem_at(ctx, "/email", "data/email must be an e-mail address");
    } else if (b->type == MA_FACTOR_PHONE) {
        r = ma_phone_normalise(ctx->arena, b->phone_number, &b->phone_number);
        if (r == MA_E_PARSE)
            return ma_problem(ctx, MA_P_BAD_REQUEST, "invalid_phone_number");
    }
    return r;
}

int ma_op_create_method_prepare(struct ma_ctx *ctx)
{
    struct body *b = ma_arena_zalloc(ctx->arena, sizeof *b);
    if (!b)
        return MA_E_NOMEM;
    int r = ma_body(ctx, &any_shape, b);
    if (r == MA_OK)
        r = ma_body(ctx, shape_of(b->type), b);
    if (r == MA_OK && !(ma_factors_enabled(ctx) & 1u << b->type))
        return ma_problem(ctx, MA_P_BAD_REQUEST, "unsupported_challenge_type");
    if (r == MA_OK)
        r = normalise(ctx, b);
    ctx->scratch = b;
    return r;
}

static int enrol(struct ma_ctx *ctx, const struct body *b, struct ma_enrolled *out, struct ma_creation_options *options)
{
    switch ((enum ma_factor)b->type) {
    case MA_FACTOR_TOTP:
        return ma_enrol_totp(ctx, out);
    case MA_FACTOR_RECOVERY:
        return ma_enrol_recovery(ctx, out);
    case MA_FACTOR_EMAIL:
        return ma_enrol_otp(ctx, MA_FACTOR_EMAIL, b->email, false, out);
    case MA_FACTOR_PHONE:
        return ma_enrol_otp(ctx, MA_FACTOR_PHONE, b->phone_number, b->preferred == 1, out);
    case MA_FACTOR_PASSWORD:
        return ma_enrol_password(ctx, b->connection, b->identity_user_id, out);
    case MA_FACTOR_PASSKEY:
    case MA_FACTOR_WEBAUTHN_PLATFORM:
    case MA_FACTOR_WEBAUTHN_ROAMING: {
        struct ma_passkey_request in = {(enum ma_factor)b->type, b->connection, b->identity_user_id,
                                        b->use_exclude_credentials};
        return ma_enrol_webauthn(ctx, &in, out, options);
    }
    case MA_FACTOR_PUSH:
        return ma_enrol_push(ctx, false, out);
    case MA_FACTOR__COUNT:
        break;
    }
    return ma_problem(ctx, MA_P_BAD_REQUEST, "unsupported_challenge_type");
}

static int reply(struct ma_ctx *ctx, const struct ma_enrolled *e, const struct ma_creation_options *options)
{
    struct ma_jw w;
    ma_reply_json(ctx, 202, &w);
    ma_method_location(ctx, e->id);
    ma_jw_obj(&w);
    if (e->type != MA_FACTOR_PASSKEY) /* the vendor sends it in Location alone */
        ma_jw_kstr(&w, "id", e->id);
    ma_jw_kcstr(&w, "auth_session", e->auth_session);
    if (e->barcode_uri)
        ma_jw_kcstr(&w, "barcode_uri", e->barcode_uri);
    if (e->manual_code)
        ma_jw_kcstr(&w, "manual_input_code", e->manual_code);
    if (e->recovery_code)
        ma_jw_kcstr(&w, "recovery_code", e->recovery_code);
    if (MA_FACTORS_WEBAUTHN & 1u << e->type)
        ma_write_creation_options(&w, options);
    if (e->policy) {
        ma_jw_key(&w, "policy");
        ma_write_password_policy(&w, e->policy);
    }
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_create_method(struct ma_ctx *ctx)
{
    const struct body *b = ctx->scratch;
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    ma_audit_on_failure(ctx, "create", type_names[b->type], MA_SPAN_NULL);
    struct ma_creation_options options;
    int r = enrol(ctx, b, &e, &options);
    if (r == MA_OK)
        r = ma_audit_method(ctx, "create", e.type, e.id);
    return r == MA_OK ? reply(ctx, &e, &options) : r;
}

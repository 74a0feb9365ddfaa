/* SPDX-License-Identifier: Apache-2.0
 * {"auth_session", "authn_response"} of WebAuthn verifications (wire contract 3.3): unknown members of the browser's
 * toJSON() are ignored, the limits are the contract's.
 */
#include "attestation_body.h"

#include "int.h"
#include "ma/codec.h"

enum {
    SESSION_MAX = 512,
    ID_MAX = 1364,
    ATTESTATION_MAX = 2000,
    CLIENT_DATA_MAX = 1000,
    TRANSPORT_MAX = 100,
    TRANSPORTS_MAX = 32
};

static const char *const types[] = {"public-key", NULL};

struct inner {
    struct ma_span attestation_object, client_data_json;
    struct ma_span_list transports;
};
struct outer {
    struct ma_span id, raw_id;
    int type;
    struct inner response;
    struct ma_span_list transports; /* some clients put them here */
};
struct body {
    struct ma_span auth_session;
    struct outer authn;
    struct ma_span ignored;
};

#define F_TRANSPORTS(type_name)                                                                                        \
    {                                                                                                                  \
        .name = "transports", .type = MA_F_STRLIST, .off = offsetof(type_name, transports), .max = TRANSPORT_MAX,      \
        .max_items = TRANSPORTS_MAX                                                                                    \
    }

static const struct ma_jfield f_inner[] = {{.name = "attestationObject",
                                            .type = MA_F_STR,
                                            .flags = MA_REQ,
                                            .off = offsetof(struct inner, attestation_object),
                                            .min = 1,
                                            .max = ATTESTATION_MAX},
                                           {.name = "clientDataJSON",
                                            .type = MA_F_STR,
                                            .flags = MA_REQ,
                                            .off = offsetof(struct inner, client_data_json),
                                            .min = 1,
                                            .max = CLIENT_DATA_MAX},
                                           F_TRANSPORTS(struct inner)};
static const struct ma_shape inner_shape = MA_SHAPE_OPEN(struct inner, f_inner);

static const struct ma_jfield f_outer[] = {
    {.name = "id", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct outer, id), .min = 1, .max = ID_MAX},
    {.name = "rawId",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct outer, raw_id),
     .min = 1,
     .max = ID_MAX},
    {.name = "type", .type = MA_F_ENUM, .flags = MA_REQ, .off = offsetof(struct outer, type), .names = types},
    {.name = "response",
     .type = MA_F_OBJ,
     .flags = MA_REQ,
     .off = offsetof(struct outer, response),
     .sub = &inner_shape},
    F_TRANSPORTS(struct outer)};
static const struct ma_shape outer_shape = MA_SHAPE_OPEN(struct outer, f_outer);

static const struct ma_jfield f_body[] = {
    {.name = "auth_session",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct body, auth_session),
     .max = SESSION_MAX},
    {.name = "authn_response",
     .type = MA_F_OBJ,
     .flags = MA_REQ,
     .off = offsetof(struct body, authn),
     .sub = &outer_shape},
    {.name = "id", .type = MA_F_RAW, .off = offsetof(struct body, ignored)},
    {.name = "type", .type = MA_F_RAW, .off = offsetof(struct body, ignored)},
    {.name = "location", .type = MA_F_RAW, .off = offsetof(struct body, ignored)}};
static const struct ma_shape body_shape = MA_SHAPE(struct body, f_body);

static int decode(struct ma_ctx *ctx, struct ma_span text, const char *pointer, struct ma_span *ret)
{
    size_t n = 0, cap = text.n / 4 * 3 + 3;
    uint8_t *p = ma_arena_alloc(ctx->arena, cap);
    if (!p)
        return MA_E_NOMEM;
    if (ma_b64url_decode_padded(text, p, cap, &n) < 0)
        return ma_problem_at(ctx, pointer, "must be base64url");
    *ret = ma_span_of(p, n);
    return MA_OK;
}

int ma_attestation_body(struct ma_ctx *ctx, struct ma_attestation_body *ret)
{
    struct body b = {.auth_session = MA_SPAN_NULL};
    struct ma_span id;
    int r = ma_body(ctx, &body_shape, &b);
    if (r == MA_OK)
        r = decode(ctx, b.authn.id, "/authn_response/id", &id);
    if (r == MA_OK)
        r = decode(ctx, b.authn.raw_id, "/authn_response/rawId", &ret->response.id);
    if (r == MA_OK && !ma_span_eq(id, ret->response.id))
        r = ma_problem_at(ctx, "/authn_response/id", "must be the same as rawId");
    if (r == MA_OK)
        r = decode(ctx, b.authn.response.client_data_json, "/authn_response/response/clientDataJSON",
                   &ret->response.client_data_json);
    if (r == MA_OK)
        r = decode(ctx, b.authn.response.attestation_object, "/authn_response/response/attestationObject",
                   &ret->response.attestation_object);
    ret->auth_session = b.auth_session;
    ret->response.transports = b.authn.response.transports.v ? b.authn.response.transports : b.authn.transports;
    return r;
}

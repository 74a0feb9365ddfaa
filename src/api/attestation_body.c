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

/* MA_E_PARSE leaves the pointer of the member in *at. */
static int decode(struct ma_ctx *ctx, struct ma_span text, const char *pointer, const char **at, struct ma_span *ret)
{
    size_t n = 0, cap = text.n / 4 * 3 + 3;
    uint8_t *p = ma_arena_alloc(ctx->arena, cap);
    if (!p)
        return MA_E_NOMEM;
    *at = pointer;
    if (ma_b64url_decode_padded(text, p, cap, &n) < 0)
        return MA_E_PARSE;
    *ret = ma_span_of(p, n);
    return MA_OK;
}

static int take(struct ma_ctx *ctx, const struct outer *in, struct ma_attestation_response *ret, const char **at,
                const char **why)
{
    struct ma_span id;
    *why = "must be base64url";
    int r = decode(ctx, in->id, "/authn_response/id", at, &id);
    if (r == MA_OK)
        r = decode(ctx, in->raw_id, "/authn_response/rawId", at, &ret->id);
    if (r == MA_OK && !ma_span_eq(id, ret->id)) {
        *at = "/authn_response/id";
        *why = "must be the same as rawId";
        r = MA_E_PARSE;
    }
    if (r == MA_OK)
        r = decode(ctx, in->response.client_data_json, "/authn_response/response/clientDataJSON", at,
                   &ret->client_data_json);
    if (r == MA_OK)
        r = decode(ctx, in->response.attestation_object, "/authn_response/response/attestationObject", at,
                   &ret->attestation_object);
    ret->transports = in->response.transports.v ? in->response.transports : in->transports;
    return r;
}

int ma_attestation_body(struct ma_ctx *ctx, struct ma_attestation_body *ret)
{
    struct body b = {.auth_session = MA_SPAN_NULL};
    const char *at = NULL, *why = NULL;
    int r = ma_body(ctx, &body_shape, &b);
    if (r == MA_OK)
        r = take(ctx, &b.authn, &ret->response, &at, &why);
    ret->auth_session = b.auth_session;
    return r == MA_E_PARSE ? ma_problem_at(ctx, at, why) : r;
}

int ma_attestation_parse(struct ma_ctx *ctx, struct ma_span text, struct ma_attestation_response *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct outer o = {.id = MA_SPAN_NULL};
    const char *at = NULL, *why = NULL;
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &outer_shape, &o, &errs);
    if (r == MA_OK)
        r = take(ctx, &o, ret, &at, &why);
    return r == MA_E_INVAL ? MA_E_PARSE : r;
}

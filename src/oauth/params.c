/* SPDX-License-Identifier: Apache-2.0
 * Parameters of the POST endpoints, from forms and from JSON.
 */
#include "int.h"

#include <strings.h>

#include "ma/codec.h"

/* Known names and where they go. MA_F_RAW takes strings, objects and arrays alike, as JSON text. */
#define MA_OAUTH_FIELD(n)                                                                                              \
    {.name = #n, .type = MA_F_RAW, .flags = MA_NULLOK, .off = offsetof(struct ma_oauth_params, n)},
static const struct ma_jfield fields[] = {MA_OAUTH_PARAMS(MA_OAUTH_FIELD)};
#undef MA_OAUTH_FIELD
static const struct ma_shape shape = MA_SHAPE_OPEN(struct ma_oauth_params, fields);

static struct ma_span *slot(struct ma_oauth_params *p, size_t i)
{
    return (struct ma_span *)(void *)((char *)p + fields[i].off);
}

struct text {
    struct ma_span v;
};

/* The string that a JSON text is; p == NULL when it is something else. */
static struct ma_span unquote(struct ma_ctx *ctx, struct ma_span raw)
{
    static const struct ma_jfield one[] = {{.name = "v", .type = MA_F_STR, .off = offsetof(struct text, v)}};
    static const struct ma_shape one_shape = MA_SHAPE(struct text, one);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct text out = {MA_SPAN_NULL};
    const char *object = ma_arena_printf(ctx->arena, "{\"v\":%.*s}", (int)raw.n, (const char *)raw.p);
    if (!object || ma_json_parse(ma_span_str(object), &j) < 0 ||
        ma_json_decode(j, ctx->arena, &one_shape, &out, &errs) < 0)
        return MA_SPAN_NULL;
    return out.v;
}

/* Objects and arrays; everything else is text. */
static bool is_structured(size_t i)
{
    static const char *const names[] = {"authn_response", "user_profile", "user_metadata", "authenticator_types",
                                        "oob_channels"};
    for (size_t k = 0; k < MA_COUNT(names); k++)
        if (strcmp(fields[i].name, names[k]) == 0)
            return true;
    return false;
}

static int from_json(struct ma_ctx *ctx, struct ma_oauth_params *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    int r = ma_json_parse(ma_buf_view(&ctx->req.body), &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &shape, ret, &errs);
    if (r == MA_E_PARSE || r == MA_E_INVAL)
        return ma_oauth_fail(ctx, 400, "invalid_request", "The body must be a JSON object without repeated members.");
    for (size_t i = 0; r == MA_OK && i < MA_COUNT(fields); i++) {
        struct ma_span *s = slot(ret, i);
        if (s->n > 0 && s->p[0] == '"')
            *s = unquote(ctx, *s);
        else if (s->n > 0 && !is_structured(i))
            *s = MA_SPAN_NULL;
        else
            continue;
        if (!s->p)
            return ma_oauth_fail(ctx, 400, "invalid_request", "A parameter is not usable text.");
    }
    return r;
}

static int from_form(struct ma_ctx *ctx, struct ma_oauth_params *ret)
{
    struct ma_span rest = ma_buf_view(&ctx->req.body), name, value;
    bool seen[MA_COUNT(fields)] = {false};
    int r = MA_OK;
    while ((r = ma_form_next(ctx->arena, &rest, &name, &value)) == MA_OK) {
        for (size_t i = 0; i < MA_COUNT(fields); i++) {
            if (!ma_span_eq_str(name, fields[i].name))
                continue;
            if (seen[i]) /* RFC 6749 §3.1 */
                return ma_oauth_fail(ctx, 400, "invalid_request", "A parameter stands more than once.");
            if (!ma_utf8_valid(value))
                return ma_oauth_fail(ctx, 400, "invalid_request", "A parameter is not UTF-8.");
            seen[i] = true;
            *slot(ret, i) = value;
        }
    }
    if (r == MA_E_PARSE)
        return ma_oauth_fail(ctx, 400, "invalid_request", "The body is not well-formed.");
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static bool is_type(struct ma_span type, const char *want)
{
    size_t n = strlen(want);
    type = ma_trim(type);
    return type.n >= n && strncasecmp((const char *)type.p, want, n) == 0 &&
           (type.n == n || type.p[n] == ';' || type.p[n] == ' ');
}

int ma_oauth_params(struct ma_ctx *ctx, struct ma_oauth_params *ret)
{
    int r = MA_OK;
    *ret = (struct ma_oauth_params){.grant_type = MA_SPAN_NULL};
    if (ma_trim(ma_buf_view(&ctx->req.body)).n == 0)
        return MA_OK;
    if (is_type(ctx->req.content_type, "application/json"))
        r = from_json(ctx, ret);
    else if (is_type(ctx->req.content_type, "application/x-www-form-urlencoded"))
        r = from_form(ctx, ret);
    else
        return ma_oauth_fail(ctx, 415, "invalid_request",
                             "Send application/x-www-form-urlencoded or application/json.");
    for (size_t i = 0; r == MA_OK && i < MA_COUNT(fields); i++)
        if (slot(ret, i)->n == 0)
            *slot(ret, i) = MA_SPAN_NULL;
    return r;
}

struct ma_span ma_oauth_object(struct ma_ctx *ctx, struct ma_span raw)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    (void)ctx;
    struct ma_span s = ma_trim(raw);
    if (s.n == 0 || s.p[0] != '{' || ma_json_parse(s, &j) < 0)
        return MA_SPAN_NULL;
    return s;
}

int ma_oauth_missing(struct ma_ctx *ctx, const char *name)
{
    const char *text = ma_arena_printf(ctx->arena, "Missing required parameter: %s", name);
    return text ? ma_oauth_fail(ctx, 400, "invalid_request", text) : MA_E_NOMEM;
}

/* SPDX-License-Identifier: Apache-2.0
 * GET /openapi.json: the description of the API, which is part of the program.
 */
#include "int.h"

#include "ma/crypto.h"
#include "ma/codec.h"
#include "ma/embed.h"

MA_EMBED(ma_openapi_json, "conf/openapi.json");

enum { TAG_BYTES = 16 };

struct ma_span ma_openapi_document(void)
{
    return ma_span_of(ma_openapi_json_start, (size_t)(ma_openapi_json_end - ma_openapi_json_start));
}

static const char *etag(struct ma_ctx *ctx)
{
    uint8_t digest[MA_SHA256_LEN];
    char hex[TAG_BYTES * 2 + 1];
    if (ma_sha256(ma_openapi_document(), digest) < 0)
        return NULL;
    ma_hex_encode(ma_span_of(digest, TAG_BYTES), hex);
    return ma_arena_printf(ctx->arena, "\"%s\"", hex);
}

/* RFC 9110 §13.1.2: weak comparison, and a list. */
static bool is_known(struct ma_span if_none_match, const char *tag)
{
    return ma_span_eq_str(ma_trim(if_none_match), "*") ||
           (if_none_match.n > 0 && memmem(if_none_match.p, if_none_match.n, tag, strlen(tag)));
}

int ma_op_openapi(struct ma_ctx *ctx)
{
    struct ma_jw w;
    const char *tag = etag(ctx);
    if (!tag)
        return MA_E_NOMEM;
    bool known = is_known(ctx->req.if_none_match, tag);
    if (known) {
        (void)ma_reply_empty(ctx, 304);
    } else {
        ma_reply_json(ctx, 200, &w);
        ma_jw_raw(&w, ma_openapi_document());
    }
    ma_header(ctx, "ETag", tag);
    ma_header(ctx, "Cache-Control", "no-cache");
    ctx->cors_public = true;
    return known ? MA_OK : ma_reply_end(ctx);
}

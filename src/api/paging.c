/* SPDX-License-Identifier: Apache-2.0
 * take, from and next.
 */
#include "paging.h"

#include "ma/app.h"
#include "ma/codec.h"
#include "ma/crypto.h"

enum { MAC_BYTES = 16, TAKE_DIGITS_MAX = 4 };

int ma_take(struct ma_ctx *ctx, int64_t normal, int64_t max, size_t *ret)
{
    struct ma_span s = ma_query(ctx, "take");
    int64_t v = s.p ? 0 : normal;
    bool digits = s.n <= TAKE_DIGITS_MAX;
    for (size_t i = 0; i < s.n && digits; i++) {
        digits = s.p[i] >= '0' && s.p[i] <= '9';
        v = v * 10 + (s.p[i] - '0');
    }
    if (!digits || (s.p && s.n == 0))
        return ma_problem_at(ctx, "/take", "query/take must be integer");
    if (v < 1)
        return ma_problem_at(ctx, "/take", "query/take must be >= 1");
    if (v > max)
        return ma_problem_at(ctx, "/take", ma_arena_printf(ctx->arena, "query/take must be <= %lld", (long long)max));
    *ret = (size_t)v;
    return MA_OK;
}

static int mac_of(struct ma_ctx *ctx, const char *list, struct ma_span key, uint8_t out[32])
{
    const char *purpose = ma_arena_printf(ctx->arena, "cursor-%s", list);
    return purpose ? ma_vault_mac(ctx->app->vault, purpose, ctx->who.user_id, key, out) : MA_E_NOMEM;
}

const char *ma_cursor_make(struct ma_ctx *ctx, const char *list, struct ma_span key)
{
    uint8_t raw[MA_CURSOR_KEY_MAX + 32];
    char *text = ma_arena_alloc(ctx->arena, MA_B64URL_LEN(key.n + MAC_BYTES) + 1);
    if (!text || key.n > MA_CURSOR_KEY_MAX || mac_of(ctx, list, key, raw + key.n) < 0)
        return NULL;
    memcpy(raw, key.p, key.n);
    ma_b64url_encode(ma_span_of(raw, key.n + MAC_BYTES), text);
    return text;
}

int ma_cursor_read(struct ma_ctx *ctx, const char *list, struct ma_span *ret_key)
{
    struct ma_span text = ma_query(ctx, "from");
    if (!text.p)
        text = ma_query(ctx, "next");
    *ret_key = MA_SPAN_NULL;
    if (!text.p)
        return MA_OK;
    uint8_t *raw = ma_arena_alloc(ctx->arena, MA_CURSOR_KEY_MAX + MAC_BYTES), mac[32];
    size_t n = 0;
    if (!raw)
        return MA_E_NOMEM;
    if (ma_b64url_decode(text, raw, MA_CURSOR_KEY_MAX + MAC_BYTES, &n) < 0 || n <= MAC_BYTES)
        return ma_problem_at(ctx, "/from", "query/from must be a cursor of an earlier page");
    struct ma_span key = ma_span_of(raw, n - MAC_BYTES);
    int r = mac_of(ctx, list, key, mac);
    if (r < 0)
        return r;
    if (!ma_ct_eq(ma_span_of(mac, MAC_BYTES), ma_span_of(raw + key.n, MAC_BYTES)))
        return ma_problem_at(ctx, "/from", "query/from must be a cursor of an earlier page");
    *ret_key = key;
    return MA_OK;
}

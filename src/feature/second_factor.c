/* SPDX-License-Identifier: Apache-2.0
 * The second factors a user could show, as somebody who is not quite signed in may see them.
 */
#include "ma/signin.h"

#include "int.h"

#define SECOND_FACTORS                                                                                                 \
    (1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL | 1u << MA_FACTOR_PUSH |                     \
     1u << MA_FACTOR_RECOVERY | MA_FACTORS_WEBAUTHN)

int ma_second_factors(struct ma_ctx *ctx, const struct ma_user *user, struct ma_method_view v[MA_METHODS_LISTED_MAX],
                      size_t *ret_n)
{
    const uint32_t open = SECOND_FACTORS & ma_factors_enabled(ctx);
    size_t all = 0, n = 0;
    *ret_n = 0;
    ctx->who.user_id = user->user_id;
    ctx->who.has_database = user->connection.p != NULL;
    int r = ma_methods_list(ctx, v, &all);
    for (size_t i = 0; r == MA_OK && i < all; i++)
        if (v[i].confirmed && open & 1u << v[i].type)
            v[n++] = v[i];
    *ret_n = n;
    return r;
}

int ma_second_factor(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span id, struct ma_method_view *ret)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    int r = ma_second_factors(ctx, user, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        if (ma_span_eq(v[i].id, id)) {
            *ret = v[i];
            return MA_OK;
        }
    }
    return r < 0 ? r : MA_E_NOTFOUND;
}

/* "a***@example.com"; the first character may take several bytes. */
static const char *mask_email(struct ma_arena *a, struct ma_span address)
{
    const uint8_t *at = address.n ? memrchr(address.p, '@', address.n) : NULL;
    if (!at)
        return "***";
    size_t local = (size_t)(at - address.p), first = local > 0 ? 1 : 0;
    while (first > 0 && first < local && (address.p[first] & 0xc0) == 0x80)
        first++;
    return ma_arena_printf(a, "%.*s***%.*s", (int)first, (const char *)address.p, (int)(address.n - local),
                           (const char *)at);
}

/* "XXXXXXX" and the last four digits, of which a short number shows fewer. */
static const char *mask_phone(struct ma_arena *a, struct ma_span number)
{
    enum { SHOWN = 4 };
    size_t shown = number.n > 2 * SHOWN ? SHOWN : number.n / 2;
    return ma_arena_printf(a, "XXXXXXX%.*s", (int)shown, (const char *)number.p + (number.n - shown));
}

static int show(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_factor_choice *ret)
{
    *ret = (struct ma_factor_choice){
        .id = v->id,
        .type = v->type,
        .name = v->name,
        .voice = v->voice,
        .created_at = v->created_at,
        .last_auth_at = v->last_auth_at,
    };
    if (!v->address.p)
        return MA_OK;
    ret->name = ma_span_str(v->type == MA_FACTOR_PHONE ? mask_phone(ctx->arena, v->address)
                                                       : mask_email(ctx->arena, v->address));
    return ret->name.p ? MA_OK : MA_E_NOMEM;
}

int ma_signin_factors(struct ma_ctx *ctx, const struct ma_user *user, struct ma_factor_choice ret[MA_FACTORS_SHOWN_MAX],
                      size_t *ret_n)
{
    _Static_assert(MA_METHODS_LISTED_MAX <= MA_FACTORS_SHOWN_MAX, "what is listed can be shown");
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    *ret_n = 0;
    int r = ma_second_factors(ctx, user, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        r = show(ctx, &v[i], &ret[i]);
    if (r == MA_OK)
        *ret_n = n;
    return r;
}

uint32_t ma_factors_bits(const struct ma_factor_choice *v, size_t n)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++)
        bits |= 1u << v[i].type;
    return bits & ~(1u << MA_FACTOR_RECOVERY);
}

/* SPDX-License-Identifier: Apache-2.0
 * The list of a user's methods: stored ones, the password, and the verified primary e-mail.
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

void ma_view_of(const struct ma_method *m, struct ma_method_view *ret)
{
    *ret = (struct ma_method_view){
        .id = m->id,
        .type = m->type,
        .confirmed = m->confirmed,
        .name = m->name,
        .address = m->address,
        .voice = m->voice,
        .created_at = m->created_at,
        .last_auth_at = m->last_auth_at,
        .expires_at = m->expires_at,
    };
}

struct ma_span ma_password_method_id(struct ma_arena *a, struct ma_span user_id)
{
    static const char prefix[] = "password|";
    const size_t n = sizeof prefix - 1;
    char *id = ma_arena_alloc(a, n + MA_B64URL_LEN(user_id.n) + 1);
    if (!id)
        return MA_SPAN_NULL;
    memcpy(id, prefix, n);
    ma_b64url_encode(user_id, id + n);
    return ma_span_str(id);
}

int ma_password_view(struct ma_ctx *ctx, struct ma_method_view *ret)
{
    struct ma_password_row row;
    int r = ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &row);
    if (r < 0)
        return r;
    *ret = (struct ma_method_view){
        .id = ma_password_method_id(ctx->arena, ctx->who.user_id),
        .type = MA_FACTOR_PASSWORD,
        .confirmed = true,
        .identity_user_id = ctx->who.user_id,
        .created_at = row.created_at,
        .last_password_reset = row.changed_at,
    };
    return ret->id.p ? MA_OK : MA_E_NOMEM;
}

/* A stable id for the e-mail nobody enrolled: the same for the same user and address. */
static int automatic_id(struct ma_ctx *ctx, struct ma_span email, struct ma_span *ret)
{
    static const char alphabet[] = MA_ALNUM62;
    enum { SUFFIX = 16 };
    uint8_t mac[32];
    char text[] = "email|dev_0123456789abcdef";
    int r = ma_vault_mac(ctx->app->vault, "automatic-email", ctx->who.user_id, email, mac);
    if (r < 0)
        return r;
    for (size_t i = 0; i < SUFFIX; i++) {
        size_t pick = (size_t)mac[2 * i] << 8 | mac[2 * i + 1];
        text[sizeof text - 1 - SUFFIX + i] = alphabet[pick % (sizeof alphabet - 1)];
    }
    *ret = ma_arena_dup(ctx->arena, ma_span_str(text));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* A verified primary e-mail counts as an e-mail factor unless the same address was enrolled by hand. */
static int automatic_email(struct ma_ctx *ctx, const struct ma_method *rows, size_t n, struct ma_method_view *ret)
{
    struct ma_user u;
    if (!(ctx->state->factors & 1u << MA_FACTOR_EMAIL) || !ctx->conf->enrollment.auto_email_factor)
        return MA_E_NOTFOUND;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    if (!u.email.p || !u.email_verified)
        return MA_E_NOTFOUND;
    struct ma_span address = u.email; /* enrolled ones are stored in their normal spelling */
    r = ma_email_normalise(ctx->arena, u.email, &address);
    if (r < 0 && r != MA_E_PARSE)
        return r;
    for (size_t i = 0; i < n; i++)
        if (rows[i].type == MA_FACTOR_EMAIL && rows[i].confirmed && ma_span_eq(rows[i].address, address))
            return MA_E_NOTFOUND;
    *ret = (struct ma_method_view){
        .type = MA_FACTOR_EMAIL, .confirmed = true, .address = u.email, .created_at = u.created_at, .automatic = true};
    return automatic_id(ctx, u.email, &ret->id);
}

/* What is listed without a row in the methods table: the password and the automatic e-mail. */
static int synthetic(struct ma_ctx *ctx, const struct ma_method *rows, size_t n, struct ma_method_view v[2],
                     size_t *ret_n)
{
    *ret_n = 0;
    int r = ctx->who.has_database ? ma_password_view(ctx, &v[0]) : MA_E_NOTFOUND;
    if (r == MA_OK)
        (*ret_n)++;
    else if (r != MA_E_NOTFOUND)
        return r;
    r = automatic_email(ctx, rows, n, &v[*ret_n]);
    if (r == MA_OK)
        (*ret_n)++;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static bool before(const struct ma_method_view *a, const struct ma_method_view *b)
{
    if (a->created_at != b->created_at)
        return a->created_at < b->created_at;
    size_t n = a->id.n < b->id.n ? a->id.n : b->id.n;
    int c = memcmp(a->id.p, b->id.p, n);
    return c != 0 ? c < 0 : a->id.n < b->id.n;
}

static void insert_ordered(struct ma_method_view *v, size_t *n, const struct ma_method_view *one)
{
    size_t i = *n;
    for (; i > 0 && before(one, &v[i - 1]); i--)
        v[i] = v[i - 1];
    v[i] = *one;
    (*n)++;
}

/* Confirmed rows first claim the places of the list; pending ones fill what is left. */
static size_t take_rows(const struct ma_ctx *ctx, const struct ma_method *rows, size_t n, size_t room,
                        struct ma_method_view *v)
{
    size_t confirmed = 0, taken = 0;
    for (size_t i = 0; i < n; i++)
        confirmed += rows[i].confirmed;
    size_t pending_room = confirmed < room ? room - confirmed : 0;
    if (!ctx->conf->enrollment.list_unconfirmed)
        pending_room = 0;
    for (size_t i = 0; i < n && taken < room; i++) {
        if (!rows[i].confirmed && pending_room == 0)
            continue;
        pending_room -= rows[i].confirmed ? 0 : 1;
        ma_view_of(&rows[i], &v[taken++]);
    }
    return taken;
}

/* Joins what is stored of WebAuthn credentials to their methods. */
static int attach_credentials(struct ma_ctx *ctx, struct ma_method_view *v, size_t n)
{
    size_t want = 0, got = 0;
    for (size_t i = 0; i < n; i++)
        want += (MA_FACTORS_WEBAUTHN & 1u << v[i].type) != 0;
    if (want == 0)
        return MA_OK;
    struct ma_credential *c = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    int r = ma_credential_list(ctx->db, ctx->arena, ctx->who.user_id, c, MA_METHODS_MAX, &got);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        for (size_t k = 0; k < got; k++)
            if (ma_span_eq(v[i].id, c[k].method_id)) {
                v[i].credential = &c[k];
                v[i].identity_user_id = ctx->who.user_id;
            }
    return r;
}

int ma_methods_list(struct ma_ctx *ctx, struct ma_method_view v[MA_METHODS_LISTED_MAX], size_t *ret_n)
{
    struct ma_method *rows = ma_arena_alloc(ctx->arena, MA_METHODS_MAX * sizeof *rows);
    struct ma_method_view more[2];
    size_t n_rows = 0, n_more = 0;
    if (!rows)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, rows, MA_METHODS_MAX, &n_rows);
    if (r == MA_OK)
        r = synthetic(ctx, rows, n_rows, more, &n_more);
    if (r < 0)
        return r;
    *ret_n = take_rows(ctx, rows, n_rows, MA_METHODS_LISTED_MAX - n_more, v);
    r = attach_credentials(ctx, v, *ret_n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_more; i++)
        insert_ordered(v, ret_n, &more[i]);
    return MA_OK;
}

int ma_methods_find(struct ma_ctx *ctx, struct ma_span id, struct ma_method_view *ret)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    int r = ma_methods_list(ctx, v, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        if (ma_span_eq(v[i].id, id)) {
            *ret = v[i];
            return MA_OK;
        }
    }
    return MA_E_NOTFOUND;
}

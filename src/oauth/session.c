/* SPDX-License-Identifier: Apache-2.0
 * What a browser is signed in with: a random cookie, kept as a MAC, that changes with every login.
 */
#include "login_int.h"

#include "ma/account.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/oauth.h"

#define COOKIE "myaccount-session"

const char *ma_cookie_name(struct ma_ctx *ctx, const char *name)
{
    /* RFC 6265bis §4.1.3.2: the prefix takes Secure, which plain http on localhost cannot offer. */
    return ma_origin_is_https(ctx) ? ma_arena_printf(ctx->arena, "__Host-%s", name) : name;
}

/* One host's cookie is worth nothing at another. */
static int cookie_mac(struct ma_ctx *ctx, const char *purpose, struct ma_span value, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, purpose, ma_span_str(ma_ctx_origin(ctx)), value, out);
}

static struct ma_span cookie_value(struct ma_ctx *ctx)
{
    const char *name = ma_cookie_name(ctx, COOKIE);
    struct ma_span value = name ? ma_cookie(ctx, name) : MA_SPAN_NULL;
    return value.n == MA_TOKEN_LEN ? value : MA_SPAN_NULL;
}

int ma_browser_session(struct ma_ctx *ctx, struct ma_session *ret)
{
    uint8_t mac[32];
    struct ma_span value = cookie_value(ctx);
    if (!value.p)
        return MA_E_NOTFOUND;
    int r = cookie_mac(ctx, "session-cookie", value, mac);
    return r == MA_OK ? ma_session_by_cookie(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), ctx->now_ms, ret) : r;
}

int ma_browser_user(struct ma_ctx *ctx, struct ma_span *ret)
{
    struct ma_session s;
    *ret = MA_SPAN_NULL;
    int r = ma_browser_session(ctx, &s);
    if (r == MA_OK)
        *ret = s.user_id;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

int ma_browser_session_end(struct ma_ctx *ctx, const struct ma_session *s)
{
    int r = ma_session_delete(ctx->db, s->user_id, s->id);
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static int64_t idle_end(const struct ma_ctx *ctx, int64_t expires_at)
{
    int64_t at = ctx->now_ms + ctx->state->tenant.idle_session_lifetime_s * 1000;
    return at < expires_at ? at : expires_at;
}

static int new_id(struct ma_ctx *ctx, struct ma_span *ret)
{
    char id[MA_LOGIN_SESSION_ID_LEN + 1] = "ses_";
    int r = ma_rand_chars(ctx->app->rand, MA_ALNUM62, id + 4, MA_LOGIN_SESSION_ID_LEN - 4);
    if (r < 0)
        return r;
    *ret = ma_arena_dup(ctx->arena, ma_span_str(id));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* Whatever the browser held before ends here, so that nobody signs in with a cookie that somebody planted. */
static int drop_previous(struct ma_ctx *ctx)
{
    struct ma_session old;
    int r = ma_browser_session(ctx, &old);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    return r == MA_OK ? ma_browser_session_end(ctx, &old) : r;
}

int ma_browser_session_begin(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span org_id,
                             const struct ma_authn *authn, struct ma_span *ret_id, const char **ret_cookie)
{
    uint8_t mac[32];
    char *value = ma_arena_alloc(ctx->arena, MA_TOKEN_LEN + 1);
    int r = value ? drop_previous(ctx) : MA_E_NOMEM;
    if (r == MA_OK)
        r = new_id(ctx, ret_id);
    if (r == MA_OK)
        r = ma_id_token(ctx->app->rand, value);
    if (r == MA_OK)
        r = cookie_mac(ctx, "session-cookie", ma_span_of(value, MA_TOKEN_LEN), mac);
    if (r < 0)
        return r;
    struct ma_place from = ma_place_of(ctx);
    struct ma_session s = {
        .id = *ret_id,
        .cookie_mac = ma_span_of(mac, sizeof mac),
        .user_id = user_id,
        .org_id = org_id,
        .user_agent = from.user_agent,
        .ip = from.ip,
        .authn = *authn,
        .created_at = ctx->now_ms,
        .used_at = ctx->now_ms,
        .expires_at = ctx->now_ms + ctx->state->tenant.session_lifetime_s * 1000,
    };
    s.idle_at = idle_end(ctx, s.expires_at);
    *ret_cookie = value;
    return ma_session_insert(ctx->db, &s);
}

void ma_browser_session_cookie(struct ma_ctx *ctx, const char *value)
{
    const char *name = ma_cookie_name(ctx, COOKIE);
    if (name)
        ma_cookie_set(ctx, name, value ? value : "", value ? ctx->state->tenant.session_lifetime_s : 0);
}

int ma_browser_session_touch(struct ma_ctx *ctx, struct ma_session *s)
{
    s->used_at = ctx->now_ms;
    s->idle_at = idle_end(ctx, s->expires_at);
    return ma_session_update(ctx->db, s);
}

int ma_browser_session_proof(struct ma_ctx *ctx, char out[65])
{
    uint8_t mac[32];
    int r = cookie_mac(ctx, "session-form", cookie_value(ctx), mac);
    if (r == MA_OK)
        ma_hex_encode(ma_span_of(mac, sizeof mac), out);
    return r;
}

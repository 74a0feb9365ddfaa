/* SPDX-License-Identifier: Apache-2.0
 * Refresh tokens: "v1.<family>.<generation>.<MAC>". The MAC is made with a key of the vault over the
 * family's salt, id and generation, so that the database alone gives no token, and the successor of a
 * token can be given again to whoever asks within the leeway (RFC 9700 §4.14.2).
 */
#include "int.h"

#include <stdio.h>

#include "ma/account.h"
#include "ma/codec.h"
#include "ma/crypto.h"

enum { GENERATION_DIGITS = 10, SALT_BYTES = 32, MAC_CHARS = 43 };

static int mac_of(struct ma_ctx *ctx, const struct ma_family *f, int64_t generation, char out[MAC_CHARS + 1])
{
    uint8_t mac[32];
    char value[MA_FAMILY_ID_LEN + GENERATION_DIGITS + 3];
    int n = snprintf(value, sizeof value, "%.*s.%lld", (int)f->id.n, (const char *)f->id.p, (long long)generation);
    if (n < 0 || (size_t)n >= sizeof value)
        return MA_E_RANGE;
    int r = ma_vault_mac(ctx->app->vault, "refresh-token", f->salt, ma_span_of(value, (size_t)n), mac);
    if (r == MA_OK)
        ma_b64url_encode(ma_span_of(mac, sizeof mac), out);
    ma_wipe(mac, sizeof mac);
    return r;
}

const char *ma_refresh_text(struct ma_ctx *ctx, const struct ma_family *f, int64_t generation)
{
    char mac[MAC_CHARS + 1];
    if (mac_of(ctx, f, generation, mac) < 0)
        return NULL;
    return ma_arena_printf(ctx->arena, "v1.%.*s.%lld.%s", (int)f->id.n, (const char *)f->id.p, (long long)generation,
                           mac);
}

/* Splits at the dots; strict, so that a token has one spelling. */
static bool split(struct ma_span text, struct ma_span *id, int64_t *generation, struct ma_span *mac)
{
    const size_t head = 3 + MA_FAMILY_ID_LEN + 1;
    if (text.n < head + 2 + MAC_CHARS)
        return false;
    const size_t digits = text.n - head - 1 - MAC_CHARS;
    if (digits > GENERATION_DIGITS || memcmp(text.p, "v1.", 3) != 0 || text.p[head - 1] != '.' ||
        text.p[head + digits] != '.' || (text.p[head] == '0' && digits > 1))
        return false;
    *generation = 0;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = text.p[head + i];
        if (c < '0' || c > '9')
            return false;
        *generation = *generation * 10 + (c - '0');
    }
    *id = ma_span_of(text.p + 3, MA_FAMILY_ID_LEN);
    *mac = ma_span_of(text.p + text.n - MAC_CHARS, MAC_CHARS);
    return true;
}

int ma_refresh_find(struct ma_ctx *ctx, struct ma_span text, struct ma_family *ret, int64_t *ret_generation)
{
    struct ma_span id, mac;
    char want[MAC_CHARS + 1];
    if (!split(text, &id, ret_generation, &mac))
        return MA_E_AUTH;
    int r = ma_family_get(ctx->db, ctx->arena, id, ret);
    if (r == MA_E_NOTFOUND)
        return MA_E_AUTH;
    if (r == MA_OK)
        r = mac_of(ctx, ret, *ret_generation, want);
    if (r < 0)
        return r;
    return ma_ct_eq(ma_span_of(want, MAC_CHARS), mac) ? MA_OK : MA_E_AUTH;
}

static int64_t later(int64_t now, int64_t seconds)
{
    return seconds > 0 ? now + seconds * 1000 : 0;
}

/* Access tokens name what ends them: the browser's session, else the refresh token that they came with. */
static int name_session(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_family *f)
{
    is->sid = f->session_id.p ? f->session_id : ma_arena_dup(ctx->arena, f->id);
    return is->sid.p ? MA_OK : MA_E_NOMEM;
}

int ma_family_begin(struct ma_ctx *ctx, struct ma_issue *is, char ret_family[MA_FAMILY_ID_LEN + 1])
{
    uint8_t salt[SALT_BYTES];
    ret_family[0] = '\0';
    if (!is->granted.offline || !ma_state_client_may(is->client, "refresh_token"))
        return MA_OK;
    int r = ctx->app->rand->fill(ctx->app->rand, salt, sizeof salt);
    if (r == MA_OK)
        r = ma_rand_chars(ctx->app->rand, MA_ALNUM62, ret_family, MA_FAMILY_ID_LEN);
    if (r < 0)
        return r;
    ret_family[MA_FAMILY_ID_LEN] = '\0';
    bool is_public = is->client->auth == MA_AUTH_NONE;
    struct ma_family f = {
        .id = ma_span_of(ret_family, MA_FAMILY_ID_LEN),
        .user_id = is->user.user_id,
        .client_id = is->client->client_id,
        .session_id = is->session_id,
        .audience = is->granted.audience,
        .scope = is->granted.scope,
        .org_id = is->org_id,
        .jkt = is_public ? is->jkt : MA_SPAN_NULL, /* RFC 9449 §5: confidential clients' are bound by their secret */
        .gty = ma_span_str(is->gty),
        .authn = is->authn,
        .salt = ma_span_of(salt, sizeof salt),
        .generation = 1,
        .created_at = ctx->now_ms,
        .used_at = ctx->now_ms,
        .idle_at = later(ctx->now_ms, is->client->refresh.idle_s),
        .expires_at = later(ctx->now_ms, is->client->refresh.lifetime_s),
        .from = ma_place_of(ctx),
    };
    r = ma_family_insert(ctx->db, &f);
    if (r == MA_OK)
        r = name_session(ctx, is, &f);
    if (r == MA_OK)
        is->refresh_token = ma_refresh_text(ctx, &f, 1);
    return r == MA_OK && !is->refresh_token ? MA_E_NOMEM : r;
}

static int reuse(struct ma_ctx *ctx, const struct ma_family *f)
{
    int r = ma_family_revoke(ctx->db, f->user_id, f->id, ctx->now_ms);
    if (r == MA_OK || r == MA_E_CONFLICT)
        r = ma_audit_signin(ctx, "ferrt", f->user_id, f->client_id,
                            MA_LIT("{\"reason\":\"reuse of a refresh token\"}"));
    return r < 0 ? r : MA_E_AUTH;
}

int ma_family_continue(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_family *f, int64_t generation)
{
    const struct ma_state_refresh *rule = &is->client->refresh;
    struct ma_family next = *f;
    int64_t newest = f->generation;
    int r = MA_OK;
    next.idle_at = later(ctx->now_ms, rule->idle_s);
    next.from = ma_place_of(ctx);
    if (generation == f->generation && rule->rotating) {
        r = ma_family_rotate(ctx->db, &next, ctx->now_ms);
        newest++;
    } else if (generation == f->generation) {
        r = ma_family_touch(ctx->db, &next, ctx->now_ms);
    } else if (generation != f->generation - 1 || rule->leeway_s <= 0 ||
               ctx->now_ms - f->rotated_at > rule->leeway_s * 1000) {
        return reuse(ctx, f);
    }
    if (r == MA_OK)
        r = name_session(ctx, is, f);
    if (r < 0)
        return r;
    is->refresh_token = ma_refresh_text(ctx, f, newest);
    return is->refresh_token ? MA_OK : MA_E_NOMEM;
}

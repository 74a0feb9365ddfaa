/* SPDX-License-Identifier: Apache-2.0
 * GET /authentication-methods/{id}/details: what does not fit the vendor's method objects.
 */
#include "int.h"

#include "ma/account.h"
#include "ma/app.h"
#include "ma/authenticators.h"
#include "ma/codec.h"
#include "ma/passkey.h"
#include "place_json.h"

enum { BYTES_MAX = 2048 };

static void put_bytes(struct ma_jw *w, struct ma_span bytes)
{
    char text[MA_B64URL_LEN(BYTES_MAX) + 1];
    if (bytes.n > BYTES_MAX)
        bytes.n = 0;
    ma_b64url_encode(bytes, text);
    ma_jw_cstr(w, text);
}

/* When and where a method was last used; at 0: not known. */
struct use {
    int64_t at;
    struct ma_place from;
};

static int find_use(struct ma_ctx *ctx, const struct ma_method_view *v, struct use *ret)
{
    struct ma_method m;
    struct ma_password_row p;
    int r = MA_OK;
    *ret = (struct use){.at = 0};
    if (v->type == MA_FACTOR_PASSWORD) {
        r = ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &p);
        if (r == MA_OK)
            *ret = (struct use){p.used_at, p.used_from};
    } else if (!v->automatic) {
        r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, v->id, ctx->now_ms, &m);
        if (r == MA_OK)
            *ret = (struct use){m.last_auth_at, m.used_from};
    }
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static void put_use(struct ma_ctx *ctx, struct ma_jw *w, const struct use *u)
{
    if (!u->at)
        return;
    ma_jw_key(w, "last_use");
    ma_jw_obj(w);
    ma_jw_kdate(w, "at", u->at);
    ma_write_place(ctx, w, &u->from);
    ma_jw_obj_end(w);
}

static void put_provider(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_credential *c)
{
    struct ma_span name, icon;
    if (!ma_authenticator(ctx->app->authenticators, ctx->arena, c->aaguid, &name, &icon))
        return;
    ma_jw_key(w, "provider");
    ma_jw_obj(w);
    ma_jw_kstr(w, "name", name);
    if (icon.p)
        ma_jw_kstr(w, "icon", icon);
    ma_jw_obj_end(w);
}

/* Every credential that the browser may offer for this relying party and handle: what it hears of no more, it drops. */
static int put_accepted(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_credential *one)
{
    struct ma_credential *v = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *v);
    size_t n = 0;
    int r = v ? ma_credential_list(ctx->db, ctx->arena, ctx->who.user_id, v, MA_METHODS_MAX, &n) : MA_E_NOMEM;
    ma_jw_key(w, "accepted_credential_ids");
    ma_jw_arr(w);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        if (ma_span_eq(v[i].rp_id, one->rp_id) && ma_span_eq(v[i].user_handle, one->user_handle))
            put_bytes(w, v[i].credential_id);
    ma_jw_arr_end(w);
    return r;
}

/* What PublicKeyCredential.signalAllAcceptedCredentials and signalCurrentUserDetails take (WebAuthn Level 3 §5.1.10).
 * The names are those that a registration would use today. */
static int put_signal(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_credential *c)
{
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    struct ma_span name = ma_passkey_user_name(&u);
    ma_jw_key(w, "webauthn");
    ma_jw_obj(w);
    ma_jw_kstr(w, "rp_id", c->rp_id);
    ma_jw_key(w, "user_handle");
    put_bytes(w, c->user_handle);
    ma_jw_key(w, "credential_id");
    put_bytes(w, c->credential_id);
    r = put_accepted(ctx, w, c);
    ma_jw_kstr(w, "name", name);
    ma_jw_kstr(w, "display_name", u.name.p ? u.name : name);
    ma_jw_obj_end(w);
    return r;
}

int ma_op_method_details(struct ma_ctx *ctx)
{
    struct ma_method_view v;
    struct use use;
    struct ma_jw w;
    int r = ma_methods_find(ctx, ctx->req.params[0], &v);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    if (r == MA_OK)
        r = find_use(ctx, &v, &use);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "id", v.id);
    ma_jw_kcstr(&w, "type", ma_factor_name(v.type));
    put_use(ctx, &w, &use);
    if (v.type == MA_FACTOR_RECOVERY) /* one at a time: a used one is replaced */
        ma_jw_kint(&w, "remaining_recovery_codes", v.confirmed ? 1 : 0);
    if (v.credential) {
        put_provider(ctx, &w, v.credential);
        r = put_signal(ctx, &w, v.credential);
    }
    ma_jw_obj_end(&w);
    return r == MA_OK ? ma_reply_end(ctx) : r;
}

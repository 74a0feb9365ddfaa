/* SPDX-License-Identifier: Apache-2.0
 * Documents that browsers and phones fetch to learn who belongs to the relying party.
 */
#include "int.h"
#include "ma/codec.h"
#include "ma/passkey.h"
#include "ma/passkey_origins.h"

enum { RELATED_MAX = 128 };

static int finish(struct ma_ctx *ctx)
{
    ma_header(ctx, "Cache-Control", "public, max-age=300");
    return ma_reply_end(ctx);
}

static bool is_https(struct ma_span origin)
{
    static const char https[] = "https://";
    return origin.n > sizeof https - 1 && memcmp(origin.p, https, sizeof https - 1) == 0 &&
           memchr(origin.p, '*', origin.n) == NULL;
}

/* Each origin once; others than https are for development and no browser looks them up here. */
static void add_origin(struct ma_jw *w, struct ma_span_list *seen, struct ma_span origin)
{
    if (!is_https(origin) || seen->n == RELATED_MAX || ma_span_list_has(seen, origin))
        return;
    seen->v[seen->n++] = origin;
    ma_jw_str(w, origin);
}

/* WebAuthn Level 3 §5.11: origins that may use the relying party id although they are not under it. */
int ma_op_related_origins(struct ma_ctx *ctx)
{
    struct ma_span_list seen = {ma_arena_calloc(ctx->arena, RELATED_MAX, sizeof(struct ma_span)), 0};
    struct ma_jw w;
    if (!seen.v)
        return MA_E_NOMEM;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "origins");
    ma_jw_arr(&w);
    add_origin(&w, &seen, ma_span_str(ctx->conf->base_url));
    for (size_t i = 0; i < ctx->conf->custom_domains.n; i++)
        add_origin(&w, &seen, ma_span_str(ctx->conf->custom_domains.v[i]));
    for (size_t i = 0; i < ctx->conf->webauthn.origins.n; i++)
        add_origin(&w, &seen, ma_span_str(ctx->conf->webauthn.origins.v[i]));
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    return finish(ctx);
}

/* Apple's association file: the apps that may use this host's passkeys. */
int ma_op_apple_association(struct ma_ctx *ctx)
{
    struct ma_jw w;
    struct ma_mobile m;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "webcredentials");
    ma_jw_obj(&w);
    ma_jw_key(&w, "apps");
    ma_jw_arr(&w);
    for (size_t i = 0; i < ctx->state->n_clients; i++) {
        if (!ma_client_mobile(ctx->arena, &ctx->state->clients[i], &m) || m.team_id.n == 0 || m.bundle.n == 0)
            continue;
        const char *app = ma_arena_printf(ctx->arena, "%s.%s", (const char *)m.team_id.p, (const char *)m.bundle.p);
        if (!app)
            return MA_E_NOMEM;
        ma_jw_cstr(&w, app);
    }
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    return finish(ctx);
}

static void write_link(struct ma_jw *w, const struct ma_mobile *m)
{
    ma_jw_obj(w);
    ma_jw_key(w, "relation");
    ma_jw_arr(w);
    ma_jw_cstr(w, "delegate_permission/common.handle_all_urls");
    ma_jw_cstr(w, "delegate_permission/common.get_login_creds");
    ma_jw_arr_end(w);
    ma_jw_key(w, "target");
    ma_jw_obj(w);
    ma_jw_kcstr(w, "namespace", "android_app");
    ma_jw_kstr(w, "package_name", m->package);
    ma_jw_key(w, "sha256_cert_fingerprints");
    ma_jw_arr(w);
    for (size_t i = 0; i < m->fingerprints.n; i++)
        ma_jw_str(w, m->fingerprints.v[i]);
    ma_jw_arr_end(w);
    ma_jw_obj_end(w);
    ma_jw_obj_end(w);
}

/* Digital Asset Links: the same for Android. */
int ma_op_asset_links(struct ma_ctx *ctx)
{
    struct ma_jw w;
    struct ma_mobile m;
    ma_reply_json(ctx, 200, &w);
    ma_jw_arr(&w);
    for (size_t i = 0; i < ctx->state->n_clients; i++)
        if (ma_client_mobile(ctx->arena, &ctx->state->clients[i], &m) && m.package.n && m.fingerprints.n)
            write_link(&w, &m);
    ma_jw_arr_end(&w);
    return finish(ctx);
}

/* SPDX-License-Identifier: Apache-2.0
 * Keeping what a change takes away, and bringing it back within the limits that hold for enrolling it.
 */
#include "ma/passkey.h"

#include "int.h"
#include "notify_int.h"
#include "push_int.h"

/* --- keeping --- */

static struct ma_seal_id secret_id(const struct ma_ctx *ctx, struct ma_span method_id)
{
    return (struct ma_seal_id){"methods", "secret", method_id, ctx->who.user_id};
}

static int take_credential(struct ma_ctx *ctx, struct ma_kept_method *k)
{
    size_t n = 0;
    struct ma_credential *c = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    int r = ma_credential_list(ctx->db, ctx->arena, ctx->who.user_id, c, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        if (ma_span_eq(c[i].method_id, k->m.id)) {
            k->c = c[i];
            k->has_credential = true;
        }
    }
    return r;
}

/* The device, and the authenticator that goes with it. */
static int take_device(struct ma_ctx *ctx, struct ma_kept_method *k)
{
    struct ma_span token = MA_SPAN_NULL;
    int r = ma_push_device_get(ctx->db, ctx->arena, ctx->who.user_id, k->m.id, &k->d);
    if (r == MA_OK)
        r = ma_push_open_token(ctx, &k->d, &token);
    if (r == MA_E_CRYPTO) { /* it comes back without; the app may name another */
        k->d.service = MA_SPAN_NULL;
        r = MA_OK;
    }
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    k->d.push_token = token;
    k->has_device = true;
    return k->d.pair_id.p ? ma_keep_method(ctx, k->d.pair_id, &k->pair) : MA_OK;
}

static int keep(struct ma_ctx *ctx, struct ma_kept_method *k, struct ma_span *ret)
{
    int r = MA_OK;
    /* Sealed anew as a whole with the notice, so that one seal and one key are all there is to rotate. */
    if (k->m.type == MA_FACTOR_TOTP && k->m.secret.p) {
        struct ma_seal_id id = secret_id(ctx, k->m.id);
        r = ma_vault_open_blob(ctx->app->vault, ctx->arena, &id, k->m.secret, &k->m.secret);
        if (r == MA_E_AUTH || r == MA_E_CRYPTO) { /* a seed nobody can open is worth nothing: deleting goes on */
            *ret = MA_SPAN_NULL;
            return MA_OK;
        }
    }
    if (r == MA_OK && (MA_FACTORS_WEBAUTHN & 1u << k->m.type))
        r = take_credential(ctx, k);
    if (r == MA_OK && k->m.type == MA_FACTOR_PUSH)
        r = take_device(ctx, k);
    return r == MA_OK ? ma_kept_method_write(ctx->arena, k, ret) : r;
}

int ma_keep_method(struct ma_ctx *ctx, struct ma_span id, struct ma_span *ret)
{
    struct ma_kept_method k = {.has_credential = false};
    int r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &k.m);
    return r == MA_OK ? keep(ctx, &k, ret) : r;
}

int ma_keep_recovery(struct ma_ctx *ctx, struct ma_span *ret)
{
    size_t n = 0;
    struct ma_method *m = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *m);
    *ret = MA_SPAN_NULL;
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, ctx->who.user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        struct ma_kept_method k = {.m = m[i]};
        if (m[i].confirmed && m[i].type == MA_FACTOR_RECOVERY)
            return keep(ctx, &k, ret);
    }
    return r;
}

int ma_keep_password(struct ma_ctx *ctx, struct ma_span *ret)
{
    struct ma_password_row row;
    int r = ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &row);
    struct ma_kept_password k = {.hash = row.hash, .must_reset = row.must_reset};
    return r == MA_OK ? ma_kept_password_write(ctx->arena, &k, ret) : r;
}

int ma_keep_settings(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_span *ret)
{
    struct ma_kept_settings k = {.name = v->name, .voice = v->voice};
    return ma_kept_settings_write(ctx->arena, &k, ret);
}

/* --- bringing back --- */

/* The rules of enrolling (rules.c), asked without answering the request: as many confirmed methods of a type and in all
 * as an account may have, one recovery code, an address once. */
static enum ma_restored fits(const struct ma_method_view *have, size_t n, const struct ma_method *m, size_t more)
{
    size_t same = 0, all = 0, most = MA_PER_TYPE_MAX;
    for (size_t i = 0; i < n; i++) {
        if (!have[i].confirmed)
            continue;
        bool type = have[i].type == m->type && !have[i].automatic;
        if (ma_span_eq(have[i].id, m->id) || (type && m->address.p && ma_span_eq(have[i].address, m->address)))
            return MA_RESTORE_PRESENT;
        all++;
        same += type;
    }
    if (m->type == MA_FACTOR_RECOVERY)
        most = 1;
    else if (MA_FACTORS_WEBAUTHN & 1u << m->type)
        most = MA_PASSKEYS_MAX;
    return same >= most || all + more > MA_METHODS_LISTED_MAX ? MA_RESTORE_NO_ROOM : MA_RESTORED;
}

/* A credential id is taken once, whoever owns it (WebAuthn Level 3 §7.1 step 26). */
static int key_free(struct ma_ctx *ctx, const struct ma_kept_method *k, enum ma_restored *ret)
{
    struct ma_credential c;
    struct ma_span owner;
    if (!k->has_credential)
        return MA_OK;
    int r = ma_credential_find(ctx->db, ctx->arena, k->c.credential_id, &c, &owner);
    if (r == MA_OK)
        *ret = ma_span_eq(owner, ctx->who.user_id) ? MA_RESTORE_PRESENT : MA_RESTORE_TAKEN;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static int insert(struct ma_ctx *ctx, struct ma_kept_method *k)
{
    int r = MA_OK;
    if (k->m.type == MA_FACTOR_TOTP) {
        struct ma_seal_id id = secret_id(ctx, k->m.id);
        r = ma_vault_seal(ctx->app->vault, ctx->arena, &id, k->m.secret, &k->m.secret);
    }
    if (r == MA_OK)
        r = ma_method_insert(ctx->db, ctx->who.user_id, &k->m);
    return r == MA_OK && k->has_credential ? ma_credential_insert(ctx->db, ctx->who.user_id, &k->c) : r;
}

/* A device without its row would be none. */
static int insert_device(struct ma_ctx *ctx, struct ma_kept_method *k, struct ma_kept_method *pair)
{
    k->d.user_id = ctx->who.user_id;
    k->d.pair_id = pair ? pair->m.id : MA_SPAN_NULL;
    int r = k->d.service.p ? ma_push_seal_token(ctx, &k->d, k->d.push_token) : MA_OK;
    if (r == MA_OK)
        r = ma_push_device_insert(ctx->db, &k->d);
    return r == MA_OK && pair ? insert(ctx, pair) : r;
}

static int restore_device(struct ma_ctx *ctx, struct ma_kept_method *k, const struct ma_method_view *have, size_t n,
                          enum ma_restored *ret)
{
    struct ma_kept_method pair;
    bool paired = k->pair.p != NULL;
    int r = paired ? ma_kept_method_read(ctx->arena, k->pair, &pair) : MA_OK;
    if (r < 0)
        return r;
    *ret = !k->has_device ? MA_RESTORE_GONE : fits(have, n, &k->m, paired ? 2 : 1);
    if (*ret == MA_RESTORED && paired)
        *ret = fits(have, n, &pair.m, 2);
    r = *ret == MA_RESTORED ? insert(ctx, k) : MA_OK;
    return r == MA_OK && *ret == MA_RESTORED ? insert_device(ctx, k, paired ? &pair : NULL) : r;
}

int ma_restore_method(struct ma_ctx *ctx, struct ma_span kept, enum ma_restored *ret)
{
    struct ma_kept_method k;
    struct ma_method_view have[MA_METHODS_LISTED_MAX] MA_UNINITIALIZED;
    size_t n = 0;
    int r = ma_kept_method_read(ctx->arena, kept, &k);
    if (r == MA_OK)
        r = ma_methods_list(ctx, have, &n);
    if (r < 0)
        return r;
    if (k.m.type == MA_FACTOR_PUSH)
        return restore_device(ctx, &k, have, n, ret);
    *ret = fits(have, n, &k.m, 1);
    if (*ret == MA_RESTORED)
        r = key_free(ctx, &k, ret);
    return r == MA_OK && *ret == MA_RESTORED ? insert(ctx, &k) : r;
}

int ma_restore_password(struct ma_ctx *ctx, struct ma_span kept, enum ma_restored *ret)
{
    struct ma_kept_password k;
    struct ma_password_row row;
    struct ma_user u;
    *ret = MA_RESTORE_PRESENT;
    int r = ma_kept_password_read(ctx->arena, kept, &k);
    if (r < 0)
        return r;
    r = ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &row);
    if (r != MA_E_NOTFOUND)
        return r;
    r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r < 0)
        return r;
    const struct ma_state_connection *c = u.connection.p ? ma_state_connection(ctx->state, u.connection) : NULL;
    int history = c && c->password_policy.history_active ? (int)c->password_policy.history_size : 0;
    *ret = MA_RESTORED;
    r = ma_password_set(ctx->db, ctx->who.user_id, k.hash, history, ctx->now_ms);
    return r == MA_OK && k.must_reset ? ma_password_must_reset(ctx->db, ctx->who.user_id) : r;
}

int ma_restore_settings(struct ma_ctx *ctx, struct ma_span id, struct ma_span kept, enum ma_restored *ret)
{
    struct ma_kept_settings k;
    *ret = MA_RESTORED;
    int r = ma_kept_settings_read(ctx->arena, kept, &k);
    if (r == MA_OK)
        r = ma_method_settings(ctx->db, ctx->who.user_id, id, k.name, k.voice);
    if (r == MA_E_CONFLICT) {
        *ret = MA_RESTORE_GONE;
        return MA_OK;
    }
    return r;
}

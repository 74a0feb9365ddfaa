/* SPDX-License-Identifier: Apache-2.0
 * Method objects and the password policy as JSON.
 */
#include "method_json.h"

#include "ma/codec.h"

static void write_usage(struct ma_jw *w, enum ma_factor type)
{
    ma_jw_key(w, "usage");
    ma_jw_arr(w);
    ma_jw_cstr(w, ma_factor_is_primary(type) ? "primary" : "secondary");
    ma_jw_arr_end(w);
}

static void write_password_members(struct ma_jw *w, const struct ma_method_view *v)
{
    ma_jw_kstr(w, "identity_user_id", v->identity_user_id);
    if (v->last_password_reset)
        ma_jw_kdate(w, "last_password_reset", v->last_password_reset);
}

static void write_base64(struct ma_jw *w, const char *key, struct ma_span bytes, bool url)
{
    char text[MA_B64_LEN(2048) + 1];
    if (bytes.n > 2048)
        return;
    (url ? ma_b64url_encode : ma_b64_encode)(bytes, text);
    ma_jw_kcstr(w, key, text);
}

static void write_aaguid(struct ma_jw *w, const uint8_t aaguid[16])
{
    char hex[33], text[37];
    size_t at = 0;
    ma_hex_encode(ma_span_of(aaguid, 16), hex);
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            text[at++] = '-';
        text[at++] = hex[i];
    }
    text[at] = '\0';
    ma_jw_kcstr(w, "aaguid", text);
}

static void write_passkey_members(struct ma_jw *w, const struct ma_method_view *v)
{
    const struct ma_credential *c = v->credential;
    if (v->name.p)
        ma_jw_kstr(w, "name", v->name);
    ma_jw_kstr(w, "identity_user_id", v->identity_user_id);
    write_base64(w, "key_id", c->credential_id, true);
    write_base64(w, "public_key", c->public_key, false); /* standard alphabet: what the SDKs decode */
    ma_jw_kcstr(w, "credential_device_type", c->be ? "multi_device" : "single_device");
    ma_jw_kbool(w, "credential_backed_up", c->bs);
    write_base64(w, "user_handle", c->user_handle, true);
    write_aaguid(w, c->aaguid);
    ma_jw_kstr(w, "relying_party_id", c->rp_id);
    if (c->transports.p) {
        ma_jw_key(w, "transports");
        ma_jw_raw(w, c->transports);
    }
    if (c->user_agent.p)
        ma_jw_kstr(w, "user_agent", c->user_agent);
    if (v->last_auth_at)
        ma_jw_kdate(w, "last_auth_at", v->last_auth_at);
}

static void write_factor_members(struct ma_jw *w, const struct ma_method_view *v)
{
    ma_jw_kbool(w, "confirmed", v->confirmed);
    if (v->name.p)
        ma_jw_kstr(w, "name", v->name);
    if (v->type == MA_FACTOR_EMAIL)
        ma_jw_kstr(w, "email", v->address);
    if (v->type == MA_FACTOR_PHONE) {
        ma_jw_kstr(w, "phone_number", v->address);
        ma_jw_kcstr(w, "preferred_authentication_method", v->voice ? "voice" : "sms");
    }
    if (v->credential) {
        write_base64(w, "key_id", v->credential->credential_id, true);
        write_base64(w, "public_key", v->credential->public_key, false);
    }
    if (v->last_auth_at)
        ma_jw_kdate(w, "last_auth_at", v->last_auth_at);
}

void ma_write_method(struct ma_jw *w, const struct ma_method_view *v)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", v->id);
    ma_jw_kcstr(w, "type", ma_factor_name(v->type));
    if (v->type == MA_FACTOR_PASSWORD)
        write_password_members(w, v);
    else if (v->type == MA_FACTOR_PASSKEY && v->credential)
        write_passkey_members(w, v);
    else
        write_factor_members(w, v);
    write_usage(w, v->type);
    ma_jw_kdate(w, "created_at", v->created_at);
    ma_jw_obj_end(w);
}

static void write_complexity(struct ma_jw *w, const struct ma_password_policy *p)
{
    static const char *const types[] = {"lowercase", "uppercase", "number", "special"};
    ma_jw_key(w, "complexity");
    ma_jw_obj(w);
    ma_jw_kint(w, "min_length", p->min_length);
    ma_jw_key(w, "character_types");
    ma_jw_arr(w);
    for (unsigned i = 0; i < MA_COUNT(types); i++)
        if (p->character_types & 1u << i)
            ma_jw_cstr(w, types[i]);
    ma_jw_arr_end(w);
    ma_jw_kcstr(w, "character_type_rule", p->character_type_rule ? "three_of_four" : "all");
    ma_jw_kcstr(w, "identical_characters", p->identical_characters ? "block" : "allow");
    ma_jw_kcstr(w, "sequential_characters", p->sequential_characters ? "block" : "allow");
    ma_jw_kcstr(w, "max_length_exceeded", p->max_length_exceeded ? "error" : "truncate");
    ma_jw_obj_end(w);
}

static void write_profile_data(struct ma_jw *w, const struct ma_password_policy *p)
{
    ma_jw_key(w, "profile_data");
    ma_jw_obj(w);
    ma_jw_kbool(w, "active", p->profile_active);
    ma_jw_key(w, "blocked_fields");
    ma_jw_arr(w);
    for (size_t i = 0; i < p->blocked_fields.n; i++)
        ma_jw_str(w, p->blocked_fields.v[i]);
    ma_jw_arr_end(w);
    ma_jw_obj_end(w);
}

void ma_write_password_policy(struct ma_jw *w, const struct ma_password_policy *p)
{
    ma_jw_obj(w);
    write_complexity(w, p);
    write_profile_data(w, p);
    ma_jw_key(w, "history");
    ma_jw_obj(w);
    ma_jw_kbool(w, "active", p->history_active);
    ma_jw_kint(w, "size", p->history_size);
    ma_jw_obj_end(w);
    ma_jw_key(w, "dictionary");
    ma_jw_obj(w);
    ma_jw_kbool(w, "active", p->dictionary_active);
    ma_jw_kcstr(w, "default", p->dictionary ? "en_100k" : "en_10k");
    ma_jw_obj_end(w);
    ma_jw_obj_end(w);
}

void ma_method_location(struct ma_ctx *ctx, struct ma_span id)
{
    const char *encoded = ma_pct_encode(ctx->arena, id);
    ma_header(ctx, "Location",
              encoded ? ma_arena_printf(ctx->arena, "%s/me/v1/authentication-methods/%s", ma_ctx_origin(ctx), encoded)
                      : NULL);
}

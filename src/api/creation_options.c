/* SPDX-License-Identifier: Apache-2.0
 * PublicKeyCredentialCreationOptions as JSON (WebAuthn Level 3 §5.4).
 */
#include "ma/passkey_wire.h"

#include "ma/codec.h"
#include "ma/webauthn.h"

enum { TEXT_MAX = 1024 };

static void write_bytes(struct ma_jw *w, const char *key, struct ma_span bytes)
{
    char text[MA_B64URL_LEN(TEXT_MAX) + 1];
    if (bytes.n > TEXT_MAX)
        return;
    ma_b64url_encode(bytes, text);
    ma_jw_kcstr(w, key, text);
}

static void write_algorithms(struct ma_jw *w)
{
    ma_jw_key(w, "pubKeyCredParams");
    ma_jw_arr(w);
    for (size_t i = 0; i < MA_WEBAUTHN_ALGS; i++) {
        ma_jw_obj(w);
        ma_jw_kcstr(w, "type", "public-key");
        ma_jw_kint(w, "alg", ma_webauthn_algs[i]);
        ma_jw_obj_end(w);
    }
    ma_jw_arr_end(w);
}

static void write_selection(struct ma_jw *w, const struct ma_creation_options *o)
{
    ma_jw_key(w, "authenticatorSelection");
    ma_jw_obj(w);
    if (o->type == MA_FACTOR_PASSKEY)
        ma_jw_kcstr(w, "residentKey", "required");
    else
        ma_jw_kcstr(w, "authenticatorAttachment",
                    o->type == MA_FACTOR_WEBAUTHN_PLATFORM ? "platform" : "cross-platform");
    ma_jw_kcstr(w, "userVerification", o->require_uv ? "required" : "preferred");
    ma_jw_obj_end(w);
}

static void write_exclude(struct ma_jw *w, const struct ma_creation_options *o)
{
    ma_jw_key(w, "excludeCredentials");
    ma_jw_arr(w);
    for (size_t i = 0; i < o->n_exclude; i++) {
        ma_jw_obj(w);
        write_bytes(w, "id", o->exclude[i].credential_id);
        ma_jw_kcstr(w, "type", "public-key");
        if (o->exclude[i].transports.p) {
            ma_jw_key(w, "transports");
            ma_jw_raw(w, o->exclude[i].transports);
        }
        ma_jw_obj_end(w);
    }
    ma_jw_arr_end(w);
}

void ma_write_creation_options(struct ma_jw *w, const struct ma_creation_options *o)
{
    ma_jw_key(w, "authn_params_public_key");
    ma_jw_obj(w);
    write_bytes(w, "challenge", ma_span_of(o->challenge, sizeof o->challenge));
    ma_jw_kint(w, "timeout", MA_WEBAUTHN_TIMEOUT_MS);
    ma_jw_key(w, "rp");
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", o->rp_id);
    ma_jw_kstr(w, "name", o->rp_name);
    ma_jw_obj_end(w);
    ma_jw_key(w, "user");
    ma_jw_obj(w);
    write_bytes(w, "id", o->user_handle);
    ma_jw_kstr(w, "name", o->user_name);
    ma_jw_kstr(w, "displayName", o->user_display_name);
    ma_jw_obj_end(w);
    write_algorithms(w);
    write_selection(w, o);
    if (o->attestation_verified)
        ma_jw_kcstr(w, "attestation", "direct");
    if (o->exclude)
        write_exclude(w, o);
    ma_jw_obj_end(w);
}

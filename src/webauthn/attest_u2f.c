/* SPDX-License-Identifier: Apache-2.0
 * FIDO U2F attestation statements (WebAuthn §8.6).
 */
#include "ma/webauthn.h"

#include "int.h"

#define MEMBERS 2u /* x5c, sig */
#define CERTIFICATES 1u
#define FIELD 32u
#define POINT_UNCOMPRESSED 0x04

#define VERIFICATION_DATA_MAX (1u + MA_SHA256_LEN + MA_SHA256_LEN + MA_WEBAUTHN_CREDENTIAL_ID_MAX + 1u + 2u * FIELD)

static size_t put(uint8_t *out, size_t at, struct ma_span s)
{
    if (s.n > 0)
        memcpy(out + at, s.p, s.n);
    return at + s.n;
}

/* §8.6 step 5: 0x00 ‖ rpIdHash ‖ clientDataHash ‖ credentialId ‖ publicKeyU2F. */
static struct ma_span verification_data(const struct ma_wa_statement *s, uint8_t out[VERIFICATION_DATA_MAX])
{
    static const uint8_t zero[1] = {0};
    static const uint8_t point[1] = {POINT_UNCOMPRESSED};
    size_t n = put(out, 0, ma_span_of(zero, sizeof zero));

    n = put(out, n, s->auth_data->rp_id_hash);
    n = put(out, n, ma_span_of(s->client_data_hash, MA_SHA256_LEN));
    n = put(out, n, s->auth_data->credential_id);
    n = put(out, n, ma_span_of(point, sizeof point));
    n = put(out, n, s->key->x);
    n = put(out, n, s->key->y);
    return ma_span_of(out, n);
}

int ma_wa_attest_u2f(const struct ma_wa_statement *s, const char **why)
{
    uint8_t data[VERIFICATION_DATA_MAX];
    struct ma_span sig;

    *why = "the fido-u2f attestation statement must have x5c and sig, and nothing else";
    if (s->stmt.type != MA_CBOR_MAP || s->stmt.n != MEMBERS || !ma_wa_statement_sig(&s->stmt, &sig))
        return MA_E_PARSE;
    /* §8.6 step 2: exactly one certificate. */
    MA_CLEANUP(ma_x509_clear) struct ma_x509 leaf;
    *why = ma_wa_statement_leaf(&s->stmt, CERTIFICATES, &leaf);
    if (*why)
        return MA_E_PARSE;
    *why = "the key of a fido-u2f attestation certificate must be on P-256";
    if (ma_key_type(leaf.key) != MA_KEY_EC_P256)
        return MA_E_AUTH;
    /* §8.6 step 4: the credential's key has 32-byte coordinates, so it is ES256. */
    *why = "a fido-u2f credential must have a P-256 key";
    if (s->key->alg != MA_COSE_ES256 || s->auth_data->credential_id.n > MA_WEBAUTHN_CREDENTIAL_ID_MAX)
        return MA_E_AUTH;
    *why = "the attestation signature does not verify with the certificate's key";
    return ma_key_verify_der(leaf.key, MA_JWS_ES256, verification_data(s, data), sig);
}

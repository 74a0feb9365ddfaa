/* SPDX-License-Identifier: Apache-2.0
 * Packed attestation statements (WebAuthn §8.2) and what all signed statements have in common.
 */
#include "ma/webauthn.h"

#include "int.h"

#define CERTIFICATES_MAX 8u
#define X509_V3 3
/* Members of the two syntaxes of §8.2. */
#define MEMBERS_SELF 2u
#define MEMBERS_X5C 3u

struct ma_span ma_wa_signed_data(struct ma_arena *a, struct ma_span auth_data,
                                 const uint8_t client_data_hash[MA_SHA256_LEN])
{
    uint8_t *p = ma_arena_alloc(a, auth_data.n + MA_SHA256_LEN);

    if (!p)
        return MA_SPAN_NULL;
    memcpy(p, auth_data.p, auth_data.n);
    memcpy(p + auth_data.n, client_data_hash, MA_SHA256_LEN);
    return ma_span_of(p, auth_data.n + MA_SHA256_LEN);
}

bool ma_wa_statement_sig(const struct ma_cbor *stmt, struct ma_span *ret)
{
    struct ma_cbor c;

    if (!ma_cbor_member(stmt, "sig", &c) || c.type != MA_CBOR_BYTES || c.body.n == 0)
        return false;
    *ret = c.body;
    return true;
}

const char *ma_wa_statement_leaf(const struct ma_cbor *stmt, size_t n_max, struct ma_x509 *ret)
{
    struct ma_cbor x5c;
    struct ma_cbor c;
    struct ma_span leaf = MA_SPAN_NULL;

    *ret = (struct ma_x509){0};
    if (!ma_cbor_member(stmt, "x5c", &x5c) || x5c.type != MA_CBOR_ARRAY || x5c.n == 0 || x5c.n > n_max)
        return "x5c of the attestation statement is not a list of as many certificates as the format has";
    for (size_t i = 0; i < (size_t)x5c.n; i++) {
        if (!ma_cbor_item(&x5c, i, &c) || c.type != MA_CBOR_BYTES || c.body.n == 0)
            return "x5c of the attestation statement holds something else than certificates";
        if (i == 0)
            leaf = c.body;
    }
    const int rc = ma_x509_read(leaf, ret);
    if (rc == MA_E_UNSUPPORTED)
        return "the key of the attestation certificate is not supported";
    return rc == MA_OK ? NULL : "the attestation certificate is malformed";
}

/* §8.2.1 */
static const char *certificate_problem(const struct ma_x509 *leaf, const struct ma_wa_auth_data *d)
{
    if (leaf->version != X509_V3)
        return "the attestation certificate is not of version 3";
    if (!leaf->subject_ok)
        return "the subject of the attestation certificate is not that of an authenticator";
    if (!leaf->basic_constraints || leaf->ca)
        return "the attestation certificate is not an end entity's";
    if (leaf->has_aaguid && leaf->aaguid_critical)
        return "the AAGUID extension of the attestation certificate is critical";
    if (leaf->has_aaguid && !ma_span_eq(d->aaguid, ma_span_of(leaf->aaguid, sizeof leaf->aaguid)))
        return "the attestation certificate is for another AAGUID";
    return NULL;
}

/* §8.2 verification procedure, "If x5c is present" */
static int with_certificate(const struct ma_wa_statement *s, enum ma_jws_alg alg, struct ma_span input,
                            struct ma_span sig, const char **why)
{
    MA_CLEANUP(ma_x509_clear) struct ma_x509 leaf;

    *why = ma_wa_statement_leaf(&s->stmt, CERTIFICATES_MAX, &leaf);
    if (*why)
        return MA_E_PARSE;
    const int rc = ma_key_verify_der(leaf.key, alg, input, sig);
    if (rc == MA_E_NOMEM)
        return rc;
    *why = rc == MA_OK ? certificate_problem(&leaf, s->auth_data)
                       : "the attestation signature does not verify with the certificate's key";
    return *why ? MA_E_AUTH : MA_OK;
}

/* §8.2 verification procedure, "If x5c is not present, self attestation is in use" */
static int with_own_key(const struct ma_wa_statement *s, int64_t alg, struct ma_span input, struct ma_span sig,
                        const char **why)
{
    *why = "the algorithm of the attestation statement is not that of the credential";
    if (alg != s->key->alg)
        return MA_E_AUTH;
    *why = "the attestation signature does not verify with the credential's key";
    return ma_key_verify_der(s->key->key, s->key->jws, input, sig);
}

int ma_wa_attest_packed(const struct ma_wa_statement *s, enum ma_webauthn_format *ret, const char **why)
{
    struct ma_cbor c;
    struct ma_span sig;
    int64_t alg = 0;
    const bool x5c = ma_cbor_member(&s->stmt, "x5c", &c);

    *ret = x5c ? MA_WEBAUTHN_PACKED : MA_WEBAUTHN_PACKED_SELF;
    *why = "the packed attestation statement must have alg, sig and, with certificates, x5c, and nothing else";
    if (s->stmt.type != MA_CBOR_MAP || s->stmt.n != (x5c ? MEMBERS_X5C : MEMBERS_SELF) ||
        !ma_cbor_member(&s->stmt, "alg", &c) || !ma_cbor_int(&c, &alg) || !ma_wa_statement_sig(&s->stmt, &sig))
        return MA_E_PARSE;
    *why = "the algorithm of the attestation statement is not supported";
    if (ma_wa_jws_alg(alg) == MA_JWS_NONE)
        return MA_E_AUTH;
    const struct ma_span input = ma_wa_signed_data(s->arena, s->auth_data->raw, s->client_data_hash);
    if (!input.p)
        return MA_E_NOMEM;
    return x5c ? with_certificate(s, ma_wa_jws_alg(alg), input, sig, why) : with_own_key(s, alg, input, sig, why);
}

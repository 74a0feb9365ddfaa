/* SPDX-License-Identifier: Apache-2.0
 * Registration: WebAuthn §7.1 from the client's answer to the credential that may be stored.
 */
#include "ma/webauthn.h"

#include "int.h"

#define FORMAT_NAME_MAX 32u /* §8.1 */

static const struct ma_wa_ceremony CREATE = {
    .type = "webauthn.create",
    .auth_data = MA_WA_ATTESTATION,
    .step = {.json = "7.1.6",
             .type = "7.1.7",
             .challenge = "7.1.8",
             .origin = "7.1.9",
             .cross_origin = "7.1.10",
             .top_origin = "7.1.11",
             .structure = "7.1.13",
             .rp_id_hash = "7.1.14",
             .up = "7.1.15",
             .uv = "7.1.16",
             .backup = "7.1.17"},
};

/* Registered formats that are not verified here, with what a policy that insists says about them. */
static const struct {
    const char *name, *refusal;
} UNVERIFIED[] = {
    {"tpm", "attestation statements of format \"tpm\" cannot be verified"},
    {"android-key", "attestation statements of format \"android-key\" cannot be verified"},
    {"android-safetynet", "attestation statements of format \"android-safetynet\" cannot be verified"},
    {"apple", "attestation statements of format \"apple\" cannot be verified"},
    {"compound", "attestation statements of format \"compound\" cannot be verified"},
};

const char *ma_webauthn_format_name(enum ma_webauthn_format format)
{
    static const char *const names[] = {
        [MA_WEBAUTHN_NONE] = "none",         [MA_WEBAUTHN_PACKED] = "packed", [MA_WEBAUTHN_PACKED_SELF] = "packed-self",
        [MA_WEBAUTHN_FIDO_U2F] = "fido-u2f", [MA_WEBAUTHN_OTHER] = "other",
    };

    return (unsigned)format < MA_COUNT(names) ? names[format] : "other";
}

struct attestation_object {
    struct ma_span fmt, auth_data;
    struct ma_cbor stmt;
};

/* §6.5.4 */
static bool read_object(struct ma_span in, struct attestation_object *ret)
{
    struct ma_cbor map;
    struct ma_cbor c;

    if (in.n > MA_WEBAUTHN_ATTESTATION_MAX || ma_cbor_parse(in, &map) != MA_OK || map.type != MA_CBOR_MAP)
        return false;
    if (!ma_cbor_member(&map, "fmt", &c) || c.type != MA_CBOR_TEXT)
        return false;
    ret->fmt = c.body;
    if (!ma_cbor_member(&map, "authData", &c) || c.type != MA_CBOR_BYTES)
        return false;
    ret->auth_data = c.body;
    return ma_cbor_member(&map, "attStmt", &ret->stmt) &&
           (ret->stmt.type == MA_CBOR_MAP || ret->stmt.type == MA_CBOR_ARRAY);
}

static int refuse(struct ma_webauthn_fault *fault, int err, const char *step, const char *detail)
{
    return ma_wa_fail(fault, err, MA_WA_ATTESTATION, step, detail);
}

/* §8.1: at most 32 printable ASCII characters without quote and backslash. */
static bool is_format_name(struct ma_span fmt)
{
    for (size_t i = 0; i < fmt.n; i++) {
        if (fmt.p[i] < 0x21 || fmt.p[i] > 0x7e || fmt.p[i] == '"' || fmt.p[i] == '\\')
            return false;
    }
    return fmt.n > 0 && fmt.n <= FORMAT_NAME_MAX;
}

static int other_format(const struct ma_webauthn_policy *policy, struct ma_span fmt, struct ma_webauthn_fault *fault)
{
    if (!is_format_name(fmt))
        return refuse(fault, MA_E_PARSE, "7.1.21", "the name of the attestation statement format is malformed");
    if (!policy->attestation_verified)
        return MA_OK;
    for (size_t i = 0; i < MA_COUNT(UNVERIFIED); i++) {
        if (ma_span_eq_str(fmt, UNVERIFIED[i].name))
            return refuse(fault, MA_E_AUTH, "7.1.21", UNVERIFIED[i].refusal);
    }
    return refuse(fault, MA_E_AUTH, "7.1.21", "the attestation statement format is unknown and cannot be verified");
}

/* §8.7 */
static int no_attestation(const struct ma_webauthn_policy *policy, const struct ma_wa_statement *s,
                          struct ma_webauthn_fault *fault)
{
    if (s->stmt.type != MA_CBOR_MAP || s->stmt.n != 0)
        return refuse(fault, MA_E_PARSE, "7.1.22", "the attestation statement of format \"none\" must be empty");
    /* §7.1 step 24, "If no attestation was provided" */
    return policy->attestation_verified
               ? refuse(fault, MA_E_AUTH, "7.1.24", "attestation statements of format \"none\" are not accepted here")
               : MA_OK;
}

/* §7.1 steps 21, 22 and 24. Certificates are not chained to anchors (step 23): any maker is acceptable. */
static int attest(const struct ma_webauthn_policy *policy, struct ma_span fmt, const struct ma_wa_statement *s,
                  struct ma_webauthn_credential *ret, struct ma_webauthn_fault *fault)
{
    const char *why = NULL;
    int rc = MA_OK;

    if (ma_span_eq_str(fmt, "none")) {
        ret->format = MA_WEBAUTHN_NONE;
        return no_attestation(policy, s, fault);
    }
    if (ma_span_eq_str(fmt, "packed")) {
        rc = ma_wa_attest_packed(s, &ret->format, &why);
    } else if (ma_span_eq_str(fmt, "fido-u2f")) {
        ret->format = MA_WEBAUTHN_FIDO_U2F;
        rc = ma_wa_attest_u2f(s, &why);
    } else {
        ret->format = MA_WEBAUTHN_OTHER;
        return other_format(policy, fmt, fault);
    }
    ret->attested = rc == MA_OK;
    return rc == MA_OK || rc == MA_E_NOMEM ? rc : refuse(fault, rc, "7.1.22", why);
}

static void describe(const struct ma_wa_auth_data *d, const struct ma_wa_key *key, struct ma_webauthn_credential *ret)
{
    *ret = (struct ma_webauthn_credential){
        .credential_id = d->credential_id,
        .public_key = d->key.raw,
        .alg = key->alg,
        .sign_count = d->sign_count,
        .up = d->flags & MA_WA_UP,
        .uv = d->flags & MA_WA_UV,
        .be = d->flags & MA_WA_BE, /* §7.1 step 18 */
        .bs = d->flags & MA_WA_BS, /* §7.1 step 19 */
    };
    memcpy(ret->aaguid, d->aaguid.p, sizeof ret->aaguid);
}

static int check_credential(struct ma_arena *a, const struct ma_webauthn_policy *policy,
                            const struct attestation_object *object, const struct ma_wa_auth_data *d,
                            const uint8_t hash[MA_SHA256_LEN], struct ma_webauthn_credential *ret,
                            struct ma_webauthn_fault *fault)
{
    MA_CLEANUP(ma_wa_key_clear) struct ma_wa_key key;
    const char *why = ma_wa_key_parse(&d->key, &key);

    /* §7.1 step 20 */
    if (why)
        return refuse(fault, MA_E_AUTH, "7.1.20", why);
    describe(d, &key, ret);
    const struct ma_wa_statement s = {a, object->stmt, d, &key, hash};
    const int rc = attest(policy, object->fmt, &s, ret, fault);
    if (rc != MA_OK)
        return rc;
    /* §7.1 step 25 */
    if (d->credential_id.n > MA_WEBAUTHN_CREDENTIAL_ID_MAX)
        return refuse(fault, MA_E_AUTH, "7.1.25", "the credential identifier is longer than 1023 bytes");
    if (d->credential_id.n < MA_WEBAUTHN_CREDENTIAL_ID_MIN)
        return refuse(fault, MA_E_AUTH, "7.1.25", "the credential identifier is shorter than 16 bytes");
    return MA_OK;
}

static int register_credential(struct ma_arena *a, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                               struct ma_span client_data_json, struct ma_span attestation_object,
                               struct ma_webauthn_credential *ret, struct ma_webauthn_fault *fault)
{
    struct attestation_object object;
    struct ma_wa_auth_data d;
    uint8_t hash[MA_SHA256_LEN];

    int rc = ma_wa_client_data(a, &CREATE, policy, challenge, client_data_json, fault);
    if (rc != MA_OK)
        return rc;
    /* §7.1 step 12 */
    if (ma_sha256(client_data_json, hash) != MA_OK)
        return MA_E_NOMEM;
    /* §7.1 step 13 */
    if (!read_object(attestation_object, &object))
        return refuse(fault, MA_E_PARSE, CREATE.step.structure,
                      "the attestation object is not canonical CBOR with fmt, attStmt and authData");
    const char *why = ma_wa_auth_data_parse(object.auth_data, &d);
    if (why)
        return refuse(fault, MA_E_PARSE, CREATE.step.structure, why);
    if (!(d.flags & MA_WA_AT))
        return refuse(fault, MA_E_PARSE, CREATE.step.structure, "the authenticator data holds no credential");
    rc = ma_wa_auth_data_check(&CREATE, policy, &d, fault);
    return rc == MA_OK ? check_credential(a, policy, &object, &d, hash, ret, fault) : rc;
}

int ma_webauthn_register(struct ma_arena *a, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                         struct ma_span client_data_json, struct ma_span attestation_object,
                         struct ma_webauthn_credential *ret, struct ma_webauthn_fault *fault)
{
    struct ma_webauthn_credential c = {0};

    *fault = (struct ma_webauthn_fault){0};
    const int rc = register_credential(a, policy, challenge, client_data_json, attestation_object, &c, fault);
    *ret = rc == MA_OK ? c : (struct ma_webauthn_credential){0};
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 * Authenticator data (WebAuthn §6.1) with its attested credential data (§6.5.1).
 */
#include "ma/webauthn.h"

#include "int.h"

#define RP_ID_HASH_LEN MA_SHA256_LEN
#define COUNTER_LEN 4u
#define ID_LENGTH_LEN 2u

/* Removes the first n bytes; false when they are not there. */
static bool take(struct ma_span *in, size_t n, struct ma_span *ret)
{
    if (in->n < n)
        return false;
    *ret = ma_span_of(in->p, n);
    in->p += n;
    in->n -= n;
    return true;
}

static uint32_t big_endian(struct ma_span s)
{
    uint32_t v = 0;

    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

/* A CBOR map at the start. */
static bool take_map(struct ma_span *in, struct ma_cbor *ret)
{
    struct ma_span raw;

    return ma_cbor_first(*in, ret) == MA_OK && ret->type == MA_CBOR_MAP && take(in, ret->raw.n, &raw);
}

/* §6.5.1 */
static const char *take_credential(struct ma_span *in, struct ma_wa_auth_data *d)
{
    struct ma_span length;

    if (!take(in, MA_WEBAUTHN_AAGUID_LEN, &d->aaguid) || !take(in, ID_LENGTH_LEN, &length) ||
        !take(in, big_endian(length), &d->credential_id))
        return "the attested credential data is too short";
    return take_map(in, &d->key) ? NULL : "the credential public key is not canonical CBOR";
}

const char *ma_wa_auth_data_parse(struct ma_span in, struct ma_wa_auth_data *ret)
{
    struct ma_wa_auth_data d = {.raw = in};
    struct ma_cbor extensions;
    struct ma_span flags;
    struct ma_span counter;

    *ret = d;
    if (in.n > MA_WEBAUTHN_ATTESTATION_MAX)
        return "the authenticator data is too long";
    if (!take(&in, RP_ID_HASH_LEN, &d.rp_id_hash) || !take(&in, 1, &flags) || !take(&in, COUNTER_LEN, &counter))
        return "the authenticator data is too short";
    d.flags = flags.p[0];
    d.sign_count = big_endian(counter);
    const char *why = d.flags & MA_WA_AT ? take_credential(&in, &d) : NULL;
    if (why)
        return why;
    /* Unsolicited extensions are ignored (§7.1 step 28, §7.2 step 23), but they must be what the flag says. */
    if (d.flags & MA_WA_ED && !take_map(&in, &extensions))
        return "the extensions of the authenticator data are not canonical CBOR";
    if (in.n > 0)
        return "bytes follow the authenticator data";
    *ret = d;
    return NULL;
}

int ma_wa_auth_data_check(const struct ma_wa_ceremony *c, const struct ma_webauthn_policy *policy,
                          const struct ma_wa_auth_data *data, struct ma_webauthn_fault *fault)
{
    uint8_t want[MA_SHA256_LEN];

    if (ma_sha256(ma_span_str(policy->rp_id), want) != MA_OK)
        return MA_E_NOMEM;
    /* §7.1 step 14, §7.2 step 15 */
    if (!ma_span_eq(data->rp_id_hash, ma_span_of(want, sizeof want)))
        return ma_wa_fail(fault, MA_E_AUTH, c->auth_data, c->step.rp_id_hash,
                          "the authenticator answered for another relying party");
    /* §7.1 step 15, §7.2 step 16 */
    if (!(data->flags & MA_WA_UP))
        return ma_wa_fail(fault, MA_E_AUTH, c->auth_data, c->step.up, "the authenticator did not see the user");
    /* §7.1 step 16, §7.2 step 17 */
    if (policy->require_uv && !(data->flags & MA_WA_UV))
        return ma_wa_fail(fault, MA_E_AUTH, c->auth_data, c->step.uv, "the authenticator did not verify the user");
    /* §7.1 step 17, §7.2 step 18 */
    if (data->flags & MA_WA_BS && !(data->flags & MA_WA_BE))
        return ma_wa_fail(fault, MA_E_AUTH, c->auth_data, c->step.backup,
                          "the credential is backed up but not eligible for backup");
    return MA_OK;
}

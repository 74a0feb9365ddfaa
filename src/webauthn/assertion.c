/* SPDX-License-Identifier: Apache-2.0
 * Assertions: WebAuthn §7.2 from the client's answer and the stored credential to what is to be stored of it.
 */
#include "ma/webauthn.h"

#include "int.h"

static const struct ma_wa_ceremony GET = {
    .type = "webauthn.get",
    .auth_data = MA_WA_AUTH_DATA,
    .step = {.json = "7.2.9",
             .type = "7.2.10",
             .challenge = "7.2.11",
             .origin = "7.2.12",
             .cross_origin = "7.2.13",
             .top_origin = "7.2.14",
             .structure = "7.2.7",
             .rp_id_hash = "7.2.15",
             .up = "7.2.16",
             .uv = "7.2.17",
             .backup = "7.2.18"},
};

/* §7.2 steps 5 and 6: the credential is the stored one, and its user the one that the authenticator names. */
static int check_identity(const struct ma_webauthn_policy *policy, const struct ma_webauthn_stored *stored,
                          const struct ma_webauthn_response *r, struct ma_webauthn_fault *fault)
{
    if (r->credential_id.n == 0 || !ma_span_eq(r->credential_id, stored->credential_id))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_RAW_ID, "7.2.5", "the credential is not the expected one");
    if (policy->require_user_handle && r->user_handle.n == 0)
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_USER_HANDLE, "7.2.6", "the authenticator named no user");
    if (!r->user_handle.p)
        return MA_OK;
    if (!ma_span_eq(r->user_handle, stored->user_handle))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_USER_HANDLE, "7.2.6", "the credential belongs to another user");
    return MA_OK;
}

static int check_auth_data(const struct ma_webauthn_policy *policy, const struct ma_webauthn_stored *stored,
                           struct ma_span in, struct ma_wa_auth_data *ret, struct ma_webauthn_fault *fault)
{
    /* §7.2 step 7 */
    const char *why = ma_wa_auth_data_parse(in, ret);
    if (!why && ret->flags & MA_WA_AT) /* §6.3.3: only new credentials come with their key */
        why = "the authenticator data of an assertion must not hold a credential";
    if (why)
        return ma_wa_fail(fault, MA_E_PARSE, MA_WA_AUTH_DATA, GET.step.structure, why);
    const int rc = ma_wa_auth_data_check(&GET, policy, ret, fault);
    if (rc != MA_OK)
        return rc;
    /* §7.2 step 19; §6.1.3: backup eligibility is permanent. */
    if (stored->be != (bool)(ret->flags & MA_WA_BE))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_AUTH_DATA, "7.2.19",
                          "the backup eligibility of the credential has changed");
    return MA_OK;
}

/* §7.2 steps 20 and 21 */
static int check_signature(struct ma_arena *a, const struct ma_webauthn_stored *stored,
                           const struct ma_webauthn_response *r, struct ma_webauthn_fault *fault)
{
    MA_CLEANUP(ma_wa_key_clear) struct ma_wa_key key = {0};
    uint8_t hash[MA_SHA256_LEN];
    struct ma_cbor map;

    if (ma_cbor_parse(stored->public_key, &map) != MA_OK || ma_wa_key_parse(&map, &key))
        return MA_E_INVAL;
    if (ma_sha256(r->client_data_json, hash) != MA_OK)
        return MA_E_NOMEM;
    const struct ma_span input = ma_wa_signed_data(a, r->authenticator_data, hash);
    if (!input.p)
        return MA_E_NOMEM;
    const int rc = ma_key_verify_der(key.key, key.jws, input, r->signature);
    return rc == MA_OK || rc == MA_E_NOMEM
               ? rc
               : ma_wa_fail(fault, MA_E_AUTH, MA_WA_SIGNATURE, "7.2.21", "the signature does not verify");
}

/* §7.2 step 22. An authenticator that counts and one that stopped are not told apart from a copy of the key by this
 * alone, but only a counter that goes on counting from too low proves that there are two. */
static int check_counter(uint32_t stored, uint32_t received, struct ma_webauthn_assertion *ret,
                         struct ma_webauthn_fault *fault)
{
    ret->counter_regressed = (stored != 0 || received != 0) && received <= stored;
    ret->sign_count = received > stored ? received : stored;
    if (ret->counter_regressed && stored != 0 && received != 0)
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_AUTH_DATA, "7.2.22",
                          "the signature counter did not grow: the credential may have been copied");
    return MA_OK;
}

int ma_webauthn_assert(struct ma_arena *a, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                       const struct ma_webauthn_stored *stored, const struct ma_webauthn_response *response,
                       struct ma_webauthn_assertion *ret, struct ma_webauthn_fault *fault)
{
    struct ma_wa_auth_data d;

    *ret = (struct ma_webauthn_assertion){.sign_count = stored->sign_count};
    *fault = (struct ma_webauthn_fault){0};
    int rc = check_identity(policy, stored, response, fault);
    if (rc == MA_OK)
        rc = ma_wa_client_data(a, &GET, policy, challenge, response->client_data_json, fault);
    if (rc == MA_OK)
        rc = check_auth_data(policy, stored, response->authenticator_data, &d, fault);
    if (rc == MA_OK)
        rc = check_signature(a, stored, response, fault);
    if (rc != MA_OK)
        return rc;
    ret->uv = d.flags & MA_WA_UV;
    ret->bs = d.flags & MA_WA_BS;
    return check_counter(stored->sign_count, d.sign_count, ret, fault);
}

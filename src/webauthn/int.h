/* SPDX-License-Identifier: Apache-2.0
 * Private to the webauthn module: authenticator data, COSE keys, attestation statements and the faults of each step.
 */
#ifndef MA_WEBAUTHN_INT_H
#define MA_WEBAUTHN_INT_H

#include "ma/cbor.h"
#include "ma/crypto.h"
#include "ma/webauthn.h"

#define MA_WA_CLIENT_DATA "/authn_response/response/clientDataJSON"
#define MA_WA_ATTESTATION "/authn_response/response/attestationObject"
#define MA_WA_AUTH_DATA "/authn_response/response/authenticatorData"
#define MA_WA_SIGNATURE "/authn_response/response/signature"
#define MA_WA_USER_HANDLE "/authn_response/response/userHandle"
#define MA_WA_RAW_ID "/authn_response/rawId"

/* Fills the fault and hands the status on. All texts are static. */
static inline int ma_wa_fail(struct ma_webauthn_fault *fault, int err, const char *pointer, const char *step,
                             const char *detail)
{
    *fault = (struct ma_webauthn_fault){pointer, detail, step};
    return err;
}

/* The steps that both ceremonies share, under their own numbers. */
struct ma_wa_ceremony {
    const char *type;      /* of the client data */
    const char *auth_data; /* pointer of the member that holds the authenticator data */
    struct {
        const char *json, *type, *challenge, *origin, *cross_origin, *top_origin;
        const char *structure, *rp_id_hash, *up, *uv, *backup;
    } step;
};

/* Client data: JSON, type, challenge, origin, crossOrigin, topOrigin. */
MA_MUST_USE int ma_wa_client_data(struct ma_arena *a, const struct ma_wa_ceremony *c,
                                  const struct ma_webauthn_policy *policy, struct ma_span challenge,
                                  struct ma_span json, struct ma_webauthn_fault *fault);

/* §6.1: flags of authenticator data. */
#define MA_WA_UP 0x01u
#define MA_WA_UV 0x04u
#define MA_WA_BE 0x08u
#define MA_WA_BS 0x10u
#define MA_WA_AT 0x40u
#define MA_WA_ED 0x80u
#define MA_WA_AUTH_DATA_MIN 37u

/* Authenticator data; spans are borrowed from the input. */
struct ma_wa_auth_data {
    struct ma_span raw;
    struct ma_span rp_id_hash;
    uint8_t flags;
    uint32_t sign_count;
    /* With MA_WA_AT only. */
    struct ma_span aaguid;
    struct ma_span credential_id;
    struct ma_cbor key; /* a map */
};
/* §6.1, §6.5.1. NULL, or what is wrong with the structure. */
const char *ma_wa_auth_data_parse(struct ma_span in, struct ma_wa_auth_data *ret);
/* rpIdHash, UP, UV, and BS without BE. */
MA_MUST_USE int ma_wa_auth_data_check(const struct ma_wa_ceremony *c, const struct ma_webauthn_policy *policy,
                                      const struct ma_wa_auth_data *data, struct ma_webauthn_fault *fault);

/* A credential public key. */
struct ma_wa_key {
    int alg;
    enum ma_jws_alg jws;
    struct ma_key *key;  /* owned (ma_wa_key_clear) */
    struct ma_span x, y; /* EC2 only; borrowed */
};
/* §6.5.1.1, RFC 9052 §7, RFC 9053 §7, RFC 8230 §4. NULL, or what is wrong with the key. */
const char *ma_wa_key_parse(const struct ma_cbor *map, struct ma_wa_key *ret);
void ma_wa_key_clear(struct ma_wa_key *k);
/* The JWS algorithm of a COSE algorithm that attestation signatures may use; MA_JWS_NONE for others. */
enum ma_jws_alg ma_wa_jws_alg(int64_t cose_alg);

/* What an attestation statement is checked against. */
struct ma_wa_statement {
    struct ma_arena *arena;
    struct ma_cbor stmt; /* attStmt */
    const struct ma_wa_auth_data *auth_data;
    const struct ma_wa_key *key;
    const uint8_t *client_data_hash; /* MA_SHA256_LEN bytes */
};
/* authData ‖ clientDataHash, arena; p == NULL when out of memory. */
struct ma_span ma_wa_signed_data(struct ma_arena *a, struct ma_span auth_data,
                                 const uint8_t client_data_hash[MA_SHA256_LEN]);
/* attStmt.sig: a non-empty byte string. */
bool ma_wa_statement_sig(const struct ma_cbor *stmt, struct ma_span *ret);
/* The first of the certificates of attStmt.x5c, read; NULL, or what is wrong. n_max: certificates allowed. */
const char *ma_wa_statement_leaf(const struct ma_cbor *stmt, size_t n_max, struct ma_x509 *ret);
/* Verification procedures: MA_OK, MA_E_PARSE or MA_E_AUTH with *why (static), MA_E_NOMEM. */
MA_MUST_USE int ma_wa_attest_packed(const struct ma_wa_statement *s, enum ma_webauthn_format *ret, const char **why);
MA_MUST_USE int ma_wa_attest_u2f(const struct ma_wa_statement *s, const char **why);

#endif

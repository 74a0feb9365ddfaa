/* SPDX-License-Identifier: Apache-2.0
 * The relying party of WebAuthn Level 3: verifies registrations (§7.1) and assertions (§7.2). Pure: knows no HTTP, no
 * storage and no time; whether a challenge is still valid, a credential identifier is new (§7.1 step 26) and what is
 * done about a counter are the caller's. Takes the members of the client's answer already decoded from base64url.
 */
#ifndef MA_WEBAUTHN_H
#define MA_WEBAUTHN_H

#include "ma/arena.h"

#define MA_WEBAUTHN_CLIENT_DATA_MAX 4096u  /* bytes */
#define MA_WEBAUTHN_ATTESTATION_MAX 16384u /* bytes of an attestation object or of authenticator data */
#define MA_WEBAUTHN_CREDENTIAL_ID_MIN 16u  /* bytes, §4 "Credential ID" */
#define MA_WEBAUTHN_CREDENTIAL_ID_MAX 1023u
#define MA_WEBAUTHN_AAGUID_LEN 16u

/* COSE algorithms (RFC 9053, RFC 8812). */
#define MA_COSE_ES256 (-7)
#define MA_COSE_EDDSA (-8)
#define MA_COSE_RS256 (-257)
#define MA_WEBAUTHN_ALGS 3u
/* What credentials may use, in the order in which creation options offer it: -8, -7, -257. */
extern const int ma_webauthn_algs[MA_WEBAUTHN_ALGS];

struct ma_webauthn_policy {
    const char *rp_id;
    /* Compared exactly: "https://login.example.com", "http://localhost:3000", "android:apk-key-hash:<base64url>". */
    const char *const *origins;
    size_t n_origins;
    bool require_uv;
    bool attestation_verified; /* refuse every attestation statement that cannot be verified, "none" included */
    bool same_origin_only;     /* refuse crossOrigin and topOrigin; they are ignored otherwise */
    bool require_user_handle;  /* assertions only: the user is not known otherwise (§7.2 step 6) */
};

/* Why a ceremony was refused. All static; nothing of the input is repeated. */
struct ma_webauthn_fault {
    const char *pointer; /* the member at fault: "/authn_response/response/clientDataJSON" */
    const char *detail;  /* the failed check, a sentence without its full stop */
    const char *step;    /* "7.1.8": section and step of WebAuthn Level 3 */
};

enum ma_webauthn_format {
    MA_WEBAUTHN_NONE,
    MA_WEBAUTHN_PACKED,
    MA_WEBAUTHN_PACKED_SELF,
    MA_WEBAUTHN_FIDO_U2F,
    MA_WEBAUTHN_OTHER /* a format that is not verified here */
};
/* "none", "packed", "packed-self", "fido-u2f", "other"; static. */
const char *ma_webauthn_format_name(enum ma_webauthn_format format);

/* A registered credential. Spans are borrowed from the attestation object. */
struct ma_webauthn_credential {
    struct ma_span credential_id;
    struct ma_span public_key; /* COSE_Key exactly as received */
    int alg;                   /* one of ma_webauthn_algs */
    uint32_t sign_count;
    uint8_t aaguid[MA_WEBAUTHN_AAGUID_LEN];
    bool up, uv;
    bool be, bs; /* backup eligible ("multi_device"), backed up */
    enum ma_webauthn_format format;
    bool attested; /* the statement was verified; no chain of trust is built, and packed-self names no maker */
};

/* §7.1 steps 5 to 25. challenge: the raw bytes that were sent. MA_OK, MA_E_PARSE (malformed) or MA_E_AUTH (a check
 * failed), both with *fault filled, or MA_E_NOMEM. The arena holds temporaries. */
MA_MUST_USE int ma_webauthn_register(struct ma_arena *a, const struct ma_webauthn_policy *policy,
                                     struct ma_span challenge, struct ma_span client_data_json,
                                     struct ma_span attestation_object, struct ma_webauthn_credential *ret,
                                     struct ma_webauthn_fault *fault);

/* What was stored of a credential. */
struct ma_webauthn_stored {
    struct ma_span credential_id;
    struct ma_span public_key; /* as ma_webauthn_register returned it */
    struct ma_span user_handle;
    uint32_t sign_count;
    bool be;
};

/* The client's answer to a request for an assertion. */
struct ma_webauthn_response {
    struct ma_span credential_id; /* rawId */
    struct ma_span client_data_json;
    struct ma_span authenticator_data;
    struct ma_span signature;
    struct ma_span user_handle; /* p == NULL: absent */
};

struct ma_webauthn_assertion {
    uint32_t sign_count; /* to be stored: the greater of the stored and the received one */
    bool uv;
    bool bs; /* to be stored */
    /* The counter did not grow (§7.2 step 22): a copy of the key may exist. Refused with MA_E_AUTH when both counters
     * are non-zero; set with MA_OK when the authenticator stopped counting. Worth an audit entry in both cases. */
    bool counter_regressed;
};

/* §7.2 steps 5 to 22. MA_OK, MA_E_PARSE or MA_E_AUTH with *fault filled, MA_E_INVAL (the stored key is not one that
 * ma_webauthn_register returned) or MA_E_NOMEM. */
MA_MUST_USE int ma_webauthn_assert(struct ma_arena *a, const struct ma_webauthn_policy *policy,
                                   struct ma_span challenge, const struct ma_webauthn_stored *stored,
                                   const struct ma_webauthn_response *response, struct ma_webauthn_assertion *ret,
                                   struct ma_webauthn_fault *fault);

#endif

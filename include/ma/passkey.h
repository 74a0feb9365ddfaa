/* SPDX-License-Identifier: Apache-2.0
 * Enrolling passkeys and WebAuthn security keys: options for the browser, verification of what it
 * returns (webauthn.h), and what the well-known documents say about related origins and apps.
 */
#ifndef MA_PASSKEY_H
#define MA_PASSKEY_H

#include "ma/methods.h"

#define MA_PASSKEYS_MAX 20           /* of one user */
#define MA_WEBAUTHN_TIMEOUT_MS 60000 /* what the browser is told; the session lives longer (enrollment.passkey_ttl) */
#define MA_CHALLENGE_LEN 32
#define MA_USER_HANDLE_LEN 64

/* What navigator.credentials.create() needs (WebAuthn Level 3 §5.4). Arena or state. */
struct ma_creation_options {
    uint8_t challenge[MA_CHALLENGE_LEN];
    struct ma_span user_handle; /* 64 bytes */
    struct ma_span user_name, user_display_name;
    struct ma_span rp_id, rp_name;
    enum ma_factor type;
    bool require_uv;
    bool attestation_verified;           /* ask for a statement: browsers hold it back otherwise */
    const struct ma_credential *exclude; /* the user's credentials, when asked for */
    size_t n_exclude;
};

struct ma_passkey_request {
    enum ma_factor type;                         /* passkey, webauthn-platform, webauthn-roaming */
    struct ma_span connection, identity_user_id; /* p == NULL: the user's own */
    bool exclude;
};
/* Starts an enrolment: `ret->id` is "passkey|new", or the pending id of a security key. Write. */
MA_MUST_USE int ma_enrol_webauthn(struct ma_ctx *ctx, const struct ma_passkey_request *in, struct ma_enrolled *ret,
                                  struct ma_creation_options *options);

/* The decoded answer of the browser. */
struct ma_attestation_response {
    struct ma_span id;                 /* rawId, decoded */
    struct ma_span client_data_json;   /* decoded */
    struct ma_span attestation_object; /* decoded */
    struct ma_span_list transports;
};
/* Verifies it against the challenge and the relying party id it was made for, and says what to store: all of *ret but
 * method_id and user_handle. CPU lane. MA_E_AUTH with *fault (webauthn.h) when a check failed. */
struct ma_webauthn_fault;
MA_MUST_USE int ma_attestation_check(struct ma_ctx *ctx, struct ma_span challenge, struct ma_span rp_id,
                                     const struct ma_attestation_response *in, struct ma_credential *ret,
                                     struct ma_webauthn_fault *fault);
/* A verified credential on its way into the database; opaque. */
struct ma_new_credential;
/* Checks the session and the attestation (CPU lane). *ret is set when there is something for ma_webauthn_finish or
 * ma_webauthn_refused to do. */
MA_MUST_USE int ma_webauthn_prepare(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session,
                                    const struct ma_attestation_response *in, struct ma_new_credential **ret);
/* Stores it. MA_E_PROBLEM leaves nothing written but perhaps a session that is over. Write. */
MA_MUST_USE int ma_webauthn_finish(struct ma_ctx *ctx, const struct ma_new_credential *nc, struct ma_method_view *ret);
/* Counts a failed attempt against the session and leaves the audit row. Write. Returns MA_E_PROBLEM. */
MA_MUST_USE int ma_webauthn_refused(struct ma_ctx *ctx, const struct ma_new_credential *nc);

/* What authenticators show as the name of the account. Borrowed from u. */
struct ma_span ma_passkey_user_name(const struct ma_user *u);
/* The relying party id of the request: tenant.rp.id of the state document, or the public origin's host. arena. */
MA_MUST_USE int ma_rp_id(const struct ma_ctx *ctx, struct ma_span *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * A user's authentication methods: what they see, how they enrol, confirm, rename and delete them.
 * Domain rules only: no HTTP, no JSON text, no SQL. Functions answer through ma_problem (and return
 * MA_E_PROBLEM) when a rule says no. *Write* functions run in the WRITE lane.
 */
#ifndef MA_METHODS_H
#define MA_METHODS_H

#include "ma/ctx.h"
#include "ma/id.h"
#include "ma/password.h"

#define MA_METHODS_LISTED_MAX 20 /* the list's maximum, pending ones included (OpenAPI maxItems) */
#define MA_PER_TYPE_MAX 5        /* confirmed totp, phone, email, push-notification each */
#define MA_PENDING_MAX 10        /* enrolments under way for one user; the oldest gives way */
#define MA_SESSION_TRIES 5       /* wrong codes that end an enrolment */
#define MA_NAME_MAX 100          /* UTF-16 units */

/* One method as the API shows it. Spans are arena or static. */
struct ma_method_view {
    struct ma_span id;
    enum ma_factor type;
    bool confirmed;
    struct ma_span name, address; /* p == NULL: none */
    bool voice;
    struct ma_span identity_user_id;                       /* password, passkey */
    int64_t created_at, last_auth_at, last_password_reset; /* ms; 0: none */
    int64_t expires_at;                                    /* pending enrolment: when it lapses; 0 otherwise */
    const struct ma_credential *credential;                /* passkey, webauthn-*; NULL otherwise and while pending */
    bool automatic;                                        /* the verified primary e-mail, which nobody enrolled */
};

/* Factors this program can enrol. */
#define MA_FACTORS_SUPPORTED                                                                                           \
    (1u << MA_FACTOR_PASSWORD | 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL |                 \
     1u << MA_FACTOR_RECOVERY | 1u << MA_FACTOR_PASSKEY | 1u << MA_FACTOR_WEBAUTHN_PLATFORM |                          \
     1u << MA_FACTOR_WEBAUTHN_ROAMING | 1u << MA_FACTOR_PUSH)
#define MA_FACTORS_WEBAUTHN                                                                                            \
    (1u << MA_FACTOR_PASSKEY | 1u << MA_FACTOR_WEBAUTHN_PLATFORM | 1u << MA_FACTOR_WEBAUTHN_ROAMING)
bool ma_factor_is_primary(enum ma_factor f);
/* The factor types that are switched on and can be carried out: a code needs a channel to be sent through. */
uint32_t ma_factors_enabled(const struct ma_ctx *ctx);
/* The factor types the caller may enrol, as a bit set. */
uint32_t ma_factors_open(const struct ma_ctx *ctx);

/* All methods of the caller, oldest first, at most MA_METHODS_LISTED_MAX. */
MA_MUST_USE int ma_methods_list(struct ma_ctx *ctx, struct ma_method_view ret[MA_METHODS_LISTED_MAX], size_t *ret_n);
/* One of them; MA_E_NOTFOUND. */
MA_MUST_USE int ma_methods_find(struct ma_ctx *ctx, struct ma_span id, struct ma_method_view *ret);

/* The 404 for an id that names no method of the caller; MA_E_PROBLEM. */
int ma_method_unknown(struct ma_ctx *ctx);

/* What starting an enrolment gives back. */
struct ma_enrolled {
    struct ma_span id;
    enum ma_factor type;
    const char *auth_session;                /* arena */
    const char *barcode_uri;                 /* totp */
    const char *manual_code;                 /* totp: Base32 seed */
    const char *recovery_code;               /* recovery-code, shown once */
    const struct ma_password_policy *policy; /* password */
};
/* Write. */
MA_MUST_USE int ma_enrol_totp(struct ma_ctx *ctx, struct ma_enrolled *ret);
MA_MUST_USE int ma_enrol_recovery(struct ma_ctx *ctx, struct ma_enrolled *ret);
/* address is normalised: see ma_email_normalise, ma_phone_normalise. Sends a code. */
MA_MUST_USE int ma_enrol_otp(struct ma_ctx *ctx, enum ma_factor type, struct ma_span address, bool voice,
                             struct ma_enrolled *ret);
/* connection and identity may be empty (p == NULL): the user's own. */
MA_MUST_USE int ma_enrol_password(struct ma_ctx *ctx, struct ma_span connection, struct ma_span identity_user_id,
                                  struct ma_enrolled *ret);

/* arena; MA_E_PARSE when it is no usable address. E-mail: one '@', ≤ 254 bytes, domain lower-cased. Phone: blanks,
 * '-', '(', ')', '.' removed, then E.164. */
MA_MUST_USE int ma_email_normalise(struct ma_arena *a, struct ma_span in, struct ma_span *ret);
MA_MUST_USE int ma_phone_normalise(struct ma_arena *a, struct ma_span in, struct ma_span *ret);

/* Confirms a pending totp, email, phone (with a code) or recovery-code (code empty) enrolment. Write. Exactly one of
 * several concurrent calls wins. */
MA_MUST_USE int ma_confirm(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, struct ma_span code,
                           struct ma_method_view *ret);
/* Password: checks policy and history and hashes (CPU lane) … */
struct ma_new_password {
    struct ma_span session_mac; /* 32 bytes */
    char hash[256];
    int history;
    bool reused;        /* refused because it was used before */
    char old_hash[256]; /* refused as the current password: the stored string that is to give way to `hash`; or empty */
};
MA_MUST_USE int ma_password_prepare(struct ma_ctx *ctx, struct ma_span auth_session, struct ma_span password,
                                    struct ma_new_password *ret);
/* After a refusal: leaves the audit row and upgrades an imported string of the current password. Write. */
MA_MUST_USE int ma_password_refused(struct ma_ctx *ctx, const struct ma_new_password *np);
/* … and sets it. Write. */
MA_MUST_USE int ma_password_change(struct ma_ctx *ctx, const struct ma_new_password *np, struct ma_method_view *ret);

struct ma_method_change {
    bool has_name, has_voice;
    struct ma_span name;
    bool voice;
};
/* Write. */
MA_MUST_USE int ma_methods_update(struct ma_ctx *ctx, struct ma_span id, const struct ma_method_change *change,
                                  struct ma_method_view *ret);
MA_MUST_USE int ma_methods_delete(struct ma_ctx *ctx, struct ma_span id);

/* Adds the success row of an operation to the audit log, in the operation's transaction. Write. */
MA_MUST_USE int ma_audit_method(struct ma_ctx *ctx, const char *operation, enum ma_factor type,
                                struct ma_span method_id);
/* The same for an operation on something else, as a row of another type. detail: JSON object text, borrowed. */
MA_MUST_USE int ma_audit_operation(struct ma_ctx *ctx, const char *type, const char *operation, struct ma_span detail);
/* Asks for a failure row should the operation be refused. */
void ma_audit_on_failure(struct ma_ctx *ctx, const char *operation, const char *method_type, struct ma_span method_id);
/* As above, as a row of another type. */
void ma_audit_failure_as(struct ma_ctx *ctx, const char *type, const char *operation);
/* Writes that failure row. Called by the writer after it rolled the operation back. On an error what it has written
 * must be rolled back: half a row breaks the chain. */
MA_MUST_USE int ma_audit_failure(struct ma_ctx *ctx);

#endif

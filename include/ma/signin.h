/* SPDX-License-Identifier: Apache-2.0
 * Signing in: who somebody says they are, their password, their second factors. Used by the hosted
 * page and by the embedded grants alike. Domain rules only: no HTTP, no JSON of answers, no SQL.
 *
 * Functions that refuse return MA_OK with a verdict, so that each caller words the answer in its own
 * protocol; other returns are failures of the environment. What they count and note down is to be kept although the
 * answer is an error: the caller sets ctx->keep.
 *
 * Functions that are given a user act for that user: they set ctx->who.user_id (ma_signin_factors and what needs it
 * also ctx->who.has_database). ctx->who.client_id is the caller's to set before: audit rows and origins go by it.
 */
#ifndef MA_SIGNIN_H
#define MA_SIGNIN_H

#include "ma/assurance.h"
#include "ma/ctx.h"
#include "ma/methods.h"
#include "ma/passkey.h"

#define MA_CHALLENGE_TRIES 5 /* wrong codes that end a challenge */
#define MA_FACTORS_SHOWN_MAX 24

enum ma_signin_verdict {
    MA_SIGNIN_OK,
    MA_SIGNIN_WRONG,     /* wrong identifier, password, code or assertion: one word for all of them */
    MA_SIGNIN_BLOCKED,   /* the user is blocked; told only to who proved the first factor */
    MA_SIGNIN_BREACHED,  /* the right password, but on the list of breached ones; told only to who knew it */
    MA_SIGNIN_TOO_MANY,  /* retry_after_s */
    MA_SIGNIN_EXPIRED,   /* the challenge lapsed, was used, or ended after too many tries */
    MA_SIGNIN_NO_FACTOR, /* the user has no such factor, or it is switched off */
    MA_SIGNIN_PENDING,   /* push: not answered yet */
    MA_SIGNIN_REJECTED   /* push: on the device */
};

/* --- first factor: password --- */

struct ma_signin {
    enum ma_signin_verdict verdict;
    int64_t retry_after_s;
    struct ma_user user; /* OK, BLOCKED and BREACHED; for _done otherwise, and nobody else's to know */
    char rehash_from[256], rehash_to[256]; /* an imported hash that is to give way; or empty */
    struct ma_span identifier;             /* what was typed, for counters and the audit trail */
    int64_t set_at;                        /* when the password that was compared was set */
};
/* CPU lane. identifier: e-mail, phone number (E.164 after normalising) or user id; connection empty: any database
 * connection; of several users that fit the one with the verified address, else nobody. An unknown user costs the same
 * hash as a known one (the hash of nobody's password is made once per process). Checks the failure buckets of (user or
 * unknown name, address), of the address, and of the user wherever guesses come from first
 * (rate_limit.user_login_failures an hour; not for addresses the user signed in from), and takes from them for a wrong
 * guess. */
MA_MUST_USE int ma_signin_password(struct ma_ctx *ctx, struct ma_span identifier, struct ma_span connection,
                                   struct ma_span password, struct ma_signin *ret);
/* WRITE lane, after the above, whatever its verdict: OK becomes WRONG or BLOCKED when the password was changed or the
 * user blocked meanwhile; replaces an imported hash, leaves the audit row of a failure ("fp", "fu", "pwd_leak";
 * "limit_wc" when too many, once a minute and address); success is told once signing in is complete. The wrong password
 * that empties the user's bucket leaves another "limit_wc"; after a good one the address is known. */
MA_MUST_USE int ma_signin_password_done(struct ma_ctx *ctx, struct ma_signin *s);

/* The permissions of a user, of this API's scopes: roles and direct ones. */
ma_scopes ma_rbac_of(struct ma_ctx *ctx, const struct ma_user *u);

/* --- second factors --- */

struct ma_factor_choice {
    struct ma_span id; /* method id; the automatic e-mail factor has one too */
    enum ma_factor type;
    struct ma_span name; /* masked address, or the method's name; p == NULL: none */
    bool voice;
    int64_t created_at, last_auth_at;
};
/* Confirmed second factors of a user that are switched on and can be carried out, the verified e-mail included, oldest
 * first. recovery-code is among them but is no factor on its own: ma_factors_bits leaves it out. Any lane. */
MA_MUST_USE int ma_signin_factors(struct ma_ctx *ctx, const struct ma_user *user,
                                  struct ma_factor_choice ret[MA_FACTORS_SHOWN_MAX], size_t *ret_n);
/* Bit per type of those that count as a second factor; passkeys do where they were not the first
 * (ma_assurance_decide). */
uint32_t ma_factors_bits(const struct ma_factor_choice *v, size_t n);

struct ma_challenge_started {
    enum ma_signin_verdict verdict; /* OK, NO_FACTOR, TOO_MANY */
    int64_t retry_after_s;
    const char *oob_code; /* arena; what names the challenge from now on */
    enum ma_factor type;
    struct ma_span method_id;
    const char *number; /* push: what the user is to type on the device; NULL: nothing. arena */
    /* webauthn: what navigator.credentials.get() needs */
    uint8_t challenge[MA_CHALLENGE_LEN];
    struct ma_span rp_id;
    const struct ma_credential *credentials;
    size_t n_credentials;
};
/* Starts a challenge of one factor, bound to a flow: sends a code by e-mail, message or call, asks a device, or makes a
 * WebAuthn challenge. Templates: "login-code.*". Counts against the message limits. Write. */
MA_MUST_USE int ma_challenge_start(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                                   struct ma_span method_id, struct ma_challenge_started *ret);

struct ma_factor_proof {
    enum ma_signin_verdict verdict; /* OK, WRONG, TOO_MANY, EXPIRED, NO_FACTOR */
    int64_t retry_after_s;
    uint32_t amr;                  /* bits to add: the method's and MA_AMR_MFA */
    struct ma_span method_id;      /* recovery: of the new code */
    const char *new_recovery_code; /* arena; recovery: the used one is gone, this one replaces it and is shown once */
};
/* A TOTP code, against one method or (method_id.p NULL) any confirmed one of the user; replay-guarded. Write. */
MA_MUST_USE int ma_prove_totp(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span method_id,
                              struct ma_span code, struct ma_factor_proof *ret);
/* The code that a challenge sent. Write. */
MA_MUST_USE int ma_prove_oob(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                             struct ma_span oob_code, struct ma_span code, struct ma_factor_proof *ret);
/* What a device has said to the challenge: OK, PENDING, REJECTED, EXPIRED, NO_FACTOR. MA_E_INVAL when the
 * challenge of this name is no device's. Write. */
MA_MUST_USE int ma_prove_push(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                              struct ma_span oob_code, struct ma_factor_proof *ret);
/* Whether the device is still to answer; false also when nobody waits for it any more. Any lane. */
MA_MUST_USE int ma_push_waits(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                              struct ma_span oob_code, bool *ret);
/* Burns the recovery code and makes a new one. Blanks, hyphens and case do not matter. Write. */
MA_MUST_USE int ma_prove_recovery(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span code,
                                  struct ma_factor_proof *ret);

/* --- passkeys and security keys --- */

struct ma_assertion_response { /* decoded */
    struct ma_span id, client_data_json, authenticator_data, signature;
    struct ma_span user_handle; /* p == NULL: absent */
};
/* Verifies a usernameless passkey assertion against `challenge` (32 bytes) and rp_id: finds the credential and its
 * user. CPU lane. ret->verdict OK, WRONG, BLOCKED. */
struct ma_passkey_proof {
    enum ma_signin_verdict verdict;
    int64_t retry_after_s; /* TOO_MANY */
    const char *why;       /* WRONG: the failed check, for the log; static or arena */
    struct ma_user user;
    struct ma_span method_id;
    uint32_t amr; /* MA_AMR_PASSKEY, with MA_AMR_UV when the user was verified */
    int64_t old_count, new_count;
    bool bs;
    bool counter_regressed; /* OK or WRONG: the counter did not grow, so a copy of the key may exist */
};
MA_MUST_USE int ma_passkey_verify(struct ma_ctx *ctx, struct ma_span challenge, struct ma_span rp_id,
                                  const struct ma_assertion_response *in, struct ma_passkey_proof *ret);
/* After verdict OK: stores counter, backup state and last use; a counter that stood still leaves an audit row.
 * MA_E_CONFLICT when another
 * assertion came in between or the passkey is gone: to be answered like WRONG. Write. */
MA_MUST_USE int ma_passkey_verified(struct ma_ctx *ctx, const struct ma_passkey_proof *p);
/* As the two above for a challenge of ma_challenge_start with a security key (or a passkey as second factor). The first
 * in the CPU lane, the second in WRITE, whatever the verdict of the first: a challenge is answered once. */
MA_MUST_USE int ma_prove_webauthn_check(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                                        struct ma_span oob_code, const struct ma_assertion_response *in,
                                        struct ma_passkey_proof *ret);
MA_MUST_USE int ma_prove_webauthn(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                                  struct ma_span oob_code, const struct ma_passkey_proof *p,
                                  struct ma_factor_proof *ret);

/* --- signing up with a passkey --- */

struct ma_signup {
    struct ma_span connection, email;  /* normalised */
    struct ma_span name, phone_number; /* p == NULL: none; the number is E.164 */
    struct ma_span user_handle;
    const struct ma_credential *credential; /* of ma_attestation_check */
};
/* Whether somebody signs in with this address or number already, at whatever database connection: a second one would
 * make it ambiguous for both. phone_number.p NULL: none. Any lane. */
MA_MUST_USE int ma_signup_taken(struct ma_ctx *ctx, struct ma_span email, struct ma_span phone_number, bool *ret);
/* Creates the user with the passkey. MA_E_EXISTS, with nothing written: an identifier or the credential is taken.
 * Write. */
MA_MUST_USE int ma_signup_passkey(struct ma_ctx *ctx, const struct ma_signup *in, struct ma_user *ret);

/* --- flows --- */

/* A new random token naming a flow, and the row's token_mac; kind, user_id, client_id, data, expires_at are the
 * caller's. Write. */
MA_MUST_USE int ma_flow_open(struct ma_ctx *ctx, struct ma_flow *row, char ret_token[MA_TOKEN_LEN + 1]);
/* The open flow of this kind behind a token; MA_E_NOTFOUND when there is none, MA_E_EXPIRED when it lapsed or was
 * consumed. Any lane. */
MA_MUST_USE int ma_flow_find(struct ma_ctx *ctx, const char *kind, struct ma_span token, struct ma_flow *ret);

/* Leaves a row in the audit trail about a sign-in: type as in the wire contract 10.2, detail JSON object text or empty.
 * user_id.p NULL: unknown. Write. */
MA_MUST_USE int ma_audit_signin(struct ma_ctx *ctx, const char *type, struct ma_span user_id, struct ma_span client_id,
                                struct ma_span detail);
/* The row of a sign-in that is complete, every factor shown that was asked for: "s", or "ssa" for a silent one. Write.
 */
MA_MUST_USE int ma_audit_signed_in(struct ma_ctx *ctx, const char *type, const struct ma_user *u,
                                   struct ma_span client_id, const struct ma_authn *authn);

#endif

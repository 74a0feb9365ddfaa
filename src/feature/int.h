/* SPDX-License-Identifier: Apache-2.0
 * What the enrolment features share: sessions, limits, views.
 */
#ifndef MA_FEATURE_INT_H
#define MA_FEATURE_INT_H

#include "ma/app.h"
#include "ma/methods.h"

/* How long a pending enrolment of this type lives, in milliseconds. */
int64_t ma_enrol_ttl_ms(const struct ma_ctx *ctx, enum ma_factor type);
/* Refuses types that are switched off (400 unsupported_challenge_type). */
MA_MUST_USE int ma_require_factor(struct ma_ctx *ctx, enum ma_factor type);
/* Refuses when the caller has as many confirmed methods as allowed (400 too_many_entities). */
MA_MUST_USE int ma_require_room(struct ma_ctx *ctx, enum ma_factor type);
/* The same for the first of `n` methods that come at once, each of another type. */
MA_MUST_USE int ma_require_room_for(struct ma_ctx *ctx, enum ma_factor type, size_t n);

/* A new session of this type and method: the text for the caller and the row in the database. code may be empty. */
MA_MUST_USE int ma_session_open(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id, struct ma_span code,
                                const char **ret_session);
/* As above, with further state for the confirmation. */
MA_MUST_USE int ma_session_open_with(struct ma_ctx *ctx, enum ma_factor type, struct ma_span method_id,
                                     struct ma_span code, struct ma_span data, const char **ret_session);
/* The caller's open session for this type and method, or an error answer ("Invalid or expired session"). */
MA_MUST_USE int ma_session_find(struct ma_ctx *ctx, struct ma_span auth_session, enum ma_factor type,
                                struct ma_span method_id, struct ma_enrolment *ret);
int ma_session_refuse(struct ma_ctx *ctx);
/* The same, of the type that the id begins with, answered when there is none. */
MA_MUST_USE int ma_session_require(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session,
                                   struct ma_enrolment *ret);
/* The same where the session fits no method: whether the path names a method of the caller at all decides between 404
 * and "Invalid or expired session", so that somebody else's id stays unknown. */
MA_MUST_USE int ma_session_refuse_for(struct ma_ctx *ctx, struct ma_span id);
/* Refuses, with this detail, an address that the caller has confirmed already. */
MA_MUST_USE int ma_require_new_address(struct ma_ctx *ctx, enum ma_factor type, struct ma_span address,
                                       const char *detail);
/* MAC of a one-time code within a session. */
MA_MUST_USE int ma_code_mac(struct ma_ctx *ctx, struct ma_span session_mac, struct ma_span code, uint8_t out[32]);

/* Makes room for one more pending method and inserts it. */
MA_MUST_USE int ma_pending_insert(struct ma_ctx *ctx, struct ma_method *m);
/* Counts a refusal by that counter. */
void ma_counter_refused(const struct ma_ctx *ctx, const struct ma_counter_rule *rule);
struct ma_counter_rule ma_rule_otp_failures(const struct ma_ctx *ctx);
struct ma_counter_rule ma_rule_messages(const struct ma_ctx *ctx, enum ma_factor type);
/* messages.c. One more message to `to`, of ctx->who: *ret_retry_s 0 when it may be sent, and is counted for the user,
 * the destination and the client's address. Write. */
MA_MUST_USE int ma_message_take(struct ma_ctx *ctx, enum ma_factor type, struct ma_span to, int64_t *ret_retry_s);

/* guess.c. Seconds (0: none) that a password for this user, or for a name that nobody has (user_id.p == NULL), must
 * wait because of what was guessed from anywhere. Addresses the user signed in from do not wait. Any lane. */
MA_MUST_USE int ma_guess_hold_up(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span name, int64_t *ret_retry_s);
void ma_guess_unknown(struct ma_ctx *ctx, struct ma_span name);
struct ma_counter_rule ma_rule_login_failures(const struct ma_ctx *ctx);
/* The user signed in from here. Write. */
MA_MUST_USE int ma_address_remember(struct ma_ctx *ctx, struct ma_span user_id);
/* Seconds that a code of this method of ctx->who must wait; and one that was wrong (write; p == NULL: nothing). */
MA_MUST_USE int ma_guess_method(struct ma_ctx *ctx, struct ma_span method_id, int64_t *ret_retry_s);
MA_MUST_USE int ma_guess_method_failed(struct ma_ctx *ctx, struct ma_span method_id);
/* Seconds that an assertion of this credential from here must wait; failed: one more was wrong. */
int64_t ma_guess_credential(struct ma_ctx *ctx, struct ma_span credential_id, bool failed);

/* A code to the user ctx->who names, through the outbox. */
struct ma_code_letter {
    enum ma_channel channel;
    struct ma_span to, code;
    int64_t ttl_ms;
};
MA_MUST_USE int ma_send_code(struct ma_ctx *ctx, const char *template_name, const struct ma_code_letter *letter);

/* Rules and history of a password for ctx->who, then its hash: MA_OK with what is wrong in ctx->errs, or with
 * ret->hash. CPU. */
MA_MUST_USE int ma_password_judge(struct ma_ctx *ctx, struct ma_span password, struct ma_new_password *ret);

/* A password that was used before came up: a guess that came true. Write. */
MA_MUST_USE int ma_password_count_reuse(struct ma_ctx *ctx);

/* id "password|<base64url of the user id>"; arena. */
struct ma_span ma_password_method_id(struct ma_arena *a, struct ma_span user_id);
void ma_view_of(const struct ma_method *m, struct ma_method_view *ret);
MA_MUST_USE int ma_password_view(struct ma_ctx *ctx, struct ma_method_view *ret);

/* Answers 400 unless the user has a database identity and connection and identity_user_id (p == NULL: any) name it. */
MA_MUST_USE int ma_require_identity(struct ma_ctx *ctx, const struct ma_user *u, struct ma_span connection,
                                    struct ma_span identity_user_id);

/* What ma_signin_factors shows, with the whole addresses. Makes ctx->who this user. */
MA_MUST_USE int ma_second_factors(struct ma_ctx *ctx, const struct ma_user *user,
                                  struct ma_method_view ret[MA_METHODS_LISTED_MAX], size_t *ret_n);
/* One of them; MA_E_NOTFOUND. */
MA_MUST_USE int ma_second_factor(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span id,
                                 struct ma_method_view *ret);
/* The user's challenge of this name within the flow, still open. MA_E_EXPIRED otherwise. */
MA_MUST_USE int ma_challenge_find(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span flow_mac,
                                  struct ma_span oob_code, struct ma_challenge *ret);
/* A new challenge of this method, named by a new random token: code or data are the caller's. */
struct ma_challenge_started;
MA_MUST_USE int ma_challenge_name(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                                  struct ma_challenge_started *ret, struct ma_challenge *row);
/* Audit row about a second factor: detail {"authenticator": type}. */
MA_MUST_USE int ma_audit_factor(struct ma_ctx *ctx, const char *type, enum ma_factor factor, struct ma_span method_id);
/* The same, and whether the authenticator's counter did not grow. */
MA_MUST_USE int ma_audit_assertion(struct ma_ctx *ctx, const char *type, enum ma_factor factor,
                                   struct ma_span method_id, bool counter_regressed);

/* "gd_auth_rejected", with what the device says (p == NULL: nothing). */
MA_MUST_USE int ma_audit_rejected(struct ma_ctx *ctx, enum ma_factor factor, struct ma_span method_id,
                                  struct ma_span reason);

/* TOTP */
MA_MUST_USE int ma_totp_check(struct ma_ctx *ctx, const struct ma_method *m, struct ma_span code, int64_t *ret_step);

#endif

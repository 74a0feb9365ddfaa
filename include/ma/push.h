/* SPDX-License-Identifier: Apache-2.0
 * Push notifications as a factor: devices whose apps are built on the vendor's Guardian SDKs enrol with a ticket from a
 * QR code, are sent a message when their user signs in, and answer with what they sign. Domain rules only: no HTTP, no
 * SQL.
 *
 * A device is a method of the type push-notification with a row of its own. It is confirmed when the device enrols: the
 * ticket proves that whoever holds the device saw the code. One that is enrolled while signing in waits for the
 * sign-in, which asks its own rules again: a password alone adds no factor beside another one. With the TOTP factor
 * switched on the same code carries an authenticator's secret, which becomes a method beside the device; either takes
 * the other along when it is removed.
 *
 * What travels to the device through the push service opens nothing by itself: the transaction's token says which
 * sign-in an answer is about, and the answer counts only with the signature of the device's key.
 */
#ifndef MA_PUSH_H
#define MA_PUSH_H

#include "ma/ctx.h"
#include "ma/methods.h"

#define MA_PUSH_PATH "/appliance-mfa"
#define MA_PUSH_TICKET_LEN 32
#define MA_PUSH_TOKEN_MAX 4096     /* bytes of the push service's token; with its service it is an address */
#define MA_PUSH_IDENTIFIER_MAX 255 /* UTF-16 units of what a device calls itself */
#define MA_PUSH_REASON_MAX 255     /* of why its user rejected a sign-in */
#define MA_PUSH_NUMBER_DIGITS 2
#define MA_PUSH_ANSWER_TTL_S 300   /* the longest life of a signed answer */
#define MA_PUSH_DEVICE_TTL_S 10800 /* and of a JWT that manages the device */

/* --- the user's side --- */

/* Starts an enrolment for ctx->who. held: of somebody who is not signed in yet, so that ma_push_confirm makes the
 * device a factor; otherwise the device does by enrolling. Write. */
MA_MUST_USE int ma_enrol_push(struct ma_ctx *ctx, bool held, struct ma_enrolled *ret);
/* Ends it once the device has enrolled; until then *ret_pending, and the session stays good. An answer when the session
 * is not. Write. */
MA_MUST_USE int ma_push_confirm(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, bool *ret_pending,
                                struct ma_method_view *ret);
/* Whether the device of this method of ctx->who may still come. Any lane. */
MA_MUST_USE int ma_push_expected(struct ma_ctx *ctx, struct ma_span id, bool *ret);

/* --- the device's side --- */

enum ma_push_verdict {
    MA_PUSH_OK,
    MA_PUSH_NO_TICKET,      /* unknown, lapsed, or its user may not enrol any more */
    MA_PUSH_TICKET_USED,    /* a device enrolled with it already */
    MA_PUSH_NO_ROOM,        /* the user has as many methods as may be */
    MA_PUSH_NEEDS_MATCHING, /* only devices that can send a number along may enrol */
    MA_PUSH_NO_DEVICE,
    MA_PUSH_NO_TRANSACTION, /* unknown, lapsed, answered, or another one took its place */
    MA_PUSH_BAD_TOKEN,      /* token or signature */
    MA_PUSH_WRONG_NUMBER,   /* the transaction is over */
    MA_PUSH_CLOSED          /* the user is blocked, or the factor switched off */
};

/* Members of requests; spans p == NULL: not there. */
struct ma_push_request {
    struct ma_span identifier, name, service, push_token;
    struct ma_span public_key; /* of ma_rs256_jwk */
    bool has_matching, matching;
};

/* What a device gets to know once. arena. */
struct ma_push_enrolled {
    enum ma_push_verdict verdict;
    struct ma_span device_id, user_id;
    const char *url, *token;
    const char *totp_secret; /* Base32; NULL: no authenticator is paired */
};
/* Whether a ticket was given out lately: what is made up costs the writer nothing. Any lane. */
MA_MUST_USE int ma_push_ticket_known(struct ma_ctx *ctx, struct ma_span ticket, bool *ret);
/* Makes ctx->who the ticket's user. Answers 429 when too many changes would have to be told of. Write. */
MA_MUST_USE int ma_push_enrol_device(struct ma_ctx *ctx, struct ma_span ticket, const struct ma_push_request *in,
                                     struct ma_push_enrolled *ret);

/* The device with this id, as its token or a JWT of its key opens it: MA_PUSH_OK, NO_DEVICE, BAD_TOKEN, CLOSED. Makes
 * ctx->who its user. Any lane. */
MA_MUST_USE int ma_push_device_open(struct ma_ctx *ctx, struct ma_span device_id, struct ma_span bearer,
                                    struct ma_push_device *ret, enum ma_push_verdict *ret_verdict);
/* Changes what `in` names; *d and *ret_token (the push token in clear, p == NULL: none) are what holds then. Write. */
MA_MUST_USE int ma_push_device_change(struct ma_ctx *ctx, struct ma_push_device *d, const struct ma_push_request *in,
                                      struct ma_span *ret_token, struct ma_span *ret_name);
/* Removes it and its authenticator, and tells the user. Write. */
MA_MUST_USE int ma_push_device_remove(struct ma_ctx *ctx, const struct ma_push_device *d);

/* An answer to a transaction. */
struct ma_push_answer {
    enum ma_push_verdict verdict;
    struct ma_push_transaction transaction;
    struct ma_span public_key; /* that it was signed with */
    bool accepted;
    struct ma_span reason, number; /* p == NULL: none */
};
/* Finds the transaction and checks the signature and what was signed. Inline. */
MA_MUST_USE int ma_push_answer_check(struct ma_ctx *ctx, struct ma_span token, struct ma_span jwt,
                                     struct ma_push_answer *ret);
/* Settles it, once: MA_PUSH_OK, NO_TRANSACTION, WRONG_NUMBER, CLOSED. After verdict OK. Write. */
MA_MUST_USE int ma_push_answer_settle(struct ma_ctx *ctx, struct ma_push_answer *a);

#endif

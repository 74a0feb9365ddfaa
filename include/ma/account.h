/* SPDX-License-Identifier: Apache-2.0
 * What users see and do about their account beside its factors: where they are signed in, what happened, their profile,
 * what they agreed to. (Accounts at other providers: ma/accounts.h.)
 */
#ifndef MA_ACCOUNT_H
#define MA_ACCOUNT_H

#include "ma/ctx.h"
#include "ma/methods.h"
#include "ma/store.h"

/* --- where a request comes from (src/feature/account.c) --- */

#define MA_AGENT_KEPT_MAX 256 /* bytes of a User-Agent header */
/* Its address and User-Agent header, for people to read later. arena. */
struct ma_place ma_place_of(const struct ma_ctx *ctx);

/* --- sign-ins --- */

/* Whether the entry hangs on the same session as the token of this request. Tokens of other issuers hang on none. */
bool ma_signin_is_current(const struct ma_ctx *ctx, const struct ma_signin_row *row);
/* Ends one sign-in of the caller by its id, or all but the current ones; MA_E_PROBLEM (404) for an id that is not
 * theirs. Leaves audit rows. Write. */
MA_MUST_USE int ma_account_sign_out(struct ma_ctx *ctx, struct ma_span id);
MA_MUST_USE int ma_account_sign_out_others(struct ma_ctx *ctx);

/* --- consents --- */

/* Takes a consent back, with every token issued under it. MA_E_PROBLEM (404) when it is not theirs. Write. */
MA_MUST_USE int ma_account_withdraw(struct ma_ctx *ctx, struct ma_span consent_id);

/* --- activity (src/feature/activity.c) --- */

/* One event in plain terms. */
struct ma_activity {
    const char *type;    /* "sign_in"; static */
    const char *outcome; /* "success", "failure", "started"; static */
    const char *text;    /* a sentence; static */
    bool by_operator;
    struct ma_span factor, factor_id, connection; /* arena; p == NULL: none */
};
/* What the row tells its user; false for rows that are not theirs to read. Only named members of the details are
 * looked at. */
bool ma_activity_of(struct ma_arena *a, const struct ma_audit_row *row, struct ma_activity *ret);
/* The index of a type's name; MA_ACTIVITY_TYPES_MAX when there is none. */
#define MA_ACTIVITY_TYPES_MAX 128
unsigned ma_activity_type(struct ma_span name);

/* --- profile (src/feature/profile.c) --- */

#define MA_USER_METADATA_MAX 16384 /* bytes of compact JSON */
#define MA_PROFILE_TEXT_MAX 300    /* UTF-16 units of a name */
#define MA_PROFILE_PICTURE_MAX 2048

#define MA_PROFILE_FIELDS(X)                                                                                           \
    X(NAME, "name")                                                                                                    \
    X(GIVEN_NAME, "given_name")                                                                                        \
    X(FAMILY_NAME, "family_name")                                                                                      \
    X(NICKNAME, "nickname")                                                                                            \
    X(PICTURE, "picture")                                                                                              \
    X(USER_METADATA, "user_metadata")                                                                                  \
    X(EMAIL, "email")                                                                                                  \
    X(EMAIL_VERIFIED, "email_verified")                                                                                \
    X(PHONE_NUMBER, "phone_number")
#define MA_PROFILE_FIELD_ID(id, name) MA_PROFILE_##id,
enum ma_profile_field { MA_PROFILE_FIELDS(MA_PROFILE_FIELD_ID) MA_PROFILE__COUNT };
#undef MA_PROFILE_FIELD_ID
const char *ma_profile_field_name(enum ma_profile_field f); /* static */

struct ma_field_policy {
    bool writable;
    const char *reason; /* why it is not: "administrator", "identity_provider", "verification"; NULL. Static */
    const char *why;    /* the same as a sentence */
};
/* What the caller may do with a field: the configuration's word, and who owns the field. */
struct ma_field_policy ma_profile_policy(const struct ma_ctx *ctx, enum ma_profile_field f);

/* A change: of the first five fields and the metadata those that are `given`; a text with p == NULL goes. */
struct ma_profile_change {
    bool given[MA_PROFILE__COUNT];
    struct ma_span text[MA_PROFILE_USER_METADATA];
    struct ma_span metadata; /* RFC 7396 merge patch, an object; p == NULL: all of it goes */
};
/* Writes it and leaves the audit row. MA_E_PROBLEM when the metadata would become too large. Write. */
MA_MUST_USE int ma_profile_change(struct ma_ctx *ctx, const struct ma_profile_change *change);

#endif

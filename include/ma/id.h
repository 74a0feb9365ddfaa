/* SPDX-License-Identifier: Apache-2.0
 * Identifiers of the API: "<type>|dev_<16 of A-Za-z0-9>" and friends.
 */
#ifndef MA_ID_H
#define MA_ID_H

#include "ma/rand.h"

#define MA_METHOD_ID_MAX 64 /* bytes with NUL: the longest type name, '|', "dev_", 16 */
#define MA_SESSION_LEN 64   /* characters of an auth_session: 48 random bytes in base64url */

/* "<type>|dev_" and 16 characters into out. */
MA_MUST_USE int ma_id_method(const struct ma_rand *r, const char *type, char out[MA_METHOD_ID_MAX]);
/* 64 base64url characters and NUL. */
MA_MUST_USE int ma_id_session(const struct ma_rand *r, char out[MA_SESSION_LEN + 1]);
/* "cac_" and 22 characters. */
#define MA_ACCOUNT_ID_LEN 26
MA_MUST_USE int ma_id_account(const struct ma_rand *r, char out[MA_ACCOUNT_ID_LEN + 1]);
/* A UUID version 4 (RFC 9562 §5.4), lower case. */
#define MA_UUID_LEN 36
MA_MUST_USE int ma_id_uuid(const struct ma_rand *r, char out[MA_UUID_LEN + 1]);
/* 32 random bytes in base64url: states, nonces, codes, cookies, PKCE verifiers. */
#define MA_TOKEN_LEN 43
MA_MUST_USE int ma_id_token(const struct ma_rand *r, char out[MA_TOKEN_LEN + 1]);
/* Whether a text has the shape of one. */
bool ma_id_token_fits(struct ma_span s);
/* A request id: 32 lower-case hex characters and NUL. */
MA_MUST_USE int ma_id_request(const struct ma_rand *r, char out[33]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The password policy engine: every broken rule is reported.
 */
#ifndef MA_PASSWORD_H
#define MA_PASSWORD_H

#include "ma/breached.h"
#include "ma/state.h"

#define MA_PASSWORD_MAX_UNITS 256 /* UTF-16 units the API takes (wire contract 2.8) */
#define MA_PASSWORD_MAX_BYTES 72  /* what max_length_exceeded judges, in bytes, as bcrypt-era stores do */

struct ma_password_profile {
    struct ma_span email, name, given_name, family_name, nickname, username, phone_number; /* p == NULL: none */
    struct ma_span user_metadata; /* JSON object text for "user_metadata.x" fields; p == NULL */
};
/* Fills `broken` with one sentence for each broken rule but history (which needs hashes), arena or static;
 * returns their number. `password` must be valid UTF-8 without controls. Judged is *ret_effective: the password
 * after truncation when max_length_exceeded is "truncate" (borrowed from password), which is also what has to be
 * hashed and compared. On the list of breached passwords neither may be, the one that was typed or the one that is
 * judged; breached may be NULL: no list. Hashing lane: it may read from the disk. Letters and numbers are the ASCII
 * ones; every other character counts as special. `profile` may be NULL. A field of "user_metadata.a.b" is looked up
 * along its path. Out of memory is a broken rule. */
#define MA_PASSWORD_RULES_MAX 12
size_t ma_password_check(struct ma_arena *a, const struct ma_password_policy *p, struct ma_span password,
                         const struct ma_password_profile *profile, struct ma_breached *breached,
                         const char *broken[MA_PASSWORD_RULES_MAX], struct ma_span *ret_effective);
/* What of a password is hashed and compared under this policy. Borrowed from it. */
struct ma_span ma_password_effective(const struct ma_password_policy *p, struct ma_span password);
/* True when the word is in the list (ASCII case-insensitive), O(1). which: 0 en_10k, 1 en_100k. */
bool ma_dictionary_has(int which, struct ma_span word);
#define MA_PASSWORD_HISTORY_TEXT "The password was used before; choose one that is not among the last ones"

#endif

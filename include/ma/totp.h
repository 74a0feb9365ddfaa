/* SPDX-License-Identifier: Apache-2.0
 * Time-based one-time passwords: RFC 6238 with SHA-1, six digits, 30-second steps.
 */
#ifndef MA_TOTP_H
#define MA_TOTP_H

#include "ma/base.h"

#define MA_TOTP_SEED_LEN 20 /* bytes; RFC 4226 §4 R6 recommends 160 bits */
#define MA_TOTP_STEP_S 30
#define MA_TOTP_DIGITS 6
#define MA_TOTP_SKEW 1 /* steps accepted before and after the current one (RFC 6238 §5.2) */

/* The six digits of a time step, NUL-terminated. MA_OK or MA_E_CRYPTO. */
MA_MUST_USE int ma_totp_code(struct ma_span seed, int64_t step, char out[MA_TOTP_DIGITS + 1]);
/* MA_OK and the matching step when the code belongs to now ± MA_TOTP_SKEW and to a step later than last_step (RFC
 * 6238 §5.2: a step is accepted once); MA_E_AUTH otherwise. Constant time over the candidates. */
MA_MUST_USE int ma_totp_match(struct ma_span seed, struct ma_span code, int64_t now_s, int64_t last_step,
                              int64_t *ret_step);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * RFC 6238 codes and their acceptance window.
 */
#include "ma/totp.h"

#include <stdio.h>

#include "ma/crypto.h"

int ma_totp_code(struct ma_span seed, int64_t step, char out[MA_TOTP_DIGITS + 1])
{
    uint8_t counter[8], mac[20];
    for (int i = 7; i >= 0; i--, step >>= 8)
        counter[i] = (uint8_t)(step & 0xff);
    int r = ma_hmac_sha1(seed, ma_span_of(counter, sizeof counter), mac);
    if (r < 0)
        return r;
    /* RFC 4226 §5.3: dynamic truncation */
    size_t at = mac[19] & 0x0f;
    uint32_t bin = (uint32_t)(mac[at] & 0x7f) << 24 | (uint32_t)mac[at + 1] << 16 | (uint32_t)mac[at + 2] << 8 |
                   (uint32_t)mac[at + 3];
    (void)snprintf(out, MA_TOTP_DIGITS + 1, "%06u", bin % 1000000u);
    ma_wipe(mac, sizeof mac);
    return MA_OK;
}

int ma_totp_match(struct ma_span seed, struct ma_span code, int64_t now_s, int64_t last_step, int64_t *ret_step)
{
    int64_t now = now_s / MA_TOTP_STEP_S, found = -1;
    for (int64_t step = now - MA_TOTP_SKEW; step <= now + MA_TOTP_SKEW; step++) {
        char want[MA_TOTP_DIGITS + 1];
        int r = ma_totp_code(seed, step, want);
        if (r < 0)
            return r;
        bool equal = ma_ct_eq(ma_span_of(want, MA_TOTP_DIGITS), code);
        if (equal && step > last_step)
            found = step;
        ma_wipe(want, sizeof want);
    }
    if (found < 0)
        return MA_E_AUTH;
    *ret_step = found;
    return MA_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * Identifiers of methods, sessions and requests.
 */
#include "ma/id.h"

#include "ma/codec.h"

#define DEVICE_CHARS 16u  /* 95 bits */
#define SESSION_BYTES 48u /* MA_B64URL_LEN(48) == MA_SESSION_LEN */
#define REQUEST_BYTES 16u

_Static_assert(MA_B64URL_LEN(SESSION_BYTES) == MA_SESSION_LEN, "a session id is 48 bytes in base64url");

int ma_id_method(const struct ma_rand *r, const char *type, char out[MA_METHOD_ID_MAX])
{
    static const char infix[] = "|dev_";
    size_t n = strlen(type), infix_n = sizeof(infix) - 1;
    out[0] = '\0';
    if (!n || n > MA_METHOD_ID_MAX - 1 - infix_n - DEVICE_CHARS)
        return MA_E_RANGE;
    memcpy(out, type, n);
    memcpy(out + n, infix, infix_n);
    int err = ma_rand_chars(r, MA_ALNUM62, out + n + infix_n, DEVICE_CHARS);
    if (err != MA_OK)
        out[0] = '\0';
    return err;
}

int ma_id_session(const struct ma_rand *r, char out[MA_SESSION_LEN + 1])
{
    uint8_t bytes[SESSION_BYTES];
    out[0] = '\0';
    int err = r->fill(r, bytes, sizeof(bytes));
    if (err == MA_OK)
        ma_b64url_encode(ma_span_of(bytes, sizeof(bytes)), out);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

int ma_id_request(const struct ma_rand *r, char out[33])
{
    uint8_t bytes[REQUEST_BYTES];
    out[0] = '\0';
    int err = r->fill(r, bytes, sizeof(bytes));
    if (err == MA_OK)
        ma_hex_encode(ma_span_of(bytes, sizeof(bytes)), out);
    return err;
}

/* SPDX-License-Identifier: Apache-2.0
 * Identifiers of methods, sessions and requests.
 */
#include "ma/id.h"

#include "ma/codec.h"

#define DEVICE_CHARS 16u  /* 95 bits */
#define SESSION_BYTES 48u /* MA_B64URL_LEN(48) == MA_SESSION_LEN */
#define REQUEST_BYTES 16u
#define TOKEN_BYTES 32u

_Static_assert(MA_B64URL_LEN(SESSION_BYTES) == MA_SESSION_LEN, "a session id is 48 bytes in base64url");
_Static_assert(MA_B64URL_LEN(TOKEN_BYTES) == MA_TOKEN_LEN, "a token is 32 bytes in base64url");

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

/* n random bytes, at most SESSION_BYTES, in base64url. */
static int random_text(const struct ma_rand *r, size_t n, char *out)
{
    uint8_t bytes[SESSION_BYTES];
    out[0] = '\0';
    int err = r->fill(r, bytes, n);
    if (err == MA_OK)
        ma_b64url_encode(ma_span_of(bytes, n), out);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

int ma_id_session(const struct ma_rand *r, char out[MA_SESSION_LEN + 1])
{
    return random_text(r, SESSION_BYTES, out);
}

int ma_id_token(const struct ma_rand *r, char out[MA_TOKEN_LEN + 1])
{
    return random_text(r, TOKEN_BYTES, out);
}

bool ma_id_token_fits(struct ma_span s)
{
    uint8_t raw[TOKEN_BYTES + 3];
    size_t n = 0;
    return s.n == MA_TOKEN_LEN && ma_b64url_decode(s, raw, sizeof raw, &n) == MA_OK && n == TOKEN_BYTES;
}

int ma_id_account(const struct ma_rand *r, char out[MA_ACCOUNT_ID_LEN + 1])
{
    memcpy(out, "cac_", 4);
    int err = ma_rand_chars(r, MA_ALNUM62, out + 4, MA_ACCOUNT_ID_LEN - 4);
    out[err == MA_OK ? MA_ACCOUNT_ID_LEN : 0] = '\0';
    return err;
}

int ma_id_uuid(const struct ma_rand *r, char out[MA_UUID_LEN + 1])
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6}; /* bytes between the hyphens */
    uint8_t b[16];
    out[0] = '\0';
    int err = r->fill(r, b, sizeof(b));
    if (err != MA_OK)
        return err;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant */
    size_t at = 0;
    for (size_t g = 0, i = 0; g < MA_COUNT(groups); i += groups[g++]) {
        if (g > 0)
            out[at++] = '-';
        ma_hex_encode(ma_span_of(b + i, groups[g]), out + at);
        at += groups[g] * 2u;
    }
    return MA_OK;
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

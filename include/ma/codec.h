/* SPDX-License-Identifier: Apache-2.0
 * Text encodings, strict and canonical: one byte string has exactly one accepted spelling.
 * RFC 4648 (base64, base64url; base32 through liboath), RFC 3986 (percent-encoding).
 */
#ifndef MA_CODEC_H
#define MA_CODEC_H

#include "ma/arena.h"

/* Encoded sizes without NUL. */
#define MA_B64URL_LEN(n) (((n)*4 + 2) / 3)
#define MA_B64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes MA_B64URL_LEN(in.n) characters and a NUL; out must hold them. No padding. */
void ma_b64url_encode(struct ma_span in, char *out);
/* Decodes unpadded base64url: alphabet only, no whitespace, no padding, zero trailing bits.
 * out holds at least in.n * 3 / 4 bytes; *ret_n is what was written. MA_E_PARSE otherwise. */
MA_MUST_USE int ma_b64url_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n);
/* As above, but padding to a multiple of four is also accepted (WebAuthn members). */
MA_MUST_USE int ma_b64url_decode_padded(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n);
/* Standard base64 with padding (RFC 4648 §4). */
void ma_b64_encode(struct ma_span in, char *out);
MA_MUST_USE int ma_b64_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n);
/* Base32, upper case, no padding; arena, NULL when out of memory. */
char *ma_base32_encode(struct ma_arena *a, struct ma_span in);
/* Lower-case hex; out holds 2n+1. */
void ma_hex_encode(struct ma_span in, char *out);
MA_MUST_USE int ma_hex_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n);
/* Percent-encodes all but unreserved characters (RFC 3986 §2.3). arena. */
char *ma_pct_encode(struct ma_arena *a, struct ma_span in);
/* Percent-decodes once; a malformed escape, or %00, is MA_E_PARSE. plus_is_space for query and
 * form text. arena. */
MA_MUST_USE int ma_pct_decode(struct ma_arena *a, struct ma_span in, bool plus_is_space, struct ma_span *ret);

/* Takes the next "name=value" off form-encoded text (WHATWG URL §5.1): *rest moves on. MA_E_NOTFOUND at the end;
 * MA_E_PARSE for a malformed escape or %00. arena. */
MA_MUST_USE int ma_form_next(struct ma_arena *a, struct ma_span *rest, struct ma_span *name, struct ma_span *value);

/* True for well-formed UTF-8 (no surrogates, no overlong forms, ≤ U+10FFFF). */
bool ma_utf8_valid(struct ma_span s);
/* Number of UTF-16 code units of valid UTF-8 (what JSON Schema length tests of JavaScript count). */
size_t ma_utf8_units(struct ma_span s);
/* True when s holds a C0 or C1 control or DEL. s must be valid UTF-8. */
bool ma_utf8_has_control(struct ma_span s);
/* Trims ASCII blanks at both ends. Borrowed from s. */
struct ma_span ma_trim(struct ma_span s);

#endif

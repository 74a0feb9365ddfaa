/* SPDX-License-Identifier: Apache-2.0
 * Strict base64, base64url, base32, hex and percent-encoding.
 */
#include "ma/codec.h"

#include <liboath/oath.h>
#include <stdlib.h>

static const char enc_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char enc_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Decode tables hold the value with bit 6 set, so that 0 means "not in the alphabet". */
#define V(n) (uint8_t)(0x40 | (n))
#define ALNUM_ROWS                                                                                                     \
    ['A'] = V(0), ['B'] = V(1), ['C'] = V(2), ['D'] = V(3), ['E'] = V(4), ['F'] = V(5), ['G'] = V(6), ['H'] = V(7),    \
    ['I'] = V(8), ['J'] = V(9), ['K'] = V(10), ['L'] = V(11), ['M'] = V(12), ['N'] = V(13), ['O'] = V(14),             \
    ['P'] = V(15), ['Q'] = V(16), ['R'] = V(17), ['S'] = V(18), ['T'] = V(19), ['U'] = V(20), ['V'] = V(21),           \
    ['W'] = V(22), ['X'] = V(23), ['Y'] = V(24), ['Z'] = V(25), ['a'] = V(26), ['b'] = V(27), ['c'] = V(28),           \
    ['d'] = V(29), ['e'] = V(30), ['f'] = V(31), ['g'] = V(32), ['h'] = V(33), ['i'] = V(34), ['j'] = V(35),           \
    ['k'] = V(36), ['l'] = V(37), ['m'] = V(38), ['n'] = V(39), ['o'] = V(40), ['p'] = V(41), ['q'] = V(42),           \
    ['r'] = V(43), ['s'] = V(44), ['t'] = V(45), ['u'] = V(46), ['v'] = V(47), ['w'] = V(48), ['x'] = V(49),           \
    ['y'] = V(50), ['z'] = V(51), ['0'] = V(52), ['1'] = V(53), ['2'] = V(54), ['3'] = V(55), ['4'] = V(56),           \
    ['5'] = V(57), ['6'] = V(58), ['7'] = V(59), ['8'] = V(60), ['9'] = V(61)
static const uint8_t dec_url[256] = {ALNUM_ROWS, ['-'] = V(62), ['_'] = V(63)};
static const uint8_t dec_std[256] = {ALNUM_ROWS, ['+'] = V(62), ['/'] = V(63)};

/* Encodes without padding; returns the end of the output. */
static char *b64_encode(struct ma_span in, const char *alphabet, char *out)
{
    size_t i = 0;
    for (; in.n - i >= 3; i += 3, out += 4) {
        uint32_t w = (uint32_t)in.p[i] << 16 | (uint32_t)in.p[i + 1] << 8 | in.p[i + 2];
        out[0] = alphabet[w >> 18];
        out[1] = alphabet[w >> 12 & 63];
        out[2] = alphabet[w >> 6 & 63];
        out[3] = alphabet[w & 63];
    }
    size_t left = in.n - i;
    if (!left)
        return out;
    uint32_t w = (uint32_t)in.p[i] << 16 | (left == 2 ? (uint32_t)in.p[i + 1] << 8 : 0);
    *out++ = alphabet[w >> 18];
    *out++ = alphabet[w >> 12 & 63];
    if (left == 2)
        *out++ = alphabet[w >> 6 & 63];
    return out;
}

/* The last two or three characters; their spare bits must be zero (RFC 4648 §3.5). */
static int b64_tail(const uint8_t *p, size_t n, const uint8_t *table, uint8_t *out)
{
    uint8_t a = table[p[0]], b = table[p[1]], c = n == 3 ? table[p[2]] : V(0);
    if (!(a & b & c & 0x40) || (n == 2 ? b & 0x0F : c & 0x03))
        return MA_E_PARSE;
    out[0] = (uint8_t)((a & 63) << 2 | (b & 63) >> 4);
    if (n == 3)
        out[1] = (uint8_t)((b & 15) << 4 | (c & 63) >> 2);
    return MA_OK;
}

/* Decodes text without padding. */
static int b64_decode(struct ma_span in, const uint8_t *table, uint8_t *out, size_t out_cap, size_t *ret_n)
{
    size_t tail = in.n % 4, whole = in.n - tail, need = whole / 4 * 3 + (tail ? tail - 1 : 0);
    *ret_n = 0;
    if (tail == 1)
        return MA_E_PARSE;
    if (need > out_cap)
        return MA_E_RANGE;
    for (size_t i = 0; i < whole; i += 4, out += 3) {
        uint8_t a = table[in.p[i]], b = table[in.p[i + 1]], c = table[in.p[i + 2]], d = table[in.p[i + 3]];
        if (!(a & b & c & d & 0x40))
            return MA_E_PARSE;
        uint32_t w = (uint32_t)(a & 63) << 18 | (uint32_t)(b & 63) << 12 | (uint32_t)(c & 63) << 6 | (d & 63);
        out[0] = (uint8_t)(w >> 16);
        out[1] = (uint8_t)(w >> 8);
        out[2] = (uint8_t)w;
    }
    if (tail && b64_tail(in.p + whole, tail, table, out) != MA_OK)
        return MA_E_PARSE;
    *ret_n = need;
    return MA_OK;
}

/* Drops the one or two '=' of text whose length is a multiple of four. */
static struct ma_span strip_padding(struct ma_span in)
{
    if (in.n && in.n % 4 == 0 && in.p[in.n - 1] == '=') {
        in.n--;
        if (in.p[in.n - 1] == '=')
            in.n--;
    }
    return in;
}

void ma_b64url_encode(struct ma_span in, char *out)
{
    *b64_encode(in, enc_url, out) = '\0';
}

int ma_b64url_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n)
{
    return b64_decode(in, dec_url, out, out_cap, ret_n);
}

int ma_b64url_decode_padded(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n)
{
    return b64_decode(strip_padding(in), dec_url, out, out_cap, ret_n);
}

void ma_b64_encode(struct ma_span in, char *out)
{
    char *end = b64_encode(in, enc_std, out);
    while ((end - out) % 4)
        *end++ = '=';
    *end = '\0';
}

int ma_b64_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n)
{
    *ret_n = 0;
    if (in.n % 4)
        return MA_E_PARSE;
    return b64_decode(strip_padding(in), dec_std, out, out_cap, ret_n);
}

char *ma_base32_encode(struct ma_arena *a, struct ma_span in)
{
    if (!in.n)
        return ma_arena_strdup(a, MA_SPAN_NULL);
    char *text = NULL;
    size_t n = 0;
    if (oath_base32_encode((const char *)in.p, in.n, &text, &n) != OATH_OK || !text)
        return NULL;
    size_t all = n;
    while (n && text[n - 1] == '=')
        n--;
    char *ret = ma_arena_strdup(a, ma_span_of(text, n));
    explicit_bzero(text, all);
    free(text);
    return ret;
}

void ma_hex_encode(struct ma_span in, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.n; i++) {
        *out++ = digits[in.p[i] >> 4];
        *out++ = digits[in.p[i] & 15];
    }
    *out = '\0';
}

/* 0–15, or -1. */
static int hex_digit(uint8_t c, bool upper_too)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (upper_too && c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int ma_hex_decode(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n)
{
    *ret_n = 0;
    if (in.n % 2)
        return MA_E_PARSE;
    if (in.n / 2 > out_cap)
        return MA_E_RANGE;
    for (size_t i = 0; i < in.n; i += 2) {
        int hi = hex_digit(in.p[i], false), lo = hex_digit(in.p[i + 1], false);
        if (hi < 0 || lo < 0)
            return MA_E_PARSE;
        out[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    *ret_n = in.n / 2;
    return MA_OK;
}

/* RFC 3986 §2.3 */
static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

char *ma_pct_encode(struct ma_arena *a, struct ma_span in)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 1;
    for (size_t i = 0; i < in.n; i++) {
        if (!ma_add_ok(n, (size_t)(is_unreserved(in.p[i]) ? 1 : 3), &n))
            return NULL;
    }
    char *ret = ma_arena_alloc(a, n);
    if (!ret)
        return NULL;
    char *out = ret;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (is_unreserved(c)) {
            *out++ = (char)c;
            continue;
        }
        *out++ = '%';
        *out++ = digits[c >> 4];
        *out++ = digits[c & 15];
    }
    *out = '\0';
    return ret;
}

/* One character of percent-encoded text at in.p[*i]; advances *i. -1 when malformed or NUL. */
static int pct_next(struct ma_span in, size_t *i, bool plus_is_space)
{
    uint8_t c = in.p[(*i)++];
    if (c == '+' && plus_is_space)
        return ' ';
    if (c != '%')
        return c ? c : -1;
    if (in.n - *i < 2)
        return -1;
    int hi = hex_digit(in.p[*i], true), lo = hex_digit(in.p[*i + 1], true);
    *i += 2;
    if (hi < 0 || lo < 0 || (hi | lo) == 0)
        return -1;
    return hi << 4 | lo;
}

int ma_pct_decode(struct ma_arena *a, struct ma_span in, bool plus_is_space, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    size_t cap;
    if (!ma_add_ok(in.n, (size_t)1, &cap))
        return MA_E_NOMEM;
    uint8_t *out = ma_arena_alloc(a, cap);
    if (!out)
        return MA_E_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < in.n;) {
        int c = pct_next(in, &i, plus_is_space);
        if (c < 0)
            return MA_E_PARSE;
        out[n++] = (uint8_t)c;
    }
    out[n] = '\0';
    *ret = ma_span_of(out, n);
    return MA_OK;
}

int ma_form_next(struct ma_arena *a, struct ma_span *rest, struct ma_span *name, struct ma_span *value)
{
    struct ma_span pair = {NULL, 0};
    while (pair.n == 0) { /* "a&&b" */
        if (rest->n == 0)
            return MA_E_NOTFOUND;
        const uint8_t *amp = memchr(rest->p, '&', rest->n);
        pair = ma_span_of(rest->p, amp ? (size_t)(amp - rest->p) : rest->n);
        size_t used = pair.n + (amp ? 1 : 0);
        *rest = ma_span_of(rest->p + used, rest->n - used);
    }
    const uint8_t *eq = memchr(pair.p, '=', pair.n);
    size_t n = eq ? (size_t)(eq - pair.p) : pair.n;
    int r = ma_pct_decode(a, ma_span_of(pair.p, n), true, name);
    if (r < 0)
        return r;
    return ma_pct_decode(a, eq ? ma_span_of(eq + 1, pair.n - n - 1) : MA_LIT(""), true, value);
}

/* SPDX-License-Identifier: Apache-2.0
 * Streaming JSON writer (RFC 8259).
 */
#include "ma/jsonw.h"

#include "ma/clock.h"
#include "ma/codec.h"

#include "int.h"

#define INT_DIGITS_MAX 20u /* "-9223372036854775808" */
#define ESCAPE_MAX 6u      /* "\u001f" */

static void put_open(struct ma_jw *w, char c)
{
    uint8_t *p = ma_buf_reserve(w->b, 1 + (size_t)w->comma);
    if (!p)
        return;
    size_t n = 0;
    if (w->comma)
        p[n++] = ',';
    p[n++] = (uint8_t)c;
    w->b->n += n;
    w->comma = false;
}

static void put_close(struct ma_jw *w, char c)
{
    ma_buf_byte(w->b, (uint8_t)c);
    w->comma = true;
}

void ma_jw_obj(struct ma_jw *w)
{
    put_open(w, '{');
}

void ma_jw_obj_end(struct ma_jw *w)
{
    put_close(w, '}');
}

void ma_jw_arr(struct ma_jw *w)
{
    put_open(w, '[');
}

void ma_jw_arr_end(struct ma_jw *w)
{
    put_close(w, ']');
}

/* A due comma and n bytes of finished JSON. */
static void put_value(struct ma_jw *w, const void *text, size_t n)
{
    uint8_t *p = ma_buf_reserve(w->b, n < SIZE_MAX ? n + (size_t)w->comma : n);
    if (!p)
        return;
    if (w->comma) {
        *p++ = ',';
        w->b->n++;
    }
    if (n)
        memcpy(p, text, n);
    w->b->n += n;
    w->comma = true;
}

void ma_jw_key(struct ma_jw *w, const char *key)
{
    size_t n = strlen(key);
    uint8_t *p = ma_buf_reserve(w->b, n + 3 + (size_t)w->comma);
    if (!p)
        return;
    size_t at = 0;
    if (w->comma)
        p[at++] = ',';
    p[at++] = '"';
    memcpy(p + at, key, n);
    at += n;
    p[at++] = '"';
    p[at++] = ':';
    w->b->n += at;
    w->comma = false;
}

static bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Sets the high bit of some byte of the result iff w has a byte that is a control, '"', '\\' or
 * not ASCII (a borrow can only mark a byte above one that is marked anyway). */
static uint64_t special_bytes(uint64_t w)
{
    uint64_t quote = w ^ (MA_LOW_BITS * '"'), slash = w ^ (MA_LOW_BITS * '\\');
    return ((w - MA_LOW_BITS * 0x20) | (quote - MA_LOW_BITS) | (slash - MA_LOW_BITS) | w) & MA_HIGH_BITS;
}

/* True when s is ASCII that stands in a JSON string as it is. */
static bool is_plain(struct ma_span s)
{
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        if (special_bytes(ma_load8(s.p + i)))
            return false;
    }
    for (; i < s.n; i++) {
        if (needs_escape(s.p[i]) || s.p[i] >= 0x80)
            return false;
    }
    return true;
}

static size_t escape_byte(uint8_t c, uint8_t *out)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    out[0] = '\\';
    out[1] = c >= 0x20 ? c : (uint8_t)letters[c];
    if (out[1])
        return 2;
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)hex[c >> 4];
    out[5] = (uint8_t)hex[c & 15];
    return ESCAPE_MAX;
}

static void put_escaped(struct ma_buf *b, struct ma_span s)
{
    for (size_t i = 0; i < s.n;) {
        size_t run = i;
        while (run < s.n && !needs_escape(s.p[run]))
            run++;
        ma_buf_put(b, s.p + i, run - i);
        if (run < s.n) {
            uint8_t escape[ESCAPE_MAX];
            ma_buf_put(b, escape, escape_byte(s.p[run++], escape));
        }
        i = run;
    }
}

/* The slow road of strings with escapes or beyond ASCII. */
static void put_string_checked(struct ma_jw *w, struct ma_span s)
{
    if (!ma_utf8_valid(s)) {
        if (!w->b->err)
            w->b->err = MA_E_INVAL;
        return;
    }
    ma_buf_byte(w->b, '"');
    put_escaped(w->b, s);
    ma_buf_byte(w->b, '"');
}

void ma_jw_str(struct ma_jw *w, struct ma_span s)
{
    uint8_t *p = ma_buf_reserve(w->b, s.n < SIZE_MAX - 3 ? s.n + 2 + (size_t)w->comma : SIZE_MAX);
    if (!p)
        return;
    size_t at = 0;
    if (w->comma)
        p[at++] = ',';
    w->comma = true;
    if (!is_plain(s)) {
        w->b->n += at;
        put_string_checked(w, s);
        return;
    }
    p[at++] = '"';
    if (s.n)
        memcpy(p + at, s.p, s.n);
    at += s.n;
    p[at++] = '"';
    w->b->n += at;
}

void ma_jw_key_span(struct ma_jw *w, struct ma_span key)
{
    ma_jw_str(w, key);
    ma_buf_byte(w->b, ':');
    w->comma = false;
}

void ma_jw_cstr(struct ma_jw *w, const char *s)
{
    if (s)
        ma_jw_str(w, ma_span_str(s));
    else
        ma_jw_null(w);
}

void ma_jw_int(struct ma_jw *w, int64_t v)
{
    uint8_t digits[INT_DIGITS_MAX];
    size_t at = sizeof(digits);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--at] = (uint8_t)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        digits[--at] = '-';
    put_value(w, digits + at, sizeof(digits) - at);
}

void ma_jw_bool(struct ma_jw *w, bool v)
{
    put_value(w, v ? "true" : "false", v ? 4 : 5);
}

void ma_jw_null(struct ma_jw *w)
{
    put_value(w, "null", 4);
}

void ma_jw_raw(struct ma_jw *w, struct ma_span json)
{
    put_value(w, json.p, json.n);
}

void ma_jw_date(struct ma_jw *w, int64_t ms)
{
    char text[MA_ISO_LEN + 1];
    ma_iso_ms(ms, text);
    ma_jw_str(w, ma_span_of(text, MA_ISO_LEN));
}

void ma_jw_kstr(struct ma_jw *w, const char *key, struct ma_span s)
{
    ma_jw_key(w, key);
    ma_jw_str(w, s);
}

void ma_jw_kcstr(struct ma_jw *w, const char *key, const char *s)
{
    ma_jw_key(w, key);
    ma_jw_cstr(w, s);
}

void ma_jw_kint(struct ma_jw *w, const char *key, int64_t v)
{
    ma_jw_key(w, key);
    ma_jw_int(w, v);
}

void ma_jw_kbool(struct ma_jw *w, const char *key, bool v)
{
    ma_jw_key(w, key);
    ma_jw_bool(w, v);
}

void ma_jw_kdate(struct ma_jw *w, const char *key, int64_t ms)
{
    ma_jw_key(w, key);
    ma_jw_date(w, ms);
}

/* SPDX-License-Identifier: Apache-2.0
 * What stands before the parser. libconfuse 3.3 counts lines wrongly behind comments, expands ${VAR}
 * in double quotes and outside quotes, accepts a comment or a section that never ends, and skips characters it does not
 * know; so comments are blanked here and the rest refused.
 */
#include "int.h"
#include "ma/codec.h"
#include <stdarg.h>
#include <stdio.h>

struct scan {
    const char *p;
    size_t i, n;
    char *out;
    int line;
    int depth;       /* of braces */
    int open_line;   /* of the outermost open brace */
    bool after_sign; /* the token before was an equals sign */
    struct conf_issuer_lines *issuers;
    struct conf_fault *fault;
};

int ma_conf_fault(struct conf_fault *f, int line, const char *fmt, ...)
{
    if (f->why[0] != '\0')
        return MA_E_INVAL;
    int n = line > 0 ? snprintf(f->why, MA_CONF_WHY, "%s:%d: ", f->file, line)
                     : snprintf(f->why, MA_CONF_WHY, "%s: ", f->file);
    if (n < 0 || n >= MA_CONF_WHY)
        return MA_E_INVAL;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->why + n, (size_t)(MA_CONF_WHY - n), fmt, ap);
    va_end(ap);
    return MA_E_INVAL;
}

static char at(const struct scan *s, size_t ahead)
{
    return s->i + ahead < s->n ? s->p[s->i + ahead] : '\0';
}

/* Moves on by one character, copied or blanked. */
static void step(struct scan *s, bool copy)
{
    char c = s->p[s->i];
    s->out[s->i++] = copy || c == '\n' ? c : ' ';
    s->line += c == '\n';
}

static void skip_line(struct scan *s)
{
    while (s->i < s->n && at(s, 0) != '\n')
        step(s, false);
}

static int skip_block(struct scan *s)
{
    int begin = s->line;
    step(s, false);
    step(s, false);
    while (s->i < s->n && !(at(s, 0) == '*' && at(s, 1) == '/'))
        step(s, false);
    if (s->i >= s->n)
        return ma_conf_fault(s->fault, begin, "the comment that begins here has no end");
    step(s, false);
    step(s, false);
    return MA_OK;
}

static int expands(struct scan *s)
{
    return ma_conf_fault(s->fault, s->line, "\"${\" is not supported: values are never taken from the environment");
}

/* Checks the escape at a backslash and moves behind its first character. */
static int scan_escape(struct scan *s, char quote)
{
    if (at(s, 1) != '\\' && at(s, 1) != quote)
        return ma_conf_fault(s->fault, s->line, "only \\\\ and \\%c are escapes in this string", quote);
    step(s, true);
    return MA_OK;
}

static int scan_string(struct scan *s, char quote)
{
    step(s, true);
    size_t begin = s->i;
    while (at(s, 0) != quote) {
        if (s->i >= s->n || at(s, 0) == '\n')
            return ma_conf_fault(s->fault, s->line, "the string has no closing quote on its line");
        if (at(s, 0) == '$' && at(s, 1) == '{')
            return expands(s);
        if (at(s, 0) == '\\' && scan_escape(s, quote) != MA_OK)
            return MA_E_INVAL;
        if (s->i - begin >= MA_CONF_VALUE_MAX - 1)
            return ma_conf_fault(s->fault, s->line, "a value may have %d bytes at most", MA_CONF_VALUE_MAX - 1);
        step(s, true);
    }
    step(s, true);
    return MA_OK;
}

static bool is_word(const struct scan *s)
{
    char c = at(s, 0);
    char next = at(s, 1);
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_.:-", c)) || (c == '/' && next != '/' && next != '*');
}

static void note_issuer(struct scan *s, size_t begin)
{
    if (s->depth == 0 && !s->after_sign && ma_span_eq_str(ma_span_of(s->p + begin, s->i - begin), "issuer") &&
        s->issuers->n < MA_CONF_ISSUERS_MAX)
        s->issuers->v[s->issuers->n++] = s->line;
}

static int scan_word(struct scan *s)
{
    size_t begin = s->i;
    while (is_word(s)) {
        if (s->i - begin >= MA_CONF_VALUE_MAX - 1)
            return ma_conf_fault(s->fault, s->line, "a value may have %d bytes at most", MA_CONF_VALUE_MAX - 1);
        step(s, true);
    }
    note_issuer(s, begin);
    /* "https://host" without quotes would end at the slashes, as a comment. */
    if (at(s, 0) == '/')
        return ma_conf_fault(s->fault, s->line, "put a value with // or /* in it between double quotes");
    return MA_OK;
}

/* Blanks and comments. False when the scanner stands at something else. */
static bool scan_blank(struct scan *s, int *rc)
{
    char c = at(s, 0);
    *rc = MA_OK;
    if (c == '\n' || c == ' ' || c == '\t')
        step(s, true);
    else if (c == '\r' && at(s, 1) == '\n')
        step(s, false);
    else if (c == '#' || (c == '/' && at(s, 1) == '/'))
        skip_line(s);
    else if (c == '/' && at(s, 1) == '*')
        *rc = skip_block(s);
    else
        return false;
    return true;
}

static bool scan_sign(struct scan *s)
{
    char c = at(s, 0);
    if (!strchr("={},", c) && !(c == '+' && at(s, 1) == '='))
        return false;
    if (c == '{' && s->depth == 0)
        s->open_line = s->line;
    s->depth += (c == '{') - (c == '}');
    s->after_sign = c == '=';
    step(s, true);
    return true;
}

static int scan_token(struct scan *s)
{
    int rc;
    char c = at(s, 0);
    if (scan_blank(s, &rc))
        return rc;
    if (scan_sign(s))
        return MA_OK;
    if (c == '"' || c == '\'')
        rc = scan_string(s, c);
    else if (is_word(s))
        rc = scan_word(s);
    else if (c == '$' && at(s, 1) == '{')
        rc = expands(s);
    else
        rc = ma_conf_fault(s->fault, s->line, "unexpected character; values other than words and numbers need quotes");
    s->after_sign = false;
    return rc;
}

/* Control characters but line ends and tabs have no place anywhere; nor has text that is not UTF-8. */
static int check_bytes(struct ma_span in, struct conf_fault *f)
{
    int line = 1;
    for (size_t i = 0; i < in.n; i++) {
        bool crlf = in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n';
        if ((in.p[i] < 0x20 && in.p[i] != '\n' && in.p[i] != '\t' && !crlf) || in.p[i] == 0x7f)
            return ma_conf_fault(f, line, "control character 0x%02x", in.p[i]);
        line += in.p[i] == '\n';
    }
    return ma_utf8_valid(in) ? MA_OK : ma_conf_fault(f, 0, "not UTF-8 text");
}

int ma_conf_scan(struct ma_span in, char *out, struct conf_issuer_lines *issuers, struct conf_fault *f)
{
    struct scan s = {.p = (const char *)in.p, .n = in.n, .out = out, .line = 1, .issuers = issuers, .fault = f};
    int rc = check_bytes(in, f);
    while (rc == MA_OK && s.i < s.n)
        rc = scan_token(&s);
    if (rc == MA_OK && s.depth > 0)
        rc = ma_conf_fault(f, s.open_line, "the brace that opens here is never closed");
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 * E-mail: one text/plain message (RFC 5322, RFC 2045, RFC 2047) handed to the relay.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "int.h"

#include <stdio.h>
#include <time.h>

#define MAIL_MAX (256u * 1024u) /* bytes of a composed message */
#define LINE_MAX_BYTES 998      /* RFC 5322 §2.1.1, without CRLF */
#define SUBJECT_PLAIN_MAX 60    /* longer subjects are folded as encoded words */
#define WORD_BYTES 39         /* as base64 in its frame after "Subject: " fits a line of 76 characters (RFC 2047 §2) */
#define BASE64_LINE 76        /* RFC 2045 §6.8 */
#define ADDRESS_BYTES_MAX 254 /* RFC 5321 §4.5.3.1.3, without the angle brackets */
#define MAIL_TIMEOUT_MS 10000

/* Everything that would need quoting, end the address or start another one is refused. */
static bool address_byte_ok(uint8_t c)
{
    return c > 0x20 && c != 0x7F && !strchr("<>()[],;:\\\"", c);
}

bool ma_email_address_ok(struct ma_span address)
{
    if (address.n < 3 || address.n > ADDRESS_BYTES_MAX || !ma_utf8_valid(address) || ma_utf8_has_control(address))
        return false;
    for (size_t i = 0; i < address.n; i++)
        if (!address_byte_ok(address.p[i]))
            return false;
    const uint8_t *at = memchr(address.p, '@', address.n);
    if (!at || at == address.p || at == address.p + address.n - 1)
        return false;
    return memchr(at + 1, '@', (size_t)(address.p + address.n - at - 1)) == NULL;
}

static bool is_ascii(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

static void put_base64(struct ma_arena *a, struct ma_buf *out, struct ma_span in)
{
    char *text = ma_arena_alloc(a, MA_B64_LEN(in.n) + 1);
    if (!text) {
        out->err = MA_E_NOMEM;
        return;
    }
    ma_b64_encode(in, text);
    ma_buf_str(out, text);
}

/* At most WORD_BYTES of s, never cutting inside a character (RFC 2047 §5). */
static size_t word_length(struct ma_span s)
{
    size_t n = s.n < WORD_BYTES ? s.n : WORD_BYTES;
    while (n > 0 && n < s.n && (s.p[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static void put_encoded_words(struct ma_arena *a, struct ma_buf *out, struct ma_span s)
{
    while (s.n > 0) {
        size_t n = word_length(s);
        ma_buf_str(out, "=?utf-8?B?");
        put_base64(a, out, ma_span_of(s.p, n));
        s = ma_span_of(s.p + n, s.n - n);
        ma_buf_str(out, s.n > 0 ? "?=\r\n " : "?=");
    }
}

static void put_subject(struct ma_arena *a, struct ma_buf *out, struct ma_span subject)
{
    ma_buf_str(out, "Subject: ");
    bool plain = is_ascii(subject) && subject.n <= SUBJECT_PLAIN_MAX && !ma_utf8_has_control(subject) &&
                 !(subject.n && memmem(subject.p, subject.n, "=?", 2));
    if (plain)
        ma_buf_span(out, subject);
    else
        put_encoded_words(a, out, subject);
    ma_buf_str(out, "\r\n");
}

/* RFC 5322 §3.3, always in UTC; names are fixed, whatever the locale. */
static void put_date(struct ma_buf *out, int64_t ms)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&t, &tm)) {
        out->err = MA_E_INVAL;
        return;
    }
    ma_buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
                  months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void put_headers(struct ma_arena *a, struct ma_buf *out, const char *from, const char *id,
                        const struct ma_letter *l)
{
    const char *domain = strchr(from, '@');
    ma_buf_printf(out, "From: %s\r\nTo: ", from);
    ma_buf_span(out, l->to);
    ma_buf_str(out, "\r\n");
    put_subject(a, out, l->subject);
    put_date(out, l->created_at);
    /* the same message sent again after a crash has the same Message-ID, so receivers can tell */
    ma_buf_printf(out, "Message-ID: <%s%s>\r\n", id, domain ? domain : "@localhost");
    ma_buf_str(out, "MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"); /* RFC 3834 §5 */
    ma_buf_str(out, "Content-Type: text/plain; charset=utf-8\r\n");
}

/* LF becomes CRLF; the text ends with a line end. */
static void put_crlf(struct ma_buf *out, struct ma_span text)
{
    while (text.n > 0) {
        const uint8_t *lf = memchr(text.p, '\n', text.n);
        size_t n = lf ? (size_t)(lf - text.p) : text.n;
        ma_buf_put(out, text.p, n);
        ma_buf_str(out, "\r\n");
        n += lf ? 1 : 0;
        text = ma_span_of(text.p + n, text.n - n);
    }
}

static bool lines_fit(struct ma_span text)
{
    size_t length = 0;
    for (size_t i = 0; i < text.n; i++) {
        length = text.p[i] == '\n' ? 0 : length + 1;
        if (length > LINE_MAX_BYTES)
            return false;
    }
    return true;
}

static void put_body_base64(struct ma_arena *a, struct ma_buf *out, struct ma_span text)
{
    struct ma_buf lines;
    struct ma_buf encoded;
    ma_buf_init_arena(&lines, a, text.n + 256, MAIL_MAX);
    put_crlf(&lines, text);
    ma_buf_init_arena(&encoded, a, MA_B64_LEN(lines.n) + 1, MAIL_MAX);
    put_base64(a, &encoded, ma_buf_view(&lines));
    if (ma_buf_err(&lines) < 0 || ma_buf_err(&encoded) < 0) {
        out->err = MA_E_NOMEM;
        return;
    }
    ma_buf_str(out, "Content-Transfer-Encoding: base64\r\n\r\n");
    for (size_t at = 0; at < encoded.n; at += BASE64_LINE) {
        size_t n = encoded.n - at < BASE64_LINE ? encoded.n - at : BASE64_LINE;
        ma_buf_put(out, encoded.p + at, n);
        ma_buf_str(out, "\r\n");
    }
}

int ma_email_compose(struct ma_arena *a, const char *from, const char *id, const struct ma_letter *l,
                     struct ma_span *ret)
{
    struct ma_buf out;
    ma_buf_init_arena(&out, a, 1024 + 2 * l->text.n, MAIL_MAX);
    put_headers(a, &out, from, id, l);
    if (is_ascii(l->text) && lines_fit(l->text)) {
        ma_buf_str(&out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        put_crlf(&out, l->text);
    } else {
        put_body_base64(a, &out, l->text);
    }
    *ret = ma_buf_view(&out);
    return ma_buf_err(&out);
}

int ma_send_email(struct ma_send *s)
{
    const struct ma_transports *t = s->transports;
    if (!ma_email_address_ok(s->letter->to)) {
        snprintf(s->why, sizeof s->why, "the recipient is not an e-mail address");
        return MA_E_INVAL;
    }
    struct ma_span message;
    int r = ma_email_compose(s->a, t->email_from, s->id, s->letter, &message);
    char *to = ma_arena_strdup(s->a, s->letter->to);
    if (r < 0 || !to) {
        snprintf(s->why, sizeof s->why, "the message cannot be composed");
        return r < 0 ? r : MA_E_NOMEM;
    }
    struct ma_mail mail = {.url = t->by[MA_CHANNEL_EMAIL].url,
                           .password = t->email_password,
                           .from = t->email_from,
                           .to = to,
                           .message = message,
                           .timeout_ms = MAIL_TIMEOUT_MS,
                           .ca = t->ca,
                           .policy = t->policy};
    return ma_httpc_mail(s->http, &mail, s->why);
}

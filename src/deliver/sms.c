/* SPDX-License-Identifier: Apache-2.0
 * Text messages, calls and push through HTTPS gateways; the first two in the shape of Twilio's
 * Messages and Calls resources.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "int.h"

#include <stdio.h>

#define GATEWAY_TIMEOUT_MS 10000
#define GATEWAY_ANSWER_MAX 65536u /* bytes of an answer; nothing of it is used */
#define FORM_MAX (256u * 1024u)   /* bytes of an encoded form */

int ma_gateway_verdict(long status)
{
    if (status >= 200 && status < 300)
        return MA_OK;
    switch (status) {
    case 429: /* RFC 6585 §4 and RFC 9110 §15.6.4: it was not processed */
    case 503:
        return MA_E_BUSY;
    case 408:
    case 425:
        return MA_E_TIMEOUT;
    default:
        return status >= 500 ? MA_E_TIMEOUT : MA_E_INVAL;
    }
}

int64_t ma_gateway_wait_ms(const struct ma_http_answer *answer)
{
    if (answer->status != 429 && answer->status != 503)
        return 0;
    int64_t most_s = MA_GATEWAY_WAIT_MAX_MS / 1000;
    return (answer->retry_after_s < most_s ? answer->retry_after_s : most_s) * 1000;
}

static void put_field(struct ma_arena *a, struct ma_buf *out, const char *key, struct ma_span value)
{
    char *text = ma_pct_encode(a, value);
    if (!text) {
        out->err = MA_E_NOMEM;
        return;
    }
    ma_buf_printf(out, "%s%s=", out->n > 0 ? "&" : "", key);
    ma_buf_str(out, text);
}

/* Text as XML character data. */
static void put_xml(struct ma_buf *out, struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '<')
            ma_buf_str(out, "&lt;");
        else if (s.p[i] == '>')
            ma_buf_str(out, "&gt;");
        else if (s.p[i] == '&')
            ma_buf_str(out, "&amp;");
        else
            ma_buf_byte(out, s.p[i]);
    }
}

/* Posts to the channel's URL and judges the answer. bearer: "" or a header of its own. */
static int post(struct ma_send *s, const char *content_type, struct ma_span body, const char *bearer)
{
    const struct ma_transports *t = s->transports;
    const char *type = ma_arena_printf(s->a, "Content-Type: %s", content_type);
    /* a gateway that knows the header can tell a repetition after a crash */
    const char *key = ma_arena_printf(s->a, "Idempotency-Key: %s", s->id);
    if (!type || !key || !bearer)
        return MA_E_NOMEM;
    const char *const headers[] = {type, key, bearer[0] ? bearer : NULL, NULL};
    bool basic = s->letter->channel != MA_CHANNEL_PUSH && t->sms_account[0];
    struct ma_http_call call = {.method = "POST",
                                .url = t->by[s->letter->channel].url,
                                .headers = headers,
                                .body = body,
                                .basic_user = basic ? t->sms_account : NULL,
                                .basic_password = basic ? t->sms_password : NULL,
                                .ca = t->ca,
                                .timeout_ms = GATEWAY_TIMEOUT_MS,
                                .response_max = GATEWAY_ANSWER_MAX,
                                .policy = t->policy};
    struct ma_http_answer answer = {0};
    int r = ma_httpc_call(s->http, &call, s->a, &answer, s->why);
    if (r < 0)
        return r;
    s->wait_ms = ma_gateway_wait_ms(&answer);
    r = ma_gateway_verdict(answer.status);
    if (r < 0)
        snprintf(s->why, sizeof s->why, "the gateway answered %ld", answer.status);
    return r;
}

static int post_form(struct ma_send *s, const struct ma_buf *form)
{
    if (ma_buf_err(form) < 0) {
        snprintf(s->why, sizeof s->why, "the message cannot be encoded");
        return ma_buf_err(form) == MA_E_RANGE ? MA_E_INVAL : ma_buf_err(form);
    }
    return post(s, "application/x-www-form-urlencoded", ma_buf_view(form), "");
}

static void put_from(struct ma_send *s, struct ma_buf *form)
{
    const char *from = s->transports->sms_from;
    if (!from[0])
        return;
    bool service = s->letter->channel == MA_CHANNEL_SMS && strncmp(from, "MG", 2) == 0;
    put_field(s->a, form, service ? "MessagingServiceSid" : "From", ma_span_str(from));
}

int ma_send_sms(struct ma_send *s)
{
    struct ma_buf form;
    ma_buf_init_arena(&form, s->a, 1024, FORM_MAX);
    put_field(s->a, &form, "To", s->letter->to);
    put_from(s, &form);
    put_field(s->a, &form, "Body", s->letter->text);
    return post_form(s, &form);
}

int ma_send_voice(struct ma_send *s)
{
    struct ma_buf twiml;
    ma_buf_init_arena(&twiml, s->a, 1024, FORM_MAX);
    ma_buf_str(&twiml, "<Response><Say>");
    put_xml(&twiml, s->letter->text);
    ma_buf_str(&twiml, "</Say></Response>");
    struct ma_buf form;
    ma_buf_init_arena(&form, s->a, 1024, FORM_MAX);
    put_field(s->a, &form, "To", s->letter->to);
    put_from(s, &form);
    put_field(s->a, &form, "Twiml", ma_buf_view(&twiml));
    if (ma_buf_err(&twiml) < 0)
        form.err = ma_buf_err(&twiml);
    return post_form(s, &form);
}

int ma_send_push(struct ma_send *s)
{
    const char *token = s->transports->push_token;
    return post(s, "application/json", s->letter->json,
                token[0] ? ma_arena_printf(s->a, "Authorization: Bearer %s", token) : "");
}

/* SPDX-License-Identifier: Apache-2.0
 * Putting a message into the outbox, inside the transaction that makes it necessary.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/id.h"
#include "ma/trace.h"
#include "int.h"

/* The parts of the template set that each channel uses; MA_TEMPLATE__COUNT: none. */
static const struct {
    enum ma_template_part subject, text;
} parts[MA_CHANNEL__COUNT] = {
    [MA_CHANNEL_EMAIL] = {MA_TEMPLATE_EMAIL_SUBJECT, MA_TEMPLATE_EMAIL_TEXT},
    [MA_CHANNEL_SMS] = {MA_TEMPLATE__COUNT, MA_TEMPLATE_SMS_TEXT},
    [MA_CHANNEL_VOICE] = {MA_TEMPLATE__COUNT, MA_TEMPLATE_VOICE_TEXT},
    [MA_CHANNEL_PUSH] = {MA_TEMPLATE__COUNT, MA_TEMPLATE__COUNT},
};

static int render(const struct ma_templates *t, enum ma_template_part part, const struct ma_message *m,
                  struct ma_arena *a, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    return part == MA_TEMPLATE__COUNT ? MA_OK : ma_template_render(t, part, m, a, ret);
}

/* The courier works for the request that wrote the letter. */
static int remember_request(struct ma_arena *a, struct ma_letter *l)
{
    char text[MA_TRACEPARENT_LEN + 1];
    const struct ma_trace *t = ma_trace_current();
    if (!t || !t->request_id)
        return MA_OK;
    l->request_id = ma_arena_dup(a, ma_span_str(t->request_id));
    if (ma_traceparent_write(t, text))
        l->traceparent = ma_arena_dup(a, ma_span_str(text));
    return l->request_id.p && (l->traceparent.p || !text[0]) ? MA_OK : MA_E_NOMEM;
}

static int write_letter(const struct ma_templates *t, struct ma_arena *a, const struct ma_message *m, int64_t now_ms,
                        struct ma_letter *ret)
{
    *ret = (struct ma_letter){.channel = m->channel,
                              .to = m->to,
                              .user_id = m->user_id,
                              .code = m->code.n > 0 ? m->code : MA_SPAN_NULL,
                              .data = m->data.n > 0 ? m->data : MA_SPAN_NULL,
                              .created_at = now_ms};
    int r = remember_request(a, ret);
    if (r < 0)
        return r;
    r = render(t, parts[m->channel].subject, m, a, &ret->subject);
    return r < 0 ? r : render(t, parts[m->channel].text, m, a, &ret->text);
}

static bool message_ok(const struct ma_message *m)
{
    size_t max = m->channel == MA_CHANNEL_PUSH ? MA_DEVICE_MAX : MA_ADDRESS_MAX;
    return m->channel < MA_CHANNEL__COUNT && m->to.n > 0 && m->to.n <= max && ma_utf8_valid(m->to) &&
           !ma_utf8_has_control(m->to);
}

int ma_outbox_enqueue(struct ma_db *db, struct ma_vault *v, const struct ma_templates *t, const struct ma_rand *rand,
                      struct ma_arena *a, const struct ma_message *m, int64_t now_ms)
{
    if (!message_ok(m))
        return MA_E_INVAL;
    char id[33];
    int r = ma_id_request(rand, id);
    if (r < 0)
        return r;
    struct ma_letter letter;
    r = write_letter(t, a, m, now_ms, &letter);
    if (r < 0)
        return r;
    struct ma_outbox_row row = {.id = ma_span_str(id),
                                .channel = ma_span_str(ma_channel_name(m->channel)),
                                .user_id = m->user_id,
                                .created_at = now_ms,
                                .next_at = now_ms};
    r = ma_letter_seal(v, a, row.id, &letter, &row.payload);
    return r < 0 ? r : ma_outbox_insert(db, &row);
}

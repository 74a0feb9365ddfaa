/* SPDX-License-Identifier: Apache-2.0
 * Letters as sealed JSON: what an outbox row holds, and what the spool writes.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"
#include "push_int.h"

#include <stdio.h>

static const char *const channel_names[MA_CHANNEL__COUNT + 1] = {"email", "sms", "voice", "push", NULL};

const char *ma_channel_name(enum ma_channel c)
{
    return c < MA_CHANNEL__COUNT ? channel_names[c] : "unknown";
}

enum ma_channel ma_channel_parse(struct ma_span name)
{
    int c = 0;
    while (c < MA_CHANNEL__COUNT && !ma_span_eq_str(name, channel_names[c]))
        c++;
    return (enum ma_channel)c;
}

static void put_optional(struct ma_jw *w, const char *key, struct ma_span value)
{
    if (value.p)
        ma_jw_kstr(w, key, value);
}

/* The text for the spool, or with `inner` for the outbox. */
static void put_letter(struct ma_jw *w, const struct ma_letter *l, bool inner)
{
    ma_jw_obj(w);
    ma_jw_kcstr(w, "channel", ma_channel_name(l->channel));
    ma_jw_kstr(w, "to", l->to);
    put_optional(w, "subject", l->subject);
    put_optional(w, "text", l->text);
    put_optional(w, "code", l->code);
    if (l->data.p) {
        ma_jw_key(w, "data");
        ma_jw_raw(w, l->data);
    }
    ma_jw_kstr(w, "user_id", l->user_id);
    ma_jw_kdate(w, "created_at", l->created_at);
    if (inner) {
        put_optional(w, "request_id", l->request_id);
        put_optional(w, "traceparent", l->traceparent);
    }
    ma_jw_obj_end(w);
}

/* The payload is bound to its row and its user: it cannot be moved to another one. */
static struct ma_seal_id seal_id(struct ma_span row, struct ma_span user)
{
    return (struct ma_seal_id){.table = "outbox", .column = "payload", .row = row, .user = user};
}

int ma_letter_seal(struct ma_vault *v, struct ma_arena *a, struct ma_span id, const struct ma_letter *l,
                   struct ma_span *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 512 + l->text.n, MA_LETTER_MAX);
    struct ma_jw w;
    ma_jw_init(&w, &b);
    put_letter(&w, l, true);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    struct ma_seal_id sid = seal_id(id, l->user_id);
    return ma_vault_seal(v, a, &sid, ma_buf_view(&b), ret);
}

struct stored {
    int channel;
    struct ma_span to, subject, text, code, data, user_id, created_at, request_id, traceparent;
};
#define STR(member, req)                                                                                               \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = (req), .off = offsetof(struct stored, member),                     \
        .max = MA_JSON_STR_MAX                                                                                         \
    }
static const struct ma_jfield stored_fields[] = {
    {.name = "channel",
     .type = MA_F_ENUM,
     .flags = MA_REQ,
     .off = offsetof(struct stored, channel),
     .names = channel_names},
    STR(to, MA_REQ),
    STR(subject, 0),
    STR(text, 0),
    STR(code, 0),
    {.name = "data", .type = MA_F_RAWOBJ, .off = offsetof(struct stored, data)},
    STR(user_id, MA_REQ),
    STR(created_at, MA_REQ),
    STR(request_id, 0),
    STR(traceparent, 0),
};
static const struct ma_shape stored_shape = MA_SHAPE(struct stored, stored_fields);

static int parse(struct ma_arena *a, struct ma_span plain, struct stored *ret)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    int r = ma_json_parse(plain, &j);
    if (r < 0)
        return r;
    struct ma_verrs errs = {.arena = a};
    *ret = (struct stored){0};
    r = ma_json_decode(j, a, &stored_shape, ret, &errs);
    return r == MA_E_INVAL ? MA_E_PARSE : r;
}

/* What the spool writes: the letter without where it came from. */
static int put_outside(struct ma_arena *a, struct ma_letter *l)
{
    if (!l->request_id.p && !l->traceparent.p)
        return MA_OK;
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, l->json.n, MA_LETTER_MAX);
    ma_jw_init(&w, &b);
    put_letter(&w, l, false);
    l->json = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_letter_open(struct ma_vault *v, struct ma_arena *a, const struct ma_outbox_row *row, struct ma_letter *ret)
{
    struct ma_seal_id sid = seal_id(row->id, row->user_id);
    struct ma_span plain;
    int r = ma_vault_open_blob(v, a, &sid, row->payload, &plain);
    if (r < 0)
        return r;
    struct stored s;
    r = parse(a, plain, &s);
    if (r < 0)
        return r;
    int64_t created_at = 0;
    if (ma_iso_parse(s.created_at, &created_at) < 0)
        return MA_E_PARSE;
    *ret = (struct ma_letter){.channel = (enum ma_channel)s.channel,
                              .to = s.to,
                              .user_id = s.user_id,
                              .subject = s.subject,
                              .text = s.text,
                              .code = s.code,
                              .data = s.data,
                              .created_at = created_at,
                              .request_id = s.request_id,
                              .traceparent = s.traceparent,
                              .json = plain};
    return put_outside(a, ret);
}

/* Bytes of the first character, so that a cut never splits it. */
static size_t first_character(struct ma_span s)
{
    size_t n = s.n > 0 ? 1 : 0;
    while (n < s.n && n < 4 && (s.p[n] & 0xC0) == 0x80)
        n++;
    return n;
}

static void mask_email(struct ma_span to, const uint8_t *at, char out[MA_MASKED_MAX])
{
    struct ma_span domain = ma_span_of(at, (size_t)(to.p + to.n - at));
    int shown = (int)(domain.n > 80 ? 80 : domain.n);
    int head = at > to.p ? (int)first_character(to) : 0;
    snprintf(out, MA_MASKED_MAX, "%.*s***%.*s", head, (const char *)to.p, shown, (const char *)domain.p);
}

void ma_address_mask(struct ma_span to, char out[MA_MASKED_MAX])
{
    enum { HEAD = 2, TAIL = 4, SHORTEST = 8 };
    struct ma_span token;
    enum ma_push_service service = ma_push_service(to, &token);
    snprintf(out, MA_MASKED_MAX, service == MA_PUSH_GCM ? "GCM:***" : service == MA_PUSH_APNS ? "APNS:***" : "***");
    if (service != MA_PUSH_OTHER || to.n == 0 || !ma_utf8_valid(to))
        return;
    const uint8_t *at = memrchr(to.p, '@', to.n);
    if (at)
        mask_email(to, at, out);
    else if (to.n >= SHORTEST && to.p[0] == '+')
        snprintf(out, MA_MASKED_MAX, "%.*s***%.*s", HEAD, (const char *)to.p, TAIL, (const char *)to.p + to.n - TAIL);
}

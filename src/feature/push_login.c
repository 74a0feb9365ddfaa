/* SPDX-License-Identifier: Apache-2.0
 * Asking a device about a sign-in, and what came of it.
 */
#include "int.h"
#include "ma/account.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/jsonw.h"
#include "ma/user_agent.h"
#include "push_int.h"

enum { DATA_MAX = 4096, PART_MAX = 512 };

/* --- the number --- */

bool ma_push_matching_required(const struct ma_ctx *ctx)
{
    return strcmp(ctx->conf->policy.push_number_matching, "required") == 0;
}

bool ma_push_matches(const struct ma_ctx *ctx, const struct ma_push_device *d)
{
    return d->matching && strcmp(ctx->conf->policy.push_number_matching, "off") != 0;
}

/* --- the message --- */

/* Whether there is a way to the device's push service. */
static bool is_reached(const struct ma_ctx *ctx, const struct ma_push_device *d)
{
    const bool android = ma_span_eq_str(d->service, "GCM");
    return d->push_token.p && (ctx->conf->delivery.push[0] ||
                               (android ? ctx->conf->delivery.fcm_credentials : ctx->conf->delivery.apns_key)[0]);
}

struct question {
    const struct ma_push_device *device;
    const char *token, *challenge, *link;
    bool number;
};

/* "Chrome 131.0.0" as name and version. */
static void put_named(struct ma_jw *w, const char *key, struct ma_span text)
{
    const uint8_t *blank = text.n ? memrchr(text.p, ' ', text.n) : NULL;
    bool versioned = blank && blank + 1 < text.p + text.n && blank[1] >= '0' && blank[1] <= '9';
    ma_jw_key(w, key);
    ma_jw_obj(w);
    if (text.n > 0)
        ma_jw_kstr(w, "n", ma_span_of(text.p, versioned ? (size_t)(blank - text.p) : text.n));
    if (versioned)
        ma_jw_kstr(w, "v", ma_span_of(blank + 1, (size_t)(text.p + text.n - blank - 1)));
    ma_jw_obj_end(w);
}

/* What asked, as far as it is recognised: its own words could be anybody's. A JSON text that travels as a string. */
static int source(struct ma_ctx *ctx, struct ma_span *ret)
{
    static const char between[] = " / ";
    struct ma_span label = ma_user_agent_known(ctx->arena, ctx->req.user_agent);
    const uint8_t *cut = label.n ? memmem(label.p, label.n, between, sizeof between - 1) : NULL;
    size_t n = cut ? (size_t)(cut - label.p) : label.n;
    struct ma_span os = cut ? ma_span_of(cut + sizeof between - 1, label.n - n - (sizeof between - 1)) : MA_LIT("");
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 128, PART_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put_named(&w, "b", ma_span_of(label.p, n));
    put_named(&w, "os", os);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* Where from: the address, for want of a map. */
static int place(struct ma_ctx *ctx, struct ma_span *ret)
{
    char text[MA_ADDR_TEXT];
    struct ma_buf b;
    struct ma_jw w;
    ma_addr_format(&ctx->req.client, text);
    ma_buf_init_arena(&b, ctx->arena, 128, PART_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "n", text);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* The host, as the SDKs take it; where it needs a port, or is not https, the whole origin. */
static struct ma_span server_of(struct ma_span origin)
{
    static const char scheme[] = "https://";
    const size_t n = sizeof scheme - 1;
    bool plain = origin.n > n && memcmp(origin.p, scheme, n) == 0 && !memchr(origin.p + n, ':', origin.n - n);
    return plain ? ma_span_of(origin.p + n, origin.n - n) : origin;
}

static int message(struct ma_ctx *ctx, const struct question *q, struct ma_span *ret)
{
    struct ma_span from, where;
    struct ma_buf b;
    struct ma_jw w;
    int r = source(ctx, &from);
    if (r == MA_OK)
        r = place(ctx, &where);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 1024, DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "dai", q->device->device_id);
    ma_jw_kcstr(&w, "txtkn", q->token);
    ma_jw_kcstr(&w, "txlnkid", q->link);
    ma_jw_kcstr(&w, "c", q->challenge);
    ma_jw_kstr(&w, "sh", server_of(q->device->origin));
    ma_jw_kdate(&w, "d", ctx->now_ms);
    ma_jw_kstr(&w, "s", from);
    ma_jw_kstr(&w, "l", where);
    if (q->number)
        ma_jw_kcstr(&w, "num", "2");
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}
_Static_assert(MA_PUSH_NUMBER_DIGITS == 2, "what the message says");

static int send_question(struct ma_ctx *ctx, const struct question *q)
{
    struct ma_span token, data;
    int r = ma_push_open_token(ctx, q->device, &token);
    if (r == MA_OK)
        r = message(ctx, q, &data);
    const char *to = r == MA_OK ? ma_arena_printf(ctx->arena, "%s:%.*s", (const char *)q->device->service.p,
                                                  (int)token.n, (const char *)token.p)
                                : NULL;
    if (!to)
        return r < 0 ? r : MA_E_NOMEM;
    struct ma_message m = {.channel = MA_CHANNEL_PUSH,
                           .user_id = q->device->user_id,
                           .to = ma_span_str(to),
                           .template_name = "login-code",
                           .tenant = ctx->state->tenant.friendly_name,
                           .data = data};
    ctx->wake_courier = true;
    return ma_outbox_enqueue(ctx->db, ctx->app->vault, ctx->app->templates, ctx->app->rand, ctx->arena, &m,
                             ctx->now_ms);
}

/* --- asking --- */

/* Questions an hour that may follow one that waits for its answer: who does not answer does not want to be asked. */
static struct ma_counter_rule rule_ignored(void)
{
    enum { PER_HOUR = 10, HOUR_MS = 3600000 };
    return (struct ma_counter_rule){"push_ignored", PER_HOUR, HOUR_MS};
}

/* Seconds to wait (0: none): for what the user rejected or let pass, and for what was sent. */
static int hold_up(struct ma_ctx *ctx, struct ma_span method_id, int64_t *ret_retry_s)
{
    const struct ma_counter_rule rules[] = {ma_rule_push_rejected(ctx), rule_ignored()};
    struct ma_counter_state s;
    for (size_t i = 0; i < MA_COUNT(rules); i++) {
        int r = ma_counter_get(ctx->db, ctx->who.user_id, &rules[i], ctx->now_ms, &s);
        if (r < 0)
            return r;
        if (s.allowed)
            continue;
        ma_counter_refused(ctx, &rules[i]);
        *ret_retry_s = (s.retry_after_ms + 999) / 1000;
        return MA_OK;
    }
    return ma_message_take(ctx, MA_FACTOR_PUSH, method_id, ret_retry_s);
}

/* One question at a time: a newer one takes the place of what waits for an answer. */
static int supersede(struct ma_ctx *ctx)
{
    const struct ma_counter_rule rule = rule_ignored();
    struct ma_counter_state s;
    int64_t n = 0;
    int r = ma_push_supersede(ctx->db, ctx->who.user_id, ctx->now_ms, &n);
    return r == MA_OK && n > 0 ? ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s) : r;
}

static int new_token(struct ma_ctx *ctx, const char **ret)
{
    char *text = ma_arena_alloc(ctx->arena, MA_TOKEN_LEN + 1);
    *ret = text;
    return text ? ma_id_token(ctx->app->rand, text) : MA_E_NOMEM;
}

static int new_number(struct ma_ctx *ctx, struct ma_span token_mac, uint8_t mac[32], const char **ret)
{
    char *text = ma_arena_alloc(ctx->arena, MA_PUSH_NUMBER_DIGITS + 1);
    int r = text ? ma_rand_chars(ctx->app->rand, MA_DIGITS, text, MA_PUSH_NUMBER_DIGITS) : MA_E_NOMEM;
    *ret = text;
    return r == MA_OK ? ma_push_number_mac(ctx, token_mac, ma_span_of(text, MA_PUSH_NUMBER_DIGITS), mac) : r;
}

static int ask(struct ma_ctx *ctx, struct ma_challenge *row, const struct ma_push_device *d,
               struct ma_challenge_started *ret)
{
    uint8_t token_mac[32], answer_mac[32], number_mac[32];
    char link[MA_UUID_LEN + 1];
    struct question q = {.device = d, .link = link, .number = ma_push_matches(ctx, d)};
    struct ma_push_transaction t = {.token_mac = ma_span_of(token_mac, 32),
                                    .challenge_id = row->id_mac,
                                    .user_id = row->user_id,
                                    .method_id = row->method_id,
                                    .answer_mac = ma_span_of(answer_mac, 32),
                                    .number_mac = q.number ? ma_span_of(number_mac, 32) : MA_SPAN_NULL,
                                    .created_at = row->created_at,
                                    .expires_at = row->expires_at};
    int r = new_token(ctx, &q.token);
    if (r == MA_OK)
        r = new_token(ctx, &q.challenge);
    if (r == MA_OK)
        r = ma_id_uuid(ctx->app->rand, link);
    if (r == MA_OK)
        r = ma_push_transaction_mac(ctx, ma_span_str(q.token), token_mac);
    if (r == MA_OK)
        r = ma_push_answer_mac(ctx, t.token_mac, ma_span_str(q.challenge), answer_mac);
    if (r == MA_OK && q.number)
        r = new_number(ctx, t.token_mac, number_mac, &ret->number);
    if (r == MA_OK)
        r = supersede(ctx);
    if (r == MA_OK)
        r = ma_challenge_insert(ctx->db, row);
    if (r == MA_OK)
        r = ma_push_transaction_insert(ctx->db, &t);
    return r == MA_OK ? send_question(ctx, &q) : r;
}

int ma_push_ask(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_method_view *m,
                struct ma_challenge_started *ret)
{
    struct ma_push_device d;
    struct ma_challenge row;
    int r = ma_push_device_get(ctx->db, ctx->arena, ctx->who.user_id, m->id, &d);
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    if (r == MA_E_NOTFOUND || !is_reached(ctx, &d) || (ma_push_matching_required(ctx) && !d.matching)) {
        ret->verdict = MA_SIGNIN_NO_FACTOR;
        return MA_OK;
    }
    r = hold_up(ctx, m->id, &ret->retry_after_s);
    if (r < 0)
        return r;
    if (ret->retry_after_s > 0) {
        ret->verdict = MA_SIGNIN_TOO_MANY;
        return MA_OK;
    }
    r = ma_challenge_name(ctx, flow_mac, m, ret, &row);
    if (r == MA_OK)
        r = ask(ctx, &row, &d, ret);
    if (r < 0)
        return r;
    ma_count_later(ctx, MA_M_PUSH, MA_M_PUSH_SENT, 0);
    return ma_audit_factor(ctx, "gd_send_pn", m->type, m->id);
}

/* --- what came of it --- */

static int approved(struct ma_ctx *ctx, const struct ma_challenge *c, struct ma_factor_proof *ret)
{
    struct ma_place from = ma_place_of(ctx);
    int r = ma_challenge_consume(ctx->db, c->user_id, c->id_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT) {
        ret->verdict = MA_SIGNIN_EXPIRED;
        return MA_OK;
    }
    if (r == MA_OK)
        r = ma_method_used(ctx->db, c->user_id, c->method_id, ctx->now_ms, &from);
    if (r < 0)
        return r;
    ret->verdict = MA_SIGNIN_OK;
    ret->amr = ma_amr_of_factors(1u << MA_FACTOR_PUSH) | MA_AMR_MFA;
    ret->method_id = c->method_id;
    ctx->user_changed = true; /* lists show when a method was used */
    return ma_audit_factor(ctx, "gd_auth_succeed", MA_FACTOR_PUSH, c->method_id);
}

static int judge(struct ma_ctx *ctx, const struct ma_challenge *c, enum ma_push_state state,
                 struct ma_factor_proof *ret)
{
    int r = MA_OK;
    switch (state) {
    case MA_PUSH_OPEN:
        ret->verdict = MA_SIGNIN_PENDING;
        return MA_OK;
    case MA_PUSH_APPROVED:
        return approved(ctx, c, ret);
    case MA_PUSH_REJECTED:
        r = ma_challenge_consume(ctx->db, c->user_id, c->id_mac, ctx->now_ms);
        ret->verdict = r == MA_OK ? MA_SIGNIN_REJECTED : MA_SIGNIN_EXPIRED;
        return r == MA_E_CONFLICT ? MA_OK : r;
    case MA_PUSH_SUPERSEDED:
    case MA_PUSH_EXPIRED:
        break;
    }
    ret->verdict = MA_SIGNIN_EXPIRED;
    return MA_OK;
}

/* The challenge of this name while it is open, and what its device has said. MA_E_EXPIRED; MA_E_INVAL when
 * it is no device's. */
static int find(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user, struct ma_span oob_code,
                struct ma_challenge *c, enum ma_push_state *ret)
{
    struct ma_push_transaction t;
    *c = (struct ma_challenge){.type = MA_FACTOR__COUNT};
    int r = ma_challenge_find(ctx, user, flow_mac, oob_code, c);
    if ((r == MA_OK || r == MA_E_EXPIRED) && c->type != MA_FACTOR_PUSH && c->type != MA_FACTOR__COUNT)
        return MA_E_INVAL;
    if (r == MA_OK)
        r = ma_push_transaction_get(ctx->db, ctx->arena, user->user_id, c->id_mac, &t);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_E_EXPIRED : r;
    *ret = t.state;
    return MA_OK;
}

int ma_prove_push(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user, struct ma_span oob_code,
                  struct ma_factor_proof *ret)
{
    struct ma_challenge c;
    struct ma_method_view m;
    enum ma_push_state state = MA_PUSH_OPEN;
    *ret = (struct ma_factor_proof){.verdict = MA_SIGNIN_EXPIRED};
    int r = find(ctx, flow_mac, user, oob_code, &c, &state);
    if (r < 0)
        return r == MA_E_EXPIRED ? MA_OK : r;
    r = ma_second_factor(ctx, user, c.method_id, &m);
    if (r == MA_E_NOTFOUND) { /* deleted or switched off since */
        ret->verdict = MA_SIGNIN_NO_FACTOR;
        return MA_OK;
    }
    return r == MA_OK ? judge(ctx, &c, state, ret) : r;
}

int ma_push_waits(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user, struct ma_span oob_code,
                  bool *ret)
{
    struct ma_challenge c;
    enum ma_push_state state = MA_PUSH_OPEN;
    int r = find(ctx, flow_mac, user, oob_code, &c, &state);
    *ret = r == MA_OK && state == MA_PUSH_OPEN;
    return r == MA_E_EXPIRED || r == MA_E_INVAL ? MA_OK : r;
}

/* SPDX-License-Identifier: Apache-2.0
 * What a device does with itself and what it answers: everything it says is signed by its key, or carries the token it
 * was given when it enrolled.
 */
#include "ma/push.h"

#include "int.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/jose.h"
#include "ma/jsonr.h"
#include "push_int.h"

enum { CLAIM_MAX = 1024, MATCHED_MAX = 16 };

/* --- what a device signs --- */

struct claims {
    struct ma_span iss, sub, method, reason, number;
    struct ma_span_list aud;
    int64_t iat, exp;
    bool accepted, has_accepted;
};
#define STR(wire, member, f, limit)                                                                                    \
    {                                                                                                                  \
        .name = wire, .type = MA_F_STR, .flags = (f), .off = offsetof(struct claims, member), .max = (limit)           \
    }
#define INT(wire)                                                                                                      \
    {                                                                                                                  \
        .name = #wire, .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct claims, wire), .min = 0,              \
        .max = INT64_C(253402300799)                                                                                   \
    }
static const struct ma_jfield claim_fields[] = {
    STR("iss", iss, MA_REQ, CLAIM_MAX),
    STR("sub", sub, MA_REQ, CLAIM_MAX),
    STR("auth0_guardian_method", method, MA_NULLOK, CLAIM_MAX),
    STR("auth0_guardian_reason", reason, MA_NULLOK, MA_PUSH_REASON_MAX),
    STR("auth0_guardian_number", number, MA_NULLOK, MATCHED_MAX),
    {.name = "auth0_guardian_accepted",
     .type = MA_F_BOOL,
     .off = offsetof(struct claims, accepted),
     .has_off = offsetof(struct claims, has_accepted)},
    {.name = "aud", .type = MA_F_STR_OR_LIST, .flags = MA_REQ, .off = offsetof(struct claims, aud), .max_items = 4},
    INT(iat),
    INT(exp),
};
#undef STR
#undef INT
static const struct ma_shape claims_shape = MA_SHAPE_OPEN(struct claims, claim_fields);

/* RS256 by the device's key, whatever the header says. MA_E_AUTH. */
static int read_signed(struct ma_ctx *ctx, struct ma_span public_key, struct ma_span jwt, struct claims *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct ma_span payload;
    const char *keys = ma_arena_printf(ctx->arena, "{\"keys\":[%.*s]}", (int)public_key.n, (const char *)public_key.p);
    *ret = (struct claims){.iss = MA_SPAN_NULL};
    if (!keys)
        return MA_E_NOMEM;
    int r = ma_jwt_verify_with(ctx->arena, jwt, ma_span_str(keys), ctx->now_ms, &payload);
    if (r == MA_OK)
        r = ma_json_parse(payload, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &claims_shape, ret, &errs);
    return r == MA_E_PARSE || r == MA_E_INVAL ? MA_E_AUTH : r;
}

/* Of this device, for this URL, and of now. */
static bool holds(const struct ma_ctx *ctx, const struct claims *c, const struct ma_push_device *d, const char *url,
                  int64_t longest_s)
{
    const int64_t now_s = ctx->now_ms / 1000;
    return url && ma_span_eq(c->iss, d->identifier) && c->aud.n == 1 && ma_span_eq_str(c->aud.v[0], url) &&
           c->exp > now_s - MA_CLOCK_LEEWAY_S && c->iat <= now_s + MA_CLOCK_LEEWAY_S && c->exp > c->iat &&
           c->exp - c->iat <= longest_s;
}

static const char *endpoint(struct ma_ctx *ctx, const char *path)
{
    return ma_arena_printf(ctx->arena, "%s" MA_PUSH_PATH "/api/%s", ma_ctx_origin(ctx), path);
}

/* --- managing itself --- */

/* MA_OK, or MA_E_AUTH. A token has no dots, what is signed has two. */
static int authenticate(struct ma_ctx *ctx, const struct ma_push_device *d, struct ma_span bearer)
{
    uint8_t mac[32];
    struct claims c;
    if (bearer.n == 0)
        return MA_E_AUTH;
    if (!memchr(bearer.p, '.', bearer.n)) {
        int r = ma_push_token_mac(ctx, d->device_id, bearer, mac);
        return r < 0 ? r : ma_ct_eq(ma_span_of(mac, sizeof mac), d->token_mac) ? MA_OK : MA_E_AUTH;
    }
    int r = read_signed(ctx, d->public_key, bearer, &c);
    if (r < 0)
        return r;
    bool good =
        holds(ctx, &c, d, endpoint(ctx, "device-accounts"), MA_PUSH_DEVICE_TTL_S) && ma_span_eq(c.sub, d->user_id);
    return good ? MA_OK : MA_E_AUTH;
}

int ma_push_device_open(struct ma_ctx *ctx, struct ma_span device_id, struct ma_span bearer, struct ma_push_device *ret,
                        enum ma_push_verdict *ret_verdict)
{
    bool open = false;
    *ret_verdict = MA_PUSH_NO_DEVICE;
    int r = ma_push_device_by_id(ctx->db, ctx->arena, device_id, ret);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    if (ret->enrolled_at == 0)
        return MA_OK;
    struct ma_method m;
    r = ma_method_get(ctx->db, ctx->arena, ret->user_id, ret->id, ctx->now_ms, &m);
    if (r < 0) /* it lapsed before anybody confirmed it */
        return r == MA_E_NOTFOUND ? MA_OK : r;
    r = authenticate(ctx, ret, bearer);
    *ret_verdict = MA_PUSH_BAD_TOKEN;
    if (r < 0)
        return r == MA_E_AUTH ? MA_OK : r;
    r = ma_push_become(ctx, ret->user_id, ret->client_id, &open);
    *ret_verdict = open ? MA_PUSH_OK : MA_PUSH_CLOSED;
    return r;
}

int ma_push_open_token(struct ma_ctx *ctx, const struct ma_push_device *d, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    if (!d->push_token.p)
        return MA_OK;
    struct ma_seal_id sid = ma_push_seal_id(d->user_id, d->id, "push_token");
    int r = ma_vault_open_blob(ctx->app->vault, ctx->arena, &sid, d->push_token, ret);
    return r == MA_E_AUTH ? MA_E_CRYPTO : r;
}

int ma_push_device_change(struct ma_ctx *ctx, struct ma_push_device *d, const struct ma_push_request *in,
                          struct ma_span *ret_token, struct ma_span *ret_name)
{
    struct ma_method m;
    int r = MA_OK;
    if (in->identifier.p)
        d->identifier = in->identifier;
    if (in->has_matching)
        d->matching = in->matching;
    if (in->service.p) {
        d->service = in->service;
        r = ma_push_seal_token(ctx, d, in->push_token);
    }
    if (in->name.p)
        d->name = in->name;
    d->updated_at = ctx->now_ms;
    if (r == MA_OK)
        r = ma_push_device_update(ctx->db, d);
    if (r == MA_OK)
        r = ma_method_get(ctx->db, ctx->arena, d->user_id, d->id, ctx->now_ms, &m);
    if (r == MA_OK && in->name.p && m.confirmed)
        r = ma_method_update(ctx->db, d->user_id, d->id, in->name, -1);
    if (r == MA_OK)
        r = ma_push_open_token(ctx, d, ret_token);
    if (r < 0)
        return r;
    *ret_name = m.confirmed && !in->name.p ? m.name : d->name;
    ctx->user_changed = in->name.p != NULL;
    return ma_audit_factor(ctx, "gd_update_device_account", MA_FACTOR_PUSH, d->id);
}

int ma_push_device_remove(struct ma_ctx *ctx, const struct ma_push_device *d)
{
    int r = ma_methods_delete(ctx, d->id);
    return r == MA_OK ? ma_audit_factor(ctx, "gd_unenroll", MA_FACTOR_PUSH, d->id) : r;
}

/* --- answering --- */

int ma_push_transaction_mac(struct ma_ctx *ctx, struct ma_span token, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "push-transaction", MA_LIT(""), token, out);
}

int ma_push_answer_mac(struct ma_ctx *ctx, struct ma_span token_mac, struct ma_span challenge, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "push-challenge", token_mac, challenge, out);
}

int ma_push_number_mac(struct ma_ctx *ctx, struct ma_span token_mac, struct ma_span number, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "push-number", token_mac, number, out);
}

/* The transaction while it waits for an answer, and the device that may give it. MA_E_NOTFOUND. */
static int find_open(struct ma_ctx *ctx, struct ma_span token_mac, struct ma_push_transaction *t,
                     struct ma_push_device *d)
{
    int r = ma_push_transaction_by_token(ctx->db, ctx->arena, token_mac, t);
    if (r == MA_OK && (t->state != MA_PUSH_OPEN || t->expires_at <= ctx->now_ms))
        return MA_E_NOTFOUND;
    if (r == MA_OK)
        r = ma_push_device_get(ctx->db, ctx->arena, t->user_id, t->method_id, d);
    return r == MA_OK && d->enrolled_at == 0 ? MA_E_NOTFOUND : r;
}

int ma_push_answer_check(struct ma_ctx *ctx, struct ma_span token, struct ma_span jwt, struct ma_push_answer *ret)
{
    uint8_t mac[32], answer[32];
    struct ma_push_device d;
    struct claims c;
    *ret = (struct ma_push_answer){.verdict = MA_PUSH_NO_TRANSACTION};
    if (!ma_id_token_fits(token))
        return MA_OK;
    int r = ma_push_transaction_mac(ctx, token, mac);
    if (r == MA_OK)
        r = find_open(ctx, ma_span_of(mac, sizeof mac), &ret->transaction, &d);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    ret->verdict = MA_PUSH_BAD_TOKEN;
    r = read_signed(ctx, d.public_key, jwt, &c);
    if (r == MA_OK)
        r = ma_push_answer_mac(ctx, ret->transaction.token_mac, c.sub, answer);
    if (r < 0)
        return r == MA_E_AUTH ? MA_OK : r;
    bool good = holds(ctx, &c, &d, endpoint(ctx, "resolve-transaction"), MA_PUSH_ANSWER_TTL_S) &&
                ma_ct_eq(ma_span_of(answer, sizeof answer), ret->transaction.answer_mac) &&
                ma_span_eq_str(c.method, "push") && c.has_accepted && !(c.reason.p && ma_utf8_has_control(c.reason));
    if (!good)
        return MA_OK;
    ret->verdict = MA_PUSH_OK;
    ret->public_key = d.public_key;
    ret->accepted = c.accepted;
    ret->reason = c.reason.n > 0 ? c.reason : MA_SPAN_NULL;
    ret->number = c.number;
    return MA_OK;
}

static int right_number(struct ma_ctx *ctx, const struct ma_push_answer *a, bool *ret)
{
    uint8_t mac[32];
    *ret = !a->transaction.number_mac.p;
    if (*ret || !a->number.p)
        return MA_OK;
    int r = ma_push_number_mac(ctx, a->transaction.token_mac, a->number, mac);
    *ret = r == MA_OK && ma_ct_eq(ma_span_of(mac, sizeof mac), a->transaction.number_mac);
    return r;
}

struct ma_counter_rule ma_rule_push_rejected(const struct ma_ctx *ctx)
{
    enum { HOUR_MS = 3600000 };
    return (struct ma_counter_rule){"push_rejected", ctx->conf->rate_limit.push_rejections_per_hour, HOUR_MS};
}

/* Somebody has the password and asks: from now on fewer messages. */
static int rejected(struct ma_ctx *ctx, const struct ma_push_transaction *t)
{
    struct ma_counter_rule rule = ma_rule_push_rejected(ctx);
    struct ma_counter_state s;
    int r = ma_counter_take(ctx->db, t->user_id, &rule, ctx->now_ms, &s);
    if (r == MA_OK)
        r = ma_audit_rejected(ctx, MA_FACTOR_PUSH, t->method_id, t->reason);
    if (r < 0)
        return r;
    ma_count_later(ctx, MA_M_PUSH, MA_M_PUSH_REJECTED, 0);
    return MA_OK;
}

int ma_push_answer_settle(struct ma_ctx *ctx, struct ma_push_answer *a)
{
    struct ma_push_transaction *t = &a->transaction;
    struct ma_push_device d;
    bool open = false, right = false;
    a->verdict = MA_PUSH_NO_TRANSACTION;
    int r = find_open(ctx, t->token_mac, t, &d);
    if (r == MA_E_NOTFOUND || (r == MA_OK && !ma_span_eq(d.public_key, a->public_key)))
        return MA_OK;
    if (r == MA_OK)
        r = ma_push_become(ctx, t->user_id, d.client_id, &open);
    if (r < 0 || !open) {
        a->verdict = MA_PUSH_CLOSED;
        return r;
    }
    r = right_number(ctx, a, &right);
    if (r < 0)
        return r;
    const bool accepted = a->accepted && right;
    t->state = accepted ? MA_PUSH_APPROVED : MA_PUSH_REJECTED;
    t->reason = accepted ? MA_SPAN_NULL : a->accepted ? MA_LIT("wrong number") : a->reason;
    r = ma_push_transaction_answer(ctx->db, t, ctx->now_ms);
    if (r < 0)
        return r == MA_E_CONFLICT ? MA_OK : r;
    a->verdict = a->accepted && !right ? MA_PUSH_WRONG_NUMBER : MA_PUSH_OK;
    if (!accepted)
        return rejected(ctx, t);
    ma_count_later(ctx, MA_M_PUSH, MA_M_PUSH_APPROVED, 0);
    return MA_OK;
}

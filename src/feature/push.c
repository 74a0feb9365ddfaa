/* SPDX-License-Identifier: Apache-2.0
 * Enrolling a device: the ticket in the QR code, the device that brings it, and what both become.
 */
#include "ma/push.h"

#include "int.h"
#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/notify.h"
#include "ma/totp.h"
#include "push_int.h"

/* --- the pieces --- */

struct ma_seal_id ma_push_seal_id(struct ma_span user_id, struct ma_span method_id, const char *column)
{
    return (struct ma_seal_id){"push_devices", column, method_id, user_id};
}

static struct ma_seal_id totp_seal_id(const struct ma_ctx *ctx, struct ma_span method_id)
{
    return (struct ma_seal_id){"methods", "secret", method_id, ctx->who.user_id};
}

/* "dev_…" of "push-notification|dev_…": one name, with or without its type. */
static struct ma_span bare(struct ma_span method_id)
{
    const uint8_t *bar = method_id.n ? memchr(method_id.p, '|', method_id.n) : NULL;
    return bar ? ma_span_of(bar + 1, (size_t)(method_id.p + method_id.n - bar - 1)) : method_id;
}

static int ticket_mac(struct ma_ctx *ctx, struct ma_span ticket, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "push-ticket", MA_LIT(""), ticket, out);
}

int ma_push_token_mac(struct ma_ctx *ctx, struct ma_span device_id, struct ma_span token, uint8_t out[32])
{
    return ma_vault_mac(ctx->app->vault, "push-device", device_id, token, out);
}

static int new_id(struct ma_ctx *ctx, enum ma_factor type, struct ma_span *ret)
{
    char id[MA_METHOD_ID_MAX];
    int r = ma_id_method(ctx->app->rand, ma_factor_name(type), id);
    if (r < 0)
        return r;
    *ret = ma_arena_dup(ctx->arena, ma_span_str(id));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

static bool pairs(const struct ma_ctx *ctx)
{
    return (ma_factors_enabled(ctx) & 1u << MA_FACTOR_TOTP) != 0;
}

/* For the device, and for the authenticator that comes with it. */
static int require_room(struct ma_ctx *ctx, bool paired)
{
    int r = ma_require_room_for(ctx, MA_FACTOR_PUSH, paired ? 2 : 1);
    return r == MA_OK && paired ? ma_require_room_for(ctx, MA_FACTOR_TOTP, 2) : r;
}

/* --- the user's side --- */

const char *ma_push_base(struct ma_ctx *ctx, struct ma_span origin)
{
    return ma_arena_printf(ctx->arena, "%.*s" MA_PUSH_PATH, (int)origin.n, (const char *)origin.p);
}

/* Apps that know nothing of tickets find an authenticator's secret; the vendor's find the rest. */
static const char *barcode(struct ma_ctx *ctx, const struct ma_push_device *d, const char *ticket, const char *secret)
{
    const char *issuer = ma_pct_encode(ctx->arena, ctx->state->tenant.friendly_name);
    const char *user = ma_pct_encode(ctx->arena, d->user_id);
    const char *base = ma_push_base(ctx, d->origin);
    const char *url = base ? ma_pct_encode(ctx->arena, ma_span_str(base)) : NULL;
    if (!issuer || !user || !url)
        return NULL;
    return ma_arena_printf(ctx->arena,
                           "otpauth://totp/%s:%s?%s%s%sissuer=%s&enrollment_tx_id=%s&id=%.*s&algorithm=SHA1&digits=%d"
                           "&period=%d&base_url=%s",
                           issuer, user, secret ? "secret=" : "", secret ? secret : "", secret ? "&" : "", issuer,
                           ticket, (int)d->device_id.n, (const char *)d->device_id.p, MA_TOTP_DIGITS, MA_TOTP_STEP_S,
                           url);
}

static int make_seed(struct ma_ctx *ctx, struct ma_push_device *d, const char **ret_text)
{
    uint8_t seed[MA_TOTP_SEED_LEN];
    int r = ctx->app->rand->fill(ctx->app->rand, seed, sizeof seed);
    if (r < 0)
        return r;
    struct ma_seal_id sid = ma_push_seal_id(d->user_id, d->id, "seed");
    r = ma_vault_seal(ctx->app->vault, ctx->arena, &sid, ma_span_of(seed, sizeof seed), &d->seed);
    *ret_text = ma_base32_encode(ctx->arena, ma_span_of(seed, sizeof seed));
    ma_wipe(seed, sizeof seed);
    return r == MA_OK && !*ret_text ? MA_E_NOMEM : r;
}

/* The row of a device that is still to come. */
static int expect(struct ma_ctx *ctx, struct ma_push_device *d, char ticket[MA_PUSH_TICKET_LEN + 1],
                  const char **ret_secret)
{
    uint8_t mac[32];
    int r = ma_rand_chars(ctx->app->rand, MA_ALNUM62, ticket, MA_PUSH_TICKET_LEN);
    if (r == MA_OK)
        r = ticket_mac(ctx, ma_span_of(ticket, MA_PUSH_TICKET_LEN), mac);
    if (r == MA_OK && pairs(ctx))
        r = make_seed(ctx, d, ret_secret);
    d->ticket_mac = ma_span_of(mac, sizeof mac);
    return r == MA_OK ? ma_push_device_insert(ctx->db, d) : r;
}

int ma_enrol_push(struct ma_ctx *ctx, bool held, struct ma_enrolled *ret)
{
    char ticket[MA_PUSH_TICKET_LEN + 1];
    struct ma_method m = {.type = MA_FACTOR_PUSH};
    int r = ma_require_factor(ctx, m.type);
    if (r == MA_OK)
        r = require_room(ctx, pairs(ctx));
    if (r == MA_OK)
        r = new_id(ctx, m.type, &m.id);
    if (r == MA_OK)
        r = ma_pending_insert(ctx, &m);
    if (r < 0)
        return r;
    struct ma_push_device d = {
        .user_id = ctx->who.user_id,
        .id = m.id,
        .device_id = bare(m.id),
        .client_id = ctx->who.client_id,
        .origin = ma_span_str(ma_ctx_origin(ctx)),
        .held = held,
        .created_at = ctx->now_ms,
        .updated_at = ctx->now_ms,
    };
    r = expect(ctx, &d, ticket, &ret->manual_code);
    if (r < 0)
        return r;
    ret->id = m.id;
    ret->type = m.type;
    ret->barcode_uri = barcode(ctx, &d, ticket, ret->manual_code);
    ma_wipe(ticket, sizeof ticket);
    return ret->barcode_uri ? ma_session_open(ctx, m.type, m.id, MA_SPAN_NULL, &ret->auth_session) : MA_E_NOMEM;
}

int ma_push_expected(struct ma_ctx *ctx, struct ma_span id, bool *ret)
{
    struct ma_method m;
    struct ma_push_device d;
    *ret = false;
    int r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &m);
    if (r == MA_OK && !m.confirmed)
        r = ma_push_device_get(ctx->db, ctx->arena, ctx->who.user_id, id, &d);
    if (r == MA_OK)
        *ret = !m.confirmed && d.enrolled_at == 0;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

/* --- becoming a method --- */

/* The seed in clear; p == NULL: no authenticator comes with the device. */
static int open_seed(struct ma_ctx *ctx, const struct ma_push_device *d, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    if (!d->seed.p || !pairs(ctx))
        return MA_OK;
    struct ma_seal_id sid = ma_push_seal_id(d->user_id, d->id, "seed");
    int r = ma_vault_open_blob(ctx->app->vault, ctx->arena, &sid, d->seed, ret);
    return r == MA_E_AUTH ? MA_E_CRYPTO : r;
}

/* The authenticator whose secret stood in the same code. */
static int add_authenticator(struct ma_ctx *ctx, const struct ma_push_device *d)
{
    struct ma_span seed;
    struct ma_method m = {.type = MA_FACTOR_TOTP, .confirmed = true, .created_at = ctx->now_ms};
    int r = open_seed(ctx, d, &seed);
    if (r < 0 || !seed.p)
        return r;
    r = new_id(ctx, m.type, &m.id);
    if (r < 0)
        return r;
    struct ma_seal_id id = totp_seal_id(ctx, m.id);
    r = ma_vault_seal(ctx->app->vault, ctx->arena, &id, seed, &m.secret);
    if (r == MA_OK)
        r = ma_method_insert(ctx->db, d->user_id, &m);
    return r == MA_OK ? ma_push_device_pair(ctx->db, d->user_id, d->id, m.id) : r;
}

/* The device is there: from here on it is a factor. */
static int complete(struct ma_ctx *ctx, const struct ma_push_device *d)
{
    struct ma_notice notice;
    struct ma_change c = {.event = MA_EVENT_FACTOR_ADDED,
                          .subject = d->id,
                          .what = ma_what_factor(ctx->arena, MA_FACTOR_PUSH, MA_SPAN_NULL)};
    int r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_method_confirm(ctx->db, d->user_id, d->id, 0, ctx->now_ms);
    if (r == MA_OK && d->name.p)
        r = ma_method_update(ctx->db, d->user_id, d->id, d->name, -1);
    if (r == MA_OK)
        r = add_authenticator(ctx, d);
    if (r == MA_OK)
        r = ma_notice_send(ctx, &notice, &c);
    if (r == MA_OK)
        r = ma_audit_factor(ctx, "gd_enrollment_complete", MA_FACTOR_PUSH, d->id);
    if (r == MA_OK)
        r = ma_audit_method(ctx, "verify", MA_FACTOR_PUSH, d->id);
    ctx->user_changed = true;
    return r;
}

/* A device that a sign-in began to enrol becomes a factor here, by the hand of who is signing in. */
static int complete_held(struct ma_ctx *ctx, const struct ma_method *m, bool *ret_pending)
{
    struct ma_push_device d;
    int r = ma_push_device_get(ctx->db, ctx->arena, ctx->who.user_id, m->id, &d);
    *ret_pending = r == MA_E_NOTFOUND || (r == MA_OK && (d.enrolled_at == 0 || !d.held));
    if (r < 0 || *ret_pending)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    r = require_room(ctx, d.seed.p && pairs(ctx));
    return r == MA_OK ? complete(ctx, &d) : r;
}

int ma_push_confirm(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session, bool *ret_pending,
                    struct ma_method_view *ret)
{
    struct ma_enrolment e;
    struct ma_method m;
    *ret_pending = false;
    int r = ma_session_require(ctx, id, auth_session, &e);
    if (r < 0)
        return r;
    r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &m);
    if (r == MA_E_NOTFOUND)
        return ma_method_unknown(ctx);
    if (r == MA_OK && !m.confirmed)
        r = complete_held(ctx, &m, ret_pending);
    if (r == MA_OK && !*ret_pending)
        r = ma_enrolment_consume(ctx->db, ctx->who.user_id, e.session_mac, ctx->now_ms);
    if (r < 0 || *ret_pending)
        return r == MA_E_CONFLICT ? ma_session_refuse(ctx) : r;
    r = ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &m);
    if (r == MA_OK)
        ma_view_of(&m, ret);
    return r;
}

/* --- the device's side --- */

int ma_push_become(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span client_id, bool *ret_open)
{
    struct ma_user u;
    *ret_open = false;
    int r = ma_user_get(ctx->db, ctx->arena, user_id, &u);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    ctx->who = (struct ma_principal){.user_id = u.user_id,
                                     .client_id = client_id,
                                     .user_known = true,
                                     .has_database = u.connection.p != NULL,
                                     .auth_time_s = -1};
    *ret_open = !u.blocked && (ma_factors_enabled(ctx) & 1u << MA_FACTOR_PUSH);
    return MA_OK;
}

/* Whether the ticket still stands for an enrolment that may be completed. */
static int admit(struct ma_ctx *ctx, const struct ma_push_device *d, const struct ma_push_request *in,
                 enum ma_push_verdict *ret)
{
    struct ma_method m;
    bool open = false;
    *ret = MA_PUSH_NO_TICKET;
    int r = ma_push_become(ctx, d->user_id, d->client_id, &open);
    if (r < 0 || !open)
        return r;
    if (d->enrolled_at != 0) {
        *ret = MA_PUSH_TICKET_USED;
        return MA_OK;
    }
    r = ma_method_get(ctx->db, ctx->arena, d->user_id, d->id, ctx->now_ms, &m);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    *ret = MA_PUSH_NEEDS_MATCHING;
    if (!in->matching && ma_push_matching_required(ctx))
        return MA_OK;
    r = require_room(ctx, d->seed.p && pairs(ctx));
    *ret = r == MA_E_PROBLEM ? MA_PUSH_NO_ROOM : MA_PUSH_OK;
    return r == MA_E_PROBLEM ? MA_OK : r;
}

int ma_push_seal_token(struct ma_ctx *ctx, struct ma_push_device *d, struct ma_span token)
{
    struct ma_seal_id sid = ma_push_seal_id(d->user_id, d->id, "push_token");
    return ma_vault_seal(ctx->app->vault, ctx->arena, &sid, token, &d->push_token);
}

static int fill(struct ma_ctx *ctx, struct ma_push_device *d, const struct ma_push_request *in,
                struct ma_push_enrolled *ret)
{
    char *token = ma_arena_alloc(ctx->arena, MA_TOKEN_LEN + 1);
    uint8_t *mac = ma_arena_alloc(ctx->arena, 32);
    struct ma_span seed = MA_SPAN_NULL;
    int r = token && mac ? ma_id_token(ctx->app->rand, token) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_push_token_mac(ctx, d->device_id, ma_span_of(token, MA_TOKEN_LEN), mac);
    if (r == MA_OK && in->service.p)
        r = ma_push_seal_token(ctx, d, in->push_token);
    if (r == MA_OK)
        r = open_seed(ctx, d, &seed);
    if (r < 0)
        return r;
    ret->totp_secret = seed.p ? ma_base32_encode(ctx->arena, seed) : NULL;
    ret->token = token;
    d->name = in->name;
    d->identifier = in->identifier;
    d->service = in->service;
    d->public_key = in->public_key;
    d->token_mac = ma_span_of(mac, 32);
    d->matching = in->matching;
    d->enrolled_at = ctx->now_ms;
    return seed.p && !ret->totp_secret ? MA_E_NOMEM : MA_OK;
}

static int settle(struct ma_ctx *ctx, const struct ma_push_device *d)
{
    int r = ma_push_device_enrol(ctx->db, d);
    if (r == MA_OK && !d->held)
        r = complete(ctx, d);
    ctx->wakes = d->id;
    return r;
}

/* MA_E_NOTFOUND */
static int find_ticket(struct ma_ctx *ctx, struct ma_span ticket, struct ma_push_device *ret)
{
    uint8_t mac[32];
    if (ticket.n != MA_PUSH_TICKET_LEN)
        return MA_E_NOTFOUND;
    int r = ticket_mac(ctx, ticket, mac);
    return r == MA_OK ? ma_push_device_by_ticket(ctx->db, ctx->arena, ma_span_of(mac, sizeof mac), ret) : r;
}

int ma_push_ticket_known(struct ma_ctx *ctx, struct ma_span ticket, bool *ret)
{
    struct ma_push_device d;
    int r = find_ticket(ctx, ticket, &d);
    *ret = r == MA_OK;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

int ma_push_enrol_device(struct ma_ctx *ctx, struct ma_span ticket, const struct ma_push_request *in,
                         struct ma_push_enrolled *ret)
{
    struct ma_push_device d;
    *ret = (struct ma_push_enrolled){.verdict = MA_PUSH_NO_TICKET};
    int r = find_ticket(ctx, ticket, &d);
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    r = admit(ctx, &d, in, &ret->verdict);
    if (r < 0 || ret->verdict != MA_PUSH_OK)
        return r;
    r = fill(ctx, &d, in, ret);
    if (r == MA_OK)
        r = settle(ctx, &d);
    ret->device_id = d.device_id;
    ret->user_id = d.user_id;
    ret->url = ma_push_base(ctx, ma_span_str(ma_ctx_origin(ctx)));
    return r == MA_OK && !ret->url ? MA_E_NOMEM : r;
}

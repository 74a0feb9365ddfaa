/* SPDX-License-Identifier: Apache-2.0
 * Passkey and security key enrolment around the verifier of webauthn.h.
 */
#include "ma/passkey.h"

#include <stdio.h>

#include "int.h"
#include "ma/codec.h"
#include "ma/notify.h"
#include "ma/user_agent.h"
#include "ma/webauthn.h"
#include "ma/passkey_origins.h"

enum { TRANSPORTS_MAX = 32 * 1024 }; /* bytes of JSON: what a body may hold, escaped */

static bool is_passkey(enum ma_factor type)
{
    return type == MA_FACTOR_PASSKEY;
}

int ma_rp_id(const struct ma_ctx *ctx, struct ma_span *ret)
{
    if (ctx->state->tenant.rp_id.n > 0) {
        *ret = ctx->state->tenant.rp_id;
        return MA_OK;
    }
    *ret = ma_arena_dup(ctx->arena, ma_origin_host(ma_span_str(ma_ctx_origin(ctx))));
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* --- starting --- */

static int user_handle(struct ma_ctx *ctx, struct ma_span *ret)
{
    int r = ma_user_handle_get(ctx->db, ctx->arena, ctx->who.user_id, ret);
    if (r != MA_E_NOTFOUND)
        return r;
    uint8_t *fresh = ma_arena_alloc(ctx->arena, MA_USER_HANDLE_LEN);
    if (!fresh)
        return MA_E_NOMEM;
    *ret = ma_span_of(fresh, MA_USER_HANDLE_LEN);
    r = ctx->app->rand->fill(ctx->app->rand, fresh, MA_USER_HANDLE_LEN);
    return r == MA_OK ? ma_user_handle_insert(ctx->db, ctx->who.user_id, *ret, ctx->now_ms) : r;
}

static int require_passkey_room(struct ma_ctx *ctx, enum ma_factor type)
{
    struct ma_method_view v[MA_METHODS_LISTED_MAX] MA_UNINITIALIZED;
    size_t n = 0, same = 0;
    int r = ma_require_room(ctx, type);
    if (r == MA_OK && is_passkey(type))
        r = ma_methods_list(ctx, v, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        same += v[i].type == MA_FACTOR_PASSKEY;
    if (r == MA_OK && same >= MA_PASSKEYS_MAX)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "too_many_entities");
    return r;
}

static int exclude_list(struct ma_ctx *ctx, struct ma_creation_options *o)
{
    struct ma_credential *c = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *c);
    if (!c)
        return MA_E_NOMEM;
    o->exclude = c;
    return ma_credential_list(ctx->db, ctx->arena, ctx->who.user_id, c, MA_METHODS_MAX, &o->n_exclude);
}

/* What verification must know again: the challenge and the relying party id it was made for. */
static int open_session(struct ma_ctx *ctx, const struct ma_creation_options *o, struct ma_enrolled *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, ctx->arena, 128, 1024);
    ma_buf_put(&b, o->challenge, sizeof o->challenge);
    ma_buf_span(&b, o->rp_id);
    if (ma_buf_err(&b) < 0)
        return MA_E_NOMEM;
    return ma_session_open_with(ctx, o->type, ret->id, MA_SPAN_NULL, ma_buf_view(&b), &ret->auth_session);
}

struct ma_span ma_passkey_user_name(const struct ma_user *u)
{
    return u->email.p ? u->email : u->phone_number.p ? u->phone_number : u->user_id;
}

static int name_user(struct ma_ctx *ctx, const struct ma_passkey_request *in, struct ma_creation_options *o)
{
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r == MA_OK && is_passkey(in->type))
        r = ma_require_identity(ctx, &u, in->connection, in->identity_user_id);
    if (r < 0)
        return r;
    o->user_name = ma_passkey_user_name(&u);
    o->user_display_name = u.name.p ? u.name : o->user_name;
    return MA_OK;
}

static int pending_id(struct ma_ctx *ctx, enum ma_factor type, struct ma_enrolled *ret)
{
    struct ma_method m = {.type = type};
    ret->type = type;
    ret->id = MA_LIT("passkey|new");
    if (is_passkey(type))
        return MA_OK;
    int r = ma_pending_insert(ctx, &m);
    ret->id = m.id;
    return r;
}

int ma_enrol_webauthn(struct ma_ctx *ctx, const struct ma_passkey_request *in, struct ma_enrolled *ret,
                      struct ma_creation_options *o)
{
    *o = (struct ma_creation_options){.type = in->type,
                                      .require_uv = ctx->conf->webauthn.require_uv,
                                      .attestation_verified = ctx->conf->webauthn.attestation_verified};
    int r = ma_require_factor(ctx, in->type);
    if (r == MA_OK)
        r = name_user(ctx, in, o);
    if (r == MA_OK)
        r = require_passkey_room(ctx, in->type);
    if (r == MA_OK)
        r = ma_rp_id(ctx, &o->rp_id);
    if (r == MA_OK)
        r = user_handle(ctx, &o->user_handle);
    if (r == MA_OK && in->exclude)
        r = exclude_list(ctx, o);
    if (r == MA_OK)
        r = ctx->app->rand->fill(ctx->app->rand, o->challenge, sizeof o->challenge);
    if (r == MA_OK)
        r = pending_id(ctx, in->type, ret);
    if (r < 0)
        return r;
    o->rp_name = ctx->state->tenant.rp_name.n > 0 ? ctx->state->tenant.rp_name : o->rp_id;
    return open_session(ctx, o, ret);
}

/* --- verifying --- */

struct ma_new_credential {
    struct ma_enrolment session;
    enum ma_factor type;
    struct ma_credential row;
    bool verified;
};

static int refuse_session(struct ma_ctx *ctx, struct ma_span id, enum ma_factor type)
{
    return is_passkey(type) ? ma_session_refuse(ctx) : ma_session_refuse_for(ctx, id);
}

static int find_session(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session,
                        struct ma_new_credential *nc)
{
    nc->type = ma_factor_of_id(id);
    int r = ma_session_find(ctx, auth_session, nc->type, id, &nc->session);
    if (r == MA_E_NOTFOUND || (r == MA_E_EXPIRED && !ma_span_eq(nc->session.method_id, id)))
        return refuse_session(ctx, id, nc->type);
    if (r == MA_E_EXPIRED)
        return ma_session_refuse(ctx);
    return r == MA_OK && nc->session.data.n <= MA_CHALLENGE_LEN ? MA_E_DB : r;
}

static struct ma_span transports_text(struct ma_ctx *ctx, const struct ma_span_list *list)
{
    struct ma_buf b;
    struct ma_jw w;
    if (!list->v)
        return MA_SPAN_NULL;
    ma_buf_init_arena(&b, ctx->arena, 64, TRANSPORTS_MAX);
    ma_jw_init(&w, &b);
    ma_jw_arr(&w);
    for (size_t i = 0; i < list->n; i++)
        ma_jw_str(&w, list->v[i]);
    ma_jw_arr_end(&w);
    return ma_buf_err(&b) < 0 ? MA_SPAN_NULL : ma_buf_view(&b);
}

static int fill_row(struct ma_ctx *ctx, const struct ma_webauthn_credential *c,
                    const struct ma_attestation_response *in, struct ma_span rp_id, struct ma_credential *row)
{
    *row = (struct ma_credential){
        .credential_id = ma_arena_dup(ctx->arena, c->credential_id),
        .public_key = ma_arena_dup(ctx->arena, c->public_key),
        .alg = c->alg,
        .sign_count = c->sign_count,
        .be = c->be,
        .bs = c->bs,
        .uv = c->uv,
        .attestation = ma_span_str(ma_webauthn_format_name(c->format)),
        .transports = transports_text(ctx, &in->transports),
        .user_agent = ma_user_agent_label(ctx->arena, ctx->req.user_agent),
        .rp_id = rp_id,
    };
    memcpy(row->aaguid, c->aaguid, sizeof row->aaguid);
    bool lost = !row->credential_id.p || !row->public_key.p || (in->transports.v && !row->transports.p);
    return lost ? MA_E_NOMEM : MA_OK;
}

int ma_attestation_check(struct ma_ctx *ctx, struct ma_span challenge, struct ma_span rp_id,
                         const struct ma_attestation_response *in, struct ma_credential *ret,
                         struct ma_webauthn_fault *fault)
{
    struct ma_span rp = ma_arena_dup(ctx->arena, rp_id);
    struct ma_webauthn_credential c;
    struct ma_webauthn_policy policy = {.rp_id = (const char *)rp.p,
                                        .require_uv = ctx->conf->webauthn.require_uv,
                                        .attestation_verified = ctx->conf->webauthn.attestation_verified};
    *fault = (struct ma_webauthn_fault){NULL, NULL, NULL};
    if (!rp.p)
        return MA_E_NOMEM;
    int r = ma_passkey_origins(ctx, rp, in->client_data_json, &policy.origins, &policy.n_origins);
    if (r == MA_OK)
        r = ma_webauthn_register(ctx->arena, &policy, challenge, in->client_data_json, in->attestation_object, &c,
                                 fault);
    if (r == MA_OK && !ma_span_eq(in->id, c.credential_id)) {
        *fault = (struct ma_webauthn_fault){"/authn_response/rawId",
                                            "The credential id is not that of the authenticator data", "7.1"};
        r = MA_E_AUTH;
    }
    if ((r == MA_E_PARSE || r == MA_E_AUTH) && fault->pointer) {
        ma_log(ctx->log, MA_LOG_INFO, "webauthn.refused", MA_KV_S("step", fault->step),
               MA_KV_S("request_id", ctx->request_id));
        return MA_E_AUTH;
    }
    return r == MA_OK ? fill_row(ctx, &c, in, rp, ret) : r;
}

static int verify(struct ma_ctx *ctx, const struct ma_attestation_response *in, struct ma_new_credential *nc)
{
    struct ma_span data = nc->session.data;
    struct ma_webauthn_fault fault;
    int r =
        ma_attestation_check(ctx, ma_span_of(data.p, MA_CHALLENGE_LEN),
                             ma_span_of(data.p + MA_CHALLENGE_LEN, data.n - MA_CHALLENGE_LEN), in, &nc->row, &fault);
    if (r == MA_E_AUTH)
        return ma_problem_at(ctx, fault.pointer, fault.detail);
    return r == MA_OK ? ma_user_handle_get(ctx->db, ctx->arena, ctx->who.user_id, &nc->row.user_handle) : r;
}

int ma_webauthn_prepare(struct ma_ctx *ctx, struct ma_span id, struct ma_span auth_session,
                        const struct ma_attestation_response *in, struct ma_new_credential **ret)
{
    struct ma_new_credential *nc = ma_arena_zalloc(ctx->arena, sizeof *nc);
    if (!nc)
        return MA_E_NOMEM;
    *ret = nc;
    int r = find_session(ctx, id, auth_session, nc);
    if (r < 0) {
        nc->session.session_mac = MA_SPAN_NULL; /* nothing to count against */
        return r;
    }
    return verify(ctx, in, nc);
}

int ma_webauthn_refused(struct ma_ctx *ctx, const struct ma_new_credential *nc)
{
    int attempts = 0;
    int r = ma_audit_failure(ctx);
    if (r < 0)
        return r;
    ctx->keep = true;
    ctx->user_changed = true; /* the last miss takes the pending method along */
    if (!nc || !nc->session.session_mac.p)
        return MA_E_PROBLEM;
    r = ma_enrolment_fail(ctx->db, ctx->who.user_id, nc->session.session_mac, MA_SESSION_TRIES, ctx->now_ms, &attempts);
    return r == MA_OK || r == MA_E_CONFLICT || r == MA_E_NOTFOUND ? MA_E_PROBLEM : r;
}

/* --- storing --- */

static int store_method(struct ma_ctx *ctx, const struct ma_new_credential *nc, struct ma_span *ret_id)
{
    char id[MA_METHOD_ID_MAX];
    struct ma_method m = {.type = nc->type, .confirmed = true, .created_at = ctx->now_ms};
    *ret_id = nc->session.method_id;
    if (!is_passkey(nc->type))
        return ma_method_confirm(ctx->db, ctx->who.user_id, *ret_id, 0, ctx->now_ms);
    int r = ma_id_method(ctx->app->rand, ma_factor_name(nc->type), id);
    if (r < 0)
        return r;
    m.id = ma_arena_dup(ctx->arena, ma_span_str(id));
    *ret_id = m.id;
    return m.id.p ? ma_method_insert(ctx->db, ctx->who.user_id, &m) : MA_E_NOMEM;
}

/* The same words whoever owns it (§7.1 step 26). */
static int require_new(struct ma_ctx *ctx, struct ma_span credential_id)
{
    struct ma_credential c;
    struct ma_span owner;
    int r = ma_credential_find(ctx->db, ctx->arena, credential_id, &c, &owner);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    return r < 0 ? r : ma_problem_at(ctx, "/authn_response/id", "This credential is already registered");
}

int ma_webauthn_finish(struct ma_ctx *ctx, const struct ma_new_credential *nc, struct ma_method_view *ret)
{
    struct ma_span id;
    struct ma_credential row = nc->row;
    struct ma_notice notice;
    int r = require_passkey_room(ctx, nc->type);
    if (r == MA_OK)
        r = require_new(ctx, row.credential_id);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = ma_enrolment_consume(ctx->db, ctx->who.user_id, nc->session.session_mac, ctx->now_ms);
    if (r == MA_OK)
        r = store_method(ctx, nc, &id);
    if (r == MA_E_CONFLICT)
        return ma_session_refuse(ctx);
    if (r < 0)
        return r;
    row.method_id = id;
    r = ma_credential_insert(ctx->db, ctx->who.user_id, &row);
    if (r == MA_OK)
        r = ma_methods_find(ctx, id, ret);
    if (r < 0)
        return r;
    ctx->user_changed = true;
    struct ma_change c = {
        .event = MA_EVENT_FACTOR_ADDED, .subject = id, .what = ma_what_factor(ctx->arena, nc->type, MA_SPAN_NULL)};
    r = ma_notice_send(ctx, &notice, &c);
    return r == MA_OK ? ma_audit_method(ctx, "verify", nc->type, id) : r;
}

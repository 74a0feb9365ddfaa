/* SPDX-License-Identifier: Apache-2.0
 * Connecting an account, the API's part: starting a flow and completing it.
 */
#include "connect_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/methods.h"
#include "ma/notify.h"

enum {
    PARAMS_MAX = 131072, /* bytes: the longest values the wire allows, each character encoded as nine */
    RETURN_MAX = 16384   /* bytes: redirect_uri and state as they stand in the Location at the end, which what the HTTP
                            server keeps per connection has room for; every state in ASCII fits */
};

/* --- starting --- */

static int require_connection(struct ma_ctx *ctx, struct ma_span name, const struct ma_state_connection **ret)
{
    *ret = ma_state_connection(ctx->state, name);
    if (!*ret)
        return ma_problem_at(ctx, "/connection", "data/connection must be the name of a connection");
    if (!(*ret)->connected_accounts || (*ret)->database)
        return ma_problem(ctx, MA_P_FORBIDDEN, "The connection is not enabled for connected accounts.");
    if (!ma_state_connectable(*ret, ctx->who.client_id))
        return ma_problem(ctx, MA_P_FORBIDDEN, "The connection is not enabled for this client.");
    return MA_OK;
}

static int params_text(struct ma_ctx *ctx, const struct ma_connect_request *in, struct ma_span *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, ctx->arena, 256, PARAMS_MAX);
    for (size_t i = 0; i < in->n_params; i++) {
        const char *value = ma_pct_encode(ctx->arena, in->params[i].value);
        if (!value)
            return MA_E_NOMEM;
        ma_buf_printf(&b, "%s%s=%s", i ? "&" : "", in->params[i].name, value);
    }
    *ret = b.n ? ma_buf_view(&b) : MA_LIT("");
    return ma_buf_err(&b);
}

/* What is the client's own is nobody else's to read: id_token_hint names a person. */
static int seal_texts(struct ma_ctx *ctx, const struct ma_connect_request *in, struct ma_connect *row)
{
    struct ma_span params;
    int r = params_text(ctx, in, &params);
    if (r == MA_OK && params.n)
        r = ma_connect_seal(ctx, row, "params", params, &row->params);
    return r == MA_OK && in->state.p ? ma_connect_seal(ctx, row, "client_state", in->state, &row->client_state) : r;
}

/* What could not be returned is not taken. */
static int require_returnable(struct ma_ctx *ctx, const struct ma_connect_request *in)
{
    const char *state = in->state.p ? ma_pct_encode(ctx->arena, in->state) : "";
    if (!state)
        return MA_E_NOMEM;
    if (in->redirect_uri.n + strlen(state) > RETURN_MAX)
        return ma_problem_at(ctx, "/state", "data/state is too long to be returned to the redirect_uri");
    return MA_OK;
}

/* Session and ticket: the texts for the caller, their MACs for the row. */
static int make_names(struct ma_ctx *ctx, struct ma_connect *row, struct ma_connect_begun *ret)
{
    char *session = ma_arena_alloc(ctx->arena, MA_SESSION_LEN + 1);
    char *ticket = ma_arena_alloc(ctx->arena, MA_UUID_LEN + 1);
    if (!session || !ticket)
        return MA_E_NOMEM;
    int r = ma_id_session(ctx->app->rand, session);
    if (r == MA_OK)
        r = ma_id_uuid(ctx->app->rand, ticket);
    if (r < 0)
        return r;
    row->session_mac = ma_connect_mac(ctx, "connect-session", ctx->who.user_id, session, MA_SESSION_LEN);
    row->ticket_mac = ma_connect_mac(ctx, "connect-ticket", MA_LIT(""), ticket, MA_UUID_LEN);
    ret->auth_session = session;
    ret->ticket = ticket;
    return row->session_mac.p && row->ticket_mac.p ? MA_OK : MA_E_NOMEM;
}

int ma_connect_begin(struct ma_ctx *ctx, const struct ma_connect_request *in, struct ma_connect_begun *ret)
{
    const struct ma_state_connection *connection = NULL;
    struct ma_span_list scopes = {NULL, 0};
    int r = require_connection(ctx, in->connection, &connection);
    if (r != MA_OK)
        return r;
    if (!ma_connect_callback_known(ma_state_client(ctx->state, ctx->who.client_id), in->redirect_uri))
        return ma_problem_at(ctx, "/redirect_uri", "data/redirect_uri must be one of the client's callbacks");
    r = require_returnable(ctx, in);
    if (r != MA_OK)
        return r;
    struct ma_connect row = {
        .user_id = ctx->who.user_id,
        .client_id = ctx->who.client_id,
        .connection = in->connection,
        .provider = ma_connection_identity(connection),
        .origin = ma_span_str(ma_ctx_origin(ctx)),
        .redirect_uri = in->redirect_uri,
        .code_challenge = in->code_challenge,
        .jkt = ctx->who.jkt,
        .org_id = ctx->who.org_id,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + ctx->conf->enrollment.connect_ttl * 1000,
    };
    r = ma_provider_scopes(ctx->arena, connection, &in->scopes, &scopes);
    if (r == MA_OK)
        r = ma_words_join(ctx->arena, &scopes, &row.scopes);
    if (r == MA_OK)
        r = make_names(ctx, &row, ret);
    if (r == MA_OK)
        r = seal_texts(ctx, in, &row);
    if (r == MA_OK)
        r = ma_connect_insert(ctx->db, &row);
    ret->expires_in_s = ctx->conf->enrollment.connect_ttl;
    return r == MA_OK ? ma_connect_trim(ctx->db, ctx->who.user_id, MA_CONNECTS_MAX) : r;
}

/* --- completing --- */

static int refuse(struct ma_ctx *ctx)
{
    return ma_problem(ctx, MA_P_NOT_FOUND, "Invalid or expired session");
}

/* A refusal after which the flow is over, so that what happened so far is committed with it. */
static int refuse_for_good(struct ma_ctx *ctx, const struct ma_connect *row, enum ma_problem_id id, const char *detail)
{
    struct ma_audited_account a = {
        .connection = row->connection, .error = ma_problem_def(id)->title, .error_description = detail};
    int r = ma_audit_account(ctx, MA_AUDIT_CONNECT_FAILED, &a);
    if (r < 0)
        return r;
    ctx->keep = true;
    return ma_problem(ctx, id, detail);
}

/* RFC 7636 §4.6. A verifier for a flow without a challenge does not fit either (RFC 9700 §2.1.1). MA_OK with the
 * verdict, or an error. */
static int verifier_fits(const struct ma_connect *row, struct ma_span verifier, bool *ret)
{
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1];
    *ret = !row->code_challenge.p && !verifier.p;
    if (!row->code_challenge.p || !verifier.p)
        return MA_OK;
    int r = ma_sha256(verifier, hash);
    if (r < 0)
        return r;
    ma_b64url_encode(ma_span_of(hash, sizeof hash), text);
    *ret = ma_ct_eq(ma_span_str(text), row->code_challenge);
    return MA_OK;
}

static int proof_fits(struct ma_ctx *ctx, const struct ma_connect *row, const struct ma_connect_proof *in, bool *ret)
{
    struct ma_span code =
        ma_connect_mac(ctx, "connect-code", row->session_mac, (const char *)in->connect_code.p, in->connect_code.n);
    bool verified = false;
    int r = code.p ? verifier_fits(row, in->code_verifier, &verified) : MA_E_NOMEM;
    *ret = row->stage == MA_CONNECT_AUTHORIZED && row->expires_at > ctx->now_ms && row->code_expires_at > ctx->now_ms &&
           ma_span_eq(row->client_id, ctx->who.client_id) && ma_span_eq(row->jkt, ctx->who.jkt) &&
           ma_span_eq(row->org_id, ctx->who.org_id) && code.p && ma_ct_eq(code, row->code_mac) && verified;
    return r;
}

static int find_proven(struct ma_ctx *ctx, const struct ma_connect_proof *in, struct ma_connect *row)
{
    struct ma_span mac =
        ma_connect_mac(ctx, "connect-session", ctx->who.user_id, (const char *)in->auth_session.p, in->auth_session.n);
    const struct ma_state_connection *connection = NULL;
    if (!mac.p)
        return MA_E_NOMEM;
    int r = ma_connect_get(ctx->db, ctx->arena, ctx->who.user_id, mac, row);
    if (r == MA_E_NOTFOUND)
        return refuse(ctx);
    bool fits = false;
    if (r == MA_OK)
        r = proof_fits(ctx, row, in, &fits);
    if (r == MA_OK && !fits)
        return refuse(ctx);
    if (r < 0)
        return r;
    if (!ma_span_eq(row->redirect_uri, in->redirect_uri))
        return ma_problem_at(ctx, "/redirect_uri", "data/redirect_uri must be the one the connection was started with");
    r = require_connection(ctx, row->connection, &connection);
    if (r == MA_OK && !ma_span_eq(row->provider, ma_connection_identity(connection)))
        return refuse(ctx); /* the tokens are another provider's than the connection leads to now */
    return r;
}

static int fill_account(struct ma_ctx *ctx, const struct ma_connect *row, const struct ma_connect_result *got,
                        struct ma_account *acc)
{
    struct ma_vault *v = ctx->app->vault;
    acc->client_id = row->client_id;
    acc->org_id = row->org_id;
    acc->access_expires_at = got->access_expires_at;
    acc->refresh_expires_at = got->refresh_expires_at;
    acc->updated_at = acc->used_at = ctx->now_ms;
    acc->refresh_token = MA_SPAN_NULL;
    int r = ma_words_join(ctx->arena, &got->scopes, &acc->scopes);
    if (r == MA_OK)
        r = ma_account_seal(v, ctx->arena, acc, "access_token", got->access_token, &acc->access_token);
    if (r == MA_OK && got->refresh_token.p)
        r = ma_account_seal(v, ctx->arena, acc, "refresh_token", got->refresh_token, &acc->refresh_token);
    return r == MA_OK ? ma_account_seal(v, ctx->arena, acc, "claims", got->claims, &acc->claims) : r;
}

static int insert_account(struct ma_ctx *ctx, const struct ma_connect *row, const struct ma_connect_result *got,
                          struct ma_account *acc)
{
    char *id = ma_arena_alloc(ctx->arena, MA_ACCOUNT_ID_LEN + 1);
    int64_t have = 0;
    if (!id)
        return MA_E_NOMEM;
    int r = ma_account_count(ctx->db, ctx->who.user_id, &have);
    if (r == MA_OK && have >= MA_ACCOUNTS_MAX)
        return refuse_for_good(ctx, row, MA_P_BAD_REQUEST, "too_many_entities");
    if (r == MA_OK)
        r = ma_id_account(ctx->app->rand, id);
    if (r < 0)
        return r;
    *acc = (struct ma_account){
        .id = ma_span_of(id, MA_ACCOUNT_ID_LEN),
        .user_id = ctx->who.user_id,
        .connection = row->connection,
        .provider = row->provider,
        .subject = got->subject,
        .version = 1,
        .created_at = ctx->now_ms,
    };
    r = fill_account(ctx, row, got, acc);
    return r == MA_OK ? ma_account_insert(ctx->db, acc) : r;
}

static int reconnect_account(struct ma_ctx *ctx, const struct ma_connect *row, const struct ma_connect_result *got,
                             struct ma_account *acc)
{
    int r = fill_account(ctx, row, got, acc);
    return r == MA_OK ? ma_account_reconnect(ctx->db, acc) : r;
}

static int store_account(struct ma_ctx *ctx, const struct ma_connect *row, const struct ma_connect_result *got,
                         struct ma_account *acc, bool *ret_known)
{
    struct ma_account_name name = {row->connection, row->provider, got->subject};
    int r = ma_account_owner(ctx->db, ctx->arena, &name, acc);
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    *ret_known = r == MA_OK;
    /* Without a way to renew it, a token that lapses soon is no connected account. */
    if (!got->refresh_token.p && got->access_expires_at != 0)
        return refuse_for_good(ctx, row, MA_P_BAD_REQUEST,
                               "offline access not granted: the provider gave no refresh token");
    if (!*ret_known)
        return insert_account(ctx, row, got, acc);
    if (!ma_span_eq(acc->user_id, ctx->who.user_id))
        return refuse_for_good(ctx, row, MA_P_DUPLICATE,
                               "The account at the provider is connected by another user already.");
    return reconnect_account(ctx, row, got, acc);
}

int ma_connect_complete_account(struct ma_ctx *ctx, const struct ma_connect_proof *in, struct ma_account *ret,
                                struct ma_leftover *left)
{
    struct ma_connect row;
    struct ma_connect_result got;
    struct ma_span text;
    bool known = true;
    struct ma_notice notice;
    *left = (struct ma_leftover){.token = MA_SPAN_NULL};
    ma_audit_failure_as(ctx, MA_AUDIT_CONNECT_FAILED, "complete");
    int r = find_proven(ctx, in, &row);
    if (r == MA_OK)
        r = ma_connect_unseal(ctx, &row, "result", row.result, &text);
    if (r == MA_OK)
        r = ma_connect_result_read(ctx->arena, text, &got);
    if (r != MA_OK)
        return r;
    r = ma_connect_complete(ctx->db, ctx->who.user_id, row.session_mac, ctx->now_ms);
    if (r == MA_E_CONFLICT)
        return refuse(ctx);
    if (r == MA_OK)
        r = ma_notice_before(ctx, &notice);
    if (r == MA_OK)
        r = store_account(ctx, &row, &got, ret, &known);
    if (r == MA_E_PROBLEM && !known)
        *left = ma_leftover_of(row.connection, row.provider, got.refresh_token, got.access_token);
    if (r != MA_OK)
        return r;
    struct ma_audited_account a = {.connection = row.connection, .id = ret->id, .subject = ret->subject};
    struct ma_change c = {
        .event = MA_EVENT_ACCOUNT_ADDED, .subject = ret->id, .what = ma_what_account(ctx->arena, row.connection)};
    r = ma_notice_send(ctx, &notice, &c);
    return r == MA_OK ? ma_audit_account(ctx, MA_AUDIT_CONNECTED, &a) : r;
}

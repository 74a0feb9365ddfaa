/* SPDX-License-Identifier: Apache-2.0
 * Connecting an account, the browser's part: from the ticket to the provider, and back with its answer.
 */
#include "connect_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/jsonw.h"

#include <stdio.h>
#include <stdlib.h>

enum { SECRET_MAX = 1024, DESCRIPTION_MAX = 256, ERROR_CODE_MAX = 64, PARAMS_MAX = 16 };

/* --- finding the row --- */

/* One cookie for all flows of a browser, however many are begun: each row holds a MAC of it. */
static void cookie_name(struct ma_connect_leg *leg)
{
    bool https = leg->row.origin.n > 8 && memcmp(leg->row.origin.p, "https://", 8) == 0;
    (void)snprintf(leg->cookie_name, sizeof leg->cookie_name, "%smyaccount-connect", https ? "__Host-" : "");
}

/* The browser keeps the cookie it has. */
static void adopt_cookie(struct ma_ctx *ctx, struct ma_connect_leg *leg, ma_cookie_reader cookie)
{
    struct ma_span had = cookie(ctx, leg->cookie_name);
    if (ma_id_token_fits(had))
        memcpy(leg->cookie, had.p, MA_TOKEN_LEN);
}

static bool is_same_browser(struct ma_ctx *ctx, const struct ma_connect_leg *leg, ma_cookie_reader cookie)
{
    struct ma_span value = cookie(ctx, leg->cookie_name);
    struct ma_span mac =
        value.p ? ma_connect_mac(ctx, "connect-cookie", leg->row.session_mac, (const char *)value.p, value.n)
                : MA_SPAN_NULL;
    return mac.p && ma_ct_eq(mac, leg->row.cookie_mac);
}

/* What was allowed when the flow began must be so still: the state document may have changed. */
static bool still_allowed(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    const struct ma_connect *row = &leg->row;
    leg->connection = ma_state_connection(ctx->state, row->connection);
    return leg->connection && ma_span_eq(ma_connection_identity(leg->connection), row->provider) &&
           ma_state_connectable(leg->connection, row->client_id) &&
           ma_connect_callback_known(ma_state_client(ctx->state, row->client_id), row->redirect_uri) &&
           ma_span_eq_str(row->origin, ma_ctx_origin(ctx));
}

/* Everything after this speaks of the row's user and client, in audit rows above all. */
static int adopt(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    ctx->who.user_id = leg->row.user_id;
    ctx->who.client_id = leg->row.client_id;
    ma_connection_net(ctx, leg->connection);
    return ma_connect_open(ctx, &leg->row);
}

int ma_connect_ticket(struct ma_ctx *ctx, struct ma_span ticket, ma_cookie_reader cookie, struct ma_connect_leg *leg,
                      enum ma_connect_refusal *ret_refusal)
{
    *ret_refusal = MA_CONNECT_UNKNOWN;
    if (ticket.n != MA_UUID_LEN)
        return MA_OK;
    struct ma_span mac = ma_connect_mac(ctx, "connect-ticket", MA_LIT(""), (const char *)ticket.p, ticket.n);
    int r = mac.p ? ma_connect_by_ticket(ctx->db, ctx->arena, mac, &leg->row) : MA_E_NOMEM;
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    const struct ma_connect *row = &leg->row;
    cookie_name(leg);
    if (row->expires_at <= ctx->now_ms || !still_allowed(ctx, leg))
        return MA_OK;
    if (row->stage == MA_CONNECT_NEW) {
        adopt_cookie(ctx, leg, cookie);
        *ret_refusal = MA_CONNECT_FINE;
    } else if (row->stage == MA_CONNECT_STARTED && ctx->now_ms - row->started_at < MA_TICKET_RELOAD_MS) {
        leg->resumed = is_same_browser(ctx, leg, cookie);
        *ret_refusal = leg->resumed ? MA_CONNECT_FINE : MA_CONNECT_UNKNOWN;
    }
    return *ret_refusal == MA_CONNECT_FINE ? adopt(ctx, leg) : MA_OK;
}

int ma_connect_callback(struct ma_ctx *ctx, struct ma_span state, ma_cookie_reader cookie, struct ma_connect_leg *leg,
                        enum ma_connect_refusal *ret_refusal)
{
    *ret_refusal = MA_CONNECT_UNKNOWN;
    if (state.n != MA_TOKEN_LEN)
        return MA_OK;
    struct ma_span mac = ma_connect_mac(ctx, "connect-state", MA_LIT(""), (const char *)state.p, state.n);
    int r = mac.p ? ma_connect_by_state(ctx->db, ctx->arena, mac, &leg->row) : MA_E_NOMEM;
    if (r < 0)
        return r == MA_E_NOTFOUND ? MA_OK : r;
    if (leg->row.expires_at <= ctx->now_ms || leg->row.stage != MA_CONNECT_STARTED || !still_allowed(ctx, leg))
        return MA_OK;
    cookie_name(leg);
    *ret_refusal = is_same_browser(ctx, leg, cookie) ? MA_CONNECT_FINE : MA_CONNECT_STRANGER;
    return adopt(ctx, leg);
}

/* --- to the provider --- */

struct secret {
    struct ma_span state, nonce, verifier;
};

static int seal_secret(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, SECRET_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "state", leg->state);
    ma_jw_kcstr(&w, "nonce", leg->nonce);
    ma_jw_kcstr(&w, "verifier", leg->verifier);
    ma_jw_obj_end(&w);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    return ma_connect_seal(ctx, &leg->row, "secret", ma_buf_view(&b), &leg->row.secret);
}

static void take_text(char out[MA_TOKEN_LEN + 1], struct ma_span s)
{
    if (s.n == MA_TOKEN_LEN)
        memcpy(out, s.p, MA_TOKEN_LEN + 1);
}

static int open_secret(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
#define AT(m) .name = #m, .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct secret, m), .min = 43, .max = 43
    static const struct ma_jfield fields[] = {{AT(state)}, {AT(nonce)}, {AT(verifier)}};
#undef AT
    static const struct ma_shape shape = MA_SHAPE(struct secret, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct secret s = {MA_SPAN_NULL, MA_SPAN_NULL, MA_SPAN_NULL};
    struct ma_span text;
    int r = ma_connect_unseal(ctx, &leg->row, "secret", leg->row.secret, &text);
    if (r == MA_OK)
        r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &shape, &s, &errs);
    take_text(leg->state, s.state);
    take_text(leg->nonce, s.nonce);
    take_text(leg->verifier, s.verifier);
    return r;
}

static int make_secret(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    const struct ma_rand *rand = ctx->app->rand;
    char *const texts[] = {leg->state, leg->nonce, leg->verifier, leg->cookie};
    const size_t n = leg->cookie[0] ? MA_COUNT(texts) - 1 : MA_COUNT(texts);
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < n; i++)
        r = ma_id_token(rand, texts[i]);
    if (r < 0)
        return r;
    leg->row.state_mac = ma_connect_mac(ctx, "connect-state", MA_LIT(""), leg->state, MA_TOKEN_LEN);
    leg->row.cookie_mac = ma_connect_mac(ctx, "connect-cookie", leg->row.session_mac, leg->cookie, MA_TOKEN_LEN);
    if (!leg->row.state_mac.p || !leg->row.cookie_mac.p)
        return MA_E_NOMEM;
    return seal_secret(ctx, leg);
}

static const char *callback_url(struct ma_ctx *ctx, const struct ma_connect_leg *leg)
{
    return ma_arena_printf(ctx->arena, "%.*s%s", (int)leg->row.origin.n, (const char *)leg->row.origin.p,
                           leg->connection->provider.login_callback ? "/login/callback"
                                                                    : "/me/v1/connected-accounts/callback");
}

static int build_url(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    struct ma_param params[PARAMS_MAX];
    struct ma_span_list scopes;
    struct ma_span rest = leg->row.params, name;
    size_t n = 0;
    int r = ma_words_split(ctx->arena, leg->row.scopes, &scopes);
    while (r == MA_OK && n < PARAMS_MAX) {
        r = ma_form_next(ctx->arena, &rest, &name, &params[n].value);
        if (r == MA_OK)
            params[n++].name = (const char *)name.p; /* decoded text ends with NUL */
    }
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    struct ma_authorize in = {
        .redirect_uri = callback_url(ctx, leg),
        .state = leg->state,
        .nonce = leg->nonce,
        .verifier = leg->verifier,
        .scopes = &scopes,
        .params = params,
        .n_params = n,
    };
    return in.redirect_uri ? ma_provider_authorize_url(ctx->arena, &leg->provider, &in, &leg->authorize_url)
                           : MA_E_NOMEM;
}

static void fail(struct ma_ctx *ctx, struct ma_connect_leg *leg, int err, const struct ma_provider_fault *fault,
                 const char *step)
{
    bool refused = err == MA_E_AUTH || err == MA_E_INVAL;
    leg->error = refused ? "server_error" : "temporarily_unavailable";
    leg->error_description = refused ? "The identity provider's answer was not accepted."
                                     : "The identity provider cannot be reached right now.";
    ma_log(ctx->log, MA_LOG_WARN, "connect.failed", MA_KV_SPAN("connection", leg->row.connection),
           MA_KV_S("step", step), MA_KV_S("error", ma_err_name(err)), MA_KV_S("provider_error", fault->error),
           MA_KV_S("why", fault->why), MA_KV_S("request_id", ctx->request_id));
}

/* What is the provider's doing, and not this daemon's. */
static bool is_providers(int err)
{
    return err == MA_E_AUTH || err == MA_E_INVAL || err == MA_E_UPSTREAM || err == MA_E_TIMEOUT || err == MA_E_RANGE ||
           err == MA_E_UNSUPPORTED;
}

int ma_connect_prepare(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    struct ma_provider_env env = ma_provider_env_of(ctx->app, ctx->conf, ma_lane_httpc(), ctx->arena);
    struct ma_provider_fault fault = {"", ""};
    int r = ma_provider_resolve(&env, leg->connection, MA_SPAN_NULL, &leg->provider, &fault);
    if (r < 0 && is_providers(r)) {
        fail(ctx, leg, r, &fault, "resolve");
        return MA_OK;
    }
    if (r == MA_OK)
        r = leg->resumed ? open_secret(ctx, leg) : make_secret(ctx, leg);
    if (r == MA_OK)
        r = build_url(ctx, leg);
    if (r == MA_E_RANGE) { /* no provider takes a URL like that, and no browser either */
        leg->error = "invalid_request";
        leg->error_description = "The authorization request is too long.";
        return MA_OK;
    }
    return r;
}

/* The flow ends here; the row, with its secrets, is over. Once: of requests side by side one ends it. */
static int end_failed(struct ma_ctx *ctx, const struct ma_connect_leg *leg)
{
    struct ma_audited_account a = {
        .connection = leg->row.connection, .error = leg->error, .error_description = leg->error_description};
    int r = ma_connect_abandon(ctx->db, leg->row.user_id, leg->row.session_mac, leg->row.stage);
    return r == MA_OK ? ma_audit_account(ctx, MA_AUDIT_CONNECT_FAILED, &a) : r;
}

int ma_connect_launch(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    if (leg->error)
        return end_failed(ctx, leg);
    leg->row.started_at = ctx->now_ms;
    return leg->resumed ? MA_OK : ma_connect_start(ctx->db, &leg->row, ctx->now_ms);
}

/* --- back from the provider --- */

int ma_connect_claim(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    leg->row.stage = MA_CONNECT_RETURNED;
    return ma_connect_return(ctx->db, leg->row.user_id, leg->row.session_mac, ctx->now_ms);
}

/* RFC 6749 §4.1.2.1: codes and descriptions are printable ASCII without '"' and '\'. */
static const char *clean(struct ma_ctx *ctx, struct ma_span s, size_t max, const char *otherwise)
{
    if (!s.p || s.n == 0 || s.n > max)
        return otherwise;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '"' || s.p[i] == '\\')
            return otherwise;
    struct ma_span copy = ma_arena_dup(ctx->arena, s);
    return copy.p ? (const char *)copy.p : otherwise;
}

static int64_t max_age_of(struct ma_ctx *ctx, struct ma_span params)
{
    struct ma_span name, value;
    while (ma_form_next(ctx->arena, &params, &name, &value) == MA_OK)
        if (ma_span_eq_str(name, "max_age"))
            return strtoll((const char *)value.p, NULL, 10);
    return -1;
}

static int finish_result(struct ma_ctx *ctx, struct ma_connect_leg *leg, const struct ma_provider_tokens *t,
                         const struct ma_identity *who)
{
    struct ma_connect_result got = {
        .subject = who->subject,
        .access_token = t->access_token,
        .refresh_token = t->refresh_token,
        .claims = who->claims,
        .scopes = t->scopes,
        .access_expires_at = ma_access_expiry(leg->connection->provider.preset, t, ctx->now_ms),
        .refresh_expires_at = ma_refresh_expiry(t, ctx->now_ms),
    };
    struct ma_span text;
    int r = t->has_scopes ? MA_OK : ma_words_split(ctx->arena, leg->row.scopes, &got.scopes);
    if (r == MA_OK)
        r = ma_connect_result_write(ctx->arena, &got, &text);
    if (r == MA_OK)
        r = ma_connect_seal(ctx, &leg->row, "result", text, &leg->row.result);
    return r == MA_OK ? ma_id_token(ctx->app->rand, leg->code) : r;
}

static int redeem(struct ma_ctx *ctx, const struct ma_provider_env *env, const struct ma_callback *in,
                  struct ma_connect_leg *leg, struct ma_provider_fault *fault)
{
    struct ma_provider_tokens tokens;
    struct ma_identity who;
    const char *url = callback_url(ctx, leg);
    if (!url)
        return MA_E_NOMEM;
    int r = open_secret(ctx, leg);
    if (r < 0)
        return r;
    r = ma_provider_redeem(env, &leg->provider, in->code, url, leg->verifier, &tokens, fault);
    if (r == MA_OK)
        r = ma_provider_identify(env, &leg->provider, &tokens, leg->nonce, max_age_of(ctx, leg->row.params), &who,
                                 fault);
    return r == MA_OK ? finish_result(ctx, leg, &tokens, &who) : r;
}

/* Whether iss is the template with something in the place of "{…}". */
static bool fits_template(const char *issuer, struct ma_span iss)
{
    const char *from = strchr(issuer, '{'), *to = from ? strchr(from, '}') : NULL;
    size_t head = from ? (size_t)(from - issuer) : 0, tail = to ? strlen(to + 1) : 0;
    if (!to || iss.n <= head + tail || memcmp(iss.p, issuer, head) != 0)
        return false;
    return memcmp(iss.p + iss.n - tail, to + 1, tail) == 0 && !memchr(iss.p + head, '/', iss.n - head - tail);
}

/* Whether the name is the issuer of another connection. */
static bool is_anothers(const struct ma_state *s, const struct ma_state_connection *mine, struct ma_span iss)
{
    for (size_t i = 0; i < s->n_connections; i++) {
        const struct ma_state_connection *c = &s->connections[i];
        const struct ma_preset *row = c->provider.preset;
        if (c != mine && row &&
            (c->provider.issuer.n ? ma_span_eq(c->provider.issuer, iss) : ma_span_eq_str(iss, row->issuer)))
            return true;
    }
    return false;
}

/* RFC 9207 §2.4: an answer that another server gave in this one's name is refused before anything is sent. A provider
 * whose issuer is not configured may call itself what it likes, but not what a known one at another place is called. */
static bool is_from(const struct ma_state *s, const struct ma_provider *p, struct ma_span iss)
{
    if (!iss.p)
        return !p->iss_expected;
    if (p->issuer && !strchr(p->issuer, '{'))
        return ma_span_eq_str(iss, p->issuer);
    return (p->issuer && fits_template(p->issuer, iss)) || ma_same_origin(iss, ma_span_str(p->token_endpoint)) ||
           ma_same_origin(iss, ma_span_str(p->authorization_endpoint)) || !is_anothers(s, p->connection, iss);
}

int ma_connect_redeem(struct ma_ctx *ctx, const struct ma_callback *in, struct ma_connect_leg *leg)
{
    struct ma_provider_env env = ma_provider_env_of(ctx->app, ctx->conf, ma_lane_httpc(), ctx->arena);
    struct ma_provider_fault fault = {"", ""};
    struct ma_span secret;
    int r = ma_connection_secret(ctx->db, ctx->app->vault, ctx->arena, leg->row.connection, &secret);
    if (r < 0)
        return r;
    r = ma_provider_resolve(&env, leg->connection, secret, &leg->provider, &fault);
    if (r == MA_OK && !is_from(ctx->state, &leg->provider, in->iss)) {
        (void)snprintf(fault.why, sizeof fault.why, "the answer's iss is not the provider's");
        r = MA_E_AUTH;
    } else if (in->error.p) {
        leg->error = clean(ctx, in->error, ERROR_CODE_MAX, "server_error");
        leg->error_description =
            clean(ctx, in->error_description, DESCRIPTION_MAX, "The identity provider refused the request.");
        return MA_OK;
    } else if (r == MA_OK && in->code.n == 0) {
        (void)snprintf(fault.why, sizeof fault.why, "the answer holds neither a code nor an error");
        r = MA_E_AUTH;
    }
    if (r == MA_OK)
        r = redeem(ctx, &env, in, leg, &fault);
    if (r < 0 && is_providers(r)) {
        fail(ctx, leg, r, &fault, "redeem");
        r = MA_OK;
    }
    return r;
}

int ma_connect_settle(struct ma_ctx *ctx, struct ma_connect_leg *leg)
{
    if (!leg->error) {
        leg->row.code_mac = ma_connect_mac(ctx, "connect-code", leg->row.session_mac, leg->code, MA_TOKEN_LEN);
        leg->row.code_expires_at = ctx->now_ms + ctx->conf->enrollment.connect_code_ttl * 1000;
        int r = leg->row.code_mac.p ? ma_connect_authorize(ctx->db, &leg->row, ctx->now_ms) : MA_E_NOMEM;
        if (r != MA_E_CONFLICT)
            return r;
        leg->error = "invalid_request"; /* the flow's time ran out while the provider was asked */
        leg->error_description = "The connection request has expired.";
    }
    return end_failed(ctx, leg);
}

/* SPDX-License-Identifier: Apache-2.0
 * Bearer tokens (RFC 6750) to principals: verify or remember, load what policy needs to know about
 * the user, provision at first sight.
 */
#include "auth.h"

#include <strings.h>

#include "int.h"
#include "ma/app.h"
#include "ma/codec.h"
#include "ma/dpop.h"
#include "ma/http.h"
#include "ma/lanes.h"
#include "ma/leaving.h"
#include "ma/methods.h"
#include "ma/seen.h"
#include "ma/signin.h"

#define DPOP_ALGS "ES256 RS256 ES384 PS256 EdDSA"
enum { USER_ID_MAX = 255, NAME_MAX_BYTES = 300 };

/* --- refusals (RFC 6750 §3, RFC 9449 §7.1) --- */

static int refuse_missing(struct ma_ctx *ctx)
{
    (void)ma_problem(ctx, MA_P_MISSING_TOKEN, NULL);
    ma_header(ctx, "WWW-Authenticate", "Bearer");
    ma_header(ctx, "WWW-Authenticate", "DPoP algs=\"" DPOP_ALGS "\"");
    return MA_E_PROBLEM;
}

static int refuse_token(struct ma_ctx *ctx, const char *scheme, const char *reason)
{
    ma_log(ctx->log, MA_LOG_INFO, "token.refused", MA_KV_S("reason", reason));
    (void)ma_problem(ctx, MA_P_INVALID_TOKEN, ma_arena_printf(ctx->arena, "Invalid Token: %s", reason));
    ma_header(ctx, "WWW-Authenticate",
              ma_arena_printf(ctx->arena, "%s error=\"invalid_token\", error_description=\"%s\"", scheme, reason));
    return MA_E_PROBLEM;
}

/* Guessing costs its address a token of a bucket; users whose tokens are remembered are not held up by it. */
static struct ma_limit_state address_bucket(struct ma_ctx *ctx, bool take)
{
    struct ma_limit_state s;
    struct ma_span key = ma_addr_key(&ctx->req.client);
    int64_t limit = ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.address_failures : 0;
    (take ? ma_limit_take : ma_limit_peek)(ctx->app->limits, MA_BUCKET_ADDRESS, key, limit, 60000, ctx->now_ms, &s);
    return s;
}

/* "<scheme> <token>": the token, or p == NULL for another scheme. */
static struct ma_span credentials(struct ma_span header, const char *scheme)
{
    size_t n = strlen(scheme);
    if (header.n <= n || strncasecmp((const char *)header.p, scheme, n) != 0 || header.p[n] != ' ')
        return MA_SPAN_NULL;
    return ma_trim(ma_span_of(header.p + n, header.n - n));
}

/* The scheme the client spoke, which is the one it is answered in. */
static const char *scheme_of(const struct ma_ctx *ctx)
{
    return credentials(ctx->req.authorization, "DPoP").p ? "DPoP" : "Bearer";
}

/* --- the user --- */

/* A second factor the user could present: confirmed, independent, switched on; a verified e-mail counts. */
static int has_factor(struct ma_ctx *ctx, const struct ma_user *u, bool *ret)
{
    const uint32_t independent = 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL |
                                 1u << MA_FACTOR_PUSH | 1u << MA_FACTOR_WEBAUTHN_PLATFORM |
                                 1u << MA_FACTOR_WEBAUTHN_ROAMING;
    const uint32_t usable = ma_factors_enabled(ctx) & independent;
    *ret = u->email_verified && (usable & 1u << MA_FACTOR_EMAIL) && ctx->conf->enrollment.auto_email_factor;
    if (*ret)
        return MA_OK;
    struct ma_method *m = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *m);
    size_t n = 0;
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(ctx->db, ctx->arena, u->user_id, ctx->now_ms, m, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        if (m[i].confirmed && (usable & 1u << m[i].type))
            *ret = true;
    return r;
}

int ma_principal_factor(struct ma_ctx *ctx, bool *ret)
{
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    *ret = false;
    if (r == MA_OK)
        r = has_factor(ctx, &u, ret);
    return r == MA_E_NOTFOUND ? MA_OK : r; /* deleted since: the operation finds nothing */
}

/* What policy needs to know about the user. The generation is read before the rows, so that a change in between
 * makes the memory stale, never the other way round. */
static int load_facts(struct ma_ctx *ctx, struct ma_auth_memo *memo)
{
    struct ma_principal *who = &memo->who;
    memo->state_epoch = ctx->state->epoch;
    memo->user_generation = ma_app_user_generation(ctx->app, who->user_id);
    memo->storable = ma_app_may_remember(ctx->app, ctx);
    who->user_known = who->user_blocked = who->user_leaving = who->has_factor = who->has_database = who->revoked =
        false;
    who->rbac = 0;
    struct ma_user u;
    int r = ma_user_get(ctx->db, ctx->arena, who->user_id, &u);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r < 0)
        return r;
    who->user_known = true;
    who->user_blocked = u.blocked;
    who->user_leaving = ma_user_is_leaving(&u);
    who->has_database = u.connection.p != NULL;
    if (ctx->state->api.enforce_rbac)
        who->rbac = ma_rbac_of(ctx, &u);
    const char *audience = ma_arena_printf(ctx->arena, "%s/me/", ma_ctx_origin(ctx));
    struct ma_access access = {who->user_id, who->jti, who->sid, who->client_id, ma_span_str(audience), memo->iat_s};
    r = audience ? ma_revoked(ctx->db, &access, ctx->now_ms, &who->revoked) : MA_E_NOMEM;
    /* A token of a user who was deleted is not one of the next user with that name. */
    who->revoked |= who->jti.p && memo->iat_s + MA_CLOCK_LEEWAY_S < u.created_at / 1000;
    who->revoked |= memo->iat_s * 1000 < u.tokens_after;
    return r == MA_OK && ctx->state->api.require_2fa ? has_factor(ctx, &u, &who->has_factor) : r;
}

/* --- provisioning --- */

/* What `apply` would refuse is not written down from a token either. */
static bool is_clean_id(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n <= USER_ID_MAX && !ma_utf8_has_control(s);
}

static struct ma_span clean_email(struct ma_ctx *ctx, struct ma_span email)
{
    struct ma_span out = MA_SPAN_NULL;
    bool good = email.p && ma_fmt_email(email) && ma_email_normalise(ctx->arena, email, &out) == MA_OK;
    return good ? out : MA_SPAN_NULL;
}

static struct ma_span clean_name(struct ma_span name)
{
    return name.n > 0 && name.n <= NAME_MAX_BYTES && !ma_utf8_has_control(name) ? name : MA_SPAN_NULL;
}

static int provision(struct ma_ctx *ctx)
{
    const struct ma_token *t = ctx->scratch;
    struct ma_user u = {.user_id = t->sub,
                        .email = clean_email(ctx, t->email),
                        .name = clean_name(t->name),
                        .roles = MA_LIT("[]"),
                        .permissions = MA_LIT("[]"),
                        .created_at = ctx->now_ms,
                        .updated_at = ctx->now_ms};
    u.email_verified = u.email.p && t->email_verified;
    int r = ma_user_insert(ctx->db, &u);
    if (r == MA_E_EXISTS) /* two first requests at once */
        r = MA_OK;
    if (r < 0)
        return r;
    ctx->user_changed = true;
    return ma_next(ctx, MA_LANE_READ, ma_api_begin);
}

/* Only somebody whom nothing but their absence keeps out is written down. */
static bool may_provision(struct ma_ctx *ctx, const struct ma_token *t)
{
    if (t->issuer == MA_ISSUER_OWN || (size_t)t->issuer > ctx->conf->n_issuers ||
        !ctx->conf->issuers[t->issuer - 1].provision || !is_clean_id(t->sub))
        return false;
    struct ma_policy_in in = ma_policy_input(ctx, ma_state_client(ctx->state, ctx->who.client_id));
    in.user_known = true;
    enum ma_policy_verdict v = ma_policy_decide(&in).verdict;
    return v == MA_PV_ALLOW || v == MA_PV_SCOPE || v == MA_PV_STEP_UP;
}

/* --- tokens --- */

static bool is_machine(const struct ma_token *t)
{
    static const char suffix[] = "@clients";
    const size_t n = sizeof suffix - 1;
    return ma_span_eq_str(t->gty, "client-credentials") || ma_span_eq_str(t->gty, "client_credentials") ||
           (t->sub.n >= n && memcmp(t->sub.p + t->sub.n - n, suffix, n) == 0) || ma_span_eq(t->sub, t->client_id);
}

static struct ma_auth_memo memo_of(const struct ma_token *t)
{
    struct ma_auth_memo m = {
        .who = {.user_id = t->sub,
                .client_id = t->client_id,
                .org_id = t->org_id,
                .sid = t->sid,
                .jkt = t->cnf_jkt,
                .jti = t->issuer == MA_ISSUER_OWN ? t->jti : MA_SPAN_NULL,
                .token_scopes = ma_scope_parse_list(t->scope),
                .auth_time_s = t->auth_time,
                .client_credentials = is_machine(t)},
        .domain = t->domain,
        .exp_s = t->exp,
        .nbf_s = t->nbf,
        .iat_s = t->iat,
        .jose_epoch = t->epoch,
    };
    for (size_t i = 0; i < t->amr.n; i++) {
        m.who.amr_mfa |= ma_span_eq_str(t->amr.v[i], "mfa");
        m.who.amr_passkey |= ma_span_eq_str(t->amr.v[i], "phr");
    }
    return m;
}

static int fetch_keys(struct ma_ctx *ctx)
{
    const struct ma_token *t = ctx->scratch;
    int r = ma_jose_fetch(ctx->app->jose, ma_lane_httpc(), t->issuer);
    if (r < 0 && r != MA_E_BUSY)
        ma_log(ctx->log, MA_LOG_WARN, "jwks.fetch_failed", MA_KV_I("issuer", t->issuer),
               MA_KV_S("error", ma_err_text(r)));
    return ma_next(ctx, MA_LANE_READ, ma_api_begin);
}

static int keys_needed(struct ma_ctx *ctx, const struct ma_token *t)
{
    if (ctx->keys_tried)
        return ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The token issuer's keys cannot be fetched right now.", 5);
    ctx->keys_tried = true;
    ctx->scratch = ma_arena_alloc(ctx->arena, sizeof *t);
    if (!ctx->scratch)
        return MA_E_NOMEM;
    memcpy(ctx->scratch, t, sizeof *t);
    uint32_t issuer = (uint32_t)t->issuer;
    ctx->net_key = ma_span_hash(ma_span_of(&issuer, sizeof issuer)) | 1;
    ctx->net_provider = false;
    return ma_next(ctx, MA_LANE_NET, fetch_keys);
}

/* --- sender constraint (RFC 9449 §7) --- */

static int refuse_proof(struct ma_ctx *ctx, enum ma_dpop_verdict v, const char *why)
{
    bool nonce = v == MA_DPOP_USE_NONCE;
    char *fresh = ma_arena_alloc(ctx->arena, MA_DPOP_NONCE_LEN + 1);
    ma_log(ctx->log, MA_LOG_INFO, "proof.refused", MA_KV_S("reason", why));
    (void)ma_problem(ctx, MA_P_INVALID_TOKEN, ma_arena_printf(ctx->arena, "Invalid Token: %s", why));
    ma_header(ctx, "WWW-Authenticate",
              ma_arena_printf(ctx->arena, "DPoP error=\"%s\", error_description=\"%s\", algs=\"" DPOP_ALGS "\"",
                              nonce ? "use_dpop_nonce" : "invalid_dpop_proof", why));
    if (nonce && fresh && ma_dpop_nonce(ctx->app->dpop, ctx->now_ms, fresh) == MA_OK)
        ma_header(ctx, "DPoP-Nonce", fresh);
    return MA_E_PROBLEM;
}

/* Once per request: a proof is good for one use, and the pipeline may begin again. */
static int check_proof(struct ma_ctx *ctx, struct ma_span compact)
{
    char *jkt = ma_arena_alloc(ctx->arena, MA_JKT_LEN + 1);
    const char *why = "";
    struct ma_dpop_ask ask = {
        .method = ctx->req.head ? "HEAD" : ma_verb_name(ctx->req.verb),
        .url = ma_arena_printf(ctx->arena, "%s%.*s", ma_ctx_origin(ctx), (int)ctx->req.path.n,
                               (const char *)ctx->req.path.p),
        .access_token = compact,
    };
    if (ctx->proof_jkt.p)
        return MA_OK;
    if (!jkt || !ask.url)
        return MA_E_NOMEM;
    enum ma_dpop_verdict v = ma_dpop_verify(ctx->app->dpop, ctx->arena, ctx->req.dpop, &ask, ctx->now_ms, jkt, &why);
    if (v == MA_DPOP_BUSY)
        return MA_E_BUSY;
    if (v != MA_DPOP_OK)
        return refuse_proof(ctx, v, why);
    ctx->proof_jkt = ma_span_of(jkt, MA_JKT_LEN);
    return MA_OK;
}

/* A bound token needs a proof of its key, and an unbound one is refused where binding is asked for. */
static int check_binding(struct ma_ctx *ctx, struct ma_span compact, struct ma_span jkt, struct ma_span client_id)
{
    bool dpop = credentials(ctx->req.authorization, "DPoP").p != NULL;
    const struct ma_state_client *client = ma_state_client(ctx->state, client_id);
    if (!jkt.p) {
        if (dpop)
            return refuse_token(ctx, "DPoP", "the token is not bound to a key");
        if (ctx->state->api.require_dpop)
            return refuse_token(ctx, "DPoP", "this API takes only tokens that are bound to a key (DPoP)");
        if (client && client->require_dpop)
            return refuse_token(ctx, "DPoP", "this client must use tokens that are bound to a key (DPoP)");
        return MA_OK;
    }
    if (!dpop)
        return refuse_token(ctx, "DPoP", "the token is bound to a key and needs a DPoP proof");
    if (!ctx->req.dpop.p)
        return refuse_proof(ctx, MA_DPOP_BAD, "the DPoP proof is missing");
    int r = check_proof(ctx, compact);
    if (r != MA_OK)
        return r;
    return ma_span_eq(ctx->proof_jkt, jkt) ? MA_OK : refuse_token(ctx, "DPoP", "the token is bound to another key");
}

static int verify(struct ma_ctx *ctx, struct ma_span compact, struct ma_token *t)
{
    const char *reason = "unusable";
    struct ma_limit_state s = address_bucket(ctx, false);
    if (!s.allowed) {
        ma_api_show_rate(ctx, &s);
        return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many requests with unusable tokens from this address.",
                                s.retry_after_s);
    }
    switch (ma_token_verify(ctx->app->jose, ctx->arena, compact, ctx->req.domain, ctx->now_ms, t, &reason)) {
    case MA_TOK_OK:
        break;
    case MA_TOK_NEED_KEYS:
        return keys_needed(ctx, t);
    case MA_TOK_NO_KEYS:
        return ma_problem_retry(ctx, MA_P_UNAVAILABLE, "The token issuer's keys cannot be fetched right now.", 5);
    case MA_TOK_NOMEM:
        return MA_E_NOMEM;
    case MA_TOK_BAD:
        (void)address_bucket(ctx, true);
        return refuse_token(ctx, scheme_of(ctx), reason);
    }
    return check_binding(ctx, compact, t->cnf_jkt, t->client_id);
}

/* The token is good but for having been revoked; what it hangs on was used. */
static int settle(struct ma_ctx *ctx)
{
    if (ctx->who.revoked)
        return refuse_token(ctx, scheme_of(ctx), "the token was revoked");
    if (ctx->who.jti.p)
        ma_seen_note(ctx->app->seen, ctx->who.user_id, ctx->who.sid, ctx->who.client_id, ctx->now_ms);
    return MA_OK;
}

static int from_token(struct ma_ctx *ctx, struct ma_span compact, const uint8_t hash[MA_SHA256_LEN])
{
    struct ma_token *t = ma_arena_zalloc(ctx->arena, sizeof *t);
    if (!t)
        return MA_E_NOMEM;
    int r = verify(ctx, compact, t);
    if (r != MA_OK)
        return r;
    struct ma_auth_memo memo = memo_of(t);
    r = load_facts(ctx, &memo);
    if (r < 0)
        return r;
    ctx->who = memo.who;
    if (!memo.who.user_known && may_provision(ctx, t)) {
        ctx->scratch = t;
        return ma_next(ctx, MA_LANE_WRITE, provision);
    }
    if (memo.who.user_known && memo.storable)
        ma_auth_cache_put(ctx->app->auth_cache, hash, &memo);
    return settle(ctx);
}

/* A memory counts only while its token, its key and its domain do. */
static bool memo_holds(const struct ma_ctx *ctx, const struct ma_auth_memo *m)
{
    return m->jose_epoch == ma_jose_epoch(ctx->app->jose) && m->domain == ctx->req.domain &&
           ma_token_time_problem(m->exp_s, m->nbf_s, m->iat_s, ctx->now_ms) == NULL;
}

static int from_memo(struct ma_ctx *ctx, struct ma_auth_memo *memo, struct ma_span compact,
                     const uint8_t hash[MA_SHA256_LEN])
{
    bool fresh = memo->state_epoch == ctx->state->epoch &&
                 memo->user_generation == ma_app_user_generation(ctx->app, memo->who.user_id);
    if (!fresh) {
        int r = load_facts(ctx, memo);
        if (r < 0)
            return r;
        if (!memo->who.user_known) { /* deleted since: perhaps to be provisioned anew */
            ma_auth_cache_drop(ctx->app->auth_cache, hash);
            return from_token(ctx, compact, hash);
        }
        if (memo->storable)
            ma_auth_cache_put(ctx->app->auth_cache, hash, memo);
    }
    ctx->who = memo->who;
    int r = check_binding(ctx, compact, memo->who.jkt, memo->who.client_id);
    return r == MA_OK ? settle(ctx) : r;
}

int ma_authenticate(struct ma_ctx *ctx)
{
    struct ma_span compact = credentials(ctx->req.authorization, "DPoP");
    if (!compact.p)
        compact = credentials(ctx->req.authorization, "Bearer");
    if (!compact.p)
        return refuse_missing(ctx);
    if (compact.n > MA_TOKEN_MAX)
        return refuse_token(ctx, scheme_of(ctx), "the token is too long");
    uint8_t hash[MA_SHA256_LEN];
    int r = ma_sha256(compact, hash);
    if (r < 0)
        return r;
    struct ma_auth_memo memo;
    bool known = ma_auth_cache_get(ctx->app->auth_cache, hash, ctx->arena, &memo);
    bool holds = known && memo_holds(ctx, &memo);
    if (!ctx->scratch) /* else the request began again, after a fetch of keys or with a new user: counted already */
        ma_metrics_add(ctx->app->metrics, MA_M_CACHE, MA_M_CACHE_TOKEN, holds ? MA_M_HIT : MA_M_MISS, 1);
    if (holds)
        return from_memo(ctx, &memo, compact, hash);
    if (known)
        ma_auth_cache_drop(ctx->app->auth_cache, hash);
    return from_token(ctx, compact, hash);
}

/* SPDX-License-Identifier: Apache-2.0
 * Which client asks, and how it proves that (RFC 6749 §2.3, RFC 7523 §3, RFC 9449 §5).
 */
#include "int.h"

#include <strings.h>

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/http.h"

enum { ASSERTION_MAX_S = 300, UNDATED_MAX_S = 60 }; /* how far ahead exp may be, with iat and without */
#define JWT_BEARER "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

struct shown {
    enum ma_client_auth method;
    struct ma_span client_id, secret;
};

/* --- what was shown --- */

static int from_basic(struct ma_ctx *ctx, struct shown *ret)
{
    struct ma_span h = ma_trim(ma_span_of(ctx->req.authorization.p + 5, ctx->req.authorization.n - 5));
    uint8_t *raw = ma_arena_alloc(ctx->arena, h.n + 1);
    size_t n = 0;
    if (!raw)
        return MA_E_NOMEM;
    const uint8_t *colon = ma_b64_decode(h, raw, h.n + 1, &n) == MA_OK && n ? memchr(raw, ':', n) : NULL;
    if (!colon)
        return ma_oauth_fail_client(ctx, "The Authorization header cannot be read.");
    /* §2.3.1: both parts are form-encoded before they are joined. */
    int r = ma_pct_decode(ctx->arena, ma_span_of(raw, (size_t)(colon - raw)), true, &ret->client_id);
    if (r == MA_OK)
        r = ma_pct_decode(ctx->arena, ma_span_of(colon + 1, n - (size_t)(colon - raw) - 1), true, &ret->secret);
    ret->method = MA_AUTH_BASIC;
    return r == MA_E_PARSE ? ma_oauth_fail_client(ctx, "The Authorization header cannot be read.") : r;
}

struct assertion {
    struct ma_span iss, sub, jti;
    struct ma_span_list aud;
    int64_t exp, iat, nbf;
};
#define AT(m, t, ...)                                                                                                  \
    {                                                                                                                  \
        .name = #m, .type = (t), .off = offsetof(struct assertion, m), __VA_ARGS__                                     \
    }
static const struct ma_jfield assertion_fields[] = {
    AT(iss, MA_F_STR, .flags = MA_REQ, .min = 1, .max = 255),
    AT(sub, MA_F_STR, .flags = MA_REQ, .min = 1, .max = 255),
    AT(jti, MA_F_STR, .flags = MA_REQ, .min = 1, .max = 255),
    AT(aud, MA_F_STR_OR_LIST, .flags = MA_REQ, .max_items = 10),
    AT(exp, MA_F_INT, .flags = MA_REQ, .min = 0, .max = INT32_MAX),
    AT(iat, MA_F_INT, .min = 0, .max = INT32_MAX),
    AT(nbf, MA_F_INT, .min = 0, .max = INT32_MAX),
};
#undef AT
static const struct ma_shape assertion_shape = MA_SHAPE_OPEN(struct assertion, assertion_fields);

static int read_assertion(struct ma_ctx *ctx, struct ma_span payload, struct assertion *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    *ret = (struct assertion){.iss = MA_SPAN_NULL};
    int r = ma_json_parse(payload, &j);
    return r == MA_OK ? ma_json_decode(j, ctx->arena, &assertion_shape, ret, &errs) : r;
}

/* RFC 7523 §3 point 3: this server, by its issuer or by the endpoint that was called. One value: what names others,
 * too, could be shown there first, and then here by them. */
static bool is_for_us(struct ma_ctx *ctx, const struct assertion *c)
{
    const char *origin = ma_ctx_origin(ctx);
    const char *issuer = ma_arena_printf(ctx->arena, "%s/", origin);
    const char *token = ma_arena_printf(ctx->arena, "%s/oauth/token", origin);
    return issuer && token && c->aud.n == 1 &&
           (ma_span_eq_str(c->aud.v[0], issuer) || ma_span_eq_str(c->aud.v[0], token));
}

static int64_t life_max(const struct assertion *c)
{
    return c->iat ? ASSERTION_MAX_S : UNDATED_MAX_S;
}

/* Names that were used are in memory: what may have been used before this process began is not believed. Without iat
 * that is whatever would have been taken then. */
static bool is_from_before(struct ma_ctx *ctx, const struct assertion *c)
{
    int64_t made_s = c->iat ? c->iat : c->exp - UNDATED_MAX_S;
    return made_s < ma_dpop_since_s(ctx->app->dpop);
}

static const char *assertion_problem(struct ma_ctx *ctx, const struct ma_state_client *client,
                                     const struct ma_oauth_params *in)
{
    struct ma_span payload;
    struct assertion c;
    int64_t now_s = ctx->now_ms / 1000;
    if (ma_jwt_verify_with(ctx->arena, in->client_assertion, client->jwks, ctx->now_ms, &payload) < 0)
        return "The client assertion's signature does not verify.";
    if (read_assertion(ctx, payload, &c) < 0)
        return "The client assertion lacks a claim.";
    if (!ma_span_eq(c.iss, client->client_id) || !ma_span_eq(c.sub, client->client_id))
        return "The client assertion is about another client.";
    if (!is_for_us(ctx, &c))
        return "The client assertion is for another audience.";
    if (ma_token_time_problem(c.exp, c.nbf, c.iat, ctx->now_ms) || c.exp > now_s + life_max(&c))
        return "The client assertion has expired, is not valid yet, or lives too long.";
    if (is_from_before(ctx, &c))
        return "The client assertion is older than this server's memory. Make a new one.";
    if (!ma_dpop_remember(ctx->app->dpop, client->client_id, c.jti, (c.exp + MA_CLOCK_LEEWAY_S) * 1000, ctx->now_ms))
        return "The client assertion was used before.";
    return NULL;
}

/* --- judging it --- */

static bool secret_fits(struct ma_ctx *ctx, const struct ma_state_client *client, struct ma_span given)
{
    struct ma_span sealed, plain;
    const char *row =
        ma_arena_printf(ctx->arena, "client|%.*s", (int)client->client_id.n, (const char *)client->client_id.p);
    struct ma_seal_id id = {"object_secrets", "client_secret", ma_span_str(row), MA_LIT("")};
    uint8_t a[MA_SHA256_LEN], b[MA_SHA256_LEN];
    if (!row || !given.p ||
        ma_object_secret_get(ctx->db, ctx->arena, MA_LIT("client"), client->client_id, MA_LIT("client_secret"),
                             &sealed) < 0 ||
        ma_vault_open_blob(ctx->app->vault, ctx->arena, &id, sealed, &plain) < 0)
        return false;
    /* Digests: the comparison tells nothing of the lengths. */
    return plain.n > 0 && ma_sha256(plain, a) == MA_OK && ma_sha256(given, b) == MA_OK &&
           ma_ct_eq(ma_span_of(a, sizeof a), ma_span_of(b, sizeof b));
}

static int what_was_shown(struct ma_ctx *ctx, const struct ma_oauth_params *in, struct shown *ret)
{
    struct ma_span h = ctx->req.authorization;
    bool basic = h.n > 6 && strncasecmp((const char *)h.p, "Basic ", 6) == 0;
    *ret = (struct shown){MA_AUTH_NONE, in->client_id, in->client_secret};
    if (basic + (in->client_secret.p != NULL) + (in->client_assertion.p != NULL) > 1)
        return ma_oauth_fail(ctx, 400, "invalid_request", "Only one way of client authentication may be used.");
    if (basic) {
        int r = from_basic(ctx, ret);
        if (r == MA_OK && in->client_id.p && !ma_span_eq(in->client_id, ret->client_id))
            return ma_oauth_fail(ctx, 400, "invalid_request", "client_id differs from the Authorization header.");
        return r;
    }
    if (in->client_secret.p)
        ret->method = MA_AUTH_POST;
    if (in->client_assertion.p) {
        struct assertion c;
        struct ma_span payload;
        ret->method = MA_AUTH_PRIVATE_KEY_JWT;
        if (!ma_span_eq_str(in->client_assertion_type, JWT_BEARER))
            return ma_oauth_fail_client(ctx, "client_assertion_type is not known.");
        /* Unverified: only to find whose keys to verify with. */
        if (!ret->client_id.p && ma_jwt_peek(ctx->arena, in->client_assertion, &payload) == MA_OK &&
            read_assertion(ctx, payload, &c) == MA_OK)
            ret->client_id = c.sub;
    }
    return ret->client_id.p ? MA_OK : ma_oauth_missing(ctx, "client_id");
}

static bool method_allowed(const struct ma_state_client *c, enum ma_client_auth shown)
{
    if (c->auth_named || c->auth == MA_AUTH_NONE)
        return shown == c->auth;
    return shown == MA_AUTH_BASIC || shown == MA_AUTH_POST;
}

static int authenticate(struct ma_ctx *ctx, struct ma_oauth *o)
{
    struct shown s;
    int r = what_was_shown(ctx, &o->in, &s);
    if (r != MA_OK)
        return r;
    o->client = ma_state_client(ctx->state, s.client_id);
    if (!o->client)
        return ma_oauth_fail_client(ctx, "Client authentication failed");
    ctx->who.client_id = o->client->client_id;
    if (!method_allowed(o->client, s.method))
        return ma_oauth_fail_client(ctx, "Client authentication failed: another method is registered for this client.");
    const char *problem = NULL;
    if (s.method != MA_AUTH_NONE)
        r = ma_gate_client(ctx, o->client);
    if (r != MA_OK)
        return r;
    if (s.method == MA_AUTH_PRIVATE_KEY_JWT)
        problem = assertion_problem(ctx, o->client, &o->in);
    else if (s.method != MA_AUTH_NONE && !secret_fits(ctx, o->client, s.secret))
        problem = "Client authentication failed";
    o->authenticated = !problem && s.method != MA_AUTH_NONE;
    return problem ? ma_gate_client_failed(ctx, o, problem) : MA_OK;
}

/* --- the proof (RFC 9449 §5) --- */

static int check_dpop(struct ma_ctx *ctx, struct ma_oauth *o)
{
    char *jkt = ma_arena_alloc(ctx->arena, MA_JKT_LEN + 1);
    const char *why = "";
    if (!ctx->req.dpop.p)
        return MA_OK;
    struct ma_dpop_ask ask = {
        .method = ma_verb_name(ctx->req.verb),
        .url = ma_arena_printf(ctx->arena, "%s%.*s", ma_ctx_origin(ctx), (int)ctx->req.path.n,
                               (const char *)ctx->req.path.p),
        .nonce_required = !o->authenticated, /* wire contract U-89 */
        .place = MA_DPOP_TOKEN_ENDPOINT,
        /* Anybody can be a public client: its proofs take a place when they bring tokens (see ma_oauth_settle_proof).
         */
        .later = o->authenticated ? NULL : &o->proof,
    };
    if (!jkt || !ask.url)
        return MA_E_NOMEM;
    switch (ma_dpop_verify(ctx->app->dpop, ctx->arena, ctx->req.dpop, &ask, ctx->now_ms, jkt, &why)) {
    case MA_DPOP_OK:
        o->jkt = ma_span_of(jkt, MA_JKT_LEN);
        return MA_OK;
    case MA_DPOP_USE_NONCE:
        return ma_oauth_fail(ctx, 400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof");
    case MA_DPOP_BUSY:
        return MA_E_BUSY;
    case MA_DPOP_BAD:
    case MA_DPOP_REPLAYED:
        break;
    }
    return ma_oauth_fail(ctx, 400, "invalid_dpop_proof", why);
}

/* A proof that brought nothing may be shown again: tokens are bound to its key all the same, and need a grant. */
int ma_oauth_settle_proof(struct ma_ctx *ctx, struct ma_oauth *o)
{
    const char *why = "";
    if (o->proof.until_s == 0)
        return MA_OK;
    switch (ma_dpop_settle(ctx->app->dpop, MA_DPOP_TOKEN_ENDPOINT, &o->proof, ctx->now_ms, &why)) {
    case MA_DPOP_OK:
        o->proof.until_s = 0;
        return MA_OK;
    case MA_DPOP_BUSY:
        return MA_E_BUSY;
    case MA_DPOP_REPLAYED:
    case MA_DPOP_BAD:
    case MA_DPOP_USE_NONCE:
        break;
    }
    return ma_oauth_fail(ctx, 400, "invalid_dpop_proof", why);
}

int ma_oauth_require_dpop(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_span audience)
{
    const char *api = ma_api_audience(ctx);
    if (!api)
        return MA_E_NOMEM;
    bool needed = o->client->require_dpop || (ctx->state->api.require_dpop && ma_span_eq_str(audience, api));
    if (!needed || o->jkt.p)
        return MA_OK;
    return ma_oauth_fail(ctx, 400, "invalid_dpop_proof", "A DPoP proof is required.");
}

/* A client's own server speaks for its users: their address is the one that counts, when the client may name it. */
static void take_address(struct ma_ctx *ctx, const struct ma_oauth *o, bool *ret_taken)
{
    struct ma_addr user;
    struct ma_span named = ma_trim(ctx->req.auth0_forwarded_for);
    *ret_taken = o->authenticated && o->client->trusts_ip_header && named.n > 0 && ma_addr_parse(named, &user) == MA_OK;
    if (*ret_taken)
        ctx->req.client = user;
}

/* Its users' failures must not hold up a server that is known, unless it tells them apart. */
static int check_address(struct ma_ctx *ctx, const struct ma_oauth *o)
{
    bool taken = false;
    take_address(ctx, o, &taken);
    return o->authenticated && !taken ? MA_OK : ma_gate_address(ctx);
}

int ma_oauth_begin(struct ma_ctx *ctx, struct ma_oauth **ret)
{
    struct ma_oauth *o = ma_arena_zalloc(ctx->arena, sizeof *o);
    if (!o)
        return MA_E_NOMEM;
    ctx->scratch = o;
    *ret = o;
    int r = ma_oauth_params(ctx, &o->in);
    if (r == MA_OK)
        r = authenticate(ctx, o);
    if (r == MA_OK)
        r = ma_cors_check_client(ctx, o->client);
    if (r == MA_OK)
        r = check_address(ctx, o);
    return r == MA_OK ? check_dpop(ctx, o) : r;
}

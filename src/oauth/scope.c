/* SPDX-License-Identifier: Apache-2.0
 * What a client may have for a user: requested ∩ grant ∩ permissions, with the multi-resource policies
 * of refresh tokens, and consent.
 */
#include "int.h"

#include "ma/codec.h"

enum { AUDIENCE_ECHO_MAX = 200 };

/* --- lists of words --- */

static bool next_word(struct ma_span *rest, struct ma_span *word)
{
    while (rest->n > 0 && rest->p[0] == ' ')
        *rest = ma_span_of(rest->p + 1, rest->n - 1);
    const uint8_t *blank = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    *word = ma_span_of(rest->p, blank ? (size_t)(blank - rest->p) : rest->n);
    *rest = ma_span_of(rest->p + word->n, rest->n - word->n);
    return word->n > 0;
}

static bool has_span(struct ma_span list, struct ma_span word)
{
    struct ma_span w;
    while (next_word(&list, &w))
        if (ma_span_eq(w, word))
            return true;
    return false;
}

bool ma_scope_has(struct ma_span list, const char *word)
{
    return has_span(list, ma_span_str(word));
}

bool ma_scope_is_oidc(struct ma_span w)
{
    static const char *const names[] = {"openid", "profile", "email", "phone", "address", "offline_access"};
    for (size_t i = 0; i < MA_COUNT(names); i++)
        if (ma_span_eq_str(w, names[i]))
            return true;
    return false;
}

const char *ma_api_audience(struct ma_ctx *ctx)
{
    return ma_arena_printf(ctx->arena, "%s/me/", ma_ctx_origin(ctx));
}

/* --- limits of an audience --- */

struct limits {
    const struct ma_state_client *client;
    bool is_api;
    ma_scopes api;                     /* of this API's scopes */
    const struct ma_span_list *other;  /* another audience's; NULL: none */
    struct ma_span family;             /* a refresh: what was granted; p == NULL: no further limit */
    const struct ma_span_list *policy; /* a refresh: what the client's policy adds */
    bool refresh;                      /* OIDC scopes are those of the login, whatever the audience */
    bool family_limits;                /* scopes must be in family or policy */
};

static const char *no_access(struct ma_ctx *ctx, const struct ma_state_client *c, struct ma_span audience)
{
    if (audience.n > AUDIENCE_ECHO_MAX)
        return "The client is not authorized to access this resource server.";
    const char *text =
        ma_arena_printf(ctx->arena, "Client \"%.*s\" is not authorized to access resource server \"%.*s\".",
                        (int)c->client_id.n, (const char *)c->client_id.p, (int)audience.n, (const char *)audience.p);
    return text ? text : "The client is not authorized to access this resource server.";
}

static const char *api_limits(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span audience, struct limits *l)
{
    const struct ma_state_client *c = l->client;
    if (!ctx->state->api.active)
        return no_access(ctx, c, audience);
    /* Third-party clients cannot reach this API, whatever their grants say. */
    if (ctx->state->api.user_access_policy == MA_ACCESS_DENY_ALL || !c->is_first_party)
        return no_access(ctx, c, audience);
    l->api = ~(ma_scopes)0;
    if (ctx->state->api.user_access_policy == MA_ACCESS_REQUIRE_GRANT) {
        if (!c->has_grant)
            return no_access(ctx, c, audience);
        l->api = c->grant;
    }
    if (ctx->state->api.enforce_rbac)
        l->api &= ma_rbac_of(ctx, user);
    return NULL;
}

static const char *find_limits(struct ma_ctx *ctx, const struct ma_user *user, struct ma_span audience,
                               struct limits *l)
{
    const char *api = ma_api_audience(ctx);
    if (audience.n == 0)
        return NULL;
    l->is_api = api && ma_span_eq_str(audience, api);
    if (l->is_api)
        return api_limits(ctx, user, audience, l);
    const struct ma_state_audience *g = ma_state_grant(l->client, audience);
    /* This API at another public origin: its tokens are to be had there. */
    if (!g || ma_jose_is_own_audience(ctx->app->jose, audience))
        return no_access(ctx, l->client, audience);
    l->other = &g->scope;
    return NULL;
}

static bool may_have(const struct limits *l, struct ma_span w)
{
    bool oidc = ma_scope_is_oidc(w);
    if ((l->family_limits || (l->refresh && oidc)) && !has_span(l->family, w) &&
        !(l->policy && ma_span_list_has(l->policy, w)))
        return false;
    if (ma_span_eq_str(w, "offline_access"))
        return ma_state_client_may(l->client, "refresh_token");
    if (oidc)
        return true;
    if (l->is_api)
        return (ma_scope_parse(w) & l->api) != 0;
    return l->other && ma_span_list_has(l->other, w);
}

static void add(struct ma_buf *b, struct ma_span w)
{
    if (has_span(ma_buf_view(b), w))
        return;
    if (b->n > 0)
        ma_buf_byte(b, ' ');
    ma_buf_span(b, w);
}

static bool finish(struct ma_ctx *ctx, const struct limits *l, struct ma_span audience, struct ma_span wanted,
                   struct ma_granted *ret)
{
    struct ma_buf b;
    struct ma_span w;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_SCOPE_TEXT_MAX);
    while (next_word(&wanted, &w))
        if (may_have(l, w))
            add(&b, w);
    *ret = (struct ma_granted){
        .audience = audience.n ? audience : MA_LIT(""),
        .is_api = l->is_api,
        .scope = b.n ? ma_buf_view(&b) : MA_LIT(""),
        .consent = !l->client->is_first_party || !ctx->state->api.allow_skipping_user_consent,
    };
    ret->openid = ma_scope_has(ret->scope, "openid");
    ret->offline = ma_scope_has(ret->scope, "offline_access");
    return ma_buf_err(&b) == MA_OK;
}

/* The users of a connection are there for the clients it is enabled for, however they signed in. */
static const char *connection_problem(const struct ma_ctx *ctx, const struct ma_state_client *client,
                                      const struct ma_user *user)
{
    const struct ma_state_connection *c = user->connection.p ? ma_state_connection(ctx->state, user->connection) : NULL;
    return c && !ma_state_enabled_for(c, client->client_id) ? "The user's connection is not enabled for this client."
                                                            : NULL;
}

bool ma_scope_grant(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_user *user,
                    struct ma_span audience, struct ma_span scope, struct ma_granted *ret, const char **ret_why)
{
    struct limits l = {.client = client};
    *ret_why = connection_problem(ctx, client, user);
    if (!*ret_why)
        *ret_why = find_limits(ctx, user, audience, &l);
    if (*ret_why)
        return false;
    *ret_why = "The requested scope is too long.";
    return finish(ctx, &l, audience, scope, ret);
}

/* --- refresh --- */

static const struct ma_span_list *policy_for(const struct ma_state_client *c, struct ma_span audience)
{
    for (size_t i = 0; i < c->refresh.n_policies; i++)
        if (ma_span_eq(c->refresh.policies[i].audience, audience))
            return &c->refresh.policies[i].scope;
    return NULL;
}

/* Without a list of its own a refresh asks for all it may have. */
static struct ma_span everything(struct ma_ctx *ctx, const struct limits *l, const struct ma_family *f)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_SCOPE_TEXT_MAX);
    ma_buf_span(&b, f->scope);
    const struct ma_span_list *more = l->policy ? l->policy : l->other;
    for (size_t i = 0; more && i < more->n; i++)
        add(&b, more->v[i]);
    for (ma_scopes rest = l->is_api && !l->family_limits ? l->api : 0, bit; rest; rest &= ~bit) {
        bit = rest & (~rest + 1);
        if (ma_scope_name(bit))
            add(&b, ma_span_str(ma_scope_name(bit)));
    }
    return b.n ? ma_buf_view(&b) : MA_LIT("");
}

bool ma_scope_refresh(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_user *user,
                      const struct ma_family *f, struct ma_span audience, struct ma_span scope, struct ma_granted *ret,
                      const char **ret_why)
{
    struct ma_span target = audience.p ? audience : f->audience;
    bool original = ma_span_eq(target, f->audience);
    struct limits l = {.client = client, .refresh = true, .family = f->scope, .policy = policy_for(client, target)};
    *ret_why = connection_problem(ctx, client, user);
    if (!*ret_why)
        *ret_why = find_limits(ctx, user, target, &l);
    if (*ret_why)
        return false;
    if (!original && client->refresh.has_policies && !l.policy) {
        *ret_why = no_access(ctx, client, target);
        return false;
    }
    /* The original audience keeps to what was granted, and a policy is a list of what there is; otherwise the grant for
     * the audience is the limit (operator's contract 11). OIDC scopes are those of the login in every case. */
    l.family_limits = original || l.policy != NULL;
    struct ma_span wanted = scope.p ? scope : everything(ctx, &l, f);
    *ret_why = "The requested scope is too long.";
    if (!finish(ctx, &l, target, wanted, ret))
        return false;
    if (!has_span(f->scope, MA_LIT("openid")))
        ret->openid = false;
    ret->offline = ma_scope_has(f->scope, "offline_access");
    return true;
}

/* --- consent --- */

int ma_consent_covers(struct ma_ctx *ctx, const struct ma_state_client *client, struct ma_span user_id,
                      const struct ma_granted *g, bool *ret)
{
    struct ma_consent c;
    struct ma_span rest = g->scope, w;
    *ret = !g->consent;
    if (*ret)
        return MA_OK;
    int r = ma_consent_find(ctx->db, ctx->arena, user_id, client->client_id, g->audience, &c);
    if (r == MA_E_NOTFOUND || (r == MA_OK && c.expires_at && c.expires_at <= ctx->now_ms))
        return MA_OK;
    if (r < 0)
        return r;
    *ret = true;
    while (*ret && next_word(&rest, &w))
        *ret = has_span(c.scope, w);
    return MA_OK;
}

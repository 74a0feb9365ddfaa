/* SPDX-License-Identifier: Apache-2.0
 * Puts the assurance question of assurance.h together from snapshot and configuration.
 */
#include "int.h"

struct rules {
    bool required, skipped; /* some granted scope is under a rule of that kind */
    bool bare;              /* some granted scope is under none */
    uint32_t require;       /* what satisfies every rule that asks */
    int64_t max_age_s;      /* the shortest; -1: none */
};

static bool speaks_of(const struct ma_state_rule *rule, struct ma_span scope)
{
    for (size_t k = 0; k < rule->scope.n; k++)
        if (ma_span_eq(rule->scope.v[k], scope))
            return true;
    return false;
}

static void add_rule(struct rules *r, const struct ma_state_rule *rule)
{
    if (rule->skip) {
        r->skipped = true;
        return;
    }
    r->require = r->required ? r->require & rule->require : rule->require;
    if (rule->max_age_s >= 0 && (r->max_age_s < 0 || rule->max_age_s < r->max_age_s))
        r->max_age_s = rule->max_age_s;
    r->required = true;
}

/* Every granted scope is judged: what one rule lets off, another scope beside it may still ask for. */
static struct rules collect(const struct ma_ctx *ctx, const struct ma_state_client *client, struct ma_span scopes)
{
    struct rules r = {.max_age_s = -1};
    const struct ma_state *s = ctx->state;
    while (scopes.n > 0) {
        const uint8_t *blank = memchr(scopes.p, ' ', scopes.n);
        struct ma_span word = ma_span_of(scopes.p, blank ? (size_t)(blank - scopes.p) : scopes.n);
        bool ruled = ma_scope_is_oidc(word);
        for (size_t i = 0; i < s->n_rules; i++) {
            if (!ma_span_eq(s->rules[i].client_id, client->client_id) || !speaks_of(&s->rules[i], word))
                continue;
            ruled = true;
            add_rule(&r, &s->rules[i]);
        }
        r.bare |= !ruled;
        scopes = blank ? ma_span_of(blank + 1, scopes.n - word.n - 1) : MA_SPAN_NULL;
    }
    return r;
}

/* A rule that asks stands in for the Default Policy, which still holds for scopes without one; one that lets off does
 * so only when it speaks of all there is. */
static void apply(struct ma_assurance_in *in, const struct rules *r)
{
    if (r->required) {
        in->rule = MA_RULE_REQUIRE;
        in->rule_require = r->require;
        in->rule_max_age_ms = r->max_age_s < 0 ? -1 : r->max_age_s * 1000;
        if (in->default_policy && r->bare && (in->rule_max_age_ms < 0 || in->rule_max_age_ms > in->window_ms))
            in->rule_max_age_ms = in->window_ms;
    } else if (r->skipped && !r->bare) {
        in->rule = MA_RULE_SKIP;
    }
}

struct ma_assurance_out ma_assure(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_granted *g,
                                  uint32_t factors, const struct ma_authn *authn, bool login)
{
    struct rules rules = collect(ctx, client, g->scope);
    struct ma_assurance_in in = {
        .login = login,
        .tenant_mfa = ctx->state->tenant.mfa_policy != 0,
        .default_policy = ctx->state->api.require_2fa && g->is_api,
        .factors = factors,
        .authn = *authn,
        .passkey_satisfies = ctx->conf->policy.passkey_satisfies_2fa,
        .window_ms = ctx->conf->policy.step_up_window * 1000,
        .now_ms = ctx->now_ms,
    };
    apply(&in, &rules);
    return ma_assurance_decide(&in);
}

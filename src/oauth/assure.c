/* SPDX-License-Identifier: Apache-2.0
 * Puts the assurance question of assurance.h together from snapshot and configuration.
 */
#include "int.h"

/* The first rule of this client that speaks of a granted scope. */
static const struct ma_state_rule *find_rule(const struct ma_ctx *ctx, const struct ma_state_client *client,
                                             const struct ma_granted *g)
{
    const struct ma_state *s = ctx->state;
    for (size_t i = 0; i < s->n_rules; i++) {
        if (!ma_span_eq(s->rules[i].client_id, client->client_id))
            continue;
        for (size_t k = 0; k < s->rules[i].scope.n; k++)
            if (ma_scope_has(g->scope, (const char *)s->rules[i].scope.v[k].p))
                return &s->rules[i];
    }
    return NULL;
}

struct ma_assurance_out ma_assure(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_granted *g,
                                  uint32_t factors, const struct ma_authn *authn, bool login)
{
    const struct ma_state_rule *rule = find_rule(ctx, client, g);
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
    if (rule) {
        in.rule = rule->skip ? MA_RULE_SKIP : MA_RULE_REQUIRE;
        in.rule_require = rule->require;
        in.rule_max_age_ms = rule->max_age_s < 0 ? -1 : rule->max_age_s * 1000;
    }
    return ma_assurance_decide(&in);
}

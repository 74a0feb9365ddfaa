/* SPDX-License-Identifier: Apache-2.0
 * Rules above the Default Policy: what their factors are called, which are legal, and the snapshot's list.
 */
#include "ma/state.h"

#include "int.h"

#define BIT(f) (1u << (f))
#define SECURITY_KEYS (BIT(MA_FACTOR_WEBAUTHN_ROAMING) | BIT(MA_FACTOR_WEBAUTHN_PLATFORM))
#define SECOND_FACTORS                                                                                                 \
    (BIT(MA_FACTOR_TOTP) | BIT(MA_FACTOR_PHONE) | BIT(MA_FACTOR_EMAIL) | BIT(MA_FACTOR_PUSH) |                         \
     BIT(MA_FACTOR_RECOVERY) | SECURITY_KEYS)

static const struct name_row {
    const char *name;
    uint32_t factors;
} names[] = {
    {"otp", BIT(MA_FACTOR_TOTP)},
    {"totp", BIT(MA_FACTOR_TOTP)},
    {"phone", BIT(MA_FACTOR_PHONE)},
    {"sms", BIT(MA_FACTOR_PHONE)},
    {"voice", BIT(MA_FACTOR_PHONE)},
    {"email", BIT(MA_FACTOR_EMAIL)},
    {"push-notification", BIT(MA_FACTOR_PUSH)},
    {"push", BIT(MA_FACTOR_PUSH)},
    {"webauthn", SECURITY_KEYS},
    {"webauthn-roaming", BIT(MA_FACTOR_WEBAUTHN_ROAMING)},
    {"webauthn-platform", BIT(MA_FACTOR_WEBAUTHN_PLATFORM)},
    {"recovery-code", BIT(MA_FACTOR_RECOVERY)},
    {"passkey", BIT(MA_FACTOR_PASSKEY)},
    {"any", SECOND_FACTORS},
    {"mfa", SECOND_FACTORS},
};

uint32_t ma_rule_factors(struct ma_span name)
{
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        if (ma_span_eq_str(name, names[i].name))
            return names[i].factors;
    }
    return 0;
}

void ma_rule_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer)
{
    (void)e;
    const struct ma_doc_policy *p = &doc->policy;
    ma_check_client_exists(ap, p->client_id, pointer);
    ma_check_scopes(ap, &p->scope, pointer, "scope");
    if (p->scope.n == 0)
        ma_apply_error(ap, pointer, "/scope", "must NOT have fewer than 1 items");
    if (p->skip && (p->has_require || p->has_max_age))
        ma_apply_error(ap, pointer, "/skip", "must not be given together with 'require' or 'max_age'");
    if (!p->skip && (!p->has_require || p->require.n == 0))
        ma_apply_error(ap, pointer, "", "must have required property 'require' or 'skip'");
    for (size_t i = 0; i < p->require.n; i++) {
        if (ma_rule_factors(p->require.v[i]) == 0)
            ma_apply_error_item(ap, pointer, "require", i, "must be equal to one of the allowed values");
    }
}

static int load_rule(struct ma_load *l, const struct ma_object *o)
{
    struct ma_doc_policy d = {0};
    int rc = ma_load_decode(l, o, NULL, &ma_shape_policy, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state_rule *r = &l->rules[l->snap->pub.n_rules++];
    *r = (struct ma_state_rule){
        .client_id = d.client_id, .scope = d.scope, .max_age_s = d.has_max_age ? d.max_age : -1, .skip = d.skip};
    for (size_t i = 0; i < d.require.n; i++)
        r->require |= ma_rule_factors(d.require.v[i]);
    return MA_OK;
}

int ma_load_rules(struct ma_load *l)
{
    l->rules = ma_arena_calloc(l->a, ma_load_count(l, "policy") + 1, sizeof *l->rules);
    if (!l->rules)
        return MA_E_NOMEM;
    l->snap->pub.rules = l->rules;
    return ma_load_each(l, "policy", load_rule);
}

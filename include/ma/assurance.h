/* SPDX-License-Identifier: Apache-2.0
 * How well a user must have authenticated before a token is issued: tenant policy, then the Default
 * Policy of this API, then the rules of the state document, which override both. One pure function.
 */
#ifndef MA_ASSURANCE_H
#define MA_ASSURANCE_H

#include "ma/store.h"

/* The acr of a sign-in with a second factor, and the acr_values that asks for one. */
#define MA_ACR_MULTI_FACTOR "http://schemas.openid.net/pape/policies/2007/06/multi-factor"

enum ma_assurance_rule { MA_RULE_NONE, MA_RULE_SKIP, MA_RULE_REQUIRE };

struct ma_assurance_in {
    bool login;             /* the user signs in now; false: a refresh, or a silent request */
    bool tenant_mfa;        /* tenant.mfa_policy "always" */
    bool default_policy;    /* api.default_policy.require_2fa, and the token is for this API */
    uint32_t factors;       /* second factors the user could show, bit per enum ma_factor; a verified e-mail counts */
    struct ma_authn authn;  /* what was proven, and when */
    bool passkey_satisfies; /* a user-verified passkey is two factors in one */
    int64_t window_ms;      /* policy.step_up_window */
    int64_t now_ms;
    enum ma_assurance_rule rule;
    uint32_t rule_require;   /* REQUIRE: factors that satisfy it */
    int64_t rule_max_age_ms; /* of the proof; -1: any */
};
enum ma_assurance_verdict {
    MA_ASSURED,
    MA_ASSURE_CHALLENGE, /* a second factor must be shown: one of out.factors */
    MA_ASSURE_ENROLL,    /* at login only: one must be enrolled first: one of out.factors */
    MA_ASSURE_UNMET      /* unmet_authentication_requirements: the user must sign in again */
};
struct ma_assurance_out {
    enum ma_assurance_verdict verdict;
    uint32_t factors;
    bool offer;             /* MA_ASSURED at login, but the policy wants a factor and none is enrolled: offer it */
    int64_t token_until_ms; /* an access token must not outlive this; 0: no bound (operator's contract 13) */
};
/* Decision table of the wire contract 6.2: with a factor: the last second factor lies within the window, its end
 * included; without any: the login does, and at login nothing is asked. Tenant policy "always": a second factor was
 * shown in this session; without any factor one must be enrolled at login. A rule replaces both: SKIP asks for nothing,
 * REQUIRE for one of its factors within its age; who has none of them, but others, shows one of those within the window
 * before the required one is enrolled. A passkey that was the first factor is not offered as the second.
 * Of several second factors the last one alone stays in amr (ma_amr_first). A passkey that
 * signed in is no second factor to itself: whoever has nothing else has none (6.2, row 2).
 * token_until_ms may be now, at the very end of a window: the issuer gives such a token a second. */
struct ma_assurance_out ma_assurance_decide(const struct ma_assurance_in *in);

/* When a second factor was shown last, a user-verified passkey counting where it may; 0: never. */
int64_t ma_assurance_mfa_at(const struct ma_authn *a, bool passkey_satisfies);
/* The amr bits of the first factor, which stay when another second factor is shown: a password, or the passkey that
 * stood in its place. Beside a password a passkey is a second factor. */
uint32_t ma_amr_first(uint32_t amr);
/* The amr bits that show one of these factors. */
uint32_t ma_amr_of_factors(uint32_t factors);
/* Names for the amr claim (RFC 8176, and "phr", "mfa"); NULL-terminated, static storage in ret. */
#define MA_AMR_NAMES_MAX 12
void ma_amr_names(uint32_t amr, const char *ret[MA_AMR_NAMES_MAX]);
/* What goes into the auth_time claim: when what amr shows was shown last. Seconds. */
int64_t ma_auth_time(const struct ma_authn *a);

#endif

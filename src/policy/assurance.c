/* SPDX-License-Identifier: Apache-2.0
 * The assurance decision: what was proven, when, and whether that is enough for a token.
 */
#include "ma/assurance.h"

/* Times of our own making lie in the future only where a clock was set back; a little of that is forgiven. */
enum { CLOCK_SLACK_MS = 60000 };

/* What counts as a second factor, and so may be enrolled as one. */
#define SECOND_FACTORS                                                                                                 \
    (1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL | 1u << MA_FACTOR_PUSH |                     \
     1u << MA_FACTOR_WEBAUTHN_PLATFORM | 1u << MA_FACTOR_WEBAUTHN_ROAMING | 1u << MA_FACTOR_PASSKEY)

static const uint32_t amr_of[MA_FACTOR__COUNT] = {
    [MA_FACTOR_PASSWORD] = MA_AMR_PWD,
    [MA_FACTOR_PASSKEY] = MA_AMR_PASSKEY,
    [MA_FACTOR_WEBAUTHN_PLATFORM] = MA_AMR_HWK,
    [MA_FACTOR_WEBAUTHN_ROAMING] = MA_AMR_HWK,
    [MA_FACTOR_TOTP] = MA_AMR_OTP,
    [MA_FACTOR_PHONE] = MA_AMR_SMS,
    [MA_FACTOR_EMAIL] = MA_AMR_EMAIL,
    [MA_FACTOR_PUSH] = MA_AMR_PUSH,
    [MA_FACTOR_RECOVERY] = MA_AMR_RECOVERY,
};

uint32_t ma_amr_of_factors(uint32_t factors)
{
    uint32_t amr = 0;
    for (unsigned f = 0; f < MA_FACTOR__COUNT; f++)
        if (factors & 1u << f)
            amr |= amr_of[f];
    return amr;
}

uint32_t ma_amr_first(uint32_t amr)
{
    return amr & MA_AMR_PWD ? amr & MA_AMR_PWD : amr & (MA_AMR_PASSKEY | MA_AMR_UV);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t ma_assurance_mfa_at(const struct ma_authn *a, bool passkey_satisfies)
{
    const uint32_t verified = MA_AMR_PASSKEY | MA_AMR_UV;
    int64_t shown = a->amr & MA_AMR_MFA ? a->mfa_at : 0;
    return passkey_satisfies && (a->amr & verified) == verified ? later(shown, a->auth_at) : shown;
}

int64_t ma_auth_time(const struct ma_authn *a)
{
    return later(a->auth_at, a->amr & MA_AMR_MFA ? a->mfa_at : 0) / 1000;
}

/* RFC 8176 §2; "phr" is OpenID's word for phishing-resistant, "mca" covers a question on another device. */
void ma_amr_names(uint32_t amr, const char *ret[MA_AMR_NAMES_MAX])
{
    static const struct {
        uint32_t all, any; /* every bit of the one, some bit of the other */
        const char *name;
    } names[] = {
        {MA_AMR_PWD, ~0u, "pwd"},
        {MA_AMR_PASSKEY, ~0u, "pop"},
        {MA_AMR_PASSKEY | MA_AMR_UV, ~0u, "phr"},
        {0, MA_AMR_OTP | MA_AMR_EMAIL | MA_AMR_RECOVERY, "otp"},
        {MA_AMR_SMS, ~0u, "sms"},
        {MA_AMR_HWK, ~0u, "hwk"},
        {MA_AMR_PUSH, ~0u, "mca"},
        {MA_AMR_MFA, ~0u, "mfa"},
    };
    _Static_assert(MA_COUNT(names) < MA_AMR_NAMES_MAX, "the list ends with NULL");
    size_t n = 0;
    for (size_t i = 0; i < MA_COUNT(names); i++)
        if ((amr & names[i].all) == names[i].all && (amr & names[i].any))
            ret[n++] = names[i].name;
    ret[n] = NULL;
}

/* The end of the window is inside it. at_ms 0: never. */
static bool within(const struct ma_assurance_in *in, int64_t at_ms, int64_t window_ms)
{
    return at_ms > 0 && at_ms <= in->now_ms + CLOCK_SLACK_MS && in->now_ms - at_ms <= window_ms;
}

static bool passkey_first(const struct ma_authn *a)
{
    return (ma_amr_first(a->amr) & MA_AMR_PASSKEY) != 0;
}

/* A passkey that was the first factor is not the second one as well. */
static uint32_t showable(const struct ma_assurance_in *in)
{
    return passkey_first(&in->authn) ? in->factors & ~(1u << MA_FACTOR_PASSKEY) : in->factors;
}

static struct ma_assurance_out ask(const struct ma_assurance_in *in, uint32_t factors, uint32_t enrollable)
{
    if (factors)
        return (struct ma_assurance_out){.verdict = MA_ASSURE_CHALLENGE, .factors = factors};
    if (in->login)
        return (struct ma_assurance_out){.verdict = MA_ASSURE_ENROLL, .factors = enrollable};
    return (struct ma_assurance_out){.verdict = MA_ASSURE_UNMET};
}

/* When one of these factors was shown; 0: it was not. A passkey that signed in was shown then, not when some second
 * factor was. */
static int64_t shown_at(const struct ma_authn *a, uint32_t factors)
{
    uint32_t second = a->amr & MA_AMR_MFA ? a->amr & ~ma_amr_first(a->amr) : 0;
    int64_t at = second & ma_amr_of_factors(factors) ? a->mfa_at : 0;
    return passkey_first(a) && factors & 1u << MA_FACTOR_PASSKEY ? later(at, a->auth_at) : at;
}

static struct ma_assurance_out by_rule(const struct ma_assurance_in *in)
{
    const int64_t mfa_at = ma_assurance_mfa_at(&in->authn, in->passkey_satisfies);
    const uint32_t factors = showable(in), wanted = factors & in->rule_require;
    const int64_t at = shown_at(&in->authn, in->rule_require);
    if (in->rule_max_age_ms < 0 ? at > 0 : within(in, at, in->rule_max_age_ms))
        return (struct ma_assurance_out){.token_until_ms = in->rule_max_age_ms < 0 ? 0 : at + in->rule_max_age_ms};
    /* Nobody adds the required factor with a password alone who has another one to show. */
    bool shows_first = in->login && !wanted && !within(in, mfa_at, in->window_ms);
    return ask(in, shows_first ? factors : wanted, in->rule_require);
}

/* Wire contract 6.2. */
static struct ma_assurance_out by_default(const struct ma_assurance_in *in, int64_t mfa_at)
{
    uint32_t factors = showable(in);
    int64_t at = factors ? mfa_at : later(mfa_at, in->authn.auth_at);
    struct ma_assurance_out ok = {.token_until_ms = at + in->window_ms};
    if (within(in, at, in->window_ms)) {
        ok.offer = in->login && mfa_at == 0 && !factors;
        return ok;
    }
    if (factors)
        return (struct ma_assurance_out){.verdict = MA_ASSURE_CHALLENGE, .factors = factors};
    return (struct ma_assurance_out){.verdict = MA_ASSURE_UNMET};
}

struct ma_assurance_out ma_assurance_decide(const struct ma_assurance_in *in)
{
    struct ma_assurance_out out = {.verdict = MA_ASSURED};
    if (in->rule == MA_RULE_SKIP)
        return out;
    if (in->rule == MA_RULE_REQUIRE)
        return by_rule(in);
    int64_t mfa_at = ma_assurance_mfa_at(&in->authn, in->passkey_satisfies);
    if (in->default_policy)
        out = by_default(in, mfa_at);
    if (out.verdict == MA_ASSURED && in->tenant_mfa && mfa_at == 0)
        return ask(in, showable(in), SECOND_FACTORS);
    return out;
}

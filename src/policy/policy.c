/* SPDX-License-Identifier: Apache-2.0
 * The policy decision: a chain of questions, the first failing one names the verdict.
 */
#include "ma/policy.h"

static bool client_needed(const struct ma_policy_in *in)
{
    return in->access == MA_PA_REQUIRE_GRANT;
}

static enum ma_policy_verdict who_may_call(const struct ma_policy_in *in)
{
    if (in->client_credentials)
        return MA_PV_MACHINE;
    if (!in->user_known)
        return MA_PV_UNKNOWN_USER;
    if (in->user_blocked)
        return MA_PV_BLOCKED;
    if (in->user_leaving)
        return MA_PV_LEAVING;
    if (in->access == MA_PA_DENY_ALL)
        return MA_PV_DENY_ALL;
    /* A client nobody registered cannot be judged first-party, so it is refused under every access policy. */
    if (!in->client_known)
        return MA_PV_UNKNOWN_CLIENT;
    if (!in->client_first_party)
        return MA_PV_THIRD_PARTY;
    if (client_needed(in) && !in->client_has_grant)
        return MA_PV_NO_GRANT;
    return MA_PV_ALLOW;
}

static ma_scopes effective_scopes(const struct ma_policy_in *in)
{
    ma_scopes s = in->token_scopes;
    if (client_needed(in))
        s &= in->grant;
    if (in->enforce_rbac)
        s &= in->rbac;
    return s;
}

/* RFC 9470: a user with a factor needs a recent second factor, a user without any a recent login. A claim that
 * is missing shows nothing. The end of the window is inside it. */
static bool fresh_enough(const struct ma_policy_in *in)
{
    const int64_t leeway_s = 60;
    if (in->auth_time_s < 0 || in->auth_time_s > in->now_s + leeway_s)
        return false;
    if (in->now_s - in->auth_time_s > in->window_s)
        return false;
    return in->amr_mfa || !in->has_factor;
}

struct ma_policy_out ma_policy_decide(const struct ma_policy_in *in)
{
    struct ma_policy_out out = {.verdict = who_may_call(in)};
    if (out.verdict != MA_PV_ALLOW)
        return out;
    out.effective = effective_scopes(in);
    out.missing = in->route_scopes & ~out.effective;
    if (out.missing)
        out.verdict = MA_PV_SCOPE;
    else if (in->require_2fa && !fresh_enough(in))
        out.verdict = MA_PV_STEP_UP;
    return out;
}

const char *ma_policy_text(enum ma_policy_verdict v)
{
    switch (v) {
    case MA_PV_ALLOW:
        return "allowed";
    case MA_PV_UNKNOWN_USER:
        return "The token's user is not known here.";
    case MA_PV_BLOCKED:
        return "The user is blocked.";
    case MA_PV_LEAVING:
        return "The account is about to be deleted. It can only be kept: POST /me/v1/account/restore.";
    case MA_PV_MACHINE:
        return "Tokens from the client credentials grant cannot use this API: client access is deny_all.";
    case MA_PV_DENY_ALL:
        return "The API's user access policy is deny_all.";
    case MA_PV_UNKNOWN_CLIENT:
        return "The token's client is not registered here.";
    case MA_PV_THIRD_PARTY:
        return "Third-party clients cannot use this API.";
    case MA_PV_NO_GRANT:
        return "The client has no user grant for this API: add a client_grants entry with subject_type \"user\".";
    case MA_PV_SCOPE:
        return "The auth token lacks the required scope.";
    case MA_PV_STEP_UP:
        return "A fresh second factor is required.";
    }
    return "denied";
}

/* SPDX-License-Identifier: Apache-2.0
 * Who may do what: one pure function over (principal, route, state), evaluated in the order the
 * verdicts are listed, each with an error of its own.
 */
#ifndef MA_POLICY_H
#define MA_POLICY_H

#include "ma/scope.h"

enum ma_policy_access { MA_PA_REQUIRE_GRANT, MA_PA_ALLOW_ALL, MA_PA_DENY_ALL };

/* Everything the decision depends on, by value. */
struct ma_policy_in {
    bool user_known, user_blocked;
    bool user_leaving;       /* and this is not the way back */
    bool client_credentials; /* gty, "@clients", or sub == client id */
    enum ma_policy_access access;
    bool client_known, client_first_party, client_has_grant;
    ma_scopes grant;
    bool enforce_rbac;
    ma_scopes rbac; /* roles and direct permissions */
    ma_scopes token_scopes;
    ma_scopes route_scopes;
    bool require_2fa;    /* Default Policy on and enforced at the API */
    bool has_factor;     /* any enrolled second factor, a verified e-mail included */
    bool amr_mfa;        /* the token shows a second factor */
    int64_t auth_time_s; /* -1: the token shows none */
    int64_t now_s, window_s;
};

enum ma_policy_verdict {
    MA_PV_ALLOW,
    MA_PV_MACHINE,        /* 403: client-credentials token; first, as its subject is never a known user */
    MA_PV_UNKNOWN_USER,   /* 403 */
    MA_PV_BLOCKED,        /* 403 */
    MA_PV_LEAVING,        /* 403 */
    MA_PV_DENY_ALL,       /* 403 */
    MA_PV_UNKNOWN_CLIENT, /* 403 */
    MA_PV_THIRD_PARTY,    /* 403 */
    MA_PV_NO_GRANT,       /* 403 */
    MA_PV_SCOPE,          /* 403, insufficient scope */
    MA_PV_STEP_UP         /* 401, RFC 9470 */
};

struct ma_policy_out {
    enum ma_policy_verdict verdict;
    ma_scopes effective; /* token ∩ grant ∩ RBAC */
    ma_scopes missing;   /* what the route needs and the caller lacks */
};

/* Pure: no clock, no I/O. */
struct ma_policy_out ma_policy_decide(const struct ma_policy_in *in);
/* A sentence for the error's detail; static. */
const char *ma_policy_text(enum ma_policy_verdict v);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the files of the token service share: parameters, clients, scopes, tokens.
 *
 * A request at the token endpoint runs: prepare (parameters, client, DPoP proof; inline) → CPU or NET where the grant
 * needs it → WRITE (every change of state) → READ (ma_issue_reply signs and answers). Signing is never done by the
 * writer.
 */
#ifndef MA_OAUTH_INT_H
#define MA_OAUTH_INT_H

#include "ma/app.h"
#include "ma/assurance.h"
#include "ma/dpop.h"
#include "ma/id.h"
#include "ma/leaving.h"
#include "ma/oauth.h"
#include "ma/signin.h"
#include "ma/web.h"

#define MA_ID_TOKEN_TTL_S 36000
#define MA_CODE_TTL_MS 60000     /* authorization codes */
#define MA_MFA_TTL_MS 300000     /* mfa_tokens */
#define MA_LOGIN_TTL_MS 1800000  /* hosted logins under way */
#define MA_PASSKEY_TTL_MS 300000 /* passkey challenges */
#define MA_FLOWS_PER_MINUTE 300  /* sign-ins that one address may begin: each leaves a row behind for a while */
#define MA_FORMS_PER_FLOW 60     /* forms a minute of one hosted login: each may write its row */
#define MA_FORMS_PER_MINUTE 600  /* forms a minute that one address sends */
#define MA_CONSENT_TTL_MS (365 * 86400000LL)
#define MA_SCOPE_TEXT_MAX 8192
#define MA_DATA_MAX 16384 /* bytes of JSON kept with a flow or a code */

/* --- answers (answer.c) --- */

/* {"error","error_description"} (RFC 6749 §5.2). description is static or arena. Returns MA_E_PROBLEM. */
int ma_oauth_fail(struct ma_ctx *ctx, int status, const char *error, const char *description);
/* 401 invalid_client, with WWW-Authenticate: Basic where the client tried that. */
int ma_oauth_fail_client(struct ma_ctx *ctx, const char *description);
/* Headers of answers that hold tokens: no-store, and a fresh DPoP-Nonce where a proof came with the request. */
void ma_oauth_headers(struct ma_ctx *ctx);
/* What a verdict of signin.h other than OK is at the token endpoint: 403 invalid_grant with `wrong`, 429
 * too_many_attempts, expired_token … Returns MA_E_PROBLEM. */
int ma_oauth_fail_verdict(struct ma_ctx *ctx, enum ma_signin_verdict v, int64_t retry_after_s, const char *wrong);

/* --- parameters (params.c) --- */

/* Every parameter of the POST endpoints, from a form or a JSON body alike; p == NULL: not there. JSON values other than
 * strings are kept as JSON text: authn_response, user_profile and user_metadata are objects, authenticator_types and
 * oob_channels arrays. */
#define MA_OAUTH_PARAMS(X)                                                                                             \
    X(grant_type)                                                                                                      \
    X(client_id)                                                                                                       \
    X(client_secret)                                                                                                   \
    X(client_assertion)                                                                                                \
    X(client_assertion_type)                                                                                           \
    X(code)                                                                                                            \
    X(redirect_uri)                                                                                                    \
    X(code_verifier)                                                                                                   \
    X(refresh_token)                                                                                                   \
    X(audience)                                                                                                        \
    X(scope)                                                                                                           \
    X(organization)                                                                                                    \
    X(username)                                                                                                        \
    X(password)                                                                                                        \
    X(realm)                                                                                                           \
    X(auth_session)                                                                                                    \
    X(authn_response)                                                                                                  \
    X(user_profile)                                                                                                    \
    X(user_metadata)                                                                                                   \
    X(mfa_token)                                                                                                       \
    X(otp)                                                                                                             \
    X(oob_code)                                                                                                        \
    X(binding_code)                                                                                                    \
    X(recovery_code)                                                                                                   \
    X(challenge_type)                                                                                                  \
    X(authenticator_id)                                                                                                \
    X(authenticator_types)                                                                                             \
    X(oob_channels)                                                                                                    \
    X(phone_number)                                                                                                    \
    X(email)                                                                                                           \
    X(subject_token)                                                                                                   \
    X(subject_token_type)                                                                                              \
    X(requested_token_type)                                                                                            \
    X(connection)                                                                                                      \
    X(login_hint)                                                                                                      \
    X(token)                                                                                                           \
    X(token_type_hint)

struct ma_oauth_params {
#define MA_OAUTH_PARAM(name) struct ma_span name;
    MA_OAUTH_PARAMS(MA_OAUTH_PARAM)
#undef MA_OAUTH_PARAM
};
/* Reads application/x-www-form-urlencoded or application/json. Unknown parameters are ignored; one that stands twice is
 * invalid_request (RFC 6749 §3.1), an empty one counts as absent (§3.1). An answer otherwise. */
MA_MUST_USE int ma_oauth_params(struct ma_ctx *ctx, struct ma_oauth_params *ret);
/* The JSON text of a parameter that may be an object, or a string that holds one; p == NULL when neither. arena. */
struct ma_span ma_oauth_object(struct ma_ctx *ctx, struct ma_span raw);
/* 400 invalid_request "Missing required parameter: <name>". */
int ma_oauth_missing(struct ma_ctx *ctx, const char *name);

/* --- a request of a client (client.c) --- */

/* ctx->scratch of every POST of the token service. */
struct ma_oauth {
    struct ma_oauth_params in;
    const struct ma_state_client *client;
    bool authenticated;        /* the client proved who it is; public clients never do */
    struct ma_span jkt;        /* thumbprint of the DPoP proof that came along; p == NULL: none */
    struct ma_dpop_used proof; /* to be remembered when tokens are issued; until_s 0: nothing is */
    const char *refusal;       /* why the client was not believed */
    struct ma_issue *issue;
    void *more; /* what one step of a grant leaves for the next */
};
/* Parameters, client authentication (RFC 6749 §2.3, RFC 7523 §3; by whatever the client is registered for), origin
 * check, and a DPoP proof when one came. MA_OK with *ret in ctx->scratch, or an answer. Inline. */
MA_MUST_USE int ma_oauth_begin(struct ma_ctx *ctx, struct ma_oauth **ret);
/* Remembers the proof of a request that is about to get tokens: MA_OK, or an answer. Any lane. */
MA_MUST_USE int ma_oauth_settle_proof(struct ma_ctx *ctx, struct ma_oauth *o);
/* Whether the client must bind its tokens: its own switch, or the API's for this audience. A proof is there, or an
 * answer is recorded. */
MA_MUST_USE int ma_oauth_require_dpop(struct ma_ctx *ctx, const struct ma_oauth *o, struct ma_span audience);

/* Takes one of the sign-ins that the client's address may begin: MA_OK, or a 429. Nothing while rate_limit.enabled is
 * false. */
MA_MUST_USE int ma_oauth_flow_limit(struct ma_ctx *ctx);

/* --- who may go on trying (gate.c); the buckets are off while rate_limit.enabled is false --- */

/* Whether the address has failures left (rate_limit.address_failures), or a 429; from here on they count. Inline. */
MA_MUST_USE int ma_gate_address(struct ma_ctx *ctx);
/* An answer with this error is being made: a failure of the address when it is one and counts. Any lane. */
void ma_gate_failed(struct ma_ctx *ctx, const char *error);
/* True at most once a minute for `what` about `whom`: bounds the rows and lines that anybody can cause. */
bool ma_gate_notice(struct ma_ctx *ctx, const char *what, struct ma_span whom);
/* Whether this client may still fail to authenticate from this address, or a 429. */
MA_MUST_USE int ma_gate_client(struct ma_ctx *ctx, const struct ma_state_client *client);
/* It did fail: counted, told to the operator once a minute, answered 401. */
int ma_gate_client_failed(struct ma_ctx *ctx, struct ma_oauth *o, const char *why);

/* One more form of a hosted login (its flow's MAC): MA_OK, or a page with 429. */
MA_MUST_USE int ma_gate_form(struct ma_ctx *ctx, struct ma_span flow_mac);

/* --- scopes (scope.c) --- */

struct ma_granted {
    struct ma_span audience; /* "" : userinfo only. arena or state */
    bool is_api;             /* the audience is this daemon's API at this public origin */
    struct ma_span scope;    /* granted, blank-separated, in the order asked for; arena */
    bool openid, offline;
    bool consent; /* consent must be there (or asked for) before this may be issued */
};
/* requested ∩ client grant (everything under allow_all) ∩ the user's permissions when RBAC is enforced. scope.p NULL at
 * first issue: nothing but what needs no scope. An unknown or forbidden audience: false, with *ret_why for people. */
bool ma_scope_grant(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_user *user,
                    struct ma_span audience, struct ma_span scope, struct ma_granted *ret, const char **ret_why);
/* The same for a refresh: the family's scopes, its client's multi-resource policies, and all limits above. */
bool ma_scope_refresh(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_user *user,
                      const struct ma_family *f, struct ma_span audience, struct ma_span scope, struct ma_granted *ret,
                      const char **ret_why);
/* Whether `word` stands in a blank-separated list. */
bool ma_scope_has(struct ma_span list, const char *word);
/* openid, profile, email, phone, address, offline_access. */
bool ma_scope_is_oidc(struct ma_span word);
/* This daemon's API at the request's public origin: "<origin>/me/". arena. */
const char *ma_api_audience(struct ma_ctx *ctx);
/* Whether what the client may have needs no consent, or a stored one covers it. Any lane. */
MA_MUST_USE int ma_consent_covers(struct ma_ctx *ctx, const struct ma_state_client *client, struct ma_span user_id,
                                  const struct ma_granted *g, bool *ret);

/* --- users who are about to be deleted (leaving.c) --- */

/* Whether this user may not have this: while there is time they may sign in for a token that only keeps the account. */
bool ma_leaving_stops(const struct ma_ctx *ctx, const struct ma_user *u, const struct ma_granted *g);
/* MA_OK, or the answer of the token service. */
MA_MUST_USE int ma_refuse_leaving(struct ma_ctx *ctx, const struct ma_user *u, const struct ma_granted *g);

/* --- assurance (assure.c) --- */

/* The assurance question for this user, client and grant. factors: bits of ma_factors_bits. login: see assurance.h. */
struct ma_assurance_out ma_assure(struct ma_ctx *ctx, const struct ma_state_client *client, const struct ma_granted *g,
                                  uint32_t factors, const struct ma_authn *authn, bool login);

/* --- what is to be issued (issue.c) --- */

struct ma_issue {
    const struct ma_state_client *client;
    struct ma_user user;
    struct ma_granted granted;
    struct ma_authn authn;
    struct ma_span org_id, nonce, session_id, jkt; /* p == NULL: none */
    struct ma_span sid;                            /* of the access token, where session_id is not; p == NULL: none */
    const char *jti;                               /* of the access token; NULL: a random one */
    const char *gty;                               /* "password", "refresh_token"; NULL: none */
    const char *refresh_token;                     /* goes into the answer; NULL: none. arena */
    const char *recovery_code;                     /* a new one, shown once; NULL: none */
    int64_t token_until_ms;                        /* of ma_assurance_out */
};
/* READ step: signs access token and id_token of ((struct ma_oauth *)ctx->scratch)->issue and answers 200
 * (RFC 6749 §5.1, RFC 9068, OIDC Core §3.1.3.3). */
int ma_issue_reply(struct ma_ctx *ctx);

/* Whether an access token that verifies was revoked all the same; true when it cannot be told. */
MA_MUST_USE int ma_access_revoked(struct ma_ctx *ctx, const struct ma_token *t, bool *ret);

/* The claims about the user that these scopes open (OIDC Core §5.4). */
void ma_put_user_claims(struct ma_jw *w, const struct ma_user *u, struct ma_span scope);

/* A new family for this issue, when it has offline access and the client may refresh; sets refresh_token. Write.
 * ret_family (22 characters and NUL) is "" when none was made. */
#define MA_FAMILY_ID_LEN 22
MA_MUST_USE int ma_family_begin(struct ma_ctx *ctx, struct ma_issue *is, char ret_family[MA_FAMILY_ID_LEN + 1]);
/* The text of a family's token of some generation; arena, NULL on failure. */
const char *ma_refresh_text(struct ma_ctx *ctx, const struct ma_family *f, int64_t generation);
/* The family and generation a refresh token names, once its MAC was checked; MA_E_AUTH when it is none of ours. */
MA_MUST_USE int ma_refresh_find(struct ma_ctx *ctx, struct ma_span text, struct ma_family *ret,
                                int64_t *ret_generation);
/* Exchanges the token: rotates when the client's tokens do (leeway included), else touches; sets is->refresh_token.
 * MA_E_AUTH: reuse was detected, the family is revoked and the caller keeps the transaction. Write. */
MA_MUST_USE int ma_family_continue(struct ma_ctx *ctx, struct ma_issue *is, const struct ma_family *f,
                                   int64_t generation);

/* --- a second factor before the tokens (mfa_flow.c) --- */

/* Wrong codes that end an mfa_token or a hosted login. More than one challenge allows, and than the user's bucket
 * usually does: this bound stands when that bucket is switched off. */
#define MA_FLOW_TRIES 20

/* What an mfa_token stands for: the issue that waits. Kept as JSON in flows.data. */
struct ma_pending {
    struct ma_span audience, scope; /* as granted */
    struct ma_span org_id, nonce, session_id, jkt, gty;
    struct ma_span family_id; /* a refresh that waits; p == NULL: a new login */
    int64_t generation;       /* of the refresh token that was shown */
    struct ma_authn authn;
    uint32_t factors;                                 /* that satisfy, bit per enum ma_factor */
    struct ma_span enrol_method, enrol_session;       /* /mfa/associate under way; p == NULL: none */
    struct ma_span recovery_method, recovery_session; /* the recovery code that is confirmed along with it */
};
/* 403 mfa_required (wire contract 6.3) with a fresh mfa_token and mfa_requirements: "challenge" with the types of
 * `choices` that count, or "enroll". Write; keeps the transaction. Returns MA_E_PROBLEM. */
int ma_mfa_required(struct ma_ctx *ctx, const struct ma_issue *is, const struct ma_family *f, int64_t generation,
                    const struct ma_assurance_out *need, const struct ma_factor_choice *choices, size_t n);
/* The issue behind an mfa_token that was proven with `amr`; consumes the flow, steps a family up or begins one. Write.
 * Then ma_next(ctx, MA_LANE_READ, ma_issue_reply). An answer when the flow is over or the user may no more. */
MA_MUST_USE int ma_mfa_complete(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_flow *flow, uint32_t amr);
MA_MUST_USE int ma_pending_read(struct ma_ctx *ctx, struct ma_span json, struct ma_pending *ret);
MA_MUST_USE int ma_pending_write(struct ma_ctx *ctx, const struct ma_pending *in, struct ma_span *ret);
/* What mfa_requirements and authenticators call a factor: "otp", "phone", "email", "push-notification",
 * "recovery-code", "webauthn-roaming", "webauthn-platform". Static. */
const char *ma_mfa_type(enum ma_factor f);

/* Finishes a first factor that was proven by an embedded grant (password, passkey): factors, assurance, then a new
 * issue or mfa_required. Write; ends with MA_E_NEXT to ma_issue_reply or an answer. */
MA_MUST_USE int ma_login_finish(struct ma_ctx *ctx, struct ma_oauth *o, const struct ma_user *user,
                                const struct ma_authn *authn, const char *gty);

/* Passes on what ma_login_finish or ma_mfa_complete returned (r); where the tokens are on their way, the sign-in is
 * complete and leaves its audit row. Write. */
MA_MUST_USE int ma_signed_in(struct ma_ctx *ctx, const struct ma_oauth *o, int r);

/* The organization that was asked for, when the user is a member; ret p == NULL when none was. An answer otherwise. */
MA_MUST_USE int ma_organization_of(struct ma_ctx *ctx, struct ma_span wanted, struct ma_span user_id,
                                   struct ma_span *ret);
/* Whether the user still belongs to the organization that was chosen at sign-in (p == NULL: none): MA_OK or a 403. */
MA_MUST_USE int ma_still_member(struct ma_ctx *ctx, struct ma_span org_id, struct ma_span user_id);
/* MA_OK, or 403 consent_required. */
MA_MUST_USE int ma_require_consent(struct ma_ctx *ctx, const struct ma_issue *is);
/* 403 unmet_authentication_requirements. */
int ma_oauth_unmet(struct ma_ctx *ctx);

/* --- the authorization request (request.c) --- */

enum ma_response_mode { MA_MODE_QUERY, MA_MODE_FRAGMENT, MA_MODE_FORM_POST, MA_MODE_WEB_MESSAGE };
/* What /authorize was asked for; kept as JSON in flows.data and codes.data. Spans p == NULL: not given. */
struct ma_authorize_request {
    struct ma_span client_id, redirect_uri, state, nonce, scope, audience, organization, connection, login_hint;
    struct ma_span acr_values, code_challenge, dpop_jkt, screen_hint, ui_locales;
    struct ma_span hint_sub; /* of the id_token_hint: nobody else's sign-in is an answer */
    bool redirect_implied;   /* redirect_uri was left out: the client has just one */
    int mode;                /* enum ma_response_mode */
    bool prompt_none, prompt_login, prompt_consent, prompt_select;
    int64_t max_age_s; /* -1: not given */
    /* once the user is known (codes.data; hosted logins) */
    struct ma_span granted_scope, granted_audience, org_id;
    struct ma_authn authn;
};
MA_MUST_USE int ma_request_write(struct ma_ctx *ctx, const struct ma_authorize_request *in, struct ma_span *ret);
MA_MUST_USE int ma_request_read(struct ma_ctx *ctx, struct ma_span json, struct ma_authorize_request *ret);
/* A code for this request, session and user (granted_*, authn and org_id are set). Write. */
MA_MUST_USE int ma_code_make(struct ma_ctx *ctx, const struct ma_authorize_request *req, struct ma_span user_id,
                             struct ma_span session_id, char ret_code[MA_TOKEN_LEN + 1]);

/* --- operations of the route table; *_prepare run inline --- */
int ma_op_token(struct ma_ctx *ctx);
int ma_op_revoke(struct ma_ctx *ctx);
int ma_op_introspect(struct ma_ctx *ctx);
int ma_op_userinfo(struct ma_ctx *ctx);
int ma_op_discovery(struct ma_ctx *ctx);
int ma_op_authorize(struct ma_ctx *ctx);   /* GET and POST /authorize */
int ma_op_login_page(struct ma_ctx *ctx);  /* GET /u/login */
int ma_op_login_wait(struct ma_ctx *ctx);  /* GET /u/login/wait: whether the page still waits for a device */
int ma_op_login_post(struct ma_ctx *ctx);  /* POST /u/login */
int ma_op_logout(struct ma_ctx *ctx);      /* GET /v2/logout */
int ma_op_oidc_logout(struct ma_ctx *ctx); /* GET and POST /oidc/logout */
int ma_op_mfa_challenge(struct ma_ctx *ctx);
int ma_op_mfa_authenticators(struct ma_ctx *ctx);
int ma_op_mfa_associate(struct ma_ctx *ctx);
int ma_op_mfa_delete(struct ma_ctx *ctx);
int ma_op_passkey_challenge(struct ma_ctx *ctx);
int ma_op_passkey_register(struct ma_ctx *ctx);

/* --- grants (token_*.c): called with the client authenticated and allowed to use the grant; inline --- */
int ma_grant_code(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_refresh(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_password(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_webauthn(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_mfa_otp(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_mfa_oob(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_mfa_recovery(struct ma_ctx *ctx, struct ma_oauth *o);
int ma_grant_vault(struct ma_ctx *ctx, struct ma_oauth *o);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Identity providers that accounts are connected at, as an OAuth 2.0 client (RFC 6749) and OpenID
 * Connect relying party: discovery, authorization requests, token and userinfo calls, revocation.
 * Knows no database and no users. What is blocking says so: network lane only.
 */
#ifndef MA_PROVIDER_H
#define MA_PROVIDER_H

#include "ma/clock.h"
#include "ma/httpc.h"
#include "ma/jose.h"
#include "ma/state.h"

#define MA_PROVIDER_TIMEOUT_MS 8000  /* of one call */
#define MA_PROVIDER_STEP_MS 15000    /* of all calls of one step of a request together */
#define MA_PROVIDER_CALL_MIN_MS 1000 /* with less time left a call is not begun: its answer might be lost */
#define MA_PROVIDER_ANSWER_MAX 65536 /* bytes of a token or userinfo answer */
#define MA_PROVIDER_TOKEN_MAX 16384  /* bytes of one access, refresh or id token */
#define MA_PROVIDER_CLAIMS_MAX 16384 /* bytes of claims about the user that are kept */
#define MA_PROVIDER_SCOPES_MAX 200   /* granted scopes that are kept */
#define MA_SUBJECT_MAX 255           /* bytes of a provider's user id */

/* Remembered discovery documents (RFC 8414 §3, OpenID Connect Discovery §4): by issuer, as long as Cache-Control says
 * within [1 min, 1 day], an hour when it is silent; an old one serves on while the provider cannot be reached.
 * Thread-safe. Owned (ma_providers_free). */
struct ma_providers;
MA_MUST_USE int ma_providers_new(struct ma_providers **ret);
void ma_providers_free(struct ma_providers *p);

/* What calls need. All borrowed. */
struct ma_provider_env {
    struct ma_providers *cache;
    struct ma_jose *jose;
    struct ma_httpc *httpc; /* the calling thread's */
    const struct ma_clock *clock;
    struct ma_log *log;
    struct ma_arena *arena; /* answers live here; wiped by its owner */
    struct ma_net_policy policy;
    int64_t deadline_ms; /* monotonic: when the step's time is up; 0: never */
};

/* A provider ready for use: connection, preset and discovery put together. Strings are arena or static. */
struct ma_provider {
    const struct ma_state_connection *connection; /* borrowed from the snapshot */
    const char *issuer;                           /* NULL: none known */
    const char *authorization_endpoint, *token_endpoint;
    const char *jwks_uri, *userinfo_endpoint, *revocation_endpoint; /* NULL: none */
    bool iss_expected;                                              /* the callback must carry iss (RFC 9207 §2.4) */
    struct ma_span client_secret;                                   /* borrowed; empty: none */
};

/* Why a call did not work; for the log and for mapping, never shown to users as it is. */
struct ma_provider_fault {
    char error[64]; /* the provider's OAuth error code, cleaned; "" when it gave none */
    char why[256];  /* never holds a secret or anything from an answer's body but `error` */
};

/* Fills endpoints, by discovery when the connection has an issuer and lacks an endpoint it needs. Blocking when
 * discovery is due. secret: borrowed for the life of *ret. MA_E_UPSTREAM or MA_E_TIMEOUT with a fault; MA_E_INVAL when
 * the connection lacks what it needs. */
MA_MUST_USE int ma_provider_resolve(const struct ma_provider_env *env, const struct ma_state_connection *c,
                                    struct ma_span secret, struct ma_provider *ret, struct ma_provider_fault *fault);

/* --- authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, OIDC Core §3.1.2.1) --- */

/* The scopes to ask for: `asked` (n 0: the configured ones) with what identifies the user, and with offline_access
 * when it is configured; each once, sorted by bytes. Holds offline_access whether or not the provider is sent it.
 * arena. */
MA_MUST_USE int ma_provider_scopes(struct ma_arena *a, const struct ma_state_connection *c,
                                   const struct ma_span_list *asked, struct ma_span_list *ret);

struct ma_param {
    const char *name;
    struct ma_span value;
};
struct ma_authorize {
    const char *redirect_uri, *state, *nonce;
    const char *verifier; /* of PKCE: the S256 challenge is made from it; used when the connection says so */
    const struct ma_span_list *scopes; /* of ma_provider_scopes */
    const struct ma_param *params;     /* further ones from the client (prompt, login_hint, …) */
    size_t n_params;
};
/* The URL to send the browser to. Parameters: preset, connection, client, protocol, where a later one replaces an
 * earlier one of the same name; `prompt` values of preset and client are joined (except with "none"). arena. */
MA_MUST_USE int ma_provider_authorize_url(struct ma_arena *a, const struct ma_provider *p,
                                          const struct ma_authorize *in, const char **ret);

/* --- tokens (RFC 6749 §5, §6) --- */

struct ma_provider_tokens {
    struct ma_span access_token;            /* never empty */
    struct ma_span refresh_token, id_token; /* p == NULL: none */
    struct ma_span_list scopes;             /* granted, sorted, each once; has_scopes false: as asked for */
    bool has_scopes;
    int64_t expires_in_s;         /* -1: the answer does not say; the preset's where what it says makes no sense */
    int64_t refresh_expires_in_s; /* -1: the answer does not say */
    struct ma_span user_id;       /* found beside the token (preset.token_member); p == NULL: not there */
};
/* Blocking. MA_OK; MA_E_AUTH (the provider said no: fault->error has its code, from a JSON error whatever the HTTP
 * status); MA_E_UPSTREAM, MA_E_TIMEOUT, MA_E_RANGE (unreachable, or its answer cannot be used); MA_E_NOMEM. */
MA_MUST_USE int ma_provider_redeem(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_span code,
                                   const char *redirect_uri, const char *verifier, struct ma_provider_tokens *ret,
                                   struct ma_provider_fault *fault);
MA_MUST_USE int ma_provider_refresh(const struct ma_provider_env *env, const struct ma_provider *p,
                                    struct ma_span refresh_token, struct ma_provider_tokens *ret,
                                    struct ma_provider_fault *fault);

/* Who the tokens belong to: from the id_token when there is one, else from beside the token, else from userinfo
 * (whose sub must equal the id_token's where both are used, OIDC Core §5.3.2). Blocking. Results as above; MA_E_AUTH
 * also for an id_token that does not verify. */
struct ma_identity {
    struct ma_span subject;     /* 1 to MA_SUBJECT_MAX bytes without control characters; numbers as decimal text */
    struct ma_span email, name; /* p == NULL: not told */
    struct ma_span claims;      /* JSON object text of where it came from; of a longer one only id, email and name */
};
MA_MUST_USE int ma_provider_identify(const struct ma_provider_env *env, const struct ma_provider *p,
                                     const struct ma_provider_tokens *t, const char *nonce, int64_t max_age_s,
                                     struct ma_identity *ret, struct ma_provider_fault *fault);

/* RFC 7009. hint: "refresh_token" or "access_token". MA_OK when the provider answered 2xx. MA_E_UNSUPPORTED without a
 * revocation endpoint. Blocking. */
MA_MUST_USE int ma_provider_revoke(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_span token,
                                   const char *hint, struct ma_provider_fault *fault);

#endif

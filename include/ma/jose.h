/* SPDX-License-Identifier: Apache-2.0
 * Access tokens: JWKS of several issuers, JWS verification (RFC 7515, RFC 8725), claims, and the
 * daemon's own signing key ring. Verification is ours on cached keys; minting is libjwt's.
 */
#ifndef MA_JOSE_H
#define MA_JOSE_H

#include "ma/clock.h"
#include "ma/conf.h"
#include "ma/crypto.h"
#include "ma/httpc.h"
#include "ma/log.h"
#include "ma/metrics.h"

#define MA_TOKEN_MAX 8192    /* bytes of a compact JWS */
#define MA_CLOCK_LEEWAY_S 60 /* RFC 7519 §4.1.4 "small leeway" */
#define MA_ISSUER_OWN 0      /* index of the daemon's own issuer; conf issuers follow from 1 */

struct ma_jose;

/* Verified claims. Spans are arena copies. */
struct ma_token {
    int issuer; /* MA_ISSUER_OWN or 1 + index into conf->issuers */
    int domain; /* own issuer: 0 base_url, 1+i custom_domains[i]; external: the domain whose audience matched */
    struct ma_span iss, sub, client_id, scope;
    struct ma_span jti, sid, org_id, gty, acr; /* p == NULL when absent */
    struct ma_span email, name;                /* provisioning; p == NULL when absent */
    bool email_verified;
    struct ma_span_list aud, amr;
    int64_t iat, nbf, exp;  /* seconds; nbf 0 when absent, iat 0 when absent */
    int64_t auth_time;      /* seconds; -1 when absent */
    struct ma_span cnf_jkt; /* DPoP binding; p == NULL when absent */
    uint64_t epoch;         /* ma_jose_epoch when it was verified: a remembered token dies with it */
};

/* Opens the own key ring (key_directory/signing.keys, created with a key of RS256 and one of ES256) and prepares the
 * issuers of conf. Starts no thread and does no I/O but files; `file:` JWKS are read here (a missing one is an
 * error with `why`). Owned (ma_jose_close). clock, rand, log are borrowed for life; conf only during the call. */
MA_MUST_USE int ma_jose_open(const struct ma_conf *conf, const struct ma_clock *clock, const struct ma_rand *rand,
                             struct ma_log *log, struct ma_jose **ret, char why[256]);
void ma_jose_close(struct ma_jose *j);
/* Counts signature checks there from now on. Before ma_jose_start. */
void ma_jose_observe(struct ma_jose *j, struct ma_metrics *m);
/* What is known of the keys of external issuers: one sample each of the MA_M_JWKS_* metrics per issuer of the
 * configuration, and the fetches from identity providers together. Label values are copied into the arena. */
void ma_jose_measure(struct ma_jose *j, struct ma_arena *a, struct ma_samples *out);
/* Starts the background thread (file watching every ≤ 2 s, stale JWKS refresh, key retirement); stop joins it. */
MA_MUST_USE int ma_jose_start(struct ma_jose *j);
void ma_jose_stop(struct ma_jose *j);
/* SIGHUP: new issuers list and re-read of all files; keeps what still works when something fails. */
MA_MUST_USE int ma_jose_reload(struct ma_jose *j, const struct ma_conf *conf, char why[256]);
/* Goes up whenever a key or issuer leaves or changes; relaxed atomic read. */
uint64_t ma_jose_epoch(const struct ma_jose *j);

enum ma_token_verdict {
    MA_TOK_OK,
    MA_TOK_BAD,       /* answer 401; `reason` says what for log and verbose answers */
    MA_TOK_NEED_KEYS, /* unknown kid or no keys yet: call ma_jose_fetch off the HTTP threads, then verify again */
    MA_TOK_NO_KEYS,   /* the issuer's keys cannot be had at all: 503 */
    MA_TOK_NOMEM
};
/* host_domain: the public origin the request came to (0 base_url, 1+i custom_domains[i]): iss and aud must
 * belong to the same one. Never blocks. *ret_reason is a static sentence. `issuer` in NEED_KEYS is in ret->issuer.
 * Thread-safe. */
enum ma_token_verdict ma_token_verify(struct ma_jose *j, struct ma_arena *a, struct ma_span compact, int host_domain,
                                      int64_t now_ms, struct ma_token *ret, const char **ret_reason);
/* The same for tokens of the own issuer and another audience: userinfo's, or an API's that shares the token service.
 * Never NEED_KEYS. */
enum ma_token_verdict ma_token_verify_for(struct ma_jose *j, struct ma_arena *a, struct ma_span compact,
                                          int host_domain, const char *audience, int64_t now_ms, struct ma_token *ret,
                                          const char **ret_reason);
/* Whether the text is the API's audience ("<origin>/me/") at one of the public origins. Thread-safe. */
bool ma_jose_is_own_audience(struct ma_jose *j, struct ma_span audience);
/* exp/nbf/iat of an already verified token, at another time. NULL when it still holds, else the reason. */
const char *ma_token_time_problem(int64_t exp, int64_t nbf, int64_t iat, int64_t now_ms);
/* Fetches the issuer's keys (single flight: callers that find one under way wait for it). Throttled per issuer: forced
 * refreshes at most every 30 s; then MA_E_BUSY and the old keys stay. MA_OK when a set was loaded. Blocking. */
MA_MUST_USE int ma_jose_fetch(struct ma_jose *j, struct ma_httpc *c, int issuer);

/* The own public keys, {"keys":[…]}, JSON text; arena. */
MA_MUST_USE int ma_jose_jwks(struct ma_jose *j, struct ma_arena *a, struct ma_span *ret);
/* Adds a fresh signing key of RS256 or ES256; older ones of that algorithm only verify until retire_after_s has passed.
 */
MA_MUST_USE int ma_jose_rotate(struct ma_jose *j, enum ma_jws_alg alg, int64_t retire_after_s, char ret_kid[65]);
/* kid, alg, state ("signing", "verifying"), created_at, retires_at as JSON array text; arena. */
MA_MUST_USE int ma_jose_keys(struct ma_jose *j, struct ma_arena *a, struct ma_span *ret);
/* Re-reads the own ring from disk when another process rotated it (called by the background thread too). */
MA_MUST_USE int ma_jose_reread(struct ma_jose *j);

struct ma_mint {
    const char *iss, *sub, *client_id, *audience, *scope; /* scope "" allowed */
    int64_t now_s, ttl_s;
    const char *const *amr; /* NULL-terminated, or NULL */
    int64_t auth_time_s;    /* -1: leave out */
    const char *jti;
    enum ma_jws_alg alg; /* RS256 or ES256 */
};
/* An RFC 9068 token (typ at+jwt; client_id and azp) signed with the own key of that algorithm. arena. */
MA_MUST_USE int ma_jose_mint(struct ma_jose *j, struct ma_arena *a, const struct ma_mint *m, struct ma_span *ret);

/* --- the other side: tokens of identity providers that accounts are connected at --- */

struct ma_id_token_ask {
    const char *issuer; /* expected iss, exactly; "{tenantid}" in it stands for the token's own tid claim */
    const char *jwks_uri;
    const char *client_id;       /* must be in aud; azp must be it when there is one (OIDC Core §3.1.3.7) */
    struct ma_span nonce;        /* must equal the claim; empty: no claim is looked for */
    struct ma_span access_token; /* checked against at_hash when the token has one; empty: not */
    int64_t max_age_s;           /* auth_time must not be older (OIDC Core §3.1.2.1); -1: not asked for */
    struct ma_net_policy policy; /* for fetching the keys */
};
struct ma_id_token {
    struct ma_span sub;         /* arena; 1 to 255 bytes */
    struct ma_span email, name; /* arena; p == NULL: absent */
    struct ma_span claims;      /* the whole claims set, JSON text; arena */
};
/* Verifies an id_token with the keys at jwks_uri, which are fetched once and remembered (Cache-Control, at most a day);
 * an unknown kid fetches them again, at most every 10 s. Asymmetric algorithms only. Blocking: c is the calling
 * thread's. MA_OK; MA_E_AUTH (the token is not good); MA_E_UPSTREAM (the keys cannot be had); MA_E_NOMEM. `why` names
 * the rule, never a value. Thread-safe. */
MA_MUST_USE int ma_id_token_verify(struct ma_jose *j, struct ma_httpc *c, struct ma_arena *a, struct ma_span compact,
                                   const struct ma_id_token_ask *ask, int64_t now_ms, struct ma_id_token *ret,
                                   char why[256]);

#define MA_ASSERTION_TTL_S 60
/* A JWT that authenticates the daemon as client_id at a provider's endpoint `audience` (RFC 7523 §2.2 and §3), signed
 * with the own RS256 key: the provider knows it from /.well-known/jwks.json. arena. */
MA_MUST_USE int ma_jose_client_assertion(struct ma_jose *j, struct ma_arena *a, const char *client_id,
                                         const char *audience, int64_t now_s, struct ma_span *ret);

/* The claims set of a JWT whose signature one of the keys in jwks ({"keys":[…]}) made; nothing in it is checked.
 * MA_E_AUTH. arena. */
MA_MUST_USE int ma_jwt_verify_with(struct ma_arena *a, struct ma_span compact, struct ma_span jwks, int64_t now_ms,
                                   struct ma_span *ret);
/* A public RSA key for RS256 signatures from its members n and e (base64url) as the text of a JWK, whatever way its
 * numbers were written: some writers put a zero in front. MA_E_INVAL for a key that is none, or is not from 2048 to
 * 4096 bits. arena. */
MA_MUST_USE int ma_rs256_jwk(struct ma_arena *a, struct ma_span n, struct ma_span e, struct ma_span *ret);
/* The same of a JWT that nobody has verified. */
MA_MUST_USE int ma_jwt_peek(struct ma_arena *a, struct ma_span compact, struct ma_span *ret);

/* Signs a claims set, JSON object text, with the own key of this algorithm (RS256 or ES256); typ "at+jwt" (RFC 9068
 * §2.1) or "JWT". libjwt holds header and claims. arena. */
MA_MUST_USE int ma_jose_sign(struct ma_jose *j, struct ma_arena *a, enum ma_jws_alg alg, const char *typ,
                             const char *claims, struct ma_span *ret);

/* The same with a key that is not the own ring's: what another service knows the operator by. typ is "JWT". */
MA_MUST_USE int ma_jwt_sign_with(struct ma_arena *a, const struct ma_key *key, enum ma_jws_alg alg, const char *kid,
                                 const char *claims, struct ma_span *ret);

/* The claims set, JSON text (arena), of an id_token that a key of the own ring signed; nothing in it is checked, its
 * expiry neither. MA_E_AUTH: no such token. */
MA_MUST_USE int ma_jose_own_claims(struct ma_jose *j, struct ma_arena *a, struct ma_span compact, int64_t now_ms,
                                   struct ma_span *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Private to the provider module: discovery documents, calls to endpoints, reading what they answer.
 */
#ifndef MA_PROVIDER_INT_H
#define MA_PROVIDER_INT_H

#include "ma/buf.h"
#include "ma/jsonr.h"
#include "ma/provider.h"

#include <stdatomic.h>

#define MA_OFFLINE_ACCESS "offline_access"

/* Writes what went wrong and returns err. `fmt` never shows a secret or a part of an answer. */
int ma_provider_fail(struct ma_provider_fault *f, int err, const char *fmt, ...) MA_PRINTF(3, 4);

/* --- text --- */

/* The next run of bytes without any of `separators`; false at the end. Borrowed from rest. */
bool ma_next_word(struct ma_span *rest, const char *separators, struct ma_span *ret);
/* By bytes; what is there twice goes. */
void ma_list_sort_unique(struct ma_span_list *l);
/* One or more characters of RFC 6749 §3.3, as long as scopes can be. */
bool ma_scope_ok(struct ma_span s);
/* An absolute http or https URL of printable ASCII without a fragment: what an endpoint is (RFC 6749 §3.1). */
bool ma_endpoint_ok(struct ma_span s);

/* --- discovery --- */

#define MA_DISCOVERY_MAX 256            /* documents remembered */
#define MA_DISCOVERY_AGE_MIN_S 60       /* seconds; what Cache-Control may say */
#define MA_DISCOVERY_AGE_MAX_S 86400    /* seconds */
#define MA_DISCOVERY_AGE_DEFAULT_S 3600 /* seconds */
#define MA_DISCOVERY_FAILED_MS 3000     /* a first fetch that failed is not tried again so long */
#define MA_DISCOVERY_STALE_MS 60000     /* nor a later one, while the old document serves */

/* An immutable document. Strings are its own; NULL: not in it. */
struct ma_discovered {
    atomic_uint refs;
    struct ma_arena *arena;
    const char *authorization_endpoint, *token_endpoint, *jwks_uri, *userinfo_endpoint, *revocation_endpoint;
    bool iss_supported; /* RFC 9207 §3 */
};
/* The issuer's document, fetched when none is remembered or the remembered one is old. rfc8414: where there is no
 * openid-configuration, RFC 8414's place is tried. Blocking. Owned (ma_discovered_unref). */
MA_MUST_USE int ma_discover(const struct ma_provider_env *env, const char *issuer, bool rfc8414,
                            struct ma_discovered **ret, struct ma_provider_fault *fault);
void ma_discovered_unref(struct ma_discovered *d);
void ma_discovered_unref_p(struct ma_discovered **d);

/* --- calls --- */

/* What a call may take at most; MA_E_TIMEOUT with a fault when that is too little to begin one. */
MA_MUST_USE int ma_provider_time(const struct ma_provider_env *env, const char *what, int64_t *ret_ms,
                                 struct ma_provider_fault *fault);

/* name=value behind what is there already, percent-encoded. b is an arena's. */
void ma_form_put(struct ma_buf *b, const char *name, struct ma_span value);
/* POSTs the form, with what authenticates the client added to it (RFC 6749 §2.3). `what` names the endpoint in
 * faults. */
MA_MUST_USE int ma_provider_post(const struct ma_provider_env *env, const struct ma_provider *p, const char *url,
                                 const char *what, struct ma_buf *form, struct ma_http_answer *ret,
                                 struct ma_provider_fault *fault);
MA_MUST_USE int ma_provider_get(const struct ma_provider_env *env, const char *url, const char *what,
                                struct ma_span bearer, struct ma_http_answer *ret, struct ma_provider_fault *fault);
/* The result of a call from its HTTP status and the error in its body, if there is one: MA_OK, MA_E_AUTH,
 * MA_E_UPSTREAM. *ret is the body when it is a JSON object, else NULL; owned (ma_json_free). */
MA_MUST_USE int ma_provider_judge(const struct ma_provider_env *env, const struct ma_http_answer *ans, const char *what,
                                  struct ma_json **ret, struct ma_provider_fault *fault);

/* The dotted path of the user's id: the connection's, else the preset's, else "sub". */
struct ma_span ma_user_id_field(const struct ma_state_connection *c);
/* Reads a token endpoint's answer. */
MA_MUST_USE int ma_tokens_read(const struct ma_provider_env *env, const struct ma_provider *p, const struct ma_json *j,
                               struct ma_provider_tokens *ret, struct ma_provider_fault *fault);

#endif

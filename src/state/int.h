/* SPDX-License-Identifier: Apache-2.0
 * Inside the state module: the shapes of the document, the kinds of elements, key indexes, and
 * what one run of apply carries along.
 */
#ifndef MA_STATE_INT_H
#define MA_STATE_INT_H

#include <stdatomic.h>

#include "ma/state.h"

#define MA_ID_MAX 255                        /* units of a user id, client id, name of a connection or role */
#define MA_URL_MAX 2048                      /* units of a URL */
#define MA_TOKEN_LIFETIME_MAX 2592000        /* seconds; the hosted vendor's maximum for an API */
#define MA_MEMBERS_MAX 1000000               /* members of one organization */
#define MA_STATE_ARENA_MAX ((size_t)1 << 30) /* bytes of a snapshot, or of one document's plan */
/* bytes while one element or user is looked at: the longest list of members, as text and decoded */
#define MA_STATE_SCRATCH_MAX ((size_t)512 << 20)

/* --- the document's elements as structs (shapes.c) --- */
struct ma_doc_api {
    bool active;
    int user_access_policy, client_access_policy;
    bool enforce_rbac, allow_skipping_user_consent, require_2fa;
    int64_t token_lifetime;
    bool require_dpop;
    int signing_alg; /* enum ma_signing_alg */
};
struct ma_doc_tenant {
    struct ma_span friendly_name;
    int mfa_policy;
    struct ma_span rp_id, rp_name;
    struct ma_span_list allowed_logout_urls;
    struct ma_span session_lifetime, idle_session_lifetime; /* JSON numbers: hours */
};
struct ma_doc_factors {
    bool on[MA_FACTOR__COUNT];
};
/* What a connection says of its provider in one of two places: among its own members or in `options`. */
struct ma_doc_habits {
    struct ma_span preset, revocation_endpoint, pkce;
    int token_endpoint_auth_method; /* an enum ma_client_auth */
    bool has_auth;
};
struct ma_doc_options {
    struct ma_span issuer, authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint;
    struct ma_span client_id, client_secret, user_id_field, authorization_params;
    struct ma_span_list scopes;
    int scope_separator, callback_path;
    bool has_scope_separator, revoke_on_delete, has_revoke_on_delete, disable_signup;
    struct ma_doc_habits habits;
};
struct ma_doc_connection {
    struct ma_span name, strategy;
    bool connected_accounts;
    struct ma_password_policy policy;
    struct ma_doc_options options;
    struct ma_span_list enabled_clients;
    bool has_enabled_clients;
    struct ma_doc_habits habits;
};
struct ma_doc_grant_rule {
    struct ma_span audience;
    struct ma_span_list scope;
};
struct ma_doc_refresh {
    int rotation_type, expiration_type;
    int64_t leeway, token_lifetime, idle_token_lifetime;
    bool infinite_token_lifetime, infinite_idle_token_lifetime, has_rotation_type, has_policies;
    struct ma_objlist policies;
};
struct ma_doc_jwk {
    struct ma_span kty;
};
struct ma_doc_jwks {
    struct ma_objlist keys;
};
struct ma_doc_ios {
    struct ma_span team_id, app_bundle_identifier;
};
struct ma_doc_android {
    struct ma_span app_package_name;
    struct ma_span_list sha256_cert_fingerprints;
};
struct ma_doc_mobile {
    struct ma_doc_ios ios;
    struct ma_doc_android android;
};
struct ma_doc_client {
    struct ma_span client_id, name;
    int app_type;
    bool is_first_party, cross_origin_authentication, require_dpop, is_token_endpoint_ip_header_trusted;
    int id_token_alg; /* enum ma_signing_alg */
    struct ma_span client_secret, resource_server_identifier;
    struct ma_span_list callbacks, allowed_origins, web_origins, grant_types, allowed_logout_urls;
    struct ma_doc_refresh refresh;
    int token_endpoint_auth_method; /* an enum ma_client_auth */
    struct ma_doc_jwks jwks;
    bool has_auth, has_jwks, has_grant_types;
    struct ma_doc_mobile mobile;
};
struct ma_doc_grant {
    struct ma_span client_id, audience;
    int subject_type; /* 0 user, 1 client */
    struct ma_span_list scope;
};
struct ma_doc_role {
    struct ma_span name;
    struct ma_span_list permissions;
};
struct ma_doc_organization {
    struct ma_span id, name, display_name;
    struct ma_span_list members;
};
struct ma_doc_policy {
    struct ma_span client_id;
    struct ma_span_list scope, require;
    bool has_require, has_max_age, skip;
    int64_t max_age;
};
struct ma_doc_user {
    struct ma_span user_id, email, name, phone_number, connection, password, password_hash; /* p == NULL: absent */
    bool email_verified, has_email_verified, blocked, has_blocked, has_roles, has_permissions;
    struct ma_span_list roles, permissions;
};
/* The largest of the structs above, for decoding any element. */
union ma_doc_any {
    struct ma_doc_api api;
    struct ma_doc_tenant tenant;
    struct ma_doc_factors factors;
    struct ma_doc_connection connection;
    struct ma_doc_client client;
    struct ma_doc_grant grant;
    struct ma_doc_role role;
    struct ma_doc_organization organization;
    struct ma_doc_policy policy;
};

extern const struct ma_shape ma_shape_api, ma_shape_tenant, ma_shape_factors, ma_shape_connection, ma_shape_client,
    ma_shape_grant, ma_shape_role, ma_shape_organization, ma_shape_policy, ma_shape_user;

/* What an element means before anybody named its members: the values of the documented example,
 * as JSON that the stored element is merged over. */
extern const char ma_defaults_api[], ma_defaults_tenant[], ma_defaults_factors[], ma_defaults_connection[],
    ma_defaults_client[];

/* --- kinds of elements (kinds.c) --- */
enum ma_kind_id {
    MA_KIND_API,
    MA_KIND_TENANT,
    MA_KIND_FACTORS,
    MA_KIND_ROLE,
    MA_KIND_CONNECTION,
    MA_KIND_CLIENT,
    MA_KIND_GRANT,
    MA_KIND_ORGANIZATION,
    MA_KIND_POLICY,
    MA_KIND__COUNT
};
struct ma_apply;
struct ma_elem;
struct ma_kind {
    const char *kind;   /* in the database and in reports */
    const char *member; /* in the document */
    const struct ma_shape *shape;
    const char *defaults;       /* JSON, or NULL */
    const char *secret_path[2]; /* where the secret is: one name or two; NULL: it has none */
    /* The element's key; arena, p == NULL when out of memory. NULL: one object instead of a list. */
    struct ma_span (*key)(struct ma_arena *a, const union ma_doc_any *doc);
    struct ma_span (*secret)(const union ma_doc_any *doc); /* p == NULL: not given */
    /* Rules beyond the shape, on the merged element; adds errors under `pointer`. May be NULL. */
    void (*check)(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer);
};
extern const struct ma_kind ma_kinds[MA_KIND__COUNT];

/* --- connections (connections.c) --- */
/* What the document says of the provider, with its preset's habits where it is silent. Borrowed from c; all zero for a
 * database, preset NULL for a provider that is not known. */
struct ma_state_provider ma_connection_provider(const struct ma_doc_connection *c);
/* The rules of a connection beyond its shape (struct ma_kind's check). */
void ma_connection_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer);
/* Every scope of the list is a scope token (RFC 6749 §3.3), or an error at <pointer>/<name>/<i>. */
void ma_check_scopes(struct ma_apply *ap, const struct ma_span_list *list, const char *pointer, const char *name);

/* --- clients (clients.c) --- */
/* app_type, in the order of its names. */
enum ma_app_type {
    MA_APP_SPA,
    MA_APP_NATIVE,
    MA_APP_REGULAR_WEB,
    MA_APP_NON_INTERACTIVE,
    MA_APP_RESOURCE_SERVER,
    MA_APP__COUNT
};
/* The rules of a client beyond its shape (struct ma_kind's check). */
void ma_client_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer);
/* Every string of the list is a URI, or an error at <pointer>/<name>/<i>. */
void ma_check_uris(struct ma_apply *ap, const struct ma_span_list *list, const char *pointer, const char *name);

/* --- organizations (organizations.c) --- */
/* After everything is planned: no two organizations have the same name, whatever its case. */
MA_MUST_USE int ma_organizations_check(struct ma_apply *ap);

/* --- rules above the Default Policy (rules.c) --- */
/* The factors a name in `require` stands for, bit per enum ma_factor; 0 for an unknown one. */
uint32_t ma_rule_factors(struct ma_span name);
/* The rules of a policy beyond its shape (struct ma_kind's check). */
void ma_rule_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer);

/* The client is there, or an error at <pointer>/client_id. */
void ma_check_client_exists(struct ma_apply *ap, struct ma_span client_id, const char *pointer);

/* --- key index: open addressing over an array whose elements begin with their struct ma_span key --- */
struct ma_index {
    uint32_t *slots; /* element number + 1; 0 is free */
    size_t mask;
    const void *base;
    size_t stride;
};
/* Room for n elements of the array at base; memory from the arena. */
MA_MUST_USE int ma_index_init(struct ma_index *ix, struct ma_arena *a, const void *base, size_t stride, size_t n);
/* Element number, or SIZE_MAX. */
size_t ma_index_find(const struct ma_index *ix, struct ma_span key);
/* Adds element i; false when its key is there already (nothing changes then). */
bool ma_index_add(struct ma_index *ix, size_t i);

/* --- origins (origin.c) --- */
#define MA_ORIGIN_MAX 512
/* "scheme://host[:port]" of a URL in lower case without a default port, NUL-terminated into out; a leading "*." host
 * label is kept. MA_E_INVAL unless it has a scheme and a host. `bare`: nothing may follow the port. */
MA_MUST_USE int ma_origin_of(struct ma_span url, bool bare, char out[MA_ORIGIN_MAX]);
bool ma_origin_is_pattern(struct ma_span origin);
/* Whether a concrete origin is the pattern's or, with "*.", one or more labels below it. Both normalised. */
bool ma_origin_matches(struct ma_span pattern, struct ma_span origin);

/* --- formats (format.c) --- */
bool ma_fmt_phone(struct ma_span s); /* E.164 */
/* SHA-256 of a certificate as app stores show it: 32 upper-case hex pairs with colons. */
bool ma_fmt_fingerprint(struct ma_span s);
bool ma_fmt_printable(struct ma_span s);   /* no blank, no control, at most 255 bytes */
bool ma_fmt_scope(struct ma_span s);       /* scope-token, RFC 6749 §3.3 */
bool ma_fmt_strategy(struct ma_span s);    /* lower-case letters, digits, '-' and '_' */
bool ma_fmt_member_path(struct ma_span s); /* names of letters, digits, '-', '_', joined by dots; or "" */
bool ma_fmt_no_control(struct ma_span s);
bool ma_fmt_uri(struct ma_span s);             /* absolute, without fragment */
bool ma_fmt_http_or_empty(struct ma_span s);   /* http(s) URL or "" */
bool ma_fmt_issuer_or_empty(struct ma_span s); /* as above, without query and fragment; or "" */
bool ma_fmt_domain(struct ma_span s);
/* Seconds of a JSON number of hours, of which fractions count; 0: it is none between a second and a year. */
int64_t ma_fmt_hours(struct ma_span json);

/* --- a snapshot with what is behind it --- */
/* Bytes in order, the shorter first (for qsort and bsearch). */
int ma_span_compare(struct ma_span a, struct ma_span b);
/* ASCII letters become small; arena, p == NULL when out of memory. */
struct ma_span ma_lower(struct ma_arena *a, struct ma_span s);
struct ma_snapshot {
    struct ma_state pub; /* first: a snapshot is handed out as this */
    _Atomic uint32_t refs;
    struct ma_arena *arena; /* holds everything but this struct */
    struct ma_index by_client, by_connection, by_role, by_origin, by_organization;
    struct ma_index by_organization_name; /* over their names in lower case, in the same order */
    struct ma_span_list patterns;         /* origins with a "*." label */
};
static inline const struct ma_snapshot *ma_snapshot(const struct ma_state *s)
{
    return (const struct ma_snapshot *)(const void *)s;
}

/* --- one load --- */
struct ma_load {
    struct ma_snapshot *snap;
    struct ma_arena *a;    /* the snapshot's */
    struct ma_arena *temp; /* gone when the snapshot is there */
    const struct ma_object *objects;
    size_t n;
    const struct ma_span *audiences;
    size_t n_audiences;
    struct ma_state_client *clients; /* the arrays of the snapshot while they are filled */
    struct ma_state_connection *connections;
    struct ma_state_role *roles;
    struct ma_state_organization *organizations;
    struct ma_state_rule *rules;
    char *why;
};
/* Decodes one stored element over its defaults (NULL: none); a failure names it in `why`. */
MA_MUST_USE int ma_load_decode(struct ma_load *l, const struct ma_object *o, const char *defaults,
                               const struct ma_shape *shape, void *out);
/* Calls fn for each stored element of the kind, in the order of their keys. */
MA_MUST_USE int ma_load_each(struct ma_load *l, const char *kind,
                             int (*fn)(struct ma_load *, const struct ma_object *));
size_t ma_load_count(const struct ma_load *l, const char *kind);
/* Room for n elements of a size (at least one, so that the pointer is valid), and an index over them. */
MA_MUST_USE int ma_load_room(struct ma_load *l, struct ma_index *ix, size_t n, size_t size, void **ret);
/* One element each; ma_load_client_grants all of them, after the clients are there. */
MA_MUST_USE int ma_load_client(struct ma_load *l, const struct ma_object *o);
MA_MUST_USE int ma_load_client_grants(struct ma_load *l);
MA_MUST_USE int ma_load_organizations(struct ma_load *l);
MA_MUST_USE int ma_load_rules(struct ma_load *l);

/* --- one run of apply --- */
struct ma_elem {
    struct ma_span id; /* "kind|key": the index's key */
    const struct ma_kind *kind;
    struct ma_span key;
    struct ma_span before; /* p == NULL: new */
    struct ma_span after;
    struct ma_span secret; /* plain text to seal, when has_secret */
    bool has_secret, seen;
    size_t at;        /* seen: its place in the document's list */
    bool database;    /* connections: strategy auth0 */
    int keep_history; /* connections: hashes to remember */
};
struct ma_apply {
    const struct ma_apply_env *env;
    const struct ma_json *doc;
    struct ma_arena *a;       /* the plan */
    struct ma_arena *scratch; /* one element or user */
    struct ma_elem *elems;
    size_t n_elems, cap_elems;
    struct ma_index index;
    const struct ma_elem *sole_database; /* the only database connection; NULL when there are none or several */
    struct ma_verrs *errs;
    struct ma_buf *report;
    size_t changes;
    bool invalid; /* an error was found, even where errs had no room for it */
};
/* Adds an error at <pointer><sub>. */
void ma_apply_error(struct ma_apply *ap, const char *pointer, const char *sub, const char *detail);
/* As above, at <pointer>/<name>/<i>. */
void ma_apply_error_item(struct ma_apply *ap, const char *pointer, const char *name, size_t i, const char *detail);
/* The element of a kind with that key, as it will be; NULL when there is none. */
struct ma_elem *ma_apply_find(struct ma_apply *ap, enum ma_kind_id kind, struct ma_span key);
/* One report line: "client spa created". */
void ma_apply_report(struct ma_apply *ap, const char *what, struct ma_span key, const char *verb);
/* The users list (apply_users.c): first every error, then the writes. */
MA_MUST_USE int ma_apply_users_check(struct ma_apply *ap);
MA_MUST_USE int ma_apply_users_write(struct ma_apply *ap);

/* Decodes stored JSON over its defaults (NULL: none) into *out; arena. */
MA_MUST_USE int ma_state_decode(struct ma_arena *a, const char *defaults, struct ma_span json,
                                const struct ma_shape *shape, void *out);

#endif

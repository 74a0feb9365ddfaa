/* SPDX-License-Identifier: Apache-2.0
 * What the state document configures, as an immutable snapshot for the request path, and the
 * operations that change it. Elements live in the database as JSON (store.h ma_object); users have
 * tables of their own.
 */
#ifndef MA_STATE_H
#define MA_STATE_H

#include "ma/buf.h"
#include "ma/clock.h"
#include "ma/db.h"
#include "ma/jsonr.h"
#include "ma/preset.h"
#include "ma/rand.h"
#include "ma/scope.h"
#include "ma/store.h"
#include "ma/vault.h"

enum ma_user_access { MA_ACCESS_REQUIRE_GRANT, MA_ACCESS_ALLOW_ALL, MA_ACCESS_DENY_ALL };

/* What a client may have for another audience than this API's, or by refresh for several (multi-resource). */
struct ma_state_audience {
    struct ma_span audience;
    struct ma_span_list scope;
};
struct ma_state_refresh {
    bool rotating;    /* default: for clients without authentication */
    int64_t leeway_s; /* how long the token before the newest still works; default 0 */
    int64_t lifetime_s,
        idle_s; /* 0: without end; default 31,557,600 and 2,592,000, expiration_type "non-expiring": 0 */
    bool has_policies;
    const struct ma_state_audience *policies; /* each audience once */
    size_t n_policies;
};

/* What tokens are signed with. */
enum ma_signing_alg { MA_SIGNING_RS256, MA_SIGNING_ES256, MA_SIGNING__COUNT };

struct ma_state_client {
    struct ma_span client_id, name;
    enum ma_client_auth auth; /* at the token endpoint; default: none for spa and native, else client_secret_post */
    bool auth_named;          /* the document says so; otherwise basic and post are both taken */
    struct ma_span jwks;      /* JSON text {"keys":[…]}; empty: none */
    struct ma_state_refresh refresh;
    const struct ma_state_audience *grants; /* its user grants, sorted by audience, those for this API included */
    size_t n_grants;
    int app_type;                     /* index of spa, native, regular_web, non_interactive, resource_server */
    bool is_first_party;              /* default true */
    bool cross_origin_authentication; /* default true */
    struct ma_span_list callbacks, allowed_origins, web_origins;
    struct ma_span_list grant_types;           /* v == NULL: the document has no list; see ma_state_client_may */
    struct ma_span_list allowed_logout_urls;   /* where logout may return to */
    struct ma_span resource_server_identifier; /* the API it is the client of; empty: none */
    bool require_dpop;
    bool trusts_ip_header; /* is_token_endpoint_ip_header_trusted: its auth0-forwarded-for names its users' addresses */
    enum ma_signing_alg id_token_alg; /* jwt_configuration.alg */
    struct ma_span_list origins;      /* what it lends, normalised ("*." patterns kept); none when it lends none */
    struct ma_span json;              /* the whole element, for members that later parts read */
    bool has_grant;                   /* holds a user grant for this API's audience (any public origin) */
    ma_scopes grant;                  /* its scopes */
};

struct ma_password_policy {
    int64_t min_length;        /* 1–72, default 8 */
    uint32_t character_types;  /* bits: 0 lowercase 1 uppercase 2 number 3 special */
    int character_type_rule;   /* 0 all, 1 three_of_four */
    int identical_characters;  /* 0 allow, 1 block: runs of three or more */
    int sequential_characters; /* 0 allow, 1 block: runs of three or more */
    int max_length_exceeded;   /* 0 truncate, 1 error */
    bool profile_active;
    struct ma_span_list blocked_fields; /* "email", "name", "user_metadata.first", … */
    bool history_active;
    int64_t history_size;
    bool dictionary_active;
    int dictionary; /* 0 en_10k, 1 en_100k */
};

/* What the document says about a connection's identity provider. Empty spans: the preset's, or discovery's. */
struct ma_state_provider {
    const struct ma_preset *preset; /* by `preset`, else by the strategy */
    struct ma_span issuer, authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint, revocation_endpoint;
    struct ma_span client_id;
    struct ma_span_list scopes;          /* as configured; "offline_access" among them when refresh tokens are wanted */
    struct ma_span user_id_field;        /* dotted path; empty: the preset's */
    struct ma_span authorization_params; /* form-encoded; sent with every authorization request */
    char scope_separator;                /* ' ' or ',' */
    enum ma_client_auth auth;
    bool pkce;
    bool revoke_on_delete; /* the provider hears of a deleted account (RFC 7009) */
    bool login_callback;   /* the provider returns to /login/callback instead of the daemon's own path */
};

struct ma_state_connection {
    struct ma_span name, strategy;
    bool database; /* strategy "auth0" */
    bool connected_accounts;
    bool disable_signup;                 /* nobody makes users of it for themselves */
    bool all_clients;                    /* enabled_clients is not there */
    struct ma_span_list enabled_clients; /* the only clients that may use it */
    struct ma_state_provider provider;   /* preset NULL for database connections */
    struct ma_password_policy password_policy;
    struct ma_span json;
};

struct ma_state_organization {
    struct ma_span id, name, display_name; /* name: the id when there is none; display_name p == NULL: none */
    const void *members;                   /* see ma_state_is_member */
};
/* A rule above the Default Policy: what a client needs for scopes. */
struct ma_state_rule {
    struct ma_span client_id;
    struct ma_span_list scope;
    uint32_t require;  /* bit per enum ma_factor that satisfies it; skip: 0 */
    int64_t max_age_s; /* of the second factor; -1: any age within the session */
    bool skip;         /* no second factor whatever other policies say */
};

struct ma_state_role {
    struct ma_span name;
    ma_scopes permissions;
};

struct ma_state {
    struct {
        bool active;
        enum ma_user_access user_access_policy;
        bool enforce_rbac, allow_skipping_user_consent, require_2fa, require_dpop;
        int64_t token_lifetime;
        enum ma_signing_alg signing_alg; /* of access tokens */
    } api;
    struct {
        struct ma_span friendly_name;  /* default: the base_url's host */
        int mfa_policy;                /* 0 never, 1 always */
        struct ma_span rp_id, rp_name; /* empty: from the origin */
        struct ma_span_list allowed_logout_urls;
        int64_t session_lifetime_s, idle_session_lifetime_s; /* default 168 and 72 hours */
    } tenant;
    uint32_t factors; /* bit per enum ma_factor that the document enables */
    const struct ma_state_client *clients;
    size_t n_clients;
    const struct ma_state_connection *connections;
    size_t n_connections;
    const struct ma_state_role *roles;
    size_t n_roles;
    const struct ma_state_organization *organizations; /* by id */
    size_t n_organizations;
    const struct ma_state_rule *rules; /* in the document's order of keys */
    size_t n_rules;
    struct ma_span_list origins; /* every origin some first-party client lends, lower-case, for preflights */
    uint64_t epoch;              /* goes up with every load in this process */
};

/* Hash lookups; NULL when unknown. Borrowed from the snapshot. */
const struct ma_state_client *ma_state_client(const struct ma_state *s, struct ma_span client_id);
const struct ma_state_connection *ma_state_connection(const struct ma_state *s, struct ma_span name);
const struct ma_state_role *ma_state_role(const struct ma_state *s, struct ma_span name);
/* Whether the connection is enabled for this client (enabled_clients). */
bool ma_state_enabled_for(const struct ma_state_connection *c, struct ma_span client_id);
/* Whether this client may connect accounts through the connection: enabled for it, switched on, no database. */
bool ma_state_connectable(const struct ma_state_connection *c, struct ma_span client_id);
/* By id, or by name (ASCII case-insensitive); NULL when unknown. */
const struct ma_state_organization *ma_state_organization(const struct ma_state *s, struct ma_span id_or_name);
bool ma_state_is_member(const struct ma_state_organization *o, struct ma_span user_id);
/* The client's grant for an audience, or NULL. */
const struct ma_state_audience *ma_state_grant(const struct ma_state_client *c, struct ma_span audience);
/* Whether its grant_types hold the name; without a list: authorization_code and refresh_token (nothing for
 * non_interactive and resource_server). "password" and password-realm stand for each other; the mfa grants come with
 * password, webauthn, authorization_code and refresh_token, which they continue. */
bool ma_state_client_may(const struct ma_state_client *c, const char *grant_type);
/* True when the origin is one the client lends (allowed_origins, web_origins, origins of callbacks;
 * a "*." host label matches one or more labels below), false for third-party clients and
 * cross_origin_authentication false. */
bool ma_state_client_origin(const struct ma_state_client *c, struct ma_span origin);
/* True when some client lends it (preflight rule). */
bool ma_state_any_origin(const struct ma_state *s, struct ma_span origin);

/* Loads the snapshot from the database. audiences: "<origin>/me/" of every public origin: a client
 * grant for any of them counts. Reference-counted; owned by the caller (ma_state_unref). */
MA_MUST_USE int ma_state_load(struct ma_db *db, const struct ma_span *audiences, size_t n, const char *default_name,
                              struct ma_state **ret, char why[256]);
/* Thread-safe. */
struct ma_state *ma_state_ref(struct ma_state *s);
void ma_state_unref(struct ma_state *s);

/* Leaves a sealed mark in the database, or checks the one that is there: keys that were lost or mixed up are noticed at
 * start and not at the first user's code. Outside a transaction, on the writer. MA_E_AUTH with `why`. */
MA_MUST_USE int ma_state_bind_vault(struct ma_db *db, struct ma_vault *vault, int64_t now_ms, char why[256]);

/* The same without leaving a mark where there is none: MA_E_NOTFOUND with `why`. A reader is enough. */
MA_MUST_USE int ma_state_check_vault(struct ma_db *db, struct ma_vault *vault, char why[256]);

/* A plausible e-mail address, as the state document takes it. */
bool ma_fmt_email(struct ma_span s);

/* --- administration (src/state/apply.c, export.c) --- */
struct ma_apply_env {
    struct ma_db *db; /* writer, inside a transaction the caller commits or rolls back */
    struct ma_vault *vault;
    const struct ma_rand *rand;
    int64_t now_ms;
    /* Called after a user that was there before changed, in the same transaction; password: it was set. NULL: nobody.
     */
    int (*changed)(void *arg, struct ma_db *db, const struct ma_user *before, const struct ma_user *after,
                   bool password);
    void *changed_arg;
    bool dry_run; /* only validate and report: nothing is written or hashed, and db may be a reader */
};
/* Validates the whole document, then writes it. Lists are merged element by element (RFC 7396 on each
 * element, keyed by its first member); users by the columns named. Plain passwords are hashed here (slow).
 * `report` receives one line per change ("client spa created", "user auth0|alice updated", "no changes"). MA_E_PARSE,
 * MA_E_INVAL with `errs` (pointers like /users/3/blocked), or a database error; the caller rolls back. */
MA_MUST_USE int ma_state_apply(const struct ma_apply_env *env, struct ma_span document, struct ma_buf *report,
                               struct ma_verrs *errs);
/* The state document as JSON text, secrets and password hashes left out. */
MA_MUST_USE int ma_state_export(struct ma_db *db, struct ma_buf *out);

#endif

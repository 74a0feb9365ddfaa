/* SPDX-License-Identifier: Apache-2.0
 * Typed repositories: one function per query, one struct per row. Every query on user-owned rows
 * has the user id in its WHERE. State changes are compare-and-set: MA_E_CONFLICT when the row was
 * not in the expected state. Functions named *_get and *_list work on readers and the writer; all
 * others need the writer, inside a transaction. Strings read are arena copies.
 */
#ifndef MA_STORE_H
#define MA_STORE_H

#include "ma/db.h"

/* Where a request came from. */
struct ma_place {
    struct ma_span ip;         /* p == NULL: not known */
    struct ma_span user_agent; /* the header, cut; p == NULL: none */
};

/* --- users --- */
struct ma_user {
    struct ma_span user_id; /* "auth0|alice" */
    struct ma_span email;   /* p == NULL: none */
    bool email_verified;
    struct ma_span name;         /* p == NULL: none */
    struct ma_span phone_number; /* p == NULL: none */
    struct ma_span connection;   /* database connection; p == NULL: no database identity */
    struct ma_span roles;        /* JSON array text */
    struct ma_span permissions;  /* JSON array text */
    struct ma_span given_name, family_name, nickname, picture; /* p == NULL: none; read only: see ma_profile_put */
    bool blocked;
    int64_t created_at, updated_at;
    int64_t tokens_after; /* access tokens issued before are refused; read only: see ma_user_tokens_end */
    /* The user asked to be deleted, and will be; 0: not. Read only: see ma/leavers.h. */
    int64_t leaving_since, leaves_at;
};
MA_MUST_USE int ma_user_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_user *ret);
/* Inserts or replaces every column but created_at. */
MA_MUST_USE int ma_user_put(struct ma_db *db, const struct ma_user *u);
/* Inserts if absent (provisioning); MA_E_EXISTS when it is there. */
MA_MUST_USE int ma_user_insert(struct ma_db *db, const struct ma_user *u);
/* tokens_after becomes `now`, unless it is later already. */
MA_MUST_USE int ma_user_tokens_end(struct ma_db *db, struct ma_span user_id, int64_t now);
/* Deletes the user and all rows it owns (ON DELETE CASCADE); audit rows stay. MA_E_NOTFOUND. */
MA_MUST_USE int ma_user_delete(struct ma_db *db, struct ma_span user_id);
/* Users with user_id > after, ascending, at most limit. */
MA_MUST_USE int ma_user_list(struct ma_db *db, struct ma_arena *a, struct ma_span after, int limit, struct ma_user *ret,
                             size_t *ret_n);

/* What users say of themselves (profiles.c); p == NULL: nothing. */
struct ma_profile {
    struct ma_span name, given_name, family_name, nickname, picture;
    struct ma_span user_metadata; /* JSON object text */
};
MA_MUST_USE int ma_profile_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_profile *ret);
/* All of it. MA_E_NOTFOUND. */
MA_MUST_USE int ma_profile_put(struct ma_db *db, struct ma_span user_id, const struct ma_profile *p, int64_t now);

/* --- passwords --- */
struct ma_password_row {
    struct ma_span hash; /* PHC or bcrypt string */
    int64_t created_at;
    int64_t changed_at; /* 0: never changed since created */
    bool must_reset;    /* it signs nobody in; setting a password clears this */
    int64_t used_at;    /* last good sign-in with it; 0: none noted */
    struct ma_place used_from;
};
MA_MUST_USE int ma_password_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                struct ma_password_row *ret);
/* Sets the password; the hash also joins the history, of which the newest keep_history rows stay
 * (0: none kept). A first password has changed_at 0, a later one now. */
MA_MUST_USE int ma_password_set(struct ma_db *db, struct ma_span user_id, struct ma_span hash, int keep_history,
                                int64_t now);
/* Replaces the stored string of the same password (rehash): compare-and-set on old_hash. */
MA_MUST_USE int ma_password_rehash(struct ma_db *db, struct ma_span user_id, struct ma_span old_hash,
                                   struct ma_span new_hash);
/* The password signs nobody in until one is set anew. MA_E_NOTFOUND. */
MA_MUST_USE int ma_password_must_reset(struct ma_db *db, struct ma_span user_id);
/* It signed its user in. MA_E_NOTFOUND. */
MA_MUST_USE int ma_password_used(struct ma_db *db, struct ma_span user_id, int64_t now, const struct ma_place *from);
/* Removes the password and its history. MA_E_NOTFOUND. */
MA_MUST_USE int ma_password_delete(struct ma_db *db, struct ma_span user_id);
/* Newest first, at most limit hashes (the current one is the first). */
MA_MUST_USE int ma_password_history(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int limit,
                                    struct ma_span *ret, size_t *ret_n);

/* --- authentication methods (all but password) --- */
enum ma_factor {
    /* in the order GET /factors lists them */
    MA_FACTOR_PASSWORD,
    MA_FACTOR_PASSKEY,
    MA_FACTOR_WEBAUTHN_PLATFORM,
    MA_FACTOR_WEBAUTHN_ROAMING,
    MA_FACTOR_TOTP,
    MA_FACTOR_PHONE,
    MA_FACTOR_EMAIL,
    MA_FACTOR_PUSH,
    MA_FACTOR_RECOVERY,
    MA_FACTOR__COUNT
};
const char *ma_factor_name(enum ma_factor f); /* "push-notification"; static */
/* MA_FACTOR__COUNT when unknown. */
enum ma_factor ma_factor_parse(struct ma_span name);
/* The type an id begins with ("totp|…"); MA_FACTOR__COUNT when it has none. */
enum ma_factor ma_factor_of_id(struct ma_span id);

struct ma_method {
    struct ma_span id; /* "totp|dev_…" */
    enum ma_factor type;
    bool confirmed;
    struct ma_span name;    /* p == NULL: none */
    struct ma_span address; /* e-mail or E.164 phone number; p == NULL */
    bool voice;             /* phone: preferred_authentication_method is voice */
    struct ma_span secret;  /* sealed TOTP seed, or recovery code MAC; p == NULL */
    int64_t last_step;      /* TOTP: last accepted time step, 0 before */
    int64_t created_at;
    int64_t last_auth_at;      /* 0: never used */
    struct ma_place used_from; /* read only */
    int64_t expires_at;        /* pending enrolment: when it lapses; 0 once confirmed */
};
#define MA_METHODS_MAX 64 /* rows read per user at most: 20 confirmed and pending ones */
/* Confirmed methods and pending ones with expires_at > now, created_at ascending then id.
 * MA_E_RANGE past cap. */
MA_MUST_USE int ma_method_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t now,
                               struct ma_method *ret, size_t cap, size_t *ret_n);
MA_MUST_USE int ma_method_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                              int64_t now, struct ma_method *ret);
MA_MUST_USE int ma_method_insert(struct ma_db *db, struct ma_span user_id, const struct ma_method *m);
/* pending → confirmed: sets confirmed, clears expires_at, sets last_step; MA_E_CONFLICT unless it was pending
 * and unexpired. */
MA_MUST_USE int ma_method_confirm(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t last_step,
                                  int64_t now);
/* TOTP replay guard: last_step < step → step; last_auth_at of a confirmed one, and where it was used from. */
MA_MUST_USE int ma_method_totp_advance(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t step,
                                       int64_t now, const struct ma_place *from);
/* name p == NULL keeps; voice < 0 keeps. Only confirmed rows; MA_E_CONFLICT otherwise. */
MA_MUST_USE int ma_method_update(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span name,
                                 int voice);
/* Both set as given, name p == NULL: none. Only confirmed rows; MA_E_CONFLICT otherwise. */
MA_MUST_USE int ma_method_settings(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span name,
                                   bool voice);
/* MA_E_NOTFOUND when there is none. */
MA_MUST_USE int ma_method_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id);
/* Deletes the user's other rows of this type: confirmed ones (confirmed true) or pending ones, except `keep`.
 * address p != NULL narrows to that address. */
MA_MUST_USE int ma_method_delete_others(struct ma_db *db, struct ma_span user_id, enum ma_factor type, bool confirmed,
                                        struct ma_span address, struct ma_span keep);
MA_MUST_USE int ma_method_delete_pending(struct ma_db *db, struct ma_span user_id);
MA_MUST_USE int ma_method_delete_all(struct ma_db *db, struct ma_span user_id);
/* Deletes pending methods and enrolments that lapsed before `before`, at most limit of each. Returns count ≥ 0. */
int ma_expire_pending(struct ma_db *db, int64_t before, int limit);

/* --- WebAuthn credentials: what a passkey's or security key's method row holds besides --- */
struct ma_credential {
    struct ma_span method_id;
    struct ma_span credential_id;
    struct ma_span public_key; /* COSE_Key as received */
    int64_t alg;               /* COSE algorithm */
    int64_t sign_count;
    uint8_t aaguid[16];
    bool be, bs, uv;            /* backup eligible, backed up, user was verified at registration */
    struct ma_span attestation; /* "none", "packed", … */
    struct ma_span transports;  /* JSON array text; p == NULL: not told */
    struct ma_span user_agent;  /* label of the browser it was made in; p == NULL */
    struct ma_span rp_id;
    struct ma_span user_handle;
};
/* MA_E_EXISTS when the credential id is taken, by whomever. */
MA_MUST_USE int ma_credential_insert(struct ma_db *db, struct ma_span user_id, const struct ma_credential *c);
/* A user's credentials, in no order; they go with their methods. */
MA_MUST_USE int ma_credential_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                   struct ma_credential *ret, size_t cap, size_t *ret_n);
/* The random handle authenticators know the user by; MA_E_NOTFOUND before the first registration. */
MA_MUST_USE int ma_user_handle_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span *ret);
MA_MUST_USE int ma_user_handle_insert(struct ma_db *db, struct ma_span user_id, struct ma_span handle, int64_t now);

/* --- enrolment sessions --- */
struct ma_enrolment {
    struct ma_span session_mac; /* 32 bytes: vault mac of the auth_session, purpose "session" */
    struct ma_span user_id, client_id;
    enum ma_factor type;
    struct ma_span method_id; /* "totp|dev_…", "password|new" */
    struct ma_span code_mac;  /* 32 bytes for codes we send; p == NULL otherwise */
    struct ma_span data;      /* sealed or opaque extra state; p == NULL */
    int attempts;             /* wrong codes so far */
    int64_t created_at, expires_at;
    int64_t consumed_at; /* 0: open */
};
MA_MUST_USE int ma_enrolment_insert(struct ma_db *db, const struct ma_enrolment *e);
/* By session, for this user only; consumed and expired rows are returned too (the caller decides). */
MA_MUST_USE int ma_enrolment_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                 struct ma_span session_mac, struct ma_enrolment *ret);
/* consumed_at 0 → now; MA_E_CONFLICT when already consumed or expired. */
MA_MUST_USE int ma_enrolment_consume(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now);
/* attempts + 1, returning the new count; at `kill_at` the session is consumed and its pending method deleted. */
MA_MUST_USE int ma_enrolment_fail(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int kill_at,
                                  int64_t now, int *ret_attempts);
MA_MUST_USE int ma_enrolments_delete_user(struct ma_db *db, struct ma_span user_id);
/* Drops the enrolments of a deleted or replaced method. */
MA_MUST_USE int ma_enrolment_delete_method(struct ma_db *db, struct ma_span user_id, struct ma_span method_id);

/* --- durable token buckets (failures, messages) --- */
#define MA_COUNTER_LIMIT_MAX 1000000000            /* tokens */
#define MA_COUNTER_PERIOD_MAX_MS (31 * 86400000LL) /* both: MA_E_INVAL past these */
struct ma_counter_rule {
    const char *name;  /* "otp_failures" */
    int64_t limit;     /* bucket size; 0: off (allowed, MA_COUNTER_LIMIT_MAX remaining, nothing stored) */
    int64_t period_ms; /* time in which `limit` tokens come back */
};
struct ma_counter_state {
    bool allowed;
    int64_t remaining;
    int64_t retry_after_ms; /* until a token is there, when not allowed */
};
/* Looks without taking (reader is fine). */
MA_MUST_USE int ma_counter_get(struct ma_db *db, struct ma_span user_id, const struct ma_counter_rule *rule,
                               int64_t now, struct ma_counter_state *ret);
/* Takes one token when there is one. */
MA_MUST_USE int ma_counter_take(struct ma_db *db, struct ma_span user_id, const struct ma_counter_rule *rule,
                                int64_t now, struct ma_counter_state *ret);

/* The same for buckets that belong to no user, by a 32-byte MAC of what they count; the rule's name does not matter. */
MA_MUST_USE int ma_shared_counter_get(struct ma_db *db, struct ma_span key_mac, const struct ma_counter_rule *rule,
                                      int64_t now, struct ma_counter_state *ret);
MA_MUST_USE int ma_shared_counter_take(struct ma_db *db, struct ma_span key_mac, const struct ma_counter_rule *rule,
                                       int64_t now, struct ma_counter_state *ret);
/* Deletes up to `limit` of those that were full before; how many it found, or an error. */
MA_MUST_USE int ma_shared_counters_expire(struct ma_db *db, int64_t before, int limit);

/* --- addresses that a user signed in from, as MACs; the newest are kept --- */
#define MA_KNOWN_ADDRESSES_MAX 20
MA_MUST_USE int ma_known_address(struct ma_db *db, struct ma_span user_id, struct ma_span address_mac, bool *ret);
MA_MUST_USE int ma_known_address_put(struct ma_db *db, struct ma_span user_id, struct ma_span address_mac, int64_t now);

/* --- outbox: durable deliveries; the payload is sealed (table "outbox", column "payload", row id, user) --- */
struct ma_outbox_row {
    struct ma_span id;      /* 32 hex */
    struct ma_span channel; /* "email", "sms", "voice", "push" */
    struct ma_span user_id;
    struct ma_span payload;
    int attempts;
    int64_t created_at, next_at;
    bool dead;
    struct ma_span last_error; /* p == NULL: none */
};
MA_MUST_USE int ma_outbox_insert(struct ma_db *db, const struct ma_outbox_row *row);
/* Alive rows with next_at ≤ now, oldest first. */
MA_MUST_USE int ma_outbox_due(struct ma_db *db, struct ma_arena *a, int64_t now, struct ma_outbox_row *ret, size_t cap,
                              size_t *ret_n);
/* How many messages of one channel wait or are dead, and when the oldest was written (0: none). */
struct ma_outbox_count {
    int64_t n, oldest_at;
};
/* By channel name, as far as the caller's array of names goes. At most MA_OUTBOX_COUNT_MAX rows are looked at, the
 * ones that are due first. */
#define MA_OUTBOX_COUNT_MAX 50000
MA_MUST_USE int ma_outbox_count(struct ma_db *db, bool dead, const char *const *channels, size_t n,
                                struct ma_outbox_count *ret);
/* Earliest next_at of alive rows; MA_E_NOTFOUND when there is none. */
MA_MUST_USE int ma_outbox_next(struct ma_db *db, int64_t *ret_at);
MA_MUST_USE int ma_outbox_done(struct ma_db *db, struct ma_span id);
MA_MUST_USE int ma_outbox_retry(struct ma_db *db, struct ma_span id, int64_t next_at, bool dead, struct ma_span error);
/* Not tried, or surely not accepted: due again at next_at, attempts unchanged. MA_E_NOTFOUND when it is gone. */
MA_MUST_USE int ma_outbox_defer(struct ma_db *db, struct ma_span id, int64_t next_at);
/* Dead letters, oldest first. */
MA_MUST_USE int ma_outbox_dead(struct ma_db *db, struct ma_arena *a, struct ma_outbox_row *ret, size_t cap,
                               size_t *ret_n);
/* Dead → alive, due now; all when id is empty. */
MA_MUST_USE int ma_outbox_revive(struct ma_db *db, struct ma_span id, int64_t now);

/* --- security notices (notices.c) --- */

/* A change that its user was told of. Looked up by the MAC of the link's token these rows name no user: the capability
 * does instead. Sealed values: table "notices", column by name, row id, user. */
struct ma_notice_row {
    struct ma_span id;        /* 32 hex */
    struct ma_span token_mac; /* 32 bytes */
    struct ma_span user_id;
    struct ma_span event;   /* "factor_added" */
    struct ma_span subject; /* id of the method or account; p == NULL: none */
    struct ma_span info;    /* sealed: what the message said, where it went */
    struct ma_span kept;    /* sealed: what undoing needs; p == NULL: nothing, or used */
    struct ma_span outcome; /* what undoing did; p == NULL: not used */
    int64_t created_at, expires_at, used_at;
};
MA_MUST_USE int ma_notice_insert(struct ma_db *db, const struct ma_notice_row *row);
/* Used and lapsed ones too. MA_E_NOTFOUND. */
MA_MUST_USE int ma_notice_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac,
                                   struct ma_notice_row *ret);
/* The user's unused, unlapsed ones of this event, oldest first, at most cap. */
MA_MUST_USE int ma_notice_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span event,
                               int64_t now, struct ma_notice_row *ret, size_t cap, size_t *ret_n);
/* used_at 0 → now, with the outcome; kept goes. MA_E_CONFLICT when used or lapsed. */
MA_MUST_USE int ma_notice_use(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span outcome,
                              int64_t now);
/* The unused ones of the user of row `but` of this event, made when `but` was or later, about this subject (p == NULL:
 * any), get this outcome; `but` itself does not. kept goes. */
MA_MUST_USE int ma_notice_void(struct ma_db *db, const struct ma_notice_row *but, struct ma_span event,
                               struct ma_span subject, struct ma_span outcome, int64_t now);
int ma_notices_expire(struct ma_db *db, int64_t before, int limit);

struct ma_reset {
    struct ma_span token_mac; /* 32 bytes */
    struct ma_span user_id;
    int64_t created_at, expires_at, used_at;
};
/* Earlier ones of the user go. */
MA_MUST_USE int ma_reset_insert(struct ma_db *db, const struct ma_reset *row);
/* Used and lapsed ones too. MA_E_NOTFOUND. */
MA_MUST_USE int ma_reset_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac, struct ma_reset *ret);
/* used_at 0 → now. MA_E_CONFLICT when used or lapsed. */
MA_MUST_USE int ma_reset_use(struct ma_db *db, struct ma_span user_id, struct ma_span token_mac, int64_t now);
int ma_resets_expire(struct ma_db *db, int64_t before, int limit);

/* --- audit --- */
struct ma_audit_row {
    int64_t id;                                                    /* ascending */
    int64_t at;                                                    /* ms */
    struct ma_span type;                                           /* "my_account_authentication_method_succeeded" */
    struct ma_span operation;                                      /* "create", "verify", …; p == NULL */
    struct ma_span user_id, client_id, ip, user_agent, request_id; /* p == NULL: unknown */
    struct ma_span method_id;                                      /* p == NULL */
    struct ma_span detail;                                         /* JSON object text; p == NULL */
};
/* Appends to the chain (ma/audit.h) that ma_audit_open tied to the writer; its id is given here. MA_E_INVAL without. */
MA_MUST_USE int ma_audit_insert(struct ma_db *db, const struct ma_audit_row *row);
/* Rows with id > after_id and at ≥ since, of one user when user_id.p != NULL, ascending. */
MA_MUST_USE int ma_audit_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t since,
                              int64_t after_id, struct ma_audit_row *ret, size_t cap, size_t *ret_n);

/* The user's own rows with id < before_id and since ≤ at < until, newest first. */
MA_MUST_USE int ma_audit_list_newest(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t before_id,
                                     int64_t since, int64_t until, struct ma_audit_row *ret, size_t cap, size_t *ret_n);

/* --- configuration objects of the state document --- */
/* kind: "api", "tenant", "factors" (key ""), "connection", "client", "client_grant", "role",
 * "organization", "policy"; json: the merged element without its secrets. */
struct ma_object {
    struct ma_span kind, key, json;
};
MA_MUST_USE int ma_object_put(struct ma_db *db, const struct ma_object *o, int64_t now);
MA_MUST_USE int ma_object_get(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span key,
                              struct ma_object *ret);
/* All objects, by kind then key. The array is in the arena. */
MA_MUST_USE int ma_object_list(struct ma_db *db, struct ma_arena *a, struct ma_object **ret, size_t *ret_n);
/* Sealed secrets of objects: table "object_secrets", column name, row "kind|key". */
MA_MUST_USE int ma_object_secret_put(struct ma_db *db, struct ma_span kind, struct ma_span key, struct ma_span name,
                                     struct ma_span sealed, int64_t now);
MA_MUST_USE int ma_object_secret_get(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span key,
                                     struct ma_span name, struct ma_span *ret);

/* --- accounts at identity providers being connected (connects.c) ---
 * Looked up by ticket or state these rows name no user: the MAC of a random capability does instead. */
enum ma_connect_stage {
    MA_CONNECT_NEW,        /* the ticket was not used */
    MA_CONNECT_STARTED,    /* the browser was sent to the provider */
    MA_CONNECT_RETURNED,   /* it came back; the provider's answer is being looked at */
    MA_CONNECT_AUTHORIZED, /* a connect_code was given to the client */
    MA_CONNECT_OVER
};
struct ma_connect {
    struct ma_span session_mac, ticket_mac; /* 32 bytes each */
    struct ma_span user_id, client_id, connection;
    struct ma_span provider; /* who the connection led to when it was started */
    struct ma_span origin;   /* public origin it was started at */
    struct ma_span redirect_uri;
    struct ma_span client_state;   /* sealed; p == NULL: not given, or over */
    struct ma_span code_challenge; /* p == NULL: not given */
    struct ma_span jkt, org_id;    /* of the starting token; p == NULL: none */
    struct ma_span scopes;         /* blank-separated */
    struct ma_span params;         /* sealed; p == NULL: none, or over */
    enum ma_connect_stage stage;
    struct ma_span state_mac, cookie_mac, code_mac; /* 32 bytes; p == NULL before their stage */
    struct ma_span secret, result;                  /* sealed; p == NULL before their stage and when it is over */
    int64_t started_at, code_expires_at;            /* 0 before their stage */
    int64_t created_at, expires_at;
};
/* As MA_CONNECT_NEW, whatever stage says. */
MA_MUST_USE int ma_connect_insert(struct ma_db *db, const struct ma_connect *c);
/* MA_E_NOTFOUND; lapsed and finished rows are returned too (the caller decides). */
MA_MUST_USE int ma_connect_by_ticket(struct ma_db *db, struct ma_arena *a, struct ma_span ticket_mac,
                                     struct ma_connect *ret);
MA_MUST_USE int ma_connect_by_state(struct ma_db *db, struct ma_arena *a, struct ma_span state_mac,
                                    struct ma_connect *ret);
MA_MUST_USE int ma_connect_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span session_mac,
                               struct ma_connect *ret);
/* The steps from stage to stage; MA_E_CONFLICT unless the row is in the stage before and has not lapsed at `now`. */
MA_MUST_USE int ma_connect_start(struct ma_db *db, const struct ma_connect *c,
                                 int64_t now); /* state_mac, cookie_mac, secret */
MA_MUST_USE int ma_connect_return(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now);
MA_MUST_USE int ma_connect_authorize(struct ma_db *db, const struct ma_connect *c,
                                     int64_t now); /* code_mac, result, code_expires_at */
/* MA_CONNECT_AUTHORIZED, code not lapsed → over. */
MA_MUST_USE int ma_connect_complete(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac, int64_t now);
/* The stage the caller saw → over, sealed values dropped. MA_E_CONFLICT when it is in another, or gone. */
MA_MUST_USE int ma_connect_abandon(struct ma_db *db, struct ma_span user_id, struct ma_span session_mac,
                                   enum ma_connect_stage stage);
/* Deletes the user's oldest rows but for the newest `keep`. */
MA_MUST_USE int ma_connect_trim(struct ma_db *db, struct ma_span user_id, int keep);
/* Deletes rows that lapsed before `before`. Returns count ≥ 0. */
int ma_connect_expire(struct ma_db *db, int64_t before, int limit);

/* --- the vault: connected accounts and their tokens (accounts.c) ---
 * Sealed values: table "accounts", column by name, row id, user. */
struct ma_account {
    struct ma_span id; /* "cac_…" */
    struct ma_span user_id;
    struct ma_span connection, provider;        /* provider: who the connection led to, with whom the tokens work */
    struct ma_span subject;                     /* the provider's id of its user */
    struct ma_span client_id;                   /* that connected it */
    struct ma_span org_id;                      /* p == NULL: none */
    struct ma_span scopes;                      /* granted, blank-separated, sorted */
    struct ma_span access_token, refresh_token; /* sealed; p == NULL: none */
    struct ma_span claims;                      /* sealed */
    int64_t access_expires_at;                  /* 0: does not lapse */
    int64_t refresh_expires_at;                 /* 0: not known */
    bool needs_reconnect;                       /* the provider refused to refresh, or nobody used it for too long */
    int64_t version;
    int64_t created_at, updated_at, used_at;
};
/* Newest first, then by id, without the sealed values (p == NULL). MA_E_RANGE past cap. */
MA_MUST_USE int ma_account_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_account *ret,
                                size_t cap, size_t *ret_n);
MA_MUST_USE int ma_account_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                               struct ma_account *ret);
MA_MUST_USE int ma_account_count(struct ma_db *db, struct ma_span user_id, int64_t *ret);
/* The sealed claims alone. MA_E_NOTFOUND. */
MA_MUST_USE int ma_account_claims(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                                  struct ma_span *ret);
/* What names an account at a provider, whoever connected it. */
struct ma_account_name {
    struct ma_span connection, provider, subject;
};
/* Whoever owns it (ret->user_id); MA_E_NOTFOUND. */
MA_MUST_USE int ma_account_owner(struct ma_db *db, struct ma_arena *a, const struct ma_account_name *name,
                                 struct ma_account *ret);
/* version 1. MA_E_EXISTS when the provider account is connected, by whomever. */
MA_MUST_USE int ma_account_insert(struct ma_db *db, const struct ma_account *acc);
/* Connected anew: everything but id, user, connection, provider, subject and created_at; clears needs_reconnect;
 * version + 1. */
MA_MUST_USE int ma_account_reconnect(struct ma_db *db, const struct ma_account *acc);
/* Refreshed: tokens, their times, scopes, updated_at, used_at where version is acc->version; version + 1.
 * MA_E_CONFLICT. */
MA_MUST_USE int ma_account_refreshed(struct ma_db *db, const struct ma_account *acc);
/* The tokens go, needs_reconnect comes, where the version is this one. MA_E_CONFLICT. */
MA_MUST_USE int ma_account_fail(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t version,
                                int64_t now);
MA_MUST_USE int ma_account_used(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now);
MA_MUST_USE int ma_account_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id); /* MA_E_NOTFOUND */
/* Drops the tokens of accounts whose refresh token lapsed before `now` or that were last used before `idle_before`,
 * and marks them. Returns count ≥ 0. */
int ma_account_lapse(struct ma_db *db, int64_t now, int64_t idle_before, int limit);

/* --- the token service --- */

/* What was proven about a user at sign-in, and when. Times in ms; 0: never. */
#define MA_AMR_PWD 1u     /* password */
#define MA_AMR_PASSKEY 2u /* passkey */
#define MA_AMR_UV 4u      /* with user verification: what "phr" stands for */
#define MA_AMR_OTP 8u     /* TOTP */
#define MA_AMR_SMS 16u    /* a code by message or call */
#define MA_AMR_EMAIL 32u  /* a code by e-mail */
#define MA_AMR_HWK 64u    /* security key */
#define MA_AMR_RECOVERY 128u
#define MA_AMR_PUSH 256u
#define MA_AMR_MFA 512u /* a second factor was shown: mfa_at says when */
struct ma_authn {
    int64_t auth_at, mfa_at;
    uint32_t amr;
};

/* Users by what they sign in with: those that have a database connection (this one when connection.p), at most cap;
 * *ret_n tells how many there are up to cap. E-mail is compared without regard to ASCII case. */
MA_MUST_USE int ma_user_by_email(struct ma_db *db, struct ma_arena *a, struct ma_span email, struct ma_span connection,
                                 struct ma_user *ret, size_t cap, size_t *ret_n);
MA_MUST_USE int ma_user_by_phone(struct ma_db *db, struct ma_arena *a, struct ma_span phone, struct ma_span connection,
                                 struct ma_user *ret, size_t cap, size_t *ret_n);

/* Browser sessions (sessions.c). */
struct ma_session {
    struct ma_span id;         /* "ses_…": the sid of tokens */
    struct ma_span cookie_mac; /* 32 bytes */
    struct ma_span user_id;
    struct ma_span org_id, ip, user_agent; /* p == NULL: none */
    struct ma_authn authn;
    int64_t created_at, used_at, idle_at, expires_at; /* idle_at: when it ends unless it is used */
};
/* idle_at is stored no later than expires_at, here and by update. MA_E_EXISTS. */
MA_MUST_USE int ma_session_insert(struct ma_db *db, const struct ma_session *s);
/* By the cookie; lapsed ones are not found. */
MA_MUST_USE int ma_session_by_cookie(struct ma_db *db, struct ma_arena *a, struct ma_span cookie_mac, int64_t now,
                                     struct ma_session *ret);
MA_MUST_USE int ma_session_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                               int64_t now, struct ma_session *ret);
/* authn, org_id, used_at and idle_at. MA_E_NOTFOUND, also when it had lapsed at used_at. */
MA_MUST_USE int ma_session_update(struct ma_db *db, const struct ma_session *s);
MA_MUST_USE int ma_session_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id); /* MA_E_NOTFOUND */
int ma_sessions_expire(struct ma_db *db, int64_t now, int limit);                               /* count ≥ 0 */

/* Authentications under way (flows.c). By token: the MAC of a random capability names the row, not a user. */
struct ma_flow {
    struct ma_span token_mac; /* 32 bytes */
    struct ma_span kind;      /* "login", "mfa", "passkey" */
    struct ma_span user_id;   /* p == NULL: not known yet */
    struct ma_span client_id;
    struct ma_span data; /* JSON text */
    int64_t attempts, version;
    int64_t created_at, expires_at, consumed_at;
};
MA_MUST_USE int ma_flow_insert(struct ma_db *db, const struct ma_flow *f); /* version 1 */
/* Lapsed and consumed rows are returned too (the caller decides). */
MA_MUST_USE int ma_flow_get(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac, struct ma_flow *ret);
/* user_id, data, attempts, expires_at where version is f->version; version + 1. MA_E_CONFLICT, also once consumed. */
MA_MUST_USE int ma_flow_update(struct ma_db *db, const struct ma_flow *f);
/* MA_E_CONFLICT when it was consumed or has lapsed. */
MA_MUST_USE int ma_flow_consume(struct ma_db *db, struct ma_span token_mac, int64_t now);
int ma_flows_expire(struct ma_db *db, int64_t before, int limit);

/* Codes and assertions asked of users (challenges.c). */
struct ma_challenge {
    struct ma_span id_mac;   /* 32 bytes: of the oob_code, or of another name the client knows it by */
    struct ma_span flow_mac; /* token_mac of the flow it belongs to */
    struct ma_span user_id, method_id;
    enum ma_factor type;
    struct ma_span code_mac; /* 32 bytes; p == NULL: no code */
    struct ma_span data;     /* p == NULL: none */
    int64_t attempts, created_at, expires_at, consumed_at;
};
MA_MUST_USE int ma_challenge_insert(struct ma_db *db, const struct ma_challenge *c);
MA_MUST_USE int ma_challenge_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id_mac,
                                 struct ma_challenge *ret);
/* MA_E_CONFLICT when it was consumed or has lapsed. */
MA_MUST_USE int ma_challenge_consume(struct ma_db *db, struct ma_span user_id, struct ma_span id_mac, int64_t now);
/* attempts + 1; at kill_at it is consumed. MA_E_CONFLICT as above. */
MA_MUST_USE int ma_challenge_fail(struct ma_db *db, struct ma_span user_id, struct ma_span id_mac, int kill_at,
                                  int64_t now, int64_t *ret_attempts);
int ma_challenges_expire(struct ma_db *db, int64_t before, int limit);

/* Authorization codes (codes.c). */
struct ma_code {
    struct ma_span code_mac; /* 32 bytes */
    struct ma_span user_id, client_id;
    struct ma_span session_id; /* p == NULL: none */
    struct ma_span redirect_uri;
    struct ma_span data;      /* JSON text */
    struct ma_span family_id; /* what it was redeemed for; p == NULL: nothing yet, or no refresh token */
    int64_t created_at, expires_at, used_at;
};
MA_MUST_USE int ma_code_insert(struct ma_db *db, const struct ma_code *c);
/* Used and lapsed ones too. */
MA_MUST_USE int ma_code_get(struct ma_db *db, struct ma_arena *a, struct ma_span code_mac, struct ma_code *ret);
/* used_at 0 → now, with the family it brings (p == NULL: none). MA_E_CONFLICT when used or lapsed. */
MA_MUST_USE int ma_code_use(struct ma_db *db, struct ma_span code_mac, struct ma_span family_id, int64_t now);
int ma_codes_expire(struct ma_db *db, int64_t before, int limit);

/* Refresh tokens (families.c). */
#define MA_FAMILIES_MAX 200 /* live ones of one user and client; the oldest give way */
struct ma_family {
    struct ma_span id; /* 22 characters */
    struct ma_span user_id, client_id;
    struct ma_span session_id;       /* p == NULL: none */
    struct ma_span audience;         /* "" : none but userinfo */
    struct ma_span scope;            /* granted, blank-separated, OIDC scopes included */
    struct ma_span org_id, jkt, gty; /* p == NULL: none */
    struct ma_authn authn;
    struct ma_span salt;                                          /* 32 bytes */
    int64_t generation;                                           /* of the newest token */
    int64_t rotated_at;                                           /* when the one before it was exchanged; 0: never */
    int64_t created_at, used_at, idle_at, expires_at, revoked_at; /* idle_at, expires_at 0: never */
    struct ma_place from;                                         /* of the newest exchange */
};
/* Also ends the oldest of the user and client past MA_FAMILIES_MAX. */
MA_MUST_USE int ma_family_insert(struct ma_db *db, const struct ma_family *f);
/* By the id that the token names; revoked and lapsed ones too. */
MA_MUST_USE int ma_family_get(struct ma_db *db, struct ma_arena *a, struct ma_span id, struct ma_family *ret);
/* generation + 1, rotated_at = used_at = now, idle_at and from as in f, where generation is f->generation.
 * MA_E_CONFLICT, also when it is revoked or lapsed at `now`. */
MA_MUST_USE int ma_family_rotate(struct ma_db *db, const struct ma_family *f, int64_t now);
/* Undoes a rotation whose token nobody was given: f is the family as it was. MA_E_CONFLICT when it went on since. */
MA_MUST_USE int ma_family_rotate_back(struct ma_db *db, const struct ma_family *f);
/* used_at = now, idle_at and from as in f. MA_E_CONFLICT when it is revoked or lapsed at `now`. */
MA_MUST_USE int ma_family_touch(struct ma_db *db, const struct ma_family *f, int64_t now);
/* authn: a second factor was shown. MA_E_CONFLICT when it is revoked. */
MA_MUST_USE int ma_family_step_up(struct ma_db *db, struct ma_span user_id, struct ma_span id,
                                  const struct ma_authn *authn);
/* MA_E_CONFLICT when it was revoked before (the first time stays) or is not there. */
MA_MUST_USE int ma_family_revoke(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now);
/* All of a session, of a user, of a user and client (client_id.p), or of these and an audience. Returns the count or an
 * error. */
int ma_families_revoke_session(struct ma_db *db, struct ma_span user_id, struct ma_span session_id, int64_t now);
int ma_families_revoke_user(struct ma_db *db, struct ma_span user_id, struct ma_span client_id, int64_t now);
int ma_families_revoke_audience(struct ma_db *db, struct ma_span user_id, struct ma_span client_id,
                                struct ma_span audience, int64_t now);
/* Deletes those that lapsed, or were revoked, before `before`. */
int ma_families_expire(struct ma_db *db, int64_t before, int limit);

/* Access tokens of the own issuer that are refused before they expire (revocations.c). */
#define MA_REVOKED_FOR_MS (INT64_C(2592060) * 1000) /* the longest life of a token, and the leeway */
/* One, by its jti; all that name a session of the user but this (p == NULL: none). Write. The caller sets
 * ctx->user_changed. */
MA_MUST_USE int ma_revoke_token(struct ma_db *db, struct ma_span user_id, struct ma_span jti, int64_t now);
MA_MUST_USE int ma_revoke_sessions(struct ma_db *db, struct ma_span user_id, struct ma_span keep_session, int64_t now);
/* All that name this session. Write; user_changed too. */
MA_MUST_USE int ma_revoke_session(struct ma_db *db, struct ma_span user_id, struct ma_span session_id, int64_t now);
/* Those issued before `now`: to a client within a session; to a client for an audience ("": userinfo alone). Write;
 * user_changed too. */
MA_MUST_USE int ma_revoke_client(struct ma_db *db, struct ma_span user_id, struct ma_span session_id,
                                 struct ma_span client_id, int64_t now);
MA_MUST_USE int ma_revoke_audience(struct ma_db *db, struct ma_span user_id, struct ma_span client_id,
                                   struct ma_span audience, int64_t now);
/* What is known of an access token; p == NULL: absent. */
struct ma_access {
    struct ma_span user_id, jti, sid, client_id, audience;
    int64_t iat_s;
};
/* Whether it was revoked; true when it cannot be told. */
MA_MUST_USE int ma_revoked(struct ma_db *db, const struct ma_access *t, int64_t now, bool *ret);
int ma_revocations_expire(struct ma_db *db, int64_t before, int limit);

/* What a user is signed in with (signins.c): browser sessions, and refresh tokens. */
struct ma_signin_row {
    struct ma_span id;
    bool is_family;
    struct ma_span client_id, session_id; /* of a refresh token; p == NULL: none */
    struct ma_span org_id;
    struct ma_place from;
    struct ma_authn authn;
    int64_t created_at, used_at;
    int64_t expires_at; /* 0: never */
};
/* Those that are alive at `now`, newest first, then by id downwards, behind the place (created_at, id); id.p NULL: from
 * the start. At most cap. */
MA_MUST_USE int ma_signin_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t now,
                               const struct ma_signin_row *after, struct ma_signin_row *ret, size_t cap, size_t *ret_n);
/* used_at of a session (client_id empty), or of the client's refresh tokens of it, unless it is later already. `sid` as
 * in access tokens. */
MA_MUST_USE int ma_signin_used(struct ma_db *db, struct ma_span user_id, struct ma_span sid, struct ma_span client_id,
                               int64_t now);
/* Ends a browser session with its access tokens, refresh tokens and unused codes. MA_E_NOTFOUND. Write; user_changed
 * too. */
MA_MUST_USE int ma_signin_end_session(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now);
/* Ends a refresh token and the access tokens that its client has of the same session. MA_E_NOTFOUND. Write;
 * user_changed too. */
MA_MUST_USE int ma_signin_end_family(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                                     int64_t now);

/* Everything at once (signouts.c): browser sessions with their access tokens, refresh tokens, codes nobody used yet,
 * logins under way, devices that have not enrolled yet. What hangs on keep_session (p == NULL: none) stays, but for
 * logins and devices. For a password that changed, or an account that was taken over. Write. */
struct ma_signins_ended {
    int64_t sessions, families;
};
MA_MUST_USE int ma_signins_end(struct ma_db *db, struct ma_span user_id, struct ma_span keep_session, int64_t now,
                               struct ma_signins_ended *ret);

/* Takes back the push enrolments under way (signouts.c): a device needs its ticket only, so that whoever began one must
 * not keep it beyond the sign-in. Write. */
MA_MUST_USE int ma_push_pending_end(struct ma_db *db, struct ma_span user_id);

/* Consents (consents.c). */
struct ma_consent {
    struct ma_span id; /* "cns_…" */
    struct ma_span user_id, client_id, audience, scope;
    int64_t created_at, expires_at; /* expires_at 0: never */
};
/* Newest first. MA_E_RANGE past cap. */
MA_MUST_USE int ma_consent_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_consent *ret,
                                size_t cap, size_t *ret_n);
MA_MUST_USE int ma_consent_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                               struct ma_consent *ret);
MA_MUST_USE int ma_consent_find(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span client_id,
                                struct ma_span audience, struct ma_consent *ret);
/* Inserts, or replaces scope and expires_at of the one for this client and audience. */
MA_MUST_USE int ma_consent_put(struct ma_db *db, const struct ma_consent *c);
MA_MUST_USE int ma_consent_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id); /* MA_E_NOTFOUND */

/* The credential and its owner, by the id an authenticator names. MA_E_NOTFOUND. */
MA_MUST_USE int ma_credential_find(struct ma_db *db, struct ma_arena *a, struct ma_span credential_id,
                                   struct ma_credential *ret, struct ma_span *ret_user_id);
/* After an assertion: counter and backup state, where the counter still is old_count. MA_E_CONFLICT. */
MA_MUST_USE int ma_credential_used(struct ma_db *db, struct ma_span user_id, struct ma_span method_id,
                                   int64_t old_count, int64_t new_count, bool bs);
/* last_auth_at of a confirmed method, and where it was used from. MA_E_CONFLICT. */
MA_MUST_USE int ma_method_used(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now,
                               const struct ma_place *from);
/* The user by WebAuthn handle. MA_E_NOTFOUND. */
MA_MUST_USE int ma_user_by_handle(struct ma_db *db, struct ma_arena *a, struct ma_span handle,
                                  struct ma_span *ret_user_id);

/* --- push notifications (push.c) --- */

/* What a method of the type push-notification holds besides. Sealed values: table "push_devices", column by name, row
 * the method's id. */
struct ma_push_device {
    struct ma_span user_id, id; /* of the method */
    struct ma_span device_id;   /* "dev_…" */
    struct ma_span ticket_mac;  /* 32 bytes */
    struct ma_span client_id;   /* of who began it */
    struct ma_span origin;      /* public origin where it began */
    bool held;                  /* a sign-in confirms it, once it enrolled */
    struct ma_span name;        /* what the device says; p == NULL: none */
    struct ma_span seed;        /* sealed; p == NULL: no authenticator is paired, or it is a method already */
    struct ma_span pair_id;     /* the paired method; p == NULL */
    struct ma_span identifier, public_key, token_mac; /* p == NULL until it is enrolled */
    struct ma_span service, push_token;               /* "GCM", "APNS"; sealed. p == NULL: no message can be sent */
    bool matching;                                    /* it can send a number along */
    int64_t created_at, enrolled_at, updated_at;
};
MA_MUST_USE int ma_push_device_insert(struct ma_db *db, const struct ma_push_device *d);
MA_MUST_USE int ma_push_device_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                                   struct ma_push_device *ret);
/* By the MAC of the ticket, and by the random id that the app knows: whoever owns it. */
MA_MUST_USE int ma_push_device_by_ticket(struct ma_db *db, struct ma_arena *a, struct ma_span ticket_mac,
                                         struct ma_push_device *ret);
MA_MUST_USE int ma_push_device_by_id(struct ma_db *db, struct ma_arena *a, struct ma_span device_id,
                                     struct ma_push_device *ret);
/* The one that this authenticator is paired with. */
MA_MUST_USE int ma_push_device_by_pair(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                       struct ma_span pair_id, struct ma_push_device *ret);
/* enrolled_at 0 → d->enrolled_at, with name, identifier, key, token, credentials and matching. MA_E_CONFLICT when a
 * device was first. */
MA_MUST_USE int ma_push_device_enrol(struct ma_db *db, const struct ma_push_device *d);
/* Its authenticator is this method from now on; the seed goes. MA_E_CONFLICT when it has one. */
MA_MUST_USE int ma_push_device_pair(struct ma_db *db, struct ma_span user_id, struct ma_span id,
                                    struct ma_span pair_id);
/* name, identifier, credentials, matching and updated_at of an enrolled one. MA_E_CONFLICT. */
MA_MUST_USE int ma_push_device_update(struct ma_db *db, const struct ma_push_device *d);

enum ma_push_state { MA_PUSH_OPEN, MA_PUSH_APPROVED, MA_PUSH_REJECTED, MA_PUSH_SUPERSEDED, MA_PUSH_EXPIRED };
struct ma_push_transaction {
    struct ma_span token_mac;    /* 32 bytes */
    struct ma_span challenge_id; /* id_mac of its challenge */
    struct ma_span user_id, method_id;
    struct ma_span answer_mac; /* of the text that the device must sign */
    struct ma_span number_mac; /* p == NULL: no number is asked for */
    enum ma_push_state state;
    struct ma_span reason; /* p == NULL: none */
    int64_t created_at, expires_at, answered_at;
};
MA_MUST_USE int ma_push_transaction_insert(struct ma_db *db, const struct ma_push_transaction *t);
/* By the MAC of its token, whoever owns it. */
MA_MUST_USE int ma_push_transaction_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac,
                                             struct ma_push_transaction *ret);
MA_MUST_USE int ma_push_transaction_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                        struct ma_span challenge_id, struct ma_push_transaction *ret);
/* Open → t->state, with t->reason. MA_E_CONFLICT when it was answered, or has lapsed at `now`. */
MA_MUST_USE int ma_push_transaction_answer(struct ma_db *db, const struct ma_push_transaction *t, int64_t now);
/* Open ones of the user are superseded, and their challenges with them; *ret_n counts them. */
MA_MUST_USE int ma_push_supersede(struct ma_db *db, struct ma_span user_id, int64_t now, int64_t *ret_n);
/* Marks open ones that lapsed before `before`, at most limit; they are deleted with their challenges. Returns count ≥
 * 0.
 */
int ma_push_expire(struct ma_db *db, int64_t before, int limit);

/* Every query of every repository, for the test that prepares and explains them all. Static. */
const struct ma_sql *const *ma_store_queries(size_t *ret_n);

#endif

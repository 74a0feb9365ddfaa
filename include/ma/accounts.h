/* SPDX-License-Identifier: Apache-2.0
 * Connected accounts: how a user connects an account at an identity provider, sees and removes it,
 * and how a fresh token of the provider is had from the vault.
 *
 * A connection goes: begin (API) → ticket (browser) → provider → callback (browser) → complete (API).
 * The browser's steps carry no access token: the ticket, then state and cookie together, name the row.
 */
#ifndef MA_ACCOUNTS_H
#define MA_ACCOUNTS_H

#include "ma/ctx.h"
#include "ma/id.h"
#include "ma/provider.h"

#define MA_ACCOUNTS_MAX 100                   /* connected accounts of one user */
#define MA_CONNECTS_MAX 10                    /* connections under way for one user; the oldest gives way */
#define MA_TICKET_RELOAD_MS 60000             /* how long a used ticket leads the same browser on again */
#define MA_ACCOUNT_IDLE_MS (365 * 86400000LL) /* tokens nobody used for so long are dropped */
#define MA_ACCOUNT_USED_MS 3600000            /* how exactly the last use is remembered */
#define MA_ACCESS_MARGIN_MS 30000             /* an access token that lapses sooner counts as lapsed */

/* What audit rows about connecting are called. */
#define MA_AUDIT_CONNECTED "connected_accounts_connection_succeeded"
#define MA_AUDIT_CONNECT_FAILED "connected_accounts_connection_failed"
#define MA_AUDIT_DISCONNECTED "connected_accounts_delete_succeeded"
#define MA_AUDIT_DISCONNECT_FAILED "connected_accounts_delete_failed"

/* What such a row says. */
struct ma_audited_account {
    struct ma_span connection;
    struct ma_span id, subject;            /* p == NULL: no account came of it */
    const char *error, *error_description; /* NULL: it went well */
};
MA_MUST_USE int ma_audit_account(struct ma_ctx *ctx, const char *type, const struct ma_audited_account *a);

/* --- the API's part --- */

struct ma_connect_request {
    struct ma_span connection, redirect_uri;
    struct ma_span state, code_challenge; /* p == NULL: not given */
    struct ma_span_list scopes;           /* n 0: the configured ones */
    const struct ma_param *params;        /* authorization_params that were given */
    size_t n_params;
};
struct ma_connect_begun {
    const char *auth_session, *ticket; /* arena */
    int64_t expires_in_s;
};
/* 400 for an unknown connection or redirect_uri, 403 when the client may not use the connection. Write. */
MA_MUST_USE int ma_connect_begin(struct ma_ctx *ctx, const struct ma_connect_request *in, struct ma_connect_begun *ret);

struct ma_connect_proof {
    struct ma_span auth_session, connect_code, redirect_uri;
    struct ma_span code_verifier; /* p == NULL: not given */
};
/* A token nobody will use any more. Where the connection says so, the provider hears of it (RFC 7009); not so while
 * another stored account may live by the same grant, which revoking may end with it (RFC 7009 §2.1). */
struct ma_leftover {
    struct ma_span connection, provider; /* provider: whose it is */
    struct ma_span token;                /* p == NULL: there is none */
    const char *hint;                    /* "refresh_token" or "access_token" */
};
/* Stores the account. *left: after a refusal, what the provider gave in vain. 404 for a session that is unknown, over,
 * or another user's or client's, and for a wrong code or verifier; 400 for another redirect_uri, for missing offline
 * access, for too many accounts; 409 when somebody else has connected the provider account. Write. */
MA_MUST_USE int ma_connect_complete_account(struct ma_ctx *ctx, const struct ma_connect_proof *in,
                                            struct ma_account *ret, struct ma_leftover *left);

/* The caller's accounts, newest first, without their sealed values. */
MA_MUST_USE int ma_accounts_list(struct ma_ctx *ctx, struct ma_account **ret, size_t *ret_n);
/* Deletes one and its tokens; *ret is what was there. 404. Write. */
MA_MUST_USE int ma_accounts_delete(struct ma_ctx *ctx, struct ma_span id, struct ma_account *ret);
/* Tells the provider, when the connection says so. Failure is logged, nothing more. Net. */
void ma_accounts_revoke(struct ma_ctx *ctx, const struct ma_leftover *left);
/* What a deleted account leaves; none when the provider is not to hear of it. */
MA_MUST_USE int ma_accounts_leftover(struct ma_ctx *ctx, const struct ma_account *deleted, struct ma_leftover *ret);
/* Whether there is something to revoke; readies ctx for the network lane then. */
bool ma_accounts_must_revoke(struct ma_ctx *ctx, const struct ma_leftover *left);

/* --- the browser's part --- */

#define MA_CONNECT_COOKIE_MAX 48
struct ma_connect_leg {
    struct ma_connect row;
    char cookie_name[MA_CONNECT_COOKIE_MAX];
    const struct ma_state_connection *connection;
    struct ma_provider provider;
    bool resumed; /* the ticket was used by this browser a moment ago */
    char state[MA_TOKEN_LEN + 1], nonce[MA_TOKEN_LEN + 1], verifier[MA_TOKEN_LEN + 1];
    char cookie[MA_TOKEN_LEN + 1];
    char code[MA_TOKEN_LEN + 1]; /* connect_code, once authorized */
    const char *authorize_url;
    const char *error, *error_description; /* why it failed, for the client; NULL: it did not. Arena or static */
};
/* Why a browser's request leads nowhere: a page is shown, since no redirect can be trusted. */
enum ma_connect_refusal {
    MA_CONNECT_FINE,
    MA_CONNECT_UNKNOWN, /* no such ticket or state, used already, or lapsed */
    MA_CONNECT_STRANGER /* not the browser that started */
};
/* Reads one cookie of the request; the API layer's. */
typedef struct ma_span (*ma_cookie_reader)(const struct ma_ctx *ctx, const char *name);

/* The row behind a ticket. Fills row, connection, resumed. *ret_refusal says whether to go on. Any lane. */
MA_MUST_USE int ma_connect_ticket(struct ma_ctx *ctx, struct ma_span ticket, ma_cookie_reader cookie,
                                  struct ma_connect_leg *leg, enum ma_connect_refusal *ret_refusal);
/* Resolves the provider and builds authorize_url, or sets leg->error. Net. */
MA_MUST_USE int ma_connect_prepare(struct ma_ctx *ctx, struct ma_connect_leg *leg);
/* Uses the ticket, or ends the row with leg->error. MA_E_CONFLICT when somebody was faster. Write. */
MA_MUST_USE int ma_connect_launch(struct ma_ctx *ctx, struct ma_connect_leg *leg);

/* What the provider's redirect carries; p == NULL: absent. */
struct ma_callback {
    struct ma_span state, code, error, error_description, iss;
};
/* The row behind a callback's state, when the cookie belongs to it. Any lane. */
MA_MUST_USE int ma_connect_callback(struct ma_ctx *ctx, struct ma_span state, ma_cookie_reader cookie,
                                    struct ma_connect_leg *leg, enum ma_connect_refusal *ret_refusal);
/* Takes the row for this request. MA_E_CONFLICT when it was taken already. Write. */
MA_MUST_USE int ma_connect_claim(struct ma_ctx *ctx, struct ma_connect_leg *leg);
/* Redeems the code and learns who the account belongs to, or sets leg->error. Net. */
MA_MUST_USE int ma_connect_redeem(struct ma_ctx *ctx, const struct ma_callback *in, struct ma_connect_leg *leg);
/* Stores what was learnt and makes the connect_code, or ends the row with leg->error. MA_E_CONFLICT when the row is
 * not this request's any more. Write. */
MA_MUST_USE int ma_connect_settle(struct ma_ctx *ctx, struct ma_connect_leg *leg);

/* --- the vault --- */

/* Makes the step that follows one of a provider's, as the network lane counts them: by host, not by connection. */
void ma_connection_net(struct ma_ctx *ctx, const struct ma_state_connection *c);

struct ma_vault_ask {
    struct ma_span user_id, connection;
    struct ma_span
        login_hint; /* the provider's user id, else its e-mail, else the account id; empty: any, newest first */
    struct ma_span_list scopes; /* all must have been granted; n 0: any */
};
enum ma_vault_verdict {
    MA_VAULT_OK,
    MA_VAULT_NO_ACCOUNT, /* none fits */
    MA_VAULT_NO_SCOPE,   /* one fits, but was not granted these scopes */
    MA_VAULT_RECONNECT,  /* the provider refused to refresh: the user must connect it again */
    MA_VAULT_UNAVAILABLE /* the provider cannot be reached; the account is unharmed */
};
struct ma_vault_grant {
    enum ma_vault_verdict verdict;
    struct ma_span account;      /* id; p == NULL: none fits */
    struct ma_span access_token; /* arena, wiped with it */
    struct ma_span scope;        /* blank-separated */
    int64_t expires_in_s;        /* -1: it does not lapse */
};
/* What the vault needs beside the caller's arena. All borrowed. */
struct ma_vault_env {
    const struct ma_app *app;
    const struct ma_conf *conf;
    const struct ma_state *state;
    struct ma_db *reader;   /* outside any transaction: sees what was committed last */
    struct ma_httpc *httpc; /* the calling thread's */
    struct ma_arena *arena;
    int64_t now_ms;
};
/* A fresh access token: the stored one while it lasts, else one from the provider's token endpoint, which is stored
 * before it is handed out. One refresh at a time per account: others wait for it and take what it brought. Blocking;
 * network lane, or another thread with a client of its own, never the writer's. */
MA_MUST_USE int ma_vault_access_token(const struct ma_vault_env *env, const struct ma_vault_ask *ask,
                                      struct ma_vault_grant *ret);

/* Accounts being refreshed. Thread-safe. Owned (ma_refreshes_free). */
struct ma_refreshes;
MA_MUST_USE int ma_refreshes_new(struct ma_refreshes **ret);
void ma_refreshes_free(struct ma_refreshes *r);

#endif

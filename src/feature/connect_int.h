/* SPDX-License-Identifier: Apache-2.0
 * What the files about connected accounts share.
 */
#ifndef MA_FEATURE_CONNECT_INT_H
#define MA_FEATURE_CONNECT_INT_H

#include "ma/accounts.h"
#include "ma/app.h"
#include "ma/lanes.h"

/* What the provider's answer comes to while it waits for the client to complete: sealed in connects.result. */
struct ma_connect_result {
    struct ma_span subject, access_token;
    struct ma_span refresh_token; /* p == NULL: none */
    struct ma_span claims;        /* JSON object text; kept as text, so that it may be nested as deep as JSON may */
    struct ma_span_list scopes;
    int64_t access_expires_at, refresh_expires_at; /* ms; 0: does not lapse, not known */
};

/* The MAC that a random text is kept as; arena, p == NULL when that fails. purpose: "connect-ticket", … */
struct ma_span ma_connect_mac(struct ma_ctx *ctx, const char *purpose, struct ma_span user, const char *text, size_t n);
/* Seals a value of the row into the arena. */
MA_MUST_USE int ma_connect_seal(struct ma_ctx *ctx, const struct ma_connect *row, const char *column,
                                struct ma_span plain, struct ma_span *ret);
MA_MUST_USE int ma_connect_unseal(struct ma_ctx *ctx, const struct ma_connect *row, const char *column,
                                  struct ma_span sealed, struct ma_span *ret);
MA_MUST_USE int ma_connect_result_write(struct ma_arena *a, const struct ma_connect_result *in, struct ma_span *ret);
MA_MUST_USE int ma_connect_result_read(struct ma_arena *a, struct ma_span text, struct ma_connect_result *ret);
/* Opens what begins sealed and is needed at every step: row->params and row->client_state become plain. */
MA_MUST_USE int ma_connect_open(struct ma_ctx *ctx, struct ma_connect *row);
/* Whether the URL is one of the client's callbacks, character by character. */
bool ma_connect_callback_known(const struct ma_state_client *client, struct ma_span redirect_uri);

/* "a b c" of a list, and back; arena. */
MA_MUST_USE int ma_words_join(struct ma_arena *a, const struct ma_span_list *list, struct ma_span *ret);
MA_MUST_USE int ma_words_split(struct ma_arena *a, struct ma_span text, struct ma_span_list *ret);

/* When an access token lapses, from a token answer; 0: it does not. */
int64_t ma_access_expiry(const struct ma_preset *preset, const struct ma_provider_tokens *t, int64_t now_ms);
int64_t ma_refresh_expiry(const struct ma_provider_tokens *t, int64_t now_ms);

/* Who the connection leads to: the issuer, else the origin of the token endpoint; "" neither. Tokens go nowhere else.
 * Borrowed from the snapshot. */
struct ma_span ma_connection_identity(const struct ma_state_connection *c);
/* Whether URLs have one scheme, host and port. */
bool ma_same_origin(struct ma_span a, struct ma_span b);

/* The connection's client secret; empty when none was given. arena. */
MA_MUST_USE int ma_connection_secret(struct ma_db *db, struct ma_vault *vault, struct ma_arena *a,
                                     struct ma_span connection, struct ma_span *ret);
struct ma_provider_env ma_provider_env_of(const struct ma_app *app, const struct ma_conf *conf, struct ma_httpc *httpc,
                                          struct ma_arena *a);

/* The refresh token, else the access token. Revoking the former ends the latter too (RFC 7009 §2.1). */
struct ma_leftover ma_leftover_of(struct ma_span connection, struct ma_span provider, struct ma_span refresh_token,
                                  struct ma_span access_token);
/* Whether the connection still leads to whose token it is, and wants it revoked; the connection, or NULL. */
const struct ma_state_connection *ma_leftover_connection(const struct ma_state *s, const struct ma_leftover *left);
/* Blocking. */
MA_MUST_USE int ma_leftover_revoke(const struct ma_provider_env *env, const struct ma_state_connection *c,
                                   struct ma_span secret, const struct ma_leftover *left,
                                   struct ma_provider_fault *fault);

/* How long storing a refreshed token is tried before it is kept in memory; before any refresh. */
void ma_refreshes_patience(struct ma_refreshes *r, int64_t tries_ms);

/* Sealing of account columns. */
MA_MUST_USE int ma_account_seal(struct ma_vault *v, struct ma_arena *a, const struct ma_account *acc,
                                const char *column, struct ma_span plain, struct ma_span *ret);
MA_MUST_USE int ma_account_unseal(struct ma_vault *v, struct ma_arena *a, const struct ma_account *acc,
                                  const char *column, struct ma_span sealed, struct ma_span *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Devices that approve sign-ins, and the sign-ins they are asked about.
 */
#include "ma/store.h"

#include "int.h"

#define DEVICE_COLUMNS                                                                                                 \
    "user_id, id, device_id, ticket_mac, client_id, origin, seed, pair_id, identifier, service, push_token, "          \
    "public_key, token_mac, matching, created_at, enrolled_at, updated_at, held, name"
#define TRANSACTION_COLUMNS                                                                                            \
    "user_id, token_mac, challenge_id, method_id, answer_mac, number_mac, state, reason, created_at, expires_at, "     \
    "answered_at"

MA_QUERY(PUSH_DEVICE_INSERT, "INSERT INTO push_devices (" DEVICE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, "
                             "$9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)");
MA_QUERY(PUSH_DEVICE_GET, "SELECT " DEVICE_COLUMNS " FROM push_devices WHERE user_id = $1 AND id = $2");
MA_QUERY(PUSH_DEVICE_BY_TICKET, "SELECT " DEVICE_COLUMNS " FROM push_devices WHERE ticket_mac = $1");
MA_QUERY(PUSH_DEVICE_BY_ID, "SELECT " DEVICE_COLUMNS " FROM push_devices WHERE device_id = $1");
MA_QUERY(PUSH_DEVICE_BY_PAIR, "SELECT " DEVICE_COLUMNS " FROM push_devices WHERE user_id = $1 AND pair_id = $2");
MA_QUERY(PUSH_DEVICE_ENROL,
         "UPDATE push_devices SET name = $3, identifier = $4, service = $5, push_token = $6, public_key = $7, "
         "token_mac = $8, matching = $9, enrolled_at = $10, updated_at = $10 WHERE user_id = $1 AND id = $2 AND "
         "enrolled_at = 0");
MA_QUERY(PUSH_DEVICE_PAIR, "UPDATE push_devices SET seed = NULL, pair_id = $3 WHERE user_id = $1 AND id = $2 AND "
                           "enrolled_at > 0 AND pair_id IS NULL");
MA_QUERY(PUSH_DEVICE_UPDATE,
         "UPDATE push_devices SET identifier = $3, service = $4, push_token = $5, matching = $6, updated_at = $7, "
         "name = $8 WHERE user_id = $1 AND id = $2 AND enrolled_at > 0");
MA_QUERY(PUSH_TRANSACTION_INSERT, "INSERT INTO push_transactions (" TRANSACTION_COLUMNS
                                  ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
MA_QUERY(PUSH_TRANSACTION_BY_TOKEN, "SELECT " TRANSACTION_COLUMNS " FROM push_transactions WHERE token_mac = $1");
MA_QUERY(PUSH_TRANSACTION_GET,
         "SELECT " TRANSACTION_COLUMNS " FROM push_transactions WHERE user_id = $1 AND challenge_id = $2");
MA_QUERY(PUSH_TRANSACTION_ANSWER,
         "UPDATE push_transactions SET state = $3, reason = $4, answered_at = $5 WHERE user_id = $1 AND token_mac = $2 "
         "AND state = 0 AND expires_at > $5");
MA_QUERY(PUSH_TRANSACTION_SUPERSEDE,
         "UPDATE push_transactions SET state = 3, answered_at = $2 WHERE user_id = $1 AND state = 0");
MA_QUERY(PUSH_CHALLENGE_SUPERSEDE,
         "UPDATE challenges SET consumed_at = $2 WHERE user_id = $1 AND consumed_at = 0 AND id_mac IN (SELECT "
         "challenge_id FROM push_transactions WHERE user_id = $1 AND state = 0)");
MA_QUERY(PUSH_TRANSACTION_EXPIRE,
         "UPDATE push_transactions SET state = 4 WHERE token_mac IN (SELECT token_mac FROM "
         "push_transactions WHERE state = 0 AND expires_at < $1 ORDER BY expires_at LIMIT $2)");

/* --- devices --- */

int ma_push_device_insert(struct ma_db *db, const struct ma_push_device *d)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_INSERT, d->user_id, d->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, d->device_id);
    ma_bind_blob(st, 4, d->ticket_mac);
    ma_bind_text(st, 5, ma_store_some(d->client_id));
    ma_bind_text(st, 6, d->origin);
    ma_bind_blob(st, 7, d->seed);
    ma_bind_text(st, 8, d->pair_id);
    ma_bind_text(st, 9, d->identifier);
    ma_bind_text(st, 10, d->service);
    ma_bind_blob(st, 11, d->push_token);
    ma_bind_text(st, 12, d->public_key);
    ma_bind_blob(st, 13, d->token_mac);
    ma_bind_int(st, 14, d->matching);
    ma_bind_int(st, 15, d->created_at);
    ma_bind_int(st, 16, d->enrolled_at);
    ma_bind_int(st, 17, d->updated_at);
    ma_bind_int(st, 18, d->held);
    ma_bind_text(st, 19, d->name);
    return ma_stmt_run(st);
}

static int read_device(struct ma_stmt *st, struct ma_arena *a, struct ma_push_device *ret)
{
    int err = MA_OK;
    *ret = (struct ma_push_device){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .device_id = ma_store_col(st, 2, a, &err),
        .ticket_mac = ma_store_col(st, 3, a, &err),
        .client_id = ma_store_col(st, 4, a, &err),
        .origin = ma_store_col(st, 5, a, &err),
        .seed = ma_store_col(st, 6, a, &err),
        .pair_id = ma_store_col(st, 7, a, &err),
        .identifier = ma_store_col(st, 8, a, &err),
        .service = ma_store_col(st, 9, a, &err),
        .push_token = ma_store_col(st, 10, a, &err),
        .public_key = ma_store_col(st, 11, a, &err),
        .token_mac = ma_store_col(st, 12, a, &err),
        .matching = ma_col_int(st, 13) != 0,
        .created_at = ma_col_int(st, 14),
        .enrolled_at = ma_col_int(st, 15),
        .updated_at = ma_col_int(st, 16),
        .held = ma_col_int(st, 17) != 0,
        .name = ma_store_col(st, 18, a, &err),
    };
    return err;
}

static int one_device(struct ma_stmt *st, int r, struct ma_arena *a, struct ma_push_device *ret)
{
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_device(st, a, ret) : r;
}

int ma_push_device_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                       struct ma_push_device *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_GET, user_id, id, &st);
    return one_device(st, r, a, ret);
}

int ma_push_device_by_ticket(struct ma_db *db, struct ma_arena *a, struct ma_span ticket_mac,
                             struct ma_push_device *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_PUSH_DEVICE_BY_TICKET, ticket_mac, &st);
    return one_device(st, r, a, ret);
}

int ma_push_device_by_id(struct ma_db *db, struct ma_arena *a, struct ma_span device_id, struct ma_push_device *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PUSH_DEVICE_BY_ID, device_id, &st);
    return one_device(st, r, a, ret);
}

int ma_push_device_by_pair(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span pair_id,
                           struct ma_push_device *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_BY_PAIR, user_id, pair_id, &st);
    return one_device(st, r, a, ret);
}

int ma_push_device_enrol(struct ma_db *db, const struct ma_push_device *d)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_ENROL, d->user_id, d->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, d->name);
    ma_bind_text(st, 4, d->identifier);
    ma_bind_text(st, 5, d->service);
    ma_bind_blob(st, 6, d->push_token);
    ma_bind_text(st, 7, d->public_key);
    ma_bind_blob(st, 8, d->token_mac);
    ma_bind_int(st, 9, d->matching);
    ma_bind_int(st, 10, d->enrolled_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_push_device_pair(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span pair_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_PAIR, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, pair_id);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_push_device_update(struct ma_db *db, const struct ma_push_device *d)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_PUSH_DEVICE_UPDATE, d->user_id, d->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, d->identifier);
    ma_bind_text(st, 4, d->service);
    ma_bind_blob(st, 5, d->push_token);
    ma_bind_int(st, 6, d->matching);
    ma_bind_int(st, 7, d->updated_at);
    ma_bind_text(st, 8, d->name);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

/* --- transactions --- */

int ma_push_transaction_insert(struct ma_db *db, const struct ma_push_transaction *t)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_PUSH_TRANSACTION_INSERT, t->user_id, t->token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_blob(st, 3, t->challenge_id);
    ma_bind_text(st, 4, t->method_id);
    ma_bind_blob(st, 5, t->answer_mac);
    ma_bind_blob(st, 6, t->number_mac);
    ma_bind_int(st, 7, (int64_t)t->state);
    ma_bind_text(st, 8, t->reason);
    ma_bind_int(st, 9, t->created_at);
    ma_bind_int(st, 10, t->expires_at);
    ma_bind_int(st, 11, t->answered_at);
    return ma_stmt_run(st);
}

static int read_transaction(struct ma_stmt *st, struct ma_arena *a, struct ma_push_transaction *ret)
{
    int err = MA_OK;
    *ret = (struct ma_push_transaction){
        .user_id = ma_store_col(st, 0, a, &err),
        .token_mac = ma_store_col(st, 1, a, &err),
        .challenge_id = ma_store_col(st, 2, a, &err),
        .method_id = ma_store_col(st, 3, a, &err),
        .answer_mac = ma_store_col(st, 4, a, &err),
        .number_mac = ma_store_col(st, 5, a, &err),
        .state = (enum ma_push_state)ma_col_int(st, 6),
        .reason = ma_store_col(st, 7, a, &err),
        .created_at = ma_col_int(st, 8),
        .expires_at = ma_col_int(st, 9),
        .answered_at = ma_col_int(st, 10),
    };
    return err;
}

int ma_push_transaction_by_token(struct ma_db *db, struct ma_arena *a, struct ma_span token_mac,
                                 struct ma_push_transaction *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_bytes(db, &ma_q_PUSH_TRANSACTION_BY_TOKEN, token_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_transaction(st, a, ret) : r;
}

int ma_push_transaction_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span challenge_id,
                            struct ma_push_transaction *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_PUSH_TRANSACTION_GET, user_id, challenge_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_transaction(st, a, ret) : r;
}

int ma_push_transaction_answer(struct ma_db *db, const struct ma_push_transaction *t, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_PUSH_TRANSACTION_ANSWER, t->user_id, t->token_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, (int64_t)t->state);
    ma_bind_text(st, 4, t->reason);
    ma_bind_int(st, 5, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

static int supersede(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, q, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    return ma_stmt_run(st);
}

int ma_push_supersede(struct ma_db *db, struct ma_span user_id, int64_t now, int64_t *ret_n)
{
    int r = supersede(db, &ma_q_PUSH_CHALLENGE_SUPERSEDE, user_id, now);
    if (r == MA_OK)
        r = supersede(db, &ma_q_PUSH_TRANSACTION_SUPERSEDE, user_id, now);
    *ret_n = r == MA_OK ? ma_db_changes(db) : 0;
    return r;
}

int ma_push_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_PUSH_TRANSACTION_EXPIRE, before, limit);
}

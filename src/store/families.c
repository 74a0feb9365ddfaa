/* SPDX-License-Identifier: Apache-2.0
 * Refresh tokens: a family is the first one of a grant and what it was exchanged for.
 */
#include "ma/store.h"

#include "int.h"

#define FAMILY_COLUMNS                                                                                                 \
    "user_id, id, client_id, session_id, audience, scope, org_id, jkt, gty, auth_at, mfa_at, amr, salt, generation, "  \
    "created_at, used_at, idle_at, expires_at, rotated_at, revoked_at, ip, user_agent"
#define FAMILY_LIVE(now)                                                                                               \
    "revoked_at = 0 AND (idle_at = 0 OR idle_at > " now ") AND (expires_at = 0 OR expires_at > " now ")"
#define FAMILY_OTHERS "WHERE user_id = $1 AND client_id = $2 AND id <> $3 AND " FAMILY_LIVE("$4")

MA_QUERY(FAMILY_INSERT, "INSERT INTO families (" FAMILY_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
                        "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)");
/* From the newest one beside the new one that is too many; there is none when they are few. */
MA_QUERY(FAMILY_TRIM,
         "UPDATE families SET revoked_at = $4 " FAMILY_OTHERS " AND (created_at, id) <= "
         "(SELECT created_at, id FROM families " FAMILY_OTHERS " ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET $5)");
MA_QUERY(FAMILY_GET, "SELECT " FAMILY_COLUMNS " FROM families WHERE id = $1");
MA_QUERY(FAMILY_ROTATE, "UPDATE families SET generation = generation + 1, rotated_at = $3, used_at = $3, idle_at = $4, "
                        "ip = $6, user_agent = $7 "
                        "WHERE user_id = $1 AND id = $2 AND generation = $5 AND " FAMILY_LIVE("$3"));
MA_QUERY(FAMILY_ROTATE_BACK, "UPDATE families SET generation = $3, rotated_at = $4 WHERE user_id = $1 AND id = $2 "
                             "AND generation = $3 + 1");
MA_QUERY(FAMILY_TOUCH,
         "UPDATE families SET used_at = $3, idle_at = $4, ip = $5, user_agent = $6 WHERE user_id = $1 AND id = $2 "
         "AND " FAMILY_LIVE("$3"));
MA_QUERY(FAMILY_STEP_UP, "UPDATE families SET auth_at = $3, mfa_at = $4, amr = $5 WHERE user_id = $1 AND id = $2 "
                         "AND revoked_at = 0");
MA_QUERY(FAMILY_REVOKE, "UPDATE families SET revoked_at = $3 WHERE user_id = $1 AND id = $2 AND revoked_at = 0");
MA_QUERY(FAMILY_REVOKE_SESSION, "UPDATE families SET revoked_at = $3 WHERE user_id = $1 AND session_id = $2 "
                                "AND revoked_at = 0");
MA_QUERY(FAMILY_REVOKE_USER, "UPDATE families SET revoked_at = $3 WHERE user_id = $1 "
                             "AND (CAST($2 AS TEXT) IS NULL OR client_id = $2) AND revoked_at = 0");
MA_QUERY(FAMILY_REVOKE_AUDIENCE, "UPDATE families SET revoked_at = $3 WHERE user_id = $1 AND client_id = $2 "
                                 "AND audience = $4 AND revoked_at = 0");
MA_QUERY(FAMILY_EXPIRE, "DELETE FROM families WHERE id IN (SELECT id FROM families WHERE expires_at > 0 "
                        "AND expires_at < $1 ORDER BY expires_at LIMIT $2)");
MA_QUERY(FAMILY_EXPIRE_IDLE, "DELETE FROM families WHERE id IN (SELECT id FROM families WHERE idle_at > 0 "
                             "AND idle_at < $1 ORDER BY idle_at LIMIT $2)");
MA_QUERY(FAMILY_EXPIRE_REVOKED, "DELETE FROM families WHERE id IN (SELECT id FROM families WHERE revoked_at > 0 "
                                "AND revoked_at < $1 ORDER BY revoked_at LIMIT $2)");

static int add_family(struct ma_db *db, const struct ma_family *f)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_INSERT, f->user_id, f->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, f->client_id);
    ma_bind_text(st, 4, f->session_id);
    ma_bind_text(st, 5, ma_store_some(f->audience));
    ma_bind_text(st, 6, ma_store_some(f->scope));
    ma_bind_text(st, 7, f->org_id);
    ma_bind_text(st, 8, f->jkt);
    ma_bind_text(st, 9, f->gty);
    ma_store_bind_authn(st, 10, &f->authn);
    ma_bind_blob(st, 13, f->salt);
    ma_bind_int(st, 14, f->generation);
    ma_bind_int(st, 15, f->created_at);
    ma_bind_int(st, 16, f->used_at);
    ma_bind_int(st, 17, f->idle_at);
    ma_bind_int(st, 18, f->expires_at);
    ma_bind_int(st, 19, f->rotated_at);
    ma_bind_int(st, 20, f->revoked_at);
    ma_bind_text(st, 21, f->from.ip);
    ma_bind_text(st, 22, f->from.user_agent);
    return ma_stmt_run(st);
}

int ma_family_insert(struct ma_db *db, const struct ma_family *f)
{
    int r = add_family(db, f);
    if (r != MA_OK)
        return r;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    r = ma_store_stmt_id(db, &ma_q_FAMILY_TRIM, f->user_id, f->client_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, f->id);
    ma_bind_int(st, 4, f->created_at);
    ma_bind_int(st, 5, MA_FAMILIES_MAX - 1);
    return ma_stmt_run(st);
}

static int read_family(struct ma_stmt *st, struct ma_arena *a, struct ma_family *ret)
{
    int err = MA_OK;
    *ret = (struct ma_family){
        .user_id = ma_store_col(st, 0, a, &err),
        .id = ma_store_col(st, 1, a, &err),
        .client_id = ma_store_col(st, 2, a, &err),
        .session_id = ma_store_col(st, 3, a, &err),
        .audience = ma_store_col(st, 4, a, &err),
        .scope = ma_store_col(st, 5, a, &err),
        .org_id = ma_store_col(st, 6, a, &err),
        .jkt = ma_store_col(st, 7, a, &err),
        .gty = ma_store_col(st, 8, a, &err),
        .authn = ma_store_col_authn(st, 9),
        .salt = ma_store_col(st, 12, a, &err),
        .generation = ma_col_int(st, 13),
        .created_at = ma_col_int(st, 14),
        .used_at = ma_col_int(st, 15),
        .idle_at = ma_col_int(st, 16),
        .expires_at = ma_col_int(st, 17),
        .rotated_at = ma_col_int(st, 18),
        .revoked_at = ma_col_int(st, 19),
        .from = {ma_store_col(st, 20, a, &err), ma_store_col(st, 21, a, &err)},
    };
    return err;
}

int ma_family_get(struct ma_db *db, struct ma_arena *a, struct ma_span id, struct ma_family *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_FAMILY_GET, id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    return r == MA_OK ? read_family(st, a, ret) : r;
}

int ma_family_rotate(struct ma_db *db, const struct ma_family *f, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_ROTATE, f->user_id, f->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_int(st, 4, f->idle_at);
    ma_bind_int(st, 5, f->generation);
    ma_bind_text(st, 6, f->from.ip);
    ma_bind_text(st, 7, f->from.user_agent);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_family_rotate_back(struct ma_db *db, const struct ma_family *f)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_ROTATE_BACK, f->user_id, f->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, f->generation);
    ma_bind_int(st, 4, f->rotated_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_family_touch(struct ma_db *db, const struct ma_family *f, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_TOUCH, f->user_id, f->id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_int(st, 4, f->idle_at);
    ma_bind_text(st, 5, f->from.ip);
    ma_bind_text(st, 6, f->from.user_agent);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_family_step_up(struct ma_db *db, struct ma_span user_id, struct ma_span id, const struct ma_authn *authn)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_STEP_UP, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_store_bind_authn(st, 3, authn);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

/* Revokes what user and $2 name. Returns the count or an error. */
static int revoke(struct ma_db *db, const struct ma_sql *q, struct ma_span user_id, struct ma_span which, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, q, user_id, which, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    r = ma_stmt_run(st);
    return r == MA_OK ? (int)ma_db_changes(db) : r;
}

int ma_family_revoke(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now)
{
    int n = revoke(db, &ma_q_FAMILY_REVOKE, user_id, id, now);
    if (n < 0)
        return n;
    return n > 0 ? MA_OK : MA_E_CONFLICT;
}

int ma_families_revoke_session(struct ma_db *db, struct ma_span user_id, struct ma_span session_id, int64_t now)
{
    return revoke(db, &ma_q_FAMILY_REVOKE_SESSION, user_id, session_id, now);
}

int ma_families_revoke_user(struct ma_db *db, struct ma_span user_id, struct ma_span client_id, int64_t now)
{
    return revoke(db, &ma_q_FAMILY_REVOKE_USER, user_id, client_id, now);
}

int ma_families_revoke_audience(struct ma_db *db, struct ma_span user_id, struct ma_span client_id,
                                struct ma_span audience, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_FAMILY_REVOKE_AUDIENCE, user_id, client_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_text(st, 4, ma_store_some(audience));
    r = ma_stmt_run(st);
    return r == MA_OK ? (int)ma_db_changes(db) : r;
}

int ma_families_expire(struct ma_db *db, int64_t before, int limit)
{
    /* Each reason has an index of its own, which one query could not use all of. */
    static const struct ma_sql *const reasons[] = {&ma_q_FAMILY_EXPIRE_REVOKED, &ma_q_FAMILY_EXPIRE_IDLE,
                                                   &ma_q_FAMILY_EXPIRE};
    if (limit <= 0)
        return MA_E_INVAL;
    int n = 0;
    for (size_t i = 0; i < MA_COUNT(reasons) && n < limit; i++) {
        int gone = ma_store_sweep(db, reasons[i], before, limit - n);
        if (gone < 0)
            return gone;
        n += gone;
    }
    return n;
}

/* SPDX-License-Identifier: Apache-2.0
 * Authentication methods, confirmed and pending.
 */
#include "ma/store.h"

#include "int.h"

#define METHOD_COLUMNS                                                                                                 \
    "id, type, confirmed, name, address, voice, secret, last_step, created_at, last_auth_at, expires_at"
#define METHOD_READ METHOD_COLUMNS ", used_ip, used_agent"
#define METHOD_ALIVE(now) "(confirmed = 1 OR expires_at > " now ")"

MA_QUERY(METHOD_LIST, "SELECT " METHOD_READ " FROM methods WHERE user_id = $1 AND " METHOD_ALIVE("$2") " LIMIT $3");
MA_QUERY(METHOD_GET, "SELECT " METHOD_READ " FROM methods WHERE user_id = $1 AND id = $2 AND " METHOD_ALIVE("$3"));
MA_QUERY(METHOD_INSERT, "INSERT INTO methods (user_id, " METHOD_COLUMNS
                        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
MA_QUERY(METHOD_CONFIRM, "UPDATE methods SET confirmed = 1, expires_at = 0, last_step = $3 "
                         "WHERE user_id = $1 AND id = $2 AND confirmed = 0 AND expires_at > $4");
MA_QUERY(METHOD_TOTP_ADVANCE, "UPDATE methods SET last_step = $3, "
                              "last_auth_at = CASE WHEN confirmed = 1 THEN $4 ELSE last_auth_at END, "
                              "used_ip = $5, used_agent = $6 "
                              "WHERE user_id = $1 AND id = $2 AND type = 'totp' AND last_step < $3 "
                              "AND " METHOD_ALIVE("$4"));
MA_QUERY(METHOD_UPDATE, "UPDATE methods SET name = coalesce($3, name), "
                        "voice = CASE WHEN $4 < 0 THEN voice ELSE $4 END "
                        "WHERE user_id = $1 AND id = $2 AND confirmed = 1");
MA_QUERY(METHOD_SETTINGS, "UPDATE methods SET name = $3, voice = $4 WHERE user_id = $1 AND id = $2 AND confirmed = 1");
MA_QUERY(METHOD_DELETE, "DELETE FROM methods WHERE user_id = $1 AND id = $2");
MA_QUERY(METHOD_DELETE_OTHERS, "DELETE FROM methods WHERE user_id = $1 AND type = $2 AND confirmed = $3 "
                               "AND (CAST($4 AS TEXT) IS NULL OR address = $4) AND id <> $5");
MA_QUERY(METHOD_DELETE_PENDING, "DELETE FROM methods WHERE user_id = $1 AND confirmed = 0");
MA_QUERY(METHOD_DELETE_ALL, "DELETE FROM methods WHERE user_id = $1");
MA_QUERY(METHOD_EXPIRE, "DELETE FROM methods WHERE (user_id, id) IN (SELECT user_id, id FROM methods "
                        "WHERE confirmed = 0 AND expires_at < $1 ORDER BY expires_at LIMIT $2)");
MA_QUERY(METHOD_USED, "UPDATE methods SET last_auth_at = $3, used_ip = $4, used_agent = $5 WHERE user_id = $1 AND id = "
                      "$2 AND confirmed = 1");

static const struct {
    const char *name;
    size_t n;
} FACTORS[MA_FACTOR__COUNT] = {
#define FACTOR(f, text) [f] = {text, sizeof(text) - 1}
    FACTOR(MA_FACTOR_PASSWORD, "password"),
    FACTOR(MA_FACTOR_PASSKEY, "passkey"),
    FACTOR(MA_FACTOR_WEBAUTHN_PLATFORM, "webauthn-platform"),
    FACTOR(MA_FACTOR_WEBAUTHN_ROAMING, "webauthn-roaming"),
    FACTOR(MA_FACTOR_TOTP, "totp"),
    FACTOR(MA_FACTOR_PHONE, "phone"),
    FACTOR(MA_FACTOR_EMAIL, "email"),
    FACTOR(MA_FACTOR_PUSH, "push-notification"),
    FACTOR(MA_FACTOR_RECOVERY, "recovery-code"),
#undef FACTOR
};

const char *ma_factor_name(enum ma_factor f)
{
    return (unsigned)f < MA_FACTOR__COUNT ? FACTORS[f].name : "unknown";
}

enum ma_factor ma_factor_parse(struct ma_span name)
{
    for (int f = 0; f < MA_FACTOR__COUNT; f++)
        if (ma_span_eq(name, ma_span_of(FACTORS[f].name, FACTORS[f].n)))
            return (enum ma_factor)f;
    return MA_FACTOR__COUNT;
}

enum ma_factor ma_factor_of_id(struct ma_span id)
{
    const uint8_t *bar = id.n ? memchr(id.p, '|', id.n) : NULL;
    return bar ? ma_factor_parse(ma_span_of(id.p, (size_t)(bar - id.p))) : MA_FACTOR__COUNT;
}

static int read_method(struct ma_stmt *st, struct ma_arena *a, struct ma_method *ret)
{
    int err = MA_OK;
    *ret = (struct ma_method){
        .id = ma_store_col(st, 0, a, &err),
        .type = ma_factor_parse(ma_col_view(st, 1)),
        .confirmed = ma_col_int(st, 2) != 0,
        .name = ma_store_col(st, 3, a, &err),
        .address = ma_store_col(st, 4, a, &err),
        .voice = ma_col_int(st, 5) != 0,
        .secret = ma_store_col(st, 6, a, &err),
        .last_step = ma_col_int(st, 7),
        .created_at = ma_col_int(st, 8),
        .last_auth_at = ma_col_int(st, 9),
        .expires_at = ma_col_int(st, 10),
        .used_from = {ma_store_col(st, 11, a, &err), ma_store_col(st, 12, a, &err)},
    };
    if (err == MA_OK && ret->type == MA_FACTOR__COUNT)
        err = MA_E_DB;
    return err;
}

static int compare(struct ma_span a, struct ma_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Rows come in the order of the id. The stable insertion therefore needs the time alone; it
 * compares ids all the same, so that the order does not hang on the plan. */
static size_t place_of(const struct ma_method *v, size_t n, const struct ma_method *m)
{
    size_t i = n;
    while (i > 0 && (v[i - 1].created_at > m->created_at ||
                     (v[i - 1].created_at == m->created_at && compare(v[i - 1].id, m->id) > 0)))
        i--;
    return i;
}

static void insert_sorted(struct ma_method *v, size_t n, const struct ma_method *m)
{
    size_t at = place_of(v, n, m);
    if (at < n)
        memmove(&v[at + 1], &v[at], (n - at) * sizeof(*v));
    v[at] = *m;
}

int ma_method_list(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, int64_t now, struct ma_method *ret,
                   size_t cap, size_t *ret_n)
{
    *ret_n = 0;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_METHOD_LIST, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, now);
    ma_bind_int(st, 3, ma_store_limit(cap) + 1); /* one more, to notice that there are more */
    while ((r = ma_stmt_step(st)) == MA_OK) {
        struct ma_method m;
        if (*ret_n == cap)
            return MA_E_RANGE;
        r = read_method(st, a, &m);
        if (r != MA_OK)
            return r;
        insert_sorted(ret, (*ret_n)++, &m);
    }
    return ma_store_end(r);
}

int ma_method_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id, int64_t now,
                  struct ma_method *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_GET, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    r = ma_stmt_step(st);
    return r == MA_OK ? read_method(st, a, ret) : r;
}

int ma_method_insert(struct ma_db *db, struct ma_span user_id, const struct ma_method *m)
{
    if ((unsigned)m->type >= MA_FACTOR__COUNT)
        return MA_E_INVAL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_METHOD_INSERT, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, m->id);
    ma_bind_text(st, 3, ma_span_str(ma_factor_name(m->type)));
    ma_bind_int(st, 4, m->confirmed);
    ma_bind_text(st, 5, m->name);
    ma_bind_text(st, 6, m->address);
    ma_bind_int(st, 7, m->voice);
    ma_bind_blob(st, 8, m->secret);
    ma_bind_int(st, 9, m->last_step);
    ma_bind_int(st, 10, m->created_at);
    ma_bind_int(st, 11, m->last_auth_at);
    ma_bind_int(st, 12, m->expires_at);
    return ma_stmt_run(st);
}

int ma_method_confirm(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t last_step, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_CONFIRM, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, last_step);
    ma_bind_int(st, 4, now);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_method_totp_advance(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t step, int64_t now,
                           const struct ma_place *from)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_TOTP_ADVANCE, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, step);
    ma_bind_int(st, 4, now);
    ma_bind_text(st, 5, from->ip);
    ma_bind_text(st, 6, from->user_agent);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_method_update(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span name, int voice)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_UPDATE, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, name);
    ma_bind_int(st, 4, voice);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_method_settings(struct ma_db *db, struct ma_span user_id, struct ma_span id, struct ma_span name, bool voice)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_SETTINGS, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 3, name);
    ma_bind_int(st, 4, voice);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_method_used(struct ma_db *db, struct ma_span user_id, struct ma_span id, int64_t now,
                   const struct ma_place *from)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_USED, user_id, id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    ma_bind_text(st, 4, from->ip);
    ma_bind_text(st, 5, from->user_agent);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

int ma_method_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_METHOD_DELETE, user_id, id, &st);
    if (r != MA_OK)
        return r;
    return ma_store_change(db, st, MA_E_NOTFOUND);
}

int ma_method_delete_others(struct ma_db *db, struct ma_span user_id, enum ma_factor type, bool confirmed,
                            struct ma_span address, struct ma_span keep)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_METHOD_DELETE_OTHERS, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, ma_span_str(ma_factor_name(type)));
    ma_bind_int(st, 3, confirmed);
    ma_bind_text(st, 4, address);
    ma_bind_text(st, 5, keep.p ? keep : MA_LIT("")); /* id <> NULL would be true of no row */
    return ma_stmt_run(st);
}

int ma_method_delete_all(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_METHOD_DELETE_ALL, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_method_delete_pending(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_METHOD_DELETE_PENDING, user_id, &st);
    return r == MA_OK ? ma_stmt_run(st) : r;
}

int ma_expire_pending(struct ma_db *db, int64_t before, int limit)
{
    if (limit <= 0 || limit > INT32_MAX / 2)
        return MA_E_INVAL;
    int methods = ma_store_sweep(db, &ma_q_METHOD_EXPIRE, before, limit);
    if (methods < 0)
        return methods;
    int sessions = ma_enrolment_expire(db, before, limit);
    return sessions < 0 ? sessions : methods + sessions;
}

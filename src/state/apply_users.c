/* SPDX-License-Identifier: Apache-2.0
 * apply, the users list: each user decoded on its own, so that memory does not grow with the list.
 */
#include "ma/state.h"

#include "ma/crypto.h"
#include "ma/jsonw.h"
#include "int.h"

#define MA_USERS "users"
#define MA_ROLES_TEXT_MAX ((size_t)1 << 20)

/* --- checking --- */
static void check_roles(struct ma_apply *ap, const struct ma_doc_user *u, const char *pointer)
{
    for (size_t i = 0; i < u->roles.n; i++) {
        if (!ma_apply_find(ap, MA_KIND_ROLE, u->roles.v[i]))
            ma_apply_error_item(ap, pointer, "roles", i, "must be the name of a role");
    }
    for (size_t i = 0; i < u->permissions.n; i++) {
        if (!ma_fmt_scope(u->permissions.v[i]))
            ma_apply_error_item(ap, pointer, "permissions", i, "must be a scope token");
    }
}

static void check_credentials(struct ma_apply *ap, const struct ma_doc_user *u, const char *pointer)
{
    if (u->password.p && u->password_hash.p)
        ma_apply_error(ap, pointer, "/password_hash", "must not be given together with 'password'");
    if (u->password_hash.p && !ma_password_hash_ok((const char *)u->password_hash.p))
        ma_apply_error(ap, pointer, "/password_hash", "must be an Argon2id PHC or a bcrypt string");
    if (u->connection.p) {
        const struct ma_elem *c = ma_apply_find(ap, MA_KIND_CONNECTION, u->connection);
        if (!c || !c->database)
            ma_apply_error(ap, pointer, "/connection", "must be the name of a connection with strategy auth0");
    }
}

/* The only database connection there is, or NULL. */
static const struct ma_elem *sole_database(const struct ma_apply *ap)
{
    const struct ma_elem *only = NULL;
    for (size_t i = 0; i < ap->n_elems; i++) {
        if (!ap->elems[i].database)
            continue;
        if (only)
            return NULL;
        only = &ap->elems[i];
    }
    return only;
}

/* A password belongs to a database connection: the named one, the stored one, or the only one. */
static int check_identity(struct ma_apply *ap, const struct ma_doc_user *u, size_t i, const char *pointer)
{
    struct ma_user old;
    if ((!u->password.p && !u->password_hash.p) || u->connection.p)
        return MA_OK;
    bool removed = ma_json_part_member(ap->doc, MA_USERS, i, "connection") == MA_JSON_NULL;
    int rc = removed ? MA_E_NOTFOUND : ma_user_get(ap->env->db, ap->scratch, u->user_id, &old);
    if (rc == MA_OK && old.connection.p)
        return MA_OK;
    if (removed || !ap->sole_database)
        ma_apply_error(ap, pointer, "", "must have property 'connection' when a password is given");
    return rc == MA_E_NOTFOUND ? MA_OK : rc;
}

static int check_one(struct ma_apply *ap, size_t i, struct ma_span *ids, struct ma_index *seen)
{
    struct ma_doc_user u = {0};
    int rc = ma_json_part_decode(ap->doc, MA_USERS, i, ap->scratch, &ma_shape_user, &u, ap->errs);
    if (rc == MA_E_INVAL)
        ap->invalid = true;
    if (rc != MA_OK)
        return rc == MA_E_INVAL ? MA_OK : rc;
    const char *pointer = ma_arena_printf(ap->scratch, "/" MA_USERS "/%zu", i);
    ids[i] = ma_arena_dup(ap->a, u.user_id);
    if (!pointer || !ids[i].p)
        return MA_E_NOMEM;
    if (!ma_index_add(seen, i))
        ma_apply_error(ap, pointer, "/user_id", "must NOT have the same key as an earlier item");
    check_roles(ap, &u, pointer);
    check_credentials(ap, &u, pointer);
    return check_identity(ap, &u, i, pointer);
}

int ma_apply_users_check(struct ma_apply *ap)
{
    enum ma_json_type type = ma_json_part_type(ap->doc, MA_USERS, MA_JSON_WHOLE);
    if (type != MA_JSON_ABSENT && type != MA_JSON_ARRAY)
        ma_apply_error(ap, "/" MA_USERS, "", "must be array");
    size_t n = ma_json_part_items(ap->doc, MA_USERS);
    struct ma_index seen;
    struct ma_span *ids = ma_arena_calloc(ap->a, n + 1, sizeof *ids);
    if (!ids || ma_index_init(&seen, ap->a, ids, sizeof *ids, n) != MA_OK)
        return MA_E_NOMEM;
    ap->sole_database = sole_database(ap);
    int rc = MA_OK;
    for (size_t i = 0; rc == MA_OK && i < n; i++) {
        ma_arena_reset(ap->scratch);
        rc = check_one(ap, i, ids, &seen);
    }
    ma_arena_reset(ap->scratch);
    return rc;
}

/* --- writing --- */
/* One user while it is worked on. */
struct user_step {
    size_t index;
    struct ma_doc_user doc;
    struct ma_user old, now;
    bool exists;
};

static int list_text(struct ma_apply *ap, const struct ma_span_list *list, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ap->scratch, 64, MA_ROLES_TEXT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_arr(&w);
    for (size_t i = 0; i < list->n; i++)
        ma_jw_str(&w, list->v[i]);
    ma_jw_arr_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* A text column: given → that, null → none, absent → as it was. */
static void take_text(const struct ma_apply *ap, const struct user_step *s, const char *member, struct ma_span given,
                      struct ma_span *column)
{
    if (given.p)
        *column = given;
    else if (ma_json_part_member(ap->doc, MA_USERS, s->index, member) == MA_JSON_NULL)
        *column = MA_SPAN_NULL;
}

static int user_merge(struct ma_apply *ap, struct user_step *s)
{
    const struct ma_doc_user *d = &s->doc;
    struct ma_user *u = &s->now;
    int rc = MA_OK;
    take_text(ap, s, "email", d->email, &u->email);
    take_text(ap, s, "name", d->name, &u->name);
    take_text(ap, s, "phone_number", d->phone_number, &u->phone_number);
    take_text(ap, s, "connection", d->connection, &u->connection);
    if ((d->password.p || d->password_hash.p) && !u->connection.p && ap->sole_database)
        u->connection = ap->sole_database->key;
    if (d->has_email_verified)
        u->email_verified = d->email_verified;
    if (d->has_blocked)
        u->blocked = d->blocked;
    if (d->has_roles)
        rc = list_text(ap, &d->roles, &u->roles);
    if (rc == MA_OK && d->has_permissions)
        rc = list_text(ap, &d->permissions, &u->permissions);
    u->updated_at = ap->env->now_ms;
    return rc;
}

/* Equal, and both there or both missing. */
static bool column_same(struct ma_span a, struct ma_span b)
{
    return (a.p == NULL) == (b.p == NULL) && ma_span_eq(a, b);
}

static bool user_same(const struct ma_user *a, const struct ma_user *b)
{
    return column_same(a->email, b->email) && column_same(a->name, b->name) &&
           column_same(a->phone_number, b->phone_number) && column_same(a->connection, b->connection) &&
           column_same(a->roles, b->roles) && column_same(a->permissions, b->permissions) &&
           a->email_verified == b->email_verified && a->blocked == b->blocked;
}

static int user_load(struct ma_apply *ap, struct user_step *s)
{
    int rc = ma_user_get(ap->env->db, ap->scratch, s->doc.user_id, &s->old);
    s->exists = rc == MA_OK;
    if (rc != MA_OK && rc != MA_E_NOTFOUND)
        return rc;
    if (s->exists)
        s->now = s->old;
    else
        s->now = (struct ma_user){.user_id = s->doc.user_id,
                                  .roles = MA_LIT("[]"),
                                  .permissions = MA_LIT("[]"),
                                  .created_at = ap->env->now_ms};
    return MA_OK;
}

/* True in *ret when the stored password is the given one already, so that nothing is rehashed and
 * no history row appears. */
static int password_known(struct ma_apply *ap, const struct user_step *s, bool *ret)
{
    struct ma_password_row row;
    int rc = s->exists ? ma_password_get(ap->env->db, ap->scratch, s->doc.user_id, &row) : MA_E_NOTFOUND;
    *ret = false;
    if (rc != MA_OK)
        return rc == MA_E_NOTFOUND ? MA_OK : rc;
    if (s->doc.password_hash.p) {
        *ret = ma_span_eq(row.hash, s->doc.password_hash);
        return MA_OK;
    }
    const char *stored = ma_arena_strdup(ap->scratch, row.hash);
    rc = stored ? ma_password_verify(stored, s->doc.password) : MA_E_NOMEM;
    *ret = rc == MA_OK;
    return rc == MA_E_AUTH || rc == MA_E_UNSUPPORTED ? MA_OK : rc;
}

static int password_write(struct ma_apply *ap, const struct user_step *s)
{
    const struct ma_elem *c = ma_apply_find(ap, MA_KIND_CONNECTION, s->now.connection);
    int keep = c ? c->keep_history : 0;
    char phc[MA_PHC_MAX];
    if (s->doc.password_hash.p)
        return ma_password_set(ap->env->db, s->doc.user_id, s->doc.password_hash, keep, ap->env->now_ms);
    int rc = ma_password_hash(ap->env->rand, MA_ARGON2_DEFAULT, s->doc.password, phc);
    if (rc == MA_OK)
        rc = ma_password_set(ap->env->db, s->doc.user_id, ma_span_str(phc), keep, ap->env->now_ms);
    ma_wipe(phc, sizeof phc);
    return rc;
}

static int write_one(struct ma_apply *ap, struct user_step *s)
{
    struct ma_signins_ended ended;
    bool known = true;
    int rc = user_load(ap, s);
    if (rc == MA_OK)
        rc = user_merge(ap, s);
    if (rc == MA_OK && (s->doc.password.p || s->doc.password_hash.p))
        rc = password_known(ap, s, &known);
    if (rc != MA_OK)
        return rc;
    bool row = !s->exists || !user_same(&s->old, &s->now);
    if (!row && known)
        return MA_OK;
    ma_apply_report(ap, "user", s->doc.user_id, s->exists ? "updated" : "created");
    if (ap->env->dry_run)
        return MA_OK;
    rc = row ? ma_user_put(ap->env->db, &s->now) : MA_OK;
    if (rc == MA_OK && !known)
        rc = password_write(ap, s);
    if (rc == MA_OK && !known && s->exists)
        rc = ma_signins_end(ap->env->db, s->doc.user_id, MA_SPAN_NULL, ap->env->now_ms, &ended);
    return rc == MA_OK && s->exists && ap->env->changed
               ? ap->env->changed(ap->env->changed_arg, ap->env->db, &s->old, &s->now, !known)
               : rc;
}

int ma_apply_users_write(struct ma_apply *ap)
{
    size_t n = ma_json_part_items(ap->doc, MA_USERS);
    int rc = MA_OK;
    for (size_t i = 0; rc == MA_OK && i < n; i++) {
        struct user_step s = {.index = i};
        ma_arena_reset(ap->scratch);
        rc = ma_json_part_decode(ap->doc, MA_USERS, i, ap->scratch, &ma_shape_user, &s.doc, ap->errs);
        if (rc == MA_OK)
            rc = write_one(ap, &s);
    }
    ma_arena_reset(ap->scratch);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0
 * export: the stored state as one document, without secrets and password hashes.
 */
#include "ma/state.h"

#include "ma/jsonw.h"
#include "int.h"

#define MA_EXPORT_PAGE 500 /* users read at a time */
#define MA_EXPORT_FIRST ((size_t)64 << 10)

static void open_member(struct ma_buf *out, bool *first, const char *name)
{
    ma_buf_printf(out, "%s\n\"%s\": ", *first ? "" : ",", name);
    *first = false;
}

static void put_list(struct ma_buf *out, const struct ma_object *o, size_t n, const char *kind)
{
    bool first = true;
    ma_buf_byte(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (!ma_span_eq_str(o[i].kind, kind))
            continue;
        ma_buf_str(out, first ? "\n  " : ",\n  ");
        ma_buf_span(out, o[i].json);
        first = false;
    }
    ma_buf_str(out, first ? "]" : "\n]");
}

static void put_single(struct ma_buf *out, const struct ma_object *o, size_t n, const struct ma_kind *kind, bool *first)
{
    for (size_t i = 0; i < n; i++) {
        if (!ma_span_eq_str(o[i].kind, kind->kind))
            continue;
        open_member(out, first, kind->member);
        ma_buf_span(out, o[i].json);
    }
}

static int put_objects(struct ma_db *db, struct ma_arena *a, struct ma_buf *out, bool *first)
{
    struct ma_object *o = NULL;
    size_t n = 0;
    int rc = ma_object_list(db, a, &o, &n);
    for (size_t k = 0; rc == MA_OK && k < MA_KIND__COUNT; k++) {
        if (!ma_kinds[k].key) {
            put_single(out, o, n, &ma_kinds[k], first);
            continue;
        }
        open_member(out, first, ma_kinds[k].member);
        put_list(out, o, n, ma_kinds[k].kind);
    }
    return rc;
}

static void put_text(struct ma_jw *w, const char *key, struct ma_span s)
{
    if (s.p)
        ma_jw_kstr(w, key, s);
}

static void put_user(struct ma_buf *out, const struct ma_user *u)
{
    struct ma_jw w;
    ma_jw_init(&w, out);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "user_id", u->user_id);
    put_text(&w, "email", u->email);
    ma_jw_kbool(&w, "email_verified", u->email_verified);
    put_text(&w, "name", u->name);
    put_text(&w, "phone_number", u->phone_number);
    put_text(&w, "connection", u->connection);
    ma_jw_key(&w, "roles");
    ma_jw_raw(&w, u->roles);
    ma_jw_key(&w, "permissions");
    ma_jw_raw(&w, u->permissions);
    ma_jw_kbool(&w, "blocked", u->blocked);
    ma_jw_obj_end(&w);
}

/* Page by page: the arena holds one page, `after` outlives it. */
static int put_users(struct ma_db *db, struct ma_arena *a, struct ma_buf *out)
{
    struct ma_user page[MA_EXPORT_PAGE];
    uint8_t after[MA_ID_MAX * 4];
    size_t n_after = 0, n = MA_EXPORT_PAGE;
    bool first = true;
    ma_buf_byte(out, '[');
    while (n == MA_EXPORT_PAGE && ma_buf_err(out) == MA_OK) {
        ma_arena_reset(a);
        int rc = ma_user_list(db, a, ma_span_of(after, n_after), MA_EXPORT_PAGE, page, &n);
        if (rc != MA_OK)
            return rc;
        for (size_t i = 0; i < n; i++, first = false) {
            ma_buf_str(out, first ? "\n  " : ",\n  ");
            put_user(out, &page[i]);
        }
        n_after = n > 0 && page[n - 1].user_id.n <= sizeof after ? page[n - 1].user_id.n : 0;
        if (n_after == 0)
            break;
        memcpy(after, page[n - 1].user_id.p, n_after);
    }
    ma_buf_str(out, first ? "]" : "\n]");
    return MA_OK;
}

int ma_state_export(struct ma_db *db, struct ma_buf *out)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_EXPORT_FIRST, MA_STATE_ARENA_MAX);
    bool first = true;
    if (!a)
        return MA_E_NOMEM;
    ma_buf_byte(out, '{');
    int rc = put_objects(db, a, out, &first);
    if (rc != MA_OK)
        return rc;
    open_member(out, &first, "users");
    rc = put_users(db, a, out);
    ma_buf_str(out, "\n}\n");
    return rc != MA_OK ? rc : ma_buf_err(out);
}

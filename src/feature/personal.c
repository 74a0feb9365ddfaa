/* SPDX-License-Identifier: Apache-2.0
 * The document of everything about one user.
 */
#include "ma/personal.h"

#include "personal_int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#define FLUSH_FROM 65536u                 /* bytes handed on at once */
#define TEXT_MAX ((size_t)64 << 20)       /* of one row at most */
#define ROW_ARENA_MAX ((size_t)256 << 20) /* an organization with all its members */
#define AUDIT_PAGE 200

/* A document being written. */
struct doc {
    struct ma_db *db;
    struct ma_vault *v;
    struct ma_arena *a; /* of one row */
    struct ma_span user_id;
    const struct ma_personal_sink *sink;
    const struct ma_owned_table *table;
    struct ma_buf b;
    struct ma_jw w;
};

/* Hands on what is there, if it is enough. */
static int flush(struct doc *d, size_t from)
{
    if (ma_buf_err(&d->b) != MA_OK)
        return ma_buf_err(&d->b);
    if (d->b.n <= from)
        return MA_OK;
    int r = d->sink->put(d->sink->arg, ma_buf_view(&d->b));
    ma_buf_clear(&d->b);
    return r;
}

/* --- columns --- */

static int put_bytes(struct doc *d, const char *name, struct ma_span v)
{
    char *text = ma_arena_alloc(d->a, MA_B64URL_LEN(v.n) + 1);
    if (!text)
        return MA_E_NOMEM;
    ma_b64url_encode(v, text);
    ma_jw_kcstr(&d->w, name, text);
    return MA_OK;
}

/* What does not open is said to be there, and does not keep the rest from being handed out. */
static int open_sealed(struct doc *d, struct ma_stmt *row, int i, struct ma_span *ret)
{
    const struct ma_owned_table *t = d->table;
    struct ma_seal_id id = {t->table, t->columns[i].name, ma_col_dup(row, 0, d->a), d->user_id};
    struct ma_span sealed = ma_col_dup(row, i, d->a);
    *ret = MA_SPAN_NULL;
    if (!id.row.p || !sealed.p)
        return MA_E_NOMEM;
    int r = ma_vault_open_blob(d->v, d->a, &id, sealed, ret);
    return r == MA_E_AUTH ? MA_OK : r;
}

static int put_sealed(struct doc *d, struct ma_stmt *row, int i)
{
    struct ma_span plain;
    int r = open_sealed(d, row, i, &plain);
    if (r < 0)
        return r;
    ma_jw_key(&d->w, d->table->columns[i].name);
    if (plain.p)
        ma_jw_raw(&d->w, plain);
    else
        ma_jw_cstr(&d->w, "cannot be opened");
    return MA_OK;
}

/* The address alone: a message may carry a code. */
static int put_letter(struct doc *d, struct ma_stmt *row, int i)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_span plain, to = MA_SPAN_NULL;
    int r = open_sealed(d, row, i, &plain);
    if (r == MA_OK && plain.p && ma_json_parse(plain, &j) == MA_OK)
        r = ma_json_at(j, MA_LIT("to"), d->a, &to);
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    if (to.p)
        ma_jw_kstr(&d->w, "to", to);
    return MA_OK;
}

static int put_column(struct doc *d, struct ma_stmt *row, int i)
{
    const struct ma_owned_column *c = &d->table->columns[i];
    int64_t n = ma_col_int(row, i);
    if (ma_col_is_null(row, i) || (c->form == MA_OWNED_TIME && n == 0))
        return MA_OK;
    switch (c->form) {
    case MA_OWNED_TEXT:
        ma_jw_kstr(&d->w, c->name, ma_col_view(row, i));
        return MA_OK;
    case MA_OWNED_INT:
        ma_jw_kint(&d->w, c->name, n);
        return MA_OK;
    case MA_OWNED_BOOL:
        ma_jw_kbool(&d->w, c->name, n != 0);
        return MA_OK;
    case MA_OWNED_TIME:
        ma_jw_kdate(&d->w, c->name, n);
        return MA_OK;
    case MA_OWNED_JSON:
        ma_jw_key(&d->w, c->name);
        ma_jw_raw(&d->w, ma_col_view(row, i));
        return MA_OK;
    case MA_OWNED_BYTES:
        return put_bytes(d, c->name, ma_col_view(row, i));
    case MA_OWNED_SEALED:
        return put_sealed(d, row, i);
    case MA_OWNED_LETTER:
        return put_letter(d, row, i);
    }
    return MA_E_INVAL;
}

/* --- tables --- */

static int put_row(void *arg, struct ma_stmt *row)
{
    struct doc *d = arg;
    int r = MA_OK;
    ma_arena_reset(d->a);
    ma_jw_obj(&d->w);
    for (size_t i = 0; r == MA_OK && i < d->table->n_columns; i++)
        r = put_column(d, row, (int)i);
    ma_jw_obj_end(&d->w);
    return r == MA_OK ? flush(d, FLUSH_FROM) : r;
}

static int put_tables(struct doc *d)
{
    size_t n = 0;
    const struct ma_owned_table *tables = ma_owned_tables(&n);
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        d->table = &tables[i];
        ma_jw_key(&d->w, tables[i].table);
        ma_jw_arr(&d->w);
        r = ma_owned_each(d->db, &tables[i], d->user_id, put_row, d);
        ma_jw_arr_end(&d->w);
    }
    return r;
}

/* --- what has no owner's column --- */

static void put_text(struct ma_jw *w, const char *key, struct ma_span s)
{
    if (s.p)
        ma_jw_kstr(w, key, s);
}

static int put_organization(void *arg, const struct ma_membership *m)
{
    struct doc *d = arg;
    ma_jw_obj(&d->w);
    put_text(&d->w, "id", m->id);
    put_text(&d->w, "name", m->name);
    put_text(&d->w, "display_name", m->display_name);
    ma_jw_obj_end(&d->w);
    return flush(d, FLUSH_FROM);
}

static void put_audit_row(struct ma_jw *w, const struct ma_audit_row *r)
{
    ma_jw_obj(w);
    ma_jw_kint(w, "id", r->id);
    ma_jw_kdate(w, "date", r->at);
    ma_jw_kstr(w, "type", r->type);
    put_text(w, "operation", r->operation);
    put_text(w, "client_id", r->client_id);
    put_text(w, "ip", r->ip);
    put_text(w, "user_agent", r->user_agent);
    put_text(w, "request_id", r->request_id);
    put_text(w, "authentication_method_id", r->method_id);
    if (r->detail.p) {
        ma_jw_key(w, "details");
        ma_jw_raw(w, r->detail);
    }
    ma_jw_obj_end(w);
}

static int put_audit(struct doc *d)
{
    struct ma_audit_row page[AUDIT_PAGE];
    size_t n = AUDIT_PAGE;
    int64_t after = 0;
    int r = MA_OK;
    while (r == MA_OK && n == AUDIT_PAGE) {
        ma_arena_reset(d->a);
        r = ma_audit_list(d->db, d->a, d->user_id, 0, after, page, AUDIT_PAGE, &n);
        for (size_t i = 0; r == MA_OK && i < n; i++) {
            put_audit_row(&d->w, &page[i]);
            after = page[i].id;
        }
        if (r == MA_OK)
            r = flush(d, FLUSH_FROM);
    }
    return r;
}

/* --- the whole --- */

static int put_document(struct doc *d, int64_t now_ms)
{
    struct ma_user u;
    int r = ma_user_get(d->db, d->a, d->user_id, &u);
    if (r < 0)
        return r;
    ma_jw_obj(&d->w);
    ma_jw_kcstr(&d->w, "format", MA_PERSONAL_FORMAT);
    ma_jw_kstr(&d->w, "user_id", d->user_id);
    ma_jw_kdate(&d->w, "exported_at", now_ms);
    r = put_tables(d);
    if (r < 0)
        return r;
    ma_jw_key(&d->w, "organizations");
    ma_jw_arr(&d->w);
    r = ma_memberships_each(d->db, d->a, d->user_id, put_organization, d);
    ma_jw_arr_end(&d->w);
    if (r < 0)
        return r;
    ma_jw_key(&d->w, "audit");
    ma_jw_arr(&d->w);
    r = put_audit(d);
    ma_jw_arr_end(&d->w);
    ma_jw_obj_end(&d->w);
    ma_buf_byte(&d->b, '\n');
    return r == MA_OK ? flush(d, 0) : r;
}

int ma_personal_write(struct ma_db *reader, struct ma_vault *v, struct ma_span user_id, int64_t now_ms,
                      const struct ma_personal_sink *sink)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, ROW_ARENA_MAX);
    struct doc d = {.db = reader, .v = v, .a = a, .user_id = user_id, .sink = sink};
    if (!a)
        return MA_E_NOMEM;
    int r = ma_db_read_begin(reader);
    if (r < 0)
        return r;
    ma_buf_init(&d.b, TEXT_MAX);
    ma_jw_init(&d.w, &d.b);
    r = put_document(&d, now_ms);
    ma_buf_free(&d.b);
    ma_db_read_end(reader);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * JSON parsing through jansson, table-driven decoding, merge and removal of members.
 */
#include "ma/jsonr.h"

#include "ma/codec.h"
#include "ma/jsonw.h"

#include <inttypes.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_ECHO_MAX 64u            /* bytes of an unknown member's name that may be repeated to the client */
#define LIST_ITEMS_MAX 1000u         /* default bound of a list */
#define SET_NAMES_MAX 32u            /* bits of an ENUMSET */
#define TEXT_MAX (64u * 1024 * 1024) /* bytes of JSON text written at once; the arena is the real bound */
#define TEXT_HINT 256u
#define REAL_CAP 40u

struct ma_json {
    json_t *root;
};

/* Request bodies hold passwords and codes: what jansson frees is wiped first. */
static void wiping_free(void *p)
{
    if (!p)
        return;
    explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

/* Text that jansson had no memory for it calls malformed, as often as not, or it leaves characters out of a string
 * and calls it good (a strbuffer that cannot grow). */
static _Thread_local bool starved;

void ma_json_watch(void)
{
    starved = false;
}

bool ma_json_starved(void)
{
    return starved;
}

static void *noting_malloc(size_t n)
{
    void *p = malloc(n);
    if (!p)
        starved = true;
    return p;
}

/* Before main, hence before any thread: jansson reads these settings without a lock. */
static __attribute__((constructor)) void jansson_setup(void)
{
    json_set_alloc_funcs(noting_malloc, wiping_free);
    json_object_seed(0);
}

static void json_decref_p(json_t **j)
{
    json_decref(*j);
}

/* ---- parsing ---- */

/* The index behind the string that begins at i, or n when it is not closed. */
static size_t skip_string(struct ma_span text, size_t i)
{
    for (i++; i < text.n && text.p[i] != '"'; i++) {
        if (text.p[i] == '\\')
            i++;
    }
    return i < text.n ? i + 1 : text.n;
}

/* jansson recurses once per level and allows 2048: nesting is bounded before it sees the text. */
static bool depth_ok(struct ma_span text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.n;) {
        uint8_t c = text.p[i];
        if (c == '"') {
            i = skip_string(text, i);
            continue;
        }
        if ((c == '{' || c == '[') && ++depth > MA_JSON_DEPTH_MAX)
            return false;
        if ((c == '}' || c == ']') && depth)
            depth--;
        i++;
    }
    return true;
}

static int load_text(struct ma_span text, json_t **ret)
{
    *ret = NULL;
    if (!text.n || !depth_ok(text))
        return MA_E_PARSE;
    json_error_t err;
    ma_json_watch();
    *ret = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);
    if (!starved)
        return *ret ? MA_OK : MA_E_PARSE;
    json_decref(*ret);
    *ret = NULL;
    return MA_E_NOMEM;
}

int ma_json_parse(struct ma_span text, struct ma_json **ret)
{
    *ret = NULL;
    json_t *root MA_CLEANUP(json_decref_p) = NULL;
    int err = load_text(text, &root);
    if (err != MA_OK)
        return err;
    struct ma_json *j = malloc(sizeof(*j));
    if (!j)
        return MA_E_NOMEM;
    j->root = root;
    root = NULL;
    *ret = j;
    return MA_OK;
}

void ma_json_free(struct ma_json *j)
{
    if (!j)
        return;
    json_decref(j->root);
    free(j);
}

void ma_json_free_p(struct ma_json **j)
{
    ma_json_free(*j);
    *j = NULL;
}

/* ---- writing a tree back to text ---- */

/* The shortest of 15 to 17 digits that reads back as the same number; ".0" keeps it a real. */
static void write_real(struct ma_jw *w, double v)
{
    char text[REAL_CAP];
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof(text), "%.*g", digits, v);
        if (n < 0 || (size_t)n >= sizeof(text) - 2)
            return;
        if (strtod(text, NULL) == v)
            break;
    }
    if (!strpbrk(text, ".e")) {
        memcpy(text + n, ".0", 3);
        n += 2;
    }
    ma_jw_raw(w, ma_span_of(text, (size_t)n));
}

static int compare_keys(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int write_value(struct ma_jw *w, json_t *v, bool sorted);

static int write_sorted_members(struct ma_jw *w, json_t *obj)
{
    size_t n = json_object_size(obj), i = 0;
    const char **keys = ma_arena_calloc(w->b->arena, n, sizeof(*keys));
    if (!keys)
        return MA_E_NOMEM;
    for (void *it = json_object_iter(obj); it && i < n; it = json_object_iter_next(obj, it))
        keys[i++] = json_object_iter_key(it);
    qsort(keys, n, sizeof(*keys), compare_keys);
    int err = MA_OK;
    for (i = 0; i < n && err == MA_OK; i++) {
        ma_jw_key_span(w, ma_span_str(keys[i]));
        err = write_value(w, json_object_get(obj, keys[i]), true);
    }
    return err;
}

static int write_object(struct ma_jw *w, json_t *obj, bool sorted)
{
    int err = MA_OK;
    ma_jw_obj(w);
    if (sorted)
        err = write_sorted_members(w, obj);
    for (void *it = sorted ? NULL : json_object_iter(obj); it && err == MA_OK; it = json_object_iter_next(obj, it)) {
        ma_jw_key_span(w, ma_span_of(json_object_iter_key(it), json_object_iter_key_len(it)));
        err = write_value(w, json_object_iter_value(it), sorted);
    }
    ma_jw_obj_end(w);
    return err;
}

static int write_array(struct ma_jw *w, json_t *arr, bool sorted)
{
    int err = MA_OK;
    ma_jw_arr(w);
    for (size_t i = 0; i < json_array_size(arr) && err == MA_OK; i++)
        err = write_value(w, json_array_get(arr, i), sorted);
    ma_jw_arr_end(w);
    return err;
}

static struct ma_span string_span(const json_t *v)
{
    return ma_span_of(json_string_value(v), json_string_length(v));
}

/* Recursion is bounded by MA_JSON_DEPTH_MAX: every tree comes from load_text. */
static int write_value(struct ma_jw *w, json_t *v, bool sorted)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return write_object(w, v, sorted);
    case JSON_ARRAY:
        return write_array(w, v, sorted);
    case JSON_STRING:
        ma_jw_str(w, string_span(v));
        break;
    case JSON_INTEGER:
        ma_jw_int(w, json_integer_value(v));
        break;
    case JSON_REAL:
        write_real(w, json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        ma_jw_bool(w, json_is_true(v));
        break;
    case JSON_NULL:
        ma_jw_null(w);
        break;
    }
    return ma_buf_err(w->b);
}

/* Compact text of v, NUL-terminated, in the arena. */
static int to_text(struct ma_arena *a, json_t *v, bool sorted, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    *ret = MA_SPAN_NULL;
    ma_buf_init_arena(&b, a, TEXT_HINT, TEXT_MAX);
    ma_jw_init(&w, &b);
    int err = write_value(&w, v, sorted);
    ma_buf_byte(&b, 0);
    if (err != MA_OK || ma_buf_err(&b))
        return MA_E_NOMEM; /* the text was valid when parsed: only room can be missing */
    *ret = ma_span_of(b.p, b.n - 1);
    return MA_OK;
}

/* ---- errors ---- */

void ma_verr_add(struct ma_verrs *errs, const char *pointer, const char *detail, const char *field)
{
    if (errs->n >= MA_VERR_MAX)
        return;
    struct ma_verr e = {ma_arena_strdup(errs->arena, ma_span_str(pointer)),
                        ma_arena_strdup(errs->arena, ma_span_str(detail)),
                        field ? ma_arena_strdup(errs->arena, ma_span_str(field)) : NULL};
    if (e.pointer && e.detail)
        errs->v[errs->n++] = e;
}

/* Where the decoder stands: a chain of member names and list indexes back to the document. */
struct place {
    const struct place *up; /* NULL: the document itself */
    const char *name;       /* NULL: an item of a list */
    size_t index;
};

struct decoder {
    struct ma_arena *arena;
    struct ma_verrs *errs;
    bool invalid;
};

/* RFC 6901 §3: '~' and '/' in names are "~0" and "~1". */
static void put_name(struct ma_buf *b, const char *name)
{
    for (; *name; name++) {
        if (*name == '~')
            ma_buf_str(b, "~0");
        else if (*name == '/')
            ma_buf_str(b, "~1");
        else
            ma_buf_byte(b, (uint8_t)*name);
    }
}

static void put_pointer(struct ma_buf *b, const struct place *at)
{
    if (!at || !at->up)
        return;
    put_pointer(b, at->up);
    ma_buf_byte(b, '/');
    if (at->name)
        put_name(b, at->name);
    else
        ma_buf_printf(b, "%zu", at->index);
}

static const char *last_name(const struct place *at)
{
    while (at && !at->name)
        at = at->up;
    return at ? at->name : NULL;
}

/* Writes the pointer of `at` as a C string; NULL when there is no room. */
static const char *pointer_of(struct decoder *d, const struct place *at)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, d->arena, 0, TEXT_MAX);
    put_pointer(&b, at);
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) ? NULL : (const char *)b.p;
}

/* Records "data<subject's pointer> <what>" at the pointer of `at`. Never fails: without room for
 * the text the document is still refused. */
static void report(struct decoder *d, const struct place *at, const struct place *subject, const char *field,
                   const char *what)
{
    d->invalid = true;
    if (!d->errs || d->errs->n >= MA_VERR_MAX)
        return;
    const char *pointer = pointer_of(d, at), *path = pointer_of(d, subject);
    char *detail = pointer && path ? ma_arena_printf(d->arena, "data%s %s", path, what) : NULL;
    if (detail)
        ma_verr_add(d->errs, pointer, detail, field);
}

static void report_here(struct decoder *d, const struct place *at, const char *what)
{
    report(d, at, at, last_name(at), what);
}

static void report_bound(struct decoder *d, const struct place *at, const char *before, int64_t n, const char *after)
{
    char what[96];
    (void)snprintf(what, sizeof(what), "%s%" PRId64 "%s", before, n, after);
    report_here(d, at, what);
}

/* ---- decoding: each decode_* returns MA_OK (perhaps with errors recorded) or MA_E_NOMEM ---- */

static int decode_object(struct decoder *d, json_t *obj, const struct ma_shape *shape, void *out,
                         const struct place *at);

/* True when the string passes the field's length bounds and extra test. */
static bool text_ok(struct decoder *d, struct ma_span s, const struct ma_jfield *f, const struct place *at)
{
    int64_t units = (int64_t)ma_utf8_units(s), max = f->max ? f->max : MA_JSON_STR_MAX;
    if (units < f->min)
        report_bound(d, at, "must NOT have fewer than ", f->min, " characters");
    else if (units > max)
        report_bound(d, at, "must NOT have more than ", max, " characters");
    else if (f->check && !f->check(s))
        report_here(d, at, f->check_text ? f->check_text : "must be valid");
    else
        return true;
    return false;
}

static int decode_text(struct decoder *d, const json_t *v, const struct ma_jfield *f, struct ma_span *out,
                       const struct place *at)
{
    if (!json_is_string(v)) {
        report_here(d, at, "must be string");
        return MA_OK;
    }
    if (!text_ok(d, string_span(v), f, at))
        return MA_OK;
    *out = ma_arena_dup(d->arena, string_span(v));
    return out->p ? MA_OK : MA_E_NOMEM;
}

static void decode_int(struct decoder *d, const json_t *v, const struct ma_jfield *f, int64_t *out,
                       const struct place *at)
{
    if (!json_is_integer(v)) {
        report_here(d, at, "must be integer");
        return;
    }
    int64_t n = json_integer_value(v);
    bool ranged = f->min || f->max;
    if (ranged && n < f->min)
        report_bound(d, at, "must be >= ", f->min, "");
    else if (ranged && n > f->max)
        report_bound(d, at, "must be <= ", f->max, "");
    else
        *out = n;
}

/* The index of a string in the field's names; false (and reported) when it is not one of them. */
static bool decode_name(struct decoder *d, const json_t *v, const struct ma_jfield *f, size_t *ret,
                        const struct place *at)
{
    if (!json_is_string(v)) {
        report_here(d, at, "must be string");
        return false;
    }
    for (*ret = 0; f->names[*ret]; (*ret)++) {
        if (ma_span_eq_str(string_span(v), f->names[*ret]))
            return true;
    }
    report_here(d, at, "must be equal to one of the allowed values");
    return false;
}

/* True when v is an array of at most the field's number of items. */
static bool list_ok(struct decoder *d, const json_t *v, const struct ma_jfield *f, const struct place *at)
{
    size_t max = f->max_items ? f->max_items : LIST_ITEMS_MAX;
    if (!json_is_array(v)) {
        report_here(d, at, "must be array");
        return false;
    }
    if (json_array_size(v) <= max)
        return true;
    report_bound(d, at, "must NOT have more than ", (int64_t)max, " items");
    return false;
}

static int decode_strlist(struct decoder *d, json_t *v, const struct ma_jfield *f, struct ma_span_list *out,
                          const struct place *at)
{
    if (!list_ok(d, v, f, at))
        return MA_OK;
    size_t n = json_array_size(v);
    out->v = ma_arena_calloc(d->arena, n, sizeof(*out->v));
    if (!out->v)
        return MA_E_NOMEM;
    out->n = n;
    int err = MA_OK;
    for (size_t i = 0; i < n && err == MA_OK; i++) {
        struct place item = {at, NULL, i};
        err = decode_text(d, json_array_get(v, i), f, &out->v[i], &item);
    }
    return err;
}

static int decode_str_or_list(struct decoder *d, json_t *v, const struct ma_jfield *f, struct ma_span_list *out,
                              const struct place *at)
{
    if (json_is_array(v))
        return decode_strlist(d, v, f, out, at);
    if (!json_is_string(v)) {
        report_here(d, at, "must be string or array");
        return MA_OK;
    }
    out->v = ma_arena_calloc(d->arena, 1, sizeof(*out->v));
    if (!out->v)
        return MA_E_NOMEM;
    out->n = 1;
    return decode_text(d, v, f, &out->v[0], at);
}

static int decode_objlist(struct decoder *d, json_t *v, const struct ma_jfield *f, struct ma_objlist *out,
                          const struct place *at)
{
    if (!list_ok(d, v, f, at))
        return MA_OK;
    size_t n = json_array_size(v);
    char *items = ma_arena_calloc(d->arena, n, f->sub->size);
    if (!items)
        return MA_E_NOMEM;
    *out = (struct ma_objlist){items, n};
    int err = MA_OK;
    for (size_t i = 0; i < n && err == MA_OK; i++) {
        struct place item = {at, NULL, i};
        err = decode_object(d, json_array_get(v, i), f->sub, items + i * f->sub->size, &item);
    }
    return err;
}

static void decode_enumset(struct decoder *d, json_t *v, const struct ma_jfield *f, uint32_t *out,
                           const struct place *at)
{
    if (!list_ok(d, v, f, at))
        return;
    for (size_t i = 0; i < json_array_size(v); i++) {
        struct place item = {at, NULL, i};
        size_t bit;
        if (decode_name(d, json_array_get(v, i), f, &bit, &item) && bit < SET_NAMES_MAX)
            *out |= (uint32_t)1 << bit;
    }
}

static int decode_raw(struct decoder *d, json_t *v, bool object_only, struct ma_span *out, const struct place *at)
{
    if (object_only && !json_is_object(v)) {
        report_here(d, at, "must be object");
        return MA_OK;
    }
    return to_text(d->arena, v, false, out);
}

static int decode_member(struct decoder *d, json_t *v, const struct ma_jfield *f, void *to, const struct place *at)
{
    size_t index;
    switch (f->type) {
    case MA_F_STR:
        return decode_text(d, v, f, to, at);
    case MA_F_INT:
        decode_int(d, v, f, to, at);
        return MA_OK;
    case MA_F_BOOL:
        if (json_is_boolean(v))
            *(bool *)to = json_is_true(v);
        else
            report_here(d, at, "must be boolean");
        return MA_OK;
    case MA_F_ENUM:
        if (decode_name(d, v, f, &index, at))
            *(int *)to = (int)index;
        return MA_OK;
    case MA_F_OBJ:
        return decode_object(d, v, f->sub, to, at);
    case MA_F_STRLIST:
        return decode_strlist(d, v, f, to, at);
    case MA_F_STR_OR_LIST:
        return decode_str_or_list(d, v, f, to, at);
    case MA_F_OBJLIST:
        return decode_objlist(d, v, f, to, at);
    case MA_F_ENUMSET:
        decode_enumset(d, v, f, to, at);
        return MA_OK;
    case MA_F_RAW:
    case MA_F_RAWOBJ:
        return decode_raw(d, v, f->type == MA_F_RAWOBJ, to, at);
    case MA_F_ANY:
        return MA_OK;
    }
    return MA_E_INVAL; /* a table with a type that does not exist */
}

/* The member of a field, or NULL when it is absent (or null, where that means the same). */
static json_t *find_member(const json_t *obj, const struct ma_jfield *f)
{
    json_t *v = json_object_get(obj, f->name);
    return v && json_is_null(v) && (f->flags & MA_NULLOK) ? NULL : v;
}

static void check_required(struct decoder *d, const json_t *obj, const struct ma_shape *shape, const struct place *at)
{
    for (size_t i = 0; i < shape->n; i++) {
        const struct ma_jfield *f = &shape->fields[i];
        if (!(f->flags & MA_REQ) || find_member(obj, f))
            continue;
        char what[160];
        (void)snprintf(what, sizeof(what), "must have required property '%s'", f->name);
        report(d, at, at, f->name, what);
    }
}

static bool is_known(const struct ma_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->n; i++) {
        if (strcmp(shape->fields[i].name, name) == 0)
            return true;
    }
    return false;
}

/* A client's own text goes back to it only when it is short and harmless. */
static bool may_echo(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (name[i] < 0x20 || name[i] > 0x7E)
            return false;
    }
    return n <= NAME_ECHO_MAX;
}

static void check_unknown(struct decoder *d, json_t *obj, const struct ma_shape *shape, const struct place *at)
{
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
        const char *name = json_object_iter_key(it);
        if (is_known(shape, name))
            continue;
        bool echo = may_echo(name, json_object_iter_key_len(it));
        struct place member = {at, name, 0};
        report(d, echo ? &member : at, at, echo ? name : last_name(at), "must NOT have additional properties");
    }
}

/* Required members first, then unknown ones, then the members in table order, as ajv reports. */
static int decode_object(struct decoder *d, json_t *obj, const struct ma_shape *shape, void *out,
                         const struct place *at)
{
    if (!json_is_object(obj)) {
        report_here(d, at, "must be object");
        return MA_OK;
    }
    check_required(d, obj, shape, at);
    if (!shape->ignore_unknown)
        check_unknown(d, obj, shape, at);
    int err = MA_OK;
    for (size_t i = 0; i < shape->n && err == MA_OK; i++) {
        const struct ma_jfield *f = &shape->fields[i];
        json_t *v = find_member(obj, f);
        if (!v)
            continue;
        struct place member = {at, f->name, 0};
        if (f->has_off)
            *(bool *)(void *)((char *)out + f->has_off) = true;
        err = decode_member(d, v, f, (char *)out + f->off, &member);
    }
    return err;
}

int ma_json_decode(const struct ma_json *j, struct ma_arena *a, const struct ma_shape *shape, void *out,
                   struct ma_verrs *errs)
{
    struct decoder d = {a, errs, false};
    struct place document = {NULL, NULL, 0};
    int err = decode_object(&d, j->root, shape, out, &document);
    if (err != MA_OK)
        return err;
    return d.invalid ? MA_E_INVAL : MA_OK;
}

/* ---- one value ---- */

/* The index a step of a path names; SIZE_MAX when it names none. */
static size_t index_of(struct ma_span step)
{
    size_t n = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (step.p[i] < '0' || step.p[i] > '9' || n > LIST_ITEMS_MAX)
            return SIZE_MAX;
        n = n * 10 + (size_t)(step.p[i] - '0');
    }
    return step.n ? n : SIZE_MAX;
}

static json_t *step_into(json_t *v, struct ma_span step)
{
    if (json_is_array(v))
        return json_array_get(v, index_of(step));
    return json_object_getn(v, (const char *)step.p, step.n);
}

int ma_json_at(const struct ma_json *j, struct ma_span path, struct ma_arena *a, struct ma_span *ret)
{
    json_t *v = path.n ? j->root : NULL;
    *ret = MA_SPAN_NULL;
    for (size_t from = 0; v && from <= path.n;) {
        const uint8_t *dot = from < path.n ? memchr(path.p + from, '.', path.n - from) : NULL;
        size_t to = dot ? (size_t)(dot - path.p) : path.n;
        v = step_into(v, ma_span_of(path.p + from, to - from));
        from = to + 1;
    }
    if (!json_is_string(v) && !json_is_integer(v))
        return MA_E_NOTFOUND;
    if (json_is_integer(v)) {
        const char *digits = ma_arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        *ret = ma_span_str(digits);
    } else {
        *ret = ma_arena_dup(a, string_span(v));
    }
    return ret->p ? MA_OK : MA_E_NOMEM;
}

/* ---- editing ---- */

static int load_object(struct ma_span text, json_t **ret)
{
    int err = load_text(text, ret);
    if (err == MA_OK && !json_is_object(*ret))
        err = MA_E_PARSE;
    return err;
}

/* RFC 7396 §2 for two objects; recursion is bounded by the depth of `patch`. */
static int merge_object(json_t *target, json_t *patch)
{
    for (void *it = json_object_iter(patch); it; it = json_object_iter_next(patch, it)) {
        const char *name = json_object_iter_key(it);
        json_t *v = json_object_iter_value(it), *old = json_object_get(target, name);
        int rc = 0;
        if (json_is_null(v)) {
            (void)json_object_del(target, name); /* may be absent */
        } else if (!json_is_object(v)) {
            rc = json_object_set(target, name, v);
        } else {
            if (!json_is_object(old)) {
                rc = json_object_set_new(target, name, json_object());
                old = json_object_get(target, name);
            }
            rc = rc || !old ? -1 : merge_object(old, v);
        }
        if (rc != 0)
            return MA_E_NOMEM;
    }
    return MA_OK;
}

int ma_json_merge(struct ma_arena *a, struct ma_span base, struct ma_span patch, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    json_t *target MA_CLEANUP(json_decref_p) = NULL;
    json_t *change MA_CLEANUP(json_decref_p) = NULL;
    int err = load_object(base, &target);
    if (err == MA_OK)
        err = load_object(patch, &change);
    if (err == MA_OK)
        err = merge_object(target, change);
    return err == MA_OK ? to_text(a, target, true, ret) : err;
}

int ma_json_without(struct ma_arena *a, struct ma_span text, const char *const *path, size_t n, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    json_t *root MA_CLEANUP(json_decref_p) = NULL;
    int err = load_object(text, &root);
    if (err != MA_OK)
        return err;
    json_t *holder = root;
    for (size_t i = 0; n && i < n - 1; i++)
        holder = json_object_get(holder, path[i]); /* NULL for anything but an object's member */
    if (n && holder)
        (void)json_object_del(holder, path[n - 1]); /* may be absent */
    return to_text(a, root, true, ret);
}

/* ---- parts of a document ---- */

static json_t *part_of(const struct ma_json *j, const char *name, size_t index)
{
    json_t *v = json_object_get(j->root, name);
    return index == MA_JSON_WHOLE ? v : json_array_get(v, index);
}

static enum ma_json_type type_of(const json_t *v)
{
    if (!v)
        return MA_JSON_ABSENT;
    if (json_is_null(v))
        return MA_JSON_NULL;
    if (json_is_object(v))
        return MA_JSON_OBJECT;
    return json_is_array(v) ? MA_JSON_ARRAY : MA_JSON_OTHER;
}

enum ma_json_type ma_json_part_type(const struct ma_json *j, const char *name, size_t index)
{
    return type_of(part_of(j, name, index));
}

enum ma_json_type ma_json_part_member(const struct ma_json *j, const char *name, size_t index, const char *member)
{
    return type_of(json_object_get(part_of(j, name, index), member));
}

size_t ma_json_part_items(const struct ma_json *j, const char *name)
{
    return json_array_size(json_object_get(j->root, name));
}

int ma_json_part_decode(const struct ma_json *j, const char *name, size_t index, struct ma_arena *a,
                        const struct ma_shape *shape, void *out, struct ma_verrs *errs)
{
    struct decoder d = {a, errs, false};
    struct place document = {NULL, NULL, 0}, whole = {&document, name, 0}, item = {&whole, NULL, index};
    json_t *v = part_of(j, name, index);
    if (!v)
        return MA_E_NOTFOUND;
    int err = decode_object(&d, v, shape, out, index == MA_JSON_WHOLE ? &whole : &item);
    if (err != MA_OK)
        return err;
    return d.invalid ? MA_E_INVAL : MA_OK;
}

int ma_json_part_text(const struct ma_json *j, const char *name, size_t index, struct ma_arena *a, struct ma_span *ret)
{
    json_t *v = part_of(j, name, index);
    *ret = MA_SPAN_NULL;
    return v ? to_text(a, v, true, ret) : MA_E_NOTFOUND;
}

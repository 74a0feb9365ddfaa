/* SPDX-License-Identifier: Apache-2.0
 * apply: checks a whole document, works out what each element becomes, then writes the changes.
 */
#include "ma/state.h"

#include "ma/crypto.h"
#include "int.h"

#define MA_APPLY_FIRST ((size_t)64 << 10)
#define MA_POINTER_MAX 64 /* "/client_grants/4294967295" */

/* --- errors and reports --- */
void ma_apply_error(struct ma_apply *ap, const char *pointer, const char *sub, const char *detail)
{
    ap->invalid = true;
    const char *at = ma_arena_printf(ap->scratch, "%s%s", pointer, sub);
    const char *slash = strrchr(at ? at : pointer, '/');
    if (at)
        ma_verr_add(ap->errs, at, detail, slash ? slash + 1 : NULL);
}

void ma_apply_error_item(struct ma_apply *ap, const char *pointer, const char *name, size_t i, const char *detail)
{
    const char *sub = ma_arena_printf(ap->scratch, "/%s/%zu", name, i);
    ma_apply_error(ap, pointer, sub ? sub : "", detail);
}

void ma_apply_report(struct ma_apply *ap, const char *what, struct ma_span key, const char *verb)
{
    ap->changes++;
    ma_buf_str(ap->report, what);
    if (key.n > 0)
        ma_buf_byte(ap->report, ' ');
    ma_buf_span(ap->report, key);
    ma_buf_byte(ap->report, ' ');
    ma_buf_str(ap->report, verb);
    ma_buf_byte(ap->report, '\n');
}

/* --- elements: those of the database first, the document's merged over them --- */
static struct ma_span elem_id(struct ma_arena *a, const char *kind, struct ma_span key)
{
    return ma_span_str(ma_arena_printf(a, "%s|%.*s", kind, (int)key.n, (const char *)key.p));
}

struct ma_elem *ma_apply_find(struct ma_apply *ap, enum ma_kind_id kind, struct ma_span key)
{
    struct ma_span id = elem_id(ap->scratch, ma_kinds[kind].kind, key);
    size_t i = id.p ? ma_index_find(&ap->index, id) : SIZE_MAX;
    return i == SIZE_MAX ? NULL : &ap->elems[i];
}

static const struct ma_kind *kind_named(struct ma_span name)
{
    for (size_t i = 0; i < MA_KIND__COUNT; i++) {
        if (ma_span_eq_str(name, ma_kinds[i].kind))
            return &ma_kinds[i];
    }
    return NULL;
}

static struct ma_elem *elem_add(struct ma_apply *ap, const struct ma_kind *kind, struct ma_span key)
{
    struct ma_elem *e = &ap->elems[ap->n_elems];
    *e = (struct ma_elem){.id = elem_id(ap->a, kind->kind, key), .kind = kind, .key = key};
    if (!e->id.p || !ma_index_add(&ap->index, ap->n_elems))
        return NULL;
    ap->n_elems++;
    return e;
}

/* Connections of the database that the document does not name matter to its users all the same. */
static int know_connection(struct ma_apply *ap, struct ma_elem *e)
{
    struct ma_doc_connection d = {0};
    int rc = ma_state_decode(ap->scratch, ma_defaults_connection, e->before, &ma_shape_connection, &d);
    e->database = ma_span_eq_str(d.strategy, "auth0");
    e->keep_history = d.policy.history_active ? (int)d.policy.history_size : 0;
    return rc;
}

static int load_existing(struct ma_apply *ap)
{
    struct ma_object *have = NULL;
    size_t n = 0;
    int rc = ma_object_list(ap->env->db, ap->a, &have, &n);
    if (rc != MA_OK)
        return rc;
    ap->cap_elems = n;
    for (size_t k = 0; k < MA_KIND__COUNT; k++)
        ap->cap_elems += ma_kinds[k].key ? ma_json_part_items(ap->doc, ma_kinds[k].member) : 1;
    ap->elems = ma_arena_calloc(ap->a, ap->cap_elems + 1, sizeof *ap->elems);
    if (!ap->elems || ma_index_init(&ap->index, ap->a, ap->elems, sizeof *ap->elems, ap->cap_elems) != MA_OK)
        return MA_E_NOMEM;
    for (size_t i = 0; rc == MA_OK && i < n; i++) {
        const struct ma_kind *kind = kind_named(have[i].kind);
        struct ma_elem *e = kind ? elem_add(ap, kind, have[i].key) : NULL;
        if (!e)
            return MA_E_DB;
        e->before = e->after = have[i].json;
        if (kind == &ma_kinds[MA_KIND_CONNECTION])
            rc = know_connection(ap, e);
        ma_arena_reset(ap->scratch);
    }
    return rc;
}

/* The element with this key, made when it is new. NULL with *ret_rc MA_OK when the document names it twice. */
static struct ma_elem *elem_for(struct ma_apply *ap, enum ma_kind_id kind, struct ma_span key, const char *pointer,
                                int *ret_rc)
{
    struct ma_elem *e = ma_apply_find(ap, kind, key);
    *ret_rc = MA_OK;
    if (e && e->seen) {
        ma_apply_error(ap, pointer, "", "must NOT have the same key as an earlier item");
        return NULL;
    }
    if (!e)
        e = elem_add(ap, &ma_kinds[kind], key);
    if (!e)
        *ret_rc = MA_E_NOMEM;
    else
        e->seen = true;
    return e;
}

/* The element's text in the document without its secret. */
static int patch_text(struct ma_apply *ap, const struct ma_kind *kind, size_t index, struct ma_span *ret)
{
    struct ma_span whole;
    int rc = ma_json_part_text(ap->doc, kind->member, index, ap->scratch, &whole);
    if (rc != MA_OK || !kind->secret_path[0]) {
        *ret = whole;
        return rc;
    }
    return ma_json_without(ap->scratch, whole, kind->secret_path, kind->secret_path[1] ? 2 : 1, ret);
}

/* Merges the document's text over the stored one and checks the result. */
static int plan_merge(struct ma_apply *ap, struct ma_elem *e, size_t index, const char *pointer)
{
    struct ma_span patch;
    union ma_doc_any merged = {0};
    int rc = patch_text(ap, e->kind, index, &patch);
    if (rc == MA_OK)
        rc = ma_json_merge(ap->a, e->before.p ? e->before : MA_LIT("{}"), patch, &e->after);
    if (rc == MA_OK)
        rc = ma_state_decode(ap->scratch, e->kind->defaults, e->after, e->kind->shape, &merged);
    if (rc == MA_E_INVAL) { /* cannot come from valid parts, but stored text is input too */
        ma_apply_error(ap, pointer, "", "cannot be merged with what is stored");
        return MA_OK;
    }
    if (rc == MA_OK && e->kind->check)
        e->kind->check(ap, e, &merged, pointer);
    return rc;
}

static int plan_one(struct ma_apply *ap, enum ma_kind_id id, size_t index)
{
    const struct ma_kind *kind = &ma_kinds[id];
    union ma_doc_any doc = {0};
    char pointer[MA_POINTER_MAX];
    struct ma_buf text = {.p = (uint8_t *)pointer, .cap = sizeof pointer, .max = sizeof pointer};
    ma_buf_printf(&text, index == MA_JSON_WHOLE ? "/%s" : "/%s/%zu", kind->member, index);
    int rc = ma_json_part_decode(ap->doc, kind->member, index, ap->scratch, kind->shape, &doc, ap->errs);
    if (rc == MA_E_INVAL)
        ap->invalid = true;
    if (rc != MA_OK)
        return rc == MA_E_INVAL ? MA_OK : rc;
    struct ma_span key = kind->key ? kind->key(ap->a, &doc) : MA_LIT("");
    struct ma_elem *e = key.p ? elem_for(ap, id, key, pointer, &rc) : NULL;
    if (!e)
        return key.p ? rc : MA_E_NOMEM;
    e->at = index;
    struct ma_span secret = kind->secret ? kind->secret(&doc) : MA_SPAN_NULL;
    e->has_secret = secret.p != NULL;
    if (e->has_secret)
        e->secret = ma_arena_dup(ap->a, secret);
    return e->has_secret && !e->secret.p ? MA_E_NOMEM : plan_merge(ap, e, index, pointer);
}

static int plan_kind(struct ma_apply *ap, enum ma_kind_id id)
{
    const char *member = ma_kinds[id].member;
    enum ma_json_type type = ma_json_part_type(ap->doc, member, MA_JSON_WHOLE);
    int rc = MA_OK;
    if (type == MA_JSON_ABSENT)
        return MA_OK;
    if (!ma_kinds[id].key) {
        rc = plan_one(ap, id, MA_JSON_WHOLE);
    } else if (type != MA_JSON_ARRAY) {
        const char *pointer = ma_arena_printf(ap->scratch, "/%s", member);
        ma_apply_error(ap, pointer ? pointer : "", "", "must be array");
    } else {
        size_t n = ma_json_part_items(ap->doc, member);
        for (size_t i = 0; rc == MA_OK && i < n; i++) {
            rc = plan_one(ap, id, i);
            ma_arena_reset(ap->scratch);
        }
    }
    return rc;
}

/* --- writing --- */
static struct ma_seal_id seal_id(const struct ma_elem *e)
{
    return (struct ma_seal_id){"object_secrets", "client_secret", e->id, MA_LIT("")};
}

/* True when the sealed secret is the given one already; an unreadable blob counts as different. */
static bool secret_same(struct ma_apply *ap, const struct ma_elem *e)
{
    struct ma_span sealed, plain;
    struct ma_seal_id id = seal_id(e);
    if (ma_object_secret_get(ap->env->db, ap->scratch, ma_span_str(e->kind->kind), e->key, MA_LIT("client_secret"),
                             &sealed) != MA_OK)
        return false;
    return ma_vault_open_blob(ap->env->vault, ap->scratch, &id, sealed, &plain) == MA_OK && ma_ct_eq(plain, e->secret);
}

static int write_secret(struct ma_apply *ap, const struct ma_elem *e)
{
    struct ma_span sealed;
    struct ma_seal_id id = seal_id(e);
    int rc = ma_vault_seal(ap->env->vault, ap->scratch, &id, e->secret, &sealed);
    if (rc != MA_OK)
        return rc;
    return ma_object_secret_put(ap->env->db, ma_span_str(e->kind->kind), e->key, MA_LIT("client_secret"), sealed,
                                ap->env->now_ms);
}

static int write_elem(struct ma_apply *ap, const struct ma_elem *e)
{
    bool json = !e->before.p || !ma_span_eq(e->before, e->after);
    bool secret = e->has_secret && !secret_same(ap, e);
    if (!json && !secret)
        return MA_OK;
    ma_apply_report(ap, e->kind->kind, e->key, e->before.p ? "updated" : "created");
    if (ap->env->dry_run)
        return MA_OK;
    struct ma_object o = {ma_span_str(e->kind->kind), e->key, e->after};
    int rc = json ? ma_object_put(ap->env->db, &o, ap->env->now_ms) : MA_OK;
    return rc == MA_OK && secret ? write_secret(ap, e) : rc;
}

static int write_objects(struct ma_apply *ap)
{
    int rc = MA_OK;
    for (size_t i = 0; rc == MA_OK && i < ap->n_elems; i++) {
        if (ap->elems[i].seen)
            rc = write_elem(ap, &ap->elems[i]);
        ma_arena_reset(ap->scratch);
    }
    return rc;
}

/* --- the whole --- */
struct doc_top {
    bool present;
};
#define TOP(member)                                                                                                    \
    {                                                                                                                  \
        .name = (member), .type = MA_F_ANY, .off = 0                                                                   \
    }
static const struct ma_jfield top_fields[] = {
    TOP("api"),           TOP("tenant"), TOP("factors"),       TOP("connections"), TOP("clients"),
    TOP("client_grants"), TOP("roles"),  TOP("organizations"), TOP("policies"),    TOP("users"),
};
static const struct ma_shape top = MA_SHAPE(struct doc_top, top_fields);

static int plan(struct ma_apply *ap)
{
    struct doc_top present = {0};
    int rc = ma_json_decode(ap->doc, ap->scratch, &top, &present, ap->errs);
    if (rc == MA_E_INVAL)
        ap->invalid = true;
    if (rc == MA_OK || rc == MA_E_INVAL)
        rc = load_existing(ap);
    for (int k = 0; rc == MA_OK && k < MA_KIND__COUNT; k++)
        rc = plan_kind(ap, (enum ma_kind_id)k);
    if (rc == MA_OK)
        rc = ma_organizations_check(ap);
    if (rc == MA_OK)
        rc = ma_apply_users_check(ap);
    return rc == MA_OK && ap->invalid ? MA_E_INVAL : rc;
}

static int run(struct ma_apply *ap)
{
    int rc = plan(ap);
    if (rc == MA_OK)
        rc = write_objects(ap);
    if (rc == MA_OK)
        rc = ma_apply_users_write(ap);
    if (rc == MA_OK && ap->changes == 0)
        ma_buf_str(ap->report, "no changes\n");
    return rc;
}

int ma_state_apply(const struct ma_apply_env *env, struct ma_span document, struct ma_buf *report,
                   struct ma_verrs *errs)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_APPLY_FIRST, MA_STATE_ARENA_MAX);
    struct ma_arena *scratch MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_STATE_SCRATCH_MAX);
    struct ma_json *doc MA_CLEANUP(ma_json_free_p) = NULL;
    if (!a || !scratch)
        return MA_E_NOMEM;
    int rc = ma_json_parse(document, &doc);
    if (rc != MA_OK) {
        ma_verr_add(errs, "", "must be JSON: UTF-8, no duplicate members, at most 16 levels deep", NULL);
        return rc;
    }
    struct ma_apply ap = {.env = env, .doc = doc, .a = a, .scratch = scratch, .errs = errs, .report = report};
    return run(&ap);
}

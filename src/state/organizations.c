/* SPDX-License-Identifier: Apache-2.0
 * Organizations: names that are theirs alone, and the snapshot's list with an index of the members of each.
 */
#include "ma/state.h"

#include "int.h"

/* --- apply --- */

struct doc_name {
    struct ma_span name;
};
static const struct ma_jfield name_fields[] = {
    {.name = "name", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct doc_name, name)},
};
static const struct ma_shape name_shape = MA_SHAPE_OPEN(struct doc_name, name_fields);

/* The names seen so far, in lower case. */
struct taken {
    struct ma_span *names;
    size_t n;
    struct ma_index index;
};

static int take_name(struct ma_apply *ap, struct taken *t, const struct ma_elem *e)
{
    struct doc_name d = {0};
    int rc = ma_state_decode(ap->scratch, NULL, e->after, &name_shape, &d);
    if (rc == MA_E_INVAL || (rc == MA_OK && d.name.n == 0))
        return MA_OK;
    if (rc == MA_OK)
        t->names[t->n] = ma_lower(ap->a, d.name);
    if (rc != MA_OK || !t->names[t->n].p)
        return rc == MA_OK ? MA_E_NOMEM : rc;
    if (ma_index_add(&t->index, t->n)) {
        t->n++;
        return MA_OK;
    }
    const char *sub = ma_arena_printf(ap->scratch, "/%zu/name", e->at);
    ma_apply_error(ap, "/organizations", sub ? sub : "", "must not be the name of another organization");
    return MA_OK;
}

static int take_names(struct ma_apply *ap, struct taken *t, bool seen)
{
    int rc = MA_OK;
    for (size_t i = 0; rc == MA_OK && i < ap->n_elems; i++) {
        const struct ma_elem *e = &ap->elems[i];
        if (e->kind == &ma_kinds[MA_KIND_ORGANIZATION] && e->seen == seen && e->after.p)
            rc = take_name(ap, t, e);
        ma_arena_reset(ap->scratch);
    }
    return rc;
}

int ma_organizations_check(struct ma_apply *ap)
{
    struct taken t = {0};
    if (ma_json_part_items(ap->doc, "organizations") == 0)
        return MA_OK;
    t.names = ma_arena_calloc(ap->a, ap->n_elems + 1, sizeof *t.names);
    if (!t.names || ma_index_init(&t.index, ap->a, t.names, sizeof *t.names, ap->n_elems) != MA_OK)
        return MA_E_NOMEM;
    /* who has a name keeps it: the error is the document's */
    int rc = take_names(ap, &t, false);
    return rc == MA_OK ? take_names(ap, &t, true) : rc;
}

/* --- load --- */

static int index_members(struct ma_load *l, const struct ma_span_list *members, const void **ret)
{
    struct ma_index *ix = ma_arena_calloc(l->a, 1, sizeof *ix);
    if (!ix || ma_index_init(ix, l->a, members->v, sizeof *members->v, members->n) != MA_OK)
        return MA_E_NOMEM;
    for (size_t i = 0; i < members->n; i++)
        (void)ma_index_add(ix, i);
    *ret = ix;
    return MA_OK;
}

static int load_organization(struct ma_load *l, const struct ma_object *o)
{
    struct ma_doc_organization d = {0};
    int rc = ma_load_decode(l, o, NULL, &ma_shape_organization, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state *s = &l->snap->pub;
    struct ma_state_organization *org = &l->organizations[s->n_organizations];
    *org = (struct ma_state_organization){
        .id = d.id, .name = d.name.n > 0 ? d.name : d.id, .display_name = d.display_name};
    (void)ma_index_add(&l->snap->by_organization, s->n_organizations++);
    return index_members(l, &d.members, &org->members);
}

static int index_names(struct ma_load *l)
{
    const struct ma_state *s = &l->snap->pub;
    void *p = NULL;
    int rc = ma_load_room(l, &l->snap->by_organization_name, s->n_organizations, sizeof(struct ma_span), &p);
    struct ma_span *names = p;
    for (size_t i = 0; rc == MA_OK && i < s->n_organizations; i++) {
        if (s->organizations[i].name.p == s->organizations[i].id.p)
            continue; /* it has none: ids are found as they are written */
        names[i] = ma_lower(l->a, s->organizations[i].name);
        if (!names[i].p)
            return MA_E_NOMEM;
        (void)ma_index_add(&l->snap->by_organization_name, i);
    }
    return rc;
}

/* Stored elements come in the order of their keys, which are the ids. */
int ma_load_organizations(struct ma_load *l)
{
    void *p = NULL;
    int rc = ma_load_room(l, &l->snap->by_organization, ma_load_count(l, "organization"), sizeof *l->organizations, &p);
    l->snap->pub.organizations = l->organizations = p;
    if (rc == MA_OK)
        rc = ma_load_each(l, "organization", load_organization);
    return rc == MA_OK ? index_names(l) : rc;
}

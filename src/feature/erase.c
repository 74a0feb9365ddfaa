/* SPDX-License-Identifier: Apache-2.0
 * Erasing a user, and the organizations a user is a member of.
 */
#include "ma/personal.h"

#include "personal_int.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#define MEMBERS_MAX 10000000 /* what is stored was checked when it was applied */
#define KEY_MAX 1024
#define OBJECT_ARENA_MAX ((size_t)256 << 20)
#define MEMBERS_TEXT_MAX ((size_t)128 << 20)

/* --- organizations --- */

struct organization {
    struct ma_span id, name, display_name;
    struct ma_span_list members;
};
#define AT(m) .name = #m, .flags = MA_NULLOK, .off = offsetof(struct organization, m)
static const struct ma_jfield fields[] = {
    {AT(id), .type = MA_F_STR},
    {AT(name), .type = MA_F_STR},
    {AT(display_name), .type = MA_F_STR},
    {AT(members), .type = MA_F_STRLIST, .max_items = MEMBERS_MAX},
};
#undef AT
static const struct ma_shape shape = MA_SHAPE_OPEN(struct organization, fields);

static int read_organization(struct ma_arena *a, const struct ma_object *o, struct ma_membership *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = a};
    struct organization org = {.id = MA_SPAN_NULL};
    int r = ma_json_parse(o->json, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, a, &shape, &org, &errs);
    *ret = (struct ma_membership){*o, org.id, org.name, org.display_name, org.members};
    return r;
}

int ma_memberships_each(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                        int (*fn)(void *arg, const struct ma_membership *m), void *arg)
{
    uint8_t key[KEY_MAX];
    struct ma_span after = MA_LIT("");
    for (;;) {
        struct ma_object o;
        struct ma_membership m;
        ma_arena_reset(a);
        int r = ma_object_next(db, a, MA_LIT("organization"), after, &o);
        if (r == MA_E_NOTFOUND)
            return MA_OK;
        if (r == MA_OK && o.key.n > sizeof key)
            r = MA_E_RANGE;
        if (r == MA_OK)
            r = read_organization(a, &o, &m);
        if (r == MA_OK && ma_span_list_has(&m.members, user_id))
            r = fn(arg, &m);
        if (r < 0)
            return r;
        memcpy(key, o.key.p, o.key.n);
        after = ma_span_of(key, o.key.n);
    }
}

/* --- erasing --- */

struct leaving {
    struct ma_db *db;
    struct ma_arena *a;
    struct ma_span user_id;
    int64_t now_ms;
};

static int leave(void *arg, const struct ma_membership *m)
{
    const struct leaving *l = arg;
    struct ma_buf b;
    struct ma_jw w;
    struct ma_object o = m->object;
    ma_buf_init_arena(&b, l->a, 4096, MEMBERS_TEXT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "members");
    ma_jw_arr(&w);
    for (size_t i = 0; i < m->members.n; i++)
        if (!ma_span_eq(m->members.v[i], l->user_id))
            ma_jw_str(&w, m->members.v[i]);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    int r = ma_buf_err(&b);
    if (r == MA_OK)
        r = ma_json_merge(l->a, m->object.json, ma_buf_view(&b), &o.json);
    return r == MA_OK ? ma_object_put(l->db, &o, l->now_ms) : r;
}

int ma_personal_erase(struct ma_db *writer, struct ma_span user_id, int64_t now_ms)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, OBJECT_ARENA_MAX);
    struct leaving l = {writer, a, user_id, now_ms};
    if (!a)
        return MA_E_NOMEM;
    int r = ma_user_delete(writer, user_id); /* the rows of all owned tables go with it (ON DELETE CASCADE) */
    return r == MA_OK ? ma_memberships_each(writer, a, user_id, leave, &l) : r;
}

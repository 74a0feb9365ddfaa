/* SPDX-License-Identifier: Apache-2.0
 * JSON text to typed structs through descriptor tables; errors are JSON Pointers (RFC 6901).
 * The only user of jansson. Strict: duplicate members, NUL, invalid UTF-8, trailing text, depth
 * over the limit and (where integers are asked for) reals and out-of-range numbers are refused.
 */
#ifndef MA_JSONR_H
#define MA_JSONR_H

#include "ma/arena.h"

#define MA_JSON_DEPTH_MAX 16 /* nesting of arrays and objects */

/* A parsed document; opaque, malloc'ed by jansson; owned (ma_json_free). Stays on one thread at a
 * time. */
struct ma_json;

/* MA_OK, MA_E_PARSE (not JSON, or over the depth), MA_E_NOMEM. Any top-level value is parsed; the
 * decoder insists on an object. */
MA_MUST_USE int ma_json_parse(struct ma_span text, struct ma_json **ret);
void ma_json_free(struct ma_json *j);
void ma_json_free_p(struct ma_json **j);

enum ma_ftype {
    MA_F_STR,         /* struct ma_span; arena copy, NUL-terminated */
    MA_F_INT,         /* int64_t within [min, max]; reals refused */
    MA_F_BOOL,        /* bool */
    MA_F_ENUM,        /* int: index into the field's NULL-terminated `names` */
    MA_F_OBJ,         /* embedded struct decoded by `sub` */
    MA_F_STRLIST,     /* struct ma_span_list; each string within [min, max], count ≤ max_items */
    MA_F_STR_OR_LIST, /* struct ma_span_list from one string or an array of strings (JWT aud, amr) */
    MA_F_OBJLIST,     /* struct ma_objlist of `sub` structs */
    MA_F_ENUMSET,     /* uint32_t bitmask of indexes into `names`, from an array of strings */
    MA_F_RAW,         /* struct ma_span: any value, as compact JSON text */
    MA_F_RAWOBJ,      /* as RAW, but must be an object */
    MA_F_ANY          /* known but not decoded: any value, nothing is stored */
};

struct ma_objlist {
    void *v; /* arena array of sub->size structs, zeroed then decoded */
    size_t n;
};

#define MA_REQ 1u /* must be present */
#define MA_NONULL 0u
#define MA_NULLOK 2u /* null counts as absent */

struct ma_shape;
struct ma_jfield {
    const char *name;
    enum ma_ftype type;
    uint32_t flags;
    size_t off;       /* offset of the value in the struct */
    size_t has_off;   /* offset of a bool that is set when present; 0 = none (never the first member) */
    int64_t min, max; /* STR/STRLIST: length in UTF-16 units (max 0 = MA_JSON_STR_MAX); INT: range (0,0 = int64) */
    size_t max_items; /* STRLIST, OBJLIST: 0 = 1000 */
    const char *const *names;      /* ENUM, ENUMSET */
    const struct ma_shape *sub;    /* OBJ, OBJLIST */
    bool (*check)(struct ma_span); /* STR: extra test */
    const char *check_text;        /* what fails it, e.g. "must match format \"uri\"" */
};
#define MA_JSON_STR_MAX 65536

struct ma_shape {
    size_t size; /* sizeof the struct */
    const struct ma_jfield *fields;
    size_t n;
    bool ignore_unknown; /* false: an unknown member is an error */
};
#define MA_SHAPE(type, table)                                                                                          \
    {                                                                                                                  \
        sizeof(type), (table), MA_COUNT(table), false                                                                  \
    }
#define MA_SHAPE_OPEN(type, table)                                                                                     \
    {                                                                                                                  \
        sizeof(type), (table), MA_COUNT(table), true                                                                   \
    }

/* One validation error. pointer "" is the whole document. detail is worded as JSON Schema
 * validators do ("data/name must be string", "data must have required property 'type'",
 * "data must NOT have additional properties"); it never echoes values. */
struct ma_verr {
    const char *pointer; /* arena */
    const char *detail;  /* arena or static */
    const char *field;   /* NULL, or the member's name */
};
#define MA_VERR_MAX 32 /* errors reported at most */
struct ma_verrs {
    struct ma_verr v[MA_VERR_MAX];
    size_t n;
    struct ma_arena *arena; /* where pointers live; set by the caller */
};
/* Appends; silently drops past MA_VERR_MAX. Strings are copied to errs->arena. field may be NULL. */
void ma_verr_add(struct ma_verrs *errs, const char *pointer, const char *detail, const char *field);

/* Decodes j (must be an object) into the zeroed struct at out. MA_OK, MA_E_INVAL (errs filled, all
 * errors collected), MA_E_NOMEM. A missing required member has the pointer of its *object* ("" at
 * the top); unknown members and wrong types have the member's own pointer. */
MA_MUST_USE int ma_json_decode(const struct ma_json *j, struct ma_arena *a, const struct ma_shape *shape, void *out,
                               struct ma_verrs *errs);

/* The string, or the integer in decimal digits, at a path of member names joined by dots ("data.user.id"); a number
 * names an item of a list. MA_E_NOTFOUND when there is none, or a value of another type; MA_E_NOMEM. arena. */
MA_MUST_USE int ma_json_at(const struct ma_json *j, struct ma_span path, struct ma_arena *a, struct ma_span *ret);

/* RFC 7396 merge of two JSON object texts (null members remove). Result is compact with sorted
 * keys; arena. */
MA_MUST_USE int ma_json_merge(struct ma_arena *a, struct ma_span base, struct ma_span patch, struct ma_span *ret);
/* Removes the member at a path of names (e.g. {"options","client_secret"}) from an object text. */
MA_MUST_USE int ma_json_without(struct ma_arena *a, struct ma_span text, const char *const *path, size_t n,
                                struct ma_span *ret);

/* For who hands text to another library that uses jansson: whether memory was missing in this thread since the watch
 * began. Then what that library says, and what it holds, may be wrong. */
void ma_json_watch(void);
bool ma_json_starved(void);

/* --- parts of a large document, without copying it ---
 * A part is the member `name` of the top-level object, or with index != MA_JSON_WHOLE that item of the
 * list it holds. */
#define MA_JSON_WHOLE SIZE_MAX
enum ma_json_type { MA_JSON_ABSENT, MA_JSON_NULL, MA_JSON_OBJECT, MA_JSON_ARRAY, MA_JSON_OTHER };
enum ma_json_type ma_json_part_type(const struct ma_json *j, const char *name, size_t index);
/* The type of a member of an object part; MA_JSON_ABSENT for anything but an object. */
enum ma_json_type ma_json_part_member(const struct ma_json *j, const char *name, size_t index, const char *member);
/* Items of the list; 0 when it is absent or no list. */
size_t ma_json_part_items(const struct ma_json *j, const char *name);
/* As ma_json_decode, with pointers from the top of the document ("/users/3/blocked"). MA_E_NOTFOUND when
 * the part is not there. */
MA_MUST_USE int ma_json_part_decode(const struct ma_json *j, const char *name, size_t index, struct ma_arena *a,
                                    const struct ma_shape *shape, void *out, struct ma_verrs *errs);
/* The part as compact JSON text with sorted keys; arena. */
MA_MUST_USE int ma_json_part_text(const struct ma_json *j, const char *name, size_t index, struct ma_arena *a,
                                  struct ma_span *ret);

#endif

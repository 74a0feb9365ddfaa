/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of the JSON reader: parse, decode with a table of every field type, merge, removal.
 */
#include "ma/codec.h"
#include "ma/jsonr.h"

#include <stdlib.h>

#define ARENA_BYTES (8u * 1024 * 1024)

struct item {
    int64_t n;
    struct ma_span s;
};
struct doc {
    struct ma_span str;
    int64_t num;
    bool flag, has_flag;
    int color;
    struct item obj;
    struct ma_span_list list, aud;
    struct ma_objlist objs;
    uint32_t set;
    struct ma_span raw, rawobj;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const colors[] = {"red", "green", "blue", NULL};
static const struct ma_jfield item_fields[] = {
    {.name = "n", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct item, n), .min = -5, .max = 5},
    {.name = "s", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct item, s), .check = ma_utf8_has_control},
};
static const struct ma_shape item_shape = MA_SHAPE(struct item, item_fields);
#define F(m) .name = #m, .off = offsetof(struct doc, m)
static const struct ma_jfield doc_fields[] = {
    {F(str), .type = MA_F_STR, .flags = MA_REQ, .min = 1, .max = 8},
    {F(num), .type = MA_F_INT},
    {F(flag), .type = MA_F_BOOL, .has_off = offsetof(struct doc, has_flag)},
    {F(color), .type = MA_F_ENUM, .names = colors},
    {F(obj), .type = MA_F_OBJ, .sub = &item_shape},
    {F(list), .type = MA_F_STRLIST, .min = 1, .max = 3, .max_items = 4},
    {F(aud), .type = MA_F_STR_OR_LIST},
    {F(objs), .type = MA_F_OBJLIST, .sub = &item_shape, .max_items = 8},
    {F(set), .type = MA_F_ENUMSET, .names = colors},
    {F(raw), .type = MA_F_RAW},
    {F(rawobj), .type = MA_F_RAWOBJ, .flags = MA_NULLOK},
};
static const struct ma_shape doc_shape = MA_SHAPE(struct doc, doc_fields);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void check_errors(const struct ma_verrs *errs, int err)
{
    demand(err != MA_E_INVAL || errs->n > 0);
    demand(err != MA_OK || errs->n == 0);
    for (size_t i = 0; i < errs->n; i++) {
        demand(errs->v[i].pointer[0] == '\0' || errs->v[i].pointer[0] == '/');
        demand(strncmp(errs->v[i].detail, "data", 4) == 0);
    }
}

static void check_reparse(struct ma_span text)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    demand(!text.p || ma_json_parse(text, &j) == MA_OK);
}

/* A merge with itself, taken twice, is a fixed point; removal leaves JSON. */
static void check_edits(struct ma_arena *a, struct ma_span text)
{
    static const char *const path[] = {"obj", "n"};
    struct ma_span once, twice, rest;
    if (ma_json_merge(a, text, text, &once) != MA_OK)
        return;
    demand(ma_json_merge(a, once, once, &twice) == MA_OK && ma_span_eq(once, twice));
    demand(ma_json_without(a, once, path, MA_COUNT(path), &rest) == MA_OK);
    check_reparse(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct doc doc = {0};
    struct ma_verrs errs = {.arena = a};
    struct ma_span text = ma_span_of(data, size);
    if (!a || ma_json_parse(text, &j) != MA_OK)
        return 0;
    check_errors(&errs, ma_json_decode(j, a, &doc_shape, &doc, &errs));
    check_reparse(doc.raw);
    check_reparse(doc.rawobj);
    check_edits(a, text);
    size_t half = size / 2; /* two unrelated documents in one input */
    struct ma_span merged;
    if (ma_json_merge(a, ma_span_of(data, half), ma_span_of(data + half, size - half), &merged) == MA_OK)
        check_reparse(merged);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Tests of the JSON reader (parse, decode, merge, removal) and of the JSON writer.
 */
#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(16384, 4 * 1024 * 1024);
}

static void teardown(void)
{
    ma_arena_free_p(&arena);
}

/* ---- parse ---- */

#define OPEN15 "[[[[[[[[[[[[[[["
#define CLOSE15 "]]]]]]]]]]]]]]]"

static const struct parse_row {
    const char *name;
    struct ma_span text;
    int want;
} parse_rows[] = {
    {"object", MA_LIT("{\"a\":1}"), MA_OK},
    {"blanks around", MA_LIT(" \r\n\t{} \n"), MA_OK},
    {"any top-level value", MA_LIT("17"), MA_OK},
    {"string at the top", MA_LIT("\"x\""), MA_OK},
    {"null at the top", MA_LIT("null"), MA_OK},
    {"depth 16", MA_LIT(OPEN15 "{}" CLOSE15), MA_OK},
    {"depth 17", MA_LIT(OPEN15 "[{}]" CLOSE15), MA_E_PARSE},
    {"depth 17, mixed", MA_LIT("{\"a\":" OPEN15 "{}" CLOSE15 "}"), MA_E_PARSE},
    {"brackets in strings", MA_LIT("[\"[[[[[[[[[[[[[[[[[[\",\"\\\"[[[[[[[[[[[[[[[[[[\\\\\",\"{{\"]"), MA_OK},
    {"siblings are not depth", MA_LIT("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]"), MA_OK},
    {"largest integer", MA_LIT("[9223372036854775807,-9223372036854775808]"), MA_OK},
    {"surrogate pair", MA_LIT("[\"\\ud83d\\ude00\"]"), MA_OK},
    {"empty", MA_LIT(""), MA_E_PARSE},
    {"blanks only", MA_LIT("  "), MA_E_PARSE},
    {"duplicate member", MA_LIT("{\"a\":1,\"a\":2}"), MA_E_PARSE},
    {"duplicate member, deep", MA_LIT("{\"a\":{\"b\":1,\"b\":1}}"), MA_E_PARSE},
    {"duplicate member, escaped", MA_LIT("{\"a\":1,\"\\u0061\":2}"), MA_E_PARSE},
    {"escaped NUL", MA_LIT("[\"\\u0000\"]"), MA_E_PARSE},
    {"escaped NUL in a name", MA_LIT("{\"a\\u0000\":1}"), MA_E_PARSE},
    {"NUL byte", MA_LIT("[\"a\0b\"]"), MA_E_PARSE},
    {"NUL behind", MA_LIT("{}\0"), MA_E_PARSE},
    {"text behind", MA_LIT("{} x"), MA_E_PARSE},
    {"second document", MA_LIT("{}{}"), MA_E_PARSE},
    {"byte order mark", MA_LIT("\xef\xbb\xbf{}"), MA_E_PARSE},
    {"invalid UTF-8", MA_LIT("[\"\xff\"]"), MA_E_PARSE},
    {"overlong UTF-8", MA_LIT("[\"\xc0\xaf\"]"), MA_E_PARSE},
    {"surrogate in UTF-8", MA_LIT("[\"\xed\xa0\x80\"]"), MA_E_PARSE},
    {"lone surrogate", MA_LIT("[\"\\ud800\"]"), MA_E_PARSE},
    {"raw control", MA_LIT("[\"a\nb\"]"), MA_E_PARSE},
    {"integer too large", MA_LIT("[9223372036854775808]"), MA_E_PARSE},
    {"real too large", MA_LIT("[1e400]"), MA_E_PARSE},
    {"leading zero", MA_LIT("[01]"), MA_E_PARSE},
    {"NaN", MA_LIT("[NaN]"), MA_E_PARSE},
    {"comma at the end", MA_LIT("[1,]"), MA_E_PARSE},
    {"comment", MA_LIT("{}//x"), MA_E_PARSE},
    {"single quotes", MA_LIT("{'a':1}"), MA_E_PARSE},
    {"not closed", MA_LIT("{\"a\":[1"), MA_E_PARSE},
    {"string not closed", MA_LIT("{\"a\":\"x"), MA_E_PARSE},
    {"backslash at the end", MA_LIT("[\"\\"), MA_E_PARSE},
};

START_TEST(parse_table)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    const struct parse_row *r = &parse_rows[_i];
    ck_assert_msg(ma_json_parse(r->text, &j) == r->want, "%s", r->name);
    ck_assert_msg((j != NULL) == (r->want == MA_OK), "%s", r->name);
}
END_TEST

START_TEST(parse_very_deep)
{
    static char text[200000];
    struct ma_json *j = NULL;
    memset(text, '[', sizeof(text));
    ck_assert_int_eq(ma_json_parse(ma_span_of(text, sizeof(text)), &j), MA_E_PARSE);
    ck_assert_ptr_null(j);
    ma_json_free(NULL);
}
END_TEST

/* ---- decode ---- */

struct inner {
    int64_t n;
    struct ma_span s;
};
struct all {
    struct ma_span str;
    int64_t num;
    int64_t any;
    bool flag, has_flag;
    int color;
    struct inner obj;
    struct ma_span_list list, aud;
    struct ma_objlist objs;
    uint32_t set;
    struct ma_span raw, rawobj;
    struct ma_span nullok, slash;
    bool has_str, has_nullok;
};

static bool only_digits(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

static const char *const colors[] = {"red", "green", "blue", NULL};
static const struct ma_jfield inner_fields[] = {
    {.name = "n", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct inner, n)},
    {.name = "s",
     .type = MA_F_STR,
     .off = offsetof(struct inner, s),
     .check = only_digits,
     .check_text = "must match format \"digits\""},
};
static const struct ma_shape inner_shape = MA_SHAPE(struct inner, inner_fields);
#define F(m) .name = #m, .off = offsetof(struct all, m)
static const struct ma_jfield all_fields[] = {
    {F(str), .type = MA_F_STR, .has_off = offsetof(struct all, has_str), .min = 2, .max = 4},
    {F(num), .type = MA_F_INT, .min = -1, .max = 10},
    {F(any), .type = MA_F_INT},
    {F(flag), .type = MA_F_BOOL, .has_off = offsetof(struct all, has_flag)},
    {F(color), .type = MA_F_ENUM, .names = colors},
    {F(obj), .type = MA_F_OBJ, .sub = &inner_shape},
    {F(list), .type = MA_F_STRLIST, .min = 1, .max = 3, .max_items = 3},
    {F(aud), .type = MA_F_STR_OR_LIST},
    {F(objs), .type = MA_F_OBJLIST, .sub = &inner_shape, .max_items = 2},
    {F(set), .type = MA_F_ENUMSET, .names = colors},
    {F(raw), .type = MA_F_RAW},
    {F(rawobj), .type = MA_F_RAWOBJ},
    {F(nullok), .type = MA_F_STR, .flags = MA_NULLOK, .has_off = offsetof(struct all, has_nullok)},
    {.name = "a/b~c", .type = MA_F_STR, .off = offsetof(struct all, slash)},
};
static const struct ma_shape all_shape = MA_SHAPE(struct all, all_fields);

static int decode(const char *text, const struct ma_shape *shape, void *out, struct ma_verrs *errs)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    ck_assert_msg(ma_json_parse(ma_span_str(text), &j) == MA_OK, "%s", text);
    *errs = (struct ma_verrs){.arena = arena};
    return ma_json_decode(j, arena, shape, out, errs);
}

static bool span_is(struct ma_span s, const char *want)
{
    return ma_span_eq_str(s, want) && s.p[s.n] == '\0';
}

START_TEST(decode_all_types)
{
    struct all v = {0};
    struct ma_verrs errs;
    int err = decode("{\"str\":\"h\\u00e9y\",\"num\":10,\"any\":-9223372036854775808,\"flag\":true,\"color\":\"blue\","
                     "\"obj\":{\"n\":3,\"s\":\"12\"},\"list\":[\"a\",\"bcd\"],\"aud\":[\"x\",\"\"],"
                     "\"objs\":[{\"n\":1},{\"n\":2,\"s\":\"\"}],\"set\":[\"red\",\"blue\",\"red\"],"
                     "\"raw\":[1, 0.1, {\"b\":null,\"a\":\"\\n\"}],\"rawobj\":{ },\"nullok\":null,\"a/b~c\":\"q\"}",
                     &all_shape, &v, &errs);
    ck_assert_int_eq(err, MA_OK);
    ck_assert_uint_eq(errs.n, 0);
    ck_assert(span_is(v.str, "h\xc3\xa9y") && v.has_str);
    ck_assert_int_eq(v.num, 10);
    ck_assert_int_eq(v.any, INT64_MIN);
    ck_assert(v.flag && v.has_flag);
    ck_assert_int_eq(v.color, 2);
    ck_assert(v.obj.n == 3 && span_is(v.obj.s, "12"));
    ck_assert(v.list.n == 2 && span_is(v.list.v[0], "a") && span_is(v.list.v[1], "bcd"));
    ck_assert(v.aud.n == 2 && span_is(v.aud.v[0], "x") && span_is(v.aud.v[1], ""));
    const struct inner *items = v.objs.v;
    ck_assert(v.objs.n == 2 && items[0].n == 1 && !items[0].s.p && items[1].n == 2 && items[1].s.p);
    ck_assert_uint_eq(v.set, 5);
    ck_assert(span_is(v.raw, "[1,0.1,{\"b\":null,\"a\":\"\\n\"}]"));
    ck_assert(span_is(v.rawobj, "{}"));
    ck_assert(!v.has_nullok && !v.nullok.p);
    ck_assert(span_is(v.slash, "q"));
}
END_TEST

START_TEST(decode_absent)
{
    struct all v = {0}, zero = {0};
    struct ma_verrs errs;
    ck_assert_int_eq(decode("{}", &all_shape, &v, &errs), MA_OK);
    ck_assert(memcmp(&v, &zero, sizeof(v)) == 0);
    ck_assert_int_eq(decode("{\"aud\":\"one\",\"list\":[],\"flag\":false}", &all_shape, &v, &errs), MA_OK);
    ck_assert(v.aud.n == 1 && span_is(v.aud.v[0], "one"));
    ck_assert(v.list.n == 0 && v.list.v); /* empty is not absent */
    ck_assert(!v.flag && v.has_flag);
}
END_TEST

static const struct error_row {
    const char *text;
    const char *pointer;
    const char *detail;
    const char *field;
} error_rows[] = {
    {"[]", "", "data must be object", NULL},
    {"null", "", "data must be object", NULL},
    {"\"x\"", "", "data must be object", NULL},
    {"{\"str\":1}", "/str", "data/str must be string", "str"},
    {"{\"str\":null}", "/str", "data/str must be string", "str"},
    {"{\"str\":\"a\"}", "/str", "data/str must NOT have fewer than 2 characters", "str"},
    {"{\"str\":\"abcde\"}", "/str", "data/str must NOT have more than 4 characters", "str"},
    {"{\"str\":\"\\ud83d\\ude00\\ud83d\\ude00x\"}", "/str", "data/str must NOT have more than 4 characters", "str"},
    {"{\"num\":\"1\"}", "/num", "data/num must be integer", "num"},
    {"{\"num\":1.0}", "/num", "data/num must be integer", "num"},
    {"{\"num\":1e1}", "/num", "data/num must be integer", "num"},
    {"{\"num\":true}", "/num", "data/num must be integer", "num"},
    {"{\"num\":-2}", "/num", "data/num must be >= -1", "num"},
    {"{\"num\":11}", "/num", "data/num must be <= 10", "num"},
    {"{\"flag\":1}", "/flag", "data/flag must be boolean", "flag"},
    {"{\"flag\":null}", "/flag", "data/flag must be boolean", "flag"},
    {"{\"color\":\"RED\"}", "/color", "data/color must be equal to one of the allowed values", "color"},
    {"{\"color\":\"\"}", "/color", "data/color must be equal to one of the allowed values", "color"},
    {"{\"color\":0}", "/color", "data/color must be string", "color"},
    {"{\"obj\":[]}", "/obj", "data/obj must be object", "obj"},
    {"{\"obj\":{}}", "/obj", "data/obj must have required property 'n'", "n"},
    {"{\"obj\":{\"n\":null}}", "/obj/n", "data/obj/n must be integer", "n"},
    {"{\"obj\":{\"n\":1,\"s\":\"x\"}}", "/obj/s", "data/obj/s must match format \"digits\"", "s"},
    {"{\"obj\":{\"n\":1,\"z\":2}}", "/obj/z", "data/obj must NOT have additional properties", "z"},
    {"{\"list\":\"a\"}", "/list", "data/list must be array", "list"},
    {"{\"list\":[\"a\",7]}", "/list/1", "data/list/1 must be string", "list"},
    {"{\"list\":[\"\"]}", "/list/0", "data/list/0 must NOT have fewer than 1 characters", "list"},
    {"{\"list\":[\"a\",\"b\",\"c\",\"d\"]}", "/list", "data/list must NOT have more than 3 items", "list"},
    {"{\"aud\":1}", "/aud", "data/aud must be string or array", "aud"},
    {"{\"aud\":[null]}", "/aud/0", "data/aud/0 must be string", "aud"},
    {"{\"objs\":{}}", "/objs", "data/objs must be array", "objs"},
    {"{\"objs\":[{\"n\":1},[]]}", "/objs/1", "data/objs/1 must be object", "objs"},
    {"{\"objs\":[{\"n\":\"x\"}]}", "/objs/0/n", "data/objs/0/n must be integer", "n"},
    {"{\"objs\":[{},{\"n\":1},{}]}", "/objs", "data/objs must NOT have more than 2 items", "objs"},
    {"{\"set\":\"red\"}", "/set", "data/set must be array", "set"},
    {"{\"set\":[\"red\",\"pink\"]}", "/set/1", "data/set/1 must be equal to one of the allowed values", "set"},
    {"{\"rawobj\":[]}", "/rawobj", "data/rawobj must be object", "rawobj"},
    {"{\"rawobj\":null}", "/rawobj", "data/rawobj must be object", "rawobj"},
    {"{\"nullok\":1}", "/nullok", "data/nullok must be string", "nullok"},
    {"{\"a/b~c\":1}", "/a~1b~0c", "data/a~1b~0c must be string", "a/b~c"},
    {"{\"nope\":1}", "/nope", "data must NOT have additional properties", "nope"},
    {"{\"\":1}", "/", "data must NOT have additional properties", ""},
    {"{\"x/~\":1}", "/x~1~0", "data must NOT have additional properties", "x/~"},
    {"{\"STR\":\"abc\"}", "/STR", "data must NOT have additional properties", "STR"},
    {"{\"caf\\u00e9\":1}", "", "data must NOT have additional properties", NULL},
    {"{\"a\\nb\":1}", "", "data must NOT have additional properties", NULL},
    {"{\"obj\":{\"n\":1,\"\\u001b\":2}}", "/obj", "data/obj must NOT have additional properties", "obj"},
    {"{\"0123456789012345678901234567890123456789012345678901234567890123\":1}",
     "/0123456789012345678901234567890123456789012345678901234567890123", "data must NOT have additional properties",
     "0123456789012345678901234567890123456789012345678901234567890123"},
    {"{\"01234567890123456789012345678901234567890123456789012345678901234\":1}", "",
     "data must NOT have additional properties", NULL},
};

START_TEST(decode_error_table)
{
    const struct error_row *r = &error_rows[_i];
    struct all v = {0};
    struct ma_verrs errs;
    ck_assert_msg(decode(r->text, &all_shape, &v, &errs) == MA_E_INVAL, "%s", r->text);
    ck_assert_msg(errs.n == 1, "%s: %zu errors", r->text, errs.n);
    ck_assert_str_eq(errs.v[0].pointer, r->pointer);
    ck_assert_str_eq(errs.v[0].detail, r->detail);
    ck_assert_pstr_eq(errs.v[0].field, r->field);
}
END_TEST

START_TEST(decode_collects_in_order)
{
    /* the document's own errors come before its members', and those in table order */
    static const char *const want[] = {"/zz|zz", "/str|str", "/num|num", "/obj|n", "/obj/s|s", "/set/0|set"};
    struct all v = {0};
    struct ma_verrs errs;
    ck_assert_int_eq(decode("{\"set\":[1],\"obj\":{\"s\":1},\"num\":[],\"str\":{},\"zz\":0}", &all_shape, &v, &errs),
                     MA_E_INVAL);
    ck_assert_uint_eq(errs.n, MA_COUNT(want));
    for (size_t i = 0; i < MA_COUNT(want); i++)
        ck_assert_str_eq(ma_arena_printf(arena, "%s|%s", errs.v[i].pointer, errs.v[i].field), want[i]);
}
END_TEST

START_TEST(decode_required)
{
    static const struct ma_jfield fields[] = {
        {.name = "n", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct inner, n)},
        {.name = "s", .type = MA_F_STR, .flags = MA_REQ | MA_NULLOK, .off = offsetof(struct inner, s)},
    };
    static const struct ma_shape shape = MA_SHAPE_OPEN(struct inner, fields);
    struct inner v = {0};
    struct ma_verrs errs;
    ck_assert_int_eq(decode("{\"s\":null,\"other\":1}", &shape, &v, &errs), MA_E_INVAL);
    ck_assert_uint_eq(errs.n, 2);
    ck_assert_str_eq(errs.v[0].pointer, "");
    ck_assert_str_eq(errs.v[0].detail, "data must have required property 'n'");
    ck_assert_str_eq(errs.v[0].field, "n");
    ck_assert_str_eq(errs.v[1].detail, "data must have required property 's'");
    ck_assert_int_eq(decode("{\"s\":\"\",\"n\":5,\"other\":1}", &shape, &v, &errs), MA_OK);
}
END_TEST

START_TEST(decode_bounds_its_errors)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 0, 100000);
    for (int i = 0; i < 500; i++)
        ma_buf_printf(&b, "%c\"k%d\":1", i ? ',' : '{', i);
    ma_buf_put(&b, "}", 2);
    struct all v = {0};
    struct ma_verrs errs;
    ck_assert_int_eq(decode((const char *)b.p, &all_shape, &v, &errs), MA_E_INVAL);
    ck_assert_uint_eq(errs.n, MA_VERR_MAX);
}
END_TEST

START_TEST(decode_default_bounds)
{
    struct ma_buf b;
    struct all v = {0};
    struct ma_verrs errs;
    ma_buf_init_arena(&b, arena, 0, 1000000);
    ma_buf_str(&b, "{\"list\":[\"a\"],\"aud\":[");
    for (int i = 0; i < 1001; i++)
        ma_buf_printf(&b, "%s\"\"", i ? "," : "");
    ma_buf_put(&b, "]}", 3);
    ck_assert_int_eq(decode((const char *)b.p, &all_shape, &v, &errs), MA_E_INVAL);
    ck_assert_str_eq(errs.v[0].detail, "data/aud must NOT have more than 1000 items");
    ma_buf_clear(&b);
    ma_buf_str(&b, "{\"aud\":\"");
    memset(ma_buf_reserve(&b, MA_JSON_STR_MAX + 1), 'x', MA_JSON_STR_MAX + 1);
    b.n += MA_JSON_STR_MAX + 1;
    ma_buf_put(&b, "\"}", 3);
    ck_assert_int_eq(decode((const char *)b.p, &all_shape, &v, &errs), MA_E_INVAL);
    ck_assert_str_eq(errs.v[0].detail, "data/aud must NOT have more than 65536 characters");
}
END_TEST

START_TEST(decode_without_room)
{
    static const char *const rows[] = {"{\"slash\":1,\"a/b~c\":\"a string of some length, longer than the arena is\"}",
                                       "{\"aud\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}",
                                       "{\"objs\":[{\"n\":1},{\"n\":1}]}", "{\"raw\":[1,2,3,4,5,6]}"};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(16, 16);
        struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
        struct all v = {0};
        struct ma_verrs errs = {.arena = small};
        ck_assert_int_eq(ma_json_parse(ma_span_str(rows[i]), &j), MA_OK);
        ck_assert_msg(ma_json_decode(j, small, &all_shape, &v, &errs) == MA_E_NOMEM, "%s", rows[i]);
    }
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(16, 16);
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct all v = {0};
    struct ma_verrs errs = {.arena = small};
    ck_assert_int_eq(ma_json_parse(MA_LIT("{\"num\":[]}"), &j), MA_OK);
    ck_assert_int_eq(ma_json_decode(j, small, &all_shape, &v, &errs), MA_E_INVAL); /* refused, if unexplained */
}
END_TEST

START_TEST(verr_add_copies)
{
    struct ma_verrs errs = {.arena = arena};
    char pointer[] = "/a", detail[] = "data/a is wrong", field[] = "a";
    ma_verr_add(&errs, pointer, detail, field);
    ma_verr_add(&errs, "", "whole", NULL);
    pointer[0] = detail[0] = field[0] = '!';
    ck_assert_uint_eq(errs.n, 2);
    ck_assert_str_eq(errs.v[0].pointer, "/a");
    ck_assert_str_eq(errs.v[0].detail, "data/a is wrong");
    ck_assert_str_eq(errs.v[0].field, "a");
    ck_assert_ptr_null(errs.v[1].field);
    for (int i = 0; i < 100; i++)
        ma_verr_add(&errs, "", "more", NULL);
    ck_assert_uint_eq(errs.n, MA_VERR_MAX);
}
END_TEST

START_TEST(raw_values)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"null", "null"},
        {"true", "true"},
        {"-0", "0"},
        {"1.0", "1.0"},
        {"1e2", "100.0"},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"-1.5e-300", "-1.5e-300"},
        {"1e300", "1e+300"},
        {"\"\\u00e9\\u2028\\\"\\/\"", "\"\xc3\xa9\xe2\x80\xa8\\\"/\""},
        {"{\"z\":{\"b\":1,\"a\":[]},\"\\n\":{}}", "{\"z\":{\"b\":1,\"a\":[]},\"\\n\":{}}"},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct all v = {0};
        struct ma_verrs errs;
        ck_assert_int_eq(decode(ma_arena_printf(arena, "{\"raw\":%s}", rows[i].in), &all_shape, &v, &errs), MA_OK);
        ck_assert_msg(span_is(v.raw, rows[i].want), "%s gives %.*s", rows[i].in, (int)v.raw.n, (const char *)v.raw.p);
    }
}
END_TEST

/* ---- merge and removal ---- */

static const struct merge_row {
    const char *base;
    const char *patch;
    int want;
    const char *out;
} merge_rows[] = {
    /* the object cases of RFC 7396 appendix A */
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", MA_OK, "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", MA_OK, "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", MA_OK, "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", MA_OK, "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", MA_OK, "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", MA_OK, "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", MA_OK, "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", MA_OK, "{\"a\":[1]}"},
    {"{\"e\":null}", "{\"a\":1}", MA_OK, "{\"a\":1,\"e\":null}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", MA_OK, "{\"a\":{\"bb\":{}}}"},
    /* ours */
    {"{\"b\":1,\"a\":{\"d\":1,\"c\":2}}", "{}", MA_OK, "{\"a\":{\"c\":2,\"d\":1},\"b\":1}"},
    {"{\"a\":1}", "{\"a\":{\"b\":null,\"c\":[null]}}", MA_OK, "{\"a\":{\"c\":[null]}}"},
    {"{}", "{\"x\":null}", MA_OK, "{}"},
    {"[]", "{}", MA_E_PARSE, NULL},
    {"{}", "[]", MA_E_PARSE, NULL},
    {"{}", "null", MA_E_PARSE, NULL},
    {"", "{}", MA_E_PARSE, NULL},
    {"{}", "{\"a\":1,\"a\":2}", MA_E_PARSE, NULL},
};

START_TEST(merge_table)
{
    const struct merge_row *r = &merge_rows[_i];
    struct ma_span out;
    ck_assert_int_eq(ma_json_merge(arena, ma_span_str(r->base), ma_span_str(r->patch), &out), r->want);
    if (r->out)
        ck_assert_msg(span_is(out, r->out), "%.*s", (int)out.n, (const char *)out.p);
    else
        ck_assert_ptr_null(out.p);
}
END_TEST

START_TEST(without_table)
{
    static const struct {
        const char *text;
        const char *path[3];
        size_t n;
        int want;
        const char *out;
    } rows[] = {
        {"{\"b\":1,\"a\":2}", {"b"}, 1, MA_OK, "{\"a\":2}"},
        {"{\"options\":{\"client_secret\":\"x\",\"id\":1}}",
         {"options", "client_secret"},
         2,
         MA_OK,
         "{\"options\":{\"id\":1}}"},
        {"{\"options\":7}", {"options", "client_secret"}, 2, MA_OK, "{\"options\":7}"},
        {"{\"a\":[{\"b\":1}]}", {"a", "b"}, 2, MA_OK, "{\"a\":[{\"b\":1}]}"},
        {"{\"a\":1}", {"x", "y", "z"}, 3, MA_OK, "{\"a\":1}"},
        {"{\"a\":1}", {NULL}, 0, MA_OK, "{\"a\":1}"},
        {"[1]", {"a"}, 1, MA_E_PARSE, NULL},
        {"{", {"a"}, 1, MA_E_PARSE, NULL},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_span out;
        ck_assert_int_eq(ma_json_without(arena, ma_span_str(rows[i].text), rows[i].path, rows[i].n, &out),
                         rows[i].want);
        ck_assert_msg(rows[i].out ? span_is(out, rows[i].out) : !out.p, "row %zu", i);
    }
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(16, 16);
    struct ma_span out;
    ck_assert_int_eq(ma_json_merge(small, MA_LIT("{\"a\":\"0123456789\"}"), MA_LIT("{}"), &out), MA_E_NOMEM);
}
END_TEST

/* ---- writer ---- */

#define AT_DOC                                                                                                         \
    "{\"a\":\"x\",\"n\":-17,\"b\":{\"c\":{\"d\":9223372036854775807},\"\":\"e\"},\"l\":[5,{\"i\":\"\\u00e4\"}],"       \
    "\"r\":1.0,\"t\":true,\"z\":null,\"0\":\"zero\",\"p.q\":\"dotted\",\"empty\":\"\"}"

static const struct {
    const char *name, *doc, *path;
    const char *want; /* NULL: MA_E_NOTFOUND */
} at_rows[] = {
    {"string", AT_DOC, "a", "x"},
    {"integer", AT_DOC, "n", "-17"},
    {"nested", AT_DOC, "b.c.d", "9223372036854775807"},
    {"empty name", AT_DOC, "b.", "e"},
    {"empty string", AT_DOC, "empty", ""},
    {"item", AT_DOC, "l.0", "5"},
    {"member of an item", AT_DOC, "l.1.i", "\xc3\xa4"},
    {"a number as a name", AT_DOC, "0", "zero"},
    {"no such member", AT_DOC, "x", NULL},
    {"a part of a name", AT_DOC, "empt", NULL},
    {"below a string", AT_DOC, "a.b", NULL},
    {"object", AT_DOC, "b.c", NULL},
    {"list", AT_DOC, "l", NULL},
    {"item that is not there", AT_DOC, "l.2", NULL},
    {"index beyond all", AT_DOC, "l.99999999999999999999999", NULL},
    {"no index", AT_DOC, "l.x", NULL},
    {"empty index", AT_DOC, "l.", NULL},
    {"negative index", AT_DOC, "l.-1", NULL},
    {"real", AT_DOC, "r", NULL},
    {"boolean", AT_DOC, "t", NULL},
    {"null", AT_DOC, "z", NULL},
    {"name with a dot", AT_DOC, "p.q", NULL},
    {"empty path", AT_DOC, "", NULL},
    {"dots", AT_DOC, "..", NULL},
    {"list at the top", "[\"x\"]", "0", "x"},
    {"string at the top", "\"x\"", "x", NULL},
    {"integer at the top", "1", "1", NULL},
};

START_TEST(at_table)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_span got = MA_LIT("before");
    ck_assert_int_eq(ma_json_parse(ma_span_str(at_rows[_i].doc), &j), MA_OK);
    int r = ma_json_at(j, ma_span_str(at_rows[_i].path), arena, &got);
    ck_assert_msg(r == (at_rows[_i].want ? MA_OK : MA_E_NOTFOUND), "%s: %s", at_rows[_i].name, ma_err_name(r));
    if (at_rows[_i].want)
        ck_assert_msg(ma_span_eq_str(got, at_rows[_i].want), "%s", at_rows[_i].name);
    else
        ck_assert_ptr_null(got.p);
}
END_TEST

START_TEST(at_without_room)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 64);
    struct ma_span got;
    ck_assert_ptr_nonnull(ma_arena_alloc(small, 40));
    ck_assert_int_eq(ma_json_parse(MA_LIT("{\"s\":\"0123456789012345678901234567890\",\"n\":9223372036854775807}"), &j),
                     MA_OK);
    ck_assert_int_eq(ma_json_at(j, MA_LIT("s"), small, &got), MA_E_NOMEM);
    ck_assert_int_eq(ma_json_at(j, MA_LIT("n"), small, &got), MA_E_NOMEM);
}
END_TEST

START_TEST(write_document)
{
    struct ma_buf b MA_CLEANUP(ma_buf_free);
    struct ma_jw w;
    ma_buf_init(&b, 4096);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "s", MA_LIT("x"));
    ma_jw_kcstr(&w, "c", "y");
    ma_jw_kcstr(&w, "n", NULL);
    ma_jw_kint(&w, "i", INT64_MIN);
    ma_jw_kbool(&w, "t", true);
    ma_jw_kdate(&w, "d", 0);
    ma_jw_key(&w, "arr");
    ma_jw_arr(&w);
    ma_jw_arr(&w);
    ma_jw_arr_end(&w);
    ma_jw_obj(&w);
    ma_jw_obj_end(&w);
    ma_jw_int(&w, 0);
    ma_jw_int(&w, INT64_MAX);
    ma_jw_bool(&w, false);
    ma_jw_null(&w);
    ma_jw_raw(&w, MA_LIT("{\"r\":1}"));
    ma_jw_cstr(&w, "");
    ma_jw_arr_end(&w);
    ma_jw_key_span(&w, MA_LIT("k\""));
    ma_jw_int(&w, -7);
    ma_jw_obj_end(&w);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    ma_buf_byte(&b, 0);
    ck_assert_str_eq(
        (const char *)b.p,
        "{\"s\":\"x\",\"c\":\"y\",\"n\":null,\"i\":-9223372036854775808,\"t\":true,"
        "\"d\":\"1970-01-01T00:00:00.000Z\",\"arr\":[[],{},0,9223372036854775807,false,null,{\"r\":1},\"\"],"
        "\"k\\\"\":-7}");
}
END_TEST

static const struct string_row {
    struct ma_span in;
    const char *want; /* NULL: refused */
} string_rows[] = {
    {MA_LIT(""), "\"\""},
    {MA_LIT("a text of more than eight bytes"), "\"a text of more than eight bytes\""},
    {MA_LIT("12345678"), "\"12345678\""},
    {MA_LIT("\"\\/"), "\"\\\"\\\\/\""},
    {MA_LIT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
    {MA_LIT("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\""},
    {MA_LIT("1234567\"8901234\\"), "\"1234567\\\"8901234\\\\\""},
    {MA_LIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {MA_LIT("\xc3\xa9\n"), "\"\xc3\xa9\\n\""},
    {MA_LIT("\xff"), NULL},
    {MA_LIT("12345678\xc3"), NULL},
    {MA_LIT("\xed\xa0\x80"), NULL},
};

START_TEST(write_string_table)
{
    const struct string_row *r = &string_rows[_i];
    struct ma_buf b MA_CLEANUP(ma_buf_free);
    struct ma_jw w;
    ma_buf_init(&b, r->want ? strlen(r->want) : 100); /* no byte more than the text needs */
    ma_jw_init(&w, &b);
    ma_jw_str(&w, r->in);
    ck_assert_int_eq(ma_buf_err(&b), r->want ? MA_OK : MA_E_INVAL);
    if (r->want)
        ck_assert(ma_span_eq_str(ma_buf_view(&b), r->want));
}
END_TEST

/* Every byte value at every place of a word: one escape test against the byte-parallel scan. */
START_TEST(write_every_byte)
{
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t at = 0; at < 11; at++) {
            char in[11], want[32];
            struct ma_buf b MA_CLEANUP(ma_buf_free);
            struct ma_jw w;
            bool plain = c >= 0x20 && c != '"' && c != '\\';
            memset(in, 'x', sizeof(in));
            in[at] = (char)c;
            ma_buf_init(&b, 100);
            ma_jw_init(&w, &b);
            ma_jw_str(&w, ma_span_of(in, sizeof(in)));
            snprintf(want, sizeof(want), "\"%.11s\"", in);
            ck_assert(ma_span_eq_str(ma_buf_view(&b), want) == plain);
            struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
            ck_assert_int_eq(ma_json_parse(ma_buf_view(&b), &j), c ? MA_OK : MA_E_PARSE); /* NUL is refused */
        }
    }
}
END_TEST

START_TEST(write_keeps_the_maximum)
{
    for (size_t max = 0; max < 18; max++) {
        struct ma_buf b MA_CLEANUP(ma_buf_free);
        struct ma_jw w;
        ma_buf_init(&b, max);
        ma_jw_init(&w, &b);
        ma_jw_arr(&w);
        ma_jw_int(&w, 1);
        ma_jw_cstr(&w, "a\n");
        ma_jw_bool(&w, true);
        ma_jw_arr_end(&w);
        ck_assert_uint_le(b.n, max);
        ck_assert_int_eq(ma_buf_err(&b), max < 14 ? MA_E_RANGE : MA_OK); /* [1,"a\n",true] */
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, parse_table, 0, (int)MA_COUNT(parse_rows));
    tcase_add_test(tc, parse_very_deep);
    tcase_add_test(tc, decode_all_types);
    tcase_add_test(tc, decode_absent);
    tcase_add_loop_test(tc, decode_error_table, 0, (int)MA_COUNT(error_rows));
    tcase_add_test(tc, decode_collects_in_order);
    tcase_add_test(tc, decode_required);
    tcase_add_test(tc, decode_bounds_its_errors);
    tcase_add_test(tc, decode_default_bounds);
    tcase_add_test(tc, decode_without_room);
    tcase_add_test(tc, verr_add_copies);
    tcase_add_test(tc, raw_values);
    tcase_add_loop_test(tc, merge_table, 0, (int)MA_COUNT(merge_rows));
    tcase_add_test(tc, without_table);
    tcase_add_loop_test(tc, at_table, 0, (int)MA_COUNT(at_rows));
    tcase_add_test(tc, at_without_room);
    tcase_add_test(tc, write_document);
    tcase_add_loop_test(tc, write_string_table, 0, (int)MA_COUNT(string_rows));
    tcase_add_test(tc, write_every_byte);
    tcase_add_test(tc, write_keeps_the_maximum);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

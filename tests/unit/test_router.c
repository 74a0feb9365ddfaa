/* SPDX-License-Identifier: Apache-2.0
 * The route trie: what it refuses to be built from, what it finds, and the table the daemon ships.
 */
#include "ma/http.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "ma/api.h"
#include "ma/oauth.h"
#include "ma/ui.h"

#define SC MA_SC_READ_METHODS

static struct ma_arena *arena;
static struct ma_router *router;
static struct ma_req req;
static unsigned allow;
static char why[256];

static int handler(struct ma_ctx *ctx)
{
    (void)ctx;
    return MA_OK;
}

static struct ma_route row(enum ma_verb verb, const char *path, ma_scopes scopes)
{
    return (struct ma_route){.verb = verb, .path = path, .op = path, .scopes = scopes, .fn = handler};
}

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    router = NULL;
    why[0] = 0;
}

static void teardown(void)
{
    ma_router_free(router);
    ma_arena_free(arena);
}

static const struct ma_route *look(enum ma_verb verb, const char *target)
{
    req = (struct ma_req){.verb = verb, .content_length = -1};
    ck_assert_int_eq(ma_target_parse(arena, ma_span_str(target), &req), MA_OK);
    allow = 99;
    return ma_router_find(router, &req, &allow);
}

/* --- building --- */

static const struct {
    const char *name;
    struct ma_route rows[2];
    const char *fault; /* part of the reason; NULL: accepted */
} tables[] = {
    {"one row", {{MA_GET, "/a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, NULL},
    {"public, said so", {{MA_GET, "/a", "a", MA_PUBLIC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, NULL},
    {"two scopes", {{MA_GET, "/a", "a", SC | MA_SC_READ_FACTORS, 0, 0, 0, NULL, handler, MA_STYLE_API}}, NULL},
    {"two methods of one path",
     {{MA_GET, "/a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API},
      {MA_POST, "/a", "b", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     NULL},
    {"a literal beside a parameter",
     {{MA_GET, "/a/{id}", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API},
      {MA_GET, "/a/b", "b", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     NULL},
    {"no scope", {{MA_GET, "/a", "a", 0, 0, 0, 0, NULL, handler, MA_STYLE_API}}, "/a names no scope"},
    {"public with a scope",
     {{MA_GET, "/a", "a", MA_PUBLIC | SC, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     "is public and names"},
    {"a scope nobody knows",
     {{MA_GET, "/a", "a", SC | 1ull << 40, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     "an unknown scope"},
    {"no handler", {{MA_GET, "/a", "a", SC, 0, 0, 0, NULL, NULL, MA_STYLE_API}}, "is incomplete"},
    {"no operation", {{MA_GET, "/a", NULL, SC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, "is incomplete"},
    {"relative path", {{MA_GET, "a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, "is incomplete"},
    {"HEAD is derived", {{MA_HEAD, "/a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, "is derived"},
    {"OPTIONS is derived", {{MA_OPTIONS, "/a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}}, "is derived"},
    {"duplicate",
     {{MA_GET, "/a", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API},
      {MA_GET, "/a", "b", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     "is a duplicate"},
    {"ambiguous: parameters by another name",
     {{MA_GET, "/a/{id}/c", "a", SC, 0, 0, 0, NULL, handler, MA_STYLE_API},
      {MA_GET, "/a/{x}/c", "b", SC, 0, 0, 0, NULL, handler, MA_STYLE_API}},
     "is a duplicate"},
};

START_TEST(test_build)
{
    size_t n = tables[_i].rows[1].path ? 2 : 1;
    int r = ma_router_new(tables[_i].rows, n, &router, why);
    const char *fault = tables[_i].fault;
    ck_assert_msg(r == (fault ? MA_E_INVAL : MA_OK), "%s: %s %s", tables[_i].name, ma_err_name(r), why);
    ck_assert_msg(!fault || strstr(why, fault), "%s: %s", tables[_i].name, why);
}
END_TEST

START_TEST(test_no_rows)
{
    ck_assert_int_eq(ma_router_new(NULL, 0, &router, why), MA_OK);
    ck_assert_ptr_null(look(MA_GET, "/"));
    ck_assert_uint_eq(allow, 0);
    ma_router_free(NULL);
}
END_TEST

/* --- finding --- */

enum { R_LIST, R_NEW, R_ONE, R_EDIT, R_DROP, R_VERIFY, R_MINE, R_TWO, R_ROOT, R__COUNT };
static struct ma_route small[R__COUNT];

static void setup_small(void)
{
    setup();
    small[R_LIST] = row(MA_GET, "/m", SC);
    small[R_NEW] = row(MA_POST, "/m", SC);
    small[R_ONE] = row(MA_GET, "/m/{id}", SC);
    small[R_EDIT] = row(MA_PATCH, "/m/{id}", SC);
    small[R_DROP] = row(MA_DELETE, "/m/{id}", SC);
    small[R_VERIFY] = row(MA_POST, "/m/{id}/verify", SC);
    small[R_MINE] = row(MA_GET, "/m/mine", SC);
    small[R_TWO] = row(MA_GET, "/o/{org}/m/{id}", SC);
    small[R_ROOT] = row(MA_GET, "/", MA_PUBLIC);
    ck_assert_msg(ma_router_new(small, R__COUNT, &router, why) == MA_OK, "%s", why);
}

#define G (1u << MA_GET)
#define P (1u << MA_POST)
#define E (1u << MA_PATCH)
#define D (1u << MA_DELETE)
static const struct {
    const char *name;
    enum ma_verb verb;
    const char *target;
    int want; /* row, -1 none */
    unsigned allow;
    const char *params[2];
} finds[] = {
    {"list", MA_GET, "/m", R_LIST, G | P, {NULL, NULL}},
    {"list with a slash", MA_GET, "/m/", R_LIST, G | P, {NULL, NULL}},
    {"list with a query", MA_GET, "/m?type=x", R_LIST, G | P, {NULL, NULL}},
    {"create", MA_POST, "/m", R_NEW, G | P, {NULL, NULL}},
    {"HEAD finds the GET row", MA_HEAD, "/m", R_LIST, G | P, {NULL, NULL}},
    {"OPTIONS finds the verbs", MA_OPTIONS, "/m", -1, G | P, {NULL, NULL}},
    {"wrong method", MA_DELETE, "/m", -1, G | P, {NULL, NULL}},
    {"unknown method", MA_VERB_OTHER, "/m", -1, G | P, {NULL, NULL}},
    {"parameter", MA_GET, "/m/x%7Cy", R_ONE, G | E | D, {"x|y", NULL}},
    {"parameter, patch", MA_PATCH, "/m/x", R_EDIT, G | E | D, {"x", NULL}},
    {"parameter, delete", MA_DELETE, "/m/x", R_DROP, G | E | D, {"x", NULL}},
    {"parameter, wrong method", MA_POST, "/m/x", -1, G | E | D, {"x", NULL}},
    {"behind a parameter", MA_POST, "/m/x/verify", R_VERIFY, P, {"x", NULL}},
    {"HEAD has no POST row", MA_HEAD, "/m/x/verify", -1, P, {"x", NULL}},
    {"a literal wins over a parameter", MA_GET, "/m/mine", R_MINE, G, {NULL, NULL}},
    {"a literal is matched whole", MA_GET, "/m/mine2", R_ONE, G | E | D, {"mine2", NULL}},
    {"case counts", MA_GET, "/m/Mine", R_ONE, G | E | D, {"Mine", NULL}},
    {"two parameters", MA_GET, "/o/a/m/b", R_TWO, G, {"a", "b"}},
    {"root", MA_GET, "/", R_ROOT, G, {NULL, NULL}},
    {"unknown path", MA_GET, "/x", -1, 0, {NULL, NULL}},
    {"case of a literal", MA_GET, "/M", -1, 0, {NULL, NULL}},
    {"prefix of a path", MA_GET, "/o/a", -1, 0, {NULL, NULL}},
    {"past the end of a path", MA_GET, "/m/x/verify/y", -1, 0, {NULL, NULL}},
    {"empty parameter", MA_GET, "/m//", -1, 0, {NULL, NULL}},
    {"empty parameter inside", MA_POST, "/m//verify", -1, 0, {NULL, NULL}},
    {"empty segment before", MA_GET, "///m", -1, 0, {NULL, NULL}},
};

START_TEST(test_find)
{
    const char *name = finds[_i].name;
    const struct ma_route *r = look(finds[_i].verb, finds[_i].target);
    const struct ma_route *want = finds[_i].want < 0 ? NULL : &small[finds[_i].want];
    ck_assert_msg(r == want, "%s: %s", name, r ? r->path : "nothing");
    ck_assert_msg(allow == finds[_i].allow, "%s: allow %x", name, allow);
    for (size_t i = 0; want && i < MA_PARAMS_MAX; i++) {
        bool given = i < req.n_params;
        ck_assert_msg(given == (finds[_i].params[i] != NULL), "%s: parameter %zu", name, i);
        ck_assert_msg(!given || ma_span_eq_str(req.params[i], finds[_i].params[i]), "%s: parameter %zu", name, i);
    }
}
END_TEST

START_TEST(test_find_twice)
{
    ck_assert_ptr_eq(look(MA_GET, "/o/a/m/b"), &small[R_TWO]);
    ck_assert_ptr_eq(ma_router_find(router, &req, &allow), &small[R_TWO]);
    ck_assert_uint_eq(req.n_params, 2);
}
END_TEST

START_TEST(test_allow_text)
{
    ck_assert_str_eq(ma_allow_text(arena, 0), "OPTIONS");
    ck_assert_str_eq(ma_allow_text(arena, G), "GET, HEAD, OPTIONS");
    ck_assert_str_eq(ma_allow_text(arena, P), "POST, OPTIONS");
    ck_assert_str_eq(ma_allow_text(arena, G | P | E | D), "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
}
END_TEST

/* --- the daemon's own table --- */

/* "/a/{id}" with every parameter filled in. */
static const char *filled(const char *path)
{
    static char text[256];
    size_t n = 0;
    for (const char *p = path; *p; p++) {
        text[n++] = *p == '{' ? 'x' : *p;
        if (*p == '{')
            p += strcspn(p, "}");
    }
    text[n] = 0;
    return text;
}

START_TEST(test_shipped_tables)
{
    size_t n = 0;
    const struct ma_route *routes = _i ? ma_api_health_routes(&n) : ma_api_routes(&n);
    ck_assert_msg(ma_router_new(routes, n, &router, why) == MA_OK, "%s", why);
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        const struct ma_route *r = look(routes[i].verb, filled(routes[i].path));
        ck_assert_msg(r == &routes[i], "%s %s", routes[i].op, routes[i].path);
        ck_assert_msg((routes[i].scopes == MA_PUBLIC) == (routes[i].rate == MA_RATE_NONE), "%s", routes[i].op);
        ck_assert_msg(routes[i].lane != MA_LANE_READ || routes[i].verb == MA_GET, "%s", routes[i].op);
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(routes[i].op, routes[j].op);
    }
}
END_TEST

START_TEST(test_route_texts)
{
    size_t n = 0, more = 0, pages = 0, n_ui = 0, lines = 0;
    const struct ma_route *routes = ma_api_routes(&n), *oauth = ma_oauth_routes(&more);
    const struct ma_route *page = ma_page_routes(&pages), *ui = ma_ui_routes(&n_ui);
    const char *text = ma_api_routes_text(arena), *md = ma_api_routes_markdown(arena);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(md);
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, n + more + pages + n_ui);
    for (size_t i = 0; i < n_ui; i++)
        ck_assert_msg(strstr(text, ui[i].op) && strstr(md, ui[i].path), "%s", ui[i].op);
    for (size_t i = 0; i < pages; i++)
        ck_assert_msg(strstr(text, page[i].op) && strstr(md, page[i].path), "%s", page[i].op);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(strstr(text, routes[i].op) && strstr(md, routes[i].path), "%s", routes[i].op);
    for (size_t i = 0; i < more; i++)
        ck_assert_msg(strstr(text, oauth[i].op) && strstr(md, oauth[i].path), "%s", oauth[i].op);
    ck_assert_ptr_nonnull(strstr(text, "GET /me/v1/factors getFactors read:me:factors read 0\n"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("router");
    TCase *build = tcase_create("build"), *find = tcase_create("find");
    tcase_add_checked_fixture(build, setup, teardown);
    tcase_add_loop_test(build, test_build, 0, (int)MA_COUNT(tables));
    tcase_add_test(build, test_no_rows);
    tcase_add_loop_test(build, test_shipped_tables, 0, 2);
    tcase_add_test(build, test_route_texts);
    tcase_add_checked_fixture(find, setup_small, teardown);
    tcase_add_loop_test(find, test_find, 0, (int)MA_COUNT(finds));
    tcase_add_test(find, test_find_twice);
    tcase_add_test(find, test_allow_text);
    suite_add_tcase(s, build);
    suite_add_tcase(s, find);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

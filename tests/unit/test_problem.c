/* SPDX-License-Identifier: Apache-2.0
 * The error catalogue and how answers are built: error objects, headers, bodies in and out.
 */
#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

/* --- the catalogue --- */

static const struct {
    enum ma_problem_id id;
    int status;
    const char *code, *title;
} contract[] = {
    {MA_P_BAD_REQUEST, 400, "A0E-400-0001", "Bad Request"},
    {MA_P_VALIDATION, 400, "A0E-400-0003", "Validation Error"},
    {MA_P_UNAUTHORIZED, 401, "A0E-401-0001", "Unauthorized"},
    {MA_P_MISSING_TOKEN, 401, "A0E-401-0002", "Missing Token"},
    {MA_P_INVALID_TOKEN, 401, "A0E-401-0003", "Invalid Token"},
    {MA_P_SCOPE, 403, "A0E-403-0002", "Insufficient Scope"},
    {MA_P_NOT_FOUND, 404, "A0E-404-0001", "Not Found"},
    {MA_P_NO_RESOURCE, 404, "A0E-404-0002", "Resource Not Found"},
    {MA_P_METHOD, 405, "A0E-405-0001", "Method Not Allowed"},
    {MA_P_CONFLICT, 409, "A0E-409-0001", "Configuration issue"},
    {MA_P_DUPLICATE, 409, "A0E-409-0003", "Duplicate Resource"},
    {MA_P_TOO_MANY, 429, "A0E-429-0001", "Too Many Requests"},
    {MA_P_RATE, 429, "A0E-429-0003", "Endpoint Rate Limit Exceeded"},
};

START_TEST(test_contract)
{
    const struct ma_problem_def *d = ma_problem_def(contract[_i].id);
    ck_assert_int_eq(d->status, contract[_i].status);
    ck_assert_str_eq(d->code, contract[_i].code);
    ck_assert_str_eq(d->title, contract[_i].title);
}
END_TEST

START_TEST(test_catalogue)
{
    const struct ma_problem_def *d = ma_problem_def((enum ma_problem_id)_i);
    char want[32];
    (void)snprintf(want, sizeof want, "A0E-%d-", d->status);
    ck_assert_msg(strncmp(d->code, want, strlen(want)) == 0 && strlen(d->code) == 12, "%s", d->code);
    ck_assert(d->title[0] && d->detail[0] && d->help[0]);
    ck_assert_ptr_eq(ma_problem_find(ma_span_str(d->code)), d);
}
END_TEST

START_TEST(test_find_unknown)
{
    static const char *const codes[] = {"", "A0E-400-0002", "a0e-400-0001", "A0E-400-00010", "A0E-400-000"};
    for (size_t i = 0; i < MA_COUNT(codes); i++)
        ck_assert_ptr_null(ma_problem_find(ma_span_str(codes[i])));
    ck_assert_ptr_null(ma_problem_find(MA_SPAN_NULL));
}
END_TEST

/* --- error answers --- */

struct item {
    struct ma_span detail, field, pointer;
};
struct object {
    struct ma_span type, title, detail;
    int64_t status;
    struct ma_objlist errors;
};
static const struct ma_jfield item_fields[] = {
    {.name = "detail", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct item, detail)},
    {.name = "field", .type = MA_F_STR, .off = offsetof(struct item, field)},
    {.name = "pointer", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct item, pointer)}};
static const struct ma_shape item_shape = MA_SHAPE(struct item, item_fields);
static const struct ma_jfield object_fields[] = {
    {.name = "type", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct object, type)},
    {.name = "status", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct object, status)},
    {.name = "title", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct object, title)},
    {.name = "detail", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct object, detail)},
    {.name = "validation_errors", .type = MA_F_OBJLIST, .off = offsetof(struct object, errors), .sub = &item_shape}};
static const struct ma_shape object_shape = MA_SHAPE(struct object, object_fields);

/* No other members than the contract's. */
static struct object parsed(void)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct object o = {.status = 0};
    struct ma_verrs errs = {.arena = f.arena};
    T_OK(ma_json_parse(ma_buf_view(&ctx->resp.body), &j));
    int r = ma_json_decode(j, f.arena, &object_shape, &o, &errs);
    ck_assert_msg(r == MA_OK, "%s: %s", errs.v[0].pointer, errs.v[0].detail);
    return o;
}

START_TEST(test_problem)
{
    const struct ma_problem_def *d = ma_problem_def((enum ma_problem_id)_i);
    T_IS(MA_E_PROBLEM, ma_problem(ctx, (enum ma_problem_id)_i, NULL));
    struct object o = parsed();
    char type[128];
    (void)snprintf(type, sizeof type, "https://login.example.com/api-errors/%s", d->code);
    ck_assert_int_eq(ctx->resp.status, d->status);
    ck_assert_str_eq(ctx->resp.content_type, "application/json; charset=utf-8");
    ck_assert_int_eq(o.status, d->status);
    T_STR(o.type, type);
    T_STR(o.title, d->title);
    T_STR(o.detail, d->detail);
    ck_assert_uint_eq(o.errors.n, 0);
}
END_TEST

START_TEST(test_detail_is_escaped)
{
    T_IS(MA_E_PROBLEM, ma_problem(ctx, MA_P_BAD_REQUEST, "a \"b\" \\ \n \x01"));
    T_STR(parsed().detail, "a \"b\" \\ \n \x01");
}
END_TEST

START_TEST(test_problem_at)
{
    static const struct {
        const char *pointer, *field;
    } rows[] = {{"/name", "name"}, {"/a/b", "b"}, {"", NULL}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        T_IS(MA_E_PROBLEM, ma_problem_at(ctx, rows[i].pointer, "data is wrong"));
        struct object o = parsed();
        const struct item *e = o.errors.v;
        T_STR(o.detail, "Invalid request payload input");
        ck_assert_uint_eq(o.errors.n, 1);
        T_STR(e->pointer, rows[i].pointer);
        T_STR(e->detail, "data is wrong");
        ck_assert_msg(ma_span_eq(e->field, ma_span_str(rows[i].field)), "%s", rows[i].pointer);
    }
}
END_TEST

START_TEST(test_problem_validation)
{
    ma_verr_add(ctx->errs, "/a", "data/a is wrong", "a");
    ma_verr_add(ctx->errs, "", "data must have required property 'b'", NULL);
    T_IS(MA_E_PROBLEM, ma_problem_validation(ctx));
    struct object o = parsed();
    const struct item *e = o.errors.v;
    ck_assert_uint_eq(o.errors.n, 2);
    T_STR(e[0].field, "a");
    T_STR(e[1].pointer, "");
    ck_assert_ptr_null(e[1].field.p);
}
END_TEST

START_TEST(test_retry_after)
{
    static const struct {
        int64_t s;
        const char *want;
    } rows[] = {{7, "7"}, {1, "1"}, {0, "1"}, {-5, "1"}, {86400, "86400"}};
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        T_IS(MA_E_PROBLEM, ma_problem_retry(ctx, MA_P_TOO_MANY, NULL, rows[i].s));
        ck_assert_str_eq(ma_fix_header(ctx, "Retry-After"), rows[i].want);
        ck_assert_int_eq(ctx->resp.status, 429);
    }
}
END_TEST

/* A later answer leaves nothing of an earlier one. */
START_TEST(test_answer_replaces)
{
    struct ma_jw w;
    ma_reply_json(ctx, 200, &w);
    ma_header(ctx, "Location", "x");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "secret", "value");
    T_IS(MA_E_PROBLEM, ma_problem(ctx, MA_P_INTERNAL, NULL));
    ck_assert_ptr_null(ma_fix_header(ctx, "Location"));
    ck_assert(!ma_fix_body_has(&f, "secret"));
    T_OK(ma_reply_empty(ctx, 204));
    ck_assert_int_eq(ctx->resp.status, 204);
    ck_assert_ptr_null(ctx->resp.content_type);
    ck_assert_uint_eq(ctx->resp.body.n, 0);
}
END_TEST

START_TEST(test_problem_without_memory)
{
    struct ma_arena *small = ma_arena_new(64, 64);
    ctx->arena = small;
    T_IS(MA_E_PROBLEM, ma_problem(ctx, MA_P_UNAVAILABLE, NULL));
    ck_assert_int_eq(ctx->resp.status, 503);
    ck_assert_ptr_null(ctx->resp.content_type);
    ck_assert_uint_eq(ctx->resp.body.n, 0);
    T_IS(MA_E_PROBLEM, ma_problem_retry(ctx, MA_P_UNAVAILABLE, NULL, 5));
    ctx->arena = f.arena;
    ma_arena_free(small);
}
END_TEST

START_TEST(test_headers)
{
    T_OK(ma_reply_empty(ctx, 204));
    ma_header(ctx, "X-Null", NULL);
    ck_assert_uint_eq(ctx->resp.n_headers, 0);
    for (size_t i = 0; i < MA_RESP_HEADERS + 5; i++)
        ma_header(ctx, "X", "y");
    ck_assert_uint_eq(ctx->resp.n_headers, MA_RESP_HEADERS);
}
END_TEST

START_TEST(test_body_too_big)
{
    static char big[100000];
    struct ma_jw w;
    memset(big, 'a', sizeof big - 1);
    ma_reply_json(ctx, 200, &w);
    ma_jw_arr(&w);
    for (int i = 0; i < 10; i++)
        ma_jw_cstr(&w, big);
    ma_jw_arr_end(&w);
    ck_assert_int_lt(ma_reply_end(ctx), 0);
}
END_TEST

/* --- bodies --- */

struct body {
    struct ma_span a;
    int64_t b;
};
static const struct ma_jfield body_fields[] = {
    {.name = "a", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct body, a)},
    {.name = "b", .type = MA_F_INT, .off = offsetof(struct body, b)}};
static const struct ma_shape body_shape = MA_SHAPE(struct body, body_fields);

static void receive(const char *text)
{
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    ma_buf_init_arena(&ctx->req.body, f.arena, 64, 4096);
    ma_buf_str(&ctx->req.body, text);
}

static const struct {
    const char *name, *text, *code, *detail; /* detail of the answer, or of its first validation error */
} bodies[] = {
    {"good", "{\"a\":\"x\",\"b\":3}", NULL, NULL},
    {"blanks around", " \r\n{\"a\":\"x\"}\n", NULL, NULL},
    {"empty", "", "A0E-400-0003", "data must be object"},
    {"blank", " \n", "A0E-400-0003", "data must be object"},
    {"no JSON", "{a", "A0E-400-0001", "Invalid JSON"},
    {"two documents", "{\"a\":\"x\"}{}", "A0E-400-0001", "Invalid JSON"},
    {"duplicate member", "{\"a\":\"x\",\"a\":\"y\"}", "A0E-400-0001", "Invalid JSON"},
    {"array", "[]", "A0E-400-0003", "data must be object"},
    {"string", "\"a\"", "A0E-400-0003", "data must be object"},
    {"null", "null", "A0E-400-0003", "data must be object"},
    {"missing member", "{\"b\":1}", "A0E-400-0003", "data must have required property 'a'"},
    {"wrong type", "{\"a\":1}", "A0E-400-0003", "data/a must be string"},
    {"unknown member", "{\"a\":\"x\",\"c\":1}", "A0E-400-0003", "data must NOT have additional properties"},
};

START_TEST(test_bodies)
{
    struct body b = {.b = 0};
    receive(bodies[_i].text);
    int r = ma_body(ctx, &body_shape, &b);
    if (!bodies[_i].code) {
        ck_assert_msg(r == MA_OK, "%s: %s", bodies[_i].name, ma_err_name(r));
        T_STR(b.a, "x");
        return;
    }
    ck_assert_msg(r == MA_E_PROBLEM, "%s: %s", bodies[_i].name, ma_err_name(r));
    struct object o = parsed();
    const struct item *e = o.errors.v;
    ck_assert_msg(memmem(o.type.p, o.type.n, bodies[_i].code, 12), "%s", bodies[_i].name);
    T_STR(o.errors.n ? e->detail : o.detail, bodies[_i].detail);
}
END_TEST

/* The second reading starts with no errors, and without the list a request still finds one. */
START_TEST(test_body_twice)
{
    static const struct ma_shape open = MA_SHAPE_OPEN(struct body, body_fields);
    struct body b = {.b = 0};
    receive("{\"a\":\"x\",\"c\":1}");
    ctx->errs = NULL;
    T_IS(MA_E_PROBLEM, ma_body(ctx, &body_shape, &b));
    struct ma_json *once = ctx->json;
    T_OK(ma_body(ctx, &open, &b));
    ck_assert_ptr_eq(ctx->json, once);
    T_IS(MA_E_PROBLEM, ma_body(ctx, &body_shape, &b));
    ck_assert_uint_eq(parsed().errors.n, 1);
}
END_TEST

/* --- small things --- */

START_TEST(test_query)
{
    ctx->req.query[0] = (struct ma_pair){MA_LIT("type"), MA_LIT("totp")};
    ctx->req.query[1] = (struct ma_pair){MA_LIT("type"), MA_LIT("email")};
    ctx->req.query[2] = (struct ma_pair){MA_LIT("empty"), MA_LIT("")};
    ctx->req.n_query = 3;
    T_STR(ma_query(ctx, "type"), "totp");
    ck_assert_ptr_nonnull(ma_query(ctx, "empty").p);
    ck_assert_ptr_null(ma_query(ctx, "typ").p);
    ck_assert_ptr_null(ma_query(ctx, "Type").p);
}
END_TEST

static int step(struct ma_ctx *c)
{
    (void)c;
    return MA_OK;
}

START_TEST(test_next)
{
    T_IS(MA_E_NEXT, ma_next(ctx, MA_LANE_CPU, step));
    ck_assert(ctx->step == step);
    ck_assert_int_eq(ctx->step_lane, MA_LANE_CPU);
}
END_TEST

START_TEST(test_origin)
{
    static const char *const domains[] = {"https://a.example", "https://b.example"};
    f.conf->custom_domains = (struct ma_conf_strlist){domains, 2};
    static const char *const want[] = {"https://login.example.com", "https://a.example", "https://b.example",
                                       "https://login.example.com"};
    for (int i = 0; i < 4; i++) {
        ctx->req.domain = i;
        ck_assert_str_eq(ma_ctx_origin(ctx), want[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("problem");
    TCase *tc = tcase_create("problem");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_contract, 0, (int)MA_COUNT(contract));
    tcase_add_loop_test(tc, test_catalogue, 0, MA_P__COUNT);
    tcase_add_test(tc, test_find_unknown);
    tcase_add_loop_test(tc, test_problem, 0, MA_P__COUNT);
    tcase_add_test(tc, test_detail_is_escaped);
    tcase_add_test(tc, test_problem_at);
    tcase_add_test(tc, test_problem_validation);
    tcase_add_test(tc, test_retry_after);
    tcase_add_test(tc, test_answer_replaces);
    tcase_add_test(tc, test_problem_without_memory);
    tcase_add_test(tc, test_headers);
    tcase_add_test(tc, test_body_too_big);
    tcase_add_loop_test(tc, test_bodies, 0, (int)MA_COUNT(bodies));
    tcase_add_test(tc, test_body_twice);
    tcase_add_test(tc, test_query);
    tcase_add_test(tc, test_next);
    tcase_add_test(tc, test_origin);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0
 * README.md against the code: generated tables, every member of the state document, the shipped examples.
 * Runs at the top of the source tree. With MA_DOCS_WRITE=1 in the environment the generated tables are
 * written into README.md instead of compared.
 */
#include "ma/state.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/state/int.h"
#include "ma/admin.h"
#include "ma/api.h"
#include "ma/audit.h"
#include "ma/conf.h"
#include "ma/crypto.h"
#include "ma/metrics.h"
#include "ma/problem.h"

#define README "README.md"
#define README_NEW "README.md.new"
#define TEXT_MAX ((size_t)4 << 20)
#define PATH_DEPTH_MAX 8
#define NOW 1700000000000

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)64 << 20);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free(arena);
}

/* --- files --- */

static const char *read_text_in(struct ma_arena *a, const char *path)
{
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s cannot be read: run this at the top of the source tree", path);
    char *text = ma_arena_alloc(a, TEXT_MAX);
    ck_assert_ptr_nonnull(text);
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    ck_assert(feof(f) && !ferror(f));
    ck_assert_int_eq(fclose(f), 0);
    text[n] = '\0';
    return text;
}

static const char *read_text(const char *path)
{
    return read_text_in(arena, path);
}

static void write_readme(const char *text)
{
    FILE *f = fopen(README_NEW, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(rename(README_NEW, README), 0);
}

static bool writing(void)
{
    const char *v = secure_getenv("MA_DOCS_WRITE");
    return v && strcmp(v, "1") == 0;
}

/* What stands between "<!-- NAME:begin -->\n" and "<!-- NAME:end -->". */
static struct ma_span section(const char *text, const char *name)
{
    const char *begin = ma_arena_printf(arena, "<!-- %s:begin -->\n", name);
    const char *end = ma_arena_printf(arena, "<!-- %s:end -->\n", name);
    const char *from = strstr(text, begin);
    ck_assert_msg(from != NULL, README " has no line %s", begin);
    from += strlen(begin);
    const char *to = strstr(from, end);
    ck_assert_msg(to != NULL, README " has no line %s", end);
    ck_assert_msg(strstr(from, begin) == NULL && strstr(to + 1, end) == NULL, README " has the section %s twice", name);
    return ma_span_of(from, (size_t)(to - from));
}

/* --- generated sections --- */

static const char *config_text(void)
{
    char *made = ma_conf_reference();
    ck_assert_ptr_nonnull(made);
    const char *text = ma_arena_strdup(arena, ma_span_str(made));
    free(made);
    return text;
}

static const char *routes_text(void)
{
    const char *rows = ma_api_routes_markdown(arena);
    ck_assert_ptr_nonnull(rows);
    return ma_arena_printf(arena, "| Request | Operation | Scope | Lane | Body |\n|---|---|---|---|---|\n%s", rows);
}

/* Text as a table cell: angle brackets would be taken for HTML, a bar for the next cell. */
static void put_cell(struct ma_buf *b, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (strchr("<>|", *p))
            ma_buf_byte(b, '\\');
        ma_buf_byte(b, (uint8_t)*p);
    }
}

static const char *errors_text(void)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 16384, TEXT_MAX);
    ma_buf_str(&b, "| Status | Code | Title | Meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < MA_P__COUNT; i++) {
        const struct ma_problem_def *d = ma_problem_def((enum ma_problem_id)i);
        ma_buf_printf(&b, "| %d | `%s` | ", d->status, d->code);
        put_cell(&b, d->title);
        ma_buf_str(&b, " | ");
        put_cell(&b, d->help);
        ma_buf_str(&b, " |\n");
    }
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

static const char *ctl_text(void)
{
    return ma_arena_printf(arena, "```\n%s```\n", ma_admin_usage());
}

static const char *metrics_text(void)
{
    return ma_metrics_markdown(arena);
}

static const char *audit_text(void)
{
    struct ma_buf b;
    size_t n = 0;
    const struct ma_audit_event *e = ma_audit_events(&n);
    ma_buf_init_arena(&b, arena, 16384, TEXT_MAX);
    ma_buf_str(&b, "| `type` | `description` | `details` hold |\n|---|---|---|\n");
    for (size_t i = 0; i < n; i++)
        ma_buf_printf(&b, "| `%s` | %s | %s |\n", e[i].type, e[i].description, e[i].holds);
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

static const struct generated {
    const char *name;
    const char *(*make)(void);
} generated[] = {
    {"routes", routes_text}, {"errors", errors_text},   {"config", config_text},
    {"ctl", ctl_text},       {"metrics", metrics_text}, {"audit", audit_text},
};

static size_t line_of(const char *text, size_t n)
{
    size_t line = 1;
    for (size_t i = 0; i < n; i++)
        line += text[i] == '\n';
    return line;
}

static void compare(const struct generated *g, const char *readme, struct ma_span have, const char *want)
{
    size_t n = 0;
    while (n < have.n && want[n] && have.p[n] == (uint8_t)want[n])
        n++;
    size_t before = (size_t)((const char *)have.p - readme);
    ck_assert_msg(n == have.n && want[n] == '\0',
                  README ":%zu: the section %s is not what the code generates; MA_DOCS_WRITE=1 with this "
                         "test writes it anew",
                  line_of(readme, before + n), g->name);
}

START_TEST(generated_sections)
{
    const struct generated *g = &generated[_i];
    const char *readme = read_text(README);
    struct ma_span have = section(readme, g->name);
    const char *want = g->make();
    ck_assert_ptr_nonnull(want);
    ck_assert_uint_gt(strlen(want), 0);
    if (!writing()) {
        compare(g, readme, have, want);
        return;
    }
    size_t before = (size_t)((const char *)have.p - readme);
    write_readme(ma_arena_printf(arena, "%.*s%s%s", (int)before, readme, want, (const char *)have.p + have.n));
}
END_TEST

/* --- members of the state document --- */

/* The text of one kind: from its heading to the next one. */
static const char *kind_text(const char *state, const char *member)
{
    const char *heading = ma_arena_printf(arena, "#### `%s`\n", member);
    const char *from = strstr(state, heading);
    ck_assert_msg(from != NULL, README " does not describe `%s` of the state document", member);
    from += strlen(heading);
    const char *to = strstr(from, "\n#### ");
    return ma_arena_strdup(arena, ma_span_of(from, to ? (size_t)(to - from) : strlen(from)));
}

struct rows {
    const char *text, *member;
    size_t n;
};

static void expect_row(struct rows *r, const char *path)
{
    const char *row = ma_arena_printf(arena, "\n| `%s` |", path);
    ck_assert_msg(strstr(r->text, row) != NULL, README ": state document: `%s` has no row for `%s`", r->member, path);
    r->n++;
}

/* Every member without members of its own has a row, named by its path. */
static void walk(struct rows *r, const struct ma_shape *shape, const char *prefix, int depth)
{
    ck_assert_int_lt(depth, PATH_DEPTH_MAX);
    for (size_t i = 0; i < shape->n; i++) {
        const struct ma_jfield *f = &shape->fields[i];
        const char *path = ma_arena_printf(arena, "%s%s", prefix, f->name);
        if (f->sub)
            walk(r, f->sub, ma_arena_printf(arena, f->type == MA_F_OBJLIST ? "%s[]." : "%s.", path), depth + 1);
        else
            expect_row(r, path);
    }
}

static void check_kind(const char *state, const char *member, const struct ma_shape *shape)
{
    struct rows r = {kind_text(state, member), member, 0};
    walk(&r, shape, "", 0);
    size_t rows = 0;
    for (const char *p = strstr(r.text, "\n| `"); p; p = strstr(p + 1, "\n| `"))
        rows++;
    ck_assert_msg(rows == r.n, README ": state document: `%s` has %zu rows for %zu members", member, rows, r.n);
}

START_TEST(state_members)
{
    const char *readme = read_text(README);
    const char *state = ma_arena_strdup(arena, section(readme, "state"));
    for (int k = 0; k < MA_KIND__COUNT; k++)
        check_kind(state, ma_kinds[k].member, ma_kinds[k].shape);
    check_kind(state, "users", &ma_shape_user);
    size_t kinds = 0;
    for (const char *p = strstr(state, "#### `"); p; p = strstr(p + 1, "#### `"))
        kinds++;
    ck_assert_uint_eq(kinds, (size_t)MA_KIND__COUNT + 1);
}
END_TEST

/* Each value a member can have is named in its row. */
static void check_values(const char *state, const char *member, const struct ma_shape *shape, const char *prefix)
{
    const char *text = kind_text(state, member);
    for (size_t i = 0; i < shape->n; i++) {
        const struct ma_jfield *f = &shape->fields[i];
        if (f->sub)
            check_values(state, member, f->sub,
                         ma_arena_printf(arena, f->type == MA_F_OBJLIST ? "%s%s[]." : "%s%s.", prefix, f->name));
        if (!f->names)
            continue;
        const char *row = strstr(text, ma_arena_printf(arena, "\n| `%s%s` |", prefix, f->name));
        ck_assert_ptr_nonnull(row);
        row = ma_arena_strdup(arena, ma_span_of(row + 1, strcspn(row + 1, "\n")));
        for (const char *const *v = f->names; *v; v++)
            ck_assert_msg(strstr(row, ma_arena_printf(arena, "`%s`", *v)) != NULL ||
                              f->type == MA_F_ENUMSET, /* may be abbreviated */
                          README ": state document: `%s%s` does not name `%s`", prefix, f->name, *v);
    }
}

START_TEST(state_values)
{
    const char *readme = read_text(README);
    const char *state = ma_arena_strdup(arena, section(readme, "state"));
    for (int k = 0; k < MA_KIND__COUNT; k++)
        check_values(state, ma_kinds[k].member, ma_kinds[k].shape, "");
    check_values(state, "users", &ma_shape_user, "");
}
END_TEST

/* --- the shipped examples --- */

START_TEST(example_configuration)
{
    char why[512] = "";
    struct ma_conf *c = NULL;
    int rc = ma_conf_load("conf/myaccountd.conf", &c, why);
    ck_assert_msg(rc == MA_OK, "%s", why);
    ma_conf_free(c);
    char *example = ma_conf_example();
    ck_assert_ptr_nonnull(example);
    ck_assert_msg(strcmp(example, read_text("conf/myaccountd.conf")) == 0,
                  "conf/myaccountd.conf is not what ma_conf_example gives");
    free(example);
}
END_TEST

struct scratch {
    char dir[64];
    struct ma_db *db;
    struct ma_vault *vault;
};

static const char *in_scratch(const struct scratch *s, const char *name)
{
    return ma_arena_printf(arena, "%s/%s", s->dir, name);
}

static void scratch_open(struct scratch *s)
{
    char why[256] = "";
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/ma_test_docs_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->dir));
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    ck_assert_msg(ma_db_open(in_scratch(s, "t.db"), MA_DB_WRITER, NULL, &s->db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(s->db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(in_scratch(s, "keys"), ma_rand_system(), &s->vault, why) == MA_OK, "%s", why);
}

static void scratch_close(struct scratch *s)
{
    static const char *const files[] = {"t.db",        "t.db-wal",        "t.db-shm",         "t.db.lock",
                                        "keys/pepper", "keys/vault.keys", "keys/vault.canary"};
    ma_vault_close(s->vault);
    ma_db_close(s->db);
    ma_crypto_cleanup();
    for (size_t i = 0; i < MA_COUNT(files); i++)
        (void)unlink(in_scratch(s, files[i]));
    (void)rmdir(in_scratch(s, "keys"));
    ck_assert_int_eq(rmdir(s->dir), 0);
}

static void apply(struct scratch *s, const char *name, const char *document, struct ma_buf *report)
{
    struct ma_apply_env env = {.db = s->db, .vault = s->vault, .rand = ma_rand_system(), .now_ms = NOW};
    struct ma_verrs errs = {.arena = arena};
    ma_buf_clear(report);
    ck_assert_int_eq(ma_db_begin(s->db), MA_OK);
    int rc = ma_state_apply(&env, ma_span_str(document), report, &errs);
    ck_assert_msg(rc == MA_OK, "%s: %s at \"%s\": %s", name, ma_err_name(rc), errs.n ? errs.v[0].pointer : "",
                  errs.n ? errs.v[0].detail : "");
    ck_assert_int_eq(ma_db_commit(s->db), MA_OK);
}

/* Applies once with changes, and once more without any. */
static void apply_twice(const char *name, const char *document)
{
    struct scratch s;
    struct ma_buf report;
    scratch_open(&s);
    ma_buf_init_arena(&report, arena, 4096, TEXT_MAX);
    apply(&s, name, document, &report);
    ck_assert_msg(!ma_span_eq_str(ma_buf_view(&report), "no changes\n"), "%s changes nothing", name);
    apply(&s, name, document, &report);
    ck_assert_msg(ma_span_eq_str(ma_buf_view(&report), "no changes\n"), "%s: applied twice: %.*s", name, (int)report.n,
                  (const char *)report.p);
    scratch_close(&s);
}

START_TEST(demo_state)
{
    apply_twice("conf/demo.json", read_text("conf/demo.json"));
}
END_TEST

/* The ```json blocks of README.md are state documents. */
START_TEST(readme_state)
{
    static const char fence[] = "\n```json\n";
    const char *at = strstr(read_text(README), fence);
    ck_assert_ptr_nonnull(at);
    for (; at; at = strstr(at, fence)) {
        at += sizeof fence - 1;
        const char *end = strstr(at, "\n```\n");
        ck_assert_ptr_nonnull(end);
        apply_twice(README, ma_arena_strdup(arena, ma_span_of(at, (size_t)(end - at))));
    }
}
END_TEST

/* --- the tests that the threat model names: `FILE` "NAME" --- */

static void check_claim(const char *file, const char *name)
{
    struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, 2 * TEXT_MAX);
    ck_assert_ptr_nonnull(a);
    const char *text = read_text_in(a, file);
    const char *in_c = ma_arena_printf(a, "START_TEST(%s)", name);
    const char *in_js = ma_arena_printf(a, "test('%s'", name);
    ck_assert_msg(strstr(text, in_c) || strstr(text, in_js), README ": %s has no test \"%s\"", file, name);
    ma_arena_free(a);
}

START_TEST(claims_have_tests)
{
    static const char mark[] = "`tests/";
    const char *text = ma_arena_strdup(arena, section(read_text(README), "claims"));
    size_t n = 0;
    for (const char *at = strstr(text, mark); at; at = strstr(at, mark), n++) {
        at++;
        size_t file = strcspn(at, "`"), name = strncmp(at + file, "` \"", 3) == 0 ? strcspn(at + file + 3, "\"") : 0;
        ck_assert_msg(name > 0, README ": no name of a test after %.60s", at);
        check_claim(ma_arena_strdup(arena, ma_span_of(at, file)),
                    ma_arena_strdup(arena, ma_span_of(at + file + 3, name)));
        at += file + 3 + name;
    }
    ck_assert_uint_gt(n, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("docs");
    TCase *t = tcase_create("docs");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, generated_sections, 0, (int)MA_COUNT(generated));
    tcase_add_test(t, state_members);
    tcase_add_test(t, state_values);
    tcase_add_test(t, example_configuration);
    tcase_add_test(t, demo_state);
    tcase_add_test(t, readme_state);
    tcase_add_test(t, claims_have_tests);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 * Man pages and shell completion against the key table, the command table and the options. Runs at the top of the
 * source tree. With MA_DOCS_WRITE=1 in the environment the generated parts are written instead of compared.
 */
#include "ma/admin.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/admin/int.h"
#include "../../src/conf/int.h"

#define TEXT_MAX ((size_t)1 << 20)
#define LINE_WIDTH 78 /* of generated manual text; mandoc finds fault with more than 80 */

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)32 << 20);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free(arena);
}

static const char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s cannot be read: run this at the top of the source tree", path);
    char *text = ma_arena_alloc(arena, TEXT_MAX);
    ck_assert_ptr_nonnull(text);
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    ck_assert(feof(f) && !ferror(f));
    ck_assert_int_eq(fclose(f), 0);
    text[n] = '\0';
    return text;
}

static bool writing(void)
{
    const char *v = secure_getenv("MA_DOCS_WRITE");
    return v && strcmp(v, "1") == 0;
}

/* --- mdoc --- */

/* A word as mdoc text: backslashes and a leading control character are escaped. */
static const char *escaped(const char *word)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 64, TEXT_MAX);
    if (*word == '.' || *word == '\'')
        ma_buf_str(&b, "\\&");
    for (const char *p = word; *p; p++)
        ma_buf_str(&b, *p == '\\' ? "\\e" : (char[]){*p, '\0'});
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

/* Text in lines of at most LINE_WIDTH; a new sentence begins a new line, as mdoc wants it. */
static void put_wrapped(struct ma_buf *b, const char *text)
{
    size_t column = 0;
    bool ended = false;
    char *copy = (char *)(uintptr_t)ma_arena_strdup(arena, ma_span_str(text)), *rest = copy;
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " ")) {
        const char *out = escaped(word);
        size_t n = strlen(out);
        if (column > 0 && (ended || column + 1 + n > LINE_WIDTH)) {
            ma_buf_byte(b, '\n');
            column = 0;
        } else if (column > 0) {
            ma_buf_byte(b, ' ');
            column++;
        }
        ma_buf_str(b, out);
        column += n;
        ended = n > 0 && out[n - 1] == '.' && !(n > 2 && out[n - 2] == '.');
    }
    ma_buf_byte(b, '\n');
}

/* The default as a file would spell it. */
static const char *default_of(const struct conf_key *k)
{
    if (ma_conf_is_number(k) || k->kind == CONF_BOOL)
        return k->def;
    if (!ma_conf_is_list(k))
        return ma_arena_printf(arena, "\"%s\"", k->def);
    const char *text = "{";
    for (const char *p = k->def; *p;) {
        size_t n = strcspn(p, ",");
        text = ma_arena_printf(arena, "%s%s\"%.*s\"", text, p == k->def ? "" : ", ", (int)n, p);
        p += n + (p[n] == ',');
    }
    return ma_arena_printf(arena, "%s}", text);
}

static void put_key(struct ma_buf *b, const struct conf_key *k)
{
    ma_buf_printf(b, ".It Ic %s\n", k->name);
    put_wrapped(b, ma_arena_printf(arena, "%s.", k->help));
    char range[80] = "";
    if (ma_conf_is_number(k))
        (void)snprintf(range, sizeof range, ", from %lld to %lld", (long long)k->min, (long long)k->max);
    put_wrapped(b, ma_arena_printf(arena, "Default: %s%s; %s.", default_of(k), range,
                                   k->when == WHEN_RELOAD ? "reload" : "restart"));
}

static const char *keys_mdoc(void)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 65536, TEXT_MAX);
    for (size_t s = 0; s < ma_conf_n_sections; s++) {
        const struct conf_section *sec = &ma_conf_sections[s];
        bool titled = strcmp(sec->name, "issuer") == 0;
        if (*sec->name)
            ma_buf_printf(&b, ".Ss %s %s{ ... }\n", sec->name, titled ? "\"URL\" " : "");
        else
            ma_buf_printf(&b, ".Ss %s\n", sec->title);
        if (*sec->name)
            put_wrapped(&b, ma_arena_printf(arena, "%s.", sec->title));
        ma_buf_str(&b, ".Bl -tag -width Ds\n");
        for (size_t i = 0; i < ma_conf_n_keys; i++)
            if (strcmp(ma_conf_keys[i].section, sec->name) == 0)
                put_key(&b, &ma_conf_keys[i]);
        ma_buf_str(&b, ".El\n");
    }
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

/* --- completion --- */

static void put_options(struct ma_buf *b, const struct ma_command *c)
{
    uint32_t bit = 0;
    bool value = false, first = true;
    for (size_t i = 0; ma_command_option(i, &bit, &value); i++) {
        if (!(c->options & bit))
            continue;
        ma_buf_printf(b, "%s--%s", first ? "" : " ", ma_command_option(i, &bit, &value));
        first = false;
    }
}

/* "command|arguments|options" lines; the arguments are the usage text up to its options. */
static const char *commands_table(void)
{
    struct ma_buf b;
    size_t n = 0;
    const struct ma_command *c = ma_commands(&n);
    ma_buf_init_arena(&b, arena, 4096, TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *dash = strstr(c[i].usage, "--");
        size_t len = dash ? (size_t)(dash - c[i].usage) : strlen(c[i].usage);
        while (len > 0 && strchr(" [|", c[i].usage[len - 1]))
            len--;
        ma_buf_printf(&b, "%s|", c[i].name);
        for (size_t k = 0; k < len; k++) /* a bar parts the columns */
            ma_buf_byte(&b, (uint8_t)(c[i].usage[k] == '|' ? '/' : c[i].usage[k]));
        ma_buf_byte(&b, '|');
        put_options(&b, &c[i]);
        ma_buf_byte(&b, '\n');
    }
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

/* --- generated parts --- */

static const struct generated {
    const char *path, *begin, *end;
    const char *(*make)(void);
} generated[] = {
    {"conf/man/myaccountd.conf.5", ".\\\" keys:begin\n", ".\\\" keys:end\n", keys_mdoc},
    {"conf/completion/myaccountctl.bash", "# commands:begin\n", "# commands:end\n", commands_table},
    {"conf/completion/myaccountctl.zsh", "# commands:begin\n", "# commands:end\n", commands_table},
};

static void write_text(const char *path, const char *text)
{
    const char *fresh = ma_arena_printf(arena, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(rename(fresh, path), 0);
}

START_TEST(generated_parts)
{
    const struct generated *g = &generated[_i];
    const char *text = read_text(g->path), *want = g->make();
    const char *from = strstr(text, g->begin);
    ck_assert_msg(from != NULL, "%s has no line %s", g->path, g->begin);
    from += strlen(g->begin);
    const char *to = strstr(from, g->end);
    ck_assert_msg(to != NULL, "%s has no line %s", g->path, g->end);
    if (writing()) {
        write_text(g->path, ma_arena_printf(arena, "%.*s%s%s", (int)(from - text), text, want, to));
        return;
    }
    ck_assert_msg(strlen(want) == (size_t)(to - from) && memcmp(from, want, strlen(want)) == 0,
                  "%s is not what the code generates; MA_DOCS_WRITE=1 with this test writes it anew", g->path);
}
END_TEST

/* --- myaccountctl(1) --- */

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = strstr(text, part); p; p = strstr(p + 1, part))
        n++;
    return n;
}

static bool is_one_of(const char *word, const char *words)
{
    const char *at = strstr(words, word);
    return at && (at == words || at[-1] == ' ') && strchr(" ", at[strlen(word)]);
}

/* What follows a command's name in the manual, as plain words: "Ar USER Op Ar ID" becomes "USER [ID]". */
static const char *plain(const char *mdoc)
{
    struct ma_buf b;
    bool bracket = false, inside = false; /* a bar stands close within brackets only */
    char *rest = (char *)(uintptr_t)ma_arena_strdup(arena, ma_span_str(mdoc));
    ma_buf_init_arena(&b, arena, 256, TEXT_MAX);
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        for (char *w = strsep(&line, " "); w; w = strsep(&line, " ")) {
            if (*w == '\0')
                continue;
            bool opens = strcmp(w, "Op") == 0 || strcmp(w, ".Op") == 0 || strcmp(w, "Oo") == 0;
            if (opens && b.n > 0)
                ma_buf_byte(&b, ' ');
            if (opens)
                ma_buf_byte(&b, '[');
            bracket |= opens && strcmp(w, "Oo") != 0;
            inside |= opens;
            if (strcmp(w, "Oc") == 0) {
                ma_buf_byte(&b, ']');
                inside = false;
            }
            if (opens || is_one_of(w, "Oc Ar Cm Fl .Fl .Ar"))
                continue;
            bool glued = b.n == 0 || b.p[b.n - 1] == '[' || (inside && (b.p[b.n - 1] == '|' || *w == '|'));
            ma_buf_printf(&b, "%s%s%s", glued ? "" : " ", *w == '-' ? "-" : "", w);
        }
        if (bracket)
            ma_buf_byte(&b, ']');
        bracket = inside = false;
    }
    ma_buf_byte(&b, 0);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    return (const char *)b.p;
}

/* The arguments of one command as the manual has them, or NULL. */
static const char *manual_usage(const char *page, const char *name)
{
    const char *item = strstr(page, ma_arena_printf(arena, "\n.It Cm %s", name));
    if (item) {
        item += strlen("\n.It Cm ") + strlen(name);
        if (*item != ' ' && *item != '\n')
            return NULL;
        return plain(ma_arena_strdup(arena, ma_span_of(item + (*item == ' '), strcspn(item, "\n") - (*item == ' '))));
    }
    item = strstr(page, ma_arena_printf(arena, "\n.It Xo\n.Cm %s\n", name));
    if (!item)
        return NULL;
    item += strlen("\n.It Xo\n.Cm \n") + strlen(name);
    const char *end = strstr(item, ".Xc\n");
    ck_assert_ptr_nonnull(end);
    return plain(ma_arena_strdup(arena, ma_span_of(item, (size_t)(end - item))));
}

START_TEST(ctl_commands)
{
    const char *page = read_text("conf/man/myaccountctl.1");
    size_t n = 0;
    const struct ma_command *c = ma_commands(&n);
    for (size_t i = 0; i < n; i++) {
        const char *have = manual_usage(page, c[i].name);
        ck_assert_msg(have != NULL, "myaccountctl(1) does not describe the command %s", c[i].name);
        /* the usage text shows what scopes look like; the manual names them */
        char want[256];
        const char *sample = strstr(c[i].usage, "\"A B\"");
        (void)snprintf(want, sizeof want, "%.*s%s%s", (int)(sample ? sample - c[i].usage : (long)strlen(c[i].usage)),
                       c[i].usage, sample ? "scopes" : "", sample ? sample + strlen("\"A B\"") : "");
        ck_assert_msg(strcmp(have, want) == 0, "myaccountctl(1): %s takes \"%s\", not \"%s\"", c[i].name, want, have);
    }
    ck_assert_uint_eq(count(page, "\n.It Cm ") + count(page, "\n.It Xo\n.Cm "), n);
}
END_TEST

START_TEST(ctl_options)
{
    const char *page = read_text("conf/man/myaccountctl.1");
    uint32_t bit = 0;
    bool value = false;
    size_t n = 0;
    for (const char *name; (name = ma_command_option(n, &bit, &value)); n++) {
        const char *row = ma_arena_printf(arena, "\n.It Fl -%s%s", name, value ? " Ar " : "\n");
        ck_assert_msg(strstr(page, row) != NULL, "myaccountctl(1) does not describe --%s as it is", name);
    }
    ck_assert_uint_eq(count(page, "\n.It Fl -"), n);
}
END_TEST

/* Completion takes the word after any other option for its value. */
START_TEST(completion_flags)
{
    static const struct {
        const char *path, *line;
    } scripts[] = {{"conf/completion/myaccountctl.bash", "        --help | "},
                   {"conf/completion/myaccountctl.zsh", "--(help|"}};
    for (size_t i = 0; i < MA_COUNT(scripts); i++) {
        const char *at = strstr(read_text(scripts[i].path), scripts[i].line);
        ck_assert_ptr_nonnull(at);
        at += strcspn(at, "h");
        const char *flags = ma_arena_strdup(arena, ma_span_of(at, strcspn(at, ")")));
        uint32_t bit = 0;
        bool value = false;
        size_t n = 1;
        for (size_t k = 0; ma_command_option(k, &bit, &value); k++) {
            const char *name = ma_command_option(k, &bit, &value);
            ck_assert_msg(value || strstr(flags, name), "%s does not know that --%s takes no value", scripts[i].path,
                          name);
            n += !value;
        }
        ck_assert_uint_eq(count(flags, "|") + 2, n);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("manuals");
    TCase *t = tcase_create("manuals");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, generated_parts, 0, (int)MA_COUNT(generated));
    tcase_add_test(t, ctl_commands);
    tcase_add_test(t, ctl_options);
    tcase_add_test(t, completion_flags);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

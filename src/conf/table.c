/* SPDX-License-Identifier: Apache-2.0
 * The key table and what is derived from it alone: the reference, the example file and the
 * comparison of two snapshots.
 */
#include "int.h"
#include "ma/buf.h"
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 65536
#define EXAMPLE_COLUMN 48 /* where comments begin */

const struct conf_key ma_conf_keys[] = {
#define SECTION(name, title)
#define KEY(section, name, structure, member, kind, def, min, max, form, when, help)                                   \
    {section, name, offsetof(struct structure, member), CONF_##kind, def, min, max, FORM_##form, WHEN_##when, help},
#include "conf.def"
#undef SECTION
#undef KEY
};
const size_t ma_conf_n_keys = MA_COUNT(ma_conf_keys);

const struct conf_section ma_conf_sections[] = {
#define SECTION(name, title) {name, title},
#define KEY(section, name, structure, member, kind, def, min, max, form, when, help)
#include "conf.def"
#undef SECTION
#undef KEY
};
const size_t ma_conf_n_sections = MA_COUNT(ma_conf_sections);

const struct conf_key *ma_conf_key(const char *section, const char *name)
{
    for (size_t i = 0; i < ma_conf_n_keys; i++)
        if (strcmp(ma_conf_keys[i].section, section) == 0 && strcmp(ma_conf_keys[i].name, name) == 0)
            return &ma_conf_keys[i];
    return NULL;
}

/* --- texts --- */

/* The default as a file would spell it. */
static void put_default(struct ma_buf *b, const struct conf_key *k)
{
    bool plain = ma_conf_is_number(k) || k->kind == CONF_BOOL;
    if (!ma_conf_is_list(k)) {
        ma_buf_printf(b, plain ? "%s" : "\"%s\"", k->def);
        return;
    }
    ma_buf_str(b, "{");
    for (const char *p = k->def; *p;) {
        size_t n = strcspn(p, ",");
        ma_buf_printf(b, "%s\"%.*s\"", p == k->def ? "" : ", ", (int)n, p);
        p += n + (p[n] == ',');
    }
    ma_buf_str(b, "}");
}

static char *finish(struct ma_buf *b)
{
    char *text = ma_buf_err(b) == MA_OK ? strndup((const char *)b->p, b->n) : NULL;
    ma_buf_free(b);
    return text;
}

static void put_reference_row(struct ma_buf *b, const struct conf_key *k)
{
    ma_buf_printf(b, "| `%s` | `", k->name);
    put_default(b, k);
    ma_buf_str(b, "` | ");
    if (ma_conf_is_number(k))
        ma_buf_printf(b, "%lld to %lld", (long long)k->min, (long long)k->max);
    ma_buf_printf(b, " | %s | %s |\n", k->when == WHEN_RELOAD ? "reload" : "restart", k->help);
}

char *ma_conf_reference(void)
{
    struct ma_buf b;
    ma_buf_init(&b, TEXT_MAX);
    for (size_t s = 0; s < ma_conf_n_sections; s++) {
        const struct conf_section *sec = &ma_conf_sections[s];
        bool titled = strcmp(sec->name, "issuer") == 0;
        ma_buf_printf(&b, "%s", s ? "\n" : "");
        if (*sec->name)
            ma_buf_printf(&b, "**`%s %s{ }`** %s\n\n", sec->name, titled ? "\"URL\" " : "", sec->title);
        ma_buf_str(&b, "| Key | Default | Range | Changes by | Meaning |\n|---|---|---|---|---|\n");
        for (size_t i = 0; i < ma_conf_n_keys; i++)
            if (strcmp(ma_conf_keys[i].section, sec->name) == 0)
                put_reference_row(&b, &ma_conf_keys[i]);
    }
    return finish(&b);
}

static void put_example_key(struct ma_buf *b, const struct conf_key *k, const char *indent)
{
    size_t start = b->n;
    ma_buf_printf(b, "%s%s = ", indent, k->name);
    put_default(b, k);
    do
        ma_buf_byte(b, ' ');
    while (ma_buf_err(b) == MA_OK && b->n - start < EXAMPLE_COLUMN);
    ma_buf_printf(b, "# %s\n", k->help);
}

/* A block; the one for issuers is commented out, because no issuer is the default. */
static void put_example_section(struct ma_buf *b, const struct conf_section *sec)
{
    bool titled = strcmp(sec->name, "issuer") == 0;
    const char *indent = titled ? "#   " : *sec->name ? "    " : "";
    ma_buf_printf(b, "\n# %s\n", sec->title);
    if (*sec->name)
        ma_buf_printf(b, titled ? "# %s \"https://idp.example.com/\" {\n" : "%s {\n", sec->name);
    for (size_t i = 0; i < ma_conf_n_keys; i++)
        if (strcmp(ma_conf_keys[i].section, sec->name) == 0)
            put_example_key(b, &ma_conf_keys[i], indent);
    if (*sec->name)
        ma_buf_str(b, titled ? "# }\n" : "}\n");
}

char *ma_conf_example(void)
{
    struct ma_buf b;
    ma_buf_init(&b, TEXT_MAX);
    ma_buf_str(&b, "# Configuration of myaccountd. Every key is optional and stands here with its default.\n"
                   "# Secrets are references: file:/path (owned by root or the daemon's user, mode 0640 at most)\n"
                   "# or cred:name (a file in $CREDENTIALS_DIRECTORY).\n");
    for (size_t s = 0; s < ma_conf_n_sections; s++)
        put_example_section(&b, &ma_conf_sections[s]);
    return finish(&b);
}

/* --- comparing --- */

static bool same_list(const struct ma_conf_strlist *a, const struct ma_conf_strlist *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return false;
    return true;
}

static bool same_value(const struct conf_key *k, const void *a, const void *b)
{
    switch (k->kind) {
    case CONF_STR:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case CONF_INT:
        return *(const int64_t *)a == *(const int64_t *)b;
    case CONF_INT32:
        return *(const int *)a == *(const int *)b;
    case CONF_LIST:
        return same_list(a, b);
    case CONF_ALGORITHMS:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case CONF_BOOL:
    case CONF_ATTESTATION:
    case CONF_ACCESS:
        break;
    }
    return *(const bool *)a == *(const bool *)b;
}

void ma_conf_needs_restart(const struct ma_conf *old, const struct ma_conf *now, char out[256])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ma_conf_n_keys; i++) {
        const struct conf_key *k = &ma_conf_keys[i];
        if (k->when != WHEN_RESTART || strcmp(k->section, "issuer") == 0 ||
            same_value(k, (const char *)old + k->offset, (const char *)now + k->offset))
            continue;
        char name[64];
        int len = snprintf(name, sizeof name, "%s%s%s%s", n ? ", " : "", k->section, *k->section ? "." : "", k->name);
        if (len < 0 || n + (size_t)len >= 256)
            return;
        memcpy(out + n, name, (size_t)len + 1);
        n += (size_t)len;
    }
}

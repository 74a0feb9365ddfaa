/* SPDX-License-Identifier: Apache-2.0
 * The files of the account page: those compiled in, and those of ui_directory.
 */
#include "int.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "ma/embed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAG_BYTES = 16, NAME_MAX_BYTES = 64 };

struct ma_ui {
    struct ma_ui_file files[MA_UI_FILES_MAX];
    size_t n;
    struct ma_arena *arena; /* names and contents of the directory's files */
};

/* UI_FILE(symbol, name, path, path of the compressed file) for each file of conf/account */
#define UI_FILE(symbol, file_name, path, gzip_path)                                                                    \
    MA_EMBED(ma_ui_##symbol, path);                                                                                    \
    MA_EMBED(ma_ui_gz_##symbol, gzip_path);
#include "account_files.inc"
#undef UI_FILE

static const struct built_in {
    const char *name;
    const uint8_t *start, *end, *gzip_start, *gzip_end;
} built_ins[] = {
#define UI_FILE(symbol, file_name, path, gzip_path)                                                                    \
    {file_name, ma_ui_##symbol##_start, ma_ui_##symbol##_end, ma_ui_gz_##symbol##_start, ma_ui_gz_##symbol##_end},
#include "account_files.inc"
#undef UI_FILE
};

static const struct {
    const char *suffix, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
};

static const char *type_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < MA_COUNT(types); i++)
        if (strcmp(dot, types[i].suffix) == 0)
            return types[i].type;
    return NULL;
}

static int set_tag(struct ma_ui_file *f)
{
    uint8_t digest[MA_SHA256_LEN];
    int r = ma_sha256(f->plain, digest);
    if (r == MA_OK)
        ma_hex_encode(ma_span_of(digest, TAG_BYTES), f->tag);
    return r;
}

static int add_built_ins(struct ma_ui *ui)
{
    int r = MA_OK;
    for (size_t i = 0; i < MA_COUNT(built_ins) && r == MA_OK; i++) {
        const struct built_in *b = &built_ins[i];
        struct ma_ui_file *f = &ui->files[ui->n++];
        *f = (struct ma_ui_file){.name = b->name,
                                 .type = type_of(b->name),
                                 .plain = ma_span_of(b->start, (size_t)(b->end - b->start)),
                                 .gzip = ma_span_of(b->gzip_start, (size_t)(b->gzip_end - b->gzip_start))};
        r = f->type ? set_tag(f) : MA_E_INVAL;
    }
    return r;
}

const struct ma_ui_file *ma_ui_find(const struct ma_ui *ui, struct ma_span name)
{
    for (size_t i = 0; i < ui->n; i++)
        if (ma_span_eq_str(name, ui->files[i].name))
            return &ui->files[i];
    return NULL;
}

/* --- ui_directory --- */

static bool name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    return name[0] != '.' && name[n] == '\0' && n < NAME_MAX_BYTES && type_of(name) != NULL;
}

static int fault(char why[256], const char *directory, const char *name, const char *what, int r)
{
    (void)snprintf(why, 256, "ui_directory %.100s: %.64s: %s", directory, name, what);
    return r;
}

static int read_all(int fd, struct ma_arena *a, size_t size, struct ma_span *ret)
{
    uint8_t *p = ma_arena_alloc(a, size + 1);
    size_t n = 0;
    if (!p)
        return MA_E_NOMEM;
    while (n < size) {
        ssize_t k = read(fd, p + n, size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return MA_E_IO;
        if (k == 0)
            break;
        n += (size_t)k;
    }
    *ret = ma_span_of(p, n);
    return MA_OK;
}

/* Replaces the built-in file of that name, or joins them. */
static int put_file(struct ma_ui *ui, const char *name, struct ma_span content)
{
    struct ma_ui_file *f = NULL;
    for (size_t i = 0; i < ui->n && !f; i++)
        if (strcmp(ui->files[i].name, name) == 0)
            f = &ui->files[i];
    if (!f && ui->n == MA_UI_FILES_MAX)
        return MA_E_RANGE;
    f = f ? f : &ui->files[ui->n++];
    const char *kept = ma_arena_strdup(ui->arena, ma_span_str(name));
    *f = (struct ma_ui_file){.name = kept ? kept : "", .type = type_of(name), .plain = content};
    return kept ? set_tag(f) : MA_E_NOMEM;
}

static int add_file(struct ma_ui *ui, int dir_fd, const char *directory, const char *name, char why[256])
{
    struct stat st;
    struct ma_span content = MA_SPAN_NULL;
    if (!name_ok(name))
        return fault(why, directory, name, "not a name and type that are served", MA_E_INVAL);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fault(why, directory, name, "cannot be opened", MA_E_IO);
    int r = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size <= MA_UI_FILE_MAX ? MA_OK : MA_E_INVAL;
    if (r == MA_OK)
        r = read_all(fd, ui->arena, (size_t)st.st_size, &content);
    (void)close(fd);
    if (r == MA_OK)
        r = put_file(ui, name, content);
    return r == MA_OK ? MA_OK : fault(why, directory, name, "not a regular file of 1 MiB at most, or too many", r);
}

static int add_directory(struct ma_ui *ui, const char *directory, char why[256])
{
    DIR *d = opendir(directory);
    if (!d)
        return fault(why, directory, ".", "cannot be opened", MA_E_IO);
    int r = MA_OK;
    for (struct dirent *e; r == MA_OK && (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = add_file(ui, dirfd(d), directory, e->d_name, why);
    (void)closedir(d);
    return r;
}

int ma_ui_open(const char *directory, struct ma_ui **ret, char why[256])
{
    _Static_assert(MA_COUNT(built_ins) < MA_UI_FILES_MAX, "room for the files");
    *ret = NULL;
    (void)snprintf(why, 256, "the account page cannot be set up");
    struct ma_ui *ui = calloc(1, sizeof *ui);
    if (!ui)
        return MA_E_NOMEM;
    ui->arena = ma_arena_new(MA_ARENA_FIRST, MA_UI_FILES_MAX * (MA_UI_FILE_MAX + 4096));
    int r = ui->arena ? add_built_ins(ui) : MA_E_NOMEM;
    if (r == MA_OK && directory[0])
        r = add_directory(ui, directory, why);
    if (r != MA_OK) {
        ma_ui_free(ui);
        return r;
    }
    why[0] = '\0';
    *ret = ui;
    return MA_OK;
}

void ma_ui_free(struct ma_ui *ui)
{
    if (!ui)
        return;
    ma_arena_free(ui->arena);
    free(ui);
}

/* --- what the request says --- */

/* The next member of a comma-separated list; *rest is moved on. */
static struct ma_span next_member(struct ma_span *rest)
{
    const uint8_t *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    struct ma_span m = ma_span_of(rest->p, comma ? (size_t)(comma - rest->p) : rest->n);
    size_t used = comma ? m.n + 1 : m.n;
    *rest = ma_span_of(rest->p + used, rest->n - used);
    return ma_trim(m);
}

bool ma_ui_unchanged(struct ma_span if_none_match, const char *tag)
{
    size_t n = strlen(tag);
    for (struct ma_span rest = if_none_match; rest.n > 0;) {
        struct ma_span m = next_member(&rest);
        if (ma_span_eq_str(m, "*"))
            return true;
        if (m.n > 2 && m.p[0] == 'W' && m.p[1] == '/')
            m = ma_span_of(m.p + 2, m.n - 2);
        if (m.n == n + 2 && m.p[0] == '"' && memcmp(m.p + 1, tag, n) == 0 && m.p[n + 1] == '"')
            return true;
    }
    return false;
}

/* q=0, q=0.0 and the like (RFC 9110 §12.4.2) */
static bool refused(struct ma_span parameters)
{
    struct ma_span q = ma_trim(parameters);
    if (q.n < 3 || (q.p[0] != 'q' && q.p[0] != 'Q') || q.p[1] != '=' || q.p[2] != '0')
        return false;
    for (size_t i = 3; i < q.n; i++)
        if (q.p[i] != '.' && q.p[i] != '0')
            return false;
    return true;
}

bool ma_ui_takes_gzip(struct ma_span accept_encoding)
{
    static const char gzip[] = "gzip";
    for (struct ma_span rest = accept_encoding; rest.n > 0;) {
        struct ma_span m = next_member(&rest);
        const uint8_t *semicolon = m.n ? memchr(m.p, ';', m.n) : NULL;
        struct ma_span name = ma_trim(ma_span_of(m.p, semicolon ? (size_t)(semicolon - m.p) : m.n));
        if (name.n != sizeof gzip - 1 || strncasecmp((const char *)name.p, gzip, name.n) != 0)
            continue;
        return !semicolon || !refused(ma_span_of(semicolon + 1, (size_t)(m.p + m.n - semicolon - 1)));
    }
    return false;
}

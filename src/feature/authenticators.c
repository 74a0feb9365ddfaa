/* SPDX-License-Identifier: Apache-2.0
 * The list of passkey providers, sorted for searching.
 */
#include "ma/authenticators.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma/buf.h"
#include "ma/codec.h"
#include "ma/embed.h"
#include "ma/jsonr.h"

MA_EMBED(ma_authenticators_json, "conf/authenticators.json");

#define ICON_PREFIX "data:image/svg+xml;base64,"
enum { UUID_LEN = 36, NAME_MAX_UNITS = 100, LIST_ARENA_MAX = 64 << 20 };

struct entry {
    uint8_t aaguid[16];
    struct ma_span name, icon; /* icon: data URL; p == NULL: none */
};

struct list {
    struct ma_arena *a; /* holds everything */
    struct entry *v;
    size_t n;
};

struct ma_authenticators {
    pthread_rwlock_t lock;
    struct list now;
};

struct ma_authenticators *ma_authenticators_new(void)
{
    struct ma_authenticators *l = calloc(1, sizeof *l);
    if (l)
        (void)pthread_rwlock_init(&l->lock, NULL);
    return l;
}

void ma_authenticators_free(struct ma_authenticators *l)
{
    if (!l)
        return;
    ma_arena_free(l->now.a);
    (void)pthread_rwlock_destroy(&l->lock);
    free(l);
}

/* --- the document --- */

struct item {
    struct ma_span aaguid, name, icon;
};
struct document {
    bool spare; /* has_off 0 means "none" */
    struct ma_span license, icons;
    struct ma_objlist authenticators;
};

static bool is_clean(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

static const struct ma_jfield item_fields[] = {
    {.name = "aaguid",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct item, aaguid),
     .min = UUID_LEN,
     .max = UUID_LEN},
    {.name = "name",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct item, name),
     .min = 1,
     .max = NAME_MAX_UNITS,
     .check = is_clean,
     .check_text = "must not hold control characters"},
    {.name = "icon", .type = MA_F_STR, .off = offsetof(struct item, icon), .min = 1, .max = NAME_MAX_UNITS},
};
static const struct ma_shape item_shape = MA_SHAPE(struct item, item_fields);
static const struct ma_jfield document_fields[] = {
    {.name = "license", .type = MA_F_STR, .off = offsetof(struct document, license)},
    {.name = "icons", .type = MA_F_RAWOBJ, .off = offsetof(struct document, icons)},
    {.name = "authenticators",
     .type = MA_F_OBJLIST,
     .flags = MA_REQ,
     .off = offsetof(struct document, authenticators),
     .sub = &item_shape,
     .max_items = MA_AUTHENTICATORS_MAX},
};
static const struct ma_shape document_shape = MA_SHAPE(struct document, document_fields);

static int fault(char why[256], const char *path, const char *pointer, const char *text)
{
    (void)snprintf(why, 256, "webauthn.authenticators: %.100s: %.60s %.60s", path, pointer, text);
    return MA_E_PARSE;
}

/* 8-4-4-4-12 hex digits. */
static bool parse_uuid(struct ma_span s, uint8_t out[16])
{
    char hex[33];
    size_t n = 0, got = 0;
    for (size_t i = 0; i < s.n && n < 32; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (s.p[i] == '-'))
            return false;
        if (!dash)
            hex[n++] = (char)(s.p[i] >= 'A' && s.p[i] <= 'F' ? s.p[i] + ('a' - 'A') : s.p[i]);
    }
    return s.n == UUID_LEN && n == 32 && ma_hex_decode(ma_span_of(hex, n), out, 16, &got) == MA_OK && got == 16;
}

/* The SVG of that name as a data URL; p == NULL when there is none. */
static int icon_of(const struct ma_json *icons, struct ma_arena *a, struct ma_span name, struct ma_span *ret)
{
    struct ma_span svg;
    *ret = MA_SPAN_NULL;
    int r = icons ? ma_json_at(icons, name, a, &svg) : MA_E_NOTFOUND;
    if (r < 0 || svg.n > MA_AUTHENTICATOR_ICON_MAX)
        return r < 0 ? r : MA_E_NOTFOUND;
    const size_t head = sizeof ICON_PREFIX - 1;
    char *url = ma_arena_alloc(a, head + MA_B64_LEN(svg.n) + 1);
    if (!url)
        return MA_E_NOMEM;
    memcpy(url, ICON_PREFIX, head);
    ma_b64_encode(svg, url + head);
    *ret = ma_span_str(url);
    return MA_OK;
}

static int order(const void *a, const void *b)
{
    return memcmp(((const struct entry *)a)->aaguid, ((const struct entry *)b)->aaguid, 16);
}

static int fill(struct list *l, const struct document *d, const struct ma_json *icons, const char *path, char why[256])
{
    const struct item *items = d->authenticators.v;
    l->n = d->authenticators.n;
    l->v = ma_arena_calloc(l->a, l->n + 1, sizeof *l->v);
    if (!l->v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < l->n; i++) {
        char pointer[48];
        (void)snprintf(pointer, sizeof pointer, "/authenticators/%zu", i);
        l->v[i].name = items[i].name;
        if (!parse_uuid(items[i].aaguid, l->v[i].aaguid))
            return fault(why, path, pointer, "has no AAGUID");
        int r = items[i].icon.p ? icon_of(icons, l->a, items[i].icon, &l->v[i].icon) : MA_OK;
        if (r == MA_E_NOMEM)
            return r;
        if (r < 0)
            return fault(why, path, pointer, "names an icon that is not there");
    }
    qsort(l->v, l->n, sizeof *l->v, order);
    for (size_t i = 1; i < l->n; i++)
        if (order(&l->v[i - 1], &l->v[i]) == 0)
            return fault(why, path, "/authenticators", "has one AAGUID twice");
    return MA_OK;
}

static int read_list(struct ma_span text, struct list *l, const char *path, char why[256])
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL, *icons = NULL;
    struct ma_verrs errs = {.arena = l->a};
    struct document d = {.license = MA_SPAN_NULL};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, l->a, &document_shape, &d, &errs);
    if (r == MA_OK && d.icons.p)
        r = ma_json_parse(d.icons, &icons);
    if (r == MA_E_PARSE)
        return fault(why, path, "", "is no JSON document");
    if (r == MA_E_INVAL)
        return fault(why, path, errs.n ? errs.v[0].pointer : "", errs.n ? errs.v[0].detail : "");
    return r == MA_OK ? fill(l, &d, icons, path, why) : r;
}

/* --- the file --- */

static int read_all(int fd, struct ma_buf *b)
{
    uint8_t chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            return ma_buf_err(b);
        if (n > 0)
            ma_buf_span(b, ma_span_of(chunk, (size_t)n));
        else if (errno != EINTR)
            return MA_E_IO;
        if (ma_buf_err(b) < 0)
            return ma_buf_err(b);
    }
}

static int read_file(const char *path, struct ma_buf *b, char why[256])
{
    char text[128];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r = fd < 0 || fstat(fd, &st) < 0 ? MA_E_IO : MA_OK;
    if (r == MA_OK && !S_ISREG(st.st_mode))
        r = fault(why, path, "", "is no regular file");
    else if (r == MA_OK)
        r = read_all(fd, b);
    if (r == MA_E_IO)
        (void)fault(why, path, "", strerror_r(errno, text, sizeof text));
    else if (r == MA_E_NOMEM || r == MA_E_RANGE || r == MA_E_FULL)
        (void)fault(why, path, "", "is too large");
    if (fd >= 0)
        (void)close(fd);
    return r;
}

int ma_authenticators_load(struct ma_authenticators *l, const char *path, char why[256])
{
    MA_CLEANUP(ma_buf_free) struct ma_buf b;
    ma_buf_init(&b, MA_AUTHENTICATORS_FILE_MAX);
    struct list fresh = {.a = ma_arena_new(MA_ARENA_FIRST, LIST_ARENA_MAX)};
    struct ma_span text =
        ma_span_of(ma_authenticators_json_start, (size_t)(ma_authenticators_json_end - ma_authenticators_json_start));
    int r = !fresh.a ? MA_E_NOMEM : *path ? read_file(path, &b, why) : MA_OK;
    if (r == MA_OK)
        r = read_list(*path ? ma_buf_view(&b) : text, &fresh, *path ? path : "built in", why);
    if (r < 0) {
        ma_arena_free(fresh.a);
        return r;
    }
    (void)pthread_rwlock_wrlock(&l->lock);
    struct list old = l->now;
    l->now = fresh;
    (void)pthread_rwlock_unlock(&l->lock);
    ma_arena_free(old.a);
    return MA_OK;
}

bool ma_authenticator(struct ma_authenticators *l, struct ma_arena *a, const uint8_t aaguid[16],
                      struct ma_span *ret_name, struct ma_span *ret_icon)
{
    static const uint8_t zeros[16];
    struct entry want;
    if (!l || memcmp(aaguid, zeros, sizeof zeros) == 0)
        return false;
    memcpy(want.aaguid, aaguid, sizeof want.aaguid);
    (void)pthread_rwlock_rdlock(&l->lock);
    const struct entry *e = l->now.n ? bsearch(&want, l->now.v, l->now.n, sizeof *e, order) : NULL;
    if (e) {
        *ret_name = ma_arena_dup(a, e->name);
        *ret_icon = e->icon.p ? ma_arena_dup(a, e->icon) : MA_SPAN_NULL;
    }
    (void)pthread_rwlock_unlock(&l->lock);
    return e && ret_name->p;
}

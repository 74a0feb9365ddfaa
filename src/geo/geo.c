/* SPDX-License-Identifier: Apache-2.0
 * The only user of libmaxminddb, which maps the file it opens: it is given a copy of our own, so that nobody who cuts
 * the file off can stop the daemon.
 */
#include "ma/geo.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct ma_geo {
    pthread_rwlock_t lock;
    MMDB_s *db;      /* NULL: none */
    char *directory; /* where copies lie */
};

struct ma_geo *ma_geo_new(const char *beside)
{
    const char *slash = strrchr(beside, '/');
    struct ma_geo *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->directory = slash ? strndup(beside, (size_t)(slash - beside) + 1) : strdup(".");
    if (!g->directory) {
        free(g);
        return NULL;
    }
    (void)pthread_rwlock_init(&g->lock, NULL);
    return g;
}

static void db_free(MMDB_s *db)
{
    if (!db)
        return;
    MMDB_close(db);
    free(db);
}

void ma_geo_free(struct ma_geo *g)
{
    if (!g)
        return;
    db_free(g->db);
    (void)pthread_rwlock_destroy(&g->lock);
    free(g->directory);
    free(g);
}

static int fault(char why[256], int err, const char *path, const char *text)
{
    (void)snprintf(why, 256, "geo.database: %.120s: %.100s", path, text);
    return err;
}

static int fault_errno(char why[256], const char *path)
{
    char text[128];
    return fault(why, MA_E_IO, path, strerror_r(errno, text, sizeof text));
}

static int copy_all(int from, int to, size_t n)
{
    while (n > 0) {
        ssize_t got = sendfile(to, from, NULL, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return MA_E_IO;
        n -= (size_t)got;
    }
    return MA_OK;
}

/* An unnamed file, which is gone when nobody has it open or mapped. */
static int scratch(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : fd;
}

/* A descriptor of the copy, or an error. */
static int copy_file(const char *path, const char *directory, char why[256])
{
    struct stat st;
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us up */
    if (from < 0)
        return fault_errno(why, path);
    int to = -1, r = MA_OK;
    if (fstat(from, &st) < 0)
        r = fault_errno(why, path);
    else if (!S_ISREG(st.st_mode))
        r = fault(why, MA_E_PARSE, path, "is no regular file");
    else if ((uintmax_t)st.st_size > MA_GEO_FILE_MAX)
        r = fault(why, MA_E_RANGE, path, "is too large");
    else if ((to = scratch(directory)) < 0 || copy_all(from, to, (size_t)st.st_size) < 0)
        r = fault_errno(why, path);
    (void)close(from);
    if (r == MA_OK)
        return to;
    if (to >= 0)
        (void)close(to);
    return r;
}

static int open_db(const char *path, const char *directory, MMDB_s **ret, char why[256])
{
    char name[32];
    int fd = copy_file(path, directory, why);
    if (fd < 0)
        return fd;
    MMDB_s *db = calloc(1, sizeof *db);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int status = db ? MMDB_open(name, MMDB_MODE_MMAP, db) : MMDB_OUT_OF_MEMORY_ERROR;
    (void)close(fd); /* the map stays */
    if (status != MMDB_SUCCESS) {
        free(db);
        return status == MMDB_OUT_OF_MEMORY_ERROR ? MA_E_NOMEM : fault(why, MA_E_PARSE, path, MMDB_strerror(status));
    }
    *ret = db;
    return MA_OK;
}

int ma_geo_load(struct ma_geo *g, const char *path, char why[256])
{
    MMDB_s *fresh = NULL;
    int r = *path ? open_db(path, g->directory, &fresh, why) : MA_OK;
    if (r < 0)
        return r;
    (void)pthread_rwlock_wrlock(&g->lock);
    MMDB_s *old = g->db;
    g->db = fresh;
    (void)pthread_rwlock_unlock(&g->lock);
    db_free(old);
    return MA_OK;
}

/* IPv4 addresses are looked up as such: a database of them alone has no others. */
static MMDB_lookup_result_s look_up(const MMDB_s *db, const struct ma_addr *a, int *err)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (memcmp(a->b, mapped, sizeof mapped) == 0) {
        memcpy(&v4.sin_addr, a->b + sizeof mapped, 4);
        return MMDB_lookup_sockaddr(db, (const struct sockaddr *)&v4, err);
    }
    memcpy(&v6.sin6_addr, a->b, sizeof a->b);
    return MMDB_lookup_sockaddr(db, (const struct sockaddr *)&v6, err);
}

/* --- records --- */

/* Data of a record, read byte by byte (MaxMind DB 2.0, "Data Section"). */
struct walk {
    const uint8_t *p;
    size_t at, n;
};
enum { T_POINTER = 1, T_MAP = 7, T_ARRAY = 11, T_CONTAINER = 12, T_END = 13, T_BOOLEAN = 14, EXTENDED = 7 };
enum { DEPTH_MAX = 16, VALUES_MAX = 4096 }; /* records of the databases that there are: 4 and 200 */

static bool next_byte(struct walk *w, uint32_t *ret)
{
    if (w->at >= w->n)
        return false;
    *ret = w->p[w->at++];
    return true;
}

static bool next_size(struct walk *w, uint32_t *size)
{
    static const uint32_t base[] = {29, 285, 65821};
    if (*size < base[0])
        return true;
    uint32_t more = *size - base[0] + 1, value = 0, b;
    for (uint32_t i = 0; i < more; i++) {
        if (!next_byte(w, &b))
            return false;
        value = value << 8 | b;
    }
    *size = base[more - 1] + value;
    return true;
}

/* The type of the value, and how many values are in it: what is no map or array is passed over. */
static bool next_value(struct walk *w, uint32_t *type, uint32_t *inner)
{
    uint32_t control, size;
    *inner = 0;
    if (!next_byte(w, &control))
        return false;
    *type = control >> 5;
    size = control & 0x1f;
    if (*type == T_POINTER) {
        w->at += (size >> 3) + 1;
        return w->at <= w->n;
    }
    if (*type == 0) {
        if (!next_byte(w, type))
            return false;
        *type += EXTENDED;
    }
    if (!next_size(w, &size) || *type == T_CONTAINER || *type == T_END)
        return false;
    if (*type == T_MAP || *type == T_ARRAY)
        *inner = *type == T_MAP ? 2 * size : size;
    else if (*type != T_BOOLEAN)
        w->at += size;
    return w->at <= w->n;
}

/* A map that the library can look into: it calls itself for every level of what it passes over, so that a record of
 * many levels would use up the stack. Pointers are not followed, here or there. */
static bool is_plain_map(const MMDB_entry_s *entry)
{
    struct walk w = {entry->mmdb->data_section, entry->offset, entry->mmdb->data_section_size};
    uint32_t left[DEPTH_MAX + 1] = {0}, type;
    if (!next_value(&w, &type, &left[0]) || type != T_MAP)
        return false;
    for (int depth = 0, seen = 0; depth >= 0;) {
        if (left[depth] == 0) {
            depth--;
            continue;
        }
        left[depth]--;
        if (depth == DEPTH_MAX || ++seen > VALUES_MAX || !next_value(&w, &type, &left[depth + 1]))
            return false;
        depth++;
    }
    return true;
}

static bool is_letter(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* One member of a map at a time, each map looked over first. */
static bool read_code(MMDB_entry_s *entry, const char *member, char out[MA_COUNTRY_LEN + 1])
{
    const char *const outer[] = {member, NULL}, *const inner[] = {"iso_code", NULL};
    MMDB_entry_data_s d;
    if (MMDB_aget_value(entry, &d, outer) != MMDB_SUCCESS || !d.has_data || d.type != MMDB_DATA_TYPE_MAP)
        return false;
    MMDB_entry_s country = {entry->mmdb, d.offset};
    if (!is_plain_map(&country) || MMDB_aget_value(&country, &d, inner) != MMDB_SUCCESS || !d.has_data ||
        d.type != MMDB_DATA_TYPE_UTF8_STRING || d.data_size != MA_COUNTRY_LEN || !is_letter(d.utf8_string[0]) ||
        !is_letter(d.utf8_string[1]))
        return false;
    memcpy(out, d.utf8_string, MA_COUNTRY_LEN);
    out[MA_COUNTRY_LEN] = '\0';
    return true;
}

static bool country_of(const MMDB_s *db, const struct ma_addr *a, char out[MA_COUNTRY_LEN + 1])
{
    int err = MMDB_SUCCESS;
    MMDB_lookup_result_s found = look_up(db, a, &err);
    if (err != MMDB_SUCCESS || !found.found_entry || !is_plain_map(&found.entry))
        return false;
    return read_code(&found.entry, "country", out) || read_code(&found.entry, "registered_country", out);
}

bool ma_geo_country(struct ma_geo *g, struct ma_span address, char out[MA_COUNTRY_LEN + 1])
{
    struct ma_addr a;
    if (!g || address.n == 0 || ma_addr_parse(address, &a) < 0)
        return false;
    (void)pthread_rwlock_rdlock(&g->lock);
    bool known = g->db && country_of(g->db, &a, out);
    (void)pthread_rwlock_unlock(&g->lock);
    return known;
}

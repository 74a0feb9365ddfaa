/* SPDX-License-Identifier: Apache-2.0
 * Lists of breached passwords: building, searching, damage, files that shrink, and the rule made of it.
 */
#include "ma/breached.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/breach/int.h"
#include "ma/crypto.h"
#include "ma/password.h"

static char dir[64], list[80], text[80];

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    (void)snprintf(dir, sizeof dir, "/tmp/ma-breached-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(list, sizeof list, "%s/list", dir);
    (void)snprintf(text, sizeof text, "%s/text", dir);
}

static void teardown(void)
{
    (void)unlink(list);
    (void)unlink(text);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left there */
}

/* --- helpers --- */

static void write_file(const char *path, struct ma_span s)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(s.p ? (const void *)s.p : "", 1, s.n, f), s.n);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, 0644), 0);
}

static struct ma_breached_build build_of(unsigned prefix_bytes)
{
    return (struct ma_breached_build){
        .input = text, .output = list, .prefix_bytes = prefix_bytes, .min_count = 1, .memory_mib = 1};
}

static struct ma_breached_built make(const struct ma_breached_build *in)
{
    struct ma_breached_built built;
    char why[256];
    int r = ma_breached_make(in, &built, why);
    ck_assert_msg(r == MA_OK, "%s", why);
    return built;
}

static struct ma_breached_file *open_list(void)
{
    struct ma_breached_file *f = NULL;
    char why[256] = "";
    int r = ma_breached_open(list, &f, why);
    ck_assert_msg(r == MA_OK, "%s", why);
    return f;
}

/* A sequence that looks random and can be repeated. */
static void hash_no(uint64_t seed, uint64_t i, uint8_t out[MA_SHA1_LEN])
{
    uint8_t in[16];
    breach_put(in, seed, 8);
    breach_put(in + 8, i, 8);
    ck_assert_int_eq(ma_sha1(ma_span_of(in, sizeof in), out), MA_OK);
}

static void put_hash(FILE *f, const uint8_t hash[MA_SHA1_LEN], const char *rest)
{
    char line[2 * MA_SHA1_LEN + 1];
    for (size_t i = 0; i < MA_SHA1_LEN; i++) {
        line[2 * i] = "0123456789ABCDEF"[hash[i] >> 4];
        line[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    line[2 * MA_SHA1_LEN] = '\0';
    (void)fputs(line, f);
    (void)fputs(rest, f);
}

static void write_hashes(uint64_t seed, uint64_t n)
{
    uint8_t hash[MA_SHA1_LEN];
    FILE *f = fopen(text, "w");
    ck_assert_ptr_nonnull(f);
    for (uint64_t i = 0; i < n; i++) {
        hash_no(seed, i, hash);
        put_hash(f, hash, ":7\r\n");
    }
    ck_assert_int_eq(fclose(f), 0);
}

static int find_password(const struct ma_breached_file *f, const char *password)
{
    uint8_t hash[MA_SHA1_LEN];
    ck_assert_int_eq(ma_sha1(ma_span_str(password), hash), MA_OK);
    return ma_breached_search(f, hash);
}

/* --- building and searching --- */

/* SHA-1 of password, 123456 and qwerty, as the public lists spell them. */
#define H_PASSWORD "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8"
#define H_123456 "7C4A8D09CA3762AF61E59520943DC26494F8941B"
#define H_QWERTY "b1b3773a05c0ed0176787a4f1574ff0075f7521e"

START_TEST(test_text_forms)
{
    static const struct {
        const char *text;
        uint64_t min;
        bool password, number, qwerty;
        uint64_t lines, kept;
    } rows[] = {
        {H_PASSWORD ":10\r\n" H_123456 ":20\r\n" H_QWERTY ":30\r\n", 1, true, true, true, 3, 3},
        {H_PASSWORD ":10\n" H_123456 ":20\n" H_QWERTY ":30", 1, true, true, true, 3, 3},
        {H_PASSWORD ":10\n" H_123456 ":20\n" H_QWERTY ":30\n", 20, false, true, true, 3, 2},
        {H_QWERTY ":30\n" H_PASSWORD ":10\n", 1, true, false, true, 2, 2},
        {H_QWERTY "\n" H_PASSWORD "\n", 1, true, false, true, 2, 2},
        {H_QWERTY "\n" H_PASSWORD ":2\n", 2, true, false, false, 2, 1},
        {"\xef\xbb\xbf" H_QWERTY ":1\n\r\n\n", 1, false, false, true, 3, 1},
        {H_QWERTY ":1\n" H_QWERTY ":1\n", 1, false, false, true, 2, 2},
        {H_QWERTY ":0\n", 1, false, false, false, 1, 0},
        {"", 1, false, false, false, 0, 0},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        write_file(text, ma_span_str(rows[i].text));
        struct ma_breached_build in = build_of(MA_BREACHED_PREFIX_DEFAULT);
        in.min_count = rows[i].min;
        struct ma_breached_built built = make(&in);
        ck_assert_uint_eq(built.lines, rows[i].lines);
        ck_assert_uint_eq(built.kept, rows[i].kept);
        struct ma_breached_file *f = open_list();
        char why[256];
        ck_assert_int_eq(ma_breached_verify(f, why), MA_OK);
        ck_assert_int_eq(find_password(f, "password"), rows[i].password ? MA_OK : MA_E_NOTFOUND);
        ck_assert_int_eq(find_password(f, "123456"), rows[i].number ? MA_OK : MA_E_NOTFOUND);
        ck_assert_int_eq(find_password(f, "qwerty"), rows[i].qwerty ? MA_OK : MA_E_NOTFOUND);
        ck_assert_int_eq(find_password(f, "Password"), MA_E_NOTFOUND);
        struct ma_breached_info info;
        ma_breached_describe(f, &info);
        ck_assert_uint_eq(info.count, (uint64_t)(rows[i].password + rows[i].number + rows[i].qwerty));
        ck_assert_uint_eq(info.min_count, rows[i].min);
        ma_breached_close(f);
    }
}
END_TEST

START_TEST(test_bad_lines)
{
    static const struct {
        const char *text, *line;
    } rows[] = {
        {"hello\n", "line 1:"},
        {H_QWERTY ":1\n" H_QWERTY "x\n", "line 2:"},
        {H_QWERTY ":1\n\n" H_QWERTY ":\n", "line 3:"},
        {H_QWERTY ":-1\n", "line 1:"},
        {H_QWERTY ": 1\n", "line 1:"},
        {H_QWERTY ":99999999999999999999\n", "line 1:"},
        {"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD:1\n", "line 1:"},
        {"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FDG:1\n", "line 1:"},
        {H_QWERTY ":1\r\r\n", "line 1:"},
    };
    write_file(list, MA_LIT("what was there"));
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_breached_build in = build_of(7);
        struct ma_breached_built built;
        char why[256];
        write_file(text, ma_span_str(rows[i].text));
        ck_assert_int_eq(ma_breached_make(&in, &built, why), MA_E_PARSE);
        ck_assert_msg(strncmp(why, rows[i].line, strlen(rows[i].line)) == 0, "%s", why);
        struct stat st;
        ck_assert_int_eq(stat(list, &st), 0);
        ck_assert_int_eq(st.st_size, 14); /* untouched */
    }
}
END_TEST

START_TEST(test_endless_line)
{
    struct ma_breached_build in = build_of(7);
    struct ma_breached_built built;
    char why[256], *long_line = malloc(3u << 20);
    ck_assert_ptr_nonnull(long_line);
    memset(long_line, 'A', 3u << 20);
    write_file(text, ma_span_of(long_line, 3u << 20));
    free(long_line);
    ck_assert_int_eq(ma_breached_make(&in, &built, why), MA_E_PARSE);
    ck_assert_ptr_nonnull(strstr(why, "longer"));
    in.input = "/nonexistent";
    ck_assert_int_eq(ma_breached_make(&in, &built, why), MA_E_IO);
    in.input = text;
    in.output = "/nonexistent/list";
    ck_assert_int_eq(ma_breached_make(&in, &built, why), MA_E_IO);
}
END_TEST

/* More than fits into memory, in any order and with doubles: found is what is there, and nothing else. */
START_TEST(test_many)
{
    enum { N = 120000 };
    static const unsigned lengths[] = {5, 7, 8, 20};
    struct ma_breached_build in = build_of(lengths[_i]);
    uint8_t hash[MA_SHA1_LEN];
    char why[256];
    write_hashes(1, N);
    FILE *f = fopen(text, "a");
    ck_assert_ptr_nonnull(f);
    for (uint64_t i = 0; i < N; i += 3) {
        hash_no(1, i, hash);
        put_hash(f, hash, "\n");
    }
    ck_assert_int_eq(fclose(f), 0);
    struct ma_breached_built built = make(&in);
    ck_assert_uint_eq(built.lines, N + (N + 2) / 3);
    ck_assert_uint_eq(built.info.count, N);
    struct ma_breached_file *l = open_list();
    ck_assert_int_eq(ma_breached_verify(l, why), MA_OK);
    for (uint64_t i = 0; i < N; i += 17) {
        hash_no(1, i, hash);
        ck_assert_int_eq(ma_breached_search(l, hash), MA_OK);
        hash_no(2, i, hash);
        ck_assert_int_eq(ma_breached_search(l, hash), MA_E_NOTFOUND);
    }
    ma_breached_close(l);
}
END_TEST

/* Where guessing by value is worst: all but a few hashes lie together. */
START_TEST(test_lumps)
{
    uint8_t hash[MA_SHA1_LEN] = {0};
    struct ma_breached_build in = build_of(8);
    FILE *f = fopen(text, "w");
    ck_assert_ptr_nonnull(f);
    put_hash(f, hash, "\n");
    for (uint64_t i = 0; i < 100000; i++) {
        breach_put(hash, UINT64_MAX / 2 + i * 2, 8);
        put_hash(f, hash, "\n");
    }
    memset(hash, 0xff, sizeof hash);
    put_hash(f, hash, "\n");
    ck_assert_int_eq(fclose(f), 0);
    (void)make(&in);
    struct ma_breached_file *l = open_list();
    ck_assert_int_eq(ma_breached_search(l, hash), MA_OK);
    for (uint64_t i = 0; i < 100000; i += 61) {
        breach_put(hash, UINT64_MAX / 2 + i * 2, 8);
        ck_assert_int_eq(ma_breached_search(l, hash), MA_OK);
        breach_put(hash, UINT64_MAX / 2 + i * 2 + 1, 8);
        ck_assert_int_eq(ma_breached_search(l, hash), MA_E_NOTFOUND);
    }
    breach_put(hash, 1, 8);
    ck_assert_int_eq(ma_breached_search(l, hash), MA_E_NOTFOUND);
    ma_breached_close(l);
}
END_TEST

/* --- damage --- */

static void expect_refusal(int code, const char *word)
{
    struct ma_breached_file *f = NULL;
    char why[256] = "";
    int r = ma_breached_open(list, &f, why);
    ck_assert_msg(r == code && !f && strstr(why, word), "%s: %s (%s)", ma_err_name(r), why, word);
}

static void flip(off_t at)
{
    uint8_t b;
    int fd = open(list, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &b, 1, at), 1);
    (void)close(fd);
}

START_TEST(test_refused)
{
    struct ma_breached_build in = build_of(7);
    write_hashes(3, 3000);
    struct ma_breached_built built = make(&in);
    off_t size = (off_t)built.info.bytes;
    for (off_t at = 0; at < (off_t)PAGE_BYTES; at += at < 40 || at > 4060 ? 1 : 97) {
        flip(at);
        expect_refusal(MA_E_PARSE, "list");
        flip(at);
    }
    flip(PAGE_BYTES + 5); /* first page of prefixes */
    expect_refusal(MA_E_PARSE, "is damaged");
    flip(PAGE_BYTES + 5);
    flip(size - 1); /* sum of the last */
    expect_refusal(MA_E_PARSE, "is damaged");
    flip(size - 1);
    ck_assert_int_eq(truncate(list, size + PAGE_BYTES), 0);
    expect_refusal(MA_E_PARSE, "is longer than it says");
    ck_assert_int_eq(truncate(list, size - PAGE_BYTES), 0);
    expect_refusal(MA_E_PARSE, "is cut short");
    ck_assert_int_eq(truncate(list, size - 1), 0);
    expect_refusal(MA_E_PARSE, "is cut short");
    ck_assert_int_eq(truncate(list, 0), 0);
    expect_refusal(MA_E_PARSE, "is cut short");
    (void)make(&in);
    ck_assert_int_eq(chmod(list, 0646), 0);
    expect_refusal(MA_E_PERM, "everybody");
    ck_assert_int_eq(unlink(list), 0);
    expect_refusal(MA_E_NOTFOUND, "No such file");
    ck_assert_int_eq(mkfifo(list, 0600), 0);
    expect_refusal(MA_E_PERM, "regular");
}
END_TEST

/* A header that is well summed and lies about the size: the product overflows, or does not fit the file. */
START_TEST(test_lying_header)
{
    static const struct ma_breached_info lies[] = {
        {.count = UINT64_MAX, .prefix_bytes = 5},
        {.count = UINT64_MAX, .prefix_bytes = 20},
        {.count = UINT64_MAX / 2, .prefix_bytes = 7},
        {.count = 1, .prefix_bytes = 4},
        {.count = 1, .prefix_bytes = 21},
        {.count = 1, .prefix_bytes = 0},
        {.count = 1, .prefix_bytes = UINT32_MAX},
        {.count = 0, .prefix_bytes = 7},
        {.count = PAGE_DATA / 7 + 1, .prefix_bytes = 7},
    };
    uint8_t file[2 * PAGE_BYTES] = {0};
    ck_assert_int_eq(breach_header_write(&lies[_i], file), MA_OK);
    ck_assert_int_eq(breach_page_seal(file + PAGE_BYTES, 1), MA_OK);
    write_file(list, ma_span_of(file, sizeof file));
    expect_refusal(MA_E_PARSE, "list");
}
END_TEST

START_TEST(test_damaged_page)
{
    struct ma_breached_build in = build_of(7);
    uint8_t hash[MA_SHA1_LEN];
    char why[256] = "";
    size_t damaged = 0, found = 0;
    write_hashes(4, 5000);
    (void)make(&in);
    flip(3 * PAGE_BYTES + 100);
    struct ma_breached_file *f = open_list();
    for (uint64_t i = 0; i < 5000; i++) {
        hash_no(4, i, hash);
        int r = ma_breached_search(f, hash);
        damaged += r == MA_E_IO;
        found += r == MA_OK;
    }
    ck_assert_uint_eq(damaged + found, 5000); /* never "not there" */
    ck_assert_uint_ge(damaged, 500);
    ck_assert_uint_gt(found, 0);
    ck_assert_int_eq(ma_breached_verify(f, why), MA_E_PARSE);
    ck_assert_str_eq(why, "page 3 is damaged");
    ma_breached_close(f);
}
END_TEST

START_TEST(test_out_of_order)
{
    uint8_t file[2 * PAGE_BYTES];
    char why[256] = "";
    struct ma_breached_info info = {.count = 2, .prefix_bytes = 7};
    memset(file, 0xff, sizeof file);
    ck_assert_int_eq(breach_header_write(&info, file), MA_OK);
    memset(file + PAGE_BYTES, 9, 7);
    memset(file + PAGE_BYTES + 7, 8, 7);
    ck_assert_int_eq(breach_page_seal(file + PAGE_BYTES, 1), MA_OK);
    write_file(list, ma_span_of(file, sizeof file));
    struct ma_breached_file *f = open_list();
    ck_assert_int_eq(ma_breached_verify(f, why), MA_E_PARSE);
    ck_assert_str_eq(why, "page 1 is out of order");
    ma_breached_close(f);
}
END_TEST

/* Cut off while it is searched: no signal, no wrong answer. */
START_TEST(test_shrinks)
{
    struct ma_breached_build in = build_of(7);
    uint8_t hash[MA_SHA1_LEN];
    char why[256];
    write_hashes(5, 5000);
    off_t size = (off_t)make(&in).info.bytes;
    struct ma_breached_file *f = open_list();
    ck_assert_int_eq(truncate(list, _i ? PAGE_BYTES : 0), 0);
    for (uint64_t i = 0; i < 5000; i += 13) {
        hash_no(5, i, hash);
        ck_assert_int_eq(ma_breached_search(f, hash), MA_E_IO);
    }
    ck_assert_int_eq(ma_breached_verify(f, why), MA_E_PARSE);
    ck_assert_int_eq(truncate(list, size), 0);
    ck_assert_int_eq(ma_breached_search(f, hash), MA_E_IO);
    ma_breached_close(f);
    (void)make(&in);
    f = open_list();
    ck_assert_int_eq(ma_breached_search(f, hash), MA_OK);
    ma_breached_close(f);
}
END_TEST

/* The handler is for our maps only: somebody else's bus error ends the process as ever. */
START_TEST(test_other_faults)
{
    struct ma_breached_build in = build_of(7);
    write_hashes(6, 10);
    (void)make(&in);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        struct ma_breached_file *f = NULL;
        char why[256];
        int fd = open(text, O_RDWR);
        volatile uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED || ma_breached_open(list, &f, why) < 0 || truncate(text, 0) < 0)
            _exit(3);
        _exit(p[0] ? 4 : 5);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status %x", (unsigned)status);
}
END_TEST

START_TEST(test_too_many_open)
{
    struct ma_breached_file *v[9] = {NULL};
    struct ma_breached_build in = build_of(7);
    char why[256];
    write_hashes(7, 10);
    (void)make(&in);
    for (size_t i = 0; i < 8; i++)
        v[i] = open_list();
    ck_assert_int_eq(ma_breached_open(list, &v[8], why), MA_E_RANGE);
    ma_breached_close(v[3]);
    v[3] = open_list();
    for (size_t i = 0; i < 8; i++)
        ma_breached_close(v[i]);
}
END_TEST

/* --- the daemon's list --- */

static struct ma_breached *shared;
static atomic_bool stop;
static atomic_size_t wrong, asked;

static void *ask(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        if (ma_breached_has(shared, MA_LIT("password")) != MA_OK)
            atomic_fetch_add(&wrong, 1);
        if (ma_breached_has(shared, MA_LIT("correct horse")) != MA_E_NOTFOUND)
            atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&asked, 1);
    }
    return NULL;
}

START_TEST(test_replaced_under_search)
{
    struct ma_breached_build in = build_of(7);
    pthread_t v[3];
    char why[256];
    write_file(text, MA_LIT(H_PASSWORD ":1\n" H_QWERTY ":1\n"));
    (void)make(&in);
    shared = ma_breached_new(NULL);
    ck_assert_ptr_nonnull(shared);
    ck_assert_int_eq(ma_breached_has(shared, MA_LIT("password")), MA_E_NOTFOUND); /* no file yet */
    ck_assert_int_eq(ma_breached_load(shared, list, why), MA_OK);
    for (size_t i = 0; i < MA_COUNT(v); i++)
        ck_assert_int_eq(pthread_create(&v[i], NULL, ask, NULL), 0);
    for (int i = 0; i < 20 || atomic_load(&asked) < 100; i++) {
        (void)make(&in);
        ck_assert_int_eq(ma_breached_load(shared, list, why), MA_OK);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < MA_COUNT(v); i++)
        ck_assert_int_eq(pthread_join(v[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    ck_assert_int_eq(ma_breached_load(shared, "/nonexistent", why), MA_E_NOTFOUND);
    ck_assert_int_eq(ma_breached_has(shared, MA_LIT("password")), MA_OK); /* the old one goes on */
    ck_assert_int_eq(ma_breached_load(shared, "", why), MA_OK);
    ck_assert_int_eq(ma_breached_has(shared, MA_LIT("password")), MA_E_NOTFOUND);
    ma_breached_free(shared);
}
END_TEST

static size_t judge(struct ma_breached *b, const char *password, const char **ret_first)
{
    static const struct ma_password_policy policy = {.min_length = 1};
    const char *broken[MA_PASSWORD_RULES_MAX] = {NULL};
    struct ma_span effective;
    struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    size_t n = ma_password_check(a, &policy, ma_span_str(password), NULL, b, broken, &effective);
    *ret_first = n ? broken[0] : NULL;
    ma_arena_free(a);
    return n;
}

/* 80 times "a", and its first 72 bytes, which is what is kept of it. */
START_TEST(test_rule)
{
    char typed[81] = "", kept[73] = "", why[256];
    const char *first = NULL;
    memset(typed, 'a', 80);
    memset(kept, 'a', 72);
    const char *const on_list[] = {"password", _i ? typed : kept};
    uint8_t hash[MA_SHA1_LEN];
    FILE *f = fopen(text, "w");
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < MA_COUNT(on_list); i++) {
        ck_assert_int_eq(ma_sha1(ma_span_str(on_list[i]), hash), MA_OK);
        put_hash(f, hash, "\n");
    }
    ck_assert_int_eq(fclose(f), 0);
    struct ma_breached_build in = build_of(7);
    (void)make(&in);
    struct ma_breached *b = ma_breached_new(NULL);
    ck_assert_uint_eq(judge(b, "password", &first), 0);
    ck_assert_int_eq(ma_breached_load(b, list, why), MA_OK);
    ck_assert_uint_eq(judge(b, "password", &first), 1);
    ck_assert_str_eq(first, "Must not be a password that is known from a data breach");
    ck_assert_uint_eq(judge(b, typed, &first), 1); /* whichever of the two is known */
    ck_assert_uint_eq(judge(b, "something else", &first), 0);
    ck_assert_int_eq(truncate(list, 0), 0);
    ck_assert_uint_eq(judge(b, "something else", &first), 1); /* nobody can tell: not taken */
    ck_assert_ptr_nonnull(strstr(first, "try again"));
    ma_breached_free(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("breached");
    TCase *tc = tcase_create("breached");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_text_forms);
    tcase_add_test(tc, test_bad_lines);
    tcase_add_test(tc, test_endless_line);
    tcase_add_loop_test(tc, test_many, 0, 4);
    tcase_add_test(tc, test_lumps);
    tcase_add_test(tc, test_refused);
    tcase_add_loop_test(tc, test_lying_header, 0, 9);
    tcase_add_test(tc, test_damaged_page);
    tcase_add_test(tc, test_out_of_order);
    tcase_add_loop_test(tc, test_shrinks, 0, 2);
    tcase_add_test(tc, test_other_faults);
    tcase_add_test(tc, test_too_many_open);
    tcase_add_test(tc, test_replaced_under_search);
    tcase_add_loop_test(tc, test_rule, 0, 2);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

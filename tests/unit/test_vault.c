/* SPDX-License-Identifier: Apache-2.0
 * The vault: creation, sealing, moved and changed blobs, the key ring file, file guards, secret references.
 */
#include "ma/vault.h"

#include "ma/codec.h"
#include "ma/crypto.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_MAX_T 256
#define RING_HEAD "# myaccountd vault keys 1: id created base64url(key)\n"
/* 32 bytes of 1 and of 2 in base64url. */
#define KEY1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
#define KEY2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"

static struct ma_arena *arena;
static char top[64];         /* removed after the test */
static char dir[PATH_MAX_T]; /* the key directory inside it */
static char why[256];

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    snprintf(top, sizeof top, "/tmp/ma_vault_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/keys", top);
    memset(why, 'x', sizeof why);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    nftw(top, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    ma_arena_free(arena);
    ma_crypto_cleanup();
}

static const char *path_of(const char *name)
{
    const char *p = ma_arena_printf(arena, "%s/%s", dir, name);

    ck_assert_ptr_nonnull(p);
    return p;
}

static int try_open(void)
{
    struct ma_vault *v = NULL;
    const int rc = ma_vault_open(dir, ma_rand_system(), &v, why);

    ck_assert((rc == MA_OK) == (v != NULL));
    ck_assert(memchr(why, '\0', sizeof why) != NULL);
    ck_assert((rc == MA_OK) == (why[0] == '\0'));
    ma_vault_close(v);
    return rc;
}

static struct ma_vault *open_vault(void)
{
    struct ma_vault *v = NULL;
    const int rc = ma_vault_open(dir, ma_rand_system(), &v, why);

    ck_assert_msg(rc == MA_OK, "%s: %s", ma_err_name(rc), why);
    return v;
}

/* Failed with this status and a text that names the file and the fault. */
static void expect(int want, const char *name, const char *fault)
{
    const int rc = try_open();

    ck_assert_msg(rc == want, "%s: %s", ma_err_name(rc), why);
    ck_assert_msg(strstr(why, name) && strstr(why, fault), "%s", why);
}

static void write_path(const char *path, struct ma_span text, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text.p, text.n), (int)text.n);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void write_file(const char *name, const char *text)
{
    write_path(path_of(name), ma_span_str(text), 0600);
}

static struct ma_span read_file(const char *name)
{
    uint8_t *p = ma_arena_alloc(arena, 4096);
    const int fd = open(path_of(name), O_RDONLY);

    ck_assert_int_ge(fd, 0);
    const ssize_t n = read(fd, p, 4096);
    ck_assert_int_ge(n, 0);
    close(fd);
    return ma_span_of(p, (size_t)n);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static const struct ma_seal_id id1 = {"totp", "secret", MA_LIT("totp|dev_1"), MA_LIT("auth0|1")};

static struct ma_span seal(struct ma_vault *v, const struct ma_seal_id *id, struct ma_span plain)
{
    struct ma_span sealed;

    ck_assert_int_eq(ma_vault_seal(v, arena, id, plain, &sealed), MA_OK);
    ck_assert_uint_eq(sealed.n, plain.n + MA_SEAL_OVERHEAD);
    return sealed;
}

static int unseal(struct ma_vault *v, const struct ma_seal_id *id, struct ma_span sealed, struct ma_span *plain)
{
    const int rc = ma_vault_open_blob(v, arena, id, sealed, plain);

    ck_assert((rc == MA_OK) == (plain->p != NULL));
    return rc;
}

/* --- creation and sealing --- */

START_TEST(creates_closed_files)
{
    static const char *const names[] = {"vault.keys", "pepper", "vault.canary"};
    struct stat st;

    umask(0);
    ma_vault_close(open_vault());
    ck_assert_int_eq(stat(dir, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        ck_assert_int_eq(stat(path_of(names[i]), &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
    }
    ck_assert(!exists("vault.keys.new"));
    ck_assert_uint_eq(read_file("pepper").n, 32);
    ck_assert_int_eq(strncmp((const char *)read_file("vault.keys").p, RING_HEAD "1 ", sizeof RING_HEAD + 1), 0);
}
END_TEST

START_TEST(seals_survive_reopening)
{
    struct ma_vault *v = open_vault();
    const struct ma_span sealed = seal(v, &id1, MA_LIT("seed")), empty = seal(v, &id1, MA_SPAN_NULL);
    struct ma_span plain;
    uint8_t one[32], two[32];

    ck_assert_mem_eq(sealed.p, "\x01\x00\x00\x00\x01", 5);
    ck_assert_int_eq(ma_vault_mac(v, "otp", MA_LIT("c"), MA_LIT("123456"), one), MA_OK);
    ma_vault_close(v);
    v = open_vault();
    ck_assert_int_eq(unseal(v, &id1, sealed, &plain), MA_OK);
    ck_assert(ma_span_eq_str(plain, "seed"));
    ck_assert_int_eq(unseal(v, &id1, empty, &plain), MA_OK);
    ck_assert_uint_eq(plain.n, 0);
    ck_assert_int_eq(ma_vault_mac(v, "otp", MA_LIT("c"), MA_LIT("123456"), two), MA_OK);
    ck_assert_mem_eq(one, two, sizeof one);
    ma_vault_close(v);
}
END_TEST

START_TEST(equal_plaintexts_seal_differently)
{
    struct ma_vault *v = open_vault();

    ck_assert(!ma_span_eq(seal(v, &id1, MA_LIT("seed")), seal(v, &id1, MA_LIT("seed"))));
    ma_vault_close(v);
}
END_TEST

static const struct {
    const char *name;
    struct ma_seal_id id;
} moved_rows[] = {
    {"table", {"otpx", "secret", MA_LIT("totp|dev_1"), MA_LIT("auth0|1")}},
    {"column", {"totp", "secreT", MA_LIT("totp|dev_1"), MA_LIT("auth0|1")}},
    {"row", {"totp", "secret", MA_LIT("totp|dev_2"), MA_LIT("auth0|1")}},
    {"user", {"totp", "secret", MA_LIT("totp|dev_1"), MA_LIT("auth0|2")}},
    {"no user", {"totp", "secret", MA_LIT("totp|dev_1"), {NULL, 0}}},
    {"separator in row", {"totp", "secret", MA_LIT("totp|dev_1|auth0"), MA_LIT("1")}},
    {"separator in user", {"totp", "secret", MA_LIT("totp"), MA_LIT("dev_1|auth0|1")}},
};

START_TEST(moved_blobs_do_not_open)
{
    struct ma_vault *v = open_vault();
    struct ma_span plain;

    ck_assert_msg(unseal(v, &moved_rows[_i].id, seal(v, &id1, MA_LIT("seed")), &plain) == MA_E_AUTH, "%s",
                  moved_rows[_i].name);
    ma_vault_close(v);
}
END_TEST

START_TEST(changed_blobs_do_not_open)
{
    struct ma_vault *v = open_vault();
    const struct ma_span sealed = seal(v, &id1, MA_LIT("seed"));
    struct ma_span plain;
    uint8_t copy[64];

    for (size_t i = 0; i < sealed.n; i++) {
        memcpy(copy, sealed.p, sealed.n);
        copy[i] ^= 1;
        ck_assert_int_eq(unseal(v, &id1, ma_span_of(copy, sealed.n), &plain), MA_E_AUTH);
        ck_assert_int_eq(unseal(v, &id1, ma_span_of(sealed.p, i), &plain), MA_E_AUTH);
    }
    ma_vault_close(v);
}
END_TEST

START_TEST(macs_separate_purpose_and_context)
{
    struct ma_vault *v = open_vault();
    static const struct {
        const char *purpose;
        struct ma_span context, value;
    } rows[] = {
        {"otp", MA_LIT("a"), MA_LIT("1")}, {"session", MA_LIT("a"), MA_LIT("1")}, {"otp", MA_LIT("b"), MA_LIT("1")},
        {"otp", MA_LIT("a"), MA_LIT("2")}, {"otp", MA_LIT("a1"), {NULL, 0}},      {"otp", {NULL, 0}, MA_LIT("a1")},
    };
    uint8_t mac[MA_COUNT(rows)][32];

    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_int_eq(ma_vault_mac(v, rows[i].purpose, rows[i].context, rows[i].value, mac[i]), MA_OK);
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(mac[i], mac[j], 32);
    }
    ma_vault_close(v);
}
END_TEST

START_TEST(an_overlong_purpose_is_refused)
{
    struct ma_vault *v = open_vault();
    char purpose[200];
    uint8_t out[32];

    memset(purpose, 'p', sizeof purpose - 1);
    purpose[sizeof purpose - 1] = '\0';
    ck_assert_int_eq(ma_vault_mac(v, purpose, MA_SPAN_NULL, MA_SPAN_NULL, out), MA_E_RANGE);
    ma_vault_close(v);
}
END_TEST

static int no_randomness(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}

START_TEST(nothing_is_created_without_randomness)
{
    const struct ma_rand broken = {no_randomness, NULL};
    struct ma_vault *v = NULL;

    ck_assert_int_eq(ma_vault_open(dir, &broken, &v, why), MA_E_IO);
    ck_assert_ptr_null(v);
    ck_assert_str_ne(why, "");
    ck_assert(!exists("vault.keys") && !exists("pepper"));
    ck_assert_int_eq(try_open(), MA_OK);
}
END_TEST

/* --- rings of several keys --- */

/* A vault whose ring was replaced by this text. */
static void with_ring(const char *text)
{
    ma_vault_close(open_vault());
    write_file("vault.keys", text);
}

START_TEST(the_newest_key_seals_and_old_ones_open)
{
    struct ma_vault *v = open_vault();
    const struct ma_span old = seal(v, &id1, MA_LIT("old")), ring = read_file("vault.keys");
    struct ma_span plain;

    ma_vault_close(v);
    write_file("vault.keys", ma_arena_printf(arena, "%.*s# rotated\n\n7 9999999999 " KEY1 "\n9 5 " KEY2, (int)ring.n,
                                             (const char *)ring.p));
    v = open_vault();
    const struct ma_span fresh = seal(v, &id1, MA_LIT("new"));
    ck_assert_mem_eq(fresh.p, "\x01\x00\x00\x00\x07", 5);
    ck_assert_int_eq(unseal(v, &id1, old, &plain), MA_OK);
    ck_assert(ma_span_eq_str(plain, "old"));
    ck_assert_int_eq(unseal(v, &id1, fresh, &plain), MA_OK);
    ma_vault_close(v);
    /* Taken out again, the key is unknown. */
    write_file("vault.keys", ma_arena_strdup(arena, ring));
    v = open_vault();
    ck_assert_int_eq(unseal(v, &id1, fresh, &plain), MA_E_AUTH);
    ma_vault_close(v);
}
END_TEST

static const struct {
    const char *name, *text, *fault;
} ring_rows[] = {
    {"empty", "", "holds no key"},
    {"no header", "1 5 " KEY1 "\n", "first line"},
    {"other format", "# myaccountd vault keys 2: id created base64url(key)\n1 5 " KEY1 "\n", "first line"},
    {"header only", RING_HEAD, "holds no key"},
    {"id 0", RING_HEAD "0 5 " KEY1 "\n", "line 2: the id"},
    {"id over 32 bits", RING_HEAD "4294967296 5 " KEY1 "\n", "line 2: the id"},
    {"id not a number", RING_HEAD "x 5 " KEY1 "\n", "line 2: the id"},
    {"negative id", RING_HEAD "-1 5 " KEY1 "\n", "line 2: the id"},
    {"id twice", RING_HEAD "1 5 " KEY1 "\n1 6 " KEY2 "\n", "line 3: the id appears twice"},
    {"no time", RING_HEAD "1 " KEY1 "\n", "line 2: the creation time"},
    {"two blanks", RING_HEAD "1  5 " KEY1 "\n", "line 2: the creation time"},
    {"no key", RING_HEAD "1 5\n", "line 2: the key"},
    {"short key", RING_HEAD "1 5 AQEB\n", "line 2: the key"},
    {"padded key", RING_HEAD "1 5 " KEY1 "=\n", "line 2: the key"},
    {"unused bits set", RING_HEAD "1 5 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF\n", "line 2: the key"},
    {"standard alphabet", RING_HEAD "1 5 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB+QE\n", "line 2: the key"},
    {"more on the line", RING_HEAD "1 5 " KEY1 " x\n", "line 2: the key"},
};

START_TEST(malformed_rings_are_refused)
{
    with_ring(ring_rows[_i].text);
    expect(MA_E_PARSE, "/keys/vault.keys", ring_rows[_i].fault);
    ck_assert_msg(!strstr(why, "AQEB"), "a key in a message");
}
END_TEST

START_TEST(a_ring_has_bounds)
{
    char *text = ma_arena_alloc(arena, 65536);
    size_t n = (size_t)snprintf(text, 65536, "%s", RING_HEAD);

    for (unsigned i = 1; i <= 65; i++)
        n += (size_t)snprintf(text + n, 65536 - n, "%u 5 %s\n", i, KEY1);
    with_ring(text);
    expect(MA_E_PARSE, "/keys/vault.keys", "line 66: too many keys");
    memset(text, '#', 65535);
    text[65535] = '\0';
    write_file("vault.keys", text);
    expect(MA_E_PARSE, "/keys/vault.keys", "larger than 16384");
}
END_TEST

/* --- the canary --- */

START_TEST(another_ring_is_noticed)
{
    with_ring(RING_HEAD "1 5 " KEY1 "\n");
    expect(MA_E_CRYPTO, "/keys/vault.canary", "not the ring");
    write_file("vault.keys", RING_HEAD "2 5 " KEY1 "\n");
    expect(MA_E_CRYPTO, "/keys/vault.canary", "not the ring");
}
END_TEST

START_TEST(another_pepper_is_noticed)
{
    ma_vault_close(open_vault());
    write_file("pepper", "0123456789abcdef0123456789abcdef");
    expect(MA_E_CRYPTO, "/keys/pepper", "not the pepper");
}
END_TEST

START_TEST(a_changed_canary_is_noticed)
{
    ma_vault_close(open_vault());
    write_file("vault.canary", "short");
    expect(MA_E_CRYPTO, "/keys/vault.canary", "does not open");
}
END_TEST

START_TEST(a_pepper_of_another_length_is_refused)
{
    static const char *const peppers[] = {"", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef\n"};

    ma_vault_close(open_vault());
    write_file("pepper", peppers[_i]);
    expect(MA_E_PARSE, "/keys/pepper", "exactly 32 bytes");
}
END_TEST

/* --- incomplete sets --- */

START_TEST(a_lost_file_is_never_replaced)
{
    static const char *const names[] = {"pepper", "vault.canary", "vault.keys"};

    ma_vault_close(open_vault());
    ck_assert_int_eq(unlink(path_of(names[_i])), 0);
    expect(MA_E_IO, names[_i], "is missing");
    ck_assert(!exists(names[_i]));
    expect(MA_E_IO, names[_i], "is missing");
}
END_TEST

START_TEST(a_lost_pepper_and_canary_are_never_replaced)
{
    ma_vault_close(open_vault());
    ck_assert_int_eq(unlink(path_of("pepper")), 0);
    ck_assert_int_eq(unlink(path_of("vault.canary")), 0);
    expect(MA_E_IO, "/keys/pepper", "is missing");
    ck_assert(!exists("pepper"));
}
END_TEST

START_TEST(an_interrupted_first_start_is_begun_again)
{
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    write_path(path_of("pepper"), MA_LIT("0123456789abcdef0123456789abcdef"), 0600);
    if (_i >= 1)
        write_file("vault.keys.new", RING_HEAD "1 5 " KEY1 "\n");
    if (_i >= 2)
        write_file("vault.canary", "anything");
    ma_vault_close(open_vault());
    ck_assert(!exists("vault.keys.new"));
    ck_assert(ma_span_eq_str(read_file("pepper"), "0123456789abcdef0123456789abcdef"));
    ck_assert_int_eq(try_open(), MA_OK);
}
END_TEST

/* --- guards --- */

#define FILES 3
static const char *const guarded[FILES] = {"vault.keys", "pepper", "vault.canary"};

START_TEST(modes)
{
    static const struct {
        mode_t mode;
        int rc;
    } rows[] = {{0600, MA_OK},     {0400, MA_OK},     {0440, MA_OK},     {0640, MA_OK},     {0644, MA_E_PERM},
                {0604, MA_E_PERM}, {0660, MA_E_PERM}, {0602, MA_E_PERM}, {0700, MA_E_PERM}, {0610, MA_E_PERM},
                {0601, MA_E_PERM}, {0666, MA_E_PERM}, {0777, MA_E_PERM}};

    ma_vault_close(open_vault());
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        ck_assert_int_eq(chmod(path_of(guarded[_i]), rows[i].mode), 0);
        if (rows[i].rc == MA_OK)
            ck_assert_int_eq(try_open(), MA_OK);
        else
            expect(rows[i].rc, guarded[_i], "too open");
    }
}
END_TEST

START_TEST(symbolic_links_are_refused)
{
    ma_vault_close(open_vault());
    const char *to = ma_arena_printf(arena, "%s/elsewhere", top);
    ck_assert_int_eq(rename(path_of(guarded[_i]), to), 0);
    ck_assert_int_eq(symlink(to, path_of(guarded[_i])), 0);
    expect(MA_E_PERM, guarded[_i], "symbolic link");
    ck_assert_int_eq(unlink(to), 0);
    expect(MA_E_PERM, guarded[_i], "symbolic link");
}
END_TEST

START_TEST(other_kinds_of_file_are_refused)
{
    ma_vault_close(open_vault());
    ck_assert_int_eq(unlink(path_of(guarded[_i])), 0);
    ck_assert_int_eq(mkfifo(path_of(guarded[_i]), 0600), 0);
    expect(MA_E_PERM, guarded[_i], "not a regular file");
    ck_assert_int_eq(unlink(path_of(guarded[_i])), 0);
    ck_assert_int_eq(mkdir(path_of(guarded[_i]), 0600), 0);
    expect(MA_E_PERM, guarded[_i], "not a regular file");
}
END_TEST

START_TEST(foreign_owners_are_refused)
{
    if (geteuid() != 0)
        return; /* only root can give files away */
    ma_vault_close(open_vault());
    ck_assert_int_eq(chown(path_of(guarded[_i]), 12345, (gid_t)-1), 0);
    expect(MA_E_PERM, guarded[_i], "owned by uid 12345");
    ck_assert_int_eq(chown(path_of(guarded[_i]), 0, (gid_t)-1), 0);
    ck_assert_int_eq(chown(dir, 12345, (gid_t)-1), 0);
    expect(MA_E_PERM, "/keys", "owned by uid 12345");
}
END_TEST

START_TEST(directories_others_may_write_are_refused)
{
    static const mode_t open_modes[] = {0770, 0702, 0720, 01777};

    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(chmod(dir, open_modes[_i]), 0);
    expect(MA_E_PERM, "/keys", "lets others write");
    ck_assert(!exists("pepper"));
    ck_assert_int_eq(chmod(dir, 0750), 0);
    ck_assert_int_eq(try_open(), MA_OK);
}
END_TEST

START_TEST(a_directory_that_cannot_be)
{
    write_path(dir, MA_LIT("a file"), 0600);
    expect(MA_E_IO, "/keys", "Not a directory");
    snprintf(dir, sizeof dir, "%s/absent/keys", top);
    expect(MA_E_IO, "/absent/keys", "No such file");
}
END_TEST

/* --- secret references --- */

static int load(const char *ref, struct ma_span *got)
{
    const int rc = ma_secret_load(arena, ref, got, why);

    ck_assert((rc == MA_OK) == (got->p != NULL));
    ck_assert((rc == MA_OK) == (why[0] == '\0'));
    return rc;
}

static const struct {
    const char *name;
    struct ma_span text;
    const char *want; /* NULL: refused */
} secret_rows[] = {
    {"plain", MA_LIT("s3cret"), "s3cret"},
    {"newline", MA_LIT("s3cret\n"), "s3cret"},
    {"two newlines", MA_LIT("s3cret\n\n"), "s3cret\n"},
    {"blanks stay", MA_LIT(" s3cret \n"), " s3cret "},
    {"empty", {NULL, 0}, NULL},
    {"only a newline", MA_LIT("\n"), NULL},
};

START_TEST(secret_texts)
{
    const char *path = ma_arena_printf(arena, "%s/secret", top);
    struct ma_span got;

    write_path(path, secret_rows[_i].text, 0640);
    const int rc = load(ma_arena_printf(arena, "file:%s", path), &got);
    ck_assert_int_eq(rc, secret_rows[_i].want ? MA_OK : MA_E_INVAL);
    ck_assert(!secret_rows[_i].want || ma_span_eq_str(got, secret_rows[_i].want));
    /* As a credential it reads the same. */
    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", top, 1), 0);
    ck_assert_int_eq(load("cred:secret", &got), rc);
    ck_assert(!secret_rows[_i].want || ma_span_eq_str(got, secret_rows[_i].want));
}
END_TEST

START_TEST(secret_guards)
{
    const char *path = ma_arena_printf(arena, "%s/secret", top);
    const char *link = ma_arena_printf(arena, "%s/link", top);
    struct ma_span got;

    write_path(path, MA_LIT("s3cret"), 0644);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", path), &got), MA_E_PERM);
    ck_assert(strstr(why, "/secret") && strstr(why, "0644") && !strstr(why, "s3cret"));
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", path), &got), MA_OK);
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", link), &got), MA_E_PERM);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", top), &got), MA_E_PERM);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s/absent", top), &got), MA_E_NOTFOUND);
}
END_TEST

START_TEST(secret_sizes)
{
    const char *path = ma_arena_printf(arena, "%s/secret", top);
    static uint8_t big[65537];
    struct ma_span got;

    memset(big, 'a', sizeof big);
    write_path(path, ma_span_of(big, 65536), 0600);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", path), &got), MA_OK);
    ck_assert_uint_eq(got.n, 65536);
    write_path(path, ma_span_of(big, 65537), 0600);
    ck_assert_int_eq(load(ma_arena_printf(arena, "file:%s", path), &got), MA_E_RANGE);
}
END_TEST

START_TEST(secret_forms)
{
    static const char *const bad[] = {"",       "secret",   "file:",     "file:relative", "cred:",       "cred:..",
                                      "cred:.", "cred:a/b", "cred:/etc", "env:X",         "FILE:/x/y/z", "file/x"};
    struct ma_span got;

    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", top, 1), 0);
    for (size_t i = 0; i < MA_COUNT(bad); i++)
        ck_assert_msg(load(bad[i], &got) == MA_E_INVAL, "%s", bad[i]);
    ck_assert_int_eq(load(NULL, &got), MA_E_INVAL);
    ck_assert_int_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    ck_assert_int_eq(load("cred:name", &got), MA_E_NOTFOUND);
    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
    ck_assert_int_eq(load("cred:name", &got), MA_E_NOTFOUND);
}
END_TEST

static TCase *seal_case(void)
{
    TCase *t = tcase_create("seal");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, creates_closed_files);
    tcase_add_test(t, seals_survive_reopening);
    tcase_add_test(t, equal_plaintexts_seal_differently);
    tcase_add_loop_test(t, moved_blobs_do_not_open, 0, MA_COUNT(moved_rows));
    tcase_add_test(t, changed_blobs_do_not_open);
    tcase_add_test(t, macs_separate_purpose_and_context);
    tcase_add_test(t, an_overlong_purpose_is_refused);
    tcase_add_test(t, nothing_is_created_without_randomness);
    return t;
}

static TCase *ring_case(void)
{
    TCase *t = tcase_create("ring");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_newest_key_seals_and_old_ones_open);
    tcase_add_loop_test(t, malformed_rings_are_refused, 0, MA_COUNT(ring_rows));
    tcase_add_test(t, a_ring_has_bounds);
    tcase_add_test(t, another_ring_is_noticed);
    tcase_add_test(t, another_pepper_is_noticed);
    tcase_add_test(t, a_changed_canary_is_noticed);
    tcase_add_loop_test(t, a_pepper_of_another_length_is_refused, 0, 3);
    tcase_add_loop_test(t, a_lost_file_is_never_replaced, 0, 3);
    tcase_add_test(t, a_lost_pepper_and_canary_are_never_replaced);
    tcase_add_loop_test(t, an_interrupted_first_start_is_begun_again, 0, 3);
    return t;
}

static TCase *guard_case(void)
{
    TCase *t = tcase_create("guard");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, modes, 0, FILES);
    tcase_add_loop_test(t, symbolic_links_are_refused, 0, FILES);
    tcase_add_loop_test(t, other_kinds_of_file_are_refused, 0, FILES);
    tcase_add_loop_test(t, foreign_owners_are_refused, 0, FILES);
    tcase_add_loop_test(t, directories_others_may_write_are_refused, 0, 4);
    tcase_add_test(t, a_directory_that_cannot_be);
    return t;
}

static TCase *secret_case(void)
{
    TCase *t = tcase_create("secret");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, secret_texts, 0, MA_COUNT(secret_rows));
    tcase_add_test(t, secret_guards);
    tcase_add_test(t, secret_sizes);
    tcase_add_test(t, secret_forms);
    return t;
}

int main(void)
{
    Suite *s = suite_create("vault");

    suite_add_tcase(s, seal_case());
    suite_add_tcase(s, ring_case());
    suite_add_tcase(s, guard_case());
    suite_add_tcase(s, secret_case());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

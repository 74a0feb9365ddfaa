/* SPDX-License-Identifier: Apache-2.0
 * Keys of the vault that come and go, and the key directory in a file wrapped with a passphrase.
 */
#include "fixture_db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#define RING "# myaccountd vault keys 1: id created base64url(key)\n"
#define PHRASE MA_LIT("a passphrase of some length")

static const struct ma_seal_id ID = {"methods", "secret", MA_LIT("totp|1"), MA_LIT("auth0|1")};

static void setup_vault(void)
{
    setup_dir();
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
}

static void reopen(void)
{
    ma_vault_close(vault);
    vault = NULL;
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
}

static const char *in_keys(const char *name)
{
    return ma_arena_printf(arena, "%s/%s", keys, name);
}

static struct ma_span seal(const char *text)
{
    struct ma_span sealed;
    T_OK(ma_vault_seal(vault, arena, &ID, ma_span_str(text), &sealed));
    return sealed;
}

static int unseal(struct ma_span sealed, const char *want)
{
    struct ma_span plain;
    int r = ma_vault_open_blob(vault, arena, &ID, sealed, &plain);
    ck_assert(r != MA_OK || ma_span_eq_str(plain, want));
    return r;
}

static uint32_t rotate(int64_t now_s)
{
    uint32_t id = 0;
    T_OK(ma_vault_rotate(vault, now_s, &id, why));
    return id;
}

/* --- coming and going --- */

START_TEST(a_new_key_seals_at_once)
{
    struct ma_vault_key_info info[MA_VAULT_KEYS_MAX];
    setup_vault();
    struct ma_span old = seal("old");
    ck_assert_uint_eq(ma_seal_key(old), 1);
    ck_assert_uint_eq(rotate(NOW / 1000), 2);
    struct ma_span fresh = seal("fresh");
    ck_assert_uint_eq(ma_seal_key(fresh), 2);
    for (int i = 0; i < 2; i++, reopen()) {
        T_OK(unseal(old, "old"));
        T_OK(unseal(fresh, "fresh"));
        ck_assert_uint_eq(ma_vault_keys(vault, info), 2);
        ck_assert(!info[0].seals && info[1].seals && info[1].id == 2);
    }
}
END_TEST

START_TEST(a_clock_that_went_back)
{
    setup_vault();
    (void)rotate(4000000000);
    ck_assert_uint_eq(rotate(1000), 3);
    ck_assert_uint_eq(ma_seal_key(seal("x")), 3);
    reopen();
    ck_assert_uint_eq(ma_seal_key(seal("x")), 3);
}
END_TEST

START_TEST(retired_keys_open_nothing)
{
    static const uint32_t both[] = {1, 2}, newest[] = {3}, unknown[] = {77};
    struct ma_vault_key_info info[MA_VAULT_KEYS_MAX];
    char name[MA_VAULT_NAME_LEN + 1], again[MA_VAULT_NAME_LEN + 1];
    setup_vault();
    T_OK(ma_vault_name(vault, name));
    struct ma_span old = seal("old");
    (void)rotate(NOW / 1000);
    (void)rotate(NOW / 1000);
    struct ma_span fresh = seal("fresh");
    T_IS(MA_E_INVAL, ma_vault_retire(vault, newest, 1, why));
    T_OK(ma_vault_retire(vault, unknown, 1, why));
    T_OK(ma_vault_retire(vault, both, 2, why));
    for (int i = 0; i < 2; i++, reopen()) {
        T_IS(MA_E_AUTH, unseal(old, "old"));
        T_OK(unseal(fresh, "fresh"));
        ck_assert_uint_eq(ma_vault_keys(vault, info), 1);
    }
    T_OK(ma_vault_name(vault, again));
    ck_assert_str_eq(name, again);
    ck_assert_uint_eq(strlen(name), MA_VAULT_NAME_LEN);
    ck_assert_uint_eq(rotate(NOW / 1000), 4); /* ids are not used twice while the newest is there */
}
END_TEST

START_TEST(comments_of_the_operator_stay)
{
    static const uint32_t first[] = {1};
    size_t n = 0;
    setup_vault();
    char *text = slurp(in_keys("vault.keys"), &n);
    const char *more = ma_arena_printf(arena, "%s\n# kept in the safe, drawer 3", text);
    write_file(in_keys("vault.keys"), more, strlen(more));
    free(text);
    (void)rotate(NOW / 1000);
    T_OK(ma_vault_retire(vault, first, 1, why));
    text = slurp(in_keys("vault.keys"), NULL);
    ck_assert_ptr_nonnull(strstr(text, "drawer 3\n2 "));
    free(text);
    reopen();
}
END_TEST

START_TEST(what_a_crash_left_is_no_obstacle)
{
    static const uint32_t first[] = {1};
    struct stat st;
    setup_vault();
    write_file(in_keys("vault.keys.next"), "half", 4);
    write_file(in_keys("vault.canary.next"), "half", 4);
    reopen();
    (void)rotate(NOW / 1000);
    T_OK(ma_vault_retire(vault, first, 1, why));
    ck_assert_int_ne(stat(in_keys("vault.keys.next"), &st), 0);
    ck_assert_int_ne(stat(in_keys("vault.canary.next"), &st), 0);
    ck_assert_int_eq(stat(in_keys("vault.keys"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    reopen();
}
END_TEST

/* The ring changed, the canary not yet: as a crash between the two leaves them. */
START_TEST(a_crash_before_the_canary)
{
    static const uint32_t first[] = {1};
    size_t n = 0;
    setup_vault();
    char *canary = slurp(in_keys("vault.canary"), &n);
    (void)rotate(NOW / 1000);
    write_file(in_keys("vault.canary"), canary, n);
    free(canary);
    reopen(); /* the old key is still there and opens it */
    T_OK(ma_vault_retire(vault, first, 1, why));
    reopen(); /* and before it went the canary was sealed anew */
}
END_TEST

START_TEST(a_full_ring)
{
    uint32_t id = 0;
    setup_vault();
    for (uint32_t i = 2; i <= MA_VAULT_KEYS_MAX; i++)
        ck_assert_uint_eq(rotate(NOW / 1000), i);
    T_IS(MA_E_RANGE, ma_vault_rotate(vault, NOW / 1000, &id, why));
    ck_assert_ptr_nonnull(strstr(why, "full"));
    reopen();
    ck_assert_uint_eq(ma_vault_newest(vault), MA_VAULT_KEYS_MAX);
}
END_TEST

START_TEST(a_damaged_ring_is_not_written_over)
{
    uint32_t id = 0;
    setup_vault();
    write_file(in_keys("vault.keys"), RING "1 x y\n", strlen(RING) + 6);
    T_IS(MA_E_PARSE, ma_vault_rotate(vault, NOW / 1000, &id, why));
    ck_assert_ptr_nonnull(strstr(why, "line 2"));
    ck_assert_uint_eq(ma_seal_key(seal("x")), 1);
}
END_TEST

/* --- many threads --- */

static atomic_bool over;

static void *seal_and_open(void *arg)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(4096, 65536);
    intptr_t bad = 0;
    (void)arg;
    while (!atomic_load(&over)) {
        struct ma_span sealed, plain;
        ma_arena_reset(a);
        if (ma_vault_seal(vault, a, &ID, MA_LIT("text"), &sealed) != MA_OK ||
            ma_vault_open_blob(vault, a, &ID, sealed, &plain) != MA_OK || !ma_span_eq_str(plain, "text"))
            bad++;
    }
    return (void *)bad;
}

START_TEST(sealing_goes_on_while_keys_change)
{
    pthread_t t[3];
    setup_vault();
    atomic_store(&over, false);
    for (size_t i = 0; i < MA_COUNT(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, seal_and_open, NULL), 0);
    for (int i = 0; i < 20; i++)
        (void)rotate(NOW / 1000 + i);
    atomic_store(&over, true);
    for (size_t i = 0; i < MA_COUNT(t); i++) {
        void *bad = NULL;
        ck_assert_int_eq(pthread_join(t[i], &bad), 0);
        ck_assert_int_eq((intptr_t)bad, 0);
    }
}
END_TEST

/* --- the file --- */

static struct ma_buf wrapped;
static char name_out[MA_VAULT_NAME_LEN + 1], name_in[MA_VAULT_NAME_LEN + 1], other[128];

static void wrap(void)
{
    setup_vault();
    (void)rotate(NOW / 1000);
    write_file(in_keys("signing.keys"), "{\"keys\":[]}\n", 12);
    ma_buf_init_arena(&wrapped, arena, 65536, MA_KEYFILE_MAX);
    T_OK(ma_keys_wrap(keys, ma_rand_system(), PHRASE, &wrapped, name_out, why));
    (void)snprintf(other, sizeof other, "%s/other", dir);
}

START_TEST(wrapped_and_unwrapped)
{
    static const char *const names[] = {"vault.keys", "pepper", "vault.canary", "signing.keys"};
    struct stat st;
    wrap();
    struct ma_span old = seal("sealed before");
    ck_assert_int_eq(memcmp(wrapped.p, "myaccountd-keys\n\1\1\1\0", 20), 0);
    T_OK(ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why));
    ck_assert_str_eq(name_in, name_out);
    ck_assert_int_eq(stat(other, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        size_t n = 0, m = 0;
        const char *copy = ma_arena_printf(arena, "%s/%s", other, names[i]);
        char *a = slurp(in_keys(names[i]), &n), *b = slurp(copy, &m);
        ck_assert(n == m && memcmp(a, b, n) == 0);
        ck_assert(stat(copy, &st) == 0 && (st.st_mode & 07777) == 0600);
        free(a);
        free(b);
    }
    ma_vault_close(vault);
    vault = NULL;
    T_OK(ma_vault_open(other, ma_rand_system(), &vault, why));
    T_OK(unseal(old, "sealed before"));
}
END_TEST

static int entries(const char *p)
{
    int n = 0;
    DIR *d = opendir(p);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        n += e->d_name[0] != '.';
    if (d)
        (void)closedir(d);
    return n;
}

START_TEST(nothing_of_it_is_readable)
{
    size_t n = 0;
    wrap();
    char *ring = slurp(in_keys("vault.keys"), &n);
    ck_assert(memmem(wrapped.p, wrapped.n, ring + strlen(RING), 20) == NULL);
    ck_assert(memmem(wrapped.p, wrapped.n, "pepper", 6) == NULL);
    free(ring);
}
END_TEST

/* Magic, version, kdf, aead, reserved, the three costs, salt, nonce, text, tag. */
static const int offsets[] = {0, 15, 16, 17, 18, 19, 23, 27, 31, 32, 47, 48, 59, 60, 200, -1, -16};

START_TEST(every_change_is_noticed)
{
    wrap();
    size_t at = offsets[_i] >= 0 ? (size_t)offsets[_i] : wrapped.n - (size_t)-offsets[_i];
    wrapped.p[at] ^= 1;
    int r = ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why);
    ck_assert_msg(r == MA_E_AUTH || r == MA_E_PARSE || r == MA_E_UNSUPPORTED, "%zu: %s", at, ma_err_name(r));
    ck_assert(why[0] != '\0');
    ck_assert_int_eq(entries(other), 0);
}
END_TEST

START_TEST(costs_without_bounds_are_refused)
{
    wrap();
    memset(wrapped.p + 24, 0x7f, 4); /* terabytes */
    T_IS(MA_E_UNSUPPORTED, ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why));
}
END_TEST

START_TEST(cut_short)
{
    wrap();
    static const size_t sizes[] = {0, 1, 16, 60, 75, 76, 100};
    for (size_t i = 0; i < MA_COUNT(sizes); i++)
        ck_assert_int_ne(ma_keys_unwrap(other, PHRASE, ma_span_of(wrapped.p, sizes[i]), name_in, why), MA_OK);
    T_IS(MA_E_AUTH, ma_keys_unwrap(other, PHRASE, ma_span_of(wrapped.p, wrapped.n - 1), name_in, why));
}
END_TEST

START_TEST(another_passphrase)
{
    wrap();
    T_IS(MA_E_AUTH, ma_keys_unwrap(other, MA_LIT("a passphrase of some lengtH"), ma_buf_view(&wrapped), name_in, why));
    ck_assert_ptr_nonnull(strstr(why, "passphrase"));
    ck_assert_int_eq(access(other, F_OK), -1);
}
END_TEST

START_TEST(only_into_an_empty_directory)
{
    wrap();
    ck_assert_int_eq(mkdir(other, 0755), 0);
    const char *file = ma_arena_printf(arena, "%s/something", other);
    write_file(file, "x", 1);
    T_IS(MA_E_EXISTS, ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why));
    ck_assert_ptr_nonnull(strstr(why, "not empty"));
    ck_assert_int_eq(entries(other), 1);
    ck_assert_int_eq(unlink(file), 0);
    T_OK(ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why));
    T_IS(MA_E_EXISTS, ma_keys_unwrap(other, PHRASE, ma_buf_view(&wrapped), name_in, why));
}
END_TEST

START_TEST(no_keys_to_wrap)
{
    setup_dir();
    ma_buf_init_arena(&wrapped, arena, 1024, MA_KEYFILE_MAX);
    T_IS(MA_E_NOTFOUND, ma_keys_wrap(keys, ma_rand_system(), PHRASE, &wrapped, name_out, why));
    ck_assert_int_eq(mkdir(keys, 0700), 0);
    T_IS(MA_E_NOTFOUND, ma_keys_wrap(keys, ma_rand_system(), PHRASE, &wrapped, name_out, why));
    ck_assert_int_eq(entries(keys), 0); /* none were made */
}
END_TEST

START_TEST(files_of_secrets)
{
    struct stat st;
    setup_dir();
    const char *file = ma_arena_printf(arena, "%s/secret", dir);
    T_OK(ma_secret_write(file, MA_LIT("one"), false, why));
    ck_assert(stat(file, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 3);
    T_IS(MA_E_EXISTS, ma_secret_write(file, MA_LIT("two!"), false, why));
    ck_assert(stat(file, &st) == 0 && st.st_size == 3);
    T_OK(ma_secret_write(file, MA_LIT("two!"), true, why));
    ck_assert(stat(file, &st) == 0 && st.st_size == 4);
    ck_assert_int_eq(entries(dir), 1);
    T_IS(MA_E_NOTFOUND, ma_secret_write(ma_arena_printf(arena, "%s/no/secret", dir), MA_LIT("x"), false, why));
    T_IS(MA_E_INVAL, ma_secret_write(ma_arena_printf(arena, "%s/", dir), MA_LIT("x"), false, why));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vault keys");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_test(c, a_new_key_seals_at_once);
    tcase_add_test(c, a_clock_that_went_back);
    tcase_add_test(c, retired_keys_open_nothing);
    tcase_add_test(c, comments_of_the_operator_stay);
    tcase_add_test(c, what_a_crash_left_is_no_obstacle);
    tcase_add_test(c, a_crash_before_the_canary);
    tcase_add_test(c, a_full_ring);
    tcase_add_test(c, a_damaged_ring_is_not_written_over);
    tcase_add_test(c, sealing_goes_on_while_keys_change);
    tcase_add_test(c, wrapped_and_unwrapped);
    tcase_add_test(c, nothing_of_it_is_readable);
    tcase_add_loop_test(c, every_change_is_noticed, 0, MA_COUNT(offsets));
    tcase_add_test(c, costs_without_bounds_are_refused);
    tcase_add_test(c, cut_short);
    tcase_add_test(c, another_passphrase);
    tcase_add_test(c, only_into_an_empty_directory);
    tcase_add_test(c, no_keys_to_wrap);
    tcase_add_test(c, files_of_secrets);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

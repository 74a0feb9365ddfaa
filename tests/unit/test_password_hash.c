/* SPDX-License-Identifier: Apache-2.0
 * Argon2id and bcrypt: published vectors, bounds of imported strings, rehash decisions.
 */
#include "ma/crypto.h"

#include <check.h>
#include <stdlib.h>

/* Quick parameters: the cost is not under test. */
static const struct ma_argon2_params quick = {1, 64, 1};

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
}

static void hash(struct ma_argon2_params p, struct ma_span password, char out[MA_PHC_MAX])
{
    ck_assert_int_eq(ma_password_hash(ma_rand_system(), p, password, out), MA_OK);
}

#define LONG72 "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* The reference implementations' own vectors. */
static const struct {
    const char *name, *stored, *password;
    size_t n; /* of password, where it holds a NUL; 0: strlen */
    int rc;
} verify_rows[] = {
    {"argon2id", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password", 0,
     MA_OK},
    {"argon2id, two lanes", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
     "password", 0, MA_OK},
    {"argon2id, 64 MiB", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
     "password", 0, MA_OK},
    {"argon2id, wrong", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     "passwore", 0, MA_E_AUTH},
    {"argon2id, NUL counts", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     "password\0x", 10, MA_E_AUTH},
    {"argon2id, empty", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "", 0,
     MA_E_AUTH},
    {"bcrypt 2b", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm", "Kk4DQuMMfZL9o", 0, MA_OK},
    {"bcrypt 2b, wrong", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm", "Kk4DQuMMfZL9O", 0, MA_E_AUTH},
    {"bcrypt 2b, unused salt bits set", "$2b$04$cVWp4XaNU8a4v1uMRum2SP026BWLIoQMD/TXg5uZV.0P.uO8m3YEm", "Kk4DQuMMfZL9o",
     0, MA_OK},
    {"bcrypt 2a", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", 0, MA_OK},
    {"bcrypt 2a, empty", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", "", 0, MA_OK},
    {"bcrypt 2y, high bytes", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", "\xff\xff\xa3", 0, MA_OK},
    {"bcrypt, 72 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", LONG72, 0, MA_OK},
    {"bcrypt, over 72 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
     LONG72 "chars after 72 are ignored", 0, MA_OK},
    {"bcrypt, 71 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", LONG72, 71, MA_E_AUTH},
    {"bcrypt ends at a NUL", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U\0more", 8, MA_OK},
};

START_TEST(verify_vectors)
{
    const size_t n = verify_rows[_i].n ? verify_rows[_i].n : strlen(verify_rows[_i].password);

    ck_assert(ma_password_hash_ok(verify_rows[_i].stored));
    ck_assert_msg(ma_password_verify(verify_rows[_i].stored, ma_span_of(verify_rows[_i].password, n)) ==
                      verify_rows[_i].rc,
                  "%s", verify_rows[_i].name);
}
END_TEST

#define SALT_HASH "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
#define BHASH "cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"

static const struct {
    const char *name, *stored;
} refused_rows[] = {
    {"empty", ""},
    {"plain text", "password"},
    {"memory over the bound", "$argon2id$v=19$m=262145,t=2,p=1" SALT_HASH},
    {"memory of 4 TiB", "$argon2id$v=19$m=4294967295,t=2,p=1" SALT_HASH},
    {"memory past 32 bits", "$argon2id$v=19$m=4294967552,t=2,p=1" SALT_HASH},
    {"memory past 64 bits", "$argon2id$v=19$m=18446744073709551872,t=2,p=1" SALT_HASH},
    {"memory below 8 blocks a lane", "$argon2id$v=19$m=15,t=2,p=2" SALT_HASH},
    {"no memory", "$argon2id$v=19$m=0,t=2,p=1" SALT_HASH},
    {"time over the bound", "$argon2id$v=19$m=256,t=17,p=1" SALT_HASH},
    {"no time", "$argon2id$v=19$m=256,t=0,p=1" SALT_HASH},
    {"lanes over the bound", "$argon2id$v=19$m=256,t=2,p=5" SALT_HASH},
    {"no lanes", "$argon2id$v=19$m=256,t=2,p=0" SALT_HASH},
    {"leading zero", "$argon2id$v=19$m=0256,t=2,p=1" SALT_HASH},
    {"sign", "$argon2id$v=19$m=+256,t=2,p=1" SALT_HASH},
    {"order of parameters", "$argon2id$v=19$t=2,m=256,p=1" SALT_HASH},
    {"further parameter", "$argon2id$v=19$m=256,t=2,p=1,keyid=AA" SALT_HASH},
    {"version 16", "$argon2id$v=16$m=256,t=2,p=1" SALT_HASH},
    {"no version", "$argon2id$m=256,t=2,p=1" SALT_HASH},
    {"argon2i", "$argon2i$v=19$m=256,t=2,p=1" SALT_HASH},
    {"argon2d", "$argon2d$v=19$m=256,t=2,p=1" SALT_HASH},
    {"no hash", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ"},
    {"empty salt", "$argon2id$v=19$m=256,t=2,p=1$$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
    {"short salt", "$argon2id$v=19$m=256,t=2,p=1$c29tZQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
    {"short hash", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65"},
    {"one base64 character over", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQA" /* 9 bytes */ "AA$nf65"},
    {"padding", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ=$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
    {"unused bits set", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHR$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
    {"trailing text", "$argon2id$v=19$m=256,t=2,p=1" SALT_HASH " "},
    {"trailing newline", "$argon2id$v=19$m=256,t=2,p=1" SALT_HASH "\n"},
    {"bcrypt cost 15", "$2b$15$" BHASH},
    {"bcrypt cost 31", "$2b$31$" BHASH},
    {"bcrypt cost 03", "$2b$03$" BHASH},
    {"bcrypt cost not a number", "$2b$0a$" BHASH},
    {"bcrypt 2x", "$2x$04$" BHASH},
    {"bcrypt without a letter", "$2$04$" BHASH "A"},
    {"bcrypt NUL for the letter", "$2"},
    {"bcrypt short", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YE"},
    {"bcrypt long", "$2b$04$" BHASH "A"},
    {"bcrypt foreign character", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3Y+m"},
    {"sha512crypt", "$6$saltsalt$abcdefghijklmnopqrstuvwxyz"},
    {"DES", "rl0uFyRpcwpSw"},
};

START_TEST(refused)
{
    ck_assert_msg(!ma_password_hash_ok(refused_rows[_i].stored), "%s", refused_rows[_i].name);
    ck_assert_int_eq(ma_password_verify(refused_rows[_i].stored, MA_LIT("password")), MA_E_UNSUPPORTED);
    ck_assert(ma_password_needs_rehash(refused_rows[_i].stored, quick));
}
END_TEST

START_TEST(null_and_oversized_are_refused)
{
    static char big[4096];

    memset(big, 'A', sizeof big - 1);
    memcpy(big, "$argon2id$v=19$m=256,t=2,p=1$", 29);
    ck_assert(!ma_password_hash_ok(big));
    ck_assert(!ma_password_hash_ok(NULL));
    ck_assert_int_eq(ma_password_verify(big, MA_LIT("x")), MA_E_UNSUPPORTED);
    ck_assert_int_eq(ma_password_verify(NULL, MA_LIT("x")), MA_E_UNSUPPORTED);
    ck_assert(ma_password_needs_rehash(NULL, quick));
}
END_TEST

START_TEST(hash_then_verify)
{
    static const char *const passwords[] = {"", "correct horse", "p\xc3\xa4ss", LONG72 LONG72 LONG72};
    const struct ma_span pw = ma_span_str(passwords[_i]);
    char phc[MA_PHC_MAX];

    hash(quick, pw, phc);
    ck_assert_int_eq(strncmp(phc, "$argon2id$v=19$m=64,t=1,p=1$", 28), 0);
    ck_assert(ma_password_hash_ok(phc));
    ck_assert_int_eq(ma_password_verify(phc, pw), MA_OK);
    ck_assert_int_eq(ma_password_verify(phc, MA_LIT("something else")), MA_E_AUTH);
}
END_TEST

START_TEST(the_default_parameters_work)
{
    char phc[MA_PHC_MAX];

    hash(MA_ARGON2_DEFAULT, MA_LIT("pw"), phc);
    ck_assert_int_eq(strncmp(phc, "$argon2id$v=19$m=19456,t=2,p=1$", 31), 0);
    ck_assert_int_eq(ma_password_verify(phc, MA_LIT("pw")), MA_OK);
}
END_TEST

START_TEST(salts_differ)
{
    char one[MA_PHC_MAX], two[MA_PHC_MAX];

    hash(quick, MA_LIT("same"), one);
    hash(quick, MA_LIT("same"), two);
    ck_assert_str_ne(one, two);
}
END_TEST

START_TEST(hash_refuses_parameters_it_would_not_verify)
{
    static const struct ma_argon2_params bad[] = {
        {0, 64, 1}, {17, 64, 1}, {1, 7, 1}, {1, 15, 2}, {1, 262145, 1}, {1, 64, 0}, {1, 64, 5}, {1, 0, UINT32_MAX},
    };
    char out[MA_PHC_MAX] = "x";

    ck_assert_int_eq(ma_password_hash(ma_rand_system(), bad[_i], MA_LIT("pw"), out), MA_E_INVAL);
    ck_assert_str_eq(out, "");
}
END_TEST

static int no_randomness(const struct ma_rand *r, void *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
    return MA_E_IO;
}

START_TEST(hash_without_randomness_fails)
{
    const struct ma_rand broken = {no_randomness, NULL};
    char out[MA_PHC_MAX];

    ck_assert_int_eq(ma_password_hash(&broken, quick, MA_LIT("pw"), out), MA_E_IO);
    ck_assert_str_eq(out, "");
}
END_TEST

static const struct {
    const char *name;
    struct ma_argon2_params wanted;
    bool rehash;
} rehash_rows[] = {
    {"the same", {2, 256, 2}, false},   {"weaker wanted", {1, 64, 1}, false}, {"more time", {3, 256, 2}, true},
    {"more memory", {2, 257, 2}, true}, {"more lanes", {2, 256, 3}, true},
};

START_TEST(needs_rehash)
{
    ck_assert_msg(ma_password_needs_rehash("$argon2id$v=19$m=256,t=2,p=2" SALT_HASH, rehash_rows[_i].wanted) ==
                      rehash_rows[_i].rehash,
                  "%s", rehash_rows[_i].name);
    ck_assert(ma_password_needs_rehash("$2b$04$" BHASH, rehash_rows[_i].wanted));
}
END_TEST

static Suite *password_suite(void)
{
    Suite *s = suite_create("password_hash");
    TCase *t = tcase_create("password_hash");

    tcase_add_checked_fixture(t, setup, ma_crypto_cleanup);
    tcase_add_loop_test(t, verify_vectors, 0, MA_COUNT(verify_rows));
    tcase_add_loop_test(t, refused, 0, MA_COUNT(refused_rows));
    tcase_add_test(t, null_and_oversized_are_refused);
    tcase_add_loop_test(t, hash_then_verify, 0, 4);
    tcase_add_test(t, the_default_parameters_work);
    tcase_add_test(t, salts_differ);
    tcase_add_loop_test(t, hash_refuses_parameters_it_would_not_verify, 0, 8);
    tcase_add_test(t, hash_without_randomness_fails);
    tcase_add_loop_test(t, needs_rehash, 0, MA_COUNT(rehash_rows));
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(password_suite());

    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

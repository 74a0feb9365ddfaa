/* SPDX-License-Identifier: Apache-2.0
 * The databases of released schemas (tests/fixtures) in a directory of their own. Runs in the repository's root.
 */
#ifndef MA_TEST_FIXTURE_DB_H
#define MA_TEST_FIXTURE_DB_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/db/int.h"
#include "ma/crypto.h"
#include "ma/leavers.h"
#include "ma/store.h"
#include "ma/vault.h"

#define UNUSED_OK __attribute__((unused))
#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s (%s)", #expr, ma_err_name(t_r), ma_err_name(want), why);          \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define NOW 1700000500000
#define RELEASED 4 /* the newest schema that was released: each of them has a fixture */
#define FIXTURE_FILE_MAX 16000000

static char dir[64], path[96], keys[96], why[256];
static struct ma_db *db;
static struct ma_vault *vault;
static struct ma_arena *arena;

static UNUSED_OK char *slurp(const char *file, size_t *ret_n)
{
    FILE *f = fopen(file, "r");
    ck_assert_msg(f != NULL, "%s: run this from the root of the repository", file);
    char *text = calloc(1, FIXTURE_FILE_MAX);
    ck_assert_ptr_nonnull(text);
    size_t n = fread(text, 1, FIXTURE_FILE_MAX - 1, f);
    ck_assert(feof(f));
    (void)fclose(f);
    if (ret_n)
        *ret_n = n;
    return text;
}

static UNUSED_OK void remove_tree(const char *p)
{
    DIR *d = opendir(p);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char name[512];
        (void)snprintf(name, sizeof name, "%s/%s", p, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(name) != 0)
            remove_tree(name);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(p);
}

static UNUSED_OK void write_file(const char *file, const void *p, size_t n)
{
    FILE *f = fopen(file, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(p, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(file, 0600), 0);
}

/* The fixtures' keys, with the modes that a vault wants. */
static UNUSED_OK void fixture_keys(const char *to)
{
    static const char *const names[] = {"vault.keys", "pepper", "vault.canary"};
    ck_assert_int_eq(mkdir(to, 0700), 0);
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        char from[96], file[256];
        size_t n = 0;
        (void)snprintf(from, sizeof from, "tests/fixtures/keys/%s", names[i]);
        (void)snprintf(file, sizeof file, "%s/%s", to, names[i]);
        char *text = slurp(from, &n);
        write_file(file, text, n);
        free(text);
    }
}

static UNUSED_OK void fixture_load(struct ma_db *writer, int version)
{
    char file[96];
    (void)snprintf(file, sizeof file, "tests/fixtures/schema-%04d.sql", version);
    char *text = slurp(file, NULL);
    T_OK(ma_db_script(writer, text, why));
    free(text);
}

static UNUSED_OK void setup_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_fixture_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)64 << 20);
    ck_assert_ptr_nonnull(arena);
    db = NULL;
    vault = NULL;
    why[0] = '\0';
}

/* A database of this schema as a daemon of its time left it, with its keys; not migrated. */
static UNUSED_OK void setup_version(int version)
{
    setup_dir();
    fixture_keys(keys);
    T_OK(ma_db_open(path, MA_DB_WRITER, NULL, &db, why));
    fixture_load(db, version);
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
}

/* Rows in the tables that came after the newest release. */
static UNUSED_OK void fixture_unreleased(void)
{
    static const uint8_t mac[32] = {1};
    const struct ma_span id = MA_LIT("0123456789abcdef0123456789abcdef"), alice = MA_LIT("auth0|alice");
    const struct ma_seal_id info = {"notices", "info", id, alice}, kept = {"notices", "kept", id, alice};
    struct ma_notice_row n = {.id = id,
                              .token_mac = ma_span_of(mac, sizeof mac),
                              .user_id = alice,
                              .event = MA_LIT("factor_removed"),
                              .subject = MA_LIT("totp|dev_0"),
                              .created_at = NOW,
                              .expires_at = 32503680000000};
    struct ma_reset reset = {.token_mac = n.token_mac, .user_id = alice, .created_at = NOW, .expires_at = n.expires_at};
    T_OK(ma_vault_seal(vault, arena, &info, MA_LIT("{\"what\":\"the authenticator app\",\"browser\":\"Firefox\"}"),
                       &n.info));
    T_OK(ma_vault_seal(vault, arena, &kept, MA_LIT("{\"id\":\"totp|dev_0\",\"secret\":\"seed of alice\"}"), &n.kept));
    struct ma_export e = {.user_id = alice, .id = MA_LIT("exp_1"), .created_at = NOW};
    const struct ma_seal_id part = {"export_parts", "sealed", MA_LIT("exp_1.000001"), alice};
    struct ma_span sealed;
    T_OK(ma_vault_seal(vault, arena, &part, MA_LIT("{\"all\":\"of alice\"}\n"), &sealed));
    T_OK(ma_db_begin(db));
    T_OK(ma_export_insert(db, &e));
    T_OK(ma_export_part_put(db, alice, part.row, sealed));
    T_OK(ma_revoke_token(db, alice, MA_LIT("jti-of-a-token"), NOW));
    T_OK(ma_known_address_put(db, alice, n.token_mac, NOW));
    T_OK(ma_notice_insert(db, &n));
    T_OK(ma_reset_insert(db, &reset));
    T_OK(ma_db_commit(db));
}

/* The newest fixture, brought to the program's schema. */
static UNUSED_OK void setup_newest(void)
{
    setup_version(RELEASED);
    T_OK(ma_migrate(db, NOW, why));
    fixture_unreleased();
}

static UNUSED_OK void teardown(void)
{
    ma_vault_close(vault);
    ma_db_close(db);
    ma_arena_free(arena);
    ma_crypto_cleanup();
    remove_tree(dir);
}

/* One number that a query of the test yields. */
static UNUSED_OK int64_t ask(struct ma_db *from, const struct ma_sql *q, const char *arg)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    T_OK(ma_db_stmt(from, q, &st));
    if (arg)
        ma_bind_text(st, 1, ma_span_str(arg));
    T_OK(ma_stmt_step(st));
    return ma_col_int(st, 0);
}

#endif

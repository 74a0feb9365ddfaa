/* SPDX-License-Identifier: Apache-2.0
 * What is remembered between requests is never older than what was acknowledged: lists, facts about users, the state
 * snapshot.
 */
#include "../support/fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "../../src/api/auth.h"
#include "../../src/api/int.h"
#include "../../src/app/int.h"
#include "ma/jose.h"
#include "ma/methods.h"
#include "ma/policy.h"

#define ID "totp|dev_0123456789abcdef"
#define TOKEN "header.payload.signature"

enum { THREADS = 4, ROUNDS = 100 };

static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_db *reader;

static void setup(void)
{
    char text[256], why[512] = "";
    struct ma_conf *conf = NULL;
    ma_fix_open(&f, "");
    (void)snprintf(text, sizeof text,
                   "base_url = \"https://login.example.com\"\ndatabase = \"%s\"\nkey_directory = \"%s\"\n", f.database,
                   f.dir);
    T_OK(ma_conf_parse("remembered", ma_span_str(text), &conf, why));
    f.app.shared = ma_shared_new(conf);
    ck_assert_ptr_nonnull(f.app.shared);
    T_OK(ma_auth_cache_new(f.app.rand, &f.app.auth_cache));
    T_OK(ma_list_cache_new(&f.app.list_cache));
    T_OK(ma_jose_open(conf, f.app.clock, f.app.rand, NULL, &f.app.jose, why));
    T_OK(ma_db_open(f.database, MA_DB_READER, NULL, &reader, why));
}

static void teardown(void)
{
    ma_db_close(reader);
    ma_jose_close(f.app.jose);
    ma_list_cache_free(f.app.list_cache);
    ma_auth_cache_free(f.app.auth_cache);
    ma_shared_free(f.app.shared);
    ma_fix_close(&f);
}

/* A request that reads as the HTTP threads do: in a snapshot, knowing how many commits it shows for certain. */
static void request(void)
{
    struct ma_user u;
    ma_db_read_end(reader);
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    ctx->db = reader;
    ctx->snapshot_commits = ma_app_commits(&f.app);
    T_OK(ma_db_read_begin(reader));
    T_OK(ma_user_get(reader, f.arena, ctx->who.user_id, &u)); /* the first read fixes the snapshot */
}

/* The writer's end of a change, in the order of its promises. */
static void committed(int result)
{
    T_OK(result);
    ma_app_count_commit(&f.app);
    ma_app_user_changed(&f.app, MA_LIT(MA_FIX_ALICE));
}

static void insert(void)
{
    struct ma_method m = {.id = MA_LIT(ID),
                          .type = MA_FACTOR_TOTP,
                          .confirmed = true,
                          .name = MA_LIT("old name"),
                          .created_at = MA_FIX_START};
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_method_insert(f.app.writer, MA_LIT(MA_FIX_ALICE), &m));
    committed(ma_db_commit(f.app.writer));
}

static void rename_to(const char *name)
{
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_method_update(f.app.writer, MA_LIT(MA_FIX_ALICE), MA_LIT(ID), ma_span_str(name), -1));
    committed(ma_db_commit(f.app.writer));
}

static bool list_has(const char *text)
{
    T_OK(ma_op_list_methods(ctx));
    return ma_fix_body_has(&f, text);
}

/* --- lists --- */

START_TEST(test_list_of_an_old_snapshot)
{
    insert();
    request();
    rename_to("new name"); /* while the request is under way */
    ck_assert(list_has("old name"));
    request();
    ck_assert(list_has("new name"));
}
END_TEST

START_TEST(test_list_is_remembered)
{
    insert();
    request();
    ck_assert(list_has("old name"));
    request();
    T_OK(ma_db_begin(f.app.writer)); /* behind the daemon's back: nobody is told */
    T_OK(ma_method_update(f.app.writer, MA_LIT(MA_FIX_ALICE), MA_LIT(ID), MA_LIT("new name"), -1));
    T_OK(ma_db_commit(f.app.writer));
    request();
    ck_assert(list_has("old name"));
    ma_app_user_changed(&f.app, MA_LIT(MA_FIX_ALICE));
    request();
    ck_assert(list_has("new name"));
}
END_TEST

/* Between the commit and the word about it: the list is newer than its generation, and is read again. */
START_TEST(test_list_of_a_newer_snapshot)
{
    insert();
    T_OK(ma_db_begin(f.app.writer));
    T_OK(ma_method_update(f.app.writer, MA_LIT(MA_FIX_ALICE), MA_LIT(ID), MA_LIT("new name"), -1));
    T_OK(ma_db_commit(f.app.writer));
    request();
    ck_assert(list_has("new name"));
    committed(MA_OK);
    rename_to("newest name");
    request();
    ck_assert(list_has("newest name"));
}
END_TEST

/* --- facts about the user of a remembered token --- */

static void remember_token(void)
{
    uint8_t hash[MA_SHA256_LEN];
    ma_fix_apply(&f, "{\"api\":{\"default_policy\":{\"require_2fa\":true}}}"); /* else nobody asks for factors */
    struct ma_auth_memo m = {
        .who = {.user_id = MA_LIT(MA_FIX_ALICE), .client_id = MA_LIT("spa"), .user_known = true},
        .exp_s = MA_FIX_START / 1000 + 3600,
        .iat_s = MA_FIX_START / 1000,
        .jose_epoch = ma_jose_epoch(f.app.jose),
        .state_epoch = f.state->epoch,
        .user_generation = ma_app_user_generation(&f.app, MA_LIT(MA_FIX_ALICE)) - 1, /* stale: facts are read */
    };
    T_OK(ma_sha256(MA_LIT(TOKEN), hash));
    ma_auth_cache_put(f.app.auth_cache, hash, &m);
}

static bool known_factor(void)
{
    ctx->req.authorization = MA_LIT("Bearer " TOKEN);
    T_OK(ma_authenticate(ctx));
    T_STR(ctx->who.user_id, MA_FIX_ALICE);
    return ctx->who.has_factor;
}

START_TEST(test_facts_of_an_old_snapshot)
{
    remember_token();
    request();
    insert(); /* the first second factor, while the request is under way */
    ck_assert(!known_factor());
    request();
    ck_assert(known_factor());
    request();
    ck_assert(known_factor());
}
END_TEST

START_TEST(test_facts_are_remembered)
{
    remember_token();
    request();
    ck_assert(!known_factor());
    struct ma_method m = {.id = MA_LIT(ID), .type = MA_FACTOR_TOTP, .confirmed = true, .created_at = MA_FIX_START};
    T_OK(ma_db_begin(f.app.writer)); /* behind the daemon's back: nobody is told */
    T_OK(ma_method_insert(f.app.writer, MA_LIT(MA_FIX_ALICE), &m));
    T_OK(ma_db_commit(f.app.writer));
    request();
    ck_assert(!known_factor());
    ma_app_user_changed(&f.app, MA_LIT(MA_FIX_ALICE));
    request();
    ck_assert(known_factor());
}
END_TEST

/* --- the state snapshot --- */

static const char *const switches[THREADS] = {"totp", "email", "phone", "recovery-code"};
static const enum ma_factor switched[THREADS] = {MA_FACTOR_TOTP, MA_FACTOR_EMAIL, MA_FACTOR_PHONE, MA_FACTOR_RECOVERY};
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static int reload_failures; /* under `writing` */

static void flip(size_t me, bool on)
{
    char document[64];
    (void)snprintf(document, sizeof document, "{\"factors\":{\"%s\":%s}}", switches[me], on ? "true" : "false");
    (void)pthread_mutex_lock(&writing);
    ma_fix_apply(&f, document);
    (void)pthread_mutex_unlock(&writing);
}

/* As a thread of the admin server: commit, load, acknowledge. */
static void *administrator(void *arg)
{
    size_t me = (size_t)((const char *const *)arg - switches);
    struct ma_db *db = NULL;
    char why[256];
    int r = ma_db_open(f.database, MA_DB_READER, NULL, &db, why);
    for (int round = 0; round < ROUNDS; round++) {
        bool on = (round >> me) % 2 == 0;
        flip(me, on);
        r = r == MA_OK ? ma_app_state_reload(&f.app, db) : r;
        (void)pthread_barrier_wait(&barrier);
        struct ma_state *s = ma_app_state(&f.app);
        (void)pthread_mutex_lock(&writing);
        reload_failures += r < 0 || !s || ((s->factors >> switched[me]) & 1u) != (on ? 1u : 0u);
        (void)pthread_mutex_unlock(&writing);
        ma_state_unref(s);
        (void)pthread_barrier_wait(&barrier);
    }
    ma_db_close(db);
    return NULL;
}

START_TEST(test_reloads_at_once)
{
    pthread_t t[THREADS];
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++) {
        const char *const *mine = &switches[i];
        ck_assert_int_eq(pthread_create(&t[i], NULL, administrator, (void *)(uintptr_t)mine), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    (void)pthread_barrier_destroy(&barrier);
    ck_assert_int_eq(reload_failures, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("remembered");
    TCase *tc = tcase_create("requests");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_list_of_an_old_snapshot);
    tcase_add_test(tc, test_list_is_remembered);
    tcase_add_test(tc, test_list_of_a_newer_snapshot);
    tcase_add_test(tc, test_facts_of_an_old_snapshot);
    tcase_add_test(tc, test_facts_are_remembered);
    suite_add_tcase(s, tc);
    tc = tcase_create("administrators");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_reloads_at_once);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

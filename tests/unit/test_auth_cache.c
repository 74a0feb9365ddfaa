/* SPDX-License-Identifier: Apache-2.0
 * The memory of verified tokens: what is kept, copied, replaced, forgotten, and by how many at once.
 */
#include "../../src/api/auth.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct ma_auth_cache *cache;
static struct ma_arena *arena;

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    ck_assert_int_eq(ma_auth_cache_new(ma_rand_system(), &cache), MA_OK);
    arena = ma_arena_new(MA_ARENA_FIRST, 64 * MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_auth_cache_free(cache);
    ma_arena_free(arena);
    ma_crypto_cleanup();
}

struct key {
    uint8_t b[MA_SHA256_LEN];
};

static struct key key_of(unsigned i)
{
    struct key k;
    ck_assert_int_eq(ma_sha256(ma_span_of(&i, sizeof i), k.b), MA_OK);
    return k;
}

static struct ma_auth_memo memo_of(const char *user, int64_t exp)
{
    return (struct ma_auth_memo){
        .who = {.user_id = ma_span_str(user), .client_id = MA_LIT("spa"), .token_scopes = 5, .user_known = true},
        .domain = 2,
        .exp_s = exp,
        .nbf_s = exp - 1,
        .iat_s = exp - 2,
        .jose_epoch = 3,
        .state_epoch = 4,
        .user_generation = 5,
    };
}

START_TEST(test_put_get)
{
    struct key k = key_of(1);
    struct ma_auth_memo m;
    ck_assert(!ma_auth_cache_get(cache, k.b, arena, &m));
    struct ma_auth_memo in = memo_of("auth0|alice", 100);
    ma_auth_cache_put(cache, k.b, &in);
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
    ck_assert(ma_span_eq_str(m.who.user_id, "auth0|alice") && ma_span_eq_str(m.who.client_id, "spa"));
    ck_assert(m.who.token_scopes == 5 && m.who.user_known && !m.who.user_blocked);
    ck_assert(m.domain == 2 && m.exp_s == 100 && m.nbf_s == 99 && m.iat_s == 98);
    ck_assert(m.jose_epoch == 3 && m.state_epoch == 4 && m.user_generation == 5);
}
END_TEST

/* Neither what was put nor what was got is shared with the memory. */
START_TEST(test_copies)
{
    struct key k = key_of(1);
    char user[] = "auth0|alice";
    struct ma_auth_memo m, in = memo_of(user, 100);
    ma_auth_cache_put(cache, k.b, &in);
    memset(user, 'x', sizeof user - 1);
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
    ck_assert(ma_span_eq_str(m.who.user_id, "auth0|alice"));
    ck_assert_int_eq(m.who.user_id.p[m.who.user_id.n], 0);
    ma_auth_cache_drop(cache, k.b);
    ck_assert(ma_span_eq_str(m.who.user_id, "auth0|alice"));
}
END_TEST

START_TEST(test_replace_and_drop)
{
    struct key k = key_of(1), other = key_of(2);
    struct ma_auth_memo m, a = memo_of("a", 1), b = memo_of("a-longer-user", 2);
    ma_auth_cache_put(cache, k.b, &a);
    ma_auth_cache_put(cache, other.b, &a);
    ma_auth_cache_put(cache, k.b, &b);
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
    ck_assert(m.exp_s == 2 && ma_span_eq_str(m.who.user_id, "a-longer-user"));
    ma_auth_cache_drop(cache, k.b);
    ck_assert(!ma_auth_cache_get(cache, k.b, arena, &m));
    ma_auth_cache_drop(cache, k.b);
    ck_assert(ma_auth_cache_get(cache, other.b, arena, &m));
}
END_TEST

START_TEST(test_every_bit_of_the_key_counts)
{
    struct key k = key_of(1);
    struct ma_auth_memo m, in = memo_of("a", 1);
    ma_auth_cache_put(cache, k.b, &in);
    for (size_t bit = 0; bit < MA_SHA256_LEN * 8; bit++) {
        struct key near = k;
        near.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(!ma_auth_cache_get(cache, near.b, arena, &m), "bit %zu", bit);
    }
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
}
END_TEST

START_TEST(test_empty_names)
{
    struct key k = key_of(1);
    struct ma_auth_memo m, in = memo_of("", 1);
    in.who.client_id = MA_LIT("");
    ma_auth_cache_put(cache, k.b, &in);
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
    ck_assert_uint_eq(m.who.user_id.n, 0);
}
END_TEST

/* What a token says beside its user: each text on its own, there or not. */
static const struct {
    const char *org_id, *sid, *jkt; /* NULL: the token has none */
} token_texts[] = {
    {NULL, NULL, NULL},    {"org_1", NULL, NULL},           {NULL, "session-1", NULL},
    {NULL, NULL, "jkt-1"}, {"org_1", "session-1", "jkt-1"}, {"", "", ""},
    {"", NULL, "jkt-1"},
};

static struct ma_span text_or_none(const char *s)
{
    return s ? ma_span_str(s) : MA_SPAN_NULL;
}

static bool same(struct ma_span got, const char *want)
{
    return want ? got.p && ma_span_eq_str(got, want) && got.p[got.n] == 0 : got.p == NULL;
}

START_TEST(test_texts_of_the_token)
{
    struct key k = key_of(1), other = key_of(2);
    char org_id[16] = "", sid[16] = "", jkt[16] = "";
    struct ma_auth_memo m, in = memo_of("auth0|alice", 1), plain = memo_of("auth0|bob", 1);
    (void)snprintf(org_id, sizeof org_id, "%s", token_texts[_i].org_id ? token_texts[_i].org_id : "");
    (void)snprintf(sid, sizeof sid, "%s", token_texts[_i].sid ? token_texts[_i].sid : "");
    (void)snprintf(jkt, sizeof jkt, "%s", token_texts[_i].jkt ? token_texts[_i].jkt : "");
    in.who.org_id = text_or_none(token_texts[_i].org_id ? org_id : NULL);
    in.who.sid = text_or_none(token_texts[_i].sid ? sid : NULL);
    in.who.jkt = text_or_none(token_texts[_i].jkt ? jkt : NULL);
    ma_auth_cache_put(cache, k.b, &in);
    ma_auth_cache_put(cache, other.b, &plain);
    memset(org_id, 'x', sizeof org_id); /* nothing is shared */
    memset(sid, 'x', sizeof sid);
    memset(jkt, 'x', sizeof jkt);
    ck_assert(ma_auth_cache_get(cache, k.b, arena, &m));
    ma_auth_cache_drop(cache, k.b);
    ck_assert(same(m.who.user_id, "auth0|alice") && same(m.who.client_id, "spa"));
    ck_assert(same(m.who.org_id, token_texts[_i].org_id));
    ck_assert(same(m.who.sid, token_texts[_i].sid));
    ck_assert(same(m.who.jkt, token_texts[_i].jkt));
    ck_assert(ma_auth_cache_get(cache, other.b, arena, &m)); /* and nothing is left over from the neighbour */
    ck_assert(!m.who.org_id.p && !m.who.sid.p && !m.who.jkt.p);
}
END_TEST

START_TEST(test_reader_without_memory)
{
    struct key k = key_of(1);
    static char user[512];
    memset(user, 'u', sizeof user - 1);
    struct ma_auth_memo m, in = memo_of(user, 1);
    ma_auth_cache_put(cache, k.b, &in);
    struct ma_arena *small = ma_arena_new(64, 64);
    ck_assert(!ma_auth_cache_get(cache, k.b, small, &m));
    ma_arena_free(small);
}
END_TEST

/* Far more tokens than places: bounded, and the newest are remembered. */
START_TEST(test_bounded)
{
    enum { MANY = 4 * MA_AUTH_CACHE_SLOTS, RECENT = 500 };
    struct ma_auth_memo m;
    unsigned kept = 0, recent = 0;
    for (unsigned i = 0; i < MANY; i++) {
        struct key k = key_of(i);
        struct ma_auth_memo in = memo_of("auth0|alice", i);
        ma_auth_cache_put(cache, k.b, &in);
    }
    for (unsigned i = 0; i < MANY; i++) {
        struct key k = key_of(i);
        if (!ma_auth_cache_get(cache, k.b, arena, &m))
            continue;
        ck_assert_int_eq(m.exp_s, i);
        kept++;
        recent += i >= MANY - RECENT;
    }
    ck_assert_uint_le(kept, MA_AUTH_CACHE_SLOTS);
    ck_assert_uint_ge(kept, MA_AUTH_CACHE_SLOTS * 9 / 10);
    ck_assert_uint_eq(recent, RECENT);
}
END_TEST

/* --- threads --- */

enum { THREADS = 8, ROUNDS = 4000, KEYS = 40 };
static struct key keys[KEYS];
static _Atomic int wrong;

static void *hammer(void *arg)
{
    struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; a && i < ROUNDS; i++) {
        unsigned k = (i * 7 + seed * 13) % KEYS;
        char user[32];
        struct ma_auth_memo m;
        (void)snprintf(user, sizeof user, "user|%u", k);
        if (i % 5 == 0)
            ma_auth_cache_drop(cache, keys[k].b);
        struct ma_auth_memo in = memo_of(user, k);
        ma_auth_cache_put(cache, keys[k].b, &in);
        if (ma_auth_cache_get(cache, keys[k].b, a, &m) && (m.exp_s != k || !ma_span_eq_str(m.who.user_id, user)))
            atomic_fetch_add(&wrong, 1);
        ma_arena_reset(a);
    }
    ma_arena_free(a);
    return NULL;
}

START_TEST(test_threads)
{
    pthread_t t[THREADS];
    for (unsigned i = 0; i < KEYS; i++) {
        keys[i] = key_of(i);
        keys[i].b[0] = keys[i].b[1] = 0; /* all in one set, so that they push each other out */
    }
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&wrong), 0);
}
END_TEST

START_TEST(test_free_nothing)
{
    ma_auth_cache_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("auth_cache");
    TCase *tc = tcase_create("auth_cache");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_put_get);
    tcase_add_test(tc, test_copies);
    tcase_add_test(tc, test_replace_and_drop);
    tcase_add_test(tc, test_every_bit_of_the_key_counts);
    tcase_add_test(tc, test_empty_names);
    tcase_add_loop_test(tc, test_texts_of_the_token, 0, (int)MA_COUNT(token_texts));
    tcase_add_test(tc, test_reader_without_memory);
    tcase_add_test(tc, test_bounded);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_free_nothing);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

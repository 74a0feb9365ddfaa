/* SPDX-License-Identifier: Apache-2.0
 * Leaving and copies at the store and in the thread behind them: what may follow what, races, interruptions, and the
 * document piece by piece.
 */
#include "fixture_db.h"

#include "ma/audit.h"
#include "ma/jsonr.h"
#include "ma/leaving.h"
#include "ma/personal.h"

enum { Q_FIRST = MA_SQL_MAX - MA_SQL_OWN - 32, DAY_MS = 86400000 };
#define ALICE MA_LIT("auth0|alice")
#define BOB MA_LIT("auth0|bob")
#define LATER (NOW + 14LL * DAY_MS)

static const struct ma_sql PARTS = {Q_FIRST, "SELECT count(*) FROM export_parts WHERE id LIKE $1"};
static const struct ma_sql TRAIL = {Q_FIRST + 1, "SELECT count(*) FROM audit WHERE user_id = $1"};
static const struct ma_sql ERASED = {Q_FIRST + 2, "SELECT count(DISTINCT user_id) FROM audit WHERE user_id LIKE $1"};
static const struct ma_sql TOLD = {
    Q_FIRST + 3,
    "SELECT count(*) FROM audit WHERE type = 'sdu' AND detail LIKE '%\"actor\":\"user\"%' AND detail LIKE $1"};
static const struct ma_sql CONSENT = {Q_FIRST + 4, "INSERT INTO consents VALUES ($1, 'auth0|alice', $1, $2, $2, 1, 0)"};

static const uint8_t mac_1[32] = {1}, mac_2[32] = {2};
#define MAC_1 ma_span_of(mac_1, sizeof mac_1)
#define MAC_2 ma_span_of(mac_2, sizeof mac_2)

/* --- in a transaction of its own --- */

#define IN_TX(want, expr)                                                                                              \
    do {                                                                                                               \
        T_OK(ma_db_begin(db));                                                                                         \
        T_IS(want, expr);                                                                                              \
        T_OK(ma_db_commit(db));                                                                                        \
    } while (0)

/* The trail's chain, which what erases needs; closed after the database. */
static struct ma_audit *chain;
static struct ma_db *reader;

static void setup(void)
{
    setup_newest();
    T_OK(ma_audit_open(db, vault, keys, ma_rand_system(), NULL, &chain, why));
    T_OK(ma_db_open(path, MA_DB_READER, NULL, &reader, why));
}

static void close_all(void)
{
    ma_db_close(reader);
    ma_db_close(db);
    db = NULL;
    ma_audit_close(chain);
    teardown();
}

/* --- the thread's surroundings --- */

static struct {
    int writes, fail_at; /* the write that fails; 0: none */
    int after;           /* after this write, `then` happens */
    void (*then)(void);
    int stop_at; /* no more from this write on; 0: never */
} world;

static int env_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    return fn(reader, fn_arg);
}

static int env_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    if (++world.writes == world.fail_at)
        return MA_E_IO;
    T_OK(ma_db_begin(db));
    int r = fn(db, fn_arg);
    if (r == MA_OK)
        T_OK(ma_db_commit(db));
    else
        ma_db_rollback(db);
    if (world.writes == world.after)
        world.then();
    return r;
}

static bool env_more(void *arg)
{
    (void)arg;
    return world.stop_at == 0 || world.writes < world.stop_at;
}

static struct ma_clerk_env env_at(int64_t now_ms)
{
    memset(&world, 0, sizeof world);
    return (struct ma_clerk_env){.vault = vault,
                                 .rand = ma_rand_system(),
                                 .now_ms = now_ms,
                                 .export_ttl_ms = DAY_MS,
                                 .read = env_read,
                                 .write = env_write,
                                 .more = env_more};
}

/* --- leaving and coming back --- */

START_TEST(what_may_follow_what)
{
    struct ma_user u;
    int64_t n = 0;
    IN_TX(MA_E_CONFLICT, ma_leaving_end(db, ALICE, NOW));
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    IN_TX(MA_E_CONFLICT, ma_leaving_begin(db, ALICE, NOW, LATER + 1, MAC_2));
    T_OK(ma_user_get(db, arena, ALICE, &u));
    ck_assert_int_eq(u.leaving_since, NOW);
    ck_assert_int_eq(u.leaves_at, LATER);
    T_OK(ma_leaving_count(db, &n));
    ck_assert_int_eq(n, 1);
    T_OK(ma_leaving_by_link(db, arena, MAC_1, &u));
    ck_assert(ma_span_eq(u.user_id, ALICE));
    T_IS(MA_E_NOTFOUND, ma_leaving_by_link(db, arena, MAC_2, &u));
    T_IS(MA_E_NOTFOUND, ma_leaving_by_link(db, arena, MA_SPAN_NULL, &u));
    IN_TX(MA_E_CONFLICT, ma_leaving_end(db, BOB, NOW));
    IN_TX(MA_OK, ma_leaving_end(db, ALICE, LATER - 1));
    IN_TX(MA_E_CONFLICT, ma_leaving_end(db, ALICE, LATER - 1));
    T_OK(ma_leaving_by_link(db, arena, MAC_1, &u));
    ck_assert(!ma_user_is_leaving(&u));
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_2));
    T_IS(MA_E_NOTFOUND, ma_leaving_by_link(db, arena, MAC_1, &u));
    close_all();
}
END_TEST

START_TEST(to_the_millisecond)
{
    struct ma_leaver v[2];
    size_t n = 0;
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    T_OK(ma_leaving_due(db, arena, LATER - 1, v, 2, &n));
    ck_assert_uint_eq(n, 0);
    IN_TX(MA_E_CONFLICT, ma_leaving_erase(db, ALICE, LATER - 1, MA_LIT("erased|1")));
    IN_TX(MA_E_CONFLICT, ma_leaving_end(db, ALICE, LATER)); /* over */
    T_OK(ma_leaving_due(db, arena, LATER, v, 2, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert(ma_span_eq(v[0].user_id, ALICE));
    ck_assert_ptr_null(v[0].pseudonym.p);
    close_all();
}
END_TEST

/* A request that began before the time was over comes to the writer after erasing began. */
START_TEST(no_return_once_erasing_began)
{
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    IN_TX(MA_OK, ma_leaving_erase(db, ALICE, LATER, MA_LIT("erased|1")));
    IN_TX(MA_E_CONFLICT, ma_leaving_end(db, ALICE, LATER - 1));
    IN_TX(MA_E_CONFLICT, ma_leaving_erase(db, ALICE, LATER, MA_LIT("erased|2")));
    close_all();
}
END_TEST

START_TEST(apply_leaves_it_alone)
{
    struct ma_user u;
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    T_OK(ma_user_get(db, arena, ALICE, &u));
    u.name = MA_LIT("Another name");
    IN_TX(MA_OK, ma_user_put(db, &u));
    T_OK(ma_user_get(db, arena, ALICE, &u));
    ck_assert(ma_span_eq_str(u.name, "Another name"));
    ck_assert_int_eq(u.leaves_at, LATER);
    close_all();
}
END_TEST

/* --- erasing --- */

static int64_t trail_of(const char *user)
{
    return ask(db, &TRAIL, user);
}

static void more_rows(int n)
{
    T_OK(ma_db_begin(db));
    for (int i = 0; i < n; i++) {
        struct ma_audit_row row = {.at = NOW, .type = MA_LIT("s"), .user_id = ALICE};
        T_OK(ma_audit_insert(db, &row));
    }
    T_OK(ma_db_commit(db));
}

static void is_erased(void)
{
    struct ma_user u;
    T_IS(MA_E_NOTFOUND, ma_user_get(db, arena, ALICE, &u));
    T_OK(ma_user_get(db, arena, BOB, &u));
    ck_assert_int_eq(trail_of("auth0|alice"), 0);
    ck_assert_int_eq(ask(db, &ERASED, "erased|%"), 1); /* under one pseudonym */
}

START_TEST(erased_when_due)
{
    struct ma_clerk_env env = env_at(LATER - 1);
    struct ma_user u;
    size_t n = 9;
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    T_OK(ma_erase_due(&env, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_user_get(db, arena, ALICE, &u));
    int64_t rows = trail_of("auth0|alice");
    env.now_ms = LATER;
    T_OK(ma_erase_due(&env, &n));
    ck_assert_uint_eq(n, 1);
    is_erased();
    ck_assert_int_eq(ask(db, &TOLD, ma_arena_printf(arena, "%%\"erased_rows\":%lld}", (long long)rows)), 1);
    T_OK(ma_erase_due(&env, &n));
    ck_assert_uint_eq(n, 0);
    close_all();
}
END_TEST

/* As often as it is interrupted, at whatever write: it goes on under the same pseudonym. */
START_TEST(erased_in_spite_of_interruptions)
{
    struct ma_clerk_env env = env_at(LATER);
    size_t n = 0;
    more_rows(MA_AUDIT_BATCH + 500);
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    world.fail_at = 2;
    T_IS(MA_E_IO, ma_erase_due(&env, &n)); /* logged, and tried again */
    ck_assert_uint_eq(n, 0);
    world.writes = 0;
    world.fail_at = 0;
    world.stop_at = 1;
    T_IS(MA_E_BUSY, ma_erase_due(&env, &n));
    world.stop_at = 0;
    more_rows(3); /* of requests that were refused meanwhile */
    T_OK(ma_erase_due(&env, &n));
    ck_assert_uint_eq(n, 1);
    is_erased();
    close_all();
}
END_TEST

static int returned;
static void come_back(void)
{
    T_OK(ma_db_begin(db));
    returned = ma_leaving_end(db, ALICE, LATER - 1);
    T_OK(ma_db_commit(db));
}
static void operator_deletes(void)
{
    IN_TX(MA_OK, ma_personal_erase(db, ALICE, LATER));
}

START_TEST(return_against_erasure)
{
    struct ma_clerk_env env = env_at(LATER);
    size_t n = 0;
    more_rows(MA_AUDIT_BATCH + 5);
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    world.after = 1; /* between two batches */
    world.then = come_back;
    T_OK(ma_erase_due(&env, &n));
    ck_assert_int_eq(returned, MA_E_CONFLICT);
    ck_assert_uint_eq(n, 1);
    is_erased();
    close_all();
}
END_TEST

static int find_and_return(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    int r = env_read(arg, fn, fn_arg);
    come_back();
    return r;
}

/* Found due, and back before the first write. */
START_TEST(return_before_erasure)
{
    struct ma_clerk_env env = env_at(LATER);
    struct ma_user u;
    size_t n = 9;
    env.read = find_and_return;
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    int64_t rows = trail_of("auth0|alice");
    T_OK(ma_erase_due(&env, &n));
    ck_assert_int_eq(returned, MA_OK);
    ck_assert_uint_eq(n, 0);
    T_OK(ma_user_get(db, arena, ALICE, &u));
    ck_assert(!ma_user_is_leaving(&u));
    ck_assert_int_eq(trail_of("auth0|alice"), rows);
    close_all();
}
END_TEST

START_TEST(operator_against_erasure)
{
    struct ma_clerk_env env = env_at(LATER);
    struct ma_user u;
    size_t n = 9;
    more_rows(MA_AUDIT_BATCH + 5);
    IN_TX(MA_OK, ma_leaving_begin(db, ALICE, NOW, LATER, MAC_1));
    world.after = 1;
    world.then = operator_deletes;
    T_OK(ma_erase_due(&env, &n));
    ck_assert_uint_eq(n, 0);
    T_IS(MA_E_NOTFOUND, ma_user_get(db, arena, ALICE, &u));
    close_all();
}
END_TEST

/* --- copies --- */

static struct ma_export waiting(void)
{
    struct ma_export e;
    T_OK(ma_export_next(db, arena, &e));
    return e;
}

static struct ma_export look(struct ma_span id)
{
    struct ma_export e;
    T_OK(ma_export_get(db, arena, ALICE, id, &e));
    return e;
}

static void grow(int rows)
{
    char *big = ma_arena_alloc(arena, 8000);
    memset(big, 'x', 8000);
    T_OK(ma_db_begin(db));
    for (int i = 0; i < rows; i++) {
        struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
        T_OK(ma_db_stmt(db, &CONSENT, &st));
        ma_bind_text(st, 1, ma_span_str(ma_arena_printf(arena, "cns_%05d", 100 + i)));
        ma_bind_text(st, 2, ma_span_of(big, 8000));
        T_OK(ma_stmt_run(st));
    }
    T_OK(ma_db_commit(db));
}

static int collect(void *arg, struct ma_span text)
{
    struct ma_buf *b = arg;
    ma_buf_span(b, text);
    return ma_buf_err(b);
}

static struct ma_span text_of(const struct ma_export *e)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 65536, (size_t)32 << 20);
    T_OK(ma_export_text(reader, vault, e, &b));
    return ma_buf_view(&b);
}

/* What the engine of `user export` writes, but for what the making itself leaves. */
static void is_whole(const struct ma_export *e)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_buf b;
    ma_buf_init_arena(&b, arena, 65536, (size_t)32 << 20);
    const struct ma_personal_sink sink = {collect, &b};
    T_OK(ma_personal_write(reader, vault, ALICE, e->ready_at, &sink));
    struct ma_span got = text_of(e), want = ma_buf_view(&b);
    T_OK(ma_json_parse(got, &j));
    const uint8_t *cut_got = memmem(got.p, got.n, "\"exports\":", 10);
    const uint8_t *cut_want = memmem(want.p, want.n, "\"exports\":", 10);
    ck_assert_ptr_nonnull(cut_got);
    ck_assert_ptr_nonnull(cut_want);
    ck_assert(
        ma_span_eq(ma_span_of(got.p, (size_t)(cut_got - got.p)), ma_span_of(want.p, (size_t)(cut_want - want.p))));
    ck_assert_int_eq(e->size, (int64_t)got.n + 1);
}

/* As many rows of each table as the user has, counted past the engine; and what of it names nobody else. */
static void has_every_row(struct ma_span text)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    struct ma_buf b;
    size_t n = 0, seen = 0;
    const struct ma_owned_table *t = ma_owned_tables(&n);
    ma_buf_init_arena(&b, arena, 4096, 65536);
    for (size_t i = 0; i < n; i++)
        ma_buf_printf(&b, "%sSELECT '%s', count(*), (SELECT count(*) FROM %s) FROM %s WHERE user_id = $1",
                      i ? " UNION ALL " : "", t[i].table, t[i].table, t[i].table);
    ma_buf_byte(&b, 0);
    const struct ma_sql counts = {Q_FIRST + 5, (const char *)b.p};
    T_OK(ma_json_parse(text, &j));
    T_OK(ma_db_stmt(reader, &counts, &st));
    ma_bind_text(st, 1, ALICE);
    for (; ma_stmt_step(st) == MA_OK; seen++) {
        const char *table = ma_arena_strdup(arena, ma_col_view(st, 0));
        if (strcmp(table, "export_parts") == 0) /* came after the snapshot */
            continue;
        ck_assert_msg((int64_t)ma_json_part_items(j, table) == ma_col_int(st, 1), "%s", table);
        bool device = strncmp(table, "push_", 5) == 0; /* the fixture has none */
        ck_assert_msg(ma_col_int(st, 1) > 0 || device, "%s: the fixture has no row", table);
    }
    ck_assert_uint_eq(seen, n);
    ck_assert_ptr_null(memmem(text.p, text.n, "bob", 3));
}

START_TEST(a_copy_is_made)
{
    struct ma_clerk_env env = env_at(NOW + 5);
    struct ma_export e = waiting();
    grow(40);
    T_OK(ma_export_make(&env));
    T_IS(MA_E_NOTFOUND, ma_export_make(&env));
    e = look(e.id);
    ck_assert_int_eq(e.status, MA_EXPORT_READY);
    ck_assert_int_eq(e.ready_at, NOW + 5);
    ck_assert_int_eq(e.expires_at, NOW + 5 + DAY_MS);
    ck_assert_int_gt(ask(db, &PARTS, "exp_1.%"), 5);
    is_whole(&e);
    has_every_row(text_of(&e));
    close_all();
}
END_TEST

START_TEST(one_at_a_time)
{
    struct ma_export second = {.user_id = ALICE, .id = MA_LIT("exp_2"), .created_at = NOW};
    struct ma_clerk_env env = env_at(NOW);
    T_OK(ma_db_begin(db));
    T_IS(MA_E_EXISTS, ma_export_insert(db, &second));
    ma_db_rollback(db);
    T_OK(ma_export_make(&env));
    T_OK(ma_db_begin(db));
    T_OK(ma_export_insert(db, &second));
    T_OK(ma_export_delete_others(db, ALICE, second.id));
    T_OK(ma_db_commit(db));
    ck_assert_int_eq(ask(db, &PARTS, "%"), 0);
    ck_assert(ma_span_eq_str(waiting().id, "exp_2"));
    close_all();
}
END_TEST

/* A daemon that ends while it is made leaves pieces behind: the next attempt begins anew. */
START_TEST(begun_anew)
{
    struct ma_clerk_env env = env_at(NOW);
    grow(60);
    world.fail_at = 4;
    T_IS(MA_E_IO, ma_export_make(&env));
    world.fail_at = 0;
    world.writes = 0;
    world.stop_at = 3;
    T_IS(MA_E_BUSY, ma_export_make(&env));
    ck_assert_int_gt(ask(db, &PARTS, "exp_1.%"), 0);
    world.stop_at = 0;
    T_OK(ma_export_make(&env));
    struct ma_export e = look(MA_LIT("exp_1"));
    ck_assert_int_eq(e.status, MA_EXPORT_READY);
    ck_assert_int_eq(e.attempts, 3);
    is_whole(&e);
    close_all();
}
END_TEST

START_TEST(given_up)
{
    struct ma_clerk_env env = env_at(NOW);
    grow(60);
    for (int i = 0; i < MA_EXPORT_TRIES; i++) {
        world.writes = 0;
        world.fail_at = 3;
        T_IS(MA_E_IO, ma_export_make(&env));
    }
    world.fail_at = 0;
    T_OK(ma_export_make(&env));
    struct ma_export e = look(MA_LIT("exp_1"));
    ck_assert_int_eq(e.status, MA_EXPORT_FAILED);
    ck_assert(ma_span_eq_str(e.reason, "error"));
    ck_assert_int_eq(e.expires_at, NOW + DAY_MS);
    ck_assert_int_eq(ask(db, &PARTS, "%"), 0);
    close_all();
}
END_TEST

START_TEST(too_large)
{
    struct ma_clerk_env env = env_at(NOW);
    grow(1100); /* each name stands in it twice */
    T_OK(ma_export_make(&env));
    struct ma_export e = look(MA_LIT("exp_1"));
    ck_assert_int_eq(e.status, MA_EXPORT_FAILED);
    ck_assert(ma_span_eq_str(e.reason, "too_large"));
    ck_assert_int_eq(e.size, 0);
    ck_assert_int_eq(ask(db, &PARTS, "%"), 0);
    close_all();
}
END_TEST

START_TEST(its_user_is_deleted_meanwhile)
{
    struct ma_clerk_env env = env_at(NOW);
    struct ma_export e;
    grow(60);
    world.after = 2;
    world.then = operator_deletes;
    T_OK(ma_export_make(&env));
    T_IS(MA_E_NOTFOUND, ma_export_get(db, arena, ALICE, MA_LIT("exp_1"), &e));
    T_IS(MA_E_NOTFOUND, ma_export_next(db, arena, &e));
    ck_assert_int_eq(ask(db, &PARTS, "%"), 0);
    close_all();
}
END_TEST

START_TEST(pieces_belong_to_their_place)
{
    struct ma_clerk_env env = env_at(NOW);
    struct ma_buf b;
    struct ma_span sealed;
    grow(40);
    T_OK(ma_export_make(&env));
    struct ma_export e = look(MA_LIT("exp_1"));
    T_OK(ma_export_part_get(db, arena, ALICE, MA_LIT("exp_1.000001"), &sealed));
    ck_assert_ptr_null(memmem(sealed.p, sealed.n, "alice", 5));
    ma_buf_init_arena(&b, arena, 1024, (size_t)32 << 20);
    struct ma_export of_bob = e;
    of_bob.user_id = BOB;
    T_IS(MA_E_NOTFOUND, ma_export_text(reader, vault, &of_bob, &b));
    ck_assert_uint_eq(b.n, 0);
    /* One moved to the place of another does not open, and one that is missing is noticed. */
    T_OK(ma_db_begin(db));
    T_OK(ma_export_part_put(db, ALICE, MA_LIT("exp_9.000001"), sealed));
    T_OK(ma_db_commit(db));
    struct ma_export moved = e;
    moved.id = MA_LIT("exp_9");
    T_IS(MA_E_AUTH, ma_export_text(reader, vault, &moved, &b));
    moved = e;
    moved.size += 1;
    T_IS(MA_E_NOTFOUND, ma_export_text(reader, vault, &moved, &b));
    close_all();
}
END_TEST

START_TEST(lapsed)
{
    struct ma_clerk_env env = env_at(NOW);
    T_OK(ma_db_begin(db));
    ck_assert_int_eq(ma_exports_expire(db, LATER, 500), 0); /* what waits does not lapse */
    T_OK(ma_db_commit(db));
    T_OK(ma_export_make(&env));
    T_OK(ma_db_begin(db));
    ck_assert_int_eq(ma_exports_expire(db, NOW + DAY_MS, 500), 0);
    ck_assert_int_eq(ma_exports_expire(db, NOW + DAY_MS + 1, 500), 1);
    T_OK(ma_db_commit(db));
    ck_assert_int_eq(ask(db, &PARTS, "%"), 0);
    close_all();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("leaving");
    TCase *leaving = tcase_create("leaving"), *copies = tcase_create("copies");
    tcase_set_timeout(leaving, 120);
    tcase_set_timeout(copies, 120);
    tcase_add_checked_fixture(leaving, setup, NULL);
    tcase_add_checked_fixture(copies, setup, NULL);
    tcase_add_test(leaving, what_may_follow_what);
    tcase_add_test(leaving, to_the_millisecond);
    tcase_add_test(leaving, no_return_once_erasing_began);
    tcase_add_test(leaving, apply_leaves_it_alone);
    tcase_add_test(leaving, erased_when_due);
    tcase_add_test(leaving, erased_in_spite_of_interruptions);
    tcase_add_test(leaving, return_against_erasure);
    tcase_add_test(leaving, return_before_erasure);
    tcase_add_test(leaving, operator_against_erasure);
    tcase_add_test(copies, a_copy_is_made);
    tcase_add_test(copies, one_at_a_time);
    tcase_add_test(copies, begun_anew);
    tcase_add_test(copies, given_up);
    tcase_add_test(copies, too_large);
    tcase_add_test(copies, its_user_is_deleted_meanwhile);
    tcase_add_test(copies, pieces_belong_to_their_place);
    tcase_add_test(copies, lapsed);
    suite_add_tcase(s, leaving);
    suite_add_tcase(s, copies);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

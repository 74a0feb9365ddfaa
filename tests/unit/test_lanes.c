/* SPDX-License-Identifier: Apache-2.0
 * The lane threads against a real database: group commit, savepoints, bounded queues, writes on behalf of other
 * threads, and stopping with work under way.
 */
#include "../support/fixture.h"
#include "ma/heartbeat.h"
#include "ma/lanes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "ma/api.h"

enum { QUEUE = 64, BATCH = 4 };

static struct ma_fix f;
static struct ma_lanes *lanes;
static struct ma_heartbeats *beats;
static struct ma_lanes_env env;
static struct ma_db *reader; /* under world.lock */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut, entered; /* the gate that holds a step or job inside the writer */
    int commits, finished, committed, rolled_back, unseen, changed_users;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* One request; its user id is what its step inserts. */
struct work {
    struct ma_ctx ctx;
    char id[32];
    bool must_be_seen; /* its row has to be committed when it is finished */
};

static void lock(void)
{
    (void)pthread_mutex_lock(&world.lock);
}

static void unlock(void)
{
    (void)pthread_cond_broadcast(&world.changed);
    (void)pthread_mutex_unlock(&world.lock);
}

static bool stored(struct ma_db *db, const char *id)
{
    struct ma_user u;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    int r = ma_user_get(db, a, ma_span_str(id), &u);
    ck_assert_msg(r == MA_OK || r == MA_E_NOTFOUND, "%s", ma_err_name(r));
    return r == MA_OK;
}

static bool seen(const char *id)
{
    lock();
    bool found = stored(reader, id);
    unlock();
    return found;
}

/* --- what the lanes call back --- */

static void finished(struct ma_ctx *ctx)
{
    struct work *w = (struct work *)(void *)ctx;
    if (ctx->step && ma_lane_reserve(lanes, ctx->step_lane)) {
        ma_lane_push(lanes, ctx->step_lane, ctx);
        return;
    }
    lock();
    world.finished++;
    world.unseen += w->must_be_seen && !stored(reader, w->id);
    unlock();
}

static int rolled_back(struct ma_ctx *ctx)
{
    char trace[64];
    (void)snprintf(trace, sizeof trace, "trace|%s", (const char *)ctx->scratch);
    struct ma_user u = {.user_id = ma_span_str(trace)};
    (void)!ma_user_insert(ctx->db, &u);
    lock();
    world.rolled_back++;
    unlock();
    return strcmp(ctx->scratch, "half audited") == 0 ? MA_E_NOMEM
                                                     : MA_OK; /* its row is there, what belongs to it not */
}

static void count_commit(const struct ma_app *app)
{
    (void)app;
    lock();
    world.commits++;
    unlock();
}

static void committed(const struct ma_app *app, struct ma_ctx *ctx)
{
    (void)app;
    lock();
    world.committed++;
    world.changed_users += ctx->user_changed;
    unlock();
}

static int housekeeping(const struct ma_app *app, struct ma_db *db, bool *ret_more)
{
    *ret_more = false;
    (void)app;
    (void)db;
    return MA_OK;
}

/* --- setup --- */

static void stop_lanes(void)
{
    ma_lanes_stop(lanes);
    ma_lanes_free(lanes);
    lanes = NULL;
}

static void start(int64_t queue, int64_t batch, const char *database)
{
    char why[256] = "";
    env = (struct ma_lanes_env){.app = &f.app,
                                .database = database,
                                .writer = f.app.writer,
                                .heartbeats = beats,
                                .queue = queue,
                                .write_batch = batch,
                                .finished = finished,
                                .rolled_back = rolled_back,
                                .housekeeping = housekeeping,
                                .count_commit = count_commit,
                                .committed = committed};
    T_OK(ma_lanes_start(&env, &lanes, why));
}

static void setup(void)
{
    char why[256] = "";
    ma_fix_open(&f, "");
    ck_assert_msg(ma_db_open(f.database, MA_DB_READER, NULL, &reader, why) == MA_OK, "%s", why);
}

static void teardown(void)
{
    ma_db_close(reader);
    ma_fix_close(&f);
}

static void work_init(struct work *w, const char *id, enum ma_lane lane, ma_step step)
{
    *w = (struct work){.ctx = {.app = &f.app, .conf = f.conf, .step = step, .step_lane = lane}};
    (void)snprintf(w->id, sizeof w->id, "%s", id);
    w->ctx.arena = ma_arena_new(1024, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(w->ctx.arena);
    w->ctx.scratch = w->id;
}

static void work_free(struct work *w)
{
    ma_arena_free(w->ctx.arena);
}

static void push(struct work *w)
{
    ck_assert(ma_lane_reserve(lanes, w->ctx.step_lane));
    ma_lane_push(lanes, w->ctx.step_lane, &w->ctx);
}

static void wait_finished(int n)
{
    lock();
    while (world.finished < n)
        (void)pthread_cond_wait(&world.changed, &world.lock);
    unlock();
}

/* --- the gate --- */

static void shut(void)
{
    lock();
    world.shut = true;
    world.entered = false;
    unlock();
}

static void open_gate(void)
{
    lock();
    world.shut = false;
    unlock();
}

static void wait_entered(void)
{
    lock();
    while (!world.entered)
        (void)pthread_cond_wait(&world.changed, &world.lock);
    unlock();
}

static void pass_gate(void)
{
    lock();
    world.entered = true;
    (void)pthread_cond_broadcast(&world.changed);
    while (world.shut)
        (void)pthread_cond_wait(&world.changed, &world.lock);
    unlock();
}

/* --- steps --- */

static int insert(struct ma_db *db, const char *id)
{
    struct ma_user u = {.user_id = ma_span_str(id), .created_at = MA_FIX_START, .updated_at = MA_FIX_START};
    return ma_user_insert(db, &u);
}

static int step_insert(struct ma_ctx *ctx)
{
    int r = insert(ctx->db, ctx->scratch);
    ctx->user_changed = true;
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

static int step_gate(struct ma_ctx *ctx)
{
    pass_gate();
    return step_insert(ctx);
}

static int step_refuse(struct ma_ctx *ctx)
{
    (void)!step_insert(ctx);
    return ma_problem(ctx, MA_P_CONFLICT, NULL);
}

static int step_refuse_audited(struct ma_ctx *ctx)
{
    ctx->audit.due = true;
    return step_refuse(ctx);
}

static int step_keep(struct ma_ctx *ctx)
{
    ctx->keep = true;
    return step_refuse(ctx);
}

static int step_error(struct ma_ctx *ctx)
{
    int r = insert(ctx->db, ctx->scratch);
    return r == MA_OK ? insert(ctx->db, ctx->scratch) : r;
}

static int step_to_cpu(struct ma_ctx *ctx);

static int step_next(struct ma_ctx *ctx)
{
    int r = insert(ctx->db, ctx->scratch);
    return r == MA_OK ? ma_next(ctx, MA_LANE_CPU, step_to_cpu) : r;
}

static int step_to_cpu(struct ma_ctx *ctx)
{
    return ma_reply_empty(ctx, ctx->db != f.app.writer && stored(ctx->db, ctx->scratch) ? 200 : 500);
}

/* --- the writer --- */

START_TEST(test_one)
{
    struct work w;
    uint64_t commits = 0, requests = 0;
    start(QUEUE, BATCH, f.database);
    work_init(&w, "one", MA_LANE_WRITE, step_insert);
    w.must_be_seen = true;
    push(&w);
    wait_finished(1);
    ck_assert_int_eq(w.ctx.resp.status, 204);
    ck_assert_int_eq(world.unseen, 0);
    ck_assert_int_eq(world.committed, 1);
    ck_assert_int_eq(world.changed_users, 1);
    ck_assert_ptr_null(w.ctx.step);
    ma_lanes_counters(lanes, &commits, &requests);
    ck_assert(commits == 1 && requests == 1);
    ck_assert_int_eq(world.commits, 1);
    ck_assert_uint_eq(ma_lane_depth(lanes, MA_LANE_WRITE), 0);
    stop_lanes();
    work_free(&w);
}
END_TEST

/* Ten wait behind one that is held: with batches of four they take three commits more. */
START_TEST(test_batches)
{
    enum { N = 11 };
    static struct work w[N];
    uint64_t commits = 0, requests = 0;
    start(QUEUE, BATCH, f.database);
    shut();
    for (int i = 0; i < N; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "u%d", i);
        work_init(&w[i], id, MA_LANE_WRITE, i ? step_insert : step_gate);
        w[i].must_be_seen = true;
        push(&w[i]);
        if (i == 0)
            wait_entered();
    }
    ck_assert_uint_eq(ma_lane_depth(lanes, MA_LANE_WRITE), N);
    ck_assert(!seen("u0"));
    open_gate();
    wait_finished(N);
    ma_lanes_counters(lanes, &commits, &requests);
    ck_assert_uint_eq(commits, 1 + 3);
    ck_assert_uint_eq(requests, N);
    ck_assert_int_eq(world.unseen, 0);
    stop_lanes();
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(w[i].ctx.resp.status, 204);
        ck_assert_int_ge(w[i].ctx.queued_us, 0);
        work_free(&w[i]);
    }
}
END_TEST

/* In one batch each stands for itself: good ones stay, refused and failed ones leave nothing, kept ones stay. */
static const struct {
    const char *id;
    ma_step step;
    int status;
    bool stored;
    bool trace;
} mixed[] = {
    {"gate", step_gate, 204, true, false},
    {"good", step_insert, 204, true, false},
    {"refused", step_refuse, 409, false, false},
    {"audited", step_refuse_audited, 409, false, true},
    {"half audited", step_refuse_audited, 409, false, false},
    {"kept", step_keep, 409, true, false},
    {"failed", step_error, 500, false, false},
    {"again", step_insert, 204, true, false},
};

START_TEST(test_savepoints)
{
    static struct work w[MA_COUNT(mixed)];
    uint64_t commits = 0, requests = 0;
    start(QUEUE, QUEUE, f.database);
    shut();
    for (size_t i = 0; i < MA_COUNT(mixed); i++) {
        work_init(&w[i], mixed[i].id, MA_LANE_WRITE, mixed[i].step);
        push(&w[i]);
        if (i == 0)
            wait_entered();
    }
    open_gate();
    wait_finished((int)MA_COUNT(mixed));
    ma_lanes_counters(lanes, &commits, &requests);
    ck_assert_uint_eq(commits, 2);
    stop_lanes();
    for (size_t i = 0; i < MA_COUNT(mixed); i++) {
        char trace[64];
        (void)snprintf(trace, sizeof trace, "trace|%s", mixed[i].id);
        ck_assert_msg(w[i].ctx.resp.status == mixed[i].status, "%s: %d", mixed[i].id, w[i].ctx.resp.status);
        ck_assert_msg(seen(mixed[i].id) == mixed[i].stored, "%s", mixed[i].id);
        ck_assert_msg(seen(trace) == mixed[i].trace, "%s", trace);
        work_free(&w[i]);
    }
    ck_assert_int_eq(world.rolled_back, 2);
    ck_assert_int_eq(world.changed_users, 4); /* of what was rolled back nothing is stale */
}
END_TEST

START_TEST(test_next_lane)
{
    struct work w;
    start(QUEUE, BATCH, f.database);
    work_init(&w, "next", MA_LANE_WRITE, step_next);
    push(&w);
    wait_finished(1);
    ck_assert_int_eq(w.ctx.resp.status, 200); /* the second lane saw what the first had committed */
    stop_lanes();
    work_free(&w);
}
END_TEST

/* --- a disk that is full --- */

static int limit_pages(struct ma_db *db, void *arg)
{
#ifdef MA_TEST_HOOKS
    return ma_db_test_limit_pages(db, *(const int64_t *)arg);
#else
    (void)db;
    (void)arg;
    return MA_E_UNSUPPORTED;
#endif
}

static int step_big(struct ma_ctx *ctx)
{
    static char big[200000];
    memset(big, 'x', sizeof big);
    struct ma_user u = {.user_id = ma_span_str(ctx->scratch), .name = ma_span_of(big, sizeof big)};
    int r = ma_user_insert(ctx->db, &u);
    return r == MA_OK ? ma_reply_empty(ctx, 204) : r;
}

START_TEST(test_full_disk_fails_the_batch)
{
    static const struct {
        const char *id;
        ma_step step;
    } rows[] = {{"gate", step_gate}, {"before", step_insert}, {"big", step_big}, {"after", step_insert}};
    static struct work w[MA_COUNT(rows)];
    int64_t pages = 1;
    start(QUEUE, QUEUE, f.database);
    int r = ma_lanes_write(lanes, limit_pages, &pages);
    if (r == MA_E_UNSUPPORTED) { /* a build without the test's hooks */
        stop_lanes();
        return;
    }
    T_OK(r);
    shut();
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        work_init(&w[i], rows[i].id, MA_LANE_WRITE, rows[i].step);
        push(&w[i]);
        if (i == 0)
            wait_entered();
    }
    open_gate();
    wait_finished((int)MA_COUNT(rows));
    ck_assert_int_eq(world.commits, 2); /* the page limit and the gate */
    for (size_t i = 1; i < MA_COUNT(rows); i++) {
        ck_assert_msg(w[i].ctx.resp.status == 503, "%s: %d", rows[i].id, w[i].ctx.resp.status);
        ck_assert_ptr_nonnull(ma_fix_header(&w[i].ctx, "Retry-After"));
        ck_assert_msg(!seen(rows[i].id), "%s", rows[i].id);
    }
    pages = 1000000; /* there is space again: so is the writer */
    T_OK(ma_lanes_write(lanes, limit_pages, &pages));
    w[2].ctx.step = step_big;
    push(&w[2]);
    wait_finished((int)MA_COUNT(rows) + 1);
    ck_assert_int_eq(w[2].ctx.resp.status, 204);
    ck_assert(seen("big"));
    stop_lanes();
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        work_free(&w[i]);
}
END_TEST

/* --- queues --- */

START_TEST(test_queue_full)
{
    start(3, BATCH, f.database);
    enum ma_lane lane = (enum ma_lane)(_i + MA_LANE_WRITE);
    struct work w;
    for (int i = 0; i < 3; i++)
        ck_assert(ma_lane_reserve(lanes, lane));
    ck_assert(!ma_lane_reserve(lanes, lane));
    ck_assert_uint_eq(ma_lane_depth(lanes, lane), 3);
    for (int other = MA_LANE_WRITE; other < MA_LANE__COUNT; other++)
        ck_assert_uint_eq(ma_lane_depth(lanes, (enum ma_lane)other), other == (int)lane ? 3 : 0);
    for (int i = 0; i < 3; i++) { /* what is done makes room */
        char id[8];
        (void)snprintf(id, sizeof id, "q%d", i);
        work_init(&w, id, lane, lane == MA_LANE_WRITE ? step_insert : step_to_cpu);
        ma_lane_push(lanes, lane, &w.ctx);
        wait_finished(i + 1);
        ck_assert_uint_eq(ma_lane_depth(lanes, lane), (size_t)(2 - i));
        work_free(&w);
    }
    ck_assert(ma_lane_reserve(lanes, lane));
    work_init(&w, "q3", lane, lane == MA_LANE_WRITE ? step_insert : step_to_cpu);
    ma_lane_push(lanes, lane, &w.ctx);
    wait_finished(4);
    stop_lanes();
    work_free(&w);
}
END_TEST

/* --- the other lanes --- */

static int step_where(struct ma_ctx *ctx)
{
    bool net = ma_lane_httpc() != NULL;
    int r = insert(ctx->db, "written-by-a-reader");
    ck_assert_ptr_ne(ctx->db, f.app.writer);
    return ma_reply_empty(ctx, r == MA_OK ? 500 : net ? 201 : 202);
}

START_TEST(test_cpu_and_net)
{
    struct work cpu, net;
    start(QUEUE, BATCH, f.database);
    ck_assert_ptr_null(ma_lane_httpc());
    work_init(&cpu, "cpu", MA_LANE_CPU, step_where);
    work_init(&net, "net", MA_LANE_NET, step_where);
    push(&cpu);
    push(&net);
    wait_finished(2);
    ck_assert_int_eq(cpu.ctx.resp.status, 202);
    ck_assert_int_eq(net.ctx.resp.status, 201);
    ck_assert(!seen("written-by-a-reader"));
    stop_lanes();
    work_free(&cpu);
    work_free(&net);
}
END_TEST

START_TEST(test_lane_without_reader)
{
    struct work w;
    start(QUEUE, BATCH, "/nonexistent/t.db");
    work_init(&w, "x", (enum ma_lane)(_i + MA_LANE_CPU), step_to_cpu);
    push(&w);
    wait_finished(1);
    ck_assert_int_eq(w.ctx.resp.status, 503);
    ck_assert_ptr_null(w.ctx.step);
    stop_lanes();
    work_free(&w);
}
END_TEST

/* --- keys of the network lane --- */

static void *stop_thread(void *arg)
{
    ma_lanes_stop(arg);
    return NULL;
}

enum { PER_KEY = MA_NET_PER_KEY, NET = MA_NET_THREADS }; /* as the lane has it */

static struct {
    int inside[4], most[4]; /* by key; under world.lock */
} keyed;

/* Waits inside until the gate of its key is opened. */
static int step_keyed(struct ma_ctx *ctx)
{
    size_t key = (size_t)ctx->net_key;
    lock();
    keyed.inside[key]++;
    if (keyed.inside[key] > keyed.most[key])
        keyed.most[key] = keyed.inside[key];
    (void)pthread_cond_broadcast(&world.changed);
    while (world.shut && (key == 1 || ctx->net_provider))
        (void)pthread_cond_wait(&world.changed, &world.lock);
    keyed.inside[key]--;
    unlock();
    return ma_reply_empty(ctx, 204);
}

static void wait_inside(size_t key, int n)
{
    lock();
    while (keyed.inside[key] < n)
        (void)pthread_cond_wait(&world.changed, &world.lock);
    unlock();
}

static void push_keyed(struct work *w, uint64_t key)
{
    work_init(w, "k", MA_LANE_NET, step_keyed);
    w->ctx.net_key = key;
    push(w);
}

/* One key hangs with as many as it may have, and more wait; others, and those without a key, get through. */
START_TEST(test_one_key_hangs)
{
    enum { HANG = 12, REST = 30 };
    static struct work hang[HANG], rest[REST];
    start(QUEUE, BATCH, f.database);
    shut();
    for (int i = 0; i < HANG; i++)
        push_keyed(&hang[i], 1);
    wait_inside(1, PER_KEY);
    for (int i = 0; i < REST; i++)
        push_keyed(&rest[i], i % 3 == 0 ? 0 : 2);
    wait_finished(REST);
    lock();
    ck_assert_int_eq(keyed.most[1], PER_KEY);
    ck_assert_int_eq(keyed.inside[1], PER_KEY);
    ck_assert_int_le(keyed.most[2], PER_KEY);
    unlock();
    ck_assert_uint_eq(ma_lane_depth(lanes, MA_LANE_NET), HANG);
    open_gate();
    wait_finished(REST + HANG);
    ck_assert_int_eq(keyed.most[1], PER_KEY);
    ck_assert_uint_eq(ma_lane_depth(lanes, MA_LANE_NET), 0);
    stop_lanes();
    for (int i = 0; i < HANG; i++) {
        ck_assert_int_eq(hang[i].ctx.resp.status, 204);
        work_free(&hang[i]);
    }
    for (int i = 0; i < REST; i++) {
        ck_assert_int_eq(rest[i].ctx.resp.status, 204);
        work_free(&rest[i]);
    }
}
END_TEST

/* Every provider hangs: calls to others still find a thread each. */
START_TEST(test_providers_hang)
{
    enum { HANG = 3 * MA_NET_PER_KEY, MOST = MA_NET_THREADS - MA_NET_RESERVED, REST = 6 };
    static struct work hang[HANG], rest[REST];
    int inside = 0;
    start(QUEUE, BATCH, f.database);
    shut();
    for (int i = 0; i < HANG; i++) {
        work_init(&hang[i], "k", MA_LANE_NET, step_keyed);
        hang[i].ctx.net_key = (uint64_t)(1 + i % 3);
        hang[i].ctx.net_provider = true;
        push(&hang[i]);
    }
    lock();
    while (inside < MOST) {
        inside = keyed.inside[1] + keyed.inside[2] + keyed.inside[3];
        if (inside < MOST)
            (void)pthread_cond_wait(&world.changed, &world.lock);
    }
    unlock();
    for (int i = 0; i < REST; i++)
        push_keyed(&rest[i], 0);
    wait_finished(REST);
    lock();
    ck_assert_int_eq(keyed.inside[1] + keyed.inside[2] + keyed.inside[3], MOST);
    unlock();
    open_gate();
    wait_finished(REST + HANG);
    stop_lanes();
    for (int i = 0; i < HANG; i++)
        work_free(&hang[i]);
    for (int i = 0; i < REST; i++)
        work_free(&rest[i]);
}
END_TEST

/* What still waits for its key when the lane stops is done before it ends. */
START_TEST(test_stop_with_keys_waiting)
{
    enum { N = 20 };
    static struct work w[N];
    pthread_t t;
    start(QUEUE, BATCH, f.database);
    shut();
    for (int i = 0; i < N; i++)
        push_keyed(&w[i], 1);
    wait_inside(1, PER_KEY);
    ck_assert_int_eq(pthread_create(&t, NULL, stop_thread, lanes), 0);
    for (int i = 0; i < 2000; i++) /* time for threads that would end too early */
        (void)sched_yield();
    ck_assert_int_eq(world.finished, 0);
    open_gate();
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    ck_assert_int_eq(world.finished, N);
    ck_assert_int_eq(keyed.most[1], PER_KEY);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(w[i].ctx.resp.status, 204);
        work_free(&w[i]);
    }
}
END_TEST

/* Many of few keys through a short queue: nobody is forgotten, no key has more than its share. */
START_TEST(test_crowd_of_keys)
{
    enum { N = 3000 };
    static struct work w[N];
    start(16, BATCH, f.database);
    for (int i = 0; i < N; i++) {
        while (!ma_lane_reserve(lanes, MA_LANE_NET))
            (void)sched_yield();
        work_init(&w[i], "k", MA_LANE_NET, step_keyed);
        w[i].ctx.net_key = (uint64_t)(i * 7 / 3 % 4);
        ma_lane_push(lanes, MA_LANE_NET, &w[i].ctx);
    }
    wait_finished(N);
    stop_lanes();
    ck_assert_int_le(keyed.most[0], NET);
    for (size_t key = 1; key < MA_COUNT(keyed.most); key++)
        ck_assert_int_le(keyed.most[key], PER_KEY);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(w[i].ctx.resp.status, 204);
        work_free(&w[i]);
    }
}
END_TEST

/* --- writes of other threads --- */

static int job_insert(struct ma_db *db, void *arg)
{
    return insert(db, arg);
}

static int job_fail(struct ma_db *db, void *arg)
{
    int r = insert(db, arg);
    return r == MA_OK ? MA_E_UPSTREAM : r;
}

static int job_gate(struct ma_db *db, void *arg)
{
    pass_gate();
    return insert(db, arg);
}

START_TEST(test_write)
{
    char a[] = "a", b[] = "b";
    start(QUEUE, BATCH, f.database);
    T_OK(ma_lanes_write(lanes, job_insert, a));
    ck_assert(seen("a"));
    T_IS(MA_E_EXISTS, ma_lanes_write(lanes, job_insert, a));
    T_IS(MA_E_UPSTREAM, ma_lanes_write(lanes, job_fail, b));
    ck_assert(!seen("b"));
    T_OK(ma_lanes_write(lanes, job_insert, b));
    stop_lanes();
}
END_TEST

static int64_t log_bytes(void)
{
    struct stat st;
    char name[128];
    (void)snprintf(name, sizeof name, "%s-wal", f.database);
    return stat(name, &st) == 0 ? (int64_t)st.st_size : 0;
}

START_TEST(test_scrub)
{
    char a[] = "a", b[] = "b", why[256];
    struct ma_db *other = NULL;
    start(QUEUE, BATCH, f.database);
    T_OK(ma_lanes_write(lanes, job_insert, a));
    ck_assert_int_gt(log_bytes(), 0);
    T_OK(ma_lanes_scrub(lanes, 0, 60000));
    ck_assert_int_eq(log_bytes(), 0);
    T_OK(ma_lanes_write(lanes, job_insert, b));
    T_IS(MA_E_RANGE, ma_lanes_scrub(lanes, 1, 60000)); /* too large for that, but the log is cut */
    ck_assert_int_eq(log_bytes(), 0);
    /* a reader in the way: given up for now, and done when it ends */
    T_OK(ma_db_open(f.database, MA_DB_READER, NULL, &other, why));
    T_OK(ma_db_read_begin(other));
    ck_assert(stored(other, "b"));
    char c[] = "c";
    T_OK(ma_lanes_write(lanes, job_insert, c));
    T_IS(MA_E_TIMEOUT, ma_lanes_scrub(lanes, 0, 0));
    ma_db_read_end(other);
    ma_db_close(other);
    T_OK(ma_lanes_scrub(lanes, 0, 60000));
    ck_assert_int_eq(log_bytes(), 0);
    ck_assert(seen("a") && seen("b") && seen("c"));
    stop_lanes();
}
END_TEST

static void *write_thread(void *arg)
{
    char *id = arg;
    int r = ma_lanes_write(lanes, id[0] == 'g' ? job_gate : id[0] == 'f' ? job_fail : job_insert, id);
    bool ok = r == (id[0] == 'f' ? MA_E_UPSTREAM : MA_OK) && seen(id) == (id[0] != 'f');
    return ok ? NULL : arg;
}

START_TEST(test_writes_of_many_threads)
{
    enum { THREADS = 12 };
    static char ids[THREADS][16];
    pthread_t t[THREADS];
    struct work w;
    start(QUEUE, BATCH, f.database);
    shut();
    work_init(&w, "beside", MA_LANE_WRITE, step_insert);
    for (int i = 0; i < THREADS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "%c%d", i == 0 ? 'g' : i % 3 == 0 ? 'f' : 'j', i);
        ck_assert_int_eq(pthread_create(&t[i], NULL, write_thread, ids[i]), 0);
        if (i == 0)
            wait_entered();
    }
    push(&w);
    open_gate();
    for (int i = 0; i < THREADS; i++) {
        void *bad = NULL;
        ck_assert_int_eq(pthread_join(t[i], &bad), 0);
        ck_assert_msg(!bad, "%s", ids[i]);
    }
    wait_finished(1);
    ck_assert_int_eq(w.ctx.resp.status, 204);
    stop_lanes();
    work_free(&w);
}
END_TEST

/* --- stopping --- */

START_TEST(test_stop_with_work_queued)
{
    enum { N = 20 };
    static struct work w[N];
    pthread_t t;
    start(QUEUE, BATCH, f.database);
    shut();
    for (int i = 0; i < N; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "s%d", i);
        work_init(&w[i], id, MA_LANE_WRITE, i ? step_insert : step_gate);
        w[i].must_be_seen = true;
        push(&w[i]);
        if (i == 0)
            wait_entered();
    }
    ck_assert_int_eq(pthread_create(&t, NULL, stop_thread, lanes), 0);
    while (ma_lane_reserve(lanes, MA_LANE_NET)) { /* until nothing new is taken; a taken place is used */
        static struct work extra[QUEUE];
        static int n;
        work_init(&extra[n], "x", MA_LANE_NET, step_to_cpu);
        ma_lane_push(lanes, MA_LANE_NET, &extra[n].ctx);
        wait_finished(++n);
        work_free(&extra[n - 1]);
        if (n == QUEUE)
            n = 0, world.finished = 0;
    }
    open_gate();
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_msg(w[i].ctx.resp.status == 204 && seen(w[i].id), "%s", w[i].id);
        work_free(&w[i]);
    }
    ck_assert_int_eq(world.unseen, 0);
}
END_TEST

/* A place was taken before the stop and is used after it began: the request is still finished. */
START_TEST(test_stop_waits_for_reserved_places)
{
    enum ma_lane lane = (enum ma_lane)(_i + MA_LANE_WRITE);
    struct work w;
    pthread_t t;
    start(1, BATCH, f.database);
    ck_assert(ma_lane_reserve(lanes, lane));
    enum ma_lane other = lane == MA_LANE_NET ? MA_LANE_CPU : MA_LANE_NET;
    ck_assert_int_eq(pthread_create(&t, NULL, stop_thread, lanes), 0);
    int n = 0;
    for (; ma_lane_reserve(lanes, other); n++) {
        struct work probe;
        work_init(&probe, "probe", other, step_to_cpu);
        ma_lane_push(lanes, other, &probe.ctx);
        wait_finished(n + 1);
        work_free(&probe);
    }
    for (int i = 0; i < 2000; i++) /* time for threads that would end too early */
        (void)sched_yield();
    work_init(&w, "late", lane, lane == MA_LANE_WRITE ? step_insert : step_where);
    ma_lane_push(lanes, lane, &w.ctx);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    ck_assert_int_eq(world.finished, n + 1);
    ck_assert_int_ne(w.ctx.resp.status, 0);
    work_free(&w);
}
END_TEST

START_TEST(test_stop_idle)
{
    start(QUEUE, BATCH, f.database);
    stop_lanes();
    ma_lanes_stop(NULL);
}
END_TEST

/* HTTP threads outlive the lanes' threads: what they ask for meanwhile is refused, not a crash. */
START_TEST(test_reserve_after_stop)
{
    start(QUEUE, BATCH, f.database);
    ma_lanes_stop(lanes);
    for (enum ma_lane lane = MA_LANE_WRITE; lane <= MA_LANE_NET; lane++)
        ck_assert(!ma_lane_reserve(lanes, lane));
    uint64_t commits = 1, requests = 1;
    ma_lanes_counters(lanes, &commits, &requests);
    ck_assert(commits == 0 && requests == 0);
    ma_lanes_free(lanes);
    ma_lanes_free(NULL);
}
END_TEST

/* --- everything at once --- */

enum { PRODUCERS = 6, EACH = 300 };
static struct work crowd[PRODUCERS][EACH];

static void *produce(void *arg)
{
    struct work *w = arg;
    for (int i = 0; i < EACH; i++) {
        while (!ma_lane_reserve(lanes, w[i].ctx.step_lane))
            (void)sched_yield();
        ma_lane_push(lanes, w[i].ctx.step_lane, &w[i].ctx);
    }
    return NULL;
}

START_TEST(test_crowd)
{
    static const ma_step steps[] = {step_insert, step_refuse, step_keep, step_insert, step_error};
    static const int status[] = {204, 409, 409, 204, 500};
    pthread_t t[PRODUCERS];
    uint64_t commits = 0, requests = 0;
    start(8, BATCH, f.database);
    for (int p = 0; p < PRODUCERS; p++)
        for (int i = 0; i < EACH; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "c%d.%d", p, i);
            work_init(&crowd[p][i], id, MA_LANE_WRITE, steps[i % 5]);
            crowd[p][i].must_be_seen = i % 5 == 0 || i % 5 == 2 || i % 5 == 3;
        }
    for (int p = 0; p < PRODUCERS; p++)
        ck_assert_int_eq(pthread_create(&t[p], NULL, produce, crowd[p]), 0);
    for (int p = 0; p < PRODUCERS; p++)
        ck_assert_int_eq(pthread_join(t[p], NULL), 0);
    wait_finished(PRODUCERS * EACH);
    ma_lanes_counters(lanes, &commits, &requests);
    stop_lanes();
    ck_assert_uint_eq(requests, PRODUCERS * EACH);
    ck_assert_uint_le(commits, requests);
    ck_assert_int_eq(world.unseen, 0);
    ck_assert_int_eq(world.finished, PRODUCERS * EACH);
    for (int p = 0; p < PRODUCERS; p++)
        for (int i = 0; i < EACH; i++) {
            ck_assert_msg(crowd[p][i].ctx.resp.status == status[i % 5], "%s", crowd[p][i].id);
            work_free(&crowd[p][i]);
        }
    ck_assert(!seen("c0.1") && !seen("c0.4"));
}
END_TEST

/* --- signs of life --- */

enum { LIMIT_MS = 400 };

static int step_gate_only(struct ma_ctx *ctx)
{
    pass_gate();
    return ma_reply_empty(ctx, 204);
}

/* Waits until this thread is the late one, or (for "") nobody is. */
static void wait_late(const char *want)
{
    const struct timespec pause = {0, 10000000};
    for (;;) {
        const char *name = ma_heartbeats_late(beats, ma_heartbeats_now_ms());
        if (strcmp(name ? name : "", want) == 0)
            return;
        (void)nanosleep(&pause, NULL);
    }
}

static const struct {
    enum ma_lane lane;
    const char *name;
} watched[] = {{MA_LANE_WRITE, "writer"}, {MA_LANE_CPU, "hashing lane"}, {MA_LANE_NET, "network lane"}};

/* A step that does not come back is seen; threads that merely wait give their signs. */
START_TEST(test_stuck_thread_is_late)
{
    struct work w;
    T_OK(ma_heartbeats_new(LIMIT_MS, &beats));
    start(QUEUE, BATCH, f.database);
    shut();
    work_init(&w, "auth0|stuck", watched[_i].lane, step_gate_only);
    push(&w);
    wait_entered();
    wait_late(watched[_i].name);
    open_gate();
    wait_finished(1);
    wait_late("");
    work_free(&w);
    stop_lanes();
    ma_heartbeats_free(beats);
    beats = NULL;
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lanes");
    TCase *tc = tcase_create("lanes");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_one);
    tcase_add_test(tc, test_batches);
    tcase_add_test(tc, test_savepoints);
    tcase_add_test(tc, test_next_lane);
    tcase_add_test(tc, test_full_disk_fails_the_batch);
    tcase_add_loop_test(tc, test_queue_full, 0, 3);
    tcase_add_test(tc, test_cpu_and_net);
    tcase_add_loop_test(tc, test_lane_without_reader, 0, 2);
    tcase_add_test(tc, test_one_key_hangs);
    tcase_add_test(tc, test_providers_hang);
    tcase_add_test(tc, test_stop_with_keys_waiting);
    tcase_add_test(tc, test_crowd_of_keys);
    tcase_add_test(tc, test_write);
    tcase_add_test(tc, test_scrub);
    tcase_add_test(tc, test_writes_of_many_threads);
    tcase_add_test(tc, test_stop_with_work_queued);
    tcase_add_loop_test(tc, test_stop_waits_for_reserved_places, 0, 3);
    tcase_add_test(tc, test_stop_idle);
    tcase_add_test(tc, test_reserve_after_stop);
    tcase_add_test(tc, test_crowd);
    tcase_add_loop_test(tc, test_stuck_thread_is_late, 0, (int)MA_COUNT(watched));
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

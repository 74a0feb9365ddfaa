/* SPDX-License-Identifier: Apache-2.0
 * Push and its threads: providers that this program plays itself hang, fail and recover, while the clock is ours.
 * What goes over the wire is the matter of the daemon's tests.
 */
#include "ma/outbox.h"

#include "ma/crypto.h"
#include "../../src/deliver/push_int.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define START 1764000000000 /* 2025-11-24T16:00:00Z */
#define PATIENCE_S 60       /* a wait that lasts this long has failed */
#define USER "auth0|alice"
#define PHONE "APNS:00ff00ff"
#define ANDROID "GCM:token-of-alice"
#define DATA "{\"dai\":\"dev_1\",\"txtkn\":\"t\",\"s\":\"{\\\"b\\\":{\\\"n\\\":\\\"F\\\"}}\",\"l\":\"no object\"}"

#define T_OK(expr)                                                                                                     \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == MA_OK, #expr " gave %s", ma_err_name(t_r));                                               \
    } while (0)

/* --- the providers: these stand in for the net module --- */

struct ma_httpc {
    bool cancelled;
};

enum provider { FCM, TOKENS, APNS, GATEWAY, MAIL, PROVIDERS };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        int result, calls;
        long status;
        const char *body;
        int64_t retry_after_s;
        bool blocked;
        char sent[8192]; /* the last body */
        char bearer[8192];
    } at[PROVIDERS];
    int writes, write_failures_left;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int ma_httpc_new(struct ma_httpc **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? MA_OK : MA_E_NOMEM;
}

void ma_httpc_free(struct ma_httpc *c)
{
    free(c);
}

void ma_httpc_cancel(struct ma_httpc *c)
{
    pthread_mutex_lock(&world.lock);
    c->cancelled = true;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void keep(char *out, size_t cap, const void *p, size_t n)
{
    size_t k = n < cap - 1 ? n : cap - 1;
    if (k)
        memcpy(out, p, k);
    out[k] = 0;
}

/* One call: counted when it comes, answered when nobody holds it. Call with the lock held. */
static int answer(struct ma_httpc *c, enum provider p)
{
    world.at[p].calls++;
    pthread_cond_broadcast(&world.changed);
    while (world.at[p].blocked && !c->cancelled)
        pthread_cond_wait(&world.changed, &world.lock);
    return c->cancelled ? MA_E_UPSTREAM : world.at[p].result;
}

int ma_httpc_mail(struct ma_httpc *c, const struct ma_mail *m, char why[256])
{
    (void)m;
    pthread_mutex_lock(&world.lock);
    int r = answer(c, MAIL);
    pthread_mutex_unlock(&world.lock);
    if (r < 0)
        snprintf(why, 256, "no mail");
    return r;
}

static enum provider provider_of(const char *url)
{
    if (strstr(url, "/v1/projects/"))
        return FCM;
    if (strstr(url, "/token"))
        return TOKENS;
    return strstr(url, "/3/device/") ? APNS : GATEWAY;
}

int ma_httpc_call(struct ma_httpc *c, const struct ma_http_call *call, struct ma_arena *a, struct ma_http_answer *ret,
                  char why[256])
{
    enum provider p = provider_of(call->url);
    pthread_mutex_lock(&world.lock);
    keep(world.at[p].sent, sizeof world.at[p].sent, call->body.p, call->body.n);
    for (size_t i = 0; call->headers && call->headers[i]; i++)
        if (strncasecmp(call->headers[i], "authorization:", 14) == 0)
            keep(world.at[p].bearer, sizeof world.at[p].bearer, call->headers[i], strlen(call->headers[i]));
    int r = answer(c, p);
    *ret = (struct ma_http_answer){.status = world.at[p].status,
                                   .body = ma_arena_dup(a, ma_span_str(world.at[p].body)),
                                   .retry_after_s = world.at[p].retry_after_s};
    pthread_mutex_unlock(&world.lock);
    if (r < 0)
        snprintf(why, 256, "connection refused");
    return r;
}

/* --- the fixture --- */

static _Atomic int64_t now = START;
static char dir[64], database[96], log_path[96], fcm_ref[128], apns_ref[128];
static struct ma_vault *vault;
static struct ma_templates *templates;
static struct ma_arena *arena;
static struct ma_log *lg;
static int log_fd;
static struct ma_courier *courier;
static struct ma_conf conf;
static pthread_mutex_t db_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ma_db *db;

static int64_t read_now(const struct ma_clock *c)
{
    (void)c;
    return atomic_load(&now);
}
static const struct ma_clock test_clock = {read_now, read_now, NULL};

static int in_transaction(int (*fn)(struct ma_db *, void *), void *arg)
{
    pthread_mutex_lock(&db_lock);
    int r = ma_db_begin(db);
    if (r == MA_OK)
        r = fn(db, arg);
    if (r == MA_OK)
        r = ma_db_commit(db);
    else
        ma_db_rollback(db);
    pthread_mutex_unlock(&db_lock);
    return r;
}

static int env_write(void *write_arg, int (*fn)(struct ma_db *, void *), void *arg)
{
    (void)write_arg;
    pthread_mutex_lock(&world.lock);
    bool fail = world.write_failures_left > 0;
    world.write_failures_left -= fail;
    pthread_mutex_unlock(&world.lock);
    int r = fail ? MA_E_FULL : in_transaction(fn, arg);
    pthread_mutex_lock(&world.lock);
    world.writes++;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    return r;
}

static int put_user(struct ma_db *d, void *arg)
{
    (void)arg;
    struct ma_user u = {.user_id = MA_LIT(USER), .roles = MA_LIT("[]"), .permissions = MA_LIT("[]")};
    return ma_user_insert(d, &u);
}

static void write_secret(const char *name, const char *text, char ref[128])
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(ref, 128, "file:%s", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
}

static const char *fresh_pem(enum ma_key_type type)
{
    struct ma_key *k = NULL;
    struct ma_span pem;
    T_OK(ma_key_generate(type, &k));
    T_OK(ma_key_private_pem(k, arena, &pem));
    ma_key_free(k);
    return ma_arena_strdup(arena, pem);
}

/* A service account's file: line feeds of the key are escaped. */
static void write_account(void)
{
    char text[8192], *out = text;
    out += snprintf(text, sizeof text,
                    "{\"type\":\"service_account\",\"project_id\":\"p\",\"private_key_id\":\"k1\",\"client_email\":"
                    "\"a@p.example\",\"token_uri\":\"https://auth.example/token\",\"private_key\":\"");
    for (const char *p = fresh_pem(MA_KEY_RSA); *p; p++)
        out += *p == '\n' ? snprintf(out, 3, "\\n") : snprintf(out, 2, "%c", *p);
    snprintf(out, 3, "\"}");
    write_secret("fcm.json", text, fcm_ref);
}

static void reset_world(void)
{
    for (int p = 0; p < PROVIDERS; p++) {
        world.at[p].result = MA_OK;
        world.at[p].calls = 0;
        world.at[p].status = 200;
        world.at[p].body = p == TOKENS ? "{\"access_token\":\"at-1\",\"expires_in\":3600}" : "{}";
        world.at[p].retry_after_s = 0;
        world.at[p].blocked = false;
    }
    world.writes = world.write_failures_left = 0;
    atomic_store(&now, START);
    courier = NULL;
}

static void set_up(void)
{
    char why[256] = "", keys[96];
    reset_world();
    snprintf(dir, sizeof dir, "/tmp/ma-push-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(database, sizeof database, "%s/test.db", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    log_fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    lg = ma_log_new(log_fd, MA_LOG_DEBUG, 1);
    arena = ma_arena_new(MA_ARENA_FIRST, 8 * MA_ARENA_MAX);
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
    T_OK(ma_templates_load("", &templates, why));
    T_OK(ma_db_open(database, MA_DB_WRITER, lg, &db, why));
    T_OK(ma_migrate(db, START, why));
    T_OK(in_transaction(put_user, NULL));
    write_account();
    write_secret("apns.p8", fresh_pem(MA_KEY_EC_P256), apns_ref);
    conf = (struct ma_conf){0};
    conf.delivery.email = "smtp://relay.example:25";
    conf.delivery.email_from = "no-reply@login.example.com";
    conf.delivery.sms = conf.delivery.voice = "";
    conf.delivery.push = "https://push.example/send";
    conf.delivery.fcm_credentials = fcm_ref;
    conf.delivery.fcm_url = "https://fcm.example/";
    conf.delivery.apns_key = apns_ref;
    conf.delivery.apns_key_id = "ABC123DEFG";
    conf.delivery.apns_team_id = "DEF123GHIJ";
    conf.delivery.apns_topic = "com.example.app";
    conf.delivery.apns_url = "";
    conf.delivery.apns_alert = "Sign-in";
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* Neither tokens of devices nor ours appear in the log. */
static void check_log(void)
{
    static char text[1 << 18];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = 0;
    ck_assert_ptr_null(strstr(text, "token-of-alice"));
    ck_assert_ptr_null(strstr(text, "00ff00ff"));
    ck_assert_ptr_null(strstr(text, "at-1"));
}

static void tear_down(void)
{
    ma_courier_free(courier);
    check_log();
    ma_db_close(db);
    ma_templates_free(templates);
    ma_vault_close(vault);
    ma_arena_free(arena);
    ma_log_free(lg);
    close(log_fd);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(void)
{
    struct ma_courier_env env = {
        .database = database, .clock = &test_clock, .log = lg, .vault = vault, .write = env_write};
    char why[256] = "";
    int r = ma_courier_start(&env, &conf, &courier, why);
    ck_assert_msg(r == MA_OK, "%s: %s", ma_err_name(r), why);
}

static int do_enqueue(struct ma_db *d, void *arg)
{
    return ma_outbox_enqueue(d, vault, templates, ma_rand_system(), arena, arg, atomic_load(&now));
}

static void push_to(const char *to)
{
    struct ma_message m = {.channel = MA_CHANNEL_PUSH,
                           .user_id = MA_LIT(USER),
                           .to = ma_span_str(to),
                           .template_name = "push",
                           .data = MA_LIT(DATA)};
    T_OK(in_transaction(do_enqueue, &m));
}

static void mail(void)
{
    struct ma_message m = {.channel = MA_CHANNEL_EMAIL,
                           .user_id = MA_LIT(USER),
                           .to = MA_LIT("alice@example.com"),
                           .template_name = "enroll-code",
                           .code = MA_LIT("739164"),
                           .tenant = MA_LIT("Example"),
                           .minutes = 5};
    T_OK(in_transaction(do_enqueue, &m));
}

static size_t rows(struct ma_outbox_row *ret, size_t cap, bool dead)
{
    size_t n = 0;
    pthread_mutex_lock(&db_lock);
    int r = dead ? ma_outbox_dead(db, arena, ret, cap, &n) : ma_outbox_due(db, arena, INT64_MAX, ret, cap, &n);
    pthread_mutex_unlock(&db_lock);
    T_OK(r);
    return n;
}

static size_t alive(void)
{
    struct ma_outbox_row r[128];
    return rows(r, 128, false);
}

static size_t dead(void)
{
    struct ma_outbox_row r[128];
    return rows(r, 128, true);
}

/* Waits until the condition holds; it is looked at after each call and each write of the courier. */
#define WAIT(condition)                                                                                                \
    do {                                                                                                               \
        struct timespec t_until;                                                                                       \
        clock_gettime(CLOCK_REALTIME, &t_until);                                                                       \
        t_until.tv_sec += PATIENCE_S;                                                                                  \
        pthread_mutex_lock(&world.lock);                                                                               \
        int t_rc = 0;                                                                                                  \
        while (!(condition) && t_rc == 0)                                                                              \
            t_rc = pthread_cond_timedwait(&world.changed, &world.lock, &t_until);                                      \
        pthread_mutex_unlock(&world.lock);                                                                             \
        ck_assert_msg(t_rc == 0, "never happened: " #condition);                                                       \
    } while (0)

/* One more write of the courier, or a second in which there is none. */
static void round_trip(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    pthread_mutex_lock(&world.lock);
    int before = world.writes;
    ma_courier_wake(courier);
    while (world.writes == before && pthread_cond_timedwait(&world.changed, &world.lock, &until) == 0)
        ;
    pthread_mutex_unlock(&world.lock);
}

/* Each round lets time pass, so that what was put off comes due again. */
static void drain_to(size_t left)
{
    for (int i = 0; alive() > left; i++) {
        ck_assert_msg(i < 1000, "%zu messages are left", alive());
        round_trip();
        atomic_fetch_add(&now, 1000);
    }
}

/* Messages that are due at the start of time. */
static size_t due(void)
{
    struct ma_outbox_row r[32];
    size_t n = 0;
    pthread_mutex_lock(&db_lock);
    int rc = ma_outbox_due(db, arena, START, r, 32, &n);
    pthread_mutex_unlock(&db_lock);
    T_OK(rc);
    return n;
}

static void block(enum provider p, bool on)
{
    pthread_mutex_lock(&world.lock);
    world.at[p].blocked = on;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void set_answer(enum provider p, long status, const char *body, int64_t retry_after_s)
{
    pthread_mutex_lock(&world.lock);
    world.at[p].status = status;
    world.at[p].body = body;
    world.at[p].retry_after_s = retry_after_s;
    pthread_mutex_unlock(&world.lock);
}

static int calls(enum provider p)
{
    pthread_mutex_lock(&world.lock);
    int n = world.at[p].calls;
    pthread_mutex_unlock(&world.lock);
    return n;
}

/* --- tests --- */

START_TEST(by_device)
{
    push_to(ANDROID);
    push_to(PHONE);
    push_to("another device");
    start();
    drain_to(0);
    ck_assert_uint_eq(dead(), 0);
    ck_assert_int_eq(calls(FCM) + calls(TOKENS) + calls(APNS) + calls(GATEWAY), 4);
    ck_assert_str_eq(world.at[FCM].bearer, "Authorization: Bearer at-1");
    ck_assert_int_eq(strncmp(world.at[APNS].bearer, "authorization: bearer ey", 24), 0);
    ck_assert_str_eq(
        world.at[APNS].sent,
        "{\"aps\":{\"alert\":{\"body\":\"Sign-in\"},\"category\":\"com.auth0.notification.authentication\","
        "\"sound\":\"default\",\"mutable-content\":1},\"mfa\":{\"dai\":\"dev_1\",\"l\":\"no object\","
        "\"s\":{\"b\":{\"n\":\"F\"}},\"txtkn\":\"t\"}}");
}
END_TEST

/* A provider hangs; a hundred of its messages, and everybody else's, are due. */
static void hang(enum provider stuck, const char *to)
{
    block(stuck, true);
    for (int i = 0; i < 100; i++)
        push_to(to);
    start();
    WAIT(world.at[stuck].calls > 0);
    atomic_fetch_add(&now, 1);
    mail();
    push_to(stuck == APNS ? ANDROID : PHONE);
    ma_courier_wake(courier);
    drain_to(100);
    ck_assert_int_eq(calls(MAIL), 1);
    ck_assert_int_eq(calls(stuck == APNS ? FCM : APNS), 1);
    ck_assert_int_eq(calls(stuck), 1); /* and none of them was sent twice meanwhile */
    block(stuck, false);
    drain_to(0);
    ck_assert_int_eq(calls(stuck), stuck == TOKENS ? 1 : 100);
    ck_assert_uint_eq(dead(), 0);
}

START_TEST(apns_hangs)
{
    hang(APNS, PHONE);
}
END_TEST

START_TEST(token_endpoint_hangs)
{
    hang(TOKENS, ANDROID);
    ck_assert_int_eq(calls(FCM), 100);
}
END_TEST

START_TEST(gateway_hangs)
{
    hang(GATEWAY, "another device");
}
END_TEST

START_TEST(stop_while_it_hangs)
{
    block(FCM, true);
    for (int i = 0; i < 20; i++)
        push_to(ANDROID);
    start();
    WAIT(world.at[FCM].calls > 0);
    ma_courier_free(courier);
    courier = NULL;
    ck_assert_int_eq(calls(FCM), 1);
    ck_assert_uint_eq(alive(), 20);
    ck_assert_uint_eq(dead(), 0);
}
END_TEST

START_TEST(who_failed_is_left_alone)
{
    set_answer(APNS, 503, "{\"reason\":\"Shutdown\"}", 0);
    for (int i = 0; i < 20; i++)
        push_to(PHONE);
    block(APNS, true);
    start();
    WAIT(world.at[APNS].calls > 0);
    block(APNS, false);
    /* the clock stands still: all are put off, and so are the ones that the sender had got already */
    for (int i = 0; due() > 0; i++) {
        ck_assert_int_lt(i, 1000);
        round_trip();
    }
    ck_assert_int_eq(calls(APNS), 1);
    set_answer(APNS, 200, "", 0);
    drain_to(0);
    ck_assert_int_eq(calls(APNS), 21);
}
END_TEST

START_TEST(retry_after_has_an_end)
{
    set_answer(FCM, 429, "", 86400);
    push_to(ANDROID);
    start();
    WAIT(world.writes > 0);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, false), 1);
    ck_assert_int_ge(r[0].next_at, START + MA_GATEWAY_WAIT_MAX_MS);
    ck_assert_int_le(r[0].next_at, START + MA_GATEWAY_WAIT_MAX_MS * 5 / 4);
    /* by then nobody waits for it any more */
    atomic_store(&now, START + 2 * MA_GATEWAY_WAIT_MAX_MS);
    ma_courier_wake(courier);
    WAIT(world.writes > 1);
    ck_assert_uint_eq(dead(), 1);
    ck_assert_int_eq(calls(FCM), 1);
}
END_TEST

/* What was sent and could not be written is not sent again while the database fails. */
START_TEST(recording_fails)
{
    world.write_failures_left = 3;
    push_to(PHONE);
    start();
    WAIT(world.writes > 3);
    ck_assert_uint_eq(alive(), 0);
    ck_assert_int_eq(calls(APNS), 1);
}
END_TEST

START_TEST(same_key_same_token_after_reload)
{
    push_to(PHONE);
    start();
    drain_to(0);
    char first[sizeof world.at[APNS].bearer];
    memcpy(first, world.at[APNS].bearer, sizeof first);
    atomic_fetch_add(&now, 60000);
    ma_courier_reload(courier, &conf);
    push_to(PHONE);
    drain_to(0);
    ck_assert_str_eq(world.at[APNS].bearer, first);
    write_secret("apns.p8", fresh_pem(MA_KEY_EC_P256), apns_ref);
    ma_courier_reload(courier, &conf);
    push_to(PHONE);
    drain_to(0);
    ck_assert_str_ne(world.at[APNS].bearer, first);
}
END_TEST

/* Reloading goes on while senders hold letters of the old settings. */
START_TEST(reload_meanwhile)
{
    block(APNS, true);
    for (int i = 0; i < 12; i++)
        push_to(PHONE);
    start();
    WAIT(world.at[APNS].calls > 0);
    for (int i = 0; i < 3; i++) {
        ma_courier_reload(courier, &conf);
        mail();
        ma_courier_wake(courier);
        WAIT(world.at[MAIL].calls > i);
    }
    block(APNS, false);
    drain_to(0);
    ck_assert_int_eq(calls(APNS), 12);
}
END_TEST

START_TEST(long_device_tokens)
{
    char to[MA_DEVICE_MAX + 2];
    memset(to, 'x', sizeof to);
    memcpy(to, "GCM:", 4);
    to[MA_DEVICE_MAX] = 0;
    push_to(to);
    to[MA_DEVICE_MAX] = 'x';
    to[MA_DEVICE_MAX + 1] = 0;
    struct ma_message m = {.channel = MA_CHANNEL_PUSH, .user_id = MA_LIT(USER), .to = ma_span_str(to)};
    ck_assert_int_eq(in_transaction(do_enqueue, &m), MA_E_INVAL);
    start();
    drain_to(0);
    ck_assert_int_eq(calls(FCM), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("push");
    TCase *tc = tcase_create("senders");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 2 * PATIENCE_S);
    tcase_add_test(tc, by_device);
    tcase_add_test(tc, apns_hangs);
    tcase_add_test(tc, token_endpoint_hangs);
    tcase_add_test(tc, gateway_hangs);
    tcase_add_test(tc, stop_while_it_hangs);
    tcase_add_test(tc, who_failed_is_left_alone);
    tcase_add_test(tc, retry_after_has_an_end);
    tcase_add_test(tc, recording_fails);
    tcase_add_test(tc, same_key_same_token_after_reload);
    tcase_add_test(tc, reload_meanwhile);
    tcase_add_test(tc, long_device_tokens);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
